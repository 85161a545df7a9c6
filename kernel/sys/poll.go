package sys

import (
	"encoding/binary"

	"goum/arch/abi"
	"goum/kernel/event"
	"goum/kernel/fs/vfs"
	"goum/kernel/signal"
	"goum/kernel/task"
	"goum/sched/clock"
)

// pollCalls wait for descriptors, and make those that are there to be waited for.
var pollCalls = Calls{
	abi.SYS_POLL:              Def3("poll", sysPoll),
	abi.SYS_PPOLL:             Def5("ppoll", sysPpoll),
	abi.SYS_SELECT:            Def5("select", sysSelect),
	abi.SYS_PSELECT6:          Def6("pselect6", sysPselect6),
	abi.SYS_EPOLL_CREATE:      Def1("epoll_create", sysEpollCreate),
	abi.SYS_EPOLL_CREATE1:     Def1("epoll_create1", sysEpollCreate1),
	abi.SYS_EPOLL_CTL:         Def4("epoll_ctl", sysEpollCtl),
	abi.SYS_EPOLL_WAIT:        Def4("epoll_wait", sysEpollWait),
	abi.SYS_EPOLL_PWAIT:       Def6("epoll_pwait", sysEpollPwait),
	abi.SYS_EPOLL_PWAIT2:      Def6("epoll_pwait2", sysEpollPwait2),
	abi.SYS_EVENTFD:           Def1("eventfd", sysEventfd),
	abi.SYS_EVENTFD2:          Def2("eventfd2", sysEventfd2),
	abi.SYS_SIGNALFD:          Def3("signalfd", sysSignalfd),
	abi.SYS_SIGNALFD4:         Def4("signalfd4", sysSignalfd4),
	abi.SYS_TIMERFD_CREATE:    Def2("timerfd_create", sysTimerfdCreate),
	abi.SYS_TIMERFD_SETTIME:   Def4("timerfd_settime", sysTimerfdSettime),
	abi.SYS_TIMERFD_GETTIME:   Def2("timerfd_gettime", sysTimerfdGettime),
	abi.SYS_INOTIFY_INIT:      Def0("inotify_init", sysInotifyInit),
	abi.SYS_INOTIFY_INIT1:     Def1("inotify_init1", sysInotifyInit1),
	abi.SYS_INOTIFY_ADD_WATCH: Def3("inotify_add_watch", sysInotifyAddWatch),
	abi.SYS_INOTIFY_RM_WATCH:  Def2("inotify_rm_watch", sysInotifyRmWatch),
	abi.SYS_PIDFD_OPEN:        Def2("pidfd_open", sysPidfdOpen).Partial("no PIDFD_THREAD: EINVAL"),
	abi.SYS_PIDFD_SEND_SIGNAL: Def4("pidfd_send_signal", sysPidfdSendSignal),
	abi.SYS_PIDFD_GETFD:       Def3("pidfd_getfd", sysPidfdGetfd),
}

// install gives o, whose reference it takes over, a descriptor: EMFILE.
func install(t *task.Task, o *vfs.Open, cloexec bool) (uint64, abi.Errno) {
	n, e := t.FDs().Add(t.Caller(), o, cloexec)
	return uint64(n), e
}

// pollChunk is how many descriptors are looked at without a call to the allocator.
const pollChunk = 32

// doPoll is do_sys_poll: it reads the descriptors at addr, waits, and writes the answers back. EINVAL (more than RLIMIT_NOFILE),
// EFAULT, ERESTARTNOHAND.
func doPoll(t *task.Task, addr uint64, n uint64, deadline clock.Time) (uint64, abi.Errno) {
	if n > t.Limits().Cur(abi.RLIMIT_NOFILE) || n > maxPoll {
		return 0, abi.EINVAL
	}
	var (
		roomFDs [pollChunk]event.PollFD
		roomRaw [pollChunk]abi.PollFD
	)
	fds, raw := roomFDs[:], roomRaw[:]
	if n > pollChunk {
		fds, raw = make([]event.PollFD, n), make([]abi.PollFD, n)
	}
	fds, raw = fds[:n], raw[:n]
	if e := copyIn(t, addr, abi.SliceBytes(raw)); e != 0 {
		return 0, e
	}
	table := t.FDs()
	for i := range raw {
		fds[i] = event.PollFD{Skip: raw[i].FD < 0, Events: uint32(uint16(raw[i].Events))}
		if !fds[i].Skip {
			if o, e := table.Get(raw[i].FD); e == 0 {
				if o.IsPath() {
					o.Unref() // not open for poll's purposes: POLLNVAL
				} else {
					fds[i].Open = o
				}
			}
		}
	}
	ready, e := event.Poll(t.Caller(), fds, deadline)
	for i := range fds {
		if fds[i].Open != nil {
			fds[i].Open.Unref()
		}
		raw[i].Revents = int16(uint16(fds[i].Revents))
	}
	if e != 0 {
		return 0, e
	}
	return uint64(ready), copyOut(t, addr, abi.SliceBytes(raw))
}

// maxPoll bounds the descriptors of one poll, whatever the limit: as many as can be open.
const maxPoll = 1 << 20

// pollUntil is poll(2) with a deadline; a signal without a handler goes on to the same one.
func pollUntil(t *task.Task, addr uint64, n uint64, deadline clock.Time) (uint64, abi.Errno) {
	ready, e := doPoll(t, addr, n, deadline)
	if e == abi.ERESTARTNOHAND {
		return 0, pollLater(t, addr, n, deadline)
	}
	return ready, e
}

// pollLater is apart, so that only an interrupted wait allocates.
func pollLater(t *task.Task, addr uint64, n uint64, deadline clock.Time) abi.Errno {
	return t.RestartWith(func(t *task.Task) (uint64, abi.Errno) { return pollUntil(t, addr, n, deadline) })
}

// millis is a deadline in milliseconds from now: negative is never, 0 does not wait.
func millis(t *task.Task, ms Int) clock.Time {
	switch {
	case ms < 0:
		return clock.Never
	case ms == 0:
		return 0
	}
	return t.System.Clock.Monotonic().Add(int64(ms) * abi.NsPerMsec)
}

// sysPoll waits for descriptors: poll(2).
func sysPoll(t *task.Task, fds InOut[abi.PollFD], n Uint, timeout Int) (uint64, abi.Errno) {
	return pollUntil(t, uint64(fds), uint64(n), millis(t, timeout))
}

// span is a timeout as a timespec: the deadline; a null pointer is never, a zero one does not wait. EFAULT, EINVAL.
func span(t *task.Task, in In[abi.Timespec]) (clock.Time, abi.Errno) {
	if in == 0 {
		return clock.Never, 0
	}
	ts, e := in.Load(t)
	if e != 0 {
		return 0, e
	}
	if !ts.Valid() {
		return 0, abi.EINVAL
	}
	if ts.IsZero() {
		return 0, 0
	}
	return after(t, ts), 0
}

// tempMask sets the mask that ppoll and its kind wait with; a null pointer leaves it. EINVAL (size), EFAULT.
func tempMask(t *task.Task, set In[abi.Sigset], size Size) abi.Errno {
	if set == 0 {
		return 0
	}
	if size != abi.SigsetSize {
		return abi.EINVAL
	}
	s, e := set.Load(t)
	if e == 0 {
		t.SetTemporaryMask(s)
	}
	return e
}

// remaining is what is left to the deadline.
func remaining(t *task.Task, deadline clock.Time) abi.Timespec {
	if deadline == 0 || deadline == clock.Never {
		return abi.Timespec{}
	}
	return abi.NsToTimespec(max(int64(deadline-t.System.Clock.Monotonic()), 0))
}

// finish is poll_select_finish: the mask of before, unless a signal is to be delivered with the temporary one, and what is left of the
// timeout. Where that cannot be written the call cannot be restarted.
func finish(t *task.Task, n uint64, e abi.Errno, deadline clock.Time, write func(abi.Timespec) abi.Errno) (uint64, abi.Errno) {
	if e != abi.ERESTARTNOHAND {
		t.DropTemporaryMask()
	}
	if write != nil && deadline != clock.Never {
		if w := write(remaining(t, deadline)); w != 0 && e == abi.ERESTARTNOHAND {
			e = abi.EINTR
		}
	}
	return n, e
}

// sysPpoll is poll with a finer timeout and a mask: ppoll(2).
func sysPpoll(t *task.Task, fds InOut[abi.PollFD], n Uint, timeout InOut[abi.Timespec], set In[abi.Sigset], size Size) (uint64, abi.Errno) {
	deadline, e := span(t, In[abi.Timespec](timeout))
	if e != 0 {
		return 0, e
	}
	if e := tempMask(t, set, size); e != 0 {
		return 0, e
	}
	ready, e := doPoll(t, uint64(fds), uint64(n), deadline)
	var write func(abi.Timespec) abi.Errno
	if timeout != 0 {
		write = func(ts abi.Timespec) abi.Errno { return timeout.Store(t, ts) }
	}
	return finish(t, ready, e, deadline, write)
}

// fdSet is one of the three sets of select(2).
type fdSet struct {
	addr uint64
	bits []byte
	ask  uint32 // events that count
}

// doSelect is core_sys_select: EINVAL (n negative), EFAULT, EBADF, ERESTARTNOHAND. n beyond the table is cut to it.
func doSelect(t *task.Task, n Int, in, out, ex Addr, deadline clock.Time) (uint64, abi.Errno) {
	if n < 0 {
		return 0, abi.EINVAL
	}
	table := t.FDs()
	count := min(int(n), table.Size())
	bytes := (count + 63) / 64 * 8
	sets := [3]fdSet{{uint64(in), nil, event.SelectIn}, {uint64(out), nil, event.SelectOut}, {uint64(ex), nil, event.SelectEx}}
	for i := range sets {
		if sets[i].addr == 0 {
			continue
		}
		sets[i].bits = make([]byte, bytes)
		if e := copyIn(t, sets[i].addr, sets[i].bits); e != 0 {
			return 0, e
		}
	}
	has := func(s *fdSet, fd int) bool { return s.bits != nil && s.bits[fd/8]>>(fd%8)&1 != 0 }
	var fds []event.PollFD
	var nums []int
	defer func() {
		for i := range fds {
			fds[i].Open.Unref()
		}
	}()
	for fd := range count {
		var ask uint32
		for i := range sets {
			if has(&sets[i], fd) {
				ask |= sets[i].ask
			}
		}
		if ask == 0 {
			continue
		}
		o, e := get(t, FD(fd))
		if e != 0 {
			return 0, e
		}
		fds, nums = append(fds, event.PollFD{Open: o, Events: ask}), append(nums, fd)
	}
	if _, e := event.Poll(t.Caller(), fds, deadline); e != 0 {
		return 0, e
	}
	total := uint64(0)
	for i := range sets {
		s := &sets[i]
		if s.bits == nil {
			continue
		}
		answer := make([]byte, bytes)
		for k, fd := range nums {
			if has(s, fd) && fds[k].Revents&s.ask != 0 {
				answer[fd/8] |= 1 << (fd % 8)
				total++
			}
		}
		s.bits = answer
	}
	for i := range sets {
		if sets[i].bits != nil {
			if e := copyOut(t, sets[i].addr, sets[i].bits); e != 0 {
				return 0, e
			}
		}
	}
	return total, 0
}

// sysSelect waits for descriptors in sets: select(2). The timeout becomes what is left of it.
func sysSelect(t *task.Task, n Int, in, out, ex Addr, timeout InOut[abi.Timeval]) (uint64, abi.Errno) {
	deadline := clock.Never
	var write func(abi.Timespec) abi.Errno
	if timeout != 0 {
		tv, e := timeout.Load(t)
		if e != 0 {
			return 0, e
		}
		// Linux takes microseconds beyond a second as seconds.
		if tv.Sec < 0 || tv.Usec < 0 {
			return 0, abi.EINVAL
		}
		if deadline = 0; !tv.IsZero() {
			deadline = t.System.Clock.Monotonic().Add(tv.Ns())
		}
		write = func(ts abi.Timespec) abi.Errno {
			return timeout.Store(t, abi.Timeval{Sec: ts.Sec, Usec: ts.Nsec / abi.NsPerUsec})
		}
	}
	ready, e := doSelect(t, n, in, out, ex, deadline)
	return finish(t, ready, e, deadline, write)
}

// sysPselect6 is select with a finer timeout and a mask, which comes with its size behind one more pointer: pselect(2).
func sysPselect6(t *task.Task, n Int, in, out, ex Addr, timeout InOut[abi.Timespec], mask In[[2]uint64]) (uint64, abi.Errno) {
	var arg [2]uint64
	var e abi.Errno
	if mask != 0 {
		if arg, e = mask.Load(t); e != 0 {
			return 0, e
		}
	}
	deadline, e := span(t, In[abi.Timespec](timeout))
	if e != 0 {
		return 0, e
	}
	if e := tempMask(t, In[abi.Sigset](arg[0]), Size(arg[1])); e != 0 {
		return 0, e
	}
	ready, e := doSelect(t, n, in, out, ex, deadline)
	var write func(abi.Timespec) abi.Errno
	if timeout != 0 {
		write = func(ts abi.Timespec) abi.Errno { return timeout.Store(t, ts) }
	}
	return finish(t, ready, e, deadline, write)
}

func sysEpollCreate(t *task.Task, size Int) (uint64, abi.Errno) {
	if size <= 0 {
		return 0, abi.EINVAL
	}
	return sysEpollCreate1(t, 0)
}

// sysEpollCreate1 makes an epoll: epoll_create1(2).
func sysEpollCreate1(t *task.Task, flags Int) (uint64, abi.Errno) {
	if flags&^abi.EPOLL_CLOEXEC != 0 {
		return 0, abi.EINVAL
	}
	return install(t, event.NewEpoll(0), flags != 0)
}

// sysEpollCtl changes what an epoll watches: epoll_ctl(2). EFAULT, EBADF, EPERM, EINVAL, EEXIST, ENOENT, ELOOP, ENOSPC.
func sysEpollCtl(t *task.Task, epfd FD, op Int, fd FD, ev In[[event.EpollEventSize]byte]) (uint64, abi.Errno) {
	var want event.EpollEvent
	if op != abi.EPOLL_CTL_DEL {
		b, e := ev.Load(t)
		if e != 0 {
			return 0, e
		}
		want = event.EpollEvent{Events: binary.LittleEndian.Uint32(b[:]), Data: binary.LittleEndian.Uint64(b[4:])}
	}
	o, target, e := pair(t, epfd, fd)
	if e != 0 {
		return 0, e
	}
	defer o.Unref()
	defer target.Unref()
	if _, ok := target.File.(vfs.Poller); !ok {
		return 0, abi.EPERM
	}
	ep, e := event.EpollOf(o)
	if e != 0 {
		return 0, e
	}
	return 0, ep.Ctl(t.Caller(), int32(op), int32(fd), target, want)
}

// maxEpollEvents is EP_MAX_EVENTS.
const maxEpollEvents = (1<<31 - 1) / event.EpollEventSize

// epollWait is do_epoll_wait: EINVAL, EFAULT, EBADF, EINTR.
func epollWait(t *task.Task, epfd FD, events Addr, n Int, deadline clock.Time) (uint64, abi.Errno) {
	o, e := get(t, epfd)
	if e != 0 {
		return 0, e
	}
	defer o.Unref()
	if n <= 0 || n > maxEpollEvents {
		return 0, abi.EINVAL
	}
	if !accessOK(uint64(events), uint64(n)*event.EpollEventSize) {
		return 0, abi.EFAULT
	}
	ep, e := event.EpollOf(o)
	if e != 0 {
		return 0, e
	}
	got, e := ep.Wait(t.Caller(), uint64(events), int32(n), deadline)
	return uint64(got), e
}

func sysEpollWait(t *task.Task, epfd FD, events Addr, n Int, timeout Int) (uint64, abi.Errno) {
	return epollWait(t, epfd, events, n, millis(t, timeout))
}

// masked is epoll_wait with a mask.
func masked(t *task.Task, epfd FD, events Addr, n Int, deadline clock.Time, set In[abi.Sigset], size Size) (uint64, abi.Errno) {
	if e := tempMask(t, set, size); e != 0 {
		return 0, e
	}
	got, e := epollWait(t, epfd, events, n, deadline)
	if set != 0 && e != abi.EINTR {
		t.DropTemporaryMask()
	}
	return got, e
}

func sysEpollPwait(t *task.Task, epfd FD, events Addr, n Int, timeout Int, set In[abi.Sigset], size Size) (uint64, abi.Errno) {
	return masked(t, epfd, events, n, millis(t, timeout), set, size)
}

func sysEpollPwait2(t *task.Task, epfd FD, events Addr, n Int, timeout In[abi.Timespec], set In[abi.Sigset], size Size) (uint64, abi.Errno) {
	deadline, e := span(t, timeout)
	if e != 0 {
		return 0, e
	}
	return masked(t, epfd, events, n, deadline, set, size)
}

func sysEventfd(t *task.Task, initial Uint) (uint64, abi.Errno) { return sysEventfd2(t, initial, 0) }

func sysEventfd2(t *task.Task, initial Uint, flags Int) (uint64, abi.Errno) {
	o, e := event.NewEventFD(uint32(initial), int32(flags))
	if e != 0 {
		return 0, e
	}
	return install(t, o, flags&abi.EFD_CLOEXEC != 0)
}

func sysSignalfd(t *task.Task, fd FD, set In[abi.Sigset], size Size) (uint64, abi.Errno) {
	return sysSignalfd4(t, fd, set, size, 0)
}

// sysSignalfd4 makes a signalfd, or changes one's signals: signalfd(2). EINVAL, EFAULT, EBADF, EMFILE.
func sysSignalfd4(t *task.Task, fd FD, set In[abi.Sigset], size Size, flags Int) (uint64, abi.Errno) {
	if size != abi.SigsetSize {
		return 0, abi.EINVAL
	}
	s, e := set.Load(t)
	if e != 0 {
		return 0, e
	}
	if flags&^(abi.SFD_CLOEXEC|abi.SFD_NONBLOCK) != 0 {
		return 0, abi.EINVAL
	}
	if fd == -1 {
		o, e := event.NewSignalFD(s, int32(flags))
		if e != 0 {
			return 0, e
		}
		return install(t, o, flags&abi.SFD_CLOEXEC != 0)
	}
	o, e := get(t, fd)
	if e != 0 {
		return 0, e
	}
	defer o.Unref()
	return uint64(fd), event.SignalFDSet(t.Caller(), o, s)
}

// events is what package event keeps for the machine: ENOSYS if boot has not wired it.
func events(t *task.Task) (*event.System, abi.Errno) {
	if s := event.Of(t); s != nil {
		return s, 0
	}
	return nil, abi.ENOSYS
}

func sysTimerfdCreate(t *task.Task, clock ClockID, flags Int) (uint64, abi.Errno) {
	s, e := events(t)
	if e != 0 {
		return 0, e
	}
	o, e := s.Timers.NewTimerFD(t.Caller(), int32(clock), int32(flags))
	if e != 0 {
		return 0, e
	}
	return install(t, o, flags&abi.TFD_CLOEXEC != 0)
}

// sysTimerfdSettime arms a timerfd: timerfd_settime(2).
func sysTimerfdSettime(t *task.Task, fd FD, flags Int, in In[abi.ItimerSpec], old Out[abi.ItimerSpec]) (uint64, abi.Errno) {
	v, e := in.Load(t)
	if e != 0 {
		return 0, e
	}
	o, e := get(t, fd)
	if e != 0 {
		if flags&^(abi.TFD_TIMER_ABSTIME|abi.TFD_TIMER_CANCEL_ON_SET) != 0 || !v.Value.Valid() || !v.Interval.Valid() {
			e = abi.EINVAL // comes first
		}
		return 0, e
	}
	defer o.Unref()
	was, e := event.TimerFDSet(t.Caller(), o, int32(flags), v)
	if e != 0 && e != abi.ECANCELED {
		return 0, e
	}
	if s := old.StoreIf(t, was); s != 0 {
		return 0, s
	}
	return 0, e
}

func sysTimerfdGettime(t *task.Task, fd FD, out Out[abi.ItimerSpec]) (uint64, abi.Errno) {
	o, e := get(t, fd)
	if e != 0 {
		return 0, e
	}
	defer o.Unref()
	v, e := event.TimerFDGet(o)
	if e != 0 {
		return 0, e
	}
	return 0, out.Store(t, v)
}

func sysInotifyInit(t *task.Task) (uint64, abi.Errno) { return sysInotifyInit1(t, 0) }

func sysInotifyInit1(t *task.Task, flags Int) (uint64, abi.Errno) {
	s, e := events(t)
	if e != 0 {
		return 0, e
	}
	o, e := s.Inotifies.NewInotify(int32(flags))
	if e != 0 {
		return 0, e
	}
	return install(t, o, flags&abi.IN_CLOEXEC != 0)
}

// sysInotifyAddWatch watches a file: inotify_add_watch(2).
func sysInotifyAddWatch(t *task.Task, fd FD, path Path, mask Hex) (uint64, abi.Errno) {
	if mask&(abi.IN_ALL_EVENTS|abi.IN_UNMOUNT|abi.IN_Q_OVERFLOW|abi.IN_IGNORED|abi.IN_ONLYDIR|abi.IN_DONT_FOLLOW|abi.IN_EXCL_UNLINK|
		abi.IN_MASK_ADD|abi.IN_MASK_CREATE|abi.IN_ISDIR|abi.IN_ONESHOT) == 0 {
		return 0, abi.EINVAL
	}
	o, e := get(t, fd)
	if e != 0 {
		return 0, e
	}
	defer o.Unref()
	s, _, e := getPath(t, abi.AT_FDCWD, path, false)
	if e != 0 {
		return 0, e
	}
	wd, e := event.InotifyAdd(t.Caller(), o, s, uint32(mask))
	return uint64(wd), e
}

func sysInotifyRmWatch(t *task.Task, fd FD, wd Int) (uint64, abi.Errno) {
	o, e := get(t, fd)
	if e != 0 {
		return 0, e
	}
	defer o.Unref()
	return 0, event.InotifyRemove(t.Caller(), o, int32(wd))
}

func sysPidfdOpen(t *task.Task, pid Pid, flags Hex) (uint64, abi.Errno) {
	o, e := event.OpenPid(t, int32(pid), uint32(flags))
	if e != 0 {
		return 0, e
	}
	return install(t, o, true)
}

// sysPidfdSendSignal sends a signal to a process that a descriptor stands for: pidfd_send_signal(2).
func sysPidfdSendSignal(t *task.Task, fd FD, sig Signal, info In[[abi.SiginfoSize]byte], flags Hex) (uint64, abi.Errno) {
	o, e := getRaw(t, fd)
	if e != 0 {
		return 0, e
	}
	defer o.Unref()
	var i *signal.Info
	if info != 0 {
		v, e := loadInfo(t, info)
		if e != 0 {
			return 0, e
		}
		i = &v
	}
	return 0, event.PidFDSendSignal(t, o, int32(sig), i, uint32(flags))
}

// sysPidfdGetfd takes a copy of another process's descriptor: pidfd_getfd(2).
func sysPidfdGetfd(t *task.Task, fd FD, target FD, flags Hex) (uint64, abi.Errno) {
	o, e := get(t, fd)
	if e != 0 {
		return 0, e
	}
	defer o.Unref()
	got, e := event.PidFDGetFD(t, o, int32(target), uint32(flags))
	if e != 0 {
		return 0, e
	}
	return install(t, got, true)
}
