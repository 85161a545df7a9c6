package clock

import (
	"math/bits"
	"time"

	"goum/arch/vdso"
	"goum/arch/x86"
)

const (
	// calibration is how long New measures. A reading of counter and host's clock is off by some 50 ns, so the speed by some 50 ppm.
	calibration = time.Millisecond

	// steerMin and steerMax bound the time from one correction to the next, which doubles. It costs a wake-up.
	steerMin = 64 * int64(time.Millisecond)
	steerMax = 8 * int64(time.Second)

	// lead is how long before its beginning a line is written: longer than the host ever holds up the writer between looking at the
	// counter and writing. Should it, a reading just then is ahead of the next by the time beyond lead, times slewMax.
	lead = 20 * int64(time.Millisecond)

	// slewMax bounds how much faster or slower than its true speed time may go to catch up, and slewFar how much where it is
	// off by more than far: after the machine was stopped.
	slewMax = 1.0 / 2000
	slewFar = 1.0 / 10
	far     = int64(50 * time.Millisecond)

	// stepAfter is how far behind time may be before it jumps, and how far ahead before it stays there. It takes a host that
	// was suspended, and a counter that stood still then, or went on while the host's clock did not.
	stepAfter = int64(time.Second)

	// realStep is how far the host's wall clock may be off the guest's before that follows, as long as no guest has set it.
	realStep = int64(500 * time.Millisecond)
)

// A sample is a reading of the counter and the host's clock at the same time, nearly.
type sample struct {
	tsc  uint64
	host int64 // ns since Clock.origin
}

// steering is what the corrections remember.
type steering struct {
	first    sample // since when the speed is measured
	last     sample
	interval int64
	timer    *Timer
}

// sample takes the best of a few readings: the one whose parts were closest together.
func (c *Clock) sample() (best sample) {
	width := ^uint64(0)
	for range 8 {
		before := x86.TSC()
		host := int64(time.Since(c.origin))
		after := x86.TSC()
		if after-before < width {
			width = after - before
			best = sample{before + width/2, host}
		}
	}
	return best
}

// speed is the counter's, from a to b, as vdso.Slot.Mult has it; ok is false if the counter cannot have counted time.
func speed(a, b sample) (mult uint64, ok bool) {
	ticks, ns := b.tsc-a.tsc, b.host-a.host
	if int64(ticks) <= 0 || ns <= 0 {
		return 0, false
	}
	// A counter of 50 MHz to 50 GHz.
	if hi := uint64(ns) / 20; ticks < hi || ticks/50 > uint64(ns) {
		return 0, false
	}
	hi, lo := uint64(ns)>>(64-vdso.Shift), uint64(ns)<<vdso.Shift
	mult, _ = bits.Div64(hi, lo, ticks) // hi < ticks: 20 ticks a ns at least, and Shift bits of room
	return mult, true
}

// calibrate starts the page, or leaves it stopped if the counter turns out to be of no use.
func (c *Clock) calibrate() {
	first := c.sample()
	time.Sleep(calibration)
	last := c.sample()
	mult, ok := speed(first, last)
	if !ok {
		return
	}
	c.steer = steering{first: first, last: last, interval: steerMin}
	c.page.Start(vdso.Slot{TSC: last.tsc, Mult: mult, Ns: last.host})
}

// run is the clock's goroutine.
func (c *Clock) run() {
	defer close(c.done)
	c.steer.timer = c.NewTimer(c.correct)
	c.steer.timer.Reset(c.Monotonic().Add(steerMin))
	for {
		c.fire(c.Monotonic())
		c.mu.Lock()
		if c.closed.Load() {
			c.mu.Unlock()
			return
		}
		c.arm()
		c.mu.Unlock()
		c.host.wait()
		c.mu.Lock()
		c.host.at = Never
		c.mu.Unlock()
	}
}

// arm sets the host's timer for the first timer, unless it goes off before that anyway. mu is held.
func (c *Clock) arm() {
	if c.closed.Load() || len(c.heap.timers) == 0 {
		return
	}
	if at := c.heap.timers[0].at; at < c.host.at {
		c.host.at = at
		c.host.set(int64(at - c.Monotonic()))
	}
}

// correct compares the clock with the host's, and bends the line of time so that the two meet until the next correction.
func (c *Clock) correct() {
	st := &c.steer
	now := c.sample()
	if _, running := c.page.Monotonic(); running && !c.bend(now) {
		c.giveUpCounter()
	}
	c.followWallClock()
	st.last = now
	c.steer.timer.Reset(c.Monotonic().Add(st.interval))
	st.interval = max(min(2*st.interval, steerMax), steerMin)
}

// bend publishes a line that begins soon. It returns false if the counter has not counted time.
func (c *Clock) bend(now sample) bool {
	st := &c.steer
	recent, ok := speed(st.last, now)
	if !ok {
		return false
	}
	mult, ok := speed(st.first, now)
	if diff := int64(mult - recent); !ok || diff > int64(recent/100) || -diff > int64(recent/100) {
		mult, st.first = recent, st.last // another speed: after the machine was moved to another one
	}
	if now.host-st.first.host > 2*steerMax {
		st.first = st.last // the host bends its own line, too
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	newest := c.page.Newest()
	if int64(now.tsc-newest.TSC) < 0 {
		return true // not in force yet, so the slot is not free; next time
	}
	ticks := ticksIn(lead, mult)
	line := vdso.Slot{TSC: now.tsc + ticks}
	ours, host := c.page.At(line.TSC), now.host+lead+c.ahead.Load()
	if ours-host > stepAfter {
		c.ahead.Add(ours - host)
		host = ours
	}
	line.Mult, line.Ns = plan(mult, ours, host, st.interval)
	if int64(x86.TSC()-line.TSC) >= -int64(ticks/2) {
		return true // held up since the sample; next time
	}
	c.eachPage(func(p *vdso.TimePage) { p.Publish(line) })
	return true
}

// ticksIn is how far the counter gets in ns nanoseconds, 1 to a day.
func ticksIn(ns int64, mult uint64) uint64 {
	ticks, _ := bits.Div64(uint64(ns)>>(64-vdso.Shift), uint64(ns)<<vdso.Shift, mult)
	return ticks
}

// plan chooses the next line where the present one is at ours and should be at host: its value, and a speed near mult, the true
// one, at which they meet after interval nanoseconds.
func plan(mult uint64, ours, host, interval int64) (newMult uint64, ns int64) {
	behind := host - ours
	if behind > stepAfter {
		return mult, host
	}
	bound := slewMax
	if behind > far || -behind > far {
		bound = slewFar
	}
	slew := max(-bound, min(bound, float64(behind)/float64(interval)))
	return mult + uint64(int64(float64(mult)*slew)), ours
}

// giveUpCounter goes over to the host's clock for good.
func (c *Clock) giveUpCounter() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if ns, ok := c.page.Monotonic(); ok {
		newest := c.page.Newest()
		c.last.Store(max(ns, newest.Ns))
	}
	c.eachPage((*vdso.TimePage).Stop)
}

// followWallClock takes over a jump of the host's wall clock (it was set, or the host slept), until a guest has set its own.
func (c *Clock) followWallClock() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.realSet.Load() != 0 {
		return
	}
	offset := time.Now().UnixNano() - int64(c.Monotonic())
	if d := offset - c.RealOffset(); d > realStep || d < -realStep {
		c.eachPage(func(p *vdso.TimePage) { p.SetRealOffset(offset) })
	}
}
