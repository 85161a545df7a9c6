package cred

import "goum/arch/abi"

// Caps is a set of capabilities: bit n is capability n.
type Caps uint64

// AllCaps is every capability that exists; bits beyond it are never set.
const AllCaps Caps = 1<<(abi.CAP_LAST_CAP+1) - 1

// fsCaps are those that follow the file system user number: CAP_FS_SET.
const fsCaps Caps = 1<<abi.CAP_CHOWN | 1<<abi.CAP_MKNOD | 1<<abi.CAP_DAC_OVERRIDE | 1<<abi.CAP_DAC_READ_SEARCH |
	1<<abi.CAP_FOWNER | 1<<abi.CAP_FSETID | 1<<abi.CAP_LINUX_IMMUTABLE | 1<<abi.CAP_MAC_OVERRIDE

// Cap is the set of just cap; of a number that is no capability it is the empty set.
func Cap(cap int) Caps {
	if cap < 0 || cap > abi.CAP_LAST_CAP {
		return 0
	}
	return 1 << cap
}

// Has says whether cap is in s.
func (s Caps) Has(cap int) bool { return s&Cap(cap) != 0 }

// Subset says whether all of s is in of.
func (s Caps) Subset(of Caps) bool { return s&^of == 0 }

// SetCaps is capset(2) for the caller itself: EPERM. Bits that are no capability are ignored.
func (c *Cred) SetCaps(effective, permitted, inheritable Caps) (*Cred, abi.Errno) {
	effective, permitted, inheritable = effective&AllCaps, permitted&AllCaps, inheritable&AllCaps
	switch {
	case !c.Has(abi.CAP_SETPCAP) && !inheritable.Subset(c.Inheritable|c.Permitted),
		!inheritable.Subset(c.Inheritable | c.Bounding),
		!permitted.Subset(c.Permitted),
		!effective.Subset(permitted):
		return c, abi.EPERM
	}
	n := c.copy()
	n.Effective, n.Permitted, n.Inheritable = effective, permitted, inheritable
	n.Ambient &= permitted & inheritable
	return n, 0
}

// Prctl answers the calls of prctl(2) that are about capabilities, securebits and no_new_privs. known is false for any other,
// which the caller then has to answer. next is c itself where nothing changed.
func (c *Cred) Prctl(op int32, a2, a3, a4, a5 uint64) (next *Cred, result uint64, e abi.Errno, known bool) {
	next = c
	switch op {
	case abi.PR_CAPBSET_READ:
		if a2 > abi.CAP_LAST_CAP {
			return c, 0, abi.EINVAL, true
		}
		result = bit(c.Bounding.Has(int(a2)))
	case abi.PR_CAPBSET_DROP:
		switch {
		case !c.Has(abi.CAP_SETPCAP):
			return c, 0, abi.EPERM, true
		case a2 > abi.CAP_LAST_CAP:
			return c, 0, abi.EINVAL, true
		}
		next = c.copy()
		next.Bounding &^= Cap(int(a2))
	case abi.PR_GET_SECUREBITS:
		result = uint64(c.Securebits)
	case abi.PR_SET_SECUREBITS:
		next, e = c.setSecurebits(a2)
	case abi.PR_GET_KEEPCAPS:
		result = bit(c.Securebits&abi.SECBIT_KEEP_CAPS != 0)
	case abi.PR_SET_KEEPCAPS:
		switch {
		case a2 > 1:
			return c, 0, abi.EINVAL, true
		case c.Securebits&abi.SECBIT_KEEP_CAPS_LOCKED != 0:
			return c, 0, abi.EPERM, true
		}
		next = c.copy()
		next.Securebits &^= abi.SECBIT_KEEP_CAPS
		if a2 == 1 {
			next.Securebits |= abi.SECBIT_KEEP_CAPS
		}
	case abi.PR_CAP_AMBIENT:
		next, result, e = c.ambient(a2, a3, a4, a5)
	case abi.PR_SET_NO_NEW_PRIVS:
		if a2 != 1 || a3 != 0 || a4 != 0 || a5 != 0 {
			return c, 0, abi.EINVAL, true
		}
		next = c.SetNoNewPrivs()
	case abi.PR_GET_NO_NEW_PRIVS:
		if a2 != 0 || a3 != 0 || a4 != 0 || a5 != 0 {
			return c, 0, abi.EINVAL, true
		}
		result = bit(c.NoNewPrivs)
	default:
		return c, 0, 0, false
	}
	return next, result, e, true
}

func (c *Cred) setSecurebits(bits uint64) (*Cred, abi.Errno) {
	old := uint64(c.Securebits)
	switch {
	case old&abi.SECURE_ALL_LOCKS>>1&(old^bits) != 0, // a locked bit changes
		old&abi.SECURE_ALL_LOCKS&^bits != 0, // a lock opens
		bits&^(abi.SECURE_ALL_LOCKS|abi.SECURE_ALL_BITS) != 0:
		return c, abi.EPERM
	case !c.Has(abi.CAP_SETPCAP):
		// Two bits are promises between programs of user space: whoever likes may make them. A call that changes nothing is
		// refused as it always was.
		if old == bits || (old^bits)&^(abi.SECURE_ALL_UNPRIVILEGED|abi.SECURE_ALL_UNPRIVILEGED<<1) != 0 {
			return c, abi.EPERM
		}
	}
	n := c.copy()
	n.Securebits = uint32(bits)
	return n, 0
}

func (c *Cred) ambient(op, cap, a4, a5 uint64) (*Cred, uint64, abi.Errno) {
	if op == abi.PR_CAP_AMBIENT_CLEAR_ALL {
		if cap|a4|a5 != 0 {
			return c, 0, abi.EINVAL
		}
		n := c.copy()
		n.Ambient = 0
		return n, 0, 0
	}
	if cap > abi.CAP_LAST_CAP || a4|a5 != 0 {
		return c, 0, abi.EINVAL
	}
	set := Cap(int(cap))
	switch op {
	case abi.PR_CAP_AMBIENT_IS_SET:
		return c, bit(c.Ambient&set != 0), 0
	case abi.PR_CAP_AMBIENT_RAISE:
		if !set.Subset(c.Permitted&c.Inheritable) || c.Securebits&abi.SECBIT_NO_CAP_AMBIENT_RAISE != 0 {
			return c, 0, abi.EPERM
		}
		n := c.copy()
		n.Ambient |= set
		return n, 0, 0
	case abi.PR_CAP_AMBIENT_LOWER:
		n := c.copy()
		n.Ambient &^= set
		return n, 0, 0
	}
	return c, 0, abi.EINVAL
}

func bit(b bool) uint64 {
	if b {
		return 1
	}
	return 0
}
