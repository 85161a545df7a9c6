package skas

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"goum/arch/abi"
	"goum/arch/x86"
	"goum/stub"
)

// spinAt is where threadWorld's programs spin without a call.
const spinAt = 128

func threadWorld(t testing.TB, pollFirst bool) *world {
	page := make([]byte, honestAt, stub.PageSize)
	copy(page, getpidLoop)
	copy(page[spinAt:], []byte{0xeb, 0xfe})
	return newWorldOn(t, append(page, getpidLoop...), pollFirst)
}

// spin runs th in a loop that makes no call, until its stub is dead.
func spin(th *Thread) (done chan struct{}) {
	done = make(chan struct{})
	go func() {
		defer close(done)
		r := x86.InitRegs(codeAddr+spinAt, dataAddr+1024)
		for th.Run(&r).Kind == Preempt {
		}
	}()
	return done
}

// TestThreadsMakeThreads has several threads of one stub make new ones at the same time: each gets its own.
func TestThreadsMakeThreads(t *testing.T) {
	w := threadWorld(t, false)
	first, space, r := w.start(t)
	runs(t, first, r)
	makers := []*Thread{first}
	for range 3 {
		nt, e := first.NewThread()
		if e != 0 {
			t.Fatal(e.Name())
		}
		makers = append(makers, nt)
	}
	var mu sync.Mutex
	var made []*Thread
	within(t, "NewThread", func() {
		var all sync.WaitGroup
		for _, m := range makers {
			all.Go(func() {
				for range 12 {
					nt, e := m.NewThread()
					if e != 0 {
						t.Errorf("NewThread: %s", e.Name())
						return
					}
					mu.Lock()
					made = append(made, nt)
					mu.Unlock()
				}
			})
		}
		all.Wait()
	})
	seen := map[*Thread]bool{}
	for _, nt := range made {
		if seen[nt] {
			t.Fatal("one thread twice")
		}
		seen[nt] = true
		nr := x86.InitRegs(codeAddr, nt.base)
		if ev := runs(t, nt, &nr); ev.Kind != Syscall || nr.RSP != nt.base {
			t.Fatalf("a new thread: %+v rsp %#x, want %#x", ev, nr.RSP, nt.base)
		}
	}
	if s := w.pool.Stats(); s.Denied+s.Killed+s.Watchdog != 0 || len(made) != 48 {
		t.Errorf("%d threads; counters: %+v", len(made), s)
	}
	bury(t, first, space)
}

// TestNewThreadBesideASpinner makes a thread while the task that sits in the listener waits for one that never calls.
func TestNewThreadBesideASpinner(t *testing.T) {
	for range 8 { // who gets to sit in the listener is a race
		w := threadWorld(t, false)
		first, space, r := w.start(t)
		runs(t, first, r)
		spinner, e := first.NewThread()
		if e != 0 {
			t.Fatal(e.Name())
		}
		done := spin(spinner)
		for !listening(spinner.stub) {
			time.Sleep(time.Millisecond)
		}
		spinner.deaf.Store(true) // or the watchdog's alarm has the listener change hands
		within(t, "NewThread", func() {
			if _, e := first.NewThread(); e != 0 {
				t.Errorf("NewThread: %s", e.Name())
			}
		})
		first.Stub().condemn("test")
		within(t, "the spinner", func() { <-done })
		bury(t, first, space)
	}
}

func listening(s *Stub) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.receiving
}

// TestDeathFreesWhoWaitsForABatch condemns a stub for what one thread does in its batch while another waits for its turn.
func TestDeathFreesWhoWaitsForABatch(t *testing.T) {
	w := threadWorld(t, false)
	first, space, r := w.start(t)
	runs(t, first, r)
	second, e := first.NewThread()
	if e != 0 {
		t.Fatal(e.Name())
	}
	space.add(stub.Op{Kind: stub.OpUnmap, Addr: 0x600000, Len: stub.PageSize})
	space.add(stub.Op{Kind: stub.OpUnmap, Addr: 0x700000, Len: stub.PageSize})
	waits := make(chan Event, 1)
	space.allows = func(op *stub.Op) bool {
		if op.Addr != 0x600000 {
			return true
		}
		go func() {
			r := x86.InitRegs(codeAddr, dataAddr+1024)
			waits <- second.Run(&r)
		}()
		time.Sleep(50 * time.Millisecond) // it stands in acquire, and nobody tells
		first.slot.Ops[1].Len = 7 * stub.PageSize
		return true
	}
	if ev := runs(t, first, r); ev.Kind != Died {
		t.Fatalf("%+v", ev)
	}
	within(t, "the other thread", func() {
		if ev := <-waits; ev.Kind != Died {
			t.Errorf("%+v", ev)
		}
	})
	bury(t, first, space)
}

// TestStaleOperation refuses one operation of a batch, as mm does when another thread has changed the page table: those before and
// behind it are made all the same, once each, and the batch is proven when all are.
func TestStaleOperation(t *testing.T) {
	const a, b, c = 0x600000, 0x700000, 0x800000
	for refused := range 3 {
		// mov (%rdi),%rax; mov (%rsi),%rbx; syscall
		w := newWorld(t, []byte{0x48, 0x8b, 0x07, 0x48, 0x8b, 0x1e, 0xb8, 39, 0, 0, 0, 0x0f, 0x05, 0xeb, 0xf1})
		th, space, r := w.start(t)
		r.RDI, r.RSI = codeAddr, codeAddr
		runs(t, th, r)
		addrs := []uint64{a, b, c}
		for i, addr := range addrs {
			space.add(stub.Op{Kind: stub.OpMap, Prot: abi.PROT_READ, Addr: addr, Len: stub.PageSize, Off: uint64(3+i) * stub.PageSize})
		}
		calls := 0
		space.allows = func(op *stub.Op) bool {
			calls++
			if space.proven != 2 {
				t.Error("proven before it is done")
			}
			return op.Addr != addrs[refused]
		}
		r.RDI, r.RSI = addrs[(refused+1)%3], addrs[(refused+2)%3]
		if ev := runs(t, th, r); ev.Kind != Syscall {
			t.Fatalf("%+v: the others are not mapped", ev)
		}
		if calls != 3 || space.proven != 5 || space.rebuilt != 0 {
			t.Errorf("refused %d: Allows was asked %d times, proven %d, rebuilt %d", refused, calls, space.proven, space.rebuilt)
		}
		r.RDI = addrs[refused]
		if ev := runs(t, th, r); ev.Kind != Fault || ev.Addr != addrs[refused] {
			t.Errorf("%+v: the one that was refused is mapped", ev)
		}
		if s := w.pool.Stats(); s.Denied+s.Killed != 0 {
			t.Errorf("counters: %+v", s)
		}
		bury(t, th, space)
	}
}

// badOp passes the filter and is refused by the host: its offset is on no page.
var badOp = stub.Op{Kind: stub.OpMap, Prot: abi.PROT_READ, Addr: 0x600000, Len: stub.PageSize, Off: 1}

// TestHostRefuses has the host refuse an operation: the Space begins anew, and what waits behind is not lost.
func TestHostRefuses(t *testing.T) {
	w := newWorld(t, getpidLoop)
	th, space, r := w.start(t)
	runs(t, th, r)
	space.add(badOp)
	space.add(stub.Op{Kind: stub.OpUnmap, Addr: 0x700000, Len: stub.PageSize})
	if ev := runs(t, th, r); ev.Kind != Fault || ev.Addr != codeAddr+7 || !ev.Exec {
		t.Errorf("%+v, want a fault on the code, which is unmapped", ev)
	}
	if space.rebuilt != 1 || space.proven != 5 {
		t.Errorf("rebuilt %d times, proven %d, want 1 and 5", space.rebuilt, space.proven)
	}
	if s := w.pool.Stats(); s.Denied+s.Killed != 0 {
		t.Errorf("counters: %+v", s)
	}
	bury(t, th, space)
}

// TestHostRefusesForGood ends a process whose operations the host never makes, and lets no other thread wait for it.
func TestHostRefusesForGood(t *testing.T) {
	w := threadWorld(t, false)
	th, space, r := w.start(t)
	runs(t, th, r)
	for range 16 * stub.MaxOps {
		space.add(badOp)
	}
	bad := &stubbornSpace{space}
	th.stub.space = bad
	if ev := runs(t, th, r); ev.Kind != Died {
		t.Errorf("%+v", ev)
	}
	bury(t, th, space)
}

type stubbornSpace struct{ *fakeSpace }

func (stubbornSpace) Rebuild() {}

// TestLieAboutAClone has a stub say that the host refused a clone that was made: a host thread that the monitor does not count would
// be left. It is found out at once or when that thread reports.
func TestLieAboutAClone(t *testing.T) {
	w := threadWorld(t, false)
	for range 20 {
		th, space, r := w.start(t)
		runs(t, th, r)
		stop := make(chan struct{})
		var lies sync.WaitGroup
		lies.Go(func() {
			failed := (*atomic.Int32)(unsafe.Pointer(&th.slot.Failed))
			for {
				select {
				case <-stop:
					return
				default:
					failed.Store(-int32(abi.EAGAIN))
				}
			}
		})
		var e abi.Errno
		within(t, "NewThread", func() { _, e = th.NewThread() })
		close(stop)
		lies.Wait()
		if e != 0 {
			within(t, "its death", func() {
				for th.slot.Failed = 0; th.Run(r).Kind != Died; {
				}
			})
			if th.Stub().Verdict() == "" {
				t.Error("it died of something else")
			}
		}
		bury(t, th, space)
	}
	w.survives(t)
}

// TestPromisedThreadNeverComes has a stub claim that it made a thread.
func TestPromisedThreadNeverComes(t *testing.T) {
	w := threadWorld(t, false)
	th, space, r := w.start(t)
	runs(t, th, r)
	s := th.Stub()
	s.mu.Lock()
	nt := s.newThread()
	s.cloning, s.promised = nt, true
	s.mu.Unlock()
	within(t, "awaitFresh", func() {
		if nt.awaitFresh() {
			t.Error("it came")
		}
	})
	if s := w.pool.Stats(); s.Watchdog != 1 {
		t.Errorf("counters: %+v", s)
	}
	bury(t, th, space)
}

// TestMaxThreads makes all the threads that there can be, and one more.
func TestMaxThreads(t *testing.T) {
	if testing.Short() {
		t.Skip("a thousand threads")
	}
	w := threadWorld(t, false)
	th, space, r := w.start(t)
	runs(t, th, r)
	var last *Thread
	for i := 1; i < stub.MaxThreads; i++ {
		nt, e := th.NewThread()
		if e != 0 {
			t.Skipf("the host lets a process have %d threads: %s", i, e.Name())
		}
		last = nt
	}
	if _, e := th.NewThread(); e != abi.EAGAIN {
		t.Errorf("one more: %s, want EAGAIN", e.Name())
	}
	nr := x86.InitRegs(codeAddr, dataAddr)
	if ev := runs(t, last, &nr); ev.Kind != Syscall {
		t.Errorf("the last: %+v", ev)
	}
	last.Park()
	if nt, e := th.NewThread(); e != 0 || nt != last {
		t.Errorf("after Park: %s", e.Name())
	}
	bury(t, th, space)
}

// TestOldHost goes the way of hosts before Linux 6.11, which poll before they receive.
func TestOldHost(t *testing.T) {
	w := threadWorld(t, true)
	first, space, r := w.start(t)
	runs(t, first, r)
	second, e := first.NewThread()
	if e != 0 {
		t.Fatal(e.Name())
	}
	within(t, "two threads", func() {
		var both sync.WaitGroup
		for _, th := range []*Thread{first, second} {
			both.Go(func() {
				r := x86.InitRegs(codeAddr, dataAddr+2048)
				for i := range 500 {
					if i%8 == 0 {
						space.add(stub.Op{Kind: stub.OpUnmap, Addr: 0x600000, Len: stub.PageSize})
						first.Kick()
					}
					if ev := th.Run(&r); ev.Kind != Syscall && ev.Kind != Preempt {
						t.Errorf("%+v", ev)
						return
					}
				}
			})
		}
		both.Wait()
	})
	done := spin(second)
	time.Sleep(10 * time.Millisecond)
	first.Stub().Retire()
	within(t, "death", func() { <-done; <-space.detached })
	if s := w.pool.Stats(); s.Denied+s.Killed+s.Watchdog != 0 {
		t.Errorf("counters: %+v", s)
	}
}
