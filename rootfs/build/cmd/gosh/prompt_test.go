package main

import (
	"bytes"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/creack/pty"
)

// session is a shell at a terminal.
type session struct {
	t        *testing.T
	terminal *os.File
	wait     func() int

	mu     sync.Mutex
	seen   bytes.Buffer
	closed bool
}

func newSession(t *testing.T, environ ...string) *session {
	t.Helper()
	cmd := shellCommand(t)
	cmd.Env = append(cmd.Env, environ...)
	cmd.Dir = t.TempDir()
	f, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: 24, Cols: 80})
	if err != nil {
		t.Fatal(err)
	}
	s := &session{t: t, terminal: f}
	ended := make(chan struct{})
	go func() {
		cmd.Wait()
		close(ended)
	}()
	s.wait = func() int {
		select {
		case <-ended:
		case <-time.After(10 * time.Second):
			cmd.Process.Kill()
			t.Fatalf("the shell does not end; seen: %q", s.text())
		}
		return cmd.ProcessState.ExitCode()
	}
	t.Cleanup(func() { cmd.Process.Kill(); f.Close() })
	go func() {
		buf := make([]byte, 4096)
		for {
			n, err := f.Read(buf)
			s.mu.Lock()
			s.seen.Write(buf[:n])
			s.closed = err != nil
			s.mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	return s
}

func (s *session) text() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seen.String()
}

// expect waits for text, and forgets what was seen up to its end.
func (s *session) expect(text string) {
	s.t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for time.Now().Before(deadline) {
		s.mu.Lock()
		i := strings.Index(s.seen.String(), text)
		if i >= 0 {
			s.seen.Next(i + len(text))
		}
		s.mu.Unlock()
		if i >= 0 {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	s.t.Fatalf("no %q; seen: %q", text, s.text())
}

func (s *session) typed(text string) {
	s.t.Helper()
	if _, err := s.terminal.WriteString(text); err != nil {
		s.t.Fatal(err)
	}
}

func TestPrompt(t *testing.T) {
	for _, kind := range []string{"xterm", "dumb"} {
		t.Run(kind, func(t *testing.T) {
			s := newSession(t, "TERM="+kind)
			for _, c := range []struct{ keys, want string }{
				{"echo a$((1+1))b\r", "a2b\r\n"},
				{"cat <<E | tr a-z A-Z\rhere $((40+2))\rE\r", "HERE 42\r\n"},
				{"echo 'x\ry' end\r", "x\r\ny end\r\n"},
				{"for i in 1 2 3; do\recho n$i\rdone\r", "n1\r\nn2\r\nn3\r\n"},
				{"echo one \\\rtwo\r", "one two\r\n"},
				{"false\r", ""}, {"echo =$?\r", "=1\r\n"},
				{"nosuch\r", "sh: nosuch: not found\r\n"}, {"echo =$?\r", "=127\r\n"},
				{"fi\r", "sh: syntax error: "}, {"echo =$?\r", "=2\r\n"},
				{"echo ${x?gone}\r", "x: gone\r\n"}, {"echo still\r", "still\r\n"},
				{"(exit 3)\r", ""}, {"echo =$?\r", "=3\r\n"},
				{"sleep 0.01 &\r", "[1] "}, {"wait\r", ""}, {"\r", ""},
			} {
				s.expect(prompt1)
				for i, line := range strings.SplitAfter(c.keys, "\r") {
					if line != "" && i > 0 {
						s.expect(prompt2)
					}
					s.typed(line)
				}
				s.expect("\r\n") // the echo of what was typed
				s.expect(c.want)
			}
			s.expect(prompt1)
			s.typed("exit 5\r")
			if status := s.wait(); status != 5 {
				t.Errorf("status %d", status)
			}
		})
	}
}

func TestInterrupt(t *testing.T) {
	s := newSession(t)
	s.expect(prompt1)
	s.typed("half a li\x03")
	s.expect("^C\r\n")
	s.expect(prompt1)
	s.typed("echo =$?\r")
	s.expect("=130\r\n")
	for _, c := range []string{"sleep 100", "sleep 100 | cat", "while :; do sleep 0.01; done", "while :; do :; done", "sleep 100 & wait", "sleep 99; echo not this",
		"cat", "sh -c 'sleep 98; echo not this'", "for i in 1 2; do sleep 97; done"} {
		s.expect(prompt1)
		s.typed(c + "; echo not $((1+1))\r")
		s.expect("\r\n")
		time.Sleep(150 * time.Millisecond) // it must run
		s.typed("\x03")
		s.expect("^C")
		s.expect(prompt1)
		if strings.Contains(s.text(), "not 2") {
			t.Errorf("%s: the rest of the line ran", c)
		}
		s.typed("echo =$?\r")
		s.expect("=130\r\n")
	}
	// One that catches the signal ends as it likes, and the line goes on.
	s.expect(prompt1)
	s.typed("/bin/sh -c 'trap \"exit 4\" INT; while :; do sleep 0.01; done'; echo caught $?\r")
	s.expect("\r\n")
	time.Sleep(150 * time.Millisecond)
	s.typed("\x03")
	s.expect("caught 4\r\n")
	s.expect(prompt1)
	s.typed("\x04")
	s.wait()
}

func TestJobs(t *testing.T) {
	s := newSession(t)
	for _, c := range []struct{ keys, want string }{
		{"sleep 100 &\r", "[1] "},
		{"sleep 101 | cat &\r", "[2] "},
		{"jobs\r", "[2]  Running                 sleep 101 | cat\r\n"},
		{"kill %1\r", "[1]  Terminated              sleep 100\r\n"},
		{"kill -9 %2\r", "[2]  Killed                  sleep 101 | cat\r\n"},
		{"(exit 3) &\r", "[1]  Exit 3                  (exit 3)\r\n"},
		{"fg\r", "no such job"},
		{"kill %9\r", "no such job"},
	} {
		s.expect(prompt1)
		s.typed(c.keys)
		s.expect("\r\n")
		if strings.HasPrefix(c.keys, "kill %1") || strings.HasPrefix(c.keys, "kill -9") || strings.HasPrefix(c.keys, "(exit") {
			time.Sleep(100 * time.Millisecond) // it is reported before the next prompt
			s.typed("\r")
		}
		s.expect(c.want)
	}
	s.typed("\r")
	s.expect(prompt1)
	s.typed("sleep 100 &\r")
	s.expect("[1] ")
	s.expect(prompt1)
	s.typed("sleep 0.05; fg\r")
	s.expect("sleep 100\r\n")
	s.typed("\x03")
	s.expect(prompt1)
	s.typed("exit\r") // the job is hung up: the terminal closes
	s.wait()
}

// A command has the terminal as it was before the shell, and what was typed ahead.
func TestTerminalMode(t *testing.T) {
	s := newSession(t)
	s.expect(prompt1)
	s.typed("stty -a | tr -s ' ;' '\\n' | grep -E '^-?(icanon|isig|icrnl|echo)$' | sort | tr '\\n' ' '\r")
	s.expect("echo icanon icrnl isig ")
	s.expect(prompt1)
	s.typed("cat >f; echo $((1+1))read\rtyped ahead\r") // what comes after the first line is for cat
	time.Sleep(300 * time.Millisecond)
	s.typed("\x04")
	s.expect("2read")
	s.expect(prompt1)
	s.typed("wc -w <f\r")
	s.expect("2\r\n")
	s.expect(prompt1)
	s.typed("\x1b[A\x1b[D\x7f; echo >") // the line before, and its end edited: wc -w ; echo >f
	s.typed("\r")
	time.Sleep(100 * time.Millisecond)
	s.typed("\x04") // for wc
	s.expect("0\r\n")
	s.expect(prompt1)
	s.typed("cat f\t\x7f|wc -c\r") // the completion of f, without its space
	s.expect("1\r\n")
	s.expect(prompt1)
	s.typed("x\x7f\x04")
	s.wait()
}
