package netlink

import (
	"encoding/binary"
	"net/netip"

	"goum/arch/abi"
	"goum/kernel/fs/vfs"
	"goum/kernel/net/socket"
)

// request is one message to the kernel.
type request struct {
	k    *sock
	c    *vfs.Caller
	h    abi.Nlmsghdr
	body []byte // behind the header
}

// requests is netlink_rcv_skb: it answers all messages in data.
func (k *sock) requests(c *vfs.Caller, data []byte) {
	for range maxRequests {
		if len(data) < abi.NlmsghdrSize {
			return
		}
		r := request{k: k, c: c}
		copy(abi.Bytes(&r.h), data)
		n := int(r.h.Len)
		if n < abi.NlmsghdrSize || n > len(data) {
			return
		}
		r.body = data[abi.NlmsghdrSize:n]
		var e abi.Errno
		done := false
		if r.h.Flags&abi.NLM_F_REQUEST != 0 && r.h.Type >= abi.NLMSG_MIN_TYPE {
			done, e = r.handle()
		}
		if !done && (e != 0 || r.h.Flags&abi.NLM_F_ACK != 0) {
			r.ack(e)
		}
		data = data[min((n+3)&^3, len(data)):]
	}
}

// ack is netlink_ack: the errno, with the request that it is about.
func (r *request) ack(e abi.Errno) {
	var b builder
	flags, body := uint16(0), r.body
	if e == 0 || r.k.option(abi.NETLINK_CAP_ACK) {
		flags, body = abi.NLM_F_CAPPED, nil
	}
	b.begin(abi.NLMSG_ERROR, flags, r.h.Seq, r.k.port.Load())
	b.b = binary.LittleEndian.AppendUint32(b.b, uint32(-int32(e)))
	b.b = append(b.b, abi.Bytes(&r.h)...)
	b.b = append(b.b, body...)
	b.end()
	r.k.deliver(message{data: b.b})
}

// handle is rtnetlink_rcv_msg. done: a dump was given, which is its own acknowledgement.
func (r *request) handle() (done bool, e abi.Errno) {
	if r.h.Type > abi.RTM_MAX {
		return false, abi.EOPNOTSUPP
	}
	if len(r.body) < 1 {
		return false, 0
	}
	const get = 2 // the kinds: new, delete, get, set
	kind := (r.h.Type - abi.RTM_BASE) & 3
	if kind != get && !r.c.Cred.Has(abi.CAP_NET_ADMIN) {
		return false, abi.EPERM
	}
	if kind == get && r.h.Flags&abi.NLM_F_DUMP != 0 {
		return r.dump()
	}
	switch r.h.Type {
	case abi.RTM_GETLINK:
		return false, r.getLink()
	case abi.RTM_NEWLINK, abi.RTM_SETLINK:
		return false, r.setLink()
	case abi.RTM_DELLINK:
		if _, _, e := r.device(); e != 0 {
			return false, e
		}
		return false, abi.EOPNOTSUPP // lo was not made by anybody
	case abi.RTM_NEWADDR, abi.RTM_DELADDR:
		return false, r.changeAddr()
	case abi.RTM_NEWROUTE, abi.RTM_DELROUTE:
		return false, r.changeRoute()
	case abi.RTM_GETROUTE:
		return false, r.getRoute()
	}
	return false, abi.EOPNOTSUPP
}

// dump is netlink_dump for the tables that there are.
func (r *request) dump() (bool, abi.Errno) {
	var each func(f func(add func(b *builder)))
	fam := r.body[0]
	ifs := r.k.f.net.Ifaces
	flags := uint16(abi.NLM_F_MULTI)
	seq, pid := r.h.Seq, r.k.port.Load()
	switch r.h.Type {
	case abi.RTM_GETLINK:
		each = func(f func(func(*builder))) {
			for _, d := range ifs.List() {
				f(func(b *builder) { b.link(&d, 0, abi.RTM_NEWLINK, flags, seq, pid) })
			}
		}
	case abi.RTM_GETADDR:
		each = func(f func(func(*builder))) {
			for _, want := range []uint8{abi.AF_INET, abi.AF_INET6} {
				for _, d := range ifs.List() {
					for _, a := range d.Addrs {
						if af := family(a.Prefix.Addr()); af == want && (fam == abi.AF_UNSPEC || fam == af) {
							f(func(b *builder) { b.addr(&d, &a, abi.RTM_NEWADDR, flags, seq, pid) })
						}
					}
				}
			}
		}
	case abi.RTM_GETROUTE:
		table := uint32(0)
		if len(r.body) >= 12 && r.k.option(abi.NETLINK_GET_STRICT_CHK) {
			table = uint32(r.body[4])
			if a, e := parse(r.body[12:]); e == 0 && len(a[abi.RTA_TABLE]) >= 4 {
				table = binary.LittleEndian.Uint32(a[abi.RTA_TABLE])
			}
		}
		each = func(f func(func(*builder))) {
			for _, rt := range ifs.Routes() {
				if (fam == abi.AF_UNSPEC || fam == family(rt.Dst.Addr())) && (table == 0 || table == rt.Table) {
					f(func(b *builder) { b.route(&rt, abi.RTM_NEWROUTE, flags, seq, pid) })
				}
			}
		}
	case abi.RTM_GETNEIGH:
		each = func(func(func(*builder))) {} // nothing is a neighbour of lo
	default:
		return false, abi.EOPNOTSUPP
	}
	var b builder
	each(func(add func(b *builder)) {
		at := len(b.b)
		add(&b)
		if len(b.b) > chunk && at > 0 {
			rest := append([]byte(nil), b.b[at:]...)
			r.k.deliver(message{data: b.b[:at:at]})
			b.b = rest
		}
	})
	if len(b.b)+abi.NlmsghdrSize+4 > chunk {
		r.k.deliver(message{data: b.b})
		b = builder{}
	}
	b.begin(abi.NLMSG_DONE, flags, seq, pid)
	b.b = append(b.b, 0, 0, 0, 0)
	b.end()
	r.k.deliver(message{data: b.b})
	return true, 0
}

// attrs are the attributes of a request by type; of two of one type the last counts.
type attrs map[uint16][]byte

// parse reads attributes; EINVAL only where one is cut, as nla_parse is lenient about what is left at the end.
func parse(b []byte) (attrs, abi.Errno) {
	a := attrs{}
	for range maxAttrs {
		if len(b) < 4 {
			break
		}
		n := int(binary.LittleEndian.Uint16(b))
		if n < 4 || n > len(b) {
			break
		}
		a[binary.LittleEndian.Uint16(b[2:])&abi.NLA_TYPE_MASK] = b[4:n]
		b = b[min((n+3)&^3, len(b)):]
	}
	return a, 0
}

// u32 is a number attribute; ok: it is there.
func (a attrs) u32(typ uint16) (v uint32, ok bool, e abi.Errno) {
	b, ok := a[typ]
	if !ok {
		return 0, false, 0
	}
	if len(b) < 4 {
		return 0, true, abi.ERANGE
	}
	return binary.LittleEndian.Uint32(b), true, 0
}

func (a attrs) str(typ uint16) (string, bool) {
	b, ok := a[typ]
	for i, ch := range b {
		if ch == 0 {
			return string(b[:i]), ok
		}
	}
	return string(b), ok
}

// addr is an address attribute of family fam: ERANGE where it is too short.
func (a attrs) addr(typ uint16, fam uint8) (netip.Addr, abi.Errno) {
	b, ok := a[typ]
	if !ok {
		return netip.Addr{}, 0
	}
	if fam == abi.AF_INET && len(b) >= 4 {
		return netip.AddrFrom4([4]byte(b)), 0
	}
	if fam == abi.AF_INET6 && len(b) >= 16 {
		return netip.AddrFrom16([16]byte(b)), 0
	}
	return netip.Addr{}, abi.ERANGE
}

// device finds the device that a request on links is about: EINVAL, ENODEV.
func (r *request) device() (socket.Iface, attrs, abi.Errno) {
	if len(r.body) < 16 {
		return socket.Iface{}, nil, abi.EINVAL
	}
	var m abi.Ifinfomsg
	copy(abi.Bytes(&m), r.body)
	a, e := parse(r.body[16:])
	if e != 0 {
		return socket.Iface{}, nil, e
	}
	ifs := r.k.f.net.Ifaces
	var d socket.Iface
	ok := false
	name, named := a.str(abi.IFLA_IFNAME)
	switch {
	case m.Index > 0:
		d, ok = ifs.ByIndex(m.Index)
	case m.Index < 0:
		return d, a, abi.EINVAL
	case named:
		if len(name) >= abi.IFNAMSIZ {
			return d, a, abi.ERANGE
		}
		d, ok = ifs.ByName(name)
	default:
		return d, a, abi.EINVAL
	}
	if !ok {
		return d, a, abi.ENODEV
	}
	return d, a, 0
}

func (r *request) getLink() abi.Errno {
	d, _, e := r.device()
	if e != 0 {
		return e
	}
	var b builder
	b.link(&d, 0, abi.RTM_NEWLINK, 0, r.h.Seq, r.k.port.Load())
	r.k.deliver(message{data: b.b})
	return 0
}

// setLink is rtnl_newlink of a device that is there, and do_setlink.
func (r *request) setLink() abi.Errno {
	d, a, e := r.device()
	if r.h.Type == abi.RTM_NEWLINK {
		switch {
		case e == abi.ENODEV && r.h.Flags&abi.NLM_F_CREATE != 0:
			return abi.EOPNOTSUPP // no kind of device can be made
		case e == abi.EINVAL && len(r.body) >= 16 && r.h.Flags&abi.NLM_F_CREATE != 0:
			return abi.EOPNOTSUPP
		case e == 0 && r.h.Flags&abi.NLM_F_EXCL != 0:
			return abi.EEXIST
		case e == 0 && r.h.Flags&abi.NLM_F_REPLACE != 0:
			return abi.EOPNOTSUPP
		}
	}
	if e != 0 {
		return e
	}
	ifs := r.k.f.net.Ifaces
	var m abi.Ifinfomsg
	copy(abi.Bytes(&m), r.body)
	for _, no := range []uint16{abi.IFLA_NET_NS_PID, abi.IFLA_NET_NS_FD, abi.IFLA_MASTER, abi.IFLA_ADDRESS} {
		if _, ok := a[no]; ok {
			return abi.EOPNOTSUPP
		}
	}
	if v, ok, e := a.u32(abi.IFLA_MTU); e != 0 {
		return e
	} else if ok {
		if e := ifs.SetMTU(d.Index, v); e != 0 {
			return e
		}
	}
	if v, ok, e := a.u32(abi.IFLA_TXQLEN); e != 0 {
		return e
	} else if ok {
		if e := ifs.SetTxQLen(d.Index, v); e != 0 {
			return e
		}
	}
	if v, ok, e := a.u32(abi.IFLA_GROUP); e != 0 {
		return e
	} else if ok {
		if e := ifs.SetGroup(d.Index, v); e != 0 {
			return e
		}
	}
	if name, ok := a.str(abi.IFLA_IFNAME); ok && m.Index > 0 && name != d.Name {
		if e := ifs.Rename(d.Index, name); e != 0 {
			return e
		}
	}
	if alias, ok := a.str(abi.IFLA_IFALIAS); ok {
		if len(alias) >= 256 {
			return abi.EINVAL
		}
		if e := ifs.SetAlias(d.Index, alias); e != 0 {
			return e
		}
	}
	if m.Flags != 0 || m.Change != 0 {
		mask := m.Change
		if mask == 0 {
			mask = ^uint32(0)
		}
		return ifs.SetFlags(d.Index, m.Flags, mask)
	}
	return 0
}

// changeAddr is inet_rtm_newaddr, inet_rtm_deladdr, and the same of IPv6.
func (r *request) changeAddr() abi.Errno {
	if len(r.body) < 8 {
		return abi.EINVAL
	}
	var m abi.Ifaddrmsg
	copy(abi.Bytes(&m), r.body)
	most := 32
	switch m.Family {
	case abi.AF_INET:
	case abi.AF_INET6:
		most = 128
	default:
		return abi.EOPNOTSUPP
	}
	a, e := parse(r.body[8:])
	if e != 0 {
		return e
	}
	local, e := a.addr(abi.IFA_LOCAL, m.Family)
	if e != 0 {
		return e
	}
	address, e := a.addr(abi.IFA_ADDRESS, m.Family)
	if e != 0 {
		return e
	}
	label, _ := a.str(abi.IFA_LABEL)
	if len(label) >= abi.IFNAMSIZ {
		return abi.ERANGE
	}
	ifs := r.k.f.net.Ifaces
	if r.h.Type == abi.RTM_DELADDR {
		d, ok := ifs.ByIndex(int32(m.Index))
		if !ok {
			return abi.ENODEV
		}
		which, bits := local, -1
		if address.IsValid() {
			bits = int(m.Prefixlen)
		}
		if !which.IsValid() {
			which = address
		}
		if m.Family == abi.AF_INET6 {
			bits, label = int(m.Prefixlen), ""
		}
		if !which.IsValid() {
			if m.Family == abi.AF_INET6 {
				return abi.EINVAL
			}
			for _, x := range d.Addrs { // any
				if x.Prefix.Addr().Is4() {
					return ifs.DelAddr(d.Index, x.Prefix.Addr(), -1, "")
				}
			}
			return abi.EADDRNOTAVAIL
		}
		return ifs.DelAddr(d.Index, which, bits, label)
	}
	if !local.IsValid() && m.Family == abi.AF_INET6 {
		local = address
	}
	if int(m.Prefixlen) > most || !local.IsValid() {
		return abi.EINVAL
	}
	d, ok := ifs.ByIndex(int32(m.Index))
	if !ok {
		return abi.ENODEV
	}
	v := socket.IfAddr{Prefix: netip.PrefixFrom(local, int(m.Prefixlen)), Scope: m.Scope, Flags: uint32(m.Flags), Label: label,
		Preferred: socket.Forever, Valid: socket.Forever}
	if f, ok, e := a.u32(abi.IFA_FLAGS); e != 0 {
		return e
	} else if ok {
		v.Flags = f
	}
	if address.IsValid() && address != local {
		v.Peer = address
	}
	if v.Broadcast, e = a.addr(abi.IFA_BROADCAST, m.Family); e != 0 {
		return e
	}
	if m.Family == abi.AF_INET && label == "" {
		v.Label = d.Name
	}
	if p := a[ifaProto]; len(p) > 0 {
		v.Proto = p[0]
	}
	if ci := a[abi.IFA_CACHEINFO]; len(ci) >= 16 {
		v.Preferred, v.Valid = binary.LittleEndian.Uint32(ci), binary.LittleEndian.Uint32(ci[4:])
		if v.Valid == 0 || v.Preferred > v.Valid {
			return abi.EINVAL
		}
	}
	v.Flags &^= abi.IFA_F_PERMANENT | abi.IFA_F_SECONDARY
	if v.Valid == socket.Forever {
		v.Flags |= abi.IFA_F_PERMANENT
	}
	if m.Family == abi.AF_INET6 {
		v.Scope = scope6(local)
	}
	return ifs.AddAddr(d.Index, v, r.h.Flags&abi.NLM_F_REPLACE != 0 && r.h.Flags&abi.NLM_F_EXCL == 0)
}

// scope6 is rt_scope of an IPv6 address.
func scope6(a netip.Addr) uint8 {
	switch {
	case a.IsLoopback():
		return abi.RT_SCOPE_HOST
	case a.IsLinkLocalUnicast():
		return abi.RT_SCOPE_LINK
	}
	return abi.RT_SCOPE_UNIVERSE
}

// rtmsg reads the head and attributes of a request on routes: EINVAL.
func (r *request) rtmsg() (m abi.Rtmsg, a attrs, dst netip.Prefix, e abi.Errno) {
	if len(r.body) < 12 {
		return m, nil, dst, abi.EINVAL
	}
	copy(abi.Bytes(&m), r.body)
	most, zero := 32, netip.IPv4Unspecified()
	switch m.Family {
	case abi.AF_INET:
	case abi.AF_INET6:
		most, zero = 128, netip.IPv6Unspecified()
	default:
		return m, nil, dst, abi.EOPNOTSUPP
	}
	if int(m.DstLen) > most {
		return m, nil, dst, abi.EINVAL
	}
	if a, e = parse(r.body[12:]); e != 0 {
		return m, nil, dst, e
	}
	addr, e := a.addr(abi.RTA_DST, m.Family)
	if e != 0 {
		return m, nil, dst, e
	}
	if !addr.IsValid() {
		addr = zero
	}
	return m, a, netip.PrefixFrom(addr, int(m.DstLen)), 0
}

// changeRoute is inet_rtm_newroute, inet_rtm_delroute, and the same of IPv6.
func (r *request) changeRoute() abi.Errno {
	m, a, dst, e := r.rtmsg()
	if e != 0 {
		return e
	}
	if dst.Masked() != dst || m.Type > abi.RTN_MAX {
		return abi.EINVAL
	}
	rt := socket.Route{Dst: dst, Table: uint32(m.Table), Protocol: m.Protocol, Scope: m.Scope, Type: m.Type, Tos: m.Tos}
	if rt.Gateway, e = a.addr(abi.RTA_GATEWAY, m.Family); e != 0 {
		return e
	}
	if rt.PrefSrc, e = a.addr(abi.RTA_PREFSRC, m.Family); e != 0 {
		return e
	}
	for _, n := range []struct {
		typ uint16
		to  *uint32
	}{{abi.RTA_OIF, (*uint32)(nil)}, {abi.RTA_PRIORITY, &rt.Priority}, {abi.RTA_TABLE, &rt.Table}} {
		v, ok, e := a.u32(n.typ)
		if e != 0 {
			return e
		}
		switch {
		case ok && n.to != nil:
			*n.to = v
		case ok:
			rt.Index = int32(v)
		}
	}
	if _, ok := a[abi.RTA_MULTIPATH]; ok {
		return abi.EOPNOTSUPP
	}
	if m.Family == abi.AF_INET6 && rt.Priority == 0 && r.h.Type == abi.RTM_NEWROUTE {
		rt.Priority = 1024
	}
	ifs := r.k.f.net.Ifaces
	if r.h.Type == abi.RTM_DELROUTE {
		return ifs.DelRoute(rt)
	}
	if rt.Table == 0 {
		rt.Table = abi.RT_TABLE_MAIN
	}
	if rt.Type == 0 {
		rt.Type = abi.RTN_UNICAST
	}
	fl := r.h.Flags
	return ifs.AddRoute(rt, fl&abi.NLM_F_CREATE != 0, fl&abi.NLM_F_EXCL != 0, fl&abi.NLM_F_REPLACE != 0)
}

// getRoute is inet_rtm_getroute: which way a packet would go. ENETUNREACH.
func (r *request) getRoute() abi.Errno {
	m, _, dst, e := r.rtmsg()
	if e != 0 {
		return e
	}
	to := dst.Addr()
	var best *socket.Route
	for _, rt := range r.k.f.net.Ifaces.Routes() {
		if family(rt.Dst.Addr()) == m.Family && rt.Dst.Contains(to) && (best == nil || rt.Dst.Bits() > best.Dst.Bits()) {
			best = &rt
		}
	}
	switch {
	case best == nil:
		return abi.ENETUNREACH
	case best.Type == abi.RTN_UNREACHABLE:
		return abi.EHOSTUNREACH
	case best.Type == abi.RTN_PROHIBIT:
		return abi.EACCES
	case best.Type == abi.RTN_BLACKHOLE:
		return abi.EINVAL
	}
	out := *best
	out.Dst = netip.PrefixFrom(to, to.BitLen())
	out.Protocol, out.Scope, out.Flags = abi.RTPROT_UNSPEC, abi.RT_SCOPE_UNIVERSE, abi.RTM_F_CLONED
	if !out.PrefSrc.IsValid() {
		out.PrefSrc = to
	}
	var b builder
	b.route(&out, abi.RTM_NEWROUTE, 0, r.h.Seq, r.k.port.Load())
	r.k.deliver(message{data: b.b})
	return 0
}
