package tmpfs

import (
	"slices"
	"sort"
	"sync/atomic"

	"goum/arch/abi"
	"goum/kernel/fs/vfs"
	"goum/mm"
)

// node is what all kinds of nodes have.
type node struct {
	vfs.Inode

	// immutable
	fs    *FS
	ino   uint64
	btime int64

	atime, mtime, ctime atomic.Int64

	// guarded by fs.mu
	mode   uint32
	nlink  uint32
	uid    uint32
	gid    uint32
	freed  bool
	xattrs map[string][]byte
}

type inode interface {
	vfs.Node
	base() *node
}

func (n *node) base() *node { return n }

func (f *FS) init(n *node, mode, uid, gid uint32) {
	now := f.sys.Now()
	n.fs, n.ino, n.btime, n.mode, n.uid, n.gid, n.nlink = f, f.ino.Add(1), now, mode, uid, gid, 1
	n.atime.Store(now)
	n.mtime.Store(now)
	n.ctime.Store(now)
}

// newNode makes a node of m's kind, without a name: ENOSPC.
func (f *FS) newNode(m vfs.Making) (inode, abi.Errno) {
	if e := f.reserve(inodeSpace); e != 0 {
		return nil, e
	}
	switch m.Mode & abi.S_IFMT {
	case abi.S_IFREG:
		n := &fileNode{}
		f.init(&n.node, m.Mode, m.UID, m.GID)
		n.pages = f.cache.NewPages(f)
		n.pages.Changed = n.changed
		n.seals = abi.F_SEAL_SEAL
		return n, 0
	case abi.S_IFDIR:
		n := &dirNode{}
		f.init(&n.node, m.Mode, m.UID, m.GID)
		n.nlink = 2
		return n, 0
	case abi.S_IFLNK:
		n := &linkNode{target: m.Target}
		f.init(&n.node, m.Mode, m.UID, m.GID)
		return n, 0
	}
	n := &specialNode{rdev: m.Rdev}
	f.init(&n.node, m.Mode, m.UID, m.GID)
	return n, 0
}

// changed stamps a change of contents.
func (n *node) changed() {
	now := n.fs.sys.Now()
	n.mtime.Store(now)
	n.ctime.Store(now)
}

// attr is Attr without what depends on the kind.
func (n *node) attr() vfs.Attr {
	n.fs.mu.Lock()
	a := vfs.Attr{Ino: n.ino, Mode: n.mode, Nlink: n.nlink, UID: n.uid, GID: n.gid}
	n.fs.mu.Unlock()
	a.BlockSize = pageSize
	a.Atime, a.Mtime, a.Ctime, a.Btime = n.atime.Load(), n.mtime.Load(), n.ctime.Load(), n.btime
	return a
}

// Touch is vfs.Toucher's.
func (n *node) Touch(c *vfs.Caller, relatime bool) {
	now := n.fs.sys.Now()
	if !relatime || vfs.Relatime(n.atime.Load(), n.mtime.Load(), n.ctime.Load(), now) {
		n.atime.Store(now)
	}
}

// set changes all but the size. fs.mu is not held.
func (n *node) set(s *vfs.SetAttr) {
	now := n.fs.sys.Now()
	n.fs.mu.Lock()
	if s.Valid&vfs.SetUID != 0 {
		n.uid = s.UID
	}
	if s.Valid&vfs.SetGID != 0 {
		n.gid = s.GID
	}
	if s.Valid&vfs.SetMode != 0 {
		n.mode = n.mode&abi.S_IFMT | s.Mode&0o7777
	}
	n.fs.mu.Unlock()
	switch {
	case s.Valid&vfs.SetAtime != 0:
		n.atime.Store(s.Atime)
	case s.Valid&vfs.SetAtimeNow != 0:
		n.atime.Store(now)
	}
	switch {
	case s.Valid&vfs.SetMtime != 0:
		n.mtime.Store(s.Mtime)
	case s.Valid&vfs.SetMtimeNow != 0:
		n.mtime.Store(now)
	}
	n.ctime.Store(now)
}

// SetAttr is vfs.Node's, for what has no size.
func (n *node) SetAttr(c *vfs.Caller, s *vfs.SetAttr) abi.Errno {
	if s.Valid&vfs.SetSize != 0 {
		return abi.EINVAL
	}
	n.set(s)
	return 0
}

// Evict is vfs.Evicter's.
func (n *node) Evict() { n.free() }

// free gives up the inode's place once it has no link; true: this call did.
func (n *node) free() bool {
	n.fs.mu.Lock()
	defer n.fs.mu.Unlock()
	if n.nlink > 0 || n.freed {
		return false
	}
	n.freed = true
	space := int64(inodeSpace)
	for k, v := range n.xattrs {
		space += xattrSpace(k, v)
	}
	n.fs.release(space)
	return true
}

func xattrSpace(name string, value []byte) int64 { return int64(32 + len(name) + len(value)) }

// GetXattr is vfs.Xattrer's.
func (n *node) GetXattr(c *vfs.Caller, name string) ([]byte, abi.Errno) {
	n.fs.mu.Lock()
	defer n.fs.mu.Unlock()
	v, ok := n.xattrs[name]
	if !ok {
		return nil, abi.ENODATA
	}
	return slices.Clone(v), 0
}

// SetXattr is vfs.Xattrer's.
func (n *node) SetXattr(c *vfs.Caller, name string, value []byte, flags uint32) abi.Errno {
	n.fs.mu.Lock()
	defer n.fs.mu.Unlock()
	old, ok := n.xattrs[name]
	switch {
	case ok && flags&abi.XATTR_CREATE != 0:
		return abi.EEXIST
	case !ok && flags&abi.XATTR_REPLACE != 0:
		return abi.ENODATA
	}
	if value != nil {
		// Only user.* is bounded by nr_inodes in Linux; here all of it is, for all of it lies in the monitor.
		if e := n.fs.reserve(xattrSpace(name, value)); e != 0 {
			return e
		}
		if n.xattrs == nil {
			n.xattrs = make(map[string][]byte)
		}
		n.xattrs[name] = slices.Clone(value)
	} else {
		delete(n.xattrs, name)
	}
	if ok {
		n.fs.release(xattrSpace(name, old))
	}
	n.ctime.Store(n.fs.sys.Now())
	return 0
}

// ListXattr is vfs.Xattrer's.
func (n *node) ListXattr(c *vfs.Caller) ([]string, abi.Errno) {
	n.fs.mu.Lock()
	defer n.fs.mu.Unlock()
	names := make([]string, 0, len(n.xattrs))
	for k := range n.xattrs {
		names = append(names, k)
	}
	sort.Strings(names)
	return names, 0
}

// specialNode is a device, a fifo or a socket: vfs opens it.
type specialNode struct {
	node
	rdev uint64
}

// Attr is vfs.Node's.
func (n *specialNode) Attr(*vfs.Caller) (vfs.Attr, abi.Errno) {
	a := n.attr()
	a.Rdev = n.rdev
	return a, 0
}

// Open is vfs.Node's, and never called.
func (n *specialNode) Open(*vfs.Caller, uint32, vfs.Location) (vfs.File, abi.Errno) {
	return nil, abi.ENXIO
}

// linkNode is a symbolic link.
type linkNode struct {
	node
	target string
}

// Attr is vfs.Node's.
func (n *linkNode) Attr(*vfs.Caller) (vfs.Attr, abi.Errno) {
	a := n.attr()
	a.Size = int64(len(n.target))
	if len(n.target) > 128 { // Linux keeps a long one in a page
		a.Blocks = pageSize / 512
	}
	return a, 0
}

// Open is vfs.Node's.
func (n *linkNode) Open(*vfs.Caller, uint32, vfs.Location) (vfs.File, abi.Errno) {
	return nil, abi.ELOOP
}

// Readlink is vfs.Symlinker's.
func (n *linkNode) Readlink(*vfs.Caller) (string, abi.Errno) { return n.target, 0 }

// entry is a name in a directory. at is its position, ever growing, so that a listing is stable whatever changes.
type entry struct {
	name string
	node inode
	at   int64
	dead bool
}

// dirNode is a directory, and itself the File of each open(2).
type dirNode struct {
	node

	// guarded by fs.mu
	parent  *dirNode
	entries map[string]*entry
	order   []*entry // by at; dead ones among them
	deads   int
	next    int64
}

// Attr is vfs.Node's.
func (d *dirNode) Attr(*vfs.Caller) (vfs.Attr, abi.Errno) {
	a := d.attr()
	d.fs.mu.Lock()
	a.Size = int64(len(d.entries)+2) * direntSize
	d.fs.mu.Unlock()
	return a, 0
}

// Lookup is vfs.Dir's.
func (d *dirNode) Lookup(c *vfs.Caller, name string) (vfs.Node, abi.Errno) {
	d.fs.mu.Lock()
	defer d.fs.mu.Unlock()
	e := d.entries[name]
	if e == nil {
		return nil, abi.ENOENT
	}
	return e.node, 0
}

// firstEntry is the position of the first name behind "." and "..".
const firstEntry = 2

// insert adds a name. fs.mu is held.
func (d *dirNode) insert(name string, n inode) {
	if d.entries == nil {
		d.entries = make(map[string]*entry)
	}
	e := &entry{name: name, node: n, at: firstEntry + d.next}
	d.next++
	d.entries[name] = e
	d.order = append(d.order, e)
	if s, ok := n.(*dirNode); ok {
		s.parent = d
		d.nlink++
	}
}

// erase takes a name away. fs.mu is held.
func (d *dirNode) erase(name string) {
	e := d.entries[name]
	delete(d.entries, name)
	e.dead = true
	if d.deads++; d.deads > 16 && d.deads > len(d.order)/2 {
		d.order = slices.DeleteFunc(d.order, func(e *entry) bool { return e.dead })
		d.deads = 0
	}
	if _, ok := e.node.(*dirNode); ok {
		d.nlink--
	}
}

// Make is vfs.Maker's.
func (d *dirNode) Make(c *vfs.Caller, name string, m vfs.Making) (vfs.Node, abi.Errno) {
	n, e := d.fs.newNode(m)
	if e != 0 {
		return nil, e
	}
	d.fs.mu.Lock()
	d.insert(name, n)
	d.fs.mu.Unlock()
	d.changed()
	return n, 0
}

// MakeTmp is vfs.TmpMaker's.
func (d *dirNode) MakeTmp(c *vfs.Caller, m vfs.Making) (vfs.Node, abi.Errno) {
	n, e := d.fs.newNode(m)
	if e != 0 {
		return nil, e
	}
	b := n.base()
	d.fs.mu.Lock()
	b.nlink = 0
	d.fs.mu.Unlock()
	n.(*fileNode).nameless = !m.NoLink
	return n, 0
}

// Link is vfs.Linker's.
func (d *dirNode) Link(c *vfs.Caller, name string, v vfs.Node) abi.Errno {
	n := v.(inode)
	b := n.base()
	d.fs.mu.Lock()
	f, _ := n.(*fileNode)
	tmp := f != nil && f.nameless
	if b.nlink == 0 && !tmp || b.freed {
		d.fs.mu.Unlock()
		return abi.ENOENT
	}
	if b.nlink >= maxLinks {
		d.fs.mu.Unlock()
		return abi.EMLINK
	}
	if b.nlink > 0 { // the first link of an O_TMPFILE file was paid when it was made
		if e := d.fs.reserve(inodeSpace); e != 0 {
			d.fs.mu.Unlock()
			return e
		}
	}
	if tmp {
		f.nameless = false
	}
	b.nlink++
	d.insert(name, n)
	d.fs.mu.Unlock()
	d.changed()
	b.ctime.Store(d.mtime.Load())
	return 0
}

// unlinked takes one link from n. fs.mu is held.
func (d *dirNode) unlinked(n inode) {
	b := n.base()
	if _, ok := n.(*dirNode); ok {
		b.nlink = 0
	} else if b.nlink--; b.nlink > 0 {
		d.fs.release(inodeSpace)
	}
	b.ctime.Store(d.fs.sys.Now())
}

// Unlink is vfs.Remover's.
func (d *dirNode) Unlink(c *vfs.Caller, name string, n vfs.Node) abi.Errno {
	d.fs.mu.Lock()
	d.erase(name)
	d.unlinked(n.(inode))
	d.fs.mu.Unlock()
	d.changed()
	return 0
}

// Rmdir is vfs.Remover's.
func (d *dirNode) Rmdir(c *vfs.Caller, name string, n vfs.Node) abi.Errno {
	d.fs.mu.Lock()
	if len(n.(*dirNode).entries) > 0 {
		d.fs.mu.Unlock()
		return abi.ENOTEMPTY
	}
	d.erase(name)
	d.unlinked(n.(inode))
	d.fs.mu.Unlock()
	d.changed()
	return 0
}

// Rename is vfs.Renamer's.
func (d *dirNode) Rename(c *vfs.Caller, name string, v vfs.Node, to vfs.Node, newName string, target vfs.Node, flags uint32) abi.Errno {
	n, t := v.(inode), to.(*dirNode)
	var white inode
	if flags&abi.RENAME_WHITEOUT != 0 {
		var e abi.Errno
		if white, e = d.fs.newNode(vfs.Making{Mode: abi.S_IFCHR}); e != 0 {
			return e
		}
	}
	d.fs.mu.Lock()
	if flags&abi.RENAME_EXCHANGE != 0 {
		o := target.(inode)
		d.erase(name)
		t.erase(newName)
		d.insert(name, o)
		t.insert(newName, n)
		o.base().ctime.Store(d.fs.sys.Now())
	} else {
		if target != nil {
			if s, ok := target.(*dirNode); ok && len(s.entries) > 0 {
				d.fs.mu.Unlock()
				if white != nil {
					d.fs.release(inodeSpace)
				}
				return abi.ENOTEMPTY
			}
			t.erase(newName)
			t.unlinked(target.(inode))
		}
		d.erase(name)
		t.insert(newName, n)
		if white != nil {
			d.insert(name, white)
		}
	}
	d.fs.mu.Unlock()
	d.changed()
	if t != d {
		t.changed()
	}
	n.base().ctime.Store(d.mtime.Load())
	return 0
}

// Open is vfs.Node's.
func (d *dirNode) Open(*vfs.Caller, uint32, vfs.Location) (vfs.File, abi.Errno) { return d, 0 }

// Read is vfs.File's.
func (d *dirNode) Read(*vfs.Caller, *mm.Buf, vfs.At) (int, abi.Errno) { return 0, abi.EISDIR }

// Write is vfs.File's.
func (d *dirNode) Write(*vfs.Caller, *mm.Buf, vfs.At) (int, abi.Errno) { return 0, abi.EBADF }

// Release is vfs.File's.
func (d *dirNode) Release() {}

// Seek is vfs.Seeker's: a position is what ReadDir gave, or 0.
func (d *dirNode) Seek(c *vfs.Caller, pos, off int64, whence int) (int64, abi.Errno) {
	switch whence {
	case abi.SEEK_CUR:
		off += pos
	case abi.SEEK_SET:
	default:
		return 0, abi.EINVAL
	}
	if off < 0 {
		return 0, abi.EINVAL
	}
	return off, 0
}

// Sync is vfs.Syncer's.
func (d *dirNode) Sync(*vfs.Caller, bool) abi.Errno { return 0 }

// ReadDir is vfs.DirReader's. emit is called without a lock, for it may copy to the guest: names are taken a few at a time.
func (d *dirNode) ReadDir(c *vfs.Caller, pos int64, emit func(e vfs.DirEntry) bool) abi.Errno {
	if pos == 0 {
		if !emit(vfs.DirEntry{Name: ".", Ino: d.ino, Type: abi.DT_DIR, Next: 1}) {
			return 0
		}
		pos = 1
	}
	if pos == 1 {
		d.fs.mu.Lock()
		up := d.parent.ino
		d.fs.mu.Unlock()
		if !emit(vfs.DirEntry{Name: "..", Ino: up, Type: abi.DT_DIR, Next: firstEntry}) {
			return 0
		}
		pos = firstEntry
	}
	var batch [64]vfs.DirEntry
	for {
		n := 0
		d.fs.mu.Lock()
		for i := sort.Search(len(d.order), func(i int) bool { return d.order[i].at >= pos }); i < len(d.order) && n < len(batch); i++ {
			if e := d.order[i]; !e.dead {
				b := e.node.base()
				batch[n] = vfs.DirEntry{Name: e.name, Ino: b.ino, Type: abi.DirentType(b.mode), Next: e.at + 1}
				n++
			}
		}
		d.fs.mu.Unlock()
		for _, e := range batch[:n] {
			if !emit(e) {
				return 0
			}
			pos = e.Next
		}
		if n < len(batch) {
			return 0
		}
	}
}
