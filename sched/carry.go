package sched

import (
	"fmt"
	"iter"
	"os"
	"runtime/debug"
)

// A thread's code runs as a coroutine, and a goroutine, the carrier, runs coroutines one after the other: who gives its vCPU up names
// the thread that got it, comes to rest, and the carrier goes on with that one. The runtime's scheduler has no part in it.
//
// With a goroutine for each thread and a channel to wake it, as it was before, each hand-over made the runtime rouse another of its
// host threads to look for work, which found none: 1.7 context switches of the host a trap instead of 1.0 where two processes
// play ping-pong, 47 us of CPU time a round instead of 40 (pipe_pingpong, --cpus 1); and on two cores that thread sometimes
// took the woken goroutine to the other one.

// The states of Thread.seat.
const (
	resting uint32 = iota // its code stands in rest, or has not begun: whoever gives it a vCPU has it carried
	carried               // a carrier runs it
	given                 // the same, and it was given a vCPU: it must not come to rest
)

// launch lets t, which has just been given a vCPU, go on: on the carrier of by if that is about to rest (nil: nobody is).
func (t *Thread) launch(by *Thread) {
	for {
		switch {
		case t.seat.CompareAndSwap(resting, carried):
			if by != nil && by.follow == nil {
				by.follow = t
			} else {
				go t.carrier()
			}
			return
		case t.seat.CompareAndSwap(carried, given): // on its way to rest: it turns round
			return
		}
	}
}

// rest waits until t is given a vCPU. Only t's own code calls it.
func (t *Thread) rest() {
	if t.seat.CompareAndSwap(given, carried) {
		if o := t.follow; o != nil {
			t.follow = nil
			go o.carrier()
		}
		return
	}
	t.yield(struct{}{})
}

// carry runs t and whoever follows, on the calling goroutine, until nobody does. t's seat is carried.
func carry(t *Thread) {
	for t != nil {
		if t.resume == nil {
			t.resume, _ = iter.Pull(t.main)
		}
		_, more := t.resume()
		next := t.follow
		t.follow = nil
		if more && !t.seat.CompareAndSwap(carried, resting) { // given a vCPU just now
			t.seat.Store(carried)
			if next == nil {
				next = t
			} else {
				go t.carrier()
			}
		}
		t = next
	}
}

// main is the coroutine.
func (t *Thread) main(yield func(struct{}) bool) {
	defer t.s.living.Done()
	defer func() {
		if r := recover(); r != nil { // it ends the machine, but by way of the carrier, whose stack says nothing
			fmt.Fprintf(os.Stderr, "panic in thread %q: %v\n%s\n", t.name, r, debug.Stack())
			panic(r)
		}
	}()
	t.yield = yield
	t.body()
	t.body = nil
	t.exit()
}
