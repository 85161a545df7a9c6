package conform

import (
	"fmt"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

func TestProcess(t *testing.T) { family(t, "process", process) }

func process(r *rec) {
	buf := make([]byte, 4096)
	var status int32
	st := at(r, &status)
	mask := func(sigs ...unix.Signal) uintptr {
		m := new(uint64)
		for _, s := range sigs {
			*m |= 1 << (s - 1)
		}
		return at(r, m)
	}
	for _, c := range []struct {
		name string
		nr   int
		args []any
	}{
		{"wait4 none", unix.SYS_WAIT4, []any{-1, st, 0, 0}},
		{"wait4 none nohang", unix.SYS_WAIT4, []any{-1, st, unix.WNOHANG, 0}},
		{"wait4 unknown options", unix.SYS_WAIT4, []any{-1, st, 0x10, 0}},
		{"wait4 WEXITED", unix.SYS_WAIT4, []any{-1, st, unix.WEXITED, 0}},
		{"wait4 not a child", unix.SYS_WAIT4, []any{1, st, 0, 0}},
		{"wait4 int min", unix.SYS_WAIT4, []any{-1 << 31, st, 0, 0}},
		{"waitid no options", unix.SYS_WAITID, []any{unix.P_ALL, 0, buf, 0, 0}},
		{"waitid unknown options", unix.SYS_WAITID, []any{unix.P_ALL, 0, buf, 0x10 | unix.WEXITED, 0}},
		{"waitid unknown type", unix.SYS_WAITID, []any{9, 0, buf, unix.WEXITED, 0}},
		{"waitid pid 0", unix.SYS_WAITID, []any{unix.P_PID, 0, buf, unix.WEXITED, 0}},
		{"waitid pid negative", unix.SYS_WAITID, []any{unix.P_PID, -3, buf, unix.WEXITED, 0}},
		{"waitid pgid negative", unix.SYS_WAITID, []any{unix.P_PGID, -3, buf, unix.WEXITED, 0}},
		{"waitid pidfd bad", unix.SYS_WAITID, []any{unix.P_PIDFD, 999, buf, unix.WEXITED, 0}},
		{"waitid pidfd not one", unix.SYS_WAITID, []any{unix.P_PIDFD, 0, buf, unix.WEXITED, 0}},
		{"waitid none", unix.SYS_WAITID, []any{unix.P_ALL, 0, buf, unix.WEXITED | unix.WNOHANG, 0}},
		{"kill bad signal", unix.SYS_KILL, []any{0, 65}},
		{"kill negative signal", unix.SYS_KILL, []any{0, -1}},
		{"kill nobody", unix.SYS_KILL, []any{1 << 28, 0}},
		{"kill bad signal nobody", unix.SYS_KILL, []any{1 << 28, 65}},
		{"kill int min", unix.SYS_KILL, []any{-1 << 31, 0}},
		{"tgkill 0", unix.SYS_TGKILL, []any{0, 0, 0}},
		{"tgkill negative", unix.SYS_TGKILL, []any{-1, 1, 0}},
		{"tgkill other group", unix.SYS_TGKILL, []any{1, unix.Gettid(), 0}},
		{"tkill 0", unix.SYS_TKILL, []any{0, 0}},
		{"tkill nobody", unix.SYS_TKILL, []any{1 << 28, 0}},
		{"getpgid nobody", unix.SYS_GETPGID, []any{1 << 28}},
		{"getpgid negative", unix.SYS_GETPGID, []any{-1}},
		{"getsid nobody", unix.SYS_GETSID, []any{1 << 28}},
		{"setpgid negative", unix.SYS_SETPGID, []any{0, -1}},
		{"setpgid nobody", unix.SYS_SETPGID, []any{1 << 28, 0}},
		{"setpgid not a child", unix.SYS_SETPGID, []any{1, 0}},
		{"getpriority bad which", unix.SYS_GETPRIORITY, []any{3, 0}},
		{"getpriority nobody", unix.SYS_GETPRIORITY, []any{0, 1 << 28}},
		{"getpriority self", unix.SYS_GETPRIORITY, []any{0, 0}},
		{"getpriority group nobody", unix.SYS_GETPRIORITY, []any{1, 1 << 28}},
		{"getpriority user nobody", unix.SYS_GETPRIORITY, []any{2, 54321}},
		{"setpriority bad which", unix.SYS_SETPRIORITY, []any{3, 0, 0}},
		{"setpriority nobody", unix.SYS_SETPRIORITY, []any{0, 1 << 28, 0}},
		{"clone thread without sighand", unix.SYS_CLONE, []any{unix.CLONE_THREAD, 0, 0, 0, 0}},
		{"clone sighand without vm", unix.SYS_CLONE, []any{unix.CLONE_SIGHAND, 0, 0, 0, 0}},
		{"clone newns and fs", unix.SYS_CLONE, []any{unix.CLONE_NEWNS | unix.CLONE_FS, 0, 0, 0, 0}},
		{"clone pidfd and parent_settid", unix.SYS_CLONE, []any{unix.CLONE_PIDFD | unix.CLONE_PARENT_SETTID, 0, buf, 0, 0}},
		{"clone pidfd and detached", unix.SYS_CLONE, []any{unix.CLONE_PIDFD | unix.CLONE_DETACHED, 0, buf, 0, 0}},
		{"clone3 short", unix.SYS_CLONE3, []any{buf, 8}},
		{"clone3 huge", unix.SYS_CLONE3, []any{buf, 5000}},
		{"clone3 bad", unix.SYS_CLONE3, []any{bad, 64}},
		{"unshare unknown", unix.SYS_UNSHARE, []any{1}},
		{"unshare nothing", unix.SYS_UNSHARE, []any{0}},
		{"pidfd_open nobody", unix.SYS_PIDFD_OPEN, []any{1 << 28, 0}},
		{"pidfd_open 0", unix.SYS_PIDFD_OPEN, []any{0, 0}},
		{"pidfd_open flags", unix.SYS_PIDFD_OPEN, []any{unix.Getpid(), 1}},
		{"pidfd_send_signal bad", unix.SYS_PIDFD_SEND_SIGNAL, []any{999, 0, 0, 0}},
		{"pidfd_send_signal not one", unix.SYS_PIDFD_SEND_SIGNAL, []any{0, 0, 0, 0}},
		{"execve absent", unix.SYS_EXECVE, []any{"nope", 0, 0}},
		{"execve empty", unix.SYS_EXECVE, []any{"", 0, 0}},
		{"execve bad path", unix.SYS_EXECVE, []any{bad, 0, 0}},
		{"execve dir", unix.SYS_EXECVE, []any{"/", 0, 0}},
		{"execve bad argv", unix.SYS_EXECVE, []any{"/proc/self/exe", bad, 0}},
		{"execveat bad flags", unix.SYS_EXECVEAT, []any{cwd, "nope", 0, 0, 1}},
		{"execveat bad fd", unix.SYS_EXECVEAT, []any{999, "nope", 0, 0, 0}},
		{"prctl unknown", unix.SYS_PRCTL, []any{9999, 0, 0, 0, 0}},
		{"prctl name bad", unix.SYS_PRCTL, []any{unix.PR_SET_NAME, bad, 0, 0, 0}},
		{"prctl pdeathsig bad", unix.SYS_PRCTL, []any{unix.PR_SET_PDEATHSIG, 65, 0, 0, 0}},
		{"prctl dumpable bad", unix.SYS_PRCTL, []any{unix.PR_SET_DUMPABLE, 2, 0, 0, 0}},
		{"prctl get dumpable", unix.SYS_PRCTL, []any{unix.PR_GET_DUMPABLE, 0, 0, 0, 0}},
		{"prctl keepcaps bad", unix.SYS_PRCTL, []any{unix.PR_SET_KEEPCAPS, 2, 0, 0, 0}},
		{"prctl no_new_privs bad", unix.SYS_PRCTL, []any{unix.PR_SET_NO_NEW_PRIVS, 0, 0, 0, 0}},
		{"prctl no_new_privs extra", unix.SYS_PRCTL, []any{unix.PR_SET_NO_NEW_PRIVS, 1, 1, 0, 0}},
		{"prctl get no_new_privs extra", unix.SYS_PRCTL, []any{unix.PR_GET_NO_NEW_PRIVS, 1, 0, 0, 0}},
		{"prctl capbset read bad", unix.SYS_PRCTL, []any{unix.PR_CAPBSET_READ, 64, 0, 0, 0}},
		{"prctl get timerslack", unix.SYS_PRCTL, []any{unix.PR_GET_TIMERSLACK, 0, 0, 0, 0}},
		{"prctl get child subreaper bad", unix.SYS_PRCTL, []any{unix.PR_GET_CHILD_SUBREAPER, bad, 0, 0, 0}},
		{"prctl get securebits", unix.SYS_PRCTL, []any{unix.PR_GET_SECUREBITS, 0, 0, 0, 0}},
		{"prctl get seccomp", unix.SYS_PRCTL, []any{unix.PR_GET_SECCOMP, 0, 0, 0, 0}},
		{"prctl get tsc bad", unix.SYS_PRCTL, []any{unix.PR_GET_TSC, bad, 0, 0, 0}},
		{"prctl get thp", unix.SYS_PRCTL, []any{unix.PR_GET_THP_DISABLE, 0, 0, 0, 0}},
		{"prctl get thp extra", unix.SYS_PRCTL, []any{unix.PR_GET_THP_DISABLE, 1, 0, 0, 0}},
		{"arch_prctl unknown", unix.SYS_ARCH_PRCTL, []any{0x9999, 0}},
		{"arch_prctl set kernel", unix.SYS_ARCH_PRCTL, []any{0x1002, uintptr(0xffff800000000000)}},
		{"arch_prctl get bad", unix.SYS_ARCH_PRCTL, []any{0x1003, bad}},
		{"personality", unix.SYS_PERSONALITY, []any{uint32(0xffffffff)}},
		{"set_robust_list bad size", unix.SYS_SET_ROBUST_LIST, []any{buf, 8}},
		{"get_robust_list nobody", unix.SYS_GET_ROBUST_LIST, []any{1 << 28, buf, buf}},
		{"getrlimit bad", unix.SYS_GETRLIMIT, []any{16, buf}},
		{"getrlimit bad pointer", unix.SYS_GETRLIMIT, []any{0, bad}},
		{"setrlimit cur over max", unix.SYS_SETRLIMIT, []any{unix.RLIMIT_CORE, at(r, &unix.Rlimit{Cur: 5, Max: 3})}},
		{"prlimit nobody", unix.SYS_PRLIMIT64, []any{1 << 28, 0, 0, buf}},
		{"prlimit bad resource nobody", unix.SYS_PRLIMIT64, []any{1 << 28, 99, 0, buf}},
		{"prlimit bad new", unix.SYS_PRLIMIT64, []any{0, 0, bad, 0}},
		{"getrusage bad who", unix.SYS_GETRUSAGE, []any{5, buf}},
		{"getrusage thread", unix.SYS_GETRUSAGE, []any{1, buf}},
		{"getrusage bad pointer", unix.SYS_GETRUSAGE, []any{0, bad}},
		{"times null", unix.SYS_TIMES, []any{bad}},
		{"kcmp nobody", unix.SYS_KCMP, []any{1 << 28, 1 << 28, 0, 0, 0}},
		{"sched_setscheduler unknown", unix.SYS_SCHED_SETSCHEDULER, []any{0, 99, buf}},
		{"sched_setscheduler negative pid", unix.SYS_SCHED_SETSCHEDULER, []any{-1, 0, buf}},
		{"sched_setscheduler null", unix.SYS_SCHED_SETSCHEDULER, []any{0, 0, 0}},
		{"sched_setscheduler prio of other", unix.SYS_SCHED_SETSCHEDULER, []any{0, 0, at(r, ptr(int32(5)))}},
		{"sched_setscheduler fifo 0", unix.SYS_SCHED_SETSCHEDULER, []any{0, 1, at(r, ptr(int32(0)))}},
		{"sched_setscheduler fifo 100", unix.SYS_SCHED_SETSCHEDULER, []any{0, 1, at(r, ptr(int32(100)))}},
		{"sched_getscheduler", unix.SYS_SCHED_GETSCHEDULER, []any{0}},
		{"sched_getscheduler nobody", unix.SYS_SCHED_GETSCHEDULER, []any{1 << 28}},
		{"sched_getscheduler negative", unix.SYS_SCHED_GETSCHEDULER, []any{-1}},
		{"sched_getparam null", unix.SYS_SCHED_GETPARAM, []any{0, 0}},
		{"sched_getparam bad", unix.SYS_SCHED_GETPARAM, []any{0, bad}},
		{"sched_get_priority_max fifo", unix.SYS_SCHED_GET_PRIORITY_MAX, []any{1}},
		{"sched_get_priority_max other", unix.SYS_SCHED_GET_PRIORITY_MAX, []any{0}},
		{"sched_get_priority_max unknown", unix.SYS_SCHED_GET_PRIORITY_MAX, []any{99}},
		{"sched_get_priority_min rr", unix.SYS_SCHED_GET_PRIORITY_MIN, []any{2}},
		{"sched_rr_get_interval nobody", unix.SYS_SCHED_RR_GET_INTERVAL, []any{1 << 28, buf}},
		{"sched_getaffinity short", unix.SYS_SCHED_GETAFFINITY, []any{0, 4, buf}},
		{"sched_getaffinity odd", unix.SYS_SCHED_GETAFFINITY, []any{0, 9, buf}},
		{"sched_getaffinity", unix.SYS_SCHED_GETAFFINITY, []any{0, 8, buf}},
		{"sched_getaffinity bad", unix.SYS_SCHED_GETAFFINITY, []any{0, 8, bad}},
		{"sched_getaffinity nobody", unix.SYS_SCHED_GETAFFINITY, []any{1 << 28, 8, buf}},
		{"sched_setaffinity empty", unix.SYS_SCHED_SETAFFINITY, []any{0, 8, make([]byte, 8)}},
		{"sched_setaffinity bad", unix.SYS_SCHED_SETAFFINITY, []any{0, 8, bad}},
		{"sched_getattr short", unix.SYS_SCHED_GETATTR, []any{0, buf, 8, 0}},
		{"sched_getattr flags", unix.SYS_SCHED_GETATTR, []any{0, buf, 56, 1}},
		{"sched_setattr flags", unix.SYS_SCHED_SETATTR, []any{0, buf, 1}},
		{"ioprio_get bad", unix.SYS_IOPRIO_GET, []any{9, 0}},
		{"ioprio_get", unix.SYS_IOPRIO_GET, []any{1, 0}},
		{"getcpu bad", unix.SYS_GETCPU, []any{bad, 0, 0}},
		{"set_tid_address", unix.SYS_SCHED_YIELD, nil},
	} {
		r.call(c.name, c.nr, c.args...)
	}

	// How children end.
	for _, code := range []int{0, 1, 255, 256, -1} {
		pid, _ := r.start(do("", unix.SYS_EXIT_GROUP, code))
		r.must(unix.SYS_WAIT4, pid, st, 0, 0)
		r.put(fmt.Sprint("exit ", code), "%#x", status)
	}
	pid, _ := r.start(do("", unix.SYS_EXIT, 9))
	r.must(unix.SYS_WAIT4, pid, st, 0, 0)
	r.put("exit of the one thread", "%#x", status)
	nocore := do("", unix.SYS_PRLIMIT64, 0, unix.RLIMIT_CORE, at(r, &unix.Rlimit{}), 0)
	for sig := 1; sig <= 64; sig++ {
		pid, done := r.start(nocore, do("", unix.SYS_SETPGID, 0, 0), do("", unix.SYS_GETPID), do("kill", unix.SYS_KILL, ref(2), sig))
		got := r.must(unix.SYS_WAIT4, pid, st, unix.WUNTRACED, 0)
		_, _ = got, done
		r.put(fmt.Sprint("own signal ", sig), "%#x", status)
		if status&0xff == 0x7f {
			r.must(unix.SYS_KILL, pid, unix.SIGKILL)
			r.must(unix.SYS_WAIT4, pid, st, unix.WUNTRACED, 0)
			r.put(fmt.Sprint("after the stop ", sig), "%#x", status)
		}
	}
	type siginfo struct {
		Signo, Errno, Code, _ int32
		Pid                   int32
		Uid                   uint32
		Status                int32
		_                     [25]int32
	}
	info := new(siginfo)
	inf := at(r, info)
	waitid := func(name string, typ, id, options int) {
		*info = siginfo{Signo: -1, Pid: -1}
		v, e := r.raw(unix.SYS_WAITID, typ, id, inf, options, 0)
		p := "other"
		switch int(info.Pid) {
		case id:
			p = "child"
		case 0, -1:
			p = fmt.Sprint(info.Pid)
		}
		r.put(name, "%s signo %d errno %d code %d pid %s status %d", show(v, e), info.Signo, info.Errno, info.Code, p, info.Status)
	}
	pause := do("", unix.SYS_RT_SIGTIMEDWAIT, mask(unix.SIGUSR1), 0, 0, 8)
	hr, hw := r.pipe(0)
	yr, yw := r.pipe(0)
	pid, _ = r.start(do("", unix.SYS_SETPGID, 0, 0), do("", unix.SYS_WRITE, yw, buf, 1), do("", unix.SYS_READ, hr, buf, 1), do("", unix.SYS_EXIT_GROUP, 3))
	r.must(unix.SYS_READ, yr, buf, 1) // it has a group of its own, so that it is no orphan
	waitid("waitid running", unix.P_PID, pid, unix.WEXITED|unix.WSTOPPED|unix.WCONTINUED|unix.WNOHANG)
	r.call("wait4 nohang running", unix.SYS_WAIT4, pid, st, unix.WNOHANG, 0)
	r.must(unix.SYS_KILL, pid, unix.SIGSTOP)
	waitid("waitid stopped, nowait", unix.P_PID, pid, unix.WSTOPPED|unix.WNOWAIT)
	waitid("waitid stopped", unix.P_PID, pid, unix.WSTOPPED)
	waitid("waitid stopped once more", unix.P_PID, pid, unix.WSTOPPED|unix.WNOHANG)
	r.must(unix.SYS_KILL, pid, unix.SIGCONT)
	waitid("waitid continued", unix.P_PID, pid, unix.WCONTINUED)
	r.must(unix.SYS_KILL, pid, unix.SIGTSTP)
	r.must(unix.SYS_WAIT4, pid, st, unix.WUNTRACED, 0)
	r.put("wait4 stopped", "%#x", status)
	r.must(unix.SYS_KILL, pid, unix.SIGCONT)
	r.must(unix.SYS_WAIT4, pid, st, unix.WCONTINUED, 0)
	r.put("wait4 continued", "%#x", status)
	r.must(unix.SYS_WRITE, hw, buf, 1)
	waitid("waitid exited, nowait", unix.P_PID, pid, unix.WEXITED|unix.WNOWAIT)
	r.call("signal to a zombie", unix.SYS_KILL, pid, 9)
	r.call("getpgid of a zombie is mine", unix.SYS_SETPGID, pid, 0)
	waitid("waitid exited", unix.P_PID, pid, unix.WEXITED)
	waitid("waitid gone", unix.P_PID, pid, unix.WEXITED)
	pid, _ = r.start(pause)
	r.must(unix.SYS_KILL, pid, unix.SIGKILL)
	waitid("waitid killed", unix.P_PID, pid, unix.WEXITED)
	pid, _ = r.start(do("", unix.SYS_EXIT_GROUP, 3))
	waitid("waitid only stopped", unix.P_PID, pid, unix.WEXITED|unix.WNOWAIT)
	waitid("waitid of a zombie for stops", unix.P_PID, pid, unix.WSTOPPED|unix.WNOHANG)
	r.call("wait4 bad status", unix.SYS_WAIT4, pid, bad, 0, 0)
	r.call("wait4 after it", unix.SYS_WAIT4, pid, st, 0, 0)
	pid, _ = r.start(do("", unix.SYS_EXIT_GROUP, 3))
	r.call("wait4 bad rusage", unix.SYS_WAIT4, pid, st, 0, bad)
	r.call("wait4 after that", unix.SYS_WAIT4, pid, st, 0, 0)
	pid, _ = r.start(do("", unix.SYS_EXIT_GROUP, 3))
	pfd := r.must(unix.SYS_PIDFD_OPEN, pid, 0)
	waitid("waitid pidfd", unix.P_PIDFD, pfd, unix.WEXITED)
	r.call("pidfd signal gone", unix.SYS_PIDFD_SEND_SIGNAL, pfd, 0, 0, 0)
	pid, _ = r.start(pause)
	pfd = r.must(unix.SYS_PIDFD_OPEN, pid, unix.PIDFD_NONBLOCK)
	waitid("waitid pidfd nonblock", unix.P_PIDFD, pfd, unix.WEXITED)
	p := &unix.PollFd{Fd: int32(pfd), Events: 1}
	r.call("poll pidfd", unix.SYS_POLL, at(r, p), 1, 0)
	r.call("pidfd signal", unix.SYS_PIDFD_SEND_SIGNAL, pfd, 9, 0, 0)
	r.call("poll pidfd end", unix.SYS_POLL, at(r, p), 1, -1)
	waitid("waitid pidfd nonblock end", unix.P_PIDFD, pfd, unix.WEXITED)
	child := func(steps ...step) []step { return steps }
	r.fork("sessions", child(
		opn("session", unix.SYS_SETSID),
		do("setsid again", unix.SYS_SETSID),
		do("setpgid of a leader", unix.SYS_SETPGID, 0, 0),
		do("setpgid elsewhere", unix.SYS_SETPGID, 0, unix.Getpid()),
		opn("getsid", unix.SYS_GETSID, 0),
		opn("getsid of itself", unix.SYS_GETSID, ref(0)),
		do("TIOCGSID", unix.SYS_IOCTL, 0, unix.TIOCGSID, buf),
		do("open tty", unix.SYS_OPENAT, cwd, "/dev/tty", unix.O_RDWR, 0),
	)...)
	r.fork("groups",
		do("own group", unix.SYS_SETPGID, 0, 0),
		do("again", unix.SYS_SETPGID, 0, 0),
		do("into absent", unix.SYS_SETPGID, 0, 1<<28),
		do("parent", unix.SYS_SETPGID, unix.Getpid(), 0),
		do("kill own group 0", unix.SYS_KILL, 0, 0),
	)
	r.fork("limits",
		do("lower", unix.SYS_PRLIMIT64, 0, unix.RLIMIT_CORE, at(r, &unix.Rlimit{Cur: 10, Max: 10}), 0),
		do("nofile over nr_open", unix.SYS_PRLIMIT64, 0, unix.RLIMIT_NOFILE, at(r, &unix.Rlimit{Cur: 1 << 30, Max: 1<<30 + 1}), 0),
		do("get", unix.SYS_PRLIMIT64, 0, unix.RLIMIT_CORE, 0, buf),
	)
	r.fork("alarm", do("", unix.SYS_ALARM, 100), do("left", unix.SYS_ALARM, 0), do("none", unix.SYS_ALARM, 0))
	for _, c := range []struct{ name, content string }{
		{"empty", ""}, {"text", "hello\n"}, {"interpreter absent", "#!/nope\n"}, {"interpreter is a dir", "#!/\n"}, {"no interpreter", "#!\n"},
		{"blanks", "#!   \n"}, {"long line", "#!/" + string(make([]byte, 300)) + "\n"}, {"itself", "#!./x\n"}, {"cut ELF", "\x7fELF"}, {"no newline", "#!/nope"},
	} {
		os.Remove("x")
		r.file("x", c.content, 0o755)
		pid, done := r.start(do("exec", unix.SYS_EXECVE, "./x", at(r, &[2]uintptr{r.addr("x")}), 0))
		r.must(unix.SYS_WAIT4, pid, st, 0, 0)
		done("script " + c.name)
		r.put("script "+c.name+" status", "%#x", status)
	}
	w := r.open("x", unix.O_WRONLY)
	r.fork("busy text", do("exec", unix.SYS_EXECVE, "./x", at(r, &[2]uintptr{r.addr("x")}), 0))
	r.close(w)
	r.must(unix.SYS_FCHMODAT, cwd, "x", 0o644)
	r.fork("no x bit", do("exec", unix.SYS_EXECVE, "./x", at(r, &[2]uintptr{r.addr("x")}), 0))
	long := make([]byte, 140000)
	for i := range long {
		long[i] = 'a'
	}
	r.fork("long argument", do("exec", unix.SYS_EXECVE, "/proc/self/exe", at(r, &[3]uintptr{r.addr("x"), r.addr(string(long))}), 0))

	// Orphans and the subreaper.
	var sub int32
	r.must(unix.SYS_PRCTL, unix.PR_GET_CHILD_SUBREAPER, at(r, &sub), 0, 0, 0)
	r.put("subreaper", "%d", sub)
	// Signals that are ignored: the parent does not wait.
	r.fork("ignored SIGCHLD",
		do("ignore", unix.SYS_RT_SIGACTION, unix.SIGCHLD, at(r, &[4]uintptr{1}), 0, 8),
		do("wait", unix.SYS_WAIT4, -1, 0, 0, 0),
	)
}
