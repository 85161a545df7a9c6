package sys

import (
	"sync"

	"goum/arch/abi"
	"goum/kernel/event"
	"goum/kernel/signal"
	"goum/kernel/task"
	"goum/kernel/timer"
	"goum/sched/clock"
)

// timerCalls set timers that send signals.
var timerCalls = Calls{
	abi.SYS_GETITIMER:        Def2("getitimer", sysGetitimer),
	abi.SYS_SETITIMER:        Def3("setitimer", sysSetitimer),
	abi.SYS_ALARM:            Def1("alarm", sysAlarm),
	abi.SYS_TIMER_CREATE:     Def3("timer_create", sysTimerCreate),
	abi.SYS_TIMER_SETTIME:    Def4("timer_settime", sysTimerSettime),
	abi.SYS_TIMER_GETTIME:    Def2("timer_gettime", sysTimerGettime),
	abi.SYS_TIMER_GETOVERRUN: Def1("timer_getoverrun", sysTimerGetoverrun),
	abi.SYS_TIMER_DELETE:     Def1("timer_delete", sysTimerDelete),
}

// making is held while a process gets its timers, which most never do. It holds no state of a machine.
var making sync.Mutex

// timersOf are the timers of p, made at the first call.
func timersOf(p *task.Process) *timer.Timers {
	making.Lock()
	defer making.Unlock()
	if s, ok := p.Timers.(*timer.Timers); ok {
		return s
	}
	s := machineOf(p.System).Timers.New(timer.Process{
		Target: p, Remove: p.RemoveEntry,
		CPU: func() (user, system clock.Time) {
			user, system, _, _ = p.CPUTimes()
			return user, system
		},
	})
	p.Timers, p.ExitTimers = s, s.Exit
	p.LimitCPU = func() { limitCPU(p, s) }
	for _, o := range p.Threads() {
		o.Thread.SetTick(s.Tick)
	}
	return s
}

func limitCPU(p *task.Process, s *timer.Timers) {
	l := p.Limits.Get(abi.RLIMIT_CPU)
	s.SetCPULimit(l.Cur, l.Max)
}

// born gives a new task's thread the tick of its process's timers, and a new process the limit of CPU time that it inherits.
func born(t *task.Task, id int32) {
	c := t.System.Tree.FindTask(id)
	if c == nil {
		return // it has ended already
	}
	if c.Process != t.Process {
		if c.Limits().Cur(abi.RLIMIT_CPU) != abi.RLIM_INFINITY {
			limitCPU(c.Process, timersOf(c.Process))
		}
		return
	}
	making.Lock()
	s, ok := t.Process.Timers.(*timer.Timers)
	making.Unlock()
	if ok {
		c.Thread.SetTick(s.Tick)
	}
}

func sysGetitimer(t *task.Task, which Int, out Out[abi.Itimerval]) (uint64, abi.Errno) {
	i, e := timersOf(t.Process).GetInterval(int32(which))
	if e != 0 {
		return 0, e
	}
	return 0, out.Store(t, i.Itimerval())
}

// sysSetitimer arms an interval timer: setitimer(2). A null pointer disarms it, which Linux allows and warns of.
func sysSetitimer(t *task.Task, which Int, in In[abi.Itimerval], old Out[abi.Itimerval]) (uint64, abi.Errno) {
	v, e := in.LoadOr(t, abi.Itimerval{})
	if e != 0 {
		return 0, e
	}
	i, e := timer.IntervalOf(v)
	if e != 0 {
		return 0, e
	}
	was, e := timersOf(t.Process).SetInterval(int32(which), i)
	if e != 0 {
		return 0, e
	}
	return 0, old.StoreIf(t, was.Itimerval())
}

func sysAlarm(t *task.Task, seconds Uint) (uint64, abi.Errno) {
	return uint64(timersOf(t.Process).Alarm(uint32(seconds))), 0
}

// timerClock is the clock of a POSIX timer: EINVAL (unknown), EOPNOTSUPP (one that timers cannot use), EPERM (alarm clocks).
func timerClock(t *task.Task, id ClockID) (timer.Clock, abi.Errno) {
	clk := t.System.Clock
	switch id {
	case abi.CLOCK_REALTIME_ALARM, abi.CLOCK_BOOTTIME_ALARM:
		if !t.Cred().Has(abi.CAP_WAKE_ALARM) {
			return timer.Clock{}, abi.EPERM
		}
		if id == abi.CLOCK_BOOTTIME_ALARM {
			return timer.Clock{}, 0
		}
		fallthrough
	case abi.CLOCK_REALTIME:
		return timer.Clock{Real: true, Offset: clk.RealOffset}, 0
	case abi.CLOCK_TAI:
		return timer.Clock{Real: true, Offset: func() int64 { return clk.RealOffset() + clk.TAIOffset() }}, 0
	case abi.CLOCK_MONOTONIC, abi.CLOCK_BOOTTIME:
		return timer.Clock{}, 0
	case abi.CLOCK_MONOTONIC_RAW, abi.CLOCK_REALTIME_COARSE, abi.CLOCK_MONOTONIC_COARSE:
		return timer.Clock{}, abi.EOPNOTSUPP
	}
	f, e := cpuClock(t, id)
	return timer.Clock{CPU: f}, e
}

// sysTimerCreate makes a timer: timer_create(2). EFAULT, EINVAL, EOPNOTSUPP, EPERM, EAGAIN.
func sysTimerCreate(t *task.Task, clock ClockID, ev In[abi.Sigevent], out Out[int32]) (uint64, abi.Errno) {
	var how *timer.Event
	if ev != 0 {
		v, e := ev.Load(t)
		if e != 0 {
			return 0, e
		}
		how = &timer.Event{Silent: v.Notify == abi.SIGEV_NONE, Signo: v.Signo, Value: v.Value}
		switch v.Notify {
		case abi.SIGEV_SIGNAL, abi.SIGEV_NONE, abi.SIGEV_THREAD:
		case abi.SIGEV_THREAD_ID:
			o := t.System.Tree.FindTask(v.TID)
			if o == nil || o.Process != t.Process {
				return 0, abi.EINVAL
			}
			how.Target = o
		default:
			return 0, abi.EINVAL
		}
		if !how.Silent && !signal.Valid(int(v.Signo)) {
			return 0, abi.EINVAL
		}
	}
	c, e := timerClock(t, clock)
	if e != 0 {
		return 0, e
	}
	s := timersOf(t.Process)
	id, e := s.Create(c, how, t.Cred().User, t.Limits().Cur(abi.RLIMIT_SIGPENDING))
	if e != 0 {
		return 0, e
	}
	if e := out.Store(t, id); e != 0 {
		s.Delete(id)
		return 0, e
	}
	return 0, 0
}

// sysTimerSettime arms a timer: timer_settime(2). EINVAL, EFAULT.
func sysTimerSettime(t *task.Task, id Int, flags Int, in In[abi.ItimerSpec], old Out[abi.ItimerSpec]) (uint64, abi.Errno) {
	if in == 0 {
		return 0, abi.EINVAL
	}
	v, e := in.Load(t)
	if e != 0 {
		return 0, e
	}
	was, e := timersOf(t.Process).Set(int32(id), flags&abi.TIMER_ABSTIME != 0, v)
	if e != 0 {
		return 0, e
	}
	return 0, old.StoreIf(t, was)
}

func sysTimerGettime(t *task.Task, id Int, out Out[abi.ItimerSpec]) (uint64, abi.Errno) {
	v, e := timersOf(t.Process).Get(int32(id))
	if e != 0 {
		return 0, e
	}
	return 0, out.Store(t, v)
}

func sysTimerGetoverrun(t *task.Task, id Int) (uint64, abi.Errno) {
	n, e := timersOf(t.Process).Overrun(int32(id))
	return uint64(n), e
}

func sysTimerDelete(t *task.Task, id Int) (uint64, abi.Errno) {
	return 0, timersOf(t.Process).Delete(int32(id))
}

// setRealtime sets the wall clock, and tells all who wait for a time of it.
func setRealtime(t *task.Task, ns int64) abi.Errno {
	if e := t.System.Clock.SetRealtime(ns); e != 0 {
		return e
	}
	machine(t).Timers.ClockSet()
	t.System.Futex.ClockSet()
	if ev := event.Of(t); ev != nil {
		ev.Timers.ClockSet()
	}
	return 0
}
