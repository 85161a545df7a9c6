package scripts

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// documents are the pages that these tests read, from the top.
func documents(t *testing.T) map[string]string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(top, "docs", "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	pages := map[string]string{}
	for _, n := range append(names, filepath.Join(top, "README.md")) {
		text, err := os.ReadFile(n)
		if err != nil {
			t.Fatal(err)
		}
		rel, err := filepath.Rel(top, n)
		if err != nil {
			t.Fatal(err)
		}
		pages[filepath.ToSlash(rel)] = string(text)
	}
	return pages
}

var (
	fence    = regexp.MustCompile("(?ms)^```(.*?)\n(.*?)^```$")
	quoted   = regexp.MustCompile("`([^`\n]+)`")
	link     = regexp.MustCompile(`\]\(([^)#\s]+)(#[^)]*)?\)`)
	fileName = regexp.MustCompile(`^[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*$`)
)

// folders are the first elements of what counts as a file of the project in the text.
var folders = []string{"arch", "cmd", "docs", "kernel", "mm", "physmem", "rootfs", "sched", "scripts", "skas", "stub"}

// TestFilesNamed has every file exist that a page names: in a link, or quoted in the text and beginning with a folder of ours.
func TestFilesNamed(t *testing.T) {
	generated := map[string]bool{"bin/goum": true, "rootfs/initramfs.cpio": true}
	for page, text := range documents(t) {
		prose := fence.ReplaceAllString(text, "")
		if strings.Contains(prose, "```") {
			t.Errorf("%s: a block is not closed", page)
		}
		var names []string
		for _, m := range quoted.FindAllStringSubmatch(prose, -1) {
			first, _, _ := strings.Cut(m[1], "/")
			for _, f := range folders {
				if first == f && fileName.MatchString(m[1]) {
					names = append(names, m[1])
				}
			}
		}
		for _, m := range link.FindAllStringSubmatch(prose, -1) {
			if !strings.Contains(m[1], "://") {
				names = append(names, filepath.ToSlash(filepath.Join(filepath.Dir(page), m[1])))
			}
		}
		for _, n := range names {
			if _, err := os.Stat(filepath.Join(top, n)); err != nil && !generated[n] {
				t.Errorf("%s names %s, which is not there", page, n)
			}
		}
	}
}

func TestCompatibilityPage(t *testing.T) {
	have, err := os.ReadFile(filepath.Join(top, "docs", "compatibility.md"))
	if err != nil {
		t.Fatal(err)
	}
	c := exec.Command("go", "run", "./scripts/compat")
	c.Dir = top
	c.Stderr = os.Stderr
	want, err := c.Output()
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(have, want) {
		t.Error("docs/compatibility.md is not what the table prints: run make fmt")
	}
}

// TestConsoleBlocks runs what "```console test" blocks show: a command behind "$ ", its output below it.
func TestConsoleBlocks(t *testing.T) {
	blocks := 0
	for page, text := range documents(t) {
		for _, m := range fence.FindAllStringSubmatch(text, -1) {
			if m[1] != "console test" {
				continue
			}
			blocks++
			if _, err := os.Stat(filepath.Join(top, "bin/goum")); err != nil {
				continue
			}
			for _, command := range strings.Split("\n"+m[2], "\n$ ")[1:] {
				line, want, _ := strings.Cut(command, "\n")
				c := exec.Command("bash", "-c", line)
				c.Dir = top
				got, _ := c.CombinedOutput()
				if strings.TrimRight(string(got), "\n") != strings.TrimRight(want, "\n") {
					t.Errorf("%s: %s\nprints\n%s\nthe page says\n%s", page, line, got, want)
				}
			}
		}
	}
	if blocks == 0 {
		t.Error("no page has a console block that is tested")
	}
	if _, err := os.Stat(filepath.Join(top, "bin/goum")); err != nil {
		t.Skip("there is no bin/goum yet: run make first")
	}
}
