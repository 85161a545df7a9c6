package mm

import (
	"bytes"
	"sync/atomic"

	"goum/arch/abi"
	"goum/arch/lock"
	"goum/physmem"
)

// User is a task's view of its memory: the only way to it. Its methods are called with no lock held, for a copy may
// fault, and a fault may sleep.
//
// A copy walks the page table in software and holds its lock (Space.pt) for one page's worth at a time, 0.1 us: the
// frame can then neither be freed nor shared by a fork while bytes move. A reference taken instead would keep the frame, but
// let a copy land in a page that fork has given to the child meanwhile, and make the page look shared.
// What the guest's other threads do to the bytes at the same time is their affair, as on a real machine.
type User struct {
	Space *Space
	Sleep Sleeper
	Force bool // ptrace: reads what is PROT_NONE, and writes to private copies of what is read-only
}

// CopyIn fills dst from addr: all of it, or EFAULT (ENOMEM: no frame for it; EINTR: killed while a page was fetched).
func (u User) CopyIn(dst []byte, addr Addr) abi.Errno {
	_, e := u.CopyInSome(dst, addr)
	return e
}

// CopyOut copies src to addr: all of it, or an errno as for CopyIn; what comes before the bad page has been written then.
func (u User) CopyOut(addr Addr, src []byte) abi.Errno {
	_, e := u.CopyOutSome(addr, src)
	return e
}

// CopyInSome is CopyIn that says how many bytes it got.
func (u User) CopyInSome(dst []byte, addr Addr) (int, abi.Errno) {
	return u.move(addr, dst, len(dst), toKernel)
}

// CopyOutSome is CopyOut that says how many bytes it wrote.
func (u User) CopyOutSome(addr Addr, src []byte) (int, abi.Errno) {
	return u.move(addr, src, len(src), toGuest)
}

// Clear writes n zero bytes to addr.
func (u User) Clear(addr Addr, n int) abi.Errno {
	_, e := u.move(addr, nil, n, zeroGuest)
	return e
}

type direction uint8

const (
	toKernel direction = iota
	toGuest
	zeroGuest
)

func (u User) move(addr Addr, b []byte, n int, d direction) (int, abi.Errno) {
	lock.AssertNoneHeld("a copy from or to the guest")
	if n <= 0 {
		return 0, 0
	}
	if addr > TaskSize || uint64(n) > TaskSize-addr {
		return 0, abi.EFAULT
	}
	s := u.Space
	done, tries := 0, 0
	for done < n {
		a := addr + uint64(done)
		s.pt.Lock()
		p := s.page(a, d != toKernel, u.Force)
		if p != nil {
			k := min(n-done, len(p))
			switch d {
			case toKernel:
				copy(b[done:done+k], p)
			case toGuest:
				copy(p, b[done:done+k])
			case zeroGuest:
				clear(p[:k])
			}
			done += k
		}
		s.pt.Unlock()
		if p != nil {
			tries = 0
			continue
		}
		access := Read
		if d != toKernel {
			access = Write
		}
		if e := u.fault(a, access, (n-done)>>PageShift, &tries); e != 0 {
			return done, e
		}
	}
	return done, 0
}

// fault makes the page of a accessible, with more pages from there on in mind.
func (u User) fault(a Addr, access Access, more int, tries *int) abi.Errno {
	if *tries++; *tries > faultTries {
		return abi.EFAULT
	}
	switch u.Space.fault(a, access, u.Sleep, how{kernel: true, force: u.Force, most: more}) {
	case Resolved:
		return 0
	case OutOfMemory:
		return abi.ENOMEM
	case Interrupted:
		return abi.EINTR
	}
	return abi.EFAULT
}

// page returns the bytes from a to the end of its page if the page table lets the guest (or force) at them; pt is held.
func (s *Space) page(a Addr, write, force bool) []byte {
	p := s.table.get(a)
	switch {
	case p.frame() == 0:
		return nil
	case !write:
		if p&ptePresent == 0 && !force {
			return nil
		}
	case p&pteWrite != 0:
	case p&pteLost != 0 && s.ops.forking(): // just shared, and the guest's own threads may still write to it: see copyOnWrite
	case force && p&pteAnon != 0 && s.mem.RefCount(p.frame()) == 1:
	default:
		return nil
	}
	return s.mem.Bytes(p.frame())[a&pageMask:]
}

// CopyString reads a string of less than most bytes that ends with a NUL, which is not part of the result: EFAULT, ENAMETOOLONG
// (no NUL in most bytes).
func (u User) CopyString(addr Addr, most int) (string, abi.Errno) {
	var room [256]byte
	b, e := u.AppendString(room[:0], addr, most)
	return string(b), e
}

// AppendString is CopyString that appends to b.
func (u User) AppendString(b []byte, addr Addr, most int) ([]byte, abi.Errno) {
	lock.AssertNoneHeld("a copy from or to the guest")
	s := u.Space
	for tries := 0; most > 0; {
		if addr >= TaskSize {
			return b, abi.EFAULT
		}
		s.pt.Lock()
		p := s.page(addr, false, u.Force)
		end := false
		if p != nil {
			p = p[:min(len(p), most)]
			if i := bytes.IndexByte(p, 0); i >= 0 {
				p, end = p[:i], true
			}
			b = append(b, p...)
		}
		s.pt.Unlock()
		switch {
		case end:
			return b, 0
		case p == nil:
			if e := u.fault(addr, Read, 0, &tries); e != 0 {
				return b, e
			}
		default:
			tries = 0
			addr += uint64(len(p))
			most -= len(p)
		}
	}
	return b, abi.ENAMETOOLONG
}

// word calls do with the frame of a, whose page is readable, or writable. size is 4 or 8; EINVAL if addr is no multiple of it.
func (u User) word(addr Addr, size uint64, write bool, do func(f physmem.Frame)) abi.Errno {
	lock.AssertNoneHeld("a copy from or to the guest")
	if addr%size != 0 {
		return abi.EINVAL
	}
	if addr >= TaskSize {
		return abi.EFAULT
	}
	s := u.Space
	access := Read
	if write {
		access = Write
	}
	for tries := 0; ; {
		s.pt.Lock()
		ok := s.page(addr, write, u.Force) != nil
		if ok {
			do(s.table.get(addr).frame())
		}
		s.pt.Unlock()
		if ok {
			return 0
		}
		if e := u.fault(addr, access, 0, &tries); e != 0 {
			return e
		}
	}
}

func (s *Space) word32(f physmem.Frame, addr Addr) *atomic.Uint32 {
	return s.mem.Word32(f, addr&pageMask)
}
func (s *Space) word64(f physmem.Frame, addr Addr) *atomic.Uint64 {
	return s.mem.Word64(f, addr&pageMask)
}

// Load32 reads a word atomically: EFAULT, EINVAL (alignment).
func (u User) Load32(addr Addr) (v uint32, e abi.Errno) {
	e = u.word(addr, 4, false, func(f physmem.Frame) { v = u.Space.word32(f, addr).Load() })
	return v, e
}

// Store32 writes a word atomically: EFAULT, EINVAL (alignment).
func (u User) Store32(addr Addr, v uint32) abi.Errno {
	return u.word(addr, 4, true, func(f physmem.Frame) { u.Space.word32(f, addr).Store(v) })
}

// Cas32 stores new if the word is old, atomically, and returns what it was: EFAULT, EINVAL (alignment).
func (u User) Cas32(addr Addr, old, new uint32) (prev uint32, e abi.Errno) {
	e = u.word(addr, 4, true, func(f physmem.Frame) { prev = cas32(u.Space.word32(f, addr), old, new) })
	return prev, e
}

// Load64 reads a word atomically: EFAULT, EINVAL (alignment).
func (u User) Load64(addr Addr) (v uint64, e abi.Errno) {
	e = u.word(addr, 8, false, func(f physmem.Frame) { v = u.Space.word64(f, addr).Load() })
	return v, e
}

// Store64 writes a word atomically: EFAULT, EINVAL (alignment).
func (u User) Store64(addr Addr, v uint64) abi.Errno {
	return u.word(addr, 8, true, func(f physmem.Frame) { u.Space.word64(f, addr).Store(v) })
}

// Cas64 stores new if the word is old, atomically, and returns what it was: EFAULT, EINVAL (alignment).
func (u User) Cas64(addr Addr, old, new uint64) (prev uint64, e abi.Errno) {
	e = u.word(addr, 8, true, func(f physmem.Frame) { prev = cas64(u.Space.word64(f, addr), old, new) })
	return prev, e
}

func cas32(w *atomic.Uint32, old, new uint32) uint32 {
	for {
		if w.CompareAndSwap(old, new) {
			return old
		}
		// The guest's threads may change the word between the two; only a value that differs from old is an answer.
		if v := w.Load(); v != old {
			return v
		}
	}
}

func cas64(w *atomic.Uint64, old, new uint64) uint64 {
	for {
		if w.CompareAndSwap(old, new) {
			return old
		}
		if v := w.Load(); v != old {
			return v
		}
	}
}

// Load32NoFault reads a word for callers that hold a lock (futex). false: not readable now; without the lock, Load32 it and
// begin again. addr is a multiple of 4.
func (s *Space) Load32NoFault(addr Addr) (v uint32, ok bool) {
	if addr >= TaskSize || addr%4 != 0 {
		return 0, false
	}
	s.pt.Lock()
	defer s.pt.Unlock()
	if s.page(addr, false, false) == nil {
		return 0, false
	}
	return s.word32(s.table.get(addr).frame(), addr).Load(), true
}

// Cas32NoFault is Cas32 for callers that hold a lock. false: not writable now; without the lock, Touch it and begin again.
func (s *Space) Cas32NoFault(addr Addr, old, new uint32) (prev uint32, ok bool) {
	if addr >= TaskSize || addr%4 != 0 {
		return 0, false
	}
	s.pt.Lock()
	defer s.pt.Unlock()
	if s.page(addr, true, false) == nil {
		return 0, false
	}
	return cas32(s.word32(s.table.get(addr).frame(), addr), old, new), true
}

// Touch makes the page of addr writable without writing to it: EFAULT.
func (u User) Touch(addr Addr) abi.Errno {
	return u.word(addr&^7, 8, true, func(physmem.Frame) {})
}

// Iovecs reads n iovecs, in room if they fit there: EINVAL (more than IOV_MAX, a length that is negative as ssize_t), EFAULT (a
// range beyond the address space). All in all they are cut to MAX_RW_COUNT bytes. readv(2).
func (u User) Iovecs(addr Addr, n int, room []abi.Iovec) ([]abi.Iovec, abi.Errno) {
	if n < 0 || n > abi.IOV_MAX {
		return nil, abi.EINVAL
	}
	iov := room[:0]
	if n > cap(iov) {
		iov = make([]abi.Iovec, 0, n)
	}
	var raw [16 * 32]byte
	left := uint64(abi.MAX_RW_COUNT)
	for len(iov) < n {
		part := raw[:min(16*(n-len(iov)), len(raw))]
		if e := u.CopyIn(part, addr); e != 0 {
			return nil, e
		}
		addr += uint64(len(part))
		for ; len(part) > 0; part = part[16:] {
			v := abi.Iovec{Base: le64(part), Len: le64(part[8:])}
			if int64(v.Len) < 0 {
				return nil, abi.EINVAL
			}
			if v.Base > TaskSize || v.Len > TaskSize-v.Base {
				return nil, abi.EFAULT
			}
			v.Len = min(v.Len, left)
			left -= v.Len
			iov = append(iov, v)
		}
	}
	return iov, 0
}

func le64(b []byte) (v uint64) {
	for i := range 8 {
		v |= uint64(b[i]) << (8 * i)
	}
	return v
}

// Key says what a futex is: of one address space, or of a page that several may map. Equal keys are one futex.
type Key struct {
	Space *Space
	Pager Pager
	Off   uint64 // address in Space, or byte offset in Pager
}

// FutexKey returns the key of the word at addr. shared: the word may be in memory that others map, too (the call was made without
// FUTEX_PRIVATE_FLAG); then EFAULT if nothing is mapped at addr.
func (s *Space) FutexKey(addr Addr, shared bool) (Key, abi.Errno) {
	if addr >= TaskSize {
		return Key{}, abi.EFAULT
	}
	if !shared {
		return Key{Space: s, Off: addr}, 0
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	v := s.find(addr)
	if v == nil || v.prot == 0 {
		return Key{}, abi.EFAULT
	}
	if !v.has(vmShared) {
		return Key{Space: s, Off: addr}, 0
	}
	return Key{Pager: v.pager, Off: v.pageIndex(addr)<<PageShift + addr&pageMask}, 0
}
