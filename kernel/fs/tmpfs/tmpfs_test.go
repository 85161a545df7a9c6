package tmpfs_test

import (
	"bytes"
	"testing"

	"goum/arch/abi"
	"goum/kernel/fs/fstest"
	"goum/kernel/fs/pagecache"
	"goum/kernel/fs/pipe"
	"goum/kernel/fs/tmpfs"
	"goum/kernel/fs/vfs"
	"goum/mm"
	"goum/physmem"
	"goum/sched"
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

// one is a caller on a fresh tmpfs, the tmpfs, and its memory.
func one(t testing.TB, o tmpfs.Options) (*vfs.Caller, *tmpfs.FS, *physmem.Memory) {
	m := memory(t)
	cache := pagecache.New(m)
	var fs *tmpfs.FS
	c := fstest.NewCaller(t, func(sys *vfs.System) *vfs.Super {
		fs = tmpfs.New(sys, cache, o)
		return fs.Super()
	}, pipe.Register, func(sys *vfs.System) { tmpfs.Register(sys, cache) })
	return c, fs, m
}

func ok(t testing.TB, e abi.Errno, doing string) {
	t.Helper()
	if e != 0 {
		t.Fatalf("%s: %s", doing, e.Name())
	}
}

func write(t testing.TB, c *vfs.Caller, o *vfs.Open, data []byte) {
	t.Helper()
	n, e := o.Write(c, mm.BytesBuf(data))
	if ok(t, e, "write"); n != len(data) {
		t.Fatalf("wrote %d of %d bytes", n, len(data))
	}
}

// What is removed, closed and unmounted gives its frames back, in whatever order.
func TestFramesComeBack(t *testing.T) {
	c, fs, m := one(t, tmpfs.Options{})
	before := m.Stats().Free
	data := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	file := func(name string) *vfs.Open {
		o, e := c.Open(name, abi.O_CREAT|abi.O_RDWR, 0o644)
		ok(t, e, "open "+name)
		write(t, c, o, data)
		return o
	}
	free := func(want bool, when string) {
		t.Helper()
		if got := m.Stats().Free; (got == before) != want {
			t.Errorf("%s: %d frames free, %d at the start", when, got, before)
		}
	}
	o := file("a")
	ok(t, c.Unlink(vfs.Location{}, "a"), "unlink")
	free(false, "unlinked, but open")
	o.Unref()
	free(true, "unlinked and closed")

	file("a").Unref()
	p, e := c.Open("a", abi.O_PATH, 0)
	ok(t, e, "open O_PATH")
	ok(t, c.Unlink(vfs.Location{}, "a"), "unlink")
	free(false, "unlinked, but open as O_PATH")
	p.Unref()
	free(true, "unlinked and closed")

	file("a").Unref()
	file("b").Unref()
	ok(t, c.Rename(vfs.Location{}, "b", vfs.Location{}, "a", 0), "rename")
	ok(t, c.TruncateAt("a", 0), "truncate")
	free(true, "replaced and truncated")

	q, e := c.Open(".", abi.O_TMPFILE|abi.O_RDWR, 0o600)
	ok(t, e, "open O_TMPFILE")
	write(t, c, q, data)
	q.Unref()
	free(true, "O_TMPFILE closed")

	ok(t, c.Mkdir(vfs.Location{}, "m", 0o755), "mkdir")
	ok(t, c.MountAt("none", "m", "tmpfs", 0, ""), "mount")
	o = file("m/x")
	if e := c.Umount("m", 0); e != abi.EBUSY {
		t.Errorf("umount with an open file: %s, want EBUSY", e.Name())
	}
	ok(t, c.Umount("m", abi.MNT_DETACH), "umount")
	free(false, "detached, but open")
	o.Unref()
	free(true, "detached and closed")

	internal := tmpfs.NewInternal(c.System(), pagecache.New(m))
	o, e = internal.Memfd(c, "x", 0)
	ok(t, e, "memfd_create")
	write(t, c, o, data)
	if got := c.PathOf(o.Loc); got != "/memfd:x (deleted)" {
		t.Errorf("memfd is called %q", got)
	}
	o.Unref()
	free(true, "memfd closed")
	if st, _ := fs.Statfs(c); st.Files-st.Ffree != 3 { // the root, a, m
		t.Errorf("%d inodes in use, want 3", st.Files-st.Ffree)
	}
}

func TestLimits(t *testing.T) {
	c, fs, _ := one(t, tmpfs.Options{Size: 8 * 4096, Inodes: 4})
	o, e := c.Open("f", abi.O_CREAT|abi.O_RDWR, 0o644)
	ok(t, e, "open")
	n, e := o.Write(c, mm.BytesBuf(make([]byte, 10*4096)))
	if n != 8*4096 || e != 0 {
		t.Errorf("write beyond the limit: %d %s, want a short count of 32768", n, e.Name())
	}
	if n, e = o.Write(c, mm.BytesBuf(make([]byte, 1))); e != abi.ENOSPC {
		t.Errorf("write on a full file system: %d %s, want ENOSPC", n, e.Name())
	}
	ok(t, o.Truncate(c, 4096), "truncate")
	if st, _ := fs.Statfs(c); st.Bfree != 7 {
		t.Errorf("%d blocks free, want 7", st.Bfree)
	}
	if e := o.Allocate(c, 0, 0, 9*4096); e != abi.ENOSPC {
		t.Errorf("fallocate beyond the limit: %s, want ENOSPC", e.Name())
	}
	if st, _ := fs.Statfs(c); st.Bfree != 7 {
		t.Errorf("%d blocks free after a fallocate that failed, want 7", st.Bfree)
	}
	o.Unref()
	for i, want := range []abi.Errno{0, 0, abi.ENOSPC} {
		if e := c.Mkdir(vfs.Location{}, string(rune('a'+i)), 0o755); e != want {
			t.Errorf("directory %d: %s, want %s", i, e.Name(), want.Name())
		}
	}
}

func TestNoMemory(t *testing.T) {
	c, _, m := one(t, tmpfs.Options{})
	before := m.Stats().Free
	for n := int64(1); n < 5; n++ {
		o, e := c.Open("f", abi.O_CREAT|abi.O_RDWR|abi.O_TRUNC, 0o644)
		ok(t, e, "open")
		m.FailAfter(n)
		done, e := o.Write(c, mm.BytesBuf(make([]byte, 3<<20)))
		m.FailAfter(0)
		if e == 0 && done == 3<<20 {
			t.Logf("no allocation fails after %d", n)
		} else if n == 1 && e != abi.ENOMEM {
			t.Errorf("the first allocation fails: %d %s, want ENOMEM", done, e.Name())
		}
		ok(t, o.Truncate(c, 0), "truncate")
		o.Unref()
		if got := m.Stats().Free; got != before {
			t.Errorf("allocation %d fails: %d frames lost", n, before-got)
		}
	}
}

func TestSeals(t *testing.T) {
	c, _, m := one(t, tmpfs.Options{})
	internal := tmpfs.NewInternal(c.System(), pagecache.New(m))
	o, e := internal.Memfd(c, "s", abi.MFD_ALLOW_SEALING)
	ok(t, e, "memfd_create")
	defer o.Unref()
	write(t, c, o, make([]byte, 5000))
	add := func(s uint64) abi.Errno {
		_, e := o.Fcntl(c, abi.F_ADD_SEALS, s)
		return e
	}
	ok(t, add(abi.F_SEAL_SHRINK), "F_SEAL_SHRINK")
	if e := o.Truncate(c, 10); e != abi.EPERM {
		t.Errorf("shrink: %s, want EPERM", e.Name())
	}
	ok(t, add(abi.F_SEAL_GROW), "F_SEAL_GROW")
	if n, e := o.Pwrite(c, mm.BytesBuf(make([]byte, 8192)), 0); n != 4096 || e != 0 {
		t.Errorf("a write over the end: %d %s, want the page that lies below it", n, e.Name())
	}
	if _, e := o.Pwrite(c, mm.BytesBuf(make([]byte, 10)), 4999); e != abi.EPERM {
		t.Errorf("a write over the end: %s, want EPERM", e.Name())
	}
	ok(t, add(abi.F_SEAL_WRITE), "F_SEAL_WRITE")
	if _, e := o.Pwrite(c, mm.BytesBuf(make([]byte, 10)), 0); e != abi.EPERM {
		t.Errorf("write: %s, want EPERM", e.Name())
	}
	opts := mm.MapOpts{Flags: abi.MAP_SHARED, Prot: abi.PROT_READ | abi.PROT_WRITE}
	if e := o.Map(c, &opts); e != abi.EPERM {
		t.Errorf("a shared writable mapping: %s, want EPERM", e.Name())
	}
	opts = mm.MapOpts{Flags: abi.MAP_SHARED, Prot: abi.PROT_READ}
	if e := o.Map(c, &opts); e != 0 || opts.Deny&abi.PROT_WRITE == 0 {
		t.Errorf("a shared mapping: %s, may become writable: %v", e.Name(), opts.Deny&abi.PROT_WRITE == 0)
	}
	ok(t, add(abi.F_SEAL_SEAL), "F_SEAL_SEAL")
	if e := add(abi.F_SEAL_EXEC); e != abi.EPERM {
		t.Errorf("a seal after F_SEAL_SEAL: %s, want EPERM", e.Name())
	}
	if s, e := o.Fcntl(c, abi.F_GET_SEALS, 0); s != 15 || e != 0 {
		t.Errorf("seals %#x %s, want 0xf", s, e.Name())
	}
}

func TestTimes(t *testing.T) {
	c, _, _ := one(t, tmpfs.Options{})
	clk := c.System().Clock
	at := func(path string) vfs.Attr {
		t.Helper()
		_, a, e := c.AttrAt(vfs.Location{}, path, 0)
		ok(t, e, "stat "+path)
		return a
	}
	tick := func() int64 { clk.Advance(1e9); return clk.Realtime() }
	o, e := c.Open("f", abi.O_CREAT|abi.O_RDWR, 0o644)
	ok(t, e, "open")
	defer o.Unref()
	made := at("f").Btime
	now := tick()
	write(t, c, o, []byte("x"))
	if a := at("f"); a.Mtime != now || a.Ctime != now || a.Atime != made {
		t.Errorf("after a write: mtime, ctime, atime are %d, %d, %d after it", a.Mtime-now, a.Ctime-now, a.Atime-now)
	}
	now = tick()
	o.Pread(c, mm.BytesBuf(make([]byte, 1)), 0)
	if a := at("f"); a.Atime != now {
		t.Error("relatime: the first read after a write does not set atime")
	}
	tick()
	o.Pread(c, mm.BytesBuf(make([]byte, 1)), 0)
	if a := at("f"); a.Atime != now {
		t.Error("relatime: a second read sets atime")
	}
	clk.Advance(25 * 3600 * 1e9)
	o.Pread(c, mm.BytesBuf(make([]byte, 1)), 0)
	if a := at("f"); a.Atime == now {
		t.Error("relatime: atime is not set after a day")
	}
	now = tick()
	ok(t, c.ChmodAt(vfs.Location{}, "f", 0o600, 0), "chmod")
	if a := at("f"); a.Ctime != now || a.Mtime == now {
		t.Error("chmod sets ctime, and nothing else")
	}
	now = tick()
	ok(t, c.Mkdir(vfs.Location{}, "d", 0o755), "mkdir")
	if a := at("/"); a.Mtime != now || a.Ctime != now {
		t.Error("a new entry does not touch the directory")
	}
}

func TestAddFile(t *testing.T) {
	c, _, m := one(t, tmpfs.Options{})
	ok(t, c.Mkdir(vfs.Location{}, "usr", 0o755), "mkdir")
	ok(t, c.Symlink("usr", vfs.Location{}, "lib"), "symlink")
	data := bytes.Repeat([]byte("initramfs"), 100000)
	for range 2 {
		ok(t, tmpfs.AddFile(c, "lib/prog", 0o4755, 7, 8, 1e9, data), "AddFile")
	}
	o, e := c.Open("/usr/prog", abi.O_RDONLY, 0)
	ok(t, e, "open")
	defer o.Unref()
	got := make([]byte, len(data)+1)
	if n, e := o.Read(c, mm.BytesBuf(got)); n != len(data) || e != 0 || !bytes.Equal(got[:n], data) {
		t.Errorf("read %d bytes %s, and they are not what was written", n, e.Name())
	}
	a, _ := o.Attr(c)
	if a.Mode != abi.S_IFREG|0o4755 || a.UID != 7 || a.GID != 8 || a.Mtime != 1e9 {
		t.Errorf("attributes %+v", a)
	}
	p, _ := tmpfs.Pager(o)
	first, e := p.Page(nil, 0, false)
	ok(t, e, "Page")
	next, e := p.Page(nil, 1, false)
	ok(t, e, "Page")
	if next != first+1 {
		t.Errorf("pages 0 and 1 lie in frames %d and %d, want neighbours", first, next)
	}
	m.Unref(first)
	m.Unref(next)
	if _, e := p.Page(nil, uint64(len(data)+4095)/4096, false); e != abi.ENXIO {
		t.Errorf("a page beyond the end: %s, want ENXIO", e.Name())
	}
}

func TestAllocs(t *testing.T) {
	if fstest.LockCheck {
		t.Skip("checking locks allocates")
	}
	c, _, _ := one(t, tmpfs.Options{})
	o, e := c.Open("f", abi.O_CREAT|abi.O_RDWR, 0o644)
	ok(t, e, "open")
	defer o.Unref()
	b := make([]byte, 8192)
	write(t, c, o, b)
	var buf mm.Buf
	if n := testing.AllocsPerRun(100, func() {
		buf.SetBytes(b[:4096])
		o.Pread(c, &buf, 100)
		buf.SetBytes(b)
		o.Pwrite(c, &buf, 0)
		o.Seek(c, 0, abi.SEEK_SET)
		buf.SetBytes(b)
		o.Read(c, &buf)
	}); n != 0 {
		t.Errorf("pread, pwrite, lseek and read of cached pages: %v allocations, want none", n)
	}
}

// Readers, writers and truncations of one file, and changes of one directory, from several vCPUs.
func TestHammer(t *testing.T) {
	c, _, m := one(t, tmpfs.Options{})
	before := m.Stats().Free
	var fs []func(*sched.Thread)
	for i := range 4 {
		fs = append(fs, func(th *sched.Thread) {
			me := *c
			me.Thread = th
			b := bytes.Repeat([]byte{byte('a' + i)}, 5000)
			for n := range 300 {
				name := string(rune('a' + (n+i)%5))
				o, e := me.Open(name, abi.O_CREAT|abi.O_RDWR, 0o644)
				if e != 0 {
					t.Errorf("open: %s", e.Name())
					return
				}
				o.Pwrite(&me, mm.BytesBuf(b), int64(n%7)*1000)
				o.Pread(&me, mm.BytesBuf(make([]byte, 9000)), 0)
				o.Truncate(&me, int64(n%9)*1000)
				o.Unref()
				me.Rename(vfs.Location{}, name, vfs.Location{}, string(rune('a'+n%6)), uint32(n%3))
				me.Link(vfs.Location{}, name, vfs.Location{}, "x"+name, 0)
				me.Unlink(vfs.Location{}, "x"+name)
				me.Mkdir(vfs.Location{}, "dir", 0o755)
				me.Rename(vfs.Location{}, name, vfs.Location{}, "dir/"+name, 0)
				me.Rename(vfs.Location{}, "dir/"+name, vfs.Location{}, name, 0)
				me.Unlink(vfs.Location{}, "dir/"+name)
				me.Rmdir(vfs.Location{}, "dir")
				me.AttrAt(vfs.Location{}, "dir/../"+name, 0)
			}
		})
	}
	fstest.Threads(2, fs...)
	for _, n := range []string{"a", "b", "c", "d", "e", "f"} {
		c.Unlink(vfs.Location{}, n)
		c.Unlink(vfs.Location{}, "x"+n)
		c.Unlink(vfs.Location{}, "dir/"+n)
	}
	if got := m.Stats().Free; got != before {
		t.Errorf("%d frames lost", before-got)
	}
}

func BenchmarkPread4K(b *testing.B) {
	c, _, _ := one(b, tmpfs.Options{})
	o, e := c.Open("f", abi.O_CREAT|abi.O_RDWR, 0o644)
	ok(b, e, "open")
	defer o.Unref()
	p := make([]byte, 4096)
	write(b, c, o, p)
	var buf mm.Buf
	for b.Loop() {
		buf.SetBytes(p)
		o.Pread(c, &buf, 0)
	}
}

func BenchmarkStat(b *testing.B) {
	c, _, _ := one(b, tmpfs.Options{})
	c.Mkdir(vfs.Location{}, "usr", 0o755)
	c.Mkdir(vfs.Location{}, "usr/lib", 0o755)
	ok(b, tmpfs.AddFile(c, "usr/lib/f", 0o644, 0, 0, 0, nil), "AddFile")
	for b.Loop() {
		c.AttrAt(vfs.Location{}, "/usr/lib/f", 0)
	}
}
