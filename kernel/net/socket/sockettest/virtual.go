package sockettest

import (
	"encoding/binary"
	"sync"
	"testing"
	"time"

	"goum/arch/abi"
	"goum/kernel/cred"
	"goum/kernel/fs/pagecache"
	"goum/kernel/fs/tmpfs"
	"goum/kernel/fs/vfs"
	"goum/kernel/net/socket"
	"goum/mm"
	"goum/physmem"
	"goum/sched"
	"goum/sched/clock"
)

// Machine is what sockets need of a machine, without a guest.
type Machine struct {
	Net   *socket.Net
	Sched *sched.Scheduler
	Clock *clock.Clock
	t     testing.TB
	dirs  *vfs.Dirs
	wg    sync.WaitGroup
}

// NewMachine makes one, with cpus vCPUs and a tmpfs as its root.
func NewMachine(t testing.TB, cpus int) *Machine {
	clk, err := clock.New()
	if err != nil {
		t.Fatal(err)
	}
	mem, err := physmem.New(16 << 20)
	if err != nil {
		t.Fatal(err)
	}
	m := &Machine{Net: socket.New(clk), Sched: sched.New(cpus, clk), Clock: clk, t: t}
	vs := vfs.New(clk)
	root := vs.MountRoot(newRoot(vs, mem), "none", 0)
	m.dirs = vfs.NewDirs(root, root)
	t.Cleanup(func() {
		if n := m.Net.Sockets(); n != 0 {
			t.Errorf("%d sockets are left", n)
		}
		m.Sched.Close()
		clk.Close()
	})
	return m
}

func newRoot(vs *vfs.System, mem *physmem.Memory) *vfs.Super {
	return tmpfs.New(vs, pagecache.New(mem), tmpfs.Options{Mode: 0o755}).Super()
}

// Caller is a root user's caller on thread th.
func (m *Machine) Caller(th *sched.Thread) *vfs.Caller {
	return &vfs.Caller{Cred: cred.Root(), Dirs: m.dirs, Limits: cred.NewLimits(1 << 30), Thread: th, Tgid: 7, Tid: 7, Raise: func(int32) {}}
}

// Spawn runs f on a thread of its own. Wait awaits all of them.
func (m *Machine) Spawn(name string, f func(c *vfs.Caller)) *sched.Thread {
	th := m.Sched.NewThread(name)
	m.wg.Add(1)
	th.Start(func() {
		defer m.wg.Done()
		f(m.Caller(th))
	})
	return th
}

// Wait awaits the threads, for a minute at most.
func (m *Machine) Wait() {
	done := make(chan bool)
	go func() { m.wg.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(time.Minute):
		m.t.Fatal("threads hang")
	}
}

// Run runs f as a session of its own.
func (m *Machine) Run(f func(v *Virtual)) {
	m.Spawn("session", func(c *vfs.Caller) {
		v := &Virtual{m: m, c: c, table: new(table)}
		f(v)
		v.done()
	})
	m.Wait()
}

// Virtual is the calls on goum's sockets. It is used by one thread at a time, but for what Go starts.
type Virtual struct {
	m *Machine
	c *vfs.Caller
	*table
}

// table is the descriptors.
type table struct {
	mu sync.Mutex
	f  []*vfs.Open
}

// C is the session's caller.
func (v *Virtual) C() *vfs.Caller { return v.c }

// Get is a descriptor's open file: socket.FDs.
func (v *Virtual) Get(fd int32) (*vfs.Open, abi.Errno) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if fd < 0 || int(fd) >= len(v.f) || v.f[fd] == nil {
		return nil, abi.EBADF
	}
	v.f[fd].Ref()
	return v.f[fd], 0
}

// Sock is a descriptor's socket.
func (v *Virtual) Sock(fd int) (*vfs.Open, *socket.Socket, abi.Errno) {
	o, e := v.Get(int32(fd))
	if e != 0 {
		return nil, nil, e
	}
	s, e := socket.Of(o)
	if e != 0 {
		o.Unref()
	}
	return o, s, e
}

func (v *Virtual) add(o *vfs.Open) int {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.f = append(v.f, o)
	return len(v.f) - 1
}

func (v *Virtual) done() {
	for i := range v.f {
		v.Close(i)
	}
}

// Socket is socket(2).
func (v *Virtual) Socket(family, typ, proto int) (int, abi.Errno) {
	base, flags, e := socket.CheckType(int32(typ))
	if e != 0 {
		return -1, e
	}
	o, e := v.m.Net.Socket(v.c, int32(family), base, flags, int32(proto))
	if e != 0 {
		return -1, e
	}
	return v.add(o), 0
}

// Pair is socketpair(2).
func (v *Virtual) Pair(family, typ, proto int) (int, int, abi.Errno) {
	base, flags, e := socket.CheckType(int32(typ))
	if e != 0 {
		return -1, -1, e
	}
	a, b, e := v.m.Net.Pair(v.c, int32(family), base, flags, int32(proto))
	if e != 0 {
		return -1, -1, e
	}
	x := v.add(a)
	return x, v.add(b), 0
}

// Bind is bind(2).
func (v *Virtual) Bind(fd int, addr []byte) abi.Errno {
	o, s, e := v.Sock(fd)
	if e != 0 {
		return e
	}
	defer o.Unref()
	return s.Ops.Bind(v.c, addr)
}

// Connect is connect(2).
func (v *Virtual) Connect(fd int, addr []byte) abi.Errno {
	o, s, e := v.Sock(fd)
	if e != 0 {
		return e
	}
	defer o.Unref()
	return s.Ops.Connect(v.c, addr, o.Flags()&abi.O_NONBLOCK != 0)
}

// Listen is listen(2).
func (v *Virtual) Listen(fd, backlog int) abi.Errno {
	o, s, e := v.Sock(fd)
	if e != 0 {
		return e
	}
	defer o.Unref()
	return s.Listen(v.c, int32(backlog))
}

// Accept is accept4(2).
func (v *Virtual) Accept(fd, flags int) (int, []byte, abi.Errno) {
	o, s, e := v.Sock(fd)
	if e != 0 {
		return -1, nil, e
	}
	defer o.Unref()
	var a socket.Addr
	n, e := s.Accept(v.c, o.Flags()&abi.O_NONBLOCK != 0, uint32(flags), &a)
	if e != 0 {
		return -1, nil, e
	}
	return v.add(n), a.Bytes(), 0
}

// Send is sendmsg(2).
func (v *Virtual) Send(fd int, data []byte, flags int, addr, control []byte, files []int) (int, abi.Errno) {
	o, s, e := v.Sock(fd)
	if e != 0 {
		return -1, e
	}
	defer o.Unref()
	fl := uint32(flags)
	if o.Flags()&abi.O_NONBLOCK != 0 {
		fl |= abi.MSG_DONTWAIT
	}
	if len(files) > 0 {
		var b []byte
		for _, f := range files {
			b = binary.LittleEndian.AppendUint32(b, uint32(f))
		}
		control = append(append([]byte(nil), control...), Cmsg(abi.SOL_SOCKET, abi.SCM_RIGHTS, b)...)
	}
	var m *socket.Msg
	if len(addr) > 0 || len(control) > 0 {
		m = socket.NewMsg()
		defer m.Done()
		m.Addr.Set(addr)
		m.Control = control
		m.FDs = v
	}
	n, e := s.Ops.Send(v.c, mm.BytesBuf(data), fl, m)
	if n == 0 && e != 0 {
		return -1, e
	}
	return n, 0
}

// Recv is recvmsg(2).
func (v *Virtual) Recv(fd, n, flags, room int) (r Received, e abi.Errno) {
	o, s, e := v.Sock(fd)
	if e != 0 {
		return r, e
	}
	defer o.Unref()
	fl := uint32(flags)
	if o.Flags()&abi.O_NONBLOCK != 0 {
		fl |= abi.MSG_DONTWAIT
	}
	m := socket.NewMsg()
	defer m.Done()
	m.NoControl, m.Room = room == 0, room
	data := make([]byte, n)
	r.N, e = s.Ops.Recv(v.c, mm.BytesBuf(data), fl, m)
	if e != 0 && r.N == 0 {
		r.N = -1
		return r, e
	}
	r.Data, r.Addr, r.Control = data[:min(r.N, n)], append([]byte(nil), m.Addr.Bytes()...), append([]byte(nil), m.Control...)
	most := 0
	if left := room - len(m.Control); left > 16 {
		most = (left - 16) / 4
	}
	for i, f := range m.Files {
		if i >= most {
			m.Flags |= abi.MSG_CTRUNC
			break
		}
		f.Ref()
		r.Files = append(r.Files, v.add(f))
	}
	if k := len(r.Files); k > 0 {
		r.Control = append(r.Control, Cmsg(abi.SOL_SOCKET, abi.SCM_RIGHTS, make([]byte, 4*k))...)
	}
	r.Flags = int(m.Flags) | flags&abi.MSG_CMSG_CLOEXEC
	return r, 0
}

// Shutdown is shutdown(2).
func (v *Virtual) Shutdown(fd, how int) abi.Errno {
	o, s, e := v.Sock(fd)
	if e != 0 {
		return e
	}
	defer o.Unref()
	return s.Ops.Shutdown(v.c, int32(how))
}

// SetOpt is setsockopt(2).
func (v *Virtual) SetOpt(fd, level, opt int, val []byte) abi.Errno {
	o, s, e := v.Sock(fd)
	if e != 0 {
		return e
	}
	defer o.Unref()
	return s.SetOption(v.c, int32(level), int32(opt), val)
}

// GetOpt is getsockopt(2).
func (v *Virtual) GetOpt(fd, level, opt, room int) ([]byte, abi.Errno) {
	o, s, e := v.Sock(fd)
	if e != 0 {
		return nil, e
	}
	defer o.Unref()
	b, e := s.GetOption(v.c, int32(level), int32(opt), room)
	if e != 0 {
		return nil, e
	}
	return b[:min(len(b), room)], 0
}

// Name is getsockname(2) and getpeername(2).
func (v *Virtual) Name(fd int, peer bool) ([]byte, abi.Errno) {
	o, s, e := v.Sock(fd)
	if e != 0 {
		return nil, e
	}
	defer o.Unref()
	var a socket.Addr
	if e := s.Ops.Name(v.c, peer, &a); e != 0 {
		return nil, e
	}
	return append([]byte(nil), a.Bytes()...), 0
}

// Poll is poll(2) without waiting.
func (v *Virtual) Poll(fd int) uint32 {
	o, s, e := v.Sock(fd)
	if e != 0 {
		return abi.POLLNVAL
	}
	defer o.Unref()
	return uint32(s.Poll(v.c)) & pollAll
}

// NonBlock is FIONBIO.
func (v *Virtual) NonBlock(fd int, on bool) {
	if o, e := v.Get(int32(fd)); e == 0 {
		o.SetNonBlock(on)
		o.Unref()
	}
}

// Close is close(2).
func (v *Virtual) Close(fd int) {
	v.mu.Lock()
	var o *vfs.Open
	if fd >= 0 && fd < len(v.f) {
		o, v.f[fd] = v.f[fd], nil
	}
	v.mu.Unlock()
	if o != nil {
		o.Unref()
	}
}

// Pid is the session's process.
func (v *Virtual) Pid() int32 { return v.c.Tgid }

// Unlink removes a file.
func (v *Virtual) Unlink(path string) { v.c.Unlink(vfs.Location{}, path) }

// Go runs f on a thread of its own.
func (v *Virtual) Go(f func(x Calls)) func() {
	done := make(chan bool)
	v.m.Spawn("go", func(c *vfs.Caller) {
		defer close(done)
		f(&Virtual{v.m, c, v.table})
	})
	return func() { v.c.Thread.Outside(func() { <-done }) }
}

// Pause gives others time to come to a wait.
func (v *Virtual) Pause() { v.c.Thread.Sleep(v.m.Clock.Monotonic().Add(20e6)) }

// Ioctl is ioctl(2); its memory is no guest's, so that only those that need none work.
func (v *Virtual) Ioctl(fd int, cmd uint32, arg []byte) abi.Errno {
	return abi.ENOSYS
}
