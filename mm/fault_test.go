package mm

import (
	"testing"

	"goum/arch/abi"
	"goum/physmem"
)

func TestDemandZeroWindows(t *testing.T) {
	m := newMem(t, 4096)
	s := NewSpace(m, NoLimits)
	h := newHost(t, s)
	const n = 1024
	a := mustMap(t, s, 0, n*PageSize, MapOpts{Prot: rw, Flags: anon})
	for i := range Addr(n) {
		h.wantStore(a+i*PageSize, uint64(i)+1)
	}
	// 4, 8, 16, 32, then 64 at a time
	if st := s.Stats(); st.Minor > 24 || h.maps > 24 {
		t.Errorf("%d faults and %d mappings for %d sequential pages", st.Minor, h.maps, n)
	}
	for i := range Addr(n) {
		h.wantLoad(a+i*PageSize, uint64(i)+1)
	}
	if u := s.Usage(); u.Anon != n || u.RSS != n || u.Data != n || u.Size != n {
		t.Errorf("usage %+v", u)
	}
	h.end()
	wantFree(t, m)
}

func TestDownwards(t *testing.T) {
	m := newMem(t, 4096)
	s := NewSpace(m, NoLimits)
	h := newHost(t, s)
	const top = Addr(0x7fffb0000000)
	mustMap(t, s, top-4*PageSize, 4*PageSize, MapOpts{Prot: rw, Flags: anon | abi.MAP_FIXED | abi.MAP_GROWSDOWN | abi.MAP_STACK})
	for i := range Addr(512) {
		h.wantStore(top-(i+1)*PageSize, uint64(i))
	}
	if st := s.Stats(); st.Minor > 520 {
		t.Errorf("%d faults", st.Minor)
	}
	if u := s.Usage(); u.Stack != 512 {
		t.Errorf("stack %d pages", u.Stack)
	}
	// beyond RLIMIT_STACK
	if r := h.store(top-8<<20-PageSize, 1); r != NoMapping {
		t.Errorf("8 MiB and a page: %d", r)
	}
	h.wantStore(top-8<<20, 1)
	h.end()
	wantFree(t, m)
}

func TestStackGap(t *testing.T) {
	m := newMem(t, 1024)
	s := NewSpace(m, NoLimits)
	h := newHost(t, s)
	const top = Addr(0x7fffb0000000)
	mustMap(t, s, top-4*PageSize, 4*PageSize, MapOpts{Prot: rw, Flags: anon | abi.MAP_FIXED | abi.MAP_GROWSDOWN})
	low := top - 1024*PageSize
	mustMap(t, s, low, PageSize, MapOpts{Prot: rw, Flags: anon | abi.MAP_FIXED})
	if r := h.store(low+256*PageSize, 1); r != NoMapping {
		t.Errorf("in the gap: %d", r)
	}
	h.wantStore(low+257*PageSize, 1)
	// the gap is not given away either
	s.SetLayout(Layout{MmapBase: top})
	if a := mustMap(t, s, 0, 200*PageSize, MapOpts{Prot: rw, Flags: anon}); a+200*PageSize > low {
		t.Errorf("mapped at %#x, inside the gap above %#x", a, low)
	}
	h.end()
	wantFree(t, m)
}

func TestSparseTouchesStaySmall(t *testing.T) {
	m := newMem(t, 4096)
	s := NewSpace(m, NoLimits)
	h := newHost(t, s)
	const n = 128
	a := mustMap(t, s, 0, n<<21, MapOpts{Prot: rw, Flags: anon | abi.MAP_NORESERVE})
	for i := range Addr(n) {
		h.wantStore(a+i<<21, 1)
	}
	if u := s.Usage(); u.Anon > n+8 {
		t.Errorf("%d pages for %d touches", u.Anon, n)
	}
	h.end()
	wantFree(t, m)
}

func TestZeroPages(t *testing.T) {
	m := newMem(t, 1024)
	s := NewSpace(m, NoLimits)
	h := newHost(t, s)
	a := mustMap(t, s, 0, 64*PageSize, MapOpts{Prot: rw, Flags: anon})
	for i := range Addr(64) {
		h.wantLoad(a+i*PageSize, 0)
	}
	if st := s.Stats(); st.Minor > 5 || s.Usage().RSS != 0 {
		t.Errorf("%d faults, %d resident for reads of 64 untouched pages", st.Minor, s.Usage().RSS)
	}
	h.wantStore(a+10*PageSize, 7)
	h.wantLoad(a+10*PageSize, 7)
	h.wantLoad(a+60*PageSize, 0)
	for _, b := range m.RunBytes(m.Zero(), physmem.ZeroFrames) {
		if b != 0 {
			t.Fatal("a zero page was written to")
		}
	}
	h.end()
	wantFree(t, m)
}

func TestFaultKinds(t *testing.T) {
	m := newMem(t, 1024)
	s := NewSpace(m, NoLimits)
	h := newHost(t, s)
	ro := mustMap(t, s, 0, PageSize, MapOpts{Prot: abi.PROT_READ, Flags: anon})
	none := mustMap(t, s, 0, PageSize, MapOpts{Flags: anon})
	sh := mustMap(t, s, 0, PageSize, MapOpts{Prot: rw, Flags: sanon})
	if a, e := s.Remap(sh, PageSize, 2*PageSize, abi.MREMAP_MAYMOVE, 0); e != 0 {
		t.Fatal(e)
	} else {
		sh = a
	}
	for name, c := range map[string]struct {
		addr   Addr
		access Access
		want   FaultResult
	}{
		"nothing":       {0x1234000, Read, NoMapping},
		"kernel half":   {1 << 63, Read, NoMapping},
		"stub":          {TaskSize, Write, NoMapping},
		"write to ro":   {ro, Write, NoAccess},
		"exec":          {ro, Exec, NoAccess},
		"none":          {none, Read, NoAccess},
		"beyond object": {sh + PageSize, Read, BeyondEnd},
		"object":        {sh, Write, Resolved},
	} {
		if _, r := h.access(c.addr, c.access); r != c.want {
			t.Errorf("%s: %d, want %d", name, r, c.want)
		}
	}
	h.end()
	wantFree(t, m)
}

func TestOutOfMemory(t *testing.T) {
	m := newMem(t, 256)
	s := NewSpace(m, NoLimits)
	h := newHost(t, s)
	a := mustMap(t, s, 0, 1024*PageSize, MapOpts{Prot: rw, Flags: anon | abi.MAP_NORESERVE})
	n := Addr(0)
	for ; ; n++ {
		if r := h.store(a+n*PageSize, n); r == OutOfMemory {
			break
		} else if r != Resolved {
			t.Fatal(r)
		}
	}
	if n != 239 {
		t.Errorf("%d pages of 239 were given", n)
	}
	if e := (User{Space: s, Sleep: direct{}}).CopyOut(a+n*PageSize, []byte{1}); e != abi.ENOMEM {
		t.Errorf("CopyOut: %v", e)
	}
	// what is given back serves at once
	if e := s.Unmap(a, 4*PageSize); e != 0 {
		t.Fatal(e)
	}
	h.wantStore(a+n*PageSize, 1)
	h.end()
	wantFree(t, m)
	if _, e := NewSpace(m, NoLimits).Map(0, 1024*PageSize, MapOpts{Prot: rw, Flags: anon}); e != abi.ENOMEM {
		t.Errorf("promised more than there is: %v", e)
	}
}

// TestNthAllocationFails lets each allocation fail in turn: nothing may leak, and what was there must still be there.
func TestNthAllocationFails(t *testing.T) {
	m := newMem(t, 1024)
	for n := int64(1); ; n++ {
		m.FailAfter(n)
		failed := false
		s := NewSpace(m, NoLimits)
		h := newHost(t, s)
		a := mustMap(t, s, 0, 64*PageSize, MapOpts{Prot: rw, Flags: anon})
		b := mustMap(t, s, 0, 8*PageSize, MapOpts{Prot: rw, Flags: sanon})
		store := func(h *host, a Addr, v uint64) {
			switch r := h.store(a, v); r {
			case OutOfMemory:
				failed = true
				h.wantStore(a, v) // only one fails
			case Resolved:
			default:
				t.Fatal(r)
			}
		}
		for i := range Addr(64) {
			store(h, a+i*PageSize, 100+i)
		}
		store(h, b, 5)
		c, e := s.Fork()
		if e != 0 {
			t.Fatal(e)
		}
		h.flush()
		hc := newHost(t, c)
		for i := range Addr(64) {
			store(hc, a+i*PageSize, 200+i)
			h.wantLoad(a+i*PageSize, 100+i)
		}
		store(hc, b+PageSize, 6)
		h.wantLoad(b+PageSize, 6)
		hc.end()
		for i := range Addr(64) {
			store(h, a+i*PageSize, 300+i)
		}
		h.end()
		wantFree(t, m)
		m.FailAfter(0)
		if !failed && n > 40 {
			break
		}
	}
}

// filePager is a file of n pages, page i full of byte i+1; misses are counted.
type filePager struct {
	m      *physmem.Memory
	cached map[uint64]physmem.Frame
	n      uint64
	misses int
	writes int
	mapped map[*Space]int64
	during func() // runs inside the next Page
}

func newFile(m *physmem.Memory, n uint64) *filePager {
	return &filePager{m: m, cached: map[uint64]physmem.Frame{}, n: n, mapped: map[*Space]int64{}}
}

func (p *filePager) Page(_ Sleeper, i uint64, write bool) (physmem.Frame, abi.Errno) {
	if i >= p.n {
		return 0, abi.ENXIO
	}
	if write {
		p.writes++
	}
	f := p.cached[i]
	if f == 0 {
		p.misses++
		first := i &^ 15 // readahead
		run, n, e := p.m.AllocRun(int(min(16, p.n-first)), true)
		if e != 0 || n < int(min(16, p.n-first)) {
			return 0, abi.ENOMEM
		}
		for k := range n {
			j := first + uint64(k)
			if p.cached[j] != 0 {
				p.m.Unref(run + physmem.Frame(k))
				continue
			}
			p.cached[j] = run + physmem.Frame(k)
			for x := range p.m.Bytes(p.cached[j]) {
				p.m.Bytes(p.cached[j])[x] = byte(j + 1)
			}
		}
		f = p.cached[i]
	}
	p.m.Ref(f)
	if d := p.during; d != nil {
		p.during = nil
		d()
	}
	return f, 0
}

func (p *filePager) Cached(i uint64, frames []physmem.Frame) {
	for k := range frames {
		if f := p.cached[i+uint64(k)]; f != 0 {
			p.m.Ref(f)
			frames[k] = f
		}
	}
}

func (p *filePager) Mapped(s *Space, _ Addr, n, _ uint64, _, _ bool)   { p.mapped[s] += int64(n) }
func (p *filePager) Unmapped(s *Space, _ Addr, n, _ uint64, _, _ bool) { p.mapped[s] -= int64(n) }

func (p *filePager) truncate(n uint64) {
	p.n = n
	for i, f := range p.cached {
		if i >= n {
			p.m.Unref(f)
			delete(p.cached, i)
		}
	}
	for s := range p.mapped {
		s.Invalidate(p, n, ^uint64(0)-n, true)
	}
}

func (p *filePager) done(t *testing.T) {
	for s, n := range p.mapped {
		if n != 0 {
			t.Errorf("%p has %d bytes mapped still", s, n)
		}
	}
	p.mapped = nil
	p.truncate(0)
}

func page(i uint64) (v uint64) { return (i + 1) & 0xff * 0x0101010101010101 }

func TestFileMappings(t *testing.T) {
	m := newMem(t, 4096)
	s := NewSpace(m, NoLimits)
	h := newHost(t, s)
	f := newFile(m, 256)
	sh := mustMap(t, s, 0, 256*PageSize, MapOpts{Prot: abi.PROT_READ, Flags: abi.MAP_SHARED, Pager: f})
	for i := range uint64(256) {
		h.wantLoad(sh+i*PageSize, page(i))
	}
	if st := s.Stats(); st.Minor > 24 || h.maps > 40 {
		t.Errorf("%d faults, %d mappings for 256 sequential pages", st.Minor, h.maps)
	}
	minor := s.Stats().Minor
	again := mustMap(t, s, 0, 256*PageSize, MapOpts{Prot: abi.PROT_READ, Flags: abi.MAP_SHARED, Pager: f})
	for i := range uint64(256) {
		h.wantLoad(again+i*PageSize, page(i))
	}
	if n := s.Stats().Minor - minor; n > 8 {
		t.Errorf("%d faults for 256 cached pages", n)
	}

	// A private mapping does not change the file, and sees it until it writes.
	priv := mustMap(t, s, 0, 64*PageSize, MapOpts{Prot: rw, Flags: abi.MAP_PRIVATE, Pager: f, Deny: abi.PROT_WRITE})
	h.wantStore(priv+3*PageSize, 77)
	h.wantLoad(priv+3*PageSize, 77)
	h.wantLoad(sh+3*PageSize, page(3))
	if v, _ := h.load(priv + 3*PageSize + 8); v != page(3) {
		t.Errorf("the rest of the copied page is %#x", v)
	}

	// A shared writable one does.
	if e := s.Protect(sh, PageSize, rw); e != 0 {
		t.Error(e)
	}
	h.wantStore(sh, 99)
	h.wantLoad(again, 99)
	h.wantLoad(priv, 99)

	// truncate: SIGBUS, private copies too
	f.truncate(2)
	if _, r := h.load(again + 2*PageSize); r != BeyondEnd {
		t.Errorf("beyond the end: %d", r)
	}
	if _, r := h.load(priv + 3*PageSize); r != BeyondEnd {
		t.Errorf("a private copy beyond the end: %d", r)
	}
	h.wantLoad(again+PageSize, page(1))
	h.end()
	f.done(t)
	wantFree(t, m)
}

func TestWriteNotification(t *testing.T) {
	m := newMem(t, 1024)
	s := NewSpace(m, NoLimits)
	h := newHost(t, s)
	f := newFile(m, 16)
	a := mustMap(t, s, 0, 16*PageSize, MapOpts{Prot: rw, Flags: abi.MAP_SHARED, Pager: f, Notify: true})
	h.wantLoad(a, page(0))
	if f.writes != 0 {
		t.Fatal("a read was announced as a write")
	}
	h.wantStore(a, 5)
	h.wantStore(a+PageSize, 6)
	h.wantStore(a, 7)
	if f.writes != 2 {
		t.Errorf("%d announced, want 2", f.writes)
	}
	if e := (User{Space: s, Sleep: direct{}}).CopyOut(a+2*PageSize, []byte{1}); e != 0 || f.writes != 3 {
		t.Errorf("CopyOut: %v, %d announced", e, f.writes)
	}
	h.end()
	f.done(t)
	wantFree(t, m)
}

// TestTruncateDuringFault: the page comes from the pager, and is cut off before it gets into the page table.
func TestTruncateDuringFault(t *testing.T) {
	m := newMem(t, 1024)
	s := NewSpace(m, NoLimits)
	h := newHost(t, s)
	f := newFile(m, 16)
	a := mustMap(t, s, 0, 16*PageSize, MapOpts{Prot: rw, Flags: abi.MAP_SHARED, Pager: f})
	f.during = func() { f.truncate(4) }
	if _, r := h.load(a + 5*PageSize); r != BeyondEnd {
		t.Errorf("result %d", r)
	}
	f.during = func() { s.Unmap(a, 16*PageSize) }
	f.truncate(0)
	f.n = 16
	if _, r := h.load(a + 5*PageSize); r != NoMapping {
		t.Errorf("unmapped meanwhile: %d", r)
	}
	h.end()
	f.done(t)
	wantFree(t, m)
}

func TestGuards(t *testing.T) {
	m := newMem(t, 1024)
	s := NewSpace(m, NoLimits)
	h := newHost(t, s)
	a := mustMap(t, s, 0, 16*PageSize, MapOpts{Prot: rw, Flags: anon})
	h.wantStore(a, 1)
	if e := s.Advise(direct{}, a, 2*PageSize, abi.MADV_GUARD_INSTALL); e != 0 {
		t.Fatal(e)
	}
	if r := h.store(a, 1); r != NoMapping {
		t.Errorf("a guard page: %d", r)
	}
	h.wantStore(a+2*PageSize, 1)
	if e := s.Advise(direct{}, a, 16*PageSize, abi.MADV_DONTNEED); e != 0 {
		t.Fatal(e)
	}
	if r := h.store(a+PageSize, 1); r != NoMapping {
		t.Errorf("a guard page after DONTNEED: %d", r)
	}
	c, _ := s.Fork()
	hc := newHost(t, c)
	if r := hc.store(a+PageSize, 1); r != NoMapping {
		t.Errorf("a guard page after fork: %d", r)
	}
	hc.end()
	if e := s.Advise(direct{}, a, 16*PageSize, abi.MADV_GUARD_REMOVE); e != 0 {
		t.Fatal(e)
	}
	h.wantLoad(a, 0)
	h.end()
	wantFree(t, m)
}
