package task

import (
	"fmt"
	"slices"
	"sync/atomic"
	"testing"

	"goum/arch/abi"
	"goum/arch/x86"
	"goum/kernel/signal"
	"goum/sched"
	"goum/sched/clock"
)

// TestRestart is the matrix of signal(7): what a call that was interrupted with each ERESTART errno does, by what the signal does.
func TestRestart(t *testing.T) {
	again, intr := "again", "EINTR"
	for _, c := range []struct {
		e                             abi.Errno
		handler, restart, none, stops string
	}{
		{abi.ERESTARTSYS, intr, again, again, again},
		{abi.ERESTARTNOINTR, again, again, again, again},
		{abi.ERESTARTNOHAND, intr, intr, again, again},
		{abi.ERESTART_RESTARTBLOCK, intr, intr, "block", "block"},
	} {
		for how, want := range map[string]string{"handler": c.handler, "SA_RESTART": c.restart, "nothing": c.none, "stop and continue": c.stops} {
			t.Run(fmt.Sprintf("%s/%s", c.e.Name(), how), func(t *testing.T) {
				m := newMachine(t)
				m.run(func(g *guest) {
					ran := 0
					g.fork(func(p *guest) {
						switch how {
						case "handler":
							p.on(abi.SIGUSR1, 0, func(*guest, int) { ran++ })
						case "SA_RESTART":
							p.on(abi.SIGUSR1, abi.SA_RESTART, func(*guest, int) { ran++ })
						}
						calls, blocks := 0, 0
						_, e := p.call(abi.SYS_READ, func() (uint64, abi.Errno) {
							if p.Call != abi.SYS_READ {
								t.Errorf("call %d at try %d", p.Call, calls)
							}
							calls++
							if calls > 1 {
								return 5, 0
							}
							switch how {
							case "nothing": // a wake-up without a signal
							case "stop and continue":
								p.Kill(p.PID(), abi.SIGSTOP)
							default:
								p.Kill(p.PID(), abi.SIGUSR1)
							}
							if c.e == abi.ERESTART_RESTARTBLOCK {
								return 0, p.RestartWith(func(*Task) (uint64, abi.Errno) { blocks++; return 6, 0 })
							}
							return 0, c.e
						})
						got := "?"
						switch {
						case e == abi.EINTR && calls == 1 && blocks == 0:
							got = intr
						case e == 0 && calls == 2 && blocks == 0:
							got = again
						case e == 0 && calls == 1 && blocks == 1:
							got = "block"
						}
						if got != want {
							t.Errorf("%s (errno %s, %d calls, %d restarts), want %s", got, e.Name(), calls, blocks, want)
						}
						if handled := how == "handler" || how == "SA_RESTART"; handled != (ran == 1) {
							t.Errorf("the handler ran %d times", ran)
						}
						p.exit(0)
					})
					if how == "stop and continue" {
						w, _ := g.wait(-1, abi.WUNTRACED)
						g.kill(w.PID, abi.SIGCONT)
					}
					g.wait(-1, 0)
				})
			})
		}
	}
}

// TestHandler: what a handler finds, and what comes back behind it.
func TestHandler(t *testing.T) {
	m := newMachine(t)
	m.run(func(g *guest) {
		g.Regs.RBX, g.Regs.R12 = 0x1111, 0x2222
		img := g.Stub.XState()
		img[160] = 0x77 // XMM0
		img[512] |= 3
		g.Stub.SetXState(img)
		sp := g.Regs.RSP
		ran := false
		g.mask(abi.SIG_SETMASK, signal.Of(abi.SIGHUP))
		a := signal.Action{Flags: abi.SA_RESTORER | abi.SA_SIGINFO, Restorer: 0x1234, Mask: signal.Of(abi.SIGUSR2, abi.SIGKILL)}
		a.Handler = m.handler(func(g *guest, sig int) {
			ran = true
			if sig != abi.SIGUSR1 || g.Regs.RSP%16 != 8 || g.Regs.RSP > sp-x86.RedZone {
				t.Errorf("signal %d at stack %#x, was %#x", sig, g.Regs.RSP, sp)
			}
			if want := signal.Of(abi.SIGHUP, abi.SIGUSR1, abi.SIGUSR2); g.Mask() != want {
				t.Errorf("mask %x, want %x", g.Mask(), want)
			}
			var b [abi.SiginfoSize]byte
			var info signal.Info
			g.User().CopyIn(b[:], g.Regs.RSI)
			info.SetBytes(b[:])
			if info.Signo != abi.SIGUSR1 || info.Code != abi.SI_USER || info.PID() != 1 {
				t.Errorf("siginfo %+v", info)
			}
			if ret, _ := g.User().Load64(g.Regs.RSP); ret != 0x1234 {
				t.Errorf("returns to %#x", ret)
			}
			if now := g.Stub.XState(); now[160] != 0 {
				t.Error("the handler starts with the registers of the program")
			}
			g.Regs.RBX, g.Regs.R12, g.Regs.RAX = 1, 2, 3
			dirty := g.Stub.XState()
			dirty[160] = 0x99
			dirty[512] |= 3
			g.Stub.SetXState(dirty)
		})
		g.call(abi.SYS_RT_SIGACTION, func() (uint64, abi.Errno) { _, e := g.SetAction(abi.SIGUSR1, &a); return 0, e })
		if e := g.kill(1, abi.SIGUSR1); e != 0 || !ran {
			t.Errorf("kill %s, handler ran: %t", e.Name(), ran)
		}
		if g.Regs.RBX != 0x1111 || g.Regs.R12 != 0x2222 || g.Regs.RSP != sp || g.Mask() != signal.Of(abi.SIGHUP) || g.Stub.XState()[160] != 0x77 {
			t.Errorf("behind the handler: rbx %#x r12 %#x sp %#x mask %x xmm0 %#x", g.Regs.RBX, g.Regs.R12, g.Regs.RSP, g.Mask(), g.Stub.XState()[160])
		}
	})
}

func TestHandlerFlags(t *testing.T) {
	m := newMachine(t)
	m.run(func(g *guest) {
		depth, deepest, ran := 0, 0, 0
		f := func(g *guest, sig int) {
			ran++
			depth++
			deepest = max(deepest, depth)
			if ran < 3 {
				g.kill(1, int32(sig))
			}
			depth--
		}
		g.on(abi.SIGUSR1, 0, f)
		g.kill(1, abi.SIGUSR1)
		if ran != 3 || deepest != 1 {
			t.Errorf("blocked while it is handled: ran %d, depth %d", ran, deepest)
		}
		ran, deepest = 0, 0
		g.on(abi.SIGUSR1, abi.SA_NODEFER, f)
		g.kill(1, abi.SIGUSR1)
		if ran != 3 || deepest != 3 {
			t.Errorf("SA_NODEFER: ran %d, depth %d", ran, deepest)
		}
		ran = 9
		g.on(abi.SIGUSR1, abi.SA_RESETHAND, f)
		g.kill(1, abi.SIGUSR1)
		if a, _ := g.SetAction(abi.SIGUSR1, nil); ran != 10 || a.Handler != abi.SIG_DFL {
			t.Errorf("SA_RESETHAND: ran %d, handler %#x", ran, a.Handler)
		}
		for sig, want := range map[int32]abi.Errno{0: abi.EINVAL, 65: abi.EINVAL, -1: abi.EINVAL, abi.SIGKILL: abi.EINVAL, abi.SIGSTOP: abi.EINVAL, 64: 0} {
			if _, e := g.SetAction(sig, &signal.Action{}); e != want {
				t.Errorf("SetAction(%d): %s", sig, e.Name())
			}
		}
		if _, e := g.SetAction(abi.SIGKILL, nil); e != 0 {
			t.Errorf("asking for SIGKILL's: %s", e.Name())
		}
	})
}

// TestOrder delivers a mixture that came while all was blocked: faults, then the thread's own, then the process's, each by number.
func TestOrder(t *testing.T) {
	m := newMachine(t)
	m.run(func(g *guest) {
		var order []int
		sigs := []int32{abi.SIGUSR1, abi.SIGUSR2, abi.SIGSEGV, abi.SIGHUP, 40, 41}
		for _, s := range sigs {
			g.on(s, 0, func(_ *guest, sig int) { order = append(order, sig) })
			a, _ := g.SetAction(s, nil)
			a.Mask = signal.All
			g.SetAction(s, &a)
		}
		g.mask(abi.SIG_SETMASK, signal.All)
		g.kill(1, 41)
		g.kill(1, abi.SIGUSR1)
		g.TgKill(1, 1, 40)
		g.TgKill(1, 1, abi.SIGUSR2)
		g.kill(1, abi.SIGHUP)
		g.TgKill(1, 1, abi.SIGSEGV)
		if p := g.Pending(); p != signal.Of(abi.SIGUSR1, abi.SIGUSR2, abi.SIGSEGV, abi.SIGHUP, 40, 41) {
			t.Errorf("pending %x", p)
		}
		g.mask(abi.SIG_SETMASK, 0)
		// Frames are laid one upon the other: the last one runs first.
		slices.Reverse(order)
		want := []int{abi.SIGSEGV, abi.SIGUSR2, 40, abi.SIGHUP, abi.SIGUSR1, 41}
		slices.Reverse(order)
		if !slices.Equal(order, want) {
			t.Errorf("order %v, want %v", order, want)
		}
	})
}

func TestAltStack(t *testing.T) {
	m := newMachine(t)
	m.run(func(g *guest) {
		const at, size = stackBase + 0x4000, 0x4000
		if s := g.AltStack(); s.Flags != abi.SS_DISABLE {
			t.Errorf("at the start: %+v", s)
		}
		for name, c := range map[string]struct {
			s abi.StackT
			e abi.Errno
		}{
			"too small":     {abi.StackT{SP: at, Size: abi.MINSIGSTKSZ - 1}, abi.ENOMEM},
			"unknown flag":  {abi.StackT{SP: at, Size: size, Flags: 4}, abi.EINVAL},
			"SS_ONSTACK":    {abi.StackT{SP: at, Size: size, Flags: abi.SS_ONSTACK}, 0},
			"disable small": {abi.StackT{SP: at, Size: 1, Flags: abi.SS_DISABLE}, 0},
			"plain":         {abi.StackT{SP: at, Size: size}, 0},
		} {
			if e := g.SetAltStack(c.s); e != c.e {
				t.Errorf("%s: %s, want %s", name, e.Name(), c.e.Name())
			}
		}
		g.SetAltStack(abi.StackT{SP: at, Size: size})
		ran := 0
		var top uint64
		g.on(abi.SIGUSR1, abi.SA_ONSTACK|abi.SA_NODEFER, func(g *guest, _ int) {
			ran++
			if g.Regs.RSP < at || g.Regs.RSP > at+size {
				t.Errorf("handler %d at %#x, not on the stack", ran, g.Regs.RSP)
			}
			if s := g.AltStack(); s.Flags != abi.SS_ONSTACK {
				t.Errorf("on it: %+v", s)
			}
			if e := g.SetAltStack(abi.StackT{Flags: abi.SS_DISABLE}); e != abi.EPERM {
				t.Errorf("set while in use: %s", e.Name())
			}
			if ran == 1 {
				top = g.Regs.RSP
				g.kill(1, abi.SIGUSR1)
			} else if g.Regs.RSP >= top {
				t.Errorf("a nested handler begins at %#x, the first at %#x", g.Regs.RSP, top)
			}
		})
		g.kill(1, abi.SIGUSR1)
		if ran != 2 {
			t.Errorf("ran %d times", ran)
		}

		g.SetAltStack(abi.StackT{SP: at, Size: size, Flags: -1 << 31})
		g.on(abi.SIGUSR2, abi.SA_ONSTACK, func(g *guest, _ int) {
			if s := g.AltStack(); s.Flags != abi.SS_DISABLE || g.Regs.RSP < at || g.Regs.RSP > at+size {
				t.Errorf("SS_AUTODISARM: %+v at %#x", s, g.Regs.RSP)
			}
		})
		g.kill(1, abi.SIGUSR2)
		if s := g.AltStack(); s.SP != at || s.Size != size || s.Flags != -1<<31 {
			t.Errorf("behind the handler: %+v", s)
		}
		g.SetAltStack(abi.StackT{Flags: abi.SS_DISABLE})
	})
}

// TestBadFrame: what cannot be written or read kills by SIGSEGV, or is handled on the alternate stack.
func TestBadFrame(t *testing.T) {
	for name, c := range map[string]struct {
		do   func(*guest)
		want int32
	}{
		"no stack": {func(p *guest) {
			p.on(abi.SIGUSR1, 0, func(*guest, int) {})
			p.Regs.RSP = 0x40
			p.kill(p.PID(), abi.SIGUSR1)
		}, abi.SIGSEGV},
		"no restorer": {func(p *guest) { p.action(abi.SIGUSR1, 0x5000, 0); p.kill(p.PID(), abi.SIGUSR1) }, abi.SIGSEGV},
		"SIGSEGV's own": {func(p *guest) {
			p.on(abi.SIGSEGV, 0, func(*guest, int) {})
			p.Regs.RSP = 0x40
			p.kill(p.PID(), abi.SIGSEGV)
		}, abi.SIGSEGV},
		"alt stack full": {func(p *guest) {
			p.SetAltStack(abi.StackT{SP: stackBase, Size: 2048})
			p.on(abi.SIGUSR1, abi.SA_ONSTACK, func(*guest, int) {})
			p.kill(p.PID(), abi.SIGUSR1)
		}, abi.SIGSEGV},
		"sigreturn of air": {func(p *guest) {
			p.Regs.RSP = 0x40
			p.call(15, func() (uint64, abi.Errno) { p.SigReturn(); return 0, 0 })
		}, abi.SIGSEGV},
		"handled elsewhere": {func(p *guest) {
			p.SetAltStack(abi.StackT{SP: stackBase, Size: 0x4000})
			p.on(abi.SIGSEGV, abi.SA_ONSTACK, func(p *guest, _ int) { p.exit(3) })
			p.on(abi.SIGUSR1, 0, func(*guest, int) {})
			p.Regs.RSP = 0x40
			p.kill(p.PID(), abi.SIGUSR1)
		}, 3 << 8},
		"blocked fault": {func(p *guest) {
			p.on(abi.SIGSEGV, 0, func(p *guest, _ int) { p.exit(3) })
			p.mask(abi.SIG_BLOCK, signal.Of(abi.SIGSEGV))
			p.call(0, func() (uint64, abi.Errno) { i := signal.Fault(abi.SIGSEGV, 1, 0); p.Force(&i); return 0, 0 })
		}, abi.SIGSEGV},
		"ignored fault": {func(p *guest) {
			p.action(abi.SIGFPE, abi.SIG_IGN, 0)
			p.call(0, func() (uint64, abi.Errno) { i := signal.Fault(abi.SIGFPE, 1, 0); p.Force(&i); return 0, 0 })
		}, abi.SIGFPE},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t)
			m.run(func(g *guest) {
				id := g.fork(c.do)
				if w, _ := g.wait(id, 0); w.Status != c.want {
					t.Errorf("status %#x, want %#x", w.Status, c.want)
				}
			})
		})
	}
}

func TestSigSuspend(t *testing.T) {
	m := newMachine(t)
	m.run(func(g *guest) {
		ran := 0
		g.on(abi.SIGUSR1, 0, func(g *guest, _ int) {
			ran++
			if g.Mask() != signal.Of(abi.SIGUSR1, abi.SIGHUP) {
				t.Errorf("in the handler: mask %x", g.Mask())
			}
		})
		before := signal.Of(abi.SIGUSR1, abi.SIGUSR2)
		g.mask(abi.SIG_SETMASK, before)
		g.kill(1, abi.SIGUSR1)
		_, e := g.call(abi.SYS_RT_SIGSUSPEND, func() (uint64, abi.Errno) { return 0, g.SigSuspend(signal.Of(abi.SIGHUP)) })
		if e != abi.EINTR || ran != 1 || g.Mask() != before {
			t.Errorf("sigsuspend: %s, handler ran %d times, mask %x", e.Name(), ran, g.Mask())
		}
		g.SetTemporaryMask(0)
		if g.Mask() != 0 {
			t.Error("the temporary mask is not set")
		}
		g.DropTemporaryMask()
		if g.Mask() != before {
			t.Errorf("the mask from before is %x", g.Mask())
		}
	})
}

func TestTimedWait(t *testing.T) {
	m := newMachine(t)
	m.run(func(g *guest) {
		set := signal.Of(abi.SIGUSR1, abi.SIGCHLD, 40)
		g.mask(abi.SIG_SETMASK, set)
		var info signal.Info
		wait := func(deadline clock.Time) (int, abi.Errno) {
			r, e := g.call(abi.SYS_RT_SIGTIMEDWAIT, func() (uint64, abi.Errno) {
				s, e := g.TimedWait(set, &info, deadline)
				return uint64(s), e
			})
			return int(r), e
		}
		if _, e := wait(0); e != abi.EAGAIN {
			t.Errorf("nothing there: %s", e.Name())
		}
		for v := range uint64(2) {
			i := signal.Info{Code: abi.SI_QUEUE}
			i.SetValue(v + 5)
			if e := g.QueueInfo(1, 40, &i); e != 0 {
				t.Errorf("sigqueue: %s", e.Name())
			}
		}
		for v := range uint64(2) {
			if s, e := wait(0); e != 0 || s != 40 || info.Value() != v+5 || info.Code != abi.SI_QUEUE {
				t.Errorf("queued: %d %s %+v", s, e.Name(), info)
			}
		}
		id := g.fork(func(c *guest) { c.exit(2) })
		// SIGCHLD is ignored by default, and waited for all the same.
		if s, e := wait(clock.Never); e != 0 || s != abi.SIGCHLD || info.PID() != id || info.Status() != 2 || info.Code != abi.CLD_EXITED {
			t.Errorf("SIGCHLD: %d %s %+v", s, e.Name(), info)
		}
		g.wait(-1, 0)
		var back atomic.Bool
		g.on(abi.SIGUSR2, 0, func(*guest, int) {})
		me := g.PID()
		id = g.fork(func(c *guest) {
			c.until("sleep", func() bool { return m.asleep(me) })
			c.kill(me, abi.SIGUSR2)
			c.until("the parent's return", back.Load)
		})
		if _, e := wait(clock.Never); e != abi.EINTR {
			t.Errorf("another signal: %s", e.Name())
		}
		back.Store(true)
		g.wait(id, 0)
		if s, e := wait(clock.Never); e != 0 || s != abi.SIGCHLD || g.Mask() != set {
			t.Errorf("afterwards: %d %s mask %x", s, e.Name(), g.Mask())
		}
		var advanced atomic.Bool
		go func() {
			for !m.asleep(me) {
			}
			advanced.Store(true)
			m.clk.Advance(5e9)
		}()
		if _, e := wait(m.clk.Monotonic().Add(1e9)); e != abi.EAGAIN || !advanced.Load() {
			t.Errorf("time-out: %s", e.Name())
		}
	})
}

// TestPermission is kill(2)'s table of who may, and its special numbers.
func TestPermission(t *testing.T) {
	m := newMachine(t)
	m.run(func(g *guest) {
		a := g.fork(func(c *guest) { c.pause() })
		other := g.fork(func(c *guest) { c.Task.SetCred(c.Cred().Ordinary(6, 6)); c.pause() })
		g.until("both", func() bool { return m.asleep(a) && m.asleep(other) })
		for _, c := range []struct {
			pid, sig int32
			root     abi.Errno
			user     abi.Errno
		}{
			{a, 0, 0, abi.EPERM}, {other, 0, 0, abi.EPERM}, {a, 99, abi.EINVAL, abi.EINVAL}, {a, -1, abi.EINVAL, abi.EINVAL}, {9999, 0, abi.ESRCH, abi.ESRCH},
			{-9999, 0, abi.ESRCH, abi.ESRCH}, {-1 << 31, 0, abi.ESRCH, abi.ESRCH}, {0, 0, 0, 0}, {a, abi.SIGCONT, 0, 0}, {-1, 0, 0, 0},
		} {
			if e := g.kill(c.pid, c.sig); e != c.root {
				t.Errorf("root: kill(%d, %d) = %s", c.pid, c.sig, e.Name())
			}
			id := g.fork(func(u *guest) {
				u.Task.SetCred(u.Cred().Ordinary(5, 5))
				if e := u.kill(c.pid, c.sig); e != c.user {
					t.Errorf("user: kill(%d, %d) = %s, want %s", c.pid, c.sig, e.Name(), c.user.Name())
				}
			})
			g.wait(id, 0)
		}
		for _, c := range []struct {
			tgid, tid int32
			e         abi.Errno
		}{{0, a, abi.EINVAL}, {a, 0, abi.EINVAL}, {a, -1, abi.EINVAL}, {a, other, abi.ESRCH}, {a, a, 0}, {-1, a, 0}, {a, 9999, abi.ESRCH}} {
			if e := g.TgKill(c.tgid, c.tid, 0); e != c.e {
				t.Errorf("tgkill(%d, %d) = %s, want %s", c.tgid, c.tid, e.Name(), c.e.Name())
			}
		}
		if e := g.QueueInfo(a, abi.SIGUSR1, &signal.Info{Code: abi.SI_USER}); e != abi.EPERM {
			t.Errorf("sigqueue that looks like kill: %s", e.Name())
		}
		if e := g.QueueInfo(a, abi.SIGUSR1, &signal.Info{Code: abi.SI_TKILL}); e != abi.EPERM {
			t.Errorf("sigqueue that looks like tkill: %s", e.Name())
		}
		g.kill(a, abi.SIGKILL)
		g.kill(other, abi.SIGKILL)
		g.wait(-1, 0)
		g.wait(-1, 0)
	})
}

// TestThreadChoice: a signal of the process goes to a thread that does not block it, and to another when that changes its mind.
func TestThreadChoice(t *testing.T) {
	m := newMachine(t)
	m.run(func(g *guest) {
		var by atomic.Int32
		g.on(abi.SIGUSR1, 0, func(g *guest, _ int) { by.Store(g.TID) })
		g.mask(abi.SIG_BLOCK, signal.Of(abi.SIGUSR1))
		var leave atomic.Bool
		id := g.thread(func(o *guest) {
			o.mask(abi.SIG_SETMASK, 0)
			o.pause()
			o.until("the end", leave.Load)
		})
		g.until("the thread", func() bool { return m.asleep(id) })
		g.kill(1, abi.SIGUSR1)
		g.until("the handler", func() bool { return by.Load() != 0 })
		if by.Load() != id {
			t.Errorf("handled by %d, want %d, who does not block it", by.Load(), id)
		}
		by.Store(0)
		g.TgKill(1, 1, abi.SIGUSR1) // this one is for the first thread, and nobody else
		if g.Pending() != signal.Of(abi.SIGUSR1) {
			t.Errorf("pending %x", g.Pending())
		}
		g.mask(abi.SIG_SETMASK, 0)
		if by.Load() != 1 {
			t.Errorf("handled by %d, want 1", by.Load())
		}
		leave.Store(true)
	})
}

// TestLimitPending: a flood of queued signals ends with EAGAIN, and kill gets through all the same.
func TestLimitPending(t *testing.T) {
	m := newMachine(t)
	m.run(func(g *guest) {
		g.Prlimit(0, abi.RLIMIT_SIGPENDING, &abi.Rlimit64{Cur: 50, Max: 50})
		g.mask(abi.SIG_SETMASK, signal.All)
		n := 0
		for ; n < 1_000_000; n++ {
			if e := g.QueueInfo(1, 40, &signal.Info{Code: abi.SI_QUEUE}); e != 0 {
				if e != abi.EAGAIN {
					t.Error(e.Name())
				}
				break
			}
		}
		if n != 50 {
			t.Errorf("%d were queued", n)
		}
		if e := g.kill(1, 41); e != 0 || !g.Pending().Has(41) {
			t.Errorf("kill: %s", e.Name())
		}
		g.on(40, 0, func(*guest, int) {})
		g.action(40, abi.SIG_IGN, 0) // drops them
		if n := g.Cred().User.Signals.Load(); n != 0 || g.Pending().Has(40) {
			t.Errorf("%d are counted still", n)
		}
	})
}

// TestStop: job control of a process with several threads, seen from its parent.
func TestStop(t *testing.T) {
	m := newMachine(t)
	m.run(func(g *guest) {
		var told []signal.Info
		a := signal.Action{Handler: m.handler(func(g *guest, _ int) {
			var b [abi.SiginfoSize]byte
			var i signal.Info
			g.User().CopyIn(b[:], g.Regs.RSI)
			i.SetBytes(b[:])
			told = append(told, i)
		}), Flags: abi.SA_RESTORER | abi.SA_RESTART | abi.SA_SIGINFO, Restorer: 1}
		g.SetAction(abi.SIGCHLD, &a)
		var count atomic.Int64
		id := g.fork(func(p *guest) {
			for range 3 {
				p.thread(func(o *guest) {
					for {
						count.Add(1)
						o.call(abi.SYS_SCHED_YIELD, func() (uint64, abi.Errno) { o.Thread.Yield(); return 0, 0 })
					}
				})
			}
			p.pause()
		})
		g.until("the threads", func() bool { return count.Load() > 10 })
		for round := range 5 {
			g.kill(id, abi.SIGSTOP)
			w, e := g.wait(id, abi.WUNTRACED)
			if e != 0 || w.Status != abi.SIGSTOP<<8|0x7f {
				t.Fatalf("stop %d: %+v %s", round, w, e.Name())
			}
			at := count.Load()
			for range 50 {
				g.call(abi.SYS_SCHED_YIELD, func() (uint64, abi.Errno) { g.Thread.Yield(); return 0, 0 })
			}
			if count.Load() != at {
				t.Error("a thread runs while its process is stopped")
			}
			g.kill(id, abi.SIGCONT)
			if w, e := g.wait(id, abi.WCONTINUED); e != 0 || w.Code != abi.CLD_CONTINUED {
				t.Errorf("continued: %+v %s", w, e.Name())
			}
			g.until("the threads", func() bool { return count.Load() > at+3 })
		}
		g.kill(id, abi.SIGSTOP)
		g.wait(id, abi.WUNTRACED)
		g.kill(id, abi.SIGTERM) // waits for SIGCONT
		if w, _ := g.wait(id, abi.WNOHANG); w.PID != 0 {
			t.Errorf("SIGTERM woke the stopped: %+v", w)
		}
		g.kill(id, abi.SIGKILL)
		if w, _ := g.wait(id, 0); w.Status != abi.SIGTERM && w.Status != abi.SIGKILL {
			t.Errorf("killed while stopped: %+v", w)
		}
		stops, conts := 0, 0
		for _, i := range told {
			switch {
			case i.Code == abi.CLD_STOPPED && i.Status() == abi.SIGSTOP && i.PID() == id:
				stops++
			case i.Code == abi.CLD_CONTINUED && i.Status() == abi.SIGCONT:
				conts++
			}
		}
		if stops == 0 || conts == 0 {
			t.Errorf("SIGCHLD told of %d stops and %d continuations", stops, conts)
		}
	})
}

// TestOrphanedGroup: a stopped group whose last link to the session ends gets SIGHUP and SIGCONT; an orphaned one is not stopped from the
// terminal.
func TestOrphanedGroup(t *testing.T) {
	m := newMachine(t)
	m.run(func(g *guest) {
		var hup, cont, stopped, done atomic.Int32
		shell := g.fork(func(s *guest) {
			if _, e := s.SetSID(); e != 0 {
				t.Errorf("setsid: %s", e.Name())
			}
			job := s.fork(func(j *guest) {
				j.SetPGID(0, 0)
				j.on(abi.SIGHUP, 0, func(*guest, int) { hup.Add(1) })
				j.on(abi.SIGCONT, 0, func(*guest, int) { cont.Add(1) })
				stopped.Store(1)
				j.kill(j.PID(), abi.SIGTSTP)
				if !j.Task.Group().Orphaned() {
					t.Error("the job's group is not orphaned when it runs again")
				}
				j.kill(j.PID(), abi.SIGTSTP) // has no effect any more
				done.Store(1)
			})
			p := m.sys.Tree.FindProcess(job)
			s.until("the job stops", func() bool { return p.sig.isStopped() })
			if s.Task.Group().Orphaned() != true || p.leader.Group().Orphaned() {
				t.Error("while the shell is there its group is orphaned, and the job's is not")
			}
		})
		g.wait(shell, 0)
		g.until("the job", func() bool { return done.Load() == 1 })
		if hup.Load() != 1 || cont.Load() != 1 {
			t.Errorf("%d SIGHUP, %d SIGCONT", hup.Load(), cont.Load())
		}
		g.wait(-1, 0)
	})
}

func TestSessions(t *testing.T) {
	m := newMachine(t)
	m.run(func(g *guest) {
		if pg, _ := g.GetPGID(0); pg != 0 {
			t.Errorf("the first process is in group %d before setsid", pg)
		}
		if id, e := g.SetSID(); id != 1 || e != 0 {
			t.Errorf("setsid: %d %s", id, e.Name())
		}
		if _, e := g.SetSID(); e != abi.EPERM {
			t.Errorf("setsid again: %s", e.Name())
		}
		if e := g.SetPGID(0, 0); e != abi.EPERM {
			t.Errorf("setpgid of a session's leader: %s", e.Name())
		}
		a := g.fork(func(c *guest) { c.pause() })
		b := g.fork(func(c *guest) {
			if e := c.SetPGID(a, 0); e != abi.ESRCH {
				t.Errorf("setpgid of a sibling: %s", e.Name())
			}
			c.pause()
		})
		s := g.fork(func(c *guest) { c.SetSID(); c.pause() })
		g.until("all sleep", func() bool { return m.asleep(a) && m.asleep(b) && m.asleep(s) })
		for _, c := range []struct {
			pid, pgid int32
			e         abi.Errno
		}{{a, -1, abi.EINVAL}, {9999, 0, abi.ESRCH}, {a, 9999, abi.EPERM}, {s, 0, abi.EPERM}, {a, s, abi.EPERM}, {a, 0, 0}, {b, a, 0}, {b, a, 0}, {b, 0, 0}, {b, a, 0}} {
			if e := g.SetPGID(c.pid, c.pgid); e != c.e {
				t.Errorf("setpgid(%d, %d) = %s, want %s", c.pid, c.pgid, e.Name(), c.e.Name())
			}
		}
		m.sys.Tree.FindProcess(a).ranExec = true
		if e := g.SetPGID(a, 0); e != abi.EACCES {
			t.Errorf("setpgid of a child that has run exec: %s", e.Name())
		}
		if pg, e := g.GetPGID(b); pg != a || e != 0 {
			t.Errorf("getpgid: %d %s", pg, e.Name())
		}
		if sid, e := g.GetSID(s); sid != s || e != 0 {
			t.Errorf("getsid: %d %s", sid, e.Name())
		}
		g.kill(-a, abi.SIGKILL)
		g.kill(s, abi.SIGKILL)
		for range 2 {
			if w, e := g.wait(-a, 0); e != 0 || w.Status != abi.SIGKILL {
				t.Errorf("wait for the group: %+v %s", w, e.Name())
			}
		}
		if m.sys.Tree.FindGroup(a) != nil {
			t.Error("an empty group is there still")
		}
		g.wait(-1, 0)
	})
}

// fakeTTY is a controlling terminal that notes what it is told.
type fakeTTY struct{ left atomic.Int32 }

func (f *fakeTTY) LeaderGone(exit bool) { f.left.Add(1) }
func (f *fakeTTY) Number() uint64       { return 5 }
func (f *fakeTTY) Foreground() int32    { return 0 }

func TestTerminal(t *testing.T) {
	m := newMachine(t)
	m.run(func(g *guest) {
		tty := new(fakeTTY)
		s := g.fork(func(s *guest) {
			early := s.fork(func(c *guest) { c.pause() })
			s.SetSID()
			s.SetTerminal(tty)
			late := s.fork(func(c *guest) { c.pause() })
			if m.sys.Tree.FindProcess(early).Status().Terminal != nil || m.sys.Tree.FindProcess(late).Status().Terminal != signal.Terminal(tty) {
				t.Error("children that were born before are without the terminal, later ones with it")
			}
			if !s.Leader() || s.Ignores(abi.SIGTTOU) || s.Blocks(abi.SIGTTOU) {
				t.Error("leader, ignores, blocks")
			}
			s.action(abi.SIGTTOU, abi.SIG_IGN, 0)
			s.mask(abi.SIG_BLOCK, signal.Of(abi.SIGTTIN))
			if !s.Ignores(abi.SIGTTOU) || !s.Blocks(abi.SIGTTIN) {
				t.Error("ignores, blocks")
			}
			s.exit(late)
		})
		g.wait(s, 0)
		if tty.left.Load() != 1 {
			t.Errorf("the terminal was told %d times that the leader is gone", tty.left.Load())
		}
		g.action(abi.SIGCHLD, abi.SIG_DFL, 0)
		for p := m.sys.Tree.Next(2); p != nil; p = m.sys.Tree.Next(p.PID + 1) {
			if p.Status().Terminal != nil {
				t.Errorf("process %d has the terminal still", p.PID)
			}
			g.kill(p.PID, abi.SIGKILL)
		}
		for {
			if _, e := g.wait(-1, 0); e != 0 {
				break
			}
		}
	})
}

// TestSignalQueue: what a signalfd does.
func TestSignalQueue(t *testing.T) {
	m := newMachine(t)
	m.run(func(g *guest) {
		set := signal.Of(abi.SIGUSR1)
		g.mask(abi.SIG_BLOCK, set)
		var woken atomic.Int32
		w := sched.NewWaiter(abi.POLLIN, func(sched.Mask) { woken.Add(1) })
		g.SignalQueue().Add(w)
		g.kill(1, abi.SIGUSR1)
		var info signal.Info
		if woken.Load() != 1 || !g.PendingOf(set) || g.Dequeue(set, &info) != abi.SIGUSR1 || g.PendingOf(set) || g.Dequeue(set, &info) != 0 {
			t.Errorf("woken %d times, %+v", woken.Load(), info)
		}
		g.SignalQueue().Remove(w)
	})
}

// TestRetarget: a thread that was woken for a signal of its process, and now blocks it or ends, leaves it to another.
func TestRetarget(t *testing.T) {
	for _, how := range []string{"blocks", "ends"} {
		t.Run(how, func(t *testing.T) {
			m := newMachine(t)
			m.run(func(g *guest) {
				var by atomic.Int32
				g.on(abi.SIGUSR1, 0, func(g *guest, _ int) { by.Store(g.TID) })
				id := g.thread(func(o *guest) {
					o.pause()
					o.until("the end", func() bool { return by.Load() != 0 })
				})
				g.until("the thread", func() bool { return m.asleep(id) })
				if how == "blocks" {
					// In the kernel, between the arrival and the delivery.
					g.call(abi.SYS_RT_SIGPROCMASK, func() (uint64, abi.Errno) {
						g.Kill(1, abi.SIGUSR1)
						_, e := g.ChangeMask(abi.SIG_BLOCK, signal.Of(abi.SIGUSR1))
						return 0, e
					})
				} else {
					g.call(abi.SYS_EXIT, func() (uint64, abi.Errno) {
						g.Kill(1, abi.SIGUSR1)
						g.Task.Exit(0)
						return 0, 0
					})
				}
				g.until("the handler", func() bool { return by.Load() != 0 })
				if by.Load() != id {
					t.Errorf("handled by %d, want %d", by.Load(), id)
				}
			})
		})
	}
}

// TestStopsAndConts: the one throws away what is pending of the other, even where it is ignored.
func TestStopsAndConts(t *testing.T) {
	m := newMachine(t)
	m.run(func(g *guest) {
		stops := signal.Of(abi.SIGTSTP, abi.SIGTTIN, abi.SIGTTOU)
		g.mask(abi.SIG_SETMASK, stops|signal.Of(abi.SIGCONT))
		g.kill(1, abi.SIGTSTP)
		g.TgKill(1, 1, abi.SIGTTIN)
		if g.Pending() != signal.Of(abi.SIGTSTP, abi.SIGTTIN) {
			t.Errorf("pending %x", g.Pending())
		}
		g.kill(1, abi.SIGCONT)
		if g.Pending() != signal.Of(abi.SIGCONT) {
			t.Errorf("after SIGCONT: %x", g.Pending())
		}
		g.kill(1, abi.SIGTTOU)
		if g.Pending() != signal.Of(abi.SIGTTOU) {
			t.Errorf("after a stop: %x", g.Pending())
		}
		g.action(abi.SIGCONT, abi.SIG_IGN, 0)
		g.mask(abi.SIG_UNBLOCK, signal.Of(abi.SIGCONT))
		g.kill(1, abi.SIGCONT)
		if g.Pending() != 0 {
			t.Errorf("after an ignored SIGCONT: %x", g.Pending())
		}
	})
}

// TestFaultFirst: what the instruction caused is handled before what others sent, though its number is higher.
func TestFaultFirst(t *testing.T) {
	m := newMachine(t)
	m.run(func(g *guest) {
		var order []int
		for _, s := range []int32{abi.SIGHUP, abi.SIGILL, abi.SIGSEGV} {
			a := signal.Action{Handler: m.handler(func(_ *guest, sig int) { order = append(order, sig) }), Flags: abi.SA_RESTORER, Mask: signal.All}
			g.SetAction(s, &a)
		}
		g.call(0, func() (uint64, abi.Errno) {
			g.Kill(1, abi.SIGHUP)
			g.TgKill(1, 1, abi.SIGILL) // sent, not caused
			i := signal.Fault(abi.SIGSEGV, abi.SEGV_MAPERR, 0)
			g.Force(&i)
			return 0, 0
		})
		if want := []int{abi.SIGSEGV, abi.SIGILL, abi.SIGHUP}; !slices.Equal(order, want) {
			t.Errorf("order %v, want %v", order, want)
		}
	})
}

func TestInherited(t *testing.T) {
	m := newMachine(t)
	m.run(func(g *guest) {
		tty := new(fakeTTY)
		g.mask(abi.SIG_SETMASK, signal.Of(abi.SIGUSR1))
		g.kill(1, abi.SIGUSR1)
		g.SetTerminal(tty)
		g.fork(func(c *guest) {
			if c.Mask() != signal.Of(abi.SIGUSR1) || c.Pending() != 0 {
				t.Errorf("mask %x, pending %x: the one is inherited, the other is not", c.Mask(), c.Pending())
			}
			if c.Terminal() != signal.Terminal(tty) {
				t.Error("the terminal is inherited")
			}
			c.SetSID()
			if c.Terminal() != nil {
				t.Error("setsid gives the terminal up")
			}
		})
		g.wait(-1, 0)
	})
}

// TestRestartCall: a handler's return ends what restart_syscall could have gone on with.
func TestRestartCall(t *testing.T) {
	m := newMachine(t)
	m.run(func(g *guest) {
		g.on(abi.SIGUSR1, 0, func(*guest, int) {})
		g.call(abi.SYS_NANOSLEEP, func() (uint64, abi.Errno) {
			g.Kill(1, abi.SIGUSR1)
			return 0, g.RestartWith(func(*Task) (uint64, abi.Errno) { t.Error("goes on"); return 0, 0 })
		})
		if _, e := g.RestartCall(); e != abi.EINTR {
			t.Errorf("restart_syscall: %s", e.Name())
		}
	})
}

// TestExits: a pidfd's queue.
func TestExits(t *testing.T) {
	m := newMachine(t)
	m.run(func(g *guest) {
		id := g.fork(func(c *guest) { c.pause() })
		p := m.sys.Tree.FindProcess(id)
		var woken atomic.Int32
		w := sched.NewWaiter(abi.POLLIN, func(sched.Mask) { woken.Add(1) })
		p.Exits().Add(w)
		if p.Dead() {
			t.Error("dead already")
		}
		g.kill(id, abi.SIGKILL)
		g.wait(id, 0)
		if woken.Load() != 1 || !p.Dead() {
			t.Errorf("woken %d times, dead %t", woken.Load(), p.Dead())
		}
		p.Exits().Remove(w)
		if e := g.Signal(p, &signal.Info{Signo: 0}); e != abi.ESRCH {
			t.Errorf("a signal for a process that is gone: %s", e.Name())
		}
	})
}

// TestStaleInterrupt: what another thread has taken does not make a wait spin, or end.
func TestStaleInterrupt(t *testing.T) {
	m := newMachine(t)
	m.run(func(g *guest) {
		me := g.PID()
		g.on(abi.SIGUSR1, 0, func(*guest, int) {})
		g.fork(func(c *guest) {
			c.until("sleep", func() bool { return m.asleep(me) })
			c.kill(me, abi.SIGUSR1)
		})
		g.Thread.Interrupt()
		if e := g.pause(); e != abi.EINTR {
			t.Errorf("pause: %s", e.Name())
		}
		g.wait(-1, 0)
	})
}
