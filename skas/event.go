package skas

// EventKind says why a thread came back.
type EventKind int

const (
	Preempt   EventKind = iota // an alarm, or a kick that was earlier
	Syscall                    // a system call: number and arguments are in the registers
	Fault                      // a page fault: Addr and Write, Exec
	Exception                  // another exception: Sig and Code, as the host's siginfo has them
	Died                       // the stub is dead: the host process was killed, or lied and was killed for it
)

// Event is what a thread came back with.
type Event struct {
	Kind  EventKind
	Sig   int
	Code  int32
	Addr  uint64
	Write bool
	Exec  bool
	Trap  uint64 // the processor's trap number and error code
	Err   uint64
}
