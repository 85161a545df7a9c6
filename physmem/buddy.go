package physmem

import (
	"math/bits"

	"goum/arch/abi"
)

// The two kinds of free blocks.
const (
	used  = iota // full of somebody's old bytes: zeroing them is cheaper than a fresh page of the host
	clean        // reads as zeros, and costs the host nothing yet
	kinds
)

// state of a free block's first frame: order, and these. All other frames have 0, or stateReserved.
const (
	stateOrder    = 0x0f
	stateFree     = 0x10
	stateClean    = 0x20
	stateReserved = 0x40
)

// Alloc takes 2^order contiguous frames, aligned to their size, each with one reference, their bytes undefined: for callers
// that overwrite all of them. ENOMEM if there is no such block, or order is above MaxOrder.
func (m *Memory) Alloc(order int) (Frame, abi.Errno) {
	f, _, e := m.take(order)
	return f, e
}

// AllocZeroed is Alloc with all bytes zero.
func (m *Memory) AllocZeroed(order int) (Frame, abi.Errno) {
	f, kind, e := m.take(order)
	if e == 0 && kind == used {
		m.zero(f, 1<<order)
	}
	return f, e
}

// AllocRun takes between 1 and most contiguous frames, as many as one block gives, aligned to the power of two above their
// number; each has one reference. zero says whether the bytes must be zero; else they are undefined. ENOMEM: not one.
func (m *Memory) AllocRun(most int, zero bool) (first Frame, n int, e abi.Errno) {
	if most < 1 {
		return 0, 0, abi.ENOMEM
	}
	most = min(most, 1<<MaxOrder)
	order := bits.Len(uint(most - 1))
	if m.injected() {
		return 0, 0, abi.ENOMEM
	}
	m.mu.Lock()
	var f Frame
	var kind int
	for ; order >= 0; order-- {
		if f, kind = m.pop(order); f != 0 {
			break
		}
	}
	if f == 0 {
		m.mu.Unlock()
		return 0, 0, abi.ENOMEM
	}
	n = min(most, 1<<order)
	if rest := 1<<order - n; rest > 0 {
		// As used, even where it is clean: when the run comes back, the two merge to the block that they were. Else the next run of this size
		// found no used block that is large enough, and went on to a fresh one each time: 3 us a page instead of 0.1.
		m.freeRange(uint32(f)+uint32(n), uint32(rest), used)
	}
	m.mu.Unlock()
	for i := range Frame(n) {
		m.refs[f+i].Store(1)
	}
	if zero && kind == used {
		m.zero(f, n)
	}
	return f, n, 0
}

func (m *Memory) take(order int) (Frame, int, abi.Errno) {
	if order < 0 || order > MaxOrder || m.injected() {
		return 0, 0, abi.ENOMEM
	}
	m.mu.Lock()
	f, kind := m.pop(order)
	m.mu.Unlock()
	if f == 0 {
		return 0, 0, abi.ENOMEM
	}
	for i := range Frame(1) << order {
		m.refs[f+i].Store(1)
	}
	return f, kind, 0
}

func (m *Memory) zero(f Frame, n int) {
	clear(m.RunBytes(f, n))
	m.zeroed.Add(uint64(n))
}

// pop takes a block of the order off the free lists, splitting a larger one if need be. Used blocks go first: recycled
// memory needs no new page of the host. mu is held.
func (m *Memory) pop(order int) (Frame, int) {
	for kind := range kinds {
		for o := order; o <= MaxOrder; o++ {
			f := m.lists[kind][o]
			if f == 0 {
				continue
			}
			m.unlink(f, o, kind)
			for o > order { // give the upper halves back
				o--
				m.push(f+1<<o, o, kind)
			}
			m.free[kind] -= 1 << order
			return f, kind
		}
	}
	return 0, 0
}

// freeRange puts n frames on the free lists, as the largest aligned blocks, each merged with its free neighbours of the same
// kind. mu is held, and no reference is left.
func (m *Memory) freeRange(f, n uint32, kind int) {
	m.free[kind] += n
	for n > 0 {
		order := min(bits.TrailingZeros32(f), bits.Len32(n)-1, MaxOrder)
		m.merge(Frame(f), order, kind)
		f += 1 << order
		n -= 1 << order
	}
}

func (m *Memory) merge(f Frame, order, kind int) {
	if m.state[f]&(stateFree|stateReserved) != 0 {
		m.mu.Unlock()
		bug("freed twice", f)
	}
	want := uint8(stateFree)
	if kind == clean {
		want |= stateClean
	}
	for order < MaxOrder {
		buddy := f ^ 1<<order
		if uint32(buddy) >= m.frames || m.state[buddy] != want|uint8(order) {
			break
		}
		m.unlink(buddy, order, kind)
		f &= buddy
		order++
	}
	m.push(f, order, kind)
}

func (m *Memory) push(f Frame, order, kind int) {
	s := uint8(order) | stateFree
	if kind == clean {
		s |= stateClean
	}
	m.state[f] = s
	head := m.lists[kind][order]
	m.links[f] = link{next: head}
	if head != 0 {
		m.links[head].prev = f
	}
	m.lists[kind][order] = f
}

func (m *Memory) unlink(f Frame, order, kind int) {
	l := m.links[f]
	if l.prev != 0 {
		m.links[l.prev].next = l.next
	} else {
		m.lists[kind][order] = l.next
	}
	if l.next != 0 {
		m.links[l.next].prev = l.prev
	}
	m.state[f] = 0
}
