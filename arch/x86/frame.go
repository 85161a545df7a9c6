package x86

import (
	"encoding/binary"

	"goum/arch/abi"
)

// RedZone is how many bytes below its stack pointer a function may use; a frame on the same stack leaves them alone.
const RedZone = 128

// Layout of struct rt_sigframe.
const (
	offPretcode = 0
	offUCFlags  = 8
	offUCLink   = 16
	offUCStack  = 24 // sp, flags, size
	offMContext = 48
	offFPState  = offMContext + SigcontextSize
	offUCMask   = offMContext + 256
	offInfo     = offUCMask + 8

	// FrameSize is the size of a frame without its floating point state.
	FrameSize = offInfo + abi.SiginfoSize

	// ReturnSize is how many bytes of a frame rt_sigreturn reads, without the floating point state.
	ReturnSize = offInfo

	ucFPXState        = 1 // the floating point state is in XSAVE's format
	ucSigcontextSS    = 2 // sigcontext has ss
	ucStrictRestoreSS = 4 // and it is restored

	frameAlign = 16
	fpAlign    = 64
)

// MinSigStack is the value of AT_MINSIGSTKSZ: the largest frame, its alignment included.
func MinSigStack() uint64 {
	n := FrameSize + frameAlign - 1 + XFrameSize() + fpAlign - 1
	return uint64(n+frameAlign-1) &^ (frameAlign - 1)
}

// MaxFrame is the size of a buffer that holds any frame with its floating point state: end minus frame of FrameLayout.
func MaxFrame() int { return int(MinSigStack()) }

// FrameLayout says where a frame lies whose stack ends at sp: the stack pointer less RedZone, or the end of the alternate
// stack. The frame begins at frame, which is also the handler's stack pointer; its floating point state at fp; both end at end.
//
// Nothing is checked: for an sp too low the addresses wrap round, and writing there fails. The caller sees to it that a
// frame on the alternate stack begins there (Linux: SIGSEGV).
func FrameLayout(sp uint64, xstateSize int) (frame, fp, end uint64) {
	size := uint64(xstateSize) + magic2Size
	fp = (sp - size) &^ (fpAlign - 1)
	frame = (fp-FrameSize)&^(frameAlign-1) - 8
	return frame, fp, fp + size
}

// Frame is what goes into a signal frame.
type Frame struct {
	Regs     *Regs
	XState   []byte       // an image, XStateSize bytes
	Info     *abi.Siginfo // nil: zeros, for a handler without SA_SIGINFO
	Stack    abi.StackT   // the alternate stack as it is before the handler runs
	Mask     abi.Sigset   // the mask that rt_sigreturn brings back
	Restorer uint64       // sa_restorer, where the handler returns to
}

// BuildFrame writes f into buf, as it lies from frame on: end minus frame bytes, all three from FrameLayout with XStateSize.
// It allocates nothing.
//
// What the handler itself starts with is up to EnterHandler and InitXState.
func BuildFrame(buf []byte, frame, fp, end uint64, f *Frame) {
	le := binary.LittleEndian
	buf = buf[:end-frame]
	clear(buf[:fp-frame])
	le.PutUint64(buf[offPretcode:], f.Restorer)
	le.PutUint64(buf[offUCFlags:], ucFPXState|ucSigcontextSS|ucStrictRestoreSS)
	le.PutUint64(buf[offUCStack:], f.Stack.SP)
	le.PutUint32(buf[offUCStack+8:], uint32(f.Stack.Flags))
	le.PutUint64(buf[offUCStack+16:], f.Stack.Size)
	f.Regs.put(buf[offMContext:])
	le.PutUint64(buf[offMContext+18*8:], segments) // with fs and gs zero, as Linux has it
	le.PutUint64(buf[offMContext+21*8:], uint64(f.Mask))
	le.PutUint64(buf[offFPState:], fp)
	le.PutUint64(buf[offUCMask:], uint64(f.Mask))
	if f.Info != nil {
		f.Info.PutBytes(buf[offInfo:])
	}
	putXState(buf[fp-frame:], f.XState)
}

// EnterHandler makes r the registers at the first instruction of a handler whose frame is at frame.
func (r *Regs) EnterHandler(frame uint64, sig int, handler uint64) {
	r.RDI = uint64(sig)
	r.RAX = 0 // handlers declared without a prototype: no vector registers in use
	r.RSI = frame + offInfo
	r.RDX = frame + offPretcode + offUCFlags
	r.RIP = handler
	r.RSP = frame
	r.EFlags &^= FlagDF | FlagRF | FlagTF
	r.CSGSFS = segments
}

// Restored is what rt_sigreturn brings back from a frame.
type Restored struct {
	Mask   abi.Sigset // without SIGKILL and SIGSTOP
	Stack  abi.StackT // to be set as sigaltstack does, and ignored where that fails
	FPAddr uint64     // of the floating point state, for RestoreXState; 0: as at a program's start
}

// FrameAt is the address of the frame that a thread returns from: the handler's RET has popped its first word.
func FrameAt(sp uint64) uint64 { return sp - 8 }

// ParseFrame sets r from the first ReturnSize bytes of a frame, as Linux's restore_sigcontext: of the flags, what user space
// may set; the segments are always those of a 64-bit program; the bases of FS and GS stay. r.RAX is then the thread's own: the
// call returns no other result. EFAULT: buf is too short; r is unchanged.
func ParseFrame(r *Regs, buf []byte) (Restored, abi.Errno) {
	if len(buf) < ReturnSize {
		return Restored{}, abi.EFAULT
	}
	le := binary.LittleEndian
	flags, trapNo, errCode, cr2, oldMask := r.EFlags, r.TrapNo, r.Err, r.CR2, r.OldMask
	r.set(buf[offMContext:])
	r.EFlags = SanitizeFlags(flags, r.EFlags)
	r.CSGSFS = segments
	r.TrapNo, r.Err, r.CR2, r.OldMask = trapNo, errCode, cr2, oldMask // Linux does not restore these
	return Restored{
		Mask: abi.Sigset(le.Uint64(buf[offUCMask:])) &^ abi.Unblockable,
		Stack: abi.StackT{
			SP:    le.Uint64(buf[offUCStack:]),
			Flags: int32(le.Uint32(buf[offUCStack+8:])),
			Size:  le.Uint64(buf[offUCStack+16:]),
		},
		FPAddr: le.Uint64(buf[offFPState:]),
	}, 0
}

// words lists the registers in the order of struct sigcontext.
func (r *Regs) words() [23]*uint64 {
	return [23]*uint64{
		&r.R8, &r.R9, &r.R10, &r.R11, &r.R12, &r.R13, &r.R14, &r.R15,
		&r.RDI, &r.RSI, &r.RBP, &r.RBX, &r.RDX, &r.RAX, &r.RCX, &r.RSP,
		&r.RIP, &r.EFlags, &r.CSGSFS, &r.Err, &r.TrapNo, &r.OldMask, &r.CR2,
	}
}

func (r *Regs) put(b []byte) {
	for i, w := range r.words() {
		binary.LittleEndian.PutUint64(b[i*8:], *w)
	}
}

func (r *Regs) set(b []byte) {
	for i, w := range r.words() {
		*w = binary.LittleEndian.Uint64(b[i*8:])
	}
}
