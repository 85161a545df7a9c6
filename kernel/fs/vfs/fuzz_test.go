package vfs_test

import (
	"testing"

	"goum/arch/abi"
	"goum/kernel/fs/vfs"
)

// No path, and no flags, make the walk panic or hang, or lead out of the root.
func FuzzWalk(f *testing.F) {
	for _, p := range []string{"a/b/../c", "/", "l/l/l", "////", "a/./../..", "dangling/x", "loop/"} {
		f.Add(p, uint32(0), uint64(0))
		f.Add(p, uint32(abi.O_CREAT|abi.O_RDWR), uint64(abi.RESOLVE_IN_ROOT))
	}
	f.Fuzz(func(t *testing.T, path string, flags uint32, resolve uint64) {
		c := caller(t)
		for _, p := range []string{"jail", "jail/a", "jail/a/b"} {
			ok(t, c.Mkdir(here, p, 0o755), "mkdir")
		}
		for target, p := range map[string]string{"../../l": "jail/a/l", "/a": "jail/l", "nowhere": "jail/dangling", "loop": "jail/loop"} {
			ok(t, c.Symlink(target, here, p), "symlink")
		}
		ok(t, c.Chroot("jail"), "chroot")
		ok(t, c.Chdir(here, "/"), "chdir")
		o, e := c.OpenAt(here, path, vfs.Opening{Flags: flags &^ abi.O_DIRECT, Mode: 0o700, Resolve: resolve})
		if e != 0 {
			return
		}
		if got := c.PathOf(o.Loc); got != "/" && o.Loc.Dentry.Name() == "jail" {
			t.Errorf("%q leads out of the root: %q", path, got)
		}
		o.Unref()
	})
}
