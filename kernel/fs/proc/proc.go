// Package proc is procfs: the machine and its tasks as files, in the formats of Linux 6.18 byte for byte, as ps, free, top, mount and
// the Go runtime read them.
//
// It owns nothing but names: all content is made when a file is read, from the packages that know.
//
// Invariants:
//   - A node of a task holds the task, not its number: a number that is given out again is a new node (Valid), and a file of a
//     task that is gone reads ESRCH.
//   - Another's memory is reached between Memory.Grab and Drop only, and what is shown of it is bounded (limits.go).
//   - Who may see what is checked when a file is opened, and for links and directories when they are followed: MayAccess.
//
// Locks: none of its own.
package proc

import (
	"fmt"
	"sync"

	"goum/arch/abi"
	"goum/kernel/fs/made"
	"goum/kernel/fs/vfs"
	"goum/kernel/task"
	"goum/kernel/uts"
)

// Config is what procfs shows beside task.System.
type Config struct {
	System  *task.System
	UTS     *uts.Names
	Cmdline string // the kernel's command line, without a newline
	CPU     CPU    // zero: DefaultCPU

	// Cached is how many bytes of memory are page cache, Shmem how many of them are of tmpfs; nil: unknown.
	Cached, Shmem func() uint64
	// Devices lists the names of character devices for /proc/devices, by major number; nil: the usual ones.
	Devices map[int]string
	// Interrupts, Faults: counters for /proc/stat and /proc/vmstat; nil: 0.
	Interrupts, Faults func() uint64
	// Net are files of /proc/net that package net adds: name to content. nil: those of a machine without any socket.
	Net map[string]func(c *vfs.Caller) string
	// SysRq is given what is written to /proc/sysrq-trigger; nil: there is no such file.
	SysRq func(c *vfs.Caller, b byte)
	// Kmsg opens /proc/kmsg; nil: there is no such file.
	Kmsg vfs.Opener
}

// FS is a machine's procfs.
type FS struct {
	Config
	tree   *made.Tree
	static *made.Dir
	super  *vfs.Super
	bootID string

	netOnce sync.Once
	netNode *made.Dir
	oomAdj  sync.Map // weak.Pointer[task.Process] to int: what was written to oom_score_adj
}

// New makes the procfs of a machine; mount(2) of "proc" shows it once it is registered.
func New(m Config) *FS {
	f := &FS{Config: m, tree: made.NewTree(m.System.Clock.Realtime)}
	if f.CPU.Name == "" {
		f.CPU = DefaultCPU()
	}
	f.bootID = f.uuid()
	f.static = f.tree.Dir()
	f.addRoot()
	f.addSys()
	f.super = vfs.NewSuper(m.System.VFS, "proc", f, &root{FS: f})
	return f
}

// Register makes the procfs of a machine, and its type known to mount(2). There is one, however often it is mounted.
func Register(s *vfs.System, c Config) *FS {
	f := New(c)
	s.Register(vfs.Type{Name: "proc", Nodev: true,
		Mount: func(*vfs.Caller, string, uint32, string) (*vfs.Super, abi.Errno) { return f.super, 0 }})
	return f
}

// Super is the file system, for a boot that mounts it itself.
func (f *FS) Super() *vfs.Super { return f.super }

// Statfs is what Linux says of procfs.
func (f *FS) Statfs(*vfs.Caller) (abi.Statfs, abi.Errno) {
	return abi.Statfs{Type: abi.PROC_SUPER_MAGIC, Bsize: 4096, Frsize: 4096, Namelen: abi.NAME_MAX}, 0
}

// uuid is a random one: version 4.
func (f *FS) uuid() string {
	var b [16]byte
	f.System.Random.Fill(b[:])
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[0:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// text adds a read-only file.
func (f *FS) text(d *made.Dir, name string, make func() string) { made.Add(d, name, f.tree.Text(make)) }

// line is a value on a line of its own.
func line(v any) string { return fmt.Sprintln(v) }

// root is the root directory: what is fixed, and the processes.
type root struct {
	vfs.BaseNode
	*FS
}

// Attr is the root's; its links count the processes, as in Linux.
func (r *root) Attr(c *vfs.Caller) (vfs.Attr, abi.Errno) {
	a, e := r.static.Attr(c)
	tasks, _, _ := r.System.Tree.Counts()
	a.Nlink += uint32(tasks)
	return a, e
}

// SetAttr lets nothing of weight be changed.
func (r *root) SetAttr(c *vfs.Caller, s *vfs.SetAttr) abi.Errno { return made.SetAttr(s) }

// Lookup finds a fixed entry, or a thread by its number (only processes are listed).
func (r *root) Lookup(c *vfs.Caller, name string) (vfs.Node, abi.Errno) {
	if n, e := r.static.Lookup(c, name); e == 0 {
		return n, 0
	}
	id, ok := number(name)
	if !ok {
		return nil, abi.ENOENT
	}
	t := r.System.Tree.FindTask(id)
	if t == nil {
		return nil, abi.ENOENT
	}
	return r.taskDir(t, id, false), 0
}

// Valid says whether a cached name still means the same.
func (r *root) Valid(c *vfs.Caller, name string, n vfs.Node) bool {
	id, ok := number(name)
	if !ok {
		return true
	}
	d, ok := n.(*dir)
	return ok && r.System.Tree.FindTask(id) == d.task
}

// number reads a process number as procfs does: decimal, without leading zeros.
func number(s string) (int32, bool) {
	if s == "" || len(s) > 9 || s[0] == '0' && len(s) > 1 {
		return 0, false
	}
	n := int32(0)
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
		n = n*10 + int32(s[i]-'0')
	}
	return n, true
}

// firstPID is the position of process 0 in the listing: far behind what is fixed, as Linux's FIRST_PROCESS_ENTRY.
const firstPID = 256

// Open opens the root for listing.
func (r *root) Open(c *vfs.Caller, flags uint32, loc vfs.Location) (vfs.File, abi.Errno) {
	return &made.OpenDir{Loc: loc, List: func(c *vfs.Caller, pos int64, emit func(vfs.DirEntry) bool) abi.Errno {
		if pos < firstPID {
			last := r.static.Entries() - 1
			if !r.static.Emit(int(pos-2), func(i int) int64 {
				if i == last {
					return firstPID
				}
				return int64(i) + 3
			}, emit) {
				return 0
			}
			pos = firstPID
		}
		for p := r.System.Tree.Next(int32(min(pos-firstPID, 1<<30))); p != nil; p = r.System.Tree.Next(p.PID + 1) {
			if !emit(vfs.DirEntry{Name: fmt.Sprint(p.PID), Ino: inode(p.PID, 0), Type: abi.DT_DIR, Next: firstPID + int64(p.PID) + 1}) {
				return 0
			}
		}
		return 0
	}}, 0
}

// inode numbers the nodes of tasks: beyond those of the fixed entries.
func inode(pid int32, entry int) uint64 { return 1<<40 | uint64(pid)<<20 | uint64(entry) }

// self is the link /proc/self, and thread /proc/thread-self: ENOENT for whoever is no task.
func self(c *vfs.Caller) (string, abi.Errno) {
	t := task.Of(c)
	if t == nil {
		return "", abi.ENOENT
	}
	return fmt.Sprint(t.PID()), 0
}

func threadSelf(c *vfs.Caller) (string, abi.Errno) {
	t := task.Of(c)
	if t == nil {
		return "", abi.ENOENT
	}
	return fmt.Sprintf("%d/task/%d", t.PID(), t.TID), 0
}
