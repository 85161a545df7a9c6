package stub

import (
	"fmt"
	"syscall"
)

// StepShift separates the step from the errno in a StartError.
const StepShift = stepShift

// StartError says at which step a stub could not start, and with which error number of the host: step<<StepShift | errno.
type StartError int

func (e StartError) Error() string {
	what := map[int]string{
		stepClose:    "close_range",
		stepUnmap:    "unmapping what exec left (a sealed vDSO among the guest's addresses?)",
		stepControl:  "mapping the control memory",
		stepFork:     "clone",
		stepSlice:    "mapping its control memory",
		stepListener: "seccomp user notification (goum needs Linux 5.19 or later with CONFIG_SECCOMP_FILTER)",
		stepSend:     "sending its listener",
	}[int(e)>>StepShift]
	if what == "" {
		what = fmt.Sprintf("step %d", int(e)>>StepShift)
	}
	if errno := syscall.Errno(int(e) & (1<<StepShift - 1)); errno != 0 {
		return fmt.Sprintf("a stub cannot start: %s: %v", what, errno)
	}
	return "a stub cannot start: " + what
}

// Unwrap gives the host's error number.
func (e StartError) Unwrap() error { return syscall.Errno(int(e) & (1<<StepShift - 1)) }
