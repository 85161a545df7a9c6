package futex

import (
	"goum/arch/abi"
	"goum/mm"
	"goum/sched"
)

// LockPI takes the lock whose word at addr is 0 or its owner's thread id: FUTEX_LOCK_PI2 of futex(2), with try FUTEX_TRYLOCK_PI.
//
// EINVAL (alignment, or waiters that wait for something else), EFAULT, EDEADLK (it is the caller's already), ESRCH (the owner is no thread), EAGAIN (try),
// ETIMEDOUT. A signal restarts the call: ERESTARTNOINTR.
func (tb *Table) LockPI(c Caller, addr uint64, shared bool, d Deadline, try bool) abi.Errno {
	st := tb.states.Get().(*state)
	defer tb.states.Put(st)
	w := &st.one
	known := int32(0) // an owner that is known to exist
	for {
		k, e := key(c.User, addr, shared)
		if e != 0 {
			return e
		}
		owner, e, ok := tb.tryPI(c, w, st, k, addr, d, try, known)
		switch {
		case e != 0:
			return e
		case !ok:
			if e := touch(c, addr); e != 0 {
				return e
			}
			continue
		case owner == 0:
			return 0
		case owner != known:
			if tb.Alive != nil && !tb.Alive(owner) {
				if v, e := c.User.Load32(addr); e != 0 {
					return fault(e)
				} else if int32(v&abi.FUTEX_TID_MASK) == owner {
					return abi.ESRCH
				}
				owner = 0
			}
			known = owner
			continue
		}
		out := tb.sleep(c, &st.q, d, func() bool { return w.b.Load() == nil })
		left := w.leave()
		tb.piWaiters.Add(-1)
		switch {
		case left && out == sched.Expired:
			return abi.ETIMEDOUT
		case left:
			return abi.ERESTARTNOINTR
		case !w.orphaned:
			return 0 // handed over: the word says so
		}
		if done, e := takeOver(c, addr, w.owner); done || e != 0 {
			return e
		}
		known = 0
	}
}

// tryPI takes the lock (owner 0), or queues w behind the owner, if that is the known one. ok is false if the page is not there.
func (tb *Table) tryPI(c Caller, w *waiter, st *state, k mm.Key, addr uint64, d Deadline, try bool, known int32) (owner int32, e abi.Errno, ok bool) {
	b := tb.bucket(k)
	b.waiting.Add(1)
	b.mu.Lock()
	defer b.mu.Unlock()
	defer func() {
		if w.b.Load() == nil {
			b.waiting.Add(-1)
		}
	}()
	s := c.User.Space
	v, ok := s.Load32NoFault(addr)
	for ok {
		owner = int32(v & abi.FUTEX_TID_MASK)
		if owner == c.TID {
			return 0, abi.EDEADLK, true
		}
		top := b.first(k)
		if top != nil && !top.pi {
			return 0, abi.EINVAL, true
		}
		want := v | abi.FUTEX_WAITERS
		if owner == 0 {
			want = v&abi.FUTEX_OWNER_DIED | uint32(c.TID)
			if top != nil {
				want |= abi.FUTEX_WAITERS
			}
		} else if owner != known {
			return owner, 0, true
		}
		var was uint32
		if was, ok = s.Cas32NoFault(addr, v, want); !ok {
			break
		}
		if was != v {
			v = was
			continue
		}
		switch {
		case owner == 0:
			b.adopt(k, c.TID)
			return 0, 0, true
		case try:
			return 0, abi.EAGAIN, true
		}
		w.q, w.key, w.bitset, w.real = &st.q, k, abi.FUTEX_BITSET_MATCH_ANY, d.Real
		w.pi, w.tid, w.owner, w.orphaned = true, c.TID, owner, false
		tb.piWaiters.Add(1)
		b.push(w)
		return owner, 0, true
	}
	return 0, 0, false
}

func (b *bucket) first(k mm.Key) *waiter {
	for w := b.head; w != nil; w = w.next {
		if w.key == k {
			return w
		}
	}
	return nil
}

// adopt notes the new owner for those who wait on.
func (b *bucket) adopt(k mm.Key, owner int32) {
	for w := b.head; w != nil; w = w.next {
		if w.key == k {
			w.owner = owner
		}
	}
}

// takeOver makes the lock of a thread that has ended the caller's. done is false if somebody else was faster.
func takeOver(c Caller, addr uint64, dead int32) (done bool, e abi.Errno) {
	v, e := c.User.Load32(addr)
	for e == 0 {
		if o := int32(v & abi.FUTEX_TID_MASK); o != 0 && o != dead {
			return false, 0
		}
		was, e2 := c.User.Cas32(addr, v, uint32(c.TID)|abi.FUTEX_WAITERS|abi.FUTEX_OWNER_DIED)
		if e = e2; was == v && e == 0 {
			return true, 0
		}
		v = was
	}
	return false, fault(e)
}

// UnlockPI gives the caller's lock to the first who waits for it, or to nobody: FUTEX_UNLOCK_PI of futex(2). EFAULT, EPERM (it is
// not the caller's), EINVAL (alignment, or the word and the waiters disagree).
func (tb *Table) UnlockPI(c Caller, addr uint64, shared bool) abi.Errno {
	for {
		var word [4]byte
		if e := c.User.CopyIn(word[:], addr); e != 0 {
			return fault(e)
		}
		v := uint32(word[0]) | uint32(word[1])<<8 | uint32(word[2])<<16 | uint32(word[3])<<24
		if int32(v&abi.FUTEX_TID_MASK) != c.TID {
			return abi.EPERM
		}
		k, e := key(c.User, addr, shared)
		if e != 0 {
			return e
		}
		b := tb.bucket(k)
		b.mu.Lock()
		top := b.first(k)
		want := uint32(0)
		if top != nil {
			want = abi.FUTEX_WAITERS
			if top.pi {
				want |= uint32(top.tid)
			}
		}
		if top != nil && !top.pi {
			b.mu.Unlock()
			return abi.EINVAL
		}
		was, ok := c.User.Space.Cas32NoFault(addr, v, want)
		if done := ok && was == v; done {
			if top != nil {
				tid := top.tid
				b.wake(top)
				b.adopt(k, tid)
			}
			b.mu.Unlock()
			return 0
		}
		b.mu.Unlock()
		if !ok {
			if e := touch(c, addr); e != 0 {
				return e
			}
		}
	}
}

// exitPI wakes the first waiter of each lock that the thread tid still has, to take it over.
func (tb *Table) exitPI(tid int32) {
	if tb.piWaiters.Load() == 0 {
		return
	}
	for i := range tb.buckets {
		b := &tb.buckets[i]
		if b.waiting.Load() == 0 {
			continue
		}
		b.mu.Lock()
		for w := b.head; w != nil; {
			next := w.next
			if w.pi && w.owner == tid && b.first(w.key) == w {
				k := w.key
				w.orphaned = true
				b.wake(w)
				b.adopt(k, 0)
			}
			w = next
		}
		b.mu.Unlock()
	}
}
