package tty

import (
	"goum/arch/abi"
	"goum/arch/lock"
	"goum/kernel/fs/vfs"
	"goum/kernel/signal"
	"goum/sched"
	"goum/sched/clock"
)

// Driver is what a terminal's output goes to. Its methods are called with the terminal's mutex held and never block.
type Driver interface {
	// Room is how many bytes Put would take now.
	Room() int
	// Put sends p and returns how much of it was taken: all, if len(p) <= Room().
	Put(p []byte) int
	// Pending is how many bytes have been put and have not gone out.
	Pending() int
	// Flush throws those away.
	Flush()
	// Unthrottle tells that input that Input did not take may be offered again.
	Unthrottle()
}

// kind says what a terminal is.
type kind uint8

const (
	plain  kind = iota // a console, a line
	slave              // the side of a pty that programs take for a terminal
	master             // the side of the terminal emulator
)

// TTY is a terminal: a Discipline, who reads and writes through it, and whose controlling terminal it is.
type TTY struct {
	// Immutable.
	name   string
	number uint64 // abi.Makedev
	kind   kind
	drv    Driver
	link   *TTY // the other half of a pty
	clk    *clock.Clock
	mu     *lock.Mutex[lock.TTY] // shared by both halves of a pty

	queue sched.Queue // readers and writers

	reading sched.Gate // one read(2) at a time; guards in
	in      [readChunk]byte
	writing sched.Gate // one write(2) at a time; guards outgoing
	outgo   [writeChunk]byte

	// Guarded by mu.
	disc       *Discipline
	locked     abi.Termios2 // TIOCSLCKTRMIOS
	size       abi.Winsize
	session    signal.Session
	foreground signal.Group
	files      map[*file]struct{}
	async      map[*file]*vfs.Open // those with O_ASYNC, who get SIGIO
	backlog    []byte              // of a pty: put by the other half, and not yet received
	exclusive  bool
	gone       bool  // of a pty: the other half is closed
	packet     bool  // of a master: TIOCPKT
	events     uint8 // TIOCPKT_ bits for the other half to read
	unlocked   bool  // of a slave: may be opened
}

// New makes a terminal on drv: a console. name is what /proc shows ("ttyS0"), number its device number (abi.Makedev).
func New(name string, number uint64, drv Driver, clk *clock.Clock) *TTY {
	t := &TTY{name: name, number: number, drv: drv, clk: clk, mu: new(lock.Mutex[lock.TTY])}
	t.init(StdTermios())
	return t
}

func (t *TTY) init(settings abi.Termios2) {
	t.files = make(map[*file]struct{})
	t.disc = NewDiscipline((*line)(t), settings)
}

// Name is the terminal's name below /dev.
func (t *TTY) Name() string { return t.name }

// Number is its device number, as stat(2) encodes it.
func (t *TTY) Number() uint64 { return t.number }

// Foreground is the id of the foreground process group, 0 for none.
func (t *TTY) Foreground() int32 {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.foreground == nil {
		return 0
	}
	return t.foreground.ID()
}

// Session is the session whose controlling terminal it is, or nil.
func (t *TTY) Session() signal.Session {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.session
}

// Termios is the settings.
func (t *TTY) Termios() abi.Termios2 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.disc.Termios()
}

// Size is the window size.
func (t *TTY) Size() abi.Winsize {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.size
}

// Input offers bytes that arrived from outside and returns how many were taken; when fewer than len(p), the Driver's
// Unthrottle says when to go on. Any goroutine may call it, but one at a time.
func (t *TTY) Input(p []byte) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.disc.Receive(p)
}

// Drained is for the Driver's owner to call, without the terminal's mutex, when Room grew or Pending shrank.
func (t *TTY) Drained() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.disc.processEchoes()
	t.queue.Wake(pollOut)
}

// Resize changes the window size and tells the foreground group with SIGWINCH, if it is another.
func (t *TTY) Resize(w abi.Winsize) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.resize(w)
}

func (t *TTY) resize(w abi.Winsize) {
	if t.size == w {
		return
	}
	t.size = w
	t.send(abi.SIGWINCH)
	if o := t.link; o != nil {
		if o.foreground != t.foreground {
			o.send(abi.SIGWINCH)
		}
		o.size = w
	}
}

// send sends sig to the foreground group.
func (t *TTY) send(sig int) { sendTo(t.foreground, sig) }

func sendTo(g signal.Target, sig int) {
	if g == nil {
		return
	}
	i := signal.Kernel(sig)
	g.Send(&i)
}

// setTermios is tty_set_termios.
func (t *TTY) setTermios(n abi.Termios2) {
	old := t.disc.Termios()
	keepLocked(&n, &old, &t.locked)
	if t.link != nil {
		n.Cflag = n.Cflag&^(abi.CSIZE|abi.PARENB) | abi.CS8 | abi.CREAD
	}
	if t.link != nil && t.link.packet {
		flow := func(t *abi.Termios2) bool {
			return t.Iflag&abi.IXON != 0 && t.Cc[abi.VSTOP] == 'S'&0x1f && t.Cc[abi.VSTART] == 'Q'&0x1f
		}
		if now := flow(&n); now != flow(&old) {
			t.events &^= abi.TIOCPKT_DOSTOP | abi.TIOCPKT_NOSTOP
			if now {
				t.event(abi.TIOCPKT_DOSTOP)
			} else {
				t.event(abi.TIOCPKT_NOSTOP)
			}
		}
		if (n.Lflag|old.Lflag)&abi.EXTPROC != 0 {
			t.event(abi.TIOCPKT_IOCTL)
		}
	}
	t.disc.SetTermios(n)
	t.pull() // a change of mode may have made room
}

// event notes something for a master in packet mode to read.
func (t *TTY) event(bits uint8) {
	if o := t.link; o != nil && o.packet {
		t.events |= bits
		o.queue.Wake(pollIn | pollPri)
	}
}

// push takes bytes from the other half of a pty: into the Discipline, and what it has no room for into the backlog.
func (t *TTY) push(p []byte) int {
	n := 0
	if len(t.backlog) == 0 {
		n = t.disc.Receive(p)
	}
	for _, c := range p[n:] {
		if !t.disc.LookAhead(c) {
			t.backlog = append(t.backlog, c)
		}
	}
	return len(p)
}

// pull moves what waits outside into the Discipline, after a reader or a flush made room.
func (t *TTY) pull() {
	if len(t.backlog) > 0 {
		n := t.disc.Receive(t.backlog)
		if n == 0 {
			return
		}
		t.backlog = t.backlog[:copy(t.backlog, t.backlog[n:])]
		if len(t.backlog) == 0 && cap(t.backlog) > backlogSize/4 {
			t.backlog = nil // a pty that is idle costs little
		}
		t.link.queue.Wake(pollOut)
	}
	if t.drv != nil && t.disc.NoRoom() {
		t.drv.Unthrottle()
	}
}

// line is the TTY as its Discipline sees it.
type line TTY

func (l *line) Room() int        { return l.drv.Room() }
func (l *line) Put(p []byte) int { return l.drv.Put(p) }
func (l *line) Signal(sig int)   { (*TTY)(l).send(sig) }

func (l *line) Wake(mask sched.Mask) {
	l.queue.Wake(mask)
	for _, o := range l.async {
		if m := o.Loc.Mount; m != nil && m.System().SIGIO != nil {
			m.System().SIGIO(o, uint32(mask&(pollIn|pollOut|pollHup)))
		}
	}
}

func (l *line) Flush() {
	l.drv.Flush()
	(*TTY)(l).event(abi.TIOCPKT_FLUSHWRITE)
	l.queue.Wake(pollOut)
}

func (l *line) Flushed() { (*TTY)(l).event(abi.TIOCPKT_FLUSHREAD) }

func (l *line) Flow(stopped bool) {
	if stopped {
		l.events &^= abi.TIOCPKT_START
		(*TTY)(l).event(abi.TIOCPKT_STOP)
	} else {
		l.events &^= abi.TIOCPKT_STOP
		(*TTY)(l).event(abi.TIOCPKT_START)
	}
}

// Open opens the terminal: EBUSY (exclusive), EIO (a pty's half that cannot be opened). With acquire, and unless flags has
// O_NOCTTY, it becomes the controlling terminal of a session leader that has none. asConsole is for /dev/console: such a file
// is exempt from job control and survives a hangup.
func (t *TTY) Open(c *vfs.Caller, flags uint32, acquire, asConsole bool) (vfs.File, abi.Errno) {
	t.mu.Lock()
	switch {
	case t.kind == master:
		t.mu.Unlock()
		return nil, abi.EIO
	case t.exclusive && !c.Cred.Has(abi.CAP_SYS_ADMIN):
		t.mu.Unlock()
		return nil, abi.EBUSY
	case t.kind == slave && (t.gone || !t.unlocked):
		t.mu.Unlock()
		return nil, abi.EIO
	}
	f := t.newFile(flags, asConsole)
	if t.link != nil {
		t.link.gone = false
	}
	t.mu.Unlock()
	if acquire && flags&abi.O_NOCTTY == 0 && f.read {
		t.acquireAtOpen(c)
	}
	return f, 0
}

// newFile adds an open file; mu is held.
func (t *TTY) newFile(flags uint32, asConsole bool) *file {
	f := &file{t: t, console: asConsole, read: flags&abi.O_ACCMODE != abi.O_WRONLY}
	t.files[f] = struct{}{}
	return f
}

// closed takes f away. With a pty's last file on one side, the other side learns of it.
func (t *TTY) closed(f *file) {
	t.mu.Lock()
	delete(t.files, f)
	delete(t.async, f)
	o := t.link
	if o == nil || len(t.files) > 0 {
		t.mu.Unlock()
		return
	}
	t.packet = false
	o.gone = true
	o.queue.Wake(sched.Any)
	if t.kind == slave {
		last := len(o.files) == 0
		t.mu.Unlock()
		if last {
			t.free()
		}
		return
	}
	t.gone = true
	last := len(o.files) == 0
	t.mu.Unlock()
	t.pty().unlist()
	o.hangup(false)
	if last {
		t.free()
	}
}

// HangUp ends everything that goes on: reads give 0, writes EIO, and the session's leader gets SIGHUP. The terminal can be opened
// again. Output that is on its way to a console still goes out. vhangup(2).
func (t *TTY) HangUp() { t.hangup(false) }

func (t *TTY) hangup(exit bool) {
	t.mu.Lock()
	for f := range t.files {
		if !f.console {
			f.hung.Store(true)
		}
	}
	s, g := t.session, t.foreground
	t.session, t.foreground = nil, nil
	t.disc.FlushInput()
	if t.kind == slave {
		t.drv.Flush()
		t.disc.SetTermios(slaveTermios())
	}
	t.events = 0
	t.queue.Wake(sched.Any)
	t.mu.Unlock()
	if s == nil {
		return
	}
	s.ClearTerminal()
	hangUpSession(s, g)
	if exit {
		sendTo(g, abi.SIGHUP)
	}
}
