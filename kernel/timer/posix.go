package timer

import (
	"goum/arch/abi"
	"goum/kernel/cred"
	"goum/kernel/signal"
	"goum/sched/clock"
)

// Clock is by what a POSIX timer runs. The zero value is CLOCK_MONOTONIC (and CLOCK_BOOTTIME).
type Clock struct {
	Real   bool         // may be set: CLOCK_REALTIME, CLOCK_TAI
	Offset func() int64 // with Real: what the clock is ahead of the monotonic one, in nanoseconds
	CPU    func() int64 // a CPU clock, in nanoseconds; may be called with Timers.mu held
}

// Event is how a timer tells of its expiry: struct sigevent, checked and with the thread found.
type Event struct {
	Silent bool  // SIGEV_NONE
	Signo  int32 // else, valid
	Value  uint64
	Target signal.EntryTarget // SIGEV_THREAD_ID: the thread; nil: the process
}

// Create makes a timer: timer_create(2). ev nil: SIGALRM, with the timer's id as its value. user's RLIMIT_SIGPENDING of limit counts it. EAGAIN: too many.
func (s *Timers) Create(c Clock, ev *Event, user *cred.User, limit uint64) (int32, abi.Errno) {
	if user != nil && !cred.Take(&user.Signals, limit) {
		return 0, abi.EAGAIN
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.posix) >= maxTimers || s.gone {
		if user != nil {
			user.Signals.Add(-1)
		}
		return 0, abi.EAGAIN
	}
	id := s.nextID
	for s.posix[id] != nil {
		id = (id + 1) & (1<<31 - 1)
	}
	s.nextID = (id + 1) & (1<<31 - 1)
	if ev == nil {
		ev = &Event{Signo: abi.SIGALRM, Value: uint64(uint32(id))}
	}
	t := &Timer{in: s, read: c.CPU, offset: c.Offset, silent: ev.Silent, target: ev.Target, user: user, overran: true}
	if !c.Real {
		t.offset = nil
	}
	if t.target == nil {
		t.target = s.p.Target
	}
	if !ev.Silent {
		t.info = signal.Timer(int(ev.Signo), id, ev.Value)
	}
	t.entry.OnTake = t.taken
	if t.read == nil {
		t.ct = s.m.clk.NewTimer(t.fire)
	}
	s.posix[id] = t
	return id, 0
}

// Delete is timer_delete(2): EINVAL. A signal that is pending goes with the timer.
func (s *Timers) Delete(id int32) abi.Errno {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.posix[id]
	if t == nil {
		return abi.EINVAL
	}
	s.drop(id, t)
	return 0
}

func (s *Timers) drop(id int32, t *Timer) {
	t.stop()
	t.deleted.Store(true)
	delete(s.posix, id)
	if t.user != nil {
		t.user.Signals.Add(-1)
	}
}

// Set arms or disarms a timer and returns what it was at: timer_settime(2). abs: TIMER_ABSTIME. EINVAL: no such timer, or not a proper time.
// A signal of before that is still pending is taken back.
func (s *Timers) Set(id int32, abs bool, new abi.ItimerSpec) (old abi.ItimerSpec, e abi.Errno) {
	if !new.Value.Valid() || !new.Interval.Valid() {
		return old, abi.EINVAL
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.posix[id]
	if t == nil {
		return old, abi.EINVAL
	}
	old = t.get()
	t.stop()
	t.overrun.Store(0)
	if new.Value.IsZero() {
		return old, 0
	}
	t.set(new.Value.Ns(), new.Interval.Ns(), abs)
	return old, 0
}

// set arms a stopped timer. in.mu is held.
func (t *Timer) set(at, every int64, abs bool) {
	if abs && t.offset != nil {
		t.real = true
		t.in.m.watch(t, true)
	}
	if !abs {
		at = int64(clock.Time(t.now()).Add(at))
	}
	t.expiry.Store(max(at, 1))
	t.interval.Store(every)
	switch {
	case t.silent: // nobody is told: what is left is computed when asked for
	case t.read != nil:
		t.state.Store(armed)
		t.in.cpu = append(t.in.cpu, t)
		t.in.count()
	default:
		t.state.Store(armed)
		t.start()
	}
}

// Get is timer_gettime(2): what is left, and the interval. EINVAL.
func (s *Timers) Get(id int32) (abi.ItimerSpec, abi.Errno) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.posix[id]
	if t == nil {
		return abi.ItimerSpec{}, abi.EINVAL
	}
	return t.get(), 0
}

func (t *Timer) get() abi.ItimerSpec {
	return abi.ItimerSpec{Interval: abi.NsToTimespec(t.interval.Load()), Value: abi.NsToTimespec(t.left())}
}

// Overrun is timer_getoverrun(2): how many expiries came between the one that the signal taken last was sent for, and its being taken. EINVAL.
func (s *Timers) Overrun(id int32) (int32, abi.Errno) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.posix[id]
	if t == nil {
		return 0, abi.EINVAL
	}
	return clampInt(t.overrun.Load()), 0
}

// Each calls f for every timer of timer_create, in no order: /proc/PID/timers. f must not use s.
func (s *Timers) Each(f func(id int32, signo int32, value uint64, silent bool)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, t := range s.posix {
		f(id, t.info.Signo, t.info.Value(), t.silent)
	}
}
