#include "go_asm.h"
#include "textflag.h"

// The functions below are never called in the monitor. image.go copies each into the vDSO, from its symbol to the END mark.
// So none refers to anything outside itself but the time page, which lies one page below the page its code is in; the whole
// image is one page. They follow the C calling convention, use no stack, and touch AX, CX, DX and R8 to R11 only.

#define END BYTE $0x0f; BYTE $0x0b; BYTE $0x0f; BYTE $0x0b; BYTE $0x0f; BYTE $0x0b; BYTE $0x0f; BYTE $0x0b

// PAGE sets R8 to the time page. The bytes are LEAQ 0(IP), R8.
#define PAGE \
	BYTE $0x4c; BYTE $0x8d; BYTE $0x05; LONG $0; \
	ANDQ $~4095, R8; \
	SUBQ $4096, R8

// MONOTONIC sets AX to CLOCK_MONOTONIC in nanoseconds, or goes to the label fallback. R8 must be the page. This is
// TimePage.Monotonic again. The counter is read between the two reads of Seq, and processors keep loads in order.
#define MONOTONIC \
	CMPL TimePage_Mode(R8), $const_ModeTSC; \
	JNE  fallback; \
again: \
	MOVL TimePage_Seq(R8), R9; \
	MOVL R9, R10; \
	ANDL $1, R10; \
	IMULQ $Slot__size, R10; \
	LFENCE; \
	RDTSC; \
	SHLQ $32, DX; \
	ORQ  DX, AX; \
	MOVQ AX, CX; \
	SUBQ (TimePage_Slots+Slot_TSC)(R8)(R10*1), AX; \
	JPL  multiply; \
	XORQ $Slot__size, R10; \
	MOVQ CX, AX; \
	SUBQ (TimePage_Slots+Slot_TSC)(R8)(R10*1), AX; \
	JPL  multiply; \
	XORL AX, AX; \
multiply: \
	MULQ (TimePage_Slots+Slot_Mult)(R8)(R10*1); \
	SHRQ $const_Shift, DX, AX; \
	ADDQ (TimePage_Slots+Slot_Ns)(R8)(R10*1), AX; \
	CMPL R9, TimePage_Seq(R8); \
	JNE  again

// SYSTEM makes the system call nr with the arguments as they came.
#define SYSTEM(nr) \
	MOVL $nr, AX; \
	SYSCALL; \
	RET

// int clock_gettime(clockid_t id, struct timespec *ts)
TEXT ·clockGettime(SB), NOSPLIT|NOFRAME, $0-0
	CMPL DI, $const_clockTAI
	JHI  fallback
	MOVL $const_clocks, AX
	BTL  DI, AX
	JCC  fallback
	PAGE
	MONOTONIC
	MOVL $const_realClocks, CX
	BTL  DI, CX
	JCC  notReal
	ADDQ TimePage_RealOffset(R8), AX
	CMPL DI, $const_clockTAI
	JNE  split
	ADDQ TimePage_TAIOffset(R8), AX
	JMP  split
notReal:
	CMPL DI, $const_clockBoottime
	JNE  split
	ADDQ TimePage_BootOffset(R8), AX
split:
	XORL DX, DX
	MOVL $1000000000, CX
	DIVQ CX
	MOVQ AX, 0(SI)
	MOVQ DX, 8(SI)
	XORL AX, AX
	RET
fallback:
	SYSTEM(const_sysClockGettime)
	END

// int gettimeofday(struct timeval *tv, struct timezone *tz)
TEXT ·gettimeofday(SB), NOSPLIT|NOFRAME, $0-0
	PAGE
	TESTQ DI, DI
	JEQ  zone
	MONOTONIC
	ADDQ TimePage_RealOffset(R8), AX
	XORL DX, DX
	MOVL $1000, CX
	DIVQ CX
	XORL DX, DX
	MOVL $1000000, CX
	DIVQ CX
	MOVQ AX, 0(DI)
	MOVQ DX, 8(DI)
zone:
	TESTQ SI, SI
	JEQ  done
	MOVQ TimePage_TZ(R8), AX
	MOVQ AX, 0(SI)
done:
	XORL AX, AX
	RET
fallback:
	SYSTEM(const_sysGettimeofday)
	END

// time_t time(time_t *t)
TEXT ·time(SB), NOSPLIT|NOFRAME, $0-0
	PAGE
	MONOTONIC
	ADDQ TimePage_RealOffset(R8), AX
	XORL DX, DX
	MOVL $1000000000, CX
	DIVQ CX
	TESTQ DI, DI
	JEQ  done
	MOVQ AX, 0(DI)
done:
	RET
fallback:
	SYSTEM(const_sysTime)
	END

// int getcpu(unsigned *cpu, unsigned *node, void *unused)
TEXT ·getcpu(SB), NOSPLIT|NOFRAME, $0-0
	PAGE
	CMPL TimePage_OneCPU(R8), $1
	JNE  fallback
	XORL AX, AX
	TESTQ DI, DI
	JEQ  node
	MOVL AX, 0(DI)
node:
	TESTQ SI, SI
	JEQ  done
	MOVL AX, 0(SI)
done:
	RET
fallback:
	SYSTEM(const_sysGetcpu)
	END

// int clock_getres(clockid_t id, struct timespec *res)
TEXT ·clockGetres(SB), NOSPLIT|NOFRAME, $0-0
	CMPL DI, $const_clockTAI
	JHI  fallback
	MOVL $const_clocks, AX
	BTL  DI, AX
	JCC  fallback
	MOVL $1, CX
	MOVL $const_coarseClocks, AX
	BTL  DI, AX
	JCC  fine
	MOVL $const_CoarseRes, CX
fine:
	XORL AX, AX
	TESTQ SI, SI
	JEQ  done
	MOVQ AX, 0(SI)
	MOVQ CX, 8(SI)
done:
	RET
fallback:
	SYSTEM(const_sysClockGetres)
	END

// func codeStarts() (starts [5]uintptr), in the order of functions in image.go
TEXT ·codeStarts(SB), NOSPLIT, $0-40
	LEAQ ·clockGettime(SB), AX
	MOVQ AX, starts_0+0(FP)
	LEAQ ·gettimeofday(SB), AX
	MOVQ AX, starts_1+8(FP)
	LEAQ ·time(SB), AX
	MOVQ AX, starts_2+16(FP)
	LEAQ ·getcpu(SB), AX
	MOVQ AX, starts_3+24(FP)
	LEAQ ·clockGetres(SB), AX
	MOVQ AX, starts_4+32(FP)
	RET
