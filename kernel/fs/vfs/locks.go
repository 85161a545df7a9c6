package vfs

import (
	"math"
	"slices"

	"goum/arch/abi"
	"goum/arch/lock"
	"goum/sched"
	"goum/sched/clock"
)

// Record is a file lock: bytes Start to End, both included. End is math.MaxInt64 for "to the end of the file, wherever it will be".
type Record struct {
	Type       int16 // abi.F_RDLCK, F_WRLCK, F_UNLCK
	Start, End int64
	PID        int32 // whose, for F_GETLK; -1 for an open file description lock
}

// fileLock is one that is held. owner is a descriptor table (POSIX) or an *Open (flock, OFD).
type fileLock struct {
	Record
	owner any
}

func (a *Record) overlaps(b *Record) bool { return a.Start <= b.End && b.Start <= a.End }

// fileLocks are the locks of one kind on one node, by start within an owner; guarded by extra.mu.
type fileLocks struct {
	held  []fileLock
	queue sched.Queue
}

// conflict finds a lock of another owner that r must wait for.
func (f *fileLocks) conflict(r *Record, owner any) *fileLock {
	for i := range f.held {
		h := &f.held[i]
		if r.Type == abi.F_UNLCK { // only F_OFD_GETLK asks so: for the owner's own
			if h.owner == owner && h.overlaps(r) {
				return h
			}
			continue
		}
		if h.owner != owner && h.overlaps(r) && (h.Type == abi.F_WRLCK || r.Type == abi.F_WRLCK) {
			return h
		}
	}
	return nil
}

// set replaces owner's locks on r's range by r: it cuts, joins and with F_UNLCK removes. ENOLCK.
func (f *fileLocks) set(r Record, owner any) (changed bool, e abi.Errno) {
	out := make([]fileLock, 0, len(f.held)+2)
	for _, h := range f.held {
		if h.owner != owner || !h.overlaps(&r) {
			// Neighbours of the same type grow together.
			if h.owner == owner && h.Type == r.Type && r.Type != abi.F_UNLCK {
				if h.End != math.MaxInt64 && h.End+1 == r.Start {
					r.Start = h.Start
					continue
				}
				if r.End != math.MaxInt64 && r.End+1 == h.Start {
					r.End = h.End
					continue
				}
			}
			out = append(out, h)
			continue
		}
		if h.Type == r.Type {
			r.Start, r.End = min(r.Start, h.Start), max(r.End, h.End)
			continue
		}
		changed = true
		if h.Start < r.Start {
			left := h
			left.End = r.Start - 1
			out = append(out, left)
		}
		if h.End > r.End {
			right := h
			right.Start = r.End + 1
			out = append(out, right)
		}
	}
	if r.Type != abi.F_UNLCK {
		out = append(out, fileLock{r, owner})
	}
	if len(out) > maxFileLocks {
		return false, abi.ENOLCK
	}
	f.held = out
	return changed, 0
}

// drop removes all locks of owner.
func (f *fileLocks) drop(owner any) bool {
	n := len(f.held)
	f.held = slices.DeleteFunc(f.held, func(h fileLock) bool { return h.owner == owner })
	return len(f.held) != n
}

// Bits of Open.locks.
const (
	hadFlock = 1 << iota
	hadOFD
)

// releaseOpen drops the locks of an open file that is gone.
func (i *Inode) releaseOpen(o *Open) {
	x := i.more()
	x.mu.Lock()
	a, b := x.flocks.drop(o), x.records.drop(o)
	x.mu.Unlock()
	if a {
		x.flocks.queue.Wake(sched.Any)
	}
	if b {
		x.records.queue.Wake(sched.Any)
	}
}

// releasePosix drops owner's POSIX locks: at each close(2) of the file by owner, whichever descriptor.
func (i *Inode) releasePosix(owner any) {
	x := i.extra.Load()
	if x == nil || owner == nil {
		return
	}
	x.mu.Lock()
	gone := x.records.drop(owner)
	x.mu.Unlock()
	if gone {
		x.records.queue.Wake(sched.Any)
	}
}

// Flock is flock(2): op is LOCK_SH, LOCK_EX or LOCK_UN, with LOCK_NB. EBADF, EINVAL, EWOULDBLOCK, ERESTARTSYS. A lock that changes its
// kind is given up first, as in Linux.
func (o *Open) Flock(c *Caller, op int) abi.Errno {
	r := Record{End: math.MaxInt64, PID: c.Tgid}
	switch op &^ abi.LOCK_NB {
	case abi.LOCK_SH:
		r.Type = abi.F_RDLCK
	case abi.LOCK_EX:
		r.Type = abi.F_WRLCK
	case abi.LOCK_UN:
		r.Type = abi.F_UNLCK
	default:
		return abi.EINVAL
	}
	if o.path {
		return abi.EBADF
	}
	if r.Type != abi.F_UNLCK && !o.read && !o.write {
		return abi.EBADF
	}
	x := o.Loc.Node().VFS().more()
	x.mu.Lock()
	had := x.flocks.held
	for k := range had {
		if had[k].owner == o && had[k].Type == r.Type {
			x.mu.Unlock()
			return 0
		}
	}
	gone := x.flocks.drop(o)
	x.mu.Unlock()
	if gone {
		x.flocks.queue.Wake(sched.Any)
	}
	if r.Type == abi.F_UNLCK {
		return 0
	}
	o.locks.Or(hadFlock)
	try := func() (bool, abi.Errno) {
		x.mu.Lock()
		defer x.mu.Unlock()
		if x.flocks.conflict(&r, o) != nil {
			return false, 0
		}
		_, e := x.flocks.set(r, o)
		return true, e
	}
	return waitLock(c, &x.flocks, op&abi.LOCK_NB == 0, abi.EWOULDBLOCK, try)
}

// waitLock calls try until it has an answer.
func waitLock(c *Caller, f *fileLocks, wait bool, busy abi.Errno, try func() (bool, abi.Errno)) abi.Errno {
	ok, e := try()
	if ok || e != 0 {
		return e
	}
	if !wait {
		return busy
	}
	out := f.queue.Wait(c.Thread, sched.Any, clock.Never, func() bool {
		ok, e = try()
		return ok || e != 0
	})
	if out != sched.Woken && !ok && e == 0 {
		return abi.ERESTARTSYS
	}
	return e
}

// record turns a struct flock into a Record: flock_to_posix_lock. EINVAL, EOVERFLOW.
func (o *Open) record(c *Caller, l *abi.FlockT) (Record, abi.Errno) {
	var start int64
	switch l.Whence {
	case abi.SEEK_SET:
	case abi.SEEK_CUR:
		start = o.pos.Load()
	case abi.SEEK_END:
		a, e := o.Loc.Node().Attr(c)
		if e != 0 {
			return Record{}, e
		}
		start = a.Size
	default:
		return Record{}, abi.EINVAL
	}
	if l.Start > math.MaxInt64-start {
		return Record{}, abi.EOVERFLOW
	}
	start += l.Start
	if start < 0 {
		return Record{}, abi.EINVAL
	}
	r := Record{Type: l.Type, Start: start, PID: c.Tgid}
	switch {
	case l.Len > 0:
		if l.Len-1 > math.MaxInt64-start {
			return Record{}, abi.EOVERFLOW
		}
		r.End = start + l.Len - 1
	case l.Len < 0:
		if start+l.Len < 0 {
			return Record{}, abi.EINVAL
		}
		r.End = start - 1
		r.Start = start + l.Len
	default:
		r.End = math.MaxInt64
	}
	switch l.Type {
	case abi.F_RDLCK, abi.F_WRLCK, abi.F_UNLCK:
	default:
		return Record{}, abi.EINVAL
	}
	return r, 0
}

// Lock is fcntl(2) with F_SETLK, F_SETLKW, F_OFD_SETLK and F_OFD_SETLKW: EBADF, EINVAL, EOVERFLOW, EAGAIN, EDEADLK, ENOLCK,
// ERESTARTSYS. owner is whose POSIX locks they are: the descriptor table.
func (o *Open) Lock(c *Caller, cmd int, l *abi.FlockT, owner any) abi.Errno {
	if o.path {
		return abi.EBADF
	}
	wait := cmd == abi.F_SETLKW || cmd == abi.F_OFD_SETLKW
	r, e := o.record(c, l)
	if e != 0 {
		return e
	}
	if r.Type == abi.F_RDLCK && !o.read || r.Type == abi.F_WRLCK && !o.write {
		return abi.EBADF
	}
	if cmd == abi.F_OFD_SETLK || cmd == abi.F_OFD_SETLKW {
		if l.PID != 0 {
			return abi.EINVAL
		}
		owner, r.PID = o, -1
		o.locks.Or(hadOFD)
	}
	x := o.Loc.Node().VFS().more()
	try := func() (bool, abi.Errno) {
		x.mu.Lock()
		if r.Type != abi.F_UNLCK {
			if h := x.records.conflict(&r, owner); h != nil {
				blocker := h.owner
				x.mu.Unlock()
				if wait && cmd == abi.F_SETLKW && !waits.begin(owner, blocker) {
					return false, abi.EDEADLK
				}
				return false, 0
			}
		}
		changed, e := x.records.set(r, owner)
		x.mu.Unlock()
		if changed {
			x.records.queue.Wake(sched.Any)
		}
		return true, e
	}
	e = waitLock(c, &x.records, wait, abi.EAGAIN, try)
	if wait && cmd == abi.F_SETLKW {
		waits.end(owner)
	}
	return e
}

// GetLock is F_GETLK and F_OFD_GETLK: l becomes the first lock that is in the way, or of type F_UNLCK.
func (o *Open) GetLock(c *Caller, cmd int, l *abi.FlockT, owner any) abi.Errno {
	if o.path {
		return abi.EBADF
	}
	if l.Type != abi.F_RDLCK && l.Type != abi.F_WRLCK && !(cmd == abi.F_OFD_GETLK && l.Type == abi.F_UNLCK) {
		return abi.EINVAL
	}
	r, e := o.record(c, l)
	if e != 0 {
		return e
	}
	if cmd == abi.F_OFD_GETLK {
		if l.PID != 0 {
			return abi.EINVAL
		}
		owner = o
	}
	if x := o.Loc.Node().VFS().extra.Load(); x != nil {
		x.mu.Lock()
		defer x.mu.Unlock()
		if h := x.records.conflict(&r, owner); h != nil {
			l.Type, l.Whence, l.Start, l.PID = h.Type, abi.SEEK_SET, h.Start, h.PID
			l.Len = 0
			if h.End != math.MaxInt64 {
				l.Len = h.End - h.Start + 1
			}
			return 0
		}
	}
	l.Type = abi.F_UNLCK
	return 0
}

// waiting knows which owner of POSIX locks waits for which, to find circles. It holds waits of all files: a circle may go through
// several. Owners are pointers that no two machines share.
type waiting struct {
	mu  lock.Mutex[lock.Trace]
	who map[any]any
}

var waits = waiting{who: make(map[any]any)}

// begin notes that owner waits for blocker; false: blocker waits, over others, for owner.
func (w *waiting) begin(owner, blocker any) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	b, ok := blocker, true
	for range maxDeadlock {
		if b == owner {
			return false
		}
		if b, ok = w.who[b]; !ok {
			break
		}
	}
	w.who[owner] = blocker
	return true
}

func (w *waiting) end(owner any) {
	w.mu.Lock()
	delete(w.who, owner)
	w.mu.Unlock()
}

// Locks lists the locks on a node, for /proc/locks: kind is "FLOCK", "POSIX" or "OFDLCK".
func (i *Inode) Locks(visit func(kind string, r Record)) {
	x := i.extra.Load()
	if x == nil {
		return
	}
	x.mu.Lock()
	fl, re := slices.Clone(x.flocks.held), slices.Clone(x.records.held)
	x.mu.Unlock()
	for _, h := range fl {
		visit("FLOCK", h.Record)
	}
	for _, h := range re {
		if _, ofd := h.owner.(*Open); ofd {
			visit("OFDLCK", h.Record)
		} else {
			visit("POSIX", h.Record)
		}
	}
}
