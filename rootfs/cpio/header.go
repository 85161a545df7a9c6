package cpio

import (
	"fmt"
	"strings"
)

// The type of a file in Header.Mode, as in stat(2).
const (
	TypeMask    = 0o170000
	TypeSocket  = 0o140000
	TypeSymlink = 0o120000
	TypeRegular = 0o100000
	TypeBlock   = 0o060000
	TypeDir     = 0o040000
	TypeChar    = 0o020000
	TypeFIFO    = 0o010000
)

const (
	magicNewc  = "070701"
	magicCrc   = "070702"
	headerSize = 110 // the magic and thirteen numbers of eight hexadecimal digits
	trailer    = "TRAILER!!!"
)

// A Header describes one entry. Numbers are as the archive has them, 32 bits each.
type Header struct {
	Name                 string // relative and clean, "." for the root; see the package's invariants
	Ino                  uint32
	Mode                 uint32 // type and permissions, as st_mode
	UID, GID             uint32
	NLink                uint32
	MTime                uint32 // seconds since 1970
	Size                 uint32 // of the body in bytes; a symlink's is its target, without a NUL
	DevMajor, DevMinor   uint32 // of the file system that the entry was read from
	RDevMajor, RDevMinor uint32 // of the device that the entry is

	// LinkTo is the Name of the first entry that is the same file (more than one link; device, inode and type the
	// same; in the same archive), or empty. The reader sets it, the writer ignores it. The entry is then to be
	// linked there; and if it has a body, that is the file's content from now on (cpio puts the content into the last
	// of the links).
	LinkTo string
}

// Type returns the file type bits of the mode.
func (h *Header) Type() uint32 { return h.Mode & TypeMask }

// A FormatError says what is wrong with an archive, on one line.
type FormatError struct {
	Offset  int64  // in bytes into the input, or into the unpacked data of a compressed part
	Problem string // names the entry
}

func (e *FormatError) Error() string { return e.Problem }

func wrong(offset int, format string, args ...any) error {
	return &FormatError{Offset: int64(offset), Problem: fmt.Sprintf(format, args...)}
}

// shown quotes a name for an error message: on one line and not at length.
func shown(name string) string {
	if len(name) > maxShown {
		return fmt.Sprintf("%q...", name[:maxShown])
	}
	return fmt.Sprintf("%q", name)
}

// fields returns the header's numbers in the order in which they are stored.
func (h *Header) fields() [11]*uint32 {
	return [11]*uint32{&h.Ino, &h.Mode, &h.UID, &h.GID, &h.NLink, &h.MTime, &h.Size,
		&h.DevMajor, &h.DevMinor, &h.RDevMajor, &h.RDevMinor}
}

// decode fills h from the headerSize bytes at b, but for its name, and returns the last two numbers. ok is false
// where a digit is not hexadecimal.
func (h *Header) decode(b []byte) (nameSize, sum uint32, ok bool) {
	b = b[len(magicNewc):headerSize]
	for _, f := range h.fields() {
		if *f, ok = hex(b); !ok {
			return 0, 0, false
		}
		b = b[8:]
	}
	if nameSize, ok = hex(b); !ok {
		return 0, 0, false
	}
	sum, ok = hex(b[8:])
	return nameSize, sum, ok
}

func hex(b []byte) (uint32, bool) {
	var v uint32
	for _, c := range b[:8] {
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c && c <= 'f':
			c -= 'a' - 10
		case 'A' <= c && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		v = v<<4 | uint32(c)
	}
	return v, true
}

// cleanName makes a stored name relative and clean; problem says why that is not possible. A name that starts with
// "/" means the same as one that does not: Linux unpacks at the root. ".." could be resolved as Linux does only
// by looking at symlinks on the way, and nothing honest needs it.
func cleanName(stored string) (name, problem string) {
	if stored == "" {
		return "", "the name is empty"
	}
	var b strings.Builder
	for element := range strings.SplitSeq(stored, "/") {
		switch {
		case element == "" || element == ".":
			continue
		case element == "..":
			return "", `the name leaves the archive with ".."`
		case len(element) > NameMax:
			return "", fmt.Sprintf("a part of the name is %d bytes long (at most %d)", len(element), NameMax)
		}
		if b.Len() > 0 {
			b.WriteByte('/')
		}
		b.WriteString(element)
	}
	if b.Len() == 0 {
		return ".", ""
	}
	return b.String(), ""
}

// nameSpace is how many bytes a name of n bytes (with its NUL) takes, so that a header and its name together end
// on a multiple of four.
func nameSpace(n int) int { return (n+1)&^3 + 2 }

// align4 rounds up to a multiple of four.
func align4(n int) int { return (n + 3) &^ 3 }
