package sched

import "goum/sched/clock"

// The bounds and periods of the scheduler.
const (
	// MaxCPUs is how many vCPUs a Scheduler may have: a set of them is one word. New panics beyond it; cmd checks the flag first.
	MaxCPUs = 64

	// TickPeriod is the time between two ticks: 100 Hz, the rate that user space sees (USER_HZ).
	TickPeriod clock.Time = 10e6

	// RRSlice is what a SCHED_RR thread may run before the next of its priority does: Linux's RR_TIMESLICE.
	RRSlice clock.Time = 100e6

	latency         clock.Time = 6e6   // every fair thread of a vCPU runs once in this time, if minGranularity allows
	minGranularity  clock.Time = 3e6   // no fair thread is preempted by another before it ran so long, but by a wake-up
	wakeGranularity clock.Time = 1e6   // how far behind a woken thread must be to take the vCPU at once
	rtPeriod        clock.Time = 1e9   // in each of these real-time threads get
	rtRuntime       clock.Time = 950e6 // so much, while fair ones wait (sched_rt_runtime_us)
	overdueTicks               = 2     // a kicked thread that is not back after so many ticks loses its vCPU
	loadPeriod                 = 5*1e9 + TickPeriod

	maxRTPrio = 99 // static priorities of SCHED_FIFO and SCHED_RR are 1 to 99: EINVAL beyond
	minNice   = -20
	maxNice   = 19
)
