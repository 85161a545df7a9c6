package task

import (
	"goum/arch/abi"
	"goum/kernel/signal"
)

// Group is a process group. It lives while it has members.
type Group struct {
	id      int32
	session *Session
	tree    *Tree

	members childless // guarded by Tree
}

// childless is an unordered set of processes.
type childless map[*Process]struct{}

// Session is a session. It lives while it has groups.
type Session struct {
	id   int32
	tree *Tree

	// Guarded by Tree.
	leader *Process // nil once it has ended
	groups int
}

// ID is the number of the group.
func (g *Group) ID() int32 { return g.id }

// ID is the number of the session.
func (s *Session) ID() int32 { return s.id }

// join puts p into group id of session s, which is made if it is not there. Tree is held.
func (tr *Tree) join(p *Process, s *Session, id int32) {
	i := tr.id(id)
	if i.group == nil {
		i.group = &Group{id: id, session: s, tree: tr, members: childless{}}
		s.groups++
	}
	i.group.members[p] = struct{}{}
	p.group, p.session = i.group, s
}

// part takes p out of its group. Tree is held.
func (tr *Tree) part(p *Process) {
	g, s := p.group, p.session
	if g == nil {
		return
	}
	p.group = nil
	delete(g.members, p)
	if len(g.members) > 0 {
		return
	}
	tr.ids[g.id].group = nil
	tr.settle(g.id)
	if s.groups--; s.groups == 0 {
		tr.ids[s.id].session = nil
		tr.settle(s.id)
	}
}

// orphaned says whether nobody outside g, but in its session, is the parent of a member: who could continue it. ignore does not count
// as a member. Tree is held.
func (g *Group) orphaned(ignore *Process) bool {
	for p := range g.members {
		if p == ignore || p.state != running && len(p.sig.threads) == 0 {
			continue
		}
		parent := p.parentLocked()
		if parent == nil || parent == p.System.Tree.init {
			continue
		}
		if parent.group != g && parent.session == g.session {
			return false
		}
	}
	return true
}

// Orphaned says whether no member has a parent in the session but outside the group: setpgid(2), POSIX's orphaned process group.
func (g *Group) Orphaned() bool {
	g.tree.mu.Lock()
	defer g.tree.mu.Unlock()
	return g.orphaned(nil)
}

// hasStopped says whether a member is stopped. Tree is held.
func (g *Group) hasStopped() bool {
	for p := range g.members {
		if p.sig.isStopped() {
			return true
		}
	}
	return false
}

// Members are the processes of the group.
func (g *Group) Members() (m []*Process) {
	g.tree.mu.Lock()
	defer g.tree.mu.Unlock()
	for p := range g.members {
		m = append(m, p)
	}
	return m
}

// ClearTerminal takes the controlling terminal from all processes of the session.
func (s *Session) ClearTerminal() {
	s.tree.mu.Lock()
	defer s.tree.mu.Unlock()
	s.clearTerminal()
}

func (s *Session) clearTerminal() {
	for p := s.tree.next(1); p != nil; p = s.tree.next(p.PID + 1) {
		if p.session == s {
			p.tty = nil
		}
	}
}

// HangUp is what the hang-up of the session's terminal does: the leader gets SIGHUP and SIGCONT, and owes the same to the
// foreground group (nil: none) when it ends.
func (s *Session) HangUp(foreground signal.Group) {
	s.tree.mu.Lock()
	defer s.tree.mu.Unlock()
	if s.leader == nil {
		return
	}
	s.leader.hangUp = foreground
	hup, cont := signal.Kernel(abi.SIGHUP), signal.Kernel(abi.SIGCONT)
	s.leader.Send(&hup)
	s.leader.Send(&cont)
}

// SetSID is setsid(2): the caller's process begins a session and a group, both with its number. EPERM: there is a group with that
// number, or it leads a session.
func (t *Task) SetSID() (int32, abi.Errno) {
	p, tr := t.Process, t.System.Tree
	tr.mu.Lock()
	defer tr.mu.Unlock()
	if p.session.leader == p || tr.group(p.PID) != nil {
		return 0, abi.EPERM
	}
	s := &Session{id: p.PID, tree: tr, leader: p}
	tr.id(p.PID).session = s
	tr.part(p)
	tr.join(p, s, p.PID)
	p.tty = nil
	return p.PID, 0
}

// SetPGID is setpgid(2), with 0 for the caller and for the process itself. EINVAL (a negative group), ESRCH (neither the caller
// nor a child of it), EACCES (a child that has run exec), EPERM (another session, a session's leader, no such group there).
func (t *Task) SetPGID(pid, pgid int32) abi.Errno {
	if pid == 0 {
		pid = t.Process.PID
	}
	if pgid == 0 {
		pgid = pid
	}
	if pgid < 0 {
		return abi.EINVAL
	}
	tr := t.System.Tree
	tr.mu.Lock()
	defer tr.mu.Unlock()
	q := tr.task(pid)
	if q == nil {
		return abi.ESRCH
	}
	p := q.Process
	if q != p.leader {
		return abi.EINVAL
	}
	if parent := p.parentLocked(); parent == t.Process && p != t.Process {
		switch {
		case p.session != t.Process.session:
			return abi.EPERM
		case p.ranExec:
			return abi.EACCES
		}
	} else if p != t.Process {
		return abi.ESRCH
	}
	if p.session.leader == p {
		return abi.EPERM
	}
	if pgid != pid {
		if g := tr.group(pgid); g == nil || g.session != t.Process.session {
			return abi.EPERM
		}
	}
	if p.group.id != pgid {
		s := p.session
		tr.id(pgid) // keeps the number while the process changes over
		tr.part(p)
		tr.join(p, s, pgid)
	}
	return 0
}

// GetPGID and GetSID are getpgid(2) and getsid(2), with 0 for the caller: ESRCH.
func (t *Task) GetPGID(pid int32) (int32, abi.Errno) {
	tr := t.System.Tree
	tr.mu.Lock()
	defer tr.mu.Unlock()
	p := t.Process
	if pid != 0 {
		q := tr.task(pid)
		if q == nil {
			return 0, abi.ESRCH
		}
		p = q.Process
	}
	if p.group == nil {
		return 0, abi.ESRCH
	}
	return p.group.id, 0
}

// GetSID is getsid(2): see GetPGID.
func (t *Task) GetSID(pid int32) (int32, abi.Errno) {
	tr := t.System.Tree
	tr.mu.Lock()
	defer tr.mu.Unlock()
	p := t.Process
	if pid != 0 {
		q := tr.task(pid)
		if q == nil {
			return 0, abi.ESRCH
		}
		p = q.Process
	}
	if p.session == nil {
		return 0, abi.ESRCH
	}
	return p.session.id, 0
}

// What follows is signal.Job: what a terminal asks of the task that calls it.

// Group is the process group of t.
func (t *Task) Group() signal.Group {
	tr := t.System.Tree
	tr.mu.Lock()
	defer tr.mu.Unlock()
	return t.Process.group
}

// Session is the session of t.
func (t *Task) Session() signal.Session {
	tr := t.System.Tree
	tr.mu.Lock()
	defer tr.mu.Unlock()
	return t.Process.session
}

// Leader says whether t's process leads its session.
func (t *Task) Leader() bool {
	tr := t.System.Tree
	tr.mu.Lock()
	defer tr.mu.Unlock()
	return t.Process.session.leader == t.Process
}

// Terminal is t's controlling terminal, or nil.
func (t *Task) Terminal() signal.Terminal {
	tr := t.System.Tree
	tr.mu.Lock()
	defer tr.mu.Unlock()
	return t.Process.tty
}

// SetTerminal sets or takes away (nil) the controlling terminal of t's process alone.
func (t *Task) SetTerminal(tty signal.Terminal) {
	tr := t.System.Tree
	tr.mu.Lock()
	defer tr.mu.Unlock()
	t.Process.tty = tty
	t.Process.hangUp = nil
}

// HangUpLater notes the foreground group of a terminal that was hung up: it gets SIGHUP and SIGCONT when the session's leader ends.
func (t *Task) HangUpLater(foreground signal.Group) {
	tr := t.System.Tree
	tr.mu.Lock()
	defer tr.mu.Unlock()
	if l := t.Process.session.leader; l != nil {
		l.hangUp = foreground
	}
}

// FindGroup finds a process group and its session: ESRCH.
func (t *Task) FindGroup(id int32) (signal.Group, signal.Session, abi.Errno) {
	tr := t.System.Tree
	tr.mu.Lock()
	defer tr.mu.Unlock()
	g := tr.group(id)
	if g == nil {
		return nil, nil, abi.ESRCH
	}
	return g, g.session, 0
}

// Blocks says whether t blocks sig. Only t's own goroutine.
func (t *Task) Blocks(sig int) bool { return t.sig.mask.Has(sig) }

// Ignores says whether t's process ignores sig explicitly: what a terminal asks of SIGTTIN and SIGTTOU.
func (t *Task) Ignores(sig int) bool { return t.Process.sig.action(sig).Handler == abi.SIG_IGN }
