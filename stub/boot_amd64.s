#include "go_asm.h"
#include "textflag.h"

// The zygote's code, at stub.Boot: it sets up what all stubs share, then forks a stub for each request. It uses no stack. In the
// stub itself these pages hold no system call that the filter lets pass.
//
// Descriptors at the start: 3 guest memory, 4 control memory, 5 the socket to the monitor.
// Registers: R12 bootData, R13 the slice asked for, R14 the monitor's pid, then the stub's own, R15 the step, for an error message.

// func boot()
TEXT ·boot(SB), NOSPLIT|NOFRAME, $0-0
	MOVQ	$const_Data, R12
	MOVQ	SP, R14			// somewhere in exec's stack, which goes below

	// No keyboard signal of the monitor's terminal reaches a stub.
	MOVL	$const_setsidNr, AX
	SYSCALL

	// 3, 4, 5 become 0, 1, 2.
	MOVL	$const_dup2Nr, AX
	MOVL	$3, DI
	MOVL	$0, SI
	SYSCALL
	MOVL	$const_dup2Nr, AX
	MOVL	$4, DI
	MOVL	$1, SI
	SYSCALL
	MOVL	$const_dup2Nr, AX
	MOVL	$5, DI
	MOVL	$2, SI
	SYSCALL
	MOVL	$const_stepClose, R15
	MOVL	$const_closeRangeNr, AX
	MOVL	$3, DI
	MOVL	$-1, SI
	XORL	DX, DX
	SYSCALL
	TESTQ	AX, AX
	JNE	fail

	MOVL	$const_sigprocmaskNr, AX
	MOVL	$const_sigSetMask, DI
	LEAQ	bootData_NoSignals(R12), SI
	XORL	DX, DX
	MOVL	$8, R10
	SYSCALL
	MOVL	$const_prctlNr, AX
	MOVL	$const_prSetNoNewPrivs, DI
	MOVL	$1, SI
	XORL	DX, DX
	XORL	R10, R10
	XORL	R8, R8
	SYSCALL
	MOVL	$const_prctlNr, AX
	MOVL	$const_prSetPdeathsig, DI
	MOVL	$const_sigkill, SI
	SYSCALL

	// The handlers, for every signal that bootData lists.
	XORL	BX, BX
action:
	MOVBLZX	bootData_Signals(R12)(BX*1), DI
	TESTL	DI, DI
	JEQ	actions
	MOVL	$const_sigactionNr, AX
	LEAQ	bootData_Action(R12), SI
	XORL	DX, DX
	MOVL	$8, R10
	SYSCALL
	INCL	BX
	JMP	action
actions:

	// Nothing of exec stays but this image: not in the guest's part, not above it but for what the host has sealed.
	MOVL	$const_stepUnmap, R15
	MOVL	$const_UnmapNr, AX
	XORL	DI, DI
	MOVQ	$const_Code, SI
	SYSCALL
	TESTQ	AX, AX
	JNE	fail
	MOVL	$const_UnmapNr, AX
	MOVQ	$const_dataEnd, DI
	MOVQ	$const_taskSize, SI
	SUBQ	DI, SI
	SYSCALL
	TESTQ	AX, AX
	JEQ	bare
	// A sealed vDSO refuses the whole range: the stack, at least, goes.
	MOVQ	R14, DI
	ANDQ	$-4096, DI
	MOVL	$const_UnmapNr, AX
	MOVQ	$const_taskSize, SI
	SUBQ	DI, SI
	SYSCALL
bare:
	// The zygote's own slice: number 0.
	MOVL	$const_stepControl, R15
	XORL	R13, R13
	MOVQ	$const_Control, DI
	MOVL	$const_MapNr, AX
	MOVL	$const_SliceSize, SI
	MOVL	$const_protReadWrite, DX
	MOVL	$const_mapSharedFixed, R10
	MOVL	$const_bootControlFd, R8
	XORL	R9, R9
	SYSCALL
	TESTQ	AX, AX
	JLT	fail

request:
	MOVL	$const_readNr, AX
	MOVL	$const_bootSocketFd, DI
	MOVQ	$const_Control, SI
	MOVL	$bootRequest__size, DX
	SYSCALL
	CMPQ	AX, $-4
	JEQ	request
	CMPQ	AX, $bootRequest__size
	JNE	quit			// the monitor is gone
	MOVQ	$const_Control, CX
	MOVL	bootRequest_Slice(CX), R13
	MOVL	bootRequest_Monitor(CX), R14
	MOVL	$const_CloneNr, AX
	MOVL	$const_bootCloneFlags, DI
	XORL	SI, SI
	XORL	DX, DX
	XORL	R10, R10
	XORL	R8, R8
	SYSCALL
	MOVL	$const_stepFork, R15
	TESTQ	AX, AX
	JEQ	child
	JGT	request
	XORL	R14, R14		// nobody to wait for
	JMP	refuse

child:
	// Dies with the monitor, also if that happened before the prctl.
	MOVL	$const_prctlNr, AX
	MOVL	$const_prSetPdeathsig, DI
	MOVL	$const_sigkill, SI
	SYSCALL
	MOVL	$const_getppidNr, AX
	SYSCALL
	CMPL	AX, R14
	JNE	quit
	MOVL	$const_getpidNr, AX
	SYSCALL
	MOVL	AX, R14
	MOVL	$const_prctlNr, AX
	MOVL	$const_prSetDumpable, DI
	XORL	SI, SI
	SYSCALL

	MOVL	$const_stepSlice, R15
	MOVQ	$const_Control, DI
	MOVL	$const_MapNr, AX
	MOVL	$const_SliceSize, SI
	MOVL	$const_protReadWrite, DX
	MOVL	$const_mapSharedFixed, R10
	MOVL	$const_bootControlFd, R8
	MOVL	R13, R9
	IMULQ	$const_SliceSize, R9
	SYSCALL
	TESTQ	AX, AX
	JLT	fail
	MOVQ	$const_Control, CX
	MOVL	R14, bootReply_Pid(CX)
	MOVL	R13, bootReply_Slice(CX)
	MOVL	$0, bootReply_Failed(CX)

	// The listener first, on a filter that notifies and lets all else pass, so that it can be sent away; then the strict one.
	MOVL	$const_stepListener, R15
	MOVL	$const_seccompNr, AX
	MOVL	$const_seccompFilter, DI
	MOVL	$const_listenerFlags, SI
	LEAQ	bootData_Listener(R12), DX
	SYSCALL
	TESTQ	AX, AX
	JLT	fail
	CMPQ	AX, $const_bootListenerFd
	JNE	quit
	MOVL	$const_stepSend, R15
	MOVL	$const_sendmsgNr, AX
	MOVL	$const_bootSocketFd, DI
	LEAQ	bootData_Msg(R12), SI
	XORL	DX, DX
	SYSCALL
	CMPQ	AX, $bootReply__size
	JNE	fail
	MOVL	$const_closeRangeNr, AX
	MOVL	$1, DI
	MOVL	$-1, SI
	XORL	DX, DX
	SYSCALL
	TESTQ	AX, AX
	JNE	quit
	MOVL	$const_stepStrict, R15
	MOVL	$const_seccompNr, AX
	MOVL	$const_seccompFilter, DI
	XORL	SI, SI
	LEAQ	bootData_Strict(R12), DX
	SYSCALL
	TESTQ	AX, AX
	JNE	quit
	MOVQ	$const_Control+const_SlotSize, SP
	MOVQ	$const_freshEntry, AX
	JMP	AX

	// fail: a step went wrong; AX is the host's errno, negative. The monitor learns both, and R14, the pid that it has to wait for;
	// but the first steps have no memory to write from: their number is the exit status alone.
fail:
	CMPL	R15, $const_stepMapped
	JLT	quit
refuse:
	MOVQ	$const_Control, CX
	NEGL	AX
	MOVL	R15, DX
	SHLL	$const_stepShift, DX
	ORL	DX, AX
	MOVL	AX, bootReply_Failed(CX)
	MOVL	R14, bootReply_Pid(CX)
	MOVL	R13, bootReply_Slice(CX)
	MOVL	$const_writeNr, AX
	MOVL	$const_bootSocketFd, DI
	MOVQ	CX, SI
	MOVL	$bootReply__size, DX
	SYSCALL
	CMPL	R15, $const_stepFork
	JEQ	request
quit:
	MOVL	$const_exitGroupNr, AX
	MOVL	R15, DI
	SYSCALL
	UNDEF
	UNDEF

// func bootAddr() uintptr
TEXT ·bootAddr(SB), NOSPLIT, $0-8
	LEAQ	·boot(SB), AX
	MOVQ	AX, ret+0(FP)
	RET
