package pagecache

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"goum/arch/abi"
	"goum/mm"
	"goum/physmem"
)

func pages(t testing.TB) (*Pages, *physmem.Memory) {
	m, err := physmem.New(64 << 20)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return New(m).NewPages(nil), m
}

// audit checks p against what its invariants say.
func audit(t *testing.T, p *Pages) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for _, f := range p.first {
		if f != 0 {
			n++
		}
	}
	for k, c := range p.rest {
		used := 0
		for _, f := range c.frames {
			if f != 0 {
				used++
			}
		}
		if used != c.used || used == 0 {
			t.Errorf("part %d says %d pages and has %d", k, c.used, used)
		}
		n += used
	}
	if n != p.count || int64(n) != p.cache.Count() {
		t.Errorf("%d pages, counted %d and %d", n, p.count, p.cache.Count())
	}
}

// Any sequence of operations leaves what a slice of bytes would hold.
func TestModel(t *testing.T) {
	p, m := pages(t)
	before := m.Stats().Free
	r := rand.New(rand.NewPCG(1, 2))
	var model []byte
	const most = 3 << 20 // so that several parts of the table are used
	extend := func(n int) {
		if n > len(model) {
			model = append(model, make([]byte, n-len(model))...)
		}
	}
	for i := range 3000 {
		off := r.IntN(most)
		if r.IntN(2) == 0 {
			off &^= 4095
		}
		n := r.IntN(20000)
		switch r.IntN(7) {
		case 0, 1, 2:
			b := make([]byte, n)
			for k := range b {
				b[k] = byte(i)
			}
			if k, e := p.WriteAt(mm.BytesBuf(b), int64(off), n); k != n || e != 0 {
				t.Fatalf("write %d: %d %s", n, k, e.Name())
			}
			if n > 0 {
				extend(off + n)
				copy(model[off:], b)
			}
		case 3:
			b := make([]byte, n)
			k, _ := p.ReadAt(mm.BytesBuf(b), int64(off))
			want := model[min(off, len(model)):min(off+n, len(model))]
			if !bytes.Equal(b[:k], want) {
				t.Fatalf("step %d: %d bytes at %d differ from the model", i, n, off)
			}
		case 4:
			if r.IntN(4) == 0 {
				p.Truncate(int64(off))
				if off < len(model) {
					model = model[:off:off]
				}
				extend(off)
			}
		case 5:
			if n > 0 {
				p.Punch(int64(off), int64(n))
				if off < len(model) {
					clear(model[off:min(off+n, len(model))])
				}
			}
		case 6:
			if n > 0 {
				if e := p.Allocate(int64(off), int64(n)); e != 0 {
					t.Fatal(e.Name())
				}
			}
		}
		if p.Size() != int64(len(model)) {
			t.Fatalf("step %d: size %d, want %d", i, p.Size(), len(model))
		}
	}
	audit(t, p)
	p.Close()
	if got := m.Stats().Free; got != before {
		t.Errorf("%d frames lost", before-got)
	}
}

// What a mapping is given is what the file holds, and a truncation takes it away.
func TestPager(t *testing.T) {
	p, m := pages(t)
	p.WriteAt(mm.BytesBuf([]byte("hello")), 5000, 5)
	f, e := p.Page(nil, 1, true)
	if e != 0 {
		t.Fatal(e.Name())
	}
	copy(m.Bytes(f)[904:], "HELLO")
	b := make([]byte, 5)
	p.ReadAt(mm.BytesBuf(b), 5000)
	if string(b) != "HELLO" {
		t.Errorf("a write through a mapping reads as %q", b)
	}
	hole, e := p.Page(nil, 0, false)
	if e != 0 || p.Count() != 2 {
		t.Errorf("a hole that is touched: %s, %d pages", e.Name(), p.Count())
	}
	frames := make([]physmem.Frame, 4)
	p.Cached(0, frames)
	if frames[0] != hole || frames[1] != f || frames[2] != 0 {
		t.Errorf("Cached says %v", frames)
	}
	s := mm.NewSpace(m, mm.NoLimits)
	p.Mapped(s, 0x10000, 8192, 0, true, true)
	if !p.Writable() {
		t.Error("a shared mapping does not count as writable")
	}
	p.Truncate(4096)
	if _, e := p.Page(nil, 1, false); e != abi.ENXIO {
		t.Errorf("a page beyond the end: %s, want ENXIO", e.Name())
	}
	if n := m.RefCount(f); n != 2 {
		t.Errorf("the truncated page has %d references, want the two of this test", n)
	}
	p.Close()
	if p.Count() != 1 {
		t.Error("a mapped file lost its pages when it was closed")
	}
	p.Unmapped(s, 0x10000, 8192, 0, true, true)
	if p.Count() != 0 || p.Writable() {
		t.Error("the last mapping went, and the pages stay")
	}
	for _, f := range []physmem.Frame{f, f, hole, hole} {
		m.Unref(f)
	}
}

// A fault and a write that meet on a hole leave one page.
func TestFaultAndWrite(t *testing.T) {
	p, m := pages(t)
	before := m.Stats().Free
	for i := range int64(200) {
		p.Truncate(0)
		p.Truncate(8 * 4096)
		done := make(chan bool)
		go func() {
			for k := range uint64(8) {
				if f, e := p.Page(nil, k, false); e == 0 {
					m.Unref(f)
				}
			}
			close(done)
		}()
		b := bytes.Repeat([]byte{byte(i)}, 6*4096)
		p.WriteAt(mm.BytesBuf(b), 100, len(b))
		<-done
		got := make([]byte, 8*4096)
		p.ReadAt(mm.BytesBuf(got), 0)
		if !bytes.Equal(got[100:100+len(b)], b) || got[0] != 0 || got[100+len(b)] != 0 {
			t.Fatal("the write was lost, or more than it")
		}
	}
	audit(t, p)
	p.Close()
	if got := m.Stats().Free; got != before {
		t.Errorf("%d frames lost", before-got)
	}
}

func BenchmarkWrite1M(b *testing.B) {
	p, _ := pages(b)
	data := make([]byte, 1<<20)
	var buf mm.Buf
	b.SetBytes(1 << 20)
	b.ReportAllocs()
	for b.Loop() {
		p.Truncate(0)
		buf.SetBytes(data)
		p.WriteAt(&buf, 0, len(data))
	}
}
