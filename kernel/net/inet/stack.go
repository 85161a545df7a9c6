package inet

import (
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/link/loopback"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv6"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/icmp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/raw"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"

	"goum/arch/abi"
	"goum/arch/lock"
	"goum/kernel/fs/vfs"
	"goum/kernel/net/socket"
	"goum/sched/clock"
)

// nic is lo's number in netstack.
const nic = 1

// Family makes IPv4 and IPv6 sockets.
type Family struct {
	net *socket.Net

	once  sync.Once
	stack *stack.Stack // set by once; nil: netstack refused

	// reach is where packets can go: the prefixes of local addresses. Written by sync.
	reach atomic.Pointer[[]netip.Prefix]

	mu    lock.Mutex[lock.OpenFile]
	up    map[tcpip.Address]bool // guarded by mu: addresses that netstack has
	socks map[*sock]struct{}     // guarded by mu: for /proc/net
}

// Register makes AF_INET and AF_INET6 known to n.
func Register(n *socket.Net) *Family {
	f := &Family{net: n, up: map[tcpip.Address]bool{}, socks: map[*sock]struct{}{}}
	f.reach.Store(new([]netip.Prefix))
	n.Register(abi.AF_INET, f)
	n.Register(abi.AF_INET6, f)
	n.AddProc("tcp", func() string { return f.ProcTCP(false) })
	n.AddProc("tcp6", func() string { return f.ProcTCP(true) })
	n.AddProc("udp", func() string { return f.ProcUDP(false) })
	n.AddProc("udp6", func() string { return f.ProcUDP(true) })
	for _, name := range []string{"udplite", "udplite6", "raw6"} { // of which there are none
		n.AddProc(name, func() string { return f.proc(name != "udplite", 0, head4UDP, head6UDP, 127) })
	}
	n.Ifaces.SetStats(f.stats)
	n.Ifaces.Watch(func(ev socket.Event) {
		if f.reachable() && ev.Kind <= socket.AddrGone {
			f.sync()
		}
	})
	return f
}

// Close ends the stack and its goroutines. No socket may be left.
func (f *Family) Close() {
	f.once.Do(func() {})
	if f.stack != nil {
		f.stack.Close()
		f.stack.Wait()
	}
}

// reachable says whether the stack was made: before, nobody asks where packets go.
func (f *Family) reachable() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.stack != nil
}

// start makes the stack: ENOBUFS if netstack cannot.
func (f *Family) start() abi.Errno {
	f.once.Do(func() {
		s := stack.New(stack.Options{
			NetworkProtocols:   []stack.NetworkProtocolFactory{ipv4.NewProtocol, ipv6.NewProtocol},
			TransportProtocols: []stack.TransportProtocolFactory{tcp.NewProtocol, udp.NewProtocol, icmp.NewProtocol4, icmp.NewProtocol6},
			Clock:              stackClock{f.net.Clock},
			RawFactory:         raw.EndpointFactory{},
			HandleLocal:        false, // what goes over lo passes through lo, and is counted there
		})
		if s.CreateNIC(nic, loopback.New()) != nil {
			return
		}
		s.SetPortRange(firstPort, lastPort)
		sack := tcpip.TCPSACKEnabled(true)
		s.SetTransportProtocolOption(tcp.ProtocolNumber, &sack)
		f.mu.Lock()
		f.stack = s
		f.mu.Unlock()
		f.sync()
	})
	if f.stack == nil {
		return abi.ENOBUFS
	}
	return 0
}

// stats is lo's counters.
func (f *Family) stats(index int32) (s socket.IfStats) {
	if index != nic || !f.reachable() {
		return s
	}
	c := f.stack.NICInfo()[nic].Stats.Tx
	return socket.IfStats{Packets: c.Packets.Value(), Bytes: c.Bytes.Value()}
}

// sync gives netstack the addresses that the devices have now.
func (f *Family) sync() {
	want := map[tcpip.Address]netip.Prefix{}
	var reach []netip.Prefix
	for _, d := range f.net.Ifaces.List() {
		if !d.Up() {
			continue
		}
		for _, a := range d.Addrs {
			p := a.Prefix
			want[address(p.Addr())] = p
			if !p.Addr().Is4() || !p.Addr().IsLoopback() {
				p = netip.PrefixFrom(p.Addr(), p.Addr().BitLen()) // all of 127.0.0.0/8 is this machine, but of another network one address
			}
			reach = append(reach, p.Masked())
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for a := range f.up {
		if _, keep := want[a]; !keep {
			f.stack.RemoveAddress(nic, a)
			delete(f.up, a)
		}
	}
	for a, p := range want {
		if f.up[a] {
			continue
		}
		proto := ipv4.ProtocolNumber
		if p.Addr().Is6() {
			proto = ipv6.ProtocolNumber
		}
		bits := p.Bits()
		if !p.Addr().IsLoopback() {
			bits = p.Addr().BitLen()
		}
		pa := tcpip.ProtocolAddress{Protocol: proto, AddressWithPrefix: tcpip.AddressWithPrefix{Address: a, PrefixLen: bits}}
		if f.stack.AddProtocolAddress(nic, pa, stack.AddressProperties{}) == nil {
			f.up[a] = true
		}
	}
	var routes []tcpip.Route
	for _, p := range reach {
		sub, err := tcpip.NewSubnet(address(p.Addr()), mask(p))
		if err == nil {
			routes = append(routes, tcpip.Route{Destination: sub, NIC: nic})
		}
	}
	f.stack.SetRouteTable(routes)
	f.reach.Store(&reach)
}

func address(a netip.Addr) tcpip.Address {
	if a.Is4() {
		return tcpip.AddrFrom4(a.As4())
	}
	return tcpip.AddrFrom16(a.As16())
}

func mask(p netip.Prefix) tcpip.AddressMask {
	b := make([]byte, p.Addr().BitLen()/8)
	for i := range p.Bits() {
		b[i/8] |= 0x80 >> (i % 8)
	}
	return tcpip.MaskFromBytes(b)
}

// reaches says whether a packet to a goes somewhere.
func (f *Family) reaches(a netip.Addr) bool {
	a = a.Unmap()
	for _, p := range *f.reach.Load() {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// Create is inet_create: EINVAL, ESOCKTNOSUPPORT, EPROTONOSUPPORT, EPERM (raw sockets without CAP_NET_RAW), ENOBUFS.
func (f *Family) Create(c *vfs.Caller, s *socket.Socket) abi.Errno {
	if s.Protocol < 0 || s.Protocol >= abi.IPPROTO_MAX {
		return abi.EINVAL
	}
	ping, pingProto := int32(abi.IPPROTO_ICMP), icmp.ProtocolNumber4
	if s.Family == abi.AF_INET6 {
		ping, pingProto = abi.IPPROTO_ICMPV6, icmp.ProtocolNumber6
	}
	k := &sock{f: f, s: s}
	switch s.Type {
	case abi.SOCK_STREAM:
		if s.Protocol != 0 && s.Protocol != abi.IPPROTO_TCP {
			return abi.EPROTONOSUPPORT
		}
		s.Protocol, k.transport = abi.IPPROTO_TCP, tcp.ProtocolNumber
	case abi.SOCK_DGRAM:
		switch s.Protocol {
		case 0, abi.IPPROTO_UDP:
			s.Protocol, k.transport = abi.IPPROTO_UDP, udp.ProtocolNumber
		case ping:
			k.transport = pingProto
		default:
			return abi.EPROTONOSUPPORT
		}
	case abi.SOCK_RAW:
		if s.Protocol == 0 {
			return abi.EPROTONOSUPPORT
		}
		if !c.Cred.Has(abi.CAP_NET_RAW) {
			return abi.EPERM
		}
		if s.Protocol != ping {
			return abi.EPROTONOSUPPORT
		}
		k.transport, k.raw = pingProto, true
	default:
		return abi.ESOCKTNOSUPPORT
	}
	if e := f.start(); e != 0 {
		return e
	}
	if !f.enter(k) {
		return abi.ENOBUFS
	}
	ep, e := k.newEndpoint()
	if e != 0 {
		f.leave(k)
		return e
	}
	k.attach(ep)
	s.Ops = k
	k.sizes()
	return 0
}

func (f *Family) enter(k *sock) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.socks) >= maxCount {
		return false
	}
	f.socks[k] = struct{}{}
	return true
}

func (f *Family) leave(k *sock) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.socks, k)
}

// share is how large the buffers of one more socket may be.
func (f *Family) share() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return max(min(allBuffers/(2*(len(f.socks)+1)), maxBuffer), minBuffer)
}

// stackClock is the machine's clock as netstack wants it.
type stackClock struct{ c *clock.Clock }

// Now is the wall clock.
func (s stackClock) Now() time.Time { return time.Unix(0, s.c.Realtime()) }

// NowMonotonic is the time since boot.
func (s stackClock) NowMonotonic() tcpip.MonotonicTime {
	return tcpip.MonotonicTime{}.Add(time.Duration(s.c.Monotonic()))
}

// AfterFunc calls f on a goroutine of its own: the clock's must not wait for netstack's locks.
func (s stackClock) AfterFunc(d time.Duration, f func()) tcpip.Timer {
	t := &stackTimer{c: s.c, t: s.c.NewTimer(func() { go f() })}
	t.Reset(d)
	return t
}

type stackTimer struct {
	c *clock.Clock
	t *clock.Timer
}

// Stop stops the timer.
func (t *stackTimer) Stop() bool { return t.t.Stop() }

// Reset sets it again.
func (t *stackTimer) Reset(d time.Duration) { t.t.Reset(t.c.Monotonic().Add(max(int64(d), 0))) }
