package sys

import (
	"encoding/binary"
	"fmt"
	"os"
	"runtime"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"goum/arch/abi"
	"goum/kernel/net/inet"
	"goum/kernel/net/netlink"
	"goum/kernel/net/socket"
	unixsock "goum/kernel/net/unix"
)

// caller makes system calls: a guest through the table, or the host.
type caller interface {
	call(nr uint64, a ...uint64) (uint64, abi.Errno)
	put(b []byte) uint64
	bytes(at uint64, n int) []byte
	pid() uint64
}

func (g *guest) pid() uint64 { return uint64(g.PID()) }

// hostCaller is the host's Linux, with memory of its own.
type hostCaller struct {
	mem  []byte
	used int
}

func (h *hostCaller) call(nr uint64, a ...uint64) (uint64, abi.Errno) {
	var x [6]uintptr
	for i, v := range a {
		x[i] = uintptr(v)
	}
	r, _, e := unix.Syscall6(uintptr(nr), x[0], x[1], x[2], x[3], x[4], x[5])
	return uint64(r), abi.Errno(e)
}

func (h *hostCaller) put(b []byte) uint64 {
	at := h.used
	copy(h.mem[at:], b)
	h.used += (len(b) + 63) &^ 63
	return uint64(uintptr(unsafe.Pointer(&h.mem[at])))
}

func (h *hostCaller) bytes(at uint64, n int) []byte {
	off := at - uint64(uintptr(unsafe.Pointer(&h.mem[0])))
	return append([]byte(nil), h.mem[off:off+uint64(n)]...)
}

func (h *hostCaller) pid() uint64 { return uint64(os.Getpid()) }

// script is a caller with a log of what the calls answered.
type script struct {
	caller
	log []string
}

func (s *script) do(what string, nr uint64, a ...uint64) uint64 {
	n, e := s.call(nr, a...)
	if e != 0 {
		n = ^uint64(0)
	}
	s.log = append(s.log, fmt.Sprintf("%s: %d %s", what, int64(n), e.Name()))
	return n
}

// flags shows an open file's, but for O_LARGEFILE.
func (s *script) flags(fd uint64) {
	n, e := s.call(abi.SYS_FCNTL, fd, abi.F_GETFL)
	s.log = append(s.log, fmt.Sprintf("flags: %#x %s", n&^0x8000, e.Name()))
}

// fd is do for calls that make a descriptor.
func (s *script) fd(what string, nr uint64, a ...uint64) uint64 {
	n, e := s.call(nr, a...)
	s.log = append(s.log, fmt.Sprintf("%s: %s", what, e.Name()))
	if e != 0 {
		return ^uint64(0)
	}
	return n
}

func (s *script) show(what string, at uint64, n int) {
	s.log = append(s.log, fmt.Sprintf("  %s %x", what, s.bytes(at, n)))
}

func put[T any](s *script, v T) uint64 { return s.put(abi.Bytes(&v)) }

func (s *script) u32(v uint32) uint64 { return s.put(binary.LittleEndian.AppendUint32(nil, v)) }

func (s *script) pair(typ uint64) (a, b uint64) {
	at := s.put(make([]byte, 8))
	s.do("socketpair", abi.SYS_SOCKETPAIR, abi.AF_UNIX, typ, 0, at)
	v := s.bytes(at, 8)
	return uint64(binary.LittleEndian.Uint32(v)), uint64(binary.LittleEndian.Uint32(v[4:]))
}

// msg is a struct msghdr over one range.
func (s *script) msg(name uint64, namelen int32, buf uint64, n int, control uint64, room int) uint64 {
	v := s.put(abi.Bytes(&abi.Iovec{Base: buf, Len: uint64(n)}))
	return put(s, abi.Msghdr{Name: name, Namelen: namelen, Iov: v, Iovlen: 1, Control: control, Controllen: uint64(room)})
}

func netScript(s *script) {
	const nowhere = uint64(8)
	minus := ^uint64(0)
	file := s.fd("open", abi.SYS_OPEN, s.put([]byte("/proc/self/stat\x00")), 0, 0)
	for _, nr := range []uint64{abi.SYS_BIND, abi.SYS_CONNECT, abi.SYS_LISTEN, abi.SYS_ACCEPT, abi.SYS_GETSOCKNAME, abi.SYS_GETPEERNAME, abi.SYS_SHUTDOWN, abi.SYS_SENDMSG,
		abi.SYS_RECVMSG, abi.SYS_SENDTO, abi.SYS_RECVFROM, abi.SYS_SETSOCKOPT, abi.SYS_GETSOCKOPT, abi.SYS_SENDMMSG, abi.SYS_RECVMMSG} {
		s.do(fmt.Sprint("a file: ", nr), nr, file, nowhere, 0, 0, 0, 0)
		s.do(fmt.Sprint("nothing: ", nr), nr, minus, nowhere, 0, 0, 0, 0)
	}
	s.do("accept4 flags come first", abi.SYS_ACCEPT4, minus, 0, 0, 1)
	s.do("no such flag", abi.SYS_SOCKET, abi.AF_UNIX, 1|0x100, 0)
	s.do("no such family", abi.SYS_SOCKET, 45, 1, 0)
	s.do("pair to nowhere", abi.SYS_SOCKETPAIR, abi.AF_UNIX, 1, 0, nowhere)
	s.do("pair to nowhere of no family", abi.SYS_SOCKETPAIR, 45, 1, 0, nowhere)
	s.do("inet pair", abi.SYS_SOCKETPAIR, abi.AF_INET, 1, 0, s.put(make([]byte, 8)))

	un := s.fd("socket", abi.SYS_SOCKET, abi.AF_UNIX, 1, 0)
	addr := s.put([]byte("\x01\x00\x00goum-sys-test"))
	s.do("bind, negative length", abi.SYS_BIND, un, addr, minus)
	s.do("bind, long", abi.SYS_BIND, un, addr, 129)
	s.do("bind, nowhere", abi.SYS_BIND, un, nowhere, 10)
	s.do("bind", abi.SYS_BIND, un, addr, 16)
	s.do("listen", abi.SYS_LISTEN, un, minus)
	room := s.put(make([]byte, 128))
	ln := s.u32(128)
	s.do("getsockname", abi.SYS_GETSOCKNAME, un, room, ln)
	s.show("address", room, 20)
	s.show("length", ln, 4)
	ln = s.u32(5)
	s.do("getsockname, cut", abi.SYS_GETSOCKNAME, un, room, ln)
	s.show("length", ln, 4)
	s.do("getsockname, negative", abi.SYS_GETSOCKNAME, un, room, s.u32(^uint32(0)))
	s.do("getsockname, no length", abi.SYS_GETSOCKNAME, un, room, nowhere)
	s.do("getsockname, nowhere", abi.SYS_GETSOCKNAME, un, nowhere, s.u32(20))
	c := s.fd("socket", abi.SYS_SOCKET, abi.AF_UNIX, 1|abi.SOCK_NONBLOCK, 0)
	s.do("connect", abi.SYS_CONNECT, c, addr, 16)
	s.do("accept to nowhere", abi.SYS_ACCEPT, un, nowhere, s.u32(20))
	s.do("reset by that", abi.SYS_RECVFROM, c, room, 10, 0, 0, 0)
	s.flags(c)
	d := s.fd("socket", abi.SYS_SOCKET, abi.AF_UNIX, 1, 0)
	s.do("connect", abi.SYS_CONNECT, d, addr, 16)
	ln = s.u32(128)
	n := s.fd("accept", abi.SYS_ACCEPT4, un, room, ln, abi.SOCK_CLOEXEC|abi.SOCK_NONBLOCK)
	s.show("length", ln, 4)
	s.do("cloexec", abi.SYS_FCNTL, n, abi.F_GETFD)
	s.flags(n)
	s.do("would block", abi.SYS_READ, n, room, 1)
	s.do("write", abi.SYS_WRITE, d, addr, 5)
	s.do("fionread", abi.SYS_IOCTL, n, abi.SIOCINQ, room)
	s.show("bytes", room, 4)
	s.do("fionread, nowhere", abi.SYS_IOCTL, n, abi.SIOCINQ, nowhere)
	s.do("no such ioctl", abi.SYS_IOCTL, n, 0x8955, room)
	s.do("a terminal's", abi.SYS_IOCTL, n, abi.TCGETS, room)
	s.do("read nothing", abi.SYS_READ, n, room, 0)
	s.do("read to nowhere", abi.SYS_READ, n, nowhere, 3)
	s.do("read", abi.SYS_READ, n, room, 10)
	s.do("seek", abi.SYS_LSEEK, n, 0, 0)
	s.do("pread", abi.SYS_PREAD64, n, room, 1, 0)
	s.do("send from nowhere", abi.SYS_SENDTO, d, nowhere, 3, 0, 0, 0)
	s.do("send outside", abi.SYS_SENDTO, d, 1<<62, 3, 0, 0, 0)
	s.do("send outside, no descriptor", abi.SYS_SENDTO, minus, 1<<62, 3, 0, 0, 0)
	s.do("sendto, address nowhere", abi.SYS_SENDTO, d, addr, 3, 0, nowhere, 10)
	s.do("sendto, negative address", abi.SYS_SENDTO, d, addr, 3, 0, addr, minus)
	s.do("shutdown", abi.SYS_SHUTDOWN, d, 7)
	s.do("truncate", abi.SYS_FTRUNCATE, d, 0)
	s.do("sync", abi.SYS_FSYNC, d)

	// Messages.
	a, b := s.pair(abi.SOCK_DGRAM)
	buf := s.put([]byte("hello"))
	s.do("sendmsg, no header", abi.SYS_SENDMSG, a, nowhere, 0)
	s.do("sendmsg, compat", abi.SYS_SENDMSG, a, nowhere, abi.MSG_CMSG_COMPAT)
	s.do("sendmsg", abi.SYS_SENDMSG, a, s.msg(0, 77, buf, 5, 0, 0), 0)
	s.do("sendmsg, negative name", abi.SYS_SENDMSG, a, s.msg(addr, -1, buf, 5, 0, 0), 0)
	s.do("sendmsg, name nowhere", abi.SYS_SENDMSG, a, s.msg(nowhere, 5, buf, 5, 0, 0), 0)
	s.do("sendmsg, control nowhere", abi.SYS_SENDMSG, a, s.msg(0, 0, buf, 5, nowhere, 20), 0)
	s.do("sendmsg, much control", abi.SYS_SENDMSG, a, s.msg(0, 0, buf, 5, buf, 1<<20), 0)
	s.do("sendmsg, more control", abi.SYS_SENDMSG, a, s.msg(0, 0, buf, 5, buf, 1<<40), 0)
	s.do("sendmsg, short control", abi.SYS_SENDMSG, a, s.msg(0, 0, buf, 5, buf, 5), 0)
	many := s.msg(0, 0, buf, 5, 0, 0)
	h := abi.Msghdr{Iov: buf, Iovlen: 1025}
	s.do("sendmsg, many ranges", abi.SYS_SENDMSG, a, put(s, h), 0)
	h = abi.Msghdr{Iov: nowhere, Iovlen: 1}
	s.do("sendmsg, ranges nowhere", abi.SYS_SENDMSG, a, put(s, h), 0)
	h = abi.Msghdr{Iov: put(s, abi.Iovec{Base: buf, Len: 1 << 63}), Iovlen: 1}
	s.do("sendmsg, negative range", abi.SYS_SENDMSG, a, put(s, h), 0)
	s.do("sendmsg, data nowhere", abi.SYS_SENDMSG, a, s.msg(0, 0, nowhere, 5, 0, 0), 0)
	_ = many
	in := s.put(make([]byte, 64))
	m := s.msg(room, 128, in, 64, 0, 0)
	s.do("recvmsg", abi.SYS_RECVMSG, b, m, 0)
	s.show("data", in, 5)
	s.show("namelen", m+abi.MsghdrNamelenAt, 4)
	s.show("control and flags", m+abi.MsghdrControllenAt, 12)
	m = s.msg(0, 0, in, 3, 0, 0)
	s.do("recvmsg, cut", abi.SYS_RECVMSG, b, m, abi.MSG_DONTWAIT)
	s.show("flags", m+abi.MsghdrFlagsAt, 4)
	s.do("recvmsg, empty", abi.SYS_RECVMSG, b, m, abi.MSG_DONTWAIT)
	s.do("recvfrom, negative room", abi.SYS_RECVFROM, b, in, 5, abi.MSG_DONTWAIT, room, s.u32(^uint32(0)))
	s.do("send", abi.SYS_SENDTO, a, buf, 5, 0, 0, 0)
	s.do("recvfrom, negative room", abi.SYS_RECVFROM, b, in, 5, abi.MSG_DONTWAIT, room, s.u32(^uint32(0)))

	// Descriptors.
	for _, cloexec := range []uint64{0, abi.MSG_CMSG_CLOEXEC} {
		ctl := make([]byte, 24)
		binary.LittleEndian.PutUint64(ctl, 24)
		binary.LittleEndian.PutUint32(ctl[8:], abi.SOL_SOCKET)
		binary.LittleEndian.PutUint32(ctl[12:], abi.SCM_RIGHTS)
		binary.LittleEndian.PutUint32(ctl[16:], uint32(a))
		binary.LittleEndian.PutUint32(ctl[20:], uint32(b))
		s.do("send descriptors", abi.SYS_SENDMSG, a, s.msg(0, 0, buf, 5, s.put(ctl), 24), 0)
		got := s.put(make([]byte, 64))
		m = s.msg(0, 0, in, 64, got, 64)
		s.do("receive them", abi.SYS_RECVMSG, b, m, cloexec)
		s.show("control", got, 16)
		s.show("control and flags", m+abi.MsghdrControllenAt, 12)
		v := s.bytes(got+16, 8)
		x, y := uint64(binary.LittleEndian.Uint32(v)), uint64(binary.LittleEndian.Uint32(v[4:]))
		s.do("use them", abi.SYS_WRITE, x, buf, 4)
		s.do("use them", abi.SYS_READ, y, in, 10)
		s.do("cloexec", abi.SYS_FCNTL, x, abi.F_GETFD)
		s.do("close", abi.SYS_CLOSE, x)
		s.do("close", abi.SYS_CLOSE, y)
		s.do("send descriptors", abi.SYS_SENDMSG, a, s.msg(0, 0, buf, 5, s.put(ctl), 24), 0)
		m = s.msg(0, 0, in, 64, nowhere, 64)
		s.do("receive them nowhere", abi.SYS_RECVMSG, b, m, 0)
		s.show("control and flags", m+abi.MsghdrControllenAt, 12)
		s.do("send descriptors", abi.SYS_SENDMSG, a, s.msg(0, 0, buf, 5, s.put(ctl), 24), 0)
		s.do("read them away", abi.SYS_READ, b, in, 64)
	}

	// Many messages.
	two := abi.SliceBytes([]abi.Mmsghdr{
		{Hdr: abi.Msghdr{Iov: put(s, abi.Iovec{Base: buf, Len: 2}), Iovlen: 1}}, {Hdr: abi.Msghdr{Iov: put(s, abi.Iovec{Base: buf, Len: 3}), Iovlen: 1}}})
	mm := s.put(append([]byte(nil), two...))
	s.do("sendmmsg", abi.SYS_SENDMMSG, a, mm, 2, 0)
	s.show("first", mm+abi.MmsghdrLenAt, 4)
	s.show("second", mm+64+abi.MmsghdrLenAt, 4)
	s.do("sendmmsg of none", abi.SYS_SENDMMSG, a, nowhere, 0, 0)
	s.do("sendmmsg from nowhere", abi.SYS_SENDMMSG, a, nowhere, 1, 0)
	s.do("recvmmsg, bad time", abi.SYS_RECVMMSG, b, mm, 2, 0, put(s, abi.Timespec{Nsec: -1}))
	s.do("recvmmsg, time nowhere", abi.SYS_RECVMMSG, b, mm, 2, 0, nowhere)
	in2 := s.put(make([]byte, 64))
	three := make([]abi.Mmsghdr, 3)
	for i := range three {
		three[i].Hdr = abi.Msghdr{Iov: put(s, abi.Iovec{Base: in2 + uint64(16*i), Len: 16}), Iovlen: 1}
	}
	mm = s.put(append([]byte(nil), abi.SliceBytes(three)...))
	s.do("recvmmsg", abi.SYS_RECVMMSG, b, mm, 3, abi.MSG_WAITFORONE, 0)
	s.show("data", in2, 32)
	s.do("recvmmsg of nothing", abi.SYS_RECVMMSG, b, mm, 3, abi.MSG_DONTWAIT, 0)

	// Options.
	one := s.u32(1)
	s.do("setsockopt, negative", abi.SYS_SETSOCKOPT, a, abi.SOL_SOCKET, abi.SO_PASSCRED, one, minus)
	s.do("setsockopt, short", abi.SYS_SETSOCKOPT, a, abi.SOL_SOCKET, abi.SO_PASSCRED, one, 3)
	s.do("setsockopt, nowhere", abi.SYS_SETSOCKOPT, a, abi.SOL_SOCKET, abi.SO_PASSCRED, nowhere, 4)
	s.do("setsockopt", abi.SYS_SETSOCKOPT, a, abi.SOL_SOCKET, abi.SO_PASSCRED, one, 400)
	ln = s.u32(100)
	s.do("getsockopt", abi.SYS_GETSOCKOPT, a, abi.SOL_SOCKET, abi.SO_PASSCRED, room, ln)
	s.show("length", ln, 4)
	s.do("getsockopt, negative", abi.SYS_GETSOCKOPT, a, abi.SOL_SOCKET, abi.SO_PASSCRED, room, s.u32(1<<31))
	s.do("getsockopt, no length", abi.SYS_GETSOCKOPT, a, abi.SOL_SOCKET, abi.SO_PASSCRED, room, nowhere)
	s.do("getsockopt, nowhere", abi.SYS_GETSOCKOPT, a, abi.SOL_SOCKET, abi.SO_PASSCRED, nowhere, s.u32(4))
	s.do("getsockopt, no room", abi.SYS_GETSOCKOPT, a, abi.SOL_SOCKET, abi.SO_PASSCRED, nowhere, s.u32(0))

	// Devices.
	udp := s.fd("socket", abi.SYS_SOCKET, abi.AF_INET, abi.SOCK_DGRAM, 0)
	lo := func(data ...byte) uint64 {
		var r abi.Ifreq
		copy(r.Name[:], "lo")
		copy(r.Data[:], data)
		return put(s, r)
	}
	for _, fd := range []uint64{udp, un} {
		for _, cmd := range []uint64{abi.SIOCGIFFLAGS, abi.SIOCGIFADDR, abi.SIOCGIFNETMASK, abi.SIOCGIFMTU, abi.SIOCGIFHWADDR, abi.SIOCGIFINDEX, abi.SIOCGIFMETRIC,
			abi.SIOCGIFTXQLEN, abi.SIOCGIFMAP, abi.SIOCGIFNAME, 0x89aa} {
			r := lo(1)
			s.do(fmt.Sprintf("ioctl %#x", cmd), abi.SYS_IOCTL, fd, cmd, r)
			s.show("lo", r, 40)
			s.do("of nothing", abi.SYS_IOCTL, fd, cmd, s.put(make([]byte, 40)))
			s.do("nowhere", abi.SYS_IOCTL, fd, cmd, nowhere)
		}
		ifc := put(s, abi.Ifconf{Len: 400, Buf: room})
		s.do("conf", abi.SYS_IOCTL, fd, abi.SIOCGIFCONF, ifc)
		s.show("length", ifc, 4)
		s.do("up", abi.SYS_IOCTL, fd, abi.SIOCSIFFLAGS, lo(abi.IFF_UP))
	}
	ifc := put(s, abi.Ifconf{})
	s.do("conf, size", abi.SYS_IOCTL, udp, abi.SIOCGIFCONF, ifc)
	s.show("length", ifc, 4)
	s.do("set address", abi.SYS_IOCTL, udp, abi.SIOCSIFADDR, lo(2, 0, 0, 0, 10, 1, 2, 3))
	r := lo()
	s.do("address", abi.SYS_IOCTL, udp, abi.SIOCGIFADDR, r)
	s.show("lo", r, 40)
	s.do("set mask", abi.SYS_IOCTL, udp, abi.SIOCSIFNETMASK, lo(2, 0, 0, 0, 255, 255, 0, 0))
	r = lo()
	s.do("mask", abi.SYS_IOCTL, udp, abi.SIOCGIFNETMASK, r)
	s.show("lo", r, 24)
	s.do("bad mask", abi.SYS_IOCTL, udp, abi.SIOCSIFNETMASK, lo(2, 0, 0, 0, 255, 0, 255, 0))
	s.do("set mtu", abi.SYS_IOCTL, udp, abi.SIOCSIFMTU, lo(0, 16))
}

// TestNetAsOnHost makes the same calls on sockets in a fresh network namespace of the host and through the table.
func TestNetAsOnHost(t *testing.T) {
	host := &script{caller: &hostCaller{}}
	skip := make(chan string, 1)
	go func() {
		defer close(skip)
		runtime.LockOSThread() // never unlocked: the thread ends with its namespace
		if err := unix.Unshare(unix.CLONE_NEWNET | unix.CLONE_FILES); err != nil {
			skip <- "no network namespace: " + err.Error()
			return
		}
		mem, err := unix.Mmap(-1, 0, 1<<20, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
		if err != nil {
			skip <- err.Error()
			return
		}
		host.caller.(*hostCaller).mem = mem
		netScript(host)
	}()
	if msg := <-skip; msg != "" {
		t.Skip(msg)
	}
	r := newRig(t)
	n := socket.New(r.clk)
	unixsock.Register(n)
	netlink.Register(n)
	f := inet.Register(n)
	machineOf(r.sys).Net = n
	ours := &script{}
	r.run(func(g *guest) {
		g.must(abi.SYS_MOUNT, g.str("proc"), g.str("/proc"), g.str("proc"), 0, 0)
		ours.caller = g
		netScript(ours)
	})
	f.Close()
	if k := n.Sockets(); k != 0 {
		t.Errorf("%d sockets are left", k)
	}
	for i := range max(len(host.log), len(ours.log)) {
		h, o := "", ""
		if i < len(host.log) {
			h = host.log[i]
		}
		if i < len(ours.log) {
			o = ours.log[i]
		}
		if h != o {
			t.Errorf("line %d:\n  Linux: %s\n  goum:  %s", i, h, o)
		}
	}
}
