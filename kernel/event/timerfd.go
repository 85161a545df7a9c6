package event

import (
	"encoding/binary"
	"fmt"
	"math"

	"goum/arch/abi"
	"goum/arch/lock"
	"goum/kernel/fs/vfs"
	"goum/mm"
	"goum/sched"
	"goum/sched/clock"
)

// Timers are the timerfds of a machine that wait for a time of the wall clock: they have to know when that is set.
type Timers struct {
	clk *clock.Clock

	mu   lock.Mutex[lock.Inode] // outside the timers' own
	real map[*timerFD]struct{}
}

// NewTimers makes the register, one for a machine.
func NewTimers(clk *clock.Clock) *Timers {
	return &Timers{clk: clk, real: make(map[*timerFD]struct{})}
}

// ClockSet is called after CLOCK_REALTIME was set: timers that wait for a time of it are set anew, and those that asked for it
// (TFD_TIMER_CANCEL_ON_SET) are told.
func (s *Timers) ClockSet() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for f := range s.real {
		f.clockSet()
	}
}

// timerFD is a timer to wait for: timerfd_create(2).
type timerFD struct {
	// Immutable.
	all   *Timers
	clock int32
	timer *clock.Timer

	queue sched.Queue

	// Guarded by mu, which is inside all.mu. Times are nanoseconds.
	mu       lock.Mutex[lock.Pipe]
	flags    int32
	wall     bool       // waits for a time of the wall clock, at
	at       int64      // when it expires next, by its own clock
	due      clock.Time // the same on the monotonic clock; Never: it is not armed
	interval int64
	ticks    uint64 // expirations that were not read
	expired  bool   // due has passed, and with an interval the timer was not started again
	cancel   bool   // wants to hear of a set clock
	wasSet   bool   // which happened
}

// NewTimerFD makes a timerfd: EINVAL (unknown clock or flags), EPERM (an alarm clock without CAP_WAKE_ALARM).
func (s *Timers) NewTimerFD(c *vfs.Caller, id int32, flags int32) (*vfs.Open, abi.Errno) {
	if flags&^(abi.TFD_CLOEXEC|abi.TFD_NONBLOCK) != 0 {
		return nil, abi.EINVAL
	}
	switch id {
	case abi.CLOCK_REALTIME, abi.CLOCK_MONOTONIC, abi.CLOCK_BOOTTIME:
	case abi.CLOCK_REALTIME_ALARM, abi.CLOCK_BOOTTIME_ALARM:
		if !c.Cred.Has(abi.CAP_WAKE_ALARM) {
			return nil, abi.EPERM
		}
	default:
		return nil, abi.EINVAL
	}
	f := &timerFD{all: s, clock: id, due: clock.Never}
	f.timer = s.clk.NewTimer(f.expire)
	return vfs.NewAnon("anon_inode:[timerfd]", 0o600, f, uint32(abi.O_RDWR|flags&abi.TFD_NONBLOCK)), 0
}

func (f *timerFD) isReal() bool {
	return f.clock == abi.CLOCK_REALTIME || f.clock == abi.CLOCK_REALTIME_ALARM
}

// expire is called by the clock.
func (f *timerFD) expire() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.due == clock.Never || f.expired || f.all.clk.Monotonic() < f.due {
		return // it was set anew meanwhile
	}
	f.expired = true
	f.ticks++
	f.queue.Wake(pollIn)
}

// arm starts the clock for due. mu is held.
func (f *timerFD) arm() {
	if f.wall {
		off := f.all.clk.RealOffset()
		if f.at < off {
			f.due = 1
		} else {
			f.due = clock.Time(f.at - off)
		}
	} else {
		f.due = clock.Time(f.at)
	}
	f.due = max(f.due, 1)
	f.timer.Reset(f.due)
}

// forward goes on to the first expiry after now, and returns how many there were, the one that is known included. mu is held; the
// timer has expired, and has an interval.
func (f *timerFD) forward() uint64 {
	now := int64(f.all.clk.Monotonic())
	if f.wall {
		now += f.all.clk.RealOffset()
	}
	n := int64(1)
	if late := now - f.at; late >= f.interval {
		n += late / f.interval
	}
	if n > (math.MaxInt64-f.at)/f.interval {
		f.at = math.MaxInt64
	} else {
		f.at += n * f.interval
	}
	f.expired = false
	f.arm()
	return uint64(n)
}

// setting is what timerfd_gettime(2) shows. mu is held.
func (f *timerFD) setting() abi.ItimerSpec {
	if f.expired && f.interval > 0 {
		f.ticks += f.forward() - 1
	}
	s := abi.ItimerSpec{Interval: abi.NsToTimespec(f.interval)}
	if f.due != clock.Never && !f.expired {
		s.Value = abi.NsToTimespec(max(int64(f.due-f.all.clk.Monotonic()), 1)) // not yet told: not 0, which means disarmed
	}
	return s
}

// timerOf is the timerfd that o is: EINVAL.
func timerOf(o *vfs.Open) (*timerFD, abi.Errno) {
	if f, ok := o.File.(*timerFD); ok {
		return f, 0
	}
	return nil, abi.EINVAL
}

// TimerFDGet is timerfd_gettime(2): EINVAL (no timerfd).
func TimerFDGet(o *vfs.Open) (abi.ItimerSpec, abi.Errno) {
	f, e := timerOf(o)
	if e != 0 {
		return abi.ItimerSpec{}, e
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.setting(), 0
}

// TimerFDSet is timerfd_settime(2); it returns the setting before. EINVAL (flags, times, no timerfd), EPERM, ECANCELED (the
// clock was set since a timer with TFD_TIMER_CANCEL_ON_SET was armed; it is armed again all the same).
func TimerFDSet(c *vfs.Caller, o *vfs.Open, flags int32, n abi.ItimerSpec) (old abi.ItimerSpec, e abi.Errno) {
	if flags&^(abi.TFD_TIMER_ABSTIME|abi.TFD_TIMER_CANCEL_ON_SET) != 0 || !n.Value.Valid() || !n.Interval.Valid() {
		return old, abi.EINVAL
	}
	f, e := timerOf(o)
	if e != 0 {
		return old, e
	}
	if (f.clock == abi.CLOCK_REALTIME_ALARM || f.clock == abi.CLOCK_BOOTTIME_ALARM) && !c.Cred.Has(abi.CAP_WAKE_ALARM) {
		return old, abi.EPERM
	}
	f.all.mu.Lock()
	defer f.all.mu.Unlock()
	f.mu.Lock()
	defer f.mu.Unlock()
	old = f.setting()
	f.timer.Stop()
	abs := flags&abi.TFD_TIMER_ABSTIME != 0
	f.flags = flags & abi.TFD_TIMER_ABSTIME
	f.wall = f.isReal() && abs
	f.cancel = f.wall && flags&abi.TFD_TIMER_CANCEL_ON_SET != 0
	f.wasSet = f.wasSet && f.cancel
	f.ticks, f.expired, f.due = 0, false, clock.Never
	f.interval = n.Interval.Ns()
	if n.Value.IsZero() {
		delete(f.all.real, f)
	} else {
		f.at = n.Value.Ns()
		if !abs {
			f.at = int64(f.all.clk.Monotonic().Add(f.at))
		}
		f.arm()
	}
	if f.wall && !n.Value.IsZero() || f.cancel {
		f.all.real[f] = struct{}{}
	} else {
		delete(f.all.real, f)
	}
	if f.cancelled() {
		return old, abi.ECANCELED
	}
	return old, 0
}

// cancelled says once that the clock was set. mu is held.
func (f *timerFD) cancelled() bool {
	if !f.cancel || !f.wasSet {
		return false
	}
	f.wasSet = false
	return true
}

// clockSet is called with all.mu held.
func (f *timerFD) clockSet() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.cancel && !f.wasSet {
		f.wasSet = true
		f.ticks++
		f.queue.Wake(pollIn)
	}
	if f.wall && f.due != clock.Never && !f.expired {
		f.arm()
	}
}

// Read is how often it expired since the last read: EINVAL (fewer than 8 bytes), EAGAIN, ECANCELED.
func (f *timerFD) Read(c *vfs.Caller, dst *mm.Buf, at vfs.At) (int, abi.Errno) {
	if dst.Len() < 8 {
		return 0, abi.EINVAL
	}
	f.mu.Lock()
	for f.ticks == 0 && !f.wasSet {
		f.mu.Unlock()
		if at.NonBlock() {
			return 0, abi.EAGAIN
		}
		if f.queue.Wait(c.Thread, pollIn, clock.Never, f.isReady) != sched.Woken {
			return 0, abi.ERESTARTSYS
		}
		f.mu.Lock()
	}
	if f.cancelled() {
		f.ticks, f.expired = 0, false
		f.mu.Unlock()
		return 0, abi.ECANCELED
	}
	n := f.ticks
	if f.expired {
		if f.interval > 0 {
			n += f.forward() - 1
		} else {
			f.due = clock.Never
		}
		f.expired = false
	}
	f.ticks = 0
	f.mu.Unlock()
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], n)
	if _, e := dst.Write(b[:]); e != 0 {
		return 0, e
	}
	return 8, 0
}

func (f *timerFD) isReady() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.ticks > 0
}

// Write refuses: EINVAL.
func (f *timerFD) Write(*vfs.Caller, *mm.Buf, vfs.At) (int, abi.Errno) { return 0, abi.EINVAL }

// Poll says whether it has expired.
func (f *timerFD) Poll(*vfs.Caller) sched.Mask {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ticks > 0 {
		return sched.Mask(abi.EPOLLIN)
	}
	return 0
}

// Queue is where readers wait.
func (f *timerFD) Queue() *sched.Queue { return &f.queue }

// Release stops the timer.
func (f *timerFD) Release() {
	f.all.mu.Lock()
	delete(f.all.real, f)
	f.all.mu.Unlock()
	f.mu.Lock()
	f.due = clock.Never
	f.mu.Unlock()
	f.timer.Stop()
}

// Describe are the lines of /proc/PID/fdinfo/N.
func (f *timerFD) Describe(*vfs.Caller) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	ticks := f.ticks
	s := f.setting()
	f.ticks = max(f.ticks, ticks)
	return fmt.Sprintf("clockid: %d\nticks: %d\nsettime flags: 0%o\nit_value: (%d, %d)\nit_interval: (%d, %d)\n",
		f.clock, ticks, f.flags, s.Value.Sec, s.Value.Nsec, s.Interval.Sec, s.Interval.Nsec)
}
