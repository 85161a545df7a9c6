package mm

import (
	"slices"

	"goum/arch/abi"
	"goum/physmem"
)

// Fork makes a copy of s with one user, for a parent with one thread. Small sets of private pages are copied at once, the rest is
// shared copy-on-write; both sides see their own memory from then on. ENOMEM: s is gone.
//
// What the parent loses by it (write access to what is now shared) is among its waiting operations when Fork returns; they
// are made before its thread runs again. The child starts with operations for what the parent had mapped, largest first: each
// saves it a fault.
func (s *Space) Fork() (*Space, abi.Errno) { return s.fork(false) }

// ForkShared is Fork for a parent with several threads, which may be writing to what is being shared. The caller has the
// parent's operations proven (flushed and reported) before the child runs. Until then what the monitor writes for the parent goes where
// its threads write, too, and belongs to the time before the fork.
func (s *Space) ForkShared() (*Space, abi.Errno) { return s.fork(true) }

func (s *Space) fork(threads bool) (*Space, abi.Errno) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dead {
		return nil, abi.ENOMEM
	}
	c := NewSpace(s.mem, s.limits)
	c.layout, c.brk = s.layout, s.brk
	c.vmas = make([]*vma, 0, len(s.vmas))
	for _, v := range s.vmas {
		if v.has(vmDontFork) {
			continue
		}
		w := *v
		w.flags &^= vmLocked | vmLockOnFault // locks are not inherited: mlock(2)
		c.vmas = append(c.vmas, &w)
		c.mapped(&w, w.start, w.end)
		c.account(&w, w.pages(), 1)
	}
	var pre prefill
	s.pt.Lock()
	defer s.pt.Unlock()
	if !s.ops.forking() { // the child of an earlier fork runs: its marks must not pass for this one's
		s.clearBits(0, TaskSize, pteLost)
	}
	for _, v := range c.vmas {
		if !v.has(vmWipeOnFork) && s.forkPages(c, v, &pre) && threads {
			s.ops.forked = s.ops.revoke
		}
	}
	runs := pre.runs[:pre.n]
	slices.SortFunc(runs, func(a, b hostRun) int {
		if a.a < b.a {
			return -1
		}
		return 1
	})
	for _, r := range runs {
		c.mapRange(r.a, r.n)
	}
	return c, 0
}

// prefill collects the largest runs that the child should have mapped from the start.
type prefill struct {
	runs [forkPrefill]hostRun
	n    int

	// the run that is being made
	cur  hostRun
	last pte
}

// add takes the page at a, whose entry in the child is p, into account.
func (f *prefill) add(a Addr, p pte) {
	if f.cur.n > 0 && f.cur.a+Addr(f.cur.n)<<PageShift == a && f.last.frame()+1 == p.frame() && f.last.prot() == p.prot() {
		f.cur.n++
	} else {
		f.flush()
		f.cur = hostRun{a, 1}
	}
	f.last = p
}

func (f *prefill) flush() {
	if f.cur.n == 0 {
		return
	}
	if f.cur.n < forkPrefillLeast && f.last&pteAnon == 0 {
		f.cur.n = 0
		return
	}
	f.cur.n = min(f.cur.n, forkPrefillMost)
	if f.n < forkPrefill {
		f.runs[f.n] = f.cur
		f.n++
	} else {
		least := 0
		for i := range f.runs {
			if f.runs[i].n < f.runs[least].n {
				least = i
			}
		}
		if f.runs[least].n < f.cur.n {
			f.runs[least] = f.cur
		}
	}
	f.cur.n = 0
}

// forkPages gives c the pages of its VMA v, and says whether the parent's mappings lose anything by it. c is nobody else's yet: its
// lock is not needed.
func (s *Space) forkPages(c *Space, v *vma, pre *prefill) bool {
	private := !v.has(vmShared)
	copying := private && s.fewPrivate(v)
	var room physmem.Frame // frames for copies: one run, so that few operations map them
	left := 0
	var lo, hi Addr // what the host maps writable for s and must not any more
	runs, pages := 0, 0
	var prev pte
	for a := v.start; a < v.end; {
		l, from, to := s.table.next(a, v.end)
		if l == nil {
			break
		}
		cl := c.table.make(from)
		for x := from; x < to; x += PageSize {
			i := leafIndex(x)
			p := l.e[i]
			if p == 0 {
				continue
			}
			f := p.frame()
			q := p &^ (pteHostAll | pteLost)
			if copying && p&pteAnon != 0 {
				if left == 0 {
					var e abi.Errno
					if room, left, e = s.mem.AllocRun(s.countAnon(x, v.end, forkCopy), false); e != 0 {
						copying = false // share, then: it takes no frames now
					}
				}
			}
			switch {
			case f == 0: // a guard
			case copying && p&pteAnon != 0:
				copy(s.mem.Bytes(room), s.mem.Bytes(f))
				q = makePTE(room, v.prot) | pteAnon | pteDirty
				room++
				left--
				s.stats.Copies++
			default:
				s.mem.Ref(f)
				if private {
					q &^= pteWrite
				}
				if private && p&pteWrite != 0 {
					s.stats.Forked++
					l.e[i] = p &^ pteWrite
					if p&pteHostW != 0 {
						l.e[i] |= pteLost
						if hi == 0 {
							lo = x
						}
						if hi != x || prev.frame()+1 != f || prev.prot() != p.prot() {
							runs++
						}
						pages++
						prev, hi = p, x+PageSize
					}
				}
			}
			cl.set(i, q)
			if f != 0 {
				c.remember(q)
				if p&pteHost != 0 && q&ptePresent != 0 {
					pre.add(x, q)
				}
			}
		}
		a = to
	}
	if left > 0 {
		s.mem.UnrefRun(room, left)
	}
	pre.flush()
	c.table.prune(v.start, v.end)
	if runs == 0 {
		return false
	}
	if runs <= 4 && pages <= maxWindow {
		s.demote(lo, hi)
	} else { // one unmapping is cheaper than mapping it all read-only; what is needed faults in by windows
		s.withdraw(lo, hi)
	}
	return true
}

// fewPrivate says whether v has so few private pages that copying is cheaper than the faults that sharing would cost.
func (s *Space) fewPrivate(v *vma) bool { return s.countAnon(v.start, v.end, forkCopy+1) <= forkCopy }

// countAnon counts the private pages of [start, end), up to most.
func (s *Space) countAnon(start, end Addr, most int) int {
	n := 0
	for a := start; a < end && n < most; {
		l, from, to := s.table.next(a, end)
		if l == nil {
			break
		}
		for i := leafIndex(from); i <= leafIndex(to-1) && n < most; i++ {
			if l.e[i]&pteAnon != 0 {
				n++
			}
		}
		a = to
	}
	return n
}

// demote maps read-only what fork has just taken the write bit from in [lo, hi).
func (s *Space) demote(lo, hi Addr) {
	for a := lo; a < hi; {
		p := s.table.get(a)
		n := 1
		if p&(pteLost|pteHostW) == pteLost|pteHostW {
			for b := a + PageSize; b < hi; b += PageSize {
				q := s.table.get(b)
				if q&(pteLost|pteHostW) != pteLost|pteHostW || q.frame() != p.frame()+physmem.Frame(n) || q.prot() != p.prot() {
					break
				}
				n++
			}
			s.remapRange(a, n, true)
		}
		a += Addr(n) << PageShift
	}
}
