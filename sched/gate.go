package sched

import (
	"sync/atomic"

	"goum/sched/clock"
)

// Gate is a lock that is held across sleeps: a flag and a queue. Who waits for it gives the vCPU up. The zero value is open.
//
// A newcomer may pass before those who wait, which saves switches; but a waiter that has been passed over after it was woken asks for
// the gate to be handed to it, so that nobody waits for ever.
type Gate struct {
	state atomic.Uint32
	owner atomic.Pointer[Thread] // handed to, and not yet noticed; written under q.mu by the holder, cleared by the thread
	q     Queue
}

const (
	gateHeld uint32 = 1 << iota
	gateHand        // a waiter was passed over: hand it on
)

// TryLock locks g if nobody has it.
func (g *Gate) TryLock() bool {
	w := g.state.Load()
	return w&gateHeld == 0 && g.state.CompareAndSwap(w, w|gateHeld)
}

// Lock waits until t has g; no signal ends that.
func (g *Gate) Lock(t *Thread) {
	if !g.TryLock() {
		g.wait(t, 0)
	}
}

// LockInterruptible is Lock, but an interruption or a kill ends it: then t does not have g, and the outcome is not Woken.
func (g *Gate) LockInterruptible(t *Thread) Outcome {
	if g.TryLock() {
		return Woken
	}
	return g.wait(t, byIntr|byKill)
}

// LockKillable is Lock that a kill ends.
func (g *Gate) LockKillable(t *Thread) Outcome {
	if g.TryLock() {
		return Woken
	}
	return g.wait(t, byKill)
}

func (g *Gate) wait(t *Thread, kind uint32) Outcome {
	looks := 0
	out := g.q.wait(t, Any, clock.Never, func() bool {
		if g.owner.Load() == t || g.TryLock() {
			return true
		}
		if looks++; looks > 1 {
			// Asked for with one look after it: the holder may have opened the gate just before.
			if g.state.Or(gateHand)&gateHeld == 0 {
				return g.TryLock()
			}
		}
		return false
	}, kind)
	if g.owner.Load() == t { // handed over, perhaps just as the wait ended for another reason: it is t's in any case
		g.owner.Store(nil)
		return Woken
	}
	return out
}

// Unlock opens g, or hands it to the one who was passed over. Any goroutine may call it for the thread that has g.
func (g *Gate) Unlock() {
	for {
		w := g.state.Load()
		if w&gateHeld == 0 {
			panic("sched: an open Gate is unlocked")
		}
		if w&gateHand != 0 {
			if g.hand() {
				return
			}
			continue
		}
		if g.state.CompareAndSwap(w, 0) {
			break
		}
	}
	g.q.WakeOne(Any)
}

// hand gives g to the first waiter. Without one, the wish has lapsed.
func (g *Gate) hand() bool {
	g.state.And(^gateHand)
	q := &g.q
	q.mu.Lock()
	for w := q.head; w != nil; w = w.next {
		if w.fn == nil {
			g.owner.Store(w.t)
			w.fired.Store(firedAll)
			s, kicks := w.t.s, w.t.wake()
			q.mu.Unlock()
			s.kick(kicks)
			return true
		}
	}
	q.mu.Unlock()
	return false
}
