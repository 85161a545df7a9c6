package tty

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"goum/arch/abi"
	"goum/kernel/cred"
	"goum/kernel/fs/vfs"
	"goum/mm"
)

// side is a pty as the tests use it: ours, or the host's, which is the oracle.
type side interface {
	set(t abi.Termios2, flush bool)
	get() abi.Termios
	typed(p []byte) int // the terminal emulator writes
	shown(want int) []byte
	write(p []byte) int                        // the program writes
	read(n int, wait bool) (int, []byte, bool) // the program reads: count, bytes, and whether there was anything (else it would block)
	waiting() int
	flushInput()
}

var _, _ side = (*ourPty)(nil), (*hostPty)(nil)

// ourPty is a pair of this package, outside any file system.
type ourPty struct {
	m, s *file
	c    *vfs.Caller
}

func newOurPty() *ourPty {
	p := newPair(nil, 0, nil)
	p.slave.unlocked = true
	return &ourPty{m: p.master.newFile(abi.O_RDWR, false), s: p.slave.newFile(abi.O_RDWR, false), c: &vfs.Caller{Cred: cred.Root()}}
}

var nonblock = vfs.At{Flags: abi.O_NONBLOCK}

func (o *ourPty) set(t abi.Termios2, flush bool) {
	s := o.s.t
	s.mu.Lock()
	defer s.mu.Unlock()
	if flush {
		s.disc.FlushInput()
	}
	s.setTermios(t)
}

func (o *ourPty) get() abi.Termios { return o.s.t.Termios().Termios }

func (o *ourPty) typed(p []byte) int {
	n, _ := o.m.Write(o.c, mm.BytesBuf(p), nonblock)
	return n
}

func (o *ourPty) shown(int) (out []byte) {
	var b [4096]byte
	for {
		n, e := o.m.Read(o.c, mm.BytesBuf(b[:]), nonblock)
		if e != 0 || n == 0 {
			return out
		}
		out = append(out, b[:n]...)
	}
}

func (o *ourPty) write(p []byte) int {
	n, _ := o.s.Write(o.c, mm.BytesBuf(p), nonblock)
	return n
}

func (o *ourPty) read(n int, _ bool) (int, []byte, bool) {
	b := make([]byte, n)
	got, e := o.s.Read(o.c, mm.BytesBuf(b), nonblock)
	if e == abi.EAGAIN {
		return 0, nil, false
	}
	return got, b[:got], true
}

func (o *ourPty) waiting() int {
	o.s.t.mu.Lock()
	defer o.s.t.mu.Unlock()
	return o.s.t.disc.Waiting()
}

func (o *ourPty) flushInput() { o.s.t.flush(abi.TCIFLUSH) }

// hostPty is the host's.
type hostPty struct {
	m, s int
	t    *testing.T
}

func newHostPty(t *testing.T) *hostPty {
	m, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Skip("no ptys on this host: ", err)
	}
	if err := unix.IoctlSetPointerInt(m, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(m, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	s, err := unix.Open(fmt.Sprintf("/dev/pts/%d", n), unix.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		unix.Close(m)
		t.Skip("no slave on this host: ", err)
	}
	t.Cleanup(func() { unix.Close(s); unix.Close(m) })
	return &hostPty{m, s, t}
}

func (h *hostPty) set(t abi.Termios2, flush bool) {
	u := unix.Termios{Iflag: t.Iflag, Oflag: t.Oflag, Cflag: t.Cflag, Lflag: t.Lflag, Line: t.Line}
	copy(u.Cc[:], t.Cc[:])
	req := uint(unix.TCSETS)
	if flush {
		req = unix.TCSETSF
	}
	if err := unix.IoctlSetTermios(h.s, req, &u); err != nil {
		h.t.Fatal(err)
	}
}

func (h *hostPty) get() (t abi.Termios) {
	u, err := unix.IoctlGetTermios(h.s, unix.TCGETS)
	if err != nil {
		h.t.Fatal(err)
	}
	t = abi.Termios{Iflag: u.Iflag, Oflag: u.Oflag, Cflag: u.Cflag, Lflag: u.Lflag, Line: u.Line}
	copy(t.Cc[:], u.Cc[:abi.NCCS])
	return t
}

func (h *hostPty) typed(p []byte) int {
	n, _ := unix.Write(h.m, p)
	settle(h.s)
	return max(n, 0)
}

// settle has the host's worker hand over what was written to the other side of fd: a poll that finds nothing to read waits for it.
func settle(fd int) {
	unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
}

// hostTries bounds how often, a millisecond apart, something is looked for that the host is to hand over: it may be busy with other things.
const hostTries = 10000

// shown waits for want bytes: the host's ptys hand them over on a worker of the kernel. A little more waiting shows what is too much.
func (h *hostPty) shown(want int) (out []byte) {
	b := make([]byte, 1<<16)
	for tries := 0; ; {
		settle(h.m)
		n, err := unix.Read(h.m, b)
		if n > 0 {
			out = append(out, b[:n]...)
			continue
		}
		if err == unix.EINTR {
			continue
		}
		tries++
		if len(out) >= want && tries > 2 || tries > hostTries {
			return out
		}
		time.Sleep(time.Millisecond)
	}
}

func (h *hostPty) write(p []byte) int {
	n, _ := unix.Write(h.s, p)
	return max(n, 0)
}

func (h *hostPty) read(n int, wait bool) (int, []byte, bool) {
	b := make([]byte, n)
	for tries := 0; ; tries++ {
		got, err := unix.Read(h.s, b)
		switch {
		case err == nil && (got > 0 || !wait || tries > hostTries):
			return got, b[:got], true
		case err == unix.EAGAIN && (!wait || tries > hostTries):
			return 0, nil, false
		}
		time.Sleep(time.Millisecond)
	}
}

func (h *hostPty) waiting() int {
	n, _ := unix.IoctlGetInt(h.s, unix.TIOCINQ)
	return n
}

func (h *hostPty) flushInput() { unix.IoctlSetInt(h.s, unix.TCFLSH, unix.TCIFLUSH) }

// step is one thing done to both.
type step struct {
	set   func(*abi.Termios2)
	typed string
	write string
	read  int
	drop  bool // TCIFLUSH
}

func (s step) String() string {
	switch {
	case s.set != nil:
		return "set"
	case s.drop:
		return "flush"
	case s.read > 0:
		return fmt.Sprintf("read(%d)", s.read)
	case s.write != "":
		return fmt.Sprintf("write(%.60q)", s.write)
	}
	return fmt.Sprintf("type(%.60q)", s.typed)
}

// both runs steps on ours and on the host's, and reports the first difference.
func both(t *testing.T, h *hostPty, steps []step) bool {
	t.Helper()
	o := newOurPty()
	cur := StdTermios()
	o.set(cur, true)
	h.set(cur, true)
	h.flushInput()
	h.shown(0)
	var log []string
	fail := func(format string, args ...any) bool {
		t.Errorf("after %s:\n%s", strings.Join(log, " "), fmt.Sprintf(format, args...))
		return false
	}
	for _, s := range steps {
		log = append(log, s.String())
		switch {
		case s.set != nil:
			s.set(&cur)
			log = append(log, fmt.Sprintf("{i%#x o%#x l%#x cc%v}", cur.Iflag, cur.Oflag, cur.Lflag, cur.Cc))
			o.set(cur, false)
			h.set(cur, false)
			if a, b := o.get(), h.get(); a != b {
				return fail("settings %+v, host %+v", a, b)
			}
			cur.Termios = o.get()
		case s.drop:
			o.flushInput()
			h.flushInput()
		case s.read > 0:
			n, p, ok := o.read(s.read, false)
			hn, hp, hok := h.read(s.read, n > 0)
			if n != hn || ok != hok || !bytes.Equal(p, hp) {
				return fail("read %d %v %.200q, host %d %v %.200q", n, ok, p, hn, hok, hp)
			}
		case s.write != "":
			a, b := o.write([]byte(s.write)), h.write([]byte(s.write))
			if a != b {
				return fail("wrote %d, host %d", a, b)
			}
		default:
			a, b := o.typed([]byte(s.typed)), h.typed([]byte(s.typed))
			if a != b {
				return fail("typed %d, host %d", a, b)
			}
		}
		out := o.shown(0)
		if hout := h.shown(len(out)); !bytes.Equal(out, hout) {
			return fail("shown %.300q, host %.300q", out, hout)
		}
		for tries := 0; ; tries++ {
			a, b := o.waiting(), h.waiting()
			if a == b {
				break
			}
			if tries > hostTries {
				return fail("FIONREAD %d, host %d", a, b)
			}
			time.Sleep(time.Millisecond)
		}
	}
	return true
}

func lflag(on, off uint32) step {
	return step{set: func(t *abi.Termios2) { t.Lflag = t.Lflag&^off | on }}
}
func iflag(on, off uint32) step {
	return step{set: func(t *abi.Termios2) { t.Iflag = t.Iflag&^off | on }}
}
func oflag(on, off uint32) step {
	return step{set: func(t *abi.Termios2) { t.Oflag = t.Oflag&^off | on }}
}
func cc(i int, c byte) step { return step{set: func(t *abi.Termios2) { t.Cc[i] = c }} }
func typed(s string) step   { return step{typed: s} }
func write(s string) step   { return step{write: s} }
func read(n int) step       { return step{read: n} }

var raw = step{set: func(t *abi.Termios2) {
	t.Iflag, t.Oflag, t.Lflag = 0, 0, 0
	t.Cc[abi.VMIN], t.Cc[abi.VTIME] = 1, 0
}}

// TestAgainstHost runs scripts on a pty of ours and on one of the host: Linux is the oracle.
func TestAgainstHost(t *testing.T) {
	long := strings.Repeat("0123456789abcdef", 300)
	for name, steps := range map[string][]step{
		"line":                 {typed("hello\n"), read(100), read(100)},
		"cr becomes nl":        {typed("a\rb\r"), read(100), read(100), read(100)},
		"erase":                {typed("abc\x7f\x7fX\n"), read(100)},
		"erase tabs":           {typed("ab\tc\x7f\x7fX\n"), read(100), typed("\t\x7f\x7f\n"), read(9)},
		"erase tab after text": {write("prompt> "), typed("\tx\x7f\x7f\x7f\n"), read(9)},
		"erase control":        {typed("a\x01b\x7f\x7f\x7f\n"), read(100)},
		"erase utf8":           {iflag(abi.IUTF8, 0), typed("aé漢\x7f\x7fx\n"), read(100)},
		"erase bytes":          {typed("aé\x7f\n"), read(100)},
		"word":                 {typed("one two  three\x17\x17x\n"), read(100), typed("a_b-c\x17\n"), read(10)},
		"kill":                 {typed("abc\x15def\n"), read(100)},
		"kill no echoke":       {lflag(0, abi.ECHOKE), typed("abc\x15def\n"), read(100)},
		"kill no echok":        {lflag(0, abi.ECHOKE|abi.ECHOK), typed("abc\x15def\n"), read(100)},
		"echoprt":              {lflag(abi.ECHOPRT, 0), typed("abcd\x7f\x7fx\x7f\n"), read(100)},
		"echoprt utf8":         {lflag(abi.ECHOPRT, 0), iflag(abi.IUTF8, 0), typed("aé漢\x7f\x7f\x7f\x7fx\n"), read(100)},
		"no echoe":             {lflag(0, abi.ECHOE), typed("abc\x7f\x7f\n"), read(100)},
		"no echoctl":           {lflag(0, abi.ECHOCTL), typed("a\x01\x02\x7f\n"), read(100)},
		"echonl":               {lflag(abi.ECHONL, abi.ECHO), typed("abc\n"), read(100)},
		"no echo":              {lflag(0, abi.ECHO), typed("abc\x7f\n"), read(100)},
		"reprint":              {typed("abc\x12def\n"), read(100)},
		"literal":              {typed("a\x16\x03b\x16\x7fc\x16\nd\n"), read(100)},
		"eof":                  {typed("\x04"), read(10), typed("abc\x04"), read(10), typed("abc\x04\x04"), read(10), read(10)},
		"eof after full read":  {typed("abc\x04def\n"), read(3), read(10)},
		"eof after short read": {typed("abc\x04def\n"), read(2), read(10), read(10)},
		"eol":                  {cc(abi.VEOL, ';'), cc(abi.VEOL2, '!'), typed("ab;cd!ef\n"), read(10), read(10), read(10)},
		"partial":              {typed("abcdef\n"), read(2), read(2), read(10)},
		"chunks":               {typed(strings.Repeat("x", 200) + "\n"), read(500)},
		"chunk boundary":       {typed(strings.Repeat("x", 63) + "\n"), read(500), typed(strings.Repeat("x", 64) + "\x04yy\n"), read(64), read(10)},
		"signals flush":        {typed("abc\x03def\n"), read(10), typed("abc\x1cdef\n"), read(10), typed("a\x1ab\n"), read(10)},
		"noflsh":               {lflag(abi.NOFLSH, 0), typed("abc\x03def\n"), read(10)},
		"no isig":              {lflag(0, abi.ISIG), typed("abc\x03def\n"), read(10)},
		"stop and start":       {typed("ab\x13cd"), write("hello"), typed("\x11\n"), read(10)},
		"ixany":                {iflag(abi.IXANY, 0), typed("\x13"), typed("c"), typed("\n"), read(10)},
		"ixon off starts":      {typed("\x13ab"), iflag(0, abi.IXON), typed("c\n"), read(10)},
		"inlcr igncr":          {iflag(abi.INLCR, abi.ICRNL), typed("a\nb\r\x04"), read(10), iflag(abi.IGNCR, abi.INLCR), typed("a\rb\n"), read(10)},
		"istrip iuclc":         {iflag(abi.ISTRIP|abi.IUCLC, 0), typed("aBC\xe1\xc2\n"), read(10)},
		"iuclc latin":          {iflag(abi.IUCLC, 0), typed("A\xc0\xd7\xde\xdf\n"), read(10)},
		"raw":                  {raw, typed("a\r\x03\x00\xff\n"), read(100), write("a\nb\t\r\n")},
		"raw echo":             {raw, lflag(abi.ECHO, 0), typed("a\r\n\x03\xff"), read(100)},
		"raw echoctl":          {raw, lflag(abi.ECHO|abi.ECHOCTL, 0), typed("a\r\n\t\x03\xff"), read(100)},
		"raw chunks":           {raw, typed(strings.Repeat("y", 300)), read(1000)},
		"vmin over chunk":      {raw, cc(abi.VMIN, 100), typed(strings.Repeat("y", 150)), read(200), read(200)},
		"vmin nonblock":        {raw, cc(abi.VMIN, 5), typed("ab"), read(10), typed("cdefg"), read(10)},
		"vmin 0":               {raw, cc(abi.VMIN, 0), read(10), typed("ab"), read(10), read(10)},
		"output":               {write("a\nb\r\n\tc\bd\te\x01\n"), oflag(abi.XTABS, 0), write("ab\tc\n\t\tx\n")},
		"onocr":                {oflag(abi.ONOCR, 0), write("\ra\r\r\nb\r")},
		"ocrnl":                {oflag(abi.OCRNL, abi.ONLCR), write("a\rb\n")},
		"ocrnl onlret":         {oflag(abi.OCRNL|abi.ONLRET|abi.XTABS, abi.ONLCR), write("a\r\tb\n\tc")},
		"onlret":               {oflag(abi.ONLRET|abi.XTABS, abi.ONLCR), write("abc\n\tx")},
		"nl keeps column":      {oflag(abi.XTABS, abi.ONLCR), write("abc\n\tx")},
		"olcuc":                {oflag(abi.OLCUC, 0), write("abC\xe0\xdf\xf7"), typed("ab\n"), read(10)},
		"utf8 columns":         {iflag(abi.IUTF8, 0), oflag(abi.XTABS, 0), write("é漢\tx")},
		"icanon off":           {typed("abc"), lflag(0, abi.ICANON), read(10), lflag(abi.ICANON, 0), typed("x\n"), read(10)},
		"icanon on with data":  {lflag(0, abi.ICANON), typed("abc"), lflag(abi.ICANON, 0), read(10), typed("d\n"), read(10)},
		"extproc":              {lflag(abi.EXTPROC, 0), typed("ab\x7fc\n\x04"), read(10), typed("\x04"), read(10)},
		"parmrk":               {iflag(abi.PARMRK, 0), typed("a\xffb\n"), read(10)},
		"disabled":             {cc(abi.VINTR, 0), cc(abi.VERASE, 0), typed("a\x00\x03\x7fb\n"), read(10)},
		"long line":            {typed(long[:4000]), typed(long[:200]), typed("\n"), read(5000)},
		"two lines":            {typed("a\nb\n"), read(100), read(100)},
		"flush":                {typed("abc"), {drop: true}, typed("d\n"), read(10)},
		"column of prompt":     {write("12345"), typed("\t\x7f"), typed("ab\t\x7f"), typed("\n"), read(10)},
		"exact ff":             {typed("a\xffb\x7f\x7f\x7f\n"), read(10), write("\xff\t")},
		"verase is bs":         {cc(abi.VERASE, 8), typed("ab\x08\n"), read(10)},
		"werase equals kill":   {cc(abi.VWERASE, 'k'), cc(abi.VKILL, 'k'), typed("ab cdk\n"), read(10)},
		"no iexten":            {lflag(0, abi.IEXTEN), typed("ab cd\x17\x16x\x12\n"), read(20)},
	} {
		t.Run(name, func(t *testing.T) { both(t, newHostPty(t), steps) })
	}
}

// TestAgainstHostRandom does the same with settings and input made by chance, from a few seeds.
func TestAgainstHostRandom(t *testing.T) {
	scripts := 60
	if testing.Short() {
		scripts = 15
	}
	seed := uint64(1)
	if s := os.Getenv("TTY_SEED"); s != "" {
		fmt.Sscan(s, &seed)
	}
	r := rand.New(rand.NewPCG(seed, 2))
	const alphabet = "abcXYZ019_- ;\t\t\r\n\n\x7f\x7f\x7f\x15\x17\x16\x12\x04\x04\x01\x1b\xc3\xa9\xe6\xbc\xa2\xff\x00\x80\x03\x13\x11"
	text := func(n int) string {
		b := make([]byte, n)
		for i := range b {
			b[i] = alphabet[r.IntN(len(alphabet))]
		}
		return string(b)
	}
	iflags := []uint32{abi.ICRNL, abi.INLCR, abi.IGNCR, abi.ISTRIP, abi.IUCLC, abi.IXON, abi.IXANY, abi.IUTF8, abi.PARMRK}
	oflags := []uint32{abi.OPOST, abi.ONLCR, abi.OCRNL, abi.ONOCR, abi.ONLRET, abi.OLCUC, abi.XTABS}
	lflags := []uint32{abi.ICANON, abi.ECHO, abi.ECHOE, abi.ECHOK, abi.ECHOKE, abi.ECHONL, abi.ECHOCTL, abi.ECHOPRT, abi.ISIG, abi.NOFLSH, abi.IEXTEN, abi.EXTPROC}
	flip := func(f *uint32, of []uint32, rare int) {
		for _, b := range of {
			if r.IntN(rare) == 0 {
				*f ^= b
			}
		}
	}
	for n := range scripts {
		var steps []step
		for range 4 + r.IntN(8) {
			switch r.IntN(6) {
			case 0:
				std := r.IntN(2) == 0
				steps = append(steps, step{set: func(t *abi.Termios2) {
					if std {
						*t = StdTermios()
					}
					flip(&t.Iflag, iflags, 5)
					flip(&t.Oflag, oflags, 5)
					flip(&t.Lflag, lflags, 6)
					if t.Lflag&abi.ICANON == 0 {
						t.Cc[abi.VMIN] = byte(r.IntN(2))
					}
				}})
			case 1:
				steps = append(steps, write(text(1+r.IntN(20))))
			case 2, 3:
				// A signal throws echoes away that are on their way: how far they have come is the host's luck, unless they are seen first.
				for i, part := range strings.Split(text(1+r.IntN(30)), "\x03") {
					if i > 0 {
						part = "\x03" + part
					}
					if part != "" {
						steps = append(steps, typed(part))
					}
				}
			default:
				steps = append(steps, read(1+r.IntN(40)))
			}
		}
		if !both(t, newHostPty(t), steps) {
			t.Fatalf("script %d of seed %d", n, seed)
		}
	}
}
