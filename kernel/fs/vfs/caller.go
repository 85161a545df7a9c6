package vfs

import (
	"sync/atomic"

	"goum/arch/abi"
	"goum/arch/lock"
	"goum/kernel/cred"
	"goum/mm"
	"goum/sched"
)

// Caller is who makes a call. It lives in the task, and everything that acts for a task is handed a pointer to it. It is used by
// the task's own goroutine only.
type Caller struct {
	Cred   *cred.Cred
	Dirs   *Dirs // root, working directory and umask, which threads share
	Limits *cred.Limits
	Thread *sched.Thread // nil in tests that do not sleep
	User   mm.User       // the caller's memory; zero in calls that the kernel makes itself
	Tgid   int32
	Tid    int32
	Owner  any             // the *task.Task, for packages above task
	Raise  func(sig int32) // sends the caller a signal (SIGXFSZ); nil: nobody to send to
}

// Root is where the caller's "/" is.
func (c *Caller) Root() Location { return c.Dirs.Root() }

// System is the machine's that the caller lives on; nil for a caller without a root.
func (c *Caller) System() *System {
	if c.Dirs == nil {
		return nil
	}
	return c.Dirs.sys
}

// Cwd is the caller's working directory.
func (c *Caller) Cwd() Location { return c.Dirs.Cwd() }

// Umask is the caller's file mode creation mask.
func (c *Caller) Umask() uint32 { return c.Dirs.Umask() }

// limit is a soft limit, or none.
func (c *Caller) limit(res int) uint64 {
	if c.Limits == nil {
		return abi.RLIM_INFINITY
	}
	return c.Limits.Cur(res)
}

// Dirs is where a process stands: Linux's fs_struct. Threads made with CLONE_FS share one.
type Dirs struct {
	sys  *System // immutable
	refs atomic.Int32

	mu        lock.Mutex[lock.Task]
	root, cwd Location // counted
	umask     uint32
}

// NewDirs starts at root and cwd, which are counted, with umask 022. Release ends it.
func NewDirs(root, cwd Location) *Dirs {
	d := &Dirs{sys: root.Mount.sys, root: root, cwd: cwd, umask: 0o022}
	d.refs.Store(1)
	root.Ref()
	cwd.Ref()
	d.sys.addDirs(d)
	return d
}

// Share adds a user (CLONE_FS), and answers d.
func (d *Dirs) Share() *Dirs {
	d.refs.Add(1)
	return d
}

// Shared says whether d has more than one user: unshare(2), setns(2).
func (d *Dirs) Shared() bool { return d.refs.Load() > 1 }

// Copy is what a child without CLONE_FS gets.
func (d *Dirs) Copy() *Dirs {
	d.mu.Lock()
	root, cwd, umask := d.root, d.cwd, d.umask
	d.mu.Unlock()
	n := NewDirs(root, cwd)
	n.umask = umask
	return n
}

// Release takes one user away; the last one lets go of the directories.
func (d *Dirs) Release() {
	if d.refs.Add(-1) != 0 {
		return
	}
	d.sys.dropDirs(d)
	d.cwd.Unref()
	d.root.Unref()
}

// Root is the root directory.
func (d *Dirs) Root() Location {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.root
}

// Cwd is the working directory.
func (d *Dirs) Cwd() Location {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.cwd
}

// Umask is the file mode creation mask.
func (d *Dirs) Umask() uint32 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.umask
}

// SetUmask sets the mask to the permission bits of m, and answers what it was: umask(2).
func (d *Dirs) SetUmask(m uint32) uint32 {
	d.mu.Lock()
	defer d.mu.Unlock()
	old := d.umask
	d.umask = m & 0o777
	return old
}

// SetRoot makes l, which must be a directory, the root. Permission is the caller's to check: Caller.Chroot. False: l was removed.
func (d *Dirs) SetRoot(l Location) bool { return d.set(&d.root, l) }

// SetCwd makes l the working directory: see Caller.Chdir. False: l was removed.
func (d *Dirs) SetCwd(l Location) bool { return d.set(&d.cwd, l) }

func (d *Dirs) set(p *Location, l Location) bool {
	if !l.Ref() {
		return false
	}
	d.mu.Lock()
	old := *p
	*p = l
	d.mu.Unlock()
	old.Unref()
	return true
}

// swap replaces from by to in both places: pivot_root(2).
func (d *Dirs) swap(from, to Location) {
	if d.Root() == from {
		d.SetRoot(to)
	}
	if d.Cwd() == from {
		d.SetCwd(to)
	}
}

// What access is asked for, as in Linux's inode_permission.
const (
	MayExec  = 1
	MayWrite = 2
	MayRead  = 4
)

// Permit says whether the caller may access the node at l as mask says: EROFS, EACCES, and what a Permitter says.
func (c *Caller) Permit(l Location, mask uint32) abi.Errno {
	n := l.Node()
	if n == nil {
		return abi.ENOENT
	}
	a, e := n.Attr(c)
	if e != 0 {
		return e
	}
	return c.permit(l.Dentry.super, n, &a, mask)
}

// permit is inode_permission: the file system's own read-only state counts, the mount's does not.
func (c *Caller) permit(s *Super, n Node, a *Attr, mask uint32) abi.Errno {
	if mask&MayWrite != 0 {
		switch a.Mode & abi.S_IFMT {
		case abi.S_IFREG, abi.S_IFDIR, abi.S_IFLNK:
			if s.ReadOnly() {
				return abi.EROFS
			}
		}
		if a.Flags&abi.STATX_ATTR_IMMUTABLE != 0 {
			return abi.EPERM
		}
	}
	if p, ok := n.(Permitter); ok {
		return p.Permit(c, mask)
	}
	return c.PermitAttr(a, mask)
}

// PermitAttr is generic_permission: mode, owner, groups and capabilities only. EACCES.
func (c *Caller) PermitAttr(a *Attr, mask uint32) abi.Errno {
	mask &= 7
	mode := a.Mode
	switch {
	case c.Cred.FSUID == a.UID:
		mode >>= 6
	case mask&(mode^mode>>3) != 0 && c.Cred.InGroup(a.GID):
		mode >>= 3
	}
	if mask&^mode == 0 {
		return 0
	}
	if a.IsDir() {
		if mask&MayWrite == 0 && c.Cred.Has(abi.CAP_DAC_READ_SEARCH) {
			return 0
		}
		if c.Cred.Has(abi.CAP_DAC_OVERRIDE) {
			return 0
		}
		return abi.EACCES
	}
	if mask == MayRead && c.Cred.Has(abi.CAP_DAC_READ_SEARCH) {
		return 0
	}
	if (mask&MayExec == 0 || a.Mode&0o111 != 0) && c.Cred.Has(abi.CAP_DAC_OVERRIDE) {
		return 0
	}
	return abi.EACCES
}

// owns is inode_owner_or_capable.
func (c *Caller) owns(a *Attr) bool { return c.Cred.FSUID == a.UID || c.Cred.Has(abi.CAP_FOWNER) }

// sticky is check_sticky: whether the sticky bit of dir keeps the caller from removing a.
func (c *Caller) sticky(dir, a *Attr) bool {
	return dir.Mode&abi.S_ISVTX != 0 && c.Cred.FSUID != a.UID && c.Cred.FSUID != dir.UID && !c.Cred.Has(abi.CAP_FOWNER)
}

// real is a caller with the real instead of the effective identity: access(2).
func (c *Caller) real() *Caller {
	cr := *c.Cred
	cr.FSUID, cr.FSGID = cr.UID, cr.GID
	if cr.Securebits&abi.SECBIT_NO_SETUID_FIXUP == 0 {
		if cr.UID != 0 {
			cr.Effective = 0
		} else {
			cr.Effective = cr.Permitted
		}
	}
	r := *c
	r.Cred = &cr
	return &r
}
