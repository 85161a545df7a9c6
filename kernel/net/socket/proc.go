package socket

import (
	"encoding/binary"
	"fmt"
	"maps"
	"strings"

	"goum/arch/abi"
	"goum/kernel/fs/vfs"
)

// AddProc makes text the content of /proc/net/name. Families do so when they are registered.
func (n *Net) AddProc(name string, text func() string) {
	if n.proc == nil {
		n.proc = map[string]func(*vfs.Caller) string{}
	}
	n.proc[name] = func(*vfs.Caller) string { return text() }
}

// ProcFiles is the files of /proc/net that this machine's network has, once all families are registered: for proc.Config.
func (n *Net) ProcFiles() map[string]func(*vfs.Caller) string {
	n.AddProc("dev", n.Ifaces.procDev)
	n.AddProc("route", n.Ifaces.procRoute)
	n.AddProc("if_inet6", n.Ifaces.procIfInet6)
	n.AddProc("sockstat", func() string { return fmt.Sprintf("sockets: used %d\n", n.Sockets()) })
	return maps.Clone(n.proc)
}

// procDev is /proc/net/dev.
func (n *Interfaces) procDev() string {
	var b strings.Builder
	b.WriteString("Inter-|   Receive                                                |  Transmit\n" +
		" face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed\n")
	for _, d := range n.List() {
		s := n.Stats(d.Index)
		fmt.Fprintf(&b, "%6s: %7d %7d %4d %4d %4d %5d %10d %9d %8d %7d %4d %4d %4d %5d %7d %10d\n", d.Name, s.Bytes, s.Packets, 0, 0, 0, 0, 0, 0,
			s.Bytes, s.Packets, 0, 0, 0, 0, 0, 0)
	}
	return b.String()
}

// procRoute is /proc/net/route: the main table of IPv4, each line 127 characters long.
func (n *Interfaces) procRoute() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%-127s\n", "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT")
	for _, r := range n.Routes() {
		if r.Table != abi.RT_TABLE_MAIN || !r.Dst.Addr().Is4() {
			continue
		}
		name := "*"
		if d, ok := n.ByIndex(r.Index); ok {
			name = d.Name
		}
		dst := r.Dst.Addr().As4()
		var gw [4]byte
		flags := 1 // RTF_UP
		if r.Gateway.IsValid() {
			gw, flags = r.Gateway.As4(), flags|2
		}
		if r.Dst.Bits() == 32 {
			flags |= 4
		}
		if r.Type == abi.RTN_UNREACHABLE || r.Type == abi.RTN_PROHIBIT {
			flags |= 0x200
		}
		mask := mask4(r.Dst.Bits()).As4()
		fmt.Fprintf(&b, "%-127s\n", fmt.Sprintf("%s\t%08X\t%08X\t%04X\t%d\t%d\t%d\t%08X\t%d\t%d\t%d", name, binary.LittleEndian.Uint32(dst[:]),
			binary.LittleEndian.Uint32(gw[:]), flags, 0, 0, r.Priority, binary.LittleEndian.Uint32(mask[:]), 0, 0, 0))
	}
	return b.String()
}

// procIfInet6 is /proc/net/if_inet6.
func (n *Interfaces) procIfInet6() string {
	var b strings.Builder
	for _, d := range n.List() {
		for _, a := range d.Addrs {
			if !a.Prefix.Addr().Is6() {
				continue
			}
			scope := 0 // IPV6_ADDR_SCOPE_MASK of the kind of address
			switch a.Scope {
			case abi.RT_SCOPE_HOST:
				scope = 0x10
			case abi.RT_SCOPE_LINK:
				scope = 0x20
			}
			fmt.Fprintf(&b, "%x %02x %02x %02x %02x %8s\n", a.Prefix.Addr().As16(), d.Index, a.Prefix.Bits(), scope, uint8(a.Flags), d.Name)
		}
	}
	return b.String()
}

// IfStats is what went through a device; on lo all that is sent is received.
type IfStats struct{ Packets, Bytes uint64 }

// Stats is the counters of a device.
func (n *Interfaces) Stats(index int32) IfStats {
	if f := n.stats.Load(); f != nil {
		return (*f)(index)
	}
	return IfStats{}
}

// SetStats says who counts.
func (n *Interfaces) SetStats(f func(index int32) IfStats) { n.stats.Store(&f) }
