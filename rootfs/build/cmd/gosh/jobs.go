package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	"mvdan.cc/sh/v3/expand"
	"mvdan.cc/sh/v3/interp"
)

// startWait is how long X & waits for its first process, whose number $! is. One that runs builtins only has none.
const startWait = 200 * time.Millisecond

// jobs are the statements that were started with &.
type jobs struct {
	mu   sync.Mutex
	list []*job // by number
}

// job is guarded by the mutex of jobs, except for what never changes.
type job struct {
	number  int
	text    string
	started chan struct{} // closed with the first process, or at the end of a job that had none

	leader int    // the first process, 0 before: what $! shows and kill finds the job by
	group  int    // process group, 0: none of its own
	inner  string // the interpreter's name for it, g1, g2 ...; each subshell counts its own
	pids   []int  // the processes that run
	signal syscall.Signal
	cut    bool // something of it did not run any more because of signal
	done   bool
	status int
}

// finished says whether nothing of j runs any more. What a killed job has left to do is never done.
func (j *job) finished() bool {
	return j.done || j.signal != 0 && len(j.pids) == 0
}

func (j *job) state() string {
	switch {
	case !j.finished():
		return "Running"
	case j.signal != 0 && (!j.done || j.status == 128+int(j.signal)):
		return describe(j.signal, false)
	case j.status != 0:
		return fmt.Sprintf("Exit %d", j.status)
	}
	return "Done"
}

func (j *job) isStarted() bool {
	select {
	case <-j.started:
		return true
	default:
		return false
	}
}

// of returns the job in which a command with the environment env runs, or nil.
func (js *jobs) of(env expand.Environ) *job {
	return js.numbered(env.Get(jobVar).String())
}

func (js *jobs) numbered(number string) *job {
	n, err := strconv.Atoi(number)
	if err != nil {
		return nil
	}
	js.mu.Lock()
	defer js.mu.Unlock()
	for _, j := range js.list {
		if j.number == n {
			return j
		}
	}
	return nil
}

// killed says whether the job of env, if any, has been killed: then the command that asks is not to run.
func (js *jobs) killed(env expand.Environ) bool {
	j := js.of(env)
	if j == nil {
		return false
	}
	js.mu.Lock()
	defer js.mu.Unlock()
	j.cut = j.signal != 0
	return j.cut
}

// find returns the job that a word means: %2, %+, %%, a process that $! has shown, the interpreter's name.
func (js *jobs) find(word string) *job {
	js.mu.Lock()
	defer js.mu.Unlock()
	number, isNumber := strings.CutPrefix(word, "%")
	for _, j := range slices.Backward(js.list) {
		switch {
		case isNumber && (number == "" || number == "%" || number == "+") && !j.finished(),
			isNumber && number == strconv.Itoa(j.number),
			isNumber && number != "" && strings.HasPrefix(j.text, number),
			!isNumber && j.leader != 0 && word == strconv.Itoa(j.leader),
			!isNumber && word == j.inner:
			return j
		}
	}
	return nil
}

func (js *jobs) add(text string) *job {
	js.mu.Lock()
	defer js.mu.Unlock()
	j := &job{number: 1, text: text, started: make(chan struct{})}
	if n := len(js.list); n > 0 {
		j.number = js.list[n-1].number + 1
	}
	js.list = append(js.list, j)
	return j
}

// start starts a process of j, in j's group if it has one: ownGroup says so.
func (js *jobs) start(j *job, cmd *exec.Cmd, ownGroup bool) error {
	js.mu.Lock()
	defer js.mu.Unlock()
	if j.signal != 0 {
		j.cut = true
		return errKilled
	}
	if ownGroup {
		if len(j.pids) == 0 {
			j.group = 0 // the last of that group has been waited for: its number may be another's
		}
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pgid: j.group}
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	pid := cmd.Process.Pid
	j.pids = append(j.pids, pid)
	if ownGroup && j.group == 0 {
		j.group = pid
	}
	if j.leader == 0 {
		j.leader = pid
	}
	if !j.isStarted() {
		close(j.started)
	}
	return nil
}

// ended is told of the end of a process of j.
func (js *jobs) ended(j *job, pid int) {
	js.mu.Lock()
	defer js.mu.Unlock()
	j.pids = slices.DeleteFunc(j.pids, func(p int) bool { return p == pid })
}

// finish is told of j's end and returns its status.
func (js *jobs) finish(j *job, status int) int {
	js.mu.Lock()
	defer js.mu.Unlock()
	if j.cut {
		status = 128 + int(j.signal)
	}
	j.done, j.status = true, status
	if !j.isStarted() {
		close(j.started)
	}
	return status
}

// kill sends s to the processes of j. What the job has not begun yet ends with a signal that ends processes.
func (js *jobs) kill(j *job, s syscall.Signal) error {
	js.mu.Lock()
	defer js.mu.Unlock()
	if j.finished() {
		return unix.ESRCH
	}
	switch s {
	case 0, unix.SIGCHLD, unix.SIGCONT, unix.SIGSTOP, unix.SIGTSTP, unix.SIGTTIN, unix.SIGTTOU, unix.SIGURG, unix.SIGWINCH, unix.SIGUSR1, unix.SIGUSR2:
	default:
		j.signal = s
		if !j.isStarted() {
			close(j.started)
		}
	}
	if j.group != 0 && len(j.pids) > 0 {
		return unix.Kill(-j.group, s)
	}
	var err error
	for _, pid := range j.pids {
		if e := unix.Kill(pid, s); e != nil {
			err = e
		}
	}
	return err
}

// report writes the jobs that have finished and forgets them; with all, those that run too.
func (js *jobs) report(w io.Writer, all bool) {
	js.mu.Lock()
	defer js.mu.Unlock()
	js.list = slices.DeleteFunc(js.list, func(j *job) bool {
		if all || j.finished() {
			fmt.Fprintf(w, "[%d]  %-22s  %s\n", j.number, j.state(), j.text)
		}
		return j.finished()
	})
}

// hangUp tells the jobs that the shell leaves.
func (js *jobs) hangUp() {
	js.mu.Lock()
	list := slices.Clone(js.list)
	js.mu.Unlock()
	for _, j := range list {
		// Those that have ended meanwhile: no such process.
		js.kill(j, unix.SIGHUP)
		js.kill(j, unix.SIGCONT)
	}
}

type builtin func(sh *shell, ctx context.Context, hc interp.HandlerContext, args []string) error

// builtins has what call renames: the interpreter either lacks it or does not know of processes. Names with a 0 in front
// are for what background makes.
var builtins map[string]builtin

func init() { // not an initialiser: that would be a cycle
	builtins = map[string]builtin{
		"jobs": (*shell).jobsBuiltin, "fg": (*shell).fg, "bg": (*shell).bg, "kill": (*shell).kill, "wait": (*shell).wait,
		"hash": (*shell).hash,
		"0new": (*shell).newJob, "0known": (*shell).knownJob, "0started": (*shell).startedJob, "0end": (*shell).endJob,
	}
}

func (sh *shell) hash(context.Context, interp.HandlerContext, []string) error { return nil } // nothing is remembered

func (sh *shell) newJob(_ context.Context, hc interp.HandlerContext, args []string) error {
	fmt.Fprint(hc.Stdout, sh.jobs.add(strings.Join(args, " ")).number)
	return nil
}

func (sh *shell) knownJob(_ context.Context, hc interp.HandlerContext, args []string) error {
	if j := sh.jobs.numbered(hc.Env.Get(newVar).String()); j != nil && len(args) == 1 {
		sh.jobs.mu.Lock()
		j.inner = args[0]
		sh.jobs.mu.Unlock()
	}
	return nil
}

func (sh *shell) startedJob(ctx context.Context, hc interp.HandlerContext, _ []string) error {
	j := sh.jobs.numbered(hc.Env.Get(newVar).String())
	if j == nil {
		return nil
	}
	limit := time.NewTimer(startWait)
	defer limit.Stop()
	select {
	case <-j.started:
	case <-limit.C:
	case <-ctx.Done():
	}
	sh.jobs.mu.Lock()
	defer sh.jobs.mu.Unlock()
	id := j.inner
	if j.leader != 0 {
		id = strconv.Itoa(j.leader)
	}
	fmt.Fprint(hc.Stdout, id)
	if sh.interactive && !hc.Env.Get(jobVar).IsSet() {
		fmt.Fprintf(os.Stderr, "[%d] %s\n", j.number, id)
	}
	return nil
}

func (sh *shell) endJob(_ context.Context, hc interp.HandlerContext, args []string) error {
	status := 0
	if len(args) == 1 {
		status, _ = strconv.Atoi(args[0]) // it is $?
	}
	if j := sh.jobs.of(hc.Env); j != nil {
		status = sh.jobs.finish(j, status)
	}
	if status != 0 {
		return interp.ExitStatus(status)
	}
	return nil
}

func (sh *shell) jobsBuiltin(_ context.Context, hc interp.HandlerContext, _ []string) error {
	sh.jobs.report(hc.Stdout, true)
	return nil
}

// complain writes a builtin's message and returns its status.
func (sh *shell) complain(hc interp.HandlerContext, status int, format string, args ...any) error {
	fmt.Fprintf(hc.Stderr, sh.name+": "+format+"\n", args...)
	return interp.ExitStatus(status)
}

// wait waits for the jobs named, or for all. Unlike the interpreter's it can be interrupted.
func (sh *shell) wait(ctx context.Context, hc interp.HandlerContext, args []string) error {
	words := []string{"wait"}
	for _, a := range args {
		j := sh.jobs.find(a)
		if j == nil {
			if strings.HasPrefix(a, "-") {
				return sh.complain(hc, 2, "wait: unknown option %s", a)
			}
			return sh.complain(hc, 127, "wait: %s is not a child of this shell", a)
		}
		sh.jobs.mu.Lock()
		words = append(words, j.inner)
		sh.jobs.mu.Unlock()
	}
	result := make(chan error, 1)
	go func() { result <- hc.Builtin(ctx, words) }()
	select {
	case err := <-result:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// fg waits for a job, and hands Ctrl-C to it. It does not get the terminal.
func (sh *shell) fg(ctx context.Context, hc interp.HandlerContext, args []string) error {
	j, err := sh.jobArg(hc, "fg", args)
	if j == nil {
		return err
	}
	fmt.Fprintln(hc.Stdout, j.text)
	sh.jobs.kill(j, unix.SIGCONT) // may be over already
	err = sh.wait(ctx, hc, []string{fmt.Sprintf("%%%d", j.number)})
	if ctx.Err() != nil {
		sh.jobs.kill(j, unix.SIGINT)
	}
	return err
}

func (sh *shell) bg(_ context.Context, hc interp.HandlerContext, args []string) error {
	j, err := sh.jobArg(hc, "bg", args)
	if j == nil {
		return err
	}
	if err := sh.jobs.kill(j, unix.SIGCONT); err != nil {
		return sh.complain(hc, 1, "bg: %%%d: %v", j.number, err)
	}
	return nil
}

func (sh *shell) jobArg(hc interp.HandlerContext, name string, args []string) (*job, error) {
	word := "%%"
	if len(args) > 0 {
		word = args[0]
	}
	if j := sh.jobs.find(word); j != nil {
		return j, nil
	}
	return nil, sh.complain(hc, 1, "%s: %s: no such job", name, word)
}

// kill is kill(1) that knows jobs.
func (sh *shell) kill(_ context.Context, hc interp.HandlerContext, args []string) error {
	s, targets, list, err := parseKill(args)
	if err != nil {
		return sh.complain(hc, 2, "kill: %v", err)
	}
	if list {
		var names []string
		for n := syscall.Signal(1); n < 32; n++ {
			names = append(names, strings.TrimPrefix(unix.SignalName(n), "SIG"))
		}
		fmt.Fprintln(hc.Stdout, strings.Join(names, " "))
		return nil
	}
	failed := false
	for _, t := range targets {
		var err error
		if j := sh.jobs.find(t); j != nil {
			err = sh.jobs.kill(j, s)
		} else if pid, e := strconv.Atoi(t); e == nil {
			err = unix.Kill(pid, s)
		} else {
			err = fmt.Errorf("no such job or process")
		}
		if err != nil {
			fmt.Fprintf(hc.Stderr, "%s: kill: %s: %v\n", sh.name, t, err)
			failed = true
		}
	}
	if failed {
		return interp.ExitStatus(1)
	}
	return nil
}

func parseKill(args []string) (s syscall.Signal, targets []string, list bool, err error) {
	s = unix.SIGTERM
	name := ""
	switch {
	case len(args) > 0 && args[0] == "-l":
		return 0, nil, true, nil
	case len(args) > 1 && (args[0] == "-s" || args[0] == "-n"):
		name, args = args[1], args[2:]
	case len(args) > 0 && args[0] != "--" && len(args[0]) > 1 && args[0][0] == '-':
		name, args = args[0][1:], args[1:]
	}
	if name != "" {
		name = strings.ToUpper(name)
		if n, e := strconv.Atoi(name); e == nil && n >= 0 && n <= 64 {
			s = syscall.Signal(n)
		} else if s = unix.SignalNum("SIG" + strings.TrimPrefix(name, "SIG")); s == 0 {
			return 0, nil, false, fmt.Errorf("unknown signal %s", name)
		}
	}
	if len(args) > 0 && args[0] == "--" {
		args = args[1:]
	}
	if len(args) == 0 {
		return 0, nil, false, fmt.Errorf("usage: kill [-s SIGNAL | -SIGNAL] PID|%%JOB..., kill -l")
	}
	return s, args, false, nil
}
