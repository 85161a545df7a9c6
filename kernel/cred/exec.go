package cred

import "goum/arch/abi"

// Image is what exec has to know of a file to give its process new credentials.
type Image struct {
	Mode     uint32 // st_mode of the file whose bits count
	UID, GID uint32
	NoSuid   bool // its mount has MS_NOSUID
	Shared   bool // somebody outside the thread group shares root and cwd: the new program must not be more than its caller
}

// Exec is what execve(2) makes of c for a file: set-user-ID and set-group-ID bits, root's capabilities, ambient ones; file
// capabilities do not exist here. secure is AT_SECURE: the new program must not trust its environment.
func (c *Cred) Exec(f Image) (next *Cred, secure bool) {
	n := c.copy()
	if !f.NoSuid && !c.NoNewPrivs {
		if f.Mode&abi.S_ISUID != 0 {
			n.EUID = f.UID
		}
		if f.Mode&(abi.S_ISGID|abi.S_IXGRP) == abi.S_ISGID|abi.S_IXGRP {
			n.EGID = f.GID
		}
	}
	n.Permitted = 0
	effective := false
	if n.Securebits&abi.SECBIT_NOROOT == 0 {
		if n.EUID == 0 || n.UID == 0 {
			n.Permitted = c.Bounding | c.Inheritable
		}
		effective = n.EUID == 0
	}
	changed := n.EUID != c.EUID || !c.InEffectiveGroup(n.EGID)
	if (changed || !n.Permitted.Subset(c.Permitted)) && (f.Shared || c.NoNewPrivs) {
		if !c.Has(abi.CAP_SETUID) || c.NoNewPrivs {
			n.EUID, n.EGID = n.UID, n.GID
		}
		n.Permitted &= c.Permitted
	}
	n.SUID, n.FSUID = n.EUID, n.EUID
	n.SGID, n.FSGID = n.EGID, n.EGID
	if changed {
		n.Ambient = 0
	}
	n.Permitted |= n.Ambient
	n.Effective = n.Ambient
	if effective {
		n.Effective = n.Permitted
	}
	n.Securebits &^= abi.SECBIT_KEEP_CAPS
	secure = changed || n.EUID != c.UID || n.EGID != c.GID ||
		n.UID != 0 && (effective || !n.Permitted.Subset(n.Ambient))
	return n, secure
}
