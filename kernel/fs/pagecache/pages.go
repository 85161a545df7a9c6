// Package pagecache keeps the contents of files in frames of the guest's RAM, so that reading, writing and mapping a file mean the
// same bytes.
//
// It owns Pages: the frames of one file by index, the file's size, and which address spaces map it. A missing page is a hole: it
// reads as zeros, and gets a frame when it is written, or touched through a mapping.
//
// Invariants:
//   - Each frame in a table holds one reference and one unit of the Charger's.
//   - No page lies at or beyond the end of the file, but those that fallocate(2) reserved there; the bytes of the last page behind
//     the end are zero, as far as nobody wrote them through a mapping.
//   - What is put into the table is filled: no reader ever sees a frame's former contents.
//   - After Truncate or Punch returns, no address space maps a frame that they took.
//
// Changes of the size and holes (WriteAt, Truncate, Allocate, Punch) are one at a time: the file system holds a gate around
// them. ReadAt, Page and the rest come at any time.
//
// Locks: Pages.mu (lock.PageCache), under an address space's lock, outside the allocator of frames. It is not held while bytes
// go to or from a guest: the frame is referenced instead.
package pagecache

import (
	"math/bits"
	"sync/atomic"

	"goum/arch/abi"
	"goum/arch/lock"
	"goum/mm"
	"goum/physmem"
)

const (
	pageSize  = physmem.PageSize
	pageShift = physmem.PageShift
)

// reserved marks a frame in a table that fallocate(2) put there and nobody has used yet: it is a hole still for lseek(2).
const reserved physmem.Frame = 1 << 31

// MaxSize is the largest file: what Linux allows on a 64-bit machine. Beyond it: EFBIG.
const MaxSize = 1<<63 - 1

// Cache is what all files of one machine share.
type Cache struct {
	mem   *physmem.Memory
	pages atomic.Int64
}

// New makes a cache in mem.
func New(mem *physmem.Memory) *Cache { return &Cache{mem: mem} }

// Memory is the RAM that the pages lie in.
func (c *Cache) Memory() *physmem.Memory { return c.mem }

// Count is how many frames hold pages of files: "Cached" and "Shmem" of /proc/meminfo.
func (c *Cache) Count() int64 { return c.pages.Load() }

// Charger bounds the pages of a file system.
type Charger interface {
	// Charge takes up to n pages from what is left, and answers how many: 0 is ENOSPC.
	Charge(n int) int
	Uncharge(n int)
}

type chunk struct {
	used   int
	frames [chunkPages]physmem.Frame
}

// Pages is the contents of one file. It is an mm.Pager.
type Pages struct {
	cache *Cache
	limit Charger
	// Changed is called after a mapping's owner took pages out (madvise MADV_REMOVE), for the times of the file. May be nil.
	Changed func()

	size atomic.Int64 // bytes; written under mu

	mu       lock.Mutex[lock.PageCache]
	first    []physmem.Frame   // pages 0 to chunkPages-1, as far as needed
	rest     map[uint64]*chunk // the others, by index/chunkPages
	count    int               // frames in the tables
	maps     map[*mm.Space]uint64
	writable uint64 // bytes mapped shared and perhaps writable
	closed   bool
}

var (
	_ mm.Pager   = (*Pages)(nil)
	_ mm.Cacher  = (*Pages)(nil)
	_ mm.Remover = (*Pages)(nil)
)

// NewPages makes an empty file. limit may be nil.
func (c *Cache) NewPages(limit Charger) *Pages { return &Pages{cache: c, limit: limit} }

// Size is the file's size in bytes.
func (p *Pages) Size() int64 { return p.size.Load() }

// Count is how many frames the file holds.
func (p *Pages) Count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.count
}

// slot is where the frame of page i stands, or nil. mu is held.
func (p *Pages) slot(i uint64) *physmem.Frame {
	if i < uint64(len(p.first)) {
		return &p.first[i]
	}
	if i < chunkPages {
		return nil
	}
	if c := p.rest[i/chunkPages]; c != nil {
		return &c.frames[i%chunkPages]
	}
	return nil
}

// get is page i, or 0. mu is held.
func (p *Pages) get(i uint64) physmem.Frame {
	if s := p.slot(i); s != nil {
		return *s &^ reserved
	}
	return 0
}

// use is get for whoever will write to the page, or maps it. mu is held.
func (p *Pages) use(i uint64) physmem.Frame {
	s := p.slot(i)
	if s == nil {
		return 0
	}
	*s &^= reserved
	return *s
}

// data says whether page i has been used. mu is held.
func (p *Pages) data(i uint64) bool {
	s := p.slot(i)
	return s != nil && *s != 0 && *s&reserved == 0
}

// put makes f page i, which was a hole. mu is held.
func (p *Pages) put(i uint64, f physmem.Frame) {
	p.count++
	p.cache.pages.Add(1)
	if i < chunkPages {
		if n := int(i) + 1; n > len(p.first) {
			if n > cap(p.first) {
				grown := make([]physmem.Frame, n, min(max(1<<bits.Len(uint(n-1)), 4), chunkPages))
				copy(grown, p.first)
				p.first = grown
			}
			p.first = p.first[:n]
		}
		p.first[i] = f
		return
	}
	c := p.rest[i/chunkPages]
	if c == nil {
		c = new(chunk)
		if p.rest == nil {
			p.rest = make(map[uint64]*chunk)
		}
		p.rest[i/chunkPages] = c
	}
	c.used++
	c.frames[i%chunkPages] = f
}

// takeRange takes the frames of pages from to end (exclusive) out of the tables. mu is held.
func (p *Pages) takeRange(from, end uint64) (out []physmem.Frame) {
	grab := func(slot *physmem.Frame) bool {
		if *slot == 0 {
			return false
		}
		out = append(out, *slot&^reserved)
		*slot = 0
		p.count--
		return true
	}
	for i := from; i < min(end, uint64(len(p.first))); i++ {
		grab(&p.first[i])
	}
	if from < uint64(len(p.first)) && end >= uint64(len(p.first)) {
		p.first = p.first[:from]
		if from == 0 {
			p.first = nil
		}
	}
	do := func(k uint64, c *chunk) {
		lo, hi := k*chunkPages, (k+1)*chunkPages
		for i := max(lo, from); i < min(hi, end); i++ {
			if grab(&c.frames[i%chunkPages]) {
				c.used--
			}
		}
		if c.used == 0 {
			delete(p.rest, k)
		}
	}
	if end > chunkPages && len(p.rest) > 0 {
		lo, hi := from/chunkPages, (end-1)/chunkPages
		if hi-lo < uint64(len(p.rest)) {
			for k := lo; k <= hi; k++ {
				if c := p.rest[k]; c != nil {
					do(k, c)
				}
			}
		} else {
			for k, c := range p.rest {
				if k >= lo && k <= hi {
					do(k, c)
				}
			}
		}
	}
	p.cache.pages.Add(-int64(len(out)))
	return out
}

// free gives frames back that takeRange took: neighbours in one go.
func (p *Pages) free(fs []physmem.Frame) {
	for i := 0; i < len(fs); {
		n := 1
		for i+n < len(fs) && fs[i+n] == fs[i]+physmem.Frame(n) {
			n++
		}
		p.cache.mem.UnrefRun(fs[i], n)
		i += n
	}
	p.uncharge(len(fs))
}

func (p *Pages) charge(n int) int {
	if p.limit == nil {
		return n
	}
	return p.limit.Charge(n)
}

func (p *Pages) uncharge(n int) {
	if p.limit != nil && n > 0 {
		p.limit.Uncharge(n)
	}
}

// ReadAt fills dst from byte off on; 0, 0 is the end of the file. A fault of dst after some bytes is a short count.
func (p *Pages) ReadAt(dst *mm.Buf, off int64) (done int, e abi.Errno) {
	mem := p.cache.mem
	var frames [maxBatch]physmem.Frame
	for dst.Len() > 0 {
		p.mu.Lock()
		size := p.size.Load()
		if off >= size {
			p.mu.Unlock()
			break
		}
		want := int(min(int64(dst.Len()), size-off))
		in := int(off & (pageSize - 1))
		n := min((in+want+pageSize-1)>>pageShift, maxBatch)
		for i := range n {
			f := p.get(uint64(off)>>pageShift + uint64(i))
			if f != 0 {
				mem.Ref(f)
			}
			frames[i] = f
		}
		p.mu.Unlock()
		want = min(want, n<<pageShift-in)
		for i := 0; i < n; {
			run := 1
			for i+run < n && (frames[i] == 0 && frames[i+run] == 0 || frames[i] != 0 && frames[i+run] == frames[i]+physmem.Frame(run)) {
				run++
			}
			l := min(run<<pageShift-in, want)
			var k int
			if e == 0 {
				if frames[i] == 0 {
					k, e = dst.Zero(l)
				} else {
					k, e = dst.Write(mem.RunBytes(frames[i], run)[in : in+l])
				}
			}
			if frames[i] != 0 {
				mem.UnrefRun(frames[i], run)
			}
			done += k
			off += int64(k)
			want -= l
			in = 0
			i += run
		}
		if e != 0 {
			break
		}
	}
	if done > 0 {
		e = 0
	}
	return done, e
}

// WriteAt drains up to n bytes of src into the file from byte off on, and moves its end if need be. ENOSPC (the Charger's), ENOMEM,
// EFAULT; a short count when some bytes were written.
func (p *Pages) WriteAt(src *mm.Buf, off int64, n int) (done int, e abi.Errno) {
	mem := p.cache.mem
	n = min(n, src.Len())
	for done < n && e == 0 {
		i, in := uint64(off)>>pageShift, int(off&(pageSize-1))
		left := n - done
		p.mu.Lock()
		f := p.use(i)
		if f != 0 {
			run := 1
			for most := min((in+left+pageSize-1)>>pageShift, maxRun); run < most && p.use(i+uint64(run)) == f+physmem.Frame(run); {
				run++
			}
			mem.RefRun(f, run)
			p.mu.Unlock()
			var k int
			k, e = src.Read(mem.RunBytes(f, run)[in : in+min(run<<pageShift-in, left)])
			mem.UnrefRun(f, run)
			p.grow(off + int64(k))
			done += k
			off += int64(k)
			if k == 0 {
				break
			}
			continue
		}
		want := 1
		for most := min((in+left+pageSize-1)>>pageShift, maxRun); want < most && p.get(i+uint64(want)) == 0; {
			want++
		}
		p.mu.Unlock()
		var k int
		if k, e = p.fill(src, i, in, want, left); k == 0 {
			break
		}
		done += k
		off += int64(k)
	}
	if done > 0 {
		e = 0
	}
	return done, e
}

// fill writes up to left bytes into up to want pages from page i on, which are holes, from byte in of the first one on.
func (p *Pages) fill(src *mm.Buf, i uint64, in, want, left int) (done int, e abi.Errno) {
	mem := p.cache.mem
	charged := p.charge(want)
	if charged == 0 {
		return 0, abi.ENOSPC
	}
	f, got, e := mem.AllocRun(charged, false)
	if e != 0 {
		p.uncharge(charged)
		return 0, e
	}
	b := mem.RunBytes(f, got)
	clear(b[:in])
	done, e = src.Read(b[in : in+min(len(b)-in, left)])
	keep := (in + done + pageSize - 1) >> pageShift
	if done == 0 {
		keep = 0
	}
	clear(b[in+done : max(keep<<pageShift, in+done)])
	if keep < got {
		mem.UnrefRun(f+physmem.Frame(keep), got-keep)
	}
	p.uncharge(charged - keep)
	if keep == 0 {
		return 0, e
	}
	lost := 0
	p.mu.Lock()
	for k := range keep {
		g := f + physmem.Frame(k)
		if old := p.use(i + uint64(k)); old != 0 {
			// A fault was faster: what was written goes into its page.
			lo, hi := 0, min(in+done-k<<pageShift, pageSize)
			if k == 0 {
				lo = in
			}
			copy(mem.Bytes(old)[lo:hi], mem.Bytes(g)[lo:hi])
			mem.Unref(g)
			lost++
			continue
		}
		p.put(i+uint64(k), g)
	}
	if end := int64(i<<pageShift) + int64(in+done); end > p.size.Load() {
		p.size.Store(end)
	}
	p.mu.Unlock()
	p.uncharge(lost)
	return done, e
}

func (p *Pages) grow(end int64) {
	if end <= p.size.Load() {
		return
	}
	p.mu.Lock()
	if end > p.size.Load() {
		p.size.Store(end)
	}
	p.mu.Unlock()
}

// Load makes an empty file's contents data, in contiguous frames as far as there are any: for the unpacking of the initramfs, whose files nobody
// else sees yet. ENOSPC, ENOMEM.
func (p *Pages) Load(data []byte) abi.Errno {
	mem := p.cache.mem
	for off := 0; off < len(data); {
		want := min((len(data)-off+pageSize-1)>>pageShift, maxRun*4)
		charged := p.charge(want)
		if charged == 0 {
			return abi.ENOSPC
		}
		f, got, e := mem.AllocRun(charged, false)
		p.uncharge(charged - got)
		if e != 0 {
			return e
		}
		b := mem.RunBytes(f, got)
		n := min(len(b), len(data)-off)
		mem.Load(f, data[off:off+n])
		clear(b[n:])
		p.mu.Lock()
		for k := range got {
			p.put(uint64(off>>pageShift+k), f+physmem.Frame(k))
		}
		off += n
		p.size.Store(int64(off))
		p.mu.Unlock()
	}
	return 0
}

// spaces are those that map the file. mu is held.
func (p *Pages) spaces() []*mm.Space {
	if len(p.maps) == 0 {
		return nil
	}
	out := make([]*mm.Space, 0, len(p.maps))
	for s := range p.maps {
		out = append(out, s)
	}
	return out
}

// zeroPart clears bytes from lo to hi of page i, if it is there. mu is held.
func (p *Pages) zeroPart(i uint64, lo, hi int) {
	if f := p.get(i); f != 0 && lo < hi {
		clear(p.cache.mem.Bytes(f)[lo:hi])
	}
}

// Truncate sets the size. What lay beyond it is gone, from mappings too, whose next touch there is SIGBUS.
func (p *Pages) Truncate(size int64) {
	p.mu.Lock()
	old := p.size.Load()
	p.size.Store(size)
	if size >= old && p.count == 0 {
		p.mu.Unlock()
		return
	}
	from := uint64(size+pageSize-1) >> pageShift
	var gone []physmem.Frame
	var spaces []*mm.Space
	if size < old || size == old {
		gone = p.takeRange(from, 1<<(64-pageShift))
		if in := int(size & (pageSize - 1)); in != 0 {
			p.zeroPart(uint64(size)>>pageShift, in, pageSize)
		}
		spaces = p.spaces()
	}
	p.mu.Unlock()
	for _, s := range spaces {
		s.Invalidate(p, from, 1<<(64-pageShift)-from, true)
	}
	p.free(gone)
}

// Punch makes a hole of length bytes from off on: whole pages go, parts of pages are cleared. The size stays.
func (p *Pages) Punch(off, length int64) {
	end := off + length
	from, to := uint64(off+pageSize-1)>>pageShift, uint64(end)>>pageShift
	p.mu.Lock()
	if uint64(off)>>pageShift == uint64(end)>>pageShift {
		p.zeroPart(uint64(off)>>pageShift, int(off&(pageSize-1)), int(end&(pageSize-1)))
		p.mu.Unlock()
		return
	}
	if in := int(off & (pageSize - 1)); in != 0 {
		p.zeroPart(uint64(off)>>pageShift, in, pageSize)
	}
	p.zeroPart(to, 0, int(end&(pageSize-1)))
	var gone []physmem.Frame
	var spaces []*mm.Space
	if from < to {
		gone = p.takeRange(from, to)
		spaces = p.spaces()
	}
	p.mu.Unlock()
	for _, s := range spaces {
		s.Invalidate(p, from, to-from, false)
	}
	p.free(gone)
}

// Allocate gives frames to the holes among the pages of off to off+length, without moving the end: fallocate(2). All or nothing:
// ENOSPC, ENOMEM.
func (p *Pages) Allocate(off, length int64) abi.Errno {
	from, to := uint64(off)>>pageShift, uint64(off+length+pageSize-1)>>pageShift
	if to-from > uint64(p.cache.mem.Frames()) {
		return abi.ENOSPC
	}
	var mine []uint64
	undo := func() {
		p.mu.Lock()
		var gone []physmem.Frame
		for _, i := range mine {
			gone = append(gone, p.takeRange(i, i+1)...)
		}
		p.mu.Unlock()
		p.free(gone)
	}
	for i := from; i < to; i++ {
		p.mu.Lock()
		f := p.get(i)
		p.mu.Unlock()
		if f != 0 {
			continue
		}
		f, e := p.newPage()
		if e != 0 {
			undo()
			return e
		}
		p.mu.Lock()
		if p.get(i) != 0 {
			p.mu.Unlock()
			p.free([]physmem.Frame{f})
			continue
		}
		p.put(i, f|reserved)
		p.mu.Unlock()
		mine = append(mine, i)
	}
	return 0
}

// newPage is a charged frame of zeros.
func (p *Pages) newPage() (physmem.Frame, abi.Errno) {
	if p.charge(1) == 0 {
		return 0, abi.ENOSPC
	}
	f, e := p.cache.mem.AllocZeroed(0)
	if e != 0 {
		p.uncharge(1)
	}
	return f, e
}

// SetSize moves the end up without taking a frame.
func (p *Pages) SetSize(size int64) { p.grow(size) }

// SeekData is the first byte from off on that is not in a hole; ENXIO if there is none. SeekHole is the first in a hole, which the end
// of the file is, too.
func (p *Pages) SeekData(off int64) (int64, abi.Errno) {
	p.mu.Lock()
	defer p.mu.Unlock()
	size := p.size.Load()
	if uint64(off) >= uint64(size) {
		return 0, abi.ENXIO
	}
	i := uint64(off) >> pageShift
	for ; i < uint64(len(p.first)); i++ {
		if p.data(i) {
			return found(i, off, size)
		}
	}
	for i = max(i, chunkPages); ; {
		// The next part of the table at or after i.
		k, ok := uint64(0), false
		for c := range p.rest {
			if c >= i/chunkPages && (!ok || c < k) {
				k, ok = c, true
			}
		}
		if !ok {
			return 0, abi.ENXIO
		}
		i = max(i, k*chunkPages)
		for ; i < (k+1)*chunkPages; i++ {
			if p.data(i) {
				return found(i, off, size)
			}
		}
	}
}

func found(i uint64, off, size int64) (int64, abi.Errno) {
	if at := max(int64(i<<pageShift), off); at < size {
		return at, 0
	}
	return 0, abi.ENXIO
}

// SeekHole: see SeekData.
func (p *Pages) SeekHole(off int64) (int64, abi.Errno) {
	p.mu.Lock()
	defer p.mu.Unlock()
	size := p.size.Load()
	if uint64(off) >= uint64(size) {
		return 0, abi.ENXIO
	}
	i := uint64(off) >> pageShift
	for p.data(i) {
		i++
	}
	return min(max(int64(i<<pageShift), off), size), 0
}

// Page is mm.Pager's: ENXIO beyond the end, ENOSPC, ENOMEM.
func (p *Pages) Page(w mm.Sleeper, index uint64, write bool) (physmem.Frame, abi.Errno) {
	mem := p.cache.mem
	var fresh physmem.Frame
	for {
		p.mu.Lock()
		if index >= uint64(p.size.Load()+pageSize-1)>>pageShift {
			p.mu.Unlock()
			if fresh != 0 {
				p.free([]physmem.Frame{fresh})
			}
			return 0, abi.ENXIO
		}
		f := p.use(index)
		if f == 0 && fresh != 0 {
			p.put(index, fresh)
			f, fresh = fresh, 0
		}
		if f != 0 {
			mem.Ref(f)
			p.mu.Unlock()
			if fresh != 0 {
				p.free([]physmem.Frame{fresh})
			}
			return f, 0
		}
		p.mu.Unlock()
		var e abi.Errno
		if fresh, e = p.newPage(); e != 0 {
			return 0, e
		}
	}
}

// Cached is mm.Cacher's.
func (p *Pages) Cached(index uint64, frames []physmem.Frame) {
	p.mu.Lock()
	defer p.mu.Unlock()
	end := uint64(p.size.Load()+pageSize-1) >> pageShift
	for i := range frames {
		frames[i] = 0
		if at := index + uint64(i); at < end {
			if f := p.use(at); f != 0 {
				p.cache.mem.Ref(f)
				frames[i] = f
			}
		}
	}
}

// Remove is mm.Remover's.
func (p *Pages) Remove(w mm.Sleeper, index, n uint64) abi.Errno {
	end := min(index+n, uint64(p.size.Load()+pageSize-1)>>pageShift)
	if index < end {
		p.Punch(int64(index<<pageShift), int64((end-index)<<pageShift))
	}
	if p.Changed != nil {
		p.Changed()
	}
	return 0
}

// Mapped is mm.Pager's.
func (p *Pages) Mapped(s *mm.Space, start mm.Addr, length, offset uint64, shared, write bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.maps == nil {
		p.maps = make(map[*mm.Space]uint64)
	}
	p.maps[s] += length
	if shared && write {
		p.writable += length
	}
}

// Unmapped is mm.Pager's.
func (p *Pages) Unmapped(s *mm.Space, start mm.Addr, length, offset uint64, shared, write bool) {
	p.mu.Lock()
	if p.maps[s] -= length; p.maps[s] == 0 {
		delete(p.maps, s)
	}
	if shared && write {
		p.writable -= length
	}
	gone := p.takeAll()
	p.mu.Unlock()
	p.free(gone)
}

// Writable says whether a mapping may write to the file: F_SEAL_WRITE is then EBUSY.
func (p *Pages) Writable() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.writable > 0
}

// Close lets the contents go, at once or when the last mapping goes.
func (p *Pages) Close() {
	p.mu.Lock()
	p.closed = true
	gone := p.takeAll()
	p.mu.Unlock()
	p.free(gone)
}

// takeAll takes everything once nobody needs it. mu is held.
func (p *Pages) takeAll() []physmem.Frame {
	if !p.closed || len(p.maps) > 0 {
		return nil
	}
	return p.takeRange(0, 1<<(64-pageShift))
}
