package clock

import (
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// hostTimer is a timerfd that wakes the clock's goroutine.
type hostTimer struct {
	fd int
	at Time // what it is set to; Never after it has gone off
}

func (h *hostTimer) open() (err error) {
	h.fd, err = unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_CLOEXEC)
	h.at = Never
	return os.NewSyscallError("timerfd_create", err)
}

// set makes the timer go off in ns nanoseconds, at least one.
func (h *hostTimer) set(ns int64) {
	spec := unix.ItimerSpec{Value: unix.NsecToTimespec(max(ns, 1))}
	if err := unix.TimerfdSettime(h.fd, 0, &spec, nil); err != nil {
		panic("clock: timerfd_settime with good arguments: " + err.Error())
	}
}

// wait returns when the timer has gone off. It holds a host thread meanwhile, so that nothing but the host's scheduler is between the
// timer and its function; the runtime's poller rounds to milliseconds.
func (h *hostTimer) wait() {
	var b [8]byte
	for {
		if _, err := unix.Read(h.fd, b[:]); err != unix.EINTR {
			return
		}
	}
}

func (h *hostTimer) close() { unix.Close(h.fd) }

// hostTrustsCounter says whether the host's own clock comes from the time stamp counter. Where the host does not say, CPUID decides.
func hostTrustsCounter() bool {
	b, err := os.ReadFile("/sys/devices/system/clocksource/clocksource0/current_clocksource")
	if err != nil {
		return true
	}
	switch strings.TrimSpace(string(b)) {
	case "tsc", "kvm-clock", "hyperv_clocksource_tsc_page", "xen":
		return true
	}
	return false
}

// HostPause waits ns of the host's time, on any clock: for what only the host can do, such as ending a process of its own. Call it
// off the vCPU.
func HostPause(ns int64) { time.Sleep(time.Duration(ns)) }
