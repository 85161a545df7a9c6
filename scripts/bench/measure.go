package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"goum/rootfs/cpio"

	"golang.org/x/sys/unix"
)

// side is one of the four ways in which a row is measured.
type side int

const (
	native side = iota
	guest
	nativePinned
	guestPinned
	sides
)

func (s side) String() string { return [...]string{"native", "guest", "native 1", "guest 1"}[s] }

func (s side) pinned() bool { return s == nativePinned || s == guestPinned }
func (s side) inside() bool { return s == guest || s == guestPinned }

// result is a row's figures, of all rounds.
type result struct {
	values   [sides][]float64
	failures [sides]string
}

// value is a median, or why there is none.
type value struct {
	v       float64 // NaN: none
	failure string
}

func known(v float64) value { return value{v: v} }

func (r *result) of(s side) value {
	v := slices.Sorted(slices.Values(r.values[s]))
	if len(v) == 0 {
		failure := r.failures[s]
		if failure == "" {
			failure = "no result"
		}
		return value{math.NaN(), failure}
	}
	return value{(v[(len(v)-1)/2] + v[len(v)/2]) / 2, r.failures[s]}
}

func (v value) String() string {
	if math.IsNaN(v.v) {
		return "FAILED"
	}
	return number(v.v)
}

// number shows four digits.
func number(v float64) string {
	switch {
	case math.IsNaN(v):
		return "-"
	case v >= 1000:
		return strconv.FormatFloat(v, 'f', 0, 64)
	}
	return strconv.FormatFloat(v, 'g', 4, 64)
}

func times(v float64) string {
	if math.IsNaN(v) {
		return "-"
	}
	return strconv.FormatFloat(v, 'f', 2, 64)
}

func ratio(a, b value) float64 { return a.v / b.v }

func scaled(guest, native value, p peer) float64 { return ratio(guest, native) / p.umlSlowdown() }

// bench has what the measurements need.
type bench struct {
	dir, base   string // scratch: the first on any file system, the second on a tmpfs
	goum, image string
	ubench      string
	quick       []string
	progress    io.Writer
}

// Bounds for what hangs.
const (
	runTimeout   = 15 * time.Minute // a whole ubench, whose rows have a bound of their own
	startTimeout = 20 * time.Second
	startSamples = 9 // starts of a sandbox in a round
)

func newBench(goum string, full bool, progress io.Writer) (*bench, error) {
	if _, err := os.Stat(goum); err != nil {
		return nil, fmt.Errorf("%w: run make first", err)
	}
	dir, err := os.MkdirTemp("", "goum-bench-")
	if err != nil {
		return nil, err
	}
	b := &bench{dir: dir, goum: goum, ubench: filepath.Join(dir, "ubench"), image: filepath.Join(dir, "image.cpio"), progress: progress}
	if !full {
		b.quick = []string{"-q"}
	}
	// Natively, files lie on a tmpfs as in the guest.
	if b.base, err = os.MkdirTemp("/dev/shm", "goum-bench-"); err != nil {
		b.base = dir
	}
	if err := b.build(); err != nil {
		b.close()
		return nil, err
	}
	return b, nil
}

func (b *bench) close() {
	os.RemoveAll(b.dir)
	os.RemoveAll(b.base)
}

// build compiles ubench and makes an initramfs of it.
func (b *bench) build() error {
	source := b.ubench + ".c"
	if err := os.WriteFile(source, []byte(ubenchSource), 0o644); err != nil {
		return err
	}
	if out, err := exec.Command("gcc", "-O2", "-static", "-pthread", "-o", b.ubench, source).CombinedOutput(); err != nil {
		return fmt.Errorf("gcc: %w\n%s", err, out)
	}
	program, err := os.ReadFile(b.ubench)
	if err != nil {
		return err
	}
	var image bytes.Buffer
	w := cpio.NewWriter(&image)
	for _, d := range []string{"dev", "proc", "sys", "tmp"} {
		if err := w.Write(&cpio.Header{Name: d, Mode: cpio.TypeDir | 0o755, NLink: 2}, nil); err != nil {
			return err
		}
	}
	if err := w.Write(&cpio.Header{Name: "ubench", Mode: cpio.TypeRegular | 0o755, NLink: 1}, program); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	return os.WriteFile(b.image, image.Bytes(), 0o644)
}

// command is how s runs ubench with args.
func (b *bench) command(ctx context.Context, s side, args ...string) *exec.Cmd {
	if !s.inside() {
		c := exec.CommandContext(ctx, b.ubench, args...)
		c.Env = append(os.Environ(), "BENCHDIR="+b.base)
		return c
	}
	boot := []string{"boot", "--initrd", b.image, "--mem", "2G"}
	if s.pinned() {
		boot = append(boot, "--cpus", "1")
	}
	return exec.CommandContext(ctx, b.goum, append(append(boot, "--", "/ubench"), args...)...)
}

// start starts c on one CPU or on all: a child has the affinity of the thread that made it.
func start(c *exec.Cmd, s side) error {
	if !s.pinned() {
		return c.Start()
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var all, one unix.CPUSet
	if err := unix.SchedGetaffinity(0, &all); err != nil {
		return err
	}
	for cpu := range 1024 {
		if all.IsSet(cpu) {
			one.Set(cpu) // the last one: interrupts prefer the first
			if one.Count() > 1 {
				one.Zero()
				one.Set(cpu)
			}
		}
	}
	if err := unix.SchedSetaffinity(0, &one); err != nil {
		return err
	}
	defer unix.SchedSetaffinity(0, &all)
	return c.Start()
}

// measure fills in all rows, side after side within each round.
func (b *bench) measure(rows []peer, rounds int) map[string]*result {
	results := map[string]*result{}
	var micro []string
	for _, p := range rows {
		results[p.name] = new(result)
		if !strings.HasPrefix(p.name, "sandbox_") {
			micro = append(micro, p.name)
		}
	}
	for round := range rounds {
		for s := range sides {
			fmt.Fprintf(b.progress, "bench: round %d of %d, %s\n", round+1, rounds, s)
			b.micro(s, micro, results)
			for name, line := range map[string]string{"sandbox_start_exit": "", "sandbox_first_output": "hello\n"} {
				if r := results[name]; r != nil {
					b.sandbox(s, line, r)
				}
			}
		}
	}
	return results
}

// micro runs ubench. When a machine ends before all rows were measured, the first that is missing is the culprit; the rest have
// another go.
func (b *bench) micro(s side, names []string, results map[string]*result) {
	for len(names) > 0 {
		out, trouble := b.ubenchOutput(s, names)
		for line := range strings.Lines(out) {
			f := strings.Fields(line)
			if len(f) < 3 || results[f[0]] == nil {
				continue
			}
			r := results[f[0]]
			names = slices.DeleteFunc(slices.Clone(names), func(n string) bool { return n == f[0] })
			if v, err := strconv.ParseFloat(f[1], 64); err == nil {
				r.values[s] = append(r.values[s], v)
			} else {
				r.failures[s] = strings.Join(f[1:], " ")
			}
		}
		if len(names) > 0 {
			results[names[0]].failures[s] = trouble
			names = names[1:]
		}
	}
}

func (b *bench) ubenchOutput(s side, names []string) (out, trouble string) {
	ctx, cancel := context.WithTimeout(context.Background(), runTimeout)
	defer cancel()
	c := b.command(ctx, s, append(slices.Clone(b.quick), names...)...)
	var stdout, stderr bytes.Buffer
	c.Stdout, c.Stderr = &stdout, &stderr
	err := start(c, s)
	if err == nil {
		err = c.Wait()
	}
	last := strings.TrimSpace(stderr.String())
	if i := strings.LastIndexByte(last, '\n'); i >= 0 {
		last = last[i+1:]
	}
	return stdout.String(), strings.TrimSpace(fmt.Sprintf("ended early: %v %s", err, last))
}

// sandbox times whole starts, in ms: to the end, or to the first line of output.
func (b *bench) sandbox(s side, line string, r *result) {
	arg := "--true"
	if line != "" {
		arg = "--hello"
	}
	var all []float64
	for i := range startSamples + 1 {
		took, err := b.startOnce(s, arg, line)
		if err != nil {
			r.failures[s] = err.Error()
			return
		}
		if i > 0 { // the first one warms up
			all = append(all, took.Seconds()*1000)
		}
	}
	slices.Sort(all)
	r.values[s] = append(r.values[s], all[len(all)/2])
}

func (b *bench) startOnce(s side, arg, line string) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	c := b.command(ctx, s, arg)
	var stderr bytes.Buffer
	c.Stderr = &stderr
	out, err := c.StdoutPipe()
	if err != nil {
		return 0, err
	}
	begin := time.Now()
	if err := start(c, s); err != nil {
		return 0, err
	}
	got := make([]byte, 64)
	n, _ := io.ReadFull(out, got[:len(line)])
	first := time.Since(begin)
	rest, _ := io.Copy(io.Discard, out)
	err = c.Wait()
	whole := time.Since(begin)
	switch {
	case err != nil:
		return 0, fmt.Errorf("%w: %s", err, strings.TrimSpace(stderr.String()))
	case string(got[:n]) != line || rest != 0:
		return 0, fmt.Errorf("it printed %q", got[:n])
	case line != "":
		return first, nil
	}
	return whole, nil
}

// machine describes the host in one line.
func machine() string {
	model := "unknown CPU"
	if data, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		if _, rest, ok := strings.Cut(string(data), "model name"); ok {
			model = strings.Trim(strings.SplitN(rest, "\n", 2)[0], "\t: ")
		}
	}
	var u unix.Utsname
	unix.Uname(&u)
	return fmt.Sprintf("%d CPUs of %s; Linux %s; %s", runtime.NumCPU(), model, unix.ByteSliceToString(u.Release[:]), time.Now().Format(time.DateOnly))
}
