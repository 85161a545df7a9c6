package main

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
)

// TestCrowd has threads of one process fork, run other programs, end, change mappings and take signals all at once.
func TestCrowd(t *testing.T) {
	seconds := "3"
	if *long {
		seconds = "20"
	}
	over := overlay(t, map[string]string{"bin/crowd": guestProgram(t, "gcc", "crowd")})
	for _, cpus := range []string{"1", "2", "4"} {
		t.Run(cpus, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "stats")
			r := boot(t, "", "--cpus", cpus, "--stats="+file, "--initrd", defaultImage(t), "--initrd", over, "--", "crowd", seconds)
			if r.status != 0 || !strings.HasSuffix(r.stdout, "crowd: over\n") {
				t.Errorf("status %d\n%s%s", r.status, r.stdout, r.stderr)
			}
			noFalseAlarm(t, file)
		})
	}
}

// TestExhaustion has a program take all of what there is of memory, of a file system's room, of threads: the shell that started it lives,
// and what was taken is there again.
func TestExhaustion(t *testing.T) {
	over := overlay(t, map[string]string{"bin/hungry": guestProgram(t, "gcc", "hungry")})
	const script = "hungry memory; hungry file /tmp/f; hungry threads; hungry memory; hungry file /tmp/f; echo lives"
	const want = "memory: signal 9, status 0\nfile: No space left on device\nthreads: Resource temporarily unavailable\n" +
		"memory: signal 9, status 0\nfile: No space left on device\nlives\n"
	for _, cpus := range []string{"1", "2"} {
		t.Run(cpus, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "stats")
			r := boot(t, "", "--cpus", cpus, "--mem", "64M", "--stats="+file, "--initrd", defaultImage(t), "--initrd", over, "--", "sh", "-c", script)
			if r.status != 0 || r.stdout != want {
				t.Errorf("status %d\n%s%s", r.status, r.stdout, r.stderr)
			}
			if m := noFalseAlarm(t, file); m["oom_killed"] != 2 {
				t.Errorf("--stats: oom_killed is %d, want 2", m["oom_killed"])
			}
		})
	}
}

// TestBoots boots again and again: what happens once in fifty boots is seen here.
func TestBoots(t *testing.T) {
	boots := 20
	if *long {
		boots = 300
	}
	for i := range boots {
		cpus := fmt.Sprint([]int{1, 2, 4}[i%3])
		if r := boot(t, "", "--cpus", cpus, "--", "echo", "hi"); r.status != 0 || r.stdout != "hi\n" {
			t.Fatalf("boot %d with %s vCPUs: status %d\n%s%s", i, cpus, r.status, r.stdout, r.stderr)
		}
	}
}
