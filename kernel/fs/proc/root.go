package proc

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"goum/arch/abi"
	"goum/kernel/fs/made"
	"goum/kernel/fs/vfs"
	"goum/kernel/uts"
	"goum/mm"
	"goum/sched/clock"
)

// addRoot adds what is fixed in the root.
func (f *FS) addRoot() {
	t, d := f.tree, f.static
	made.Add(d, "self", t.Link(self))
	made.Add(d, "thread-self", t.Link(threadSelf))
	made.Add(d, "mounts", t.ConstLink("self/mounts"))
	made.Add(d, "net", t.ConstLink("self/net"))
	f.text(d, "cmdline", func() string { return f.Cmdline + "\n" })
	f.text(d, "cpuinfo", f.cpuinfo)
	f.text(d, "meminfo", f.meminfo)
	f.text(d, "stat", f.stat)
	f.text(d, "loadavg", f.loadavg)
	f.text(d, "uptime", f.uptime)
	f.text(d, "version", func() string {
		return fmt.Sprintf("%s version %s (goum@goum) (Go) %s\n", uts.Sysname, uts.Release, f.UTS.Version())
	})
	f.text(d, "filesystems", f.filesystems)
	f.text(d, "modules", func() string { return "" })
	f.text(d, "devices", f.devices)
	f.text(d, "interrupts", f.interrupts)
	f.text(d, "softirqs", func() string { return f.cpuHeader("                    ") })
	f.text(d, "partitions", func() string { return "" }) // not even the head, as long as there is no disk
	f.text(d, "diskstats", func() string { return "" })
	f.text(d, "swaps", func() string { return "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n" })
	f.text(d, "vmstat", f.vmstat)
	f.text(d, "locks", func() string { return "" })
	f.text(d, "misc", func() string { return "" })
	f.text(d, "consoles", func() string { return "" })
	f.text(d, "execdomains", func() string { return "0-0\tLinux           \t[kernel]\n" })
	f.text(d, "cgroups", func() string { return "#subsys_name\thierarchy\tnum_cgroups\tenabled\n" })
	f.text(d, "buddyinfo", func() string { return "" })
	f.text(d, "iomem", func() string { return "" })
	f.text(d, "ioports", func() string { return "" })
	if f.SysRq != nil {
		n := made.Add(d, "sysrq-trigger", t.File(0o200, nil))
		n.Take = func(c *vfs.Caller, b []byte) abi.Errno {
			if len(b) > 0 {
				f.SysRq(c, b[0])
			}
			return 0
		}
	}
	if f.Kmsg != nil {
		made.Add(d, "kmsg", &opener{Meta: t.Meta(abi.S_IFREG | 0o400), open: f.Kmsg})
	}
	made.Add(d, "tty", t.Dir())
	f.text(made.Add(d, "sysvipc", t.Dir()), "shm", func() string {
		return "       key      shmid perms                  size  cpid  lpid nattch   uid   gid  cuid  cgid      atime      dtime      ctime                   rss                  swap\n"
	})
	made.Add(d, "fs", t.Dir())
	made.Add(d, "driver", t.Dir())
	made.Add(d, "bus", t.Dir())
	made.Add(d, "irq", t.Dir())
}

// opener is a file that something else opens.
type opener struct {
	vfs.BaseNode
	made.Meta
	open vfs.Opener
}

func (o *opener) Attr(c *vfs.Caller) (vfs.Attr, abi.Errno)        { return o.Meta.Attr(c) }
func (o *opener) SetAttr(c *vfs.Caller, s *vfs.SetAttr) abi.Errno { return made.SetAttr(s) }
func (o *opener) Open(c *vfs.Caller, flags uint32, loc vfs.Location) (vfs.File, abi.Errno) {
	return o.open(c, flags, loc)
}

// cpus is how many vCPUs there are.
func (f *FS) cpus() int { return f.System.Sched.CPUs() }

// memory are the accounts in KiB.
type memory struct{ total, free, cached, shmem uint64 }

func (f *FS) memory() (m memory) {
	s := f.System.Memory.Stats()
	m.total, m.free = s.Total*4, s.Free*4
	if f.Cached != nil {
		m.cached = f.Cached() / 1024
	}
	if f.Shmem != nil {
		m.shmem = f.Shmem() / 1024
	}
	m.cached = min(max(m.cached, m.shmem), m.total-m.free)
	return m
}

func (f *FS) meminfo() string {
	m := f.memory()
	anon := m.total - m.free - m.cached
	var b strings.Builder
	for _, l := range [...]struct {
		name string
		v    uint64
	}{
		{"MemTotal", m.total}, {"MemFree", m.free}, {"MemAvailable", m.free + m.cached - m.shmem}, {"Buffers", 0}, {"Cached", m.cached},
		{"SwapCached", 0}, {"Active", anon}, {"Inactive", m.cached}, {"Active(anon)", anon}, {"Inactive(anon)", 0}, {"Active(file)", 0},
		{"Inactive(file)", m.cached}, {"Unevictable", 0}, {"Mlocked", 0}, {"SwapTotal", 0}, {"SwapFree", 0}, {"Dirty", 0},
		{"Writeback", 0}, {"AnonPages", anon}, {"Mapped", 0}, {"Shmem", m.shmem}, {"KReclaimable", 0}, {"Slab", 0}, {"SReclaimable", 0},
		{"SUnreclaim", 0}, {"KernelStack", 0}, {"PageTables", 0}, {"SecPageTables", 0}, {"NFS_Unstable", 0}, {"Bounce", 0},
		{"WritebackTmp", 0}, {"CommitLimit", m.total / 2}, {"Committed_AS", anon}, {"VmallocTotal", 34359738367}, {"VmallocUsed", 0},
		{"VmallocChunk", 0}, {"Percpu", 0},
	} {
		fmt.Fprintf(&b, "%-16s%8d kB\n", l.name+":", l.v)
	}
	return b.String()
}

// ticks are nanoseconds in USER_HZ.
func ticks(t clock.Time) int64 { return int64(t) / (abi.NsPerSec / abi.HZ) }

func (f *FS) stat() string {
	var b strings.Builder
	var sum [4]clock.Time
	var rows strings.Builder
	row := func(name string, t [4]clock.Time) string {
		return fmt.Sprintf("%s %d %d %d %d 0 0 0 0 0 0\n", name, ticks(t[0]), ticks(t[1]), ticks(t[2]), ticks(t[3]))
	}
	s := f.System.Sched
	for n := range f.cpus() {
		c := s.CPUTimes(n)
		t := [4]clock.Time{c.User, c.Nice, c.System, c.Idle}
		for i := range t {
			sum[i] += t[i]
		}
		rows.WriteString(row(fmt.Sprintf("cpu%d", n), t))
	}
	b.WriteString(row("cpu ", sum))
	b.WriteString(rows.String())
	var intr uint64
	if f.Interrupts != nil {
		intr = f.Interrupts()
	}
	_, _, forks := f.System.Tree.Counts()
	boot := (f.System.Clock.Realtime() - int64(f.System.Clock.Monotonic())) / abi.NsPerSec
	fmt.Fprintf(&b, "intr %d\nctxt %d\nbtime %d\nprocesses %d\nprocs_running %d\nprocs_blocked %d\nsoftirq 0 0 0 0 0 0 0 0 0 0 0\n",
		intr, s.Switches(), boot, forks, s.Running(), s.Blocked())
	return b.String()
}

func (f *FS) loadavg() string {
	var v [3]string
	for i, l := range f.System.Sched.Load() {
		l += 2048 / 200 // rounds to the nearest hundredth, as Linux does
		v[i] = fmt.Sprintf("%d.%02d", l>>11, (l&2047)*100>>11)
	}
	tasks, last, _ := f.System.Tree.Counts()
	return fmt.Sprintf("%s %s %s %d/%d %d\n", v[0], v[1], v[2], f.System.Sched.Running(), tasks, last)
}

func (f *FS) uptime() string {
	now := int64(f.System.Clock.Monotonic())
	var idle clock.Time
	for n := range f.cpus() {
		idle += f.System.Sched.CPUTimes(n).Idle
	}
	hundredths := func(ns int64) string {
		return fmt.Sprintf("%d.%02d", ns/abi.NsPerSec, ns%abi.NsPerSec/(abi.NsPerSec/100))
	}
	return hundredths(now) + " " + hundredths(int64(idle)) + "\n"
}

func (f *FS) filesystems() string {
	var b strings.Builder
	for _, t := range f.System.VFS.Types() {
		if t.Nodev {
			b.WriteString("nodev")
		}
		fmt.Fprintf(&b, "\t%s\n", t.Name)
	}
	return b.String()
}

func (f *FS) devices() string {
	d := f.Devices
	if d == nil {
		d = map[int]string{1: "mem", 5: "/dev/tty", 10: "misc", 136: "pts"}
	}
	var b strings.Builder
	b.WriteString("Character devices:\n")
	for _, n := range slices.Sorted(maps.Keys(d)) {
		fmt.Fprintf(&b, "%3d %s\n", n, d[n])
	}
	b.WriteString("\nBlock devices:\n")
	return b.String()
}

func (f *FS) cpuHeader(indent string) string {
	b := indent
	for n := range f.cpus() {
		b += fmt.Sprintf("CPU%-8d", n)
	}
	return b + "\n"
}

func (f *FS) interrupts() string {
	s := f.cpuHeader("           ") + "LOC:"
	for range f.cpus() {
		var n uint64
		if f.Interrupts != nil {
			n = f.Interrupts() / uint64(f.cpus())
		}
		s += fmt.Sprintf(" %10d", n)
	}
	return s + "   Local timer interrupts\n"
}

func (f *FS) vmstat() string {
	m := f.memory()
	var faults uint64
	if f.Faults != nil {
		faults = f.Faults()
	}
	page := uint64(mm.PageSize / 1024)
	return fmt.Sprintf("nr_free_pages %d\nnr_anon_pages %d\nnr_mapped 0\nnr_file_pages %d\nnr_dirty 0\nnr_writeback 0\nnr_shmem %d\n"+
		"pgpgin 0\npgpgout 0\npswpin 0\npswpout 0\npgfault %d\npgmajfault 0\n",
		m.free/page, (m.total-m.free-m.cached)/page, m.cached/page, m.shmem/page, faults)
}
