// Package ccall calls machine code with the C calling convention, for tests of the vDSO.
package ccall

// Call calls the function at fn, which must use next to no stack, with up to three arguments.
func Call(fn, a, b, c uintptr) uintptr
