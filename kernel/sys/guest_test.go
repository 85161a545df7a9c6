package sys

import (
	"encoding/binary"
	"errors"
	"runtime"
	"sync"
	"testing"
	"time"

	"goum/arch/abi"
	"goum/arch/x86"
	"goum/kernel/cred"
	"goum/kernel/event"
	"goum/kernel/fd"
	"goum/kernel/fs/pagecache"
	"goum/kernel/fs/pipe"
	"goum/kernel/fs/proc"
	"goum/kernel/fs/sys"
	"goum/kernel/fs/tmpfs"
	"goum/kernel/fs/vfs"
	"goum/kernel/futex"
	"goum/kernel/klog"
	"goum/kernel/random"
	"goum/kernel/task"
	"goum/kernel/uts"
	"goum/mm"
	"goum/physmem"
	"goum/sched"
	"goum/sched/clock"
)

// rig is a machine whose programs are Go functions, which make their calls through the table: real tasks, files and memory, a virtual
// clock, and stubs that do nothing.
type rig struct {
	testing.TB
	sys    *task.System
	table  *Table
	clk    *clock.Clock
	caller *vfs.Caller
	off    chan int32

	mu   sync.Mutex
	code map[uint64]func(*guest) // by the address that a program runs at
	next uint64
}

type seat struct{ img []byte }

func newSeat() *seat {
	s := &seat{make([]byte, x86.XStateSize())}
	x86.InitXState(s.img)
	return s
}

func (s *seat) NewThread() (task.StubThread, abi.Errno) { return newSeat(), 0 }
func (s *seat) Park()                                   {}
func (s *seat) XState() []byte                          { return append([]byte(nil), s.img...) }
func (s *seat) SetXState(img []byte)                    { copy(s.img, img) }
func (s *seat) Kick()                                   {}

type house struct{ space *mm.Space }

func (h house) First() task.StubThread { return newSeat() }
func (h house) Retire()                { h.space.Detached() }

type houses struct{}

func (houses) New(space *mm.Space) (task.Stub, error) {
	if space == nil {
		return nil, errors.New("no space")
	}
	return house{space}, nil
}

// entryPoint is where the first program starts; what is cloned starts above.
const entryPoint = 0x400078

// tinyELF is a program of one page that can be mapped, and never runs.
func tinyELF() []byte {
	b := make([]byte, 4096)
	copy(b, "\x7fELF\x02\x01\x01")
	le := binary.LittleEndian
	le.PutUint16(b[16:], 2)  // ET_EXEC
	le.PutUint16(b[18:], 62) // x86-64
	le.PutUint32(b[20:], 1)
	le.PutUint64(b[24:], entryPoint)
	le.PutUint64(b[32:], 64) // program headers
	le.PutUint16(b[52:], 64)
	le.PutUint16(b[54:], 56)
	le.PutUint16(b[56:], 1)
	p := b[64:]
	le.PutUint32(p[0:], 1) // PT_LOAD
	le.PutUint32(p[4:], 5) // r-x
	le.PutUint64(p[16:], 0x400000)
	le.PutUint64(p[24:], 0x400000)
	le.PutUint64(p[32:], 4096)
	le.PutUint64(p[40:], 4096)
	le.PutUint64(p[48:], 4096)
	return b
}

func newRig(t testing.TB) *rig {
	r := &rig{TB: t, off: make(chan int32, 1), code: map[uint64]func(*guest){}, next: entryPoint}
	mem, err := physmem.New(64 << 20)
	if err != nil {
		t.Fatal(err)
	}
	r.clk = clock.NewVirtual(1_700_000_000 * abi.NsPerSec)
	v := vfs.New(r.clk)
	cache := pagecache.New(mem)
	pipe.Register(v)
	tmpfs.Register(v, cache)
	root := tmpfs.New(v, cache, tmpfs.Options{NoLimit: true, Mode: 0o755})
	at := v.MountRoot(root.Super(), "rootfs", 0)
	r.caller = &vfs.Caller{Cred: cred.Root(), Dirs: vfs.NewDirs(at, at)}
	r.sys = &task.System{
		Sched: sched.New(2, r.clk), Clock: r.clk, Memory: mem, Stubs: houses{}, VFS: v, Futex: futex.New(r.clk), Tree: task.NewTree(500),
		Random: random.New(), Main: r.main, PowerOff: func(status int32) { r.off <- status },
	}
	r.table = New()
	names := uts.New("goum", "")
	log := klog.New(r.clk)
	event.Wire(r.sys)
	Attach(r.sys, &Machine{UTS: names, Memfd: tmpfs.NewInternal(v, cache), Log: log})
	proc.Register(v, proc.Config{System: r.sys, UTS: names, Cmdline: "goum quiet", Kmsg: log.OpenProc})
	sys.Register(v, sys.Config{CPUs: 2})
	for _, d := range []string{"proc", "sys", "tmp"} {
		if e := r.caller.Mkdir(vfs.Location{}, "/"+d, 0o777); e != 0 {
			t.Fatal(e.Name())
		}
	}
	if e := tmpfs.AddFile(r.caller, "/init", 0o755, 0, 0, 0, tinyELF()); e != 0 {
		t.Fatal(e.Name())
	}
	t.Cleanup(func() {
		r.sys.Sched.Close()
		mem.Close()
	})
	return r
}

// room is the memory that tests use as they like.
const (
	room     = 0x30000000
	roomSize = 0x100000
)

// run runs f as the first process, and returns the wait status that it ended with.
func (r *rig) run(f func(g *guest)) int32 {
	r.Helper()
	r.code[entryPoint] = func(g *guest) {
		flags := uint64(abi.MAP_PRIVATE | abi.MAP_ANONYMOUS | abi.MAP_FIXED)
		if a, e := g.call(abi.SYS_MMAP, room, roomSize, abi.PROT_READ|abi.PROT_WRITE, flags, ^uint64(0), 0); e != 0 || a != room {
			r.Errorf("mmap: %#x %s", a, e.Name())
		}
		f(g)
	}
	first := task.First(r.sys, cred.Root(), cred.NewLimits(512<<20), vfs.NewDirs(r.caller.Root(), r.caller.Cwd()), fd.New())
	first.Begin(func(t *task.Task) bool {
		e := t.Exec(task.ExecArgs{Path: "/init", Name: "/init", Argv: []string{"/init", "one", "two words"}, Envp: []string{"HOME=/", "X=y"}, Flags: 0})
		if e != 0 {
			r.Errorf("exec: %s", e.Name())
		}
		return e == 0
	})
	select {
	case s := <-r.off:
		return s
	case <-time.After(time.Minute):
		buf := make([]byte, 1<<20)
		r.Fatalf("the machine hangs:\n%s", buf[:runtime.Stack(buf, true)])
	}
	return 0
}

// guest is a program that runs.
type guest struct {
	*task.Task
	r    *rig
	used uint64 // of room
}

type gone struct{}

func (r *rig) main(t *task.Task) {
	g := &guest{Task: t, r: r, used: roomSize / 2}
	defer func() {
		if x := recover(); x != nil && x != (gone{}) {
			panic(x)
		}
	}()
	g.enter()
	r.mu.Lock()
	f := r.code[t.Regs.RIP]
	r.mu.Unlock()
	if f == nil {
		r.Errorf("task %d runs at %#x, where nothing is", t.TID, t.Regs.RIP)
	} else {
		f(g)
	}
	g.call(abi.SYS_EXIT_GROUP, 0)
}

func (g *guest) enter() {
	if g.Busy() && !g.Leave() {
		panic(gone{})
	}
}

// call makes a system call, as often as it is restarted.
func (g *guest) call(nr uint64, a ...uint64) (uint64, abi.Errno) {
	t := g.Task
	var v [6]uint64
	copy(v[:], a)
	pc := t.Regs.RIP
	for {
		x := &t.Regs
		x.RAX, x.RDI, x.RSI, x.RDX, x.R10, x.R8, x.R9 = nr, v[0], v[1], v[2], v[3], v[4], v[5]
		t.BeginCall(nr)
		n, e := g.r.table.Dispatch(t, x)
		t.FinishCall(n, e)
		g.enter()
		if t.Regs.RIP != pc-2 {
			break
		}
		t.Regs.RIP, nr = pc, t.Regs.RAX
	}
	if r := int64(t.Regs.RAX); r < 0 && r > -4096 {
		return 0, abi.Errno(-r)
	}
	return t.Regs.RAX, 0
}

// must is call that has to succeed.
func (g *guest) must(nr uint64, a ...uint64) uint64 {
	g.r.Helper()
	n, e := g.call(nr, a...)
	if e != 0 {
		g.r.Errorf("%s%x: %s", g.r.table.Name(uint32(nr)), a, e.Name())
	}
	return n
}

// fails is call that has to fail with want.
func (g *guest) fails(want abi.Errno, nr uint64, a ...uint64) {
	g.r.Helper()
	if n, e := g.call(nr, a...); e != want {
		g.r.Errorf("%s%x = %d %s, want %s", g.r.table.Name(uint32(nr)), a, n, e.Name(), want.Name())
	}
}

// put lays b into fresh memory.
func (g *guest) put(b []byte) uint64 {
	at := room + g.used
	g.used += uint64(len(b)+15) &^ 15
	if g.used > roomSize {
		g.r.Fatal("no room left")
	}
	if e := g.User().CopyOut(at, b); e != 0 {
		g.r.Fatalf("CopyOut: %s", e.Name())
	}
	return at
}

func (g *guest) str(s string) uint64 { return g.put(append([]byte(s), 0)) }

// value lays a plain value into fresh memory.
func value[T any](g *guest, v T) uint64 { return g.put(abi.Bytes(&v)) }

// load reads one.
func load[T any](g *guest, at uint64) (v T) {
	if e := g.User().CopyIn(abi.Bytes(&v), at); e != 0 {
		g.r.Errorf("CopyIn(%#x): %s", at, e.Name())
	}
	return v
}

func (g *guest) bytes(at uint64, n int) []byte {
	b := make([]byte, n)
	if e := g.User().CopyIn(b, at); e != 0 {
		g.r.Errorf("CopyIn(%#x, %d): %s", at, n, e.Name())
	}
	return b
}

// program gives f an address.
func (r *rig) program(f func(*guest)) uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.next += 16
	r.code[r.next] = f
	return r.next
}

// clone makes a task that runs f.
func (g *guest) clone(flags, stack uint64, f func(*guest)) (uint64, abi.Errno) {
	at, pc := g.r.program(f), g.Regs.RIP
	g.Regs.RIP = at
	x := &g.Regs
	x.RAX, x.RDI, x.RSI, x.RDX, x.R10, x.R8 = abi.SYS_CLONE, flags, stack, 0, 0, 0
	g.BeginCall(abi.SYS_CLONE)
	n, e := g.r.table.Dispatch(g.Task, x)
	g.Regs.RIP = pc
	g.FinishCall(n, e)
	g.enter()
	return n, e
}

func (g *guest) fork(f func(*guest)) uint64 {
	n, e := g.clone(abi.SIGCHLD, 0, f)
	if e != 0 {
		g.r.Errorf("fork: %s", e.Name())
	}
	return n
}

// slurp reads a file.
func (g *guest) slurp(path string) string {
	g.r.Helper()
	fd, e := g.call(abi.SYS_OPEN, g.str(path), abi.O_RDONLY, 0)
	if e != 0 {
		g.r.Errorf("open %s: %s", path, e.Name())
		return ""
	}
	defer g.call(abi.SYS_CLOSE, fd)
	var out []byte
	for {
		n, e := g.call(abi.SYS_READ, fd, room, 4096)
		if e != 0 {
			g.r.Errorf("read %s: %s", path, e.Name())
		}
		if n == 0 || e != 0 {
			return string(out)
		}
		out = append(out, g.bytes(room, int(n))...)
	}
}
