#include "textflag.h"

// func Call(fn, a, b, c uintptr) uintptr
TEXT ·Call(SB), NOSPLIT, $256-40
	MOVQ fn+0(FP), AX
	MOVQ a+8(FP), DI
	MOVQ b+16(FP), SI
	MOVQ c+24(FP), DX
	CALL AX
	MOVQ AX, ret+32(FP)
	RET
