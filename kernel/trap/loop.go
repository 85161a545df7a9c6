// Package trap is the way out to user mode and back: the loop that every guest thread's goroutine runs.
//
// It owns nothing but the order of things: what stands between a task and user mode, the trap, and who handles it. A system
// call's way is loop.go, syscall.go, then package sys; a fault's is loop.go, fault.go, then mm.
//
// Invariants:
//   - Nothing here allocates, logs, or looks anything up by name on the way of a system call or of a fault that mm resolves.
//   - No lock is held across Run.
package trap

import (
	"sync/atomic"

	"goum/arch/abi"
	"goum/kernel/signal"
	"goum/kernel/sys"
	"goum/kernel/task"
	"goum/skas"
)

// Loop runs tasks.
type Loop struct {
	Table *sys.Table

	faults atomic.Uint64
	ticks  atomic.Uint64
	oom    oom
}

// Stats are counters since boot.
type Stats struct {
	Faults   uint64 // page faults of guests that reached the monitor
	Preempts uint64 // returns from user mode because of an alarm
	OOMKills uint64
}

// Stats returns the counters.
func (l *Loop) Stats() Stats {
	return Stats{Faults: l.faults.Load(), Preempts: l.ticks.Load(), OOMKills: l.oom.kills.Load()}
}

// Main is task.System.Main: it runs t until t has ended.
func (l *Loop) Main(t *task.Task) {
	for t.Leave() {
		if t.Thread.NeedResched() {
			t.Thread.Yield()
			continue
		}
		if !t.Regs.Resumable() {
			// The return itself would fault.
			info := signal.Kernel(abi.SIGSEGV)
			t.Force(&info)
			continue
		}
		if !t.Thread.EnterUser() {
			continue
		}
		ev := t.Stub.(seat).Run(&t.Regs)
		t.Thread.LeaveUser()
		switch ev.Kind {
		case skas.Syscall:
			l.syscall(t)
		case skas.Fault:
			l.fault(t, &ev)
		case skas.Preempt:
			l.ticks.Add(1)
		case skas.Exception:
			l.exception(t, &ev)
		case skas.Died:
			l.died(t)
		}
	}
}

// exception makes a signal of what the processor raised in the guest.
func (l *Loop) exception(t *task.Task, ev *skas.Event) {
	t.Call = -1
	info := signal.Fault(ev.Sig, ev.Code, ev.Addr)
	if ev.Code == abi.SI_KERNEL {
		info = signal.Kernel(ev.Sig)
	}
	t.Force(&info)
}

// died ends the process whose stub is gone: killed for a lie, or by somebody on the host. The guest goes on.
func (l *Loop) died(t *task.Task) {
	t.Call = -1
	kill(t)
}

func kill(t *task.Task) {
	info := signal.Kernel(abi.SIGKILL)
	t.Force(&info)
}
