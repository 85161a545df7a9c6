package skas

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"testing"
	"time"

	"goum/arch/abi"
	"goum/arch/x86"
	"goum/stub"

	"golang.org/x/sys/unix"
)

// within fails the test when f has not returned after a time that no honest host needs.
func within(t testing.TB, what string, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		t.Fatalf("%s: still waiting", what)
	}
}

// runs lets th run once, within bounds.
func runs(t testing.TB, th *Thread, r *x86.Regs) (ev Event) {
	t.Helper()
	within(t, "Run", func() { ev = th.Run(r) })
	return ev
}

// bury ends th's stub and checks that its address space is told.
func bury(t testing.TB, th *Thread, space *fakeSpace) {
	t.Helper()
	th.Stub().Retire()
	within(t, "the reaper", func() { <-space.detached })
}

// survives shows that the pool still starts and runs honest stubs.
func (w *world) survives(t testing.TB) {
	t.Helper()
	th, space, r := w.start(t)
	r.RIP = codeAddr + honestAt
	if ev := runs(t, th, r); ev.Kind != Syscall || r.RAX != 39 {
		t.Errorf("an honest stub afterwards: %+v", ev)
	}
	bury(t, th, space)
}

// honestAt is where survives finds getpidLoop, behind whatever program a test has.
const honestAt = 2048

func hostileWorld(t testing.TB, program []byte) *world {
	page := make([]byte, honestAt, stub.PageSize)
	copy(page, program)
	return newWorld(t, append(page, getpidLoop...))
}

// mmapCall sets r up for the stub's own mmap.
func (w *world) mmapCall(r *x86.Regs) {
	r.RIP = w.pool.sites.Map - 2
	r.RAX, r.RDI, r.RSI, r.RDX, r.R10, r.R8, r.R9 = stub.MapNr, 0x800000, stub.PageSize, 3, stub.MapFlags, stub.PhysmemFd, 0
}

// TestNothingIsDoneUnasked jumps into the stub's own calls with chosen registers: out of batch, and with each argument wrong.
func TestNothingIsDoneUnasked(t *testing.T) {
	const high = 1 << 32
	mmapWith := func(change func(*x86.Regs)) func(*world, *x86.Regs) {
		return func(w *world, r *x86.Regs) { w.mmapCall(r); change(r) }
	}
	for name, hostile := range map[string]func(*world, *x86.Regs){
		"mmap":                   func(w *world, r *x86.Regs) { w.mmapCall(r) },
		"mmap of 96 MiB":         mmapWith(func(r *x86.Regs) { r.RSI = 96 << 20 }),
		"mmap over the stub":     mmapWith(func(r *x86.Regs) { r.RDI = stub.Control }),
		"mmap into the stub":     mmapWith(func(r *x86.Regs) { r.RDI = stub.Start - stub.PageSize; r.RSI = 2 * stub.PageSize }),
		"mmap that wraps":        mmapWith(func(r *x86.Regs) { r.RDI = stub.PageSize; r.RSI = ^uint64(stub.PageSize - 1) }),
		"mmap, low words wrap":   mmapWith(func(r *x86.Regs) { r.RDI = 0x7fff_b000_0000; r.RSI = 0x0000_5000_0000 }),
		"mmap private":           mmapWith(func(r *x86.Regs) { r.R10 = abi.MAP_PRIVATE | abi.MAP_FIXED }),
		"mmap anonymous":         mmapWith(func(r *x86.Regs) { r.R10 = stub.MapFlags | abi.MAP_ANONYMOUS }),
		"mmap not fixed":         mmapWith(func(r *x86.Regs) { r.R10 = abi.MAP_SHARED }),
		"mmap, high flags":       mmapWith(func(r *x86.Regs) { r.R10 |= high }),
		"mmap of another file":   mmapWith(func(r *x86.Regs) { r.R8 = 1 }),
		"mmap, high descriptor":  mmapWith(func(r *x86.Regs) { r.R8 |= high }),
		"mmap, grows down":       mmapWith(func(r *x86.Regs) { r.RDX |= 0x01000000 }),
		"mmap, high protection":  mmapWith(func(r *x86.Regs) { r.RDX |= high }),
		"mremap from its site":   mmapWith(func(r *x86.Regs) { r.RAX = abi.SYS_MREMAP }),
		"x32 mmap from its site": mmapWith(func(r *x86.Regs) { r.RAX |= 0x40000000 }),
		"munmap": func(w *world, r *x86.Regs) {
			r.RIP = w.pool.sites.Unmap - 2
			r.RAX, r.RDI, r.RSI = stub.UnmapNr, codeAddr, 4096
		},
		"munmap of the stub": func(w *world, r *x86.Regs) {
			r.RIP = w.pool.sites.Unmap - 2
			r.RAX, r.RDI, r.RSI = stub.UnmapNr, stub.Data, 4096
		},
		"mprotect from munmap's site": func(w *world, r *x86.Regs) {
			r.RIP = w.pool.sites.Unmap - 2
			r.RAX, r.RDI, r.RSI, r.RDX = abi.SYS_MPROTECT, codeAddr, 4096, 7
		},
		"clone": func(w *world, r *x86.Regs) {
			r.RIP = w.pool.sites.Clone - 2
			r.RAX, r.RDI, r.RSI = stub.CloneNr, stub.CloneFlags, stub.Control+stub.SlotSize
		},
		"fork from clone's site": func(w *world, r *x86.Regs) {
			r.RIP = w.pool.sites.Clone - 2
			r.RAX, r.RDI, r.RSI = stub.CloneNr, abi.SIGCHLD, 0
		},
		"clone, high flags": func(w *world, r *x86.Regs) {
			r.RIP = w.pool.sites.Clone - 2
			r.RAX, r.RDI, r.RSI = stub.CloneNr, stub.CloneFlags|high, stub.Control+stub.SlotSize
		},
		"other number": func(w *world, r *x86.Regs) { w.mmapCall(r); r.RAX = 57 },
		"kill from report's site": func(w *world, r *x86.Regs) {
			r.RIP = w.pool.sites.Report - 2
			r.RAX, r.RDI, r.RSI = abi.SYS_KILL, 1, 9
		},
		"forged report": func(w *world, r *x86.Regs) {
			r.RIP = w.pool.sites.Report - 2
			r.RAX, r.RDI, r.RSI = 110, abi.SIGSYS, 0x123456
		},
		"report, frame in another slot": func(w *world, r *x86.Regs) {
			r.RIP = w.pool.sites.Report - 2
			r.RAX, r.RDI, r.RSI = 110, abi.SIGSYS, stub.Control+stub.SlotSize+stub.StackOffset
		},
		"report, frame in the header": func(w *world, r *x86.Regs) {
			r.RIP = w.pool.sites.Report - 2
			r.RAX, r.RDI, r.RSI = 110, abi.SIGSYS, stub.Control
		},
		"report, frame beyond the end": func(w *world, r *x86.Regs) {
			r.RIP = w.pool.sites.Report - 2
			r.RAX, r.RDI, r.RSI = 110, 11, stub.Control+stub.SlotSize-64
		},
		"report, frame off by one": func(w *world, r *x86.Regs) {
			r.RIP = w.pool.sites.Report - 2
			r.RAX, r.RDI, r.RSI = 110, 11, stub.Control+stub.StackOffset+1
		},
		"report of a signal that is none": func(w *world, r *x86.Regs) {
			r.RIP = w.pool.sites.Report - 2
			r.RAX, r.RDI, r.RSI = 110, 1<<63|11, stub.Control+stub.StackOffset
		},
		"fresh report": func(w *world, r *x86.Regs) {
			r.RIP = w.pool.sites.Report - 2
			r.RAX, r.RDI, r.RSI = 110, stub.ReportFresh, 0
		},
		"batch never asked for": func(w *world, r *x86.Regs) {
			r.RIP = w.pool.sites.Report - 2
			r.RAX, r.RDI, r.RSI = 110, stub.ReportBatch, stub.Control+stub.StackOffset
		},
		"sigaltstack elsewhere": func(w *world, r *x86.Regs) {
			r.RIP, r.RAX, r.RDI = w.code(t, "0f05"), abi.SYS_SIGALTSTACK, dataAddr
		},
		"sigaltstack, reading the old one": func(w *world, r *x86.Regs) {
			r.RIP, r.RAX, r.RDI, r.RSI = w.code(t, "0f05"), abi.SYS_SIGALTSTACK, stub.Control+64, dataAddr
		},
		"sigaltstack anew": func(w *world, r *x86.Regs) {
			r.RIP, r.RAX, r.RDI = w.code(t, "0f05"), abi.SYS_SIGALTSTACK, stub.Control+uint64(w.stackArg())
		},
		"the boot code": func(w *world, r *x86.Regs) { r.RIP = stub.Boot },
		"a call from the boot code": func(w *world, r *x86.Regs) {
			r.RIP, r.RAX = stub.Boot+uint64(bytes.Index(w.image(t)[2*stub.PageSize:], []byte{0x0f, 0x05})), 57
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := hostileWorld(t, getpidLoop)
			th, space, r := w.start(t)
			runs(t, th, r)
			hostile(w, r)
			if ev := runs(t, th, r); ev.Kind != Died {
				t.Errorf("%+v at %#x, want its death", ev, r.RIP)
			}
			if s := w.pool.Stats(); s.Killed != 1 || th.Stub().Verdict() == "" {
				t.Errorf("counters: %+v, verdict %q", s, th.Stub().Verdict())
			}
			bury(t, th, space)
			w.survives(t)
		})
	}
}

// image is the stub's ELF file: the code begins at page 1, and the boot code at page 2.
func (w *world) image(t testing.TB) []byte {
	image, _, err := stub.Image()
	if err != nil {
		t.Fatal(err)
	}
	return image
}

// code finds the first place in the stub's code with these bytes (in hexadecimal), and returns its address there.
func (w *world) code(t testing.TB, hex string) uint64 {
	var want []byte
	fmt.Sscanf(hex, "%x", &want)
	at := bytes.Index(w.image(t)[stub.PageSize:], want)
	if at < 0 {
		t.Fatalf("no %s in the stub", hex)
	}
	return stub.Code + uint64(at)
}

// stackArg is the offset of Slot.Stack.
func (w *world) stackArg() int {
	slot := w.pool.slot(0, 0)
	slot.Stack.Size = 0x1234567
	defer func() { slot.Stack.Size = 0 }()
	return bytes.Index(slotBytes(slot)[:], []byte{0x67, 0x45, 0x23, 1}) - 16
}

// TestOtherWaysIn are calls that come in by another way than a syscall of the guest's, or from an odd place: each is the guest's
// own trouble, and no death.
func TestOtherWaysIn(t *testing.T) {
	const edge = stub.Start - stub.PageSize
	for name, c := range map[string]struct {
		code []byte
		regs func(*x86.Regs)
		want func(Event, *x86.Regs) bool
	}{
		"int 0x80": {[]byte{0xcd, 0x80}, func(r *x86.Regs) { r.RAX = 1 },
			func(ev Event, r *x86.Regs) bool { return ev.Kind == Exception && ev.Sig == abi.SIGSEGV }},
		"int 0x80 in compatibility mode": {[]byte{0x68, 0x23, 0, 0, 0, 0x68, 12, 0, 0x40, 0, 0x48, 0xcb, 0xcd, 0x80}, // push $0x23; push $codeAddr+12; lretq
			func(r *x86.Regs) { r.RAX = 1 },
			func(ev Event, r *x86.Regs) bool { return ev.Kind == Exception && ev.Sig == abi.SIGSEGV }},
		"sysenter": {[]byte{0x0f, 0x34}, func(r *x86.Regs) {},
			func(ev Event, r *x86.Regs) bool {
				return ev.Kind == Exception && (ev.Sig == abi.SIGSEGV || ev.Sig == abi.SIGILL)
			}},
		"x32": {[]byte{0x0f, 0x05}, func(r *x86.Regs) { r.RAX = 0x40000027 },
			func(ev Event, r *x86.Regs) bool { return ev.Kind == Syscall && r.RAX == 0x40000027 }},
		"vsyscall": {nil, func(r *x86.Regs) { r.RIP = vsyscallPage },
			func(ev Event, r *x86.Regs) bool {
				return (ev.Kind == Exception || ev.Kind == Fault) && ev.Sig == abi.SIGSEGV
			}},
		"last bytes below the stub": {nil, func(r *x86.Regs) { r.RIP = stub.Start - 2; r.RAX = 39 },
			func(ev Event, r *x86.Regs) bool { return ev.Kind == Syscall && r.RIP == stub.Start }},
		"high halves": {[]byte{0x0f, 0x05}, func(r *x86.Regs) { r.RAX = 1<<32 | 39 },
			func(ev Event, r *x86.Regs) bool { return ev.Kind == Syscall && r.RAX == 1<<32|39 }},
	} {
		t.Run(name, func(t *testing.T) {
			w := hostileWorld(t, c.code)
			copy(w.mem[6*stub.PageSize-2:], []byte{0x0f, 0x05})
			th, space, r := w.start(t)
			space.add(stub.Op{Kind: stub.OpMap, Prot: abi.PROT_READ | abi.PROT_EXEC, Addr: edge, Len: stub.PageSize, Off: 5 * stub.PageSize})
			c.regs(r)
			if ev := runs(t, th, r); !c.want(ev, r) {
				t.Errorf("%+v rax %#x rip %#x", ev, r.RAX, r.RIP)
			}
			if s := w.pool.Stats(); s.Killed+s.Denied != 0 {
				t.Errorf("counters: %+v", s)
			}
			bury(t, th, space)
			w.survives(t)
		})
	}
}

// TestNestedTask keeps the flag NT set across system calls, which makes an iretq fault that runs under it.
func TestNestedTask(t *testing.T) {
	// pushfq; orl $0x4000,(%rsp); popfq; mov $39,%eax; syscall; jmp back
	w := newWorld(t, []byte{0x9c, 0x81, 0x0c, 0x24, 0, 0x40, 0, 0, 0x9d, 0xb8, 39, 0, 0, 0, 0x0f, 0x05, 0xeb, 0xee})
	th, space, r := w.start(t)
	for range 3 {
		if ev := runs(t, th, r); ev.Kind != Syscall || r.EFlags&0x4000 == 0 {
			t.Fatalf("%+v flags %#x", ev, r.EFlags)
		}
	}
	bury(t, th, space)
}

// TestQueuedCallAnsweredDifferently has a batch's second operation changed in the slot after the first, as another thread of a
// hijacked stub can at any time: none but the very call that was asked for is made.
func TestQueuedCallAnsweredDifferently(t *testing.T) {
	asked := stub.Op{Kind: stub.OpMap, Prot: abi.PROT_READ, Addr: 0x700000, Len: stub.PageSize, Off: 4 * stub.PageSize}
	unmap := stub.Op{Kind: stub.OpUnmap, Addr: dataAddr, Len: stub.PageSize}
	for name, c := range map[string]struct {
		asked  stub.Op
		change func(*stub.Op)
	}{
		"another address":       {asked, func(op *stub.Op) { op.Addr += stub.PageSize }},
		"96 MiB":                {asked, func(op *stub.Op) { op.Len = 96 << 20 }},
		"another frame":         {asked, func(op *stub.Op) { op.Off = 0 }},
		"writable":              {asked, func(op *stub.Op) { op.Prot |= abi.PROT_WRITE }},
		"executable":            {asked, func(op *stub.Op) { op.Prot |= abi.PROT_EXEC }},
		"munmap instead":        {asked, func(op *stub.Op) { op.Kind = stub.OpUnmap }},
		"clone instead":         {asked, func(op *stub.Op) { op.Kind = stub.OpClone }},
		"nothing that is known": {asked, func(op *stub.Op) { op.Kind = 77 }},
		"dummy munmap":          {unmap, func(op *stub.Op) { op.Addr += stub.PageSize }},
		"longer munmap":         {unmap, func(op *stub.Op) { op.Len *= 2 }},
		"munmap of the stub":    {unmap, func(op *stub.Op) { op.Addr = stub.Code }},
		"mmap instead":          {unmap, func(op *stub.Op) { op.Kind = stub.OpMap }},
		"bits that wrap":        {unmap, func(op *stub.Op) { op.Len = -op.Len }},
	} {
		t.Run(name, func(t *testing.T) {
			w := hostileWorld(t, getpidLoop)
			th, space, r := w.start(t)
			runs(t, th, r)
			before := space.proven
			space.add(stub.Op{Kind: stub.OpMap, Prot: abi.PROT_READ, Addr: 0x600000, Len: stub.PageSize, Off: 3 * stub.PageSize})
			space.add(c.asked)
			space.allows = func(op *stub.Op) bool {
				if op.Addr == 0x600000 {
					c.change(&th.slot.Ops[1])
				}
				return true
			}
			if ev := runs(t, th, r); ev.Kind != Died {
				t.Errorf("%+v, want its death", ev)
			}
			if space.proven != before {
				t.Error("the batch counts as proven")
			}
			if s := w.pool.Stats(); s.Killed != 1 {
				t.Errorf("counters: %+v", s)
			}
			bury(t, th, space)
			w.survives(t)
		})
	}
}

// forgedReport sets r up to report sig from the guest's own hand, with the stub's code reading its operations from slot.
func (w *world) forgedReport(r *x86.Regs, sig, slot uint64) {
	r.RIP = w.pool.sites.Report - 2
	r.RAX, r.RDI, r.RSI, r.R12, r.RBX = 110, sig, stub.Control+8192, slot, stub.Control+8192
}

// TestOperationsFromElsewhere reports by hand, so that the stub takes the operations of the answer from memory of the guest's
// choice, or from nowhere: the queued call is never made, and the frames it would have unmapped are never given up.
func TestOperationsFromElsewhere(t *testing.T) {
	for name, slot := range map[string]uint64{"other operations": dataAddr, "unmapped": 0x12340000} {
		t.Run(name, func(t *testing.T) {
			w := hostileWorld(t, getpidLoop)
			th, space, r := w.start(t)
			runs(t, th, r)
			w.forgedReport(r, abi.SIGFPE, slot)
			if ev := runs(t, th, r); ev.Kind != Exception {
				t.Fatalf("%+v", ev)
			}
			before := space.proven
			space.add(stub.Op{Kind: stub.OpUnmap, Addr: 0x600000, Len: stub.PageSize})
			if ev := runs(t, th, r); ev.Kind != Died {
				t.Errorf("%+v, want its death", ev)
			}
			if space.proven != before {
				t.Error("an munmap that was never made counts as proven")
			}
			bury(t, th, space)
			w.survives(t)
		})
	}
}

// TestForgedFailure writes Failed without reason: the batch that the thread performed on its way to user mode did not fail, or the
// thread would not have got there.
func TestForgedFailure(t *testing.T) {
	// mov %eax,(%rdi); mov $39,%eax; syscall
	w := hostileWorld(t, []byte{0x89, 0x07, 0xb8, 39, 0, 0, 0, 0x0f, 0x05})
	th, space, r := w.start(t)
	r.RAX, r.RDI = ^uint64(11), stub.Control+28
	if ev := runs(t, th, r); ev.Kind != Died {
		t.Errorf("%+v, want its death", ev)
	}
	bury(t, th, space)
	w.survives(t)
}

// loopInTheStub writes a ucontext into the data page whose instruction pointer is the stub's own code for resuming, and sets r up
// to resume it: an alarm that lands there is noted for later, and later comes when next gives the ucontext another address.
func (w *world) loopInTheStub(t testing.TB, r *x86.Regs) (next func(rip uint64), restore uint64) {
	restore = w.code(t, "4c8b83e0000000") // mov 0xe0(%rbx),%r8
	data := w.mem[stub.PageSize : 2*stub.PageSize]
	put := func(at int, v uint64) { binary.LittleEndian.PutUint64(data[at:], v) }
	const uc, fp, sp = dataAddr, dataAddr + 1024, dataAddr + 768
	put(stub.UcFPState, fp)
	put(stub.UcRegs+11*8, uc) // RBX
	put(stub.UcRegs+15*8, sp)
	put(stub.UcRegs+16*8, restore)
	put(stub.UcRegs+17*8, 0x202)
	image := make([]byte, x86.XStateSize())
	x86.InitXState(image)
	copy(data[1024:], image)
	r.RIP, r.RBX, r.RSP = restore, uc, sp
	return func(rip uint64) { put(stub.UcRegs+16*8, rip) }, restore
}

// TestLoopInTheStub burns CPU time where no alarm counts: that ends in death soon.
func TestLoopInTheStub(t *testing.T) {
	w := hostileWorld(t, getpidLoop)
	th, space, r := w.start(t)
	runs(t, th, r)
	w.loopInTheStub(t, r)
	if ev := runs(t, th, r); ev.Kind != Died {
		t.Errorf("%+v, want its death", ev)
	}
	if s := w.pool.Stats(); s.Watchdog != 1 {
		t.Errorf("counters: %+v", s)
	}
	bury(t, th, space)
	w.survives(t)
}

// TestLoopThatLooksAlive does the same, but comes back now and then, before the watchdog bites.
func TestLoopThatLooksAlive(t *testing.T) {
	if testing.Short() {
		t.Skip("seconds")
	}
	w := hostileWorld(t, getpidLoop)
	th, space, r := w.start(t)
	runs(t, th, r)
	died := false
	for range 30 {
		next, restore := w.loopInTheStub(t, r)
		back := time.AfterFunc(2*watchdogPeriod+watchdogLimit/2, func() { next(codeAddr) })
		for runs(t, th, r).Kind == Preempt {
		}
		back.Stop()
		if died = th.Stub().dead.Load(); died {
			break
		}
		next(restore)
	}
	if !died {
		t.Error("it lives on by coming back now and then")
	}
	bury(t, th, space)
	w.survives(t)
}

// TestHostileStackPointer kicks a thread whose stack pointer stands in its own signal stack, where the host puts the next frame.
func TestHostileStackPointer(t *testing.T) {
	for _, sp := range []uint64{0, 64, stub.StackOffset - 8, stub.StackOffset + 8, 8192, 12288, stub.SlotSize - 64, stub.SlotSize, 2 * stub.SlotSize} {
		t.Run(fmt.Sprint(sp), func(t *testing.T) {
			w := hostileWorld(t, []byte{0xeb, 0xfe})
			th, space, r := w.start(t)
			r.RSP = stub.Control + sp
			for range 4 {
				go th.Kick()
				if ev := runs(t, th, r); ev.Kind != Preempt {
					if ev.Kind != Died {
						t.Errorf("%+v", ev)
					}
					break
				}
			}
			bury(t, th, space)
			w.survives(t)
		})
	}
}

// TestScribbling has one thread write over the whole slot of another, which makes system calls and operations meanwhile.
func TestScribbling(t *testing.T) {
	for _, value := range []uint64{0, ^uint64(0), stub.Control + 8192, 0x4141414141414141, 1} {
		t.Run(fmt.Sprintf("%#x", value), func(t *testing.T) {
			// At 64: 1: mov %r8,%rdi; mov %r9,%rcx; rep stosq; jmp 1b
			page := make([]byte, 64)
			copy(page, getpidLoop)
			w := hostileWorld(t, append(page, 0x4c, 0x89, 0xc7, 0x4c, 0x89, 0xc9, 0xf3, 0x48, 0xab, 0xeb, 0xf5))
			th, space, r := w.start(t)
			runs(t, th, r)
			scribbler, e := th.NewThread()
			if e != 0 {
				t.Fatal(e.Name())
			}
			done := make(chan struct{})
			go func() {
				defer close(done)
				sr := x86.InitRegs(codeAddr+64, dataAddr+2048)
				sr.RAX, sr.R8, sr.R9 = value, stub.Control, stub.SlotSize/8
				for scribbler.Run(&sr).Kind == Preempt {
				}
			}()
			within(t, "the victim", func() {
				for i := 0; i < 2000; i++ {
					if i%4 == 0 {
						space.add(stub.Op{Kind: stub.OpMap, Prot: abi.PROT_READ, Addr: 0x700000, Len: stub.PageSize, Off: 4 * stub.PageSize})
					}
					th.SetXState(th.XState())
					if ev := th.Run(r); ev.Kind == Died {
						break
					}
				}
			})
			th.Stub().condemn("test")
			within(t, "the scribbler", func() { <-done })
			bury(t, th, space)
			w.survives(t)
		})
	}
}

// TestSlotsBeyondItsThreads fills control memory that no thread of the stub uses.
func TestSlotsBeyondItsThreads(t *testing.T) {
	// rep stosb; jmp .
	w := hostileWorld(t, []byte{0xf3, 0xaa, 0xeb, 0xfe})
	if w.pool.hugePages {
		t.Skip("the host uses huge pages for memfds")
	}
	th, space, r := w.start(t)
	r.RAX, r.RDI, r.RCX = 0x41, stub.Control+stub.SlotSize, stub.SliceSize-stub.SlotSize
	var ev Event
	within(t, "the watchdog", func() {
		for ev = th.Run(r); ev.Kind == Preempt; ev = th.Run(r) {
		}
	})
	if s := w.pool.Stats(); ev.Kind != Died || s.Watchdog != 1 {
		t.Errorf("%+v, want its death; counters: %+v", ev, s)
	}
	slice := th.Stub().slice
	bury(t, th, space)
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(time.Millisecond) {
		at, err := unix.Seek(w.pool.controlFd, int64(slice)*stub.SliceSize, 3)
		if err == unix.ENXIO || at >= int64(slice+1)*stub.SliceSize {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("slice %d still has memory at %#x", slice, at)
		}
	}
	w.survives(t)
}

// TestFlushOfAHostileStub has the thread lie while its task is in Flush.
func TestFlushOfAHostileStub(t *testing.T) {
	w := hostileWorld(t, getpidLoop)
	th, space, r := w.start(t)
	runs(t, th, r)
	w.forgedReport(r, abi.SIGFPE, dataAddr)
	runs(t, th, r)
	space.add(stub.Op{Kind: stub.OpUnmap, Addr: 0x600000, Len: stub.PageSize})
	within(t, "Flush", func() {
		if th.Flush() {
			t.Error("Flush says that all is done")
		}
	})
	bury(t, th, space)
	w.survives(t)
}
