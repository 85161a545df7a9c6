package sched

import (
	"sync/atomic"

	"goum/arch/abi"
	"goum/arch/lock"
	"goum/sched/clock"
)

// Kicker brings a thread back from user mode.
type Kicker interface {
	// Kick makes the thread come back to the kernel soon. One that finds nobody in user mode is remembered: the next
	// way out ends at once. It never blocks. It may come late, when the thread is long back, or has ended: that is harmless.
	Kick()
}

// The bits of Thread.word. All of them change by atomic operations only; who may is said at each.
const (
	inUser      uint32 = 1 << iota // set and cleared by the thread's own goroutine: it is (about to go) in user mode
	away                           // the same, for Outside
	lost                           // set under mu while inUser or away: the vCPU was taken; cleared when it gets one
	resched                        // set by anybody: give the vCPU up soon; cleared under mu when it is given one, and by Yield
	interrupted                    // set by anybody; cleared by the thread's own goroutine
	killed                         // set by anybody, never cleared
	woken                          // set by wakers; cleared by the sleeper before it looks at its condition
	timedOut                       // set by the thread's timer, as woken
	asleep                         // set under mu by the sleeper, cleared under mu by the first waker
	byIntr                         // with asleep: an interruption ends the sleep
	byKill                         // with asleep: a kill ends the sleep
)

const sleepBits = asleep | byIntr | byKill

// Thread is the schedulable side of one guest task. Its goroutine runs only while it has a vCPU.
type Thread struct {
	// Immutable after NewThread.
	s       *Scheduler
	name    string
	timer   *clock.Timer // ends a sleep with a deadline
	carrier func()       // carries this thread: for a go statement that allocates nothing

	word    atomic.Uint32 // the bits above
	kicker  atomic.Pointer[Kicker]
	onTick  atomic.Pointer[func()]
	allowed atomic.Uint64 // written under mu

	seat atomic.Uint32 // resting, carried or given: carry.go

	// Only the thread's own goroutine; while it rests, whoever has made seat carried.
	resume func() (struct{}, bool)
	yield  func(struct{}) bool
	body   func()
	follow *Thread // who gets the carrier when this one comes to rest
	waiter Waiter
	alone  Queue // nobody wakes it: for Sleep

	// Guarded by Scheduler.mu. vcpu is also read by the thread itself while it has it.
	vcpu       *vcpu // the one it has, or had last; nil before the first
	queuedOn   *vcpu // the run queue it stands in
	index      int   // in that queue's heap
	seq        uint64
	prev, next *Thread // in a list of real-time threads
	policy     int
	rtprio     int
	nice       int
	weight     int64
	vrun       int64 // weighted run time, comparable with that of vcpu's others only
	since      clock.Time
	exec       clock.Time // time on a vCPU up to since
	sliceFrom  clock.Time // exec when the slice began
	rrLeft     clock.Time
	userTicks  int64
	sysTicks   int64
	user       clock.Time // what Times said last: neither part ever runs backwards
	system     clock.Time
	overdue    int
	voluntary  uint64
	preempted  uint64
}

// NewThread makes a thread with SCHED_OTHER, nice 0, and all vCPUs allowed. Nothing runs before Start.
func (s *Scheduler) NewThread(name string) *Thread {
	t := &Thread{s: s, name: name, policy: abi.SCHED_NORMAL, weight: niceWeight(0), index: -1, rrLeft: RRSlice}
	t.allowed.Store(s.all)
	t.carrier = func() { carry(t) }
	t.timer = s.clk.NewTimer(t.expire)
	return t
}

// Start runs f, as a coroutine, once t is given a vCPU; when f returns, t is gone from the scheduler. Once only.
func (t *Thread) Start(f func()) {
	s := t.s
	now := s.clk.Monotonic()
	s.living.Add(1)
	t.body = f
	s.mu.Lock()
	s.threads++
	s.reserve(s.threads)
	a := s.enqueue(t, now, placeNew)
	s.mu.Unlock()
	s.finish(&a, nil)
	s.kick(a.kicks)
}

func (t *Thread) exit() {
	lock.AssertNoneHeld("the end of a thread")
	t.timer.Stop()
	s := t.s
	now := s.clk.Monotonic()
	s.mu.Lock()
	s.threads--
	a := s.leave(t.vcpu, now)
	s.mu.Unlock()
	s.finish(&a, t)
}

// Name is what NewThread was given, for traces.
func (t *Thread) Name() string { return t.name }

// SetKicker says who can bring t back from user mode; nil: nobody. The old one may still get a late kick.
func (t *Thread) SetKicker(k Kicker) {
	if k == nil {
		t.kicker.Store(nil)
		return
	}
	t.kicker.Store(&k)
}

// SetTick has fn called at each tick that finds t on a vCPU, after its time was charged; nil ends that. It is called on the
// ticker's goroutine with no lock held, must not block, and may come once more after t has ended or after SetTick.
func (t *Thread) SetTick(fn func()) {
	if fn == nil {
		t.onTick.Store(nil)
		return
	}
	t.onTick.Store(&fn)
}

// EnterUser says that t goes to user mode now. False: an interrupt, a kill or a need to reschedule is pending; do not go, look again.
//
// The flag and the mode share one word: who sets the flag later finds the mode, and kicks. Only t's own goroutine calls it.
func (t *Thread) EnterUser() bool {
	for {
		w := t.word.Load()
		if w&(resched|interrupted|killed) != 0 {
			return false
		}
		if t.word.CompareAndSwap(w, w|inUser) {
			return true
		}
	}
}

// LeaveUser says that t is back from user mode. If the vCPU was taken from it meanwhile, it waits for one.
func (t *Thread) LeaveUser() {
	if t.word.And(^inUser)&lost != 0 {
		t.regain()
	}
}

// NeedResched says that t should call Yield before it goes to user mode.
func (t *Thread) NeedResched() bool { return t.word.Load()&resched != 0 }

// Interrupt says that t has a signal to look at: interruptible sleeps end, user mode is left, and it is remembered until
// ClearInterrupt. It never blocks, and may be called with any lock held that ranks before WaitQueue.
func (t *Thread) Interrupt() { t.notify(interrupted, byIntr) }

// Kill is like Interrupt, ends killable sleeps as well, and holds for ever.
func (t *Thread) Kill() { t.notify(killed, byKill) }

// ClearInterrupt says that no signal is pending any more. Only t's own goroutine, holding the lock under which signals are queued:
// a sender that queues and then interrupts is then either seen in the queue or comes after.
func (t *Thread) ClearInterrupt() {
	if t.word.Load()&interrupted != 0 {
		t.word.And(^interrupted)
	}
}

// Interrupted says whether a signal is pending, or t was killed.
func (t *Thread) Interrupted() bool { return t.word.Load()&(interrupted|killed) != 0 }

// Killed says whether Kill was called.
func (t *Thread) Killed() bool { return t.word.Load()&killed != 0 }

func (t *Thread) notify(flag, ends uint32) {
	old := t.word.Or(flag)
	if old&inUser != 0 {
		t.kick()
	}
	if old&ends != 0 {
		t.s.kick(t.rouse(ends))
	}
}

// expire is called by t's timer.
func (t *Thread) expire() {
	if t.word.Or(timedOut|woken)&asleep != 0 {
		t.s.kick(t.rouse(asleep))
	}
}

// wake ends a sleep of t, or the one that t is about to begin. It returns the vCPUs to kick once no lock of sched is held.
func (t *Thread) wake() uint64 {
	if t.word.Or(woken)&asleep == 0 {
		return 0
	}
	return t.rouse(asleep)
}

// rouse makes t runnable if it sleeps in a way that the bit ends stands for.
func (t *Thread) rouse(ends uint32) uint64 {
	s := t.s
	now := s.clk.Monotonic()
	s.mu.Lock()
	w := t.word.Load()
	if w&asleep == 0 || w&ends == 0 {
		s.mu.Unlock()
		return 0
	}
	if w&byIntr == 0 {
		s.blocked--
	}
	t.word.And(^sleepBits)
	a := s.enqueue(t, now, placeWoken)
	s.mu.Unlock()
	s.finish(&a, nil)
	return a.kicks
}

// sleep gives t's vCPU up until a wake, or returns at once if there was one since woken was last cleared. kind says what else ends it.
func (t *Thread) sleep(kind uint32) {
	var ends uint32 = woken
	if kind&byIntr != 0 {
		ends |= interrupted
	}
	if kind&byKill != 0 {
		ends |= killed
	}
	s := t.s
	now := s.clk.Monotonic()
	s.mu.Lock()
	for {
		w := t.word.Load()
		if w&ends != 0 {
			s.mu.Unlock()
			return
		}
		if t.word.CompareAndSwap(w, w|asleep|kind) {
			break
		}
	}
	if kind&byIntr == 0 {
		s.blocked++
	}
	t.voluntary++
	a := s.leave(t.vcpu, now)
	s.mu.Unlock()
	s.finish(&a, t)
	t.rest()
}

// regain waits for a vCPU after t lost its own.
func (t *Thread) regain() {
	s := t.s
	now := s.clk.Monotonic()
	s.mu.Lock()
	s.absent--
	a := s.enqueue(t, now, placeBack)
	s.mu.Unlock()
	s.finish(&a, t)
	s.kick(a.kicks)
	t.rest()
}

// kick calls t's Kicker. No lock of sched is held.
func (t *Thread) kick() {
	if k := t.kicker.Load(); k != nil {
		(*k).Kick()
	}
}

// Yield lets others run: sched_yield(2) when nothing asked for it, the end of a slice when NeedResched did. It returns when t is picked again.
func (t *Thread) Yield() {
	asked := t.word.And(^resched)&resched != 0
	s := t.s
	v := t.vcpu // ours, as long as this goroutine runs
	if s.queued.Load() == 0 && t.allowed.Load()&v.bit != 0 {
		return
	}
	lock.AssertNoneHeld("Yield")
	now := s.clk.Monotonic()
	s.mu.Lock()
	a := s.yield(v, t, asked, now)
	s.mu.Unlock()
	if a.park {
		s.finish(&a, t)
	} else {
		s.finish(&a, nil)
	}
	s.kick(a.kicks)
	if a.park {
		t.rest()
	}
}

// Sleep sleeps until the deadline (on the monotonic clock; clock.Never: for ever) or an interruption.
func (t *Thread) Sleep(deadline clock.Time) Outcome {
	return t.alone.Wait(t, 0, deadline, nil)
}

// Times is the time that t had on vCPUs, divided between user mode and the kernel as the ticks saw it. Neither runs backwards.
func (t *Thread) Times() (user, system clock.Time) {
	now := t.s.clk.Monotonic()
	t.s.mu.Lock()
	defer t.s.mu.Unlock()
	return t.times(now)
}

// CPUTime is the sum of Times, exact: what CLOCK_THREAD_CPUTIME_ID shows.
func (t *Thread) CPUTime() clock.Time {
	now := t.s.clk.Monotonic()
	t.s.mu.Lock()
	defer t.s.mu.Unlock()
	return t.execAt(now)
}

func (t *Thread) execAt(now clock.Time) clock.Time {
	if v := t.vcpu; v != nil && v.cur.Load() == t && now > t.since {
		return t.exec + now - t.since
	}
	return t.exec
}

// times is Linux's cputime_adjust: the exact sum, split in the ratio of the sampled ticks.
func (t *Thread) times(now clock.Time) (user, system clock.Time) {
	sum := t.execAt(now)
	if sum <= t.user+t.system {
		return t.user, t.system
	}
	u, k := t.userTicks, t.sysTicks
	switch {
	case k == 0 && u == 0:
		system = t.system + (sum - t.user - t.system) // too short for a tick: the kernel's, for whoever sleeps does so there
	case k == 0:
		system = 0
	case u == 0:
		system = sum
	default:
		system = clock.Time(float64(sum) * (float64(k) / float64(u+k)))
	}
	system = max(system, t.system)
	user = sum - system
	if user < t.user {
		user = t.user
		system = sum - user
	}
	t.user, t.system = user, system
	return user, system
}

// Switches counts how often t gave its vCPU up by sleeping, and how often it was made to: getrusage(2).
func (t *Thread) Switches() (voluntary, involuntary uint64) {
	t.s.mu.Lock()
	defer t.s.mu.Unlock()
	return t.voluntary, t.preempted
}

// CPU is the number of the vCPU that t has, or had last: getcpu(2).
func (t *Thread) CPU() int {
	t.s.mu.Lock()
	defer t.s.mu.Unlock()
	if t.vcpu == nil {
		return 0
	}
	return t.vcpu.id
}

// State is the letter for /proc/PID/stat: R, S (interruptible sleep), D (any other, or in a host call without a vCPU).
// Stopped, traced and dead are the task's to know.
func (t *Thread) State() byte {
	switch w := t.word.Load(); {
	case w&byIntr != 0:
		return 'S'
	case w&asleep != 0 || w&(away|lost) == away|lost:
		return 'D'
	}
	return 'R'
}

// SetPolicy sets scheduling policy, static priority and nice value: EINVAL for an unknown policy, or a priority that the policy does not have.
// nice is clamped to -20..19, as setpriority(2) does. Privileges are the caller's to check. sched_setscheduler(2).
func (t *Thread) SetPolicy(policy, rtprio, nice int) abi.Errno {
	switch policy {
	case abi.SCHED_FIFO, abi.SCHED_RR:
		if rtprio < 1 || rtprio > maxRTPrio {
			return abi.EINVAL
		}
	case abi.SCHED_NORMAL, abi.SCHED_BATCH, abi.SCHED_IDLE:
		if rtprio != 0 {
			return abi.EINVAL
		}
	default:
		return abi.EINVAL
	}
	t.change(func() {
		if t.realtime() && t.vcpu != nil {
			t.vrun = max(t.vrun, t.vcpu.minV) // it stood still meanwhile
		}
		t.policy, t.rtprio = policy, rtprio
		t.setNice(nice)
		t.rrLeft = RRSlice
	})
	return 0
}

// SetNice sets the nice value, clamped to -20..19.
func (t *Thread) SetNice(nice int) { t.change(func() { t.setNice(nice) }) }

func (t *Thread) setNice(nice int) {
	t.nice = min(max(nice, minNice), maxNice)
	t.weight = niceWeight(t.nice)
	if t.policy == abi.SCHED_IDLE {
		t.weight = idleWeight
	}
}

// change applies f, which alters how t competes, wherever t is now.
func (t *Thread) change(f func()) {
	s := t.s
	now := s.clk.Monotonic()
	s.mu.Lock()
	v := t.queuedOn
	if v != nil {
		s.dequeue(t)
	} else if t.vcpu != nil && t.vcpu.cur.Load() == t {
		s.charge(t.vcpu, now)
	}
	f()
	var a after
	if v != nil {
		a = s.enqueue(t, now, placeBack)
	} else if v := t.vcpu; v != nil && v.cur.Load() == t && (t.allowed.Load()&v.bit == 0 || v.beaten(t)) {
		s.demand(v, t, &a)
	}
	s.mu.Unlock()
	s.finish(&a, nil)
	s.kick(a.kicks)
}

// Policy returns the scheduling policy (abi.SCHED_*) and the static priority, 0 for the fair ones.
func (t *Thread) Policy() (policy, rtprio int) {
	t.s.mu.Lock()
	defer t.s.mu.Unlock()
	return t.policy, t.rtprio
}

// Nice returns the nice value.
func (t *Thread) Nice() int {
	t.s.mu.Lock()
	defer t.s.mu.Unlock()
	return t.nice
}

// Slice is what sched_rr_get_interval(2) answers: a fair thread's share of the latency, 0 for SCHED_FIFO.
func (t *Thread) Slice() clock.Time {
	t.s.mu.Lock()
	defer t.s.mu.Unlock()
	switch t.policy {
	case abi.SCHED_RR:
		return RRSlice
	case abi.SCHED_FIFO:
		return 0
	}
	return minGranularity
}

// SetAffinity restricts t to the vCPUs of mask (bit n: vCPU n): EINVAL if it names none that exists. A thread that runs elsewhere moves
// when it next yields, which it is asked to do at once. sched_setaffinity(2).
func (t *Thread) SetAffinity(mask uint64) abi.Errno {
	if mask &= t.s.all; mask == 0 {
		return abi.EINVAL
	}
	t.change(func() { t.allowed.Store(mask) })
	return 0
}

// Affinity is the set of vCPUs that t may run on.
func (t *Thread) Affinity() uint64 {
	return t.allowed.Load()
}
