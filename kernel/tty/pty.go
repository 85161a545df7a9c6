package tty

import (
	"strconv"
	"sync/atomic"

	"goum/arch/abi"
	"goum/arch/lock"
	"goum/kernel/fd"
	"goum/kernel/fs/vfs"
	"goum/sched/clock"
)

// The device numbers of terminals.
const (
	majorAux  = 5 // minor 0 /dev/tty, 1 /dev/console, 2 /dev/ptmx
	majorPts  = 136
	minorTTY  = 0
	minorPtmx = 2
)

// pty is a pair: what Linux's two tty_structs share.
type pty struct {
	fs     *Devpts
	index  uint32
	master *TTY
	slave  *TTY
	node   *ptsNode
}

// half is a TTY's Driver: the other half.
type half struct {
	to  *TTY
	pty *pty
}

func (h *half) Room() int        { return backlogSize - len(h.to.backlog) }
func (h *half) Put(p []byte) int { return h.to.push(p) }
func (h *half) Pending() int     { return 0 } // what is in the other half has arrived
func (h *half) Flush()           { h.to.backlog = h.to.backlog[:0] }
func (h *half) Unthrottle()      {}

// pty is the pair that t is half of.
func (t *TTY) pty() *pty { return t.drv.(*half).pty }

// newPair makes the two halves of a pty. The slave is locked.
func newPair(fs *Devpts, index uint32, clk *clock.Clock) *pty {
	p := &pty{fs: fs, index: index}
	mu := new(lock.Mutex[lock.TTY])
	m := &TTY{name: "ptmx", number: abi.Makedev(majorAux, minorPtmx), kind: master, clk: clk, mu: mu}
	s := &TTY{name: "pts/" + strconv.Itoa(int(index)), number: abi.Makedev(majorPts, index), kind: slave, clk: clk, mu: mu}
	m.link, s.link = s, m
	m.drv, s.drv = &half{s, p}, &half{m, p}
	m.init(masterTermios())
	s.init(slaveTermios())
	p.master, p.slave = m, s
	return p
}

// free gives the number back, after both halves were closed.
func (t *TTY) free() { t.pty().fs.free(t.pty()) }

// unlist takes the slave out of its directory.
func (p *pty) unlist() { p.fs.unlist(p) }

// masterIoctl are the calls that only a master has.
func (t *TTY) masterIoctl(c *vfs.Caller, cmd uint32, arg uint64) (uint64, abi.Errno) {
	u := c.User
	switch cmd {
	case abi.TIOCSPTLCK:
		v, e := get32(u, arg)
		if e != 0 {
			return 0, e
		}
		t.mu.Lock()
		t.link.unlocked = v == 0
		t.mu.Unlock()
	case abi.TIOCGPTLCK:
		t.mu.Lock()
		v := flag(!t.link.unlocked)
		t.mu.Unlock()
		return put32(u, arg, v)
	case abi.TIOCPKT:
		v, e := get32(u, arg)
		if e != 0 {
			return 0, e
		}
		t.mu.Lock()
		if v == 0 {
			t.packet = false
		} else if !t.packet {
			t.link.events = 0
			t.packet = true
		}
		t.mu.Unlock()
	case abi.TIOCGPKT:
		t.mu.Lock()
		v := flag(t.packet)
		t.mu.Unlock()
		return put32(u, arg, v)
	case abi.TIOCGPTN:
		return put32(u, arg, t.pty().index)
	case abi.TIOCSIG:
		sig := int(int32(arg))
		if sig != abi.SIGINT && sig != abi.SIGQUIT && sig != abi.SIGTSTP {
			return 0, abi.EINVAL
		}
		t.mu.Lock()
		t.link.send(sig)
		t.mu.Unlock()
	}
	return 0, 0
}

// hasFDs is a Caller's Owner with a descriptor table: a task.
type hasFDs interface {
	FDs() *fd.Table
}

// peer is TIOCGPTPEER: a descriptor for the slave, wherever devpts is mounted.
func (f *file) peer(c *vfs.Caller, flags uint32) (uint64, abi.Errno) {
	t, ok := c.Owner.(hasFDs)
	if !ok {
		return 0, abi.ENOTTY
	}
	p := f.t.pty()
	root, e := findPts(c, f.loc)
	if e != 0 {
		return 0, e
	}
	if root.Dentry.Super().FS != vfs.FS(p.fs) {
		return 0, abi.ENODEV
	}
	loc, e := c.Walk(root, strconv.Itoa(int(p.index)), 0)
	if e != 0 {
		return 0, e
	}
	sf, e := p.slave.Open(c, flags, true, false)
	if e != 0 {
		return 0, e
	}
	n, e := t.FDs().Add(c, vfs.NewOpen(sf, loc, flags), flags&abi.O_CLOEXEC != 0)
	return uint64(n), e
}

// findPts is the devpts that a ptmx at loc makes ptys in: the one that it lies in, or the one mounted beside it as "pts". ENODEV.
func findPts(c *vfs.Caller, loc vfs.Location) (vfs.Location, abi.Errno) {
	if loc.Dentry == nil {
		return loc, abi.ENODEV
	}
	if _, ok := loc.Dentry.Super().FS.(*Devpts); ok {
		return vfs.Location{Mount: loc.Mount, Dentry: loc.Dentry.Super().Root()}, 0
	}
	l, e := c.Walk(vfs.Location{Mount: loc.Mount, Dentry: loc.Dentry.Parent()}, "pts", 0)
	if e != 0 {
		return l, e
	}
	s := l.Dentry.Super()
	if _, ok := s.FS.(*Devpts); !ok || l.Dentry != s.Root() {
		return l, abi.ENODEV
	}
	return l, 0
}

// Ptys are a machine's pseudoterminals.
type Ptys struct {
	sys   *vfs.System
	clk   *clock.Clock
	count atomic.Int32
}

// Register makes a machine have ptys and controlling terminals: the file system devpts, the devices /dev/ptmx (5, 2) and
// /dev/tty (5, 0), and those of slaves (136, N). Consoles are registered by package console.
func Register(sys *vfs.System, clk *clock.Clock) *Ptys {
	p := &Ptys{sys: sys, clk: clk}
	sys.Register(vfs.Type{Name: "devpts", Nodev: true, Mount: p.mount})
	vfs.RegisterChar(sys, majorAux, minorTTY, openOwn)
	vfs.RegisterChar(sys, majorAux, minorPtmx, openPtmx)
	vfs.RegisterCharMajor(sys, majorPts, func(uint32) vfs.Opener { return openSlave })
	return p
}

// Count is how many pairs there are: /proc/sys/kernel/pty/nr.
func (p *Ptys) Count() int { return int(p.count.Load()) }

// openOwn is /dev/tty: the caller's controlling terminal. ENXIO.
func openOwn(c *vfs.Caller, flags uint32, _ vfs.Location) (vfs.File, abi.Errno) {
	t := OfCaller(c)
	if t == nil {
		return nil, abi.ENXIO
	}
	return t.Open(c, flags, false, false)
}

// openPtmx is /dev/ptmx: a new pair. ENODEV (no devpts beside it), ENOSPC.
func openPtmx(c *vfs.Caller, flags uint32, loc vfs.Location) (vfs.File, abi.Errno) {
	root, e := findPts(c, loc)
	if e != 0 {
		return nil, e
	}
	fs := root.Dentry.Super().FS.(*Devpts)
	p, e := fs.add(c)
	if e != 0 {
		return nil, e
	}
	p.master.mu.Lock()
	defer p.master.mu.Unlock()
	f := p.master.newFile(flags, false)
	f.loc = loc
	return f, 0
}

// openSlave is /dev/pts/N. EIO: not in a devpts, locked, or its master is gone.
func openSlave(c *vfs.Caller, flags uint32, loc vfs.Location) (vfs.File, abi.Errno) {
	n, ok := loc.Node().(*ptsNode)
	if !ok || n.pty == nil {
		return nil, abi.EIO
	}
	return n.pty.slave.Open(c, flags, true, false)
}

// Unlock lets the slave of f, a master, be opened: TIOCSPTLCK from within the kernel.
func Unlock(f vfs.File) {
	if f, ok := f.(*file); ok && f.t.kind == master {
		f.t.mu.Lock()
		f.t.link.unlocked = true
		f.t.mu.Unlock()
	}
}
