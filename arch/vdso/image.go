package vdso

import "encoding/binary"

// Soname and Version are what C libraries look for.
const (
	Soname  = "linux-vdso.so.1"
	Version = "LINUX_2.6"
)

const (
	ehdrSize = 64
	phdrSize = 56
	shdrSize = 64
	symSize  = 24

	baseVersion = 1 // indices of versions
	ourVersion  = 2
)

// Image is the vDSO: PageSize bytes, to be mapped readable and executable with a TimePage in the page before. AT_SYSINFO_EHDR is
// its address. Each call makes it anew.
func Image() []byte {
	b := builder{}
	b.at = ehdrSize + 2*phdrSize

	// Symbols: each function as __vdso_NAME, and weak as NAME.
	codes := code()
	var names []string
	for _, f := range functions {
		names = append(names, "__vdso_"+f)
	}
	names = append(names, functions[:]...)
	dynstr := newTable()
	soname, version := dynstr.add(Soname), dynstr.add(Version)
	offsets := make([]uint32, len(names))
	for i, n := range names {
		offsets[i] = dynstr.add(n)
	}

	sections := newTable()
	b.section(sections, section{}) // the null section
	dynsym := b.section(sections, section{name: ".dynsym", typ: 11, flags: 2, size: symSize * (len(names) + 1), entry: symSize, link: 2, info: 1})
	str := b.section(sections, section{name: ".dynstr", typ: 3, flags: 2, size: len(dynstr.b)})
	copy(str, dynstr.b)

	hash := b.section(sections, section{name: ".hash", typ: 5, flags: 2, size: 4 * (2 + 1 + len(names) + 1), entry: 4, link: 1})
	putHash(hash, len(names))
	gnuHash := b.section(sections, section{name: ".gnu.hash", typ: 0x6ffffff6, flags: 2, size: 4*4 + 8 + 4 + 4*len(names), link: 1})
	putGNUHash(gnuHash, names)

	versym := b.section(sections, section{name: ".gnu.version", typ: 0x6fffffff, flags: 2, size: 2 * (len(names) + 1), entry: 2, link: 1})
	for i := range names {
		le.PutUint16(versym[2*(i+1):], ourVersion)
	}
	verdef := b.section(sections, section{name: ".gnu.version_d", typ: 0x6ffffffd, flags: 2, size: 2 * 28, link: 2, info: 2})
	putVerdef(verdef, 1, baseVersion, Soname, soname, 28)
	putVerdef(verdef[28:], 0, ourVersion, Version, version, 0)

	at := func(section int) uint64 { return uint64(b.headers[section].offset) }
	tags := [][2]uint64{
		{14, uint64(soname)},        // DT_SONAME
		{4, at(3)},                  // DT_HASH
		{0x6ffffef5, at(4)},         // DT_GNU_HASH
		{5, at(2)},                  // DT_STRTAB
		{6, at(1)},                  // DT_SYMTAB
		{10, uint64(len(dynstr.b))}, // DT_STRSZ
		{11, symSize},               // DT_SYMENT
		{0x6ffffffc, at(6)},         // DT_VERDEF
		{0x6ffffffd, 2},             // DT_VERDEFNUM
		{0x6ffffff0, at(5)},         // DT_VERSYM
		{0, 0},                      // DT_NULL
	}
	dynamic := b.section(sections, section{name: ".dynamic", typ: 6, flags: 2, size: 16 * len(tags), entry: 16, link: 2})
	for i, t := range tags {
		le.PutUint64(dynamic[16*i:], t[0])
		le.PutUint64(dynamic[16*i+8:], t[1])
	}
	dyn := b.headers[len(b.headers)-1]

	size := 0
	for _, c := range codes {
		size += (len(c) + 15) &^ 15
	}
	text := b.section(sections, section{name: ".text", typ: 1, flags: 2 | 4, size: size, align: 16})
	textAt := b.headers[len(b.headers)-1].offset
	textIndex := len(b.headers) - 1
	for i := range text {
		text[i] = 0x90 // between functions
	}
	for n, off := 0, 0; n < len(codes); n++ {
		copy(text[off:], codes[n])
		putSym(dynsym[symSize*(n+1):], offsets[n], 1, textIndex, textAt+off, len(codes[n]))
		weak := n + len(codes)
		putSym(dynsym[symSize*(weak+1):], offsets[weak], 2, textIndex, textAt+off, len(codes[n]))
		off += (len(codes[n]) + 15) &^ 15
	}

	own := sections.add(".shstrtab") // before its size is taken
	shstr := b.section(sections, section{nameAt: own, typ: 3, size: len(sections.b)})
	copy(shstr, sections.b)
	b.at = (b.at + 7) &^ 7
	headers := b.bytes(shdrSize * len(b.headers))
	for i, h := range b.headers {
		h.put(headers[shdrSize*i:])
	}

	// The ELF header, and two program headers: the whole page, and the dynamic section.
	e := b.image[:]
	copy(e, "\x7fELF\x02\x01\x01")
	le.PutUint16(e[16:], 3)  // ET_DYN
	le.PutUint16(e[18:], 62) // x86-64
	le.PutUint32(e[20:], 1)
	le.PutUint64(e[24:], uint64(textAt))
	le.PutUint64(e[32:], ehdrSize)
	le.PutUint64(e[40:], uint64(b.at-len(headers)))
	le.PutUint16(e[52:], ehdrSize)
	le.PutUint16(e[54:], phdrSize)
	le.PutUint16(e[56:], 2)
	le.PutUint16(e[58:], shdrSize)
	le.PutUint16(e[60:], uint16(len(b.headers)))
	le.PutUint16(e[62:], uint16(len(b.headers)-1))
	putPhdr(e[ehdrSize:], 1, 5, 0, b.at, PageSize) // PT_LOAD, readable and executable
	putPhdr(e[ehdrSize+phdrSize:], 2, 4, dyn.offset, dyn.size, 8)
	return e
}

var le = binary.LittleEndian

// A builder fills the page from its beginning. That all fits is a property of the code in this package, and tested.
type builder struct {
	image   [PageSize]byte
	at      int
	headers []section
}

func (b *builder) bytes(n int) []byte {
	p := b.image[b.at : b.at+n : b.at+n]
	b.at += n
	return p
}

type section struct {
	name                       string
	nameAt                     uint32
	typ, flags                 uint64
	offset, size, entry, align int
	link, info                 uint32
}

// section makes a section of s.size bytes and returns them.
func (b *builder) section(names *stringTable, s section) []byte {
	if s.align == 0 {
		s.align = 8
	}
	if s.typ != 0 {
		b.at = (b.at + s.align - 1) &^ (s.align - 1)
		s.offset = b.at
		if s.name != "" {
			s.nameAt = names.add(s.name)
		}
	}
	b.headers = append(b.headers, s)
	return b.bytes(s.size)
}

func (s *section) put(b []byte) {
	le.PutUint32(b, s.nameAt)
	le.PutUint32(b[4:], uint32(s.typ))
	le.PutUint64(b[8:], s.flags)
	if s.flags != 0 {
		le.PutUint64(b[16:], uint64(s.offset)) // address
	}
	le.PutUint64(b[24:], uint64(s.offset))
	le.PutUint64(b[32:], uint64(s.size))
	le.PutUint32(b[40:], s.link)
	le.PutUint32(b[44:], s.info)
	le.PutUint64(b[48:], uint64(s.align))
	le.PutUint64(b[56:], uint64(s.entry))
}

// A stringTable holds strings with a NUL behind each; the empty one comes first.
type stringTable struct{ b []byte }

func newTable() *stringTable { return &stringTable{[]byte{0}} }

func (t *stringTable) add(s string) uint32 {
	at := len(t.b)
	t.b = append(append(t.b, s...), 0)
	return uint32(at)
}

func putPhdr(b []byte, typ, flags uint32, at, size, align int) {
	le.PutUint32(b, typ)
	le.PutUint32(b[4:], flags)
	le.PutUint64(b[8:], uint64(at))
	le.PutUint64(b[16:], uint64(at))
	le.PutUint64(b[24:], uint64(at))
	le.PutUint64(b[32:], uint64(size))
	le.PutUint64(b[40:], uint64(size))
	le.PutUint64(b[48:], uint64(align))
}

// putSym writes a function's symbol; bind is 1 (global) or 2 (weak).
func putSym(b []byte, name uint32, bind byte, section, at, size int) {
	le.PutUint32(b, name)
	b[4] = bind<<4 | 2
	le.PutUint16(b[6:], uint16(section))
	le.PutUint64(b[8:], uint64(at))
	le.PutUint64(b[16:], uint64(size))
}

// putHash writes a DT_HASH table of one bucket: symbols 1 to n, each followed by the next.
func putHash(b []byte, n int) {
	le.PutUint32(b, 1)
	le.PutUint32(b[4:], uint32(n+1))
	le.PutUint32(b[8:], 1)
	for i := 1; i < n; i++ {
		le.PutUint32(b[12+4*i:], uint32(i+1))
	}
}

// putGNUHash writes a DT_GNU_HASH table of one bucket, with a Bloom filter that lets all through.
func putGNUHash(b []byte, names []string) {
	le.PutUint32(b, 1)
	le.PutUint32(b[4:], 1) // the first symbol
	le.PutUint32(b[8:], 1) // words of the filter
	le.PutUint64(b[16:], ^uint64(0))
	le.PutUint32(b[24:], 1)
	for i, n := range names {
		h := uint32(5381)
		for _, c := range []byte(n) {
			h = h*33 + uint32(c)
		}
		h &^= 1
		if i == len(names)-1 {
			h |= 1 // the end of the bucket
		}
		le.PutUint32(b[28+4*i:], h)
	}
}

// putVerdef writes a version's definition (Elf64_Verdef) and its name behind it (Elf64_Verdaux).
func putVerdef(b []byte, flags, index uint16, name string, nameAt, next uint32) {
	h := uint32(0) // the hash of the System V ABI
	for _, c := range []byte(name) {
		h = h<<4 + uint32(c)
		h ^= h >> 24 & 0xf0
		h &= 0x0fffffff
	}
	le.PutUint16(b, 1)
	le.PutUint16(b[2:], flags)
	le.PutUint16(b[4:], index)
	le.PutUint16(b[6:], 1) // names
	le.PutUint32(b[8:], h)
	le.PutUint32(b[12:], 20)
	le.PutUint32(b[16:], next)
	le.PutUint32(b[20:], nameAt)
}
