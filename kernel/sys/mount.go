package sys

import (
	"bytes"

	"goum/arch/abi"
	"goum/kernel/fs/vfs"
	"goum/kernel/task"
	"goum/mm"
)

// mountCalls change the tree of mounts.
var mountCalls = Calls{
	abi.SYS_MOUNT:      Def5("mount", sysMount).Partial("mounts do not propagate between peers"),
	abi.SYS_UMOUNT2:    Def2("umount2", sysUmount2),
	abi.SYS_PIVOT_ROOT: Def2("pivot_root", sysPivotRoot),
}

// mountString is copy_mount_string: a null pointer is no string, a long one is EINVAL.
func mountString(t *task.Task, s Str) (string, abi.Errno) {
	if s == 0 {
		return "", 0
	}
	return s.Get(t, abi.PATH_MAX, abi.EINVAL)
}

// sysMount mounts a file system, or changes or moves a mount: mount(2).
func sysMount(t *task.Task, source Str, target Path, typ Str, flags MountFlags, data Addr) (uint64, abi.Errno) {
	ty, e := mountString(t, typ)
	if e != 0 {
		return 0, e
	}
	src, e := mountString(t, source)
	if e != 0 {
		return 0, e
	}
	var options string
	if data != 0 {
		var b [mm.PageSize - 1]byte // what lies in the page, as far as it can be read
		n, e := t.User().CopyInSome(b[:], uint64(data))
		if n == 0 && e != 0 {
			return 0, e
		}
		o, _, _ := bytes.Cut(b[:n], []byte{0})
		options = string(o)
	}
	s, _, e := getPath(t, abi.AT_FDCWD, target, false)
	if e != 0 {
		return 0, e
	}
	const noNew = abi.MS_REMOUNT | abi.MS_BIND | abi.MS_MOVE | abi.MS_SHARED | abi.MS_PRIVATE | abi.MS_SLAVE | abi.MS_UNBINDABLE
	if typ == 0 && flags&noNew == 0 { // a new mount needs a type: looked at last
		if _, e := t.Caller().Walk(vfs.Location{}, s, vfs.Follow); e != 0 {
			return 0, e
		}
		if !t.Cred().Has(abi.CAP_SYS_ADMIN) {
			return 0, abi.EPERM
		}
		return 0, abi.EINVAL
	}
	return 0, t.Caller().MountAt(src, s, ty, uint32(flags), options)
}

// sysUmount2 takes a mount away: umount2(2).
func sysUmount2(t *task.Task, path Path, flags Int) (uint64, abi.Errno) {
	if flags&^(abi.MNT_FORCE|abi.MNT_DETACH|abi.MNT_EXPIRE|abi.UMOUNT_NOFOLLOW) != 0 {
		return 0, abi.EINVAL
	}
	s, _, e := getPath(t, abi.AT_FDCWD, path, false)
	if e != 0 {
		return 0, e
	}
	return 0, t.Caller().Umount(s, uint32(flags))
}

// sysPivotRoot exchanges the root: pivot_root(2).
func sysPivotRoot(t *task.Task, newRoot, putOld Path) (uint64, abi.Errno) {
	if !t.Cred().Has(abi.CAP_SYS_ADMIN) {
		return 0, abi.EPERM
	}
	n, _, e := getPath(t, abi.AT_FDCWD, newRoot, false)
	if e != 0 {
		return 0, e
	}
	o, _, e := pathOrLater(t, abi.AT_FDCWD, putOld, func() abi.Errno {
		_, e := t.Caller().Walk(vfs.Location{}, n, vfs.Follow|vfs.NeedDir)
		return e
	})
	if e != 0 {
		return 0, e
	}
	return 0, t.Caller().PivotRoot(n, o)
}
