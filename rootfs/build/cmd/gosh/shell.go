package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"syscall"

	"mvdan.cc/sh/v3/expand"
	"mvdan.cc/sh/v3/interp"
	"mvdan.cc/sh/v3/syntax"
)

// shell is an interpreter and what a shell adds to it: commands that are processes, jobs, interrupts.
type shell struct {
	// Immutable after newShell.
	name        string // $0 and the head of messages
	interactive bool
	runner      *interp.Runner // used by the main goroutine only; its handlers run on any

	// The main goroutine's.
	status      int
	interrupted bool // by Ctrl-C, in the statement before

	jobs jobs

	mu         sync.Mutex
	cancel     context.CancelFunc // of the statement that runs, or nil
	foreground int                // processes in it
	mayExit    bool               // it called exit, or a failure ends this shell (-e)
	errExit    bool               // -e has been set
}

// defaultPath is where commands are looked for without PATH.
const defaultPath = "/bbin:/bin:/usr/bin"

// nameVar holds $0 where the interpreter does not know it: it does for a script that it runs as a whole.
const nameVar = "__sh_name"

func newShell(inv invocation, interactive bool) (*shell, error) {
	sh := &shell{name: inv.name, interactive: interactive}
	// A bad name of an option would be one of the positional parameters without --.
	params := append(append(append([]string(nil), inv.options...), "--"), inv.args...)
	var err error
	sh.runner, err = interp.New(
		interp.StdIO(os.Stdin, os.Stdout, os.Stderr),
		interp.Env(environ{expand.ListEnviron(os.Environ()...), sh.name}),
		interp.OpenHandler(sh.open),
		interp.Interactive(interactive),
		interp.CallHandler(sh.call),
		interp.ExecHandlers(func(interp.ExecHandlerFunc) interp.ExecHandlerFunc { return sh.exec }),
		interp.Params(params...),
	)
	if err != nil {
		return nil, err
	}
	for i, o := range inv.options {
		if o == "-e" || o == "errexit" && i > 0 && inv.options[i-1] == "-o" {
			sh.errExit = true
		}
	}
	sh.runner.Reset()
	return sh, nil
}

// environ is the process's environment with nameVar, which is not exported.
type environ struct {
	expand.Environ
	name string
}

func (e environ) Get(name string) expand.Variable {
	if name == nameVar {
		return expand.Variable{Set: true, Kind: expand.String, Str: e.name}
	}
	return e.Environ.Get(name)
}

// open opens the file of a redirection. Only the messages differ from the interpreter's.
func (sh *shell) open(ctx context.Context, path string, flag int, perm os.FileMode) (io.ReadWriteCloser, error) {
	if path == "" {
		return nil, &os.PathError{Op: sh.name + ":", Path: `""`, Err: syscall.ENOENT}
	}
	f, err := os.OpenFile(inDir(interp.HandlerCtx(ctx).Dir, path), flag, perm)
	if err != nil {
		return nil, &os.PathError{Op: sh.name + ":", Path: path, Err: cause(err)}
	}
	return f, nil
}

// execute runs a statement or a whole script, and says whether the shell is to end. The status is in sh.status.
func (sh *shell) execute(node syntax.Node) (exit bool) {
	rewrite(node)
	ctx, cancel := context.WithCancel(context.Background())
	sh.mu.Lock()
	sh.cancel, sh.foreground, sh.mayExit = cancel, 0, sh.errExit
	sh.mu.Unlock()
	// The context is not cancelled here: jobs that the statement started have it.
	err, panicked := sh.guarded(ctx, node)
	sh.mu.Lock()
	sh.cancel = nil
	mayExit := sh.mayExit
	sh.mu.Unlock()

	var status interp.ExitStatus
	sh.interrupted = errors.Is(err, context.Canceled)
	switch {
	case panicked:
		sh.setStatus(2)
		return !sh.interactive
	case sh.interrupted:
		fmt.Fprintln(os.Stderr) // after the ^C that the terminal echoed
		sh.setStatus(130)
		return false
	case err == nil:
		sh.status = 0
	case errors.As(err, &status):
		sh.status = int(status)
	default: // an interpreter that cannot go on: no descriptor, no memory
		fmt.Fprintf(os.Stderr, "%s: %v\n", sh.name, cause(err))
		sh.setStatus(1)
		return !sh.interactive
	}
	// What ends a script (an unset variable with -u, ${x?message}) does not end a prompt.
	return sh.runner.Exited() && (!sh.interactive || mayExit)
}

// guarded runs node. A panic of the interpreter is reported in a line, and what it left redirected is undone.
func (sh *shell) guarded(ctx context.Context, node syntax.Node) (err error, panicked bool) {
	params := sh.runner.Params
	defer func() {
		if p := recover(); p != nil {
			message, _, _ := strings.Cut(fmt.Sprint(p), "\n")
			fmt.Fprintf(os.Stderr, "%s: internal error: %s\n", sh.name, message)
			interp.StdIO(os.Stdin, os.Stdout, os.Stderr)(sh.runner) // takes these three as they are: no error
			sh.runner.Params = params
			panicked = true
		}
	}()
	return sh.runner.Run(ctx, node), false
}

// setStatus makes n the value of $?.
func (sh *shell) setStatus(n int) {
	sh.status = n
	stmt, err := parseOne(fmt.Sprintf("(exit %d)", n))
	if err == nil {
		sh.runner.Run(context.Background(), stmt) // its error is n
	}
}

// leave runs the trap on EXIT after the last statement of a stream.
func (sh *shell) leave() {
	sh.runner.Run(context.Background(), &syntax.File{Name: sh.name}) // status 0 whatever happened: sh.status has the true one
}

// interrupt is Ctrl-C while something runs. Processes in the foreground get the signal themselves: if one dies of it, exec
// ends the statement; one that has its own idea of Ctrl-C goes on, and so does the statement.
func (sh *shell) interrupt() (ran bool) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if sh.cancel != nil && sh.foreground == 0 {
		sh.cancel()
	}
	return sh.cancel != nil
}

// call sees each simple command before it runs. Builtins that the interpreter has not, or not well enough, get a name
// under which it leaves them to exec.
func (sh *shell) call(ctx context.Context, args []string) ([]string, error) {
	if strings.HasPrefix(args[0], hidden) {
		return args, nil
	}
	hc := interp.HandlerCtx(ctx)
	if sh.jobs.killed(hc.Env) {
		return nil, errKilled
	}
	switch args[0] {
	case "exit", "exec", "logout":
		sh.mu.Lock()
		sh.mayExit = true
		sh.mu.Unlock()
		if args[0] == "logout" {
			args = append([]string{"exit"}, args[1:]...)
		}
	case "set":
		for i, a := range args[1:] {
			if strings.HasPrefix(a, "-") && !strings.HasPrefix(a, "--") && strings.Contains(a, "e") || i > 0 && a == "errexit" {
				sh.mu.Lock()
				sh.errExit, sh.mayExit = true, true
				sh.mu.Unlock()
			}
		}
	case "echo", "printf":
		// The interpreter does not notice that nobody reads a pipe any more, and would write for ever.
		if f, ok := hc.Stdout.(*os.File); ok && f != os.Stdout && isBroken(f) {
			return []string{"exit", "141"}, nil // of SIGPIPE: ends that part of the pipeline
		}
	}
	if _, ok := builtins[args[0]]; ok && !strings.HasPrefix(args[0], "0") {
		return append([]string{hidden + args[0]}, args[1:]...), nil
	}
	return args, nil
}

// hidden stands before the names of our own builtins: no command that is typed has it.
const hidden = "\x00"

// Variables of ours, not exported.
const (
	newVar = "__sh_new" // the number of the job that starts
	jobVar = "__sh_job" // in a job: its own number
	pidVar = "__sh_pid" // the value of $!
)

// rewrite prepares a tree for the interpreter: $0 and $! become variables of ours, and X & becomes
//
//	{ __sh_new=$(new TEXT); { __sh_job=$__sh_new; (X); end $?; } & known $!; __sh_pid=$(started); }
//
// so that every command of X, and wait, kill and $! after it, know the job that they belong to. The interpreter copies
// the variables for a job before it goes on.
func rewrite(node syntax.Node) {
	_, script := node.(*syntax.File) // which has a name, and so a $0
	syntax.Walk(node, func(n syntax.Node) bool {
		if p, ok := n.(*syntax.ParamExp); ok && p.Param != nil {
			switch {
			case p.Param.Value == "0" && !script:
				p.Param.Value, p.Short = nameVar, false
			case p.Param.Value == "!":
				p.Param.Value, p.Short = pidVar, false
			}
		}
		return true
	})
	syntax.Walk(node, func(n syntax.Node) bool {
		if st, ok := n.(*syntax.Stmt); ok && st.Background && !isJob(st) {
			background(st)
		}
		return true
	})
}

// isJob says whether st is the middle part of what background made.
func isJob(st *syntax.Stmt) bool {
	b, ok := st.Cmd.(*syntax.Block)
	if !ok || len(b.Stmts) == 0 {
		return false
	}
	c, ok := b.Stmts[0].Cmd.(*syntax.CallExpr)
	return ok && len(c.Assigns) == 1 && c.Assigns[0].Name.Value == jobVar
}

// background replaces st, which ends in &.
func background(st *syntax.Stmt) {
	inner := *st
	inner.Background, inner.Comments = false, nil
	plain := func(c syntax.Command) *syntax.Stmt { return &syntax.Stmt{Position: st.Position, Cmd: c} }
	output := func(c syntax.Command) *syntax.Word {
		return &syntax.Word{Parts: []syntax.WordPart{&syntax.CmdSubst{Stmts: []*syntax.Stmt{plain(c)}}}}
	}
	job := plain(&syntax.Block{Stmts: []*syntax.Stmt{
		plain(assign(jobVar, param(newVar))),
		plain(&syntax.Subshell{Stmts: []*syntax.Stmt{&inner}}),
		plain(call(hidden+"0end", param("?"))),
	}})
	job.Background = true
	*st = syntax.Stmt{Comments: st.Comments, Position: st.Position, Cmd: &syntax.Block{Stmts: []*syntax.Stmt{
		plain(assign(newVar, output(call(hidden+"0new", literal(source(&inner)))))),
		job,
		plain(call(hidden+"0known", param("!"))),
		plain(assign(pidVar, output(call(hidden+"0started")))),
	}}}
}

func source(st *syntax.Stmt) string {
	var b strings.Builder
	if err := syntax.NewPrinter(syntax.SingleLine(true)).Print(&b, st); err != nil {
		return "?"
	}
	return strings.TrimSpace(b.String())
}

func literal(s string) *syntax.Word {
	return &syntax.Word{Parts: []syntax.WordPart{&syntax.SglQuoted{Value: s}}}
}

func param(name string) *syntax.Word {
	return &syntax.Word{Parts: []syntax.WordPart{&syntax.ParamExp{Param: &syntax.Lit{Value: name}}}}
}

func call(name string, args ...*syntax.Word) *syntax.CallExpr {
	return &syntax.CallExpr{Args: append([]*syntax.Word{{Parts: []syntax.WordPart{&syntax.Lit{Value: name}}}}, args...)}
}

func assign(name string, value *syntax.Word) *syntax.CallExpr {
	return &syntax.CallExpr{Assigns: []*syntax.Assign{{Name: &syntax.Lit{Value: name}, Value: value}}}
}

func parseOne(text string) (*syntax.Stmt, error) {
	f, err := syntax.NewParser().Parse(strings.NewReader(text), "")
	if err != nil {
		return nil, err
	}
	return f.Stmts[0], nil
}
