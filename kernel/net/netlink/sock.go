package netlink

import (
	"encoding/binary"
	"math/bits"
	"sync/atomic"

	"goum/arch/abi"
	"goum/arch/lock"
	"goum/kernel/fs/vfs"
	"goum/kernel/net/socket"
	"goum/mm"
	"goum/sched"
)

// sock is one netlink socket.
type sock struct {
	socket.NoOps
	f *Family
	s *socket.Socket

	port atomic.Uint32 // 0: not bound; written under Family.mu

	gate sched.Gate // held by who receives

	mu       lock.Mutex[lock.Socket]
	queue    []message // guarded by mu
	sum      int       // guarded by mu: bytes in it
	groups   uint64    // guarded by mu: bit n-1 is group n
	dstPort  uint32    // guarded by mu: connect
	dstGroup uint32    // guarded by mu: a mask
	options  uint32    // guarded by mu: bit n is option n
}

// message is one that a socket has not read.
type message struct {
	data  []byte
	port  uint32 // of the sender; 0: the kernel
	group uint32
	cred  abi.Ucred
}

// messageCost is what a message is charged besides its bytes.
const messageCost = 256

func (m *message) cost() int { return len(m.data) + messageCost }

func (k *sock) member(group uint32) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return group-1 < maxGroups && k.groups&(1<<(group-1)) != 0
}

func (k *sock) option(name int32) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.options&(1<<name) != 0
}

// deliver queues m. What does not fit is lost, which the reader learns by ENOBUFS.
func (k *sock) deliver(m message) {
	k.mu.Lock()
	full := k.sum > int(k.s.RcvBuf.Load()) || !k.f.net.Charge(m.cost())
	if !full {
		k.queue = append(k.queue, m)
		k.sum += m.cost()
	}
	lost := full && k.options&(1<<abi.NETLINK_NO_ENOBUFS) == 0
	k.mu.Unlock()
	switch {
	case lost:
		k.s.Fail(abi.ENOBUFS)
	case !full:
		k.s.Wake(socket.ReadEvents)
	}
}

// Bind is netlink_bind: EINVAL, EADDRINUSE.
func (k *sock) Bind(c *vfs.Caller, addr []byte) abi.Errno {
	id, groups, e := sockaddr(addr)
	if e != 0 {
		return e
	}
	if have := k.port.Load(); have != 0 && id != have {
		return abi.EINVAL
	}
	if e := k.f.take(c, k, id); e != 0 {
		return e
	}
	k.mu.Lock()
	k.groups = k.groups&^0xffffffff | uint64(groups)
	k.mu.Unlock()
	return 0
}

// maySend says whether c may send to others than the kernel.
func (k *sock) maySend(c *vfs.Caller) bool {
	return k.s.Protocol == abi.NETLINK_USERSOCK || c.Cred.Has(abi.CAP_NET_ADMIN)
}

// Connect is netlink_connect: EINVAL, EPERM.
func (k *sock) Connect(c *vfs.Caller, addr []byte, nonblock bool) abi.Errno {
	if len(addr) < 2 {
		return abi.EINVAL
	}
	if binary.LittleEndian.Uint16(addr) == abi.AF_UNSPEC {
		k.mu.Lock()
		k.dstPort, k.dstGroup = 0, 0
		k.mu.Unlock()
		return 0
	}
	id, groups, e := sockaddr(addr)
	if e != 0 {
		return e
	}
	if (groups != 0 || id != 0) && !k.maySend(c) {
		return abi.EPERM
	}
	if e := k.f.take(c, k, 0); e != 0 {
		return e
	}
	k.mu.Lock()
	k.dstPort, k.dstGroup = id, groups
	k.mu.Unlock()
	return 0
}

// Name is netlink_getname.
func (k *sock) Name(c *vfs.Caller, peer bool, addr *socket.Addr) abi.Errno {
	k.mu.Lock()
	defer k.mu.Unlock()
	a := abi.SockaddrNl{Family: abi.AF_NETLINK, Pid: k.port.Load(), Groups: uint32(k.groups)}
	if peer {
		a.Pid, a.Groups = k.dstPort, lowest(k.dstGroup)
	}
	addr.Set(abi.Bytes(&a))
	return 0
}

// lowest is the first group of a mask, as a mask.
func lowest(mask uint32) uint32 { return mask & -mask }

// Send is netlink_sendmsg: EOPNOTSUPP, ENODATA, EINVAL, EPERM, EMSGSIZE, EFAULT, ECONNREFUSED. What the kernel makes of a request it answers in a
// message.
func (k *sock) Send(c *vfs.Caller, src *mm.Buf, flags uint32, m *socket.Msg) (int, abi.Errno) {
	if flags&abi.MSG_OOB != 0 {
		return 0, abi.EOPNOTSUPP
	}
	n := src.Len()
	if n == 0 {
		return 0, abi.ENODATA
	}
	cred := socket.CallerCred(c)
	if m != nil {
		if e := k.f.net.ParseSCM(c, m, false); e != 0 {
			return 0, e
		}
		cred = m.Cred
	}
	k.mu.Lock()
	id, groups := k.dstPort, k.dstGroup
	k.mu.Unlock()
	if m != nil && len(m.Addr.Bytes()) > 0 {
		var e abi.Errno
		if id, groups, e = sockaddr(m.Addr.Bytes()); e != 0 {
			return 0, e
		}
		if (id != 0 || groups != 0) && !k.maySend(c) {
			return 0, abi.EPERM
		}
	}
	if e := k.f.take(c, k, 0); e != 0 {
		return 0, e
	}
	if n > int(k.s.SndBuf.Load())-32 {
		return 0, abi.EMSGSIZE
	}
	data := make([]byte, n)
	if got, e := src.Read(data); got < n {
		if e == 0 {
			e = abi.EFAULT
		}
		return 0, e
	}
	if groups != 0 {
		k.f.broadcast(k.s.Protocol, uint32(bits.TrailingZeros32(groups))+1, data, k, cred)
	}
	if id != 0 {
		to := k.f.find(k.s.Protocol, id)
		if to == nil {
			return 0, abi.ECONNREFUSED
		}
		to.deliver(message{data: data, port: k.port.Load(), cred: cred})
		return n, 0
	}
	switch k.s.Protocol {
	case abi.NETLINK_ROUTE:
		k.requests(c, data)
	case abi.NETLINK_USERSOCK:
		if groups == 0 {
			return 0, abi.ECONNREFUSED // there is no kernel socket
		}
	}
	return n, 0
}

// Recv is netlink_recvmsg: EOPNOTSUPP, EAGAIN, ENOBUFS, EFAULT.
func (k *sock) Recv(c *vfs.Caller, dst *mm.Buf, flags uint32, m *socket.Msg) (int, abi.Errno) {
	if flags&abi.MSG_OOB != 0 {
		return 0, abi.EOPNOTSUPP
	}
	deadline := k.s.RecvDeadline(flags&abi.MSG_DONTWAIT != 0)
	for {
		if !k.gate.TryLock() {
			k.gate.Lock(c.Thread)
		}
		if e := k.s.TakeError(); e != 0 {
			k.gate.Unlock()
			return 0, e
		}
		k.mu.Lock()
		if len(k.queue) > 0 {
			break
		}
		k.mu.Unlock()
		k.gate.Unlock()
		e := k.s.Wait(c, socket.ReadEvents, deadline, func() bool {
			k.mu.Lock()
			defer k.mu.Unlock()
			return len(k.queue) > 0 || k.s.Failed()
		})
		if e != 0 {
			return 0, e
		}
	}
	msg := k.queue[0]
	if flags&abi.MSG_PEEK == 0 {
		k.queue[0] = message{}
		if k.queue = k.queue[1:]; len(k.queue) == 0 {
			k.queue = nil
		}
		k.sum -= msg.cost()
		k.f.net.Uncharge(msg.cost())
	}
	pktinfo := k.options&(1<<abi.NETLINK_PKTINFO) != 0
	k.mu.Unlock()
	defer k.gate.Unlock()

	n := min(len(msg.data), dst.Len())
	if w, e := dst.Write(msg.data[:n]); w < n {
		if e == 0 {
			e = abi.EFAULT
		}
		return 0, e
	}
	if m != nil {
		if n < len(msg.data) {
			m.Flags |= abi.MSG_TRUNC
		}
		a := abi.SockaddrNl{Family: abi.AF_NETLINK, Pid: msg.port}
		if g := msg.group - 1; g < 32 {
			a.Groups = 1 << g
		}
		m.Addr.Set(abi.Bytes(&a))
		if pktinfo {
			g := msg.group
			m.Put(abi.SOL_NETLINK, abi.NETLINK_PKTINFO, abi.Bytes(&g))
		}
		if k.s.PassCred() {
			m.Put(abi.SOL_SOCKET, abi.SCM_CREDENTIALS, abi.Bytes(&msg.cred))
		}
	}
	if flags&abi.MSG_TRUNC != 0 {
		return len(msg.data), 0
	}
	return n, 0
}

// SetOption is netlink_setsockopt: ENOPROTOOPT, EINVAL, EPERM.
func (k *sock) SetOption(c *vfs.Caller, level, name int32, val []byte) abi.Errno {
	if level != abi.SOL_NETLINK {
		return abi.ENOPROTOOPT
	}
	var v uint32
	if len(val) >= 4 {
		v = binary.LittleEndian.Uint32(val)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	switch name {
	case abi.NETLINK_ADD_MEMBERSHIP, abi.NETLINK_DROP_MEMBERSHIP:
		if v == 0 || v > maxGroups {
			return abi.EINVAL
		}
		if name == abi.NETLINK_ADD_MEMBERSHIP {
			k.groups |= 1 << (v - 1)
		} else {
			k.groups &^= 1 << (v - 1)
		}
		return 0
	case abi.NETLINK_LISTEN_ALL_NSID:
		if !c.Cred.Has(abi.CAP_NET_ADMIN) { // Linux: CAP_NET_BROADCAST
			return abi.EPERM
		}
	case abi.NETLINK_PKTINFO, abi.NETLINK_BROADCAST_ERROR, abi.NETLINK_NO_ENOBUFS, abi.NETLINK_CAP_ACK, abi.NETLINK_EXT_ACK, abi.NETLINK_GET_STRICT_CHK:
	default:
		return abi.ENOPROTOOPT
	}
	if v != 0 {
		k.options |= 1 << name
	} else {
		k.options &^= 1 << name
	}
	return 0
}

// GetOption is netlink_getsockopt: ENOPROTOOPT, EINVAL.
func (k *sock) GetOption(c *vfs.Caller, level, name int32, room int) ([]byte, abi.Errno) {
	if level != abi.SOL_NETLINK {
		return nil, abi.ENOPROTOOPT
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	switch name {
	case abi.NETLINK_LIST_MEMBERSHIPS:
		return binary.LittleEndian.AppendUint64(nil, k.groups), 0
	case abi.NETLINK_PKTINFO, abi.NETLINK_BROADCAST_ERROR, abi.NETLINK_NO_ENOBUFS, abi.NETLINK_CAP_ACK, abi.NETLINK_EXT_ACK, abi.NETLINK_GET_STRICT_CHK,
		abi.NETLINK_LISTEN_ALL_NSID:
		if room < 4 {
			return nil, abi.EINVAL
		}
		return binary.LittleEndian.AppendUint32(nil, k.options>>name&1), 0
	}
	return nil, abi.ENOPROTOOPT
}

// Poll is datagram_poll.
func (k *sock) Poll() sched.Mask {
	m := socket.WriteEvents
	if k.s.Failed() {
		m |= abi.EPOLLERR
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.queue) > 0 {
		m |= socket.ReadEvents
	}
	return m
}

// Release ends the socket.
func (k *sock) Release() {
	k.f.forget(k)
	k.mu.Lock()
	defer k.mu.Unlock()
	k.f.net.Uncharge(k.sum)
	k.queue, k.sum = nil, 0
}
