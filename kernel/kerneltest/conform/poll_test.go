package conform

import (
	"fmt"
	"testing"

	"golang.org/x/sys/unix"
)

func TestPoll(t *testing.T) { family(t, "poll", polls) }

func polls(r *rec) {
	r.file("f", "0123456789", 0o644)
	r.must(unix.SYS_MKDIRAT, cwd, "d", 0o755)
	f, d, op := r.open("f", unix.O_RDWR), r.open("d", 0), r.open("f", unix.O_PATH)
	rd, wr := r.pipe(unix.O_NONBLOCK)
	buf := make([]byte, 4096)
	zero := at(r, &unix.Timespec{})
	short := at(r, &unix.Timespec{Nsec: 1e6})
	ev := r.must(unix.SYS_EVENTFD2, 0, unix.EFD_NONBLOCK)
	sm := r.must(unix.SYS_EVENTFD2, 2, unix.EFD_NONBLOCK|unix.EFD_SEMAPHORE)
	ep := r.must(unix.SYS_EPOLL_CREATE1, 0)
	tf := r.must(unix.SYS_TIMERFD_CREATE, unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK)
	null, zr := r.must(unix.SYS_OPENAT, cwd, "/dev/null", 2, 0), r.must(unix.SYS_OPENAT, cwd, "/dev/zero", 2, 0)
	sp := new([2]int32)
	r.must(unix.SYS_SOCKETPAIR, unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK, 0, at(r, sp))
	s0, s1 := int(sp[0]), int(sp[1])
	ls := r.must(unix.SYS_SOCKET, unix.AF_UNIX, unix.SOCK_STREAM, 0)
	in := r.must(unix.SYS_INOTIFY_INIT1, unix.IN_NONBLOCK)
	sf := r.must(unix.SYS_SIGNALFD4, -1, at(r, ptr(uint64(1<<11))), 8, unix.SFD_NONBLOCK)
	things := []struct {
		name string
		fd   int
	}{{"file", f}, {"dir", d}, {"opath", op}, {"pipe r", rd}, {"pipe w", wr}, {"eventfd", ev}, {"semaphore", sm}, {"epoll", ep}, {"timerfd", tf}, {"null", null}, {"zero", zr},
		{"socket", s0}, {"unconnected", ls}, {"inotify", in}, {"signalfd", sf}, {"closed", 999}}
	for _, c := range things {
		p := &unix.PollFd{Fd: int32(c.fd), Events: 0x1fff}
		r.call("poll "+c.name, unix.SYS_POLL, at(r, p), 1, 0)
		r.put("revents "+c.name, "%#x", uint16(p.Revents))
		p.Events = 0
		r.call("poll nothing "+c.name, unix.SYS_POLL, at(r, p), 1, 0)
		r.put("revents nothing "+c.name, "%#x", uint16(p.Revents))
		x := make([]byte, 12)
		x[0] = 1
		e2 := r.must(unix.SYS_EPOLL_CREATE1, 0)
		r.call("epoll add "+c.name, unix.SYS_EPOLL_CTL, e2, unix.EPOLL_CTL_ADD, c.fd, x)
		r.call("epoll add again "+c.name, unix.SYS_EPOLL_CTL, e2, unix.EPOLL_CTL_ADD, c.fd, x)
		r.call("epoll del "+c.name, unix.SYS_EPOLL_CTL, e2, unix.EPOLL_CTL_DEL, c.fd, 0)
		r.call("epoll del again "+c.name, unix.SYS_EPOLL_CTL, e2, unix.EPOLL_CTL_DEL, c.fd, 0)
		r.call("epoll mod "+c.name, unix.SYS_EPOLL_CTL, e2, unix.EPOLL_CTL_MOD, c.fd, x)
		r.call("read 1 "+c.name, unix.SYS_READ, c.fd, buf, 1)
		r.call("read 8 "+c.name, unix.SYS_READ, c.fd, buf, 8)
		r.call("write 1 "+c.name, unix.SYS_WRITE, c.fd, buf[100:], 1)
		r.call("write 8 "+c.name, unix.SYS_WRITE, c.fd, buf[100:], 8)
		r.call("lseek "+c.name, unix.SYS_LSEEK, c.fd, 0, 1)
		r.call("pread "+c.name, unix.SYS_PREAD64, c.fd, buf, 8, 0)
		r.call("truncate "+c.name, unix.SYS_FTRUNCATE, c.fd, 5)
		r.call("mmap "+c.name, unix.SYS_MMAP, 0, 1<<62, 1, 1, c.fd, 0)
		r.call("fsync "+c.name, unix.SYS_FSYNC, c.fd)
		r.call("FIONREAD "+c.name, unix.SYS_IOCTL, c.fd, 0x541b, buf)
		r.call("getdents "+c.name, unix.SYS_GETDENTS64, c.fd, buf, 0)
		r.call("epoll_wait "+c.name, unix.SYS_EPOLL_WAIT, c.fd, buf, 1, 0)
		r.call("epoll_ctl in it "+c.name, unix.SYS_EPOLL_CTL, c.fd, unix.EPOLL_CTL_ADD, rd, x)
		r.call("timerfd_gettime "+c.name, unix.SYS_TIMERFD_GETTIME, c.fd, buf)
		r.call("inotify_rm_watch "+c.name, unix.SYS_INOTIFY_RM_WATCH, c.fd, 99)
		r.fd("signalfd change "+c.name, unix.SYS_SIGNALFD4, c.fd, at(r, ptr(uint64(1<<11))), 8, 0*c.fd)
		r.call("getsockname "+c.name, unix.SYS_GETSOCKNAME, c.fd, buf, at(r, ptr(int32(100))))
		r.call("shutdown "+c.name, unix.SYS_SHUTDOWN, c.fd, 9)
	}
	r.close(ep)
	ep = r.must(unix.SYS_EPOLL_CREATE1, 0)
	event := func(mask uint32, data int32) []byte {
		b := make([]byte, 12)
		for i := range 4 {
			b[i], b[4+i] = byte(mask>>(8*i)), byte(data>>(8*i))
		}
		return b
	}
	gone := r.open("f", 0)
	r.close(gone)
	set := func(n int, fds ...int) []byte {
		b := make([]byte, 128)
		for _, fd := range fds {
			b[fd/8] |= 1 << (fd % 8)
		}
		return b[:n]
	}
	for _, c := range []struct {
		name string
		nr   int
		args []any
	}{
		{"poll none", unix.SYS_POLL, []any{0, 0, 0}},
		{"poll bad", unix.SYS_POLL, []any{bad, 1, 0}},
		{"poll too many", unix.SYS_POLL, []any{bad, 1 << 30, 0}},
		{"poll negative fd", unix.SYS_POLL, []any{at(r, &unix.PollFd{Fd: -1, Events: 1}), 1, 0}},
		{"poll timeout", unix.SYS_POLL, []any{at(r, &unix.PollFd{Fd: -1, Events: 1}), 1, 1}},
		{"ppoll bad time", unix.SYS_PPOLL, []any{0, 0, at(r, &unix.Timespec{Nsec: 1e9}), 0, 8}},
		{"ppoll negative time", unix.SYS_PPOLL, []any{0, 0, at(r, &unix.Timespec{Sec: -1}), 0, 8}},
		{"ppoll bad mask size", unix.SYS_PPOLL, []any{0, 0, zero, buf, 4}},
		{"ppoll bad mask", unix.SYS_PPOLL, []any{0, 0, zero, bad, 8}},
		{"ppoll timeout", unix.SYS_PPOLL, []any{0, 0, short, 0, 8}},
		{"select none", unix.SYS_SELECT, []any{0, 0, 0, 0, at(r, &unix.Timeval{})}},
		{"select negative", unix.SYS_SELECT, []any{-1, 0, 0, 0, at(r, &unix.Timeval{})}},
		{"select huge n", unix.SYS_SELECT, []any{1 << 30, 0, 0, 0, at(r, &unix.Timeval{})}},
		{"select bad set", unix.SYS_SELECT, []any{10, bad, 0, 0, at(r, &unix.Timeval{})}},
		{"select closed", unix.SYS_SELECT, []any{gone + 1, set(128, gone), 0, 0, at(r, &unix.Timeval{})}},
		{"select negative time", unix.SYS_SELECT, []any{0, 0, 0, 0, at(r, &unix.Timeval{Sec: -1})}},
		{"select big usec", unix.SYS_SELECT, []any{0, 0, 0, 0, at(r, &unix.Timeval{Usec: 1e6})}},
		{"select bad time", unix.SYS_SELECT, []any{0, 0, 0, 0, bad}},
		{"select writable", unix.SYS_SELECT, []any{200, 0, set(128, wr), 0, at(r, &unix.Timeval{})}},
		{"select file all three", unix.SYS_SELECT, []any{200, set(128, f), set(128, f), set(128, f), at(r, &unix.Timeval{})}},
		{"pselect bad nsec", unix.SYS_PSELECT6, []any{0, 0, 0, 0, at(r, &unix.Timespec{Nsec: -1}), 0}},
		{"pselect bad mask", unix.SYS_PSELECT6, []any{0, 0, 0, 0, zero, bad}},
		{"pselect mask size", unix.SYS_PSELECT6, []any{0, 0, 0, 0, zero, at(r, &[2]uintptr{r.addr(buf), 4})}},
		{"pselect null mask", unix.SYS_PSELECT6, []any{0, 0, 0, 0, zero, at(r, &[2]uintptr{0, 4})}},
		{"epoll_create 0", unix.SYS_EPOLL_CREATE, []any{0}},
		{"epoll_create1 bad", unix.SYS_EPOLL_CREATE1, []any{1}},
		{"epoll_ctl itself", unix.SYS_EPOLL_CTL, []any{ep, 1, ep, event(1, 0)}},
		{"epoll_ctl unknown op", unix.SYS_EPOLL_CTL, []any{ep, 9, rd, event(1, 0)}},
		{"epoll_ctl bad event", unix.SYS_EPOLL_CTL, []any{ep, 1, rd, bad}},
		{"epoll_ctl bad event closed", unix.SYS_EPOLL_CTL, []any{ep, 1, 999, bad}},
		{"epoll_ctl del bad event", unix.SYS_EPOLL_CTL, []any{ep, 2, rd, bad}},
		{"epoll_ctl exclusive", unix.SYS_EPOLL_CTL, []any{ep, 1, ev, event(1<<28|1, 0)}},
		{"epoll_ctl mod exclusive", unix.SYS_EPOLL_CTL, []any{ep, 3, ev, event(1, 0)}},
		{"epoll_ctl exclusive with oneshot", unix.SYS_EPOLL_CTL, []any{ep, 1, tf, event(1<<28|1<<30|1, 0)}},
		{"epoll_ctl del exclusive", unix.SYS_EPOLL_CTL, []any{ep, 2, ev, 0}},
		{"epoll_wait 0 events", unix.SYS_EPOLL_WAIT, []any{ep, buf, 0, 0}},
		{"epoll_wait negative", unix.SYS_EPOLL_WAIT, []any{ep, buf, -1, 0}},
		{"epoll_wait huge", unix.SYS_EPOLL_WAIT, []any{ep, buf, 1 << 30, 0}},
		{"epoll_wait nothing", unix.SYS_EPOLL_WAIT, []any{ep, bad, 1, 0}},
		{"epoll_wait kernel", unix.SYS_EPOLL_WAIT, []any{ep, uintptr(0xffff800000000000), 1, 0}},
		{"epoll_pwait mask size", unix.SYS_EPOLL_PWAIT, []any{ep, buf, 1, 0, buf, 4}},
		{"epoll_pwait2 bad time", unix.SYS_EPOLL_PWAIT2, []any{ep, buf, 1, at(r, &unix.Timespec{Nsec: -1}), 0, 8}},
		{"epoll_pwait2", unix.SYS_EPOLL_PWAIT2, []any{ep, buf, 1, short, 0, 8}},
		{"eventfd2 bad", unix.SYS_EVENTFD2, []any{0, 2}},
		{"eventfd write all ones", unix.SYS_WRITE, []any{ev, at(r, ptr(^uint64(0))), 8}},
		{"eventfd write max", unix.SYS_WRITE, []any{ev, at(r, ptr(^uint64(0)-1)), 8}},
		{"eventfd write full", unix.SYS_WRITE, []any{ev, at(r, ptr(uint64(1))), 8}},
		{"eventfd read", unix.SYS_READ, []any{ev, buf, 100}},
		{"eventfd read empty", unix.SYS_READ, []any{ev, buf, 8}},
		{"eventfd write bad", unix.SYS_WRITE, []any{ev, bad, 8}},
		{"timerfd bad clock", unix.SYS_TIMERFD_CREATE, []any{99, 0}},
		{"timerfd cpu clock", unix.SYS_TIMERFD_CREATE, []any{2, 0}},
		{"timerfd bad flags", unix.SYS_TIMERFD_CREATE, []any{0, 1}},
		{"timerfd settime bad nsec", unix.SYS_TIMERFD_SETTIME, []any{tf, 0, at(r, &[2]unix.Timespec{{}, {Nsec: 1e9}}), 0}},
		{"timerfd settime negative", unix.SYS_TIMERFD_SETTIME, []any{tf, 0, at(r, &[2]unix.Timespec{{}, {Sec: -1}}), 0}},
		{"timerfd settime flags", unix.SYS_TIMERFD_SETTIME, []any{tf, 8, at(r, &[2]unix.Timespec{}), 0}},
		{"timerfd settime bad", unix.SYS_TIMERFD_SETTIME, []any{tf, 0, bad, 0}},
		{"timerfd settime not one", unix.SYS_TIMERFD_SETTIME, []any{f, 0, at(r, &[2]unix.Timespec{}), 0}},
		{"timerfd settime past", unix.SYS_TIMERFD_SETTIME, []any{tf, 1, at(r, &[2]unix.Timespec{{}, {Nsec: 1}}), 0}},
		{"timerfd read small", unix.SYS_READ, []any{tf, buf, 7}},
		{"timerfd poll", unix.SYS_POLL, []any{at(r, &unix.PollFd{Fd: int32(tf), Events: 1}), 1, 1000}},
		{"timerfd read", unix.SYS_READ, []any{tf, buf, 8}},
		{"timerfd read again", unix.SYS_READ, []any{tf, buf, 8}},
		{"signalfd bad flags", unix.SYS_SIGNALFD4, []any{-1, buf, 8, 1}},
		{"signalfd bad size", unix.SYS_SIGNALFD4, []any{-1, buf, 4, 0}},
		{"signalfd bad mask", unix.SYS_SIGNALFD4, []any{-1, bad, 8, 0}},
		{"signalfd not one", unix.SYS_SIGNALFD4, []any{f, buf, 8, 0}},
		{"signalfd closed", unix.SYS_SIGNALFD4, []any{999, buf, 8, 0}},
		{"signalfd read small", unix.SYS_READ, []any{sf, buf, 127}},
		{"inotify bad flags", unix.SYS_INOTIFY_INIT1, []any{1}},
		{"inotify add no mask", unix.SYS_INOTIFY_ADD_WATCH, []any{in, "d", 0}},
		{"inotify add unknown", unix.SYS_INOTIFY_ADD_WATCH, []any{in, "d", 1 << 22}},
		{"inotify add absent", unix.SYS_INOTIFY_ADD_WATCH, []any{in, "nope", 1}},
		{"inotify add not one", unix.SYS_INOTIFY_ADD_WATCH, []any{f, "d", 1}},
		{"inotify onlydir file", unix.SYS_INOTIFY_ADD_WATCH, []any{in, "f", 1 | unix.IN_ONLYDIR}},
		{"inotify add and create", unix.SYS_INOTIFY_ADD_WATCH, []any{in, "d", 1 | unix.IN_MASK_ADD | unix.IN_MASK_CREATE}},
		{"inotify add", unix.SYS_INOTIFY_ADD_WATCH, []any{in, "d", unix.IN_ALL_EVENTS}},
		{"inotify mask create again", unix.SYS_INOTIFY_ADD_WATCH, []any{in, "d", 1 | unix.IN_MASK_CREATE}},
		{"inotify create", unix.SYS_MKNODAT, []any{cwd, "d/x", unix.S_IFREG | 0o644, 0}},
		{"inotify read small", unix.SYS_READ, []any{in, buf, 16}},
		{"inotify read", unix.SYS_READ, []any{in, buf, 4096}},
		{"inotify mkdir", unix.SYS_MKDIRAT, []any{cwd, "d/y", 0o755}},
		{"inotify rename", unix.SYS_RENAMEAT, []any{cwd, "d/x", cwd, "d/z"}},
		{"inotify read of three", unix.SYS_READ, []any{in, buf, 4096}},
		{"inotify rm", unix.SYS_INOTIFY_RM_WATCH, []any{in, 1}},
		{"inotify read ignored", unix.SYS_READ, []any{in, buf, 4096}},
		{"inotify rm again", unix.SYS_INOTIFY_RM_WATCH, []any{in, 1}},
	} {
		r.call(c.name, c.nr, c.args...)
	}

	// Edges and once.
	r.close(ep)
	ep = r.must(unix.SYS_EPOLL_CREATE1, 0)
	rd, wr = r.pipe(unix.O_NONBLOCK)
	wait := func(name string) {
		b := make([]byte, 12*8)
		v, e := r.raw(unix.SYS_EPOLL_PWAIT, ep, b, 8, 0, 0, 8)
		s := show(v, e)
		for i := range int(v) {
			if e == 0 {
				s += fmt.Sprintf(" %#x:%d", uint32(b[12*i])|uint32(b[12*i+1])<<8|uint32(b[12*i+3])<<24, b[12*i+4])
			}
		}
		r.put(name, "%s", s)
	}
	const et, once = 1 << 31, 1 << 30
	r.must(unix.SYS_EPOLL_CTL, ep, 1, rd, event(et|1, 1))
	wait("et nothing")
	r.must(unix.SYS_WRITE, wr, "a", 1)
	wait("et first")
	wait("et second")
	r.must(unix.SYS_WRITE, wr, "a", 1)
	wait("et more")
	r.must(unix.SYS_READ, rd, buf, 1)
	wait("et after a part was read")
	r.must(unix.SYS_EPOLL_CTL, ep, 3, rd, event(et|1, 2))
	wait("et modified")
	r.must(unix.SYS_EPOLL_CTL, ep, 3, rd, event(once|1, 3))
	wait("once first")
	wait("once second")
	r.must(unix.SYS_WRITE, wr, "a", 1)
	wait("once still")
	r.must(unix.SYS_EPOLL_CTL, ep, 3, rd, event(once|1, 4))
	wait("once again")
	r.must(unix.SYS_EPOLL_CTL, ep, 3, rd, event(1, 5))
	wait("level")
	wait("level again")
	dp := r.must(unix.SYS_DUP, rd)
	r.must(unix.SYS_EPOLL_CTL, ep, 1, dp, event(1, 6))
	wait("with a duplicate")
	r.close(rd)
	wait("one closed, the other holds it")
	r.call("del of the closed", unix.SYS_EPOLL_CTL, ep, 2, rd, 0)
	r.close(dp)
	wait("all closed")
	rd, wr = r.pipe(unix.O_NONBLOCK)
	r.must(unix.SYS_EPOLL_CTL, ep, 1, rd, event(0, 7))
	r.close(wr)
	wait("hup unasked")
	e2 := r.must(unix.SYS_EPOLL_CREATE1, 0)
	r.must(unix.SYS_EPOLL_CTL, e2, 1, ep, event(1, 8))
	p := &unix.PollFd{Fd: int32(e2), Events: 1}
	r.call("poll of nested", unix.SYS_POLL, at(r, p), 1, 0)
	r.call("loop", unix.SYS_EPOLL_CTL, ep, 1, e2, event(1, 9))
	chain := e2
	for i := range 6 {
		n := r.must(unix.SYS_EPOLL_CREATE1, 0)
		r.call(fmt.Sprint("nesting ", i), unix.SYS_EPOLL_CTL, n, 1, chain, event(1, 9))
		chain = n
	}
	r.close(s1)
	r.must(unix.SYS_EPOLL_CTL, ep, 3, rd, event(1<<30, 7))
	wait("disarm")
	r.must(unix.SYS_EPOLL_CTL, ep, 1, s0, event(0x2017, 10))
	wait("socket hung up")
}
