package vfs

import (
	"goum/arch/abi"
)

// Opening is how open(2) opens: flags as given, mode for what is made, resolve bits of openat2(2).
type Opening struct {
	Flags   uint32
	Mode    uint32
	Resolve uint64
	Strict  bool // openat2: what open(2) ignores is EINVAL
}

const (
	validOpen = abi.O_ACCMODE | abi.O_CREAT | abi.O_EXCL | abi.O_NOCTTY | abi.O_TRUNC | abi.O_APPEND | abi.O_NONBLOCK | abi.O_SYNC |
		abi.O_DSYNC | abi.O_ASYNC | abi.O_DIRECT | largefile | abi.O_DIRECTORY | abi.O_NOFOLLOW | abi.O_NOATIME | abi.O_CLOEXEC |
		abi.O_PATH | abi.O_TMPFILE_BIT
	pathFlags    = abi.O_DIRECTORY | abi.O_NOFOLLOW | abi.O_PATH | abi.O_CLOEXEC
	validResolve = abi.RESOLVE_NO_XDEV | abi.RESOLVE_NO_MAGICLINKS | abi.RESOLVE_NO_SYMLINKS | abi.RESOLVE_BENEATH | abi.RESOLVE_IN_ROOT |
		abi.RESOLVE_CACHED
)

// Check normalises o as Linux's build_open_flags does: EINVAL, EAGAIN (RESOLVE_CACHED with what must change something). OpenAt
// calls it; openat2's EINVAL for bits beyond 32 is the decoder's.
func (o *Opening) Check() abi.Errno {
	if !o.Strict {
		o.Flags &= validOpen
		if o.Flags&abi.O_PATH != 0 {
			o.Flags &= pathFlags
		}
		if o.Flags&(abi.O_CREAT|abi.O_TMPFILE_BIT) == 0 {
			o.Mode = 0
		}
		o.Mode &= 0o7777
	}
	f := o.Flags
	if f&^validOpen != 0 || o.Resolve&^validResolve != 0 {
		return abi.EINVAL
	}
	if o.Resolve&abi.RESOLVE_BENEATH != 0 && o.Resolve&abi.RESOLVE_IN_ROOT != 0 {
		return abi.EINVAL
	}
	if f&(abi.O_CREAT|abi.O_TMPFILE_BIT) != 0 {
		if o.Mode&^0o7777 != 0 {
			return abi.EINVAL
		}
	} else if o.Mode != 0 {
		return abi.EINVAL
	}
	if f&(abi.O_DIRECTORY|abi.O_CREAT) == abi.O_DIRECTORY|abi.O_CREAT {
		return abi.EINVAL
	}
	if f&abi.O_TMPFILE_BIT != 0 {
		if f&abi.O_TMPFILE != abi.O_TMPFILE {
			return abi.EINVAL
		}
		if acc := f & abi.O_ACCMODE; acc == abi.O_RDONLY {
			return abi.EINVAL
		}
	}
	if f&abi.O_PATH != 0 && f&^pathFlags != 0 {
		return abi.EINVAL
	}
	if f&abi.O_SYNC == abi.O_SYNC&^abi.O_DSYNC {
		o.Flags |= abi.O_DSYNC
	}
	if o.Resolve&abi.RESOLVE_CACHED != 0 && f&(abi.O_TRUNC|abi.O_CREAT|abi.O_TMPFILE_BIT) != 0 {
		return abi.EAGAIN
	}
	return 0
}

// access is what the flags ask of permission: ACC_MODE.
func (o *Opening) access() uint32 {
	var m uint32
	if o.Flags&abi.O_PATH != 0 {
		return 0
	}
	switch o.Flags & abi.O_ACCMODE {
	case abi.O_RDONLY:
		m = MayRead
	case abi.O_WRONLY:
		m = MayWrite
	default:
		m = MayRead | MayWrite
	}
	if o.Flags&abi.O_TRUNC != 0 {
		m |= MayWrite
	}
	return m
}

// Open is OpenAt from the working directory, in the plain way: for the kernel's own needs and tests.
func (c *Caller) Open(path string, flags, mode uint32) (*Open, abi.Errno) {
	return c.OpenAt(Location{}, path, Opening{Flags: flags, Mode: mode})
}

// OpenAt is openat(2) and openat2(2): path from at (zero: the working directory). The order of errors is that of Linux 6.18's
// path_openat and do_open.
func (c *Caller) OpenAt(at Location, path string, o Opening) (*Open, abi.Errno) {
	if e := o.Check(); e != 0 {
		return nil, e
	}
	for range 100 {
		f, e := c.openOnce(at, path, o)
		if e != abi.ESTALE {
			return f, e
		}
	}
	return nil, abi.ESTALE
}

func (c *Caller) openOnce(at Location, path string, o Opening) (*Open, abi.Errno) {
	how := Resolve(o.Resolve)
	if o.Flags&abi.O_DIRECTORY != 0 {
		how |= NeedDir
	}
	if o.Flags&abi.O_NOFOLLOW == 0 && o.Flags&(abi.O_CREAT|abi.O_EXCL) != abi.O_CREAT|abi.O_EXCL {
		how |= Follow
	}
	if o.Flags&abi.O_TMPFILE_BIT != 0 {
		return c.openTmp(at, path, o, how|NeedDir)
	}
	if o.Flags&abi.O_CREAT != 0 {
		return c.openCreate(at, path, o, how)
	}
	l, e := c.Walk(at, path, how)
	if e != 0 {
		return nil, e
	}
	return c.openAt(l, o, false)
}

// openCreate walks to the parent of the last component, and on along links there, and makes what is missing.
func (c *Caller) openCreate(at Location, path string, o Opening, how How) (*Open, abi.Errno) {
	w := walker{c: c, how: how | toParent}
	e := w.run(at, path)
	for e == 0 {
		switch {
		case w.last.kind != lastNorm:
			// "..", "." or "/": there is nothing to make.
			l := w.cur
			if w.last.kind == lastDotDot {
				if e := w.up(); e != 0 {
					return nil, e
				}
				l = w.cur
			}
			if o.Flags&abi.O_EXCL != 0 {
				return nil, abi.EEXIST
			}
			if isDir(l.Node()) {
				return nil, abi.EISDIR
			}
			return c.openAt(l, o, false)
		case w.last.slashes:
			return nil, abi.EISDIR
		}
		l, made, e := w.openLast(o)
		if e != 0 {
			return nil, e
		}
		if made {
			f, e := c.openAt(l, o, true)
			l.Unref() // openLast kept it for us
			return f, e
		}
		link, islink := w.asLink(l)
		if !islink || how&Follow == 0 {
			if o.Flags&abi.O_EXCL != 0 {
				return nil, abi.EEXIST
			}
			if how&noXdev != 0 && l.Mount != w.cur.Mount {
				return nil, abi.EXDEV
			}
			return c.openAt(l, o, false)
		}
		if e := c.mayFollow(w.cur, l); e != 0 {
			return nil, e
		}
		target, jumped, e := w.follow(l, link)
		if e != 0 {
			return nil, e
		}
		if jumped {
			return c.openAt(w.cur, o, false)
		}
		if len(target) > 0 && target[0] == '/' {
			if how&beneath != 0 {
				return nil, abi.EXDEV
			}
			if e := w.jumpRoot(); e != 0 {
				return nil, e
			}
		}
		if e := w.walk(target); e != 0 {
			return nil, e
		}
	}
	return nil, e
}

// openLast looks the last component up and makes a regular file where there is nothing. What was made is counted once.
func (w *walker) openLast(o Opening) (l Location, made bool, e abi.Errno) {
	c, d := w.c, w.cur.Dentry
	dir, ok := d.node.(Dir)
	if !ok {
		return l, false, abi.ENOTDIR
	}
	a, e := d.node.Attr(c)
	if e != 0 {
		return l, false, e
	}
	if e := c.permit(d.super, d.node, &a, MayExec); e != 0 {
		return l, false, e
	}
	wr := w.cur.Mount.beginWrite() // told only if something is to be made
	if wr == 0 {
		defer w.cur.Mount.endWrite()
	}
	g := &d.node.VFS().gate
	g.Lock(c.Thread)
	f, e := c.lookupLocked(dir, d, w.last.name)
	if e != 0 || f.node != nil {
		g.Unlock()
		return Location{w.cur.Mount, f}.downIf(e), false, e
	}
	defer g.Unlock()
	if wr != 0 {
		return l, false, wr
	}
	if d.node.VFS().Dead() {
		return l, false, abi.ENOENT
	}
	m, ok := d.node.(Maker)
	if !ok {
		return l, false, abi.EACCES
	}
	if e := c.permit(d.super, d.node, &a, MayWrite|MayExec); e != 0 {
		return l, false, e
	}
	n, e := m.Make(c, w.last.name, c.making(&a, abi.S_IFREG|o.Mode&^c.Umask()))
	if e != 0 {
		return l, false, e
	}
	l = Location{w.cur.Mount, d.add(w.last.name, n)}
	l.Ref()
	notifyDir(d, abi.IN_CREATE, w.last.name, 0, n)
	return l, true, 0
}

func (l Location) downIf(e abi.Errno) Location {
	if e != 0 {
		return Location{}
	}
	return l.down()
}

// making is who owns what is made in a directory with attributes dir, and its final mode: inode_init_owner. mode is cut by the umask
// already.
func (c *Caller) making(dir *Attr, mode uint32) Making {
	m := Making{Mode: mode, UID: c.Cred.FSUID, GID: c.Cred.FSGID}
	if dir.Mode&abi.S_ISGID != 0 {
		m.GID = dir.GID
		if mode&abi.S_IFMT == abi.S_IFDIR {
			m.Mode |= abi.S_ISGID
		} else if mode&(abi.S_ISGID|abi.S_IXGRP) == abi.S_ISGID|abi.S_IXGRP && !c.Cred.InGroup(dir.GID) && !c.Cred.Has(abi.CAP_FSETID) {
			m.Mode &^= abi.S_ISGID
		}
	}
	return m
}

// openTmp is O_TMPFILE.
func (c *Caller) openTmp(at Location, path string, o Opening, how How) (*Open, abi.Errno) {
	l, e := c.Walk(at, path, how)
	if e != 0 {
		return nil, e
	}
	if e := l.Mount.beginWrite(); e != 0 {
		return nil, e
	}
	defer l.Mount.endWrite()
	a, e := c.attrOf(l)
	if e != 0 {
		return nil, e
	}
	if e := c.permit(l.Dentry.super, l.Node(), &a, MayWrite|MayExec); e != 0 {
		return nil, e
	}
	m, ok := l.Node().(TmpMaker)
	if !ok {
		return nil, abi.EOPNOTSUPP
	}
	mk := c.making(&a, abi.S_IFREG|o.Mode&^c.Umask())
	mk.NoLink = o.Flags&abi.O_EXCL != 0
	n, e := m.MakeTmp(c, mk)
	if e != 0 {
		return nil, e
	}
	// Its name is what Linux gives it: below the directory, and never there.
	d := &Dentry{super: l.Dentry.super, node: n, parent: l.Dentry, name: "#" + utoa(n, c)}
	n.VFS().uses.Add(1)
	t := Location{l.Mount, d}
	t.Ref()
	defer t.Unref()
	return c.openAt(t, o, true)
}

func utoa(n Node, c *Caller) string {
	a, _ := n.Attr(c)
	v, b, i := a.Ino, [20]byte{}, 20
	for {
		i--
		b[i] = byte('0' + v%10)
		if v /= 10; v == 0 {
			return string(b[i:])
		}
	}
}

// openAt opens what is at l: do_open and do_dentry_open. made: the caller has just made it, so that nothing of it is checked.
func (c *Caller) openAt(l Location, o Opening, made bool) (*Open, abi.Errno) {
	n := l.Node()
	a, e := n.Attr(c)
	if e != 0 {
		return nil, e
	}
	typ := a.Mode & abi.S_IFMT
	flags, acc := o.Flags, o.access()
	truncate := false
	if flags&abi.O_CREAT != 0 && !made {
		if flags&abi.O_EXCL != 0 {
			return nil, abi.EEXIST
		}
		if typ == abi.S_IFDIR {
			return nil, abi.EISDIR
		}
		if e := c.mayReuse(l, &a); e != 0 {
			return nil, e
		}
	}
	if flags&abi.O_DIRECTORY != 0 && flags&abi.O_TMPFILE_BIT == 0 && !isDir(n) {
		return nil, abi.ENOTDIR
	}
	if flags&abi.O_PATH != 0 {
		f := NewOpen(nil, Location{}, flags)
		if !l.Ref() {
			return nil, abi.ESTALE
		}
		f.Loc, f.Cred = l, c.Cred
		return f, 0
	}
	if made {
		flags &^= abi.O_TRUNC
		acc = 0
	} else if typ == abi.S_IFREG && flags&abi.O_TRUNC != 0 {
		if e := l.Mount.beginWrite(); e != 0 {
			return nil, e
		}
		defer l.Mount.endWrite()
		truncate = true
	}
	if e := c.mayOpen(l, n, &a, acc, flags); e != 0 {
		return nil, e
	}
	if !l.Ref() {
		return nil, abi.ESTALE
	}
	f, e := c.openNode(l, n, &a, flags)
	if e != 0 {
		l.Unref()
		return nil, e
	}
	if truncate {
		if e := c.truncateOpen(l, n, f); e != 0 {
			f.Unref()
			return nil, e
		}
	}
	f.Notify(abi.IN_OPEN)
	return f, 0
}

// mayOpen is may_open.
func (c *Caller) mayOpen(l Location, n Node, a *Attr, acc, flags uint32) abi.Errno {
	switch a.Mode & abi.S_IFMT {
	case abi.S_IFLNK:
		return abi.ELOOP
	case abi.S_IFDIR:
		if acc&MayWrite != 0 {
			return abi.EISDIR
		}
	case abi.S_IFBLK, abi.S_IFCHR:
		if l.Mount.has(abi.MS_NODEV) {
			return abi.EACCES
		}
	}
	if acc != 0 {
		if e := c.permit(l.Dentry.super, n, a, acc); e != 0 {
			return e
		}
	}
	if a.Flags&abi.STATX_ATTR_APPEND != 0 {
		if flags&abi.O_ACCMODE != abi.O_RDONLY && flags&abi.O_APPEND == 0 || flags&abi.O_TRUNC != 0 {
			return abi.EPERM
		}
	}
	if flags&abi.O_NOATIME != 0 && !c.owns(a) {
		return abi.EPERM
	}
	return 0
}

// openNode makes the open file. l was counted once, for it.
func (c *Caller) openNode(l Location, n Node, a *Attr, flags uint32) (*Open, abi.Errno) {
	typ := a.Mode & abi.S_IFMT
	acc := flags & abi.O_ACCMODE
	wrote := false
	if acc != abi.O_RDONLY && (typ == abi.S_IFREG || typ == abi.S_IFDIR) {
		if e := n.VFS().BeginWrite(); e != 0 {
			return nil, e
		}
		if e := l.Mount.beginWrite(); e != 0 {
			n.VFS().EndWrite()
			return nil, e
		}
		wrote = true
	}
	var f File
	var e abi.Errno
	pass := flags &^ (abi.O_CREAT | abi.O_EXCL | abi.O_TRUNC | abi.O_CLOEXEC)
	_, anon := n.(*anonNode)
	switch {
	case anon:
		f, e = n.Open(c, pass, l)
	case typ == abi.S_IFCHR:
		f, e = c.device(l, a.Rdev, (*Devices).char, pass)
	case typ == abi.S_IFBLK:
		f, e = c.device(l, a.Rdev, (*Devices).block, pass)
	case typ == abi.S_IFSOCK:
		e = abi.ENXIO
	case typ == abi.S_IFIFO:
		if e = abi.ENXIO; l.Dentry.super.sys != nil && l.Dentry.super.sys.Fifo != nil {
			f, e = l.Dentry.super.sys.Fifo(c, n.VFS(), pass)
		}
	default:
		f, e = n.Open(c, pass, l)
	}
	if e == 0 && flags&abi.O_DIRECT != 0 && typ != abi.S_IFREG && typ != abi.S_IFBLK && typ != abi.S_IFIFO {
		f.Release()
		e = abi.EINVAL
	}
	if e != 0 {
		if wrote {
			n.VFS().EndWrite()
			l.Mount.endWrite()
		}
		return nil, e
	}
	o := NewOpen(f, Location{}, flags&^(abi.O_CREAT|abi.O_EXCL|abi.O_NOCTTY|abi.O_TRUNC))
	o.Loc, o.Cred, o.wrote = l, c.Cred, wrote
	if typ == abi.S_IFDIR {
		o.strm = false
	}
	return o, 0
}

func (c *Caller) device(l Location, dev uint64, find func(*Devices, uint64) Opener, flags uint32) (File, abi.Errno) {
	sys := l.Dentry.super.sys
	if sys == nil {
		return nil, abi.ENXIO
	}
	open := find(&sys.Devices, dev)
	if open == nil {
		return nil, abi.ENXIO
	}
	return open(c, flags, l)
}

// OpenNode opens a node that lies in no directory, in the file system where l.Mount is (MountInternal): memfd_create(2). text is
// what /proc/PID/fd shows.
func (c *Caller) OpenNode(m *Mount, text string, n Node, flags uint32) (*Open, abi.Errno) {
	l := Location{m, NewDetached(m.super, text, n)}
	a, e := n.Attr(c)
	if e != 0 {
		return nil, e
	}
	l.Ref()
	o, e := c.openNode(l, n, &a, flags)
	if e != 0 {
		l.Unref()
	}
	return o, e
}

// truncateOpen is handle_truncate.
func (c *Caller) truncateOpen(l Location, n Node, f *Open) abi.Errno {
	if e := n.VFS().BeginWrite(); e != 0 {
		return e
	}
	defer n.VFS().EndWrite()
	return c.truncateNode(l, n, f.File, 0)
}
