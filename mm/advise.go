package mm

import "goum/arch/abi"

// Advise is madvise(2): it changes what it is told about the pages of [addr, addr+length), VMA by VMA. EINVAL (advice, addr not
// on a page, length wraps, advice that does not fit the mapping: locked, shared, of a file), ENOMEM (a hole; the rest is done
// all the same), EFAULT and ENOMEM of MADV_POPULATE_*, EACCES and EOPNOTSUPP of MADV_REMOVE.
func (s *Space) Advise(w Sleeper, addr Addr, length uint64, advice int32) abi.Errno {
	switch advice {
	case abi.MADV_NORMAL, abi.MADV_RANDOM, abi.MADV_SEQUENTIAL, abi.MADV_WILLNEED, abi.MADV_DONTNEED, abi.MADV_FREE, abi.MADV_REMOVE,
		abi.MADV_DONTFORK, abi.MADV_DOFORK, abi.MADV_MERGEABLE, abi.MADV_UNMERGEABLE, abi.MADV_HUGEPAGE, abi.MADV_NOHUGEPAGE,
		abi.MADV_DONTDUMP, abi.MADV_DODUMP, abi.MADV_WIPEONFORK, abi.MADV_KEEPONFORK, abi.MADV_COLD, abi.MADV_PAGEOUT,
		abi.MADV_POPULATE_READ, abi.MADV_POPULATE_WRITE, abi.MADV_DONTNEED_LOCKED, abi.MADV_GUARD_INSTALL, abi.MADV_GUARD_REMOVE:
	default:
		return abi.EINVAL
	}
	if addr&pageMask != 0 {
		return abi.EINVAL
	}
	n := pageUp(length)
	if length != 0 && n == 0 {
		return abi.EINVAL
	}
	end := addr + n
	if end < addr {
		return abi.EINVAL
	}
	if n == 0 {
		return 0
	}
	switch advice {
	case abi.MADV_POPULATE_READ, abi.MADV_POPULATE_WRITE:
		return s.advisePopulate(w, addr, end, advice == abi.MADV_POPULATE_WRITE)
	case abi.MADV_REMOVE:
		return s.adviseRemove(w, addr, end)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var set, unset vmFlags
	switch advice {
	case abi.MADV_NORMAL:
		unset = vmRandom | vmSequential
	case abi.MADV_RANDOM:
		set, unset = vmRandom, vmSequential
	case abi.MADV_SEQUENTIAL:
		set, unset = vmSequential, vmRandom
	case abi.MADV_DONTFORK:
		set = vmDontFork
	case abi.MADV_DOFORK:
		unset = vmDontFork
	case abi.MADV_MERGEABLE:
		set = vmMergeable
	case abi.MADV_UNMERGEABLE:
		unset = vmMergeable
	case abi.MADV_HUGEPAGE:
		set, unset = vmHuge, vmNoHuge
	case abi.MADV_NOHUGEPAGE:
		set, unset = vmNoHuge, vmHuge
	case abi.MADV_DONTDUMP:
		set = vmDontDump
	case abi.MADV_DODUMP:
		unset = vmDontDump
	case abi.MADV_WIPEONFORK:
		set = vmWipeOnFork
	case abi.MADV_KEEPONFORK:
		unset = vmWipeOnFork
	default:
		return s.adviseNow(addr, end, advice)
	}
	return s.eachPart(addr, end, false, func(v *vma) abi.Errno {
		if advice == abi.MADV_WIPEONFORK && (v.pager != nil || v.file != nil || v.has(vmShared)) {
			return abi.EINVAL
		}
		return 0
	}, func(v *vma) bool {
		return v.flags&^unset|set != v.flags
	}, func(v *vma) abi.Errno {
		v.flags = v.flags&^unset | set
		return 0
	})
}

// adviseNow does what concerns pages and not VMAs, which are not split for it.
func (s *Space) adviseNow(addr, end Addr, advice int32) (e abi.Errno) {
	for a := addr; a < end; {
		i := s.above(a)
		if i == len(s.vmas) || s.vmas[i].start >= end {
			return abi.ENOMEM
		}
		v := s.vmas[i]
		if v.start > a {
			e = abi.ENOMEM
			a = v.start
		}
		to := min(end, v.end)
		switch advice {
		case abi.MADV_DONTNEED, abi.MADV_DONTNEED_LOCKED, abi.MADV_FREE:
			if v.has(vmLocked) && advice != abi.MADV_DONTNEED_LOCKED || advice == abi.MADV_FREE && v.pager != nil {
				return abi.EINVAL
			}
			s.pt.Lock()
			s.zap(a, to, notGuard)
			s.pt.Unlock()
		case abi.MADV_COLD, abi.MADV_PAGEOUT: // there is no swap
			if v.has(vmLocked) {
				return abi.EINVAL
			}
		case abi.MADV_GUARD_INSTALL:
			if v.has(vmLocked) {
				return abi.EINVAL
			}
			s.pt.Lock()
			s.zap(a, to, all)
			for x := a; x < to; x += PageSize {
				s.table.make(x).set(leafIndex(x), pteGuard)
			}
			s.pt.Unlock()
		case abi.MADV_GUARD_REMOVE:
			s.pt.Lock()
			for x := a; x < to; {
				l, from, lto := s.table.next(x, to)
				if l == nil {
					break
				}
				for i := leafIndex(from); i <= leafIndex(lto-1); i++ {
					if l.e[i]&pteGuard != 0 {
						l.set(i, 0)
					}
				}
				x = lto
			}
			s.table.prune(a, to)
			s.pt.Unlock()
		}
		a = to
	}
	return e
}

func (s *Space) advisePopulate(w Sleeper, addr, end Addr, write bool) abi.Errno {
	access := Read
	if write {
		access = Write
	}
	for a := addr; a < end; a += PageSize {
		s.mu.Lock()
		v := s.find(a)
		var p pte
		if v != nil {
			s.pt.Lock()
			p = s.table.get(a)
			s.pt.Unlock()
		}
		s.mu.Unlock()
		switch {
		case v == nil:
			return abi.ENOMEM
		case p&ptePresent != 0 && (!write || p&pteWrite != 0):
			continue
		}
		switch s.fault(a, access, w, how{most: maxWindow}) {
		case NoMapping, BeyondEnd:
			return abi.EFAULT
		case NoAccess:
			return abi.EINVAL
		case OutOfMemory:
			return abi.ENOMEM
		case Interrupted:
			return abi.EINTR
		}
	}
	return 0
}

// Prefault makes [addr, addr+length) accessible before the guest touches it, as far as that goes: whatever fails here shows when it
// is touched. A read takes what is at hand and waits for no pager. For exec, which knows what every program touches first: an
// operation costs a third of a fault.
func (s *Space) Prefault(w Sleeper, addr Addr, length uint64, write bool) {
	access, need := Read, ptePresent
	if write {
		access, need = Write, ptePresent|pteWrite
	}
	for a, end := addr&^pageMask, pageUp(addr+length); a < end; a += PageSize {
		s.pt.Lock()
		for a < end && s.table.get(a)&need == need {
			a += PageSize
		}
		s.pt.Unlock()
		if a < end {
			s.fault(a, access, w, how{most: maxWindow, cached: !write})
		}
	}
}

// adviseRemove takes the pages from the pager, VMA by VMA, with no lock held.
func (s *Space) adviseRemove(w Sleeper, addr, end Addr) (e abi.Errno) {
	for a := addr; a < end; {
		s.mu.Lock()
		i := s.above(a)
		if i == len(s.vmas) || s.vmas[i].start >= end {
			s.mu.Unlock()
			return abi.ENOMEM
		}
		v := *s.vmas[i]
		s.mu.Unlock()
		if v.start > a {
			e = abi.ENOMEM
			a = v.start
		}
		to := min(end, v.end)
		switch {
		case v.has(vmLocked), v.pager == nil:
			return abi.EINVAL
		case !v.mayWriteShared():
			return abi.EACCES
		}
		r, ok := v.pager.(Remover)
		if !ok {
			return abi.EOPNOTSUPP
		}
		if re := r.Remove(w, v.pageIndex(a), (to-a)>>PageShift); re != 0 {
			return re
		}
		a = to
	}
	return e
}

// Incore says for each page from addr on whether it is in memory: bit 0 of vec[i]. EINVAL (addr not on a page), ENOMEM (a hole,
// beyond TaskSize). mincore(2).
func (s *Space) Incore(addr Addr, vec []byte) abi.Errno {
	if addr&pageMask != 0 {
		return abi.EINVAL
	}
	if n := uint64(len(vec)); addr > TaskSize || n > (TaskSize-addr)>>PageShift {
		return abi.ENOMEM
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	end := addr + uint64(len(vec))<<PageShift
	if !s.covered(addr, end) {
		return abi.ENOMEM
	}
	clear(vec)
	for a := addr; a < end; {
		v := s.find(a)
		to := min(end, v.end)
		c, cached := v.pager.(Cacher)
		for a < to {
			n := min(len(s.around), int((to-a)>>PageShift))
			part := vec[(a-addr)>>PageShift:][:n]
			if cached {
				clear(s.around[:n])
				c.Cached(v.pageIndex(a), s.around[:n])
				for i, f := range s.around[:n] {
					if f != 0 {
						part[i] = 1
						s.mem.Unref(f)
					}
				}
			}
			s.pt.Lock()
			for i := range part {
				if s.table.get(a+Addr(i)<<PageShift).frame() != 0 {
					part[i] = 1
				}
			}
			s.pt.Unlock()
			a += Addr(n) << PageShift
		}
	}
	return 0
}

// Sync has the pagers of [addr, addr+length) write back (MS_SYNC). EINVAL (flags, addr not on a page), ENOMEM (the end wraps, a hole;
// the rest is done all the same), EBUSY (MS_INVALIDATE of locked memory), what the pager says. msync(2).
func (s *Space) Sync(w Sleeper, addr Addr, length, flags uint64) (e abi.Errno) {
	if flags&^(abi.MS_ASYNC|abi.MS_INVALIDATE|abi.MS_SYNC) != 0 || addr&pageMask != 0 || flags&(abi.MS_ASYNC|abi.MS_SYNC) == abi.MS_ASYNC|abi.MS_SYNC {
		return abi.EINVAL
	}
	end := addr + pageUp(length)
	if end < addr {
		return abi.ENOMEM
	}
	for a := addr; a < end; {
		s.mu.Lock()
		i := s.above(a)
		if i == len(s.vmas) || s.vmas[i].start >= end {
			s.mu.Unlock()
			return abi.ENOMEM
		}
		v := *s.vmas[i]
		s.mu.Unlock()
		if v.start > a {
			e = abi.ENOMEM
			a = v.start
		}
		to := min(end, v.end)
		if flags&abi.MS_INVALIDATE != 0 && v.has(vmLocked) {
			return abi.EBUSY
		}
		if y, ok := v.pager.(Syncer); ok && flags&abi.MS_SYNC != 0 && v.has(vmShared) {
			if se := y.Sync(w, v.pageIndex(a), (to-a)>>PageShift); se != 0 {
				return se
			}
		}
		a = to
	}
	return e
}

// Lock is mlock2(2): the pages of [addr, addr+length) count as locked, and are faulted in unless onFault is set. There is no
// swap, so that nothing else comes of it. ENOMEM (RLIMIT_MEMLOCK, a hole, MaxVMAs), EPERM (RLIMIT_MEMLOCK is 0), EINVAL
// (length wraps), EAGAIN (some could not be faulted in).
func (s *Space) Lock(w Sleeper, addr Addr, length uint64, onFault bool) abi.Errno {
	flags := vmLocked
	if onFault {
		flags |= vmLockOnFault
	}
	start, end, e := lockRange(addr, length)
	s.mu.Lock()
	if !s.mayLock() {
		s.mu.Unlock()
		return abi.EPERM
	}
	if e == 0 && start < end {
		more := uint64(0)
		for i := s.above(start); i < len(s.vmas) && s.vmas[i].start < end; i++ {
			if v := s.vmas[i]; !v.has(vmLocked) {
				more += (min(end, v.end) - max(start, v.start)) >> PageShift
			}
		}
		if !s.lockFits(more) {
			e = abi.ENOMEM
		} else {
			e = s.setLocked(start, end, flags)
		}
	}
	s.mu.Unlock()
	if e == 0 && !onFault && w != nil {
		return s.populateLocked(w, start, end)
	}
	return e
}

func (s *Space) populateLocked(w Sleeper, start, end Addr) abi.Errno {
	switch s.populate(w, start, end) {
	case Resolved:
		return 0
	case Interrupted:
		return abi.EINTR
	case OutOfMemory:
		return abi.EAGAIN
	}
	return abi.ENOMEM
}

func lockRange(addr Addr, length uint64) (start, end Addr, e abi.Errno) {
	length = pageUp(length + addr&pageMask)
	start = addr &^ pageMask
	end = start + length
	if end < start {
		return 0, 0, abi.EINVAL
	}
	return start, end, 0
}

func (s *Space) setLocked(start, end Addr, flags vmFlags) abi.Errno {
	return s.eachPart(start, end, true, func(*vma) abi.Errno { return 0 }, func(v *vma) bool {
		return v.flags&(vmLocked|vmLockOnFault) != flags && !v.has(vmDontExpand)
	}, func(v *vma) abi.Errno {
		s.account(v, v.pages(), -1)
		v.flags = v.flags&^(vmLocked|vmLockOnFault) | flags
		s.account(v, v.pages(), 1)
		return 0
	})
}

// Unlock is munlock(2): ENOMEM (a hole), EINVAL (length wraps).
func (s *Space) Unlock(addr Addr, length uint64) abi.Errno {
	start, end, e := lockRange(addr, length)
	if e != 0 || start == end {
		return e
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.setLocked(start, end, 0)
}

// LockAll is mlockall(2) with abi.MCL_*: EINVAL (flags), EPERM and ENOMEM as Lock.
func (s *Space) LockAll(w Sleeper, flags uint64) abi.Errno {
	if flags == 0 || flags&^(abi.MCL_CURRENT|abi.MCL_FUTURE|abi.MCL_ONFAULT) != 0 || flags == abi.MCL_ONFAULT {
		return abi.EINVAL
	}
	lock := vmLocked
	if flags&abi.MCL_ONFAULT != 0 {
		lock |= vmLockOnFault
	}
	s.mu.Lock()
	if !s.mayLock() {
		s.mu.Unlock()
		return abi.EPERM
	}
	if flags&abi.MCL_CURRENT != 0 && !s.limits.MayLock && s.total > s.limits.Memlock>>PageShift {
		s.mu.Unlock()
		return abi.ENOMEM
	}
	s.future = 0
	if flags&abi.MCL_FUTURE != 0 {
		s.future = lock
	}
	var e abi.Errno
	if flags&abi.MCL_CURRENT != 0 {
		s.lockEach(lock)
	}
	s.mu.Unlock()
	if flags&(abi.MCL_CURRENT|abi.MCL_ONFAULT) == abi.MCL_CURRENT && w != nil {
		s.populateAll(w) // errors are ignored, as Linux does
	}
	return e
}

// UnlockAll is munlockall(2).
func (s *Space) UnlockAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.future = 0
	s.lockEach(0)
}

func (s *Space) lockEach(flags vmFlags) {
	for _, v := range s.vmas {
		if !v.has(vmDontExpand) {
			s.account(v, v.pages(), -1)
			v.flags = v.flags&^(vmLocked|vmLockOnFault) | flags
			s.account(v, v.pages(), 1)
		}
	}
	s.merge(1, len(s.vmas))
}

// populateAll faults in every VMA that is locked, one at a time: the list may change meanwhile.
func (s *Space) populateAll(w Sleeper) {
	for a := Addr(0); ; {
		s.mu.Lock()
		i := s.above(a)
		if i == len(s.vmas) {
			s.mu.Unlock()
			return
		}
		v := *s.vmas[i]
		s.mu.Unlock()
		if v.has(vmLocked) {
			s.populate(w, max(a, v.start), v.end)
		}
		a = v.end
	}
}

// NameAnon is prctl(PR_SET_VMA_ANON_NAME): /proc/PID/maps shows [anon:name]; an empty name is none. EINVAL (addr not on a page, length
// wraps), ENOMEM (a hole), EBADF (a mapping of a file).
func (s *Space) NameAnon(addr Addr, length uint64, name string) abi.Errno {
	end := addr + pageUp(length)
	if addr&pageMask != 0 || end < addr || length != 0 && end == addr {
		return abi.EINVAL
	}
	if end == addr {
		return 0
	}
	if name != "" {
		name = "[anon:" + name + "]"
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.eachPart(addr, end, false, func(v *vma) abi.Errno {
		if v.file != nil || v.pager != nil {
			return abi.EBADF
		}
		return 0
	}, func(v *vma) bool { return v.name != name }, func(v *vma) abi.Errno {
		v.name = name
		return 0
	})
}
