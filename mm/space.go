// Package mm is the guest's address spaces: what may be mapped, what is, and the only way to guest memory.
//
// It owns VMAs, the page table (the authority on what a guest may touch), the list of operations that brings the host's
// mappings in the stub up to the page table, and the quarantine of frames that a stub may still reach.
//
// Invariants:
//   - An entry of the page table lies in a VMA and grants no more than it. Each entry with a frame holds one reference.
//   - Shared zero frames and frames that another Space may see as private are never writable.
//   - After all operations handed out and waiting, the host maps for each page nothing, or what its entry says with no more
//     rights. A waiting mapping is authorised by the page table at every moment.
//   - A frame that the stub may still map is referenced: by an entry or by the quarantine.
//   - Fault, Allows, NextOps and Proven allocate no Go memory but nodes of the page table and growth to a new maximum.
//
// Locks: Space.mu (lock.Space) guards the VMAs; pagers are told of mappings under it. Inside it Space.pt (lock.PageTable)
// guards page table, operations and quarantine; frames are allocated under it. A copy to or from a guest holds pt
// for one page at a time (see guest.go) and is called with no lock held. None is held while a pager may sleep.
package mm

import (
	"sync/atomic"

	"goum/arch/abi"
	"goum/arch/lock"
	"goum/physmem"
)

// Addr is a guest virtual address.
type Addr = uint64

// Sleeper is the task on whose behalf mm waits: *sched.Thread.
type Sleeper interface {
	// Outside runs f, which may block in the host, off the vCPU.
	Outside(f func())
}

// Limits are the resource limits that bound an address space, in bytes; abi.RLIM_INFINITY is none.
type Limits struct {
	AS, Data, Stack, Memlock uint64
	MayLock                  bool // CAP_IPC_LOCK: Memlock does not bind
}

// NoLimits is as root without ulimits, but for the usual stack of 8 MiB.
var NoLimits = Limits{AS: abi.RLIM_INFINITY, Data: abi.RLIM_INFINITY, Stack: 8 << 20, Memlock: abi.RLIM_INFINITY, MayLock: true}

// Layout is where exec put things. MmapBase bounds the search for a free place from above (0: as MmapBase says for 8 MiB
// of stack); the break starts at StartBrk; [heap] and [stack] are told by StartBrk and StartStack; the rest serves /proc only.
type Layout struct {
	MmapBase                               Addr
	StartCode, EndCode, StartData, EndData Addr
	StartBrk, StartStack                   Addr
	ArgStart, ArgEnd, EnvStart, EnvEnd     Addr
}

// Space is one address space, shared by all tasks that were cloned with CLONE_VM.
type Space struct {
	// immutable after NewSpace
	mem *physmem.Memory

	users atomic.Int32 // written by Acquire and Release

	// guarded by mu
	mu     lock.Mutex[lock.Space]
	vmas   []*vma // by address, disjoint
	limits Limits
	layout Layout
	brk    Addr
	future vmFlags // mlockall(MCL_FUTURE)
	dead   bool

	total, peak, stack, data, exec, locked uint64 // pages

	around [maxFile]physmem.Frame // of one fault at a time: what is passed to a pager must not be on the stack

	// guarded by pt
	pt        lock.Mutex[lock.PageTable]
	table     pageTable
	ops       opList
	anon      uint64 // pages in the table: private copies, and the pagers'; zero pages count as neither, as in Linux
	filed     uint64
	hwm       uint64
	discarded uint64 // counts Invalidate: a page that was got before is not to be put into the table after
	stats     Stats
}

// Stats counts what happened in a Space.
type Stats struct {
	Minor     uint64 // faults resolved
	Spurious  uint64 // of them: the page table had it already
	Copies    uint64 // pages copied for copy-on-write, in faults and in Fork
	Drops     uint64 // all host mappings dropped, for a full list or too many mappings
	Stale     uint64 // mappings refused because the page table had moved on
	Forked    uint64 // pages that Fork shared copy-on-write
	Zeroed    uint64 // demand-zero pages
	ZeroReads uint64 // faults that the shared zero pages answered
}

// NewSpace makes an empty address space with one user.
func NewSpace(mem *physmem.Memory, l Limits) *Space {
	s := &Space{mem: mem, limits: l}
	s.layout.MmapBase = MmapBase(8<<20, 0)
	s.users.Store(1)
	return s
}

// MmapBase is where the search for free addresses starts, downwards, as on Linux: below the largest stack allowed, its guard
// gap and its randomisation, and rnd bytes further down. stack is RLIMIT_STACK.
func MmapBase(stack, rnd uint64) Addr {
	const pad = 16<<30 + stackGap // stack_maxrandom_size, stack_guard_gap
	gap := stack
	if gap+pad > gap {
		gap += pad
	}
	gap = min(max(gap, 128<<20), TaskSize/6*5)
	rnd = min(rnd, 1<<40)
	return pageUp(TaskSize - gap - rnd)
}

// Acquire adds a user, for CLONE_VM or for a look at another task's memory; false: the last one has gone.
func (s *Space) Acquire() bool {
	for n := s.users.Load(); n > 0; n = s.users.Load() {
		if s.users.CompareAndSwap(n, n+1) {
			return true
		}
	}
	return false
}

// Release takes a user away. With the last one everything is unmapped; frames that the stub may still map stay in
// quarantine until Proven or Detached.
func (s *Space) Release() {
	if s.users.Add(-1) != 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dead = true
	s.removeAll()
}

func (s *Space) removeAll() {
	for _, v := range s.vmas {
		s.unmapped(v, v.start, v.end)
	}
	s.vmas = nil
	s.total, s.stack, s.data, s.exec, s.locked = 0, 0, 0, 0, 0
	s.pt.Lock()
	defer s.pt.Unlock()
	var seq uint64
	if s.ops.exposed {
		s.dropAll()
		seq = s.ops.last
	} else {
		s.ops.n = 0
	}
	s.zapEntries(0, TaskSize, seq, all)
}

// SetLimits changes the limits: prlimit(2), setuid(2).
func (s *Space) SetLimits(l Limits) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.limits = l
}

// SetLayout is for exec and prctl(PR_SET_MM). A new StartBrk moves the break there.
func (s *Space) SetLayout(l Layout) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l.MmapBase == 0 {
		l.MmapBase = MmapBase(8<<20, 0)
	}
	if l.StartBrk != s.layout.StartBrk {
		s.brk = l.StartBrk
	}
	s.layout = l
}

// Layout is what SetLayout said.
func (s *Space) Layout() Layout {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.layout
}

// Memory is the RAM that the Space takes its frames from.
func (s *Space) Memory() *physmem.Memory { return s.mem }

// Stats returns the counters.
func (s *Space) Stats() Stats {
	s.pt.Lock()
	defer s.pt.Unlock()
	return s.stats
}

// pageUp rounds up to pages; it may wrap to 0.
func pageUp(n uint64) uint64 { return (n + pageMask) &^ pageMask }

// zapWhat selects entries to remove.
type zapWhat uint8

const (
	all      zapWhat = iota
	notAnon          // what belongs to the pager, and not private copies of it
	notGuard         // all but guards: they survive madvise(MADV_DONTNEED)
)

// zap removes the entries of [start, end): the host's mappings first. mu and pt are held; VMAs are the caller's business.
func (s *Space) zap(start, end Addr, what zapWhat) {
	lo, hi := s.hostSpan(start, end)
	var seq uint64
	switch {
	case lo >= hi:
	case what == notAnon: // private copies in between stay
		seq = s.withdraw(lo, hi)
	default:
		seq = s.revokeRange(lo, hi)
	}
	s.zapEntries(start, end, seq, what)
}

// hostSpan is the smallest range that holds all that the host maps of [start, end).
func (s *Space) hostSpan(start, end Addr) (lo, hi Addr) {
	for a := start; a < end; {
		l, from, to := s.table.next(a, end)
		if l == nil {
			break
		}
		for x := from; x < to; x += PageSize {
			if l.e[leafIndex(x)]&pteHost != 0 {
				if hi == 0 {
					lo = x
				}
				hi = x + PageSize
			}
		}
		a = to
	}
	return lo, hi
}

// zapEntries removes the entries of [start, end), whose frames wait for seq.
func (s *Space) zapEntries(start, end Addr, seq uint64, what zapWhat) {
	var first physmem.Frame
	n := 0
	for a := start; a < end; {
		l, from, to := s.table.next(a, end)
		if l == nil {
			break
		}
		for i := leafIndex(from); i <= leafIndex(to-1); i++ {
			p := l.e[i]
			if p == 0 || what == notAnon && p&(pteAnon|pteGuard) != 0 || what == notGuard && p&pteGuard != 0 {
				continue
			}
			l.set(i, 0)
			f := p.frame()
			if f == 0 {
				continue
			}
			s.forget(p)
			if n > 0 && first+physmem.Frame(n) == f && !s.mem.IsZero(f) {
				n++
				continue
			}
			if n > 0 {
				s.dispose(first, n, seq)
				n = 0
			}
			if !s.mem.IsZero(f) {
				first, n = f, 1
			}
		}
		a = to
	}
	if n > 0 {
		s.dispose(first, n, seq)
	}
	s.table.prune(start, end)
}

// remember and forget keep the resident set's accounts for an entry that comes or goes.
func (s *Space) remember(p pte) {
	switch {
	case p&pteAnon != 0:
		s.anon++
	case !s.mem.IsZero(p.frame()):
		s.filed++
	}
	s.hwm = max(s.hwm, s.anon+s.filed)
}

func (s *Space) forget(p pte) {
	switch {
	case p&pteAnon != 0:
		s.anon--
	case !s.mem.IsZero(p.frame()):
		s.filed--
	}
}
