// Package clock says what time it is, and calls back when it is some time. It is the guest kernel's only source of time.
//
// Time is nanoseconds since boot. A real clock computes it from the processor's time stamp counter, with the very numbers that
// the guest's vDSO finds in its time page: whichever way a guest asks, time never goes back. The numbers are measured at the start,
// and corrected from time to time against the host's CLOCK_MONOTONIC; a correction bends the line of time, and
// never breaks it. Where the counter is of no use, the host's clock is asked for each reading, and the vDSO makes system calls.
//
// A virtual clock moves only when Advance tells it to, and calls back from there: for tests, and for repeatable runs.
//
// Invariants:
//   - Monotonic never gives less than any earlier call gave, on whatever goroutine.
//   - Setting the wall clock moves nothing but Realtime.
//   - A timer's function is called with no lock held, one function at a time, and no more often than Reset was.
//
// Locks: Clock.mu (lock.Clock) guards the heap and the writing of pages; readings take none.
package clock

import (
	"math"
	"sync/atomic"
	"time"

	"goum/arch/abi"
	"goum/arch/lock"
	"goum/arch/vdso"
	"goum/arch/x86"
)

// Time is a point in time, in nanoseconds of CLOCK_MONOTONIC: since boot.
type Time int64

// Never is later than any time that comes.
const Never Time = math.MaxInt64

// Add is the time ns nanoseconds after t; Never if that is too far off.
func (t Time) Add(ns int64) Time {
	if sum := t + Time(ns); ns < 0 || sum >= t {
		return sum
	}
	return Never
}

// Clock is a clock, and the timers that wait for it.
type Clock struct {
	// Immutable after New.
	virtual bool
	origin  time.Time // the host's time at boot

	// Atomic.
	page    vdso.TimePage // what time is computed from; the guest sees copies
	last    atomic.Int64  // without the counter, and virtually: the latest reading
	ahead   atomic.Int64  // ns that the clock is to be ahead of the host's since origin: the host did not count them
	realSet atomic.Uint64 // how often SetRealtime was called
	closed  atomic.Bool

	mu     lock.Mutex[lock.Clock]
	copies []*vdso.TimePage
	heap   timerHeap
	firing *Timer // whose function runs
	host   hostTimer
	done   chan struct{} // closed when the goroutine is gone

	steer steering // only the clock's goroutine, after New
}

// New makes a clock at time 0, now. It takes a millisecond, to measure the speed of the counter. The clock's goroutine runs until Close.
// An error is the host's, which has no timer to give.
func New() (*Clock, error) {
	return newClock(counterUsable())
}

func newClock(counter bool) (*Clock, error) {
	c := &Clock{origin: time.Now(), done: make(chan struct{})}
	if err := c.host.open(); err != nil {
		return nil, err
	}
	if counter {
		c.calibrate()
	}
	c.page.SetRealOffset(time.Now().UnixNano() - int64(c.Monotonic()))
	go c.run()
	return c, nil
}

// NewVirtual makes a clock that stands at time 0 and at the wall clock time real, in nanoseconds since the epoch. Close is not needed.
func NewVirtual(real int64) *Clock {
	c := &Clock{virtual: true, done: make(chan struct{})}
	c.page.SetRealOffset(real)
	close(c.done)
	return c
}

// Close stops the clock's goroutine and waits for it. Timers call back no more. Time can still be read.
func (c *Clock) Close() {
	if c.closed.Swap(true) || c.virtual {
		return
	}
	c.mu.Lock()
	c.host.set(1)
	c.mu.Unlock()
	<-c.done
	c.host.close()
}

// Monotonic is CLOCK_MONOTONIC, and CLOCK_BOOTTIME: time since boot. It allocates nothing and takes no lock.
func (c *Clock) Monotonic() Time {
	if ns, ok := c.page.Monotonic(); ok {
		return Time(ns)
	}
	if c.virtual {
		return Time(c.last.Load())
	}
	return c.hostReading()
}

// hostReading is the time by the host's clock, kept from going back behind what the counter said before it was given up.
func (c *Clock) hostReading() Time {
	now := int64(time.Since(c.origin)) + c.ahead.Load()
	for {
		last := c.last.Load()
		if now <= last {
			return Time(last)
		}
		if c.last.CompareAndSwap(last, now) {
			return Time(now)
		}
	}
}

// Realtime is CLOCK_REALTIME, in nanoseconds since the epoch.
func (c *Clock) Realtime() int64 { return int64(c.Monotonic()) + c.RealOffset() }

// RealOffset is what CLOCK_REALTIME is ahead of CLOCK_MONOTONIC, in nanoseconds.
func (c *Clock) RealOffset() int64 { return atomic.LoadInt64(&c.page.RealOffset) }

// TAIOffset is what CLOCK_TAI is ahead of CLOCK_REALTIME, in nanoseconds.
func (c *Clock) TAIOffset() int64 { return atomic.LoadInt64(&c.page.TAIOffset) }

// SetRealtime sets CLOCK_REALTIME, in nanoseconds since the epoch. Timers of this package do not notice; whoever has some that
// wait for a wall clock time resets them. From then on the host's wall clock has no say in the guest's.
//
// EINVAL: as in Linux's timekeeping, a time before the epoch, or before that of boot, or too late to count on.
func (c *Clock) SetRealtime(ns int64) abi.Errno {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := int64(c.Monotonic())
	if ns < now || ns > maxRealtime {
		return abi.EINVAL
	}
	c.realSet.Add(1)
	c.eachPage(func(p *vdso.TimePage) { p.SetRealOffset(ns - now) })
	return 0
}

// maxRealtime leaves thirty years before the nanoseconds overflow, as Linux's timespec64_valid_settod.
const maxRealtime = math.MaxInt64 - 30*365*24*3600*abi.NsPerSec

// RealtimeSets counts the calls of SetRealtime: a wait that is to end when the wall clock is set (TFD_TIMER_CANCEL_ON_SET)
// compares it.
func (c *Clock) RealtimeSets() uint64 { return c.realSet.Load() }

// SetTAIOffset sets what CLOCK_TAI is ahead of CLOCK_REALTIME, in nanoseconds.
func (c *Clock) SetTAIOffset(ns int64) {
	c.mu.Lock()
	c.eachPage(func(p *vdso.TimePage) { p.SetTAIOffset(ns) })
	c.mu.Unlock()
}

// SetTimezone sets what gettimeofday(2) gives besides the time.
func (c *Clock) SetTimezone(tz abi.Timezone) {
	c.mu.Lock()
	c.eachPage(func(p *vdso.TimePage) { p.SetTimezone(tz.MinutesWest, tz.DSTTime) })
	c.mu.Unlock()
}

// Timezone is what SetTimezone set.
func (c *Clock) Timezone() abi.Timezone {
	return abi.Timezone{MinutesWest: atomic.LoadInt32(&c.page.TZ[0]), DSTTime: atomic.LoadInt32(&c.page.TZ[1])}
}

// SetOneCPU tells the vDSO whether the guest has just one processor, so that it need not ask which it runs on.
func (c *Clock) SetOneCPU(one bool) {
	c.mu.Lock()
	c.eachPage(func(p *vdso.TimePage) { p.SetOneCPU(one) })
	c.mu.Unlock()
}

// Attach keeps page up to date from now on: it is the one that guests map before the vDSO. Nobody reads it yet.
func (c *Clock) Attach(page *vdso.TimePage) {
	c.mu.Lock()
	c.page.CopyTo(page)
	c.copies = append(c.copies, page)
	c.mu.Unlock()
}

// eachPage applies do to the clock's own page and to the copies. mu is held.
func (c *Clock) eachPage(do func(*vdso.TimePage)) {
	do(&c.page)
	for _, p := range c.copies {
		do(p)
	}
}

// counterUsable says whether the time stamp counter counts time: at one speed, and the host's kernel trusts it.
func counterUsable() bool { return x86.InvariantTSC() && hostTrustsCounter() }
