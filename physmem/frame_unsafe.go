package physmem

import (
	"sync/atomic"
	"unsafe"
)

// Word32 is the 32-bit word at byte offset off of f, for atomic access. off must be a multiple of 4 below PageSize.
func (m *Memory) Word32(f Frame, off uint64) *atomic.Uint32 {
	b := m.Bytes(f)[off&^3:]
	return (*atomic.Uint32)(unsafe.Pointer(&b[0]))
}

// Word64 is the 64-bit word at byte offset off of f, for atomic access. off must be a multiple of 8 below PageSize.
func (m *Memory) Word64(f Frame, off uint64) *atomic.Uint64 {
	b := m.Bytes(f)[off&^7:]
	return (*atomic.Uint64)(unsafe.Pointer(&b[0]))
}
