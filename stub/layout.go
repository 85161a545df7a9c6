//lint:file-ignore U1000 the assembly has these names from go_asm.h, which staticcheck does not read

package stub

import "goum/arch/abi"

// The upper end of every stub's address space, which exec and mmap of the guest can never reach:
//
//	Start      guard: nothing is mapped, so that a system call in the last bytes below it cannot run into the code
//	Code       the code of every later entry, executable, from a sealed memfd
//	Boot       the code that starts a stub; none of its system calls passes the filter that it installs
//	Data       constants of both (actions, filters), read-only
//	Control    one Slot per thread, shared with the monitor
//
// Above Control lie the host's stack, vDSO and vvar of exec as long as they exist: without address randomisation the host puts
// them within 1 GiB of the top, so that even where it seals them a guest cannot reach them.
const (
	PageSize = 4096

	// Start ends the guest's addresses: they are [0, Start).
	Start = 0x7fffc0000000

	Code    = Start + 0x10000
	Boot    = Start + 0x20000
	Data    = Start + 0x30000
	Control = Start + 0x10000000

	// RegionSize is the distance of Code, Boot and Data: neither may grow beyond it.
	RegionSize = 0x10000

	// taskSize ends the host's user addresses with four-level page tables.
	taskSize = 0x7ffffffff000
)

const (
	// SlotSize is the room of one thread: its Slot, then its signal stack. The host's frame takes up to 3.5 KiB with AVX-512;
	// an alarm that lands in a handler needs a second one, a third leaves room to spare.
	SlotSize = 16384

	// StackOffset is where the signal stack begins in a slot.
	StackOffset = 4096

	// FreshDepth is the room at the end of a slot for the ucontext that a new thread starts from. The thread's stack pointer begins
	// below it: an alarm while it waits must not land on it.
	FreshDepth = 4096

	// MaxThreads bounds the threads of one address space: control memory is set apart for all of them, touched only when used.
	MaxThreads = 1024

	// SliceSize is the control memory of one stub.
	SliceSize = SlotSize * MaxThreads

	// MaxOps is how many operations one answer can carry.
	MaxOps = 64
)

// Entries of Code: the handler stands at a fixed distance so that no address of a label is needed.
const (
	freshEntry   = Code
	handlerEntry = Code + handlerOffset

	handlerOffset = 64
)

// Slot is what the monitor and one thread of a stub share. The stub can write all of it at any time: the monitor reads only
// what it copies first, and believes none of it.
type Slot struct {
	Frame  uint64 // address of the ucontext that the thread resumes from
	FSBase uint64
	GSBase uint64
	Tick   uint32 // an alarm came while the thread was inside the stub
	Failed int32  // the errno, negative, of the operation that failed: the batch ended there
	Stack  StackT // argument of the thread's own sigaltstack(2)
	Ops    [MaxOps]Op
}

// StackT is stack_t of sigaltstack(2).
type StackT struct {
	SP    uint64
	Flags int32
	_     int32
	Size  uint64
}

// Reports. The first argument of a report is one of these or the number of the signal that brought the thread into the stub;
// the second is the address of the ucontext.
const (
	ReportBatch = 0   // the operations are done, as AnswerReport asked, or one failed and those behind it were left
	ReportFresh = 128 // a new thread: it has no ucontext yet
)

// The system call that a report is. Its number does not matter to the host, which never runs it.
const reportNr = abi.SYS_GETPPID

// Answers: the tag, flags and the number of operations in Slot.Ops. The tag tells the stub that the monitor has answered; any
// other result is the host's (an interrupted call), and the stub reports again.
const (
	AnswerTagShift = 48
	AnswerTag      = 0x60d

	AnswerFlagShift = 32
	AnswerReport    = 1 // report after the operations, do not resume
	AnswerBases     = 2 // load FSBase and GSBase before resuming
)

// Calls that the stub makes for the monitor, and what must be constant in them.
const (
	// PhysmemFd is the only descriptor that a stub has.
	PhysmemFd = 0

	MapFlags = abi.MAP_SHARED | abi.MAP_FIXED | abi.MAP_POPULATE

	// With CLONE_SYSVSEM as well, the immediate would hold the bytes of a syscall instruction.
	CloneFlags = abi.CLONE_VM | abi.CLONE_FS | abi.CLONE_FILES | abi.CLONE_SIGHAND | abi.CLONE_THREAD

	MapNr      = abi.SYS_MMAP
	UnmapNr    = abi.SYS_MUNMAP
	CloneNr    = abi.SYS_CLONE
	altstackNr = abi.SYS_SIGALTSTACK
)

// Of struct ucontext: its size, behind which the siginfo lies in a signal frame, and where the address of the XSAVE area is.
const (
	UcSize    = 304
	UcFPState = 224
	UcRegs    = 40 // R8, the first of 23 registers in the order of x86.Regs
)

// Offsets in the host's ucontext and in the XSAVE area that it points to; see struct ucontext and struct _fpx_sw_bytes of Linux.
const (
	ucR8      = 40
	ucR9      = 48
	ucR10     = 56
	ucR11     = 64
	ucR12     = 72
	ucR13     = 80
	ucR14     = 88
	ucR15     = 96
	ucRDI     = 104
	ucRSI     = 112
	ucRBP     = 120
	ucRBX     = 128
	ucRDX     = 136
	ucRAX     = 144
	ucRCX     = 152
	ucRSP     = 160
	ucRIP     = 168
	ucEFlags  = 176
	ucFPState = UcFPState
	ucSize    = UcSize

	fpFeatures = 472 // sw_reserved.xfeatures, the mask for xrstor

	userCS = 0x33
	userSS = 0x2b

	flagNT     = 1 << 14
	flagsPlain = 1<<9 | 1<<1 // IF, and the bit that is always set

	// windowDepth is how far below its ucontext a thread's stack pointer stands from the look at Tick to the iretq: five words
	// for iretq, and the word that the host keeps for the return address.
	windowDepth = 48

	sigalrm = abi.SIGALRM
)
