package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/peterh/liner"
	"golang.org/x/term"
	"mvdan.cc/sh/v3/syntax"
)

const (
	prompt1 = "$ "
	prompt2 = "> " // for the rest of something incomplete
)

// errInterrupted is Ctrl-C at the prompt.
var errInterrupted = errors.New("interrupted")

// input gives the lines that are typed. io.EOF is Ctrl-D on an empty line.
type input interface {
	line(prompt string) (string, error)
	// interrupt is a SIGINT that came while line waits, maybe.
	interrupt()
	// running brackets a command: the terminal is as the command before left it.
	running(on bool)
	remember(line string)
	close()
}

// interact reads and runs until the end, and returns the exit status.
func (sh *shell) interact() int {
	var in input
	if term.IsTerminal(0) && term.IsTerminal(1) && liner.TerminalSupported() {
		e, err := newEditor(sh)
		if err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", sh.name, cause(err))
			return 1
		}
		in = e
	} else {
		in = &plain{lines: newLineReader(os.Stdin)}
	}
	defer in.close()

	// Caught and not ignored: what is ignored stays so in children.
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTERM)
	go func() {
		for s := range signals {
			if s == syscall.SIGINT && !sh.interrupt() {
				in.interrupt()
			}
		}
	}()

	for {
		sh.jobs.report(os.Stderr, false)
		file, err := sh.read(in)
		switch {
		case err == io.EOF:
			sh.leave()
			sh.jobs.hangUp()
			return sh.status
		case err == errInterrupted:
			sh.setStatus(130)
			continue
		case err != nil:
			sh.syntaxError(err)
			continue
		}
		in.running(true)
		for _, stmt := range file.Stmts {
			if sh.execute(stmt) {
				sh.jobs.hangUp()
				return sh.status
			}
			if sh.interrupted {
				break // the rest of the line too
			}
		}
		os.Chdir(sh.runner.Dir) // so that where the shell has been can be unmounted; commands are started in Dir by name
		in.running(false)
	}
}

// read reads lines until they are a whole: nothing is open in them, no quote, loop or here-document.
func (sh *shell) read(in input) (*syntax.File, error) {
	prompt, text := prompt1, ""
	for {
		line, err := in.line(prompt)
		if err == io.EOF && text != "" {
			_, err := syntax.NewParser().Parse(strings.NewReader(text), "")
			if err == nil {
				err = errors.New("unexpected end of input")
			}
			return nil, err
		}
		if err != nil {
			return nil, err
		}
		if strings.TrimSpace(line) != "" {
			in.remember(line)
		}
		text += line + "\n"
		file, incomplete, err := parse(text)
		if !incomplete {
			return file, err
		}
		prompt = prompt2
	}
}

// parse parses what has been typed so far and says whether more has to come.
func parse(text string) (file *syntax.File, incomplete bool, err error) {
	file, err = syntax.NewParser().Parse(strings.NewReader(text), "")
	if syntax.IsIncomplete(err) {
		return nil, true, nil
	}
	var parse syntax.ParseError
	if errors.As(err, &parse) && strings.HasPrefix(parse.Text, "unclosed here-document") {
		return nil, true, nil
	}
	if err != nil {
		return nil, false, err
	}
	// A backslash at the very end: in a comment or a here-document it would mean nothing, but that is one line more.
	body := strings.TrimSuffix(text, "\n")
	slashes := len(body) - len(strings.TrimRight(body, `\`))
	return file, slashes%2 == 1, nil
}

// plain reads lines that the terminal edits, or that come from elsewhere with -i.
type plain struct {
	lines *lineReader
}

func (p *plain) line(prompt string) (string, error) {
	fmt.Fprint(os.Stderr, prompt)
	var text []byte
	buf := make([]byte, 4096)
	for {
		n, err := p.lines.Read(buf)
		text = append(text, buf[:n]...)
		if s, ok := strings.CutSuffix(string(text), "\n"); ok {
			return s, nil
		}
		switch {
		case err == nil:
		case errors.Is(err, io.EOF) && len(text) > 0:
			return string(text), nil
		default:
			return "", io.EOF
		}
	}
}

// The terminal has dropped the line; a continuation that was open stays so.
func (p *plain) interrupt()      { fmt.Fprint(os.Stderr, "\n"+prompt1) }
func (p *plain) running(bool)    {}
func (p *plain) remember(string) {}
func (p *plain) close()          {}

// editor is liner, kept from reading more than the line: what was typed ahead is for the command.
//
// Liner reads standard input through a buffer of its own. It gets a pipe instead, into which feed puts byte after byte
// while a line is being edited.
type editor struct {
	state         *liner.State
	cooked, edit  liner.ModeApplier
	keys          *os.File // liner reads here
	feeder        *os.File
	wanted        chan struct{}
	history       string
	historyFailed bool
}

func newEditor(sh *shell) (*editor, error) {
	cooked, err := liner.TerminalMode()
	if err != nil {
		return nil, err
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	e := &editor{cooked: cooked, keys: r, feeder: w, wanted: make(chan struct{}, 1)}
	stdin := os.Stdin
	os.Stdin = r
	e.state = liner.NewLiner() // which sets the terminal to editing
	os.Stdin = stdin
	if e.edit, err = liner.TerminalMode(); err != nil {
		return nil, err
	}
	e.state.SetCtrlCAborts(true)
	e.state.SetBeep(false)
	e.state.SetTabCompletionStyle(liner.TabPrints)
	e.state.SetWordCompleter(sh.complete)
	if home := os.Getenv("HOME"); home != "" {
		e.history = filepath.Join(home, ".sh_history")
		if f, err := os.Open(e.history); err == nil {
			e.state.ReadHistory(f) // up to the first line that is none
			f.Close()
		}
	}
	go e.feed(stdin)
	return e, nil
}

// feed passes on what is typed until a key that ends a line, each time one is wanted. After Ctrl-D it goes on: in the
// middle of a line that ends nothing, and at its start it ends the shell.
func (e *editor) feed(terminal *os.File) {
	var key [1]byte
	for range e.wanted {
		for {
			if _, err := terminal.Read(key[:]); err != nil {
				e.feeder.Close()
				return
			}
			if _, err := e.feeder.Write(key[:]); err != nil {
				return
			}
			if key[0] == '\r' || key[0] == '\n' || key[0] == 3 {
				break
			}
		}
	}
}

func (e *editor) line(prompt string) (string, error) {
	select {
	case e.wanted <- struct{}{}:
	default: // it still waits for a key
	}
	line, err := e.state.Prompt(prompt)
	switch {
	case errors.Is(err, liner.ErrPromptAborted):
		return "", errInterrupted
	case err != nil:
		if errors.Is(err, io.EOF) {
			fmt.Println()
		}
		return "", io.EOF
	}
	return line, nil
}

func (e *editor) interrupt() {}

func (e *editor) running(on bool) {
	if on {
		e.cooked.ApplyMode()
		return
	}
	// A mode that the command has set stays (stty); but not that of one which a signal has ended in the middle.
	e.edit.ApplyMode()
}

func (e *editor) remember(line string) {
	e.state.AppendHistory(line)
	if e.history == "" || e.historyFailed {
		return
	}
	f, err := os.OpenFile(e.history, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		e.historyFailed = true // a read-only home is no reason to complain, nor to try at each line
		return
	}
	_, err = f.WriteString(line + "\n")
	if e2 := f.Close(); err != nil || e2 != nil {
		e.historyFailed = true
	}
}

func (e *editor) close() {
	e.state.Close()
	e.cooked.ApplyMode()
}
