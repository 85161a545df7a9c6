package futex

import (
	"goum/arch/abi"
	"goum/arch/lock"
	"goum/mm"
)

// Wake wakes up to n waiters of the futex at addr that have a bit of bitset, and counts them; one at least, as Linux does for n < 1.
// FUTEX_WAKE_BITSET of futex(2): EINVAL (bitset 0, alignment, waiters of FUTEX_LOCK_PI), EFAULT.
func (tb *Table) Wake(u mm.User, addr uint64, shared bool, n int32, bitset uint32) (int, abi.Errno) {
	if bitset == 0 {
		return 0, abi.EINVAL
	}
	k, e := key(u, addr, shared)
	if e != 0 {
		return 0, e
	}
	b := tb.bucket(k)
	if b.waiting.Load() == 0 {
		return 0, 0
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.wakeSome(k, n, bitset)
}

// wakeSome wakes in the order of arrival. mu is held.
func (b *bucket) wakeSome(k mm.Key, n int32, bitset uint32) (woken int, e abi.Errno) {
	for w := b.head; w != nil; {
		next := w.next
		if w.key == k {
			if w.pi {
				return woken, abi.EINVAL
			}
			if w.bitset&bitset != 0 {
				b.wake(w)
				if woken++; int32(woken) >= n {
					break
				}
			}
		}
		w = next
	}
	return woken, 0
}

// WakeOne wakes one waiter of the word at addr, whoever maps it: what the kernel does at a thread's end. Errors are nobody's to see.
func (tb *Table) WakeOne(u mm.User, addr uint64) {
	tb.Wake(u, addr, true, 1, abi.FUTEX_BITSET_MATCH_ANY)
}

// Requeue wakes up to nWake waiters of the futex at addr and moves up to nMove of the others to addr2; it counts both. With cmp, only if the word at
// addr is *cmp: EAGAIN. FUTEX_REQUEUE and FUTEX_CMP_REQUEUE of futex(2): EINVAL (a negative number, alignment, waiters of FUTEX_LOCK_PI), EFAULT.
func (tb *Table) Requeue(c Caller, addr uint64, shared bool, addr2 uint64, shared2 bool, nWake, nMove int32, cmp *uint32) (int, abi.Errno) {
	if nWake < 0 || nMove < 0 {
		return 0, abi.EINVAL
	}
	for {
		k1, e := key(c.User, addr, shared)
		if e != 0 {
			return 0, e
		}
		k2, e := key(c.User, addr2, shared2)
		if e != 0 {
			return 0, e
		}
		b1, b2 := tb.bucket(k1), tb.bucket(k2)
		b2.waiting.Add(1) // who changes the second word while waiters move is not to look past them
		lock.Two(&b1.mu, &b2.mu)
		ok := true
		if cmp != nil {
			var v uint32
			if v, ok = c.User.Space.Load32NoFault(addr); ok && v != *cmp {
				e = abi.EAGAIN
			}
		}
		n := 0
		if ok && e == 0 {
			n, e = requeue(b1, b2, k1, k2, nWake, nMove)
		}
		b2.waiting.Add(-1)
		lock.UnlockTwo(&b1.mu, &b2.mu)
		if ok {
			return n, e
		}
		if e := fetch(c, addr); e != 0 {
			return 0, e
		}
	}
}

// requeue does it with both locks held.
func requeue(b1, b2 *bucket, k1, k2 mm.Key, nWake, nMove int32) (n int, e abi.Errno) {
	for w := b1.head; w != nil; {
		next := w.next
		if int64(n)-int64(nWake) >= int64(nMove) {
			break
		}
		if w.key == k1 {
			if w.pi {
				return n, abi.EINVAL
			}
			if n++; int64(n) <= int64(nWake) {
				b1.wake(w)
			} else if w.key = k2; b1 != b2 { // within one bucket it keeps its place, as in Linux
				b1.unlink(w)
				b2.waiting.Add(1)
				b2.push(w)
			}
		}
		w = next
	}
	return n, 0
}

// WakeOp changes the word at addr2 as op says, wakes up to n waiters at addr, and up to n2 at addr2 if what was there passes op's
// comparison. It counts both. FUTEX_WAKE_OP of futex(2): EINVAL (alignment, waiters of FUTEX_LOCK_PI), EFAULT, ENOSYS (no such operation or comparison;
// the word may be changed all the same).
func (tb *Table) WakeOp(c Caller, addr, addr2 uint64, shared bool, n, n2 int32, op uint32) (int, abi.Errno) {
	for {
		k1, e := key(c.User, addr, shared)
		if e != 0 {
			return 0, e
		}
		k2, e := key(c.User, addr2, shared)
		if e != 0 {
			return 0, e
		}
		b1, b2 := tb.bucket(k1), tb.bucket(k2)
		lock.Two(&b1.mu, &b2.mu)
		hit, e, ok := change(c.User.Space, addr2, op)
		total := 0
		if ok && e == 0 {
			if total, e = b1.wakeSome(k1, n, abi.FUTEX_BITSET_MATCH_ANY); e == 0 && hit {
				var more int
				more, e = b2.wakeSome(k2, n2, abi.FUTEX_BITSET_MATCH_ANY)
				total += more
			}
		}
		lock.UnlockTwo(&b1.mu, &b2.mu)
		if ok {
			return total, e
		}
		if e := touch(c, addr2); e != 0 {
			return 0, e
		}
	}
}

// change is futex_atomic_op_inuser: it says whether the old value passes the comparison. ok is false if the page is not there.
func change(s *mm.Space, addr uint64, encoded uint32) (hit bool, e abi.Errno, ok bool) {
	op, cmp := encoded>>28&7, encoded>>24&15
	arg := int32(encoded<<8) >> 20 // 12 bits, signed
	cmparg := int32(encoded<<20) >> 20
	if encoded&(abi.FUTEX_OP_OPARG_SHIFT<<28) != 0 {
		arg = 1 << (uint32(arg) & 31)
	}
	if op > abi.FUTEX_OP_XOR {
		return false, abi.ENOSYS, true
	}
	old, ok := s.Load32NoFault(addr)
	for ok {
		v := old
		switch op {
		case abi.FUTEX_OP_SET:
			v = uint32(arg)
		case abi.FUTEX_OP_ADD:
			v += uint32(arg)
		case abi.FUTEX_OP_OR:
			v |= uint32(arg)
		case abi.FUTEX_OP_ANDN:
			v &^= uint32(arg)
		case abi.FUTEX_OP_XOR:
			v ^= uint32(arg)
		}
		var was uint32
		if was, ok = s.Cas32NoFault(addr, old, v); was == old {
			break
		}
		old = was
	}
	if !ok {
		return false, 0, false
	}
	switch v := int32(old); cmp {
	case abi.FUTEX_OP_CMP_EQ:
		hit = v == cmparg
	case abi.FUTEX_OP_CMP_NE:
		hit = v != cmparg
	case abi.FUTEX_OP_CMP_LT:
		hit = v < cmparg
	case abi.FUTEX_OP_CMP_LE:
		hit = v <= cmparg
	case abi.FUTEX_OP_CMP_GT:
		hit = v > cmparg
	case abi.FUTEX_OP_CMP_GE:
		hit = v >= cmparg
	default:
		e = abi.ENOSYS
	}
	return hit, e, true
}
