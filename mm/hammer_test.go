package mm

import (
	"math/rand"
	"sync"
	"testing"

	"goum/arch/abi"
	"goum/stub"
)

// TestHammer runs the calls of one Space on several goroutines, with a stub that keeps flushing, and looks at what is left.
func TestHammer(t *testing.T) {
	const pages, rounds = 128, 1500
	m := newMem(t, 8192)
	s := NewSpace(m, NoLimits)
	a := Addr(0x10000000)
	mustMap(t, s, a, pages*PageSize, MapOpts{Prot: rw, Flags: anon | abi.MAP_FIXED})
	var workers, flusher sync.WaitGroup
	stop := make(chan struct{})
	flush := func(s *Space) {
		var ops [stub.MaxOps]stub.Op
		for {
			n, seq := s.NextOps(ops[:])
			if n == 0 {
				return
			}
			for i := range ops[:n] {
				if !s.Allows(&ops[i]) && ops[i].Kind != stub.OpMap {
					t.Errorf("refused %+v", ops[i])
				}
			}
			s.Proven(seq)
		}
	}
	flusher.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				flush(s)
			}
		}
	})
	for w := range 4 {
		workers.Go(func() {
			r := rand.New(rand.NewSource(int64(w)))
			u := User{Space: s, Sleep: direct{}}
			var b [3 * PageSize]byte
			for range rounds {
				p := a + uint64(r.Intn(pages))*PageSize
				n := uint64(1+r.Intn(16)) * PageSize
				n = min(n, a+pages*PageSize-p)
				switch r.Intn(12) {
				case 0:
					s.Unmap(p, n)
				case 1:
					s.Map(p, n, MapOpts{Prot: rw, Flags: anon | abi.MAP_FIXED})
				case 2:
					s.Map(p, n, MapOpts{Prot: rw, Flags: sanon | abi.MAP_FIXED})
				case 3:
					s.Protect(p, n, uint64(r.Intn(8)))
				case 4:
					s.Remap(p, n, n, abi.MREMAP_MAYMOVE|abi.MREMAP_FIXED, a+uint64(r.Intn(pages))*PageSize)
				case 5:
					s.Advise(direct{}, p, n, abi.MADV_DONTNEED)
				case 6:
					c, e := s.Fork()
					if e != 0 {
						t.Error(e)
						return
					}
					User{Space: c, Sleep: direct{}}.CopyOut(p, b[:])
					flush(c)
					if err := c.Audit(); err != nil {
						t.Error(err)
					}
					c.Release()
					c.Detached()
				case 7:
					u.CopyIn(b[:], p)
				case 8, 9:
					u.CopyOut(p, b[:])
				case 10:
					s.Fault(p, Write, direct{})
				case 11:
					u.Cas32(p, 0, 1)
				}
			}
		})
	}
	workers.Wait()
	close(stop)
	flusher.Wait()
	flush(s)
	audit(t, s)
	if n := m.Stats().Quarantined; n != 0 {
		t.Errorf("%d frames in quarantine although everything is proven", n)
	}
	s.Release()
	s.Detached()
	wantFree(t, m)
}
