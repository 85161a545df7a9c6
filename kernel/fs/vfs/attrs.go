package vfs

import (
	"goum/arch/abi"
)

// AttrAt is the attributes of path, for stat(2) and its kind: flags are AT_SYMLINK_NOFOLLOW, AT_EMPTY_PATH and AT_NO_AUTOMOUNT
// (the caller has refused others).
func (c *Caller) AttrAt(at Location, path string, flags uint32) (Location, Attr, abi.Errno) {
	l, e := c.Walk(at, path, atHow(flags))
	if e != 0 {
		return l, Attr{}, e
	}
	a, e := c.attrOf(l)
	return l, a, e
}

// Attr is the attributes of an open file: fstat(2).
func (o *Open) Attr(c *Caller) (Attr, abi.Errno) {
	if o.Loc.Node() == nil {
		return Attr{}, abi.EBADF
	}
	return o.Loc.Node().Attr(c)
}

// dev is the device number that stat tells for a.
func (l Location) dev(a *Attr) uint64 {
	if a.Dev != 0 {
		return a.Dev
	}
	return l.Dentry.super.Dev
}

// Stat puts a, found at l, into the form of stat(2).
func (l Location) Stat(a *Attr) abi.Stat {
	return abi.Stat{
		Dev: l.dev(a), Ino: a.Ino, Nlink: uint64(a.Nlink), Mode: a.Mode, UID: a.UID, GID: a.GID, Rdev: a.Rdev, Size: a.Size,
		Blksize: int64(a.blockSize()), Blocks: int64(a.Blocks),
		Atime: abi.NsToTimespec(a.Atime), Mtime: abi.NsToTimespec(a.Mtime), Ctime: abi.NsToTimespec(a.Ctime),
	}
}

func (a *Attr) blockSize() uint32 {
	if a.BlockSize == 0 {
		return 4096
	}
	return a.BlockSize
}

// Statx puts a, found at l, into the form of statx(2). mask is what was asked for: STATX_MNT_ID_UNIQUE changes the mount's number.
func (l Location) Statx(a *Attr, mask uint32) abi.Statx {
	stamp := func(ns int64) abi.StatxTimestamp {
		t := abi.NsToTimespec(ns)
		return abi.StatxTimestamp{Sec: t.Sec, Nsec: uint32(t.Nsec)}
	}
	dev := l.dev(a)
	s := abi.Statx{
		Mask: abi.STATX_BASIC_STATS, Blksize: a.blockSize(), Attributes: a.Flags, Nlink: a.Nlink, UID: a.UID, GID: a.GID,
		Mode: uint16(a.Mode), Ino: a.Ino, Size: uint64(a.Size), Blocks: a.Blocks,
		AttributesMask: abi.STATX_ATTR_AUTOMOUNT | abi.STATX_ATTR_MOUNT_ROOT | abi.STATX_ATTR_DAX | abi.STATX_ATTR_IMMUTABLE | abi.STATX_ATTR_APPEND,
		Atime:          stamp(a.Atime), Ctime: stamp(a.Ctime), Mtime: stamp(a.Mtime),
		RdevMajor: abi.Major(a.Rdev), RdevMinor: abi.Minor(a.Rdev), DevMajor: abi.Major(dev), DevMinor: abi.Minor(dev),
	}
	if a.Btime != 0 {
		s.Mask |= abi.STATX_BTIME
		s.Btime = stamp(a.Btime)
	}
	if m := l.Mount; m != nil {
		if mask&abi.STATX_MNT_ID_UNIQUE != 0 {
			s.Mask |= abi.STATX_MNT_ID_UNIQUE
			s.MntID = m.UID
		} else {
			s.Mask |= abi.STATX_MNT_ID
			s.MntID = uint64(m.ID)
		}
		if l.Dentry == m.root {
			s.Attributes |= abi.STATX_ATTR_MOUNT_ROOT
		}
	}
	return s
}

// Statfs is statfs(2) for where l is.
func (c *Caller) Statfs(l Location) (abi.Statfs, abi.Errno) {
	if l.Dentry == nil {
		return abi.Statfs{}, abi.EBADF
	}
	s := l.Dentry.super
	if s.FS == nil {
		return abi.Statfs{}, abi.ENOSYS
	}
	f, e := s.FS.Statfs(c)
	if e != 0 {
		return f, e
	}
	if f.Frsize == 0 {
		f.Frsize = f.Bsize
	}
	const stValid = 0x20
	f.Flags |= stValid
	m := l.Mount.Flags()
	if s.ReadOnly() {
		m |= abi.MS_RDONLY
	}
	for _, p := range [...][2]uint32{{abi.MS_RDONLY, abi.ST_RDONLY}, {abi.MS_NOSUID, abi.ST_NOSUID}, {abi.MS_NODEV, abi.ST_NODEV},
		{abi.MS_NOEXEC, abi.ST_NOEXEC}, {abi.MS_NOATIME, abi.ST_NOATIME}, {abi.MS_NODIRATIME, abi.ST_NODIRATIME},
		{abi.MS_RELATIME, abi.ST_RELATIME}, {abi.MS_NOSYMFOLLOW, 0x2000}} {
		if m&p[0] != 0 {
			f.Flags |= int64(p[1])
		}
	}
	if f.Fsid == ([2]int32{}) {
		f.Fsid = [2]int32{int32(s.Dev), int32(s.Dev >> 32)}
	}
	return f, 0
}

// setAttr is notify_change after the permission was found: with the mount held for writing.
func (c *Caller) setAttr(l Location, s *SetAttr) abi.Errno {
	n := l.Node()
	e := n.SetAttr(c, s)
	if e == 0 && watching.Load() != 0 {
		mask := uint32(0)
		if s.Valid&SetSize != 0 {
			mask |= abi.IN_MODIFY
		}
		if s.Valid&(SetMode|SetUID|SetGID|SetAtime|SetMtime|SetAtimeNow|SetMtimeNow) != 0 && s.Valid&SetSize == 0 {
			mask |= abi.IN_ATTRIB
		}
		notifyAt(l.Dentry, mask)
	}
	return e
}

// Chmod is fchmodat2(2) once the file is found: EROFS, EPERM, EOPNOTSUPP (a link).
func (c *Caller) Chmod(l Location, mode uint32) abi.Errno {
	if e := l.Mount.beginWrite(); e != 0 {
		return e
	}
	defer l.Mount.endWrite()
	a, e := c.attrOf(l)
	if e != 0 {
		return e
	}
	if a.Flags&(abi.STATX_ATTR_IMMUTABLE|abi.STATX_ATTR_APPEND) != 0 || !c.owns(&a) {
		return abi.EPERM
	}
	if a.Mode&abi.S_IFMT == abi.S_IFLNK {
		return abi.EOPNOTSUPP
	}
	mode &= 0o7777
	if mode&abi.S_ISGID != 0 && !c.Cred.InGroup(a.GID) && !c.Cred.Has(abi.CAP_FSETID) {
		mode &^= abi.S_ISGID
	}
	return c.setAttr(l, &SetAttr{Valid: SetMode, Mode: mode})
}

// ChmodAt is chmod(2) and fchmodat(2): flags are AT_SYMLINK_NOFOLLOW and AT_EMPTY_PATH.
func (c *Caller) ChmodAt(at Location, path string, mode, flags uint32) abi.Errno {
	if flags&^(abi.AT_SYMLINK_NOFOLLOW|abi.AT_EMPTY_PATH) != 0 {
		return abi.EINVAL
	}
	l, e := c.Walk(at, path, atHow(flags))
	if e != 0 {
		return e
	}
	return c.Chmod(l, mode)
}

const noID = ^uint32(0)

// Chown is fchownat(2) once the file is found; noID (-1) leaves a number as it is. EROFS, EPERM. It takes set-user-ID and
// set-group-ID bits away, as Linux's chown_common does.
func (c *Caller) Chown(l Location, uid, gid uint32) abi.Errno {
	if e := l.Mount.beginWrite(); e != 0 {
		return e
	}
	defer l.Mount.endWrite()
	a, e := c.attrOf(l)
	if e != 0 {
		return e
	}
	if a.Flags&(abi.STATX_ATTR_IMMUTABLE|abi.STATX_ATTR_APPEND) != 0 {
		return abi.EPERM
	}
	s := &SetAttr{}
	can := c.Cred.Has(abi.CAP_CHOWN)
	owner := c.Cred.FSUID == a.UID
	if uid != noID {
		if !can && !(owner && uid == a.UID) {
			return abi.EPERM
		}
		s.Valid, s.UID = s.Valid|SetUID, uid
	}
	if gid != noID {
		if !can && !(owner && (gid == a.GID || c.Cred.InGroup(gid))) {
			return abi.EPERM
		}
		s.Valid, s.GID = s.Valid|SetGID, gid
	}
	if !a.IsDir() && a.Mode&abi.S_IFMT != abi.S_IFLNK {
		if m := c.withoutSuid(a.Mode, a.GID); m != a.Mode {
			if !c.owns(&a) {
				return abi.EPERM
			}
			s.Valid, s.Mode = s.Valid|SetMode, m&0o7777
		}
	}
	return c.setAttr(l, s)
}

// withoutSuid is what chown leaves of the mode: set-group-ID stays where the group may not execute and the caller may keep it.
func (c *Caller) withoutSuid(mode, gid uint32) uint32 {
	m := mode &^ abi.S_ISUID
	if m&abi.S_ISGID != 0 && (m&abi.S_IXGRP != 0 || !c.Cred.InGroup(gid) && !c.Cred.Has(abi.CAP_FSETID)) {
		m &^= abi.S_ISGID
	}
	return m
}

// ChownAt is fchownat(2), and with AT_SYMLINK_NOFOLLOW lchown(2).
func (c *Caller) ChownAt(at Location, path string, uid, gid, flags uint32) abi.Errno {
	if flags&^(abi.AT_SYMLINK_NOFOLLOW|abi.AT_EMPTY_PATH) != 0 {
		return abi.EINVAL
	}
	l, e := c.Walk(at, path, atHow(flags))
	if e != 0 {
		return e
	}
	return c.Chown(l, uid, gid)
}

// KillSuid is file_remove_privs: what a write by c leaves of mode. File systems call it before they change a file's contents.
func (c *Caller) KillSuid(mode uint32) uint32 {
	if c == nil || mode&(abi.S_ISUID|abi.S_ISGID) == 0 || mode&abi.S_IFMT != abi.S_IFREG || c.Cred == nil || c.Cred.Has(abi.CAP_FSETID) {
		return mode
	}
	m := mode &^ abi.S_ISUID
	if m&(abi.S_ISGID|abi.S_IXGRP) == abi.S_ISGID|abi.S_IXGRP {
		m &^= abi.S_ISGID
	}
	return m
}

// Utimens is utimensat(2) once the file is found. times are atime and mtime, or nil for now: EINVAL (a bad fraction), EROFS, EPERM,
// EACCES (now, of another's file that c cannot write).
func (c *Caller) Utimens(l Location, times *[2]abi.Timespec) abi.Errno {
	s := &SetAttr{Valid: SetAtimeNow | SetMtimeNow}
	explicit := false
	if times != nil {
		for _, t := range times {
			if t.Nsec != abi.UTIME_NOW && t.Nsec != abi.UTIME_OMIT && uint64(t.Nsec) >= abi.NsPerSec {
				return abi.EINVAL
			}
		}
		s.Valid = 0
		switch times[0].Nsec {
		case abi.UTIME_NOW:
			s.Valid |= SetAtimeNow
		case abi.UTIME_OMIT:
		default:
			s.Valid, s.Atime = s.Valid|SetAtime, times[0].Ns()
		}
		switch times[1].Nsec {
		case abi.UTIME_NOW:
			s.Valid |= SetMtimeNow
		case abi.UTIME_OMIT:
		default:
			s.Valid, s.Mtime = s.Valid|SetMtime, times[1].Ns()
		}
		if s.Valid == 0 {
			return 0
		}
		explicit = s.Valid != SetAtimeNow|SetMtimeNow // one of both counts as explicit, too
	}
	if e := l.Mount.beginWrite(); e != 0 {
		return e
	}
	defer l.Mount.endWrite()
	a, e := c.attrOf(l)
	if e != 0 {
		return e
	}
	if explicit {
		if a.Flags&(abi.STATX_ATTR_IMMUTABLE|abi.STATX_ATTR_APPEND) != 0 || !c.owns(&a) {
			return abi.EPERM
		}
	} else {
		if a.Flags&abi.STATX_ATTR_IMMUTABLE != 0 {
			return abi.EPERM
		}
		if !c.owns(&a) {
			if e := c.permit(l.Dentry.super, l.Node(), &a, MayWrite); e != 0 {
				return e
			}
		}
	}
	return c.setAttr(l, s)
}

// UtimensAt is utimensat(2) with a path. EINVAL (flags).
func (c *Caller) UtimensAt(at Location, path string, times *[2]abi.Timespec, flags uint32) abi.Errno {
	if times != nil && times[0].Nsec == abi.UTIME_OMIT && times[1].Nsec == abi.UTIME_OMIT {
		return 0 // before anything is looked at, as in Linux
	}
	if times != nil {
		for _, t := range times {
			if t.Nsec != abi.UTIME_NOW && t.Nsec != abi.UTIME_OMIT && uint64(t.Nsec) >= abi.NsPerSec {
				return abi.EINVAL
			}
		}
	}
	if flags&^(abi.AT_SYMLINK_NOFOLLOW|abi.AT_EMPTY_PATH) != 0 {
		return abi.EINVAL
	}
	l, e := c.Walk(at, path, atHow(flags))
	if e != 0 {
		return e
	}
	return c.Utimens(l, times)
}

// TruncateAt is truncate(2): EINVAL (size, no regular file), EISDIR, EROFS, EACCES, EPERM, ETXTBSY, EFBIG.
func (c *Caller) TruncateAt(path string, size int64) abi.Errno {
	if size < 0 {
		return abi.EINVAL
	}
	l, e := c.Walk(Location{}, path, Follow)
	if e != 0 {
		return e
	}
	a, e := c.attrOf(l)
	if e != 0 {
		return e
	}
	switch a.Mode & abi.S_IFMT {
	case abi.S_IFDIR:
		return abi.EISDIR
	case abi.S_IFREG:
	default:
		return abi.EINVAL
	}
	if e := l.Mount.beginWrite(); e != 0 {
		return e
	}
	defer l.Mount.endWrite()
	n := l.Node()
	if e := c.permit(l.Dentry.super, n, &a, MayWrite); e != 0 {
		return e
	}
	if a.Flags&abi.STATX_ATTR_APPEND != 0 {
		return abi.EPERM
	}
	if e := n.VFS().BeginWrite(); e != 0 {
		return e
	}
	defer n.VFS().EndWrite()
	return c.truncateNode(l, n, nil, size)
}

// Truncate is ftruncate(2): EINVAL (size, not open for writing, no regular file), EPERM, EFBIG.
func (o *Open) Truncate(c *Caller, size int64) abi.Errno {
	if size < 0 {
		return abi.EINVAL
	}
	if o.path {
		return abi.EBADF
	}
	n := o.Loc.Node()
	a, e := n.Attr(c)
	if e != 0 {
		return e
	}
	if a.Mode&abi.S_IFMT != abi.S_IFREG || !o.write {
		return abi.EINVAL
	}
	if a.Flags&abi.STATX_ATTR_APPEND != 0 {
		return abi.EPERM
	}
	return c.truncateNode(o.Loc, n, o.File, size)
}

// truncateNode is do_truncate: it takes set-user-ID bits away, too.
func (c *Caller) truncateNode(l Location, n Node, f File, size int64) abi.Errno {
	a, e := n.Attr(c)
	if e != 0 {
		return e
	}
	if size > a.Size {
		if lim := c.limit(abi.RLIMIT_FSIZE); lim != abi.RLIM_INFINITY && uint64(size) > lim {
			c.raise(abi.SIGXFSZ)
			return abi.EFBIG
		}
	}
	if t, ok := f.(Truncater); ok {
		e = t.Truncate(c, size)
		if e == 0 {
			notifyAt(l.Dentry, abi.IN_MODIFY)
		}
		return e
	}
	s := &SetAttr{Valid: SetSize, Size: size}
	if f != nil {
		s.Valid |= SetMtimeNow // even if the size stays
	}
	if m := c.KillSuid(a.Mode); m != a.Mode {
		s.Valid, s.Mode = s.Valid|SetMode, m&0o7777
	}
	return c.setAttr(l, s)
}

// Access is faccessat2(2): mode is F_OK or R_OK, W_OK, X_OK, flags AT_EACCESS, AT_SYMLINK_NOFOLLOW and AT_EMPTY_PATH. Real
// numbers count, not the effective ones, without AT_EACCESS.
func (c *Caller) Access(at Location, path string, mode, flags uint32) abi.Errno {
	if mode&^7 != 0 || flags&^(abi.AT_EACCESS|abi.AT_SYMLINK_NOFOLLOW|abi.AT_EMPTY_PATH) != 0 {
		return abi.EINVAL
	}
	if flags&abi.AT_EACCESS == 0 {
		c = c.real()
	}
	l, e := c.Walk(at, path, atHow(flags&^abi.AT_EACCESS))
	if e != 0 {
		return e
	}
	a, e := c.attrOf(l)
	if e != 0 {
		return e
	}
	if mode&MayExec != 0 && a.Mode&abi.S_IFMT == abi.S_IFREG && l.Mount.Noexec() {
		return abi.EACCES
	}
	if e := c.permit(l.Dentry.super, l.Node(), &a, mode); e != 0 || mode&MayWrite == 0 {
		return e
	}
	switch a.Mode & abi.S_IFMT {
	case abi.S_IFCHR, abi.S_IFBLK, abi.S_IFIFO, abi.S_IFSOCK:
		return 0
	}
	if l.Mount.ReadOnly() {
		return abi.EROFS
	}
	return 0
}

// Chdir is chdir(2), and with a directory as at and an empty path fchdir(2): ENOTDIR, EACCES.
func (c *Caller) Chdir(at Location, path string) abi.Errno {
	how := Follow | NeedDir
	if path == "" && at != (Location{}) {
		how |= Empty
	}
	l, e := c.Walk(at, path, how)
	if e != 0 {
		return e
	}
	if e := c.Permit(l, MayExec); e != 0 {
		return e
	}
	if !c.Dirs.SetCwd(l) {
		return abi.ENOENT
	}
	return 0
}

// Chroot is chroot(2): ENOTDIR, EACCES, EPERM.
func (c *Caller) Chroot(path string) abi.Errno {
	l, e := c.Walk(Location{}, path, Follow|NeedDir)
	if e != 0 {
		return e
	}
	if e := c.Permit(l, MayExec); e != 0 {
		return e
	}
	if !c.Cred.Has(abi.CAP_SYS_CHROOT) {
		return abi.EPERM
	}
	if !c.Dirs.SetRoot(l) {
		return abi.ENOENT
	}
	return 0
}

// OpenExec finds and opens a program for execve(2): EACCES (no regular file, not executable, a noexec mount), ELOOP, ETXTBSY. The
// node denies writing until AllowExec is called with the result.
func (c *Caller) OpenExec(at Location, path string, flags uint32) (*Open, abi.Errno) {
	l, e := c.Walk(at, path, atHow(flags))
	if e != 0 {
		return nil, e
	}
	a, e := c.attrOf(l)
	if e != 0 {
		return nil, e
	}
	switch a.Mode & abi.S_IFMT {
	case abi.S_IFLNK:
		return nil, abi.ELOOP
	case abi.S_IFREG:
	default:
		return nil, abi.EACCES
	}
	if l.Mount.Noexec() {
		return nil, abi.EACCES
	}
	n := l.Node()
	if e := c.permit(l.Dentry.super, n, &a, MayExec); e != 0 {
		return nil, e
	}
	if !l.Ref() {
		return nil, abi.ENOENT
	}
	o, e := c.openNode(l, n, &a, abi.O_RDONLY)
	if e != 0 {
		l.Unref()
		return nil, e
	}
	if e := n.VFS().DenyWrite(); e != 0 {
		o.Unref()
		return nil, e
	}
	o.Notify(abi.IN_OPEN)
	return o, 0
}

// AllowExec ends OpenExec's denial of writing; the reference is the caller's to drop.
func (o *Open) AllowExec() { o.Loc.Node().VFS().AllowWrite() }
