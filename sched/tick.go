package sched

import "goum/sched/clock"

// tick is the clock interrupt: it charges what runs on each vCPU, ends slices, takes vCPUs from threads that do not come back, and
// evens out the queues. It is called by the clock, TickPeriod apart, while any vCPU is busy.
func (s *Scheduler) tick() {
	now := s.clk.Monotonic()
	var (
		given        [MaxCPUs]*Thread
		nGiven       int
		nKick, nTick int
	)
	s.mu.Lock()
	ticks := clock.Time(1)
	if d := (now - s.lastTick) / TickPeriod; d > 1 {
		ticks = d // the host was late
	}
	s.lastTick = now / TickPeriod * TickPeriod
	fill := func(v *vcpu) {
		a := after{now: now}
		s.fill(v, &a)
		if a.n > 0 {
			given[nGiven] = a.run[0]
			nGiven++
		}
	}
	for _, v := range s.vcpus {
		t := v.cur.Load()
		if t == nil {
			continue
		}
		s.charge(v, now)
		if now >= v.rtEnd {
			v.rtUsed, v.rtEnd = 0, now+rtPeriod
		}
		w := t.word.Load()
		t.account(v, w&inUser != 0, ticks)
		s.ticked[nTick] = t
		nTick++
		if w&away != 0 && s.snatch(v, now, away) {
			fill(v)
			continue
		}
		if w&inUser == 0 || w&(resched|interrupted|killed) == 0 {
			t.overdue = 0
		} else if t.overdue++; t.overdue >= overdueTicks && s.snatch(v, now, inUser) {
			fill(v)
			continue
		}
		beaten := t.exec-t.sliceFrom >= minGranularity && v.beaten(t)
		if !beaten && t.rrLeft <= 0 {
			t.rrLeft = RRSlice // nobody else of this priority
		}
		if beaten || t.allowed.Load()&v.bit == 0 {
			w |= resched
			t.word.Or(resched)
		}
		// Also who was kicked before and is not back: a kick is cheap.
		if w&(resched|interrupted|killed) != 0 && t.word.Load()&inUser != 0 {
			s.kickees[nKick] = t
			nKick++
		}
	}
	s.balance(now)
	for _, v := range s.vcpus {
		if v.cur.Load() == nil {
			fill(v)
		}
	}
	s.sample(now)
	again := s.idle != s.all && !s.closed
	s.ticking = again
	s.mu.Unlock()

	for _, t := range given[:nGiven] {
		t.launch(nil)
	}
	if again {
		s.timer.Reset((now/TickPeriod + 1) * TickPeriod)
	}
	for i, t := range s.kickees[:nKick] {
		s.kickees[i] = nil
		t.kick()
	}
	for i, t := range s.ticked[:nTick] {
		s.ticked[i] = nil
		if fn := t.onTick.Load(); fn != nil {
			(*fn)()
		}
	}
}

// account charges ticks to t, and to v's line of /proc/stat.
func (t *Thread) account(v *vcpu, user bool, ticks clock.Time) {
	d := ticks * TickPeriod
	switch {
	case !user:
		t.sysTicks += int64(ticks)
		v.times.System += d
	case t.nice > 0:
		t.userTicks += int64(ticks)
		v.times.Nice += d
	default:
		t.userTicks += int64(ticks)
		v.times.User += d
	}
}

// balance moves one fair thread from the vCPU with the most to the one with the fewest, if that makes them more even.
func (s *Scheduler) balance(now clock.Time) {
	if len(s.vcpus) == 1 || s.queued.Load() == 0 {
		return
	}
	most, least := s.vcpus[0], s.vcpus[0]
	for _, v := range s.vcpus[1:] {
		if v.count() > most.count() {
			most = v
		}
		if v.count() < least.count() {
			least = v
		}
	}
	if most.count()-least.count() < 2 {
		return
	}
	for i := len(most.rq.fair) - 1; i >= 0; i-- { // from those that have to wait longest
		t := most.rq.fair[i]
		if t.allowed.Load()&least.bit == 0 {
			continue
		}
		s.dequeue(t)
		s.migrate(t, least)
		s.push(least, t, false)
		return
	}
}

// count is how many threads compete for v.
func (v *vcpu) count() int {
	if v.cur.Load() == nil {
		return v.rq.len()
	}
	return v.rq.len() + 1
}
