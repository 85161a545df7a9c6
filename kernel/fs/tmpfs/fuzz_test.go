package tmpfs_test

import (
	"testing"

	"goum/kernel/fs/tmpfs"
)

// No mount options panic, or give numbers that wrap.
func FuzzParse(f *testing.F) {
	for _, s := range []string{"size=1k,nr_inodes=5", "size=50%,mode=1777,uid=1,gid=2", "size=99999999999999999999", "size=0x10e", "nr_blocks=16e", "mode=9", ",,", "huge=always"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, data string) {
		o, e := tmpfs.Parse(data, 1000, tmpfs.Options{})
		if e == 0 && o.Mode&^0o7777 != 0 {
			t.Errorf("%q gives mode %o", data, o.Mode)
		}
	})
}
