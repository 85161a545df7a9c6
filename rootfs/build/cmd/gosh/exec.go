package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	"mvdan.cc/sh/v3/expand"
	"mvdan.cc/sh/v3/interp"
)

// errKilled ends what is left of a job that kill has ended: the interpreter is not a process that a signal could end.
var errKilled = errors.New("killed")

// exec runs a command that is neither a function nor a builtin of the interpreter.
func (sh *shell) exec(ctx context.Context, args []string) error {
	hc := interp.HandlerCtx(ctx)
	if name, ok := strings.CutPrefix(args[0], hidden); ok {
		return builtins[name](sh, ctx, hc, args[1:])
	}
	path, status, err := find(hc.Dir, hc.Env, args[0])
	if err != nil {
		fmt.Fprintf(hc.Stderr, "%s: %s: %v\n", sh.name, args[0], err)
		return interp.ExitStatus(status)
	}
	job := sh.jobs.of(hc.Env)
	state, err := sh.spawn(hc, job, path, args)
	if errors.Is(err, syscall.ENOEXEC) { // a script without a first line that says whose
		state, err = sh.spawn(hc, job, "/proc/self/exe", append([]string{"sh", path}, args[1:]...))
	}
	if err == errKilled {
		return err
	}
	if state == nil {
		status := interp.ExitStatus(126)
		message := cause(err)
		if errors.Is(err, fs.ErrNotExist) { // it is there: what its first line or header names is not
			status, message = 127, errors.New("its interpreter is not found")
		}
		fmt.Fprintf(hc.Stderr, "%s: %s: %v\n", sh.name, args[0], message)
		return status
	}
	ws, ok := state.Sys().(syscall.WaitStatus)
	if !ok || !ws.Signaled() {
		if state.ExitCode() == 0 {
			return nil
		}
		return interp.ExitStatus(state.ExitCode())
	}
	switch s := ws.Signal(); {
	case s == syscall.SIGINT:
		if sh.interactive && job == nil {
			sh.mu.Lock()
			if sh.cancel != nil {
				sh.cancel()
			}
			sh.mu.Unlock()
			return context.Canceled
		}
	case s == syscall.SIGPIPE || job != nil: // a job's end is told at the prompt
	default:
		fmt.Fprintln(hc.Stderr, describe(s, ws.CoreDump()))
	}
	return interp.ExitStatus(128 + int(ws.Signal()))
}

func describe(s syscall.Signal, core bool) string {
	text := s.String()
	if len(text) > 0 {
		text = strings.ToUpper(text[:1]) + text[1:]
	}
	if core {
		text += " (core dumped)"
	}
	return text
}

// spawn starts a process and waits for its end. Without a state it did not start.
func (sh *shell) spawn(hc interp.HandlerContext, j *job, path string, args []string) (*os.ProcessState, error) {
	stdin := hc.Stdin
	if f, ok := stdin.(*os.File); ok && (f == nil || j != nil && f == os.Stdin) {
		stdin = nil // /dev/null
	}
	env := environment(hc.Env, hc.Dir)
	start := func() (*exec.Cmd, error) {
		cmd := &exec.Cmd{Path: path, Args: args, Env: env, Dir: hc.Dir, Stdin: stdin, Stdout: hc.Stdout, Stderr: hc.Stderr}
		if j != nil {
			return cmd, sh.jobs.start(j, cmd, sh.interactive)
		}
		return cmd, cmd.Start()
	}
	if j == nil {
		sh.count(1)
		defer sh.count(-1)
	}
	cmd, err := start()
	// While another thread forks, its child has our files until it executes: one that was just written is busy.
	for wait := time.Millisecond; errors.Is(err, syscall.ETXTBSY) && wait < 300*time.Millisecond; wait *= 2 {
		time.Sleep(wait)
		cmd, err = start()
	}
	if err != nil {
		return nil, err
	}
	pid := cmd.Process.Pid
	err = cmd.Wait()
	if j != nil {
		sh.jobs.ended(j, pid)
	}
	return cmd.ProcessState, err
}

func (sh *shell) count(n int) {
	sh.mu.Lock()
	sh.foreground += n
	sh.mu.Unlock()
}

// environment returns the exported variables.
func environment(env expand.Environ, dir string) []string {
	last := map[string]string{}
	var names []string // in an order that does not change from run to run
	for name, v := range env.Each {
		if _, seen := last[name]; !seen {
			names = append(names, name)
			last[name] = ""
		}
		last[name] = ""
		if v.IsSet() && v.Exported && v.Kind == expand.String {
			last[name] = name + "=" + v.String()
		}
	}
	list := make([]string, 0, len(names)+1)
	for _, name := range names {
		if v := last[name]; v != "" && name != "PWD" {
			list = append(list, v)
		}
	}
	return append(list, "PWD="+dir)
}

var (
	errNotFound    = errors.New("not found")
	errIsDirectory = errors.New("is a directory")
	errPermission  = errors.New("permission denied")
)

// find returns the file that a command's name stands for, or why there is none, with the exit status that says so.
func find(dir string, env expand.Environ, name string) (path string, status int, err error) {
	if strings.Contains(name, "/") {
		path = inDir(dir, name)
		err = executable(path)
	} else {
		search := defaultPath
		if v := env.Get("PATH"); v.IsSet() {
			search = v.String()
		}
		err = errNotFound
		for _, d := range strings.Split(search, ":") {
			candidate := filepath.Join(inDir(dir, d), name)
			switch e := executable(candidate); {
			case e == nil && name != "":
				return candidate, 0, nil
			case e == errPermission: // unless a later directory has one that can be executed
				err = e
			}
		}
	}
	switch err {
	case nil:
		return path, 0, nil
	case errNotFound:
		return "", 127, err
	}
	return "", 126, err
}

func executable(path string) error {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR):
		return errNotFound
	case err != nil:
		return cause(err)
	case info.IsDir():
		return errIsDirectory
	case info.Mode()&0o111 == 0:
		return errPermission
	}
	return nil
}

func inDir(dir, name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(dir, name)
}

// isBroken says whether f is a pipe that nobody reads any more.
func isBroken(f *os.File) bool {
	c, err := f.SyscallConn()
	if err != nil {
		return false
	}
	broken := false
	c.Control(func(fd uintptr) {
		p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}
		n, err := unix.Poll(p, 0)
		broken = err == nil && n > 0 && p[0].Revents&unix.POLLERR != 0
	})
	return broken
}
