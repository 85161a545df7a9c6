// Package console is the user's terminal as a guest device, and the streams that take its place when there is none.
//
// A Console is the driver of a guest terminal: what the guest writes goes to an io.Writer, what the user types comes from an
// io.Reader, and the guest's own line discipline does the rest, so that a host terminal is in raw mode. A Stream is a descriptor
// of goum's own (a pipe, a file) as an open file of the guest, which is no terminal. Neither knows what is behind: command goum
// sets the host's terminal up, and tells of changes of its size.
//
// Invariants:
//   - Host calls that may block run on goroutines of this package only; a guest that waits for them can be interrupted.
//   - Buffers are bounded: a guest that writes faster than the host takes sleeps; what is typed faster than the guest reads waits in
//     the host, except that an interactive console reads on, for its escape, and drops.
//   - Output is written in order, and once.
//
// Locks: Console.mu and Stream.mu (lock.Trace) are innermost; terminals and queues are called without them.
package console

import (
	"io"
	"sync"

	"goum/arch/abi"
	"goum/arch/lock"
	"goum/kernel/fs/vfs"
	"goum/kernel/tty"
	"goum/sched/clock"
)

// The console's name and device number below /dev; /dev/console is the same terminal.
const (
	Name  = "hvc0"
	Major = 229
	Minor = 0

	majorAux     = 5
	minorConsole = 1
)

// Bounds of this package, in bytes.
const (
	outSize   = 1 << 16 // output that waits for the host
	typedSize = 1 << 14 // input that waits for the guest, beside the terminal's own 4095
	inChunk   = 1 << 12 // read from the host at once
)

// Options are what a Console is made of.
type Options struct {
	Clock *clock.Clock
	In    io.Reader // what the user types; nil: nobody does
	Out   io.Writer // where output goes
	Size  abi.Winsize
	// Terminal says that In is a terminal: its end is a hangup. That of a pipe is VEOF, typed once.
	Terminal bool
	// Quit is called, once, for Ctrl-A x; nil: Ctrl-A means nothing special.
	Quit func()
}

// Console is a guest terminal whose other side is the host.
type Console struct {
	// Immutable.
	opt Options
	tty *tty.TTY

	mu     lock.Mutex[lock.Trace]
	change sync.Cond // of anything below

	// Guarded by mu.
	out     [outSize]byte // a ring: n bytes from head on, of which busy are being written
	head, n int
	busy    int
	broken  bool // the host takes no more: output is thrown away
	typed   []byte
	roomier bool // the terminal may take more input
	ended   bool // no more input comes
	closed  bool
	help    bool // output of the help is wanted
	escape  escape
	wg      sync.WaitGroup
}

// New makes a console. Nothing is read or written before Start.
func New(o Options) *Console {
	c := &Console{opt: o, roomier: true}
	c.change.L = &c.mu
	c.tty = tty.New(Name, abi.Makedev(Major, Minor), (*driver)(c), o.Clock)
	c.tty.Resize(o.Size)
	return c
}

// TTY is the guest's terminal.
func (c *Console) TTY() *tty.TTY { return c.tty }

// Register makes the console known as hvc0 and as /dev/console.
func (c *Console) Register(sys *vfs.System) {
	vfs.RegisterChar(sys, Major, Minor, func(vc *vfs.Caller, flags uint32, _ vfs.Location) (vfs.File, abi.Errno) {
		return c.tty.Open(vc, flags, true, false)
	})
	vfs.RegisterChar(sys, majorAux, minorConsole, c.Open)
}

// Open opens /dev/console: it becomes nobody's controlling terminal by that.
func (c *Console) Open(vc *vfs.Caller, flags uint32, _ vfs.Location) (vfs.File, abi.Errno) {
	return c.tty.Open(vc, flags, false, true)
}

// node is /dev/console without a file system: what the first program's descriptors are.
type node struct {
	vfs.BaseNode
	c *Console
}

// Node is the console as a node that is in no directory, for descriptors that are there before any file system is mounted.
func (c *Console) Node() vfs.Node { return &node{c: c} }

// Attr is that of a character device.
func (n *node) Attr(*vfs.Caller) (vfs.Attr, abi.Errno) {
	return vfs.Attr{Ino: 1, Mode: abi.S_IFCHR | 0o600, Nlink: 1, Rdev: abi.Makedev(majorAux, minorConsole)}, 0
}

// Resize tells the guest the host terminal's new size.
func (c *Console) Resize(w abi.Winsize) { c.tty.Resize(w) }

// Start begins to read and write.
func (c *Console) Start() {
	c.wg.Go(c.write)
	if c.opt.In != nil {
		go c.read() // ends with the host's input, which nothing can interrupt
		c.wg.Go(c.feed)
	}
}

// Flush waits until all output has gone out, the host takes no more, or cancel is closed.
func (c *Console) Flush(cancel <-chan struct{}) {
	done := make(chan struct{})
	defer close(done)
	cancelled := false
	go func() {
		select {
		case <-cancel:
			c.mu.Lock()
			cancelled = true
			c.change.Broadcast()
			c.mu.Unlock()
		case <-done:
		}
	}()
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.n > 0 && !c.broken && !c.closed && !cancelled {
		c.change.Wait()
	}
}

// Close ends the console; output that has not gone out is lost, so Flush first. A read of the host's input may go on until that has
// something; what it brings is dropped.
func (c *Console) Close() {
	c.mu.Lock()
	c.closed = true
	c.change.Broadcast()
	busy := c.busy > 0
	c.mu.Unlock()
	if !busy {
		c.wg.Wait()
	}
}

// write is the goroutine that writes to the host.
func (c *Console) write() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		for c.n == 0 && !c.help && !c.closed {
			c.change.Wait()
		}
		if c.closed {
			return
		}
		if c.help {
			c.help = false
			c.mu.Unlock()
			io.WriteString(c.opt.Out, helpText)
			c.mu.Lock()
			continue
		}
		c.busy = min(c.n, outSize-c.head)
		p := c.out[c.head : c.head+c.busy]
		c.mu.Unlock()
		_, err := c.opt.Out.Write(p)
		c.mu.Lock()
		c.head = (c.head + c.busy) % outSize
		c.n -= c.busy
		c.busy = 0
		failed := err != nil && !c.broken
		if failed {
			c.broken, c.n = true, 0
		}
		c.change.Broadcast()
		c.mu.Unlock()
		if failed {
			c.tty.HangUp()
		}
		c.tty.Drained()
		c.mu.Lock()
	}
}

// read is the goroutine that reads from the host.
func (c *Console) read() {
	buf := make([]byte, inChunk)
	for {
		n, err := c.opt.In.Read(buf)
		c.mu.Lock()
		p := buf[:n]
		if c.opt.Quit != nil {
			p = c.filter(p)
		}
		for len(p) > 0 && !c.closed {
			room := min(typedSize-len(c.typed), len(p))
			c.typed = append(c.typed, p[:room]...)
			p = p[room:]
			c.change.Broadcast()
			if len(p) > 0 {
				if c.opt.Quit != nil {
					break // the next one may be Ctrl-A x
				}
				c.change.Wait()
			}
		}
		if err != nil {
			c.ended = true
			if err == io.EOF && !c.opt.Terminal {
				eof := c.eof()
				c.typed = append(c.typed, eof)
			}
			c.change.Broadcast()
		}
		stop := c.ended || c.closed
		c.mu.Unlock()
		if stop {
			return
		}
	}
}

// eof is what ends the input of the guest's programs.
func (c *Console) eof() byte {
	c.mu.Unlock()
	t := c.tty.Termios()
	c.mu.Lock()
	return t.Cc[abi.VEOF]
}

// feed is the goroutine that offers the terminal what was typed.
func (c *Console) feed() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		for !c.closed && !(len(c.typed) > 0 && c.roomier) && !(c.ended && len(c.typed) == 0) {
			c.change.Wait()
		}
		if c.closed {
			return
		}
		if len(c.typed) == 0 {
			if c.opt.Terminal {
				c.mu.Unlock()
				c.tty.HangUp()
				c.mu.Lock()
			}
			return
		}
		c.roomier = false // Unthrottle comes after a part was refused, and may come before Input returns
		p := c.typed
		c.mu.Unlock()
		n := c.tty.Input(p)
		c.mu.Lock()
		if n == len(p) {
			c.roomier = true
		}
		// read has only appended meanwhile
		c.typed = c.typed[:copy(c.typed, c.typed[n:])]
		c.change.Broadcast()
	}
}

// driver is the Console as its terminal sees it: called with the terminal's mutex held.
type driver Console

// Room is the free part of the ring.
func (d *driver) Room() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.broken {
		return outSize
	}
	return outSize - d.n
}

// Put adds to the ring.
func (d *driver) Put(p []byte) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.broken {
		return len(p)
	}
	p = p[:min(len(p), outSize-d.n)]
	at := (d.head + d.n) % outSize
	k := copy(d.out[at:], p)
	copy(d.out[:], p[k:])
	if d.n == 0 {
		d.change.Broadcast()
	}
	d.n += len(p)
	return len(p)
}

// Pending is what has not been written.
func (d *driver) Pending() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.n
}

// Flush throws away all but what is just being written.
func (d *driver) Flush() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.n = d.busy
	d.change.Broadcast()
}

// Unthrottle lets feed try again.
func (d *driver) Unthrottle() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.roomier = true
	d.change.Broadcast()
}
