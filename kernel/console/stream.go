package console

import (
	"encoding/binary"
	"errors"
	"io"
	"sync"
	"syscall"

	"goum/arch/abi"
	"goum/arch/lock"
	"goum/kernel/fs/vfs"
	"goum/mm"
	"goum/sched"
	"goum/sched/clock"
)

// ahead is how much is read from the host for a poll(2), which asks for no number of bytes.
const ahead = 4096

const (
	pollIn  = sched.Mask(abi.EPOLLIN | abi.EPOLLRDNORM)
	pollOut = sched.Mask(abi.EPOLLOUT | abi.EPOLLWRNORM)
	pollErr = sched.Mask(abi.EPOLLERR)
	pollHup = sched.Mask(abi.EPOLLHUP)
)

// Stream is a host descriptor as a guest's open file: bytes and ends of file pass through, and so does EPIPE. To the guest it looks
// like a pipe. From the host no more is read than the guest asks for, except after a poll.
//
// Reads and writes of the host run on two goroutines, which begin with the first use and end with Close, or with the host
// call that they are in.
type Stream struct {
	// Immutable.
	in  io.Reader // nil: not readable
	out io.Writer // nil: not writable

	queue   sched.Queue
	reading sched.Gate // a guest takes from what was read
	writing sched.Gate // a guest fills outBuf

	mu     lock.Mutex[lock.Trace]
	change sync.Cond

	// Guarded by mu. inBuf[inAt:inEnd] is written by the goroutine when empty only; outBuf by the holder of writing when
	// outLen is 0.
	started struct{ in, out bool }
	want    int // bytes that the next read of the host asks for
	inAt    int
	inEnd   int
	inErr   abi.Errno
	eof     bool // the host's read said so; told once, then the host is asked again
	outLen  int  // being written
	outDone int  // what was written of it, when it is over
	outErr  abi.Errno
	closed  bool

	inBuf, outBuf []byte
}

// NewStream makes a stream of in (nil: not readable) and out (nil: not writable).
func NewStream(in io.Reader, out io.Writer) *Stream {
	s := &Stream{in: in, out: out}
	s.change.L = &s.mu
	return s
}

// Open makes an open file of s: to the guest, one end of a pipe.
func (s *Stream) Open() *vfs.Open {
	flags := uint32(abi.O_RDWR)
	switch {
	case s.out == nil:
		flags = abi.O_RDONLY
	case s.in == nil:
		flags = abi.O_WRONLY
	}
	return vfs.NewAnon("pipe:[%d]", abi.S_IFIFO|0o600, s, flags)
}

func hostErrno(err error) abi.Errno {
	var n syscall.Errno
	switch {
	case err == nil:
		return 0
	case errors.As(err, &n):
		return abi.FromHost(n)
	case errors.Is(err, io.ErrClosedPipe):
		return abi.EPIPE
	}
	return abi.EIO
}

// ask has the goroutine read n bytes from the host, unless it does already. mu is held.
func (s *Stream) ask(n int) {
	if !s.started.in {
		s.started.in = true
		s.inBuf = make([]byte, outSize)
		go s.reader()
	}
	s.want = max(s.want, min(n, len(s.inBuf)))
	s.change.Broadcast()
}

func (s *Stream) reader() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		for !s.closed && (s.want == 0 || s.has()) {
			s.change.Wait()
		}
		if s.closed {
			return
		}
		p := s.inBuf[:s.want]
		s.mu.Unlock()
		n, err := s.in.Read(p)
		s.mu.Lock()
		s.inAt, s.inEnd = 0, n
		s.want = 0
		if err == io.EOF {
			s.eof = true
		} else {
			s.inErr = hostErrno(err)
		}
		s.mu.Unlock()
		s.queue.Wake(pollIn | pollHup)
		s.mu.Lock()
	}
}

// has says whether there is an answer for a read. mu is held.
func (s *Stream) has() bool { return s.inEnd > s.inAt || s.eof || s.inErr != 0 }

func (s *Stream) readable() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.has()
}

// gate takes g for a call: EAGAIN, ERESTARTSYS.
func gate(c *vfs.Caller, g *sched.Gate, at vfs.At) abi.Errno {
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

// Read gives what the host has: EAGAIN, and what the host's read says.
func (s *Stream) Read(c *vfs.Caller, dst *mm.Buf, at vfs.At) (int, abi.Errno) {
	if dst.Len() == 0 {
		return 0, 0
	}
	if e := gate(c, &s.reading, at); e != 0 {
		return 0, e
	}
	defer s.reading.Unlock()
	s.mu.Lock()
	if !s.has() {
		s.ask(dst.Len())
		s.mu.Unlock()
		if at.NonBlock() {
			return 0, abi.EAGAIN
		}
		if s.queue.Wait(c.Thread, pollIn, clock.Never, s.readable) != sched.Woken {
			return 0, abi.ERESTARTSYS
		}
		s.mu.Lock()
	}
	p := s.inBuf[s.inAt:s.inEnd]
	if len(p) == 0 {
		e := s.inErr
		s.inErr, s.eof = 0, false
		s.mu.Unlock()
		return 0, e
	}
	s.mu.Unlock()
	n, e := dst.Write(p[:min(len(p), dst.Len())])
	s.mu.Lock()
	s.inAt += n
	s.mu.Unlock()
	if n > 0 {
		e = 0
	}
	return n, e
}

func (s *Stream) writer() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		for !s.closed && (s.outLen == 0 || s.outDone >= 0) {
			s.change.Wait()
		}
		if s.outLen == 0 || s.outDone >= 0 {
			return
		}
		p := s.outBuf[:s.outLen]
		s.mu.Unlock()
		n, err := s.out.Write(p)
		s.mu.Lock()
		s.outDone = max(n, 0)
		s.outErr = hostErrno(err)
		s.change.Broadcast()
		s.mu.Unlock()
		s.queue.Wake(pollOut | pollErr)
		s.mu.Lock()
	}
}

// idle says that nothing is being written.
func (s *Stream) idle() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.outLen == 0 || s.outDone >= 0
}

// Write waits until the host has taken it, so that errors belong to the write that met them. A signal ends the wait: then the bytes are on
// their way, and an error is the next write's. EAGAIN, EPIPE (the system call raises SIGPIPE), and what else the host says.
func (s *Stream) Write(c *vfs.Caller, src *mm.Buf, at vfs.At) (int, abi.Errno) {
	if e := gate(c, &s.writing, at); e != 0 {
		return 0, e
	}
	defer s.writing.Unlock()
	total := 0
	for {
		n, e := s.writeSome(c, src, at)
		total += n
		if e != 0 || src.Len() == 0 || at.NonBlock() {
			if total > 0 && e != 0 {
				s.keep(e)
				e = 0
			}
			return total, e
		}
	}
}

// keep has the next write report an error that came after a part was written.
func (s *Stream) keep(e abi.Errno) {
	if e == abi.ERESTARTSYS || e == abi.EAGAIN || e == abi.EFAULT {
		return
	}
	s.mu.Lock()
	s.outErr = e
	s.mu.Unlock()
}

// settle waits for the write before, and takes its error.
func (s *Stream) settle(c *vfs.Caller, nonblock bool) (int, abi.Errno) {
	if !s.idle() {
		if nonblock {
			return 0, abi.EAGAIN
		}
		if s.queue.Wait(c.Thread, pollOut, clock.Never, s.idle) != sched.Woken {
			return 0, abi.ERESTARTSYS
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	n, e := s.outDone, s.outErr
	s.outLen, s.outDone, s.outErr = 0, 0, 0
	return n, e
}

func (s *Stream) writeSome(c *vfs.Caller, src *mm.Buf, at vfs.At) (int, abi.Errno) {
	if _, e := s.settle(c, at.NonBlock()); e != 0 {
		return 0, e
	}
	if s.outBuf == nil {
		s.outBuf = make([]byte, outSize)
	}
	n, e := src.Read(s.outBuf[:min(outSize, src.Len())])
	if n == 0 {
		return 0, e
	}
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return 0, abi.EIO
	}
	s.outLen, s.outDone = n, -1
	if !s.started.out {
		s.started.out = true
		go s.writer()
	}
	s.change.Broadcast()
	s.mu.Unlock()
	if at.NonBlock() {
		return n, 0
	}
	done, he := s.settle(c, false)
	if he == abi.ERESTARTSYS {
		return n, he // with n > 0 it is the count that is told
	}
	if he != 0 {
		e = he
	}
	return done, e
}

// Poll says whether a read or a write would not wait. Asking about input begins to read.
func (s *Stream) Poll(*vfs.Caller) sched.Mask {
	s.mu.Lock()
	defer s.mu.Unlock()
	var m sched.Mask
	if s.in != nil {
		switch {
		case s.inEnd > s.inAt:
			m |= pollIn
		case s.has():
			m |= pollIn | pollHup
		default:
			s.ask(ahead)
		}
	}
	if s.out != nil {
		if s.outLen == 0 || s.outDone >= 0 {
			m |= pollOut
		}
		if s.outErr == abi.EPIPE {
			m |= pollErr
		}
	}
	return m
}

// Queue is where readers and writers wait.
func (s *Stream) Queue() *sched.Queue { return &s.queue }

// Ioctl is FIONREAD: what was read from the host and not by the guest. ENOTTY.
func (s *Stream) Ioctl(c *vfs.Caller, cmd uint32, arg uint64) (uint64, abi.Errno) {
	if cmd != abi.TIOCINQ {
		return 0, abi.ENOTTY
	}
	s.mu.Lock()
	n := s.inEnd - s.inAt
	s.mu.Unlock()
	return 0, c.User.CopyOut(arg, binary.LittleEndian.AppendUint32(nil, uint32(n)))
}

// Release lets the goroutines end once what is being written has gone out.
func (s *Stream) Release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	s.change.Broadcast()
}

// Close ends the stream for its goroutines, whether the guest has closed it or not. What is being written goes out all the same: Flush first
// to know that it has.
func (s *Stream) Close() { s.Release() }

// Flush waits until what the guest wrote has gone out, or cancel is closed.
func (s *Stream) Flush(cancel <-chan struct{}) {
	done := make(chan struct{})
	defer close(done)
	cancelled := false
	go func() {
		select {
		case <-cancel:
			s.mu.Lock()
			cancelled = true
			s.change.Broadcast()
			s.mu.Unlock()
		case <-done:
		}
	}()
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.outLen > 0 && s.outDone < 0 && !cancelled {
		s.change.Wait()
	}
}
