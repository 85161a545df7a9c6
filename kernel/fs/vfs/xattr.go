package vfs

import (
	"strings"

	"goum/arch/abi"
)

// xattrMay is xattr_permission: what namespace the name is in decides. write: it is to be changed.
func (c *Caller) xattrMay(l Location, a *Attr, name string, write bool) abi.Errno {
	if write {
		if a.Flags&(abi.STATX_ATTR_IMMUTABLE|abi.STATX_ATTR_APPEND) != 0 {
			return abi.EPERM
		}
	}
	switch {
	case strings.HasPrefix(name, "security."), strings.HasPrefix(name, "system."):
		return 0
	case strings.HasPrefix(name, "trusted."):
		if !c.Cred.Has(abi.CAP_SYS_ADMIN) {
			if write {
				return abi.EPERM
			}
			return abi.ENODATA
		}
		return 0
	case strings.HasPrefix(name, "user."):
		if t := a.Mode & abi.S_IFMT; t != abi.S_IFREG && t != abi.S_IFDIR {
			if write {
				return abi.EPERM
			}
			return abi.ENODATA
		}
		if a.IsDir() && a.Mode&abi.S_ISVTX != 0 && write && !c.owns(a) {
			return abi.EPERM
		}
	}
	mask := uint32(MayRead)
	if write {
		mask = MayWrite
	}
	return c.permit(l.Dentry.super, l.Node(), a, mask)
}

// CheckSetXattr is what setxattr(2) looks at before it looks for the file: EINVAL (flags), ERANGE (name), E2BIG. CheckXattr serves the
// others.
func CheckSetXattr(name string, size uint64, flags uint32) abi.Errno {
	if flags&^(abi.XATTR_CREATE|abi.XATTR_REPLACE) != 0 {
		return abi.EINVAL
	}
	if e := CheckXattr(name); e != 0 {
		return e
	}
	if size > abi.XATTR_SIZE_MAX {
		return abi.E2BIG
	}
	return 0
}

// CheckXattr says whether name may be one at all: ERANGE.
func CheckXattr(name string) abi.Errno {
	if name == "" || len(name) > abi.XATTR_NAME_MAX {
		return abi.ERANGE
	}
	return 0
}

// xattrKnown says whether a name has a prefix and something behind it: EOPNOTSUPP, EINVAL.
func xattrKnown(name string) abi.Errno {
	for _, p := range [...]string{"user.", "trusted.", "security."} {
		if strings.HasPrefix(name, p) {
			if len(name) == len(p) {
				return abi.EINVAL
			}
			return 0
		}
	}
	return abi.EOPNOTSUPP
}

// GetXattr is getxattr(2): ERANGE (name), EACCES, ENODATA, EOPNOTSUPP.
func (c *Caller) GetXattr(l Location, name string) ([]byte, abi.Errno) {
	if e := CheckXattr(name); e != 0 {
		return nil, e
	}
	a, e := c.attrOf(l)
	if e != 0 {
		return nil, e
	}
	if e := c.xattrMay(l, &a, name, false); e != 0 {
		return nil, e
	}
	x, ok := l.Node().(Xattrer)
	if !ok {
		return nil, abi.EOPNOTSUPP
	}
	if e := xattrKnown(name); e != 0 {
		return nil, e
	}
	return x.GetXattr(c, name)
}

// SetXattr is setxattr(2): EINVAL (flags), ERANGE, E2BIG, EROFS, EPERM, EACCES, EOPNOTSUPP, EEXIST, ENODATA.
func (c *Caller) SetXattr(l Location, name string, value []byte, flags uint32) abi.Errno {
	if e := CheckSetXattr(name, uint64(len(value)), flags); e != 0 {
		return e
	}
	if value == nil {
		value = []byte{}
	}
	return c.changeXattr(l, name, value, flags)
}

// RemoveXattr is removexattr(2).
func (c *Caller) RemoveXattr(l Location, name string) abi.Errno {
	if e := CheckXattr(name); e != 0 {
		return e
	}
	return c.changeXattr(l, name, nil, abi.XATTR_REPLACE)
}

func (c *Caller) changeXattr(l Location, name string, value []byte, flags uint32) abi.Errno {
	if e := l.Mount.beginWrite(); e != 0 {
		return e
	}
	defer l.Mount.endWrite()
	a, e := c.attrOf(l)
	if e != 0 {
		return e
	}
	if e := c.xattrMay(l, &a, name, true); e != 0 {
		return e
	}
	if strings.HasPrefix(name, "security.") && !c.Cred.Has(abi.CAP_SYS_ADMIN) && !(name == "security.capability" && c.Cred.Has(abi.CAP_SETFCAP)) {
		return abi.EPERM
	}
	x, ok := l.Node().(Xattrer)
	if !ok {
		return abi.EOPNOTSUPP
	}
	if e := xattrKnown(name); e != 0 {
		return e
	}
	if e := x.SetXattr(c, name, value, flags); e != 0 {
		return e
	}
	notifyAt(l.Dentry, abi.IN_ATTRIB)
	return 0
}

// ListXattr is listxattr(2): the names the caller may see.
func (c *Caller) ListXattr(l Location) ([]string, abi.Errno) {
	x, ok := l.Node().(Xattrer)
	if !ok {
		return nil, 0
	}
	names, e := x.ListXattr(c)
	if e != 0 {
		return nil, e
	}
	out := names[:0]
	for _, n := range names {
		if !strings.HasPrefix(n, "trusted.") || c.Cred.Has(abi.CAP_SYS_ADMIN) {
			out = append(out, n)
		}
	}
	return out, 0
}
