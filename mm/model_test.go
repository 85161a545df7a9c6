package mm

import (
	"encoding/binary"
	"maps"
	"testing"

	"pgregory.net/rapid"

	"goum/arch/abi"
	"goum/physmem"
)

// The model of an address space: for each page its protection and one word of content, nothing else.
type shadow map[Addr]*shadowPage

type shadowPage struct {
	prot uint8
	val  uint64
	obj  *shadowObject // shared: the content is there
	idx  int
}

type shadowObject struct{ val []uint64 }

func (p *shadowPage) word() *uint64 {
	if p.obj == nil {
		return &p.val
	}
	if p.idx >= len(p.obj.val) {
		return nil
	}
	return &p.obj.val[p.idx]
}

type process struct {
	s *Space
	h *host
	m shadow
}

const (
	arena      = Addr(0x10000000)
	arenaPages = 160
)

type world struct {
	t     *rapid.T
	mem   *physmem.Memory
	procs []*process
	seq   uint64
}

func (w *world) pick() *process {
	return w.procs[rapid.IntRange(0, len(w.procs)-1).Draw(w.t, "process")]
}

func (w *world) span() (Addr, uint64) {
	a := rapid.Uint64Range(0, arenaPages-1).Draw(w.t, "page")
	n := rapid.Uint64Range(1, min(arenaPages-a, 64)).Draw(w.t, "pages")
	return arena + a*PageSize, n * PageSize
}

// addr is one of the mapped pages mostly.
func (w *world) addr(p *process) Addr {
	a := arena + rapid.Uint64Range(0, arenaPages-1).Draw(w.t, "page")*PageSize
	if p.m[a] == nil && len(p.m) > 0 {
		for b := range Addr(arenaPages) {
			if x := arena + (a-arena+b*PageSize)%(arenaPages*PageSize); p.m[x] != nil {
				return x
			}
		}
	}
	return a
}

var prots = []uint64{0, abi.PROT_READ, rw, rw, rw, abi.PROT_READ | abi.PROT_EXEC, rw | abi.PROT_EXEC, abi.PROT_WRITE}

func (w *world) doMap() {
	p := w.pick()
	a, n := w.span()
	prot := rapid.SampledFrom(prots).Draw(w.t, "prot")
	shared := rapid.IntRange(0, 3).Draw(w.t, "shared") == 0
	flags := uint64(anon | abi.MAP_FIXED)
	if shared {
		flags = sanon | abi.MAP_FIXED
	}
	noreplace := rapid.Bool().Draw(w.t, "noreplace")
	if noreplace {
		flags |= abi.MAP_FIXED_NOREPLACE
	}
	got, e := p.s.Map(a, n, MapOpts{Prot: prot, Flags: flags})
	occupied := false
	for x := a; x < a+n; x += PageSize {
		occupied = occupied || p.m[x] != nil
	}
	if noreplace && occupied {
		if e != abi.EEXIST {
			w.t.Fatalf("NOREPLACE over something: %#x, %v", got, e)
		}
		return
	}
	if e != 0 || got != a {
		w.t.Fatalf("Map: %#x, %v", got, e)
	}
	var obj *shadowObject
	if shared {
		obj = &shadowObject{make([]uint64, n/PageSize)}
	}
	for i := range int(n / PageSize) {
		p.m[a+Addr(i)*PageSize] = &shadowPage{prot: uint8(prot), obj: obj, idx: i}
	}
}

func (w *world) unmapIn(p *process) {
	a, n := w.span()
	if e := p.s.Unmap(a, n); e != 0 {
		w.t.Fatalf("Unmap: %v", e)
	}
	for x := a; x < a+n; x += PageSize {
		delete(p.m, x)
	}
}

func (w *world) protectIn(p *process) {
	a, n := w.span()
	prot := rapid.SampledFrom(prots).Draw(w.t, "prot")
	e := p.s.Protect(a, n, prot)
	want := abi.Errno(0)
	for x := a; x < a+n; x += PageSize {
		q := p.m[x]
		if q == nil {
			want = abi.ENOMEM
			break
		}
		q.prot = uint8(prot)
	}
	if e != want {
		w.t.Fatalf("Protect: %v, want %v", e, want)
	}
}

func (w *world) remap() {
	p := w.pick()
	from := w.addr(p)
	n := rapid.Uint64Range(1, 24).Draw(w.t, "old") * PageSize
	to, m := w.span()
	flags := uint64(abi.MREMAP_MAYMOVE)
	switch rapid.IntRange(0, 3).Draw(w.t, "kind") {
	case 0: // grow or shrink, anywhere
		to = 0
	case 1:
		flags |= abi.MREMAP_FIXED
	case 2:
		flags |= abi.MREMAP_FIXED | abi.MREMAP_DONTUNMAP
		m = n
	case 3:
		flags |= abi.MREMAP_FIXED
		m = n
	}
	old := maps.Clone(p.m)
	got, e := p.s.Remap(from, n, m, flags, to)
	if e != 0 {
		if e != abi.EFAULT && e != abi.EINVAL {
			w.t.Fatalf("Remap: %v", e)
		}
		return
	}
	if flags&abi.MREMAP_FIXED != 0 {
		if got != to {
			w.t.Fatalf("Remap moved to %#x, not %#x", got, to)
		}
		for o := uint64(0); o < m; o += PageSize {
			if n != m || old[from+o] != nil { // a hole among several VMAs replaces nothing
				delete(p.m, to+o)
			}
		}
	}
	if got != from || m < n {
		for x := from; x < from+n; x += PageSize {
			if got != from || x >= from+m {
				delete(p.m, x)
			}
		}
	}
	var last *shadowPage
	for o := uint64(0); o < m; o += PageSize {
		q := old[from+o]
		if o >= n {
			q = nil
		}
		switch {
		case q != nil:
			cp := *q
			p.m[got+o] = &cp
			if flags&abi.MREMAP_DONTUNMAP != 0 {
				p.m[from+o] = &shadowPage{prot: q.prot, obj: q.obj, idx: q.idx}
			}
			last = q
		case o >= n && last != nil:
			p.m[got+o] = &shadowPage{prot: last.prot, obj: last.obj, idx: last.idx + 1}
			last = p.m[got+o]
		case o < n: // a hole among several that moved
		default:
			w.t.Fatalf("Remap grew from a hole")
		}
	}
}

func (w *world) advise() {
	p := w.pick()
	a, n := w.span()
	advice := rapid.SampledFrom([]int32{abi.MADV_DONTNEED, abi.MADV_WILLNEED, abi.MADV_SEQUENTIAL, abi.MADV_RANDOM, abi.MADV_NORMAL, abi.MADV_HUGEPAGE}).Draw(w.t, "advice")
	p.s.Advise(direct{}, a, n, advice)
	for x := a; x < a+n && advice == abi.MADV_DONTNEED; x += PageSize {
		if q := p.m[x]; q != nil && q.obj == nil {
			q.val = 0
		}
	}
}

// expect is what the model says to an access.
func (p *process) expect(a Addr, write bool) (*uint64, FaultResult) {
	q := p.m[a]
	switch {
	case q == nil:
		return nil, NoMapping
	case q.prot == 0, write && q.prot&abi.PROT_WRITE == 0:
		return nil, NoAccess
	case q.word() == nil:
		return nil, BeyondEnd
	}
	return q.word(), Resolved
}

func (w *world) guestStore() {
	p := w.pick()
	for a, n := w.addr(p), rapid.IntRange(1, 12).Draw(w.t, "touches"); n > 0; a, n = a+PageSize, n-1 {
		w.seq++
		v, want := p.expect(a, true)
		if r := p.h.store(a+8, w.seq); r != want {
			w.t.Fatalf("store to %#x: %d, want %d", a, r, want)
		}
		if v != nil {
			*v = w.seq
		}
	}
}

func (w *world) guestLoad() {
	p := w.pick()
	for a, n := w.addr(p), rapid.IntRange(1, 12).Draw(w.t, "touches"); n > 0; a, n = a+PageSize, n-1 {
		v, want := p.expect(a, false)
		got, r := p.h.load(a + 8)
		if r != want || v != nil && got != *v {
			w.t.Fatalf("load of %#x: %d, %d, want %v, %d", a, got, r, v, want)
		}
	}
}

func (w *world) copyOutIn(p *process) {
	a := w.addr(p)
	w.seq++
	v, want := p.expect(a, true)
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], w.seq)
	e := User{Space: p.s, Sleep: direct{}}.CopyOut(a+8, b[:])
	if (e == 0) != (want == Resolved) {
		w.t.Fatalf("CopyOut to %#x: %v, want %d", a, e, want)
	}
	if v != nil {
		*v = w.seq
	}
}

func (w *world) fork() {
	p := w.pick()
	if len(w.procs) == 4 {
		return
	}
	fork, threads := p.s.Fork, rapid.Bool().Draw(w.t, "threads")
	if threads {
		fork = p.s.ForkShared
	}
	s, e := fork()
	if e != 0 {
		w.t.Fatal(e)
	}
	if threads {
		p.h.flush() // what fork promises its child
	}
	m := shadow{}
	for a, q := range p.m {
		cp := *q
		m[a] = &cp
	}
	w.procs = append(w.procs, &process{s, newHost(w.t, s), m})
}

func (w *world) exit() {
	if len(w.procs) == 1 {
		return
	}
	i := rapid.IntRange(0, len(w.procs)-1).Draw(w.t, "process")
	w.procs[i].h.end()
	w.procs = append(w.procs[:i], w.procs[i+1:]...)
}

// race lets another thread change things between the hand-out of operations and each call.
func (w *world) race() {
	p := w.pick()
	p.h.batch = rapid.IntRange(1, 6).Draw(w.t, "batch")
	left := rapid.IntRange(1, 6).Draw(w.t, "changes")
	p.h.between = func() {
		if left--; left < 0 {
			return
		}
		switch rapid.IntRange(0, 6).Draw(w.t, "change") {
		case 0, 1:
			w.unmapIn(p)
		case 2:
			w.protectIn(p)
		case 3:
			w.copyOutIn(p)
		case 4:
			p.s.Fault(w.addr(p), Write, direct{})
		case 5:
			p.s.Rebuild()
		case 6: // a fork whose child ends at once
			if c, e := p.s.ForkShared(); e == 0 {
				audit(w.t, c)
				c.Release()
				c.Detached()
			}
		}
		p.h.check(false)
	}
	a, n := w.span()
	for x := a; x < a+n; x += PageSize * 3 {
		p.s.Fault(x, Write, direct{})
	}
	p.h.flush()
	p.h.between, p.h.batch = nil, 0
	p.h.check(true)
}

// fill touches a long range, so that a fork shares it.
func (w *world) fill() {
	p := w.pick()
	for a, n := w.addr(p), 48; n > 0; a, n = a+PageSize, n-1 {
		v, want := p.expect(a, true)
		if want != Resolved {
			return
		}
		w.seq++
		if r := p.h.store(a+8, w.seq); r != want {
			w.t.Fatalf("store to %#x: %d, want %d", a, r, want)
		}
		*v = w.seq
	}
}

func (w *world) disturb() {
	p := w.pick()
	switch rapid.IntRange(0, 2).Draw(w.t, "how") {
	case 0:
		p.s.Rebuild()
	case 1:
		p.s.Detached()
		clear(p.h.pages)
	case 2:
		w.mem.Reclaim(100)
	}
}

// verify looks at all that should be readable, in software.
func (w *world) verify() {
	for _, p := range w.procs {
		audit(w.t, p.s)
		p.h.check(false)
		for a, q := range p.m {
			if q.prot == 0 || q.word() == nil {
				continue
			}
			b := p.s.bytesAt(a)
			got := uint64(0)
			if b != nil {
				got = binary.LittleEndian.Uint64(b[8:])
			} else if q.obj != nil { // not in this table, but perhaps in the object
				continue
			}
			if got != *q.word() {
				w.t.Fatalf("%#x has %d, want %d", a, got, *q.word())
			}
		}
	}
}

// bytesAt is the content of a page if the page table has one.
func (s *Space) bytesAt(a Addr) []byte {
	s.pt.Lock()
	defer s.pt.Unlock()
	return s.page(a, false, true)
}

func TestAgainstModel(t *testing.T) {
	mem := newMem(t, 4096)
	rapid.Check(t, func(rt *rapid.T) {
		s := NewSpace(mem, NoLimits)
		w := &world{t: rt, mem: mem, procs: []*process{{s, newHost(rt, s), shadow{}}}}
		// Whatever happens, no memory of this run must be missing in the next.
		defer func() {
			for _, p := range w.procs {
				p.s.Release()
				p.s.Detached()
			}
			if !rt.Failed() {
				wantFree(rt, mem)
			}
		}()
		rt.Repeat(map[string]func(*rapid.T){
			"map":     func(*rapid.T) { w.doMap() },
			"unmap":   func(*rapid.T) { w.unmapIn(w.pick()) },
			"protect": func(*rapid.T) { w.protectIn(w.pick()) },
			"remap":   func(*rapid.T) { w.remap() },
			"advise":  func(*rapid.T) { w.advise() },
			"store":   func(*rapid.T) { w.guestStore() },
			"store2":  func(*rapid.T) { w.guestStore() },
			"fill":    func(*rapid.T) { w.fill() },
			"load":    func(*rapid.T) { w.guestLoad() },
			"copy":    func(*rapid.T) { w.copyOutIn(w.pick()) },
			"fork":    func(*rapid.T) { w.fork() },
			"exit":    func(*rapid.T) { w.exit() },
			"race":    func(*rapid.T) { w.race() },
			"disturb": func(*rapid.T) { w.disturb() },
			"":        func(*rapid.T) { w.verify() },
		})
	})
}
