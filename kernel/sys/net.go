package sys

import (
	"math"

	"goum/arch/abi"
	"goum/kernel/fs/vfs"
	"goum/kernel/net/socket"
	"goum/kernel/task"
	"goum/sched/clock"
)

// netCalls are the sockets.
var netCalls = Calls{
	abi.SYS_SOCKET:      Def3("socket", sysSocket),
	abi.SYS_CONNECT:     Def3("connect", sysConnect),
	abi.SYS_ACCEPT:      Def3("accept", sysAccept),
	abi.SYS_ACCEPT4:     Def4("accept4", sysAccept4),
	abi.SYS_SENDTO:      Def6("sendto", sysSendto),
	abi.SYS_RECVFROM:    Def6("recvfrom", sysRecvfrom),
	abi.SYS_SENDMSG:     Def3("sendmsg", sysSendmsg),
	abi.SYS_RECVMSG:     Def3("recvmsg", sysRecvmsg),
	abi.SYS_SENDMMSG:    Def4("sendmmsg", sysSendmmsg),
	abi.SYS_RECVMMSG:    Def5("recvmmsg", sysRecvmmsg),
	abi.SYS_SHUTDOWN:    Def2("shutdown", sysShutdown),
	abi.SYS_BIND:        Def3("bind", sysBind),
	abi.SYS_LISTEN:      Def2("listen", sysListen),
	abi.SYS_GETSOCKNAME: Def3("getsockname", sysGetsockname),
	abi.SYS_GETPEERNAME: Def3("getpeername", sysGetpeername),
	abi.SYS_SOCKETPAIR:  Def4("socketpair", sysSocketpair),
	abi.SYS_SETSOCKOPT:  Def5("setsockopt", sysSetsockopt).Partial("no packet filters, time stamps and busy polling: ENOPROTOOPT"),
	abi.SYS_GETSOCKOPT:  Def5("getsockopt", sysGetsockopt).Partial("as setsockopt"),
}

// netOf is the network of t's machine: EAFNOSUPPORT where it has none.
func netOf(t *task.Task) (*socket.Net, abi.Errno) {
	n := machine(t).Net
	if n == nil {
		return nil, abi.EAFNOSUPPORT
	}
	return n, 0
}

// getSocket finds the socket of fd: EBADF, ENOTSOCK. The caller lets the open file go with Unref.
func getSocket(t *task.Task, fd FD) (*vfs.Open, *socket.Socket, abi.Errno) {
	o, e := get(t, fd)
	if e != 0 {
		return nil, nil, e
	}
	s, e := socket.Of(o)
	if e != 0 {
		o.Unref()
		return nil, nil, e
	}
	return o, s, 0
}

func nonblock(o *vfs.Open) bool { return o.Flags()&abi.O_NONBLOCK != 0 }

// msgFlags adds what the open file says to the flags of a call.
func msgFlags(o *vfs.Open, flags uint32) uint32 {
	if nonblock(o) {
		flags |= abi.MSG_DONTWAIT
	}
	return flags
}

// loadAddr is move_addr_to_kernel: EINVAL (the length), EFAULT.
func loadAddr(t *task.Task, addr Addr, n int32, into *socket.Addr) abi.Errno {
	if n < 0 || n > abi.SockaddrMax {
		return abi.EINVAL
	}
	if n == 0 {
		into.Set(nil)
		return 0
	}
	return copyIn(t, uint64(addr), into.Room(int(n)))
}

// storeAddr is move_addr_to_user: the address, cut to the length at lenAt, and the length that it has. EFAULT, EINVAL.
func storeAddr(t *task.Task, a []byte, addr Addr, lenAt uint64) abi.Errno {
	u := t.User()
	room, e := u.Load32(lenAt)
	if e != 0 {
		return e
	}
	n := min(int32(room), int32(len(a)))
	if n < 0 {
		return abi.EINVAL
	}
	if n > 0 {
		if e := copyOut(t, uint64(addr), a[:n]); e != 0 {
			return e
		}
	}
	return u.Store32(lenAt, uint32(len(a)))
}

// sysSocket makes a socket: socket(2).
func sysSocket(t *task.Task, family, typ, protocol Int) (uint64, abi.Errno) {
	base, flags, e := socket.CheckType(int32(typ))
	if e != 0 {
		return 0, e
	}
	n, e := netOf(t)
	if e != 0 {
		return 0, e
	}
	o, e := n.Socket(t.Caller(), int32(family), base, flags, int32(protocol))
	if e != 0 {
		return 0, e
	}
	fd, e := t.FDs().Add(t.Caller(), o, flags&abi.SOCK_CLOEXEC != 0)
	return uint64(fd), e
}

// sysSocketpair makes two that are connected: socketpair(2).
func sysSocketpair(t *task.Task, family, typ, protocol Int, out Out[[2]FD]) (uint64, abi.Errno) {
	base, flags, e := socket.CheckType(int32(typ))
	if e != 0 {
		return 0, e
	}
	fds, e := t.FDs().Reserve(2, flags&abi.SOCK_CLOEXEC != 0)
	if e != 0 {
		return 0, e
	}
	defer fds.Release() // of what was not installed
	nums := fds.Numbers()
	if e := out.Store(t, [2]FD{FD(nums[0]), FD(nums[1])}); e != 0 {
		return 0, e
	}
	n, e := netOf(t)
	if e != 0 {
		return 0, e
	}
	a, b, e := n.Pair(t.Caller(), int32(family), base, flags, int32(protocol))
	if e != 0 {
		return 0, e
	}
	fds.Install(a, b)
	return 0, 0
}

// sysBind gives a socket its address: bind(2).
func sysBind(t *task.Task, fd FD, addr Addr, n Int) (uint64, abi.Errno) {
	o, s, e := getSocket(t, fd)
	if e != 0 {
		return 0, e
	}
	defer o.Unref()
	m := socket.NewMsg()
	defer m.Done()
	if e := loadAddr(t, addr, int32(n), &m.Addr); e != 0 {
		return 0, e
	}
	return 0, s.Ops.Bind(t.Caller(), m.Addr.Bytes())
}

// sysConnect connects a socket: connect(2).
func sysConnect(t *task.Task, fd FD, addr Addr, n Int) (uint64, abi.Errno) {
	o, s, e := getSocket(t, fd)
	if e != 0 {
		return 0, e
	}
	defer o.Unref()
	m := socket.NewMsg()
	defer m.Done()
	if e := loadAddr(t, addr, int32(n), &m.Addr); e != 0 {
		return 0, e
	}
	return 0, s.Ops.Connect(t.Caller(), m.Addr.Bytes(), nonblock(o))
}

// sysListen makes a socket take connections: listen(2).
func sysListen(t *task.Task, fd FD, backlog Int) (uint64, abi.Errno) {
	o, s, e := getSocket(t, fd)
	if e != 0 {
		return 0, e
	}
	defer o.Unref()
	return 0, s.Listen(t.Caller(), int32(backlog))
}

func sysAccept(t *task.Task, fd FD, addr Addr, lenAt InOut[int32]) (uint64, abi.Errno) {
	return sysAccept4(t, fd, addr, lenAt, 0)
}

// sysAccept4 takes a connection: accept4(2).
func sysAccept4(t *task.Task, fd FD, addr Addr, lenAt InOut[int32], flags Uint) (uint64, abi.Errno) {
	o, e := get(t, fd)
	if e != 0 {
		return 0, e
	}
	defer o.Unref()
	if flags&^(abi.SOCK_CLOEXEC|abi.SOCK_NONBLOCK) != 0 {
		return 0, abi.EINVAL
	}
	fds, e := t.FDs().Reserve(1, flags&abi.SOCK_CLOEXEC != 0)
	if e != 0 {
		return 0, e
	}
	defer fds.Release()
	s, e := socket.Of(o)
	if e != 0 {
		return 0, e
	}
	m := socket.NewMsg()
	defer m.Done()
	var peer *socket.Addr
	if addr != 0 {
		peer = &m.Addr
	}
	n, e := s.Accept(t.Caller(), nonblock(o), uint32(flags), peer)
	if e != 0 {
		return 0, e
	}
	if peer != nil {
		if e := storeAddr(t, peer.Bytes(), addr, uint64(lenAt)); e != 0 {
			n.Unref()
			return 0, e
		}
	}
	fd = FD(fds.Numbers()[0])
	fds.Install(n)
	return uint64(fd), 0
}

func sysGetsockname(t *task.Task, fd FD, addr Addr, lenAt InOut[int32]) (uint64, abi.Errno) {
	return nameOf(t, fd, false, addr, uint64(lenAt))
}

func sysGetpeername(t *task.Task, fd FD, addr Addr, lenAt InOut[int32]) (uint64, abi.Errno) {
	return nameOf(t, fd, true, addr, uint64(lenAt))
}

// nameOf is getsockname(2) and getpeername(2).
func nameOf(t *task.Task, fd FD, peer bool, addr Addr, lenAt uint64) (uint64, abi.Errno) {
	o, s, e := getSocket(t, fd)
	if e != 0 {
		return 0, e
	}
	defer o.Unref()
	m := socket.NewMsg()
	defer m.Done()
	if e := s.Ops.Name(t.Caller(), peer, &m.Addr); e != 0 {
		return 0, e
	}
	return 0, storeAddr(t, m.Addr.Bytes(), addr, lenAt)
}

// sent turns the outcome of a send into the call's, and raises SIGPIPE where Linux does: for streams.
func sent(t *task.Task, s *socket.Socket, flags uint32, n int, e abi.Errno) (uint64, abi.Errno) {
	if n > 0 || e == 0 {
		return uint64(n), 0
	}
	if e == abi.EPIPE && flags&abi.MSG_NOSIGNAL == 0 && s.Type == abi.SOCK_STREAM {
		t.Caller().Raise(abi.SIGPIPE)
	}
	return 0, e
}

// sysSendto sends one message: send(2), sendto(2).
func sysSendto(t *task.Task, fd FD, buf InBuf, count Size, flags Hex, addr Addr, addrLen Int) (uint64, abi.Errno) {
	b, e := single(t, uint64(buf), uint64(count))
	if e != 0 {
		return 0, e
	}
	defer b.done()
	o, s, e := getSocket(t, fd)
	if e != 0 {
		return 0, e
	}
	defer o.Unref()
	fl := msgFlags(o, uint32(flags))
	var m *socket.Msg
	if addr != 0 {
		m = socket.NewMsg()
		defer m.Done()
		if e := loadAddr(t, addr, int32(addrLen), &m.Addr); e != 0 {
			return 0, e
		}
	}
	n, e := s.Ops.Send(t.Caller(), &b.buf, fl, m)
	return sent(t, s, fl, n, e)
}

// sysRecvfrom receives one message: recv(2), recvfrom(2).
func sysRecvfrom(t *task.Task, fd FD, buf OutBuf, count Size, flags Hex, addr Addr, lenAt InOut[int32]) (uint64, abi.Errno) {
	b, e := single(t, uint64(buf), uint64(count))
	if e != 0 {
		return 0, e
	}
	defer b.done()
	o, s, e := getSocket(t, fd)
	if e != 0 {
		return 0, e
	}
	defer o.Unref()
	fl := msgFlags(o, uint32(flags))
	if addr == 0 {
		return did(s.Ops.Recv(t.Caller(), &b.buf, fl, nil))
	}
	m := socket.NewMsg()
	defer m.Done()
	m.NoControl = true
	n, e := s.Ops.Recv(t.Caller(), &b.buf, fl, m)
	if e != 0 && n == 0 {
		return 0, e
	}
	if e := storeAddr(t, m.Addr.Bytes(), addr, uint64(lenAt)); e != 0 {
		return 0, e
	}
	return uint64(n), 0
}

// loadMsghdr reads a struct msghdr and its vector, as copy_msghdr_from_user: EFAULT, EINVAL, EMSGSIZE (too many ranges). The length of
// the address is cut to what one can have.
func loadMsghdr(t *task.Task, at uint64, load *socket.Addr) (h abi.Msghdr, b *scratch, e abi.Errno) {
	if h, e = (In[abi.Msghdr](at)).Load(t); e != 0 {
		return h, nil, e
	}
	if h.Name == 0 {
		h.Namelen = 0
	}
	if h.Namelen < 0 {
		return h, nil, abi.EINVAL
	}
	h.Namelen = min(h.Namelen, abi.SockaddrMax)
	if load != nil && h.Namelen > 0 {
		if e := loadAddr(t, Addr(h.Name), h.Namelen, load); e != 0 {
			return h, nil, e
		}
	}
	if h.Iovlen > abi.IOV_MAX {
		return h, nil, abi.EMSGSIZE
	}
	b, e = vector(t, h.Iov, h.Iovlen)
	return h, b, e
}

func sysSendmsg(t *task.Task, fd FD, msg Addr, flags Hex) (uint64, abi.Errno) {
	if flags&abi.MSG_CMSG_COMPAT != 0 {
		return 0, abi.EINVAL
	}
	o, s, e := getSocket(t, fd)
	if e != 0 {
		return 0, e
	}
	defer o.Unref()
	n, _, e := sendOne(t, o, s, uint64(msg), uint32(flags))
	return sent(t, s, uint32(flags), n, e)
}

// sendOne is ___sys_sendmsg. left: not all of the message went.
func sendOne(t *task.Task, o *vfs.Open, s *socket.Socket, msg uint64, flags uint32) (n int, left bool, e abi.Errno) {
	m := socket.NewMsg()
	defer m.Done()
	h, b, e := loadMsghdr(t, msg, &m.Addr)
	if e != 0 {
		return 0, false, e
	}
	defer b.done()
	if h.Controllen > socket.MaxControl {
		return 0, false, abi.ENOBUFS
	}
	use := m
	if h.Controllen > 0 {
		if n := int(h.Controllen); cap(m.Control) < n {
			m.Control = make([]byte, n)
		} else {
			m.Control = m.Control[:n]
		}
		if e := copyIn(t, h.Control, m.Control); e != 0 {
			return 0, false, e
		}
		m.FDs = t.FDs()
	} else if h.Namelen == 0 {
		use = nil
	}
	flags |= h.Flags & abi.MSG_EOR
	n, e = s.Ops.Send(t.Caller(), &b.buf, msgFlags(o, flags), use)
	if n > 0 {
		e = 0
	}
	return n, b.buf.Len() > 0, e
}

// sysSendmmsg sends up to n messages: how many went, or the errno of the first. sendmmsg(2).
func sysSendmmsg(t *task.Task, fd FD, msgs Addr, n Uint, flags Hex) (uint64, abi.Errno) {
	if flags&abi.MSG_CMSG_COMPAT != 0 {
		return 0, abi.EINVAL
	}
	o, s, e := getSocket(t, fd)
	if e != 0 {
		return 0, e
	}
	defer o.Unref()
	n = min(n, abi.IOV_MAX)
	done := uint64(0)
	for ; done < uint64(n); done++ {
		at := uint64(msgs) + done*uint64(len(abi.Bytes(new(abi.Mmsghdr))))
		k, left, e2 := sendOne(t, o, s, at, uint32(flags))
		if e = e2; e != 0 {
			break
		}
		if e = t.User().Store32(at+abi.MmsghdrLenAt, uint32(k)); e != 0 {
			break
		}
		if left {
			done++
			break
		}
	}
	if done > 0 {
		return done, 0
	}
	return sent(t, s, uint32(flags), 0, e)
}

func sysRecvmsg(t *task.Task, fd FD, msg Addr, flags Hex) (uint64, abi.Errno) {
	if flags&abi.MSG_CMSG_COMPAT != 0 {
		return 0, abi.EINVAL
	}
	o, s, e := getSocket(t, fd)
	if e != 0 {
		return 0, e
	}
	defer o.Unref()
	n, _, e := recvOne(t, o, s, uint64(msg), uint32(flags))
	return uint64(n), e
}

// recvOne is ___sys_recvmsg; out is what msg_flags got.
func recvOne(t *task.Task, o *vfs.Open, s *socket.Socket, msg uint64, flags uint32) (n int, out uint32, e abi.Errno) {
	h, b, e := loadMsghdr(t, msg, nil)
	if e != 0 {
		return 0, 0, e
	}
	defer b.done()
	m := socket.NewMsg()
	defer m.Done()
	m.NoControl = h.Control == 0
	m.Room = int(min(h.Controllen, socket.MaxControl))
	n, e = s.Ops.Recv(t.Caller(), &b.buf, msgFlags(o, flags), m)
	if e != 0 && n == 0 {
		return 0, 0, e
	}
	used := len(m.Control)
	if used > 0 && copyOut(t, h.Control, m.Control) != 0 {
		used = 0 // as put_cmsg: the message is delivered without
	}
	if len(m.Files) > 0 {
		used += installFiles(t, m, h.Control+uint64(used), m.Room-used, flags&abi.MSG_CMSG_CLOEXEC != 0)
	}
	if h.Name != 0 {
		if e := storeAddr(t, m.Addr.Bytes(), Addr(h.Name), msg+abi.MsghdrNamelenAt); e != 0 {
			return 0, 0, e
		}
	}
	out = m.Flags | flags&abi.MSG_CMSG_CLOEXEC
	u := t.User()
	if e := u.Store32(msg+abi.MsghdrFlagsAt, out); e != 0 {
		return 0, 0, e
	}
	if e := u.Store64(msg+abi.MsghdrControllenAt, uint64(used)); e != 0 {
		return 0, 0, e
	}
	return n, out, 0
}

// installFiles is scm_detach_fds: it gives t descriptors for m's files, tells their numbers at addr, where room bytes are, and answers
// how many bytes it took. What does not fit is let go of, and MSG_CTRUNC set.
func installFiles(t *task.Task, m *socket.Msg, addr uint64, room int, cloexec bool) int {
	most := 0
	if !m.NoControl && room > abi.CmsghdrSize {
		most = (room - abi.CmsghdrSize) / 4
	}
	n := 0
	for n < min(most, len(m.Files)) {
		fds, e := t.FDs().Reserve(1, cloexec)
		if e != 0 {
			break
		}
		if e := t.User().Store32(addr+abi.CmsghdrSize+uint64(4*n), uint32(fds.Numbers()[0])); e != 0 {
			fds.Release()
			break
		}
		m.Files[n].Ref() // one for the descriptor; Done gives back the message's
		fds.Install(m.Files[n])
		fds.Release()
		n++
	}
	if n < len(m.Files) {
		m.Flags |= abi.MSG_CTRUNC
	}
	if n == 0 {
		return 0
	}
	h := abi.Cmsghdr{Len: uint64(abi.CmsghdrSize + 4*n), Level: abi.SOL_SOCKET, Type: abi.SCM_RIGHTS}
	if copyOut(t, addr, abi.Bytes(&h)) != 0 {
		return 0
	}
	return min(abi.CmsgAlign(abi.CmsghdrSize+4*n), room)
}

// sysRecvmmsg receives up to n messages: how many came, or the errno of the first. The time is looked at after each message only, as in
// Linux. recvmmsg(2).
func sysRecvmmsg(t *task.Task, fd FD, msgs Addr, n Uint, flags Hex, timeout InOut[abi.Timespec]) (uint64, abi.Errno) {
	if flags&abi.MSG_CMSG_COMPAT != 0 {
		return 0, abi.EINVAL
	}
	end := clock.Never
	if timeout != 0 {
		ts, e := timeout.Load(t)
		if e != 0 {
			return 0, e
		}
		if !ts.Valid() {
			return 0, abi.EINVAL
		}
		end = t.System.Clock.Monotonic().Add(ts.Ns())
	}
	o, s, e := getSocket(t, fd)
	if e != 0 {
		return 0, e
	}
	defer o.Unref()
	if flags&abi.MSG_ERRQUEUE == 0 {
		if e := s.TakeError(); e != 0 {
			return 0, e
		}
	}
	fl := uint32(flags)
	done := uint64(0)
	for done < uint64(n) {
		at := uint64(msgs) + done*uint64(len(abi.Bytes(new(abi.Mmsghdr))))
		k, out, e2 := recvOne(t, o, s, at, fl&^uint32(abi.MSG_WAITFORONE))
		if e = e2; e != 0 {
			break
		}
		if e = t.User().Store32(at+abi.MmsghdrLenAt, uint32(k)); e != 0 {
			break
		}
		done++
		if fl&abi.MSG_WAITFORONE != 0 {
			fl |= abi.MSG_DONTWAIT
		}
		if end != clock.Never && t.System.Clock.Monotonic() >= end || out&abi.MSG_OOB != 0 {
			break
		}
		if t.Thread.NeedResched() { // n is the guest's choice
			t.Thread.Yield()
		}
	}
	if done == 0 {
		return 0, e
	}
	if e != 0 && e != abi.EAGAIN && e < abi.ERESTARTSYS {
		s.Fail(e) // for the next call
	}
	if timeout != 0 {
		left := max(int64(end)-int64(t.System.Clock.Monotonic()), 0)
		if e := timeout.Store(t, abi.NsToTimespec(left)); e != 0 {
			return 0, e
		}
	}
	return done, 0
}

// sysShutdown ends one or both directions: shutdown(2).
func sysShutdown(t *task.Task, fd FD, how Int) (uint64, abi.Errno) {
	o, s, e := getSocket(t, fd)
	if e != 0 {
		return 0, e
	}
	defer o.Unref()
	return 0, s.Ops.Shutdown(t.Caller(), int32(how))
}

// sysSetsockopt sets an option: setsockopt(2).
func sysSetsockopt(t *task.Task, fd FD, level, name Int, val Addr, n Int) (uint64, abi.Errno) {
	if n < 0 {
		return 0, abi.EINVAL
	}
	o, s, e := getSocket(t, fd)
	if e != 0 {
		return 0, e
	}
	defer o.Unref()
	most := int32(socket.MaxOption)
	if level == abi.SOL_SOCKET {
		most = 16 // the longest of that level
	}
	var b [socket.MaxOption]byte
	v := b[:min(int32(n), most)]
	if len(v) > 0 {
		if got, e := t.User().CopyInSome(v, uint64(val)); e != 0 && got < 4 {
			return 0, e
		} else if e != 0 {
			v = v[:got] // too long a length before the end of what is mapped: options read what they are
		}
	}
	return 0, s.SetOption(t.Caller(), int32(level), int32(name), v)
}

// sysGetsockopt reads an option: getsockopt(2).
func sysGetsockopt(t *task.Task, fd FD, level, name Int, val Addr, lenAt InOut[int32]) (uint64, abi.Errno) {
	o, s, e := getSocket(t, fd)
	if e != 0 {
		return 0, e
	}
	defer o.Unref()
	room, e := lenAt.Load(t)
	if e != 0 {
		return 0, e
	}
	if room < 0 {
		return 0, abi.EINVAL
	}
	v, e := s.GetOption(t.Caller(), int32(level), int32(name), int(room))
	if e == abi.ERANGE && v != nil {
		if e := lenAt.Store(t, int32(min(len(v), math.MaxInt32))); e != 0 {
			return 0, e
		}
	}
	if e != 0 {
		return 0, e
	}
	whole := len(v)
	v = v[:min(len(v), int(room))]
	if len(v) > 0 {
		if e := copyOut(t, uint64(val), v); e != 0 {
			return 0, e
		}
	}
	if level != abi.SOL_NETLINK { // there the length of a list is told, whatever the room
		whole = len(v)
	}
	return 0, lenAt.Store(t, int32(whole))
}
