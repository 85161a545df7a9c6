//lint:file-ignore U1000 the assembly has these names from go_asm.h, which staticcheck does not read

package stub

import "goum/arch/abi"

// What the boot code (boot_amd64.s) needs to know. Descriptors: the spawner hands over 3, 4 and 5, which become 0, 1 and 2.
const (
	bootControlFd  = 1
	bootSocketFd   = 2
	bootListenerFd = 3 // the first one that is free when the listener is made

	dataEnd = Data + RegionSize

	bootCloneFlags = abi.CLONE_PARENT | abi.SIGCHLD

	protReadWrite  = abi.PROT_READ | abi.PROT_WRITE
	mapSharedFixed = abi.MAP_SHARED | abi.MAP_FIXED

	sigSetMask        = abi.SIG_SETMASK
	sigkill           = abi.SIGKILL
	prSetNoNewPrivs   = abi.PR_SET_NO_NEW_PRIVS
	prSetPdeathsig    = abi.PR_SET_PDEATHSIG
	prSetDumpable     = abi.PR_SET_DUMPABLE
	seccompFilter     = 1      // SECCOMP_SET_MODE_FILTER
	listenerFlags     = 8 | 32 // SECCOMP_FILTER_FLAG_NEW_LISTENER, _WAIT_KILLABLE_RECV
	setsidNr          = abi.SYS_SETSID
	dup2Nr            = abi.SYS_DUP2
	closeRangeNr      = abi.SYS_CLOSE_RANGE
	sigprocmaskNr     = abi.SYS_RT_SIGPROCMASK
	sigactionNr       = abi.SYS_RT_SIGACTION
	prctlNr           = abi.SYS_PRCTL
	readNr            = abi.SYS_READ
	writeNr           = abi.SYS_WRITE
	getppidNr         = abi.SYS_GETPPID
	getpidNr          = abi.SYS_GETPID
	seccompNr         = abi.SYS_SECCOMP
	sendmsgNr         = abi.SYS_SENDMSG
	exitGroupNr       = abi.SYS_EXIT_GROUP
	signalAction      = abi.SA_SIGINFO | abi.SA_ONSTACK | abi.SA_NODEFER | abi.SA_RESTART | abi.SA_RESTORER
	maxFilter         = 160
	stepShift         = 12
	stepMapped        = stepFork
	stepClose         = 9  // close what exec inherited
	stepUnmap         = 10 // take away what exec mapped
	stepControl       = 11 // map the control memory
	stepFork          = 12 // fork the stub
	stepSlice         = 20 // map its own slice
	stepListener      = 21 // install the notifying filter
	stepSend          = 22 // send the listener to the monitor
	stepStrict        = 23 // install the strict filter
	controlMessage    = 20 // struct cmsghdr and one descriptor
	maxHandledSignals = 8
)

// handled are the signals that bring a stub's thread to its handler.
var handled = [maxHandledSignals - 1]byte{abi.SIGSYS, abi.SIGSEGV, abi.SIGBUS, abi.SIGALRM, abi.SIGILL, abi.SIGFPE, abi.SIGTRAP}

// BootRequest asks the zygote for a stub whose control memory is slice number Slice (0 is the zygote's own). Monitor is the pid
// that the stub's parent must have.
type bootRequest struct {
	Slice   uint32
	Monitor uint32
}

// BootReply comes from the new stub, with its listener; or from whoever failed: then Failed is step<<stepShift | errno, and Pid
// is the process that ends because of it, 0 if there is none.
type bootReply struct {
	Pid    int32
	Slice  uint32
	Failed int32
}

// bootData is read-only memory at Data.
type bootData struct {
	Action    sigaction
	NoSignals uint64
	Listener  sockFprog
	Strict    sockFprog
	Msg       msghdr
	Iov       [2]uint64
	Cmsg      cmsg
	Signals   [maxHandledSignals]byte
	Filters   [2][maxFilter]sockFilter
}

type sigaction struct {
	Handler  uint64
	Flags    uint64
	Restorer uint64
	Mask     uint64
}

type sockFprog struct {
	Len    uint16
	_      [6]byte
	Filter uint64
}

type sockFilter struct {
	Code   uint16
	Jt, Jf uint8
	K      uint32
}

type msghdr struct {
	Name       uint64
	NameLen    uint32
	_          uint32
	Iov        uint64
	IovLen     uint64
	Control    uint64
	ControlLen uint64
	Flags      int32
	_          uint32
}

type cmsg struct {
	Len   uint64
	Level int32
	Type  int32
	Fd    int32
	_     int32
}
