package made

import (
	"strconv"
	"testing"

	"goum/arch/abi"
	"goum/kernel/fs/vfs"
	"goum/mm"
)

func newTree() *Tree { return NewTree(func() int64 { return 5 }) }

// A reading sees one content, however many calls it takes; a new one begins at position 0.
func TestContent(t *testing.T) {
	made := 0
	f := newTree().Text(func() string {
		made++
		return "content " + strconv.Itoa(made)
	})
	o, e := f.Open(nil, abi.O_RDONLY, vfs.Location{})
	if e != 0 {
		t.Fatal(e.Name())
	}
	read := func(off int64, n int) string {
		b := make([]byte, n)
		got, e := o.Read(nil, mm.BytesBuf(b), vfs.At{Off: off})
		if e != 0 {
			t.Fatal(e.Name())
		}
		return string(b[:got])
	}
	for _, c := range []struct {
		off  int64
		n    int
		want string
	}{{3, 4, "tent"}, {7, 100, " 1"}, {9, 10, ""}, {100, 1, ""}, {0, 100, "content 2"}, {8, 10, "2"}, {-1, 1, ""}} {
		if got := read(c.off, c.n); got != c.want {
			t.Errorf("at %d: %q, want %q", c.off, got, c.want)
		}
	}
	if _, e := o.Write(nil, mm.BytesBuf([]byte("x")), vfs.At{}); e != abi.EIO {
		t.Errorf("write = %s", e.Name())
	}
}

func TestTake(t *testing.T) {
	var got string
	f := newTree().File(0o200, nil)
	f.Take = func(_ *vfs.Caller, b []byte) abi.Errno {
		got = string(b)
		if got == "bad" {
			return abi.EINVAL
		}
		return 0
	}
	o, _ := f.Open(nil, abi.O_WRONLY, vfs.Location{})
	if n, e := o.Write(nil, mm.BytesBuf([]byte("good")), vfs.At{Off: 99}); n != 4 || e != 0 || got != "good" {
		t.Errorf("write = %d %s, %q", n, e.Name(), got)
	}
	if n, e := o.Write(nil, mm.BytesBuf([]byte("bad")), vfs.At{}); n != 0 || e != abi.EINVAL {
		t.Errorf("write = %d %s", n, e.Name())
	}
	if n, e := o.Write(nil, mm.BytesBuf(make([]byte, maxWrite+1)), vfs.At{}); n != 0 || e != abi.EINVAL {
		t.Errorf("a long write = %d %s", n, e.Name())
	}
	if _, e := o.Read(nil, mm.BytesBuf(make([]byte, 1)), vfs.At{}); e != abi.EIO {
		t.Errorf("read = %s", e.Name())
	}
}

func TestDir(t *testing.T) {
	tree := newTree()
	d := tree.Dir()
	Add(d, "b", tree.Const("x"))
	d.Sub(tree, "a")
	Add(d, "l", tree.ConstLink("a"))
	if a, _ := d.Attr(nil); a.Nlink != 3 || a.Ino != 1 || a.Mode != abi.S_IFDIR|0o555 {
		t.Errorf("%+v", a)
	}
	var names []string
	var next []int64
	for from := 0; from < 4; from++ {
		names = nil
		d.Emit(from, func(i int) int64 { return int64(i) + 3 }, func(e vfs.DirEntry) bool {
			names, next = append(names, e.Name), append(next, e.Next)
			return true
		})
		if len(names) != max(3-from, 0) {
			t.Errorf("from %d: %v", from, names)
		}
	}
	if _, e := d.Lookup(nil, "none"); e != abi.ENOENT {
		t.Errorf("Lookup = %s", e.Name())
	}
	if n, e := d.Lookup(nil, "l"); e != 0 || n.(*Link) == nil {
		t.Errorf("Lookup = %v %s", n, e.Name())
	}
	defer func() {
		if recover() == nil {
			t.Error("a name was added twice")
		}
	}()
	Add(d, "b", tree.Const("y"))
}

func TestSetAttr(t *testing.T) {
	f := newTree().Const("x")
	if e := f.SetAttr(nil, &vfs.SetAttr{Valid: vfs.SetSize}); e != 0 {
		t.Errorf("truncate: %s", e.Name())
	}
	if e := f.SetAttr(nil, &vfs.SetAttr{Valid: vfs.SetMode}); e != abi.EPERM {
		t.Errorf("chmod: %s", e.Name())
	}
}
