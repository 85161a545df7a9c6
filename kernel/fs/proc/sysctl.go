package proc

import (
	"strings"

	"goum/arch/abi"
	"goum/kernel/cred"
	"goum/kernel/fs/made"
	"goum/kernel/fs/vfs"
	"goum/kernel/task"
	"goum/kernel/uts"
	"goum/mm"
)

// addSys adds /proc/sys. Values that cannot be changed here are read-only files: a write is EACCES, or EPERM for root's open.
func (f *FS) addSys() {
	t := f.tree
	sys := f.static.Sub(t, "sys")
	fixed := func(d *made.Dir, name string, v any) { made.Add(d, name, t.Const(line(v))) }

	k := sys.Sub(t, "kernel")
	f.setting(k, "hostname", f.UTS.Host, func(s string) abi.Errno { return f.UTS.SetHost(s) })
	f.setting(k, "domainname", f.UTS.Domain, func(s string) abi.Errno { return f.UTS.SetDomain(s) })
	fixed(k, "osrelease", uts.Release)
	fixed(k, "ostype", uts.Sysname)
	fixed(k, "version", f.UTS.Version())
	fixed(k, "pid_max", task.PidMax)
	f.text(k, "threads-max", func() string { return line(f.System.Tree.MaxTasks()) })
	fixed(k, "cap_last_cap", abi.CAP_LAST_CAP)
	fixed(k, "ngroups_max", cred.MaxGroups)
	fixed(k, "overflowuid", 65534)
	fixed(k, "overflowgid", 65534)
	fixed(k, "tainted", 0)
	fixed(k, "panic", 0)
	fixed(k, "dmesg_restrict", 0)
	fixed(k, "kptr_restrict", 1)
	fixed(k, "perf_event_paranoid", 3)
	fixed(k, "sched_rr_timeslice_ms", 100)
	fixed(k, "sched_rt_period_us", 1000000)
	fixed(k, "sched_rt_runtime_us", 950000)
	fixed(k, "core_pattern", "core")
	fixed(k, "core_uses_pid", 0)
	fixed(k, "printk", "4\t4\t1\t7")
	f.text(k, "randomize_va_space", func() string {
		if f.System.NoASLR {
			return "0\n"
		}
		return "2\n"
	})
	f.text(k, "ns_last_pid", func() string {
		_, last, _ := f.System.Tree.Counts()
		return line(last)
	})
	r := k.Sub(t, "random")
	fixed(r, "boot_id", f.bootID)
	f.text(r, "uuid", func() string { return line(f.uuid()) })
	fixed(r, "entropy_avail", 256)
	fixed(r, "poolsize", 256)
	fixed(r, "urandom_min_reseed_secs", 60)
	fixed(r, "write_wakeup_threshold", 256)
	p := k.Sub(t, "pty")
	fixed(p, "max", 4096)
	fixed(p, "reserve", 1024)

	v := sys.Sub(t, "vm")
	fixed(v, "overcommit_memory", 0)
	fixed(v, "overcommit_ratio", 50)
	fixed(v, "overcommit_kbytes", 0)
	fixed(v, "max_map_count", mm.MaxVMAs)
	fixed(v, "mmap_min_addr", mm.MinAddr)
	fixed(v, "swappiness", 60)
	fixed(v, "nr_hugepages", 0)
	fixed(v, "panic_on_oom", 0)
	fixed(v, "memfd_noexec", 0)
	fixed(v, "vfs_cache_pressure", 100)
	drop := made.Add(v, "drop_caches", t.File(0o200, nil))
	drop.Take = func(c *vfs.Caller, b []byte) abi.Errno {
		switch strings.TrimSpace(string(b)) {
		case "1", "2", "3", "4":
			return 0 // a request, and nothing is clean enough to go: tmpfs is all there is
		}
		return abi.EINVAL
	}

	s := sys.Sub(t, "fs")
	fixed(s, "file-max", int64(1<<63-1))
	fixed(s, "nr_open", cred.MaxOpen)
	fixed(s, "file-nr", "0\t0\t9223372036854775807")
	fixed(s, "inode-nr", "0\t0")
	fixed(s, "dentry-state", "0\t0\t45\t0\t0\t0")
	fixed(s, "mount-max", 100000)
	fixed(s, "pipe-max-size", 1<<20)
	fixed(s, "pipe-user-pages-soft", 16384)
	fixed(s, "pipe-user-pages-hard", 0)
	fixed(s, "overflowuid", 65534)
	fixed(s, "overflowgid", 65534)
	fixed(s, "suid_dumpable", 0)
	fixed(s, "protected_hardlinks", 0)
	fixed(s, "protected_symlinks", 0)
	fixed(s, "protected_fifos", 0)
	fixed(s, "protected_regular", 0)
	fixed(s, "lease-break-time", 45)
	fixed(s, "leases-enable", 0)
	i := s.Sub(t, "inotify")
	fixed(i, "max_queued_events", 16384)
	fixed(i, "max_user_instances", 128)
	fixed(i, "max_user_watches", 65536)
	ep := s.Sub(t, "epoll")
	f.text(ep, "max_user_watches", func() string { return line(f.System.Memory.Stats().Total * 4096 / 25 / 160) })

	n := sys.Sub(t, "net")
	core := n.Sub(t, "core")
	fixed(core, "somaxconn", 4096)
	fixed(core, "rmem_max", 212992)
	fixed(core, "wmem_max", 212992)
	fixed(core, "rmem_default", 212992)
	fixed(core, "wmem_default", 212992)
	v4 := n.Sub(t, "ipv4")
	fixed(v4, "ip_forward", 0)
	fixed(v4, "ip_local_port_range", "32768\t60999")
	fixed(v4, "tcp_rmem", "4096\t131072\t6291456")
	fixed(v4, "tcp_wmem", "4096\t16384\t4194304")
	ux := n.Sub(t, "unix")
	fixed(ux, "max_dgram_qlen", 10)
	sys.Sub(t, "user")
	sys.Sub(t, "dev")
	sys.Sub(t, "debug")
}

// setting adds a string that root may change: what is written counts up to the first newline or NUL.
func (f *FS) setting(d *made.Dir, name string, get func() string, set func(string) abi.Errno) {
	n := made.Add(d, name, f.tree.File(0o644, func(*vfs.Caller) ([]byte, abi.Errno) { return []byte(get() + "\n"), 0 }))
	n.Take = func(c *vfs.Caller, b []byte) abi.Errno {
		s := string(b)
		if i := strings.IndexAny(s, "\x00\n"); i >= 0 {
			s = s[:i]
		}
		if len(s) >= abi.UtsLen {
			s = s[:abi.UtsLen-1] // as Linux cuts what a sysctl cannot hold
		}
		return set(s)
	}
}
