// Package task is the guest's tasks: threads, processes, process groups and sessions; how they are born, run other programs,
// get signals, stop, die and are waited for.
//
// It owns Task (a thread), Process (a thread group), Group, Session, Memory (an address space with its stub) and the Tree of all
// of them. System is what a machine has once. Files, memory, signals' queues and credentials are other packages' parts: a
// Task holds pointers to them. What a task does in user mode, and which system calls there are, is for trap and sys to know.
//
// Invariants:
//   - A Process lives while it has threads, or is a zombie that nobody has waited for. Its number lives as long as a task,
//     group or session has it.
//   - A living process but the first has a parent that lives.
//   - Process.threads holds exactly the threads that have not begun to end; it changes under Tree and Signals, so that
//     holding either is enough to read it.
//   - A thread whose pending signals are not all blocked was interrupted after the last of them came.
//
// Locks: Tree.mu (lock.Tree) outside Process.sig.mu (lock.Signals) outside Task.mu (lock.Task). Two processes' Signals are never
// held at once. None is held while a task sleeps, or copies from or to guest memory.
package task

import (
	"sync/atomic"

	"goum/arch/abi"
	"goum/arch/lock"
	"goum/arch/x86"
	"goum/kernel/cred"
	"goum/kernel/fd"
	"goum/kernel/fs/vfs"
	"goum/mm"
	"goum/sched"
	"goum/sched/clock"
)

// Bits of Task.Work: why the task must look around before it goes to user mode, besides an interruption by signals.
const (
	WorkExit        uint32 = 1 << iota // Exit was called: the task ends
	WorkRestart                        // the last call ended with an ERESTART errno
	WorkRestoreMask                    // sigsuspend and its like: the mask from before comes back, behind the handler if there is one
	WorkStop                           // the process stops or continues
	WorkNotify                         // something is to be run before user mode is entered: Task.OnReturn
	WorkTrace                          // somebody watches system calls: the entry path has to ask
)

// Task is a guest thread.
type Task struct {
	// Immutable once it runs.
	System  *System
	Process *Process
	Thread  *sched.Thread
	Start   clock.Time // on the monotonic clock

	// TID is written by exec of the task itself only, under Tree, where it takes over its leader's; others read it by ID.
	TID int32

	// Only the task's own goroutine.
	Regs    x86.Regs
	Call    int64      // the number of the call that it is in, or -1: Linux's orig_rax
	Stub    StubThread // nil once it has ended
	caller  vfs.Caller // its Cred, Limits and User mirror the parts below
	restart abi.Errno  // with WorkRestart: how
	block   func(*Task) (uint64, abi.Errno)
	robust  uint64 // address of the list head: set_robust_list(2)
	clearAt uint64 // clear_child_tid: set_tid_address(2)
	vforked *vfork // what this child's parent waits for
	frame   []byte // where signal frames are built, MaxFrame bytes once needed
	image   []byte // floating point state on its way back from one
	onBack  []func(*Task)
	exited  bool // all of exit has been done
	code    int32

	// Work is read before each entry to user mode, and for WorkTrace after each trap; anybody may set bits.
	Work atomic.Uint32

	// Flags that others may read and set.
	cred     atomic.Pointer[cred.Cred]
	deathSig atomic.Int32 // PR_SET_PDEATHSIG
	minFlt   atomic.Int64
	majFlt   atomic.Int64
	slackNs  atomic.Int64 // PR_SET_TIMERSLACK

	resetOnFork atomic.Bool // SCHED_RESET_ON_FORK
	overNproc   atomic.Bool // a set*uid went beyond RLIMIT_NPROC: execve fails while that is so

	mu     lock.Mutex[lock.Task]
	comm   string    // guarded by mu
	memory *Memory   // guarded by mu against others; the task itself reads it freely; nil once it has let go of it
	fds    *fd.Table // the same
	dirs   *vfs.Dirs // the same

	sig threadSignals // guarded by Process.sig.mu

	// Guarded by Tree.
	dead       bool  // has left Process.threads
	exitSignal int32 // what the parent gets when the process of which it is the leader ends; -1: it is no leader
	parent     *Task // of the process, kept in its leader: who made it, or who took it over
}

// Of is the task that a Caller belongs to.
func Of(c *vfs.Caller) *Task {
	t, _ := c.Owner.(*Task)
	return t
}

// Caller is t for what takes no task: files, sockets, timers. Only t's own goroutine may use it.
func (t *Task) Caller() *vfs.Caller { return &t.caller }

// User is t's memory. Only t's own goroutine may use it.
func (t *Task) User() mm.User { return t.caller.User }

// Space is t's address space. Only for t's own goroutine; see Memory for others.
func (t *Task) Space() *mm.Space { return t.caller.User.Space }

// FDs is t's descriptor table, nil when t has ended.
func (t *Task) FDs() *fd.Table {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.fds
}

// Dirs is where t stands in the file systems, nil when t has ended.
func (t *Task) Dirs() *vfs.Dirs {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.dirs
}

// Memory is t's address space and what goes with it, nil when t has let go of it. Others who want to read it take it with
// Memory.Grab, so that it stays.
func (t *Task) Memory() *Memory {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.memory
}

// ID is TID, for others than t itself.
func (t *Task) ID() int32 {
	tr := t.System.Tree
	tr.mu.Lock()
	defer tr.mu.Unlock()
	return t.TID
}

// PID is the number of t's process.
func (t *Task) PID() int32 { return t.Process.PID }

// Cred is who t is.
func (t *Task) Cred() *cred.Cred { return t.cred.Load() }

// Limits are those of t's process.
func (t *Task) Limits() *cred.Limits { return t.Process.Limits }

// Name is PR_GET_NAME: up to 15 bytes.
func (t *Task) Name() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.comm
}

// SetName is PR_SET_NAME; what is beyond 15 bytes is cut off.
func (t *Task) SetName(name string) {
	if len(name) > MaxName {
		name = name[:MaxName]
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.comm = name
}

// State is the letter of /proc/PID/stat for t: Z and T are of its process, the rest the scheduler knows.
func (t *Task) State() byte {
	tr := t.System.Tree
	tr.mu.Lock()
	dead, zombie := t.dead, t.Process.state == zombie
	tr.mu.Unlock()
	switch {
	case zombie || dead && t == t.Process.leader:
		return 'Z'
	case dead:
		return 'X'
	case t.Stopped():
		return 'T'
	}
	return t.Thread.State()
}

// Unshare is unshare(2): t gets descriptors (CLONE_FILES) and root and working directory (CLONE_FS) of its own. EINVAL: what is
// not there, or what a process with other threads, or that shares its memory, cannot do.
func (t *Task) Unshare(flags uint64) abi.Errno {
	const threads = abi.CLONE_THREAD | abi.CLONE_SIGHAND | abi.CLONE_VM
	if flags&^(threads|abi.CLONE_FS|abi.CLONE_FILES|abi.CLONE_SYSVSEM) != 0 {
		return abi.EINVAL
	}
	if flags&threads != 0 && len(t.Process.Threads()) > 1 || flags&(abi.CLONE_SIGHAND|abi.CLONE_VM) != 0 && t.memory.Shared() {
		return abi.EINVAL
	}
	dirs, fds := t.dirs, t.fds
	if flags&abi.CLONE_FS != 0 && dirs.Shared() {
		dirs = dirs.Copy()
	}
	if flags&abi.CLONE_FILES != 0 {
		fds = fds.Unshare(&t.caller)
	}
	old := t.dirs
	t.mu.Lock()
	t.dirs, t.fds = dirs, fds
	t.mu.Unlock()
	t.caller.Dirs = dirs
	if old != dirs {
		old.Release()
	}
	return 0
}

// CountFault adds a page fault to t's accounts: major if it waited for a file.
func (t *Task) CountFault(major bool) {
	if major {
		t.majFlt.Add(1)
		return
	}
	t.minFlt.Add(1)
}

// SetDeathSignal is PR_SET_PDEATHSIG: EINVAL. DeathSignal is PR_GET_PDEATHSIG.
func (t *Task) SetDeathSignal(sig int32) abi.Errno {
	if sig < 0 || sig >= abi.NSIG {
		return abi.EINVAL
	}
	t.deathSig.Store(sig)
	return 0
}

// DeathSignal is what t gets when its parent ends, 0 for nothing.
func (t *Task) DeathSignal() int32 { return t.deathSig.Load() }

// TimerSlack and SetTimerSlack are PR_GET_TIMERSLACK and PR_SET_TIMERSLACK, in nanoseconds; 0 sets the default.
func (t *Task) TimerSlack() int64 { return t.slackNs.Load() }

// SetTimerSlack sets it; see TimerSlack.
func (t *Task) SetTimerSlack(ns int64) {
	if ns <= 0 {
		ns = DefaultTimerSlack
	}
	t.slackNs.Store(ns)
}

// SetClearTID is set_tid_address(2); ClearTID is PR_GET_TID_ADDRESS.
func (t *Task) SetClearTID(addr uint64) { t.clearAt = addr }

// ClearTID is the address that is cleared, and woken as a futex, when t ends.
func (t *Task) ClearTID() uint64 { return t.clearAt }

// SetRobustList is set_robust_list(2), whose length the caller has checked. RobustList is get_robust_list's answer for t itself.
func (t *Task) SetRobustList(head uint64) { t.robust = head }

// RobustList is the address of the list's head, 0 for none.
func (t *Task) RobustList() uint64 { return t.robust }

// SetResetOnFork and ResetOnFork are SCHED_RESET_ON_FORK of sched_setscheduler(2).
func (t *Task) SetResetOnFork(on bool) { t.resetOnFork.Store(on) }

// ResetOnFork says whether children start with the default scheduling.
func (t *Task) ResetOnFork() bool { return t.resetOnFork.Load() }

// SetWork sets bits of Work, and brings t back from user mode to look at them.
func (t *Task) SetWork(bits uint32) {
	t.Work.Or(bits)
	t.Thread.Interrupt()
}

// OnReturn has f run by t, with no lock held, before t goes to user mode the next time. Only t's own goroutine.
func (t *Task) OnReturn(f func(*Task)) {
	t.onBack = append(t.onBack, f)
	t.Work.Or(WorkNotify)
}
