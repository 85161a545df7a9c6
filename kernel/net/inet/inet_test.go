package inet

import (
	"encoding/binary"
	"fmt"
	"strings"
	"testing"
	"time"

	"goum/arch/abi"
	"goum/kernel/fs/vfs"
	"goum/kernel/net/socket"
	"goum/kernel/net/socket/sockettest"
	"goum/mm"
)

type session = sockettest.Session

const (
	v4, v6   = abi.AF_INET, abi.AF_INET6
	stream   = abi.SOCK_STREAM
	dgram    = abi.SOCK_DGRAM
	dontwait = abi.MSG_DONTWAIT
	sol      = abi.SOL_SOCKET
)

var (
	in  = sockettest.In
	in6 = sockettest.In6
)

func machine(t testing.TB, cpus int) (*sockettest.Machine, *Family) {
	m := sockettest.NewMachine(t, cpus)
	f := Register(m.Net)
	t.Cleanup(func() {
		f.Close()
		if len(f.socks) != 0 {
			t.Errorf("%d sockets are left", len(f.socks))
		}
	})
	return m, f
}

// compare runs script in a network of its own, with lo up unless down.
func compare(t *testing.T, down bool, script func(s *session)) {
	t.Helper()
	m, _ := machine(t, 2)
	sockettest.Compare(t, m, true, func(s *session) {
		if !down {
			up(s, m)
		}
		script(s)
	})
}

func up(s *session, m *sockettest.Machine) {
	var r abi.Ifreq
	copy(r.Name[:], "lo")
	r.Data[0] = abi.IFF_UP
	fd, _ := s.Calls.Socket(v4, dgram, 0)
	if !s.Host {
		m.Net.Ifaces.SetFlags(1, abi.IFF_UP, abi.IFF_UP)
	} else if e := s.Calls.Ioctl(fd, abi.SIOCSIFFLAGS, abi.Bytes(&r)); e != 0 {
		s.T.Error("the host's lo: ", e.Name())
	}
	s.Calls.Close(fd)
}

// listen makes a listener on the loopback, and gives its port.
func listen(s *session, fam, backlog int) (fd, port int) {
	s.Quietly(func() {
		fd = s.Socket(fam, stream, 0)
		s.Bind(fd, local(fam, 0))
		s.Listen(fd, backlog)
		port = portOf(s.Name(fd, false))
	})
	return fd, port
}

func local(fam, port int) []byte {
	if fam == v6 {
		return in6(1, port)
	}
	return in(127, 0, 0, 1, port)
}

func portOf(a []byte) int {
	if len(a) < 4 {
		return 0
	}
	return int(binary.BigEndian.Uint16(a[2:]))
}

// at logs an address with its port named.
func at(s *session, what string, a []byte, ports ...int) {
	p := portOf(a)
	name := fmt.Sprint(p)
	for i, q := range ports {
		if p == q {
			name = fmt.Sprint("port", i)
		}
	}
	if p >= firstPort && name == fmt.Sprint(p) {
		name = "ephemeral"
	}
	b := append([]byte(nil), a...)
	if len(b) >= 4 {
		b[2], b[3] = 0, 0
	}
	s.Log("%s: %x port %s", what, b, name)
}

func quietName(s *session, fd int, peer bool) (a []byte) {
	s.Quietly(func() { a = s.Name(fd, peer) })
	return a
}

// connect is connect(2) to a port that differs between the sides.
func connect(s *session, fd, fam, port int) {
	s.Log("connect %d: %s", fd, s.Calls.Connect(fd, local(fam, port)).Name())
}

func accept(s *session, fd int) (n int) {
	n, _, e := s.Calls.Accept(fd, 0)
	s.Log("accept %d: %s", fd, e.Name())
	return n
}

func TestCreate(t *testing.T) {
	compare(t, true, func(s *session) {
		for _, fam := range []int{v4, v6} {
			for _, typ := range []int{stream, dgram, abi.SOCK_SEQPACKET, abi.SOCK_RDM, 0} {
				for _, p := range []int{0, abi.IPPROTO_TCP, abi.IPPROTO_UDP, 99, -1, 263} {
					fd := s.Socket(fam, typ, p)
					if fd >= 0 {
						s.GetOpt(fd, sol, abi.SO_PROTOCOL, 4)
						s.Poll(fd)
						s.Name(fd, false)
						s.Name(fd, true)
						s.Close(fd)
					}
					s.Pair(fam, typ, p)
				}
			}
			s.Socket(fam, abi.SOCK_RAW, 0)
			tcp := s.Socket(fam, stream, 0)
			udp := s.Socket(fam, dgram, 0)
			for _, fd := range []int{tcp, udp} {
				s.Recv(fd, 10, dontwait)
				s.Send(fd, "x", 0)
				s.Accept(fd, 0)
				s.Shutdown(fd, 2)
				s.Shutdown(fd, 9)
			}
			s.Listen(udp, 1)
		}
	})
}

// TestDown is a machine whose lo is down: nothing is reachable.
func TestDown(t *testing.T) {
	compare(t, true, func(s *session) {
		tcp, udp := s.Socket(v4, stream, 0), s.Socket(v4, dgram, 0)
		s.Connect(tcp, in(127, 0, 0, 1, 80))
		s.Connect(udp, in(127, 0, 0, 1, 80))
		s.SendTo(udp, "x", 0, in(127, 0, 0, 1, 80))
		t6 := s.Socket(v6, stream, 0)
		s.Connect(t6, in6(1, 80))
	})
}

func TestAddresses(t *testing.T) {
	compare(t, false, func(s *session) {
		for _, typ := range []int{stream, dgram} {
			fd := s.Socket(v4, typ, 0)
			s.Bind(fd, nil)
			s.Bind(fd, []byte{2, 0, 1, 2})
			s.Bind(fd, in6(1, 0))
			s.Bind(fd, in(8, 8, 8, 8, 0))
			s.Connect(fd, []byte{2})
			s.Connect(fd, []byte{2, 0, 1})
			s.Connect(fd, in(8, 8, 8, 8, 53))
			s.Connect(fd, in6(1, 0))
			s.Bind(fd, in(127, 0, 0, 2, 7777))
			at(s, "name", quietName(s, fd, false))
			s.Bind(fd, in(127, 0, 0, 1, 7778))
			g := s.Socket(v4, typ, 0)
			s.Bind(g, in(127, 0, 0, 2, 7777))
			s.Bind(g, in(0, 0, 0, 0, 7777))
			s.Bind(g, in(127, 0, 0, 3, 7777))
			s.Close(fd)
			s.Close(g)
			h := s.Socket(v6, typ, 0)
			s.Bind(h, in(127, 0, 0, 1, 80))
			s.Bind(h, in6(2, 0))
			s.Bind(h, in6(1, 7779)[:20])
			s.Connect(h, in6(2, 80))
			s.GetOpt(h, abi.IPPROTO_IPV6, abi.IPV6_V6ONLY, 4)
			s.Bind(h, in6(0, 7780))
			at(s, "name", quietName(s, h, false))
			s.SetInt(h, abi.IPPROTO_IPV6, abi.IPV6_V6ONLY, 1)
			i := s.Socket(v4, typ, 0)
			s.Bind(i, in(0, 0, 0, 0, 7780))
			s.Close(h)
			s.Close(i)
		}
	})
}

func TestTCP(t *testing.T) {
	for _, fam := range []int{v4, v6} {
		compare(t, false, func(s *session) {
			l, port := listen(s, fam, 5)
			s.Poll(l)
			s.GetOpt(l, sol, abi.SO_ACCEPTCONN, 4)
			s.NonBlock(l, true)
			s.Accept(l, 0)
			c := s.Socket(fam, stream, 0)
			connect(s, c, fam, port)
			s.Poll(c)
			s.Pause()
			s.Poll(l)
			n := accept(s, l)
			at(s, "own", quietName(s, n, false), port, portOf(quietName(s, c, false)))
			at(s, "peer", quietName(s, n, true), port, portOf(quietName(s, c, false)))
			at(s, "client's", quietName(s, c, false), port)
			connect(s, c, fam, port)
			s.Listen(c, 1)
			s.Bind(c, local(fam, 0))
			s.Recv(n, 10, dontwait)
			s.Send(c, "hello", 0)
			s.Pause()
			s.Poll(n)
			s.Recv(n, 2, abi.MSG_PEEK)
			s.Recv(n, 2, 0)
			s.Recv(n, 2, abi.MSG_TRUNC)
			s.Recv(n, 10, 0)
			s.Send(c, "", 0)
			s.Recv(n, 0, dontwait)
			s.SendTo(c, "addressed", 0, in(1, 2, 3, 4, 5))
			s.Recv(n, 9, abi.MSG_WAITALL)
			s.Recv(n, 1, abi.MSG_OOB)
			s.Send(n, "from the server", 0)
			s.Shutdown(n, abi.SHUT_WR)
			s.Pause()
			s.Poll(n)
			s.Poll(c)
			s.Send(n, "x", 0)
			s.Recv(c, 100, 0)
			s.Recv(c, 100, 0)
			s.Send(c, "still", 0)
			s.Recv(n, 10, 0)
			s.Shutdown(c, abi.SHUT_WR)
			s.Pause()
			s.Poll(c)
			s.Recv(n, 10, 0)
			s.Recv(c, 10, 0)
			s.Close(n)
			s.Close(c)

			// A reset: closed with something unread.
			c = s.Socket(fam, stream, 0)
			connect(s, c, fam, port)
			s.Pause()
			n = accept(s, l)
			s.Send(c, "unread", 0)
			s.Pause()
			s.Close(n)
			s.Pause()
			s.Poll(c)
			s.GetOpt(c, sol, abi.SO_ERROR, 4)
			s.GetOpt(c, sol, abi.SO_ERROR, 4)
			s.Recv(c, 10, 0)
			s.Send(c, "x", 0)
			s.Name(c, true)
			s.Close(c)

			// The same by SO_LINGER of no time.
			c = s.Socket(fam, stream, 0)
			connect(s, c, fam, port)
			s.Pause()
			n = accept(s, l)
			s.SetOpt(n, sol, abi.SO_LINGER, []byte{1, 0, 0, 0, 0, 0, 0, 0})
			s.Close(n)
			s.Pause()
			s.Recv(c, 10, 0)
			s.Recv(c, 10, 0)
			s.Close(c)
			s.Close(l)

			// Nobody listens.
			c = s.Socket(fam, stream, 0)
			connect(s, c, fam, port)
			s.GetOpt(c, sol, abi.SO_ERROR, 4)
			s.Poll(c)
			connect(s, c, fam, port)
			s.Close(c)
			c = s.Socket(fam, stream|abi.SOCK_NONBLOCK, 0)
			connect(s, c, fam, port)
			s.Pause()
			s.Poll(c)
			s.GetOpt(c, sol, abi.SO_ERROR, 4)
			s.Poll(c)
			l, port = listen(s, fam, 5)
			connect(s, c, fam, port)
			s.Pause()
			s.Poll(c)
			connect(s, c, fam, port)
			s.Pause()
			connect(s, c, fam, port)
			connect(s, c, fam, port)
			n = accept(s, l)
			s.Send(c, "again", 0)
			s.Recv(n, 10, 0)
			s.Shutdown(l, abi.SHUT_RDWR)
			s.Accept(l, 0)
			s.Poll(l)
		})
	}
}

func TestTCPOptions(t *testing.T) {
	compare(t, false, func(s *session) {
		fd := s.Socket(v4, stream, 0)
		udp := s.Socket(v4, dgram, 0)
		for _, o := range []int{abi.TCP_NODELAY, abi.TCP_CORK, abi.TCP_KEEPIDLE, abi.TCP_KEEPINTVL, abi.TCP_KEEPCNT, abi.TCP_SYNCNT, 9999} {
			s.GetOpt(fd, abi.IPPROTO_TCP, o, 4)
			for _, v := range []int{1, 0, 5, -1, 100000} {
				s.SetInt(fd, abi.IPPROTO_TCP, o, v)
			}
			s.SetOpt(fd, abi.IPPROTO_TCP, o, []byte{1, 0})
			s.GetOpt(fd, abi.IPPROTO_TCP, o, 4)
			s.SetInt(udp, abi.IPPROTO_TCP, o, 1)
			s.GetOpt(udp, abi.IPPROTO_TCP, o, 4)
		}
		for _, k := range []int{fd, udp} {
			for _, o := range []int{abi.IP_TTL, abi.IP_TOS, abi.IP_RECVTTL, abi.IP_RECVTOS, abi.IP_PKTINFO, abi.IP_RECVERR, 9999} {
				s.GetOpt(k, abi.IPPROTO_IP, o, 4)
				for _, v := range []int{1, 0, 64, -1, 256} {
					s.SetInt(k, abi.IPPROTO_IP, o, v)
					s.GetOpt(k, abi.IPPROTO_IP, o, 4)
				}
			}
			for _, o := range []int{abi.SO_REUSEADDR, abi.SO_REUSEPORT, abi.SO_KEEPALIVE, abi.SO_BROADCAST, abi.SO_PASSCRED, abi.SO_PEERCRED, abi.SO_PEERGROUPS} {
				s.GetOpt(k, sol, o, 4)
				s.SetInt(k, sol, o, 1)
				s.GetOpt(k, sol, o, 4)
			}
			s.SetInt(k, 4711, 1, 1)
			s.GetOpt(k, 4711, 1, 4)
			s.SetInt(k, abi.IPPROTO_IPV6, abi.IPV6_V6ONLY, 1)
			s.SetOpt(k, sol, abi.SO_BINDTODEVICE, []byte("lo\x00"))
			s.GetOpt(k, sol, abi.SO_BINDTODEVICE, 16)
		}
		s.SetOpt(fd, abi.IPPROTO_TCP, abi.TCP_CONGESTION, []byte("nosuch"))
	})
}

func TestReuse(t *testing.T) {
	compare(t, false, func(s *session) {
		a, b := s.Socket(v4, dgram, 0), s.Socket(v4, dgram, 0)
		for _, o := range []int{abi.SO_REUSEADDR, abi.SO_REUSEPORT} {
			s.SetInt(a, sol, o, 1)
		}
		s.Bind(a, in(127, 0, 0, 1, 5001))
		s.Bind(b, in(127, 0, 0, 1, 5001))
		s.SetInt(b, sol, abi.SO_REUSEPORT, 1)
		s.Bind(b, in(127, 0, 0, 1, 5001))

		l := s.Socket(v4, stream, 0)
		s.Bind(l, in(127, 0, 0, 1, 5002))
		s.Listen(l, 1)
		c := s.Socket(v4, stream, 0)
		s.Connect(c, in(127, 0, 0, 1, 5002))
		s.Pause()
		n := accept(s, l)
		s.Close(l)
		s.Close(n) // the server's side goes to TIME_WAIT
		s.Close(c)
		s.Pause()
		l = s.Socket(v4, stream, 0)
		s.SetInt(l, sol, abi.SO_REUSEADDR, 1)
		s.Bind(l, in(127, 0, 0, 1, 5002))
		s.Listen(l, 1)
	})
}

func TestUDP(t *testing.T) {
	for _, fam := range []int{v4, v6} {
		compare(t, false, func(s *session) {
			a, b := s.Socket(fam, dgram, 0), s.Socket(fam, dgram, 0)
			s.Bind(a, local(fam, 6001))
			s.Poll(a)
			s.Send(b, "nowhere", 0)
			s.SendTo(b, "one", 0, local(fam, 6001))
			s.SendTo(b, "port 0", 0, local(fam, 0))
			at(s, "autobound", quietName(s, b, false))
			s.Poll(a)
			r, e := s.Calls.Recv(a, 10, abi.MSG_PEEK, 0)
			s.Log("peek %q %s", r.Data, e.Name())
			at(s, "from", r.Addr)
			r, e = s.Calls.Recv(a, 2, abi.MSG_TRUNC, 0)
			s.Log("cut %d %q %#x %s", r.N, r.Data, r.Flags, e.Name())
			s.Recv(a, 10, dontwait)
			s.Connect(b, local(fam, 6001))
			s.Name(b, true)
			s.Send(b, "", 0)
			r, e = s.Calls.Recv(a, 10, 0, 0)
			s.Log("empty %d %s", r.N, e.Name())
			s.Send(b, strings.Repeat("x", 65508), 0)
			s.Quietly(func() { s.Send(b, strings.Repeat("x", 60000), 0) })
			r, e = s.Calls.Recv(a, 70000, 0, 0)
			s.Log("large %d %s", r.N, e.Name())
			s.SetInt(a, abi.IPPROTO_IP, abi.IP_RECVTTL, 1)
			if fam == v4 {
				s.Send(b, "with ttl", 0)
				r, e = s.Calls.Recv(a, 10, 0, 100)
				s.Log("ttl %q %x %s", r.Data, r.Control, e.Name())
			}
			c := s.Socket(fam, dgram, 0)
			s.Connect(c, local(fam, 6002)) // nobody is there
			s.Send(c, "x", 0)
			s.Pause()
			s.Poll(c)
			s.Recv(c, 10, 0)
			s.Poll(c)
			s.Send(c, "x", 0)
			s.Pause()
			s.Send(c, "x", 0)
			s.Pause()
			s.GetOpt(c, sol, abi.SO_ERROR, 4)
			s.GetOpt(c, sol, abi.SO_ERROR, 4)
			s.Recv(c, 10, dontwait)
			s.Connect(c, []byte{0, 0})
			s.Name(c, true)
			s.Send(c, "x", 0)
			s.Shutdown(b, abi.SHUT_RD)
			s.Recv(b, 10, 0)
			s.Poll(b)
			s.Shutdown(b, abi.SHUT_WR)
			s.Send(b, "x", 0)
			s.Poll(b)
			d := s.Socket(fam, dgram, 0)
			s.Shutdown(d, abi.SHUT_RDWR)
		})
	}
}

func TestMapped(t *testing.T) {
	compare(t, false, func(s *session) {
		mapped := func(port int) []byte {
			b := in6(1, port)
			b[18], b[19], b[20] = 0xff, 0xff, 127
			return b
		}
		l := s.Socket(v6, stream, 0)
		s.Bind(l, in6(0, 6100))
		s.Listen(l, 5)
		c := s.Socket(v4, stream, 0)
		s.Connect(c, in(127, 0, 0, 1, 6100))
		s.Pause()
		n := accept(s, l)
		s.Name(n, false)
		at(s, "peer", quietName(s, n, true))
		s.Send(c, "4 to 6", 0)
		s.Recv(n, 10, 0)
		l4 := s.Socket(v4, stream, 0)
		s.Bind(l4, in(127, 0, 0, 1, 6101))
		s.Listen(l4, 5)
		d := s.Socket(v6, stream, 0)
		s.Connect(d, mapped(6101))
		s.Pause()
		m := accept(s, l4)
		s.Name(d, true)
		s.Send(d, "6 to 4", 0)
		s.Recv(m, 10, 0)
		o := s.Socket(v6, stream, 0)
		s.SetInt(o, abi.IPPROTO_IPV6, abi.IPV6_V6ONLY, 1)
		s.Connect(o, mapped(6101))
		s.Bind(o, mapped(0))
	})
}

func TestBlocking(t *testing.T) {
	compare(t, false, func(s *session) {
		l, port := listen(s, v4, 5)
		c := s.Socket(v4, stream, 0)
		wait := s.Go(func(x sockettest.Calls) {
			x.Pause()
			x.Connect(c, local(v4, port))
			x.Send(c, []byte("first"), 0, nil, nil, nil)
			x.Pause()
			x.Send(c, []byte("second"), 0, nil, nil, nil)
			x.Close(c)
		})
		n := accept(s, l)
		s.Recv(n, 11, abi.MSG_WAITALL)
		s.Recv(n, 11, abi.MSG_WAITALL)
		wait()
		c = s.Socket(v4, stream, 0)
		connect(s, c, v4, port)
		m := accept(s, l)
		const total = 4 << 20
		wait = s.Go(func(x sockettest.Calls) {
			x.Pause()
			sum := 0
			for sum < total {
				r, e := x.Recv(m, 100000, 0, 0)
				if e != 0 || r.N == 0 {
					break
				}
				for i, b := range r.Data {
					if b != byte((sum+i)>>3) {
						t.Errorf("byte %d is wrong", sum+i)
						return
					}
				}
				sum += r.N
			}
			if sum != total {
				t.Errorf("%d bytes of %d", sum, total)
			}
		})
		data := make([]byte, total)
		for i := range data {
			data[i] = byte(i >> 3)
		}
		n2, e := s.Calls.Send(c, data, 0, nil, nil, nil)
		s.Log("sent %d %s", n2, e.Name())
		wait()
		tv := abi.Timeval{Usec: 20000}
		s.SetOpt(c, sol, abi.SO_RCVTIMEO, abi.Bytes(&tv))
		s.Recv(c, 1, 0)
		u := s.Socket(v4, dgram, 0)
		s.SetOpt(u, sol, abi.SO_RCVTIMEO, abi.Bytes(&tv))
		s.Recv(u, 1, 0)
		s.SetOpt(l, sol, abi.SO_RCVTIMEO, abi.Bytes(&tv))
		s.Accept(l, 0)
		s.SetOpt(c, sol, abi.SO_RCVTIMEO, make([]byte, 16))
		wait = s.Go(func(x sockettest.Calls) { x.Pause(); x.Shutdown(c, abi.SHUT_RD) })
		s.Recv(c, 1, 0)
		wait()
	})
}

// TestResolver is what a resolver does on a machine without /etc/resolv.conf: it asks 127.0.0.1:53, and learns at once that nobody is
// there.
func TestResolver(t *testing.T) {
	m, _ := machine(t, 1)
	m.Net.Ifaces.SetFlags(1, abi.IFF_UP, abi.IFF_UP)
	m.Run(func(v *sockettest.Virtual) {
		fd, _ := v.Socket(v4, dgram, 0)
		v.Connect(fd, in(127, 0, 0, 1, 53))
		start := m.Clock.Monotonic()
		v.Send(fd, []byte("query"), 0, nil, nil, nil)
		_, e := v.Recv(fd, 512, 0, 0)
		if took := time.Duration(m.Clock.Monotonic() - start); e != abi.ECONNREFUSED || took > time.Second {
			t.Errorf("%s after %v", e.Name(), took)
		}
	})
}

func TestPing(t *testing.T) {
	m, _ := machine(t, 1)
	m.Net.Ifaces.SetFlags(1, abi.IFF_UP, abi.IFF_UP)
	m.Run(func(v *sockettest.Virtual) {
		for _, typ := range []int{dgram, abi.SOCK_RAW} {
			fd, e := v.Socket(v4, typ, abi.IPPROTO_ICMP)
			if e != 0 {
				t.Fatal(e.Name())
			}
			echo := []byte{8, 0, 0, 0, 0, 0, 0, 1, 'p', 'i', 'n', 'g'}
			var sum uint32
			for i := 0; i < len(echo); i += 2 {
				sum += uint32(echo[i])<<8 | uint32(echo[i+1])
			}
			sum = sum&0xffff + sum>>16
			echo[2], echo[3] = ^byte(sum>>8), ^byte(sum)
			if n, e := v.Send(fd, echo, 0, in(127, 0, 0, 1, 0), nil, nil); n != len(echo) {
				t.Fatal(n, e.Name())
			}
			for {
				r, e := v.Recv(fd, 100, 0, 0)
				if e != 0 {
					t.Fatal(e.Name())
				}
				d := r.Data
				if typ == abi.SOCK_RAW && len(d) > 20 {
					d = d[20:]
				}
				if d[0] == 8 {
					continue // the request, which a raw socket sees too
				}
				if d[0] != 0 || string(d[8:]) != "ping" {
					t.Errorf("answer %x", d)
				}
				break
			}
		}
	})
}

func TestProc(t *testing.T) {
	m, f := machine(t, 1)
	m.Net.Ifaces.SetFlags(1, abi.IFF_UP, abi.IFF_UP)
	if f.stack != nil {
		t.Error("the stack was made before the first socket")
	}
	m.Run(func(v *sockettest.Virtual) {
		fd, _ := v.Socket(v4, stream, 0)
		v.Bind(fd, in(127, 0, 0, 1, 8080))
		v.Listen(fd, 1)
		u, _ := v.Socket(v6, dgram, 0)
		v.Bind(u, in6(1, 53))
		if p := f.ProcTCP(false); !strings.Contains(p, "0: 0100007F:1F90 00000000:0000 0A 0") || len(strings.Split(p, "\n")[1]) != 149 {
			t.Error(p)
		}
		if p := f.ProcUDP(true); !strings.Contains(p, "0: 00000000000000000000000001000000:0035 00000000000000000000000000000000:0000 07 ") {
			t.Error(p)
		}
	})
}

// BenchmarkPingPong is tcp_pingpong without a guest.
func BenchmarkPingPong(b *testing.B) {
	m, x, y := connected2(b)
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
	b.ReportAllocs()
	b.ResetTimer()
	bounce(x, true)
	bounce(y, false)
	m.Wait()
	x.Unref()
	y.Unref()
}

// BenchmarkStream is tcp_stream_64K without a guest.
func BenchmarkStream(b *testing.B) {
	m, x, y := connected2(b)
	b.SetBytes(64 << 10)
	b.ReportAllocs()
	b.ResetTimer()
	m.Spawn("writer", func(c *vfs.Caller) {
		data := make([]byte, 256<<10)
		buf := new(mm.Buf)
		for left := b.N << 16; left > 0; {
			buf.SetBytes(data[:min(left, len(data))])
			n, _ := x.Write(c, buf)
			left -= n
		}
	})
	m.Spawn("reader", func(c *vfs.Caller) {
		data := make([]byte, 256<<10)
		buf := new(mm.Buf)
		for left := b.N << 16; left > 0; {
			buf.SetBytes(data)
			n, _ := y.Read(c, buf)
			left -= n
		}
	})
	m.Wait()
	x.Unref()
	y.Unref()
}

func connected2(b *testing.B) (m *sockettest.Machine, x, y *vfs.Open) {
	m, _ = machine(b, 2)
	m.Net.Ifaces.SetFlags(1, abi.IFF_UP, abi.IFF_UP)
	m.Spawn("setup", func(c *vfs.Caller) {
		l, _ := m.Net.Socket(c, v4, stream, 0, 0)
		ls, _ := socket.Of(l)
		ls.Ops.Bind(c, in(127, 0, 0, 1, 0))
		ls.Listen(c, 1)
		var a socket.Addr
		ls.Ops.Name(c, false, &a)
		x, _ = m.Net.Socket(c, v4, stream, 0, 0)
		xs, _ := socket.Of(x)
		if e := xs.Ops.Connect(c, a.Bytes(), false); e != 0 {
			b.Error(e.Name())
		}
		y, _ = ls.Accept(c, false, 0, nil)
		for _, o := range []*vfs.Open{x, y} {
			s, _ := socket.Of(o)
			s.SetOption(c, abi.IPPROTO_TCP, abi.TCP_NODELAY, []byte{1, 0, 0, 0})
		}
		l.Unref()
	})
	m.Wait()
	return m, x, y
}
