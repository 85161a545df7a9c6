package main

import (
	"bytes"
	"slices"
	"strings"
	"testing"
)

func TestPlan(t *testing.T) {
	for _, c := range []struct{ args, env, command string }{
		{"", "A=1 B=2", ""},
		{"-i", "", ""},
		{"-i C=3", "C=3", ""},
		{"-u A", "B=2", ""},
		{"-uB", "A=1", ""},
		{"A=9 C=", "B=2 A=9 C=", ""},
		{"- C=3 ls -l D=4", "C=3", "ls -l D=4"},
		{"-- ls -i", "A=1 B=2", "ls -i"},
	} {
		env, command, err := plan(strings.Fields(c.args), []string{"A=1", "B=2"})
		if err != nil || !slices.Equal(env, strings.Fields(c.env)) || !slices.Equal(command, strings.Fields(c.command)) {
			t.Errorf("env %s: %q, %q, %v", c.args, env, command, err)
		}
	}
}

func TestRun(t *testing.T) {
	var out bytes.Buffer
	if status, err := run([]string{"-i", "X=y"}, nil, &out); status != 0 || err != nil || out.String() != "X=y\n" {
		t.Errorf("%d, %v, %q", status, err, out.String())
	}
	for _, c := range []struct {
		args   string
		status int
	}{{"-z", 125}, {"-u", 125}, {"PATH=/nowhere no-such-command", 127}, {"/nowhere/x", 127}, {"/", 126}} {
		t.Setenv("PATH", "")
		if status, err := run(strings.Fields(c.args), nil, &out); status != c.status || err == nil {
			t.Errorf("env %s: %d, %v, want %d", c.args, status, err, c.status)
		}
	}
}
