package sys

import (
	"goum/arch/abi"
	"goum/kernel/cred"
	"goum/kernel/task"
)

// credCalls say who the caller is and what it may do.
var credCalls = Calls{
	abi.SYS_GETUID:    Def0("getuid", sysGetuid),
	abi.SYS_GETEUID:   Def0("geteuid", sysGeteuid),
	abi.SYS_GETGID:    Def0("getgid", sysGetgid),
	abi.SYS_GETEGID:   Def0("getegid", sysGetegid),
	abi.SYS_SETUID:    Def1("setuid", sysSetuid),
	abi.SYS_SETGID:    Def1("setgid", sysSetgid),
	abi.SYS_SETREUID:  Def2("setreuid", sysSetreuid),
	abi.SYS_SETREGID:  Def2("setregid", sysSetregid),
	abi.SYS_SETRESUID: Def3("setresuid", sysSetresuid),
	abi.SYS_SETRESGID: Def3("setresgid", sysSetresgid),
	abi.SYS_GETRESUID: Def3("getresuid", sysGetresuid),
	abi.SYS_GETRESGID: Def3("getresgid", sysGetresgid),
	abi.SYS_SETFSUID:  Def1("setfsuid", sysSetfsuid),
	abi.SYS_SETFSGID:  Def1("setfsgid", sysSetfsgid),
	abi.SYS_GETGROUPS: Def2("getgroups", sysGetgroups),
	abi.SYS_SETGROUPS: Def2("setgroups", sysSetgroups),
	abi.SYS_CAPGET:    Def2("capget", sysCapget),
	abi.SYS_CAPSET:    Def2("capset", sysCapset),
}

func sysGetuid(t *task.Task) (uint64, abi.Errno)  { return uint64(t.Cred().UID), 0 }
func sysGeteuid(t *task.Task) (uint64, abi.Errno) { return uint64(t.Cred().EUID), 0 }
func sysGetgid(t *task.Task) (uint64, abi.Errno)  { return uint64(t.Cred().GID), 0 }
func sysGetegid(t *task.Task) (uint64, abi.Errno) { return uint64(t.Cred().EGID), 0 }

// become makes c the caller's credentials, unless e says otherwise.
func become(t *task.Task, c *cred.Cred, e abi.Errno) (uint64, abi.Errno) {
	if e != 0 {
		return 0, e
	}
	t.SetCred(c)
	return 0, 0
}

func sysSetuid(t *task.Task, uid UID) (uint64, abi.Errno) {
	c, e := t.Cred().SetUID(uint32(uid))
	return become(t, c, e)
}

func sysSetgid(t *task.Task, gid GID) (uint64, abi.Errno) {
	c, e := t.Cred().SetGID(uint32(gid))
	return become(t, c, e)
}

func sysSetreuid(t *task.Task, ruid, euid UID) (uint64, abi.Errno) {
	c, e := t.Cred().SetREUID(uint32(ruid), uint32(euid))
	return become(t, c, e)
}

func sysSetregid(t *task.Task, rgid, egid GID) (uint64, abi.Errno) {
	c, e := t.Cred().SetREGID(uint32(rgid), uint32(egid))
	return become(t, c, e)
}

func sysSetresuid(t *task.Task, ruid, euid, suid UID) (uint64, abi.Errno) {
	c, e := t.Cred().SetRESUID(uint32(ruid), uint32(euid), uint32(suid))
	return become(t, c, e)
}

func sysSetresgid(t *task.Task, rgid, egid, sgid GID) (uint64, abi.Errno) {
	c, e := t.Cred().SetRESGID(uint32(rgid), uint32(egid), uint32(sgid))
	return become(t, c, e)
}

func store3(t *task.Task, p [3]Out[uint32], v [3]uint32) (uint64, abi.Errno) {
	for i := range p {
		if e := p[i].Store(t, v[i]); e != 0 {
			return 0, e
		}
	}
	return 0, 0
}

func sysGetresuid(t *task.Task, ruid, euid, suid Out[uint32]) (uint64, abi.Errno) {
	c := t.Cred()
	return store3(t, [3]Out[uint32]{ruid, euid, suid}, [3]uint32{c.UID, c.EUID, c.SUID})
}

func sysGetresgid(t *task.Task, rgid, egid, sgid Out[uint32]) (uint64, abi.Errno) {
	c := t.Cred()
	return store3(t, [3]Out[uint32]{rgid, egid, sgid}, [3]uint32{c.GID, c.EGID, c.SGID})
}

// sysSetfsuid answers the number before, whatever happens: setfsuid(2).
func sysSetfsuid(t *task.Task, uid UID) (uint64, abi.Errno) {
	c, old := t.Cred().SetFSUID(uint32(uid))
	t.SetCred(c)
	return uint64(old), 0
}

func sysSetfsgid(t *task.Task, gid GID) (uint64, abi.Errno) {
	c, old := t.Cred().SetFSGID(uint32(gid))
	t.SetCred(c)
	return uint64(old), 0
}

// sysGetgroups lists the supplementary groups, or counts them (0): getgroups(2). EINVAL (too small), EFAULT.
func sysGetgroups(t *task.Task, n Int, list Out[uint32]) (uint64, abi.Errno) {
	g := t.Cred().Groups
	switch {
	case n < 0:
		return 0, abi.EINVAL
	case n == 0:
		return uint64(len(g)), 0
	case len(g) > int(n):
		return 0, abi.EINVAL
	}
	return uint64(len(g)), list.StoreSlice(t, g)
}

// sysSetgroups is setgroups(2): EPERM, EINVAL, EFAULT.
func sysSetgroups(t *task.Task, n Uint, list In[uint32]) (uint64, abi.Errno) {
	if !t.Cred().Has(abi.CAP_SETGID) {
		return 0, abi.EPERM
	}
	if n > cred.MaxGroups {
		return 0, abi.EINVAL
	}
	g, e := list.Slice(t, int(n))
	if e != 0 {
		return 0, e
	}
	c, e := t.Cred().SetGroups(g)
	return become(t, c, e)
}

// capVersion reads the header, and answers how many words of data there are. An unknown version gets the newest one written back: EINVAL,
// or 0 words for a capget that only asked (data is null).
func capVersion(t *task.Task, hdr InOut[abi.CapHeader]) (h abi.CapHeader, words int, e abi.Errno) {
	// Only the version is read first, as in cap_validate_magic.
	v, e := In[uint32](hdr).Load(t)
	if e != 0 {
		return h, 0, e
	}
	switch v {
	case abi.LINUX_CAPABILITY_VERSION_1:
		words = 1
	case abi.LINUX_CAPABILITY_VERSION_2, abi.LINUX_CAPABILITY_VERSION_3:
		words = 2
	default:
		if e := Out[uint32](hdr).Store(t, abi.LINUX_CAPABILITY_VERSION_3); e != 0 {
			return h, 0, e
		}
		return h, 0, abi.EINVAL
	}
	h, e = hdr.Load(t)
	return h, words, e
}

// sysCapget tells the capabilities of a thread: capget(2).
func sysCapget(t *task.Task, hdr InOut[abi.CapHeader], data Out[[2]abi.CapData]) (uint64, abi.Errno) {
	h, words, e := capVersion(t, hdr)
	if data == 0 && e == abi.EINVAL {
		return 0, 0
	}
	if data == 0 || e != 0 {
		return 0, e
	}
	if h.PID < 0 {
		return 0, abi.EINVAL
	}
	c := t.Cred()
	if h.PID != 0 && h.PID != t.TID {
		other := t.System.Tree.FindTask(h.PID)
		if other == nil {
			return 0, abi.ESRCH
		}
		c = other.Cred()
	}
	var d [2]abi.CapData
	for i := range d {
		d[i] = abi.CapData{Effective: uint32(c.Effective >> (32 * i)), Permitted: uint32(c.Permitted >> (32 * i)), Inheritable: uint32(c.Inheritable >> (32 * i))}
	}
	return 0, Out[abi.CapData](data).StoreSlice(t, d[:words])
}

// sysCapset sets the caller's own capabilities: capset(2). EINVAL (version), EFAULT, EPERM (another thread's, or too many).
func sysCapset(t *task.Task, hdr InOut[abi.CapHeader], data In[[2]abi.CapData]) (uint64, abi.Errno) {
	h, words, e := capVersion(t, hdr)
	if e != 0 {
		return 0, e
	}
	if h.PID != 0 && h.PID != t.TID {
		return 0, abi.EPERM
	}
	d, e := In[abi.CapData](data).Slice(t, words)
	if e != 0 {
		return 0, e
	}
	var eff, per, inh cred.Caps
	for i, w := range d {
		eff |= cred.Caps(w.Effective) << (32 * i)
		per |= cred.Caps(w.Permitted) << (32 * i)
		inh |= cred.Caps(w.Inheritable) << (32 * i)
	}
	c, e := t.Cred().SetCaps(eff, per, inh)
	return become(t, c, e)
}
