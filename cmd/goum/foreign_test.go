package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// TestStaticInit boots C programs as /init, without anything else in the image.
func TestStaticInit(t *testing.T) {
	for _, cc := range []string{"gcc", "musl-gcc"} {
		t.Run(cc, func(t *testing.T) {
			if _, err := exec.LookPath(cc); err != nil {
				t.Skipf("there is no %s here", cc)
			}
			img := image(t, map[string]string{"init": guestProgram(t, cc, "basics")})
			file := filepath.Join(t.TempDir(), "stats")
			r := boot(t, "", "--initrd", img, "--stats="+file)
			if r.status != 42 || !strings.Contains(r.stdout, "basics: all good") {
				t.Fatalf("status %d, want 42\n%s%s", r.status, r.stdout, r.stderr)
			}
			noFalseAlarm(t, file)
		})
	}
}

// TestBadInit boots images whose first program is missing or no program.
func TestBadInit(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o755); err != nil {
			t.Fatal(err)
		}
		return path
	}
	header := make([]byte, 64)
	copy(header, "\x7fELF\x02\x01\x01")
	binary.LittleEndian.PutUint16(header[16:], 2)
	binary.LittleEndian.PutUint16(header[18:], 183) // another machine
	foreign := string(header)
	for name, c := range map[string]struct {
		files  map[string]string
		status int
		says   string
	}{
		"no init":               {map[string]string{}, 127, "init"},
		"empty":                 {map[string]string{"init": write("empty", "")}, 126, "/init"},
		"text":                  {map[string]string{"init": write("text", "no program\n")}, 126, "/init"},
		"another machine":       {map[string]string{"init": write("foreign", foreign)}, 126, "/init"},
		"cut":                   {map[string]string{"init": write("cut", foreign[:40])}, 126, "/init"},
		"interpreter missing":   {map[string]string{"init": write("script", "#!/no/such/shell\n")}, 127, "/init"},
		"a link to nowhere":     {map[string]string{"init": "-> /no/such"}, 127, "/init"},
		"a link to itself":      {map[string]string{"init": "-> init"}, 126, "/init"},
		"a script of itself":    {map[string]string{"init": write("loop", "#!/init\n")}, 126, "/init"},
		"a dynamic program":     {map[string]string{"init": "/bin/ls"}, 127, "/init"},
		"a directory-like path": {map[string]string{"init": "-> /etc"}, 126, "/init"},
	} {
		t.Run(name, func(t *testing.T) {
			r := boot(t, "", "--initrd", image(t, c.files))
			if r.status != c.status {
				t.Errorf("status %d, want %d", r.status, c.status)
			}
			if strings.Count(r.stderr, "\n") != 1 || !strings.HasPrefix(r.stderr, "goum: ") || !strings.Contains(r.stderr, c.says) {
				t.Errorf("stderr is not one line that names %s:\n%s", c.says, r.stderr)
			}
			if r.stdout != "" {
				t.Errorf("stdout has %q", r.stdout)
			}
			if r.took > 5*time.Second {
				t.Errorf("it took %v", r.took)
			}
		})
	}
}

// TestLayers lays one image over another.
func TestLayers(t *testing.T) {
	hello := filepath.Join(t.TempDir(), "hello")
	if err := os.WriteFile(hello, []byte("#!/bbin/gosh\necho from above\nexit 9\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	over := overlay(t, map[string]string{"bin/hello": hello})
	if r := boot(t, "", "--initrd", defaultImage(t), "--initrd", over, "--", "hello"); r.status != 9 || r.stdout != "from above\n" {
		t.Errorf("status %d, stdout %q, stderr %q", r.status, r.stdout, r.stderr)
	}
	// It replaces what is built in: below it there is nothing.
	if r := boot(t, "", "--initrd", over, "--", "ls"); r.status != 127 {
		t.Errorf("without the default below it: status %d, want 127; stderr %q", r.status, r.stderr)
	}
}

// TestStubborn runs a guest that tries to become unpreemptible, beside a shell that must go on and be able to kill it.
func TestStubborn(t *testing.T) {
	over := overlay(t, map[string]string{"bin/stubborn": guestProgram(t, "gcc", "stubborn")})
	for name, c := range map[string]struct {
		cpus, arg, says string
	}{
		"1 vCPU":                      {"1", "", "stubborn\n"},
		"2 vCPUs":                     {"2", "", "stubborn\n"},
		"writing over control memory": {"2", "scribble", ""}, // it may die of that: the machine must not
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "stats")
			script := "/bin/stubborn " + c.arg + " > /tmp/out & sleep 2; cat /tmp/out; echo the shell goes on; kill -9 `pidof stubborn` 2>/tmp/err; sleep 0.3; " +
				"pidof stubborn || echo it is gone"
			r := boot(t, "", "--cpus", c.cpus, "--stats="+file, "--initrd", defaultImage(t), "--initrd", over, "--", "sh", "-c", script)
			for _, want := range []string{c.says, "the shell goes on\n", "it is gone\n"} {
				if !strings.Contains(r.stdout, want) {
					t.Errorf("no %q in\n%s%s", want, r.stdout, r.stderr)
				}
			}
			if r.took > 20*time.Second {
				t.Errorf("it took %v", r.took)
			}
			t.Logf("%v", stats(t, file))
		})
	}
}

// TestTwoThreadsTwoCPUs looks from the host whether two busy threads of one guest process run at the same time.
func TestTwoThreadsTwoCPUs(t *testing.T) {
	var set unix.CPUSet
	if unix.SchedGetaffinity(0, &set); set.Count() < 2 {
		t.Skip("this host gives one CPU")
	}
	over := overlay(t, map[string]string{"bin/spin": guestProgram(t, "gcc", "spin")})
	c := exec.Command(goum(t), "boot", "--cpus", "2", "--initrd", defaultImage(t), "--initrd", over, "--", "/bin/spin", "2")
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { c.Process.Kill(); c.Wait() }()
	if _, err := out.Read(make([]byte, 16)); err != nil {
		t.Fatalf("the program did not start: %v", err)
	}
	// A thread that computes is in state R all the time, on a CPU or waiting for one: two of them at once, on different CPUs.
	together := 0
	for end := time.Now().Add(patience); together < 10; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("two threads of one stub were seen on two CPUs %d times in %v", together, patience)
		}
		for _, pid := range descendants(c.Process.Pid) {
			on := map[string]int{}
			tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
			if pid == c.Process.Pid {
				continue
			}
			for _, task := range tasks {
				data, _ := os.ReadFile(task)
				_, rest, _ := bytes.Cut(data, []byte(") "))
				f := bytes.Fields(rest)
				if len(f) > 36 && string(f[0]) == "R" {
					on[string(f[36])]++
				}
			}
			if len(on) >= 2 {
				together++
			}
		}
	}
}

// TestStorm runs everything at once, for seconds here and for a minute with -long: nothing honest may be denied or killed.
func TestStorm(t *testing.T) {
	seconds := 5
	switch {
	case *long:
		seconds = 60
	case testing.Short():
		seconds = 1
	}
	over := overlay(t, map[string]string{"bin/storm": guestProgram(t, "gcc", "storm")})
	for _, cpus := range []string{"1", "2"} {
		t.Run(cpus, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "stats")
			r := boot(t, "", "--cpus", cpus, "--stats="+file, "--initrd", defaultImage(t), "--initrd", over, "--", "/bin/storm", strconv.Itoa(seconds))
			if r.status != 0 || !strings.Contains(r.stdout, "storm: over") {
				t.Errorf("status %d\n%s%s", r.status, r.stdout, r.stderr)
			}
			m := noFalseAlarm(t, file)
			t.Logf("%s%v", r.stdout, m)
		})
	}
}

// descendants lists pid and the processes below it.
func descendants(pid int) []int {
	all := []int{pid}
	for i := 0; i < len(all); i++ {
		lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", all[i]))
		for _, l := range lists {
			data, _ := os.ReadFile(l)
			for _, f := range strings.Fields(string(data)) {
				n, _ := strconv.Atoi(f)
				all = append(all, n)
			}
		}
	}
	return all
}

// TestKillLeavesNothing kills goum with SIGKILL at many moments of its life: no process, no file is left.
func TestKillLeavesNothing(t *testing.T) {
	bin := goum(t)
	over := overlay(t, map[string]string{"bin/storm": guestProgram(t, "gcc", "storm")})
	image := defaultImage(t)
	// Whoever loses its parent becomes ours, and is found among our children.
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		t.Fatal(err)
	}
	defer unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)
	before := map[int]bool{}
	for _, pid := range descendants(os.Getpid()) {
		before[pid] = true
	}
	dir := t.TempDir()
	moments := []time.Duration{0, 1, 2, 5, 10, 15, 20, 30, 40, 60, 80, 120, 200, 400, 1000}
	if testing.Short() {
		moments = []time.Duration{0, 10, 40, 300}
	}
	for _, ms := range moments {
		c := exec.Command(bin, "boot", "--cpus", "2", "--initrd", image, "--initrd", over, "--", "/bin/storm", "20")
		c.Dir = dir
		c.Env = append(os.Environ(), "TMPDIR="+dir, "XDG_RUNTIME_DIR="+dir)
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(ms * time.Millisecond)
		c.Process.Kill()
		c.Wait()
		end := time.Now().Add(patience)
		for {
			var left []string
			for _, pid := range descendants(os.Getpid()) {
				if !before[pid] {
					unix.Wait4(pid, nil, unix.WNOHANG, nil) // dead, and ours to bury
					if stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid)); err == nil {
						left = append(left, strings.TrimSpace(string(stat[:min(len(stat), 60)])))
					}
				}
			}
			if len(left) == 0 {
				break
			}
			if time.Now().After(end) {
				t.Fatalf("killed after %d ms, it leaves %q", ms, left)
			}
			time.Sleep(5 * time.Millisecond)
		}
		if files, _ := os.ReadDir(dir); len(files) != 0 {
			t.Fatalf("killed after %d ms, it leaves %v", ms, files)
		}
	}
}

// TestManyProcesses makes more processes, one after the other, than there may be stubs at once.
func TestManyProcesses(t *testing.T) {
	if testing.Short() {
		t.Skip("-short")
	}
	r := boot(t, "", "--", "sh", "-c", "for i in $(seq 1 1000); do /bbin/true || exit 1; done; echo all")
	if r.status != 0 || r.stdout != "all\n" {
		t.Errorf("status %d, stdout %q, stderr %q", r.status, r.stdout, r.stderr)
	}
}

// withoutNotification is this test binary as a host whose kernel has no seccomp user notification, for the goum that it becomes.
func withoutNotification() {
	prog, err := bpf.Assemble([]bpf.Instruction{
		bpf.LoadAbsolute{Off: 0, Size: 4},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.SYS_SECCOMP, SkipTrue: 1},
		bpf.RetConstant{Val: unix.SECCOMP_RET_ALLOW},
		bpf.RetConstant{Val: unix.SECCOMP_RET_ERRNO | uint32(unix.EINVAL)},
	})
	if err != nil {
		panic(err)
	}
	installFilter(prog)
	path := os.Getenv("GOUM_TEST_BINARY")
	os.Unsetenv(roleVariable)
	err = unix.Exec(path, []string{"goum", "boot", "--", "true"}, os.Environ())
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

func TestHostWithoutNotification(t *testing.T) {
	c := exec.Command(os.Args[0])
	c.Env = append(os.Environ(), roleVariable+"=without-notification", "GOUM_TEST_BINARY="+absolute(t, goum(t)))
	var stdout, stderr bytes.Buffer
	c.Stdout, c.Stderr = &stdout, &stderr
	start := time.Now()
	c.Run()
	if got := c.ProcessState.ExitCode(); got != statusGoum {
		t.Errorf("%v, want status %d", c.ProcessState, statusGoum)
	}
	if s := stderr.String(); strings.Count(s, "\n") != 1 || !strings.HasPrefix(s, "goum: ") || !strings.Contains(s, "seccomp") {
		t.Errorf("stderr is not one line about seccomp:\n%s", s)
	}
	if d := time.Since(start); d > 5*time.Second {
		t.Errorf("it took %v", d)
	}
}

func absolute(t *testing.T, path string) string {
	t.Helper()
	p, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	return p
}
