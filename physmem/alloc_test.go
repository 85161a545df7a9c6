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

// Runs that are no power of two long are taken from recycled memory once there is some: fresh memory costs thirty times as much.
func TestRunsAreRecycled(t *testing.T) {
	m := newMemory(t, 4096)
	before := uint64(0)
	for i := range 100 {
		var frames []Frame
		for _, n := range []int{7, 3, 5, 12} {
			f, got, e := m.AllocRun(n, false)
			if e != 0 || got != n {
				t.Fatal(got, e)
			}
			frames = append(frames, f)
		}
		for k, n := range []int{7, 3, 5, 12} {
			m.UnrefRun(frames[k], n)
		}
		if fresh := m.Stats().NeverTouched; i > 1 && fresh != before {
			t.Fatalf("round %d: %d fresh frames, %d before", i, fresh, before)
		}
		before = m.Stats().NeverTouched
	}
}
