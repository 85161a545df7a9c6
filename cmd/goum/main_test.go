package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"goum/rootfs/cpio"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"
)

// roleVariable names what this test binary plays when a test starts it again.
const roleVariable = "GOUM_TEST_ROLE"

var long = flag.Bool("long", os.Getenv("GOUM_LONG") != "", "run the storm for a minute, not for seconds")

func TestMain(m *testing.M) {
	role, arg, _ := strings.Cut(os.Getenv(roleVariable), ":")
	switch role {
	case "terminal":
		terminalHolder(arg)
	case "without-notification":
		withoutNotification()
	}
	status := m.Run()
	if built.dir != "" {
		os.RemoveAll(built.dir)
	}
	os.Exit(status)
}

// built is what tests need made once.
var built struct {
	dir    string
	goum   sync.Once
	path   string
	err    error
	guests sync.Map // compiler and source -> *compiled
	mkdir  sync.Once
}

type compiled struct {
	once sync.Once
	path string
	err  error
}

func scratch(t *testing.T) string {
	built.mkdir.Do(func() {
		built.dir, built.err = os.MkdirTemp("", "goum-test-")
		if built.err == nil {
			built.err = os.Chmod(built.dir, 0o755)
		}
	})
	if built.err != nil {
		t.Fatal(built.err)
	}
	return built.dir
}

// goum is the binary under test, with the initramfs built in: $GOUM where make has built it, else one built here.
func goum(t *testing.T) string {
	t.Helper()
	built.goum.Do(func() {
		if built.path = os.Getenv("GOUM"); built.path != "" {
			_, built.err = os.Stat(built.path)
			return
		}
		if _, err := os.Stat("../../rootfs/initramfs.cpio"); err != nil {
			built.path = ""
			return
		}
		built.path = filepath.Join(scratch(t), "goum")
		if out, err := exec.Command("go", "build", "-tags", "initramfs", "-o", built.path, ".").CombinedOutput(); err != nil {
			built.err = fmt.Errorf("go build: %w\n%s", err, out)
		}
	})
	if built.err != nil {
		t.Fatal(built.err)
	}
	if built.path == "" {
		t.Skip("there is no initramfs yet: run make first")
	}
	return built.path
}

// result is how a goum ended.
type result struct {
	status         int // 128+n: goum itself died of a signal, which is never right
	stdout, stderr string
	took           time.Duration
}

// boot runs goum boot with args and no terminal, and kills it after the test's patience.
func boot(t *testing.T, stdin string, args ...string) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 4*patience)
	defer cancel()
	c := exec.CommandContext(ctx, goum(t), append([]string{"boot"}, args...)...)
	c.Stdin = strings.NewReader(stdin)
	var stdout, stderr bytes.Buffer
	c.Stdout, c.Stderr = &stdout, &stderr
	start := time.Now()
	err := c.Run()
	r := result{stdout: stdout.String(), stderr: stderr.String(), took: time.Since(start)}
	if c.ProcessState == nil {
		t.Fatal(err)
	}
	if w := c.ProcessState.Sys().(syscall.WaitStatus); w.Signaled() {
		t.Fatalf("goum %q died of %v after %v\n%s%s", args, w.Signal(), r.took, r.stdout, r.stderr)
	}
	r.status = c.ProcessState.ExitCode()
	return r
}

// stats reads what --stats=file wrote.
func stats(t *testing.T, file string) map[string]uint64 {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	m := map[string]uint64{}
	for line := range strings.Lines(string(data)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		if m[name], err = strconv.ParseUint(value, 10, 64); err != nil {
			t.Fatalf("--stats: %q is no name and value", line)
		}
	}
	return m
}

// noFalseAlarm fails if the counters say that a stub was denied anything or killed.
func noFalseAlarm(t *testing.T, file string) map[string]uint64 {
	t.Helper()
	m := stats(t, file)
	for _, name := range []string{"stub_denied", "stub_killed", "watchdog_killed"} {
		if n, ok := m[name]; !ok || n != 0 {
			t.Errorf("--stats: %s is %d (there: %v), want 0", name, n, ok)
		}
	}
	if m["syscalls"] == 0 {
		t.Error("--stats: no system call was counted")
	}
	return m
}

// guestProgram compiles testdata/guest/NAME.c as a static program; cc is gcc or musl-gcc.
func guestProgram(t *testing.T, cc, name string) string {
	t.Helper()
	v, _ := built.guests.LoadOrStore(cc+" "+name, new(compiled))
	p := v.(*compiled)
	p.once.Do(func() {
		p.path = filepath.Join(scratch(t), name+"."+cc)
		out, err := exec.Command(cc, "-O2", "-Wall", "-static", "-pthread", "-o", p.path, "testdata/guest/"+name+".c").CombinedOutput()
		if err != nil {
			p.err = fmt.Errorf("%s %s.c: %w\n%s", cc, name, err, out)
		}
	})
	if p.err != nil {
		t.Fatal(p.err)
	}
	return p.path
}

// image writes an initramfs of the directories that programs expect, the two device nodes that Linux itself needs, and files
// (name in the guest -> file of the host, "-> target" for a link). Its name ends the test's life.
func image(t *testing.T, files map[string]string) string {
	t.Helper()
	var out bytes.Buffer
	w := cpio.NewWriter(&out)
	ino := uint32(0)
	put := func(h cpio.Header, body []byte) {
		t.Helper()
		ino++
		h.Ino, h.NLink = ino, 1
		if err := w.Write(&h, body); err != nil {
			t.Fatal(err)
		}
	}
	for _, d := range []string{"bin", "dev", "etc", "proc", "root", "sbin", "sys", "tmp", "usr", "usr/bin", "usr/sbin"} {
		put(cpio.Header{Name: d, Mode: cpio.TypeDir | 0o755}, nil)
	}
	put(cpio.Header{Name: "dev/console", Mode: cpio.TypeChar | 0o600, RDevMajor: 5, RDevMinor: 1}, nil)
	put(cpio.Header{Name: "dev/null", Mode: cpio.TypeChar | 0o666, RDevMajor: 1, RDevMinor: 3}, nil)
	for name, from := range files {
		if target, ok := strings.CutPrefix(from, "-> "); ok {
			put(cpio.Header{Name: name, Mode: cpio.TypeSymlink | 0o777}, []byte(target))
			continue
		}
		body, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		put(cpio.Header{Name: name, Mode: cpio.TypeRegular | 0o755}, body)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "image.cpio")
	if err := os.WriteFile(path, out.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// overlay writes an archive with just the given programs, executable, and the directories that they are in, to be laid over another one.
func overlay(t *testing.T, files map[string]string) string {
	t.Helper()
	var out bytes.Buffer
	w := cpio.NewWriter(&out)
	for name, from := range files {
		body, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		if dir := filepath.Dir(name); dir != "." {
			if err := w.Write(&cpio.Header{Name: dir, Mode: cpio.TypeDir | 0o755, NLink: 2}, nil); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Write(&cpio.Header{Name: name, Mode: cpio.TypeRegular | 0o755, NLink: 1}, body); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "over.cpio")
	if err := os.WriteFile(path, out.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// defaultImage is the file that goum has built in, to lay something over.
func defaultImage(t *testing.T) string {
	t.Helper()
	goum(t)
	path, err := filepath.Abs("../../rootfs/initramfs.cpio")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Skip("there is no initramfs yet: run make first")
	}
	return path
}

// TestScript runs testdata/script: what a user sees of goum boot, without a terminal.
func TestScript(t *testing.T) {
	bin := goum(t)
	initramfs := defaultImage(t)
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(e *testscript.Env) error {
			e.Setenv("INITRAMFS", initramfs)
			e.Setenv("PATH", filepath.Dir(bin)+":"+e.Getenv("PATH"))
			e.Setenv("HOSTMEM", hostMemory())
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"goum":    func(ts *testscript.TestScript, neg bool, args []string) { scriptGoum(ts, bin, neg, args) },
			"status":  scriptStatus,
			"oneline": scriptOneLine,
			"cut":     scriptCut,
		},
	})
}

// hostMemory is more memory than this machine has, as --mem takes it.
func hostMemory() string {
	var s unix.Sysinfo_t
	unix.Sysinfo(&s)
	return fmt.Sprintf("%dM", (s.Totalram*uint64(s.Unit)>>20)+1024)
}

// scriptGoum is the command "goum args...": exec with the real binary; the status is remembered for "status", and any is fine
// unless "!" or none says otherwise.
func scriptGoum(ts *testscript.TestScript, bin string, neg bool, args []string) {
	if neg {
		ts.Fatalf("say: status N")
	}
	start := time.Now()
	err := ts.Exec(bin, args...)
	took := time.Since(start)
	status := 0
	if err != nil {
		status = -1
		if x, ok := err.(*exec.ExitError); ok {
			status = x.ExitCode()
		}
	}
	ts.Setenv("STATUS", strconv.Itoa(status))
	ts.Setenv("MILLISECONDS", strconv.FormatInt(took.Milliseconds(), 10))
}

// scriptStatus is "status N": how the last goum ended.
func scriptStatus(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 1 || neg {
		ts.Fatalf("usage: status N")
	}
	if got := ts.Getenv("STATUS"); got != args[0] {
		ts.Fatalf("goum ended with status %s, want %s\n%s", got, args[0], ts.ReadFile("stderr"))
	}
}

// scriptOneLine is "oneline": stderr of the last goum is one line that begins with goum: and stdout is empty, within two seconds.
func scriptOneLine(ts *testscript.TestScript, neg bool, args []string) {
	stderr := ts.ReadFile("stderr")
	if strings.Count(stderr, "\n") != 1 || !strings.HasPrefix(stderr, "goum: ") {
		ts.Fatalf("stderr is not one line of goum:\n%s", stderr)
	}
	if stdout := ts.ReadFile("stdout"); stdout != "" {
		ts.Fatalf("stdout has:\n%s", stdout)
	}
	if ms, _ := strconv.Atoi(ts.Getenv("MILLISECONDS")); ms > 5000 { // "a second or two", and a busy machine
		ts.Fatalf("it took %d ms", ms)
	}
}

// scriptCut is "cut FROM TO BYTES": the first BYTES of a file.
func scriptCut(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 3 || neg {
		ts.Fatalf("usage: cut FROM TO BYTES")
	}
	n, err := strconv.Atoi(args[2])
	ts.Check(err)
	data, err := os.ReadFile(ts.MkAbs(args[0]))
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), data[:n], 0o644))
}
