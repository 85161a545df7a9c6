package x86

import (
	"encoding/binary"

	"goum/arch/abi"
)

// Layout of an image in the standard format of XSAVE: the area of FXSAVE, a header, then the components at CPUID's offsets.
const (
	legacySize = 512
	headerSize = 64

	offMXCSR     = 24
	offMXCSRMask = 28
	offXMM       = 160 // up to offPad
	offPad       = 416
	offSW        = 464 // struct _fpx_sw_bytes, which Linux puts into bytes that the processor leaves alone
	offBV        = 512
	offXComp     = 520
	offChecked   = 536 // up to here, what follows XSTATE_BV must be zero; the rest of the header is ignored

	swMagic1   = offSW
	swExtended = offSW + 4
	swFeatures = offSW + 8
	swSize     = offSW + 16
	magic1     = 0x46505853
	magic2     = 0x46505845
	magic2Size = 4
	initFCW    = 0x37f
	initMXCSR  = 0x1f80
)

// InitXState makes the first XStateSize bytes of image the state that a program starts with.
func InitXState(image []byte) {
	c := host()
	image = image[:c.size]
	clear(image)
	initLegacyFP(image)
	binary.LittleEndian.PutUint32(image[offMXCSR:], initMXCSR)
	putSW(image)
}

func initLegacyFP(image []byte) {
	clear(image[:offMXCSR])
	clear(image[offMXCSRMask+4 : offXMM])
	binary.LittleEndian.PutUint16(image, initFCW)
	binary.LittleEndian.PutUint32(image[offMXCSRMask:], host().mxcsrMask)
}

func putSW(image []byte) {
	c := host()
	clear(image[offSW:legacySize])
	binary.LittleEndian.PutUint32(image[swMagic1:], magic1)
	binary.LittleEndian.PutUint32(image[swExtended:], uint32(c.size+magic2Size))
	binary.LittleEndian.PutUint64(image[swFeatures:], c.features)
	binary.LittleEndian.PutUint32(image[swSize:], uint32(c.size))
}

// putXState writes the image src and the second magic number into the frame area dst, as Linux leaves it there: x87 and
// SSE count as in use even where they are not, for programs that know no header, and parts that are not in use are zero.
func putXState(dst, src []byte) {
	c := host()
	copy(dst[:c.size], src[:c.size])
	bv := binary.LittleEndian.Uint64(dst[offBV:]) & c.features
	if bv&featFP == 0 {
		initLegacyFP(dst)
	}
	if bv&featSSE == 0 {
		clear(dst[offXMM:offPad]) // MXCSR stays: it is loaded whether or not SSE is in use
	}
	c.clearUnused(dst, bv)
	clear(dst[offPad:offSW])
	clear(dst[offXComp : legacySize+headerSize])
	binary.LittleEndian.PutUint64(dst[offBV:], bv|featFP|featSSE)
	putSW(dst)
	binary.LittleEndian.PutUint32(dst[c.size:], magic2)
}

// clearUnused zeroes the components of image that bv does not name.
func (c *cpu) clearUnused(image []byte, bv uint64) {
	for i := 2; i < 63; i++ {
		if c.features&^bv&(1<<i) != 0 {
			part := c.components[i]
			clear(image[part.offset : part.offset+part.size])
		}
	}
}

// XFrameSize is how many bytes RestoreXState looks at, at most: an image and the magic number behind it.
func XFrameSize() int { return XStateSize() + magic2Size }

// RestoreXState makes image (XStateSize bytes) what rt_sigreturn loads from the frame area src, which starts at the address
// in the frame. src is shorter than XFrameSize where memory ends before. As in Linux's __fpu_restore_sig:
//
//   - Without both magic numbers only x87 and SSE are loaded; the other parts are as at a program's start.
//   - Parts that sw_reserved does not name are as at a program's start. Those goum does not know are ignored.
//
// An error stands for SIGSEGV: EFAULT (memory ends too early), EINVAL (what the processor would refuse: reserved bits of
// MXCSR or of the header, parts that are not enabled, the compact format). image is then as at a program's start.
func RestoreXState(image, src []byte) abi.Errno {
	e := restoreXState(image, src)
	if e != 0 {
		InitXState(image)
	}
	return e
}

func restoreXState(image, src []byte) abi.Errno {
	c := host()
	if len(src) < legacySize {
		return abi.EFAULT
	}
	whole := binary.LittleEndian.Uint32(src[swMagic1:]) == magic1
	if whole {
		if len(src) < c.size+magic2Size {
			return abi.EFAULT
		}
		whole = binary.LittleEndian.Uint32(src[c.size:]) == magic2
	}
	InitXState(image)
	bv, load := uint64(featFP|featSSE), uint64(featFP|featSSE)
	if whole {
		load = binary.LittleEndian.Uint64(src[swFeatures:]) & c.features
		bv = binary.LittleEndian.Uint64(src[offBV:])
		if bv&^c.xcr0 != 0 || !allZero(src[offXComp:offChecked]) {
			return abi.EINVAL
		}
		bv &= load
	}
	// MXCSR comes with SSE or AVX, and is loaded even where neither is in use.
	if load&(featSSE|featYMM) != 0 || !whole {
		mxcsr := binary.LittleEndian.Uint32(src[offMXCSR:])
		if mxcsr&^c.mxcsrMask != 0 {
			return abi.EINVAL
		}
		// What is not loaded is set to its initial value last, and MXCSR belongs to SSE there.
		if load&featSSE != 0 {
			binary.LittleEndian.PutUint32(image[offMXCSR:], mxcsr)
		}
	}
	if bv&featFP != 0 {
		copy(image[:offMXCSR], src[:offMXCSR])
		copy(image[offMXCSRMask+4:offXMM], src[offMXCSRMask+4:offXMM])
	}
	if bv&featSSE != 0 {
		copy(image[offXMM:offPad], src[offXMM:offPad])
	}
	for i := 2; i < 63; i++ {
		if bv&(1<<i) != 0 {
			part := c.components[i]
			copy(image[part.offset:part.offset+part.size], src[part.offset:])
		}
	}
	binary.LittleEndian.PutUint64(image[offBV:], bv)
	return 0
}

func allZero(b []byte) bool {
	for _, x := range b {
		if x != 0 {
			return false
		}
	}
	return true
}
