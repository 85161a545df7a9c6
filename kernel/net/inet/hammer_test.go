package inet

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"goum/arch/abi"
	"goum/kernel/fs/vfs"
	"goum/kernel/net/socket"
	"goum/kernel/net/socket/sockettest"
	"goum/mm"
)

// TestHammer has clients and servers connect, talk, shut down, poll and close, all at once: every byte comes back, and nothing is left.
func TestHammer(t *testing.T) {
	m, _ := machine(t, 2)
	m.Net.Ifaces.SetFlags(1, abi.IFF_UP, abi.IFF_UP)
	l, e := m.Net.Socket(m.Caller(nil), v4, stream, 0, 0)
	if e != 0 {
		t.Fatal(e.Name())
	}
	ls, _ := socket.Of(l)
	ls.Ops.Bind(m.Caller(nil), in(127, 0, 0, 1, 0))
	ls.Listen(m.Caller(nil), 100)
	var at socket.Addr
	ls.Ops.Name(m.Caller(nil), false, &at)
	const clients, rounds = 4, 25
	for range 2 {
		m.Spawn("server", func(c *vfs.Caller) {
			for range clients * rounds / 2 {
				o, e := ls.Accept(c, false, 0, nil)
				if e != 0 {
					t.Error("accept: ", e.Name())
					return
				}
				b := make([]byte, 3000)
				for {
					n, e := o.Read(c, mm.BytesBuf(b))
					if n == 0 || e != 0 {
						break
					}
					o.Write(c, mm.BytesBuf(b[:n]))
				}
				o.Unref()
			}
		})
	}
	for i := range clients {
		m.Spawn("client", func(c *vfs.Caller) {
			for j := range rounds {
				o, _ := m.Net.Socket(c, v4, stream, 0, 0)
				s, _ := socket.Of(o)
				if e := s.Ops.Connect(c, at.Bytes(), false); e != 0 {
					t.Error("connect: ", e.Name())
				}
				b := make([]byte, 1+(i*7919+j*131)%20000)
				for k := range b {
					b[k] = byte(k * (i + 3))
				}
				m.Spawn("writer", func(c *vfs.Caller) {
					o.Write(c, mm.BytesBuf(b))
					s.Ops.Shutdown(c, abi.SHUT_WR)
					s.Poll(c)
				})
				got := make([]byte, 0, len(b))
				for {
					p := make([]byte, 1000)
					n, e := o.Read(c, mm.BytesBuf(p))
					if e != 0 {
						t.Error("read: ", e.Name())
					}
					if n <= 0 {
						break
					}
					got = append(got, p[:n]...)
				}
				if string(got) != string(b) {
					t.Errorf("client %d round %d: %d bytes of %d came back", i, j, len(got), len(b))
				}
				o.Unref()
			}
		})
	}
	m.Wait()
	l.Unref()
}

// TestInterrupted ends waits by a signal.
func TestInterrupted(t *testing.T) {
	m, _ := machine(t, 2)
	m.Net.Ifaces.SetFlags(1, abi.IFF_UP, abi.IFF_UP)
	u, _ := m.Net.Socket(m.Caller(nil), v4, dgram, 0, 0)
	s, _ := socket.Of(u)
	for _, c := range []struct {
		timeo int64
		want  abi.Errno
	}{{0, abi.ERESTARTSYS}, {60, abi.EINTR}} {
		tv := abi.Timeval{Sec: c.timeo}
		s.SetOption(m.Caller(nil), sol, abi.SO_RCVTIMEO, abi.Bytes(&tv))
		th := m.Spawn("reader", func(k *vfs.Caller) {
			if _, e := u.Read(k, mm.BytesBuf(make([]byte, 1))); e != c.want {
				t.Errorf("timeout %d: %s, want %s", c.timeo, e.Name(), c.want.Name())
			}
		})
		th.Interrupt()
		m.Wait()
	}
	u.Unref()
}

// TestIdle has a stack with connections that say nothing: it takes no processor time.
func TestIdle(t *testing.T) {
	m, _ := machine(t, 1)
	m.Net.Ifaces.SetFlags(1, abi.IFF_UP, abi.IFF_UP)
	m.Run(func(v *sockettest.Virtual) {
		l, _ := v.Socket(v4, stream, 0)
		v.Bind(l, in(127, 0, 0, 1, 7000))
		v.Listen(l, 5)
		c, _ := v.Socket(v4, stream, 0)
		v.Connect(c, in(127, 0, 0, 1, 7000))
		n, _, _ := v.Accept(l, 0)
		v.Send(c, []byte("hello"), 0, nil, nil, nil)
		v.Recv(n, 5, 0, 0)
		used := func() time.Duration {
			var r unix.Rusage
			unix.Getrusage(unix.RUSAGE_SELF, &r)
			return time.Duration(r.Utime.Nano() + r.Stime.Nano())
		}
		v.C().Thread.Sleep(m.Clock.Monotonic().Add(300e6))
		before := used()
		v.C().Thread.Sleep(m.Clock.Monotonic().Add(500e6))
		if d := used() - before; d > 50*time.Millisecond {
			t.Errorf("%v of processor time in half a second", d)
		}
	})
}
