package lock

import "unsafe"

// before is an order of the mutexes of one rank: that of their addresses, which never change.
func before[M any](a, b *M) bool { return uintptr(unsafe.Pointer(a)) < uintptr(unsafe.Pointer(b)) }
