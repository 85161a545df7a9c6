// Package kernel is a machine: Boot builds each part once, wires them together and starts the first process; a Machine runs until
// that process ends, or somebody powers it off.
//
// It owns the order of start and end, and nothing else. All state of a guest hangs on what Boot returns: two machines can
// live in one process.
//
// Locks: none.
package kernel

import (
	"bytes"
	"fmt"

	"goum/arch/vdso"
	"goum/kernel/console"
	"goum/kernel/cred"
	"goum/kernel/event"
	"goum/kernel/fs/dev"
	"goum/kernel/fs/pagecache"
	"goum/kernel/fs/pipe"
	"goum/kernel/fs/proc"
	"goum/kernel/fs/sys"
	"goum/kernel/fs/tmpfs"
	"goum/kernel/fs/vfs"
	"goum/kernel/futex"
	"goum/kernel/klog"
	"goum/kernel/net/inet"
	"goum/kernel/net/netlink"
	"goum/kernel/net/socket"
	"goum/kernel/net/unix"
	"goum/kernel/random"
	syscalls "goum/kernel/sys"
	"goum/kernel/task"
	"goum/kernel/trap"
	"goum/kernel/tty"
	"goum/kernel/uts"
	"goum/mm"
	"goum/physmem"
	"goum/sched"
	"goum/sched/clock"
	"goum/skas"
)

// DefaultAppend is the kernel command line without --append. It names no console: u-root's init would open it by that name.
const DefaultAppend = "goum"

// Boot starts a machine. Its errors are for the user: what is wrong with the image, the command or the host.
func Boot(cfg Config) (*Machine, error) {
	m := &Machine{cfg: cfg, ended: make(chan struct{})}
	if err := m.build(); err != nil {
		m.Close()
		return nil, err
	}
	if err := m.start(); err != nil {
		m.Close()
		return nil, err
	}
	return m, nil
}

// build makes all parts, from the host's up.
func (m *Machine) build() (err error) {
	if m.memory, err = physmem.New(m.cfg.Memory); err != nil {
		return err
	}
	if m.clock, err = clock.New(); err != nil {
		return err
	}
	// The first stub starts while the archives are unpacked.
	type started struct {
		pool *skas.Pool
		err  error
	}
	stubs := make(chan started, 1)
	go func() {
		pool, err := skas.New(m.memory.Fd())
		stubs <- started{pool, err}
	}()
	err = m.buildFiles()
	s := <-stubs
	m.stubs = s.pool
	if s.err != nil {
		return s.err
	}
	if err != nil {
		return err
	}
	m.sched = sched.New(m.cfg.CPUs, m.clock)
	return m.buildTasks()
}

// buildFiles makes the file systems and devices, and fills the root.
func (m *Machine) buildFiles() error {
	m.log = klog.New(m.clock)
	if tap := m.cfg.Log; tap != nil {
		m.log.SetTap(func(r klog.Record) { tap(r.Level, r.Text) })
	}
	m.random = random.New()
	m.vfs = vfs.New(m.clock)
	m.cache = pagecache.New(m.memory)
	pipe.Register(m.vfs)
	tmpfs.Register(m.vfs, m.cache)
	root := tmpfs.New(m.vfs, m.cache, tmpfs.Options{NoLimit: true, Mode: 0o755})
	m.root = m.vfs.MountRoot(root.Super(), "rootfs", 0)
	for i, a := range m.cfg.Archives {
		if err := unpack(m.caller(), a, m.cfg.Memory); err != nil {
			return err
		}
		m.cfg.Archives[i].Data = nil // held, an archive of 45 MB had the collector let the heap grow to 250 MB
	}
	// From now on half of all memory, as Linux has it, or more where the archives take that much: without a bound one file
	// would starve every process.
	for _, size := range []string{"size=50%", "size=75%", "size=90%"} {
		if root.Remount(m.caller(), 0, size) == 0 {
			break
		}
	}
	m.console = console.New(console.Options{
		Clock: m.clock, In: m.cfg.In, Out: m.cfg.Out, Size: m.cfg.Size, Terminal: m.cfg.Terminal, Quit: m.cfg.Quit,
	})
	m.console.Register(m.vfs)
	tty.Register(m.vfs, m.clock)
	rows := dev.Rows(m.log, m.random.Fill)
	rows = append(rows, dev.Row{Name: console.Name, Major: console.Major, Minor: console.Minor, Mode: 0o600})
	m.devices = tmpfs.New(m.vfs, m.cache, tmpfs.Options{Mode: 0o755}).Super()
	if e := dev.Register(m.vfs, m.devices, rows); e != 0 {
		return fmt.Errorf("devtmpfs: %s", e.Name())
	}
	return nil
}

// caller is the kernel itself, before there are tasks.
func (m *Machine) caller() *vfs.Caller {
	return &vfs.Caller{Cred: cred.Root(), Dirs: vfs.NewDirs(m.root, m.root)}
}

// buildTasks makes what tasks need, and the first of them.
func (m *Machine) buildTasks() error {
	timePage, err := m.buildVDSO()
	if err != nil {
		return err
	}
	m.loop = &trap.Loop{Table: syscalls.New()}
	m.sys = &task.System{
		Sched: m.sched, Clock: m.clock, Memory: m.memory, Stubs: trap.Stubs{Pool: m.stubs}, VFS: m.vfs,
		Futex: futex.New(m.clock), Tree: task.NewTree(maxTasks), VDSO: timePage, Random: m.random,
		Main:     m.loop.Main,
		PowerOff: func(status int32) { m.powerOff(exitStatus(status)) },
		Log:      func(line string) { m.log.Printk(klog.Notice, "%s", line) },
	}
	m.memory.SetRelief(func(w physmem.Sleeper) bool { return m.loop.Relieve(m.sys, w) })
	names := uts.New("goum", "")
	net := m.buildNet()
	event.Wire(m.sys)
	m.vfs.SIGIO = event.SendSIGIO
	m.sys.Futex.Alive = func(tid int32) bool { return m.sys.Tree.FindTask(tid) != nil }
	syscalls.Attach(m.sys, &syscalls.Machine{
		UTS:      names,
		PowerOff: func(uint32) { m.powerOff(0) },
		Log:      m.log,
		Net:      net,
		Memfd:    tmpfs.NewInternal(m.vfs, m.cache),
		Shmem:    m.cached,
	})
	proc.Register(m.vfs, proc.Config{
		System: m.sys, UTS: names, Cmdline: m.commandLine(), Kmsg: m.log.OpenProc,
		Faults: func() uint64 { return m.loop.Stats().Faults },
		Cached: m.cached, Shmem: m.cached, Net: net.ProcFiles(),
	})
	sys.Register(m.vfs, sys.Config{CPUs: m.cfg.CPUs, Console: console.Name, Devices: map[string][2]uint32{
		"tty/console": {5, 1}, "tty/tty": {5, 0}, "tty/ptmx": {5, 2}, "tty/" + console.Name: {console.Major, console.Minor},
		"mem/null": {1, 3}, "mem/zero": {1, 5}, "mem/full": {1, 7}, "mem/random": {1, 8}, "mem/urandom": {1, 9}, "mem/kmsg": {1, 11},
	}})
	m.banner(names)
	return nil
}

// cached is how many bytes of memory are pages of files. All files that there are lie in memory.
func (m *Machine) cached() uint64 { return uint64(m.cache.Count()) * mm.PageSize }

// banner begins the kernel's log as Linux does: what runs, where, and with how much.
func (m *Machine) banner(names *uts.Names) {
	u := names.Uname()
	text := func(b []byte) string { return string(b[:bytes.IndexByte(b, 0)]) }
	m.log.Printk(klog.Notice, "Linux version %s (goum) %s", text(u.Release[:]), text(u.Version[:]))
	m.log.Printk(klog.Info, "Command line: %s", m.commandLine())
	stats := m.memory.Stats()
	m.log.Printk(klog.Info, "Memory: %dK/%dK available", stats.Free*(mm.PageSize/1024), stats.Total*(mm.PageSize/1024))
	m.log.Printk(klog.Info, "smp: Brought up 1 node, %d CPUs", m.cfg.CPUs)
	m.log.Printk(klog.Info, "goum: guest threads run in stub processes under seccomp; system calls arrive by user notification")
}

// buildNet makes the network: the device lo, which an init brings up, and the families of sockets.
func (m *Machine) buildNet() *socket.Net {
	n := socket.New(m.clock)
	n.SetMemory(m.cfg.Memory / 8)
	n.PidAlive = func(pid int32) bool { return m.sys.Tree.FindProcess(pid) != nil }
	unix.Register(n)
	netlink.Register(n)
	inet.Register(n)
	n.SIGIO = event.SendSIGIO
	if len(m.cfg.Command) > 0 { // no init does it
		n.Up()
	}
	return n
}

// buildVDSO puts the time page and the vDSO into guest memory.
func (m *Machine) buildVDSO() (mm.Pager, error) {
	var frames []physmem.Frame
	for range 2 {
		f, e := m.memory.AllocZeroed(0)
		if e != 0 {
			return nil, fmt.Errorf("no memory for the vDSO")
		}
		frames = append(frames, f)
	}
	copy(m.memory.Bytes(frames[1]), vdso.Image())
	m.clock.SetOneCPU(m.cfg.CPUs == 1)
	m.clock.Attach(vdso.PageAt(m.memory.Bytes(frames[0])))
	return mm.NewFramePager(m.memory, frames), nil
}

// maxTasks bounds a machine's threads: each costs the host a thread, and most a process.
const maxTasks = 8192

// exitStatus makes goum's exit status of a wait status: 128+n for a signal.
func exitStatus(status int32) int {
	if sig := status & 0x7f; sig != 0 {
		return 128 + int(sig)
	}
	return int(status >> 8 & 0xff)
}

// commandLine is /proc/cmdline.
func (m *Machine) commandLine() string {
	if m.cfg.Append == "" {
		return DefaultAppend
	}
	return m.cfg.Append
}
