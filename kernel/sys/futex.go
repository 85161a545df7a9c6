package sys

import (
	"goum/arch/abi"
	"goum/kernel/futex"
	"goum/kernel/task"
)

// futexCalls sleep and wake on words of memory.
var futexCalls = Calls{
	abi.SYS_FUTEX:         Def6("futex", sysFutex),
	abi.SYS_FUTEX_WAITV:   Def5("futex_waitv", sysFutexWaitv),
	abi.SYS_FUTEX_WAKE:    Def4("futex_wake", sysFutexWake),
	abi.SYS_FUTEX_WAIT:    Def6("futex_wait", sysFutexWait),
	abi.SYS_FUTEX_REQUEUE: Def4("futex_requeue", sysFutexRequeue),
}

func futexCaller(t *task.Task) futex.Caller {
	return futex.Caller{Thread: t.Thread, User: t.User(), TID: t.TID}
}

// futexResult hands what is to be done at a restart to the task.
func futexResult(t *task.Task, n uint64, e abi.Errno, again futex.Restart) (uint64, abi.Errno) {
	if again != nil && e == abi.ERESTART_RESTARTBLOCK {
		return 0, futexLater(t, again)
	}
	return n, e
}

// futexLater is apart, so that only an interrupted wait allocates.
func futexLater(t *task.Task, again futex.Restart) abi.Errno {
	return t.RestartWith(func(t *task.Task) (uint64, abi.Errno) {
		n, e, more := again(futexCaller(t))
		return futexResult(t, n, e, more)
	})
}

// sysFutex is futex(2).
func sysFutex(t *task.Task, addr Addr, op FutexOp, val Uint, timeout, addr2 Addr, val3 Uint) (uint64, abi.Errno) {
	n, e, again := t.System.Futex.Call(futexCaller(t), uint64(addr), uint32(op), uint32(val), uint64(timeout), uint64(addr2), uint32(val3))
	return futexResult(t, n, e, again)
}

func sysFutexWaitv(t *task.Task, waiters Addr, n, flags Uint, timeout In[abi.Timespec], clock ClockID) (uint64, abi.Errno) {
	return t.System.Futex.CallWaitv(futexCaller(t), uint64(waiters), uint32(n), uint32(flags), uint64(timeout), int32(clock))
}

func sysFutexWake(t *task.Task, addr Addr, mask Hex, n Int, flags Hex) (uint64, abi.Errno) {
	return t.System.Futex.CallWake(futexCaller(t), uint64(addr), uint64(mask), int32(n), uint32(flags))
}

func sysFutexWait(t *task.Task, addr Addr, val Size, mask Hex, flags Hex, timeout In[abi.Timespec], clock ClockID) (uint64, abi.Errno) {
	return 0, t.System.Futex.CallWait(futexCaller(t), uint64(addr), uint64(val), uint64(mask), uint32(flags), uint64(timeout), int32(clock))
}

func sysFutexRequeue(t *task.Task, waiters Addr, flags Hex, wake, requeue Int) (uint64, abi.Errno) {
	return t.System.Futex.CallRequeue(futexCaller(t), uint64(waiters), uint32(flags), int32(wake), int32(requeue))
}
