package sys

import (
	"strings"
	"testing"

	"goum/arch/abi"
	"goum/kernel/task"
)

func TestForkAndWait(t *testing.T) {
	r := newRig(t)
	status := r.run(func(g *guest) {
		if pid := g.must(abi.SYS_GETPID); pid != 1 {
			t.Errorf("getpid = %d", pid)
		}
		st := g.put(make([]byte, 256))
		g.fails(abi.ECHILD, abi.SYS_WAIT4, ^uint64(0), st, 0, 0)
		id := g.fork(func(g *guest) {
			if p := g.must(abi.SYS_GETPPID); p != 1 {
				t.Errorf("getppid = %d", p)
			}
			g.call(abi.SYS_EXIT_GROUP, 7)
		})
		g.fails(abi.EINVAL, abi.SYS_WAIT4, id, st, 1<<20, 0)
		g.must(abi.SYS_WAITID, abi.P_PID, id, st, abi.WEXITED|abi.WNOWAIT, 0)
		if i := g.bytes(st, 28); i[0] != abi.SIGCHLD || i[8] != abi.CLD_EXITED || i[24] != 7 {
			t.Errorf("waitid: %v", i)
		}
		if n := g.must(abi.SYS_WAIT4, ^uint64(0), st, 0, st+64); n != id || load[int32](g, st) != 7<<8 {
			t.Errorf("wait4 = %d, status %#x", n, load[int32](g, st))
		}
		g.fails(abi.ESRCH, abi.SYS_KILL, id, 0)
		// A child that is killed.
		id = g.fork(func(g *guest) { g.call(abi.SYS_PAUSE) })
		g.must(abi.SYS_KILL, id, abi.SIGTERM)
		g.must(abi.SYS_WAIT4, id, st, 0, 0)
		if s := load[int32](g, st); s != abi.SIGTERM {
			t.Errorf("status %#x", s)
		}
		g.fails(abi.EINVAL, abi.SYS_TKILL, 0, 1)
		g.fails(abi.EINVAL, abi.SYS_CLONE, abi.CLONE_THREAD, 0, 0, 0, 0)
		g.fails(abi.EINVAL, abi.SYS_CLONE3, room, 8)
		g.fails(abi.E2BIG, abi.SYS_CLONE3, room, 5000)
		g.fails(abi.EINVAL, abi.SYS_CLONE3, value(g, abi.CloneArgs{Stack: 1}), 88)
		g.fails(abi.E2BIG, abi.SYS_CLONE3, g.put(append(make([]byte, 88), 1)), 89)
		g.fails(abi.ENOENT, abi.SYS_EXECVE, g.str("/none"), 0, 0)
		g.call(abi.SYS_EXIT_GROUP, 3)
	})
	if status != task.WaitStatus(3) {
		t.Errorf("status %#x", status)
	}
}

func TestSmallCalls(t *testing.T) {
	r := newRig(t)
	r.run(func(g *guest) {
		buf := g.put(make([]byte, 1024))
		g.must(abi.SYS_UNAME, buf)
		if s := string(g.bytes(buf+65, 4)); s != "goum" {
			t.Errorf("nodename %q", s)
		}
		g.must(abi.SYS_SETHOSTNAME, g.str("other"), 5)
		g.must(abi.SYS_PRCTL, abi.PR_SET_NAME, g.str("a name that is far too long"))
		g.must(abi.SYS_PRCTL, abi.PR_GET_NAME, buf)
		if s := strings.TrimRight(string(g.bytes(buf, 16)), "\x00"); s != "a name that is " {
			t.Errorf("name %q", s)
		}
		g.fails(abi.EINVAL, abi.SYS_PRCTL, 12345)
		g.fails(abi.EINVAL, abi.SYS_PRCTL, abi.PR_SET_DUMPABLE, 2)
		g.must(abi.SYS_ARCH_PRCTL, archSetFS, 0x1234000)
		g.must(abi.SYS_ARCH_PRCTL, archGetFS, buf)
		if v := load[uint64](g, buf); v != 0x1234000 {
			t.Errorf("FS base %#x", v)
		}
		g.fails(abi.EPERM, abi.SYS_ARCH_PRCTL, archSetFS, 1<<63)
		g.fails(abi.EINVAL, abi.SYS_ARCH_PRCTL, 0x9999)
		if n := g.must(abi.SYS_GETRANDOM, buf, 100, 0); n != 100 {
			t.Errorf("getrandom = %d", n)
		}
		g.fails(abi.EINVAL, abi.SYS_GETRANDOM, buf, 100, 8)
		g.fails(abi.EFAULT, abi.SYS_GETRANDOM, 8, 100, 0)
		g.must(abi.SYS_SYSINFO, buf)
		if s := load[abi.Sysinfo](g, buf); s.Unit != 1 || s.Procs != 1 || s.Totalram == 0 {
			t.Errorf("%+v", s)
		}
		if n := g.must(abi.SYS_SCHED_GETAFFINITY, 0, 128, buf); n != 8 || load[uint64](g, buf) != 3 {
			t.Errorf("affinity %d %#x", n, load[uint64](g, buf))
		}
		g.fails(abi.EINVAL, abi.SYS_SCHED_GETAFFINITY, 0, 4, buf)
		g.must(abi.SYS_SETPRIORITY, 0, 0, 5)
		if n := g.must(abi.SYS_GETPRIORITY, 0, 0); n != 15 {
			t.Errorf("getpriority = %d", n)
		}
		g.fails(abi.EINVAL, abi.SYS_GETPRIORITY, 9, 0)
		g.fails(abi.ESRCH, abi.SYS_GETPRIORITY, 0, 999)
		g.fails(abi.ENOSYS, abi.SYS_RSEQ, 0, 0, 0, 0)
		g.fails(abi.ENOSYS, 5000)
		g.fails(abi.ENOSYS, x32Bit|abi.SYS_GETPID)
		g.fails(abi.EINVAL, abi.SYS_REBOOT, 1, 2, 3)
		g.must(abi.SYS_GETRLIMIT, abi.RLIMIT_STACK, buf)
		if l := load[abi.Rlimit64](g, buf); l.Cur != 8<<20 {
			t.Errorf("%+v", l)
		}
		g.fails(abi.EINVAL, abi.SYS_GETRLIMIT, 99, buf)
		g.must(abi.SYS_SETUID, 1000)
		for _, nr := range []uint64{abi.SYS_GETUID, abi.SYS_GETEUID} {
			if id := g.must(nr); id != 1000 {
				t.Errorf("uid %d", id)
			}
		}
		g.fails(abi.EPERM, abi.SYS_SETUID, 0)
		g.fails(abi.EPERM, abi.SYS_SETHOSTNAME, g.str("x"), 1)
		g.fails(abi.EPERM, abi.SYS_REBOOT, 1, 2, 3)
		g.fails(abi.EPERM, abi.SYS_MOUNT, g.str("none"), g.str("/proc"), g.str("proc"), 0, 0)
		h := value(g, abi.CapHeader{Version: abi.LINUX_CAPABILITY_VERSION_3})
		g.must(abi.SYS_CAPGET, h, buf)
		if c := load[[2]abi.CapData](g, buf); c[0].Effective != 0 {
			t.Errorf("%+v", c)
		}
		bad := value(g, abi.CapHeader{Version: 1})
		g.fails(abi.EINVAL, abi.SYS_CAPGET, bad, buf)
		if v := load[uint32](g, bad); v != abi.LINUX_CAPABILITY_VERSION_3 {
			t.Errorf("version %#x", v)
		}
	})
	stats := map[string]uint64{}
	for _, s := range r.table.Stats() {
		stats[s.Name] = s.N
	}
	if stats["enosys.rseq"] != 1 || stats["enosys.syscall_5000"] != 1 || stats["enosys.x32:39"] != 1 || stats["syscalls"] < 30 {
		t.Errorf("%v", stats)
	}
}

func TestTimeCalls(t *testing.T) {
	r := newRig(t)
	r.run(func(g *guest) {
		buf := g.put(make([]byte, 256))
		g.must(abi.SYS_CLOCK_GETTIME, abi.CLOCK_REALTIME, buf)
		if ts := load[abi.Timespec](g, buf); ts.Sec < 1_700_000_000 {
			t.Errorf("%+v", ts)
		}
		g.fails(abi.EINVAL, abi.SYS_CLOCK_GETTIME, 50, buf)
		g.fails(abi.EFAULT, abi.SYS_CLOCK_GETTIME, 0, 8)
		g.must(abi.SYS_CLOCK_GETTIME, abi.CLOCK_PROCESS_CPUTIME_ID, buf)
		g.must(abi.SYS_CLOCK_GETTIME, uint64(uint32(^int32(g.TID)<<3|6)), buf)
		g.must(abi.SYS_CLOCK_GETRES, abi.CLOCK_MONOTONIC, buf)
		if ts := load[abi.Timespec](g, buf); ts != (abi.Timespec{Nsec: 1}) {
			t.Errorf("%+v", ts)
		}
		g.fails(abi.EINVAL, abi.SYS_NANOSLEEP, value(g, abi.Timespec{Nsec: 1e9}), 0)
		g.fails(abi.EINVAL, abi.SYS_NANOSLEEP, value(g, abi.Timespec{Sec: -1}), 0)
		g.must(abi.SYS_NANOSLEEP, value(g, abi.Timespec{}), 0)
		// A child sleeps; its parent ends the sleep by a signal. The clock is virtual, so that time does not pass.
		id := g.fork(func(g *guest) {
			g.must(abi.SYS_RT_SIGACTION, abi.SIGUSR1, value(g, abi.Sigaction{Handler: abi.SIG_IGN}), 0, 8)
			g.call(abi.SYS_NANOSLEEP, value(g, abi.Timespec{Sec: 100}), buf)
			t.Error("the sleep ended")
		})
		g.must(abi.SYS_KILL, id, abi.SIGUSR1)
		g.must(abi.SYS_KILL, id, abi.SIGKILL)
		g.must(abi.SYS_WAIT4, id, 0, 0, 0)
		g.must(abi.SYS_SETITIMER, abi.ITIMER_REAL, value(g, abi.Itimerval{Value: abi.Timeval{Sec: 50}}), buf)
		g.must(abi.SYS_GETITIMER, abi.ITIMER_REAL, buf)
		if v := load[abi.Itimerval](g, buf); v.Value.Sec != 50 {
			t.Errorf("%+v", v)
		}
		if n := g.must(abi.SYS_ALARM, 0); n != 50 {
			t.Errorf("alarm = %d", n)
		}
		g.fails(abi.EINVAL, abi.SYS_SETITIMER, 7, buf, 0)
		g.must(abi.SYS_TIMER_CREATE, abi.CLOCK_MONOTONIC, 0, buf)
		tid := uint64(load[int32](g, buf))
		g.must(abi.SYS_TIMER_SETTIME, tid, 0, value(g, abi.ItimerSpec{Value: abi.Timespec{Sec: 9}}), 0)
		g.must(abi.SYS_TIMER_GETTIME, tid, buf)
		if v := load[abi.ItimerSpec](g, buf); v.Value.Sec != 9 {
			t.Errorf("%+v", v)
		}
		g.must(abi.SYS_TIMER_DELETE, tid)
		g.fails(abi.EINVAL, abi.SYS_TIMER_DELETE, tid)
		g.must(abi.SYS_CLOCK_SETTIME, 0, value(g, abi.Timespec{Sec: 1_800_000_000}))
		if n := g.must(abi.SYS_TIME, 0); n < 1_800_000_000 {
			t.Errorf("time = %d", n)
		}
		if n := g.must(abi.SYS_ADJTIMEX, g.put(make([]byte, 208))); n != abi.TIME_ERROR {
			t.Errorf("adjtimex = %d", n)
		}
	})
}

func TestPollCalls(t *testing.T) {
	r := newRig(t)
	r.run(func(g *guest) {
		ev := g.must(abi.SYS_EVENTFD2, 1, abi.EFD_NONBLOCK)
		fds := g.put(abi.SliceBytes([]abi.PollFD{{FD: int32(ev), Events: abi.POLLIN}, {FD: -1, Events: abi.POLLIN}, {FD: 77, Events: abi.POLLIN}}))
		if n := g.must(abi.SYS_POLL, fds, 3, 0); n != 2 {
			t.Errorf("poll = %d", n)
		}
		got := [3]abi.PollFD(load[[3]abi.PollFD](g, fds))
		if got[0].Revents != abi.POLLIN || got[1].Revents != 0 || got[2].Revents != abi.POLLNVAL {
			t.Errorf("%+v", got)
		}
		g.fails(abi.EINVAL, abi.SYS_POLL, fds, 1<<30, 0)
		g.fails(abi.EFAULT, abi.SYS_POLL, 8, 1, 0)
		g.fails(abi.EINVAL, abi.SYS_PPOLL, fds, 1, value(g, abi.Timespec{Sec: -1}), 0, 8)
		g.fails(abi.EINVAL, abi.SYS_PPOLL, fds, 1, 0, room, 4)
		set := value(g, uint64(1)<<ev)
		if n := g.must(abi.SYS_SELECT, ev+1, set, 0, 0, value(g, abi.Timeval{})); n != 1 || load[uint64](g, set) != 1<<ev {
			t.Errorf("select = %d", n)
		}
		ep := g.must(abi.SYS_EPOLL_CREATE1, 0)
		e := g.put([]byte{abi.EPOLLIN, 0, 0, 0, 42, 0, 0, 0, 0, 0, 0, 0})
		g.must(abi.SYS_EPOLL_CTL, ep, abi.EPOLL_CTL_ADD, ev, e)
		g.fails(abi.EEXIST, abi.SYS_EPOLL_CTL, ep, abi.EPOLL_CTL_ADD, ev, e)
		g.fails(abi.EBADF, abi.SYS_EPOLL_CTL, ep, abi.EPOLL_CTL_ADD, 99, e)
		g.fails(abi.EINVAL, abi.SYS_EPOLL_CTL, ep, 9, ev, e)
		file := g.must(abi.SYS_OPEN, g.str("/init"), 0, 0)
		g.fails(abi.EPERM, abi.SYS_EPOLL_CTL, ep, abi.EPOLL_CTL_ADD, file, e)
		g.fails(abi.EINVAL, abi.SYS_EPOLL_WAIT, ev, room, 1, 0)
		g.fails(abi.EINVAL, abi.SYS_EPOLL_WAIT, ep, room, 0, 0)
		if n := g.must(abi.SYS_EPOLL_PWAIT, ep, room, 10, ^uint64(0), 0, 8); n != 1 || g.bytes(room, 12)[4] != 42 {
			t.Errorf("epoll_pwait = %d", n)
		}
		g.must(abi.SYS_READ, ev, room, 8)
		if n := g.must(abi.SYS_EPOLL_WAIT, ep, room, 10, 0); n != 0 {
			t.Errorf("epoll_wait = %d", n)
		}
		g.must(abi.SYS_INOTIFY_INIT1, 0)
		g.must(abi.SYS_TIMERFD_CREATE, 1, 0)
		g.must(abi.SYS_SIGNALFD4, ^uint64(0), value(g, abi.SigBit(abi.SIGUSR1)), 8, 0)
		g.must(abi.SYS_PIDFD_OPEN, 1, 0)
	})
}

func TestFutexCall(t *testing.T) {
	r := newRig(t)
	r.run(func(g *guest) {
		word := value(g, uint32(5))
		g.fails(abi.EAGAIN, abi.SYS_FUTEX, word, abi.FUTEX_WAIT|abi.FUTEX_PRIVATE_FLAG, 4, 0, 0, 0)
		if n := g.must(abi.SYS_FUTEX, word, abi.FUTEX_WAKE|abi.FUTEX_PRIVATE_FLAG, 1, 0, 0, 0); n != 0 {
			t.Errorf("wake = %d", n)
		}
		g.fails(abi.EINVAL, abi.SYS_FUTEX, word+1, abi.FUTEX_WAKE, 1, 0, 0, 0)
		g.fails(abi.ENOSYS, abi.SYS_FUTEX, word, 99, 1, 0, 0, 0)
		g.fails(abi.ETIMEDOUT, abi.SYS_FUTEX, word, abi.FUTEX_WAIT, 5, value(g, abi.Timespec{}), 0, 0)
	})
}
