package conform

import (
	"fmt"
	"testing"

	"golang.org/x/sys/unix"
)

func TestTimers(t *testing.T) { family(t, "timers", timers) }

func timers(r *rec) {
	buf := make([]byte, 4096)
	ts := func(s, n int64) uintptr { return at(r, &unix.Timespec{Sec: s, Nsec: n}) }
	its := func(v ...int64) uintptr {
		return at(r, &[4]int64{v[0], v[1], v[2], v[3]})
	}
	for id := -3; id <= 13; id++ {
		if id == 8 || id == 9 {
			continue // the alarm clocks are there where a real-time clock is
		}
		r.call(fmt.Sprint("gettime ", id), unix.SYS_CLOCK_GETTIME, id, buf)
		r.call(fmt.Sprint("getres ", id), unix.SYS_CLOCK_GETRES, id, buf)
		r.call(fmt.Sprint("getres null ", id), unix.SYS_CLOCK_GETRES, id, 0)
		r.call(fmt.Sprint("settime bad nsec ", id), unix.SYS_CLOCK_SETTIME, id, ts(0, -1))
		if id < 0 || id == 2 || id == 3 {
			continue // a CPU clock stands still while all sleep
		}
		r.call(fmt.Sprint("nanosleep ", id), unix.SYS_CLOCK_NANOSLEEP, id, 0, ts(0, 1), 0)
		r.call(fmt.Sprint("nanosleep bad ", id), unix.SYS_CLOCK_NANOSLEEP, id, 0, ts(0, 1e9), 0)
		tid := new(int32)
		v, e := r.raw(unix.SYS_TIMER_CREATE, id, at(r, &[8]uintptr{0, 1 << 32}), at(r, tid)) // SIGEV_NONE
		r.put(fmt.Sprint("timer_create ", id), "%s", show(v, e))
		if e == 0 {
			r.call(fmt.Sprint("timer_delete ", id), unix.SYS_TIMER_DELETE, *tid)
		}
	}
	ev := func(sig, notify int32) uintptr {
		b := make([]byte, 64)
		b[8], b[12] = byte(sig), byte(notify)
		return r.addr(b)
	}
	tid := new(int32)
	for _, c := range []struct {
		name string
		nr   int
		args []any
	}{
		{"gettime bad", unix.SYS_CLOCK_GETTIME, []any{0, bad}},
		{"nanosleep negative", unix.SYS_NANOSLEEP, []any{ts(-1, 0), 0}},
		{"nanosleep nsec", unix.SYS_NANOSLEEP, []any{ts(0, 1e9), 0}},
		{"nanosleep bad", unix.SYS_NANOSLEEP, []any{bad, 0}},
		{"nanosleep bad rest", unix.SYS_NANOSLEEP, []any{ts(0, 1), bad}},
		{"nanosleep no time", unix.SYS_NANOSLEEP, []any{ts(0, 0), 0}},
		{"clock_nanosleep abs past", unix.SYS_CLOCK_NANOSLEEP, []any{1, 1, ts(0, 0), 0}},
		{"clock_nanosleep unknown flags", unix.SYS_CLOCK_NANOSLEEP, []any{1, 8, ts(0, 0), 0}},
		{"gettimeofday bad", unix.SYS_GETTIMEOFDAY, []any{bad, 0}},
		{"gettimeofday bad zone", unix.SYS_GETTIMEOFDAY, []any{0, bad}},
		{"settimeofday usec", unix.SYS_SETTIMEOFDAY, []any{at(r, &unix.Timeval{Usec: 1e6}), 0}},
		{"adjtimex bad", unix.SYS_ADJTIMEX, []any{bad}},
		{"time bad", unix.SYS_TIME, []any{bad}},
		{"getitimer which", unix.SYS_GETITIMER, []any{3, buf}},
		{"getitimer bad", unix.SYS_GETITIMER, []any{0, bad}},
		{"setitimer which", unix.SYS_SETITIMER, []any{3, its(0, 0, 0, 0), 0}},
		{"setitimer usec", unix.SYS_SETITIMER, []any{0, its(0, 0, 0, 1e6), 0}},
		{"setitimer interval usec", unix.SYS_SETITIMER, []any{0, its(0, 1e6, 0, 0), 0}},
		{"setitimer negative", unix.SYS_SETITIMER, []any{0, its(0, 0, -1, 0), 0}},
		{"setitimer null", unix.SYS_SETITIMER, []any{0, 0, buf}},
		{"setitimer bad", unix.SYS_SETITIMER, []any{0, bad, 0}},
		{"timer_create clock", unix.SYS_TIMER_CREATE, []any{99, 0, at(r, tid)}},
		{"timer_create notify", unix.SYS_TIMER_CREATE, []any{1, ev(10, 9), at(r, tid)}},
		{"timer_create signal 0", unix.SYS_TIMER_CREATE, []any{1, ev(0, 0), at(r, tid)}},
		{"timer_create signal 65", unix.SYS_TIMER_CREATE, []any{1, ev(65, 0), at(r, tid)}},
		{"timer_create thread nobody", unix.SYS_TIMER_CREATE, []any{1, ev(10, 4), at(r, tid)}},
		{"timer_create bad event", unix.SYS_TIMER_CREATE, []any{1, bad, at(r, tid)}},
		{"timer_create bad id", unix.SYS_TIMER_CREATE, []any{1, ev(10, 0), bad}},
		{"timer_settime nobody", unix.SYS_TIMER_SETTIME, []any{9999, 0, its(0, 0, 0, 0), 0}},
		{"timer_settime bad nsec nobody", unix.SYS_TIMER_SETTIME, []any{9999, 0, its(0, 0, 0, 1e9), 0}},
		{"timer_settime null", unix.SYS_TIMER_SETTIME, []any{9999, 0, 0, 0}},
		{"timer_gettime nobody", unix.SYS_TIMER_GETTIME, []any{9999, buf}},
		{"timer_getoverrun nobody", unix.SYS_TIMER_GETOVERRUN, []any{9999}},
		{"timer_delete nobody", unix.SYS_TIMER_DELETE, []any{9999}},
		{"timer_delete negative", unix.SYS_TIMER_DELETE, []any{-1}},
		{"alarm", unix.SYS_ALARM, []any{0}},
		{"futex unknown", unix.SYS_FUTEX, []any{buf, 99, 0, 0, 0, 0}},
		{"futex wait other value", unix.SYS_FUTEX, []any{make([]byte, 4), 128, 5, 0, 0, 0}},
		{"futex wait timeout", unix.SYS_FUTEX, []any{make([]byte, 4), 128, 0, ts(0, 1e6), 0, 0}},
		{"futex wait bad time", unix.SYS_FUTEX, []any{make([]byte, 4), 128, 0, ts(0, 1e9), 0, 0}},
		{"futex wait bad time other value", unix.SYS_FUTEX, []any{make([]byte, 4), 128, 7, ts(0, -1), 0, 0}},
		{"futex wait time pointer", unix.SYS_FUTEX, []any{make([]byte, 4), 128, 7, bad, 0, 0}},
		{"futex bitset 0", unix.SYS_FUTEX, []any{make([]byte, 4), 9 | 128, 0, 0, 0, 0}},
		{"futex wake bitset 0", unix.SYS_FUTEX, []any{make([]byte, 4), 10 | 128, 1, 0, 0, 0}},
		{"futex wait bitset absolute past", unix.SYS_FUTEX, []any{make([]byte, 4), 9 | 128, 0, ts(1, 0), 0, -1}},
		{"futex wait realtime", unix.SYS_FUTEX, []any{make([]byte, 4), 128 | 256, 0, ts(0, 1e6), 0, 0}},
		{"futex wake realtime", unix.SYS_FUTEX, []any{make([]byte, 4), 1 | 128 | 256, 1, 0, 0, 0}},
		{"futex wake", unix.SYS_FUTEX, []any{make([]byte, 4), 1 | 128, 1, 0, 0, 0}},
		{"futex requeue negative", unix.SYS_FUTEX, []any{buf, 3 | 128, -1, 0, buf[8:], 0}},
		{"futex cmp_requeue value", unix.SYS_FUTEX, []any{make([]byte, 4), 4 | 128, 1, 1, buf[8:], 9}},
		{"futex requeue bad second", unix.SYS_FUTEX, []any{buf, 3 | 128, 1, 1, bad + 4088, 0}},
		{"futex wake_op bad op", unix.SYS_FUTEX, []any{buf, 5 | 128, 1, 1, buf[8:], 0x70000000}},
		{"futex wake_op", unix.SYS_FUTEX, []any{buf, 5 | 128, 1, 1, make([]byte, 4), 0x00001000}},
		{"futex lock_pi", unix.SYS_FUTEX, []any{make([]byte, 4), 6 | 128, 0, 0, 0, 0}},
		{"futex unlock_pi not mine", unix.SYS_FUTEX, []any{make([]byte, 4), 7 | 128, 0, 0, 0, 0}},
		{"futex trylock_pi of nobody", unix.SYS_FUTEX, []any{at(r, ptr(uint32(0x3fffffff))), 8 | 128, 0, 0, 0, 0}},
		{"futex_waitv 0", unix.SYS_FUTEX_WAITV, []any{buf, 0, 0, 0, 0}},
		{"futex_waitv flags", unix.SYS_FUTEX_WAITV, []any{buf, 1, 1, 0, 0}},
		{"futex fd", unix.SYS_FUTEX, []any{buf, 2, 0, 0, 0, 0}},
	} {
		r.call(c.name, c.nr, c.args...)
	}
	// A timer that fires into a blocked signal, in a child.
	id := new([2]int32)
	set := r.sigs(unix.SIGUSR1, unix.SIGALRM)
	info := make([]byte, 128)
	out := r.open("out", unix.O_RDWR|unix.O_CREAT)
	val := []byte{7, 0, 0, 0, 0, 0, 0, 0, byte(unix.SIGUSR1), 0, 0, 0, 0, 0, 0, 0, 63: 0}
	r.fork("timer",
		do("block", unix.SYS_RT_SIGPROCMASK, 0, set, 0, 8),
		do("create", unix.SYS_TIMER_CREATE, 1, val, at(r, id)),
		do("gettime disarmed", unix.SYS_TIMER_GETTIME, 0, buf),
		do("set flags", unix.SYS_TIMER_SETTIME, 0, 8, its(0, 0, 0, 1e6), 0),
		do("set once", unix.SYS_TIMER_SETTIME, 0, 0, its(0, 0, 0, 1e6), 0),
		do("fires", unix.SYS_RT_SIGTIMEDWAIT, set, info, ts(5, 0), 8),
		do("", unix.SYS_PWRITE64, out, info, 128, 0),
		do("overrun", unix.SYS_TIMER_GETOVERRUN, 0),
		do("no more", unix.SYS_RT_SIGTIMEDWAIT, set, info, ts(0, 5e6), 8),
		do("absolute past", unix.SYS_TIMER_SETTIME, 0, 1, its(0, 0, 1, 0), 0),
		do("fires at once", unix.SYS_RT_SIGTIMEDWAIT, set, info, ts(5, 0), 8),
		do("far", unix.SYS_TIMER_SETTIME, 0, 0, its(0, 0, 1000, 0), 0),
		do("delete", unix.SYS_TIMER_DELETE, 0), do("delete again", unix.SYS_TIMER_DELETE, 0),
		do("none after", unix.SYS_RT_SIGTIMEDWAIT, set, info, ts(0, 5e6), 8),
		do("setitimer", unix.SYS_SETITIMER, 0, its(0, 0, 0, 1000), 0), do("SIGALRM", unix.SYS_RT_SIGTIMEDWAIT, set, info, ts(5, 0), 8), do("", unix.SYS_PWRITE64, out, info, 128, 128),
		do("interval", unix.SYS_SETITIMER, 0, its(0, 1000, 0, 1000), 0), do("SIGALRM 1", unix.SYS_RT_SIGTIMEDWAIT, set, info, ts(5, 0), 8), do("SIGALRM 2", unix.SYS_RT_SIGTIMEDWAIT, set, info, ts(5, 0), 8),
		do("stop", unix.SYS_SETITIMER, 0, its(0, 0, 0, 0), 0),
	)
	b := make([]byte, 256)
	r.must(unix.SYS_PREAD64, out, b, 256, 0)
	r.put("timer info", "signo %d code %d timer %d overrun %d value %d", b[0], int8(b[8]), b[16], b[20], b[24])
	r.put("itimer info", "signo %d code %d", b[128], int8(b[136]))
	r.fork("alarm kills", do("unblocked", unix.SYS_SETITIMER, 0, its(0, 0, 0, 1000), 0), do("sleep", unix.SYS_NANOSLEEP, ts(10, 0), 0))
	r.fork("vtalarm kills", do("far", unix.SYS_SETITIMER, 1, its(0, 0, 1000, 0), buf), do("read back", unix.SYS_GETITIMER, 1, buf))
	r.fork("cpu limit", do("", unix.SYS_PRLIMIT64, 0, unix.RLIMIT_CPU, at(r, &unix.Rlimit{Cur: 100, Max: 50}), 0), do("query", unix.SYS_PRLIMIT64, 0, unix.RLIMIT_CPU, 0, buf))
}
