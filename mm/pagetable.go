package mm

import (
	"sync"

	"goum/arch/abi"
	"goum/physmem"
)

// pte is an entry in the format of x86-64, with software bits. A frame without present is memory under PROT_NONE.
type pte uint64

const (
	ptePresent  pte = 1 << 0
	pteWrite    pte = 1 << 1
	pteUser     pte = 1 << 2
	pteAccessed pte = 1 << 5
	pteDirty    pte = 1 << 6
	pteNX       pte = 1 << 63

	// pteAnon: the page is private to this mapping and those it was forked to; else it is the pager's, or a zero page. Not
	// writable although its VMA is: it may be shared with another Space, and is copied on a write unless it turns out not to be.
	pteAnon pte = 1 << 9
	// pteGuard: madvise(MADV_GUARD_INSTALL); such an entry has no frame.
	pteGuard pte = 1 << 10
	// pteLost: fork took the write bit; until that is proven (opList.forked) other threads may still write to the frame.
	pteLost pte = 1 << 11

	// After all queued operations the host maps this page to this frame: readable, and writable, and executable.
	pteHost  pte = 1 << 52
	pteHostW pte = 1 << 53
	pteHostX pte = 1 << 54

	pteHostAll  = pteHost | pteHostW | pteHostX
	pteFrames   = (1<<52 - 1) &^ pageMask
	pteProtBits = ptePresent | pteWrite | pteNX
)

func makePTE(f physmem.Frame, prot uint8) pte {
	return pte(f)<<PageShift | pteUser | protBits(prot)
}

// protBits is what the hardware would be told of a protection: whatever is accessible is readable.
func protBits(prot uint8) pte {
	if prot == 0 {
		return pteNX
	}
	p := ptePresent | pteAccessed
	if prot&abi.PROT_WRITE != 0 {
		p |= pteWrite
	}
	if prot&abi.PROT_EXEC == 0 {
		p |= pteNX
	}
	return p
}

func (p pte) frame() physmem.Frame { return physmem.Frame(p & pteFrames >> PageShift) }

// prot is what the page table grants, as PROT_*.
func (p pte) prot() uint8 {
	if p&ptePresent == 0 {
		return 0
	}
	r := uint8(abi.PROT_READ)
	if p&pteWrite != 0 {
		r |= abi.PROT_WRITE
	}
	if p&pteNX == 0 {
		r |= abi.PROT_EXEC
	}
	return r
}

// hostProt is what the host's mapping grants, as PROT_*.
func (p pte) hostProt() uint8 {
	if p&pteHost == 0 {
		return 0
	}
	r := uint8(abi.PROT_READ)
	if p&pteHostW != 0 {
		r |= abi.PROT_WRITE
	}
	if p&pteHostX != 0 {
		r |= abi.PROT_EXEC
	}
	return r
}

// withHost is p with the host mapping it as prot says.
func (p pte) withHost(prot uint8) pte {
	p = p&^pteHostAll | pteHost
	if prot&abi.PROT_WRITE != 0 {
		p |= pteHostW
	}
	if prot&abi.PROT_EXEC != 0 {
		p |= pteHostX
	}
	return p
}

// Levels of the table: 9 bits each, 47 bits of address. Upper levels hold Go pointers, leaves hold entries.
const (
	fanout    = 512
	leafSpan  = fanout << PageShift
	midSpan   = leafSpan * fanout
	upperSpan = midSpan * fanout
	topFan    = 1 << 47 / upperSpan
)

type leaf struct {
	e [fanout]pte
	n int // entries that are not 0
}

type mid struct {
	l [fanout]*leaf
	n int
}

type upper struct {
	m [fanout]*mid
	n int
}

// pageTable is a four-level page table. The zero value is empty. Guarded by its Space's pt.
type pageTable struct {
	top   [topFan]*upper
	nodes int

	// the leaf used last, for neighbours
	hot     *leaf
	hotBase Addr
}

// Nodes are recycled, clean: zeroing a page is cheaper than what the collector does for a new one.
var (
	leaves = sync.Pool{New: func() any { return new(leaf) }}
	mids   = sync.Pool{New: func() any { return new(mid) }}
	uppers = sync.Pool{New: func() any { return new(upper) }}
)

func leafIndex(a Addr) int { return int(a >> PageShift & (fanout - 1)) }

// find returns the leaf of a, or nil.
func (t *pageTable) find(a Addr) *leaf {
	base := a &^ (leafSpan - 1)
	if t.hot != nil && t.hotBase == base {
		return t.hot
	}
	u := t.top[a/upperSpan%topFan]
	if u == nil {
		return nil
	}
	m := u.m[a/midSpan%fanout]
	if m == nil {
		return nil
	}
	l := m.l[a/leafSpan%fanout]
	if l != nil {
		t.hot, t.hotBase = l, base
	}
	return l
}

// get returns the entry of a, 0 if there is none.
func (t *pageTable) get(a Addr) pte {
	if l := t.find(a); l != nil {
		return l.e[leafIndex(a)]
	}
	return 0
}

// make returns the leaf of a, with all the nodes above it.
func (t *pageTable) make(a Addr) *leaf {
	if l := t.find(a); l != nil {
		return l
	}
	up := &t.top[a/upperSpan%topFan]
	if *up == nil {
		*up = uppers.Get().(*upper)
		t.nodes++
	}
	mp := &(*up).m[a/midSpan%fanout]
	if *mp == nil {
		*mp = mids.Get().(*mid)
		(*up).n++
		t.nodes++
	}
	l := leaves.Get().(*leaf)
	(*mp).l[a/leafSpan%fanout] = l
	(*mp).n++
	t.nodes++
	t.hot, t.hotBase = l, a&^(leafSpan-1)
	return l
}

// next returns the first leaf with an address in [a, end), and the part of [a, end) that it holds; nil if there is none.
func (t *pageTable) next(a, end Addr) (l *leaf, from, to Addr) {
	for a < end {
		u := t.top[a/upperSpan%topFan]
		if u == nil {
			a = a&^(upperSpan-1) + upperSpan
			continue
		}
		m := u.m[a/midSpan%fanout]
		if m == nil {
			a = a&^(midSpan-1) + midSpan
			continue
		}
		if l := m.l[a/leafSpan%fanout]; l != nil {
			return l, a, min(end, a&^(leafSpan-1)+leafSpan)
		}
		a = a&^(leafSpan-1) + leafSpan
	}
	return nil, end, end
}

// set stores p for the page at index i of l.
func (l *leaf) set(i int, p pte) {
	switch old := l.e[i]; {
	case old == 0 && p != 0:
		l.n++
	case old != 0 && p == 0:
		l.n--
	}
	l.e[i] = p
}

// prune frees the empty nodes of [start, end).
func (t *pageTable) prune(start, end Addr) {
	for a := start &^ (leafSpan - 1); a < end; {
		ui := a / upperSpan % topFan
		u := t.top[ui]
		if u == nil {
			a = a&^(upperSpan-1) + upperSpan
			continue
		}
		mi := a / midSpan % fanout
		m := u.m[mi]
		if m == nil {
			a = a&^(midSpan-1) + midSpan
			continue
		}
		li := a / leafSpan % fanout
		if l := m.l[li]; l != nil && l.n == 0 {
			m.l[li] = nil
			m.n--
			t.nodes--
			t.hot = nil
			leaves.Put(l)
			if m.n == 0 {
				u.m[mi] = nil
				u.n--
				t.nodes--
				mids.Put(m)
				if u.n == 0 {
					t.top[ui] = nil
					t.nodes--
					uppers.Put(u)
				}
			}
		}
		a += leafSpan
	}
}
