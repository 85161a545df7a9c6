// Package signal is what a signal is: sets, siginfo, default actions, the table of actions, queues of pending signals, and the
// interfaces through which the rest of the kernel sends one (Target) and does job control (Job, Group, Session, Terminal).
//
// To whom a signal goes and what it does there is decided in package task; this one knows no task.
//
// Invariants:
//   - A standard signal is at most once in a Queue, with the siginfo of the first; real-time ones queue up in order.
//   - An Entry is in at most one Queue.
//   - What a guest queues is counted for its user, until it is taken or flushed.
//
// Locks: a Queue has none of its own, its owner's lock.Signals guards it. Actions has a lock.Task, innermost of the two.
package signal

import "goum/arch/abi"

// Set is a set of signals: bit n-1 is signal n.
type Set = abi.Sigset

// Info is what is known of a signal.
type Info = abi.Siginfo

// All is every signal.
const All = ^Set(0)

// Bit is the set of just sig.
func Bit(sig int) Set { return abi.SigBit(sig) }

// Of is the set of sigs.
func Of(sigs ...int) (s Set) {
	for _, sig := range sigs {
		s |= abi.SigBit(sig)
	}
	return s
}

// Valid says whether sig is the number of a signal.
func Valid(sig int) bool { return sig >= 1 && sig < abi.NSIG }

// Sets of signals with something in common.
const (
	// Synchronous signals are consequences of the instruction that runs, and are delivered before any other.
	Synchronous = Set(1<<(abi.SIGSEGV-1) | 1<<(abi.SIGBUS-1) | 1<<(abi.SIGILL-1) | 1<<(abi.SIGTRAP-1) | 1<<(abi.SIGFPE-1) | 1<<(abi.SIGSYS-1))
	// Stops are those that stop a process by default, and that SIGCONT cancels.
	Stops = Set(1<<(abi.SIGSTOP-1) | 1<<(abi.SIGTSTP-1) | 1<<(abi.SIGTTIN-1) | 1<<(abi.SIGTTOU-1))
	// Unmaskable are SIGKILL and SIGSTOP.
	Unmaskable = abi.Unblockable

	ignored = Set(1<<(abi.SIGCONT-1) | 1<<(abi.SIGCHLD-1) | 1<<(abi.SIGWINCH-1) | 1<<(abi.SIGURG-1))
	dumps   = Synchronous | Set(1<<(abi.SIGQUIT-1)|1<<(abi.SIGABRT-1)|1<<(abi.SIGXCPU-1)|1<<(abi.SIGXFSZ-1))
)

// Disposition is what a signal does by default: signal(7).
type Disposition int

const (
	Term Disposition = iota
	Core
	Stop
	Ignore
)

// Default is what sig does where no action is set. SIGCONT continues whatever its action is, so that its default is Ignore.
func Default(sig int) Disposition {
	b := Bit(sig)
	switch {
	case ignored&b != 0:
		return Ignore
	case Stops&b != 0:
		return Stop
	case dumps&b != 0:
		return Core
	}
	return Term
}

// User is a signal by kill(2), with code SI_USER, or SI_TKILL of tkill(2).
func User(sig int, code int32, pid int32, uid uint32) Info {
	i := Info{Signo: int32(sig), Code: code}
	i.SetPID(pid)
	i.SetUID(uid)
	return i
}

// Kernel is a signal that the kernel sends of its own accord: SIGHUP at the end of a session, SIGINT of a terminal.
func Kernel(sig int) Info { return Info{Signo: int32(sig), Code: abi.SI_KERNEL} }

// Fault is what an instruction caused: code is one of SEGV_*, BUS_*, ILL_*, FPE_*, TRAP_*.
func Fault(sig int, code int32, addr uint64) Info {
	i := Info{Signo: int32(sig), Code: code}
	i.SetAddr(addr)
	return i
}

// Timer is what POSIX timer id sends; Overrun is filled at delivery by the Entry's OnTake.
func Timer(sig int, id int32, value uint64) Info {
	i := Info{Signo: int32(sig), Code: abi.SI_TIMER}
	i.SetTimerID(id)
	i.SetValue(value)
	return i
}

// Poll is SIGIO, or the signal of F_SETSIG, about descriptor fd: code is POLL_IN ..., band the events.
func Poll(sig int, code int32, band int64, fd int32) Info {
	i := Info{Signo: int32(sig), Code: code}
	i.SetBand(band)
	i.SetFD(fd)
	return i
}

// FromUser says whether a user sent it, so that permission has to be checked.
func FromUser(i *Info) bool { return i.Code <= 0 }
