package abi

import "syscall"

// FromHost turns the error number of a host call into the one that the guest sees. The numbers are the same on both sides;
// what is not a plain error number of Linux (a Go error would not be) becomes EIO.
func FromHost(e syscall.Errno) Errno {
	if e < 4096 {
		return Errno(e)
	}
	return EIO
}
