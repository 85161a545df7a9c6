package mm

import (
	"testing"

	"goum/arch/abi"
	"goum/physmem"
	"goum/stub"
)

func benchSpace(b *testing.B, pages uint64) (*physmem.Memory, *Space, Addr, func(*Space)) {
	m := newMem(b, int(pages)*4)
	s := NewSpace(m, NoLimits)
	a := mustMap(b, s, 0, pages*PageSize, MapOpts{Prot: rw, Flags: anon})
	var ops [stub.MaxOps]stub.Op
	return m, s, a, func(s *Space) {
		for {
			n, seq := s.NextOps(ops[:])
			if n == 0 {
				return
			}
			for i := range ops[:n] {
				s.Allows(&ops[i])
			}
			s.Proven(seq)
		}
	}
}

// BenchmarkTouchUnmap is a one-page demand-zero fault on recycled memory and its unmapping, without the stub.
func BenchmarkTouchUnmap(b *testing.B) {
	_, s, a, flush := benchSpace(b, 64)
	b.ReportAllocs()
	for b.Loop() {
		s.Fault(a, Write, direct{})
		flush(s)
		s.Advise(direct{}, a, 64*PageSize, abi.MADV_DONTNEED)
		flush(s)
	}
}

// BenchmarkForkExit forks a process of about the size of a shell, 24 private pages in four VMAs, and ends the child.
func BenchmarkForkExit(b *testing.B) {
	_, s, _, flush := benchSpace(b, 64)
	for i := range Addr(4) {
		a := mustMap(b, s, 0x10000000+i<<28, 16*PageSize, MapOpts{Prot: rw, Flags: anon | abi.MAP_FIXED})
		for j := range Addr(6) {
			s.Fault(a+j*PageSize, Write, direct{})
		}
	}
	flush(s)
	b.ReportAllocs()
	for b.Loop() {
		c, _ := s.Fork()
		flush(s)
		flush(c)
		c.Release()
		c.Detached()
	}
}

// BenchmarkCopyOut is a page of data to the guest.
func BenchmarkCopyOut(b *testing.B) {
	_, s, a, flush := benchSpace(b, 64)
	u := User{Space: s, Sleep: direct{}}
	var p [PageSize]byte
	u.CopyOut(a, p[:])
	flush(s)
	b.SetBytes(PageSize)
	for b.Loop() {
		u.CopyOut(a, p[:])
	}
}
