package conform

import (
	"embed"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"goum/kernel/kerneltest"
)

//go:embed testdata/*.golden
var goldens embed.FS

var update = flag.Bool("update", false, "write what this host answers to the golden files")

// A rec records what the cases of one family gave.
type rec struct {
	t     *testing.T
	dir   string // an empty directory, the working directory
	names []string
	got   map[string]string
	keep  []any // what the system was given the address of
}

// family runs the cases of f here and in a guest, and compares what they gave with testdata/name.golden.
func family(t *testing.T, name string, f func(*rec)) {
	kerneltest.AlsoInGuest(t)
	// A collection's signals would end sleeps early.
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	r := &rec{t: t, dir: scratch(t), got: map[string]string{}}
	t.Chdir(r.dir)
	defer unix.Umask(unix.Umask(0o022))
	f(r)
	path := filepath.Join("testdata", name+".golden")
	if *update && !kerneltest.InGuest() {
		var b strings.Builder
		for _, n := range r.names {
			fmt.Fprintf(&b, "%s = %s\n", n, r.got[n])
		}
		_, file, _, _ := runtime.Caller(0)
		if err := os.WriteFile(filepath.Join(filepath.Dir(file), path), []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		t.Skip("golden file written")
	}
	data, err := goldens.ReadFile(path)
	if err != nil {
		t.Fatalf("%v: run with -update as root first", err)
	}
	seen := 0
	for line := range strings.Lines(string(data)) {
		n, want, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " = ")
		got, ok := r.got[n]
		switch {
		case !ok && os.Getuid() == 0:
			t.Errorf("%s: not run", n)
		case ok && got != want:
			t.Errorf("%s: %s, want %s", n, got, want)
		}
		if ok {
			seen++
		}
	}
	if seen != len(r.names) {
		t.Errorf("%d cases, %d of them in %s: run with -update as root", len(r.names), seen, path)
	}
	t.Logf("%d cases", seen)
}

// TestMain leaves process 1 of a guest to a parent that only waits: much is different for that one, and for its children.
func TestMain(m *testing.M) {
	if !kerneltest.InGuest() || os.Getpid() != 1 {
		os.Exit(m.Run())
	}
	c := exec.Command("/proc/self/exe", os.Args[1:]...)
	c.Stdin, c.Stdout, c.Stderr = os.Stdin, os.Stdout, os.Stderr
	if err := c.Run(); c.ProcessState == nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(c.ProcessState.ExitCode())
}

// scratch is an empty directory on a tmpfs, where the host has one: that is what the guest has.
func scratch(t *testing.T) string {
	dir, err := os.MkdirTemp("/dev/shm", "conform")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// root says whether cases that need root may run.
func root() bool { return os.Getuid() == 0 }

// put records what a case gave.
func (r *rec) put(name, format string, args ...any) {
	r.t.Helper()
	name = strings.ReplaceAll(name, " = ", "=")
	if _, ok := r.got[name]; ok {
		r.t.Fatalf("two cases named %q", name)
	}
	r.names = append(r.names, name)
	r.got[name] = strings.ReplaceAll(fmt.Sprintf(format, args...), "\n", `\n`)
}

// addr gives the address that stands for an argument: a number for itself, a string as a C string, bytes as they lie there, and a
// pointer as it is.
func (r *rec) addr(a any) uintptr {
	switch v := a.(type) {
	case int:
		return uintptr(v)
	case int32:
		return uintptr(v)
	case uint32:
		return uintptr(v)
	case int64:
		return uintptr(v)
	case uint64:
		return uintptr(v)
	case uintptr:
		return v
	case unix.Signal:
		return uintptr(v)
	case unsafe.Pointer:
		return uintptr(v)
	case nil:
		return 0
	case string:
		b := append([]byte(v), 0)
		r.keep = append(r.keep, b)
		return uintptr(unsafe.Pointer(&b[0]))
	case []byte:
		if len(v) == 0 {
			return 0
		}
		r.keep = append(r.keep, v)
		return uintptr(unsafe.Pointer(&v[0]))
	case []unix.Iovec:
		r.keep = append(r.keep, v)
		return uintptr(unsafe.Pointer(&v[0]))
	}
	r.t.Fatalf("cannot pass a %T", a)
	return 0
}

// at is the address of a variable, which it forces onto the heap, where it stays.
func at[T any](r *rec, v *T) uintptr {
	r.keep = append(r.keep, v)
	return uintptr(unsafe.Pointer(v))
}

func (r *rec) raw(nr int, args ...any) (uintptr, unix.Errno) {
	var a [6]uintptr
	for i, v := range args {
		a[i] = r.addr(v)
	}
	v, _, e := unix.Syscall6(uintptr(nr), a[0], a[1], a[2], a[3], a[4], a[5])
	return v, e
}

// show is a result as the golden files have it.
func show(v uintptr, e unix.Errno) string {
	if e == 0 {
		return fmt.Sprint(int(v))
	}
	if n := unix.ErrnoName(e); n != "" {
		return n
	}
	return fmt.Sprintf("errno %d", int(e))
}

// call makes a system call and records its result.
func (r *rec) call(name string, nr int, args ...any) int {
	r.t.Helper()
	v, e := r.raw(nr, args...)
	r.put(name, "%s", show(v, e))
	if e != 0 {
		return -1
	}
	return int(v)
}

// fd makes a system call that opens something; the number is not recorded.
func (r *rec) fd(name string, nr int, args ...any) int {
	r.t.Helper()
	v, e := r.raw(nr, args...)
	if e != 0 {
		r.put(name, "%s", show(v, e))
		return -1
	}
	r.put(name, "opened")
	return int(v)
}

// must makes a system call of the preparations.
func (r *rec) must(nr int, args ...any) int {
	r.t.Helper()
	v, e := r.raw(nr, args...)
	if e != 0 {
		r.t.Fatalf("call %d(%v): %v", nr, args, e)
	}
	return int(v)
}

// open opens a file of the working directory.
func (r *rec) open(path string, flags int) int {
	r.t.Helper()
	return r.must(unix.SYS_OPENAT, cwd, path, flags, 0o644)
}

func (r *rec) close(fds ...int) {
	for _, fd := range fds {
		unix.Close(fd)
	}
}

// file makes a file of the working directory.
func (r *rec) file(name, content string, mode os.FileMode) {
	r.t.Helper()
	if err := os.WriteFile(name, []byte(content), mode); err != nil {
		r.t.Fatal(err)
	}
}

const (
	cwd = unix.AT_FDCWD
	bad = uintptr(8) // an address where nothing is
)

// pages maps n pages of anonymous memory.
func (r *rec) pages(n int) uintptr {
	r.t.Helper()
	return uintptr(r.must(unix.SYS_MMAP, 0, n*4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS, -1, 0))
}

// edge is the address n bytes below a page that cannot be touched.
func (r *rec) edge(n int) uintptr {
	r.t.Helper()
	p := r.pages(2)
	r.must(unix.SYS_MPROTECT, p+4096, 4096, unix.PROT_NONE)
	return p + 4096 - uintptr(n)
}

func bytesAt(p uintptr, n int) []byte {
	return unsafe.Slice((*byte)(*(*unsafe.Pointer)(unsafe.Pointer(&p))), n)
}

// A step is a system call that a forked child makes.
type step struct {
	name string // "" leaves the result unrecorded
	nr   int
	args []any // as of call, and ref
	fd   bool  // the result is a number that tells nothing
}

// ref is the result of an earlier step, as an argument.
type ref int

func do(name string, nr int, args ...any) step { return step{name: name, nr: nr, args: args} }
func opn(name string, nr int, args ...any) step {
	return step{name: name, nr: nr, args: args, fd: true}
}

type rawStep struct {
	nr   uintptr
	args [6]uintptr
	refs [6]bool
}

const maxSteps = 200

type results [maxSteps]struct{ v, e uintptr }

// fork runs steps in a forked child, records their results and then how the child ended. The child is Go code that neither
// allocates nor takes locks, as there is one thread left of a program with several.
func (r *rec) fork(name string, steps ...step) {
	r.t.Helper()
	pid, done := r.start(steps...)
	var status int32
	if _, e := r.raw(unix.SYS_WAIT4, pid, at(r, &status), 0, 0); e != 0 {
		r.t.Fatal(e)
	}
	done(name)
	r.put(name+": end", "%s", ending(unix.WaitStatus(status)))
}

func ending(s unix.WaitStatus) string {
	switch {
	case s.Exited():
		return fmt.Sprint("exit ", s.ExitStatus())
	case s.Signaled():
		return fmt.Sprint("signal ", int(s.Signal()))
	case s.Stopped():
		return fmt.Sprintf("stopped %#x", int(s)>>8)
	case s.Continued():
		return "continued"
	}
	return fmt.Sprintf("status %#x", int(s))
}

var forking sync.Mutex

// start is fork without the wait: it returns the child, and what records the results once they are there.
func (r *rec) start(steps ...step) (int, func(name string)) {
	r.t.Helper()
	raw := make([]rawStep, len(steps))
	for i, s := range steps {
		raw[i].nr = uintptr(s.nr)
		for j, a := range s.args {
			if n, ok := a.(ref); ok {
				raw[i].args[j], raw[i].refs[j] = uintptr(n), true
			} else {
				raw[i].args[j] = r.addr(a)
			}
		}
	}
	shared := uintptr(r.must(unix.SYS_MMAP, 0, int(unsafe.Sizeof(results{})), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_ANONYMOUS, -1, 0))
	out := (*results)(*(*unsafe.Pointer)(unsafe.Pointer(&shared)))
	for i := range out {
		out[i].e = ^uintptr(0)
	}
	forking.Lock()
	defer forking.Unlock()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	all, none, old := ^uint64(0), uint64(0), uint64(0)
	unix.RawSyscall6(unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK, uintptr(unsafe.Pointer(&all)), uintptr(unsafe.Pointer(&old)), 8, 0, 0)
	pid, e := forked(raw, out, &none)
	unix.RawSyscall6(unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK, uintptr(unsafe.Pointer(&old)), 0, 8, 0, 0)
	if e != 0 {
		r.t.Fatal(e)
	}
	return int(pid), func(name string) {
		for i, s := range steps {
			switch v, e := out[i].v, out[i].e; {
			case s.name == "":
			case e == ^uintptr(0):
				r.put(name+": "+s.name, "not reached")
			case e == 0 && s.fd:
				r.put(name+": "+s.name, "opened")
			default:
				r.put(name+": "+s.name, "%s", show(v, unix.Errno(e)))
			}
		}
		r.must(unix.SYS_MUNMAP, shared, int(unsafe.Sizeof(results{})))
	}
}

// forked forks; signals are blocked, and the child has the default action for each before it unblocks them.
//
//go:noinline
//go:norace
func forked(steps []rawStep, out *results, none *uint64) (uintptr, unix.Errno) {
	var act [4]uintptr // SIG_DFL
	pid, _, e := unix.RawSyscall6(unix.SYS_CLONE, uintptr(unix.SIGCHLD), 0, 0, 0, 0, 0)
	if e != 0 || pid != 0 {
		return pid, e
	}
	for s := uintptr(1); s <= 64; s++ {
		unix.RawSyscall6(unix.SYS_RT_SIGACTION, s, uintptr(unsafe.Pointer(&act)), 0, 8, 0, 0)
	}
	unix.RawSyscall6(unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK, uintptr(unsafe.Pointer(none)), 0, 8, 0, 0)
	for i := range steps {
		s := &steps[i]
		var a [6]uintptr
		for j := range a {
			a[j] = s.args[j]
			if s.refs[j] {
				a[j] = out[a[j]].v
			}
		}
		v, _, e := unix.RawSyscall6(s.nr, a[0], a[1], a[2], a[3], a[4], a[5])
		out[i].v, out[i].e = v, uintptr(e)
	}
	for {
		unix.RawSyscall6(unix.SYS_EXIT_GROUP, 0, 0, 0, 0, 0, 0)
	}
}
