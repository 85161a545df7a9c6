package task

import (
	"goum/arch/abi"
	"goum/kernel/cred"
	"goum/kernel/signal"
	"goum/mm"
	"goum/sched"
	"goum/sched/clock"
)

// CloneArgs says what a clone shares: struct clone_args, decoded. fork is {ExitSignal: SIGCHLD}, vfork adds CLONE_VM and CLONE_VFORK.
type CloneArgs struct {
	Flags      uint64 // CLONE_*; without the signal that clone(2) has in the lowest byte
	ExitSignal int32
	StackTop   uint64 // 0: as the parent's
	TLS        uint64
	ParentTID  uint64 // address, with CLONE_PARENT_SETTID
	ChildTID   uint64 // address, with CLONE_CHILD_SETTID and CLONE_CHILD_CLEARTID
	PidFD      uint64 // address, with CLONE_PIDFD
	SetTID     []int32
	Three      bool // by clone3, which is stricter
}

// Flags of namespaces and others that this kernel is built without.
const (
	namespaces = abi.CLONE_NEWNS | abi.CLONE_NEWCGROUP | abi.CLONE_NEWUTS | abi.CLONE_NEWIPC | abi.CLONE_NEWUSER |
		abi.CLONE_NEWPID | abi.CLONE_NEWNET
	clone3Flags = 0xffffffff&^(abi.CLONE_DETACHED|0xff) | abi.CLONE_NEWTIME | abi.CLONE_CLEAR_SIGHAND
)

// check is what kernel/fork.c refuses before it does anything.
func (a *CloneArgs) check() abi.Errno {
	f := a.Flags
	if a.Three {
		switch {
		case f&^clone3Flags != 0,
			f&(abi.CLONE_SIGHAND|abi.CLONE_CLEAR_SIGHAND) == abi.CLONE_SIGHAND|abi.CLONE_CLEAR_SIGHAND,
			f&(abi.CLONE_THREAD|abi.CLONE_PARENT) != 0 && a.ExitSignal != 0:
			return abi.EINVAL
		}
	} else if f&abi.CLONE_PIDFD != 0 && f&abi.CLONE_PARENT_SETTID != 0 && a.PidFD == a.ParentTID {
		return abi.EINVAL // clone(2) has one argument for both
	}
	switch {
	case f&abi.CLONE_PIDFD != 0 && f&abi.CLONE_DETACHED != 0,
		f&(abi.CLONE_NEWNS|abi.CLONE_FS) == abi.CLONE_NEWNS|abi.CLONE_FS,
		f&(abi.CLONE_NEWUSER|abi.CLONE_FS) == abi.CLONE_NEWUSER|abi.CLONE_FS,
		f&abi.CLONE_THREAD != 0 && f&abi.CLONE_SIGHAND == 0,
		f&abi.CLONE_SIGHAND != 0 && f&abi.CLONE_VM == 0,
		f&(namespaces|abi.CLONE_NEWTIME) != 0: // as where namespaces are not configured
		return abi.EINVAL
	}
	return 0
}

// vfork is what a parent waits for that lent its address space.
type vfork struct {
	queue sched.Queue
	done  bool // guarded by Task.mu of the child
}

// Clone is clone(2), clone3(2), fork(2) and vfork(2): it makes a task that sees 0 where t sees the new number. In the order of
// kernel/fork.c: EINVAL (flags that do not go together), EAGAIN (limits), ENOMEM, EEXIST and EPERM (SetTID), EFAULT (PidFD's address).
// ERESTARTNOINTR: a signal is to be handled first.
func (t *Task) Clone(a CloneArgs) (int32, abi.Errno) {
	if e := a.check(); e != 0 {
		return 0, e
	}
	p := t.Process
	thread := a.Flags&abi.CLONE_THREAD != 0
	if a.Flags&abi.CLONE_PARENT != 0 && p == t.System.Tree.Init() {
		return 0, abi.EINVAL // its children would be nobody's
	}
	if len(a.SetTID) > 1 {
		return 0, abi.EINVAL // there is one pid namespace
	}
	if len(a.SetTID) == 1 {
		if id := a.SetTID[0]; id < 1 || id >= PidMax {
			return 0, abi.EINVAL
		}
		if !t.Cred().Has(abi.CAP_SYS_ADMIN) && !t.Cred().Has(abi.CAP_CHECKPOINT_RESTORE) {
			return 0, abi.EPERM
		}
	}
	if t.signalPending() {
		return 0, abi.ERESTARTNOINTR
	}
	who := t.Cred()
	if e := charge(who, t.Limits()); e != 0 {
		return 0, e
	}
	if !t.System.Tree.enter() {
		who.User.Processes.Add(-1)
		return 0, abi.EAGAIN
	}
	b := birth{parent: t, args: &a, thread: thread}
	id, e := b.make()
	if e != 0 {
		b.undo()
		t.System.Tree.depart()
		who.User.Processes.Add(-1)
		return 0, e
	}
	child := b.child
	if a.Flags&abi.CLONE_PARENT_SETTID != 0 {
		t.User().Store32(a.ParentTID, uint32(id)) // Linux does not mind if it fails
	}
	v := child.vforked
	b.start()
	if a.Flags&abi.CLONE_VFORK != 0 {
		v.queue.WaitKillable(t.Thread, sched.Any, clock.Never, func() bool {
			child.mu.Lock()
			defer child.mu.Unlock()
			return v.done
		})
	}
	return id, 0
}

// charge counts one more task for a user: RLIMIT_NPROC binds all but root and the capable. EAGAIN.
func charge(c *cred.Cred, l *cred.Limits) abi.Errno {
	n := c.User.Processes.Add(1)
	if uint64(n) > l.Cur(abi.RLIMIT_NPROC) && c.User.UID != 0 && !c.Has(abi.CAP_SYS_RESOURCE) && !c.Has(abi.CAP_SYS_ADMIN) {
		c.User.Processes.Add(-1)
		return abi.EAGAIN
	}
	return 0
}

// enter counts one more task of the machine; depart one less.
func (tr *Tree) enter() bool {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	if tr.tasks >= tr.max {
		return false
	}
	tr.tasks++
	return true
}

func (tr *Tree) depart() {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.tasks--
}

// birth is a clone under way: what has to be undone if it fails.
type birth struct {
	parent  *Task
	args    *CloneArgs
	thread  bool
	child   *Task
	install func()
	release func()
}

// make makes the child and puts it into the tree; it does not run yet.
func (b *birth) make() (int32, abi.Errno) {
	t, f := b.parent, b.args.Flags
	p := t.Process
	c := &Task{
		System: t.System, Start: t.System.Clock.Monotonic(),
		Regs: t.Regs, Call: -1,
		comm: t.Name(), exitSignal: -1,
	}
	b.child = c
	c.cred.Store(t.Cred())
	c.slackNs.Store(t.slackNs.Load())
	if t.Work.Load()&WorkTrace != 0 {
		c.Work.Store(WorkTrace)
	}
	c.Thread = t.System.Sched.NewThread(c.comm)
	t.inheritPolicy(c)
	c.sig.mask = t.sig.mask
	if t.Work.Load()&WorkRestoreMask != 0 {
		c.sig.mask = t.sig.saved
	}
	if f&abi.CLONE_VM == 0 || f&abi.CLONE_VFORK != 0 {
		c.sig.alt = t.sig.alt
	} else {
		c.sig.alt = abi.StackT{Flags: abi.SS_DISABLE}
	}
	c.Regs.RAX = 0
	if b.args.StackTop != 0 {
		c.Regs.RSP = b.args.StackTop
	}
	if f&abi.CLONE_SETTLS != 0 {
		if b.args.TLS >= mm.TaskSize {
			return 0, abi.EPERM
		}
		c.Regs.FSBase = b.args.TLS
	}
	if f&abi.CLONE_CHILD_CLEARTID != 0 {
		c.clearAt = b.args.ChildTID
	}
	if f&abi.CLONE_FILES != 0 {
		c.fds = t.fds.Share()
	} else {
		fds, e := t.fds.Clone(t.Caller())
		if e != 0 {
			return 0, e
		}
		c.fds = fds
	}
	if f&abi.CLONE_FS != 0 {
		c.dirs = t.dirs.Share()
	} else {
		c.dirs = t.dirs.Copy()
	}
	if b.thread {
		c.Process = p
	} else {
		c.Process = &Process{System: t.System, Limits: p.Limits.Clone(), Start: c.Start}
		b.actions()
	}
	if e := b.memory(); e != 0 {
		return 0, e
	}
	c.Stub.SetXState(t.Stub.XState())
	if f&abi.CLONE_VFORK != 0 {
		c.vforked = new(vfork)
	}
	id, e := b.link()
	if e != 0 {
		return 0, e
	}
	c.adopt()
	if f&abi.CLONE_CHILD_SETTID != 0 {
		at := b.args.ChildTID
		c.OnReturn(func(c *Task) { c.User().Store32(at, uint32(c.TID)) })
	}
	return id, 0
}

// adopt makes what stands for t at other packages refer to t.
func (t *Task) adopt() {
	t.caller.Cred = t.Cred()
	t.caller.Dirs = t.dirs
	t.caller.Limits = t.Process.Limits
	t.caller.Thread = t.Thread
	if t.memory != nil {
		t.caller.User = mm.User{Space: t.memory.Space, Sleep: t.Thread}
		t.Thread.SetKicker(t.Stub)
	}
	t.caller.Tgid, t.caller.Tid = t.Process.PID, t.TID
	t.fds.SetLimits(t.Process.Limits)
	t.caller.Owner = t
	t.caller.Raise = func(sig int32) {
		info := signal.Kernel(int(sig))
		t.Send(&info)
	}
}

// inheritPolicy gives a child the scheduling of t, but for what SCHED_RESET_ON_FORK takes back.
func (t *Task) inheritPolicy(c *Task) {
	policy, prio := t.Thread.Policy()
	nice := t.Thread.Nice()
	if t.resetOnFork.Load() {
		if policy == abi.SCHED_FIFO || policy == abi.SCHED_RR {
			policy, prio, nice = abi.SCHED_NORMAL, 0, 0
		}
		nice = max(nice, 0)
	}
	c.Thread.SetPolicy(policy, prio, nice)
	c.Thread.SetAffinity(t.Thread.Affinity())
}

func (b *birth) actions() {
	c, s := b.child, &b.parent.Process.sig
	s.mu.Lock()
	from := s.actions
	s.mu.Unlock()
	if b.args.Flags&abi.CLONE_SIGHAND != 0 {
		c.Process.sig.actions = from.Ref()
		return
	}
	c.Process.sig.actions = from.Clone(b.args.Flags&abi.CLONE_CLEAR_SIGHAND != 0)
}

// memory gives the child its address space, and a thread in the stub that shows it.
func (b *birth) memory() abi.Errno {
	t, c := b.parent, b.child
	if b.args.Flags&abi.CLONE_VM != 0 {
		var st StubThread
		var e abi.Errno
		t.Thread.Outside(func() { st, e = t.Stub.NewThread() }) // the stub may take its time, or not do it at all
		if e != 0 {
			return e
		}
		c.Stub, c.memory = st, t.memory.share()
		return 0
	}
	space, e := t.forkSpace()
	if e != 0 {
		return e
	}
	stub, err := t.System.Stubs.New(space)
	if err != nil {
		space.Release()
		return abi.EAGAIN
	}
	c.Stub, c.memory = stub.First(), newMemory(space, stub)
	t.memory.copyTo(c.memory)
	return 0
}

// forkSpace copies t's address space. Where other threads run in it, they must have lost their rights to write to what is shared now
// before the child runs: t's stub is made to take them away at once.
func (t *Task) forkSpace() (*mm.Space, abi.Errno) {
	if !t.memory.Shared() {
		return t.Space().Fork()
	}
	space, e := t.Space().ForkShared()
	if f, ok := t.Stub.(interface{ Flush() }); ok && e == 0 {
		t.Thread.Outside(f.Flush)
	}
	return space, e
}

// link gives the child its number and puts it among the living. From here on it can be signalled; nothing may fail after that.
func (b *birth) link() (int32, abi.Errno) {
	t, c, tr := b.parent, b.child, b.parent.System.Tree
	f := b.args.Flags
	if f&abi.CLONE_PIDFD != 0 {
		if t.System.PidFD == nil {
			return 0, abi.EINVAL
		}
		fd, install, release, e := t.System.PidFD(t, c)
		if e != 0 {
			return 0, e
		}
		b.install, b.release = install, release
		if e := t.User().Store32(b.args.PidFD, uint32(fd)); e != 0 {
			return 0, e
		}
	}
	tr.mu.Lock()
	defer tr.mu.Unlock()
	var id int32
	var e abi.Errno
	if len(b.args.SetTID) == 1 {
		id = b.args.SetTID[0]
		e = tr.claim(id)
	} else {
		id, e = tr.allocate()
	}
	if e != 0 {
		return 0, e
	}
	p := t.Process
	s := &p.sig
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case t.sig.killed:
		return 0, abi.EINTR
	case t.mustLook():
		return 0, abi.ERESTARTNOINTR
	}
	tr.id(id).task = c
	tr.forks++
	c.TID = id
	if b.thread {
		c.parent = nil
		s.threads = append(s.threads, c)
		return id, 0
	}
	q := c.Process
	q.PID, q.leader = id, c
	q.sig.threads = []*Task{c}
	c.exitSignal = b.args.ExitSignal
	parent := t
	if f&abi.CLONE_PARENT != 0 {
		parent = p.leader.parent
		c.exitSignal = p.leader.exitSignal
	}
	c.parent = parent
	q.below = parent.Process.below || parent.Process.reaper
	q.tty = p.tty
	parent.Process.children.add(q)
	tr.join(q, p.session, p.group.id)
	return id, 0
}

// start lets the child run.
func (b *birth) start() {
	if b.install != nil {
		b.install()
	}
	c := b.child
	c.Thread.Start(func() { c.System.Main(c) })
}

// undo gives back what a child that is not to be had taken.
func (b *birth) undo() {
	c := b.child
	if b.release != nil {
		b.release()
	}
	if c.Stub != nil {
		c.Stub.Park()
	}
	if c.memory != nil {
		c.memory.leave()
	}
	if c.dirs != nil {
		c.dirs.Release()
	}
	if c.fds != nil {
		c.fds.Release(b.parent.Caller())
	}
	if !b.thread && c.Process != nil && c.Process.sig.actions != nil {
		c.Process.sig.actions.Unref()
	}
}

// vforkDone lets the parent of a vfork go on.
func (t *Task) vforkDone() {
	v := t.vforked
	if v == nil {
		return
	}
	t.vforked = nil
	t.mu.Lock()
	v.done = true
	t.mu.Unlock()
	v.queue.Wake(sched.Any)
}
