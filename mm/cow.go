package mm

import (
	"goum/arch/abi"
	"goum/physmem"
)

func isCopied(p pte) bool { return p&(pteAnon|pteWrite) == pteAnon|pteWrite }

// notified makes a page of a shared mapping writable once its pager knows of the write.
func (s *Space) notified(v *vma, addr Addr, p pte, got *fetched) (FaultResult, bool) {
	if !v.has(vmNotify) { // only the entry lags behind
		s.setEntry(addr, p|pteWrite|pteDirty)
		s.mapRange(addr, 1)
		return Resolved, false
	}
	if got.frame == 0 || !got.write || got.pager != v.pager || got.index != v.pageIndex(addr) || got.gen != s.discarded {
		return 0, true
	}
	if got.frame == p.frame() {
		s.setEntry(addr, p|pteWrite|pteDirty)
		s.mapRange(addr, 1)
		return Resolved, false
	}
	q := makePTE(got.frame, v.prot) | pteDirty
	got.frame = 0
	s.setEntry(addr, q)
	s.dispose(p.frame(), 1, s.mapRange(addr, 1))
	return Resolved, false
}

func (s *Space) setEntry(addr Addr, p pte) { s.table.make(addr).set(leafIndex(addr), p) }

// copyOnWrite makes the page of p writable: as it is if nobody else has it, else a copy.
func (s *Space) copyOnWrite(v *vma, addr Addr, p pte, h how) FaultResult {
	writes := v.prot&abi.PROT_WRITE != 0
	lo, hi := bounds(v, addr)
	if p&pteAnon != 0 && s.mem.RefCount(p.frame()) == 1 {
		if !writes {
			return Resolved // ptrace writes to it without being asked again
		}
		s.takeOver(addr, lo, hi)
		return Resolved
	}
	if p&pteAnon != 0 && s.ops.exposed && (s.ops.done < s.ops.loss || s.ops.hold > s.ops.done) {
		// A thread on another vCPU may still write to the frame through a mapping that fork has taken away: a copy made
		// now would lose what it writes. The instruction runs again once the operation is proven. The monitor's own write
		// belongs to the time before the fork just as well, and goes to the frame (guest.go).
		if !h.kernel || p&pteLost != 0 && s.ops.forking() {
			return Resolved
		}
	}
	size := 1
	if n := s.before(addr, v.start, maxCopy, isCopied); n > 0 {
		size = min(pow2(2*n), maxCopy)
	} else if v.pages() <= forkCopy { // small data segments are written all over
		size = maxCopy
	}
	if !writes {
		size = 1
	}
	l := s.table.find(addr)
	first := leafIndex(addr)
	size = min(size, int((hi-addr)>>PageShift))
	n := 1
	for n < size {
		q := l.e[first+n]
		f := q.frame()
		if q&ptePresent == 0 || q&(pteWrite|pteGuard|pteLost) != p&pteLost || s.mem.IsZero(f) || q&pteAnon != p&pteAnon || q&pteAnon != 0 && s.mem.RefCount(f) == 1 {
			break
		}
		n++
	}
	f, n, e := s.mem.AllocRun(n, false)
	if e != 0 {
		return OutOfMemory
	}
	var old [maxCopy]physmem.Frame
	for k := range n {
		q := l.e[first+k]
		old[k] = q.frame()
		nf := f + physmem.Frame(k)
		copy(s.mem.Bytes(nf), s.mem.Bytes(old[k]))
		s.forget(q)
		q = makePTE(nf, v.prot) | pteAnon | pteDirty
		s.remember(q)
		l.set(first+k, q)
	}
	s.stats.Copies += uint64(n)
	var seq uint64
	if v.prot != 0 {
		seq = s.mapRange(addr, n)
	} else {
		seq = s.revokeRange(addr, addr+Addr(n)<<PageShift)
	}
	for _, g := range old[:n] {
		s.dispose(g, 1, seq)
	}
	return Resolved
}

// takeOver makes a run of private pages writable that nobody else has any more, addr's among them.
func (s *Space) takeOver(addr, lo, hi Addr) {
	l := s.table.find(addr)
	p := l.e[leafIndex(addr)]
	mine := func(a Addr, want physmem.Frame) bool {
		q := l.e[leafIndex(a)]
		return q.frame() == want && q&(pteAnon|ptePresent|pteWrite|pteNX) == p&(pteAnon|ptePresent|pteWrite|pteNX) && s.mem.RefCount(want) == 1
	}
	start, end := addr, addr+PageSize
	f := p.frame()
	for start > lo && (addr-start)>>PageShift < maxWindow/2 && mine(start-PageSize, f-physmem.Frame((addr-start)>>PageShift)-1) {
		start -= PageSize
	}
	for end < hi && (end-addr)>>PageShift < maxWindow/2 && mine(end, f+physmem.Frame((end-addr)>>PageShift)) {
		end += PageSize
	}
	for a := start; a < end; a += PageSize {
		i := leafIndex(a)
		l.e[i] = l.e[i]&^pteLost | pteWrite | pteDirty
	}
	s.mapRange(start, int((end-start)>>PageShift))
}
