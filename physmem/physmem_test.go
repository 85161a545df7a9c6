package physmem

import (
	"bytes"
	"errors"
	"math/rand"
	"testing"

	"golang.org/x/sys/unix"

	"goum/arch/abi"
)

func newMemory(t testing.TB, frames int) *Memory {
	t.Helper()
	m, err := New(int64(frames) * PageSize)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

// audit checks the free lists against the states, the counts and the references.
func audit(t *testing.T, m *Memory) {
	t.Helper()
	var free [kinds]uint32
	onList := map[Frame]bool{}
	for kind := range kinds {
		for order := range MaxOrder + 1 {
			prev := Frame(0)
			for f := m.lists[kind][order]; f != 0; f = m.links[f].next {
				want := uint8(order) | stateFree
				if kind == clean {
					want |= stateClean
				}
				if m.state[f] != want || m.links[f].prev != prev || f%(1<<order) != 0 {
					t.Fatalf("block %d: state %#x, want %#x; prev %d, want %d", f, m.state[f], want, m.links[f].prev, prev)
				}
				for i := range Frame(1) << order {
					if onList[f+i] || m.refs[f+i].Load() != 0 || i > 0 && m.state[f+i] != 0 {
						t.Fatalf("frame %d of block %d is on two lists, referenced, or has a state", f+i, f)
					}
					onList[f+i] = true
				}
				free[kind] += 1 << order
				prev = f
			}
		}
	}
	if free != m.free {
		t.Fatalf("%v frames on the lists, accounts say %v", free, m.free)
	}
	for f := Frame(1); uint32(f) < m.frames; f++ {
		if !m.IsZero(f) && onList[f] == (m.refs[f].Load() > 0) {
			t.Fatalf("frame %d: on a list is %v with %d references", f, onList[f], m.refs[f].Load())
		}
	}
}

func TestNew(t *testing.T) {
	for _, n := range []int64{0, -4096, 4096, MinBytes + 1, MaxBytes + PageSize} {
		if m, err := New(n); err == nil {
			m.Close()
			t.Errorf("New(%d) succeeded", n)
		}
	}
	m := newMemory(t, 1000)
	if err := unix.Ftruncate(m.Fd(), 0); !errors.Is(err, unix.EPERM) {
		t.Errorf("the memfd can be cut off: %v", err)
	}
	if err := unix.Ftruncate(m.Fd(), 1<<30); !errors.Is(err, unix.EPERM) {
		t.Errorf("the memfd can grow: %v", err)
	}
	if fl, err := unix.FcntlInt(uintptr(m.Fd()), unix.F_GETFD, 0); err != nil || fl&unix.FD_CLOEXEC == 0 {
		t.Error("the memfd survives exec")
	}
	if st := m.Stats(); st.Total != 1000-1-ZeroFrames || st.Free != st.Total || st.NeverTouched != st.Total {
		t.Errorf("stats %+v", st)
	}
	var stat unix.Stat_t
	if err := unix.Fstat(m.Fd(), &stat); err != nil || stat.Blocks != 0 {
		t.Errorf("a fresh memory takes %d blocks of the host, %v", stat.Blocks, err)
	}
	audit(t, m)
}

func TestAllocEverything(t *testing.T) {
	for order := range MaxOrder + 1 {
		m := newMemory(t, 4096)
		var got []Frame
		for {
			f, e := m.AllocZeroed(order)
			if e == abi.ENOMEM {
				break
			}
			if f%(1<<order) != 0 {
				t.Fatalf("order %d: frame %d is not aligned", order, f)
			}
			got = append(got, f)
		}
		if n := len(got) << order; n < 4096-32-2<<order {
			t.Errorf("order %d: only %d frames", order, n)
		}
		for _, f := range got {
			m.UnrefRun(f, 1<<order)
		}
		if st := m.Stats(); st.Free != st.Total {
			t.Errorf("order %d: %+v", order, st)
		}
		audit(t, m)
		// used and clean blocks stay apart, but each kind is whole again
		if f, e := m.Alloc(MaxOrder); e != 0 {
			t.Errorf("order %d: fragmented after all was freed", order)
		} else {
			m.UnrefRun(f, 1<<MaxOrder)
		}
	}
	m := newMemory(t, 1024)
	for _, order := range []int{-1, MaxOrder + 1} {
		if _, e := m.Alloc(order); e != abi.ENOMEM {
			t.Errorf("order %d: %v", order, e)
		}
	}
}

func TestZeroing(t *testing.T) {
	m := newMemory(t, 1024)
	zero := make([]byte, PageSize)
	f, _ := m.AllocZeroed(3)
	if m.Stats().Zeroed != 0 {
		t.Error("frames that were never used were zeroed")
	}
	for i := range Frame(8) {
		for j := range m.Bytes(f + i) {
			m.Bytes(f + i)[j] = 0xaa
		}
	}
	m.UnrefRun(f, 8)
	g, _ := m.AllocZeroed(3)
	if g != f {
		t.Errorf("recycled memory goes first: got %d, want %d", g, f)
	}
	for i := range Frame(8) {
		if !bytes.Equal(m.Bytes(g+i), zero) {
			t.Fatalf("frame %d is not zeroed", g+i)
		}
	}
	if m.Stats().Zeroed != 8 {
		t.Errorf("%d zeroed", m.Stats().Zeroed)
	}
	m.Bytes(g)[5] = 1
	m.UnrefRun(g, 8)
	if n := m.Reclaim(1000); n != 8 {
		t.Errorf("Reclaim returned %d", n)
	}
	audit(t, m)
	if st := m.Stats(); st.NeverTouched != st.Total || st.Punched != 8 {
		t.Errorf("stats %+v", st)
	}
	k, n, e := m.AllocRun(1, true)
	if e != 0 || n != 1 || !bytes.Equal(m.Bytes(k), zero) || m.Stats().Zeroed != 8 {
		t.Error("what was given back to the host is not zero, or was zeroed by hand")
	}
	m.Unref(k)
}

func TestAllocRun(t *testing.T) {
	m := newMemory(t, 1024)
	total := m.Stats().Free
	for _, most := range []int{1, 2, 3, 5, 16, 24, 63, 64, 500, 512, 10000} {
		f, n, e := m.AllocRun(most, false)
		if e != 0 || n != min(most, n) || n < 1 {
			t.Fatalf("AllocRun(%d): %d, %v", most, n, e)
		}
		if most <= 256 && n != most {
			t.Errorf("AllocRun(%d) gave %d", most, n)
		}
		if st := m.Stats(); st.Free != total-uint64(n) {
			t.Errorf("AllocRun(%d): %d free of %d", most, st.Free, total)
		}
		audit(t, m)
		m.UnrefRun(f, n)
		m.Reclaim(1 << 20)
	}
	if _, _, e := m.AllocRun(0, false); e != abi.ENOMEM {
		t.Error(e)
	}
	// with single frames free only, a run is a single frame
	var all []Frame
	for {
		f, e := m.Alloc(0)
		if e != 0 {
			break
		}
		all = append(all, f)
	}
	for i := 0; i < len(all); i += 2 {
		m.Unref(all[i])
	}
	if f, n, e := m.AllocRun(64, true); e != 0 || n != 1 {
		t.Errorf("fragmented: %d frames, %v", n, e)
	} else {
		m.Unref(f)
	}
	for i := 1; i < len(all); i += 2 {
		m.Unref(all[i])
	}
	audit(t, m)
}

func TestReferences(t *testing.T) {
	m := newMemory(t, 1024)
	f, _ := m.Alloc(2)
	m.RefRun(f, 4)
	m.UnrefRun(f, 4)
	m.Ref(f + 1)
	m.UnrefRun(f, 4)
	if m.RefCount(f) != 0 || m.RefCount(f+1) != 1 {
		t.Error("counts")
	}
	if st := m.Stats(); st.Free != st.Total-1 {
		t.Errorf("stats %+v", st)
	}
	m.Unref(f + 1)
	audit(t, m)
	for name, wrong := range map[string]func(){
		"unref of a free frame": func() { m.Unref(f) },
		"ref of a free frame":   func() { m.Ref(f + 3) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s goes unnoticed", name)
				}
			}()
			wrong()
		}()
	}
	z := m.Zero()
	m.Ref(z)
	m.UnrefRun(z, ZeroFrames)
	m.Unref(z)
	if f, e := m.Alloc(0); e != 0 || m.IsZero(f) {
		t.Error("a zero frame was given out")
	}
}

func TestQuarantine(t *testing.T) {
	m := newMemory(t, 1024)
	var q Quarantine
	a, _ := m.Alloc(4)
	b, _ := m.Alloc(0)
	q.Add(m, 5, a, 8)
	q.Add(m, 5, a+8, 8)
	q.Add(m, 9, b, 1)
	q.Add(m, 9, m.Zero(), 1)
	if q.Len() != 17 || m.Stats().Quarantined != 17 || len(q.q) != 2 {
		t.Errorf("%d held in %d entries", q.Len(), len(q.q))
	}
	q.Release(m, 4)
	if m.RefCount(a) != 1 {
		t.Error("released too early")
	}
	q.Release(m, 5)
	if m.RefCount(a+15) != 0 || m.RefCount(b) != 1 {
		t.Error("release by number")
	}
	c, _ := m.Alloc(0)
	q.Add(m, 3, c, 1) // a smaller number than before waits all the same
	q.Release(m, 8)
	if m.RefCount(c) != 1 {
		t.Error("released before what was added earlier")
	}
	q.Release(m, 100)
	if st := m.Stats(); st.Free != st.Total || st.Quarantined != 0 || q.Len() != 0 {
		t.Errorf("stats %+v", st)
	}
	audit(t, m)
}

// TestAgainstModel allocates and frees at random and looks at every frame's bytes.
func TestAgainstModel(t *testing.T) {
	m := newMemory(t, 2048)
	r := rand.New(rand.NewSource(1))
	type block struct {
		f   Frame
		n   int
		tag byte
	}
	var blocks []block
	for step := range 20000 {
		switch k := r.Intn(10); {
		case k < 5:
			zero := r.Intn(2) == 0
			f, n, e := m.AllocRun(1+r.Intn(70), zero)
			if e != 0 {
				if m.Stats().Free != 0 {
					t.Fatalf("ENOMEM with %d free", m.Stats().Free)
				}
				continue
			}
			b := m.RunBytes(f, n)
			if zero && (b[0] != 0 || b[len(b)-1] != 0) {
				t.Fatalf("frame %d is not zero", f)
			}
			tag := byte(step%255 + 1)
			for i := range n {
				b[i<<PageShift], b[i<<PageShift+PageSize-1] = tag, tag
			}
			blocks = append(blocks, block{f, n, tag})
		case len(blocks) > 0 && k < 9:
			i := r.Intn(len(blocks))
			b := blocks[i]
			for j := range b.n {
				if p := m.Bytes(b.f + Frame(j)); p[0] != b.tag || p[PageSize-1] != b.tag {
					t.Fatalf("frame %d: somebody else wrote to it", b.f+Frame(j))
				}
			}
			cut := r.Intn(b.n) + 1
			m.UnrefRun(b.f, cut)
			if blocks[i].f, blocks[i].n = b.f+Frame(cut), b.n-cut; blocks[i].n == 0 {
				blocks[i] = blocks[len(blocks)-1]
				blocks = blocks[:len(blocks)-1]
			}
		case step%100 == 0:
			m.Reclaim(r.Intn(200))
		}
		if step%1000 == 0 {
			audit(t, m)
		}
	}
	for _, b := range blocks {
		m.UnrefRun(b.f, b.n)
	}
	audit(t, m)
	if st := m.Stats(); st.Free != st.Total {
		t.Errorf("stats %+v", st)
	}
}

func TestFailAfter(t *testing.T) {
	m := newMemory(t, 1024)
	m.FailAfter(2)
	f, e := m.Alloc(0)
	_, e2 := m.Alloc(0)
	g, e3 := m.Alloc(0)
	if e != 0 || e2 != abi.ENOMEM || e3 != 0 {
		t.Errorf("%v %v %v, want only the second to fail", e, e2, e3)
	}
	m.Unref(f)
	m.Unref(g)
}

func TestWords(t *testing.T) {
	m := newMemory(t, 1024)
	f, _ := m.AllocZeroed(0)
	m.Word32(f, 4092).Store(0x01020304)
	m.Word64(f, 8).Store(1)
	if b := m.Bytes(f); b[4092] != 4 || b[4095] != 1 || b[8] != 1 {
		t.Error("words do not land where their bytes are")
	}
	m.Unref(f)
}

func BenchmarkAllocRun(b *testing.B) {
	m, err := New(64 << 20)
	if err != nil {
		b.Fatal(err)
	}
	defer m.Close()
	for b.Loop() {
		f, n, _ := m.AllocRun(64, false)
		m.UnrefRun(f, n)
	}
}
