package vfs

import (
	"goum/arch/abi"
	"goum/mm"
	"goum/sched"
)

// At is where a call reads or writes, and the open file's status flags as they are at this call (O_NONBLOCK, O_APPEND,
// O_DIRECT ...).
type At struct {
	Off   int64
	Flags uint32
}

// NonBlock says whether the call must not wait.
func (a At) NonBlock() bool { return a.Flags&abi.O_NONBLOCK != 0 }

// File is what an open file does. Implementations may sleep on sched.Queue with c.Thread.
//
// Modes, offsets and limits are checked by Open. A write to a pipe or socket whose reader is gone returns EPIPE and raises
// nothing: whoever decodes the system call (sys) sends SIGPIPE, unless the call was told not to (MSG_NOSIGNAL).
type File interface {
	// Read fills dst; 0, 0 is the end of the file. Streams ignore at.Off.
	Read(c *Caller, dst *mm.Buf, at At) (int, abi.Errno)
	// Write drains src. When a part was done, the count wins over the errno. With O_APPEND the implementation writes at its
	// end, and Appender says where that was.
	Write(c *Caller, src *mm.Buf, at At) (int, abi.Errno)
	// Release is called once, when the last reference is gone.
	Release()
}

// Seeker moves the position. Missing: ESPIPE, for lseek, pread and pwrite.
type Seeker interface {
	// Seek is the new position for an lseek(2) from pos; it changes nothing itself.
	Seek(c *Caller, pos, off int64, whence int) (int64, abi.Errno)
}

// Unmoved is a File without a position whose lseek(2) succeeds all the same, and answers 0: epoll, eventfd, timerfd and the like.
type Unmoved interface {
	Unmoved()
}

// Appender is a File that writes at its end: WriteAppend is Write with O_APPEND, and says where the write ended.
type Appender interface {
	WriteAppend(c *Caller, src *mm.Buf, at At) (n int, end int64, e abi.Errno)
}

// Mapper maps the file: it fills in o.Pager and what else mmap needs. Missing: ENODEV.
type Mapper interface {
	Map(c *Caller, o *mm.MapOpts) abi.Errno
}

// Ioctler does ioctl(2) beyond those that every file has. Missing: ENOTTY.
type Ioctler interface {
	Ioctl(c *Caller, cmd uint32, arg uint64) (uint64, abi.Errno)
}

// Poller says what is ready now, and who tells of changes. Missing: always readable and writable; epoll: EPERM.
type Poller interface {
	Poll(c *Caller) sched.Mask
	Queue() *sched.Queue
}

// ModePoller is a Poller of a File that serves several open files with different modes; it is used instead of Poll.
type ModePoller interface {
	PollMode(c *Caller, o *Open) sched.Mask
}

// DirEntry is one name in a directory. Next is the position of the entry after it.
type DirEntry struct {
	Name string
	Ino  uint64
	Type uint8 // abi.DT_REG ...
	Next int64
}

// DirReader lists a directory from position pos until emit says false or there is no more. Missing: ENOTDIR. "." and ".." are
// the implementation's to emit (see Dots).
type DirReader interface {
	ReadDir(c *Caller, pos int64, emit func(e DirEntry) bool) abi.Errno
}

// Syncer is fsync(2). Missing: 0 for files with a node, EINVAL for others.
type Syncer interface {
	Sync(c *Caller, data bool) abi.Errno
}

// Truncater is ftruncate(2), where the Node's SetAttr is not enough (memfd seals). Missing: SetAttr.
type Truncater interface {
	Truncate(c *Caller, size int64) abi.Errno
}

// Allocater is fallocate(2). Missing: EOPNOTSUPP.
type Allocater interface {
	Allocate(c *Caller, mode uint32, off, length int64) abi.Errno
}

// Flusher is told of each close(2) of a descriptor, before the reference goes; its errno is close's.
type Flusher interface {
	Flush(c *Caller) abi.Errno
}

// Controller handles fcntl(2) commands of its own (F_SETPIPE_SZ, F_ADD_SEALS). Missing, or handled false: EINVAL.
type Controller interface {
	Fcntl(c *Caller, o *Open, cmd int, arg uint64) (res uint64, e abi.Errno, handled bool)
}

// FlagChecker may refuse a change of status flags by F_SETFL, or learn of it.
type FlagChecker interface {
	SetFlags(c *Caller, old, new uint32) abi.Errno
}

// Asyncer is a File that sends SIGIO: it is given the open file's owner whenever O_ASYNC or the owner changes.
type Asyncer interface {
	SetAsync(o *Open, on bool)
}

// Reopener lets /proc/self/fd/N of an anonymous file be opened again (pipes). Missing: ENXIO.
type Reopener interface {
	Reopen(c *Caller, flags uint32) (File, abi.Errno)
}

// Describer adds lines to /proc/PID/fdinfo/N.
type Describer interface {
	Describe(c *Caller) string
}

// NoFile refuses what a File must have: EINVAL. Embed it for files that only poll or only ioctl.
type NoFile struct{}

// Read refuses.
func (NoFile) Read(*Caller, *mm.Buf, At) (int, abi.Errno) { return 0, abi.EINVAL }

// Write refuses.
func (NoFile) Write(*Caller, *mm.Buf, At) (int, abi.Errno) { return 0, abi.EINVAL }

// Release does nothing.
func (NoFile) Release() {}

// Ready are the masks of a file that is always readable and writable.
const Ready = sched.Mask(abi.POLLIN | abi.POLLOUT | abi.EPOLLRDNORM | abi.EPOLLWRNORM)
