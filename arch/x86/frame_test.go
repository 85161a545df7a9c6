package x86

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"unsafe"

	"goum/arch/abi"
)

// hostProgram is testdata/frame.c, compiled: what it shows is what Linux does.
var hostProgram = sync.OnceValues(func() (string, error) {
	out := filepath.Join(os.TempDir(), fmt.Sprintf("goum-x86-frame-%d", os.Getpid()))
	compiled = out
	return out, exec.Command("gcc", "-O1", "-o", out, "testdata/frame.c").Run()
})

var compiled string // to be removed in the end

func TestMain(m *testing.M) {
	status := m.Run()
	if compiled != "" {
		os.Remove(compiled)
	}
	os.Exit(status)
}

func host1(t *testing.T, args ...string) ([]byte, error) {
	t.Helper()
	prog, err := hostProgram()
	if err != nil {
		t.Skip("no C compiler here: ", err)
	}
	return exec.Command(prog, args...).Output()
}

// TestFrameAsHost takes a signal frame of the host apart and builds it again from the parts: not a byte may differ.
func TestFrameAsHost(t *testing.T) {
	out, err := host1(t, "dump")
	if err != nil || len(out) < 16+FrameSize {
		t.Fatalf("dump: %v, %d bytes", err, len(out))
	}
	sp, end := binary.LittleEndian.Uint64(out), binary.LittleEndian.Uint64(out[8:])
	host := out[16:]

	var r Regs
	r.set(host[offMContext:])
	if r.CSGSFS != segments {
		t.Errorf("segments %#x, want %#x", r.CSGSFS, uint64(segments))
	}
	kept := r
	var parsed Regs
	parsed.EFlags, parsed.TrapNo, parsed.Err, parsed.CR2, parsed.OldMask = kept.EFlags, kept.TrapNo, kept.Err, kept.CR2, kept.OldMask
	got, e := ParseFrame(&parsed, host)
	if e != 0 || parsed != kept {
		t.Errorf("ParseFrame: %v, %+v, want %+v", e, parsed, kept)
	}
	if got.Stack.Size != 65536 {
		t.Errorf("stack %+v", got.Stack)
	}
	frame, fp, e2 := FrameLayout(got.Stack.SP+got.Stack.Size, XStateSize())
	if frame != sp || fp != got.FPAddr || e2 != end {
		t.Fatalf("FrameLayout: %#x %#x %#x, want %#x %#x %#x", frame, fp, e2, sp, got.FPAddr, end)
	}
	if int(end-frame) > MaxFrame() {
		t.Errorf("a frame of %d bytes, MaxFrame is %d", end-frame, MaxFrame())
	}

	image := make([]byte, XStateSize())
	if e := RestoreXState(image, host[fp-frame:]); e != 0 {
		t.Fatalf("RestoreXState: %v", e)
	}
	var info abi.Siginfo
	info.SetBytes(host[offInfo:])
	if info.Signo != abi.SIGUSR1 || info.Code != abi.SI_USER || info.PID() == 0 {
		t.Errorf("siginfo %+v", info)
	}
	ours := make([]byte, end-frame)
	build := &Frame{Regs: &r, XState: image, Info: &info, Stack: got.Stack, Mask: got.Mask,
		Restorer: binary.LittleEndian.Uint64(host)}
	BuildFrame(ours, frame, fp, end, build)
	for i := range ours {
		if ours[i] != host[i] {
			t.Errorf("byte %#x (of the state: %#x) is %#x, want %#x", i, i-int(fp-frame), ours[i], host[i])
		}
	}
	if n := testing.AllocsPerRun(10, func() { BuildFrame(ours, frame, fp, end, build) }); n != 0 {
		t.Errorf("BuildFrame allocates %v times", n)
	}
	if n := testing.AllocsPerRun(10, func() { ParseFrame(&parsed, ours); RestoreXState(image, ours[fp-frame:]) }); n != 0 {
		t.Errorf("ParseFrame and RestoreXState allocate %v times", n)
	}
}

// TestReturnAsHost changes the state in a frame and compares what rt_sigreturn does natively with what RestoreXState says.
func TestReturnAsHost(t *testing.T) {
	out, err := host1(t, "dump")
	if err != nil {
		t.Fatal(err)
	}
	sp, end := binary.LittleEndian.Uint64(out), binary.LittleEndian.Uint64(out[8:])
	fpAt := int(end-sp) - XFrameSize()
	area := out[16+fpAt:]

	for name, c := range map[string]struct{ patch []string }{
		"nothing":               {nil},
		"rounding mode":         {[]string{"25", "0x3f"}},
		"MXCSR reserved":        {[]string{"27", "0x01"}},
		"x87 control word":      {[]string{"1", "0x0f"}},
		"an XMM register":       {[]string{"272", "0x5a"}}, // XMM7
		"SSE not in use":        {[]string{"512", "0x05", "25", "0x3f"}},
		"x87 not in use":        {[]string{"512", "0x02", "1", "0x0f"}},
		"SSE not to be loaded":  {[]string{"472", "0x01", "25", "0x3f"}},
		"AVX alone":             {[]string{"472", "0x04", "512", "0x04", "25", "0x3f"}},
		"not enabled":           {[]string{"519", "0x40"}},
		"not enabled, fx only":  {[]string{"519", "0x40", "464", "0"}},
		"not enabled, no magic": {[]string{"519", "0x40", "m", "0"}},
		"reserved header":       {[]string{"535", "1"}},
		"ignored header":        {[]string{"536", "1"}},
		"compact bit only":      {[]string{"520", "1"}},
		"fx only":               {[]string{"464", "0", "272", "0x5a"}},
		"fx only, bad MXCSR":    {[]string{"464", "0", "27", "1"}},
		"no second magic":       {[]string{"m", "0", "272", "0x5a"}},
		"size ignored":          {[]string{"480", "1", "481", "0"}},
		"unknown to load":       {[]string{"479", "0x40"}},
	} {
		t.Run(name, func(t *testing.T) {
			state, err := host1(t, append([]string{"patch"}, c.patch...)...)
			src := bytes.Clone(area)
			for i := 0; i < len(c.patch); i += 2 {
				at := len(src) - 4
				if c.patch[i] != "m" {
					at = number(t, c.patch[i])
				}
				src[at] = byte(number(t, c.patch[i+1]))
			}
			image := make([]byte, XStateSize())
			e := RestoreXState(image, src)
			if (err != nil) != (e != 0) {
				t.Fatalf("RestoreXState: %v, natively: %v", e, err)
			}
			if e != 0 {
				return
			}
			// As BuildFrame shows it: parts not in use have their initial values.
			ours := make([]byte, XFrameSize())
			putXState(ours, image)
			same := func(what string, from, to int) {
				if !bytes.Equal(ours[from:to], state[from:to]) {
					t.Errorf("%s: % x, natively % x", what, ours[from:to], state[from:to])
				}
			}
			same("control word", 0, 2)
			same("MXCSR", offMXCSR, offMXCSR+4)
			same("XMM", offXMM, offPad)
		})
	}
}

func number(t *testing.T, s string) (n int) {
	base := 10
	if digits, hex := strings.CutPrefix(s, "0x"); hex {
		s, base = digits, 16
	}
	for _, c := range s {
		n = n*base + strings.IndexRune("0123456789abcdef", c)
	}
	return n
}

func TestRestoreXStateShort(t *testing.T) {
	image := make([]byte, XStateSize())
	start := make([]byte, XStateSize())
	InitXState(start)
	whole := make([]byte, XFrameSize())
	putXState(whole, start)
	for n := range whole {
		src := whole[:n]
		if e := RestoreXState(image, src); e != abi.EFAULT || !bytes.Equal(image, start) {
			t.Fatalf("%d bytes: %v", n, e)
		}
		if n >= legacySize { // without the first magic number, the rest is not looked at
			src = bytes.Clone(src)
			src[swMagic1] = 0
			if e := RestoreXState(image, src); e != 0 {
				t.Fatalf("%d bytes, fx only: %v", n, e)
			}
		}
	}
	if e := RestoreXState(image, whole); e != 0 || binary.LittleEndian.Uint32(image[offMXCSR:]) != initMXCSR {
		t.Errorf("all bytes: %v", e)
	}
}

func TestFrameLayoutWraps(t *testing.T) {
	for _, sp := range []uint64{0, 1, 100, 4096, 1 << 63, ^uint64(0)} {
		frame, fp, end := FrameLayout(sp, XStateSize())
		if end-frame > uint64(MaxFrame()) || fp-frame < FrameSize || end-fp != uint64(XFrameSize()) {
			t.Errorf("FrameLayout(%#x) = %#x, %#x, %#x", sp, frame, fp, end)
		}
		if frame%16 != 8 || fp%64 != 0 {
			t.Errorf("FrameLayout(%#x): %#x, %#x are not aligned", sp, frame, fp)
		}
	}
}

func TestParseFrameSanitises(t *testing.T) {
	buf := bytes.Repeat([]byte{0xff}, ReturnSize)
	r := Regs{EFlags: FlagFixed | FlagIF | FlagID, FSBase: 5, TrapNo: 6, CR2: 7}
	got, e := ParseFrame(&r, buf)
	if e != 0 {
		t.Fatal(e)
	}
	if want := uint64(sigretMask | FlagFixed | FlagIF | FlagID); r.EFlags != want {
		t.Errorf("flags %#x, want %#x", r.EFlags, want)
	}
	if r.CSGSFS != segments || r.FSBase != 5 || r.TrapNo != 6 || r.CR2 != 7 || got.Mask != ^abi.Unblockable {
		t.Errorf("%+v, %+v", r, got)
	}
	if !r.Resumable() { // -1 is canonical, if not the program's
		t.Error("an address of the kernel's half is canonical")
	}
	if (&Regs{RIP: 1 << 47}).Resumable() {
		t.Error("1<<47 is not canonical")
	}
	was := r
	if _, e := ParseFrame(&r, buf[:ReturnSize-1]); e != abi.EFAULT || r != was {
		t.Errorf("short: %v", e)
	}
}

func TestEnterHandler(t *testing.T) {
	r := Regs{EFlags: FlagDF | FlagTF | FlagRF | FlagZF | FlagIF | FlagFixed, RAX: 1}
	r.EnterHandler(0x1008, abi.SIGUSR1, 0x4000)
	want := Regs{RDI: abi.SIGUSR1, RSI: 0x1008 + offInfo, RDX: 0x1010, RSP: 0x1008, RIP: 0x4000,
		EFlags: FlagZF | FlagIF | FlagFixed, CSGSFS: segments}
	if r != want {
		t.Errorf("%+v, want %+v", r, want)
	}
}

func TestRegs(t *testing.T) {
	if unsafe.Offsetof(Regs{}.FSBase) != SigcontextSize || unsafe.Offsetof(Regs{}.RIP) != 16*8 || unsafe.Sizeof(UserRegs{}) != 27*8 {
		t.Error("a layout is wrong")
	}
	for i := range new(Regs).words() {
		r := Regs{}
		*r.words()[i] = 1
		var b [SigcontextSize]byte
		r.put(b[:])
		if *(*[SigcontextSize]byte)(unsafe.Pointer(&r)) != b {
			t.Errorf("word %d is in another place of the struct", i)
		}
	}
	r := Regs{RAX: 0xffffffff00000001, RDI: 1, RSI: 2, RDX: 3, R10: 4, R8: 5, R9: 6}
	if r.Call() != 1 || r.Args() != [6]uint64{1, 2, 3, 4, 5, 6} {
		t.Errorf("call %d %v", r.Call(), r.Args())
	}
	r.SetResult(9, 0)
	if r.RAX != 9 {
		t.Error("result")
	}
	r.SetResult(9, abi.ENOENT)
	if int64(r.RAX) != -2 {
		t.Error("errno")
	}
	u := r.User(^uint64(0))
	u.EFlags, u.CS, u.RIP = ^uint64(0), 0x23, 77
	orig, e := r.SetUser(&u)
	if e != 0 || orig != ^uint64(0) || r.RIP != 77 || r.CSGSFS != segments || r.EFlags != ptraceMask|FlagFixed|FlagIF {
		t.Errorf("SetUser: %v, %+v", e, r)
	}
	for name, change := range map[string]func(*UserRegs){
		"fs_base": func(u *UserRegs) { u.FSBase = UserLimit },
		"gs_base": func(u *UserRegs) { u.GSBase = UserLimit },
		"cs":      func(u *UserRegs) { u.CS = 0 },
		"ss":      func(u *UserRegs) { u.SS = 0x10 },
		"ds":      func(u *UserRegs) { u.DS = 0x10 },
	} {
		u := r.User(0)
		change(&u)
		was := r
		if _, e := r.SetUser(&u); e != abi.EIO || r != was {
			t.Errorf("SetUser with a bad %s: %v", name, e)
		}
	}
}

func TestCPU(t *testing.T) {
	if got, want := HWCap(), hostAux(16); got != want {
		t.Logf("AT_HWCAP %#x, the host's %#x: the host hides something", got, want)
	}
	if got, want := HWCap2(), hostAux(26)&2; got != want {
		t.Errorf("AT_HWCAP2 %#x, want %#x", got, want)
	}
	// The host's has room for a 32-bit program's header, and for AMX.
	if got, want := MinSigStack(), hostAux(51); got > want || got < 1000 {
		t.Errorf("AT_MINSIGSTKSZ %d, the host's %d", got, want)
	}
	a, b := TSC(), TSC()
	if b < a {
		t.Errorf("TSC: %d, then %d", a, b)
	}
}

func FuzzRestoreXState(f *testing.F) {
	start := make([]byte, XStateSize())
	InitXState(start)
	whole := make([]byte, XFrameSize())
	putXState(whole, start)
	f.Add(whole)
	f.Add(whole[:512])
	f.Fuzz(func(t *testing.T, src []byte) {
		image := make([]byte, XStateSize())
		e := RestoreXState(image, src)
		if binary.LittleEndian.Uint32(image[offMXCSR:])&^MXCSRMask() != 0 || !allZero(image[offXComp:legacySize+headerSize]) ||
			binary.LittleEndian.Uint64(image[offBV:])&^XFeatures() != 0 {
			t.Errorf("%v: an image that faults", e)
		}
		var r Regs
		ParseFrame(&r, src)
	})
}
