// Package vdso makes the guest's vDSO: a shared object that answers clock_gettime(2) and the like without a system call, and
// the page of numbers that it reads.
//
// The page lies directly before the object, as Linux's vvar does. The monitor writes it, the guest maps it read-only. The
// code is Go assembly that is copied into an ELF image at run time; it takes the page's offsets from the Go struct below.
//
// The page is a line, or rather two: monotonic time as a function of the time stamp counter, from some value of the counter on;
// and the line that held before. A change is written into the slot of the line that is over, begins some time later than it is
// written, and where the lines meet. So no reader ever waits for the writer, and time is continuous for everyone, whichever
// line he sees.
package vdso

import (
	"math/bits"
	"sync/atomic"

	"goum/arch/x86"
)

// PageSize is the size of the time page, and of the image.
const PageSize = 4096

// What TimePage.Mode says. The zero value sends all to the kernel.
const (
	ModeSyscall = 0 // the counter cannot be used: make the system call
	ModeTSC     = 1
)

// Shift is how many bits of Slot.Mult are a fraction.
const Shift = 48

// CoarseRes is the resolution of the COARSE clocks, in nanoseconds: a tick. Their values are as fine as the others.
const CoarseRes = 10_000_000

// Slot is a line: from the counter's value TSC on, monotonic time is Ns + (counter-TSC) * Mult / 2^Shift nanoseconds.
type Slot struct {
	TSC  uint64
	Mult uint64
	Ns   int64
	_    int64 // the assembly wants a power of two
}

// TimePage is what the code reads. All of it is atomic: written by one writer at a time, read by anyone.
type TimePage struct {
	Seq        uint32 // Slots[Seq%2] is the newest line, the other one held before it begins
	Mode       uint32
	Slots      [2]Slot
	RealOffset int64    // CLOCK_REALTIME less CLOCK_MONOTONIC, in nanoseconds
	BootOffset int64    // CLOCK_BOOTTIME less CLOCK_MONOTONIC
	TAIOffset  int64    // CLOCK_TAI less CLOCK_REALTIME
	TZ         [2]int32 // minutes west, and daylight saving: gettimeofday(2)
	OneCPU     uint32   // 1: getcpu is always (0, 0)
}

// Monotonic reads the counter, and CLOCK_MONOTONIC from it. ok is false if the page's mode is not ModeTSC.
func (p *TimePage) Monotonic() (ns int64, ok bool) {
	if atomic.LoadUint32(&p.Mode) != ModeTSC {
		return 0, false
	}
	for {
		seq := atomic.LoadUint32(&p.Seq)
		ns := p.at(seq, x86.TSC())
		if atomic.LoadUint32(&p.Seq) == seq {
			return ns, true
		}
	}
}

// At is CLOCK_MONOTONIC when the counter is tsc. Only the writer may call it.
func (p *TimePage) At(tsc uint64) int64 { return p.at(p.Seq, tsc) }

func (p *TimePage) at(seq uint32, tsc uint64) int64 {
	s := &p.Slots[seq%2]
	delta := tsc - atomic.LoadUint64(&s.TSC)
	if int64(delta) < 0 {
		s = &p.Slots[(seq+1)%2]
		delta = tsc - atomic.LoadUint64(&s.TSC)
		if int64(delta) < 0 {
			delta = 0 // the counters of two processors differ a little
		}
	}
	hi, lo := bits.Mul64(delta, atomic.LoadUint64(&s.Mult))
	return atomic.LoadInt64(&s.Ns) + int64(hi<<(64-Shift)|lo>>Shift)
}

// Publish makes s the newest line. The one before the newest must be over: counter readings before Slots[Seq%2].TSC get its
// value there from now on.
func (p *TimePage) Publish(s Slot) {
	to := &p.Slots[(p.Seq+1)%2]
	atomic.StoreUint64(&to.TSC, s.TSC)
	atomic.StoreUint64(&to.Mult, s.Mult)
	atomic.StoreInt64(&to.Ns, s.Ns)
	atomic.AddUint32(&p.Seq, 1)
}

// Newest is the line that Publish gave last. Only the writer may call it.
func (p *TimePage) Newest() Slot { return p.Slots[p.Seq%2] }

// Start makes s the only line and lets readers use the page. Nobody may be reading it in ModeTSC yet.
func (p *TimePage) Start(s Slot) {
	p.Slots[0], p.Slots[1] = s, s
	atomic.StoreUint32(&p.Mode, ModeTSC)
}

// Stop sends all readers to the kernel.
func (p *TimePage) Stop() { atomic.StoreUint32(&p.Mode, ModeSyscall) }

// SetRealOffset sets the wall clock: CLOCK_REALTIME less CLOCK_MONOTONIC, in nanoseconds. The sum must never be negative.
func (p *TimePage) SetRealOffset(ns int64) { atomic.StoreInt64(&p.RealOffset, ns) }

// SetTAIOffset sets CLOCK_TAI less CLOCK_REALTIME, in nanoseconds.
func (p *TimePage) SetTAIOffset(ns int64) { atomic.StoreInt64(&p.TAIOffset, ns) }

// SetTimezone sets what gettimeofday(2) gives as the timezone.
func (p *TimePage) SetTimezone(minutesWest, dst int32) {
	atomic.StoreInt32(&p.TZ[0], minutesWest)
	atomic.StoreInt32(&p.TZ[1], dst)
}

// SetOneCPU says whether getcpu(2) may answer (0, 0) without a system call.
func (p *TimePage) SetOneCPU(one bool) {
	v := uint32(0)
	if one {
		v = 1
	}
	atomic.StoreUint32(&p.OneCPU, v)
}

// CopyTo makes to a copy of p. Nobody may be writing p or reading to.
func (p *TimePage) CopyTo(to *TimePage) {
	*to = *p
}
