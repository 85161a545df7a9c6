package tty

import (
	"goum/arch/abi"
	"goum/kernel/fs/vfs"
	"goum/kernel/signal"
)

// LeaderHangUp is what a signal.Session also does, for terminals that are hung up: SIGHUP and SIGCONT to its leader, which owes
// the same to foreground (nil: nobody) when it exits.
type LeaderHangUp interface {
	HangUp(foreground signal.Group)
}

func hangUpSession(s signal.Session, g signal.Group) {
	if h, ok := s.(LeaderHangUp); ok {
		h.HangUp(g)
		return
	}
	sendTo(g, abi.SIGHUP)
	sendTo(g, abi.SIGCONT)
}

// job is the caller as job control sees it, or nil for the kernel itself.
func job(c *vfs.Caller) signal.Job {
	if c == nil {
		return nil
	}
	j, _ := c.Owner.(signal.Job)
	return j
}

// mine says whether t is j's controlling terminal.
func (t *TTY) mine(j signal.Job) bool {
	if j == nil {
		return false
	}
	o, ok := j.Terminal().(*TTY)
	return ok && o == t
}

// OfCaller is the caller's controlling terminal, or nil.
func OfCaller(c *vfs.Caller) *TTY {
	if j := job(c); j != nil {
		if t, ok := j.Terminal().(*TTY); ok {
			return t
		}
	}
	return nil
}

// check is Linux's __tty_check_change: what a process in the background must not do sends its group sig (SIGTTIN or SIGTTOU),
// ERESTARTSYS; EIO where that would not stop it.
func (t *TTY) check(c *vfs.Caller, sig int) abi.Errno {
	j := job(c)
	if !t.mine(j) {
		return 0
	}
	t.mu.Lock()
	foreground := t.foreground
	t.mu.Unlock()
	own := j.Group()
	if foreground == nil || own == foreground {
		return 0
	}
	if j.Blocks(sig) || j.Ignores(sig) {
		if sig == abi.SIGTTIN {
			return abi.EIO
		}
		return 0
	}
	if own.Orphaned() {
		return abi.EIO
	}
	sendTo(own, sig)
	return abi.ERESTARTSYS
}

// acquireAtOpen makes t the controlling terminal of a session leader that has none, if it has no session yet.
func (t *TTY) acquireAtOpen(c *vfs.Caller) {
	j := job(c)
	if j == nil || !j.Leader() || j.Terminal() != nil {
		return
	}
	s, g := j.Session(), j.Group()
	t.mu.Lock()
	free := t.session == nil
	if free {
		t.session, t.foreground = s, g
	}
	t.mu.Unlock()
	if free {
		j.SetTerminal(t)
	}
}

// Adopt makes t the controlling terminal of a session leader that has none: for the first program, which does not open it.
func (t *TTY) Adopt(j signal.Job) {
	t.mu.Lock()
	t.session, t.foreground = j.Session(), j.Group()
	t.mu.Unlock()
	j.SetTerminal(t)
}

// Acquire is TIOCSCTTY: EPERM unless the caller leads a session without a terminal, t has no session (steal, with
// CAP_SYS_ADMIN, takes it from one), and the file is open for reading.
func (t *TTY) Acquire(c *vfs.Caller, steal, readable bool) abi.Errno {
	j := job(c)
	if j == nil {
		return abi.EPERM
	}
	s, g := j.Session(), j.Group()
	admin := c.Cred.Has(abi.CAP_SYS_ADMIN)
	free := j.Terminal() == nil
	leader := j.Leader()
	t.mu.Lock()
	old := t.session
	switch {
	case leader && old == s:
		t.mu.Unlock()
		return 0
	case !leader || !free, old != nil && !(steal && admin), !readable && !admin:
		t.mu.Unlock()
		return abi.EPERM
	}
	t.session, t.foreground = s, g
	t.mu.Unlock()
	if old != nil {
		old.ClearTerminal()
	}
	j.SetTerminal(t)
	return 0
}

// LeaderGone says that the leader of the session exits, or gives the terminal up (TIOCNOTTY): see signal.Terminal.
func (t *TTY) LeaderGone(exit bool) {
	if exit && t.kind == plain {
		t.hangup(true)
		return
	}
	t.mu.Lock()
	s, g := t.session, t.foreground
	t.session, t.foreground = nil, nil
	t.mu.Unlock()
	sendTo(g, abi.SIGHUP)
	if !exit {
		sendTo(g, abi.SIGCONT)
	}
	if s != nil {
		s.ClearTerminal()
	}
}

// Disown is TIOCNOTTY: ENOTTY if t is not the caller's controlling terminal.
func (t *TTY) Disown(c *vfs.Caller) abi.Errno {
	j := job(c)
	if !t.mine(j) {
		return abi.ENOTTY
	}
	if j.Leader() {
		t.LeaderGone(false)
	}
	j.SetTerminal(nil)
	return 0
}

// getGroup is TIOCGPGRP on a file of t, where real is the half of a pty that has a foreground group.
func (t *TTY) getGroup(c *vfs.Caller, real *TTY) (int32, abi.Errno) {
	if t == real && !t.mine(job(c)) {
		return 0, abi.ENOTTY
	}
	return real.Foreground(), 0
}

// getSession is TIOCGSID.
func (t *TTY) getSession(c *vfs.Caller, real *TTY) (int32, abi.Errno) {
	if t == real && !t.mine(job(c)) {
		return 0, abi.ENOTTY
	}
	s := real.Session()
	if s == nil {
		return 0, abi.ENOTTY
	}
	return s.ID(), 0
}

// setGroup is TIOCSPGRP: EINVAL (negative), ENOTTY (not the caller's controlling terminal), ESRCH, EPERM (another session's).
func (t *TTY) setGroup(c *vfs.Caller, id int32) abi.Errno {
	if id < 0 {
		return abi.EINVAL
	}
	j := job(c)
	if !t.mine(j) || t.Session() != j.Session() {
		return abi.ENOTTY
	}
	g, s, e := j.FindGroup(id)
	if e != 0 {
		return e
	}
	if s != j.Session() {
		return abi.EPERM
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.session != s {
		return abi.ENOTTY // hung up meanwhile
	}
	t.foreground = g
	return 0
}
