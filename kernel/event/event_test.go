package event

import (
	"encoding/binary"
	"math"
	"sync"
	"testing"
	"time"

	"goum/arch/abi"
	"goum/kernel/cred"
	"goum/kernel/fs/vfs"
	"goum/mm"
	"goum/physmem"
	"goum/sched"
	"goum/sched/clock"
)

var (
	caller   = &vfs.Caller{Cred: cred.Root()}
	nonblock = vfs.At{Flags: abi.O_NONBLOCK}
)

type machine struct {
	clk *clock.Clock
	s   *sched.Scheduler
}

func newMachine(t *testing.T) *machine {
	clk := clock.NewVirtual(1e18)
	clk.Advance(1e9)
	s := sched.New(2, clk)
	t.Cleanup(func() { s.Close() })
	return &machine{clk, s}
}

type running struct {
	th   *sched.Thread
	done chan struct{}
}

func (m *machine) start(f func(c *vfs.Caller)) *running {
	th := m.s.NewThread("test")
	r := &running{th, make(chan struct{})}
	th.Start(func() { defer close(r.done); f(&vfs.Caller{Cred: cred.Root(), Thread: th}) })
	return r
}

func (r *running) wait(t *testing.T) {
	t.Helper()
	select {
	case <-r.done:
	case <-time.After(10 * time.Second):
		t.Fatal("it does not end")
	}
}

func (r *running) asleep(t *testing.T) {
	t.Helper()
	for range 5000 {
		if r.th.State() == 'S' {
			return
		}
		select {
		case <-r.done:
			t.Fatal("it did not wait")
		case <-time.After(time.Millisecond):
		}
	}
	t.Fatal("it neither sleeps nor ends")
}

func read8(f vfs.File) (uint64, abi.Errno) {
	var b [8]byte
	_, e := f.Read(caller, mm.BytesBuf(b[:]), nonblock)
	return binary.LittleEndian.Uint64(b[:]), e
}

func write8(f vfs.File, v uint64) abi.Errno {
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], v)
	_, e := f.Write(caller, mm.BytesBuf(b[:]), nonblock)
	return e
}

func eventfd(t *testing.T, n uint32, flags int32) *vfs.Open {
	t.Helper()
	o, e := NewEventFD(n, flags)
	if e != 0 {
		t.Fatal(e.Name())
	}
	return o
}

func TestEventFD(t *testing.T) {
	if _, e := NewEventFD(0, 2); e != abi.EINVAL {
		t.Error("flags:", e.Name())
	}
	o := eventfd(t, 3, 0)
	f := o.File
	expect := func(what string, got uint64, e abi.Errno, want uint64, we abi.Errno) {
		t.Helper()
		if got != want || e != we {
			t.Errorf("%s: %d %s, want %d %s", what, got, e.Name(), want, we.Name())
		}
	}
	v, e := read8(f)
	expect("read", v, e, 3, 0)
	v, e = read8(f)
	expect("read of 0", v, e, 0, abi.EAGAIN)
	expect("all ones", 0, write8(f, math.MaxUint64), 0, abi.EINVAL)
	expect("the most", 0, write8(f, math.MaxUint64-1), 0, 0)
	expect("too much", 0, write8(f, 1), 0, abi.EAGAIN)
	if m, _ := o.Poll(caller); m != abi.EPOLLIN {
		t.Errorf("poll when full: %#x", m)
	}
	_, e = f.Read(caller, mm.BytesBuf(make([]byte, 7)), nonblock)
	expect("short", 0, e, 0, abi.EINVAL)
	v, e = read8(f)
	expect("the most", v, e, math.MaxUint64-1, 0)
	f = eventfd(t, 2, abi.EFD_SEMAPHORE).File
	for range 2 {
		v, e = read8(f)
		expect("semaphore", v, e, 1, 0)
	}
	v, e = read8(f)
	expect("semaphore at 0", v, e, 0, abi.EAGAIN)
}

// TestEventFDBlocks is a reader and a writer that wait for each other.
func TestEventFDBlocks(t *testing.T) {
	m := newMachine(t)
	f := eventfd(t, 0, 0).File
	r := m.start(func(c *vfs.Caller) {
		var b [8]byte
		if n, e := f.Read(c, mm.BytesBuf(b[:]), vfs.At{}); n != 8 || b[0] != 7 {
			t.Error(n, e.Name(), b)
		}
	})
	r.asleep(t)
	write8(f, 7)
	r.wait(t)
	write8(f, math.MaxUint64-1)
	r = m.start(func(c *vfs.Caller) {
		b := [8]byte{5}
		if n, e := f.Write(c, mm.BytesBuf(b[:]), vfs.At{}); n != 8 {
			t.Error(e.Name())
		}
	})
	r.asleep(t)
	read8(f)
	r.wait(t)
	r = m.start(func(c *vfs.Caller) {
		f.Read(c, mm.BytesBuf(make([]byte, 8)), vfs.At{})
		if _, e := f.Read(c, mm.BytesBuf(make([]byte, 8)), vfs.At{}); e != abi.ERESTARTSYS {
			t.Error(e.Name())
		}
	})
	r.asleep(t)
	r.th.Interrupt()
	r.wait(t)
}

// ready is what epoll_wait(0) gives, as data.
func ready(ep *Epoll, n int) (got []uint64) {
	out := make([]EpollEvent, n)
	k, _ := ep.WaitEvents(caller, out, 0)
	for _, e := range out[:k] {
		got = append(got, e.Data)
	}
	return got
}

func same(a, b []uint64) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

func newEpoll(t *testing.T) *Epoll {
	t.Helper()
	ep, _ := EpollOf(NewEpoll(0))
	return ep
}

func TestEpollTriggers(t *testing.T) {
	for name, c := range map[string]struct {
		flags uint32
		do    func(f vfs.File, again func())
		want  [][]uint64
	}{
		"level":                {0, func(f vfs.File, again func()) { write8(f, 1); again(); again(); read8(f); again() }, [][]uint64{{9}, {9}, nil}},
		"edge":                 {abi.EPOLLET, func(f vfs.File, again func()) { write8(f, 1); again(); again(); write8(f, 1); again() }, [][]uint64{{9}, nil, {9}}},
		"edge, gone meanwhile": {abi.EPOLLET, func(f vfs.File, again func()) { write8(f, 1); read8(f); again() }, [][]uint64{nil}},
		"once":                 {abi.EPOLLONESHOT, func(f vfs.File, again func()) { write8(f, 1); again(); again(); write8(f, 1); again() }, [][]uint64{{9}, nil, nil}},
	} {
		t.Run(name, func(t *testing.T) {
			ep, o := newEpoll(t), eventfd(t, 0, 0)
			if e := ep.Ctl(caller, abi.EPOLL_CTL_ADD, 3, o, EpollEvent{abi.EPOLLIN | c.flags, 9}); e != 0 {
				t.Fatal(e.Name())
			}
			n := 0
			c.do(o.File, func() {
				t.Helper()
				if got := ready(ep, 4); !same(got, c.want[n]) {
					t.Errorf("step %d: %v, want %v", n, got, c.want[n])
				}
				n++
			})
		})
	}
}

func TestEpollCtl(t *testing.T) {
	ep, o := newEpoll(t), eventfd(t, 1, 0)
	self := vfs.NewAnon("x", 0, ep, abi.O_RDWR)
	plain := vfs.NewAnon("x", 0, vfs.NoFile{}, abi.O_RDWR)
	in := EpollEvent{abi.EPOLLIN, 1}
	for _, s := range []struct {
		what string
		op   int32
		fd   int32
		o    *vfs.Open
		ev   EpollEvent
		want abi.Errno
	}{
		{"a file without poll", abi.EPOLL_CTL_ADD, 3, plain, in, abi.EPERM},
		{"itself", abi.EPOLL_CTL_ADD, 3, self, in, abi.EINVAL},
		{"del of none", abi.EPOLL_CTL_DEL, 3, o, in, abi.ENOENT},
		{"mod of none", abi.EPOLL_CTL_MOD, 3, o, in, abi.ENOENT},
		{"unknown op", 9, 3, o, in, abi.EINVAL},
		{"exclusive with oneshot", abi.EPOLL_CTL_ADD, 3, o, EpollEvent{abi.EPOLLEXCLUSIVE | abi.EPOLLONESHOT, 0}, abi.EINVAL},
		{"add", abi.EPOLL_CTL_ADD, 3, o, in, 0},
		{"add again", abi.EPOLL_CTL_ADD, 3, o, in, abi.EEXIST},
		{"a duplicate", abi.EPOLL_CTL_ADD, 4, o, EpollEvent{abi.EPOLLIN, 2}, 0},
		{"mod to exclusive", abi.EPOLL_CTL_MOD, 3, o, EpollEvent{abi.EPOLLEXCLUSIVE, 0}, abi.EINVAL},
		{"del of the duplicate", abi.EPOLL_CTL_DEL, 4, o, in, 0},
		{"exclusive", abi.EPOLL_CTL_ADD, 5, o, EpollEvent{abi.EPOLLEXCLUSIVE | abi.EPOLLIN, 5}, 0},
		{"mod of exclusive", abi.EPOLL_CTL_MOD, 5, o, in, abi.EINVAL},
		{"del of exclusive", abi.EPOLL_CTL_DEL, 5, o, in, 0},
	} {
		if e := ep.Ctl(caller, s.op, s.fd, s.o, s.ev); e != s.want {
			t.Errorf("%s: %s, want %s", s.what, e.Name(), s.want.Name())
		}
	}
	if got := ready(ep, 4); !same(got, []uint64{1}) {
		t.Error(got)
	}
	ep.Ctl(caller, abi.EPOLL_CTL_MOD, 3, o, EpollEvent{abi.EPOLLOUT, 8})
	if got := ready(ep, 4); !same(got, []uint64{8}) {
		t.Error("after mod:", got)
	}
	// A oneshot item is armed again by MOD.
	ep.Ctl(caller, abi.EPOLL_CTL_MOD, 3, o, EpollEvent{abi.EPOLLIN | abi.EPOLLONESHOT, 1})
	ready(ep, 4)
	ep.Ctl(caller, abi.EPOLL_CTL_MOD, 3, o, EpollEvent{abi.EPOLLIN | abi.EPOLLONESHOT, 2})
	if got := ready(ep, 4); !same(got, []uint64{2}) {
		t.Error("armed again:", got)
	}
}

// TestEpollClosed is files that are closed without EPOLL_CTL_DEL: not reported, forgotten, and their numbers free for others.
func TestEpollClosed(t *testing.T) {
	ep := newEpoll(t)
	for i := range 10 * sweepAbove {
		o := eventfd(t, 1, 0)
		if e := ep.Ctl(caller, abi.EPOLL_CTL_ADD, 3, o, EpollEvent{abi.EPOLLIN, uint64(i)}); e != 0 {
			t.Fatal(e.Name())
		}
		if got := ready(ep, 10); !same(got, []uint64{uint64(i)}) {
			t.Fatal(i, got)
		}
		o.Unref()
	}
	if n := len(ep.items); n > 2*sweepAbove {
		t.Error(n, "closed files are remembered")
	}
	if got := ready(ep, 10); got != nil {
		t.Error(got)
	}
	// A duplicate keeps the file open: it is still reported.
	o := eventfd(t, 1, 0)
	o.Ref()
	ep.Ctl(caller, abi.EPOLL_CTL_ADD, 3, o, EpollEvent{abi.EPOLLIN, 7})
	o.Unref()
	if got := ready(ep, 10); !same(got, []uint64{7}) {
		t.Error(got)
	}
	ep.Release()
	write8(o.File, 1)
	o.Unref()
}

func TestEpollNested(t *testing.T) {
	open := func() (*Epoll, *vfs.Open) { o := NewEpoll(0); return o.File.(*Epoll), o }
	in := EpollEvent{abi.EPOLLIN, 1}
	a, ao := open()
	b, bo := open()
	fd := eventfd(t, 0, 0)
	if e := a.Ctl(caller, abi.EPOLL_CTL_ADD, 3, bo, in); e != 0 {
		t.Fatal(e.Name())
	}
	if e := b.Ctl(caller, abi.EPOLL_CTL_ADD, 4, ao, in); e != abi.ELOOP {
		t.Error("a loop:", e.Name())
	}
	b.Ctl(caller, abi.EPOLL_CTL_ADD, 5, fd, in)
	if got := ready(a, 4); got != nil {
		t.Error(got)
	}
	write8(fd.File, 1)
	for range 2 {
		if got := ready(a, 4); !same(got, []uint64{1}) {
			t.Error("nested:", got)
		}
	}
	read8(fd.File)
	if got := ready(a, 4); got != nil {
		t.Error("no longer ready:", got)
	}
	// A chain may be five epolls long, in whatever order it is made.
	for _, up := range []bool{true, false} {
		last := NewEpoll(0)
		for i := range maxNests + 1 {
			o := NewEpoll(0)
			outer, inner := last, o
			if up {
				outer, inner = o, last
			}
			e := outer.File.(*Epoll).Ctl(caller, abi.EPOLL_CTL_ADD, 3, inner, in)
			if (e == abi.ELOOP) != (i >= maxNests) {
				t.Errorf("depth %d: %s", i+1, e.Name())
			}
			last = o
		}
	}
}

// TestEpollWait is waiting threads: each event wakes one, a signal ends the wait, and so does the time.
func TestEpollWait(t *testing.T) {
	m := newMachine(t)
	ep, o := newEpoll(t), eventfd(t, 0, 0)
	ep.Ctl(caller, abi.EPOLL_CTL_ADD, 3, o, EpollEvent{abi.EPOLLIN | abi.EPOLLET, 1})
	var out [4]EpollEvent
	wait := func(deadline clock.Time, n int, want abi.Errno) *running {
		r := m.start(func(c *vfs.Caller) {
			if got, e := ep.WaitEvents(c, out[:], deadline); got != n || e != want {
				t.Errorf("%d %s, want %d %s", got, e.Name(), n, want.Name())
			}
		})
		r.asleep(t)
		return r
	}
	r := wait(clock.Never, 1, 0)
	write8(o.File, 1)
	r.wait(t)
	r = wait(clock.Never, 0, abi.EINTR)
	r.th.Interrupt()
	r.wait(t)
	r = wait(m.clk.Monotonic()+5e6, 0, 0)
	m.clk.Advance(5e6)
	r.wait(t)
	if _, e := ep.Wait(caller, 0, 0, 0); e != abi.EINVAL {
		t.Error(e.Name())
	}
}

// TestEpollMany is more files than are copied at once, level-triggered: each is reported once a call, and in turn.
func TestEpollMany(t *testing.T) {
	ep := newEpoll(t)
	for i := range 100 {
		ep.Ctl(caller, abi.EPOLL_CTL_ADD, int32(i), eventfd(t, 1, 0), EpollEvent{abi.EPOLLIN, uint64(i)})
	}
	seen := map[uint64]int{}
	for _, d := range ready(ep, 300) {
		seen[d]++
	}
	if len(seen) != 100 {
		t.Error(len(seen), "files reported")
	}
	for d, n := range seen {
		if n != 1 {
			t.Error(d, "reported", n, "times")
		}
	}
	first, second := ready(ep, 50), ready(ep, 50)
	for i := range second {
		if first[i] == second[i] {
			t.Fatal("the same files come first again")
		}
	}
}

func TestPoll(t *testing.T) {
	m := newMachine(t)
	a, b := eventfd(t, 0, 0), eventfd(t, 0, 0)
	plain := vfs.NewAnon("x", 0, vfs.NoFile{}, abi.O_RDWR)
	fds := []PollFD{{Open: a, Events: abi.EPOLLIN}, {Skip: true}, {Open: b, Events: abi.EPOLLIN}}
	if n, e := Poll(caller, fds, 0); n != 0 || e != 0 {
		t.Error(n, e.Name())
	}
	if n, _ := Poll(caller, []PollFD{{Open: plain, Events: abi.EPOLLIN}, {}, {Open: a, Events: abi.EPOLLOUT}}, 0); n != 3 {
		t.Error(n)
	}
	wait := func(deadline clock.Time, n int, want abi.Errno) *running {
		r := m.start(func(c *vfs.Caller) {
			if got, e := Poll(c, fds, deadline); got != n || e != want {
				t.Errorf("%d %s, want %d %s", got, e.Name(), n, want.Name())
			}
		})
		r.asleep(t)
		return r
	}
	for range 3 { // the callbacks are used again
		r := wait(clock.Never, 1, 0)
		write8(b.File, 1)
		r.wait(t)
		if fds[0].Revents != 0 || fds[2].Revents != abi.EPOLLIN {
			t.Error(fds)
		}
		read8(b.File)
	}
	r := wait(clock.Never, 0, abi.ERESTARTNOHAND)
	r.th.Interrupt()
	r.wait(t)
	r = wait(m.clk.Monotonic()+1e6, 0, 0)
	m.clk.Advance(1e6)
	r.wait(t)
}

func TestTimerFD(t *testing.T) {
	m := newMachine(t)
	all := NewTimers(m.clk)
	open := func(id int32) *vfs.Open {
		o, e := all.NewTimerFD(caller, id, 0)
		if e != 0 {
			t.Fatal(e.Name())
		}
		return o
	}
	set := func(o *vfs.Open, flags int32, value, interval int64) (abi.ItimerSpec, abi.Errno) {
		return TimerFDSet(caller, o, flags, abi.ItimerSpec{Value: abi.NsToTimespec(value), Interval: abi.NsToTimespec(interval)})
	}
	expect := func(what string, o *vfs.Open, want uint64, we abi.Errno) {
		t.Helper()
		if n, e := read8(o.File); n != want || e != we {
			t.Errorf("%s: %d %s, want %d %s", what, n, e.Name(), want, we.Name())
		}
	}
	if _, e := all.NewTimerFD(caller, abi.CLOCK_TAI, 0); e != abi.EINVAL {
		t.Error("clock:", e.Name())
	}
	o := open(abi.CLOCK_MONOTONIC)
	expect("disarmed", o, 0, abi.EAGAIN)
	set(o, 0, 100, 0)
	m.clk.Advance(99)
	expect("early", o, 0, abi.EAGAIN)
	if s, _ := TimerFDGet(o); s.Value != (abi.Timespec{Nsec: 1}) {
		t.Error(s)
	}
	m.clk.Advance(1)
	if p, _ := o.Poll(caller); p != abi.EPOLLIN {
		t.Errorf("poll: %#x", p)
	}
	expect("once", o, 1, 0)
	expect("read", o, 0, abi.EAGAIN)
	set(o, 0, 100, 10)
	m.clk.Advance(135)
	expect("overruns", o, 4, 0)
	if s, _ := TimerFDGet(o); s.Value != (abi.Timespec{Nsec: 5}) || s.Interval != (abi.Timespec{Nsec: 10}) {
		t.Error(s)
	}
	m.clk.Advance(5)
	expect("the grid is kept", o, 1, 0)
	m.clk.Advance(100)
	if s, _ := TimerFDGet(o); s.Value.Nsec > 10 || s.Value.Nsec == 0 {
		t.Error(s)
	}
	expect("after gettime", o, 10, 0)
	set(o, abi.TFD_TIMER_ABSTIME, int64(m.clk.Monotonic())-50, 0)
	m.clk.Advance(0)
	expect("in the past", o, 1, 0)
	if old, e := set(o, 0, 0, 0); e != 0 || !old.Value.IsZero() {
		t.Error(old, e.Name())
	}
	set(o, 0, 10, 0)
	set(o, 0, 0, 0)
	m.clk.Advance(20)
	expect("disarmed again", o, 0, abi.EAGAIN)
	if _, e := set(o, 4, 1, 0); e != abi.EINVAL {
		t.Error("flags:", e.Name())
	}
	if _, e := TimerFDSet(caller, o, 0, abi.ItimerSpec{Value: abi.Timespec{Nsec: 1e9}}); e != abi.EINVAL {
		t.Error("time:", e.Name())
	}

	// The wall clock is set: absolute times of it move, and who asked for it is told.
	w, c := open(abi.CLOCK_REALTIME), open(abi.CLOCK_REALTIME)
	now := m.clk.Realtime()
	set(w, abi.TFD_TIMER_ABSTIME, now+1000, 0)
	set(c, abi.TFD_TIMER_ABSTIME|abi.TFD_TIMER_CANCEL_ON_SET, now+1e9, 0)
	r := m.start(func(vc *vfs.Caller) {
		if _, e := c.File.Read(vc, mm.BytesBuf(make([]byte, 8)), vfs.At{}); e != abi.ECANCELED {
			t.Error("a set clock:", e.Name())
		}
	})
	r.asleep(t)
	m.clk.SetRealtime(now + 500)
	all.ClockSet()
	r.wait(t)
	m.clk.Advance(499)
	expect("wall clock, early", w, 0, abi.EAGAIN)
	m.clk.Advance(1)
	expect("wall clock", w, 1, 0)
	m.clk.SetRealtime(now + 5000)
	all.ClockSet()
	if _, e := set(c, abi.TFD_TIMER_ABSTIME|abi.TFD_TIMER_CANCEL_ON_SET, now+1e9, 0); e != abi.ECANCELED {
		t.Error("settime after a set clock:", e.Name())
	}
	w.Unref()
	c.Unref()
	o.Unref()
	if len(all.real) != 0 {
		t.Error(len(all.real), "timers are remembered")
	}
}

// TestAllocs: the paths of the benchmark eventfd_epoll allocate nothing.
func TestAllocs(t *testing.T) {
	if lockcheck {
		t.Skip("the checks allocate")
	}
	mem, err := physmem.New(16 << 20)
	if err != nil {
		t.Fatal(err)
	}
	defer mem.Close()
	space := mm.NewSpace(mem, mm.NoLimits)
	defer space.Release()
	addr, e := space.Map(0, 4096, mm.MapOpts{Prot: abi.PROT_READ | abi.PROT_WRITE, Flags: abi.MAP_PRIVATE | abi.MAP_ANONYMOUS})
	if e != 0 {
		t.Fatal(e.Name())
	}
	caller := &vfs.Caller{Cred: cred.Root(), User: mm.User{Space: space}}
	ep, o := newEpoll(t), eventfd(t, 0, 0)
	ep.Ctl(caller, abi.EPOLL_CTL_ADD, 3, o, EpollEvent{abi.EPOLLIN, 1})
	var b [8]byte
	buf := mm.BytesBuf(b[:])
	fds := []PollFD{{Open: o, Events: abi.EPOLLIN}}
	n := testing.AllocsPerRun(100, func() {
		b[0] = 1
		buf.SetBytes(b[:])
		if _, e := o.File.Write(caller, buf, nonblock); e != 0 {
			t.Fatal(e.Name())
		}
		if n, e := ep.Wait(caller, addr, 5, 0); n != 1 {
			t.Fatal(e.Name())
		}
		if n, _ := Poll(caller, fds, 0); n != 1 {
			t.Fatal(n)
		}
		buf.SetBytes(b[:])
		if _, e := o.File.Read(caller, buf, nonblock); e != 0 {
			t.Fatal(e.Name())
		}
	})
	if n != 0 {
		t.Error(n, "allocations")
	}
}

// TestHammerEpoll is writers, waiters and changes at the same time; every event is seen in the end.
func TestHammerEpoll(t *testing.T) {
	m := newMachine(t)
	ep := newEpoll(t)
	const files, rounds = 4, 300
	var opens [files]*vfs.Open
	for i := range opens {
		opens[i] = eventfd(t, 0, abi.EFD_SEMAPHORE)
		ep.Ctl(caller, abi.EPOLL_CTL_ADD, int32(i), opens[i], EpollEvent{abi.EPOLLIN, uint64(i)})
	}
	var got int
	var mu sync.Mutex
	var rs []*running
	for range 3 {
		rs = append(rs, m.start(func(c *vfs.Caller) {
			var out [2]EpollEvent
			for {
				mu.Lock()
				done := got >= files*rounds
				mu.Unlock()
				if done {
					return
				}
				n, _ := ep.WaitEvents(c, out[:], clock.Never)
				for _, e := range out[:n] {
					if _, e := read8(opens[e.Data].File); e == 0 {
						mu.Lock()
						if got++; got == files*rounds {
							write8(opens[0].File, 100) // lets the others see that it is over
						}
						mu.Unlock()
					}
				}
			}
		}))
	}
	for i := range opens {
		rs = append(rs, m.start(func(c *vfs.Caller) {
			for k := range rounds {
				write8(opens[i].File, 1)
				if k%16 == 0 {
					ep.Ctl(c, abi.EPOLL_CTL_MOD, int32(i), opens[i], EpollEvent{abi.EPOLLIN, uint64(i)})
				}
				c.Thread.Yield()
			}
		}))
	}
	for _, r := range rs {
		r.wait(t)
	}
}
