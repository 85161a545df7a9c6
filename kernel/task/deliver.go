package task

import (
	"goum/arch/abi"
	"goum/arch/x86"
	"goum/kernel/signal"
	"goum/sched"
	"goum/sched/clock"
)

// BeginCall says that t has trapped for the system call nr.
func (t *Task) BeginCall(nr uint64) { t.Call = int64(nr) }

// FinishCall puts the outcome of a call into t's registers. An ERESTART errno is kept for Leave, which turns it into a restart or EINTR.
// A call that has set the registers itself (rt_sigreturn) has made Call -1, and is left alone.
func (t *Task) FinishCall(result uint64, e abi.Errno) {
	if t.Call < 0 {
		return
	}
	if e >= abi.ERESTARTSYS {
		t.restart = e
		t.Work.Or(WorkRestart)
	}
	t.Regs.SetResult(result, e)
}

// Busy says whether t must call Leave before it goes to user mode.
func (t *Task) Busy() bool { return t.Work.Load()&^WorkTrace != 0 || t.Thread.Interrupted() }

// Exited says that all of t's end has been done: its goroutine returns.
func (t *Task) Exited() bool { return t.exited }

// Leave does all that stands between t and user mode: it ends t, stops it with its process, runs what was left to be run (OnReturn),
// delivers signals, restarts calls. False: t has ended, and its goroutine must return from System.Main.
func (t *Task) Leave() bool {
	for t.Busy() && !t.exited {
		w := t.Work.Load()
		if w&WorkExit != 0 {
			t.exit()
			break
		}
		if w&WorkNotify != 0 {
			t.Work.And(^WorkNotify)
			todo := t.onBack
			t.onBack = nil
			for _, f := range todo {
				f(t)
			}
			continue
		}
		t.deliver()
	}
	return !t.exited
}

// deliver delivers one signal, or finds that there is none to deliver.
func (t *Task) deliver() {
	var info signal.Info
	act, status := t.nextSignal(&info)
	switch status {
	case mustExit:
		t.ExitGroup(0) // the process has its status already
		return
	case nothing:
		if t.Work.And(^WorkRestart)&WorkRestart != 0 {
			switch t.restart {
			case abi.ERESTART_RESTARTBLOCK:
				t.Regs.Restart(abi.SYS_RESTART_SYSCALL)
			default:
				t.Regs.Restart(uint64(t.Call))
			}
		}
		if t.Work.And(^WorkRestoreMask)&WorkRestoreMask != 0 {
			t.SetMask(t.sig.saved)
		}
		return
	}
	if t.Work.And(^WorkRestart)&WorkRestart != 0 {
		again := t.restart == abi.ERESTARTNOINTR || t.restart == abi.ERESTARTSYS && act.Flags&abi.SA_RESTART != 0
		if again {
			t.Regs.Restart(uint64(t.Call))
		} else {
			t.Regs.SetResult(0, abi.EINTR)
		}
	}
	t.Call = -1
	t.enter(int(info.Signo), &act, &info)
}

type found int

const (
	nothing  found = iota // no signal is to be handled
	handler               // one with a handler
	mustExit              // the process ends
)

// nextSignal is Linux's get_signal: it takes signals and does what needs no handler, until one needs one.
func (t *Task) nextSignal(info *signal.Info) (act signal.Action, what found) {
	p, s := t.Process, &t.Process.sig
	s.mu.Lock()
	defer func() { s.mu.Unlock() }()
	t.Work.And(^WorkStop)
	for {
		if why := s.notify; why != 0 {
			s.notify = 0
			code := s.stopSig
			s.mu.Unlock()
			p.tellStop(why, code)
			s.mu.Lock()
			continue
		}
		if t.sig.killed {
			return act, mustExit
		}
		if t.sig.mustStop {
			t.stop()
			continue
		}
		sig := t.sig.pending.TakeSynchronous(t.sig.mask, info)
		if sig == 0 {
			sig = t.dequeue(t.sig.mask, info)
		}
		if sig == 0 {
			t.Thread.ClearInterrupt()
			return act, nothing
		}
		if signal.Stops.Has(sig) {
			t.sig.dequeued = true
		}
		act = s.actions.TakeHandler(sig)
		switch act.Handler {
		case abi.SIG_IGN:
			continue
		case abi.SIG_DFL:
		default:
			return act, handler
		}
		disposition := signal.Default(sig)
		if disposition == signal.Ignore || s.unkillable && !signal.Unmaskable.Has(sig) {
			continue
		}
		if disposition == signal.Stop {
			if sig != abi.SIGSTOP {
				s.mu.Unlock()
				orphan := t.Group().Orphaned()
				s.mu.Lock()
				if orphan {
					continue
				}
			}
			t.beginStop(int32(sig))
			continue
		}
		core := false
		if disposition == signal.Core && t.System.Dump != nil && !s.ending {
			s.mu.Unlock()
			core = t.System.Dump(t, info)
			s.mu.Lock()
		}
		p.end(Killed(sig, core))
		return act, mustExit
	}
}

// beginStop starts a stop of the whole process by sig, which t has taken; or not, if SIGCONT came in between. Signals is held.
func (t *Task) beginStop(sig int32) {
	s := &t.Process.sig
	if !t.sig.dequeued || s.ending || s.execer != nil {
		return
	}
	t.sig.dequeued = false
	if !s.stopped {
		s.stopSig = sig
	}
	s.stopping = 0
	for _, o := range s.threads {
		if o.sig.stopped || o.sig.killed {
			continue
		}
		o.sig.mustStop = true
		s.stopping++
		if o != t {
			o.SetWork(WorkStop)
		}
	}
}

// stop makes t stand still until SIGCONT, or its end. Signals is held, and let go of meanwhile.
func (t *Task) stop() {
	p, s := t.Process, &t.Process.sig
	tell := t.joinStop()
	t.sig.stopped = true
	code := s.stopSig
	s.mu.Unlock()
	if tell {
		p.tellStop(abi.CLD_STOPPED, code)
	}
	s.changed.WaitKillable(t.Thread, sched.Any, clock.Never, func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return !t.sig.stopped
	})
	s.mu.Lock()
	t.sig.stopped = false
}

// joinStop counts t among those that have stopped, and says whether it was the last that had to. Signals is held.
func (t *Task) joinStop() bool {
	s := &t.Process.sig
	t.sig.mustStop = false
	if s.stopping > 0 {
		s.stopping--
	}
	if s.stopping > 0 || s.stopped {
		return false
	}
	s.stopped, s.waitStop, s.waitCont = true, true, false
	return true
}

// tellStop tells the parent that the process has stopped by sig or continued: do_notify_parent_cldstop.
func (p *Process) tellStop(why, sig int32) {
	tr := p.System.Tree
	tr.mu.Lock()
	defer tr.mu.Unlock()
	parent := p.parentLocked()
	if parent == nil {
		return
	}
	info := p.childInfo(why)
	info.SetStatus(sig)
	if why == abi.CLD_CONTINUED {
		info.SetStatus(abi.SIGCONT)
	}
	a := parent.sig.action(abi.SIGCHLD)
	if a.Handler != abi.SIG_IGN && a.Flags&abi.SA_NOCLDSTOP == 0 {
		parent.Send(&info)
	}
	parent.waits.Wake(sched.Any)
}

// childInfo begins the siginfo that a parent gets about p. Tree is held.
func (p *Process) childInfo(code int32) signal.Info {
	info := signal.Info{Signo: abi.SIGCHLD, Code: code}
	info.SetPID(p.PID)
	info.SetUID(p.leader.Cred().UID)
	u := p.all()
	info.SetUtime(int64(u.user) / (abi.NsPerSec / abi.HZ))
	info.SetStime(int64(u.system) / (abi.NsPerSec / abi.HZ))
	return info
}

// enter makes t run the handler of sig when it goes to user mode.
func (t *Task) enter(sig int, act *signal.Action, info *signal.Info) {
	if !t.pushFrame(sig, act, info) {
		fault := signal.Kernel(abi.SIGSEGV)
		t.force(&fault, sig == abi.SIGSEGV) // a handler of SIGSEGV itself would fail for ever
		return
	}
	if t.sig.alt.Flags&flagAutodisarm != 0 {
		t.sig.alt = abi.StackT{Flags: abi.SS_DISABLE}
	}
	t.Work.And(^WorkRestoreMask)
	mask := t.sig.mask | act.Mask
	if act.Flags&abi.SA_NODEFER == 0 {
		mask |= signal.Bit(sig)
	}
	t.SetMask(mask)
}

// pushFrame writes the frame and sets the registers; false: there is no room for it where it has to go.
func (t *Task) pushFrame(sig int, act *signal.Action, info *signal.Info) bool {
	if act.Flags&abi.SA_RESTORER == 0 {
		return false // the x86-64 ABI has no other way back
	}
	alt := t.sig.alt
	sp := t.Regs.RSP - x86.RedZone
	inAlt := t.onAlt(t.Regs.RSP)
	if act.Flags&abi.SA_ONSTACK != 0 && t.onStack(sp) == 0 {
		sp = alt.SP + alt.Size
		inAlt = true
	}
	xstate := t.Stub.XState()
	frame, fp, end := x86.FrameLayout(sp, len(xstate))
	if inAlt && !(frame > alt.SP && frame-alt.SP <= alt.Size) {
		return false
	}
	size := end - frame
	if size > uint64(x86.MaxFrame()) {
		return false
	}
	if t.frame == nil {
		t.frame = make([]byte, x86.MaxFrame())
	}
	f := x86.Frame{Regs: &t.Regs, XState: xstate, Info: info, Stack: alt, Mask: t.sig.mask, Restorer: act.Restorer}
	if t.Work.Load()&WorkRestoreMask != 0 {
		f.Mask = t.sig.saved
	}
	x86.BuildFrame(t.frame, frame, fp, end, &f)
	if t.User().CopyOut(frame, t.frame[:size]) != 0 {
		return false
	}
	x86.InitXState(xstate)
	t.Stub.SetXState(xstate)
	t.Regs.EnterHandler(frame, sig, act.Handler)
	return true
}

// SigReturn is rt_sigreturn(2): the registers, the mask, the alternate stack and the floating point state come back from the frame
// that t stands at. The registers are t's whole result; where the frame cannot be read or holds what cannot be, t gets SIGSEGV.
func (t *Task) SigReturn() {
	t.Call = -1
	t.block = nil
	if !t.popFrame() {
		fault := signal.Kernel(abi.SIGSEGV)
		t.Force(&fault)
	}
}

func (t *Task) popFrame() bool {
	var b [x86.ReturnSize]byte
	if t.User().CopyIn(b[:], x86.FrameAt(t.Regs.RSP)) != 0 {
		return false
	}
	regs := t.Regs
	r, e := x86.ParseFrame(&regs, b[:])
	if e != 0 {
		return false
	}
	t.SetMask(r.Mask)
	t.Regs = regs
	if t.image == nil {
		t.image = make([]byte, x86.XStateSize())
	}
	img := t.image
	x86.InitXState(img)
	if r.FPAddr != 0 {
		if t.frame == nil {
			t.frame = make([]byte, x86.MaxFrame())
		}
		n, _ := t.User().CopyInSome(t.frame[:x86.XFrameSize()], r.FPAddr)
		if x86.RestoreXState(img, t.frame[:n]) != 0 {
			t.Stub.SetXState(img)
			return false
		}
	}
	t.Stub.SetXState(img)
	t.SetAltStack(r.Stack) // what it refuses stays as it is, as in Linux
	return true
}

// RestartWith has restart_syscall(2) run f if the call that now returns ERESTART_RESTARTBLOCK is interrupted by a signal without a
// handler: f goes on with what is left to wait. nanosleep, poll, futex.
func (t *Task) RestartWith(f func(*Task) (uint64, abi.Errno)) abi.Errno {
	t.block = f
	return abi.ERESTART_RESTARTBLOCK
}

// RestartCall is restart_syscall(2): EINTR if there is nothing to go on with.
func (t *Task) RestartCall() (uint64, abi.Errno) {
	f := t.block
	t.block = nil
	if f == nil {
		return 0, abi.EINTR
	}
	return f(t)
}
