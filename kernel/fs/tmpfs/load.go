package tmpfs

import (
	"strings"

	"goum/arch/abi"
	"goum/kernel/fs/vfs"
	"goum/mm"
)

// AddFile makes the regular file path with data as its contents, as the unpacking of an initramfs does: what is there is replaced,
// links among the directories are followed, mode and owner are set whatever the umask says. mtime is in nanoseconds. In a tmpfs the
// data is copied once, into contiguous frames.
func AddFile(c *vfs.Caller, path string, mode, uid, gid uint32, mtime int64, data []byte) abi.Errno {
	if strings.ContainsRune(path, 0) {
		return abi.EINVAL
	}
	if _, a, e := c.AttrAt(vfs.Location{}, path, abi.AT_SYMLINK_NOFOLLOW); e == 0 && !a.IsDir() && (a.Mode&abi.S_IFMT != abi.S_IFREG || a.Nlink > 1) {
		if e := c.Unlink(vfs.Location{}, path); e != 0 {
			return e
		}
	}
	o, e := c.Open(path, abi.O_WRONLY|abi.O_CREAT|abi.O_TRUNC|abi.O_NOFOLLOW, mode&0o7777)
	if e != 0 {
		return e
	}
	defer o.Unref()
	if f, ok := o.File.(*fileNode); ok && f.pages.Size() == 0 && f.pages.Count() == 0 {
		f.gate.Lock(c.Thread)
		e = f.pages.Load(data)
		f.gate.Unlock()
	} else {
		for b := mm.BytesBuf(data); b.Len() > 0 && e == 0; {
			_, e = o.Write(c, b)
		}
	}
	if e != 0 {
		return e
	}
	return o.Loc.Node().SetAttr(c, &vfs.SetAttr{
		Valid: vfs.SetMode | vfs.SetUID | vfs.SetGID | vfs.SetAtime | vfs.SetMtime, Mode: mode & 0o7777, UID: uid, GID: gid, Atime: mtime, Mtime: mtime,
	})
}
