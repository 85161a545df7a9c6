// Package sockettest runs one script of socket calls twice, on the host's Linux and on goum's sockets without a guest, and compares what
// each call answered. It is used by the tests of the address families only.
//
// A script is a function that makes calls on a Session. Descriptors are small numbers of the Session's own, so that both logs agree.
package sockettest

import (
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"goum/arch/abi"
)

// Received is what a receiving call gave.
type Received struct {
	N       int
	Data    []byte
	Addr    []byte
	Control []byte
	Files   []int // descriptors that came, as numbers of the Session
	Flags   int
}

// Calls is what a side can do. Errors are errnos; descriptors are the Session's.
type Calls interface {
	Socket(family, typ, proto int) (int, abi.Errno)
	Pair(family, typ, proto int) (int, int, abi.Errno)
	Bind(fd int, addr []byte) abi.Errno
	Connect(fd int, addr []byte) abi.Errno
	Listen(fd, backlog int) abi.Errno
	Accept(fd int, flags int) (int, []byte, abi.Errno)
	Send(fd int, data []byte, flags int, addr []byte, control []byte, files []int) (int, abi.Errno)
	Recv(fd, n, flags, room int) (Received, abi.Errno)
	Shutdown(fd, how int) abi.Errno
	SetOpt(fd, level, name int, val []byte) abi.Errno
	GetOpt(fd, level, name, room int) ([]byte, abi.Errno)
	Name(fd int, peer bool) ([]byte, abi.Errno)
	Poll(fd int) uint32
	NonBlock(fd int, on bool)
	Close(fd int)
	Pid() int32
	Unlink(path string)
	// Go runs f at the same time, with the same descriptors; wait awaits it.
	Go(f func(x Calls)) (wait func())
	// Pause gives others time to come to a wait.
	Pause()
	Ioctl(fd int, cmd uint32, arg []byte) abi.Errno
}

// Session is one side of a comparison.
type Session struct {
	Calls
	T       testing.TB
	Host    bool
	lines   []string
	quiet   int
	replace []string
}

// Log adds a line to what is compared.
func (s *Session) Log(format string, args ...any) {
	if s.quiet > 0 {
		return
	}
	line := fmt.Sprintf(format, args...)
	for i := 0; i < len(s.replace); i += 2 {
		line = strings.ReplaceAll(line, s.replace[i], s.replace[i+1])
	}
	s.lines = append(s.lines, line)
	if testing.Verbose() {
		s.T.Logf("host %v: %s", s.Host, line)
	}
}

// Alias has what is different on the two sides (a port) shown as name.
func (s *Session) Alias(value, name string) { s.replace = append(s.replace, value, name) }

func name(e abi.Errno) string {
	if e == 0 {
		return "ok"
	}
	return e.Name()
}

// Socket and the others are the calls, logged.
func (s *Session) Socket(family, typ, proto int) int {
	fd, e := s.Calls.Socket(family, typ, proto)
	s.Log("socket %d %#x %d: %s", family, typ, proto, name(e))
	return fd
}

// Pair is socketpair(2).
func (s *Session) Pair(family, typ, proto int) (int, int) {
	a, b, e := s.Calls.Pair(family, typ, proto)
	s.Log("socketpair %d %#x %d: %s", family, typ, proto, name(e))
	return a, b
}

// Bind is bind(2).
func (s *Session) Bind(fd int, addr []byte) abi.Errno {
	e := s.Calls.Bind(fd, addr)
	s.Log("bind %d %q: %s", fd, addr, name(e))
	return e
}

// Connect is connect(2).
func (s *Session) Connect(fd int, addr []byte) abi.Errno {
	e := s.Calls.Connect(fd, addr)
	s.Log("connect %d %q: %s", fd, addr, name(e))
	return e
}

// Listen is listen(2).
func (s *Session) Listen(fd, backlog int) abi.Errno {
	e := s.Calls.Listen(fd, backlog)
	s.Log("listen %d %d: %s", fd, backlog, name(e))
	return e
}

// Accept is accept4(2).
func (s *Session) Accept(fd, flags int) int {
	n, addr, e := s.Calls.Accept(fd, flags)
	s.Log("accept %d: %q %s", fd, addr, name(e))
	return n
}

// Send is send(2).
func (s *Session) Send(fd int, data string, flags int) int { return s.SendTo(fd, data, flags, nil) }

// SendTo is sendto(2).
func (s *Session) SendTo(fd int, data string, flags int, addr []byte) int {
	n, e := s.Calls.Send(fd, []byte(data), flags, addr, nil, nil)
	s.Log("send %d %.20q(%d) %#x to %q: %d %s", fd, data, len(data), flags, addr, n, name(e))
	return n
}

// SendMsg is sendmsg(2) with ancillary data, and descriptors if there are some.
func (s *Session) SendMsg(fd int, data string, flags int, control []byte, files ...int) int {
	n, e := s.Calls.Send(fd, []byte(data), flags, nil, control, files)
	s.Log("sendmsg %d %q %#x control %d files %v: %d %s", fd, data, flags, len(control), files, n, name(e))
	return n
}

// Recv is recvmsg(2) with room for n bytes and none for ancillary data.
func (s *Session) Recv(fd, n, flags int) Received { return s.RecvMsg(fd, n, flags, 0) }

// RecvMsg is recvmsg(2).
func (s *Session) RecvMsg(fd, n, flags, room int) Received {
	r, e := s.Calls.Recv(fd, n, flags, room)
	s.Log("recv %d %d %#x room %d: %d %.40q from %q control %s files %d flags %#x %s", fd, n, flags, room, r.N, r.Data, r.Addr, s.shown(r.Control),
		len(r.Files), r.Flags, name(e))
	return r
}

func (s *Session) shown(b []byte) string {
	var out []string
	for len(b) >= 16 {
		n := int(binary.LittleEndian.Uint64(b))
		if n < 16 || n > len(b) {
			break
		}
		level, typ, data := binary.LittleEndian.Uint32(b[8:]), binary.LittleEndian.Uint32(b[12:]), b[16:n]
		switch {
		case level == abi.SOL_SOCKET && typ == abi.SCM_CREDENTIALS && len(data) == 12:
			who := "other"
			if pid := int32(binary.LittleEndian.Uint32(data)); pid == s.Pid() {
				who = "self"
			} else if pid == 0 {
				who = "none"
			}
			out = append(out, fmt.Sprintf("cred %s %d %d", who, binary.LittleEndian.Uint32(data[4:]), binary.LittleEndian.Uint32(data[8:])))
		case level == abi.SOL_SOCKET && typ == abi.SCM_RIGHTS:
			out = append(out, fmt.Sprintf("rights %d", len(data)/4))
		default:
			out = append(out, fmt.Sprintf("%d/%d %x", level, typ, data))
		}
		b = b[min(abi.CmsgAlign(n), len(b)):]
	}
	return fmt.Sprint(out)
}

// Shutdown is shutdown(2).
func (s *Session) Shutdown(fd, how int) {
	s.Log("shutdown %d %d: %s", fd, how, name(s.Calls.Shutdown(fd, how)))
}

// SetOpt is setsockopt(2).
func (s *Session) SetOpt(fd, level, opt int, val []byte) {
	s.Log("setsockopt %d %d %d %x: %s", fd, level, opt, val, name(s.Calls.SetOpt(fd, level, opt, val)))
}

// SetInt is SetOpt of an int.
func (s *Session) SetInt(fd, level, opt, v int) {
	s.SetOpt(fd, level, opt, binary.LittleEndian.AppendUint32(nil, uint32(v)))
}

// GetOpt is getsockopt(2).
func (s *Session) GetOpt(fd, level, opt, room int) []byte {
	v, e := s.Calls.GetOpt(fd, level, opt, room)
	s.Log("getsockopt %d %d %d %d: %x %s", fd, level, opt, room, v, name(e))
	return v
}

// Name is getsockname(2) and getpeername(2).
func (s *Session) Name(fd int, peer bool) []byte {
	a, e := s.Calls.Name(fd, peer)
	s.Log("name %d %v: %q %s", fd, peer, a, name(e))
	return a
}

// Poll is what poll(2) says of all events, without waiting.
func (s *Session) Poll(fd int) uint32 {
	m := s.Calls.Poll(fd)
	s.Log("poll %d: %#x", fd, m)
	return m
}

// Close is close(2).
func (s *Session) Close(fd int) {
	s.Calls.Close(fd)
	s.Log("close %d", fd)
}

// Ioctl is ioctl(2) with a buffer.
func (s *Session) Ioctl(fd int, cmd uint32, arg []byte) abi.Errno {
	e := s.Calls.Ioctl(fd, cmd, arg)
	s.Log("ioctl %d %#x: %x %s", fd, cmd, arg, name(e))
	return e
}

// Quietly runs f without logging.
func (s *Session) Quietly(f func()) {
	s.quiet++
	defer func() { s.quiet-- }()
	f()
}

// Cred is SCM_CREDENTIALS.
func (s *Session) Cred(pid int32, uid, gid uint32) []byte {
	u := abi.Ucred{PID: pid, UID: uid, GID: gid}
	return Cmsg(abi.SOL_SOCKET, abi.SCM_CREDENTIALS, abi.Bytes(&u))
}

// Cmsg is one ancillary message.
func Cmsg(level, typ int32, data []byte) []byte {
	h := abi.Cmsghdr{Len: uint64(abi.CmsghdrSize + len(data)), Level: level, Type: typ}
	b := append(append([]byte(nil), abi.Bytes(&h)...), data...)
	for len(b)%8 != 0 {
		b = append(b, 0)
	}
	return b
}

// Un is a struct sockaddr_un of path; an abstract one begins with "\x00".
func Un(path string) []byte { return append([]byte{abi.AF_UNIX, 0}, path...) }

// In is a struct sockaddr_in.
func In(a, b, c, d byte, port int) []byte {
	return []byte{abi.AF_INET, 0, byte(port >> 8), byte(port), a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0}
}

// In6 is a struct sockaddr_in6 of an address whose last byte is last, all others 0.
func In6(last byte, port int) []byte {
	b := make([]byte, 28)
	b[0], b[2], b[3], b[23] = abi.AF_INET6, byte(port>>8), byte(port), last
	return b
}

// Compare runs script on both sides. newNet: the host's side gets a network namespace of its own, in which lo is down.
func Compare(t *testing.T, m *Machine, newNet bool, script func(s *Session)) {
	t.Helper()
	host := onHost(t, newNet, script)
	ours := &Session{T: t}
	m.Run(func(v *Virtual) {
		ours.Calls = v
		script(ours)
	})
	for i := range max(len(host.lines), len(ours.lines)) {
		h, o := "(nothing)", "(nothing)"
		if i < len(host.lines) {
			h = host.lines[i]
		}
		if i < len(ours.lines) {
			o = ours.lines[i]
		}
		if h != o {
			t.Errorf("line %d:\n  Linux: %s\n  goum:  %s", i, h, o)
		}
	}
}
