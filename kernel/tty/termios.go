package tty

import "goum/arch/abi"

// disabled is the control character that stands for none: _POSIX_VDISABLE. A line that ends in it in the ring ended by VEOF.
const disabled = 0

// StdTermios is the state of a new terminal: Linux's tty_std_termios.
func StdTermios() abi.Termios2 {
	t := abi.Termios2{
		Termios: abi.Termios{
			Iflag: abi.ICRNL | abi.IXON,
			Oflag: abi.OPOST | abi.ONLCR,
			Cflag: abi.B38400 | abi.CS8 | abi.CREAD | abi.HUPCL,
			Lflag: abi.ISIG | abi.ICANON | abi.ECHO | abi.ECHOE | abi.ECHOK | abi.ECHOCTL | abi.ECHOKE | abi.IEXTEN,
		},
		Ispeed: 38400,
		Ospeed: 38400,
	}
	t.Cc = [abi.NCCS]uint8{
		abi.VINTR: 'C' & 0x1f, abi.VQUIT: '\\' & 0x1f, abi.VERASE: 0x7f, abi.VKILL: 'U' & 0x1f, abi.VEOF: 'D' & 0x1f,
		abi.VMIN: 1, abi.VSTART: 'Q' & 0x1f, abi.VSTOP: 'S' & 0x1f, abi.VSUSP: 'Z' & 0x1f, abi.VREPRINT: 'R' & 0x1f,
		abi.VDISCARD: 'O' & 0x1f, abi.VWERASE: 'W' & 0x1f, abi.VLNEXT: 'V' & 0x1f,
	}
	return t
}

// slaveTermios is the state of a new pty's slave.
func slaveTermios() abi.Termios2 {
	t := StdTermios()
	t.Cflag = abi.B38400 | abi.CS8 | abi.CREAD
	return t
}

// masterTermios is the state of a pty's master, which nobody can change: raw.
func masterTermios() abi.Termios2 {
	t := StdTermios()
	t.Iflag, t.Oflag, t.Lflag = 0, 0, 0
	t.Cflag = abi.B38400 | abi.CS8 | abi.CREAD
	return t
}

// speeds are the bits a second of the codes B0 to B38400; those with CBAUDEX start at B57600.
var (
	speeds   = [...]uint32{0, 50, 75, 110, 134, 150, 200, 300, 600, 1200, 1800, 2400, 4800, 9600, 19200, 38400}
	speedsEx = [...]uint32{0, 57600, 115200, 230400, 460800, 500000, 576000, 921600, 1000000, 1152000, 1500000, 2000000, 2500000, 3000000, 3500000, 4000000}
)

func speed(code, other uint32) uint32 {
	switch {
	case code == abi.BOTHER:
		return other
	case code&abi.CBAUDEX != 0:
		return speedsEx[code&0xf]
	}
	return speeds[code&0xf]
}

// setSpeeds makes Ispeed and Ospeed say what the codes in Cflag mean, as Linux does for every change.
func setSpeeds(t *abi.Termios2) {
	t.Ospeed = speed(t.Cflag&abi.CBAUD, t.Ospeed)
	if in := t.Cflag >> abi.IBSHIFT & abi.CBAUD; in == abi.B0 {
		t.Ispeed = t.Ospeed
	} else {
		t.Ispeed = speed(in, t.Ispeed)
	}
}

// keepLocked puts back into t what lock forbids to change: TIOCSLCKTRMIOS.
func keepLocked(t, old, lock *abi.Termios2) {
	keep := func(new *uint32, old, lock uint32) { *new = *new&^lock | old&lock }
	keep(&t.Iflag, old.Iflag, lock.Iflag)
	keep(&t.Oflag, old.Oflag, lock.Oflag)
	keep(&t.Cflag, old.Cflag, lock.Cflag)
	keep(&t.Lflag, old.Lflag, lock.Lflag)
	if lock.Line != 0 {
		t.Line = old.Line
	}
	for i, l := range lock.Cc {
		if l != 0 {
			t.Cc[i] = old.Cc[i]
		}
	}
}

// Classes of characters as Linux's ctype has them: Latin-1.
func isCntrl(c byte) bool { return c < 0x20 || c == 0x7f }

func isUpper(c byte) bool { return 'A' <= c && c <= 'Z' || 0xc0 <= c && c <= 0xde && c != 0xd7 }

func isLower(c byte) bool { return 'a' <= c && c <= 'z' || 0xdf <= c && c != 0xf7 }

func isWord(c byte) bool { return isUpper(c) || isLower(c) || '0' <= c && c <= '9' || c == '_' }

func toLower(c byte) byte {
	if isUpper(c) {
		c += 0x20
	}
	return c
}

func toUpper(c byte) byte {
	if isLower(c) {
		c -= 0x20
	}
	return c
}
