// Gosh is the shell of the initramfs: sh(1), with the command language of mvdan.cc/sh (POSIX, and much of bash) and a
// line editor at its prompt.
//
// Synopsis:
//
//	sh [-aefinux] [-o OPTION] [-s] [ARG]...
//	sh [-aefinux] [-o OPTION] -c COMMANDS [NAME [ARG]...]
//	sh [-aefinux] [-o OPTION] FILE [ARG]...
//
// Its exit status is the last command's, 127 (not found), 126 (cannot be executed), 2 (bad usage, syntax error) or 128+n
// when signal n ended the command.
//
// At the prompt Ctrl-C drops the line, and ends what runs but not the shell; Ctrl-D on an empty line leaves. Jobs (&, jobs,
// fg, bg, kill %N, wait) have process groups of their own and read /dev/null. The foreground has none: it shares the
// shell's, so Ctrl-Z stops nothing. Redirection knows the descriptors 0, 1 and 2.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"golang.org/x/term"
	"mvdan.cc/sh/v3/syntax"

	_ "goum.invalid/rootfs/build/alias" // for the whole initramfs; see there
)

// invocation is what the command line asks for.
type invocation struct {
	options     []string // for interp.Params: -e, +x, -o pipefail ...
	commands    string   // of -c
	hasCommands bool
	stdin       bool // -s
	interactive bool // -i
	name        string
	args        []string
}

const usage = "usage: sh [-aefinsux] [-o OPTION] [-c COMMANDS [NAME [ARG]...] | FILE [ARG]... | -s [ARG]...]"

// parseArgs reads the command line; args is without the program's own name.
func parseArgs(args []string) (invocation, error) {
	inv := invocation{name: "sh"}
	for len(args) > 0 {
		arg := args[0]
		if len(arg) < 2 || arg[0] != '-' && arg[0] != '+' {
			if arg == "-" { // ends the options, as -- does
				args = args[1:]
			}
			break
		}
		args = args[1:]
		if arg == "--" {
			break
		}
		if arg == "--login" || arg == "--norc" || arg == "--noprofile" || arg == "--posix" {
			continue // bash's: there is no such file to read or to leave out
		}
		sign := arg[:1]
		for _, letter := range arg[1:] {
			switch {
			case strings.ContainsRune("aefnux", letter):
				inv.options = append(inv.options, sign+string(letter))
			case letter == 'o':
				if len(args) == 0 {
					return inv, fmt.Errorf("option %so needs a name; %s", sign, usage)
				}
				inv.options = append(inv.options, sign+"o", args[0])
				args = args[1:]
			case sign == "-" && letter == 'c':
				inv.hasCommands = true
			case sign == "-" && letter == 's':
				inv.stdin = true
			case sign == "-" && letter == 'i':
				inv.interactive = true
			case strings.ContainsRune("bhlmv", letter): // nothing to switch on or off
			default:
				return inv, fmt.Errorf("unknown option %s%c; %s", sign, letter, usage)
			}
		}
	}
	switch {
	case inv.hasCommands:
		if len(args) == 0 {
			return inv, fmt.Errorf("option -c needs commands; %s", usage)
		}
		inv.commands, args = args[0], args[1:]
		if len(args) > 0 {
			inv.name, args = args[0], args[1:]
		}
	case !inv.stdin && len(args) > 0:
		inv.name, args = args[0], args[1:]
	default:
		inv.stdin = true
	}
	inv.args = args
	return inv, nil
}

// run does what the command line asks for and returns the shell's exit status.
func run(args []string) int {
	inv, err := parseArgs(args)
	if err != nil {
		fmt.Fprintf(os.Stderr, "sh: %v\n", err)
		return 2
	}
	prompt := inv.stdin && !inv.hasCommands && (inv.interactive || term.IsTerminal(0))
	sh, err := newShell(inv, prompt)
	if err != nil {
		fmt.Fprintf(os.Stderr, "sh: %v\n", err)
		return 2
	}
	if prompt {
		return sh.interact()
	}
	// The runtime would print all goroutines.
	quit := make(chan os.Signal, 1)
	signal.Notify(quit, syscall.SIGQUIT)
	go func() {
		<-quit
		os.Exit(128 + int(syscall.SIGQUIT))
	}()
	switch {
	case inv.hasCommands:
		return sh.runProgram(strings.NewReader(inv.commands))
	case inv.stdin:
		return sh.runStream(newLineReader(os.Stdin))
	}
	f, err := os.Open(inv.name)
	if err != nil {
		fmt.Fprintf(os.Stderr, "sh: %s: %v\n", inv.name, cause(err))
		if errors.Is(err, os.ErrNotExist) {
			return 127
		}
		return 126
	}
	defer f.Close()
	return sh.runProgram(f)
}

// cause returns the errno in err, if there is one: the rest of the message would be an internal name and the path again.
func cause(err error) error {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return errno
	}
	return err
}

// runProgram runs a whole script, which is parsed before its first command runs.
func (sh *shell) runProgram(r io.Reader) int {
	file, err := syntax.NewParser().Parse(r, sh.name)
	if err != nil {
		sh.syntaxError(err)
		return 2
	}
	sh.execute(file)
	return sh.status
}

// runStream runs standard input, each line before the next is read: a command may read the lines after its own.
func (sh *shell) runStream(r io.Reader) int {
	for stmt, err := range syntax.NewParser().StmtsSeq(r) {
		if err != nil {
			sh.syntaxError(err)
			return 2
		}
		if sh.execute(stmt) {
			return sh.status
		}
	}
	sh.leave()
	return sh.status
}

// syntaxError reports what the parser found: with the line, where it is not the one just typed.
func (sh *shell) syntaxError(err error) {
	var parse syntax.ParseError
	var lang syntax.LangError
	switch {
	case errors.As(err, &parse) && sh.interactive:
		fmt.Fprintf(os.Stderr, "%s: syntax error: %s\n", sh.name, parse.Text)
	case errors.As(err, &parse):
		fmt.Fprintf(os.Stderr, "%s: line %d: syntax error: %s\n", sh.name, parse.Pos.Line(), parse.Text)
	case errors.As(err, &lang):
		fmt.Fprintf(os.Stderr, "%s: line %d: syntax error: %s is not supported\n", sh.name, lang.Pos.Line(), lang.Feature)
	default:
		fmt.Fprintf(os.Stderr, "%s: %v\n", sh.name, cause(err))
	}
	sh.setStatus(2)
}

// lineReader returns at most one line per Read, and takes no byte after it from f.
type lineReader struct {
	f        *os.File
	seekable bool
}

func newLineReader(f *os.File) *lineReader {
	_, err := f.Seek(0, io.SeekCurrent)
	return &lineReader{f, err == nil}
}

func (r *lineReader) Read(p []byte) (int, error) {
	if r.seekable {
		n, err := r.f.Read(p)
		if end := strings.IndexByte(string(p[:max(n, 0)]), '\n'); end >= 0 && end+1 < n {
			if _, err := r.f.Seek(int64(end+1-n), io.SeekCurrent); err != nil {
				return 0, err
			}
			n = end + 1
		}
		return n, err
	}
	for n := range p {
		if _, err := r.f.Read(p[n : n+1]); err != nil {
			if n > 0 {
				err = nil // it comes again
			}
			return n, err
		}
		if p[n] == '\n' {
			return n + 1, nil
		}
	}
	return len(p), nil
}

func main() {
	os.Exit(run(os.Args[1:]))
}
