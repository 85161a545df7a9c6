package sys

import (
	"testing"

	"goum/arch/abi"
)

func TestReadWrite(t *testing.T) {
	r := newRig(t)
	r.run(func(g *guest) {
		fd := g.must(abi.SYS_OPEN, g.str("/tmp/a"), abi.O_CREAT|abi.O_RDWR, 0o644)
		if n := g.must(abi.SYS_WRITE, fd, g.str("hello"), 5); n != 5 {
			t.Errorf("write = %d", n)
		}
		if p := g.must(abi.SYS_LSEEK, fd, 1, abi.SEEK_SET); p != 1 {
			t.Errorf("lseek = %d", p)
		}
		if n := g.must(abi.SYS_READ, fd, room, 100); n != 4 || string(g.bytes(room, 4)) != "ello" {
			t.Errorf("read = %d", n)
		}
		if n := g.must(abi.SYS_PREAD64, fd, room, 2, 3); n != 2 || string(g.bytes(room, 2)) != "lo" {
			t.Errorf("pread64 = %d", n)
		}
		iov := g.put(abi.SliceBytes([]abi.Iovec{{Base: g.str("AB"), Len: 2}, {Base: 0, Len: 0}, {Base: g.str("CD"), Len: 2}}))
		if n := g.must(abi.SYS_PWRITEV, fd, iov, 3, 1); n != 4 {
			t.Errorf("pwritev = %d", n)
		}
		if s := g.slurp("/tmp/a"); s != "hABCD" {
			t.Errorf("%q", s)
		}
		g.fails(abi.EBADF, abi.SYS_READ, 99, room, 1)
		g.fails(abi.EBADF, abi.SYS_READ, ^uint64(0), room, 1)
		g.fails(abi.EFAULT, abi.SYS_READ, fd, 1<<62, 1)
		g.fails(abi.EFAULT, abi.SYS_WRITE, fd, 8, 1)
		g.fails(abi.EFAULT, abi.SYS_WRITE, fd, room, 1<<63)
		g.fails(abi.EINVAL, abi.SYS_PREAD64, fd, room, 1, ^uint64(0))
		g.fails(abi.EINVAL, abi.SYS_READV, fd, iov, 1025)
		g.fails(abi.EINVAL, abi.SYS_READV, fd, value(g, abi.Iovec{Base: room, Len: 1 << 63}), 1)
		g.fails(abi.EFAULT, abi.SYS_READV, fd, 8, 1)
		g.fails(abi.EINVAL, abi.SYS_LSEEK, fd, 0, 5)
		g.fails(abi.EOPNOTSUPP, abi.SYS_PWRITEV2, fd, iov, 3, 0, 0, 1<<20)
		ro := g.must(abi.SYS_OPEN, g.str("/tmp/a"), abi.O_RDONLY, 0)
		g.fails(abi.EBADF, abi.SYS_WRITE, ro, room, 1)
		path := g.must(abi.SYS_OPEN, g.str("/tmp/a"), abi.O_PATH, 0)
		g.fails(abi.EBADF, abi.SYS_READ, path, room, 1)
		g.must(abi.SYS_FSTAT, path, room)
		g.fails(abi.EISDIR, abi.SYS_READ, g.must(abi.SYS_OPEN, g.str("/tmp"), abi.O_RDONLY, 0), room, 1)
		// A short transfer wins over the errno: the second page is not there.
		end := uint64(room + roomSize - 3)
		if n := g.must(abi.SYS_PREAD64, fd, end, 5, 0); n != 3 {
			t.Errorf("read across the end of memory = %d, want 3", n)
		}
	})
}

func TestOpenErrors(t *testing.T) {
	r := newRig(t)
	r.run(func(g *guest) {
		g.fails(abi.ENOENT, abi.SYS_OPEN, g.str("/none"), 0, 0)
		g.fails(abi.ENOENT, abi.SYS_OPEN, g.str(""), 0, 0)
		g.fails(abi.EFAULT, abi.SYS_OPEN, 8, 0, 0)
		long := make([]byte, 5000)
		for i := range long {
			long[i] = 'a'
		}
		g.fails(abi.ENAMETOOLONG, abi.SYS_OPEN, g.put(long), 0, 0)
		g.fails(abi.EBADF, abi.SYS_OPENAT, 99, g.str("x"), 0, 0)
		g.fails(abi.ENOENT, abi.SYS_OPENAT, 99, g.str("/none"), 0, 0)
		fd := g.must(abi.SYS_OPEN, g.str("/init"), 0, 0)
		g.fails(abi.ENOTDIR, abi.SYS_OPENAT, fd, g.str("x"), 0, 0)
		g.fails(abi.EINVAL, abi.SYS_OPENAT2, ^uint64(99), g.str("/init"), value(g, abi.OpenHow{}), 8)
		g.fails(abi.E2BIG, abi.SYS_OPENAT2, ^uint64(99), g.str("/init"), g.put(append(make([]byte, 24), 1)), 25)
		g.fails(abi.EINVAL, abi.SYS_OPENAT2, ^uint64(99), g.str("/init"), value(g, abi.OpenHow{Flags: 1 << 40}), 24)
		g.must(abi.SYS_OPENAT2, ^uint64(99), g.str("/init"), value(g, abi.OpenHow{Flags: abi.O_CLOEXEC}), 24)
		g.must(abi.SYS_PRLIMIT64, 0, abi.RLIMIT_NOFILE, value(g, abi.Rlimit64{Cur: 2, Max: 1024}), 0)
		g.fails(abi.EMFILE, abi.SYS_DUP, fd)
	})
}

func TestDescriptors(t *testing.T) {
	r := newRig(t)
	r.run(func(g *guest) {
		fd := g.must(abi.SYS_OPEN, g.str("/init"), abi.O_CLOEXEC, 0)
		if f := g.must(abi.SYS_FCNTL, fd, abi.F_GETFD, 0); f != abi.FD_CLOEXEC {
			t.Errorf("F_GETFD = %d", f)
		}
		d := g.must(abi.SYS_DUP, fd)
		if f := g.must(abi.SYS_FCNTL, d, abi.F_GETFD, 0); f != 0 {
			t.Errorf("F_GETFD of a dup = %d", f)
		}
		if n := g.must(abi.SYS_FCNTL, fd, abi.F_DUPFD_CLOEXEC, 100); n != 100 {
			t.Errorf("F_DUPFD_CLOEXEC = %d", n)
		}
		if n := g.must(abi.SYS_DUP2, fd, 7); n != 7 {
			t.Errorf("dup2 = %d", n)
		}
		if n := g.must(abi.SYS_DUP2, 7, 7); n != 7 {
			t.Errorf("dup2 of itself = %d", n)
		}
		g.fails(abi.EINVAL, abi.SYS_DUP3, 7, 7, 0)
		g.fails(abi.EBADF, abi.SYS_DUP2, 99, 99)
		g.fails(abi.EINVAL, abi.SYS_FCNTL, fd, abi.F_DUPFD, 1<<20)
		g.fails(abi.EINVAL, abi.SYS_FCNTL, fd, 0x7fff, 0)
		if fl := g.must(abi.SYS_FCNTL, fd, abi.F_GETFL, 0); fl != 0x8000 {
			t.Errorf("F_GETFL = %#x", fl)
		}
		g.must(abi.SYS_CLOSE_RANGE, 0, ^uint64(0)>>32, 0)
		g.fails(abi.EBADF, abi.SYS_CLOSE, fd)
		g.fails(abi.EINVAL, abi.SYS_CLOSE_RANGE, 4, 3, 0)
	})
}

func TestPipe2(t *testing.T) {
	r := newRig(t)
	r.run(func(g *guest) {
		g.fails(abi.EINVAL, abi.SYS_PIPE2, 8, 1<<30)
		g.fails(abi.EFAULT, abi.SYS_PIPE2, 8, 0)
		p := g.put(make([]byte, 8))
		g.must(abi.SYS_PIPE2, p, abi.O_NONBLOCK)
		fds := load[[2]int32](g, p)
		if fds != [2]int32{0, 1} {
			t.Errorf("pipe2 gave %v: something stayed open on failure", fds)
		}
		in, out := uint64(fds[0]), uint64(fds[1])
		g.fails(abi.EAGAIN, abi.SYS_READ, in, room, 1)
		g.fails(abi.ESPIPE, abi.SYS_LSEEK, in, 0, 0)
		g.fails(abi.ESPIPE, abi.SYS_PREAD64, in, room, 1, 0)
		g.must(abi.SYS_WRITE, out, g.str("abc"), 3)
		if n := g.must(abi.SYS_IOCTL, in, 0x541b, p); n != 0 || load[int32](g, p) != 3 {
			t.Errorf("FIONREAD: %d", load[int32](g, p))
		}
		fd := g.must(abi.SYS_OPEN, g.str("/tmp/p"), abi.O_CREAT|abi.O_RDWR, 0o600)
		if n := g.must(abi.SYS_SPLICE, in, 0, fd, 0, 100, 0); n != 3 {
			t.Errorf("splice = %d", n)
		}
		if s := g.slurp("/tmp/p"); s != "abc" {
			t.Errorf("%q", s)
		}
		off := value(g, int64(1))
		if n := g.must(abi.SYS_SENDFILE, out, fd, off, 100); n != 2 || load[int64](g, off) != 3 {
			t.Errorf("sendfile = %d, offset %d", n, load[int64](g, off))
		}
		g.must(abi.SYS_CLOSE, in)
		// SIGPIPE is ignored, so that we live to see EPIPE.
		g.must(abi.SYS_RT_SIGACTION, abi.SIGPIPE, value(g, abi.Sigaction{Handler: abi.SIG_IGN}), 0, 8)
		g.fails(abi.EPIPE, abi.SYS_WRITE, out, room, 1)
	})
	if s := newRig(t).run(func(g *guest) {
		p := g.put(make([]byte, 8))
		id := g.fork(func(g *guest) {
			g.must(abi.SYS_PIPE, p)
			fds := load[[2]int32](g, p)
			g.must(abi.SYS_CLOSE, uint64(fds[0]))
			g.call(abi.SYS_WRITE, uint64(fds[1]), room, 1)
			t.Error("write to a pipe without readers came back")
		})
		g.must(abi.SYS_WAIT4, id, p, 0, 0)
		if s := load[int32](g, p); s != abi.SIGPIPE {
			t.Errorf("status %#x, want SIGPIPE", s)
		}
	}); s != 0 {
		t.Errorf("status %#x", s)
	}
}

func TestPaths(t *testing.T) {
	r := newRig(t)
	r.run(func(g *guest) {
		g.must(abi.SYS_MKDIR, g.str("/tmp/d"), 0o755)
		g.fails(abi.EEXIST, abi.SYS_MKDIR, g.str("/tmp/d"), 0o755)
		g.must(abi.SYS_CHDIR, g.str("/tmp/d"))
		n := g.must(abi.SYS_GETCWD, room, 100)
		if s := string(g.bytes(room, int(n))); s != "/tmp/d\x00" {
			t.Errorf("getcwd = %q", s)
		}
		g.fails(abi.ERANGE, abi.SYS_GETCWD, room, 6)
		g.must(abi.SYS_SYMLINK, g.str("target"), g.str("link"))
		if n := g.must(abi.SYS_READLINK, g.str("link"), room, 3); n != 3 || string(g.bytes(room, 3)) != "tar" {
			t.Errorf("readlink = %d", n)
		}
		g.fails(abi.EINVAL, abi.SYS_READLINK, g.str("link"), room, 0)
		g.fails(abi.EINVAL, abi.SYS_READLINK, g.str("."), room, 10)
		g.must(abi.SYS_MKNODAT, ^uint64(99), g.str("f"), abi.S_IFREG|0o600, 0)
		g.must(abi.SYS_RENAME, g.str("f"), g.str("g"))
		g.must(abi.SYS_LINK, g.str("g"), g.str("h"))
		st := g.put(make([]byte, 144))
		g.must(abi.SYS_NEWFSTATAT, ^uint64(99), g.str("h"), st, 0)
		if s := load[abi.Stat](g, st); s.Nlink != 2 || s.Mode != abi.S_IFREG|0o600 {
			t.Errorf("%+v", s)
		}
		g.fails(abi.EINVAL, abi.SYS_NEWFSTATAT, ^uint64(99), g.str("h"), st, 1)
		g.fails(abi.ENOENT, abi.SYS_NEWFSTATAT, ^uint64(99), g.str(""), st, 0)
		g.must(abi.SYS_NEWFSTATAT, ^uint64(99), g.str(""), st, abi.AT_EMPTY_PATH)
		if s := load[abi.Stat](g, st); s.Mode&abi.S_IFMT != abi.S_IFDIR {
			t.Errorf("stat of an empty path: %+v", s)
		}
		dir := g.must(abi.SYS_OPEN, g.str("."), abi.O_RDONLY|abi.O_DIRECTORY, 0)
		names := map[string]bool{}
		for {
			n := int(g.must(abi.SYS_GETDENTS64, dir, room, 70))
			if n == 0 {
				break
			}
			for b := g.bytes(room, n); len(b) > 0; {
				l := int(b[16]) | int(b[17])<<8
				name := b[19:l]
				for i, c := range name {
					if c == 0 {
						name = name[:i]
						break
					}
				}
				names[string(name)] = true
				b = b[l:]
			}
		}
		for _, want := range []string{".", "..", "link", "g", "h"} {
			if !names[want] {
				t.Errorf("getdents64 has no %q: %v", want, names)
			}
		}
		g.must(abi.SYS_LSEEK, dir, 0, 0)
		g.fails(abi.EINVAL, abi.SYS_GETDENTS64, dir, room, 20)
		g.must(abi.SYS_UNLINK, g.str("g"))
		g.fails(abi.EISDIR, abi.SYS_UNLINK, g.str("/tmp/d"))
		g.fails(abi.ENOTEMPTY, abi.SYS_RMDIR, g.str("/tmp/d"))
		g.fails(abi.EINVAL, abi.SYS_UNLINKAT, ^uint64(99), g.str("h"), 1)
		g.must(abi.SYS_FCHMODAT, ^uint64(99), g.str("h"), 0o640)
		g.must(abi.SYS_FACCESSAT2, ^uint64(99), g.str("h"), 4, 0)
		g.must(abi.SYS_UTIMENSAT, ^uint64(99), g.str("h"), value(g, [2]abi.Timespec{{Sec: 5}, {Nsec: abi.UTIME_OMIT}}), 0)
		g.must(abi.SYS_STATX, ^uint64(99), g.str("h"), 0, abi.STATX_ALL, room)
		if s := load[abi.Statx](g, room); s.Atime.Sec != 5 || s.Mode&0o777 != 0o640 {
			t.Errorf("%+v", s)
		}
		g.must(abi.SYS_SETXATTR, g.str("h"), g.str("user.a"), g.str("value"), 5, 0)
		if n := g.must(abi.SYS_GETXATTR, g.str("h"), g.str("user.a"), room, 100); n != 5 || string(g.bytes(room, 5)) != "value" {
			t.Errorf("getxattr = %d", n)
		}
		g.fails(abi.ERANGE, abi.SYS_GETXATTR, g.str("h"), g.str("user.a"), room, 2)
		g.fails(abi.ENODATA, abi.SYS_GETXATTR, g.str("h"), g.str("user.b"), room, 2)
		if n := g.must(abi.SYS_LISTXATTR, g.str("h"), 0, 0); n != 7 {
			t.Errorf("listxattr = %d", n)
		}
		if old := g.must(abi.SYS_UMASK, 0o77); old != 0o22 {
			t.Errorf("umask = %o", old)
		}
	})
}

func TestMemfd(t *testing.T) {
	r := newRig(t)
	r.run(func(g *guest) {
		fd := g.must(abi.SYS_MEMFD_CREATE, g.str("x"), abi.MFD_CLOEXEC|abi.MFD_ALLOW_SEALING)
		g.must(abi.SYS_FTRUNCATE, fd, 8192)
		at := g.must(abi.SYS_MMAP, 0, 8192, abi.PROT_READ|abi.PROT_WRITE, abi.MAP_SHARED, fd, 0)
		g.must(abi.SYS_PWRITE64, fd, g.str("mapped"), 6, 4096)
		if s := string(g.bytes(at+4096, 6)); s != "mapped" {
			t.Errorf("%q", s)
		}
		g.fails(abi.EINVAL, abi.SYS_MMAP, 0, 0, 1, abi.MAP_SHARED, fd, 0)
		g.fails(abi.EINVAL, abi.SYS_MMAP, 0, 4096, 1, abi.MAP_SHARED, fd, 1)
		g.fails(abi.EBADF, abi.SYS_MMAP, 0, 4096, 1, abi.MAP_SHARED, 99, 0)
		g.fails(abi.EINVAL, abi.SYS_MMAP, 0, 4096, 1, 0, fd, 0)
		ro := g.must(abi.SYS_OPEN, g.str("/init"), abi.O_RDONLY, 0)
		g.fails(abi.EACCES, abi.SYS_MMAP, 0, 4096, abi.PROT_WRITE, abi.MAP_SHARED, ro, 0)
		g.must(abi.SYS_MMAP, 0, 4096, abi.PROT_WRITE, abi.MAP_PRIVATE, ro, 0)
		vec := g.put(make([]byte, 8))
		g.must(abi.SYS_MINCORE, at, 8192, vec)
		g.fails(abi.EINVAL, abi.SYS_MINCORE, at+1, 1, vec)
		g.fails(abi.ENOMEM, abi.SYS_MINCORE, 0x7000_0000_0000, 4096, vec)
		g.must(abi.SYS_MUNMAP, at, 8192)
		g.fails(abi.EINVAL, abi.SYS_MEMFD_CREATE, g.str("x"), 1<<20)
	})
}
