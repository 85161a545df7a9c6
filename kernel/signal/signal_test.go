package signal

import (
	"math/rand/v2"
	"testing"

	"goum/arch/abi"
	"goum/kernel/cred"
)

func TestDefault(t *testing.T) {
	want := map[int]Disposition{
		abi.SIGHUP: Term, abi.SIGINT: Term, abi.SIGQUIT: Core, abi.SIGILL: Core, abi.SIGTRAP: Core, abi.SIGABRT: Core, abi.SIGBUS: Core,
		abi.SIGFPE: Core, abi.SIGKILL: Term, abi.SIGUSR1: Term, abi.SIGSEGV: Core, abi.SIGPIPE: Term, abi.SIGALRM: Term, abi.SIGTERM: Term,
		abi.SIGSTKFLT: Term, abi.SIGCHLD: Ignore, abi.SIGCONT: Ignore, abi.SIGSTOP: Stop, abi.SIGTSTP: Stop, abi.SIGTTIN: Stop,
		abi.SIGTTOU: Stop, abi.SIGURG: Ignore, abi.SIGXCPU: Core, abi.SIGXFSZ: Core, abi.SIGVTALRM: Term, abi.SIGPROF: Term,
		abi.SIGWINCH: Ignore, abi.SIGIO: Term, abi.SIGPWR: Term, abi.SIGSYS: Core, abi.SIGRTMIN: Term, abi.NSIG - 1: Term,
	}
	for sig, d := range want {
		if Default(sig) != d {
			t.Errorf("Default(%d) = %d, want %d (signal(7))", sig, Default(sig), d)
		}
	}
}

func add(t *testing.T, q *Queue, sig int, code int32, value uint64) {
	t.Helper()
	i := Info{Signo: int32(sig), Code: code}
	i.SetValue(value)
	if e := q.Add(&i, nil, 100); e != 0 {
		t.Fatalf("Add(%d): %s", sig, e.Name())
	}
}

func drain(q *Queue, blocked Set) (sigs []int, values []uint64) {
	var i Info
	for {
		sig := q.TakeSynchronous(blocked, &i)
		if sig == 0 {
			if sig = q.Next(blocked); sig == 0 {
				return sigs, values
			}
			q.Take(sig, &i)
		}
		sigs, values = append(sigs, sig), append(values, i.Value())
	}
}

func equal[T comparable](a, b []T) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

func TestOrder(t *testing.T) {
	var q Queue
	add(t, &q, 40, abi.SI_QUEUE, 1)
	add(t, &q, abi.SIGTERM, abi.SI_USER, 2)
	add(t, &q, 35, abi.SI_QUEUE, 3)
	add(t, &q, 40, abi.SI_QUEUE, 4)
	add(t, &q, abi.SIGSEGV, abi.SI_USER, 5) // by kill: before the others, behind a real fault
	add(t, &q, abi.SIGFPE, abi.FPE_INTDIV, 6)
	add(t, &q, abi.SIGHUP, abi.SI_USER, 7)
	add(t, &q, abi.SIGHUP, abi.SI_USER, 8) // pending already: dropped
	add(t, &q, 35, abi.SI_QUEUE, 9)
	sigs, values := drain(&q, Bit(abi.SIGTERM))
	if want := []int{abi.SIGFPE, abi.SIGSEGV, abi.SIGHUP, 35, 35, 40, 40}; !equal(sigs, want) {
		t.Errorf("order %v, want %v", sigs, want)
	}
	if want := []uint64{6, 5, 7, 3, 9, 1, 4}; !equal(values, want) {
		t.Errorf("values %v, want %v", values, want)
	}
	if q.Pending() != Bit(abi.SIGTERM) {
		t.Errorf("left: %x, want the blocked SIGTERM", q.Pending())
	}
}

func TestLimit(t *testing.T) {
	u := &cred.User{}
	var q Queue
	send := func(sig int, code int32) abi.Errno { return q.Add(&Info{Signo: int32(sig), Code: code}, u, 2) }
	for i := range 2 {
		if e := send(40, abi.SI_QUEUE); e != 0 {
			t.Fatalf("signal %d: %s", i, e.Name())
		}
	}
	for name, c := range map[string]struct {
		sig  int
		code int32
		want abi.Errno
		kept bool // with its siginfo
	}{
		"real-time, queued":    {41, abi.SI_QUEUE, abi.EAGAIN, false},
		"real-time, by kill":   {42, abi.SI_USER, 0, false},
		"standard, by kill":    {abi.SIGUSR1, abi.SI_USER, 0, true},
		"standard, queued":     {abi.SIGUSR2, abi.SI_QUEUE, 0, false},
		"standard, the kernel": {abi.SIGCHLD, abi.CLD_EXITED, 0, true},
	} {
		if e := send(c.sig, c.code); e != c.want {
			t.Errorf("%s: %s, want %s", name, e.Name(), c.want.Name())
			continue
		}
		if c.want != 0 {
			if q.Pending().Has(c.sig) {
				t.Errorf("%s: pending all the same", name)
			}
			continue
		}
		var i Info
		q.Take(c.sig, &i)
		if kept := i.Code == c.code && c.code != abi.SI_USER || i.Code == abi.SI_USER && c.code == abi.SI_USER; int(i.Signo) != c.sig || kept != c.kept && c.code != abi.SI_USER {
			t.Errorf("%s: taken as %d, code %d", name, i.Signo, i.Code)
		}
	}
	q.Drop(All)
	if n := u.Signals.Load(); n != 0 || q.Pending() != 0 {
		t.Errorf("after Drop: %d counted, %x pending", n, q.Pending())
	}
}

// TestModel compares Queue with a plain slice.
func TestModel(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	u := &cred.User{}
	var q Queue
	var model []Info
	for step := range 5_000 {
		sig := 1 + r.IntN(abi.NSIG-1)
		switch r.IntN(4) {
		case 0, 1:
			if sig == abi.SIGKILL {
				continue
			}
			i := Info{Signo: int32(sig), Code: abi.SI_QUEUE}
			i.SetValue(uint64(step))
			q.Add(&i, u, 1<<30)
			has := false
			for _, m := range model {
				has = has || int(m.Signo) == sig
			}
			if sig >= abi.SIGRTMIN || !has {
				model = append(model, i)
			}
		case 2:
			s := q.Next(0)
			if s == 0 {
				continue
			}
			var got Info
			q.Take(s, &got)
			for k, m := range model {
				if int(m.Signo) == s {
					if m != got {
						t.Fatalf("step %d: took %v, want %v", step, got.Value(), m.Value())
					}
					model = append(model[:k:k], model[k+1:]...)
					break
				}
			}
		case 3:
			if r.IntN(20) != 0 {
				continue
			}
			q.Drop(Bit(sig))
			var rest []Info
			for _, m := range model {
				if int(m.Signo) != sig {
					rest = append(rest, m)
				}
			}
			model = rest
		}
		var set Set
		for _, m := range model {
			set |= Bit(int(m.Signo))
		}
		if set != q.Pending() || int(u.Signals.Load()) != len(model) {
			t.Fatalf("step %d: pending %x, want %x; counted %d, want %d", step, q.Pending(), set, u.Signals.Load(), len(model))
		}
	}
}

func TestEntry(t *testing.T) {
	var q Queue
	taken, dropped := 0, 0
	e := &Entry{Info: Timer(40, 3, 9)}
	e.OnTake = func(i *Info) {
		if i == nil {
			dropped++
			return
		}
		taken++
		i.SetOverrun(7)
	}
	if !q.AddEntry(e) || q.AddEntry(e) {
		t.Fatal("an Entry is queued once")
	}
	var i Info
	q.Take(40, &i)
	if taken != 1 || i.Overrun() != 7 || i.TimerID() != 3 || i.Value() != 9 || e.Queued() || q.Pending() != 0 {
		t.Errorf("taken %d times, %+v", taken, i)
	}
	q.AddEntry(e)
	q.Drop(Bit(40))
	if dropped != 1 || e.Queued() {
		t.Errorf("dropped %d times", dropped)
	}
	add(t, &q, 40, abi.SI_QUEUE, 1)
	q.AddEntry(e)
	if !q.Remove(e) || dropped != 1 || !q.Pending().Has(40) || q.Remove(e) {
		t.Error("Remove takes the Entry only, and tells nobody")
	}
}

func TestActions(t *testing.T) {
	a := NewActions()
	a.Set(abi.SIGUSR1, Action{Handler: 0x1000, Flags: abi.SA_RESETHAND, Mask: ^Set(0)})
	a.Set(abi.SIGUSR2, Action{Handler: abi.SIG_IGN, Flags: abi.SA_RESTART})
	if got := a.Get(abi.SIGUSR1).Mask; got != ^Set(0)&^Unmaskable {
		t.Errorf("mask %x has what cannot be masked", got)
	}
	if caught, ignored := a.Sets(); caught != Bit(abi.SIGUSR1) || ignored != Bit(abi.SIGUSR2) {
		t.Errorf("caught %x, ignored %x", caught, ignored)
	}
	if !a.Ignored(abi.SIGCHLD) || !a.Ignored(abi.SIGUSR2) || a.Ignored(abi.SIGUSR1) || a.Ignored(abi.SIGTERM) {
		t.Error("Ignored: explicitly, or by default")
	}
	c := a.Clone(true)
	if c.Get(abi.SIGUSR1).Handler != abi.SIG_DFL || c.Get(abi.SIGUSR2).Handler != abi.SIG_IGN {
		t.Error("CLONE_CLEAR_SIGHAND clears handlers, and keeps what is ignored")
	}
	if act := a.TakeHandler(abi.SIGUSR1); act.Handler != 0x1000 || a.Get(abi.SIGUSR1).Handler != abi.SIG_DFL {
		t.Error("SA_RESETHAND")
	}
	a.Set(abi.SIGUSR1, Action{Handler: 0x1000})
	shared := a.Ref()
	x := a.Exec()
	if x == shared || shared.Get(abi.SIGUSR1).Handler != 0x1000 || x.Get(abi.SIGUSR1).Handler != 0 || x.Get(abi.SIGUSR2) != (Action{Handler: abi.SIG_IGN}) {
		t.Error("Exec leaves a shared table alone, and keeps only what is ignored")
	}
	if shared.Exec() != shared {
		t.Error("Exec of a table of one's own changes it in place")
	}
	a.Set(-5, Action{Handler: 1})
	a.Set(1<<20, Action{Handler: 1})
	if a.Get(-5) != a.Get(1000) {
		t.Error("numbers that are no signal")
	}
}
