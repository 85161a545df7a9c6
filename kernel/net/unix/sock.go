package unix

import (
	"encoding/binary"
	"sync/atomic"

	"goum/arch/abi"
	"goum/arch/lock"
	"goum/kernel/fs/vfs"
	"goum/kernel/net/socket"
	"goum/mm"
	"goum/sched"
)

// The halves of a connection that are shut down: sk_shutdown.
const (
	shutRecv = 1
	shutSend = 2
	shutBoth = shutRecv | shutSend
)

// sock is one unix socket.
type sock struct {
	// Immutable once it is reachable.
	f        *Family
	s        *socket.Socket
	accepted bool // made by a connect: its address is its listener's

	// Atomic. state, peer and shut are written under mu.
	state   atomic.Uint32 // abi.TCP_CLOSE, TCP_LISTEN, TCP_ESTABLISHED
	shut    atomic.Uint32
	peer    atomic.Pointer[sock]
	addr    atomic.Pointer[address] // written under Family.mu, once
	wmem    atomic.Int64            // bytes in packets that were sent and not received
	peekOff atomic.Int32            // SO_PEEK_OFF; -1: off

	waiting sched.Queue // who waits for room in the queue of this socket: connect, and senders of packets

	in   ring    // a stream's
	pkts packets // any other's

	mu      lock.Mutex[lock.Socket]
	dead    bool      // guarded by mu: released
	cred    *peerCred // guarded by mu: of the peer; of a listener, its own
	backlog int       // guarded by mu
	queue   []*sock   // guarded by mu: connected and not accepted
}

func (k *sock) stream() bool    { return k.s.Type == abi.SOCK_STREAM }
func (k *sock) connected() bool { return k.s.Type != abi.SOCK_DGRAM }

// Name is unix_getname: ENOTCONN.
func (k *sock) Name(c *vfs.Caller, peer bool, addr *socket.Addr) abi.Errno {
	if peer {
		if k = k.peer.Load(); k == nil {
			return abi.ENOTCONN
		}
	}
	if a := k.addr.Load(); a != nil {
		addr.Set(a.b)
	} else {
		binary.LittleEndian.PutUint16(addr.Room(2), abi.AF_UNIX)
	}
	return 0
}

// Listen is unix_listen: EOPNOTSUPP, EINVAL (no address, connected).
func (k *sock) Listen(c *vfs.Caller, backlog int) abi.Errno {
	if !k.connected() {
		return abi.EOPNOTSUPP
	}
	if k.addr.Load() == nil {
		return abi.EINVAL
	}
	who := credOf(c)
	k.mu.Lock()
	if st := k.state.Load(); st != abi.TCP_CLOSE && st != abi.TCP_LISTEN {
		k.mu.Unlock()
		return abi.EINVAL
	}
	more := backlog > k.backlog
	k.backlog = backlog
	k.state.Store(abi.TCP_LISTEN)
	k.cred = who
	k.mu.Unlock()
	if more {
		k.waiting.Wake(sched.Any)
	}
	return 0
}

// Listening says whether it does.
func (k *sock) Listening() bool { return k.state.Load() == abi.TCP_LISTEN }

// Connect is unix_stream_connect and unix_dgram_connect.
func (k *sock) Connect(c *vfs.Caller, addr []byte, nonblock bool) abi.Errno {
	if !k.connected() {
		return k.connectDgram(c, addr)
	}
	p, e := checkAddr(addr)
	if e != 0 {
		return e
	}
	if k.s.PassCred() {
		if e := k.autobind(); e != 0 {
			return e
		}
	}
	deadline := k.s.SendDeadline(nonblock)
	var t *sock // the other end
	for {
		other, e := k.f.find(c, p, k.s.Type)
		if e == 0 && t == nil {
			ns := k.f.net.NewAccepted(other.s)
			t = k.f.newSock(ns)
			t.accepted = true
		}
		full := false
		if e == 0 {
			full, e = k.connectTo(c, other, t)
		}
		switch {
		case e == 0 && !full:
			other.s.WakeOne(socket.ReadEvents)
			k.s.Wake(socket.WriteEvents)
			return 0
		case e == 0 && deadline == socket.NoWait:
			e = abi.EAGAIN
		case e == 0:
			o := other.waiting.Wait(c.Thread, sched.Any, deadline, func() bool {
				other.mu.Lock()
				defer other.mu.Unlock()
				return other.dead || other.state.Load() != abi.TCP_LISTEN || len(other.queue) <= other.backlog
			})
			if e = socket.Outcome(o, deadline); e == 0 {
				continue
			}
		}
		if t != nil {
			t.s.Drop()
		}
		return e
	}
}

// connectTo makes t the other end of k, and queues it at the listener other, unless that is full.
func (k *sock) connectTo(c *vfs.Caller, other, t *sock) (full bool, e abi.Errno) {
	who := credOf(c)
	lock.Two(&k.mu, &other.mu)
	defer lock.UnlockTwo(&k.mu, &other.mu)
	if other.dead || other.state.Load() != abi.TCP_LISTEN || other.shut.Load()&shutRecv != 0 {
		return false, abi.ECONNREFUSED
	}
	if len(other.queue) > other.backlog {
		return true, 0
	}
	switch k.state.Load() {
	case abi.TCP_CLOSE:
	case abi.TCP_ESTABLISHED:
		return false, abi.EISCONN
	default:
		return false, abi.EINVAL
	}
	t.cred = who
	t.addr.Store(other.addr.Load())
	t.peer.Store(k)
	t.state.Store(abi.TCP_ESTABLISHED)
	k.cred = other.cred
	k.peer.Store(t)
	k.state.Store(abi.TCP_ESTABLISHED)
	other.queue = append(other.queue, t)
	return false, 0
}

// Accept is unix_accept: EOPNOTSUPP, EINVAL (not listening, or shut down), EAGAIN.
func (k *sock) Accept(c *vfs.Caller, nonblock bool) (*socket.Socket, abi.Errno) {
	if !k.connected() {
		return nil, abi.EOPNOTSUPP
	}
	if !k.Listening() {
		return nil, abi.EINVAL
	}
	deadline := k.s.RecvDeadline(nonblock)
	for {
		if e := k.s.TakeError(); e != 0 {
			return nil, e
		}
		k.mu.Lock()
		if len(k.queue) > 0 {
			t := k.queue[0]
			k.queue[0] = nil
			k.queue = k.queue[1:]
			if len(k.queue) == 0 {
				k.queue = nil
			}
			k.mu.Unlock()
			k.waiting.WakeOne(sched.Any)
			return t.s, 0
		}
		k.mu.Unlock()
		if k.shut.Load()&shutRecv != 0 {
			return nil, abi.EINVAL
		}
		e := k.s.Wait(c, socket.ReadEvents, deadline, func() bool {
			k.mu.Lock()
			defer k.mu.Unlock()
			return len(k.queue) > 0 || k.shut.Load()&shutRecv != 0 || k.s.Failed()
		})
		if e != 0 {
			return nil, e
		}
	}
}

// Shutdown is unix_shutdown: EINVAL.
func (k *sock) Shutdown(c *vfs.Caller, how int32) abi.Errno {
	if how < abi.SHUT_RD || how > abi.SHUT_RDWR {
		return abi.EINVAL
	}
	mode := uint32(how + 1)
	k.close(mode)
	k.waiting.Wake(sched.Any)
	if other := k.peer.Load(); other != nil && k.connected() {
		var theirs uint32
		if mode&shutRecv != 0 {
			theirs |= shutSend
		}
		if mode&shutSend != 0 {
			theirs |= shutRecv
		}
		other.close(theirs)
	}
	return 0
}

// close shuts halves of k down, and tells.
func (k *sock) close(mode uint32) {
	k.shut.Or(mode)
	k.s.Wake(socket.HangEvents)
}

// PeerCred is SO_PEERCRED.
func (k *sock) PeerCred() (abi.Ucred, []uint32, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.cred == nil {
		return abi.Ucred{}, nil, false
	}
	return k.cred.u, k.cred.groups, true
}

// SetPeekOff is SO_PEEK_OFF.
func (k *sock) SetPeekOff(v int32) abi.Errno {
	k.peekOff.Store(v)
	return 0
}

// PeekOff is SO_PEEK_OFF.
func (k *sock) PeekOff() int32 { return k.peekOff.Load() }

// peekStart is where a peek begins, counted from the first byte.
func (k *sock) peekStart(flags uint32) int {
	if flags&abi.MSG_PEEK != 0 {
		return int(max(k.peekOff.Load(), 0))
	}
	return 0
}

// peeked moves SO_PEEK_OFF by n, forward after a peek and back after a read.
func (k *sock) peeked(n int) {
	for {
		v := k.peekOff.Load()
		if v < 0 {
			return
		}
		if k.peekOff.CompareAndSwap(v, max(v+int32(n), 0)) {
			return
		}
	}
}

// Ioctl is unix_ioctl.
func (k *sock) Ioctl(c *vfs.Caller, cmd uint32, arg uint64) (uint64, abi.Errno) {
	switch cmd {
	case abi.SIOCOUTQ:
		n := int(k.wmem.Load())
		if p := k.peer.Load(); k.stream() && p != nil {
			n = p.in.len()
		}
		return socket.PutInt(c, arg, n)
	case abi.SIOCINQ:
		if k.Listening() {
			return 0, abi.EINVAL
		}
		if k.stream() {
			return socket.PutInt(c, arg, k.in.len())
		}
		return socket.PutInt(c, arg, k.pkts.bytes(k.connected()))
	case abi.SIOCATMARK:
		if !k.stream() {
			return 0, abi.EOPNOTSUPP
		}
		return socket.PutInt(c, arg, 0)
	}
	return 0, socket.ENOIOCTLCMD
}

// SetOption refuses: there are no other levels.
func (k *sock) SetOption(*vfs.Caller, int32, int32, []byte) abi.Errno { return abi.EOPNOTSUPP }

// GetOption refuses.
func (k *sock) GetOption(*vfs.Caller, int32, int32, int) ([]byte, abi.Errno) {
	return nil, abi.EOPNOTSUPP
}

// Poll is unix_poll and unix_dgram_poll.
func (k *sock) Poll() sched.Mask {
	var m sched.Mask
	shut, state := k.shut.Load(), k.state.Load() // before the buffers: see the package's invariants
	if k.s.Failed() {
		m |= abi.EPOLLERR
	}
	if shut == shutBoth {
		m |= abi.EPOLLHUP
	}
	if shut&shutRecv != 0 {
		m |= abi.EPOLLRDHUP | socket.ReadEvents
	}
	if k.readable(state) {
		m |= socket.ReadEvents
	}
	if k.connected() && state == abi.TCP_CLOSE {
		m |= abi.EPOLLHUP
	}
	if state != abi.TCP_LISTEN && k.writable() {
		m |= socket.WriteEvents
	}
	return m
}

func (k *sock) readable(state uint32) bool {
	switch {
	case state == abi.TCP_LISTEN:
		k.mu.Lock()
		defer k.mu.Unlock()
		return len(k.queue) > 0
	case k.stream():
		return k.in.len() > 0
	}
	return !k.pkts.empty()
}

func (k *sock) writable() bool {
	limit := int64(k.s.SndBuf.Load())
	p := k.peer.Load()
	if k.stream() {
		return p == nil || int64(p.in.charged())*4 <= limit
	}
	if k.wmem.Load()*4 > limit {
		return false
	}
	return k.connected() || p == nil || p.peer.Load() == k || !p.pkts.relayTo(k)
}

// Send sends by type.
func (k *sock) Send(c *vfs.Caller, src *mm.Buf, flags uint32, m *socket.Msg) (int, abi.Errno) {
	switch k.s.Type {
	case abi.SOCK_STREAM:
		return k.sendStream(c, src, flags, m)
	case abi.SOCK_SEQPACKET:
		if e := k.s.TakeError(); e != 0 {
			return 0, e
		}
		if k.state.Load() != abi.TCP_ESTABLISHED {
			return 0, abi.ENOTCONN
		}
		if m != nil {
			m.Addr.Set(nil)
		}
	}
	return k.sendPacket(c, src, flags, m)
}

// Recv receives by type.
func (k *sock) Recv(c *vfs.Caller, dst *mm.Buf, flags uint32, m *socket.Msg) (int, abi.Errno) {
	switch k.s.Type {
	case abi.SOCK_STREAM:
		return k.recvStream(c, dst, flags, m)
	case abi.SOCK_SEQPACKET:
		if k.state.Load() != abi.TCP_ESTABLISHED {
			return 0, abi.ENOTCONN
		}
	}
	return k.recvPacket(c, dst, flags, m)
}

// Release is unix_release_sock.
func (k *sock) Release() {
	l := k.f.forget(k)
	k.mu.Lock()
	k.dead = true
	k.shut.Store(shutBoth)
	queue := k.queue
	k.queue = nil
	k.state.Store(abi.TCP_CLOSE)
	k.mu.Unlock()
	k.waiting.Wake(sched.Any)

	unread, ps := k.in.shut()
	more, qs := k.pkts.clear(true)
	if other := k.peer.Load(); other != nil && k.connected() {
		if unread || more || k.accepted && k.s.Ino() == 0 {
			other.s.Fail(abi.ECONNRESET)
		}
		other.close(shutBoth)
	} else if other != nil {
		other.pkts.forget(k)
	}
	for _, t := range queue {
		t.s.Drop()
	}
	l.Unref()
	k.f.drop(k.f.landAll(append(ps, qs...)))
	k.f.collect()
}
