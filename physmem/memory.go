// Package physmem is the guest's RAM: one sealed memfd, mapped once in the monitor, and the state of each of its frames.
//
// It owns the memfd, its mapping, the free lists and the reference counts. Only what a guest may be given lives in a frame
// (anonymous memory, page cache); this package's own tables are in the Go heap, out of reach of every mapping of the memfd.
//
// Invariants:
//   - A frame is on exactly one free list with no references, or allocated with at least one, or reserved for ever
//     (frame 0, which means none, and the run of shared zero pages).
//   - A free block is clean (each byte of it reads as zero: never given out, or punched out of the memfd) or used; blocks of
//     the two kinds are never merged, and a used block is zeroed before it is given out again, unless the caller
//     overwrites it whole.
//   - Allocating and freeing allocate no Go memory: they are on the path of every fault.
//
// Locks: mu (lock.Frames) guards the free lists and is never held while bytes are zeroed or the host is called. Reference
// counts are atomic; a frame's bytes belong to whoever holds a reference.
package physmem

import (
	"fmt"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"goum/arch/lock"
)

// Frame is a page frame's number: its byte offset in the memfd is Frame*PageSize. 0 is no frame.
type Frame uint32

// Memory is the RAM of one guest.
type Memory struct {
	// immutable after New
	fd     int
	data   []byte // the whole memfd, shared and writable
	frames uint32 // how many there are, the reserved ones included

	// atomic, written by whoever takes or drops a reference; 0 while a frame is free
	refs []atomic.Int32

	// guarded by mu
	mu    lock.Mutex[lock.Frames]
	lists [kinds][MaxOrder + 1]Frame // first free block of each kind and order
	links []link
	state []uint8 // of a free block's first frame: see buddy.go
	free  [kinds]uint32

	relief func(Sleeper) bool // written once, before the first guest runs

	// atomic, counters
	quarantined atomic.Int64
	zeroed      atomic.Uint64
	punched     atomic.Uint64
	failAfter   atomic.Int64 // 0: never; n: the n-th allocation from now fails
}

// link chains a free block into its list; meaningless while the frame is allocated.
type link struct{ next, prev Frame }

// New makes the RAM of a guest: bytes of memory, a multiple of PageSize between MinBytes and MaxBytes. No host memory is
// taken until a frame is touched. The error names the host call that failed.
func New(bytes int64) (*Memory, error) {
	if bytes < MinBytes || bytes > MaxBytes || bytes%PageSize != 0 {
		return nil, fmt.Errorf("physmem: %d bytes of memory: want whole pages between %d and %d", bytes, int64(MinBytes), int64(MaxBytes))
	}
	fd, err := unix.MemfdCreate("goum-ram", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING|unix.MFD_NOEXEC_SEAL)
	if err == unix.EINVAL { // before Linux 6.3
		fd, err = unix.MemfdCreate("goum-ram", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	}
	if err != nil {
		return nil, fmt.Errorf("physmem: memfd_create: %w", err)
	}
	m, err := open(fd, bytes)
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	return m, nil
}

func open(fd int, bytes int64) (*Memory, error) {
	if err := unix.Ftruncate(fd, bytes); err != nil {
		return nil, fmt.Errorf("physmem: ftruncate to %d bytes: %w", bytes, err)
	}
	// A stub holds this descriptor. It must not be able to take pages from under the monitor's mapping (SIGBUS).
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, unix.F_SEAL_SHRINK|unix.F_SEAL_GROW|unix.F_SEAL_SEAL); err != nil {
		return nil, fmt.Errorf("physmem: sealing the memfd: %w", err)
	}
	data, err := unix.Mmap(fd, 0, int(bytes), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_NORESERVE)
	if err != nil {
		return nil, fmt.Errorf("physmem: mapping %d bytes: %w", bytes, err)
	}
	n := uint32(bytes / PageSize)
	m := &Memory{fd: fd, data: data, frames: n, refs: make([]atomic.Int32, n), links: make([]link, n), state: make([]uint8, n)}
	m.state[0] = stateReserved
	for f := range ZeroFrames {
		m.state[zeroRun+f] = stateReserved
	}
	m.mu.Lock()
	m.freeRange(1, zeroRun-1, clean)
	m.freeRange(zeroRun+ZeroFrames, n-zeroRun-ZeroFrames, clean)
	m.mu.Unlock()
	return m, nil
}

// Close unmaps the memory and closes the memfd. Nobody may use m, or bytes of it, afterwards.
func (m *Memory) Close() error {
	err := unix.Munmap(m.data)
	if e := unix.Close(m.fd); err == nil {
		err = e
	}
	m.data = nil
	return err
}

// Fd is the memfd, for the spawner of stubs. It stays open and its size never changes.
func (m *Memory) Fd() int { return m.fd }

// Frames is how many frames there are; valid frame numbers are below it.
func (m *Memory) Frames() uint32 { return m.frames }

// Zero is the first of ZeroFrames contiguous frames that are full of zeros for ever. They may be mapped read-only by anyone;
// Ref and Unref ignore them. Its number is a multiple of ZeroFrames.
func (m *Memory) Zero() Frame { return zeroRun }

// IsZero says whether f is one of the shared zero frames.
func (m *Memory) IsZero(f Frame) bool { return f-zeroRun < ZeroFrames }

// Bytes is the content of f. It stays valid while the caller holds a reference to f.
func (m *Memory) Bytes(f Frame) []byte {
	o := int(f) << PageShift
	return m.data[o : o+PageSize : o+PageSize]
}

// Load copies data into the frames from f on, which nobody else has yet. What is long goes through the descriptor: the host then neither zeroes the
// fresh pages of a memfd first nor faults them in one by one, 0.7 us a page instead of 3.
func (m *Memory) Load(f Frame, data []byte) {
	off := int64(f) << PageShift
	for len(data) >= loadLeast {
		n, err := unix.Pwrite(m.fd, data, off)
		if n <= 0 && err != unix.EINTR {
			break
		}
		data, off = data[max(n, 0):], off+int64(max(n, 0))
	}
	copy(m.data[off:], data)
}

// RunBytes is the content of n contiguous frames.
func (m *Memory) RunBytes(f Frame, n int) []byte {
	o, end := int(f)<<PageShift, (int(f)+n)<<PageShift
	return m.data[o:end:end]
}

// Stats is a snapshot of the accounts, in frames.
type Stats struct {
	Total        uint64 // that can be allocated at all
	Free         uint64 // on a free list; NeverTouched included
	NeverTouched uint64 // free and backed by no host memory
	Quarantined  uint64 // waiting for a stub's unmapping to be proven; a run held twice counts twice
	Zeroed       uint64 // zeroed by the monitor since the start
	Punched      uint64 // given back to the host since the start
}

// Stats returns a snapshot of the accounts.
func (m *Memory) Stats() Stats {
	m.mu.Lock()
	used, fresh := uint64(m.free[used]), uint64(m.free[clean])
	m.mu.Unlock()
	return Stats{
		Total: uint64(m.frames) - 1 - ZeroFrames, Free: used + fresh, NeverTouched: fresh,
		Quarantined: uint64(max(m.quarantined.Load(), 0)), Zeroed: m.zeroed.Load(), Punched: m.punched.Load(),
	}
}

// Sleeper is the task on whose behalf somebody waits for memory: *sched.Thread.
type Sleeper interface {
	// Outside runs f, which may block in the host, off the vCPU.
	Outside(f func())
}

// SetRelief says how to find memory when there is none left. It is called once, before the first allocation that could need it.
func (m *Memory) SetRelief(f func(Sleeper) bool) { m.relief = f }

// Relieve waits, on behalf of w, until there are free frames again; false: none are to be had. No lock is held.
func (m *Memory) Relieve(w Sleeper) bool { return m.relief != nil && m.relief(w) }

// FailAfter lets tests see what happens without memory: the n-th allocation from now fails with ENOMEM, once. 0: none.
func (m *Memory) FailAfter(n int64) { m.failAfter.Store(n) }

// injected says whether this allocation is the one that shall fail.
func (m *Memory) injected() bool {
	return m.failAfter.Load() > 0 && m.failAfter.Add(-1) == 0
}

// bug ends the monitor: what it is told of is never a guest's doing.
func bug(what string, f Frame) { panic(fmt.Sprintf("physmem: %s: frame %d", what, f)) }
