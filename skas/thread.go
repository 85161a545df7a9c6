package skas

import (
	"sync/atomic"

	"goum/arch/abi"
	"goum/arch/x86"
	"goum/stub"
)

// Thread is one host thread of a stub, which runs one guest thread.
type Thread struct {
	// immutable after newThread
	stub *Stub
	slot *stub.Slot
	base uint64 // the slot's address in the stub

	tid atomic.Int32 // the host's; 0 until its first notification

	// only the task's own goroutine, while the thread is parked
	id       uint64 // of the notification that is not answered: the thread stands still as long as that is so
	frame    int    // offset in the slot of the ucontext to resume from
	fresh    bool   // that ucontext is ours, not a signal's: it begins as freshFrame says
	ops      [stub.MaxOps]stub.Op
	nops     int
	head     int    // how many of ops were answered
	seq      uint64 // of the last of ops, for Space.Proven; 0: nothing to prove
	asked    bool   // for a report behind them
	refused  bool   // the last of those answered, because the page table had changed meanwhile
	failed   bool   // the host refused a clone
	retries  int    // how often in a row the host refused anything else
	fs, gs   uint64 // the bases that the thread has
	xstate   []byte
	answer   response
	incoming notification // where this task receives, for itself or another
	current  notification // what pump returned

	// guarded by stub.mu
	inbox   notification
	arrived bool
	waiting bool
	pulse   chan struct{} // room for one: something arrived, or the listener is free

	// atomic
	user   atomic.Bool   // answered, and not yet back
	deaf   atomic.Bool   // tests only: alarms are not sent
	kicked atomic.Bool   // a kick that nobody has acted on
	count  atomic.Uint64 // notifications so far: the watchdog's sign of life
}

// newThread makes the monitor's side of the next thread. The caller holds mu, or nobody else knows s; then it calls reset.
func (s *Stub) newThread() *Thread {
	n := len(s.threads)
	t := &Thread{
		stub:   s,
		slot:   s.pool.slot(s.slice, n),
		base:   stub.Control + uint64(n)*stub.SlotSize,
		xstate: make([]byte, x86.XStateSize()),
		pulse:  make(chan struct{}, 1),
	}
	s.threads = append(s.threads, t)
	s.slots = max(s.slots, n+1)
	return t
}

// reset gives the thread a ucontext of our own to start from, with initial floating point state, and the argument of its first call.
func (t *Thread) reset() {
	t.slot.Stack = stub.StackT{SP: t.base + stub.StackOffset, Size: stub.SlotSize - stub.StackOffset}
	t.frame, t.fresh = freshFrame(t), true
	x86.InitXState(t.xstate)
	t.SetXState(t.xstate)
}

// nudge lets the thread's task look again. stub.mu is held.
func (t *Thread) nudge() {
	if !t.waiting {
		return
	}
	select {
	case t.pulse <- struct{}{}:
	default:
	}
}

// Run lets the thread run in user mode with the registers r until it comes back, and fills r with what it came back with. The
// operations that wait in its Space are performed first. It allocates nothing.
func (t *Thread) Run(r *x86.Regs) Event {
	t.putRegs(r)
	t.user.Store(true)
	ev := t.run(r)
	t.user.Store(false)
	return ev
}

func (t *Thread) run(r *x86.Regs) Event {
	for {
		flags := t.begin()
		if t.kicked.Load() {
			if t.nops == 0 {
				t.kicked.Store(false)
				return Event{Kind: Preempt}
			}
			flags |= stub.AnswerReport // the operations first: they are taken
		}
		if r.FSBase != t.fs || r.GSBase != t.gs {
			t.slot.FSBase, t.slot.GSBase = r.FSBase, r.GSBase
			flags |= stub.AnswerBases
		}
		if !t.reply(flags) {
			return Event{Kind: Died}
		}
		n, ok := t.perform()
		if !ok {
			return Event{Kind: Died}
		}
		if n.Args[0] != stub.ReportBatch {
			return t.take(n, r)
		}
	}
}

// Flush has the operations that wait in the Space performed, and proven, while the guest thread stays in the kernel: for fork, whose
// child must not share what other threads of the parent can still write. False: the stub is dead.
func (t *Thread) Flush() bool {
	t.user.Store(true) // to the watchdog this is like user mode: an honest stub is back at once
	defer t.user.Store(false)
	for {
		flags := t.begin()
		if t.nops == 0 {
			return true
		}
		if !t.reply(flags | stub.AnswerReport) {
			return false
		}
		if _, ok := t.perform(); !ok {
			return false
		}
	}
}

// reply answers the report that the thread stands at: perform t.ops, then report or resume.
func (t *Thread) reply(flags uint64) bool {
	t.asked = flags&stub.AnswerReport != 0
	t.slot.Frame = t.base + uint64(t.frame)
	t.answer = response{ID: t.id, Val: stub.AnswerTag<<stub.AnswerTagShift | int64(flags)<<stub.AnswerFlagShift | int64(t.nops)}
	return t.deliver()
}

// perform answers the thread's notifications until it reports.
func (t *Thread) perform() (*notification, bool) {
	for {
		n, ok := t.stub.pump(t)
		if !ok {
			return nil, false
		}
		if t.isReport(n) {
			if !t.settle(n) {
				return nil, false
			}
			return n, true
		}
		if !t.serve(n) {
			return nil, false
		}
	}
}

// isReport tells a report from an operation, and remembers it as the one to answer.
func (t *Thread) isReport(n *notification) bool {
	if n.IP != t.stub.pool.sites.Report {
		return false
	}
	t.id = n.ID
	return true
}

// awaitFresh waits for the first report of a new thread. A stub that begins with anything else is killed.
func (t *Thread) awaitFresh() bool {
	n, ok := t.stub.pump(t)
	if ok && (!t.isReport(n) || n.Args[0] != stub.ReportFresh) {
		t.stub.condemn("a thread that does not begin like one")
		ok = false
	}
	return ok
}

// NewThread makes another thread in t's address space: one that is parked, or one that t's host thread clones. Its registers and
// floating point state are those of a new program until its first Run. EAGAIN: there are MaxThreads, or the host has no more.
//
// It waits for the host, and for other threads' NewThread: call it off the vCPU.
func (t *Thread) NewThread() (*Thread, abi.Errno) {
	s := t.stub
	s.mu.Lock()
	for s.cloning != nil && len(s.idle) == 0 && !s.dead.Load() {
		s.wake.Wait()
	}
	if n := len(s.idle); n > 0 {
		nt := s.idle[n-1]
		s.idle = s.idle[:n-1]
		s.mu.Unlock()
		nt.reset()
		return nt, 0
	}
	if len(s.threads) == stub.MaxThreads || s.dead.Load() {
		s.mu.Unlock()
		return nil, abi.EAGAIN
	}
	nt := s.newThread()
	s.cloning = nt
	s.shared.Store(true) // t is parked, and its batches are settled
	s.mu.Unlock()
	nt.reset()
	made := t.clone(nt)
	s.mu.Lock()
	defer s.mu.Unlock()
	if !made {
		s.threads = s.threads[:len(s.threads)-1]
		if nt.tid.Load() != 0 {
			s.condemnLocked("it says that a clone failed, and yet there is the thread")
		}
	}
	s.cloning, s.promised = nil, false
	s.wake.Broadcast()
	if !made {
		return nil, abi.EAGAIN
	}
	return nt, 0
}

// clone has t's host thread make nt's, and waits for the reports of both.
func (t *Thread) clone(nt *Thread) bool {
	s := t.stub
	s.acquire(t)
	t.ops[0] = stub.Op{Kind: stub.OpClone, Addr: nt.base + stub.SlotSize}
	t.nops, t.head, t.seq, t.failed = 1, 0, 0, false
	t.slot.Ops[0] = t.ops[0]
	t.user.Store(true)
	ok := t.reply(stub.AnswerReport)
	if ok {
		_, ok = t.perform()
	}
	t.user.Store(false)
	if !ok || t.failed {
		return false
	}
	// A stub that hides a clone's failure has us wait for a report that never comes: the watchdog ends that.
	s.mu.Lock()
	s.promised, s.looks = true, 0
	s.mu.Unlock()
	return nt.awaitFresh()
}

// Park says that the guest thread is gone. The host thread stands still, and is used again.
func (t *Thread) Park() {
	s := t.stub
	s.mu.Lock()
	s.idle = append(s.idle, t)
	s.wake.Broadcast()
	s.mu.Unlock()
}

// Stub returns the process that t belongs to.
func (t *Thread) Stub() *Stub { return t.stub }
