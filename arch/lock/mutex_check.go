//go:build lockcheck

package lock

import (
	"bytes"
	"fmt"
	"runtime"
	"strconv"
	"sync"
)

// Mutex is a sync.Mutex with the rank R, which checks that locks are taken in the order of their ranks.
type Mutex[R Rank] struct {
	mu sync.Mutex
}

// held is one lock that a goroutine has, and where it took it.
type held struct {
	rank  int
	name  string
	lock  any
	stack []byte
}

var (
	heldMu sync.Mutex
	heldBy = map[uint64][]held{}
)

// goid reads the goroutine's number from the first line of its stack: slow, and only for this build.
func goid() uint64 {
	var b [64]byte
	f := bytes.Fields(b[:runtime.Stack(b[:], false)])
	n, _ := strconv.ParseUint(string(f[1]), 10, 64)
	return n
}

func acquire(h held, same bool) {
	var b [4096]byte
	h.stack = append(h.stack, b[:runtime.Stack(b[:], false)]...)
	g := goid()
	heldMu.Lock()
	defer heldMu.Unlock()
	for _, o := range heldBy[g] {
		if o.rank > h.rank || (o.rank == h.rank && !same) {
			panic(fmt.Sprintf("lock: %s taken while %s is held\n--- taken now:\n%s\n--- held since:\n%s", h.name, o.name, h.stack, o.stack))
		}
	}
	heldBy[g] = append(heldBy[g], h)
}

func release(p any) {
	heldMu.Lock()
	defer heldMu.Unlock()
	drop := func(g uint64) bool {
		hs := heldBy[g]
		for i := len(hs) - 1; i >= 0; i-- {
			if hs[i].lock == p {
				if hs = append(hs[:i:i], hs[i+1:]...); len(hs) == 0 {
					delete(heldBy, g)
				} else {
					heldBy[g] = hs
				}
				return true
			}
		}
		return false
	}
	if drop(goid()) {
		return
	}
	panic("lock: unlocked by a goroutine that does not hold it")
}

func (m *Mutex[R]) lock(same bool) {
	var r R
	acquire(held{rank: r.rank(), name: r.name(), lock: m}, same)
	m.mu.Lock()
}

// Lock locks m.
func (m *Mutex[R]) Lock() { m.lock(false) }

// Unlock unlocks m.
func (m *Mutex[R]) Unlock() {
	m.mu.Unlock()
	release(m)
}

// TryLock locks m if nobody holds it. It cannot deadlock, so that ranks do not matter for it.
func (m *Mutex[R]) TryLock() bool {
	if !m.mu.TryLock() {
		return false
	}
	var r R
	heldMu.Lock()
	defer heldMu.Unlock()
	g := goid()
	heldBy[g] = append(heldBy[g], held{rank: r.rank(), name: r.name(), lock: m})
	return true
}

// Two locks two mutexes of one rank, in an order of their own; UnlockTwo undoes it. a and b may be the same.
func Two[R Rank](a, b *Mutex[R]) {
	if !before(a, b) {
		a, b = b, a
	}
	a.lock(false)
	if a != b {
		b.lock(true)
	}
}

// UnlockTwo undoes Two.
func UnlockTwo[R Rank](a, b *Mutex[R]) {
	a.Unlock()
	if a != b {
		b.Unlock()
	}
}

// AssertNoneHeld panics if the calling goroutine holds a ranked lock. doing says what it is about to do.
func AssertNoneHeld(doing string) {
	g := goid()
	heldMu.Lock()
	defer heldMu.Unlock()
	if hs := heldBy[g]; len(hs) > 0 {
		panic(fmt.Sprintf("lock: %s while %s is held, taken at:\n%s", doing, hs[0].name, hs[0].stack))
	}
}
