package inet

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"gvisor.dev/gvisor/pkg/tcpip"

	"goum/arch/abi"
)

// list is the sockets of a kind, by inode number.
func (f *Family) list(family, protocol int32) (ks []*sock) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for k := range f.socks {
		if k.s.Family == family && k.s.Protocol == protocol && !k.raw && len(ks) < maxShown {
			ks = append(ks, k)
		}
	}
	slices.SortFunc(ks, func(a, b *sock) int { return cmp.Compare(a.s.Ino(), b.s.Ino()) })
	return ks
}

// hexAddr shows an address as /proc/net does: words of 32 bits in the processor's order.
func hexAddr(a tcpip.FullAddress, v6 bool) string {
	n := 4
	if v6 {
		n = 16
	}
	b := make([]byte, n)
	switch {
	case a.Addr.Len() == n:
		copy(b, a.Addr.AsSlice())
	case a.Addr.Len() == 4:
		b[10], b[11] = 0xff, 0xff
		copy(b[12:], a.Addr.AsSlice())
	}
	var s strings.Builder
	for i := 0; i < n; i += 4 {
		fmt.Fprintf(&s, "%08X", binary.LittleEndian.Uint32(b[i:]))
	}
	fmt.Fprintf(&s, ":%04X", a.Port)
	return s.String()
}

// ProcTCP is /proc/net/tcp, or tcp6.
func (f *Family) ProcTCP(v6 bool) string {
	return f.proc(v6, abi.IPPROTO_TCP, "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode",
		"  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode", 149)
}

// The heads of /proc/net/udp and udp6.
const (
	head4UDP = "   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops"
	head6UDP = "  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops"
)

// ProcUDP is /proc/net/udp, or udp6.
func (f *Family) ProcUDP(v6 bool) string {
	return f.proc(v6, abi.IPPROTO_UDP, head4UDP, head6UDP, 127)
}

func (f *Family) proc(v6 bool, protocol int32, head4, head6 string, width int) string {
	family, head := int32(abi.AF_INET), head4
	if v6 {
		family, head, width = abi.AF_INET6, head6, 0
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%-*s\n", width, head)
	sl := 0
	for _, k := range f.list(family, protocol) {
		ep := k.ep.Load()
		local, err := ep.GetLocalAddress()
		if err != nil || local.Port == 0 {
			continue
		}
		remote, err := ep.GetRemoteAddress()
		st := uint8(abi.TCP_CLOSE)
		if k.stream() {
			st = linuxState(ep.tcpState())
		} else if err == nil {
			st = abi.TCP_ESTABLISHED
		}
		if err != nil {
			remote = tcpip.FullAddress{}
		}
		rx, _ := ep.GetSockOptInt(tcpip.ReceiveQueueSizeOption)
		tx, _ := ep.GetSockOptInt(tcpip.SendQueueSizeOption)
		line := fmt.Sprintf("%4d: %s %s %02X %08X:%08X 00:00000000 00000000 %5d        0 %d 2 0000000000000000 0", sl, hexAddr(local, v6), hexAddr(remote, v6), st,
			max(tx, 0), max(rx, 0), k.s.UID(), k.s.Ino())
		fmt.Fprintf(&b, "%-*s\n", width, line)
		sl++
	}
	return b.String()
}
