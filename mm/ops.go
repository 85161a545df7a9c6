package mm

import (
	"goum/physmem"
	"goum/stub"
)

// opList is the difference between the page table and what the host maps for the stub, as operations in the order in which
// they must be made, each with a sequence number that only grows. Guarded by the Space's pt.
//
// How a frame is known to be out of a stub's reach: every change that takes a right away from a page that the host may
// map queues an operation, and the frame (or whoever would copy it) waits for its number. An operation on its way cannot be
// changed; one that still waits here is, when the page table moves on: a mapping that is no longer right
// becomes an unmapping in its place. So what NextOps hands out is authorised at that moment.
type opList struct {
	ring [opsMax]waiting
	head int
	n    int

	last  uint64 // the number given out last
	taken uint64 // of the last operation that NextOps handed out
	done  uint64 // Proven: all up to here have returned
	hold  uint64 // an operation was refused: nothing is released before this one is proven

	revoke uint64 // the last operation that takes a right away
	loss   uint64 // the last one that takes it from a page that stays
	forked uint64 // the last one of a ForkShared: until it is proven, its child does not run

	exposed bool // the stub may have mappings at all
	vmas    int  // upper bound of the host's mappings

	held physmem.Quarantine
}

type waiting struct {
	op  stub.Op
	seq uint64
}

// forking says whether a ForkShared's operations are not proven yet.
func (l *opList) forking() bool { return l.exposed && l.done < l.forked }

func (l *opList) at(i int) *waiting { return &l.ring[(l.head+i)%opsMax] }

func (l *opList) tail() *waiting {
	if l.n == 0 {
		return nil
	}
	return l.at(l.n - 1)
}

// pushOp appends an operation and returns its number. Neighbours are joined, and what the new one covers whole is replaced.
func (s *Space) pushOp(op stub.Op) uint64 {
	l := &s.ops
	for t := l.tail(); t != nil; t = l.tail() {
		// Nobody waits for a number between the replaced operations' and the new one's, for nothing with such a number is left.
		if t.op.Addr < op.Addr || t.op.Addr+t.op.Len > op.Addr+op.Len {
			break
		}
		l.n--
	}
	if t := l.tail(); t != nil && t.op.Kind == op.Kind {
		if op.Kind == stub.OpUnmap && op.Addr <= t.op.Addr+t.op.Len && t.op.Addr <= op.Addr+op.Len {
			end := max(op.Addr+op.Len, t.op.Addr+t.op.Len)
			t.op.Addr = min(op.Addr, t.op.Addr)
			t.op.Len = end - t.op.Addr
			return l.renumber(t)
		}
		if op.Kind == stub.OpMap && op.Prot == t.op.Prot {
			if t.op.Addr+t.op.Len == op.Addr && t.op.Off+t.op.Len == op.Off {
				t.op.Len += op.Len
				return l.renumber(t)
			}
			if op.Addr+op.Len == t.op.Addr && op.Off+op.Len == t.op.Off {
				t.op.Addr, t.op.Off, t.op.Len = op.Addr, op.Off, t.op.Len+op.Len
				return l.renumber(t)
			}
		}
	}
	if op.Kind == stub.OpMap {
		l.vmas += 2
	} else {
		l.vmas++
	}
	if l.n == opsMax || l.vmas > hostVMAMax && s.recount() > hostVMAKeep {
		s.dropAll()
		if op.Kind == stub.OpUnmap {
			return l.last
		}
	}
	l.last++
	*l.at(l.n) = waiting{op, l.last}
	l.n++
	return l.last
}

// renumber gives the newest operation a new number: some may wait for one that it has just replaced.
func (l *opList) renumber(t *waiting) uint64 {
	l.last++
	t.seq = l.last
	return t.seq
}

// recount sets the number of host mappings to what the page table says: it only ever overestimates in between.
func (s *Space) recount() int {
	n := 0
	var prev pte
	var at Addr
	for a := Addr(0); a < TaskSize; {
		l, from, to := s.table.next(a, TaskSize)
		if l == nil {
			break
		}
		for x := from; x < to; x += PageSize {
			p := l.e[leafIndex(x)]
			if p&pteHost == 0 {
				continue
			}
			if at != x || prev&pteHostAll != p&pteHostAll || prev.frame()+1 != p.frame() {
				n++
			}
			prev, at = p, x+PageSize
		}
		a = to
	}
	s.ops.vmas = n + s.ops.n
	return n
}

// dropAll replaces the whole list by one operation that unmaps all of the guest's range. Frames stay where they are.
func (s *Space) dropAll() {
	l := &s.ops
	l.n = 0
	s.clearHost(0, TaskSize)
	l.vmas = 1
	s.stats.Drops++
	if !l.exposed {
		return
	}
	l.last++
	*l.at(0) = waiting{stub.Op{Kind: stub.OpUnmap, Len: stub.Start}, l.last}
	l.n = 1
	l.revoke, l.loss = l.last, l.last
	if l.forking() {
		l.forked = l.last
	}
}

// clearHost forgets that the host maps anything of [start, end).
func (s *Space) clearHost(start, end Addr) { s.clearBits(start, end, pteHostAll) }

func (s *Space) clearBits(start, end Addr, bits pte) {
	for a := start; a < end; {
		l, from, to := s.table.next(a, end)
		if l == nil {
			return
		}
		for i := leafIndex(from); i <= leafIndex(to-1); i++ {
			l.e[i] &^= bits
		}
		a = to
	}
}

// settle makes the waiting mappings that overlap [start, end) unmappings: what they map is about to change. Their other pages
// fault anew. That keeps the number, and with it whoever waits for what the mapping would have covered.
func (s *Space) settle(start, end Addr) {
	l := &s.ops
	for i := range l.n {
		w := l.at(i)
		if w.op.Kind == stub.OpMap && w.op.Addr < end && start < w.op.Addr+w.op.Len {
			w.op = stub.Op{Kind: stub.OpUnmap, Addr: w.op.Addr, Len: w.op.Len}
			s.clearHost(w.op.Addr, w.op.Addr+w.op.Len)
			l.revoke, l.loss = max(l.revoke, w.seq), max(l.loss, w.seq)
		}
	}
}

// revokeRange takes the host's mappings of [start, end) away and returns the number to wait for, 0 if the stub never had one.
func (s *Space) revokeRange(start, end Addr) uint64 {
	s.settle(start, end)
	s.clearHost(start, end)
	if !s.ops.exposed {
		return 0
	}
	seq := s.pushOp(stub.Op{Kind: stub.OpUnmap, Addr: start, Len: end - start})
	s.ops.revoke = max(s.ops.revoke, seq)
	return seq
}

// withdraw is revokeRange for pages that stay in the page table.
func (s *Space) withdraw(start, end Addr) uint64 {
	seq := s.revokeRange(start, end)
	s.ops.loss = max(s.ops.loss, seq)
	return seq
}

// mapRange has the host map n pages at a as the page table does: contiguous frames from that of a on, all with a's
// protection. It returns the number to wait for by those who are affected by what was mapped there before.
func (s *Space) mapRange(a Addr, n int) uint64 {
	p := s.table.get(a)
	end := a + Addr(n)<<PageShift
	prot := p.prot()
	s.settle(a, end)
	seq := s.pushOp(stub.Op{Kind: stub.OpMap, Prot: uint32(prot), Addr: a, Len: end - a, Off: uint64(p.frame()) << PageShift})
	for x := a; x < end; {
		l, from, to := s.table.next(x, end)
		if l == nil {
			break
		}
		for i := leafIndex(from); i <= leafIndex(to-1); i++ {
			l.e[i] = l.e[i].withHost(prot)
		}
		x = to
	}
	return seq
}

// dispose gives up the references to n contiguous frames whose entries are gone: at once if no stub can reach them, else
// when seq is proven. seq is 0 if the host did not map them after all queued operations.
func (s *Space) dispose(f physmem.Frame, n int, seq uint64) {
	l := &s.ops
	seq = max(seq, l.revoke) // an earlier operation on its way may be what took the mapping away
	if !l.exposed || seq <= l.done && l.hold <= l.done {
		s.mem.UnrefRun(f, n)
		return
	}
	l.held.Add(s.mem, seq, f, n)
}

// NextOps moves the oldest waiting operations into ops and returns how many, and the number of the last one. What it hands
// out must be made in order, by one thread of the stub at a time, and reported to Proven before the next is handed out:
// a mapping that lands after a later unmapping would stay. The guest runs again only after NextOps has returned 0.
func (s *Space) NextOps(ops []stub.Op) (n int, seq uint64) {
	s.pt.Lock()
	defer s.pt.Unlock()
	l := &s.ops
	for n < len(ops) && l.n > 0 {
		w := l.at(0)
		ops[n] = w.op
		n++
		l.taken = w.seq
		l.head = (l.head + 1) % opsMax
		l.n--
	}
	if n > 0 {
		l.exposed = true
	}
	return n, l.taken
}

// Waiting says whether NextOps has something to hand out.
func (s *Space) Waiting() bool {
	s.pt.Lock()
	defer s.pt.Unlock()
	return s.ops.n > 0
}

// Allows says whether the page table grants what op is about to do, for every page of it. The caller has matched op with what
// NextOps handed out. A mapping that has become stale is refused; what it should have replaced is then unmapped by an
// operation queued here, and no frame is released before that one.
func (s *Space) Allows(op *stub.Op) bool {
	if (op.Addr|op.Len|op.Off)&pageMask != 0 || op.Len == 0 || op.Addr >= stub.Start || op.Len > stub.Start-op.Addr {
		return false
	}
	s.pt.Lock()
	defer s.pt.Unlock()
	switch op.Kind {
	case stub.OpUnmap:
		return true
	case stub.OpMap:
		if s.grants(op) {
			return true
		}
		s.stats.Stale++
		s.ops.hold = max(s.ops.hold, s.withdraw(op.Addr, op.Addr+op.Len))
		if s.ops.forking() {
			s.ops.forked = s.ops.hold
		}
	}
	return false
}

func (s *Space) grants(op *stub.Op) bool {
	if op.Prot&^7 != 0 {
		return false
	}
	f, prot := op.Off>>PageShift, uint8(op.Prot)
	if f >= uint64(s.mem.Frames()) {
		return false
	}
	for a, end := op.Addr, op.Addr+op.Len; a < end; {
		l := s.table.find(a)
		if l == nil {
			return false
		}
		for to := min(end, a&^(leafSpan-1)+leafSpan); a < to; a += PageSize {
			p := l.e[leafIndex(a)]
			if p&ptePresent == 0 || uint64(p.frame()) != f || prot&^p.prot() != 0 {
				return false
			}
			f++
		}
	}
	return true
}

// Proven says that all operations up to seq have returned in the stub: what was unmapped is out of its reach for all of its
// threads, and the frames that waited for it may go.
func (s *Space) Proven(seq uint64) {
	s.pt.Lock()
	defer s.pt.Unlock()
	l := &s.ops
	if seq = min(seq, l.taken); seq > l.done {
		l.done = seq
	}
	if l.hold <= l.done {
		l.held.Release(s.mem, l.done)
	}
}

// Detached says that the stub is gone, and all its mappings with it (or that it has none of this Space any more): the
// quarantine is released. Another stub may follow.
func (s *Space) Detached() {
	s.pt.Lock()
	defer s.pt.Unlock()
	l := &s.ops
	l.n, l.vmas, l.exposed = 0, 0, false
	l.taken, l.done, l.hold = l.last, l.last, 0
	l.held.Release(s.mem, l.last)
	s.clearHost(0, TaskSize)
}

// Rebuild drops all host mappings and lets the guest fault them in anew: what to do when the host could not make an
// operation (its ENOMEM).
func (s *Space) Rebuild() {
	s.pt.Lock()
	defer s.pt.Unlock()
	if s.dropAll(); s.ops.exposed {
		s.ops.hold = s.ops.last
	}
}
