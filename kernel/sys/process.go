package sys

import (
	"fmt"

	"goum/arch/abi"
	"goum/arch/x86"
	"goum/kernel/task"
	"goum/mm"
)

// processCalls make, change and end tasks.
var processCalls = Calls{
	abi.SYS_CLONE:           Def5("clone", sysClone).Partial("no namespaces, no ptrace"),
	abi.SYS_CLONE3:          Def2("clone3", sysClone3).Partial("no namespaces, no CLONE_INTO_CGROUP"),
	abi.SYS_FORK:            Def0("fork", sysFork),
	abi.SYS_VFORK:           Def0("vfork", sysVfork),
	abi.SYS_EXECVE:          Def3("execve", sysExecve),
	abi.SYS_EXECVEAT:        Def5("execveat", sysExecveat),
	abi.SYS_EXIT:            Def1("exit", sysExit),
	abi.SYS_EXIT_GROUP:      Def1("exit_group", sysExitGroup),
	abi.SYS_WAIT4:           Def4("wait4", sysWait4),
	abi.SYS_WAITID:          Def5("waitid", sysWaitid),
	abi.SYS_GETPID:          Def0("getpid", sysGetpid),
	abi.SYS_GETTID:          Def0("gettid", sysGettid),
	abi.SYS_GETPPID:         Def0("getppid", sysGetppid),
	abi.SYS_GETPGRP:         Def0("getpgrp", sysGetpgrp),
	abi.SYS_GETPGID:         Def1("getpgid", sysGetpgid),
	abi.SYS_SETPGID:         Def2("setpgid", sysSetpgid),
	abi.SYS_GETSID:          Def1("getsid", sysGetsid),
	abi.SYS_SETSID:          Def0("setsid", sysSetsid),
	abi.SYS_SET_TID_ADDRESS: Def1("set_tid_address", sysSetTidAddress),
	abi.SYS_SET_ROBUST_LIST: Def2("set_robust_list", sysSetRobustList),
	abi.SYS_GET_ROBUST_LIST: Def3("get_robust_list", sysGetRobustList).Partial("of other threads: EPERM"),
	abi.SYS_ARCH_PRCTL:      Def2("arch_prctl", sysArchPrctl).Partial("FS and GS; no CPUID faulting, no shadow stacks, no LAM, no AMX requests"),
	abi.SYS_PRCTL:           Def5("prctl", sysPrctl).Partial("no seccomp, PR_SET_MM, MDWE, speculation control or syscall user dispatch"),
	abi.SYS_PERSONALITY:     Def1("personality", sysPersonality).Partial("PER_LINUX without flags only"),
	abi.SYS_GETRLIMIT:       Def2("getrlimit", sysGetrlimit),
	abi.SYS_SETRLIMIT:       Def2("setrlimit", sysSetrlimit),
	abi.SYS_PRLIMIT64:       Def4("prlimit64", sysPrlimit64),
	abi.SYS_GETRUSAGE:       Def2("getrusage", sysGetrusage),
	abi.SYS_TIMES:           Def1("times", sysTimes),
	abi.SYS_UNSHARE:         Def1("unshare", sysUnshare).Partial("CLONE_NEWNS; no other namespaces, and nothing that another thread uses too: EINVAL"),
	abi.SYS_SETNS:           Absent("setns", abi.ENOSYS, "no namespaces (CONFIG_NAMESPACES=n)"),
	abi.SYS_KCMP:            Def5("kcmp", sysKcmp).Partial("KCMP_FILE, VM, FILES, FS, SIGHAND; no KCMP_EPOLL_TFD"),
}

func sysGetpid(t *task.Task) (uint64, abi.Errno)  { return uint64(t.PID()), 0 }
func sysGettid(t *task.Task) (uint64, abi.Errno)  { return uint64(t.TID), 0 }
func sysGetppid(t *task.Task) (uint64, abi.Errno) { return uint64(t.Process.PPID()), 0 }

func sysGetpgrp(t *task.Task) (uint64, abi.Errno) { return sysGetpgid(t, 0) }

func sysGetpgid(t *task.Task, pid Pid) (uint64, abi.Errno) {
	id, e := t.GetPGID(int32(pid))
	return uint64(id), e
}

func sysSetpgid(t *task.Task, pid, pgid Pid) (uint64, abi.Errno) {
	return 0, t.SetPGID(int32(pid), int32(pgid))
}

func sysGetsid(t *task.Task, pid Pid) (uint64, abi.Errno) {
	id, e := t.GetSID(int32(pid))
	return uint64(id), e
}

func sysSetsid(t *task.Task) (uint64, abi.Errno) {
	id, e := t.SetSID()
	return uint64(id), e
}

// clone is Clone, and what timers have to know of the child.
func clone(t *task.Task, a task.CloneArgs) (uint64, abi.Errno) {
	id, e := t.Clone(a)
	if e != 0 {
		return 0, e
	}
	born(t, id)
	return uint64(id), 0
}

// sysClone makes a task: clone(2), with the arguments in x86-64's order.
func sysClone(t *task.Task, flags CloneFlags, stack Addr, parentTID Out[int32], childTID Addr, tls Addr) (uint64, abi.Errno) {
	return clone(t, task.CloneArgs{Flags: uint64(uint32(flags) &^ 0xff), ExitSignal: int32(flags & 0xff), StackTop: uint64(stack),
		ParentTID: uint64(parentTID), PidFD: uint64(parentTID), ChildTID: uint64(childTID), TLS: uint64(tls)})
}

func sysFork(t *task.Task) (uint64, abi.Errno) {
	return clone(t, task.CloneArgs{ExitSignal: abi.SIGCHLD})
}

func sysVfork(t *task.Task) (uint64, abi.Errno) {
	return clone(t, task.CloneArgs{Flags: abi.CLONE_VM | abi.CLONE_VFORK, ExitSignal: abi.SIGCHLD})
}

// sysClone3 is clone3(2): EINVAL, E2BIG, EFAULT, and what clone says.
func sysClone3(t *task.Task, args InOut[abi.CloneArgs], size Size) (uint64, abi.Errno) {
	if size > mm.PageSize {
		return 0, abi.E2BIG
	}
	if size < abi.CLONE_ARGS_SIZE_VER0 {
		return 0, abi.EINVAL
	}
	var a abi.CloneArgs
	if e := copyStruct(t, uint64(args), uint64(size), abi.Bytes(&a)); e != 0 {
		return 0, e
	}
	switch {
	case a.SetTIDSize > task.MaxSetTID, (a.SetTID == 0) != (a.SetTIDSize == 0):
		return 0, abi.EINVAL
	case a.ExitSignal&^0xff != 0, a.ExitSignal >= abi.NSIG:
		return 0, abi.EINVAL
	}
	ids, e := In[int32](a.SetTID).Slice(t, int(a.SetTIDSize))
	if a.SetTIDSize > 0 && e != 0 {
		return 0, e
	}
	if (a.Stack == 0) != (a.StackSize == 0) || !accessOK(a.Stack, a.StackSize) {
		return 0, abi.EINVAL
	}
	top := a.Stack
	if top != 0 {
		top += a.StackSize
	}
	return clone(t, task.CloneArgs{Flags: a.Flags, ExitSignal: int32(a.ExitSignal), StackTop: top, TLS: a.TLS, ParentTID: a.ParentTID,
		ChildTID: a.ChildTID, PidFD: a.PidFD, SetTID: ids, Three: true})
}

// exec is execve(2) and execveat(2).
func exec(t *task.Task, dir DirFD, path Path, argv, envp Strs, flags AtFlags) (uint64, abi.Errno) {
	s, e := path.Get(t)
	switch {
	case e != 0:
		return 0, e
	case s == "" && flags&abi.AT_EMPTY_PATH == 0:
		return 0, abi.ENOENT
	case flags&^(abi.AT_EMPTY_PATH|abi.AT_SYMLINK_NOFOLLOW) != 0:
		return 0, abi.EINVAL
	}
	p, e := placeOf(t, dir, s)
	if e != 0 {
		return 0, e
	}
	defer p.done()
	a := task.ExecArgs{At: p.at, Path: s, Name: s, Flags: uint32(flags)}
	if p.held != nil {
		a.Name = fmt.Sprintf("/dev/fd/%d", dir)
		if s != "" {
			a.Name += "/" + s
		}
		a.Hidden = t.FDs().GetCloseOnExec(int32(dir))
	}
	room := t.ArgRoom()
	if a.Argv, e = t.ReadArgs(uint64(argv), &room); e != 0 {
		return 0, e
	}
	if a.Envp, e = t.ReadArgs(uint64(envp), &room); e != 0 {
		return 0, e
	}
	return 0, t.Exec(a)
}

func sysExecve(t *task.Task, path Path, argv, envp Strs) (uint64, abi.Errno) {
	return exec(t, abi.AT_FDCWD, path, argv, envp, 0)
}

func sysExecveat(t *task.Task, dir DirFD, path Path, argv, envp Strs, flags AtFlags) (uint64, abi.Errno) {
	return exec(t, dir, path, argv, envp, flags)
}

// sysExit ends the thread: _exit(2) of one thread.
func sysExit(t *task.Task, code Int) (uint64, abi.Errno) {
	t.Exit(int32(code))
	return 0, 0
}

// sysExitGroup ends the process: exit_group(2).
func sysExitGroup(t *task.Task, code Int) (uint64, abi.Errno) {
	t.ExitGroup(int32(code))
	return 0, 0
}

// sysSetTidAddress says what is cleared when the thread ends: set_tid_address(2).
func sysSetTidAddress(t *task.Task, addr Addr) (uint64, abi.Errno) {
	t.SetClearTID(uint64(addr))
	return uint64(t.TID), 0
}

// robustHeadSize is the size of struct robust_list_head, the only length that is taken.
const robustHeadSize = 24

func sysSetRobustList(t *task.Task, head Addr, size Size) (uint64, abi.Errno) {
	if size != robustHeadSize {
		return 0, abi.EINVAL
	}
	t.SetRobustList(uint64(head))
	return 0, 0
}

// sysGetRobustList tells the list of a thread: get_robust_list(2). ESRCH, EPERM, EFAULT.
func sysGetRobustList(t *task.Task, pid Pid, head Out[uint64], size Out[uint64]) (uint64, abi.Errno) {
	if pid != 0 && int32(pid) != t.TID {
		if t.System.Tree.FindTask(int32(pid)) == nil {
			return 0, abi.ESRCH
		}
		return 0, abi.EPERM
	}
	if e := size.Store(t, robustHeadSize); e != 0 {
		return 0, e
	}
	return 0, head.Store(t, t.RobustList())
}

// What arch_prctl(2) does.
const (
	archSetGS    = 0x1001
	archSetFS    = 0x1002
	archGetFS    = 0x1003
	archGetGS    = 0x1004
	archGetCPUID = 0x1011
	archSetCPUID = 0x1012
)

// sysArchPrctl sets and tells the bases of FS and GS: arch_prctl(2). EPERM (beyond user space), EFAULT, EINVAL.
func sysArchPrctl(t *task.Task, op Int, addr Addr) (uint64, abi.Errno) {
	switch op {
	case archSetFS, archSetGS:
		if uint64(addr) >= x86.UserLimit {
			return 0, abi.EPERM
		}
		if op == archSetFS {
			t.Regs.FSBase = uint64(addr)
		} else {
			t.Regs.GSBase = uint64(addr)
		}
		return 0, 0
	case archGetFS:
		return 0, Out[uint64](addr).Store(t, t.Regs.FSBase)
	case archGetGS:
		return 0, Out[uint64](addr).Store(t, t.Regs.GSBase)
	case archGetCPUID:
		return 1, 0
	case archSetCPUID:
		return 0, abi.ENODEV
	}
	return 0, abi.EINVAL
}

// sysPersonality tells the execution domain, which is Linux's own: personality(2).
func sysPersonality(t *task.Task, persona Hex) (uint64, abi.Errno) {
	if uint32(persona) == 0xffffffff || uint32(persona) == 0 {
		return 0, 0
	}
	return 0, abi.EINVAL
}

func sysGetrlimit(t *task.Task, res Resource, out Out[abi.Rlimit64]) (uint64, abi.Errno) {
	if res >= abi.RLIM_NLIMITS {
		return 0, abi.EINVAL
	}
	return 0, out.Store(t, t.Limits().Get(int(res)))
}

func sysSetrlimit(t *task.Task, res Resource, in In[abi.Rlimit64]) (uint64, abi.Errno) {
	v, e := in.Load(t)
	if e != 0 {
		return 0, e
	}
	_, e = t.Prlimit(0, resource(res), &v)
	return 0, e
}

// resource keeps a number that is too large for an int positive, and no resource.
func resource(res Resource) int { return int(min(res, abi.RLIM_NLIMITS)) }

// sysPrlimit64 sets and tells a limit of a process: prlimit(2). EINVAL, EFAULT, ESRCH, EPERM.
func sysPrlimit64(t *task.Task, pid Pid, res Resource, set In[abi.Rlimit64], old Out[abi.Rlimit64]) (uint64, abi.Errno) {
	var v *abi.Rlimit64
	if set != 0 {
		if res >= abi.RLIM_NLIMITS {
			return 0, abi.EINVAL
		}
		l, e := set.Load(t)
		if e != 0 {
			return 0, e
		}
		v = &l
	}
	was, e := t.Prlimit(int32(pid), resource(res), v)
	if e != 0 {
		return 0, e
	}
	return 0, old.StoreIf(t, was)
}

func sysGetrusage(t *task.Task, who Int, out Out[abi.Rusage]) (uint64, abi.Errno) {
	r, e := t.Rusage(int32(who))
	if e != 0 {
		return 0, e
	}
	return 0, out.Store(t, r)
}

// sysTimes tells the times of the process and its children in ticks, and answers the ticks since boot: times(2).
func sysTimes(t *task.Task, out Out[abi.Tms]) (uint64, abi.Errno) {
	const tick = abi.NsPerSec / abi.HZ
	if out != 0 {
		u, s, cu, cs := t.Process.CPUTimes()
		if e := out.Store(t, abi.Tms{Utime: int64(u) / tick, Stime: int64(s) / tick, Cutime: int64(cu) / tick, Cstime: int64(cs) / tick}); e != 0 {
			return 0, e
		}
	}
	return uint64(t.System.Clock.Monotonic() / tick), 0
}

// sysWait4 waits for a child, and tells how it ended and what it used: wait4(2).
func sysWait4(t *task.Task, pid Pid, status Out[int32], options Int, usage Out[abi.Rusage]) (uint64, abi.Errno) {
	w, e := t.Wait4(int32(pid), int32(options))
	if e != 0 || w.PID == 0 {
		return 0, e
	}
	if e := status.StoreIf(t, w.Status); e != 0 {
		return 0, e
	}
	if e := usage.StoreIf(t, w.Rusage); e != 0 {
		return 0, e
	}
	return uint64(w.PID), 0
}

// sysWaitid waits for a change of a child: waitid(2). The siginfo is written in any case: without a child to tell of it has no signal.
func sysWaitid(t *task.Task, which Int, id Pid, info Out[[abi.SiginfoSize]byte], options Int, usage Out[abi.Rusage]) (uint64, abi.Errno) {
	w, e := t.WaitID(task.WaitFor{Which: int32(which), ID: int32(id), Options: int32(options)})
	if e >= abi.ERESTARTSYS {
		return 0, e
	}
	if e == 0 && w.PID != 0 {
		if e := usage.StoreIf(t, w.Rusage); e != 0 {
			return 0, e
		}
	}
	if info == 0 {
		return 0, e
	}
	// Only the fields that waitid sets are written: signo, errno, code, and pid, uid and status.
	var b [abi.SiginfoSize]byte
	if e == 0 {
		i := w.Info()
		i.PutBytes(b[:])
	}
	if e := copyOut(t, uint64(info), b[:28]); e != 0 {
		return 0, e
	}
	return 0, e
}

// What unshare(2) may ask of a process of one thread, where it changes nothing.
const aloneFlags = abi.CLONE_THREAD | abi.CLONE_VM | abi.CLONE_SIGHAND

// sysUnshare gives the caller what it shares with others for its own: unshare(2). EINVAL: a namespace, which this kernel is built
// without, or what only a process of one thread can ask for.
func sysUnshare(t *task.Task, flags CloneFlags) (uint64, abi.Errno) {
	if flags&^(aloneFlags|abi.CLONE_FS|abi.CLONE_FILES|abi.CLONE_SYSVSEM|abi.CLONE_NEWNS) != 0 {
		return 0, abi.EINVAL
	}
	if flags&aloneFlags != 0 && (len(t.Process.Threads()) > 1 || t.Memory().Shared()) {
		return 0, abi.EINVAL
	}
	if flags&abi.CLONE_NEWNS != 0 && !t.Cred().Has(abi.CAP_SYS_ADMIN) {
		return 0, abi.EPERM
	}
	if flags&(abi.CLONE_FS|abi.CLONE_NEWNS) != 0 && t.Dirs().Shared() || flags&abi.CLONE_FILES != 0 && t.FDs().Shared() {
		return 0, abi.EINVAL
	}
	if flags&abi.CLONE_NEWNS != 0 {
		return 0, t.Caller().Unshare(t.Dirs())
	}
	return 0, 0
}
