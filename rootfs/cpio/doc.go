// Package cpio reads and writes initramfs archives: cpio in the "newc" (070701) and "crc" (070702) formats.
//
// What Linux takes for an initramfs (init/initramfs.c, buffer-format.rst) it reads: any number of archives after one
// another, each plain or compressed with gzip, zstd or xz, with zero bytes between them. Where Linux is silent about
// an archive that is cut off, goes on after an error or leaves out an entry, this package stops with an error that
// names the entry, since the archive is what a user gave and the user can give a better one. Two things that Linux
// takes are therefore refused: an archive without its trailer, and a name with "..".
//
// The input is foreign. Invariants:
//   - No byte of it makes the reader panic, and nothing is allocated by a size in it unless limits.go bounds that.
//   - A name that is shown is relative, has no empty, "." or ".." element and no NUL; the root itself is ".".
//   - What is shown of the data is whole: a body that is cut off is an error, never a short body.
//
// The package keeps no state and holds no lock.
package cpio
