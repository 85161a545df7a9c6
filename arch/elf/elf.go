// Package elf reads what execve runs: ELF files and #! lines; and lays out the stack that a program starts with.
//
// It holds no state. Files come from guests: every number in them is checked before it is used, reads and allocations
// are bounded (limits.go), and what Linux 6.18's binfmt_elf and binfmt_script refuse is refused with the same errno.
package elf

import (
	"encoding/binary"

	"goum/arch/abi"
)

// Reader is the file. ReadAt reads len(p) bytes from off, fewer only at the end of the file.
type Reader interface {
	ReadAt(p []byte, off int64) (int, abi.Errno)
}

// Types of a file, in Plan.Type.
const (
	TypeExec = 2 // ET_EXEC: loaded where it says
	TypeDyn  = 3 // ET_DYN: loaded anywhere
)

const (
	pageSize = 4096
	pageMask = pageSize - 1

	ehdrSize = 64
	phdrSize = 56

	machineX86_64 = 62

	ptLoad     = 1
	ptInterp   = 3
	ptGNUStack = 0x6474e551

	pfX = 1
	pfW = 2
	pfR = 4
)

// Segment is a PT_LOAD header whose numbers have been checked. Addresses are without the bias.
type Segment struct {
	Vaddr  uint64
	Memsz  uint64 // at least Filesz
	Filesz uint64
	Offset uint64 // if Filesz is not 0, congruent to Vaddr in its page
	Prot   uint64 // abi.PROT_*
}

// File is the part that is mapped from the file: whole pages from addr, beginning at offset. length 0: none.
func (s *Segment) File() (addr, length, offset uint64) {
	if s.Filesz == 0 {
		return 0, 0, 0
	}
	in := s.Vaddr & pageMask
	return s.Vaddr - in, pageUp(in + s.Filesz), s.Offset - in
}

// Tail is the rest of the last page of File, which is to be zeroed: from length bytes on at addr. length 0: none. That it cannot
// be written is an error (EFAULT) only if Prot has PROT_WRITE.
func (s *Segment) Tail() (addr, length uint64) {
	if s.Filesz == 0 || s.Memsz == s.Filesz {
		return 0, 0
	}
	addr = s.Vaddr + s.Filesz
	return addr, -addr & pageMask
}

// Anon is the part behind File, of whole pages of zeros. length 0: none. As Linux maps it, it is readable and writable, and
// executable if Prot says so.
func (s *Segment) Anon() (addr, length, prot uint64) {
	if s.Memsz == s.Filesz {
		return 0, 0, 0
	}
	addr = s.Vaddr &^ pageMask
	if s.Filesz != 0 {
		addr = pageUp(s.Vaddr + s.Filesz)
	}
	return addr, pageUp(s.Vaddr+s.Memsz) - addr, abi.PROT_READ | abi.PROT_WRITE | s.Prot&abi.PROT_EXEC
}

func pageUp(n uint64) uint64 { return (n + pageMask) &^ pageMask }

// Plan says how to load a file. All addresses are without the bias: 0 for TypeExec; for TypeDyn, where the caller puts the
// beginning of Span, less that beginning. Linux puts it at a multiple of Align (but not an interpreter).
type Plan struct {
	Type     int
	Entry    uint64
	Phdr     uint64 // AT_PHDR; 0 if no segment holds the headers
	Phnum    int    // AT_PHNUM
	Segments []Segment
	Interp   string // path of the interpreter, if HasInterp
	Align    uint64 // at least a page
	Brk      uint64 // end of the highest segment: the heap begins at the next page (but see HeapElsewhere)

	HasInterp bool
	StackExec bool // PT_GNU_STACK asks for an executable stack

	// For /proc/PID/stat.
	StartCode, EndCode, StartData, EndData uint64

	// Late is what is wrong with the segments. Linux finds that out when the old program is gone already, and
	// kills the process with SIGSEGV; execve itself has succeeded. Segments is then empty.
	Late abi.Errno
}

// HeapElsewhere says that the heap does not follow Brk: a static position-independent program lies where mmap puts it,
// where little room may be above it. Linux begins its heap where it loads programs with an interpreter (ELF_ET_DYN_BASE).
func (p *Plan) HeapElsewhere() bool { return p.Type == TypeDyn && !p.HasInterp }

// PhdrSize is the value of AT_PHENT.
const PhdrSize = phdrSize

// Span is the range of whole pages from the lowest segment to the end of the highest. Reserve hi-lo bytes for a TypeDyn; the
// bias is the address got, less lo.
func (p *Plan) Span() (lo, hi uint64) {
	if len(p.Segments) == 0 {
		return 0, 0
	}
	lo = ^uint64(0)
	for i := range p.Segments {
		s := &p.Segments[i]
		lo, hi = min(lo, s.Vaddr&^pageMask), max(hi, s.Vaddr+s.Memsz)
	}
	return lo, pageUp(hi)
}

// Parse reads the headers of a program. taskSize is the end of the addresses that the guest may use.
//
// ENOEXEC: no ELF file for x86-64, or headers that do not make sense. EIO: the interpreter's path is not all there. An errno of
// r. What is wrong with the segments is in Plan.Late. execve(2), load_elf_binary.
func Parse(r Reader, taskSize uint64) (*Plan, abi.Errno) {
	// Linux looks at the first BINPRM_BUF_SIZE bytes, zeros behind the end of the file.
	var head [ehdrSize]byte
	if _, e := r.ReadAt(head[:], 0); e != 0 {
		return nil, e
	}
	h := parseHeader(&head)
	if !h.magic || h.typ != TypeExec && h.typ != TypeDyn || h.machine != machineX86_64 {
		return nil, abi.ENOEXEC
	}
	phdrs, ok := h.readPhdrs(r)
	if !ok {
		return nil, abi.ENOEXEC
	}
	p := &Plan{Type: int(h.typ), Entry: h.entry, Phnum: int(h.phnum)}
	for _, ph := range phdrs {
		if ph.typ != ptInterp {
			continue
		}
		if ph.filesz > maxInterpPath || ph.filesz < 2 {
			return nil, abi.ENOEXEC
		}
		path := make([]byte, ph.filesz)
		if e := readFull(r, path, ph.offset); e != 0 {
			return nil, e
		}
		if path[len(path)-1] != 0 {
			return nil, abi.ENOEXEC
		}
		p.Interp, p.HasInterp = cString(path), true
		break
	}
	for _, ph := range phdrs {
		if ph.typ == ptGNUStack {
			p.StackExec = ph.flags&pfX != 0
		}
	}
	p.load(h, phdrs, taskSize)
	return p, 0
}

// ParseInterp reads the headers of a program's interpreter. ELIBBAD: no ELF file for x86-64, or headers that do not make
// sense. EIO: no whole header. What Linux finds out too late is in Plan.Late.
func ParseInterp(r Reader, taskSize uint64) (*Plan, abi.Errno) {
	var head [ehdrSize]byte
	if e := readFull(r, head[:], 0); e != 0 {
		return nil, e
	}
	h := parseHeader(&head)
	if !h.magic || h.machine != machineX86_64 {
		return nil, abi.ELIBBAD
	}
	phdrs, ok := h.readPhdrs(r)
	if !ok {
		return nil, abi.ELIBBAD
	}
	p := &Plan{Type: int(h.typ), Entry: h.entry, Phnum: int(h.phnum)}
	if h.typ != TypeExec && h.typ != TypeDyn {
		p.Late = abi.ENOEXEC
		return p, 0
	}
	p.load(h, phdrs, taskSize)
	return p, 0
}

type header struct {
	magic        bool
	typ, machine uint16
	entry, phoff uint64
	phentsize    uint16
	phnum        uint16
}

func parseHeader(b *[ehdrSize]byte) header {
	le := binary.LittleEndian
	return header{
		magic:     string(b[:4]) == "\x7fELF",
		typ:       le.Uint16(b[16:]),
		machine:   le.Uint16(b[18:]),
		entry:     le.Uint64(b[24:]),
		phoff:     le.Uint64(b[32:]),
		phentsize: le.Uint16(b[54:]),
		phnum:     le.Uint16(b[56:]),
	}
}

type phdr struct {
	typ, flags                            uint32
	offset, vaddr, filesz, memsz, aligned uint64
}

func (h *header) readPhdrs(r Reader) ([]phdr, bool) {
	size := int(h.phnum) * phdrSize
	if h.phentsize != phdrSize || size == 0 || size > maxPhdrBytes {
		return nil, false
	}
	b := make([]byte, size)
	if readFull(r, b, h.phoff) != 0 {
		return nil, false
	}
	phdrs := make([]phdr, h.phnum)
	le := binary.LittleEndian
	for i := range phdrs {
		b := b[i*phdrSize:]
		phdrs[i] = phdr{
			typ: le.Uint32(b), flags: le.Uint32(b[4:]), offset: le.Uint64(b[8:]), vaddr: le.Uint64(b[16:]),
			filesz: le.Uint64(b[32:]), memsz: le.Uint64(b[40:]), aligned: le.Uint64(b[48:]),
		}
	}
	return phdrs, true
}

// readFull is Linux's elf_read: EINVAL for an offset beyond all files, EIO where the file ends too early.
func readFull(r Reader, p []byte, off uint64) abi.Errno {
	if int64(off) < 0 || int64(off)+int64(len(p)) < 0 {
		return abi.EINVAL
	}
	n, e := r.ReadAt(p, int64(off))
	if e != 0 {
		return e
	}
	if n != len(p) {
		return abi.EIO
	}
	return 0
}

func cString(b []byte) string {
	for i, c := range b {
		if c == 0 {
			return string(b[:i])
		}
	}
	return string(b)
}

// load fills p from the PT_LOAD headers, or sets p.Late.
func (p *Plan) load(h header, phdrs []phdr, taskSize uint64) {
	p.Align = pageSize
	p.StartCode = ^uint64(0)
	for _, ph := range phdrs {
		if ph.typ != ptLoad {
			continue
		}
		if e := ph.check(taskSize); e != 0 {
			p.Late, p.Segments = e, nil
			return
		}
		if ph.aligned&(ph.aligned-1) == 0 {
			p.Align = max(p.Align, ph.aligned)
		}
		if ph.offset <= h.phoff && ph.filesz != 0 && h.phoff-ph.offset < ph.filesz {
			p.Phdr = h.phoff - ph.offset + ph.vaddr
		}
		if ph.flags&pfX != 0 {
			p.StartCode, p.EndCode = min(p.StartCode, ph.vaddr), max(p.EndCode, ph.vaddr+ph.filesz)
		}
		p.StartData, p.EndData = max(p.StartData, ph.vaddr), max(p.EndData, ph.vaddr+ph.filesz)
		p.Brk = max(p.Brk, ph.vaddr+ph.memsz)
		p.Segments = append(p.Segments, Segment{
			Vaddr: ph.vaddr, Memsz: ph.memsz, Filesz: ph.filesz, Offset: ph.offset, Prot: ph.prot(),
		})
	}
	lo, hi := p.Span()
	switch {
	case hi == lo: // nothing to load: there is nothing that could run, or be an interpreter
		p.Late = abi.EINVAL
	case !p.HasInterp && p.Entry >= taskSize: // with an interpreter, that is between the two
		p.Late = abi.EINVAL
	case hi > taskSize || p.Align > taskSize:
		p.Late = abi.ENOMEM
	}
	if p.Late != 0 {
		p.Segments = nil
	}
}

// check says what Linux finds wrong with a PT_LOAD header when it maps the segment (EINVAL, EOVERFLOW), or right after.
func (ph *phdr) check(taskSize uint64) abi.Errno {
	if ph.vaddr >= taskSize || ph.filesz > ph.memsz || ph.memsz > taskSize || taskSize-ph.memsz < ph.vaddr {
		return abi.EINVAL
	}
	if ph.filesz == 0 {
		return 0
	}
	if (ph.offset-ph.vaddr)&pageMask != 0 || ph.offset < ph.vaddr&pageMask {
		return abi.EINVAL
	}
	if ph.offset > maxFileOffset || ph.filesz > maxFileOffset-ph.offset {
		return abi.EOVERFLOW
	}
	return 0
}

func (ph *phdr) prot() (prot uint64) {
	if ph.flags&pfR != 0 {
		prot |= abi.PROT_READ
	}
	if ph.flags&pfW != 0 {
		prot |= abi.PROT_WRITE
	}
	if ph.flags&pfX != 0 {
		prot |= abi.PROT_EXEC
	}
	return prot
}
