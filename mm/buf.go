package mm

import "goum/arch/abi"

// Buf is a cursor over a guest's iovecs, or over bytes of the kernel: what a read(2) fills and a write(2) drains. It moves
// forward only. A Buf is used by one goroutine; Set and its siblings make an old one new, so that a task needs only one.
type Buf struct {
	u     User
	first abi.Iovec   // what is left of the current range
	rest  []abi.Iovec // those after it
	mem   []byte      // instead of a guest's
	left  int
}

// NewBuf makes a cursor over iov (as Iovecs checked it), of MAX_RW_COUNT bytes at most. iov is not changed and must not change.
func NewBuf(u User, iov []abi.Iovec) *Buf {
	b := new(Buf)
	b.Set(u, iov)
	return b
}

// OneBuf is NewBuf over one range.
func OneBuf(u User, addr Addr, n uint64) *Buf {
	b := new(Buf)
	b.SetOne(u, addr, n)
	return b
}

// BytesBuf makes a cursor over p.
func BytesBuf(p []byte) *Buf { return &Buf{mem: p, left: len(p)} }

// Set makes b what NewBuf returns.
func (b *Buf) Set(u User, iov []abi.Iovec) {
	*b = Buf{u: u, rest: iov}
	var sum uint64
	for _, v := range iov {
		sum = min(sum+min(v.Len, abi.MAX_RW_COUNT), abi.MAX_RW_COUNT)
	}
	b.left = int(sum)
}

// SetOne makes b what OneBuf returns.
func (b *Buf) SetOne(u User, addr Addr, n uint64) {
	n = min(n, abi.MAX_RW_COUNT)
	*b = Buf{u: u, first: abi.Iovec{Base: addr, Len: n}, left: int(n)}
}

// SetBytes makes b what BytesBuf returns.
func (b *Buf) SetBytes(p []byte) { *b = Buf{mem: p, left: len(p)} }

// Len is how many bytes are left.
func (b *Buf) Len() int { return b.left }

// Limit cuts b to at most n bytes from here on.
func (b *Buf) Limit(n int) { b.left = min(b.left, max(n, 0)) }

// Write copies p to the buffer, as much as there is room for, and returns how much. On a bad page it is short, with EFAULT.
func (b *Buf) Write(p []byte) (int, abi.Errno) { return b.move(p, len(p), toGuest) }

// Read copies from the buffer into p, as much as is left, and returns how much. On a bad page it is short, with EFAULT.
func (b *Buf) Read(p []byte) (int, abi.Errno) { return b.move(p, len(p), toKernel) }

// Zero is Write of n zero bytes.
func (b *Buf) Zero(n int) (int, abi.Errno) { return b.move(nil, n, zeroGuest) }

// Skip moves the cursor on as if n bytes had been copied.
func (b *Buf) Skip(n int) {
	n = min(max(n, 0), b.left)
	b.left -= n
	if b.mem != nil {
		b.mem = b.mem[n:]
		return
	}
	for n > 0 && b.next() {
		k := min(uint64(n), b.first.Len)
		b.first.Base += k
		b.first.Len -= k
		n -= int(k)
	}
}

// next makes first a range that is not empty; false: there is none.
func (b *Buf) next() bool {
	for b.first.Len == 0 {
		if len(b.rest) == 0 {
			return false
		}
		b.first, b.rest = b.rest[0], b.rest[1:]
	}
	return true
}

func (b *Buf) move(p []byte, n int, d direction) (int, abi.Errno) {
	n = min(n, b.left)
	if b.mem != nil {
		switch d {
		case toKernel:
			copy(p[:n], b.mem)
		case toGuest:
			copy(b.mem, p[:n])
		case zeroGuest:
			clear(b.mem[:n])
		}
		b.mem = b.mem[n:]
		b.left -= n
		return n, 0
	}
	done := 0
	for done < n && b.next() {
		k := int(min(uint64(n-done), b.first.Len))
		var part []byte
		if d != zeroGuest {
			part = p[done : done+k]
		}
		m, e := b.u.move(b.first.Base, part, k, d)
		done += m
		b.left -= m
		b.first.Base += uint64(m)
		b.first.Len -= uint64(m)
		if e != 0 {
			return done, e
		}
	}
	return done, 0
}
