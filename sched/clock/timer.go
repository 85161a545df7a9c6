package clock

// Timer calls a function when a time has come.
type Timer struct {
	// Immutable after NewTimer.
	clock *Clock
	fn    func()

	// Guarded by clock.mu.
	at    Time
	order uint64 // of equal times, the timer that was reset first is first
	index int    // in the heap; -1: not waiting
}

// NewTimer makes a timer that does not wait yet. fn runs on the clock's goroutine (of a virtual clock: in Advance), with no lock
// held. It must not block: all other timers wait for it. It may reset and stop timers, this one too.
func (c *Clock) NewTimer(fn func()) *Timer {
	return &Timer{clock: c, fn: fn, index: -1}
}

// Reset makes the timer call back once, when it is at or, if it is that already, soon; Never is as Stop. It replaces what the
// timer waited for, and says whether it did wait. A real clock is late by some tens of microseconds, and never early.
func (t *Timer) Reset(at Time) bool {
	c := t.clock
	c.mu.Lock()
	was := t.index >= 0
	if was {
		c.heap.remove(t.index)
	}
	if at != Never {
		c.heap.push(t, at)
		if !c.virtual && t.index == 0 && c.firing == nil {
			c.arm()
		}
	}
	c.mu.Unlock()
	return was
}

// Stop makes the timer not call back, and says whether it did wait. If not, its function may be running right now.
func (t *Timer) Stop() bool {
	c := t.clock
	c.mu.Lock()
	was := t.index >= 0
	if was {
		c.heap.remove(t.index) // the host's timer stays as it is: it then wakes the goroutine for nothing
	}
	c.mu.Unlock()
	return was
}

// Next is when the next timer calls back; Never if none waits. An idle virtual machine advances to it.
func (c *Clock) Next() Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.heap.timers) == 0 {
		return Never
	}
	return c.heap.timers[0].at
}

// Advance moves a virtual clock on by ns nanoseconds. On the way, timers call back in the order of their times, each with the
// clock at its time; those that they reset to before the end, too. It is not for two goroutines at once, nor for a real clock.
func (c *Clock) Advance(ns int64) {
	if !c.virtual || ns < 0 {
		panic("clock: Advance of a real clock, or backwards")
	}
	end := Time(c.last.Load()).Add(ns)
	c.fire(end)
	c.last.Store(int64(end))
}

// fire calls back all timers up to now.
func (c *Clock) fire(now Time) {
	for {
		c.mu.Lock()
		if len(c.heap.timers) == 0 || c.heap.timers[0].at > now || c.closed.Load() {
			c.firing = nil
			c.mu.Unlock()
			return
		}
		t := c.heap.timers[0]
		c.heap.remove(0)
		c.firing = t
		if c.virtual && t.at > Time(c.last.Load()) {
			c.last.Store(int64(t.at))
		}
		c.mu.Unlock()
		t.fn()
	}
}

// A timerHeap has the first timer in front. Four children to a node: half the depth of two, in the same cache lines.
type timerHeap struct {
	timers []*Timer
	orders uint64
}

func before(a, b *Timer) bool {
	return a.at < b.at || a.at == b.at && a.order < b.order
}

func (h *timerHeap) push(t *Timer, at Time) {
	h.orders++
	t.at, t.order, t.index = at, h.orders, len(h.timers)
	h.timers = append(h.timers, t)
	h.up(t.index)
}

func (h *timerHeap) remove(i int) {
	last := len(h.timers) - 1
	t, moved := h.timers[i], h.timers[last]
	h.timers[last] = nil
	h.timers = h.timers[:last]
	t.index = -1
	if i == last {
		return
	}
	h.timers[i], moved.index = moved, i
	h.up(i)
	h.down(moved.index)
}

func (h *timerHeap) swap(i, j int) {
	h.timers[i], h.timers[j] = h.timers[j], h.timers[i]
	h.timers[i].index, h.timers[j].index = i, j
}

func (h *timerHeap) up(i int) {
	for i > 0 {
		parent := (i - 1) / 4
		if !before(h.timers[i], h.timers[parent]) {
			return
		}
		h.swap(i, parent)
		i = parent
	}
}

func (h *timerHeap) down(i int) {
	for {
		first := i
		for child := 4*i + 1; child <= 4*i+4 && child < len(h.timers); child++ {
			if before(h.timers[child], h.timers[first]) {
				first = child
			}
		}
		if first == i {
			return
		}
		h.swap(i, first)
		i = first
	}
}
