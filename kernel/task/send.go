package task

import (
	"slices"

	"goum/arch/abi"
	"goum/kernel/signal"
	"goum/sched"
)

// Send sends a signal to t alone, as signal.Target: no permission is checked, and the kernel is the sender, so that even the
// first process's protection does not hold. EAGAIN: too many are queued.
func (t *Task) Send(info *signal.Info) abi.Errno {
	s := &t.Process.sig
	s.mu.Lock()
	defer s.mu.Unlock()
	return t.send(info, false, !signal.FromUser(info))
}

// Send sends a signal to the process; see Task.Send.
func (p *Process) Send(info *signal.Info) abi.Errno {
	p.sig.mu.Lock()
	defer p.sig.mu.Unlock()
	return p.send(info, !signal.FromUser(info))
}

// Send sends a signal to all processes of the group; see Task.Send. ESRCH: it has no members.
func (g *Group) Send(info *signal.Info) abi.Errno {
	g.tree.mu.Lock()
	defer g.tree.mu.Unlock()
	return g.send(info)
}

// send is Send with Tree held.
func (g *Group) send(info *signal.Info) abi.Errno {
	result := abi.ESRCH
	for p := range g.members {
		if e := p.Send(info); result != 0 {
			result = e
		}
	}
	return result
}

// SendEntry queues a timer's own entry for t alone: see signal.EntryTarget.
func (t *Task) SendEntry(e *signal.Entry) bool {
	s := &t.Process.sig
	s.mu.Lock()
	defer s.mu.Unlock()
	return t.sendEntry(e, false)
}

// SendEntry queues a timer's own entry for the process.
func (p *Process) SendEntry(e *signal.Entry) bool {
	p.sig.mu.Lock()
	defer p.sig.mu.Unlock()
	return p.somebody().sendEntry(e, true)
}

// RemoveEntry takes an entry of a timer that is deleted out of the queues. It holds for entries sent to p and to its threads.
func (p *Process) RemoveEntry(e *signal.Entry) {
	p.sig.mu.Lock()
	defer p.sig.mu.Unlock()
	if !e.Queued() || p.sig.shared.Remove(e) {
		return
	}
	for _, t := range p.sig.threads {
		if t.sig.pending.Remove(e) {
			return
		}
	}
}

// somebody is a thread for questions that any may answer. Signals is held.
func (p *Process) somebody() *Task {
	if len(p.sig.threads) > 0 && p.leader.dead {
		return p.sig.threads[0]
	}
	return p.leader
}

func (p *Process) send(info *signal.Info, force bool) abi.Errno {
	return p.somebody().send(info, true, force)
}

// send is Linux's __send_signal_locked: shared means for any thread of the process. Signals is held.
func (t *Task) send(info *signal.Info, shared, force bool) abi.Errno {
	sig := int(info.Signo)
	if !signal.Valid(sig) {
		return abi.EINVAL
	}
	s := &t.Process.sig
	if !t.prepare(sig, force) {
		return 0
	}
	q := &t.sig.pending
	if shared {
		q = &s.shared
	}
	if e := q.Add(info, t.Cred().User, t.Limits().Cur(abi.RLIMIT_SIGPENDING)); e != 0 {
		return e
	}
	t.complete(sig, shared, force)
	return 0
}

func (t *Task) sendEntry(e *signal.Entry, shared bool) bool {
	if e.Queued() {
		return false
	}
	sig := int(e.Info.Signo)
	if !t.prepare(sig, false) {
		if e.OnTake != nil {
			e.OnTake(nil)
		}
		return true
	}
	q := &t.sig.pending
	if shared {
		q = &t.Process.sig.shared
	}
	if !q.AddEntry(e) {
		return false
	}
	t.complete(sig, shared, false)
	return true
}

// prepare does what a signal does when it is sent, whether or not it is ignored: stops and continuations cancel each other. It
// says whether the signal is to be queued at all. Signals is held.
func (t *Task) prepare(sig int, force bool) bool {
	p, s := t.Process, &t.Process.sig
	switch {
	case len(s.threads) == 0, s.ending:
		return false
	case signal.Stops.Has(sig):
		p.dropPending(signal.Bit(abi.SIGCONT))
	case sig == abi.SIGCONT:
		p.resume()
	}
	return !t.ignored(sig, force)
}

// dropPending throws away what is pending of set, everywhere. Signals is held.
func (p *Process) dropPending(set signal.Set) {
	p.sig.shared.Drop(set)
	for _, o := range p.sig.threads {
		o.sig.pending.Drop(set)
	}
}

// resume is what SIGCONT does even where it is ignored or blocked. Signals is held.
func (p *Process) resume() {
	s := &p.sig
	p.dropPending(signal.Stops)
	woke := false
	for _, o := range s.threads {
		o.sig.mustStop, o.sig.dequeued = false, false
		if o.sig.stopped {
			o.sig.stopped = false
			woke = true
			o.Work.Or(WorkStop)
		}
	}
	switch {
	case s.stopped:
		s.notify = abi.CLD_CONTINUED
	case s.stopping > 0:
		s.notify = abi.CLD_STOPPED // it was as good as stopped
	default:
		return
	}
	s.stopped, s.stopping, s.waitStop, s.waitCont = false, 0, false, true
	if woke {
		s.changed.Wake(sched.Any)
	} else if len(s.threads) > 0 {
		s.threads[0].SetWork(WorkStop) // somebody has to tell the parent
	}
}

// ignored says whether sig would have no effect on t. What is blocked is kept: the action may change before it is not. Signals is held.
func (t *Task) ignored(sig int, force bool) bool {
	if (t.sig.mask | t.sig.waiting).Has(sig) {
		return false
	}
	s := &t.Process.sig
	h := s.actions.Get(sig).Handler
	if s.unkillable && h == abi.SIG_DFL && !(force && signal.Unmaskable.Has(sig)) {
		return true
	}
	return h == abi.SIG_IGN || h == abi.SIG_DFL && signal.Default(sig) == signal.Ignore
}

// wants says whether t would take sig now. Signals is held.
func (t *Task) wants(sig int) bool {
	return !t.dead && !t.sig.mask.Has(sig) && (sig == abi.SIGKILL || !t.sig.stopped)
}

// complete finds a thread for a signal that was queued, and wakes it; what is fatal ends the whole process at once. Signals is held.
func (t *Task) complete(sig int, shared, force bool) {
	s := &t.Process.sig
	s.arrived.Wake(abi.POLLIN)
	var to *Task
	switch {
	case t.wants(sig):
		to = t
	case !shared:
		return
	default:
		for _, o := range s.threads {
			if !o.wants(sig) {
				continue
			}
			if to == nil || to.Thread.Interrupted() && !o.Thread.Interrupted() {
				to = o
			}
		}
		if to == nil {
			return // all block it; whoever unblocks it will look
		}
	}
	if sig == abi.SIGKILL || t.Process.fatal(sig, to, force) {
		t.Process.end(Killed(sig, false))
		return
	}
	to.Thread.Interrupt()
}

// fatal says whether sig ends the process without a core file, so that nothing has to run first. Signals is held.
func (p *Process) fatal(sig int, to *Task, force bool) bool {
	s := &p.sig
	return signal.Default(sig) == signal.Term && s.actions.Get(sig).Handler == abi.SIG_DFL &&
		!to.sig.waiting.Has(sig) && (!s.unkillable || force && sig == abi.SIGKILL)
}

// end has all threads end, with status unless they are ending already. Signals is held.
func (p *Process) end(status int32) {
	s := &p.sig
	if s.ending {
		return
	}
	s.ending, s.status = true, status
	s.stopping = 0
	for _, o := range s.threads {
		o.kill()
	}
	s.changed.Wake(sched.Any)
}

// kill makes t end: it leaves user mode and every sleep that can be left. Signals is held.
func (t *Task) kill() {
	t.sig.killed, t.sig.mustStop, t.sig.stopped = true, false, false
	t.Thread.Kill()
}

// wanted is what is pending for t and not blocked. Signals is held.
func (t *Task) wanted() signal.Set {
	return (t.sig.pending.Pending() | t.Process.sig.shared.Pending()) &^ t.sig.mask
}

// signalPending says whether t has to look at signals: one may come any time after. If not, an interruption was for what
// another thread has taken since, and must not end the next sleep. Only t's own goroutine.
func (t *Task) signalPending() bool {
	s := &t.Process.sig
	s.mu.Lock()
	defer s.mu.Unlock()
	if t.mustLook() {
		return true
	}
	t.Thread.ClearInterrupt()
	return false
}

func (t *Task) mustLook() bool {
	s := &t.Process.sig
	return t.wanted() != 0 || t.sig.killed || t.sig.mustStop || s.notify != 0
}

// retarget finds others for signals of the process that t was woken for and now blocks (or will never handle). Signals is held.
func (t *Task) retarget(blocked signal.Set) {
	s := &t.Process.sig
	left := s.shared.Pending() & blocked
	for _, o := range s.threads {
		if left == 0 {
			return
		}
		if o == t || o.dead || left&^o.sig.mask == 0 {
			continue
		}
		left &= o.sig.mask
		o.Thread.Interrupt()
	}
}

// Kill is kill(2) by t: pid > 0 is a process, 0 t's group, -1 all but the first process and t's own, any other a group. sig 0 checks
// only. EINVAL, ESRCH, EPERM.
func (t *Task) Kill(pid, sig int32) abi.Errno {
	info := signal.User(int(sig), abi.SI_USER, t.Process.PID, t.Cred().UID)
	if pid > 0 {
		return t.signalPID(pid, &info)
	}
	if pid == -1<<31 {
		return abi.ESRCH
	}
	tr := t.System.Tree
	tr.mu.Lock()
	defer tr.mu.Unlock()
	if pid == -1 {
		result, some := abi.Errno(0), false
		for p := tr.next(2); p != nil; p = tr.next(p.PID + 1) {
			if p == t.Process {
				continue
			}
			some = true
			if e := t.signalLocked(p, nil, &info); e != abi.EPERM {
				result = e
			}
		}
		if !some {
			return abi.ESRCH
		}
		return result
	}
	g := t.Process.group
	if pid != 0 {
		g = tr.group(-pid)
	}
	result := abi.ESRCH
	if g != nil {
		// In the order of numbers, so that a run can be repeated.
		all := make([]*Process, 0, len(g.members))
		for p := range g.members {
			all = append(all, p)
		}
		slices.SortFunc(all, func(a, b *Process) int { return int(a.PID - b.PID) })
		for _, p := range all {
			if e := t.signalLocked(p, nil, &info); result != 0 {
				result = e
			}
		}
	}
	return result
}

func (t *Task) signalPID(pid int32, info *signal.Info) abi.Errno {
	tr := t.System.Tree
	tr.mu.Lock()
	defer tr.mu.Unlock()
	o := tr.task(pid) // a thread's number stands for its process here
	if o == nil {
		return abi.ESRCH
	}
	return t.signalLocked(o.Process, nil, info)
}

// Signal sends a signal of t's to process p with kill(2)'s checks: pidfd_send_signal(2). EINVAL, EPERM, EAGAIN, ESRCH.
func (t *Task) Signal(p *Process, info *signal.Info) abi.Errno {
	tr := t.System.Tree
	tr.mu.Lock()
	defer tr.mu.Unlock()
	if p.state == reaped {
		return abi.ESRCH
	}
	return t.signalLocked(p, nil, info)
}

// signalLocked checks permission and sends info to p, or to its thread to alone. Tree is held.
func (t *Task) signalLocked(p *Process, to *Task, info *signal.Info) abi.Errno {
	sig := int(info.Signo)
	if sig < 0 || sig >= abi.NSIG {
		return abi.EINVAL
	}
	target := to
	if target == nil {
		target = p.leader
	}
	if p != t.Process && signal.FromUser(info) && !t.Cred().MayKill(target.Cred()) && (sig != abi.SIGCONT || p.session != t.Process.session) {
		return abi.EPERM
	}
	if sig == 0 {
		return 0
	}
	p.sig.mu.Lock()
	defer p.sig.mu.Unlock()
	if to != nil {
		if to.dead {
			return 0
		}
		return to.send(info, false, false)
	}
	return p.send(info, false)
}

// TgKill is tgkill(2), and tkill(2) with tgid -1: EINVAL, ESRCH, EPERM, EAGAIN.
func (t *Task) TgKill(tgid, tid, sig int32) abi.Errno {
	if tid <= 0 || tgid <= 0 && tgid != -1 {
		return abi.EINVAL
	}
	info := signal.User(int(sig), abi.SI_TKILL, t.Process.PID, t.Cred().UID)
	return t.signalThread(tgid, tid, &info)
}

func (t *Task) signalThread(tgid, tid int32, info *signal.Info) abi.Errno {
	tr := t.System.Tree
	tr.mu.Lock()
	defer tr.mu.Unlock()
	o := tr.task(tid)
	if o == nil || tgid > 0 && o.Process.PID != tgid {
		return abi.ESRCH
	}
	return t.signalLocked(o.Process, o, info)
}

// QueueInfo is rt_sigqueueinfo(2): info is as the guest gave it, its signal number is set to sig. EPERM (it pretends to come from the
// kernel or from tgkill), ESRCH, EINVAL, EAGAIN.
func (t *Task) QueueInfo(pid, sig int32, info *signal.Info) abi.Errno {
	if (info.Code >= 0 || info.Code == abi.SI_TKILL) && pid != t.TID {
		return abi.EPERM
	}
	info.Signo = sig
	return t.signalPID(pid, info)
}

// TgQueueInfo is rt_tgsigqueueinfo(2).
func (t *Task) TgQueueInfo(tgid, tid, sig int32, info *signal.Info) abi.Errno {
	if tid <= 0 || tgid <= 0 {
		return abi.EINVAL
	}
	if (info.Code >= 0 || info.Code == abi.SI_TKILL) && tid != t.TID {
		return abi.EPERM
	}
	info.Signo = sig
	return t.signalThread(tgid, tid, info)
}

// Force sends t a signal for what it has just done (a fault, an exception), which it cannot escape: blocked or ignored, it kills.
// Only t's own goroutine, before it goes to user mode.
func (t *Task) Force(info *signal.Info) { t.force(info, false) }

// force does that; fatal takes the handler away, too.
func (t *Task) force(info *signal.Info, fatal bool) {
	sig := int(info.Signo)
	s := &t.Process.sig
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.actions.Get(sig)
	blocked := t.sig.mask.Has(sig)
	if blocked || a.Handler == abi.SIG_IGN || fatal {
		a.Handler = abi.SIG_DFL
		s.actions.Set(sig, a)
		t.sig.mask &^= signal.Bit(sig)
	}
	if a.Handler == abi.SIG_DFL {
		s.unkillable = false
	}
	t.send(info, false, true)
	t.Thread.Interrupt()
}
