package task

import (
	"goum/arch/abi"
	"goum/mm"
)

// StubThread is a guest thread's seat in a stub process: skas.Thread, or a test's own.
type StubThread interface {
	// Besides, a Flush method, where there is one, has what fork took from the parent's mappings taken in its stub before the
	// child runs; only a parent with other threads needs it.

	// NewThread makes another thread in the same stub: EAGAIN when there are too many.
	NewThread() (StubThread, abi.Errno)
	// Park leaves the seat to whoever comes next.
	Park()
	// XState is the floating point state in XSAVE's format, a private copy; SetXState replaces it.
	XState() []byte
	SetXState(img []byte)
	// Kick is sched.Kicker.
	Kick()
}

// Stub is the host process that shows an address space: skas.Stub, or a test's own.
type Stub interface {
	First() StubThread
	Retire()
}

// StubPool hands out started stubs.
type StubPool interface {
	// New is an error only where the host has no more to give: EAGAIN for fork, ENOMEM for exec.
	New(space *mm.Space) (Stub, error)
}
