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
	allows   func(*stub.Op) bool // nil: all but deny
	rebuilt  int
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

func (s *fakeSpace) Allows(op *stub.Op) bool {
	if s.allows != nil {
		return s.allows(op)
	}
	return !s.deny
}

func (s *fakeSpace) Rebuild() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rebuilt++
	s.ops = append(s.ops[:0], stub.Op{Kind: stub.OpUnmap, Len: stub.Start})
}

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

	withheld int // slices that the test has taken
}

func newWorld(t testing.TB, program []byte) *world {
	return newWorldOn(t, program, !receiveEndsAtDeath())
}

// newWorldOn can pretend to be on a host whose receive does not end when the stub dies.
func newWorldOn(t testing.TB, program []byte, pollFirst bool) *world {
	t.Helper()
	fd, mem, err := sharedMemfd("test-physmem", 64*stub.PageSize)
	if err != nil {
		t.Fatal(err)
	}
	copy(mem, program)
	p, err := newPool(fd, pollFirst)
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

// TestAlarmsLoseNothing sends alarms as fast as it can while the thread makes system calls: none may be lost, doubled or wrong.
func TestAlarmsLoseNothing(t *testing.T) {
	w := newWorld(t, getpidLoop)
	th, _, r := w.start(t)
	stop := make(chan struct{})
	var alarms sync.WaitGroup
	alarms.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				th.Kick()
			}
		}
	})
	preempted := 0
	for i := uint64(0); i < 2000; {
		switch ev := th.Run(r); ev.Kind {
		case Syscall:
			if r.RAX != 39 || r.RBX != i || r.RIP != codeAddr+7 {
				t.Fatalf("call %d: rax %d rbx %d rip %#x", i, r.RAX, r.RBX, r.RIP)
			}
			r.RAX = 7
			i++
		case Preempt:
			preempted++
		default:
			t.Fatalf("call %d: %+v", i, ev)
		}
	}
	close(stop)
	alarms.Wait()
	if preempted == 0 {
		t.Error("no alarm arrived")
	}
	if s := w.pool.Stats(); s.Denied+s.Killed+s.Watchdog != 0 {
		t.Errorf("counters: %+v", s)
	}
	th.Stub().Retire()
}

// TestKickEndsALoop preempts a guest that never makes a call.
func TestKickEndsALoop(t *testing.T) {
	w := newWorld(t, []byte{0xeb, 0xfe})
	th, _, r := w.start(t)
	for range 20 {
		go th.Kick()
		if ev := th.Run(r); ev.Kind != Preempt || r.RIP != codeAddr {
			t.Fatalf("%+v at %#x", ev, r.RIP)
		}
	}
	th.Stub().Retire()
}

func TestFault(t *testing.T) {
	w := newWorld(t, []byte{0x48, 0x89, 0x04, 0x25, 0x00, 0x00, 0x60, 0x00}) // mov %rax,0x600000
	th, space, r := w.start(t)
	if ev := th.Run(r); ev.Kind != Fault || ev.Addr != 0x600000 || !ev.Write || ev.Exec {
		t.Fatalf("%+v", ev)
	}
	r.RAX = 77
	space.add(stub.Op{Kind: stub.OpMap, Prot: abi.PROT_READ | abi.PROT_WRITE, Addr: 0x600000, Len: stub.PageSize, Off: 3 * stub.PageSize})
	// The store succeeds now; behind the program are zeros: add %al,(%rax).
	if ev := th.Run(r); ev.Kind != Fault || ev.Addr != 77 {
		t.Fatalf("%+v", ev)
	}
	if w.mem[3*stub.PageSize] != 77 {
		t.Error("the store did not reach the frame")
	}
	th.Stub().Retire()
}

// TestThreadsRunInParallel has three threads of one stub make system calls from three tasks at once, with operations in between.
func TestThreadsRunInParallel(t *testing.T) {
	w := newWorld(t, getpidLoop)
	first, space, r := w.start(t)
	if ev := first.Run(r); ev.Kind != Syscall {
		t.Fatalf("%+v", ev)
	}
	threads := []*Thread{first}
	for range 2 {
		nt, e := first.NewThread()
		if e != 0 {
			t.Fatal(e.Name())
		}
		threads = append(threads, nt)
	}
	var all sync.WaitGroup
	for n, th := range threads {
		all.Go(func() {
			r := x86.InitRegs(codeAddr, dataAddr+uint64(n)*256)
			for i := range uint64(3000) {
				if i%16 == uint64(n) {
					space.add(stub.Op{Kind: stub.OpMap, Prot: abi.PROT_READ, Addr: 0x700000 + uint64(n)<<12, Len: stub.PageSize, Off: 4 * stub.PageSize})
					space.add(stub.Op{Kind: stub.OpUnmap, Addr: 0x700000 + uint64(n)<<12, Len: stub.PageSize})
				}
				ev := th.Run(&r)
				if ev.Kind == Preempt {
					continue
				}
				if ev.Kind != Syscall || r.RAX != 39 || r.RSP != dataAddr+uint64(n)*256 {
					t.Errorf("thread %d: %+v rax %d rsp %#x", n, ev, r.RAX, r.RSP)
					return
				}
			}
		})
	}
	all.Wait()
	threads[2].Park()
	again, e := first.NewThread()
	if e != 0 || again != threads[2] {
		t.Errorf("a parked thread is not used again: %v %s", again, e.Name())
	}
	if s := w.pool.Stats(); s.Denied+s.Killed+s.Watchdog != 0 {
		t.Errorf("counters: %+v", s)
	}
	first.Stub().Retire()
}

// TestDeathIsNoticed kills the host process under a thread in user mode, and under one that is parked.
func TestDeathIsNoticed(t *testing.T) {
	w := newWorld(t, []byte{0xeb, 0xfe})
	th, space, r := w.start(t)
	go unix.Kill(th.Stub().pid, unix.SIGKILL)
	if ev := th.Run(r); ev.Kind != Died {
		t.Errorf("killed in user mode: %+v", ev)
	}
	if ev := th.Run(r); ev.Kind != Died {
		t.Errorf("run after death: %+v", ev)
	}
	th.Stub().Retire()
	<-space.detached
}

// TestWatchdogBites has a thread spin that no alarm reaches. No guest can do that to its own thread, so the test keeps the alarms
// from being sent: the watchdog must not care why nothing comes back.
func TestWatchdogBites(t *testing.T) {
	w := newWorld(t, []byte{0xeb, 0xfe})
	th, _, r := w.start(t)
	th.deaf.Store(true)
	if ev := th.Run(r); ev.Kind != Died {
		t.Errorf("%+v, want its death", ev)
	}
	if s := w.pool.Stats(); s.Watchdog != 1 {
		t.Errorf("counters: %+v", s)
	}
	th.Stub().Retire()
}

func BenchmarkStartAndRetire(b *testing.B) {
	w := newWorld(b, getpidLoop)
	for range b.N {
		th, space, r := w.start(b)
		if ev := th.Run(r); ev.Kind != Syscall {
			b.Fatalf("%+v", ev)
		}
		th.Stub().Retire()
		<-space.detached
	}
}
