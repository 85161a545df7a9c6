//lint:file-ignore U1000 the assembly has these names from go_asm.h, which staticcheck does not read

package stub

import "unsafe"

func codeAddr() uintptr
func bootAddr() uintptr

// code and boot are never called: the assembler's text is copied from their addresses.
func code()
func boot()

// text returns the bytes of an assembly function that ends with two UD2 instructions, both included. The function is part of this
// program's read-only text.
func text(addr uintptr) []byte {
	const ud2 = "\x0f\x0b"
	p := (*[RegionSize]byte)(*(*unsafe.Pointer)(unsafe.Pointer(&addr)))
	for i := 0; i+4 <= len(p); i++ {
		if string(p[i:i+4]) == ud2+ud2 {
			return p[: i+4 : i+4]
		}
	}
	panic("stub: code without an end")
}

// bytesOf returns the memory of v, which holds no pointers.
func bytesOf[T any](v *T) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(v)), unsafe.Sizeof(*v))
}

const replySize = uint64(unsafe.Sizeof(bootReply{}))

// dataPointers are addresses in a stub, of parts of its bootData.
type dataPointers struct {
	filters   [2]uint64
	iov, cmsg uint64
}

func dataOffsets(d *bootData) dataPointers {
	at := func(p unsafe.Pointer) uint64 { return Data + uint64(uintptr(p)-uintptr(unsafe.Pointer(d))) }
	return dataPointers{
		filters: [2]uint64{at(unsafe.Pointer(&d.Filters[0])), at(unsafe.Pointer(&d.Filters[1]))},
		iov:     at(unsafe.Pointer(&d.Iov)),
		cmsg:    at(unsafe.Pointer(&d.Cmsg)),
	}
}

// SlotAt returns the slot in the monitor's mapping of the control memory at p.
func SlotAt(p unsafe.Pointer) *Slot { return (*Slot)(p) }
