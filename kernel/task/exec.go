package task

import (
	"encoding/binary"
	"strings"

	"goum/arch/abi"
	"goum/arch/elf"
	"goum/arch/x86"
	"goum/kernel/cred"
	"goum/kernel/fs/vfs"
	"goum/kernel/signal"
	"goum/mm"
	"goum/sched"
	"goum/sched/clock"
)

// ExecArgs says what to run. At, Path and Flags are execveat(2)'s (a zero At is the working directory); Name is the program's name as
// AT_EXECFN and scripts see it: Path itself, or /dev/fd/N for a descriptor.
type ExecArgs struct {
	At         vfs.Location
	Path       string
	Name       string
	Flags      uint32
	Argv, Envp []string
	// Hidden says that Name cannot be opened by the new program: /dev/fd/N with close-on-exec. A script is ENOENT then.
	Hidden bool
}

// program is what exec has found: a file that can be loaded.
type program struct {
	file   *vfs.Open
	name   string // AT_EXECFN
	argv   []string
	plan   *elf.Plan
	interp *vfs.Open // nil: none
	dyn    *elf.Plan // interp's
	image  cred.Image
	cred   *cred.Cred // from image, once t is alone
	secure bool
	nodump bool // a file that the caller may not read
}

func (g *program) close() {
	if g.interp != nil {
		closeExe(g.interp)
	}
	if g.file != nil {
		closeExe(g.file)
	}
}

// closeExe lets go of a file that OpenExec opened.
func closeExe(o *vfs.Open) {
	o.AllowExec()
	o.Unref()
}

// ReadArgs reads a vector of strings as execve(2) gets it; a null pointer is an empty one. E2BIG: a string beyond 128 KiB, or
// more in all than a quarter of the stack's limit; room is what is left of that, and is counted down. EFAULT.
func (t *Task) ReadArgs(vector uint64, room *uint64) ([]string, abi.Errno) {
	if vector == 0 {
		return nil, 0
	}
	var list []string
	var b [64 * 8]byte
	for {
		n, e := t.User().CopyInSome(b[:], vector)
		n &^= 7
		if n == 0 {
			return nil, e
		}
		for i := 0; i < n; i += 8 {
			p := binary.LittleEndian.Uint64(b[i:])
			if p == 0 {
				return list, 0
			}
			s, e := t.User().CopyString(p, elf.MaxArgLen)
			if e == abi.ENAMETOOLONG {
				e = abi.E2BIG
			}
			if e != 0 {
				return nil, e
			}
			need := uint64(len(s)) + 1 + 8
			if need > *room {
				return nil, abi.E2BIG
			}
			*room -= need
			list = append(list, s)
			if t.Thread.Killed() {
				return nil, abi.EINTR
			}
		}
		vector += uint64(n)
	}
}

// ArgRoom is what ReadArgs may read for both vectors.
func (t *Task) ArgRoom() uint64 { return elf.ArgLimit(t.Limits().Cur(abi.RLIMIT_STACK)) }

// Exec is execve(2) and execveat(2). On success t's registers are the new program's, and the call returns 0 to it. An errno means that the
// old program goes on: what vfs says of the path, EACCES, ETXTBSY, ENOEXEC, ELIBBAD, ELOOP (scripts of scripts), E2BIG, ENOMEM, EAGAIN
// (RLIMIT_NPROC after a set*uid; another thread runs exec or ends the process).
// What goes wrong once the old program is gone kills the process with SIGSEGV, as in Linux.
func (t *Task) Exec(a ExecArgs) abi.Errno {
	if t.overNproc.Load() {
		if c := t.Cred(); uint64(c.User.Processes.Load()) > t.Limits().Cur(abi.RLIMIT_NPROC) {
			return abi.EAGAIN
		}
	}
	t.overNproc.Store(false)
	g, e := t.find(&a)
	if e != 0 {
		return e
	}
	defer g.close()
	if a.Flags&abi.AT_EXECVE_CHECK != 0 {
		return 0
	}
	// What is too large must be found while there is still somebody to tell: a dry run of the stack, at no address yet.
	in := elf.StackInput{Top: mm.TaskSize &^ 15, Argv: g.argv, Envp: a.Envp, Execfn: g.name, Limit: t.ArgRoom()}
	if _, e := elf.BuildStack(&in); e != 0 {
		return e
	}
	space := mm.NewSpace(t.System.Memory, t.spaceLimits(t.Cred()))
	stub, err := t.System.Stubs.New(space)
	if err != nil {
		space.Release()
		return abi.ENOMEM
	}
	m := newMemory(space, stub)
	if e := t.alone(); e != 0 {
		m.leave()
		return e
	}
	g.image.Shared = t.dirs.Shared() // somebody outside the process: nobody else is left in it
	g.cred, g.secure = t.Cred().Exec(g.image)
	t.change(m, stub, g)
	if e := t.load(g, a.Envp); e != 0 {
		fault := signal.Kernel(abi.SIGSEGV)
		t.force(&fault, true)
	}
	return 0
}

// spaceLimits are the limits that bind an address space of a task with c.
func (t *Task) spaceLimits(c *cred.Cred) mm.Limits {
	l := t.Limits()
	return mm.Limits{
		AS: l.Cur(abi.RLIMIT_AS), Data: l.Cur(abi.RLIMIT_DATA), Stack: l.Cur(abi.RLIMIT_STACK), Memlock: l.Cur(abi.RLIMIT_MEMLOCK),
		MayLock: c.Has(abi.CAP_IPC_LOCK),
	}
}

// reader reads an open file for package elf.
type reader struct {
	t *Task
	o *vfs.Open
}

func (r reader) ReadAt(p []byte, off int64) (int, abi.Errno) {
	done := 0
	for done < len(p) {
		n, e := r.o.Pread(&r.t.caller, mm.BytesBuf(p[done:]), off+int64(done))
		if e != 0 && done == 0 {
			return 0, e
		}
		if n <= 0 || e != 0 {
			break
		}
		done += n
	}
	return done, 0
}

// find opens what is to run: through #! lines to an ELF file, and its interpreter.
func (t *Task) find(a *ExecArgs) (g *program, e abi.Errno) {
	if a.Flags&^(abi.AT_EMPTY_PATH|abi.AT_SYMLINK_NOFOLLOW|abi.AT_EXECVE_CHECK) != 0 {
		return nil, abi.EINVAL
	}
	if a.Name == "" {
		a.Name = a.Path
	}
	c := &t.caller
	g = &program{name: a.Name, argv: a.Argv}
	defer func() {
		if e != 0 {
			g.close()
		}
	}()
	if g.file, e = c.OpenExec(a.At, a.Path, a.Flags&^abi.AT_EXECVE_CHECK); e != 0 {
		g.file = nil
		return g, e
	}
	if a.Flags&abi.AT_EXECVE_CHECK != 0 {
		return g, 0
	}
	if len(g.argv) == 0 {
		g.argv = []string{""}
	}
	script := a.Name
	for depth := 0; ; depth++ {
		if depth > maxInterps {
			return g, abi.ELOOP
		}
		g.unreadable(c, g.file)
		var head [elf.ScriptHead]byte
		n, e := reader{t, g.file}.ReadAt(head[:], 0)
		if e != 0 {
			return g, e
		}
		if n < 2 || head[0] != '#' || head[1] != '!' {
			break
		}
		s, e := elf.ParseScript(head[:n])
		if e != 0 {
			return g, e
		}
		if a.Hidden && depth == 0 {
			return g, abi.ENOENT
		}
		argv := []string{s.Interp}
		if s.HasArg {
			argv = append(argv, s.Arg)
		}
		g.argv = append(append(argv, script), g.argv[1:]...)
		script = s.Interp
		next, e := c.OpenExec(vfs.Location{}, s.Interp, 0)
		if e != 0 {
			return g, e
		}
		closeExe(g.file)
		g.file = next
	}
	if g.plan, e = elf.Parse(reader{t, g.file}, mm.TaskSize); e != 0 {
		return g, e
	}
	if g.plan.HasInterp {
		if g.interp, e = c.OpenExec(vfs.Location{}, g.plan.Interp, 0); e != 0 {
			g.interp = nil
			return g, e
		}
		g.unreadable(c, g.interp)
		if g.dyn, e = elf.ParseInterp(reader{t, g.interp}, mm.TaskSize); e != 0 {
			return g, e
		}
	}
	attr, e := g.file.Loc.Node().Attr(c)
	if e != 0 {
		return g, e
	}
	g.image = cred.Image{Mode: attr.Mode, UID: attr.UID, GID: attr.GID, NoSuid: g.file.Loc.Mount.Nosuid()}
	return g, 0
}

// unreadable notes a file that the caller may run and not read: nobody may then look into the process.
func (g *program) unreadable(c *vfs.Caller, o *vfs.Open) {
	if c.Permit(o.Loc, vfs.MayRead) != 0 {
		g.nodump = true
	}
}

// alone ends all other threads of the process, and makes t its leader: de_thread. EAGAIN: t is to end itself.
func (t *Task) alone() abi.Errno {
	p, s := t.Process, &t.Process.sig
	s.mu.Lock()
	if s.ending || s.execer != nil || t.sig.killed {
		s.mu.Unlock()
		return abi.EAGAIN
	}
	s.execer = t
	for _, o := range s.threads {
		if o != t {
			o.kill()
		}
	}
	s.changed.Wake(sched.Any)
	s.mu.Unlock()

	// The others leave when they next come by; the leader, if it is another, stays until we have its number.
	tr := t.System.Tree
	out := s.changed.WaitKillable(t.Thread, sched.Any, clock.Never, func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return len(s.threads) == 1 && s.leaving == 0
	})
	s.mu.Lock()
	s.execer = nil
	killed := t.sig.killed || out != sched.Woken
	s.mu.Unlock()
	if killed {
		return abi.EAGAIN
	}
	tr.mu.Lock()
	defer tr.mu.Unlock()
	old := p.leader
	if old == t {
		return 0
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	// t takes the leader's number and family; its own number goes, as if the leader had ended.
	own := t.TID
	tr.ids[p.PID].task = t
	tr.ids[own].task = nil
	tr.settle(own)
	t.TID, t.caller.Tid = p.PID, p.PID
	t.parent, t.exitSignal = old.parent, abi.SIGCHLD
	old.parent = nil
	for c := p.children.first; c != nil; c = c.next {
		if c.leader.parent == old {
			c.leader.parent = t
		}
	}
	p.leader = t
	tr.tasks--
	t.Start = old.Start
	old.Cred().User.Processes.Add(-1)
	return 0
}

// change is the point of no return: t leaves the old program and everything that belongs to it, and is the new one, with nothing loaded.
func (t *Task) change(m *Memory, stub Stub, g *program) {
	p := t.Process
	t.releaseMemory()
	old := t.memory
	if hwm := int64(old.hwm()); hwm > 0 {
		p.System.Tree.mu.Lock()
		p.peakRSS = max(p.peakRSS, hwm)
		p.System.Tree.mu.Unlock()
	}
	t.mu.Lock()
	t.memory = m
	t.mu.Unlock()
	if t.Stub != nil {
		t.Stub.Park()
	}
	t.Stub = stub.First()
	t.adopt()
	if old != nil {
		old.leave()
	}
	img := make([]byte, x86.XStateSize())
	x86.InitXState(img)
	t.Stub.SetXState(img)

	if p.ExitTimers != nil {
		p.ExitTimers(true)
	}
	// Nobody else sees our table of actions or descriptors from here on.
	s := &p.sig
	s.mu.Lock()
	actions := s.actions
	s.mu.Unlock()
	actions = actions.Exec()
	s.mu.Lock()
	s.actions = actions
	t.sig.alt = abi.StackT{Flags: abi.SS_DISABLE}
	s.mu.Unlock()
	fds := t.fds
	if own := fds.Unshare(&t.caller); own != fds {
		t.mu.Lock()
		t.fds = own
		t.mu.Unlock()
		own.SetLimits(p.Limits)
	}
	t.fds.CloseOnExec(&t.caller)

	name := g.name[strings.LastIndexByte(g.name, '/')+1:]
	t.SetName(name)
	if g.secure {
		t.deathSig.Store(0)
	}
	was := t.Cred()
	t.setCred(g.cred)
	m.Space.SetLimits(t.spaceLimits(g.cred))
	if g.cred.Guarded(was) {
		t.deathSig.Store(0)
	}
	if g.nodump || g.cred.EUID != g.cred.UID || g.cred.EGID != g.cred.GID {
		m.SetDumpable(abi.SUID_DUMP_DISABLE)
	} else {
		m.SetDumpable(abi.SUID_DUMP_USER)
	}
	t.robust, t.clearAt = 0, 0
	t.block = nil
	tr := t.System.Tree
	tr.mu.Lock()
	p.ranExec = true
	tr.mu.Unlock()
	m.mu.Lock()
	m.exe = g.file // its reference and its denial of writing go over
	m.mu.Unlock()
	g.file.Ref()
	g.file.Loc.Node().VFS().DenyWrite()
}

// platform is what AT_PLATFORM points to.
const platform = "x86_64"
