package fstest

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"goum/arch/abi"
	"goum/kernel/fs/vfs"
)

// Run is the suite: each scenario, natively and on a file system that mk makes, which must be empty, writable and all root's.
// Scenarios that skip names are left out (what the file system cannot do at all).
func Run(t *testing.T, mk Maker, register func(sys *vfs.System), skip ...string) {
	for _, sc := range scenarios {
		if slices.Contains(skip, sc.name) {
			continue
		}
		t.Run(sc.name, func(t *testing.T) { Compare(t, mk, register, sc.run) })
	}
	seeds := uint64(20)
	if LockCheck {
		seeds = 3
	}
	for seed := range seeds {
		t.Run(fmt.Sprint("random", seed), func(t *testing.T) {
			Compare(t, mk, register, func(s *Session) { random(s, seed, 400) })
		})
	}
}

// Compare runs a scenario on both sides and compares the logs.
func Compare(t *testing.T, mk Maker, register func(sys *vfs.System), run func(s *Session)) {
	t.Helper()
	var want []string
	root := false
	OnHost(t, func(s *Session) {
		root = s.Root
		run(s)
		want = s.Log
	})
	if !root {
		t.Skip("needs root on the host, for a tmpfs and a chroot to compare with")
	}
	v := &virtual{c: NewCaller(t, mk, register)}
	v.sys = v.c.System()
	s := &Session{calls: v, T: t, Root: true}
	run(s)
	s.done()
	for i := range max(len(want), len(s.Log)) {
		a, b := "(nothing)", "(nothing)"
		if i < len(want) {
			a = want[i]
		}
		if i < len(s.Log) {
			b = s.Log[i]
		}
		if a != b {
			from := max(i-6, 0)
			t.Errorf("call %d differs\n Linux: %s\n goum:  %s\nafter:\n  %s", i, a, b, strings.Join(want[from:min(i, len(want))], "\n  "))
			if t.Failed() && i > 0 {
				return // what follows differs for that reason
			}
		}
	}
}

var long = strings.Repeat("n", 255)

type scenario struct {
	name string
	run  func(s *Session)
}

var scenarios = []scenario{
	{"names", func(s *Session) {
		s.Mkdir("d", 0o755)
		s.Close(s.Open("f", abi.O_CREAT|abi.O_WRONLY, 0o644))
		s.Symlink("d", "l")
		s.Symlink("f", "lf")
		s.Symlink("nowhere", "dangling")
		s.Symlink("loop", "loop")
		s.Symlink("/d", "abs")
		paths := []string{"", "/", ".", "..", "d", "d/", "d/.", "d/..", "d//", "./d", "f", "f/", "f/.", "f/x", "l", "l/", "l/.", "lf", "lf/", "nope", "nope/", "nope/x",
			"dangling", "dangling/", "dangling/x", "loop", "loop/", "loop/x", "abs", "abs/", "abs/../f", "../../f", "//f", "d/../f", "lf/..", "l/../f", long, long + "n",
			"d/" + long + "n", "nope/" + long + "n", "f/" + long + "n", strings.Repeat("d/../", 819), strings.Repeat("./", 2047), strings.Repeat("./", 2048), strings.Repeat("/", 4095), strings.Repeat("/", 4096)}
		for _, p := range paths {
			s.Stat(p)
			s.Lstat(p)
			s.Readlink(p)
			s.Access(p, 0, 0)
			s.Access(p, 7, abi.AT_EACCESS)
			s.Rmdir("x/" + p)
			s.Truncate(p, 0)
			s.Chdir(p)
			s.Getcwd()
			s.Chdir("/")
			for _, f := range []int{abi.O_RDONLY, abi.O_RDWR, abi.O_RDONLY | abi.O_DIRECTORY, abi.O_WRONLY | abi.O_DIRECTORY, abi.O_RDONLY | abi.O_NOFOLLOW, abi.O_PATH, abi.O_PATH | abi.O_NOFOLLOW,
				abi.O_PATH | abi.O_DIRECTORY | abi.O_NOFOLLOW, abi.O_RDONLY | abi.O_TRUNC, abi.O_WRONLY | abi.O_TRUNC, abi.O_TMPFILE | abi.O_RDWR, abi.O_TMPFILE | abi.O_RDONLY, 3} {
				s.Close(s.Open(p, f, 0o600))
			}
		}
	}},
	{"create", func(s *Session) {
		s.Mkdir("d", 0o755)
		s.Close(s.Open("f", abi.O_CREAT|abi.O_WRONLY, 0o644))
		s.Symlink("new", "todir/")
		s.Symlink("new", "tonew")
		s.Symlink("new2/", "tonewslash")
		s.Symlink("d/../loop2", "loop2")
		s.Symlink("tonew3", "chain")
		s.Symlink("d/new3", "tonew3")
		s.Symlink("/abs", "toabs")
		for _, p := range []string{"", "/", ".", "..", "d", "d/", "f", "f/", "f/x", "nope/x", "nope/", "tonew", "tonew", "tonewslash", "loop2", "chain", "toabs", "d/.", "d/..", long, long + "n", "x", "x/"} {
			for _, f := range []int{abi.O_CREAT | abi.O_RDWR, abi.O_CREAT | abi.O_EXCL | abi.O_RDWR, abi.O_CREAT | abi.O_NOFOLLOW, abi.O_CREAT | abi.O_DIRECTORY, abi.O_CREAT | abi.O_TRUNC | abi.O_RDONLY,
				abi.O_CREAT | abi.O_PATH, abi.O_CREAT | abi.O_EXCL | abi.O_NOFOLLOW | abi.O_RDONLY} {
				s.Close(s.Open(p, f, 0o640))
			}
			s.Mkdir(p, 0o755)
			s.Mknod(p, abi.S_IFIFO|0o644, 0)
			s.Symlink("t", p)
			s.Link("f", p, 0)
			s.Unlink(p)
			s.Rmdir(p)
		}
		s.Readdir(".")
		s.Readdir("d")
		s.Symlink("", "empty")
		s.Symlink(strings.Repeat("x", 4095), "longlink")
		s.Symlink(strings.Repeat("x", 4096), "longlink2")
		s.Readlink("longlink")
		s.Lstat("longlink")
		s.Stat("longlink")
	}},
	{"mknod", func(s *Session) {
		for _, typ := range []uint32{0, abi.S_IFREG, abi.S_IFDIR, abi.S_IFIFO, abi.S_IFSOCK, abi.S_IFCHR, abi.S_IFBLK, abi.S_IFLNK, 0o130000, 0o150000} {
			p := fmt.Sprint("n", typ>>12)
			s.Mknod(p, typ|0o4644, 0x123)
			s.Lstat(p)
			s.Mknod(p, typ|0o644, 0x123)
		}
		s.Close(s.Open("n12", abi.O_RDONLY, 0))
		s.Close(s.Open("n12", abi.O_PATH, 0))
		s.Close(s.Open("n2", abi.O_RDONLY, 0))
		s.Mknod("null", abi.S_IFCHR|0o666, 0xfff<<8|1)
		s.Close(s.Open("null", abi.O_RDWR, 0))
		s.User(1000, 1000)
		s.Mknod("x", abi.S_IFCHR|0o644, 0x103)
		s.User(0, 0)
		s.Chmod(".", 0o777)
		s.User(1000, 1000)
		s.Mknod("chr", abi.S_IFCHR|0o644, 0x103)
		s.Mknod("white", abi.S_IFCHR|0o644, 0)
		s.Mknod("fifo", abi.S_IFIFO|0o644, 0)
		s.Lstat("white")
	}},
	{"rename", func(s *Session) {
		reset := func() {
			for _, p := range []string{"d/f", "d/sub/f", "e/f", "f", "g", "l", "m", "d/l", "e/x"} {
				s.unlink(p)
			}
			for _, p := range []string{"d/sub/deep", "d/sub", "d", "e/d", "e/sub", "e", "f", "g", "l", "m", "x"} {
				s.rmdir(p)
			}
			s.unlink("x")
			s.mkdir("d", 0o755)
			s.mkdir("d/sub", 0o755)
			s.mkdir("d/sub/deep", 0o755)
			s.mkdir("e", 0o755)
			for _, p := range []string{"f", "d/f"} {
				fd, _ := s.open(p, abi.O_CREAT|abi.O_WRONLY, 0o644)
				s.close(fd)
			}
			s.link("f", "g", 0)
			s.symlink("f", "l")
			s.symlink("d", "m")
		}
		paths := []string{"f", "g", "l", "m", "d", "d/", "e", "e/", "d/sub", "d/sub/", "d/sub/deep", "d/f", "f/", "l/", "m/", "nope", "nope/", "x", "x/", ".", "..", "d/.", "d/..", "/", "nope/x", "f/x", "m/f", "d/sub/deep/x", "e/x", "", long + "n"}
		if LockCheck {
			paths = paths[:10]
		}
		for _, flags := range []uint32{0, abi.RENAME_NOREPLACE, abi.RENAME_EXCHANGE} {
			for _, a := range paths {
				for _, b := range paths {
					reset()
					if s.Rename(a, b, flags) == 0 {
						s.Readdir(".")
						s.Readdir("d")
						s.Readdir("e")
						s.Lstat("d")
						s.Lstat("e")
						s.Lstat("/")
						s.Lstat("f")
					}
				}
			}
		}
		for _, f := range []uint32{3, 8, 6, 4, 5} {
			reset()
			s.Rename("f", "e/x", f)
			s.Lstat("f")
			s.Lstat("e/x")
		}
	}},
	{"links", func(s *Session) {
		s.Mkdir("d", 0o755)
		s.Close(s.Open("f", abi.O_CREAT|abi.O_WRONLY, 0o644))
		s.Symlink("f", "l")
		s.Symlink("d", "m")
		s.Link("l", "l2", 0)
		s.Link("l", "f2", abi.AT_SYMLINK_FOLLOW)
		s.Link("d", "d2", 0)
		s.Link("m", "m2", 0)
		s.Link("m/", "m3", 0)
		s.Link("f", "d", 0)
		s.Link("f", "d/", 0)
		s.Link("f", "x/", 0)
		s.Link("f", "f", 0)
		s.Link("nope", "x", 0)
		s.Link("", "x", 0)
		s.Link("f", "x", 1)
		s.Link("f/", "x", 0)
		for _, p := range []string{"f", "f2", "l", "l2", "m2"} {
			s.Lstat(p)
		}
		s.Unlink("f")
		s.Lstat("f2")
		s.Unlink("f2")
		s.Unlink("l/")
		s.Unlink("m/")
		s.Rmdir("m")
		s.Rmdir("m/")
		s.Unlink("d")
		s.Unlink("d/")
		s.Rmdir("l")
	}},
	{"permissions", func(s *Session) {
		s.Mkdir("pub", 0o777)
		s.Chmod("pub", 0o1777)
		s.Mkdir("priv", 0o700)
		s.Mkdir("group", 0o750)
		s.Chown("group", 0, 1000)
		s.Mkdir("setgid", 0o777)
		s.Chown("setgid", 0, 2000)
		s.Chmod("setgid", 0o2777)
		for _, m := range []uint32{0, 0o400, 0o200, 0o100, 0o644, 0o755, 0o040, 0o004, 0o006, 0o001, 0o111, 0o4755, 0o6777} {
			p := fmt.Sprintf("pub/f%o", m)
			s.Close(s.Open(p, abi.O_CREAT|abi.O_WRONLY, 0o666))
			s.Chmod(p, m)
			s.Close(s.Open("priv/f", abi.O_CREAT, 0o666))
		}
		try := func() {
			for _, m := range []uint32{0, 0o400, 0o200, 0o100, 0o644, 0o755, 0o040, 0o004, 0o006, 0o001, 0o111, 0o4755, 0o6777} {
				p := fmt.Sprintf("pub/f%o", m)
				for mode := range uint32(8) {
					s.Access(p, mode, abi.AT_EACCESS)
				}
				s.Close(s.Open(p, abi.O_RDONLY, 0))
				s.Close(s.Open(p, abi.O_WRONLY, 0))
				s.Close(s.Open(p, abi.O_RDWR|abi.O_TRUNC, 0))
				s.Close(s.Open(p, abi.O_RDONLY|abi.O_NOATIME, 0))
				s.Truncate(p, 1)
				s.Chmod(p, m)
				s.Chown(p, -1, -1)
				s.Chown(p, 1000, -1)
				s.Chown(p, -1, 1000)
				s.Utimens(p, nil)
				s.Utimens(p, &[2]abi.Timespec{{Sec: 5}, {Sec: 6}})
				s.Utimens(p, &[2]abi.Timespec{{Nsec: abi.UTIME_NOW}, {Nsec: abi.UTIME_OMIT}})
				s.Lstat(p)
				s.Setxattr(p, "user.a", "b", 0)
				s.Getxattr(p, "user.a")
				s.Rename(p, p+"x", 0)
				s.Rename(p+"x", p, 0)
				s.Unlink(p)
				s.Close(s.Open(p, abi.O_CREAT|abi.O_EXCL|abi.O_WRONLY, m))
				s.Lstat(p)
			}
			for _, d := range []string{"pub", "priv", "group", "setgid", "."} {
				s.Readdir(d)
				s.Chdir(d)
				s.Chdir("/")
				s.Stat(d + "/f")
				s.Stat(d + "/nope")
				s.Mkdir(d+"/new", 0o2755)
				s.Lstat(d + "/new")
				s.Mkdir(d+"/f", 0o755)
				s.Rmdir(d + "/nope")
				s.Unlink(d + "/nope")
				s.Close(s.Open(d+"/made", abi.O_CREAT|abi.O_RDWR, 0o2777))
				s.Lstat(d + "/made")
				s.Close(s.Open(d, abi.O_TMPFILE|abi.O_RDWR, 0o600))
				s.Symlink("x", d+"/l")
				s.Mknod(d+"/p", abi.S_IFIFO|0o644, 0)
				s.Link("pub/f644", d+"/hard", 0)
				s.Rename("pub/f644", d+"/moved", 0)
				s.Rename(d+"/moved", "pub/f644", 0)
				s.Unlink(d + "/l")
				s.Rename(d+"/new", d+"/new2", 0)
				s.Rename(d+"/new2", "setgid/new2", 0)
				s.Rmdir("setgid/new2")
				s.Rmdir(d + "/new")
			}
		}
		s.User(1000, 1000)
		try()
		s.User(2000, 2000)
		try()
		s.User(0, 0)
		try()
	}},
	{"chmod", func(s *Session) {
		s.Close(s.Open("f", abi.O_CREAT|abi.O_WRONLY, 0o644))
		s.Mkdir("d", 0o755)
		s.Symlink("f", "l")
		for _, u := range []int{0, 1000} {
			s.Chown("f", u, u)
			s.Chown("d", u, u)
			s.User(u, u)
			for _, m := range []uint32{0o777, 0o4755, 0o2755, 0o6711, 0o2644, 0o7777, 0o100644, 0o1644} {
				for _, p := range []string{"f", "d"} {
					s.Chmod(p, m)
					s.Lstat(p)
					s.Chown(p, -1, -1)
					s.Lstat(p)
					s.Chmod(p, m)
					s.Chown(p, u, u)
					s.Lstat(p)
				}
				s.Chmod("f", m)
				fd := s.Open("f", abi.O_RDWR, 0)
				s.Write(fd, "x")
				s.Fstat(fd)
				s.Chmod("f", m)
				s.Ftruncate(fd, 0)
				s.Fstat(fd)
				s.Close(fd)
			}
			s.User(0, 0)
		}
		s.Chmod("nope", 0o644)
		s.Chmod("l", 0o600)
		s.Chown("l", 5, 6)
		s.Lstat("l")
		s.Lstat("f")
		for _, mask := range []int{0, 0o077, 0o777, 0o7777, -1} {
			s.Umask(mask)
			s.Close(s.Open(fmt.Sprint("u", mask), abi.O_CREAT|abi.O_RDONLY, 0o7777))
			s.Lstat(fmt.Sprint("u", mask))
			s.Mkdir(fmt.Sprint("ud", mask), 0o7777)
			s.Lstat(fmt.Sprint("ud", mask))
			s.Symlink("x", fmt.Sprint("ul", mask))
			s.Lstat(fmt.Sprint("ul", mask))
		}
	}},
	{"io", func(s *Session) {
		fd := s.Open("f", abi.O_CREAT|abi.O_RDWR, 0o644)
		s.Write(fd, "hello")
		s.Seek(fd, 0, abi.SEEK_CUR)
		s.Pread(fd, 10, 1)
		s.Pwrite(fd, "HE", 0)
		s.Seek(fd, 1, abi.SEEK_SET)
		s.Read(fd, 100)
		s.Read(fd, 100)
		s.Seek(fd, 10000, abi.SEEK_SET)
		s.Read(fd, 10)
		s.Write(fd, "far")
		s.Fstat(fd)
		s.Pread(fd, 20000, 0)
		s.Pread(fd, 10, -1)
		s.Pwrite(fd, "x", -1)
		s.Pwrite(fd, "", 5)
		s.Pwrite(fd, "x", 1<<63-1)
		s.Pwrite(fd, "xy", 1<<63-1)
		s.Pwrite(fd, "x", 1<<63-2)
		s.Pread(fd, 3, 1<<63-1)
		s.Ftruncate(fd, 10003) // SEEK_DATA at the very end overflows in Linux
		for _, off := range []int64{0, -1, 5, 100000, 1 << 62, 1<<63 - 1, -1 << 63} {
			for w := range 7 {
				s.Seek(fd, off, w-1)
			}
		}
		for _, n := range []int64{0, 3, 4096, 5000, -1, 100} {
			s.Ftruncate(fd, n)
			s.Truncate("f", n)
			s.Fstat(fd)
			s.Pread(fd, 6000, 0)
		}
		s.Write(fd, "after")
		s.Close(fd)
		ro, wo := s.Open("f", abi.O_RDONLY, 0), s.Open("f", abi.O_WRONLY|abi.O_APPEND, 0)
		for _, fd := range []int{ro, wo, s.Open("f", abi.O_PATH, 0), s.Open("f", 3, 0), s.Open(".", abi.O_RDONLY, 0), -1} {
			s.Getfl(fd)
			s.Write(fd, "append")
			s.Seek(fd, 0, abi.SEEK_CUR)
			s.Pwrite(fd, "append too", 0)
			s.Seek(fd, 0, abi.SEEK_CUR)
			s.Read(fd, 10)
			s.Pread(fd, 10, 0)
			s.Ftruncate(fd, 3)
			s.Fallocate(fd, 0, 0, 10)
			s.Fstat(fd)
			s.Setfl(fd, abi.O_APPEND|abi.O_NONBLOCK)
			s.Getfl(fd)
			s.Setfl(fd, 0)
			s.Getfl(fd)
			s.Flock(fd, abi.LOCK_EX|abi.LOCK_NB)
			s.Flock(fd, abi.LOCK_UN)
			s.Flock(fd, 0)
			s.Lock(fd, abi.F_SETLK, abi.F_RDLCK, 0, 1)
			s.Lock(fd, abi.F_SETLK, abi.F_WRLCK, 0, 1)
			s.Readdir("f")
		}
		s.Unlink("f")
		s.Fstat(ro)
		s.Fstat(wo)
		s.Write(wo, "gone")
		s.Pread(ro, 100, 0)
	}},
	{"holes", func(s *Session) {
		fd := s.Open("f", abi.O_CREAT|abi.O_RDWR, 0o644)
		look := func() {
			for _, off := range []int64{0, 1, 4095, 4096, 8192, 12287, 12288, 20000, 1 << 21, 1<<21 + 4096, 1 << 30, 1<<30 + 4096, 1<<30 + 5000} {
				s.Seek(fd, off, abi.SEEK_DATA)
				s.Seek(fd, off, abi.SEEK_HOLE)
			}
			st := s.Fstat(fd)
			s.say(0, "blocks %d", st.Blocks)
		}
		look()
		s.Pwrite(fd, "a", 4096)
		look()
		s.Pwrite(fd, "a", 1<<21)
		s.Pwrite(fd, "a", 1<<30)
		look()
		s.Ftruncate(fd, 1<<30+5000)
		look()
		s.Fallocate(fd, 0, 0, 10)
		look()
		s.Fallocate(fd, abi.FALLOC_FL_PUNCH_HOLE|abi.FALLOC_FL_KEEP_SIZE, 4096, 4096)
		look()
		s.Pwrite(fd, strings.Repeat("x", 20000), 0)
		s.Fallocate(fd, abi.FALLOC_FL_PUNCH_HOLE|abi.FALLOC_FL_KEEP_SIZE, 100, 12000)
		look()
		s.Pread(fd, 20000, 0)
		s.Pread(fd, 110, 0)
		s.Pread(fd, 110, 12090)
		s.Fallocate(fd, abi.FALLOC_FL_PUNCH_HOLE|abi.FALLOC_FL_KEEP_SIZE, 1, 2)
		s.Pread(fd, 4, 0)
		for _, m := range []uint32{abi.FALLOC_FL_KEEP_SIZE, abi.FALLOC_FL_PUNCH_HOLE, abi.FALLOC_FL_ZERO_RANGE, abi.FALLOC_FL_COLLAPSE_RANGE, abi.FALLOC_FL_INSERT_RANGE,
			abi.FALLOC_FL_UNSHARE_RANGE, 0x100, 4, abi.FALLOC_FL_ZERO_RANGE | abi.FALLOC_FL_KEEP_SIZE} {
			s.Fallocate(fd, m, 0, 4096)
			s.Fallocate(fd, m, -1, 4096)
			s.Fallocate(fd, m, 0, 0)
			s.Fallocate(fd, m, 1<<62, 1<<62)
			s.Fallocate(fd, m, 1<<62, 1<<62+(1<<62-1))
		}
		s.Ftruncate(fd, 0)
		s.Fallocate(fd, abi.FALLOC_FL_KEEP_SIZE, 0, 10000)
		look()
		s.Ftruncate(fd, 0)
		look()
		s.Fallocate(fd, 0, 5000, 10000)
		look()
		s.Ftruncate(fd, 1<<62)
		s.Ftruncate(fd, 1<<63-1)
		s.Fstat(fd)
		s.Pwrite(fd, "end", 1<<63-5)
		s.Pread(fd, 10, 1<<63-5)
		s.Ftruncate(fd, 1)
		look()
	}},
	{"xattr", func(s *Session) {
		s.Close(s.Open("f", abi.O_CREAT|abi.O_WRONLY, 0o644))
		s.Mkdir("d", 0o755)
		s.Symlink("f", "l")
		s.Mknod("p", abi.S_IFIFO|0o666, 0)
		for _, p := range []string{"f", "d", "p", "l", "nope"} {
			for _, n := range []string{"user.a", "user.", "user", "trusted.b", "foo.c", "", strings.Repeat("x", 256), "user." + strings.Repeat("x", 250), "user." + strings.Repeat("x", 251)} {
				for _, f := range []int{0, abi.XATTR_REPLACE, abi.XATTR_CREATE, abi.XATTR_CREATE | abi.XATTR_REPLACE, 4} {
					s.Setxattr(p, n, "value", f)
				}
				s.Getxattr(p, n)
				s.Listxattr(p)
				s.Removexattr(p, n)
				s.Removexattr(p, n)
				s.Getxattr(p, n)
			}
			s.Setxattr(p, "user.empty", "", 0)
			s.Getxattr(p, "user.empty")
			s.Setxattr(p, "user.big", strings.Repeat("x", 65536), 0)
			s.Setxattr(p, "user.big", strings.Repeat("x", 65537), 0)
			s.Setxattr(p, "trusted.t", "t", 0)
		}
		s.User(1000, 1000)
		for _, p := range []string{"f", "d", "p"} {
			s.Getxattr(p, "user.empty")
			s.Getxattr(p, "user.none")
			s.Setxattr(p, "user.mine", "", 0)
			s.Removexattr(p, "user.empty")
			s.Getxattr(p, "trusted.t")
			s.Setxattr(p, "trusted.t", "u", 0)
		}
	}},
	{"removed directory", func(s *Session) {
		s.Mkdir("d", 0o755)
		s.Mkdir("d/e", 0o755)
		s.Chdir("d/e")
		fd := s.Open(".", abi.O_RDONLY, 0)
		s.Rmdir("../e")
		s.Getcwd()
		s.Fstat(fd)
		s.Stat(".")
		s.Stat("..")
		s.Stat("x")
		s.Mkdir("x", 0o755)
		s.Close(s.Open("x", abi.O_CREAT|abi.O_RDWR, 0o644))
		s.Close(s.Open(".", abi.O_TMPFILE|abi.O_RDWR, 0o644))
		s.Symlink("x", "y")
		s.Mknod("z", abi.S_IFREG, 0)
		s.Link("/d", "q", 0)
		s.Rename("/d", "q", 0)
		s.Readdir(".")
		s.Rmdir(".")
		s.Rmdir("../e")
		s.Chdir("..")
		s.Getcwd()
		s.Readdir(".")
	}},
	{"resolve", func(s *Session) {
		s.Mkdir("d", 0o755)
		s.Mkdir("d/sub", 0o755)
		s.Close(s.Open("f", abi.O_CREAT, 0o644))
		s.Close(s.Open("d/f", abi.O_CREAT, 0o644))
		s.Symlink("/f", "d/abs")
		s.Symlink("../f", "d/up")
		s.Symlink("f", "d/near")
		s.Symlink("sub/../f", "d/round")
		s.Chdir("d")
		for _, r := range []uint64{0, abi.RESOLVE_BENEATH, abi.RESOLVE_IN_ROOT, abi.RESOLVE_NO_SYMLINKS, abi.RESOLVE_NO_XDEV, abi.RESOLVE_NO_MAGICLINKS, abi.RESOLVE_BENEATH | abi.RESOLVE_IN_ROOT, 0x40} {
			for _, p := range []string{"f", "/f", "../f", "sub/../f", "abs", "up", "near", "round", ".", "..", "sub/..", "sub/../..", "/", "abs/", "/d/f"} {
				s.Close(s.Openat2(p, abi.O_RDONLY, r))
				s.Close(s.Openat2(p, abi.O_PATH|abi.O_NOFOLLOW, r))
			}
		}
		s.Stat("f")
		s.Close(s.Openat2("f", abi.O_RDONLY, abi.RESOLVE_CACHED)) // links are EAGAIN where their access time is due
		for _, f := range []int{abi.O_CREAT, 1 << 30, abi.O_PATH | abi.O_WRONLY, abi.O_TMPFILE, abi.O_CREAT | abi.O_DIRECTORY, abi.O_PATH | abi.O_DIRECTORY} {
			s.Close(s.Openat2("f", f, 0))
			s.Close(s.Openat2("f", f, abi.RESOLVE_CACHED))
		}
	}},
	{"locks", func(s *Session) {
		fd := s.Open("f", abi.O_CREAT|abi.O_RDWR, 0o644)
		two := s.Open("f", abi.O_RDWR, 0)
		s.Write(fd, "0123456789")
		s.Flock(fd, abi.LOCK_SH|abi.LOCK_NB)
		s.Flock(two, abi.LOCK_SH|abi.LOCK_NB)
		s.Flock(two, abi.LOCK_EX|abi.LOCK_NB)
		s.Flock(fd, abi.LOCK_UN)
		s.Flock(two, abi.LOCK_EX|abi.LOCK_NB)
		s.Flock(fd, abi.LOCK_SH|abi.LOCK_NB)
		d := s.Dup(two)
		s.Close(two)
		s.Flock(fd, abi.LOCK_SH|abi.LOCK_NB)
		s.Close(d)
		s.Flock(fd, abi.LOCK_SH|abi.LOCK_NB)
		s.Flock(fd, 16)
		two = s.Open("f", abi.O_RDWR, 0)
		for _, cmd := range []int{abi.F_SETLK, abi.F_OFD_SETLK} {
			get := abi.F_GETLK
			if cmd == abi.F_OFD_SETLK {
				get = abi.F_OFD_GETLK
			}
			s.Lock(fd, cmd, abi.F_WRLCK, 0, 10)
			s.Lock(two, get, abi.F_WRLCK, 0, 0)
			s.Lock(two, cmd, abi.F_RDLCK, 5, 1)
			s.Lock(fd, cmd, abi.F_UNLCK, 3, 4)
			s.Lock(two, get, abi.F_RDLCK, 3, 0)
			s.Lock(two, get, abi.F_RDLCK, 3, 4)
			s.Lock(two, cmd, abi.F_RDLCK, 3, 4)
			s.Lock(two, cmd, abi.F_WRLCK, 2, 1)
			s.Lock(fd, cmd, abi.F_RDLCK, 0, 3)
			s.Lock(fd, cmd, abi.F_RDLCK, 3, 7)
			s.Lock(two, get, abi.F_WRLCK, 0, 0)
			s.Lock(two, cmd, abi.F_WRLCK, 10, 0)
			s.Lock(fd, get, abi.F_RDLCK, 0, 0)
			s.Lock(fd, get, abi.F_RDLCK, 100, -50)
			s.Lock(fd, get, abi.F_RDLCK, 10, -50)
			s.Lock(fd, get, abi.F_UNLCK, 0, 0)
			s.Lock(fd, cmd, 7, 0, 0)
			s.Lock(fd, cmd, abi.F_RDLCK, -1, 0)
			s.Lock(fd, cmd, abi.F_RDLCK, 1<<63-1, 2)
			s.Lock(fd, cmd, abi.F_RDLCK, 1<<63-1, 1)
			s.Lock(fd, cmd, abi.F_UNLCK, 0, 0)
			s.Lock(two, cmd, abi.F_UNLCK, 0, 0)
			s.Lock(fd, get, abi.F_WRLCK, 0, 0)
		}
	}},
	{"mounts", func(s *Session) {
		s.Mkdir("m", 0o755)
		s.Mkdir("m/under", 0o755)
		s.Close(s.Open("f", abi.O_CREAT, 0o644))
		s.Mount("none", "nope", "tmpfs", 0, "")
		s.Mount("none", "m", "nofs", 0, "")
		s.Mount("none", "m", "", 0, "")
		s.Mount("none", "f", "tmpfs", 0, "")
		s.Mount("none", "m", "tmpfs", 0, "bad=1")
		s.Mount("none", "m", "tmpfs", 0, "size=x")
		s.Mount("none", "m", "tmpfs", 0, "mode=700,size=16k,nr_inodes=5")
		s.Stat("m")
		s.Stat("m/under")
		s.Stat("m/..")
		s.Rmdir("m")
		s.Rename("m", "n", 0)
		s.Rename("f", "m/f", 0)
		s.Link("f", "m/f", 0)
		fd := s.Open("m/a", abi.O_CREAT|abi.O_RDWR, 0o644)
		s.Write(fd, strings.Repeat("x", 20000))
		s.Write(fd, "y")
		s.Fstat(fd)
		s.Fallocate(fd, 0, 0, 1<<20)
		s.Mkdir("m/d1", 0o755)
		s.Mkdir("m/d2", 0o755)
		s.Mkdir("m/d3", 0o755)
		s.Mkdir("m/d4", 0o755)
		s.Umount("m", 0)
		s.Umount("f", 0)
		s.Umount("nope", 0)
		s.Umount("m/d1", 0)
		s.Umount("m", 0x100)
		s.Mount("none", "m", "", abi.MS_REMOUNT|abi.MS_RDONLY, "")
		s.Close(fd)
		s.Mount("none", "m", "", abi.MS_REMOUNT|abi.MS_RDONLY, "")
		for range 2 {
			s.Close(s.Open("m/a", abi.O_RDWR, 0))
			s.Close(s.Open("m/new", abi.O_CREAT|abi.O_RDWR, 0o644))
			s.Close(s.Open("m/a", abi.O_CREAT|abi.O_RDONLY, 0o644))
			s.Close(s.Open("m", abi.O_TMPFILE|abi.O_RDWR, 0o644))
			s.Mkdir("m/new", 0o755)
			s.Mkdir("m/d1", 0o755)
			s.Unlink("m/a")
			s.Unlink("m/nope")
			s.Rmdir("m/d1")
			s.Rename("m/a", "m/b", 0)
			s.Rename("m/nope", "m/b", 0)
			s.Chmod("m/a", 0o600)
			s.Chown("m/a", 1, 1)
			s.Utimens("m/a", nil)
			s.Truncate("m/a", 0)
			s.Access("m/a", 2, 0)
			s.Access("m/d1", 3, 0)
			s.Setxattr("m/a", "user.x", "y", 0)
			s.User(1000, 1000)
			s.Close(s.Open("m/a", abi.O_RDWR, 0))
			s.Mkdir("m/x", 0o755)
			s.User(0, 0)
			s.Mount("none", "m", "", abi.MS_REMOUNT, "")
			s.Mount("none", "m", "", abi.MS_REMOUNT|abi.MS_BIND|abi.MS_RDONLY, "")
		}
		s.Mkdir("b", 0o755)
		s.Mount("m/d1", "b", "", abi.MS_BIND, "")
		s.Stat("b/..")
		s.Close(s.Open("b/in", abi.O_CREAT|abi.O_RDWR, 0o644))
		s.Mount("", "b", "", abi.MS_BIND, "")
		s.Mount("nope", "b", "", abi.MS_BIND, "")
		s.Mount("f", "b", "", abi.MS_BIND, "")
		s.Mount("b", "f", "", abi.MS_BIND, "")
		s.Mount("m/a", "f", "", abi.MS_BIND, "")
		s.Stat("f")
		s.Unlink("f")
		s.Umount("m", 0)
		s.Umount("f", 0)
		s.Umount("b", 0)
		s.Umount("b", 0)
		s.Mount("m", "b", "", abi.MS_MOVE, "")
		s.Mount("b/d1", "m", "", abi.MS_MOVE, "")
		s.Mount("b", "b/d1", "", abi.MS_MOVE, "")
		s.Readdir("b")
		s.Readdir("m")
		s.Mount("none", "b/d1", "tmpfs", 0, "")
		s.Mkdir("b/d1/deep", 0o755)
		s.Mount("b", "m", "", abi.MS_BIND, "")
		s.Readdir("m/d1")
		s.Umount("m", 0)
		s.Mount("b", "m", "", abi.MS_BIND|abi.MS_REC, "")
		s.Readdir("m/d1")
		s.Umount("m", 0)
		s.Umount("m", abi.MNT_EXPIRE)
		s.Umount("m", abi.MNT_DETACH|abi.MNT_EXPIRE)
		s.Chdir("m/d1")
		s.Umount("/m", abi.MNT_DETACH)
		s.Readdir(".")
		s.Getcwd()
		s.Stat("../..")
		s.Chdir("/")
		s.Umount("b", 0)
		s.Umount("b/d1", abi.MNT_EXPIRE)
		s.Umount("b/d1", abi.MNT_EXPIRE)
		s.Mount("", "b", "", abi.MS_SHARED|abi.MS_PRIVATE, "")
		s.Mount("", "b", "", abi.MS_PRIVATE, "")
		s.Mount("", "m", "", abi.MS_PRIVATE, "")
		s.Mount("none", "b", "tmpfs", 0, "")
		s.Mount("", "b", "", abi.MS_PRIVATE, "")
		s.Mount("", "b", "", abi.MS_UNBINDABLE, "")
		s.Mount("b", "m", "", abi.MS_BIND, "")
		s.Mount("none", "b", "", abi.MS_REMOUNT|abi.MS_NOSYMFOLLOW|abi.MS_BIND, "")
		s.Symlink("a", "b/l")
		s.Stat("b/l")
		s.Lstat("b/l")
		s.Mount("none", "b", "", abi.MS_REMOUNT|abi.MS_NODEV|abi.MS_NOEXEC|abi.MS_BIND, "")
		s.Mknod("b/null", abi.S_IFCHR|0o666, 0x103)
		s.Close(s.Open("b/null", abi.O_RDWR, 0))
		s.Chmod("b/a", 0o755)
		s.Access("b/a", 1, 0)
		s.Umount("b", 0)
		s.User(1000, 1000)
		s.Mount("none", "m", "tmpfs", 0, "")
		s.Umount("m", 0)
		s.Umount("nope", 0)
	}},
}

// random makes n calls on few names.
func random(s *Session, seed uint64, n int) {
	r := rand.New(rand.NewPCG(seed, 7))
	pick := func(l []string) string { return l[r.IntN(len(l))] }
	names := []string{"a", "b", "c"}
	path := func() string {
		p := pick(names)
		for r.IntN(2) == 0 {
			p += "/" + pick(append(names, "..", "."))
		}
		switch r.IntN(12) {
		case 0:
			p += "/"
		case 1:
			p = "/" + p
		}
		return p
	}
	var fds []int
	fd := func() int {
		if len(fds) == 0 {
			return -1
		}
		return fds[r.IntN(len(fds))]
	}
	flags := []int{0, abi.O_WRONLY, abi.O_RDWR, abi.O_CREAT | abi.O_RDWR, abi.O_CREAT | abi.O_EXCL | abi.O_WRONLY, abi.O_RDWR | abi.O_TRUNC, abi.O_RDWR | abi.O_APPEND, abi.O_DIRECTORY, abi.O_PATH,
		abi.O_TMPFILE | abi.O_RDWR, abi.O_CREAT | abi.O_NOFOLLOW}
	for range n {
		switch r.IntN(26) {
		case 0, 1, 2:
			s.Mkdir(path(), uint32(r.IntN(0o10000))|0o700)
		case 3:
			s.Rmdir(path())
		case 4:
			s.Unlink(path())
		case 5, 6, 7:
			s.Rename(path(), path(), uint32(r.IntN(3)))
		case 8:
			s.Link(path(), path(), 0)
		case 9:
			s.Symlink(path(), path())
		case 10:
			s.Mknod(path(), abi.S_IFIFO|0o644, 0)
		case 11, 12, 13:
			if f := s.Open(path(), flags[r.IntN(len(flags))]|abi.O_NONBLOCK, 0o755|uint32(r.IntN(0o10000))); f >= 0 && !fifo(s, f) {
				fds = append(fds, f)
			}
		case 14:
			s.Write(fd(), strings.Repeat("w", r.IntN(10000)))
		case 15:
			s.Read(fd(), r.IntN(10000))
		case 16:
			s.Pwrite(fd(), strings.Repeat("p", r.IntN(5000)), int64(r.IntN(20000)))
		case 17:
			s.Pread(fd(), r.IntN(10000), int64(r.IntN(20000)))
		case 18:
			s.Seek(fd(), int64(r.IntN(20000)), r.IntN(5))
		case 19:
			s.Ftruncate(fd(), int64(r.IntN(20000)))
		case 20:
			s.Lstat(path())
			s.Stat(path())
		case 21:
			s.Readdir(path())
		case 22:
			s.Chmod(path(), uint32(r.IntN(0o10000)))
		case 23:
			s.Chdir(path())
			s.Getcwd()
			if r.IntN(3) == 0 {
				s.Chdir("/")
			}
		case 24:
			s.User(r.IntN(2)*1000, r.IntN(2)*1000)
		case 25:
			s.Chown(path(), r.IntN(3)*500, r.IntN(3)*500)
		}
	}
}

// fifo keeps fifos from being used: a read would wait.
func fifo(s *Session, fd int) bool {
	st, _ := s.fstat(fd)
	if st.Mode&abi.S_IFMT == abi.S_IFIFO {
		s.close(fd)
		return true
	}
	return false
}
