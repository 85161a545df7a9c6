package vfs

import (
	"math"
	"sync/atomic"

	"goum/arch/abi"
	"goum/arch/lock"
	"goum/kernel/cred"
	"goum/mm"
	"goum/sched"
)

// Open is an open file description: what descriptors of one open(2) share.
type Open struct {
	// immutable
	File  File
	Loc   Location // counted
	Cred  *cred.Cred
	read  bool
	write bool
	path  bool // O_PATH: names a place, and does nothing else
	strm  bool // no position: reads and writes do not queue up behind each other
	wrote bool // counts as a writer of the node

	refs  atomic.Int32
	flags atomic.Uint32 // status flags, and O_ACCMODE as it was opened

	gate sched.Gate // while the position is in use
	pos  atomic.Int64

	mu    lock.Mutex[lock.OpenFile]
	owner Owner
	sig   int32
	locks atomic.Uint32 // bits: has or had a flock, OFD lock
}

// Owner is who gets SIGIO for an open file: F_SETOWN_EX.
type Owner struct {
	Type int32 // abi.F_OWNER_TID, PID, PGRP
	ID   int32 // 0: nobody
	Cred *cred.Cred
	Sink any // what the setter wants to keep with it: a signal.Target
}

// statusFlags are what F_GETFL shows beside the access mode.
const statusFlags = abi.O_APPEND | abi.O_NONBLOCK | abi.O_DSYNC | abi.O_SYNC | abi.O_ASYNC | abi.O_DIRECT | abi.O_NOATIME |
	abi.O_PATH | abi.O_DIRECTORY | abi.O_NOFOLLOW | abi.O_TMPFILE

// largefile is O_LARGEFILE as open(2) sets it for a 64-bit program, and F_GETFL shows it; pipes, sockets and the like do not have it.
const largefile = 0x8000

// NewOpen makes an open file with one reference. flags are open(2)'s; loc is counted from here on. File f is released with it.
func NewOpen(f File, loc Location, flags uint32) *Open {
	acc := flags & abi.O_ACCMODE
	o := &Open{File: f, Loc: loc, path: flags&abi.O_PATH != 0}
	o.read = !o.path && (acc == abi.O_RDONLY || acc == abi.O_RDWR)
	o.write = !o.path && (acc == abi.O_WRONLY || acc == abi.O_RDWR)
	if _, ok := f.(Seeker); !ok {
		_, dir := f.(DirReader)
		o.strm = !dir
	}
	o.refs.Store(1)
	o.flags.Store(flags & (statusFlags | abi.O_ACCMODE))
	loc.Ref()
	return o
}

// Ref adds a reference.
func (o *Open) Ref() { o.refs.Add(1) }

// TryRef adds a reference unless the last is gone already.
func (o *Open) TryRef() bool {
	for {
		n := o.refs.Load()
		if n <= 0 {
			return false
		}
		if o.refs.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// Refs is the number of references, for tests and /proc.
func (o *Open) Refs() int { return int(o.refs.Load()) }

// Unref drops a reference; the last one releases locks, File and Location.
func (o *Open) Unref() {
	n := o.refs.Add(-1)
	if n > 0 {
		return
	}
	if n < 0 {
		panic("vfs: an open file was let go once too often")
	}
	node := o.Loc.Node()
	if node != nil {
		if o.locks.Load() != 0 {
			node.VFS().releaseOpen(o)
		}
		if !o.path {
			if o.write {
				o.Notify(abi.IN_CLOSE_WRITE)
			} else {
				o.Notify(abi.IN_CLOSE_NOWRITE)
			}
		}
	}
	if a, ok := o.File.(Asyncer); ok && o.Flags()&abi.O_ASYNC != 0 {
		a.SetAsync(o, false)
	}
	if o.File != nil {
		o.File.Release()
	}
	if o.wrote {
		node.VFS().EndWrite()
		o.Loc.Mount.endWrite()
	}
	o.Loc.Unref()
}

// Flush is what close(2) of one descriptor does before its reference goes: it releases owner's POSIX locks (owner is what the
// descriptor table hands to Lock), and answers what the File says.
func (o *Open) Flush(c *Caller, owner any) abi.Errno {
	if o.path {
		return 0
	}
	if n := o.Loc.Node(); n != nil {
		n.VFS().releasePosix(owner)
	}
	if f, ok := o.File.(Flusher); ok {
		return f.Flush(c)
	}
	return 0
}

// Readable says whether the file was opened for reading.
func (o *Open) Readable() bool { return o.read }

// Writable says whether the file was opened for writing.
func (o *Open) Writable() bool { return o.write }

// IsPath says whether the file was opened with O_PATH: most calls answer EBADF.
func (o *Open) IsPath() bool { return o.path }

// Flags are the access mode and status flags: what At carries.
func (o *Open) Flags() uint32 { return o.flags.Load() }

// GetFlags is F_GETFL.
func (o *Open) GetFlags() uint32 {
	if _, anon := o.Loc.Node().(*anonNode); o.path || anon {
		return o.flags.Load()
	}
	return o.flags.Load() | largefile
}

// settable are the flags that F_SETFL may change.
const settable = abi.O_APPEND | abi.O_NONBLOCK | abi.O_ASYNC | abi.O_DIRECT | abi.O_NOATIME

// SetFlags is F_SETFL: EPERM (O_APPEND of an append-only file cleared, O_NOATIME of another's file), EINVAL (O_DIRECT where there
// is none).
func (o *Open) SetFlags(c *Caller, flags uint32) abi.Errno {
	old := o.flags.Load()
	if flags&abi.O_NOATIME != 0 && old&abi.O_NOATIME == 0 {
		if n := o.Loc.Node(); n != nil {
			if a, e := n.Attr(c); e == 0 && !c.owns(&a) {
				return abi.EPERM
			}
		}
	}
	if f, ok := o.File.(FlagChecker); ok {
		if e := f.SetFlags(c, old, old&^settable|flags&settable); e != 0 {
			return e
		}
	} else if flags&^old&abi.O_DIRECT != 0 && o.strm {
		return abi.EINVAL
	}
	for {
		old = o.flags.Load()
		if o.flags.CompareAndSwap(old, old&^settable|flags&settable) {
			break
		}
	}
	if (old^flags)&abi.O_ASYNC != 0 {
		if a, ok := o.File.(Asyncer); ok {
			a.SetAsync(o, flags&abi.O_ASYNC != 0)
		}
	}
	return 0
}

// SetNonBlock is FIONBIO.
func (o *Open) SetNonBlock(on bool) {
	if on {
		o.flags.Or(abi.O_NONBLOCK)
	} else {
		o.flags.And(^uint32(abi.O_NONBLOCK))
	}
}

// SetOwner is F_SETOWN_EX. The File is told, if it sends signals at all.
func (o *Open) SetOwner(w Owner) {
	o.mu.Lock()
	o.owner = w
	o.mu.Unlock()
	if a, ok := o.File.(Asyncer); ok && o.Flags()&abi.O_ASYNC != 0 {
		a.SetAsync(o, true)
	}
}

// Owner is F_GETOWN_EX.
func (o *Open) Owner() Owner {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.owner
}

// SetSig is F_SETSIG; the number is the caller's to check.
func (o *Open) SetSig(sig int32) {
	o.mu.Lock()
	o.sig = sig
	o.mu.Unlock()
}

// Sig is F_GETSIG: 0 for SIGIO.
func (o *Open) Sig() int32 {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.sig
}

// Pos is the position, for /proc/PID/fdinfo.
func (o *Open) Pos() int64 { return o.pos.Load() }

// SetPos is for those that made the File and start elsewhere.
func (o *Open) SetPos(p int64) { o.pos.Store(p) }

// lockPos takes the position for one call, if the file has one. What was opened once and is used by one thread never waits.
func (o *Open) lockPos(c *Caller) {
	if !o.strm {
		o.gate.Lock(c.Thread)
	}
}

func (o *Open) unlockPos() {
	if !o.strm {
		o.gate.Unlock()
	}
}

// Read is read(2): EBADF (not open for reading), and what the File says. At most MAX_RW_COUNT bytes.
func (o *Open) Read(c *Caller, dst *mm.Buf) (int, abi.Errno) {
	if !o.read {
		return 0, abi.EBADF
	}
	if o.strm {
		n, e := o.File.Read(c, dst, At{Flags: o.flags.Load()})
		if n > 0 {
			o.accessed(c)
		}
		return n, e
	}
	o.gate.Lock(c.Thread)
	at := At{o.pos.Load(), o.flags.Load()}
	if at.beyond(dst) {
		o.gate.Unlock()
		return 0, abi.EINVAL
	}
	n, e := o.File.Read(c, dst, at)
	if n > 0 {
		o.pos.Add(int64(n))
	}
	o.gate.Unlock()
	if n > 0 {
		o.accessed(c)
	}
	return n, e
}

// beyond says whether as much as b asks for ends beyond the largest position there is: rw_verify_area.
func (a At) beyond(b *mm.Buf) bool { return a.Off > math.MaxInt64-int64(b.Len()) }

// Pread is pread64(2): EINVAL (off negative), ESPIPE, EBADF.
func (o *Open) Pread(c *Caller, dst *mm.Buf, off int64) (int, abi.Errno) {
	if off < 0 {
		return 0, abi.EINVAL
	}
	if o.path {
		return 0, abi.EBADF
	}
	if _, ok := o.File.(Seeker); !ok {
		return 0, abi.ESPIPE
	}
	if !o.read {
		return 0, abi.EBADF
	}
	at := At{off, o.flags.Load()}
	if at.beyond(dst) {
		return 0, abi.EINVAL
	}
	n, e := o.File.Read(c, dst, at)
	if n > 0 {
		o.accessed(c)
	}
	return n, e
}

// Write is write(2): EBADF (not open for writing), EFBIG (RLIMIT_FSIZE, with SIGXFSZ), and what the File says.
func (o *Open) Write(c *Caller, src *mm.Buf) (int, abi.Errno) {
	if !o.write {
		return 0, abi.EBADF
	}
	flags := o.flags.Load()
	if o.strm {
		n, e := o.File.Write(c, src, At{Flags: flags})
		if n > 0 {
			o.Notify(abi.IN_MODIFY)
		}
		return n, e
	}
	o.gate.Lock(c.Thread)
	n, end, e := o.writeAt(c, src, At{o.pos.Load(), flags})
	if n > 0 {
		o.pos.Store(end)
	}
	o.gate.Unlock()
	if n > 0 {
		o.Notify(abi.IN_MODIFY)
	}
	return n, e
}

// Pwrite is pwrite64(2): EINVAL (off negative), ESPIPE, EBADF. With O_APPEND it writes at the end, as Linux does.
func (o *Open) Pwrite(c *Caller, src *mm.Buf, off int64) (int, abi.Errno) {
	return o.PwriteFlags(c, src, off, o.flags.Load())
}

// PwriteFlags is Pwrite with other status flags than the file's own, for pwritev2's RWF_APPEND and the like.
func (o *Open) PwriteFlags(c *Caller, src *mm.Buf, off int64, flags uint32) (int, abi.Errno) {
	if off < 0 {
		return 0, abi.EINVAL
	}
	if o.path {
		return 0, abi.EBADF
	}
	if _, ok := o.File.(Seeker); !ok {
		return 0, abi.ESPIPE
	}
	if !o.write {
		return 0, abi.EBADF
	}
	n, _, e := o.writeAt(c, src, At{off, flags})
	if n > 0 {
		o.Notify(abi.IN_MODIFY)
	}
	return n, e
}

func (o *Open) writeAt(c *Caller, src *mm.Buf, at At) (n int, end int64, e abi.Errno) {
	if at.beyond(src) {
		return 0, at.Off, abi.EINVAL
	}
	if at.Flags&abi.O_APPEND != 0 {
		if a, ok := o.File.(Appender); ok {
			return a.WriteAppend(c, src, at)
		}
	}
	n, e = o.File.Write(c, src, at)
	return n, at.Off + int64(n), e
}

// Seek is lseek(2): EBADF, EINVAL (whence, or before the start), ESPIPE, ENXIO (SEEK_DATA past the end).
func (o *Open) Seek(c *Caller, off int64, whence int) (int64, abi.Errno) {
	if o.path {
		return 0, abi.EBADF
	}
	if whence < 0 || whence > abi.SEEK_MAX {
		return 0, abi.EINVAL
	}
	s, ok := o.File.(Seeker)
	if !ok {
		if _, still := o.File.(Unmoved); still {
			return 0, 0
		}
		return 0, abi.ESPIPE
	}
	o.lockPos(c)
	defer o.unlockPos()
	p, e := s.Seek(c, o.pos.Load(), off, whence)
	if e != 0 {
		return 0, e
	}
	o.pos.Store(p)
	return p, 0
}

// SeekSize is Seek for a file of size bytes with no holes; max is the largest position.
func SeekSize(pos, off int64, whence int, size, max int64) (int64, abi.Errno) {
	switch whence {
	case abi.SEEK_SET:
	case abi.SEEK_CUR:
		off += pos // what overflows is negative, and EINVAL below
	case abi.SEEK_END:
		off += size
	case abi.SEEK_DATA:
		if uint64(off) >= uint64(size) {
			return 0, abi.ENXIO
		}
	case abi.SEEK_HOLE:
		if uint64(off) >= uint64(size) {
			return 0, abi.ENXIO
		}
		off = size
	default:
		return 0, abi.EINVAL
	}
	if off < 0 || off > max {
		return 0, abi.EINVAL
	}
	return off, 0
}

// ReadDir is getdents64(2) without the encoding: it gives the entries from the position on to emit until that says false (the
// entry it refused comes first next time). EBADF, ENOTDIR, ENOENT (the directory was removed).
func (o *Open) ReadDir(c *Caller, emit func(e DirEntry) bool) abi.Errno {
	if !o.read {
		return abi.EBADF
	}
	d, ok := o.File.(DirReader)
	if !ok {
		return abi.ENOTDIR
	}
	o.gate.Lock(c.Thread)
	defer o.gate.Unlock()
	if n := o.Loc.Node(); n != nil && n.VFS().Dead() {
		return abi.ENOENT
	}
	count := 0
	e := d.ReadDir(c, o.pos.Load(), func(e DirEntry) bool {
		if count == maxDirEntries || !emit(e) {
			return false
		}
		count++
		o.pos.Store(e.Next)
		return true
	})
	o.accessed(c)
	return e
}

// Ioctl is ioctl(2) beyond what every file has: ENOTTY.
func (o *Open) Ioctl(c *Caller, cmd uint32, arg uint64) (uint64, abi.Errno) {
	if o.path {
		return 0, abi.EBADF
	}
	if f, ok := o.File.(Ioctler); ok {
		return f.Ioctl(c, cmd, arg)
	}
	return 0, abi.ENOTTY
}

// Fcntl is what fcntl(2) commands of the File's own answer (pipe sizes, seals): EBADF, EINVAL.
func (o *Open) Fcntl(c *Caller, cmd int, arg uint64) (uint64, abi.Errno) {
	if o.path {
		return 0, abi.EBADF
	}
	if f, ok := o.File.(Controller); ok {
		if res, e, handled := f.Fcntl(c, o, cmd, arg); handled {
			return res, e
		}
	}
	if cmd == abi.F_SETPIPE_SZ || cmd == abi.F_GETPIPE_SZ {
		return 0, abi.EBADF
	}
	return 0, abi.EINVAL
}

// Poll is what is ready now. ok: whether there is a queue that tells of changes (epoll: EPERM otherwise).
func (o *Open) Poll(c *Caller) (m sched.Mask, ok bool) {
	if f, yes := o.File.(ModePoller); yes {
		_, ok := o.File.(Poller)
		return f.PollMode(c, o), ok
	}
	f, ok := o.File.(Poller)
	if !ok {
		return Ready, false
	}
	return f.Poll(c), true
}

// Queue is who tells of changes, or nil.
func (o *Open) Queue() *sched.Queue {
	if f, ok := o.File.(Poller); ok {
		return f.Queue()
	}
	return nil
}

// Map is the file's part of mmap(2): ENODEV. Modes are mm's and sys's to check (Readable, Writable).
func (o *Open) Map(c *Caller, m *mm.MapOpts) abi.Errno {
	if o.path {
		return abi.EBADF
	}
	if f, ok := o.File.(Mapper); ok {
		return f.Map(c, m)
	}
	return abi.ENODEV
}

// Sync is fsync(2), and fdatasync(2) with data: EBADF, EINVAL.
func (o *Open) Sync(c *Caller, data bool) abi.Errno {
	if o.path {
		return abi.EBADF
	}
	if f, ok := o.File.(Syncer); ok {
		return f.Sync(c, data)
	}
	if o.strm {
		return abi.EINVAL
	}
	return 0
}

// Allocate is fallocate(2), in the order of Linux's vfs_fallocate: EINVAL, EOPNOTSUPP, EBADF, EPERM, ETXTBSY, ESPIPE, EISDIR,
// ENODEV, EFBIG.
func (o *Open) Allocate(c *Caller, mode uint32, off, length int64) abi.Errno {
	if o.path {
		return abi.EBADF
	}
	if off < 0 || length <= 0 {
		return abi.EINVAL
	}
	const known = abi.FALLOC_FL_KEEP_SIZE | abi.FALLOC_FL_PUNCH_HOLE | abi.FALLOC_FL_COLLAPSE_RANGE | abi.FALLOC_FL_ZERO_RANGE |
		abi.FALLOC_FL_INSERT_RANGE | abi.FALLOC_FL_UNSHARE_RANGE | abi.FALLOC_FL_WRITE_ZEROES
	if mode&^known != 0 {
		return abi.EOPNOTSUPP
	}
	switch mode &^ abi.FALLOC_FL_KEEP_SIZE {
	case abi.FALLOC_FL_ALLOCATE_RANGE, abi.FALLOC_FL_UNSHARE_RANGE, abi.FALLOC_FL_ZERO_RANGE:
	case abi.FALLOC_FL_PUNCH_HOLE:
		if mode&abi.FALLOC_FL_KEEP_SIZE == 0 {
			return abi.EOPNOTSUPP
		}
	case abi.FALLOC_FL_COLLAPSE_RANGE, abi.FALLOC_FL_INSERT_RANGE, abi.FALLOC_FL_WRITE_ZEROES:
		if mode&abi.FALLOC_FL_KEEP_SIZE != 0 {
			return abi.EOPNOTSUPP
		}
	default:
		return abi.EOPNOTSUPP
	}
	if !o.write {
		return abi.EBADF
	}
	if mode&^abi.FALLOC_FL_KEEP_SIZE != 0 && o.Flags()&abi.O_APPEND != 0 {
		if n := o.Loc.Node(); n != nil {
			if a, _ := n.Attr(c); a.Flags&abi.STATX_ATTR_APPEND != 0 {
				return abi.EPERM
			}
		}
	}
	var a Attr
	if n := o.Loc.Node(); n != nil {
		var e abi.Errno
		if a, e = n.Attr(c); e != 0 {
			return e
		}
	}
	switch a.Mode & abi.S_IFMT {
	case abi.S_IFIFO:
		return abi.ESPIPE
	case abi.S_IFDIR:
		return abi.EISDIR
	case abi.S_IFREG, abi.S_IFBLK:
	default:
		return abi.ENODEV
	}
	if off > math.MaxInt64-length {
		return abi.EFBIG
	}
	f, ok := o.File.(Allocater)
	if !ok {
		return abi.EOPNOTSUPP
	}
	e := f.Allocate(c, mode, off, length)
	if e == 0 {
		o.Notify(abi.IN_MODIFY)
	}
	return e
}

// FileLimit is how far the caller may write: RLIMIT_FSIZE, and at most max. A write at off of n bytes is cut to the result; errno
// EFBIG (with SIGXFSZ if the limit was to blame) where nothing is left.
func (c *Caller) FileLimit(off int64, n int, max int64) (int, abi.Errno) {
	if n == 0 {
		return 0, 0
	}
	if lim := c.limit(abi.RLIMIT_FSIZE); lim != abi.RLIM_INFINITY {
		if uint64(off) >= lim {
			c.raise(abi.SIGXFSZ)
			return 0, abi.EFBIG
		}
		n = int(min(uint64(n), lim-uint64(off)))
	}
	if off >= max {
		return 0, abi.EFBIG
	}
	return int(min(int64(n), max-off)), 0
}

func (c *Caller) raise(sig int32) {
	if c.Raise != nil {
		c.Raise(sig)
	}
}

// accessed updates the access time and tells the watchers, after a read.
func (o *Open) accessed(c *Caller) {
	o.Notify(abi.IN_ACCESS)
	if o.flags.Load()&abi.O_NOATIME != 0 || o.Loc.Mount == nil {
		return
	}
	touch(c, o.Loc)
}

// touch is touch_atime: relatime is the file system's, whether at all is the mount's.
func touch(c *Caller, l Location) {
	t, ok := l.Dentry.node.(Toucher)
	if !ok {
		return
	}
	relatime := true
	if m := l.Mount; m != nil {
		f := m.flags.Load()
		relatime = f&abi.MS_RELATIME != 0
		if f&(abi.MS_NOATIME|abi.MS_RDONLY) != 0 || m.super.ReadOnly() {
			return
		}
		if f&abi.MS_NODIRATIME != 0 {
			if _, dir := l.Dentry.node.(Dir); dir {
				return
			}
		}
	}
	t.Touch(c, relatime)
}
