package abi

import "unsafe"

// Bytes is the memory of *p as bytes: what goes to and comes from user space. T must be made of fixed-size numbers and arrays of
// them only, with its padding named `_`: then the layout is the one that user space sees, every bit pattern is a valid T, and no
// byte of the kernel's leaks. Plain checks that.
func Bytes[T any](p *T) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(p)), unsafe.Sizeof(*p))
}

// SliceBytes is Bytes for the elements of s.
func SliceBytes[T any](s []T) []byte {
	if len(s) == 0 {
		return nil
	}
	return unsafe.Slice((*byte)(unsafe.Pointer(&s[0])), uintptr(len(s))*unsafe.Sizeof(s[0]))
}
