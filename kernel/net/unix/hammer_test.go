package unix

import (
	"bytes"
	"fmt"
	"testing"

	"goum/arch/abi"
	"goum/kernel/fs/vfs"
	"goum/kernel/net/socket"
	"goum/kernel/net/socket/sockettest"
	"goum/mm"
	"goum/sched"
)

// pair is a connected pair as open files.
func pair(t testing.TB, m *sockettest.Machine, typ int32) (a, b *vfs.Open) {
	a, b, e := m.Net.Pair(m.Caller(nil), abi.AF_UNIX, typ, 0, 0)
	if e != 0 {
		t.Fatal(e.Name())
	}
	return a, b
}

// TestPingPongAllocatesNothing is the benchmark's inner loop.
func TestPingPongAllocatesNothing(t *testing.T) {
	if lockcheck {
		t.Skip("locks allocate in this build")
	}
	m, _ := machine(t, 1)
	a, b := pair(t, m, abi.SOCK_STREAM)
	c := m.Caller(nil)
	one := []byte{1}
	buf := new(mm.Buf)
	if n := testing.AllocsPerRun(1000, func() {
		for _, o := range []*vfs.Open{a, b} {
			buf.SetBytes(one)
			if n, e := o.Write(c, buf); n != 1 {
				t.Fatal(n, e.Name())
			}
		}
		for _, o := range []*vfs.Open{a, b} {
			buf.SetBytes(one)
			if n, e := o.Read(c, buf); n != 1 {
				t.Fatal(n, e.Name())
			}
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
	a.Unref()
	b.Unref()
}

// TestHammerStream has writers and readers on one stream, with pieces of all sizes: every byte arrives once, and each writer's in order.
func TestHammerStream(t *testing.T) {
	m, _ := machine(t, 2)
	a, b := pair(t, m, abi.SOCK_STREAM)
	const rounds = 3000
	sizes := []int{1, 3, 100, 4096, 5000, 70000}
	total := 0
	for i := range rounds {
		total += sizes[i%len(sizes)]
	}
	m.Spawn("writer", func(c *vfs.Caller) {
		at := 0
		for i := range rounds {
			p := make([]byte, sizes[i%len(sizes)])
			for j := range p {
				p[j] = byte((at + j) * 7)
			}
			at += len(p)
			if n, e := a.Write(c, mm.BytesBuf(p)); n != len(p) {
				t.Errorf("write: %d of %d, %s", n, len(p), e.Name())
				return
			}
		}
		a.Unref()
	})
	m.Spawn("reader", func(c *vfs.Caller) {
		at := 0
		p := make([]byte, 9000)
		for {
			n, e := b.Read(c, mm.BytesBuf(p))
			if e != 0 {
				t.Errorf("read: %s", e.Name())
				return
			}
			if n == 0 {
				break
			}
			for j := range n {
				if p[j] != byte((at+j)*7) {
					t.Errorf("byte %d is wrong", at+j)
					return
				}
			}
			at += n
		}
		if at != total {
			t.Errorf("%d bytes of %d", at, total)
		}
		b.Unref()
	})
	m.Wait()
}

// TestHammerMany has several threads send records with descriptors to one another, receive, poll, shut down and close, all at once.
func TestHammerMany(t *testing.T) {
	for _, typ := range []int32{abi.SOCK_STREAM, abi.SOCK_DGRAM, abi.SOCK_SEQPACKET} {
		m, _ := machine(t, 2)
		a, b := pair(t, m, typ)
		x, y := pair(t, m, abi.SOCK_STREAM)
		as, _ := socket.Of(a)
		as.SndBuf.Store(1 << 20) // the receivers may end first: nobody must wait for room then
		for i := range 3 {
			m.Spawn("sender", func(c *vfs.Caller) {
				s, _ := socket.Of(a)
				for j := range 300 {
					msg := socket.NewMsg()
					if j%2 == i%2 {
						x.Ref()
						msg.Files = append(msg.Files, x)
					}
					_, e := s.Ops.Send(c, mm.BytesBuf([]byte("record")), abi.MSG_NOSIGNAL, msg)
					msg.Done()
					if e != 0 && e != abi.EPIPE && e != abi.ECONNREFUSED && e != abi.ECONNRESET && e != abi.ENOTCONN {
						t.Errorf("send: %s", e.Name())
					}
				}
			})
			m.Spawn("receiver", func(c *vfs.Caller) {
				s, _ := socket.Of(b)
				for j := range 250 {
					msg := socket.NewMsg()
					fl := uint32(0)
					if j%5 == 0 {
						fl = abi.MSG_PEEK
					}
					_, e := s.Ops.Recv(c, mm.BytesBuf(make([]byte, 6)), fl|abi.MSG_DONTWAIT, msg)
					msg.Done()
					if e != 0 && e != abi.EAGAIN && e != abi.ECONNRESET {
						t.Errorf("recv: %s", e.Name())
					}
					s.Poll(c)
					if e == abi.EAGAIN {
						c.Thread.Yield()
					}
				}
				if i == 0 {
					s.Ops.Shutdown(c, abi.SHUT_RDWR)
				}
			})
		}
		m.Wait()
		for _, o := range []*vfs.Open{a, b, x, y} {
			o.Unref()
		}
	}
}

// TestGarbage makes cycles of sockets that only hold one another, of all kinds, and closes the last descriptor.
func TestGarbage(t *testing.T) {
	m, f := machine(t, 1)
	send := func(to *vfs.Open, files ...*vfs.Open) {
		s, _ := socket.Of(to)
		msg := socket.NewMsg()
		for _, o := range files {
			o.Ref()
			msg.Files = append(msg.Files, o)
		}
		if _, e := s.Ops.Send(m.Caller(nil), mm.BytesBuf([]byte("x")), 0, msg); e != 0 {
			t.Fatal(e.Name())
		}
		msg.Done()
	}
	const links = 300
	for _, typ := range []int32{abi.SOCK_STREAM, abi.SOCK_DGRAM, abi.SOCK_SEQPACKET} {
		a, b := pair(t, m, typ)
		send(a, a, b) // both lie in b's buffer
		send(b, b)
		a.Unref()
		b.Unref()

		var chain []*vfs.Open
		for range links {
			x, y := pair(t, m, typ)
			if n := len(chain); n > 0 {
				send(x, chain[n-2], chain[n-1])
				chain[n-2].Unref()
				chain[n-1].Unref()
			}
			chain = append(chain, x, y)
		}
		n := len(chain)
		if n := len(f.flight); n != 2*links { // a and b wait for the next release, as in Linux
			t.Errorf("%d sockets are in flight", n)
		}
		chain[n-2].Unref()
		chain[n-1].Unref()
	}
	// What is still reachable stays.
	a, b := pair(t, m, abi.SOCK_STREAM)
	c, d := pair(t, m, abi.SOCK_STREAM)
	send(a, c)
	send(d, d)
	c.Unref()
	d.Unref()
	f.collect()
	if len(f.flight) != 2 {
		t.Errorf("%d in flight, want 2", len(f.flight))
	}
	s, _ := socket.Of(b)
	msg := socket.NewMsg()
	s.Ops.Recv(m.Caller(nil), mm.BytesBuf(make([]byte, 9)), 0, msg)
	if len(msg.Files) != 1 || msg.Files[0] != c {
		t.Errorf("received %v", msg.Files)
	}
	msg.Done()
	a.Unref()
	b.Unref()
}

// TestTooMany is RLIMIT_NOFILE for descriptors in flight.
func TestTooMany(t *testing.T) {
	m, _ := machine(t, 1)
	a, b := pair(t, m, abi.SOCK_STREAM)
	c := m.Caller(nil)
	c.Cred = c.Cred.Ordinary(1000, 1000)
	c.Limits.Set(c.Cred, abi.RLIMIT_NOFILE, abi.Rlimit64{Cur: 3, Max: 3})
	s, _ := socket.Of(a)
	var got []abi.Errno
	for range 6 {
		msg := socket.NewMsg()
		b.Ref()
		msg.Files = append(msg.Files, b)
		_, e := s.Ops.Send(c, mm.BytesBuf([]byte("x")), 0, msg)
		msg.Done()
		got = append(got, e)
	}
	want := []abi.Errno{0, 0, 0, 0, abi.ETOOMANYREFS, abi.ETOOMANYREFS}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%v, want %v", got, want)
	}
	b.Unref()
	a.Unref()
}

// TestMemory has the machine's bound on buffered bytes end a send, and given back at the end (audit).
func TestMemory(t *testing.T) {
	m, _ := machine(t, 1)
	m.Net.SetMemory(20000)
	a, b := pair(t, m, abi.SOCK_STREAM)
	x, y := pair(t, m, abi.SOCK_DGRAM)
	c := m.Caller(nil)
	a.SetNonBlock(true)
	x.SetNonBlock(true)
	big := bytes.Repeat([]byte("x"), 100000)
	if n, e := a.Write(c, mm.BytesBuf(big)); n != 16384 {
		t.Errorf("wrote %d, %s", n, e.Name())
	}
	if n, e := a.Write(c, mm.BytesBuf(big)); e != abi.EAGAIN {
		t.Errorf("wrote %d, %s", n, e.Name())
	}
	if n, e := x.Write(c, mm.BytesBuf(big)); e != abi.ENOBUFS {
		t.Errorf("wrote %d, %s", n, e.Name())
	}
	for _, o := range []*vfs.Open{a, b, x, y} {
		o.Unref()
	}
}

// TestInterrupted ends a wait by a signal.
func TestInterrupted(t *testing.T) {
	m, _ := machine(t, 2)
	a, b := pair(t, m, abi.SOCK_STREAM)
	for _, c := range []struct {
		timeo int64
		want  abi.Errno
	}{{0, abi.ERESTARTSYS}, {60, abi.EINTR}} {
		s, _ := socket.Of(b)
		tv := abi.Timeval{Sec: c.timeo}
		s.SetOption(m.Caller(nil), abi.SOL_SOCKET, abi.SO_RCVTIMEO, abi.Bytes(&tv))
		th := m.Spawn("reader", func(k *vfs.Caller) {
			if _, e := b.Read(k, mm.BytesBuf(make([]byte, 1))); e != c.want {
				t.Errorf("timeout %d: %s, want %s", c.timeo, e.Name(), c.want.Name())
			}
		})
		th.Interrupt()
		m.Wait()
	}
	a.Unref()
	b.Unref()
}

// TestWakes counts the callbacks of a poller: one for each message and none for a read that leaves the state alone.
func TestWakes(t *testing.T) {
	m, _ := machine(t, 1)
	a, b := pair(t, m, abi.SOCK_STREAM)
	n := 0
	w := sched.NewWaiter(abi.EPOLLIN, func(sched.Mask) { n++ })
	b.Queue().Add(w)
	out := 0
	w2 := sched.NewWaiter(abi.EPOLLOUT, func(sched.Mask) { out++ })
	a.Queue().Add(w2)
	c := m.Caller(nil)
	for range 3 {
		a.Write(c, mm.BytesBuf([]byte("xx")))
		b.Read(c, mm.BytesBuf(make([]byte, 1)))
	}
	if n != 3 || out != 0 {
		t.Errorf("%d and %d wake-ups, want 3 and 0", n, out)
	}
	b.Queue().Remove(w)
	a.Queue().Remove(w2)
	a.Unref()
	b.Unref()
}

func BenchmarkPingPong(b *testing.B) {
	m, _ := machine(b, 1)
	x, y := pair(b, m, abi.SOCK_STREAM)
	bounce := func(o *vfs.Open, first bool) {
		m.Spawn("bounce", func(c *vfs.Caller) {
			one := []byte{1}
			buf := new(mm.Buf)
			for range b.N {
				if first {
					buf.SetBytes(one)
					o.Write(c, buf)
				}
				buf.SetBytes(one)
				o.Read(c, buf)
				if !first {
					buf.SetBytes(one)
					o.Write(c, buf)
				}
			}
		})
	}
	bounce(x, true)
	bounce(y, false)
	m.Wait()
	x.Unref()
	y.Unref()
}
