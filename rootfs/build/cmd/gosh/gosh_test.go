package main

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// The tests run the shell as a process: this binary, with beShell in its environment.
const beShell = "GOSH_TEST_SHELL"

func TestMain(m *testing.M) {
	if os.Getenv(beShell) != "" {
		main()
	}
	os.Exit(m.Run())
}

func shellCommand(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe, args...)
	cmd.Env = append(os.Environ(), beShell+"=1", "TERM=xterm", "HOME="+t.TempDir())
	return cmd
}

func TestParseArgs(t *testing.T) {
	for _, c := range []struct {
		args string
		want invocation
	}{
		{"", invocation{stdin: true, name: "sh"}},
		{"-", invocation{stdin: true, name: "sh"}},
		{"-c x", invocation{hasCommands: true, commands: "x", name: "sh"}},
		{"-c x n a -b", invocation{hasCommands: true, commands: "x", name: "n", args: []string{"a", "-b"}}},
		{"-ec x", invocation{hasCommands: true, commands: "x", name: "sh", options: []string{"-e"}}},
		{"-c -e x", invocation{hasCommands: true, commands: "x", name: "sh", options: []string{"-e"}}},
		{"-c -- -x", invocation{hasCommands: true, commands: "-x", name: "sh"}},
		{"-lc x", invocation{hasCommands: true, commands: "x", name: "sh"}},
		{"-s a b", invocation{stdin: true, name: "sh", args: []string{"a", "b"}}},
		{"file -e a", invocation{name: "file", args: []string{"-e", "a"}}},
		{"-u +x -o pipefail file", invocation{name: "file", options: []string{"-u", "+x", "-o", "pipefail"}}},
		{"-- -file", invocation{name: "-file"}},
	} {
		got, err := parseArgs(strings.Fields(c.args))
		if err != nil || got.name != c.want.name || got.commands != c.want.commands || got.stdin != c.want.stdin ||
			!slices.Equal(got.options, c.want.options) || !slices.Equal(got.args, c.want.args) {
			t.Errorf("sh %s: %+v, %v, want %+v", c.args, got, err, c.want)
		}
	}
	for _, args := range []string{"-c", "-o", "-Z", "+c x", "-e -c"} {
		if _, err := parseArgs(strings.Fields(args)); err == nil {
			t.Errorf("sh %s: no error", args)
		}
	}
}

func TestParse(t *testing.T) {
	for _, c := range []struct {
		text       string
		incomplete bool
	}{
		{"echo a", false}, {"", false}, {"# it's", false}, {"cat <<E\na", true}, {"cat <<E\na\nE", false}, {"cat <<'E' | wc", true}, {"echo 'a", true},
		{"echo \"a", true}, {"for i in 1 2", true}, {"for i in 1 2; do", true}, {"if true; then", true}, {"f() {", true}, {"(", true}, {"a |", true},
		{"a &&", true}, {"echo \\", true}, {"echo \\\\", false}, {"echo $(", true}, {"case a in", true}, {"while :\ndo :\ndone", false}, {"{ a; } &", false},
	} {
		_, incomplete, err := parse(c.text + "\n")
		if err != nil || incomplete != c.incomplete {
			t.Errorf("%q: incomplete %v, %v, want %v", c.text, incomplete, err, c.incomplete)
		}
	}
	for _, text := range []string{"fi", "a | | b", ")", "done"} {
		if _, incomplete, err := parse(text + "\n"); err == nil || incomplete {
			t.Errorf("%q: incomplete %v, %v", text, incomplete, err)
		}
	}
}

func TestParseKill(t *testing.T) {
	for _, c := range []struct {
		args    string
		signal  int
		targets string
	}{
		{"1", 15, "1"}, {"-9 %1 %2", 9, "%1 %2"}, {"-KILL 1", 9, "1"}, {"-s int 1", 2, "1"}, {"-SIGHUP -- -5", 1, "-5"}, {"-0 1", 0, "1"}, {"-- -5", 15, "-5"},
	} {
		s, targets, _, err := parseKill(strings.Fields(c.args))
		if err != nil || int(s) != c.signal || strings.Join(targets, " ") != c.targets {
			t.Errorf("kill %s: %d, %q, %v", c.args, s, targets, err)
		}
	}
	for _, args := range []string{"", "-9", "-WHAT 1", "-s"} {
		if s, targets, _, err := parseKill(strings.Fields(args)); err == nil {
			t.Errorf("kill %s: %d, %q", args, s, targets)
		}
	}
}

func TestScripts(t *testing.T) {
	d := t.TempDir()
	write := func(name, text string, mode os.FileMode) string {
		t.Helper()
		name = filepath.Join(d, name)
		if err := os.WriteFile(name, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		return name
	}
	args := write("args", "echo $# \"$2\"\n", 0o644)
	bare := write("bare", "echo bare $1\n", 0o755)
	broken := write("broken", "#!/no/such/shell\n", 0o755)
	noExec := write("noexec", "echo\n", 0o644)
	for _, c := range []struct {
		args             []string
		in, out, message string
		status           int
	}{
		{[]string{"-c", `echo $0 "$@" $#; exit 7`, "name", "a b", "c"}, "", "name a b c 2\n", "", 7},
		{[]string{args, "x", "y z"}, "", "2 y z\n", "", 0},
		{[]string{"-s", "a", "b"}, "echo $0 $2 $#; false", "sh b 2\n", "", 1},
		{nil, "read x\nfor read\nfalse; echo $x $?\n", "for read 1\n", "", 0},
		{nil, "cat <<E\n$((6*7))\nE\nexit 3\necho no\n", "42\n", "", 3},
		{[]string{"-c", "nosuch; echo $?"}, "", "127\n", "sh: nosuch: not found\n", 0},
		{[]string{"-c", noExec}, "", "", "sh: " + noExec + ": permission denied\n", 126},
		{[]string{"-c", d}, "", "", "sh: " + d + ": is a directory\n", 126},
		{[]string{"-c", broken}, "", "", "sh: " + broken + ": its interpreter is not found\n", 127},
		{[]string{"-c", bare + " x"}, "", "bare x\n", "", 0},
		{[]string{"/no/such/script"}, "", "", "sh: /no/such/script: no such file or directory\n", 127},
		{[]string{"-c", "echo a >/no/such; echo $?"}, "", "1\n", "sh: /no/such: no such file or directory\n", 0},
		{[]string{"-c", "kill -9 $$"}, "", "", "", -1},
		{[]string{"-c", "sleep 100 & kill $!; wait $!; echo $?"}, "", "143\n", "", 0},
		{[]string{"-c", "while :; do sleep 0.01; done & kill %1; wait %1; echo $?"}, "", "143\n", "", 0},
		{[]string{"-c", "sleep 100 | cat & kill -KILL %1; wait; echo end"}, "", "end\n", "", 0},
		{[]string{"-c", "for i in 1 2 3; do (exit $i) & done; wait $!; echo $?; wait"}, "", "3\n", "", 0},
		{[]string{"-c", "cat & wait; echo end"}, "not for cat", "end\n", "", 0},
		{[]string{"-c", "while :; do echo y; done | head -n 1; echo $?"}, "", "y\n0\n", "", 0},
		{[]string{"-ec", "false; echo no"}, "", "", "", 1},
		{[]string{"-c", "set -e; (sleep 0.01; false) & wait; echo yes"}, "", "yes\n", "", 0},
		{[]string{"-uc", "echo $nope; echo no"}, "", "", "nope: unbound variable\n", 1},
		{[]string{"-xc", "a=1; echo $a"}, "", "1\n", "+ a=1\n+ echo 1\n", 0},
		{[]string{"-c", "trap 'echo end $?' EXIT; false"}, "", "end 1\n", "", 1},
		{nil, "trap 'echo end' EXIT\nfalse\n", "end\n", "", 1},
		{[]string{"-c", "cd /; pwd; env | grep ^PWD="}, "", "/\nPWD=/\n", "", 0},
		{[]string{"-c", "fi"}, "", "", "sh: line 1: syntax error: `fi` can only be used to end an `if`\n", 2},
		{[]string{"-Z"}, "", "", "sh: unknown option -Z; " + usage + "\n", 2},
		{[]string{"-c", "0new"}, "", "", "sh: 0new: not found\n", 127},
	} {
		cmd := shellCommand(t, c.args...)
		cmd.Stdin = strings.NewReader(c.in)
		var out, message bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &message
		status := 0
		var exit *exec.ExitError
		if err := cmd.Run(); errors.As(err, &exit) {
			status = exit.ExitCode()
		} else if err != nil {
			t.Fatal(err)
		}
		if out.String() != c.out || message.String() != c.message || status != c.status {
			t.Errorf("sh %q: %q, %q, %d, want %q, %q, %d", c.args, out.String(), message.String(), status, c.out, c.message, c.status)
		}
	}
}

func TestComplete(t *testing.T) {
	d := t.TempDir()
	for _, name := range []string{"one", "two words", "other"} {
		if err := os.WriteFile(filepath.Join(d, name), nil, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(d, "sub"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", d)
	t.Chdir(d)
	sh, err := newShell(invocation{name: "sh"}, true)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ line, want string }{
		{"on", "one "}, {"x; o", "one|other"}, {"cat o", "one|other"}, {"cat tw", `two\ words `}, {`cat two\ w`, `two\ words `}, {"cat su", "sub/"},
		{"cat " + d + "/on", d + "/one "}, {"if ex", "exec|exit|export"}, {"cat nothing", ""}, {"a >o", "one|other"}, {"a | tw", "two words "},
	} {
		head, words, tail := sh.complete(c.line, len(c.line))
		if got := strings.Join(words, "|"); got != c.want || !strings.HasPrefix(c.line, head) || tail != "" {
			t.Errorf("%q: %q + %q + %q, want %q", c.line, head, got, tail, c.want)
		}
	}
}
