// Package fstest is the one suite of tests that every file system passes, with no guest.
//
// A scenario is a function over a Session, which makes calls and keeps a log of what came back. It is run twice, natively in a
// directory of the host (with a tmpfs of its own and in a chroot, where the host allows that) and through vfs on the file system under
// test; the two logs must be the same. Linux is the oracle, for errno above all.
package fstest

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"goum/arch/abi"
	"goum/kernel/cred"
	"goum/kernel/fs/vfs"
	"goum/mm"
	"goum/sched"
	"goum/sched/clock"
)

// calls are what a scenario can do. fd is a handle, -1 for none.
type calls interface {
	mkdir(path string, mode uint32) abi.Errno
	rmdir(path string) abi.Errno
	unlink(path string) abi.Errno
	rename(old, new string, flags uint32) abi.Errno
	link(old, new string, flags int) abi.Errno
	symlink(target, path string) abi.Errno
	mknod(path string, mode uint32, dev int) abi.Errno
	open(path string, flags int, mode uint32) (int, abi.Errno)
	openat2(path string, flags int, resolve uint64) (int, abi.Errno)
	close(fd int) abi.Errno
	read(fd int, b []byte) (int, abi.Errno)
	write(fd int, b []byte) (int, abi.Errno)
	pread(fd int, b []byte, off int64) (int, abi.Errno)
	pwrite(fd int, b []byte, off int64) (int, abi.Errno)
	seek(fd int, off int64, whence int) (int64, abi.Errno)
	ftruncate(fd int, size int64) abi.Errno
	truncate(path string, size int64) abi.Errno
	fallocate(fd int, mode uint32, off, length int64) abi.Errno
	stat(path string, nofollow bool) (abi.Stat, abi.Errno)
	fstat(fd int) (abi.Stat, abi.Errno)
	chmod(path string, mode uint32) abi.Errno
	chown(path string, uid, gid int) abi.Errno
	utimens(path string, times *[2]abi.Timespec) abi.Errno
	access(path string, mode uint32, flags int) abi.Errno
	readlink(path string) (string, abi.Errno)
	readdir(fd int) ([]string, abi.Errno)
	chdir(path string) abi.Errno
	getcwd() (string, abi.Errno)
	umask(mask int) int
	setxattr(path, name string, value []byte, flags int) abi.Errno
	getxattr(path, name string) (string, abi.Errno)
	listxattr(path string) (string, abi.Errno)
	removexattr(path, name string) abi.Errno
	getfl(fd int) (int, abi.Errno)
	setfl(fd int, flags int) abi.Errno
	setuser(uid, gid int)
	mount(source, target, typ string, flags uintptr, data string) abi.Errno
	umount(path string, flags int) abi.Errno
	flock(fd int, op int) abi.Errno
	lock(fd int, cmd int, l *abi.FlockT) abi.Errno
	dup(fd int) (int, abi.Errno)
	done()
}

// Session makes calls, and logs them with their results.
type Session struct {
	calls
	T    *testing.T
	Log  []string
	Root bool // the whole tree is the session's own, and it may do everything
}

func (s *Session) say(e abi.Errno, format string, args ...any) abi.Errno {
	what := fmt.Sprintf(format, args...)
	if e != 0 {
		what += " = " + e.Name()
	}
	s.Log = append(s.Log, what)
	return e
}

// The calls of a scenario, by their names in section 2 of the manual.
func (s *Session) Mkdir(path string, mode uint32) abi.Errno {
	return s.say(s.mkdir(path, mode), "mkdir %q %o", short(path), mode)
}
func (s *Session) Rmdir(path string) abi.Errno { return s.say(s.rmdir(path), "rmdir %q", short(path)) }
func (s *Session) Unlink(path string) abi.Errno {
	return s.say(s.unlink(path), "unlink %q", short(path))
}
func (s *Session) Rename(old, new string, flags uint32) abi.Errno {
	return s.say(s.rename(old, new, flags), "rename %q %q %#x", short(old), short(new), flags)
}
func (s *Session) Link(old, new string, flags int) abi.Errno {
	return s.say(s.link(old, new, flags), "link %q %q %#x", short(old), short(new), flags)
}
func (s *Session) Symlink(target, path string) abi.Errno {
	return s.say(s.symlink(target, path), "symlink %q %q", short(target), short(path))
}
func (s *Session) Mknod(path string, mode uint32, dev int) abi.Errno {
	return s.say(s.mknod(path, mode, dev), "mknod %q %o %#x", short(path), mode, dev)
}
func (s *Session) Open(path string, flags int, mode uint32) int {
	fd, e := s.open(path, flags, mode)
	s.say(e, "open %q %#x %o", short(path), flags, mode)
	if e != 0 {
		return -1
	}
	return fd
}
func (s *Session) Openat2(path string, flags int, resolve uint64) int {
	fd, e := s.openat2(path, flags, resolve)
	s.say(e, "openat2 %q %#x %#x", short(path), flags, resolve)
	if e != 0 {
		return -1
	}
	return fd
}
func (s *Session) Close(fd int) abi.Errno { return s.say(s.close(fd), "close") }
func (s *Session) Dup(fd int) int {
	n, e := s.dup(fd)
	s.say(e, "dup")
	return n
}
func (s *Session) Read(fd int, n int) string {
	b := make([]byte, n)
	k, e := s.read(fd, b)
	s.say(e, "read %d: %q", k, short(string(b[:max(k, 0)])))
	return string(b[:max(k, 0)])
}
func (s *Session) Write(fd int, data string) int {
	k, e := s.write(fd, []byte(data))
	s.say(e, "write %d: %d", len(data), k)
	return k
}
func (s *Session) Pread(fd int, n int, off int64) {
	b := make([]byte, n)
	k, e := s.pread(fd, b, off)
	s.say(e, "pread %d at %d: %d %q", n, off, k, short(strings.Trim(string(b[:max(k, 0)]), "\x00")))
}
func (s *Session) Pwrite(fd int, data string, off int64) {
	k, e := s.pwrite(fd, []byte(data), off)
	s.say(e, "pwrite %d at %d: %d", len(data), off, k)
}
func (s *Session) Seek(fd int, off int64, whence int) {
	p, e := s.seek(fd, off, whence)
	if e != 0 {
		p = -1
	}
	s.say(e, "seek %d %d: %d", off, whence, p)
}
func (s *Session) Ftruncate(fd int, size int64) abi.Errno {
	return s.say(s.ftruncate(fd, size), "ftruncate %d", size)
}
func (s *Session) Truncate(path string, size int64) abi.Errno {
	return s.say(s.truncate(path, size), "truncate %q %d", short(path), size)
}
func (s *Session) Fallocate(fd int, mode uint32, off, length int64) abi.Errno {
	return s.say(s.fallocate(fd, mode, off, length), "fallocate %#x %d %d", mode, off, length)
}
func (s *Session) Stat(path string) abi.Stat  { return s.statLog("stat", path, false) }
func (s *Session) Lstat(path string) abi.Stat { return s.statLog("lstat", path, true) }
func (s *Session) statLog(name, path string, nofollow bool) abi.Stat {
	st, e := s.stat(path, nofollow)
	s.say(e, "%s %q %s", name, short(path), shown(&st))
	return st
}
func (s *Session) Fstat(fd int) abi.Stat {
	st, e := s.fstat(fd)
	s.say(e, "fstat %s", shown(&st))
	return st
}
func (s *Session) Chmod(path string, mode uint32) abi.Errno {
	return s.say(s.chmod(path, mode), "chmod %q %o", short(path), mode)
}
func (s *Session) Chown(path string, uid, gid int) abi.Errno {
	return s.say(s.chown(path, uid, gid), "chown %q %d %d", short(path), uid, gid)
}
func (s *Session) Utimens(path string, times *[2]abi.Timespec) abi.Errno {
	return s.say(s.utimens(path, times), "utimens %q %v", short(path), times)
}
func (s *Session) Access(path string, mode uint32, flags int) abi.Errno {
	return s.say(s.access(path, mode, flags), "access %q %o %#x", short(path), mode, flags)
}
func (s *Session) Readlink(path string) {
	l, e := s.readlink(path)
	s.say(e, "readlink %q: %q", short(path), short(l))
}
func (s *Session) Readdir(path string) []string {
	fd, e := s.open(path, abi.O_RDONLY|abi.O_DIRECTORY, 0)
	if e != 0 {
		s.say(e, "readdir %q: open", short(path))
		return nil
	}
	defer s.close(fd)
	names, e := s.readdir(fd)
	slices.Sort(names)
	s.say(e, "readdir %q: %v", short(path), names)
	return names
}
func (s *Session) Chdir(path string) abi.Errno { return s.say(s.chdir(path), "chdir %q", short(path)) }
func (s *Session) Getcwd() {
	p, e := s.getcwd()
	s.say(e, "getcwd %q", short(p))
}
func (s *Session) Umask(m int) { s.say(0, "umask %o: %o", m, s.umask(m)) }
func (s *Session) Setxattr(path, name, value string, flags int) abi.Errno {
	return s.say(s.setxattr(path, name, []byte(value), flags), "setxattr %q %q %q %d", short(path), short(name), short(value), flags)
}
func (s *Session) Getxattr(path, name string) {
	v, e := s.getxattr(path, name)
	s.say(e, "getxattr %q %q: %q", short(path), short(name), short(v))
}
func (s *Session) Listxattr(path string) {
	v, e := s.listxattr(path)
	s.say(e, "listxattr %q: %q", short(path), v)
}
func (s *Session) Removexattr(path, name string) abi.Errno {
	return s.say(s.removexattr(path, name), "removexattr %q %q", short(path), short(name))
}
func (s *Session) Getfl(fd int) {
	f, e := s.getfl(fd)
	s.say(e, "getfl %#x", f)
}
func (s *Session) Setfl(fd, flags int) { s.say(s.setfl(fd, flags), "setfl %#x", flags) }

// User makes the following calls as another user with only the given group; 0, 0 is root again.
func (s *Session) User(uid, gid int) {
	s.setuser(uid, gid)
	s.say(0, "--- user %d group %d", uid, gid)
}
func (s *Session) Mount(source, target, typ string, flags uintptr, data string) abi.Errno {
	return s.say(s.mount(source, target, typ, flags, data), "mount %q %q %q %#x %q", source, target, typ, flags, data)
}
func (s *Session) Umount(path string, flags int) abi.Errno {
	return s.say(s.umount(path, flags), "umount %q %#x", path, flags)
}
func (s *Session) Flock(fd, op int) abi.Errno { return s.say(s.flock(fd, op), "flock %d", op) }
func (s *Session) Lock(fd, cmd int, typ int16, start, length int64) {
	l := abi.FlockT{Type: typ, Start: start, Len: length}
	e := s.lock(fd, cmd, &l)
	if cmd == abi.F_GETLK || cmd == abi.F_OFD_GETLK {
		s.say(e, "getlk %d %d %d: %d %d %d", typ, start, length, l.Type, l.Start, l.Len)
		return
	}
	s.say(e, "setlk %d %d %d %d", cmd, typ, start, length)
}

func shown(st *abi.Stat) string {
	size := st.Size
	if st.Mode&abi.S_IFMT == abi.S_IFDIR {
		size = 0 // each file system has its own idea
	}
	return fmt.Sprintf("mode %o nlink %d owner %d:%d rdev %#x size %d", st.Mode, st.Nlink, st.UID, st.GID, st.Rdev, size)
}

func short(s string) string {
	if len(s) > 60 {
		return fmt.Sprintf("%s...(%d)", s[:40], len(s))
	}
	return s
}

// virtual is a Session's calls through vfs.
type virtual struct {
	c     *vfs.Caller
	sys   *vfs.System
	files []*vfs.Open
}

// Maker makes the file system under test.
type Maker func(sys *vfs.System) *vfs.Super

// NewCaller is a root user's caller in a machine whose root is what mk makes.
func NewCaller(t testing.TB, mk Maker, register ...func(sys *vfs.System)) *vfs.Caller {
	sys := vfs.New(clock.NewVirtual(1e18))
	for _, r := range register {
		r(sys)
	}
	vfs.RegisterChar(sys, 1, 3, func(*vfs.Caller, uint32, vfs.Location) (vfs.File, abi.Errno) { return vfs.NoFile{}, 0 })
	for name, v := range map[string]*atomic.Int32{"hardlinks": &sys.Hardlinks, "symlinks": &sys.Symlinks, "fifos": &sys.Fifos, "regular": &sys.Regular} {
		b, _ := os.ReadFile("/proc/sys/fs/protected_" + name) // as the host has them, which is the oracle
		n, _ := strconv.Atoi(strings.TrimSpace(string(b)))
		v.Store(int32(n))
	}
	root := sys.MountRoot(mk(sys), "none", 0)
	d := vfs.NewDirs(root, root)
	return &vfs.Caller{Cred: cred.Root(), Dirs: d, Tgid: 1, Tid: 1, Limits: cred.NewLimits(1 << 30)}
}

func (v *virtual) file(fd int) (*vfs.Open, abi.Errno) {
	if fd < 0 || fd >= len(v.files) || v.files[fd] == nil {
		return nil, abi.EBADF
	}
	return v.files[fd], 0
}
func (v *virtual) add(o *vfs.Open, e abi.Errno) (int, abi.Errno) {
	if e != 0 {
		return -1, e
	}
	v.files = append(v.files, o)
	return len(v.files) - 1, 0
}

var here vfs.Location

func (v *virtual) mkdir(p string, m uint32) abi.Errno { return v.c.Mkdir(here, p, m) }
func (v *virtual) rmdir(p string) abi.Errno           { return v.c.Rmdir(here, p) }
func (v *virtual) unlink(p string) abi.Errno          { return v.c.Unlink(here, p) }
func (v *virtual) rename(a, b string, f uint32) abi.Errno {
	return v.c.Rename(here, a, here, b, f)
}
func (v *virtual) link(a, b string, f int) abi.Errno { return v.c.Link(here, a, here, b, uint32(f)) }
func (v *virtual) symlink(t, p string) abi.Errno     { return v.c.Symlink(t, here, p) }
func (v *virtual) mknod(p string, m uint32, dev int) abi.Errno {
	return v.c.Mknod(here, p, m, uint64(dev))
}
func (v *virtual) open(p string, f int, m uint32) (int, abi.Errno) {
	return v.add(v.c.OpenAt(here, p, vfs.Opening{Flags: uint32(f), Mode: m}))
}
func (v *virtual) openat2(p string, f int, r uint64) (int, abi.Errno) {
	return v.add(v.c.OpenAt(here, p, vfs.Opening{Flags: uint32(f), Resolve: r, Strict: true}))
}
func (v *virtual) close(fd int) abi.Errno {
	o, e := v.file(fd)
	if e != 0 {
		return e
	}
	v.files[fd] = nil
	e = o.Flush(v.c, v)
	o.Unref()
	return e
}
func (v *virtual) dup(fd int) (int, abi.Errno) {
	o, e := v.file(fd)
	if e == 0 {
		o.Ref()
	}
	return v.add(o, e)
}
func (v *virtual) read(fd int, b []byte) (int, abi.Errno) {
	o, e := v.file(fd)
	if e != 0 {
		return -1, e
	}
	n, e := o.Read(v.c, mm.BytesBuf(b))
	return result(n, e)
}
func result(n int, e abi.Errno) (int, abi.Errno) {
	if e != 0 {
		n = -1
	}
	return n, e
}
func (v *virtual) write(fd int, b []byte) (int, abi.Errno) {
	o, e := v.file(fd)
	if e != 0 {
		return -1, e
	}
	n, e := o.Write(v.c, mm.BytesBuf(b))
	return result(n, e)
}
func (v *virtual) pread(fd int, b []byte, off int64) (int, abi.Errno) {
	o, e := v.file(fd)
	if e != 0 {
		return -1, e
	}
	n, e := o.Pread(v.c, mm.BytesBuf(b), off)
	return result(n, e)
}
func (v *virtual) pwrite(fd int, b []byte, off int64) (int, abi.Errno) {
	o, e := v.file(fd)
	if e != 0 {
		return -1, e
	}
	n, e := o.Pwrite(v.c, mm.BytesBuf(b), off)
	return result(n, e)
}
func (v *virtual) seek(fd int, off int64, w int) (int64, abi.Errno) {
	o, e := v.file(fd)
	if e != 0 {
		return -1, e
	}
	return o.Seek(v.c, off, w)
}
func (v *virtual) ftruncate(fd int, size int64) abi.Errno {
	o, e := v.file(fd)
	if e != 0 {
		return e
	}
	return o.Truncate(v.c, size)
}
func (v *virtual) truncate(p string, size int64) abi.Errno { return v.c.TruncateAt(p, size) }
func (v *virtual) fallocate(fd int, m uint32, off, n int64) abi.Errno {
	o, e := v.file(fd)
	if e != 0 {
		return e
	}
	return o.Allocate(v.c, m, off, n)
}
func (v *virtual) stat(p string, nofollow bool) (abi.Stat, abi.Errno) {
	f := uint32(0)
	if nofollow {
		f = abi.AT_SYMLINK_NOFOLLOW
	}
	l, a, e := v.c.AttrAt(here, p, f)
	if e != 0 {
		return abi.Stat{}, e
	}
	return l.Stat(&a), 0
}
func (v *virtual) fstat(fd int) (abi.Stat, abi.Errno) {
	o, e := v.file(fd)
	if e != 0 {
		return abi.Stat{}, e
	}
	a, e := o.Attr(v.c)
	return o.Loc.Stat(&a), e
}
func (v *virtual) chmod(p string, m uint32) abi.Errno { return v.c.ChmodAt(here, p, m, 0) }
func (v *virtual) chown(p string, u, g int) abi.Errno {
	return v.c.ChownAt(here, p, uint32(u), uint32(g), abi.AT_SYMLINK_NOFOLLOW)
}
func (v *virtual) utimens(p string, t *[2]abi.Timespec) abi.Errno {
	return v.c.UtimensAt(here, p, t, 0)
}
func (v *virtual) access(p string, m uint32, f int) abi.Errno {
	return v.c.Access(here, p, m, uint32(f))
}
func (v *virtual) readlink(p string) (string, abi.Errno) {
	if p == "" {
		return "", abi.ENOENT
	}
	return v.c.Readlink(here, p)
}
func (v *virtual) readdir(fd int) (names []string, e abi.Errno) {
	o, e := v.file(fd)
	if e != 0 {
		return nil, e
	}
	for {
		n := 0
		e := o.ReadDir(v.c, func(d vfs.DirEntry) bool {
			if n == 3 { // as a small buffer would
				return false
			}
			n++
			names = append(names, fmt.Sprintf("%s:%d", d.Name, d.Type))
			return true
		})
		if n == 0 || e != 0 {
			return names, e
		}
	}
}
func (v *virtual) chdir(p string) abi.Errno              { return v.c.Chdir(here, p) }
func (v *virtual) getcwd() (string, abi.Errno)           { return v.c.Getcwd() }
func (v *virtual) umask(m int) int                       { return int(v.c.Dirs.SetUmask(uint32(m))) }
func (v *virtual) at(p string) (vfs.Location, abi.Errno) { return v.c.Walk(here, p, vfs.Follow) }
func (v *virtual) setxattr(p, name string, val []byte, f int) abi.Errno {
	if e := vfs.CheckSetXattr(name, uint64(len(val)), uint32(f)); e != 0 {
		return e
	}
	l, e := v.at(p)
	if e != 0 {
		return e
	}
	return v.c.SetXattr(l, name, val, uint32(f))
}
func (v *virtual) getxattr(p, name string) (string, abi.Errno) {
	if e := vfs.CheckXattr(name); e != 0 {
		return "", e
	}
	l, e := v.at(p)
	if e != 0 {
		return "", e
	}
	b, e := v.c.GetXattr(l, name)
	return string(b), e
}
func (v *virtual) listxattr(p string) (string, abi.Errno) {
	l, e := v.at(p)
	if e != 0 {
		return "", e
	}
	n, e := v.c.ListXattr(l)
	slices.Sort(n)
	return strings.Join(n, " "), e
}
func (v *virtual) removexattr(p, name string) abi.Errno {
	if e := vfs.CheckXattr(name); e != 0 {
		return e
	}
	l, e := v.at(p)
	if e != 0 {
		return e
	}
	return v.c.RemoveXattr(l, name)
}
func (v *virtual) getfl(fd int) (int, abi.Errno) {
	o, e := v.file(fd)
	if e != 0 {
		return -1, e
	}
	return int(o.GetFlags()), 0
}
func (v *virtual) setfl(fd, f int) abi.Errno {
	o, e := v.file(fd)
	if e != 0 {
		return e
	}
	if o.IsPath() {
		return abi.EBADF
	}
	return o.SetFlags(v.c, uint32(f))
}
func (v *virtual) setuser(uid, gid int) {
	c := v.c.Cred
	c, _ = c.SetFSUID(0)
	c, _ = c.SetGroups(nil)
	c, _ = c.SetFSGID(uint32(gid))
	c, _ = c.SetFSUID(uint32(uid))
	v.c.Cred = c
}
func (v *virtual) mount(src, target, typ string, f uintptr, data string) abi.Errno {
	return v.c.MountAt(src, target, typ, uint32(f), data)
}
func (v *virtual) umount(p string, f int) abi.Errno { return v.c.Umount(p, uint32(f)) }
func (v *virtual) flock(fd, op int) abi.Errno {
	switch op &^ abi.LOCK_NB { // before the descriptor is looked at, as in Linux
	case abi.LOCK_SH, abi.LOCK_EX, abi.LOCK_UN:
	default:
		return abi.EINVAL
	}
	o, e := v.file(fd)
	if e != 0 {
		return e
	}
	return o.Flock(v.c, op)
}
func (v *virtual) lock(fd, cmd int, l *abi.FlockT) abi.Errno {
	o, e := v.file(fd)
	if e != 0 {
		return e
	}
	if cmd == abi.F_GETLK || cmd == abi.F_OFD_GETLK {
		return o.GetLock(v.c, cmd, l, v)
	}
	return o.Lock(v.c, cmd, l, v)
}
func (v *virtual) done() {
	for fd := range v.files {
		v.close(fd)
	}
}

// Threads runs fs on threads of a scheduler of their own, with cpus vCPUs, and waits for all.
func Threads(cpus int, fs ...func(t *sched.Thread)) {
	clk, err := clock.New()
	if err != nil {
		panic(err)
	}
	defer clk.Close()
	s := sched.New(cpus, clk)
	ended := make(chan struct{}, len(fs))
	for i, f := range fs {
		t := s.NewThread(fmt.Sprint("test", i))
		t.Start(func() {
			defer func() { ended <- struct{}{} }()
			f(t)
		})
	}
	for range fs {
		<-ended
	}
}
