// Env runs a command in a changed environment, or prints the environment. See env(1).
//
// Synopsis:
//
//	env [-i] [-u NAME]... [NAME=VALUE]... [COMMAND [ARG]...]
//
// Its exit status is the command's, or 125 (bad usage), 126 (cannot be executed) or 127 (not found).
package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"strings"
	"syscall"

	_ "goum.invalid/rootfs/build/alias" // for the whole initramfs; see there
)

// plan reads the command line: the environment that results from it, and the command, empty if there is none.
func plan(args, environ []string) (env, command []string, err error) {
	env = append(env, environ...)
	for len(args) > 0 {
		arg := args[0]
		switch {
		case arg == "-i" || arg == "-" || arg == "--ignore-environment":
			env = env[:0]
		case arg == "-u" || arg == "--unset":
			if len(args) < 2 {
				return nil, nil, fmt.Errorf("option %s needs a name", arg)
			}
			args = args[1:]
			env = unset(env, args[0])
		case strings.HasPrefix(arg, "-u"):
			env = unset(env, arg[2:])
		case arg == "--":
			return assign(env, args[1:])
		case strings.HasPrefix(arg, "-"):
			return nil, nil, fmt.Errorf("unknown option %s (usage: env [-i] [-u NAME]... [NAME=VALUE]... [COMMAND [ARG]...])", arg)
		default:
			return assign(env, args)
		}
		args = args[1:]
	}
	return env, nil, nil
}

// assign applies the leading NAME=VALUE arguments; what follows is the command.
func assign(env, args []string) ([]string, []string, error) {
	for len(args) > 0 {
		name, _, ok := strings.Cut(args[0], "=")
		if !ok {
			break
		}
		env = append(unset(env, name), args[0])
		args = args[1:]
	}
	return env, args, nil
}

func unset(env []string, name string) []string {
	var kept []string
	for _, v := range env {
		if !strings.HasPrefix(v, name+"=") {
			kept = append(kept, v)
		}
	}
	return kept
}

func run(args, environ []string, stdout io.Writer) (int, error) {
	env, command, err := plan(args, environ)
	if err != nil {
		return 125, err
	}
	if len(command) == 0 {
		for _, v := range env {
			if _, err := fmt.Fprintln(stdout, v); err != nil {
				return 125, err
			}
		}
		return 0, nil
	}
	// The command is looked for in the new PATH. Without one, where the commands of this initramfs are: the C library
	// has such a default too.
	os.Clearenv()
	os.Setenv("PATH", "/bbin:/bin:/usr/bin")
	for _, v := range env {
		if name, value, ok := strings.Cut(v, "="); ok && name != "" {
			os.Setenv(name, value)
		}
	}
	path, err := exec.LookPath(command[0])
	if err == nil {
		err = syscall.Exec(path, command, env)
	}
	if errors.Is(err, exec.ErrNotFound) || errors.Is(err, fs.ErrNotExist) {
		return 127, fmt.Errorf("%s: not found", command[0])
	}
	return 126, fmt.Errorf("%s: %w", command[0], err)
}

func main() {
	status, err := run(os.Args[1:], os.Environ(), os.Stdout)
	if err != nil {
		fmt.Fprintf(os.Stderr, "env: %v\n", err)
	}
	os.Exit(status)
}
