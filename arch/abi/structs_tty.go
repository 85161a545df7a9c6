package abi

import "encoding/binary"

// NCCS is how many control characters the kernel's struct termios has (glibc's has 32: not this one).
const NCCS = 19

// Termios is the kernel's struct termios, which TCGETS and TCSETS carry: termios(3), ioctl_tty(2).
type Termios struct {
	Iflag uint32
	Oflag uint32
	Cflag uint32
	Lflag uint32
	Line  uint8
	Cc    [NCCS]uint8
}

// TermiosSize is the size of struct termios.
const TermiosSize = 36

// Termios2 is struct termios2, which TCGETS2 and TCSETS2 carry: struct termios and the speeds in bits a second.
type Termios2 struct {
	Termios
	Ispeed uint32
	Ospeed uint32
}

// Termios2Size is the size of struct termios2.
const Termios2Size = 44

// NCC is how many control characters struct termio has.
const NCC = 8

// TermioSize is the size of struct termio, which TCGETA and TCSETA carry: five fields of 16, 16, 16, 16 and 8 bits, NCC characters.
const TermioSize = 18

// Winsize is struct winsize: the size of a terminal in characters and, where known, in pixels. TIOCGWINSZ(2const).
type Winsize struct {
	Row    uint16
	Col    uint16
	Xpixel uint16
	Ypixel uint16
}

// WinsizeSize is the size of struct winsize.
const WinsizeSize = 8

// PutBytes writes t into the first TermiosSize bytes of b as user space sees it.
func (t *Termios) PutBytes(b []byte) {
	_ = b[TermiosSize-1]
	binary.LittleEndian.PutUint32(b[0:], t.Iflag)
	binary.LittleEndian.PutUint32(b[4:], t.Oflag)
	binary.LittleEndian.PutUint32(b[8:], t.Cflag)
	binary.LittleEndian.PutUint32(b[12:], t.Lflag)
	b[16] = t.Line
	copy(b[17:TermiosSize], t.Cc[:])
}

// SetBytes reads t from the first TermiosSize bytes of b.
func (t *Termios) SetBytes(b []byte) {
	_ = b[TermiosSize-1]
	t.Iflag = binary.LittleEndian.Uint32(b[0:])
	t.Oflag = binary.LittleEndian.Uint32(b[4:])
	t.Cflag = binary.LittleEndian.Uint32(b[8:])
	t.Lflag = binary.LittleEndian.Uint32(b[12:])
	t.Line = b[16]
	copy(t.Cc[:], b[17:TermiosSize])
}

// PutBytes writes t into the first Termios2Size bytes of b as user space sees it.
func (t *Termios2) PutBytes(b []byte) {
	_ = b[Termios2Size-1]
	t.Termios.PutBytes(b)
	binary.LittleEndian.PutUint32(b[36:], t.Ispeed)
	binary.LittleEndian.PutUint32(b[40:], t.Ospeed)
}

// SetBytes reads t from the first Termios2Size bytes of b.
func (t *Termios2) SetBytes(b []byte) {
	_ = b[Termios2Size-1]
	t.Termios.SetBytes(b)
	t.Ispeed = binary.LittleEndian.Uint32(b[36:])
	t.Ospeed = binary.LittleEndian.Uint32(b[40:])
}

// PutTermio writes t as struct termio, whose flags are the lower halves, into the first TermioSize bytes of b.
func (t *Termios) PutTermio(b []byte) {
	_ = b[TermioSize-1]
	binary.LittleEndian.PutUint16(b[0:], uint16(t.Iflag))
	binary.LittleEndian.PutUint16(b[2:], uint16(t.Oflag))
	binary.LittleEndian.PutUint16(b[4:], uint16(t.Cflag))
	binary.LittleEndian.PutUint16(b[6:], uint16(t.Lflag))
	b[8] = t.Line
	copy(b[9:9+NCC], t.Cc[:NCC])
	b[17] = 0
}

// SetTermio reads struct termio from the first TermioSize bytes of b; what it does not carry stays as it was.
func (t *Termios) SetTermio(b []byte) {
	_ = b[TermioSize-1]
	low := func(old uint32, at int) uint32 { return old&0xffff0000 | uint32(binary.LittleEndian.Uint16(b[at:])) }
	t.Iflag, t.Oflag, t.Cflag, t.Lflag = low(t.Iflag, 0), low(t.Oflag, 2), low(t.Cflag, 4), low(t.Lflag, 6)
	t.Line = b[8]
	copy(t.Cc[:NCC], b[9:9+NCC])
}

// PutBytes writes w into the first WinsizeSize bytes of b as user space sees it.
func (w *Winsize) PutBytes(b []byte) {
	_ = b[WinsizeSize-1]
	binary.LittleEndian.PutUint16(b[0:], w.Row)
	binary.LittleEndian.PutUint16(b[2:], w.Col)
	binary.LittleEndian.PutUint16(b[4:], w.Xpixel)
	binary.LittleEndian.PutUint16(b[6:], w.Ypixel)
}

// SetBytes reads w from the first WinsizeSize bytes of b.
func (w *Winsize) SetBytes(b []byte) {
	_ = b[WinsizeSize-1]
	w.Row = binary.LittleEndian.Uint16(b[0:])
	w.Col = binary.LittleEndian.Uint16(b[2:])
	w.Xpixel = binary.LittleEndian.Uint16(b[4:])
	w.Ypixel = binary.LittleEndian.Uint16(b[6:])
}
