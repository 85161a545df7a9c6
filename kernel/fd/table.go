// Package fd is descriptor tables: which number means which open file, for a process or for those who share one (CLONE_FILES).
//
// Invariants:
//   - A number's bit is set from its reservation until it is closed; between reservation and installation it means nothing (EBADF).
//   - Each installed slot holds one reference to its open file.
//   - No bit below next is clear.
//
// Get takes no lock: it reads the slot and takes a reference unless the last is gone, which tells that the slot has changed
// meanwhile. Open files are never reused for others, so that a slot cannot mean something else unnoticed.
//
// Locks: Table.mu (lock.FDs) for all changes. No file is let go, and no File's method called, with it held.
package fd

import (
	"math/bits"
	"sync/atomic"

	"goum/arch/abi"
	"goum/arch/lock"
	"goum/kernel/cred"
	"goum/kernel/fs/vfs"
)

type slots []atomic.Pointer[vfs.Open]

// Table is a descriptor table.
type Table struct {
	refs   atomic.Int32 // tasks that use it
	limits atomic.Pointer[cred.Limits]
	files  atomic.Pointer[slots] // replaced by a longer one as it grows

	// guarded by mu
	mu      lock.Mutex[lock.FDs]
	taken   []uint64
	cloexec []uint64
	next    int // no free number is below it
}

// New makes an empty table with one user.
func New() *Table {
	t := &Table{}
	t.refs.Store(1)
	s := make(slots, 64)
	t.files.Store(&s)
	t.taken, t.cloexec = make([]uint64, 1), make([]uint64, 1)
	return t
}

// SetLimits says whose RLIMIT_NOFILE counts. Calls that are given a caller take note of its limits, too.
func (t *Table) SetLimits(l *cred.Limits) {
	if l != nil && t.limits.Load() != l {
		t.limits.Store(l)
	}
}

// limit is the number of descriptors that a new one must lie below.
func (t *Table) limit() int {
	l := t.limits.Load()
	if l == nil {
		return defaultLimit
	}
	return int(min(l.Cur(abi.RLIMIT_NOFILE), MaxFD))
}

// Get finds the open file of fd, and references it for the caller: EBADF.
func (t *Table) Get(fd int32) (*vfs.Open, abi.Errno) {
	for {
		s := *t.files.Load()
		if uint(fd) >= uint(len(s)) {
			return nil, abi.EBADF
		}
		o := s[fd].Load()
		if o == nil {
			return nil, abi.EBADF
		}
		if o.TryRef() {
			return o, 0
		}
	}
}

// Share adds a user, and answers t.
func (t *Table) Share() *Table {
	t.refs.Add(1)
	return t
}

// Shared says whether t has several users.
func (t *Table) Shared() bool { return t.refs.Load() > 1 }

// Release takes one user away. The last one closes everything.
func (t *Table) Release(c *vfs.Caller) {
	if t.refs.Add(-1) == 0 {
		t.closeWhere(c, 0, MaxFD, func(int) bool { return true })
	}
}

// Clone is a table of its own with the same files: fork(2). What is reserved only stays behind. ENOMEM never happens.
func (t *Table) Clone(c *vfs.Caller) (*Table, abi.Errno) { return t.cloneBelow(c, MaxFD), 0 }

func (t *Table) cloneBelow(c *vfs.Caller, end int) *Table {
	t.mu.Lock()
	defer t.mu.Unlock()
	old := *t.files.Load()
	high := 0
	for i := len(t.taken) - 1; i >= 0; i-- {
		if w := t.taken[i]; w != 0 {
			high = i*64 + bits.Len64(w)
			break
		}
	}
	high = min(high, end)
	n := &Table{}
	n.refs.Store(1)
	n.limits.Store(t.limits.Load())
	words := max((high+63)/64, 1)
	s := make(slots, words*64)
	n.taken, n.cloexec = make([]uint64, words), make([]uint64, words)
	for fd := range high {
		if o := old[fd].Load(); o != nil {
			o.Ref()
			s[fd].Store(o)
			n.taken[fd/64] |= 1 << (fd % 64)
			n.cloexec[fd/64] |= t.cloexec[fd/64] & (1 << (fd % 64))
		}
	}
	n.files.Store(&s)
	return n
}

// Unshare answers t if the caller is its only user; else it gives t up for a copy: unshare(2), execve(2).
func (t *Table) Unshare(c *vfs.Caller) *Table {
	if !t.Shared() {
		return t
	}
	n, _ := t.Clone(c)
	t.Release(c)
	return n
}

// grow makes room for numbers below n. mu is held.
func (t *Table) grow(n int) {
	s := *t.files.Load()
	if n <= len(s) {
		return
	}
	words := min(max((n+63)/64, 2*len(t.taken)), MaxFD/64)
	bigger := make(slots, words*64)
	for i := range s {
		bigger[i].Store(s[i].Load())
	}
	t.files.Store(&bigger)
	t.taken = append(t.taken, make([]uint64, words-len(t.taken))...)
	t.cloexec = append(t.cloexec, make([]uint64, words-len(t.cloexec))...)
}

// take reserves the lowest free number from least on: EMFILE. mu is held.
func (t *Table) take(least int, cloexec bool, limit int) (int, abi.Errno) {
	fd := max(least, t.next)
	for w := fd / 64; ; w++ {
		if w >= len(t.taken) {
			fd = max(fd, w*64)
			break
		}
		free := ^t.taken[w]
		if w == fd/64 {
			free &= ^uint64(0) << (fd % 64)
		}
		if free != 0 {
			fd = w*64 + bits.TrailingZeros64(free)
			break
		}
	}
	if fd >= limit {
		return 0, abi.EMFILE
	}
	t.grow(fd + 1)
	t.taken[fd/64] |= 1 << (fd % 64)
	t.mark(fd, cloexec)
	if least <= t.next {
		t.next = fd + 1
	}
	return fd, 0
}

// mark sets or clears close-on-exec. mu is held.
func (t *Table) mark(fd int, cloexec bool) {
	if cloexec {
		t.cloexec[fd/64] |= 1 << (fd % 64)
	} else {
		t.cloexec[fd/64] &^= 1 << (fd % 64)
	}
}

// drop frees a number. mu is held.
func (t *Table) drop(fd int) {
	t.taken[fd/64] &^= 1 << (fd % 64)
	t.cloexec[fd/64] &^= 1 << (fd % 64)
	t.next = min(t.next, fd)
}

// Reservation is numbers that are taken, but mean nothing yet.
type Reservation struct {
	t    *Table
	nums []int32
	room [2]int32
}

// Reserve takes the n lowest free numbers: EMFILE (RLIMIT_NOFILE). Release gives back what was not installed.
func (t *Table) Reserve(n int, cloexec bool) (*Reservation, abi.Errno) {
	r := &Reservation{t: t}
	r.nums = r.room[:0]
	limit := t.limit()
	t.mu.Lock()
	defer t.mu.Unlock()
	for range n {
		fd, e := t.take(0, cloexec, limit)
		if e != 0 {
			for _, fd := range r.nums {
				t.drop(int(fd))
			}
			return nil, e
		}
		r.nums = append(r.nums, int32(fd))
	}
	return r, 0
}

// Numbers are those not installed yet, in ascending order.
func (r *Reservation) Numbers() []int32 { return r.nums }

// Install makes the first numbers mean files, whose references it takes over.
func (r *Reservation) Install(files ...*vfs.Open) {
	t := r.t
	t.mu.Lock()
	s := *t.files.Load()
	for i, o := range files {
		s[r.nums[i]].Store(o)
	}
	t.mu.Unlock()
	r.nums = r.nums[len(files):]
}

// Release gives back the numbers that were not installed. It may be called more than once.
func (r *Reservation) Release() {
	if len(r.nums) == 0 {
		return
	}
	r.t.mu.Lock()
	for _, fd := range r.nums {
		r.t.drop(int(fd))
	}
	r.t.mu.Unlock()
	r.nums = nil
}

// Add gives file, whose reference it takes over, the lowest free number: EMFILE, and then the reference is dropped.
func (t *Table) Add(c *vfs.Caller, file *vfs.Open, cloexec bool) (int32, abi.Errno) {
	if c != nil {
		t.SetLimits(c.Limits)
	}
	limit := t.limit()
	t.mu.Lock()
	fd, e := t.take(0, cloexec, limit)
	if e == 0 {
		(*t.files.Load())[fd].Store(file)
	}
	t.mu.Unlock()
	if e != 0 {
		file.Unref()
		return 0, e
	}
	return int32(fd), 0
}

// done lets go of a file that was taken out of t: close(2) without the number.
func (t *Table) done(c *vfs.Caller, o *vfs.Open) abi.Errno {
	e := o.Flush(c, t)
	o.Unref()
	return e
}

// Close is close(2): EBADF, and what the file says; the number is free whatever the answer is.
func (t *Table) Close(c *vfs.Caller, fd int32) abi.Errno {
	t.SetLimits(c.Limits)
	t.mu.Lock()
	s := *t.files.Load()
	if uint(fd) >= uint(len(s)) {
		t.mu.Unlock()
		return abi.EBADF
	}
	o := s[fd].Load()
	if o == nil {
		t.mu.Unlock()
		return abi.EBADF
	}
	s[fd].Store(nil)
	t.drop(int(fd))
	t.mu.Unlock()
	return t.done(c, o)
}

// closeWhere closes the descriptors from first to last that pick says; it holds mu for one at a time, so that a long range keeps nobody
// waiting.
func (t *Table) closeWhere(c *vfs.Caller, first, last int, pick func(fd int) bool) {
	for fd := first; fd <= last; fd++ {
		t.mu.Lock()
		s := *t.files.Load()
		for ; fd <= last && fd < len(s); fd++ { // to the next one
			if t.taken[fd/64]>>(fd%64) == 0 {
				fd |= 63 // nothing more in this word
				continue
			}
			if s[fd].Load() != nil && pick(fd) {
				break
			}
		}
		if fd > last || fd >= len(s) {
			t.mu.Unlock()
			return
		}
		o := s[fd].Load()
		s[fd].Store(nil)
		t.drop(fd)
		t.mu.Unlock()
		t.done(c, o)
	}
}

// CloseRange is close_range(2) for the numbers from first to last (checked); with cloexec it marks them only.
func (t *Table) CloseRange(c *vfs.Caller, first, last uint32, cloexec bool) abi.Errno {
	if first > last {
		return abi.EINVAL
	}
	if first >= MaxFD {
		return 0
	}
	end := int(min(last, MaxFD-1))
	if !cloexec {
		t.closeWhere(c, int(first), end, func(int) bool { return true })
		return 0
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	s := *t.files.Load()
	for fd := int(first); fd <= end && fd < len(s); fd++ {
		if s[fd].Load() != nil {
			t.mark(fd, true)
		}
	}
	return 0
}

// CloseOnExec closes what is marked so: execve(2). t is not shared.
func (t *Table) CloseOnExec(c *vfs.Caller) {
	t.closeWhere(c, 0, MaxFD-1, func(fd int) bool { return t.cloexec[fd/64]>>(fd%64)&1 != 0 })
}

// GetCloseOnExec says whether fd is marked: F_GETFD.
func (t *Table) GetCloseOnExec(fd int32) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return uint(fd) < uint(len(t.cloexec)*64) && t.cloexec[fd/64]>>(fd%64)&1 != 0
}

// SetCloseOnExec is F_SETFD: EBADF.
func (t *Table) SetCloseOnExec(fd int32, on bool) abi.Errno {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := *t.files.Load()
	if uint(fd) >= uint(len(s)) || s[fd].Load() == nil {
		return abi.EBADF
	}
	t.mark(int(fd), on)
	return 0
}

// Dup is dup(2) and F_DUPFD: it gives the file of fd the lowest free number from least on. EBADF, EINVAL (least beyond the limit), EMFILE.
func (t *Table) Dup(c *vfs.Caller, fd, least int32, cloexec bool) (int32, abi.Errno) {
	t.SetLimits(c.Limits)
	limit := t.limit()
	o, e := t.Get(fd)
	if e != 0 {
		return 0, e
	}
	if least < 0 || least > 0 && int(least) >= limit {
		o.Unref()
		return 0, abi.EINVAL
	}
	t.mu.Lock()
	n, e := t.take(int(least), cloexec, limit)
	if e == 0 {
		(*t.files.Load())[n].Store(o)
	}
	t.mu.Unlock()
	if e != 0 {
		o.Unref()
		return 0, e
	}
	return int32(n), 0
}

// DupTo is dup3(2) for two different numbers: what to meant before is closed, its errors are lost. EBADF (from; to beyond the limit),
// EBUSY (another thread is about to open to).
func (t *Table) DupTo(c *vfs.Caller, from, to int32, cloexec bool) abi.Errno {
	t.SetLimits(c.Limits)
	if to < 0 || int(to) >= t.limit() {
		return abi.EBADF
	}
	o, e := t.Get(from)
	if e != 0 {
		return e
	}
	return t.put(c, to, o, cloexec)
}

// put makes to mean o, whose reference it takes over.
func (t *Table) put(c *vfs.Caller, to int32, o *vfs.Open, cloexec bool) abi.Errno {
	t.mu.Lock()
	t.grow(int(to) + 1)
	s := *t.files.Load()
	old := s[to].Load()
	if old == nil && t.taken[to/64]>>(to%64)&1 != 0 {
		t.mu.Unlock()
		o.Unref()
		return abi.EBUSY
	}
	t.taken[to/64] |= 1 << (to % 64)
	t.mark(int(to), cloexec)
	s[to].Store(o)
	t.mu.Unlock()
	if old != nil {
		t.done(c, old)
	}
	return 0
}

// Replace makes number to mean o, whose reference it takes over: for those that set a table up (boot).
func (t *Table) Replace(c *vfs.Caller, to int32, o *vfs.Open, cloexec bool) abi.Errno {
	if to < 0 || to >= MaxFD {
		o.Unref()
		return abi.EBADF
	}
	return t.put(c, to, o, cloexec)
}

// Next is the first descriptor from fd on, referenced for the caller: /proc/PID/fd.
func (t *Table) Next(fd int32) (int32, *vfs.Open, bool) {
	if fd < 0 {
		fd = 0
	}
	s := *t.files.Load()
	for ; int(fd) < len(s); fd++ {
		if o := s[fd].Load(); o != nil && o.TryRef() {
			return fd, o, true
		}
	}
	return 0, nil, false
}

// Size is how many numbers the table has room for: FDSize of /proc/PID/status.
func (t *Table) Size() int { return len(*t.files.Load()) }

// Count is how many descriptors are open.
func (t *Table) Count() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := 0
	for _, w := range t.taken {
		n += bits.OnesCount64(w)
	}
	return n
}
