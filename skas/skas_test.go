package skas

import (
	"sync"
	"testing"

	"goum/arch/abi"
	"goum/arch/x86"
	"goum/stub"

	"golang.org/x/sys/unix"
)

// fakeSpace is an address space of a few pages: page table and queue of operations, without mm.
type fakeSpace struct {
	mu       sync.Mutex
	ops      []stub.Op
	seq      uint64
	proven   uint64
	detached chan struct{}
	deny     bool
}

func (s *fakeSpace) add(op stub.Op) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ops = append(s.ops, op)
}

func (s *fakeSpace) NextOps(ops []stub.Op) (int, uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := copy(ops, s.ops)
	s.ops = s.ops[n:]
	s.seq += uint64(n)
	return n, s.seq
}

func (s *fakeSpace) Allows(*stub.Op) bool { return !s.deny }

func (s *fakeSpace) Proven(seq uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.proven = seq
}

func (s *fakeSpace) Detached() { close(s.detached) }

const (
	codeAddr = 0x400000
	dataAddr = 0x500000
)

// world is a pool over a small guest memory: page 0 holds the program, pages 1 and up are data.
type world struct {
	pool *Pool
	mem  []byte
	fd   int
}

func newWorld(t testing.TB, program []byte) *world {
	t.Helper()
	fd, mem, err := sharedMemfd("test-physmem", 64*stub.PageSize)
	if err != nil {
		t.Fatal(err)
	}
	copy(mem, program)
	p, err := New(fd)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
		unix.Munmap(mem)
		unix.Close(fd)
	})
	return &world{pool: p, mem: mem, fd: fd}
}

func (w *world) start(t testing.TB) (*Thread, *fakeSpace, *x86.Regs) {
	t.Helper()
	space := &fakeSpace{detached: make(chan struct{})}
	s, err := w.pool.Take(space)
	if err != nil {
		t.Fatal(err)
	}
	space.add(stub.Op{Kind: stub.OpMap, Prot: abi.PROT_READ | abi.PROT_EXEC, Addr: codeAddr, Len: stub.PageSize})
	space.add(stub.Op{Kind: stub.OpMap, Prot: abi.PROT_READ | abi.PROT_WRITE, Addr: dataAddr, Len: stub.PageSize, Off: stub.PageSize})
	r := x86.InitRegs(codeAddr, dataAddr+2048)
	return s.First(), space, &r
}

// getpidLoop is: mov $39,%eax; syscall; inc %rbx; jmp back.
var getpidLoop = []byte{0xb8, 39, 0, 0, 0, 0x0f, 0x05, 0x48, 0xff, 0xc3, 0xeb, 0xf4}

func TestSystemCall(t *testing.T) {
	w := newWorld(t, getpidLoop)
	th, space, r := w.start(t)
	r.FSBase = 0x1234000
	for i := range 100 {
		ev := th.Run(r)
		if ev.Kind != Syscall || r.RAX != 39 || r.RBX != uint64(i) || r.RIP != codeAddr+7 || r.FSBase != 0x1234000 || r.RSP != dataAddr+2048 {
			t.Fatalf("round %d: %+v rax %d rbx %d rip %#x fs %#x rsp %#x", i, ev, r.RAX, r.RBX, r.RIP, r.FSBase, r.RSP)
		}
		r.RAX = 4242
	}
	if space.proven != 2 {
		t.Errorf("proven %d operations, want 2", space.proven)
	}
	th.Stub().Retire()
	<-space.detached
	if s := w.pool.Stats(); s.Denied != 0 || s.Killed != 0 || s.Ops != 2 {
		t.Errorf("counters: %+v", s)
	}
}

func BenchmarkSystemCall(b *testing.B) {
	w := newWorld(b, getpidLoop)
	th, _, r := w.start(b)
	th.Run(r)
	b.ResetTimer()
	for range b.N {
		if ev := th.Run(r); ev.Kind != Syscall {
			b.Fatalf("%+v", ev)
		}
	}
	b.StopTimer()
	th.Stub().Retire()
}
