package netlink

import (
	"encoding/binary"

	"goum/arch/abi"
	"goum/arch/lock"
	"goum/kernel/fs/vfs"
	"goum/kernel/net/socket"
)

// Family makes netlink sockets.
type Family struct {
	net *socket.Net

	mu    lock.Mutex[lock.OpenFile]
	ports map[port]*sock // guarded by mu: bound sockets
	next  uint32         // guarded by mu: where the search for a free number starts
}

type port struct {
	protocol int32
	id       uint32
}

// Register makes AF_NETLINK known to n.
func Register(n *socket.Net) *Family {
	f := &Family{net: n, ports: map[port]*sock{}}
	n.Register(abi.AF_NETLINK, f)
	n.Ifaces.Watch(f.changed)
	return f
}

// Create is netlink_create: ESOCKTNOSUPPORT, EPROTONOSUPPORT.
func (f *Family) Create(c *vfs.Caller, s *socket.Socket) abi.Errno {
	if s.Type != abi.SOCK_RAW && s.Type != abi.SOCK_DGRAM {
		return abi.ESOCKTNOSUPPORT
	}
	switch s.Protocol {
	case abi.NETLINK_ROUTE, abi.NETLINK_USERSOCK, abi.NETLINK_KOBJECT_UEVENT:
	default:
		return abi.EPROTONOSUPPORT
	}
	s.Ops = &sock{f: f, s: s}
	return 0
}

// take gives k the port id: EADDRINUSE, EINVAL (it has another). 0 is any: that of the process, if it is free.
func (f *Family) take(c *vfs.Caller, k *sock, id uint32) abi.Errno {
	f.mu.Lock()
	defer f.mu.Unlock()
	if have := k.port.Load(); have != 0 {
		if id != 0 && id != have {
			return abi.EINVAL
		}
		return 0
	}
	if id == 0 {
		id = uint32(c.Tgid)
		for range len(f.ports) + 2 {
			if id != 0 && f.ports[port{k.s.Protocol, id}] == nil {
				break
			}
			f.next--
			if f.next > ^uint32(4096) || f.next < 1<<31 {
				f.next = ^uint32(4096) // as Linux: far from the numbers of processes
			}
			id = f.next
		}
	}
	p := port{k.s.Protocol, id}
	if f.ports[p] != nil {
		return abi.EADDRINUSE
	}
	f.ports[p] = k
	k.port.Store(id)
	return 0
}

func (f *Family) forget(k *sock) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if id := k.port.Load(); id != 0 {
		delete(f.ports, port{k.s.Protocol, id})
	}
}

func (f *Family) find(protocol int32, id uint32) *sock {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.ports[port{protocol, id}]
}

// broadcast gives data to all members of a group, but from.
func (f *Family) broadcast(protocol int32, group uint32, data []byte, from *sock, sender abi.Ucred) {
	var to []*sock
	f.mu.Lock()
	for p, k := range f.ports {
		if p.protocol == protocol && k != from && k.member(group) {
			to = append(to, k)
		}
	}
	f.mu.Unlock()
	var id uint32
	if from != nil {
		id = from.port.Load()
	}
	for _, k := range to {
		k.deliver(message{data: data, port: id, group: group, cred: sender})
	}
}

// changed tells the listeners of a change of the configuration.
func (f *Family) changed(ev socket.Event) {
	var b builder
	var group uint32
	switch ev.Kind {
	case socket.LinkChanged:
		group = abi.RTNLGRP_LINK
		b.link(&ev.Iface, ev.Flags, abi.RTM_NEWLINK, 0, 0, 0)
	case socket.AddrNew, socket.AddrGone:
		group = abi.RTNLGRP_IPV4_IFADDR
		if ev.Addr.Prefix.Addr().Is6() {
			group = abi.RTNLGRP_IPV6_IFADDR
		}
		typ := uint16(abi.RTM_NEWADDR)
		if ev.Kind == socket.AddrGone {
			typ = abi.RTM_DELADDR
		}
		b.addr(&ev.Iface, &ev.Addr, typ, 0, 0, 0)
	case socket.RouteNew, socket.RouteGone:
		group = abi.RTNLGRP_IPV4_ROUTE
		if ev.Route.Dst.Addr().Is6() {
			group = abi.RTNLGRP_IPV6_ROUTE
		}
		typ := uint16(abi.RTM_NEWROUTE)
		if ev.Kind == socket.RouteGone {
			typ = abi.RTM_DELROUTE
		}
		b.route(&ev.Route, typ, 0, 0, 0)
	}
	f.broadcast(abi.NETLINK_ROUTE, group, b.b, nil, abi.Ucred{})
}

// sockaddr is a struct sockaddr_nl.
func sockaddr(addr []byte) (id, groups uint32, e abi.Errno) {
	if len(addr) < 12 || binary.LittleEndian.Uint16(addr) != abi.AF_NETLINK {
		return 0, 0, abi.EINVAL
	}
	return binary.LittleEndian.Uint32(addr[4:]), binary.LittleEndian.Uint32(addr[8:]), 0
}
