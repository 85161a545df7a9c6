package timer

import (
	"slices"

	"goum/arch/abi"
	"goum/kernel/signal"
	"goum/sched/clock"
)

// cpuItimer is ITIMER_VIRTUAL or ITIMER_PROF.
type cpuItimer struct {
	at, every int64 // of the process's CPU time, ns; at 0: not armed
}

func (c *cpuItimer) left(now int64) Interval {
	switch {
	case c.at == 0:
		return Interval{0, c.every}
	case c.at <= now:
		return Interval{tick, c.every} // expired, and the tick has not come yet
	}
	return Interval{c.at - now, c.every}
}

// cpuInterval is the timer, and the time by which it runs.
func (s *Timers) cpuInterval(which int32) (c *cpuItimer, now int64) {
	user, system := s.p.CPU()
	if which == abi.ITIMER_VIRTUAL {
		return &s.virt, int64(user)
	}
	return &s.prof, int64(user + system)
}

// expired says whether c sends its signal now.
func (c *cpuItimer) expired(now int64) bool {
	if c.at == 0 || now < c.at {
		return false
	}
	if c.every == 0 {
		c.at = 0
	} else {
		c.at = later(c.at, c.every, 1)
	}
	return true
}

// SetCPULimit is RLIMIT_CPU, in seconds: at soft SIGXCPU, and again each second; at hard SIGKILL. abi.RLIM_INFINITY is none. A limit of 0 is
// as one second, as in Linux.
func (s *Timers) SetCPULimit(soft, hard uint64) {
	at := func(sec uint64) clock.Time {
		if sec >= uint64(clock.Never)/abi.NsPerSec {
			return clock.Never
		}
		return clock.Time(max(sec, 1) * abi.NsPerSec)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.gone {
		s.limit, s.hard = at(soft), at(hard)
		s.count()
	}
}

// count says whether Tick has anything to look at. mu is held.
func (s *Timers) count() {
	n := len(s.cpu)
	for _, on := range []bool{s.virt.at != 0, s.prof.at != 0, s.limit != clock.Never, s.hard != clock.Never} {
		if on {
			n++
		}
	}
	s.cpuUsers.Store(int32(n))
}

func (s *Timers) uncount(t *Timer) {
	s.cpu = slices.DeleteFunc(s.cpu, func(o *Timer) bool { return o == t })
	s.count()
}

// Tick looks at the timers of CPU time. It is called at each tick that finds a thread of the process running, with no lock
// held; it costs one atomic load if there is nothing to look at.
func (s *Timers) Tick() {
	if s.cpuUsers.Load() == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	user, system := s.p.CPU()
	sum := int64(user + system)
	if s.virt.expired(int64(user)) {
		s.kernel(abi.SIGVTALRM)
	}
	if s.prof.expired(sum) {
		s.kernel(abi.SIGPROF)
	}
	if sum >= int64(s.hard) {
		s.hard, s.limit = clock.Never, clock.Never
		s.kernel(abi.SIGKILL)
	} else if sum >= int64(s.limit) {
		s.limit = clock.Time(sum).Add(abi.NsPerSec)
		s.kernel(abi.SIGXCPU)
	}
	live := s.cpu[:0]
	for _, t := range s.cpu {
		if t.tick() {
			live = append(live, t)
		}
	}
	clear(s.cpu[len(live):])
	s.cpu = live
	s.count()
}

func (s *Timers) kernel(sig int) {
	info := signal.Kernel(sig)
	s.p.Target.Send(&info)
}

// tick looks at one armed POSIX timer of CPU time, and says whether it goes on.
func (t *Timer) tick() bool {
	now, at, every := t.read(), t.expiry.Load(), t.interval.Load()
	if now < at {
		return true
	}
	n := int64(0)
	if every != 0 {
		n = (now - at) / every
		t.expiry.Store(later(at, every, n+1))
	}
	if t.state.Load() == sent { // the last signal still waits: it will tell of these, too
		t.missed.Add(n + 1)
		if t.state.Load() == sent {
			return every != 0
		}
		t.missed.Store(0) // it was taken just now; these are the next signal's
	}
	t.missed.Store(n)
	t.send()
	return every != 0
}
