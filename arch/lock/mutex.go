//go:build !lockcheck

package lock

import "sync"

// Mutex is a sync.Mutex with the rank R.
type Mutex[R Rank] struct {
	sync.Mutex
}

// Two locks two mutexes of one rank, in an order of their own; Unlock both. a and b may be the same.
func Two[R Rank](a, b *Mutex[R]) {
	switch {
	case a == b:
		a.Lock()
	case before(a, b):
		a.Lock()
		b.Lock()
	default:
		b.Lock()
		a.Lock()
	}
}

// UnlockTwo undoes Two.
func UnlockTwo[R Rank](a, b *Mutex[R]) {
	a.Unlock()
	if a != b {
		b.Unlock()
	}
}

// AssertNoneHeld panics if the calling goroutine holds a ranked lock and the build checks locks. doing says what it is about to do.
func AssertNoneHeld(doing string) {}
