package task

import (
	"goum/arch/abi"
	"goum/kernel/cred"
)

// SetCred makes c who t is: commit_creds. Only t's own goroutine.
func (t *Task) SetCred(c *cred.Cred) {
	old := t.Cred()
	if c == old {
		return
	}
	if c.User != old.User {
		over := uint64(c.User.Processes.Load()) > t.Limits().Cur(abi.RLIMIT_NPROC) && c.User.UID != 0
		t.overNproc.Store(over) // execve will fail
	}
	t.setCred(c)
	if c.Guarded(old) {
		t.memory.SetDumpable(abi.SUID_DUMP_DISABLE)
		t.deathSig.Store(0)
	}
	if c.Has(abi.CAP_IPC_LOCK) != old.Has(abi.CAP_IPC_LOCK) {
		t.Space().SetLimits(t.spaceLimits(c))
	}
}

// setCred changes it, and who is counted for it. Under Tree, because the one who releases a zombie counts it off.
func (t *Task) setCred(c *cred.Cred) {
	tr := t.System.Tree
	tr.mu.Lock()
	defer tr.mu.Unlock()
	old := t.cred.Swap(c)
	t.caller.Cred = c
	if c.User != old.User {
		c.User.Processes.Add(1)
		old.User.Processes.Add(-1)
	}
}

// Prlimit is prlimit(2): pid 0 is t's process; set nil only asks. EINVAL, ESRCH, EPERM.
func (t *Task) Prlimit(pid int32, res int, set *abi.Rlimit64) (old abi.Rlimit64, e abi.Errno) {
	p := t.Process
	if pid != 0 {
		tr := t.System.Tree
		tr.mu.Lock()
		o := tr.task(pid)
		tr.mu.Unlock()
		if o == nil {
			return old, abi.ESRCH
		}
		if o.Process != p && !t.Cred().MayLimit(o.Cred()) {
			return old, abi.EPERM
		}
		p = o.Process
	}
	if res < 0 || res >= abi.RLIM_NLIMITS {
		return old, abi.EINVAL
	}
	if set == nil {
		return p.Limits.Get(res), 0
	}
	old, e = p.Limits.Set(t.Cred(), res, *set)
	if e != 0 {
		return old, e
	}
	switch res {
	case abi.RLIMIT_AS, abi.RLIMIT_DATA, abi.RLIMIT_STACK, abi.RLIMIT_MEMLOCK:
		o := p.Some()
		if m := o.Memory(); m.Grab() {
			m.Space.SetLimits(o.spaceLimits(o.Cred()))
			m.Drop()
		}
	case abi.RLIMIT_CPU:
		if p.LimitCPU != nil {
			p.LimitCPU()
		}
	}
	return old, 0
}
