#include "go_asm.h"
#include "textflag.h"

// The stub's code runs in a process of its own at stub.Code, copied there from here: it refers to nothing of this binary, and
// to nothing of its own by address. What it knows of layouts and numbers comes from go_asm.h.
//
// Registers inside the stub:
//	R12  the thread's slot
//	BX   the ucontext to resume from
//	R13  what is reported: a signal number or Report*
//
// A handler runs with an empty signal mask, on the signal stack in the slot. An alarm may therefore interrupt it anywhere. What
// happens then is decided by where the stack pointer was (see alarm).

// func code()
//
// fresh: a new thread's first instruction; SP is the end of its slot. It leaves the room for the ucontext that the monitor makes there.
TEXT ·code(SB), NOSPLIT|NOFRAME, $0-0
	LEAQ	-const_FreshDepth(SP), SP
	MOVQ	SP, R12
	ANDQ	$~(const_SlotSize-1), R12
	LEAQ	Slot_Stack(R12), DI
	XORL	SI, SI
	MOVL	$const_altstackNr, AX
	SYSCALL				// site 0: sigaltstack
	XORL	BX, BX
	MOVL	$const_ReportFresh, R13
	JMP	again
	PCALIGN	$64

	// handler: DI is the signal, DX its ucontext. It stands handlerOffset behind the start.
	MOVQ	SP, R12
	ANDQ	$~(const_SlotSize-1), R12
	MOVQ	DX, BX
	MOVL	DI, R13
	// A guest's NT, which the host leaves set, would make the iretq fault.
	TESTL	$const_flagNT, const_ucEFlags(BX)
	JEQ	tame
	MOVQ	$const_flagsPlain, -8(SP)
	LEAQ	-8(SP), SP
	POPFQ
tame:
	CMPL	R13, $const_sigalrm
	JNE	report

	// alarm: where did it land? In the guest: a report like any other.
	MOVQ	const_ucRIP(BX), AX
	MOVQ	$const_Code, CX
	SUBQ	CX, AX
	CMPQ	AX, $const_RegionSize
	JCC	report
	// Inside the stub: between the look at Tick and the iretq nobody would see the tick any more. There, and only there, the
	// stack pointer stands windowDepth below the frame that is being resumed. Nothing of that frame is lost yet: report it.
	MOVQ	Slot_Frame(R12), CX
	MOVQ	CX, AX
	SUBQ	$const_windowDepth, CX
	CMPQ	CX, const_ucRSP(BX)
	JEQ	abandon
	// Elsewhere: note it, and go on where it came.
	MOVL	$1, Slot_Tick(R12)
	LEAQ	-const_windowDepth(BX), SP
	JMP	restore

abandon:
	MOVQ	AX, BX
ticked:
	MOVL	$const_sigalrm, R13
	LEAQ	-8(BX), SP
report:
	MOVQ	BX, Slot_Frame(R12)
	RDFSBASEQ	AX
	MOVQ	AX, Slot_FSBase(R12)
	RDGSBASEQ	AX
	MOVQ	AX, Slot_GSBase(R12)

	// A report stands until its answer carries the tag: the host ends the call early when an alarm arrives before the monitor
	// has received it.
again:
	MOVL	R13, DI
	MOVQ	BX, SI
	MOVL	$const_reportNr, AX
	SYSCALL				// site 1: report
	MOVQ	AX, CX
	SHRQ	$const_AnswerTagShift, CX
	CMPL	CX, $const_AnswerTag
	JNE	again

	// The answer: R14 operations, R15 flags.
	MOVL	AX, R14
	MOVQ	AX, R15
	SHRQ	$const_AnswerFlagShift, R15
	LEAQ	Slot_Ops(R12), BP
	JMP	more

next:
	MOVL	Op_Kind(BP), CX
	MOVQ	Op_Addr(BP), DI
	MOVQ	Op_Len(BP), SI
	CMPL	CX, $const_OpMap
	JNE	unmap
	MOVL	Op_Prot(BP), DX
	MOVL	$const_MapFlags, R10
	MOVL	$const_PhysmemFd, R8
	MOVQ	Op_Off(BP), R9
	MOVL	$const_MapNr, AX
	SYSCALL				// site 2: mmap
	JMP	result
unmap:
	CMPL	CX, $const_OpUnmap
	JNE	thread
	MOVL	$const_UnmapNr, AX
	SYSCALL				// site 3: munmap
	JMP	result
thread:
	MOVQ	DI, SI
	MOVL	$const_CloneFlags, DI
	XORL	DX, DX
	XORL	R10, R10
	XORL	R8, R8
	MOVL	$const_CloneNr, AX
	SYSCALL				// site 4: clone
	TESTQ	AX, AX
	JNE	result
	MOVQ	$const_freshEntry, AX
	JMP	AX
result:
	CMPQ	AX, $-4095
	JCC	refused
	ADDQ	$Op__size, BP
	DECL	R14
more:
	TESTL	R14, R14
	JNE	next
	TESTL	$const_AnswerReport, R15
	JEQ	resume
batch:
	MOVL	$const_ReportBatch, R13
	JMP	again

	// The batch ends at the first call that fails, so that the monitor knows which it was.
refused:
	MOVL	AX, Slot_Failed(R12)
	JMP	batch

resume:
	TESTL	$const_AnswerBases, R15
	JEQ	window
	MOVQ	Slot_FSBase(R12), AX
	WRFSBASEQ	AX
	MOVQ	Slot_GSBase(R12), AX
	WRGSBASEQ	AX
window:
	MOVQ	Slot_Frame(R12), BX
	LEAQ	-const_windowDepth(BX), SP
	CMPL	Slot_Tick(R12), $0
	JEQ	restore
	MOVL	$0, Slot_Tick(R12)
	JMP	ticked

	// restore: the ucontext at BX, the stack pointer windowDepth below it. No rt_sigreturn: nothing a guest can write there changes
	// its signal mask.
restore:
	MOVQ	const_ucFPState(BX), R8
	MOVL	const_fpFeatures(R8), AX
	MOVL	const_fpFeatures+4(R8), DX
	XRSTOR64	(R8)
	MOVQ	const_ucRIP(BX), AX
	MOVQ	AX, 0(SP)
	MOVQ	$const_userCS, 8(SP)
	MOVQ	const_ucEFlags(BX), AX
	MOVQ	AX, 16(SP)
	MOVQ	const_ucRSP(BX), AX
	MOVQ	AX, 24(SP)
	MOVQ	$const_userSS, 32(SP)
	MOVQ	const_ucR8(BX), R8
	MOVQ	const_ucR9(BX), R9
	MOVQ	const_ucR10(BX), R10
	MOVQ	const_ucR11(BX), R11
	MOVQ	const_ucR12(BX), R12
	MOVQ	const_ucR13(BX), R13
	MOVQ	const_ucR14(BX), R14
	MOVQ	const_ucR15(BX), R15
	MOVQ	const_ucRDI(BX), DI
	MOVQ	const_ucRSI(BX), SI
	MOVQ	const_ucRBP(BX), BP
	MOVQ	const_ucRDX(BX), DX
	MOVQ	const_ucRAX(BX), AX
	MOVQ	const_ucRCX(BX), CX
	MOVQ	const_ucRBX(BX), BX
	IRETQ
	UNDEF
	UNDEF

// func codeAddr() uintptr
TEXT ·codeAddr(SB), NOSPLIT, $0-8
	LEAQ	·code(SB), AX
	MOVQ	AX, ret+0(FP)
	RET
