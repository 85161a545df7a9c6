package tty

import (
	"sync/atomic"

	"goum/arch/abi"
	"goum/kernel/fs/vfs"
	"goum/mm"
	"goum/sched"
	"goum/sched/clock"
)

// file is an open file of a terminal.
type file struct {
	t       *TTY
	console bool         // opened as /dev/console
	read    bool         // open for reading
	loc     vfs.Location // of a master: where its ptmx is; counted by the vfs.Open
	hung    atomic.Bool  // written by hangup, with mu held
}

// TTYOf is the terminal that f is an open file of, or nil.
func TTYOf(f vfs.File) *TTY {
	if f, ok := f.(*file); ok {
		return f.t
	}
	return nil
}

// Release closes the file.
func (f *file) Release() { f.t.closed(f) }

// Queue is where readers and writers wait.
func (f *file) Queue() *sched.Queue { return &f.t.queue }

// SetAsync has o's owner get SIGIO when there is something to read, or room to write again.
func (f *file) SetAsync(o *vfs.Open, on bool) {
	t := f.t
	t.mu.Lock()
	defer t.mu.Unlock()
	if !on {
		delete(t.async, f)
		return
	}
	if t.async == nil {
		t.async = make(map[*file]*vfs.Open)
	}
	t.async[f] = o
}

// Poll is n_tty_poll.
func (f *file) Poll(*vfs.Caller) sched.Mask {
	if f.hung.Load() {
		return pollIn | pollOut | pollErr | pollHup
	}
	t := f.t
	t.mu.Lock()
	defer t.mu.Unlock()
	var m sched.Mask
	if t.disc.Ready(true) {
		m |= pollIn
	}
	if t.packet && t.link.events != 0 {
		m |= pollPri | pollIn
	}
	if t.gone {
		m |= pollHup
	}
	if t.disc.Room() > 0 && t.drv.Pending() < wakeRoom {
		m |= pollOut
	}
	return m
}

// lockGate takes g as Linux takes a terminal's mutexes: EAGAIN, ERESTARTSYS.
func lockGate(c *vfs.Caller, g *sched.Gate, at vfs.At) abi.Errno {
	if g.TryLock() {
		return 0
	}
	if at.NonBlock() {
		return abi.EAGAIN
	}
	if g.LockInterruptible(c.Thread) != sched.Woken {
		return abi.ERESTARTSYS
	}
	return 0
}

// Read is read(2): a line, or as many bytes as VMIN and VTIME ask for. EIO (background, or the other half of a pty is closed), EAGAIN.
func (f *file) Read(c *vfs.Caller, dst *mm.Buf, at vfs.At) (int, abi.Errno) {
	if f.hung.Load() {
		return 0, 0
	}
	t := f.t
	if !f.console {
		if e := t.check(c, abi.SIGTTIN); e != 0 {
			return 0, e
		}
	}
	if e := lockGate(c, &t.reading, at); e != 0 {
		return 0, e
	}
	defer t.reading.Unlock()
	total, more := 0, false
	for {
		p := t.in[:min(len(t.in), dst.Len())]
		var (
			n int
			e abi.Errno
		)
		if more {
			n, more = t.goOn(p)
		} else {
			n, more, e = f.begin(c, p, at)
		}
		if e != 0 || n == 0 {
			if total > 0 {
				e = 0
			}
			return total, e
		}
		m, e := dst.Write(p[:n])
		total += m
		if e != 0 {
			if more {
				t.goOn(nil)
			}
			if total > 0 {
				e = 0
			}
			return total, e
		}
		if !more {
			return total, 0
		}
	}
}

// goOn continues a read that can have more of the same line, or of what was there. At its end the sender may go on.
func (t *TTY) goOn(p []byte) (n int, more bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(p) == 0 {
		t.disc.SkipEOF()
	} else {
		n, more = t.disc.Take(p)
	}
	if !more {
		t.pull()
	}
	return n, more
}

// begin is the first part of a read: it waits for input.
func (f *file) begin(c *vfs.Caller, p []byte, at vfs.At) (n int, more bool, e abi.Errno) {
	t := f.t
	t.mu.Lock()
	defer t.mu.Unlock()
	var (
		d        = t.disc
		minimum  = 0
		between  clock.Time // from one byte to the next
		deadline = clock.Never
		expired  = false
	)
	if !d.l(abi.ICANON) {
		minimum = int(d.cc(abi.VMIN))
		wait := tenth * clock.Time(d.cc(abi.VTIME))
		switch {
		case minimum != 0:
			between = wait
		case wait == 0:
			minimum, expired = 1, true
		default:
			minimum, deadline = 1, t.clk.Monotonic()+wait
		}
	}
	for n < len(p) {
		if t.packet && t.link.events != 0 {
			if n == 0 {
				p[0] = t.link.events
				t.link.events = 0
				n = 1
			}
			break
		}
		if !d.Ready(false) {
			switch {
			case t.gone:
				e = abi.EIO
			case f.hung.Load() || expired:
			case at.NonBlock():
				e = abi.EAGAIN
			default:
				t.mu.Unlock()
				out := t.queue.Wait(c.Thread, pollIn|pollPri|pollHup|pollErr, deadline, f.readable)
				t.mu.Lock()
				switch out {
				case sched.Woken:
					continue
				case sched.Expired:
					expired = true
					continue
				}
				e = abi.ERESTARTSYS
			}
			break
		}
		if t.packet && n == 0 {
			p[0] = abi.TIOCPKT_DATA
			n++
		}
		got, rest := d.Take(p[n:])
		n += got
		if rest && (d.canon() || n >= minimum) {
			return n, true, 0
		}
		if n >= minimum {
			break
		}
		if between != 0 {
			deadline = t.clk.Monotonic() + between
		}
	}
	t.pull()
	if n > 0 {
		e = 0
	}
	return n, false, e
}

// readable is what begin waits for.
func (f *file) readable() bool {
	t := f.t
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.disc.Ready(false) || t.gone || f.hung.Load() || t.packet && t.link.events != 0
}

// Write is write(2): EIO (hung up, or background and orphaned with TOSTOP), EAGAIN.
func (f *file) Write(c *vfs.Caller, src *mm.Buf, at vfs.At) (int, abi.Errno) {
	if f.hung.Load() {
		return 0, abi.EIO
	}
	t := f.t
	if e := lockGate(c, &t.writing, at); e != 0 {
		return 0, e
	}
	defer func() {
		t.writing.Unlock()
		t.queue.Wake(pollOut)
	}()
	total := 0
	for {
		p := t.outgo[:min(len(t.outgo), src.Len())]
		n, e := src.Read(p)
		if e == 0 || n > 0 {
			want := n
			n, e = f.write(c, p[:n], at)
			total += n
			if n == want && e == 0 && n == len(p) && src.Len() > 0 {
				if c.Thread == nil || !c.Thread.Interrupted() {
					continue
				}
				e = abi.ERESTARTSYS
			}
		}
		if total > 0 {
			e = 0
		}
		return total, e
	}
}

// write is n_tty_write. The gate for writing is held.
func (f *file) write(c *vfs.Caller, p []byte, at vfs.At) (n int, e abi.Errno) {
	t := f.t
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.disc.l(abi.TOSTOP) && !f.console {
		t.mu.Unlock()
		e = t.check(c, abi.SIGTTOU)
		t.mu.Lock()
		if e != 0 {
			return 0, e
		}
	}
	for {
		if c.Thread != nil && c.Thread.Interrupted() {
			e = abi.ERESTARTSYS
			break
		}
		if f.hung.Load() || t.kind == slave && t.gone {
			e = abi.EIO
			break
		}
		n += t.disc.Write(p[n:])
		if n == len(p) {
			return n, 0
		}
		if at.NonBlock() {
			e = abi.EAGAIN
			break
		}
		t.mu.Unlock()
		out := t.queue.Wait(c.Thread, pollOut|pollHup|pollErr, clock.Never, f.writable)
		t.mu.Lock()
		if out != sched.Woken {
			e = abi.ERESTARTSYS
			break
		}
	}
	if n > 0 {
		e = 0
	}
	return n, e
}

// writable is what write waits for: room for whatever one byte becomes.
func (f *file) writable() bool {
	t := f.t
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.disc.Room() >= 8 || f.hung.Load() || t.kind == slave && t.gone
}
