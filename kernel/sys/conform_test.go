package sys

import (
	"fmt"
	"os"
	"regexp"
	"runtime"
	"slices"
	"syscall"
	"testing"
	"unsafe"

	"goum/arch/abi"
)

// A symbol stands for a descriptor that each side opens for itself.
type symbol int

const (
	file  symbol = iota // a regular file, read and write
	ro                  // the same, read only
	wo                  // the same, write only
	app                 // the same, for appending
	dir                 // the directory that it is in
	opath               // O_PATH of the file
	pipeR
	pipeW
	evfd
	epfd
	tfd
	symbols
)

const (
	bad  = uint64(8) // an address where nothing is
	cwd  = ^uint64(99)
	none = ^uint64(0) // no descriptor
)

// prepare opens what the symbols stand for, in a directory of its own that is the working directory.
func prepare(call func(nr uint64, a ...any) uint64) (fds [symbols]uint64) {
	fds[file] = call(abi.SYS_OPEN, "file", abi.O_CREAT|abi.O_RDWR, 0o644)
	call(abi.SYS_WRITE, fds[file], "0123456789", 10)
	fds[ro] = call(abi.SYS_OPEN, "file", abi.O_RDONLY, 0)
	fds[wo] = call(abi.SYS_OPEN, "file", abi.O_WRONLY, 0)
	fds[app] = call(abi.SYS_OPEN, "file", abi.O_WRONLY|abi.O_APPEND, 0)
	fds[dir] = call(abi.SYS_OPEN, ".", abi.O_RDONLY|abi.O_DIRECTORY, 0)
	fds[opath] = call(abi.SYS_OPEN, "file", abi.O_PATH, 0)
	call(abi.SYS_MKDIR, "sub", 0o755)
	call(abi.SYS_SYMLINK, "file", "link")
	call(abi.SYS_SYMLINK, "loop", "loop")
	call(abi.SYS_SYMLINK, "none", "dangling")
	var p [2]int32
	call(abi.SYS_PIPE2, &p, abi.O_NONBLOCK)
	fds[pipeR], fds[pipeW] = uint64(p[0]), uint64(p[1])
	fds[evfd] = call(abi.SYS_EVENTFD2, 0, abi.EFD_NONBLOCK)
	fds[epfd] = call(abi.SYS_EPOLL_CREATE1, 0)
	fds[tfd] = call(abi.SYS_TIMERFD_CREATE, abi.CLOCK_MONOTONIC, abi.TFD_NONBLOCK)
	return fds
}

type op struct {
	nr uint64
	a  []any // numbers, symbols, strings, and []byte or plain values, whose address is passed
}

func do(nr uint64, a ...any) op { return op{nr, a} }

func iov(v ...abi.Iovec) []byte { return append([]byte(nil), abi.SliceBytes(v)...) }

func plain[T any](v T) []byte { return append([]byte(nil), abi.Bytes(&v)...) }

// ops are calls that mostly fail; the order of checks shows in which errno wins. They change nothing that later ones see.
func ops() []op {
	room := make([]byte, 8192)
	long := string(make([]byte, 0))
	for range 300 {
		long += "n"
	}
	longer := ""
	for range 20 {
		longer += long + "/"
	}
	flk := func(typ, whence int16, start, length int64) []byte {
		return plain(abi.FlockT{Type: typ, Whence: whence, Start: start, Len: length})
	}
	ts := func(s, n int64) []byte { return plain(abi.Timespec{Sec: s, Nsec: n}) }
	its := func(s, n int64) []byte { return plain(abi.ItimerSpec{Value: abi.Timespec{Sec: s, Nsec: n}}) }
	var list []op
	add := func(o ...op) { list = append(list, o...) }
	for _, f := range []any{file, ro, wo, dir, opath, pipeR, pipeW, evfd, epfd, none, 999} {
		add(do(abi.SYS_READ, f, bad, 8), do(abi.SYS_READ, f, uint64(1<<63), 1), do(abi.SYS_READ, f, room, 0), do(abi.SYS_WRITE, f, bad, 8),
			do(abi.SYS_WRITE, f, room, 0), do(abi.SYS_PREAD64, f, bad, 8, none), do(abi.SYS_PREAD64, f, bad, 1, 0), do(abi.SYS_PWRITE64, f, bad, 8, none),
			do(abi.SYS_PWRITE64, f, bad, 1, 0), do(abi.SYS_READV, f, bad, 1), do(abi.SYS_READV, f, bad, 0), do(abi.SYS_READV, f, room, 1025),
			do(abi.SYS_READV, f, iov(abi.Iovec{Base: 8, Len: 1 << 63}), 1), do(abi.SYS_WRITEV, f, bad, 1), do(abi.SYS_WRITEV, f, room, 0),
			do(abi.SYS_PREADV, f, bad, 1, none), do(abi.SYS_PREADV, f, bad, 1, 0), do(abi.SYS_PREADV2, f, iov(abi.Iovec{Base: 8, Len: 1}), 1, 0, 0, 1<<15),
			do(abi.SYS_PREADV2, f, bad, 1, ^uint64(1), 0, 0), do(abi.SYS_LSEEK, f, 0, 9), do(abi.SYS_LSEEK, f, none, 0), do(abi.SYS_LSEEK, f, 0, 0),
			do(abi.SYS_FSYNC, f), do(abi.SYS_FDATASYNC, f), do(abi.SYS_FTRUNCATE, f, none), do(abi.SYS_FTRUNCATE, f, 10), do(abi.SYS_FALLOCATE, f, 0, none, 1),
			do(abi.SYS_FALLOCATE, f, 0, 0, 0), do(abi.SYS_FALLOCATE, f, 1<<20, 0, 1), do(abi.SYS_FLOCK, f, 99), do(abi.SYS_FLOCK, f, abi.LOCK_SH|abi.LOCK_NB), do(abi.SYS_FLOCK, f, abi.LOCK_UN),
			do(abi.SYS_FCNTL, f, 999, 0), do(abi.SYS_FCNTL, f, abi.F_GETFD, 0), do(abi.SYS_FCNTL, f, abi.F_GETLK, bad), do(abi.SYS_FCNTL, f, abi.F_SETLK, bad),
			do(abi.SYS_FCNTL, f, abi.F_SETLK, flk(9, 0, 0, 0)), do(abi.SYS_FCNTL, f, abi.F_SETLK, flk(0, 9, 0, 0)), do(abi.SYS_FCNTL, f, abi.F_SETLK, flk(0, 0, -1, 0)),
			do(abi.SYS_FCNTL, f, abi.F_SETLK, flk(1, 0, 0, 0)), do(abi.SYS_FCNTL, f, abi.F_SETLK, flk(0, 0, 0, 0)), do(abi.SYS_FCNTL, f, abi.F_SETLK, flk(2, 0, 0, 0)),
			do(abi.SYS_FCNTL, f, abi.F_OFD_SETLK, flk(1, 0, 0, 0)), do(abi.SYS_FCNTL, f, abi.F_OFD_SETLK, flk(2, 0, 0, 0)),
			do(abi.SYS_FCNTL, f, abi.F_GETPIPE_SZ, 0), do(abi.SYS_FCNTL, f, abi.F_SETSIG, 99), do(abi.SYS_FCNTL, f, abi.F_SETOWN, 1<<20), do(abi.SYS_FCNTL, f, abi.F_SETOWN_EX, bad),
			do(abi.SYS_FCNTL, f, abi.F_DUPFD, 1<<30), do(abi.SYS_FCNTL, f, abi.F_GET_SEALS, 0), do(abi.SYS_FSTAT, f, bad), do(abi.SYS_FSTATFS, f, bad), do(abi.SYS_FCHMOD, f, 0o644), do(abi.SYS_FCHDIR, f),
			do(abi.SYS_GETDENTS64, f, bad, 8), do(abi.SYS_GETDENTS64, f, room, 8), do(abi.SYS_IOCTL, f, 0x5401, bad), do(abi.SYS_IOCTL, f, 0x541b, bad), do(abi.SYS_IOCTL, f, 0x5421, bad),
			do(abi.SYS_FADVISE64, f, 0, 0, 99), do(abi.SYS_FADVISE64, f, 0, none, 0), do(abi.SYS_READAHEAD, f, 0, 1), do(abi.SYS_SYNC_FILE_RANGE, f, none, 0, 0), do(abi.SYS_SYNC_FILE_RANGE, f, 0, 0, 99),
			do(abi.SYS_SYNCFS, f), do(abi.SYS_FGETXATTR, f, "", 0, 0), do(abi.SYS_FGETXATTR, f, bad, 0, 0), do(abi.SYS_FSETXATTR, f, "user.x", bad, 1, 0), do(abi.SYS_FSETXATTR, f, "user.x", 0, 0, 99),
			do(abi.SYS_FSETXATTR, f, "user.x", bad, 1<<20, 0), do(abi.SYS_FREMOVEXATTR, f, long), do(abi.SYS_MMAP, 0, 0, 1, 1, f, 0), do(abi.SYS_MMAP, 0, 4096, 1, 0, f, 0), do(abi.SYS_MMAP, 0, 4096, 1, 1, f, 1),
			do(abi.SYS_MMAP, 0, none, 1, 1, f, 0), do(abi.SYS_MMAP, 0, 4096, 1, abi.MAP_SHARED_VALIDATE|1<<30, f, 0),
			do(abi.SYS_SENDFILE, f, file, bad, 1), do(abi.SYS_SENDFILE, file, f, 0, 0), do(abi.SYS_SENDFILE, file, f, plain(int64(-1)), 1), do(abi.SYS_SPLICE, f, 0, file, 0, 1, 99), do(abi.SYS_SPLICE, f, bad, pipeW, 0, 1, 2),
			do(abi.SYS_SPLICE, f, 0, file, 0, 0, 0), do(abi.SYS_SPLICE, f, 0, ro, 0, 1, 2), do(abi.SYS_TEE, f, pipeW, 0, 0), do(abi.SYS_TEE, f, pipeW, 1, 99), do(abi.SYS_TEE, f, file, 1, 2), do(abi.SYS_VMSPLICE, f, bad, 1, 0),
			do(abi.SYS_VMSPLICE, f, bad, 0, 99), do(abi.SYS_COPY_FILE_RANGE, f, 0, file, 0, 1, 1), do(abi.SYS_COPY_FILE_RANGE, f, bad, file, 0, 1, 0), do(abi.SYS_COPY_FILE_RANGE, f, 0, ro, 0, 0, 0),
			do(abi.SYS_COPY_FILE_RANGE, ro, 0, f, plain(int64(1<<63-1)), 0, 0), do(abi.SYS_EPOLL_CTL, f, 1, evfd, bad), do(abi.SYS_EPOLL_CTL, f, 2, evfd, bad), do(abi.SYS_EPOLL_CTL, epfd, 99, f, room), do(abi.SYS_EPOLL_WAIT, f, bad, 1, 0),
			do(abi.SYS_EPOLL_WAIT, f, room, 0, 0), do(abi.SYS_TIMERFD_SETTIME, f, 99, its(1, 0), 0), do(abi.SYS_TIMERFD_SETTIME, f, 0, its(-1, 0), 0), do(abi.SYS_TIMERFD_SETTIME, f, 0, bad, 0), do(abi.SYS_TIMERFD_GETTIME, f, bad),
			do(abi.SYS_SIGNALFD4, f, plain(uint64(0)), 4, 0), do(abi.SYS_SIGNALFD4, f, plain(uint64(0)), 8, 99), do(abi.SYS_INOTIFY_ADD_WATCH, f, "file", 0), do(abi.SYS_INOTIFY_ADD_WATCH, f, bad, 2), do(abi.SYS_INOTIFY_RM_WATCH, f, 1),
			do(abi.SYS_PIDFD_SEND_SIGNAL, f, 0, 0, 0), do(abi.SYS_DUP3, f, f, 0), do(abi.SYS_DUP2, f, none), do(abi.SYS_DUP3, f, 1<<30, 0),
		)
		for _, p := range []any{"", "none", "file", "file/", "sub", "sub/", ".", "..", "/", "link", "link/x", "loop", "dangling", "none/x", "file/x", long, longer, bad} {
			if f != dir && f != none && f != file {
				break
			}
			add(do(abi.SYS_NEWFSTATAT, f, p, bad, 0), do(abi.SYS_NEWFSTATAT, f, p, room, abi.AT_SYMLINK_NOFOLLOW), do(abi.SYS_NEWFSTATAT, f, p, room, 1),
				do(abi.SYS_FACCESSAT2, f, p, 99, 0), do(abi.SYS_FACCESSAT2, f, p, 4, 0), do(abi.SYS_FACCESSAT2, f, p, 4, 1), do(abi.SYS_STATX, f, p, 0, 1<<31, room), do(abi.SYS_STATX, f, p, 0, 0, bad),
				do(abi.SYS_OPENAT, f, p, abi.O_RDWR|abi.O_DIRECTORY, 0), do(abi.SYS_OPENAT, f, p, abi.O_CREAT|abi.O_EXCL|abi.O_DIRECTORY, 0), do(abi.SYS_OPENAT, f, p, abi.O_NOFOLLOW|abi.O_WRONLY|abi.O_DIRECTORY, 0),
				do(abi.SYS_READLINKAT, f, p, bad, 10), do(abi.SYS_READLINKAT, f, p, room, 0), do(abi.SYS_UNLINKAT, f, p, 1), do(abi.SYS_FCHMODAT2, f, p, 0, 1),
				do(abi.SYS_FCHOWNAT, f, p, none, none, 1), do(abi.SYS_UTIMENSAT, f, p, plain([2]abi.Timespec{{Nsec: 1e9 + 5}, {}}), 0), do(abi.SYS_UTIMENSAT, f, p, bad, 0), do(abi.SYS_UTIMENSAT, f, p, 0, 1),
				do(abi.SYS_RENAMEAT2, f, p, f, p, 99), do(abi.SYS_RENAMEAT2, f, p, f, "none/y", 0), do(abi.SYS_RENAMEAT2, f, "none", f, p, 0), do(abi.SYS_RENAMEAT2, f, p, f, "sub", abi.RENAME_NOREPLACE),
				do(abi.SYS_LINKAT, f, p, f, "file", 0), do(abi.SYS_LINKAT, f, p, f, "x", 1), do(abi.SYS_LINKAT, f, "none", f, p, 0), do(abi.SYS_MKDIRAT, f, "sub/none/x", 0), do(abi.SYS_SYMLINKAT, p, f, "file"),
				do(abi.SYS_SYMLINKAT, "t", f, "file/x"), do(abi.SYS_MKNODAT, f, p, abi.S_IFDIR, 0), do(abi.SYS_MKNODAT, f, "file", abi.S_IFIFO, 0), do(abi.SYS_EXECVEAT, f, p, 0, 0, 1))
		}
	}
	for _, p := range []any{"", "none", "file", "sub", "loop", "file/x", long, bad, 0} {
		add(do(abi.SYS_CHDIR, p), do(abi.SYS_TRUNCATE, p, none), do(abi.SYS_STATFS, p, bad), do(abi.SYS_GETXATTR, p, "user.x", 0, 0), do(abi.SYS_GETXATTR, p, "", 0, 0), do(abi.SYS_GETXATTR, p, "nothing", 0, 0),
			do(abi.SYS_LISTXATTR, p, bad, 1), do(abi.SYS_REMOVEXATTR, p, "user.none"), do(abi.SYS_UMOUNT2, p, 99), do(abi.SYS_UMOUNT2, p, 0), do(abi.SYS_MOUNT, 0, p, "nosuchfs", 0, 0), do(abi.SYS_MOUNT, 0, p, 0, 0, 0), do(abi.SYS_MOUNT, bad, p, "tmpfs", 0, 0),
			do(abi.SYS_UTIMES, p, plain([2]abi.Timeval{{Usec: 1e6}, {}})), do(abi.SYS_CREAT, p, 0), do(abi.SYS_OPENAT2, cwd, p, bad, 24), do(abi.SYS_OPENAT2, cwd, p, plain(abi.OpenHow{Mode: 1}), 24), do(abi.SYS_OPENAT2, cwd, p, plain(abi.OpenHow{Resolve: 1 << 20}), 24), do(abi.SYS_INOTIFY_ADD_WATCH, evfd, p, 2))
	}
	add(do(abi.SYS_PIPE2, bad, 1<<30), do(abi.SYS_PIPE2, bad, 0), do(abi.SYS_GETCWD, bad, 100), do(abi.SYS_GETCWD, bad, 1), do(abi.SYS_MEMFD_CREATE, bad, 0), do(abi.SYS_MEMFD_CREATE, bad, 1<<20), do(abi.SYS_MEMFD_CREATE, long, 0), do(abi.SYS_CLOSE_RANGE, 9, 8, 0), do(abi.SYS_CLOSE_RANGE, 9, 10, 99),
		do(abi.SYS_MPROTECT, 1, 0, 0), do(abi.SYS_MPROTECT, 0x1000, 4096, 1<<30), do(abi.SYS_MPROTECT, 0x1000, 4096, 1), do(abi.SYS_MPROTECT, 0x1000, 0, 1), do(abi.SYS_MUNMAP, 1, 4096), do(abi.SYS_MUNMAP, 0x1000, 0), do(abi.SYS_MUNMAP, 0x1000, none), do(abi.SYS_MREMAP, 1, 4096, 4096, 0, 0), do(abi.SYS_MREMAP, 0x1000, 4096, 0, 0, 0), do(abi.SYS_MREMAP, 0x1000, 4096, 4096, 99, 0),
		do(abi.SYS_MREMAP, 0x1000, 4096, 8192, 1, 0), do(abi.SYS_MADVISE, 1, 4096, 4), do(abi.SYS_MADVISE, 0x1000, 4096, 4), do(abi.SYS_MADVISE, 0x1000, 4096, 99), do(abi.SYS_MADVISE, 0x1000, 0, 4), do(abi.SYS_MINCORE, 1, 1, bad), do(abi.SYS_MINCORE, 0x1000, 4096, bad), do(abi.SYS_MINCORE, 0x1000, none, room), do(abi.SYS_MINCORE, 0x1000, 4096, room),
		do(abi.SYS_MSYNC, 1, 1, 0), do(abi.SYS_MSYNC, 0x1000, 4096, 99), do(abi.SYS_MSYNC, 0x1000, 4096, 5), do(abi.SYS_MSYNC, 0x1000, 4096, 4), do(abi.SYS_MSYNC, 0x1000, 0, 4), do(abi.SYS_MLOCK, 0x1000, 4096), do(abi.SYS_MLOCK2, 0x1000, 4096, 99), do(abi.SYS_MLOCKALL, 0), do(abi.SYS_MLOCKALL, 4), do(abi.SYS_MLOCKALL, 99),
		do(abi.SYS_MMAP, 1, 4096, 1, abi.MAP_PRIVATE|abi.MAP_ANONYMOUS|abi.MAP_FIXED, none, 0), do(abi.SYS_MMAP, 0, 4096, 1, abi.MAP_ANONYMOUS, none, 0), do(abi.SYS_MMAP, 0, 1<<50, 1, abi.MAP_PRIVATE|abi.MAP_ANONYMOUS, none, 0), do(abi.SYS_MMAP, 0, 4096, 1, abi.MAP_PRIVATE|abi.MAP_ANONYMOUS, none, 77),
		do(abi.SYS_NANOSLEEP, bad, 0), do(abi.SYS_NANOSLEEP, ts(-1, 0), bad), do(abi.SYS_NANOSLEEP, ts(0, 1e9), bad), do(abi.SYS_CLOCK_NANOSLEEP, 99, 0, bad, 0), do(abi.SYS_CLOCK_NANOSLEEP, 4, 0, bad, 0), do(abi.SYS_CLOCK_NANOSLEEP, 1, 0, bad, 0), do(abi.SYS_CLOCK_NANOSLEEP, 1, 0, ts(0, -1), 0), do(abi.SYS_CLOCK_NANOSLEEP, 5, 0, ts(0, 0), 0), do(abi.SYS_CLOCK_NANOSLEEP, 3, 0, ts(0, 0), 0),
		do(abi.SYS_CLOCK_GETTIME, 99, bad), do(abi.SYS_CLOCK_GETTIME, 1, bad), do(abi.SYS_CLOCK_GETTIME, 10, room), do(abi.SYS_CLOCK_GETTIME, none, room), do(abi.SYS_CLOCK_GETRES, 99, bad), do(abi.SYS_CLOCK_GETRES, 1, 0), do(abi.SYS_CLOCK_GETRES, 1, bad), do(abi.SYS_CLOCK_SETTIME, 1, ts(0, 0)), do(abi.SYS_CLOCK_SETTIME, 99, bad), do(abi.SYS_CLOCK_SETTIME, 0, bad), do(abi.SYS_CLOCK_SETTIME, 0, ts(-1, 0)), do(abi.SYS_CLOCK_SETTIME, 2, ts(1, 0)),
		do(abi.SYS_GETITIMER, 9, bad), do(abi.SYS_GETITIMER, 0, bad), do(abi.SYS_SETITIMER, 9, room, 0), do(abi.SYS_SETITIMER, 0, bad, 0), do(abi.SYS_SETITIMER, 0, plain(abi.Itimerval{Value: abi.Timeval{Usec: 1e6}}), 0), do(abi.SYS_TIMER_CREATE, 99, 0, room), do(abi.SYS_TIMER_CREATE, 1, bad, room), do(abi.SYS_TIMER_CREATE, 1, plain(abi.Sigevent{Notify: 99}), room), do(abi.SYS_TIMER_CREATE, 1, plain(abi.Sigevent{Signo: 99}), room), do(abi.SYS_TIMER_CREATE, 1, 0, bad), do(abi.SYS_TIMER_CREATE, 4, 0, room),
		do(abi.SYS_TIMER_SETTIME, 77, 0, its(1, 0), 0), do(abi.SYS_TIMER_SETTIME, 77, 0, 0, 0), do(abi.SYS_TIMER_SETTIME, 77, 0, its(-1, 0), 0), do(abi.SYS_TIMER_GETTIME, 77, bad), do(abi.SYS_TIMER_DELETE, 77), do(abi.SYS_TIMER_GETOVERRUN, 77), do(abi.SYS_TIMERFD_CREATE, 99, 0), do(abi.SYS_TIMERFD_CREATE, 1, 99), do(abi.SYS_TIMERFD_CREATE, 3, 0), do(abi.SYS_SETTIMEOFDAY, plain(abi.Timeval{Usec: -1}), 0), do(abi.SYS_SETTIMEOFDAY, bad, 0),
		do(abi.SYS_KILL, 1<<22, 0), do(abi.SYS_KILL, 1<<22, 99), do(abi.SYS_TKILL, 0, 1), do(abi.SYS_TKILL, 1<<22, 99), do(abi.SYS_TGKILL, 0, 1, 1), do(abi.SYS_TGKILL, 1<<22, 1<<22, 1), do(abi.SYS_RT_SIGACTION, 99, bad, 0, 8), do(abi.SYS_RT_SIGACTION, 99, 0, 0, 8), do(abi.SYS_RT_SIGACTION, 9, room, 0, 8), do(abi.SYS_RT_SIGACTION, 9, 0, 0, 8), do(abi.SYS_RT_SIGACTION, 1, 0, bad, 8), do(abi.SYS_RT_SIGACTION, 1, 0, 0, 4),
		do(abi.SYS_RT_SIGPROCMASK, 99, 0, 0, 8), do(abi.SYS_RT_SIGPROCMASK, 99, room, 0, 8), do(abi.SYS_RT_SIGPROCMASK, 0, bad, 0, 8), do(abi.SYS_RT_SIGPROCMASK, 0, 0, 0, 9), do(abi.SYS_RT_SIGPENDING, bad, 9), do(abi.SYS_RT_SIGPENDING, bad, 8), do(abi.SYS_RT_SIGPENDING, room, 4), do(abi.SYS_RT_SIGSUSPEND, bad, 8), do(abi.SYS_RT_SIGSUSPEND, room, 4), do(abi.SYS_RT_SIGTIMEDWAIT, bad, 0, 0, 8), do(abi.SYS_RT_SIGTIMEDWAIT, plain(uint64(1<<40)), 0, ts(0, 1e9), 8), do(abi.SYS_RT_SIGTIMEDWAIT, plain(uint64(1<<40)), 0, ts(0, 0), 8),
		do(abi.SYS_RT_SIGQUEUEINFO, 1<<22, 1, bad), do(abi.SYS_RT_SIGQUEUEINFO, 1<<22, 1, room), do(abi.SYS_RT_TGSIGQUEUEINFO, 0, 0, 1, bad), do(abi.SYS_RT_TGSIGQUEUEINFO, 0, 0, 1, room), do(abi.SYS_SIGALTSTACK, bad, 0),
		do(abi.SYS_WAIT4, 1<<22, 0, 1<<20, 0), do(abi.SYS_WAIT4, 1<<22, 0, 1, 0), do(abi.SYS_WAITID, 99, 0, 0, 4), do(abi.SYS_WAITID, 1, 0, 0, 4), do(abi.SYS_WAITID, 1, 1<<22, 0, 0), do(abi.SYS_WAITID, 1, 1<<22, bad, 4|1), do(abi.SYS_WAITID, 3, none, 0, 4), do(abi.SYS_GETPGID, 1<<22), do(abi.SYS_GETPGID, none), do(abi.SYS_GETSID, 1<<22), do(abi.SYS_SETPGID, 1<<22, 0), do(abi.SYS_SETPGID, 0, none),
		do(abi.SYS_GETRLIMIT, 99, bad), do(abi.SYS_SETRLIMIT, 99, bad), do(abi.SYS_SETRLIMIT, 99, room), do(abi.SYS_SETRLIMIT, 5, plain(abi.Rlimit64{Cur: 2, Max: 1})), do(abi.SYS_PRLIMIT64, 1<<22, 99, 0, 0), do(abi.SYS_PRLIMIT64, 1<<22, 1, 0, 0), do(abi.SYS_PRLIMIT64, 1<<22, 1, bad, 0), do(abi.SYS_PRLIMIT64, 0, 1, 0, bad), do(abi.SYS_GETRUSAGE, 9, bad), do(abi.SYS_GETRUSAGE, 0, bad), do(abi.SYS_TIMES, bad), do(abi.SYS_SYSINFO, bad), do(abi.SYS_UNAME, bad), do(abi.SYS_GETGROUPS, none, 0), do(abi.SYS_SETGROUPS, 1<<20, bad), do(abi.SYS_SETGROUPS, 1, bad), do(abi.SYS_GETRESUID, bad, bad, bad),
		do(abi.SYS_PRCTL, 9999), do(abi.SYS_PRCTL, 1, 99), do(abi.SYS_PRCTL, 2, bad), do(abi.SYS_PRCTL, 4, 2), do(abi.SYS_PRCTL, 15, bad), do(abi.SYS_PRCTL, 16, bad), do(abi.SYS_PRCTL, 23, 99), do(abi.SYS_PRCTL, 36, 1, 0, 0, 0), do(abi.SYS_PRCTL, 38, 0, 0, 0, 0), do(abi.SYS_PRCTL, 38, 1, 1, 0, 0), do(abi.SYS_PRCTL, 39, 1, 0, 0, 0), do(abi.SYS_PRCTL, 41, 2, 0, 0, 0), do(abi.SYS_PRCTL, 42, 1, 0, 0, 0), do(abi.SYS_PRCTL, 47, 99, 0, 0, 0), do(abi.SYS_PRCTL, 8, 2), do(abi.SYS_PRCTL, 14, 1), do(abi.SYS_PRCTL, 13), do(abi.SYS_PRCTL, 26, 9), do(abi.SYS_PRCTL, 25, bad), do(abi.SYS_PRCTL, 33, 5), do(abi.SYS_PRCTL, 34, 1), do(abi.SYS_PRCTL, 35, 99),
		do(abi.SYS_ARCH_PRCTL, 0x1002, none), do(abi.SYS_ARCH_PRCTL, 0x1003, bad), do(abi.SYS_ARCH_PRCTL, 0x9999, 0), do(abi.SYS_SET_ROBUST_LIST, 0, 8), do(abi.SYS_GET_ROBUST_LIST, 1<<22, bad, bad), do(abi.SYS_GET_ROBUST_LIST, 0, bad, room), do(abi.SYS_CLONE, abi.CLONE_SIGHAND, 0, 0, 0, 0), do(abi.SYS_CLONE, abi.CLONE_THREAD|abi.CLONE_SIGHAND, 0, 0, 0, 0), do(abi.SYS_CLONE, abi.CLONE_FS|abi.CLONE_NEWNS, 0, 0, 0, 0), do(abi.SYS_CLONE3, bad, 8), do(abi.SYS_CLONE3, bad, 88), do(abi.SYS_CLONE3, bad, 5000), do(abi.SYS_CLONE3, plain(abi.CloneArgs{ExitSignal: 99}), 88), do(abi.SYS_CLONE3, plain(abi.CloneArgs{Flags: 17}), 88), do(abi.SYS_CLONE3, plain(abi.CloneArgs{SetTIDSize: 1}), 88), do(abi.SYS_CLONE3, plain(abi.CloneArgs{StackSize: 1}), 88), do(abi.SYS_CLONE3, plain(abi.CloneArgs{Stack: 1 << 62, StackSize: 1 << 63}), 88),
		do(abi.SYS_SCHED_SETSCHEDULER, 0, 0, 0), do(abi.SYS_SCHED_SETSCHEDULER, 1<<22, 0, bad), do(abi.SYS_SCHED_SETSCHEDULER, 1<<22, 0, room), do(abi.SYS_SCHED_SETSCHEDULER, 0, 99, room), do(abi.SYS_SCHED_SETSCHEDULER, 0, 1, room), do(abi.SYS_SCHED_SETSCHEDULER, none, 0, room), do(abi.SYS_SCHED_GETPARAM, 0, 0), do(abi.SYS_SCHED_GETPARAM, 1<<22, bad), do(abi.SYS_SCHED_GETSCHEDULER, none), do(abi.SYS_SCHED_GETSCHEDULER, 1<<22), do(abi.SYS_SCHED_GET_PRIORITY_MAX, 99), do(abi.SYS_SCHED_GET_PRIORITY_MIN, 1), do(abi.SYS_SCHED_RR_GET_INTERVAL, none, bad), do(abi.SYS_SCHED_RR_GET_INTERVAL, 0, bad), do(abi.SYS_SCHED_SETAFFINITY, 0, 8, bad), do(abi.SYS_SCHED_SETAFFINITY, 0, 8, plain(uint64(0))), do(abi.SYS_SCHED_SETAFFINITY, 1<<22, 8, room), do(abi.SYS_SCHED_GETAFFINITY, 0, 9, bad), do(abi.SYS_SCHED_GETAFFINITY, 1<<22, 128, bad), do(abi.SYS_SCHED_GETAFFINITY, 0, 128, bad), do(abi.SYS_SCHED_SETATTR, 0, 0, 0), do(abi.SYS_SCHED_SETATTR, 0, plain(abi.SchedAttr{Size: 8}), 0), do(abi.SYS_SCHED_SETATTR, 0, plain(abi.SchedAttr{Size: 48, Policy: 99}), 0), do(abi.SYS_SCHED_SETATTR, 0, plain(abi.SchedAttr{Size: 48}), 1), do(abi.SYS_SCHED_GETATTR, 0, room, 8, 0), do(abi.SYS_SCHED_GETATTR, 0, bad, 56, 0),
		do(abi.SYS_GETPRIORITY, 9, 0), do(abi.SYS_GETPRIORITY, 0, 1<<22), do(abi.SYS_SETPRIORITY, 9, 0, 0), do(abi.SYS_SETPRIORITY, 0, 1<<22, 0), do(abi.SYS_IOPRIO_GET, 9, 0), do(abi.SYS_IOPRIO_SET, 1, 0, 7<<13), do(abi.SYS_GETCPU, bad, 0, 0), do(abi.SYS_CAPGET, bad, 0), do(abi.SYS_CAPGET, plain(abi.CapHeader{Version: 1}), 0), do(abi.SYS_CAPGET, plain(abi.CapHeader{Version: 0x20080522, PID: -1}), room), do(abi.SYS_CAPGET, plain(abi.CapHeader{Version: 0x20080522, PID: 1 << 22}), room), do(abi.SYS_CAPSET, plain(abi.CapHeader{Version: 0x20080522, PID: 1 << 22}), room), do(abi.SYS_CAPSET, plain(abi.CapHeader{Version: 0x20080522}), bad),
		do(abi.SYS_POLL, bad, 1, 0), do(abi.SYS_POLL, bad, 1<<30, 0), do(abi.SYS_PPOLL, bad, 0, ts(-1, 0), 0, 8), do(abi.SYS_PPOLL, bad, 0, bad, 0, 8), do(abi.SYS_PPOLL, bad, 0, ts(0, 0), bad, 8), do(abi.SYS_PPOLL, bad, 0, ts(0, 0), room, 9), do(abi.SYS_SELECT, none, 0, 0, 0, plain(abi.Timeval{})), do(abi.SYS_SELECT, 1, bad, 0, 0, plain(abi.Timeval{})), do(abi.SYS_SELECT, 1, 0, 0, 0, plain(abi.Timeval{Sec: -1})), do(abi.SYS_SELECT, 1, 0, 0, 0, bad), do(abi.SYS_PSELECT6, 0, 0, 0, 0, ts(0, 0), bad), do(abi.SYS_PSELECT6, 0, 0, 0, 0, ts(0, 0), plain([2]uint64{8, 8})), do(abi.SYS_PSELECT6, 0, 0, 0, 0, ts(0, 0), plain([2]uint64{8, 9})),
		do(abi.SYS_EPOLL_CREATE, 0), do(abi.SYS_EPOLL_CREATE1, 99), do(abi.SYS_EVENTFD2, 0, 1<<20), do(abi.SYS_SIGNALFD4, none, bad, 8, 0), do(abi.SYS_INOTIFY_INIT1, 99), do(abi.SYS_PIDFD_OPEN, 0, 0), do(abi.SYS_PIDFD_OPEN, 1<<22, 0), do(abi.SYS_PIDFD_OPEN, 1, 99), do(abi.SYS_EPOLL_PWAIT, epfd, room, 1, 0, bad, 8), do(abi.SYS_EPOLL_PWAIT, epfd, room, 1, 0, room, 9), do(abi.SYS_EPOLL_PWAIT2, epfd, room, 1, ts(-1, 0), 0, 8),
		do(abi.SYS_FUTEX, bad, 0, 0, 0, 0, 0), do(abi.SYS_FUTEX, 1, 0, 0, 0, 0, 0), do(abi.SYS_FUTEX, room, 99, 0, 0, 0, 0), do(abi.SYS_FUTEX, room, 0, 1, 0, 0, 0), do(abi.SYS_FUTEX, room, 0, 0, bad, 0, 0), do(abi.SYS_FUTEX, room, 0, 0, ts(-1, 0), 0, 0), do(abi.SYS_FUTEX, room, 9, 0, 0, 0, 0), do(abi.SYS_FUTEX, room, 10, 0, 0, 0, 0), do(abi.SYS_FUTEX, room, 1|256, 0, 0, 0, 0), do(abi.SYS_FUTEX, room, 3, none, 1, room, 0), do(abi.SYS_FUTEX, room, 4, 1, 1, room, 7), do(abi.SYS_FUTEX_WAITV, bad, 0, 0, 0, 0), do(abi.SYS_FUTEX_WAITV, bad, 1, 0, 0, 0), do(abi.SYS_FUTEX_WAITV, bad, 1, 1, 0, 0),
		do(abi.SYS_GETRANDOM, bad, 1, 0), do(abi.SYS_GETRANDOM, room, 1, 99), do(abi.SYS_GETRANDOM, bad, 0, 0), do(abi.SYS_GETRANDOM, room, 1, 6), do(abi.SYS_REBOOT, 1, 2, 3, 0), do(abi.SYS_REBOOT, 0xfee1dead, 2, 3, 0), do(abi.SYS_REBOOT, 0xfee1dead, 672274793, 3, 0), do(abi.SYS_SETHOSTNAME, bad, 65), do(abi.SYS_SETHOSTNAME, bad, 1), do(abi.SYS_SETHOSTNAME, bad, none), do(abi.SYS_SYSFS, 99, 0, 0), do(abi.SYS_SYSFS, 1, bad, 0), do(abi.SYS_SYSFS, 2, 9999, room), do(abi.SYS_KCMP, 1<<22, 1<<22, 0, 0, 0), do(abi.SYS_PKEY_FREE, 99), do(abi.SYS_PKEY_ALLOC, 1, 0), do(abi.SYS_PKEY_ALLOC, 0, 99), do(abi.SYS_PKEY_MPROTECT, 0x1000, 4096, 1, 99), do(abi.SYS_UNSHARE, 1), do(abi.SYS_SYSLOG, 99, 0, 0), do(abi.SYS_SYSLOG, 3, 0, 1), do(abi.SYS_SYSLOG, 3, bad, none), do(abi.SYS_PERSONALITY, none>>32), do(abi.SYS_ADJTIMEX, bad),
	)
	return list
}

// differs are calls where this kernel answers otherwise, on purpose, and why.
var differs = []struct{ call, why string }{
	{`^fcntl\(\w+, 0x40a, `, "the files are in tmpfs, which has seals, and on the host's disk"},
	{`^sendfile\(file, dir, `, "positions in a directory of ext4 are large numbers"},
	{`^(lseek\((evfd|epfd)|sendfile\(file, (evfd|epfd))`, "Linux lets event files be seeked, to no effect"},
	{`^(read|readv|writev)\(epfd, `, "Linux sees that an epoll cannot be read before it looks at the buffer"},
	{`^ioctl\(epfd, `, "an epoll has an ioctl of its own, which knows one request"},
	{`^inotify_add_watch\(.*, (""|0x8|0x0), 0x2\)`, "the path is read before the descriptor is known to be no inotify"},
	{`^prctl\(0x23, `, "the host's root need not have CAP_SYS_RESOURCE"},
}

func (o op) String() string {
	s := New().Name(uint32(o.nr)) + "("
	for i, a := range o.a {
		if i > 0 {
			s += ", "
		}
		switch a := a.(type) {
		case symbol:
			s += [...]string{"file", "ro", "wo", "app", "dir", "opath", "pipeR", "pipeW", "evfd", "epfd", "tfd"}[a]
		case string:
			if len(a) > 20 {
				a = a[:20] + "..."
			}
			s += fmt.Sprintf("%q", a)
		case []byte:
			if len(a) > 32 {
				s += "room"
			} else {
				s += fmt.Sprintf("%x", a)
			}
		default:
			s += fmt.Sprintf("%#x", a)
		}
	}
	return s + ")"
}

// number turns the plain kinds of argument into a register.
func number(a any, fds *[symbols]uint64) (uint64, bool) {
	switch a := a.(type) {
	case int:
		return uint64(a), true
	case uint64:
		return a, true
	case symbol:
		return fds[a], true
	}
	return 0, false
}

// onHost makes the calls on the host, in a directory of the test's own.
func onHost(t *testing.T, list []op) (got []abi.Errno) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	old, _ := os.Getwd()
	if err := os.Chdir(t.TempDir()); err != nil {
		t.Fatal(err)
	}
	defer os.Chdir(old)
	var fds [symbols]uint64
	raw := func(o op) (uint64, abi.Errno) {
		var v [6]uintptr
		var keep []any
		for i, a := range o.a {
			if n, ok := number(a, &fds); ok {
				v[i] = uintptr(n)
				continue
			}
			switch a := a.(type) {
			case string:
				b := append([]byte(a), 0)
				keep = append(keep, b)
				v[i] = uintptr(unsafe.Pointer(&b[0]))
			case []byte:
				b := append([]byte(nil), a...)
				keep = append(keep, b)
				v[i] = uintptr(unsafe.Pointer(&b[0]))
			case *[2]int32:
				keep = append(keep, a)
				v[i] = uintptr(unsafe.Pointer(a))
			}
		}
		n, _, e := syscall.RawSyscall6(uintptr(o.nr), v[0], v[1], v[2], v[3], v[4], v[5])
		runtime.KeepAlive(keep)
		return uint64(n), abi.Errno(e)
	}
	fds = prepare(func(nr uint64, a ...any) uint64 {
		n, e := raw(op{nr, a})
		if e != 0 {
			t.Fatalf("%s: %s", op{nr, a}, e.Name())
		}
		return n
	})
	for _, o := range list {
		n, e := raw(o)
		undo(o, n, e, func(nr uint64, a uint64) { syscall.RawSyscall(uintptr(nr), uintptr(a), 0, 0) }, fds[dir])
		got = append(got, e)
	}
	for _, fd := range fds {
		syscall.Close(int(fd))
	}
	return got
}

// undo takes back what a call did: a descriptor that it made, a working directory.
func undo(o op, n uint64, e abi.Errno, call func(nr, a uint64), home uint64) {
	if e != 0 {
		return
	}
	switch o.nr {
	case abi.SYS_OPENAT, abi.SYS_OPENAT2, abi.SYS_CREAT, abi.SYS_MEMFD_CREATE, abi.SYS_PIDFD_OPEN, abi.SYS_TIMERFD_CREATE, abi.SYS_EPOLL_CREATE1,
		abi.SYS_DUP3:
		call(abi.SYS_CLOSE, n)
	case abi.SYS_CHDIR, abi.SYS_FCHDIR:
		call(abi.SYS_FCHDIR, home)
	}
}

func inRig(t *testing.T, list []op) (got []abi.Errno) {
	newRig(t).run(func(g *guest) {
		var fds [symbols]uint64
		raw := func(o op) (uint64, abi.Errno) {
			g.used = roomSize / 2
			var v [6]uint64
			var back *[2]int32
			var at uint64
			for i, a := range o.a {
				if n, ok := number(a, &fds); ok {
					v[i] = n
					continue
				}
				switch a := a.(type) {
				case string:
					v[i] = g.str(a)
				case []byte:
					v[i] = g.put(a)
				case *[2]int32:
					back, at = a, g.put(make([]byte, 8))
					v[i] = at
				}
			}
			n, e := g.call(o.nr, v[:]...)
			if back != nil {
				*back = load[[2]int32](g, at)
			}
			return n, e
		}
		g.must(abi.SYS_CHDIR, g.str("/tmp"))
		fds = prepare(func(nr uint64, a ...any) uint64 {
			n, e := raw(op{nr, a})
			if e != 0 {
				t.Errorf("%s: %s", op{nr, a}, e.Name())
			}
			return n
		})
		for _, o := range list {
			n, e := raw(o)
			undo(o, n, e, func(nr, a uint64) { g.call(nr, a) }, fds[dir])
			got = append(got, e)
		}
	})
	return got
}

// Linux is the oracle: the same calls with bad arguments fail in the same way on the host and through the table. It needs root on the host,
// since the guest's caller is root.
func TestErrnosAsOnHost(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("the guest is root, so the host must be")
	}
	list := ops()
	host, rig := onHost(t, list), inRig(t, list)
	if len(rig) != len(list) {
		t.Fatalf("only %d of %d calls came back", len(rig), len(list))
	}
	n := 0
	for i, o := range list {
		if host[i] == rig[i] {
			continue
		}
		if slices.ContainsFunc(differs, func(d struct{ call, why string }) bool { return regexp.MustCompile(d.call).MatchString(o.String()) }) {
			continue
		}
		t.Errorf("%s: Linux says %s, goum %s", o, host[i].Name(), rig[i].Name())
		n++
	}
	t.Logf("%d calls, %d differ", len(list), n)
}
