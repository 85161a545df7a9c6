package task

import (
	"slices"

	"goum/arch/abi"
	"goum/kernel/signal"
	"goum/sched"
)

// Exit is exit(2): t alone ends, with code. It takes effect when t's goroutine calls Leave.
func (t *Task) Exit(code int32) { t.quit(WaitStatus(code)) }

func (t *Task) quit(status int32) {
	t.code = status
	t.Work.Or(WorkExit)
}

// ExitGroup is exit_group(2): the whole process ends, with code, unless it is ending already.
func (t *Task) ExitGroup(code int32) {
	s := &t.Process.sig
	s.mu.Lock()
	if s.execer != nil && s.execer != t {
		// Another thread runs exec: only we go.
		s.mu.Unlock()
		t.quit(WaitStatus(code))
		return
	}
	t.Process.end(WaitStatus(code))
	status := s.status
	s.mu.Unlock()
	t.quit(status)
}

// exit does all that there is to do at a thread's end, in the order of do_exit.
func (t *Task) exit() {
	p, tr, s := t.Process, t.System.Tree, &t.Process.sig
	t.exited = true
	tr.mu.Lock()
	s.mu.Lock()
	s.threads = slices.DeleteFunc(s.threads, func(o *Task) bool { return o == t })
	t.dead = true
	s.leaving++
	last := len(s.threads) == 0
	if last && !s.ending {
		s.ending, s.status = true, t.code
	}
	stopped := t.sig.mustStop && t.joinStop()
	code := s.stopSig
	t.retarget(^t.sig.mask)
	t.sig.pending.Drop(signal.All)
	if last {
		s.shared.Drop(signal.All)
	}
	s.mu.Unlock()
	tr.mu.Unlock()
	if stopped && !last {
		p.tellStop(abi.CLD_STOPPED, code)
	}
	if last && p.ExitTimers != nil {
		p.ExitTimers(false)
	}

	t.releaseMemory()
	rss := t.memory.hwm()
	t.mu.Lock()
	m, fds, dirs := t.memory, t.fds, t.dirs
	t.memory, t.fds, t.dirs = nil, nil, nil
	t.mu.Unlock()
	if fds != nil {
		fds.Release(&t.caller)
	}
	if dirs != nil {
		dirs.Release()
	}
	if last {
		t.leaveTerminal()
	}
	t.Thread.SetKicker(nil)
	if t.Stub != nil {
		t.Stub.Park()
		t.Stub = nil
	}
	if m != nil {
		m.leave()
	}
	gone := t.leaveTree(rss)
	if gone && t.System.Exited != nil {
		t.System.Exited(p)
	}
	if gone && tr.Init() == p && t.System.PowerOff != nil {
		t.System.PowerOff(p.Status().Code)
	}
}

// releaseMemory is mm_release: what user space is told when a thread lets go of its address space, by exec or exit. It may sleep.
func (t *Task) releaseMemory() {
	if t.memory == nil {
		return
	}
	if t.System.Futex != nil {
		t.System.Futex.ExitRobust(t.User(), t.robust, t.TID)
		t.robust = 0
	}
	if t.clearAt != 0 {
		if t.memory.Shared() {
			if t.User().Store32(t.clearAt, 0) == 0 && t.System.Futex != nil {
				t.System.Futex.WakeOne(t.User(), t.clearAt)
			}
		}
		t.clearAt = 0
	}
	t.vforkDone()
}

// leaveTerminal is disassociate_ctty: the end of a session's leader takes the terminal from all of the session.
func (t *Task) leaveTerminal() {
	p, tr := t.Process, t.System.Tree
	tr.mu.Lock()
	if p.session.leader != p {
		tr.mu.Unlock()
		return
	}
	tty, group := p.tty, p.hangUp
	p.hangUp = nil
	tr.mu.Unlock()
	switch {
	case tty != nil:
		tty.LeaderGone(true)
	case group != nil:
		hup, cont := signal.Kernel(abi.SIGHUP), signal.Kernel(abi.SIGCONT)
		group.Send(&hup)
		group.Send(&cont)
		return
	}
	tr.mu.Lock()
	defer tr.mu.Unlock()
	p.session.clearTerminal()
}

// leaveTree takes t out of the tree, and with the last thread makes the process a zombie. It says whether that was so.
func (t *Task) leaveTree(rss int64) bool {
	p, tr, s := t.Process, t.System.Tree, &t.Process.sig
	tr.mu.Lock()
	defer tr.mu.Unlock()
	u := t.now()
	p.usage.add(&u)
	p.peakRSS = max(p.peakRSS, rss)
	t.reparent()

	s.mu.Lock()
	s.leaving--
	all := s.leaving == 0 && len(s.threads) == 0
	status := s.status
	s.changed.Wake(sched.Any)
	s.mu.Unlock()
	if t != p.leader {
		tr.ids[t.TID].task = nil
		tr.settle(t.TID)
		tr.tasks--
		t.Cred().User.Processes.Add(-1)
	}
	if !all {
		return false
	}
	p.state, p.status = zombie, status
	p.orphanGroups(p.parentLocked(), p)
	if p == tr.init {
		return true
	}
	p.exits.Wake(sched.Any)
	if p.tellEnd() {
		p.release()
	}
	return true
}

// reparent gives t's children to another thread of the process, or to the nearest subreaper, or to the first process. Tree is held.
func (t *Task) reparent() {
	p := t.Process
	heir := p.heir()
	var next *Process
	for c := p.children.first; c != nil; c = next {
		next = c.next
		if c.leader.parent != t {
			continue
		}
		if heir == nil { // the first process itself ends, and the machine with it
			c.leader.parent = nil
			p.children.remove(c)
			continue
		}
		c.leader.parent = heir
		for _, o := range c.sig.threads {
			if sig := o.deathSig.Load(); sig != 0 {
				info := signal.User(int(sig), abi.SI_USER, p.PID, t.Cred().UID)
				o.Process.Send(&info)
			}
		}
		if heir.Process == p {
			continue
		}
		p.children.remove(c)
		heir.Process.children.add(c)
		c.leader.exitSignal = abi.SIGCHLD
		if c.state == zombie && c.tellEnd() {
			c.release()
			continue
		}
		c.orphanGroups(p, nil)
	}
}

// heir is who takes the children of a thread of p that ends. Tree is held.
func (p *Process) heir() *Task {
	if len(p.sig.threads) > 0 {
		return p.sig.threads[0]
	}
	init := p.System.Tree.init
	if p.below {
		for a := p.parentLocked(); a != nil && a != init; a = a.parentLocked() {
			if a.reaper && len(a.sig.threads) > 0 {
				return a.sig.threads[0]
			}
		}
	}
	if len(init.sig.threads) == 0 {
		return nil
	}
	return init.sig.threads[0]
}

// orphanGroups sends SIGHUP and SIGCONT to the group of p, if that becomes orphaned, with stopped members, because p ends
// (ignore is p) or parent does (ignore is nil). Tree is held.
func (p *Process) orphanGroups(parent, ignore *Process) {
	g := p.group
	if parent == nil || g == nil || parent.group == g || parent.session != p.session || !g.orphaned(ignore) || !g.hasStopped() {
		return
	}
	hup, cont := signal.Kernel(abi.SIGHUP), signal.Kernel(abi.SIGCONT)
	g.send(&hup)
	g.send(&cont)
}

// tellEnd tells the parent of a zombie, and says whether it does not want to wait for it: do_notify_parent. Tree is held.
func (p *Process) tellEnd() (reap bool) {
	parent := p.parentLocked()
	if parent == nil {
		return true
	}
	sig := p.leader.exitSignal
	info := p.childInfo(abi.CLD_EXITED)
	switch {
	case p.status&0x80 != 0:
		info.Code = abi.CLD_DUMPED
		info.SetStatus(p.status & 0x7f)
	case p.status&0x7f != 0:
		info.Code = abi.CLD_KILLED
		info.SetStatus(p.status & 0x7f)
	default:
		info.SetStatus(p.status >> 8)
	}
	if sig == abi.SIGCHLD {
		a := parent.sig.action(abi.SIGCHLD)
		if a.Handler == abi.SIG_IGN || a.Flags&abi.SA_NOCLDWAIT != 0 {
			reap = true
			if a.Handler == abi.SIG_IGN {
				sig = 0
			}
		}
	}
	if signal.Valid(int(sig)) {
		info.Signo = sig
		parent.Send(&info)
	}
	parent.waits.Wake(sched.Any)
	return reap
}

// release takes a zombie out of the tree. Tree is held.
func (p *Process) release() {
	tr := p.System.Tree
	if parent := p.parentLocked(); parent != nil {
		parent.children.remove(p)
	}
	p.state = reaped
	p.leader.parent = nil
	tr.part(p)
	if i := tr.ids[p.PID]; i != nil {
		i.task = nil
		tr.settle(p.PID)
	}
	tr.tasks--
	p.leader.Cred().User.Processes.Add(-1)
	p.sig.actions.Unref()
}

// hwm is the largest resident size so far, in KiB.
func (m *Memory) hwm() int64 {
	if m == nil {
		return 0
	}
	return int64(m.Space.Usage().HWM) * 4
}
