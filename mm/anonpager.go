package mm

import (
	"maps"
	"slices"

	"goum/arch/abi"
	"goum/arch/lock"
	"goum/physmem"
)

// AnonPager is shared anonymous memory: MAP_SHARED|MAP_ANONYMOUS, /dev/zero mapped shared, SysV segments. Its pages live as long
// as somebody maps it or holds it.
type AnonPager struct {
	mem  *physmem.Memory
	size uint64 // pages; beyond is SIGBUS

	// guarded by mu
	mu    lock.Mutex[lock.PageCache]
	bytes map[*Space]uint64 // mapped
	holds int
	pages map[uint64]physmem.Frame // each with a reference
	next  uint64                   // the page after the last new one: where sequential access would go on
	run   int
}

// NewAnonPager makes an object of size bytes, all zero.
func NewAnonPager(mem *physmem.Memory, size uint64) *AnonPager {
	return &AnonPager{mem: mem, size: pageUp(size) >> PageShift, bytes: map[*Space]uint64{}, pages: map[uint64]physmem.Frame{}}
}

// Hold keeps the pages although nobody may map them; Drop takes that back.
func (p *AnonPager) Hold() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.holds++
}

// Drop undoes a Hold; without any, and without mappings, the pages are freed.
func (p *AnonPager) Drop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.holds--
	p.settle()
}

// Resident is how many pages there are.
func (p *AnonPager) Resident() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.pages)
}

func (p *AnonPager) settle() {
	if len(p.bytes) == 0 && p.holds == 0 {
		for i, f := range p.pages {
			p.mem.Unref(f)
			delete(p.pages, i)
		}
	}
}

// Page returns a page, made of zeros if it is new; with sequential access those that follow are made at once.
func (p *AnonPager) Page(_ Sleeper, index uint64, _ bool) (physmem.Frame, abi.Errno) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if index >= p.size || len(p.bytes) == 0 && p.holds == 0 {
		return 0, abi.ENXIO
	}
	if f := p.pages[index]; f != 0 {
		p.mem.Ref(f)
		return f, 0
	}
	if p.run = max(p.run/2, 1); index == p.next {
		p.run = min(p.run*4, maxWindow)
	}
	n := 1
	for n < p.run && index+uint64(n) < p.size && p.pages[index+uint64(n)] == 0 {
		n++
	}
	f, n, e := p.mem.AllocRun(n, true)
	if e != 0 {
		return 0, e
	}
	for i := range n {
		p.pages[index+uint64(i)] = f + physmem.Frame(i)
	}
	p.next = index + uint64(n)
	p.mem.Ref(f)
	return f, 0
}

// Cached is Cacher's.
func (p *AnonPager) Cached(index uint64, frames []physmem.Frame) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range frames {
		if f := p.pages[index+uint64(i)]; f != 0 {
			p.mem.Ref(f)
			frames[i] = f
		}
	}
}

// Remove is Remover's.
func (p *AnonPager) Remove(_ Sleeper, index, n uint64) abi.Errno {
	p.mu.Lock()
	var gone []physmem.Frame
	if n < uint64(len(p.pages)) {
		for i := range n {
			if f := p.pages[index+i]; f != 0 {
				gone = append(gone, f)
				delete(p.pages, index+i)
			}
		}
	} else {
		for i, f := range p.pages {
			if i-index < n {
				gone = append(gone, f)
				delete(p.pages, i)
			}
		}
	}
	spaces := slices.Collect(maps.Keys(p.bytes))
	p.mu.Unlock()
	for _, s := range spaces {
		s.Invalidate(p, index, n, false)
	}
	for _, f := range gone {
		p.mem.Unref(f)
	}
	return 0
}

// Mapped is Pager's.
func (p *AnonPager) Mapped(s *Space, _ Addr, length, _ uint64, _, _ bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.bytes[s] += length
}

// Unmapped is Pager's.
func (p *AnonPager) Unmapped(s *Space, _ Addr, length, _ uint64, _, _ bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.bytes[s] -= length; p.bytes[s] == 0 {
		delete(p.bytes, s)
	}
	p.settle()
}

// FramePager is a fixed list of pages: the vDSO, a time page. It keeps its references for ever.
type FramePager struct {
	mem    *physmem.Memory
	frames []physmem.Frame
}

// NewFramePager takes over the caller's references to frames; page i is frames[i].
func NewFramePager(mem *physmem.Memory, frames []physmem.Frame) *FramePager {
	return &FramePager{mem, frames}
}

// Page is Pager's.
func (p *FramePager) Page(_ Sleeper, index uint64, _ bool) (physmem.Frame, abi.Errno) {
	if index >= uint64(len(p.frames)) {
		return 0, abi.ENXIO
	}
	p.mem.Ref(p.frames[index])
	return p.frames[index], 0
}

// Cached is Cacher's.
func (p *FramePager) Cached(index uint64, frames []physmem.Frame) {
	for i := range frames {
		if index < uint64(len(p.frames)) && uint64(i) < uint64(len(p.frames))-index {
			frames[i] = p.frames[index+uint64(i)]
			p.mem.Ref(frames[i])
		}
	}
}

// Mapped is Pager's; the pages stay anyway.
func (p *FramePager) Mapped(*Space, Addr, uint64, uint64, bool, bool) {}

// Unmapped is Pager's.
func (p *FramePager) Unmapped(*Space, Addr, uint64, uint64, bool, bool) {}
