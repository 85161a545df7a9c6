package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"

	"goum/arch/abi"
	"goum/kernel"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"
)

// terminalHolder is what this test binary is when it stands for a goum that has a terminal: it takes it, and ends in the way that
// the role names.
func terminalHolder(end string) {
	var cfg kernel.Config
	t := openTerminal(&cfg)
	t.Follow(holder{})
	fmt.Printf("ready %d %d\r\n", cfg.Size.Col, cfg.Size.Row)
	switch end {
	case "return":
		t.Restore()
		t.Restore() // twice does no harm
		os.Exit(0)
	case "panic":
		go func() { panic("on a goroutine that has no deferred Restore") }()
	}
	time.Sleep(time.Minute) // a signal is on its way
	os.Exit(1)
}

// holder prints what a machine would be told.
type holder struct{}

func (holder) Resize(w abi.Winsize) { fmt.Printf("size %d %d\r\n", w.Col, w.Row) }
func (holder) PowerOff(int)         {}

// startHolder runs this binary as a terminalHolder on a new pty and waits until it has made it raw.
func startHolder(t *testing.T, end string) (*exec.Cmd, *screen) {
	t.Helper()
	// What is ignored here (a script's background job ignores SIGINT) would be in the child; what is caught is not.
	caught := make(chan os.Signal, 1)
	for _, sig := range []os.Signal{unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGTERM} {
		if signal.Ignored(sig) {
			signal.Notify(caught, sig)
		}
	}
	c := exec.Command(os.Args[0])
	c.Env = append(os.Environ(), roleVariable+"=terminal:"+end)
	m, tty, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close(); tty.Close() })
	if err := pty.Setsize(m, &pty.Winsize{Cols: 91, Rows: 23}); err != nil {
		t.Fatal(err)
	}
	// Not in a session of its own, as pty.Start has it: with the death of a session's leader the terminal would hang up.
	c.Stdin, c.Stdout, c.Stderr = tty, tty, tty
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Process.Kill() })
	s := newScreen(t, m)
	s.want("ready 91 23")
	return c, s
}

func TestTerminalIsRestored(t *testing.T) {
	for end, sig := range map[string]os.Signal{
		"return": nil, "panic": nil,
		"SIGHUP": unix.SIGHUP, "SIGINT": unix.SIGINT, "SIGQUIT": unix.SIGQUIT, "SIGTERM": unix.SIGTERM, "SIGKILL": unix.SIGKILL,
	} {
		t.Run(end, func(t *testing.T) {
			t.Parallel()
			c, s := startHolder(t, end)
			if sig != nil {
				if s.cooked() {
					t.Fatal("the terminal is not raw while goum has it")
				}
				c.Process.Signal(sig)
			}
			err := c.Wait()
			if w := c.ProcessState.Sys().(syscall.WaitStatus); sig == unix.SIGQUIT && w.ExitStatus() != 2 ||
				sig != nil && sig != unix.SIGQUIT && w.Signal() != sig {
				t.Errorf("goum ended with %v, want death by %v (SIGQUIT: Go's own status 2)", err, sig)
			}
			s.waitFor("the terminal as it was", s.cooked)
		})
	}
}

func TestTerminalSize(t *testing.T) {
	c, s := startHolder(t, "signal")
	if err := pty.Setsize(s.file, &pty.Winsize{Cols: 120, Rows: 50}); err != nil {
		t.Fatal(err)
	}
	c.Process.Signal(unix.SIGWINCH) // where it is a session's terminal, the host sends it
	s.want("size 120 50")
}

func TestConnect(t *testing.T) {
	for name, c := range map[string]struct {
		command      []string
		in, out, err bool // terminals
		streams      string
		console      io.Writer
	}{
		"boot on a terminal":           {nil, true, true, true, "...", os.Stdout},
		"boot in a pipe":               {nil, false, false, false, "...", os.Stdout},
		"command on a terminal":        {[]string{"x"}, true, true, true, "...", os.Stdout},
		"command with no terminal":     {[]string{"x"}, false, false, false, "iow", io.Discard},
		"command, output in a pipe":    {[]string{"x"}, true, false, true, ".o.", os.Stderr},
		"command, input from a pipe":   {[]string{"x"}, false, true, true, "i..", os.Stdout},
		"command, errors only to user": {[]string{"x"}, false, false, true, "io.", os.Stderr},
	} {
		cfg := kernel.Config{Command: c.command}
		new(terminal).connect(&cfg, c.in, c.out, c.err)
		got := []byte("...")
		for i, s := range cfg.Streams {
			if s != nil {
				got[i] = "iow"[i]
			}
		}
		if string(got) != c.streams || cfg.Out != c.console || cfg.Terminal != c.in {
			t.Errorf("%s: streams %s (want %s), console to %v (want %v), terminal %v", name, got, c.streams, cfg.Out, c.console, cfg.Terminal)
		}
	}
}

// screen is the user's side of a pty in a test: everything that came out so far, and keys to press.
type screen struct {
	t    *testing.T
	file *os.File
	more chan string
	seen strings.Builder
	from int // what want has not looked at yet
}

func newScreen(t *testing.T, f *os.File) *screen {
	s := &screen{t: t, file: f, more: make(chan string, 256)}
	go func() {
		defer close(s.more)
		buf := make([]byte, 4096)
		for {
			n, err := f.Read(buf)
			if n > 0 {
				s.more <- string(buf[:n])
			}
			if err != nil {
				return // EIO: the other side is gone
			}
		}
	}()
	return s
}

// patience bounds each wait for a guest: a busy machine is slow, a hanging one never answers.
const patience = 30 * time.Second

// want waits for text behind what was wanted before, and returns what came before it.
func (s *screen) want(text string) string {
	s.t.Helper()
	before, ok := s.look(text, patience)
	if !ok {
		s.t.Fatalf("no %q; the screen:\n%s", text, s.seen.String()[s.from:])
	}
	return before
}

func (s *screen) look(text string, within time.Duration) (before string, ok bool) {
	end := time.After(within)
	for {
		rest := s.seen.String()[s.from:]
		if i := strings.Index(rest, text); i >= 0 {
			s.from += i + len(text)
			return rest[:i], true
		}
		select {
		case p, ok := <-s.more:
			if !ok {
				return rest, false
			}
			s.seen.WriteString(p)
		case <-end:
			return rest, false
		}
	}
}

// press types keys.
func (s *screen) press(keys string) {
	s.t.Helper()
	if _, err := io.WriteString(s.file, keys); err != nil {
		s.t.Fatal(err)
	}
}

// cooked says whether the terminal is in the mode in which shells hand it to programs.
func (s *screen) cooked() bool {
	m, err := unix.IoctlGetTermios(int(s.file.Fd()), unix.TCGETS)
	return err == nil && m.Lflag&unix.ICANON != 0 && m.Lflag&unix.ECHO != 0 && m.Oflag&unix.OPOST != 0
}

func (s *screen) waitFor(what string, ok func() bool) {
	s.t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			s.t.Fatalf("not within %v: %s", patience, what)
		}
	}
}
