package vfs

import (
	"sync/atomic"

	"goum/arch/abi"
	"goum/arch/lock"
	"goum/sched"
)

// FS is a mounted file system as a whole. Optional: Optioner, Remounter, SuperSyncer, Unmounter.
type FS interface {
	// Statfs fills in what statfs(2) tells; vfs adds Flags.
	Statfs(c *Caller) (abi.Statfs, abi.Errno)
}

// Optioner is an FS with mount options of its own, as /proc/mounts shows them: ",size=1024k".
type Optioner interface{ Options() string }

// Remounter is an FS that takes other options later: mount(2) with MS_REMOUNT. Missing: data is ignored.
type Remounter interface {
	Remount(c *Caller, flags uint32, data string) abi.Errno
}

// SuperSyncer is syncfs(2). Missing: 0.
type SuperSyncer interface{ Sync(c *Caller) abi.Errno }

// Unmounter is told that the last mount and the last open file are gone.
type Unmounter interface{ Unmounted() }

// Super is one file system: what Linux calls a super block.
type Super struct {
	// immutable after NewSuper
	Type    string // "tmpfs"
	FS      FS
	Dev     uint64
	sys     *System
	renames sched.Gate // one move between directories at a time
	flags   atomic.Uint32
	mounts  atomic.Int32 // mounts that live, or are still used

	names  lock.Mutex[lock.Dentry] // guards every Dentry of this file system, and:
	root   *Dentry
	lru    Dentry // the ring of cached names; lru.next was used last
	cached int
}

// NewSuper makes a file system of sys whose root is root: mounted by System.Mount and friends. fs may be nil.
func NewSuper(sys *System, typ string, fs FS, root Node) *Super {
	s := &Super{Type: typ, FS: fs, sys: sys}
	if sys != nil {
		s.Dev = sys.newDev()
	}
	s.lru.next, s.lru.prev = &s.lru, &s.lru
	s.root = &Dentry{super: s, node: root, hashed: true}
	s.root.parent = s.root
	root.VFS().uses.Add(1)
	return s
}

// System is the machine's that s belongs to.
func (s *Super) System() *System { return s.sys }

// Root is the root directory's Dentry.
func (s *Super) Root() *Dentry { return s.root }

// ReadOnly says whether the whole file system is: mount -o remount,ro.
func (s *Super) ReadOnly() bool { return s.flags.Load()&abi.MS_RDONLY != 0 }

// SetReadOnly makes it so from the start.
func (s *Super) SetReadOnly(ro bool) {
	if ro {
		s.flags.Or(abi.MS_RDONLY)
	} else {
		s.flags.And(^uint32(abi.MS_RDONLY))
	}
}

// Dentry is a name in a directory, and what it names; a nil node says that there is no such name.
type Dentry struct {
	// immutable
	super *Super
	node  Node
	text  string // of a file without a directory: what /proc/PID/fd shows

	mounted atomic.Int32 // mounts on top of it

	// guarded by super.names
	parent     *Dentry // itself for a root, and for a file without a directory
	name       string
	children   map[string]*Dentry
	refs       int  // Locations that are kept
	hashed     bool // in parent's children
	gone       bool // the node was let go
	used       bool // since the ring was last looked at
	next, prev *Dentry
}

// Node is what the name names.
func (d *Dentry) Node() Node { return d.node }

// Super is the file system.
func (d *Dentry) Super() *Super { return d.super }

// Name is the last component of the path, as it is now.
func (d *Dentry) Name() string {
	d.super.names.Lock()
	defer d.super.names.Unlock()
	return d.name
}

// Parent is the directory that d is in; a root's is itself.
func (d *Dentry) Parent() *Dentry {
	d.super.names.Lock()
	defer d.super.names.Unlock()
	return d.parent
}

// Unlinked says whether the name was removed.
func (d *Dentry) Unlinked() bool {
	d.super.names.Lock()
	defer d.super.names.Unlock()
	return !d.hashed && d.text == ""
}

// NewDetached is a name outside every directory, for files that have none: text is what /proc/PID/fd shows.
func NewDetached(s *Super, text string, n Node) *Dentry {
	d := &Dentry{super: s, node: n, text: text}
	d.parent = d
	n.VFS().uses.Add(1)
	return d
}

// lookup finds name below d in the cache.
func (d *Dentry) lookup(name string) *Dentry {
	s := d.super
	s.names.Lock()
	defer s.names.Unlock()
	f := d.children[name]
	if f != nil {
		f.used = true
	}
	return f
}

// add puts a new name below d, in place of a negative one; n may be nil. d's gate is held. evicted are nodes to be told.
func (d *Dentry) add(name string, n Node) *Dentry {
	s := d.super
	f := &Dentry{super: s, node: n, parent: d, name: name}
	if n != nil {
		n.VFS().uses.Add(1)
	}
	var dead evictions
	s.names.Lock()
	if old := d.children[name]; old != nil {
		old.unhash(&dead)
	}
	f.hash()
	s.shrink(&dead)
	s.names.Unlock()
	dead.tell()
	return f
}

// hash puts f into its parent's map. names is held.
func (f *Dentry) hash() {
	d, s := f.parent, f.super
	if d.children == nil {
		d.children = make(map[string]*Dentry)
	}
	d.children[f.name] = f
	f.hashed = true
	f.next, f.prev = s.lru.next, &s.lru
	f.next.prev, f.prev.next = f, f
	s.cached++
}

// unhash takes f out of its parent's map. names is held.
func (f *Dentry) unhash(dead *evictions) {
	if !f.hashed || f.parent == f {
		return
	}
	if delete(f.parent.children, f.name); len(f.parent.children) == 0 {
		f.parent.children = nil
		f.parent.settle(dead)
	}
	f.hashed = false
	f.next.prev, f.prev.next = f.prev, f.next
	f.next, f.prev = nil, nil
	f.super.cached--
	f.settle(dead)
}

// settle lets go of f's node if nothing needs f any more. names is held.
func (f *Dentry) settle(dead *evictions) {
	if f.hashed || f.refs > 0 || len(f.children) > 0 || f.gone {
		return
	}
	f.gone = true
	if f.node != nil && f.node.VFS().uses.Add(-1) == 0 {
		if v, ok := f.node.(Evicter); ok {
			dead.add(v)
		}
	}
}

// shrink keeps the cache within its bound. names is held.
func (s *Super) shrink(dead *evictions) {
	for range maxEvict {
		if s.cached <= maxDentries {
			return
		}
		f := s.lru.prev
		if f.used || f.refs > 0 || len(f.children) > 0 || f.mounted.Load() > 0 {
			f.used = false // a second chance
			f.next.prev, f.prev.next = f.prev, f.next
			f.next, f.prev = s.lru.next, &s.lru
			f.next.prev, f.prev.next = f, f
			continue
		}
		f.unhash(dead)
	}
}

// evictions are nodes that must be told, once no lock is held.
type evictions struct {
	one  Evicter
	more []Evicter
}

func (v *evictions) add(n Evicter) {
	if v.one == nil {
		v.one = n
		return
	}
	v.more = append(v.more, n)
}

func (v *evictions) tell() {
	if v.one != nil {
		v.one.Evict()
	}
	for _, n := range v.more {
		n.Evict()
	}
}

// drop forgets the name f, which was removed or is stale, with everything cached below it.
func (f *Dentry) drop() {
	var dead evictions
	f.super.names.Lock()
	f.dropLocked(&dead)
	f.super.names.Unlock()
	dead.tell()
}

func (f *Dentry) dropLocked(dead *evictions) {
	// Depth first without recursion: how deep a tree is, is the guest's choice.
	for d := f; ; {
		var child *Dentry
		for _, c := range d.children {
			child = c
			break
		}
		if child != nil {
			d = child
			continue
		}
		up := d.parent
		d.unhash(dead)
		if d == f {
			return
		}
		d = up
	}
}

// forget drops all that is cached and unused below d, to let a file system go.
func (s *Super) forgetAll() {
	var dead evictions
	s.names.Lock()
	for d := s.root; ; {
		var child *Dentry
		for _, c := range d.children {
			child = c
			break
		}
		if child != nil {
			d = child
			continue
		}
		if d == s.root {
			break
		}
		up := d.parent
		d.unhash(&dead)
		d = up
	}
	s.root.hashed = false
	s.root.settle(&dead)
	s.names.Unlock()
	dead.tell()
}

// move renames f to name below to, whose former entry (if any) is dropped. The gates are held.
func (f *Dentry) move(to *Dentry, name string) {
	var dead evictions
	s := f.super
	s.names.Lock()
	if old := to.children[name]; old != nil && old != f {
		old.dropLocked(&dead)
	}
	f.refs++ // unhash must not let go of it
	f.unhash(&dead)
	f.parent, f.name = to, name
	f.hash()
	f.refs--
	s.names.Unlock()
	dead.tell()
}

// exchange swaps the names of f and g. The gates are held.
func (f *Dentry) exchange(g *Dentry) {
	s := f.super
	s.names.Lock()
	f.parent.children[f.name], g.parent.children[g.name] = g, f
	f.parent, g.parent = g.parent, f.parent
	f.name, g.name = g.name, f.name
	s.names.Unlock()
}

// Location is a place in the tree of mounts. The zero Location is none; a file without a directory has no Mount.
type Location struct {
	Mount  *Mount
	Dentry *Dentry
}

// Node is what is there.
func (l Location) Node() Node {
	if l.Dentry == nil {
		return nil
	}
	return l.Dentry.node
}

// Ref counts l as kept: open, a working directory, mounted. False: the name was removed and its node already let go; look again.
func (l Location) Ref() bool {
	if l.Dentry == nil {
		return true
	}
	s := l.Dentry.super
	s.names.Lock()
	d := l.Dentry
	if d.gone {
		s.names.Unlock()
		return false
	}
	d.refs++
	s.names.Unlock()
	if l.Mount != nil {
		l.Mount.users.Add(1)
	}
	return true
}

// Unref undoes one Ref.
func (l Location) Unref() {
	if l.Dentry == nil {
		return
	}
	var dead evictions
	s := l.Dentry.super
	s.names.Lock()
	l.Dentry.refs--
	l.Dentry.settle(&dead)
	s.names.Unlock()
	dead.tell()
	if l.Mount != nil {
		l.Mount.unref()
	}
}

// below says whether d is a, or lies below it in the same file system.
func (d *Dentry) below(a *Dentry) bool {
	if d.super != a.super {
		return false
	}
	s := d.super
	s.names.Lock()
	defer s.names.Unlock()
	for range maxDepth {
		if d == a {
			return true
		}
		if d.parent == d {
			return false
		}
		d = d.parent
	}
	return false
}

// Cached is how many names of s are remembered, for tests and statistics.
func (s *Super) Cached() int {
	s.names.Lock()
	defer s.names.Unlock()
	return s.cached
}
