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
	step, errno := int(e)>>StepShift, syscall.Errno(int(e)&(1<<StepShift-1))
	what := map[int]string{
		stepClose:    "close_range",
		stepUnmap:    "unmapping what exec left (a sealed vDSO among the guest's addresses?)",
		stepControl:  "mapping the control memory",
		stepFork:     "clone",
		stepSlice:    "mapping its control memory",
		stepListener: "seccomp user notification",
		stepSend:     "sending its listener",
		stepStrict:   "its seccomp filter",
	}[step]
	if what == "" {
		what = fmt.Sprintf("step %d", step)
	}
	hint := ""
	switch {
	case step == stepFork && errno == syscall.EAGAIN:
		hint = " (too many processes: ulimit -u, or the pids limit of the control group)"
	case step == stepListener && errno == syscall.EBUSY:
		hint = " (a filter around goum has a listener of its own, and the host allows one)"
	case step == stepListener && (errno == syscall.EPERM || errno == syscall.EACCES || errno == syscall.ENOSYS):
		hint = " (the host, or the container around goum, forbids it)"
	case step == stepListener && errno == syscall.EINVAL:
		hint = " (goum needs Linux 5.19 or later with CONFIG_SECCOMP_FILTER)"
	}
	if errno != 0 {
		return fmt.Sprintf("a stub cannot start: %s: %v%s", what, errno, hint)
	}
	return "a stub cannot start: " + what + hint
}

// Unwrap gives the host's error number; nil if it is not known.
func (e StartError) Unwrap() error {
	if errno := syscall.Errno(int(e) & (1<<StepShift - 1)); errno != 0 {
		return errno
	}
	return nil
}
