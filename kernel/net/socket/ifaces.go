package socket

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"

	"goum/arch/abi"
	"goum/arch/lock"
	"goum/sched/clock"
)

// Iface is a network device. There is one, lo: frames go nowhere else.
type Iface struct {
	Index  int32
	Name   string
	Flags  uint32 // IFF_*
	MTU    uint32
	TxQLen uint32
	Type   uint16 // ARPHRD_*
	HWAddr [6]byte
	Alias  string
	Group  uint32
	Addrs  []IfAddr
}

// Up says whether the device is up.
func (d *Iface) Up() bool { return d.Flags&abi.IFF_UP != 0 }

// Running is the flags as they are shown: with IFF_RUNNING and IFF_LOWER_UP where they hold.
func (d *Iface) Running() uint32 {
	f := d.Flags
	if d.Up() {
		f |= abi.IFF_RUNNING | abi.IFF_LOWER_UP
	}
	return f
}

// IfAddr is an address of a device.
type IfAddr struct {
	Prefix    netip.Prefix // not masked: the address, and how long its network part is
	Peer      netip.Addr   // IFA_ADDRESS where it differs from IFA_LOCAL; else invalid
	Broadcast netip.Addr   // invalid: none
	Scope     uint8        // RT_SCOPE_*
	Flags     uint32       // IFA_F_*
	Label     string       // of IPv4
	Proto     uint8        // IFAPROT_*: 0 for none
	Preferred uint32       // seconds
	Valid     uint32
	Created   uint32 // hundredths of a second since boot
	Updated   uint32
}

// Forever is the lifetime of an address that does not end.
const Forever = ^uint32(0)

// Route is an entry that somebody added; those that follow from addresses are made by Routes.
type Route struct {
	Dst      netip.Prefix // masked
	Gateway  netip.Addr   // invalid: on the link
	PrefSrc  netip.Addr
	Index    int32 // device
	Table    uint32
	Protocol uint8
	Scope    uint8
	Type     uint8
	Priority uint32
	Tos      uint8
	Flags    uint32
}

// Event says what changed in Interfaces.
type Event struct {
	Kind  EventKind
	Iface Iface
	Flags uint32 // of LinkChanged: those that changed
	Addr  IfAddr // of AddrNew, AddrGone
	Route Route  // of RouteNew, RouteGone
}

// EventKind is a kind of Event.
type EventKind int

// The kinds.
const (
	LinkChanged EventKind = iota
	AddrNew
	AddrGone
	RouteNew
	RouteGone
)

// Interfaces is the configuration of a machine's network devices: what netlink and the ioctls change, and inet obeys.
type Interfaces struct {
	clock *clock.Clock // may be nil
	stats atomic.Pointer[func(index int32) IfStats]

	mu       lock.Mutex[lock.Socket]
	devs     []Iface // guarded by mu, by index; Addrs are replaced, never written to
	routes   []Route // guarded by mu; the same
	watchers []func(Event)
	pending  []Event // of the change under way
}

func newInterfaces(clk *clock.Clock) *Interfaces {
	return &Interfaces{clock: clk, devs: []Iface{{Index: 1, Name: "lo", Flags: abi.IFF_LOOPBACK, MTU: 65536, TxQLen: 1000, Type: abi.ARPHRD_LOOPBACK}}}
}

// Watch has f called after each change, with no lock held, by whoever made it. Before the machine runs, or by inet when it starts.
func (n *Interfaces) Watch(f func(Event)) {
	n.mu.Lock()
	n.watchers = append(slices.Clip(n.watchers), f)
	n.mu.Unlock()
}

// change runs f, and then tells the watchers of what it noted.
func (n *Interfaces) change(f func() abi.Errno) abi.Errno {
	n.mu.Lock()
	n.pending = nil
	e := f()
	events, watchers := n.pending, n.watchers
	n.pending = nil
	n.mu.Unlock()
	for _, ev := range events {
		for _, w := range watchers {
			w(ev)
		}
	}
	return e
}

func (n *Interfaces) note(ev Event) { n.pending = append(n.pending, ev) }

// List is all devices, by index.
func (n *Interfaces) List() []Iface {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.devs)
}

// ByIndex finds a device.
func (n *Interfaces) ByIndex(index int32) (Iface, bool) {
	return n.find(func(d *Iface) bool { return d.Index == index })
}

// ByName finds a device.
func (n *Interfaces) ByName(name string) (Iface, bool) {
	return n.find(func(d *Iface) bool { return d.Name == name })
}

func (n *Interfaces) find(f func(*Iface) bool) (Iface, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for i := range n.devs {
		if f(&n.devs[i]) {
			return n.devs[i], true
		}
	}
	return Iface{}, false
}

func (n *Interfaces) dev(index int32) *Iface {
	for i := range n.devs {
		if n.devs[i].Index == index {
			return &n.devs[i]
		}
	}
	return nil
}

// settableFlags are what SetFlags changes: dev_change_flags.
const settableFlags = abi.IFF_UP | abi.IFF_DEBUG | abi.IFF_NOTRAILERS | abi.IFF_NOARP | abi.IFF_DYNAMIC | abi.IFF_MULTICAST | abi.IFF_PORTSEL |
	abi.IFF_AUTOMEDIA | abi.IFF_PROMISC | abi.IFF_ALLMULTI

// SetFlags sets those flags of a device that mask has: ENODEV. Up brings the loopback addresses, down takes away the IPv6 ones.
func (n *Interfaces) SetFlags(index int32, flags, mask uint32) abi.Errno {
	return n.change(func() abi.Errno {
		d := n.dev(index)
		if d == nil {
			return abi.ENODEV
		}
		mask &= settableFlags
		old := d.Flags
		d.Flags = old&^mask | flags&mask
		if d.Flags == old {
			return 0
		}
		n.note(Event{Kind: LinkChanged, Iface: *d, Flags: old ^ d.Flags})
		if (old^d.Flags)&abi.IFF_UP != 0 {
			if d.Up() {
				n.raise(d)
			} else {
				n.lower(d)
			}
		}
		return 0
	})
}

// raise gives lo the addresses that it always has.
func (n *Interfaces) raise(d *Iface) {
	if d.Flags&abi.IFF_LOOPBACK == 0 {
		return
	}
	has4 := slices.ContainsFunc(d.Addrs, func(a IfAddr) bool { return a.Prefix.Addr().Is4() })
	if !has4 {
		n.add(d, IfAddr{Prefix: netip.MustParsePrefix("127.0.0.1/8"), Scope: abi.RT_SCOPE_HOST, Flags: abi.IFA_F_PERMANENT, Label: d.Name,
			Preferred: Forever, Valid: Forever})
	}
	if d.MTU >= 1280 {
		const kernelLo = 1
		n.add(d, IfAddr{Prefix: netip.MustParsePrefix("::1/128"), Scope: abi.RT_SCOPE_HOST, Flags: abi.IFA_F_PERMANENT, Proto: kernelLo,
			Preferred: Forever, Valid: Forever})
	}
}

func (n *Interfaces) lower(d *Iface) {
	for _, a := range d.Addrs {
		if a.Prefix.Addr().Is6() {
			n.remove(d, a)
		}
	}
	for _, r := range n.routes {
		if r.Index == d.Index {
			n.note(Event{Kind: RouteGone, Iface: *d, Route: r})
		}
	}
	n.routes = slices.DeleteFunc(slices.Clone(n.routes), func(r Route) bool { return r.Index == d.Index })
}

func (n *Interfaces) now() uint32 {
	if n.clock == nil {
		return 0
	}
	return uint32(n.clock.Monotonic() / 1e7)
}

func (n *Interfaces) add(d *Iface, a IfAddr) {
	a.Created, a.Updated = n.now(), n.now()
	d.Addrs = append(slices.Clip(d.Addrs), a)
	n.note(Event{Kind: AddrNew, Iface: *d, Addr: a})
}

func (n *Interfaces) remove(d *Iface, a IfAddr) {
	d.Addrs = slices.DeleteFunc(slices.Clone(d.Addrs), func(b IfAddr) bool { return b.Prefix == a.Prefix && b.Peer == a.Peer })
	n.note(Event{Kind: AddrGone, Iface: *d, Addr: a})
}

// AddAddr gives a device an address: ENODEV, EEXIST (unless replace), ENOBUFS, EADDRNOTAVAIL (IPv6 while the device is down keeps none).
func (n *Interfaces) AddAddr(index int32, a IfAddr, replace bool) abi.Errno {
	return n.change(func() abi.Errno {
		d := n.dev(index)
		if d == nil {
			return abi.ENODEV
		}
		for i, b := range d.Addrs {
			if b.Prefix.Addr() != a.Prefix.Addr() || b.Prefix.Addr().Is4() && b.Prefix.Bits() != a.Prefix.Bits() {
				continue
			}
			if !replace {
				return abi.EEXIST
			}
			a.Created, a.Updated = b.Created, n.now()
			d.Addrs = slices.Clone(d.Addrs)
			d.Addrs[i] = a
			n.note(Event{Kind: AddrNew, Iface: *d, Addr: a})
			return 0
		}
		if len(d.Addrs) >= maxIfAddrs {
			return abi.ENOBUFS
		}
		if a.Prefix.Addr().Is4() && slices.ContainsFunc(d.Addrs, func(b IfAddr) bool { return b.Prefix.Masked() == a.Prefix.Masked() }) {
			a.Flags |= abi.IFA_F_SECONDARY
		}
		n.add(d, a)
		return 0
	})
}

// DelAddr takes an address away: ENODEV, EADDRNOTAVAIL. bits < 0: whatever its prefix.
func (n *Interfaces) DelAddr(index int32, addr netip.Addr, bits int, label string) abi.Errno {
	return n.change(func() abi.Errno {
		d := n.dev(index)
		if d == nil {
			return abi.ENODEV
		}
		for _, a := range d.Addrs {
			if a.Prefix.Addr() == addr && (bits < 0 || a.Prefix.Bits() == bits) && (label == "" || a.Label == label) {
				n.remove(d, a)
				return 0
			}
		}
		return abi.EADDRNOTAVAIL
	})
}

// SetMTU sets it: ENODEV, EINVAL.
func (n *Interfaces) SetMTU(index int32, mtu uint32) abi.Errno {
	return n.edit(index, func(d *Iface) abi.Errno {
		if int32(mtu) < 0 {
			return abi.EINVAL
		}
		d.MTU = mtu
		return 0
	})
}

// SetTxQLen sets it: ENODEV, EINVAL.
func (n *Interfaces) SetTxQLen(index int32, l uint32) abi.Errno {
	return n.edit(index, func(d *Iface) abi.Errno {
		if int32(l) < 0 {
			return abi.EINVAL
		}
		d.TxQLen = l
		return 0
	})
}

// SetHWAddr sets it: ENODEV.
func (n *Interfaces) SetHWAddr(index int32, hw [6]byte) abi.Errno {
	return n.edit(index, func(d *Iface) abi.Errno { d.HWAddr = hw; return 0 })
}

// SetAlias sets it: ENODEV. SetGroup is its like.
func (n *Interfaces) SetAlias(index int32, alias string) abi.Errno {
	return n.edit(index, func(d *Iface) abi.Errno { d.Alias = alias; return 0 })
}

// SetGroup sets it: ENODEV.
func (n *Interfaces) SetGroup(index int32, g uint32) abi.Errno {
	return n.edit(index, func(d *Iface) abi.Errno { d.Group = g; return 0 })
}

// Rename gives a device, and the labels of its addresses, another name: ENODEV, EINVAL (no name for a device), EEXIST.
func (n *Interfaces) Rename(index int32, name string) abi.Errno {
	return n.edit(index, func(d *Iface) abi.Errno {
		switch {
		case name == d.Name:
			return 0
		case !validName(name):
			return abi.EINVAL
		case slices.ContainsFunc(n.devs, func(o Iface) bool { return o.Name == name }):
			return abi.EEXIST
		}
		d.Addrs = slices.Clone(d.Addrs)
		for i := range d.Addrs {
			if rest, ok := strings.CutPrefix(d.Addrs[i].Label, d.Name); ok && len(name)+len(rest) < abi.IFNAMSIZ {
				d.Addrs[i].Label = name + rest
			}
		}
		d.Name = name
		return 0
	})
}

// validName is dev_valid_name.
func validName(name string) bool {
	if name == "" || name == "." || name == ".." || len(name) >= abi.IFNAMSIZ {
		return false
	}
	for _, ch := range []byte(name) {
		if ch == '/' || ch == ':' || ch == ' ' || ch >= '\t' && ch <= '\r' {
			return false
		}
	}
	return true
}

func (n *Interfaces) edit(index int32, f func(*Iface) abi.Errno) abi.Errno {
	return n.change(func() abi.Errno {
		d := n.dev(index)
		if d == nil {
			return abi.ENODEV
		}
		e := f(d)
		if e == 0 {
			n.note(Event{Kind: LinkChanged, Iface: *d})
		}
		return e
	})
}

// same says whether two routes take each other's place.
func (r *Route) same(o *Route) bool {
	return r.Dst == o.Dst && r.Table == o.Table && r.Priority == o.Priority && r.Tos == o.Tos
}

// AddRoute adds a route: ENODEV, ENETDOWN, EEXIST (excl, or an equal one), ENOBUFS, ENETUNREACH (no way to the gateway), ENOENT (replace
// without create).
func (n *Interfaces) AddRoute(r Route, create, excl, replace bool) abi.Errno {
	return n.change(func() abi.Errno {
		if r.Gateway.IsValid() {
			d := n.onLink(r.Gateway)
			if d == nil {
				return abi.ENETUNREACH
			}
			if r.Index == 0 {
				r.Index = d.Index
			}
		}
		var d *Iface
		switch r.Type {
		case abi.RTN_BLACKHOLE, abi.RTN_UNREACHABLE, abi.RTN_PROHIBIT, abi.RTN_THROW:
			d, r.Index = new(Iface), 0
		default:
			if d = n.dev(r.Index); d == nil {
				return abi.ENODEV
			}
			if !d.Up() {
				return abi.ENETDOWN
			}
		}
		for i := range n.routes {
			if !n.routes[i].same(&r) {
				continue
			}
			if excl || !replace {
				return abi.EEXIST
			}
			n.routes = slices.Clone(n.routes)
			n.routes[i] = r
			n.note(Event{Kind: RouteNew, Iface: *d, Route: r})
			return 0
		}
		if !create {
			return abi.ENOENT
		}
		if len(n.routes) >= maxRoutes {
			return abi.ENOBUFS
		}
		n.routes = append(slices.Clip(n.routes), r)
		n.note(Event{Kind: RouteNew, Iface: *d, Route: r})
		return 0
	})
}

// onLink is the device on whose link addr is; none but lo, where no address is a gateway.
func (n *Interfaces) onLink(addr netip.Addr) *Iface {
	for i := range n.devs {
		d := &n.devs[i]
		if d.Flags&abi.IFF_LOOPBACK != 0 {
			continue
		}
		for _, a := range d.Addrs {
			if d.Up() && a.Prefix.Masked().Contains(addr) {
				return d
			}
		}
	}
	return nil
}

// DelRoute removes the first route that is as r says; zero fields mean any. ESRCH.
func (n *Interfaces) DelRoute(r Route) abi.Errno {
	return n.change(func() abi.Errno {
		for i, o := range n.routes {
			if o.Dst != r.Dst || r.Table != 0 && o.Table != r.Table || r.Index != 0 && o.Index != r.Index ||
				r.Gateway.IsValid() && o.Gateway != r.Gateway || r.Priority != 0 && o.Priority != r.Priority {
				continue
			}
			n.routes = slices.Delete(slices.Clone(n.routes), i, i+1)
			if d := n.dev(o.Index); d != nil {
				n.note(Event{Kind: RouteGone, Iface: *d, Route: o})
			}
			return 0
		}
		return abi.ESRCH
	})
}

// Routes is the whole routing table: what follows from the addresses of devices that are up, and what was added. IPv4 first; as Linux's dumps
// show it, main before local.
func (n *Interfaces) Routes() []Route {
	n.mu.Lock()
	defer n.mu.Unlock()
	var rs []Route
	for i := range n.devs {
		d := &n.devs[i]
		if !d.Up() {
			continue
		}
		for _, a := range d.Addrs {
			rs = append(rs, a.routes(d)...)
		}
	}
	rs = append(rs, n.routes...)
	slices.SortStableFunc(rs, func(a, b Route) int {
		return cmp.Or(cmp.Compare(a.Dst.Addr().BitLen(), b.Dst.Addr().BitLen()), cmp.Compare(a.Table, b.Table),
			a.Dst.Addr().Compare(b.Dst.Addr()), cmp.Compare(a.Dst.Bits(), b.Dst.Bits()))
	})
	return rs
}

// routes are those that the address brings.
func (a *IfAddr) routes(d *Iface) []Route {
	addr := a.Prefix.Addr()
	r := Route{Index: d.Index, Table: abi.RT_TABLE_LOCAL, Protocol: abi.RTPROT_KERNEL, Type: abi.RTN_LOCAL, Dst: netip.PrefixFrom(addr, addr.BitLen())}
	if addr.Is6() {
		rs := []Route{r}
		if a.Flags&abi.IFA_F_NOPREFIXROUTE == 0 && a.Prefix.Bits() < 128 {
			r.Table, r.Type, r.Dst, r.Priority = abi.RT_TABLE_MAIN, abi.RTN_UNICAST, a.Prefix.Masked(), 256
			rs = append(rs, r)
		}
		return rs
	}
	r.Scope, r.PrefSrc = abi.RT_SCOPE_HOST, addr
	rs := []Route{r}
	if a.Prefix.Bits() == 32 || a.Flags&abi.IFA_F_NOPREFIXROUTE != 0 {
		return rs
	}
	net := r
	net.Dst = a.Prefix.Masked()
	if d.Flags&abi.IFF_LOOPBACK == 0 {
		net.Table, net.Type, net.Scope = abi.RT_TABLE_MAIN, abi.RTN_UNICAST, abi.RT_SCOPE_LINK
	} else if !addr.IsLoopback() {
		net.Table, net.Type, net.Scope = abi.RT_TABLE_LOCAL, abi.RTN_LOCAL, abi.RT_SCOPE_HOST
	}
	rs = append(rs, net)
	if a.Prefix.Bits() < 31 {
		b := r
		last := net.Dst.Addr().As4()
		for i := a.Prefix.Bits(); i < 32; i++ {
			last[i/8] |= 0x80 >> (i % 8)
		}
		b.Dst, b.Type, b.Scope = netip.PrefixFrom(netip.AddrFrom4(last), 32), abi.RTN_BROADCAST, abi.RT_SCOPE_LINK
		rs = append(rs, b)
	}
	return rs
}

// Reaches says whether a packet to addr has a way: on this machine it ends at lo. The second result is the route's device.
func (n *Interfaces) Reaches(addr netip.Addr) (int32, bool) {
	for _, r := range n.Routes() {
		if r.Dst.Contains(addr) && r.Type != abi.RTN_UNREACHABLE && r.Type != abi.RTN_BLACKHOLE && r.Type != abi.RTN_PROHIBIT {
			return r.Index, true
		}
	}
	return 0, false
}

// Up brings lo up, for a machine in which no init does.
func (n *Net) Up() { n.Ifaces.SetFlags(1, abi.IFF_UP, abi.IFF_UP) }
