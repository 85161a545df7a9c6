package netlink

import (
	"encoding/binary"
	"net/netip"

	"goum/arch/abi"
	"goum/kernel/net/socket"
)

// builder writes netlink messages one after the other.
type builder struct {
	b    []byte
	last int // where the last message begins
}

// begin starts a message; end fills in its length.
func (b *builder) begin(typ, flags uint16, seq, pid uint32) {
	b.last = len(b.b)
	h := abi.Nlmsghdr{Type: typ, Flags: flags, Seq: seq, Pid: pid}
	b.b = append(b.b, abi.Bytes(&h)...)
}

func (b *builder) end() {
	binary.LittleEndian.PutUint32(b.b[b.last:], uint32(len(b.b)-b.last))
	b.align()
}

func (b *builder) align() {
	for len(b.b)%abi.NLMSG_ALIGN != 0 {
		b.b = append(b.b, 0)
	}
}

// attr adds an attribute.
func (b *builder) attr(typ uint16, data []byte) {
	h := abi.Nlattr{Len: uint16(4 + len(data)), Type: typ}
	b.b = append(b.b, abi.Bytes(&h)...)
	b.b = append(b.b, data...)
	b.align()
}

func (b *builder) u8(typ uint16, v uint8)   { b.attr(typ, []byte{v}) }
func (b *builder) u32(typ uint16, v uint32) { b.attr(typ, binary.LittleEndian.AppendUint32(nil, v)) }
func (b *builder) str(typ uint16, s string) { b.attr(typ, append([]byte(s), 0)) }
func (b *builder) ip(typ uint16, a netip.Addr) {
	b.attr(typ, a.AsSlice())
}

// Attributes of links that the headers for user space of this Go have no name for.
const (
	iflaAllmulti        = 61
	iflaGROIPv4MaxSize  = 64
	iflaGSOIPv4MaxSize  = 63
	iflaTSOMaxSize      = 59
	iflaTSOMaxSegs      = 60
	iflaGROMaxSize      = 58
	iflaPacing          = 66
	iflaNetnsImmutable  = 67
	iflaXDP             = 43
	iflaXDPAttached     = 2
	iflaCarrierUp       = 47
	iflaCarrierDown     = 48
	iflaStats           = 7
	iflaMap             = 14
	ifaProto            = 11
	nestedXDP           = 5
	linkStatsWords      = 24
	linkStats64Trailing = 1
)

// link is rtnl_fill_ifinfo; change is the flags that have just changed.
func (b *builder) link(d *socket.Iface, change uint32, typ, flags uint16, seq, pid uint32) {
	b.begin(typ, flags, seq, pid)
	m := abi.Ifinfomsg{Type: d.Type, Index: d.Index, Flags: d.Running(), Change: change}
	b.b = append(b.b, abi.Bytes(&m)...)
	b.str(abi.IFLA_IFNAME, d.Name)
	b.u32(abi.IFLA_TXQLEN, d.TxQLen)
	oper, qdisc := uint8(abi.IF_OPER_UNKNOWN), "noqueue"
	if !d.Up() {
		oper, qdisc = abi.IF_OPER_DOWN, "noop"
	}
	b.u8(abi.IFLA_OPERSTATE, oper)
	b.u8(abi.IFLA_LINKMODE, 0)
	b.u8(iflaNetnsImmutable, 1)
	b.u32(abi.IFLA_MTU, d.MTU)
	b.u32(abi.IFLA_MIN_MTU, 0)
	b.u32(abi.IFLA_MAX_MTU, 0)
	b.u32(abi.IFLA_GROUP, d.Group)
	b.u32(abi.IFLA_PROMISCUITY, 0)
	b.u32(iflaAllmulti, 0)
	b.u32(abi.IFLA_NUM_TX_QUEUES, 1)
	b.u32(abi.IFLA_GSO_MAX_SEGS, 65535)
	b.u32(abi.IFLA_GSO_MAX_SIZE, 65536)
	b.u32(iflaGROMaxSize, 65536)
	b.u32(iflaGSOIPv4MaxSize, 65536)
	b.u32(iflaGROIPv4MaxSize, 65536)
	b.u32(iflaTSOMaxSize, 524280)
	b.u32(iflaTSOMaxSegs, 65535)
	b.u32(iflaPacing, 0)
	b.u32(abi.IFLA_NUM_RX_QUEUES, 1)
	b.u8(abi.IFLA_CARRIER, 1)
	b.u32(abi.IFLA_CARRIER_CHANGES, 0)
	b.u32(iflaCarrierUp, 0)
	b.u32(iflaCarrierDown, 0)
	b.u8(abi.IFLA_PROTO_DOWN, 0)
	b.attr(abi.IFLA_ADDRESS, d.HWAddr[:])
	b.attr(abi.IFLA_BROADCAST, make([]byte, 6))
	var st abi.RtnlLinkStats64
	b.attr(abi.IFLA_STATS64, abi.Bytes(&st))
	b.attr(iflaStats, make([]byte, 4*linkStatsWords))
	b.attr(iflaXDP, []byte{nestedXDP, 0, iflaXDPAttached, 0, 0, 0, 0, 0})
	b.str(abi.IFLA_QDISC, qdisc)
	if d.Alias != "" {
		b.str(abi.IFLA_IFALIAS, d.Alias)
	}
	b.attr(iflaMap, make([]byte, 32))
	b.end()
}

// family is the number of an address's family.
func family(a netip.Addr) uint8 {
	if a.Is4() {
		return abi.AF_INET
	}
	return abi.AF_INET6
}

// addr is inet_fill_ifaddr and inet6_fill_ifaddr.
func (b *builder) addr(d *socket.Iface, a *socket.IfAddr, typ, flags uint16, seq, pid uint32) {
	b.begin(typ, flags, seq, pid)
	local := a.Prefix.Addr()
	m := abi.Ifaddrmsg{Family: family(local), Prefixlen: uint8(a.Prefix.Bits()), Flags: uint8(a.Flags), Scope: a.Scope, Index: uint32(d.Index)}
	b.b = append(b.b, abi.Bytes(&m)...)
	ci := abi.IfaCacheinfo{Prefered: a.Preferred, Valid: a.Valid, Cstamp: a.Created, Tstamp: a.Updated}
	peer := local
	if a.Peer.IsValid() {
		peer = a.Peer
	}
	if local.Is6() {
		if peer != local {
			b.ip(abi.IFA_LOCAL, local)
		}
		b.ip(abi.IFA_ADDRESS, peer)
		b.attr(abi.IFA_CACHEINFO, abi.Bytes(&ci))
		b.u32(abi.IFA_FLAGS, a.Flags)
		if a.Proto != 0 {
			b.u8(ifaProto, a.Proto)
		}
	} else {
		b.ip(abi.IFA_ADDRESS, peer)
		b.ip(abi.IFA_LOCAL, local)
		if a.Broadcast.IsValid() {
			b.ip(abi.IFA_BROADCAST, a.Broadcast)
		}
		if a.Label != "" {
			b.str(abi.IFA_LABEL, a.Label)
		}
		if a.Proto != 0 {
			b.u8(ifaProto, a.Proto)
		}
		b.u32(abi.IFA_FLAGS, a.Flags)
		b.attr(abi.IFA_CACHEINFO, abi.Bytes(&ci))
	}
	b.end()
}

// route is fib_dump_info and rt6_fill_node.
func (b *builder) route(r *socket.Route, typ, flags uint16, seq, pid uint32) {
	b.begin(typ, flags, seq, pid)
	m := abi.Rtmsg{Family: family(r.Dst.Addr()), DstLen: uint8(r.Dst.Bits()), Tos: r.Tos, Table: uint8(min(r.Table, 255)), Protocol: r.Protocol,
		Scope: r.Scope, Type: r.Type, Flags: r.Flags}
	if r.Table > 255 {
		m.Table = abi.RT_TABLE_COMPAT
	}
	b.b = append(b.b, abi.Bytes(&m)...)
	b.u32(abi.RTA_TABLE, r.Table)
	if r.Dst.Bits() > 0 {
		b.ip(abi.RTA_DST, r.Dst.Addr())
	}
	v6 := r.Dst.Addr().Is6()
	if v6 || r.Priority != 0 {
		b.u32(abi.RTA_PRIORITY, r.Priority)
	}
	if r.PrefSrc.IsValid() {
		b.ip(abi.RTA_PREFSRC, r.PrefSrc)
	}
	if r.Gateway.IsValid() {
		b.ip(abi.RTA_GATEWAY, r.Gateway)
	}
	if r.Index != 0 {
		b.u32(abi.RTA_OIF, uint32(r.Index))
	}
	if v6 {
		var ci abi.RtaCacheinfo
		b.attr(abi.RTA_CACHEINFO, abi.Bytes(&ci))
		b.u8(abi.RTA_PREF, 0)
	}
	b.end()
}
