package sys

import (
	"goum/arch/abi"
	"goum/kernel/task"
)

// schedCalls are about who runs when.
var schedCalls = Calls{
	abi.SYS_SCHED_YIELD:            Def0("sched_yield", sysSchedYield),
	abi.SYS_SCHED_SETPARAM:         Def2("sched_setparam", sysSchedSetparam),
	abi.SYS_SCHED_GETPARAM:         Def2("sched_getparam", sysSchedGetparam),
	abi.SYS_SCHED_SETSCHEDULER:     Def3("sched_setscheduler", sysSchedSetscheduler).Partial("no SCHED_DEADLINE, no SCHED_EXT"),
	abi.SYS_SCHED_GETSCHEDULER:     Def1("sched_getscheduler", sysSchedGetscheduler),
	abi.SYS_SCHED_GET_PRIORITY_MAX: Def1("sched_get_priority_max", sysSchedGetPriorityMax),
	abi.SYS_SCHED_GET_PRIORITY_MIN: Def1("sched_get_priority_min", sysSchedGetPriorityMin),
	abi.SYS_SCHED_RR_GET_INTERVAL:  Def2("sched_rr_get_interval", sysSchedRRGetInterval),
	abi.SYS_SCHED_SETAFFINITY:      Def3("sched_setaffinity", sysSchedSetaffinity),
	abi.SYS_SCHED_GETAFFINITY:      Def3("sched_getaffinity", sysSchedGetaffinity),
	abi.SYS_SCHED_SETATTR:          Def3("sched_setattr", sysSchedSetattr).Partial("no SCHED_DEADLINE, no utilization clamps"),
	abi.SYS_SCHED_GETATTR:          Def4("sched_getattr", sysSchedGetattr),
	abi.SYS_GETPRIORITY:            Def2("getpriority", sysGetpriority),
	abi.SYS_SETPRIORITY:            Def3("setpriority", sysSetpriority),
	abi.SYS_IOPRIO_GET:             Def2("ioprio_get", sysIoprioGet).Partial("there are no block devices: always no class"),
	abi.SYS_IOPRIO_SET:             Def3("ioprio_set", sysIoprioSet).Partial("checked, then ignored: there are no block devices"),
	abi.SYS_GETCPU:                 Def3("getcpu", sysGetcpu),
}

func sysSchedYield(t *task.Task) (uint64, abi.Errno) {
	t.Thread.Yield()
	return 0, 0
}

// thread finds the thread that a sched call means, 0 for the caller: EINVAL (negative), ESRCH.
func thread(t *task.Task, pid Pid) (*task.Task, abi.Errno) {
	switch {
	case pid < 0:
		return nil, abi.EINVAL
	case pid == 0:
		return t, 0
	}
	if o := t.System.Tree.FindTask(int32(pid)); o != nil {
		return o, 0
	}
	return nil, abi.ESRCH
}

// mayNice says whether the caller may change how o is scheduled at all: EPERM.
func mayNice(t, o *task.Task) bool {
	c, oc := t.Cred(), o.Cred()
	return c.EUID == oc.UID || c.EUID == oc.EUID || c.Has(abi.CAP_SYS_NICE)
}

// canNice is Linux's can_nice: whether o may get this nice value by RLIMIT_NICE or the caller's capability.
func canNice(t, o *task.Task, nice int) bool {
	return uint64(20-nice) <= o.Limits().Cur(abi.RLIMIT_NICE) || t.Cred().Has(abi.CAP_SYS_NICE)
}

// setPolicy is __sched_setscheduler with user set: EINVAL, EPERM. reset is SCHED_RESET_ON_FORK, which only the privileged take back.
func setPolicy(t, o *task.Task, policy, prio, nice int, setNice, reset bool) abi.Errno {
	rt := policy == abi.SCHED_FIFO || policy == abi.SCHED_RR
	switch policy {
	case abi.SCHED_NORMAL, abi.SCHED_BATCH, abi.SCHED_IDLE, abi.SCHED_FIFO, abi.SCHED_RR:
	default:
		return abi.EINVAL
	}
	if prio < 0 || prio > 99 || rt != (prio != 0) {
		return abi.EINVAL
	}
	oldPolicy, oldPrio := o.Thread.Policy()
	oldNice := o.Thread.Nice()
	if !setNice {
		nice = oldNice
	}
	c := t.Cred()
	if !c.Has(abi.CAP_SYS_NICE) {
		switch {
		case !rt && nice < oldNice && !canNice(t, o, nice):
			return abi.EPERM
		case rt && policy != oldPolicy && o.Limits().Cur(abi.RLIMIT_RTPRIO) == 0:
			return abi.EPERM
		case rt && prio > oldPrio && uint64(prio) > o.Limits().Cur(abi.RLIMIT_RTPRIO):
			return abi.EPERM
		case oldPolicy == abi.SCHED_IDLE && policy != abi.SCHED_IDLE && !canNice(t, o, oldNice):
			return abi.EPERM
		case !mayNice(t, o), o.ResetOnFork() && !reset:
			return abi.EPERM
		}
	}
	o.SetResetOnFork(reset)
	return o.Thread.SetPolicy(policy, prio, nice)
}

// sysSchedSetscheduler is sched_setscheduler(2): EINVAL, EFAULT, ESRCH, EPERM.
func sysSchedSetscheduler(t *task.Task, pid Pid, policy Int, param In[abi.SchedParam]) (uint64, abi.Errno) {
	if policy < 0 || param == 0 || pid < 0 {
		return 0, abi.EINVAL
	}
	p, e := param.Load(t)
	if e != 0 {
		return 0, e
	}
	o, e := thread(t, pid)
	if e != 0 {
		return 0, e
	}
	return 0, setPolicy(t, o, int(policy&^abi.SCHED_RESET_ON_FORK), int(p.Priority), 0, false, policy&abi.SCHED_RESET_ON_FORK != 0)
}

func sysSchedSetparam(t *task.Task, pid Pid, param In[abi.SchedParam]) (uint64, abi.Errno) {
	if param == 0 || pid < 0 {
		return 0, abi.EINVAL
	}
	p, e := param.Load(t)
	if e != 0 {
		return 0, e
	}
	o, e := thread(t, pid)
	if e != 0 {
		return 0, e
	}
	policy, _ := o.Thread.Policy()
	return 0, setPolicy(t, o, policy, int(p.Priority), 0, false, o.ResetOnFork())
}

func sysSchedGetscheduler(t *task.Task, pid Pid) (uint64, abi.Errno) {
	o, e := thread(t, pid)
	if e != 0 {
		return 0, e
	}
	policy, _ := o.Thread.Policy()
	if o.ResetOnFork() {
		policy |= abi.SCHED_RESET_ON_FORK
	}
	return uint64(policy), 0
}

func sysSchedGetparam(t *task.Task, pid Pid, param Out[abi.SchedParam]) (uint64, abi.Errno) {
	if param == 0 {
		return 0, abi.EINVAL
	}
	o, e := thread(t, pid)
	if e != 0 {
		return 0, e
	}
	_, prio := o.Thread.Policy()
	return 0, param.Store(t, abi.SchedParam{Priority: int32(prio)})
}

func sysSchedGetPriorityMax(t *task.Task, policy Int) (uint64, abi.Errno) {
	switch policy {
	case abi.SCHED_FIFO, abi.SCHED_RR:
		return 99, 0
	case abi.SCHED_NORMAL, abi.SCHED_BATCH, abi.SCHED_IDLE, abi.SCHED_DEADLINE:
		return 0, 0
	}
	return 0, abi.EINVAL
}

func sysSchedGetPriorityMin(t *task.Task, policy Int) (uint64, abi.Errno) {
	switch policy {
	case abi.SCHED_FIFO, abi.SCHED_RR:
		return 1, 0
	case abi.SCHED_NORMAL, abi.SCHED_BATCH, abi.SCHED_IDLE, abi.SCHED_DEADLINE:
		return 0, 0
	}
	return 0, abi.EINVAL
}

func sysSchedRRGetInterval(t *task.Task, pid Pid, out Out[abi.Timespec]) (uint64, abi.Errno) {
	o, e := thread(t, pid)
	if e != 0 {
		return 0, e
	}
	return 0, out.Store(t, abi.NsToTimespec(int64(o.Thread.Slice())))
}

// sysSchedSetaffinity is sched_setaffinity(2): EFAULT, ESRCH, EPERM, EINVAL (no vCPU that exists). Bits beyond the mask's length
// are 0, beyond ours are ignored.
func sysSchedSetaffinity(t *task.Task, pid Pid, n Uint, mask In[uint64]) (uint64, abi.Errno) {
	var b [8]byte
	if e := copyIn(t, uint64(mask), b[:min(n, 8)]); e != 0 {
		return 0, e
	}
	if pid < 0 {
		return 0, abi.ESRCH
	}
	o, e := thread(t, pid)
	if e != 0 {
		return 0, e
	}
	if !mayNice(t, o) {
		return 0, abi.EPERM
	}
	var m uint64
	for i, v := range b {
		m |= uint64(v) << (8 * i)
	}
	if e := o.Thread.SetAffinity(m); e != 0 {
		return 0, e
	}
	if o == t {
		t.Thread.Yield() // away from a vCPU that is no longer allowed, before the caller goes on
	}
	return 0, 0
}

// sysSchedGetaffinity is sched_getaffinity(2), which answers how many bytes it wrote: EINVAL (too few, or no whole longs), ESRCH, EFAULT.
func sysSchedGetaffinity(t *task.Task, pid Pid, n Uint, mask Out[uint64]) (uint64, abi.Errno) {
	if n < 8 || n%8 != 0 {
		return 0, abi.EINVAL
	}
	if pid < 0 {
		return 0, abi.ESRCH
	}
	o, e := thread(t, pid)
	if e != 0 {
		return 0, e
	}
	return 8, mask.Store(t, o.Thread.Affinity())
}

// schedAttrSize0 is SCHED_ATTR_SIZE_VER0, the size of struct sched_attr when it was new.
const schedAttrSize0 = 48

// sysSchedSetattr is sched_setattr(2): EINVAL, EFAULT, E2BIG (a size or field that is newer than this kernel), ESRCH, EPERM.
func sysSchedSetattr(t *task.Task, pid Pid, attr InOut[abi.SchedAttr], flags Uint) (uint64, abi.Errno) {
	if attr == 0 || pid < 0 || flags != 0 {
		return 0, abi.EINVAL
	}
	size, e := In[uint32](attr).Load(t)
	if e != 0 {
		return 0, e
	}
	if size == 0 {
		size = schedAttrSize0
	}
	var a abi.SchedAttr
	own := uint32(len(abi.Bytes(&a)))
	if size < schedAttrSize0 || size > pageMask+1 {
		Out[uint32](attr).Store(t, own)
		return 0, abi.E2BIG
	}
	e = copyStruct(t, uint64(attr), uint64(size), abi.Bytes(&a))
	if e == abi.E2BIG {
		Out[uint32](attr).Store(t, own)
	}
	if e != 0 {
		return 0, e
	}
	if int32(a.Policy) < 0 {
		return 0, abi.EINVAL
	}
	if a.Flags&^abi.SCHED_FLAG_ALL != 0 {
		return 0, abi.EINVAL
	}
	if a.Flags&(abi.SCHED_FLAG_UTIL_CLAMP_MIN|abi.SCHED_FLAG_UTIL_CLAMP_MAX) != 0 {
		return 0, abi.EOPNOTSUPP // CONFIG_UCLAMP_TASK=n
	}
	if a.Flags&(abi.SCHED_FLAG_RECLAIM|abi.SCHED_FLAG_DL_OVERRUN) != 0 {
		return 0, abi.EINVAL
	}
	o, e := thread(t, pid)
	if e != 0 {
		return 0, e
	}
	policy, prio := int(a.Policy), int(a.Priority)
	oldPolicy, oldPrio := o.Thread.Policy()
	if a.Flags&abi.SCHED_FLAG_KEEP_POLICY != 0 {
		policy = oldPolicy
	}
	nice := min(max(int(a.Nice), -20), 19)
	setNice := policy == abi.SCHED_NORMAL || policy == abi.SCHED_BATCH
	if a.Flags&abi.SCHED_FLAG_KEEP_PARAMS != 0 {
		prio, setNice = oldPrio, false
		if policy != abi.SCHED_FIFO && policy != abi.SCHED_RR {
			prio = 0
		}
	}
	return 0, setPolicy(t, o, policy, prio, nice, setNice, a.Flags&abi.SCHED_FLAG_RESET_ON_FORK != 0)
}

// sysSchedGetattr is sched_getattr(2): EINVAL, ESRCH, EFAULT, E2BIG.
func sysSchedGetattr(t *task.Task, pid Pid, attr Out[abi.SchedAttr], size Uint, flags Uint) (uint64, abi.Errno) {
	if attr == 0 || pid < 0 || size > pageMask+1 || size < schedAttrSize0 || flags != 0 {
		return 0, abi.EINVAL
	}
	o, e := thread(t, pid)
	if e != 0 {
		return 0, e
	}
	policy, prio := o.Thread.Policy()
	a := abi.SchedAttr{Policy: uint32(policy), Priority: uint32(prio)}
	if o.ResetOnFork() {
		a.Flags |= abi.SCHED_FLAG_RESET_ON_FORK
	}
	if prio == 0 {
		a.Nice = int32(o.Thread.Nice())
		a.Runtime = uint64(o.Thread.Slice())
	}
	b := abi.Bytes(&a)
	a.Size = min(uint32(len(b)), uint32(size))
	return 0, copyOut(t, uint64(attr), b[:a.Size])
}

// copyStruct is Linux's copy_struct_from_user: size bytes at addr into dst; what dst has beyond is zero, what the caller has beyond
// must be zero: E2BIG, EFAULT.
func copyStruct(t *task.Task, addr, size uint64, dst []byte) abi.Errno {
	if own := uint64(len(dst)); size > own {
		var rest [256]byte
		for at := own; at < size; {
			b := rest[:min(size-at, uint64(len(rest)))]
			if e := copyIn(t, addr+at, b); e != 0 {
				return e
			}
			for _, c := range b {
				if c != 0 {
					return abi.E2BIG
				}
			}
			at += uint64(len(b))
		}
		size = own
	}
	return copyIn(t, addr, dst[:size])
}

// niceTargets calls f for each thread that which and who mean: EINVAL, ESRCH (none).
func niceTargets(t *task.Task, which, who Int, f func(o *task.Task)) abi.Errno {
	n := 0
	all := func(p *task.Process) {
		for _, o := range p.Threads() {
			n++
			f(o)
		}
	}
	switch which {
	case abi.PRIO_PROCESS:
		o := t
		if who != 0 {
			o = t.System.Tree.FindTask(int32(who))
		}
		if o != nil {
			n++
			f(o)
		}
	case abi.PRIO_PGRP:
		id := int32(who)
		if id == 0 {
			id, _ = t.GetPGID(0)
		}
		if g := t.System.Tree.FindGroup(id); g != nil {
			for _, p := range g.Members() {
				all(p)
			}
		}
	case abi.PRIO_USER:
		uid := uint32(who)
		if uid == 0 {
			uid = t.Cred().UID
		}
		for p := t.System.Tree.Next(1); p != nil; p = t.System.Tree.Next(p.PID + 1) {
			if p.Some().Cred().UID == uid {
				all(p)
			}
		}
	default:
		return abi.EINVAL
	}
	if n == 0 {
		return abi.ESRCH
	}
	return 0
}

// sysGetpriority answers 20 minus the lowest nice value, so that it is never negative: getpriority(2).
func sysGetpriority(t *task.Task, which, who Int) (uint64, abi.Errno) {
	best := 0
	e := niceTargets(t, which, who, func(o *task.Task) { best = max(best, 20-o.Thread.Nice()) })
	return uint64(best), e
}

// sysSetpriority is setpriority(2): EINVAL, ESRCH, EPERM (another's), EACCES (a lower nice value than RLIMIT_NICE gives).
func sysSetpriority(t *task.Task, which, who, nice Int) (uint64, abi.Errno) {
	n := min(max(int(nice), -20), 19)
	res := abi.Errno(0)
	e := niceTargets(t, which, who, func(o *task.Task) {
		c, oc := t.Cred(), o.Cred()
		switch {
		case oc.UID != c.EUID && oc.EUID != c.EUID && !c.Has(abi.CAP_SYS_NICE):
			res = abi.EPERM
		case n < o.Thread.Nice() && !canNice(t, o, n):
			res = abi.EACCES
		default:
			o.Thread.SetNice(n)
		}
	})
	if e == 0 {
		e = res
	}
	return 0, e
}

// What ioprio_set(2) takes.
const (
	ioprioWhoProcess = 1
	ioprioWhoPgrp    = 2
	ioprioWhoUser    = 3
)

// sysIoprioGet answers no class and level 0 for whoever exists, as for those who never set one: ioprio_get(2).
func sysIoprioGet(t *task.Task, which, who Int) (uint64, abi.Errno) {
	if which < ioprioWhoProcess || which > ioprioWhoUser {
		return 0, abi.EINVAL
	}
	return 0, niceTargets(t, which-1, who, func(*task.Task) {})
}

// sysIoprioSet checks as ioprio_set(2) does: EINVAL (class or level), EPERM, ESRCH.
func sysIoprioSet(t *task.Task, which, who, prio Int) (uint64, abi.Errno) {
	class, level := prio>>13&7, prio&7
	switch class {
	case 1: // real time
		if !t.Cred().Has(abi.CAP_SYS_ADMIN) && !t.Cred().Has(abi.CAP_SYS_NICE) {
			return 0, abi.EPERM
		}
	case 2, 3: // best effort, idle
	case 0:
		if level != 0 {
			return 0, abi.EINVAL
		}
	default:
		return 0, abi.EINVAL
	}
	if which < ioprioWhoProcess || which > ioprioWhoUser {
		return 0, abi.EINVAL
	}
	res := abi.Errno(0)
	e := niceTargets(t, which-1, who, func(o *task.Task) {
		c, oc := t.Cred(), o.Cred()
		if oc.UID != c.EUID && oc.UID != c.UID && !c.Has(abi.CAP_SYS_NICE) {
			res = abi.EPERM
		}
	})
	if e == 0 {
		e = res
	}
	return 0, e
}

// sysGetcpu tells vCPU and node: getcpu(2). The third argument has no meaning any more.
func sysGetcpu(t *task.Task, cpu, node Out[uint32], _ Addr) (uint64, abi.Errno) {
	if e := cpu.StoreIf(t, uint32(t.Thread.CPU())); e != 0 {
		return 0, abi.EFAULT
	}
	return 0, node.StoreIf(t, 0)
}
