package unix

import (
	"slices"

	"goum/arch/abi"
	"goum/arch/lock"
	"goum/kernel/net/socket"
	"goum/mm"
	"goum/sched"
)

// ring is the bytes that a stream socket has received and nobody has read.
type ring struct {
	net   *socket.Net // immutable
	wgate sched.Gate  // held by who writes, while the guest's bytes are copied
	rgate sched.Gate  // held by who reads

	mu     lock.Mutex[lock.Pipe]
	buf    []byte // guarded by mu; a power of two; replaced by a larger one by the holder of wgate
	head   uint64 // guarded by mu; positions count from the beginning of the stream
	tail   uint64
	marks  []mark // guarded by mu
	closed bool   // guarded by mu: nobody will read
}

// mark says who wrote a part of the stream, where somebody wants to know, and what came with it.
type mark struct {
	from, to uint64
	cred     abi.Ucred
	hasCred  bool
	files    *parcel // comes with the first byte read
	fenced   bool    // had files: what follows is not read together with it
}

func (r *ring) len() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return int(r.tail - r.head)
}

// charged is what counts against the sender's SO_SNDBUF.
func (r *ring) charged() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.cost()
}

func (r *ring) cost() int { return int(r.tail-r.head) + len(r.marks)*markCost }

// room makes space for up to n bytes, of limit in all, and says how many there are: 0 is full, ENOBUFS is no memory at all. It is called
// with wgate and mu.
func (r *ring) room(n, limit int) (int, abi.Errno) {
	n = min(n, limit-r.cost())
	if n <= 0 {
		return 0, 0
	}
	used := int(r.tail - r.head)
	for len(r.buf) < used+n && len(r.buf) < maxPair*2 {
		size := max(len(r.buf)*2, firstRing)
		for size < used+n {
			size *= 2
		}
		if !r.net.Charge(size - len(r.buf)) {
			if size = max(len(r.buf)*2, firstRing); size >= used+n || !r.net.Charge(size-len(r.buf)) {
				break
			}
		}
		b := make([]byte, size)
		for p := r.head; p != r.tail; {
			seg := r.segment(r.buf, p, int(r.tail-p))
			r.put(b, p, seg)
			p += uint64(len(seg))
		}
		r.buf = b
	}
	n = min(n, len(r.buf)-used)
	if n <= 0 && used == 0 {
		return 0, abi.ENOBUFS
	}
	return max(n, 0), 0
}

// segment is up to n bytes of buf from position p on that lie in one piece.
func (r *ring) segment(buf []byte, p uint64, n int) []byte {
	at := int(p & uint64(len(buf)-1))
	return buf[at:min(at+n, len(buf))]
}

// put copies b to position p of buf.
func (r *ring) put(buf []byte, p uint64, b []byte) {
	for len(b) > 0 {
		n := copy(r.segment(buf, p, len(b)), b)
		b, p = b[n:], p+uint64(n)
	}
}

// release frees the buffer of a closed ring. mu is held.
func (r *ring) free() {
	if r.buf != nil {
		r.net.Uncharge(len(r.buf))
		r.buf = nil
	}
}

// shut ends the reading side: it says whether bytes were left, and gives the parcels among them.
func (r *ring) shut() (unread bool, ps []*parcel) {
	r.mu.Lock()
	defer r.mu.Unlock()
	unread = r.tail != r.head
	ps = r.parcels()
	r.closed = true
	r.head = r.tail
	r.marks = nil
	r.free()
	return unread, ps
}

// parcels are those that nobody has taken. mu is held.
func (r *ring) parcels() (ps []*parcel) {
	for i := range r.marks {
		if r.marks[i].files != nil {
			ps = append(ps, r.marks[i].files)
		}
	}
	return ps
}

// fill copies from src into the ring, up to limit bytes in all: what was copied. full: there was no room. wgate is held, mu is not.
func (r *ring) fill(src *mm.Buf, limit int, mk *mark) (n int, full bool, e abi.Errno) {
	r.mu.Lock()
	if r.closed {
		r.mu.Unlock()
		return 0, false, abi.EPIPE
	}
	want, e := r.room(min(src.Len(), max(limit/2, 1)), limit)
	buf, tail := r.buf, r.tail
	r.mu.Unlock()
	if e != 0 {
		return 0, false, e
	}
	if want == 0 {
		return 0, true, 0
	}
	for n < want {
		seg := r.segment(buf, tail+uint64(n), want-n)
		var k int
		k, e = src.Read(seg)
		n += k
		if e != 0 || k < len(seg) {
			break
		}
	}
	if n == 0 {
		return 0, false, e
	}
	if mk != nil && mk.files != nil {
		return n, false, 0 // published under Family.mu
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return 0, false, abi.EPIPE
	}
	r.publish(n, mk)
	return n, false, 0
}

// publish makes n more bytes readable. mu and wgate are held.
func (r *ring) publish(n int, mk *mark) {
	if mk != nil {
		mk.from, mk.to = r.tail, r.tail+uint64(n)
		if l := len(r.marks) - 1; l >= 0 && mk.files == nil && !r.marks[l].fenced && r.marks[l].to == mk.from &&
			r.marks[l].hasCred == mk.hasCred && r.marks[l].cred == mk.cred {
			r.marks[l].to = mk.to
		} else {
			r.marks = append(r.marks, *mk)
		}
	}
	r.tail += uint64(n)
}

// trim forgets the marks before head. mu is held.
func (r *ring) trim() {
	i := 0
	for i < len(r.marks) && r.marks[i].to <= r.head {
		i++
	}
	if i > 0 {
		r.marks = slices.Delete(r.marks, 0, i)
		if len(r.marks) == 0 {
			r.marks = nil
		}
	}
}

// at is the mark at position p, or nil, and where the plain part or the mark from p on ends. mu is held.
func (r *ring) at(p uint64) (mk *mark, end uint64) {
	for i := range r.marks {
		m := &r.marks[i]
		if p < m.from {
			return nil, m.from
		}
		if p < m.to {
			return m, m.to
		}
	}
	return nil, r.tail
}
