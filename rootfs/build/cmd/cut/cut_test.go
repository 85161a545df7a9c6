package main

import (
	"bytes"
	"strings"
	"testing"
)

func TestCut(t *testing.T) {
	const text = "a:b:c:d\nplain\n:x\n"
	for args, want := range map[string]string{
		"-d: -f2":        "b\nplain\nx\n",
		"-d : -f 2-3 -s": "b:c\nx\n",
		"-d: -f-2":       "a:b\nplain\n:x\n",
		"-d: -f4,1":      "a:d\nplain\n\n",
		"-d: -f3-":       "c:d\nplain\n\n",
		"-c1-2":          "a:\npl\n:x\n",
		"-b 2,4-":        "::c:d\nlin\nx\n",
		"-f1":            text,
	} {
		var out bytes.Buffer
		if err := run(strings.NewReader(text), &out, strings.Fields(args)); err != nil || out.String() != want {
			t.Errorf("cut %s: %q, %v, want %q", args, out.String(), err, want)
		}
	}
	for _, args := range []string{"", "-f0", "-f-", "-f3-2", "-fx", "-f1,,2", "-f1 -c1", "-d:: -f1", "-f1 /nowhere", "-f1 -q"} {
		if err := run(strings.NewReader(text), &bytes.Buffer{}, strings.Fields(args)); err == nil {
			t.Errorf("cut %s: no error", args)
		}
	}
	var out bytes.Buffer
	if err := run(strings.NewReader("no newline"), &out, []string{"-c1-2"}); err != nil || out.String() != "no\n" {
		t.Errorf("%q, %v", out.String(), err)
	}
}
