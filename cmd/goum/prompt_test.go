package main

import (
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"
)

// machine is a goum on a pty, with a shell at its prompt.
type machine struct {
	*screen
	cmd    *exec.Cmd
	prompt string
	marks  int
}

// startMachine boots on a new pty and waits for a prompt that ends with the given text.
func startMachine(t *testing.T, prompt string, args ...string) *machine {
	t.Helper()
	c := exec.Command(goum(t), args...)
	c.Env = append(os.Environ(), "TERM=dumb")
	tty, err := pty.StartWithSize(c, &pty.Winsize{Cols: 200, Rows: 50})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Process.Kill()
		c.Process.Wait()
		tty.Close()
	})
	m := &machine{screen: newScreen(t, tty), cmd: c, prompt: prompt}
	m.want(prompt)
	return m
}

// run types a command and returns what it printed, up to the prompt behind it. A mark that the shell has to compute separates
// the output from the echo of what was typed.
func (m *machine) run(command string) string {
	m.t.Helper()
	m.marks++
	if !strings.HasSuffix(command, "&") {
		command += ";"
	}
	m.press(fmt.Sprintf("%s echo mark-$((%d+0))-\r", command, m.marks))
	out := m.want(fmt.Sprintf("mark-%d-", m.marks))
	m.want(m.prompt)
	// The echo ends with the command line's own newline; editors draw it several times.
	if i := strings.LastIndex(out, "echo mark-$(("); i >= 0 {
		out = out[i:]
		if j := strings.Index(out, "\n"); j >= 0 {
			out = out[j+1:]
		}
	}
	return strings.ReplaceAll(out, "\r\n", "\n")
}

// expect runs a command and fails unless a line of its output matches the regexp.
func (m *machine) expect(command, want string) {
	m.t.Helper()
	if out := m.run(command); !regexp.MustCompile("(?m)" + want).MatchString(out) {
		m.t.Errorf("%s\nprinted %q\nwant    %s", command, out, want)
	}
}

// end waits for the machine's end, its status, and the terminal as it was.
func (m *machine) end(status int) {
	m.t.Helper()
	done := make(chan error, 1)
	go func() { done <- m.cmd.Wait() }()
	select {
	case <-done:
	case <-time.After(patience):
		m.t.Fatalf("goum does not end; the screen:\n%s", m.seen.String()[m.from:])
	}
	if got := m.cmd.ProcessState.ExitCode(); got != status {
		m.look("\x00", time.Second/10)
		m.t.Errorf("goum ended with %v, want status %d; the screen:\n%s", m.cmd.ProcessState, status, m.seen.String()[m.from:])
	}
	m.waitFor("the terminal as it was", m.cooked)
}

// goshPrompt is the default shell's.
const goshPrompt = "$ "

func TestPrompt(t *testing.T) {
	m := startMachine(t, goshPrompt)
	if m.cooked() {
		t.Error("the terminal is not raw while the guest has it")
	}
	m.expect("echo a b | cat | wc -c", `^ *4$`)
	m.expect("seq 1 2000 | sort -n -r | head -n 3 | tail -n 1", `^1998$`)

	m.run("echo first > /tmp/f; echo second >> /tmp/f")
	m.expect("cat < /tmp/f | wc -l", `^ *2$`)
	m.expect("cat /no/such 2> /tmp/err; wc -l < /tmp/err", `^ *1$`)
	m.expect("cat /tmp/f /no/such > /tmp/both 2>&1; wc -l < /tmp/both", `^ *3$`)

	m.press("cat > /tmp/here <<EOF\r")
	for _, line := range []string{"one", "$((1+1))", "three", "EOF"} {
		m.want("> ") // the prompt of a command that goes on
		m.press(line + "\r")
	}
	m.want(m.prompt)
	m.expect("cat /tmp/here", `^one\n2\nthree$`)

	m.run("sleep 1 & echo started > /tmp/job")
	m.expect("cat /tmp/job; wait; echo waited", `^waited$`)

	m.press("sleep 100\r")
	time.Sleep(500 * time.Millisecond) // it is in the foreground by then, or the shell takes the key: both must give a prompt
	start := time.Now()
	m.press("\x03")
	m.want(m.prompt)
	m.expect("echo still here", `^still here$`)
	if d := time.Since(start); d > 10*time.Second {
		t.Errorf("Ctrl-C on sleep 100 took %v", d)
	}

	m.expect("dd if=/dev/zero of=/tmp/z bs=65536 count=16; ls -l /tmp/z", ` 1048576 .*z$`)
	m.run("mkdir -p /tmp/tree/deep; cp /etc/passwd /etc/group /tmp/tree; cp /etc/hosts /tmp/tree/deep; cd /tmp")
	m.run("tar -cf tree.tar tree; mv tree old; tar -xf tree.tar /tmp || tar -xf tree.tar")
	m.expect("cmp tree/passwd old/passwd && cmp tree/deep/hosts old/deep/hosts && echo equal; cd /", `^equal$`)
	m.expect("find /tmp/tree", `/tmp/tree/deep/hosts`)
	m.expect("grep -r localhost /tmp/tree", `/tmp/tree/deep/hosts`)

	m.run("sleep 1000 &")
	m.expect("ps | grep sleep", `sleep`)
	m.run("kill -9 `pidof sleep`")
	m.expect("sleep 0.2; pidof sleep; echo none", `^none$`)

	m.expect("wget -O /tmp/w http://127.0.0.1:9/x; echo status $?", `(refused|unreachable|not supported)[\s\S]*status [1-9]`)

	m.expect("for i in $(seq 1 200); do /bbin/true || echo bad $i; done; echo all", `\Aall$`)
	m.expect("stty", `rows:50 cols:200`)
	m.press("exit\r")
	m.end(0)
}

// TestBigSum has the guest hash 64 MiB that the host has hashed too.
func TestBigSum(t *testing.T) {
	if testing.Short() {
		t.Skip("-short")
	}
	data := make([]byte, 64<<20)
	x := uint64(88172645463325252)
	for i := range data {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		data[i] = byte(x)
	}
	file := filepath.Join(t.TempDir(), "big")
	if err := os.WriteFile(file, data, 0o644); err != nil {
		t.Fatal(err)
	}
	over := overlay(t, map[string]string{"big": file})
	r := boot(t, "", "--mem", "512M", "--initrd", defaultImage(t), "--initrd", over, "--", "sha256sum", "/big")
	if want := fmt.Sprintf("%x", sha256.Sum256(data)); r.status != 0 || !strings.HasPrefix(r.stdout, want) {
		t.Errorf("the guest says %q (status %d, %s), the host %s", r.stdout, r.status, r.stderr, want)
	}
}

func TestWaysOut(t *testing.T) {
	for name, keys := range map[string]string{
		"exit": "exit\r", "shutdown": "shutdown\r", "poweroff": "poweroff\r", "Ctrl-A x": "\x01x",
	} {
		t.Run(name, func(t *testing.T) {
			m := startMachine(t, goshPrompt)
			m.press(keys)
			m.end(0)
		})
	}
}

// TestWindowSize changes the size under a running guest.
func TestWindowSize(t *testing.T) {
	m := startMachine(t, goshPrompt)
	if err := pty.Setsize(m.file, &pty.Winsize{Cols: 111, Rows: 33}); err != nil {
		t.Fatal(err)
	}
	end := time.Now().Add(patience)
	for !strings.Contains(m.run("stty"), "rows:33 cols:111") {
		if time.Now().After(end) {
			t.Fatal("the guest does not learn of the new size")
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// TestCommandOnTerminal runs commands that have the terminal.
func TestCommandOnTerminal(t *testing.T) {
	m := startMachine(t, "ready", "boot", "--", "sh", "-c", "tty; echo ready; sleep 100; echo not reached")
	time.Sleep(300 * time.Millisecond)
	m.press("\x03")
	m.end(128 + int(unix.SIGINT))
	if strings.Contains(m.seen.String(), "not a tty") {
		t.Error("the command's standard input is no terminal")
	}
}

// TestPreemption has two endless loops on one vCPU, and a shell that must answer all the same.
func TestPreemption(t *testing.T) {
	over := overlay(t, map[string]string{"bin/spin": guestProgram(t, "gcc", "spin")})
	m := startMachine(t, goshPrompt, "boot", "--cpus", "1", "--initrd", defaultImage(t), "--initrd", over)
	m.run("/bin/spin > /tmp/1 & /bin/spin > /tmp/2 &")
	best := patience
	for range 10 {
		m.marks++
		m.press(fmt.Sprintf("echo here-$((%d+0))-", m.marks))
		m.want("+0))-")
		start := time.Now()
		m.press("\r")
		m.want(fmt.Sprintf("here-%d-", m.marks))
		best = min(best, time.Since(start))
		m.want(m.prompt)
	}
	t.Logf("the shell answers within %v", best)
	if best > 100*time.Millisecond {
		t.Errorf("the shell answers within %v at best, want 100 ms", best)
	}
}

// busyboxMachine boots a machine of Debian's busybox to its shell.
func busyboxMachine(t *testing.T, args ...string) *machine {
	t.Helper()
	path := "/bin/busybox"
	if _, err := os.Stat(path); err != nil {
		t.Skip("there is no busybox-static here")
	}
	if out, err := exec.Command("ldd", path).CombinedOutput(); err == nil && !strings.Contains(string(out), "not a dynamic") {
		t.Skip("busybox is not static here")
	}
	files := map[string]string{"bin/busybox": path}
	for _, name := range []string{"sh", "ls", "cat", "sleep", "ps", "mount", "setsid", "poweroff", "wc", "grep", "true", "kill"} {
		files["bin/"+name] = "-> busybox"
	}
	init := filepath.Join(t.TempDir(), "init")
	script := "#!/bin/sh\nexport PATH=/bin PS1='busybox% '\nmount -t proc proc /proc\nmount -t devtmpfs dev /dev\n" +
		"setsid sh -c 'exec sh </dev/hvc0 >/dev/hvc0 2>&1'\npoweroff -f\n"
	if err := os.WriteFile(init, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	files["init"] = init
	return startMachine(t, "busybox% ", append([]string{"boot", "--initrd", image(t, files)}, args...)...)
}

// TestBusybox drives a foreign initramfs, whose shell has job control.
func TestBusybox(t *testing.T) {
	m := busyboxMachine(t)
	m.expect("ls / | wc -l", `^1[0-9]$`)
	m.expect("ps | grep -c '[s]h'", `^[1-9]`)
	m.expect("echo $((6*7)) | cat", `^42$`)

	m.press("cat > /tmp/here <<EOF\r")
	for _, line := range []string{"one", "$((1+1))", "three", "EOF"} {
		m.press(line + "\r")
		time.Sleep(20 * time.Millisecond)
	}
	m.expect("cat /tmp/here", `^one\n2\nthree$`)

	m.press("sleep 100\r")
	time.Sleep(500 * time.Millisecond)
	m.press("\x1a")
	m.want("Stopped")
	m.want(m.prompt)
	m.expect("jobs", `Stopped +sleep 100`)
	m.run("bg")
	m.expect("jobs", `Running +sleep 100`)
	m.press("fg\r")
	m.want("sleep 100")
	time.Sleep(300 * time.Millisecond)
	m.press("\x03")
	m.want(m.prompt)
	m.expect("jobs; echo no job", `\Ano job$`)
	m.expect("i=0; while [ $i -lt 200 ]; do /bin/true; i=$((i+1)); done; echo $i", `^200$`)
	m.press("exit\r")
	m.end(0)
}
