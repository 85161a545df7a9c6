package dev

import (
	"fmt"
	"strings"
	"testing"

	"goum/arch/abi"
	"goum/kernel/cred"
	"goum/kernel/fs/pagecache"
	"goum/kernel/fs/tmpfs"
	"goum/kernel/fs/vfs"
	"goum/kernel/klog"
	"goum/kernel/tty"
	"goum/mm"
	"goum/physmem"
	"goum/sched/clock"
)

// boot makes the file systems of a machine with /dev and /dev/pts mounted.
func boot(t *testing.T) *vfs.Caller {
	t.Helper()
	mem, err := physmem.New(16 << 20)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { mem.Close() })
	clk := clock.NewVirtual(1e18)
	sys := vfs.New(clk)
	cache := pagecache.New(mem)
	root := sys.MountRoot(tmpfs.New(sys, cache, tmpfs.Options{Mode: 0o755}).Super(), "rootfs", 0)
	c := &vfs.Caller{Cred: cred.Root(), Dirs: vfs.NewDirs(root, root)}
	tty.Register(sys, clk)
	n := byte(0)
	rows := Rows(klog.New(clk), func(p []byte) {
		for i := range p {
			n++
			p[i] = n
		}
	})
	if e := Register(sys, tmpfs.New(sys, cache, tmpfs.Options{Mode: 0o755}).Super(), rows); e != 0 {
		t.Fatal(e.Name())
	}
	if e := c.Mkdir(vfs.Location{}, "/dev", 0o755); e != 0 {
		t.Fatal(e.Name())
	}
	for _, m := range [][3]string{{"devtmpfs", "/dev", ""}, {"devpts", "/dev/pts", "newinstance,ptmxmode=666,gid=5,mode=620"}} {
		if e := c.MountAt(m[0], m[1], m[0], 0, m[2]); e != 0 {
			t.Fatal(m, e.Name())
		}
	}
	return c
}

func open(t *testing.T, c *vfs.Caller, path string) *vfs.Open {
	t.Helper()
	o, e := c.Open(path, abi.O_RDWR|abi.O_NONBLOCK, 0)
	if e != 0 {
		t.Fatal(path, e.Name())
	}
	t.Cleanup(func() { o.Unref() })
	return o
}

func read(c *vfs.Caller, o *vfs.Open, n int) (string, abi.Errno) {
	b := []byte(strings.Repeat("?", n))
	got, e := o.Read(c, mm.BytesBuf(b))
	return string(b[:got]), e
}

func TestDevices(t *testing.T) {
	c := boot(t)
	big := strings.Repeat("\x00", 3*slice)
	for _, d := range []struct {
		path  string
		n     int
		read  string
		write abi.Errno
		poll  bool
	}{
		{"/dev/null", 10, "", 0, false},
		{"/dev/zero", 3 * slice, big, 0, false},
		{"/dev/full", 5, "\x00\x00\x00\x00\x00", abi.ENOSPC, false},
		{"/dev/random", 4, "\x01\x02\x03\x04", 0, true},
		{"/dev/urandom", 4, "\x05\x06\x07\x08", 0, true},
	} {
		o := open(t, c, d.path)
		if got, e := read(c, o, d.n); got != d.read || e != 0 {
			t.Errorf("%s: %.20q (%d) %s", d.path, got, len(got), e.Name())
		}
		if n, e := o.Write(c, mm.BytesBuf([]byte("hello"))); e != d.write || e == 0 && n != 5 {
			t.Errorf("%s: wrote %d %s", d.path, n, e.Name())
		}
		if _, ok := o.Poll(c); ok != d.poll {
			t.Errorf("%s: can be polled: %v", d.path, ok)
		}
	}
	o := open(t, c, "/dev/null")
	if p, e := o.Seek(c, 100, abi.SEEK_SET); p != 0 || e != 0 {
		t.Error(p, e.Name())
	}
	k := open(t, c, "/dev/kmsg")
	k.Write(c, mm.BytesBuf([]byte("<5>hello\n")))
	if got, e := read(c, k, 100); got != "13,0,0,-;hello\n" {
		t.Errorf("kmsg: %q %s", got, e.Name())
	}
	if _, e := c.Open("/dev/tty", abi.O_RDWR, 0); e != abi.ENXIO {
		t.Error("/dev/tty without one:", e.Name())
	}
	if s, e := c.Readlink(vfs.Location{}, "/dev/fd"); s != "/proc/self/fd" {
		t.Error(s, e.Name())
	}
	var o2 mm.MapOpts
	if e := open(t, c, "/dev/zero").Map(c, &o2); e != 0 {
		t.Error(e.Name())
	}
	if e := open(t, c, "/dev/full").Map(c, &o2); e != abi.ENODEV {
		t.Error(e.Name())
	}
}

func TestModes(t *testing.T) {
	c := boot(t)
	for path, want := range map[string]uint32{
		"/dev/null": abi.S_IFCHR | 0o666, "/dev/console": abi.S_IFCHR | 0o600, "/dev/kmsg": abi.S_IFCHR | 0o644,
		"/dev/shm": abi.S_IFDIR | 0o1777, "/dev/pts/ptmx": abi.S_IFCHR | 0o666, "/dev/pts": abi.S_IFDIR | 0o755,
	} {
		_, a, e := c.AttrAt(vfs.Location{}, path, 0)
		if e != 0 || a.Mode != want {
			t.Errorf("%s: %o %s, want %o", path, a.Mode, e.Name(), want)
		}
	}
}

// TestPts makes ptys by both names of ptmx, and finds their slaves.
func TestPts(t *testing.T) {
	c := boot(t)
	names := func() (all []string) {
		o, e := c.Open("/dev/pts", abi.O_RDONLY|abi.O_DIRECTORY, 0)
		if e != 0 {
			t.Fatal(e.Name())
		}
		defer o.Unref()
		o.ReadDir(&vfs.Caller{Cred: c.Cred, Dirs: c.Dirs}, func(d vfs.DirEntry) bool { all = append(all, d.Name); return true })
		return all
	}
	var masters []*vfs.Open
	for i, path := range []string{"/dev/ptmx", "/dev/pts/ptmx", "/dev/ptmx"} {
		m, e := c.Open(path, abi.O_RDWR|abi.O_NONBLOCK|abi.O_NOCTTY, 0)
		if e != 0 {
			t.Fatal(path, e.Name())
		}
		masters = append(masters, m)
		slave := fmt.Sprintf("/dev/pts/%d", i)
		if _, e := c.Open(slave, abi.O_RDWR, 0); e != abi.EIO {
			t.Error("a locked slave:", e.Name())
		}
	}
	if got := fmt.Sprint(names()); got != "[. .. ptmx 0 1 2]" {
		t.Error(got)
	}
	_, a, _ := c.AttrAt(vfs.Location{}, "/dev/pts/1", 0)
	if a.Mode != abi.S_IFCHR|0o620 || a.GID != 5 || a.Rdev != abi.Makedev(136, 1) {
		t.Errorf("%+v", a)
	}
	masters[1].Unref()
	if got := fmt.Sprint(names()); got != "[. .. ptmx 0 2]" {
		t.Error(got)
	}
	if _, e := c.Open("/dev/pts/1", abi.O_RDWR, 0); e != abi.ENOENT {
		t.Error("a slave whose master is gone:", e.Name())
	}
	m, _ := c.Open("/dev/ptmx", abi.O_RDWR|abi.O_NONBLOCK, 0)
	if got := fmt.Sprint(names()); got != "[. .. ptmx 0 1 2]" {
		t.Error("the number is free again:", got)
	}
	if _, a, _ := c.AttrAt(vfs.Location{}, "/dev/pts/1", 0); a.Nlink != 1 {
		t.Errorf("the name means the old one: %+v", a)
	}
	if e := c.ChownAt(vfs.Location{}, "/dev/pts/1", 1000, 5, 0); e != 0 {
		t.Error(e.Name())
	}
	for _, o := range []*vfs.Open{masters[0], masters[2], m} {
		o.Unref()
	}
	if got := fmt.Sprint(names()); got != "[. .. ptmx]" {
		t.Error(got)
	}
	// Without devpts beside it, ptmx has nowhere to make one.
	if e := c.Umount("/dev/pts", 0); e != 0 {
		t.Error(e.Name())
	}
	if _, e := c.Open("/dev/ptmx", abi.O_RDWR, 0); e != abi.ENODEV {
		t.Error(e.Name())
	}
	if e := c.MountAt("x", "/dev/pts", "devpts", 0, "mode=9"); e != abi.EINVAL {
		t.Error(e.Name())
	}
}

// TestAsync is a terminal whose reader is told by SIGIO.
func TestAsync(t *testing.T) {
	c := boot(t)
	var told []uint32
	c.Root().Mount.System().SIGIO = func(o *vfs.Open, events uint32) { told = append(told, events) }
	m := open(t, c, "/dev/ptmx")
	if e := m.SetFlags(c, abi.O_ASYNC|abi.O_NONBLOCK); e != 0 {
		t.Fatal(e.Name())
	}
	tty.Unlock(m.File)
	s, e := c.Open("/dev/pts/0", abi.O_RDWR, 0)
	if e != 0 {
		t.Fatal(e.Name())
	}
	s.Write(c, mm.BytesBuf([]byte("hello")))
	if len(told) != 1 || told[0]&abi.EPOLLIN == 0 {
		t.Errorf("%#x", told)
	}
	m.SetFlags(c, abi.O_NONBLOCK)
	s.Write(c, mm.BytesBuf([]byte("hello")))
	s.Unref()
	if len(told) != 1 {
		t.Errorf("%#x", told)
	}
}
