package mm

import (
	"fmt"

	"goum/arch/abi"
	"goum/physmem"
	"goum/stub"
)

// Audit looks at all of s and returns what contradicts the invariants, nil if nothing does. It takes as long as s is large: for
// tests and debuggers.
func (s *Space) Audit() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pt.Lock()
	defer s.pt.Unlock()
	if err := s.auditVMAs(); err != nil {
		return err
	}
	if err := s.auditTable(); err != nil {
		return err
	}
	return s.auditOps()
}

func (s *Space) auditVMAs() error {
	var total, stack, data, exec, locked uint64
	at := Addr(MinAddr)
	for _, v := range s.vmas {
		if v.start < at || v.end <= v.start || v.end > TaskSize || (v.start|v.end)&pageMask != 0 {
			return fmt.Errorf("mm: VMA %#x-%#x after %#x", v.start, v.end, at)
		}
		if v.prot&^v.may != 0 {
			return fmt.Errorf("mm: VMA %#x has protection %d of %d", v.start, v.prot, v.may)
		}
		at = v.end
		n := v.pages()
		total += n
		switch {
		case v.isStack():
			stack += n
		case v.isExec():
			exec += n
		case v.isData():
			data += n
		}
		if v.has(vmLocked) {
			locked += n
		}
	}
	if total != s.total || stack != s.stack || data != s.data || exec != s.exec || locked != s.locked {
		return fmt.Errorf("mm: sums %d %d %d %d %d, VMAs have %d %d %d %d %d", s.total, s.stack, s.data, s.exec, s.locked, total, stack, data, exec, locked)
	}
	if len(s.vmas) > MaxVMAs+1 {
		return fmt.Errorf("mm: %d VMAs", len(s.vmas))
	}
	return nil
}

func (s *Space) auditTable() error {
	var anon, filed uint64
	nodes := 0
	for ui, u := range s.table.top {
		if u == nil {
			continue
		}
		nodes++
		mids := 0
		for mi, m := range u.m {
			if m == nil {
				continue
			}
			nodes++
			mids++
			leaves := 0
			for li, l := range m.l {
				if l == nil {
					continue
				}
				nodes++
				leaves++
				base := Addr(ui)*upperSpan + Addr(mi)*midSpan + Addr(li)*leafSpan
				n := 0
				for i, p := range l.e {
					if p == 0 {
						continue
					}
					n++
					if err := s.auditEntry(base+Addr(i)<<PageShift, p); err != nil {
						return err
					}
					switch f := p.frame(); {
					case f == 0:
					case p&pteAnon != 0:
						anon++
					case !s.mem.IsZero(f):
						filed++
					}
				}
				if n != l.n || n == 0 {
					return fmt.Errorf("mm: leaf of %#x has %d entries and says %d", base, n, l.n)
				}
			}
			if leaves != m.n || leaves == 0 {
				return fmt.Errorf("mm: a directory has %d leaves and says %d", leaves, m.n)
			}
		}
		if mids != u.n || mids == 0 {
			return fmt.Errorf("mm: an upper directory has %d entries and says %d", mids, u.n)
		}
	}
	if nodes != s.table.nodes || anon != s.anon || filed != s.filed {
		return fmt.Errorf("mm: %d nodes, %d private and %d other pages; accounts say %d, %d, %d", nodes, anon, filed, s.table.nodes, s.anon, s.filed)
	}
	return nil
}

func (s *Space) auditEntry(a Addr, p pte) error {
	v := s.find(a)
	bad := func(what string) error { return fmt.Errorf("mm: entry %#x of %#x: %s", uint64(p), a, what) }
	if v == nil {
		return bad("no VMA")
	}
	f := p.frame()
	if f == 0 {
		if p != pteGuard {
			return bad("no frame")
		}
		return nil
	}
	allowed := v.prot
	if allowed != 0 {
		allowed |= abi.PROT_READ
	}
	switch {
	case p.prot()&^allowed != 0:
		return bad("grants more than its VMA")
	case v.prot != 0 && p&ptePresent == 0:
		return bad("not present")
	case p.hostProt()&^p.prot() != 0:
		return bad("the host grants more than the page table")
	case s.mem.IsZero(f) && p&(pteWrite|pteAnon) != 0:
		return bad("a zero page is private or writable")
	case !s.mem.IsZero(f) && s.mem.RefCount(f) < 1:
		return bad("a free frame")
	case !v.has(vmShared) && p&pteWrite != 0 && (p&pteAnon == 0 || s.mem.RefCount(f) != 1):
		return bad("writable and not its own")
	case v.has(vmShared) && p&pteAnon != 0:
		return bad("private in a shared mapping")
	}
	return nil
}

func (s *Space) auditOps() error {
	l := &s.ops
	var seq uint64
	for i := range l.n {
		w := l.at(i)
		if w.seq <= seq || w.seq > l.last || w.seq <= l.taken {
			return fmt.Errorf("mm: operation %d has number %d after %d, last %d, taken %d", i, w.seq, seq, l.last, l.taken)
		}
		seq = w.seq
		if w.op.Kind == stub.OpMap && !s.grants(&w.op) {
			return fmt.Errorf("mm: waiting operation %+v is not authorised", w.op)
		}
	}
	if l.done > l.taken || l.taken > l.last {
		return fmt.Errorf("mm: done %d, taken %d, last %d", l.done, l.taken, l.last)
	}
	bound := l.vmas
	if n := s.recount() - l.n; n > bound {
		return fmt.Errorf("mm: %d host mappings, estimated %d", n, bound)
	}
	l.vmas = bound
	var err error
	l.held.Each(func(seq uint64, f physmem.Frame, n int) {
		for i := range physmem.Frame(n) {
			if s.mem.RefCount(f+i) < 1 {
				err = fmt.Errorf("mm: frame %d in quarantine for %d is free", f+i, seq)
			}
		}
	})
	return err
}
