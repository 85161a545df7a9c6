package abi

import "encoding/binary"

// Sigset is a set of signals as the kernel keeps it: bit n-1 is signal n.
type Sigset uint64

// SigsetSize is the only sigsetsize that the rt_sig calls accept (else EINVAL).
const SigsetSize = 8

// Unblockable is the set that no mask ever holds.
const Unblockable = Sigset(1<<(SIGKILL-1) | 1<<(SIGSTOP-1))

// SigBit is the set of just sig, which is 1 to NSIG-1; of any other number it is the empty set.
func SigBit(sig int) Sigset {
	if sig < 1 || sig >= NSIG {
		return 0
	}
	return 1 << (sig - 1)
}

// Has says whether sig is in the set.
func (s Sigset) Has(sig int) bool { return s&SigBit(sig) != 0 }

// Sigaction is the kernel's struct sigaction for x86-64 (not glibc's): rt_sigaction(2).
type Sigaction struct {
	Handler  uint64
	Flags    uint64
	Restorer uint64
	Mask     Sigset
}

// StackT is stack_t: sigaltstack(2).
type StackT struct {
	SP    uint64
	Flags int32
	_     int32
	Size  uint64
}

// SiginfoSize is the size of siginfo_t.
const SiginfoSize = 128

// Siginfo is siginfo_t. Which of the accessors means something follows from Signo and Code: sigaction(2).
type Siginfo struct {
	Signo  int32
	Errno  int32
	Code   int32
	_      int32
	Fields [SiginfoSize - 16]byte // Linux's _sifields, a union; the accessors know where each member lies
}

// Offsets in Fields.
const (
	fieldPID     = 0  // kill, rt, sigchld
	fieldUID     = 4  // kill, rt, sigchld
	fieldValue   = 8  // rt, timer
	fieldStatus  = 8  // sigchld
	fieldUtime   = 16 // sigchld
	fieldStime   = 24 // sigchld
	fieldTimer   = 0  // timer
	fieldOverrun = 4  // timer
	fieldSysPriv = 16 // timer
	fieldAddr    = 0  // fault
	fieldAddrLSB = 8  // fault, BUS_MCEERR_*
	fieldLower   = 16 // fault, SEGV_BNDERR
	fieldUpper   = 24 // fault, SEGV_BNDERR
	fieldPkey    = 16 // fault, SEGV_PKUERR
	fieldBand    = 0  // poll
	fieldFD      = 8  // poll
	fieldCall    = 0  // sigsys
	fieldSyscall = 8  // sigsys
	fieldArch    = 12 // sigsys
)

func (s *Siginfo) u32(at int) uint32      { return binary.LittleEndian.Uint32(s.Fields[at:]) }
func (s *Siginfo) u64(at int) uint64      { return binary.LittleEndian.Uint64(s.Fields[at:]) }
func (s *Siginfo) put32(at int, v uint32) { binary.LittleEndian.PutUint32(s.Fields[at:], v) }
func (s *Siginfo) put64(at int, v uint64) { binary.LittleEndian.PutUint64(s.Fields[at:], v) }

// PID and UID: who sent it (kill, sigqueue, SIGCHLD).
func (s *Siginfo) PID() int32      { return int32(s.u32(fieldPID)) }
func (s *Siginfo) SetPID(v int32)  { s.put32(fieldPID, uint32(v)) }
func (s *Siginfo) UID() uint32     { return s.u32(fieldUID) }
func (s *Siginfo) SetUID(v uint32) { s.put32(fieldUID, v) }

// Value is si_value, which sigqueue and timers carry; Int (si_int) is its lower half.
func (s *Siginfo) Value() uint64     { return s.u64(fieldValue) }
func (s *Siginfo) SetValue(v uint64) { s.put64(fieldValue, v) }

// Status, Utime and Stime belong to SIGCHLD: exit status or signal, and ticks of HZ.
func (s *Siginfo) Status() int32     { return int32(s.u32(fieldStatus)) }
func (s *Siginfo) SetStatus(v int32) { s.put32(fieldStatus, uint32(v)) }
func (s *Siginfo) Utime() int64      { return int64(s.u64(fieldUtime)) }
func (s *Siginfo) SetUtime(v int64)  { s.put64(fieldUtime, uint64(v)) }
func (s *Siginfo) Stime() int64      { return int64(s.u64(fieldStime)) }
func (s *Siginfo) SetStime(v int64)  { s.put64(fieldStime, uint64(v)) }

// TimerID and Overrun belong to SI_TIMER.
func (s *Siginfo) TimerID() int32     { return int32(s.u32(fieldTimer)) }
func (s *Siginfo) SetTimerID(v int32) { s.put32(fieldTimer, uint32(v)) }
func (s *Siginfo) Overrun() int32     { return int32(s.u32(fieldOverrun)) }
func (s *Siginfo) SetOverrun(v int32) { s.put32(fieldOverrun, uint32(v)) }

// Addr is the faulting address of SIGSEGV, SIGBUS, SIGILL, SIGFPE and SIGTRAP; for SIGSYS, of the instruction after the call.
func (s *Siginfo) Addr() uint64     { return s.u64(fieldAddr) }
func (s *Siginfo) SetAddr(v uint64) { s.put64(fieldAddr, v) }

// Band and FD belong to SIGIO.
func (s *Siginfo) Band() int64     { return int64(s.u64(fieldBand)) }
func (s *Siginfo) SetBand(v int64) { s.put64(fieldBand, uint64(v)) }
func (s *Siginfo) FD() int32       { return int32(s.u32(fieldFD)) }
func (s *Siginfo) SetFD(v int32)   { s.put32(fieldFD, uint32(v)) }

// SetSyscall fills what SIGSYS says: the address after the instruction, the number, and the audit architecture.
func (s *Siginfo) SetSyscall(addr uint64, nr int32, arch uint32) {
	s.put64(fieldCall, addr)
	s.put32(fieldSyscall, uint32(nr))
	s.put32(fieldArch, arch)
}

// Syscall and Arch belong to SIGSYS.
func (s *Siginfo) Syscall() int32 { return int32(s.u32(fieldSyscall)) }
func (s *Siginfo) Arch() uint32   { return s.u32(fieldArch) }

// SetBounds and SetPkey fill what SEGV_BNDERR and SEGV_PKUERR say besides the address.
func (s *Siginfo) SetBounds(lower, upper uint64) {
	s.put64(fieldLower, lower)
	s.put64(fieldUpper, upper)
}
func (s *Siginfo) SetPkey(key uint32) { s.put32(fieldPkey, key) }

// PutBytes writes s into the first SiginfoSize bytes of b as user space sees it.
func (s *Siginfo) PutBytes(b []byte) {
	_ = b[SiginfoSize-1]
	binary.LittleEndian.PutUint32(b[0:], uint32(s.Signo))
	binary.LittleEndian.PutUint32(b[4:], uint32(s.Errno))
	binary.LittleEndian.PutUint32(b[8:], uint32(s.Code))
	binary.LittleEndian.PutUint32(b[12:], 0)
	copy(b[16:SiginfoSize], s.Fields[:])
}

// SetBytes reads s from the first SiginfoSize bytes of b.
func (s *Siginfo) SetBytes(b []byte) {
	_ = b[SiginfoSize-1]
	s.Signo = int32(binary.LittleEndian.Uint32(b[0:]))
	s.Errno = int32(binary.LittleEndian.Uint32(b[4:]))
	s.Code = int32(binary.LittleEndian.Uint32(b[8:]))
	copy(s.Fields[:], b[16:SiginfoSize])
}

// How a timer or queue tells of an event, in sigev_notify.
const (
	SIGEV_SIGNAL    = 0
	SIGEV_NONE      = 1
	SIGEV_THREAD    = 2
	SIGEV_THREAD_ID = 4
)

// Sigevent is struct sigevent: timer_create(2), mq_notify(2).
type Sigevent struct {
	Value  uint64
	Signo  int32
	Notify int32
	TID    int32 // with SIGEV_THREAD_ID
	_      [11]int32
}

// SignalfdSiginfo is struct signalfd_siginfo: signalfd(2).
type SignalfdSiginfo struct {
	Signo    uint32
	Errno    int32
	Code     int32
	PID      uint32
	UID      uint32
	FD       int32
	TID      uint32
	Band     uint32
	Overrun  uint32
	TrapNo   uint32
	Status   int32
	Int      int32
	Ptr      uint64
	Utime    uint64
	Stime    uint64
	Addr     uint64
	AddrLSB  uint16
	_        uint16
	Syscall  int32
	CallAddr uint64
	Arch     uint32
	_        [28]byte
}
