package tty

import (
	"encoding/binary"

	"goum/arch/abi"
	"goum/kernel/fs/vfs"
	"goum/mm"
	"goum/sched"
	"goum/sched/clock"
)

// get32 and put32 move an int that need not be aligned.
func get32(u mm.User, addr uint64) (uint32, abi.Errno) {
	var b [4]byte
	e := u.CopyIn(b[:], addr)
	return binary.LittleEndian.Uint32(b[:]), e
}

func put32(u mm.User, addr uint64, v uint32) (uint64, abi.Errno) {
	var b [4]byte
	binary.LittleEndian.PutUint32(b[:], v)
	return 0, u.CopyOut(addr, b[:])
}

func flag(b bool) uint32 {
	if b {
		return 1
	}
	return 0
}

// Ioctl is ioctl_tty(2), in the order in which Linux asks the terminal, job control, the driver, the discipline and the mode.
func (f *file) Ioctl(c *vfs.Caller, cmd uint32, arg uint64) (uint64, abi.Errno) {
	t := f.t
	if f.hung.Load() {
		if cmd == abi.TIOCSPGRP {
			return 0, abi.ENOTTY
		}
		return 0, abi.EIO
	}
	real := t // whose settings a master's calls mean
	if t.kind == master {
		real = t.link
	}
	switch cmd {
	case abi.TIOCSETD, abi.TIOCSBRK, abi.TIOCCBRK, abi.TCSBRK, abi.TCSBRKP:
		if e := t.check(c, abi.SIGTTOU); e != 0 {
			return 0, e
		}
		if cmd != abi.TIOCCBRK && !t.drain(c) {
			return 0, abi.EINTR
		}
	}
	u := c.User
	switch cmd {
	case abi.TIOCSTI: // only for administrators: legacy_tiocsti is off
		if !c.Cred.Has(abi.CAP_SYS_ADMIN) {
			return 0, abi.EIO
		}
		var b [1]byte
		if e := u.CopyIn(b[:], arg); e != 0 {
			return 0, e
		}
		t.Input(b[:])
		return 0, 0
	case abi.TIOCGWINSZ:
		w := real.Size()
		var b [abi.WinsizeSize]byte
		w.PutBytes(b[:])
		return 0, u.CopyOut(arg, b[:])
	case abi.TIOCSWINSZ:
		var b [abi.WinsizeSize]byte
		if e := u.CopyIn(b[:], arg); e != 0 {
			return 0, e
		}
		var w abi.Winsize
		w.SetBytes(b[:])
		real.Resize(w)
		return 0, 0
	case abi.TIOCCONS: // messages go to the log, not to a terminal; but who may ask and when is as in Linux
		switch {
		case real != t:
			return 0, abi.EINVAL
		case !c.Cred.Has(abi.CAP_SYS_ADMIN):
			return 0, abi.EPERM
		case f.console:
			return 0, 0
		}
		return 0, abi.EBUSY
	case abi.TIOCEXCL, abi.TIOCNXCL:
		t.mu.Lock()
		t.exclusive = cmd == abi.TIOCEXCL
		t.mu.Unlock()
		return 0, 0
	case abi.TIOCGEXCL:
		t.mu.Lock()
		on := t.exclusive
		t.mu.Unlock()
		return put32(u, arg, flag(on))
	case abi.TIOCGETD:
		return put32(u, arg, 0) // N_TTY
	case abi.TIOCSETD:
		n, e := get32(u, arg)
		if e == 0 && n != 0 {
			e = abi.EINVAL
		}
		return 0, e
	case abi.TIOCVHANGUP:
		if !c.Cred.Has(abi.CAP_SYS_ADMIN) {
			return 0, abi.EPERM
		}
		t.HangUp()
		return 0, 0
	case abi.TIOCGDEV:
		return put32(u, arg, uint32(real.number))
	case abi.TIOCSBRK, abi.TIOCCBRK, abi.TCSBRK, abi.TCSBRKP:
		return 0, 0 // there is no line that could carry a break
	case abi.TIOCMGET, abi.TIOCMSET, abi.TIOCMBIS, abi.TIOCMBIC, abi.TIOCGICOUNT, abi.TIOCGSERIAL, abi.TIOCSSERIAL:
		return 0, abi.ENOTTY
	case abi.TIOCGPTPEER:
		if t.kind != master {
			return 0, abi.ENOTTY
		}
		return f.peer(c, uint32(arg))
	case abi.TIOCNOTTY:
		return 0, t.Disown(c)
	case abi.TIOCSCTTY:
		return 0, real.Acquire(c, arg == 1, f.read)
	case abi.TIOCGPGRP:
		id, e := t.getGroup(c, real)
		if e != 0 {
			return 0, e
		}
		return put32(u, arg, uint32(id))
	case abi.TIOCSPGRP:
		switch e := real.check(c, abi.SIGTTOU); e {
		case 0:
		case abi.EIO:
			return 0, abi.ENOTTY
		default:
			return 0, e
		}
		id, e := get32(u, arg)
		if e != 0 {
			return 0, e
		}
		return 0, real.setGroup(c, int32(id))
	case abi.TIOCGSID:
		id, e := t.getSession(c, real)
		if e != 0 {
			return 0, e
		}
		return put32(u, arg, uint32(id))
	case abi.TIOCSPTLCK, abi.TIOCGPTLCK, abi.TIOCPKT, abi.TIOCGPKT, abi.TIOCGPTN, abi.TIOCSIG:
		if t.kind == master {
			return t.masterIoctl(c, cmd, arg)
		}
		return 0, abi.ENOTTY
	case abi.TIOCOUTQ:
		t.mu.Lock()
		n := t.drv.Pending()
		t.mu.Unlock()
		return put32(u, arg, uint32(n))
	case abi.TIOCINQ: // also FIONREAD
		t.mu.Lock()
		n := t.disc.Waiting()
		t.mu.Unlock()
		return put32(u, arg, uint32(n))
	case abi.TCXONC:
		return 0, t.flow(c, arg)
	case abi.TCFLSH:
		if e := t.check(c, abi.SIGTTOU); e != 0 {
			return 0, e
		}
		return 0, t.flush(arg)
	}
	return real.mode(c, cmd, arg)
}

// drain waits until all output has gone out: false if a signal came first.
func (t *TTY) drain(c *vfs.Caller) bool {
	if c.Thread == nil {
		return true
	}
	out := t.queue.Wait(c.Thread, pollOut|pollHup|pollErr, clock.Never, func() bool {
		t.mu.Lock()
		defer t.mu.Unlock()
		return t.drv.Pending() == 0
	})
	return out == sched.Woken && !c.Thread.Interrupted()
}

// flow is TCXONC.
func (t *TTY) flow(c *vfs.Caller, arg uint64) abi.Errno {
	if e := t.check(c, abi.SIGTTOU); e != 0 {
		return e
	}
	switch arg {
	case abi.TCOOFF, abi.TCOON:
		t.mu.Lock()
		defer t.mu.Unlock()
		if arg == abi.TCOOFF {
			t.disc.Stop()
		} else {
			t.disc.Start()
		}
	case abi.TCIOFF:
		return t.sendControl(c, abi.VSTOP)
	case abi.TCION:
		return t.sendControl(c, abi.VSTART)
	default:
		return abi.EINVAL
	}
	return 0
}

// sendControl writes a control character past everything that waits, even to a terminal that is stopped.
func (t *TTY) sendControl(c *vfs.Caller, which int) abi.Errno {
	if e := lockGate(c, &t.writing, vfs.At{}); e != 0 {
		return e
	}
	defer t.writing.Unlock()
	t.mu.Lock()
	defer t.mu.Unlock()
	if ch := t.disc.cc(which); ch != disabled && t.drv.Room() > 0 {
		t.drv.Put([]byte{ch})
	}
	return 0
}

// flush is TCFLSH.
func (t *TTY) flush(arg uint64) abi.Errno {
	t.mu.Lock()
	defer t.mu.Unlock()
	if arg > abi.TCIOFLUSH {
		return abi.EINVAL
	}
	if arg != abi.TCOFLUSH {
		t.backlog = t.backlog[:0]
		t.disc.FlushInput()
		t.pull()
		if t.link != nil {
			t.link.queue.Wake(pollOut)
		} else {
			t.drv.Unthrottle()
		}
	}
	if arg != abi.TCIFLUSH {
		(*line)(t).Flush()
	}
	return 0
}

// mode is Linux's tty_mode_ioctl: the settings, in their various forms.
func (t *TTY) mode(c *vfs.Caller, cmd uint32, arg uint64) (uint64, abi.Errno) {
	var room [abi.Termios2Size]byte
	out := func(size int, put func(*abi.Termios2, []byte)) (uint64, abi.Errno) {
		s := t.Termios()
		put(&s, room[:size])
		return 0, c.User.CopyOut(arg, room[:size])
	}
	switch cmd {
	case abi.TCGETS:
		return out(abi.TermiosSize, func(s *abi.Termios2, b []byte) { s.Termios.PutBytes(b) })
	case abi.TCGETS2:
		return out(abi.Termios2Size, (*abi.Termios2).PutBytes)
	case abi.TCGETA:
		return out(abi.TermioSize, func(s *abi.Termios2, b []byte) { s.PutTermio(b) })
	case abi.TCSETS, abi.TCSETSW, abi.TCSETSF:
		return 0, t.setMode(c, arg, abi.TermiosSize, cmd != abi.TCSETS, cmd == abi.TCSETSF)
	case abi.TCSETS2, abi.TCSETSW2, abi.TCSETSF2:
		return 0, t.setMode(c, arg, abi.Termios2Size, cmd != abi.TCSETS2, cmd == abi.TCSETSF2)
	case abi.TCSETA, abi.TCSETAW, abi.TCSETAF:
		return 0, t.setMode(c, arg, abi.TermioSize, cmd != abi.TCSETA, cmd == abi.TCSETAF)
	case abi.TIOCGLCKTRMIOS:
		t.mu.Lock()
		l := t.locked
		t.mu.Unlock()
		l.Termios.PutBytes(room[:])
		return 0, c.User.CopyOut(arg, room[:abi.TermiosSize])
	case abi.TIOCSLCKTRMIOS:
		if !c.Cred.Has(abi.CAP_SYS_ADMIN) {
			return 0, abi.EPERM
		}
		if e := c.User.CopyIn(room[:abi.TermiosSize], arg); e != 0 {
			return 0, e
		}
		t.mu.Lock()
		t.locked.Termios.SetBytes(room[:])
		t.mu.Unlock()
		return 0, 0
	case abi.TIOCGSOFTCAR:
		s := t.Termios()
		return put32(c.User, arg, flag(s.Cflag&abi.CLOCAL != 0))
	case abi.TIOCSSOFTCAR:
		on, e := get32(c.User, arg)
		if e != 0 {
			return 0, e
		}
		t.mu.Lock()
		defer t.mu.Unlock()
		s := t.disc.Termios()
		s.Cflag &^= abi.CLOCAL
		if on != 0 {
			s.Cflag |= abi.CLOCAL
		}
		t.setTermios(s)
		return 0, 0
	}
	return 0, abi.ENOTTY
}

// setMode changes the settings, after output has gone out (wait), and throws input away before (flush).
func (t *TTY) setMode(c *vfs.Caller, arg uint64, size int, wait, flush bool) abi.Errno {
	if e := t.check(c, abi.SIGTTOU); e != 0 {
		return e
	}
	var b [abi.Termios2Size]byte
	if e := c.User.CopyIn(b[:size], arg); e != 0 {
		return e
	}
	if wait {
		for {
			if !t.drain(c) {
				return abi.ERESTARTSYS
			}
			if e := lockGate(c, &t.writing, vfs.At{}); e != 0 {
				return e
			}
			t.mu.Lock()
			n := t.drv.Pending()
			t.mu.Unlock()
			if n == 0 {
				break
			}
			t.writing.Unlock() // somebody wrote in between
		}
		defer t.writing.Unlock()
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.disc.Termios()
	switch size {
	case abi.TermioSize:
		s.SetTermio(b[:])
	case abi.TermiosSize:
		s.Termios.SetBytes(b[:])
	default:
		s.SetBytes(b[:])
	}
	setSpeeds(&s)
	if flush {
		t.backlog = t.backlog[:0]
		t.disc.FlushInput()
		if t.link == nil {
			t.drv.Unthrottle()
		}
	}
	t.setTermios(s)
	return 0
}
