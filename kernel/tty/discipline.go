package tty

import (
	"goum/arch/abi"
	"goum/sched"
)

// Line is what a Discipline stands on. Its methods are called from within the Discipline's, never block, and do not call back.
type Line interface {
	// Room is how many bytes Put would take now.
	Room() int
	// Put sends output; it takes all of p if len(p) <= Room().
	Put(p []byte) int
	// Flush throws away output that was put and has not gone out.
	Flush()
	// Signal sends sig to the foreground group.
	Signal(sig int)
	// Wake tells readers (POLLIN) or writers (POLLOUT) that it may be worth looking again.
	Wake(mask sched.Mask)
	// Flow tells that output stopped or goes on.
	Flow(stopped bool)
	// Flushed tells that input was thrown away, for a pty's packet mode.
	Flushed()
}

// Discipline is the line discipline N_TTY. It is not safe for concurrent use: its owner has a lock.
//
// All positions count bytes since the last flush, modulo 1<<64; a byte lies in its ring at position & ringMask.
type Discipline struct {
	line Line

	termios abi.Termios2
	special [256]bool // characters that receive must look at
	raw     bool      // no character is special and none is echoed

	// Input. readTail <= canonHead <= readHead; canonical reads go up to canonHead, raw ones up to commitHead.
	ring       [ringSize]byte
	ends       [ringSize / 64]uint64 // bit set: a line ends here
	readHead   uint
	readTail   uint
	canonHead  uint
	commitHead uint
	push       bool // the line up to canonHead was cut off by a change to canonical mode
	lnext      bool // the next character is taken literally
	erasing    bool // between \ and / of ECHOPRT
	noRoom     bool // Receive left something behind

	// Echoes: codes below, and bytes. tail <= commit <= mark <= head: what is before commit may be written.
	echo     [ringSize]byte
	echoHead uint
	echoMark uint
	echoDue  uint
	echoTail uint

	column      uint // of the cursor, as far as output shows
	canonColumn uint // where the line being typed began

	stopped    bool // output is, by VSTOP or TCOOFF
	tcoStopped bool // by TCOOFF: VSTART does not help

	out [1024]byte // output being put together
}

// NewDiscipline makes a Discipline on line with the given settings.
func NewDiscipline(line Line, t abi.Termios2) *Discipline {
	d := &Discipline{line: line}
	d.SetTermios(t)
	return d
}

// Termios is the settings.
func (d *Discipline) Termios() abi.Termios2 { return d.termios }

func (d *Discipline) i(flag uint32) bool { return d.termios.Iflag&flag != 0 }
func (d *Discipline) o(flag uint32) bool { return d.termios.Oflag&flag != 0 }
func (d *Discipline) l(flag uint32) bool { return d.termios.Lflag&flag != 0 }
func (d *Discipline) cc(i int) byte      { return d.termios.Cc[i] }

// is says whether c is the control character i. One that is disabled is never special, see SetTermios.
func (d *Discipline) is(c byte, i int) bool { return c == d.termios.Cc[i] }

// canon says whether reads give lines.
func (d *Discipline) canon() bool { return d.l(abi.ICANON) && !d.l(abi.EXTPROC) }

// SetTermios changes the settings. Switching between lines and characters makes what was typed so far readable.
func (d *Discipline) SetTermios(t abi.Termios2) {
	old := d.termios
	d.termios = t
	if (old.Lflag^t.Lflag)&(abi.ICANON|abi.EXTPROC) != 0 {
		d.ends = [len(d.ends)]uint64{}
		if !d.l(abi.ICANON) || d.readHead == d.readTail {
			d.canonHead = d.readTail
			d.push = false
		} else {
			d.setEnd(d.readHead - 1)
			d.canonHead = d.readHead
			d.push = true
		}
		d.commitHead = d.readHead
		d.erasing = false
		d.lnext = false
	}
	d.special = [256]bool{}
	d.raw = !(d.i(abi.ISTRIP|abi.IUCLC|abi.IGNCR|abi.ICRNL|abi.INLCR|abi.IXON|abi.PARMRK) || d.l(abi.ICANON|abi.ISIG|abi.ECHO))
	if !d.raw {
		d.special['\r'] = d.i(abi.IGNCR | abi.ICRNL)
		d.special['\n'] = d.i(abi.INLCR) || d.l(abi.ICANON)
		if d.l(abi.ICANON) {
			d.mark(abi.VERASE, abi.VKILL, abi.VEOF, abi.VEOL)
			if d.l(abi.IEXTEN) {
				d.mark(abi.VWERASE, abi.VLNEXT, abi.VEOL2)
				if d.l(abi.ECHO) {
					d.mark(abi.VREPRINT)
				}
			}
		}
		if d.i(abi.IXON) {
			d.mark(abi.VSTART, abi.VSTOP)
		}
		if d.l(abi.ISIG) {
			d.mark(abi.VINTR, abi.VQUIT, abi.VSUSP)
		}
		d.special[disabled] = false
	}
	if !d.i(abi.IXON) && old.Iflag&abi.IXON != 0 && !d.tcoStopped {
		d.start() // or nobody could start it any more
		d.processEchoes()
	}
	d.line.Wake(sched.Any)
}

func (d *Discipline) mark(ccs ...int) {
	for _, i := range ccs {
		d.special[d.termios.Cc[i]] = true
	}
}

func (d *Discipline) setEnd(at uint)      { d.ends[at&ringMask>>6] |= 1 << (at & 63) }
func (d *Discipline) clearEnd(at uint)    { d.ends[at&ringMask>>6] &^= 1 << (at & 63) }
func (d *Discipline) isEnd(at uint) bool  { return d.ends[at&ringMask>>6]>>(at&63)&1 != 0 }
func (d *Discipline) at(pos uint) byte    { return d.ring[pos&ringMask] }
func (d *Discipline) queue(c byte)        { d.ring[d.readHead&ringMask] = c; d.readHead++ }
func (d *Discipline) isEOF(pos uint) bool { return d.isEnd(pos) && d.at(pos) == disabled }

// FlushInput throws away all input, and all echoes that have not been written: TCIFLUSH.
func (d *Discipline) FlushInput() {
	d.readHead, d.readTail, d.canonHead, d.commitHead = 0, 0, 0, 0
	d.echoHead, d.echoMark, d.echoDue, d.echoTail = 0, 0, 0, 0
	d.erasing, d.push = false, false
	d.ends = [len(d.ends)]uint64{}
	d.line.Flushed()
}

// Stop stops output as TCOOFF does; Start lets it go on as TCOON does.
func (d *Discipline) Stop() {
	if !d.tcoStopped {
		d.tcoStopped = true
		d.stop()
	}
}

// Start undoes Stop.
func (d *Discipline) Start() {
	if d.tcoStopped {
		d.tcoStopped = false
		d.start()
	}
}

// Stopped says whether output is stopped.
func (d *Discipline) Stopped() bool { return d.stopped }

func (d *Discipline) stop() {
	if !d.stopped {
		d.stopped = true
		d.line.Flow(true)
	}
}

func (d *Discipline) start() {
	if d.stopped && !d.tcoStopped {
		d.stopped = false
		d.line.Flow(false)
		d.line.Wake(pollOut)
	}
}

// Masks of poll(2), as Linux's n_tty combines them.
const (
	pollIn  = sched.Mask(abi.EPOLLIN | abi.EPOLLRDNORM)
	pollOut = sched.Mask(abi.EPOLLOUT | abi.EPOLLWRNORM)
	pollPri = sched.Mask(abi.EPOLLPRI)
	pollHup = sched.Mask(abi.EPOLLHUP)
	pollErr = sched.Mask(abi.EPOLLERR)
)
