package clock

import "golang.org/x/sys/unix"

// HostCalls are the host system calls that this package makes while a guest runs, with the reason. The host's clock is read
// through the host's own vDSO, which may make clock_gettime of it.
var HostCalls = map[uintptr]string{
	unix.SYS_TIMERFD_SETTIME: "a timer that comes before the others is armed",
	unix.SYS_READ:            "the clock's goroutine waits for the timerfd",
	unix.SYS_CLOCK_GETTIME:   "corrections compare the clock with the host's",
	unix.SYS_CLOSE:           "Close",
}
