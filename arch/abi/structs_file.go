package abi

// Stat is struct stat of x86-64: stat(2). Blocks counts 512 bytes.
type Stat struct {
	Dev     uint64
	Ino     uint64
	Nlink   uint64
	Mode    uint32
	UID     uint32
	GID     uint32
	_       uint32
	Rdev    uint64
	Size    int64
	Blksize int64
	Blocks  int64
	Atime   Timespec
	Mtime   Timespec
	Ctime   Timespec
	_       [3]int64
}

// StatxTimestamp is struct statx_timestamp.
type StatxTimestamp struct {
	Sec  int64
	Nsec uint32
	_    int32
}

// Statx is struct statx: statx(2).
type Statx struct {
	Mask           uint32
	Blksize        uint32
	Attributes     uint64
	Nlink          uint32
	UID            uint32
	GID            uint32
	Mode           uint16
	_              uint16
	Ino            uint64
	Size           uint64
	Blocks         uint64
	AttributesMask uint64
	Atime          StatxTimestamp
	Btime          StatxTimestamp
	Ctime          StatxTimestamp
	Mtime          StatxTimestamp
	RdevMajor      uint32
	RdevMinor      uint32
	DevMajor       uint32
	DevMinor       uint32
	MntID          uint64
	DIOMemAlign    uint32
	DIOOffsetAlign uint32
	Subvol         uint64
	_              [11]uint64
}

// Statfs is struct statfs of x86-64: statfs(2). Blocks are of Bsize bytes.
type Statfs struct {
	Type    int64
	Bsize   int64
	Blocks  uint64
	Bfree   uint64
	Bavail  uint64
	Files   uint64
	Ffree   uint64
	Fsid    [2]int32
	Namelen int64
	Frsize  int64
	Flags   int64
	_       [4]int64
}

// Ustat is struct ustat: ustat(2).
type Ustat struct {
	Tfree  int32
	_      uint32
	Tinode uint64
	Fname  [6]byte
	Fpack  [6]byte
	_      uint32
}

// Iovec is struct iovec: readv(2).
type Iovec struct {
	Base uint64
	Len  uint64
}

// FlockT is struct flock: fcntl(2), F_SETLK.
type FlockT struct {
	Type   int16
	Whence int16
	_      uint32
	Start  int64
	Len    int64
	PID    int32
	_      uint32
}

// FOwnerEx is struct f_owner_ex: fcntl(2), F_SETOWN_EX.
type FOwnerEx struct {
	Type int32
	PID  int32
}

// PollFD is struct pollfd: poll(2).
type PollFD struct {
	FD      int32
	Events  int16
	Revents int16
}

// OpenHow is struct open_how: openat2(2).
type OpenHow struct {
	Flags   uint64
	Mode    uint64
	Resolve uint64
}

// Limits of the file calls.
const (
	PATH_MAX     = 4096       // bytes of a path, its NUL included: ENAMETOOLONG
	NAME_MAX     = 255        // bytes of a name
	IOV_MAX      = 1024       // UIO_MAXIOV: EINVAL
	MAX_RW_COUNT = 0x7ffff000 // what one read or write moves at most: INT_MAX cut to pages
)

// F_OWNER_TID and the others are the types of FOwnerEx.
const (
	F_OWNER_TID  = 0
	F_OWNER_PID  = 1
	F_OWNER_PGRP = 2
)

// Makedev and the others convert device numbers as glibc does; the kernel's own encoding in Stat is the same.
func Makedev(major, minor uint32) uint64 {
	return uint64(major&0xfffff000)<<32 | uint64(major&0xfff)<<8 | uint64(minor&0xffffff00)<<12 | uint64(minor&0xff)
}

// Major is the major number of dev.
func Major(dev uint64) uint32 { return uint32(dev>>8&0xfff) | uint32(dev>>32&0xfffff000) }

// Minor is the minor number of dev.
func Minor(dev uint64) uint32 { return uint32(dev&0xff) | uint32(dev>>12&0xffffff00) }
