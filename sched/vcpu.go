// Package sched decides which guest task runs, which sleeps, and what wakes it.
//
// It owns the vCPUs. A guest task is a goroutine (Thread) that runs, in the kernel or in user mode, only while it has a vCPU;
// the order is decided here, and who gives a vCPU up hands its goroutine on with it (carry.go), so that the Go runtime
// has no choice to make. Each vCPU has a run queue, and all of them one lock: a decision looks at several (idle vCPUs, stealing,
// preemption), takes about 100 ns, and a machine has few vCPUs. A hand-over takes 200 ns.
//
// Invariants:
//   - A thread is exactly one of: new, on a vCPU (vcpu.cur), in one run queue, asleep, lost (off its vCPU while its goroutine is in
//     user mode or in a host call), gone.
//   - While a thread is neither inUser nor away, nobody takes its vCPU: only it gives it up.
//   - Thread.seat is given exactly between being given a vCPU and going on, for a thread that has not come to rest yet.
//   - Whoever makes a condition true and then wakes finds the sleeper in the queue, or the sleeper finds the condition.
//
// Locks: Queue.mu (lock.WaitQueue), then the clock's, then Scheduler.mu (lock.RunQueue), innermost. Kickers, tick functions and the callbacks of
// Waiters are called with none of them held. Nothing is held while a thread waits.
//
// Hot paths (EnterUser, LeaveUser, Yield, Wait, Wake, Outside) allocate nothing; EnterUser and LeaveUser are one atomic operation each.
package sched

import (
	"math/bits"
	"sync"
	"sync/atomic"

	"goum/arch/abi"
	"goum/arch/lock"
	"goum/sched/clock"
)

// Scheduler has the vCPUs of one machine.
type Scheduler struct {
	// Immutable after New.
	clk   *clock.Clock
	vcpus []*vcpu
	all   uint64 // one bit for each
	timer *clock.Timer

	queued atomic.Int32   // threads in run queues; written under mu
	living sync.WaitGroup // threads whose goroutine has not returned

	mu lock.Mutex[lock.RunQueue]

	// Guarded by mu.
	idle     uint64 // vCPUs without a thread
	ticking  bool
	lastTick clock.Time
	closed   bool
	threads  int // started and not gone
	blocked  int // asleep and not interruptible
	absent   int // lost: in a host call or user mode without a vCPU
	rtQueued int
	seq      uint64
	load     load
	roomFor  int // capacity of each fair heap

	// Only the tick.
	kickees [MaxCPUs]*Thread
	ticked  [MaxCPUs]*Thread
}

// vcpu is one of them. Guarded by Scheduler.mu.
type vcpu struct {
	id  int
	bit uint64
	cur atomic.Pointer[Thread] // nil: idle; written under mu, read by kick
	rq  runQueue

	minV     int64 // no fair thread here is placed much below it; never falls
	rtUsed   clock.Time
	rtEnd    clock.Time // of the period that rtUsed belongs to
	switches uint64
	last     *Thread // the thread of the last switch
	idleFrom clock.Time
	times    CPUTimes // Idle up to idleFrom while idle
}

// after is what remains to be done once the locks are dropped.
type after struct {
	run   [2]*Thread // were given a vCPU: launch them
	n     int
	kicks uint64 // vCPUs whose threads are to come back from user mode
	arm   bool   // the tick has to start
	now   clock.Time
	park  bool // the caller has given its vCPU up
}

// New makes a scheduler with cpus vCPUs, 1 to MaxCPUs, whose time is clk's.
func New(cpus int, clk *clock.Clock) *Scheduler {
	if cpus < 1 || cpus > MaxCPUs {
		panic("sched: number of vCPUs")
	}
	now := clk.Monotonic()
	s := &Scheduler{clk: clk, all: ^uint64(0) >> (64 - cpus)}
	s.idle = s.all
	s.load.next = now + loadPeriod
	for i := range cpus {
		s.vcpus = append(s.vcpus, &vcpu{id: i, bit: 1 << i, idleFrom: now})
	}
	s.reserve(64)
	s.timer = clk.NewTimer(s.tick)
	return s
}

// Drain waits until every thread that was started has ended. It is for who switches the machine off, and is no thread itself.
func (s *Scheduler) Drain() { s.living.Wait() }

// Close stops the tick for good. The threads should be gone.
func (s *Scheduler) Close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.timer.Stop()
}

// CPUs is the number of vCPUs.
func (s *Scheduler) CPUs() int { return len(s.vcpus) }

// All is the affinity that allows every vCPU.
func (s *Scheduler) All() uint64 { return s.all }

// reserve makes room in every heap for n threads, and to spare.
func (s *Scheduler) reserve(n int) {
	if n <= s.roomFor {
		return
	}
	s.roomFor = 2 * n
	for _, v := range s.vcpus {
		h := make([]*Thread, len(v.rq.fair), s.roomFor)
		copy(h, v.rq.fair)
		v.rq.fair = h
	}
}

// finish lets those run who were given a vCPU, and starts the tick; mu is not held, the lock of a wait queue may be. by is the calling thread if it
// rests next, else nil.
func (s *Scheduler) finish(a *after, by *Thread) {
	for i := range a.n {
		a.run[i].launch(by)
	}
	if a.arm {
		s.timer.Reset((a.now/TickPeriod + 1) * TickPeriod)
	}
}

// kick brings the threads of these vCPUs back from user mode if they still have a reason. No lock of sched is held.
// Who has left the vCPU meanwhile has done what the kick was for.
func (s *Scheduler) kick(on uint64) {
	for on != 0 {
		i := bits.TrailingZeros64(on)
		on &^= 1 << i
		if t := s.vcpus[i].cur.Load(); t != nil && t.word.Load()&(inUser|resched) == inUser|resched {
			t.kick()
		}
	}
}

// How a thread is placed among the fair ones of a vCPU.
type placement int

const (
	placeBack  placement = iota // where its run time says
	placeWoken                  // the same, but a long sleep is worth half the latency at most
	placeNew                    // behind one slice of its own: a fork does not take its parent's turn
)

// enqueue makes t, which is nowhere, runnable: on a vCPU if one can be had, else in a queue. mu is held.
func (s *Scheduler) enqueue(t *Thread, now clock.Time, how placement) (a after) {
	a.now = now
	v := s.choose(t, how)
	if t.vcpu != nil && t.vcpu != v {
		t.vrun += v.minV - t.vcpu.minV
	}
	switch how {
	case placeWoken:
		t.vrun = max(t.vrun, v.minV-int64(latency/2))
	case placeNew:
		t.vrun = v.minV + int64(minGranularity)*1024/t.weight
	}
	t.vcpu = v
	if v.cur.Load() == nil {
		s.give(v, t, &a)
		return a
	}
	s.push(v, t, false)
	// A thread that goes away after this look sees the count: both are sequentially consistent.
	if o := s.snatchFor(t, now); o != nil {
		if s.fill(o, &a); t.queuedOn == nil {
			return a
		}
	}
	cur := v.cur.Load()
	s.charge(v, now)
	if v.preempts(t, cur) {
		s.demand(v, cur, &a)
	}
	return a
}

// snatchFor takes a vCPU that t may run on from a thread that is away, its own one first; nil if there is none.
func (s *Scheduler) snatchFor(t *Thread, now clock.Time) *vcpu {
	if s.snatch(t.vcpu, now, away) {
		return t.vcpu
	}
	for _, v := range s.vcpus {
		if v.bit&t.allowed.Load() != 0 && s.snatch(v, now, away) {
			return v
		}
	}
	return nil
}

// choose picks the vCPU for t: the one it had last if idle, any idle one, else the queue of the last one. A new thread goes to the
// shortest queue, a real-time one to where it can run at once.
func (s *Scheduler) choose(t *Thread, how placement) *vcpu {
	allowed := t.allowed.Load()
	last := t.vcpu
	if free := s.idle & allowed; free != 0 {
		if last != nil && free&last.bit != 0 {
			return last
		}
		return s.vcpus[bits.TrailingZeros64(free)]
	}
	if last != nil && last.bit&allowed == 0 {
		last = nil
	}
	best := last
	for _, v := range s.vcpus {
		switch {
		case v.bit&allowed == 0 || v == last:
		case best == nil,
			how == placeNew && v.rq.len() < best.rq.len(),
			t.realtime() && t.rtprio <= best.curPrio() && v.curPrio() < t.rtprio:
			best = v
		}
	}
	return best
}

// curPrio is the static priority of what runs, 0 for a fair thread, -1 for none.
func (v *vcpu) curPrio() int {
	switch t := v.cur.Load(); {
	case t == nil:
		return -1
	case t.realtime():
		return t.rtprio
	}
	return 0
}

// snatch takes v from its thread if that is in the given mode (away or inUser), and has not yet come back.
func (s *Scheduler) snatch(v *vcpu, now clock.Time, mode uint32) bool {
	t := v.cur.Load()
	if t == nil {
		return false
	}
	for {
		w := t.word.Load()
		if w&mode == 0 {
			return false
		}
		if t.word.CompareAndSwap(w, w|lost) {
			s.absent++
			s.free(v, now)
			return true
		}
	}
}

// free ends the turn of v's thread; v is idle until give.
func (s *Scheduler) free(v *vcpu, now clock.Time) {
	s.charge(v, now)
	v.cur.Store(nil)
	s.idle |= v.bit
	v.idleFrom = now
}

// give makes t run on v, which is free.
func (s *Scheduler) give(v *vcpu, t *Thread, a *after) {
	if !s.ticking && !s.closed {
		s.sample(a.now) // of the time in which nothing ticked, before this one counts
		s.ticking, a.arm = true, true
		s.lastTick = a.now / TickPeriod * TickPeriod
	}
	t.word.And(^(lost | resched))
	t.vcpu = v
	t.since = a.now
	t.sliceFrom = t.exec
	t.overdue = 0
	v.cur.Store(t)
	s.idle &^= v.bit
	v.times.Idle += max(a.now-v.idleFrom, 0)
	if v.last != t {
		v.last = t
		v.switches++
	}
	a.run[a.n] = t
	a.n++
}

func (s *Scheduler) push(v *vcpu, t *Thread, front bool) {
	s.seq++
	t.seq = s.seq
	t.queuedOn = v
	v.rq.push(t, front)
	if t.realtime() {
		s.rtQueued++
	}
	s.queued.Add(1)
}

func (s *Scheduler) dequeue(t *Thread) {
	t.queuedOn.rq.remove(t)
	t.queuedOn = nil
	if t.realtime() {
		s.rtQueued--
	}
	s.queued.Add(-1)
}

// leave ends the turn of v's thread, which is not runnable any more, and gives v to the next.
func (s *Scheduler) leave(v *vcpu, now clock.Time) (a after) {
	a.now = now
	s.free(v, now)
	s.fill(v, &a)
	return a
}

// fill gives a free v to whoever deserves it most, if anybody waits.
func (s *Scheduler) fill(v *vcpu, a *after) {
	if t := s.pick(v); t != nil {
		s.dequeue(t)
		s.migrate(t, v)
		s.give(v, t, a)
	}
}

// migrate translates t's run time to that of v.
func (s *Scheduler) migrate(t *Thread, v *vcpu) {
	if t.vcpu != v {
		t.vrun += v.minV - t.vcpu.minV
		t.vcpu = v
	}
}

// pick is the thread that v should run next: its own next one, else one stolen. It stays in its queue.
func (s *Scheduler) pick(v *vcpu) *Thread {
	if s.queued.Load() == 0 {
		return nil
	}
	if t := s.next(v); t != nil {
		return t
	}
	return s.steal(v)
}

// next is the first of v's own queue, or a real-time thread of another one that comes before.
func (s *Scheduler) next(v *vcpu) *Thread {
	if s.rtQueued > 0 {
		best := v.rq.firstRT(v.bit)
		for _, o := range s.vcpus {
			if o == v || o.rq.rtN == 0 {
				continue
			}
			if t := o.rq.firstRT(v.bit); t != nil && (best == nil || t.rtprio > best.rtprio) {
				best = t
			}
		}
		if best != nil && !(v.throttled() && v.rq.firstFair(v.bit) != nil) {
			return best
		}
	}
	return v.rq.firstFair(v.bit)
}

// steal looks for a fair thread of another vCPU that v may run, in the longest queue that has one.
func (s *Scheduler) steal(v *vcpu) *Thread {
	var best *Thread
	for _, o := range s.vcpus {
		if o == v || len(o.rq.fair) == 0 || best != nil && len(o.rq.fair) <= len(best.queuedOn.rq.fair) {
			continue
		}
		if t := o.rq.firstFair(v.bit); t != nil {
			best = t
		}
	}
	return best
}

// throttled says that real-time threads have used up what they get while fair ones wait.
func (v *vcpu) throttled() bool { return v.rtUsed >= rtRuntime && len(v.rq.fair) > 0 }

// charge adds the time since the last charge to what v's thread has used.
func (s *Scheduler) charge(v *vcpu, now clock.Time) {
	t := v.cur.Load()
	if t == nil || now <= t.since {
		return
	}
	d := now - t.since
	t.since = now
	t.exec += d
	if t.realtime() {
		t.rrLeft -= d
		if now >= v.rtEnd {
			v.rtUsed, v.rtEnd = 0, now+rtPeriod
		}
		v.rtUsed += d
		return
	}
	t.vrun += weigh(d, t.weight)
	low := t.vrun
	if len(v.rq.fair) > 0 {
		low = min(low, v.rq.fair[0].vrun)
	}
	v.minV = max(v.minV, low)
}

// weigh is run time as it counts for a thread of that weight: d for nice 0.
func weigh(d clock.Time, weight int64) int64 {
	return min(int64(d), 1<<50) * 1024 / weight
}

// preempts says whether t, just made runnable on v, should run before cur does on.
func (v *vcpu) preempts(t, cur *Thread) bool {
	switch {
	case t.realtime():
		return (!cur.realtime() || t.rtprio > cur.rtprio) && !v.throttled()
	case cur.realtime():
		return v.throttled()
	case cur.weight == idleWeight && t.weight != idleWeight:
		return true
	case t.policy != abi.SCHED_NORMAL:
		return false // batch and idle wait for the tick
	}
	return cur.vrun-t.vrun > weigh(wakeGranularity, t.weight)
}

// beaten says whether somebody in v's queue should run instead of cur, now that its slice may be over.
func (v *vcpu) beaten(cur *Thread) bool {
	if !v.throttled() {
		if p := v.rq.topRT(); p > 0 && (!cur.realtime() || p > cur.rtprio || p == cur.rtprio && cur.policy == abi.SCHED_RR && cur.rrLeft <= 0) {
			return true
		}
		if cur.realtime() {
			return false
		}
	} else if cur.realtime() {
		return true
	}
	return len(v.rq.fair) > 0 && v.rq.fair[0].vrun < cur.vrun
}

// demand asks v's thread to give it up.
func (s *Scheduler) demand(v *vcpu, t *Thread, a *after) {
	if t.word.Or(resched)&inUser != 0 {
		a.kicks |= v.bit
	}
}

// yield puts t, which has v, back and picks again. asked: the scheduler wanted it; else t itself, and anybody of its class goes first.
func (s *Scheduler) yield(v *vcpu, t *Thread, asked bool, now clock.Time) (a after) {
	a.now = now
	s.charge(v, now)
	if t.allowed.Load()&v.bit == 0 {
		t.preempted++
		s.free(v, now)
		s.fill(v, &a)
		b := s.enqueue(t, now, placeBack)
		for i := range b.n {
			a.run[a.n] = b.run[i]
			a.n++
		}
		a.kicks, a.arm, a.park = b.kicks, a.arm || b.arm, true
		return a
	}
	front := asked
	if t.policy == abi.SCHED_RR && t.rrLeft <= 0 {
		t.rrLeft = RRSlice
		front = false
	}
	var next *Thread
	if asked || t.realtime() {
		s.push(v, t, front)
		if next = s.next(v); next == nil {
			next = t
		}
		s.dequeue(t)
	} else if next = s.next(v); next == nil {
		next = t
	}
	if next == t {
		t.sliceFrom = t.exec
		return a
	}
	if asked {
		t.preempted++
	} else {
		t.voluntary++
	}
	s.dequeue(next)
	s.migrate(next, v)
	s.push(v, t, front)
	s.free(v, now)
	s.give(v, next, &a)
	a.park = true
	return a
}
