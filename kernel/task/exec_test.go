package task

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"goum/arch/abi"
	"goum/arch/elf"
	"goum/arch/x86"
	"goum/kernel/signal"
	"goum/mm"
)

const (
	textAt  = 0x400000
	dataAt  = 0x402000
	entryAt = textAt + 0x100
	dataLen = 0x30
	bssLen  = 0x3000
)

// program makes an ELF file: a page of text at base, and data with bss behind it at base+0x2000.
func image(typ uint16, base uint64, interp string) []byte {
	n := 2
	if interp != "" {
		n = 3
	}
	b := make([]byte, 0x2000+dataLen)
	copy(b, "\x7fELF\x02\x01\x01")
	le := put64
	put := func(at int, v uint16) { b[at], b[at+1] = byte(v), byte(v>>8) }
	put(16, typ)
	put(18, 62)
	b[20] = 1
	le(b, 24, base+0x100)
	le(b, 32, 64)
	put(52, 64)
	put(54, 56)
	put(56, uint16(n))
	ph := func(i int, kind, flags uint32, off, addr, filesz, memsz uint64) {
		at := 64 + 56*i
		put64(b, at, uint64(kind)|uint64(flags)<<32)
		put64(b, at+8, off)
		put64(b, at+16, addr)
		put64(b, at+24, addr)
		put64(b, at+32, filesz)
		put64(b, at+40, memsz)
		put64(b, at+48, 0x1000)
	}
	i := 0
	if interp != "" {
		copy(b[0x800:], interp+"\x00")
		ph(0, 3, 4, 0x800, base+0x800, uint64(len(interp)+1), uint64(len(interp)+1))
		i = 1
	}
	ph(i, 1, 5, 0, base, 0x1000, 0x1000)
	ph(i+1, 1, 6, 0x2000, base+0x2000, dataLen, dataLen+bssLen)
	copy(b[0x2000:], bytes.Repeat([]byte("data"), dataLen/4))
	return b
}

// look reads what a program finds on its stack.
func (g *guest) look() (argv, envp []string, aux map[uint64]uint64) {
	sp := g.Regs.RSP
	word := func() uint64 {
		v, e := g.User().Load64(sp)
		if e != 0 {
			panic(fmt.Sprintf("stack: %#x: %s", sp, e.Name()))
		}
		sp += 8
		return v
	}
	str := func(at uint64) string { s, _ := g.User().CopyString(at, 1<<20); return s }
	for range word() {
		argv = append(argv, str(word()))
	}
	word()
	for p := word(); p != 0; p = word() {
		envp = append(envp, str(p))
	}
	aux = map[uint64]uint64{}
	for {
		tag, v := word(), word()
		if tag == abi.AT_NULL {
			return
		}
		aux[tag] = v
	}
}

func (m *machine) at(addr uint64, f func(*guest)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.code[addr] = f
}

func TestExec(t *testing.T) {
	m := newMachine(t)
	m.sys.NoASLR = true
	m.root.put("prog", 0o755, image(elf.TypeExec, textAt, ""))
	m.run(func(g *guest) {
		ran := false
		m.at(entryAt, func(p *guest) {
			ran = true
			want := x86.InitRegs(entryAt, p.Regs.RSP)
			if p.Regs != want || p.Regs.RSP%16 != 0 {
				t.Errorf("registers %+v", p.Regs)
			}
			argv, envp, aux := p.look()
			if !slices.Equal(argv, []string{"prog", "two"}) || !slices.Equal(envp, []string{"A=1"}) {
				t.Errorf("argv %q, envp %q", argv, envp)
			}
			fn, _ := p.User().CopyString(aux[abi.AT_EXECFN], 100)
			pf, _ := p.User().CopyString(aux[abi.AT_PLATFORM], 100)
			if fn != "/prog" || pf != "x86_64" || aux[abi.AT_ENTRY] != entryAt || aux[abi.AT_PHDR] != textAt+64 || aux[abi.AT_PHNUM] != 2 ||
				aux[abi.AT_PAGESZ] != 4096 || aux[abi.AT_SECURE] != 0 || aux[abi.AT_CLKTCK] != 100 || aux[abi.AT_RANDOM] == 0 || aux[abi.AT_PHENT] != 56 {
				t.Errorf("auxv %v, execfn %q, platform %q", aux, fn, pf)
			}
			if _, rseq := aux[abi.AT_RSEQ_ALIGN]; rseq {
				t.Error("rseq is promised, and not there")
			}
			var b [dataLen + bssLen]byte
			if e := p.User().CopyIn(b[:], dataAt); e != 0 || string(b[:4]) != "data" || !bytes.Equal(b[dataLen:], make([]byte, bssLen)) {
				t.Errorf("data and bss: %s %q", e.Name(), b[:8])
			}
			if e := p.User().CopyOut(dataAt+dataLen+bssLen-1, []byte{1}); e != 0 {
				t.Errorf("the end of bss cannot be written: %s", e.Name())
			}
			if e := p.User().CopyOut(textAt, []byte{1}); e != abi.EFAULT {
				t.Errorf("text can be written: %s", e.Name())
			}
			if e := p.User().CopyIn(b[:1], scratch); e != abi.EFAULT {
				t.Errorf("the old program's memory is there: %s", e.Name())
			}
			if brk := p.Space().Layout().StartBrk; brk != pageUp(dataAt+dataLen+bssLen) {
				t.Errorf("heap at %#x", brk)
			}
			exe := p.Memory().Exe()
			if p.Name() != "prog" || exe == nil || len(p.Memory().Auxv()) != 16*(len(aux)+1) {
				t.Errorf("name %q, auxv of %d bytes", p.Name(), len(p.Memory().Auxv()))
			}
			exe.Unref()
			p.exit(4)
		})
		id := g.fork(func(c *guest) {
			c.on(abi.SIGUSR1, 0, func(*guest, int) {})
			c.action(abi.SIGUSR2, abi.SIG_IGN, 0)
			c.mask(abi.SIG_BLOCK, signal.Of(abi.SIGHUP))
			c.SetAltStack(abi.StackT{SP: stackBase, Size: 0x4000})
			e := c.exec(ExecArgs{Path: "/prog", Argv: []string{"prog", "two"}, Envp: []string{"A=1"}})
			t.Errorf("exec: %s", e.Name())
		})
		if w, _ := g.wait(id, 0); w.Status != 4<<8 || !ran {
			t.Errorf("the program ended with %#x, ran: %t", w.Status, ran)
		}
		if n := m.stubs.Load(); n != 1 {
			t.Errorf("%d stubs at the end, want our own", n)
		}
	})
	if n := m.root.files["prog"].Writers(); n != 0 {
		t.Errorf("%d writers", n)
	}
	if e := m.root.files["prog"].BeginWrite(); e != 0 {
		t.Errorf("nothing runs, and the file cannot be written: %s", e.Name())
	}
}

// TestExecKeeps: what a new program finds of the old one.
func TestExecKeeps(t *testing.T) {
	m := newMachine(t)
	m.root.put("prog", 0o755, image(elf.TypeExec, textAt, ""))
	m.run(func(g *guest) {
		m.at(entryAt, func(p *guest) {
			one, _ := p.SetAction(abi.SIGUSR1, nil)
			two, _ := p.SetAction(abi.SIGUSR2, nil)
			if one.Handler != abi.SIG_DFL || two.Handler != abi.SIG_IGN || p.Mask() != signal.Of(abi.SIGHUP) || p.Pending() != signal.Of(abi.SIGHUP) {
				t.Errorf("handlers %#x %#x, mask %x, pending %x", one.Handler, two.Handler, p.Mask(), p.Pending())
			}
			if s := p.AltStack(); s.Flags != abi.SS_DISABLE || p.ClearTID() != 0 || p.RobustList() != 0 {
				t.Errorf("alternate stack %+v, clear_child_tid %#x", s, p.ClearTID())
			}
			p.exit(0)
		})
		id := g.fork(func(c *guest) {
			c.on(abi.SIGUSR1, 0, func(*guest, int) {})
			c.action(abi.SIGUSR2, abi.SIG_IGN, 0)
			c.mask(abi.SIG_BLOCK, signal.Of(abi.SIGHUP))
			c.kill(c.PID(), abi.SIGHUP)
			c.SetAltStack(abi.StackT{SP: stackBase, Size: 0x4000})
			c.SetClearTID(scratch)
			c.SetRobustList(scratch)
			c.exec(ExecArgs{Path: "prog", Argv: []string{"prog"}})
		})
		if w, _ := g.wait(id, 0); w.Status != 0 {
			t.Errorf("ended with %#x", w.Status)
		}
	})
}

func TestExecInterp(t *testing.T) {
	for _, aslr := range []bool{false, true} {
		t.Run(fmt.Sprint(aslr), func(t *testing.T) {
			m := newMachine(t)
			m.sys.NoASLR = !aslr
			if aslr {
				m.sys.Random = constant(0x25)
			}
			m.root.put("prog", 0o755, image(elf.TypeDyn, 0, "/ld.so"))
			m.root.put("ld.so", 0o755, image(elf.TypeDyn, 0, ""))
			m.run(func(g *guest) {
				id := g.fork(func(c *guest) {
					g := c.Task
					c.call(abi.SYS_EXECVE, func() (uint64, abi.Errno) { return 0, g.Exec(ExecArgs{Path: "/prog"}) })
					argv, _, aux := c.look()
					base, entry := aux[abi.AT_BASE], aux[abi.AT_ENTRY]
					if len(argv) != 1 || argv[0] != "" {
						t.Errorf("argv %q: without arguments there is an empty one", argv)
					}
					if base == 0 || c.Regs.RIP != base+0x100 || entry&0xfff != 0x100 || aux[abi.AT_PHDR] != entry-0x100+64 {
						t.Errorf("starts at %#x, AT_BASE %#x, AT_ENTRY %#x, AT_PHDR %#x", c.Regs.RIP, base, entry, aux[abi.AT_PHDR])
					}
					if at := entry - 0x100; (at == dynBase) == aslr {
						t.Errorf("the program lies at %#x", at)
					}
					for _, at := range []uint64{base, entry - 0x100} {
						var b [4]byte
						c.User().CopyIn(b[:], at)
						if string(b[:]) != "\x7fELF" {
							t.Errorf("%#x: %q", at, b)
						}
					}
					c.exit(3)
				})
				if w, _ := g.wait(id, 0); w.Status != 3<<8 {
					t.Errorf("ended with %#x", w.Status)
				}
			})
		})
	}
}

type constant byte

func (c constant) Fill(b []byte) {
	for i := range b {
		b[i] = byte(c)
	}
}

func TestExecErrors(t *testing.T) {
	m := newMachine(t)
	good := image(elf.TypeExec, textAt, "")
	m.root.put("prog", 0o755, good)
	m.root.put("plain", 0o644, good)
	m.root.put("text", 0o755, []byte("hello\n"))
	m.root.put("empty", 0o755, nil)
	m.root.put("nowhere", 0o755, image(elf.TypeDyn, 0, "/no.so"))
	m.root.put("badlib", 0o755, image(elf.TypeDyn, 0, "/text.so"))
	m.root.put("text.so", 0o755, bytes.Repeat([]byte("x"), 100))
	m.root.put("loop", 0o755, []byte("#!/loop\n"))
	m.root.put("orphan", 0o755, []byte("#!/gone -x\n"))
	busy := m.root.put("busy", 0o755, good)
	m.run(func(g *guest) {
		busy.BeginWrite()
		for name, c := range map[string]struct {
			a ExecArgs
			e abi.Errno
		}{
			"no such":             {ExecArgs{Path: "/nope"}, abi.ENOENT},
			"no path":             {ExecArgs{Path: ""}, abi.ENOENT},
			"through a file":      {ExecArgs{Path: "/prog/x"}, abi.ENOTDIR},
			"a directory":         {ExecArgs{Path: "/"}, abi.EACCES},
			"not executable":      {ExecArgs{Path: "/plain"}, abi.EACCES},
			"text":                {ExecArgs{Path: "/text"}, abi.ENOEXEC},
			"empty":               {ExecArgs{Path: "/empty"}, abi.ENOEXEC},
			"no interpreter":      {ExecArgs{Path: "/nowhere"}, abi.ENOENT},
			"bad interpreter":     {ExecArgs{Path: "/badlib"}, abi.ELIBBAD},
			"a script of itself":  {ExecArgs{Path: "/loop"}, abi.ELOOP},
			"script of none":      {ExecArgs{Path: "/orphan"}, abi.ENOENT},
			"being written":       {ExecArgs{Path: "/busy"}, abi.ETXTBSY},
			"unknown flag":        {ExecArgs{Path: "/prog", Flags: 1}, abi.EINVAL},
			"a string too long":   {ExecArgs{Path: "/prog", Argv: []string{strings.Repeat("x", 128<<10)}}, abi.E2BIG},
			"too much in all":     {ExecArgs{Path: "/prog", Argv: slices.Repeat([]string{strings.Repeat("x", 100<<10)}, 25)}, abi.E2BIG},
			"hidden script":       {ExecArgs{Path: "/orphan", Hidden: true}, abi.ENOENT},
			"only to be checked":  {ExecArgs{Path: "/prog", Flags: abi.AT_EXECVE_CHECK}, 0},
			"check, not allowed":  {ExecArgs{Path: "/plain", Flags: abi.AT_EXECVE_CHECK}, abi.EACCES},
			"check reads nothing": {ExecArgs{Path: "/text", Flags: abi.AT_EXECVE_CHECK}, 0},
		} {
			pc := g.Regs.RIP
			if e := g.Exec(c.a); e != c.e || g.Regs.RIP != pc {
				t.Errorf("%s: %s, want %s", name, e.Name(), c.e.Name())
			}
			if m.seats.Load() != 1 || m.stubs.Load() != 1 {
				t.Errorf("%s: left %d stub threads, %d stubs", name, m.seats.Load(), m.stubs.Load())
			}
		}
		for name, f := range m.root.files {
			if f != busy && f.BeginWrite() != 0 {
				t.Errorf("%s counts as running", name)
			}
		}
	})
}

// TestExecTooLate: what is found wrong when the old program is gone kills.
func TestExecTooLate(t *testing.T) {
	bad := image(elf.TypeExec, textAt, "")
	put64(bad, 64+40, 1<<60) // p_memsz
	m := newMachine(t)
	m.root.put("bad", 0o755, bad)
	m.run(func(g *guest) {
		id := g.fork(func(c *guest) {
			c.on(abi.SIGSEGV, 0, func(*guest, int) { t.Error("a handler of the program that is gone") })
			c.exec(ExecArgs{Path: "/bad"})
		})
		if w, _ := g.wait(id, 0); w.Status != abi.SIGSEGV {
			t.Errorf("ended with %#x", w.Status)
		}
	})
}

func TestExecScript(t *testing.T) {
	m := newMachine(t)
	m.root.put("prog", 0o755, image(elf.TypeExec, textAt, ""))
	m.root.put("one", 0o755, []byte("#! /prog  some args \n"))
	m.root.put("s0", 0o755, []byte("#!/prog"))
	for i := range 5 {
		m.root.put(fmt.Sprintf("s%d", i+1), 0o755, fmt.Appendf(nil, "#!/s%d\n", i))
	}
	m.run(func(g *guest) {
		var got []string
		var execfn string
		m.at(entryAt, func(p *guest) {
			var aux map[uint64]uint64
			got, _, aux = p.look()
			execfn, _ = p.User().CopyString(aux[abi.AT_EXECFN], 100)
			if p.Name() != execfn[1:] {
				t.Errorf("name %q", p.Name())
			}
			p.exit(0)
		})
		run := func(path string, argv ...string) {
			got = nil
			g.fork(func(c *guest) {
				e := c.exec(ExecArgs{Path: path, Argv: argv})
				got = []string{e.Name()}
			})
			g.wait(-1, 0)
		}
		run("/one", "zero", "a", "b")
		if want := []string{"/prog", "some args", "/one", "a", "b"}; !slices.Equal(got, want) || execfn != "/one" {
			t.Errorf("argv %q, want %q; execfn %q", got, want, execfn)
		}
		run("/s4", "x", "y")
		if want := []string{"/prog", "/s0", "/s1", "/s2", "/s3", "/s4", "y"}; !slices.Equal(got, want) {
			t.Errorf("five scripts: argv %q, want %q", got, want)
		}
		run("/s5", "x")
		if want := []string{"ELOOP"}; !slices.Equal(got, want) {
			t.Errorf("six scripts: %q", got)
		}
	})
}

func TestExecSuid(t *testing.T) {
	m := newMachine(t)
	f := m.root.put("suid", 0o4711, image(elf.TypeExec, textAt, ""))
	f.uid = 7
	m.run(func(g *guest) {
		m.at(entryAt, func(p *guest) {
			_, _, aux := p.look()
			c := p.Cred()
			if c.UID != 5 || c.EUID != 7 || c.SUID != 7 || aux[abi.AT_SECURE] != 1 || aux[abi.AT_UID] != 5 || aux[abi.AT_EUID] != 7 {
				t.Errorf("uid %d euid %d suid %d, secure %d", c.UID, c.EUID, c.SUID, aux[abi.AT_SECURE])
			}
			if p.Memory().Dumpable() != 0 || p.DeathSignal() != 0 || p.Caller().Cred != c {
				t.Error("dumpable, or the parent's death signal is kept")
			}
			p.exit(0)
		})
		id := g.fork(func(c *guest) {
			c.Task.SetCred(c.Cred().Ordinary(5, 5))
			c.SetDeathSignal(abi.SIGHUP)
			c.exec(ExecArgs{Path: "/suid"})
		})
		if w, _ := g.wait(id, 0); w.Status != 0 {
			t.Errorf("ended with %#x", w.Status)
		}
	})
}

// TestExecThreads: exec by any thread leaves one, with the number of the process, its parent and its children.
func TestExecThreads(t *testing.T) {
	for _, leader := range []bool{true, false} {
		t.Run(fmt.Sprint(leader), func(t *testing.T) {
			m := newMachine(t)
			m.root.put("prog", 0o755, image(elf.TypeExec, textAt, ""))
			m.run(func(g *guest) {
				var pid, child atomic.Int32
				m.at(entryAt, func(p *guest) {
					if p.TID != pid.Load() || p.PID() != pid.Load() || p.Caller().Tid != pid.Load() || len(p.Process.Threads()) != 1 || p.Process.PPID() != 1 {
						t.Errorf("thread %d of process %d (was %d), %d threads, parent %d", p.TID, p.PID(), pid.Load(), len(p.Process.Threads()), p.Process.PPID())
					}
					if m.sys.Tree.FindTask(pid.Load()) != p.Task {
						t.Error("the number means somebody else")
					}
					if w, e := p.wait(-1, 0); e != 0 || w.PID != child.Load() {
						t.Errorf("the child: %+v %s", w, e.Name())
					}
					p.exit(5)
				})
				id := g.fork(func(p *guest) {
					pid.Store(p.PID())
					child.Store(p.fork(func(c *guest) {}))
					run := func(x *guest) { x.exec(ExecArgs{Path: "/prog"}); t.Error("exec came back") }
					for range 3 {
						p.thread(func(o *guest) { o.pause() })
					}
					p.thread(func(o *guest) {
						for {
							o.call(abi.SYS_SCHED_YIELD, func() (uint64, abi.Errno) { o.Thread.Yield(); return 0, 0 })
						}
					})
					if leader {
						run(p)
					}
					p.thread(run)
					p.pause()
				})
				if w, e := g.wait(id, 0); e != 0 || w.Status != 5<<8 {
					t.Errorf("wait: %+v %s", w, e.Name())
				}
				if n, _, _ := m.sys.Tree.Counts(); n != 1 || g.Cred().User.Processes.Load() != 1 {
					t.Errorf("%d tasks are left, %d counted", n, g.Cred().User.Processes.Load())
				}
			})
		})
	}
}

// TestExecRace: two threads run exec, and a third ends the process: one of them wins, and all ends.
func TestExecRace(t *testing.T) {
	m := newMachine(t)
	m.root.put("prog", 0o755, image(elf.TypeExec, textAt, ""))
	m.run(func(g *guest) {
		m.at(entryAt, func(p *guest) { p.exit(5) })
		for range 50 {
			id := g.fork(func(p *guest) {
				for range 2 {
					p.thread(func(o *guest) { o.exec(ExecArgs{Path: "/prog"}) })
				}
				p.thread(func(o *guest) { o.exit(6) })
				p.exec(ExecArgs{Path: "/prog"})
			})
			if w, e := g.wait(id, 0); e != 0 || w.Status != 5<<8 && w.Status != 6<<8 {
				t.Errorf("wait: %+v %s", w, e.Name())
			}
		}
		if n, _, _ := m.sys.Tree.Counts(); n != 1 {
			t.Errorf("%d tasks are left", n)
		}
	})
}

func TestExecEndsVfork(t *testing.T) {
	m := newMachine(t)
	m.root.put("prog", 0o755, image(elf.TypeExec, textAt, ""))
	m.run(func(g *guest) {
		var leave atomic.Bool
		m.at(entryAt, func(p *guest) { p.until("the end", leave.Load); p.exit(0) })
		g.clone(CloneArgs{Flags: abi.CLONE_VM | abi.CLONE_VFORK, ExitSignal: abi.SIGCHLD}, func(c *guest) { c.exec(ExecArgs{Path: "/prog"}) })
		leave.Store(true)
		g.wait(-1, 0)
		if v, e := g.User().Load32(scratch); e != 0 {
			t.Errorf("our memory went with the child's exec: %d %s", v, e.Name())
		}
	})
}

func TestReadArgs(t *testing.T) {
	m := newMachine(t)
	m.run(func(g *guest) {
		u := g.User()
		u.CopyOut(scratch+0x100, []byte("one\x00two\x00"))
		u.Store64(scratch, scratch+0x100)
		u.Store64(scratch+8, scratch+0x104)
		u.Store64(scratch+16, 0)
		room := uint64(100)
		if got, e := g.ReadArgs(scratch, &room); e != 0 || !slices.Equal(got, []string{"one", "two"}) || room != 100-2*(4+8) {
			t.Errorf("%q %s, %d left", got, e.Name(), room)
		}
		room = 20
		if _, e := g.ReadArgs(scratch, &room); e != abi.E2BIG {
			t.Errorf("no room: %s", e.Name())
		}
		if got, e := g.ReadArgs(0, &room); e != 0 || got != nil {
			t.Errorf("null: %q %s", got, e.Name())
		}
		for _, at := range []uint64{8, mm.TaskSize, ^uint64(7)} {
			if _, e := g.ReadArgs(at, &room); e != abi.EFAULT {
				t.Errorf("%#x: %s", at, e.Name())
			}
		}
		u.Store64(scratch+8, 0x10)
		room = 100
		if _, e := g.ReadArgs(scratch, &room); e != abi.EFAULT {
			t.Errorf("a bad string: %s", e.Name())
		}
	})
}
