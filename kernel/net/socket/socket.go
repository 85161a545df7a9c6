package socket

import (
	"math"
	"sync/atomic"

	"goum/arch/abi"
	"goum/kernel/fs/vfs"
	"goum/mm"
	"goum/sched"
	"goum/sched/clock"
)

// Socket is a socket: the File of an open file, and the part of struct sock that all families have.
type Socket struct {
	// Immutable once it is reachable.
	Net      *Net
	Ops      Ops
	Family   int32
	Type     int32
	Protocol int32
	cookie   uint64
	ino      uint64 // 0: not accepted yet
	uid      uint32 // of whoever made the open file

	wq sched.Queue

	// Atomic: options, written by setsockopt(2), read by the protocol.
	SndBuf     atomic.Int32 // bytes, as SO_SNDBUF shows it: twice what was asked for
	RcvBuf     atomic.Int32
	sndTimeo   atomic.Int64 // ns; 0: none
	rcvTimeo   atomic.Int64
	rcvLowat   atomic.Int32
	bits       atomic.Uint32 // the boolean options, by position in boolOptions
	linger     atomic.Int64  // seconds; -1 with on=false is stored as 0, on with n seconds as n+1
	priority   atomic.Int32
	mark       atomic.Uint32
	bound      atomic.Int32 // SO_BINDTODEVICE: index of the device
	passRights atomic.Bool

	err   atomic.Int32             // pending error: Fail
	async atomic.Pointer[vfs.Open] // whose owner wants SIGIO
}

// Ino is the inode number, 0 before it was accepted. UID is whose it is. For /proc/net.
func (s *Socket) Ino() uint64 { return s.ino }

// UID is the user who made it; see Ino.
func (s *Socket) UID() uint32 { return s.uid }

// Wake tells those who wait on s, and those who poll it, of events. The state must have changed before.
func (s *Socket) Wake(mask sched.Mask) {
	s.wq.Wake(mask)
	s.sigio(mask)
}

// WakeOne is Wake for one sleeper only: a connection has come.
func (s *Socket) WakeOne(mask sched.Mask) {
	s.wq.WakeOne(mask)
	s.sigio(mask)
}

// sigio sends SIGIO, unless all that changed is that there is room to send.
func (s *Socket) sigio(mask sched.Mask) {
	if o := s.async.Load(); o != nil && s.Net.SIGIO != nil && mask&^WriteEvents != 0 {
		s.Net.SIGIO(o, uint32(mask))
	}
}

// SetAsync is O_ASYNC: vfs.Asyncer.
func (s *Socket) SetAsync(o *vfs.Open, on bool) {
	if on {
		s.async.Store(o)
	} else {
		s.async.Store(nil)
	}
}

// Fail leaves an error for the next call, and tells of it: sk_err.
func (s *Socket) Fail(e abi.Errno) {
	s.err.Store(int32(e))
	s.Wake(ErrorEvents)
}

// Events that come together.
const (
	ReadEvents  = sched.Mask(abi.EPOLLIN | abi.EPOLLRDNORM)
	WriteEvents = sched.Mask(abi.EPOLLOUT | abi.EPOLLWRNORM | abi.EPOLLWRBAND)
	ErrorEvents = sched.Mask(abi.EPOLLERR) | ReadEvents | WriteEvents
	HangEvents  = sched.Mask(abi.EPOLLHUP|abi.EPOLLRDHUP) | ReadEvents | WriteEvents
)

// TakeError is sock_error: the pending error, which is none afterwards.
func (s *Socket) TakeError() abi.Errno {
	if s.err.Load() != 0 {
		if e := s.err.Swap(0); e != 0 {
			return abi.Errno(e)
		}
	}
	if f, ok := s.Ops.(Failer); ok {
		return f.TakeError()
	}
	return 0
}

// Failed says whether an error is pending by Fail.
func (s *Socket) Failed() bool { return s.err.Load() != 0 }

// NoWait is the deadline of a call that must not wait.
const NoWait clock.Time = math.MinInt64

// RecvDeadline is until when a receiving call may wait: NoWait, clock.Never, or now and SO_RCVTIMEO.
func (s *Socket) RecvDeadline(nonblock bool) clock.Time {
	return s.deadline(nonblock, s.rcvTimeo.Load())
}

// SendDeadline is RecvDeadline for SO_SNDTIMEO.
func (s *Socket) SendDeadline(nonblock bool) clock.Time {
	return s.deadline(nonblock, s.sndTimeo.Load())
}

func (s *Socket) deadline(nonblock bool, timeo int64) clock.Time {
	switch {
	case nonblock:
		return NoWait
	case timeo == 0:
		return clock.Never
	}
	return s.Net.Clock.Monotonic().Add(timeo)
}

// Lowat is how much a receiving call of size bytes waits for: sock_rcvlowat.
func (s *Socket) Lowat(waitAll bool, size int) int {
	if waitAll {
		return size
	}
	return max(min(int(s.rcvLowat.Load()), size), 1)
}

// Wait sleeps until ready holds after a Wake of mask: EAGAIN (the deadline), ERESTARTSYS, or EINTR if there was a deadline
// (sock_intr_errno).
func (s *Socket) Wait(c *vfs.Caller, mask sched.Mask, deadline clock.Time, ready func() bool) abi.Errno {
	if deadline == NoWait || c.Thread == nil {
		return abi.EAGAIN
	}
	return Outcome(s.wq.Wait(c.Thread, mask, deadline, ready), deadline)
}

// Outcome is the errno of a wait that ended as o.
func Outcome(o sched.Outcome, deadline clock.Time) abi.Errno {
	switch o {
	case sched.Woken:
		return 0
	case sched.Expired:
		return abi.EAGAIN
	}
	if deadline == clock.Never {
		return abi.ERESTARTSYS
	}
	return abi.EINTR
}

// Read is read(2): recvmsg without flags.
func (s *Socket) Read(c *vfs.Caller, dst *mm.Buf, at vfs.At) (int, abi.Errno) {
	if dst.Len() == 0 {
		return 0, 0 // as SYS5 did it
	}
	return s.Ops.Recv(c, dst, dontwait(at.NonBlock()), nil)
}

// Write is write(2): sendmsg without flags, but that it ends a record.
func (s *Socket) Write(c *vfs.Caller, src *mm.Buf, at vfs.At) (int, abi.Errno) {
	flags := dontwait(at.NonBlock())
	if s.Type == abi.SOCK_SEQPACKET {
		flags |= abi.MSG_EOR
	}
	return s.Ops.Send(c, src, flags, nil)
}

func dontwait(nonblock bool) uint32 {
	if nonblock {
		return abi.MSG_DONTWAIT
	}
	return 0
}

// Release ends the socket.
func (s *Socket) Release() {
	s.Net.sockets.Add(-1)
	s.Ops.Release()
}

// Drop is Release for a socket that never became an open file.
func (s *Socket) Drop() { s.Release() }

// Poll is what is ready now.
func (s *Socket) Poll(c *vfs.Caller) sched.Mask { return s.Ops.Poll() }

// Queue is who tells of changes.
func (s *Socket) Queue() *sched.Queue { return &s.wq }

// Accept is accept4(2) without the descriptor: the new open file, and the peer's address in addr unless that is nil
// (ECONNABORTED if it is gone meanwhile).
func (s *Socket) Accept(c *vfs.Caller, nonblock bool, flags uint32, addr *Addr) (*vfs.Open, abi.Errno) {
	n, e := s.Ops.Accept(c, nonblock)
	if e != 0 {
		return nil, e
	}
	if addr != nil {
		if e := n.Ops.Name(c, true, addr); e != 0 {
			n.Drop()
			return nil, abi.ECONNABORTED
		}
	}
	return n.open(c, flags), 0
}

// Listen is listen(2); the backlog is cut to MaxBacklog, also one that is negative.
func (s *Socket) Listen(c *vfs.Caller, backlog int32) abi.Errno {
	return s.Ops.Listen(c, int(min(uint32(backlog), MaxBacklog)))
}
