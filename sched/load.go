package sched

import (
	"math/bits"

	"goum/sched/clock"
)

// Load averages are fixed-point numbers with 11 bits behind the point: loadOne is 1.0.
const (
	LoadShift = 11
	loadOne   = 1 << LoadShift
)

// loadDecay is what a load average keeps of itself in loadPeriod: e^(-5 s/1 min), /5 min, /15 min.
var loadDecay = [3]uint64{1884, 2014, 2037}

// load is the averages, and when the next sample is due. Guarded by Scheduler.mu.
type load struct {
	avg  [3]uint64
	next clock.Time
}

// CPUTimes is how a vCPU has spent its time: cpu lines of /proc/stat.
type CPUTimes struct {
	User, Nice, System, Idle clock.Time
}

// sample brings the load averages up to now. While nothing ticked the load was what it is now.
func (s *Scheduler) sample(now clock.Time) {
	l := &s.load
	if now < l.next {
		return
	}
	n := (now-l.next)/loadPeriod + 1
	l.next += n * loadPeriod
	active := uint64(s.running()+s.uninterruptible()) * loadOne
	for i := range l.avg {
		l.avg[i] = loadAfter(l.avg[i], loadPower(loadDecay[i], uint64(n)), active)
	}
}

// loadAfter is Linux's calc_load.
func loadAfter(avg, decay, active uint64) uint64 {
	n := avg*decay + active*(loadOne-decay)
	if active >= avg {
		n += loadOne - 1
	}
	return n / loadOne
}

// loadPower is x to the n, fixed-point and rounded: Linux's fixed_power_int.
func loadPower(x, n uint64) uint64 {
	r := uint64(loadOne)
	for ; n > 0; n >>= 1 {
		if n&1 != 0 {
			r = (r*x + loadOne/2) >> LoadShift
		}
		x = (x*x + loadOne/2) >> LoadShift
	}
	return r
}

// running is how many threads are on a vCPU or wait for one.
func (s *Scheduler) running() int {
	return int(s.queued.Load()) + bits.OnesCount64(s.all&^s.idle)
}

func (s *Scheduler) uninterruptible() int { return s.blocked + s.absent }

// Load is the load average of 1, 5 and 15 minutes, with LoadShift bits behind the point, as in /proc/loadavg and sysinfo(2).
func (s *Scheduler) Load() [3]uint64 {
	now := s.clk.Monotonic()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sample(now)
	return s.load.avg
}

// Running is the number of threads that run or are runnable: procs_running in /proc/stat.
func (s *Scheduler) Running() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.running()
}

// Blocked is the number of threads in a sleep that no signal ends, or in a host call: procs_blocked in /proc/stat.
func (s *Scheduler) Blocked() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.uninterruptible()
}

// Threads is the number of threads that have been started and are not gone.
func (s *Scheduler) Threads() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.threads
}

// Switches is the number of times that any vCPU went from one thread to another: ctxt in /proc/stat.
func (s *Scheduler) Switches() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	var n uint64
	for _, v := range s.vcpus {
		n += v.switches
	}
	return n
}

// CPUTimes is how the vCPU of that number has spent its time; zero for one that does not exist.
func (s *Scheduler) CPUTimes(cpu int) CPUTimes {
	if cpu < 0 || cpu >= len(s.vcpus) {
		return CPUTimes{}
	}
	now := s.clk.Monotonic()
	s.mu.Lock()
	defer s.mu.Unlock()
	v := s.vcpus[cpu]
	c := v.times
	if v.cur.Load() == nil {
		c.Idle += max(now-v.idleFrom, 0)
	}
	return c
}
