package kerneltest

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// TestGoProgramsRun runs what the Go runtime needs most, here and in a guest: threads, pipes, children, files, time.
func TestGoProgramsRun(t *testing.T) {
	AlsoInGuest(t)
	if os.Getenv("CHILD") != "" {
		os.Exit(7)
	}
	f, err := os.CreateTemp("", "goum")
	if err != nil {
		t.Fatal(err)
	}
	defer os.Remove(f.Name())
	if _, err := f.WriteString("hello"); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(f.Name())
	if err != nil || string(got) != "hello" {
		t.Errorf("read back %q, %v", got, err)
	}
	me, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	child := exec.Command(me, "-test.run=^TestGoProgramsRun$")
	child.Env = append(os.Environ(), "CHILD=1", inGuest+"=1")
	if err := child.Run(); child.ProcessState == nil || child.ProcessState.ExitCode() != 7 {
		t.Errorf("the child: %v, %v; want status 7", child.ProcessState, err)
	}
	done := make(chan int)
	for i := range 20 {
		go func() { done <- i }()
	}
	sum := 0
	for range 20 {
		sum += <-done
	}
	if sum != 190 {
		t.Errorf("sum %d", sum)
	}
}

// TestARunReportsFailure shows that what fails in the guest is seen here.
func TestARunReportsFailure(t *testing.T) {
	if InGuest() {
		t.Fatal("this is the guest")
	}
	if !static(t) {
		t.Skip(notStatic)
	}
	status, out := Run(t, Program(t, "/test", self(t)), "/test", "-test.run=^TestARunReportsFailure$")
	if status != 1 || !strings.Contains(out, "this is the guest") {
		t.Errorf("status %d, output %q", status, out)
	}
}
