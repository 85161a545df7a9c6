package abi

import "encoding/binary"

// PIPE_BUF is how many bytes a write to a pipe moves as a whole or not at all: pipe(7).
const PIPE_BUF = 4096

// MAXSYMLINKS and the others bound names, links and extended attributes.
const (
	MAXSYMLINKS     = 40    // symbolic links followed in one walk: ELOOP
	XATTR_NAME_MAX  = 255   // ERANGE
	XATTR_SIZE_MAX  = 65536 // E2BIG
	XATTR_LIST_MAX  = 65536 // E2BIG
	MAX_HANDLE_SZ   = 128   // EINVAL
	RESOLVE_CACHED  = 0x20  // openat2(2)
	O_TMPFILE_BIT   = 0x400000
	SPLICE_F_MOVE   = 1
	SPLICE_F_NONBLK = 2
	SPLICE_F_MORE   = 4
	SPLICE_F_GIFT   = 8
)

// What posix_fadvise(2) takes.
const (
	POSIX_FADV_NORMAL     = 0
	POSIX_FADV_RANDOM     = 1
	POSIX_FADV_SEQUENTIAL = 2
	POSIX_FADV_WILLNEED   = 3
	POSIX_FADV_DONTNEED   = 4
	POSIX_FADV_NOREUSE    = 5
)

// FileHandleHeader is the head of struct file_handle, before its Bytes bytes: name_to_handle_at(2).
type FileHandleHeader struct {
	Bytes uint32
	Type  int32
}

// Dirent64Len is the length of a struct linux_dirent64 with a name of n bytes: getdents64(2).
func Dirent64Len(n int) int { return (19 + n + 1 + 7) &^ 7 }

// AppendDirent64 appends a struct linux_dirent64 to b. next is the position of the entry after it.
func AppendDirent64(b []byte, ino uint64, next int64, typ uint8, name string) []byte {
	n := Dirent64Len(len(name))
	b = binary.LittleEndian.AppendUint64(b, ino)
	b = binary.LittleEndian.AppendUint64(b, uint64(next))
	b = binary.LittleEndian.AppendUint16(b, uint16(n))
	b = append(b, typ)
	b = append(b, name...)
	for range n - 19 - len(name) {
		b = append(b, 0)
	}
	return b
}

// DirentLen is the length of a struct linux_dirent with a name of n bytes: getdents(2).
func DirentLen(n int) int { return (18 + n + 2 + 7) &^ 7 }

// AppendDirent appends a struct linux_dirent to b; the type stands in its last byte.
func AppendDirent(b []byte, ino uint64, next int64, typ uint8, name string) []byte {
	n := DirentLen(len(name))
	b = binary.LittleEndian.AppendUint64(b, ino)
	b = binary.LittleEndian.AppendUint64(b, uint64(next))
	b = binary.LittleEndian.AppendUint16(b, uint16(n))
	b = append(b, name...)
	for range n - 18 - len(name) - 1 {
		b = append(b, 0)
	}
	return append(b, typ)
}

// DirentType is the type of a directory entry (DT_REG ...) for the mode of a file.
func DirentType(mode uint32) uint8 { return uint8(mode & S_IFMT >> 12) }
