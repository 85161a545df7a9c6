package abi

// clocks and interval timers.
const (
	ADJ_OFFSET               = 0x1
	ADJ_SETOFFSET            = 0x100
	ADJ_NANO                 = 0x2000
	ADJ_OFFSET_SINGLESHOT    = 0x8001
	ADJ_OFFSET_SS_READ       = 0xa001
	CLOCK_REALTIME           = 0x0
	CLOCK_MONOTONIC          = 0x1
	CLOCK_PROCESS_CPUTIME_ID = 0x2
	CLOCK_THREAD_CPUTIME_ID  = 0x3
	CLOCK_MONOTONIC_RAW      = 0x4
	CLOCK_REALTIME_COARSE    = 0x5
	CLOCK_MONOTONIC_COARSE   = 0x6
	CLOCK_BOOTTIME           = 0x7
	CLOCK_REALTIME_ALARM     = 0x8
	CLOCK_BOOTTIME_ALARM     = 0x9
	CLOCK_TAI                = 0xb
	ITIMER_REAL              = 0x0
	ITIMER_VIRTUAL           = 0x1
	ITIMER_PROF              = 0x2
	TIME_WAIT                = 0x4
	TIME_ERROR               = 0x5
	TIMER_ABSTIME            = 0x1
)
