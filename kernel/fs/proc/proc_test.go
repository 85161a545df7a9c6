package proc

import (
	"strings"
	"testing"

	"goum/arch/abi"
	"goum/mm"
)

// What needs a machine is tested in package sys, through the system calls; here are the parts that do not.

func TestNumber(t *testing.T) {
	for s, want := range map[string]int32{"0": 0, "1": 1, "32767": 32767, "999999999": 999999999, "": -1, "01": -1, "-1": -1, "1a": -1, "+1": -1, "1234567890": -1, " 1": -1} {
		n, ok := number(s)
		if !ok {
			n = -1
		}
		if n != want {
			t.Errorf("number(%q) = %d, want %d", s, n, want)
		}
	}
}

func TestCPUList(t *testing.T) {
	for m, want := range map[uint64]string{0: "", 1: "0", 3: "0-1", 0b1011: "0-1,3", 1 << 63: "63", ^uint64(0): "0-63"} {
		if got := cpuList(m); got != want {
			t.Errorf("cpuList(%#x) = %q, want %q", m, got, want)
		}
	}
}

func TestEscape(t *testing.T) {
	if got := escape("a\nb\\c d)"); got != `a\nb\\c d)` {
		t.Errorf("%q", got)
	}
}

// The column of the name is where Linux puts it, for short and for long addresses.
func TestMapLine(t *testing.T) {
	for _, c := range []struct {
		r    mm.Region
		want string
	}{
		{mm.Region{Start: 0x400000, End: 0x401000, Prot: abi.PROT_READ | abi.PROT_EXEC, Name: "[heap]"},
			"00400000-00401000 r-xp 00000000 00:00 0                                  [heap]\n"},
		{mm.Region{Start: 0x7fff12345000, End: 0x7fff12346000, Prot: abi.PROT_READ | abi.PROT_WRITE, Shared: true, Offset: 0x2000, Name: "[stack]"},
			"7fff12345000-7fff12346000 rw-s 00002000 00:00 0                          [stack]\n"},
		{mm.Region{Start: 0x1000, End: 0x2000}, "00001000-00002000 ---p 00000000 00:00 0 \n"},
	} {
		var b strings.Builder
		mapLine(&b, nil, &c.r)
		if b.String() != c.want {
			t.Errorf("got  %q\nwant %q", b.String(), c.want)
		}
	}
}

func TestDefaultCPU(t *testing.T) {
	c := DefaultCPU()
	flags := strings.Join(c.Flags, " ")
	for _, f := range []string{"fpu", "sse2", "lm"} {
		if !strings.Contains(" "+flags+" ", " "+f+" ") {
			t.Errorf("no %s in %q", f, flags)
		}
	}
}
