package futex

import (
	"encoding/binary"

	"goum/arch/abi"
)

// Restart goes on with a wait that a signal has interrupted: what restart_syscall(2) is to run when a call returns
// ERESTART_RESTARTBLOCK. It may be interrupted again.
type Restart func(c Caller) (uint64, abi.Errno, Restart)

// Call is futex(2), with the arguments as the guest gives them; timeout is an address, or a number (val2), as op has it. Unknown
// operations are ENOSYS.
func (tb *Table) Call(c Caller, addr uint64, op, val uint32, timeout, addr2 uint64, val3 uint32) (uint64, abi.Errno, Restart) {
	cmd := op & (abi.FUTEX_CMD_MASK & 0xffffffff)
	shared := op&abi.FUTEX_PRIVATE_FLAG == 0
	real := op&abi.FUTEX_CLOCK_REALTIME != 0
	var d Deadline
	switch cmd {
	case abi.FUTEX_WAIT, abi.FUTEX_WAIT_BITSET, abi.FUTEX_LOCK_PI, abi.FUTEX_LOCK_PI2, abi.FUTEX_WAIT_REQUEUE_PI:
		if timeout == 0 {
			break
		}
		ns, e := timespec(c, timeout)
		if e != 0 {
			return 0, e, nil
		}
		d = Deadline{At: ns, Set: true, Real: real || cmd == abi.FUTEX_LOCK_PI}
		if cmd == abi.FUTEX_WAIT {
			d.At = int64(tb.clk.Monotonic().Add(ns))
		}
	}
	if real && cmd != abi.FUTEX_WAIT_BITSET && cmd != abi.FUTEX_LOCK_PI2 {
		return 0, abi.ENOSYS, nil
	}
	switch val2 := int32(timeout); cmd {
	case abi.FUTEX_WAIT:
		return tb.wait(c, addr, shared, val, abi.FUTEX_BITSET_MATCH_ANY, d)
	case abi.FUTEX_WAIT_BITSET:
		return tb.wait(c, addr, shared, val, val3, d)
	case abi.FUTEX_WAKE:
		return result(tb.Wake(c.User, addr, shared, int32(val), abi.FUTEX_BITSET_MATCH_ANY))
	case abi.FUTEX_WAKE_BITSET:
		return result(tb.Wake(c.User, addr, shared, int32(val), val3))
	case abi.FUTEX_REQUEUE:
		return result(tb.Requeue(c, addr, shared, addr2, shared, int32(val), val2, nil))
	case abi.FUTEX_CMP_REQUEUE:
		return result(tb.Requeue(c, addr, shared, addr2, shared, int32(val), val2, &val3))
	case abi.FUTEX_WAKE_OP:
		return result(tb.WakeOp(c, addr, addr2, shared, int32(val), val2, val3))
	case abi.FUTEX_LOCK_PI, abi.FUTEX_LOCK_PI2:
		return 0, tb.LockPI(c, addr, shared, d, false), nil
	case abi.FUTEX_TRYLOCK_PI:
		return 0, tb.LockPI(c, addr, shared, Deadline{}, true), nil
	case abi.FUTEX_UNLOCK_PI:
		return 0, tb.UnlockPI(c, addr, shared), nil
	}
	return 0, abi.ENOSYS, nil
}

func result(n int, e abi.Errno) (uint64, abi.Errno, Restart) {
	if e != 0 {
		return 0, e, nil
	}
	return uint64(n), 0, nil
}

// wait is Wait with Linux's restart: without a timeout the call is simply made again, else it goes on until the same moment.
func (tb *Table) wait(c Caller, addr uint64, shared bool, val, bitset uint32, d Deadline) (uint64, abi.Errno, Restart) {
	e := tb.Wait(c, addr, shared, val, bitset, d)
	if e == abi.ERESTARTSYS && d.Set {
		return 0, abi.ERESTART_RESTARTBLOCK, tb.later(addr, shared, val, bitset, d)
	}
	return 0, e, nil
}

// later is apart from wait, so that only an interrupted wait allocates.
func (tb *Table) later(addr uint64, shared bool, val, bitset uint32, d Deadline) Restart {
	return func(c Caller) (uint64, abi.Errno, Restart) { return tb.wait(c, addr, shared, val, bitset, d) }
}

// timespec reads a struct timespec: EFAULT, EINVAL (negative, or no proper fraction). In nanoseconds.
func timespec(c Caller, addr uint64) (int64, abi.Errno) {
	var b [16]byte
	if e := c.User.CopyIn(b[:], addr); e != 0 {
		return 0, fault(e)
	}
	ts := abi.Timespec{Sec: int64(binary.LittleEndian.Uint64(b[:])), Nsec: int64(binary.LittleEndian.Uint64(b[8:]))}
	if !ts.Valid() {
		return 0, abi.EINVAL
	}
	return ts.Ns(), 0
}

// until is the absolute timeout of the newer calls: EINVAL (another clock), EFAULT.
func until(c Caller, addr uint64, clockID int32) (Deadline, abi.Errno) {
	if addr == 0 {
		return Deadline{}, 0
	}
	if clockID != abi.CLOCK_REALTIME && clockID != abi.CLOCK_MONOTONIC {
		return Deadline{}, abi.EINVAL
	}
	ns, e := timespec(c, addr)
	return Deadline{At: ns, Set: true, Real: clockID == abi.CLOCK_REALTIME}, e
}

// valid checks the flags of the newer calls, and that val fits a futex of that size: only 32 bits there are, and none by NUMA node.
func valid(flags uint32, val uint64) bool {
	return flags&^abi.FUTEX2_PRIVATE == abi.FUTEX2_SIZE_U32 && val>>32 == 0
}

// waitv reads n struct futex_waitv into words: EFAULT, EINVAL.
func waitv(c Caller, addr uint64, words []WaitWord) abi.Errno {
	for i := range words {
		var b [24]byte
		if e := c.User.CopyIn(b[:], addr+uint64(i)*24); e != 0 {
			return fault(e)
		}
		val, flags := binary.LittleEndian.Uint64(b[0:]), binary.LittleEndian.Uint32(b[16:])
		if binary.LittleEndian.Uint32(b[20:]) != 0 || !valid(flags, val) {
			return abi.EINVAL
		}
		words[i] = WaitWord{Addr: binary.LittleEndian.Uint64(b[8:]), Val: uint32(val), Shared: flags&abi.FUTEX2_PRIVATE == 0}
	}
	return 0
}

// CallWaitv is futex_waitv(2): the index of one that was woken.
func (tb *Table) CallWaitv(c Caller, addr uint64, n, flags uint32, timeout uint64, clockID int32) (uint64, abi.Errno) {
	if flags != 0 || n == 0 || n > maxWaitv || addr == 0 {
		return 0, abi.EINVAL
	}
	d, e := until(c, timeout, clockID)
	if e != 0 {
		return 0, e
	}
	var room [maxWaitv]WaitWord
	words := room[:n]
	if e := waitv(c, addr, words); e != 0 {
		return 0, e
	}
	i, e := tb.WaitMany(c, words, d)
	return uint64(i), e
}

// CallWake is futex_wake(2), number 454.
func (tb *Table) CallWake(c Caller, addr, mask uint64, n int32, flags uint32) (uint64, abi.Errno) {
	if !valid(flags, mask) {
		return 0, abi.EINVAL
	}
	if mask != 0 && n == 0 {
		_, e := key(c.User, addr, flags&abi.FUTEX2_PRIVATE == 0)
		return 0, e
	}
	k, e := tb.Wake(c.User, addr, flags&abi.FUTEX2_PRIVATE == 0, n, uint32(mask))
	if e != 0 {
		return 0, e
	}
	return uint64(k), 0
}

// CallWait is futex_wait(2), number 455. A signal is ERESTARTSYS: the timeout is absolute.
func (tb *Table) CallWait(c Caller, addr, val, mask uint64, flags uint32, timeout uint64, clockID int32) abi.Errno {
	if !valid(flags, val) || !valid(flags, mask) {
		return abi.EINVAL
	}
	d, e := until(c, timeout, clockID)
	if e != 0 {
		return e
	}
	return tb.Wait(c, addr, flags&abi.FUTEX2_PRIVATE == 0, uint32(val), uint32(mask), d)
}

// CallRequeue is futex_requeue(2), number 456: addr is of two struct futex_waitv, the first with the value to compare.
func (tb *Table) CallRequeue(c Caller, addr uint64, flags uint32, nWake, nMove int32) (uint64, abi.Errno) {
	if flags != 0 || addr == 0 {
		return 0, abi.EINVAL
	}
	var w [2]WaitWord
	if e := waitv(c, addr, w[:]); e != 0 {
		return 0, e
	}
	n, e := tb.Requeue(c, w[0].Addr, w[0].Shared, w[1].Addr, w[1].Shared, nWake, nMove, &w[0].Val)
	return uint64(n), e
}
