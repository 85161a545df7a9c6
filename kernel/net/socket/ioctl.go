package socket

import (
	"encoding/binary"
	"net/netip"

	"goum/arch/abi"
	"goum/kernel/fs/vfs"
)

// SockIoc is the type byte of ioctls that are for sockets: anything else is ENOTTY.
const sockIoc = 0x89

// Ioctl is ioctl(2) on a socket, in the order of sock_ioctl: the protocol's own first, then those of devices. ENOTTY.
func (s *Socket) Ioctl(c *vfs.Caller, cmd uint32, arg uint64) (uint64, abi.Errno) {
	r, e := s.Ops.Ioctl(c, cmd, arg)
	if e != ENOIOCTLCMD {
		return r, e
	}
	switch {
	case cmd == abi.SIOCGIFCONF:
		return 0, s.ifconf(c, arg)
	case cmd>>8&0xff != sockIoc:
		return 0, abi.ENOTTY
	}
	return 0, s.devIoctl(c, cmd, arg)
}

// PutInt stores a C int for an ioctl: EFAULT.
func PutInt(c *vfs.Caller, arg uint64, v int) (uint64, abi.Errno) {
	return 0, c.User.Store32(arg, uint32(v))
}

// ifconf is dev_ifconf: the IPv4 addresses of all devices, each as a struct ifreq.
func (s *Socket) ifconf(c *vfs.Caller, arg uint64) abi.Errno {
	var ifc abi.Ifconf
	if e := c.User.CopyIn(abi.Bytes(&ifc), arg); e != 0 {
		return e
	}
	var out []abi.Ifreq
	for _, d := range s.Net.Ifaces.List() {
		for _, a := range d.Addrs {
			if !a.Prefix.Addr().Is4() || len(out) == maxIfreqs {
				continue
			}
			var r abi.Ifreq
			copy(r.Name[:15], a.Label)
			putInet(&r, a.Prefix.Addr())
			out = append(out, r)
		}
	}
	size := len(abi.SliceBytes(out))
	if ifc.Buf != 0 {
		if ifc.Len < 0 {
			size = 0
		} else {
			size = min(size, int(ifc.Len)/40*40)
		}
		if size > 0 {
			if e := c.User.CopyOut(ifc.Buf, abi.SliceBytes(out)[:size]); e != 0 {
				return e
			}
		}
	}
	ifc.Len = int32(size)
	return c.User.CopyOut(arg, abi.Bytes(&ifc))
}

// putInet writes a struct sockaddr_in.
func putInet(r *abi.Ifreq, a netip.Addr) {
	r.Data = [24]byte{}
	binary.LittleEndian.PutUint16(r.Data[:], abi.AF_INET)
	if a.IsValid() {
		b := a.As4()
		copy(r.Data[4:], b[:])
	}
}

// mask4 is a netmask as an address.
func mask4(bits int) netip.Addr {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], ^uint32(0)<<(32-bits))
	return netip.AddrFrom4(b)
}

// devIoctl is dev_ioctl, and for inet sockets devinet_ioctl before it.
func (s *Socket) devIoctl(c *vfs.Caller, cmd uint32, arg uint64) abi.Errno {
	var r abi.Ifreq
	if e := c.User.CopyIn(abi.Bytes(&r), arg); e != 0 {
		return e
	}
	r.Name[15] = 0
	get, e := s.doIoctl(c, cmd, &r)
	if e != 0 || !get {
		return e
	}
	return c.User.CopyOut(arg, abi.Bytes(&r))
}

// doIoctl answers whether r is to be given back.
func (s *Socket) doIoctl(c *vfs.Caller, cmd uint32, r *abi.Ifreq) (get bool, e abi.Errno) {
	ifs := s.Net.Ifaces
	n := func(v uint32) { r.Data = [24]byte{}; binary.LittleEndian.PutUint32(r.Data[:], v) }
	arg := binary.LittleEndian.Uint32(r.Data[:])
	name := cstring(r.Name[:])
	if cmd == abi.SIOCGIFNAME {
		d, ok := ifs.ByIndex(int32(arg))
		if !ok {
			return false, abi.ENODEV
		}
		r.Name = [16]byte{}
		copy(r.Name[:], d.Name)
		return true, 0
	}
	base := name
	for i := range base {
		if base[i] == ':' { // an alias of old: lo:1
			base = base[:i]
			break
		}
	}
	switch cmd {
	case abi.SIOCSIFFLAGS, abi.SIOCSIFMETRIC, abi.SIOCSIFMTU, abi.SIOCSIFHWADDR, abi.SIOCSIFTXQLEN, abi.SIOCSIFNAME, abi.SIOCSIFADDR, abi.SIOCSIFNETMASK,
		abi.SIOCSIFBRDADDR, abi.SIOCSIFDSTADDR, abi.SIOCSIFMAP, abi.SIOCADDMULTI, abi.SIOCDELMULTI, abi.SIOCSIFHWBROADCAST:
		if !c.Cred.Has(abi.CAP_NET_ADMIN) {
			return false, abi.EPERM
		}
	case abi.SIOCGIFFLAGS, abi.SIOCGIFMETRIC, abi.SIOCGIFMTU, abi.SIOCGIFHWADDR, abi.SIOCGIFMAP, abi.SIOCGIFINDEX, abi.SIOCGIFTXQLEN, abi.SIOCGIFSLAVE, abi.SIOCGIFMEM:
	case abi.SIOCGIFADDR, abi.SIOCGIFNETMASK, abi.SIOCGIFBRDADDR, abi.SIOCGIFDSTADDR:
		if s.Family != abi.AF_INET {
			return false, abi.ENOTTY
		}
	case abi.SIOCETHTOOL:
		if _, ok := ifs.ByName(base); !ok {
			return false, abi.ENODEV
		}
		return false, abi.EOPNOTSUPP
	default:
		return false, abi.ENOTTY
	}
	d, ok := ifs.ByName(base)
	if !ok {
		return false, abi.ENODEV
	}
	switch cmd {
	case abi.SIOCGIFFLAGS:
		r.Data = [24]byte{}
		binary.LittleEndian.PutUint16(r.Data[:], uint16(d.Running()))
	case abi.SIOCGIFMETRIC:
		n(0)
	case abi.SIOCGIFMTU:
		n(d.MTU)
	case abi.SIOCGIFINDEX:
		n(uint32(d.Index))
	case abi.SIOCGIFTXQLEN:
		n(d.TxQLen)
	case abi.SIOCGIFMAP:
		r.Data = [24]byte{}
	case abi.SIOCGIFHWADDR:
		r.Data = [24]byte{}
		binary.LittleEndian.PutUint16(r.Data[:], d.Type)
		copy(r.Data[2:], d.HWAddr[:])
	case abi.SIOCGIFSLAVE, abi.SIOCGIFMEM:
		return false, abi.EINVAL
	case abi.SIOCGIFADDR, abi.SIOCGIFNETMASK, abi.SIOCGIFBRDADDR, abi.SIOCGIFDSTADDR:
		return true, d.ioctlAddr(cmd, name, r)
	case abi.SIOCSIFFLAGS:
		fl := uint32(int32(int16(arg)))
		return false, ifs.SetFlags(d.Index, fl, 0xffff)
	case abi.SIOCSIFMETRIC:
		return false, abi.EOPNOTSUPP
	case abi.SIOCSIFMTU:
		return false, ifs.SetMTU(d.Index, arg)
	case abi.SIOCSIFTXQLEN:
		return false, ifs.SetTxQLen(d.Index, arg)
	case abi.SIOCSIFHWADDR:
		if uint16(arg) != d.Type {
			return false, abi.EINVAL
		}
		return false, abi.EOPNOTSUPP // the loopback driver has no way to set it
	case abi.SIOCSIFNAME:
		return false, ifs.Rename(d.Index, cstring(r.Data[:16]))
	case abi.SIOCSIFADDR, abi.SIOCSIFNETMASK, abi.SIOCSIFBRDADDR, abi.SIOCSIFDSTADDR:
		if s.Family != abi.AF_INET {
			return false, abi.ENOTTY
		}
		return false, ifs.ioctlSet(&d, cmd, name, r)
	default:
		return false, abi.EOPNOTSUPP
	}
	return true, 0
}

// first is the address of label, or the first.
func (d *Iface) first(label string) (IfAddr, bool) {
	for _, a := range d.Addrs {
		if a.Prefix.Addr().Is4() && a.Label == label {
			return a, true
		}
	}
	return IfAddr{}, false
}

func (d *Iface) ioctlAddr(cmd uint32, label string, r *abi.Ifreq) abi.Errno {
	a, ok := d.first(label)
	if !ok {
		return abi.EADDRNOTAVAIL
	}
	switch cmd {
	case abi.SIOCGIFADDR:
		putInet(r, a.Prefix.Addr())
	case abi.SIOCGIFNETMASK:
		putInet(r, mask4(a.Prefix.Bits()))
	case abi.SIOCGIFBRDADDR:
		putInet(r, a.Broadcast)
	case abi.SIOCGIFDSTADDR:
		if putInet(r, a.Prefix.Addr()); a.Peer.IsValid() {
			putInet(r, a.Peer)
		}
	}
	return 0
}

// ioctlSet is the writing half of devinet_ioctl.
func (n *Interfaces) ioctlSet(d *Iface, cmd uint32, label string, r *abi.Ifreq) abi.Errno {
	if binary.LittleEndian.Uint16(r.Data[:]) != abi.AF_INET {
		return abi.EINVAL
	}
	addr := netip.AddrFrom4([4]byte(r.Data[4:8]))
	a, ok := d.first(label)
	if !ok && cmd != abi.SIOCSIFADDR {
		return abi.EADDRNOTAVAIL
	}
	switch cmd {
	case abi.SIOCSIFADDR:
		if addr.As4()[0]&0xf0 == 0xe0 {
			return abi.EINVAL
		}
		if ok {
			if a.Prefix.Addr() == addr {
				return 0
			}
			n.DelAddr(d.Index, a.Prefix.Addr(), a.Prefix.Bits(), label)
		}
		if addr.IsUnspecified() {
			return 0
		}
		v := IfAddr{Prefix: netip.PrefixFrom(addr, classBits(addr)), Flags: abi.IFA_F_PERMANENT, Label: label, Preferred: Forever, Valid: Forever}
		if addr.IsLoopback() {
			v.Scope = abi.RT_SCOPE_HOST
		}
		if e := n.AddAddr(d.Index, v, false); e != 0 {
			return e
		}
		return n.SetFlags(d.Index, abi.IFF_UP, abi.IFF_UP)
	case abi.SIOCSIFNETMASK:
		m := binary.BigEndian.Uint32(r.Data[4:])
		bits := 0
		for ; bits < 32 && m&(1<<(31-bits)) != 0; bits++ {
		}
		if m != ^uint32(0)<<(32-bits) {
			return abi.EINVAL
		}
		if bits == a.Prefix.Bits() {
			return 0
		}
		n.DelAddr(d.Index, a.Prefix.Addr(), a.Prefix.Bits(), label)
		a.Prefix = netip.PrefixFrom(a.Prefix.Addr(), bits)
	case abi.SIOCSIFBRDADDR:
		a.Broadcast = addr
	case abi.SIOCSIFDSTADDR:
		a.Peer = addr
	}
	return n.AddAddr(d.Index, a, true)
}

// classBits is inet_abc_len: the prefix that an address had when networks had classes.
func classBits(a netip.Addr) int {
	switch b := a.As4()[0]; {
	case b < 128:
		return 8
	case b < 192:
		return 16
	}
	return 24
}
