package elf

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestScriptAsHost runs #! lines whose interpreter prints its arguments, and compares with ParseScript.
func TestScriptAsHost(t *testing.T) {
	dir := t.TempDir()
	// The interpreter shows each argument but the script's own name, which comes last. A script cannot be one here: the name
	// of its own interpreter would come in between.
	src, args := filepath.Join(dir, "main.go"), filepath.Join(dir, "args")
	os.WriteFile(src, []byte(`package main
import "os"
func main() { for _, a := range os.Args[:len(os.Args)-1] { os.Stdout.WriteString("<" + a + ">") } }
`), 0o644)
	if out, err := exec.Command("go", "build", "-o", args, src).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	pad := func(n int) string { return strings.Repeat("x", n) }
	room := ScriptHead - 2 - len(args) // behind the path
	for _, script := range []string{
		"#!" + args,
		"#!" + args + "\n",
		"#! \t" + args + " \t\n",
		"#!" + args + " a",
		"#!" + args + " a b \t\nrest",
		"#!" + args + "\ta\x00b\n",
		"#!" + args + "\x00 a\n",
		"#!" + args + " \t",
		"#!" + args + "  \x00\n",
		"#!" + args + " " + pad(room-2),
		"#!" + args + " " + pad(room-1),
		"#!" + args + " " + pad(room),
		"#!" + args + " " + pad(room+100) + "\n",
		"#!" + args + strings.Repeat(" ", room) + "a\n",
		"#!" + args + strings.Repeat(" ", room-1) + "a\n",
		"#!" + args + strings.Repeat(" ", room-2) + "ab\n",
		"#!" + strings.Repeat(" ", room-1) + args + "\n",
		"#!" + strings.Repeat(" ", room) + args + "\n",
		"#!" + strings.Repeat(" ", room) + args,
		"#!" + strings.Repeat(" ", room+1) + args + "\n",
		"#!" + strings.Repeat(" ", 300) + args,
		"#!" + pad(253) + "\n",
		"#!" + pad(254) + "\n",
		"#!" + pad(300) + "\n",
		"#!",
		"#!\n",
		"#!  \n",
		"#! \t",
		"#!\x00",
		"#! \x00x\n",
		"# !" + args,
		"#",
		"",
	} {
		path := filepath.Join(dir, "script")
		if err := os.WriteFile(path, []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(path)
		out, err := cmd.Output()
		s, e := ParseScript([]byte(script))
		want := ""
		if e == 0 {
			want = "<" + s.Interp + ">"
			if s.HasArg {
				want += "<" + s.Arg + ">"
			}
		}
		switch {
		case err == nil && (e != 0 || want != string(out)):
			t.Errorf("%q: %v, %q, natively %q", script, e.Name(), want, out)
		case err != nil && e == 0:
			// Natively the path was opened, and was not there.
			if !os.IsNotExist(err) {
				t.Errorf("%q: %q, natively %v", script, want, err)
			}
		case err != nil && !errors.Is(err, syscall.Errno(e)):
			t.Errorf("%q: %v, natively %v", script, e.Name(), err)
		}
	}
}

func FuzzParseScript(f *testing.F) {
	f.Add([]byte("#!/bin/sh -e\n"))
	f.Add([]byte("#! /x\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, e := ParseScript(b)
		if e == 0 && (s.Interp == "" || len(s.Interp) > ScriptHead || strings.ContainsAny(s.Interp, "\x00 \t\n") || strings.ContainsAny(s.Arg, "\x00\n")) {
			t.Errorf("%q: %+v", b, s)
		}
	})
}
