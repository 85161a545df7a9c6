package pipe_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"testing"

	"golang.org/x/sys/unix"

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

func caller(t testing.TB) *vfs.Caller {
	m, err := physmem.New(64 << 20)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	cache := pagecache.New(m)
	return fstest.NewCaller(t, func(sys *vfs.System) *vfs.Super { return tmpfs.New(sys, cache, tmpfs.Options{}).Super() }, pipe.Register)
}

func as(c *vfs.Caller, t *sched.Thread) *vfs.Caller {
	d := *c
	d.Thread = t
	return &d
}

// end is one end of a pipe, the host's or ours.
type end interface {
	read(n int) (int, abi.Errno)
	write(n int) (int, abi.Errno)
	close()
	size(n int) (int, abi.Errno)
	flags(f int)
	poll() uint32
}

type hostEnd int

func errno(err error) abi.Errno {
	if err == nil {
		return 0
	}
	return abi.FromHost(err.(unix.Errno))
}
func (h hostEnd) read(n int) (int, abi.Errno) {
	k, err := unix.Read(int(h), make([]byte, n))
	return k, errno(err)
}
func (h hostEnd) write(n int) (int, abi.Errno) {
	k, err := unix.Write(int(h), make([]byte, n))
	return k, errno(err)
}
func (h hostEnd) close() { unix.Close(int(h)) }
func (h hostEnd) size(n int) (int, abi.Errno) {
	cmd := unix.F_SETPIPE_SZ
	if n < 0 {
		cmd = unix.F_GETPIPE_SZ
	}
	k, err := unix.FcntlInt(uintptr(h), cmd, n)
	return k, errno(err)
}
func (h hostEnd) flags(f int) { unix.FcntlInt(uintptr(h), unix.F_SETFL, f) }
func (h hostEnd) poll() uint32 {
	p := []unix.PollFd{{Fd: int32(h), Events: 0x1ff}}
	unix.Poll(p, 0)
	return uint32(p[0].Revents)
}

type ourEnd struct {
	c *vfs.Caller
	o *vfs.Open
}

func neg(n int, e abi.Errno) (int, abi.Errno) {
	if e != 0 {
		return -1, e
	}
	return n, 0
}
func (o ourEnd) read(n int) (int, abi.Errno) { return neg(o.o.Read(o.c, mm.BytesBuf(make([]byte, n)))) }
func (o ourEnd) write(n int) (int, abi.Errno) {
	return neg(o.o.Write(o.c, mm.BytesBuf(make([]byte, n))))
}
func (o ourEnd) close() { o.o.Unref() }
func (o ourEnd) size(n int) (int, abi.Errno) {
	cmd := abi.F_SETPIPE_SZ
	if n < 0 {
		cmd = abi.F_GETPIPE_SZ
	}
	k, e := o.o.Fcntl(o.c, cmd, uint64(n))
	return neg(int(k), e)
}
func (o ourEnd) flags(f int) { o.o.SetFlags(o.c, uint32(f)) }
func (o ourEnd) poll() uint32 {
	m, _ := o.o.Poll(o.c)
	return uint32(m)
}

// The same calls on a pipe of the host's and on ours have the same results.
func TestAgainstHost(t *testing.T) {
	type step func(r, w end) string
	read := func(n int) step {
		return func(r, w end) string { k, e := r.read(n); return fmt.Sprint("read ", n, ": ", k, e.Name()) }
	}
	write := func(n int) step {
		return func(r, w end) string { k, e := w.write(n); return fmt.Sprint("write ", n, ": ", k, e.Name()) }
	}
	size := func(n int) step {
		return func(r, w end) string { k, e := r.size(n); return fmt.Sprint("size ", n, ": ", k, e.Name()) }
	}
	packets := func(on int) step { return func(r, w end) string { w.flags(on | abi.O_NONBLOCK); return "flags" } }
	closeR := func(r, w end) string { r.close(); return "close r" }
	closeW := func(r, w end) string { w.close(); return "close w" }
	wrongWay := func(r, w end) string {
		k, e := r.write(1)
		l, f := w.read(1)
		return fmt.Sprint("wrong way: ", k, e.Name(), l, f.Name())
	}
	for name, steps := range map[string][]step{
		"small":   {read(1), write(1), write(100), read(50), read(100), read(1), write(0), read(0), wrongWay},
		"full":    {write(65536), write(1), read(1), write(1), read(4095), write(1), write(4095), write(4096), read(70000), write(70000), write(1), read(70000)},
		"merge":   {write(1), write(65535), write(1), read(65536), write(100), write(65536), write(4096), write(3996), write(3996), read(70000)},
		"atomic":  {write(62000), write(4096), write(3000), write(600), write(5000), read(4096), write(4096), write(8192), read(100000)},
		"size":    {size(-1), size(0), size(1), size(4097), size(1 << 20), write(200000), size(4096), read(200000), size(4096), write(5000), write(1), size(8192), write(4096), size(1<<31 + 1), size(1 << 16)},
		"packets": {packets(abi.O_DIRECT), write(10), write(20), write(5000), read(5), read(100), read(100000), read(100000), read(1), write(10), packets(0), write(10), write(5), read(100), read(100)},
		"eof":     {write(10), closeW, read(5), read(100), read(100)},
		"broken":  {write(10), closeR, write(1), write(0), write(100000)},
	} {
		t.Run(name, func(t *testing.T) {
			var p [2]int
			if err := unix.Pipe2(p[:], unix.O_NONBLOCK|unix.O_CLOEXEC); err != nil {
				t.Fatal(err)
			}
			c := caller(t)
			or, ow, e := pipe.New(c, abi.O_NONBLOCK)
			if e != 0 {
				t.Fatal(e.Name())
			}
			r, w := ourEnd{c, or}, ourEnd{c, ow}
			closedR, closedW := false, false
			for i, s := range steps {
				want, got := s(hostEnd(p[0]), hostEnd(p[1])), s(r, w)
				if want != got {
					t.Fatalf("step %d\n Linux: %s\n goum:  %s", i, want, got)
				}
				closedR, closedW = closedR || got == "close r", closedW || got == "close w"
				if !closedR && hostEnd(p[0]).poll() != r.poll() {
					t.Errorf("after %s: polling the reading end: Linux %#x, goum %#x", got, hostEnd(p[0]).poll(), r.poll())
				}
				if !closedW && hostEnd(p[1]).poll() != w.poll() {
					t.Errorf("after %s: polling the writing end: Linux %#x, goum %#x", got, hostEnd(p[1]).poll(), w.poll())
				}
			}
		})
	}
}

// Several writers and readers: each message arrives whole, once, and in the order of its writer.
func TestHammer(t *testing.T) {
	c := caller(t)
	r, w, e := pipe.New(c, 0)
	if e != 0 {
		t.Fatal(e.Name())
	}
	const writers, messages = 3, 400
	var fs []func(*sched.Thread)
	for i := range writers {
		w.Ref()
		fs = append(fs, func(th *sched.Thread) {
			c := as(c, th)
			defer w.Unref()
			b := make([]byte, 512)
			for n := range messages {
				for k := 0; k < len(b); k += 8 {
					binary.LittleEndian.PutUint32(b[k:], uint32(i))
					binary.LittleEndian.PutUint32(b[k+4:], uint32(n))
				}
				if k, e := w.Write(c, mm.BytesBuf(b)); k != len(b) || e != 0 {
					t.Errorf("write: %d %s", k, e.Name())
					return
				}
			}
		})
	}
	w.Unref()
	next, total := [writers]uint32{}, 0
	fs = append(fs, func(th *sched.Thread) {
		c := as(c, th)
		b := make([]byte, 512)
		for {
			n, e := r.Read(c, mm.BytesBuf(b))
			if e != 0 {
				t.Errorf("read: %s", e.Name())
				return
			}
			if n == 0 {
				return
			}
			if n != len(b) || !bytes.Equal(b[:8], b[504:]) {
				t.Errorf("a torn message of %d bytes", n)
				return
			}
			i, k := binary.LittleEndian.Uint32(b), binary.LittleEndian.Uint32(b[4:])
			if next[i] != k {
				t.Errorf("writer %d: message %d came where %d was due", i, k, next[i])
			}
			next[i]++
			total++
		}
	})
	fstest.Threads(2, fs...)
	if total != writers*messages {
		t.Errorf("%d messages arrived, want %d", total, writers*messages)
	}
	r.Unref()
	if n := c.System().PipePages.Load(); n != 0 {
		t.Errorf("%d pages still counted", n)
	}
}

func TestFifo(t *testing.T) {
	c := caller(t)
	mk := func(name string) {
		if e := c.Mknod(vfs.Location{}, name, abi.S_IFIFO|0o600, 0); e != 0 {
			t.Fatal(e.Name())
		}
	}
	mk("f")
	if _, e := c.Open("f", abi.O_WRONLY|abi.O_NONBLOCK, 0); e != abi.ENXIO {
		t.Errorf("opening to write with no reader: %s, want ENXIO", e.Name())
	}
	r, e := c.Open("f", abi.O_RDONLY|abi.O_NONBLOCK, 0)
	if e != 0 {
		t.Fatal(e.Name())
	}
	if m, _ := r.Poll(c); m != 0 {
		t.Errorf("polling before any writer: %#x, want nothing", m)
	}
	w, e := c.Open("f", abi.O_WRONLY|abi.O_NONBLOCK, 0)
	if e != 0 {
		t.Fatal(e.Name())
	}
	w.Unref()
	if m, _ := r.Poll(c); m != abi.POLLHUP {
		t.Errorf("polling after the writer has gone: %#x, want POLLHUP", m)
	}
	r.Unref()
	b, e := c.Open("f", abi.O_RDWR, 0) // never waits
	if e != 0 {
		t.Fatal(e.Name())
	}
	b.Unref()

	// Each side waits for the other.
	mk("g")
	fstest.Threads(1, func(th *sched.Thread) {
		c := as(c, th)
		o, e := c.Open("g", abi.O_WRONLY, 0)
		if e != 0 {
			t.Errorf("open to write: %s", e.Name())
			return
		}
		o.Write(c, mm.BytesBuf([]byte("hello")))
		o.Unref()
	}, func(th *sched.Thread) {
		c := as(c, th)
		o, e := c.Open("g", abi.O_RDONLY, 0)
		if e != 0 {
			t.Errorf("open to read: %s", e.Name())
			return
		}
		p := make([]byte, 10)
		if n, e := o.Read(c, mm.BytesBuf(p)); string(p[:max(n, 0)]) != "hello" || e != 0 {
			t.Errorf("read %q %s", p[:max(n, 0)], e.Name())
		}
		if n, e := o.Read(c, mm.BytesBuf(p)); n != 0 || e != 0 {
			t.Errorf("read at the end: %d %s", n, e.Name())
		}
		o.Unref()
	})
	// A signal ends the wait, and leaves nothing behind.
	mk("h")
	started := make(chan *sched.Thread, 1)
	fstest.Threads(2, func(th *sched.Thread) {
		started <- th
		if _, e := as(c, th).Open("h", abi.O_RDONLY, 0); e != abi.ERESTARTSYS {
			t.Errorf("an interrupted open: %s, want ERESTARTSYS", e.Name())
		}
	}, func(th *sched.Thread) { (<-started).Interrupt() })
	if _, e := c.Open("h", abi.O_WRONLY|abi.O_NONBLOCK, 0); e != abi.ENXIO {
		t.Errorf("after the reader gave up: %s, want ENXIO", e.Name())
	}
}

func TestSplice(t *testing.T) {
	c := caller(t)
	if e := tmpfs.AddFile(c, "in", 0o644, 0, 0, 0, bytes.Repeat([]byte("splice"), 10000)); e != 0 {
		t.Fatal(e.Name())
	}
	in, _ := c.Open("in", abi.O_RDONLY, 0)
	out, _ := c.Open("out", abi.O_CREAT|abi.O_RDWR, 0o644)
	r, w, _ := pipe.New(c, abi.O_NONBLOCK)
	r2, w2, _ := pipe.New(c, abi.O_NONBLOCK)
	off, total := int64(0), 0
	for {
		n, e := pipe.Splice(c, in, &off, w, nil, 100000, 0)
		if n == 0 && e == 0 {
			break
		}
		if e != 0 {
			t.Fatalf("to the pipe: %s", e.Name())
		}
		if k, e := pipe.Tee(c, r, w2, 100, 0); k != 100 || e != 0 {
			t.Fatalf("tee: %d %s", k, e.Name())
		}
		for left := n; left > 0; {
			k, e := pipe.Splice(c, r, nil, out, nil, left, 0)
			if e != 0 {
				t.Fatalf("from the pipe: %s", e.Name())
			}
			left -= k
		}
		total += n
	}
	if total != 60000 || off != 60000 {
		t.Errorf("%d bytes moved, offset %d, want 60000", total, off)
	}
	got := make([]byte, 60001)
	if n, _ := out.Pread(c, mm.BytesBuf(got), 0); n != 60000 || !bytes.Equal(got[:n], bytes.Repeat([]byte("splice"), 10000)) {
		t.Error("what arrived is not what was sent")
	}
	if n, _ := r2.Read(c, mm.BytesBuf(got)); n == 0 || !bytes.Equal(got[:6], []byte("splice")) {
		t.Error("tee copied something else")
	}
	for _, e := range []struct {
		got  func() (int, abi.Errno)
		want abi.Errno
	}{
		{func() (int, abi.Errno) { return pipe.Splice(c, in, nil, out, nil, 1, 0) }, abi.EINVAL},
		{func() (int, abi.Errno) { return pipe.Splice(c, r, &off, out, nil, 1, 0) }, abi.ESPIPE},
		{func() (int, abi.Errno) { return pipe.Splice(c, r, nil, w, nil, 1, 0) }, abi.EINVAL},
		{func() (int, abi.Errno) { return pipe.Splice(c, w, nil, out, nil, 1, 0) }, abi.EBADF},
		{func() (int, abi.Errno) { return pipe.Splice(c, r, nil, out, nil, 1, 0) }, abi.EAGAIN},
		{func() (int, abi.Errno) { return pipe.Tee(c, in, w, 1, 0) }, abi.EINVAL},
	} {
		if _, got := e.got(); got != e.want {
			t.Errorf("%s, want %s", got.Name(), e.want.Name())
		}
	}
	off = 0
	if n, e := pipe.Copy(c, in, &off, out, nil, 1<<20); n != 60000 || e != 0 || off != 60000 {
		t.Errorf("Copy: %d %s, offset %d", n, e.Name(), off)
	}
	for _, o := range []*vfs.Open{in, out, r, w, r2, w2} {
		o.Unref()
	}
}

func TestAllocs(t *testing.T) {
	if fstest.LockCheck {
		t.Skip("checking locks allocates")
	}
	c := caller(t)
	r, w, _ := pipe.New(c, 0)
	b := make([]byte, 1000)
	var buf mm.Buf
	if n := testing.AllocsPerRun(100, func() {
		buf.SetBytes(b)
		w.Write(c, &buf)
		buf.SetBytes(b)
		r.Read(c, &buf)
	}); n != 0 {
		t.Errorf("a write and a read: %v allocations, want none", n)
	}
}

func BenchmarkWriteRead(b *testing.B) {
	c := caller(b)
	r, w, _ := pipe.New(c, 0)
	p := make([]byte, 1024)
	var buf mm.Buf
	for b.Loop() {
		buf.SetBytes(p)
		w.Write(c, &buf)
		buf.SetBytes(p)
		r.Read(c, &buf)
	}
}
