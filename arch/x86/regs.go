// Package x86 is what goum knows of the processor: the registers of a guest thread, the signal frames that Linux lays on a
// user's stack, the image of the floating point state, and what CPUID says.
//
// It holds no state but what CPUID said, which never changes. Every byte that a frame or an image is read from comes
// from a guest: what Linux refuses is refused here, and what would fault when it is loaded never gets out of here.
//
// Layouts follow arch/x86/include/uapi/asm/{sigcontext,ucontext,ptrace}.h of Linux 6.18.
package x86

import "goum/arch/abi"

// Segment selectors of a 64-bit program, the only ones that goum ever loads.
const (
	UserCS = 0x33
	UserSS = 0x2b
)

// Bits of the flags register.
const (
	FlagCF     = 1 << 0
	FlagFixed  = 1 << 1 // always set
	FlagPF     = 1 << 2
	FlagAF     = 1 << 4
	FlagZF     = 1 << 6
	FlagSF     = 1 << 7
	FlagTF     = 1 << 8
	FlagIF     = 1 << 9 // always set in user mode
	FlagDF     = 1 << 10
	FlagOF     = 1 << 11
	FlagNT     = 1 << 14
	FlagRF     = 1 << 16
	FlagAC     = 1 << 18
	FlagID     = 1 << 21
	sigretMask = FlagAC | FlagOF | FlagDF | FlagTF | FlagSF | FlagZF | FlagAF | FlagPF | FlagCF | FlagRF // FIX_EFLAGS
	ptraceMask = FlagCF | FlagPF | FlagAF | FlagZF | FlagSF | FlagTF | FlagDF | FlagOF | FlagRF | FlagAC | FlagNT
)

// Traps, as TrapNo counts them.
const (
	TrapDE = 0  // division
	TrapDB = 1  // debug
	TrapBP = 3  // breakpoint
	TrapOF = 4  // overflow
	TrapBR = 5  // bound
	TrapUD = 6  // invalid opcode
	TrapSS = 12 // stack segment
	TrapGP = 13 // general protection
	TrapPF = 14 // page fault
	TrapMF = 16 // x87
	TrapAC = 17 // alignment
	TrapXF = 19 // SIMD
)

// Bits of Err after a page fault.
const (
	PFProt  = 1 << 0 // the page is there, and forbids it
	PFWrite = 1 << 1
	PFUser  = 1 << 2
	PFInstr = 1 << 4
)

// UserLimit is one more than the highest address of user space with four levels of page table (TASK_SIZE_MAX).
const UserLimit = 1<<47 - 4096

// Regs are the registers of a thread. Up to CR2 they are struct sigcontext of Linux (without its fpstate pointer), so that
// they can be copied to and from a signal frame in one piece; the bases of FS and GS follow.
type Regs struct {
	R8, R9, R10, R11, R12, R13, R14, R15   uint64
	RDI, RSI, RBP, RBX, RDX, RAX, RCX, RSP uint64
	RIP                                    uint64
	EFlags                                 uint64
	CSGSFS                                 uint64 // cs, gs, fs, ss from the lowest 16 bits up
	Err                                    uint64
	TrapNo                                 uint64
	OldMask                                uint64
	CR2                                    uint64
	FSBase, GSBase                         uint64
}

// segments is CSGSFS for a 64-bit program.
const segments = UserCS | UserSS<<48

// SigcontextSize is how much of Regs is struct sigcontext.
const SigcontextSize = 23 * 8

// Call is the number of the system call that the thread asks for. Linux looks at the lower half of RAX only.
func (r *Regs) Call() uint64 { return uint64(uint32(r.RAX)) }

// Args are the arguments of a system call.
func (r *Regs) Args() [6]uint64 {
	return [6]uint64{r.RDI, r.RSI, r.RDX, r.R10, r.R8, r.R9}
}

// SetResult puts what a system call returns where the program looks for it: the result, or an error number negated.
func (r *Regs) SetResult(result uint64, e abi.Errno) {
	if e != 0 {
		result = -uint64(e)
	}
	r.RAX = result
}

// Restart makes the thread ask again for the call nr at which it stands behind the two bytes of its instruction.
func (r *Regs) Restart(nr uint64) {
	r.RAX = nr
	r.RIP -= 2
}

// ForceUser makes the segments those of a 64-bit program, and sets and clears what user mode cannot change in the flags.
func (r *Regs) ForceUser() {
	r.CSGSFS = segments
	r.EFlags = r.EFlags&(sigretMask|FlagNT|FlagID) | FlagFixed | FlagIF
}

// SanitizeFlags is the flags register after rt_sigreturn restores want in a thread that has the flags cur: Linux's FIX_EFLAGS.
func SanitizeFlags(cur, want uint64) uint64 {
	return cur&^sigretMask | want&sigretMask | FlagFixed | FlagIF
}

// Resumable says whether RIP is canonical. Where it is not, the very return to the program faults: Linux sends SIGSEGV, with
// SI_KERNEL and no address. Any other address that is not there is an ordinary fault of the program.
func (r *Regs) Resumable() bool { return int64(r.RIP<<16)>>16 == int64(r.RIP) }

// InitRegs are the registers of a program that execve starts: all zero but where it runs and its stack.
func InitRegs(entry, sp uint64) Regs {
	return Regs{RIP: entry, RSP: sp, EFlags: FlagFixed | FlagIF, CSGSFS: segments}
}

// UserRegs is struct user_regs_struct: PTRACE_GETREGS, NT_PRSTATUS.
type UserRegs struct {
	R15, R14, R13, R12, RBP, RBX, R11, R10, R9, R8 uint64
	RAX, RCX, RDX, RSI, RDI, OrigRAX               uint64
	RIP, CS, EFlags, RSP, SS                       uint64
	FSBase, GSBase, DS, ES, FS, GS                 uint64
}

// User gives r as ptrace(2) shows it. origRAX is the number of the call the thread is in, or -1.
func (r *Regs) User(origRAX uint64) UserRegs {
	return UserRegs{
		R15: r.R15, R14: r.R14, R13: r.R13, R12: r.R12, RBP: r.RBP, RBX: r.RBX, R11: r.R11, R10: r.R10, R9: r.R9, R8: r.R8,
		RAX: r.RAX, RCX: r.RCX, RDX: r.RDX, RSI: r.RSI, RDI: r.RDI, OrigRAX: origRAX,
		RIP: r.RIP, CS: UserCS, EFlags: r.EFlags, RSP: r.RSP, SS: UserSS,
		FSBase: r.FSBase, GSBase: r.GSBase,
	}
}

// SetUser sets r as ptrace(2) does with PTRACE_SETREGS, and returns the new OrigRAX. The flags that user mode cannot change
// stay; the segments stay those of a 64-bit program. EIO: a selector that is not user space's, or a base beyond user space;
// r is then unchanged.
func (r *Regs) SetUser(u *UserRegs) (origRAX uint64, e abi.Errno) {
	for _, sel := range [...]uint64{u.DS, u.ES, u.FS, u.GS} {
		if sel&0xffff != 0 && sel&3 != 3 {
			return 0, abi.EIO
		}
	}
	if u.CS&3 != 3 || u.SS&3 != 3 || u.FSBase >= UserLimit || u.GSBase >= UserLimit {
		return 0, abi.EIO
	}
	r.R15, r.R14, r.R13, r.R12, r.RBP, r.RBX = u.R15, u.R14, u.R13, u.R12, u.RBP, u.RBX
	r.R11, r.R10, r.R9, r.R8 = u.R11, u.R10, u.R9, u.R8
	r.RAX, r.RCX, r.RDX, r.RSI, r.RDI = u.RAX, u.RCX, u.RDX, u.RSI, u.RDI
	r.RIP, r.RSP, r.FSBase, r.GSBase = u.RIP, u.RSP, u.FSBase, u.GSBase
	r.EFlags = r.EFlags&^ptraceMask | u.EFlags&ptraceMask | FlagFixed | FlagIF
	r.CSGSFS = segments
	return u.OrigRAX, 0
}
