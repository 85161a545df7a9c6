package sys

import (
	"encoding/binary"

	"goum/arch/abi"
	"goum/kernel/signal"
	"goum/kernel/task"
	"goum/sched/clock"
)

// signalCalls send, block and take signals.
var signalCalls = Calls{
	abi.SYS_KILL:              Def2("kill", sysKill),
	abi.SYS_TKILL:             Def2("tkill", sysTkill),
	abi.SYS_TGKILL:            Def3("tgkill", sysTgkill),
	abi.SYS_RT_SIGACTION:      Def4("rt_sigaction", sysRtSigaction),
	abi.SYS_RT_SIGPROCMASK:    Def4("rt_sigprocmask", sysRtSigprocmask),
	abi.SYS_RT_SIGPENDING:     Def2("rt_sigpending", sysRtSigpending),
	abi.SYS_RT_SIGSUSPEND:     Def2("rt_sigsuspend", sysRtSigsuspend),
	abi.SYS_RT_SIGTIMEDWAIT:   Def4("rt_sigtimedwait", sysRtSigtimedwait),
	abi.SYS_RT_SIGQUEUEINFO:   Def3("rt_sigqueueinfo", sysRtSigqueueinfo),
	abi.SYS_RT_TGSIGQUEUEINFO: Def4("rt_tgsigqueueinfo", sysRtTgsigqueueinfo),
	abi.SYS_RT_SIGRETURN:      Def0("rt_sigreturn", sysRtSigreturn),
	abi.SYS_SIGALTSTACK:       Def2("sigaltstack", sysSigaltstack),
	abi.SYS_PAUSE:             Def0("pause", sysPause),
	abi.SYS_RESTART_SYSCALL:   Def0("restart_syscall", sysRestartSyscall),
}

// sysKill sends a signal to a process, a group, or all: kill(2). EINVAL (no signal), ESRCH, EPERM.
func sysKill(t *task.Task, pid Pid, sig Signal) (uint64, abi.Errno) {
	return 0, t.Kill(int32(pid), int32(sig))
}

// sysTkill sends a signal to a thread: tkill(2). EINVAL (a bad thread or signal), ESRCH, EPERM.
func sysTkill(t *task.Task, tid Pid, sig Signal) (uint64, abi.Errno) {
	return 0, t.TgKill(-1, int32(tid), int32(sig))
}

// sysTgkill is tkill for a thread of a certain process: tgkill(2).
func sysTgkill(t *task.Task, tgid, tid Pid, sig Signal) (uint64, abi.Errno) {
	if tgid <= 0 {
		return 0, abi.EINVAL
	}
	return 0, t.TgKill(int32(tgid), int32(tid), int32(sig))
}

// sysRtSigaction sets and tells what the process does about a signal: rt_sigaction(2). EINVAL (set size, no such signal), EFAULT.
func sysRtSigaction(t *task.Task, sig Signal, act In[abi.Sigaction], old Out[abi.Sigaction], size Size) (uint64, abi.Errno) {
	if size != abi.SigsetSize {
		return 0, abi.EINVAL
	}
	var set *signal.Action
	if act != 0 {
		a, e := act.Load(t)
		if e != 0 {
			return 0, e
		}
		set = &a
	}
	was, e := t.SetAction(int32(sig), set)
	if e != 0 {
		return 0, e
	}
	return 0, old.StoreIf(t, was)
}

// sysRtSigprocmask changes and tells which signals the thread blocks: rt_sigprocmask(2). EINVAL, EFAULT.
func sysRtSigprocmask(t *task.Task, how SigHow, set In[abi.Sigset], old Out[abi.Sigset], size Size) (uint64, abi.Errno) {
	if size != abi.SigsetSize {
		return 0, abi.EINVAL
	}
	was := t.Mask()
	if set != 0 {
		s, e := set.Load(t)
		if e != 0 {
			return 0, e
		}
		if _, e := t.ChangeMask(int32(how), s); e != 0 {
			return 0, e
		}
	}
	return 0, old.StoreIf(t, was)
}

// sysRtSigpending tells what is blocked and pending: rt_sigpending(2). A short size gives as many bytes.
func sysRtSigpending(t *task.Task, set Out[abi.Sigset], size Size) (uint64, abi.Errno) {
	if size > abi.SigsetSize {
		return 0, abi.EINVAL
	}
	var b [abi.SigsetSize]byte
	binary.LittleEndian.PutUint64(b[:], uint64(t.Pending()))
	return 0, copyOut(t, uint64(set), b[:size])
}

// sysRtSigsuspend waits for a signal with another mask: rt_sigsuspend(2).
func sysRtSigsuspend(t *task.Task, set In[abi.Sigset], size Size) (uint64, abi.Errno) {
	if size != abi.SigsetSize {
		return 0, abi.EINVAL
	}
	s, e := set.Load(t)
	if e != 0 {
		return 0, e
	}
	return 0, t.SigSuspend(s)
}

func sysPause(t *task.Task) (uint64, abi.Errno) { return 0, t.Pause() }

// sysRtSigtimedwait takes a pending signal, or waits for one: rt_sigtimedwait(2). EINVAL, EFAULT, EAGAIN, EINTR.
func sysRtSigtimedwait(t *task.Task, set In[abi.Sigset], info Out[[abi.SiginfoSize]byte], timeout In[abi.Timespec], size Size) (uint64, abi.Errno) {
	if size != abi.SigsetSize {
		return 0, abi.EINVAL
	}
	s, e := set.Load(t)
	if e != 0 {
		return 0, e
	}
	deadline := clock.Never
	if timeout != 0 {
		ts, e := timeout.Load(t)
		if e != 0 {
			return 0, e
		}
		if !ts.Valid() {
			return 0, abi.EINVAL
		}
		deadline = after(t, ts)
	}
	var i signal.Info
	sig, e := t.TimedWait(s, &i, deadline)
	if e != 0 {
		return 0, e
	}
	if info != 0 {
		var b [abi.SiginfoSize]byte
		i.PutBytes(b[:])
		if e := info.Store(t, b); e != 0 {
			return 0, e
		}
	}
	return uint64(sig), 0
}

// loadInfo reads the siginfo that a caller made: EFAULT.
func loadInfo(t *task.Task, addr In[[abi.SiginfoSize]byte]) (i signal.Info, e abi.Errno) {
	b, e := addr.Load(t)
	if e == 0 {
		i.SetBytes(b[:])
	}
	return i, e
}

// sysRtSigqueueinfo sends a signal with data to a process: rt_sigqueueinfo(2). EFAULT, EPERM, ESRCH, EINVAL, EAGAIN.
func sysRtSigqueueinfo(t *task.Task, pid Pid, sig Signal, info In[[abi.SiginfoSize]byte]) (uint64, abi.Errno) {
	i, e := loadInfo(t, info)
	if e != 0 {
		return 0, e
	}
	return 0, t.QueueInfo(int32(pid), int32(sig), &i)
}

// sysRtTgsigqueueinfo sends a signal with data to a thread: rt_tgsigqueueinfo(2).
func sysRtTgsigqueueinfo(t *task.Task, tgid, tid Pid, sig Signal, info In[[abi.SiginfoSize]byte]) (uint64, abi.Errno) {
	i, e := loadInfo(t, info)
	if e != 0 {
		return 0, e
	}
	return 0, t.TgQueueInfo(int32(tgid), int32(tid), int32(sig), &i)
}

// sysRtSigreturn ends a handler: registers and mask come back from the frame. FinishCall leaves them alone.
func sysRtSigreturn(t *task.Task) (uint64, abi.Errno) {
	t.SigReturn()
	return 0, 0
}

// sysSigaltstack sets and tells the stack that handlers run on: sigaltstack(2). EFAULT, EPERM, EINVAL, ENOMEM.
func sysSigaltstack(t *task.Task, set In[abi.StackT], old Out[abi.StackT]) (uint64, abi.Errno) {
	was := t.AltStack()
	if set != 0 {
		s, e := set.Load(t)
		if e != 0 {
			return 0, e
		}
		if e := t.SetAltStack(s); e != 0 {
			return 0, e
		}
	}
	return 0, old.StoreIf(t, was)
}

// sysRestartSyscall goes on with a call that a signal interrupted: restart_syscall(2). EINTR if there is none.
func sysRestartSyscall(t *task.Task) (uint64, abi.Errno) { return t.RestartCall() }

// after is the monotonic time ts from now.
func after(t *task.Task, ts abi.Timespec) clock.Time { return t.System.Clock.Monotonic().Add(ts.Ns()) }
