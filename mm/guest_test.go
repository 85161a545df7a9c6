package mm

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"

	"goum/arch/abi"
)

func TestCopies(t *testing.T) {
	m := newMem(t, 1024)
	s := NewSpace(m, NoLimits)
	h := newHost(t, s)
	u := User{Space: s, Sleep: direct{}}
	a := mustMap(t, s, 0x10000000, 8*PageSize, MapOpts{Prot: rw, Flags: anon | abi.MAP_FIXED})
	ro := mustMap(t, s, 0x10000000+8*PageSize, PageSize, MapOpts{Prot: abi.PROT_READ, Flags: anon | abi.MAP_FIXED})
	src := make([]byte, 3*PageSize)
	for i := range src {
		src[i] = byte(i * 7)
	}
	if e := u.CopyOut(a+100, src); e != 0 {
		t.Fatal(e)
	}
	got := make([]byte, len(src))
	if e := u.CopyIn(got, a+100); e != 0 || !bytes.Equal(got, src) {
		t.Fatal("what was copied out does not come back", e)
	}
	if e := u.Clear(a+200, 5000); e != 0 {
		t.Fatal(e)
	}
	clear(src[100:5100])
	if e := u.CopyIn(got, a+100); e != 0 || !bytes.Equal(got, src) {
		t.Fatal("Clear", e)
	}
	if n, e := u.CopyOutSome(a+7*PageSize, src); n != PageSize || e != abi.EFAULT {
		t.Errorf("over a read-only page: %d, %v", n, e)
	}
	if n, e := u.CopyInSome(got, ro-PageSize); n != 2*PageSize || e != abi.EFAULT {
		t.Errorf("over the end: %d, %v", n, e)
	}
	for name, c := range map[string]struct{ addr Addr }{
		"nothing": {0x500000}, "wraps": {^uint64(0) - 3}, "stub": {TaskSize - 1}, "high half": {1 << 63},
	} {
		if n, e := u.CopyInSome(got[:8], c.addr); n != 0 || e != abi.EFAULT {
			t.Errorf("%s: %d, %v", name, n, e)
		}
		if n, e := u.CopyOutSome(c.addr, got[:8]); n != 0 || e != abi.EFAULT {
			t.Errorf("%s, out: %d, %v", name, n, e)
		}
		if _, e := u.CopyString(c.addr, 8); e != abi.EFAULT {
			t.Errorf("%s, string: %v", name, e)
		}
		if _, e := u.Load32(c.addr &^ 3); e != abi.EFAULT {
			t.Errorf("%s, word: %v", name, e)
		}
	}
	// ptrace writes to what is read-only, and the guest still cannot
	f := User{Space: s, Sleep: direct{}, Force: true}
	if e := f.CopyOut(ro, []byte("x")); e != 0 {
		t.Errorf("Force: %v", e)
	}
	if r := h.store(ro, 1); r != NoAccess {
		t.Errorf("the guest writes to a read-only page after ptrace: %d", r)
	}
	if e := f.CopyOut(ro, []byte("yz")); e != 0 {
		t.Errorf("Force again: %v", e)
	}
	if e := u.CopyIn(got[:2], ro); e != 0 || string(got[:2]) != "yz" {
		t.Errorf("%q, %v", got[:2], e)
	}
	s.Protect(ro, PageSize, 0)
	if e := f.CopyIn(got[:1], ro); e != 0 || got[0] != 'y' {
		t.Errorf("Force read of PROT_NONE: %v", e)
	}
	if e := u.CopyIn(got[:1], ro); e != abi.EFAULT {
		t.Errorf("read of PROT_NONE: %v", e)
	}
	h.end()
	wantFree(t, m)
}

func TestCopyString(t *testing.T) {
	m := newMem(t, 1024)
	s := NewSpace(m, NoLimits)
	u := User{Space: s, Sleep: direct{}}
	a := mustMap(t, s, 0, 2*PageSize, MapOpts{Prot: rw, Flags: anon})
	long := strings.Repeat("x", PageSize)
	for name, c := range map[string]struct {
		put  string
		at   Addr
		most int
		want string
		e    abi.Errno
	}{
		"short":            {"abc\x00def", a, 4096, "abc", 0},
		"empty":            {"\x00", a, 1, "", 0},
		"fits exactly":     {"abc\x00", a, 4, "abc", 0},
		"NUL does not fit": {"abc\x00", a, 3, "", abi.ENAMETOOLONG},
		"over two pages":   {"abcdef\x00", a + PageSize - 3, 64, "abcdef", 0},
		"longer than room": {long + "\x00", a, 2 * PageSize, long, 0},
		"no end":           {"abc", a + 2*PageSize - 3, 64, "", abi.EFAULT},
		"no room":          {"abc", a, 0, "", abi.ENAMETOOLONG},
	} {
		u.Clear(a, 2*PageSize)
		if e := u.CopyOut(c.at, []byte(c.put)); e != 0 {
			t.Fatal(e)
		}
		if got, e := u.CopyString(c.at, c.most); e != c.e || e == 0 && got != c.want {
			t.Errorf("%s: %q, %v", name, got, e)
		}
	}
	s.Release()
	wantFree(t, m)
}

func TestWords(t *testing.T) {
	m := newMem(t, 1024)
	s := NewSpace(m, NoLimits)
	u := User{Space: s, Sleep: direct{}}
	a := mustMap(t, s, 0, PageSize, MapOpts{Prot: rw, Flags: anon})
	if _, ok := s.Load32NoFault(a); ok {
		t.Error("an untouched page was read without a fault")
	}
	if v, e := u.Load32(a); v != 0 || e != 0 {
		t.Error(v, e)
	}
	if _, ok := s.Load32NoFault(a); !ok {
		t.Error("a page that is there")
	}
	if _, ok := s.Cas32NoFault(a, 0, 1); ok {
		t.Error("a zero page was written to")
	}
	if e := u.Touch(a); e != 0 {
		t.Error(e)
	}
	if v, ok := s.Cas32NoFault(a, 0, 5); !ok || v != 0 {
		t.Error(v, ok)
	}
	if v, ok := s.Cas32NoFault(a, 0, 6); !ok || v != 5 {
		t.Error(v, ok)
	}
	if v, e := u.Cas32(a, 5, 7); v != 5 || e != 0 {
		t.Error(v, e)
	}
	if e := u.Store64(a+8, 1<<40); e != 0 {
		t.Error(e)
	}
	if v, e := u.Cas64(a+8, 1<<40, 3); v != 1<<40 || e != 0 {
		t.Error(v, e)
	}
	if v, e := u.Load64(a + 8); v != 3 || e != 0 {
		t.Error(v, e)
	}
	if e := u.Store32(a+4092, 9); e != 0 {
		t.Error(e)
	}
	for _, e := range []abi.Errno{u.Store32(a+1, 0), u.Store64(a+4, 0)} {
		if e != abi.EINVAL {
			t.Errorf("alignment: %v", e)
		}
	}
	s.Release()
	wantFree(t, m)
}

func TestFutexKeys(t *testing.T) {
	m := newMem(t, 1024)
	s := NewSpace(m, NoLimits)
	p := mustMap(t, s, 0, PageSize, MapOpts{Prot: rw, Flags: anon})
	sh := mustMap(t, s, 0, 2*PageSize, MapOpts{Prot: rw, Flags: sanon})
	c, _ := s.Fork()
	key := func(s *Space, a Addr, shared bool) Key {
		k, e := s.FutexKey(a, shared)
		if e != 0 {
			t.Fatal(e)
		}
		return k
	}
	if key(s, p, false) != key(s, p, true) || key(s, p, true) == key(c, p, true) {
		t.Error("private memory")
	}
	if key(s, sh+PageSize+4, true) != key(c, sh+PageSize+4, true) || key(s, sh, true) == key(s, sh+PageSize, true) {
		t.Error("shared memory")
	}
	if key(s, sh, false) == key(c, sh, false) {
		t.Error("a private futex in shared memory")
	}
	moved, e := c.Remap(sh, 2*PageSize, 2*PageSize, abi.MREMAP_MAYMOVE|abi.MREMAP_FIXED, 0x20000000)
	if e != 0 || key(c, moved+8, true) != key(s, sh+8, true) {
		t.Error("shared memory at another address", e)
	}
	if _, e := s.FutexKey(0x500000, true); e != abi.EFAULT {
		t.Error(e)
	}
	c.Release()
	s.Release()
	wantFree(t, m)
}

func TestIovecs(t *testing.T) {
	m := newMem(t, 1024)
	s := NewSpace(m, NoLimits)
	u := User{Space: s, Sleep: direct{}}
	a := mustMap(t, s, 0, 8*PageSize, MapOpts{Prot: rw, Flags: anon})
	put := func(v ...uint64) {
		b := make([]byte, 0, 16*len(v))
		for _, x := range v {
			b = binary.LittleEndian.AppendUint64(b, x)
		}
		if e := u.CopyOut(a, b); e != 0 {
			t.Fatal(e)
		}
	}
	put(0x1000, 5, 0x2000, abi.MAX_RW_COUNT, 0x3000, 7)
	var room [8]abi.Iovec
	iov, e := u.Iovecs(a, 3, room[:])
	if e != 0 || len(iov) != 3 || iov[0] != (abi.Iovec{Base: 0x1000, Len: 5}) || iov[1].Len != abi.MAX_RW_COUNT-5 || iov[2].Len != 0 || &iov[0] != &room[0] {
		t.Errorf("%v, %v", iov, e)
	}
	put(0, 1<<63)
	if _, e := u.Iovecs(a, 1, nil); e != abi.EINVAL {
		t.Errorf("a negative length: %v", e)
	}
	put(TaskSize, 1)
	if _, e := u.Iovecs(a, 1, nil); e != abi.EFAULT {
		t.Errorf("beyond the address space: %v", e)
	}
	for _, n := range []int{-1, 1025} {
		if _, e := u.Iovecs(a, n, nil); e != abi.EINVAL {
			t.Errorf("%d: %v", n, e)
		}
	}
	if _, e := u.Iovecs(0x500000, 1, nil); e != abi.EFAULT {
		t.Error(e)
	}
	u.Clear(a, 8*PageSize)
	if iov, e := u.Iovecs(a, 1024, room[:]); e != 0 || len(iov) != 1024 {
		t.Errorf("%d, %v", len(iov), e)
	}
	s.Release()
	wantFree(t, m)
}

func TestBuf(t *testing.T) {
	m := newMem(t, 1024)
	s := NewSpace(m, NoLimits)
	u := User{Space: s, Sleep: direct{}}
	a := mustMap(t, s, 0, 4*PageSize, MapOpts{Prot: rw, Flags: anon})
	iov := []abi.Iovec{{Base: a, Len: 3}, {Base: 0, Len: 0}, {Base: a + 100, Len: 4}, {Base: a + 4*PageSize - 2, Len: 5}}
	b := NewBuf(u, iov)
	if b.Len() != 12 {
		t.Fatal(b.Len())
	}
	if n, e := b.Write([]byte("ab")); n != 2 || e != 0 || b.Len() != 10 {
		t.Error(n, e, b.Len())
	}
	if n, e := b.Write([]byte("cdefg")); n != 5 || e != 0 {
		t.Error(n, e)
	}
	if n, e := b.Write([]byte("hijkl")); n != 2 || e != abi.EFAULT || b.Len() != 3 {
		t.Error("over a hole:", n, e, b.Len())
	}
	b.Set(u, iov)
	got := make([]byte, 20)
	if n, e := b.Read(got); n != 9 || e != abi.EFAULT || string(got[:9]) != "abcdefghi" {
		t.Errorf("%d, %v, %q", n, e, got)
	}
	b.SetOne(u, a+100, 4)
	b.Skip(1)
	b.Limit(2)
	if n, e := b.Zero(10); n != 2 || e != 0 || b.Len() != 0 {
		t.Error(n, e, b.Len())
	}
	if e := u.CopyIn(got[:4], a+100); e != 0 || string(got[:4]) != "d\x00\x00g" {
		t.Errorf("%q", got[:4])
	}
	if n, e := b.Write(got); n != 0 || e != 0 {
		t.Error("a full buffer:", n, e)
	}
	k := BytesBuf(got[:4])
	if n, e := k.Write([]byte("12345")); n != 4 || e != 0 || string(got[:4]) != "1234" || k.Len() != 0 {
		t.Error(n, e)
	}
	b.SetBytes([]byte("xyz"))
	b.Skip(1)
	if n, e := b.Read(got); n != 2 || e != 0 || string(got[:2]) != "yz" {
		t.Error(n, e)
	}
	b.Set(u, []abi.Iovec{{Base: a, Len: 1 << 62}, {Base: a, Len: 1 << 62}})
	if b.Len() != abi.MAX_RW_COUNT {
		t.Error(b.Len())
	}
	iov2 := []abi.Iovec{{Base: a, Len: 3}, {Base: a + 100, Len: 4}}
	b = NewBuf(u, iov2)
	b.Skip(5)
	if n, e := b.Read(got); n != 2 || e != 0 {
		t.Error("Skip over ranges:", n, e)
	}
	s.Release()
	wantFree(t, m)
}
