package tty

import (
	"bytes"
	"sync"
	"testing"
	"time"

	"goum/arch/abi"
	"goum/kernel/cred"
	"goum/kernel/fs/vfs"
	"goum/kernel/signal"
	"goum/mm"
	"goum/sched"
	"goum/sched/clock"
)

// fakeGroup, fakeSession and fakeJob are task's side of job control.
type fakeGroup struct {
	id       int32
	orphaned bool
	mu       sync.Mutex
	got      []int
}

func (g *fakeGroup) ID() int32      { return g.id }
func (g *fakeGroup) Orphaned() bool { return g.orphaned }
func (g *fakeGroup) Send(i *signal.Info) abi.Errno {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.got = append(g.got, int(i.Signo))
	return 0
}

func (g *fakeGroup) signals() []int {
	g.mu.Lock()
	defer g.mu.Unlock()
	got := g.got
	g.got = nil
	return got
}

type fakeSession struct {
	id     int32
	tty    signal.Terminal
	hungUp signal.Group
	hups   int
	groups map[int32]*fakeGroup
}

func (s *fakeSession) ID() int32             { return s.id }
func (s *fakeSession) ClearTerminal()        { s.tty = nil }
func (s *fakeSession) HangUp(g signal.Group) { s.hups++; s.hungUp = g }

type fakeJob struct {
	g       *fakeGroup
	s       *fakeSession
	leader  bool
	blocks  map[int]bool
	ignores map[int]bool
}

func (j *fakeJob) Group() signal.Group           { return j.g }
func (j *fakeJob) Session() signal.Session       { return j.s }
func (j *fakeJob) Leader() bool                  { return j.leader }
func (j *fakeJob) Terminal() signal.Terminal     { return j.s.tty }
func (j *fakeJob) SetTerminal(t signal.Terminal) { j.s.tty = t }
func (j *fakeJob) HangUpLater(g signal.Group)    { j.s.hungUp = g }
func (j *fakeJob) Blocks(sig int) bool           { return j.blocks[sig] }
func (j *fakeJob) Ignores(sig int) bool          { return j.ignores[sig] }
func (j *fakeJob) FindGroup(id int32) (signal.Group, signal.Session, abi.Errno) {
	if g := j.s.groups[id]; g != nil {
		return g, j.s, 0
	}
	return nil, nil, abi.ESRCH
}

// machine runs threads for tests.
type machine struct {
	t   *testing.T
	clk *clock.Clock
	s   *sched.Scheduler
}

func newMachine(t *testing.T) *machine {
	clk := clock.NewVirtual(0)
	s := sched.New(2, clk)
	t.Cleanup(func() { s.Close() })
	return &machine{t, clk, s}
}

// running is a call that another thread makes.
type running struct {
	th   *sched.Thread
	done chan struct{}
}

func (m *machine) start(owner any, f func(c *vfs.Caller)) *running {
	th := m.s.NewThread("test")
	r := &running{th, make(chan struct{})}
	c := &vfs.Caller{Cred: cred.Root(), Thread: th, Owner: owner}
	th.Start(func() { f(c); close(r.done) })
	return r
}

func (r *running) wait(t *testing.T) {
	t.Helper()
	select {
	case <-r.done:
	case <-time.After(10 * time.Second):
		t.Fatal("it does not end")
	}
}

// asleep waits until the call sleeps.
func (r *running) asleep(t *testing.T) {
	t.Helper()
	for range 5000 {
		if r.th.State() == 'S' {
			return
		}
		select {
		case <-r.done:
			t.Fatal("it did not wait")
		case <-time.After(time.Millisecond):
		}
	}
	t.Fatal("it neither sleeps nor ends")
}

func (m *machine) pty() (*file, *file) {
	p := newPair(nil, 0, m.clk)
	p.slave.unlocked = true
	p.fs = &Devpts{ptys: &Ptys{}, taken: map[uint32]*pty{}, listed: map[uint32]*ptsNode{}}
	p.node = &ptsNode{fs: p.fs, pty: p}
	return p.master.newFile(abi.O_RDWR, false), p.slave.newFile(abi.O_RDWR, false)
}

func set(f *file, change func(*abi.Termios2)) {
	f.t.mu.Lock()
	defer f.t.mu.Unlock()
	s := f.t.disc.Termios()
	change(&s)
	f.t.setTermios(s)
}

var kernelCaller = &vfs.Caller{Cred: cred.Root()}

func put(f *file, s string) (int, abi.Errno) {
	return f.Write(kernelCaller, mm.BytesBuf([]byte(s)), nonblock)
}

func get(f *file, n int) (string, abi.Errno) {
	b := make([]byte, n)
	got, e := f.Read(kernelCaller, mm.BytesBuf(b), nonblock)
	return string(b[:got]), e
}

// TestTimes are the four cases of VMIN and VTIME, on a virtual clock.
func TestTimes(t *testing.T) {
	const second = 1e9
	for name, c := range map[string]struct {
		min, time byte
		steps     func(m *machine, master *file, r *running)
		want      string
		after     clock.Time
	}{
		"min 0 time 0":       {0, 0, func(*machine, *file, *running) {}, "", 0},
		"min 0 time 5, none": {0, 5, func(m *machine, _ *file, r *running) { r.asleep(m.t); m.clk.Advance(5e8) }, "", 5e8},
		"min 0 time 5, one":  {0, 5, func(m *machine, p *file, r *running) { r.asleep(m.t); m.clk.Advance(4e8); put(p, "a") }, "a", 4e8},
		"min 3 time 0":       {3, 0, func(m *machine, p *file, r *running) { r.asleep(m.t); put(p, "a"); r.asleep(m.t); put(p, "bc") }, "abc", 0},
		"min 3 time 5, slow": {3, 5, func(m *machine, p *file, r *running) {
			r.asleep(m.t)
			m.clk.Advance(second)
			put(p, "a")
			time.Sleep(20 * time.Millisecond)
			r.asleep(m.t)
			m.clk.Advance(5e8)
		}, "a", second + 5e8},
		"min 3 time 5, quick": {3, 5, func(m *machine, p *file, r *running) {
			r.asleep(m.t)
			put(p, "a")
			time.Sleep(20 * time.Millisecond)
			r.asleep(m.t)
			m.clk.Advance(4e8)
			put(p, "bcd")
		}, "abcd", 4e8},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t)
			p, s := m.pty()
			set(s, func(x *abi.Termios2) { x.Lflag = 0; x.Iflag = 0; x.Cc[abi.VMIN], x.Cc[abi.VTIME] = c.min, c.time })
			var got string
			r := m.start(nil, func(c *vfs.Caller) {
				b := make([]byte, 10)
				n, e := s.Read(c, mm.BytesBuf(b), vfs.At{})
				if e != 0 {
					t.Error(e.Name())
				}
				got = string(b[:n])
			})
			c.steps(m, p, r)
			r.wait(t)
			if now := m.clk.Monotonic(); got != c.want || now != c.after {
				t.Errorf("read %q at %v, want %q at %v", got, now, c.want, c.after)
			}
		})
	}
}

// TestInterrupted is a read and a write that a signal ends.
func TestInterrupted(t *testing.T) {
	m := newMachine(t)
	p, s := m.pty()
	r := m.start(nil, func(c *vfs.Caller) {
		if _, e := s.Read(c, mm.BytesBuf(make([]byte, 10)), vfs.At{}); e != abi.ERESTARTSYS {
			t.Error("read:", e.Name())
		}
	})
	r.asleep(t)
	r.th.Interrupt()
	r.wait(t)
	total := 0
	r = m.start(nil, func(c *vfs.Caller) {
		for {
			n, e := s.Write(c, mm.BytesBuf(make([]byte, 10000)), vfs.At{})
			total += n
			if e != 0 {
				if e != abi.ERESTARTSYS {
					t.Error("write:", e.Name())
				}
				return
			}
			if n < 10000 {
				return // the part that was done wins
			}
		}
	})
	r.asleep(t)
	r.th.Interrupt()
	r.wait(t)
	if total < backlogSize || total > 2*backlogSize {
		t.Error("the other half took", total)
	}
	// What was written is all there, and room for more.
	read := 0
	for {
		got, e := get(p, 4000)
		if e != 0 {
			break
		}
		read += len(got)
	}
	if read != total {
		t.Errorf("wrote %d, read %d", total, read)
	}
}

// TestSlowReader is a writer of more than all buffers, and a reader that takes little at a time: nothing is lost or doubled.
func TestSlowReader(t *testing.T) {
	m := newMachine(t)
	p, s := m.pty()
	set(s, func(x *abi.Termios2) { x.Oflag = 0 })
	var want, got bytes.Buffer
	for i := range 60000 {
		want.WriteByte(byte(i * 7 >> 3))
	}
	w := m.start(nil, func(c *vfs.Caller) {
		if n, e := s.Write(c, mm.BytesBuf(want.Bytes()), vfs.At{}); n != want.Len() {
			t.Error(n, e.Name())
		}
	})
	r := m.start(nil, func(c *vfs.Caller) {
		b := make([]byte, 777)
		for got.Len() < want.Len() {
			n, e := p.Read(c, mm.BytesBuf(b), vfs.At{})
			if e != 0 {
				t.Error(e.Name())
				return
			}
			got.Write(b[:n])
		}
	})
	w.wait(t)
	r.wait(t)
	if !bytes.Equal(got.Bytes(), want.Bytes()) {
		t.Error("not what was written")
	}
}

// TestClosedSides is what each half of a pty sees when the other closes.
func TestClosedSides(t *testing.T) {
	m := newMachine(t)
	p, s := m.pty()
	put(s, "last")
	s.Release()
	if got, e := get(p, 10); got != "last" || e != 0 {
		t.Errorf("%q %s", got, e.Name())
	}
	if _, e := get(p, 10); e != abi.EIO {
		t.Error("read of a master without slaves:", e.Name())
	}
	if m := p.Poll(nil); m&pollHup == 0 {
		t.Error("no POLLHUP")
	}
	f, e := s.t.Open(kernelCaller, abi.O_RDWR, true, false)
	if e != 0 {
		t.Fatal(e.Name())
	}
	if _, e := get(p, 10); e != abi.EAGAIN {
		t.Error("a slave that came back:", e.Name())
	}
	ss := &fakeSession{id: 5}
	g := &fakeGroup{id: 5}
	j := &fakeJob{g: g, s: ss, leader: true}
	if e := s.t.Acquire(&vfs.Caller{Cred: cred.Root(), Owner: j}, false, true); e != 0 || ss.tty != signal.Terminal(s.t) {
		t.Fatal("TIOCSCTTY:", e.Name())
	}
	r := m.start(j, func(c *vfs.Caller) {
		if n, e := f.Read(c, mm.BytesBuf(make([]byte, 10)), vfs.At{}); n != 0 || e != 0 && e != abi.EIO {
			t.Error("read of a slave that is hung up:", n, e.Name())
		}
	})
	r.asleep(t)
	p.Release()
	r.wait(t)
	if ss.hups != 1 || ss.hungUp != signal.Group(g) || ss.tty != nil {
		t.Errorf("hang-up: %+v", ss)
	}
	if got, e := get(f.(*file), 10); got != "" || e != 0 {
		t.Error("read after a hangup:", e.Name())
	}
	if _, e := put(f.(*file), "x"); e != abi.EIO {
		t.Error("write after a hangup:", e.Name())
	}
	if m := f.(*file).Poll(nil); m != pollIn|pollOut|pollErr|pollHup {
		t.Errorf("poll after a hangup: %#x", m)
	}
	if _, e := s.t.Open(kernelCaller, abi.O_RDWR, true, false); e != abi.EIO {
		t.Error("open without a master:", e.Name())
	}
	f.Release()
}

// TestJobControl is reads, writes and changes from the background.
func TestJobControl(t *testing.T) {
	m := newMachine(t)
	p, s := m.pty()
	ss := &fakeSession{id: 1}
	fg, bg := &fakeGroup{id: 1}, &fakeGroup{id: 2}
	ss.groups = map[int32]*fakeGroup{1: fg, 2: bg}
	leader := &fakeJob{g: fg, s: ss, leader: true}
	back := &fakeJob{g: bg, s: ss, blocks: map[int]bool{}, ignores: map[int]bool{}}
	lc, bc := &vfs.Caller{Cred: cred.Root(), Owner: leader}, &vfs.Caller{Cred: cred.Root(), Owner: back}
	if e := s.t.Acquire(lc, false, true); e != 0 {
		t.Fatal(e.Name())
	}
	expect := func(what string, e, want abi.Errno, sigs ...int) {
		t.Helper()
		got := bg.signals()
		if e != want || len(got) != len(sigs) || len(got) == 1 && got[0] != sigs[0] {
			t.Errorf("%s: %s %v, want %s %v", what, e.Name(), got, want.Name(), sigs)
		}
	}
	read := func(f *file) abi.Errno {
		_, e := f.Read(bc, mm.BytesBuf(make([]byte, 10)), nonblock)
		return e
	}
	write := func() abi.Errno {
		_, e := s.Write(bc, mm.BytesBuf([]byte("x")), nonblock)
		return e
	}
	expect("read", read(s), abi.ERESTARTSYS, abi.SIGTTIN)
	back.ignores[abi.SIGTTIN] = true
	expect("read, ignored", read(s), abi.EIO)
	back.ignores[abi.SIGTTIN] = false
	bg.orphaned = true
	expect("read, orphaned", read(s), abi.EIO)
	bg.orphaned = false
	con := s.t.newFile(abi.O_RDWR, true)
	expect("read of /dev/console", read(con), abi.EAGAIN)
	expect("write", write(), 0)
	set(s, func(x *abi.Termios2) { x.Lflag |= abi.TOSTOP })
	expect("write with tostop", write(), abi.ERESTARTSYS, abi.SIGTTOU)
	back.blocks[abi.SIGTTOU] = true
	expect("write, blocked", write(), 0)
	back.blocks[abi.SIGTTOU] = false
	expect("tcsetpgrp", s.t.check(bc, abi.SIGTTOU), abi.ERESTARTSYS, abi.SIGTTOU)
	if e := s.t.setGroup(lc, 7); e != abi.ESRCH {
		t.Error("no such group:", e.Name())
	}
	if e := s.t.setGroup(lc, 2); e != 0 || s.t.Foreground() != 2 {
		t.Error("tcsetpgrp:", e.Name())
	}
	expect("read in the foreground", read(s), abi.EAGAIN)
	put(p, "\x03")
	expect("interrupt", 0, 0, abi.SIGINT)
	s.t.Resize(abi.Winsize{Row: 10, Col: 20})
	s.t.Resize(abi.Winsize{Row: 10, Col: 20})
	expect("size", 0, 0, abi.SIGWINCH)
	s.t.LeaderGone(true)
	expect("leader gone", 0, 0, abi.SIGHUP)
	if ss.tty != nil || s.t.Session() != nil {
		t.Error("the terminal is still the session's")
	}
}

// TestPacket is a master in packet mode.
func TestPacket(t *testing.T) {
	m := newMachine(t)
	p, s := m.pty()
	p.t.packet = true
	expect := func(what, want string) {
		t.Helper()
		if got, e := get(p, 100); got != want {
			t.Errorf("%s: %q %s, want %q", what, got, e.Name(), want)
		}
	}
	put(s, "hi")
	expect("data", "\x00hi")
	put(p, "\x13")
	expect("stop", string([]byte{abi.TIOCPKT_STOP}))
	put(p, "\x11")
	expect("start", string([]byte{abi.TIOCPKT_START}))
	set(s, func(x *abi.Termios2) { x.Iflag &^= abi.IXON })
	expect("no flow control", string([]byte{abi.TIOCPKT_NOSTOP}))
	s.t.flush(abi.TCIOFLUSH)
	expect("flush", string([]byte{abi.TIOCPKT_FLUSHREAD | abi.TIOCPKT_FLUSHWRITE}))
	set(s, func(x *abi.Termios2) { x.Lflag |= abi.EXTPROC })
	if m := p.Poll(nil); m&pollPri == 0 {
		t.Error("no POLLPRI")
	}
	expect("extproc", string([]byte{abi.TIOCPKT_IOCTL}))
	if _, e := get(p, 10); e != abi.EAGAIN {
		t.Error(e.Name())
	}
}

// fuzzLine is a Line with little room, which checks what it is told.
type fuzzLine struct {
	t    *testing.T
	room int
}

func (l *fuzzLine) Room() int { return l.room }
func (l *fuzzLine) Put(p []byte) int {
	if len(p) > l.room {
		l.t.Fatalf("%d bytes put where there is room for %d", len(p), l.room)
	}
	l.room -= len(p)
	return len(p)
}
func (l *fuzzLine) Flush()          {}
func (l *fuzzLine) Signal(int)      {}
func (l *fuzzLine) Wake(sched.Mask) {}
func (l *fuzzLine) Flow(bool)       {}
func (l *fuzzLine) Flushed()        {}

func (d *Discipline) audit(t *testing.T) {
	t.Helper()
	if n := d.readHead - d.readTail; n > ringSize {
		t.Fatalf("%d bytes in the ring", n)
	}
	if d.canon() && d.canonHead-d.readTail > d.readHead-d.readTail {
		t.Fatalf("a line ends at %d, between %d and %d", d.canonHead, d.readTail, d.readHead)
	}
	if n := d.echoHead - d.echoTail; n > 2*ringSize {
		t.Fatalf("%d bytes of echo", n)
	}
}

// FuzzDiscipline does whatever the bytes say: settings, input, output, reads, room.
func FuzzDiscipline(f *testing.F) {
	f.Add([]byte("\x01hello\x7f\n\x02\x10out\tput\n\x03\xff\x04"))
	f.Add(bytes.Repeat([]byte("\x01\xffabc\x17\x15\x16"), 900))
	f.Fuzz(fuzzOne)
}

func fuzzOne(t *testing.T, in []byte) {
	l := &fuzzLine{t: t, room: 100}
	d := NewDiscipline(l, StdTermios())
	buf := make([]byte, 300)
	for len(in) > 1 {
		op, n := in[0], int(in[1])
		in = in[2:]
		p := in[:min(n, len(in))]
		switch op % 8 {
		case 0:
			s := d.Termios()
			for i, b := range p {
				switch i % 5 {
				case 0:
					s.Iflag ^= uint32(b) << (i % 8)
				case 1:
					s.Oflag ^= uint32(b) << (i % 5)
				case 2:
					s.Lflag ^= uint32(b) << (i % 9)
				default:
					s.Cc[i%abi.NCCS] = b
				}
			}
			d.SetTermios(s)
		case 1, 2, 3:
			p = bytes.Repeat(p, 1+int(op>>4))
			if n := d.Receive(p); n < 0 || n > len(p) {
				t.Fatal("received", n, "of", len(p))
			}
		case 4:
			if n := d.Write(p); n < 0 || n > len(p) {
				t.Fatal("wrote", n, "of", len(p))
			}
		case 5:
			if n, _ := d.Take(buf[:n]); n > len(buf) {
				t.Fatal("took", n)
			}
		case 6:
			l.room = n
		case 7:
			switch n % 4 {
			case 0:
				d.FlushInput()
			case 1:
				d.Stop()
			case 2:
				d.Start()
			case 3:
				d.SkipEOF()
			}
		}
		if op%8 != 6 {
			in = in[len(p[:min(len(p), len(in))]):]
		}
		d.audit(t)
		d.Waiting()
		d.Ready(true)
	}
}
