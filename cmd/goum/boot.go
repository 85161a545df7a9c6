package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"

	"goum/kernel"
	"goum/rootfs"

	"github.com/alecthomas/kong"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"golang.org/x/sys/unix"
)

// bootCommand is goum boot.
type bootCommand struct {
	Initrd []string  `placeholder:"FILE" sep:"none" help:"Initramfs (cpio; plain, gzip, zstd or xz) instead of the built-in one. Several are laid over one another."`
	Append string    `placeholder:"STR" help:"Kernel command line (/proc/cmdline)."`
	Mem    byteSize  `default:"512M" placeholder:"SIZE" help:"Memory of the guest, with suffix K, M or G (${default})."`
	Cpus   int       `default:"${cpus}" placeholder:"N" help:"Virtual CPUs (${default})."`
	Log    string    `default:"error" placeholder:"LEVEL" enum:"debug,info,warn,error" help:"What goum logs on stderr: debug, info, warn or error (${default})."`
	Stats  statsFile `placeholder:"FILE" help:"Counters at the end, as 'name value' lines, on stderr or in FILE."`

	command []string // behind --
}

// maxCPUs is what one affinity word holds.
const maxCPUs = 64

// defaultCPUs is what the process may use.
func defaultCPUs() int { return min(runtime.NumCPU(), maxCPUs) }

// statsFile is --stats or --stats=FILE.
type statsFile struct {
	on   bool
	path string
}

// IsBool says that the flag needs no value.
func (s *statsFile) IsBool() bool { return true }

// Decode takes the value, which only "=" can give.
func (s *statsFile) Decode(ctx *kong.DecodeContext) error {
	s.on = true
	if ctx.Scan.Peek().Type == kong.FlagValueToken {
		s.path = ctx.Scan.Pop().String()
	}
	return nil
}

// byteSize is a number of bytes, written as 512M.
type byteSize int64

// UnmarshalText reads a size.
func (b *byteSize) UnmarshalText(text []byte) error {
	s, shift := strings.ToUpper(string(text)), 0
	s = strings.TrimSuffix(strings.TrimSuffix(s, "B"), "I")
	for suffix, n := range map[string]int{"K": 10, "M": 20, "G": 30, "T": 40} {
		if t, ok := strings.CutSuffix(s, suffix); ok {
			s, shift = t, n
			break
		}
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 || n > 1<<62>>shift {
		return fmt.Errorf("%q is no size: write a number of bytes, or one with K, M or G", text)
	}
	*b = byteSize(n << shift)
	return nil
}

// Run boots a machine and waits for its end.
func (b *bootCommand) Run(status *int) error {
	if b.Cpus < 1 || b.Cpus > maxCPUs {
		return fmt.Errorf("--cpus %d: give a number from 1 to %d", b.Cpus, maxCPUs)
	}
	if err := checkMemory(int64(b.Mem)); err != nil {
		return err
	}
	tuneRuntime(b.Cpus, int64(b.Mem))
	archives, err := b.archives()
	if err != nil {
		return err
	}
	log, err := newLog(b.Log)
	if err != nil {
		return err
	}
	cfg := kernel.Config{
		Archives: archives, Append: b.Append, Memory: int64(b.Mem), CPUs: b.Cpus, Command: b.command, Env: environment(len(b.command) > 0),
		Log: func(level int, line string) { logGuest(log, level, line) },
	}
	term := openTerminal(&cfg)
	defer term.Restore()
	m, err := kernel.Boot(cfg)
	if err != nil {
		var missing *kernel.ExecError
		if errors.As(err, &missing) {
			return &failure{missing.Status(), err}
		}
		return err
	}
	term.Follow(m)
	*status = m.Wait()
	term.Restore()
	if b.Stats.on {
		if err := b.Stats.write(m); err != nil {
			return err
		}
	}
	return m.Close()
}

// tuneRuntime sets what the Go runtime cannot know of a monitor.
//
// One P more than vCPUs: while every P has a task that waits for its stub, the runtime takes one away from its wait (for the tick, a
// stub's start, a collection), and again at the next; with one idle it leaves them alone. A call of a guest took 13.3 us with --cpus 1 on one
// core without it, 9.4 us with it; a second one more gains nothing.
//
// The heap is small and mostly long-lived: with the usual 100 percent it was collected three times in a boot of 40 ms.
//
// What it may become at most follows the guest's memory, which bounds what a guest can make the monitor keep of it: from there on
// collections come as often as they must.
func tuneRuntime(cpus int, memory int64) {
	runtime.GOMAXPROCS(cpus + 1)
	debug.SetGCPercent(gcPercent)
	debug.SetMemoryLimit(heapBase + memory/4)
}

// heapBase is the heap that a machine of any size may have.
const heapBase = 128 << 20

// gcPercent is the growth of the heap between collections: a guest's tables and nodes are some megabytes, its memory is not in the heap.
const gcPercent = 400

// environment is the first program's: what Linux gives an init, or what a login would give a command. Nothing of the host's goes in
// but the kind of its terminal.
func environment(command bool) []string {
	if !command {
		return []string{"HOME=/", "TERM=linux"}
	}
	kind := os.Getenv("TERM")
	if kind == "" {
		kind = "linux"
	}
	return []string{"PATH=/bbin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "USER=root", "TERM=" + kind}
}

// archives reads what --initrd names, or finds the default.
func (b *bootCommand) archives() ([]kernel.Archive, error) {
	if len(b.Initrd) == 0 {
		data, err := rootfs.Default()
		return []kernel.Archive{{Name: "the built-in initramfs", Data: data}}, err
	}
	var all []kernel.Archive
	for _, name := range b.Initrd {
		data, err := readFile(name)
		if err != nil {
			return nil, err
		}
		all = append(all, kernel.Archive{Name: name, Data: data})
	}
	return all, nil
}

// readFile reads an image of at most rootfs.MaxFile bytes.
func readFile(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	// An image is some megabytes: in one piece, or growing the buffer copies it several times over. What is no file has no size.
	var b bytes.Buffer
	if st, err := f.Stat(); err == nil && st.Mode().IsRegular() {
		b.Grow(int(min(st.Size(), rootfs.MaxFile)) + bytes.MinRead)
	}
	_, err = b.ReadFrom(io.LimitReader(f, rootfs.MaxFile+1))
	data := b.Bytes()
	if err == nil && len(data) > rootfs.MaxFile {
		err = fmt.Errorf("%s: larger than %d bytes", name, rootfs.MaxFile)
	}
	return data, err
}

// minMemory is what the default initramfs and its shell need: with less than the 32 MiB of zeroed data that its programs have, exec fails.
const minMemory = 40 << 20

// checkMemory refuses sizes that cannot work, with the sizes that can.
func checkMemory(size int64) error {
	var host unix.Sysinfo_t
	if err := unix.Sysinfo(&host); err != nil {
		return fmt.Errorf("sysinfo: %w", err)
	}
	have := int64(host.Totalram) * int64(host.Unit)
	switch {
	case size < minMemory:
		return fmt.Errorf("--mem: %d bytes are too few: give at least %dM", size, minMemory>>20)
	case size > have:
		return fmt.Errorf("--mem: %dM are more than this host's %dM", size>>20, have>>20)
	}
	return nil
}

// newLog makes goum's own log, on stderr.
func newLog(level string) (*zap.Logger, error) {
	at, err := zapcore.ParseLevel(level)
	if err != nil {
		return nil, err
	}
	cfg := zap.NewDevelopmentEncoderConfig()
	return zap.New(zapcore.NewCore(zapcore.NewConsoleEncoder(cfg), zapcore.Lock(os.Stderr), at)), nil
}

// logGuest mirrors a line of the guest's kernel log, whose level is syslog's.
func logGuest(log *zap.Logger, level int, line string) {
	const warning, info = 4, 6
	switch {
	case level <= warning:
		log.Warn(line)
	case level <= info:
		log.Info(line)
	default:
		log.Debug(line)
	}
}

// write prints the counters of a machine that has ended.
func (s *statsFile) write(m *kernel.Machine) error {
	out := os.Stderr
	if s.path != "" {
		f, err := os.Create(s.path)
		if err != nil {
			return err
		}
		defer f.Close()
		out = f
	}
	for _, c := range m.Stats() {
		if _, err := fmt.Fprintf(out, "%s %d\n", c.Name, c.Value); err != nil {
			return err
		}
	}
	return nil
}
