package random

import (
	"bytes"
	"testing"

	"goum/kernel/fs/fstest"
)

func TestSeeded(t *testing.T) {
	a, b, c := Seeded([32]byte{1}), Seeded([32]byte{1}), Seeded([32]byte{2})
	var x, y, z [10000]byte
	a.Fill(x[:])
	b.Fill(y[:])
	c.Fill(z[:])
	if x != y {
		t.Error("the same seed gives different bytes")
	}
	if x == z {
		t.Error("different seeds give the same bytes")
	}
	if bytes.Equal(x[:5000], x[5000:]) {
		t.Error("it repeats itself")
	}
	a.Mix([]byte("something"))
	if a.Uint64() == b.Uint64() {
		t.Error("mixing changes nothing")
	}
	p, q := New(), New()
	if p.Uint64() == q.Uint64() {
		t.Error("two sources seeded by the host agree")
	}
}

func TestBelow(t *testing.T) {
	s := Seeded([32]byte{3})
	var seen [7]int
	for range 7000 {
		seen[s.Below(7)]++
	}
	for i, n := range seen {
		if n < 800 || n > 1200 {
			t.Errorf("%d came %d times in 7000, want about 1000", i, n)
		}
	}
	if s.Below(0) != 0 || s.Below(1) != 0 {
		t.Error("Below(0) or Below(1) is not 0")
	}
	if u := s.UUID(); u[6]>>4 != 4 || u[8]>>6 != 2 {
		t.Errorf("UUID %x has no version 4 and variant", u)
	}
}

func TestAllocs(t *testing.T) {
	if fstest.LockCheck {
		t.Skip("checking locks allocates")
	}
	s := New()
	b := make([]byte, 256)
	if n := testing.AllocsPerRun(100, func() { s.Fill(b); s.Uint64() }); n != 0 {
		t.Errorf("%v allocations, want none", n)
	}
}
