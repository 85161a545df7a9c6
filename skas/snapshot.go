package skas

import (
	"goum/arch/abi"
	"goum/arch/x86"
	"goum/stub"
)

const (
	siginfoSize = 128
	siginfoUsed = 32 // signal, errno, code, and the address or what seccomp says
)

// take copies what a report says, once, and decides from the copy: the registers and, where they matter, the fault or the
// siginfo. What does not add up is a lie, and the stub dies of it.
func (t *Thread) take(n *notification, r *x86.Regs) Event {
	at, ok := t.frameOffset(n.Args[1])
	if !ok || n.Args[0] >= abi.NSIG {
		t.stub.condemn("a report that makes no sense")
		return Event{Kind: Died}
	}
	t.frame, t.fresh = at, false
	regsIn(t.slot, at, r)
	t.fs, t.gs = t.slot.FSBase, t.slot.GSBase
	r.FSBase, r.GSBase = t.fs, t.gs
	info := [siginfoUsed]byte(slotBytes(t.slot)[at+stub.UcSize:])
	sig := int(n.Args[0])
	switch {
	case sig == abi.SIGALRM:
		t.kicked.Store(false)
		return Event{Kind: Preempt}
	case r.RIP >= stub.Code && r.RIP < stub.Control+stub.SliceSize:
		t.stub.condemn("it runs the code of the stub")
		return Event{Kind: Died}
	case sig == abi.SIGSYS:
		const archX86_64 = 0xc000003e
		if uint32At(info[28:]) != archX86_64 || uint64At(info[16:]) >= vsyscallPage {
			// int 0x80, or the vsyscall page: a kernel without them sends this.
			return Event{Kind: Exception, Sig: abi.SIGSEGV, Code: abi.SI_KERNEL, Trap: x86.TrapGP}
		}
		return Event{Kind: Syscall}
	case r.TrapNo == x86.TrapPF && (sig == abi.SIGSEGV || sig == abi.SIGBUS):
		return Event{Kind: Fault, Sig: sig, Addr: r.CR2, Write: r.Err&x86.PFWrite != 0, Exec: r.Err&x86.PFInstr != 0, Trap: r.TrapNo, Err: r.Err}
	}
	return Event{Kind: Exception, Sig: sig, Code: int32(uint32At(info[8:])), Addr: uint64At(info[16:]), Trap: r.TrapNo, Err: r.Err}
}

// vsyscallPage and all above it is the host kernel's.
const vsyscallPage = 0xffffffffff600000

// frameOffset checks the address of a ucontext: in the thread's own signal stack, with the siginfo behind it.
func (t *Thread) frameOffset(addr uint64) (int, bool) {
	off := addr - t.base
	if off < stub.StackOffset || off > stub.SlotSize-stub.UcSize-siginfoSize || off%8 != 0 {
		return 0, false
	}
	return int(off), true
}

// putRegs writes r to the ucontext that the thread resumes from.
func (t *Thread) putRegs(r *x86.Regs) { regsOut(t.slot, t.frame, r) }

// freshSlack covers what aligning loses, and the words below the ucontext.
const freshSlack = 256

// freshFrame lays out a ucontext of our own at the end of the slot, and returns its offset.
func freshFrame(t *Thread) int {
	fp := freshXState()
	at := (fp - stub.UcSize - siginfoSize) &^ 15
	frame := slotBytes(t.slot)[at : at+stub.UcSize]
	clear(frame)
	putUint64(frame[stub.UcFPState:], t.base+uint64(fp))
	return at
}

// freshXState is the offset of the floating point image that belongs to it.
func freshXState() int { return (stub.SlotSize - 64 - x86.XStateSize()) &^ 63 }

// xstateArea finds the floating point image of the ucontext. Where the host made that, its address comes from the slot, and is read
// and checked each time.
func (t *Thread) xstateArea() ([]byte, bool) {
	slot := slotBytes(t.slot)
	size := uint64(x86.XStateSize())
	off := uint64(freshXState())
	if !t.fresh {
		off = uint64At(slot[t.frame+stub.UcFPState:]) - t.base
	}
	if off < stub.StackOffset || off > stub.SlotSize-size || off%64 != 0 {
		return nil, false
	}
	return slot[off : off+size], true
}

// XState returns a copy of the guest's floating point state, in the standard format of XSAVE; it is valid until the next call.
// Only while the thread is parked.
func (t *Thread) XState() []byte {
	if area, ok := t.xstateArea(); ok {
		copy(t.xstate, area)
	} else {
		x86.InitXState(t.xstate)
		t.stub.condemn(noXState)
	}
	return t.xstate
}

// SetXState makes image the guest's floating point state. It must be one that the processor loads: see x86.RestoreXState.
func (t *Thread) SetXState(image []byte) {
	if area, ok := t.xstateArea(); ok {
		copy(area, image)
	} else {
		t.stub.condemn(noXState)
	}
}

const noXState = "its floating point state is not where it belongs"
