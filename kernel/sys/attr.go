package sys

import (
	"goum/arch/abi"
	"goum/kernel/fs/vfs"
	"goum/kernel/task"
)

// attrCalls tell and change what a file is.
var attrCalls = Calls{
	abi.SYS_STAT:          Def2("stat", sysStat),
	abi.SYS_LSTAT:         Def2("lstat", sysLstat),
	abi.SYS_FSTAT:         Def2("fstat", sysFstat),
	abi.SYS_NEWFSTATAT:    Def4("newfstatat", sysNewfstatat),
	abi.SYS_STATX:         Def5("statx", sysStatx),
	abi.SYS_ACCESS:        Def2("access", sysAccess),
	abi.SYS_FACCESSAT:     Def3("faccessat", sysFaccessat),
	abi.SYS_FACCESSAT2:    Def4("faccessat2", sysFaccessat2),
	abi.SYS_CHMOD:         Def2("chmod", sysChmod),
	abi.SYS_FCHMOD:        Def2("fchmod", sysFchmod),
	abi.SYS_FCHMODAT:      Def3("fchmodat", sysFchmodat),
	abi.SYS_FCHMODAT2:     Def4("fchmodat2", sysFchmodat2),
	abi.SYS_CHOWN:         Def3("chown", sysChown),
	abi.SYS_LCHOWN:        Def3("lchown", sysLchown),
	abi.SYS_FCHOWN:        Def3("fchown", sysFchown),
	abi.SYS_FCHOWNAT:      Def5("fchownat", sysFchownat),
	abi.SYS_UTIME:         Def2("utime", sysUtime),
	abi.SYS_UTIMES:        Def2("utimes", sysUtimes),
	abi.SYS_FUTIMESAT:     Def3("futimesat", sysFutimesat),
	abi.SYS_UTIMENSAT:     Def4("utimensat", sysUtimensat),
	abi.SYS_TRUNCATE:      Def2("truncate", sysTruncate),
	abi.SYS_FTRUNCATE:     Def2("ftruncate", sysFtruncate),
	abi.SYS_STATFS:        Def2("statfs", sysStatfs),
	abi.SYS_FSTATFS:       Def2("fstatfs", sysFstatfs),
	abi.SYS_USTAT:         Def2("ustat", sysUstat).Partial("the first mount of a device that can be seen from the root answers"),
	abi.SYS_SETXATTR:      Def5("setxattr", sysSetxattr),
	abi.SYS_LSETXATTR:     Def5("lsetxattr", sysLsetxattr),
	abi.SYS_FSETXATTR:     Def5("fsetxattr", sysFsetxattr),
	abi.SYS_GETXATTR:      Def4("getxattr", sysGetxattr),
	abi.SYS_LGETXATTR:     Def4("lgetxattr", sysLgetxattr),
	abi.SYS_FGETXATTR:     Def4("fgetxattr", sysFgetxattr),
	abi.SYS_LISTXATTR:     Def3("listxattr", sysListxattr),
	abi.SYS_LLISTXATTR:    Def3("llistxattr", sysLlistxattr),
	abi.SYS_FLISTXATTR:    Def3("flistxattr", sysFlistxattr),
	abi.SYS_REMOVEXATTR:   Def2("removexattr", sysRemovexattr),
	abi.SYS_LREMOVEXATTR:  Def2("lremovexattr", sysLremovexattr),
	abi.SYS_FREMOVEXATTR:  Def2("fremovexattr", sysFremovexattr),
	abi.SYS_SETXATTRAT:    Absent("setxattrat", abi.ENOSYS, "use setxattr(2)"),
	abi.SYS_GETXATTRAT:    Absent("getxattrat", abi.ENOSYS, "use getxattr(2)"),
	abi.SYS_LISTXATTRAT:   Absent("listxattrat", abi.ENOSYS, "use listxattr(2)"),
	abi.SYS_REMOVEXATTRAT: Absent("removexattrat", abi.ENOSYS, "use removexattr(2)"),
}

// atPath is getPath for the calls with AT_ flags: an empty path, with AT_EMPTY_PATH a null one too, is the descriptor itself.
func atPath(t *task.Task, dir DirFD, path Path, flags uint32) (string, place, abi.Errno) {
	empty := flags&abi.AT_EMPTY_PATH != 0
	if empty && path == 0 {
		p, e := placeOf(t, dir, "")
		return "", p, e
	}
	return getPath(t, dir, path, empty)
}

func sysStat(t *task.Task, path Path, out Out[abi.Stat]) (uint64, abi.Errno) {
	return sysNewfstatat(t, abi.AT_FDCWD, path, out, 0)
}

func sysLstat(t *task.Task, path Path, out Out[abi.Stat]) (uint64, abi.Errno) {
	return sysNewfstatat(t, abi.AT_FDCWD, path, out, abi.AT_SYMLINK_NOFOLLOW)
}

func sysFstat(t *task.Task, fd FD, out Out[abi.Stat]) (uint64, abi.Errno) {
	o, e := getRaw(t, fd)
	if e != 0 {
		return 0, e
	}
	defer o.Unref()
	a, e := o.Attr(t.Caller())
	if e != 0 {
		return 0, e
	}
	return 0, out.Store(t, o.Loc.Stat(&a))
}

const statFlags = abi.AT_SYMLINK_NOFOLLOW | abi.AT_NO_AUTOMOUNT | abi.AT_EMPTY_PATH | abi.AT_STATX_FORCE_SYNC | abi.AT_STATX_DONT_SYNC

// sysNewfstatat tells what a file is: fstatat(2).
func sysNewfstatat(t *task.Task, dir DirFD, path Path, out Out[abi.Stat], flags AtFlags) (uint64, abi.Errno) {
	if flags&^statFlags != 0 {
		return 0, abi.EINVAL
	}
	s, p, e := atPath(t, dir, path, uint32(flags))
	if e != 0 {
		return 0, e
	}
	defer p.done()
	l, a, e := t.Caller().AttrAt(p.at, s, uint32(flags))
	if e != 0 {
		return 0, e
	}
	return 0, out.Store(t, l.Stat(&a))
}

// sysStatx is statx(2).
func sysStatx(t *task.Task, dir DirFD, path Path, flags AtFlags, mask Hex, out Out[abi.Statx]) (uint64, abi.Errno) {
	const sync = abi.AT_STATX_FORCE_SYNC | abi.AT_STATX_DONT_SYNC
	if mask&abi.STATX__RESERVED != 0 || flags&sync == sync || flags&^statFlags != 0 {
		return 0, abi.EINVAL
	}
	s, p, e := atPath(t, dir, path, uint32(flags))
	if e != 0 {
		return 0, e
	}
	defer p.done()
	l, a, e := t.Caller().AttrAt(p.at, s, uint32(flags))
	if e != 0 {
		return 0, e
	}
	return 0, out.Store(t, l.Statx(&a, uint32(mask)))
}

func sysAccess(t *task.Task, path Path, mode AccessMode) (uint64, abi.Errno) {
	return sysFaccessat2(t, abi.AT_FDCWD, path, mode, 0)
}

func sysFaccessat(t *task.Task, dir DirFD, path Path, mode AccessMode) (uint64, abi.Errno) {
	return sysFaccessat2(t, dir, path, mode, 0)
}

// sysFaccessat2 says whether the caller could access a file: faccessat2(2).
func sysFaccessat2(t *task.Task, dir DirFD, path Path, mode AccessMode, flags AtFlags) (uint64, abi.Errno) {
	if mode&^7 != 0 || flags&^(abi.AT_EACCESS|abi.AT_SYMLINK_NOFOLLOW|abi.AT_EMPTY_PATH) != 0 {
		return 0, abi.EINVAL
	}
	s, p, e := getPath(t, dir, path, flags&abi.AT_EMPTY_PATH != 0)
	if e != 0 {
		return 0, e
	}
	defer p.done()
	return 0, t.Caller().Access(p.at, s, uint32(mode), uint32(flags))
}

func sysChmod(t *task.Task, path Path, mode Mode) (uint64, abi.Errno) {
	return sysFchmodat2(t, abi.AT_FDCWD, path, mode, 0)
}

func sysFchmodat(t *task.Task, dir DirFD, path Path, mode Mode) (uint64, abi.Errno) {
	return sysFchmodat2(t, dir, path, mode, 0)
}

// sysFchmodat2 sets the permission bits: fchmodat2(2).
func sysFchmodat2(t *task.Task, dir DirFD, path Path, mode Mode, flags AtFlags) (uint64, abi.Errno) {
	if flags&^(abi.AT_SYMLINK_NOFOLLOW|abi.AT_EMPTY_PATH) != 0 {
		return 0, abi.EINVAL
	}
	s, p, e := getPath(t, dir, path, flags&abi.AT_EMPTY_PATH != 0)
	if e != 0 {
		return 0, e
	}
	defer p.done()
	return 0, t.Caller().ChmodAt(p.at, s, uint32(mode), uint32(flags))
}

func sysFchmod(t *task.Task, fd FD, mode Mode) (uint64, abi.Errno) {
	o, e := get(t, fd)
	if e != 0 {
		return 0, e
	}
	defer o.Unref()
	return 0, t.Caller().Chmod(o.Loc, uint32(mode))
}

func sysChown(t *task.Task, path Path, uid UID, gid GID) (uint64, abi.Errno) {
	return sysFchownat(t, abi.AT_FDCWD, path, uid, gid, 0)
}

func sysLchown(t *task.Task, path Path, uid UID, gid GID) (uint64, abi.Errno) {
	return sysFchownat(t, abi.AT_FDCWD, path, uid, gid, abi.AT_SYMLINK_NOFOLLOW)
}

// sysFchownat sets owner and group: fchownat(2).
func sysFchownat(t *task.Task, dir DirFD, path Path, uid UID, gid GID, flags AtFlags) (uint64, abi.Errno) {
	if flags&^(abi.AT_SYMLINK_NOFOLLOW|abi.AT_EMPTY_PATH) != 0 {
		return 0, abi.EINVAL
	}
	s, p, e := getPath(t, dir, path, flags&abi.AT_EMPTY_PATH != 0)
	if e != 0 {
		return 0, e
	}
	defer p.done()
	return 0, t.Caller().ChownAt(p.at, s, uint32(uid), uint32(gid), uint32(flags))
}

func sysFchown(t *task.Task, fd FD, uid UID, gid GID) (uint64, abi.Errno) {
	o, e := get(t, fd)
	if e != 0 {
		return 0, e
	}
	defer o.Unref()
	return 0, t.Caller().Chown(o.Loc, uint32(uid), uint32(gid))
}

func badTime(ts abi.Timespec) bool {
	return ts.Nsec != abi.UTIME_NOW && ts.Nsec != abi.UTIME_OMIT && uint64(ts.Nsec) >= abi.NsPerSec
}

// setTimes is utimensat(2) once the times are read. A null path means the descriptor itself, without flags.
func setTimes(t *task.Task, dir DirFD, path Path, times *[2]abi.Timespec, flags AtFlags) (uint64, abi.Errno) {
	if path == 0 && dir != abi.AT_FDCWD {
		if flags != 0 {
			return 0, abi.EINVAL
		}
		o, e := get(t, FD(dir))
		if e != 0 {
			return 0, e
		}
		defer o.Unref()
		return 0, t.Caller().Utimens(o.Loc, times)
	}
	if flags&^(abi.AT_SYMLINK_NOFOLLOW|abi.AT_EMPTY_PATH) != 0 {
		return 0, abi.EINVAL
	}
	s, p, e := getPath(t, dir, path, flags&abi.AT_EMPTY_PATH != 0)
	if e != 0 {
		return 0, e
	}
	defer p.done()
	if times != nil && (badTime(times[0]) || badTime(times[1])) { // which Linux sees once it has found the file
		if _, _, e := t.Caller().AttrAt(p.at, s, uint32(flags)); e != 0 {
			return 0, e
		}
		return 0, abi.EINVAL
	}
	return 0, t.Caller().UtimensAt(p.at, s, times, uint32(flags))
}

// sysUtimensat sets access and modification time: utimensat(2).
func sysUtimensat(t *task.Task, dir DirFD, path Path, times In[[2]abi.Timespec], flags AtFlags) (uint64, abi.Errno) {
	if times == 0 {
		return setTimes(t, dir, path, nil, flags)
	}
	v, e := times.Load(t)
	if e != 0 {
		return 0, e
	}
	if v[0].Nsec == abi.UTIME_OMIT && v[1].Nsec == abi.UTIME_OMIT {
		return 0, 0 // nothing is to be done, not even to look
	}
	return setTimes(t, dir, path, &v, flags)
}

func sysUtimes(t *task.Task, path Path, times In[[2]abi.Timeval]) (uint64, abi.Errno) {
	return sysFutimesat(t, abi.AT_FDCWD, path, times)
}

func sysFutimesat(t *task.Task, dir DirFD, path Path, times In[[2]abi.Timeval]) (uint64, abi.Errno) {
	if times == 0 {
		return setTimes(t, dir, path, nil, 0)
	}
	v, e := times.Load(t)
	if e != 0 {
		return 0, e
	}
	var ts [2]abi.Timespec
	for i, tv := range v {
		if tv.Usec < 0 || tv.Usec >= 1_000_000 {
			return 0, abi.EINVAL
		}
		ts[i] = abi.Timespec{Sec: tv.Sec, Nsec: tv.Usec * abi.NsPerUsec}
	}
	return setTimes(t, dir, path, &ts, 0)
}

func sysUtime(t *task.Task, path Path, times In[abi.Utimbuf]) (uint64, abi.Errno) {
	if times == 0 {
		return setTimes(t, abi.AT_FDCWD, path, nil, 0)
	}
	v, e := times.Load(t)
	if e != 0 {
		return 0, e
	}
	return setTimes(t, abi.AT_FDCWD, path, &[2]abi.Timespec{{Sec: v.Actime}, {Sec: v.Modtime}}, 0)
}

// sysTruncate sets a file's size: truncate(2).
func sysTruncate(t *task.Task, path Path, size Off) (uint64, abi.Errno) {
	if size < 0 {
		return 0, abi.EINVAL
	}
	s, _, e := getPath(t, abi.AT_FDCWD, path, false)
	if e != 0 {
		return 0, e
	}
	return 0, t.Caller().TruncateAt(s, int64(size))
}

func sysFtruncate(t *task.Task, fd FD, size Off) (uint64, abi.Errno) {
	if size < 0 {
		return 0, abi.EINVAL
	}
	o, e := get(t, fd)
	if e != 0 {
		return 0, e
	}
	defer o.Unref()
	return 0, o.Truncate(t.Caller(), int64(size))
}

// sysStatfs tells of the file system that a path is on: statfs(2).
func sysStatfs(t *task.Task, path Path, out Out[abi.Statfs]) (uint64, abi.Errno) {
	s, _, e := getPath(t, abi.AT_FDCWD, path, false)
	if e != 0 {
		return 0, e
	}
	l, e := t.Caller().Walk(vfs.Location{}, s, vfs.Follow)
	if e != 0 {
		return 0, e
	}
	f, e := t.Caller().Statfs(l)
	if e != 0 {
		return 0, e
	}
	return 0, out.Store(t, f)
}

func sysFstatfs(t *task.Task, fd FD, out Out[abi.Statfs]) (uint64, abi.Errno) {
	o, e := getRaw(t, fd)
	if e != 0 {
		return 0, e
	}
	defer o.Unref()
	f, e := t.Caller().Statfs(o.Loc)
	if e != 0 {
		return 0, e
	}
	return 0, out.Store(t, f)
}

// sysUstat tells of the file system on a device: ustat(2). EINVAL: it is mounted nowhere.
func sysUstat(t *task.Task, dev Hex, out Out[abi.Ustat]) (uint64, abi.Errno) {
	c := t.Caller()
	for _, m := range vfs.MountLines(c.Root()) {
		if m.Dev != uint64(uint32(dev)) {
			continue
		}
		l, e := c.Walk(vfs.Location{}, m.Point, vfs.Follow)
		if e != 0 {
			return 0, e
		}
		f, e := c.Statfs(l)
		if e != 0 {
			return 0, e
		}
		return 0, out.Store(t, abi.Ustat{Tfree: int32(f.Bfree), Tinode: f.Ffree})
	}
	return 0, abi.EINVAL
}

// xattrName reads the name of an extended attribute: EFAULT, ERANGE (empty, too long).
func xattrName(t *task.Task, name Str) (string, abi.Errno) {
	s, e := name.Get(t, abi.XATTR_NAME_MAX+1, abi.ERANGE)
	if e == 0 && s == "" {
		e = abi.ERANGE
	}
	return s, e
}

// where says whose extended attributes are meant: those at a path, or of a descriptor.
type where struct {
	path Path
	how  vfs.How
	fd   FD
	byFD bool
}

func atFD(fd FD) where { return where{fd: fd, byFD: true} }

// find calls f with the file: EBADF, and what the walk says.
func (w where) find(t *task.Task, f func(c *vfs.Caller, l vfs.Location) (uint64, abi.Errno)) (uint64, abi.Errno) {
	if w.byFD {
		o, e := get(t, w.fd)
		if e != 0 {
			return 0, e
		}
		defer o.Unref()
		return f(t.Caller(), o.Loc)
	}
	s, _, e := getPath(t, abi.AT_FDCWD, w.path, false)
	if e != 0 {
		return 0, e
	}
	l, e := t.Caller().Walk(vfs.Location{}, s, w.how)
	if e != 0 {
		return 0, e
	}
	return f(t.Caller(), l)
}

func setxattr(t *task.Task, w where, name Str, value InBuf, size Size, flags Int) (uint64, abi.Errno) {
	if flags&^(abi.XATTR_CREATE|abi.XATTR_REPLACE) != 0 {
		return 0, abi.EINVAL
	}
	n, e := xattrName(t, name)
	if e != 0 {
		return 0, e
	}
	if size > abi.XATTR_SIZE_MAX {
		return 0, abi.E2BIG
	}
	v := make([]byte, size)
	if e := copyIn(t, uint64(value), v); size > 0 && e != 0 {
		return 0, e
	}
	return w.find(t, func(c *vfs.Caller, l vfs.Location) (uint64, abi.Errno) {
		return 0, c.SetXattr(l, n, v, uint32(flags))
	})
}

func sysSetxattr(t *task.Task, path Path, name Str, value InBuf, size Size, flags Int) (uint64, abi.Errno) {
	return setxattr(t, where{path: path, how: vfs.Follow}, name, value, size, flags)
}

func sysLsetxattr(t *task.Task, path Path, name Str, value InBuf, size Size, flags Int) (uint64, abi.Errno) {
	return setxattr(t, where{path: path}, name, value, size, flags)
}

func sysFsetxattr(t *task.Task, fd FD, name Str, value InBuf, size Size, flags Int) (uint64, abi.Errno) {
	return setxattr(t, atFD(fd), name, value, size, flags)
}

// sized gives b to a caller that offers size bytes: with size 0 only how many there are; ERANGE (too few), EFAULT.
func sized(t *task.Task, b []byte, buf OutBuf, size Size) (uint64, abi.Errno) {
	switch {
	case size == 0:
		return uint64(len(b)), 0
	case Size(len(b)) > size:
		return 0, abi.ERANGE
	}
	return uint64(len(b)), copyOut(t, uint64(buf), b)
}

func getxattr(t *task.Task, w where, name Str, buf OutBuf, size Size) (uint64, abi.Errno) {
	n, e := xattrName(t, name)
	if e != 0 {
		return 0, e
	}
	return w.find(t, func(c *vfs.Caller, l vfs.Location) (uint64, abi.Errno) {
		v, e := c.GetXattr(l, n)
		if e != 0 {
			return 0, e
		}
		return sized(t, v, buf, size)
	})
}

func sysGetxattr(t *task.Task, path Path, name Str, buf OutBuf, size Size) (uint64, abi.Errno) {
	return getxattr(t, where{path: path, how: vfs.Follow}, name, buf, size)
}

func sysLgetxattr(t *task.Task, path Path, name Str, buf OutBuf, size Size) (uint64, abi.Errno) {
	return getxattr(t, where{path: path}, name, buf, size)
}

func sysFgetxattr(t *task.Task, fd FD, name Str, buf OutBuf, size Size) (uint64, abi.Errno) {
	return getxattr(t, atFD(fd), name, buf, size)
}

func listxattr(t *task.Task, w where, buf OutBuf, size Size) (uint64, abi.Errno) {
	return w.find(t, func(c *vfs.Caller, l vfs.Location) (uint64, abi.Errno) {
		names, e := c.ListXattr(l)
		if e != 0 {
			return 0, e
		}
		var b []byte
		for _, n := range names {
			b = append(append(b, n...), 0)
		}
		if len(b) > abi.XATTR_LIST_MAX {
			return 0, abi.E2BIG
		}
		return sized(t, b, buf, size)
	})
}

func sysListxattr(t *task.Task, path Path, buf OutBuf, size Size) (uint64, abi.Errno) {
	return listxattr(t, where{path: path, how: vfs.Follow}, buf, size)
}

func sysLlistxattr(t *task.Task, path Path, buf OutBuf, size Size) (uint64, abi.Errno) {
	return listxattr(t, where{path: path}, buf, size)
}

func sysFlistxattr(t *task.Task, fd FD, buf OutBuf, size Size) (uint64, abi.Errno) {
	return listxattr(t, atFD(fd), buf, size)
}

func removexattr(t *task.Task, w where, name Str) (uint64, abi.Errno) {
	n, e := xattrName(t, name)
	if e != 0 {
		return 0, e
	}
	return w.find(t, func(c *vfs.Caller, l vfs.Location) (uint64, abi.Errno) { return 0, c.RemoveXattr(l, n) })
}

func sysRemovexattr(t *task.Task, path Path, name Str) (uint64, abi.Errno) {
	return removexattr(t, where{path: path, how: vfs.Follow}, name)
}

func sysLremovexattr(t *task.Task, path Path, name Str) (uint64, abi.Errno) {
	return removexattr(t, where{path: path}, name)
}

func sysFremovexattr(t *task.Task, fd FD, name Str) (uint64, abi.Errno) {
	return removexattr(t, atFD(fd), name)
}
