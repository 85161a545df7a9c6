package vfs

import (
	"goum/arch/abi"
)

// creating is filename_create: it walks to the parent of path and takes its gate with the last component looked up and found absent.
// done gives the gate back. dirs: a directory is wanted, which may be written with slashes behind it.
type creating struct {
	dir  Location
	attr Attr // of dir
	name string
	done func()
}

func (c *Caller) create(at Location, path string, dirs bool) (cr creating, e abi.Errno) {
	dir, last, e := c.walkParent(at, path, 0)
	if e != 0 {
		return cr, e
	}
	if last.kind != lastNorm {
		return cr, abi.EEXIST
	}
	d := dir.Dentry
	lookup, ok := d.node.(Dir)
	if !ok {
		return cr, abi.ENOTDIR
	}
	wr := dir.Mount.beginWrite()
	g := &d.node.VFS().gate
	g.Lock(c.Thread)
	done := func() {
		g.Unlock()
		if wr == 0 {
			dir.Mount.endWrite()
		}
	}
	f, e := c.lookupLocked(lookup, d, last.name)
	switch {
	case e != 0:
	case f.node != nil:
		e = abi.EEXIST
	case last.slashes && !dirs:
		e = abi.ENOENT
	default:
		e = wr
	}
	if e != 0 {
		done()
		return cr, e
	}
	if cr.attr, e = d.node.Attr(c); e != 0 {
		done()
		return cr, e
	}
	cr.dir, cr.name, cr.done = dir, last.name, done
	return cr, 0
}

// mayCreate is may_create for a name that is not there.
func (c *Caller) mayCreate(dir Location, a *Attr) abi.Errno {
	if dir.Node().VFS().Dead() {
		return abi.ENOENT
	}
	return c.permit(dir.Dentry.super, dir.Node(), a, MayWrite|MayExec)
}

// make is the common end of mkdir, mknod and symlink.
func (c *Caller) make(cr creating, m Making) abi.Errno {
	d := cr.dir.Dentry
	maker, ok := d.node.(Maker)
	if !ok {
		return abi.EPERM
	}
	n, e := maker.Make(c, cr.name, m)
	if e != 0 {
		return e
	}
	d.add(cr.name, n)
	mask := uint32(abi.IN_CREATE)
	notifyDir(d, mask, cr.name, 0, n)
	return 0
}

// Mkdir is mkdirat(2): EEXIST, ENOENT, EROFS, EACCES, EPERM (no directories here), and what the file system says.
func (c *Caller) Mkdir(at Location, path string, mode uint32) abi.Errno {
	cr, e := c.create(at, path, true)
	if e != 0 {
		return e
	}
	defer cr.done()
	if e := c.mayCreate(cr.dir, &cr.attr); e != 0 {
		return e
	}
	mode &= 0o777 | abi.S_ISVTX
	return c.make(cr, c.making(&cr.attr, abi.S_IFDIR|mode&^c.Umask()))
}

// Mknod is mknodat(2): EPERM (a directory; a device without CAP_MKNOD), EINVAL (no such type), and as Mkdir.
func (c *Caller) Mknod(at Location, path string, mode uint32, dev uint64) abi.Errno {
	switch mode & abi.S_IFMT {
	case abi.S_IFREG, abi.S_IFCHR, abi.S_IFBLK, abi.S_IFIFO, abi.S_IFSOCK:
	case 0:
		mode |= abi.S_IFREG
	case abi.S_IFDIR:
		return abi.EPERM
	default:
		return abi.EINVAL
	}
	cr, e := c.create(at, path, false)
	if e != 0 {
		return e
	}
	defer cr.done()
	_, e = c.mknod(cr, mode, dev)
	return e
}

func (c *Caller) mknod(cr creating, mode uint32, dev uint64) (Location, abi.Errno) {
	if e := c.mayCreate(cr.dir, &cr.attr); e != 0 {
		return Location{}, e
	}
	typ := mode & abi.S_IFMT
	isDev := typ == abi.S_IFCHR || typ == abi.S_IFBLK
	if isDev && !(typ == abi.S_IFCHR && dev == 0) && !c.Cred.Has(abi.CAP_MKNOD) {
		return Location{}, abi.EPERM
	}
	if !isDev {
		dev = 0
	}
	m := c.making(&cr.attr, typ|mode&0o7777&^c.Umask())
	m.Rdev = dev
	if e := c.make(cr, m); e != 0 {
		return Location{}, e
	}
	return Location{cr.dir.Mount, cr.dir.Dentry.lookup(cr.name)}, 0
}

// MakeSocket makes the node of a socket that is bound to path, and answers where it is: bind(2) with AF_UNIX. mode is cut by the
// umask. EADDRINUSE (it exists), else as Mknod.
func (c *Caller) MakeSocket(path string, mode uint32) (Location, abi.Errno) {
	cr, e := c.create(Location{}, path, false)
	if e == abi.EEXIST {
		e = abi.EADDRINUSE
	}
	if e != 0 {
		return Location{}, e
	}
	defer cr.done()
	return c.mknod(cr, abi.S_IFSOCK|mode&0o7777, 0)
}

// Symlink is symlinkat(2): ENOENT (empty target), ENAMETOOLONG, and as Mkdir.
func (c *Caller) Symlink(target string, at Location, path string) abi.Errno {
	if target == "" {
		return abi.ENOENT
	}
	if len(target) >= abi.PATH_MAX {
		return abi.ENAMETOOLONG
	}
	cr, e := c.create(at, path, false)
	if e != 0 {
		return e
	}
	defer cr.done()
	if e := c.mayCreate(cr.dir, &cr.attr); e != 0 {
		return e
	}
	m := c.making(&cr.attr, abi.S_IFLNK|0o777)
	m.Target = target
	return c.make(cr, m)
}

// Link is linkat(2): EINVAL (flags), ENOENT, EXDEV, EPERM (a directory), and as Mkdir.
func (c *Caller) Link(oldAt Location, oldPath string, newAt Location, newPath string, flags uint32) abi.Errno {
	if flags&^(abi.AT_SYMLINK_FOLLOW|abi.AT_EMPTY_PATH) != 0 {
		return abi.EINVAL
	}
	how := atHow(flags) &^ Follow
	if flags&abi.AT_SYMLINK_FOLLOW != 0 {
		how |= Follow
	}
	if oldPath == "" && flags&abi.AT_EMPTY_PATH != 0 && !c.Cred.Has(abi.CAP_DAC_READ_SEARCH) {
		return abi.ENOENT
	}
	old, e := c.Walk(oldAt, oldPath, how)
	if e != 0 {
		return e
	}
	cr, e := c.create(newAt, newPath, false)
	if e != 0 {
		return e
	}
	defer cr.done()
	if old.Mount != cr.dir.Mount {
		return abi.EXDEV
	}
	n := old.Node()
	a, e := n.Attr(c)
	if e != 0 {
		return e
	}
	if s := old.Dentry.super; s.sys != nil && s.sys.Hardlinks.Load() != 0 && !c.owns(&a) && !c.linkSource(s, n, &a) {
		return abi.EPERM
	}
	if e := c.mayCreate(cr.dir, &cr.attr); e != 0 {
		return e
	}
	if a.Flags&(abi.STATX_ATTR_APPEND|abi.STATX_ATTR_IMMUTABLE) != 0 {
		return abi.EPERM
	}
	l, ok := cr.dir.Node().(Linker)
	if !ok || a.IsDir() {
		return abi.EPERM
	}
	if e := l.Link(c, cr.name, n); e != 0 {
		return e
	}
	cr.dir.Dentry.add(cr.name, n)
	n.VFS().notify(abi.IN_ATTRIB, "", 0)
	notifyDir(cr.dir.Dentry, abi.IN_CREATE, cr.name, 0, n)
	return 0
}

// linkSource is safe_hardlink_source: what fs.protected_hardlinks lets others than the owner link to.
func (c *Caller) linkSource(s *Super, n Node, a *Attr) bool {
	return a.Mode&abi.S_IFMT == abi.S_IFREG && a.Mode&abi.S_ISUID == 0 && a.Mode&(abi.S_ISGID|abi.S_IXGRP) != abi.S_ISGID|abi.S_IXGRP &&
		c.permit(s, n, a, MayRead|MayWrite) == 0
}

// mayFollow is may_follow_link: what fs.protected_symlinks says of a link at the end of a path, in directory dir.
func (c *Caller) mayFollow(dir, link Location) abi.Errno {
	s := link.Dentry.super.sys
	if s == nil || s.Symlinks.Load() == 0 {
		return 0
	}
	a, e := c.attrOf(link)
	if e != 0 || a.UID == c.Cred.FSUID {
		return e
	}
	d, e := c.attrOf(dir)
	if e != 0 || d.Mode&(abi.S_ISVTX|abi.S_IWOTH) != abi.S_ISVTX|abi.S_IWOTH || d.UID == a.UID {
		return e
	}
	return abi.EACCES
}

// mayReuse is may_create_in_sticky: what fs.protected_regular and fs.protected_fifos say of a file that O_CREAT found.
func (c *Caller) mayReuse(l Location, a *Attr) abi.Errno {
	s := l.Dentry.super.sys
	if s == nil {
		return 0
	}
	var level int32
	switch a.Mode & abi.S_IFMT {
	case abi.S_IFREG:
		level = s.Regular.Load()
	case abi.S_IFIFO:
		level = s.Fifos.Load()
	}
	if level == 0 || a.UID == c.Cred.FSUID {
		return 0
	}
	d, e := l.Dentry.Parent().node.Attr(c)
	if e != 0 || d.Mode&abi.S_ISVTX == 0 || a.UID == d.UID {
		return e
	}
	if d.Mode&abi.S_IWOTH != 0 || d.Mode&abi.S_IWGRP != 0 && level >= 2 {
		return abi.EACCES
	}
	return 0
}

// mayDelete is may_delete, for a name that is there. a are the attributes of its node.
func (c *Caller) mayDelete(dir Location, da, a *Attr, victim *Dentry, wantDir bool) abi.Errno {
	if e := c.permit(dir.Dentry.super, dir.Node(), da, MayWrite|MayExec); e != 0 {
		return e
	}
	if da.Flags&abi.STATX_ATTR_APPEND != 0 {
		return abi.EPERM
	}
	if c.sticky(da, a) || a.Flags&(abi.STATX_ATTR_APPEND|abi.STATX_ATTR_IMMUTABLE) != 0 {
		return abi.EPERM
	}
	if wantDir {
		if !a.IsDir() {
			return abi.ENOTDIR
		}
	} else if a.IsDir() {
		return abi.EISDIR
	}
	if dir.Node().VFS().Dead() {
		return abi.ENOENT
	}
	return 0
}

// Unlink is unlinkat(2) without AT_REMOVEDIR: EISDIR, EROFS, ENOENT, ENOTDIR, EACCES, EPERM, EBUSY.
func (c *Caller) Unlink(at Location, path string) abi.Errno { return c.remove(at, path, false) }

// Rmdir is rmdir(2): EINVAL ("."), ENOTEMPTY (".."), EBUSY ("/", a mount), and as Unlink.
func (c *Caller) Rmdir(at Location, path string) abi.Errno { return c.remove(at, path, true) }

func (c *Caller) remove(at Location, path string, dirs bool) abi.Errno {
	dir, last, e := c.walkParent(at, path, 0)
	if e != 0 {
		return e
	}
	if last.kind != lastNorm {
		switch {
		case !dirs:
			return abi.EISDIR
		case last.kind == lastDotDot:
			return abi.ENOTEMPTY
		case last.kind == lastDot:
			return abi.EINVAL
		}
		return abi.EBUSY
	}
	d := dir.Dentry
	lookup, ok := d.node.(Dir)
	if !ok {
		return abi.ENOTDIR
	}
	if e := dir.Mount.beginWrite(); e != 0 {
		return e
	}
	defer dir.Mount.endWrite()
	g := &d.node.VFS().gate
	g.Lock(c.Thread)
	defer g.Unlock()
	f, e := c.lookupLocked(lookup, d, last.name)
	if e != 0 {
		return e
	}
	n := f.node
	if n == nil {
		return abi.ENOENT
	}
	if last.slashes && !dirs {
		if isDir(n) {
			return abi.EISDIR
		}
		return abi.ENOTDIR
	}
	da, e := d.node.Attr(c)
	if e != 0 {
		return e
	}
	a, e := n.Attr(c)
	if e != 0 {
		return e
	}
	if e := c.mayDelete(dir, &da, &a, f, dirs); e != 0 {
		return e
	}
	r, ok := d.node.(Remover)
	if !ok {
		return abi.EPERM
	}
	if dirs {
		vg := &n.VFS().gate
		vg.Lock(c.Thread)
		defer vg.Unlock()
	}
	if f.mounted.Load() > 0 {
		return abi.EBUSY
	}
	if dirs {
		if e := r.Rmdir(c, last.name, n); e != 0 {
			return e
		}
		n.VFS().dead.Store(true)
	} else {
		if e := r.Unlink(c, last.name, n); e != 0 {
			return e
		}
	}
	if !dirs {
		n.VFS().notify(abi.IN_ATTRIB, "", 0)
	}
	notifyDir(d, abi.IN_DELETE, last.name, 0, n)
	c.deleted(n)
	f.drop()
	return 0
}

// deleted tells the watchers of a node that lost its last link.
func (c *Caller) deleted(n Node) {
	if !n.VFS().watched() {
		return
	}
	if a, e := n.Attr(c); e == 0 && (a.Nlink == 0 || n.VFS().Dead()) {
		n.VFS().notify(abi.IN_DELETE_SELF, "", 0)
	}
}

// lockTwo takes the gates of two directories of one file system, the upper one first; between unrelated ones the gate of moves
// decides, which it takes unless they are the same. unlock undoes it all. trap is the child of one directory that leads to the other.
func (c *Caller) lockTwo(s *Super, a, b *Dentry) (trapA, trapB *Dentry, unlock func()) {
	if a == b {
		g := &a.node.VFS().gate
		g.Lock(c.Thread)
		return nil, nil, g.Unlock
	}
	s.renames.Lock(c.Thread)
	first, second := a, b
	if t := childTowards(b, a); t != nil { // b below a
		trapB = t
	} else if t := childTowards(a, b); t != nil {
		trapA = t
		first, second = b, a
	}
	ga, gb := &first.node.VFS().gate, &second.node.VFS().gate
	ga.Lock(c.Thread)
	gb.Lock(c.Thread)
	return trapA, trapB, func() {
		gb.Unlock()
		ga.Unlock()
		s.renames.Unlock()
	}
}

// childTowards is the entry of top that d lies in or is, or nil.
func childTowards(d, top *Dentry) *Dentry {
	s := d.super
	s.names.Lock()
	defer s.names.Unlock()
	for range maxDepth {
		if d.parent == d {
			return nil
		}
		if d.parent == top {
			return d
		}
		d = d.parent
	}
	return nil
}

// Rename is renameat2(2), in the order of Linux's do_renameat2 and vfs_rename.
func (c *Caller) Rename(oldAt Location, oldPath string, newAt Location, newPath string, flags uint32) abi.Errno {
	if flags&^(abi.RENAME_NOREPLACE|abi.RENAME_EXCHANGE|abi.RENAME_WHITEOUT) != 0 {
		return abi.EINVAL
	}
	exchange := flags&abi.RENAME_EXCHANGE != 0
	if exchange && flags&(abi.RENAME_NOREPLACE|abi.RENAME_WHITEOUT) != 0 {
		return abi.EINVAL
	}
	from, ol, e := c.walkParent(oldAt, oldPath, 0)
	if e != 0 {
		return e
	}
	to, nl, e := c.walkParent(newAt, newPath, 0)
	if e != 0 {
		return e
	}
	if from.Mount != to.Mount {
		return abi.EXDEV
	}
	if ol.kind != lastNorm {
		return abi.EBUSY
	}
	if nl.kind != lastNorm {
		if flags&abi.RENAME_NOREPLACE != 0 {
			return abi.EEXIST
		}
		return abi.EBUSY
	}
	fd, fok := from.Node().(Dir)
	td, tok := to.Node().(Dir)
	if !fok || !tok {
		return abi.ENOTDIR
	}
	if e := from.Mount.beginWrite(); e != 0 {
		return e
	}
	defer from.Mount.endWrite()
	s := from.Dentry.super
	trapOld, trapNew, unlock := c.lockTwo(s, from.Dentry, to.Dentry)
	defer unlock()

	od, e := c.lookupLocked(fd, from.Dentry, ol.name)
	if e != 0 {
		return e
	}
	if od.node == nil {
		return abi.ENOENT
	}
	nd, e := c.lookupLocked(td, to.Dentry, nl.name)
	if e != 0 {
		return e
	}
	src, dst := od.node, nd.node
	switch {
	case exchange && dst == nil:
		return abi.ENOENT
	case flags&abi.RENAME_NOREPLACE != 0 && dst != nil:
		return abi.EEXIST
	case exchange && !isDir(dst) && nl.slashes:
		return abi.ENOTDIR
	case !isDir(src) && (ol.slashes || !exchange && nl.slashes):
		return abi.ENOTDIR
	case trapNew != nil && od == trapNew: // the source is above the target
		return abi.EINVAL
	case trapOld != nil && nd == trapOld: // the target is above the source
		if exchange {
			return abi.EINVAL
		}
		return abi.ENOTEMPTY
	case src == dst:
		return 0
	}
	fa, e := from.Node().Attr(c)
	if e != 0 {
		return e
	}
	ta, e := to.Node().Attr(c)
	if e != 0 {
		return e
	}
	sa, e := src.Attr(c)
	if e != 0 {
		return e
	}
	if e := c.mayDelete(from, &fa, &sa, od, sa.IsDir()); e != 0 {
		return e
	}
	var da Attr
	if dst == nil {
		if e := c.mayCreate(to, &ta); e != 0 {
			return e
		}
	} else {
		if da, e = dst.Attr(c); e != 0 {
			return e
		}
		want := sa.IsDir()
		if exchange {
			want = da.IsDir()
		}
		if e := c.mayDelete(to, &ta, &da, nd, want); e != 0 {
			return e
		}
	}
	r, ok := from.Node().(Renamer)
	if !ok {
		return abi.EPERM
	}
	if from.Dentry != to.Dentry {
		if sa.IsDir() {
			if e := c.permit(s, src, &sa, MayWrite); e != 0 {
				return e
			}
		}
		if exchange && da.IsDir() {
			if e := c.permit(s, dst, &da, MayWrite); e != 0 {
				return e
			}
		}
	}
	if od.mounted.Load() > 0 || dst != nil && nd.mounted.Load() > 0 {
		return abi.EBUSY
	}
	replaced := dst != nil && !exchange
	if replaced && da.IsDir() {
		g := &dst.VFS().gate
		g.Lock(c.Thread)
		defer g.Unlock()
	}
	if e := r.Rename(c, ol.name, src, to.Node(), nl.name, dst, flags); e != 0 {
		return e
	}
	if replaced && da.IsDir() {
		dst.VFS().dead.Store(true)
	}
	if exchange {
		od.exchange(nd)
	} else {
		od.move(to.Dentry, nl.name)
	}
	c.moved(from.Dentry, ol.name, to.Dentry, nl.name, src)
	if exchange {
		c.moved(to.Dentry, nl.name, from.Dentry, ol.name, dst)
	}
	if replaced {
		dst.VFS().notify(abi.IN_ATTRIB, "", 0)
		c.deleted(dst)
	}
	return 0
}

func (c *Caller) moved(from *Dentry, old string, to *Dentry, name string, n Node) {
	if !from.node.VFS().watched() && !to.node.VFS().watched() && !n.VFS().watched() {
		return
	}
	cookie := uint32(anonIno.Add(1))
	notifyDir(from, abi.IN_MOVED_FROM, old, cookie, n)
	notifyDir(to, abi.IN_MOVED_TO, name, cookie, n)
	n.VFS().notify(abi.IN_MOVE_SELF, "", 0)
}

// Readlink is readlinkat(2): an empty path means at itself. ENOENT, EINVAL (no link).
func (c *Caller) Readlink(at Location, path string) (string, abi.Errno) {
	l, e := c.Walk(at, path, Empty)
	if e != 0 {
		return "", e
	}
	s, ok := l.Node().(Symlinker)
	if !ok {
		if path == "" {
			return "", abi.ENOENT
		}
		return "", abi.EINVAL
	}
	touch(c, l)
	return s.Readlink(c)
}

// atHow turns AT_ flags into How: follow unless told not to.
func atHow(flags uint32) How {
	var how How
	if flags&abi.AT_SYMLINK_NOFOLLOW == 0 {
		how |= Follow
	}
	if flags&abi.AT_EMPTY_PATH != 0 {
		how |= Empty
	}
	return how
}
