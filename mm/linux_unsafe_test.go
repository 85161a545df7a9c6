package mm

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

func nativeIncore(a Addr, n uint64) unix.Errno {
	vec := make([]byte, n)
	_, _, e := unix.Syscall(unix.SYS_MINCORE, uintptr(a), uintptr(n*PageSize), uintptr(unsafe.Pointer(&vec[0])))
	return e
}
