package sys

import (
	"math"

	"goum/arch/abi"
	"goum/kernel/fs/pipe"
	"goum/kernel/fs/vfs"
	"goum/kernel/task"
)

// moveCalls make pipes, and move bytes between files without the caller's memory.
var moveCalls = Calls{
	abi.SYS_PIPE:            Def1("pipe", sysPipe),
	abi.SYS_PIPE2:           Def2("pipe2", sysPipe2),
	abi.SYS_SENDFILE:        Def4("sendfile", sysSendfile),
	abi.SYS_SPLICE:          Def6("splice", sysSplice),
	abi.SYS_TEE:             Def4("tee", sysTee),
	abi.SYS_VMSPLICE:        Def4("vmsplice", sysVmsplice).Partial("pages are copied, whatever SPLICE_F_GIFT says"),
	abi.SYS_COPY_FILE_RANGE: Def6("copy_file_range", sysCopyFileRange),
	abi.SYS_MEMFD_CREATE:    Def2("memfd_create", sysMemfdCreate).Partial("no MFD_HUGETLB: ENODEV"),
}

// sysPipe2 makes a pipe: what is written to out[1] is read from out[0]. On failure nothing stays open. pipe2(2).
func sysPipe2(t *task.Task, out Out[[2]int32], flags OpenFlags) (uint64, abi.Errno) {
	if flags&^(abi.O_CLOEXEC|abi.O_NONBLOCK|abi.O_DIRECT) != 0 {
		return 0, abi.EINVAL
	}
	fds, e := reserve(t, 2, flags.CloseOnExec()) // EMFILE; numbers are taken, but show nothing yet
	if e != 0 {
		return 0, e
	}
	defer fds.Release() // of what was not installed
	if e := out.Store(t, [2]int32(fds.Numbers())); e != 0 {
		return 0, e // before Install: another thread must not use what the caller never learned of
	}
	r, w, e := pipe.New(t.Caller(), uint32(flags))
	if e != 0 {
		return 0, e
	}
	fds.Install(r, w)
	return 0, 0
}

func sysPipe(t *task.Task, out Out[[2]int32]) (uint64, abi.Errno) { return sysPipe2(t, out, 0) }

// pair finds two open files: EBADF.
func pair(t *task.Task, in, out FD) (i, o *vfs.Open, e abi.Errno) {
	if i, e = get(t, in); e != 0 {
		return nil, nil, e
	}
	if o, e = get(t, out); e != 0 {
		i.Unref()
		return nil, nil, e
	}
	return i, o, 0
}

// offset reads a position behind a pointer; nil for a null pointer. EFAULT, EINVAL (negative).
func offset(t *task.Task, p InOut[int64]) (*int64, abi.Errno) {
	if p == 0 {
		return nil, 0
	}
	v, e := p.Load(t)
	if e == 0 && v < 0 {
		e = abi.EINVAL
	}
	return &v, e
}

// storeOffset writes it back. EFAULT.
func storeOffset(t *task.Task, p InOut[int64], v *int64) abi.Errno {
	if v == nil {
		return 0
	}
	return p.Store(t, *v)
}

func seekable(o *vfs.Open) bool {
	_, ok := o.File.(vfs.Seeker)
	return ok
}

// sysSendfile copies from a file to a file, pipe or socket: sendfile(2). EFAULT, EBADF, ESPIPE, EINVAL.
func sysSendfile(t *task.Task, out, in FD, off InOut[int64], n Size) (uint64, abi.Errno) {
	pos, e := offset(t, off)
	if e == abi.EFAULT {
		return 0, e
	}
	i, er := get(t, in)
	if er != 0 {
		return 0, er
	}
	defer i.Unref()
	switch {
	case !i.Readable():
		return 0, abi.EBADF
	case pos != nil && !seekable(i):
		return 0, abi.ESPIPE
	case e != 0, int64(n) < 0:
		return 0, abi.EINVAL
	}
	o, e := get(t, out)
	if e != 0 {
		return 0, e
	}
	defer o.Unref()
	switch {
	case !o.Writable():
		return 0, abi.EBADF
	case !seekable(i):
		return 0, abi.EINVAL
	case pipe.Of(o) == nil && o.Flags()&abi.O_APPEND != 0:
		return 0, abi.EINVAL
	case n == 0:
		return 0, 0
	}
	if a, e := i.Attr(t.Caller()); e == 0 && a.IsDir() {
		return 0, abi.EINVAL
	}
	done, e := pipe.Copy(t.Caller(), i, pos, o, nil, int(min(n, abi.MAX_RW_COUNT)))
	if s := storeOffset(t, off, pos); s != 0 {
		return 0, s
	}
	return wrote(t, done, e)
}

const spliceFlags = abi.SPLICE_F_MOVE | abi.SPLICE_F_NONBLK | abi.SPLICE_F_MORE | abi.SPLICE_F_GIFT

// sysSplice moves bytes between a pipe and a file: splice(2).
func sysSplice(t *task.Task, in FD, inOff InOut[int64], out FD, outOff InOut[int64], n Size, flags Hex) (uint64, abi.Errno) {
	if n == 0 {
		return 0, 0
	}
	if flags&^spliceFlags != 0 {
		return 0, abi.EINVAL
	}
	i, o, e := pair(t, in, out)
	if e != 0 {
		return 0, e
	}
	defer i.Unref()
	defer o.Unref()
	if pipe.Of(i) != nil && inOff != 0 || pipe.Of(o) != nil && outOff != 0 {
		return 0, abi.ESPIPE
	}
	ip, e := offset(t, inOff)
	if e == abi.EFAULT {
		return 0, e
	}
	op, e2 := offset(t, outOff)
	if e2 == abi.EFAULT {
		return 0, e2
	}
	switch {
	case ip != nil && !seekable(i), op != nil && !seekable(o):
		return 0, abi.EINVAL
	case e != 0 || e2 != 0:
		return 0, abi.EINVAL
	}
	done, e := pipe.Splice(t.Caller(), i, ip, o, op, int(min(n, abi.MAX_RW_COUNT)), uint32(flags))
	if s := storeOffset(t, inOff, ip); s != 0 {
		return 0, s
	}
	if s := storeOffset(t, outOff, op); s != 0 {
		return 0, s
	}
	return wrote(t, done, e)
}

// sysTee copies from a pipe to a pipe: tee(2).
func sysTee(t *task.Task, in, out FD, n Size, flags Hex) (uint64, abi.Errno) {
	if flags&^spliceFlags != 0 {
		return 0, abi.EINVAL
	}
	if n == 0 {
		return 0, 0
	}
	i, o, e := pair(t, in, out)
	if e != 0 {
		return 0, e
	}
	defer i.Unref()
	defer o.Unref()
	done, e := pipe.Tee(t.Caller(), i, o, int(min(n, abi.MAX_RW_COUNT)), uint32(flags))
	return wrote(t, done, e)
}

// sysVmsplice moves memory into a pipe, or out of it: vmsplice(2). EINVAL, EBADF (no pipe), EFAULT, EAGAIN.
func sysVmsplice(t *task.Task, fd FD, iov In[abi.Iovec], n Size, flags Hex) (uint64, abi.Errno) {
	if flags&^spliceFlags != 0 {
		return 0, abi.EINVAL
	}
	o, e := get(t, fd)
	if e != 0 {
		return 0, e
	}
	defer o.Unref()
	if !o.Readable() && !o.Writable() {
		return 0, abi.EBADF
	}
	s, e := vector(t, uint64(iov), uint64(n))
	if e != 0 {
		return 0, e
	}
	defer s.done()
	if s.buf.Len() == 0 {
		return 0, 0
	}
	if pipe.Of(o) == nil {
		return 0, abi.EBADF
	}
	c := t.Caller()
	want := uint32(abi.POLLOUT)
	if !o.Writable() {
		want = abi.POLLIN
	}
	if m, _ := o.Poll(c); flags&abi.SPLICE_F_NONBLK != 0 && uint32(m)&(want|abi.POLLERR|abi.POLLHUP) == 0 {
		return 0, abi.EAGAIN
	}
	if o.Writable() {
		done, e := o.Write(c, &s.buf)
		return wrote(t, done, e)
	}
	return did(o.Read(c, &s.buf))
}

// sysCopyFileRange copies from a file to a file: copy_file_range(2). EINVAL, EBADF, EFAULT, EISDIR, EOVERFLOW.
func sysCopyFileRange(t *task.Task, in FD, inOff InOut[int64], out FD, outOff InOut[int64], n Size, flags Hex) (uint64, abi.Errno) {
	i, o, e := pair(t, in, out)
	if e != 0 {
		return 0, e
	}
	defer i.Unref()
	defer o.Unref()
	ip, e := offset(t, inOff)
	if e == abi.EFAULT {
		return 0, e
	}
	op, e2 := offset(t, outOff)
	if e2 == abi.EFAULT {
		return 0, e2
	}
	if uint32(flags) != 0 {
		return 0, abi.EINVAL
	}
	c := t.Caller()
	ia, e3 := i.Attr(c)
	oa, e4 := o.Attr(c)
	if e3 != 0 || e4 != 0 {
		return 0, abi.EINVAL
	}
	from, to := i.Pos(), o.Pos()
	if ip != nil {
		from = *ip
	}
	if op != nil {
		to = *op
	}
	switch {
	case ia.IsDir() || oa.IsDir():
		return 0, abi.EISDIR
	case ia.Mode&abi.S_IFMT != abi.S_IFREG || oa.Mode&abi.S_IFMT != abi.S_IFREG:
		return 0, abi.EINVAL
	case !i.Readable() || !o.Writable() || o.Flags()&abi.O_APPEND != 0:
		return 0, abi.EBADF
	case e != 0 || e2 != 0:
		return 0, abi.EINVAL
	case n > math.MaxInt64-Size(from) || n > math.MaxInt64-Size(to):
		return 0, abi.EOVERFLOW
	case to == math.MaxInt64:
		return 0, abi.EFBIG
	}
	left := int64(min(n, abi.MAX_RW_COUNT))
	left = max(min(left, ia.Size-from), 0)
	if i.Loc.Node() == o.Loc.Node() && from < to+left && to < from+left {
		return 0, abi.EINVAL
	}
	if left == 0 {
		return 0, 0
	}
	done, e := pipe.Copy(c, i, ip, o, op, int(left))
	if s := storeOffset(t, inOff, ip); s != 0 {
		return 0, s
	}
	if s := storeOffset(t, outOff, op); s != 0 {
		return 0, s
	}
	return did(done, e)
}

// maxMemfdName is MFD_NAME_MAX_LEN: NAME_MAX less "memfd:".
const maxMemfdName = abi.NAME_MAX - 6

// sysMemfdCreate makes a file in memory: memfd_create(2). EINVAL (flags, name too long), EFAULT, ENODEV, EMFILE.
func sysMemfdCreate(t *task.Task, name Str, flags Hex) (uint64, abi.Errno) {
	const known = abi.MFD_CLOEXEC | abi.MFD_ALLOW_SEALING | abi.MFD_NOEXEC_SEAL | abi.MFD_EXEC
	if flags&abi.MFD_HUGETLB != 0 && flags&^(known|abi.MFD_HUGETLB|abi.MFD_HUGE_MASK<<abi.MFD_HUGE_SHIFT) == 0 {
		return 0, abi.ENODEV
	}
	if flags&^known != 0 || flags&(abi.MFD_EXEC|abi.MFD_NOEXEC_SEAL) == abi.MFD_EXEC|abi.MFD_NOEXEC_SEAL {
		return 0, abi.EINVAL
	}
	s, e := name.Get(t, maxMemfdName+1, abi.EINVAL)
	if e != 0 {
		return 0, e
	}
	m := machine(t).Memfd
	if m == nil {
		return 0, abi.ENOSYS
	}
	fds, e := reserve(t, 1, flags&abi.MFD_CLOEXEC != 0)
	if e != 0 {
		return 0, e
	}
	defer fds.Release()
	o, e := m.Memfd(t.Caller(), s, uint32(flags))
	if e != 0 {
		return 0, e
	}
	nr := fds.Numbers()[0]
	fds.Install(o)
	return uint64(nr), 0
}
