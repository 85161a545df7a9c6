package task

import (
	"goum/arch/abi"
	"goum/arch/lock"
	"goum/kernel/signal"
	"goum/sched"
	"goum/sched/clock"
)

// groupSignals is a process's side of signals: what is pending for all its threads, and whether it stops or ends.
type groupSignals struct {
	mu lock.Mutex[lock.Signals]

	// Guarded by mu; threads changes under Tree as well.
	threads []*Task
	actions *signal.Actions
	shared  signal.Queue

	unkillable bool // the first process: signals without a handler do nothing to it
	ending     bool // all threads are to end, with status
	status     int32
	execer     *Task // wants to be the only thread
	leaving    int   // threads that are no more in threads, and have not done all of their end

	stopped  bool  // all threads are stopped
	stopping int   // threads that have yet to stop
	stopSig  int32 // by which signal
	waitStop bool  // the parent has not waited for the stop yet
	waitCont bool  // nor for the continuation
	notify   int32 // CLD_STOPPED or CLD_CONTINUED, to be told to the parent by the next thread that looks

	// Woken with POLLIN when a signal comes: signalfd, sigtimedwait. Callbacks are called under mu.
	arrived sched.Queue
	// Stopped threads, and an exec that waits for others, sleep here.
	changed sched.Queue
}

// threadSignals is a thread's side. Guarded by the process's groupSignals.mu; the thread itself may read mask, saved and alt without.
type threadSignals struct {
	mask    signal.Set // blocked
	saved   signal.Set // with WorkRestoreMask: what comes back
	waiting signal.Set // sigtimedwait: wanted although it is blocked
	pending signal.Queue
	alt     abi.StackT

	mustStop bool // takes part in the stop that is on
	stopped  bool
	dequeued bool // has taken a stop signal, and no SIGCONT came since
	killed   bool // it is to end, with its process or because another thread runs exec
}

func (s *groupSignals) action(sig int) signal.Action {
	s.mu.Lock()
	a := s.actions
	s.mu.Unlock()
	return a.Get(sig)
}

func (s *groupSignals) isStopped() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stopped
}

// Actions is the table of actions.
func (p *Process) Actions() *signal.Actions {
	p.sig.mu.Lock()
	defer p.sig.mu.Unlock()
	return p.sig.actions
}

// SetAction is rt_sigaction(2): EINVAL for what is no signal, or SIGKILL and SIGSTOP where set is not nil. What is now ignored is
// no longer pending.
func (t *Task) SetAction(sig int32, set *signal.Action) (old signal.Action, e abi.Errno) {
	if !signal.Valid(int(sig)) || set != nil && signal.Unmaskable.Has(int(sig)) {
		return old, abi.EINVAL
	}
	s := &t.Process.sig
	s.mu.Lock()
	defer s.mu.Unlock()
	if set == nil {
		return s.actions.Get(int(sig)), 0
	}
	a := *set
	a.Flags &= knownActionFlags // an unknown flag is cleared, so that programs can find out what there is
	old = s.actions.Set(int(sig), a)
	if s.actions.Ignored(int(sig)) {
		gone := signal.Bit(int(sig))
		s.shared.Drop(gone)
		for _, o := range s.threads {
			o.sig.pending.Drop(gone)
		}
	}
	return old, 0
}

const knownActionFlags = abi.SA_NOCLDSTOP | abi.SA_NOCLDWAIT | abi.SA_SIGINFO | abi.SA_ONSTACK | abi.SA_RESTART |
	abi.SA_NODEFER | abi.SA_RESETHAND | abi.SA_EXPOSE_TAGBITS | abi.SA_RESTORER

// Mask is the set of signals that t blocks. Only t's own goroutine; others ask SignalSets.
func (t *Task) Mask() signal.Set { return t.sig.mask }

// SetMask sets it (never SIGKILL and SIGSTOP). What is pending and blocked no more is delivered before t goes to user mode.
func (t *Task) SetMask(mask signal.Set) {
	s := &t.Process.sig
	s.mu.Lock()
	defer s.mu.Unlock()
	t.setMask(mask)
}

// setMask is SetMask with Signals held.
func (t *Task) setMask(mask signal.Set) {
	mask &^= signal.Unmaskable
	newly := mask &^ t.sig.mask
	t.sig.mask = mask
	if newly != 0 {
		t.retarget(newly)
	}
	if t.wanted() != 0 {
		t.Thread.Interrupt()
	}
}

// ChangeMask is rt_sigprocmask(2): how is SIG_BLOCK, SIG_UNBLOCK or SIG_SETMASK; EINVAL.
func (t *Task) ChangeMask(how int32, set signal.Set) (old signal.Set, e abi.Errno) {
	old = t.sig.mask
	switch how {
	case abi.SIG_BLOCK:
		t.SetMask(old | set)
	case abi.SIG_UNBLOCK:
		t.SetMask(old &^ set)
	case abi.SIG_SETMASK:
		t.SetMask(set)
	default:
		return old, abi.EINVAL
	}
	return old, 0
}

// SetTemporaryMask sets the mask for a call that waits: ppoll, pselect6, epoll_pwait, rt_sigsuspend. The mask from before comes back when
// the call has returned; a signal that ends the wait is still delivered with the temporary one, and sigreturn restores the
// one from before. A call that ends without having been interrupted says DropTemporaryMask.
func (t *Task) SetTemporaryMask(mask signal.Set) {
	t.sig.saved = t.sig.mask
	t.Work.Or(WorkRestoreMask)
	t.SetMask(mask)
}

// DropTemporaryMask puts the mask of before SetTemporaryMask back at once: the call ends without having been interrupted.
func (t *Task) DropTemporaryMask() {
	if t.Work.And(^WorkRestoreMask)&WorkRestoreMask != 0 {
		t.SetMask(t.sig.saved)
	}
}

// SigSuspend is rt_sigsuspend(2): it sleeps until a signal is to be delivered. ERESTARTNOHAND.
func (t *Task) SigSuspend(mask signal.Set) abi.Errno {
	t.SetTemporaryMask(mask)
	for !t.signalPending() {
		t.Thread.Sleep(clock.Never)
	}
	return abi.ERESTARTNOHAND
}

// Pause is pause(2): ERESTARTNOHAND.
func (t *Task) Pause() abi.Errno {
	for !t.signalPending() {
		t.Thread.Sleep(clock.Never)
	}
	return abi.ERESTARTNOHAND
}

// Pending is rt_sigpending(2): what is blocked and pending, for t or for the process.
func (t *Task) Pending() signal.Set {
	s := &t.Process.sig
	s.mu.Lock()
	defer s.mu.Unlock()
	return (t.sig.pending.Pending() | s.shared.Pending()) & t.sig.mask
}

// SignalSets are what /proc/PID/status tells.
type SignalSets struct {
	Pending, Shared, Blocked, Ignored, Caught signal.Set
	Queued                                    int64
	Limit                                     uint64
}

// SignalSets takes them at one moment.
func (t *Task) SignalSets() (s SignalSets) {
	g := &t.Process.sig
	g.mu.Lock()
	s.Pending, s.Shared, s.Blocked = t.sig.pending.Pending(), g.shared.Pending(), t.sig.mask
	a := g.actions
	g.mu.Unlock()
	s.Caught, s.Ignored = a.Sets()
	s.Queued, s.Limit = t.Cred().User.Signals.Load(), t.Limits().Cur(abi.RLIMIT_SIGPENDING)
	return s
}

// Stopped says whether the process of t is stopped: the T of /proc/PID/stat.
func (t *Task) Stopped() bool {
	s := &t.Process.sig
	s.mu.Lock()
	defer s.mu.Unlock()
	return t.sig.stopped
}

// AltStack is the alternate stack with its state now (SS_ONSTACK, SS_DISABLE): what sigaltstack(2) gives back.
func (t *Task) AltStack() abi.StackT {
	a := t.sig.alt
	a.Flags = int32(t.onStack(t.Regs.RSP)) | a.Flags&flagAutodisarm
	return a
}

const flagAutodisarm = -1 << 31 // SS_AUTODISARM as the int that ss_flags is

// onStack is sas_ss_flags.
func (t *Task) onStack(sp uint64) uint32 {
	switch {
	case t.sig.alt.Size == 0:
		return abi.SS_DISABLE
	case t.onAlt(sp):
		return abi.SS_ONSTACK
	}
	return 0
}

// onAlt is on_sig_stack: with SS_AUTODISARM the stack is not known any more while it is in use.
func (t *Task) onAlt(sp uint64) bool {
	a := &t.sig.alt
	return a.Flags&flagAutodisarm == 0 && sp > a.SP && sp-a.SP <= a.Size
}

// SetAltStack is sigaltstack(2) for a thread whose stack pointer is sp: EPERM (it runs on the one there is), EINVAL (flags), ENOMEM
// (smaller than MINSIGSTKSZ).
func (t *Task) SetAltStack(n abi.StackT) abi.Errno {
	if t.onAlt(t.Regs.RSP) {
		return abi.EPERM
	}
	mode := n.Flags &^ flagAutodisarm
	if mode != abi.SS_DISABLE && mode != abi.SS_ONSTACK && mode != 0 {
		return abi.EINVAL
	}
	if n.SP == t.sig.alt.SP && n.Size == t.sig.alt.Size && n.Flags == t.sig.alt.Flags {
		return 0
	}
	if mode == abi.SS_DISABLE {
		n.SP, n.Size = 0, 0
	} else if n.Size < abi.MINSIGSTKSZ {
		return abi.ENOMEM
	}
	s := &t.Process.sig
	s.mu.Lock()
	t.sig.alt = n
	s.mu.Unlock()
	return 0
}

// SignalQueue is woken with POLLIN whenever a signal is queued for t's process or one of its threads: signalfd(2). Its callbacks
// must take no lock.Signals.
func (t *Task) SignalQueue() *sched.Queue { return &t.Process.sig.arrived }

// PendingOf is the pending signals of set, blocked or not: a signalfd's readiness.
func (t *Task) PendingOf(set signal.Set) bool {
	s := &t.Process.sig
	s.mu.Lock()
	defer s.mu.Unlock()
	return (t.sig.pending.Pending()|s.shared.Pending())&set != 0
}

// Dequeue takes a pending signal of set, blocked or not, in the order of delivery; 0: none. signalfd(2).
func (t *Task) Dequeue(set signal.Set, info *signal.Info) int {
	s := &t.Process.sig
	s.mu.Lock()
	defer s.mu.Unlock()
	return t.dequeue(^set, info)
}

// dequeue takes the next signal that is not in blocked, t's own ones first. Signals is held.
func (t *Task) dequeue(blocked signal.Set, info *signal.Info) int {
	for _, q := range [...]*signal.Queue{&t.sig.pending, &t.Process.sig.shared} {
		if sig := q.Next(blocked); sig != 0 {
			q.Take(sig, info)
			return sig
		}
	}
	return 0
}

// TimedWait is rt_sigtimedwait(2): it takes a signal of set, waiting for one until deadline. EAGAIN (none came), EINTR (another signal
// did).
func (t *Task) TimedWait(set signal.Set, info *signal.Info, deadline clock.Time) (int, abi.Errno) {
	s := &t.Process.sig
	set &^= signal.Unmaskable
	s.mu.Lock()
	sig := t.dequeue(^set, info)
	if sig != 0 || deadline <= t.System.Clock.Monotonic() {
		s.mu.Unlock()
		if sig == 0 {
			return 0, abi.EAGAIN
		}
		return sig, 0
	}
	// While it waits, the signals are not blocked for those who choose a thread to wake.
	t.sig.waiting = t.sig.mask & set
	t.sig.mask &^= set
	s.mu.Unlock()

	out := sched.Interrupted
	for out == sched.Interrupted {
		out = s.arrived.Wait(t.Thread, sched.Any, deadline, func() bool {
			s.mu.Lock()
			defer s.mu.Unlock()
			sig = t.dequeue(^set, info)
			return sig != 0
		})
		if out == sched.Interrupted && t.signalPending() {
			break // else another thread took what we were woken for
		}
	}
	s.mu.Lock()
	if sig == 0 {
		sig = t.dequeue(^set, info)
	}
	t.setMask(t.sig.mask | t.sig.waiting)
	t.sig.waiting = 0
	if !t.mustLook() {
		t.Thread.ClearInterrupt() // it was for the signal that we take ourselves
	}
	s.mu.Unlock()
	switch {
	case sig != 0:
		return sig, 0
	case out == sched.Expired:
		return 0, abi.EAGAIN
	}
	return 0, abi.EINTR
}
