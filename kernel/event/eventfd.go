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

// eventFD is a counter to wait for: eventfd(2).
type eventFD struct {
	semaphore bool // immutable

	queue sched.Queue

	mu    lock.Mutex[lock.Pipe]
	count uint64 // guarded by mu; at most math.MaxUint64-1 by writes
}

// NewEventFD makes an eventfd: EINVAL for unknown flags. EFD_CLOEXEC is the descriptor's.
func NewEventFD(initial uint32, flags int32) (*vfs.Open, abi.Errno) {
	if flags&^(abi.EFD_SEMAPHORE|abi.EFD_CLOEXEC|abi.EFD_NONBLOCK) != 0 {
		return nil, abi.EINVAL
	}
	f := &eventFD{semaphore: flags&abi.EFD_SEMAPHORE != 0, count: uint64(initial)}
	return vfs.NewAnon("anon_inode:[eventfd]", 0o600, f, uint32(abi.O_RDWR|flags&abi.EFD_NONBLOCK)), 0
}

// take is one read: false if the count is 0.
func (f *eventFD) take() (v uint64, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.count == 0 {
		return 0, false
	}
	v = f.count
	if f.semaphore {
		v = 1
	}
	f.count -= v
	f.queue.Wake(pollOut)
	return v, true
}

// add is one write: false if the count would become too large.
func (f *eventFD) add(v uint64) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if math.MaxUint64-f.count <= v {
		return false
	}
	f.count += v
	f.queue.Wake(pollIn)
	return true
}

// Read is the count, which becomes 0, or 1 of it with EFD_SEMAPHORE: EINVAL (fewer than 8 bytes), EAGAIN.
func (f *eventFD) Read(c *vfs.Caller, dst *mm.Buf, at vfs.At) (int, abi.Errno) {
	if dst.Len() < 8 {
		return 0, abi.EINVAL
	}
	v, ok := f.take()
	if !ok {
		if at.NonBlock() {
			return 0, abi.EAGAIN
		}
		if f.queue.Wait(c.Thread, pollIn, clock.Never, func() bool {
			v, ok = f.take()
			return ok
		}) != sched.Woken {
			return 0, abi.ERESTARTSYS
		}
	}
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], v)
	if _, e := dst.Write(b[:]); e != 0 {
		return 0, e
	}
	return 8, 0
}

// Write adds to the count: EINVAL (fewer than 8 bytes, or all ones), EAGAIN.
func (f *eventFD) Write(c *vfs.Caller, src *mm.Buf, at vfs.At) (int, abi.Errno) {
	if src.Len() < 8 {
		return 0, abi.EINVAL
	}
	var b [8]byte
	if _, e := src.Read(b[:]); e != 0 {
		return 0, e
	}
	v := binary.LittleEndian.Uint64(b[:])
	if v == math.MaxUint64 {
		return 0, abi.EINVAL
	}
	if !f.add(v) {
		if at.NonBlock() {
			return 0, abi.EAGAIN
		}
		if f.queue.Wait(c.Thread, pollOut, clock.Never, func() bool { return f.add(v) }) != sched.Woken {
			return 0, abi.ERESTARTSYS
		}
	}
	return 8, 0
}

// Poll says whether the count is above 0, and whether 1 can be added.
func (f *eventFD) Poll(*vfs.Caller) (m sched.Mask) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.count > 0 {
		m |= sched.Mask(abi.EPOLLIN)
	}
	if f.count < math.MaxUint64-1 {
		m |= sched.Mask(abi.EPOLLOUT)
	}
	return m
}

// Queue is where readers and writers wait.
func (f *eventFD) Queue() *sched.Queue { return &f.queue }

// Release does nothing.
func (f *eventFD) Release() {}

// Describe are the lines of /proc/PID/fdinfo/N.
func (f *eventFD) Describe(*vfs.Caller) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := 0
	if f.semaphore {
		s = 1
	}
	return fmt.Sprintf("eventfd-count: %16x\neventfd-semaphore: %d\n", f.count, s)
}
