// Package made is what file systems consist of whose files are made when somebody looks: procfs and sysfs.
//
// A Tree numbers the nodes of one such file system; a Dir is a directory with fixed entries, a File makes its content from a
// function, a Link its target. Directories whose entries come and go are the file system's own.
//
// Invariants:
//   - A File's content is made when an open file is read at position 0, or first; the rest of that reading sees the same content.
//   - Functions of a File or Link are called with no lock held, and may sleep.
//
// Locks: Dir.mu (lock.Inode), under which nothing is called.
package made

import (
	"cmp"
	"slices"
	"sync/atomic"

	"goum/arch/abi"
	"goum/arch/lock"
	"goum/kernel/fs/vfs"
	"goum/mm"
)

// maxWrite bounds what one write(2) hands to a File: a page, as Linux's sysctl and sysfs files. EINVAL beyond.
const maxWrite = 4096

// Tree numbers the nodes of one file system.
type Tree struct {
	ino atomic.Uint64
	now func() int64 // realtime, in nanoseconds
}

// NewTree starts at inode number 1 (the first Meta is 1: make the root first). now is the realtime clock in nanoseconds.
func NewTree(now func() int64) *Tree { return &Tree{now: now} }

// Meta makes the attributes of a new node: mode with its type, owner root.
func (t *Tree) Meta(mode uint32) Meta {
	return Meta{Ino: t.ino.Add(1), Mode: mode, Time: t.now()}
}

// Meta is the attributes that a made node has.
type Meta struct {
	Ino      uint64
	Mode     uint32
	UID, GID uint32
	Time     int64 // of its making
	Size     int64 // what stat shows
}

// Attr is m as stat(2) shows it.
func (m *Meta) Attr(*vfs.Caller) (vfs.Attr, abi.Errno) {
	a := vfs.Attr{Ino: m.Ino, Mode: m.Mode, Nlink: 1, UID: m.UID, GID: m.GID, Size: m.Size, BlockSize: 1024,
		Atime: m.Time, Mtime: m.Time, Ctime: m.Time}
	if a.IsDir() {
		a.Nlink = 2
	}
	return a, 0
}

// SetAttr lets a truncation and times pass without effect, as open(2) with O_TRUNC needs; mode and owner are fixed: EPERM.
func SetAttr(s *vfs.SetAttr) abi.Errno {
	if s.Valid&(vfs.SetMode|vfs.SetUID|vfs.SetGID) != 0 {
		return abi.EPERM
	}
	return 0
}

// Dir is a directory with fixed entries.
type Dir struct {
	vfs.BaseNode
	Meta

	mu     lock.Mutex[lock.Inode]
	byName map[string]vfs.Node
	list   []entry // sorted by position, which is the order of Add
}

type entry struct {
	name string
	node vfs.Node
	ino  uint64
	typ  uint8
}

// Dir makes an empty directory.
func (t *Tree) Dir() *Dir {
	return &Dir{Meta: t.Meta(abi.S_IFDIR | 0o555), byName: map[string]vfs.Node{}}
}

// Attr is the directory's; its links count its directories.
func (d *Dir) Attr(c *vfs.Caller) (vfs.Attr, abi.Errno) {
	a, e := d.Meta.Attr(c)
	d.mu.Lock()
	defer d.mu.Unlock()
	for i := range d.list {
		if d.list[i].typ == abi.DT_DIR {
			a.Nlink++
		}
	}
	return a, e
}

// SetAttr is that of made nodes.
func (d *Dir) SetAttr(c *vfs.Caller, s *vfs.SetAttr) abi.Errno { return SetAttr(s) }

// Add puts n into the directory and returns it. Only while the tree is built, or of new names.
func Add[N vfs.Node](d *Dir, name string, n N) N {
	a, _ := n.Attr(nil)
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, dup := d.byName[name]; dup {
		panic("made: " + name + " is there twice")
	}
	d.byName[name] = n
	d.list = append(d.list, entry{name, n, a.Ino, abi.DirentType(a.Mode)})
	return n
}

// Sub adds a directory.
func (d *Dir) Sub(t *Tree, name string) *Dir { return Add(d, name, t.Dir()) }

// Lookup finds an entry: ENOENT.
func (d *Dir) Lookup(c *vfs.Caller, name string) (vfs.Node, abi.Errno) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if n := d.byName[name]; n != nil {
		return n, 0
	}
	return nil, abi.ENOENT
}

// Entries is how many there are.
func (d *Dir) Entries() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.list)
}

// Emit lists the entries from index i on; position says what the position of the entry after index i is.
func (d *Dir) Emit(i int, position func(i int) int64, emit func(vfs.DirEntry) bool) bool {
	d.mu.Lock()
	list := d.list // entries are only ever appended
	d.mu.Unlock()
	for ; i < len(list); i++ {
		if !emit(vfs.DirEntry{Name: list[i].name, Ino: list[i].ino, Type: list[i].typ, Next: position(i)}) {
			return false
		}
	}
	return true
}

// Open opens the directory for listing.
func (d *Dir) Open(c *vfs.Caller, flags uint32, loc vfs.Location) (vfs.File, abi.Errno) {
	return &OpenDir{Loc: loc, List: func(c *vfs.Caller, pos int64, emit func(vfs.DirEntry) bool) abi.Errno {
		d.Emit(int(min(pos-2, 1<<30)), func(i int) int64 { return int64(i) + 3 }, emit)
		return 0
	}}, 0
}

// OpenDir is an open directory. List emits what follows "." and "..", from position 2 on.
type OpenDir struct {
	Loc  vfs.Location
	List func(c *vfs.Caller, pos int64, emit func(vfs.DirEntry) bool) abi.Errno
}

// Read refuses: EISDIR.
func (*OpenDir) Read(*vfs.Caller, *mm.Buf, vfs.At) (int, abi.Errno) { return 0, abi.EISDIR }

// Write refuses: EISDIR; a directory is never open for writing.
func (*OpenDir) Write(*vfs.Caller, *mm.Buf, vfs.At) (int, abi.Errno) { return 0, abi.EISDIR }

// Release does nothing.
func (*OpenDir) Release() {}

// Seek sets the position, which only ReadDir gave out.
func (*OpenDir) Seek(c *vfs.Caller, pos, off int64, whence int) (int64, abi.Errno) {
	return seek(pos, off, whence)
}

func seek(pos, off int64, whence int) (int64, abi.Errno) {
	switch whence {
	case abi.SEEK_SET:
	case abi.SEEK_CUR:
		off += pos
	default:
		return 0, abi.EINVAL
	}
	if off < 0 {
		return 0, abi.EINVAL
	}
	return off, 0
}

// ReadDir lists the directory.
func (o *OpenDir) ReadDir(c *vfs.Caller, pos int64, emit func(vfs.DirEntry) bool) abi.Errno {
	if pos < 2 {
		next, ok := Dots(o.Loc, pos, emit)
		if !ok {
			return 0
		}
		pos = next
	}
	return o.List(c, pos, emit)
}

// Dots emits "." (position 0) and ".." (position 1) for loc, and says whether to go on at 2.
func Dots(loc vfs.Location, pos int64, emit func(vfs.DirEntry) bool) (int64, bool) {
	inode := func(d *vfs.Dentry) uint64 {
		if d == nil || d.Node() == nil {
			return 1
		}
		a, _ := d.Node().Attr(nil)
		return a.Ino
	}
	if pos <= 0 {
		if !emit(vfs.DirEntry{Name: ".", Ino: inode(loc.Dentry), Type: abi.DT_DIR, Next: 1}) {
			return 1, false
		}
	}
	if !emit(vfs.DirEntry{Name: "..", Ino: inode(loc.Dentry.Parent()), Type: abi.DT_DIR, Next: 2}) {
		return 2, false
	}
	return 2, true
}

// File is a file that is made when it is read.
type File struct {
	vfs.BaseNode
	Meta
	// Make makes the content; nil: the file cannot be read (EIO, as sysfs says).
	Make func(c *vfs.Caller) ([]byte, abi.Errno)
	// Take is given what one write(2) wrote; nil: EIO.
	Take func(c *vfs.Caller, b []byte) abi.Errno
	// Check is asked when the file is opened, beyond the mode; nil: nothing more.
	Check func(c *vfs.Caller, flags uint32) abi.Errno
}

// File makes a File with permission bits perm.
func (t *Tree) File(perm uint32, read func(c *vfs.Caller) ([]byte, abi.Errno)) *File {
	return &File{Meta: t.Meta(abi.S_IFREG | perm), Make: read}
}

// Text is a read-only File whose content has no errors.
func (t *Tree) Text(f func() string) *File {
	return t.File(0o444, func(*vfs.Caller) ([]byte, abi.Errno) { return []byte(f()), 0 })
}

// Content is a read-only File whose content depends on who reads it.
func (t *Tree) Content(f func(c *vfs.Caller) string) *File {
	return t.File(0o444, func(c *vfs.Caller) ([]byte, abi.Errno) { return []byte(f(c)), 0 })
}

// Const is a read-only File that is always s.
func (t *Tree) Const(s string) *File { return t.Text(func() string { return s }) }

// Attr is the file's.
func (f *File) Attr(c *vfs.Caller) (vfs.Attr, abi.Errno) { return f.Meta.Attr(c) }

// SetAttr is that of made nodes.
func (f *File) SetAttr(c *vfs.Caller, s *vfs.SetAttr) abi.Errno { return SetAttr(s) }

// Open opens the file.
func (f *File) Open(c *vfs.Caller, flags uint32, loc vfs.Location) (vfs.File, abi.Errno) {
	if f.Check != nil {
		if e := f.Check(c, flags); e != 0 {
			return nil, e
		}
	}
	return &Content{Make: f.Make, Take: f.Take}, 0
}

// Content is an open File.
type Content struct {
	Make func(c *vfs.Caller) ([]byte, abi.Errno)
	Take func(c *vfs.Caller, b []byte) abi.Errno

	made atomic.Pointer[[]byte] // what the reading that is under way sees
}

// Read reads what was made at position 0.
func (o *Content) Read(c *vfs.Caller, dst *mm.Buf, at vfs.At) (int, abi.Errno) {
	if o.Make == nil {
		return 0, abi.EIO
	}
	p := o.made.Load()
	if p == nil || at.Off == 0 {
		b, e := o.Make(c)
		if e != 0 {
			return 0, e
		}
		p = &b
		o.made.Store(p)
	}
	return Slice(dst, *p, at.Off)
}

// Slice fills dst from b at position off.
func Slice(dst *mm.Buf, b []byte, off int64) (int, abi.Errno) {
	if off < 0 || off >= int64(len(b)) {
		return 0, 0
	}
	b = b[off:]
	n, e := dst.Write(b[:min(len(b), dst.Len())])
	if n > 0 {
		e = 0
	}
	return n, e
}

// Write hands over what is written, at any position.
func (o *Content) Write(c *vfs.Caller, src *mm.Buf, at vfs.At) (int, abi.Errno) {
	if o.Take == nil {
		return 0, abi.EIO
	}
	n := src.Len()
	if n > maxWrite {
		return 0, abi.EINVAL
	}
	b := make([]byte, n)
	if got, e := src.Read(b); got < n {
		return 0, cmp.Or(e, abi.EFAULT)
	}
	if e := o.Take(c, b); e != 0 {
		return 0, e
	}
	return n, 0
}

// Release does nothing.
func (*Content) Release() {}

// Seek is Linux's seq_lseek.
func (*Content) Seek(c *vfs.Caller, pos, off int64, whence int) (int64, abi.Errno) {
	return seek(pos, off, whence)
}

// Link is a symbolic link.
type Link struct {
	vfs.BaseNode
	Meta
	Target func(c *vfs.Caller) (string, abi.Errno)
}

// Link makes a link whose target is made when somebody looks.
func (t *Tree) Link(target func(c *vfs.Caller) (string, abi.Errno)) *Link {
	return &Link{Meta: t.Meta(abi.S_IFLNK | 0o777), Target: target}
}

// ConstLink is a link that always leads to target.
func (t *Tree) ConstLink(target string) *Link {
	return t.Link(func(*vfs.Caller) (string, abi.Errno) { return target, 0 })
}

// Attr is the link's.
func (l *Link) Attr(c *vfs.Caller) (vfs.Attr, abi.Errno) { return l.Meta.Attr(c) }

// SetAttr is that of made nodes.
func (l *Link) SetAttr(c *vfs.Caller, s *vfs.SetAttr) abi.Errno { return SetAttr(s) }

// Readlink is the target.
func (l *Link) Readlink(c *vfs.Caller) (string, abi.Errno) { return l.Target(c) }

// Names are the names of the directory's entries, sorted: for tests.
func (d *Dir) Names() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	var s []string
	for i := range d.list {
		s = append(s, d.list[i].name)
	}
	slices.Sort(s)
	return s
}
