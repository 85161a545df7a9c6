package vfs

import (
	"strconv"
	"strings"
	"sync/atomic"

	"goum/arch/abi"
)

// The file systems without a mount: pipes, sockets, and all that has no name. Their numbers are those that a small Linux machine
// shows. They hold no state but the counter of inode numbers, which is shared by all machines of the process: a number says nothing.
var (
	anonSuper = kernelSuper("anon_inodefs", 15, abi.ANON_INODE_FS_MAGIC)
	pipeSuper = kernelSuper("pipefs", 14, abi.PIPEFS_MAGIC)
	sockSuper = kernelSuper("sockfs", 8, abi.SOCKFS_MAGIC)

	anonIno atomic.Uint64
)

type kernelFS struct{ magic int64 }

func (k kernelFS) Statfs(*Caller) (abi.Statfs, abi.Errno) {
	return abi.Statfs{Type: k.magic, Bsize: 4096, Namelen: abi.NAME_MAX, Frsize: 4096}, 0
}

func kernelSuper(name string, minor uint32, magic int64) *Super {
	s := NewSuper(nil, name, kernelFS{magic}, &anonNode{})
	s.Dev = abi.Makedev(0, minor)
	return s
}

// NextIno is a new inode number for a pipe, socket or the like.
func NextIno() uint64 { return 1024 + anonIno.Add(1) }

// anonNode is the node of a file that was never in a directory.
type anonNode struct {
	Inode
	file  File
	attr  Attr
	uid   atomic.Uint32
	gid   atomic.Uint32
	perms atomic.Uint32
}

func (n *anonNode) Attr(*Caller) (Attr, abi.Errno) {
	a := n.attr
	a.Mode = a.Mode&abi.S_IFMT | n.perms.Load()
	a.UID, a.GID = n.uid.Load(), n.gid.Load()
	return a, 0
}

func (n *anonNode) SetAttr(c *Caller, s *SetAttr) abi.Errno {
	if s.Valid&SetSize != 0 {
		return abi.EINVAL
	}
	if n.attr.Mode&abi.S_IFMT == 0 {
		return abi.EOPNOTSUPP
	}
	if s.Valid&SetMode != 0 {
		n.perms.Store(s.Mode & 0o7777)
	}
	if s.Valid&SetUID != 0 {
		n.uid.Store(s.UID)
	}
	if s.Valid&SetGID != 0 {
		n.gid.Store(s.GID)
	}
	return 0
}

func (n *anonNode) Open(c *Caller, flags uint32, loc Location) (File, abi.Errno) {
	if r, ok := n.file.(Reopener); ok {
		return r.Reopen(c, flags)
	}
	return nil, abi.ENXIO
}

// NewAnon makes an open file without a directory. name is what /proc/PID/fd shows: "anon_inode:[eventpoll]", "pipe:[7]",
// "socket:[7]"; the number in the brackets (NextIno) becomes its inode number, and with "[%d]" a new one is taken. mode has the type
// (0 for an anon_inode) and permission bits, flags are open(2)'s. Owner and times: SetAnonOwner.
func NewAnon(name string, mode uint32, f File, flags uint32) *Open {
	s := anonSuper
	switch mode & abi.S_IFMT {
	case abi.S_IFIFO:
		s = pipeSuper
	case abi.S_IFSOCK:
		s = sockSuper
	}
	n := &anonNode{file: f}
	if strings.Contains(name, "[%d]") {
		n.attr.Ino = NextIno()
		name = strings.Replace(name, "%d", strconv.FormatUint(n.attr.Ino, 10), 1)
	} else if i := strings.IndexByte(name, '['); i >= 0 {
		n.attr.Ino, _ = strconv.ParseUint(strings.TrimSuffix(name[i+1:], "]"), 10, 64)
	}
	if n.attr.Ino == 0 {
		n.attr.Ino = 1024 // Linux has one inode for all of them
	}
	n.attr.Mode, n.attr.Nlink = mode, 1
	n.attr.BlockSize = 4096
	n.perms.Store(mode & 0o7777)
	return NewOpen(f, Location{Dentry: NewDetached(s, name, n)}, flags)
}

// SetAnonOwner stamps a file of NewAnon with its maker and the time (nanoseconds since the epoch), as fstat(2) shows them.
func SetAnonOwner(o *Open, uid, gid uint32, now int64) {
	if n, ok := o.Loc.Node().(*anonNode); ok {
		n.uid.Store(uid)
		n.gid.Store(gid)
		n.attr.Atime, n.attr.Mtime, n.attr.Ctime = now, now, now
	}
}
