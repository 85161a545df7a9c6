package timer

import (
	"goum/arch/abi"
	"goum/sched"
	"goum/sched/clock"
)

// Sleep sleeps until a time of the monotonic clock: nanosleep(2), clock_nanosleep(2). A signal is EINTR, with the nanoseconds that are left, at
// least 0: the caller tells the guest, and goes on until the same time if it restarts.
func (m *Machine) Sleep(t *sched.Thread, until clock.Time) (left int64, e abi.Errno) {
	if t.Sleep(until) == sched.Expired {
		return 0, 0
	}
	return max(int64(until-m.clk.Monotonic()), 0), abi.EINTR
}

// SleepReal sleeps until a time of a clock that may be set, which offset is ahead of the monotonic one (nanoseconds): the setting
// counts at once, if ClockSet tells. A signal is ERESTARTNOHAND, as the time is absolute.
func (m *Machine) SleepReal(t *sched.Thread, until int64, offset func() int64) abi.Errno {
	for {
		sets := m.sets.Load() // before the offset
		at := clock.Time(max(until-offset(), 0))
		out := m.sleepers.Wait(t, sched.Any, at, func() bool { return m.sets.Load() != sets })
		switch {
		case out == sched.Woken:
		case out != sched.Expired:
			return abi.ERESTARTNOHAND
		case int64(m.clk.Monotonic())+offset() >= until:
			return 0
		}
	}
}
