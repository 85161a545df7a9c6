package vfs_test

import (
	"fmt"
	"strings"
	"testing"

	"goum/arch/abi"
	"goum/kernel/cred"
	"goum/kernel/fs/fstest"
	"goum/kernel/fs/pagecache"
	"goum/kernel/fs/tmpfs"
	"goum/kernel/fs/vfs"
	"goum/mm"
	"goum/physmem"
	"goum/sched"
)

var here vfs.Location

func caller(t testing.TB) *vfs.Caller {
	m, err := physmem.New(64 << 20)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	cache := pagecache.New(m)
	return fstest.NewCaller(t, func(sys *vfs.System) *vfs.Super { return tmpfs.New(sys, cache, tmpfs.Options{}).Super() },
		func(sys *vfs.System) { tmpfs.Register(sys, cache) })
}

func ok(t testing.TB, e abi.Errno, doing string) {
	t.Helper()
	if e != 0 {
		t.Fatalf("%s: %s", doing, e.Name())
	}
}

func open(t testing.TB, c *vfs.Caller, path string, flags uint32) *vfs.Open {
	t.Helper()
	o, e := c.Open(path, flags, 0o644)
	ok(t, e, "open "+path)
	return o
}

func as(c *vfs.Caller, t *sched.Thread) *vfs.Caller {
	d := *c
	d.Thread = t
	return &d
}

func TestPaths(t *testing.T) {
	c := caller(t)
	ok(t, c.Mkdir(here, "a", 0o755), "mkdir")
	ok(t, c.Mkdir(here, "a/b", 0o755), "mkdir")
	o := open(t, c, "a/b/f", abi.O_CREAT|abi.O_RDWR)
	defer o.Unref()
	want := func(path string) {
		t.Helper()
		if got := c.PathOf(o.Loc); got != path {
			t.Errorf("the file is called %q, want %q", got, path)
		}
	}
	want("/a/b/f")
	ok(t, c.Rename(here, "a/b", here, "x", 0), "rename")
	want("/x/f")
	ok(t, c.MountAt("none", "a", "tmpfs", 0, ""), "mount")
	p := open(t, c, "a/g", abi.O_CREAT|abi.O_RDWR)
	defer p.Unref()
	if got := c.PathOf(p.Loc); got != "/a/g" {
		t.Errorf("a file in a mount is called %q", got)
	}
	ok(t, c.Unlink(here, "x/f"), "unlink")
	want("/x/f (deleted)")
	ok(t, c.Chdir(here, "x"), "chdir")
	ok(t, c.Chroot("/a"), "chroot")
	if got, e := c.Getcwd(); got != "(unreachable)/x" || e != 0 {
		t.Errorf("getcwd outside of the root: %q %s", got, e.Name())
	}
	if got := c.PathOf(p.Loc); got != "/g" {
		t.Errorf("below the new root it is called %q", got)
	}
	anon := vfs.NewAnon("anon_inode:[eventpoll]", 0o600, vfs.NoFile{}, abi.O_RDWR)
	if got := c.PathOf(anon.Loc); got != "anon_inode:[eventpoll]" {
		t.Errorf("an anonymous file is called %q", got)
	}
	a, e := anon.Attr(c)
	if a.Mode != 0o600 || e != 0 {
		t.Errorf("its mode is %o %s", a.Mode, e.Name())
	}
	sock := vfs.NewAnon("socket:[4711]", abi.S_IFSOCK|0o777, vfs.NoFile{}, abi.O_RDWR)
	if a, _ := sock.Attr(c); a.Ino != 4711 || c.PathOf(sock.Loc) != "socket:[4711]" {
		t.Errorf("a socket has number %d and is called %q", a.Ino, c.PathOf(sock.Loc))
	}
	sock.Unref()
	anon.Unref()
}

func TestMountLines(t *testing.T) {
	c := caller(t)
	ok(t, c.Mkdir(here, "a b", 0o755), "mkdir")
	ok(t, c.MountAt("src", "a b", "tmpfs", abi.MS_NOSUID|abi.MS_RDONLY, "size=64k,mode=700"), "mount")
	ok(t, c.Mkdir(here, "d", 0o755), "mkdir")
	ok(t, c.Mkdir(here, "d/e", 0o755), "mkdir")
	ok(t, c.Mkdir(here, "to", 0o755), "mkdir")
	ok(t, c.MountAt("/d/e", "/to", "", abi.MS_BIND, ""), "bind")
	ok(t, c.MountAt("", "/to", "", abi.MS_SHARED, ""), "shared")
	lines := vfs.MountLines(c.Root())
	if len(lines) != 3 {
		t.Fatalf("%d mounts, want 3", len(lines))
	}
	if got, want := lines[1].Mounts(), "src /a\\040b tmpfs ro,nosuid,relatime,size=64k,mode=700,inode64 0 0\n"; !strings.HasPrefix(got, "src /a\\040b tmpfs ro,") || len(got) != len(want) {
		t.Errorf("/proc/mounts: %q, want %q", got, want)
	}
	if got := lines[2].Info(); !strings.Contains(got, " /d/e /to rw,relatime shared:1 - tmpfs none rw,inode64") {
		t.Errorf("mountinfo: %q", got)
	}
	if c.System().Changes() == 0 {
		t.Error("nobody was told of the mounts")
	}
}

func TestPivotRoot(t *testing.T) {
	c := caller(t)
	for _, p := range []string{"new", "new2"} {
		ok(t, c.Mkdir(here, p, 0o755), "mkdir")
	}
	ok(t, c.MountAt("none", "new", "tmpfs", 0, ""), "mount")
	if e := c.PivotRoot("new", "new"); e != abi.EINVAL { // the first root has nothing above it
		t.Errorf("pivot_root in the first root: %s, want EINVAL", e.Name())
	}
	ok(t, c.Mkdir(here, "new/in", 0o755), "mkdir")
	ok(t, c.Mkdir(here, "new/in/old", 0o755), "mkdir")
	ok(t, c.Chroot("new"), "chroot")
	ok(t, c.Chdir(here, "/"), "chdir")
	ok(t, c.MountAt("none", "/in", "tmpfs", 0, ""), "mount")
	ok(t, c.Mkdir(here, "/in/old", 0o755), "mkdir")
	for _, bad := range []struct {
		a, b string
		want abi.Errno
	}{{"nope", "/in", abi.ENOENT}, {"/in", "/nope", abi.ENOENT}, {"/", "/in", abi.EBUSY}, {"/in", "/", abi.EBUSY}} {
		if e := c.PivotRoot(bad.a, bad.b); e != bad.want {
			t.Errorf("pivot_root %s %s: %s, want %s", bad.a, bad.b, e.Name(), bad.want.Name())
		}
	}
	ok(t, c.PivotRoot("/in", "/in/old"), "pivot_root")
	if _, _, e := c.AttrAt(here, "/old/in/old", 0); e != 0 {
		t.Errorf("the old root is not below /old: %s", e.Name())
	}
	if got, e := c.Getcwd(); got != "/" || e != 0 {
		t.Errorf("getcwd: %q %s", got, e.Name())
	}
	ok(t, c.Umount("/old", abi.MNT_DETACH), "umount")
	if _, _, e := c.AttrAt(here, "/old/in", 0); e != abi.ENOENT {
		t.Errorf("the old root is still there: %s", e.Name())
	}
}

func TestUnshare(t *testing.T) {
	c := caller(t)
	ok(t, c.Mkdir(here, "m", 0o755), "mkdir")
	ok(t, c.MountAt("none", "m", "tmpfs", 0, ""), "mount")
	ok(t, c.Mkdir(here, "m/in", 0o755), "mkdir")
	ok(t, c.Chdir(here, "m"), "chdir")
	d := *c
	d.Dirs = c.Dirs.Copy()
	ok(t, d.Unshare(d.Dirs), "unshare")
	if p, e := d.Getcwd(); p != "/m" || e != 0 {
		t.Errorf("getcwd in the copy: %q %s", p, e.Name())
	}
	ok(t, d.Chdir(here, "/"), "chdir")
	ok(t, d.Umount("m", 0), "umount in the copy")
	if _, _, e := c.AttrAt(here, "/m/in", 0); e != 0 {
		t.Errorf("the original lost its mount, too: %s", e.Name())
	}
	d.Dirs.Release()
}

// A lock that is in the way is waited for, and a circle of waits is refused.
func TestBlockingLocks(t *testing.T) {
	c := caller(t)
	a, b := open(t, c, "f", abi.O_CREAT|abi.O_RDWR), open(t, c, "f", abi.O_RDWR)
	defer a.Unref()
	defer b.Unref()
	ownerA, ownerB := new(int), new(int)
	rec := func(typ int16, start int64) *abi.FlockT { return &abi.FlockT{Type: typ, Start: start, Len: 1} }
	ok(t, a.Lock(c, abi.F_SETLK, rec(abi.F_WRLCK, 0), ownerA), "lock 0")
	ok(t, b.Lock(c, abi.F_SETLK, rec(abi.F_WRLCK, 1), ownerB), "lock 1")
	if e := b.Lock(c, abi.F_SETLK, rec(abi.F_RDLCK, 0), ownerB); e != abi.EAGAIN {
		t.Errorf("a lock in the way: %s, want EAGAIN", e.Name())
	}
	order := make(chan string, 4)
	fstest.Threads(1, func(th *sched.Thread) {
		c := as(c, th)
		if e := b.Lock(c, abi.F_SETLKW, rec(abi.F_WRLCK, 0), ownerB); e != 0 {
			t.Errorf("waiting for the lock: %s", e.Name())
		}
		order <- "b has it"
	}, func(th *sched.Thread) {
		c := as(c, th)
		for range 3 {
			th.Yield()
		}
		if e := a.Lock(c, abi.F_SETLKW, rec(abi.F_WRLCK, 1), ownerA); e != abi.EDEADLK {
			t.Errorf("a circle: %s, want EDEADLK", e.Name())
		}
		order <- "a lets go"
		a.Flush(c, ownerA) // as close(2) does
	})
	if got := <-order + ", " + <-order; got != "a lets go, b has it" {
		t.Error(got)
	}
	// flock: the last close of the open file gives it up, and wakes.
	x := open(t, c, "f", abi.O_RDWR)
	ok(t, x.Flock(c, abi.LOCK_EX), "flock")
	fstest.Threads(1, func(th *sched.Thread) {
		c := as(c, th)
		if e := a.Flock(c, abi.LOCK_SH); e != 0 {
			t.Errorf("flock: %s", e.Name())
		}
	}, func(th *sched.Thread) { x.Unref() })
	// A signal ends the wait.
	started := make(chan *sched.Thread, 1)
	fstest.Threads(2, func(th *sched.Thread) {
		started <- th
		if e := b.Flock(as(c, th), abi.LOCK_EX); e != abi.ERESTARTSYS {
			t.Errorf("an interrupted flock: %s, want ERESTARTSYS", e.Name())
		}
	}, func(th *sched.Thread) { (<-started).Interrupt() })
}

func TestWatch(t *testing.T) {
	c := caller(t)
	ok(t, c.Mkdir(here, "d", 0o755), "mkdir")
	l, e := c.Walk(here, "d", 0)
	ok(t, e, "walk")
	var log []string
	w := &vfs.Watcher{Mask: abi.IN_ALL_EVENTS, Event: func(mask uint32, name string, cookie uint32) {
		log = append(log, fmt.Sprintf("%#x %s %v", mask, name, cookie != 0))
	}}
	ok(t, l.Node().VFS().Watch(w), "watch")
	o := open(t, c, "d/f", abi.O_CREAT|abi.O_RDWR)
	o.Write(c, mm.BytesBuf([]byte("x")))
	o.Pread(c, mm.BytesBuf(make([]byte, 1)), 0)
	o.Unref()
	ok(t, c.Rename(here, "d/f", here, "d/g", 0), "rename")
	ok(t, c.ChmodAt(here, "d/g", 0o600, 0), "chmod")
	ok(t, c.Unlink(here, "d/g"), "unlink")
	ok(t, c.Mkdir(here, "d/s", 0o755), "mkdir")
	ok(t, c.Rmdir(here, "d/s"), "rmdir")
	ok(t, c.Rmdir(here, "d"), "rmdir")
	l.Node().VFS().Unwatch(w)
	want := "0x100 f false;0x20 f false;0x2 f false;0x1 f false;0x8 f false;0x40 f true;0x80 g true;0x4 g false;0x200 g false;" +
		"0x40000100 s false;0x40000200 s false;0x400  false"
	if got := strings.Join(log, ";"); got != want {
		t.Errorf("events\n%s\nwant\n%s", got, want)
	}
}

func TestTextBusy(t *testing.T) {
	c := caller(t)
	w := open(t, c, "prog", abi.O_CREAT|abi.O_WRONLY)
	ok(t, c.ChmodAt(here, "prog", 0o755, 0), "chmod")
	if _, e := c.OpenExec(here, "prog", 0); e != abi.ETXTBSY {
		t.Errorf("running what is open for writing: %s, want ETXTBSY", e.Name())
	}
	w.Unref()
	x, e := c.OpenExec(here, "prog", 0)
	ok(t, e, "OpenExec")
	for _, f := range []uint32{abi.O_WRONLY, abi.O_RDWR | abi.O_TRUNC} {
		if _, e := c.Open("prog", f, 0); e != abi.ETXTBSY {
			t.Errorf("writing what runs: %s, want ETXTBSY", e.Name())
		}
	}
	if e := c.TruncateAt("prog", 0); e != abi.ETXTBSY {
		t.Errorf("truncating what runs: %s, want ETXTBSY", e.Name())
	}
	x.AllowExec()
	x.Unref()
	open(t, c, "prog", abi.O_WRONLY).Unref()
	ok(t, c.ChmodAt(here, "prog", 0o644, 0), "chmod")
	if _, e := c.OpenExec(here, "prog", 0); e != abi.EACCES {
		t.Errorf("running what has no x: %s, want EACCES", e.Name())
	}
}

func TestFileLimit(t *testing.T) {
	c := caller(t)
	c.Limits.Set(c.Cred, abi.RLIMIT_FSIZE, abi.Rlimit64{Cur: 100, Max: 100})
	var got []int32
	c.Raise = func(sig int32) { got = append(got, sig) }
	o := open(t, c, "f", abi.O_CREAT|abi.O_RDWR)
	defer o.Unref()
	if n, e := o.Write(c, mm.BytesBuf(make([]byte, 150))); n != 100 || e != 0 {
		t.Errorf("a write over the limit: %d %s, want 100", n, e.Name())
	}
	if n, e := o.Write(c, mm.BytesBuf(make([]byte, 1))); e != abi.EFBIG {
		t.Errorf("a write at the limit: %d %s, want EFBIG", n, e.Name())
	}
	if e := o.Truncate(c, 101); e != abi.EFBIG {
		t.Errorf("truncate: %s, want EFBIG", e.Name())
	}
	if len(got) != 2 || got[0] != abi.SIGXFSZ {
		t.Errorf("signals %v, want SIGXFSZ twice", got)
	}
}

// However many names are looked up, the cache stays within its bound, and what was forgotten is found again.
func TestCacheBound(t *testing.T) {
	c := caller(t)
	held := open(t, c, "held", abi.O_CREAT|abi.O_RDWR)
	defer held.Unref()
	if fstest.LockCheck {
		t.Skip("takes too long where locks are checked")
	}
	for i := range 40000 {
		c.AttrAt(here, fmt.Sprint("none", i), 0)
	}
	if n := held.Loc.Dentry.Super().Cached(); n > 33000 {
		t.Errorf("%d names cached", n)
	}
	ok(t, c.Rename(here, "held", here, "moved", 0), "rename")
	if got := c.PathOf(held.Loc); got != "/moved" {
		t.Errorf("an open file is called %q after the cache overflowed", got)
	}
}

func TestPermitOthers(t *testing.T) {
	c := caller(t)
	u := *c
	u.Cred = c.Cred.Ordinary(1000, 1000, 50)
	for _, x := range []struct {
		a    vfs.Attr
		mask uint32
		cr   *cred.Cred
		want abi.Errno
	}{
		{vfs.Attr{Mode: abi.S_IFREG | 0o070, UID: 1000, GID: 50}, 4, u.Cred, abi.EACCES},
		{vfs.Attr{Mode: abi.S_IFREG | 0o070, UID: 1, GID: 50}, 7, u.Cred, 0},
		{vfs.Attr{Mode: abi.S_IFREG | 0o007, UID: 1, GID: 50}, 4, u.Cred, abi.EACCES},
		{vfs.Attr{Mode: abi.S_IFREG | 0o007, UID: 1, GID: 1}, 4, u.Cred, 0},
		{vfs.Attr{Mode: abi.S_IFREG}, 6, c.Cred, 0},
		{vfs.Attr{Mode: abi.S_IFREG}, 1, c.Cred, abi.EACCES},
		{vfs.Attr{Mode: abi.S_IFDIR}, 7, c.Cred, 0},
	} {
		v := *c
		v.Cred = x.cr
		if got := v.PermitAttr(&x.a, x.mask); got != x.want {
			t.Errorf("mode %o owner %d:%d mask %d by %d: %s, want %s", x.a.Mode, x.a.UID, x.a.GID, x.mask, x.cr.FSUID, got.Name(), x.want.Name())
		}
	}
}

// Threads that share an open file take turns: no byte is written over.
func TestSharedPosition(t *testing.T) {
	c := caller(t)
	o := open(t, c, "f", abi.O_CREAT|abi.O_RDWR)
	defer o.Unref()
	var fs []func(*sched.Thread)
	for range 4 {
		fs = append(fs, func(th *sched.Thread) {
			c := as(c, th)
			for range 200 {
				o.Write(c, mm.BytesBuf(make([]byte, 7)))
			}
		})
	}
	fstest.Threads(2, fs...)
	if a, _ := o.Attr(c); a.Size != 4*200*7 {
		t.Errorf("the file has %d bytes, want %d", a.Size, 4*200*7)
	}
}
