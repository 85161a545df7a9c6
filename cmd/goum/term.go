package main

import (
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"sync"
	"syscall"

	"goum/arch/abi"
	"goum/kernel"

	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

// terminal is the host's side of the guest's console: which of goum's descriptors are terminals, and the mode of the one that input
// comes from. That one is raw while a guest has it, so that the guest's own line discipline does the work.
//
// Three nets put it back as it was: Restore, deferred by whoever called openTerminal; the signals that end a process; and for what
// no process outlives (SIGKILL, a panic on another goroutine) a guard, a process of its own that waits for this one's end.
type terminal struct {
	// immutable after openTerminal
	file   *os.File    // nil: input comes from no terminal, and nothing was changed
	cooked *term.State // as the user had it
	guard  *exec.Cmd   // nil if it could not be started: it is the last net, not a condition
	leash  io.WriteCloser
	sizes  chan abi.Winsize
	notes  chan os.Signal
	quit   chan struct{} // one element: the user wants the machine to end
	over   chan struct{} // closed by Restore

	restore sync.Once
}

// guest is a machine as its user's terminal knows it.
type guest interface {
	Resize(abi.Winsize)
	PowerOff(status int)
}

// isTerminal says whether f is a terminal.
func isTerminal(f *os.File) bool { return term.IsTerminal(int(f.Fd())) }

// openTerminal fills in the part of cfg that says where input comes from and where output goes, and makes standard input raw if
// it is a terminal. The caller defers Restore.
//
// Without a command, standard input and output are the console. A command has each of its three descriptors on the console where
// goum's own is a terminal, and goum's own otherwise.
//
// A signal that asks goum to end (SIGHUP, SIGINT, SIGQUIT, SIGTERM) then ends it as if it were not caught, the terminal restored. After
// SIGCONT the terminal is made raw again, since the user's shell has had it meanwhile.
func openTerminal(cfg *kernel.Config) *terminal {
	signal.Ignore(unix.SIGPIPE) // EPIPE is for the guest that writes, also where the runtime would end goum
	t := &terminal{
		sizes: make(chan abi.Winsize, 1),
		notes: make(chan os.Signal, 8),
		quit:  make(chan struct{}, 1),
		over:  make(chan struct{}),
	}
	t.connect(cfg, isTerminal(os.Stdin), isTerminal(os.Stdout), isTerminal(os.Stderr))
	if cfg.Terminal {
		cfg.Quit = t.askQuit
		t.makeRaw(os.Stdin)
		cfg.Size = t.Size()
	}
	return t
}

// connect decides what is the console and what a stream; in, out and err say which of goum's descriptors are terminals.
func (t *terminal) connect(cfg *kernel.Config, in, out, err bool) {
	cfg.Terminal = in
	if len(cfg.Command) == 0 {
		cfg.In, cfg.Out = os.Stdin, os.Stdout
		return
	}
	if in {
		cfg.In = os.Stdin
	} else {
		cfg.Streams[0] = &kernel.Stream{In: os.Stdin}
	}
	cfg.Out = io.Discard
	if err {
		cfg.Out = os.Stderr
	} else {
		cfg.Streams[2] = &kernel.Stream{Out: os.Stderr}
	}
	if out {
		cfg.Out = os.Stdout
	} else {
		cfg.Streams[1] = &kernel.Stream{Out: os.Stdout}
	}
}

// makeRaw makes f raw, or does nothing where the host refuses.
func (t *terminal) makeRaw(f *os.File) {
	fd := int(f.Fd())
	before, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return
	}
	signal.Notify(t.notes, unix.SIGWINCH, unix.SIGCONT)
	for _, end := range []os.Signal{unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGTERM} {
		if !signal.Ignored(end) { // nohup, or a job in the background of a script: it stays ignored
			signal.Notify(t.notes, end)
		}
	}
	if t.cooked, err = term.MakeRaw(fd); err != nil {
		signal.Stop(t.notes)
		return
	}
	t.file = f
	if raw, err := unix.IoctlGetTermios(fd, unix.TCGETS); err == nil {
		t.startGuard(guardOrders{*before, *raw})
	}
	go t.watch()
}

// Follow tells m of the user's wishes, a new size or the end, until Restore.
func (t *terminal) Follow(m guest) {
	if t.file != nil {
		m.Resize(t.Size()) // what changed while it booted
	}
	go func() {
		for {
			select {
			case w := <-t.sizes:
				m.Resize(w)
			case <-t.quit:
				m.PowerOff(0)
			case <-t.over:
				return
			}
		}
	}()
}

// askQuit is the console's Quit: it may come before there is a machine to end.
func (t *terminal) askQuit() {
	select {
	case t.quit <- struct{}{}:
	default:
	}
}

// Restore gives the terminal back as it was found. It may be called from any goroutine and any number of times; when it has returned,
// the terminal is restored, whoever did it.
func (t *terminal) Restore() {
	t.restore.Do(func() {
		close(t.over)
		if t.file == nil {
			return
		}
		signal.Stop(t.notes)
		term.Restore(int(t.file.Fd()), t.cooked)
		if t.guard != nil {
			t.leash.Write([]byte{guardDismissed})
			t.leash.Close()
			t.guard.Wait()
		}
	})
}

// Size is the terminal's size now; all zero if it has none.
func (t *terminal) Size() abi.Winsize {
	w, err := unix.IoctlGetWinsize(int(t.file.Fd()), unix.TIOCGWINSZ)
	if err != nil {
		return abi.Winsize{}
	}
	return abi.Winsize{Row: w.Row, Col: w.Col, Xpixel: w.Xpixel, Ypixel: w.Ypixel}
}

// watch acts on signals until Restore.
func (t *terminal) watch() {
	for {
		var s os.Signal
		select {
		case s = <-t.notes:
		case <-t.over:
			return
		}
		switch s {
		case unix.SIGCONT:
			term.MakeRaw(int(t.file.Fd()))
			t.announce()
		case unix.SIGWINCH:
			t.announce()
		default:
			t.Restore()
			dieOf(s.(syscall.Signal))
		}
	}
}

// announce replaces the size that nobody has taken yet. watch is its only caller.
func (t *terminal) announce() {
	select {
	case <-t.sizes:
	default:
	}
	t.sizes <- t.Size()
}

// dieOf ends the process by s, so that its parent sees why.
func dieOf(s syscall.Signal) {
	signal.Reset(s)
	unix.Kill(os.Getpid(), s)
	select {} // until it arrives
}

// The guard: goum itself under another name, with the terminal as its stdin and a pipe as its stdout whose other end this process
// holds. When that end closes without a word, it restores the terminal, unless somebody else has changed it since.
const (
	guardName      = "goum-terminal-guard"
	guardDismissed = 'x'
)

// guardOrders are the guard's argument, as JSON.
type guardOrders struct{ Before, Raw unix.Termios }

func (t *terminal) startGuard(o guardOrders) {
	orders, err := json.Marshal(o)
	if err != nil {
		return
	}
	r, w, err := os.Pipe()
	if err != nil {
		return
	}
	defer r.Close()
	c := &exec.Cmd{
		Path:       "/proc/self/exe",
		Args:       []string{guardName, string(orders)},
		Env:        []string{"GOMAXPROCS=1"},
		Dir:        "/",
		Stdin:      t.file,
		ExtraFiles: []*os.File{r},
	}
	if c.Start() != nil {
		w.Close()
		return
	}
	t.guard, t.leash = c, w
}

// An init function, so that the guard does nothing of what goum's main does.
func init() {
	if len(os.Args) == 2 && os.Args[0] == guardName {
		var o guardOrders
		if json.Unmarshal([]byte(os.Args[1]), &o) == nil {
			o.carryOut()
		}
		os.Exit(0)
	}
}

// carryOut waits for goum's end.
func (o *guardOrders) carryOut() {
	// The guard outlives what ends goum; and by then it is in the background, where setting the terminal would stop it.
	signal.Ignore(unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGTERM, unix.SIGTSTP, unix.SIGTTIN, unix.SIGTTOU)
	var word [1]byte
	if n, _ := os.NewFile(3, "leash").Read(word[:]); n > 0 {
		return
	}
	if now, err := unix.IoctlGetTermios(0, unix.TCGETS); err == nil && *now == o.Raw {
		unix.IoctlSetTermios(0, unix.TCSETS, &o.Before)
	}
}
