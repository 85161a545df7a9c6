package vfs

import (
	"sync/atomic"

	"goum/arch/abi"
	"goum/arch/lock"
	"goum/sched"
)

// Attr is what stat(2) tells of a node. Times are nanoseconds since the epoch, Blocks counts 512 bytes.
type Attr struct {
	Ino                        uint64
	Mode                       uint32 // type and permission bits
	Nlink                      uint32
	UID, GID                   uint32
	BlockSize                  uint32 // 0: 4096
	Rdev                       uint64 // of a device: abi.Makedev
	Size                       int64
	Blocks                     uint64
	Atime, Mtime, Ctime, Btime int64
	Dev                        uint64 // 0: that of the Super
	Flags                      uint64 // STATX_ATTR_IMMUTABLE and APPEND
}

// IsDir says whether a is a directory.
func (a *Attr) IsDir() bool { return a.Mode&abi.S_IFMT == abi.S_IFDIR }

// What a SetAttr changes. A file system sets Ctime to its clock whenever it changes something.
const (
	SetMode     = 1 << iota // the permission bits
	SetUID                  //
	SetGID                  //
	SetSize                 // truncate or extend; Mtime too
	SetAtime                // to Atime
	SetMtime                // to Mtime
	SetAtimeNow             // to the file system's clock
	SetMtimeNow             //
)

// SetAttr is a change of attributes, already permitted.
type SetAttr struct {
	Valid        uint32
	Mode         uint32
	UID, GID     uint32
	Size         int64
	Atime, Mtime int64
}

// Node is a file, directory, link or device in a file system: an inode. It embeds Inode, which gives it VFS.
//
// Methods may be called by many at once. They may sleep with c.Thread; the caller holds gates only.
type Node interface {
	VFS() *Inode
	// Attr is the attributes now. An errno is for file systems whose answer lies elsewhere (a host file, a task that is gone).
	Attr(c *Caller) (Attr, abi.Errno)
	// SetAttr changes what s.Valid names, all or nothing.
	SetAttr(c *Caller, s *SetAttr) abi.Errno
	// Open makes a File for a regular file or directory; devices, fifos and sockets never get here. flags are open(2)'s
	// without O_CREAT, O_EXCL and O_TRUNC. loc is what was opened, for those that care.
	Open(c *Caller, flags uint32, loc Location) (File, abi.Errno)
}

// Dir is a Node that is a directory.
type Dir interface {
	// Lookup finds name (never empty, "." or ".."; at most NAME_MAX bytes): ENOENT.
	Lookup(c *Caller, name string) (Node, abi.Errno)
}

// Volatile is a Dir whose entries change by themselves. Valid is asked before a cached name is used; n is nil for a name that was
// not there.
type Volatile interface {
	Valid(c *Caller, name string, n Node) bool
}

// Making describes a node to be made.
type Making struct {
	Mode     uint32 // type and final permission bits
	UID, GID uint32
	Rdev     uint64
	Target   string // of a symbolic link
	NoLink   bool   // O_TMPFILE with O_EXCL: it will never get a name
}

// Maker is a Dir in which files can be made: all types. Missing: EPERM (EACCES for open(2) with O_CREAT).
type Maker interface {
	Make(c *Caller, name string, m Making) (Node, abi.Errno)
}

// TmpMaker makes a nameless regular file in the directory: O_TMPFILE. Missing: EOPNOTSUPP.
type TmpMaker interface {
	MakeTmp(c *Caller, m Making) (Node, abi.Errno)
}

// Linker gives n, of the same file system, one more name. Missing: EPERM.
type Linker interface {
	Link(c *Caller, name string, n Node) abi.Errno
}

// Remover takes names away. Missing: EPERM. Rmdir: ENOTEMPTY.
type Remover interface {
	Unlink(c *Caller, name string, n Node) abi.Errno
	Rmdir(c *Caller, name string, n Node) abi.Errno
}

// Renamer moves name, which is n, to newName in the directory to, where target is (nil: nothing). flags are NOREPLACE (checked
// already), EXCHANGE and WHITEOUT (EINVAL where not supported). A directory that replaces one: ENOTEMPTY. Missing: EPERM.
type Renamer interface {
	Rename(c *Caller, name string, n Node, to Node, newName string, target Node, flags uint32) abi.Errno
}

// Symlinker is a Node that is a symbolic link. Missing on one: EINVAL.
type Symlinker interface {
	Readlink(c *Caller) (string, abi.Errno)
}

// Follower is a magic link, /proc/PID/fd/N: the walk goes to what it means, not to what Readlink says.
type Follower interface {
	Follow(c *Caller) (Location, abi.Errno)
}

// Permitter decides on access itself (procfs: another's fd directory). mask is of MayRead, MayWrite, MayExec. vfs asks it
// instead of looking at the mode.
type Permitter interface {
	Permit(c *Caller, mask uint32) abi.Errno
}

// Xattrer keeps extended attributes. Missing: EOPNOTSUPP. Permission is checked by vfs. GetXattr: ENODATA. SetXattr with a nil
// value removes (ENODATA); flags are XATTR_CREATE (EEXIST) and XATTR_REPLACE (ENODATA).
type Xattrer interface {
	GetXattr(c *Caller, name string) ([]byte, abi.Errno)
	SetXattr(c *Caller, name string, value []byte, flags uint32) abi.Errno
	ListXattr(c *Caller) ([]string, abi.Errno)
}

// Toucher updates a node's access time; vfs calls it after a read, where the mount allows it. With relatime only if it is not newer
// than the last change, or a day old (see Relatime). Missing: nothing.
type Toucher interface {
	Touch(c *Caller, relatime bool)
}

// Relatime says whether an access time is due for an update under relatime. All in nanoseconds.
func Relatime(atime, mtime, ctime, now int64) bool {
	return atime <= mtime || atime <= ctime || now-atime >= 24*3600*abi.NsPerSec
}

// Evicter is told when nobody can reach the node through vfs any more: no cached name, no open file. It may come back by a new
// Lookup if it has a link.
type Evicter interface {
	Evict()
}

// Inode is what vfs keeps with each Node. Its zero value is ready; embed it.
type Inode struct {
	gate    sched.Gate // a directory: its names change
	dead    atomic.Bool
	uses    atomic.Int32 // Dentries with this node
	writers atomic.Int32 // files open for writing; negative: programs that run it
	extra   atomic.Pointer[extra]
}

// VFS is how vfs gets at it.
func (i *Inode) VFS() *Inode { return i }

// Dead says whether the directory was removed.
func (i *Inode) Dead() bool { return i.dead.Load() }

// extra is what few inodes have.
type extra struct {
	mu       lock.Mutex[lock.Inode]
	flocks   fileLocks // flock(2)
	records  fileLocks // POSIX and open file description locks
	watchers []*Watcher
	watched  atomic.Int32 // how many
	fifo     any          // the pipe of a fifo: package pipe
}

func (i *Inode) more() *extra {
	if x := i.extra.Load(); x != nil {
		return x
	}
	i.extra.CompareAndSwap(nil, new(extra))
	return i.extra.Load()
}

// Fifo is the state that belongs to a fifo's node: what make returns at the first call, ever after.
func (i *Inode) Fifo(make func() any) any {
	x := i.more()
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.fifo == nil {
		x.fifo = make()
	}
	return x.fifo
}

// DenyWrite is called before a program is run from the node: ETXTBSY if it is open for writing. AllowWrite undoes it.
func (i *Inode) DenyWrite() abi.Errno {
	for {
		n := i.writers.Load()
		if n > 0 {
			return abi.ETXTBSY
		}
		if i.writers.CompareAndSwap(n, n-1) {
			return 0
		}
	}
}

// AllowWrite undoes DenyWrite.
func (i *Inode) AllowWrite() { i.writers.Add(1) }

// BeginWrite is called when the node is opened for writing or truncated: ETXTBSY if it is being run. EndWrite undoes it.
func (i *Inode) BeginWrite() abi.Errno {
	for {
		n := i.writers.Load()
		if n < 0 {
			return abi.ETXTBSY
		}
		if i.writers.CompareAndSwap(n, n+1) {
			return 0
		}
	}
}

// EndWrite undoes BeginWrite.
func (i *Inode) EndWrite() { i.writers.Add(-1) }

// Writers is how many open files may write to the node (memfd's F_SEAL_WRITE asks).
func (i *Inode) Writers() int { return max(int(i.writers.Load()), 0) }

// BaseNode are refusing methods of Node, for nodes that are made: EPERM.
type BaseNode struct{ Inode }

// SetAttr refuses.
func (*BaseNode) SetAttr(c *Caller, s *SetAttr) abi.Errno { return abi.EPERM }

// Open refuses.
func (*BaseNode) Open(c *Caller, flags uint32, loc Location) (File, abi.Errno) { return nil, abi.ENXIO }
