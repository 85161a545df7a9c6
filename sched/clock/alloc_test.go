//go:build !lockcheck

package clock

import "testing"

func TestTimersAllocateNothing(t *testing.T) {
	c := NewVirtual(0)
	timer := c.NewTimer(func() {})
	timer.Reset(1)
	if n := testing.AllocsPerRun(100, func() { c.Monotonic(); timer.Reset(5); timer.Stop() }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
