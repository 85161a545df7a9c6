package mm

import "goum/arch/abi"

// Brk moves the end of the heap to addr and returns where it is then: addr if that was possible, else where it was. There is
// no error; brk(2) of the C library makes ENOMEM of it.
func (s *Space) Brk(addr Addr) Addr {
	s.mu.Lock()
	defer s.mu.Unlock()
	start := s.layout.StartBrk
	if start == 0 || addr < start || addr > TaskSize-PageSize {
		return s.brk
	}
	if d := s.limits.Data; addr-start+(s.layout.EndData-s.layout.StartData) > d {
		return s.brk
	}
	from, to := pageUp(s.brk), pageUp(addr)
	switch {
	case to < from:
		if s.unmapLocked(to, from) != 0 {
			return s.brk
		}
	case to > from:
		if i := s.above(from); i < len(s.vmas) && s.vmas[i].floor() < to+PageSize {
			return s.brk
		}
		n := (to - from) >> PageShift
		v := &vma{start: from, end: to, prot: abi.PROT_READ | abi.PROT_WRITE, may: 7, flags: s.future | vmAccount}
		if len(s.vmas) > MaxVMAs || s.dead || v.has(vmLocked) && !s.lockFits(n) || !s.fits(v.prot, v.flags, n, 0) || !s.promises(n) {
			return s.brk
		}
		s.insert(v)
	}
	s.brk = addr
	return addr
}
