package vdso

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/arch/x86/x86asm"
	"golang.org/x/sys/unix"

	"goum/arch/abi"
	"goum/arch/vdso/internal/ccall"
	"goum/arch/x86"
)

// mapped is the time page and the image, as a guest has them.
type mapped struct {
	page  *TimePage
	image uintptr
	syms  map[string]uintptr
}

func mapImage(t testing.TB) *mapped {
	t.Helper()
	mem, err := unix.Mmap(-1, 0, 2*PageSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Munmap(mem) })
	image := Image()
	copy(mem[PageSize:], image)
	if err := unix.Mprotect(mem[PageSize:], unix.PROT_READ|unix.PROT_EXEC); err != nil {
		t.Fatal(err)
	}
	m := &mapped{page: (*TimePage)(unsafe.Pointer(&mem[0])), image: uintptr(unsafe.Pointer(&mem[PageSize])), syms: map[string]uintptr{}}
	f, err := elf.NewFile(bytes.NewReader(image))
	if err != nil {
		t.Fatal(err)
	}
	syms, err := f.DynamicSymbols()
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range syms {
		m.syms[s.Name] = m.image + uintptr(s.Value)
	}
	return m
}

func (m *mapped) call(t testing.TB, name string, args ...uintptr) uintptr {
	fn, ok := m.syms[name]
	if !ok {
		t.Fatalf("no symbol %s", name)
	}
	var a [3]uintptr
	copy(a[:], args)
	return ccall.Call(fn, a[0], a[1], a[2])
}

func (m *mapped) gettime(t testing.TB, id int) (ts abi.Timespec, ret int) {
	ret = int(int32(m.call(t, "__vdso_clock_gettime", uintptr(id), uintptr(unsafe.Pointer(&ts)))))
	return ts, ret
}

// start sets the page so that time runs at a speed that only the page can know: 1 ns a tick, a second from now on.
func (m *mapped) start() {
	m.page.Start(Slot{TSC: x86.TSC(), Mult: 1 << Shift, Ns: 1e9})
	m.page.SetRealOffset(1e18)
	m.page.BootOffset = 5e9
	m.page.SetTAIOffset(37e9)
	m.page.SetTimezone(-60, 1)
}

func TestClocks(t *testing.T) {
	m := mapImage(t)
	m.start()
	for id, offset := range map[int]int64{
		abi.CLOCK_REALTIME: 1e18, abi.CLOCK_REALTIME_COARSE: 1e18, abi.CLOCK_TAI: 1e18 + 37e9,
		abi.CLOCK_MONOTONIC: 0, abi.CLOCK_MONOTONIC_COARSE: 0, abi.CLOCK_MONOTONIC_RAW: 0, abi.CLOCK_BOOTTIME: 5e9,
	} {
		before, _ := m.page.Monotonic()
		ts, ret := m.gettime(t, id)
		after, _ := m.page.Monotonic()
		if got := ts.Ns() - offset; ret != 0 || !ts.Valid() || got < before || got > after {
			t.Errorf("clock %d: %v (%d), less its offset %d: not in %d to %d", id, ts, ret, got, before, after)
		}
		var res abi.Timespec
		want := int64(1)
		if id == abi.CLOCK_REALTIME_COARSE || id == abi.CLOCK_MONOTONIC_COARSE {
			want = CoarseRes
		}
		if r := m.call(t, "__vdso_clock_getres", uintptr(id), uintptr(unsafe.Pointer(&res))); r != 0 || res.Ns() != want {
			t.Errorf("clock_getres(%d): %d, %v", id, int32(r), res)
		}
		if r := m.call(t, "clock_getres", uintptr(id), 0); r != 0 {
			t.Errorf("clock_getres(%d, NULL): %d", id, int32(r))
		}
	}
}

func TestGettimeofdayAndTime(t *testing.T) {
	m := mapImage(t)
	m.start()
	var tv abi.Timeval
	var tz abi.Timezone
	before, _ := m.page.Monotonic()
	m.call(t, "__vdso_gettimeofday", uintptr(unsafe.Pointer(&tv)), uintptr(unsafe.Pointer(&tz)))
	after, _ := m.page.Monotonic()
	if got := tv.Ns() - 1e18; !tv.Valid() || got < before/1000*1000 || got > after {
		t.Errorf("gettimeofday: %v", tv)
	}
	if tz != (abi.Timezone{MinutesWest: -60, DSTTime: 1}) {
		t.Errorf("timezone %v", tz)
	}
	if r := m.call(t, "gettimeofday", 0, 0); r != 0 {
		t.Errorf("gettimeofday(NULL, NULL) = %d", r)
	}
	var sec int64
	if r := m.call(t, "__vdso_time", uintptr(unsafe.Pointer(&sec))); int64(r) != sec || sec < 1e9 || sec > 1e9+100 {
		t.Errorf("time: %d, %d", r, sec)
	}
	if r := m.call(t, "time", 0); int64(r) < sec {
		t.Errorf("time(NULL) = %d", r)
	}
}

func TestGetcpu(t *testing.T) {
	m := mapImage(t)
	m.page.SetOneCPU(true)
	cpu, node := uint32(9), uint32(9)
	if r := m.call(t, "__vdso_getcpu", uintptr(unsafe.Pointer(&cpu)), uintptr(unsafe.Pointer(&node))); r != 0 || cpu != 0 || node != 0 {
		t.Errorf("one processor: %d, %d %d", r, cpu, node)
	}
	if r := m.call(t, "getcpu", 0, 0); r != 0 {
		t.Errorf("getcpu(NULL, NULL) = %d", r)
	}
	m.page.SetOneCPU(false)
	cpu = 1 << 30
	if r := m.call(t, "__vdso_getcpu", uintptr(unsafe.Pointer(&cpu)), 0); r != 0 || cpu == 1<<30 {
		t.Errorf("system call: %d, %d", r, cpu)
	}
}

// TestFallback checks that what the page does not answer becomes a system call, with its arguments and its result.
func TestFallback(t *testing.T) {
	m := mapImage(t)
	real := func(id int) int64 {
		var ts unix.Timespec
		if err := unix.ClockGettime(int32(id), &ts); err != nil {
			t.Fatal(err)
		}
		return ts.Nano()
	}
	check := func(id int) {
		t.Helper()
		before := real(id)
		ts, ret := m.gettime(t, id)
		if after := real(id); ret != 0 || ts.Ns() < before || ts.Ns() > after {
			t.Errorf("clock %d: %v (%d), want %d to %d", id, ts, ret, before, after)
		}
	}
	check(abi.CLOCK_MONOTONIC) // the page is not in use yet
	check(abi.CLOCK_REALTIME)
	var tv abi.Timeval
	var sec int64
	m.call(t, "__vdso_gettimeofday", uintptr(unsafe.Pointer(&tv)), 0)
	m.call(t, "__vdso_time", uintptr(unsafe.Pointer(&sec)))
	if now := time.Now().Unix(); tv.Sec < now-5 || tv.Sec > now || sec < now-5 || sec > now {
		t.Errorf("gettimeofday %v, time %d, want %d", tv, sec, now)
	}

	m.start()
	check(abi.CLOCK_PROCESS_CPUTIME_ID)
	m.page.Stop()
	check(abi.CLOCK_MONOTONIC)
	ids := []int{-1, abi.CLOCK_REALTIME_ALARM, 10, 12, 33, 1000} // 8 and 10 are numbered among those that are answered
	for _, id := range ids {
		want := unix.ClockGettime(int32(id), new(unix.Timespec))
		if _, ret := m.gettime(t, id); ret != 0 && unix.Errno(-ret) != want || ret == 0 && want != nil {
			t.Errorf("clock %d: %d, natively %v", id, ret, want)
		}
	}
}

// TestLines checks which of two lines a reader takes, in Go and in the image.
func TestLines(t *testing.T) {
	m := mapImage(t)
	now := x86.TSC()
	m.page.Start(Slot{TSC: now, Mult: 1 << Shift, Ns: 1e9})
	m.page.Publish(Slot{TSC: now + 1<<50, Mult: 1 << Shift, Ns: 2e9}) // a fortnight off at 1 GHz
	if ts, _ := m.gettime(t, abi.CLOCK_MONOTONIC); ts.Sec != 1 {
		t.Errorf("%v: the line that begins later is in use", ts)
	}
	if got := m.page.At(now + 1<<50 - 1); got != 1e9+1<<50-1 {
		t.Errorf("before: %d", got)
	}
	if got := m.page.At(now + 1<<50 + 5); got != 2e9+5 {
		t.Errorf("after: %d", got)
	}
	m.page.Publish(Slot{TSC: now + 1, Mult: 1 << Shift, Ns: 3e9})
	if ts, _ := m.gettime(t, abi.CLOCK_MONOTONIC); ts.Sec != 3 {
		t.Errorf("%v: the line that has begun is not in use", ts)
	}
	// A counter that is behind both stands still.
	m.page.Start(Slot{TSC: now + 1<<60, Mult: 1 << Shift, Ns: 4e9})
	if ts, _ := m.gettime(t, abi.CLOCK_MONOTONIC); ts.Ns() != 4e9 || m.page.At(now) != 4e9 {
		t.Errorf("%v: before all lines", ts)
	}
	// A long time and a fine multiplier do not overflow.
	m.page.Start(Slot{TSC: 0, Mult: 1<<Shift | 1, Ns: 0})
	if got, want := m.page.At(1<<62), int64(1<<62+1<<14); got != want {
		t.Errorf("%d, want %d", got, want)
	}
}

// TestHammerLines publishes bending lines while readers look: none sees time go back, whether it asks the image or the page.
func TestHammerLines(t *testing.T) {
	m := mapImage(t)
	m.page.Start(Slot{TSC: x86.TSC(), Mult: 1 << Shift, Ns: 1e9})
	var stop atomic.Bool
	done := make(chan int64)
	go func() {
		var worst, last int64
		for !stop.Load() {
			ts, _ := m.gettime(t, abi.CLOCK_MONOTONIC)
			a := ts.Ns()
			b, _ := m.page.Monotonic()
			worst = max(worst, last-a, a-b)
			last = b
		}
		done <- worst
	}()
	for i := range 300 {
		at := x86.TSC() + 1<<17
		for x86.TSC() < at-1<<16 { // the newest line has begun by then
		}
		mult := uint64(1<<Shift) + uint64(i%2)<<(Shift-4)
		before := x86.TSC()
		m.page.Publish(Slot{TSC: at, Mult: mult, Ns: m.page.At(at)})
		if x86.TSC() > at || before > at {
			t.Log("held up while publishing: no verdict")
			stop.Store(true)
			<-done
			return
		}
		for x86.TSC() < at {
		}
	}
	stop.Store(true)
	if worst := <-done; worst > 0 {
		t.Errorf("time went back by %d ns", worst)
	}
}

// TestCode disassembles every function: nothing in it may leave it, but for RET, SYSCALL and the time page.
func TestCode(t *testing.T) {
	for i, code := range code() {
		var calls, returns int
		for at := 0; at < len(code); {
			inst, err := x86asm.Decode(code[at:], 64)
			if err != nil {
				t.Fatalf("%s+%#x: %v", functions[i], at, err)
			}
			at += inst.Len
			for _, arg := range inst.Args {
				if rel, ok := arg.(x86asm.Rel); ok && (at+int(rel) < 0 || at+int(rel) >= len(code)) {
					t.Errorf("%s: %v leaves the function", functions[i], inst)
				}
				if mem, ok := arg.(x86asm.Mem); ok && (mem.Base == x86asm.RIP && (inst.Op != x86asm.LEA || mem.Disp != 0) || mem.Base == x86asm.RSP) {
					t.Errorf("%s: %v", functions[i], inst)
				}
			}
			switch inst.Op {
			case x86asm.SYSCALL:
				calls++
			case x86asm.RET:
				returns++
			case x86asm.CALL, x86asm.PUSH, x86asm.POP:
				t.Errorf("%s: %v", functions[i], inst)
			}
		}
		if calls != 1 || returns < 2 {
			t.Errorf("%s: %d system calls, %d returns", functions[i], calls, returns)
		}
	}
}

func TestELF(t *testing.T) {
	f, err := elf.NewFile(bytes.NewReader(Image()))
	if err != nil {
		t.Fatal(err)
	}
	syms, err := f.DynamicSymbols()
	if err != nil || len(syms) != 10 {
		t.Fatalf("%d symbols, %v", len(syms), err)
	}
	for _, s := range syms {
		if s.Version != Version || elf.ST_TYPE(s.Info) != elf.STT_FUNC || f.Sections[s.Section].Name != ".text" {
			t.Errorf("%+v", s)
		}
	}
	if name, err := f.DynString(elf.DT_SONAME); err != nil || len(name) != 1 || name[0] != Soname {
		t.Errorf("soname %v, %v", name, err)
	}
	if len(f.Progs) != 2 || f.Progs[0].Type != elf.PT_LOAD || f.Progs[1].Type != elf.PT_DYNAMIC || len(Image()) != PageSize {
		t.Errorf("programs %v", f.Progs)
	}
}

// TestLookups finds every symbol the three ways that C libraries and the Go runtime do: both hash tables, and the version.
func TestLookups(t *testing.T) {
	image := Image()
	u32 := func(at uint64) uint32 { return binary.LittleEndian.Uint32(image[at:]) }
	f, err := elf.NewFile(bytes.NewReader(image))
	if err != nil {
		t.Fatal(err)
	}
	tag := func(tag elf.DynTag) uint64 {
		v, err := f.DynValue(tag)
		if err != nil || len(v) != 1 {
			t.Fatalf("%v: %v, %v", tag, v, err)
		}
		return v[0]
	}
	name := func(at uint64) string {
		at += tag(elf.DT_STRTAB)
		return string(image[at : at+uint64(bytes.IndexByte(image[at:], 0))])
	}
	symName := func(i uint32) string { return name(uint64(u32(tag(elf.DT_SYMTAB) + 24*uint64(i)))) }

	// The version: the hash is the constant in Go's runtime/vdso_linux_amd64.go.
	def := tag(elf.DT_VERDEF)
	next := def + uint64(u32(def+16))
	if u32(next+8) != 0x3ae75f6 || name(uint64(u32(next+uint64(u32(next+12))))) != Version || binary.LittleEndian.Uint16(image[next+2:])&1 != 0 {
		t.Errorf("version: hash %#x", u32(next+8))
	}
	index := binary.LittleEndian.Uint16(image[next+4:])

	syms, _ := f.DynamicSymbols()
	for _, s := range syms {
		// DT_HASH: one bucket or more, chains of symbols.
		h := tag(elf.DT_HASH)
		found := uint32(0)
		for i := u32(h + 8); i != 0; i = u32(h + 8 + 4*uint64(u32(h)) + 4*uint64(i)) {
			if symName(i) == s.Name {
				found = i
			}
		}
		// DT_GNU_HASH.
		hash := uint32(5381)
		for _, c := range []byte(s.Name) {
			hash = hash*33 + uint32(c)
		}
		g := tag(elf.DT_GNU_HASH)
		buckets, first, words := u32(g), u32(g+4), u32(g+8)
		bucketsAt := g + 16 + 8*uint64(words)
		gnu := uint32(0)
		for i := u32(bucketsAt + 4*uint64(hash%buckets)); ; i++ {
			chain := u32(bucketsAt + 4*uint64(buckets) + 4*uint64(i-first))
			if chain|1 == hash|1 && symName(i) == s.Name {
				gnu = i
			}
			if chain&1 != 0 {
				break
			}
		}
		if found == 0 || found != gnu || binary.LittleEndian.Uint16(image[tag(elf.DT_VERSYM)+2*uint64(found):]) != index {
			t.Errorf("%s: %d by DT_HASH, %d by DT_GNU_HASH", s.Name, found, gnu)
		}
	}
}

// TestDynamicLinker has glibc load the image as a shared object, and call a function by name and version.
func TestDynamicLinker(t *testing.T) {
	dir := t.TempDir()
	prog, so := filepath.Join(dir, "prog"), filepath.Join(dir, "vdso.so")
	if out, err := exec.Command("gcc", "-o", prog, "testdata/load.c", "-ldl").CombinedOutput(); err != nil {
		t.Skipf("no C compiler here: %v, %s", err, out)
	}
	if err := os.WriteFile(so, Image(), 0o755); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(prog, so).CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

func TestMonotonicAllocs(t *testing.T) {
	p := new(TimePage)
	p.Start(Slot{TSC: x86.TSC(), Mult: 1 << Shift})
	if n := testing.AllocsPerRun(100, func() { p.Monotonic() }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkClockGettime(b *testing.B) {
	m := mapImage(b)
	m.start()
	for b.Loop() {
		m.gettime(b, abi.CLOCK_MONOTONIC)
	}
}
