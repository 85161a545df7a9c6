package event

import (
	"fmt"

	"goum/arch/abi"
	"goum/kernel/fs/vfs"
	"goum/kernel/signal"
	"goum/kernel/task"
	"goum/sched"
)

// pidFD is a descriptor for a process: pidfd_open(2).
type pidFD struct {
	vfs.NoFile
	p *task.Process
}

// NewPidFD makes a pidfd for p. flags are PIDFD_NONBLOCK or 0.
func NewPidFD(p *task.Process, flags uint32) *vfs.Open {
	return vfs.NewAnon("anon_inode:[pidfd]", 0o600, &pidFD{p: p}, abi.O_RDWR|flags&abi.PIDFD_NONBLOCK)
}

// OpenPid is pidfd_open(2) without the descriptor: EINVAL (flags, a number below 1; PIDFD_THREAD is not there), ESRCH, ENOENT (a
// thread that does not lead its process).
func OpenPid(t *task.Task, pid int32, flags uint32) (*vfs.Open, abi.Errno) {
	if flags&^abi.PIDFD_NONBLOCK != 0 || pid <= 0 {
		return nil, abi.EINVAL
	}
	p := t.System.Tree.FindProcess(pid)
	if p == nil {
		if t.System.Tree.FindTask(pid) != nil {
			return nil, abi.ENOENT
		}
		return nil, abi.ESRCH
	}
	return NewPidFD(p, flags), 0
}

// ProcessOf is the process that o is a pidfd of: EBADF.
func ProcessOf(o *vfs.Open) (*task.Process, abi.Errno) {
	if f, ok := o.File.(*pidFD); ok {
		return f.p, 0
	}
	return nil, abi.EBADF
}

// reaped says whether p's number is no longer its own.
func reaped(p *task.Process) bool { return p.System.Tree.FindProcess(p.PID) != p }

// Poll says whether the process has ended.
func (f *pidFD) Poll(*vfs.Caller) sched.Mask {
	switch {
	case !f.p.Dead():
		return 0
	case reaped(f.p):
		return pollIn | pollHup
	}
	return pollIn
}

// Queue is where those wait who want to know.
func (f *pidFD) Queue() *sched.Queue { return f.p.Exits() }

// Describe are the lines of /proc/PID/fdinfo/N.
func (f *pidFD) Describe(*vfs.Caller) string {
	pid := f.p.PID
	if reaped(f.p) {
		pid = -1
	}
	return fmt.Sprintf("Pid:\t%d\nNSpid:\t%d\n", pid, pid)
}

// PidFDSendSignal is pidfd_send_signal(2): EINVAL (flags, a signal, info for another one), EBADF, EPERM, ESRCH. info is nil for what
// kill(2) would send.
func PidFDSendSignal(t *task.Task, o *vfs.Open, sig int32, info *signal.Info, flags uint32) abi.Errno {
	const known = abi.PIDFD_SIGNAL_THREAD | abi.PIDFD_SIGNAL_THREAD_GROUP | abi.PIDFD_SIGNAL_PROCESS_GROUP
	if flags&^known != 0 || flags&(flags-1) != 0 {
		return abi.EINVAL
	}
	p, e := ProcessOf(o)
	if e != 0 {
		return e
	}
	plain := info == nil
	if plain {
		i := signal.User(int(sig), abi.SI_USER, t.PID(), t.Cred().UID)
		info = &i
	} else {
		if sig != info.Signo {
			return abi.EINVAL
		}
		if p != t.Process && (info.Code >= 0 || info.Code == abi.SI_TKILL) {
			return abi.EPERM // what only the kernel may say
		}
	}
	switch {
	case flags == abi.PIDFD_SIGNAL_PROCESS_GROUP && reaped(p):
		return abi.ESRCH
	case flags == abi.PIDFD_SIGNAL_PROCESS_GROUP:
		return t.Kill(-p.PID, sig) // what info says beyond the signal is lost on a group
	case flags == abi.PIDFD_SIGNAL_THREAD && reaped(p):
		return abi.ESRCH
	case flags == abi.PIDFD_SIGNAL_THREAD && plain:
		return t.TgKill(p.PID, p.PID, sig)
	case flags == abi.PIDFD_SIGNAL_THREAD:
		return t.TgQueueInfo(p.PID, p.PID, sig, info)
	}
	return t.Signal(p, info)
}

// PidFDGetFD is pidfd_getfd(2) without the new descriptor: EINVAL (flags), EBADF (o, or fd of the process), ESRCH, EPERM.
func PidFDGetFD(t *task.Task, o *vfs.Open, fd int32, flags uint32) (*vfs.Open, abi.Errno) {
	if flags != 0 {
		return nil, abi.EINVAL
	}
	p, e := ProcessOf(o)
	if e != 0 {
		return nil, e
	}
	if reaped(p) {
		return nil, abi.ESRCH
	}
	other := p.Some()
	if e := mayAttach(t, other); e != 0 {
		return nil, e
	}
	fds := other.FDs()
	if fds == nil {
		return nil, abi.ESRCH
	}
	return fds.Get(fd)
}

// mayAttach is what ptrace(2) asks with the real user: the same process, the same user in every respect, or CAP_SYS_PTRACE. EPERM.
func mayAttach(t, other *task.Task) abi.Errno {
	if t.Process == other.Process {
		return 0
	}
	a, b := t.Cred(), other.Cred()
	same := a.UID == b.EUID && a.UID == b.SUID && a.UID == b.UID && a.GID == b.EGID && a.GID == b.SGID && a.GID == b.GID
	if same && b.Permitted&^a.Permitted == 0 || a.Has(abi.CAP_SYS_PTRACE) {
		return 0
	}
	return abi.EPERM
}

// reservePidFD is task.System.PidFD.
func reservePidFD(t *task.Task, child *task.Task) (int32, func(), func(), abi.Errno) {
	r, e := t.FDs().Reserve(1, true)
	if e != 0 {
		return -1, nil, nil, e
	}
	install := func() { r.Install(NewPidFD(child.Process, 0)) }
	return r.Numbers()[0], install, r.Release, 0
}

// waitFD is task.System.WaitFD: EBADF.
func waitFD(t *task.Task, fd int32) (*task.Process, bool, abi.Errno) {
	o, e := t.FDs().Get(fd)
	if e != 0 {
		return nil, false, e
	}
	defer o.Unref()
	p, e := ProcessOf(o)
	return p, o.Flags()&abi.O_NONBLOCK != 0, e
}
