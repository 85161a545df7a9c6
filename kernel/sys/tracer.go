package sys

import (
	"fmt"
	"strconv"

	"goum/arch/abi"
	"goum/kernel/task"
)

// Bounds of one traced line: a guest chooses its strings and vectors.
const (
	traceString = 32 // bytes shown of a string or buffer, as strace
	tracePath   = 256
	traceVector = 16 // elements shown of a vector
)

// Tracer formats calls as strace does. One per traced task, used by its own goroutine: Enter before the call, Leave after it.
// Arguments up to the first one that the call fills are read on entry, since the call may change what they point to; the others after it.
type Tracer struct {
	task  *task.Task
	call  *Call
	name  string
	raw   [6]uint64
	at    int // the argument being shown
	shown int // how many were shown on entry
	ret   uint64
	errno abi.Errno
	buf   []byte
}

// Enter starts a line for a call of t.
func (tr *Tracer) Enter(t *task.Task, name string, c *Call, a Args) {
	tr.task, tr.call, tr.name, tr.raw = t, c, name, [6]uint64{a.A, a.B, a.C, a.D, a.E, a.F}
	tr.buf, tr.shown, tr.errno, tr.ret = append(tr.buf[:0], name...), 0, 0, 0
	tr.buf = append(tr.buf, '(')
	if c == nil {
		return
	}
	for tr.shown < len(c.args) && !c.args[tr.shown].out {
		tr.show()
	}
}

func (tr *Tracer) show() {
	if tr.shown > 0 {
		tr.str(", ")
	}
	tr.at = tr.shown
	tr.call.args[tr.at].show(tr, tr.raw[tr.at])
	tr.shown++
}

// Leave ends the line and returns it, without a newline; it is valid until the next Enter.
func (tr *Tracer) Leave(ret uint64, errno abi.Errno) []byte {
	tr.ret, tr.errno = ret, errno
	if tr.call != nil {
		for tr.shown < len(tr.call.args) {
			tr.show()
		}
	}
	tr.str(") = ")
	switch {
	case errno >= abi.ERESTARTSYS:
		tr.str("? ")
		tr.str(errno.Name())
	case errno != 0:
		tr.str("-1 ")
		tr.str(errno.Name())
	case tr.call != nil && tr.call.hex:
		tr.hex(ret)
	default:
		tr.buf = strconv.AppendInt(tr.buf, int64(ret), 10)
	}
	return tr.buf
}

// Unfinished returns the line so far, for a call that does not return (exit, a successful execve).
func (tr *Tracer) Unfinished() []byte {
	tr.str(") = ?")
	return tr.buf
}

func (tr *Tracer) str(s string) { tr.buf = append(tr.buf, s...) }
func (tr *Tracer) int(v int64)  { tr.buf = strconv.AppendInt(tr.buf, v, 10) }
func (tr *Tracer) uint(v uint64) {
	tr.buf = strconv.AppendUint(tr.buf, v, 10)
}
func (tr *Tracer) hex(v uint64) {
	tr.buf = strconv.AppendUint(append(tr.buf, "0x"...), v, 16)
}
func (tr *Tracer) ptr(v uint64) {
	if v == 0 {
		tr.str("NULL")
		return
	}
	tr.hex(v)
}

// quote appends b as a C string, with ... if it was cut.
func (tr *Tracer) quote(b []byte, cut bool) {
	tr.buf = append(tr.buf, '"')
	for _, c := range b {
		switch {
		case c == '"' || c == '\\':
			tr.buf = append(tr.buf, '\\', c)
		case c == '\n':
			tr.str(`\n`)
		case c == '\t':
			tr.str(`\t`)
		case c == '\r':
			tr.str(`\r`)
		case c < ' ' || c > '~':
			tr.buf = append(tr.buf, '\\', '0'+c>>6, '0'+c>>3&7, '0'+c&7)
		default:
			tr.buf = append(tr.buf, c)
		}
	}
	tr.buf = append(tr.buf, '"')
	if cut {
		tr.str("...")
	}
}

// cstr shows the string at addr.
func (tr *Tracer) cstr(addr uint64, max int) {
	if addr == 0 {
		tr.str("NULL")
		return
	}
	var b [tracePath]byte
	n, _ := tr.task.User().CopyInSome(b[:max], addr)
	if n == 0 {
		tr.hex(addr)
		return
	}
	for i, c := range b[:n] {
		if c == 0 {
			tr.quote(b[:i], false)
			return
		}
	}
	tr.quote(b[:n], true)
}

// bytes shows n bytes at addr.
func (tr *Tracer) bytes(addr, n uint64) {
	if addr == 0 {
		tr.str("NULL")
		return
	}
	var b [traceString]byte
	got, _ := tr.task.User().CopyInSome(b[:min(n, traceString)], addr)
	if got == 0 && n != 0 {
		tr.hex(addr)
		return
	}
	tr.quote(b[:got], n > traceString)
}

// flagName is one bit, or a value of several, and its name.
type flagName struct {
	bits uint64
	name string
}

// flags shows v as names joined by |; what has none in hexadecimal. empty stands for no bit at all, if it has a name.
func (tr *Tracer) flags(v uint64, names []flagName, empty string) {
	first := true
	sep := func() {
		if !first {
			tr.buf = append(tr.buf, '|')
		}
		first = false
	}
	if empty != "" && v == 0 {
		tr.str(empty)
		return
	}
	for _, f := range names {
		if v&f.bits == f.bits && f.bits != 0 {
			sep()
			tr.str(f.name)
			v &^= f.bits
		}
	}
	if v != 0 || first {
		sep()
		tr.hex(v)
	}
}

// one shows v by its name in names, or as a number.
func (tr *Tracer) one(v int64, names map[int64]string) {
	if n, ok := names[v]; ok {
		tr.str(n)
		return
	}
	tr.int(v)
}

func (v Int) Show(tr *Tracer)  { tr.int(int64(v)) }
func (v Uint) Show(tr *Tracer) { tr.uint(uint64(v)) }
func (v Long) Show(tr *Tracer) { tr.int(int64(v)) }
func (v Size) Show(tr *Tracer) { tr.uint(uint64(v)) }
func (v Off) Show(tr *Tracer)  { tr.int(int64(v)) }
func (v Hex) Show(tr *Tracer)  { tr.hex(uint64(v)) }
func (v Addr) Show(tr *Tracer) { tr.ptr(uint64(v)) }
func (v FD) Show(tr *Tracer)   { tr.int(int64(v)) }
func (v Pid) Show(tr *Tracer)  { tr.int(int64(v)) }
func (v UID) Show(tr *Tracer)  { tr.int(int64(int32(v))) }
func (v GID) Show(tr *Tracer)  { tr.int(int64(int32(v))) }
func (v Path) Show(tr *Tracer) { tr.cstr(uint64(v), tracePath) }
func (v Str) Show(tr *Tracer)  { tr.cstr(uint64(v), traceString) }

func (v DirFD) Show(tr *Tracer) {
	if v == abi.AT_FDCWD {
		tr.str("AT_FDCWD")
		return
	}
	tr.int(int64(v))
}

func (v InBuf) Show(tr *Tracer) {
	var n uint64
	if tr.at+1 < len(tr.raw) {
		n = tr.raw[tr.at+1]
	}
	tr.bytes(uint64(v), n)
}

func (v OutBuf) Show(tr *Tracer) {
	if tr.errno != 0 {
		tr.ptr(uint64(v))
		return
	}
	tr.bytes(uint64(v), tr.ret)
}

func (v Strs) Show(tr *Tracer) {
	if v == 0 {
		tr.str("NULL")
		return
	}
	tr.str("[")
	for i := range uint64(traceVector + 1) {
		p, e := In[uint64](v + Strs(8*i)).Load(tr.task)
		if e != 0 {
			tr.hex(uint64(v) + 8*i)
			break
		}
		if p == 0 {
			break
		}
		if i > 0 {
			tr.str(", ")
		}
		if i == traceVector {
			tr.str("...")
			break
		}
		tr.cstr(p, traceString)
	}
	tr.str("]")
}

func showValue[T any](tr *Tracer, addr uint64) {
	if addr == 0 {
		tr.str("NULL")
		return
	}
	v, e := In[T](addr).Load(tr.task)
	if e != 0 {
		tr.hex(addr)
		return
	}
	switch v := any(v).(type) {
	case abi.Timespec:
		tr.buf = fmt.Appendf(tr.buf, "{tv_sec=%d, tv_nsec=%d}", v.Sec, v.Nsec)
	case abi.Timeval:
		tr.buf = fmt.Appendf(tr.buf, "{tv_sec=%d, tv_usec=%d}", v.Sec, v.Usec)
	case abi.Stat:
		tr.buf = fmt.Appendf(tr.buf, "{st_mode=%#o, st_size=%d, ...}", v.Mode, v.Size)
	case abi.Sigset:
		tr.buf = fmt.Appendf(tr.buf, "[%#x]", uint64(v))
	case abi.Sigaction:
		tr.buf = fmt.Appendf(tr.buf, "{sa_handler=%#x, sa_mask=[%#x], sa_flags=%#x, sa_restorer=%#x}", v.Handler, uint64(v.Mask), v.Flags, v.Restorer)
	case int32, uint32, int64, uint64, [2]int32:
		tr.buf = fmt.Appendf(tr.buf, "[%v]", v)
	default:
		tr.buf = fmt.Appendf(tr.buf, "%+v", v)
	}
}

func (v In[T]) Show(tr *Tracer) { showValue[T](tr, uint64(v)) }
func (v Out[T]) Show(tr *Tracer) {
	if tr.errno != 0 {
		tr.ptr(uint64(v))
		return
	}
	showValue[T](tr, uint64(v))
}
func (v InOut[T]) Show(tr *Tracer) { Out[T](v).Show(tr) }

func (v Signal) Show(tr *Tracer) { tr.str(signalName(int(v))) }

func signalName(n int) string {
	if n > 0 && n < len(signalNames) {
		return "SIG" + signalNames[n]
	}
	if n >= abi.SIGRTMIN && n < abi.NSIG {
		return "SIGRT_" + strconv.Itoa(n-abi.SIGRTMIN)
	}
	return strconv.Itoa(n)
}

var signalNames = [...]string{
	1: "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE", "ALRM", "TERM", "STKFLT",
	"CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
}

func (v ClockID) Show(tr *Tracer) { tr.one(int64(v), clockNames) }

var clockNames = map[int64]string{0: "CLOCK_REALTIME", 1: "CLOCK_MONOTONIC", 2: "CLOCK_PROCESS_CPUTIME_ID", 3: "CLOCK_THREAD_CPUTIME_ID",
	4: "CLOCK_MONOTONIC_RAW", 5: "CLOCK_REALTIME_COARSE", 6: "CLOCK_MONOTONIC_COARSE", 7: "CLOCK_BOOTTIME", 8: "CLOCK_REALTIME_ALARM",
	9: "CLOCK_BOOTTIME_ALARM", 11: "CLOCK_TAI"}

func (v Whence) Show(tr *Tracer) {
	tr.one(int64(v), map[int64]string{0: "SEEK_SET", 1: "SEEK_CUR", 2: "SEEK_END", 3: "SEEK_DATA", 4: "SEEK_HOLE"})
}

func (v Mode) Show(tr *Tracer) { tr.buf = fmt.Appendf(tr.buf, "%#o", uint32(v)) }

func (v OpenFlags) Show(tr *Tracer) {
	switch v & abi.O_ACCMODE {
	case abi.O_RDONLY:
		tr.str("O_RDONLY")
	case abi.O_WRONLY:
		tr.str("O_WRONLY")
	case abi.O_RDWR:
		tr.str("O_RDWR")
	default:
		tr.str("O_ACCMODE")
	}
	if v &^= abi.O_ACCMODE; v != 0 {
		tr.buf = append(tr.buf, '|')
		tr.flags(uint64(v), openNames, "")
	}
}

var openNames = []flagName{{abi.O_TMPFILE, "O_TMPFILE"}, {abi.O_SYNC, "O_SYNC"}, {abi.O_CREAT, "O_CREAT"}, {abi.O_EXCL, "O_EXCL"},
	{abi.O_NOCTTY, "O_NOCTTY"}, {abi.O_TRUNC, "O_TRUNC"}, {abi.O_APPEND, "O_APPEND"}, {abi.O_NONBLOCK, "O_NONBLOCK"},
	{abi.O_DSYNC, "O_DSYNC"}, {abi.O_ASYNC, "O_ASYNC"}, {abi.O_DIRECT, "O_DIRECT"}, {0o100000, "O_LARGEFILE"},
	{abi.O_DIRECTORY, "O_DIRECTORY"}, {abi.O_NOFOLLOW, "O_NOFOLLOW"}, {abi.O_NOATIME, "O_NOATIME"}, {abi.O_CLOEXEC, "O_CLOEXEC"},
	{abi.O_PATH, "O_PATH"}}

func (v AtFlags) Show(tr *Tracer) {
	tr.flags(uint64(v), []flagName{{abi.AT_SYMLINK_NOFOLLOW, "AT_SYMLINK_NOFOLLOW"}, {abi.AT_REMOVEDIR, "AT_REMOVEDIR"},
		{abi.AT_SYMLINK_FOLLOW, "AT_SYMLINK_FOLLOW"}, {abi.AT_NO_AUTOMOUNT, "AT_NO_AUTOMOUNT"}, {abi.AT_EMPTY_PATH, "AT_EMPTY_PATH"}}, "0")
}

func (v AccessMode) Show(tr *Tracer) {
	tr.flags(uint64(v), []flagName{{4, "R_OK"}, {2, "W_OK"}, {1, "X_OK"}}, "F_OK")
}

func (v FcntlCmd) Show(tr *Tracer) { tr.one(int64(v), fcntlNames) }

var fcntlNames = map[int64]string{abi.F_DUPFD: "F_DUPFD", abi.F_GETFD: "F_GETFD", abi.F_SETFD: "F_SETFD", abi.F_GETFL: "F_GETFL",
	abi.F_SETFL: "F_SETFL", abi.F_GETLK: "F_GETLK", abi.F_SETLK: "F_SETLK", abi.F_SETLKW: "F_SETLKW", abi.F_SETOWN: "F_SETOWN",
	abi.F_GETOWN: "F_GETOWN", abi.F_SETSIG: "F_SETSIG", abi.F_GETSIG: "F_GETSIG", abi.F_SETOWN_EX: "F_SETOWN_EX",
	abi.F_GETOWN_EX: "F_GETOWN_EX", abi.F_OFD_GETLK: "F_OFD_GETLK", abi.F_OFD_SETLK: "F_OFD_SETLK", abi.F_OFD_SETLKW: "F_OFD_SETLKW",
	abi.F_DUPFD_CLOEXEC: "F_DUPFD_CLOEXEC", abi.F_SETPIPE_SZ: "F_SETPIPE_SZ", abi.F_GETPIPE_SZ: "F_GETPIPE_SZ",
	abi.F_ADD_SEALS: "F_ADD_SEALS", abi.F_GET_SEALS: "F_GET_SEALS", abi.F_DUPFD_QUERY: "F_DUPFD_QUERY", abi.F_SETLEASE: "F_SETLEASE",
	abi.F_GETLEASE: "F_GETLEASE", abi.F_NOTIFY: "F_NOTIFY"}

func (v IoctlCmd) Show(tr *Tracer) {
	if n, ok := ioctlNames[uint32(v)]; ok {
		tr.str(n)
		return
	}
	tr.hex(uint64(v))
}

var ioctlNames = map[uint32]string{0x5401: "TCGETS", 0x5402: "TCSETS", 0x5403: "TCSETSW", 0x5404: "TCSETSF", 0x540e: "TIOCSCTTY",
	0x540f: "TIOCGPGRP", 0x5410: "TIOCSPGRP", 0x5413: "TIOCGWINSZ", 0x5414: "TIOCSWINSZ", 0x541b: "FIONREAD", 0x5421: "FIONBIO",
	0x5422: "TIOCNOTTY", 0x5429: "TIOCGSID", 0x5430: "TIOCGPTN", 0x5431: "TIOCSPTLCK", 0x5450: "FIONCLEX", 0x5451: "FIOCLEX"}

func (v CloneFlags) Show(tr *Tracer) {
	if s := v & 0xff; s != 0 {
		defer func() {
			tr.buf = append(tr.buf, '|')
			Signal(s).Show(tr)
		}()
		v &^= 0xff
	}
	tr.flags(uint64(v), cloneNames, "0")
}

var cloneNames = []flagName{{abi.CLONE_VM, "CLONE_VM"}, {abi.CLONE_FS, "CLONE_FS"}, {abi.CLONE_FILES, "CLONE_FILES"},
	{abi.CLONE_SIGHAND, "CLONE_SIGHAND"}, {abi.CLONE_PIDFD, "CLONE_PIDFD"}, {abi.CLONE_PTRACE, "CLONE_PTRACE"},
	{abi.CLONE_VFORK, "CLONE_VFORK"}, {abi.CLONE_PARENT, "CLONE_PARENT"}, {abi.CLONE_THREAD, "CLONE_THREAD"},
	{abi.CLONE_NEWNS, "CLONE_NEWNS"}, {abi.CLONE_SYSVSEM, "CLONE_SYSVSEM"}, {abi.CLONE_SETTLS, "CLONE_SETTLS"},
	{abi.CLONE_PARENT_SETTID, "CLONE_PARENT_SETTID"}, {abi.CLONE_CHILD_CLEARTID, "CLONE_CHILD_CLEARTID"},
	{abi.CLONE_DETACHED, "CLONE_DETACHED"}, {abi.CLONE_UNTRACED, "CLONE_UNTRACED"}, {abi.CLONE_CHILD_SETTID, "CLONE_CHILD_SETTID"},
	{abi.CLONE_NEWCGROUP, "CLONE_NEWCGROUP"}, {abi.CLONE_NEWUTS, "CLONE_NEWUTS"}, {abi.CLONE_NEWIPC, "CLONE_NEWIPC"},
	{abi.CLONE_NEWUSER, "CLONE_NEWUSER"}, {abi.CLONE_NEWPID, "CLONE_NEWPID"}, {abi.CLONE_NEWNET, "CLONE_NEWNET"}, {abi.CLONE_IO, "CLONE_IO"}}

func (v ProtFlags) Show(tr *Tracer) {
	tr.flags(uint64(v), []flagName{{1, "PROT_READ"}, {2, "PROT_WRITE"}, {4, "PROT_EXEC"}, {abi.PROT_GROWSDOWN, "PROT_GROWSDOWN"}}, "PROT_NONE")
}

func (v MapFlags) Show(tr *Tracer) {
	switch v & abi.MAP_TYPE {
	case abi.MAP_SHARED:
		tr.str("MAP_SHARED")
	case abi.MAP_PRIVATE:
		tr.str("MAP_PRIVATE")
	case abi.MAP_SHARED_VALIDATE:
		tr.str("MAP_SHARED_VALIDATE")
	default:
		tr.hex(uint64(v & abi.MAP_TYPE))
	}
	if v &^= abi.MAP_TYPE; v != 0 {
		tr.buf = append(tr.buf, '|')
		tr.flags(uint64(v), mapNames, "")
	}
}

var mapNames = []flagName{{abi.MAP_FIXED, "MAP_FIXED"}, {abi.MAP_ANONYMOUS, "MAP_ANONYMOUS"}, {abi.MAP_32BIT, "MAP_32BIT"},
	{abi.MAP_GROWSDOWN, "MAP_GROWSDOWN"}, {abi.MAP_DENYWRITE, "MAP_DENYWRITE"}, {abi.MAP_EXECUTABLE, "MAP_EXECUTABLE"},
	{abi.MAP_LOCKED, "MAP_LOCKED"}, {abi.MAP_NORESERVE, "MAP_NORESERVE"}, {abi.MAP_POPULATE, "MAP_POPULATE"},
	{abi.MAP_NONBLOCK, "MAP_NONBLOCK"}, {abi.MAP_STACK, "MAP_STACK"}, {abi.MAP_HUGETLB, "MAP_HUGETLB"}, {abi.MAP_SYNC, "MAP_SYNC"},
	{abi.MAP_FIXED_NOREPLACE, "MAP_FIXED_NOREPLACE"}}

func (v MountFlags) Show(tr *Tracer) {
	tr.flags(uint64(v), []flagName{{abi.MS_RDONLY, "MS_RDONLY"}, {abi.MS_NOSUID, "MS_NOSUID"}, {abi.MS_NODEV, "MS_NODEV"},
		{abi.MS_NOEXEC, "MS_NOEXEC"}, {abi.MS_SYNCHRONOUS, "MS_SYNCHRONOUS"}, {abi.MS_REMOUNT, "MS_REMOUNT"}, {abi.MS_BIND, "MS_BIND"},
		{abi.MS_MOVE, "MS_MOVE"}, {abi.MS_REC, "MS_REC"}, {abi.MS_SILENT, "MS_SILENT"}, {abi.MS_NOATIME, "MS_NOATIME"},
		{abi.MS_NODIRATIME, "MS_NODIRATIME"}, {abi.MS_PRIVATE, "MS_PRIVATE"}, {abi.MS_SLAVE, "MS_SLAVE"}, {abi.MS_SHARED, "MS_SHARED"},
		{abi.MS_RELATIME, "MS_RELATIME"}, {abi.MS_STRICTATIME, "MS_STRICTATIME"}, {abi.MS_LAZYTIME, "MS_LAZYTIME"}}, "0")
}

func (v FutexOp) Show(tr *Tracer) {
	tr.one(int64(v&0x7f), map[int64]string{0: "FUTEX_WAIT", 1: "FUTEX_WAKE", 3: "FUTEX_REQUEUE", 4: "FUTEX_CMP_REQUEUE",
		5: "FUTEX_WAKE_OP", 6: "FUTEX_LOCK_PI", 7: "FUTEX_UNLOCK_PI", 8: "FUTEX_TRYLOCK_PI", 9: "FUTEX_WAIT_BITSET",
		10: "FUTEX_WAKE_BITSET", 11: "FUTEX_WAIT_REQUEUE_PI", 12: "FUTEX_CMP_REQUEUE_PI", 13: "FUTEX_LOCK_PI2"})
	if v&128 != 0 {
		tr.str("_PRIVATE")
	}
	if v&256 != 0 {
		tr.str("|FUTEX_CLOCK_REALTIME")
	}
}

func (v SigHow) Show(tr *Tracer) {
	tr.one(int64(v), map[int64]string{0: "SIG_BLOCK", 1: "SIG_UNBLOCK", 2: "SIG_SETMASK"})
}

func (v Advice) Show(tr *Tracer) {
	tr.one(int64(v), map[int64]string{0: "MADV_NORMAL", 1: "MADV_RANDOM", 2: "MADV_SEQUENTIAL", 3: "MADV_WILLNEED", 4: "MADV_DONTNEED",
		8: "MADV_FREE", 9: "MADV_REMOVE", 10: "MADV_DONTFORK", 11: "MADV_DOFORK", 12: "MADV_MERGEABLE", 13: "MADV_UNMERGEABLE",
		14: "MADV_HUGEPAGE", 15: "MADV_NOHUGEPAGE", 16: "MADV_DONTDUMP", 17: "MADV_DODUMP", 18: "MADV_WIPEONFORK", 19: "MADV_KEEPONFORK",
		20: "MADV_COLD", 21: "MADV_PAGEOUT", 22: "MADV_POPULATE_READ", 23: "MADV_POPULATE_WRITE", 25: "MADV_COLLAPSE"})
}

func (v Resource) Show(tr *Tracer) {
	tr.one(int64(v), map[int64]string{0: "RLIMIT_CPU", 1: "RLIMIT_FSIZE", 2: "RLIMIT_DATA", 3: "RLIMIT_STACK", 4: "RLIMIT_CORE",
		5: "RLIMIT_RSS", 6: "RLIMIT_NPROC", 7: "RLIMIT_NOFILE", 8: "RLIMIT_MEMLOCK", 9: "RLIMIT_AS", 10: "RLIMIT_LOCKS",
		11: "RLIMIT_SIGPENDING", 12: "RLIMIT_MSGQUEUE", 13: "RLIMIT_NICE", 14: "RLIMIT_RTPRIO", 15: "RLIMIT_RTTIME"})
}
