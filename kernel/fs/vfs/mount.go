package vfs

import (
	"slices"
	"sync/atomic"

	"goum/arch/abi"
	"goum/sched"
)

// Namespace is a tree of mounts: CLONE_NEWNS makes another.
type Namespace struct {
	root *Mount
	ID   uint64
}

// Mount is a file system, or a part of one, at a place in a tree. A nil Mount (a file without a directory) allows everything.
type Mount struct {
	// immutable
	sys    *System
	super  *Super
	root   *Dentry // counted
	ID     int
	UID    uint64 // never used twice: STATX_MNT_ID_UNIQUE
	Source string

	flags   atomic.Uint32 // MS_RDONLY, NOSUID, NODEV, NOEXEC, NOATIME, NODIRATIME, RELATIME, NOSYMFOLLOW
	users   atomic.Int64  // kept Locations, and 1 while it is in a tree
	writers atomic.Int64  // files open for writing, and changes under way

	// guarded by sys.mu
	ns         *Namespace // nil: detached
	parent     *Mount
	point      *Dentry // in parent; counted
	children   []*Mount
	peer       int // peer group: MS_SHARED
	master     int // MS_SLAVE: the group it follows
	unbindable bool
	expiring   bool
}

// mountFlags are the MS_ bits that are a mount's own; the rest is the file system's.
const mountFlags = abi.MS_RDONLY | abi.MS_NOSUID | abi.MS_NODEV | abi.MS_NOEXEC | abi.MS_NOATIME | abi.MS_NODIRATIME |
	abi.MS_RELATIME | abi.MS_NOSYMFOLLOW

const atimeFlags = abi.MS_NOATIME | abi.MS_NODIRATIME | abi.MS_RELATIME

// Super is the file system that is mounted.
func (m *Mount) Super() *Super { return m.super }

// System is whose mount it is.
func (m *Mount) System() *System { return m.sys }

// Root is what the mount shows at its top.
func (m *Mount) Root() Location { return Location{m, m.root} }

// has says whether a flag is set on the mount.
func (m *Mount) has(flag uint32) bool { return m != nil && m.flags.Load()&flag != 0 }

// Flags are the mount's MS_ bits.
func (m *Mount) Flags() uint32 {
	if m == nil {
		return 0
	}
	return m.flags.Load()
}

// ReadOnly says whether nothing can be written through m.
func (m *Mount) ReadOnly() bool { return m != nil && (m.has(abi.MS_RDONLY) || m.super.ReadOnly()) }

// Noexec says whether no program may be run or mapped executable from here.
func (m *Mount) Noexec() bool { return m.has(abi.MS_NOEXEC) }

// Nosuid says whether set-user-ID bits and file capabilities count for nothing here.
func (m *Mount) Nosuid() bool { return m.has(abi.MS_NOSUID) }

// beginWrite is mnt_want_write: EROFS.
func (m *Mount) beginWrite() abi.Errno {
	if m == nil {
		return 0
	}
	m.writers.Add(1)
	if m.ReadOnly() {
		m.writers.Add(-1)
		return abi.EROFS
	}
	return 0
}

func (m *Mount) endWrite() {
	if m != nil {
		m.writers.Add(-1)
	}
}

func (m *Mount) unref() {
	if m.users.Add(-1) != 0 {
		return
	}
	m.root.refOnly(-1)
	if m.super.mounts.Add(-1) == 0 {
		m.super.forgetAll()
		if u, ok := m.super.FS.(Unmounter); ok {
			u.Unmounted()
		}
	}
}

// refOnly counts a Dentry without its mount.
func (d *Dentry) refOnly(n int) bool {
	var dead evictions
	d.super.names.Lock()
	ok := n < 0 || !d.gone
	if ok {
		d.refs += n
		d.settle(&dead)
	}
	d.super.names.Unlock()
	dead.tell()
	return ok
}

// newMount makes a mount that is in no tree. root is of super. The result has one user, which Attach keeps.
func (s *System) newMount(super *Super, root *Dentry, source string, flags uint32) *Mount {
	m := &Mount{sys: s, super: super, root: root, Source: source}
	m.flags.Store(flags & mountFlags)
	m.users.Store(1)
	super.mounts.Add(1)
	root.refOnly(1)
	s.mu.Lock()
	s.nextID++
	s.nextUID++
	m.ID, m.UID = s.nextID, s.nextUID
	s.mu.Unlock()
	return m
}

// MountRoot makes super the root of a new namespace: what the first task stands in.
func (s *System) MountRoot(super *Super, source string, flags uint32) Location {
	m := s.newMount(super, super.root, source, flags|abi.MS_RELATIME)
	s.mu.Lock()
	s.nextUID++
	m.ns = &Namespace{root: m, ID: s.nextUID}
	s.count++
	s.bump()
	s.mu.Unlock()
	return m.Root()
}

// MountInternal mounts super nowhere: for files that are made by other means than a path (memfd).
func (s *System) MountInternal(super *Super, source string) Location {
	return s.newMount(super, super.root, source, abi.MS_NOSUID|abi.MS_NODEV).Root()
}

// bump says that the mounts changed. mu is held.
func (s *System) bump() {
	s.changes++
	s.changed.Wake(sched.Mask(abi.POLLERR | abi.POLLPRI))
}

// Changes counts changes of mounts; Changed is woken at each: poll(2) of /proc/mounts.
func (s *System) Changes() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changes
}

// Changed is the queue that Changes is about.
func (s *System) Changed() *sched.Queue { return &s.changed }

// at is the mount on l, or nil.
func (s *System) at(l Location) *Mount {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.table[mountKey(l.key())]
}

func (l Location) key() mountKey { return mountKey{l.Mount, l.Dentry} }

// down goes to the top of what is mounted on l.
func (l Location) down() Location {
	for l.Mount != nil && l.Dentry.mounted.Load() > 0 {
		m := l.Mount.sys.at(l)
		if m == nil {
			return l
		}
		l = m.Root()
	}
	return l
}

// over is where l, a mount's root, is mounted; false for the top of a tree.
func (l Location) over() (Location, bool) {
	m := l.Mount
	if m == nil {
		return l, false
	}
	m.sys.mu.Lock()
	defer m.sys.mu.Unlock()
	if m.parent == nil {
		return l, false
	}
	return Location{m.parent, m.point}, true
}

// attach puts m on l. mu is held, and point was counted with refOnly.
func (s *System) attach(m *Mount, l Location) {
	m.parent, m.point, m.ns = l.Mount, l.Dentry, l.Mount.ns
	l.Mount.children = append(l.Mount.children, m)
	s.table[l.key()] = m
	l.Dentry.mounted.Add(1)
}

// detach takes m off its parent, and answers the point, whose count the caller drops. mu is held.
func (s *System) detach(m *Mount) *Dentry {
	p, d := m.parent, m.point
	p.children = slices.DeleteFunc(p.children, func(c *Mount) bool { return c == m })
	delete(s.table, mountKey{p, d})
	d.mounted.Add(-1)
	m.parent, m.point = nil, nil
	return d
}

// tree lists m and all below it, parents first. mu is held.
func (m *Mount) tree() []*Mount {
	all := []*Mount{m}
	for i := 0; i < len(all); i++ {
		all = append(all, all[i].children...)
	}
	return all
}

// within says whether l lies below top (in mount and name), through any number of mounts. mu is held.
func (l Location) within(top Location) bool {
	for l.Mount != top.Mount {
		if l.Mount.parent == nil {
			return false
		}
		l = Location{l.Mount.parent, l.Mount.point}
	}
	return l.Dentry.below(top.Dentry)
}

// MountAt is mount(2) for a path (a null pointer for the type, where a new file system is asked for, is the caller's EINVAL): see path_mount in Linux's fs/namespace.c for the order of errors. data holds the options that
// the file system itself knows.
func (c *Caller) MountAt(source, target, typ string, flags uint32, data string) abi.Errno {
	l, e := c.Walk(Location{}, target, Follow)
	if e != 0 {
		return e
	}
	if flags&abi.MS_MGC_MSK == abi.MS_MGC_VAL {
		flags &^= abi.MS_MGC_MSK
	}
	if flags&abi.MS_NOUSER != 0 {
		return abi.EINVAL
	}
	if !c.Cred.Has(abi.CAP_SYS_ADMIN) {
		return abi.EPERM
	}
	own := flags & (mountFlags &^ abi.MS_RELATIME)
	if flags&abi.MS_NOATIME == 0 {
		own |= abi.MS_RELATIME
	}
	if flags&abi.MS_STRICTATIME != 0 {
		own &^= abi.MS_RELATIME | abi.MS_NOATIME
	}
	if flags&abi.MS_REMOUNT != 0 && flags&(abi.MS_NOATIME|abi.MS_NODIRATIME|abi.MS_RELATIME|abi.MS_STRICTATIME) == 0 && l.Mount != nil {
		own = own&^atimeFlags | l.Mount.flags.Load()&atimeFlags
	}
	const propagation = abi.MS_SHARED | abi.MS_PRIVATE | abi.MS_SLAVE | abi.MS_UNBINDABLE
	switch {
	case flags&abi.MS_REMOUNT != 0:
		return c.remount(l, flags, own, data)
	case flags&abi.MS_BIND != 0:
		return c.bind(source, l, flags&abi.MS_REC != 0)
	case flags&propagation != 0:
		return c.propagate(l, flags, propagation)
	case flags&abi.MS_MOVE != 0:
		return c.moveMount(source, l)
	}
	return c.newMountAt(source, l, typ, flags, own, data)
}

func (c *Caller) newMountAt(source string, l Location, typ string, flags, own uint32, data string) abi.Errno {
	if l.Mount == nil {
		return abi.EINVAL
	}
	s := l.Mount.sys
	t, ok := s.typ(typ)
	if !ok {
		return abi.ENODEV
	}
	if source == "" {
		source = "none"
	}
	super, e := t.Mount(c, source, flags, data)
	if e != 0 {
		return e
	}
	if flags&abi.MS_RDONLY != 0 {
		super.SetReadOnly(true)
	}
	super.flags.Or(flags & (abi.MS_SYNCHRONOUS | abi.MS_DIRSYNC | abi.MS_LAZYTIME))
	m := s.newMount(super, super.root, source, own)
	if e := s.graft(m, l); e != 0 {
		m.unref()
		return e
	}
	return 0
}

// graft puts the tree of m on l: ENOENT (l is gone), EBUSY (mounted there already), ENOTDIR, ENOSPC.
func (s *System) graft(m *Mount, l Location) abi.Errno {
	for {
		l = l.down()
		if l.Node().VFS().Dead() || !l.Dentry.refOnly(1) {
			return abi.ENOENT
		}
		s.mu.Lock()
		if s.table[l.key()] == nil {
			break
		}
		s.mu.Unlock() // somebody was faster: ours goes on top
		l.Dentry.refOnly(-1)
	}
	e := func() abi.Errno {
		if l.Mount.ns == nil {
			return abi.EINVAL
		}
		if l.Mount.super == m.super && l.Dentry == l.Mount.root && l.Mount.root == m.root {
			return abi.EBUSY
		}
		if isDir(l.Node()) != isDir(m.root.node) {
			return abi.ENOTDIR
		}
		t := m.tree()
		if s.count+len(t) > maxMounts {
			return abi.ENOSPC
		}
		s.attach(m, l)
		for _, x := range t {
			x.ns = l.Mount.ns
			if l.Mount.peer != 0 && x.peer == 0 {
				s.peers++
				x.peer = s.peers // a mount below a shared one is shared itself
			}
		}
		s.count += len(t)
		s.bump()
		return 0
	}()
	s.mu.Unlock()
	if e != 0 {
		l.Dentry.refOnly(-1)
	}
	return e
}

func isDir(n Node) bool {
	_, ok := n.(Dir)
	return ok
}

// remount changes flags: of the mount alone with MS_BIND, else of the whole file system too.
func (c *Caller) remount(l Location, flags, own uint32, data string) abi.Errno {
	m := l.Mount
	if m == nil || l.Dentry != m.root {
		return abi.EINVAL
	}
	s := m.sys
	if flags&abi.MS_BIND == 0 {
		ro := flags&abi.MS_RDONLY != 0
		if ro && !m.super.ReadOnly() {
			m.super.SetReadOnly(true)
			if s.writing(m.super) {
				m.super.SetReadOnly(false)
				return abi.EBUSY
			}
		}
		if r, ok := m.super.FS.(Remounter); ok {
			if e := r.Remount(c, flags, data); e != 0 {
				return e
			}
		}
		m.super.SetReadOnly(ro)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	old := m.flags.Load()
	m.flags.Store(own)
	if own&^old&abi.MS_RDONLY != 0 && m.writers.Load() > 0 && flags&abi.MS_BIND != 0 {
		m.flags.Store(old)
		return abi.EBUSY
	}
	s.bump()
	return 0
}

// writing says whether anything in super is open for writing.
func (s *System) writing(super *Super) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range s.table {
		if m.super == super && m.writers.Load() > 0 {
			return true
		}
	}
	for d := range s.dirs {
		if r := d.Root().Mount; r != nil && r.super == super && r.writers.Load() > 0 {
			return true
		}
	}
	return false
}

func (c *Caller) bind(source string, l Location, rec bool) abi.Errno {
	if source == "" {
		return abi.EINVAL
	}
	from, e := c.Walk(Location{}, source, Follow)
	if e != 0 {
		return e
	}
	if from.Mount == nil {
		return abi.EINVAL
	}
	s := l.Mount.sys
	s.mu.Lock()
	bad := from.Mount.unbindable || from.Mount.ns == nil
	s.mu.Unlock()
	if bad {
		return abi.EINVAL
	}
	m, e := s.copyTree(from, rec)
	if e != 0 {
		return e
	}
	if e := s.graft(m, l); e != 0 {
		s.dissolve(m)
		return e
	}
	return 0
}

// copyTree copies the mount at from, showing it from there on, with rec with all that is mounted below it.
func (s *System) copyTree(from Location, rec bool) (*Mount, abi.Errno) {
	clone := func(m *Mount, root *Dentry) *Mount {
		n := s.newMount(m.super, root, m.Source, m.flags.Load())
		n.peer, n.master = m.peer, m.master
		return n
	}
	top := clone(from.Mount, from.Dentry)
	if !rec {
		return top, 0
	}
	s.mu.Lock()
	all := from.Mount.tree()
	s.mu.Unlock()
	copies := map[*Mount]*Mount{from.Mount: top}
	for _, m := range all[1:] {
		s.mu.Lock()
		parent, point := m.parent, m.point
		ok := parent != nil && !m.unbindable && copies[parent] != nil && (parent != from.Mount || point.below(from.Dentry))
		s.mu.Unlock()
		if !ok || !point.refOnly(1) {
			continue
		}
		if len(copies) > maxMounts {
			s.dissolve(top)
			return nil, abi.ENOSPC
		}
		n := clone(m, m.root)
		s.mu.Lock()
		s.attach(n, Location{copies[parent], point})
		s.mu.Unlock()
		copies[m] = n
	}
	return top, 0
}

// dissolve takes a tree apart that is attached to nothing.
func (s *System) dissolve(top *Mount) {
	s.mu.Lock()
	all := top.tree()
	var points []*Dentry
	for _, m := range all {
		m.ns = nil
		if m.parent != nil {
			points = append(points, s.detach(m))
		}
	}
	s.mu.Unlock()
	for _, d := range points {
		d.refOnly(-1)
	}
	for _, m := range all {
		m.unref()
	}
}

// propagate is mount(2) with MS_SHARED and its kind. The types are recorded and shown; events do not travel.
func (c *Caller) propagate(l Location, flags, mask uint32) abi.Errno {
	typ := flags & mask
	if flags&^(mask|abi.MS_REC|abi.MS_SILENT) != 0 || typ&(typ-1) != 0 {
		return abi.EINVAL
	}
	m := l.Mount
	if m == nil || l.Dentry != m.root {
		return abi.EINVAL
	}
	s := m.sys
	s.mu.Lock()
	defer s.mu.Unlock()
	if m.ns == nil {
		return abi.EINVAL
	}
	all := []*Mount{m}
	if flags&abi.MS_REC != 0 {
		all = m.tree()
	}
	for _, m := range all {
		switch typ {
		case abi.MS_SHARED:
			if m.peer == 0 {
				s.peers++
				m.peer = s.peers
			}
			m.unbindable = false
		case abi.MS_SLAVE:
			if m.peer != 0 {
				m.master, m.peer = m.peer, 0
			}
		default:
			m.peer, m.master, m.unbindable = 0, 0, typ == abi.MS_UNBINDABLE
		}
	}
	s.bump()
	return 0
}

func (c *Caller) moveMount(source string, l Location) abi.Errno {
	if source == "" {
		return abi.EINVAL
	}
	from, e := c.Walk(Location{}, source, Follow)
	if e != 0 {
		return e
	}
	m := from.Mount
	if m == nil || from.Dentry != m.root {
		return abi.EINVAL
	}
	s := m.sys
	l = l.down()
	if l.Node().VFS().Dead() || !l.Dentry.refOnly(1) {
		return abi.ENOENT
	}
	var old *Dentry
	s.mu.Lock()
	e = func() abi.Errno {
		switch {
		case m.ns == nil || l.Mount.ns == nil || m.parent == nil || m.parent.peer != 0:
			return abi.EINVAL
		case isDir(l.Node()) != isDir(m.root.node):
			return abi.EINVAL
		case s.table[l.key()] != nil:
			return abi.EBUSY
		}
		for p := l.Mount; p != nil; p = p.parent {
			if p == m {
				return abi.ELOOP
			}
		}
		old = s.detach(m)
		s.attach(m, l)
		s.bump()
		return 0
	}()
	s.mu.Unlock()
	if e != 0 {
		old = l.Dentry
	}
	old.refOnly(-1)
	return e
}

// Umount is umount2(2): EINVAL (flags), what the walk says, EPERM, EINVAL (not a mount's root), EBUSY, EAGAIN (MNT_EXPIRE, first time).
func (c *Caller) Umount(path string, flags uint32) abi.Errno {
	if flags&^(abi.MNT_FORCE|abi.MNT_DETACH|abi.MNT_EXPIRE|abi.UMOUNT_NOFOLLOW) != 0 {
		return abi.EINVAL
	}
	var how How
	if flags&abi.UMOUNT_NOFOLLOW == 0 {
		how = Follow
	}
	l, e := c.Walk(Location{}, path, how)
	if e != 0 {
		return e
	}
	if !c.Cred.Has(abi.CAP_SYS_ADMIN) {
		return abi.EPERM
	}
	m := l.Mount
	if m == nil || l.Dentry != m.root {
		return abi.EINVAL
	}
	s := m.sys
	root := c.Root().Mount
	s.mu.Lock()
	attached := m.ns != nil
	s.mu.Unlock()
	if !attached {
		return abi.EINVAL
	}
	if flags&abi.MNT_EXPIRE != 0 {
		if m == root || flags&(abi.MNT_FORCE|abi.MNT_DETACH) != 0 {
			return abi.EINVAL
		}
		s.mu.Lock()
		busy, first := m.users.Load() > 1 || len(m.children) > 0, !m.expiring
		m.expiring = true
		s.mu.Unlock()
		if busy {
			return abi.EBUSY
		}
		if first {
			return abi.EAGAIN
		}
	}
	if m == root && flags&abi.MNT_DETACH == 0 {
		return c.remount(l, abi.MS_RDONLY, m.flags.Load(), "") // what Linux does with the root
	}
	s.mu.Lock()
	if m.parent == nil {
		s.mu.Unlock()
		return abi.EINVAL // the first root cannot go
	}
	if flags&abi.MNT_DETACH == 0 && (len(m.children) > 0 || m.users.Load() > 1) {
		s.mu.Unlock()
		return abi.EBUSY
	}
	all := m.tree()
	points := []*Dentry{s.detach(m)}
	for _, x := range all {
		x.ns = nil
		if x.parent != nil {
			points = append(points, s.detach(x))
		}
	}
	s.count -= len(all)
	s.bump()
	s.mu.Unlock()
	for _, d := range points {
		d.refOnly(-1)
	}
	for _, x := range all {
		if n := x.root.node; n != nil {
			n.VFS().notify(abi.IN_UNMOUNT, "", 0)
		}
		x.unref()
	}
	return 0
}

// PivotRoot is pivot_root(2), in the order of its errors in Linux 6.18.
func (c *Caller) PivotRoot(newRoot, putOld string) abi.Errno {
	if !c.Cred.Has(abi.CAP_SYS_ADMIN) {
		return abi.EPERM
	}
	nl, e := c.Walk(Location{}, newRoot, Follow|NeedDir)
	if e != 0 {
		return e
	}
	ol, e := c.Walk(Location{}, putOld, Follow|NeedDir)
	if e != 0 {
		return e
	}
	root := c.Root()
	if nl.Mount == nil || ol.Mount == nil || root.Mount == nil {
		return abi.EINVAL
	}
	ol = ol.down()
	if !ol.Dentry.refOnly(1) {
		return abi.ENOENT
	}
	s := root.Mount.sys
	drop := []*Dentry{ol.Dentry}
	s.mu.Lock()
	e = func() abi.Errno {
		n, r := nl.Mount, root.Mount
		switch {
		case ol.Mount.peer != 0 || n.parent != nil && n.parent.peer != 0 || r.parent != nil && r.parent.peer != 0:
			return abi.EINVAL
		case n.ns == nil || r.ns == nil:
			return abi.EINVAL
		case nl.Dentry.Unlinked():
			return abi.ENOENT
		case n == r || ol.Mount == r:
			return abi.EBUSY
		case root.Dentry != r.root || r.parent == nil || nl.Dentry != n.root || n.parent == nil:
			return abi.EINVAL
		case !ol.within(nl) || !nl.within(root):
			return abi.EINVAL
		}
		at := Location{r.parent, r.point}
		np := s.detach(n)
		s.detach(r)     // the count of its point goes over to n
		s.attach(r, ol) // ol was counted above
		s.attach(n, at)
		drop = []*Dentry{np}
		s.bump()
		return 0
	}()
	var all []*Dirs
	if e == 0 {
		for d := range s.dirs {
			all = append(all, d)
		}
	}
	s.mu.Unlock()
	for _, d := range drop {
		d.refOnly(-1)
	}
	for _, d := range all {
		d.swap(root, nl)
	}
	return e
}

// Unshare gives d a copy of the tree of mounts that it stands in: CLONE_NEWNS. EPERM, ENOSPC. d must not be shared.
func (c *Caller) Unshare(d *Dirs) abi.Errno {
	if !c.Cred.Has(abi.CAP_SYS_ADMIN) {
		return abi.EPERM
	}
	root, cwd := d.Root(), d.Cwd()
	s := root.Mount.sys
	s.mu.Lock()
	if root.Mount.ns == nil {
		s.mu.Unlock()
		return abi.EINVAL
	}
	top := root.Mount.ns.root
	s.mu.Unlock()
	n, e := s.copyTree(top.Root(), true)
	if e != 0 {
		return e
	}
	s.mu.Lock()
	s.nextUID++
	ns := &Namespace{root: n, ID: s.nextUID}
	olds, news := top.tree(), n.tree()
	for _, m := range news {
		m.ns = ns
	}
	s.count += len(news)
	find := func(l Location) Location {
		// The copies have the same order as the originals, less what could not be copied: look for the same root at the same depth.
		for i, o := range olds {
			if o == l.Mount && i < len(news) && news[i].root == o.root {
				return Location{news[i], l.Dentry}
			}
		}
		return n.Root()
	}
	root, cwd = find(root), find(cwd)
	s.mu.Unlock()
	d.SetRoot(root)
	d.SetCwd(cwd)
	return 0
}
