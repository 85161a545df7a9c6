package tmpfs

import (
	"goum/arch/abi"
	"goum/kernel/fs/pagecache"
	"goum/kernel/fs/vfs"
	"goum/mm"
	"goum/sched"
)

// fileNode is a regular file, and itself the File of each open(2).
type fileNode struct {
	node
	pages *pagecache.Pages
	gate  sched.Gate // around changes of size and holes

	// guarded by fs.mu
	seals    uint32
	nameless bool // O_TMPFILE, and never linked yet
}

// Attr is vfs.Node's.
func (f *fileNode) Attr(*vfs.Caller) (vfs.Attr, abi.Errno) {
	a := f.attr()
	a.Size = f.pages.Size()
	a.Blocks = uint64(f.pages.Count()) * (pageSize / 512)
	return a, 0
}

// SetAttr is vfs.Node's. EPERM (seals), EFBIG.
func (f *fileNode) SetAttr(c *vfs.Caller, s *vfs.SetAttr) abi.Errno {
	if s.Valid&vfs.SetMode != 0 && f.Seals()&abi.F_SEAL_EXEC != 0 && (f.perms()^s.Mode)&0o111 != 0 {
		return abi.EPERM
	}
	if s.Valid&vfs.SetSize != 0 {
		f.gate.Lock(c.Thread)
		defer f.gate.Unlock()
		old := f.pages.Size()
		seals := f.Seals()
		if s.Size < old && seals&abi.F_SEAL_SHRINK != 0 || s.Size > old && seals&abi.F_SEAL_GROW != 0 {
			return abi.EPERM
		}
		f.pages.Truncate(s.Size) // the same size drops what was reserved behind it
		if s.Size != old {
			f.changed()
		}
	}
	if s.Valid&^vfs.SetSize != 0 {
		f.set(s)
	}
	return 0
}

func (f *fileNode) perms() uint32 {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	return f.mode & 0o7777
}

// Evict is vfs.Evicter's.
func (f *fileNode) Evict() {
	if f.free() {
		f.pages.Close()
	}
}

// Open is vfs.Node's.
func (f *fileNode) Open(*vfs.Caller, uint32, vfs.Location) (vfs.File, abi.Errno) { return f, 0 }

// Release is vfs.File's.
func (f *fileNode) Release() {}

// Read is vfs.File's.
func (f *fileNode) Read(c *vfs.Caller, dst *mm.Buf, at vfs.At) (int, abi.Errno) {
	return f.pages.ReadAt(dst, at.Off)
}

// Write is vfs.File's: EFBIG, EPERM (seals), ENOSPC, ENOMEM, EFAULT.
func (f *fileNode) Write(c *vfs.Caller, src *mm.Buf, at vfs.At) (int, abi.Errno) {
	f.gate.Lock(c.Thread)
	n, e := f.write(c, src, at.Off)
	f.gate.Unlock()
	return n, e
}

// WriteAppend is vfs.Appender's.
func (f *fileNode) WriteAppend(c *vfs.Caller, src *mm.Buf, at vfs.At) (int, int64, abi.Errno) {
	f.gate.Lock(c.Thread)
	off := f.pages.Size()
	n, e := f.write(c, src, off)
	f.gate.Unlock()
	return n, off + int64(n), e
}

// write is Write with the gate held.
func (f *fileNode) write(c *vfs.Caller, src *mm.Buf, off int64) (int, abi.Errno) {
	n, e := c.FileLimit(off, src.Len(), pagecache.MaxSize)
	if e != 0 || n == 0 {
		return 0, e
	}
	f.fs.mu.Lock()
	seals, mode := f.seals, f.mode
	if m := c.KillSuid(mode); m != mode {
		f.mode = m
	}
	f.fs.mu.Unlock()
	if seals&(abi.F_SEAL_WRITE|abi.F_SEAL_FUTURE_WRITE) != 0 {
		return 0, abi.EPERM
	}
	if size := f.pages.Size(); seals&abi.F_SEAL_GROW != 0 && off+int64(n) > size {
		// Whole pages below the end are written; the one that would move it is refused.
		if n = int(size&^(pageSize-1) - off); n <= 0 {
			return 0, abi.EPERM
		}
	}
	f.changed()
	return f.pages.WriteAt(src, off, n)
}

// Seek is vfs.Seeker's.
func (f *fileNode) Seek(c *vfs.Caller, pos, off int64, whence int) (int64, abi.Errno) {
	switch whence {
	case abi.SEEK_DATA:
		return f.pages.SeekData(off)
	case abi.SEEK_HOLE:
		return f.pages.SeekHole(off)
	}
	return vfs.SeekSize(pos, off, whence, f.pages.Size(), pagecache.MaxSize)
}

// Sync is vfs.Syncer's.
func (f *fileNode) Sync(*vfs.Caller, bool) abi.Errno { return 0 }

// Map is vfs.Mapper's: EPERM (a seal).
func (f *fileNode) Map(c *vfs.Caller, o *mm.MapOpts) abi.Errno {
	if o.Flags&abi.MAP_SHARED != 0 && f.Seals()&(abi.F_SEAL_WRITE|abi.F_SEAL_FUTURE_WRITE) != 0 {
		if o.Prot&abi.PROT_WRITE != 0 {
			return abi.EPERM
		}
		o.Deny |= abi.PROT_WRITE
	}
	o.Pager = f.pages
	return 0
}

// Allocate is vfs.Allocater's: what Linux's shmem_fallocate can, KEEP_SIZE and PUNCH_HOLE. EOPNOTSUPP, EPERM (seals), EFBIG, ENOSPC.
func (f *fileNode) Allocate(c *vfs.Caller, mode uint32, off, length int64) abi.Errno {
	if mode&^(abi.FALLOC_FL_KEEP_SIZE|abi.FALLOC_FL_PUNCH_HOLE) != 0 {
		return abi.EOPNOTSUPP
	}
	f.gate.Lock(c.Thread)
	defer f.gate.Unlock()
	seals, size := f.Seals(), f.pages.Size()
	if mode&abi.FALLOC_FL_PUNCH_HOLE != 0 {
		if seals&(abi.F_SEAL_WRITE|abi.F_SEAL_FUTURE_WRITE) != 0 {
			return abi.EPERM
		}
		f.pages.Punch(off, length)
		f.changed()
		return 0
	}
	end := off + length
	if mode&abi.FALLOC_FL_KEEP_SIZE == 0 && end > size {
		if lim := c.Limits; lim != nil {
			if r := lim.Cur(abi.RLIMIT_FSIZE); r != abi.RLIM_INFINITY && uint64(end) > r {
				if c.Raise != nil {
					c.Raise(abi.SIGXFSZ)
				}
				return abi.EFBIG
			}
		}
		if seals&abi.F_SEAL_GROW != 0 {
			return abi.EPERM
		}
	}
	if e := f.pages.Allocate(off, length); e != 0 {
		return e
	}
	if mode&abi.FALLOC_FL_KEEP_SIZE == 0 && end > size {
		f.pages.SetSize(end)
	}
	f.ctime.Store(f.fs.sys.Now())
	return 0
}

// Seals are the file's seals: memfd_create(2).
func (f *fileNode) Seals() uint32 {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	return f.seals
}

const allSeals = abi.F_SEAL_SEAL | abi.F_SEAL_EXEC | abi.F_SEAL_SHRINK | abi.F_SEAL_GROW | abi.F_SEAL_WRITE | abi.F_SEAL_FUTURE_WRITE

// Fcntl is vfs.Controller's: F_ADD_SEALS (EPERM, EINVAL, EBUSY) and F_GET_SEALS.
func (f *fileNode) Fcntl(c *vfs.Caller, o *vfs.Open, cmd int, arg uint64) (uint64, abi.Errno, bool) {
	switch cmd {
	case abi.F_GET_SEALS:
		return uint64(f.Seals()), 0, true
	case abi.F_ADD_SEALS:
		return 0, f.addSeals(c, o, arg), true
	}
	return 0, 0, false
}

func (f *fileNode) addSeals(c *vfs.Caller, o *vfs.Open, arg uint64) abi.Errno {
	if uint32(arg) != uint32(arg)&allSeals || arg>>32 != 0 {
		return abi.EINVAL
	}
	seals := uint32(arg)
	if !o.Writable() {
		return abi.EPERM
	}
	f.gate.Lock(c.Thread)
	defer f.gate.Unlock()
	busy := f.pages.Writable()
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if f.seals&abi.F_SEAL_SEAL != 0 {
		return abi.EPERM
	}
	if seals&abi.F_SEAL_WRITE != 0 && f.seals&abi.F_SEAL_WRITE == 0 && busy {
		return abi.EBUSY
	}
	if seals&abi.F_SEAL_EXEC != 0 && f.mode&0o111 != 0 {
		seals |= abi.F_SEAL_SHRINK | abi.F_SEAL_GROW | abi.F_SEAL_WRITE | abi.F_SEAL_FUTURE_WRITE
	}
	f.seals |= seals
	return 0
}

// NewInternal makes the tmpfs that is mounted nowhere, for Memfd.
func NewInternal(sys *vfs.System, cache *pagecache.Cache) *FS {
	f := New(sys, cache, Options{NoLimit: true, Inodes: 1 << 40})
	f.super.Dev = abi.Makedev(0, 1)
	f.mount = sys.MountInternal(f.super, "tmpfs").Mount
	return f
}

// Memfd is memfd_create(2): name (checked and copied already) shows in /proc/PID/fd, flags are MFD_ALLOW_SEALING, MFD_NOEXEC_SEAL and
// MFD_EXEC. f is from NewInternal.
func (f *FS) Memfd(c *vfs.Caller, name string, flags uint32) (*vfs.Open, abi.Errno) {
	mode := uint32(abi.S_IFREG | 0o777)
	seals := uint32(abi.F_SEAL_SEAL)
	if flags&abi.MFD_ALLOW_SEALING != 0 {
		seals = 0
	}
	if flags&abi.MFD_NOEXEC_SEAL != 0 {
		mode &^= 0o111
		seals = seals&^abi.F_SEAL_SEAL | abi.F_SEAL_EXEC
	}
	n, e := f.newNode(vfs.Making{Mode: mode, UID: c.Cred.FSUID, GID: c.Cred.FSGID})
	if e != 0 {
		return nil, e
	}
	file := n.(*fileNode)
	f.mu.Lock()
	file.seals, file.nlink = seals, 0
	f.mu.Unlock()
	return c.OpenNode(f.mount, "/memfd:"+name+" (deleted)", file, abi.O_RDWR)
}

// Shared makes a nameless file of size bytes, for SysV shared memory and the like: text is what /proc/PID/maps shows. f is from
// NewInternal.
func (f *FS) Shared(c *vfs.Caller, text string, size int64, mode uint32) (*vfs.Open, abi.Errno) {
	n, e := f.newNode(vfs.Making{Mode: abi.S_IFREG | mode&0o777, UID: c.Cred.FSUID, GID: c.Cred.FSGID})
	if e != 0 {
		return nil, e
	}
	file := n.(*fileNode)
	f.mu.Lock()
	file.nlink = 0
	f.mu.Unlock()
	file.pages.SetSize(size)
	return c.OpenNode(f.mount, text, file, abi.O_RDWR)
}

// Pager is the pager of an open file that lies in a tmpfs: for those who map it without mmap(2).
func Pager(o *vfs.Open) (mm.Pager, bool) {
	f, ok := o.File.(*fileNode)
	if !ok {
		return nil, false
	}
	return f.pages, true
}
