package proc

import (
	"fmt"
	"strings"

	"goum/arch/abi"
	"goum/kernel/fd"
	"goum/kernel/fs/made"
	"goum/kernel/fs/vfs"
	"goum/kernel/task"
)

// fdDir is /proc/PID/fd and fdinfo: a name for each open descriptor.
type fdDir struct {
	vfs.BaseNode
	made.Meta
	dir  *dir
	info bool
}

func newFDDir(d *dir, m made.Meta) vfs.Node     { return &fdDir{Meta: m, dir: d} }
func newFDInfoDir(d *dir, m made.Meta) vfs.Node { return &fdDir{Meta: m, dir: d, info: true} }

// Attr is the directory's; the size of fd is how many descriptors there are.
func (f *fdDir) Attr(c *vfs.Caller) (vfs.Attr, abi.Errno) {
	if f.dir.gone() {
		return vfs.Attr{}, abi.ESRCH
	}
	a, e := f.Meta.Attr(c)
	if t := f.table(); t != nil && !f.info {
		a.Size = int64(t.Count())
	}
	return a, e
}

// SetAttr lets nothing of weight be changed.
func (f *fdDir) SetAttr(c *vfs.Caller, s *vfs.SetAttr) abi.Errno { return made.SetAttr(s) }

// Permit lets the process itself in whatever its mode says: after a set*uid its files belong to root. fdinfo asks for more than the mode.
func (f *fdDir) Permit(c *vfs.Caller, mask uint32) abi.Errno {
	if t := task.Of(c); t != nil && t.Process == f.dir.task.Process {
		return 0
	}
	if f.info && !callerMay(c, f.dir.task) {
		return abi.EACCES
	}
	a, e := f.Attr(c)
	if e != 0 {
		return e
	}
	return c.PermitAttr(&a, mask)
}

func (f *fdDir) table() *fd.Table { return f.dir.task.FDs() }

// open finds the open file of number n, referenced for the caller: ENOENT.
func (f *fdDir) open(n int32) (*vfs.Open, abi.Errno) {
	t := f.table()
	if t == nil {
		return nil, abi.ENOENT
	}
	o, e := t.Get(n)
	if e != 0 {
		return nil, abi.ENOENT
	}
	return o, 0
}

// fdIndex is where the inode numbers of descriptors begin, in a task's range.
const fdIndex = 1 << 16

// Lookup finds a descriptor by its number.
func (f *fdDir) Lookup(c *vfs.Caller, name string) (vfs.Node, abi.Errno) {
	n, ok := number(name)
	if !ok {
		return nil, abi.ENOENT
	}
	o, e := f.open(n)
	if e != 0 {
		return nil, e
	}
	defer o.Unref()
	if f.info {
		return &fdInfo{dir: f, n: n, file: o}, 0
	}
	perm := uint32(0)
	if o.Readable() {
		perm |= 0o500
	}
	if o.Writable() {
		perm |= 0o300
	}
	if o.IsPath() || perm == 0 {
		perm |= 0o100
	}
	return &fdLink{magic: magic{dir: f.dir, index: fdIndex + int(n), perm: perm, to: func(d *dir, c *vfs.Caller) (vfs.Location, abi.Errno) {
		o, e := f.open(n)
		if e != 0 {
			return vfs.Location{}, e
		}
		defer o.Unref()
		return o.Loc, 0
	}}, file: o}, 0
}

// fdLink is /proc/PID/fd/N.
type fdLink struct {
	magic
	file *vfs.Open // for comparison only: not counted
}

// fdInfo is /proc/PID/fdinfo/N.
type fdInfo struct {
	vfs.BaseNode
	dir  *fdDir
	n    int32
	file *vfs.Open // for comparison only
}

// Valid says whether a cached number still means the same open file.
func (f *fdDir) Valid(c *vfs.Caller, name string, n vfs.Node) bool {
	id, ok := number(name)
	if !ok {
		return true
	}
	o, e := f.open(id)
	if e != 0 {
		return false
	}
	defer o.Unref()
	switch n := n.(type) {
	case *fdLink:
		return n.file == o
	case *fdInfo:
		return n.file == o
	}
	return false
}

// Open opens the directory for listing.
func (f *fdDir) Open(c *vfs.Caller, flags uint32, loc vfs.Location) (vfs.File, abi.Errno) {
	return &made.OpenDir{Loc: loc, List: func(c *vfs.Caller, pos int64, emit func(vfs.DirEntry) bool) abi.Errno {
		typ := uint8(abi.DT_LNK)
		if f.info {
			typ = abi.DT_REG
		}
		t := f.table()
		if t == nil {
			return 0
		}
		for n := int32(min(pos-2, 1<<30)); ; n++ {
			next, o, ok := t.Next(n)
			if !ok {
				return 0
			}
			o.Unref()
			n = next
			if !emit(vfs.DirEntry{Name: fmt.Sprint(n), Ino: inode(f.dir.id, fdIndex+int(n)), Type: typ, Next: int64(n) + 3}) {
				return 0
			}
		}
	}}, 0
}

// Attr is the file's.
func (i *fdInfo) Attr(c *vfs.Caller) (vfs.Attr, abi.Errno) {
	if i.dir.dir.gone() {
		return vfs.Attr{}, abi.ESRCH
	}
	m := i.dir.dir.meta(fdIndex+int(i.n), abi.S_IFREG|0o444)
	return m.Attr(c)
}

// SetAttr lets nothing of weight be changed.
func (i *fdInfo) SetAttr(c *vfs.Caller, s *vfs.SetAttr) abi.Errno { return made.SetAttr(s) }

// Open opens the file: EACCES, ENOENT.
func (i *fdInfo) Open(c *vfs.Caller, flags uint32, loc vfs.Location) (vfs.File, abi.Errno) {
	if !callerMay(c, i.dir.dir.task) {
		return nil, abi.EACCES
	}
	return &made.Content{Make: func(c *vfs.Caller) ([]byte, abi.Errno) {
		o, e := i.dir.open(i.n)
		if e != 0 {
			return nil, e
		}
		defer o.Unref()
		flags := o.GetFlags()
		if t := i.dir.table(); t != nil && t.GetCloseOnExec(i.n) {
			flags |= abi.O_CLOEXEC
		}
		var b strings.Builder
		id := 0
		if m := o.Loc.Mount; m != nil {
			id = m.ID
		}
		a, _ := o.Attr(c)
		fmt.Fprintf(&b, "pos:\t%d\nflags:\t0%o\nmnt_id:\t%d\nino:\t%d\n", o.Pos(), flags, id, a.Ino)
		if d, ok := o.File.(vfs.Describer); ok {
			b.WriteString(d.Describe(c))
		}
		return []byte(b.String()), 0
	}}, 0
}
