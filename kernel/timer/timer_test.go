package timer

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"goum/arch/abi"
	"goum/arch/lock"
	"goum/kernel/cred"
	"goum/kernel/signal"
	"goum/sched"
	"goum/sched/clock"
)

// process is one that has signals and uses CPU time.
type process struct {
	t   *testing.T
	clk *clock.Clock
	m   *Machine
	*Timers
	user, system atomic.Int64

	mu      lock.Mutex[lock.Signals]
	queue   signal.Queue
	ignored signal.Set
}

func (p *process) Send(info *signal.Info) abi.Errno {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.queue.Add(info, nil, 0)
}

func (p *process) SendEntry(e *signal.Entry) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ignored.Has(int(e.Info.Signo)) {
		e.OnTake(nil)
		return true
	}
	ok := p.queue.AddEntry(e)
	if !ok {
		p.t.Error("an entry was sent twice")
	}
	return ok
}

func (p *process) remove(e *signal.Entry) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.queue.Remove(e)
}

// take takes a signal; 0: none is pending.
func (p *process) take() (info signal.Info) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if sig := p.queue.Next(0); sig != 0 {
		p.queue.Take(sig, &info)
	}
	return info
}

// took checks which signals are pending, in which order.
func (p *process) took(what string, want ...int32) {
	p.t.Helper()
	var got []int32
	for i := p.take(); i.Signo != 0; i = p.take() {
		if got = append(got, i.Signo); len(got) > 10 {
			break
		}
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		p.t.Errorf("%s: signals %v, want %v", what, got, want)
	}
}

func newProcess(t *testing.T) *process {
	p := &process{t: t, clk: clock.NewVirtual(1e18)}
	p.m = NewMachine(p.clk)
	p.Timers = p.m.New(Process{Target: p, Remove: p.remove, CPU: func() (clock.Time, clock.Time) {
		return clock.Time(p.user.Load()), clock.Time(p.system.Load())
	}})
	return p
}

func (p *process) spec(value, every int64) abi.ItimerSpec {
	return abi.ItimerSpec{Value: abi.NsToTimespec(value), Interval: abi.NsToTimespec(every)}
}

func (p *process) create(c Clock, ev *Event) int32 {
	p.t.Helper()
	id, e := p.Create(c, ev, nil, 0)
	if e != 0 {
		p.t.Fatalf("Create: %v", e)
	}
	return id
}

func (p *process) set(id int32, abs bool, value, every int64) abi.ItimerSpec {
	p.t.Helper()
	old, e := p.Set(id, abs, p.spec(value, every))
	if e != 0 {
		p.t.Fatalf("Set: %v", e)
	}
	return old
}

// rest checks what a timer has left.
func (p *process) rest(what string, id int32, value, every int64) {
	p.t.Helper()
	if got, e := p.Get(id); e != 0 || got != p.spec(value, every) {
		p.t.Errorf("%s: %+v, %v; want %d and %d", what, got, e, value, every)
	}
}

func TestIntervalReal(t *testing.T) {
	p := newProcess(t)
	check := func(what string, got, want Interval) {
		t.Helper()
		if got != want {
			t.Errorf("%s: %+v, want %+v", what, got, want)
		}
	}
	get := func() Interval { i, _ := p.GetInterval(abi.ITIMER_REAL); return i }
	check("never set", get(), Interval{})
	old, _ := p.SetInterval(abi.ITIMER_REAL, Interval{100e6, 30e6})
	check("old", old, Interval{})
	p.clk.Advance(60e6)
	check("under way", get(), Interval{40e6, 30e6})
	p.took("too early")
	p.clk.Advance(40e6)
	p.clk.Advance(70e6) // two intervals, and a bit
	check("not taken yet", get(), Interval{20e6, 30e6})
	i := p.take()
	if i.Signo != abi.SIGALRM || i.Code != abi.SI_KERNEL {
		t.Errorf("siginfo %+v", i)
	}
	p.took("what came meanwhile is one signal")
	p.clk.Advance(20e6)
	p.took("goes on in step", abi.SIGALRM)
	p.clk.Advance(30e6)
	old, _ = p.SetInterval(abi.ITIMER_REAL, Interval{0, 5})
	check("old, when disarmed", old, Interval{30e6, 30e6})
	check("disarmed", get(), Interval{})
	p.took("its signal stays", abi.SIGALRM)
	p.took("once")
	p.clk.Advance(1e9)
	p.took("disarmed")
	if _, e := p.SetInterval(3, Interval{}); e != abi.EINVAL {
		t.Errorf("no such timer: %v", e)
	}
	if _, e := p.GetInterval(-1); e != abi.EINVAL {
		t.Errorf("no such timer: %v", e)
	}
	if _, e := IntervalOf(abi.Itimerval{Value: abi.Timeval{Usec: 1e6}}); e != abi.EINVAL {
		t.Errorf("not a proper time: %v", e)
	}
	if _, e := IntervalOf(abi.Itimerval{Interval: abi.Timeval{Sec: -1}}); e != abi.EINVAL {
		t.Errorf("negative: %v", e)
	}
}

func TestAlarm(t *testing.T) {
	p := newProcess(t)
	for _, c := range []struct {
		advance int64
		set     uint32
		want    uint32
	}{{0, 10, 0}, {3.6e9, 5, 6}, {3.4e9, 1, 2}, {0.9e9, 7, 1}, {1e9, 0, 6}, {1e9, 1, 0}} {
		p.clk.Advance(c.advance)
		if got := p.Alarm(c.set); got != c.want {
			t.Errorf("alarm(%d) = %d, want %d", c.set, got, c.want)
		}
	}
	p.took("none yet")
	p.clk.Advance(1e9)
	p.took("the last", abi.SIGALRM)
}

func TestPosix(t *testing.T) {
	p := newProcess(t)
	a := p.create(Clock{}, nil)
	b := p.create(Clock{}, &Event{Signo: abi.SIGUSR1, Value: 0xabcdef0123456789})
	quiet := p.create(Clock{}, &Event{Silent: true})
	if a != 0 || b != 1 || quiet != 2 {
		t.Errorf("ids %d, %d, %d", a, b, quiet)
	}
	p.set(a, false, 100e6, 0)
	p.set(b, true, 150e6, 50e6)
	p.set(quiet, false, 100e6, 70e6)
	p.clk.Advance(90e6)
	p.rest("a", a, 10e6, 0)
	p.rest("b", b, 60e6, 50e6)
	p.rest("quiet", quiet, 10e6, 70e6)
	p.clk.Advance(10e6)
	i := p.take()
	if i.Signo != abi.SIGALRM || i.Code != abi.SI_TIMER || i.TimerID() != a || i.Value() != uint64(a) || i.Overrun() != 0 {
		t.Errorf("siginfo %+v", i)
	}
	p.rest("a is done", a, 0, 0)
	p.rest("quiet goes on", quiet, 70e6, 70e6)
	p.clk.Advance(260e6) // now 360: b was due at 150, 200, 250, 300, 350
	p.rest("b, not taken", b, 40e6, 50e6)
	i = p.take()
	if i.Signo != abi.SIGUSR1 || i.Value() != 0xabcdef0123456789 || i.TimerID() != b || i.Overrun() != 4 {
		t.Errorf("siginfo %+v, overrun %d", i, i.Overrun())
	}
	if n, e := p.Overrun(b); n != 4 || e != 0 {
		t.Errorf("overrun %d, %v", n, e)
	}
	p.rest("quiet", quiet, 20e6, 70e6) // 100+70*4 = 380
	p.clk.Advance(45e6)
	if old := p.set(b, false, 1e6, 0); old != p.spec(45e6, 50e6) {
		t.Errorf("old %+v", old)
	}
	p.took("a pending signal goes when the timer is set")
	if n, _ := p.Overrun(b); n != 0 {
		t.Errorf("overrun %d", n)
	}
	p.clk.Advance(1e6)
	if e := p.Delete(b); e != 0 {
		t.Errorf("Delete: %v", e)
	}
	p.took("and when it is deleted")
	for what, e := range map[string]abi.Errno{
		"delete":  p.Delete(b),
		"set":     func() abi.Errno { _, e := p.Set(b, false, p.spec(1, 1)); return e }(),
		"get":     func() abi.Errno { _, e := p.Get(b); return e }(),
		"overrun": func() abi.Errno { _, e := p.Overrun(b); return e }(),
		"value":   func() abi.Errno { _, e := p.Set(a, false, abi.ItimerSpec{Value: abi.Timespec{Nsec: 1e9}}); return e }(),
		"every":   func() abi.Errno { _, e := p.Set(a, false, abi.ItimerSpec{Interval: abi.Timespec{Sec: -1}}); return e }(),
	} {
		if e != abi.EINVAL {
			t.Errorf("%s: %v, want EINVAL", what, e)
		}
	}
	if id := p.create(Clock{}, nil); id != 3 {
		t.Errorf("a number is used again at once: %d", id)
	}
	p.set(a, false, 1e6, 1e6)
	p.SetInterval(abi.ITIMER_REAL, Interval{2e6, 0})
	p.Exit(true)
	p.clk.Advance(5e6)
	p.took("exec keeps only setitimer's", abi.SIGALRM)
	p.SetInterval(abi.ITIMER_REAL, Interval{2e6, 0})
	p.Exit(false)
	p.clk.Advance(5e6)
	p.took("exit keeps none")
	if p.clk.Next() != clock.Never {
		t.Error("a timer still waits")
	}
	if _, e := p.Create(Clock{}, nil, nil, 0); e != abi.EAGAIN {
		t.Errorf("after the end: %v", e)
	}
}

// TestTiny has timers of one nanosecond: what they cost is bounded.
func TestTiny(t *testing.T) {
	p := newProcess(t)
	id := p.create(Clock{}, &Event{Signo: abi.SIGRTMIN})
	p.set(id, false, 1, 1)
	p.clk.Advance(1e9)
	if i := p.take(); i.Overrun() != 1e9-1 {
		t.Errorf("overrun %d", i.Overrun())
	}
	p.clk.Advance(4e9)
	if i := p.take(); i.Overrun() != 1<<31-1 {
		t.Errorf("overrun %d is not cut off", i.Overrun())
	}
	p.Delete(id)
	p.ignored = signal.Of(abi.SIGRTMIN)
	id = p.create(Clock{}, &Event{Signo: abi.SIGRTMIN})
	p.set(id, false, 1, 1)
	p.clk.Advance(10e9) // 1,000 expiries, not 10,000,000,000
	p.ignored = 0
	p.clk.Advance(10e6)
	p.mu.Lock()
	n := p.queue.Pending()
	p.mu.Unlock()
	if n == 0 {
		t.Error("it does not go on when its signal is no longer ignored")
	}
	p.set(id, false, 1<<62, 1<<62)
	p.clk.Advance(1e9)
	p.took("292 years")
	p.Exit(false)
}

func TestWallClock(t *testing.T) {
	p := newProcess(t)
	c := Clock{Real: true, Offset: p.clk.RealOffset}
	abs, rel, back := p.create(c, &Event{Signo: abi.SIGUSR1}), p.create(c, &Event{Signo: abi.SIGUSR2}), p.create(c, &Event{Signo: abi.SIGTERM})
	now := p.clk.Realtime()
	p.set(abs, true, now+3600e9, 0)
	p.set(rel, false, 3600e9, 0)
	p.clk.Advance(1e9)
	p.rest("abs", abs, 3599e9, 0)
	p.clk.SetRealtime(p.clk.Realtime() + 3598e9)
	p.m.ClockSet()
	p.rest("abs", abs, 1e9, 0)
	p.rest("rel", rel, 3599e9, 0)
	p.clk.Advance(1e9)
	p.took("the wall clock came to it", abi.SIGUSR1)
	p.set(back, true, p.clk.Realtime()+5e9, 0)
	p.clk.SetRealtime(p.clk.Realtime() - 10e9)
	p.m.ClockSet()
	p.clk.Advance(14e9)
	p.took("the wall clock was set back")
	p.clk.Advance(1e9)
	p.took("now it comes", abi.SIGTERM)
	p.set(back, true, p.clk.Realtime()+5e9, 0)
	p.clk.SetRealtime(p.clk.Realtime() - 10e9)
	p.clk.Advance(6e9) // the clock calls before ClockSet tells
	p.took("set back, and nobody has told yet")
	p.clk.Advance(9e9)
	p.took("now it comes", abi.SIGTERM)
	p.Exit(false)
	if len(p.m.real) != 0 {
		t.Errorf("%d timers are left in the list", len(p.m.real))
	}
}

func TestCPUTimers(t *testing.T) {
	p := newProcess(t)
	use := func(user, system int64) {
		p.user.Add(user)
		p.system.Add(system)
		p.Tick()
	}
	p.SetInterval(abi.ITIMER_VIRTUAL, Interval{20e6, 20e6})
	p.SetInterval(abi.ITIMER_PROF, Interval{50e6, 0})
	if i, _ := p.GetInterval(abi.ITIMER_VIRTUAL); i != (Interval{30e6, 20e6}) { // a tick more: never early
		t.Errorf("%+v", i)
	}
	use(10e6, 20e6)
	use(10e6, 0)
	p.took("too early")
	use(10e6, 0)
	p.took("user time", abi.SIGVTALRM)
	use(0, 10e6)
	p.took("all time", abi.SIGPROF)
	use(10e6, 10e6)
	use(10e6, 0)
	p.took("again", abi.SIGVTALRM)
	p.SetInterval(abi.ITIMER_VIRTUAL, Interval{})

	id := p.create(Clock{CPU: func() int64 { return p.user.Load() + p.system.Load() }}, &Event{Signo: abi.SIGUSR1})
	p.set(id, false, 25e6, 10e6)
	use(20e6, 0)
	p.rest("CPU timer", id, 5e6, 10e6)
	use(10e6, 0) // 30: due at 25
	use(40e6, 0) // 70: and at 35, 45, 55, 65
	if i := p.take(); i.Signo != abi.SIGUSR1 || i.Overrun() != 4 {
		t.Errorf("signal %d, overrun %d", i.Signo, i.Overrun())
	}
	p.rest("in step", id, 5e6, 10e6)
	use(5e6, 0)
	if i := p.take(); i.Signo != abi.SIGUSR1 || i.Overrun() != 0 {
		t.Errorf("signal %d, overrun %d", i.Signo, i.Overrun())
	}
	p.set(id, false, 1e6, 0)
	use(10e6, 0)
	p.took("once", abi.SIGUSR1)
	use(10e6, 0)
	p.took("once only")
	if p.cpuUsers.Load() != 0 {
		t.Error("Tick still has something to look at")
	}
	p.Delete(id)

	p.user.Store(0)
	p.system.Store(0)
	p.SetCPULimit(2, 4)
	use(1.99e9, 0)
	p.took("below the limit")
	use(0.01e9, 0)
	p.took("soft limit", abi.SIGXCPU)
	use(0.5e9, 0)
	p.took("not so soon again")
	use(0.5e9, 0)
	p.took("each second", abi.SIGXCPU)
	use(1e9, 0)
	p.took("hard limit", abi.SIGKILL)
	p.SetCPULimit(abi.RLIM_INFINITY, abi.RLIM_INFINITY)
	if p.cpuUsers.Load() != 0 {
		t.Error("Tick still has something to look at")
	}
}

func TestLimits(t *testing.T) {
	p := newProcess(t)
	u := &cred.User{}
	for i := range 3 {
		if _, e := p.Create(Clock{}, nil, u, 3); e != 0 {
			t.Errorf("timer %d: %v", i, e)
		}
	}
	if _, e := p.Create(Clock{}, nil, u, 3); e != abi.EAGAIN {
		t.Errorf("RLIMIT_SIGPENDING: %v", e)
	}
	p.Delete(1)
	p.Exit(true)
	if n := u.Signals.Load(); n != 0 {
		t.Errorf("%d are still counted", n)
	}
	for range maxTimers {
		p.create(Clock{}, nil)
	}
	if _, e := p.Create(Clock{}, nil, u, 3); e != abi.EAGAIN || u.Signals.Load() != 0 {
		t.Errorf("too many: %v, %d counted", e, u.Signals.Load())
	}
}

// TestHammer sets, deletes and takes while the clock runs: an entry that is in two places is an error of the queue.
func TestHammer(t *testing.T) {
	p := newProcess(t)
	ids := []int32{p.create(Clock{}, &Event{Signo: 40}), p.create(Clock{Real: true, Offset: p.clk.RealOffset}, &Event{Signo: 41}),
		p.create(Clock{CPU: p.user.Load}, &Event{Signo: 42})}
	var wg sync.WaitGroup
	do := func(n int, f func(i int)) {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for i := range n {
				f(i)
			}
		}()
	}
	const n = 5000
	do(n, func(i int) { p.clk.Advance(1000); p.user.Add(1000); p.Tick() })
	do(n, func(i int) { p.take() })
	do(n, func(i int) { p.Set(ids[i%3], i%2 == 0, p.spec(int64(i%5)*500, int64(i%3)*700)) })
	do(n, func(i int) { p.Get(ids[i%3]); p.Overrun(ids[i%3]) })
	do(n, func(i int) { p.SetInterval(abi.ITIMER_REAL, Interval{int64(i%3) * 900, int64(i%2) * 100}) })
	do(n/100, func(i int) { p.m.ClockSet() })
	wg.Wait()
	// All still work.
	for _, id := range ids {
		p.set(id, false, 1000, 0)
	}
	p.SetInterval(abi.ITIMER_REAL, Interval{})
	for p.take().Signo != 0 {
	}
	p.clk.Advance(1000)
	p.user.Add(1000)
	p.Tick()
	p.took("at the end", 40, 41, 42)
	p.Exit(false)
}

func TestSleep(t *testing.T) {
	clk := clock.NewVirtual(1e18)
	m := NewMachine(clk)
	s := sched.New(1, clk)
	defer s.Close()
	var step atomic.Int32
	th := s.NewThread("t")
	th.Start(func() {
		if left, e := m.Sleep(th, 100e6); left != 0 || e != 0 {
			t.Errorf("to the end: %d, %v", left, e)
		}
		step.Add(1)
		if left, e := m.Sleep(th, 500e6); left != 300e6 || e != abi.EINTR {
			t.Errorf("interrupted: %d, %v", left, e)
		}
		th.ClearInterrupt()
		step.Add(1)
		if e := m.SleepReal(th, clk.Realtime()+3600e9, clk.RealOffset); e != 0 {
			t.Errorf("wall clock: %v", e)
		}
		step.Add(1)
		if e := m.SleepReal(th, clk.Realtime()+3600e9, clk.RealOffset); e != abi.ERESTARTNOHAND {
			t.Errorf("wall clock, interrupted: %v", e)
		}
		step.Add(1)
	})
	settle := func(want int32) {
		t.Helper()
		for i := 0; s.Running() != 0 || step.Load() != want; i++ {
			if time.Sleep(time.Millisecond); i > 5000 {
				t.Fatalf("step %d, want %d", step.Load(), want)
			}
		}
	}
	settle(0)
	clk.Advance(100e6)
	settle(1)
	clk.Advance(100e6)
	th.Interrupt()
	settle(2)
	clk.SetRealtime(clk.Realtime() + 3600e9)
	m.ClockSet()
	settle(3)
	th.Interrupt()
	settle(4)
}
