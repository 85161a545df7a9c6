package mm

import "goum/physmem"

// Region is one mapping as /proc/PID/maps and smaps show it.
type Region struct {
	Start, End Addr
	Prot, May  uint64 // abi.PROT_*: what is allowed, and what mprotect may allow
	Shared     bool
	Offset     uint64 // into Pager, bytes; 0 for private anonymous memory
	Pager      Pager
	File       any
	Name       string // [heap], [stack], or MapOpts.Name

	GrowsDown, Locked, NoReserve, DontFork, DontDump, WipeOnFork bool
}

// Regions calls visit for each mapping, from the lowest address on, until it returns false. They are as they were at one
// moment; visit runs with no lock held.
func (s *Space) Regions(visit func(*Region) bool) {
	s.mu.Lock()
	vmas := make([]vma, len(s.vmas))
	for i, v := range s.vmas {
		vmas[i] = *v
	}
	layout, brk := s.layout, s.brk
	s.mu.Unlock()
	for i := range vmas {
		r := vmas[i].region(&layout, brk)
		if !visit(&r) {
			return
		}
	}
}

// Region returns the mapping that holds addr.
func (s *Space) Region(addr Addr) (Region, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v := s.find(addr)
	if v == nil {
		return Region{}, false
	}
	return v.region(&s.layout, s.brk), true
}

func (v *vma) region(l *Layout, brk Addr) Region {
	r := Region{
		Start: v.start, End: v.end, Prot: uint64(v.prot), May: uint64(v.may), Shared: v.has(vmShared), Pager: v.pager, File: v.file, Name: v.name,
		GrowsDown: v.has(vmGrowsDown), Locked: v.has(vmLocked), NoReserve: v.has(vmNoReserve), DontFork: v.has(vmDontFork),
		DontDump: v.has(vmDontDump), WipeOnFork: v.has(vmWipeOnFork),
	}
	if v.pager != nil {
		r.Offset = v.index << PageShift
	} else if v.file == nil && v.name == "" {
		switch {
		case brk > l.StartBrk && v.start < brk && v.end > l.StartBrk:
			r.Name = "[heap]"
		case v.start <= l.StartStack && l.StartStack < v.end:
			r.Name = "[stack]"
		}
	}
	return r
}

// Usage is the size of a Space, in pages, as /proc/PID/status and statm show it.
type Usage struct {
	Size, Peak  uint64 // VmSize, VmPeak
	RSS, HWM    uint64 // VmRSS, VmHWM; RSS = Anon + File + Shared
	Anon        uint64 // RssAnon
	File        uint64 // RssFile: of pagers, shared anonymous memory too
	Data, Stack uint64 // VmData, VmStk
	Code, Lib   uint64 // VmExe, VmLib
	Locked      uint64 // VmLck
	Tables      uint64 // VmPTE
	VMAs        uint64
	Minor       uint64 // faults resolved
}

// Usage sums up s.
func (s *Space) Usage() Usage {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pt.Lock()
	defer s.pt.Unlock()
	u := Usage{
		Size: s.total, Peak: s.peak, RSS: s.anon + s.filed, HWM: s.hwm, Anon: s.anon, File: s.filed, Data: s.data, Stack: s.stack,
		Locked: s.locked, Tables: uint64(s.table.nodes), VMAs: uint64(len(s.vmas)), Minor: s.stats.Minor,
	}
	u.Code = (pageUp(s.layout.EndCode) - s.layout.StartCode&^pageMask) >> PageShift
	u.Code = min(u.Code, s.exec)
	u.Lib = s.exec - u.Code
	return u
}

// Resident counts the pages of [start, end) that are in the page table, and of them those that are private copies.
func (s *Space) Resident(start, end Addr) (pages, anon uint64) {
	end = min(end, TaskSize)
	s.pt.Lock()
	defer s.pt.Unlock()
	for a := start &^ pageMask; a < end; {
		l, from, to := s.table.next(a, end)
		if l == nil {
			break
		}
		for i := leafIndex(from); i <= leafIndex(to-1); i++ {
			switch p := l.e[i]; {
			case p.frame() == 0 || s.mem.IsZero(p.frame()):
			case p&pteAnon != 0:
				anon++
				pages++
			default:
				pages++
			}
		}
		a = to
	}
	return pages, anon
}

// Page is one entry of the page table, for /proc/PID/pagemap and debuggers.
type Page struct {
	Frame   physmem.Frame // 0: none
	Prot    uint64        // what the page table grants
	Private bool          // a copy of its own
	Host    uint64        // what the host grants after the waiting operations
}

// PageAt returns the entry of addr.
func (s *Space) PageAt(addr Addr) Page {
	if addr >= TaskSize {
		return Page{}
	}
	s.pt.Lock()
	defer s.pt.Unlock()
	p := s.table.get(addr)
	return Page{p.frame(), uint64(p.prot()), p&pteAnon != 0, uint64(p.hostProt())}
}
