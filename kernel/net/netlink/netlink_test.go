package netlink

import (
	"encoding/binary"
	"fmt"
	"slices"
	"testing"

	"goum/arch/abi"
	"goum/kernel/net/socket/sockettest"
)

type session = sockettest.Session

func machine(t testing.TB) (*sockettest.Machine, *Family) {
	m := sockettest.NewMachine(t, 2)
	f := Register(m.Net)
	t.Cleanup(func() {
		if len(f.ports) != 0 || m.Net.Buffered() != 0 {
			t.Errorf("left: %d ports, %d bytes", len(f.ports), m.Net.Buffered())
		}
	})
	return m, f
}

func compare(t *testing.T, newNet bool, script func(s *session)) {
	t.Helper()
	m, _ := machine(t)
	sockettest.Compare(t, m, newNet, script)
}

const dontwait = abi.MSG_DONTWAIT

// msg is a netlink message with a body and attributes in it.
func msg(typ, flags uint16, body ...[]byte) []byte {
	b := builder{}
	b.begin(typ, flags|abi.NLM_F_REQUEST, 7, 0)
	for _, p := range body {
		b.b = append(b.b, p...)
	}
	b.end()
	return b.b
}

func att(typ uint16, data []byte) []byte {
	b := builder{}
	b.attr(typ, data)
	return b.b
}

func ifinfo(index int32, flags, change uint32) []byte {
	m := abi.Ifinfomsg{Index: index, Flags: flags, Change: change}
	return append([]byte(nil), abi.Bytes(&m)...)
}

func ifaddr(fam, plen uint8, index uint32) []byte {
	m := abi.Ifaddrmsg{Family: fam, Prefixlen: plen, Index: index}
	return append([]byte(nil), abi.Bytes(&m)...)
}

func rtmsg(fam, plen uint8) []byte {
	m := abi.Rtmsg{Family: fam, DstLen: plen, Table: abi.RT_TABLE_MAIN, Protocol: abi.RTPROT_BOOT, Type: abi.RTN_UNICAST}
	return append([]byte(nil), abi.Bytes(&m)...)
}

func u32(v uint32) []byte { return binary.LittleEndian.AppendUint32(nil, v) }

// unequal are attributes of links that differ between machines or are not given.
var unequal = map[uint16]bool{abi.IFLA_STATS64: true, iflaStats: true, abi.IFLA_AF_SPEC: true, 62: true, 65: true, 68: true, 69: true, abi.IFLA_CARRIER_CHANGES: true,
	iflaCarrierUp: true, iflaCarrierDown: true}

// ask sends a request, and logs all answers.
func ask(s *session, fd int, what string, req []byte) {
	n, e := s.Calls.Send(fd, req, 0, nil, nil, nil)
	s.Log("%s: %d %s", what, n, e.Name())
	answers(s, fd)
}

func answers(s *session, fd int) {
	var lines []string
	for {
		r, e := s.Calls.Recv(fd, 32768, dontwait, 0)
		if e != 0 {
			lines = append(lines, "  "+e.Name())
			break
		}
		for b := r.Data; len(b) >= 16; {
			n := int(binary.LittleEndian.Uint32(b))
			if n < 16 || n > len(b) {
				lines = append(lines, "  broken")
				break
			}
			lines = append(lines, "  "+show(b[:n]))
			b = b[min((n+3)&^3, len(b)):]
		}
	}
	// A dump's order of routes is not what a program sees.
	if len(lines) > 2 {
		slices.Sort(lines[:len(lines)-2])
	}
	for _, l := range lines {
		s.Log("%s", l)
	}
}

func show(b []byte) string {
	typ, flags := binary.LittleEndian.Uint16(b[4:]), binary.LittleEndian.Uint16(b[6:])
	out := fmt.Sprintf("%d %#x seq %d", typ, flags, binary.LittleEndian.Uint32(b[8:]))
	head := map[uint16]int{abi.RTM_NEWLINK: 16, abi.RTM_NEWADDR: 8, abi.RTM_NEWROUTE: 12, abi.RTM_DELADDR: 8, abi.RTM_DELROUTE: 12}[typ]
	b = b[16:]
	if head == 0 {
		if typ == abi.NLMSG_ERROR {
			b = append([]byte(nil), b...)
			copy(b[4+12:], []byte{0, 0, 0, 0}) // the number of the sender in the copy of the request
		}
		return out + fmt.Sprintf(" %x", b)
	}
	out += fmt.Sprintf(" %x", b[:head])
	var as []string
	for b = b[head:]; len(b) >= 4; {
		n, at := int(binary.LittleEndian.Uint16(b)), binary.LittleEndian.Uint16(b[2:])&abi.NLA_TYPE_MASK
		if n < 4 || n > len(b) {
			return out + " broken"
		}
		v := b[4:n]
		switch {
		case typ == abi.RTM_NEWLINK && unequal[at]:
		case (typ == abi.RTM_NEWADDR || typ == abi.RTM_DELADDR) && at == abi.IFA_CACHEINFO:
			as = append(as, fmt.Sprintf("%d=%x", at, v[:8]))
		case typ == abi.RTM_NEWLINK && at == iflaXDP:
			as = append(as, fmt.Sprintf("%d=%x", at, v[:5]))
		default:
			as = append(as, fmt.Sprintf("%d=%x", at, v))
		}
		b = b[min((n+3)&^3, len(b)):]
	}
	return out + fmt.Sprint(as)
}

func TestSocket(t *testing.T) {
	compare(t, false, func(s *session) {
		for _, typ := range []int{abi.SOCK_RAW, abi.SOCK_DGRAM, abi.SOCK_STREAM} {
			for _, p := range []int{abi.NETLINK_ROUTE, abi.NETLINK_USERSOCK, abi.NETLINK_KOBJECT_UEVENT, 32, -1} {
				s.Socket(abi.AF_NETLINK, typ, p)
			}
		}
		fd := s.Socket(abi.AF_NETLINK, abi.SOCK_RAW, abi.NETLINK_ROUTE)
		s.Pair(abi.AF_NETLINK, abi.SOCK_RAW, abi.NETLINK_ROUTE)
		s.Name(fd, true)
		s.Bind(fd, []byte{16, 0})
		s.Bind(fd, make([]byte, 12))
		nl := abi.SockaddrNl{Family: abi.AF_NETLINK, Groups: 0x11}
		s.Listen(fd, 1)
		s.Accept(fd, 0)
		s.Shutdown(fd, 2)
		s.Bind(fd, abi.Bytes(&nl))
		s.GetOpt(fd, abi.SOL_NETLINK, abi.NETLINK_LIST_MEMBERSHIPS, 4)
		s.Poll(fd)
		s.Send(fd, "", 0)
		s.Send(fd, "short", 0)
		s.Recv(fd, 100, dontwait)
		nl.Pid = 1 << 29
		s.Bind(fd, abi.Bytes(&nl))
		for _, o := range []int{abi.NETLINK_ADD_MEMBERSHIP, abi.NETLINK_DROP_MEMBERSHIP, abi.NETLINK_PKTINFO, abi.NETLINK_EXT_ACK, abi.NETLINK_CAP_ACK,
			abi.NETLINK_GET_STRICT_CHK, abi.NETLINK_NO_ENOBUFS, 77} {
			for _, v := range []int{0, 3, 1000, 0} {
				s.SetInt(fd, abi.SOL_NETLINK, o, v)
				s.GetOpt(fd, abi.SOL_NETLINK, o, 4)
			}
			s.GetOpt(fd, abi.SOL_NETLINK, o, 2)
		}
		s.SetInt(fd, 5, 1, 1)
		s.GetOpt(fd, 5, 1, 4)
		s.GetOpt(fd, abi.SOL_SOCKET, abi.SO_ACCEPTCONN, 4)
		nl = abi.SockaddrNl{Family: abi.AF_NETLINK}
		s.Connect(fd, abi.Bytes(&nl))
		s.Connect(fd, []byte{1})
		s.Connect(fd, []byte{1, 0})
	})
}

func TestRoute(t *testing.T) {
	compare(t, true, func(s *session) {
		fd := s.Socket(abi.AF_NETLINK, abi.SOCK_RAW, abi.NETLINK_ROUTE)
		watch := s.Socket(abi.AF_NETLINK, abi.SOCK_RAW, abi.NETLINK_ROUTE)
		nl := abi.SockaddrNl{Family: abi.AF_NETLINK, Groups: 1 | 1<<4 | 1<<8}
		s.Quietly(func() { s.Bind(watch, abi.Bytes(&nl)) })
		dump, ack := uint16(abi.NLM_F_DUMP), uint16(abi.NLM_F_ACK)
		gen := make([]byte, 16)
		lo := func(typ, flags uint16, more ...[]byte) []byte {
			return msg(typ, flags, append([][]byte{ifinfo(1, 0, 0)}, more...)...)
		}

		ask(s, fd, "links of a fresh machine", msg(abi.RTM_GETLINK, dump, gen))
		ask(s, fd, "addresses", msg(abi.RTM_GETADDR, dump, gen[:8]))
		ask(s, fd, "lo by index", lo(abi.RTM_GETLINK, 0))
		ask(s, fd, "lo by name", msg(abi.RTM_GETLINK, ack, gen, att(abi.IFLA_IFNAME, []byte("lo\x00"))))
		ask(s, fd, "no such name", msg(abi.RTM_GETLINK, 0, gen, att(abi.IFLA_IFNAME, []byte("no\x00"))))
		ask(s, fd, "no such index", msg(abi.RTM_GETLINK, 0, ifinfo(9, 0, 0)))
		ask(s, fd, "nothing named", msg(abi.RTM_GETLINK, 0, gen))
		ask(s, fd, "unknown type", msg(250, 0, gen))
		ask(s, fd, "no request", func() []byte { b := msg(abi.RTM_GETLINK, ack, gen); b[6] &^= 1; return b }())
		ask(s, fd, "done as a request", msg(abi.NLMSG_DONE, ack, gen))
		ask(s, fd, "two at once", append(lo(abi.RTM_GETLINK, ack), msg(250, 0, gen)...))
		ask(s, fd, "cut", lo(abi.RTM_GETLINK, ack)[:30])
		ask(s, fd, "up", msg(abi.RTM_NEWLINK, ack, ifinfo(1, abi.IFF_UP, abi.IFF_UP)))
		ask(s, watch, "told", []byte{0})
		ask(s, fd, "links when up", msg(abi.RTM_GETLINK, dump, gen))
		ask(s, fd, "addresses when up", msg(abi.RTM_GETADDR, dump, gen[:8]))
		ask(s, fd, "of IPv4", msg(abi.RTM_GETADDR, dump, append([]byte{2}, gen[:7]...)))
		ask(s, fd, "of IPv6", msg(abi.RTM_GETADDR, dump, append([]byte{10}, gen[:7]...)))
		ask(s, fd, "routes of IPv4", msg(abi.RTM_GETROUTE, dump, rtmsg(2, 0)))
		ask(s, fd, "up again", msg(abi.RTM_SETLINK, ack, ifinfo(1, abi.IFF_UP, abi.IFF_UP)))
		ask(s, fd, "mtu", lo(abi.RTM_SETLINK, ack, att(abi.IFLA_MTU, u32(1500)), att(abi.IFLA_TXQLEN, u32(5))))
		ask(s, fd, "mtu of 2 bytes", lo(abi.RTM_SETLINK, ack, att(abi.IFLA_MTU, []byte{1, 2})))
		ask(s, fd, "name when up", lo(abi.RTM_SETLINK, ack, att(abi.IFLA_IFNAME, []byte("lox\x00"))))
		ask(s, fd, "address of another name", msg(abi.RTM_GETADDR, dump, append([]byte{2}, gen[:7]...)))
		ask(s, fd, "name back", lo(abi.RTM_SETLINK, ack, att(abi.IFLA_IFNAME, []byte("lo\x00"))))
		ask(s, fd, "new link of no kind", msg(abi.RTM_NEWLINK, ack|abi.NLM_F_CREATE|abi.NLM_F_EXCL, gen, att(abi.IFLA_IFNAME, []byte("x0\x00"))))
		ask(s, fd, "new link exists", msg(abi.RTM_NEWLINK, ack|abi.NLM_F_CREATE|abi.NLM_F_EXCL, gen, att(abi.IFLA_IFNAME, []byte("lo\x00"))))
		ask(s, fd, "delete lo", lo(abi.RTM_DELLINK, ack))
		ten := []byte{10, 0, 0, 1}
		four := func(typ, flags uint16, plen uint8, more ...[]byte) []byte {
			return msg(typ, flags, append([][]byte{ifaddr(2, plen, 1)}, more...)...)
		}
		ask(s, fd, "add 10.0.0.1/24", four(abi.RTM_NEWADDR, ack|abi.NLM_F_CREATE|abi.NLM_F_EXCL, 24, att(abi.IFA_LOCAL, ten), att(abi.IFA_ADDRESS, ten)))
		ask(s, fd, "again", four(abi.RTM_NEWADDR, ack|abi.NLM_F_CREATE|abi.NLM_F_EXCL, 24, att(abi.IFA_LOCAL, ten)))
		ask(s, fd, "replace", four(abi.RTM_NEWADDR, ack|abi.NLM_F_CREATE|abi.NLM_F_REPLACE, 24, att(abi.IFA_LOCAL, ten)))
		ask(s, fd, "no address", four(abi.RTM_NEWADDR, ack, 24))
		ask(s, fd, "no such device", msg(abi.RTM_NEWADDR, ack, ifaddr(2, 24, 7), att(abi.IFA_LOCAL, ten)))
		ask(s, fd, "prefix", four(abi.RTM_NEWADDR, ack, 33, att(abi.IFA_LOCAL, ten)))
		ask(s, fd, "short address", four(abi.RTM_NEWADDR, ack, 24, att(abi.IFA_LOCAL, []byte{1, 2})))
		ask(s, fd, "IPv6", msg(abi.RTM_NEWADDR, ack|abi.NLM_F_CREATE, ifaddr(10, 64, 1), att(abi.IFA_LOCAL, []byte{0xfd, 15: 1}), att(abi.IFA_FLAGS, u32(2))))
		ask(s, fd, "addresses", msg(abi.RTM_GETADDR, dump, append([]byte{2}, gen[:7]...)))
		ask(s, fd, "delete", four(abi.RTM_DELADDR, ack, 24, att(abi.IFA_LOCAL, ten)))
		ask(s, fd, "delete again", four(abi.RTM_DELADDR, ack, 24, att(abi.IFA_LOCAL, ten)))
		ask(s, fd, "route away", msg(abi.RTM_GETROUTE, 0, rtmsg(2, 32), att(abi.RTA_DST, []byte{8, 8, 8, 8})))
		ask(s, fd, "add route", msg(abi.RTM_NEWROUTE, ack|abi.NLM_F_CREATE|abi.NLM_F_EXCL, rtmsg(2, 8), att(abi.RTA_DST, []byte{20, 0, 0, 0}), att(abi.RTA_OIF, u32(1))))
		ask(s, fd, "again", msg(abi.RTM_NEWROUTE, ack|abi.NLM_F_CREATE|abi.NLM_F_EXCL, rtmsg(2, 8), att(abi.RTA_DST, []byte{20, 0, 0, 0}), att(abi.RTA_OIF, u32(1))))
		ask(s, fd, "bits behind the prefix", msg(abi.RTM_NEWROUTE, ack|abi.NLM_F_CREATE, rtmsg(2, 8), att(abi.RTA_DST, []byte{20, 0, 0, 1}), att(abi.RTA_OIF, u32(1))))
		ask(s, fd, "no way to the gateway", msg(abi.RTM_NEWROUTE, ack|abi.NLM_F_CREATE, rtmsg(2, 0), att(abi.RTA_GATEWAY, []byte{9, 9, 9, 9})))
		ask(s, fd, "no device", msg(abi.RTM_NEWROUTE, ack|abi.NLM_F_CREATE, rtmsg(2, 8), att(abi.RTA_DST, []byte{30, 0, 0, 0}), att(abi.RTA_OIF, u32(6))))
		ask(s, fd, "routes", msg(abi.RTM_GETROUTE, dump, rtmsg(2, 0)))
		ask(s, fd, "delete route", msg(abi.RTM_DELROUTE, ack, rtmsg(2, 8), att(abi.RTA_DST, []byte{20, 0, 0, 0})))
		ask(s, fd, "delete again", msg(abi.RTM_DELROUTE, ack, rtmsg(2, 8), att(abi.RTA_DST, []byte{20, 0, 0, 0})))
		s.SetInt(fd, abi.SOL_NETLINK, abi.NETLINK_CAP_ACK, 1)
		ask(s, fd, "capped", msg(250, 0, gen))
		ask(s, fd, "neighbours", msg(abi.RTM_GETNEIGH, dump, gen[:12]))
		ask(s, fd, "down", msg(abi.RTM_NEWLINK, ack, ifinfo(1, 0, abi.IFF_UP)))
		ask(s, fd, "addresses when down", msg(abi.RTM_GETADDR, dump, gen[:8]))
	})
}

// FuzzRequest gives the kernel any bytes: it must not panic, and answers are well formed.
func FuzzRequest(f *testing.F) {
	f.Add(msg(abi.RTM_GETLINK, abi.NLM_F_DUMP, make([]byte, 16)))
	f.Add(msg(abi.RTM_NEWADDR, abi.NLM_F_ACK, ifaddr(2, 24, 1), att(abi.IFA_LOCAL, []byte{1, 2, 3, 4})))
	f.Add(msg(abi.RTM_NEWROUTE, abi.NLM_F_CREATE, rtmsg(10, 64), att(abi.RTA_DST, make([]byte, 16)), att(abi.RTA_OIF, u32(1))))
	f.Add(msg(abi.RTM_SETLINK, 5, ifinfo(1, 1, 1), att(abi.IFLA_IFNAME, []byte("lo"))))
	m, _ := machine(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		m.Run(func(v *sockettest.Virtual) {
			fd, _ := v.Socket(abi.AF_NETLINK, abi.SOCK_RAW, 0)
			v.Send(fd, b, 0, nil, nil, nil)
			for {
				r, e := v.Recv(fd, 1<<16, dontwait, 0)
				if e == abi.EAGAIN {
					break
				}
				for d := r.Data; len(d) > 0; {
					n := int(binary.LittleEndian.Uint32(d))
					if n < 16 || (n+3)&^3 > len(d) {
						t.Fatalf("answer %x", r.Data)
					}
					d = d[(n+3)&^3:]
				}
			}
		})
	})
}
