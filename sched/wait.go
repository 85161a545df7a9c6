package sched

import (
	"sync/atomic"

	"goum/arch/lock"
	"goum/sched/clock"
)

// Mask is a set of events, with the values of poll(2): abi.POLLIN and so on.
type Mask uint32

// Any is every event.
const Any = ^Mask(0)

// Outcome says what ended a wait.
type Outcome int

const (
	Woken       Outcome = iota // the condition holds; without one: there was a wake-up
	Expired                    // the deadline has passed
	Interrupted                // a signal is pending: abi.ERESTARTSYS, or what else the call says
	Killed                     // the thread is to die: the answer does not matter
)

// Queue is a wait queue: threads that sleep until something happens, and callbacks (poll, epoll) to tell of it. The zero value is ready.
// It must not be copied after use.
type Queue struct {
	n  atomic.Int32 // waiters; a Wake that finds none takes no lock
	mu lock.Mutex[lock.WaitQueue]

	// Guarded by mu.
	head, tail *Waiter
}

// Waiter stands in a Queue: a sleeping thread, or a callback made by NewWaiter.
type Waiter struct {
	fn func(Mask) // immutable; nil for a thread
	t  *Thread

	fired atomic.Uint32 // a thread's: how it was woken since it last looked

	// Guarded by the queue's mu.
	q          *Queue
	prev, next *Waiter
	mask       Mask
	pend       Mask          // has come, and is not told yet
	busy       bool          // some waker has collected it, and calls it until nothing is pending
	done       chan struct{} // closed when busy ends, if Remove waits for that
	nextRun    *Waiter       // in the list of the waker that has it
}

const (
	firedAll uint32 = 1 + iota
	firedOne
)

// Wait puts t to sleep until ready holds after a wake-up of mask, the deadline (monotonic; clock.Never for none) passes, or t is
// interrupted. ready is looked at before each sleep with t enqueued, so that no wake-up after the look is lost; it may take locks, must not
// sleep, and nil means: any wake-up. In this order: ready, killed, interrupted, expired. Only t's own goroutine, holding no lock.
func (q *Queue) Wait(t *Thread, mask Mask, deadline clock.Time, ready func() bool) Outcome {
	return q.wait(t, mask, deadline, ready, byIntr|byKill)
}

// WaitKillable is Wait, but only a kill interrupts it.
func (q *Queue) WaitKillable(t *Thread, mask Mask, deadline clock.Time, ready func() bool) Outcome {
	return q.wait(t, mask, deadline, ready, byKill)
}

// WaitUninterruptible is Wait that nothing interrupts: for what ends soon whatever the guest does.
func (q *Queue) WaitUninterruptible(t *Thread, mask Mask, deadline clock.Time, ready func() bool) Outcome {
	return q.wait(t, mask, deadline, ready, 0)
}

func (q *Queue) wait(t *Thread, mask Mask, deadline clock.Time, ready func() bool, kind uint32) Outcome {
	lock.AssertNoneHeld("a wait")
	w := &t.waiter
	if w.q != nil {
		panic("sched: a ready function of " + t.name + " sleeps")
	}
	w.t = t
	w.fired.Store(0)
	q.mu.Lock()
	q.link(w, mask)
	q.mu.Unlock()

	armed := false
	chosen := uint32(0) // how it was woken for the look that is being taken
	var out Outcome
	for {
		old := t.word.And(^(woken | timedOut))
		if ready == nil {
			if w.fired.Load() != 0 {
				out = Woken
				break
			}
		} else {
			chosen = w.fired.Swap(0)
			if ready() {
				out = Woken
				break
			}
		}
		word := t.word.Load()
		if word&killed != 0 && kind&byKill != 0 {
			out = Killed
			break
		}
		if word&interrupted != 0 && kind&byIntr != 0 {
			out = Interrupted
			break
		}
		if deadline != clock.Never {
			if t.s.clk.Monotonic() >= deadline {
				out = Expired
				break
			}
			if !armed || old&timedOut != 0 { // the timer of an earlier wait may have fired late
				armed = true
				t.timer.Reset(deadline)
			}
		}
		t.sleep(kind)
	}
	if armed {
		t.timer.Stop()
	}
	q.mu.Lock()
	q.unlink(w)
	passOn := out != Woken && (chosen == firedOne || w.fired.Load() == firedOne)
	q.mu.Unlock()
	if passOn { // chosen, and leaves for another reason: the wake-up is for the next
		q.wakeOneSleeper(mask)
	}
	return out
}

func (q *Queue) link(w *Waiter, mask Mask) {
	w.q, w.mask = q, mask
	w.prev, w.next = q.tail, nil
	if q.tail != nil {
		q.tail.next = w
	} else {
		q.head = w
	}
	q.tail = w
	q.n.Add(1)
}

func (q *Queue) unlink(w *Waiter) {
	if w.prev != nil {
		w.prev.next = w.next
	} else {
		q.head = w.next
	}
	if w.next != nil {
		w.next.prev = w.prev
	} else {
		q.tail = w.prev
	}
	w.q, w.prev, w.next = nil, nil, nil
	q.n.Add(-1)
}

// Wake wakes every sleeper that waits for an event of mask, and calls every such callback. It never blocks, and may be called with
// locks held that rank before the ones that the callbacks take: before Epoll. The condition must hold before.
func (q *Queue) Wake(mask Mask) { q.wake(mask, false) }

// WakeOne wakes one sleeper only, the first that has not been woken yet, and calls all callbacks. It says whether there was a sleeper.
// One that leaves for another reason before it has looked passes the wake-up on.
func (q *Queue) WakeOne(mask Mask) bool { return q.wake(mask, true) }

func (q *Queue) wake(mask Mask, one bool) (found bool) {
	if q.n.Load() == 0 {
		return false
	}
	var (
		s          *Scheduler
		kicks      uint64
		head, tail *Waiter // callbacks to run
	)
	q.mu.Lock()
	for w := q.head; w != nil; w = w.next {
		switch {
		case w.mask&mask == 0:
		case w.fn != nil:
			w.pend |= mask
			if w.busy {
				continue
			}
			w.busy, w.nextRun = true, nil
			if tail == nil {
				head = w
			} else {
				tail.nextRun = w
			}
			tail = w
		case !one:
			w.fired.CompareAndSwap(0, firedAll)
			found = true
			s = w.t.s
			kicks |= w.t.wake()
		case !found && w.fired.CompareAndSwap(0, firedOne):
			found = true
			s = w.t.s
			kicks |= w.t.wake()
		}
	}
	q.mu.Unlock()
	if kicks != 0 {
		s.kick(kicks)
	}
	for w := head; w != nil; {
		next := w.nextRun // w may be another's as soon as it is not busy
		q.call(w)
		w = next
	}
	return found
}

// call runs the callback of w, which this waker has collected, until nothing is pending.
func (q *Queue) call(w *Waiter) {
	for {
		q.mu.Lock()
		m := w.pend
		w.pend = 0
		if m == 0 || w.q != q {
			w.busy, w.nextRun = false, nil
			if w.done != nil {
				close(w.done)
				w.done = nil
			}
			q.mu.Unlock()
			return
		}
		q.mu.Unlock()
		w.fn(m)
	}
}

func (q *Queue) wakeOneSleeper(mask Mask) {
	q.mu.Lock()
	for w := q.head; w != nil; w = w.next {
		if w.fn == nil && w.mask&mask != 0 && w.fired.CompareAndSwap(0, firedOne) {
			s, kicks := w.t.s, w.t.wake()
			q.mu.Unlock()
			s.kick(kicks)
			return
		}
	}
	q.mu.Unlock()
}

// NewWaiter makes a callback for events of mask. fn gets the mask of the wake-up, not narrowed to its own.
//
// fn is called on the waker's goroutine after the queue's lock was dropped: it may take locks that rank Epoll or later, wake other queues, and Add or
// Remove other waiters; it must not sleep. It is never called twice at once: a wake-up that comes during a call makes the
// goroutine that is calling call again, with what has come together. So when Wake returns, the callbacks have been called, or another goroutine
// that is just calling them will do it next.
func NewWaiter(mask Mask, fn func(Mask)) *Waiter {
	return &Waiter{mask: mask, fn: fn}
}

// Add puts a callback into the queue; it stands in one queue at most. The caller looks at its condition afterwards: what
// happened before is not told.
func (q *Queue) Add(w *Waiter) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if w.q != nil || w.busy {
		panic("sched: a Waiter is added twice")
	}
	q.link(w, w.mask)
}

// SetMask changes what w, which stands in q, waits for.
func (q *Queue) SetMask(w *Waiter, mask Mask) {
	q.mu.Lock()
	defer q.mu.Unlock()
	w.mask = mask
}

// Remove takes w out of q, if it is there. When it returns, the callback is not running and will not be called again. It may wait for a call to
// end: hold no lock that the callback takes, and do not call it from a callback of q (that is RemoveInside).
func (q *Queue) Remove(w *Waiter) {
	q.mu.Lock()
	if w.q == q {
		q.unlink(w)
	}
	w.pend = 0
	if !w.busy {
		q.mu.Unlock()
		return
	}
	if w.done == nil {
		w.done = make(chan struct{})
	}
	done := w.done
	q.mu.Unlock()
	<-done
}

// RemoveInside takes w out of q from within a callback of q, its own or another: none of w's begins after that. w must not be added again
// before the callbacks have returned.
func (q *Queue) RemoveInside(w *Waiter) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if w.q == q {
		q.unlink(w)
	}
	w.pend = 0
}

// Empty says that nobody waits; by the time it returns somebody may.
func (q *Queue) Empty() bool { return q.n.Load() == 0 }
