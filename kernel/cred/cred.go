// Package cred is who a task is and what it may do: user and group numbers, capabilities, securebits, and resource limits.
//
// It owns Cred, Namespace (user namespaces: only the initial one so far), User (what is counted per real user) and Limits.
//
// Invariants:
//   - A Cred never changes after it was handed out: every change makes a copy, so that a pointer may be read without a lock.
//   - Effective is a subset of Permitted, Ambient of Permitted and Inheritable.
//   - Groups is sorted, and is never written to.
//
// Locks: a Namespace's table and the writers of Limits each have a lock.Task, taken with nothing of a higher rank held;
// reading either a Cred or a limit takes none.
package cred

import (
	"slices"

	"goum/arch/abi"
)

// Cred is what credentials(7) and capabilities(7) describe: immutable, and shared by pointer.
type Cred struct {
	UID, EUID, SUID, FSUID uint32
	GID, EGID, SGID, FSGID uint32
	Groups                 []uint32 // sorted

	Permitted, Effective, Inheritable, Bounding, Ambient Caps
	Securebits                                           uint32
	NoNewPrivs                                           bool

	NS   *Namespace // the user namespace that the numbers and capabilities are meant in
	User *User      // what is counted for UID
}

// Root is what the first task of a machine has: user 0 with every capability, in a user namespace of its own.
func Root() *Cred {
	ns := NewNamespace()
	return &Cred{
		Permitted: AllCaps, Effective: AllCaps, Bounding: AllCaps,
		NS: ns, User: ns.User(0),
	}
}

// Ordinary is what a login of uid and gid would have: no capability but what exec could give it. For tests and for boot.
func (c *Cred) Ordinary(uid, gid uint32, groups ...uint32) *Cred {
	g := slices.Clone(groups)
	slices.Sort(g)
	return &Cred{
		UID: uid, EUID: uid, SUID: uid, FSUID: uid,
		GID: gid, EGID: gid, SGID: gid, FSGID: gid,
		Groups: g, Bounding: c.Bounding, NS: c.NS, User: c.NS.User(uid),
	}
}

// Has says whether capability cap is effective: ns_capable in the task's own namespace.
func (c *Cred) Has(cap int) bool { return c.Effective.Has(cap) }

// InGroup says whether gid is the file system group or a supplementary one: in_group_p.
func (c *Cred) InGroup(gid uint32) bool { return gid == c.FSGID || c.supplementary(gid) }

// InEffectiveGroup says whether gid is the effective group or a supplementary one: in_egroup_p.
func (c *Cred) InEffectiveGroup(gid uint32) bool { return gid == c.EGID || c.supplementary(gid) }

func (c *Cred) supplementary(gid uint32) bool {
	_, found := slices.BinarySearch(c.Groups, gid)
	return found
}

// MayKill says whether a task with c may send a signal to one with target: kill(2). The exception for SIGCONT is the caller's.
func (c *Cred) MayKill(target *Cred) bool {
	return c.EUID == target.SUID || c.EUID == target.UID || c.UID == target.SUID || c.UID == target.UID || c.Has(abi.CAP_KILL)
}

// MayLimit says whether a task with c may look at and set the limits of another with target: prlimit(2).
func (c *Cred) MayLimit(target *Cred) bool {
	return c.UID == target.EUID && c.UID == target.SUID && c.UID == target.UID &&
		c.GID == target.EGID && c.GID == target.SGID && c.GID == target.GID ||
		c.Has(abi.CAP_SYS_RESOURCE)
}

// Guarded says whether the step from old to c makes the process undumpable and forgets its parent-death signal: the test at
// the end of commit_creds.
func (c *Cred) Guarded(old *Cred) bool {
	return c.EUID != old.EUID || c.EGID != old.EGID || c.FSUID != old.FSUID || c.FSGID != old.FSGID ||
		!c.Permitted.Subset(old.Permitted)
}

// copy is where every change starts.
func (c *Cred) copy() *Cred {
	n := *c
	return &n
}

// none is "leave it as it is" in the set*id calls, and no valid number otherwise.
const none = ^uint32(0)

// SetUID is setuid(2): EINVAL (not a number), EPERM.
func (c *Cred) SetUID(uid uint32) (*Cred, abi.Errno) {
	if uid == none {
		return c, abi.EINVAL
	}
	n := c.copy()
	switch {
	case c.Has(abi.CAP_SETUID):
		n.UID, n.SUID = uid, uid
	case uid != c.UID && uid != c.SUID:
		return c, abi.EPERM
	}
	n.EUID, n.FSUID = uid, uid
	return n.fixed(c), 0
}

// SetREUID is setreuid(2): EPERM.
func (c *Cred) SetREUID(ruid, euid uint32) (*Cred, abi.Errno) {
	n := c.copy()
	if ruid != none {
		if ruid != c.UID && ruid != c.EUID && !c.Has(abi.CAP_SETUID) {
			return c, abi.EPERM
		}
		n.UID = ruid
	}
	if euid != none {
		if euid != c.UID && euid != c.EUID && euid != c.SUID && !c.Has(abi.CAP_SETUID) {
			return c, abi.EPERM
		}
		n.EUID = euid
	}
	if ruid != none || euid != none && euid != c.UID {
		n.SUID = n.EUID
	}
	n.FSUID = n.EUID
	return n.fixed(c), 0
}

// SetRESUID is setresuid(2): EPERM.
func (c *Cred) SetRESUID(ruid, euid, suid uint32) (*Cred, abi.Errno) {
	if (ruid == none || ruid == c.UID) && (euid == none || euid == c.EUID && euid == c.FSUID) && (suid == none || suid == c.SUID) {
		return c, 0
	}
	isNew := func(id uint32) bool { return id != none && id != c.UID && id != c.EUID && id != c.SUID }
	if (isNew(ruid) || isNew(euid) || isNew(suid)) && !c.Has(abi.CAP_SETUID) {
		return c, abi.EPERM
	}
	n := c.copy()
	pick(&n.UID, ruid)
	pick(&n.EUID, euid)
	pick(&n.SUID, suid)
	n.FSUID = n.EUID
	return n.fixed(c), 0
}

// SetFSUID is setfsuid(2), which has no error: it answers the number before, and what is not allowed changes nothing.
func (c *Cred) SetFSUID(uid uint32) (*Cred, uint32) {
	old := c.FSUID
	if uid == none || uid == old || uid != c.UID && uid != c.EUID && uid != c.SUID && !c.Has(abi.CAP_SETUID) {
		return c, old
	}
	n := c.copy()
	n.FSUID = uid
	if n.Securebits&abi.SECBIT_NO_SETUID_FIXUP == 0 {
		switch {
		case old == 0:
			n.Effective &^= fsCaps
		case uid == 0:
			n.Effective |= fsCaps & n.Permitted
		}
	}
	return n, old
}

// SetGID is setgid(2): EINVAL (not a number), EPERM.
func (c *Cred) SetGID(gid uint32) (*Cred, abi.Errno) {
	if gid == none {
		return c, abi.EINVAL
	}
	n := c.copy()
	switch {
	case c.Has(abi.CAP_SETGID):
		n.GID, n.SGID = gid, gid
	case gid != c.GID && gid != c.SGID:
		return c, abi.EPERM
	}
	n.EGID, n.FSGID = gid, gid
	return n, 0
}

// SetREGID is setregid(2): EPERM.
func (c *Cred) SetREGID(rgid, egid uint32) (*Cred, abi.Errno) {
	n := c.copy()
	if rgid != none {
		if rgid != c.GID && rgid != c.EGID && !c.Has(abi.CAP_SETGID) {
			return c, abi.EPERM
		}
		n.GID = rgid
	}
	if egid != none {
		if egid != c.GID && egid != c.EGID && egid != c.SGID && !c.Has(abi.CAP_SETGID) {
			return c, abi.EPERM
		}
		n.EGID = egid
	}
	if rgid != none || egid != none && egid != c.GID {
		n.SGID = n.EGID
	}
	n.FSGID = n.EGID
	return n, 0
}

// SetRESGID is setresgid(2): EPERM.
func (c *Cred) SetRESGID(rgid, egid, sgid uint32) (*Cred, abi.Errno) {
	if (rgid == none || rgid == c.GID) && (egid == none || egid == c.EGID && egid == c.FSGID) && (sgid == none || sgid == c.SGID) {
		return c, 0
	}
	isNew := func(id uint32) bool { return id != none && id != c.GID && id != c.EGID && id != c.SGID }
	if (isNew(rgid) || isNew(egid) || isNew(sgid)) && !c.Has(abi.CAP_SETGID) {
		return c, abi.EPERM
	}
	n := c.copy()
	pick(&n.GID, rgid)
	pick(&n.EGID, egid)
	pick(&n.SGID, sgid)
	n.FSGID = n.EGID
	return n, 0
}

// SetFSGID is setfsgid(2): like SetFSUID.
func (c *Cred) SetFSGID(gid uint32) (*Cred, uint32) {
	old := c.FSGID
	if gid == none || gid == old || gid != c.GID && gid != c.EGID && gid != c.SGID && !c.Has(abi.CAP_SETGID) {
		return c, old
	}
	n := c.copy()
	n.FSGID = gid
	return n, old
}

// SetGroups is setgroups(2): EPERM, EINVAL (too many, or not a number). groups is copied.
func (c *Cred) SetGroups(groups []uint32) (*Cred, abi.Errno) {
	if !c.Has(abi.CAP_SETGID) {
		return c, abi.EPERM
	}
	if len(groups) > MaxGroups || slices.Contains(groups, none) {
		return c, abi.EINVAL
	}
	n := c.copy()
	n.Groups = slices.Clone(groups)
	slices.Sort(n.Groups)
	return n, 0
}

// SetNoNewPrivs is prctl(PR_SET_NO_NEW_PRIVS, 1): there is no way back.
func (c *Cred) SetNoNewPrivs() *Cred {
	n := c.copy()
	n.NoNewPrivs = true
	return n
}

func pick(id *uint32, to uint32) {
	if to != none {
		*id = to
	}
}

// fixed ends a change of user numbers from old: who is counted, and what leaving or becoming root does to the capabilities
// (cap_emulate_setxuid).
func (n *Cred) fixed(old *Cred) *Cred {
	if n.UID != old.UID {
		n.User = n.NS.User(n.UID)
	}
	if n.Securebits&abi.SECBIT_NO_SETUID_FIXUP != 0 {
		return n
	}
	wasRoot := old.UID == 0 || old.EUID == 0 || old.SUID == 0
	isRoot := n.UID == 0 || n.EUID == 0 || n.SUID == 0
	if wasRoot && !isRoot {
		if n.Securebits&abi.SECBIT_KEEP_CAPS == 0 {
			n.Permitted, n.Effective = 0, 0
		}
		n.Ambient = 0
	}
	switch {
	case old.EUID == 0 && n.EUID != 0:
		n.Effective = 0
	case old.EUID != 0 && n.EUID == 0:
		n.Effective = n.Permitted
	}
	return n
}
