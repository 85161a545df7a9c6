//go:build !lockcheck

package mm

import (
	"testing"

	"goum/arch/abi"
	"goum/stub"
)

// TestFaultAllocates: the path of a demand-zero fault, its operation and its proof make no garbage.
func TestFaultAllocates(t *testing.T) {
	m := newMem(t, 32768)
	s := NewSpace(m, NoLimits)
	const n = 20000
	a := mustMap(t, s, 0, n*PageSize, MapOpts{Prot: rw, Flags: anon})
	u := User{Space: s, Sleep: direct{}}
	var ops [8]stub.Op
	flush := func() {
		for {
			k, seq := s.NextOps(ops[:])
			if k == 0 {
				return
			}
			for i := range ops[:k] {
				if !s.Allows(&ops[i]) {
					t.Fatal("refused")
				}
			}
			s.Proven(seq)
		}
	}
	for i := Addr(0); i < n; i += fanout { // nodes of the page table first
		if r := s.Fault(a+i*PageSize, Write, direct{}); r != Resolved {
			t.Fatal(r)
		}
		flush()
	}
	next := Addr(1)
	if got := testing.AllocsPerRun(150, func() {
		next += 97
		if r := s.Fault(a+next*PageSize, Write, direct{}); r != Resolved {
			t.Fatal(r)
		}
		if r := s.Fault(a+(next+3000)*PageSize, Read, direct{}); r != Resolved {
			t.Fatal(r)
		}
		flush()
	}); got != 0 {
		t.Errorf("a fault allocates %v times", got)
	}
	var b [64]byte
	if got := testing.AllocsPerRun(100, func() {
		if u.CopyOut(a+PageSize-10, b[:]) != 0 || u.CopyIn(b[:], a+PageSize-10) != 0 {
			t.Fatal("copy")
		}
		if _, e := u.Cas32(a, 0, 0); e != 0 {
			t.Fatal(e)
		}
		flush()
	}); got != 0 {
		t.Errorf("a copy allocates %v times", got)
	}
	if got := testing.AllocsPerRun(100, func() { // unmapping by MADV_DONTNEED and touching again
		if s.Advise(direct{}, a, PageSize, abi.MADV_DONTNEED) != 0 || s.Fault(a, Write, direct{}) != Resolved {
			t.Fatal("again")
		}
		flush()
	}); got != 0 {
		t.Errorf("unmap and touch allocate %v times", got)
	}
	var buf Buf
	var p [100]byte
	iov := []abi.Iovec{{Base: a, Len: 3}, {Base: a + PageSize, Len: 40}}
	if got := testing.AllocsPerRun(100, func() {
		buf.SetOne(u, a, 100)
		buf.Write(p[:])
		buf.Set(u, iov)
		buf.Read(p[:])
	}); got != 0 {
		t.Errorf("a Buf allocates %v times", got)
	}
	f := newFile(m, 64)
	fa := mustMap(t, s, 0, 64*PageSize, MapOpts{Prot: abi.PROT_READ, Flags: abi.MAP_SHARED, Pager: f})
	s.Fault(fa+40*PageSize, Read, direct{})
	s.Fault(fa, Read, direct{})
	if got := testing.AllocsPerRun(100, func() { // page cache
		s.Advise(direct{}, fa, PageSize, abi.MADV_DONTNEED)
		if s.Fault(fa, Read, direct{}) != Resolved {
			t.Fatal("file")
		}
		flush()
	}); got != 0 {
		t.Errorf("a fault on page cache allocates %v times", got)
	}
	audit(t, s)
}
