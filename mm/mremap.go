package mm

import "goum/arch/abi"

// Remap moves or resizes the mapping [old, old+oldLen), and returns where it is now. Flags are abi.MREMAP_*; to is looked at with
// MREMAP_FIXED, and a hint with MREMAP_DONTUNMAP. Pages keep their frames.
//
// In the order of Linux 6.18: EINVAL (flags, alignment, lengths, FIXED or DONTUNMAP without MAYMOVE, overlap), ENOMEM (MaxVMAs),
// EFAULT (no mapping, or old range over its end when it is resized), EINVAL (oldLen 0 of a private mapping), EAGAIN (locked
// memory), ENOMEM (limits, no room). See mremap(2).
func (s *Space) Remap(old Addr, oldLen, newLen, flags uint64, to Addr) (Addr, abi.Errno) {
	if flags&^(abi.MREMAP_FIXED|abi.MREMAP_MAYMOVE|abi.MREMAP_DONTUNMAP) != 0 || old&pageMask != 0 {
		return 0, abi.EINVAL
	}
	oldLen, newLen = pageUp(oldLen), pageUp(newLen)
	if newLen == 0 || newLen > TaskSize {
		return 0, abi.EINVAL
	}
	moves := flags&(abi.MREMAP_FIXED|abi.MREMAP_DONTUNMAP) != 0
	if moves {
		switch {
		case to > TaskSize-newLen, to&pageMask != 0, flags&abi.MREMAP_MAYMOVE == 0,
			flags&abi.MREMAP_DONTUNMAP != 0 && oldLen != newLen,
			old < to+newLen && to < old+oldLen:
			return 0, abi.EINVAL
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.remapLocked(old, oldLen, newLen, flags, to, moves)
}

func (s *Space) remapLocked(old Addr, oldLen, newLen, flags uint64, to Addr, moves bool) (Addr, abi.Errno) {
	if moves && len(s.vmas)+2 >= MaxVMAs-3 {
		return 0, abi.ENOMEM
	}
	if old >= TaskSize || oldLen > TaskSize-old {
		return 0, abi.EFAULT
	}
	v := s.find(old)
	if v == nil {
		return 0, abi.EFAULT
	}
	if flags&abi.MREMAP_FIXED != 0 && oldLen == newLen && old+oldLen > v.end {
		return s.moveMany(old, oldLen, flags, to)
	}
	if e := s.remapCheck(v, old, oldLen, newLen, flags); e != 0 {
		return 0, e
	}
	fixed := flags&abi.MREMAP_FIXED != 0
	if fixed {
		if to < MinAddr {
			return 0, abi.EPERM
		}
		if e := s.unmapLocked(to, to+newLen); e != 0 {
			return 0, e
		}
		v = s.find(old)
	}
	if oldLen > newLen {
		if e := s.unmapLocked(old+newLen, old+oldLen); e != 0 {
			return 0, e
		}
		oldLen = newLen
		v = s.find(old)
	}
	if !moves && oldLen == newLen {
		return old, 0
	}
	if !moves && old+oldLen == v.end && oldLen != 0 {
		end := old + newLen
		if end <= TaskSize && end > old && !s.overlaps(v.end, end) {
			s.extend(v, end)
			return old, 0
		}
	}
	if flags&abi.MREMAP_MAYMOVE == 0 {
		return 0, abi.ENOMEM
	}
	if len(s.vmas) >= MaxVMAs-3 {
		return 0, abi.ENOMEM
	}
	if !fixed {
		// with DONTUNMAP to is only a hint
		var e abi.Errno
		if to, e = s.place(hint(to, flags), newLen, 0, false); e != 0 {
			return 0, e
		}
	}
	s.moveVMA(v, old, oldLen, newLen, to, flags&abi.MREMAP_DONTUNMAP != 0)
	return to, 0
}

func hint(to Addr, flags uint64) Addr {
	if flags&abi.MREMAP_DONTUNMAP == 0 || to < MinAddr {
		return 0
	}
	return to
}

// remapCheck is what Linux's check_prep_vma looks at.
func (s *Space) remapCheck(v *vma, old Addr, oldLen, newLen, flags uint64) abi.Errno {
	dont := flags&abi.MREMAP_DONTUNMAP != 0
	if newLen <= oldLen && flags&(abi.MREMAP_FIXED|abi.MREMAP_DONTUNMAP) == 0 {
		return 0 // at most an unmapping, which may span VMAs
	}
	if oldLen == 0 && !v.has(vmShared) {
		return abi.EINVAL
	}
	if dont && v.has(vmDontExpand) {
		return abi.EINVAL
	}
	if min(oldLen, newLen) > v.end-old { // what is cut off first may span VMAs
		return abi.EFAULT
	}
	if dont && !s.fits(v.prot, v.flags, oldLen>>PageShift, 0) {
		return abi.ENOMEM
	}
	if newLen <= oldLen {
		return 0
	}
	if idx := v.pageIndex(old); v.pager != nil && idx+newLen>>PageShift < idx {
		return abi.EINVAL
	}
	if v.has(vmDontExpand) {
		return abi.EFAULT
	}
	more := (newLen - oldLen) >> PageShift
	if v.has(vmLocked) && !s.lockFits(more) {
		return abi.EAGAIN
	}
	if !s.fits(v.prot, v.flags, more, 0) || accountable(v.prot, v.flags) && !s.promises(more) {
		return abi.ENOMEM
	}
	return 0
}

// extend lets v end at end.
func (s *Space) extend(v *vma, end Addr) {
	from := v.end
	v.end = end
	s.mapped(v, from, end)
	s.account(v, (end-from)>>PageShift, 1)
	i := s.above(v.start)
	s.merge(i, i+1)
}

// moveVMA moves [old, old+oldLen), a part of v, to a free range of newLen bytes.
func (s *Space) moveVMA(v *vma, old Addr, oldLen, newLen uint64, to Addr, keep bool) {
	w := *v
	w.start, w.end, w.index, w.window = to, to+newLen, v.pageIndex(old), 0
	s.insert(&w)
	s.pt.Lock()
	s.moveEntries(old, to, oldLen)
	s.pt.Unlock()
	switch {
	case oldLen == 0:
	case keep:
		// Linux unlocks the whole VMA that holds the old range, even what it has just been merged with.
		u := s.find(old)
		s.account(u, u.pages(), -1)
		u.flags &^= vmLocked | vmLockOnFault
		s.account(u, u.pages(), 1)
	default:
		s.unmapLocked(old, old+oldLen) // cannot fail: room for a cut was seen to
	}
}

// moveMany moves all VMAs of [old, old+length) to to, as Linux does since 6.17: one after the other, each replacing what is at its
// new place; holes replace nothing. An error leaves moved what was.
func (s *Space) moveMany(old Addr, length, flags uint64, to Addr) (Addr, abi.Errno) {
	if to < MinAddr {
		return 0, abi.EPERM
	}
	for a, end := old, old+length; a < end; {
		i := s.above(a)
		if i == len(s.vmas) || s.vmas[i].start >= end {
			break
		}
		v := s.vmas[i]
		a = max(a, v.start)
		n := min(end, v.end) - a
		if len(s.vmas) >= MaxVMAs-3 {
			return 0, abi.ENOMEM
		}
		if e := s.remapCheck(v, a, n, n, flags); e != 0 {
			return 0, e
		}
		if e := s.unmapLocked(a-old+to, a-old+to+n); e != 0 {
			return 0, e
		}
		s.moveVMA(s.find(a), a, n, n, a-old+to, flags&abi.MREMAP_DONTUNMAP != 0)
		a += n
	}
	return to, 0
}
