package mm

import (
	"goum/arch/abi"
	"goum/arch/lock"
	"goum/physmem"
	"goum/stub"
)

// Access is what a fault wanted to do.
type Access uint8

// Kinds of access.
const (
	Read Access = iota
	Write
	Exec
)

// FaultResult is how a fault ended.
type FaultResult uint8

// Results of Fault.
const (
	Resolved    FaultResult = iota // run the instruction again, after the waiting operations
	NoMapping                      // SIGSEGV, SEGV_MAPERR
	NoAccess                       // SIGSEGV, SEGV_ACCERR
	BeyondEnd                      // SIGBUS, BUS_ADRERR: the pager has no such page
	OutOfMemory                    // no frame is left
	Interrupted                    // a sleep ended early: handle signals, then run the instruction again
)

// how says who faults: the zero value is the guest itself.
type how struct {
	kernel bool // a copy of the monitor's
	force  bool // ptrace: protections of the VMA do not matter where Linux's FOLL_FORCE lets them be
	cached bool // no pager is waited for
	most   int  // pages that are wanted at once, 0 if unknown
}

// fetched is a page that a pager gave while no lock was held: good only if nothing has changed since.
type fetched struct {
	frame physmem.Frame
	pager Pager
	index uint64
	gen   uint64
	write bool
}

// Fault makes the page of addr accessible, or says why not. It may sleep through w while a pager gets the page; it is
// called with no lock held.
//
// A trap costs more than twenty pages, hence a fault brings neighbours: untouched pages of the same VMA as a run of contiguous
// frames and one operation, as many again as the touched pages that it continues (from 4 to 64), page
// cache from 64 to 256, copies up to 16. A VMA that is touched here and there gets single pages soon.
func (s *Space) Fault(addr Addr, access Access, w Sleeper) FaultResult {
	return s.fault(addr, access, w, how{})
}

// fault is Fault as h says. Where no frame is left it waits for those of the process that is killed for them.
func (s *Space) fault(addr Addr, access Access, w Sleeper, h how) FaultResult {
	for {
		r := s.try(addr, access, w, h)
		if r != OutOfMemory || w == nil || !s.mem.Relieve(w) {
			return r
		}
	}
}

func (s *Space) try(addr Addr, access Access, w Sleeper, h how) FaultResult {
	lock.AssertNoneHeld("a fault")
	if addr >= TaskSize {
		return NoMapping
	}
	addr &^= pageMask
	var got fetched
	for range faultTries {
		s.mu.Lock()
		v, r := s.faultVMA(addr, access, h)
		if v == nil {
			s.mu.Unlock()
			s.drop(&got)
			return r
		}
		r, missing := s.resolve(v, addr, access, h, &got)
		if !missing || h.cached {
			s.mu.Unlock()
			s.drop(&got)
			return r
		}
		pager, index, shared := v.pager, v.pageIndex(addr), v.has(vmShared)
		gen := s.discarded // written under mu and pt
		s.mu.Unlock()
		s.drop(&got)
		write := shared && access == Write
		f, e := pager.Page(w, index, write)
		if e != 0 {
			switch e {
			case abi.ENOMEM:
				return OutOfMemory
			case abi.EINTR, abi.ERESTARTSYS:
				return Interrupted
			}
			return BeyondEnd
		}
		got = fetched{f, pager, index, gen, write}
	}
	s.drop(&got)
	return Resolved // it is faulted again if it must be
}

func (s *Space) drop(g *fetched) {
	if g.frame != 0 {
		s.mem.Unref(g.frame)
		g.frame = 0
	}
}

// faultVMA finds the VMA for an access to addr, growing a stack to it if that is below, or says what is wrong.
func (s *Space) faultVMA(addr Addr, access Access, h how) (*vma, FaultResult) {
	i := s.above(addr)
	if i == len(s.vmas) {
		return nil, NoMapping
	}
	v := s.vmas[i]
	if addr < v.start && (!v.has(vmGrowsDown) || !s.grow(i, addr)) {
		return nil, NoMapping
	}
	ok := v.prot != 0 // whatever is accessible can be read on x86-64
	switch access {
	case Write:
		ok = v.prot&abi.PROT_WRITE != 0 || h.force && v.may&abi.PROT_WRITE != 0 && !v.has(vmShared)
	case Exec:
		ok = v.prot&abi.PROT_EXEC != 0
	default:
		ok = ok || h.force && v.may&abi.PROT_READ != 0
	}
	if !ok {
		return nil, NoAccess
	}
	return v, Resolved
}

// grow extends the stack, VMA i, down to addr, within its limits and with a gap to what lies below.
func (s *Space) grow(i int, addr Addr) bool {
	v := s.vmas[i]
	if addr < MinAddr {
		return false
	}
	if i > 0 {
		if u := s.vmas[i-1]; !u.has(vmGrowsDown) && u.prot != 0 && addr-u.end < stackGap {
			return false
		}
	}
	n := (v.start - addr) >> PageShift
	if v.end-addr > s.limits.Stack || !s.fits(v.prot, v.flags, n, 0) || v.has(vmLocked) && !s.lockFits(n) ||
		accountable(v.prot, v.flags) && !s.promises(n) {
		return false
	}
	v.start = addr
	s.account(v, n, 1)
	return true
}

// resolve does what can be done without sleeping; missing: the pager must get the page first. mu is held.
func (s *Space) resolve(v *vma, addr Addr, access Access, h how, got *fetched) (r FaultResult, missing bool) {
	s.pt.Lock()
	p := s.table.get(addr)
	if p&pteGuard != 0 {
		s.pt.Unlock()
		return NoMapping, false
	}
	if p == 0 && v.pager != nil {
		s.pt.Unlock() // the pager's lock goes before it; entries do not appear while mu is held
		if !s.install(v, addr, access, got) {
			return 0, true
		}
		s.pt.Lock()
		p = s.table.get(addr)
		if access != Write || p&pteWrite != 0 {
			s.stats.Minor++
			s.pt.Unlock()
			return Resolved, false
		}
	}
	defer s.pt.Unlock()
	s.stats.Minor++
	switch {
	case p == 0 && (access == Write || h.force && v.prot == 0):
		return s.demandZero(v, addr, h), false
	case p == 0:
		s.zeroRead(v, addr)
		return Resolved, false
	case access == Write && p&pteWrite == 0:
		if v.has(vmShared) {
			return s.notified(v, addr, p, got)
		}
		if s.mem.IsZero(p.frame()) {
			return s.demandZero(v, addr, h), false
		}
		return s.copyOnWrite(v, addr, p, h), false
	default:
		if !h.kernel {
			s.stats.Spurious++
			s.mapAround(v, addr, p)
		}
		return Resolved, false
	}
}

// bounds is the part of v that one leaf holds with addr: no window crosses it.
func bounds(v *vma, addr Addr) (lo, hi Addr) {
	return max(v.start, addr&^(leafSpan-1)), min(v.end, addr&^(leafSpan-1)+leafSpan)
}

// before counts the touched pages directly below addr, up to most.
func (s *Space) before(addr, lo Addr, most int, touched func(pte) bool) int {
	n := 0
	for a := addr; a > lo && n < most; n++ {
		a -= PageSize
		if l := s.table.find(a); l == nil || !touched(l.e[leafIndex(a)]) {
			break
		}
	}
	return n
}

// pow2 is the largest power of two not above n, at least 1.
func pow2(n int) int {
	p := 1
	for p*2 <= n {
		p *= 2
	}
	return p
}

func isAnon(p pte) bool  { return p&pteAnon != 0 }
func isThere(p pte) bool { return p.frame() != 0 }

// demandZero gives addr and untouched neighbours zeroed frames of their own.
func (s *Space) demandZero(v *vma, addr Addr, h how) FaultResult {
	lo, hi := bounds(v, addr)
	untouched := func(a Addr) bool {
		p := s.table.get(a)
		return p == 0 || p&pteGuard == 0 && s.mem.IsZero(p.frame())
	}
	size := 0
	start := addr
	if n := s.before(addr, v.start, maxWindow, isAnon); n > 0 {
		size = min(pow2(2*n), maxWindow)
		v.window = startWindow
	} else if n := s.after(addr, hi, maxWindow); n > 0 { // downwards, as stacks are touched
		size = min(pow2(2*n), maxWindow)
		for start > lo && int((addr-start)>>PageShift)+1 < size && untouched(start-PageSize) {
			start -= PageSize
		}
	} else {
		size = s.firstWindow(v)
		if v.has(vmGrowsDown) {
			for start > lo && int((addr-start)>>PageShift)+1 < size && untouched(start-PageSize) {
				start -= PageSize
			}
		}
	}
	if h.force && v.prot&abi.PROT_WRITE == 0 {
		size, start = 1, addr
	}
	size = max(size, min(h.most, maxWindow))
	end := addr + PageSize
	for end < hi && int((end-start)>>PageShift) < size && untouched(end) {
		end += PageSize
	}
	f, n, e := s.mem.AllocRun(int((end-start)>>PageShift), true)
	if e != 0 {
		return OutOfMemory
	}
	if start+Addr(n)<<PageShift <= addr { // a shorter run: the page itself must be in it
		start = addr
		if most := int((end - addr) >> PageShift); n > most {
			s.mem.UnrefRun(f+physmem.Frame(most), n-most)
			n = most
		}
	}
	l := s.table.make(addr)
	i := leafIndex(start)
	for k := range n {
		p := makePTE(f+physmem.Frame(k), v.prot) | pteAnon | pteDirty
		l.set(i+k, p)
		s.remember(p)
	}
	s.stats.Zeroed += uint64(n)
	if v.prot != 0 {
		s.mapRange(start, n)
	}
	return Resolved
}

// after counts the touched pages directly above addr.
func (s *Space) after(addr, hi Addr, most int) int {
	n := 0
	for a := addr + PageSize; a < hi && n < most && isAnon(s.table.get(a)); a += PageSize {
		n++
	}
	return n
}

// firstWindow is the window of a touch that continues nothing: smaller each time, for sparse access gains nothing by more.
func (s *Space) firstWindow(v *vma) int {
	switch {
	case v.has(vmRandom):
		return 1
	case v.window == 0:
		v.window = startWindow
	case v.window > 1:
		v.window /= 2
	}
	return int(v.window)
}

// readOnly is prot without writing; what was writable stays readable.
func readOnly(prot uint8) uint8 {
	if prot&abi.PROT_WRITE != 0 {
		return prot&^abi.PROT_WRITE | abi.PROT_READ
	}
	return prot
}

// zeroRead maps the shared zero pages at addr and around it, 64 KiB at most.
func (s *Space) zeroRead(v *vma, addr Addr) {
	const span = physmem.ZeroFrames << PageShift
	lo, hi := max(v.start, addr&^(span-1)), min(v.end, addr&^(span-1)+span)
	start, end := addr, addr+PageSize
	for start > lo && s.table.get(start-PageSize) == 0 {
		start -= PageSize
	}
	for end < hi && s.table.get(end) == 0 {
		end += PageSize
	}
	l := s.table.make(addr)
	for a := start; a < end; a += PageSize {
		f := s.mem.Zero() + physmem.Frame(a>>PageShift%physmem.ZeroFrames)
		l.set(leafIndex(a), makePTE(f, readOnly(v.prot)))
	}
	s.stats.ZeroReads++
	if v.prot != 0 {
		s.mapRange(start, int((end-start)>>PageShift))
	}
}

// install puts the pager's page of addr, and those around that are at hand, into the table. false: it must be fetched.
func (s *Space) install(v *vma, addr Addr, access Access, got *fetched) bool {
	frames := &s.around
	lo, hi := bounds(v, addr)
	// entries are written under mu, which is held
	s.pt.Lock()
	before := s.before(addr, v.start, maxFile, isThere)
	s.pt.Unlock()
	start, size := addr, fileWindow
	switch {
	case v.has(vmRandom):
		size = 1
	case v.has(vmSequential):
		size = maxFile
	case before > 0:
		size = max(min(pow2(2*before), maxFile), fileWindow)
	default:
		// Windows are counted from the VMA's start, where most begin.
		from := v.start + (addr-v.start)&^(fileWindow<<PageShift-1)
		start = max(lo, from)
		size = int((min(from+fileWindow<<PageShift, hi) - start) >> PageShift)
	}
	size = min(size, int((hi-start)>>PageShift))
	clear(frames[:size])
	target := int((addr - start) >> PageShift)
	index := v.pageIndex(start)
	if c, ok := v.pager.(Cacher); ok {
		c.Cached(index, frames[:size])
	}
	mine := got.frame != 0 && got.pager == v.pager && got.index == v.pageIndex(addr) && got.gen == s.discarded
	write := access == Write && v.has(vmShared) && mine && got.write
	if v.has(vmNotify) && access == Write && !write { // even a cached page: the pager is to know of the write
		for _, f := range frames[:size] {
			if f != 0 {
				s.mem.Unref(f)
			}
		}
		return false
	}
	if mine && (frames[target] == 0 || frames[target] != got.frame && write) {
		if frames[target] != 0 {
			s.mem.Unref(frames[target])
		}
		frames[target] = got.frame
		got.frame = 0
	}
	if frames[target] == 0 {
		for _, f := range frames[:size] {
			if f != 0 {
				s.mem.Unref(f)
			}
		}
		return false
	}
	prot := v.prot
	if !v.has(vmShared) || v.has(vmNotify) {
		prot = readOnly(prot)
	}
	s.pt.Lock()
	defer s.pt.Unlock()
	l := s.table.make(addr)
	first := leafIndex(start)
	for k, f := range frames[:size] {
		if f == 0 {
			continue
		}
		if l.e[first+k] != 0 {
			s.mem.Unref(f)
			frames[k] = 0
			continue
		}
		p := makePTE(f, prot)
		if k == target && write {
			p = makePTE(f, v.prot) | pteDirty
		}
		l.set(first+k, p)
		s.remember(p)
	}
	if v.prot == 0 || access == Write && !v.has(vmShared) { // the page is about to be copied, and perhaps its neighbours
		return true
	}
	// the run with the page itself, and long ones beside it
	for k, ops := 0, 0; k < size && ops < 4; {
		if frames[k] == 0 {
			k++
			continue
		}
		end := k + 1
		for end < size && frames[end] == frames[end-1]+1 && l.e[first+end].prot() == l.e[first+k].prot() {
			end++
		}
		if k <= target && target < end || end-k >= 4 {
			s.mapRange(start+Addr(k)<<PageShift, end-k)
			ops++
		}
		k = end
	}
	if s.table.get(addr)&pteHost == 0 { // the run with the page itself came too late
		s.mapAround(v, addr, s.table.get(addr))
	}
	return true
}

// mapAround has the host map the page of p, which it does not although the page table says so, and its neighbours.
func (s *Space) mapAround(v *vma, addr Addr, p pte) {
	for i := s.ops.n - 1; i >= 0; i-- { // another thread faulted here at the same time
		if op := &s.ops.at(i).op; op.Addr <= addr && addr-op.Addr < op.Len {
			if op.Kind == stub.OpMap {
				return
			}
			break
		}
	}
	lo, hi := bounds(v, addr)
	l := s.table.find(addr)
	prot := p.prot()
	f := p.frame()
	start, end := addr, addr+PageSize
	same := func(a Addr, want physmem.Frame) bool {
		q := l.e[leafIndex(a)]
		return q.frame() == want && q.prot() == prot
	}
	for start > lo && (addr-start)>>PageShift < maxWindow/4 && same(start-PageSize, f-physmem.Frame((addr-start)>>PageShift)-1) {
		start -= PageSize
	}
	for end < hi && (end-addr)>>PageShift < maxWindow && same(end, f+physmem.Frame((end-addr)>>PageShift)) {
		end += PageSize
	}
	s.mapRange(start, int((end-start)>>PageShift))
}
