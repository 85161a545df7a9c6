package inet

import (
	"encoding/binary"
	"net/netip"
	"sync/atomic"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv6"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/waiter"

	"goum/arch/abi"
	"goum/kernel/fs/vfs"
	"goum/kernel/net/socket"
	"goum/sched"
)

// sock is one IPv4 or IPv6 socket.
type sock struct {
	// Immutable.
	f         *Family
	s         *socket.Socket
	transport tcpip.TransportProtocolNumber
	raw       bool

	ep atomic.Pointer[endpoint]

	// Atomic.
	shut     atomic.Uint32 // halves shut down by Shutdown: 1 receiving, 2 sending
	told     atomic.Bool   // the endpoint's last error was reported
	was      atomic.Bool   // a stream: it was connected
	pmtudisc atomic.Int32
	recverr  atomic.Bool

	rgate sched.Gate // held by who receives
	wgate sched.Gate // held by who sends on a stream

	// rgate guards it, but for its emptiness, which Poll reads.
	left  []byte // received, and not copied to the guest, whose memory was bad
	nleft atomic.Int32
}

// endpoint is netstack's side of a socket, and how it tells of changes.
type endpoint struct {
	tcpip.Endpoint
	wq    *waiter.Queue
	entry waiter.Entry
	k     *sock
}

func (k *sock) v6() bool     { return k.s.Family == abi.AF_INET6 }
func (k *sock) stream() bool { return k.transport == tcp.ProtocolNumber }

func (k *sock) newEndpoint() (*endpoint, abi.Errno) {
	network := ipv4.ProtocolNumber
	if k.v6() {
		network = ipv6.ProtocolNumber
	}
	e := &endpoint{wq: new(waiter.Queue)}
	var err tcpip.Error
	if k.raw {
		e.Endpoint, err = k.f.stack.NewRawEndpoint(k.transport, network, e.wq, true)
	} else {
		e.Endpoint, err = k.f.stack.NewEndpoint(k.transport, network, e.wq)
	}
	if err == nil && k.stream() {
		e.SocketOptions().SetDelayOption(true) // TCP_NODELAY is off
	}
	return e, errno(err)
}

// attach makes e the endpoint of k.
func (k *sock) attach(e *endpoint) {
	e.k = k
	e.entry.Init(e, waiter.AllEvents)
	e.wq.EventRegister(&e.entry)
	k.ep.Store(e)
}

// NotifyEvent is called by netstack, with locks of its own held.
func (e *endpoint) NotifyEvent(mask waiter.EventMask) {
	m := sched.Mask(mask)
	if mask&(waiter.EventErr|waiter.EventHUp) != 0 {
		m |= socket.HangEvents | socket.ErrorEvents
	}
	if mask&waiter.EventOut != 0 {
		m |= socket.WriteEvents
	}
	if mask&waiter.EventIn != 0 {
		m |= socket.ReadEvents | abi.EPOLLRDHUP
	}
	e.k.s.Wake(m)
}

// drop ends e.
func (e *endpoint) drop() {
	e.wq.EventUnregister(&e.entry)
	e.Close()
}

// sizes gives a new socket its share of memory.
func (k *sock) sizes() {
	n := int64(k.f.share())
	o := k.ep.Load().SocketOptions()
	o.SetReceiveBufferSize(n, false)
	o.SetSendBufferSize(n, false)
	if !k.stream() {
		return
	}
	k.s.RcvBuf.Store(131072)
	k.s.SndBuf.Store(16384)
}

// tcpState is how far a stream is.
func (e *endpoint) tcpState() tcp.EndpointState { return tcp.EndpointState(e.State()) }

func connecting(s tcp.EndpointState) bool {
	return s == tcp.StateConnecting || s == tcp.StateSynSent || s == tcp.StateSynRecv
}

func connected(s tcp.EndpointState) bool {
	switch s {
	case tcp.StateEstablished, tcp.StateFinWait1, tcp.StateFinWait2, tcp.StateTimeWait, tcp.StateCloseWait, tcp.StateLastAck, tcp.StateClosing:
		return true
	}
	return false
}

// parse reads a struct sockaddr_in or sockaddr_in6: EINVAL, EAFNOSUPPORT. An unspecified address is the zero Addr. IPv6 sockets take IPv4
// addresses as mapped ones, unless IPV6_V6ONLY is set.
func (k *sock) parse(b []byte) (a netip.Addr, port uint16, e abi.Errno) {
	if len(b) < 2 {
		return a, 0, abi.EINVAL
	}
	fam := binary.LittleEndian.Uint16(b)
	if !k.v6() {
		if len(b) < 16 {
			return a, 0, abi.EINVAL
		}
		if fam != abi.AF_INET {
			return a, 0, abi.EAFNOSUPPORT
		}
		return netip.AddrFrom4([4]byte(b[4:8])), binary.BigEndian.Uint16(b[2:]), 0
	}
	if fam != abi.AF_INET6 {
		if len(b) < 24 && fam != abi.AF_INET {
			return a, 0, abi.EINVAL
		}
		return a, 0, abi.EAFNOSUPPORT
	}
	if len(b) < 24 {
		return a, 0, abi.EINVAL
	}
	return netip.AddrFrom16([16]byte(b[8:24])), binary.BigEndian.Uint16(b[2:]), 0
}

// full is an address as netstack takes it.
func full(a netip.Addr, port uint16) tcpip.FullAddress {
	if a.IsUnspecified() {
		return tcpip.FullAddress{Port: port}
	}
	return tcpip.FullAddress{Addr: address(a), Port: port}
}

// put writes an address of netstack's for the guest.
func (k *sock) put(to *socket.Addr, a tcpip.FullAddress) {
	if !k.v6() {
		s := abi.SockaddrIn{Family: abi.AF_INET}
		binary.BigEndian.PutUint16(s.Port[:], a.Port)
		if a.Addr.Len() == 4 {
			s.Addr = a.Addr.As4()
		}
		to.Set(abi.Bytes(&s))
		return
	}
	s := abi.SockaddrIn6{Family: abi.AF_INET6}
	binary.BigEndian.PutUint16(s.Port[:], a.Port)
	switch a.Addr.Len() {
	case 16:
		s.Addr = a.Addr.As16()
	case 4:
		s.Addr = netip.AddrFrom4(a.Addr.As4()).As16()
	}
	to.Set(abi.Bytes(&s))
}

// Bind is inet_bind and inet6_bind: EINVAL, EAFNOSUPPORT, EADDRNOTAVAIL, EACCES, EADDRINUSE.
func (k *sock) Bind(c *vfs.Caller, b []byte) abi.Errno {
	if !k.v6() && len(b) >= 16 && binary.LittleEndian.Uint16(b) == abi.AF_UNSPEC && binary.LittleEndian.Uint32(b[4:]) == 0 {
		b = append([]byte(nil), b...)
		b[0] = abi.AF_INET // as Linux, for old programs
	}
	if k.v6() && len(b) >= 2 && len(b) < 24 {
		return abi.EINVAL
	}
	a, port, e := k.parse(b)
	if e != 0 {
		return e
	}
	if a.Is4In6() && k.ep.Load().SocketOptions().GetV6Only() {
		return abi.EINVAL
	}
	if u := a.Unmap(); !u.IsUnspecified() && !k.f.reaches(u) && !u.IsMulticast() {
		return abi.EADDRNOTAVAIL
	}
	if k.stream() || !k.raw {
		if port != 0 && port < privileged && k.s.Protocol != abi.IPPROTO_ICMP && k.s.Protocol != abi.IPPROTO_ICMPV6 && !c.Cred.Has(abi.CAP_NET_BIND_SERVICE) {
			return abi.EACCES
		}
	}
	fa := full(a, port)
	if a.Is4In6() && a.Unmap().IsUnspecified() {
		fa = tcpip.FullAddress{Addr: tcpip.AddrFrom16(a.As16()), Port: port}
	}
	e = errno(k.ep.Load().Bind(fa))
	if e == abi.EAGAIN {
		e = abi.EADDRINUSE // no port is free
	}
	return e
}

// Connect is inet_stream_connect and inet_dgram_connect: EINVAL, EAFNOSUPPORT, ENETUNREACH, EISCONN, EALREADY, EINPROGRESS, ECONNREFUSED, ETIMEDOUT.
func (k *sock) Connect(c *vfs.Caller, b []byte, nonblock bool) abi.Errno {
	if len(b) < 2 {
		return abi.EINVAL
	}
	ep := k.ep.Load()
	if binary.LittleEndian.Uint16(b) == abi.AF_UNSPEC {
		if k.stream() {
			return k.renew(false)
		}
		ep.Disconnect()
		return 0
	}
	if !k.stream() {
		if e := k.autobind(ep); e != 0 {
			return e
		}
	}
	if k.stream() {
		switch st := ep.tcpState(); {
		case st == tcp.StateError || st == tcp.StateClose:
			if k.was.Load() {
				return abi.EISCONN
			}
			return k.failed(ep)
		case st == tcp.StateListen:
			return abi.EISCONN
		}
	}
	a, port, e := k.parse(b)
	if e == abi.EAFNOSUPPORT && k.v6() && binary.LittleEndian.Uint16(b) == abi.AF_INET && len(b) >= 16 && !k.stream() {
		a, port, e = netip.AddrFrom16(netip.AddrFrom4([4]byte(b[4:8])).As16()), binary.BigEndian.Uint16(b[2:]), 0
	}
	if e != 0 {
		return e
	}
	a = loop(a)
	if a.Is4In6() && ep.SocketOptions().GetV6Only() {
		return abi.ENETUNREACH
	}
	if !k.f.reaches(a) && !(k.stream() && (connected(ep.tcpState()) || connecting(ep.tcpState()))) {
		if a == netip.IPv6Loopback() {
			return abi.EADDRNOTAVAIL // lo is down: there is nothing to send from
		}
		return abi.ENETUNREACH
	}
	err := ep.Connect(full(a, port))
	if !k.stream() {
		return errno(err)
	}
	switch err.(type) {
	case nil:
		k.was.Store(true)
		return 0
	case *tcpip.ErrConnectStarted, *tcpip.ErrAlreadyConnecting:
		if nonblock {
			return errno(err)
		}
	case *tcpip.ErrNoPortAvailable:
		return abi.EADDRNOTAVAIL
	default:
		return errno(err)
	}
	deadline := k.s.SendDeadline(false)
	e = k.s.Wait(c, sched.Any, deadline, func() bool { return !connecting(ep.tcpState()) })
	switch {
	case e == abi.EAGAIN: // SO_SNDTIMEO
		return abi.EINPROGRESS
	case e != 0:
		return e
	case connected(ep.tcpState()):
		ep.Connect(full(a, port)) // told: the next connect is EISCONN
		k.was.Store(true)
		return 0
	}
	return k.failed(ep)
}

// failed ends a connect that has failed: the socket is as it was before.
func (k *sock) failed(ep *endpoint) abi.Errno {
	e := abi.Errno(0)
	if !k.told.Swap(true) {
		e = errno(ep.LastError())
	}
	if e == 0 {
		e = abi.ECONNABORTED
	}
	if r := k.renew(true); r != 0 {
		return r
	}
	return e
}

// autobind gives a datagram socket a port, if it has none: EAGAIN.
func (k *sock) autobind(ep *endpoint) abi.Errno {
	if k.raw {
		return 0
	}
	if a, err := ep.GetLocalAddress(); err != nil || a.Port != 0 {
		return 0
	}
	return errno(ep.Bind(tcpip.FullAddress{}))
}

// loop is where a connection to "any" goes.
func loop(a netip.Addr) netip.Addr {
	switch {
	case !a.IsUnspecified() && !(a.Is4In6() && a.Unmap().IsUnspecified()):
		return a
	case a.Is4():
		return netip.AddrFrom4([4]byte{127, 0, 0, 1})
	case a.Is4In6():
		return netip.AddrFrom16(netip.AddrFrom4([4]byte{127, 0, 0, 1}).As16())
	}
	return netip.IPv6Loopback()
}

// renew gives a stream whose connection has failed, or is to be given up, a new endpoint with the same options. keep: it stays bound.
func (k *sock) renew(keep bool) abi.Errno {
	old := k.ep.Load()
	ep, e := k.newEndpoint()
	if e != 0 {
		return e
	}
	k.copyOptions(ep, old)
	local, err := old.GetLocalAddress()
	k.attach(ep)
	old.SocketOptions().SetLinger(tcpip.LingerOption{Enabled: true})
	old.drop()
	k.shut.Store(0)
	k.told.Store(false)
	k.was.Store(false)
	if keep && err == nil && local.Port != 0 {
		ep.Bind(local) // as well as it goes: the port may be another's by now
	}
	return 0
}

// Listen is inet_listen: EOPNOTSUPP, EINVAL, EADDRINUSE.
func (k *sock) Listen(c *vfs.Caller, backlog int) abi.Errno {
	if !k.stream() {
		return abi.EOPNOTSUPP
	}
	ep := k.ep.Load()
	if ep.tcpState() == tcp.StateInitial {
		if err := ep.Bind(tcpip.FullAddress{}); err != nil {
			return errno(err)
		}
	}
	return errno(ep.Listen(backlog))
}

// Listening says whether it does.
func (k *sock) Listening() bool { return k.stream() && k.ep.Load().tcpState() == tcp.StateListen }

// Accept is inet_accept: EOPNOTSUPP, EINVAL (not listening), EAGAIN, ENOBUFS.
func (k *sock) Accept(c *vfs.Caller, nonblock bool) (*socket.Socket, abi.Errno) {
	if !k.stream() {
		return nil, abi.EOPNOTSUPP
	}
	deadline := k.s.RecvDeadline(nonblock)
	for {
		ep := k.ep.Load()
		nep, wq, err := ep.Accept(nil)
		if err == nil {
			s := k.f.net.NewAccepted(k.s)
			n := &sock{f: k.f, s: s, transport: k.transport}
			s.Ops = n
			n.was.Store(true)
			nep.SocketOptions().SetDelayOption(ep.SocketOptions().GetDelayOption())
			n.attach(&endpoint{Endpoint: nep, wq: wq})
			if !k.f.enter(n) {
				s.Drop()
				return nil, abi.ENOBUFS
			}
			return s, 0
		}
		if e := errno(err); e != abi.EAGAIN {
			return nil, e
		}
		e := k.s.Wait(c, socket.ReadEvents, deadline, func() bool {
			return ep.tcpState() != tcp.StateListen || ep.Readiness(waiter.ReadableEvents) != 0
		})
		if e != 0 {
			return nil, e
		}
	}
}

// Name is inet_getname: ENOTCONN.
func (k *sock) Name(c *vfs.Caller, peer bool, addr *socket.Addr) abi.Errno {
	ep := k.ep.Load()
	if !peer {
		a, err := ep.GetLocalAddress()
		if err != nil {
			a = tcpip.FullAddress{}
		}
		k.put(addr, a)
		return 0
	}
	if k.stream() && !connected(ep.tcpState()) {
		return abi.ENOTCONN
	}
	a, err := ep.GetRemoteAddress()
	if err != nil {
		return abi.ENOTCONN
	}
	k.put(addr, a)
	return 0
}

// Shutdown is inet_shutdown: EINVAL, ENOTCONN.
func (k *sock) Shutdown(c *vfs.Caller, how int32) abi.Errno {
	if how < abi.SHUT_RD || how > abi.SHUT_RDWR {
		return abi.EINVAL
	}
	ep := k.ep.Load()
	mode := uint32(how + 1)
	var e abi.Errno
	if k.stream() {
		switch st := ep.tcpState(); {
		case st == tcp.StateInitial || st == tcp.StateBound || st == tcp.StateError || st == tcp.StateClose:
			k.shut.Or(mode)
			k.s.Wake(socket.HangEvents)
			return abi.ENOTCONN
		case st == tcp.StateListen && mode&1 == 0:
			return 0
		case st == tcp.StateListen:
			return k.renewListener()
		}
	}
	var fl tcpip.ShutdownFlags
	if mode&1 != 0 {
		fl |= tcpip.ShutdownRead
	}
	if mode&2 != 0 {
		fl |= tcpip.ShutdownWrite
	}
	e = errno(ep.Shutdown(fl))
	k.shut.Or(mode)
	k.s.Wake(socket.HangEvents)
	return e
}

// renewListener ends listening, as shutdown(2) of a listener does: it stays bound, and may listen again.
func (k *sock) renewListener() abi.Errno {
	e := k.renew(true)
	k.s.Wake(socket.HangEvents)
	return e
}

// TakeError is the pending error of the endpoint.
func (k *sock) TakeError() abi.Errno {
	ep := k.ep.Load()
	if k.stream() && ep.tcpState() == tcp.StateError && k.told.Swap(true) {
		return 0
	}
	return errno(ep.LastError())
}

// Ioctl is tcp_ioctl, udp_ioctl and inet_ioctl.
func (k *sock) Ioctl(c *vfs.Caller, cmd uint32, arg uint64) (uint64, abi.Errno) {
	ep := k.ep.Load()
	switch cmd {
	case abi.SIOCINQ:
		if k.Listening() {
			return 0, abi.EINVAL
		}
		n, err := ep.GetSockOptInt(tcpip.ReceiveQueueSizeOption)
		if err != nil {
			return 0, errno(err)
		}
		return socket.PutInt(c, arg, n+int(k.nleft.Load()))
	case abi.SIOCOUTQ:
		if k.Listening() {
			return 0, abi.EINVAL
		}
		n, err := ep.GetSockOptInt(tcpip.SendQueueSizeOption)
		if err != nil {
			n = 0
		}
		return socket.PutInt(c, arg, n)
	case abi.SIOCATMARK:
		if !k.stream() {
			return 0, socket.ENOIOCTLCMD
		}
		return socket.PutInt(c, arg, 0)
	case abi.SIOCADDRT, abi.SIOCDELRT:
		if !c.Cred.Has(abi.CAP_NET_ADMIN) {
			return 0, abi.EPERM
		}
		return 0, abi.EOPNOTSUPP
	}
	return 0, socket.ENOIOCTLCMD
}

// Poll is tcp_poll and datagram_poll.
func (k *sock) Poll() sched.Mask {
	ep := k.ep.Load()
	shut := k.shut.Load()
	if !k.stream() {
		var m sched.Mask
		r := ep.Readiness(waiter.ReadableEvents | waiter.WritableEvents)
		if r&waiter.EventIn != 0 || k.nleft.Load() > 0 {
			m |= socket.ReadEvents
		}
		if r&waiter.EventOut != 0 {
			m |= socket.WriteEvents
		}
		if r&waiter.EventErr != 0 || k.s.Failed() {
			m |= abi.EPOLLERR
		}
		if shut&1 != 0 {
			m |= abi.EPOLLRDHUP | socket.ReadEvents
		}
		if shut == 3 {
			m |= abi.EPOLLHUP
		}
		return m
	}
	const out = sched.Mask(abi.EPOLLOUT | abi.EPOLLWRNORM)
	st := ep.tcpState()
	var m sched.Mask
	if k.nleft.Load() > 0 {
		m |= socket.ReadEvents
	}
	if k.s.Failed() {
		m |= abi.EPOLLERR
	}
	switch {
	case st == tcp.StateListen:
		if ep.Readiness(waiter.ReadableEvents) != 0 {
			m |= socket.ReadEvents
		}
		return m
	case st == tcp.StateInitial || st == tcp.StateBound:
		m |= abi.EPOLLHUP | out
		if shut&1 != 0 {
			m |= socket.ReadEvents | abi.EPOLLRDHUP
		}
		return m
	case st == tcp.StateError || st == tcp.StateClose || st == tcp.StateTimeWait:
		m |= abi.EPOLLHUP | abi.EPOLLRDHUP | socket.ReadEvents | out
		if st == tcp.StateError && !k.told.Load() {
			m |= abi.EPOLLERR
		}
		return m
	case connecting(st):
		return m
	}
	r := ep.Readiness(waiter.ReadableEvents | waiter.WritableEvents)
	closed := shut&1 != 0 || st == tcp.StateCloseWait || st == tcp.StateLastAck || st == tcp.StateClosing
	if r&waiter.EventIn != 0 || closed {
		m |= socket.ReadEvents
	}
	if r&waiter.EventOut != 0 || shut&2 != 0 {
		m |= out
	}
	if closed {
		m |= abi.EPOLLRDHUP
	}
	if closed && shut&2 != 0 {
		m |= abi.EPOLLHUP
	}
	return m
}

// Release closes the socket. What is still to be sent is sent by netstack; with SO_LINGER of 0 seconds the connection is reset.
func (k *sock) Release() {
	k.f.leave(k)
	k.ep.Load().drop()
}
