package x86

import (
	"encoding/binary"
	"os"
	"sync"
	"unsafe"
)

func cpuid(leaf, sub uint32) (a, b, c, d uint32)
func xgetbv() uint64
func fxsave(area *[512]byte)

// TSC reads the time stamp counter, after all earlier loads.
func TSC() uint64

// Platform is what AT_PLATFORM points to.
const Platform = "x86_64"

// A component is where a part of the extended state lies in the standard format.
type component struct{ offset, size int }

// cpu is what CPUID and the host's kernel say of the processor.
type cpu struct {
	features   uint64        // parts of the extended state that the host saves in a signal frame by default
	xcr0       uint64        // parts that the host has enabled at all
	size       int           // of an image with features, without the second magic number
	components [64]component // of the bits from 2 on
	mxcsrMask  uint32
	hwcap      uint64
	hwcap2     uint64
	invariant  bool
}

// XSAVE components that a program must ask for first (XFEATURE_MASK_USER_DYNAMIC): AMX's tile data. Nothing in goum asks.
const dynamicFeatures = 1 << 18

const (
	featFP  = 1 << 0
	featSSE = 1 << 1
	featYMM = 1 << 2
)

var host = sync.OnceValue(func() *cpu {
	c := &cpu{features: featFP | featSSE, xcr0: featFP | featSSE, size: legacySize + headerSize}
	maxLeaf, _, _, _ := cpuid(0, 0)
	_, _, ecx, edx := cpuid(1, 0)
	c.hwcap = uint64(edx)
	const osxsave = 1 << 27
	if ecx&osxsave != 0 && maxLeaf >= 0xd {
		c.xcr0 = xgetbv()
		c.features = c.xcr0 &^ dynamicFeatures
		for i := 2; i < 63; i++ {
			if c.features&(1<<i) == 0 {
				continue
			}
			size, offset, _, _ := cpuid(0xd, uint32(i))
			c.components[i] = component{int(offset), int(size)}
			c.size = max(c.size, int(offset+size))
		}
	}

	// FXSAVE wants 16-byte alignment.
	area := new([512 + 16]byte)
	at := -uintptr(unsafe.Pointer(area)) & 15
	fxsave((*[512]byte)(unsafe.Pointer(&area[at])))
	c.mxcsrMask = binary.LittleEndian.Uint32(area[at+offMXCSRMask:])
	if c.mxcsrMask == 0 {
		c.mxcsrMask = 0xffbf
	}

	if maxExt, _, _, _ := cpuid(0x80000000, 0); maxExt >= 0x80000007 {
		_, _, _, edx := cpuid(0x80000007, 0)
		c.invariant = edx&(1<<8) != 0
	}
	if maxLeaf >= 7 {
		if _, ebx, _, _ := cpuid(7, 0); ebx&1 != 0 {
			c.hwcap2 = hostAux(26) & 2
		}
	}
	return c
})

// hostAux is an entry of the host's auxiliary vector, or 0.
func hostAux(tag uint64) uint64 {
	b, err := os.ReadFile("/proc/self/auxv")
	if err != nil {
		return 0
	}
	for ; len(b) >= 16; b = b[16:] {
		if binary.LittleEndian.Uint64(b) == tag {
			return binary.LittleEndian.Uint64(b[8:])
		}
	}
	return 0
}

// XStateSize is the size in bytes of an image of the floating point state: what the host writes into its own signal frames,
// without the magic number behind it.
func XStateSize() int { return host().size }

// XFeatures are the parts that an image holds, as bits of XCR0.
func XFeatures() uint64 { return host().features }

// MXCSRMask is the set of bits that may be set in MXCSR.
func MXCSRMask() uint32 { return host().mxcsrMask }

// HWCap and HWCap2 are the values of AT_HWCAP and AT_HWCAP2: CPUID 1's EDX; and in bit 1, whether programs may set the bases
// of FS and GS themselves. The first call of anything in this file reads the host's /proc/self/auxv, the others nothing.
func HWCap() uint64  { return host().hwcap }
func HWCap2() uint64 { return host().hwcap2 }

// InvariantTSC says whether the time stamp counter runs at one speed whatever the processor does.
func InvariantTSC() bool { return host().invariant }
