package task

import (
	"fmt"
	"sync/atomic"
	"testing"

	"goum/arch/abi"
	"goum/kernel/signal"
)

func TestForkExitWait(t *testing.T) {
	m := newMachine(t)
	status := m.run(func(g *guest) {
		if g.TID != 1 || g.PID() != 1 || g.Process.PPID() != 0 {
			t.Errorf("the first process is %d of %d, child of %d", g.TID, g.PID(), g.Process.PPID())
		}
		for i := range int32(3) {
			g.fork(func(c *guest) {
				if c.PID() != i+2 || c.Process.PPID() != 1 {
					t.Errorf("child %d is %d, child of %d", i, c.PID(), c.Process.PPID())
				}
				c.exit(10 + i)
			})
		}
		for range 3 {
			w, e := g.wait(-1, 0)
			if e != 0 || w.Status != (10+w.PID-2)<<8 || w.Code != abi.CLD_EXITED {
				t.Errorf("wait: %+v %s", w, e.Name())
			}
		}
		if _, e := g.wait(-1, 0); e != abi.ECHILD {
			t.Errorf("no child left: %s", e.Name())
		}
		g.exit(7)
	})
	if status != 7<<8 {
		t.Errorf("the machine ended with %#x", status)
	}
	if n, _, forks := m.sys.Tree.Counts(); n != 1 || forks != 4 { // the first process stays a zombie
		t.Errorf("%d tasks are left of %d", n, forks)
	}
}

func TestForkCopiesMemory(t *testing.T) {
	m := newMachine(t)
	m.run(func(g *guest) {
		g.User().Store32(scratch, 1)
		g.fork(func(c *guest) {
			if v, _ := c.User().Load32(scratch); v != 1 {
				t.Errorf("the child sees %d, the parent wrote 1", v)
			}
			c.User().Store32(scratch, 2)
		})
		g.wait(-1, 0)
		if v, _ := g.User().Load32(scratch); v != 1 {
			t.Errorf("the parent sees %d, which the child wrote", v)
		}
	})
}

// TestWaitOptions has one child in each state, and waits with each set of options.
func TestWaitOptions(t *testing.T) {
	type row struct {
		state   string
		pid     int32 // 0: the child's own; else as wait4 takes it
		options int32
		code    int32 // 0: nothing yet
		e       abi.Errno
		status  int32
	}
	rows := []row{
		{"running", 0, abi.WNOHANG, 0, 0, 0},
		{"running", -1, abi.WNOHANG | abi.WUNTRACED | abi.WCONTINUED, 0, 0, 0},
		{"running", 999, abi.WNOHANG, 0, abi.ECHILD, 0},
		{"running", -999, abi.WNOHANG, 0, abi.ECHILD, 0},
		{"running", 0, abi.WNOHANG | 0x100, 0, abi.EINVAL, 0},
		{"running", -1 << 31, abi.WNOHANG, 0, abi.ESRCH, 0},
		{"running", 0, -1<<31 | abi.WNOHANG, 0, abi.ECHILD, 0}, // __WCLONE: only those who send another signal
		{"running", 0, abi.WALL | abi.WNOHANG, 0, 0, 0},
		{"exited", 0, 0, abi.CLD_EXITED, 0, 3 << 8},
		{"exited", -1, abi.WNOHANG, abi.CLD_EXITED, 0, 3 << 8},
		{"killed", 0, 0, abi.CLD_KILLED, 0, abi.SIGTERM},
		{"stopped", 0, abi.WNOHANG, 0, 0, 0},
		{"stopped", 0, abi.WUNTRACED, abi.CLD_STOPPED, 0, abi.SIGSTOP<<8 | 0x7f},
		{"continued", 0, abi.WNOHANG | abi.WUNTRACED, 0, 0, 0},
		{"continued", 0, abi.WCONTINUED, abi.CLD_CONTINUED, 0, 0xffff},
	}
	for _, r := range rows {
		t.Run(fmt.Sprintf("%s/%d/%#x", r.state, r.pid, uint32(r.options)), func(t *testing.T) {
			m := newMachine(t)
			m.run(func(g *guest) {
				id := g.fork(func(c *guest) {
					if r.state == "exited" {
						c.exit(3)
					}
					c.pause()
				})
				p := m.sys.Tree.FindProcess(id)
				g.until("the child sleeps", func() bool { return m.asleep(id) || p.Dead() })
				switch r.state {
				case "killed":
					g.kill(id, abi.SIGTERM)
					g.until("the end", p.Dead)
				case "stopped", "continued":
					g.kill(id, abi.SIGSTOP)
					g.until("the stop", p.sig.isStopped)
					if r.state == "continued" {
						g.kill(id, abi.SIGCONT)
						g.until("the continuation", func() bool { return !p.sig.isStopped() && m.asleep(id) })
					}
				}
				pid := r.pid
				if pid == 0 {
					pid = id
				}
				w, e := g.wait(pid, r.options)
				if e != r.e || w.Code != r.code || w.Status != r.status || (w.PID == id) != (r.code != 0) {
					t.Errorf("got %+v %s", w, e.Name())
				}
				if r.code == abi.CLD_STOPPED || r.code == abi.CLD_CONTINUED {
					if w, e := g.wait(pid, r.options|abi.WNOHANG); e != 0 || w.PID != 0 {
						t.Errorf("told twice: %+v %s", w, e.Name())
					}
				}
				g.kill(id, abi.SIGKILL)
				g.wait(-1, 0)
			})
		})
	}
}

func TestWaitID(t *testing.T) {
	m := newMachine(t)
	m.run(func(g *guest) {
		id := g.fork(func(c *guest) { c.exit(4) })
		p := m.sys.Tree.FindProcess(id)
		g.until("the end", p.Dead)
		for _, c := range []struct {
			w WaitFor
			e abi.Errno
			n bool // found
		}{
			{WaitFor{abi.P_ALL, 0, 0}, abi.EINVAL, false},
			{WaitFor{abi.P_ALL, 0, abi.WNOHANG}, abi.EINVAL, false},
			{WaitFor{9, 0, abi.WEXITED}, abi.EINVAL, false},
			{WaitFor{abi.P_PID, 0, abi.WEXITED}, abi.EINVAL, false},
			{WaitFor{abi.P_PGID, -1, abi.WEXITED}, abi.EINVAL, false},
			{WaitFor{abi.P_PIDFD, 3, abi.WEXITED}, abi.EINVAL, false},
			{WaitFor{abi.P_ALL, 0, abi.WSTOPPED}, abi.ECHILD, false}, // a zombie stops no more
			{WaitFor{abi.P_PID, id, abi.WEXITED | abi.WNOWAIT}, 0, true},
			{WaitFor{abi.P_PGID, 0, abi.WEXITED | abi.WNOWAIT}, 0, true},
			{WaitFor{abi.P_ALL, 0, abi.WEXITED}, 0, true},
			{WaitFor{abi.P_ALL, 0, abi.WEXITED}, abi.ECHILD, false},
		} {
			w, e := g.WaitID(c.w)
			if e != c.e || (w.PID == id) != c.n {
				t.Errorf("%+v: %+v %s", c.w, w, e.Name())
			}
			if c.n {
				if i := w.Info(); i.Status() != 4 || i.PID() != id || i.Code != abi.CLD_EXITED || i.Signo != abi.SIGCHLD {
					t.Errorf("%+v: siginfo %+v", c.w, i)
				}
			}
		}
	})
}

// TestWaitThreads: a child belongs to the thread that made it; its siblings see it unless they say __WNOTHREAD.
func TestWaitThreads(t *testing.T) {
	m := newMachine(t)
	m.run(func(g *guest) {
		id := g.fork(func(c *guest) { c.exit(1) })
		var done atomic.Bool
		g.thread(func(o *guest) {
			if _, e := o.wait(id, abi.WNOTHREAD); e != abi.ECHILD {
				t.Errorf("another thread's child, __WNOTHREAD: %s", e.Name())
			}
			if w, e := o.wait(id, 0); e != 0 || w.PID != id {
				t.Errorf("another thread's child: %+v %s", w, e.Name())
			}
			done.Store(true)
		})
		g.until("the thread", done.Load)
	})
}

// TestAutoReap: who ignores SIGCHLD, or has SA_NOCLDWAIT, has no zombies, and a wait ends with ECHILD when all have gone.
func TestAutoReap(t *testing.T) {
	for name, set := range map[string]func(*guest){
		"SIG_IGN":      func(g *guest) { g.action(abi.SIGCHLD, abi.SIG_IGN, 0) },
		"SA_NOCLDWAIT": func(g *guest) { g.action(abi.SIGCHLD, abi.SIG_DFL, abi.SA_NOCLDWAIT) },
	} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t)
			m.run(func(g *guest) {
				set(g)
				for range 5 {
					g.fork(func(c *guest) { c.exit(1) })
				}
				if _, e := g.wait(-1, 0); e != abi.ECHILD {
					t.Errorf("wait: %s", e.Name())
				}
				if n, _, _ := m.sys.Tree.Counts(); n != 1 {
					t.Errorf("%d tasks are left", n)
				}
			})
		})
	}
}

// TestReparent: orphans go to the nearest subreaper, else to the first process, and tell it when they end.
func TestReparent(t *testing.T) {
	for _, sub := range []bool{false, true} {
		t.Run(fmt.Sprint(sub), func(t *testing.T) {
			m := newMachine(t)
			m.run(func(g *guest) {
				var orphan atomic.Int32
				reaper := g.fork(func(r *guest) {
					r.Process.SetReaper(sub)
					r.fork(func(p *guest) {
						orphan.Store(p.fork(func(o *guest) {
							parent := p.PID()
							o.until("to be an orphan", func() bool { return o.Process.PPID() != parent })
							o.exit(o.Process.PPID())
						}))
						p.exit(0)
					})
					for {
						w, e := r.wait(-1, 0)
						if e != 0 {
							r.exit(0)
						}
						if sub && w.PID == orphan.Load() && w.Status != r.PID()<<8 {
							t.Errorf("the orphan's parent was not the subreaper: %+v", w)
						}
					}
				})
				for {
					w, e := g.wait(-1, 0)
					if e != 0 {
						break
					}
					if w.PID == orphan.Load() && (sub || w.Status != 1<<8) {
						t.Errorf("the orphan came to the first process: %+v (subreaper %d)", w, reaper)
					}
				}
			})
		})
	}
}

func TestDeathSignal(t *testing.T) {
	m := newMachine(t)
	m.run(func(g *guest) {
		g.fork(func(p *guest) {
			var ready atomic.Bool
			p.fork(func(c *guest) {
				c.SetDeathSignal(abi.SIGUSR1)
				ready.Store(true)
				c.pause()
			})
			p.until("the child", ready.Load)
		})
		g.wait(-1, 0)
		if w, e := g.wait(-1, 0); e != 0 || w.Status != abi.SIGUSR1 {
			t.Errorf("the child of the dead: %+v %s", w, e.Name())
		}
	})
}

func TestVfork(t *testing.T) {
	m := newMachine(t)
	m.run(func(g *guest) {
		var ended atomic.Bool
		_, e := g.clone(CloneArgs{Flags: abi.CLONE_VM | abi.CLONE_VFORK, ExitSignal: abi.SIGCHLD}, func(c *guest) {
			c.User().Store32(scratch, 42)
			for range 20 {
				c.call(abi.SYS_SCHED_YIELD, func() (uint64, abi.Errno) { c.Thread.Yield(); return 0, 0 })
			}
			ended.Store(true)
		})
		if e != 0 || !ended.Load() {
			t.Errorf("vfork: %s, came back before its child ended: %t", e.Name(), !ended.Load())
		}
		if v, _ := g.User().Load32(scratch); v != 42 {
			t.Errorf("the memory that was lent has %d", v)
		}
		g.wait(-1, 0)

		// A signal that kills ends the wait, too.
		id := g.fork(func(p *guest) {
			p.clone(CloneArgs{Flags: abi.CLONE_VM | abi.CLONE_VFORK, ExitSignal: abi.SIGCHLD}, func(c *guest) { c.pause() })
		})
		var child int32
		g.until("the vfork", func() bool {
			if ids := m.sys.Tree.FindProcess(id).Children(); len(ids) == 1 && m.asleep(ids[0]) {
				child = ids[0]
			}
			return child != 0
		})
		g.kill(id, abi.SIGKILL)
		if w, _ := g.wait(id, 0); w.Status != abi.SIGKILL {
			t.Errorf("the parent of a vfork: %+v", w)
		}
		g.kill(child, abi.SIGKILL)
		g.wait(-1, 0)
	})
}

func TestCloneFlags(t *testing.T) {
	m := newMachine(t)
	m.run(func(g *guest) {
		for name, c := range map[string]struct {
			a CloneArgs
			e abi.Errno
		}{
			"thread without sighand":     {CloneArgs{Flags: abi.CLONE_THREAD | abi.CLONE_VM}, abi.EINVAL},
			"sighand without vm":         {CloneArgs{Flags: abi.CLONE_SIGHAND}, abi.EINVAL},
			"a mount namespace":          {CloneArgs{Flags: abi.CLONE_NEWNS}, abi.EINVAL},
			"a user namespace":           {CloneArgs{Flags: abi.CLONE_NEWUSER}, abi.EINVAL},
			"init's sibling":             {CloneArgs{Flags: abi.CLONE_PARENT}, abi.EINVAL},
			"clone3: detached":           {CloneArgs{Flags: abi.CLONE_DETACHED, Three: true}, abi.EINVAL},
			"clone3: unknown":            {CloneArgs{Flags: 1 << 60, Three: true}, abi.EINVAL},
			"clone3: sighand and clear":  {CloneArgs{Flags: abi.CLONE_VM | abi.CLONE_SIGHAND | abi.CLONE_CLEAR_SIGHAND, Three: true}, abi.EINVAL},
			"clone3: thread with signal": {CloneArgs{Flags: threadFlags, ExitSignal: abi.SIGCHLD, Three: true}, abi.EINVAL},
			"pidfd without any":          {CloneArgs{Flags: abi.CLONE_PIDFD, PidFD: scratch}, abi.EINVAL},
			"pidfd and parent tid":       {CloneArgs{Flags: abi.CLONE_PIDFD | abi.CLONE_PARENT_SETTID, PidFD: scratch, ParentTID: scratch}, abi.EINVAL},
			"tls beyond user space":      {CloneArgs{Flags: abi.CLONE_SETTLS, TLS: 1 << 60}, abi.EPERM},
			"set_tid taken":              {CloneArgs{SetTID: []int32{1}, Three: true}, abi.EEXIST},
			"set_tid 0":                  {CloneArgs{SetTID: []int32{0}, Three: true}, abi.EINVAL},
			"set_tid two":                {CloneArgs{SetTID: []int32{50, 51}, Three: true}, abi.EINVAL},
		} {
			if _, e := g.clone(c.a, func(c *guest) {}); e != c.e {
				t.Errorf("%s: %s, want %s", name, e.Name(), c.e.Name())
			}
		}
		if n := m.seats.Load(); n != 1 {
			t.Errorf("what failed left %d stub threads", n-1)
		}
		if n, _, _ := m.sys.Tree.Counts(); n != 1 || g.Cred().User.Processes.Load() != 1 {
			t.Errorf("what failed left %d tasks, %d counted", n-1, g.Cred().User.Processes.Load()-1)
		}

		id, e := g.clone(CloneArgs{
			Flags: abi.CLONE_PARENT_SETTID | abi.CLONE_CHILD_SETTID | abi.CLONE_SETTLS, TLS: 0x7000, ParentTID: scratch, ChildTID: scratch + 4,
			SetTID: []int32{77}, Three: true, ExitSignal: abi.SIGUSR1,
		}, func(c *guest) {
			if v, _ := c.User().Load32(scratch + 4); v != 77 || c.TID != 77 || c.Regs.FSBase != 0x7000 {
				t.Errorf("the child is %d, told %d, fs at %#x", c.TID, v, c.Regs.FSBase)
			}
		})
		if v, _ := g.User().Load32(scratch); e != 0 || id != 77 || v != 77 {
			t.Errorf("clone: %d %s, told %d", id, e.Name(), v)
		}
		if v, _ := g.User().Load32(scratch + 4); v != 0 {
			t.Errorf("CLONE_CHILD_SETTID wrote into the parent's memory: %d", v)
		}
		g.action(abi.SIGUSR1, abi.SIG_IGN, 0)
		if _, e := g.wait(77, 0); e != abi.ECHILD {
			t.Errorf("a child with another signal is only for __WCLONE: %s", e.Name())
		}
		if w, e := g.wait(77, abi.WALL); e != 0 || w.PID != 77 {
			t.Errorf("__WALL: %+v %s", w, e.Name())
		}
	})
}

// TestClearTID: a thread's end clears its word, if somebody else still has the memory.
func TestClearTID(t *testing.T) {
	m := newMachine(t)
	m.run(func(g *guest) {
		g.User().Store32(scratch, 5)
		g.thread(func(o *guest) { o.SetClearTID(scratch) })
		g.until("the word", func() bool { v, _ := g.User().Load32(scratch); return v == 0 })
	})
}

// TestForkBomb: limits are EAGAIN, and give back what they took.
func TestForkBomb(t *testing.T) {
	bomb := func(g *guest) (n int) {
		for {
			_, e := g.clone(CloneArgs{ExitSignal: abi.SIGCHLD}, func(c *guest) { c.pause() })
			if e != 0 {
				if e != abi.EAGAIN {
					t.Errorf("after %d: %s", n, e.Name())
				}
				return n
			}
			n++
		}
	}
	t.Run("machine", func(t *testing.T) {
		m := newMachine(t)
		m.sys.Tree.max = 40
		m.run(func(g *guest) {
			for range 2 {
				if n := bomb(g); n != 39 {
					t.Errorf("%d children, want 39", n)
				}
				g.kill(-1, abi.SIGKILL)
				for {
					if _, e := g.wait(-1, 0); e != 0 {
						break
					}
				}
			}
		})
	})
	t.Run("user", func(t *testing.T) {
		m := newMachine(t)
		m.run(func(g *guest) {
			g.fork(func(u *guest) {
				u.SetCred(u.Cred().Ordinary(5, 5))
				u.Prlimit(0, abi.RLIMIT_NPROC, &abi.Rlimit64{Cur: 10, Max: 10})
				if n := bomb(u); n != 9 {
					t.Errorf("%d children, want 9", n)
				}
				u.kill(-1, abi.SIGKILL)
				for {
					if _, e := u.wait(-1, 0); e != 0 {
						break
					}
				}
				if n := u.Cred().User.Processes.Load(); n != 1 {
					t.Errorf("%d counted at the end", n)
				}
			})
			g.wait(-1, 0)
		})
	})
	t.Run("threads", func(t *testing.T) {
		m := newMachine(t)
		m.sys.Tree.max = 20
		m.run(func(g *guest) {
			n := 0
			for {
				if _, e := g.clone(CloneArgs{Flags: threadFlags}, func(c *guest) { c.pause() }); e != 0 {
					break
				}
				n++
			}
			if n != 19 {
				t.Errorf("%d threads, want 19", n)
			}
		})
	})
}

// TestPidsWrap: numbers go up, wrap to 300, and skip what is in use.
func TestPidsWrap(t *testing.T) {
	tr := NewTree(10)
	take := func() int32 {
		id, e := tr.allocate()
		if e != 0 {
			t.Fatalf("allocate: %s", e.Name())
		}
		return id
	}
	if a, b := take(), take(); a != 1 || b != 2 {
		t.Errorf("the first numbers: %d, %d", a, b)
	}
	tr.id(300).group = &Group{}
	tr.id(PidMax - 1).session = &Session{}
	tr.last = PidMax - 3
	if a, b := take(), take(); a != PidMax-2 || b != 301 {
		t.Errorf("at the end: %d, %d; want %d, 301", a, b, PidMax-2)
	}
	for i := int32(1); i < PidMax; i++ {
		tr.id(i).group = &Group{}
	}
	if _, e := tr.allocate(); e != abi.EAGAIN {
		t.Errorf("all in use: %s", e.Name())
	}
}

// TestThreadsEnd: exit ends one thread, exit_group all, wherever they are; the process's status is that of exit_group, or of the last
// thread.
func TestThreadsEnd(t *testing.T) {
	m := newMachine(t)
	m.run(func(g *guest) {
		id := g.fork(func(p *guest) {
			for range 5 {
				p.thread(func(o *guest) { o.pause() })
			}
			p.thread(func(o *guest) { o.exit(9) })
			p.pause()
		})
		if w, _ := g.wait(id, 0); w.Status != 9<<8 {
			t.Errorf("exit_group of a thread: %#x", w.Status)
		}
		id = g.fork(func(p *guest) {
			leader := p.PID()
			p.thread(func(o *guest) {
				o.until("the leader's end", func() bool { return len(o.Process.Threads()) == 1 })
				if o.kill(leader, 0) != 0 {
					t.Error("a process whose leader has ended is there still")
				}
				o.call(abi.SYS_EXIT, func() (uint64, abi.Errno) { o.Task.Exit(6); return 0, 0 })
			})
			p.call(abi.SYS_EXIT, func() (uint64, abi.Errno) { p.Task.Exit(5); return 0, 0 })
		})
		if w, _ := g.wait(id, 0); w.Status != 6<<8 {
			t.Errorf("the last thread's exit: %#x", w.Status)
		}
		if n, _, _ := m.sys.Tree.Counts(); n != 1 {
			t.Errorf("%d tasks are left", n)
		}
	})
}

func TestKilledMachine(t *testing.T) {
	m := newMachine(t)
	status := m.run(func(g *guest) {
		g.kill(1, abi.SIGKILL) // from inside, nothing without a handler does anything to the first process
		g.kill(1, abi.SIGTERM)
		g.kill(1, abi.SIGSTOP)
		fault := signal.Fault(abi.SIGSEGV, abi.SEGV_MAPERR, 0x10)
		g.call(0, func() (uint64, abi.Errno) { g.Force(&fault); return 0, 0 })
	})
	if status != abi.SIGSEGV {
		t.Errorf("the machine ended with %#x", status)
	}
}

func TestSetCred(t *testing.T) {
	m := newMachine(t)
	m.run(func(g *guest) {
		root := g.Cred().User
		g.fork(func(c *guest) {
			n, e := c.Cred().SetUID(5)
			if e != 0 {
				t.Fatal(e.Name())
			}
			c.Task.SetDeathSignal(abi.SIGUSR1)
			c.Task.SetCred(n)
			if root.Processes.Load() != 1 || n.User.Processes.Load() != 1 {
				t.Errorf("counted %d and %d", root.Processes.Load(), n.User.Processes.Load())
			}
			if c.Task.Memory().Dumpable() != 0 || c.DeathSignal() != 0 || c.Caller().Cred != n {
				t.Error("a change of identity leaves dumpable, the death signal, or the Caller")
			}
			if e := c.kill(1, abi.SIGTERM); e != abi.EPERM {
				t.Errorf("a user kills root's: %s", e.Name())
			}
			if _, e := c.Prlimit(1, abi.RLIMIT_CORE, nil); e != abi.EPERM {
				t.Errorf("a user asks for root's limits: %s", e.Name())
			}
		})
		g.wait(-1, 0)
		if n := root.Processes.Load(); n != 1 {
			t.Errorf("%d of root's are counted at the end", n)
		}
	})
}

// TestNoStub: a host that has no more stubs is EAGAIN for fork and clone, ENOMEM for exec, and leaves nothing behind.
func TestNoStub(t *testing.T) {
	m := newMachine(t)
	m.root.put("prog", 0o755, image(2, textAt, ""))
	m.run(func(g *guest) {
		for at := uint64(stackBase); at < stackBase+0x10000; at += 0x1000 {
			g.User().Store32(at, 1)
		}
		free := m.sys.Memory.Stats()
		m.fail.Store(true)
		for range 3 {
			if _, e := g.clone(CloneArgs{ExitSignal: abi.SIGCHLD}, func(*guest) {}); e != abi.EAGAIN {
				t.Errorf("fork: %s", e.Name())
			}
			if _, e := g.clone(CloneArgs{Flags: threadFlags}, func(*guest) {}); e != abi.EAGAIN {
				t.Errorf("clone: %s", e.Name())
			}
			if e := g.exec(ExecArgs{Path: "/prog"}); e != abi.ENOMEM {
				t.Errorf("exec: %s", e.Name())
			}
		}
		if n, _, _ := m.sys.Tree.Counts(); n != 1 || g.Cred().User.Processes.Load() != 1 || m.seats.Load() != 1 || m.stubs.Load() != 1 {
			t.Errorf("%d tasks, %d counted, %d seats, %d stubs", n, g.Cred().User.Processes.Load(), m.seats.Load(), m.stubs.Load())
		}
		if now := m.sys.Memory.Stats(); now.Free != free.Free {
			t.Errorf("%d frames were free, now %d", free.Free, now.Free)
		}
		m.fail.Store(false)
		g.fork(func(c *guest) { c.exit(0) })
		g.wait(-1, 0)
	})
}

func TestUnshare(t *testing.T) {
	m := newMachine(t)
	m.run(func(g *guest) {
		var done atomic.Bool
		g.thread(func(o *guest) {
			if o.Dirs() != g.Dirs() || o.FDs() != g.FDs() {
				t.Error("threads share their directories and descriptors")
			}
			for flags, want := range map[uint64]abi.Errno{abi.CLONE_NEWNS: abi.EINVAL, abi.CLONE_THREAD: abi.EINVAL, abi.CLONE_VM: abi.EINVAL, 1 << 40: abi.EINVAL, 0: 0, abi.CLONE_FS | abi.CLONE_FILES: 0} {
				if e := o.Unshare(flags); e != want {
					t.Errorf("unshare(%#x) = %s, want %s", flags, e.Name(), want.Name())
				}
			}
			if o.Dirs() == g.Dirs() || o.FDs() == g.FDs() || o.Caller().Dirs != o.Dirs() {
				t.Error("unshare left them shared")
			}
			done.Store(true)
		})
		g.until("the thread", done.Load)
	})
}
