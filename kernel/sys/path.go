package sys

import (
	"strings"

	"goum/arch/abi"
	"goum/kernel/fd"
	"goum/kernel/fs/vfs"
	"goum/kernel/task"
)

// pathCalls open files and move the caller about.
var pathCalls = Calls{
	abi.SYS_OPEN:       Def3("open", sysOpen),
	abi.SYS_OPENAT:     Def4("openat", sysOpenat),
	abi.SYS_OPENAT2:    Def4("openat2", sysOpenat2),
	abi.SYS_CREAT:      Def2("creat", sysCreat),
	abi.SYS_GETCWD:     Def2("getcwd", sysGetcwd),
	abi.SYS_CHDIR:      Def1("chdir", sysChdir),
	abi.SYS_FCHDIR:     Def1("fchdir", sysFchdir),
	abi.SYS_CHROOT:     Def1("chroot", sysChroot),
	abi.SYS_UMASK:      Def1("umask", sysUmask),
	abi.SYS_RENAME:     Def2("rename", sysRename),
	abi.SYS_RENAMEAT:   Def4("renameat", sysRenameat),
	abi.SYS_RENAMEAT2:  Def5("renameat2", sysRenameat2),
	abi.SYS_MKDIR:      Def2("mkdir", sysMkdir),
	abi.SYS_MKDIRAT:    Def3("mkdirat", sysMkdirat),
	abi.SYS_RMDIR:      Def1("rmdir", sysRmdir),
	abi.SYS_LINK:       Def2("link", sysLink),
	abi.SYS_LINKAT:     Def5("linkat", sysLinkat),
	abi.SYS_UNLINK:     Def1("unlink", sysUnlink),
	abi.SYS_UNLINKAT:   Def3("unlinkat", sysUnlinkat),
	abi.SYS_SYMLINK:    Def2("symlink", sysSymlink),
	abi.SYS_SYMLINKAT:  Def3("symlinkat", sysSymlinkat),
	abi.SYS_READLINK:   Def3("readlink", sysReadlink),
	abi.SYS_READLINKAT: Def4("readlinkat", sysReadlinkat),
	abi.SYS_MKNOD:      Def3("mknod", sysMknod),
	abi.SYS_MKNODAT:    Def4("mknodat", sysMknodat),
	abi.SYS_GETDENTS:   Def3("getdents", sysGetdents),
	abi.SYS_GETDENTS64: Def3("getdents64", sysGetdents64),
}

// place is where a path starts: the directory of a descriptor, held as long as the call needs it.
type place struct {
	at   vfs.Location
	held *vfs.Open
}

func (p *place) done() {
	if p.held != nil {
		p.held.Unref()
	}
}

// placeOf finds where path starts: EBADF. An absolute path does not look at dir, nor does AT_FDCWD.
func placeOf(t *task.Task, dir DirFD, path string) (place, abi.Errno) {
	if dir == abi.AT_FDCWD || path != "" && path[0] == '/' {
		return place{}, 0
	}
	o, e := getRaw(t, FD(dir))
	if e != 0 {
		return place{}, e
	}
	return place{o.Loc, o}, 0
}

// getPath reads a path and finds where it starts: EFAULT, ENAMETOOLONG, ENOENT (empty, unless emptyOK), EBADF.
func getPath(t *task.Task, dir DirFD, path Path, emptyOK bool) (string, place, abi.Errno) {
	s, e := path.Get(t)
	if e != 0 {
		return "", place{}, e
	}
	if s == "" && !emptyOK {
		return "", place{}, abi.ENOENT
	}
	p, e := placeOf(t, dir, s)
	return s, p, e
}

// reserve takes n descriptors: EMFILE.
func reserve(t *task.Task, n int, cloexec bool) (*fd.Reservation, abi.Errno) {
	fds := t.FDs()
	fds.SetLimits(t.Limits())
	return fds.Reserve(n, cloexec)
}

func open(t *task.Task, dir DirFD, path Path, o vfs.Opening) (uint64, abi.Errno) {
	if e := o.Check(); e != 0 {
		return 0, e
	}
	s, e := path.Get(t)
	if e != 0 {
		return 0, e
	}
	fds, e := reserve(t, 1, o.Flags&abi.O_CLOEXEC != 0)
	if e != 0 {
		return 0, e
	}
	defer fds.Release()
	p, e := placeOf(t, dir, s)
	if e != 0 {
		if s == "" {
			e = abi.ENOENT
		}
		return 0, e
	}
	defer p.done()
	f, e := t.Caller().OpenAt(p.at, s, o)
	if e != 0 {
		return 0, e
	}
	n := fds.Numbers()[0]
	fds.Install(f)
	return uint64(n), 0
}

// sysOpen opens a file, and makes it with O_CREAT: open(2).
func sysOpen(t *task.Task, path Path, flags OpenFlags, mode Mode) (uint64, abi.Errno) {
	return open(t, abi.AT_FDCWD, path, vfs.Opening{Flags: uint32(flags), Mode: uint32(mode)})
}

func sysOpenat(t *task.Task, dir DirFD, path Path, flags OpenFlags, mode Mode) (uint64, abi.Errno) {
	return open(t, dir, path, vfs.Opening{Flags: uint32(flags), Mode: uint32(mode)})
}

func sysCreat(t *task.Task, path Path, mode Mode) (uint64, abi.Errno) {
	return open(t, abi.AT_FDCWD, path, vfs.Opening{Flags: abi.O_CREAT | abi.O_WRONLY | abi.O_TRUNC, Mode: uint32(mode)})
}

// sysOpenat2 is openat2(2): EINVAL (size, or bits it does not know), E2BIG, EFAULT, and what open says.
func sysOpenat2(t *task.Task, dir DirFD, path Path, how In[abi.OpenHow], size Size) (uint64, abi.Errno) {
	var h abi.OpenHow
	b := abi.Bytes(&h)
	if size < Size(len(b)) {
		return 0, abi.EINVAL
	}
	if size > pageMask+1 {
		return 0, abi.E2BIG
	}
	if e := copyStruct(t, uint64(how), uint64(size), b); e != 0 {
		return 0, e
	}
	if h.Flags>>32 != 0 || h.Mode>>32 != 0 {
		return 0, abi.EINVAL
	}
	return open(t, dir, path, vfs.Opening{Flags: uint32(h.Flags), Mode: uint32(h.Mode), Resolve: h.Resolve, Strict: true})
}

// sysGetcwd tells the working directory, and answers how long it is with its NUL: getcwd(2). ERANGE, EFAULT, ENOENT.
func sysGetcwd(t *task.Task, buf OutBuf, size Size) (uint64, abi.Errno) {
	s, e := t.Caller().Getcwd()
	if e != 0 {
		return 0, e
	}
	n := len(s) + 1
	switch {
	case n > abi.PATH_MAX:
		return 0, abi.ENAMETOOLONG
	case Size(n) > size:
		return 0, abi.ERANGE
	}
	return uint64(n), copyOut(t, uint64(buf), append([]byte(s), 0))
}

func sysChdir(t *task.Task, path Path) (uint64, abi.Errno) {
	s, _, e := getPath(t, abi.AT_FDCWD, path, false)
	if e != 0 {
		return 0, e
	}
	return 0, t.Caller().Chdir(vfs.Location{}, s)
}

func sysFchdir(t *task.Task, fd FD) (uint64, abi.Errno) {
	o, e := getRaw(t, fd)
	if e != 0 {
		return 0, e
	}
	defer o.Unref()
	return 0, t.Caller().Chdir(o.Loc, "")
}

func sysChroot(t *task.Task, path Path) (uint64, abi.Errno) {
	s, _, e := getPath(t, abi.AT_FDCWD, path, false)
	if e != 0 {
		return 0, e
	}
	return 0, t.Caller().Chroot(s)
}

func sysUmask(t *task.Task, mask Mode) (uint64, abi.Errno) {
	return uint64(t.Dirs().SetUmask(uint32(mask))), 0
}

// pathOrLater reads the second path of rename and link. Linux looks at what is wrong with it only when it has found the first:
// first does that, and its errno wins.
func pathOrLater(t *task.Task, dir DirFD, path Path, first func() abi.Errno) (string, place, abi.Errno) {
	s, p, e := getPath(t, dir, path, false)
	if e != 0 {
		if f := first(); f != 0 {
			e = f
		}
	}
	return s, p, e
}

// parent is the directory part of a path, as a path.
func parent(path string) string {
	path = strings.TrimRight(path, "/")
	if i := strings.LastIndexByte(path, '/'); i >= 0 {
		return path[:i+1]
	}
	return "."
}

func sysRename(t *task.Task, from, to Path) (uint64, abi.Errno) {
	return sysRenameat2(t, abi.AT_FDCWD, from, abi.AT_FDCWD, to, 0)
}

func sysRenameat(t *task.Task, oldDir DirFD, from Path, newDir DirFD, to Path) (uint64, abi.Errno) {
	return sysRenameat2(t, oldDir, from, newDir, to, 0)
}

// sysRenameat2 moves a name: renameat2(2).
func sysRenameat2(t *task.Task, oldDir DirFD, from Path, newDir DirFD, to Path, flags Hex) (uint64, abi.Errno) {
	f := uint32(flags)
	if f&^(abi.RENAME_NOREPLACE|abi.RENAME_EXCHANGE|abi.RENAME_WHITEOUT) != 0 ||
		f&abi.RENAME_EXCHANGE != 0 && f&(abi.RENAME_NOREPLACE|abi.RENAME_WHITEOUT) != 0 {
		return 0, abi.EINVAL
	}
	o, op, e := getPath(t, oldDir, from, false)
	if e != 0 {
		return 0, e
	}
	defer op.done()
	n, np, e := pathOrLater(t, newDir, to, func() abi.Errno {
		_, e := t.Caller().Walk(op.at, parent(o), vfs.Follow|vfs.NeedDir)
		return e
	})
	if e != 0 {
		return 0, e
	}
	defer np.done()
	return 0, t.Caller().Rename(op.at, o, np.at, n, f)
}

func sysLink(t *task.Task, from, to Path) (uint64, abi.Errno) {
	return sysLinkat(t, abi.AT_FDCWD, from, abi.AT_FDCWD, to, 0)
}

// sysLinkat gives a file one more name: linkat(2).
func sysLinkat(t *task.Task, oldDir DirFD, from Path, newDir DirFD, to Path, flags AtFlags) (uint64, abi.Errno) {
	if flags&^(abi.AT_SYMLINK_FOLLOW|abi.AT_EMPTY_PATH) != 0 {
		return 0, abi.EINVAL
	}
	o, op, e := getPath(t, oldDir, from, flags&abi.AT_EMPTY_PATH != 0)
	if e != 0 {
		return 0, e
	}
	defer op.done()
	n, np, e := pathOrLater(t, newDir, to, func() abi.Errno {
		var how vfs.How
		if flags&abi.AT_SYMLINK_FOLLOW != 0 {
			how = vfs.Follow
		}
		_, e := t.Caller().Walk(op.at, o, how|vfs.Empty)
		return e
	})
	if e != 0 {
		return 0, e
	}
	defer np.done()
	return 0, t.Caller().Link(op.at, o, np.at, n, uint32(flags))
}

func sysMkdir(t *task.Task, path Path, mode Mode) (uint64, abi.Errno) {
	return sysMkdirat(t, abi.AT_FDCWD, path, mode)
}

func sysMkdirat(t *task.Task, dir DirFD, path Path, mode Mode) (uint64, abi.Errno) {
	s, p, e := getPath(t, dir, path, false)
	if e != 0 {
		return 0, e
	}
	defer p.done()
	return 0, t.Caller().Mkdir(p.at, s, uint32(mode))
}

func sysRmdir(t *task.Task, path Path) (uint64, abi.Errno) {
	return sysUnlinkat(t, abi.AT_FDCWD, path, abi.AT_REMOVEDIR)
}

func sysUnlink(t *task.Task, path Path) (uint64, abi.Errno) {
	return sysUnlinkat(t, abi.AT_FDCWD, path, 0)
}

// sysUnlinkat takes a name away: unlinkat(2).
func sysUnlinkat(t *task.Task, dir DirFD, path Path, flags AtFlags) (uint64, abi.Errno) {
	if flags&^abi.AT_REMOVEDIR != 0 {
		return 0, abi.EINVAL
	}
	s, p, e := getPath(t, dir, path, false)
	if e != 0 {
		return 0, e
	}
	defer p.done()
	if flags != 0 {
		return 0, t.Caller().Rmdir(p.at, s)
	}
	return 0, t.Caller().Unlink(p.at, s)
}

func sysSymlink(t *task.Task, target, path Path) (uint64, abi.Errno) {
	return sysSymlinkat(t, target, abi.AT_FDCWD, path)
}

// sysSymlinkat makes a symbolic link: symlinkat(2).
func sysSymlinkat(t *task.Task, target Path, dir DirFD, path Path) (uint64, abi.Errno) {
	to, e := target.Get(t)
	if e != 0 {
		return 0, e
	}
	if to == "" {
		return 0, abi.ENOENT
	}
	s, p, e := getPath(t, dir, path, false)
	if e != 0 {
		return 0, e
	}
	defer p.done()
	return 0, t.Caller().Symlink(to, p.at, s)
}

func sysReadlink(t *task.Task, path Path, buf OutBuf, size Int) (uint64, abi.Errno) {
	return sysReadlinkat(t, abi.AT_FDCWD, path, buf, size)
}

// sysReadlinkat tells where a symbolic link leads, cut to size and without a NUL: readlinkat(2). An empty path means the
// descriptor itself.
func sysReadlinkat(t *task.Task, dir DirFD, path Path, buf OutBuf, size Int) (uint64, abi.Errno) {
	if size <= 0 {
		return 0, abi.EINVAL
	}
	s, p, e := getPath(t, dir, path, true)
	if e != 0 {
		return 0, e
	}
	defer p.done()
	to, e := t.Caller().Readlink(p.at, s)
	if e != 0 {
		return 0, e
	}
	b := []byte(to[:min(len(to), int(size))])
	return uint64(len(b)), copyOut(t, uint64(buf), b)
}

func sysMknod(t *task.Task, path Path, mode Mode, dev Hex) (uint64, abi.Errno) {
	return sysMknodat(t, abi.AT_FDCWD, path, mode, dev)
}

// sysMknodat makes a file, fifo, socket or device: mknodat(2). The number is an unsigned int: 12 bits of major, 20 of minor.
func sysMknodat(t *task.Task, dir DirFD, path Path, mode Mode, dev Hex) (uint64, abi.Errno) {
	switch mode & abi.S_IFMT {
	case 0, abi.S_IFREG, abi.S_IFCHR, abi.S_IFBLK, abi.S_IFIFO, abi.S_IFSOCK:
	case abi.S_IFDIR:
		return 0, abi.EPERM
	default:
		return 0, abi.EINVAL
	}
	s, p, e := getPath(t, dir, path, false)
	if e != 0 {
		return 0, e
	}
	defer p.done()
	return 0, t.Caller().Mknod(p.at, s, uint32(mode)&0xffff, uint64(uint32(dev)))
}

// maxDents bounds the buffer of one getdents, whatever the caller offers: it is ours before it is copied.
const maxDents = 64 << 10

// dents is getdents(2) and getdents64(2): EBADF, ENOTDIR, ENOENT, EINVAL (not even one entry fits), EFAULT.
func dents(t *task.Task, fd FD, buf OutBuf, size Uint, length func(int) int, put func(b []byte, ino uint64, next int64, typ uint8, name string) []byte) (uint64, abi.Errno) {
	o, e := get(t, fd)
	if e != 0 {
		return 0, e
	}
	defer o.Unref()
	if _, ok := o.File.(vfs.DirReader); !ok {
		return 0, abi.ENOTDIR
	}
	start := o.Pos()
	room := int(min(size, maxDents))
	b := make([]byte, 0, min(room, 4096))
	short := false
	e = o.ReadDir(t.Caller(), func(d vfs.DirEntry) bool {
		if len(b)+length(len(d.Name)) > room {
			short = true
			return false
		}
		b = put(b, d.Ino, d.Next, d.Type, d.Name)
		return true
	})
	if e == 0 && len(b) == 0 && short {
		e = abi.EINVAL
	}
	if e != 0 && len(b) == 0 {
		return 0, e
	}
	if e := copyOut(t, uint64(buf), b); e != 0 {
		o.SetPos(start)
		return 0, e
	}
	return uint64(len(b)), 0
}

func sysGetdents(t *task.Task, fd FD, buf OutBuf, size Uint) (uint64, abi.Errno) {
	return dents(t, fd, buf, size, abi.DirentLen, abi.AppendDirent)
}

func sysGetdents64(t *task.Task, fd FD, buf OutBuf, size Uint) (uint64, abi.Errno) {
	return dents(t, fd, buf, size, abi.Dirent64Len, abi.AppendDirent64)
}
