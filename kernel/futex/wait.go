package futex

import (
	"goum/arch/abi"
	"goum/mm"
	"goum/sched"
)

// Wait sleeps until a wake-up of the futex at addr that has a bit of bitset, if the word there is val: FUTEX_WAIT_BITSET of futex(2).
//
// EINVAL (bitset 0, alignment), EFAULT, EAGAIN (the word is not val), ETIMEDOUT, ERESTARTSYS (a signal).
func (tb *Table) Wait(c Caller, addr uint64, shared bool, val, bitset uint32, d Deadline) abi.Errno {
	if bitset == 0 {
		return abi.EINVAL
	}
	st := tb.states.Get().(*state)
	defer tb.states.Put(st)
	w := &st.one
	for {
		k, e := key(c.User, addr, shared)
		if e != 0 {
			return e
		}
		e, again := tb.queue(w, st, c.User.Space, k, addr, val, bitset, d)
		if e != 0 {
			return e
		}
		if !again {
			break
		}
		if e := fetch(c, addr); e != 0 {
			return e
		}
	}
	out := tb.sleep(c, &st.q, d, func() bool { return w.b.Load() == nil })
	if !w.leave() { // somebody took it out: a wake-up, whatever else ended the sleep
		return 0
	}
	return outcome(out)
}

func outcome(out sched.Outcome) abi.Errno {
	if out == sched.Expired {
		return abi.ETIMEDOUT
	}
	return abi.ERESTARTSYS
}

// queue puts w into the list of k, if the word at addr is val: EAGAIN. again: the page is not there.
func (tb *Table) queue(w *waiter, st *state, s *mm.Space, k mm.Key, addr uint64, val, bitset uint32, d Deadline) (e abi.Errno, again bool) {
	b := tb.bucket(k)
	b.waiting.Add(1) // before the look: who changes the word afterwards sees the count
	b.mu.Lock()
	defer b.mu.Unlock()
	v, ok := s.Load32NoFault(addr)
	if !ok || v != val {
		b.waiting.Add(-1)
		if ok {
			return abi.EAGAIN, false
		}
		return 0, true
	}
	w.q, w.key, w.bitset, w.pi, w.real = &st.q, k, bitset, false, d.Real
	b.push(w)
	return 0, false
}

// fetch brings in the page of addr for reading: EFAULT; ERESTARTSYS if the thread is to die, so that none goes on for ever whose page goes
// again each time.
func fetch(c Caller, addr uint64) abi.Errno {
	if c.Thread.Killed() {
		return abi.ERESTARTSYS
	}
	_, e := c.User.Load32(addr)
	return fault(e)
}

// touch is fetch for writing.
func touch(c Caller, addr uint64) abi.Errno {
	if c.Thread.Killed() {
		return abi.ERESTARTSYS
	}
	return fault(c.User.Touch(addr))
}

// fault is what a futex call says of a page that cannot be had.
func fault(e abi.Errno) abi.Errno {
	if e != 0 && e != abi.EINTR {
		return abi.EFAULT
	}
	return e
}

// WaitWord is one word that WaitMany waits for.
type WaitWord struct {
	Addr   uint64
	Val    uint32
	Shared bool
}

// WaitMany sleeps until one of the futexes is woken, and says which: the last one, if several were. futex_waitv(2).
//
// If a word has not its value: EAGAIN. EINVAL, EFAULT, ETIMEDOUT, ERESTARTSYS as Wait. There are at most maxWaitv words.
func (tb *Table) WaitMany(c Caller, words []WaitWord, d Deadline) (int, abi.Errno) {
	if len(words) == 0 || len(words) > maxWaitv {
		return 0, abi.EINVAL
	}
	st := tb.states.Get().(*state)
	defer tb.states.Put(st)
	if len(st.many) < len(words) {
		st.many = make([]waiter, maxWaitv)
	}
	ws := st.many[:len(words)]
	var keys [maxWaitv]mm.Key
	for {
		for i, x := range words {
			var e abi.Errno
			if keys[i], e = key(c.User, x.Addr, x.Shared); e != 0 {
				return 0, e
			}
		}
		n := 0
		var e abi.Errno
		again := false
		for ; n < len(words); n++ {
			x := words[n]
			if e, again = tb.queue(&ws[n], st, c.User.Space, keys[n], x.Addr, x.Val, abi.FUTEX_BITSET_MATCH_ANY, d); e != 0 || again {
				break
			}
		}
		if n == len(words) {
			break
		}
		if i := leaveAll(ws[:n]); i >= 0 {
			return i, 0
		}
		if !again {
			return 0, e
		}
		if e := fetch(c, words[n].Addr); e != 0 {
			return 0, e
		}
	}
	out := tb.sleep(c, &st.q, d, func() bool {
		for i := range ws {
			if ws[i].b.Load() == nil {
				return true
			}
		}
		return false
	})
	if i := leaveAll(ws); i >= 0 {
		return i, 0
	}
	return 0, outcome(out)
}

// leaveAll takes all of ws out, and returns the last that had been woken; -1: none.
func leaveAll(ws []waiter) int {
	woken := -1
	for i := range ws {
		if !ws[i].leave() {
			woken = i
		}
	}
	return woken
}
