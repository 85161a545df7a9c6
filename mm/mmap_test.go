package mm

import (
	"testing"

	"goum/arch/abi"
	"goum/physmem"
)

func TestMapErrors(t *testing.T) {
	m := newMem(t, 1024)
	f := newFile(m, 16)
	for name, c := range map[string]struct {
		addr Addr
		n    uint64
		o    MapOpts
		l    func(*Limits)
		want abi.Errno
	}{
		"no length":               {0, 0, MapOpts{Flags: anon}, nil, abi.EINVAL},
		"length wraps":            {0, ^uint64(0), MapOpts{Flags: anon}, nil, abi.ENOMEM},
		"longer than all":         {0, TaskSize + PageSize, MapOpts{Flags: anon}, nil, abi.ENOMEM},
		"offset wraps":            {0, 2 * PageSize, MapOpts{Flags: abi.MAP_PRIVATE, Pager: f, Offset: ^uint64(0) &^ pageMask}, nil, abi.EOVERFLOW},
		"below mmap_min_addr":     {4096, PageSize, MapOpts{Flags: anon | abi.MAP_FIXED}, nil, abi.EPERM},
		"null":                    {0, PageSize, MapOpts{Flags: anon | abi.MAP_FIXED}, nil, abi.EPERM},
		"fixed, not on a page":    {0x10000001, PageSize, MapOpts{Flags: anon | abi.MAP_FIXED}, nil, abi.EINVAL},
		"fixed, in the stub":      {TaskSize - PageSize, 2 * PageSize, MapOpts{Flags: anon | abi.MAP_FIXED}, nil, abi.ENOMEM},
		"no type":                 {0, PageSize, MapOpts{Flags: abi.MAP_ANONYMOUS}, nil, abi.EINVAL},
		"file, no type":           {0, PageSize, MapOpts{Pager: f}, nil, abi.EINVAL},
		"shared stack":            {0, PageSize, MapOpts{Flags: sanon | abi.MAP_GROWSDOWN}, nil, abi.EINVAL},
		"file stack":              {0, PageSize, MapOpts{Flags: abi.MAP_PRIVATE | abi.MAP_GROWSDOWN, Pager: f}, nil, abi.EINVAL},
		"read-only file, shared":  {0, PageSize, MapOpts{Prot: rw, Flags: abi.MAP_SHARED, Pager: f, Deny: abi.PROT_WRITE}, nil, abi.EACCES},
		"read-only file, private": {0, PageSize, MapOpts{Prot: rw, Flags: abi.MAP_PRIVATE, Pager: f, Deny: abi.PROT_WRITE}, nil, 0},
		"write-only file":         {0, PageSize, MapOpts{Prot: rw, Flags: abi.MAP_PRIVATE, Pager: f, Deny: abi.PROT_READ}, nil, abi.EACCES},
		"noexec":                  {0, PageSize, MapOpts{Prot: abi.PROT_EXEC, Flags: abi.MAP_PRIVATE, Pager: f, Deny: abi.PROT_EXEC}, nil, abi.EPERM},
		"unknown flag, validated": {0, PageSize, MapOpts{Flags: abi.MAP_SHARED_VALIDATE | 1<<30, Pager: f}, nil, 0}, // part of the huge page size
		"MAP_SYNC":                {0, PageSize, MapOpts{Flags: abi.MAP_SHARED_VALIDATE | abi.MAP_SYNC, Pager: f}, nil, abi.EOPNOTSUPP},
		"huge pages":              {0, 2 << 20, MapOpts{Flags: anon | abi.MAP_HUGETLB}, nil, abi.ENOMEM},
		"locked, no limit":        {0, PageSize, MapOpts{Flags: anon | abi.MAP_LOCKED}, func(l *Limits) { l.MayLock, l.Memlock = false, 0 }, abi.EPERM},
		"locked, beyond":          {0, 3 * PageSize, MapOpts{Flags: anon | abi.MAP_LOCKED}, func(l *Limits) { l.MayLock, l.Memlock = false, 2*PageSize }, abi.EAGAIN},
		"RLIMIT_AS":               {0, 3 * PageSize, MapOpts{Flags: anon}, func(l *Limits) { l.AS = 2 * PageSize }, abi.ENOMEM},
		"RLIMIT_DATA":             {0, 3 * PageSize, MapOpts{Prot: rw, Flags: anon}, func(l *Limits) { l.Data = 2 * PageSize }, abi.ENOMEM},
		"RLIMIT_DATA, no data":    {0, 3 * PageSize, MapOpts{Flags: anon}, func(l *Limits) { l.Data = 2 * PageSize }, 0},
		"more than all memory":    {0, 8 << 20, MapOpts{Prot: rw, Flags: anon}, nil, abi.ENOMEM},
		"the same, unreserved":    {0, 8 << 20, MapOpts{Prot: rw, Flags: anon | abi.MAP_NORESERVE}, nil, 0},
		"1 TiB without access":    {0, 1 << 40, MapOpts{Flags: anon}, nil, 0},
	} {
		l := NoLimits
		if c.l != nil {
			c.l(&l)
		}
		s := NewSpace(m, l)
		if a, e := s.Map(c.addr, c.n, c.o); e != c.want || e == 0 && (a&pageMask != 0 || a < MinAddr) {
			t.Errorf("%s: %#x, %v, want %v", name, a, e, c.want)
		}
		audit(t, s)
		s.Release()
	}
	f.done(t)
	wantFree(t, m)
}

func TestPlacement(t *testing.T) {
	m := newMem(t, 1024)
	s := NewSpace(m, NoLimits)
	base := MmapBase(8<<20, 0)
	s.SetLayout(Layout{MmapBase: base})
	o := MapOpts{Prot: abi.PROT_READ, Flags: anon}
	a := mustMap(t, s, 0, 3*PageSize, o)
	b := mustMap(t, s, 0, PageSize, MapOpts{Flags: anon})
	c := mustMap(t, s, 0, 2*PageSize, o)
	if a != base-3*PageSize || b != a-PageSize || c != b-2*PageSize {
		t.Errorf("not top down: %#x %#x %#x from %#x", a, b, c, base)
	}
	if e := s.Unmap(b, PageSize); e != 0 {
		t.Fatal(e)
	}
	if d := mustMap(t, s, 0, 2*PageSize, o); d != c-2*PageSize {
		t.Errorf("two pages went to %#x", d)
	}
	if d := mustMap(t, s, 0, PageSize, MapOpts{Flags: anon}); d != b {
		t.Errorf("the hole was not used: %#x", d)
	}
	if d := mustMap(t, s, 0x20000123, PageSize, o); d != 0x20000000 {
		t.Errorf("the hint was not used: %#x", d)
	}
	if d := mustMap(t, s, 0x20000000, PageSize, o); d == 0x20000000 {
		t.Error("the hint replaced something")
	}
	if d := mustMap(t, s, 0x5000, PageSize, o); d != MinAddr {
		t.Errorf("a low hint: %#x", d)
	}
	if d := mustMap(t, s, 0, PageSize, MapOpts{Flags: anon | abi.MAP_32BIT}); d < 1<<30 || d >= 1<<31 {
		t.Errorf("MAP_32BIT: %#x", d)
	}
	// when nothing is free below the base, above
	s.SetLayout(Layout{MmapBase: 2 * MinAddr})
	if d := mustMap(t, s, 0, 1<<30, MapOpts{Flags: anon}); d < TaskSize/3-PageSize {
		t.Errorf("bottom up: %#x", d)
	}
	s.Release()
	for _, stack := range []uint64{0, 8 << 20, 1 << 40, abi.RLIM_INFINITY} {
		if b := MmapBase(stack, 12345*PageSize); b >= TaskSize-64<<20 || b < TaskSize/8 || b&pageMask != 0 {
			t.Errorf("MmapBase(%d) = %#x", stack, b)
		}
	}
	wantFree(t, m)
}

func TestMapCount(t *testing.T) {
	m := newMem(t, 1024)
	s := NewSpace(m, NoLimits)
	a := Addr(0x10000000)
	mustMap(t, s, a, 2*(MaxVMAs+10)*PageSize, MapOpts{Flags: anon | abi.MAP_FIXED})
	n := 0
	var e abi.Errno
	for i := Addr(1); e == 0; i += 2 {
		if e = s.Protect(a+i*PageSize, PageSize, abi.PROT_READ); e == 0 {
			n++
		}
	}
	if e != abi.ENOMEM || len(s.vmas) < MaxVMAs-2 || len(s.vmas) > MaxVMAs {
		t.Errorf("%d VMAs, %v", len(s.vmas), e)
	}
	for range 8 { // holes can still be filled up to the limit, and no further
		_, e = s.Map(0, PageSize, MapOpts{Prot: abi.PROT_EXEC, Flags: sanon})
	}
	if e != abi.ENOMEM {
		t.Errorf("mmap beyond the limit: %v, %d VMAs", e, len(s.vmas))
	}
	if e := s.Unmap(a+2*MaxVMAs*PageSize, PageSize); e != abi.ENOMEM {
		t.Errorf("munmap that cuts a VMA in two: %v", e)
	}
	audit(t, s)
	s.Release()
	wantFree(t, m)
}

func TestBrk(t *testing.T) {
	m := newMem(t, 1024)
	s := NewSpace(m, NoLimits)
	h := newHost(t, s)
	start := Addr(0x600123)
	s.SetLayout(Layout{StartBrk: start})
	if b := s.Brk(0); b != start {
		t.Errorf("brk(0) = %#x", b)
	}
	if b := s.Brk(start + 3*PageSize); b != start+3*PageSize {
		t.Errorf("grow: %#x", b)
	}
	h.wantStore(0x601000, 5)
	if got := listing(s); got != "601-604 3 [heap];" {
		t.Error(got)
	}
	if b := s.Brk(start + PageSize); b != start+PageSize {
		t.Errorf("shrink: %#x", b)
	}
	if _, r := h.load(0x603000); r != NoMapping {
		t.Errorf("what was given back: %d", r)
	}
	h.wantLoad(0x601000, 5)
	mustMap(t, s, 0x700000, PageSize, MapOpts{Flags: anon | abi.MAP_FIXED})
	if b := s.Brk(0x701000); b != start+PageSize {
		t.Errorf("over a mapping: %#x", b)
	}
	if b := s.Brk(0x700000); b != start+PageSize {
		t.Errorf("Linux keeps a page free: %#x", b)
	}
	if b := s.Brk(0x6fe123); b != 0x6fe123 {
		t.Errorf("up to a mapping: %#x", b)
	}
	l := NoLimits
	l.Data = 1 << 20
	s.SetLimits(l)
	s.Brk(start)
	if b := s.Brk(start + 1<<20 + 1); b != start {
		t.Errorf("RLIMIT_DATA: %#x", b)
	}
	if b := s.Brk(^uint64(0)); b != start {
		t.Errorf("wraps: %#x", b)
	}
	h.end()
	wantFree(t, m)
}

func TestRegionsAndUsage(t *testing.T) {
	m := newMem(t, 1024)
	s := NewSpace(m, NoLimits)
	f := newFile(m, 16)
	text := Addr(0x400000)
	s.SetLayout(Layout{StartCode: text, EndCode: text + 5000, StartBrk: 0x500000, StartStack: 0x7fffb0000000 - 100})
	mustMap(t, s, text, 2*PageSize, MapOpts{Prot: abi.PROT_READ | abi.PROT_EXEC, Flags: abi.MAP_PRIVATE | abi.MAP_FIXED, Pager: f, File: f, Offset: PageSize})
	mustMap(t, s, text+2*PageSize, PageSize, MapOpts{Prot: abi.PROT_READ | abi.PROT_EXEC, Flags: abi.MAP_PRIVATE | abi.MAP_FIXED, Pager: f, File: f, Offset: 3 * PageSize})
	mustMap(t, s, 0x7fffb0000000-2*PageSize, 2*PageSize, MapOpts{Prot: rw, Flags: anon | abi.MAP_FIXED | abi.MAP_GROWSDOWN})
	vdso, _ := m.AllocZeroed(0)
	mustMap(t, s, 0x7f0000000000, PageSize, MapOpts{Prot: abi.PROT_READ | abi.PROT_EXEC, Flags: abi.MAP_PRIVATE | abi.MAP_FIXED, Pager: NewFramePager(m, []physmem.Frame{vdso}), Name: "[vdso]", NoExpand: true})
	sh := mustMap(t, s, 0x7f0000002000, PageSize, MapOpts{Prot: rw, Flags: sanon | abi.MAP_FIXED})
	an := mustMap(t, s, 0x7f0000004000, PageSize, MapOpts{Prot: rw, Flags: anon | abi.MAP_FIXED})
	if e := s.NameAnon(an, PageSize, "pool"); e != 0 {
		t.Error(e)
	}
	if e := s.NameAnon(text, PageSize, "pool"); e != abi.EBADF {
		t.Error(e)
	}
	s.Brk(0x500000 + 10)
	want := "400-403 5 ;500-501 3 [heap];7f0000000-7f0000001 5 [vdso];7f0000002-7f0000003 3 /dev/zero (deleted);7f0000004-7f0000005 3 [anon:pool];7fffafffe-7fffb0000 3 [stack];"
	if got := listing(s); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if r, ok := s.Region(text + PageSize); !ok || r.Offset != PageSize || r.File != any(f) {
		t.Errorf("%+v", r)
	}
	u := User{Space: s, Sleep: direct{}}
	for _, a := range []Addr{sh, an, 0x500000, 0x7fffb0000000 - 8} {
		if e := u.CopyOut(a, []byte{1}); e != 0 {
			t.Fatal(e)
		}
	}
	if _, e := u.Load32(text); e != 0 {
		t.Fatal(e)
	}
	us := s.Usage()
	if us.Size != 9 || us.Code != 2 || us.Lib != 2 || us.Data != 2 || us.Stack != 2 || us.Anon != 4 || us.File != 4 || us.RSS != 8 || us.HWM != 8 || us.VMAs != 6 {
		t.Errorf("%+v", us)
	}
	if p, a := s.Resident(0, ^uint64(0)); p != 8 || a != 4 {
		t.Errorf("resident: %d, %d", p, a)
	}
	if e := u.Store32(0x7f0000000000, 1); e != abi.EFAULT {
		t.Errorf("the vDSO was written to: %v", e)
	}
	if _, e := s.Remap(0x7f0000000000, PageSize, 2*PageSize, abi.MREMAP_MAYMOVE, 0); e != abi.EFAULT {
		t.Errorf("the vDSO was enlarged: %v", e)
	}
	audit(t, s)
	s.Release()
	if s.Acquire() {
		t.Error("a dead Space was acquired")
	}
	if _, e := s.Map(0, PageSize, MapOpts{Flags: anon}); e != abi.ENOMEM {
		t.Error(e)
	}
	if r := s.Fault(text, Read, direct{}); r != NoMapping {
		t.Error(r)
	}
	f.done(t)
	m.Unref(vdso)
	wantFree(t, m)
}

func TestLocking(t *testing.T) {
	m := newMem(t, 1024)
	l := NoLimits
	l.MayLock, l.Memlock = false, 8*PageSize
	s := NewSpace(m, l)
	a := mustMap(t, s, 0, 16*PageSize, MapOpts{Prot: rw, Flags: anon})
	if e := s.Lock(direct{}, a+1, PageSize, false); e != 0 {
		t.Fatal(e)
	}
	if u := s.Usage(); u.Locked != 2 || u.Anon < 2 {
		t.Errorf("%+v", u)
	}
	if e := s.Lock(direct{}, a, 9*PageSize, true); e != abi.ENOMEM {
		t.Errorf("beyond the limit: %v", e)
	}
	if e := s.Lock(direct{}, a, 8*PageSize, true); e != 0 {
		t.Errorf("what is locked already does not count again: %v", e)
	}
	if e := s.Advise(direct{}, a, PageSize, abi.MADV_DONTNEED); e != abi.EINVAL {
		t.Errorf("DONTNEED of locked memory: %v", e)
	}
	if e := s.Unlock(a, 16*PageSize); e != 0 || s.Usage().Locked != 0 {
		t.Errorf("%v, %+v", e, s.Usage())
	}
	if e := s.LockAll(direct{}, abi.MCL_CURRENT); e != abi.ENOMEM {
		t.Errorf("mlockall beyond the limit: %v", e)
	}
	for _, f := range []uint64{0, abi.MCL_ONFAULT, 8} {
		if e := s.LockAll(direct{}, f); e != abi.EINVAL {
			t.Errorf("flags %d: %v", f, e)
		}
	}
	s.SetLimits(NoLimits)
	if e := s.LockAll(direct{}, abi.MCL_CURRENT|abi.MCL_FUTURE); e != 0 {
		t.Fatal(e)
	}
	mustMap(t, s, 0, 4*PageSize, MapOpts{Prot: rw, Flags: anon, Sleep: direct{}})
	if u := s.Usage(); u.Locked != 20 || u.Anon != 20 {
		t.Errorf("%+v", u)
	}
	s.UnlockAll()
	if u := s.Usage(); u.Locked != 0 {
		t.Errorf("%+v", u)
	}
	vec := make([]byte, 20)
	if e := s.Incore(a-4*PageSize, vec); e != 0 || vec[0] != 1 || vec[19] != 1 {
		t.Errorf("%v %v", e, vec)
	}
	l.Memlock = 0
	s.SetLimits(l)
	if e := s.Lock(direct{}, a, PageSize, false); e != abi.EPERM {
		t.Errorf("no limit: %v", e)
	}
	audit(t, s)
	s.Release()
	wantFree(t, m)
}

func TestPopulate(t *testing.T) {
	m := newMem(t, 1024)
	s := NewSpace(m, NoLimits)
	f := newFile(m, 32)
	mustMap(t, s, 0, 100*PageSize, MapOpts{Prot: rw, Flags: anon | abi.MAP_POPULATE, Sleep: direct{}})
	if u := s.Usage(); u.Anon != 100 {
		t.Errorf("%+v", u)
	}
	a := mustMap(t, s, 0, 40*PageSize, MapOpts{Prot: abi.PROT_READ, Flags: abi.MAP_SHARED | abi.MAP_POPULATE, Pager: f, Sleep: direct{}})
	if u := s.Usage(); u.File != 32 {
		t.Errorf("%+v", u)
	}
	for name, c := range map[string]struct {
		addr Addr
		n    uint64
		what int32
		want abi.Errno
	}{
		"readable":     {a, 32 * PageSize, abi.MADV_POPULATE_READ, 0},
		"beyond file":  {a, 33 * PageSize, abi.MADV_POPULATE_READ, abi.EFAULT},
		"not writable": {a, PageSize, abi.MADV_POPULATE_WRITE, abi.EINVAL},
		"a hole":       {0x500000, PageSize, abi.MADV_POPULATE_WRITE, abi.ENOMEM},
	} {
		if e := s.Advise(direct{}, c.addr, c.n, c.what); e != c.want {
			t.Errorf("%s: %v, want %v", name, e, c.want)
		}
	}
	if e := s.Sync(direct{}, a, 40*PageSize, abi.MS_SYNC); e != 0 {
		t.Error(e)
	}
	if e := s.Advise(direct{}, a, PageSize, abi.MADV_REMOVE); e != abi.EOPNOTSUPP {
		t.Error(e)
	}
	s.Release()
	f.done(t)
	wantFree(t, m)
}

func TestAnonPager(t *testing.T) {
	m := newMem(t, 1024)
	p := NewAnonPager(m, 64*PageSize)
	p.Hold()
	s, s2 := NewSpace(m, NoLimits), NewSpace(m, NoLimits)
	h, h2 := newHost(t, s), newHost(t, s2)
	a := mustMap(t, s, 0, 64*PageSize, MapOpts{Prot: rw, Flags: abi.MAP_SHARED, Pager: p})
	b := mustMap(t, s2, 0x10000000, 32*PageSize, MapOpts{Prot: rw, Flags: abi.MAP_SHARED, Pager: p, Offset: 16 * PageSize})
	for i := range Addr(64) {
		h.wantStore(a+i*PageSize, i)
	}
	if n := s.Stats().Minor; n > 20 {
		t.Errorf("%d faults for 64 sequential pages", n)
	}
	for i := range Addr(32) {
		h2.wantLoad(b+i*PageSize, i+16)
	}
	h2.wantStore(b, 99)
	h.wantLoad(a+16*PageSize, 99)
	if e := s.Advise(direct{}, a+16*PageSize, 2*PageSize, abi.MADV_REMOVE); e != 0 {
		t.Fatal(e)
	}
	h2.wantLoad(b, 0)
	h.wantLoad(a+18*PageSize, 18)
	h.end()
	h2.end()
	if p.Resident() == 0 {
		t.Error("Hold did not keep the pages")
	}
	p.Drop()
	if p.Resident() != 0 {
		t.Error("pages stay without a holder")
	}
	if _, e := p.Page(direct{}, 0, false); e != abi.ENXIO {
		t.Error(e)
	}
	wantFree(t, m)
}
