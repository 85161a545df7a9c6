package kernel

import (
	"errors"
	"fmt"
	"strings"
	"sync"

	"goum/arch/abi"
	"goum/kernel/console"
	"goum/kernel/cred"
	"goum/kernel/fd"
	"goum/kernel/fs/pagecache"
	"goum/kernel/fs/vfs"
	"goum/kernel/klog"
	"goum/kernel/random"
	"goum/kernel/task"
	"goum/kernel/trap"
	"goum/physmem"
	"goum/sched"
	"goum/sched/clock"
	"goum/skas"
)

// Machine is a guest from Boot to its end.
type Machine struct {
	cfg Config

	// built in this order, closed in the reverse
	memory  *physmem.Memory
	clock   *clock.Clock
	stubs   *skas.Pool
	sched   *sched.Scheduler
	log     *klog.Log
	random  *random.Source
	vfs     *vfs.System
	cache   *pagecache.Cache
	root    vfs.Location
	devices *vfs.Super // devtmpfs
	console *console.Console
	streams []*console.Stream
	sys     *task.System
	loop    *trap.Loop

	once   sync.Once
	status int
	ended  chan struct{} // closed when the machine has powered off, and status holds
}

// ExecError says that the first program could not be started.
type ExecError struct {
	Path  string
	Errno abi.Errno
}

func (e *ExecError) Error() string {
	switch e.Errno {
	case abi.ENOENT, abi.ENOTDIR:
		return fmt.Sprintf("%s: not found in the initramfs", e.Path)
	case abi.ENOEXEC:
		return fmt.Sprintf("%s: not a program that this machine can run", e.Path)
	case abi.EACCES:
		return fmt.Sprintf("%s: not executable", e.Path)
	case abi.ENOMEM:
		return fmt.Sprintf("%s: does not fit into the guest's memory: give more with --mem", e.Path)
	}
	return fmt.Sprintf("%s: cannot be run: %s", e.Path, e.Errno.Name())
}

// Status is the exit status for it: 127 when there is no such program, 126 when it cannot be run.
func (e *ExecError) Status() int {
	if e.Errno == abi.ENOENT || e.Errno == abi.ENOTDIR {
		return 127
	}
	return 126
}

// start runs the first program in the first process, as number 1.
func (m *Machine) start() error {
	m.console.Start()
	c := m.caller()
	var candidates []string
	argv, env := m.cfg.Command, m.cfg.Env
	if len(argv) == 0 {
		candidates, argv = m.initPaths()
	} else {
		candidates = search(argv[0], env)
		if err := m.mountAll(c); err != nil {
			return err
		}
	}
	fds, err := m.standardFiles(c)
	if err != nil {
		return err
	}
	first := task.First(m.sys, cred.Root(), cred.NewLimits(uint64(m.cfg.Memory)), c.Dirs, fds)
	if len(m.cfg.Command) > 0 {
		// A command is no init: it dies of its signals as anywhere else, and owns the terminal.
		first.Process.SetKillable()
	}
	result := make(chan error, 1)
	first.Begin(func(t *task.Task) bool {
		if len(m.cfg.Command) > 0 {
			m.ownTerminal(t)
		}
		err := m.exec(t, candidates, argv, env)
		result <- err
		return err == nil
	})
	return <-result
}

// exec tries candidates in turn, as execvp does: what is not there is passed over.
func (m *Machine) exec(t *task.Task, candidates, argv, env []string) error {
	failed := &ExecError{Path: argv[0], Errno: abi.ENOENT}
	for _, path := range candidates {
		args := argv
		if len(m.cfg.Command) == 0 {
			args = append([]string{path}, argv[1:]...)
		}
		switch e := t.Exec(task.ExecArgs{Path: path, Argv: args, Envp: env}); e {
		case 0:
			return nil
		case abi.ENOENT, abi.ENOTDIR:
		default:
			if failed.Errno == abi.ENOENT {
				failed = &ExecError{Path: path, Errno: e}
			}
		}
	}
	return failed
}

// initPaths are what Linux tries as init, unless the command line says rdinit=, and its arguments: init gets what is behind "--".
func (m *Machine) initPaths() (candidates, argv []string) {
	candidates = []string{"/init", "/sbin/init", "/etc/init", "/bin/init", "/bin/sh"}
	argv = []string{"/init"}
	own, rest, _ := strings.Cut(" "+m.cfg.Append+" ", " -- ")
	for _, word := range strings.Fields(own) {
		if path, ok := strings.CutPrefix(word, "rdinit="); ok {
			candidates = []string{path}
			argv[0] = path
		}
	}
	return candidates, append(argv, strings.Fields(rest)...)
}

// search lists where a command may be: its own path, or the directories of PATH.
func search(name string, env []string) []string {
	if strings.Contains(name, "/") {
		return []string{name}
	}
	var all []string
	for _, v := range env {
		if path, ok := strings.CutPrefix(v, "PATH="); ok {
			for _, dir := range strings.Split(path, ":") {
				all = append(all, dir+"/"+name)
			}
		}
	}
	return all
}

// mountAll does what an init would: a command finds proc, sys, dev and pts.
func (m *Machine) mountAll(c *vfs.Caller) error {
	for _, mnt := range []struct{ typ, at, data string }{
		{"proc", "/proc", ""}, {"sysfs", "/sys", ""}, {"devtmpfs", "/dev", ""}, {"devpts", "/dev/pts", "mode=620,ptmxmode=666"},
		{"tmpfs", "/dev/shm", "mode=1777"},
	} {
		if _, _, e := c.AttrAt(vfs.Location{}, mnt.at, 0); e == abi.ENOENT {
			e = c.Mkdir(vfs.Location{}, mnt.at, 0o755)
			if e != 0 {
				return fmt.Errorf("%s: mkdir: %s", mnt.at, e.Name())
			}
		}
		if e := c.MountAt(mnt.typ, mnt.at, mnt.typ, 0, mnt.data); e != 0 {
			return fmt.Errorf("%s on %s: mount: %s", mnt.typ, mnt.at, e.Name())
		}
	}
	return nil
}

// openConsole opens /dev/console, or the device itself where the archive brings no such node and nothing is mounted yet.
func (m *Machine) openConsole(c *vfs.Caller) (*vfs.Open, abi.Errno) {
	if o, e := c.Open("/dev/console", abi.O_RDWR|abi.O_NOCTTY, 0); e == 0 {
		return o, 0
	}
	loc, _, e := c.AttrAt(m.vfs.MountInternal(m.devices, "devtmpfs"), "console", 0)
	if e != 0 {
		return nil, e
	}
	// Not by its path: an internal mount has no devices.
	file, e := m.console.Open(c, abi.O_RDWR, loc)
	if e != 0 {
		return nil, e
	}
	loc.Ref()
	return vfs.NewOpen(file, loc, abi.O_RDWR), 0
}

// standardFiles opens descriptors 0 to 2: the console, or the streams of the configuration.
func (m *Machine) standardFiles(c *vfs.Caller) (*fd.Table, error) {
	con, e := m.openConsole(c)
	if e != 0 {
		return nil, fmt.Errorf("the console: %s", e.Name())
	}
	defer con.Unref()
	table := fd.New()
	for _, s := range m.cfg.Streams {
		o := con
		if s != nil {
			stream := console.NewStream(s.In, s.Out)
			m.streams = append(m.streams, stream)
			o = stream.Open()
		} else {
			o.Ref()
		}
		if _, e := table.Add(nil, o, false); e != 0 {
			return nil, fmt.Errorf("the standard files: %s", e.Name())
		}
	}
	return table, nil
}

// ownTerminal makes the console the controlling terminal of a session of t's own.
func (m *Machine) ownTerminal(t *task.Task) {
	t.SetSID()
	m.console.TTY().Adopt(t)
}

// Wait waits until the machine is off, with all output written, and returns goum's exit status.
func (m *Machine) Wait() int {
	<-m.ended
	m.flush()
	return m.status
}

// PowerOff ends the machine at once with the given exit status; the first call counts.
func (m *Machine) PowerOff(status int) { m.powerOff(status) }

func (m *Machine) powerOff(status int) {
	m.once.Do(func() {
		m.status = status
		close(m.ended)
	})
}

// flush writes what the guest has written and the host not yet taken.
func (m *Machine) flush() {
	m.console.Flush(nil)
	for _, s := range m.streams {
		s.Flush(nil)
	}
}

// Resize tells the guest the size of the user's terminal.
func (m *Machine) Resize(w abi.Winsize) { m.console.Resize(w) }

// Close ends whatever still runs and frees everything. The machine is of no use afterwards.
func (m *Machine) Close() error {
	m.powerOff(exitKilled)
	var errs []error
	if m.sys != nil {
		m.endTasks()
	}
	if m.console != nil {
		m.console.Close()
	}
	for _, s := range m.streams {
		s.Close()
	}
	if m.sched != nil {
		m.sched.Close()
	}
	if m.stubs != nil {
		errs = append(errs, m.stubs.Close())
	}
	if m.clock != nil {
		m.clock.Close()
	}
	if m.memory != nil {
		errs = append(errs, m.memory.Close())
	}
	return errors.Join(errs...)
}

// exitKilled is the status of a machine that was closed while it ran.
const exitKilled = 128 + abi.SIGKILL

// endTasks kills every process and waits until the last thread is gone.
func (m *Machine) endTasks() {
	m.sys.Tree.KillAll()
	m.sched.Drain()
}

// Counter is one line of --stats.
type Counter struct {
	Name  string
	Value uint64
}

// Stats returns the counters: what the guest asked for, and what happened to its stubs.
func (m *Machine) Stats() []Counter {
	table, loop, stubs, mem := m.loop.Table.Stats(), m.loop.Stats(), m.stubs.Stats(), m.memory.Stats()
	all := []Counter{
		{"faults", loop.Faults}, {"preempts", loop.Preempts}, {"oom_killed", loop.OOMKills},
		{"stubs_started", stubs.Started}, {"stub_ops", stubs.Ops}, {"stub_denied", stubs.Denied}, {"stub_killed", stubs.Killed},
		{"watchdog_killed", stubs.Watchdog}, {"frames_quarantined", mem.Quarantined}, {"frames_total", mem.Total}, {"frames_free", mem.Free},
		{"context_switches", m.sched.Switches()},
	}
	for _, s := range table {
		all = append(all, Counter{s.Name, s.N})
	}
	return all
}
