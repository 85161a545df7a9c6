package kernel

import (
	"fmt"
	"sort"

	"goum/arch/abi"
	"goum/kernel/fs/tmpfs"
	"goum/kernel/fs/vfs"
	"goum/rootfs/cpio"
)

// unpack lays an initramfs over the root file system that c stands in, as Linux's init/initramfs.c does.
func unpack(c *vfs.Caller, a Archive, memory int64) error {
	limits := cpio.DefaultLimits()
	limits.Total = min(limits.Total, memory)
	u := unpacker{c: c, name: a.Name}
	if err := cpio.ReadBytes(a.Data, limits, u.entry); err != nil {
		return fmt.Errorf("%s: %w", a.Name, err)
	}
	return u.stampDirs()
}

type unpacker struct {
	c    *vfs.Caller
	name string
	dirs []cpio.Header // whose times are set last: each entry in them changes those
}

func (u *unpacker) fail(h *cpio.Header, e abi.Errno) error {
	if e == abi.ENOSPC || e == abi.ENOMEM {
		return fmt.Errorf("%q does not fit into the guest's memory: give more with --mem", h.Name)
	}
	return fmt.Errorf("%q cannot be made: %s", h.Name, e.Name())
}

func (u *unpacker) entry(h *cpio.Header, body []byte) error {
	path := "/" + h.Name
	mtime := int64(h.MTime) * 1e9
	var e abi.Errno
	switch {
	case h.LinkTo != "":
		u.remove(path)
		if e = u.c.Link(vfs.Location{}, "/"+h.LinkTo, vfs.Location{}, path, 0); e == 0 && len(body) > 0 {
			return u.refill(h, path, body)
		}
	case h.Type() == cpio.TypeDir:
		e = u.dir(h, path)
	case h.Type() == cpio.TypeRegular:
		e = tmpfs.AddFile(u.c, path, h.Mode, h.UID, h.GID, mtime, body)
	case h.Type() == cpio.TypeSymlink:
		u.remove(path)
		if e = u.c.Symlink(string(body), vfs.Location{}, path); e == 0 {
			e = u.attrs(h, path)
		}
	default:
		u.remove(path)
		if e = u.c.Mknod(vfs.Location{}, path, h.Mode, abi.Makedev(h.RDevMajor, h.RDevMinor)); e == 0 {
			e = u.attrs(h, path)
		}
	}
	if e != 0 {
		return u.fail(h, e)
	}
	return nil
}

// refill gives a file that has several names the data that came with the last of them.
func (u *unpacker) refill(h *cpio.Header, path string, body []byte) error {
	first := "/" + h.LinkTo
	u.remove(path)
	if e := tmpfs.AddFile(u.c, first, h.Mode, h.UID, h.GID, int64(h.MTime)*1e9, body); e != 0 {
		return u.fail(h, e)
	}
	if e := u.c.Link(vfs.Location{}, first, vfs.Location{}, path, 0); e != 0 {
		return u.fail(h, e)
	}
	return nil
}

// remove takes away what an earlier archive left at path, unless it is a directory.
func (u *unpacker) remove(path string) {
	if _, a, e := u.c.AttrAt(vfs.Location{}, path, abi.AT_SYMLINK_NOFOLLOW); e == 0 && !a.IsDir() {
		u.c.Unlink(vfs.Location{}, path)
	}
}

func (u *unpacker) dir(h *cpio.Header, path string) abi.Errno {
	if _, a, e := u.c.AttrAt(vfs.Location{}, path, 0); e != 0 || !a.IsDir() {
		u.remove(path)
		if e := u.c.Mkdir(vfs.Location{}, path, h.Mode&0o7777); e != 0 {
			return e
		}
	}
	u.dirs = append(u.dirs, *h)
	return u.attrs(h, path)
}

// attrs sets owner and mode, whatever the umask says; in this order, since chown takes set-user-ID away.
func (u *unpacker) attrs(h *cpio.Header, path string) abi.Errno {
	if e := u.c.ChownAt(vfs.Location{}, path, h.UID, h.GID, abi.AT_SYMLINK_NOFOLLOW); e != 0 {
		return e
	}
	if h.Type() == cpio.TypeSymlink {
		return 0
	}
	return u.c.ChmodAt(vfs.Location{}, path, h.Mode&0o7777, 0)
}

// stampDirs sets the directories' times, the deepest first.
func (u *unpacker) stampDirs() error {
	sort.SliceStable(u.dirs, func(i, j int) bool { return len(u.dirs[i].Name) > len(u.dirs[j].Name) })
	for i := range u.dirs {
		h := &u.dirs[i]
		at := abi.Timespec{Sec: int64(h.MTime)}
		if e := u.c.UtimensAt(vfs.Location{}, "/"+h.Name, &[2]abi.Timespec{at, at}, 0); e != 0 && e != abi.ENOENT {
			return u.fail(h, e)
		}
	}
	return nil
}
