package event

import (
	"encoding/binary"
	"fmt"
	"sync/atomic"

	"goum/arch/abi"
	"goum/kernel/fs/vfs"
	"goum/kernel/signal"
	"goum/kernel/task"
	"goum/mm"
	"goum/sched"
	"goum/sched/clock"
)

// signalFD is a file from which whoever reads it gets signals of its own: signalfd(2).
type signalFD struct {
	set   atomic.Uint64
	queue sched.Queue // for those that are no task
}

// sigRecord is the size of struct signalfd_siginfo.
const sigRecord = 128

// NewSignalFD makes a signalfd for the signals of set: EINVAL (flags).
func NewSignalFD(set signal.Set, flags int32) (*vfs.Open, abi.Errno) {
	if flags&^(abi.SFD_CLOEXEC|abi.SFD_NONBLOCK) != 0 {
		return nil, abi.EINVAL
	}
	f := new(signalFD)
	f.set.Store(uint64(set &^ signal.Unmaskable))
	return vfs.NewAnon("anon_inode:[signalfd]", 0o600, f, uint32(abi.O_RDWR|flags&abi.SFD_NONBLOCK)), 0
}

// SignalFDSet changes the set of o: EINVAL (no signalfd). Those who wait look again.
func SignalFDSet(c *vfs.Caller, o *vfs.Open, set signal.Set) abi.Errno {
	f, ok := o.File.(*signalFD)
	if !ok {
		return abi.EINVAL
	}
	f.set.Store(uint64(set &^ signal.Unmaskable))
	f.QueueFor(c).Wake(pollIn)
	return 0
}

func (f *signalFD) mask() signal.Set { return signal.Set(f.set.Load()) }

// QueueFor is where c is told of its signals.
func (f *signalFD) QueueFor(c *vfs.Caller) *sched.Queue {
	if t := task.Of(c); t != nil {
		return t.SignalQueue()
	}
	return &f.queue
}

// Queue is never woken: see QueueFor.
func (f *signalFD) Queue() *sched.Queue { return &f.queue }

// Poll says whether the caller has a pending signal of the set.
func (f *signalFD) Poll(c *vfs.Caller) sched.Mask {
	if t := task.Of(c); t != nil && t.PendingOf(f.mask()) {
		return sched.Mask(abi.EPOLLIN)
	}
	return 0
}

// Read takes pending signals of the caller, as many as there are and fit: EINVAL (not even one fits), EAGAIN.
func (f *signalFD) Read(c *vfs.Caller, dst *mm.Buf, at vfs.At) (int, abi.Errno) {
	if dst.Len() < sigRecord {
		return 0, abi.EINVAL
	}
	t := task.Of(c)
	if t == nil {
		return 0, abi.EAGAIN
	}
	var (
		info  signal.Info
		b     [sigRecord]byte
		total int
	)
	for n := 0; n < maxSigRecords && dst.Len() >= sigRecord; n++ {
		sig := t.Dequeue(f.mask(), &info)
		if sig == 0 {
			if total > 0 {
				break
			}
			if at.NonBlock() {
				return 0, abi.EAGAIN
			}
			if t.SignalQueue().Wait(c.Thread, pollIn, clock.Never, func() bool {
				sig = t.Dequeue(f.mask(), &info)
				return sig != 0
			}) != sched.Woken {
				return 0, abi.ERESTARTSYS
			}
		}
		putSiginfo(&b, &info)
		m, e := dst.Write(b[:])
		total += m
		if e != 0 {
			if total > 0 {
				e = 0
			}
			return total, e
		}
	}
	return total, 0
}

// putSiginfo writes i as struct signalfd_siginfo, with the members that its kind has.
func putSiginfo(b *[sigRecord]byte, i *signal.Info) {
	clear(b[:])
	put32 := func(at int, v uint32) { binary.LittleEndian.PutUint32(b[at:], v) }
	put64 := func(at int, v uint64) { binary.LittleEndian.PutUint64(b[at:], v) }
	put32(0, uint32(i.Signo))
	put32(4, uint32(i.Errno))
	put32(8, uint32(i.Code))
	pid := func() { put32(12, uint32(i.PID())); put32(16, i.UID()) }
	value := func() { put32(44, uint32(i.Value())); put64(48, i.Value()) }
	sig := int(i.Signo)
	switch {
	case i.Code == abi.SI_TIMER:
		put32(24, uint32(i.TimerID()))
		put32(32, uint32(i.Overrun()))
		value()
	case i.Code == abi.SI_SIGIO:
		put64(28, 0)
		put32(28, uint32(i.Band()))
		put32(20, uint32(i.FD()))
	case i.Code == abi.SI_USER || i.Code == abi.SI_TKILL || i.Code == abi.SI_KERNEL:
		pid()
	case i.Code < 0: // queued
		pid()
		value()
	case sig == abi.SIGCHLD:
		pid()
		put32(40, uint32(i.Status()))
		put64(56, uint64(i.Utime()))
		put64(64, uint64(i.Stime()))
	case signal.Synchronous.Has(sig) && sig != abi.SIGSYS:
		put64(72, i.Addr())
	case sig == abi.SIGSYS:
		put64(88, i.Addr())
		put32(84, uint32(i.Syscall()))
		put32(96, i.Arch())
	case sig == abi.SIGIO:
		put32(28, uint32(i.Band()))
		put32(20, uint32(i.FD()))
	default:
		pid()
	}
}

// Write refuses: EINVAL.
func (f *signalFD) Write(*vfs.Caller, *mm.Buf, vfs.At) (int, abi.Errno) { return 0, abi.EINVAL }

// Release does nothing.
func (f *signalFD) Release() {}

// Describe is the line of /proc/PID/fdinfo/N.
func (f *signalFD) Describe(*vfs.Caller) string {
	return fmt.Sprintf("sigmask:\t%016x\n", uint64(f.mask()))
}
