// Package sys is sysfs: as much of it as programs look for in a machine without hardware. The Go runtime reads the size of huge pages, libraries
// count the processors.
//
// It owns nothing; all files are made (package made). File systems that a kernel can be built without, and that init tries to mount
// (securityfs, debugfs, cgroup ...), are simply not registered: mount(2) answers ENODEV.
//
// Locks: none of its own.
package sys

import (
	"fmt"
	"maps"
	"slices"

	"goum/arch/abi"
	"goum/kernel/fs/made"
	"goum/kernel/fs/vfs"
)

// Config is what sysfs shows of a machine.
type Config struct {
	CPUs int
	// Interfaces are the network interfaces under /sys/class/net, beside what a network package adds: name to index. nil: lo.
	Interfaces map[string]int
	// Console is the name of the terminal behind /dev/console: /sys/class/tty/console/active. It needs tty/console among Devices.
	Console string
	// Devices are character devices under /sys/class: "tty/console" to numbers.
	Devices map[string][2]uint32
}

// FS is a machine's sysfs.
type FS struct{ super *vfs.Super }

// Statfs is what Linux says of sysfs.
func (f *FS) Statfs(*vfs.Caller) (abi.Statfs, abi.Errno) {
	return abi.Statfs{Type: abi.SYSFS_MAGIC, Bsize: 4096, Frsize: 4096, Namelen: abi.NAME_MAX}, 0
}

// Register makes the sysfs of a machine and its type known to mount(2). There is one, however often it is mounted.
func Register(s *vfs.System, c Config) *FS {
	f := New(s, c)
	s.Register(vfs.Type{Name: "sysfs", Nodev: true,
		Mount: func(*vfs.Caller, string, uint32, string) (*vfs.Super, abi.Errno) { return f.super, 0 }})
	return f
}

// New makes the sysfs of a machine.
func New(s *vfs.System, c Config) *FS {
	now := func() int64 { return 0 }
	if s.Clock != nil {
		now = s.Clock.Realtime
	}
	t := made.NewTree(now)
	root := t.Dir()
	f := &FS{}
	b := builder{t}
	b.kernel(root.Sub(t, "kernel"))
	b.devices(root.Sub(t, "devices"), &c)
	b.class(root.Sub(t, "class"), &c)
	root.Sub(t, "block")
	bus := root.Sub(t, "bus")
	cpu := bus.Sub(t, "cpu").Sub(t, "devices")
	for n := range c.CPUs {
		name := fmt.Sprintf("cpu%d", n)
		made.Add(cpu, name, t.ConstLink("../../../devices/system/cpu/"+name))
	}
	dev := root.Sub(t, "dev")
	dev.Sub(t, "block")
	dev.Sub(t, "char")
	root.Sub(t, "firmware")
	fs := root.Sub(t, "fs")
	fs.Sub(t, "cgroup")
	root.Sub(t, "module")
	root.Sub(t, "power")
	f.super = vfs.NewSuper(s, "sysfs", f, root)
	return f
}

// Super is the file system.
func (f *FS) Super() *vfs.Super { return f.super }

// attrSize is what stat shows as the size of every attribute: a page.
const attrSize = 4096

type builder struct{ *made.Tree }

// attr adds a read-only attribute: v on a line.
func (b builder) attr(d *made.Dir, name string, v any) {
	f := b.Const(fmt.Sprintln(v))
	f.Size = attrSize
	made.Add(d, name, f)
}

func (b builder) kernel(d *made.Dir) {
	hp := d.Sub(b.Tree, "mm").Sub(b.Tree, "transparent_hugepage")
	b.attr(hp, "enabled", "always madvise [never]")
	b.attr(hp, "defrag", "always defer defer+madvise madvise [never]")
	b.attr(hp, "shmem_enabled", "always within_size advise [never] deny force")
	b.attr(hp, "use_zero_page", 0)
	b.attr(hp, "hpage_pmd_size", 2<<20)
	b.attr(d, "address_bits", 64)
	b.attr(d, "cpu_byteorder", "little")
	b.attr(d, "uevent_seqnum", 0)
	b.attr(d, "uevent_helper", "")
	b.attr(d, "profiling", 0)
	b.attr(d, "fscaps", 1)
	d.Sub(b.Tree, "debug")
	d.Sub(b.Tree, "security")
	d.Sub(b.Tree, "config")
	d.Sub(b.Tree, "tracing")
}

// list is a range of numbers from 0 as Linux prints it: "0" or "0-3".
func list(n int) string {
	if n == 1 {
		return "0"
	}
	return fmt.Sprintf("0-%d", n-1)
}

func (b builder) devices(d *made.Dir, c *Config) {
	system := d.Sub(b.Tree, "system")
	cpu := system.Sub(b.Tree, "cpu")
	for _, name := range [...]string{"online", "possible", "present"} {
		b.attr(cpu, name, list(c.CPUs))
	}
	b.attr(cpu, "offline", "")
	b.attr(cpu, "isolated", "")
	b.attr(cpu, "kernel_max", 63)
	for n := range c.CPUs {
		one := cpu.Sub(b.Tree, fmt.Sprintf("cpu%d", n))
		top := one.Sub(b.Tree, "topology")
		b.attr(top, "core_id", n)
		b.attr(top, "physical_package_id", 0)
		b.attr(top, "die_id", 0)
		b.attr(top, "thread_siblings_list", n)
		b.attr(top, "core_cpus_list", n)
		b.attr(top, "core_siblings_list", list(c.CPUs))
		b.attr(top, "package_cpus_list", list(c.CPUs))
		b.attr(top, "thread_siblings", fmt.Sprintf("%x", uint64(1)<<n))
		b.attr(top, "core_siblings", fmt.Sprintf("%x", uint64(1)<<c.CPUs-1))
		b.attr(one, "online", 1)
		made.Add(one, "node0", b.ConstLink("../../node/node0"))
	}
	node := system.Sub(b.Tree, "node")
	for _, name := range [...]string{"online", "possible", "has_cpu", "has_memory", "has_normal_memory"} {
		b.attr(node, name, 0)
	}
	n0 := node.Sub(b.Tree, "node0")
	b.attr(n0, "cpulist", list(c.CPUs))
	b.attr(n0, "cpumap", fmt.Sprintf("%x", uint64(1)<<c.CPUs-1))
	b.attr(n0, "distance", 10)
	for n := range c.CPUs {
		name := fmt.Sprintf("cpu%d", n)
		made.Add(n0, name, b.ConstLink("../../cpu/"+name))
	}
	src := system.Sub(b.Tree, "clocksource").Sub(b.Tree, "clocksource0")
	b.attr(src, "available_clocksource", "tsc")
	b.attr(src, "current_clocksource", "tsc")
	virtual := d.Sub(b.Tree, "virtual")
	nets := c.Interfaces
	if nets == nil {
		nets = map[string]int{"lo": 1}
	}
	net := virtual.Sub(b.Tree, "net")
	for _, name := range slices.Sorted(maps.Keys(nets)) {
		b.netif(net.Sub(b.Tree, name), name, nets[name])
	}
	classes := map[string]*made.Dir{}
	for _, path := range slices.Sorted(maps.Keys(c.Devices)) {
		nums := c.Devices[path]
		class, name := split(path)
		if classes[class] == nil {
			classes[class] = virtual.Sub(b.Tree, class)
		}
		dev := classes[class].Sub(b.Tree, name)
		b.attr(dev, "dev", fmt.Sprintf("%d:%d", nums[0], nums[1]))
		b.attr(dev, "uevent", fmt.Sprintf("MAJOR=%d\nMINOR=%d\nDEVNAME=%s", nums[0], nums[1], name))
		made.Add(dev, "subsystem", b.ConstLink("../../../../class/"+class))
		if path == "tty/console" && c.Console != "" {
			b.attr(dev, "active", c.Console)
		}
	}
}

func split(path string) (class, name string) {
	for i := range len(path) {
		if path[i] == '/' {
			return path[:i], path[i+1:]
		}
	}
	return "misc", path
}

func (b builder) netif(d *made.Dir, name string, index int) {
	loopback := name == "lo"
	typ, mtu, addr, flags := 1, 1500, "00:00:00:00:00:00", "0x1003"
	if loopback {
		typ, mtu, flags = 772, 65536, "0x9"
	}
	b.attr(d, "ifindex", index)
	b.attr(d, "iflink", index)
	b.attr(d, "type", typ)
	b.attr(d, "mtu", mtu)
	b.attr(d, "address", addr)
	b.attr(d, "addr_len", 6)
	b.attr(d, "flags", flags)
	b.attr(d, "operstate", "unknown")
	b.attr(d, "carrier", 1)
	b.attr(d, "tx_queue_len", 1000)
	b.attr(d, "uevent", fmt.Sprintf("INTERFACE=%s\nIFINDEX=%d", name, index))
	made.Add(d, "subsystem", b.ConstLink("../../../../class/net"))
	st := d.Sub(b.Tree, "statistics")
	for _, n := range [...]string{"rx_bytes", "rx_packets", "rx_errors", "rx_dropped", "tx_bytes", "tx_packets", "tx_errors", "tx_dropped", "multicast", "collisions"} {
		b.attr(st, n, 0)
	}
}

func (b builder) class(d *made.Dir, c *Config) {
	net := d.Sub(b.Tree, "net")
	nets := c.Interfaces
	if nets == nil {
		nets = map[string]int{"lo": 1}
	}
	for _, name := range slices.Sorted(maps.Keys(nets)) {
		made.Add(net, name, b.ConstLink("../../devices/virtual/net/"+name))
	}
	classes := map[string]*made.Dir{"tty": d.Sub(b.Tree, "tty"), "mem": d.Sub(b.Tree, "mem"), "misc": d.Sub(b.Tree, "misc")}
	for _, path := range slices.Sorted(maps.Keys(c.Devices)) {
		class, name := split(path)
		if classes[class] == nil {
			classes[class] = d.Sub(b.Tree, class)
		}
		made.Add(classes[class], name, b.ConstLink("../../devices/virtual/"+class+"/"+name))
	}
	d.Sub(b.Tree, "block")
	d.Sub(b.Tree, "power_supply")
	d.Sub(b.Tree, "thermal")
}
