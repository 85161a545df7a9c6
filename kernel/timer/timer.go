// Package timer is a process's timers: setitimer(2) and alarm(2), POSIX timers, RLIMIT_CPU, and sleeping by a clock that may be set.
//
// It owns Timers, one for each process that ever asked for a timer, and Machine, what a machine has once. It knows no task: a
// signal.EntryTarget takes the signals, and functions tell CPU time. Timers of real time hang on the machine's clock; those of CPU time are looked at by
// Tick, which sched calls for each thread that the tick finds running.
//
// A timer with an interval sends a signal, and goes on only when that is taken: what fell due meanwhile is its overrun. So a timer of a
// microsecond costs what its process takes, and no more; one whose signal is ignored goes on at most once a tick. CPU timers need
// no such care, for they are looked at once a tick.
//
// Invariants:
//   - A timer's entry is in a signal queue exactly while its state is sent.
//   - The next expiry is later than all those that a signal or an overrun was counted for.
//
// Locks: Timers.mu (lock.Timer) outside the owner's signals (lock.Signals). signal.Entry's OnTake is called under the latter and so cannot take
// mu: what it changes is atomic, and whoever else writes that has taken the entry out of the queues before.
package timer

import (
	"sync/atomic"

	"goum/arch/lock"
	"goum/kernel/cred"
	"goum/kernel/signal"
	"goum/sched"
	"goum/sched/clock"
)

// Machine is what all processes' timers share.
type Machine struct {
	clk  *clock.Clock
	sets atomic.Uint64 // calls of ClockSet

	sleepers sched.Queue // threads that sleep until a time of the wall clock

	mu   lock.Mutex[lock.Clock] // taken inside Timers.mu; nothing is called under it
	real map[*Timer]struct{}    // timers that wait for a time of the wall clock; guarded by mu
}

// NewMachine is for a machine with that clock.
func NewMachine(clk *clock.Clock) *Machine {
	return &Machine{clk: clk, real: map[*Timer]struct{}{}}
}

// ClockSet sets those right that wait for a time of the wall clock. It is called after it was set, with no lock held.
func (m *Machine) ClockSet() {
	m.sets.Add(1)
	m.sleepers.Wake(sched.Any)
	m.mu.Lock()
	all := make([]*Timer, 0, len(m.real))
	for t := range m.real {
		all = append(all, t)
	}
	m.mu.Unlock()
	for _, t := range all {
		t.in.mu.Lock()
		if t.state.Load() == armed && t.real {
			t.start()
		}
		t.in.mu.Unlock()
	}
}

func (m *Machine) watch(t *Timer, on bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if on {
		m.real[t] = struct{}{}
	} else {
		delete(m.real, t)
	}
}

// Process is what Timers needs of its process. All functions may be called with Timers.mu held, from any goroutine.
type Process struct {
	Target signal.EntryTarget
	// Remove takes an entry that was sent to the process or one of its threads out of the queues, if it is in one.
	Remove func(*signal.Entry)
	// CPU is the time that the process has used.
	CPU func() (user, system clock.Time)
}

// Timers are one process's.
type Timers struct {
	// Immutable after New.
	m *Machine
	p Process

	cpuUsers atomic.Int32 // what makes Tick look: armed CPU timers, and a limit

	mu lock.Mutex[lock.Timer]

	// Guarded by mu.
	real   *Timer     // ITIMER_REAL, once used
	virt   cpuItimer  // ITIMER_VIRTUAL
	prof   cpuItimer  // ITIMER_PROF
	limit  clock.Time // RLIMIT_CPU: the next SIGXCPU; Never for none
	hard   clock.Time // and SIGKILL
	posix  map[int32]*Timer
	cpu    []*Timer // armed POSIX timers of CPU time
	nextID int32
	gone   bool
}

// New makes an empty set of timers for a process.
func (m *Machine) New(p Process) *Timers {
	return &Timers{m: m, p: p, limit: clock.Never, hard: clock.Never, posix: map[int32]*Timer{}}
}

// Exit ends the timers that do not outlive an exec (those of timer_create), or all of them.
func (s *Timers) Exit(exec bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, t := range s.posix {
		s.drop(id, t)
	}
	if exec {
		return
	}
	if s.real != nil {
		s.real.stop()
	}
	s.virt, s.prof = cpuItimer{}, cpuItimer{}
	s.limit, s.hard = clock.Never, clock.Never
	s.gone = true
	s.count()
}

// What a Timer is doing.
const (
	idle  uint32 = iota
	armed        // waits for expiry
	sent         // has expired, and its signal was not taken yet
)

// Timer is a timer that sends its signal by an Entry of its own.
type Timer struct {
	// Immutable once made.
	in      *Timers
	ct      *clock.Timer // nil for CPU time
	read    func() int64 // a CPU clock; nil for real time
	offset  func() int64 // of the clock that the timer was made for: what it is ahead of the monotonic one
	silent  bool         // SIGEV_NONE
	target  signal.EntryTarget
	user    *cred.User // counted for
	info    signal.Info
	entry   signal.Entry
	overran bool // overruns are told in siginfo: not for ITIMER_REAL

	real bool // expiry is a time of the wall clock; guarded by in.mu

	// Written under in.mu while the entry is in no queue, and by OnTake under the owner's lock of signals.
	state    atomic.Uint32
	expiry   atomic.Int64 // of the clock by which it waits, ns: the next one, or while sent the one that was
	interval atomic.Int64 // ns; 0: once
	overrun  atomic.Int64 // of the signal taken last: timer_getoverrun(2)
	missed   atomic.Int64 // CPU time: expiries while sent
	deleted  atomic.Bool
	seen     atomic.Bool // the signal sent last was taken, not dropped
}

// now is the time by which t waits.
func (t *Timer) now() int64 {
	switch {
	case t.read != nil:
		return t.read()
	case t.real:
		return int64(t.in.m.clk.Monotonic()) + t.offset()
	}
	return int64(t.in.m.clk.Monotonic())
}

// start has the clock call when t expires.
func (t *Timer) start() {
	at := t.expiry.Load()
	if t.real {
		at -= t.offset()
	}
	t.ct.Reset(clock.Time(max(at, 0)))
}

// stop disarms t, and takes back a signal that nobody has seen. in.mu is held.
func (t *Timer) stop() {
	if t.deleted.Load() {
		return
	}
	t.in.p.Remove(&t.entry) // first: OnTake may start the clock until then
	if t.ct != nil {
		t.ct.Stop()
	}
	t.state.Store(idle)
	t.interval.Store(0)
	t.expiry.Store(0)
	t.missed.Store(0)
	if t.real {
		t.real = false
		t.in.m.watch(t, false)
	}
	if t.read != nil {
		t.in.uncount(t)
	}
}

// fire is called by the clock.
func (t *Timer) fire() {
	t.in.mu.Lock()
	defer t.in.mu.Unlock()
	if t.state.Load() != armed || t.deleted.Load() {
		return
	}
	if t.now() < t.expiry.Load() {
		t.start() // the clock was set meanwhile, or the timer
		return
	}
	t.send()
}

// send queues the signal. in.mu is held.
func (t *Timer) send() {
	t.seen.Store(false)
	t.state.Store(sent)
	t.entry.Info = t.info
	t.target.SendEntry(&t.entry)
}

// taken is the Entry's OnTake; info is nil if the signal was dropped.
func (t *Timer) taken(info *signal.Info) {
	if t.state.Load() != sent || t.deleted.Load() {
		return
	}
	t.seen.Store(info != nil)
	if t.read != nil { // Tick goes on counting
		n := t.missed.Swap(0)
		if info != nil {
			t.overrun.Store(n)
			info.SetOverrun(clampInt(n))
		}
		if t.interval.Load() != 0 {
			t.state.Store(armed)
		} else {
			t.state.Store(idle)
		}
		return
	}
	every := t.interval.Load()
	if every == 0 {
		t.overrun.Store(0)
		t.state.Store(idle)
		return
	}
	now := t.now()
	n := max(now-t.expiry.Load(), 0) / every
	t.expiry.Store(later(t.expiry.Load(), every, n+1))
	if info == nil {
		// Ignored: keep counting, but not faster than the tick.
		if soon := now + int64(sched.TickPeriod); t.expiry.Load() < soon {
			n = (soon - t.expiry.Load() + every - 1) / every
			t.expiry.Store(later(t.expiry.Load(), every, n))
		}
	} else if t.overran {
		t.overrun.Store(n)
		info.SetOverrun(clampInt(n))
	}
	t.state.Store(armed)
	t.start()
}

// later is at, n intervals on, as far as there is time.
func later(at, every, n int64) int64 {
	if n > 0 && every > (int64(clock.Never)-max(at, 0))/n {
		return int64(clock.Never)
	}
	return at + every*n
}

// clampInt is Linux's timer_overrun_to_int.
func clampInt(n int64) int32 { return int32(min(n, 1<<31-1)) }

// left is how long until t expires; what has expired, and is not idle, is at its very end: 1 ns.
func (t *Timer) left() int64 {
	every := t.interval.Load()
	if t.state.Load() == idle && !(t.silent && t.expiry.Load() != 0) {
		return 0
	}
	if t.state.Load() == sent && every == 0 {
		return 0
	}
	now, at := t.now(), t.expiry.Load()
	if at <= now && every != 0 && (t.silent || t.state.Load() == sent) {
		at = later(at, every, (now-at)/every+1)
	}
	switch {
	case at > now:
		return at - now
	case t.silent:
		return 0
	}
	return 1
}
