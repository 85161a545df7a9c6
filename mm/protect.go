package mm

import "goum/arch/abi"

// Protect changes the protection of [addr, addr+length), VMA by VMA: what stands before an error stays changed. EINVAL (addr
// not on a page, unknown bits, PROT_GROWSDOWN on something else), ENOMEM (a hole, length wraps, MaxVMAs, RLIMIT_DATA, more than
// all memory), EACCES (the mapping may never have the protection). See mprotect(2).
func (s *Space) Protect(addr Addr, length, prot uint64) abi.Errno {
	grows := prot & (abi.PROT_GROWSDOWN | abi.PROT_GROWSUP)
	prot &^= abi.PROT_GROWSDOWN | abi.PROT_GROWSUP
	if grows == abi.PROT_GROWSDOWN|abi.PROT_GROWSUP || addr&pageMask != 0 {
		return abi.EINVAL
	}
	if length == 0 {
		return 0
	}
	end := addr + pageUp(length)
	if end <= addr {
		return abi.ENOMEM
	}
	const sem = 8 // PROT_SEM, accepted and without effect
	if prot&^(abi.PROT_READ|abi.PROT_WRITE|abi.PROT_EXEC|sem) != 0 {
		return abi.EINVAL
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	i := s.above(addr)
	if i == len(s.vmas) {
		return abi.ENOMEM
	}
	switch v := s.vmas[i]; {
	case grows == abi.PROT_GROWSDOWN:
		if v.start >= end {
			return abi.ENOMEM
		}
		addr = v.start
		if !v.has(vmGrowsDown) {
			return abi.EINVAL
		}
	case v.start > addr:
		return abi.ENOMEM
	case grows == abi.PROT_GROWSUP: // no VMA of x86-64 grows up
		return abi.EINVAL
	}
	return s.eachPart(addr, end, true, func(v *vma) abi.Errno {
		if uint8(prot&7)&^v.may != 0 {
			return abi.EACCES
		}
		return 0
	}, func(v *vma) bool { return v.prot != uint8(prot&7) }, func(v *vma) abi.Errno {
		p := uint8(prot & 7)
		if !v.isData() && isData(p, v.flags) && s.data+v.pages() > s.limits.Data>>PageShift {
			return abi.ENOMEM
		}
		if !accountable(v.prot, v.flags) && accountable(p, v.flags) && !s.promises(v.pages()) {
			return abi.ENOMEM
		}
		s.account(v, v.pages(), -1)
		v.prot = p
		if accountable(p, v.flags) {
			v.flags |= vmAccount
		} else if v.pager == nil && p&abi.PROT_WRITE == 0 && s.untouched(v) {
			v.flags &^= vmAccount
		}
		s.account(v, v.pages(), 1)
		s.pt.Lock()
		s.protectEntries(v)
		s.pt.Unlock()
		return 0
	})
}

// untouched says whether v has no private page.
func (s *Space) untouched(v *vma) bool {
	s.pt.Lock()
	defer s.pt.Unlock()
	return s.countAnon(v.start, v.end, 1) == 0
}

// eachPart calls change for the part of each VMA that lies in [start, end), cut out of it, if wanted says so; then neighbours
// are merged again. check comes first for each VMA and ends the walk by an error. A hole is ENOMEM, at once if stop is set, else at the end, as madvise(2) does it.
func (s *Space) eachPart(start, end Addr, stop bool, check func(*vma) abi.Errno, wanted func(*vma) bool, change func(*vma) abi.Errno) (e abi.Errno) {
	first, last := -1, -1 // those that were cut out
	for a := start; a < end; {
		i := s.above(a)
		if i == len(s.vmas) || s.vmas[i].start >= end {
			e = abi.ENOMEM
			break
		}
		v := s.vmas[i]
		if v.start > a {
			e = abi.ENOMEM
			if stop {
				break
			}
			a = v.start
		}
		if ce := check(v); ce != 0 {
			e = ce
			break
		}
		next := min(end, v.end)
		if wanted(v) {
			cuts := 0
			if v.start < a {
				cuts++
			}
			if next < v.end {
				cuts++
			}
			if cuts > 0 && len(s.vmas)+cuts > MaxVMAs {
				e = abi.ENOMEM
				break
			}
			i, _ = s.isolate(a, next)
			if last = i; first < 0 {
				first = i
			}
			if ce := change(s.vmas[i]); ce != 0 {
				e = ce
				break
			}
		}
		a = next
	}
	if first >= 0 {
		s.merge(first, last+1)
	}
	return e
}

// hostRun is a run of pages that the host maps, contiguous in frames too.
type hostRun struct {
	a Addr
	n int
}

// protectEntries brings the entries of v to its protection, and the host's mappings after them.
func (s *Space) protectEntries(v *vma) {
	var runs [protectOps]hostRun
	nruns, lost := 0, false
	var lo, hi Addr
	var prev pte
	for a := v.start; a < v.end; {
		l, from, to := s.table.next(a, v.end)
		if l == nil {
			break
		}
		for x := from; x < to; x += PageSize {
			i := leafIndex(x)
			p := l.e[i]
			if p == 0 || p&pteGuard != 0 {
				continue
			}
			q := p&^(pteProtBits|pteLost) | protBits(v.prot)
			if q&pteWrite != 0 && !s.writable(v, p) {
				q &^= pteWrite
			}
			l.e[i] = q
			if q&pteHost == 0 {
				continue
			}
			lost = lost || q.hostProt()&^q.prot() != 0
			if hi == 0 {
				lo = x
			}
			if nruns > 0 && nruns <= protectOps && hi == x && prev.frame()+1 == q.frame() && prev.prot() == q.prot() {
				runs[nruns-1].n++
			} else {
				if nruns < protectOps {
					runs[nruns] = hostRun{x, 1}
				}
				nruns++
			}
			prev, hi = q, x+PageSize
		}
		a = to
	}
	switch {
	case nruns == 0:
	case v.prot == 0 || lost && nruns > protectOps:
		s.withdraw(lo, hi)
	case nruns <= protectOps:
		for _, r := range runs[:nruns] {
			s.remapRange(r.a, r.n, lost)
		}
	}
}

// writable says whether the page of p, whose VMA v is writable, can be written without asking anybody.
func (s *Space) writable(v *vma, p pte) bool {
	if v.has(vmShared) {
		return !v.has(vmNotify) || p&pteDirty != 0
	}
	return p&pteAnon != 0 && s.mem.RefCount(p.frame()) == 1
}

// remapRange is mapRange for pages that stay; lost: the host's mapping loses a right by it.
func (s *Space) remapRange(a Addr, n int, lost bool) {
	if seq := s.mapRange(a, n); lost && s.ops.exposed {
		s.ops.revoke = max(s.ops.revoke, seq)
		s.ops.loss = max(s.ops.loss, seq)
	}
}
