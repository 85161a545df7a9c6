package sockettest

import (
	"encoding/binary"
	"os"
	"runtime"
	"sync"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"goum/arch/abi"
)

// host is the calls on the host's Linux.
type host struct {
	mu  sync.Mutex
	fds []int
}

func onHost(t *testing.T, newNet bool, script func(s *Session)) *Session {
	s := &Session{T: t, Host: true}
	h := &host{}
	s.Calls = h
	skip := make(chan string, 1)
	go func() {
		defer close(skip)
		runtime.LockOSThread() // never unlocked: the thread's namespaces end with it
		if newNet {
			if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
				skip <- "no network namespace: " + err.Error()
				return
			}
		}
		script(s)
		for _, fd := range h.fds {
			if fd >= 0 {
				unix.Close(fd)
			}
		}
	}()
	if msg := <-skip; msg != "" {
		t.Skip(msg)
	}
	return s
}

func call(nr uintptr, a ...uintptr) (int, abi.Errno) {
	var x [6]uintptr
	copy(x[:], a)
	r, _, e := unix.Syscall6(nr, x[0], x[1], x[2], x[3], x[4], x[5])
	if e != 0 {
		return -1, abi.Errno(e)
	}
	return int(r), 0
}

func ptr(b []byte) uintptr {
	if len(b) == 0 {
		return 0
	}
	return uintptr(unsafe.Pointer(&b[0]))
}

func (h *host) fd(n int) uintptr {
	h.mu.Lock()
	defer h.mu.Unlock()
	if n < 0 || n >= len(h.fds) {
		return ^uintptr(0)
	}
	return uintptr(h.fds[n])
}

func (h *host) add(fd int, e abi.Errno) (int, abi.Errno) {
	if e != 0 {
		return -1, e
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.fds = append(h.fds, fd)
	return len(h.fds) - 1, 0
}

func (h *host) Socket(family, typ, proto int) (int, abi.Errno) {
	return h.add(call(unix.SYS_SOCKET, uintptr(family), uintptr(typ|unix.SOCK_CLOEXEC), uintptr(proto)))
}

func (h *host) Pair(family, typ, proto int) (int, int, abi.Errno) {
	var v [2]int32
	if _, e := call(unix.SYS_SOCKETPAIR, uintptr(family), uintptr(typ|unix.SOCK_CLOEXEC), uintptr(proto), uintptr(unsafe.Pointer(&v))); e != 0 {
		return -1, -1, e
	}
	a, _ := h.add(int(v[0]), 0)
	b, _ := h.add(int(v[1]), 0)
	return a, b, 0
}

func (h *host) Bind(fd int, addr []byte) abi.Errno {
	_, e := call(unix.SYS_BIND, h.fd(fd), ptr(addr), uintptr(len(addr)))
	return e
}

func (h *host) Connect(fd int, addr []byte) abi.Errno {
	_, e := call(unix.SYS_CONNECT, h.fd(fd), ptr(addr), uintptr(len(addr)))
	return e
}

func (h *host) Listen(fd, backlog int) abi.Errno {
	_, e := call(unix.SYS_LISTEN, h.fd(fd), uintptr(backlog))
	return e
}

func (h *host) Accept(fd, flags int) (int, []byte, abi.Errno) {
	var b [128]byte
	n := int32(len(b))
	fd, e := call(unix.SYS_ACCEPT4, h.fd(fd), ptr(b[:]), uintptr(unsafe.Pointer(&n)), uintptr(flags))
	if e != 0 {
		return -1, nil, e
	}
	fd, _ = h.add(fd, 0)
	return fd, b[:n], 0
}

func (h *host) Send(fd int, data []byte, flags int, addr, control []byte, files []int) (int, abi.Errno) {
	if len(files) > 0 {
		var b []byte
		for _, f := range files {
			b = binary.LittleEndian.AppendUint32(b, uint32(h.fd(f)))
		}
		control = append(append([]byte(nil), control...), Cmsg(abi.SOL_SOCKET, abi.SCM_RIGHTS, b)...)
	}
	m := unix.Msghdr{Namelen: uint32(len(addr)), Controllen: uint64(len(control))}
	iov := unix.Iovec{Len: uint64(len(data))}
	if len(data) > 0 {
		iov.Base = &data[0]
	}
	if len(addr) > 0 {
		m.Name = &addr[0]
	}
	if len(control) > 0 {
		m.Control = &control[0]
	}
	m.Iov, m.Iovlen = &iov, 1
	n, e := call(unix.SYS_SENDMSG, h.fd(fd), uintptr(unsafe.Pointer(&m)), uintptr(flags|unix.MSG_NOSIGNAL))
	return n, e
}

func (h *host) Recv(fd, n, flags, room int) (r Received, e abi.Errno) {
	data, addr, control := make([]byte, n), make([]byte, 128), make([]byte, room)
	m := unix.Msghdr{Namelen: 128, Name: &addr[0], Controllen: uint64(room)}
	iov := unix.Iovec{Len: uint64(n)}
	if n > 0 {
		iov.Base = &data[0]
	}
	if room > 0 {
		m.Control = &control[0]
	}
	m.Iov, m.Iovlen = &iov, 1
	r.N, e = call(unix.SYS_RECVMSG, h.fd(fd), uintptr(unsafe.Pointer(&m)), uintptr(flags))
	if e != 0 {
		return r, e
	}
	r.Data, r.Addr, r.Control, r.Flags = data[:min(r.N, n)], addr[:min(m.Namelen, 128)], control[:m.Controllen], int(m.Flags)
	for b := r.Control; len(b) >= 16; {
		l := int(binary.LittleEndian.Uint64(b))
		if l < 16 || l > len(b) {
			break
		}
		if binary.LittleEndian.Uint32(b[8:]) == abi.SOL_SOCKET && binary.LittleEndian.Uint32(b[12:]) == abi.SCM_RIGHTS {
			for i := 16; i+4 <= l; i += 4 {
				f, _ := h.add(int(int32(binary.LittleEndian.Uint32(b[i:]))), 0)
				r.Files = append(r.Files, f)
			}
		}
		b = b[min(abi.CmsgAlign(l), len(b)):]
	}
	return r, 0
}

func (h *host) Shutdown(fd, how int) abi.Errno {
	_, e := call(unix.SYS_SHUTDOWN, h.fd(fd), uintptr(how))
	return e
}

func (h *host) SetOpt(fd, level, opt int, val []byte) abi.Errno {
	_, e := call(unix.SYS_SETSOCKOPT, h.fd(fd), uintptr(level), uintptr(opt), ptr(val), uintptr(len(val)))
	return e
}

func (h *host) GetOpt(fd, level, opt, room int) ([]byte, abi.Errno) {
	b := make([]byte, max(room, 1))
	n := int32(room)
	_, e := call(unix.SYS_GETSOCKOPT, h.fd(fd), uintptr(level), uintptr(opt), ptr(b), uintptr(unsafe.Pointer(&n)))
	if e != 0 {
		return nil, e
	}
	return b[:min(int(n), room)], 0
}

func (h *host) Name(fd int, peer bool) ([]byte, abi.Errno) {
	var b [128]byte
	n := int32(len(b))
	nr := uintptr(unix.SYS_GETSOCKNAME)
	if peer {
		nr = unix.SYS_GETPEERNAME
	}
	_, e := call(nr, h.fd(fd), ptr(b[:]), uintptr(unsafe.Pointer(&n)))
	if e != 0 {
		return nil, e
	}
	return b[:n], 0
}

// pollAll is every event but those that poll(2) has no use for.
const pollAll = abi.EPOLLIN | abi.EPOLLOUT | abi.EPOLLRDHUP | abi.EPOLLERR | abi.EPOLLHUP | abi.EPOLLPRI | abi.EPOLLRDNORM | abi.EPOLLWRNORM

func (h *host) Poll(fd int) uint32 {
	p := unix.PollFd{Fd: int32(h.fd(fd)), Events: pollAll}
	call(unix.SYS_POLL, uintptr(unsafe.Pointer(&p)), 1, 0)
	return uint32(uint16(p.Revents)) & pollAll
}

func (h *host) NonBlock(fd int, on bool) { unix.SetNonblock(int(h.fd(fd)), on) }

func (h *host) Close(fd int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if fd >= 0 && fd < len(h.fds) && h.fds[fd] >= 0 {
		unix.Close(h.fds[fd])
		h.fds[fd] = -1
	}
}

func (h *host) Pid() int32         { return int32(os.Getpid()) }
func (h *host) Unlink(path string) { os.Remove(path) }

func (h *host) Go(f func(x Calls)) func() {
	done := make(chan bool)
	go func() {
		defer close(done)
		f(h)
	}()
	return func() { <-done }
}

func (h *host) Pause() { time.Sleep(20 * time.Millisecond) }

func (h *host) Ioctl(fd int, cmd uint32, arg []byte) abi.Errno {
	_, e := call(unix.SYS_IOCTL, h.fd(fd), uintptr(cmd), ptr(arg))
	return e
}
