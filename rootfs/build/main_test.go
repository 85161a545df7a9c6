package main

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/u-root/mkuimage/cpio"

	"goum.invalid/rootfs/build/alias"
)

func TestCommands(t *testing.T) {
	paths, err := commands()
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, p := range paths {
		if names[path.Base(p)] {
			t.Errorf("%s twice", path.Base(p))
		}
		names[path.Base(p)] = true
	}
	for name, to := range alias.Table {
		if names[name] {
			t.Errorf("the alias %s hides a command", name)
		}
		if !names[to[0]] {
			t.Errorf("the alias %s stands for %s, which is not there", name, to[0])
		}
	}
	for _, name := range []string{"init", "gosh", "env"} { // gosh and env bring package alias
		if !names[name] {
			t.Errorf("no %s", name)
		}
	}
}

func TestBase(t *testing.T) {
	seen := map[string]bool{}
	for _, r := range base() {
		if seen[r.Name] {
			t.Errorf("%s twice", r.Name)
		}
		seen[r.Name] = true
		if d := path.Dir(r.Name); d != "." && !seen[d] && d != "bbin" {
			t.Errorf("%s comes before its directory", r.Name)
		}
	}
	for _, f := range strings.Split(strings.TrimSpace(passwd), "\n") {
		if strings.Count(f, ":") != 6 {
			t.Errorf("passwd: %q", f)
		}
	}
	for _, f := range strings.Split(strings.TrimSpace(group), "\n") {
		if strings.Count(f, ":") != 3 {
			t.Errorf("group: %q", f)
		}
	}
}

// The whole of it, twice: the same bytes, and commands that run under their names. Takes about a minute.
func TestBuild(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles u-root twice")
	}
	d := t.TempDir()
	var files [2][]byte
	for i := range files {
		out := filepath.Join(d, "out.cpio")
		if err := run([]string{"-o", out}, os.Stderr); err != nil {
			t.Fatal(err)
		}
		var err error
		if files[i], err = os.ReadFile(out); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(files[0], files[1]) {
		t.Error("two builds differ")
	}
	if left, _ := filepath.Glob(filepath.Join(d, "*")); len(left) != 1 {
		t.Errorf("left behind: %v", left)
	}

	bb := filepath.Join(d, "bb")
	links := map[string]string{}
	records, err := cpio.ReadAllRecords(cpio.Newc.Reader(bytes.NewReader(files[0])))
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range records {
		content, err := io.ReadAll(io.NewSectionReader(r, 0, int64(r.FileSize)))
		if err != nil {
			t.Fatal(err)
		}
		if r.Name == "bbin/bb" {
			if err := os.WriteFile(bb, content, 0o755); err != nil {
				t.Fatal(err)
			}
		} else if r.Mode&cpio.S_IFMT == cpio.S_IFLNK {
			links[r.Name] = string(content)
		}
	}
	paths, err := commands()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, p := range paths {
		names = append(names, path.Base(p))
	}
	for name := range alias.Table {
		names = append(names, name)
	}
	for _, name := range names {
		if links["bbin/"+name] != "bb" {
			t.Errorf("no link bbin/%s", name)
		}
	}
	for _, c := range []struct{ args, in, want string }{
		{"echo a b", "", "a b\n"},
		{"sh -c pwd", "", d + "\n"},
		{"gosh", "echo $((6*7))", "42\n"},
		{"sha256sum", "", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855 -\n"},
		{"env -i A=1", "", "A=1\n"},
		{"cut -d: -f1,3", "a:b:c\n", "a:c\n"},
		{"tr a b", "aaa\n", "bbb\n"},
	} {
		args := strings.Fields(c.args)
		cmd := &exec.Cmd{Path: bb, Args: args, Dir: d, Stdin: strings.NewReader(c.in), Stderr: os.Stderr}
		if got, err := cmd.Output(); err != nil || string(got) != c.want {
			t.Errorf("%s: %q, %v, want %q", c.args, got, err, c.want)
		}
	}
	if !slices.Contains(names, "sh") {
		t.Error("no sh")
	}
}
