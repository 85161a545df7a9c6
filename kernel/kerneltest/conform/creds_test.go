package conform

import (
	"testing"

	"golang.org/x/sys/unix"
)

func TestCreds(t *testing.T) { family(t, "creds", creds) }

func creds(r *rec) {
	buf := make([]byte, 4096)
	groups := func(g ...uint32) uintptr { return at(r, ptr([4]uint32(append(g, make([]uint32, 4-len(g))...)))) }
	for _, c := range []struct {
		name string
		nr   int
		args []any
	}{
		{"getgroups negative", unix.SYS_GETGROUPS, []any{-1, buf}},
		{"getresuid bad", unix.SYS_GETRESUID, []any{buf, bad, buf}},
		{"capget bad version", unix.SYS_CAPGET, []any{at(r, &[2]uint32{1, 0}), buf}},
		{"capget bad version no data", unix.SYS_CAPGET, []any{at(r, &[2]uint32{1, 0}), 0}},
		{"capget nobody", unix.SYS_CAPGET, []any{at(r, &[2]uint32{unix.LINUX_CAPABILITY_VERSION_3, 1 << 28}), buf}},
		{"capget negative", unix.SYS_CAPGET, []any{at(r, ptr([2]int32{unix.LINUX_CAPABILITY_VERSION_3, -1})), buf}},
		{"capset other", unix.SYS_CAPSET, []any{at(r, &[2]uint32{unix.LINUX_CAPABILITY_VERSION_3, 1}), buf}},
		{"capset bad", unix.SYS_CAPSET, []any{bad, buf}},
		{"setuid -1", unix.SYS_SETUID, []any{uint32(0xffffffff)}},
		{"setgid -1", unix.SYS_SETGID, []any{uint32(0xffffffff)}},
		{"setresuid all -1", unix.SYS_SETRESUID, []any{-1, -1, -1}},
		{"setreuid -1 -1", unix.SYS_SETREUID, []any{-1, -1}},
	} {
		r.call(c.name, c.nr, c.args...)
	}
	if !root() {
		return
	}
	r.file("mine", "x", 0o600)
	r.file("all", "x", 0o666)
	r.file("exec", "#!/nope\n", 0o711)
	r.file("suid", "x", 0o6755)
	r.must(unix.SYS_MKDIRAT, cwd, "closed", 0o700)
	r.must(unix.SYS_MKDIRAT, cwd, "sticky", 0)
	r.must(unix.SYS_FCHMODAT, cwd, "sticky", 0o1777)
	r.must(unix.SYS_MKDIRAT, cwd, "sgid", 0)
	r.must(unix.SYS_FCHOWNAT, cwd, "sgid", -1, 77, 0)
	r.must(unix.SYS_FCHMODAT, cwd, "sgid", 0o2777)
	r.file("sticky/f", "x", 0o666)
	r.file("group", "x", 0o640)
	r.must(unix.SYS_FCHOWNAT, cwd, "group", 0, 1000, 0)
	r.file("notowner", "x", 0o077)
	r.must(unix.SYS_FCHOWNAT, cwd, "notowner", 1000, 1000, 0)
	r.must(unix.SYS_FCHMODAT, cwd, ".", 0o777)
	fd := r.open("mine", unix.O_RDWR)
	drop := []step{
		do("setgroups", unix.SYS_SETGROUPS, 0, 0),
		do("setresgid", unix.SYS_SETRESGID, 1000, 1000, 1000),
		do("setresuid", unix.SYS_SETRESUID, 1000, 1000, 1000),
	}
	r.fork("user", append(drop,
		do("getuid", unix.SYS_GETUID), do("geteuid", unix.SYS_GETEUID),
		do("back", unix.SYS_SETUID, 0), do("setgroups again", unix.SYS_SETGROUPS, 0, 0),
		do("setresuid own", unix.SYS_SETRESUID, 1000, 1000, 1000), do("setresuid other", unix.SYS_SETRESUID, 1000, 1001, 1000),
		do("setgid other", unix.SYS_SETGID, 5), do("setregid other", unix.SYS_SETREGID, -1, 5), do("setfsuid other", unix.SYS_SETFSUID, 5), do("setfsuid after", unix.SYS_SETFSUID, -1),
		do("open mine", unix.SYS_OPENAT, cwd, "mine", 0, 0),
		do("read of an open one", unix.SYS_READ, fd, buf, 1),
		do("access mine", unix.SYS_FACCESSAT, cwd, "mine", 4), do("access all", unix.SYS_FACCESSAT, cwd, "all", 6), do("access all x", unix.SYS_FACCESSAT, cwd, "all", 1),
		do("open closed dir", unix.SYS_OPENAT, cwd, "closed", 0, 0), do("below closed dir", unix.SYS_OPENAT, cwd, "closed/x", 0, 0), do("chdir closed", unix.SYS_CHDIR, "closed"),
		do("create in closed", unix.SYS_OPENAT, cwd, "closed/x", unix.O_CREAT|unix.O_WRONLY, 0o644),
		do("chmod", unix.SYS_FCHMODAT, cwd, "all", 0o600), do("chown", unix.SYS_FCHOWNAT, cwd, "all", 1000, -1, 0), do("chown nothing", unix.SYS_FCHOWNAT, cwd, "all", -1, -1, 0),
		do("utime now of a writable one", unix.SYS_UTIMENSAT, cwd, "all", 0, 0), do("utime set", unix.SYS_UTIMENSAT, cwd, "all", at(r, &[2]unix.Timespec{}), 0),
		do("utime now of mine", unix.SYS_UTIMENSAT, cwd, "mine", 0, 0),
		do("unlink sticky", unix.SYS_UNLINKAT, cwd, "sticky/f", 0), do("rename sticky", unix.SYS_RENAMEAT, cwd, "sticky/f", cwd, "sticky/g"),
		do("group file", unix.SYS_OPENAT, cwd, "group", 2, 0), opn("group file reading", unix.SYS_OPENAT, cwd, "group", 0, 0),
		do("owner without rights", unix.SYS_OPENAT, cwd, "notowner", 0, 0), do("owner's chmod", unix.SYS_FCHMODAT, cwd, "notowner", 0o400), opn("then", unix.SYS_OPENAT, cwd, "notowner", 0, 0),
		do("owner's chown", unix.SYS_FCHOWNAT, cwd, "notowner", 5, -1, 0), do("owner's chgrp own", unix.SYS_FCHOWNAT, cwd, "notowner", -1, 1000, 0), do("owner's chgrp other", unix.SYS_FCHOWNAT, cwd, "notowner", -1, 5, 0),
		opn("create", unix.SYS_OPENAT, cwd, "new", unix.O_CREAT|unix.O_WRONLY, 0o6755), do("O_NOATIME of another's", unix.SYS_OPENAT, cwd, "all", unix.O_NOATIME, 0),
		do("chmod sgid other group", unix.SYS_FCHMODAT, cwd, "new", 0o6755),
		do("mknod device", unix.SYS_MKNODAT, cwd, "dev", unix.S_IFCHR|0o644, 0x103), do("mknod fifo", unix.SYS_MKNODAT, cwd, "ff", unix.S_IFIFO|0o644, 0),

		do("sgid dir file", unix.SYS_MKNODAT, cwd, "sgid/f", unix.S_IFREG|0o2775, 0), do("sgid dir dir", unix.SYS_MKDIRAT, cwd, "sgid/d", 0o755),
		do("truncate suid", unix.SYS_TRUNCATE, "suid", 0),
		do("mount", unix.SYS_MOUNT, "x", "closed", "tmpfs", 0, 0), do("umount", unix.SYS_UMOUNT2, ".", 0), do("chroot", unix.SYS_CHROOT, "."), do("chroot absent", unix.SYS_CHROOT, "nope"), do("pivot_root", unix.SYS_PIVOT_ROOT, ".", "."),
		do("sethostname", unix.SYS_SETHOSTNAME, "x", 1), do("setdomainname", unix.SYS_SETDOMAINNAME, "x", 1), do("reboot", unix.SYS_REBOOT, 0, 0, 0, 0),
		do("settimeofday", unix.SYS_SETTIMEOFDAY, at(r, &unix.Timeval{}), 0), do("clock_settime", unix.SYS_CLOCK_SETTIME, 0, at(r, &unix.Timespec{})), do("adjtimex", unix.SYS_ADJTIMEX, at(r, &unix.Timex{Modes: 1})),
		do("nice down", unix.SYS_SETPRIORITY, 0, 0, -1), do("nice up", unix.SYS_SETPRIORITY, 0, 0, 5), do("nice back", unix.SYS_SETPRIORITY, 0, 0, 4), do("nice of root", unix.SYS_SETPRIORITY, 0, 1, 5),
		do("fifo", unix.SYS_SCHED_SETSCHEDULER, 0, 1, at(r, ptr(int32(5)))), do("batch", unix.SYS_SCHED_SETSCHEDULER, 0, 3, at(r, ptr(int32(0)))),
		do("kill root's", unix.SYS_KILL, 1, 0), do("kill bad signal", unix.SYS_KILL, 1, 99), do("kill own", unix.SYS_KILL, 0, 0),
		do("prlimit root's", unix.SYS_PRLIMIT64, 1, 0, 0, buf), do("raise hard", unix.SYS_PRLIMIT64, 0, unix.RLIMIT_NICE, at(r, &unix.Rlimit{Cur: 30, Max: 40}), 0),
		do("dmesg clear", unix.SYS_SYSLOG, 5, 0, 0), do("iopl", unix.SYS_IOPL, 3), do("ioperm", unix.SYS_IOPERM, 0, 1, 1), do("init_module", unix.SYS_INIT_MODULE, 0, 0, 0), do("delete_module", unix.SYS_DELETE_MODULE, "x", 0),
		do("capbset drop", unix.SYS_PRCTL, unix.PR_CAPBSET_DROP, 0, 0, 0, 0), do("securebits", unix.SYS_PRCTL, unix.PR_SET_SECUREBITS, 1, 0, 0, 0),
		do("no caps left", unix.SYS_CAPSET, at(r, &[2]uint32{unix.LINUX_CAPABILITY_VERSION_3, 0}), at(r, &[6]uint32{1, 1, 0, 0, 0, 0})),
		do("setxattr trusted", unix.SYS_SETXATTR, "new", "trusted.a", "v", 1, 0),
		do("unshare ns", unix.SYS_UNSHARE, unix.CLONE_NEWNS), do("open exec only", unix.SYS_OPENAT, cwd, "exec", 0, 0),
		do("pidfd of root", unix.SYS_TGKILL, 1, 1, 0), do("setpgid root", unix.SYS_SETPGID, 1, 0), do("getpgid root", unix.SYS_GETSID, 99999999),
	)...)
	var st unix.Stat_t
	for _, n := range []string{"new", "notowner", "sgid/f", "sgid/d", "suid", "all"} {
		if e := unix.Stat(n, &st); e != nil {
			r.put("stat "+n, "%v", e)
			continue
		}
		r.put("stat "+n, "%#o %d:%d", st.Mode, st.Uid, st.Gid)
	}
	r.must(unix.SYS_FCHOWNAT, cwd, "suid", 5, 5, 0)
	r.must(unix.SYS_NEWFSTATAT, cwd, "suid", at(r, &st), 0)
	r.put("chown by root clears suid", "%#o", st.Mode)
	r.must(unix.SYS_FCHMODAT, cwd, "suid", 0o6777)
	r.fork("write clears suid", append(drop, opn("open", unix.SYS_OPENAT, cwd, "suid", unix.O_WRONLY, 0), do("write", unix.SYS_WRITE, ref(3), "x", 1))...)
	unix.Stat("suid", &st)
	r.put("suid after a write", "%#o", st.Mode)
	r.fork("saved ids",
		do("setresuid", unix.SYS_SETRESUID, 1000, 1001, 1002), do("geteuid", unix.SYS_GETEUID), do("to saved", unix.SYS_SETUID, 1002), do("to real", unix.SYS_SETUID, 1000),
		do("swap", unix.SYS_SETREUID, 1000, 1000), do("saved gone", unix.SYS_SETUID, 1002), do("root gone", unix.SYS_SETUID, 0))
	r.fork("effective only",
		do("seteuid", unix.SYS_SETRESUID, -1, 1000, -1), do("open mine", unix.SYS_OPENAT, cwd, "mine", 0, 0), do("access uses the real", unix.SYS_FACCESSAT, cwd, "mine", 4),
		do("faccessat2 effective", unix.SYS_FACCESSAT2, cwd, "mine", 4, unix.AT_EACCESS), do("back", unix.SYS_SETUID, 0), do("geteuid", unix.SYS_GETEUID), opn("open again", unix.SYS_OPENAT, cwd, "mine", 0, 0))
	r.fork("fsuid",
		do("setfsuid", unix.SYS_SETFSUID, 1000), do("open mine", unix.SYS_OPENAT, cwd, "mine", 0, 0), do("setfsuid back", unix.SYS_SETFSUID, 0), do("setgroups too many", unix.SYS_SETGROUPS, 65537, 0))
	r.fork("keepcaps",
		do("keep", unix.SYS_PRCTL, unix.PR_SET_KEEPCAPS, 1, 0, 0, 0), do("setuid", unix.SYS_SETRESUID, 1000, 1000, 1000), do("get", unix.SYS_PRCTL, unix.PR_GET_KEEPCAPS, 0, 0, 0, 0),
		do("raise", unix.SYS_CAPSET, at(r, &[2]uint32{unix.LINUX_CAPABILITY_VERSION_3, 0}), at(r, &[6]uint32{1 << unix.CAP_DAC_OVERRIDE, 1 << unix.CAP_DAC_OVERRIDE, 0, 0, 0, 0})),
		opn("open mine", unix.SYS_OPENAT, cwd, "mine", 0, 0), do("kill root's", unix.SYS_KILL, 1, 0),
		do("dumpable", unix.SYS_PRCTL, unix.PR_GET_DUMPABLE, 0, 0, 0, 0),
	)
	r.fork("supplementary",
		do("setgroups", unix.SYS_SETGROUPS, 2, groups(1000, 7)), do("setgid", unix.SYS_SETRESGID, 5, 5, 5), do("setuid", unix.SYS_SETRESUID, 6, 6, 6),
		do("getgroups size", unix.SYS_GETGROUPS, 0, 0), do("getgroups small", unix.SYS_GETGROUPS, 1, buf), do("getgroups", unix.SYS_GETGROUPS, 2, buf), do("getgroups bad", unix.SYS_GETGROUPS, 2, bad),
		opn("group file", unix.SYS_OPENAT, cwd, "group", 0, 0), do("mine", unix.SYS_OPENAT, cwd, "mine", 0, 0))
	r.fork("nproc", append(drop,
		do("limit", unix.SYS_PRLIMIT64, 0, unix.RLIMIT_NPROC, at(r, &unix.Rlimit{}), 0), do("clone", unix.SYS_CLONE, int(unix.SIGCHLD), 0, 0, 0, 0))...)
	r.fork("kill by user", append(drop, do("all", unix.SYS_KILL, unix.Getpid(), 0), do("tgkill", unix.SYS_TGKILL, unix.Getpid(), unix.Getpid(), 0), do("sigqueue bad", unix.SYS_RT_SIGQUEUEINFO, unix.Getpid(), 0, bad))...)
}
