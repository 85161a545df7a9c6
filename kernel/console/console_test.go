package console

import (
	"bytes"
	"errors"
	"io"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"goum/arch/abi"
	"goum/kernel/cred"
	"goum/kernel/fs/vfs"
	"goum/mm"
	"goum/sched"
	"goum/sched/clock"
)

var nonblock = vfs.At{Flags: abi.O_NONBLOCK}

// screen is a host terminal that can be stopped.
type screen struct {
	mu   sync.Mutex
	gate sync.Mutex // held: the host takes nothing
	b    bytes.Buffer
	err  error
}

func (s *screen) Write(p []byte) (int, error) {
	s.gate.Lock()
	defer s.gate.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return 0, s.err
	}
	return s.b.Write(p)
}

func (s *screen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func (s *screen) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
}

type machine struct {
	t *testing.T
	s *sched.Scheduler
}

func newMachine(t *testing.T) *machine {
	s := sched.New(2, clock.NewVirtual(0))
	t.Cleanup(func() { s.Close() })
	return &machine{t, s}
}

type running struct {
	th   *sched.Thread
	done chan struct{}
}

func (m *machine) start(f func(c *vfs.Caller)) *running {
	th := m.s.NewThread("test")
	r := &running{th, make(chan struct{})}
	th.Start(func() { defer close(r.done); f(&vfs.Caller{Cred: cred.Root(), Thread: th}) })
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

// until waits for something that another goroutine does.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for range 5000 {
		if ok() {
			return
		}
		time.Sleep(time.Millisecond)
	}
	t.Fatal("never: ", what)
}

func open(t *testing.T, c *Console) vfs.File {
	t.Helper()
	f, e := c.Open(&vfs.Caller{Cred: cred.Root()}, abi.O_RDWR, vfs.Location{})
	if e != 0 {
		t.Fatal(e.Name())
	}
	return f
}

func TestConsole(t *testing.T) {
	m := newMachine(t)
	in, keys := io.Pipe()
	out := new(screen)
	quit := make(chan struct{})
	c := New(Options{In: in, Out: out, Terminal: true, Quit: func() { close(quit) }, Size: abi.Winsize{Row: 25, Col: 80}})
	c.Start()
	defer c.Close()
	f := open(t, c)
	line := func(want string) *running {
		return m.start(func(vc *vfs.Caller) {
			b := make([]byte, 100)
			n, e := f.Read(vc, mm.BytesBuf(b), vfs.At{})
			if string(b[:n]) != want || e != 0 {
				t.Errorf("read %q %s, want %q", b[:n], e.Name(), want)
			}
		})
	}
	r := line("hello\n")
	r.asleep(t)
	io.WriteString(keys, "hel")
	io.WriteString(keys, "lo\r")
	r.wait(t)
	until(t, "the echo", func() bool { return out.String() == "hello\r\n" })
	r = line("a\x01b\x01\n")
	r.asleep(t)
	io.WriteString(keys, "a\x01")
	io.WriteString(keys, "ab\x01\x01\x01z\r")
	r.wait(t)
	io.WriteString(keys, "\x01?")
	until(t, "the help", func() bool { return strings.Contains(out.String(), "Ctrl-A x") })
	if n, e := f.Write(&vfs.Caller{Cred: cred.Root()}, mm.BytesBuf([]byte("out\n")), nonblock); n != 4 {
		t.Error(n, e.Name())
	}
	c.Flush(nil)
	if !strings.HasSuffix(out.String(), "out\r\n") {
		t.Errorf("%q", out.String())
	}
	c.Resize(abi.Winsize{Row: 1, Col: 2})
	if w := c.TTY().Size(); w.Col != 2 {
		t.Error(w)
	}
	// Whoever types more than anybody reads can still end the machine.
	io.WriteString(keys, strings.Repeat("x\n", 3*typedSize))
	io.WriteString(keys, "\x01x")
	select {
	case <-quit:
	case <-time.After(10 * time.Second):
		t.Error("Ctrl-A x does nothing")
	}
	keys.Close()
}

// TestHangUp is a host terminal that goes away.
func TestHangUp(t *testing.T) {
	m := newMachine(t)
	in, keys := io.Pipe()
	out := new(screen)
	c := New(Options{In: in, Out: out, Terminal: true})
	c.Start()
	defer c.Close()
	f, e := c.TTY().Open(&vfs.Caller{Cred: cred.Root()}, abi.O_RDWR, false, false)
	if e != 0 {
		t.Fatal(e.Name())
	}
	r := m.start(func(vc *vfs.Caller) {
		if n, e := f.Read(vc, mm.BytesBuf(make([]byte, 10)), vfs.At{}); n != 0 || e != 0 {
			t.Error(n, e.Name())
		}
	})
	r.asleep(t)
	keys.Close()
	r.wait(t)
	if _, e := f.Write(&vfs.Caller{Cred: cred.Root()}, mm.BytesBuf([]byte("x")), nonblock); e != abi.EIO {
		t.Error("write:", e.Name())
	}
	g := open(t, c)
	out.fail(errors.New("gone"))
	for range 100 {
		g.Write(&vfs.Caller{Cred: cred.Root()}, mm.BytesBuf(make([]byte, 4096)), nonblock)
	}
	c.Flush(nil) // must not wait for a host that is gone
}

// TestPiped is input from a pipe: its end is one end of file.
func TestPiped(t *testing.T) {
	m := newMachine(t)
	big := strings.Repeat("0123456789\n", 5000) // more than all buffers
	c := New(Options{In: strings.NewReader(big + "end"), Out: io.Discard})
	c.Start()
	defer c.Close()
	f := open(t, c)
	var got []byte
	r := m.start(func(vc *vfs.Caller) {
		b := make([]byte, 100)
		for {
			n, e := f.Read(vc, mm.BytesBuf(b), vfs.At{})
			if e != 0 {
				t.Error(e.Name())
			}
			if n == 0 {
				return
			}
			got = append(got, b[:n]...)
			if strings.HasSuffix(string(got), "end") {
				return
			}
		}
	})
	r.wait(t)
	if string(got) != big+"end" {
		t.Errorf("%d bytes, want %d", len(got), len(big)+3)
	}
}

// TestSlowHost is a host that takes nothing for a while: the guest waits, and nothing is lost.
func TestSlowHost(t *testing.T) {
	m := newMachine(t)
	out := new(screen)
	c := New(Options{Out: out})
	c.Start()
	defer c.Close()
	f := open(t, c)
	out.gate.Lock()
	text := strings.Repeat("x", 3*outSize)
	r := m.start(func(vc *vfs.Caller) {
		if n, e := f.Write(vc, mm.BytesBuf([]byte(text)), vfs.At{}); n != len(text) {
			t.Error(n, e.Name())
		}
	})
	r.asleep(t)
	cancel := make(chan struct{})
	close(cancel)
	c.Flush(cancel)
	out.gate.Unlock()
	r.wait(t)
	c.Flush(nil)
	if got := out.String(); got != text {
		t.Errorf("%d bytes, want %d", len(got), len(text))
	}
}

func TestStreamRead(t *testing.T) {
	m := newMachine(t)
	in, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	s := NewStream(in, nil)
	defer s.Close()
	do := func(n int, at vfs.At, want string, we abi.Errno) *running {
		return m.start(func(c *vfs.Caller) {
			b := make([]byte, n)
			got, e := s.Read(c, mm.BytesBuf(b), at)
			if string(b[:got]) != want || e != we {
				t.Errorf("read %q %s, want %q %s", b[:got], e.Name(), want, we.Name())
			}
		})
	}
	r := do(3, vfs.At{}, "abc", 0)
	r.asleep(t)
	w.WriteString("abcdef")
	r.wait(t)
	// No more was taken from the pipe than the guest asked for.
	var b [10]byte
	if n, _ := in.Read(b[:]); string(b[:n]) != "def" {
		t.Errorf("the rest is %q", b[:n])
	}
	r = do(3, vfs.At{}, "", abi.ERESTARTSYS)
	r.asleep(t)
	r.th.Interrupt()
	r.wait(t)
	do(3, nonblock, "", abi.EAGAIN).wait(t)
	w.WriteString("xy")
	until(t, "poll", func() bool { return s.Poll(nil) == pollIn })
	do(1, nonblock, "x", 0).wait(t)
	do(5, nonblock, "y", 0).wait(t)
	w.Close()
	do(5, vfs.At{}, "", 0).wait(t)
	do(5, vfs.At{}, "", 0).wait(t) // it stays at its end
}

func TestStreamWrite(t *testing.T) {
	m := newMachine(t)
	out := new(screen)
	s := NewStream(nil, out)
	defer s.Close()
	write := func(text string, want int, we abi.Errno) *running {
		return m.start(func(c *vfs.Caller) {
			if n, e := s.Write(c, mm.BytesBuf([]byte(text)), vfs.At{}); n != want || e != we {
				t.Errorf("wrote %d %s, want %d %s", n, e.Name(), want, we.Name())
			}
		})
	}
	big := strings.Repeat("big", outSize)
	write("a", 1, 0).wait(t)
	write(big, len(big), 0).wait(t)
	if out.String() != "a"+big {
		t.Error(len(out.String()))
	}
	out.gate.Lock()
	r := write("slow", 4, 0)
	r.asleep(t)
	r.th.Interrupt() // it is on its way
	r.wait(t)
	if s.Poll(nil) != 0 {
		t.Error("writable while the host takes nothing")
	}
	m.start(func(c *vfs.Caller) {
		if _, e := s.Write(c, mm.BytesBuf([]byte("x")), nonblock); e != abi.EAGAIN {
			t.Error(e.Name())
		}
	}).wait(t)
	out.gate.Unlock()
	s.Flush(nil)
	write("!", 1, 0).wait(t)
	if !strings.HasSuffix(out.String(), "slow!") {
		t.Errorf("%.20q", out.String())
	}
	out.fail(&os.PathError{Op: "write", Err: syscall.EPIPE})
	write("gone", 0, abi.EPIPE).wait(t)
	write("gone", 0, abi.EPIPE).wait(t)
}
