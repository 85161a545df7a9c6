package task

import (
	"encoding/binary"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"goum/arch/abi"
	"goum/arch/x86"
	"goum/kernel/cred"
	"goum/kernel/fd"
	"goum/kernel/fs/vfs"
	"goum/kernel/signal"
	"goum/mm"
	"goum/physmem"
	"goum/sched"
	"goum/sched/clock"
)

// machine runs guests that are Go functions: real tasks on a real scheduler and a virtual clock, in stubs that do nothing. A program
// is known by an address, so that a child finds its own in the registers that it is born with.
type machine struct {
	t     testing.TB
	sys   *System
	clk   *clock.Clock
	root  *memDir
	seats atomic.Int64 // stub threads in use
	stubs atomic.Int64 // stubs in use
	fail  atomic.Bool  // the host has no more stubs to give
	off   chan int32   // the status that PowerOff got

	mu       sync.Mutex
	code     map[uint64]func(*guest)
	handlers map[uint64]func(*guest, int)
	next     uint64
}

type seat struct {
	m     *machine
	stub  *stubHouse
	img   []byte
	used  atomic.Bool
	kicks atomic.Int64
}

type stubHouse struct {
	m     *machine
	space *mm.Space
	gone  atomic.Bool
}

func (m *machine) seat(h *stubHouse) *seat {
	s := &seat{m: m, stub: h, img: make([]byte, x86.XStateSize())}
	x86.InitXState(s.img)
	s.used.Store(true)
	m.seats.Add(1)
	return s
}

func (s *seat) NewThread() (StubThread, abi.Errno) {
	if s.m.fail.Load() {
		return nil, abi.EAGAIN
	}
	return s.m.seat(s.stub), 0
}
func (s *seat) XState() []byte       { return append([]byte(nil), s.img...) }
func (s *seat) SetXState(img []byte) { copy(s.img, img) }
func (s *seat) Kick()                { s.kicks.Add(1) }
func (s *seat) Park() {
	if !s.used.Swap(false) {
		s.m.t.Error("a stub thread is parked twice")
	}
	s.m.seats.Add(-1)
}

func (h *stubHouse) First() StubThread { return h.m.seat(h) }
func (h *stubHouse) Retire() {
	if h.gone.Swap(true) {
		h.m.t.Error("a stub retires twice")
	}
	h.m.stubs.Add(-1)
	h.space.Detached()
}

func (m *machine) New(space *mm.Space) (Stub, error) {
	if m.fail.Load() {
		return nil, errors.New("no stub")
	}
	m.stubs.Add(1)
	return &stubHouse{m: m, space: space}, nil
}

const (
	codeBase   = 0x10000000
	stackBase  = 0x20000000
	stackSize  = 0x40000
	scratch    = stackBase // a page that tests use as they like
	scratchEnd = stackBase + 0x1000
)

func newMachine(t testing.TB) *machine {
	m := &machine{t: t, off: make(chan int32, 1), code: map[uint64]func(*guest){}, handlers: map[uint64]func(*guest, int){}, next: codeBase}
	mem, err := physmem.New(32 << 20)
	if err != nil {
		t.Fatal(err)
	}
	m.clk = clock.NewVirtual(1e18)
	m.sys = &System{
		Sched: sched.New(2, m.clk), Clock: m.clk, Memory: mem, Stubs: m, VFS: vfs.New(m.clk), Tree: NewTree(500), Main: m.main,
		PowerOff: func(status int32) { m.off <- status },
	}
	m.root = newMemDir(m)
	return m
}

// run boots a machine whose first process is f, and waits for its end. It returns the wait status.
func (m *machine) run(f func(*guest)) int32 {
	m.t.Helper()
	space := mm.NewSpace(m.sys.Memory, mm.NoLimits)
	flags := uint64(abi.MAP_PRIVATE | abi.MAP_ANONYMOUS | abi.MAP_FIXED)
	if _, e := space.Map(stackBase, stackSize, mm.MapOpts{Prot: abi.PROT_READ | abi.PROT_WRITE, Flags: flags}); e != 0 {
		m.t.Fatal(e.Name())
	}
	root := m.sys.VFS.MountRoot(vfs.NewSuper(m.sys.VFS, "test", memFS{}, m.root), "none", 0)
	task := First(m.sys, cred.Root(), cred.NewLimits(512<<20), vfs.NewDirs(root, root), fd.New())
	st, _ := m.New(space)
	task.memory, task.Stub = newMemory(space, st), st.First()
	task.Regs = x86.InitRegs(m.program(f), stackBase+stackSize)
	task.Begin(func(*Task) bool { return true })
	var status int32
	select {
	case status = <-m.off:
	case <-time.After(time.Minute):
		buf := make([]byte, 1<<20)
		m.t.Fatalf("the machine hangs:\n%s", buf[:runtime.Stack(buf, true)])
	}
	// Everybody else has to be gone for this: tests see to it that children end.
	for range 1000 {
		if m.seats.Load() == 0 && m.stubs.Load() == 0 {
			break
		}
		time.Sleep(time.Millisecond)
	}
	if m.seats.Load() != 0 || m.stubs.Load() != 0 {
		m.t.Errorf("%d stub threads and %d stubs are left over", m.seats.Load(), m.stubs.Load())
	}
	return status
}

func (m *machine) program(f func(*guest)) uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.next += 16
	m.code[m.next] = f
	return m.next
}

func (m *machine) handler(f func(*guest, int)) uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.next += 16
	m.handlers[m.next] = f
	return m.next
}

// guest is a program that runs.
type guest struct {
	*Task
	m *machine
}

// How a guest's function ends before it returns: the task is gone, or runs another program.
type (
	gone  struct{}
	other struct{}
)

func (m *machine) main(t *Task) {
	g := &guest{t, m}
	for m.until(g) {
	}
}

// until runs the program that g stands at, and says whether g goes on with another.
func (m *machine) until(g *guest) (on bool) {
	defer func() {
		switch r := recover(); r {
		case nil, gone{}:
		case other{}:
			on = true
		default:
			panic(r)
		}
	}()
	g.enter()
	m.mu.Lock()
	f := m.code[g.Regs.RIP]
	m.mu.Unlock()
	if f == nil {
		m.t.Errorf("task %d runs at %#x, where nothing is", g.TID, g.Regs.RIP)
		g.exit(99)
	}
	f(g)
	g.exit(0)
	return false
}

// exec runs another program; it comes back with an errno only.
func (g *guest) exec(a ExecArgs) abi.Errno {
	ok := false
	_, e := g.call(abi.SYS_EXECVE, func() (uint64, abi.Errno) {
		e := g.Exec(a)
		ok = e == 0
		return 0, e
	})
	if ok {
		panic(other{})
	}
	return e
}

// enter goes to user mode, and runs handlers there.
func (g *guest) enter() {
	t := g.Task
	for {
		if t.Busy() && !t.Leave() {
			panic(gone{})
		}
		g.m.mu.Lock()
		h := g.m.handlers[t.Regs.RIP]
		g.m.mu.Unlock()
		if h == nil {
			return
		}
		t.Regs.RIP += 4 // behind its first instruction
		h(g, int(t.Regs.RDI))
		t.Regs.RSP += 8 // RET
		t.BeginCall(abi.SYS_RT_SIGRETURN)
		t.SigReturn()
		t.FinishCall(0, 0)
	}
}

// call makes a system call, as often as it is restarted.
func (g *guest) call(nr uint64, do func() (uint64, abi.Errno)) (uint64, abi.Errno) {
	t := g.Task
	pc := t.Regs.RIP
	for {
		t.Regs.RAX = nr
		t.BeginCall(nr)
		r, e := do()
		t.FinishCall(r, e)
		g.enter()
		if t.Regs.RIP != pc-2 {
			break
		}
		t.Regs.RIP = pc
		if nr = t.Regs.RAX; nr == abi.SYS_RESTART_SYSCALL {
			do = t.RestartCall
		}
	}
	if r := int64(t.Regs.RAX); r < 0 && r > -4096 {
		return 0, abi.Errno(-r)
	}
	return t.Regs.RAX, 0
}

func (g *guest) exit(code int32) {
	g.call(abi.SYS_EXIT_GROUP, func() (uint64, abi.Errno) { g.Task.ExitGroup(code); return 0, 0 })
}

// clone makes a task that runs f.
func (g *guest) clone(a CloneArgs, f func(*guest)) (int32, abi.Errno) {
	at := g.m.program(f)
	r, e := g.call(abi.SYS_CLONE, func() (uint64, abi.Errno) {
		pc := g.Regs.RIP
		g.Regs.RIP = at
		id, e := g.Clone(a)
		g.Regs.RIP = pc
		return uint64(id), e
	})
	return int32(r), e
}

func (g *guest) fork(f func(*guest)) int32 {
	id, e := g.clone(CloneArgs{ExitSignal: abi.SIGCHLD}, f)
	if e != 0 {
		g.m.t.Errorf("fork: %s", e.Name())
	}
	return id
}

const threadFlags = abi.CLONE_VM | abi.CLONE_FS | abi.CLONE_FILES | abi.CLONE_SIGHAND | abi.CLONE_THREAD

// thread makes a thread of the same process, with a stack of its own.
func (g *guest) thread(f func(*guest)) int32 {
	id, e := g.clone(CloneArgs{Flags: threadFlags, StackTop: g.Regs.RSP - 0x8000}, func(g *guest) {
		f(g)
		g.call(abi.SYS_EXIT, func() (uint64, abi.Errno) { g.Task.Exit(0); return 0, 0 })
	})
	if e != 0 {
		g.m.t.Errorf("thread: %s", e.Name())
	}
	return id
}

func (g *guest) wait(pid, options int32) (Waited, abi.Errno) {
	var w Waited
	_, e := g.call(abi.SYS_WAIT4, func() (uint64, abi.Errno) {
		var e abi.Errno
		w, e = g.Wait4(pid, options)
		return uint64(w.PID), e
	})
	if e != 0 {
		w = Waited{}
	}
	return w, e
}

func (g *guest) pause() abi.Errno {
	_, e := g.call(abi.SYS_PAUSE, func() (uint64, abi.Errno) { return 0, g.Pause() })
	return e
}

func (g *guest) kill(pid, sig int32) abi.Errno {
	_, e := g.call(abi.SYS_KILL, func() (uint64, abi.Errno) { return 0, g.Kill(pid, sig) })
	return e
}

// on sets a handler.
func (g *guest) on(sig int32, flags uint64, f func(*guest, int)) {
	a := signal.Action{Handler: g.m.handler(f), Flags: flags | abi.SA_RESTORER, Restorer: 0x1234}
	g.call(abi.SYS_RT_SIGACTION, func() (uint64, abi.Errno) { _, e := g.SetAction(sig, &a); return 0, e })
}

func (g *guest) action(sig int32, handler, flags uint64) {
	a := signal.Action{Handler: handler, Flags: flags}
	g.call(abi.SYS_RT_SIGACTION, func() (uint64, abi.Errno) { _, e := g.SetAction(sig, &a); return 0, e })
}

func (g *guest) mask(how int32, set signal.Set) {
	g.call(abi.SYS_RT_SIGPROCMASK, func() (uint64, abi.Errno) { _, e := g.ChangeMask(how, set); return 0, e })
}

// until yields until ok, which looks at what other tasks do.
func (g *guest) until(what string, ok func() bool) {
	deadline := time.Now().Add(20 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			g.m.t.Errorf("task %d waits in vain for: %s", g.TID, what)
			return
		}
		g.call(abi.SYS_SCHED_YIELD, func() (uint64, abi.Errno) { g.Thread.Yield(); return 0, 0 })
		runtime.Gosched()
	}
}

// asleep says whether a task sleeps.
func (m *machine) asleep(id int32) bool {
	t := m.sys.Tree.FindTask(id)
	return t != nil && t.Thread.State() == 'S'
}

// A file system of files that are byte slices.
type memFS struct{}

func (memFS) Statfs(*vfs.Caller) (abi.Statfs, abi.Errno) { return abi.Statfs{}, 0 }

type memDir struct {
	vfs.BaseNode
	m     *machine
	files map[string]*memFile
}

func newMemDir(m *machine) *memDir { return &memDir{m: m, files: map[string]*memFile{}} }

func (d *memDir) Attr(*vfs.Caller) (vfs.Attr, abi.Errno) {
	return vfs.Attr{Ino: 1, Mode: abi.S_IFDIR | 0o755, Nlink: 2}, 0
}

func (d *memDir) Lookup(c *vfs.Caller, name string) (vfs.Node, abi.Errno) {
	if f := d.files[name]; f != nil {
		return f, 0
	}
	return nil, abi.ENOENT
}

// put makes a file.
func (d *memDir) put(name string, mode uint32, data []byte) *memFile {
	f := &memFile{m: d.m, mode: abi.S_IFREG | mode, data: data, frames: map[uint64]physmem.Frame{}}
	d.files[name] = f
	return f
}

type memFile struct {
	vfs.BaseNode
	m        *machine
	mode     uint32
	uid, gid uint32
	data     []byte

	mu     sync.Mutex
	frames map[uint64]physmem.Frame
}

func (f *memFile) Attr(*vfs.Caller) (vfs.Attr, abi.Errno) {
	return vfs.Attr{Ino: 2, Mode: f.mode, UID: f.uid, GID: f.gid, Nlink: 1, Size: int64(len(f.data))}, 0
}

func (f *memFile) Open(*vfs.Caller, uint32, vfs.Location) (vfs.File, abi.Errno) { return f, 0 }

func (f *memFile) Read(c *vfs.Caller, dst *mm.Buf, at vfs.At) (int, abi.Errno) {
	if at.Off >= int64(len(f.data)) {
		return 0, 0
	}
	return dst.Write(f.data[at.Off:])
}

func (f *memFile) Write(*vfs.Caller, *mm.Buf, vfs.At) (int, abi.Errno) { return 0, abi.EINVAL }
func (f *memFile) Release()                                            {}
func (f *memFile) Seek(c *vfs.Caller, pos, off int64, whence int) (int64, abi.Errno) {
	return 0, abi.EINVAL
}

func (f *memFile) Map(c *vfs.Caller, o *mm.MapOpts) abi.Errno {
	o.Pager = f
	return 0
}

func (f *memFile) Page(w mm.Sleeper, index uint64, write bool) (physmem.Frame, abi.Errno) {
	f.mu.Lock()
	defer f.mu.Unlock()
	at := index * mm.PageSize
	if at >= uint64(len(f.data)) {
		return 0, abi.EIO
	}
	fr := f.frames[index]
	if fr == 0 {
		var e abi.Errno
		if fr, e = f.m.sys.Memory.AllocZeroed(0); e != 0 {
			return 0, e
		}
		copy(f.m.sys.Memory.Bytes(fr), f.data[at:])
		f.frames[index] = fr
	}
	f.m.sys.Memory.Ref(fr)
	return fr, 0
}

func (f *memFile) Mapped(*mm.Space, mm.Addr, uint64, uint64, bool, bool)   {}
func (f *memFile) Unmapped(*mm.Space, mm.Addr, uint64, uint64, bool, bool) {}

func put64(b []byte, at int, v uint64) { binary.LittleEndian.PutUint64(b[at:], v) }
