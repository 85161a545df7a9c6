package sys

import (
	"goum/arch/abi"
	"goum/kernel/task"
	"goum/sched"
	"goum/sched/clock"
)

// timeCalls tell, set and wait for the time.
var timeCalls = Calls{
	abi.SYS_TIME:            Def1("time", sysTime),
	abi.SYS_GETTIMEOFDAY:    Def2("gettimeofday", sysGettimeofday),
	abi.SYS_SETTIMEOFDAY:    Def2("settimeofday", sysSettimeofday),
	abi.SYS_CLOCK_GETTIME:   Def2("clock_gettime", sysClockGettime),
	abi.SYS_CLOCK_SETTIME:   Def2("clock_settime", sysClockSettime),
	abi.SYS_CLOCK_GETRES:    Def2("clock_getres", sysClockGetres),
	abi.SYS_CLOCK_NANOSLEEP: Def4("clock_nanosleep", sysClockNanosleep).Partial("not on CPU time clocks: EOPNOTSUPP"),
	abi.SYS_NANOSLEEP:       Def2("nanosleep", sysNanosleep),
	abi.SYS_ADJTIMEX:        Def1("adjtimex", sysAdjtimex).Partial("reads only; ADJ_SETOFFSET steps the clock"),
	abi.SYS_CLOCK_ADJTIME:   Def2("clock_adjtime", sysClockAdjtime).Partial("reads only; ADJ_SETOFFSET steps the clock"),
}

// Clocks that belong to a process or thread have negative numbers: ^pid<<3, a bit for threads, and what is counted.
const (
	cpuClockProf   = 0
	cpuClockVirt   = 1
	cpuClockSched  = 2
	cpuClockThread = 4
)

// cpuClock finds what a CPU clock counts: EINVAL (no such clock, process or thread).
func cpuClock(t *task.Task, id ClockID) (func() int64, abi.Errno) {
	switch id {
	case abi.CLOCK_PROCESS_CPUTIME_ID:
		id = ^ClockID(0)<<3 | cpuClockSched
	case abi.CLOCK_THREAD_CPUTIME_ID:
		id = ^ClockID(0)<<3 | cpuClockSched | cpuClockThread
	}
	if id >= 0 || id&3 == 3 {
		return nil, abi.EINVAL
	}
	pid := ^int32(id >> 3)
	o := t
	if pid != 0 {
		if o = t.System.Tree.FindTask(pid); o == nil {
			return nil, abi.EINVAL
		}
	}
	var user, system func() clock.Time
	if id&cpuClockThread != 0 {
		if o.Process != t.Process {
			return nil, abi.EINVAL
		}
		if id&3 == cpuClockSched {
			return func() int64 { return int64(o.Thread.CPUTime()) }, 0
		}
		user = func() clock.Time { u, _ := o.Thread.Times(); return u }
		system = func() clock.Time { _, s := o.Thread.Times(); return s }
	} else {
		if pid != 0 && o.Process.PID != pid {
			return nil, abi.EINVAL
		}
		user = func() clock.Time { u, _, _, _ := o.Process.CPUTimes(); return u }
		system = func() clock.Time { _, s, _, _ := o.Process.CPUTimes(); return s }
	}
	if id&3 == cpuClockVirt {
		return func() int64 { return int64(user()) }, 0
	}
	return func() int64 { return int64(user() + system()) }, 0
}

// readClock tells the time of a clock in nanoseconds: EINVAL.
func readClock(t *task.Task, id ClockID) (int64, abi.Errno) {
	clk := t.System.Clock
	switch id {
	case abi.CLOCK_REALTIME, abi.CLOCK_REALTIME_COARSE, abi.CLOCK_REALTIME_ALARM:
		return clk.Realtime(), 0
	case abi.CLOCK_MONOTONIC, abi.CLOCK_MONOTONIC_RAW, abi.CLOCK_MONOTONIC_COARSE, abi.CLOCK_BOOTTIME, abi.CLOCK_BOOTTIME_ALARM:
		return int64(clk.Monotonic()), 0
	case abi.CLOCK_TAI:
		return clk.Realtime() + clk.TAIOffset(), 0
	}
	f, e := cpuClock(t, id)
	if e != 0 {
		return 0, e
	}
	return f(), 0
}

// sysTime tells the seconds since the epoch: time(2).
func sysTime(t *task.Task, out Out[int64]) (uint64, abi.Errno) {
	s := abi.NsToTimespec(t.System.Clock.Realtime()).Sec
	return uint64(s), out.StoreIf(t, s)
}

func sysGettimeofday(t *task.Task, tv Out[abi.Timeval], tz Out[abi.Timezone]) (uint64, abi.Errno) {
	if e := tv.StoreIf(t, abi.NsToTimeval(t.System.Clock.Realtime())); e != 0 {
		return 0, e
	}
	return 0, tz.StoreIf(t, t.System.Clock.Timezone())
}

// sysSettimeofday sets the clock and the time zone: settimeofday(2). EFAULT, EINVAL, EPERM.
func sysSettimeofday(t *task.Task, tv In[abi.Timeval], tz In[abi.Timezone]) (uint64, abi.Errno) {
	var v abi.Timeval
	var e abi.Errno
	if tv != 0 {
		if v, e = tv.Load(t); e != 0 {
			return 0, e
		}
		if v.Usec < 0 || v.Usec >= 1_000_000 {
			return 0, abi.EINVAL
		}
	}
	var z abi.Timezone
	if tz != 0 {
		if z, e = tz.Load(t); e != 0 {
			return 0, e
		}
	}
	if tv != 0 && v.Sec < 0 {
		return 0, abi.EINVAL
	}
	if !t.Cred().Has(abi.CAP_SYS_TIME) {
		return 0, abi.EPERM
	}
	if tz != 0 {
		if z.MinutesWest > 15*60 || z.MinutesWest < -15*60 {
			return 0, abi.EINVAL
		}
		t.System.Clock.SetTimezone(z)
	}
	if tv != 0 {
		return 0, setRealtime(t, v.Ns())
	}
	return 0, 0
}

func sysClockGettime(t *task.Task, id ClockID, out Out[abi.Timespec]) (uint64, abi.Errno) {
	ns, e := readClock(t, id)
	if e != 0 {
		return 0, e
	}
	return 0, out.Store(t, abi.NsToTimespec(ns))
}

// sysClockSettime is clock_settime(2): EINVAL (a clock that cannot be set, a bad time), EFAULT, EPERM.
func sysClockSettime(t *task.Task, id ClockID, in In[abi.Timespec]) (uint64, abi.Errno) {
	if id != abi.CLOCK_REALTIME {
		if id < 0 {
			if _, e := cpuClock(t, id); e != 0 {
				return 0, e
			}
			if _, e := in.Load(t); e != 0 {
				return 0, e
			}
			return 0, abi.EPERM
		}
		return 0, abi.EINVAL
	}
	ts, e := in.Load(t)
	if e != 0 {
		return 0, e
	}
	if !ts.Valid() {
		return 0, abi.EINVAL
	}
	if !t.Cred().Has(abi.CAP_SYS_TIME) {
		return 0, abi.EPERM
	}
	return 0, setRealtime(t, ts.Ns())
}

// sysClockGetres tells how fine a clock is: clock_getres(2). EINVAL, EFAULT.
func sysClockGetres(t *task.Task, id ClockID, out Out[abi.Timespec]) (uint64, abi.Errno) {
	res := int64(1)
	switch id {
	case abi.CLOCK_REALTIME_COARSE, abi.CLOCK_MONOTONIC_COARSE:
		res = abi.NsPerSec / abi.HZ
	default:
		if _, e := readClock(t, id); e != 0 {
			return 0, e
		}
		if id < 0 && id&3 != cpuClockSched {
			res = abi.NsPerSec / abi.HZ
		}
	}
	return 0, out.StoreIf(t, abi.Timespec{Nsec: res})
}

// sleepUntil sleeps to a monotonic deadline. Interrupted, it leaves what is needed to go on: the rest is stored at rem if that is not
// null, and restart_syscall(2) sleeps on.
func sleepUntil(t *task.Task, deadline clock.Time, rem Out[abi.Timespec]) (uint64, abi.Errno) {
	switch t.Thread.Sleep(deadline) {
	case sched.Interrupted, sched.Killed:
	default:
		return 0, 0
	}
	left := int64(deadline - t.System.Clock.Monotonic())
	if left <= 0 {
		return 0, 0
	}
	if e := rem.StoreIf(t, abi.NsToTimespec(left)); e != 0 {
		return 0, e
	}
	return 0, t.RestartWith(func(t *task.Task) (uint64, abi.Errno) { return sleepUntil(t, deadline, rem) })
}

// sysNanosleep sleeps for a time: nanosleep(2). EFAULT, EINVAL, EINTR with what is left.
func sysNanosleep(t *task.Task, in In[abi.Timespec], rem Out[abi.Timespec]) (uint64, abi.Errno) {
	ts, e := in.Load(t)
	if e != 0 {
		return 0, e
	}
	if !ts.Valid() {
		return 0, abi.EINVAL
	}
	return sleepUntil(t, after(t, ts), rem)
}

// sysClockNanosleep is nanosleep by a certain clock, or until a certain time: clock_nanosleep(2). EINVAL (clock, time), EFAULT,
// EOPNOTSUPP, EINTR.
func sysClockNanosleep(t *task.Task, id ClockID, flags Int, in In[abi.Timespec], rem Out[abi.Timespec]) (uint64, abi.Errno) {
	switch id {
	case abi.CLOCK_REALTIME, abi.CLOCK_MONOTONIC, abi.CLOCK_BOOTTIME, abi.CLOCK_TAI:
	case abi.CLOCK_REALTIME_ALARM, abi.CLOCK_BOOTTIME_ALARM:
		if !t.Cred().Has(abi.CAP_WAKE_ALARM) {
			return 0, abi.EPERM
		}
	case abi.CLOCK_MONOTONIC_RAW, abi.CLOCK_REALTIME_COARSE, abi.CLOCK_MONOTONIC_COARSE:
		return 0, abi.EOPNOTSUPP
	case abi.CLOCK_THREAD_CPUTIME_ID:
		return 0, abi.EOPNOTSUPP // Linux says so for thread clocks, too
	default:
		if _, e := cpuClock(t, id); e != 0 {
			return 0, e
		}
		return 0, abi.EOPNOTSUPP
	}
	ts, e := in.Load(t)
	if e != 0 {
		return 0, e
	}
	if !ts.Valid() {
		return 0, abi.EINVAL
	}
	if flags&abi.TIMER_ABSTIME == 0 {
		return sleepUntil(t, after(t, ts), rem)
	}
	clk := t.System.Clock
	switch id {
	case abi.CLOCK_REALTIME, abi.CLOCK_REALTIME_ALARM:
		return 0, machine(t).Timers.SleepReal(t.Thread, ts.Ns(), clk.RealOffset)
	case abi.CLOCK_TAI:
		return 0, machine(t).Timers.SleepReal(t.Thread, ts.Ns(), func() int64 { return clk.RealOffset() + clk.TAIOffset() })
	}
	switch t.Thread.Sleep(clock.Time(ts.Ns())) {
	case sched.Interrupted, sched.Killed:
		return 0, abi.ERESTARTNOHAND
	}
	return 0, 0
}

// sysAdjtimex tells, and with privilege steps, the wall clock: adjtimex(2).
func sysAdjtimex(t *task.Task, tx InOut[abi.Timex]) (uint64, abi.Errno) {
	return adjtime(t, tx)
}

func sysClockAdjtime(t *task.Task, id ClockID, tx InOut[abi.Timex]) (uint64, abi.Errno) {
	if id != abi.CLOCK_REALTIME {
		if _, e := readClock(t, id); e != 0 {
			return 0, e
		}
		return 0, abi.EOPNOTSUPP
	}
	return adjtime(t, tx)
}

// adjtime is do_adjtimex for a clock that nobody disciplines: STA_UNSYNC, with the state TIME_ERROR.
func adjtime(t *task.Task, tx InOut[abi.Timex]) (uint64, abi.Errno) {
	v, e := tx.Load(t)
	if e != 0 {
		return 0, e
	}
	const adjtimeMode = abi.ADJ_OFFSET_SINGLESHOT &^ abi.ADJ_OFFSET
	readOnly := v.Modes == 0 || v.Modes == abi.ADJ_OFFSET_SS_READ
	if v.Modes&adjtimeMode != 0 && v.Modes != abi.ADJ_OFFSET_SINGLESHOT && v.Modes != abi.ADJ_OFFSET_SS_READ {
		return 0, abi.EINVAL
	}
	if !readOnly {
		if !t.Cred().Has(abi.CAP_SYS_TIME) {
			return 0, abi.EPERM
		}
		if v.Modes&^(abi.ADJ_SETOFFSET|abi.ADJ_NANO) != 0 {
			return 0, abi.EOPNOTSUPP
		}
		if v.Modes&abi.ADJ_SETOFFSET != 0 {
			frac, unit := v.Time.Usec, int64(abi.NsPerUsec)
			if v.Modes&abi.ADJ_NANO != 0 {
				unit = 1
			}
			if frac < 0 || frac >= abi.NsPerSec/unit {
				return 0, abi.EINVAL
			}
			if e := setRealtime(t, t.System.Clock.Realtime()+abi.Timespec{Sec: v.Time.Sec, Nsec: frac * unit}.Ns()); e != 0 {
				return 0, e
			}
		}
	}
	const staUnsync = 0x40
	now := abi.NsToTimeval(t.System.Clock.Realtime())
	out := abi.Timex{Modes: v.Modes, Maxerror: 16000000, Esterror: 16000000, Status: staUnsync, Constant: 2, Precision: 1,
		Tolerance: 32768000, Time: now, Tick: 1_000_000 / abi.HZ, Tai: int32(t.System.Clock.TAIOffset() / abi.NsPerSec)}
	if v.Modes&abi.ADJ_NANO != 0 {
		ns := abi.NsToTimespec(t.System.Clock.Realtime())
		out.Time = abi.Timeval{Sec: ns.Sec, Usec: ns.Nsec}
	}
	return abi.TIME_ERROR, tx.Store(t, out)
}
