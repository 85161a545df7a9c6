package rootfs

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"goum/rootfs/cpio"
)

func TestBeside(t *testing.T) {
	d := t.TempDir()
	exe := filepath.Join(d, "goum")
	write := func(name, content string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(d, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want := func(content string) {
		t.Helper()
		if got, err := beside(exe); err != nil || string(got) != content {
			t.Errorf("%q, %v, want %q", got, err, content)
		}
	}
	if _, err := beside(exe); err != ErrMissing {
		t.Errorf("an empty directory: %v", err)
	}
	write("goum.cpio", "one")
	want("one")
	write("initramfs.cpio", "two")
	want("two")
	if err := os.Remove(filepath.Join(d, "initramfs.cpio")); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(d, "initramfs.cpio"), 0o755); err != nil {
		t.Fatal(err)
	}
	// What is there but is no archive is not passed over in silence.
	if _, err := beside(exe); err == nil || !strings.HasSuffix(err.Error(), "initramfs.cpio: not a regular file") {
		t.Errorf("a directory: %v", err)
	}
	if err := os.RemoveAll(filepath.Join(d, "initramfs.cpio")); err != nil {
		t.Fatal(err)
	}
	write("initramfs.cpio", "")
	if err := os.Truncate(filepath.Join(d, "initramfs.cpio"), MaxFile+1); err != nil {
		t.Fatal(err)
	}
	if _, err := beside(exe); err == nil || !strings.HasSuffix(err.Error(), "initramfs.cpio: larger than 268435456 bytes") {
		t.Errorf("a huge file: %v", err)
	}
}

// The archive itself, where there is one: what boot depends on is in it.
func TestDefault(t *testing.T) {
	data, err := Default()
	if errors.Is(err, ErrMissing) {
		if data, err = os.ReadFile("initramfs.cpio"); errors.Is(err, os.ErrNotExist) {
			t.Skip("initramfs.cpio has not been made; make does")
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]string{}
	if err := cpio.ReadBytes(data, cpio.DefaultLimits(), func(h *cpio.Header, body []byte) error {
		switch {
		case h.UID != 0 || h.GID != 0 || h.MTime != 0:
			t.Errorf("%s: owner %d:%d, time %d: not reproducible", h.Name, h.UID, h.GID, h.MTime)
		case h.Type() == cpio.TypeSymlink:
			seen[h.Name] = string(body)
		default:
			seen[h.Name] = ""
		}
		if _, ok := seen[filepath.Dir(h.Name)]; !ok && filepath.Dir(h.Name) != "." {
			t.Errorf("%s comes before its directory", h.Name)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	for name, to := range map[string]string{
		"init": "bbin/init", "bin/sh": "../bbin/gosh", "bbin/gosh": "bb", "bbin/sh": "bb",
		"bbin/bb": "", "dev/console": "", "etc/passwd": "", "etc/group": "", "etc/hosts": "", "proc": "", "sys": "", "tmp": "",
	} {
		if got, ok := seen[name]; !ok || got != to {
			t.Errorf("%s: %q (there: %v), want %q", name, got, ok, to)
		}
	}
	if _, ok := seen["bin/defaultsh"]; ok {
		t.Error("bin/defaultsh: init would run it and bin/sh in turn")
	}
	for _, c := range strings.Fields("cat cp cut dd dmesg echo env find free grep halt kill ls mount mv ps reboot rm sha256sum shutdown sleep tar uname wc wget xargs") {
		if seen["bbin/"+c] != "bb" {
			t.Errorf("the command %s is missing", c)
		}
	}
}
