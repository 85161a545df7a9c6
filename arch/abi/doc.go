// Package abi is the guest's side of the system call interface of x86-64 Linux: numbers, error numbers, constants, and
// structures in the layout that user space sees.
//
// It holds no state and does nothing. A file of goum speaks either this package (the guest's language) or
// golang.org/x/sys/unix (the host's), never both; FromHost is the only bridge.
package abi
