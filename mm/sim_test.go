package mm

import (
	"encoding/binary"
	"fmt"
	"testing"

	"goum/arch/abi"
	"goum/physmem"
	"goum/stub"
)

const (
	rw    = abi.PROT_READ | abi.PROT_WRITE
	anon  = abi.MAP_PRIVATE | abi.MAP_ANONYMOUS
	sanon = abi.MAP_SHARED | abi.MAP_ANONYMOUS
)

// direct is a Sleeper that needs no scheduler.
type direct struct{}

func (direct) Outside(f func()) { f() }

func newMem(t testing.TB, pages int) *physmem.Memory {
	t.Helper()
	m, err := physmem.New(int64(pages) * PageSize)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

// tb is what testing.T and rapid.T have in common.
type tb interface {
	Helper()
	Fatal(...any)
	Fatalf(string, ...any)
	Errorf(string, ...any)
}

// host is a stub as mm sees it: it makes the operations and has a model of the mappings that come of it.
type host struct {
	t     tb
	s     *Space
	pages map[Addr]hostPage
	stale int
	ops   int
	maps  int

	// between runs after operations were handed out, before each is made: another thread's doings
	between func()
	batch   int // operations taken at once; 0: 16
}

type hostPage struct {
	frame physmem.Frame
	prot  uint8
}

func newHost(t tb, s *Space) *host { return &host{t: t, s: s, pages: map[Addr]hostPage{}} }

// flush makes all waiting operations, and proves them.
func (h *host) flush() {
	for {
		var ops [16]stub.Op
		batch := len(ops)
		if h.batch > 0 {
			batch = h.batch
		}
		n, seq := h.s.NextOps(ops[:batch])
		if n == 0 {
			// Whoever waited for an operation has been served: none is left.
			if k := h.s.ops.held.Len(); k != 0 {
				h.t.Fatalf("%d frames in quarantine with nothing to wait for", k)
			}
			return
		}
		for i := range ops[:n] {
			if f := h.between; f != nil {
				f()
			}
			h.make(&ops[i])
			h.check(false)
		}
		h.s.Proven(seq)
		h.check(false)
	}
}

func (h *host) make(op *stub.Op) {
	h.ops++
	if !h.s.Allows(op) {
		if op.Kind == stub.OpUnmap {
			h.t.Fatalf("refused %+v", *op)
		}
		h.stale++
		return
	}
	if op.Kind == stub.OpUnmap {
		if op.Len > 1<<40 {
			clear(h.pages)
			return
		}
		for a := op.Addr; a < op.Addr+op.Len; a += PageSize {
			delete(h.pages, a)
		}
		return
	}
	h.maps++
	for o := uint64(0); o < op.Len; o += PageSize {
		h.pages[op.Addr+o] = hostPage{physmem.Frame((op.Off + o) >> PageShift), uint8(op.Prot)}
	}
}

// check looks at each host mapping: the page table authorises it, or its frame is in quarantine and its rights are being taken
// away by an operation that is not proven. strict: only the former.
func (h *host) check(strict bool) {
	h.t.Helper()
	s := h.s
	s.pt.Lock()
	defer s.pt.Unlock()
	held := map[physmem.Frame]bool{}
	s.ops.held.Each(func(_ uint64, f physmem.Frame, n int) {
		for i := range physmem.Frame(n) {
			held[f+i] = true
		}
	})
	for a, hp := range h.pages {
		p := s.table.get(a)
		same := p.frame() == hp.frame
		if same && hp.prot&^p.prot() == 0 {
			continue
		}
		switch {
		case strict:
			h.t.Fatalf("%#x: the host maps frame %d with %d, the page table frame %d with %d", a, hp.frame, hp.prot, p.frame(), p.prot())
		case s.mem.IsZero(hp.frame) && hp.prot&abi.PROT_WRITE == 0:
		case !held[hp.frame] && !h.elsewhere(hp.frame):
			h.t.Fatalf("%#x: the host maps frame %d, which is neither in the page table (%#x) nor in quarantine", a, hp.frame, uint64(p))
		case s.ops.done >= max(s.ops.revoke, s.ops.hold, s.ops.last) && s.ops.n == 0:
			h.t.Fatalf("%#x: nothing will take frame %d away", a, hp.frame)
		}
	}
}

// elsewhere says whether the Space itself still has the frame at another address (moved), or with other rights.
func (h *host) elsewhere(f physmem.Frame) bool {
	s := h.s
	for a := Addr(0); a < TaskSize; {
		l, from, to := s.table.next(a, TaskSize)
		if l == nil {
			break
		}
		for i := leafIndex(from); i <= leafIndex(to-1); i++ {
			if l.e[i].frame() == f {
				return true
			}
		}
		a = to
	}
	return false
}

// access is the guest touching a word: through the host's mappings, and through faults when there is none.
func (h *host) access(addr Addr, access Access) (physmem.Frame, FaultResult) {
	h.t.Helper()
	for range 8 {
		h.flush()
		h.check(true)
		p, ok := h.pages[addr&^pageMask]
		need := uint8(abi.PROT_READ)
		switch access {
		case Write:
			need = abi.PROT_WRITE
		case Exec:
			need = abi.PROT_EXEC
		}
		if ok && p.prot&need == need {
			return p.frame, Resolved
		}
		if r := h.s.Fault(addr, access, direct{}); r != Resolved {
			return 0, r
		}
	}
	h.t.Fatalf("access %d to %#x never succeeds", access, addr)
	return 0, NoMapping
}

func (h *host) store(addr Addr, v uint64) FaultResult {
	f, r := h.access(addr, Write)
	if r == Resolved {
		binary.LittleEndian.PutUint64(h.s.mem.Bytes(f)[addr&pageMask:], v)
	}
	return r
}

func (h *host) load(addr Addr) (uint64, FaultResult) {
	f, r := h.access(addr, Read)
	if r != Resolved {
		return 0, r
	}
	return binary.LittleEndian.Uint64(h.s.mem.Bytes(f)[addr&pageMask:]), r
}

func (h *host) wantLoad(addr Addr, want uint64) {
	h.t.Helper()
	if v, r := h.load(addr); r != Resolved || v != want {
		h.t.Fatalf("load of %#x: %#x, %d, want %#x", addr, v, r, want)
	}
}

func (h *host) wantStore(addr Addr, v uint64) {
	h.t.Helper()
	if r := h.store(addr, v); r != Resolved {
		h.t.Fatalf("store to %#x: %d", addr, r)
	}
}

// end releases the Space and the stub; then all memory must be back.
func (h *host) end() {
	h.t.Helper()
	audit(h.t, h.s)
	h.s.Release()
	h.check(false)
	h.s.Detached()
	clear(h.pages)
}

func audit(t tb, s *Space) {
	t.Helper()
	if err := s.Audit(); err != nil {
		t.Fatal(err)
	}
}

func wantFree(t tb, m *physmem.Memory) {
	t.Helper()
	if st := m.Stats(); st.Free != st.Total || st.Quarantined != 0 {
		t.Fatalf("frames leak: %+v", st)
	}
}

func mustMap(t tb, s *Space, addr Addr, n uint64, o MapOpts) Addr {
	t.Helper()
	a, e := s.Map(addr, n, o)
	if e != 0 {
		t.Fatalf("Map(%#x, %#x, %+v): %v", addr, n, o, e)
	}
	return a
}

func listing(s *Space) string {
	out := ""
	s.Regions(func(r *Region) bool {
		out += fmt.Sprintf("%x-%x %d %s;", r.Start>>PageShift, r.End>>PageShift, r.Prot, r.Name)
		return true
	})
	return out
}
