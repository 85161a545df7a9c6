package signal

import (
	"math/bits"
	"sync"

	"goum/arch/abi"
	"goum/kernel/cred"
)

// Entry is a signal in a queue. Most belong to the Queue; a timer has its own and sends it with EntryTarget.
type Entry struct {
	Info Info
	// OnTake, of an Entry of a timer's own, is called under the owner's lock.Signals when the signal is taken, and may fill the overrun
	// into info and arrange for the next expiry; info is nil when the signal was dropped unseen. It must not block.
	OnTake func(info *Info)

	user   *cred.User // counted for, nil: not at all
	next   *Entry
	queued bool
	own    bool // somebody else's: not to be recycled
}

var entries = sync.Pool{New: func() any { return new(Entry) }}

// Queue is the signals that are pending for a thread or for a process. The zero value is empty.
type Queue struct {
	set        Set
	head, tail *Entry
}

// Pending is the set of signals in q.
func (q *Queue) Pending() Set { return q.set }

// Add queues a signal. limit is RLIMIT_SIGPENDING for user. A standard signal that is pending already is dropped. Beyond the limit
// a real-time signal that was queued with a value is EAGAIN; of all others only the fact is kept, without the siginfo.
func (q *Queue) Add(info *Info, user *cred.User, limit uint64) abi.Errno {
	sig := int(info.Signo)
	if !Valid(sig) {
		return abi.EINVAL
	}
	standard := sig < abi.SIGRTMIN
	if standard && q.set.Has(sig) {
		return 0
	}
	if sig == abi.SIGKILL {
		q.set |= Bit(sig)
		return 0
	}
	if standard && info.Code >= 0 {
		limit = ^uint64(0) // the kernel's word, and plain kill's, always gets through with its siginfo
	}
	if user != nil && !cred.Take(&user.Signals, limit) {
		if !standard && info.Code != abi.SI_USER {
			return abi.EAGAIN
		}
		q.set |= Bit(sig)
		return 0
	}
	e := entries.Get().(*Entry)
	*e = Entry{Info: *info, user: user}
	q.push(e)
	return 0
}

// AddEntry queues an Entry of the caller's own. False: it is queued already, here or elsewhere.
func (q *Queue) AddEntry(e *Entry) bool {
	if e.queued || !Valid(int(e.Info.Signo)) {
		return false
	}
	e.own = true
	q.push(e)
	return true
}

// Queued says whether e is pending; the lock of its owner must be held.
func (e *Entry) Queued() bool { return e.queued }

func (q *Queue) push(e *Entry) {
	e.queued, e.next = true, nil
	if q.tail == nil {
		q.head = e
	} else {
		q.tail.next = e
	}
	q.tail = e
	q.set |= Bit(int(e.Info.Signo))
}

// unlink takes e, which follows prev (nil: is the head), out of the list.
func (q *Queue) unlink(prev, e *Entry) {
	if prev == nil {
		q.head = e.next
	} else {
		prev.next = e.next
	}
	if q.tail == e {
		q.tail = prev
	}
	e.next, e.queued = nil, false
	if e.user != nil {
		e.user.Signals.Add(-1)
		e.user = nil
	}
}

// release calls the owner of an unlinked e, or recycles it.
func (e *Entry) release(info *Info) {
	if e.own {
		if e.OnTake != nil {
			e.OnTake(info)
		}
		return
	}
	entries.Put(e)
}

// Next is the signal of q that is taken next when those of blocked are not: synchronous ones first, then the lowest; 0 is none.
func (q *Queue) Next(blocked Set) int {
	s := q.set &^ blocked
	if s&Synchronous != 0 {
		s &= Synchronous
	}
	if s == 0 {
		return 0
	}
	return bits.TrailingZeros64(uint64(s)) + 1
}

// Take takes the first sig out of q. One whose siginfo was lost comes as SI_USER of nobody, as in Linux.
func (q *Queue) Take(sig int, info *Info) {
	var prev, hit, hitPrev *Entry
	more := false
	for e := q.head; e != nil; prev, e = e, e.next {
		if int(e.Info.Signo) != sig {
			continue
		}
		if hit != nil {
			more = true
			break
		}
		hit, hitPrev = e, prev
	}
	if !more {
		q.set &^= Bit(sig)
	}
	if hit == nil {
		*info = Info{Signo: int32(sig), Code: abi.SI_USER}
		return
	}
	*info = hit.Info
	q.unlink(hitPrev, hit)
	hit.release(info)
}

// TakeSynchronous takes the first signal of q that an instruction caused and that is not blocked; 0 is none. A kill(2)
// with such a number is not one.
func (q *Queue) TakeSynchronous(blocked Set, info *Info) int {
	if q.set&^blocked&Synchronous == 0 {
		return 0
	}
	var prev *Entry
	for e := q.head; e != nil; prev, e = e, e.next {
		sig := int(e.Info.Signo)
		if e.Info.Code <= abi.SI_USER || !(Synchronous &^ blocked).Has(sig) {
			continue
		}
		*info = e.Info
		q.unlink(prev, e)
		q.recount(sig)
		e.release(info)
		return sig
	}
	return 0
}

// recount drops sig from the set when no entry has it any more.
func (q *Queue) recount(sig int) {
	for e := q.head; e != nil; e = e.next {
		if int(e.Info.Signo) == sig {
			return
		}
	}
	q.set &^= Bit(sig)
}

// Drop throws away all signals of s, and says whether there were any.
func (q *Queue) Drop(s Set) bool {
	if q.set&s == 0 {
		return false
	}
	q.set &^= s
	var prev *Entry
	for e := q.head; e != nil; {
		next := e.next
		if s.Has(int(e.Info.Signo)) {
			q.unlink(prev, e)
			e.release(nil)
		} else {
			prev = e
		}
		e = next
	}
	return true
}

// Remove takes e, an Entry of the caller's own, out of q without a call of OnTake: its timer is deleted or set anew.
func (q *Queue) Remove(e *Entry) bool {
	var prev *Entry
	for c := q.head; c != nil; prev, c = c, c.next {
		if c == e {
			q.unlink(prev, e)
			q.recount(int(e.Info.Signo))
			return true
		}
	}
	return false
}
