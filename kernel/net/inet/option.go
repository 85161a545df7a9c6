package inet

import (
	"encoding/binary"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"

	"goum/arch/abi"
	"goum/kernel/fs/vfs"
)

// Changed passes an option of level SOL_SOCKET on to netstack.
func (k *sock) Changed(name int32) { k.change(k.ep.Load(), name) }

func (k *sock) change(ep *endpoint, name int32) {
	o := ep.SocketOptions()
	switch name {
	case abi.SO_REUSEADDR:
		o.SetReuseAddress(k.s.Bool(name))
	case abi.SO_REUSEPORT:
		o.SetReusePort(k.s.Bool(name))
	case abi.SO_KEEPALIVE:
		o.SetKeepAlive(k.s.Bool(name))
	case abi.SO_BROADCAST:
		o.SetBroadcast(k.s.Bool(name))
	case abi.SO_NO_CHECK:
		o.SetNoChecksum(k.s.Bool(name))
	case abi.SO_LINGER:
		on, sec := k.s.Linger()
		o.SetLinger(tcpip.LingerOption{Enabled: on, Timeout: time.Duration(min(sec, 1<<30)) * time.Second})
	case abi.SO_SNDBUF, abi.SO_SNDBUFFORCE:
		o.SetSendBufferSize(int64(min(max(int(k.s.SndBuf.Load()), minBuffer), k.f.share())), true)
	case abi.SO_RCVBUF, abi.SO_RCVBUFFORCE:
		o.SetReceiveBufferSize(int64(min(max(int(k.s.RcvBuf.Load()), minBuffer), k.f.share())), true)
	case abi.SO_BINDTODEVICE:
		o.SetBindToDevice(k.s.BoundDevice())
	}
}

// copyOptions gives a new endpoint the options of the one that it replaces.
func (k *sock) copyOptions(to, from *endpoint) {
	for _, name := range []int32{abi.SO_REUSEADDR, abi.SO_REUSEPORT, abi.SO_KEEPALIVE, abi.SO_LINGER, abi.SO_BINDTODEVICE} {
		k.change(to, name)
	}
	a, b := from.SocketOptions(), to.SocketOptions()
	b.SetReceiveBufferSize(a.GetReceiveBufferSize(), false)
	b.SetSendBufferSize(a.GetSendBufferSize(), false)
	b.SetV6Only(a.GetV6Only())
	b.SetDelayOption(a.GetDelayOption())
	b.SetCorkOption(a.GetCorkOption())
	for _, o := range []tcpip.SockOptInt{tcpip.IPv4TOSOption, tcpip.IPv4TTLOption, tcpip.IPv6HopLimitOption, tcpip.IPv6TrafficClassOption} {
		if v, err := from.GetSockOptInt(o); err == nil {
			to.SetSockOptInt(o, v)
		}
	}
}

// intOf is the value of an option: EINVAL. Options of IP may be one byte long.
func intOf(val []byte, short bool) (int32, abi.Errno) {
	switch {
	case len(val) >= 4:
		return int32(binary.LittleEndian.Uint32(val)), 0
	case len(val) >= 1 && short:
		return int32(val[0]), 0
	}
	return 0, abi.EINVAL
}

// SetOption is do_tcp_setsockopt, do_ip_setsockopt and do_ipv6_setsockopt: EINVAL, ENOPROTOOPT, EPERM.
func (k *sock) SetOption(c *vfs.Caller, level, name int32, val []byte) abi.Errno {
	ep := k.ep.Load()
	switch {
	case level == abi.IPPROTO_TCP && k.stream():
		return k.setTCP(ep, name, val)
	case level == abi.IPPROTO_IP:
		return k.setIP(ep, name, val)
	case level == abi.IPPROTO_IPV6 && k.v6():
		return k.setIPv6(ep, name, val)
	case level == abi.SOL_RAW && k.raw:
		return 0 // ICMP_FILTER: of what is received all is passed on
	}
	return abi.ENOPROTOOPT
}

func (k *sock) setTCP(ep *endpoint, name int32, val []byte) abi.Errno {
	o := ep.SocketOptions()
	if name == abi.TCP_CONGESTION {
		s := string(val)
		for i := range val {
			if val[i] == 0 {
				s = string(val[:i])
				break
			}
		}
		if s == "" {
			return abi.EINVAL
		}
		if s != "reno" && s != "cubic" {
			return abi.ENOENT
		}
		cc := tcpip.CongestionControlOption(s)
		return errno(ep.SetSockOpt(&cc))
	}
	v, e := intOf(val, false)
	if e != 0 {
		return e
	}
	seconds := func(most int32) (time.Duration, abi.Errno) {
		if v < 1 || v > most {
			return 0, abi.EINVAL
		}
		return time.Duration(v) * time.Second, 0
	}
	switch name {
	case abi.TCP_NODELAY:
		o.SetDelayOption(v == 0)
	case abi.TCP_CORK:
		o.SetCorkOption(v != 0)
	case abi.TCP_QUICKACK:
		o.SetQuickAck(v != 0)
	case abi.TCP_MAXSEG:
		if v != 0 && (v < 88 || v > 32767) {
			return abi.EINVAL
		}
		if v != 0 {
			return errno(ep.SetSockOptInt(tcpip.MaxSegOption, int(v)))
		}
	case abi.TCP_KEEPIDLE:
		d, e := seconds(32767)
		if e != 0 {
			return e
		}
		t := tcpip.KeepaliveIdleOption(d)
		return errno(ep.SetSockOpt(&t))
	case abi.TCP_KEEPINTVL:
		d, e := seconds(32767)
		if e != 0 {
			return e
		}
		t := tcpip.KeepaliveIntervalOption(d)
		return errno(ep.SetSockOpt(&t))
	case abi.TCP_KEEPCNT:
		if v < 1 || v > 127 {
			return abi.EINVAL
		}
		return errno(ep.SetSockOptInt(tcpip.KeepaliveCountOption, int(v)))
	case abi.TCP_SYNCNT:
		if v < 1 || v > 127 {
			return abi.EINVAL
		}
		return errno(ep.SetSockOptInt(tcpip.TCPSynCountOption, int(v)))
	case abi.TCP_USER_TIMEOUT:
		if v < 0 {
			return abi.EINVAL
		}
		t := tcpip.TCPUserTimeoutOption(time.Duration(v) * time.Millisecond)
		return errno(ep.SetSockOpt(&t))
	case abi.TCP_DEFER_ACCEPT:
		t := tcpip.TCPDeferAcceptOption(time.Duration(max(v, 0)) * time.Second)
		return errno(ep.SetSockOpt(&t))
	case abi.TCP_LINGER2:
		t := tcpip.TCPLingerTimeoutOption(time.Duration(v) * time.Second)
		return errno(ep.SetSockOpt(&t))
	default:
		return abi.ENOPROTOOPT
	}
	return 0
}

func (k *sock) setIP(ep *endpoint, name int32, val []byte) abi.Errno {
	o := ep.SocketOptions()
	v, e := intOf(val, true)
	switch name {
	case abi.IP_ADD_MEMBERSHIP, abi.IP_DROP_MEMBERSHIP, abi.IP_MULTICAST_IF:
		if len(val) < 8 {
			return abi.EINVAL
		}
		return abi.ENODEV // lo is not for groups
	}
	if e != 0 {
		return e
	}
	switch name {
	case abi.IP_TTL:
		if v != -1 && (v < 1 || v > 255) {
			return abi.EINVAL
		}
		if v == -1 {
			v = 64
		}
		return errno(ep.SetSockOptInt(tcpip.IPv4TTLOption, int(v)))
	case abi.IP_TOS:
		if k.stream() {
			v &^= 3
		}
		return errno(ep.SetSockOptInt(tcpip.IPv4TOSOption, int(v&0xff)))
	case abi.IP_RECVTTL:
		o.SetReceiveTTL(v != 0)
	case abi.IP_RECVTOS:
		o.SetReceiveTOS(v != 0)
	case abi.IP_PKTINFO:
		o.SetReceivePacketInfo(v != 0)
	case abi.IP_RECVERR:
		k.recverr.Store(v != 0)
		if v == 0 {
			return 0
		}
		return 0
	case abi.IP_MTU_DISCOVER:
		if v < 0 || v > 5 {
			return abi.EINVAL
		}
		k.pmtudisc.Store(v)
	case abi.IP_MULTICAST_TTL:
		if k.stream() || v < -1 || v > 255 {
			return abi.EINVAL
		}
		return errno(ep.SetSockOptInt(tcpip.MulticastTTLOption, int(max(v, 1))))
	case abi.IP_MULTICAST_LOOP:
		if k.stream() {
			return abi.EINVAL
		}
		o.SetMulticastLoop(v != 0)
	case abi.IP_BIND_ADDRESS_NO_PORT, abi.IP_FREEBIND:
		if v != 0 && name == abi.IP_FREEBIND {
			return abi.EPERM
		}
	case abi.IP_HDRINCL:
		if !k.raw {
			return abi.ENOPROTOOPT
		}
		o.SetHeaderIncluded(v != 0)
	default:
		return abi.ENOPROTOOPT
	}
	return 0
}

func (k *sock) setIPv6(ep *endpoint, name int32, val []byte) abi.Errno {
	o := ep.SocketOptions()
	v, e := intOf(val, false)
	if e != 0 {
		return e
	}
	switch name {
	case abi.IPV6_V6ONLY:
		if a, err := ep.GetLocalAddress(); err == nil && a.Port != 0 {
			return abi.EINVAL
		}
		o.SetV6Only(v != 0)
	case abi.IPV6_UNICAST_HOPS:
		if v < -1 || v > 255 {
			return abi.EINVAL
		}
		return errno(ep.SetSockOptInt(tcpip.IPv6HopLimitOption, int(v)))
	case abi.IPV6_MULTICAST_HOPS:
		if k.stream() {
			return abi.ENOPROTOOPT
		}
		if v < -1 || v > 255 {
			return abi.EINVAL
		}
	case abi.IPV6_TCLASS:
		if v < -1 || v > 255 {
			return abi.EINVAL
		}
		return errno(ep.SetSockOptInt(tcpip.IPv6TrafficClassOption, int(max(v, 0))))
	case abi.IPV6_RECVTCLASS:
		o.SetReceiveTClass(v != 0)
	case abi.IPV6_RECVHOPLIMIT:
		o.SetReceiveHopLimit(v != 0)
	case abi.IPV6_RECVPKTINFO:
		o.SetIPv6ReceivePacketInfo(v != 0)
	case abi.IPV6_MULTICAST_LOOP:
		if v != 0 && v != 1 {
			return abi.EINVAL
		}
		o.SetMulticastLoop(v != 0)
	case abi.IPV6_RECVERR:
		k.recverr.Store(v != 0)
	case abi.IPV6_MTU_DISCOVER:
		if v < 0 || v > 5 {
			return abi.EINVAL
		}
		k.pmtudisc.Store(v)
	case abi.IPV6_CHECKSUM:
		return 0
	default:
		return abi.ENOPROTOOPT
	}
	return 0
}

// GetOption is do_tcp_getsockopt, do_ip_getsockopt and do_ipv6_getsockopt: ENOPROTOOPT.
func (k *sock) GetOption(c *vfs.Caller, level, name int32, room int) ([]byte, abi.Errno) {
	ep := k.ep.Load()
	o := ep.SocketOptions()
	n := func(v int) ([]byte, abi.Errno) { return binary.LittleEndian.AppendUint32(nil, uint32(v)), 0 }
	b := func(v bool) ([]byte, abi.Errno) {
		if v {
			return n(1)
		}
		return n(0)
	}
	num := func(opt tcpip.SockOptInt) ([]byte, abi.Errno) {
		v, err := ep.GetSockOptInt(opt)
		if err != nil {
			return nil, errno(err)
		}
		return n(v)
	}
	switch {
	case level == abi.IPPROTO_TCP && k.stream():
		return k.getTCP(ep, name)
	case level == abi.IPPROTO_IP:
		switch name {
		case abi.IP_TTL:
			v, err := ep.GetSockOptInt(tcpip.IPv4TTLOption)
			if err != nil || v == 0 {
				v = 64
			}
			return n(v)
		case abi.IP_TOS:
			return num(tcpip.IPv4TOSOption)
		case abi.IP_RECVTTL:
			return b(o.GetReceiveTTL())
		case abi.IP_RECVTOS:
			return b(o.GetReceiveTOS())
		case abi.IP_PKTINFO:
			return b(o.GetReceivePacketInfo())
		case abi.IP_RECVERR:
			return b(k.recverr.Load())
		case abi.IP_MTU_DISCOVER:
			return n(int(k.pmtudisc.Load()))
		case abi.IP_MULTICAST_TTL:
			return num(tcpip.MulticastTTLOption)
		case abi.IP_MULTICAST_LOOP:
			return b(o.GetMulticastLoop())
		case abi.IP_BIND_ADDRESS_NO_PORT, abi.IP_FREEBIND, abi.IP_TRANSPARENT:
			return n(0)
		case abi.IP_OPTIONS:
			return []byte{}, 0
		case abi.IP_MTU:
			if _, err := ep.GetRemoteAddress(); err != nil {
				return nil, abi.ENOTCONN
			}
			return n(65536)
		case abi.IP_HDRINCL:
			if k.raw {
				return b(o.GetHeaderIncluded())
			}
		}
	case level == abi.IPPROTO_IPV6 && k.v6():
		switch name {
		case abi.IPV6_V6ONLY:
			return b(o.GetV6Only())
		case abi.IPV6_UNICAST_HOPS, abi.IPV6_MULTICAST_HOPS:
			v, err := ep.GetSockOptInt(tcpip.IPv6HopLimitOption)
			if err != nil || v < 0 {
				if v = 64; name == abi.IPV6_MULTICAST_HOPS {
					v = 1
				}
			}
			return n(v)
		case abi.IPV6_TCLASS:
			return num(tcpip.IPv6TrafficClassOption)
		case abi.IPV6_RECVTCLASS:
			return b(o.GetReceiveTClass())
		case abi.IPV6_RECVHOPLIMIT:
			return b(o.GetReceiveHopLimit())
		case abi.IPV6_RECVPKTINFO:
			return b(o.GetIPv6ReceivePacketInfo())
		case abi.IPV6_MULTICAST_LOOP:
			return b(o.GetMulticastLoop())
		case abi.IPV6_RECVERR:
			return b(k.recverr.Load())
		case abi.IPV6_MTU_DISCOVER:
			return n(int(k.pmtudisc.Load()))
		}
	case !k.v6() && !(level == abi.IPPROTO_UDP && k.s.Protocol == abi.IPPROTO_UDP):
		return nil, abi.EOPNOTSUPP
	}
	return nil, abi.ENOPROTOOPT
}

func (k *sock) getTCP(ep *endpoint, name int32) ([]byte, abi.Errno) {
	o := ep.SocketOptions()
	n := func(v int) ([]byte, abi.Errno) { return binary.LittleEndian.AppendUint32(nil, uint32(v)), 0 }
	flag := func(v bool) ([]byte, abi.Errno) {
		if v {
			return n(1)
		}
		return n(0)
	}
	switch name {
	case abi.TCP_NODELAY:
		return flag(!o.GetDelayOption())
	case abi.TCP_CORK:
		return flag(o.GetCorkOption())
	case abi.TCP_QUICKACK:
		return flag(o.GetQuickAck())
	case abi.TCP_MAXSEG:
		if !connected(ep.tcpState()) {
			return n(536)
		}
		v, err := ep.GetSockOptInt(tcpip.MaxSegOption)
		if err != nil {
			return nil, errno(err)
		}
		return n(v)
	case abi.TCP_KEEPIDLE:
		var v tcpip.KeepaliveIdleOption
		ep.GetSockOpt(&v)
		return n(int(time.Duration(v) / time.Second))
	case abi.TCP_KEEPINTVL:
		var v tcpip.KeepaliveIntervalOption
		ep.GetSockOpt(&v)
		return n(int(time.Duration(v) / time.Second))
	case abi.TCP_KEEPCNT:
		v, _ := ep.GetSockOptInt(tcpip.KeepaliveCountOption)
		return n(v)
	case abi.TCP_SYNCNT:
		v, _ := ep.GetSockOptInt(tcpip.TCPSynCountOption)
		return n(v)
	case abi.TCP_USER_TIMEOUT:
		var v tcpip.TCPUserTimeoutOption
		ep.GetSockOpt(&v)
		return n(int(time.Duration(v) / time.Millisecond))
	case abi.TCP_DEFER_ACCEPT:
		var v tcpip.TCPDeferAcceptOption
		ep.GetSockOpt(&v)
		return n(int(time.Duration(v) / time.Second))
	case abi.TCP_LINGER2:
		var v tcpip.TCPLingerTimeoutOption
		ep.GetSockOpt(&v)
		return n(int(time.Duration(v) / time.Second))
	case abi.TCP_CONGESTION:
		var v tcpip.CongestionControlOption
		if err := ep.GetSockOpt(&v); err != nil {
			return nil, errno(err)
		}
		b := make([]byte, 16) // TCP_CA_NAME_MAX
		copy(b[:15], v)
		return b, 0
	case abi.TCP_INFO:
		var v tcpip.TCPInfoOption
		if err := ep.GetSockOpt(&v); err != nil {
			return nil, errno(err)
		}
		us := func(d time.Duration) uint32 { return uint32(d / time.Microsecond) }
		i := abi.TCPInfo{State: linuxState(ep.tcpState()), CaState: uint8(v.CcState), Rto: us(v.RTO), Rtt: us(v.RTT), Rttvar: us(v.RTTVar),
			SndCwnd: v.SndCwnd, SndSsthresh: v.SndSsthresh}
		if m, err := ep.GetSockOptInt(tcpip.MaxSegOption); err == nil {
			i.SndMss, i.RcvMss, i.Advmss = uint32(m), uint32(m), uint32(m)
		}
		i.Pmtu = 65536
		return append([]byte(nil), abi.Bytes(&i)...), 0
	}
	return nil, abi.ENOPROTOOPT
}

// linuxState is a state as TCP_INFO and /proc/net/tcp show it.
func linuxState(s tcp.EndpointState) uint8 {
	switch {
	case s >= tcp.StateEstablished && s <= tcp.StateClosing:
		return uint8(s)
	case s == tcp.StateConnecting:
		return abi.TCP_SYN_SENT
	}
	return abi.TCP_CLOSE
}
