package proc

import (
	"bytes"
	"fmt"
	"strings"

	"goum/arch/abi"
	"goum/kernel/fs/made"
	"goum/kernel/fs/vfs"
	"goum/kernel/task"
	"goum/mm"
)

// user is how c reads the task's memory between grab and drop.
func (d *dir) grab(c *vfs.Caller) (mm.User, func(), bool) {
	m := d.task.Memory()
	if !m.Grab() {
		return mm.User{}, nil, false
	}
	u := m.User(c.Thread)
	return u, m.Drop, true
}

// area reads up to maxArgs bytes of the task's memory from start to end.
func (d *dir) area(c *vfs.Caller, of func(*mm.Layout) (start, end uint64)) []byte {
	u, drop, ok := d.grab(c)
	if !ok {
		return nil
	}
	defer drop()
	l := u.Space.Layout()
	start, end := of(&l)
	if start >= end {
		return nil
	}
	u.Force = true
	b := make([]byte, min(end-start, maxArgs))
	n, _ := u.CopyInSome(b, start)
	return b[:n]
}

// cmdline is /proc/PID/cmdline. A program that overwrote the end of its arguments (setproctitle) shows what it wrote up to the first NUL,
// also where it goes on into the environment.
func cmdline(d *dir, c *vfs.Caller) ([]byte, abi.Errno) {
	b := d.area(c, func(l *mm.Layout) (uint64, uint64) { return l.ArgStart, l.ArgEnd })
	if len(b) == 0 || b[len(b)-1] == 0 {
		return b, 0
	}
	b = d.area(c, func(l *mm.Layout) (uint64, uint64) {
		if l.EnvStart == l.ArgEnd && l.EnvEnd > l.EnvStart {
			return l.ArgStart, l.EnvEnd
		}
		return l.ArgStart, l.ArgEnd
	})
	if i := bytes.IndexByte(b, 0); i >= 0 {
		b = b[:i+1]
	}
	return b, 0
}

func environ(d *dir, c *vfs.Caller) ([]byte, abi.Errno) {
	return d.area(c, func(l *mm.Layout) (uint64, uint64) { return l.EnvStart, l.EnvEnd }), 0
}

func auxv(d *dir, c *vfs.Caller) ([]byte, abi.Errno) {
	m := d.task.Memory()
	if !m.Grab() {
		return nil, 0
	}
	defer m.Drop()
	return m.Auxv(), 0
}

// regions lists the mappings of the task, maxRegions at most.
func (d *dir) regions(c *vfs.Caller, visit func(s *mm.Space, r *mm.Region)) {
	u, drop, ok := d.grab(c)
	if !ok {
		return
	}
	defer drop()
	n := 0
	u.Space.Regions(func(r *mm.Region) bool {
		visit(u.Space, r)
		n++
		return n < maxRegions
	})
}

// mapLine is one line of maps.
func mapLine(b *strings.Builder, c *vfs.Caller, r *mm.Region) {
	flags := []byte("---p")
	for i, p := range [...]uint64{abi.PROT_READ, abi.PROT_WRITE, abi.PROT_EXEC} {
		if r.Prot&p != 0 {
			flags[i] = "rwx"[i]
		}
	}
	if r.Shared {
		flags[3] = 's'
	}
	name := r.Name
	var dev, ino uint64
	if o, ok := r.File.(*vfs.Open); ok {
		if a, e := o.Attr(c); e == 0 {
			st := o.Loc.Stat(&a)
			dev, ino = st.Dev, st.Ino
		}
		name = strings.ReplaceAll(c.PathOf(o.Loc), "\n", `\012`)
	}
	start := b.Len()
	fmt.Fprintf(b, "%08x-%08x %s %08x %02x:%02x %d ", r.Start, r.End, flags, r.Offset, abi.Major(dev), abi.Minor(dev), ino)
	if name != "" {
		// The name stands in a column of its own: seq_pad.
		if pad := 73 - (b.Len() - start); pad > 0 {
			b.WriteString(strings.Repeat(" ", pad))
		}
		b.WriteString(name)
	}
	b.WriteByte('\n')
}

func mapsFile(d *dir, c *vfs.Caller) ([]byte, abi.Errno) {
	var b strings.Builder
	d.regions(c, func(_ *mm.Space, r *mm.Region) { mapLine(&b, c, r) })
	return []byte(b.String()), 0
}

// sizes are the lines of smaps that count, in KiB.
type sizes struct{ size, rss, anon, locked uint64 }

func (z *sizes) write(b *strings.Builder, rollup bool) {
	shared := z.rss - z.anon
	if !rollup {
		fmt.Fprintf(b, "Size:           %8d kB\nKernelPageSize: %8d kB\nMMUPageSize:    %8d kB\n", z.size, 4, 4)
	}
	fmt.Fprintf(b, "Rss:            %8d kB\nPss:            %8d kB\nPss_Dirty:      %8d kB\n", z.rss, z.rss, z.anon)
	if rollup {
		fmt.Fprintf(b, "Pss_Anon:       %8d kB\nPss_File:       %8d kB\nPss_Shmem:      %8d kB\n", z.anon, shared, 0)
	}
	fmt.Fprintf(b, "Shared_Clean:   %8d kB\nShared_Dirty:   %8d kB\nPrivate_Clean:  %8d kB\nPrivate_Dirty:  %8d kB\n", 0, 0, shared, z.anon)
	fmt.Fprintf(b, "Referenced:     %8d kB\nAnonymous:      %8d kB\nKSM:            %8d kB\nLazyFree:       %8d kB\nAnonHugePages:  %8d kB\n", z.rss, z.anon, 0, 0, 0)
	fmt.Fprintf(b, "ShmemPmdMapped: %8d kB\nFilePmdMapped:  %8d kB\nShared_Hugetlb: %8d kB\nPrivate_Hugetlb: %7d kB\n", 0, 0, 0, 0)
	fmt.Fprintf(b, "Swap:           %8d kB\nSwapPss:        %8d kB\nLocked:         %8d kB\n", 0, 0, z.locked)
}

func measure(s *mm.Space, r *mm.Region) (z sizes) {
	pages, anon := s.Resident(r.Start, r.End)
	z = sizes{size: (r.End - r.Start) / 1024, rss: pages * mm.PageSize / 1024, anon: anon * mm.PageSize / 1024}
	if r.Locked {
		z.locked = z.rss
	}
	return z
}

// vmFlags are the two-letter words of smaps.
func vmFlags(r *mm.Region) string {
	var b strings.Builder
	add := func(on bool, w string) {
		if on {
			b.WriteString(w + " ")
		}
	}
	add(r.Prot&abi.PROT_READ != 0, "rd")
	add(r.Prot&abi.PROT_WRITE != 0, "wr")
	add(r.Prot&abi.PROT_EXEC != 0, "ex")
	add(r.Shared, "sh")
	add(r.May&abi.PROT_READ != 0, "mr")
	add(r.May&abi.PROT_WRITE != 0, "mw")
	add(r.May&abi.PROT_EXEC != 0, "me")
	add(r.Shared && r.May&abi.PROT_WRITE != 0, "ms")
	add(r.GrowsDown, "gd")
	add(r.Locked, "lo")
	add(r.DontFork, "dc")
	add(!r.Shared && r.Prot&abi.PROT_WRITE != 0 && !r.NoReserve, "ac")
	add(r.NoReserve, "nr")
	add(r.WipeOnFork, "wf")
	add(r.DontDump, "dd")
	return b.String()
}

func smaps(d *dir, c *vfs.Caller) ([]byte, abi.Errno) {
	var b strings.Builder
	d.regions(c, func(s *mm.Space, r *mm.Region) {
		mapLine(&b, c, r)
		z := measure(s, r)
		z.write(&b, false)
		fmt.Fprintf(&b, "THPeligible:           0\nVmFlags: %s\n", vmFlags(r))
	})
	return []byte(b.String()), 0
}

func smapsRollup(d *dir, c *vfs.Caller) ([]byte, abi.Errno) {
	var sum sizes
	var first, last uint64
	d.regions(c, func(s *mm.Space, r *mm.Region) {
		z := measure(s, r)
		sum.rss += z.rss
		sum.anon += z.anon
		sum.locked += z.locked
		if first == 0 {
			first = r.Start
		}
		last = r.End
	})
	var b strings.Builder
	head := fmt.Sprintf("%08x-%08x ---p 00000000 00:00 0 ", first, last)
	fmt.Fprintf(&b, "%-73s[rollup]\n", head)
	sum.write(&b, true)
	return []byte(b.String()), 0
}

// memNode is /proc/PID/mem: the task's memory as a file.
type memNode struct {
	vfs.BaseNode
	made.Meta
	dir *dir
}

func newMem(d *dir, m made.Meta) vfs.Node { return &memNode{Meta: m, dir: d} }

// Attr is the file's.
func (n *memNode) Attr(c *vfs.Caller) (vfs.Attr, abi.Errno) {
	if n.dir.gone() {
		return vfs.Attr{}, abi.ESRCH
	}
	return n.Meta.Attr(c)
}

// SetAttr lets nothing of weight be changed.
func (n *memNode) SetAttr(c *vfs.Caller, s *vfs.SetAttr) abi.Errno { return made.SetAttr(s) }

// Open checks whether the caller may trace the task, and keeps the address space for as long as the file is open.
func (n *memNode) Open(c *vfs.Caller, flags uint32, loc vfs.Location) (vfs.File, abi.Errno) {
	if n.dir.gone() {
		return nil, abi.ESRCH
	}
	if !callerMay(c, n.dir.task) {
		return nil, abi.EACCES
	}
	return &openMem{mem: n.dir.task.Memory()}, 0
}

type openMem struct{ mem *task.Memory }

// Read reads the memory at the file's position: EIO where there is none.
func (o *openMem) Read(c *vfs.Caller, dst *mm.Buf, at vfs.At) (int, abi.Errno) {
	return o.move(c, dst, at, func(u mm.User, b []byte, addr uint64) (int, abi.Errno) {
		n, _ := u.CopyInSome(b, addr)
		if n == 0 {
			return 0, abi.EIO
		}
		return dst.Write(b[:n])
	})
}

// Write writes the memory, also where the program itself could not: what it shares with others becomes its own first.
func (o *openMem) Write(c *vfs.Caller, src *mm.Buf, at vfs.At) (int, abi.Errno) {
	return o.move(c, src, at, func(u mm.User, b []byte, addr uint64) (int, abi.Errno) {
		n, e := src.Read(b)
		if n == 0 {
			return 0, e
		}
		n, _ = u.CopyOutSome(addr, b[:n])
		if n == 0 {
			return 0, abi.EIO
		}
		return n, 0
	})
}

func (o *openMem) move(c *vfs.Caller, buf *mm.Buf, at vfs.At, step func(u mm.User, b []byte, addr uint64) (int, abi.Errno)) (int, abi.Errno) {
	if !o.mem.Grab() {
		return 0, 0
	}
	defer o.mem.Drop()
	u := o.mem.User(c.Thread)
	u.Force = true
	var page [memChunk]byte
	done := 0
	for buf.Len() > 0 {
		want := min(buf.Len(), len(page))
		n, e := step(u, page[:want], uint64(at.Off)+uint64(done))
		done += n
		if e != 0 {
			if done > 0 {
				e = 0
			}
			return done, e
		}
		if n < want || c.Thread != nil && c.Thread.Killed() {
			break
		}
	}
	return done, 0
}

// Seek takes any position, also one that is negative as a number: mem_lseek.
func (o *openMem) Seek(c *vfs.Caller, pos, off int64, whence int) (int64, abi.Errno) {
	switch whence {
	case abi.SEEK_SET:
	case abi.SEEK_CUR:
		off += pos
	default:
		return 0, abi.EINVAL
	}
	return off, 0
}

// Release does nothing: the address space is held during a call only.
func (o *openMem) Release() {}
