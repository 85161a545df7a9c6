//go:build !lockcheck

package physmem

import "testing"

func TestAllocFreesNoGarbage(t *testing.T) {
	m := newMemory(t, 4096)
	var q Quarantine
	seq := uint64(0)
	if n := testing.AllocsPerRun(1000, func() {
		f, n, e := m.AllocRun(24, true)
		if e != 0 {
			t.Fatal(e)
		}
		m.RefRun(f, n)
		seq++
		q.Add(m, seq, f, n)
		m.UnrefRun(f, n)
		q.Release(m, seq)
	}); n != 0 {
		t.Errorf("%v allocations of Go memory", n)
	}
}
