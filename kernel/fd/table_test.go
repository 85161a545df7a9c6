package fd

import (
	"sync"
	"testing"

	"goum/arch/abi"
	"goum/kernel/cred"
	"goum/kernel/fs/fstest"
	"goum/kernel/fs/vfs"
)

type file struct {
	vfs.NoFile
	released int
	flushed  int
}

func (f *file) Release()                    { f.released++ }
func (f *file) Flush(*vfs.Caller) abi.Errno { f.flushed++; return abi.EIO }

func open(t *testing.T) (*file, *vfs.Open) {
	f := &file{}
	return f, vfs.NewAnon("anon_inode:[test]", 0o600, f, abi.O_RDWR)
}

func caller(nofile uint64) *vfs.Caller {
	l := cred.NewLimits(1 << 30)
	l.Set(cred.Root(), abi.RLIMIT_NOFILE, abi.Rlimit64{Cur: nofile, Max: nofile})
	return &vfs.Caller{Cred: cred.Root(), Limits: l}
}

func TestTable(t *testing.T) {
	c, tab := caller(100), New()
	tab.SetLimits(c.Limits)
	f, o := open(t)
	add := func(want int32) {
		t.Helper()
		o.Ref()
		if n, e := tab.Add(c, o, false); n != want || e != 0 {
			t.Errorf("Add: %d %s, want %d", n, e.Name(), want)
		}
	}
	for i := range int32(70) {
		add(i)
	}
	for _, n := range []int32{65, 3, 40} {
		if e := tab.Close(c, n); e != abi.EIO { // the file's own answer
			t.Errorf("Close(%d): %s, want EIO", n, e.Name())
		}
		if e := tab.Close(c, n); e != abi.EBADF {
			t.Errorf("Close(%d) again: %s, want EBADF", n, e.Name())
		}
	}
	add(3)
	add(40)
	add(65)
	add(70)
	if n, e := tab.Dup(c, 5, 80, true); n != 80 || e != 0 || !tab.GetCloseOnExec(80) || tab.GetCloseOnExec(70) {
		t.Errorf("Dup from 80 on: %d %s", n, e.Name())
	}
	if _, e := tab.Dup(c, 5, 100, false); e != abi.EINVAL {
		t.Errorf("Dup beyond the limit: %s, want EINVAL", e.Name())
	}
	if _, e := tab.Dup(c, 99, 0, false); e != abi.EBADF {
		t.Errorf("Dup of nothing: %s, want EBADF", e.Name())
	}
	if e := tab.DupTo(c, 5, 100, false); e != abi.EBADF {
		t.Errorf("DupTo beyond the limit: %s, want EBADF", e.Name())
	}
	r, e := tab.Reserve(2, true)
	if e != 0 || r.Numbers()[0] != 71 || r.Numbers()[1] != 72 {
		t.Fatalf("Reserve: %v %s", r, e.Name())
	}
	if _, e := tab.Get(71); e != abi.EBADF {
		t.Errorf("what is reserved is open: %s", e.Name())
	}
	if e := tab.DupTo(c, 5, 71, false); e != abi.EBUSY {
		t.Errorf("DupTo a reserved number: %s, want EBUSY", e.Name())
	}
	o.Ref()
	r.Install(o)
	r.Release()
	r.Release()
	if !tab.GetCloseOnExec(71) {
		t.Error("what was reserved so is not close-on-exec")
	}
	add(72)
	child, _ := tab.Clone(c)
	tab.CloseOnExec(c)
	for _, n := range []int32{71, 80} {
		if _, e := tab.Get(n); e != abi.EBADF {
			t.Errorf("%d outlives exec: %s", n, e.Name())
		}
	}
	if e := child.CloseRange(c, 10, 1<<32-1, true); e != 0 || !child.GetCloseOnExec(72) || child.GetCloseOnExec(9) {
		t.Error("CloseRange does not mark")
	}
	if e := tab.CloseRange(c, 1, 1<<32-1, false); e != 0 || tab.Count() != 1 {
		t.Errorf("CloseRange leaves %d open", tab.Count())
	}
	n, got, ok := tab.Next(0)
	if n != 0 || !ok || got != o {
		t.Error("Next does not find 0")
	}
	got.Unref()
	if _, _, ok := tab.Next(1); ok {
		t.Error("Next finds more")
	}
	shared := tab.Share()
	if own := shared.Unshare(c); own == tab || own.Count() != 1 {
		t.Error("Unshare of a shared table")
	} else {
		own.Release(c)
	}
	tab.Release(c)
	child.Release(c)
	if f.released != 0 {
		t.Error("released while a reference is left")
	}
	o.Unref()
	if f.released != 1 {
		t.Errorf("released %d times", f.released)
	}
}

func TestLimit(t *testing.T) {
	c, tab := caller(3), New()
	_, o := open(t)
	for i := range 5 {
		o.Ref()
		n, e := tab.Add(c, o, false)
		if want := i < 3; (e == 0) != want || !want && e != abi.EMFILE {
			t.Errorf("descriptor %d: %d %s", i, n, e.Name())
		}
	}
	if _, e := tab.Reserve(1, false); e != abi.EMFILE {
		t.Errorf("Reserve: %s, want EMFILE", e.Name())
	}
	tab.Close(c, 1)
	if _, e := tab.Reserve(2, false); e != abi.EMFILE {
		t.Errorf("Reserve of two where one is left: %s, want EMFILE", e.Name())
	}
	if n, e := tab.Dup(c, 0, 0, false); n != 1 || e != 0 {
		t.Errorf("Dup: %d %s, want 1", n, e.Name())
	}
	big := caller(MaxFD)
	if n, e := tab.Dup(big, 0, MaxFD-1, false); n != MaxFD-1 || e != 0 {
		t.Errorf("the last descriptor: %d %s", n, e.Name())
	}
	if n, e := tab.Dup(big, 0, 0, false); n != 3 || e != 0 {
		t.Errorf("Dup: %d %s, want 3", n, e.Name())
	}
}

// Get while others close and open: an open file, or none.
func TestGetRace(t *testing.T) {
	c, tab := caller(1000), New()
	var wg sync.WaitGroup
	for range 2 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for range 5000 {
				f := &file{}
				n, e := tab.Add(c, vfs.NewAnon("anon_inode:[test]", 0o600, f, abi.O_RDWR), false)
				if e != 0 {
					t.Error(e.Name())
					return
				}
				tab.Close(c, n)
			}
		}()
		wg.Add(1)
		go func() {
			defer wg.Done()
			for i := range int32(20000) {
				if o, e := tab.Get(i % 4); e == 0 {
					if o.Refs() < 1 {
						t.Error("an open file without a reference")
					}
					o.Unref()
				}
			}
		}()
	}
	wg.Wait()
}

func TestAllocs(t *testing.T) {
	if fstest.LockCheck {
		t.Skip("checking locks allocates")
	}
	c, tab := caller(100), New()
	_, o := open(t)
	n, _ := tab.Add(c, o, false)
	if a := testing.AllocsPerRun(100, func() {
		o, _ := tab.Get(n)
		o.Unref()
	}); a != 0 {
		t.Errorf("Get: %v allocations, want none", a)
	}
	if a := testing.AllocsPerRun(100, func() {
		m, _ := tab.Dup(c, n, 0, false)
		tab.Close(c, m)
	}); a != 0 {
		t.Errorf("Dup and Close: %v allocations, want none", a)
	}
}

func BenchmarkGet(b *testing.B) {
	tab := New()
	n, _ := tab.Add(nil, vfs.NewAnon("anon_inode:[test]", 0o600, &file{}, abi.O_RDWR), false)
	for b.Loop() {
		o, _ := tab.Get(n)
		o.Unref()
	}
}
