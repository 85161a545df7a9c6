package abi

// Rusage is struct rusage: getrusage(2), wait4(2). Linux fills times, MaxRSS (KiB), faults, blocks and switches; the others are 0.
type Rusage struct {
	Utime    Timeval
	Stime    Timeval
	MaxRSS   int64
	IxRSS    int64
	IdRSS    int64
	IsRSS    int64
	MinFlt   int64
	MajFlt   int64
	NSwap    int64
	InBlock  int64
	OuBlock  int64
	MsgSnd   int64
	MsgRcv   int64
	NSignals int64
	NVCSw    int64
	NIvCSw   int64
}

// Rlimit64 is struct rlimit64, and struct rlimit, which is the same on x86-64: prlimit(2). RLIM_INFINITY is no limit.
type Rlimit64 struct {
	Cur uint64
	Max uint64
}

// RLIM_NLIMITS is how many resources have a limit.
const RLIM_NLIMITS = 16

// UtsLen is the size of each field of Utsname, its NUL included.
const UtsLen = 65

// Utsname is struct new_utsname: uname(2).
type Utsname struct {
	Sysname    [UtsLen]byte
	Nodename   [UtsLen]byte
	Release    [UtsLen]byte
	Version    [UtsLen]byte
	Machine    [UtsLen]byte
	Domainname [UtsLen]byte
}

// UtsField makes a field of Utsname from s, cut to 64 bytes.
func UtsField(s string) (f [UtsLen]byte) {
	copy(f[:UtsLen-1], s)
	return f
}

// Sysinfo is struct sysinfo: sysinfo(2). Sizes are in units of Unit bytes, loads in 1/65536.
type Sysinfo struct {
	Uptime    int64
	Loads     [3]uint64
	Totalram  uint64
	Freeram   uint64
	Sharedram uint64
	Bufferram uint64
	Totalswap uint64
	Freeswap  uint64
	Procs     uint16
	_         uint16
	_         uint32
	Totalhigh uint64
	Freehigh  uint64
	Unit      uint32
	_         uint32
}

// CloneArgs is struct clone_args in its newest size, CLONE_ARGS_SIZE_VER2: clone3(2).
type CloneArgs struct {
	Flags      uint64
	PidFD      uint64
	ChildTID   uint64
	ParentTID  uint64
	ExitSignal uint64
	Stack      uint64
	StackSize  uint64
	TLS        uint64
	SetTID     uint64
	SetTIDSize uint64
	Cgroup     uint64
}

// SchedParam is struct sched_param: sched_setscheduler(2).
type SchedParam struct {
	Priority int32
}

// SchedAttr is struct sched_attr in its newest size (SCHED_ATTR_SIZE_VER1): sched_setattr(2).
type SchedAttr struct {
	Size     uint32
	Policy   uint32
	Flags    uint64
	Nice     int32
	Priority uint32
	Runtime  uint64
	Deadline uint64
	Period   uint64
	UtilMin  uint32
	UtilMax  uint32
}

// RobustListHead is struct robust_list_head: set_robust_list(2).
type RobustListHead struct {
	Next        uint64
	FutexOffset int64
	Pending     uint64
}

// CapHeader and CapData are struct __user_cap_header_struct and one of the two __user_cap_data_struct: capget(2).
type CapHeader struct {
	Version uint32
	PID     int32
}
type CapData struct {
	Effective   uint32
	Permitted   uint32
	Inheritable uint32
}

// The vector of values that execve hands to a program, above its environment: getauxval(3).
const (
	AT_NULL              = 0
	AT_IGNORE            = 1
	AT_EXECFD            = 2
	AT_PHDR              = 3
	AT_PHENT             = 4
	AT_PHNUM             = 5
	AT_PAGESZ            = 6
	AT_BASE              = 7
	AT_FLAGS             = 8
	AT_ENTRY             = 9
	AT_NOTELF            = 10
	AT_UID               = 11
	AT_EUID              = 12
	AT_GID               = 13
	AT_EGID              = 14
	AT_PLATFORM          = 15
	AT_HWCAP             = 16
	AT_CLKTCK            = 17
	AT_SECURE            = 23
	AT_BASE_PLATFORM     = 24
	AT_RANDOM            = 25
	AT_HWCAP2            = 26
	AT_RSEQ_FEATURE_SIZE = 27
	AT_RSEQ_ALIGN        = 28
	AT_HWCAP3            = 29
	AT_HWCAP4            = 30
	AT_EXECFN            = 31
	AT_SYSINFO           = 32
	AT_SYSINFO_EHDR      = 33
	AT_MINSIGSTKSZ       = 51
)
