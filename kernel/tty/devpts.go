package tty

import (
	"slices"
	"strconv"
	"strings"

	"goum/arch/abi"
	"goum/arch/lock"
	"goum/kernel/fs/vfs"
)

// Devpts is one mount of devpts: a directory with ptmx and the slaves. Each mount has numbers of its own.
type Devpts struct {
	ptys *Ptys
	root *ptsRoot

	mu      lock.Mutex[lock.Inode]
	options ptsOptions
	taken   map[uint32]*pty // until both halves are closed
	listed  map[uint32]*ptsNode
	ptmx    *ptsNode
}

type ptsOptions struct {
	mode, ptmxmode uint32
	uid, gid       uint32
	setUID, setGID bool
	max            uint32
}

const (
	devptsPtmx    = "ptmx"
	devptsRootIno = 1
	devptsPtmxIno = 2
)

// parsePtsOptions reads the options of mount(2): EINVAL.
func parsePtsOptions(data string) (ptsOptions, abi.Errno) {
	o := ptsOptions{mode: 0o600, max: MaxPtys}
	for opt := range strings.SplitSeq(data, ",") {
		key, val, has := strings.Cut(opt, "=")
		number := func(base int) uint32 {
			n, err := strconv.ParseUint(val, base, 32)
			if err != nil || !has {
				key = "?"
			}
			return uint32(n)
		}
		switch key {
		case "":
		case "newinstance":
		case "mode":
			o.mode = number(8) & 0o7777
		case "ptmxmode":
			o.ptmxmode = number(8) & 0o7777
		case "uid":
			o.uid, o.setUID = number(10), true
		case "gid":
			o.gid, o.setGID = number(10), true
		case "max":
			if o.max = number(10); o.max > MaxPtys {
				return o, abi.EINVAL
			}
		default:
			return o, abi.EINVAL
		}
		if key == "?" {
			return o, abi.EINVAL
		}
	}
	return o, 0
}

func (p *Ptys) mount(c *vfs.Caller, source string, flags uint32, data string) (*vfs.Super, abi.Errno) {
	o, e := parsePtsOptions(data)
	if e != 0 {
		return nil, e
	}
	d := &Devpts{ptys: p, options: o, taken: make(map[uint32]*pty), listed: make(map[uint32]*ptsNode)}
	now := p.now()
	d.root = &ptsRoot{fs: d}
	d.root.attr = vfs.Attr{Ino: devptsRootIno, Mode: abi.S_IFDIR | 0o755, Nlink: 2, BlockSize: 1024, Atime: now, Mtime: now, Ctime: now}
	d.ptmx = &ptsNode{fs: d}
	d.ptmx.attr = vfs.Attr{Ino: devptsPtmxIno, Mode: abi.S_IFCHR | o.ptmxmode, Nlink: 1, BlockSize: 1024,
		Rdev: abi.Makedev(majorAux, minorPtmx), Atime: now, Mtime: now, Ctime: now}
	return vfs.NewSuper(p.sys, "devpts", d, d.root), 0
}

func (p *Ptys) now() int64 {
	if p.clk == nil {
		return 0
	}
	return p.clk.Realtime()
}

// Statfs says little, as Linux's simple_statfs.
func (d *Devpts) Statfs(*vfs.Caller) (abi.Statfs, abi.Errno) {
	return abi.Statfs{Type: abi.DEVPTS_SUPER_MAGIC, Bsize: 4096, Namelen: abi.NAME_MAX}, 0
}

// Options is what /proc/mounts shows.
func (d *Devpts) Options() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	var b strings.Builder
	o := &d.options
	if o.setUID {
		b.WriteString(",uid=" + strconv.Itoa(int(o.uid)))
	}
	if o.setGID {
		b.WriteString(",gid=" + strconv.Itoa(int(o.gid)))
	}
	b.WriteString(",mode=" + octal3(o.mode) + ",ptmxmode=" + octal3(o.ptmxmode))
	if o.max < MaxPtys {
		b.WriteString(",max=" + strconv.Itoa(int(o.max)))
	}
	return b.String()
}

func octal3(m uint32) string {
	s := strconv.FormatUint(uint64(m), 8)
	return strings.Repeat("0", max(3-len(s), 0)) + s
}

// Remount changes the options for what is made from now on, and ptmx's mode.
func (d *Devpts) Remount(c *vfs.Caller, flags uint32, data string) abi.Errno {
	o, e := parsePtsOptions(data)
	if e != 0 {
		return e
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.options = o
	d.ptmx.attr.Mode = abi.S_IFCHR | o.ptmxmode
	return 0
}

// add makes a pair with the lowest free number: ENOSPC.
func (d *Devpts) add(c *vfs.Caller) (*pty, abi.Errno) {
	if d.ptys.count.Add(1) > MaxPtys {
		d.ptys.count.Add(-1)
		return nil, abi.ENOSPC
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	index := uint32(0)
	for d.taken[index] != nil {
		index++
	}
	if index >= d.options.max {
		d.ptys.count.Add(-1)
		return nil, abi.ENOSPC
	}
	p := newPair(d, index, d.ptys.clk)
	now := d.ptys.now()
	n := &ptsNode{fs: d, pty: p}
	n.attr = vfs.Attr{Ino: uint64(index) + 3, Mode: abi.S_IFCHR | d.options.mode, Nlink: 1, BlockSize: 1024, UID: c.Cred.FSUID, GID: c.Cred.FSGID,
		Rdev: abi.Makedev(majorPts, index), Atime: now, Mtime: now, Ctime: now}
	if d.options.setUID {
		n.attr.UID = d.options.uid
	}
	if d.options.setGID {
		n.attr.GID = d.options.gid
	}
	p.node = n
	d.taken[index], d.listed[index] = p, n
	return p, 0
}

func (d *Devpts) unlist(p *pty) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.listed[p.index] == p.node {
		delete(d.listed, p.index)
		p.node.attr.Nlink = 0
	}
}

func (d *Devpts) free(p *pty) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.taken[p.index] == p {
		delete(d.taken, p.index)
		d.ptys.count.Add(-1)
	}
}

// find is the node that name names now, or nil.
func (d *Devpts) find(name string) vfs.Node {
	if name == devptsPtmx {
		return d.ptmx
	}
	i, err := strconv.ParseUint(name, 10, 32)
	if err != nil || strconv.FormatUint(i, 10) != name {
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if n := d.listed[uint32(i)]; n != nil {
		return n
	}
	return nil
}

// ptsNode is ptmx, or a slave.
type ptsNode struct {
	vfs.Inode
	fs   *Devpts
	pty  *pty     // nil: ptmx
	attr vfs.Attr // guarded by fs.mu
}

// Attr is the attributes.
func (n *ptsNode) Attr(*vfs.Caller) (vfs.Attr, abi.Errno) {
	n.fs.mu.Lock()
	defer n.fs.mu.Unlock()
	return n.attr, 0
}

// SetAttr changes mode, owner and times.
func (n *ptsNode) SetAttr(_ *vfs.Caller, s *vfs.SetAttr) abi.Errno {
	n.fs.mu.Lock()
	defer n.fs.mu.Unlock()
	setAttr(&n.attr, s, n.fs.ptys.now())
	return 0
}

// Open is never called: it is a device.
func (n *ptsNode) Open(*vfs.Caller, uint32, vfs.Location) (vfs.File, abi.Errno) {
	return nil, abi.ENXIO
}

func setAttr(a *vfs.Attr, s *vfs.SetAttr, now int64) {
	if s.Valid&vfs.SetMode != 0 {
		a.Mode = a.Mode&abi.S_IFMT | s.Mode&0o7777
	}
	if s.Valid&vfs.SetUID != 0 {
		a.UID = s.UID
	}
	if s.Valid&vfs.SetGID != 0 {
		a.GID = s.GID
	}
	if s.Valid&vfs.SetAtime != 0 {
		a.Atime = s.Atime
	}
	if s.Valid&vfs.SetMtime != 0 {
		a.Mtime = s.Mtime
	}
	if s.Valid&vfs.SetAtimeNow != 0 {
		a.Atime = now
	}
	if s.Valid&vfs.SetMtimeNow != 0 {
		a.Mtime = now
	}
	a.Ctime = now
}

// ptsRoot is the directory.
type ptsRoot struct {
	vfs.Inode
	fs   *Devpts
	attr vfs.Attr // guarded by fs.mu
}

// Attr is the attributes.
func (r *ptsRoot) Attr(*vfs.Caller) (vfs.Attr, abi.Errno) {
	r.fs.mu.Lock()
	defer r.fs.mu.Unlock()
	return r.attr, 0
}

// SetAttr changes mode, owner and times.
func (r *ptsRoot) SetAttr(_ *vfs.Caller, s *vfs.SetAttr) abi.Errno {
	r.fs.mu.Lock()
	defer r.fs.mu.Unlock()
	setAttr(&r.attr, s, r.fs.ptys.now())
	return 0
}

// Lookup finds ptmx or a slave.
func (r *ptsRoot) Lookup(_ *vfs.Caller, name string) (vfs.Node, abi.Errno) {
	if n := r.fs.find(name); n != nil {
		return n, 0
	}
	return nil, abi.ENOENT
}

// Valid says whether name still names n.
func (r *ptsRoot) Valid(_ *vfs.Caller, name string, n vfs.Node) bool { return r.fs.find(name) == n }

// Open opens the directory for reading.
func (r *ptsRoot) Open(_ *vfs.Caller, _ uint32, loc vfs.Location) (vfs.File, abi.Errno) {
	return &ptsDir{root: r, loc: loc}, 0
}

// ptsDir is the open directory.
type ptsDir struct {
	vfs.NoFile
	root *ptsRoot
	loc  vfs.Location
}

// Seek moves within the listing.
func (d *ptsDir) Seek(_ *vfs.Caller, pos, off int64, whence int) (int64, abi.Errno) {
	return vfs.SeekSize(pos, off, whence, 0, 1<<32)
}

// ReadDir lists ., .., ptmx (position 2) and slave i at position i+3.
func (d *ptsDir) ReadDir(_ *vfs.Caller, pos int64, emit func(vfs.DirEntry) bool) abi.Errno {
	fs := d.root.fs
	for i, name := range []string{".", "..", devptsPtmx} {
		if pos > int64(i) {
			continue
		}
		e := vfs.DirEntry{Name: name, Ino: devptsRootIno, Type: abi.DT_DIR, Next: int64(i) + 1}
		if i == 2 {
			e.Ino, e.Type = devptsPtmxIno, abi.DT_CHR
		}
		if !emit(e) {
			return 0
		}
	}
	fs.mu.Lock()
	var all []uint32
	for i := range fs.listed {
		if int64(i)+3 >= pos {
			all = append(all, i)
		}
	}
	fs.mu.Unlock()
	slices.Sort(all)
	for _, i := range all {
		if !emit(vfs.DirEntry{Name: strconv.Itoa(int(i)), Ino: uint64(i) + 3, Type: abi.DT_CHR, Next: int64(i) + 4}) {
			return 0
		}
	}
	return 0
}
