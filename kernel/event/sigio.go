package event

import (
	"goum/arch/abi"
	"goum/kernel/cred"
	"goum/kernel/fs/vfs"
	"goum/kernel/signal"
	"goum/kernel/task"
)

// SendSIGIO tells the owner of an open file with O_ASYNC of events (poll(2)'s): vfs.System.SIGIO. As Linux's send_sigio, it sends SIGIO
// without a cause, or the signal of F_SETSIG with one, if who set the owner may signal it. The descriptor in the siginfo is always
// 0: an open file does not know its numbers.
func SendSIGIO(o *vfs.Open, events uint32) {
	w := o.Owner()
	to, ok := w.Sink.(signal.Target)
	if !ok || w.Cred == nil {
		return
	}
	if c := credOf(to); c != nil && !maySIGIO(w.Cred, c) {
		return
	}
	info := signal.Kernel(abi.SIGIO)
	if sig := o.Sig(); sig != 0 {
		code := int32(abi.POLL_IN)
		switch {
		case events&abi.POLLHUP != 0:
			code = abi.POLL_HUP
		case events&abi.POLLERR != 0:
			code = abi.POLL_ERR
		case events&abi.POLLPRI != 0:
			code = abi.POLL_PRI
		case events&abi.POLLOUT != 0:
			code = abi.POLL_OUT
		}
		info = signal.Poll(int(sig), code, int64(events), 0)
	}
	to.Send(&info)
}

// credOf is whose signals a target's are; nil for a group, whose members the owner shares a session with or could not have named.
func credOf(to signal.Target) *cred.Cred {
	switch to := to.(type) {
	case *task.Task:
		return to.Cred()
	case *task.Process:
		if t := to.Some(); t != nil {
			return t.Cred()
		}
	}
	return nil
}

// maySIGIO is Linux's sigio_perm.
func maySIGIO(owner, to *cred.Cred) bool {
	return owner.EUID == 0 || owner.EUID == to.SUID || owner.EUID == to.UID || owner.UID == to.SUID || owner.UID == to.UID
}
