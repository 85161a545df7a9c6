package conform

import (
	"fmt"
	"testing"

	"golang.org/x/sys/unix"
)

func TestPipes(t *testing.T) { family(t, "pipes", pipes) }

// pipe makes a pipe.
func (r *rec) pipe(flags int) (int, int) {
	r.t.Helper()
	p := new([2]int32)
	r.must(unix.SYS_PIPE2, at(r, p), flags)
	return int(p[0]), int(p[1])
}

func pipes(r *rec) {
	buf, big := make([]byte, 4096), make([]byte, 1<<20)
	for _, c := range []struct {
		name  string
		out   any
		flags int
	}{{"bad", bad, 0}, {"bad and unknown flag", bad, 1}, {"unknown flag", buf, 1}, {"direct", buf, unix.O_DIRECT}, {"nonblock", buf, unix.O_NONBLOCK}} {
		r.call("pipe2 "+c.name, unix.SYS_PIPE2, c.out, c.flags)
	}
	rd, wr := r.pipe(unix.O_NONBLOCK | unix.O_CLOEXEC)
	r.call("fl", unix.SYS_FCNTL, rd, unix.F_GETFL, 0)
	r.call("fd", unix.SYS_FCNTL, rd, unix.F_GETFD, 0)
	r.call("empty", unix.SYS_READ, rd, buf, 1)
	r.call("empty 0", unix.SYS_READ, rd, buf, 0)
	r.call("empty bad", unix.SYS_READ, rd, bad, 1)
	r.call("read of the writing end", unix.SYS_READ, wr, buf, 1)
	r.call("write to the reading end", unix.SYS_WRITE, rd, buf, 1)
	r.call("write 0", unix.SYS_WRITE, wr, buf, 0)
	r.call("write bad", unix.SYS_WRITE, wr, bad, 1)
	r.call("size", unix.SYS_FCNTL, wr, unix.F_GETPIPE_SZ, 0)
	r.call("fill", unix.SYS_WRITE, wr, big, 1<<20)
	r.call("full", unix.SYS_WRITE, wr, big, 1)
	r.call("full 0", unix.SYS_WRITE, wr, big, 0)
	r.call("shrink a full one", unix.SYS_FCNTL, wr, unix.F_SETPIPE_SZ, 4096)
	r.call("take a little", unix.SYS_READ, rd, buf, 100)
	r.call("no page free", unix.SYS_WRITE, wr, big, 1)
	r.call("take a page", unix.SYS_READ, rd, buf, 4096)
	r.call("atomic does not fit", unix.SYS_WRITE, wr, big, 4096)
	r.call("larger is partial", unix.SYS_WRITE, wr, big, 4097)
	var n int32
	r.call("FIONREAD", unix.SYS_IOCTL, rd, 0x541b, at(r, &n))
	r.put("FIONREAD value", "%d", n)
	r.call("drain", unix.SYS_READ, rd, big, 1<<20)
	for _, sz := range []int{0, 1, 4095, 4097, 65536, 1 << 20, -1} {
		r.call(fmt.Sprint("F_SETPIPE_SZ ", sz), unix.SYS_FCNTL, wr, unix.F_SETPIPE_SZ, sz)
	}
	r.call("seek", unix.SYS_LSEEK, rd, 0, 0)
	r.call("pread", unix.SYS_PREAD64, rd, buf, 1, 0)
	r.call("truncate", unix.SYS_FTRUNCATE, wr, 0)
	poll := func(name string, fd, events int) {
		p := &unix.PollFd{Fd: int32(fd), Events: int16(events)}
		r.call("poll "+name, unix.SYS_POLL, at(r, p), 1, 0)
		r.put("revents "+name, "%#x", p.Revents)
	}
	poll("empty r", rd, 0x5ff)
	poll("empty w", wr, 0x5ff)
	r.must(unix.SYS_WRITE, wr, "abc", 3)
	poll("some r", rd, 0x5ff)
	r.close(wr)
	poll("hup r", rd, 0x5ff)
	poll("hup r nothing asked", rd, 0)
	r.call("rest", unix.SYS_READ, rd, buf, 100)
	r.call("end", unix.SYS_READ, rd, buf, 100)
	r.call("end again", unix.SYS_READ, rd, buf, 100)
	poll("end r", rd, 0x5ff)
	rd, wr = r.pipe(unix.O_NONBLOCK)
	r.close(rd)
	poll("no reader", wr, 0x5ff)
	set := at(r, ptr(uint64(1<<(unix.SIGPIPE-1))))
	zero := at(r, &unix.Timespec{})
	r.fork("broken",
		do("block", unix.SYS_RT_SIGPROCMASK, 0, set, 0, 8),
		do("write", unix.SYS_WRITE, wr, "x", 1),
		do("signal", unix.SYS_RT_SIGTIMEDWAIT, set, 0, zero, 8),
		do("write 0", unix.SYS_WRITE, wr, "x", 0),
		do("no signal", unix.SYS_RT_SIGTIMEDWAIT, set, 0, zero, 8),
		do("write bad", unix.SYS_WRITE, wr, bad, 1),
		do("splice", unix.SYS_SPLICE, wr, 0, wr, 0, 1, 0),
	)
	r.fork("broken kills", do("write", unix.SYS_WRITE, wr, "x", 1))

	// Packets.
	rd, wr = r.pipe(unix.O_NONBLOCK | unix.O_DIRECT)
	r.call("packet 1", unix.SYS_WRITE, wr, "abc", 3)
	r.call("packet 2", unix.SYS_WRITE, wr, "defg", 4)
	r.call("read packet 1", unix.SYS_READ, rd, buf, 100)
	r.call("read packet 2 short", unix.SYS_READ, rd, buf, 2)
	r.call("the rest is gone", unix.SYS_READ, rd, buf, 2)
	r.call("large packet", unix.SYS_WRITE, wr, big, 5000)
	r.call("its first page", unix.SYS_READ, rd, big, 1<<20)
	r.call("its second page", unix.SYS_READ, rd, big, 1<<20)

	// splice, tee, vmsplice, sendfile.
	r.file("f", "0123456789", 0o644)
	f, ap := r.open("f", unix.O_RDWR), r.open("f", unix.O_WRONLY|unix.O_APPEND)
	a, b := r.pipe(unix.O_NONBLOCK)
	c, d := r.pipe(unix.O_NONBLOCK)
	off := ptr(int64(3))
	neg := ptr(int64(-1))
	for _, x := range []struct {
		name string
		nr   int
		args []any
	}{
		{"splice file to pipe", unix.SYS_SPLICE, []any{f, 0, b, 0, 4, 0}},
		{"splice file to pipe at", unix.SYS_SPLICE, []any{f, at(r, off), b, 0, 4, 0}},
		{"splice bad offset", unix.SYS_SPLICE, []any{f, bad, b, 0, 4, 0}},
		{"splice negative offset", unix.SYS_SPLICE, []any{f, at(r, neg), b, 0, 4, 0}},
		{"splice offset of a pipe", unix.SYS_SPLICE, []any{a, at(r, off), f, 0, 4, 0}},
		{"splice offset of the other pipe", unix.SYS_SPLICE, []any{f, 0, b, at(r, off), 4, 0}},
		{"splice unknown flags", unix.SYS_SPLICE, []any{f, 0, b, 0, 4, 0x10}},
		{"splice 0", unix.SYS_SPLICE, []any{f, 0, b, 0, 0, 0}},
		{"splice 0 closed", unix.SYS_SPLICE, []any{999, 0, b, 0, 0, 0}},
		{"splice no pipe", unix.SYS_SPLICE, []any{f, 0, f, 0, 4, 0}},
		{"splice closed", unix.SYS_SPLICE, []any{999, 0, b, 0, 4, 0}},
		{"splice itself", unix.SYS_SPLICE, []any{a, 0, b, 0, 4, 0}},
		{"splice wrong ends", unix.SYS_SPLICE, []any{b, 0, d, 0, 4, 0}},
		{"splice pipe to pipe", unix.SYS_SPLICE, []any{a, 0, d, 0, 3, 0}},
		{"splice pipe to append", unix.SYS_SPLICE, []any{a, 0, ap, 0, 3, 0}},
		{"tee", unix.SYS_TEE, []any{a, d, 100, 0}},
		{"tee itself", unix.SYS_TEE, []any{a, b, 100, 0}},
		{"tee file", unix.SYS_TEE, []any{f, d, 100, 0}},
		{"tee 0", unix.SYS_TEE, []any{a, d, 0, 0}},
		{"tee unknown", unix.SYS_TEE, []any{a, d, 10, 0x10}},
		{"read teed", unix.SYS_READ, []any{c, buf, 100}},
		{"splice pipe to file at", unix.SYS_SPLICE, []any{a, 0, f, at(r, ptr(int64(8))), 100, 0}},
		{"splice empty nonblock", unix.SYS_SPLICE, []any{a, 0, f, 0, 100, unix.SPLICE_F_NONBLOCK}},
		{"tee empty nonblock", unix.SYS_TEE, []any{a, d, 100, unix.SPLICE_F_NONBLOCK}},
		{"vmsplice", unix.SYS_VMSPLICE, []any{b, []unix.Iovec{{Base: &buf[0], Len: 5}}, 1, 0}},
		{"vmsplice read", unix.SYS_VMSPLICE, []any{a, []unix.Iovec{{Base: &buf[0], Len: 5}}, 1, 0}},
		{"vmsplice file", unix.SYS_VMSPLICE, []any{f, []unix.Iovec{{Base: &buf[0], Len: 5}}, 1, 0}},
		{"vmsplice unknown", unix.SYS_VMSPLICE, []any{b, []unix.Iovec{{Base: &buf[0], Len: 5}}, 1, 0x10}},
		{"vmsplice bad", unix.SYS_VMSPLICE, []any{b, bad, 1, 0}},
		{"sendfile", unix.SYS_SENDFILE, []any{d, f, at(r, ptr(int64(0))), 5}},
		{"sendfile bad offset", unix.SYS_SENDFILE, []any{d, f, bad, 5}},
		{"sendfile negative", unix.SYS_SENDFILE, []any{d, f, at(r, ptr(int64(-3))), 5}},
		{"sendfile from a pipe", unix.SYS_SENDFILE, []any{f, c, 0, 5}},
		{"sendfile from a pipe at", unix.SYS_SENDFILE, []any{f, c, at(r, ptr(int64(0))), 5}},
		{"sendfile to append", unix.SYS_SENDFILE, []any{ap, f, at(r, ptr(int64(0))), 5}},
		{"sendfile to closed", unix.SYS_SENDFILE, []any{999, f, 0, 5}},
		{"sendfile 0", unix.SYS_SENDFILE, []any{d, f, 0, 0}},
		{"copy_file_range overlap", unix.SYS_COPY_FILE_RANGE, []any{f, at(r, ptr(int64(0))), f, at(r, ptr(int64(2))), 5, 0}},
		{"copy_file_range same file apart", unix.SYS_COPY_FILE_RANGE, []any{f, at(r, ptr(int64(0))), f, at(r, ptr(int64(20))), 5, 0}},
		{"copy_file_range append", unix.SYS_COPY_FILE_RANGE, []any{f, at(r, ptr(int64(0))), ap, 0, 5, 0}},
		{"copy_file_range pipe", unix.SYS_COPY_FILE_RANGE, []any{a, 0, f, 0, 5, 0}},
		{"copy_file_range past the end", unix.SYS_COPY_FILE_RANGE, []any{f, at(r, ptr(int64(100))), f, at(r, ptr(int64(0))), 5, 0}},
	} {
		r.call(x.name, x.nr, x.args...)
	}
	r.put("offset moved", "%d", *off)
	r.call("read what came", unix.SYS_READ, c, buf, 100)
	r.call("file size after all", unix.SYS_LSEEK, f, 0, 2)
	r.call("file content after all", unix.SYS_PREAD64, f, buf, 100, 0)
	r.put("content", "%q", buf[:30])

	// Named pipes.
	r.must(unix.SYS_MKNODAT, cwd, "p", unix.S_IFIFO|0o600, 0)
	fr := r.open("p", unix.O_NONBLOCK)
	poll("fifo never written", fr, 0x5ff)
	r.call("fifo read without writer", unix.SYS_READ, fr, buf, 1)
	fw := r.open("p", unix.O_WRONLY|unix.O_NONBLOCK)
	r.call("fifo read with writer", unix.SYS_READ, fr, buf, 1)
	poll("fifo writer", fw, 0x5ff)
	r.close(fw)
	poll("fifo writer gone", fr, 0x5ff)
	r.call("fifo flags", unix.SYS_FCNTL, fr, unix.F_GETFL, 0)
	r.call("fifo reopened over proc", unix.SYS_OPENAT, cwd, fmt.Sprintf("/proc/self/fd/%d", 999), unix.O_WRONLY, 0)
	var st unix.Stat_t
	r.must(unix.SYS_FSTAT, a, at(r, &st))
	r.put("stat of a pipe", "%#o %d %d", st.Mode, st.Nlink, st.Size)
}
