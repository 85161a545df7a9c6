// Command goum boots a Linux guest in one ordinary process.
//
// It owns what the user sees: flags, exit statuses, one-line errors, and the terminal. Everything else is package kernel's.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/alecthomas/kong"
)

// Exit statuses of goum itself, as docker run and env have them. A guest's own are passed on; 128+n is a signal's.
const (
	statusGoum        = 125 // a bad flag, a bad image, a host that lacks a feature
	statusCannotRun   = 126
	statusNotFound    = 127
	statusSignalFirst = 128
)

// commands is the command line.
type commands struct {
	Boot bootCommand `cmd:"" default:"withargs" help:"Boot an initramfs (default: the built-in u-root one) on the terminal."`
}

// failure is an error with an exit status of its own.
type failure struct {
	status int
	err    error
}

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

func main() {
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

// run is main without the exit.
func run(args []string, stdout, stderr io.Writer) int {
	args, guest := splitCommand(args)
	var c commands
	exited := -1
	parser, err := kong.New(&c,
		kong.Name("goum"),
		kong.Description("A Linux-compatible guest kernel that runs as one ordinary process."),
		kong.UsageOnError(),
		kong.Writers(stdout, stderr),
		kong.Exit(func(status int) { exited = status }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
		kong.Vars{"cpus": fmt.Sprint(defaultCPUs())},
	)
	if err != nil {
		return complain(stderr, err)
	}
	ctx, err := parser.Parse(args)
	if exited >= 0 { // --help
		return exited
	}
	if err != nil {
		return complain(stderr, fmt.Errorf("%w (see goum --help)", err))
	}
	c.Boot.command = guest
	var status int
	if err := ctx.Run(&status); err != nil {
		return complain(stderr, err)
	}
	return status
}

// splitCommand takes the guest's command, behind the first "--", away from goum's own arguments: none of it is a flag of ours.
func splitCommand(args []string) (own, command []string) {
	for i, a := range args {
		if a == "--" {
			return args[:i], args[i+1:]
		}
	}
	return args, nil
}

// complain prints the one line that a user sees, and returns the exit status.
func complain(stderr io.Writer, err error) int {
	fmt.Fprintf(stderr, "goum: %v\n", err)
	var f *failure
	if errors.As(err, &f) {
		return f.status
	}
	return statusGoum
}
