package mm

import (
	"slices"

	"goum/arch/abi"
)

// MapOpts says what is mapped. Flags are those of mmap(2); MAP_ANONYMOUS is implied by Pager == nil.
type MapOpts struct {
	Prot   uint64 // abi.PROT_*
	Flags  uint64 // abi.MAP_*
	Pager  Pager
	Offset uint64 // into Pager, bytes, whole pages

	// Deny holds the protections that this mapping must never have (mprotect then says EACCES): PROT_WRITE for a shared
	// mapping of a file that is not open for writing, PROT_READ if it is not open for reading (Map says EACCES at once),
	// PROT_EXEC on a noexec mount (EPERM).
	Deny uint64
	// Notify asks for Pager.Page(write) before the first write to each page of a shared mapping; else a page that may be
	// written is mapped writable at the first read.
	Notify bool
	// File is given back by Regions; a pointer. Mappings of different Files are never merged.
	File any
	// Name is for /proc/PID/maps, of what has no File: "[vdso]".
	Name string
	// NoExpand: mremap(2) must not make it larger (vDSO).
	NoExpand bool
	// Sleep serves MAP_POPULATE and MAP_LOCKED; without it nothing is populated.
	Sleep Sleeper
}

// Map reserves length bytes in s; no frame is taken before a touch (but for MAP_POPULATE and MAP_LOCKED). It returns the
// address of the first byte.
//
// length is rounded up to pages; addr is a hint unless MAP_FIXED or MAP_FIXED_NOREPLACE is set. In the order of Linux 6.18's
// do_mmap: EINVAL (length 0), ENOMEM (length wraps), EOVERFLOW (offset+length wraps), ENOMEM (MaxVMAs, no gap, beyond
// TaskSize), EINVAL (fixed addr not on a page), EPERM (below MinAddr), EEXIST (NOREPLACE, occupied), EPERM and EAGAIN (locked
// memory), EOPNOTSUPP (MAP_SHARED_VALIDATE with an unknown flag), EACCES and EPERM (opts.Deny), EINVAL (neither shared nor
// private, a shared or file mapping that grows), ENOMEM (RLIMIT_AS, RLIMIT_DATA, more than all memory). See mmap(2).
func (s *Space) Map(addr Addr, length uint64, o MapOpts) (Addr, abi.Errno) {
	if length == 0 {
		return 0, abi.EINVAL
	}
	s.mu.Lock()
	a, v, e := s.mapLocked(addr, length, &o)
	populate := e == 0 && o.Sleep != nil && (v.has(vmLocked) && !v.has(vmLockOnFault) || o.Flags&(abi.MAP_POPULATE|abi.MAP_NONBLOCK) == abi.MAP_POPULATE)
	s.mu.Unlock()
	if populate {
		s.populate(o.Sleep, a, a+pageUp(length))
	}
	return a, e
}

func (s *Space) mapLocked(addr Addr, length uint64, o *MapOpts) (Addr, *vma, abi.Errno) {
	fixed := o.Flags&(abi.MAP_FIXED|abi.MAP_FIXED_NOREPLACE) != 0
	if !fixed {
		if addr &^= pageMask; addr != 0 && addr < MinAddr {
			addr = MinAddr
		}
	}
	length = pageUp(length)
	if length == 0 {
		return 0, nil, abi.ENOMEM
	}
	index := o.Offset >> PageShift
	if index+length>>PageShift < index || o.Offset+length < o.Offset {
		return 0, nil, abi.EOVERFLOW
	}
	if len(s.vmas) > MaxVMAs || s.dead {
		return 0, nil, abi.ENOMEM
	}
	if o.Flags&abi.MAP_HUGETLB != 0 { // none are reserved, as on a host that was not told to
		if o.Pager != nil {
			return 0, nil, abi.EINVAL
		}
		return 0, nil, abi.ENOMEM
	}
	flags := s.future
	if o.Flags&abi.MAP_GROWSDOWN != 0 {
		flags |= vmGrowsDown
	}
	if o.Flags&abi.MAP_LOCKED != 0 {
		flags |= vmLocked
	}
	if o.Flags&abi.MAP_STACK != 0 {
		flags |= vmNoHuge
	}
	if o.NoExpand {
		flags |= vmDontExpand
	}
	a, e := s.place(addr, length, o.Flags, fixed)
	if e != 0 {
		return 0, nil, e
	}
	end := a + length
	if o.Flags&abi.MAP_FIXED_NOREPLACE != 0 && s.overlaps(a, end) {
		return 0, nil, abi.EEXIST
	}
	if o.Flags&abi.MAP_LOCKED != 0 && !s.mayLock() {
		return 0, nil, abi.EPERM
	}
	if flags&vmLocked != 0 && !s.lockFits(length>>PageShift) {
		return 0, nil, abi.EAGAIN
	}
	v := &vma{start: a, end: end, prot: uint8(o.Prot & 7), may: uint8(7 &^ o.Deny), flags: flags, pager: o.Pager, index: index, file: o.File, name: o.Name}
	if e := v.typeOf(o); e != 0 {
		return 0, nil, e
	}
	if o.Flags&abi.MAP_NORESERVE != 0 {
		v.flags |= vmNoReserve
	}
	replaced := uint64(0)
	if fixed {
		replaced = s.count(a, end)
	}
	if !s.fits(v.prot, v.flags, v.pages(), replaced) {
		return 0, nil, abi.ENOMEM
	}
	if accountable(v.prot, v.flags) {
		if v.flags |= vmAccount; !s.promises(v.pages()) {
			return 0, nil, abi.ENOMEM
		}
	}
	if fixed {
		if e := s.unmapLocked(a, end); e != 0 {
			return 0, nil, e
		}
	}
	if v.has(vmShared) && v.pager == nil {
		v.pager, v.index = NewAnonPager(s.mem, length), 0
		if v.name == "" && v.file == nil {
			v.name = "/dev/zero (deleted)" // as Linux calls it in /proc/PID/maps
		}
	}
	return a, s.insert(v), 0
}

// typeOf checks the mapping type of o and sets v's flags by it.
func (v *vma) typeOf(o *MapOpts) abi.Errno {
	const known = abi.MAP_SHARED | abi.MAP_PRIVATE | abi.MAP_FIXED | abi.MAP_ANONYMOUS | abi.MAP_DENYWRITE | abi.MAP_EXECUTABLE |
		abi.MAP_GROWSDOWN | abi.MAP_LOCKED | abi.MAP_NORESERVE | abi.MAP_POPULATE | abi.MAP_NONBLOCK | abi.MAP_STACK | abi.MAP_HUGETLB |
		abi.MAP_32BIT | abi.MAP_ABOVE4G | abi.MAP_HUGE_MASK<<abi.MAP_HUGE_SHIFT
	kind := o.Flags & abi.MAP_TYPE
	if o.Pager == nil {
		switch kind {
		case abi.MAP_SHARED:
			if v.has(vmGrowsDown) {
				return abi.EINVAL
			}
			v.flags |= vmShared
		case abi.MAP_PRIVATE:
		case abi.MAP_DROPPABLE:
			if v.has(vmGrowsDown) || v.has(vmLocked) {
				return abi.EINVAL
			}
			v.flags |= vmNoReserve | vmWipeOnFork | vmDontDump
		default:
			return abi.EINVAL
		}
		return 0
	}
	switch kind {
	case abi.MAP_SHARED, abi.MAP_SHARED_VALIDATE:
		// MAP_SYNC and what is not known yet; NOREPLACE has been turned into FIXED by then
		if kind == abi.MAP_SHARED_VALIDATE && o.Flags&^(known|abi.MAP_FIXED_NOREPLACE) != 0 {
			return abi.EOPNOTSUPP
		}
		if o.Prot&o.Deny&abi.PROT_WRITE != 0 {
			return abi.EACCES
		}
		v.flags |= vmShared
		if o.Notify {
			v.flags |= vmNotify
		}
	case abi.MAP_PRIVATE:
		v.may |= abi.PROT_WRITE
	default:
		return abi.EINVAL
	}
	if o.Deny&abi.PROT_READ != 0 {
		return abi.EACCES
	}
	if o.Prot&o.Deny&abi.PROT_EXEC != 0 {
		return abi.EPERM
	}
	if v.has(vmGrowsDown) {
		return abi.EINVAL
	}
	return 0
}

// place finds the address: a hint that fits, else the highest gap below the layout's MmapBase, else the lowest above a third
// of the address space.
func (s *Space) place(addr Addr, length, flags uint64, fixed bool) (Addr, abi.Errno) {
	switch {
	case length > TaskSize:
		return 0, abi.ENOMEM
	case fixed:
	case flags&abi.MAP_32BIT != 0:
		if addr == 0 || addr > 1<<31-length || !s.gapAt(addr, length) {
			var ok bool
			if addr, ok = s.gapUp(length, 1<<30, 1<<31); !ok {
				return 0, abi.ENOMEM
			}
		}
	case addr != 0 && length <= TaskSize-min(addr, TaskSize) && s.gapAt(addr, length):
	default:
		var ok bool
		if addr, ok = s.gapDown(length, MinAddr, s.layout.MmapBase); !ok {
			if addr, ok = s.gapUp(length, TaskSize/3&^uint64(pageMask), TaskSize); !ok {
				return 0, abi.ENOMEM
			}
		}
	}
	switch {
	case addr > TaskSize-length:
		return 0, abi.ENOMEM
	case addr&pageMask != 0:
		return 0, abi.EINVAL
	case addr < MinAddr:
		return 0, abi.EPERM
	}
	return addr, 0
}

// floor is the address that a neighbour below v may grow up to: a stack keeps a gap.
func (v *vma) floor() Addr {
	if v.has(vmGrowsDown) {
		return v.start - min(v.start, stackGap)
	}
	return v.start
}

func (s *Space) gapAt(a Addr, length uint64) bool {
	i := s.above(a)
	return i == len(s.vmas) || a+length <= s.vmas[i].floor()
}

func (s *Space) gapDown(length uint64, low, high Addr) (Addr, bool) {
	i := s.above(high)
	hi := high
	for {
		if i < len(s.vmas) {
			hi = min(hi, s.vmas[i].floor())
		}
		lo := low
		if i > 0 {
			lo = max(lo, s.vmas[i-1].end)
		}
		if hi > lo && hi-lo >= length {
			return hi - length, true
		}
		if i--; i < 0 || hi <= low {
			return 0, false
		}
	}
}

func (s *Space) gapUp(length uint64, low, high Addr) (Addr, bool) {
	lo := low
	for i := s.above(low); ; i++ {
		hi := high
		if i < len(s.vmas) {
			hi = min(hi, s.vmas[i].floor())
		}
		if hi > lo && hi-lo >= length {
			return lo, true
		}
		if i >= len(s.vmas) || s.vmas[i].end >= high {
			return 0, false
		}
		lo = max(lo, s.vmas[i].end)
	}
}

// fits checks RLIMIT_AS and RLIMIT_DATA for n more pages, of which gone are replaced.
func (s *Space) fits(prot uint8, f vmFlags, n, gone uint64) bool {
	if s.total+n-gone > s.limits.AS>>PageShift {
		return false
	}
	return !isData(prot, f) || s.data+n-gone <= s.limits.Data>>PageShift
}

// promises says whether n pages may be promised at once: as Linux's heuristic, not more than there are at all.
func (s *Space) promises(n uint64) bool { return n <= uint64(s.mem.Frames()) }

func (s *Space) mayLock() bool { return s.limits.MayLock || s.limits.Memlock != 0 }

func (s *Space) lockFits(n uint64) bool {
	return s.limits.MayLock || s.locked+n <= s.limits.Memlock>>PageShift
}

// Unmap removes all mappings of [addr, addr+length); holes do not matter. EINVAL (addr not on a page, length 0, beyond
// TaskSize), ENOMEM (a VMA would be cut in two beyond MaxVMAs). See munmap(2).
func (s *Space) Unmap(addr Addr, length uint64) abi.Errno {
	if addr&pageMask != 0 || addr > TaskSize || length > TaskSize-addr {
		return abi.EINVAL
	}
	if length = pageUp(length); length == 0 {
		return abi.EINVAL
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.unmapLocked(addr, addr+length)
}

func (s *Space) unmapLocked(start, end Addr) abi.Errno {
	i := s.above(start)
	if i == len(s.vmas) || s.vmas[i].start >= end {
		return 0
	}
	if v := s.vmas[i]; v.start < start && v.end > end && len(s.vmas) >= MaxVMAs {
		return abi.ENOMEM
	}
	// the entries first: a pager may forget its pages once nobody maps them
	s.pt.Lock()
	s.zap(start, end, all)
	s.pt.Unlock()
	i, j := s.isolate(start, end)
	for _, v := range s.vmas[i:j] {
		s.account(v, v.pages(), -1)
		s.unmapped(v, v.start, v.end)
	}
	s.vmas = slices.Delete(s.vmas, i, j)
	return 0
}

// Invalidate removes the pages from..from+n-1 of p from the page table, and private copies of them if copies is set
// (truncate; not for a hole). The pager has let go of the pages before, so that a fault that comes in between ends up
// with what the pager says then. Called with no lock from Space on held.
func (s *Space) Invalidate(p Pager, from, n uint64, copies bool) {
	to := from + n
	if to < from {
		to = ^uint64(0)
	}
	what := notAnon
	if copies {
		what = all
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pt.Lock()
	defer s.pt.Unlock()
	s.discarded++
	for _, v := range s.vmas {
		if v.pager != p || v.index >= to || v.index+v.pages() <= from {
			continue
		}
		start, end := v.start, v.end
		if from > v.index {
			start += (from - v.index) << PageShift
		}
		if to < v.index+v.pages() {
			end = v.start + (to-v.index)<<PageShift
		}
		s.zap(start, end, what)
	}
}

// populate faults in what is not there of [start, end), for mlock and MAP_POPULATE: an error ends it.
func (s *Space) populate(w Sleeper, start, end Addr) FaultResult {
	for a := start; a < end; a += PageSize {
		s.mu.Lock()
		v := s.find(a)
		access, skip := Read, v == nil || v.prot == 0
		if v != nil && v.prot&abi.PROT_WRITE != 0 && !v.has(vmShared) {
			access = Write
		}
		if !skip {
			s.pt.Lock()
			p := s.table.get(a)
			skip = p.frame() != 0 && (access != Write || p&pteWrite != 0)
			s.pt.Unlock()
		}
		s.mu.Unlock()
		if skip {
			continue
		}
		if r := s.fault(a, access, w, how{most: maxWindow}); r != Resolved {
			return r
		}
	}
	return Resolved
}

// moveEntries takes the entries of [from, from+length) to to, where there are none, without touching a frame.
func (s *Space) moveEntries(from, to Addr, length uint64) {
	if lo, hi := s.hostSpan(from, from+length); lo < hi {
		// remember what the host mapped, to have it mapped at the new place
		defer s.mapMoved(lo-from+to, hi-from+to)
		s.withdraw(lo, hi)
	}
	for a := from; a < from+length; {
		l, x, end := s.table.next(a, from+length)
		if l == nil {
			break
		}
		for ; x < end; x += PageSize {
			p := l.e[leafIndex(x)]
			if p == 0 {
				continue
			}
			l.set(leafIndex(x), 0)
			y := x - from + to
			s.table.make(y).set(leafIndex(y), p&^pteHostAll)
		}
		a = end
	}
	s.table.prune(from, from+length)
}

// mapMoved has the host map what is in [start, end), if few operations can.
func (s *Space) mapMoved(start, end Addr) {
	var runs [protectOps]hostRun
	n := 0
	var prev pte
	for a := start; a < end; {
		l, from, to := s.table.next(a, end)
		if l == nil {
			break
		}
		for x := from; x < to; x += PageSize {
			p := l.e[leafIndex(x)]
			if p&ptePresent == 0 {
				continue
			}
			if n > 0 && runs[n-1].a+Addr(runs[n-1].n)<<PageShift == x && prev.frame()+1 == p.frame() && prev.prot() == p.prot() {
				runs[n-1].n++
			} else if n == protectOps {
				return
			} else {
				runs[n] = hostRun{x, 1}
				n++
			}
			prev = p
		}
		a = to
	}
	for _, r := range runs[:n] {
		s.mapRange(r.a, r.n)
	}
}
