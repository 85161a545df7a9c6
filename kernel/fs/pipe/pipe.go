// Package pipe is pipes and fifos, as pipe(7) and Linux 6.18's fs/pipe.c describe them, and the moving of data between pipes and files.
//
// A pipe is a ring of pages that are filled by writes and emptied by reads; a small write goes behind the last one into its page, so
// that what fits (PIPE_BUF at least) is never torn.
//
// Who writes to a pipe without a reader gets EPIPE and no signal: the write path of the system calls raises SIGPIPE (see vfs.File).
//
// Invariants:
//   - Slots from tail to head hold at least one byte each, but while the gate is held; each has a page.
//   - readers, writers and the counts of opens change with mu held, the ring with the gate held. Both can be looked at without.
//   - The pages that all pipes may hold are bounded: System.PipePages.
//
// Locks: the gate is held while bytes are copied from and to guests, as Linux holds the pipe's mutex. mu (lock.Pipe) is for memory
// only. Sleepers are woken when the pipe stops being empty, or full, or loses its last reader or writer.
package pipe

import (
	"math/bits"
	"sync"
	"sync/atomic"

	"goum/arch/abi"
	"goum/arch/lock"
	"goum/kernel/fs/vfs"
	"goum/mm"
	"goum/sched"
	"goum/sched/clock"
)

// partner is the event that an opener of a fifo waits for: no bit of poll(2).
const partner = sched.Mask(1 << 30)

var pagePool = sync.Pool{New: func() any { return new([pageSize]byte) }}

// slot is a page with bytes from off to off+n.
type slot struct {
	page   *[pageSize]byte
	off, n int
	packet bool // O_DIRECT: read as a whole, joined with nothing
}

// Pipe is a pipe or a fifo in use.
type Pipe struct {
	sys *vfs.System // counts capacity; nil: nobody does
	q   sched.Queue

	gate sched.Gate
	ring []slot // its length, a power of two, is the capacity in pages; changed with the gate held
	head uint32
	tail uint32

	used   atomic.Int32 // head-tail, for those without the gate
	slots  atomic.Int32 // len(ring)
	polled atomic.Bool  // somebody polls: edge-triggered ones want to hear of every write

	// guarded by mu; readers and writers may be read without
	mu      lock.Mutex[lock.Pipe]
	readers atomic.Int32
	writers atomic.Int32
	rcount  uint32 // opens for reading, ever
	wcount  uint32
	async   []*vfs.Open
}

// grab takes n pages of the machine's budget.
func grab(sys *vfs.System, n int) bool {
	if sys == nil {
		return true
	}
	if sys.PipePages.Add(int64(n)) > hardPages {
		sys.PipePages.Add(int64(-n))
		return false
	}
	return true
}

func (p *Pipe) drop(n int) {
	if p.sys != nil {
		p.sys.PipePages.Add(int64(-n))
	}
}

// newPipe makes a pipe without ends: ENFILE.
func newPipe(sys *vfs.System) (*Pipe, abi.Errno) {
	n := defaultSlots
	if sys != nil && sys.PipePages.Load()+int64(n) > softPages {
		n = 2
	}
	if !grab(sys, n) {
		return nil, abi.ENFILE
	}
	p := &Pipe{sys: sys, ring: make([]slot, n)}
	p.slots.Store(int32(n))
	return p, 0
}

// New makes a pipe: what is written to w is read from r. flags are O_NONBLOCK and O_DIRECT (O_CLOEXEC is the descriptor's). ENFILE.
func New(c *vfs.Caller, flags uint32) (r, w *vfs.Open, e abi.Errno) {
	p, e := newPipe(c.System())
	if e != 0 {
		return nil, nil, e
	}
	flags &= abi.O_NONBLOCK | abi.O_DIRECT
	p.readers.Store(1)
	p.writers.Store(1)
	p.rcount, p.wcount = 1, 1
	name := "pipe:[" + itoa(vfs.NextIno()) + "]"
	r = vfs.NewAnon(name, abi.S_IFIFO|0o600, &end{p: p, read: true}, abi.O_RDONLY|flags)
	w = vfs.NewAnon(name, abi.S_IFIFO|0o600, &end{p: p, write: true}, abi.O_WRONLY|flags)
	if c.Cred != nil {
		now := c.System().Now()
		vfs.SetAnonOwner(r, c.Cred.FSUID, c.Cred.FSGID, now)
		vfs.SetAnonOwner(w, c.Cred.FSUID, c.Cred.FSGID, now)
	}
	return r, w, 0
}

func itoa(v uint64) string {
	var b [20]byte
	i := len(b)
	for {
		i--
		b[i] = byte('0' + v%10)
		if v /= 10; v == 0 {
			return string(b[i:])
		}
	}
}

// end is the File of one open: an end, or both (a fifo opened O_RDWR).
type end struct {
	p           *Pipe
	read, write bool
	since       uint32 // wcount when a fifo was opened for reading with nobody writing: no POLLHUP until somebody was
	fifo        bool
}

func (p *Pipe) empty() bool { return p.used.Load() == 0 }
func (p *Pipe) full() bool  { return p.used.Load() >= p.slots.Load() }

// readable says whether a read would not wait.
func (p *Pipe) readable() bool { return !p.empty() || p.writers.Load() == 0 }

// writable says whether a write would not wait.
func (p *Pipe) writable() bool { return !p.full() || p.readers.Load() == 0 }

const (
	inMask  = sched.Mask(abi.POLLIN | abi.EPOLLRDNORM)
	outMask = sched.Mask(abi.POLLOUT | abi.EPOLLWRNORM)
)

// push makes the slot at head count. The gate is held.
func (p *Pipe) push() {
	p.head++
	p.used.Store(int32(p.head - p.tail))
}

// pop gives the slot at tail back. The gate is held.
func (p *Pipe) pop() {
	s := &p.ring[p.tail&uint32(len(p.ring)-1)]
	pagePool.Put(s.page)
	*s = slot{}
	p.tail++
	p.used.Store(int32(p.head - p.tail))
}

// Read is vfs.File's: EAGAIN, ERESTARTSYS, EFAULT; 0 when there is no writer.
func (e *end) Read(c *vfs.Caller, dst *mm.Buf, at vfs.At) (done int, er abi.Errno) {
	if dst.Len() == 0 {
		return 0, 0
	}
	p := e.p
	wakeWriter, wakeNext := false, false
	p.gate.Lock(c.Thread)
	for {
		for p.head != p.tail && dst.Len() > 0 {
			s := &p.ring[p.tail&uint32(len(p.ring)-1)]
			l := min(s.n, dst.Len())
			n, f := dst.Write(s.page[s.off : s.off+l])
			if f != 0 || n < l {
				if done == 0 {
					er = abi.EFAULT
				}
				goto out
			}
			done += n
			s.off += n
			s.n -= n
			packet := s.packet
			if packet {
				s.n = 0
			}
			if s.n == 0 {
				wakeWriter = wakeWriter || p.full()
				p.pop()
			}
			if packet {
				goto out
			}
		}
		if done > 0 || p.writers.Load() == 0 {
			break
		}
		if at.NonBlock() {
			er = abi.EAGAIN
			break
		}
		p.gate.Unlock()
		if wakeWriter { // cannot be here with nothing done, but for packets of no bytes
			p.q.WakeOne(outMask)
			wakeWriter = false
		}
		if p.q.Wait(c.Thread, inMask|abi.POLLHUP, clock.Never, p.readable) != sched.Woken {
			return 0, abi.ERESTARTSYS
		}
		p.gate.Lock(c.Thread)
		wakeNext = true
	}
out:
	if p.head == p.tail {
		wakeNext = false
	}
	p.gate.Unlock()
	if wakeWriter {
		p.q.WakeOne(outMask)
		p.sigio(abi.POLLOUT)
	}
	if wakeNext {
		p.q.WakeOne(inMask)
	}
	return done, er
}

// Write is vfs.File's: EPIPE, EAGAIN, ERESTARTSYS, EFAULT. Up to PIPE_BUF bytes go in together or not at all.
func (e *end) Write(c *vfs.Caller, src *mm.Buf, at vfs.At) (done int, er abi.Errno) {
	total := src.Len()
	if total == 0 {
		return 0, 0
	}
	p := e.p
	packet := at.Flags&abi.O_DIRECT != 0
	p.gate.Lock(c.Thread)
	if p.readers.Load() == 0 {
		p.gate.Unlock()
		return 0, abi.EPIPE
	}
	wasEmpty, wakeNext := p.head == p.tail, false
	if part := total & (pageSize - 1); part != 0 && !wasEmpty && !packet {
		s := &p.ring[(p.head-1)&uint32(len(p.ring)-1)]
		if at := s.off + s.n; !s.packet && at+part <= pageSize {
			n, f := src.Read(s.page[at : at+part])
			if f != 0 {
				// As in Linux, what came before the fault is not kept.
				p.gate.Unlock()
				return 0, f
			}
			s.n += n
			done += n
		}
	}
	for done < total {
		if p.readers.Load() == 0 {
			if done == 0 {
				er = abi.EPIPE
			}
			break
		}
		if int(p.head-p.tail) < len(p.ring) {
			s := &p.ring[p.head&uint32(len(p.ring)-1)]
			page := pagePool.Get().(*[pageSize]byte)
			n, f := src.Read(page[:min(total-done, pageSize)])
			if n > 0 && (f == 0 || total > pageSize) {
				*s = slot{page: page, n: n, packet: packet}
				p.push()
				done += n
			} else {
				pagePool.Put(page)
			}
			if f != 0 {
				if done == 0 {
					er = f
				}
				break
			}
			continue
		}
		if at.NonBlock() {
			if done == 0 {
				er = abi.EAGAIN
			}
			break
		}
		p.gate.Unlock()
		if wasEmpty {
			p.wakeReaders()
		}
		if p.q.Wait(c.Thread, outMask|abi.POLLERR, clock.Never, p.writable) != sched.Woken {
			if done > 0 {
				return done, 0
			}
			return 0, abi.ERESTARTSYS
		}
		p.gate.Lock(c.Thread)
		wasEmpty, wakeNext = p.head == p.tail, true
	}
	if int(p.head-p.tail) == len(p.ring) {
		wakeNext = false
	}
	p.gate.Unlock()
	if done > 0 && (wasEmpty || p.polled.Load()) {
		p.wakeReaders()
	}
	if wakeNext {
		p.q.WakeOne(outMask)
	}
	return done, er
}

func (p *Pipe) wakeReaders() {
	p.q.WakeOne(inMask)
	p.sigio(abi.POLLIN)
}

// Release is vfs.File's: one open less. The last one lets the bytes go.
func (e *end) Release() {
	p := e.p
	p.mu.Lock()
	r, w := p.readers.Load(), p.writers.Load()
	if e.read {
		r--
		p.readers.Store(r)
	}
	if e.write {
		w--
		p.writers.Store(w)
	}
	half, last := (r == 0) != (w == 0), r == 0 && w == 0
	if last {
		for p.head != p.tail { // nobody can be in Read or Write: each needs a reference to an open file
			p.pop()
		}
		if !e.fifo {
			p.drop(len(p.ring))
		}
	}
	p.mu.Unlock()
	if half {
		p.q.Wake(inMask | outMask | abi.POLLHUP | abi.POLLERR)
		p.sigio(abi.POLLIN)
		p.sigio(abi.POLLOUT)
	}
}

// Poll is vfs.Poller's.
func (e *end) Poll(*vfs.Caller) sched.Mask {
	p := e.p
	p.polled.Store(true)
	var m sched.Mask
	if e.read {
		if !p.empty() {
			m |= inMask
		}
		if p.writers.Load() == 0 {
			p.mu.Lock()
			if p.wcount != e.since {
				m |= abi.POLLHUP
			}
			p.mu.Unlock()
		}
	}
	if e.write {
		if !p.full() {
			m |= outMask
		}
		if p.readers.Load() == 0 {
			m |= abi.POLLERR
		}
	}
	return m
}

// Queue is vfs.Poller's.
func (e *end) Queue() *sched.Queue { return &e.p.q }

// Ioctl is vfs.Ioctler's: FIONREAD.
func (e *end) Ioctl(c *vfs.Caller, cmd uint32, arg uint64) (uint64, abi.Errno) {
	const fionread = 0x541b
	if cmd != fionread {
		return 0, abi.ENOTTY
	}
	n := uint32(e.p.Bytes(c))
	return 0, c.User.CopyOut(arg, []byte{byte(n), byte(n >> 8), byte(n >> 16), byte(n >> 24)})
}

// Bytes is how many wait to be read.
func (p *Pipe) Bytes(c *vfs.Caller) int {
	p.gate.Lock(c.Thread)
	defer p.gate.Unlock()
	n := 0
	for i := p.tail; i != p.head; i++ {
		n += p.ring[i&uint32(len(p.ring)-1)].n
	}
	return n
}

// Fcntl is vfs.Controller's: F_GETPIPE_SZ; F_SETPIPE_SZ (EINVAL, EPERM, EBUSY, ENOMEM), which answers the new size in bytes.
func (e *end) Fcntl(c *vfs.Caller, o *vfs.Open, cmd int, arg uint64) (uint64, abi.Errno, bool) {
	switch cmd {
	case abi.F_GETPIPE_SZ:
		return uint64(e.p.slots.Load()) * pageSize, 0, true
	case abi.F_SETPIPE_SZ:
		n, er := e.p.resize(c, uint32(arg))
		return n, er, true
	}
	return 0, 0, false
}

func (p *Pipe) resize(c *vfs.Caller, size uint32) (uint64, abi.Errno) {
	if size > 1<<31 {
		return 0, abi.EINVAL
	}
	size = max(size, pageSize)
	size = 1 << bits.Len32(size-1)
	p.gate.Lock(c.Thread)
	defer p.gate.Unlock()
	n, old := int(size/pageSize), len(p.ring)
	if n > old && size > maxSize {
		if !c.Cred.Has(abi.CAP_SYS_RESOURCE) {
			return 0, abi.EPERM
		}
		if size > maxPrivSize {
			return 0, abi.ENOMEM
		}
	}
	if int(p.head-p.tail) > n {
		return 0, abi.EBUSY
	}
	if n > old && !grab(p.sys, n-old) {
		return 0, abi.EPERM
	}
	if n < old {
		p.drop(old - n)
	}
	ring := make([]slot, n)
	k := uint32(0)
	for i := p.tail; i != p.head; i++ {
		ring[k] = p.ring[i&uint32(old-1)]
		k++
	}
	p.ring, p.tail, p.head = ring, 0, k
	p.slots.Store(int32(n))
	if n > old {
		p.q.Wake(outMask)
	}
	return uint64(size), 0
}

// SetFlags is vfs.FlagChecker's: a pipe knows O_DIRECT.
func (e *end) SetFlags(*vfs.Caller, uint32, uint32) abi.Errno { return 0 }

// SetAsync is vfs.Asyncer's.
func (e *end) SetAsync(o *vfs.Open, on bool) {
	p := e.p
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, a := range p.async {
		if a == o {
			if !on {
				p.async = append(p.async[:i:i], p.async[i+1:]...)
			}
			return
		}
	}
	if on {
		p.async = append(p.async, o)
	}
}

// sigio tells the owners of open files with O_ASYNC.
func (p *Pipe) sigio(events uint32) {
	if p.sys == nil || p.sys.SIGIO == nil {
		return
	}
	p.mu.Lock()
	all := p.async
	p.mu.Unlock()
	for _, o := range all {
		p.sys.SIGIO(o, events)
	}
}

// Reopen is vfs.Reopener's: /proc/PID/fd/N of a pipe is opened as a fifo is.
func (e *end) Reopen(c *vfs.Caller, flags uint32) (vfs.File, abi.Errno) {
	return e.p.open(c, flags, false)
}

// Register makes the fifos of sys work.
func Register(sys *vfs.System) {
	sys.Fifo = func(c *vfs.Caller, i *vfs.Inode, flags uint32) (vfs.File, abi.Errno) {
		p, _ := i.Fifo(func() any {
			p, e := newPipe(sys)
			if e != 0 {
				return nil
			}
			p.drop(len(p.ring)) // what a fifo may hold counts while it is open
			p.ring, p.head, p.tail = nil, 0, 0
			return p
		}).(*Pipe)
		if p == nil {
			return nil, abi.ENFILE
		}
		return p.open(c, flags, true)
	}
}

// open is fifo_open: it waits for the other side, unless told not to. ENXIO, ERESTARTSYS, ENFILE, EINVAL.
func (p *Pipe) open(c *vfs.Caller, flags uint32, fifo bool) (vfs.File, abi.Errno) {
	e := &end{p: p, fifo: fifo}
	nonblock := flags&abi.O_NONBLOCK != 0
	switch flags & abi.O_ACCMODE {
	case abi.O_RDONLY:
		e.read = true
	case abi.O_WRONLY:
		e.write = true
	case abi.O_RDWR:
		e.read, e.write = true, true
	default:
		return nil, abi.EINVAL
	}
	p.mu.Lock()
	if e.write && !e.read && nonblock && p.readers.Load() == 0 {
		p.mu.Unlock()
		return nil, abi.ENXIO
	}
	if fifo && p.readers.Load() == 0 && p.writers.Load() == 0 {
		if !grab(p.sys, defaultSlots) {
			p.mu.Unlock()
			return nil, abi.ENFILE
		}
		p.ring = make([]slot, defaultSlots)
		p.head, p.tail = 0, 0
		p.slots.Store(defaultSlots)
		p.used.Store(0)
	}
	wake := false
	if e.read {
		p.rcount++
		wake = p.readers.Add(1) == 1
	}
	if e.write {
		p.wcount++
		wake = p.writers.Add(1) == 1 || wake
	}
	rc, wc := p.rcount, p.wcount
	alone := fifo && (e.read && !e.write && p.writers.Load() == 0 || e.write && !e.read && p.readers.Load() == 0)
	if alone && e.read && nonblock {
		e.since, alone = wc, false
	}
	p.mu.Unlock()
	if wake {
		p.q.Wake(partner)
	}
	if !alone {
		return e, 0
	}
	out := p.q.Wait(c.Thread, partner, clock.Never, func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		if e.read {
			return p.wcount != wc
		}
		return p.rcount != rc
	})
	if out != sched.Woken {
		e.Release()
		return nil, abi.ERESTARTSYS
	}
	return e, 0
}
