package clock

import (
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"goum/arch/abi"
	"goum/arch/vdso"
	"goum/arch/x86"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// eachClock runs a test with both sources of time.
func eachClock(t *testing.T, test func(*testing.T, *Clock)) {
	for name, counter := range map[string]bool{"counter": true, "host": false} {
		t.Run(name, func(t *testing.T) {
			if counter && !counterUsable() {
				t.Skip("the counter cannot be used here")
			}
			c, err := newClock(counter)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if _, ok := c.page.Monotonic(); ok != counter {
				t.Fatalf("the page is in use: %v", ok)
			}
			test(t, c)
		})
	}
}

func TestFollowsHost(t *testing.T) {
	eachClock(t, func(t *testing.T, c *Clock) {
		if now := c.Monotonic(); now < 0 || now > Time(5*time.Second) {
			t.Errorf("a clock that starts is at %d", now)
		}
		var worst int64
		for range 50 {
			time.Sleep(4 * time.Millisecond)
			before := int64(time.Since(c.origin))
			now := int64(c.Monotonic())
			after := int64(time.Since(c.origin))
			worst = max(worst, before-now, now-after)
		}
		// 0.1% of 200 ms; a good measurement is off by some microseconds.
		if worst > 200_000 {
			t.Errorf("off by %d ns", worst)
		}
		if d := c.Realtime() - time.Now().UnixNano(); d > 1e9 || d < -1e9 {
			t.Errorf("wall clock off by %d ns", d)
		}
	})
}

// TestMonotonic reads from several goroutines while the clock corrects itself: each reading is later than any finished before.
func TestMonotonic(t *testing.T) {
	eachClock(t, func(t *testing.T, c *Clock) {
		page := new(vdso.TimePage)
		c.Attach(page)
		var latest atomic.Int64
		var wg sync.WaitGroup
		deadline := time.Now().Add(400 * time.Millisecond) // several corrections
		for i := range 3 {
			wg.Go(func() {
				for time.Now().Before(deadline) {
					was := latest.Load()
					now := int64(c.Monotonic())
					if i == 0 {
						if ns, ok := page.Monotonic(); ok {
							now = ns
						}
					}
					if now < was {
						t.Errorf("%d after %d", now, was)
						return
					}
					for old := latest.Load(); now > old && !latest.CompareAndSwap(old, now); old = latest.Load() {
					}
				}
			})
		}
		wg.Wait()
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.page.Mode == vdso.ModeTSC && (c.page.Seq == 0 || page.Seq != c.page.Seq) {
			t.Errorf("corrected %d times, the copy %d", c.page.Seq, page.Seq)
		}
	})
}

func TestReadingsAllocateNothing(t *testing.T) {
	eachClock(t, func(t *testing.T, c *Clock) {
		if n := testing.AllocsPerRun(100, func() { c.Monotonic(); c.Realtime() }); n != 0 {
			t.Errorf("%v allocations", n)
		}
	})
}

func TestSetRealtime(t *testing.T) {
	c := NewVirtual(1000e9)
	page := new(vdso.TimePage)
	c.Attach(page)
	c.Advance(5e9)
	if got := c.Realtime(); got != 1005e9 {
		t.Errorf("%d", got)
	}
	if e := c.SetRealtime(2000e9); e != 0 || c.Realtime() != 2000e9 || c.Monotonic() != 5e9 || c.RealtimeSets() != 1 {
		t.Errorf("%v: %d, %d", e, c.Realtime(), c.Monotonic())
	}
	if page.RealOffset != 1995e9 {
		t.Errorf("the copy has %d", page.RealOffset)
	}
	for _, bad := range []int64{-1, 4e9, math.MinInt64, math.MaxInt64} { // 4e9: the wall clock at boot would be before the epoch
		if e := c.SetRealtime(bad); e != abi.EINVAL || c.Realtime() != 2000e9 {
			t.Errorf("SetRealtime(%d): %v", bad, e)
		}
	}
	c.SetTimezone(abi.Timezone{MinutesWest: -60, DSTTime: 1})
	c.SetTAIOffset(37e9)
	c.SetOneCPU(true)
	if c.Timezone().MinutesWest != -60 || page.TZ != [2]int32{-60, 1} || page.TAIOffset != 37e9 || c.TAIOffset() != 37e9 || page.OneCPU != 1 {
		t.Errorf("%+v", page)
	}
	if page.Mode != vdso.ModeSyscall {
		t.Error("a virtual clock's page must send readers to the kernel")
	}
}

func TestVirtualTimers(t *testing.T) {
	c := NewVirtual(0)
	var log []int
	var at []Time
	note := func(i int) func() { return func() { log = append(log, i); at = append(at, c.Monotonic()) } }
	a, b, d := c.NewTimer(note(1)), c.NewTimer(note(2)), c.NewTimer(note(3))
	var again *Timer
	again = c.NewTimer(func() {
		note(4)()
		if c.Monotonic() < 300 {
			again.Reset(c.Monotonic().Add(100))
		}
	})
	a.Reset(50)
	b.Reset(20)
	d.Reset(20) // after b, which was first
	again.Reset(100)
	if c.Next() != 20 {
		t.Errorf("next %d", c.Next())
	}
	if !a.Stop() || a.Stop() {
		t.Error("Stop says that a waits when it does not")
	}
	if a.Reset(60) || !a.Reset(70) {
		t.Error("Reset says that a waits when it does not")
	}
	c.Advance(19)
	if len(log) != 0 {
		t.Errorf("too early: %v", log)
	}
	c.Advance(1)
	c.Advance(1000)
	if !slices.Equal(log, []int{2, 3, 1, 4, 4, 4}) || !slices.Equal(at, []Time{20, 20, 70, 100, 200, 300}) {
		t.Errorf("%v at %v", log, at)
	}
	if c.Monotonic() != 1020 || c.Next() != Never {
		t.Errorf("now %d, next %d", c.Monotonic(), c.Next())
	}
	a.Reset(5) // in the past
	c.Advance(0)
	if len(log) != 7 || c.Monotonic() != 1020 {
		t.Errorf("a time that has passed: %v, now %d", log, c.Monotonic())
	}
	if a.Reset(Never); c.Next() != Never {
		t.Error("Never comes")
	}
}

// TestHeap compares the heap with a sorted list, through random changes.
func TestHeap(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	c := NewVirtual(0)
	var fired []int
	timers := make([]*Timer, 60)
	model := map[int]Time{}
	for i := range timers {
		timers[i] = c.NewTimer(func() { fired = append(fired, i) })
	}
	for range 5000 {
		i := rng.IntN(len(timers))
		_, waits := model[i]
		switch rng.IntN(4) {
		case 0:
			if timers[i].Stop() != waits {
				t.Fatalf("Stop says %v", !waits)
			}
			delete(model, i)
		case 1:
			fired = nil
			step := int64(rng.IntN(20))
			c.Advance(step)
			var last Time
			for _, i := range fired {
				at, ok := model[i]
				if !ok || at < last || at > c.Monotonic() {
					t.Fatalf("timer %d at %d, of %d, now %d", i, last, at, c.Monotonic())
				}
				last = at
				delete(model, i)
			}
			for i, at := range model {
				if at <= c.Monotonic() {
					t.Fatalf("timer %d of %d did not call back, now %d", i, at, c.Monotonic())
				}
			}
		default:
			at := c.Monotonic() + Time(rng.IntN(100)) + 1
			if timers[i].Reset(at) != waits {
				t.Fatalf("Reset says %v", !waits)
			}
			model[i] = at
		}
		if len(c.heap.timers) != len(model) {
			t.Fatalf("%d timers, want %d", len(c.heap.timers), len(model))
		}
	}
}

func TestRealTimers(t *testing.T) {
	eachClock(t, func(t *testing.T, c *Clock) {
		got := make(chan Time, 10)
		timer := c.NewTimer(func() { got <- c.Monotonic() })
		far := c.NewTimer(func() { t.Error("an hour has passed") })
		far.Reset(c.Monotonic().Add(int64(time.Hour)))
		for _, wait := range []int64{-5, 0, 1, 200_000, 5_000_000} {
			at := c.Monotonic().Add(wait)
			if wait < 0 {
				at = c.Monotonic() + Time(wait)
			}
			timer.Reset(at)
			select {
			case now := <-got:
				if now < at {
					t.Errorf("%d ns early", at-now)
				}
				if late := now - at; late > Time(50*time.Millisecond) {
					t.Logf("%d ns late: a busy machine?", late)
				}
			case <-time.After(10 * time.Second):
				t.Fatalf("a timer of %d ns did not call back", wait)
			}
		}
		// Stopped: the host's timer goes off for nothing.
		timer.Reset(c.Monotonic().Add(int64(2 * time.Millisecond)))
		timer.Stop()
		time.Sleep(10 * time.Millisecond)
		if len(got) != 0 {
			t.Error("a timer that was stopped called back")
		}
		// From within its own function.
		var n atomic.Int32
		done := make(chan struct{})
		var self *Timer
		self = c.NewTimer(func() {
			if n.Add(1) == 20 {
				close(done)
				return
			}
			self.Reset(c.Monotonic().Add(100_000))
		})
		self.Reset(0)
		select {
		case <-done:
		case <-time.After(10 * time.Second):
			t.Fatalf("%d of 20 times", n.Load())
		}
	})
}

// TestHammerTimers resets and stops timers from several goroutines: every one left alone calls back, once.
func TestHammerTimers(t *testing.T) {
	c, err := New()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var wg sync.WaitGroup
	var fired, started atomic.Int64
	for seed := range uint64(4) {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(seed, 1))
			for range 300 {
				timer := c.NewTimer(func() { fired.Add(1) })
				timer.Reset(c.Monotonic().Add(int64(rng.IntN(300_000))))
				started.Add(1)
				if rng.IntN(2) == 0 && timer.Stop() {
					started.Add(-1)
				}
			}
		})
	}
	wg.Wait()
	for range 1000 {
		if fired.Load() == started.Load() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("%d of %d", fired.Load(), started.Load())
}

func TestClose(t *testing.T) {
	c, err := New()
	if err != nil {
		t.Fatal(err)
	}
	timer := c.NewTimer(func() { t.Error("called back after Close") })
	timer.Reset(c.Monotonic().Add(int64(time.Hour)))
	c.Close()
	c.Close()
	timer.Reset(0)
	time.Sleep(2 * time.Millisecond)
	if c.Monotonic() == 0 {
		t.Error("no time after Close")
	}
}

// TestHostSlept shifts the host's clock back against the counter, as if it had not counted a while: time goes on from where it is.
func TestHostSlept(t *testing.T) {
	if !counterUsable() {
		t.Skip("the counter cannot be used here")
	}
	c, err := New()
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	const slept = int64(time.Hour)
	c.page.Start(vdso.Slot{TSC: x86.TSC(), Mult: c.page.Newest().Mult, Ns: int64(c.Monotonic()) + slept})
	before := c.Monotonic()
	if !c.bend(c.sample()) {
		t.Fatal("the counter is given up")
	}
	if ahead := c.ahead.Load(); ahead < slept-int64(time.Second) || ahead > slept+int64(time.Second) {
		t.Errorf("ahead by %d", ahead)
	}
	if mult, _ := speed(c.steer.first, c.sample()); float64(c.page.Newest().Mult) < float64(mult)*(1-2*slewMax) {
		t.Errorf("slowed down to %d of %d", c.page.Newest().Mult, mult)
	}
	c.giveUpCounter()
	time.Sleep(time.Millisecond)
	if now := c.Monotonic(); now <= before || now > before.Add(int64(10*time.Second)) {
		t.Errorf("%d, then %d by the host's clock", before, now)
	}
}

// TestPlan simulates corrections of a counter that is measured badly: the clock comes near the host's, and never goes back.
func TestPlan(t *testing.T) {
	const trueMult = 1 << (vdso.Shift - 1) // 2 GHz
	for _, ppm := range []int64{-300, 300, 60} {
		mult := uint64(trueMult + trueMult/1_000_000*ppm)
		p := new(vdso.TimePage)
		p.Start(vdso.Slot{TSC: 0, Mult: mult, Ns: 0})
		interval, tsc := steerMin, uint64(0)
		for range 12 {
			tsc += ticksIn(interval, trueMult)
			was := p.At(tsc)
			begin := tsc + ticksIn(lead, trueMult)
			line := vdso.Slot{TSC: begin}
			line.Mult, line.Ns = plan(trueMult, p.At(begin), int64(begin)/2, interval)
			p.Publish(line)
			if p.At(tsc) != was || p.At(begin) < p.At(begin-1) || p.At(begin+1000) <= p.At(begin) {
				t.Errorf("%d ppm: a break at %d", ppm, tsc)
			}
			interval = min(2*interval, steerMax)
		}
		if off := p.At(tsc) - int64(tsc)/2; off > 100_000 || off < -100_000 {
			t.Errorf("%d ppm: off by %d ns in the end", ppm, off)
		}
	}
	// A long way behind it jumps, ahead it only slows down.
	if mult, ns := plan(1000000, 0, 10*stepAfter, steerMax); mult != 1000000 || ns != 10*stepAfter {
		t.Errorf("behind: %d, %d", mult, ns)
	}
	if mult, ns := plan(1000000, 10*stepAfter, 0, steerMax); mult != 900000 || ns != 10*stepAfter {
		t.Errorf("ahead: %d, %d", mult, ns)
	}
}

func TestSpeed(t *testing.T) {
	for name, c := range map[string]struct {
		a, b sample
		mult uint64
		ok   bool
	}{
		"2 GHz":        {sample{0, 0}, sample{2e9, 1e9}, 1 << (vdso.Shift - 1), true},
		"a year":       {sample{0, 0}, sample{6e16, 3e16}, 1 << (vdso.Shift - 1), true},
		"stands still": {sample{5, 0}, sample{5, 1e9}, 0, false},
		"goes back":    {sample{5, 0}, sample{4, 1e9}, 0, false},
		"no time":      {sample{0, 5}, sample{9, 5}, 0, false},
		"too slow":     {sample{0, 0}, sample{1e6, 1e9}, 0, false},
		"too fast":     {sample{0, 0}, sample{1e12, 1e9}, 0, false},
	} {
		if mult, ok := speed(c.a, c.b); mult != c.mult || ok != c.ok {
			t.Errorf("%s: %d, %v, want %d, %v", name, mult, ok, c.mult, c.ok)
		}
	}
}

// TestCounterFails takes the counter away: time goes on by the host's clock, and not back.
func TestCounterFails(t *testing.T) {
	if !counterUsable() {
		t.Skip("the counter cannot be used here")
	}
	c, err := New()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	page := new(vdso.TimePage)
	c.Attach(page)
	before := c.Monotonic()
	c.giveUpCounter()
	if page.Mode != vdso.ModeSyscall {
		t.Error("the vDSO still uses the counter")
	}
	for range 1000 {
		now := c.Monotonic()
		if now < before {
			t.Fatalf("%d after %d", now, before)
		}
		before = now
	}
	time.Sleep(time.Millisecond)
	if c.Monotonic() == before {
		t.Error("time stands still")
	}
}

func TestAdd(t *testing.T) {
	if Time(5).Add(math.MaxInt64) != Never || Time(5).Add(3) != 8 || Time(5).Add(-3) != 2 || Never.Add(1) != Never {
		t.Error("Add")
	}
}

func BenchmarkMonotonic(b *testing.B) {
	c, err := New()
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	for b.Loop() {
		c.Monotonic()
	}
}

func BenchmarkTSC(b *testing.B) {
	for b.Loop() {
		x86.TSC()
	}
}
