package mm

import (
	"slices"
	"sort"

	"goum/arch/abi"
)

type vmFlags uint32

// What a VMA is beside its protection.
const (
	vmShared vmFlags = 1 << iota
	vmGrowsDown
	vmLocked
	vmLockOnFault
	vmNoReserve
	vmDontFork
	vmDontDump
	vmWipeOnFork
	vmMergeable
	vmHuge
	vmNoHuge
	vmSequential
	vmRandom
	vmDontExpand
	vmAccount // its memory is promised; once set it stays, as in Linux, whose maps show where it differs
	vmNotify  // shared, and the pager wants to know of the first write to a page
)

// vma is a range of addresses with one protection and one source. Guarded by the Space's mu.
type vma struct {
	start, end Addr
	prot, may  uint8 // PROT_*: what is allowed, and what mprotect may allow
	flags      vmFlags
	window     uint8 // pages of the next fault that has no neighbour; 0: never faulted
	pager      Pager // nil: private anonymous memory
	index      uint64
	file       any
	name       string
}

func (v *vma) pages() uint64           { return (v.end - v.start) >> PageShift }
func (v *vma) has(f vmFlags) bool      { return v.flags&f != 0 }
func (v *vma) pageIndex(a Addr) uint64 { return v.index + (a-v.start)>>PageShift }
func (v *vma) mayWriteShared() bool    { return v.has(vmShared) && v.may&abi.PROT_WRITE != 0 }

// isStack, isData, isExec follow Linux's accounts of VmStk, VmData and VmExe+VmLib.
func (v *vma) isStack() bool { return v.has(vmGrowsDown) }
func (v *vma) isData() bool  { return isData(v.prot, v.flags) }
func (v *vma) isExec() bool {
	return v.prot&(abi.PROT_EXEC|abi.PROT_WRITE) == abi.PROT_EXEC && !v.has(vmGrowsDown)
}

func isData(prot uint8, f vmFlags) bool {
	return prot&abi.PROT_WRITE != 0 && f&(vmShared|vmGrowsDown) == 0
}

// accountable says whether memory for the VMA counts as promised: private and writable.
func accountable(prot uint8, f vmFlags) bool {
	return prot&abi.PROT_WRITE != 0 && f&(vmShared|vmNoReserve) == 0
}

// continues says whether b can be one VMA with a, which ends where b starts.
func (a *vma) continues(b *vma) bool {
	return a.end == b.start && a.prot == b.prot && a.may == b.may && a.flags == b.flags && a.pager == b.pager &&
		a.file == b.file && a.name == b.name && (a.pager == nil || a.index+a.pages() == b.index)
}

// mapped and unmapped tell the pager about [start, end) of v.
func (s *Space) mapped(v *vma, start, end Addr) {
	if v.pager != nil {
		v.pager.Mapped(s, start, end-start, v.pageIndex(start)<<PageShift, v.has(vmShared), v.mayWriteShared())
	}
}

func (s *Space) unmapped(v *vma, start, end Addr) {
	if v.pager != nil {
		v.pager.Unmapped(s, start, end-start, v.pageIndex(start)<<PageShift, v.has(vmShared), v.mayWriteShared())
	}
}

// above is the number of the first VMA that ends above a.
func (s *Space) above(a Addr) int {
	return sort.Search(len(s.vmas), func(i int) bool { return s.vmas[i].end > a })
}

// find returns the VMA that holds a, or nil.
func (s *Space) find(a Addr) *vma {
	if i := s.above(a); i < len(s.vmas) && s.vmas[i].start <= a {
		return s.vmas[i]
	}
	return nil
}

// overlaps says whether anything is mapped in [start, end).
func (s *Space) overlaps(start, end Addr) bool {
	i := s.above(start)
	return i < len(s.vmas) && s.vmas[i].start < end
}

// account adds n pages (or takes them, sign -1) of the kind of v to the Space's sums.
func (s *Space) account(v *vma, n uint64, sign int64) {
	d := uint64(sign * int64(n))
	s.total += d
	switch {
	case v.isStack():
		s.stack += d
	case v.isExec():
		s.exec += d
	case v.isData():
		s.data += d
	}
	if v.has(vmLocked) {
		s.locked += d
	}
	s.peak = max(s.peak, s.total)
}

// split cuts VMA i at a, which lies inside it.
func (s *Space) split(i int, a Addr) {
	v := s.vmas[i]
	w := *v
	w.start, w.index = a, v.pageIndex(a)
	v.end = a
	s.vmas = slices.Insert(s.vmas, i+1, &w)
}

// insert adds v, whose range is free, merged with its neighbours where they allow it, and returns what became of it.
// The pager is told.
func (s *Space) insert(v *vma) *vma {
	s.mapped(v, v.start, v.end)
	s.account(v, v.pages(), 1)
	i := s.above(v.start)
	s.vmas = slices.Insert(s.vmas, i, v)
	s.merge(i, i+1)
	return s.find(v.start)
}

// merge joins the VMAs from i-1 to j wherever they continue one another.
func (s *Space) merge(i, j int) {
	i = max(i, 1)
	j = min(j, len(s.vmas)-1)
	for ; i <= j; i++ {
		a, b := s.vmas[i-1], s.vmas[i]
		if a.continues(b) {
			a.end = b.end
			a.window = max(a.window, b.window)
			s.vmas = slices.Delete(s.vmas, i, i+1)
			i--
			j--
		}
	}
}

// isolate splits the VMAs so that [start, end) consists of whole ones, numbers i to j-1. Callers have looked at MaxVMAs.
func (s *Space) isolate(start, end Addr) (i, j int) {
	i = s.above(start)
	if i < len(s.vmas) && s.vmas[i].start < start {
		s.split(i, start)
		i++
	}
	for j = i; j < len(s.vmas) && s.vmas[j].start < end; j++ {
		if s.vmas[j].end > end {
			s.split(j, end)
		}
	}
	return i, j
}

// covered says whether every page of [start, end) is mapped.
func (s *Space) covered(start, end Addr) bool {
	for i := s.above(start); start < end; i++ {
		if i == len(s.vmas) || s.vmas[i].start > start {
			return false
		}
		start = s.vmas[i].end
	}
	return true
}

// count is how many pages of [start, end) are mapped.
func (s *Space) count(start, end Addr) (n uint64) {
	for i := s.above(start); i < len(s.vmas) && s.vmas[i].start < end; i++ {
		n += (min(end, s.vmas[i].end) - max(start, s.vmas[i].start)) >> PageShift
	}
	return n
}
