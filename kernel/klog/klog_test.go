package klog

import (
	"fmt"
	"strings"
	"testing"

	"goum/arch/abi"
	"goum/kernel/cred"
	"goum/kernel/fs/vfs"
	"goum/mm"
	"goum/sched/clock"
)

var (
	root     = &vfs.Caller{Cred: cred.Root()}
	ordinary = &vfs.Caller{Cred: cred.Root().Ordinary(1000, 1000)}
	nonblock = vfs.At{Flags: abi.O_NONBLOCK}
)

func open(t *testing.T, l *Log) *kmsg {
	t.Helper()
	f, e := l.OpenKmsg(root, abi.O_RDWR, vfs.Location{})
	if e != 0 {
		t.Fatal(e.Name())
	}
	return f.(*kmsg)
}

func read(k vfs.File, n int) (string, abi.Errno) {
	b := make([]byte, n)
	got, e := k.Read(root, mm.BytesBuf(b), nonblock)
	return string(b[:got]), e
}

func write(k vfs.File, s string) (int, abi.Errno) {
	return k.Write(root, mm.BytesBuf([]byte(s)), nonblock)
}

func TestKmsg(t *testing.T) {
	clk := clock.NewVirtual(0)
	l := New(clk)
	var tapped []string
	l.SetTap(func(r Record) { tapped = append(tapped, fmt.Sprintf("%d %d %s", r.Level, r.Facility, r.Text)) })
	clk.Advance(1234567000)
	l.Printk(Info, "Linux %d\n", 6)
	k := open(t, l)
	for _, s := range []string{"plain", "<3>bad\x01\\\n", "<38>auth", "<x>no", "<1"} {
		if n, e := write(k, s); n != len(s) || e != 0 {
			t.Error(s, n, e.Name())
		}
	}
	for _, want := range []string{"6,0,1234567,-;Linux 6\n", "12,1,1234567,-;plain\n", "11,2,1234567,-;bad\\x01\\x5c\n", "38,3,1234567,-;auth\n", "12,4,1234567,-;<x>no\n", "12,5,1234567,-;<1\n"} {
		if got, e := read(k, 200); got != want {
			t.Errorf("%q %s, want %q", got, e.Name(), want)
		}
	}
	if _, e := read(k, 200); e != abi.EAGAIN {
		t.Error("at the end:", e.Name())
	}
	if len(tapped) != 6 || tapped[2] != "3 1 bad\x01\\" {
		t.Errorf("tap: %q", tapped)
	}
	k.Seek(root, 0, 0, abi.SEEK_SET)
	if _, e := read(k, 5); e != abi.EINVAL {
		t.Error("too small:", e.Name())
	}
	if _, e := k.Seek(root, 0, 1, abi.SEEK_SET); e != abi.ESPIPE {
		t.Error("seek:", e.Name())
	}
	if _, e := write(k, strings.Repeat("x", maxText+1)); e != abi.EINVAL {
		t.Error("too long:", e.Name())
	}
	k.Seek(root, 0, 0, abi.SEEK_END)
	if p := k.Poll(nil); p != 0 {
		t.Errorf("poll at the end: %#x", p)
	}
	l.Printk(Err, "more")
	if p := k.Poll(nil); p != pollIn {
		t.Errorf("poll: %#x", p)
	}
}

func TestOverrun(t *testing.T) {
	l := New(nil)
	k := open(t, l)
	for i := range 5000 {
		l.Printk(Info, "%d%s", i, strings.Repeat(".", 100))
	}
	if l.bytes > maxBytes || len(l.ring) > 2*maxBytes/cost {
		t.Error(l.bytes, len(l.ring))
	}
	if p := k.Poll(nil); uint32(p)&abi.EPOLLERR == 0 {
		t.Errorf("poll: %#x", p)
	}
	if _, e := read(k, 2000); e != abi.EPIPE {
		t.Error(e.Name())
	}
	first := l.Records()[0].Seq
	if got, _ := read(k, 2000); !strings.HasPrefix(got, fmt.Sprintf("6,%d,", first)) {
		t.Errorf("%.20q, want record %d", got, first)
	}
}

// TestRate is a guest that writes more than its share.
func TestRate(t *testing.T) {
	clk := clock.NewVirtual(0)
	l := New(clk)
	k := open(t, l)
	for range burst + 5 {
		write(k, "again")
	}
	if n := len(l.Records()); n != burst {
		t.Error(n, "records")
	}
	clk.Advance(int64(interval))
	write(k, "later")
	k.Release()
	r := l.Records()
	if len(r) != burst+2 || !strings.Contains(r[len(r)-1].Text, "5 output lines suppressed") {
		t.Errorf("%v", r)
	}
}

func TestSyslog(t *testing.T) {
	clk := clock.NewVirtual(0)
	l := New(clk)
	clk.Advance(2500000)
	l.Printk(Info, "one\ntwo")
	l.Printk(Err, "three")
	const one, three = "<6>[    0.002500] one\n<6>[    0.002500] two\n", "<3>[    0.002500] three\n"
	call := func(c *vfs.Caller, action, n int) (string, int, abi.Errno) {
		b := make([]byte, max(n, 0))
		got, e := l.Syslog(c, action, mm.BytesBuf(b), n)
		return strings.TrimRight(string(b), "\x00"), got, e
	}
	for _, s := range []struct {
		c      *vfs.Caller
		action int
		n      int
		text   string
		got    int
		e      abi.Errno
	}{
		{ordinary, ActionRead, 100, "", 0, abi.EPERM},
		{ordinary, ActionReadAll, 100, one + three, len(one + three), 0},
		{ordinary, ActionSizeBuffer, 0, "", maxBytes, 0},
		{ordinary, ActionClear, 0, "", 0, abi.EPERM},
		{root, ActionReadAll, len(three) + 5, three, len(three), 0},
		{root, ActionSizeUnread, 0, "", len(one + three), 0},
		{root, ActionRead, 10, one[:10], 10, 0},
		{root, ActionRead, 1000, one[10:] + three, len(one+three) - 10, 0},
		{root, ActionSizeUnread, 0, "", 0, 0},
		{root, ActionReadClear, 1000, one + three, len(one + three), 0},
		{root, ActionReadAll, 1000, "", 0, 0},
		{root, ActionReadAll, -1, "", 0, abi.EINVAL},
		{root, ActionConsoleLevel, 9, "", 0, abi.EINVAL},
		{root, ActionConsoleOff, 0, "", 0, 0},
		{root, 11, 0, "", 0, abi.EINVAL},
		{root, ActionClose, 0, "", 0, 0},
	} {
		if text, got, e := call(s.c, s.action, s.n); text != s.text || got != s.got || e != s.e {
			t.Errorf("action %d of %d: %q %d %s, want %q %d %s", s.action, s.n, text, got, e.Name(), s.text, s.got, s.e.Name())
		}
	}
	if l.ConsoleLevels()[0] != 1 {
		t.Error(l.ConsoleLevels())
	}
}
