package sys

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"goum/arch/abi"
)

// Every file of procfs and sysfs can be opened, listed and read by root, and matches the shape that Linux gives it where readers depend on it.
func TestProcFiles(t *testing.T) {
	r := newRig(t)
	r.run(func(g *guest) {
		g.must(abi.SYS_MOUNT, g.str("proc"), g.str("/proc"), g.str("proc"), 0, 0)
		g.must(abi.SYS_MOUNT, g.str("sysfs"), g.str("/sys"), g.str("sysfs"), 0, 0)
		for _, typ := range []string{"securityfs", "efivarfs", "debugfs", "cgroup"} {
			g.fails(abi.ENODEV, abi.SYS_MOUNT, g.str("none"), g.str("/tmp"), g.str(typ), 0, 0)
		}
		for path, shape := range map[string]string{
			"/proc/cmdline":                   `^goum quiet\n$`,
			"/proc/loadavg":                   `^\d+\.\d\d \d+\.\d\d \d+\.\d\d \d+/\d+ \d+\n$`,
			"/proc/uptime":                    `^\d+\.\d\d \d+\.\d\d\n$`,
			"/proc/version":                   `^Linux version 6\.18\.0-goum .*\n$`,
			"/proc/meminfo":                   `^MemTotal: {8} {0,8}\d+ kB\nMemFree: .*\nMemAvailable:`,
			"/proc/stat":                      `^cpu  \d+ \d+ \d+ \d+ 0 0 0 0 0 0\ncpu0 .*\ncpu1 .*\nintr 0\nctxt \d+\nbtime 1\d{9}\nprocesses \d+\nprocs_running \d+\nprocs_blocked 0\nsoftirq`,
			"/proc/cpuinfo":                   `(?s)^processor\t: 0\n.*flags\t\t: fpu .*\n\nprocessor\t: 1\n`,
			"/proc/filesystems":               `(?m)^nodev\tproc$`,
			"/proc/mounts":                    `^rootfs / tmpfs rw.* 0 0\nproc /proc proc rw,relatime 0 0\nsysfs /sys sysfs rw,relatime 0 0\n$`,
			"/proc/self/mountinfo":            `(?m)^\d+ \d+ 0:\d+ / /proc rw,relatime - proc proc rw$`,
			"/proc/self/stat":                 `^1 \(init\) R 0 0 0 0 -1 4194304( \d+){8} 20 0 1 0 \d+ \d+ \d+ 18446744073709551615 4194304 \d+ \d+( \d+){23} 0\n$`,
			"/proc/1/statm":                   `^\d+ \d+ \d+ \d+ 0 \d+ 0\n$`,
			"/proc/self/status":               `(?s)^Name:\tinit\nUmask:\t0022\nState:\tR \(running\)\nTgid:\t1\nNgid:\t0\nPid:\t1\nPPid:\t0\nTracerPid:\t0\nUid:\t0\t0\t0\t0\nGid:\t0\t0\t0\t0\nFDSize:\t64\nGroups:\t \n.*VmSize:\t +\d+ kB\n.*Threads:\t1\nSigQ:\t\d+/\d+\nSigPnd:\t0{16}\n.*CapEff:\t000001ffffffffff\n.*Cpus_allowed:\t3\nCpus_allowed_list:\t0-1\n`,
			"/proc/self/cmdline":              "^/init\x00one\x00two words\x00$",
			"/proc/self/environ":              "^HOME=/\x00X=y\x00$",
			"/proc/self/comm":                 `^init\n$`,
			"/proc/self/maps":                 `(?s)^00400000-00401000 r-xp 00000000 00:\d\d \d+ {20,}/init\n30000000-30100000 rw-p 00000000 00:00 0 \n.*\[stack\]\n`,
			"/proc/self/smaps":                `(?s)^00400000-00401000 r-xp .*\nSize: {18}4 kB\nKernelPageSize: .*VmFlags: rd ex mr mw me`,
			"/proc/self/limits":               `^Limit {21}Soft Limit {11}Hard Limit {11}Units {5}\nMax cpu time {14}unlimited`,
			"/proc/self/cgroup":               `^0::/\n$`,
			"/proc/self/uid_map":              `^ {9}0 {10}0 4294967295\n$`,
			"/proc/self/io":                   `^rchar: \d+\n`,
			"/proc/thread-self/comm":          `^init\n$`,
			"/proc/sys/kernel/hostname":       `^goum\n$`,
			"/proc/sys/kernel/osrelease":      `^6\.18\.0-goum\n$`,
			"/proc/sys/kernel/pid_max":        `^32768\n$`,
			"/proc/sys/kernel/cap_last_cap":   `^40\n$`,
			"/proc/sys/kernel/random/boot_id": `^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}\n$`,
			"/proc/sys/vm/overcommit_memory":  `^0\n$`,
			"/proc/net/dev":                   `(?m)^    lo:`,
			"/proc/net/tcp":                   `^  sl  local_address`,
			"/proc/swaps":                     `^Filename\t\t\t\tType`,
			"/sys/kernel/mm/transparent_hugepage/hpage_pmd_size": `^2097152\n$`,
			"/sys/devices/system/cpu/online":                     `^0-1\n$`,
			"/sys/class/net/lo/mtu":                              `^65536\n$`,
		} {
			if got := g.slurp(path); !regexp.MustCompile(shape).MatchString(got) {
				t.Errorf("%s:\n%q\ndoes not match\n%q", path, got, shape)
			}
		}
		if n := len(strings.Fields(g.slurp("/proc/self/stat"))); n != 52 {
			t.Errorf("/proc/self/stat has %d fields, want 52", n)
		}
		if a, b := g.slurp("/proc/sys/kernel/random/uuid"), g.slurp("/proc/sys/kernel/random/uuid"); a == b {
			t.Error("two readings of uuid are equal")
		}
		link := func(path string) string {
			n := g.must(abi.SYS_READLINK, g.str(path), room, 4096)
			return string(g.bytes(room, int(n)))
		}
		fd := g.must(abi.SYS_OPEN, g.str("/tmp"), abi.O_RDONLY, 0)
		for path, want := range map[string]string{
			"/proc/self": "1", "/proc/self/exe": "/init", "/proc/self/cwd": "/", "/proc/self/root": "/", "/proc/mounts": "self/mounts",
			fmt.Sprintf("/proc/self/fd/%d", fd): "/tmp", "/proc/self/ns/pid": "pid:[4026531836]", "/proc/thread-self": "1/task/1",
		} {
			if got := link(path); got != want {
				t.Errorf("readlink %s = %q, want %q", path, got, want)
			}
		}
		if s := g.slurp(fmt.Sprintf("/proc/self/fdinfo/%d", fd)); !regexp.MustCompile(`^pos:\t0\nflags:\t0100000\nmnt_id:\t\d+\nino:\t\d+\n$`).MatchString(s) {
			t.Errorf("fdinfo %q", s)
		}
		// A file is opened again through /proc, and memory is read and written there.
		g.must(abi.SYS_OPEN, g.str("/proc/self/exe"), 0, 0)
		mem := g.must(abi.SYS_OPEN, g.str("/proc/self/mem"), abi.O_RDWR, 0)
		at := g.str("in memory")
		if n := g.must(abi.SYS_PREAD64, mem, room, 9, at); n != 9 || string(g.bytes(room, 9)) != "in memory" {
			t.Errorf("pread64 of mem = %d", n)
		}
		g.must(abi.SYS_PWRITE64, mem, g.str("IN"), 2, at)
		if s := string(g.bytes(at, 9)); s != "IN memory" {
			t.Errorf("%q", s)
		}
		g.fails(abi.EIO, abi.SYS_PREAD64, mem, room, 9, 0x1000)
		// A change of the mounts is told to those who poll.
		m := g.must(abi.SYS_OPEN, g.str("/proc/self/mounts"), 0, 0)
		poll := value(g, abi.PollFD{FD: int32(m), Events: abi.POLLPRI})
		if n := g.must(abi.SYS_POLL, poll, 1, 0); n != 0 {
			t.Errorf("poll of mounts = %d", n)
		}
		g.must(abi.SYS_MOUNT, g.str("t"), g.str("/tmp"), g.str("tmpfs"), 0, 0)
		if n := g.must(abi.SYS_POLL, poll, 1, ^uint64(0)); n != 1 || load[abi.PollFD](g, poll).Revents != abi.POLLPRI|abi.POLLERR {
			t.Errorf("poll of changed mounts = %d %+v", n, load[abi.PollFD](g, poll))
		}
		// Names are written.
		h := g.must(abi.SYS_OPEN, g.str("/proc/sys/kernel/hostname"), abi.O_WRONLY|abi.O_TRUNC, 0)
		g.must(abi.SYS_WRITE, h, g.str("new\n"), 4)
		if s := g.slurp("/proc/sys/kernel/hostname"); s != "new\n" {
			t.Errorf("hostname %q", s)
		}
		c := g.must(abi.SYS_OPEN, g.str("/proc/self/comm"), abi.O_WRONLY, 0)
		g.must(abi.SYS_WRITE, c, g.str("renamed"), 7)
		if s := g.slurp("/proc/1/comm"); s != "renamed\n" {
			t.Errorf("comm %q", s)
		}
		g.fails(abi.ENOENT, abi.SYS_OPEN, g.str("/proc/999"), 0, 0)
		g.fails(abi.ENOENT, abi.SYS_OPEN, g.str("/proc/01"), 0, 0)
		g.fails(abi.ENOENT, abi.SYS_OPEN, g.str("/proc/self/nothing"), 0, 0)
		g.fails(abi.EACCES, abi.SYS_OPEN, g.str("/proc/new"), abi.O_CREAT|abi.O_WRONLY, 0o600)
		g.fails(abi.EPERM, abi.SYS_MKDIR, g.str("/proc/new"), 0o700)
	})
}

// names lists a directory.
func (g *guest) names(path string) (names []string) {
	fd := g.must(abi.SYS_OPEN, g.str(path), abi.O_RDONLY|abi.O_DIRECTORY, 0)
	defer g.call(abi.SYS_CLOSE, fd)
	for {
		n := int(g.must(abi.SYS_GETDENTS64, fd, room, 200))
		if n == 0 {
			return names
		}
		for b := g.bytes(room, n); len(b) > 0; {
			l := int(b[16]) | int(b[17])<<8
			name, _, _ := strings.Cut(string(b[19:l]), "\x00")
			names = append(names, name)
			b = b[l:]
		}
	}
}

// Everything that can be listed can be opened and read; nothing is listed twice.
func TestProcWalk(t *testing.T) {
	r := newRig(t)
	r.run(func(g *guest) {
		g.must(abi.SYS_MOUNT, g.str("proc"), g.str("/proc"), g.str("proc"), 0, 0)
		g.must(abi.SYS_MOUNT, g.str("sysfs"), g.str("/sys"), g.str("sysfs"), 0, 0)
		st := g.put(make([]byte, 144))
		files := 0
		var walk func(dir string, depth int)
		walk = func(dir string, depth int) {
			seen := map[string]bool{}
			for _, n := range g.names(dir) {
				if seen[n] {
					t.Errorf("%s/%s is listed twice", dir, n)
				}
				if seen[n] = true; n == "." || n == ".." || n == "kmsg" {
					continue
				}
				g.used = roomSize / 2 // the paths of before are not needed any more
				st = g.put(make([]byte, 144))
				p := dir + "/" + n
				if strings.HasSuffix(dir, "/fd") || strings.HasSuffix(dir, "/fdinfo") {
					continue // the only descriptor was the one that listed it
				}
				if _, e := g.call(abi.SYS_LSTAT, g.str(p), st); e != 0 {
					t.Errorf("lstat %s: %s", p, e.Name())
				}
				switch s := load[abi.Stat](g, st); s.Mode & abi.S_IFMT {
				case abi.S_IFDIR:
					if depth < 8 {
						walk(p, depth+1)
					}
				case abi.S_IFREG:
					if s.Mode&0o400 != 0 && n != "mem" {
						g.slurp(p)
						files++
					}
				}
			}
		}
		walk("/proc", 0)
		walk("/sys", 0)
		if files < 250 {
			t.Errorf("only %d files", files)
		}
	})
}

// What another user's process may see of root's, and what is gone after its end.
func TestProcPermissions(t *testing.T) {
	r := newRig(t)
	r.run(func(g *guest) {
		g.must(abi.SYS_MOUNT, g.str("proc"), g.str("/proc"), g.str("proc"), 0, 0)
		id := g.fork(func(g *guest) {
			g.must(abi.SYS_SETGID, 1000)
			g.must(abi.SYS_SETUID, 1000)
			for _, f := range []string{"environ", "mem", "maps", "auxv", "io", "fd"} {
				g.fails(abi.EACCES, abi.SYS_OPEN, g.str("/proc/1/"+f), 0, 0)
			}
			for _, f := range []string{"cwd", "exe", "root"} {
				g.fails(abi.EACCES, abi.SYS_READLINK, g.str("/proc/1/"+f), room, 100)
			}
			if f := strings.Fields(g.slurp("/proc/1/stat")); f[25] != "1" || f[44] != "0" {
				t.Errorf("addresses can be seen: %v", f)
			}
			g.slurp("/proc/1/status")
			g.slurp("/proc/1/cmdline")
			g.slurp("/proc/self/stat")
			g.fails(abi.EACCES, abi.SYS_OPEN, g.str("/proc/self/environ"), 0, 0) // no longer dumpable: it belongs to root
			g.fails(abi.EACCES, abi.SYS_OPEN, g.str("/proc/sys/kernel/hostname"), abi.O_WRONLY, 0)
		})
		g.must(abi.SYS_WAIT4, id, 0, 0, 0)
		id = g.fork(func(g *guest) { g.call(abi.SYS_PAUSE) })
		dir := g.must(abi.SYS_OPEN, g.str(fmt.Sprintf("/proc/%d", id)), abi.O_RDONLY|abi.O_DIRECTORY, 0)
		file := g.must(abi.SYS_OPENAT, dir, g.str("status"), 0, 0)
		g.must(abi.SYS_KILL, id, abi.SIGKILL)
		// A zombie still has a name, but no memory.
		g.must(abi.SYS_WAITID, abi.P_PID, id, 0, abi.WEXITED|abi.WNOWAIT, 0)
		if s := g.slurp(fmt.Sprintf("/proc/%d/status", id)); !strings.Contains(s, "State:\tZ (zombie)") || strings.Contains(s, "VmSize") {
			t.Errorf("a zombie's status:\n%s", s)
		}
		if s := g.slurp(fmt.Sprintf("/proc/%d/cmdline", id)); s != "" {
			t.Errorf("a zombie's cmdline %q", s)
		}
		g.must(abi.SYS_WAIT4, id, 0, 0, 0)
		g.fails(abi.ESRCH, abi.SYS_READ, file, room, 100)
		g.fails(abi.ESRCH, abi.SYS_OPENAT, dir, g.str("stat"), 0, 0)
		g.fails(abi.ENOENT, abi.SYS_OPEN, g.str(fmt.Sprintf("/proc/%d", id)), 0, 0)
	})
}
