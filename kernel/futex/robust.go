package futex

import (
	"goum/arch/abi"
	"goum/mm"
)

// ExitRobust releases the locks of the robust list at head, which a thread that ends has registered: each word of its own is marked FUTEX_OWNER_DIED,
// and one waiter woken. The list is the guest's to break: what cannot be read ends the walk, and so do robustLimit entries. Then the
// priority inheriting locks that others wait for go to those. set_robust_list(2); the thread's own goroutine calls it, and may sleep.
func (tb *Table) ExitRobust(u mm.User, head uint64, tid int32) {
	tb.walk(u, head, tid)
	tb.exitPI(tid)
}

func (tb *Table) walk(u mm.User, head uint64, tid int32) {
	entry, pi, ok := entryAt(u, head)
	if !ok {
		return
	}
	off, ok := load64(u, head+8)
	if !ok {
		return
	}
	pending, pendingPI, ok := entryAt(u, head+16)
	if !ok {
		return
	}
	for n := 0; entry != head; n++ {
		if n == robustLimit {
			break
		}
		next, nextPI, ok := entryAt(u, entry)
		if entry != pending && !tb.died(u, entry+off, tid, pi, false) {
			return
		}
		if !ok {
			return
		}
		entry, pi = next, nextPI
	}
	if pending != 0 {
		tb.died(u, pending+off, tid, pendingPI, true)
	}
}

// entryAt reads a pointer of the list; its lowest bit marks a priority inheriting lock.
func entryAt(u mm.User, addr uint64) (entry uint64, pi, ok bool) {
	v, ok := load64(u, addr)
	return v &^ 1, v&1 != 0, ok
}

// load64 reads eight bytes at any address.
func load64(u mm.User, addr uint64) (v uint64, ok bool) {
	var b [8]byte
	if u.CopyIn(b[:], addr) != 0 {
		return 0, false
	}
	for i, x := range b {
		v |= uint64(x) << (8 * i)
	}
	return v, true
}

// died is handle_futex_death: false ends the walk.
func (tb *Table) died(u mm.User, addr uint64, tid int32, pi, pending bool) bool {
	if addr%4 != 0 {
		return false
	}
	v, e := u.Load32(addr)
	for range deathTries {
		if e != 0 {
			return false
		}
		owner := int32(v & abi.FUTEX_TID_MASK)
		if pending && !pi && owner == 0 {
			// It ended between unlocking and waking.
			tb.WakeOne(u, addr)
			return true
		}
		if owner != tid {
			return true
		}
		var was uint32
		if was, e = u.Cas32(addr, v, v&abi.FUTEX_WAITERS|abi.FUTEX_OWNER_DIED); e == 0 && was == v {
			if !pi && v&abi.FUTEX_WAITERS != 0 {
				tb.WakeOne(u, addr)
			}
			return true
		}
		v = was
	}
	return true
}
