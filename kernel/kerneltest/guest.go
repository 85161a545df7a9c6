// Package kerneltest runs tests in a guest.
//
// A differential test calls AlsoInGuest first: it passes on the host, whose Linux is the oracle, and then the same test binary runs
// it again in a guest of goum.
//
// The package holds no state and no lock.
package kerneltest

import (
	"bytes"
	"debug/elf"
	"os"
	"strings"
	"sync"
	"testing"

	"goum/kernel"
	"goum/rootfs/cpio"
)

// inGuest is set in the environment of a test binary that runs in a guest.
const inGuest = "GOUM_TEST_IN_GUEST"

// InGuest says whether this test runs in a guest.
func InGuest() bool { return os.Getenv(inGuest) != "" }

// AlsoInGuest has the test run again in a guest when it has passed here. It must be the first thing that a top-level test does.
func AlsoInGuest(t *testing.T) {
	t.Helper()
	if InGuest() {
		return
	}
	if !static(t) {
		t.Log("not run in a guest: " + notStatic)
		return
	}
	t.Cleanup(func() {
		if t.Failed() || t.Skipped() {
			return
		}
		status, out := Run(t, Program(t, "/test", self(t)), "/test", "-test.v", "-test.run=^"+t.Name()+"$")
		if status != 0 || !strings.Contains(out, "--- PASS: "+t.Name()+" ") {
			t.Errorf("passed here, failed in the guest with status %d:\n%s", status, out)
		}
	})
}

// notStatic is why a test binary cannot run in a guest, whose archive holds nothing else.
const notStatic = "this binary is linked to the host's C library: build it with CGO_ENABLED=0 and without -race, as make test does"

// static says whether this binary runs without a loader.
func static(t *testing.T) bool {
	t.Helper()
	f, err := elf.NewFile(bytes.NewReader(self(t)))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			return false
		}
	}
	return true
}

func self(t *testing.T) []byte {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// Program is an initramfs with an executable at path, and the directories that a program expects.
func Program(t testing.TB, path string, data []byte) kernel.Archive {
	t.Helper()
	var b bytes.Buffer
	w := cpio.NewWriter(&b)
	for _, dir := range []string{"dev", "proc", "sys", "tmp", "root", "etc"} {
		mode := uint32(cpio.TypeDir | 0o755)
		if dir == "tmp" {
			mode = cpio.TypeDir | 0o1777
		}
		if err := w.Write(&cpio.Header{Name: dir, Mode: mode, NLink: 2}, nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Write(&cpio.Header{Name: strings.TrimPrefix(path, "/"), Mode: cpio.TypeRegular | 0o755, NLink: 1}, data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return kernel.Archive{Name: "test archive", Data: b.Bytes()}
}

// Run runs a command in a guest made of one archive, and returns its exit status and what it wrote on both outputs.
func Run(t testing.TB, a kernel.Archive, command ...string) (int, string) {
	t.Helper()
	var out lockedBuffer
	m, err := kernel.Boot(kernel.Config{
		Archives: []kernel.Archive{a}, Memory: 512 << 20, CPUs: 2, Command: command,
		Env:     []string{"PATH=/bin", "HOME=/root", inGuest + "=1"},
		Streams: [3]*kernel.Stream{{In: strings.NewReader("")}, {Out: &out}, {Out: &out}},
	})
	if err != nil {
		t.Fatal(err)
	}
	status := m.Wait()
	if err := m.Close(); err != nil {
		t.Error(err)
	}
	return status, out.String()
}

// lockedBuffer is written by two streams.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
