package sys

import (
	"sync"

	"goum/arch/abi"
	"goum/arch/x86"
	"goum/kernel/fs/vfs"
	"goum/kernel/task"
	"goum/mm"
)

// rwCalls move bytes between memory and open files.
var rwCalls = Calls{
	abi.SYS_READ:     Def3("read", sysRead),
	abi.SYS_WRITE:    Def3("write", sysWrite),
	abi.SYS_PREAD64:  Def4("pread64", sysPread64),
	abi.SYS_PWRITE64: Def4("pwrite64", sysPwrite64),
	abi.SYS_READV:    Def3("readv", sysReadv),
	abi.SYS_WRITEV:   Def3("writev", sysWritev),
	abi.SYS_PREADV:   Def4("preadv", sysPreadv),
	abi.SYS_PWRITEV:  Def4("pwritev", sysPwritev),
	abi.SYS_PREADV2:  Def6("preadv2", sysPreadv2).Partial("RWF_NOWAIT, RWF_ATOMIC and RWF_DONTCACHE: EOPNOTSUPP"),
	abi.SYS_PWRITEV2: Def6("pwritev2", sysPwritev2).Partial("RWF_NOWAIT, RWF_ATOMIC and RWF_DONTCACHE: EOPNOTSUPP"),
	abi.SYS_LSEEK:    Def3("lseek", sysLseek),
}

// get finds the open file of fd for calls that do something with it: EBADF, also for O_PATH. The caller lets it go with Unref.
func get(t *task.Task, fd FD) (*vfs.Open, abi.Errno) {
	o, e := t.FDs().Get(int32(fd))
	if e != 0 {
		return nil, e
	}
	if o.IsPath() {
		o.Unref()
		return nil, abi.EBADF
	}
	return o, 0
}

// getRaw is get for calls that O_PATH permits.
func getRaw(t *task.Task, fd FD) (*vfs.Open, abi.Errno) { return t.FDs().Get(int32(fd)) }

// accessOK is Linux's access_ok: n bytes at addr lie in user space, whether mapped or not.
func accessOK(addr, n uint64) bool { return addr+n >= addr && addr+n <= x86.UserLimit }

// scratch is what a transfer needs besides the stack: it is passed to interfaces, so that each call would allocate it. A call takes one
// from the pool, and every call in flight has its own.
type scratch struct {
	buf mm.Buf
	iov []abi.Iovec // room for IOV_MAX entries at most
}

var scratches = sync.Pool{New: func() any { return new(scratch) }}

func (s *scratch) done() {
	s.buf.SetBytes(nil) // keeps no address space alive
	scratches.Put(s)
}

// single makes a Buf of n bytes at addr, cut to MAX_RW_COUNT: EFAULT.
func single(t *task.Task, addr, n uint64) (*scratch, abi.Errno) {
	if !accessOK(addr, n) {
		return nil, abi.EFAULT
	}
	s := scratches.Get().(*scratch)
	s.buf.SetOne(t.User(), addr, min(n, abi.MAX_RW_COUNT))
	return s, 0
}

// vector makes a Buf of n iovecs at addr, as import_iovec does: EINVAL (more than IOV_MAX, a negative length), EFAULT. In all it has
// MAX_RW_COUNT bytes at most.
func vector(t *task.Task, addr, n uint64) (*scratch, abi.Errno) {
	s := scratches.Get().(*scratch)
	iov, e := t.User().Iovecs(addr, int(min(n, abi.IOV_MAX+1)), s.iov)
	if e != 0 {
		s.done()
		return nil, e
	}
	s.iov = iov[:0]
	s.buf.Set(t.User(), iov)
	return s, 0
}

// wrote turns the outcome of a write into the call's, and raises SIGPIPE for EPIPE.
func wrote(t *task.Task, n int, e abi.Errno) (uint64, abi.Errno) {
	if n > 0 {
		return uint64(n), 0
	}
	if e == abi.EPIPE {
		t.Caller().Raise(abi.SIGPIPE)
	}
	return 0, e
}

func did(n int, e abi.Errno) (uint64, abi.Errno) {
	if n > 0 {
		return uint64(n), 0
	}
	return 0, e
}

// sysRead reads from an open file: read(2).
func sysRead(t *task.Task, fd FD, buf OutBuf, count Size) (uint64, abi.Errno) {
	o, e := get(t, fd)
	if e != 0 {
		return 0, e
	}
	defer o.Unref()
	if !o.Readable() {
		return 0, abi.EBADF
	}
	s, e := single(t, uint64(buf), uint64(count))
	if e != 0 {
		return 0, e
	}
	defer s.done()
	return did(o.Read(t.Caller(), &s.buf))
}

// sysWrite writes to an open file: write(2).
func sysWrite(t *task.Task, fd FD, buf InBuf, count Size) (uint64, abi.Errno) {
	o, e := get(t, fd)
	if e != 0 {
		return 0, e
	}
	defer o.Unref()
	if !o.Writable() {
		return 0, abi.EBADF
	}
	s, e := single(t, uint64(buf), uint64(count))
	if e != 0 {
		return 0, e
	}
	defer s.done()
	n, e := o.Write(t.Caller(), &s.buf)
	return wrote(t, n, e)
}

// sysPread64 reads at a position, and leaves the file's alone: pread64(2).
func sysPread64(t *task.Task, fd FD, buf OutBuf, count Size, off Off) (uint64, abi.Errno) {
	o, e := positioned(t, fd, off)
	if e != 0 {
		return 0, e
	}
	defer o.Unref()
	if !o.Readable() {
		return 0, abi.EBADF
	}
	s, e := single(t, uint64(buf), uint64(count))
	if e != 0 {
		return 0, e
	}
	defer s.done()
	return did(o.Pread(t.Caller(), &s.buf, int64(off)))
}

// sysPwrite64 writes at a position: pwrite64(2).
func sysPwrite64(t *task.Task, fd FD, buf InBuf, count Size, off Off) (uint64, abi.Errno) {
	o, e := positioned(t, fd, off)
	if e != 0 {
		return 0, e
	}
	defer o.Unref()
	if !o.Writable() {
		return 0, abi.EBADF
	}
	s, e := single(t, uint64(buf), uint64(count))
	if e != 0 {
		return 0, e
	}
	defer s.done()
	n, e := o.Pwrite(t.Caller(), &s.buf, int64(off))
	return wrote(t, n, e)
}

// positioned is get for the calls with a position: EINVAL (negative), EBADF, ESPIPE.
func positioned(t *task.Task, fd FD, off Off) (*vfs.Open, abi.Errno) {
	if off < 0 {
		return nil, abi.EINVAL
	}
	o, e := get(t, fd)
	if e != 0 {
		return nil, e
	}
	if _, ok := o.File.(vfs.Seeker); !ok {
		o.Unref()
		return nil, abi.ESPIPE
	}
	return o, 0
}

func sysReadv(t *task.Task, fd FD, iov In[abi.Iovec], n Size) (uint64, abi.Errno) {
	return transferv(t, fd, uint64(iov), uint64(n), -1, 0, false)
}

func sysWritev(t *task.Task, fd FD, iov In[abi.Iovec], n Size) (uint64, abi.Errno) {
	return transferv(t, fd, uint64(iov), uint64(n), -1, 0, true)
}

// sysPreadv reads at a position into a vector: preadv(2). The upper half of the position does not exist on 64 bits.
func sysPreadv(t *task.Task, fd FD, iov In[abi.Iovec], n Size, off Off) (uint64, abi.Errno) {
	if off < 0 {
		return 0, abi.EINVAL
	}
	return transferv(t, fd, uint64(iov), uint64(n), int64(off), 0, false)
}

func sysPwritev(t *task.Task, fd FD, iov In[abi.Iovec], n Size, off Off) (uint64, abi.Errno) {
	if off < 0 {
		return 0, abi.EINVAL
	}
	return transferv(t, fd, uint64(iov), uint64(n), int64(off), 0, true)
}

// sysPreadv2 is preadv with flags; position -1 is the file's own: preadv2(2).
func sysPreadv2(t *task.Task, fd FD, iov In[abi.Iovec], n Size, off Off, _ Long, flags Hex) (uint64, abi.Errno) {
	if off < -1 {
		return 0, abi.EINVAL
	}
	return transferv(t, fd, uint64(iov), uint64(n), int64(off), uint32(flags), false)
}

func sysPwritev2(t *task.Task, fd FD, iov In[abi.Iovec], n Size, off Off, _ Long, flags Hex) (uint64, abi.Errno) {
	if off < -1 {
		return 0, abi.EINVAL
	}
	return transferv(t, fd, uint64(iov), uint64(n), int64(off), uint32(flags), true)
}

// transferv is readv(2) and its family. off -1: the file's own position.
func transferv(t *task.Task, fd FD, iov, n uint64, off int64, rwf uint32, write bool) (uint64, abi.Errno) {
	o, e := get(t, fd)
	if e != 0 {
		return 0, e
	}
	defer o.Unref()
	if off >= 0 {
		if _, ok := o.File.(vfs.Seeker); !ok {
			return 0, abi.ESPIPE
		}
	}
	if write && !o.Writable() || !write && !o.Readable() {
		return 0, abi.EBADF
	}
	s, e := vector(t, iov, n)
	if e != 0 {
		return 0, e
	}
	defer s.done()
	const known = abi.RWF_HIPRI | abi.RWF_DSYNC | abi.RWF_SYNC | abi.RWF_APPEND | abi.RWF_NOAPPEND | abi.RWF_NOSIGNAL
	switch {
	case s.buf.Len() == 0:
		return 0, 0
	case rwf&^known != 0:
		return 0, abi.EOPNOTSUPP
	case rwf&(abi.RWF_APPEND|abi.RWF_NOAPPEND) == abi.RWF_APPEND|abi.RWF_NOAPPEND:
		return 0, abi.EINVAL
	}
	c := t.Caller()
	if !write {
		if off >= 0 {
			return did(o.Pread(c, &s.buf, off))
		}
		return did(o.Read(c, &s.buf))
	}
	var got int
	flags := o.Flags()
	if rwf&abi.RWF_APPEND != 0 {
		flags |= abi.O_APPEND
	}
	if rwf&abi.RWF_NOAPPEND != 0 {
		flags &^= abi.O_APPEND
	}
	switch {
	case off >= 0:
		got, e = o.PwriteFlags(c, &s.buf, off, flags)
	case flags != o.Flags():
		if _, ok := o.File.(vfs.Seeker); ok {
			got, e = o.PwriteFlags(c, &s.buf, o.Pos(), flags)
			break
		}
		fallthrough // a stream has no end to append to
	default:
		got, e = o.Write(c, &s.buf)
	}
	if got > 0 && rwf&(abi.RWF_DSYNC|abi.RWF_SYNC) != 0 {
		if e := o.Sync(c, rwf&abi.RWF_SYNC == 0); e != 0 && e != abi.EINVAL {
			return 0, e
		}
	}
	if rwf&abi.RWF_NOSIGNAL != 0 {
		return did(got, e)
	}
	return wrote(t, got, e)
}

// sysLseek moves the position: lseek(2).
func sysLseek(t *task.Task, fd FD, off Off, whence Whence) (uint64, abi.Errno) {
	o, e := get(t, fd)
	if e != 0 {
		return 0, e
	}
	defer o.Unref()
	p, e := o.Seek(t.Caller(), int64(off), int(min(whence, abi.SEEK_MAX+1)))
	return uint64(p), e
}
