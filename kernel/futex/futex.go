// Package futex lets threads wait for words of guest memory to change: futex(2), its newer siblings, and what a thread's
// end does to its robust list.
//
// It owns the waiters, in buckets by key. What a key is, mm.Space says: an address in one address space, or an offset in an object that several
// may map. A waiter looks at the word under its bucket's lock before it is queued, and a waker takes that lock after the guest has
// changed the word: so no wake-up falls between. The word is read there without faulting; if its page is not there, the
// lock is dropped, the page fetched, and everything begun again.
//
// Priority inheriting locks keep their protocol (owner's thread id in the word, FUTEX_WAITERS, hand-over in order of arrival), but nobody inherits a
// priority. FUTEX_WAIT_REQUEUE_PI and FUTEX_CMP_REQUEUE_PI are ENOSYS.
//
// Invariants:
//   - A waiter is queued exactly while waiter.b is not nil, and in that bucket; whoever takes it out wakes its thread.
//   - Waiters of one key are in one bucket, in order of arrival (requeued ones: as Linux has them).
//   - bucket.waiting is at least the number of waiters in it, and was raised before a waiter looked at its word.
//
// Locks: bucket.mu (lock.Futex), two of them by lock.Two; inside it mm's page table and sched's queues. None is held while a thread
// waits or a page is fetched.
package futex

import (
	"hash/maphash"
	"sync"
	"sync/atomic"

	"goum/arch/abi"
	"goum/arch/lock"
	"goum/mm"
	"goum/sched"
	"goum/sched/clock"
)

// Table is all futexes of a machine.
type Table struct {
	// Immutable after New, Alive until the first task runs.
	clk  *clock.Clock
	seed maphash.Seed

	// Alive says whether a thread of that id exists: FUTEX_LOCK_PI on a word of somebody who is gone is ESRCH. nil: all are taken to. It is
	// called with no lock held.
	Alive func(tid int32) bool

	states    sync.Pool
	clockSets atomic.Uint64 // how often ClockSet was called
	realtime  atomic.Int32  // threads that wait for a time of the wall clock
	piWaiters atomic.Int32

	buckets [buckets]bucket
}

type bucket struct {
	waiting atomic.Int32

	mu         lock.Mutex[lock.Futex]
	head, tail *waiter // guarded by mu
}

// waiter is one word that a thread waits for.
type waiter struct {
	b atomic.Pointer[bucket] // where it is queued; nil: nowhere (any more). Changed under the bucket's mu, when moved under both
	q *sched.Queue           // where its thread sleeps

	// Guarded by the bucket's mu while queued.
	key        mm.Key
	bitset     uint32
	prev, next *waiter
	pi         bool
	tid        int32 // pi: whose lock it becomes
	owner      int32 // pi: whose lock it is
	orphaned   bool  // pi: the owner has ended
	real       bool  // waits for a time of the wall clock
}

// state is what a thread needs to wait. It is taken for each wait and given back, so that no task carries one.
type state struct {
	q    sched.Queue
	one  waiter
	many []waiter // for futex_waitv, made when first needed
}

// New makes an empty table; clk is the machine's clock.
func New(clk *clock.Clock) *Table {
	return &Table{clk: clk, seed: maphash.MakeSeed(), states: sync.Pool{New: func() any { return new(state) }}}
}

// Caller is the thread that calls, on its own goroutine.
type Caller struct {
	Thread *sched.Thread
	User   mm.User
	TID    int32
}

func (tb *Table) bucket(key mm.Key) *bucket {
	return &tb.buckets[maphash.Comparable(tb.seed, key)%buckets]
}

// key finds the futex at addr: EINVAL (no multiple of 4), EFAULT.
func key(u mm.User, addr uint64, shared bool) (mm.Key, abi.Errno) {
	if addr%4 != 0 {
		return mm.Key{}, abi.EINVAL
	}
	if addr >= mm.TaskSize {
		return mm.Key{}, abi.EFAULT
	}
	return u.Space.FutexKey(addr, shared)
}

func (b *bucket) push(w *waiter) {
	w.prev, w.next = b.tail, nil
	if b.tail != nil {
		b.tail.next = w
	} else {
		b.head = w
	}
	b.tail = w
	w.b.Store(b)
}

// unlink takes w out of b's list, but leaves it to the caller to say where it is now.
func (b *bucket) unlink(w *waiter) {
	if w.prev != nil {
		w.prev.next = w.next
	} else {
		b.head = w.next
	}
	if w.next != nil {
		w.next.prev = w.prev
	} else {
		b.tail = w.prev
	}
	w.prev, w.next = nil, nil
	b.waiting.Add(-1)
}

// wake takes w out of b and lets its thread go on. b.mu is held. The thread may then use w for something else at once.
func (b *bucket) wake(w *waiter) {
	q := w.q
	b.unlink(w)
	w.b.Store(nil)
	q.Wake(sched.Any)
}

// leave takes w out of wherever it is queued. False: somebody has woken it already.
func (w *waiter) leave() bool {
	for {
		b := w.b.Load()
		if b == nil {
			return false
		}
		b.mu.Lock()
		if w.b.Load() == b {
			b.unlink(w)
			w.b.Store(nil)
			b.mu.Unlock()
			return true
		}
		b.mu.Unlock() // it was requeued
	}
}

// Deadline is when a wait ends. The zero value is never.
type Deadline struct {
	At   int64 // nanoseconds of the clock
	Set  bool
	Real bool // CLOCK_REALTIME, which may be set meanwhile; else CLOCK_MONOTONIC
}

// monotonic is d on the clock that timers know, as of now.
func (tb *Table) monotonic(d Deadline) clock.Time {
	switch {
	case !d.Set:
		return clock.Never
	case d.Real:
		return clock.Time(d.At - tb.clk.RealOffset())
	}
	return clock.Time(d.At)
}

// sleep waits until over holds, d passes, or a signal comes.
func (tb *Table) sleep(c Caller, q *sched.Queue, d Deadline, over func() bool) sched.Outcome {
	if d.Real {
		tb.realtime.Add(1)
		defer tb.realtime.Add(-1)
	}
	for {
		sets := tb.clockSets.Load() // before the offset is read
		out := q.Wait(c.Thread, sched.Any, tb.monotonic(d), func() bool {
			return over() || d.Real && tb.clockSets.Load() != sets
		})
		switch {
		case out == sched.Woken && !over():
		case out == sched.Expired && d.Real && tb.clk.Realtime() < d.At:
		default:
			return out
		}
	}
}

// ClockSet has those who wait for a time of the wall clock look at it again. It is called after it was set.
func (tb *Table) ClockSet() {
	tb.clockSets.Add(1)
	if tb.realtime.Load() == 0 {
		return
	}
	for i := range tb.buckets {
		b := &tb.buckets[i]
		if b.waiting.Load() == 0 {
			continue
		}
		b.mu.Lock()
		for w := b.head; w != nil; w = w.next {
			if w.real {
				w.q.Wake(sched.Any)
			}
		}
		b.mu.Unlock()
	}
}
