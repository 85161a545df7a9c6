// Package tmpfs is the file system in memory: the root that the initramfs is unpacked into, tmpfs mounts, and the files without a
// name of memfd_create(2).
//
// It owns the nodes: files over pagecache.Pages, directories, links, devices, fifos and sockets, with their attributes and extended
// attributes. Errno and limits are those of Linux 6.18's mm/shmem.c.
//
// Invariants:
//   - A node counts against nr_inodes from its making until it is freed: when it has no link and vfs has let go of it (Evict).
//   - nlink of a directory is 2 and one for each directory in it; its order list and its map hold the same entries.
//   - Changes of a regular file's size and holes happen with its gate held; gates are innermost.
//
// Locks: FS.mu (lock.Inode) guards attributes and directories of one file system, and is held for memory only. Times are atomic, so
// that reading a file takes no lock for them.
package tmpfs

import (
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"

	"goum/arch/abi"
	"goum/arch/lock"
	"goum/kernel/fs/pagecache"
	"goum/kernel/fs/vfs"
)

// Options are the mount options.
type Options struct {
	Size     uint64 // bytes; 0: half of all memory
	NoLimit  bool   // size=0: as much as there is
	Inodes   uint64 // 0: half as many as there are pages of memory
	Mode     uint32 // of the root; 0: 01777
	UID, GID uint32
}

// FS is one mounted tmpfs.
type FS struct {
	// immutable after New
	sys   *vfs.System
	cache *pagecache.Cache
	opts  Options
	super *vfs.Super
	root  *dirNode
	dsize uint64 // the default size, pages
	dino  uint64 // the default number of inodes
	mount *vfs.Mount

	// atomic
	maxPages, usedPages atomic.Int64 // maxPages 0: no limit
	maxSpace, usedSpace atomic.Int64 // of nr_inodes, in bytes
	ino                 atomic.Uint64

	mu lock.Mutex[lock.Inode]
}

// New makes a tmpfs, to be mounted. Times come from sys.
func New(sys *vfs.System, cache *pagecache.Cache, o Options) *FS {
	f := &FS{sys: sys, cache: cache, opts: o}
	total := cache.Memory().Stats().Total
	f.dsize, f.dino = total/2, total/2
	f.setLimits()
	mode := o.Mode
	if mode == 0 {
		mode = 0o1777
	}
	f.root = &dirNode{}
	f.init(&f.root.node, abi.S_IFDIR|mode&0o7777, o.UID, o.GID)
	f.usedSpace.Add(inodeSpace)
	f.root.nlink, f.root.parent = 2, f.root
	f.super = vfs.NewSuper(sys, "tmpfs", f, f.root)
	return f
}

func (f *FS) setLimits() {
	switch {
	case f.opts.NoLimit:
		f.maxPages.Store(0)
	case f.opts.Size == 0:
		f.maxPages.Store(int64(f.dsize))
	default:
		f.maxPages.Store(int64((f.opts.Size + pageSize - 1) / pageSize))
	}
	n := f.opts.Inodes
	if n == 0 {
		n = f.dino
	}
	f.maxSpace.Store(int64(min(n, 1<<40) * inodeSpace))
}

// Super is what is mounted.
func (f *FS) Super() *vfs.Super { return f.super }

// Register makes mount(2) know tmpfs, and ramfs, which is one without a limit.
func Register(sys *vfs.System, cache *pagecache.Cache) {
	sys.Register(vfs.Type{Name: "tmpfs", Nodev: true, Mount: func(c *vfs.Caller, source string, flags uint32, data string) (*vfs.Super, abi.Errno) {
		o, e := Parse(data, cache.Memory().Stats().Total, Options{})
		if e != 0 {
			return nil, e
		}
		return New(sys, cache, o).super, 0
	}})
	sys.Register(vfs.Type{Name: "ramfs", Nodev: true, Mount: func(c *vfs.Caller, source string, flags uint32, data string) (*vfs.Super, abi.Errno) {
		o := Options{NoLimit: true, Mode: 0o755}
		for _, w := range strings.Split(data, ",") {
			if v, ok := strings.CutPrefix(w, "mode="); ok {
				m, err := strconv.ParseUint(v, 8, 32)
				if err != nil {
					return nil, abi.EINVAL
				}
				o.Mode = uint32(m)
			}
		}
		f := New(sys, cache, o)
		f.super.Type = "ramfs"
		return f.super, 0
	}})
}

// Parse reads the options of mount(2) over those in o. memory is the machine's, in pages, for percentages. EINVAL.
func Parse(data string, memory uint64, o Options) (Options, abi.Errno) {
	for _, w := range strings.Split(data, ",") {
		if w == "" {
			continue
		}
		key, v, _ := strings.Cut(w, "=")
		ok := true
		switch key {
		case "size":
			o.NoLimit = false
			if p, percent := strings.CutSuffix(v, "%"); percent {
				n, err := strconv.ParseUint(p, 10, 32)
				ok = err == nil
				o.Size = min(n, 1<<20) * min(memory, 1<<28) / 100 * pageSize
			} else {
				o.Size, ok = bytes(v)
			}
			o.NoLimit = ok && o.Size == 0
		case "nr_blocks":
			o.Size, ok = bytes(v)
			if o.Size > 1<<50 {
				ok = false
			}
			o.Size *= pageSize
			o.NoLimit = ok && o.Size == 0
		case "nr_inodes":
			o.Inodes, ok = bytes(v)
			if o.Inodes == 0 {
				o.Inodes = 1 << 40
			}
		case "mode":
			n, err := strconv.ParseUint(v, 8, 32)
			o.Mode, ok = uint32(n)&0o7777, err == nil
		case "uid", "gid":
			n, err := strconv.ParseUint(v, 10, 32)
			ok = err == nil && n != 1<<32-1
			if key == "uid" {
				o.UID = uint32(n)
			} else {
				o.GID = uint32(n)
			}
		case "huge", "mpol", "inode32", "inode64", "noswap":
			// What they ask for makes no difference here.
		default:
			ok = false
		}
		if !ok {
			return o, abi.EINVAL
		}
	}
	return o, 0
}

// bytes is Linux's memparse: a number in any base, with a suffix k, m, g, t, p or e.
func bytes(s string) (uint64, bool) {
	shift := 0
	if n := len(s); n > 0 {
		if i := strings.IndexByte("kmgtpe", s[n-1]|0x20); i >= 0 && !(strings.HasPrefix(s, "0x") && s[n-1]|0x20 == 'e') {
			shift = 10 * (i + 1)
			s = s[:n-1]
		}
	}
	n, err := strconv.ParseUint(s, 0, 64)
	if err != nil || n > 1<<63>>shift {
		return 0, false
	}
	return n << shift, true
}

// Options shows them as Linux does in /proc/mounts.
func (f *FS) Options() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.super.Type == "ramfs" {
		return ""
	}
	var b strings.Builder
	if m := f.maxPages.Load(); m != int64(f.dsize) && !f.opts.NoLimit {
		fmt.Fprintf(&b, ",size=%dk", m*pageSize/1024)
	}
	if n := f.maxSpace.Load() / inodeSpace; n != int64(f.dino) {
		fmt.Fprintf(&b, ",nr_inodes=%d", n)
	}
	if f.opts.Mode != 0 && f.opts.Mode != 0o1777 {
		fmt.Fprintf(&b, ",mode=%03o", f.opts.Mode)
	}
	if f.opts.UID != 0 {
		fmt.Fprintf(&b, ",uid=%d", f.opts.UID)
	}
	if f.opts.GID != 0 {
		fmt.Fprintf(&b, ",gid=%d", f.opts.GID)
	}
	b.WriteString(",inode64")
	return b.String()
}

// Remount takes other limits: EINVAL if more is in use already.
func (f *FS) Remount(c *vfs.Caller, flags uint32, data string) abi.Errno {
	f.mu.Lock()
	defer f.mu.Unlock()
	o, e := Parse(data, 2*f.dsize, f.opts)
	if e != 0 {
		return e
	}
	if o.Size != 0 && !o.NoLimit && int64((o.Size+pageSize-1)/pageSize) < f.usedPages.Load() {
		return abi.EINVAL
	}
	if o.Inodes != 0 && int64(min(o.Inodes, 1<<40)*inodeSpace) < f.usedSpace.Load() {
		return abi.EINVAL
	}
	o.Mode, o.UID, o.GID = f.opts.Mode, f.opts.UID, f.opts.GID
	f.opts = o
	f.setLimits()
	return 0
}

// Statfs is what statfs(2) tells.
func (f *FS) Statfs(*vfs.Caller) (abi.Statfs, abi.Errno) {
	s := abi.Statfs{Type: abi.TMPFS_MAGIC, Bsize: pageSize, Namelen: abi.NAME_MAX}
	if f.super.Type == "ramfs" {
		s.Type = abi.RAMFS_MAGIC
		return s, 0
	}
	if m := f.maxPages.Load(); m > 0 {
		s.Blocks = uint64(m)
		s.Bfree = uint64(max(m-f.usedPages.Load(), 0))
		s.Bavail = s.Bfree
	}
	s.Files = uint64(f.maxSpace.Load() / inodeSpace)
	s.Ffree = uint64(max(f.maxSpace.Load()-f.usedSpace.Load(), 0) / inodeSpace)
	return s, 0
}

// Unmounted lets all files go. Pages that are still mapped go with their last mapping.
func (f *FS) Unmounted() {
	f.mu.Lock()
	var files []*fileNode
	for dirs := []*dirNode{f.root}; len(dirs) > 0; {
		d := dirs[len(dirs)-1]
		dirs = dirs[:len(dirs)-1]
		for _, e := range d.entries {
			switch n := e.node.(type) {
			case *dirNode:
				dirs = append(dirs, n)
			case *fileNode:
				files = append(files, n)
			}
		}
		d.entries, d.order = nil, nil
	}
	f.mu.Unlock()
	for _, n := range files {
		n.pages.Close()
	}
}

// Charge is pagecache.Charger's.
func (f *FS) Charge(n int) int {
	for {
		used, most := f.usedPages.Load(), f.maxPages.Load()
		if most > 0 {
			n = int(min(int64(n), most-used))
		}
		if n <= 0 {
			return 0
		}
		if f.usedPages.CompareAndSwap(used, used+int64(n)) {
			return n
		}
	}
}

// Uncharge is pagecache.Charger's.
func (f *FS) Uncharge(n int) { f.usedPages.Add(-int64(n)) }

// reserve takes bytes of the inodes' space: ENOSPC.
func (f *FS) reserve(n int64) abi.Errno {
	if f.usedSpace.Add(n) > f.maxSpace.Load() {
		f.usedSpace.Add(-n)
		return abi.ENOSPC
	}
	return 0
}

func (f *FS) release(n int64) { f.usedSpace.Add(-n) }
