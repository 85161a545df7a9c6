package timer

import (
	"goum/arch/abi"
	"goum/kernel/signal"
)

// Interval is a timer of setitimer(2): what is left, and the interval after that, in nanoseconds. 0 left: not armed.
type Interval struct {
	Value, Every int64
}

// IntervalOf checks and converts what a guest gave: EINVAL (negative, or no proper fraction).
func IntervalOf(v abi.Itimerval) (Interval, abi.Errno) {
	if !v.Value.Valid() || !v.Interval.Valid() {
		return Interval{}, abi.EINVAL
	}
	return Interval{v.Value.Ns(), v.Interval.Ns()}, 0
}

// Itimerval is i as a guest sees it.
func (i Interval) Itimerval() abi.Itimerval {
	return abi.Itimerval{Interval: abi.NsToTimeval(i.Every), Value: abi.NsToTimeval(i.Value)}
}

// GetInterval is getitimer(2) for ITIMER_REAL, ITIMER_VIRTUAL or ITIMER_PROF: EINVAL.
func (s *Timers) GetInterval(which int32) (Interval, abi.Errno) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.interval(which)
}

func (s *Timers) interval(which int32) (Interval, abi.Errno) {
	switch which {
	case abi.ITIMER_REAL:
		if s.real == nil {
			return Interval{}, 0
		}
		i := Interval{s.real.left(), s.real.interval.Load()}
		if i.Value > 0 {
			i.Value = max(i.Value, abi.NsPerUsec) // not armed is 0, and only that
		}
		return i, 0
	case abi.ITIMER_VIRTUAL, abi.ITIMER_PROF:
		c, now := s.cpuInterval(which)
		return c.left(now), 0
	}
	return Interval{}, abi.EINVAL
}

// SetInterval is setitimer(2): it arms (or disarms, with Value 0) a timer and returns what it was at. ITIMER_REAL sends SIGALRM, ITIMER_VIRTUAL
// SIGVTALRM by time in user mode, ITIMER_PROF SIGPROF by all CPU time. EINVAL.
func (s *Timers) SetInterval(which int32, new Interval) (old Interval, e abi.Errno) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if old, e = s.interval(which); e != 0 || s.gone {
		return old, e
	}
	if which != abi.ITIMER_REAL {
		c, now := s.cpuInterval(which)
		*c = cpuItimer{}
		if new.Value > 0 {
			*c = cpuItimer{at: later(int64(now), new.Value, 1), every: new.Every}
			if c.at < c.at+tick {
				c.at += tick
			}
		}
		s.count()
		return old, 0
	}
	if s.real == nil {
		t := &Timer{in: s, target: s.p.Target, info: signal.Kernel(abi.SIGALRM)}
		t.entry.OnTake = t.taken
		t.ct = s.m.clk.NewTimer(t.fire)
		s.real = t
	}
	s.real.stopKeeping()
	if new.Value > 0 {
		s.real.set(new.Value, new.Every, false)
	}
	return old, 0
}

// stopKeeping is stop for ITIMER_REAL, whose signal stays pending if it is. As the timer may want to send its entry again, a plain
// signal takes its place.
func (t *Timer) stopKeeping() {
	pending := t.state.Load() == sent
	t.stop()
	if pending && !t.seen.Load() {
		t.target.Send(&t.info)
	}
}

// Alarm is alarm(2): seconds until SIGALRM, 0 for never. It returns the seconds that were left, rounded, but not to 0.
func (s *Timers) Alarm(seconds uint32) uint32 {
	old, _ := s.SetInterval(abi.ITIMER_REAL, Interval{Value: int64(seconds) * abi.NsPerSec})
	sec, ns := old.Value/abi.NsPerSec, old.Value%abi.NsPerSec
	if sec == 0 && ns != 0 || ns >= abi.NsPerSec/2 {
		sec++
	}
	return uint32(sec)
}
