package sys

import (
	"goum/arch/abi"
	"goum/kernel/task"
)

// Arg is the type of an argument: made from a register's bits as C converts them, and able to print itself in a trace.
type Arg interface {
	~int32 | ~uint32 | ~int64 | ~uint64
	Show(*Tracer) // before the call, or after it if the type has afterCall
}

// Plain numbers, by how they are best read.
type (
	Int  int32  // a C int
	Uint uint32 // an unsigned int
	Long int64  // a long
	Size uint64 // a size_t, a count
	Off  int64  // an loff_t
	Hex  uint64 // bits
	Addr uint64 // an address that the handler does not read as a fixed type
)

// Things with a name.
type (
	FD         int32  // a descriptor
	DirFD      int32  // a descriptor or AT_FDCWD
	Pid        int32  // a process, thread, group or session
	UID        uint32 // a user, -1: leave it
	GID        uint32 // a group, -1: leave it
	Signal     int32
	ClockID    int32
	Whence     uint32
	Mode       uint32 // permission bits and, for mknod, the type
	OpenFlags  uint32
	AtFlags    uint32
	AccessMode uint32
	FcntlCmd   uint32
	IoctlCmd   uint32
	CloneFlags uint64
	ProtFlags  uint64
	MapFlags   uint64
	MountFlags uint64
	FutexOp    uint32
	SigHow     int32
	Advice     int32
	Resource   uint32
)

// Pointers.
type (
	Path   uint64 // a path name
	Str    uint64 // another string
	InBuf  uint64 // bytes the call reads; the next argument is their number
	OutBuf uint64 // bytes the call fills; the result is their number
	Strs   uint64 // a vector of strings, as execve's

	In[T any]    uint64 // a T that the call reads
	Out[T any]   uint64 // a T that the call writes
	InOut[T any] uint64 // both
)

func (OutBuf) afterCall()   {}
func (Out[T]) afterCall()   {}
func (InOut[T]) afterCall() {}

// CloseOnExec says whether the flags ask for it.
func (f OpenFlags) CloseOnExec() bool { return f&abi.O_CLOEXEC != 0 }

// Get reads the path: EFAULT, ENAMETOOLONG (PATH_MAX, its NUL included). An empty one is the walk's to judge.
func (p Path) Get(t *task.Task) (string, abi.Errno) {
	return t.User().CopyString(uint64(p), abi.PATH_MAX)
}

// Get reads a string of up to max bytes, its NUL included: EFAULT, or tooLong.
func (s Str) Get(t *task.Task, max int, tooLong abi.Errno) (string, abi.Errno) {
	v, e := t.User().CopyString(uint64(s), max)
	if e == abi.ENAMETOOLONG {
		e = tooLong
	}
	return v, e
}

// Load reads the value: EFAULT.
func (p In[T]) Load(t *task.Task) (v T, e abi.Errno) {
	e = t.User().CopyIn(abi.Bytes(&v), uint64(p))
	return v, e
}

// LoadOr is Load, and for a null pointer what it stands for.
func (p In[T]) LoadOr(t *task.Task, null T) (T, abi.Errno) {
	if p == 0 {
		return null, 0
	}
	return p.Load(t)
}

// At is the address of element i.
func (p In[T]) At(i int) In[T] {
	var v T
	return p + In[T](i*len(abi.Bytes(&v)))
}

// Slice reads n values into a new slice: EFAULT. The caller bounds n.
func (p In[T]) Slice(t *task.Task, n int) ([]T, abi.Errno) {
	s := make([]T, n)
	return s, t.User().CopyIn(abi.SliceBytes(s), uint64(p))
}

// Store writes the value: EFAULT.
func (p Out[T]) Store(t *task.Task, v T) abi.Errno {
	return t.User().CopyOut(uint64(p), abi.Bytes(&v))
}

// StoreIf is Store, and for a null pointer nothing.
func (p Out[T]) StoreIf(t *task.Task, v T) abi.Errno {
	if p == 0 {
		return 0
	}
	return p.Store(t, v)
}

// StoreSlice writes the values one after the other: EFAULT.
func (p Out[T]) StoreSlice(t *task.Task, v []T) abi.Errno {
	if len(v) == 0 {
		return 0
	}
	return t.User().CopyOut(uint64(p), abi.SliceBytes(v))
}

// Load reads the value: EFAULT.
func (p InOut[T]) Load(t *task.Task) (T, abi.Errno) { return In[T](p).Load(t) }

// Store writes the value: EFAULT.
func (p InOut[T]) Store(t *task.Task, v T) abi.Errno { return Out[T](p).Store(t, v) }

// copyOut writes b: EFAULT.
func copyOut(t *task.Task, addr uint64, b []byte) abi.Errno { return t.User().CopyOut(addr, b) }

// copyIn reads into b: EFAULT.
func copyIn(t *task.Task, addr uint64, b []byte) abi.Errno { return t.User().CopyIn(b, addr) }
