package proc

import (
	"fmt"
	"maps"
	"slices"

	"goum/kernel/fs/made"
	"goum/kernel/fs/vfs"
)

// Heads of the tables of /proc/net, as Linux pads them.
var emptyNet = map[string]string{
	"dev": "Inter-|   Receive                                                |  Transmit\n" +
		" face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed\n" +
		"    lo:       0       0    0    0    0     0          0         0        0       0    0    0    0     0       0          0\n",
	"unix":      "Num       RefCount Protocol Flags    Type St Inode Path\n",
	"tcp":       fmt.Sprintf("%-149s\n", "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode"),
	"tcp6":      "  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n",
	"udp":       fmt.Sprintf("%-127s\n", "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops"),
	"udp6":      "  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops\n",
	"raw":       fmt.Sprintf("%-127s\n", "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops"),
	"route":     fmt.Sprintf("%-127s\n", "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT"),
	"arp":       "IP address       HW type     Flags       HW address            Mask     Device\n",
	"if_inet6":  "",
	"netlink":   "sk               Eth Pid        Groups   Rmem     Wmem     Dump  Locks    Drops    Inode\n",
	"packet":    "sk               RefCnt Type Proto  Iface R Rmem   User   Inode\n",
	"sockstat":  "sockets: used 0\nTCP: inuse 0 orphan 0 tw 0 alloc 0 mem 0\nUDP: inuse 0 mem 0\nUDPLITE: inuse 0\nRAW: inuse 0\nFRAG: inuse 0 memory 0\n",
	"protocols": "protocol  size sockets  memory press maxhdr  slab module     cl co di ac io in de sh ss gs se re bi br ha uh gp em\n",
}

// newNetDir makes /proc/PID/net: there is one network, so that all are alike.
func newNetDir(d *dir, _ made.Meta) vfs.Node { return d.netDir() }

func (f *FS) netDir() *made.Dir {
	f.netOnce.Do(func() {
		f.netNode = f.tree.Dir()
		for _, name := range slices.Sorted(maps.Keys(emptyNet)) {
			if f.Net[name] == nil {
				made.Add(f.netNode, name, f.tree.Const(emptyNet[name]))
			}
		}
		for _, name := range slices.Sorted(maps.Keys(f.Net)) {
			text := f.Net[name]
			made.Add(f.netNode, name, f.tree.Content(text))
		}
	})
	return f.netNode
}
