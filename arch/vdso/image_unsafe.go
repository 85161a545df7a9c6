//lint:file-ignore U1000 the assembly has these names from go_asm.h, which staticcheck does not read

package vdso

import (
	"bytes"
	"unsafe"

	"goum/arch/abi"
)

func codeStarts() (starts [5]uintptr)

// For the assembly: system calls to fall back to, and sets of clocks.
const (
	sysClockGettime = abi.SYS_CLOCK_GETTIME
	sysGettimeofday = abi.SYS_GETTIMEOFDAY
	sysTime         = abi.SYS_TIME
	sysGetcpu       = abi.SYS_GETCPU
	sysClockGetres  = abi.SYS_CLOCK_GETRES

	clockBoottime = abi.CLOCK_BOOTTIME
	clockTAI      = abi.CLOCK_TAI // the highest clock answered here

	coarseClocks = 1<<abi.CLOCK_REALTIME_COARSE | 1<<abi.CLOCK_MONOTONIC_COARSE
	realClocks   = 1<<abi.CLOCK_REALTIME | 1<<abi.CLOCK_REALTIME_COARSE | 1<<abi.CLOCK_TAI
	clocks       = realClocks | coarseClocks | 1<<abi.CLOCK_MONOTONIC | 1<<abi.CLOCK_MONOTONIC_RAW | 1<<abi.CLOCK_BOOTTIME
)

// functions names what codeStarts gives, without the prefixes of the symbols.
var functions = [...]string{"clock_gettime", "gettimeofday", "time", "getcpu", "clock_getres"}

// codeEnd is the END mark of the assembly: UD2, four times.
var codeEnd = []byte{0x0f, 0x0b, 0x0f, 0x0b, 0x0f, 0x0b, 0x0f, 0x0b}

// maxCode bounds the search for the mark.
const maxCode = 512

// code is the machine code of each of functions.
func code() (c [len(functions)][]byte) {
	for i, start := range codeStarts() {
		// The address of a function, which never moves.
		b := unsafe.Slice((*byte)(*(*unsafe.Pointer)(unsafe.Pointer(&start))), maxCode)
		n := bytes.Index(b, codeEnd)
		if n < 0 {
			panic("vdso: " + functions[i] + " has no end mark within maxCode bytes")
		}
		c[i] = b[:n:n]
	}
	return c
}

// PageAt is the time page whose memory begins at b, which is page-aligned and never moves: a frame of the guest.
func PageAt(b []byte) *TimePage {
	_ = b[unsafe.Sizeof(TimePage{})-1]
	return (*TimePage)(unsafe.Pointer(&b[0]))
}
