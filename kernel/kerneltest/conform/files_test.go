package conform

import (
	"fmt"
	"testing"

	"golang.org/x/sys/unix"
)

func TestFiles(t *testing.T) { family(t, "files", files) }

func files(r *rec) {
	r.file("f", "0123456789", 0o644)
	r.must(unix.SYS_MKDIRAT, cwd, "d", 0o755)
	r.must(unix.SYS_SYMLINKAT, "f", cwd, "sl")
	r.must(unix.SYS_SYMLINKAT, "nowhere", cwd, "dangling")
	r.must(unix.SYS_SYMLINKAT, "loop", cwd, "loop")
	r.must(unix.SYS_SYMLINKAT, "d", cwd, "sd")
	r.must(unix.SYS_MKNODAT, cwd, "fifo", unix.S_IFIFO|0o644, 0)
	long := string(make([]byte, 0))
	for range 256 {
		long += "x"
	}
	huge := ""
	for range 4096 / 2 {
		huge += "./"
	}
	for _, c := range []struct {
		name, path string
		flags      int
		mode       int
	}{
		{"plain", "f", unix.O_RDONLY, 0}, {"absent", "nope", 0, 0}, {"empty path", "", 0, 0},
		{"below a file", "f/x", 0, 0}, {"file with slash", "f/", 0, 0}, {"create with slash", "new/", unix.O_CREAT, 0o644},
		{"dir for writing", "d", unix.O_WRONLY, 0}, {"dir for both", "d", unix.O_RDWR, 0}, {"dir", "d", 0, 0},
		{"dir O_CREAT", "d", unix.O_CREAT, 0o644}, {"dir O_TRUNC", "d", unix.O_TRUNC, 0},
		{"O_DIRECTORY on file", "f", unix.O_DIRECTORY, 0}, {"O_DIRECTORY|O_CREAT", "f2", unix.O_DIRECTORY | unix.O_CREAT, 0o644},
		{"O_EXCL exists", "f", unix.O_CREAT | unix.O_EXCL, 0}, {"O_EXCL on a link", "dangling", unix.O_CREAT | unix.O_EXCL, 0},
		{"O_EXCL dir", "d", unix.O_CREAT | unix.O_EXCL, 0}, {"O_NOFOLLOW link", "sl", unix.O_NOFOLLOW, 0},
		{"O_NOFOLLOW|O_PATH link", "sl", unix.O_NOFOLLOW | unix.O_PATH, 0}, {"O_NOFOLLOW|O_DIRECTORY link to dir", "sd", unix.O_NOFOLLOW | unix.O_DIRECTORY, 0},
		{"link", "sl", 0, 0}, {"dangling", "dangling", 0, 0}, {"loop", "loop", 0, 0}, {"loop O_CREAT", "loop", unix.O_CREAT, 0o644},
		{"link to dir slash", "sd/", 0, 0}, {"link slash", "sl/", 0, 0}, {"dangling slash", "dangling/", unix.O_CREAT, 0o644},
		{"long name", long, 0, 0}, {"long name O_CREAT", long, unix.O_CREAT, 0o644}, {"long path", huge, 0, 0},
		{"access mode 3", "f", 3, 0}, {"access mode 3 dir", "d", 3, 0}, {"unknown flag", "f", 1 << 30, 0},
		{"O_TMPFILE reading", "d", unix.O_TMPFILE, 0o600}, {"O_TMPFILE", "d", unix.O_TMPFILE | unix.O_RDWR, 0o600},
		{"O_TMPFILE in a file", "f", unix.O_TMPFILE | unix.O_RDWR, 0o600}, {"O_TMPFILE nowhere", "nope", unix.O_TMPFILE | unix.O_RDWR, 0o600},
		{"O_TMPFILE|O_CREAT", "d", unix.O_TMPFILE | unix.O_RDWR | unix.O_CREAT, 0o600},
		{"fifo for writing nonblock", "fifo", unix.O_WRONLY | unix.O_NONBLOCK, 0}, {"fifo for reading nonblock", "fifo", unix.O_NONBLOCK, 0},
		{"fifo for both", "fifo", unix.O_RDWR, 0}, {"O_PATH|O_CREAT", "pathcreat", unix.O_PATH | unix.O_CREAT, 0o644},
		{"O_PATH|O_WRONLY", "f", unix.O_PATH | unix.O_WRONLY, 0}, {"dot O_CREAT", ".", unix.O_CREAT, 0o644}, {"dotdot in a file", "f/..", 0, 0},
		{"dot below nothing", "nope/.", 0, 0}, {"create below nothing", "nope/x", unix.O_CREAT, 0o644}, {"create through dangling", "dangling", unix.O_CREAT | unix.O_RDWR, 0o600},
	} {
		fd := r.fd("open "+c.name, unix.SYS_OPENAT, cwd, c.path, c.flags, c.mode)
		if fd >= 0 {
			r.put("open "+c.name+" flags", "%#o", r.must(unix.SYS_FCNTL, fd, unix.F_GETFL, 0))
			r.close(fd)
		}
	}
	r.call("open bad pointer", unix.SYS_OPENAT, cwd, bad, 0, 0)
	r.call("open bad dirfd", unix.SYS_OPENAT, 999, "f", 0, 0)
	r.call("open bad dirfd absolute", unix.SYS_OPENAT, 999, "/nonexistent", 0, 0)
	r.call("open bad dirfd empty", unix.SYS_OPENAT, 999, "", 0, 0)
	f := r.open("f", unix.O_RDWR)
	r.call("open dirfd is a file", unix.SYS_OPENAT, f, "f", 0, 0)
	r.call("creat dir", unix.SYS_CREAT, "d", 0o644)
	how := func(flags, mode, resolve uint64) []byte {
		b := make([]byte, 24)
		for i, v := range []uint64{flags, mode, resolve} {
			for j := range 8 {
				b[i*8+j] = byte(v >> (8 * j))
			}
		}
		return b
	}
	for _, c := range []struct {
		name, path     string
		flags, mode, r uint64
		size           int
	}{
		{"plain", "f", 0, 0, 0, 24}, {"short", "f", 0, 0, 0, 23}, {"size 0", "f", 0, 0, 0, 0}, {"huge size", "f", 0, 0, 0, 5000},
		{"unknown flag", "f", 1 << 40, 0, 0, 24}, {"unknown low flag", "f", 1 << 30, 0, 0, 24}, {"mode without O_CREAT", "f", 0, 0o644, 0, 24}, {"mode bits", "ff", unix.O_CREAT, 0o200000, 0, 24},
		{"unknown resolve", "f", 0, 0, 1 << 20, 24}, {"no symlinks", "sl", 0, 0, unix.RESOLVE_NO_SYMLINKS, 24}, {"beneath escape", "../", 0, 0, unix.RESOLVE_BENEATH, 24},
		{"beneath absolute", "/", 0, 0, unix.RESOLVE_BENEATH, 24}, {"in root", "/f", 0, 0, unix.RESOLVE_IN_ROOT, 24}, {"in root dotdot", "../../f", 0, 0, unix.RESOLVE_IN_ROOT, 24},
		{"no xdev", "f", 0, 0, unix.RESOLVE_NO_XDEV, 24}, {"beneath and in root", "f", 0, 0, unix.RESOLVE_IN_ROOT | unix.RESOLVE_BENEATH, 24},
		{"path and rdwr", "f", unix.O_PATH | unix.O_RDWR, 0, 0, 24}, {"cached and trunc", "f", unix.O_TRUNC, 0, 0x20, 24},
	} {
		r.fd("openat2 "+c.name, unix.SYS_OPENAT2, cwd, c.path, how(c.flags, c.mode, c.r), c.size)
	}

	buf := make([]byte, 4096)
	ro, wo, op, d := r.open("f", 0), r.open("f", unix.O_WRONLY), r.open("f", unix.O_PATH), r.open("d", unix.O_DIRECTORY)
	pr := make([]int32, 2)
	r.must(unix.SYS_PIPE2, at(r, &pr[0]), unix.O_NONBLOCK)
	rd, wr := int(pr[0]), int(pr[1])
	targets := []struct {
		name string
		fd   int
	}{{"file", f}, {"ro", ro}, {"wo", wo}, {"opath", op}, {"dir", d}, {"pipe r", rd}, {"pipe w", wr}, {"closed", 999}, {"minus 1", -1}}
	for _, c := range targets {
		r.call("read "+c.name, unix.SYS_READ, c.fd, buf, 3)
		r.call("read 0 "+c.name, unix.SYS_READ, c.fd, buf, 0)
		r.call("read bad "+c.name, unix.SYS_READ, c.fd, bad, 3)
		r.call("read 0 bad "+c.name, unix.SYS_READ, c.fd, bad, 0)
		r.call("read kernel address "+c.name, unix.SYS_READ, c.fd, uintptr(0xffff800000000000), 3)
		r.call("write bad "+c.name, unix.SYS_WRITE, c.fd, bad, 3)
		r.call("write 0 "+c.name, unix.SYS_WRITE, c.fd, buf, 0)
		r.call("pread negative "+c.name, unix.SYS_PREAD64, c.fd, buf, 1, -1)
		r.call("pread "+c.name, unix.SYS_PREAD64, c.fd, buf, 100, 5)
		r.call("pwrite negative "+c.name, unix.SYS_PWRITE64, c.fd, buf, 1, -1)
		r.call("pwrite 0 "+c.name, unix.SYS_PWRITE64, c.fd, buf, 0, 3)
		r.call("lseek "+c.name, unix.SYS_LSEEK, c.fd, 4, unix.SEEK_SET)
		r.call("lseek bad whence "+c.name, unix.SYS_LSEEK, c.fd, 0, 9)
		r.call("lseek negative "+c.name, unix.SYS_LSEEK, c.fd, -1, unix.SEEK_SET)
		r.call("ftruncate negative "+c.name, unix.SYS_FTRUNCATE, c.fd, -1)
		r.call("ftruncate "+c.name, unix.SYS_FTRUNCATE, c.fd, 10)
		r.call("fsync "+c.name, unix.SYS_FSYNC, c.fd)
		r.call("fdatasync "+c.name, unix.SYS_FDATASYNC, c.fd)
		r.call("sync_file_range "+c.name, unix.SYS_SYNC_FILE_RANGE, c.fd, 0, 10, 7)
		r.call("sync_file_range bad flags "+c.name, unix.SYS_SYNC_FILE_RANGE, c.fd, 0, 10, 8)
		r.call("fallocate "+c.name, unix.SYS_FALLOCATE, c.fd, 0, 0, 10)
		r.call("fallocate 0 "+c.name, unix.SYS_FALLOCATE, c.fd, 0, 0, 0)
		r.call("fallocate bad mode "+c.name, unix.SYS_FALLOCATE, c.fd, 0x1000, 0, 10)
		r.call("fadvise "+c.name, unix.SYS_FADVISE64, c.fd, 0, 0, 0)
		r.call("fadvise bad "+c.name, unix.SYS_FADVISE64, c.fd, 0, 0, 77)
		r.call("readahead "+c.name, unix.SYS_READAHEAD, c.fd, 0, 10)
		r.call("fchmod "+c.name, unix.SYS_FCHMOD, c.fd, 0o644|0o111*b2i(c.fd == d))
		r.call("fchown "+c.name, unix.SYS_FCHOWN, c.fd, -1, -1)
		r.call("getdents "+c.name, unix.SYS_GETDENTS64, c.fd, buf, 10)
		r.call("fchdir "+c.name, unix.SYS_FCHDIR, c.fd*b2i(c.fd != d)+999*b2i(c.fd == d))
		r.call("flock bad "+c.name, unix.SYS_FLOCK, c.fd, 77)
		r.call("flock "+c.name, unix.SYS_FLOCK, c.fd, unix.LOCK_SH|unix.LOCK_NB)
		r.call("flock un "+c.name, unix.SYS_FLOCK, c.fd, unix.LOCK_UN)
		r.call("fstat bad "+c.name, unix.SYS_FSTAT, c.fd, bad)
		r.call("fstatfs bad "+c.name, unix.SYS_FSTATFS, c.fd, bad)
		r.call("ioctl unknown "+c.name, unix.SYS_IOCTL, c.fd, 0x12345678, 0)
		r.call("ioctl TCGETS "+c.name, unix.SYS_IOCTL, c.fd, unix.TCGETS, buf)
		r.call("ioctl FIONBIO bad "+c.name, unix.SYS_IOCTL, c.fd, 0x5421, bad)
		r.call("fgetxattr "+c.name, unix.SYS_FGETXATTR, c.fd, "user.none", buf, 10)
		r.call("syncfs "+c.name, unix.SYS_SYNCFS, c.fd)
		r.call("dup2 big "+c.name, unix.SYS_DUP2, c.fd, 1<<30)
		r.call("dup3 self "+c.name, unix.SYS_DUP3, c.fd, c.fd, 0)
		r.call("dup3 bad flags "+c.name, unix.SYS_DUP3, c.fd, 500, 1)
		r.call("fcntl unknown "+c.name, unix.SYS_FCNTL, c.fd, 7777, 0)
		r.call("fcntl F_GETFD "+c.name, unix.SYS_FCNTL, c.fd, unix.F_GETFD, 0)
		r.call("fcntl F_GETFL "+c.name, unix.SYS_FCNTL, c.fd, unix.F_GETFL, 0)
		r.call("fcntl F_DUPFD negative "+c.name, unix.SYS_FCNTL, c.fd, unix.F_DUPFD, -1)
		r.call("fcntl F_DUPFD huge "+c.name, unix.SYS_FCNTL, c.fd, unix.F_DUPFD, 1<<30)
		r.call("fcntl F_GETOWN "+c.name, unix.SYS_FCNTL, c.fd, unix.F_GETOWN, 0)
		r.call("fcntl F_GETPIPE_SZ "+c.name, unix.SYS_FCNTL, c.fd, unix.F_GETPIPE_SZ, 0)
		r.call("fcntl F_GETLEASE "+c.name, unix.SYS_FCNTL, c.fd, unix.F_GETLEASE, 0)
		r.call("fcntl F_GETSIG "+c.name, unix.SYS_FCNTL, c.fd, unix.F_GETSIG, 0)
		r.call("fcntl F_GETLK bad "+c.name, unix.SYS_FCNTL, c.fd, unix.F_GETLK, bad)
		r.call("splice to file "+c.name, unix.SYS_SPLICE, c.fd, 0, f, 0, 10, 0)
		r.call("sendfile to it "+c.name, unix.SYS_SENDFILE, c.fd, ro, 0, 0)
		r.call("copy_file_range bad flags "+c.name, unix.SYS_COPY_FILE_RANGE, c.fd, 0, f, 0, 10, 1)
		r.call("copy_file_range "+c.name, unix.SYS_COPY_FILE_RANGE, c.fd, 0, wo, 0, 0, 0)
		r.call("tee "+c.name, unix.SYS_TEE, c.fd, wr, 10, unix.SPLICE_F_NONBLOCK)
		r.call("vmsplice "+c.name, unix.SYS_VMSPLICE, c.fd, bad, 0, 0)
	}

	// Partial results at the end of memory.
	r.must(unix.SYS_LSEEK, f, 0, 0)
	r.call("read over the edge", unix.SYS_READ, f, r.edge(4), 10)
	r.call("position after it", unix.SYS_LSEEK, f, 0, 1)
	r.call("pread over the edge", unix.SYS_PREAD64, f, r.edge(1), 10, 0)
	e := r.edge(4)
	copy(bytesAt(e, 4), "abcd")
	w := r.open("w", unix.O_RDWR|unix.O_CREAT)
	r.call("write over the edge", unix.SYS_WRITE, w, e, 10)
	r.call("position after the write", unix.SYS_LSEEK, w, 0, 1)
	r.call("size after the write", unix.SYS_LSEEK, w, 0, 2)
	r.call("write to a pipe over the edge", unix.SYS_WRITE, wr, e, 10)
	r.call("what the pipe has", unix.SYS_READ, rd, buf, 100)
	r.call("write count huge", unix.SYS_WRITE, w, e, -1)
	r.call("read count negative", unix.SYS_READ, f, buf, -1)

	// Vectors.
	iov := func(v ...unix.Iovec) []unix.Iovec { return v }
	one := func(b []byte, n uint64) unix.Iovec { return unix.Iovec{Base: &b[0], Len: n} }
	badv := func(n uint64) unix.Iovec {
		var v unix.Iovec
		v.Len = n
		return v
	}
	b1, b2 := make([]byte, 10), make([]byte, 10)
	r.must(unix.SYS_LSEEK, f, 0, 0)
	r.call("readv", unix.SYS_READV, f, iov(one(b1, 3), one(b2, 4)), 2)
	r.put("readv bytes", "%q %q", b1[:3], b2[:4])
	r.call("readv 0", unix.SYS_READV, f, iov(one(b1, 3)), 0)
	r.call("readv 0 bad", unix.SYS_READV, f, bad, 0)
	r.call("readv negative count", unix.SYS_READV, f, iov(one(b1, 3)), -1)
	r.call("readv 1025", unix.SYS_READV, f, iov(one(b1, 3)), 1025)
	r.call("readv bad", unix.SYS_READV, f, bad, 1)
	r.call("readv negative length", unix.SYS_READV, f, iov(one(b1, 1<<63)), 1)
	r.call("readv length sum overflow", unix.SYS_READV, f, iov(one(b1, 1<<62), one(b1, 1<<63-1)), 2)
	r.call("readv second bad", unix.SYS_READV, f, iov(one(b1, 2), badv(3)), 2)
	r.call("readv first bad", unix.SYS_READV, f, iov(badv(3), one(b1, 2)), 2)
	r.call("readv position", unix.SYS_LSEEK, f, 0, 1)
	r.call("writev second bad", unix.SYS_WRITEV, w, iov(one(b1, 2), badv(3)), 2)
	r.call("writev closed fd bad vector", unix.SYS_WRITEV, 999, bad, 1)
	r.call("writev ro fd bad vector", unix.SYS_WRITEV, ro, bad, 1)
	r.call("preadv", unix.SYS_PREADV, f, iov(one(b1, 2)), 1, 4, 0)
	r.call("preadv negative", unix.SYS_PREADV, f, iov(one(b1, 2)), 1, -1, -1)
	r.call("preadv2 current position", unix.SYS_PREADV2, f, iov(one(b1, 1)), 1, -1, -1, 0)
	r.call("preadv2 unknown flags", unix.SYS_PREADV2, f, iov(one(b1, 1)), 1, 0, 0, 1<<20)
	r.call("pwritev2 append", unix.SYS_PWRITEV2, w, iov(one(b1, 1)), 1, 0, 0, 0x10)
	r.call("size after the append", unix.SYS_LSEEK, w, 0, 2)
	r.call("preadv2 nowait pipe", unix.SYS_PREADV2, rd, iov(one(b1, 1)), 1, -1, -1, 8)

	// Positions.
	r.call("seek end", unix.SYS_LSEEK, f, 0, 2)
	r.call("seek past", unix.SYS_LSEEK, f, 100, 2)
	r.call("read past the end", unix.SYS_READ, f, buf, 10)
	r.call("read bad past the end", unix.SYS_READ, f, bad, 10)
	r.call("seek max", unix.SYS_LSEEK, f, int64(1<<63-1), 0)
	r.call("seek overflow", unix.SYS_LSEEK, f, 1, 1)
	r.call("read at max", unix.SYS_READ, f, buf, 10)
	r.call("pread at max", unix.SYS_PREAD64, f, buf, 10, int64(1<<63-1))
	r.call("pwrite at max", unix.SYS_PWRITE64, w, buf, 10, int64(1<<63-1))
	r.must(unix.SYS_LSEEK, f, 0, 0)
	r.call("SEEK_DATA", unix.SYS_LSEEK, f, 3, unix.SEEK_DATA)
	r.call("SEEK_DATA at the end", unix.SYS_LSEEK, f, 10, unix.SEEK_DATA)
	r.call("SEEK_HOLE", unix.SYS_LSEEK, f, 3, unix.SEEK_HOLE)
	r.call("SEEK_HOLE at the end", unix.SYS_LSEEK, f, 10, unix.SEEK_HOLE)
	r.call("SEEK_HOLE negative", unix.SYS_LSEEK, f, -1, unix.SEEK_HOLE)
	r.call("SEEK_DATA negative", unix.SYS_LSEEK, f, -1, unix.SEEK_DATA)
	dupd := r.must(unix.SYS_DUP, f)
	r.must(unix.SYS_LSEEK, f, 7, 0)
	r.call("dup shares the position", unix.SYS_LSEEK, dupd, 0, 1)
	ap := r.open("w", unix.O_RDWR|unix.O_APPEND)
	r.call("append write", unix.SYS_WRITE, ap, "xyz", 3)
	r.call("append position", unix.SYS_LSEEK, ap, 0, 1)
	r.call("append pwrite goes to the end", unix.SYS_PWRITE64, ap, "pw", 2, 0)
	r.call("append size", unix.SYS_LSEEK, ap, 0, 2)
	r.call("F_SETFL changes only some", unix.SYS_FCNTL, f, unix.F_SETFL, unix.O_APPEND|unix.O_WRONLY|unix.O_CREAT|unix.O_TRUNC|unix.O_NONBLOCK)
	r.call("F_GETFL after", unix.SYS_FCNTL, f, unix.F_GETFL, 0)
	r.call("F_SETFL off", unix.SYS_FCNTL, f, unix.F_SETFL, 0)
	r.call("F_SETFD", unix.SYS_FCNTL, f, unix.F_SETFD, 0xff)
	r.call("F_GETFD after", unix.SYS_FCNTL, f, unix.F_GETFD, 0)
	dc := r.must(unix.SYS_FCNTL, f, unix.F_DUPFD_CLOEXEC, 100)
	r.put("F_DUPFD_CLOEXEC at least", "%d", dc)
	r.call("F_DUPFD_CLOEXEC flag", unix.SYS_FCNTL, dc, unix.F_GETFD, 0)
	r.call("dup2 onto", unix.SYS_DUP2, f, dc)
	r.call("dup2 clears cloexec", unix.SYS_FCNTL, dc, unix.F_GETFD, 0)
	r.call("dup2 self open", unix.SYS_DUP2, dc, dc)
	r.call("dup2 self closed", unix.SYS_DUP2, 999, 999)
	r.call("close twice 1", unix.SYS_CLOSE, dc)
	r.call("close twice 2", unix.SYS_CLOSE, dc)
	r.call("close_range reversed", unix.SYS_CLOSE_RANGE, 10, 9, 0)
	r.call("close_range bad flags", unix.SYS_CLOSE_RANGE, 900, 901, 1)
	r.call("close_range none", unix.SYS_CLOSE_RANGE, 900, 901, 0)

	// Truncation, holes, allocation.
	tr := r.open("tr", unix.O_RDWR|unix.O_CREAT)
	r.must(unix.SYS_WRITE, tr, "abcdefgh", 8)
	r.call("truncate down", unix.SYS_TRUNCATE, "tr", 3)
	r.call("truncate up", unix.SYS_FTRUNCATE, tr, 10000)
	n := r.call("read after truncate", unix.SYS_PREAD64, tr, buf, 4096, 0)
	r.put("zeroes after truncate", "%q %v", buf[:5], n)
	r.call("truncate dir", unix.SYS_TRUNCATE, "d", 3)
	r.call("truncate nothing", unix.SYS_TRUNCATE, "nope", 3)
	r.call("truncate negative", unix.SYS_TRUNCATE, "nope", -3)
	r.call("truncate fifo", unix.SYS_TRUNCATE, "fifo", 3)
	r.call("truncate link", unix.SYS_TRUNCATE, "sl", 10)
	r.call("truncate bad", unix.SYS_TRUNCATE, bad, 10)
	r.call("fallocate keep", unix.SYS_FALLOCATE, tr, unix.FALLOC_FL_KEEP_SIZE, 0, 20000)
	r.call("size kept", unix.SYS_LSEEK, tr, 0, 2)
	r.call("fallocate grow", unix.SYS_FALLOCATE, tr, 0, 0, 20000)
	r.call("size grown", unix.SYS_LSEEK, tr, 0, 2)
	r.must(unix.SYS_PWRITE64, tr, buf, 4096, 4096)
	r.call("punch without keep", unix.SYS_FALLOCATE, tr, unix.FALLOC_FL_PUNCH_HOLE, 0, 4096)
	r.call("punch", unix.SYS_FALLOCATE, tr, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 4096, 4096)
	r.call("fallocate negative offset", unix.SYS_FALLOCATE, tr, 0, -1, 4096)
	r.call("fallocate too far", unix.SYS_FALLOCATE, tr, 0, int64(1<<62), int64(1<<62))

	// Limits of size.
	lim := func(n uint64) *unix.Rlimit { return &unix.Rlimit{Cur: n, Max: unix.RLIM_INFINITY} }
	r.fork("RLIMIT_FSIZE",
		do("", unix.SYS_PRLIMIT64, 0, unix.RLIMIT_FSIZE, at(r, lim(5000)), 0),
		do("partial write", unix.SYS_PWRITE64, tr, buf, 4096, 4000),
		do("rt_sigprocmask", unix.SYS_RT_SIGPROCMASK, 0, at(r, ptr(uint64(1<<(unix.SIGXFSZ-1)))), 0, 8),
		do("write beyond", unix.SYS_PWRITE64, tr, buf, 4096, 5000),
		do("pending", unix.SYS_RT_SIGTIMEDWAIT, at(r, ptr(uint64(1<<(unix.SIGXFSZ-1)))), 0, at(r, &unix.Timespec{}), 8),
		do("truncate beyond", unix.SYS_FTRUNCATE, tr, 5001),
		do("truncate to", unix.SYS_FTRUNCATE, tr, 5000),
		do("fallocate beyond", unix.SYS_FALLOCATE, tr, 0, 0, 6000),
	)
	r.fork("RLIMIT_FSIZE kills",
		do("", unix.SYS_PRLIMIT64, 0, unix.RLIMIT_FSIZE, at(r, lim(10)), 0),
		do("", unix.SYS_PRLIMIT64, 0, unix.RLIMIT_CORE, at(r, &unix.Rlimit{}), 0),
		do("write", unix.SYS_PWRITE64, tr, buf, 10, 10),
	)
	r.fork("RLIMIT_NOFILE",
		do("", unix.SYS_PRLIMIT64, 0, unix.RLIMIT_NOFILE, at(r, &unix.Rlimit{Cur: 3, Max: 3}), 0),
		do("open", unix.SYS_OPENAT, cwd, "f", 0, 0),
		do("open absent", unix.SYS_OPENAT, cwd, "nope", 0, 0),
		do("dup", unix.SYS_DUP, 1),
		do("dup2", unix.SYS_DUP2, 1, 3),
		do("dup2 beyond closed", unix.SYS_DUP2, 999, 3),
		do("F_DUPFD", unix.SYS_FCNTL, 1, unix.F_DUPFD, 3),
		do("pipe", unix.SYS_PIPE2, buf, 0),
		do("epoll", unix.SYS_EPOLL_CREATE1, 0),
		do("socket", unix.SYS_SOCKET, unix.AF_UNIX, unix.SOCK_STREAM, 0),
		do("eventfd", unix.SYS_EVENTFD2, 0, 0),
		do("poll too many", unix.SYS_POLL, buf, 4, 0),
		do("close and open", unix.SYS_CLOSE, 0),
		do("open again", unix.SYS_OPENAT, cwd, "f", 0, 0),
		do("open bad pointer", unix.SYS_OPENAT, cwd, bad, 0, 0),
	)

	// Links and names.
	for _, c := range []struct {
		name string
		nr   int
		args []any
	}{
		{"link", unix.SYS_LINKAT, []any{cwd, "f", cwd, "f.l", 0}},
		{"link again", unix.SYS_LINKAT, []any{cwd, "f", cwd, "f.l", 0}},
		{"link dir", unix.SYS_LINKAT, []any{cwd, "d", cwd, "d.l", 0}},
		{"link symlink", unix.SYS_LINKAT, []any{cwd, "dangling", cwd, "dang.l", 0}},
		{"link follow", unix.SYS_LINKAT, []any{cwd, "loop", cwd, "loop.l", unix.AT_SYMLINK_FOLLOW}},
		{"link bad flags", unix.SYS_LINKAT, []any{cwd, "f", cwd, "f.m", 1}},
		{"link empty path", unix.SYS_LINKAT, []any{f, "", cwd, "f.n", 0}},
		{"link to nowhere", unix.SYS_LINKAT, []any{cwd, "f", cwd, "nope/f", 0}},
		{"link slash", unix.SYS_LINKAT, []any{cwd, "f", cwd, "g/", 0}},
		{"link below file", unix.SYS_LINKAT, []any{cwd, "f", cwd, "f/g", 0}},
		{"symlink empty", unix.SYS_SYMLINKAT, []any{"", cwd, "se"}},
		{"symlink exists", unix.SYS_SYMLINKAT, []any{"x", cwd, "f"}},
		{"symlink slash", unix.SYS_SYMLINKAT, []any{"x", cwd, "se/"}},
		{"symlink long target", unix.SYS_SYMLINKAT, []any{huge, cwd, "se"}},
		{"symlink at a dangling", unix.SYS_SYMLINKAT, []any{"x", cwd, "dangling"}},
		{"readlink", unix.SYS_READLINKAT, []any{cwd, "sl", buf, 100}},
		{"readlink short", unix.SYS_READLINKAT, []any{cwd, "dangling", buf, 3}},
		{"readlink 0", unix.SYS_READLINKAT, []any{cwd, "sl", buf, 0}},
		{"readlink negative", unix.SYS_READLINKAT, []any{cwd, "sl", buf, -1}},
		{"readlink file", unix.SYS_READLINKAT, []any{cwd, "f", buf, 100}},
		{"readlink dir", unix.SYS_READLINKAT, []any{cwd, "d", buf, 100}},
		{"readlink slash", unix.SYS_READLINKAT, []any{cwd, "sd/", buf, 100}},
		{"readlink bad buffer", unix.SYS_READLINKAT, []any{cwd, "sl", bad, 100}},
		{"readlink empty", unix.SYS_READLINKAT, []any{cwd, "", buf, 100}},
		{"readlink empty fd file", unix.SYS_READLINKAT, []any{f, "", buf, 100}},
		{"readlink opath link", unix.SYS_READLINKAT, []any{r.open("sl", unix.O_PATH|unix.O_NOFOLLOW), "", buf, 100}},
		{"unlink dir", unix.SYS_UNLINKAT, []any{cwd, "d", 0}},
		{"unlink bad flags", unix.SYS_UNLINKAT, []any{cwd, "d", 1}},
		{"unlink slash", unix.SYS_UNLINKAT, []any{cwd, "f/", 0}},
		{"unlink link slash", unix.SYS_UNLINKAT, []any{cwd, "sd/", 0}},
		{"unlink dot", unix.SYS_UNLINKAT, []any{cwd, ".", 0}},
		{"unlink empty", unix.SYS_UNLINKAT, []any{cwd, "", 0}},
		{"unlink nothing", unix.SYS_UNLINKAT, []any{cwd, "nope", 0}},
		{"unlink nothing slash", unix.SYS_UNLINKAT, []any{cwd, "nope/", 0}},
		{"unlink root", unix.SYS_UNLINKAT, []any{cwd, "/", 0}},
		{"rename onto itself", unix.SYS_RENAMEAT2, []any{cwd, "f", cwd, "f", 0}},
		{"rename onto own link", unix.SYS_RENAMEAT2, []any{cwd, "f", cwd, "f.l", 0}},
		{"own link stays", unix.SYS_FACCESSAT, []any{cwd, "f.l", 0}},
		{"rename bad flags", unix.SYS_RENAMEAT2, []any{cwd, "f", cwd, "g", 8}},
		{"rename exchange and noreplace", unix.SYS_RENAMEAT2, []any{cwd, "f", cwd, "g", 3}},
		{"rename noreplace exists", unix.SYS_RENAMEAT2, []any{cwd, "f", cwd, "tr", 1}},
		{"rename exchange absent", unix.SYS_RENAMEAT2, []any{cwd, "f", cwd, "nope", 2}},
		{"rename exchange", unix.SYS_RENAMEAT2, []any{cwd, "tr", cwd, "d", 2}},
		{"rename exchange back", unix.SYS_RENAMEAT2, []any{cwd, "tr", cwd, "d", 2}},
		{"rename file onto dir", unix.SYS_RENAMEAT2, []any{cwd, "f", cwd, "d", 0}},
		{"rename dir onto file", unix.SYS_RENAMEAT2, []any{cwd, "d", cwd, "f", 0}},
		{"rename dir into itself", unix.SYS_RENAMEAT2, []any{cwd, "d", cwd, "d/x", 0}},
		{"rename ancestor", unix.SYS_RENAMEAT2, []any{cwd, "d/x", cwd, "d", 0}},
		{"rename absent", unix.SYS_RENAMEAT2, []any{cwd, "nope", cwd, "g", 0}},
		{"rename dot", unix.SYS_RENAMEAT2, []any{cwd, ".", cwd, "g", 0}},
		{"rename to dot", unix.SYS_RENAMEAT2, []any{cwd, "d", cwd, ".", 0}},
		{"rename dotdot", unix.SYS_RENAMEAT2, []any{cwd, "d/..", cwd, "g", 0}},
		{"rename dotdot noreplace", unix.SYS_RENAMEAT2, []any{cwd, "d", cwd, "d/..", 1}},
		{"rename file slash", unix.SYS_RENAMEAT2, []any{cwd, "f/", cwd, "g", 0}},
		{"rename file to slash", unix.SYS_RENAMEAT2, []any{cwd, "f", cwd, "g/", 0}},
		{"rename dir to slash", unix.SYS_RENAMEAT2, []any{cwd, "d", cwd, "dd/", 0}},
		{"rename it back", unix.SYS_RENAMEAT2, []any{cwd, "dd/", cwd, "d", 0}},
		{"rename bad old", unix.SYS_RENAMEAT2, []any{cwd, bad, cwd, "d", 0}},
		{"rename bad new", unix.SYS_RENAMEAT2, []any{cwd, "nope", cwd, bad, 0}},
		{"mknod exists", unix.SYS_MKNODAT, []any{cwd, "f", unix.S_IFREG | 0o644, 0}},
		{"mknod regular", unix.SYS_MKNODAT, []any{cwd, "mk", unix.S_IFREG | 0o644, 0}},
		{"mknod type 0", unix.SYS_MKNODAT, []any{cwd, "mk0", 0o644, 0}},
		{"mknod dir", unix.SYS_MKNODAT, []any{cwd, "mkd", unix.S_IFDIR | 0o644, 0}},
		{"mknod bad type", unix.SYS_MKNODAT, []any{cwd, "mkd", 0o170000 | 0o644, 0}},
		{"mknod link", unix.SYS_MKNODAT, []any{cwd, "mkl", unix.S_IFLNK | 0o644, 0}},
		{"mknod socket", unix.SYS_MKNODAT, []any{cwd, "mks", unix.S_IFSOCK | 0o644, 0}},
		{"open a socket", unix.SYS_OPENAT, []any{cwd, "mks", 0, 0}},
		{"mknod slash", unix.SYS_MKNODAT, []any{cwd, "mkq/", unix.S_IFREG | 0o644, 0}},
		{"access bad mode", unix.SYS_FACCESSAT, []any{cwd, "nope", 8}},
		{"access x", unix.SYS_FACCESSAT, []any{cwd, "f", 1}},
		{"access dir x", unix.SYS_FACCESSAT, []any{cwd, "d", 7}},
		{"access loop", unix.SYS_FACCESSAT, []any{cwd, "loop", 0}},
		{"faccessat2 nofollow", unix.SYS_FACCESSAT2, []any{cwd, "loop", 0, unix.AT_SYMLINK_NOFOLLOW}},
		{"faccessat2 bad flags", unix.SYS_FACCESSAT2, []any{cwd, "loop", 0, 1}},
		{"faccessat2 empty", unix.SYS_FACCESSAT2, []any{f, "", 0, unix.AT_EMPTY_PATH}},
		{"faccessat2 empty without", unix.SYS_FACCESSAT2, []any{f, "", 0, 0}},
		{"stat empty", unix.SYS_NEWFSTATAT, []any{f, "", buf, unix.AT_EMPTY_PATH}},
		{"stat empty cwd", unix.SYS_NEWFSTATAT, []any{cwd, "", buf, unix.AT_EMPTY_PATH}},
		{"stat null empty", unix.SYS_NEWFSTATAT, []any{f, 0, buf, unix.AT_EMPTY_PATH}},
		{"stat bad flags", unix.SYS_NEWFSTATAT, []any{cwd, "f", buf, 0x1}},
		{"stat bad buffer", unix.SYS_NEWFSTATAT, []any{cwd, "f", bad, 0}},
		{"stat bad buffer absent", unix.SYS_NEWFSTATAT, []any{cwd, "nope", bad, 0}},
		{"statx bad mask", unix.SYS_STATX, []any{cwd, "f", 0, 1 << 31, buf}},
		{"statx both syncs", unix.SYS_STATX, []any{cwd, "f", 0x6000, 0, buf}},
		{"statx bad flags", unix.SYS_STATX, []any{cwd, "f", 1, 0, buf}},
		{"statx", unix.SYS_STATX, []any{cwd, "f", 0, 0x7ff, buf}},
		{"statx null", unix.SYS_STATX, []any{f, 0, unix.AT_EMPTY_PATH, 0x7ff, buf}},
		{"chmod absent", unix.SYS_FCHMODAT, []any{cwd, "nope", 0o644}},
		{"chmod link", unix.SYS_FCHMODAT, []any{cwd, "dangling2", 0o644}},
		{"fchmodat2 nofollow on link", unix.SYS_FCHMODAT2, []any{cwd, "sl", 0o644, unix.AT_SYMLINK_NOFOLLOW}},
		{"fchmodat2 bad flags", unix.SYS_FCHMODAT2, []any{cwd, "f", 0o644, 1}},
		{"fchownat empty", unix.SYS_FCHOWNAT, []any{f, "", -1, -1, unix.AT_EMPTY_PATH}},
		{"fchownat bad flags", unix.SYS_FCHOWNAT, []any{f, "", -1, -1, 1}},
		{"utimensat bad nsec", unix.SYS_UTIMENSAT, []any{cwd, "f", at(r, &[2]unix.Timespec{{Sec: 1, Nsec: 1e9}, {}}), 0}},
		{"utimensat omit both absent", unix.SYS_UTIMENSAT, []any{cwd, "nope", at(r, &[2]unix.Timespec{{Nsec: unix.UTIME_OMIT}, {Nsec: unix.UTIME_OMIT}}), 0}},
		{"utimensat omit one absent", unix.SYS_UTIMENSAT, []any{cwd, "nope", at(r, &[2]unix.Timespec{{Nsec: unix.UTIME_OMIT}, {Sec: 3}}), 0}},
		{"utimensat null path", unix.SYS_UTIMENSAT, []any{f, 0, at(r, &[2]unix.Timespec{{Sec: 1}, {Sec: 2}}), 0}},
		{"utimensat null path cwd", unix.SYS_UTIMENSAT, []any{cwd, 0, at(r, &[2]unix.Timespec{{Sec: 1}, {Sec: 2}}), 0}},
		{"utimensat null path flags", unix.SYS_UTIMENSAT, []any{f, 0, at(r, &[2]unix.Timespec{{Sec: 1}, {Sec: 2}}), unix.AT_SYMLINK_NOFOLLOW}},
		{"utimensat bad flags", unix.SYS_UTIMENSAT, []any{cwd, "f", 0, 1}},
		{"utimensat bad times", unix.SYS_UTIMENSAT, []any{cwd, "nope", bad, 0}},
		{"futimesat bad usec", unix.SYS_FUTIMESAT, []any{cwd, "f", at(r, &[2]unix.Timeval{{Usec: 1e6}, {}})}},
		{"chroot file", unix.SYS_CHROOT, []any{"f"}},
		{"chroot absent", unix.SYS_CHROOT, []any{"nope"}},
		{"statfs absent", unix.SYS_STATFS, []any{"nope", buf}},
		{"statfs bad", unix.SYS_STATFS, []any{"f", bad}},
		{"setxattr bad flags", unix.SYS_SETXATTR, []any{"f", "user.a", "v", 1, 8}},
		{"setxattr empty name", unix.SYS_SETXATTR, []any{"f", "", "v", 1, 0}},
		{"setxattr long name", unix.SYS_SETXATTR, []any{"f", "user." + long, "v", 1, 0}},
		{"setxattr too big", unix.SYS_SETXATTR, []any{"f", "user.a", buf, 70000, 0}},
		{"setxattr unknown namespace", unix.SYS_SETXATTR, []any{"f", "foo.a", "v", 1, 0}},
		{"getxattr unknown namespace", unix.SYS_GETXATTR, []any{"f", "foo.a", buf, 1}},
		{"listxattr empty", unix.SYS_LISTXATTR, []any{"dangling", buf, 100}},
		{"memfd bad flags", unix.SYS_MEMFD_CREATE, []any{"x", 1 << 20}},
		{"memfd bad name", unix.SYS_MEMFD_CREATE, []any{bad, 0}},
		{"memfd long name", unix.SYS_MEMFD_CREATE, []any{long, 0}},
	} {
		r.call(c.name, c.nr, c.args...)
	}
	var st unix.Stat_t
	r.must(unix.SYS_FSTAT, f, at(r, &st))
	r.put("times after utimensat", "%d %d", st.Atim.Sec, st.Mtim.Sec)
	r.put("links of f", "%d", st.Nlink)

	mf := r.fd("memfd", unix.SYS_MEMFD_CREATE, "name", unix.MFD_ALLOW_SEALING)
	for i, s := range []int{0, unix.F_SEAL_GROW, unix.F_SEAL_SHRINK, unix.F_SEAL_WRITE, unix.F_SEAL_SEAL} {
		r.call(fmt.Sprint("seal ", i), unix.SYS_FCNTL, mf, unix.F_ADD_SEALS, s)
		r.call(fmt.Sprint("seal write ", i), unix.SYS_PWRITE64, mf, "abc", 3, 0)
		r.call(fmt.Sprint("seal grow ", i), unix.SYS_FTRUNCATE, mf, 100*(i+1))
		r.call(fmt.Sprint("seal shrink ", i), unix.SYS_FTRUNCATE, mf, 10-i)
		r.call(fmt.Sprint("seals ", i), unix.SYS_FCNTL, mf, unix.F_GET_SEALS, 0)
	}
	r.call("seal again", unix.SYS_FCNTL, mf, unix.F_ADD_SEALS, 1)
	r.call("seal a plain file", unix.SYS_FCNTL, mf, unix.F_ADD_SEALS, 0x1000)
	r.call("mmap sealed shared write", unix.SYS_MMAP, 0, 4096, 3, unix.MAP_SHARED, mf, 0)

	// Record locks, between this process and a child.
	lk := func(typ int16, start, n int64) *unix.Flock_t { return &unix.Flock_t{Type: typ, Start: start, Len: n} }
	r.call("lock", unix.SYS_FCNTL, tr, unix.F_SETLK, at(r, lk(unix.F_WRLCK, 10, 10)))
	g := lk(unix.F_WRLCK, 0, 0)
	r.fork("locks",
		do("conflict", unix.SYS_FCNTL, tr, unix.F_SETLK, at(r, lk(unix.F_RDLCK, 15, 1))),
		do("beside", unix.SYS_FCNTL, tr, unix.F_SETLK, at(r, lk(unix.F_WRLCK, 20, 1))),
		do("get", unix.SYS_FCNTL, tr, unix.F_GETLK, at(r, g)),
		do("ofd get with pid", unix.SYS_FCNTL, tr, unix.F_OFD_GETLK, at(r, &unix.Flock_t{Type: unix.F_WRLCK, Pid: 4})),
		do("negative length", unix.SYS_FCNTL, tr, unix.F_SETLK, at(r, lk(unix.F_WRLCK, 5, -3))),
		do("negative start", unix.SYS_FCNTL, tr, unix.F_SETLK, at(r, lk(unix.F_WRLCK, 2, -3))),
		do("overflow", unix.SYS_FCNTL, tr, unix.F_SETLK, at(r, lk(unix.F_WRLCK, 1<<62, 1<<62+1))),
		do("bad type", unix.SYS_FCNTL, tr, unix.F_SETLK, at(r, lk(9, 5, 3))),
		do("bad whence", unix.SYS_FCNTL, tr, unix.F_SETLK, at(r, &unix.Flock_t{Whence: 9})),
		do("read lock of wo", unix.SYS_FCNTL, wo, unix.F_SETLK, at(r, lk(unix.F_RDLCK, 0, 1))),
		do("write lock of ro", unix.SYS_FCNTL, ro, unix.F_SETLK, at(r, lk(unix.F_WRLCK, 0, 1))),
		do("unlock of nothing", unix.SYS_FCNTL, tr, unix.F_SETLK, at(r, lk(unix.F_UNLCK, 500, 1))),
		do("getlk unlck", unix.SYS_FCNTL, tr, unix.F_GETLK, at(r, lk(unix.F_UNLCK, 0, 1))),
		do("lock of a pipe", unix.SYS_FCNTL, rd, unix.F_SETLK, at(r, lk(unix.F_RDLCK, 0, 1))),
	)
	r.call("flock excl", unix.SYS_FLOCK, f, unix.LOCK_EX)
	r.call("flock conflict", unix.SYS_FLOCK, ro, unix.LOCK_SH|unix.LOCK_NB)
	r.call("flock same description", unix.SYS_FLOCK, dupd, unix.LOCK_SH|unix.LOCK_NB)
	r.call("flock shared twice", unix.SYS_FLOCK, ro, unix.LOCK_SH|unix.LOCK_NB)
	r.call("flock upgrade conflict", unix.SYS_FLOCK, ro, unix.LOCK_EX|unix.LOCK_NB)
}

func ptr[T any](v T) *T { return &v }

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}
