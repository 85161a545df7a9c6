package unix

import (
	"strings"
	"testing"

	"goum/arch/abi"
	"goum/kernel/net/socket/sockettest"
)

type session = sockettest.Session

func machine(t testing.TB, cpus int) (*sockettest.Machine, *Family) {
	m := sockettest.NewMachine(t, cpus)
	f := Register(m.Net)
	t.Cleanup(func() { audit(t, m, f) })
	return m, f
}

// audit says that nothing is left of a machine's sockets.
func audit(t testing.TB, m *sockettest.Machine, f *Family) {
	if len(f.socks)+len(f.names)+len(f.nodes)+len(f.flight)+len(f.users)+len(f.drops) != 0 {
		t.Errorf("left: %d sockets, %d names, %d nodes, %d in flight, %d users, %d to drop", len(f.socks), len(f.names), len(f.nodes), len(f.flight), len(f.users), len(f.drops))
	}
	if n := m.Net.Buffered(); n != 0 {
		t.Errorf("%d bytes are charged", n)
	}
}

func compare(t *testing.T, script func(s *session)) {
	t.Helper()
	m, _ := machine(t, 2)
	sockettest.Compare(t, m, false, script)
}

const (
	dontwait = abi.MSG_DONTWAIT
	stream   = abi.SOCK_STREAM
	dgram    = abi.SOCK_DGRAM
	seq      = abi.SOCK_SEQPACKET
)

func TestCreate(t *testing.T) {
	compare(t, func(s *session) {
		for _, c := range [][3]int{{1, stream, 0}, {1, dgram, 0}, {1, seq, 0}, {1, abi.SOCK_RAW, 0}, {1, stream, 1}, {1, stream, 2}, {1, abi.SOCK_RDM, 0},
			{1, 0, 0}, {1, 11, 0}, {1, -1, 0}, {1, stream | 0x100, 0}, {46, stream, 0}, {-1, stream, 0}, {1, stream | abi.SOCK_NONBLOCK, 0}} {
			fd := s.Socket(c[0], c[1], c[2])
			if fd >= 0 {
				s.GetOpt(fd, abi.SOL_SOCKET, abi.SO_TYPE, 4)
				s.GetOpt(fd, abi.SOL_SOCKET, abi.SO_PROTOCOL, 4)
				s.GetOpt(fd, abi.SOL_SOCKET, abi.SO_DOMAIN, 2)
				s.Poll(fd)
				s.Name(fd, false)
				s.Name(fd, true)
			}
			s.Pair(c[0], c[1], c[2])
		}
	})
}

func TestStream(t *testing.T) {
	compare(t, func(s *session) {
		a, b := s.Pair(1, stream, 0)
		s.Poll(a)
		s.Name(a, false)
		s.Name(a, true)
		s.Recv(b, 10, dontwait)
		s.Send(a, "hello", 0)
		s.Poll(b)
		s.Recv(b, 3, abi.MSG_PEEK)
		s.Recv(b, 3, 0)
		s.Send(a, "world", 0)
		s.Recv(b, 100, 0)
		s.Send(a, "", 0)
		s.Recv(b, 0, dontwait)
		s.SendTo(a, "x", 0, sockettest.Un("\x00nobody"))
		s.Shutdown(a, 3)
		s.Shutdown(a, -1)
		s.Send(a, "last", 0)
		s.Shutdown(a, abi.SHUT_WR)
		s.Poll(a)
		s.Poll(b)
		s.Send(a, "x", 0)
		s.Recv(b, 2, 0)
		s.Recv(b, 20, abi.MSG_WAITALL)
		s.Recv(b, 20, 0)
		s.Send(b, "back", 0)
		s.Recv(a, 20, 0)
		s.Send(b, "unread", 0)
		s.Close(a)
		s.Poll(b)
		s.GetOpt(b, abi.SOL_SOCKET, abi.SO_ERROR, 4)
		s.GetOpt(b, abi.SOL_SOCKET, abi.SO_ERROR, 4)
		s.Recv(b, 20, dontwait)
		s.Send(b, "x", 0)
		s.Name(b, true)

		c, d := s.Pair(1, stream, 0)
		s.Send(c, "unread", 0)
		s.Close(d)
		s.Recv(c, 10, 0)
		s.Recv(c, 10, 0)
		s.Send(c, "x", 0)

		e := s.Socket(1, stream, 0)
		s.Recv(e, 10, 0)
		s.Send(e, "x", 0)
		s.SendTo(e, "x", 0, sockettest.Un("\x00nobody"))
		s.Shutdown(e, abi.SHUT_RDWR)
		s.Poll(e)
		s.Accept(e, 0)
		s.Listen(e, 1)
	})
}

func TestConnect(t *testing.T) {
	compare(t, func(s *session) {
		for _, typ := range []int{stream, seq} {
			l := s.Socket(1, typ, 0)
			s.Bind(l, nil)
			s.Bind(l, []byte{2, 0, 1})
			s.Bind(l, []byte{1})
			s.Bind(l, sockettest.Un(strings.Repeat("x", 109)))
			at := sockettest.Un("\x00goum-test-connect")
			s.Bind(l, at)
			s.Bind(l, sockettest.Un("\x00other"))
			s.Name(l, false)
			o := s.Socket(1, typ, 0)
			s.Bind(o, at)
			s.Connect(o, at)
			s.Listen(l, 1)
			s.GetOpt(l, abi.SOL_SOCKET, abi.SO_ACCEPTCONN, 4)
			s.NonBlock(l, true)
			s.Accept(l, 0)
			s.Poll(l)
			s.Connect(o, sockettest.Un("\x00nobody"))
			s.Connect(o, []byte{1, 0})
			s.Connect(o, at)
			s.Connect(o, at)
			s.Connect(o, sockettest.Un("\x00nobody"))
			s.Poll(l)
			s.Poll(o)
			s.Send(o, "early", 0)
			p := s.Socket(1, typ, 0)
			s.Bind(p, sockettest.Un("\x00goum-test-client"))
			s.Connect(p, at)
			q := s.Socket(1, typ|abi.SOCK_NONBLOCK, 0)
			s.Connect(q, at)
			n := s.Accept(l, 0)
			s.Name(n, false)
			s.Name(n, true)
			s.Recv(n, 10, dontwait)
			s.Send(n, "reply", 0)
			s.Recv(o, 10, dontwait)
			s.Connect(n, at)
			s.Listen(n, 1)
			s.Connect(q, at)
			n2 := s.Accept(l, abi.SOCK_NONBLOCK)
			s.Name(n2, true)
			s.Send(n2, "x", 0)
			s.Recv(p, 10, dontwait)
			s.Recv(n2, 10, 0)
			s.Connect(l, at)
			s.Close(l)
			s.Poll(q)
			s.Recv(q, 10, 0)
			s.GetOpt(q, abi.SOL_SOCKET, abi.SO_ERROR, 4)
			s.Recv(q, 10, 0)
			r := s.Socket(1, typ, 0)
			s.Connect(r, at)
			for _, fd := range []int{o, p, q, n, n2, r} {
				s.Close(fd)
			}
		}
	})
}

func TestAutobind(t *testing.T) {
	m, _ := machine(t, 1)
	m.Run(func(v *sockettest.Virtual) {
		for range 3 {
			fd, _ := v.Socket(1, dgram, 0)
			if e := v.Bind(fd, []byte{1, 0}); e != 0 {
				t.Errorf("autobind: %s", e.Name())
			}
			a, _ := v.Name(fd, false)
			if len(a) != 8 || a[2] != 0 {
				t.Errorf("autobind gave %q", a)
			}
			v.Bind(fd, []byte{1, 0})
			if b, _ := v.Name(fd, false); string(a) != string(b) {
				t.Errorf("a second autobind changed %q to %q", a, b)
			}
			v.Close(fd)
		}
	})
}

func TestPath(t *testing.T) {
	compare(t, func(s *session) {
		const dir = "/tmp/goum-unix-test"
		if !s.Host {
			s.Calls.(*sockettest.Virtual).C().Mkdir(vfsRoot, "/tmp", 0o777)
		}
		p := sockettest.Un(dir + "\x00rest is not looked at")
		l := s.Socket(1, stream, 0)
		s.Calls.Unlink(dir)
		s.Connect(l, p)
		s.Bind(l, p)
		s.Name(l, false)
		o := s.Socket(1, stream, 0)
		s.Bind(o, p)
		s.Connect(o, p)
		s.Listen(l, 5)
		d := s.Socket(1, dgram, 0)
		s.Connect(d, p)
		s.Connect(d, sockettest.Un("/tmp"))
		s.Connect(d, sockettest.Un("/no/such/thing"))
		s.Bind(d, sockettest.Un("/no/such/thing"))
		s.Bind(d, sockettest.Un("/tmp"))
		s.Connect(o, p)
		n := s.Accept(l, 0)
		s.Name(n, false)
		s.Name(o, true)
		s.Send(n, "a", 0)
		s.Recv(o, 1, 0)
		s.Close(l)
		s.Connect(d, p)
		x := s.Socket(1, stream, 0)
		s.Connect(x, p)
		s.Bind(x, p)
		s.Calls.Unlink(dir)
		s.Connect(x, p)
		s.Bind(x, p)
		s.Calls.Unlink(dir)
	})
}

func TestDgram(t *testing.T) {
	compare(t, func(s *session) {
		at, other := sockettest.Un("\x00goum-test-dgram"), sockettest.Un("\x00goum-test-dgram2")
		a, b := s.Socket(1, dgram, 0), s.Socket(1, dgram, 0)
		s.Bind(a, at)
		s.Listen(a, 1)
		s.Accept(a, 0)
		s.Send(b, "nowhere", 0)
		s.SendTo(b, "to", 0, at)
		s.Poll(a)
		s.Recv(a, 1, abi.MSG_PEEK)
		s.Recv(a, 1, abi.MSG_PEEK|abi.MSG_TRUNC)
		s.Recv(a, 1, 0)
		s.Recv(a, 1, dontwait)
		s.Bind(b, other)
		s.Connect(b, []byte{1})
		s.Connect(b, at)
		s.Poll(b)
		s.Name(b, true)
		s.Send(b, "", 0)
		s.Recv(a, 10, 0)
		s.Send(b, "one", 0)
		s.Send(b, "two", 0)
		s.Recv(a, 10, 0)
		s.Recv(a, 2, abi.MSG_TRUNC)
		s.SendTo(a, "back", 0, other)
		s.Recv(b, 10, 0)
		c := s.Socket(1, dgram, 0)
		s.SendTo(c, "not from you", 0, other)
		s.Connect(c, other)
		for range 13 {
			s.Send(b, "fill", dontwait)
		}
		s.Poll(b)
		s.Poll(a)
		s.Recv(a, 10, 0)
		s.Poll(b)
		s.Send(b, "fill", dontwait)
		s.Send(b, strings.Repeat("x", 300000), dontwait)
		s.Send(b, "x", abi.MSG_OOB)
		s.Recv(a, 1, abi.MSG_OOB)
		s.Shutdown(a, abi.SHUT_RD)
		s.Send(b, "x", dontwait)
		s.Poll(a)
		for range 12 {
			s.Quietly(func() { s.Recv(a, 10, dontwait) })
		}
		s.Recv(a, 10, dontwait)
		s.Recv(a, 10, 0)
		s.Close(a)
		s.Send(b, "x", 0)
		s.Send(b, "x", 0)
		s.Name(b, true)
		s.Connect(b, []byte{0, 0})

		x, y := s.Pair(1, dgram, 0)
		s.Poll(x)
		for range 20 {
			s.Send(x, "many", dontwait)
		}
		s.Poll(x)
		s.Connect(y, []byte{0, 0})
		s.Poll(x)
		s.GetOpt(x, abi.SOL_SOCKET, abi.SO_ERROR, 4)
		s.Recv(y, 10, dontwait)
		s.Send(x, "still", dontwait)
		s.Recv(y, 10, dontwait)
		s.Close(y)
		s.Poll(x)
		s.Send(x, "gone", 0)
		s.Send(x, "gone", 0)
	})
}

func TestSeqpacket(t *testing.T) {
	compare(t, func(s *session) {
		a, b := s.Pair(1, seq, 0)
		s.Poll(a)
		s.Send(a, "one", 0)
		s.Send(a, "", 0)
		s.Send(a, "three", 0)
		s.Recv(b, 2, 0)
		s.Recv(b, 10, 0)
		s.Recv(b, 10, abi.MSG_WAITALL)
		s.Recv(b, 10, dontwait)
		s.SendTo(a, "addressed", 0, sockettest.Un("\x00nobody"))
		s.Recv(b, 20, 0)
		s.Shutdown(a, abi.SHUT_WR)
		s.Recv(b, 10, dontwait)
		s.Recv(b, 10, 0)
		s.Send(a, "x", 0)
		s.Send(b, "unread", 0)
		s.Close(a)
		s.Poll(b)
		s.Recv(b, 10, 0)
		s.Recv(b, 10, 0)
		s.Send(b, "x", 0)
		c := s.Socket(1, seq, 0)
		s.Send(c, "x", 0)
		s.Recv(c, 1, 0)
		s.Poll(c)
	})
}

func TestCredentials(t *testing.T) {
	compare(t, func(s *session) {
		for _, typ := range []int{stream, dgram, seq} {
			a, b := s.Pair(1, typ, 0)
			s.Send(a, "before", 0)
			s.SetInt(b, abi.SOL_SOCKET, abi.SO_PASSCRED, 1)
			s.GetOpt(b, abi.SOL_SOCKET, abi.SO_PASSCRED, 4)
			s.RecvMsg(b, 10, 0, 100)
			s.Send(a, "after", 0)
			s.RecvMsg(b, 10, 0, 100)
			s.Send(a, "cut", 0)
			s.RecvMsg(b, 10, 0, 16)
			s.Send(a, "cut", 0)
			s.RecvMsg(b, 10, 0, 8)
			s.Send(a, "none", 0)
			s.RecvMsg(b, 10, 0, 0)
			s.SendMsg(a, "own", 0, s.Cred(s.Pid(), 0, 0))
			s.RecvMsg(b, 10, 0, 100)
			s.SendMsg(a, "other", 0, s.Cred(s.Pid(), 5, 6))
			s.SendMsg(a, "same", 0, s.Cred(s.Pid(), 5, 6))
			s.SendMsg(a, "mine", 0, s.Cred(s.Pid(), 0, 0))
			s.RecvMsg(b, 100, 0, 100)
			s.RecvMsg(b, 100, dontwait, 100)
			s.RecvMsg(b, 100, dontwait, 100)
			s.SendMsg(a, "bad", 0, sockettest.Cmsg(abi.SOL_SOCKET, abi.SCM_CREDENTIALS, make([]byte, 8)))
			s.SendMsg(a, "bad", 0, sockettest.Cmsg(abi.SOL_SOCKET, 77, make([]byte, 8)))
			s.SendMsg(a, "not mine", 0, sockettest.Cmsg(77, 77, make([]byte, 8)))
			s.SendMsg(a, "short", 0, make([]byte, 8))
			s.SendMsg(a, "broken", 0, make([]byte, 24))
			s.SendMsg(a, "minus", 0, s.Cred(s.Pid(), ^uint32(0), 0))
			s.RecvMsg(b, 100, dontwait, 100)
			s.GetOpt(a, abi.SOL_SOCKET, abi.SO_PEERGROUPS, 0)
			if v := []byte(nil); true {
				s.Quietly(func() { v = s.GetOpt(a, abi.SOL_SOCKET, abi.SO_PEERCRED, 12) })
				s.Log("peercred %d %x", len(v), v[4:])
			}
		}
	})
}

func TestRights(t *testing.T) {
	compare(t, func(s *session) {
		for _, typ := range []int{stream, dgram, seq} {
			a, b := s.Pair(1, typ, 0)
			c, d := s.Pair(1, stream, 0)
			s.SendMsg(a, "two", 0, nil, c, d)
			r := s.RecvMsg(b, 10, abi.MSG_CMSG_CLOEXEC, 100)
			if len(r.Files) == 2 {
				s.Send(r.Files[0], "through", 0)
				s.Recv(d, 10, 0)
			}
			s.SendMsg(a, "few", 0, nil, c, d)
			s.RecvMsg(b, 10, 0, 20)
			s.SendMsg(a, "none", 0, nil, c, d)
			s.RecvMsg(b, 10, 0, 0)
			s.SendMsg(a, "peek", 0, nil, c)
			s.RecvMsg(b, 10, abi.MSG_PEEK, 100)
			s.RecvMsg(b, 2, 0, 100)
			s.RecvMsg(b, 10, dontwait, 100)
			s.Send(a, "plain", 0)
			s.SendMsg(a, "files", 0, nil, c)
			s.Send(a, "after", 0)
			s.RecvMsg(b, 100, 0, 100)
			s.RecvMsg(b, 100, dontwait, 100)
			s.RecvMsg(b, 100, dontwait, 100)
			s.SendMsg(a, "", 0, nil, c)
			s.RecvMsg(b, 100, dontwait, 100)
			s.SendMsg(a, "bad", 0, nil, 9999)
			s.SendMsg(a, "bad", 0, sockettest.Cmsg(abi.SOL_SOCKET, abi.SCM_RIGHTS, make([]byte, 4*254)))
			s.SendMsg(a, "empty", 0, sockettest.Cmsg(abi.SOL_SOCKET, abi.SCM_RIGHTS, nil))
			s.RecvMsg(b, 100, dontwait, 100)
			s.SetInt(b, abi.SOL_SOCKET, abi.SO_PASSRIGHTS, 0)
			s.SendMsg(a, "refused", 0, nil, c)
			s.RecvMsg(b, 100, dontwait, 100)
			s.SetInt(b, abi.SOL_SOCKET, abi.SO_PASSRIGHTS, 1)
			s.SendMsg(a, "lost", 0, nil, c, d)
			s.Close(a)
			s.Close(b)
			s.Close(c)
			s.Poll(d)
		}
	})
}

func TestOptions(t *testing.T) {
	compare(t, func(s *session) {
		a, b := s.Pair(1, stream, 0)
		l := s.Socket(1, stream, 0)
		for _, fd := range []int{a, l} {
			for _, o := range []int{abi.SO_SNDBUF, abi.SO_RCVBUF, abi.SO_REUSEADDR, abi.SO_KEEPALIVE, abi.SO_BROADCAST, abi.SO_RCVLOWAT, abi.SO_PRIORITY, abi.SO_OOBINLINE,
				abi.SO_DEBUG, abi.SO_DONTROUTE, abi.SO_REUSEPORT, abi.SO_PASSRIGHTS, abi.SO_MARK, abi.SO_SNDBUFFORCE, abi.SO_TYPE, abi.SO_ERROR, abi.SO_ACCEPTCONN, 9999} {
				for _, v := range []int{1, 0, -1, 100000, 1 << 30} {
					s.SetInt(fd, abi.SOL_SOCKET, o, v)
					s.GetOpt(fd, abi.SOL_SOCKET, o, 4)
				}
				s.SetOpt(fd, abi.SOL_SOCKET, o, []byte{1})
				s.GetOpt(fd, abi.SOL_SOCKET, o, 1)
				s.GetOpt(fd, abi.SOL_SOCKET, o, 0)
			}
			for _, o := range []int{abi.SO_RCVTIMEO, abi.SO_SNDTIMEO} {
				s.GetOpt(fd, abi.SOL_SOCKET, o, 16)
				for _, v := range [][2]int64{{1, 0}, {0, 0}, {0, 500000}, {0, 1000000}, {0, -1}, {-1, 0}, {1 << 60, 0}} {
					tv := abi.Timeval{Sec: v[0], Usec: v[1]}
					s.SetOpt(fd, abi.SOL_SOCKET, o, abi.Bytes(&tv))
					s.GetOpt(fd, abi.SOL_SOCKET, o, 16)
				}
				s.SetOpt(fd, abi.SOL_SOCKET, o, make([]byte, 8))
				s.SetOpt(fd, abi.SOL_SOCKET, o, make([]byte, 16))
			}
			s.SetOpt(fd, abi.SOL_SOCKET, abi.SO_LINGER, make([]byte, 4))
			s.SetOpt(fd, abi.SOL_SOCKET, abi.SO_LINGER, []byte{1, 0, 0, 0, 7, 0, 0, 0})
			s.GetOpt(fd, abi.SOL_SOCKET, abi.SO_LINGER, 8)
			s.GetOpt(fd, abi.SOL_SOCKET, abi.SO_LINGER, 6)
			s.GetOpt(fd, abi.SOL_SOCKET, abi.SO_PEERGROUPS, 400)
			s.GetOpt(fd, abi.SOL_SOCKET, abi.SO_PEERNAME, 2)
			s.GetOpt(fd, abi.SOL_SOCKET, abi.SO_PEERSEC, 20)
			s.GetOpt(fd, abi.SOL_SOCKET, abi.SO_BINDTODEVICE, 20)
			s.SetOpt(fd, abi.SOL_SOCKET, abi.SO_BINDTODEVICE, []byte("nosuch\x00"))
			s.SetInt(fd, abi.IPPROTO_TCP, abi.TCP_NODELAY, 1)
			s.GetOpt(fd, abi.IPPROTO_TCP, abi.TCP_NODELAY, 4)
			s.GetOpt(fd, abi.SOL_SOCKET, abi.SO_PEEK_OFF, 4)
		}
		s.SetInt(b, abi.SOL_SOCKET, abi.SO_PEEK_OFF, -5)
		s.SetInt(b, abi.SOL_SOCKET, abi.SO_PEEK_OFF, 1)
		s.Send(a, "abcdef", 0)
		s.Recv(b, 2, abi.MSG_PEEK)
		s.Recv(b, 2, abi.MSG_PEEK)
		s.Recv(b, 2, 0)
		s.Recv(b, 2, abi.MSG_PEEK)
		s.GetOpt(b, abi.SOL_SOCKET, abi.SO_PEEK_OFF, 4)
		s.Recv(b, 2, abi.MSG_PEEK|dontwait)
		s.Recv(b, 9, 0)
	})
}

func TestBlocking(t *testing.T) {
	compare(t, func(s *session) {
		a, b := s.Pair(1, stream, 0)
		wait := s.Go(func(x sockettest.Calls) {
			x.Pause()
			x.Send(a, []byte("late"), 0, nil, nil, nil)
			x.Pause()
			x.Send(a, []byte("later"), 0, nil, nil, nil)
		})
		s.Recv(b, 10, 0)
		s.Recv(b, 5, abi.MSG_WAITALL)
		wait()
		wait = s.Go(func(x sockettest.Calls) { x.Pause(); x.Close(a) })
		s.Recv(b, 10, 0)
		wait()
		a, b = s.Pair(1, stream, 0)
		wait = s.Go(func(x sockettest.Calls) {
			x.Pause()
			for left := 1 << 20; left > 0; {
				r, e := x.Recv(b, 1<<16, 0, 0)
				if e != 0 || r.N == 0 {
					return
				}
				left -= r.N
			}
		})
		s.Send(a, strings.Repeat("0123456789abcdef", 1<<16), 0)
		wait()
		tv := abi.Timeval{Usec: 20000}
		s.SetOpt(b, abi.SOL_SOCKET, abi.SO_RCVTIMEO, abi.Bytes(&tv))
		s.Recv(b, 1, 0)
		s.SetOpt(a, abi.SOL_SOCKET, abi.SO_SNDTIMEO, abi.Bytes(&tv))
		s.Quietly(func() { s.Send(a, strings.Repeat("x", 1<<20), 0) })
		s.Poll(a)
		s.Send(a, "x", 0)
		s.Send(a, "x", dontwait)

		l := s.Socket(1, stream, 0)
		at := sockettest.Un("\x00goum-test-blocking")
		s.Bind(l, at)
		s.Listen(l, 0)
		c, d := s.Socket(1, stream, 0), s.Socket(1, stream, 0)
		wait = s.Go(func(x sockettest.Calls) { x.Pause(); x.Connect(c, at); x.Connect(d, at) })
		s.Accept(l, 0)
		s.Accept(l, 0)
		wait()
		s.Name(d, true)
		e, f := s.Socket(1, stream, 0), s.Socket(1, stream, 0)
		s.Connect(e, at)
		s.SetOpt(f, abi.SOL_SOCKET, abi.SO_SNDTIMEO, abi.Bytes(&tv))
		s.Connect(f, at)
		wait = s.Go(func(x sockettest.Calls) { x.Pause(); x.Close(l) })
		s.SetOpt(f, abi.SOL_SOCKET, abi.SO_SNDTIMEO, make([]byte, 16))
		s.Connect(f, at)
		wait()
		s.Recv(e, 1, 0)
	})
}
