package skas

import (
	"errors"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"goum/arch/abi"
	"goum/arch/x86"
	"goum/stub"

	"golang.org/x/sys/unix"
)

// children lists this process's children, zombies too.
func children(t testing.TB) []string {
	t.Helper()
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		t.Skip(err)
	}
	var all []string
	for _, task := range tasks {
		b, err := os.ReadFile("/proc/self/task/" + task.Name() + "/children")
		if os.IsNotExist(err) {
			continue // the thread has ended
		}
		all = append(all, strings.Fields(string(b))...)
	}
	return all
}

func descriptors(t testing.TB) int {
	t.Helper()
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip(err)
	}
	return len(fds)
}

// settled waits until the pool has as many stubs ready as it wants, no others, and their slices back.
func (w *world) settled(t testing.TB) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		w.pool.mu.Lock()
		live, free := len(w.pool.live), len(w.pool.free)
		w.pool.mu.Unlock()
		if live == poolSize && len(w.pool.ready) == poolSize && free >= MaxStubs-poolSize-w.withheld {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d stubs live, %d ready, want %d", live, len(w.pool.ready), poolSize)
		}
	}
}

// TestNothingLeaks starts and retires stubs as fork and exit do, from several tasks, in every state that they can be in.
func TestNothingLeaks(t *testing.T) {
	w := newWorld(t, getpidLoop)
	w.settled(t)
	fds, kids, free := descriptors(t), len(children(t)), len(w.pool.free)
	var all sync.WaitGroup
	for task := range 4 {
		all.Go(func() {
			for i := range 40 {
				th, space, r := w.start(t)
				if i%4 != 0 {
					if ev := th.Run(r); ev.Kind != Syscall {
						t.Errorf("%+v", ev)
					}
				}
				switch (i + task) % 4 {
				case 1:
					th.NewThread()
				case 2:
					w.mmapCall(r)
					th.Run(r)
				case 3:
					unix.Kill(th.Stub().pid, unix.SIGKILL)
				}
				th.Stub().Retire()
				th.Stub().Retire()
				<-space.detached
			}
		})
	}
	within(t, "the storm", all.Wait)
	w.settled(t)
	if n := descriptors(t); n != fds {
		t.Errorf("%d descriptors, before %d", n, fds)
	}
	if n := len(children(t)); n != kids {
		t.Errorf("%d children, before %d", n, kids)
	}
	if n := len(w.pool.free); n != free {
		t.Errorf("%d slices are free, before %d", n, free)
	}
}

// TestNoDescriptorLeft has the start of a stub fail for want of descriptors: the process that was started for it is ended, its
// slice is free again, and once there are descriptors stubs start, and stand ready, as before.
func TestNoDescriptorLeft(t *testing.T) {
	w := newWorld(t, getpidLoop)
	w.settled(t)
	kids := len(children(t))
	w.pool.mu.Lock()
	free := len(w.pool.free)
	w.pool.mu.Unlock()
	var old unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &old); err != nil {
		t.Fatal(err)
	}
	var errs []error
	for room := range 2 { // none for the listener, then none for the pidfd
		next, err := unix.FcntlInt(0, unix.F_DUPFD_CLOEXEC, 3)
		if err != nil {
			t.Fatal(err)
		}
		unix.Close(next)
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: uint64(next + room), Max: old.Max}); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			_, err := w.pool.start()
			errs = append(errs, err)
		}
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &old); err != nil {
			t.Fatal(err)
		}
	}
	for _, err := range errs {
		if !errors.Is(err, unix.EMFILE) {
			t.Errorf("without descriptors: %v", err)
		}
	}
	if n := len(children(t)); n != kids {
		t.Errorf("%d children, before %d", n, kids)
	}
	w.pool.mu.Lock()
	if n := len(w.pool.free); n != free {
		t.Errorf("%d slices are free, before %d", n, free)
	}
	w.pool.mu.Unlock()
	for range 2 * poolSize {
		th, space, _ := w.start(t)
		bury(t, th, space)
	}
	w.settled(t)
}

// TestDeadStubsAreNotHandedOut kills the stubs that stand ready.
func TestDeadStubsAreNotHandedOut(t *testing.T) {
	w := newWorld(t, getpidLoop)
	w.settled(t)
	w.pool.mu.Lock()
	for s := range w.pool.live {
		unix.Kill(s.pid, unix.SIGKILL)
	}
	w.pool.mu.Unlock()
	time.Sleep(50 * time.Millisecond)
	for range 2 * poolSize {
		th, space, r := w.start(t)
		if ev := runs(t, th, r); ev.Kind != Syscall {
			t.Fatalf("%+v", ev)
		}
		bury(t, th, space)
	}
	w.settled(t)
}

// TestLateStub has a stub come after its request was given up: the next request is not answered with it, and it is ended.
func TestLateStub(t *testing.T) {
	w := newWorld(t, getpidLoop)
	w.settled(t)
	kids := len(children(t))
	p := w.pool
	p.mu.Lock()
	slice := p.free[len(p.free)-1]
	p.free = p.free[:len(p.free)-1]
	free := len(p.free)
	p.mu.Unlock()
	w.withheld = 1
	var request [requestSize]byte
	putUint32(request[0:], uint32(slice))
	putUint32(request[4:], uint32(os.Getpid()))
	if _, err := unix.Write(p.spawner.socket, request[:]); err != nil {
		t.Fatal(err)
	}
	freed := func() int {
		p.mu.Lock()
		defer p.mu.Unlock()
		return len(p.free)
	}
	for deadline := time.Now().Add(5 * time.Second); freed() != free+1 && time.Now().Before(deadline); {
		// Its answer may come before that to a request of now, or behind it, for the next to find.
		s, err := p.start()
		if err != nil {
			t.Fatal(err)
		}
		s.Retire()
		w.settled(t)
		time.Sleep(time.Millisecond)
	}
	if n := len(children(t)); n != kids || freed() != free+1 {
		t.Errorf("%d children, before %d; %d slices are free, want %d", n, kids, freed(), free+1)
	}
}

// TestSpawnerDies kills the zygote: what runs goes on, and what is asked for fails at once, always with the reason.
func TestSpawnerDies(t *testing.T) {
	w := newWorld(t, getpidLoop)
	w.settled(t)
	th, space, r := w.start(t)
	w.settledAfterTake(t)
	unix.Kill(w.pool.spawner.pid, unix.SIGKILL)
	if ev := runs(t, th, r); ev.Kind != Syscall {
		t.Errorf("%+v", ev)
	}
	for range 3 {
		start := time.Now()
		if _, err := w.pool.start(); err == nil || !strings.Contains(err.Error(), "killed") {
			t.Errorf("start: %v", err)
		}
		if d := time.Since(start); d > 900*time.Millisecond {
			t.Errorf("it takes %v to fail", d)
		}
	}
	bury(t, th, space)
}

func (w *world) settledAfterTake(t testing.TB) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); len(w.pool.ready) != poolSize; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("refill does not come")
		}
	}
}

// TestSliceIsWiped leaves a secret in a slice: its next owner must not find it.
func TestSliceIsWiped(t *testing.T) {
	w := newWorld(t, getpidLoop)
	w.settled(t)
	th, space, r := w.start(t)
	runs(t, th, r)
	slice := th.Stub().slice
	mem := w.pool.control[slice*stub.SliceSize : (slice+1)*stub.SliceSize]
	mem[stub.SlotSize-1], mem[stub.SliceSize-1] = 7, 7
	bury(t, th, space)
	w.settled(t)
	if mem[stub.SliceSize-1] != 0 || mem[stub.SlotSize-1] != 0 {
		t.Error("the slice still holds what was written")
	}
}

// TestCloseWhileStarting closes pools that still fill up.
func TestCloseWhileStarting(t *testing.T) {
	fd, mem, err := sharedMemfd("test-physmem", 64*stub.PageSize)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	defer unix.Munmap(mem)
	for i := range 30 {
		p, err := New(fd)
		if err != nil {
			t.Fatal(err)
		}
		for range i % 3 {
			if _, err := p.Take(&fakeSpace{detached: make(chan struct{})}); err != nil {
				t.Error(err)
			}
		}
		within(t, "Close", func() {
			if err := p.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestStubHoldsOneDescriptor looks at what a stub and the zygote hold, with a descriptor open here that exec would inherit.
func TestStubHoldsOneDescriptor(t *testing.T) {
	inherited, err := unix.Open("/dev/null", unix.O_RDONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(inherited)
	w := newWorld(t, getpidLoop)
	th, space, r := w.start(t)
	runs(t, th, r)
	for pid, want := range map[int]int{th.Stub().pid: 1, w.pool.spawner.pid: 3} {
		dir := "/proc/" + strconv.Itoa(pid) + "/fd"
		fds, err := os.ReadDir(dir)
		if err != nil {
			t.Skipf("%v (a stub cannot be looked into by an ordinary user)", err)
		}
		if len(fds) != want {
			t.Errorf("%s: %d descriptors, want %d", dir, len(fds), want)
		}
		if name, _ := os.Readlink(dir + "/0"); !strings.Contains(name, "test-physmem") {
			t.Errorf("%s/0 is %s", dir, name)
		}
	}
	bury(t, th, space)
}

// TestKillAfterReaping sends a dead stub all that may still be on its way to it: nobody else gets it.
func TestKillAfterReaping(t *testing.T) {
	w := newWorld(t, getpidLoop)
	th, space, r := w.start(t)
	runs(t, th, r)
	s := th.Stub()
	bury(t, th, space)
	// The next stub has the same descriptors, most likely.
	var others []*Thread
	var spaces []*fakeSpace
	for range 2 * poolSize {
		o, os, _ := w.start(t)
		others, spaces = append(others, o), append(spaces, os)
	}
	th.alarm()
	s.condemn("test")
	w.pool.bite(s, "test")
	if ev := runs(t, th, r); ev.Kind != Died {
		t.Errorf("Run after Retire: %+v", ev)
	}
	for i, o := range others {
		or := *r
		or.RIP = codeAddr
		if ev := runs(t, o, &or); ev.Kind != Syscall {
			t.Errorf("another stub: %+v", ev)
		}
		bury(t, o, spaces[i])
	}
}

// TestDeathAtAnyInstant kills stubs at random moments, while two threads make system calls with operations and a third is made:
// every wait ends, and all that the stub held comes back.
func TestDeathAtAnyInstant(t *testing.T) {
	w := newWorld(t, getpidLoop)
	for i := range 150 {
		first, space, r := w.start(t)
		if ev := runs(t, first, r); ev.Kind != Syscall {
			t.Fatalf("%+v", ev)
		}
		second, e := first.NewThread()
		if e != 0 {
			t.Fatal(e.Name())
		}
		var all sync.WaitGroup
		for n, th := range []*Thread{first, second} {
			all.Go(func() {
				r := x86.InitRegs(codeAddr, dataAddr+2048)
				for {
					space.add(stub.Op{Kind: stub.OpMap, Prot: abi.PROT_READ, Addr: 0x700000 + uint64(n)<<12, Len: stub.PageSize, Off: 4 * stub.PageSize})
					space.add(stub.Op{Kind: stub.OpUnmap, Addr: 0x700000, Len: 16 * stub.PageSize})
					if th.Run(&r).Kind == Died {
						return
					}
					if n == 0 && i%3 == 0 {
						if nt, e := th.NewThread(); e == 0 {
							nt.Park()
						}
					}
					if n == 0 && i%3 == 1 {
						th.Flush()
					}
				}
			})
		}
		time.Sleep(time.Duration(i*7%100) * 10 * time.Microsecond)
		unix.PidfdSendSignal(first.Stub().pidfd, unix.SIGKILL, nil, 0)
		within(t, "the threads", all.Wait)
		bury(t, first, space)
	}
	if s := w.pool.Stats(); s.Denied+s.Killed+s.Watchdog != 0 {
		t.Errorf("counters: %+v", s)
	}
}
