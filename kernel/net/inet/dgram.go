package inet

import (
	"bytes"
	"encoding/binary"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/waiter"

	"goum/arch/abi"
	"goum/kernel/fs/vfs"
	"goum/kernel/net/socket"
	"goum/mm"
)

// sendDatagram is udp_sendmsg and ping_v4_sendmsg: EMSGSIZE, EOPNOTSUPP, EINVAL, EAFNOSUPPORT, EDESTADDRREQ, ENETUNREACH, ECONNREFUSED (what came back for an
// earlier one), EAGAIN, EFAULT.
func (k *sock) sendDatagram(c *vfs.Caller, src *mm.Buf, flags uint32, m *socket.Msg) (int, abi.Errno) {
	n := src.Len()
	if n > maxDatagram {
		return 0, abi.EMSGSIZE
	}
	if flags&abi.MSG_OOB != 0 {
		return 0, abi.EOPNOTSUPP
	}
	if k.shut.Load()&2 != 0 {
		return 0, abi.EPIPE
	}
	if e := k.autobind(k.ep.Load()); e != 0 {
		return 0, e
	}
	s := scratches.Get().(*scratch)
	defer scratches.Put(s)
	var opts tcpip.WriteOptions
	if m != nil && len(m.Addr.Bytes()) > 0 {
		b := m.Addr.Bytes()
		if !k.v6() && len(b) >= 16 && binary.LittleEndian.Uint16(b) == abi.AF_UNSPEC {
			b[0] = abi.AF_INET
		}
		a, port, e := k.parse(b)
		switch {
		case e != 0:
			return 0, e
		case port == 0 && !k.raw && k.s.Protocol == abi.IPPROTO_UDP:
			return 0, abi.EINVAL
		}
		if a = loop(a); !k.f.reaches(a) {
			if a.Is4() && a.As4() == [4]byte{255, 255, 255, 255} && !k.s.Bool(abi.SO_BROADCAST) {
				return 0, abi.EACCES
			}
			return 0, abi.ENETUNREACH
		}
		s.write = full(a, port)
		opts.To = &s.write
	}
	s.n, s.b = 0, s.b[:cap(s.b)]
	data := s.b[:n]
	if got, e := src.Read(data); got < n {
		if e == 0 {
			e = abi.EFAULT
		}
		return 0, e
	}
	ep := k.ep.Load()
	deadline := k.s.SendDeadline(flags&abi.MSG_DONTWAIT != 0)
	for {
		_, err := ep.Write(bytes.NewReader(data), opts)
		switch e := errno(err); {
		case e == 0:
			return n, 0
		case e == abi.EAGAIN:
			if e := k.s.Wait(c, socket.WriteEvents, deadline, func() bool { return ep.Readiness(waiter.WritableEvents) != 0 }); e != 0 {
				return 0, e
			}
		default:
			return 0, e
		}
	}
}

// recvDatagram is udp_recvmsg: the pending error, EAGAIN, EFAULT (the datagram is lost).
func (k *sock) recvDatagram(c *vfs.Caller, dst *mm.Buf, flags uint32, m *socket.Msg) (int, abi.Errno) {
	deadline := k.s.RecvDeadline(flags&abi.MSG_DONTWAIT != 0)
	ep := k.ep.Load()
	s := scratches.Get().(*scratch)
	defer scratches.Put(s)
	for {
		lockGate(&k.rgate, c)
		s.n, s.b = 0, s.b[:cap(s.b)]
		r, err := ep.Read(s, tcpip.ReadOptions{Peek: flags&abi.MSG_PEEK != 0, NeedRemoteAddr: true})
		k.rgate.Unlock()
		if err != nil {
			e := errno(err)
			if _, end := err.(*tcpip.ErrClosedForReceive); end || e == abi.EAGAIN && k.shut.Load()&1 != 0 && deadline != socket.NoWait {
				return 0, 0
			}
			if e != abi.EAGAIN {
				return 0, e
			}
			e = k.s.Wait(c, socket.ReadEvents, deadline, func() bool {
				return ep.Readiness(waiter.ReadableEvents)&(waiter.ReadableEvents|waiter.EventErr) != 0 || k.shut.Load()&1 != 0
			})
			if e != 0 {
				return 0, e
			}
			continue
		}
		n := min(s.n, dst.Len())
		if w, e := dst.Write(s.b[:n]); w < n {
			if e == 0 {
				e = abi.EFAULT
			}
			return 0, e
		}
		if m != nil {
			if n < r.Total {
				m.Flags |= abi.MSG_TRUNC
			}
			if k.s.Protocol != abi.IPPROTO_UDP {
				r.RemoteAddr.Port = 0
			}
			k.put(&m.Addr, r.RemoteAddr)
			k.putControl(m, &r.ControlMessages)
		}
		if flags&abi.MSG_TRUNC != 0 {
			return r.Total, 0
		}
		return n, 0
	}
}

// putControl tells what IP_RECVTTL and its like ask for.
func (k *sock) putControl(m *socket.Msg, cm *tcpip.ReceivableControlMessages) {
	i32 := func(v uint32) []byte { return binary.LittleEndian.AppendUint32(nil, v) }
	if cm.HasIPPacketInfo {
		b := i32(uint32(cm.PacketInfo.NIC))
		b = append(b, cm.PacketInfo.LocalAddr.AsSlice()...)
		b = append(b, cm.PacketInfo.DestinationAddr.AsSlice()...)
		m.Put(abi.IPPROTO_IP, abi.IP_PKTINFO, b)
	}
	if cm.HasTTL {
		m.Put(abi.IPPROTO_IP, abi.IP_TTL, i32(uint32(cm.TTL)))
	}
	if cm.HasTOS {
		m.Put(abi.IPPROTO_IP, abi.IP_TOS, []byte{cm.TOS})
	}
	if cm.HasIPv6PacketInfo {
		a := cm.IPv6PacketInfo.Addr
		b := make([]byte, 0, 20)
		if a.Len() == 16 {
			b = append(b, a.AsSlice()...)
		} else {
			b = append(append(append(b, make([]byte, 10)...), 0xff, 0xff), a.AsSlice()...)
		}
		m.Put(abi.IPPROTO_IPV6, abi.IPV6_PKTINFO, append(b[:min(len(b), 16)], i32(uint32(cm.IPv6PacketInfo.NIC))...))
	}
	if cm.HasHopLimit {
		m.Put(abi.IPPROTO_IPV6, abi.IPV6_HOPLIMIT, i32(uint32(cm.HopLimit)))
	}
	if cm.HasTClass {
		m.Put(abi.IPPROTO_IPV6, abi.IPV6_TCLASS, i32(cm.TClass))
	}
}

// checkControl is ip_cmsg_send and sock_cmsg_send: what is malformed or unknown is EINVAL. Addresses and devices to send from are lo's
// anyway, and TTL and TOS of one datagram make no difference there.
func (k *sock) checkControl(c *vfs.Caller, m *socket.Msg) abi.Errno {
	return socket.EachCmsg(m.Control, func(cm socket.Cmsg) abi.Errno {
		switch {
		case cm.Level == abi.SOL_SOCKET:
			switch cm.Type {
			case abi.SCM_RIGHTS, abi.SCM_CREDENTIALS: // ignored: they are unix sockets'
				return 0
			}
			return abi.EINVAL
		case k.stream():
			return 0
		case cm.Level == abi.IPPROTO_IP && cm.Type == abi.IP_PKTINFO && len(cm.Data) == 12:
			return 0
		case cm.Level == abi.IPPROTO_IP && (cm.Type == abi.IP_TTL || cm.Type == abi.IP_TOS) && len(cm.Data) >= 1:
			return 0
		case cm.Level == abi.IPPROTO_IPV6 && k.v6():
			return 0
		case cm.Level == abi.IPPROTO_IP:
			return abi.EINVAL
		}
		return 0
	})
}
