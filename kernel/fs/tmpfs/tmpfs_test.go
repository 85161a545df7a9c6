package tmpfs_test

import (
	"testing"

	"goum/kernel/fs/fstest"
	"goum/kernel/fs/pagecache"
	"goum/kernel/fs/pipe"
	"goum/kernel/fs/tmpfs"
	"goum/kernel/fs/vfs"
	"goum/physmem"
)

// memory is RAM for a test, whose frames must all be free in the end.
func memory(t testing.TB) *physmem.Memory {
	m, err := physmem.New(256 << 20)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

func TestSuite(t *testing.T) {
	m := memory(t)
	cache := pagecache.New(m)
	fstest.Run(t, func(sys *vfs.System) *vfs.Super {
		return tmpfs.New(sys, cache, tmpfs.Options{Mode: 0o755}).Super()
	}, func(sys *vfs.System) {
		tmpfs.Register(sys, cache)
		pipe.Register(sys)
	})
}
