package socket

import (
	"strconv"
	"sync/atomic"

	"goum/arch/abi"
	"goum/kernel/fs/vfs"
	"goum/sched/clock"
)

// Family makes the sockets of one address family (or, as inet, of several).
type Family interface {
	// Create sets s.Ops. Family, Type and Protocol of s are what socket(2) was given, of which Protocol may be changed.
	// ESOCKTNOSUPPORT, EPROTONOSUPPORT, EPERM, ENOBUFS.
	Create(c *vfs.Caller, s *Socket) abi.Errno
}

// Pairer is a Family that makes connected pairs: socketpair(2). Missing: EOPNOTSUPP.
type Pairer interface {
	Pair(c *vfs.Caller, a, b *Socket) abi.Errno
}

// Net is the network of one machine.
type Net struct {
	// Immutable once the machine runs.
	Clock    *clock.Clock
	Ifaces   *Interfaces
	families [abi.NPROTO]Family

	// PidAlive says whether a process with this number exists: a privileged sender may give any in SCM_CREDENTIALS. nil: all do.
	PidAlive func(pid int32) bool

	// SIGIO tells the owner of an open file with O_ASYNC of events (poll(2)'s). It is called with locks of families held. nil: nobody is told.
	SIGIO func(o *vfs.Open, events uint32)

	proc map[string]func(*vfs.Caller) string // files of /proc/net

	cookies atomic.Uint64
	sockets atomic.Int64
	limit   atomic.Int64 // bytes of buffers: SetMemory
	used    atomic.Int64
}

// New is a network with the device lo, which is down, and no families.
func New(clk *clock.Clock) *Net {
	n := &Net{Clock: clk, Ifaces: newInterfaces(clk)}
	n.limit.Store(defaultMemory)
	return n
}

// Register makes sockets of a family possible. Before the machine runs.
func (n *Net) Register(family int, f Family) { n.families[family] = f }

// Sockets is how many sockets there are, for /proc/net/sockstat and tests.
func (n *Net) Sockets() int { return int(n.sockets.Load()) }

// create is __sock_create: EAFNOSUPPORT, EINVAL (no such type), ENFILE, and what the family says.
func (n *Net) create(c *vfs.Caller, family, typ, protocol int32) (*Socket, abi.Errno) {
	if family < 0 || family >= abi.NPROTO {
		return nil, abi.EAFNOSUPPORT
	}
	if typ < 0 || typ >= abi.SOCK_MAX {
		return nil, abi.EINVAL
	}
	f := n.families[family]
	if f == nil {
		return nil, abi.EAFNOSUPPORT
	}
	if n.sockets.Load() >= maxSocketsOpen {
		return nil, abi.ENFILE
	}
	s := n.newSocket(family, typ, protocol)
	if e := f.Create(c, s); e != 0 {
		n.sockets.Add(-1)
		return nil, e
	}
	return s, 0
}

func (n *Net) newSocket(family, typ, protocol int32) *Socket {
	n.sockets.Add(1)
	s := &Socket{Net: n, Family: family, Type: typ, Protocol: protocol, cookie: n.cookies.Add(1)}
	s.SndBuf.Store(defaultBuffer)
	s.RcvBuf.Store(defaultBuffer)
	s.rcvLowat.Store(1)
	s.passRights.Store(true)
	return s
}

// NewAccepted is the socket of a connection that came to a listener: it inherits the options. The family sets Ops, and calls
// Drop if nobody accepts it.
func (n *Net) NewAccepted(listener *Socket) *Socket {
	s := n.newSocket(listener.Family, listener.Type, listener.Protocol)
	s.SndBuf.Store(listener.SndBuf.Load())
	s.RcvBuf.Store(listener.RcvBuf.Load())
	s.rcvLowat.Store(listener.rcvLowat.Load())
	s.sndTimeo.Store(listener.sndTimeo.Load())
	s.rcvTimeo.Store(listener.rcvTimeo.Load())
	s.bits.Store(listener.bits.Load())
	s.linger.Store(listener.linger.Load())
	s.priority.Store(listener.priority.Load())
	s.mark.Store(listener.mark.Load())
	s.passRights.Store(listener.passRights.Load())
	return s
}

// Flags of socket(2) and accept4(2), and whether typ has others.
const typeFlags = abi.SOCK_CLOEXEC | abi.SOCK_NONBLOCK

// CheckType splits the type argument of socket(2) from its flags: EINVAL.
func CheckType(typ int32) (base int32, flags uint32, e abi.Errno) {
	flags = uint32(typ) &^ abi.SOCK_TYPE_MASK
	if flags&^uint32(typeFlags) != 0 {
		return 0, 0, abi.EINVAL
	}
	return typ & abi.SOCK_TYPE_MASK, flags, 0
}

// Socket is socket(2); flags are SOCK_NONBLOCK and SOCK_CLOEXEC, of which the latter is the caller's.
func (n *Net) Socket(c *vfs.Caller, family, typ int32, flags uint32, protocol int32) (*vfs.Open, abi.Errno) {
	s, e := n.create(c, family, typ, protocol)
	if e != 0 {
		return nil, e
	}
	return s.open(c, flags), 0
}

// Pair is socketpair(2): EOPNOTSUPP, and as Socket.
func (n *Net) Pair(c *vfs.Caller, family, typ int32, flags uint32, protocol int32) (a, b *vfs.Open, e abi.Errno) {
	s, e := n.create(c, family, typ, protocol)
	if e != 0 {
		return nil, nil, e
	}
	p, ok := n.families[family].(Pairer)
	if !ok {
		s.Drop()
		return nil, nil, abi.EOPNOTSUPP
	}
	t, e := n.create(c, family, typ, protocol)
	if e == 0 {
		if e = p.Pair(c, s, t); e != 0 {
			t.Drop()
		}
	}
	if e != 0 {
		s.Drop()
		return nil, nil, e
	}
	return s.open(c, flags), t.open(c, flags), 0
}

// open makes the open file of s.
func (s *Socket) open(c *vfs.Caller, flags uint32) *vfs.Open {
	s.ino = vfs.NextIno()
	var name [32]byte
	b := append(name[:0], "socket:["...)
	b = append(strconv.AppendUint(b, s.ino, 10), ']')
	o := vfs.NewAnon(string(b), abi.S_IFSOCK|0o777, s, abi.O_RDWR|flags&abi.O_NONBLOCK)
	s.uid = c.Cred.FSUID
	vfs.SetAnonOwner(o, c.Cred.FSUID, c.Cred.FSGID, s.Net.realtime())
	return o
}

func (n *Net) realtime() int64 {
	if n.Clock == nil {
		return 0
	}
	return n.Clock.Realtime()
}

// Of is the socket that an open file is: ENOTSOCK.
func Of(o *vfs.Open) (*Socket, abi.Errno) {
	s, ok := o.File.(*Socket)
	if !ok {
		return nil, abi.ENOTSOCK
	}
	return s, 0
}
