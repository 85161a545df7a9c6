package task

import (
	"goum/arch/abi"
	"goum/kernel/fs/vfs"
	"goum/kernel/futex"
	"goum/kernel/signal"
	"goum/mm"
	"goum/physmem"
	"goum/sched"
	"goum/sched/clock"
)

// System is what a machine has once. boot fills it before the first task; it has no methods, so that nothing moves in.
type System struct {
	Sched  *sched.Scheduler
	Clock  *clock.Clock
	Memory *physmem.Memory
	Stubs  StubPool
	VFS    *vfs.System
	Futex  *futex.Table
	Tree   *Tree    // NewTree
	VDSO   mm.Pager // page 0: the time page, page 1: vdso.Image; nil: none

	// Random is the machine's one source: addresses, AT_RANDOM. nil: all zero, for tests.
	Random interface{ Fill(b []byte) }

	// Main is the trap loop: it runs a task until Task.Leave says that it has ended.
	Main func(*Task)

	NoASLR  bool // addresses are not random
	HasRseq bool // rseq(2) is there: programs learn it from their auxiliary vector

	// PowerOff is told, when the first process has ended, its wait status. It is called once, with no lock held.
	PowerOff func(status int32)

	// Exited is told of each process that has become a zombie or is gone, with no lock held: pidfd. May be nil.
	Exited func(*Process)

	// PidFD reserves the descriptor that CLONE_PIDFD asks for; install makes it usable once the child is there, release
	// gives it back. nil: EINVAL.
	PidFD func(t *Task, child *Task) (fd int32, install, release func(), e abi.Errno)

	// WaitFD is the process that descriptor fd of t stands for, and whether it is non-blocking: waitid(P_PIDFD). nil: EINVAL.
	WaitFD func(t *Task, fd int32) (p *Process, nonblock bool, e abi.Errno)

	// Dump writes a core file for t, which info kills, and says whether it did; called with no lock held. nil: there are none.
	Dump func(t *Task, info *signal.Info) bool

	// Events is package event's, and Calls package sys's: what they keep for a machine. They stand above task, which looks at
	// neither; see event.Of and sys.Attach.
	Events, Calls any

	// Log is one line for the guest's kernel log. May be nil.
	Log func(line string)
}
