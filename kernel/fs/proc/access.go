package proc

import (
	"goum/arch/abi"
	"goum/kernel/cred"
	"goum/kernel/fs/vfs"
	"goum/kernel/task"
)

// MayAccess says whether t may look into o as a debugger would: Linux's ptrace_may_access with PTRACE_MODE_READ_REALCREDS.
func MayAccess(t, o *task.Task) bool {
	return t.Process == o.Process || mayAccess(t.Cred(), o, false)
}

// callerMay is MayAccess for files, by the caller's file system identity: PTRACE_MODE_READ_FSCREDS.
func callerMay(c *vfs.Caller, o *task.Task) bool {
	if t := task.Of(c); t != nil && t.Process == o.Process {
		return true
	}
	return mayAccess(c.Cred, o, true)
}

func mayAccess(c *cred.Cred, o *task.Task, fs bool) bool {
	uid, gid, caps := c.UID, c.GID, c.Permitted
	if fs {
		uid, gid, caps = c.FSUID, c.FSGID, c.Effective
	}
	oc := o.Cred()
	super := c.Has(abi.CAP_SYS_PTRACE)
	same := uid == oc.EUID && uid == oc.SUID && uid == oc.UID && gid == oc.EGID && gid == oc.SGID && gid == oc.GID
	if !same && !super {
		return false
	}
	if m := o.Memory(); m != nil && m.Dumpable() != abi.SUID_DUMP_USER && !super {
		return false
	}
	return oc.Permitted.Subset(caps) || super
}
