package task

import (
	"goum/arch/abi"
	"goum/kernel/signal"
	"goum/sched"
	"goum/sched/clock"
)

// WaitFor says for whom and what to wait.
type WaitFor struct {
	Which   int32 // abi.P_ALL, P_PID, P_PGID (0: the caller's group), P_PIDFD
	ID      int32
	Options int32 // WNOHANG, WEXITED, WSTOPPED (WUNTRACED), WCONTINUED, WNOWAIT, __WALL, __WCLONE, __WNOTHREAD
}

// Waited is what a wait found; PID 0: nothing, with WNOHANG.
type Waited struct {
	PID    int32
	UID    uint32
	Status int32 // as wait4(2) shows it
	Code   int32 // abi.CLD_*
	Rusage abi.Rusage
}

// Info is what waitid(2) shows.
func (w *Waited) Info() (i signal.Info) {
	if w.PID == 0 {
		return i
	}
	i = signal.Info{Signo: abi.SIGCHLD, Code: w.Code}
	i.SetPID(w.PID)
	i.SetUID(w.UID)
	switch w.Code {
	case abi.CLD_EXITED:
		i.SetStatus(w.Status >> 8 & 0xff)
	case abi.CLD_STOPPED:
		i.SetStatus(w.Status >> 8)
	case abi.CLD_CONTINUED:
		i.SetStatus(abi.SIGCONT)
	default:
		i.SetStatus(w.Status & 0x7f)
	}
	return i
}

const (
	wait4Options  = abi.WNOHANG | abi.WUNTRACED | abi.WCONTINUED | abi.WNOTHREAD | abi.WCLONE | abi.WALL
	waitidOptions = abi.WNOHANG | abi.WNOWAIT | abi.WEXITED | abi.WSTOPPED | abi.WCONTINUED | abi.WNOTHREAD | abi.WCLONE | abi.WALL
)

// Wait4 is wait4(2): EINVAL (options), ESRCH (the least of all numbers), and what Wait says.
func (t *Task) Wait4(pid, options int32) (Waited, abi.Errno) {
	if uint32(options)&^uint32(wait4Options) != 0 {
		return Waited{}, abi.EINVAL
	}
	w := WaitFor{Which: abi.P_ALL, Options: options | abi.WEXITED}
	switch {
	case pid == -1<<31:
		return Waited{}, abi.ESRCH
	case pid < -1:
		w.Which, w.ID = abi.P_PGID, -pid
	case pid == 0:
		w.Which = abi.P_PGID
	case pid > 0:
		w.Which, w.ID = abi.P_PID, pid
	}
	return t.wait(w, nil)
}

// WaitID is waitid(2): EINVAL, EBADF (P_PIDFD), EAGAIN (a non-blocking pidfd, nothing yet), ECHILD, ERESTARTSYS.
func (t *Task) WaitID(w WaitFor) (Waited, abi.Errno) {
	if uint32(w.Options)&^uint32(waitidOptions) != 0 || w.Options&(abi.WEXITED|abi.WSTOPPED|abi.WCONTINUED) == 0 {
		return Waited{}, abi.EINVAL
	}
	switch w.Which {
	case abi.P_ALL:
	case abi.P_PID:
		if w.ID <= 0 {
			return Waited{}, abi.EINVAL
		}
	case abi.P_PGID:
		if w.ID < 0 {
			return Waited{}, abi.EINVAL
		}
	case abi.P_PIDFD:
		if w.ID < 0 || t.System.WaitFD == nil {
			return Waited{}, abi.EINVAL
		}
		p, nonblock, e := t.System.WaitFD(t, w.ID)
		if e != 0 {
			return Waited{}, e
		}
		again := nonblock && w.Options&abi.WNOHANG == 0
		if again {
			w.Options |= abi.WNOHANG
		}
		got, e := t.wait(w, p)
		if e == 0 && got.PID == 0 && again {
			return got, abi.EAGAIN
		}
		return got, e
	default:
		return Waited{}, abi.EINVAL
	}
	return t.wait(w, nil)
}

// wait waits for a child that w describes, of which only is the only one if not nil: ECHILD (there is none), ERESTARTSYS (interrupted).
func (t *Task) wait(w WaitFor, only *Process) (got Waited, e abi.Errno) {
	look := func() bool {
		tr := t.System.Tree
		tr.mu.Lock()
		defer tr.mu.Unlock()
		got, e = t.look(&w, only)
		return got.PID != 0 || e != 0
	}
	if w.Options&abi.WNOHANG != 0 {
		look()
		return got, e
	}
	if t.Process.waits.Wait(t.Thread, sched.Any, clock.Never, look) != sched.Woken {
		return Waited{}, abi.ERESTARTSYS
	}
	return got, e
}

// look is one look at the children. Tree is held.
func (t *Task) look(w *WaitFor, only *Process) (Waited, abi.Errno) {
	p, tr := t.Process, t.System.Tree
	group := w.ID
	if w.Which == abi.P_PGID && group == 0 {
		group = p.group.id
	}
	result := abi.ECHILD
	first := p.children.first
	if w.Which == abi.P_PID {
		only = tr.process(w.ID)
		if only == nil {
			return Waited{}, abi.ECHILD
		}
	}
	if only != nil {
		if only.state == reaped || only.parentLocked() != p {
			return Waited{}, abi.ECHILD
		}
		first = only
	}
	for c := first; c != nil; c = c.next {
		if c.eligible(t, w, group) {
			got, there := c.consider(w)
			if got.PID != 0 {
				return got, 0
			}
			if there {
				result = 0
			}
		}
		if only != nil {
			break
		}
	}
	return Waited{}, result
}

// eligible says whether w means the child c. Tree is held.
func (c *Process) eligible(t *Task, w *WaitFor, group int32) bool {
	if w.Which == abi.P_PGID && c.group.id != group {
		return false
	}
	if w.Options&abi.WNOTHREAD != 0 && c.leader.parent != t {
		return false
	}
	if w.Options&abi.WALL != 0 {
		return true
	}
	return (c.leader.exitSignal != abi.SIGCHLD) == (uint32(w.Options)&abi.WCLONE != 0)
}

// consider takes what c has to tell. there says that it may have something to tell later. Tree is held.
func (c *Process) consider(w *WaitFor) (got Waited, there bool) {
	got = Waited{UID: c.leader.Cred().UID}
	keep := w.Options&abi.WNOWAIT != 0
	if c.state == zombie {
		if w.Options&abi.WEXITED == 0 {
			return got, false
		}
		got.PID, got.Status = c.PID, c.status
		switch {
		case c.status&0x80 != 0:
			got.Code = abi.CLD_DUMPED
		case c.status&0x7f != 0:
			got.Code = abi.CLD_KILLED
		default:
			got.Code = abi.CLD_EXITED
		}
		u := c.all()
		u.add(&c.childUse)
		got.Rusage = u.rusage()
		if !keep {
			if parent := c.parentLocked(); parent != nil {
				parent.childUse.add(&u)
			}
			c.release()
		}
		return got, true
	}
	s := &c.sig
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case w.Options&abi.WSTOPPED != 0 && s.stopped && s.waitStop:
		got.PID, got.Code, got.Status = c.PID, abi.CLD_STOPPED, s.stopSig<<8|0x7f
		s.waitStop = keep
	case w.Options&abi.WCONTINUED != 0 && s.waitCont:
		got.PID, got.Code, got.Status = c.PID, abi.CLD_CONTINUED, 0xffff
		s.waitCont = keep
	default:
		return got, true
	}
	u := c.all()
	u.add(&c.childUse)
	got.Rusage = u.rusage()
	return got, true
}
