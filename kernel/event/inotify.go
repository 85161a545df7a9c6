package event

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"

	"goum/arch/abi"
	"goum/arch/lock"
	"goum/kernel/fs/vfs"
	"goum/mm"
	"goum/sched"
	"goum/sched/clock"
)

// Inotifies counts the inotify instances of a machine.
type Inotifies struct {
	count atomic.Int32
}

// inotify is an inotify instance: inotify(7).
type inotify struct {
	all *Inotifies

	queue sched.Queue
	ctl   sched.Gate // watches are added and removed

	// Guarded by mu, which the callbacks take inside the lock of a node's watchers.
	mu       lock.Mutex[lock.Pipe]
	events   []inEvent
	bytes    int // of events, as read(2) gives them
	overflow bool
	watches  map[int32]*watch
	byNode   map[vfs.Node]*watch // the same ones
	next     int32
	dead     []*watch // to be taken off their nodes, outside the callback
}

// inEvent is one event that waits to be read.
type inEvent struct {
	wd     int32
	mask   uint32
	cookie uint32
	name   string
}

// size is what the event takes in read(2)'s buffer.
func (e *inEvent) size() int {
	if e.name == "" {
		return eventHeader
	}
	return eventHeader + (len(e.name)+1+eventHeader-1)/eventHeader*eventHeader
}

// watch is a node that an inotify watches.
type watch struct {
	in   *inotify
	wd   int32
	at   vfs.Location // without its mount: a watch does not keep that busy; counted
	w    vfs.Watcher  // Mask guarded by the node's lock
	mask uint32       // as it was asked for, guarded by in.mu
	gone bool         // no more events; guarded by in.mu
}

// inBits are the bits of a mask that are events, or ask for how.
const (
	inKept     = abi.IN_ALL_EVENTS | abi.IN_ONESHOT | abi.IN_EXCL_UNLINK
	inBits     = inKept | abi.IN_DONT_FOLLOW | abi.IN_ONLYDIR | abi.IN_MASK_ADD | abi.IN_MASK_CREATE | abi.IN_ISDIR | abi.IN_UNMOUNT | abi.IN_Q_OVERFLOW | abi.IN_IGNORED
	inReported = abi.IN_ALL_EVENTS | abi.IN_ISDIR | abi.IN_UNMOUNT | abi.IN_IGNORED | abi.IN_Q_OVERFLOW
)

// NewInotify makes an inotify instance: EINVAL (flags), EMFILE.
func (s *Inotifies) NewInotify(flags int32) (*vfs.Open, abi.Errno) {
	if flags&^(abi.IN_CLOEXEC|abi.IN_NONBLOCK) != 0 {
		return nil, abi.EINVAL
	}
	if s.count.Add(1) > maxInstances {
		s.count.Add(-1)
		return nil, abi.EMFILE
	}
	in := &inotify{all: s, watches: make(map[int32]*watch), byNode: make(map[vfs.Node]*watch), next: 1}
	return vfs.NewAnon("anon_inode:inotify", 0o600, in, uint32(abi.O_RDONLY|flags&abi.IN_NONBLOCK)), 0
}

// event is the callback of a node: its lock is held.
func (w *watch) event(mask uint32, name string, cookie uint32) {
	in := w.in
	in.mu.Lock()
	defer in.mu.Unlock()
	if w.gone {
		return
	}
	in.add(inEvent{w.wd, mask & inReported, cookie, name})
	if mask&(abi.IN_DELETE_SELF|abi.IN_UNMOUNT) != 0 || w.mask&abi.IN_ONESHOT != 0 {
		w.w.Mask = 0
		in.retire(w)
	}
}

// retire ends a watch with IN_IGNORED. mu is held.
func (in *inotify) retire(w *watch) {
	w.gone = true
	in.forget(w)
	in.dead = append(in.dead, w)
	in.add(inEvent{wd: w.wd, mask: abi.IN_IGNORED})
}

// forget takes w out of the maps. mu is held.
func (in *inotify) forget(w *watch) {
	delete(in.watches, w.wd)
	if n := w.at.Node(); in.byNode[n] == w {
		delete(in.byNode, n)
	}
}

// add queues an event, unless it is the same as the last. mu is held.
func (in *inotify) add(e inEvent) {
	if n := len(in.events); n > 0 && in.events[n-1] == e {
		return
	}
	if len(in.events) >= maxQueued {
		if in.overflow {
			return
		}
		in.overflow = true
		e = inEvent{wd: -1, mask: abi.IN_Q_OVERFLOW}
	}
	e.name = strings.Clone(e.name)
	in.events = append(in.events, e)
	in.bytes += e.size()
	in.queue.Wake(pollIn)
}

// bury takes dead watches off their nodes. No lock is held.
func (in *inotify) bury() {
	in.mu.Lock()
	dead := in.dead
	in.dead = nil
	in.mu.Unlock()
	for _, w := range dead {
		w.at.Node().VFS().Unwatch(&w.w)
		w.at.Unref()
	}
}

func inotifyOf(o *vfs.Open) (*inotify, abi.Errno) {
	if in, ok := o.File.(*inotify); ok {
		return in, 0
	}
	return nil, abi.EINVAL
}

// InotifyAdd is inotify_add_watch(2), which returns the watch descriptor: EINVAL (no event in mask, IN_MASK_ADD with IN_MASK_CREATE, no
// inotify), what the walk says, EACCES, EEXIST (IN_MASK_CREATE), ENOSPC.
func InotifyAdd(c *vfs.Caller, o *vfs.Open, path string, mask uint32) (int32, abi.Errno) {
	if mask&inBits == 0 || mask&abi.IN_MASK_ADD != 0 && mask&abi.IN_MASK_CREATE != 0 {
		return 0, abi.EINVAL
	}
	in, e := inotifyOf(o)
	if e != 0 {
		return 0, e
	}
	var how vfs.How
	if mask&abi.IN_DONT_FOLLOW == 0 {
		how |= vfs.Follow
	}
	if mask&abi.IN_ONLYDIR != 0 {
		how |= vfs.NeedDir
	}
	l, e := c.Walk(vfs.Location{}, path, how)
	if e != 0 {
		return 0, e
	}
	if e := c.Permit(l, vfs.MayRead); e != 0 {
		return 0, e
	}
	in.bury()
	if !in.ctl.TryLock() {
		in.ctl.Lock(c.Thread)
	}
	defer in.ctl.Unlock()
	node := l.Node()
	in.mu.Lock()
	w := in.byNode[node]
	if w != nil {
		if mask&abi.IN_MASK_CREATE != 0 {
			in.mu.Unlock()
			return 0, abi.EEXIST
		}
		kept := mask & inKept
		if mask&abi.IN_MASK_ADD != 0 {
			kept |= w.mask
		}
		w.mask = kept
		in.mu.Unlock()
		node.VFS().SetWatchMask(&w.w, kept)
		return w.wd, 0
	}
	if len(in.watches) >= maxWatches || in.next < 0 {
		in.mu.Unlock()
		return 0, abi.ENOSPC
	}
	w = &watch{in: in, wd: in.next, at: vfs.Location{Dentry: l.Dentry}, mask: mask & inKept}
	w.w.Mask, w.w.Event = w.mask, w.event
	in.next++
	in.mu.Unlock()
	if !w.at.Ref() {
		return 0, abi.ENOENT
	}
	in.mu.Lock()
	in.watches[w.wd], in.byNode[node] = w, w
	in.mu.Unlock()
	if e := node.VFS().Watch(&w.w); e != 0 {
		in.mu.Lock()
		in.forget(w)
		in.mu.Unlock()
		w.at.Unref()
		return 0, e
	}
	return w.wd, 0
}

// InotifyRemove is inotify_rm_watch(2): EINVAL.
func InotifyRemove(c *vfs.Caller, o *vfs.Open, wd int32) abi.Errno {
	in, e := inotifyOf(o)
	if e != 0 {
		return e
	}
	if !in.ctl.TryLock() {
		in.ctl.Lock(c.Thread)
	}
	in.mu.Lock()
	w := in.watches[wd]
	if w != nil {
		in.retire(w)
	}
	in.mu.Unlock()
	in.ctl.Unlock()
	in.bury()
	if w == nil {
		return abi.EINVAL
	}
	return 0
}

// Read is as many events as fit: EINVAL (not even one), EAGAIN.
func (in *inotify) Read(c *vfs.Caller, dst *mm.Buf, at vfs.At) (int, abi.Errno) {
	in.bury()
	total := 0
	var b []byte
	for {
		in.mu.Lock()
		if len(in.events) == 0 {
			in.mu.Unlock()
			if total > 0 {
				return total, 0
			}
			if at.NonBlock() {
				return 0, abi.EAGAIN
			}
			if in.queue.Wait(c.Thread, pollIn, clock.Never, in.isReady) != sched.Woken {
				return 0, abi.ERESTARTSYS
			}
			continue
		}
		e := in.events[0]
		if e.size() > dst.Len() {
			in.mu.Unlock()
			if total > 0 {
				return total, 0
			}
			return 0, abi.EINVAL
		}
		in.events[0] = inEvent{}
		in.events = in.events[1:]
		if len(in.events) == 0 {
			in.events = nil
		}
		in.bytes -= e.size()
		if e.mask&abi.IN_Q_OVERFLOW != 0 {
			in.overflow = false
		}
		in.mu.Unlock()
		b = append(b[:0], make([]byte, e.size())...)
		binary.LittleEndian.PutUint32(b[0:], uint32(e.wd))
		binary.LittleEndian.PutUint32(b[4:], e.mask)
		binary.LittleEndian.PutUint32(b[8:], e.cookie)
		binary.LittleEndian.PutUint32(b[12:], uint32(len(b)-eventHeader))
		copy(b[eventHeader:], e.name)
		n, err := dst.Write(b)
		if err != 0 {
			if total > 0 {
				return total, 0
			}
			return 0, err
		}
		total += n
	}
}

func (in *inotify) isReady() bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	return len(in.events) > 0
}

// Write refuses: EINVAL. The file is not open for writing.
func (in *inotify) Write(*vfs.Caller, *mm.Buf, vfs.At) (int, abi.Errno) { return 0, abi.EINVAL }

// Poll says whether there are events.
func (in *inotify) Poll(*vfs.Caller) sched.Mask {
	if in.isReady() {
		return pollIn
	}
	return 0
}

// Queue is where readers wait.
func (in *inotify) Queue() *sched.Queue { return &in.queue }

// Ioctl is FIONREAD: ENOTTY.
func (in *inotify) Ioctl(c *vfs.Caller, cmd uint32, arg uint64) (uint64, abi.Errno) {
	if cmd != abi.TIOCINQ {
		return 0, abi.ENOTTY
	}
	in.mu.Lock()
	n := in.bytes
	in.mu.Unlock()
	return 0, c.User.CopyOut(arg, binary.LittleEndian.AppendUint32(nil, uint32(n)))
}

// Release ends all watches.
func (in *inotify) Release() {
	in.mu.Lock()
	for _, w := range in.watches {
		w.gone = true
		in.dead = append(in.dead, w)
	}
	clear(in.watches)
	clear(in.byNode)
	in.mu.Unlock()
	in.bury()
	in.all.count.Add(-1)
}

// Describe are the lines of /proc/PID/fdinfo/N.
func (in *inotify) Describe(c *vfs.Caller) string {
	in.mu.Lock()
	all := make([]*watch, 0, len(in.watches))
	for _, w := range in.watches {
		all = append(all, w)
	}
	in.mu.Unlock()
	slices.SortFunc(all, func(a, b *watch) int { return int(a.wd - b.wd) })
	var b strings.Builder
	for _, w := range all {
		a, _ := w.at.Node().Attr(c)
		fmt.Fprintf(&b, "inotify wd:%x ino:%x sdev:%x mask:%x ignored_mask:0\n", w.wd, a.Ino, w.at.Dentry.Super().Dev, w.mask)
	}
	return b.String()
}
