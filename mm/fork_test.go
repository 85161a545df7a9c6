package mm

import (
	"testing"

	"goum/arch/abi"
	"goum/stub"
)

func TestForkCopiesSmallSets(t *testing.T) {
	m := newMem(t, 4096)
	s := NewSpace(m, NoLimits)
	h := newHost(t, s)
	small := mustMap(t, s, 0, 24*PageSize, MapOpts{Prot: rw, Flags: anon})
	mustMap(t, s, 0, PageSize, MapOpts{Flags: anon}) // keeps the two apart
	big := mustMap(t, s, 0, 256*PageSize, MapOpts{Prot: rw, Flags: anon})
	for i := range Addr(24) {
		h.wantStore(small+i*PageSize, i)
	}
	for i := range Addr(256) {
		h.wantStore(big+i*PageSize, 1000+i)
	}
	h.flush()
	before := h.ops
	c, e := s.Fork()
	if e != 0 {
		t.Fatal(e)
	}
	if st := s.Stats(); st.Copies != 24 || st.Forked != 256 {
		t.Errorf("%d copied, %d shared", st.Copies, st.Forked)
	}
	h.flush()
	if n := h.ops - before; n != 1 {
		t.Errorf("the parent's downgrade took %d operations", n)
	}
	hc := newHost(t, c)
	hc.flush()
	if hc.ops == 0 || hc.ops > forkPrefill {
		t.Errorf("the child starts with %d operations", hc.ops)
	}
	// The small set is mapped in both, writable: no faults.
	minor, cminor := s.Stats().Minor, c.Stats().Minor
	for i := range Addr(24) {
		hc.wantStore(small+i*PageSize, 500+i)
		h.wantLoad(small+i*PageSize, i)
		h.wantStore(small+i*PageSize, 600+i)
		hc.wantLoad(small+i*PageSize, 500+i)
	}
	if n, k := s.Stats().Minor-minor, c.Stats().Minor-cminor; n != 0 || k != 0 {
		t.Errorf("%d faults in the parent, %d in the child for what was copied", n, k)
	}
	for i := range Addr(256) {
		hc.wantLoad(big+i*PageSize, 1000+i)
	}
	for i := range Addr(128) {
		h.wantStore(big+i*PageSize, 2000+i)
		hc.wantStore(big+(255-i)*PageSize, 3000+i)
	}
	for i := range Addr(128) {
		h.wantLoad(big+i*PageSize, 2000+i)
		hc.wantLoad(big+i*PageSize, 1000+i)
		hc.wantLoad(big+(255-i)*PageSize, 3000+i)
		h.wantLoad(big+(255-i)*PageSize, 1000+255-i)
	}
	audit(t, s)
	hc.end()
	// The child is gone: what is left shared becomes the parent's again without a copy.
	copies := s.Stats().Copies
	for i := range Addr(256) {
		h.wantStore(big+i*PageSize, i)
	}
	if n := s.Stats().Copies - copies; n != 0 {
		t.Errorf("%d pages copied that nobody else has", n)
	}
	h.end()
	wantFree(t, m)
}

func TestForkFlags(t *testing.T) {
	m := newMem(t, 1024)
	s := NewSpace(m, NoLimits)
	h := newHost(t, s)
	at := Addr(0x10000000)
	dont := mustMap(t, s, at, PageSize, MapOpts{Prot: rw, Flags: anon | abi.MAP_FIXED})
	wipe := mustMap(t, s, at+2*PageSize, PageSize, MapOpts{Prot: rw, Flags: anon | abi.MAP_FIXED | abi.MAP_LOCKED})
	shared := mustMap(t, s, at+4*PageSize, PageSize, MapOpts{Prot: rw, Flags: sanon | abi.MAP_FIXED})
	for _, a := range []Addr{dont, wipe, shared} {
		h.wantStore(a, 9)
	}
	s.Advise(direct{}, dont, PageSize, abi.MADV_DONTFORK)
	s.Advise(direct{}, wipe, PageSize, abi.MADV_WIPEONFORK)
	c, _ := s.Fork()
	h.flush()
	hc := newHost(t, c)
	if _, r := hc.load(dont); r != NoMapping {
		t.Errorf("DONTFORK: %d", r)
	}
	hc.wantLoad(wipe, 0)
	hc.wantLoad(shared, 9)
	hc.wantStore(shared, 10)
	h.wantLoad(shared, 10)
	h.wantLoad(wipe, 9)
	if u := c.Usage(); u.Locked != 0 {
		t.Error("locks are inherited")
	}
	hc.end()
	h.end()
	wantFree(t, m)
}

// TestForkRace: another thread of the parent writes through a mapping that fork has taken away, before that is proven.
func TestForkRace(t *testing.T) {
	m := newMem(t, 1024)
	s := NewSpace(m, NoLimits)
	h := newHost(t, s)
	a := mustMap(t, s, 0, 64*PageSize, MapOpts{Prot: rw, Flags: anon})
	for i := range Addr(64) {
		h.wantStore(a+i*PageSize, i)
	}
	h.flush()
	c, _ := s.ForkShared()
	u := User{Space: s, Sleep: direct{}}
	if e := u.CopyOut(a+8, []byte{1, 0, 0, 0, 0, 0, 0, 0}); e != 0 { // a system call of the parent
		t.Fatal(e)
	}
	if r := s.Fault(a+PageSize, Write, direct{}); r != Resolved { // a fault of the parent
		t.Fatal(r)
	}
	// a store of another thread of the parent, through the old mapping
	p := h.pages[a]
	if p.prot&abi.PROT_WRITE == 0 {
		t.Fatal("the test assumes an old mapping")
	}
	m.Bytes(p.frame)[16] = 2
	p = h.pages[a+PageSize]
	m.Bytes(p.frame)[16] = 3
	h.flush()
	for off, want := range map[Addr]uint64{8: 1, 16: 2, PageSize + 16: 3, PageSize: 1} {
		h.wantLoad(a+off, want) // nothing that the parent wrote is lost
	}
	h.wantStore(a, 77)
	hc := newHost(t, c)
	hc.wantLoad(a, 0)
	hc.end()
	h.end()
	wantFree(t, m)
}

func TestOperationsAreBounded(t *testing.T) {
	m := newMem(t, 8192)
	s := NewSpace(m, NoLimits)
	h := newHost(t, s)
	const n = 2000
	a := mustMap(t, s, 0, n*PageSize, MapOpts{Prot: rw, Flags: anon})
	s.Advise(direct{}, a, n*PageSize, abi.MADV_RANDOM)
	for i := Addr(0); i < n; i += 2 {
		if r := s.Fault(a+i*PageSize, Write, direct{}); r != Resolved {
			t.Fatal(r)
		}
	}
	var ops [stub.MaxOps]stub.Op
	if k, _ := s.NextOps(ops[:1]); k != 1 {
		t.Fatal("no operations")
	}
	audit(t, s)
	s.Proven(^uint64(0))
	for i := Addr(0); i < n; i += 2 { // now that the stub may have mappings
		if e := s.Advise(direct{}, a+i*PageSize, PageSize, abi.MADV_DONTNEED); e != 0 {
			t.Fatal(e)
		}
		if r := s.Fault(a+i*PageSize, Write, direct{}); r != Resolved {
			t.Fatal(r)
		}
	}
	if s.Stats().Drops == 0 {
		t.Error("the list never overflowed")
	}
	h.flush()
	for i := range Addr(n) {
		h.wantStore(a+i*PageSize, i)
	}
	for i := range Addr(n) {
		h.wantLoad(a+i*PageSize, i)
	}
	h.end()
	wantFree(t, m)
}

// TestHostMappingsAreBounded maps many single pages with holes between them: the host must not get near its limit.
func TestHostMappingsAreBounded(t *testing.T) {
	const n = 36000
	m := newMem(t, n*2)
	s := NewSpace(m, NoLimits)
	a := mustMap(t, s, 0, 2*n*PageSize, MapOpts{Prot: rw, Flags: anon | abi.MAP_NORESERVE})
	s.Advise(direct{}, a, 2*n*PageSize, abi.MADV_RANDOM)
	count, most := 0, 0
	var ops [stub.MaxOps]stub.Op
	for i := range Addr(n) {
		if r := s.Fault(a+2*i*PageSize, Write, direct{}); r != Resolved {
			t.Fatal(r)
		}
		if i%16 != 0 {
			continue
		}
		k, seq := s.NextOps(ops[:])
		for j := range ops[:k] {
			if !s.Allows(&ops[j]) {
				t.Fatal("refused")
			}
			if ops[j].Kind == stub.OpUnmap && ops[j].Len == stub.Start {
				count = 0
			} else {
				count++
			}
		}
		most = max(most, count)
		s.Proven(seq)
	}
	if most > hostVMAMax || s.Stats().Drops == 0 {
		t.Errorf("%d host mappings at most, dropped %d times", most, s.Stats().Drops)
	}
	audit(t, s)
	s.Release()
	s.Detached()
	wantFree(t, m)
}

func TestStaleOperation(t *testing.T) {
	m := newMem(t, 1024)
	s := NewSpace(m, NoLimits)
	h := newHost(t, s)
	a := mustMap(t, s, 0, 64*PageSize, MapOpts{Prot: rw, Flags: anon})
	for i := range Addr(64) {
		h.wantStore(a+i*PageSize, i)
	}
	c, _ := s.Fork()
	h.flush()
	h.wantLoad(a+4*PageSize, 4)
	// A copy is to replace the shared page; while that is on its way, another thread unmaps a page of the batch.
	if r := s.Fault(a+4*PageSize, Write, direct{}); r != Resolved {
		t.Fatal(r)
	}
	h.between = func() {
		h.between = nil
		if e := s.Unmap(a+4*PageSize, PageSize); e != 0 {
			t.Fatal(e)
		}
		c.Release() // and the old frame has no other user
		c.Detached()
	}
	h.flush()
	if h.stale == 0 {
		t.Error("a mapping of an unmapped page was allowed")
	}
	h.check(true)
	if s.Stats().Stale == 0 {
		t.Error("not counted")
	}
	h.end()
	wantFree(t, m)
}

// TestAllowsChecksEverything is threat rows 1, 2 and 4 as seen from here.
func TestAllowsChecksEverything(t *testing.T) {
	m := newMem(t, 1024)
	s := NewSpace(m, NoLimits)
	h := newHost(t, s)
	a := mustMap(t, s, 0, 8*PageSize, MapOpts{Prot: rw, Flags: anon})
	for i := range Addr(8) {
		h.wantStore(a+i*PageSize, i)
	}
	ro := mustMap(t, s, 0, PageSize, MapOpts{Prot: abi.PROT_READ, Flags: anon})
	h.wantLoad(ro, 0)
	f := uint64(s.PageAt(a).Frame) << PageShift
	zf := uint64(s.PageAt(ro).Frame) << PageShift
	for name, c := range map[string]struct {
		op   stub.Op
		want bool
	}{
		"the page":         {stub.Op{Kind: stub.OpMap, Addr: a, Len: PageSize, Off: f, Prot: rw}, true},
		"less access":      {stub.Op{Kind: stub.OpMap, Addr: a, Len: PageSize, Off: f, Prot: abi.PROT_READ}, true},
		"exec":             {stub.Op{Kind: stub.OpMap, Addr: a, Len: PageSize, Off: f, Prot: abi.PROT_READ | abi.PROT_EXEC}, false},
		"other bits":       {stub.Op{Kind: stub.OpMap, Addr: a, Len: PageSize, Off: f, Prot: rw | 1<<24}, false},
		"another frame":    {stub.Op{Kind: stub.OpMap, Addr: a, Len: PageSize, Off: f + PageSize, Prot: rw}, false},
		"96 MiB":           {stub.Op{Kind: stub.OpMap, Addr: a, Len: 96 << 20, Off: f, Prot: rw}, false},
		"beyond the VMA":   {stub.Op{Kind: stub.OpMap, Addr: a, Len: 9 * PageSize, Off: f, Prot: rw}, false},
		"no length":        {stub.Op{Kind: stub.OpMap, Addr: a, Off: f, Prot: rw}, false},
		"not on a page":    {stub.Op{Kind: stub.OpMap, Addr: a + 1, Len: PageSize, Off: f, Prot: rw}, false},
		"offset wraps":     {stub.Op{Kind: stub.OpMap, Addr: a, Len: PageSize, Off: ^uint64(0) &^ pageMask, Prot: rw}, false},
		"length wraps":     {stub.Op{Kind: stub.OpMap, Addr: a, Len: ^uint64(0) &^ pageMask, Off: f, Prot: rw}, false},
		"zero page":        {stub.Op{Kind: stub.OpMap, Addr: ro, Len: PageSize, Off: zf, Prot: abi.PROT_READ}, true},
		"zero page, write": {stub.Op{Kind: stub.OpMap, Addr: ro, Len: PageSize, Off: zf, Prot: rw}, false},
		"the stub":         {stub.Op{Kind: stub.OpUnmap, Addr: stub.Start, Len: PageSize}, false},
		"into the stub":    {stub.Op{Kind: stub.OpUnmap, Addr: stub.Start - PageSize, Len: 2 * PageSize}, false},
		"everything":       {stub.Op{Kind: stub.OpUnmap, Addr: 0, Len: stub.Start}, true},
		"other kinds":      {stub.Op{Kind: 99, Addr: a, Len: PageSize, Off: f}, false},
		"a hole":           {stub.Op{Kind: stub.OpMap, Addr: 0x1000000, Len: PageSize, Off: f, Prot: rw}, false},
	} {
		if got := s.Allows(&c.op); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
		h.flush()
	}
	if e := s.Protect(a, PageSize, 0); e != 0 {
		t.Fatal(e)
	}
	if s.Allows(&stub.Op{Kind: stub.OpMap, Addr: a, Len: PageSize, Off: f, Prot: abi.PROT_READ}) {
		t.Error("read under PROT_NONE")
	}
	h.flush()
	h.check(true)
	h.end()
	wantFree(t, m)
}

func TestFewOperations(t *testing.T) {
	m := newMem(t, 4096)
	s := NewSpace(m, NoLimits)
	h := newHost(t, s)
	count := func(name string, want int, f func()) {
		t.Helper()
		h.flush()
		before := h.ops
		f()
		h.flush()
		if n := h.ops - before; n > want {
			t.Errorf("%s: %d operations, want %d", name, n, want)
		}
	}
	a := mustMap(t, s, 0, 256*PageSize, MapOpts{Prot: rw, Flags: anon})
	for i := range Addr(256) {
		h.wantStore(a+i*PageSize, i)
	}
	count("protect one page", 1, func() { s.Protect(a, PageSize, abi.PROT_READ) })
	count("protect it twice", 1, func() { s.Protect(a, PageSize, 0); s.Protect(a, PageSize, rw) })
	count("protect all", protectOps, func() { s.Protect(a, 256*PageSize, abi.PROT_READ) })
	count("and back", protectOps, func() { s.Protect(a, 256*PageSize, rw) })
	minor := s.Stats().Minor
	for i := range Addr(256) {
		h.wantLoad(a+i*PageSize, i)
	}
	if n := s.Stats().Minor - minor; n > 8 {
		t.Errorf("%d faults after mprotect there and back", n)
	}
	count("move", protectOps+1, func() {
		var e abi.Errno
		if a, e = s.Remap(a, 256*PageSize, 512*PageSize, abi.MREMAP_MAYMOVE, 0); e != 0 {
			t.Fatal(e)
		}
	})
	for i := range Addr(256) {
		h.wantLoad(a+i*PageSize, i)
	}
	count("unmap", 1, func() { s.Unmap(a, 512*PageSize) })
	count("unmap what was never touched", 0, func() {
		b := mustMap(t, s, 0, 64*PageSize, MapOpts{Prot: rw, Flags: anon})
		s.Unmap(b, 64*PageSize)
	})
	h.end()
	wantFree(t, m)
}

// TestProtectKeepsSharing: mprotect to writable must not give both sides of a fork the same frame.
func TestProtectKeepsSharing(t *testing.T) {
	m := newMem(t, 1024)
	s := NewSpace(m, NoLimits)
	h := newHost(t, s)
	a := mustMap(t, s, 0, 64*PageSize, MapOpts{Prot: rw, Flags: anon})
	for i := range Addr(64) {
		h.wantStore(a+i*PageSize, i)
	}
	s.Protect(a, 64*PageSize, abi.PROT_READ)
	c, _ := s.Fork()
	h.flush()
	hc := newHost(t, c)
	for _, sp := range []*Space{s, c} {
		if e := sp.Protect(a, 64*PageSize, rw); e != 0 {
			t.Fatal(e)
		}
		audit(t, sp)
	}
	// one side has its own page in the middle of shared ones: a copy stops there
	h.wantStore(a+10*PageSize, 77)
	hc.wantStore(a+10*PageSize, 88)
	for i := range Addr(64) {
		h.wantStore(a+i*PageSize+8, i+100)
	}
	for i := range Addr(64) {
		hc.wantLoad(a+i*PageSize+8, 0)
	}
	hc.end()
	h.end()
	wantFree(t, m)
}

// TestForkAlone: a parent with one thread has nothing flushed before the child runs; what the monitor writes for it is still its own.
func TestForkAlone(t *testing.T) {
	m := newMem(t, 1024)
	s := NewSpace(m, NoLimits)
	h := newHost(t, s)
	a := mustMap(t, s, 0, 64*PageSize, MapOpts{Prot: rw, Flags: anon})
	for i := range Addr(64) {
		h.wantStore(a+i*PageSize, i)
	}
	c, _ := s.Fork()
	hc := newHost(t, c)
	hc.wantLoad(a+PageSize, 1)
	if e := (User{Space: s, Sleep: direct{}}).Store64(a+PageSize, 99); e != 0 { // a signal frame
		t.Fatal(e)
	}
	hc.wantLoad(a+PageSize, 1)
	hc.wantStore(a+2*PageSize, 55)
	h.wantLoad(a+PageSize, 99)
	h.wantLoad(a+2*PageSize, 2)
	hc.end()
	h.end()
	wantFree(t, m)
}
