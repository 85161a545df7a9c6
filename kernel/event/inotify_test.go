package event

import (
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"goum/arch/abi"
	"goum/kernel/cred"
	"goum/kernel/fs/pagecache"
	"goum/kernel/fs/tmpfs"
	"goum/kernel/fs/vfs"
	"goum/mm"
	"goum/physmem"
	"goum/sched/clock"
)

func newFiles(t *testing.T) *vfs.Caller {
	t.Helper()
	mem, err := physmem.New(16 << 20)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { mem.Close() })
	sys := vfs.New(clock.NewVirtual(0))
	root := sys.MountRoot(tmpfs.New(sys, pagecache.New(mem), tmpfs.Options{Mode: 0o755}).Super(), "rootfs", 0)
	return &vfs.Caller{Cred: cred.Root(), Dirs: vfs.NewDirs(root, root)}
}

var inNames = map[uint32]string{abi.IN_ACCESS: "access", abi.IN_MODIFY: "modify", abi.IN_ATTRIB: "attrib", abi.IN_CLOSE_WRITE: "closew", abi.IN_CLOSE_NOWRITE: "close",
	abi.IN_OPEN: "open", abi.IN_MOVED_FROM: "from", abi.IN_MOVED_TO: "to", abi.IN_CREATE: "create", abi.IN_DELETE: "delete", abi.IN_DELETE_SELF: "deleteself",
	abi.IN_MOVE_SELF: "moveself", abi.IN_IGNORED: "ignored", abi.IN_Q_OVERFLOW: "overflow", abi.IN_ISDIR: "dir"}

// drain reads all events: "wd:what,what name" each, cookies checked to be pairs.
func drain(t *testing.T, o *vfs.Open, size int) string {
	t.Helper()
	var all []string
	var cookie uint32
	for {
		b := make([]byte, size)
		n, e := o.File.Read(caller, mm.BytesBuf(b), nonblock)
		if e == abi.EAGAIN {
			return strings.Join(all, "; ")
		}
		if e != 0 {
			return e.Name()
		}
		for b = b[:n]; len(b) > 0; {
			mask, ck, l := binary.LittleEndian.Uint32(b[4:]), binary.LittleEndian.Uint32(b[8:]), binary.LittleEndian.Uint32(b[12:])
			name := strings.TrimRight(string(b[16:16+l]), "\x00")
			var what []string
			for bit := uint32(1); bit != 0; bit <<= 1 {
				if mask&bit != 0 {
					what = append(what, inNames[bit])
				}
			}
			if mask&abi.IN_MOVED_FROM != 0 {
				cookie = ck
			}
			if mask&abi.IN_MOVED_TO != 0 && (ck == 0 || ck != cookie) {
				t.Error("cookies", cookie, ck)
			}
			all = append(all, strings.TrimSpace(fmt.Sprintf("%d:%s %s", int32(binary.LittleEndian.Uint32(b)), strings.Join(what, ","), name)))
			b = b[16+l:]
		}
	}
}

func TestInotify(t *testing.T) {
	c := newFiles(t)
	var all Inotifies
	o, e := all.NewInotify(0)
	if e != 0 {
		t.Fatal(e.Name())
	}
	here := vfs.Location{}
	touch := func(path string) {
		f, e := c.Open(path, abi.O_RDWR|abi.O_CREAT, 0o644)
		if e != 0 {
			t.Fatal(path, e.Name())
		}
		f.Write(c, mm.BytesBuf([]byte("x")))
		f.Write(c, mm.BytesBuf([]byte("x"))) // merged with the one before
		f.Unref()
	}
	expect := func(what, want string) {
		t.Helper()
		if got := drain(t, o, 4096); got != want {
			t.Errorf("%s:\n got %s\nwant %s", what, got, want)
		}
	}
	add := func(path string, mask uint32, want int32, we abi.Errno) {
		t.Helper()
		if wd, e := InotifyAdd(c, o, path, mask); wd != want || e != we {
			t.Errorf("add %s %#x: %d %s, want %d %s", path, mask, wd, e.Name(), want, we.Name())
		}
	}
	c.Mkdir(here, "/d", 0o755)
	c.Mkdir(here, "/e", 0o755)
	add("/d", abi.IN_ALL_EVENTS, 1, 0)
	touch("/d/f")
	expect("touch", "1:create f; 1:open f; 1:modify f; 1:closew f")
	c.Mkdir(here, "/d/sub", 0o755)
	expect("mkdir", "1:create,dir sub")
	c.Rename(here, "/d/f", here, "/d/a-name-of-more-than-sixteen", 0)
	expect("rename", "1:from f; 1:to a-name-of-more-than-sixteen")
	c.Rename(here, "/d/a-name-of-more-than-sixteen", here, "/e/g", 0)
	expect("rename away", "1:from a-name-of-more-than-sixteen")
	add("/d", abi.IN_DELETE, 1, 0)
	c.Rmdir(here, "/d/sub")
	touch("/d/quiet")
	expect("another mask", "1:delete,dir sub")
	add("/d", abi.IN_CREATE|abi.IN_MASK_ADD, 1, 0)
	c.Unlink(here, "/d/quiet")
	touch("/d/new")
	expect("added mask", "1:delete quiet; 1:create new")
	add("/d", abi.IN_CREATE|abi.IN_MASK_CREATE, 0, abi.EEXIST)
	add("/d", 0, 0, abi.EINVAL)
	add("/d", abi.IN_CREATE|abi.IN_MASK_CREATE|abi.IN_MASK_ADD, 0, abi.EINVAL)
	add("/none", abi.IN_CREATE, 0, abi.ENOENT)
	add("/e/g", abi.IN_CREATE|abi.IN_ONLYDIR, 0, abi.ENOTDIR)
	add("/e/g", abi.IN_OPEN|abi.IN_ONESHOT, 2, 0)
	touch("/e/g")
	touch("/e/g")
	expect("once", "2:open; 2:ignored")
	add("/e/g", abi.IN_DELETE_SELF|abi.IN_MOVE_SELF, 3, 0)
	c.Rename(here, "/e/g", here, "/e/h", 0)
	c.Unlink(here, "/e/h")
	expect("gone", "3:moveself; 3:deleteself; 3:ignored")
	touch("/d/z")
	if got := drain(t, o, 16); got != "EINVAL" {
		t.Error("no room:", got)
	}
	expect("still there", "1:create z")
	if e := InotifyRemove(c, o, 1); e != 0 {
		t.Error(e.Name())
	}
	if e := InotifyRemove(c, o, 1); e != abi.EINVAL {
		t.Error(e.Name())
	}
	touch("/d/y")
	expect("removed", "1:ignored")
	add("/", abi.IN_CREATE, 4, 0)
	for i := range maxQueued + 10 {
		o.File.(*inotify).watches[4].event(abi.IN_CREATE, fmt.Sprint(i), 0)
	}
	if got := drain(t, o, 1<<20); strings.Count(got, ";") != maxQueued || !strings.HasSuffix(got, "-1:overflow") {
		t.Error(strings.Count(got, ";"), got[max(0, len(got)-40):])
	}
	o.Unref()
	if all.count.Load() != 0 {
		t.Error(all.count.Load())
	}
	c.Mkdir(here, "/after", 0o755)
}
