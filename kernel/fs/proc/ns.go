package proc

import (
	"fmt"

	"goum/arch/abi"
	"goum/kernel/fs/made"
	"goum/kernel/fs/vfs"
)

// namespaces are the initial ones, with the numbers that Linux gives them.
var namespaces = [...]struct {
	name, kind string
	ino        uint32
}{
	{"net", "net", 0xf0000000 - 167}, {"uts", "uts", 0xeffffffe}, {"ipc", "ipc", 0xefffffff}, {"pid", "pid", 0xeffffffc},
	{"pid_for_children", "pid", 0xeffffffc}, {"user", "user", 0xeffffffd}, {"mnt", "mnt", 0xf0000000 - 8}, {"cgroup", "cgroup", 0xeffffffb},
	{"time", "time", 0xeffffffa}, {"time_for_children", "time", 0xeffffffa},
}

// newNSDir makes /proc/PID/ns: links that can be read and compared, but lead nowhere, since there is no setns(2).
func newNSDir(d *dir, m made.Meta) vfs.Node {
	n := &nsDir{Dir: d.tree.Dir(), dir: d}
	n.Dir.Meta = m
	for _, ns := range namespaces {
		text := fmt.Sprintf("%s:[%d]", ns.kind, ns.ino)
		l := d.tree.Link(func(c *vfs.Caller) (string, abi.Errno) {
			if !callerMay(c, d.task) {
				return "", abi.EACCES
			}
			return text, 0
		})
		made.Add(n.Dir, ns.name, l)
	}
	return n
}

type nsDir struct {
	*made.Dir
	dir *dir
}
