package inet

import (
	"errors"
	"io"
	"runtime"
	"sync"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/waiter"

	"goum/arch/abi"
	"goum/kernel/fs/vfs"
	"goum/kernel/net/socket"
	"goum/mm"
	"goum/sched"
)

// source gives netstack the guest's bytes. netstack holds no lock while it reads.
type source struct {
	buf   *mm.Buf
	fault abi.Errno
}

var sources = sync.Pool{New: func() any { return new(source) }}

// Len is how many bytes are left.
func (s *source) Len() int { return s.buf.Len() }

// errFault ends netstack's reading: it would ask again and again after a plain end.
var errFault = errors.New("bad guest memory")

// Read copies from the guest.
func (s *source) Read(p []byte) (int, error) {
	switch {
	case s.fault != 0:
		return 0, errFault
	case s.buf.Len() == 0:
		return 0, io.EOF
	case len(p) == 0:
		return 0, nil // netstack asks whether this is the end
	}
	n, e := s.buf.Read(p)
	if e == 0 && n == 0 {
		e = abi.EFAULT
	}
	if e != 0 {
		s.fault = e
		return n, errFault
	}
	return n, nil
}

// scratch is where received bytes lie between netstack and the guest.
type scratch struct {
	b     []byte
	n     int
	write tcpip.FullAddress // where a datagram goes
}

var scratches = sync.Pool{New: func() any { return &scratch{b: make([]byte, scratchSize)} }}

// Write takes bytes from netstack.
func (s *scratch) Write(p []byte) (int, error) {
	n := copy(s.b[s.n:], p)
	s.n += n
	if n < len(p) {
		return n, io.ErrShortWrite
	}
	return n, nil
}

func lockGate(g *sched.Gate, c *vfs.Caller) {
	if !g.TryLock() {
		g.Lock(c.Thread)
	}
}

// sendStream is tcp_sendmsg: EOPNOTSUPP (out-of-band data), EPIPE, the connection's error, EAGAIN, EFAULT.
func (k *sock) sendStream(c *vfs.Caller, src *mm.Buf, flags uint32) (sent int, e abi.Errno) {
	if flags&(abi.MSG_OOB|abi.MSG_FASTOPEN) != 0 {
		return 0, abi.EOPNOTSUPP
	}
	deadline := k.s.SendDeadline(flags&abi.MSG_DONTWAIT != 0)
	s := sources.Get().(*source)
	*s = source{buf: src}
	defer sources.Put(s)
	ep := k.ep.Load()
	for {
		if k.shut.Load()&2 != 0 {
			return sent, abi.EPIPE
		}
		if src.Len() == 0 {
			return sent, 0
		}
		left := src.Len()
		lockGate(&k.wgate, c)
		n, err := ep.Write(s, tcpip.WriteOptions{})
		k.wgate.Unlock()
		sent += int(n)
		if n > 0 {
			// The segment waits for netstack's goroutine, which is next on this P. On the way to user mode this goroutine
			// would keep the P in a system call, and the segment would wait until the runtime's monitor takes it away.
			runtime.Gosched()
		}
		if err == nil && s.fault != 0 {
			return sent, s.fault
		}
		if err == nil {
			if n == 0 && src.Len() == left {
				return sent, 0
			}
			continue
		}
		if e = errno(err); e != abi.EAGAIN {
			if s.fault != 0 {
				return sent, s.fault
			}
			return sent, k.broken(e)
		}
		e = k.s.Wait(c, socket.WriteEvents, deadline, func() bool {
			return ep.Readiness(waiter.WritableEvents) != 0
		})
		if e != 0 {
			return sent, e
		}
	}
}

// broken notes that the connection's error was told.
func (k *sock) broken(e abi.Errno) abi.Errno {
	switch e {
	case abi.ECONNRESET, abi.ECONNREFUSED, abi.ETIMEDOUT, abi.EHOSTUNREACH, abi.ENETUNREACH, abi.ECONNABORTED:
		k.told.Store(true)
	}
	return e
}

// recvStream is tcp_recvmsg: ENOTCONN, EINVAL (out-of-band data), the connection's error, EAGAIN, EFAULT.
func (k *sock) recvStream(c *vfs.Caller, dst *mm.Buf, flags uint32) (got int, e abi.Errno) {
	if flags&abi.MSG_OOB != 0 {
		return 0, abi.EINVAL
	}
	ep := k.ep.Load()
	if k.Listening() {
		return 0, abi.ENOTCONN
	}
	target := k.s.Lowat(flags&abi.MSG_WAITALL != 0, dst.Len())
	deadline := k.s.RecvDeadline(flags&abi.MSG_DONTWAIT != 0)
	peek := flags&abi.MSG_PEEK != 0
	for {
		lockGate(&k.rgate, c)
		n, e := k.step(ep, dst, peek, flags&abi.MSG_TRUNC != 0)
		k.rgate.Unlock()
		got += n
		switch {
		case got > 0 && (e != 0 && e != abi.EAGAIN || peek || dst.Len() == 0):
			return got, 0
		case e == endOfFile:
			return got, 0
		case e == 0:
			continue
		case e != abi.EAGAIN:
			return got, k.broken(e)
		case got >= target:
			return got, 0
		}
		if k.shut.Load()&1 != 0 {
			return got, 0
		}
		e = k.s.Wait(c, socket.ReadEvents, deadline, func() bool {
			return ep.Readiness(waiter.ReadableEvents) != 0 || k.nleft.Load() > 0 || k.shut.Load()&1 != 0
		})
		if e != 0 {
			return got, e
		}
	}
}

// endOfFile says that the peer has sent all.
const endOfFile = abi.Errno(516)

// step moves what is there, or one scratch buffer of it. EAGAIN: nothing is there. rgate is held.
func (k *sock) step(ep *endpoint, dst *mm.Buf, peek, discard bool) (int, abi.Errno) {
	if len(k.left) > 0 {
		w, e := dst.Write(k.left[:min(len(k.left), dst.Len())])
		if !peek {
			k.keep(k.left[w:])
		}
		if w > 0 || dst.Len() == 0 {
			e = 0
		}
		return w, e
	}
	s := scratches.Get().(*scratch)
	defer scratches.Put(s)
	s.n, s.b = 0, s.b[:min(max(dst.Len(), 1), cap(s.b))]
	r, err := ep.Read(s, tcpip.ReadOptions{Peek: peek || dst.Len() == 0})
	if err != nil {
		if _, end := err.(*tcpip.ErrClosedForReceive); end {
			return 0, endOfFile
		}
		return 0, errno(err)
	}
	if dst.Len() == 0 {
		return 0, endOfFile // there is something: enough to know
	}
	if discard {
		dst.Skip(r.Count)
		return r.Count, 0
	}
	w, e := dst.Write(s.b[:r.Count])
	if w < r.Count && !peek {
		k.keep(s.b[w:r.Count])
	}
	if e == 0 && w < r.Count {
		e = abi.EFAULT
	}
	if !peek {
		ep.ModerateRecvBuf(w)
	}
	return w, e
}

// keep stores what was taken from netstack and could not be copied.
func (k *sock) keep(b []byte) {
	k.left = append([]byte(nil), b...)
	k.nleft.Store(int32(len(b)))
}

// Send is inet_sendmsg.
func (k *sock) Send(c *vfs.Caller, src *mm.Buf, flags uint32, m *socket.Msg) (int, abi.Errno) {
	if m != nil && len(m.Control) > 0 {
		if e := k.checkControl(c, m); e != 0 {
			return 0, e
		}
	}
	if k.stream() {
		return k.sendStream(c, src, flags)
	}
	return k.sendDatagram(c, src, flags, m)
}

// Recv is inet_recvmsg.
func (k *sock) Recv(c *vfs.Caller, dst *mm.Buf, flags uint32, m *socket.Msg) (int, abi.Errno) {
	if flags&abi.MSG_ERRQUEUE != 0 {
		return 0, abi.EAGAIN // nothing is ever queued there
	}
	if k.stream() {
		return k.recvStream(c, dst, flags)
	}
	return k.recvDatagram(c, dst, flags, m)
}
