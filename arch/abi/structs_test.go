package abi

import (
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// TestStructSizes compares sizes and the offsets of last fields with the host's own structures, or with the kernel's headers.
func TestStructSizes(t *testing.T) {
	for name, c := range map[string]struct{ got, want uintptr }{
		"Timespec":        {unsafe.Sizeof(Timespec{}), unsafe.Sizeof(unix.Timespec{})},
		"Timeval":         {unsafe.Sizeof(Timeval{}), unsafe.Sizeof(unix.Timeval{})},
		"ItimerSpec":      {unsafe.Sizeof(ItimerSpec{}), unsafe.Sizeof(unix.ItimerSpec{})},
		"Itimerval":       {unsafe.Sizeof(Itimerval{}), unsafe.Sizeof(unix.Itimerval{})},
		"Timex":           {unsafe.Sizeof(Timex{}), unsafe.Sizeof(unix.Timex{})},
		"Timex.Tai":       {unsafe.Offsetof(Timex{}.Tai), unsafe.Offsetof(unix.Timex{}.Tai)},
		"Tms":             {unsafe.Sizeof(Tms{}), unsafe.Sizeof(unix.Tms{})},
		"Utimbuf":         {unsafe.Sizeof(Utimbuf{}), unsafe.Sizeof(unix.Utimbuf{})},
		"Rusage":          {unsafe.Sizeof(Rusage{}), unsafe.Sizeof(unix.Rusage{})},
		"Rlimit64":        {unsafe.Sizeof(Rlimit64{}), unsafe.Sizeof(unix.Rlimit{})},
		"Utsname":         {unsafe.Sizeof(Utsname{}), unsafe.Sizeof(unix.Utsname{})},
		"Sysinfo":         {unsafe.Sizeof(Sysinfo{}), unsafe.Sizeof(unix.Sysinfo_t{})},
		"Sysinfo.Unit":    {unsafe.Offsetof(Sysinfo{}.Unit), unsafe.Offsetof(unix.Sysinfo_t{}.Unit)},
		"Siginfo":         {unsafe.Sizeof(Siginfo{}), unsafe.Sizeof(unix.Siginfo{})},
		"SignalfdSiginfo": {unsafe.Sizeof(SignalfdSiginfo{}), unsafe.Sizeof(unix.SignalfdSiginfo{})},
		"SignalfdArch":    {unsafe.Offsetof(SignalfdSiginfo{}.Arch), unsafe.Offsetof(unix.SignalfdSiginfo{}.Arch)},
		"StackT":          {unsafe.Sizeof(StackT{}), 24},
		"Sigaction":       {unsafe.Sizeof(Sigaction{}), 32},
		"Sigevent":        {unsafe.Sizeof(Sigevent{}), 64},
		"CloneArgs":       {unsafe.Sizeof(CloneArgs{}), CLONE_ARGS_SIZE_VER2},
		"SchedAttr":       {unsafe.Sizeof(SchedAttr{}), unsafe.Sizeof(unix.SchedAttr{})},
		"RobustListHead":  {unsafe.Sizeof(RobustListHead{}), 24},
		"CapHeader":       {unsafe.Sizeof(CapHeader{}), unsafe.Sizeof(unix.CapUserHeader{})},
		"CapData":         {unsafe.Sizeof(CapData{}), unsafe.Sizeof(unix.CapUserData{})},
	} {
		if c.got != c.want {
			t.Errorf("%s is %d, want %d", name, c.got, c.want)
		}
	}
}

func TestTimeConversions(t *testing.T) {
	const maxInt = int64(^uint64(0) >> 1)
	for _, c := range []struct {
		ns int64
		ts Timespec
		tv Timeval
	}{
		{0, Timespec{}, Timeval{}},
		{1, Timespec{0, 1}, Timeval{}},
		{-1, Timespec{-1, 999_999_999}, Timeval{-1, 999_999}},
		{-NsPerSec, Timespec{-1, 0}, Timeval{-1, 0}},
		{1_500_000_000, Timespec{1, 500_000_000}, Timeval{1, 500_000}},
		{maxInt, Timespec{9223372036, 854775807}, Timeval{9223372036, 854775}},
	} {
		if got := NsToTimespec(c.ns); got != c.ts {
			t.Errorf("NsToTimespec(%d) = %v, want %v", c.ns, got, c.ts)
		}
		if got := NsToTimeval(c.ns); got != c.tv {
			t.Errorf("NsToTimeval(%d) = %v, want %v", c.ns, got, c.tv)
		}
		if c.ns != maxInt && c.ts.Ns() != c.ns {
			t.Errorf("%v.Ns() = %d, want %d", c.ts, c.ts.Ns(), c.ns)
		}
	}
	for _, ts := range []Timespec{{maxInt, 0}, {maxInt / NsPerSec, 999_999_999}} {
		if ts.Ns() != maxInt {
			t.Errorf("%v.Ns() = %d, want forever", ts, ts.Ns())
		}
	}
	for _, bad := range []Timespec{{-1, 0}, {0, -1}, {0, NsPerSec}, {1, maxInt}} {
		if bad.Valid() {
			t.Errorf("%v is valid", bad)
		}
	}
	if tv := (Timeval{0, maxInt}); tv.Valid() || tv.Ns() < 0 {
		t.Errorf("%v: valid %v, %d ns", tv, tv.Valid(), tv.Ns())
	}
}

// TestSiginfo checks the accessors against the layout that user space has, through bytes.
func TestSiginfo(t *testing.T) {
	s := Siginfo{Signo: SIGCHLD, Errno: 1, Code: CLD_EXITED}
	s.SetPID(7)
	s.SetUID(8)
	s.SetStatus(9)
	s.SetUtime(10)
	s.SetStime(11)
	var b [SiginfoSize]byte
	s.PutBytes(b[:])
	for at, want := range map[int]byte{0: SIGCHLD, 4: 1, 8: CLD_EXITED, 16: 7, 20: 8, 24: 9, 32: 10, 40: 11} {
		if b[at] != want {
			t.Errorf("byte %d is %d, want %d", at, b[at], want)
		}
	}
	var back Siginfo
	back.SetBytes(b[:])
	if back != s {
		t.Errorf("read back: %v, want %v", back, s)
	}
	s = Siginfo{}
	s.SetSyscall(0x1234, 5, 0xc000003e)
	if s.Addr() != 0x1234 || s.Syscall() != 5 || s.Arch() != 0xc000003e {
		t.Errorf("SIGSYS: %#x %d %#x", s.Addr(), s.Syscall(), s.Arch())
	}
}

func TestSigset(t *testing.T) {
	for _, sig := range []int{-1, 0, NSIG, 1 << 30} {
		if SigBit(sig) != 0 {
			t.Errorf("SigBit(%d) = %#x", sig, SigBit(sig))
		}
	}
	if SigBit(64) != 1<<63 || !Unblockable.Has(SIGKILL) || !Unblockable.Has(SIGSTOP) || Unblockable.Has(SIGTERM) {
		t.Error("sets are wrong")
	}
}
