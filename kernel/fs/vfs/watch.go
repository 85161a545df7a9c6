package vfs

import (
	"slices"
	"sync/atomic"

	"goum/arch/abi"
)

// Watcher is told of changes to one node: inotify and fanotify are made of them. Event is called with the node's lock held: it may
// take locks that rank below lock.Inode, must not sleep and must not call vfs.
type Watcher struct {
	Mask  uint32 // abi.IN_ bits; changed under the node's lock only (SetWatchMask)
	Event func(mask uint32, name string, cookie uint32)
}

// watching counts all watchers of all machines: while there is none, nothing needs to be told to anybody.
var watching atomic.Int32

// Watch adds w to the watchers of i: ENOSPC.
func (i *Inode) Watch(w *Watcher) abi.Errno {
	x := i.more()
	x.mu.Lock()
	defer x.mu.Unlock()
	if len(x.watchers) >= maxWatchers {
		return abi.ENOSPC
	}
	x.watchers = append(x.watchers, w)
	x.watched.Store(int32(len(x.watchers)))
	watching.Add(1)
	return 0
}

// Unwatch removes w. After it returns, Event is not called any more.
func (i *Inode) Unwatch(w *Watcher) {
	x := i.more()
	x.mu.Lock()
	defer x.mu.Unlock()
	if k := slices.Index(x.watchers, w); k >= 0 {
		x.watchers = slices.Delete(x.watchers, k, k+1)
		x.watched.Store(int32(len(x.watchers)))
		watching.Add(-1)
	}
}

// SetWatchMask changes what w wants to hear.
func (i *Inode) SetWatchMask(w *Watcher, mask uint32) {
	x := i.more()
	x.mu.Lock()
	w.Mask = mask
	x.mu.Unlock()
}

// watched says whether anybody might want to hear: nearly always no.
func (i *Inode) watched() bool {
	x := i.extra.Load()
	return x != nil && x.watched.Load() > 0
}

func (i *Inode) notify(mask uint32, name string, cookie uint32) {
	if !i.watched() {
		return
	}
	x := i.extra.Load()
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, w := range x.watchers {
		if w.Mask&mask&abi.IN_ALL_EVENTS != 0 || mask&(abi.IN_UNMOUNT|abi.IN_IGNORED) != 0 {
			w.Event(mask, name, cookie)
		}
	}
}

// Notify tells the watchers of the open file and of its directory.
func (o *Open) Notify(mask uint32) {
	if watching.Load() == 0 || o.Loc.Dentry == nil {
		return
	}
	notifyAt(o.Loc.Dentry, mask)
}

// notifyAt tells d's watchers, and those of its directory with its name: fsnotify_dentry.
func notifyAt(d *Dentry, mask uint32) {
	n := d.node
	if n == nil || watching.Load() == 0 {
		return
	}
	if isDir(n) {
		mask |= abi.IN_ISDIR
	}
	n.VFS().notify(mask, "", 0)
	if d.text != "" {
		return
	}
	p := d.Parent()
	if p != d && p.node.VFS().watched() {
		p.node.VFS().notify(mask, d.Name(), 0)
	}
}

// notifyDir tells dir's watchers of a change to its entries.
func notifyDir(dir *Dentry, mask uint32, name string, cookie uint32, node Node) {
	if isDir(node) {
		mask |= abi.IN_ISDIR
	}
	dir.node.VFS().notify(mask, name, cookie)
}
