package fstest

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"goum/arch/abi"
)

// native is a Session's calls on the host, on an operating system thread with a root and working directory of its own.
type native struct{ fds []int }

func errno(err error) abi.Errno {
	if err == nil {
		return 0
	}
	return abi.FromHost(err.(unix.Errno))
}

// OnHost runs f with a native session, on a thread that ends with it. root: it has a tmpfs of its own, all of the tree.
func OnHost(t *testing.T, f func(s *Session)) {
	dir := t.TempDir()
	failed := make(chan string, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with what was done to it
		defer close(failed)
		if err := unix.Unshare(unix.CLONE_FS | unix.CLONE_FILES); err != nil {
			failed <- fmt.Sprint("unshare: ", err)
			return
		}
		s := &Session{calls: &native{}, T: t}
		if os.Geteuid() == 0 && unix.Unshare(unix.CLONE_NEWNS) == nil &&
			unix.Mount("none", "/", "", unix.MS_REC|unix.MS_PRIVATE, "") == nil &&
			unix.Mount("none", dir, "tmpfs", 0, "mode=755") == nil && unix.Chroot(dir) == nil {
			s.Root = true
			unix.Chdir("/")
		} else if err := unix.Chdir(dir); err != nil {
			failed <- fmt.Sprint("chdir: ", err)
			return
		}
		unix.Umask(0o022)
		f(s)
		s.done()
	}()
	if msg := <-failed; msg != "" {
		t.Skip(msg)
	}
}

func (n *native) fd(fd int) int {
	if fd < 0 || fd >= len(n.fds) {
		return -1
	}
	return n.fds[fd]
}
func (n *native) add(fd int, err error) (int, abi.Errno) {
	if err != nil {
		return -1, errno(err)
	}
	n.fds = append(n.fds, fd)
	return len(n.fds) - 1, 0
}

func (n *native) mkdir(p string, m uint32) abi.Errno { return errno(unix.Mkdir(p, m)) }
func (n *native) rmdir(p string) abi.Errno           { return errno(unix.Rmdir(p)) }
func (n *native) unlink(p string) abi.Errno          { return errno(unix.Unlink(p)) }
func (n *native) rename(a, b string, f uint32) abi.Errno {
	return errno(unix.Renameat2(unix.AT_FDCWD, a, unix.AT_FDCWD, b, uint(f)))
}
func (n *native) link(a, b string, f int) abi.Errno {
	return errno(unix.Linkat(unix.AT_FDCWD, a, unix.AT_FDCWD, b, f))
}
func (n *native) symlink(t, p string) abi.Errno { return errno(unix.Symlink(t, p)) }
func (n *native) mknod(p string, m uint32, dev int) abi.Errno {
	return errno(unix.Mknod(p, m, dev))
}
func (n *native) open(p string, f int, m uint32) (int, abi.Errno) {
	return n.add(unix.Openat(unix.AT_FDCWD, p, f, m))
}
func (n *native) openat2(p string, f int, r uint64) (int, abi.Errno) {
	return n.add(unix.Openat2(unix.AT_FDCWD, p, &unix.OpenHow{Flags: uint64(f), Resolve: r}))
}
func (n *native) close(fd int) abi.Errno {
	k := n.fd(fd)
	if k >= 0 {
		n.fds[fd] = -1
	}
	return errno(unix.Close(k))
}
func (n *native) dup(fd int) (int, abi.Errno) { return n.add(unix.Dup(n.fd(fd))) }
func (n *native) read(fd int, b []byte) (int, abi.Errno) {
	k, err := unix.Read(n.fd(fd), b)
	return k, errno(err)
}
func (n *native) write(fd int, b []byte) (int, abi.Errno) {
	k, err := unix.Write(n.fd(fd), b)
	return k, errno(err)
}
func (n *native) pread(fd int, b []byte, off int64) (int, abi.Errno) {
	k, err := unix.Pread(n.fd(fd), b, off)
	return k, errno(err)
}
func (n *native) pwrite(fd int, b []byte, off int64) (int, abi.Errno) {
	k, err := unix.Pwrite(n.fd(fd), b, off)
	return k, errno(err)
}
func (n *native) seek(fd int, off int64, w int) (int64, abi.Errno) {
	p, err := unix.Seek(n.fd(fd), off, w)
	return p, errno(err)
}
func (n *native) ftruncate(fd int, size int64) abi.Errno {
	return errno(unix.Ftruncate(n.fd(fd), size))
}
func (n *native) truncate(p string, size int64) abi.Errno { return errno(unix.Truncate(p, size)) }
func (n *native) fallocate(fd int, m uint32, off, l int64) abi.Errno {
	return errno(unix.Fallocate(n.fd(fd), m, off, l))
}
func converted(st *unix.Stat_t) abi.Stat {
	ts := func(t unix.Timespec) abi.Timespec { return abi.Timespec{Sec: t.Sec, Nsec: t.Nsec} }
	return abi.Stat{Dev: st.Dev, Ino: st.Ino, Nlink: st.Nlink, Mode: st.Mode, UID: st.Uid, GID: st.Gid, Rdev: st.Rdev, Size: st.Size,
		Blksize: st.Blksize, Blocks: st.Blocks, Atime: ts(st.Atim), Mtime: ts(st.Mtim), Ctime: ts(st.Ctim)}
}
func (n *native) stat(p string, nofollow bool) (abi.Stat, abi.Errno) {
	var st unix.Stat_t
	err := unix.Stat(p, &st)
	if nofollow {
		st = unix.Stat_t{}
		err = unix.Lstat(p, &st)
	}
	if err != nil {
		return abi.Stat{}, errno(err)
	}
	return converted(&st), 0
}
func (n *native) fstat(fd int) (abi.Stat, abi.Errno) {
	var st unix.Stat_t
	if err := unix.Fstat(n.fd(fd), &st); err != nil {
		return abi.Stat{}, errno(err)
	}
	return converted(&st), 0
}
func (n *native) chmod(p string, m uint32) abi.Errno { return errno(unix.Chmod(p, m)) }
func (n *native) chown(p string, u, g int) abi.Errno { return errno(unix.Lchown(p, u, g)) }
func (n *native) utimens(p string, t *[2]abi.Timespec) abi.Errno {
	if t == nil {
		return errno(unix.UtimesNanoAt(unix.AT_FDCWD, p, nil, 0))
	}
	return errno(unix.UtimesNanoAt(unix.AT_FDCWD, p, []unix.Timespec{{Sec: t[0].Sec, Nsec: t[0].Nsec}, {Sec: t[1].Sec, Nsec: t[1].Nsec}}, 0))
}
func (n *native) access(p string, m uint32, f int) abi.Errno {
	return errno(unix.Faccessat2(unix.AT_FDCWD, p, m, f))
}
func (n *native) readlink(p string) (string, abi.Errno) {
	b := make([]byte, 5000)
	k, err := unix.Readlink(p, b)
	return string(b[:max(k, 0)]), errno(err)
}
func (n *native) readdir(fd int) (names []string, e abi.Errno) {
	b := make([]byte, 200)
	for {
		k, err := unix.Getdents(n.fd(fd), b)
		if k <= 0 || err != nil {
			return names, errno(err)
		}
		for d := b[:k]; len(d) > 0; d = d[binary.LittleEndian.Uint16(d[16:]):] {
			name, _, _ := bytes.Cut(d[19:], []byte{0})
			names = append(names, fmt.Sprintf("%s:%d", name, d[18]))
		}
	}
}
func (n *native) chdir(p string) abi.Errno { return errno(unix.Chdir(p)) }
func (n *native) getcwd() (string, abi.Errno) {
	b := make([]byte, 5000)
	k, err := unix.Getcwd(b)
	return string(bytes.TrimRight(b[:max(k, 0)], "\x00")), errno(err)
}
func (n *native) umask(m int) int { return unix.Umask(m) }
func (n *native) setxattr(p, name string, v []byte, f int) abi.Errno {
	return errno(unix.Setxattr(p, name, v, f))
}
func (n *native) getxattr(p, name string) (string, abi.Errno) {
	b := make([]byte, 70000)
	k, err := unix.Getxattr(p, name, b)
	return string(b[:max(k, 0)]), errno(err)
}
func (n *native) listxattr(p string) (string, abi.Errno) {
	b := make([]byte, 65536)
	k, err := unix.Listxattr(p, b)
	names := strings.FieldsFunc(string(b[:max(k, 0)]), func(r rune) bool { return r == 0 })
	slices.Sort(names)
	return strings.Join(names, " "), errno(err)
}
func (n *native) removexattr(p, name string) abi.Errno { return errno(unix.Removexattr(p, name)) }
func (n *native) getfl(fd int) (int, abi.Errno) {
	f, err := unix.FcntlInt(uintptr(n.fd(fd)), unix.F_GETFL, 0)
	return f, errno(err)
}
func (n *native) setfl(fd, f int) abi.Errno {
	_, err := unix.FcntlInt(uintptr(n.fd(fd)), unix.F_SETFL, f)
	return errno(err)
}
func (n *native) setuser(uid, gid int) {
	unix.Setfsuid(0)
	unix.RawSyscall(unix.SYS_SETGROUPS, 0, 0, 0) // of this thread only
	unix.Setfsgid(gid)
	unix.Setfsuid(uid)
}
func (n *native) mount(src, target, typ string, f uintptr, data string) abi.Errno {
	return errno(unix.Mount(src, target, typ, f, data))
}
func (n *native) umount(p string, f int) abi.Errno { return errno(unix.Unmount(p, f)) }
func (n *native) flock(fd, op int) abi.Errno       { return errno(unix.Flock(n.fd(fd), op)) }
func (n *native) lock(fd, cmd int, l *abi.FlockT) abi.Errno {
	u := unix.Flock_t{Type: l.Type, Whence: l.Whence, Start: l.Start, Len: l.Len}
	err := unix.FcntlFlock(uintptr(n.fd(fd)), cmd, &u)
	l.Type, l.Whence, l.Start, l.Len = u.Type, u.Whence, u.Start, u.Len
	return errno(err)
}
func (n *native) done() {
	for i := range n.fds {
		if n.fds[i] >= 0 {
			n.close(i)
		}
	}
}
