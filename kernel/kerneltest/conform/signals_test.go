package conform

import (
	"fmt"
	"testing"

	"golang.org/x/sys/unix"
)

func TestSignals(t *testing.T) { family(t, "signals", signals) }

// sigs is the address of a set.
func (r *rec) sigs(s ...unix.Signal) uintptr {
	m := new(uint64)
	for _, n := range s {
		*m |= 1 << (n - 1)
	}
	return at(r, m)
}

func signals(r *rec) {
	buf := make([]byte, 4096)
	zero, short := at(r, &unix.Timespec{}), at(r, &unix.Timespec{Nsec: 2e6})
	act := func(h uintptr) uintptr { return at(r, &[4]uintptr{h, 0x04000000, 0, 0}) }
	for _, c := range []struct {
		name string
		nr   int
		args []any
	}{
		{"sigaction 0", unix.SYS_RT_SIGACTION, []any{0, 0, 0, 8}},
		{"sigaction 65", unix.SYS_RT_SIGACTION, []any{65, 0, 0, 8}},
		{"sigaction size", unix.SYS_RT_SIGACTION, []any{10, 0, 0, 4}},
		{"sigaction bad", unix.SYS_RT_SIGACTION, []any{10, bad, 0, 8}},
		{"sigaction bad and invalid", unix.SYS_RT_SIGACTION, []any{65, bad, 0, 8}},
		{"sigaction KILL query", unix.SYS_RT_SIGACTION, []any{9, 0, buf, 8}},
		{"sigaction KILL", unix.SYS_RT_SIGACTION, []any{9, act(1), 0, 8}},
		{"sigaction STOP", unix.SYS_RT_SIGACTION, []any{19, act(0), 0, 8}},
		{"sigaction bad old", unix.SYS_RT_SIGACTION, []any{64, 0, bad, 8}},
		{"sigprocmask how", unix.SYS_RT_SIGPROCMASK, []any{9, buf, 0, 8}},
		{"sigprocmask how without set", unix.SYS_RT_SIGPROCMASK, []any{9, 0, buf, 8}},
		{"sigprocmask size", unix.SYS_RT_SIGPROCMASK, []any{0, buf, 0, 4}},
		{"sigprocmask bad", unix.SYS_RT_SIGPROCMASK, []any{0, bad, 0, 8}},
		{"sigprocmask bad old", unix.SYS_RT_SIGPROCMASK, []any{0, 0, bad, 8}},
		{"sigpending size 4", unix.SYS_RT_SIGPENDING, []any{buf, 4}},
		{"sigpending size 9", unix.SYS_RT_SIGPENDING, []any{buf, 9}},
		{"sigpending bad", unix.SYS_RT_SIGPENDING, []any{bad, 8}},
		{"sigsuspend size", unix.SYS_RT_SIGSUSPEND, []any{buf, 4}},
		{"sigsuspend bad", unix.SYS_RT_SIGSUSPEND, []any{bad, 8}},
		{"sigtimedwait size", unix.SYS_RT_SIGTIMEDWAIT, []any{buf, 0, zero, 4}},
		{"sigtimedwait bad", unix.SYS_RT_SIGTIMEDWAIT, []any{bad, 0, zero, 8}},
		{"sigtimedwait bad time", unix.SYS_RT_SIGTIMEDWAIT, []any{r.sigs(34), 0, bad, 8}},
		{"sigtimedwait invalid time", unix.SYS_RT_SIGTIMEDWAIT, []any{r.sigs(34), 0, at(r, &unix.Timespec{Nsec: 1e9}), 8}},
		{"sigtimedwait nothing", unix.SYS_RT_SIGTIMEDWAIT, []any{r.sigs(50), 0, zero, 8}},
		{"sigtimedwait for a while", unix.SYS_RT_SIGTIMEDWAIT, []any{r.sigs(50), 0, short, 8}},
		{"sigqueueinfo bad", unix.SYS_RT_SIGQUEUEINFO, []any{unix.Getpid(), 50, bad}},
		{"sigqueueinfo nobody", unix.SYS_RT_SIGQUEUEINFO, []any{1 << 28, 0, buf}},
		{"sigqueueinfo as kernel to other", unix.SYS_RT_SIGQUEUEINFO, []any{1, 0, buf}},
		{"tgsigqueueinfo 0", unix.SYS_RT_TGSIGQUEUEINFO, []any{0, 0, 0, buf}},
		{"sigaltstack bad", unix.SYS_SIGALTSTACK, []any{bad, 0}},
	} {
		r.call(c.name, c.nr, c.args...)
	}
	info := make([]byte, 128)
	for i := range info {
		info[i] = byte(i)
	}
	queue := func(code int32, val byte) []byte {
		b := make([]byte, 128)
		b[8], b[9], b[10], b[11] = byte(code), byte(code>>8), byte(code>>16), byte(code>>24)
		b[24] = val
		return b
	}
	all := r.sigs(unix.SIGUSR1, unix.SIGUSR2, unix.SIGCHLD, unix.SIGTERM, 40, 41, 50)
	got := make([][]byte, 12)
	for i := range got {
		got[i] = make([]byte, 128)
	}
	pend := at(r, new(uint64))
	out := r.open("out", unix.O_RDWR|unix.O_CREAT)
	take := func(i int) []step {
		return []step{do(fmt.Sprint("take ", i), unix.SYS_RT_SIGTIMEDWAIT, all, got[i], zero, 8), do("", unix.SYS_PWRITE64, out, got[i], 128, i*128)}
	}
	steps := []step{
		do("", unix.SYS_GETPID), do("block", unix.SYS_RT_SIGPROCMASK, 0, all, 0, 8),
		do("kill USR2", unix.SYS_KILL, ref(0), unix.SIGUSR2), do("kill USR2 again", unix.SYS_KILL, ref(0), unix.SIGUSR2),
		do("rt 41", unix.SYS_RT_SIGQUEUEINFO, ref(0), 41, queue(-1, 1)), do("rt 40", unix.SYS_RT_SIGQUEUEINFO, ref(0), 40, queue(-1, 2)), do("rt 40 again", unix.SYS_RT_SIGQUEUEINFO, ref(0), 40, queue(-1, 3)),
		do("tgkill USR1", unix.SYS_TGKILL, ref(0), ref(0), unix.SIGUSR1), do("kill USR1", unix.SYS_KILL, ref(0), unix.SIGUSR1),
		do("own as from the kernel", unix.SYS_RT_SIGQUEUEINFO, ref(0), 50, queue(5, 4)),
		do("tgsigqueue", unix.SYS_RT_TGSIGQUEUEINFO, ref(0), ref(0), unix.SIGTERM, queue(-5, 5)),
		do("sigpending", unix.SYS_RT_SIGPENDING, pend, 8), do("", unix.SYS_PWRITE64, out, pend, 8, 2000),
	}
	for i := range 10 {
		steps = append(steps, take(i)...)
	}
	r.fork("queue", steps...)
	b := make([]byte, 2008)
	r.must(unix.SYS_PREAD64, out, b, 2008, 0)
	r.put("pending", "%x", b[2000:])
	for i := range 10 {
		x := b[i*128:]
		r.put(fmt.Sprint("info ", i), "signo %d errno %d code %d value %d", x[0], x[4], int8(x[8]), x[24])
	}
	r.fork("ignored",
		do("", unix.SYS_GETPID), do("ignore", unix.SYS_RT_SIGACTION, unix.SIGUSR1, act(1), 0, 8), do("send", unix.SYS_KILL, ref(0), unix.SIGUSR1),
		do("default CHLD", unix.SYS_KILL, ref(0), unix.SIGCHLD), do("default WINCH", unix.SYS_KILL, ref(0), unix.SIGWINCH), do("default URG", unix.SYS_KILL, ref(0), unix.SIGURG), do("CONT", unix.SYS_KILL, ref(0), unix.SIGCONT),
		do("block", unix.SYS_RT_SIGPROCMASK, 0, all, 0, 8), do("send blocked and ignored", unix.SYS_KILL, ref(0), unix.SIGUSR1), do("take", unix.SYS_RT_SIGTIMEDWAIT, all, 0, zero, 8),
		do("send again", unix.SYS_KILL, ref(0), unix.SIGUSR1), do("ignoring drops it", unix.SYS_RT_SIGACTION, unix.SIGUSR1, act(1), 0, 8), do("take none", unix.SYS_RT_SIGTIMEDWAIT, all, 0, zero, 8))
	r.fork("unblocking kills", do("", unix.SYS_GETPID), do("", unix.SYS_RT_SIGPROCMASK, 0, all, 0, 8), do("send", unix.SYS_KILL, ref(0), unix.SIGTERM), do("unblock", unix.SYS_RT_SIGPROCMASK, 1, all, 0, 8))
	r.fork("KILL cannot be blocked", do("", unix.SYS_GETPID), do("block", unix.SYS_RT_SIGPROCMASK, 0, r.sigs(unix.SIGKILL, unix.SIGSTOP), 0, 8), do("query", unix.SYS_RT_SIGPROCMASK, 0, 0, pend, 8), do("send", unix.SYS_KILL, ref(0), unix.SIGKILL))
	r.fork("limit", do("", unix.SYS_GETPID), do("", unix.SYS_RT_SIGPROCMASK, 0, all, 0, 8), do("", unix.SYS_PRLIMIT64, 0, unix.RLIMIT_SIGPENDING, at(r, &unix.Rlimit{}), 0),
		do("queue rt", unix.SYS_RT_SIGQUEUEINFO, ref(0), 40, queue(-1, 1)), do("kill rt", unix.SYS_KILL, ref(0), 41), do("queue plain", unix.SYS_RT_SIGQUEUEINFO, ref(0), unix.SIGUSR1, queue(-1, 1)), do("kill plain", unix.SYS_KILL, ref(0), unix.SIGUSR2),
		do("take 1", unix.SYS_RT_SIGTIMEDWAIT, all, 0, zero, 8), do("take 2", unix.SYS_RT_SIGTIMEDWAIT, all, 0, zero, 8), do("take 3", unix.SYS_RT_SIGTIMEDWAIT, all, 0, zero, 8), do("take 4", unix.SYS_RT_SIGTIMEDWAIT, all, 0, zero, 8))
	r.fork("ppoll mask", do("", unix.SYS_GETPID), do("", unix.SYS_RT_SIGPROCMASK, 0, all, 0, 8), do("send", unix.SYS_KILL, ref(0), unix.SIGUSR1), do("ppoll keeps it blocked", unix.SYS_PPOLL, 0, 0, short, all, 8), do("ppoll lets it in", unix.SYS_PPOLL, 0, 0, 0, r.sigs(), 8))
	st := func(sp, flags, size uintptr) uintptr { return at(r, &[3]uintptr{sp, flags, size}) }
	pg := r.pages(16)
	o := new([3]uintptr)
	r.fork("altstack",
		do("get", unix.SYS_SIGALTSTACK, 0, buf), do("small", unix.SYS_SIGALTSTACK, st(pg, 0, 100), 0), do("flags", unix.SYS_SIGALTSTACK, st(pg, 8, 65536), 0), do("onstack flag", unix.SYS_SIGALTSTACK, st(pg, 1, 65536), 0),
		do("set", unix.SYS_SIGALTSTACK, st(pg, 0, 65536), 0), do("autodisarm", unix.SYS_SIGALTSTACK, st(pg, 1<<31, 65536), at(r, o)), do("disable", unix.SYS_SIGALTSTACK, st(0, 2, 0), 0), do("disable with junk", unix.SYS_SIGALTSTACK, st(7, 2, 3), 0), do("bad old", unix.SYS_SIGALTSTACK, 0, bad))
}
