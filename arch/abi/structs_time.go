package abi

import "math"

// NsPerSec and the others are what one unit of time has in nanoseconds.
const (
	NsPerSec  = 1_000_000_000
	NsPerMsec = 1_000_000
	NsPerUsec = 1_000
)

// HZ is the unit of clock ticks that user space sees (USER_HZ): times(2), /proc/PID/stat, AT_CLKTCK.
const HZ = 100

// Timespec is struct timespec (struct __kernel_timespec): seconds and nanoseconds.
type Timespec struct {
	Sec  int64
	Nsec int64
}

// NsToTimespec splits nanoseconds so that 0 <= Nsec < 1e9, as ns_to_timespec64 does; Sec is negative before the epoch.
func NsToTimespec(ns int64) Timespec {
	sec, rest := ns/NsPerSec, ns%NsPerSec
	if rest < 0 {
		sec, rest = sec-1, rest+NsPerSec
	}
	return Timespec{sec, rest}
}

// Valid is Linux's timespec64_valid: not negative, and a proper fraction. Otherwise the caller answers EINVAL.
func (t Timespec) Valid() bool {
	return t.Sec >= 0 && uint64(t.Nsec) < NsPerSec
}

// Ns is the time in nanoseconds; what does not fit becomes the largest (or smallest) int64, as KTIME_MAX in Linux: forever.
func (t Timespec) Ns() int64 {
	return saturate(t.Sec, t.Nsec)
}

// IsZero says whether both fields are zero, which disarms a timer.
func (t Timespec) IsZero() bool { return t == Timespec{} }

func saturate(sec, ns int64) int64 {
	switch {
	case sec >= math.MaxInt64/NsPerSec:
		return math.MaxInt64
	case sec <= math.MinInt64/NsPerSec:
		return math.MinInt64
	}
	return sec*NsPerSec + ns
}

// Timeval is struct timeval: seconds and microseconds.
type Timeval struct {
	Sec  int64
	Usec int64
}

// NsToTimeval splits nanoseconds so that 0 <= Usec < 1e6; the rest of a microsecond is cut off towards the past.
func NsToTimeval(ns int64) Timeval {
	t := NsToTimespec(ns)
	return Timeval{t.Sec, t.Nsec / NsPerUsec}
}

// Valid says whether the value is not negative and a proper fraction. Otherwise the caller answers EINVAL.
func (t Timeval) Valid() bool {
	return t.Sec >= 0 && uint64(t.Usec) < 1_000_000
}

// Ns is the time in nanoseconds; what does not fit becomes the largest (or smallest) int64.
func (t Timeval) Ns() int64 {
	if t.Usec > math.MaxInt64/NsPerUsec || t.Usec < math.MinInt64/NsPerUsec {
		return saturate(t.Usec/1_000_000, 0)
	}
	return saturate(t.Sec, t.Usec*NsPerUsec)
}

// IsZero says whether both fields are zero, which disarms a timer.
func (t Timeval) IsZero() bool { return t == Timeval{} }

// ItimerSpec is struct itimerspec: timer_settime(2), timerfd_settime(2).
type ItimerSpec struct {
	Interval Timespec
	Value    Timespec
}

// Itimerval is struct itimerval: setitimer(2).
type Itimerval struct {
	Interval Timeval
	Value    Timeval
}

// Timezone is struct timezone: gettimeofday(2).
type Timezone struct {
	MinutesWest int32
	DSTTime     int32
}

// Utimbuf is struct utimbuf: utime(2), in seconds.
type Utimbuf struct {
	Actime  int64
	Modtime int64
}

// Timex is struct timex: adjtimex(2), clock_adjtime(2).
type Timex struct {
	Modes     uint32
	_         uint32
	Offset    int64
	Freq      int64
	Maxerror  int64
	Esterror  int64
	Status    int32
	_         uint32
	Constant  int64
	Precision int64
	Tolerance int64
	Time      Timeval
	Tick      int64
	Ppsfreq   int64
	Jitter    int64
	Shift     int32
	_         uint32
	Stabil    int64
	Jitcnt    int64
	Calcnt    int64
	Errcnt    int64
	Stbcnt    int64
	Tai       int32
	_         [11]int32
}

// Tms is struct tms: times(2), in ticks of HZ.
type Tms struct {
	Utime  int64
	Stime  int64
	Cutime int64
	Cstime int64
}
