package task

import (
	"goum/arch/abi"
	"goum/kernel/cred"
	"goum/kernel/fd"
	"goum/kernel/fs/vfs"
	"goum/kernel/signal"
)

// First makes the first process of a machine, number 1. It has no memory and no stub thread until it has called Exec: see Begin.
func First(sys *System, c *cred.Cred, limits *cred.Limits, dirs *vfs.Dirs, fds *fd.Table) *Task {
	tr := sys.Tree
	t := &Task{System: sys, Call: -1, Start: sys.Clock.Monotonic(), comm: "init", exitSignal: abi.SIGCHLD, fds: fds, dirs: dirs}
	t.cred.Store(c)
	t.slackNs.Store(DefaultTimerSlack)
	t.sig.alt.Flags = abi.SS_DISABLE
	t.Thread = sys.Sched.NewThread(t.comm)
	p := &Process{System: sys, Limits: limits, Start: t.Start, leader: t}
	p.sig.actions = signal.NewActions()
	p.sig.threads = []*Task{t}
	p.sig.unkillable = true
	t.Process = p
	c.User.Processes.Add(1)
	tr.mu.Lock()
	defer tr.mu.Unlock()
	id, _ := tr.allocate()
	t.TID, p.PID = id, id
	tr.tasks++
	tr.forks++
	tr.init = p
	tr.id(id).task = t
	// As in Linux it belongs to group and session 0 until it calls setsid.
	s := &Session{tree: tr}
	tr.id(0).session = s
	tr.join(p, s, 0)
	return t
}

// SetKillable makes the first process die of signals like any other: a command that runs alone is no init.
func (p *Process) SetKillable() {
	p.sig.mu.Lock()
	defer p.sig.mu.Unlock()
	p.sig.unkillable = false
}

// Begin starts the first process: prepare runs as its own goroutine, calls Exec, and says whether it is to go on to user mode. If not,
// the process ends, and the machine with it.
func (t *Task) Begin(prepare func(*Task) bool) {
	t.adopt()
	t.Thread.Start(func() {
		if prepare(t) {
			t.System.Main(t)
			return
		}
		t.quit(WaitStatus(127))
		t.Leave()
	})
}

// ExitAll ends all threads of the process with a wait status, unless they are ending already.
func (p *Process) ExitAll(status int32) {
	p.sig.mu.Lock()
	defer p.sig.mu.Unlock()
	p.end(status)
}

// KillAll ends every process, the first included: the machine is being switched off. Those that are born meanwhile end with
// their parents' threads, or are caught by a second call.
func (tr *Tree) KillAll() {
	for p := tr.Next(0); p != nil; p = tr.Next(p.PID + 1) {
		p.ExitAll(Killed(abi.SIGKILL, false))
	}
}
