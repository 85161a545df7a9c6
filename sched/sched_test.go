package sched

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"goum/arch/abi"
	"goum/sched/clock"
)

// machine is a scheduler on a virtual clock. Its threads burn time, each on its vCPU, and the tick comes from there.
type machine struct {
	*Scheduler
	clk *clock.Clock
	t   *testing.T
	wg  sync.WaitGroup

	advance sync.Mutex
}

func newMachine(t *testing.T, cpus int) *machine {
	clk := clock.NewVirtual(0)
	m := &machine{Scheduler: New(cpus, clk), clk: clk, t: t}
	t.Cleanup(func() {
		m.Close()
		m.audit()
		if n := m.Threads(); n != 0 {
			t.Errorf("%d threads are left", n)
		}
	})
	return m
}

// spawn starts a thread; wait awaits all of them.
func (m *machine) spawn(name string, f func(t *Thread)) *Thread {
	t := m.NewThread(name)
	m.start(t, f)
	return t
}

func (m *machine) start(t *Thread, f func(t *Thread)) {
	m.wg.Add(1)
	t.Start(func() {
		defer m.wg.Done()
		f(t)
	})
}

func (m *machine) wait() {
	m.t.Helper()
	done := make(chan bool)
	go func() { m.wg.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		m.audit()
		m.dump()
		m.t.Fatal("the threads do not end")
	}
	for m.Threads() != 0 { // the last of them are on their way out
		time.Sleep(time.Millisecond)
	}
}

// await waits for a channel, but not for ever.
func (m *machine) await(c chan bool) {
	m.t.Helper()
	select {
	case <-c:
	case <-time.After(20 * time.Second):
		m.dump()
		m.t.Fatal("it does not happen")
	}
}

// burn spends virtual time in kernel mode.
func (m *machine) burn(d clock.Time) {
	m.advance.Lock()
	defer m.advance.Unlock()
	m.clk.Advance(int64(d))
}

func (m *machine) dump() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, v := range m.vcpus {
		name := "idle"
		if t := v.cur.Load(); t != nil {
			name = fmt.Sprintf("%s word %#x", t.name, t.word.Load())
		}
		m.t.Logf("vCPU %d: %s, %d queued", v.id, name, v.rq.len())
	}
}

// audit checks what must hold whenever mu is free.
func (m *machine) audit() {
	m.mu.Lock()
	defer m.mu.Unlock()
	queued, rt := 0, 0
	for _, v := range m.vcpus {
		t := v.cur.Load()
		if (t == nil) != (m.idle&v.bit != 0) {
			m.t.Errorf("vCPU %d: idle bit and thread disagree", v.id)
		}
		if t != nil && (t.vcpu != v || t.queuedOn != nil || t.word.Load()&(asleep|lost) != 0) {
			m.t.Errorf("vCPU %d: %s does not belong there", v.id, t.name)
		}
		queued += v.rq.len()
		rt += v.rq.rtN
		for i, t := range v.rq.fair {
			if t.index != i || t.queuedOn != v || t.word.Load()&asleep != 0 {
				m.t.Errorf("vCPU %d: heap entry %d is wrong", v.id, i)
			}
			if i > 0 && t.before(v.rq.fair[(i-1)/2]) {
				m.t.Errorf("vCPU %d: heap order at %d", v.id, i)
			}
		}
		n := 0
		for p := range v.rq.rt {
			if (v.rq.rt[p].head != nil) != (v.rq.rtBits[p>>6]&(1<<(p&63)) != 0) {
				m.t.Errorf("vCPU %d: bit of priority %d", v.id, p)
			}
			for t := v.rq.rt[p].head; t != nil; t = t.next {
				n++
			}
		}
		if n != v.rq.rtN {
			m.t.Errorf("vCPU %d: %d real-time threads, counted %d", v.id, n, v.rq.rtN)
		}
	}
	if queued != int(m.queued.Load()) || rt != m.rtQueued {
		m.t.Errorf("queued %d and %d, counted %d and %d", queued, rt, m.queued.Load(), m.rtQueued)
	}
}

// TestOneAtATime shows that with one vCPU exactly one thread runs, in the order of arrival.
func TestOneAtATime(t *testing.T) {
	m := newMachine(t, 1)
	var running atomic.Int32
	var order []string // guarded by the vCPU
	m.spawn("boot", func(b *Thread) {
		for i := range 5 {
			m.spawn(fmt.Sprint(i), func(t *Thread) {
				for range 3 {
					if running.Add(1) != 1 {
						m.t.Error("two threads run on one vCPU")
					}
					order = append(order, t.Name())
					running.Add(-1)
					t.Yield()
				}
			})
		}
	})
	m.wait()
	if got, want := fmt.Sprint(order), "[0 1 2 3 4 0 1 2 3 4 0 1 2 3 4]"; got != want {
		t.Errorf("order %s, want %s", got, want)
	}
	if n := m.Switches(); n < 15 {
		t.Errorf("%d switches counted", n)
	}
}

func TestPriorities(t *testing.T) {
	m := newMachine(t, 1)
	var order []string
	m.spawn("boot", func(b *Thread) {
		for _, c := range []struct {
			name         string
			policy, prio int
			nice         int
		}{
			{"idle", abi.SCHED_IDLE, 0, 0}, {"other", abi.SCHED_NORMAL, 0, 0}, {"fifo1", abi.SCHED_FIFO, 1, 0},
			{"rr50", abi.SCHED_RR, 50, 0}, {"fifo99", abi.SCHED_FIFO, 99, 0}, {"rr50b", abi.SCHED_RR, 50, 0}, {"fifo64", abi.SCHED_FIFO, 64, 0},
		} {
			n := m.NewThread(c.name)
			if e := n.SetPolicy(c.policy, c.prio, c.nice); e != 0 {
				t.Errorf("SetPolicy: %v", e)
			}
			if p, q := n.Policy(); p != c.policy || q != c.prio {
				t.Errorf("Policy() = %d, %d", p, q)
			}
			m.start(n, func(t *Thread) { order = append(order, t.Name()) })
		}
		if !b.NeedResched() {
			t.Error("a real-time thread does not preempt a fair one")
		}
	})
	m.wait()
	if got, want := fmt.Sprint(order), "[fifo99 fifo64 rr50 rr50b fifo1 other idle]"; got != want {
		t.Errorf("order %s, want %s", got, want)
	}
}

func TestSetPolicyErrors(t *testing.T) {
	m := newMachine(t, 2)
	n := m.NewThread("x")
	for _, c := range []struct {
		policy, prio int
		want         abi.Errno
	}{
		{abi.SCHED_FIFO, 0, abi.EINVAL}, {abi.SCHED_FIFO, 100, abi.EINVAL}, {abi.SCHED_RR, 1, 0}, {abi.SCHED_NORMAL, 1, abi.EINVAL},
		{abi.SCHED_DEADLINE, 0, abi.EINVAL}, {42, 0, abi.EINVAL}, {-1, 0, abi.EINVAL}, {abi.SCHED_BATCH, 0, 0},
	} {
		if e := n.SetPolicy(c.policy, c.prio, 0); e != c.want {
			t.Errorf("SetPolicy(%d, %d) = %v, want %v", c.policy, c.prio, e, c.want)
		}
	}
	n.SetNice(-100)
	if n.Nice() != -20 {
		t.Errorf("nice %d", n.Nice())
	}
	n.SetNice(100)
	if n.Nice() != 19 {
		t.Errorf("nice %d", n.Nice())
	}
	if e := n.SetAffinity(1 << 5); e != abi.EINVAL {
		t.Errorf("SetAffinity of no vCPU = %v", e)
	}
	if n.Affinity() != 3 {
		t.Errorf("affinity %#x", n.Affinity())
	}
}

// spin burns time until the clock says end, giving way when asked to.
func (m *machine) spin(t *Thread, end clock.Time) {
	for m.clk.Monotonic() < end {
		m.burn(1e6)
		if t.NeedResched() {
			t.Yield()
		}
	}
}

func TestNiceShares(t *testing.T) {
	m := newMachine(t, 1)
	nices := []int{0, 5, -5, 19}
	threads := make([]*Thread, len(nices))
	const end = 20e9
	m.spawn("boot", func(*Thread) {
		for i, n := range nices {
			threads[i] = m.NewThread(fmt.Sprint(n))
			threads[i].SetNice(n)
			m.start(threads[i], func(t *Thread) { m.spin(t, end) })
		}
	})
	m.wait()
	total := int64(0)
	for _, n := range nices {
		total += niceWeight(n)
	}
	for i, n := range nices {
		got, want := float64(threads[i].CPUTime())/end, float64(niceWeight(n))/float64(total)
		if got < want*0.95-0.002 || got > want*1.05+0.002 {
			t.Errorf("nice %d got %.4f of the vCPU, want %.4f", n, got, want)
		}
	}
}

func TestRoundRobin(t *testing.T) {
	m := newMachine(t, 1)
	var order []string
	var fifo, fair *Thread
	m.spawn("boot", func(b *Thread) {
		b.SetPolicy(abi.SCHED_FIFO, 90, 0)
		for i := range 2 {
			n := m.NewThread(fmt.Sprint(i))
			n.SetPolicy(abi.SCHED_RR, 10, 0)
			m.start(n, func(t *Thread) {
				for range 30 {
					m.burn(10e6)
					if len(order) == 0 || order[len(order)-1] != t.Name() {
						order = append(order, t.Name())
					}
					if t.NeedResched() {
						t.Yield()
					}
				}
			})
		}
		fifo = m.NewThread("fifo")
		fifo.SetPolicy(abi.SCHED_FIFO, 5, 0)
		m.start(fifo, func(t *Thread) {
			order = append(order, "fifo")
			end := m.clk.Monotonic() + 3e9
			m.spin(t, end)
		})
		fair = m.spawn("fair", func(t *Thread) { m.spin(t, 3e9) })
	})
	m.wait()
	if got, want := fmt.Sprint(order), "[0 1 0 1 0 1 fifo]"; got != want {
		t.Errorf("order %s, want %s", got, want)
	}
	// The fair thread lives on the 5 % that real-time threads may not have.
	if d := fair.CPUTime(); d < 100e6 || d > 400e6 {
		t.Errorf("beside a FIFO loop of 3 s the fair thread got %d ms", d/1e6)
	}
}

// TestPingPong wakes and sleeps in turns, with fixed counts and each kind of placement.
func TestPingPong(t *testing.T) {
	for cpus := 1; cpus <= 3; cpus++ {
		m := newMachine(t, cpus)
		const rounds = 5000
		var q Queue
		var turn atomic.Int32
		for i := range int32(2) {
			m.spawn(fmt.Sprint(i), func(t *Thread) {
				for range rounds {
					if out := q.Wait(t, Any, clock.Never, func() bool { return turn.Load() == i }); out != Woken {
						m.t.Errorf("outcome %d", out)
					}
					turn.Store(1 - i)
					q.Wake(1)
				}
			})
		}
		m.wait()
	}
}

// TestHammerWake has many sleepers share tokens that many wakers make, one wake-up for each: none may be lost.
func TestHammerWake(t *testing.T) {
	for cpus := 1; cpus <= 4; cpus += 3 {
		m := newMachine(t, cpus)
		const threads, rounds = 16, 1000
		var q Queue
		var tokens atomic.Int64
		take := func() bool {
			for {
				n := tokens.Load()
				if n == 0 {
					return false
				}
				if tokens.CompareAndSwap(n, n-1) {
					return true
				}
			}
		}
		var victims []*Thread
		var got atomic.Int64
		for i := range threads {
			v := m.spawn(fmt.Sprint("taker", i), func(t *Thread) {
				for range rounds {
					for {
						out := q.Wait(t, Any, clock.Never, take)
						if out == Woken {
							got.Add(1)
							break
						}
						t.ClearInterrupt()
					}
				}
			})
			if i%4 == 0 {
				victims = append(victims, v)
			}
			m.spawn(fmt.Sprint("maker", i), func(t *Thread) {
				for i := range rounds {
					tokens.Add(1)
					q.WakeOne(Any)
					if i%7 == 0 {
						t.Yield()
					}
				}
			})
		}
		done := make(chan bool)
		go func() { // takers leave their place in the queue just when they are chosen
			for range 20000 {
				for _, v := range victims {
					v.Interrupt()
				}
			}
			close(done)
		}()
		m.wait()
		<-done
		if got.Load() != threads*rounds || tokens.Load() != 0 {
			t.Errorf("cpus %d: %d taken, %d left", cpus, got.Load(), tokens.Load())
		}
	}
}

// TestPassOn shows that a sleeper that was chosen, and leaves because of a signal, wakes the next.
func TestPassOn(t *testing.T) {
	m := newMachine(t, 1)
	var q Queue
	var outs [2]Outcome
	token := false
	first := m.NewThread("first")
	m.spawn("boot", func(b *Thread) {
		m.start(first, func(t *Thread) { outs[0] = q.Wait(t, Any, clock.Never, func() bool { return false }) })
		m.spawn("second", func(t *Thread) { outs[1] = q.Wait(t, Any, clock.Never, func() bool { return token }) })
		for first.State() != 'S' || m.Running() != 1 {
			b.Yield()
		}
		token = true
		first.Interrupt()
		q.WakeOne(Any) // chooses first, which is awake already but has not left
	})
	m.wait()
	if outs != [2]Outcome{Interrupted, Woken} {
		t.Errorf("outcomes %v", outs)
	}
}

func TestOutcomes(t *testing.T) {
	m := newMachine(t, 1)
	var q Queue
	never := func() bool { return false }
	m.spawn("t", func(t *Thread) {
		check := func(what string, got, want Outcome) {
			m.t.Helper()
			if got != want {
				m.t.Errorf("%s: %d, want %d", what, got, want)
			}
		}
		now := m.clk.Monotonic()
		check("a condition that holds", q.Wait(t, Any, now, func() bool { return true }), Woken)
		check("a deadline that has passed", q.Wait(t, Any, now, never), Expired)
		t.Interrupt()
		check("an interrupt before", q.Wait(t, Any, now, never), Interrupted)
		check("it is remembered", t.Sleep(clock.Never), Interrupted)
		check("but a condition comes first", q.Wait(t, Any, now, func() bool { return true }), Woken)
		check("killable sleeps do not mind", q.WaitKillable(t, Any, now, never), Expired)
		if t.EnterUser() {
			m.t.Error("EnterUser with an interrupt pending")
			t.LeaveUser()
		}
		t.ClearInterrupt()
		if !t.EnterUser() {
			m.t.Error("EnterUser refuses for nothing")
		} else {
			t.LeaveUser()
		}
		m.spawn("waker", func(*Thread) { m.burn(1e6); t.Interrupt() })
		check("an interrupt during", t.Sleep(clock.Never), Interrupted)
		t.ClearInterrupt()
		m.spawn("killer", func(*Thread) { t.Interrupt(); m.burn(5e6); t.Kill() })
		check("a kill during", q.WaitKillable(t, Any, clock.Never, never), Killed)
		t.ClearInterrupt()
		check("a kill is for ever", t.Sleep(clock.Never), Killed)
		check("nothing ends this but time", q.WaitUninterruptible(t, Any, now, never), Expired)
		if !t.Killed() || !t.Interrupted() {
			m.t.Error("not killed")
		}
	})
	m.wait()
	if !q.Empty() {
		t.Error("somebody is left in the queue")
	}
}

// TestDeadline lets virtual time pass while every thread sleeps.
func TestDeadline(t *testing.T) {
	m := newMachine(t, 1)
	var order []string
	var q Queue
	for i, at := range []clock.Time{30e6, 10e6, 20e6} {
		m.spawn(fmt.Sprint(i), func(t *Thread) {
			if out := q.Wait(t, Any, at, nil); out != Expired {
				m.t.Errorf("outcome %d", out)
			}
			if now := m.clk.Monotonic(); now < at {
				m.t.Errorf("woken at %d, not %d", now, at)
			}
			order = append(order, t.Name())
		})
	}
	for m.Running() != 0 {
		time.Sleep(time.Millisecond)
	}
	for range 6 {
		m.burn(5e6)
		for m.Running() != 0 {
			time.Sleep(time.Millisecond)
		}
	}
	m.wait()
	if got := fmt.Sprint(order); got != "[1 2 0]" {
		t.Errorf("order %s", got)
	}
}

// fakeUser is a stub that comes back when it is kicked, and remembers a kick that comes too early.
type fakeUser struct {
	kicked chan struct{}
	kicks  atomic.Int64
	deaf   atomic.Bool
}

func newFakeUser() *fakeUser { return &fakeUser{kicked: make(chan struct{}, 1)} }

func (u *fakeUser) Kick() {
	u.kicks.Add(1)
	if u.deaf.Load() {
		return
	}
	select {
	case u.kicked <- struct{}{}:
	default:
	}
}

// TestHammerKick interrupts a thread at every moment of its way out and back: an interrupt that is lost leaves it in user mode for ever.
func TestHammerKick(t *testing.T) {
	m := newMachine(t, 2)
	const rounds = 20000
	u := newFakeUser()
	var sent, seen atomic.Int64
	n := m.NewThread("user")
	n.SetKicker(u)
	m.start(n, func(t *Thread) {
		for seen.Load() < rounds {
			if t.EnterUser() {
				<-u.kicked
				t.LeaveUser()
			}
			if t.Interrupted() {
				t.ClearInterrupt()
				seen.Store(sent.Load())
			}
		}
	})
	for range rounds {
		sent.Add(1)
		n.Interrupt()
		for i := 0; seen.Load() < sent.Load(); i++ {
			if time.Sleep(0); i > 1e8 {
				t.Fatal("an interrupt is lost")
			}
		}
	}
	m.wait()
}

// user goes to user mode until somebody wants t back, or stop says so.
func (u *fakeUser) user(t *Thread) {
	for !t.EnterUser() {
		if t.NeedResched() {
			t.Yield()
		}
		if t.Interrupted() {
			return
		}
	}
	<-u.kicked
	t.LeaveUser()
}

// TestSlices has two endless loops in user mode share one vCPU by the tick.
func TestSlices(t *testing.T) {
	m := newMachine(t, 1)
	var loops [2]*Thread
	for i := range loops {
		u := newFakeUser()
		loops[i] = m.NewThread(fmt.Sprint(i))
		loops[i].SetKicker(u)
		m.start(loops[i], func(t *Thread) {
			for !t.Killed() {
				u.user(t)
			}
		})
	}
	for range 100 {
		m.burn(TickPeriod)
		for i := 0; i < 5000 && m.needy(); i++ {
			time.Sleep(10 * time.Microsecond)
		}
	}
	for _, l := range loops {
		user, system := l.Times()
		if user+system < 400e6 || user < 4*system {
			t.Errorf("%s: user %d ms, system %d ms of 1 s", l.Name(), user/1e6, system/1e6)
		}
	}
	if c := m.CPUTimes(0); c.User < 800e6 || c.Idle > 50e6 {
		t.Errorf("vCPU: %+v", c)
	}
	for _, l := range loops {
		l.Kill()
	}
	m.wait()
}

// needy says whether any running thread is not yet in user mode, or has to come back.
func (m *machine) needy() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, v := range m.vcpus {
		if t := v.cur.Load(); t != nil && t.word.Load()&(resched|inUser) != inUser || m.idle&v.bit != 0 && m.queued.Load() != 0 {
			return true
		}
	}
	return false
}

// TestOverdue takes the vCPU from a thread whose stub does not answer, and makes it wait in line when it does.
func TestOverdue(t *testing.T) {
	m := newMachine(t, 1)
	u := newFakeUser()
	u.deaf.Store(true)
	bad := m.NewThread("bad")
	bad.SetKicker(u)
	var back atomic.Bool
	in := make(chan bool)
	m.start(bad, func(t *Thread) {
		if !t.EnterUser() {
			m.t.Error("EnterUser")
		}
		close(in)
		<-u.kicked
		t.LeaveUser()
		back.Store(true)
	})
	m.await(in)
	ran, hold := make(chan bool), make(chan bool)
	m.spawn("good", func(t *Thread) {
		close(ran)
		<-hold // keeps its vCPU
	})
	for range 2 {
		m.burn(TickPeriod)
	}
	select {
	case <-ran:
		t.Fatal("too early")
	default:
	}
	for range 2 {
		m.burn(TickPeriod)
	}
	m.await(ran)
	if u.kicks.Load() == 0 {
		t.Error("never kicked")
	}
	if m.Blocked() != 1 {
		t.Errorf("%d blocked", m.Blocked())
	}
	u.kicked <- struct{}{}
	for m.queued.Load() == 0 {
		time.Sleep(time.Millisecond)
	}
	if back.Load() {
		t.Error("it runs without a vCPU")
	}
	close(hold)
	m.wait()
	if !back.Load() {
		t.Error("it never came back")
	}
}

func TestOutside(t *testing.T) {
	m := newMachine(t, 1)
	var order []string
	in, out := make(chan bool), make(chan bool)
	m.spawn("a", func(t *Thread) {
		t.Outside(func() {}) // nobody else: keeps its vCPU
		t.Outside(func() {
			close(in)
			<-out
		})
		order = append(order, "a")
		if s := t.State(); s != 'R' {
			m.t.Errorf("state %c", s)
		}
	})
	m.await(in)
	ran, hold := make(chan bool), make(chan bool)
	m.spawn("b", func(t *Thread) { // takes the vCPU from a, at once
		order = append(order, "b")
		close(ran)
		<-hold
		order = append(order, "b")
	})
	m.await(ran)
	close(out)
	for m.queued.Load() == 0 {
		time.Sleep(time.Millisecond)
	}
	close(hold)
	m.wait()
	if got := fmt.Sprint(order); got != "[b b a]" {
		t.Errorf("order %s", got)
	}
}

// TestOutsideHandsOver: somebody waits already when the host call begins.
func TestOutsideHandsOver(t *testing.T) {
	m := newMachine(t, 1)
	ran := make(chan bool)
	m.spawn("a", func(t *Thread) {
		m.spawn("b", func(*Thread) { close(ran) })
		t.Outside(func() { <-ran })
	})
	m.wait()
}

// TestOutsideIdle lets the tick take the vCPU of a long host call, so that the machine is idle and stops ticking.
func TestOutsideIdle(t *testing.T) {
	m := newMachine(t, 1)
	in, out := make(chan bool), make(chan bool)
	a := m.spawn("a", func(t *Thread) {
		t.Outside(func() {
			close(in)
			<-out
		})
	})
	m.await(in)
	m.burn(3 * TickPeriod)
	if m.Running() != 0 || m.Blocked() != 1 || a.State() != 'D' {
		t.Errorf("running %d, blocked %d, state %c", m.Running(), m.Blocked(), a.State())
	}
	m.mu.Lock()
	ticking := m.ticking
	m.mu.Unlock()
	if ticking {
		t.Error("an idle machine ticks")
	}
	close(out)
	m.wait()
}

func TestHammerOutside(t *testing.T) {
	for cpus := 1; cpus <= 3; cpus++ {
		m := newMachine(t, cpus)
		var on atomic.Int32
		var gate Gate
		for i := range 6 {
			m.spawn(fmt.Sprint(i), func(t *Thread) {
				for j := range 3000 {
					if n := on.Add(1); int(n) > cpus {
						m.t.Errorf("%d threads on %d vCPUs", n, cpus)
					}
					on.Add(-1)
					switch j % 3 {
					case 0:
						t.Outside(func() {})
					case 1:
						t.Yield()
					default:
						gate.Lock(t)
						t.Outside(func() {})
						gate.Unlock()
					}
					if j%64 == 0 {
						m.burn(TickPeriod / 2)
					}
				}
			})
		}
		m.wait()
	}
}

func TestGate(t *testing.T) {
	for cpus := 1; cpus <= 4; cpus += 3 {
		m := newMachine(t, cpus)
		var g Gate
		inside, total := 0, 0 // guarded by g
		var interrupted atomic.Int64
		var threads []*Thread
		for i := range 8 {
			threads = append(threads, m.spawn(fmt.Sprint(i), func(t *Thread) {
				for j := range 2000 {
					if i%2 == 0 {
						g.Lock(t)
					} else if g.LockInterruptible(t) != Woken {
						t.ClearInterrupt()
						interrupted.Add(1)
						continue
					}
					if inside++; inside != 1 {
						m.t.Error("two inside")
					}
					if j%5 == 0 {
						t.Yield()
					}
					inside--
					total++
					g.Unlock()
				}
			}))
		}
		done := make(chan bool)
		go func() {
			for range 3000 {
				for _, t := range threads {
					t.Interrupt()
				}
			}
			close(done)
		}()
		m.wait()
		<-done
		if total != 8*2000-int(interrupted.Load()) || g.state.Load()&gateHeld != 0 || g.owner.Load() != nil {
			t.Errorf("total %d, interrupted %d, state %d", total, interrupted.Load(), g.state.Load())
		}
	}
}

// TestGateFair: a holder that never lets its vCPU go between two turns cannot keep the others out.
func TestGateFair(t *testing.T) {
	m := newMachine(t, 1)
	var g Gate
	var stop atomic.Bool
	m.spawn("hog", func(t *Thread) {
		for !stop.Load() {
			g.Lock(t)
			t.Yield() // always holds it when others run
			g.Unlock()
		}
	})
	m.spawn("other", func(t *Thread) {
		for range 100 {
			g.Lock(t)
			g.Unlock()
		}
		stop.Store(true)
	})
	m.wait()
}

func TestAffinity(t *testing.T) {
	m := newMachine(t, 3)
	var hold atomic.Bool
	hold.Store(true)
	pinned := m.NewThread("pinned")
	pinned.SetAffinity(1 << 2)
	m.start(pinned, func(t *Thread) {
		for hold.Load() {
			if c := t.CPU(); c != 2 {
				m.t.Errorf("runs on %d", c)
			}
			t.Yield()
			time.Sleep(time.Millisecond)
		}
	})
	mover := m.NewThread("mover")
	m.start(mover, func(t *Thread) {
		for _, c := range []int{0, 1, 2, 1, 0, 2} {
			t.SetAffinity(1 << c)
			for t.NeedResched() {
				t.Yield()
			}
			if t.CPU() != c {
				m.t.Errorf("runs on %d, not %d", t.CPU(), c)
			}
		}
		hold.Store(false)
	})
	m.wait()
}

// TestSpread shows that threads fill idle vCPUs, and that queues are evened out.
func TestSpread(t *testing.T) {
	m := newMachine(t, 2)
	var at [4]atomic.Int64
	var stop atomic.Bool
	for i := range at {
		n := m.NewThread(fmt.Sprint(i))
		n.SetAffinity(1) // all on vCPU 0
		m.start(n, func(t *Thread) {
			for !stop.Load() {
				at[i].Add(1)
				if t.NeedResched() {
					t.Yield()
				}
				t.Yield()
				time.Sleep(100 * time.Microsecond)
			}
		})
		defer n.SetAffinity(3)
		defer stop.Store(true)
	}
	if n := m.Running(); n != 4 {
		t.Errorf("%d running", n)
	}
	m.mu.Lock()
	for _, v := range m.vcpus {
		for _, t := range v.rq.fair {
			t.allowed.Store(3)
		}
	}
	m.mu.Unlock()
	m.burn(TickPeriod)
	m.burn(TickPeriod)
	m.audit()
	m.mu.Lock()
	a, b := m.vcpus[0].count(), m.vcpus[1].count()
	m.mu.Unlock()
	if a != 2 || b != 2 {
		t.Errorf("%d and %d threads on the two vCPUs", a, b)
	}
	stop.Store(true)
	m.wait()
}

func TestLoad(t *testing.T) {
	m := newMachine(t, 1)
	u := newFakeUser()
	n := m.NewThread("loop")
	n.SetKicker(u)
	m.start(n, func(t *Thread) {
		for !t.Killed() {
			u.user(t)
		}
	})
	for n.State() != 'R' || n.word.Load()&inUser == 0 {
		time.Sleep(time.Millisecond)
	}
	for range 60 * 100 {
		m.burn(TickPeriod)
	}
	l := m.Load()
	// After one minute at 1: 1-1/e = 0.63; 1-e^(-1/5) = 0.18; 1-e^(-1/15) = 0.065.
	for i, want := range []float64{0.63, 0.18, 0.065} {
		if got := float64(l[i]) / loadOne; got < want-0.03 || got > want+0.03 {
			t.Errorf("load %d: %.3f, want %.3f", i, got, want)
		}
	}
	n.Kill()
	m.wait()
	m.burn(60e9) // idle: no tick comes, it falls all the same
	if got := float64(m.Load()[0]) / loadOne; got < 0.15 || got > 0.30 {
		t.Errorf("after an idle minute: %.3f, want 0.23", got)
	}
	if c := m.CPUTimes(0); c.Idle < 59e9 || c.User < 59e9 {
		t.Errorf("vCPU: %+v", c)
	}
}

// TestCallbacks: what poll and epoll hang on a queue.
func TestCallbacks(t *testing.T) {
	var q, outer Queue
	var got []Mask
	w := NewWaiter(abi.POLLIN|abi.POLLHUP, nil)
	w.fn = func(m Mask) {
		got = append(got, m)
		outer.Wake(m) // as a nested epoll does
		if m&abi.POLLHUP != 0 {
			q.RemoveInside(w)
		}
	}
	n := 0
	o := NewWaiter(Any, func(Mask) { n++ })
	q.Add(w)
	outer.Add(o)
	q.Wake(abi.POLLOUT)
	q.Wake(abi.POLLIN)
	if q.WakeOne(abi.POLLIN) {
		t.Error("a callback is no sleeper")
	}
	q.SetMask(w, abi.POLLHUP)
	q.Wake(abi.POLLIN)
	q.Wake(abi.POLLHUP)
	q.Wake(abi.POLLHUP)
	if fmt.Sprint(got) != fmt.Sprint([]Mask{abi.POLLIN, abi.POLLIN, abi.POLLHUP}) || n != 3 || !q.Empty() {
		t.Errorf("called with %v, outer %d times", got, n)
	}
	q.Remove(w)
	outer.Remove(o)
	if !outer.Empty() {
		t.Error("not removed")
	}
}

// TestHammerCallbacks adds and removes callbacks while others wake: never two calls at once, and none after Remove.
func TestHammerCallbacks(t *testing.T) {
	var q Queue
	var wg sync.WaitGroup
	var stop atomic.Bool
	var calls atomic.Int64
	for range 3 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for !stop.Load() {
				q.Wake(1)
			}
		}()
	}
	var adders sync.WaitGroup
	for range 3 {
		adders.Add(1)
		go func() {
			defer adders.Done()
			var busy, live atomic.Bool
			w := NewWaiter(1, func(Mask) {
				if !busy.CompareAndSwap(false, true) {
					t.Error("two calls at once")
				}
				if !live.Load() {
					t.Error("called after Remove")
				}
				calls.Add(1)
				busy.Store(false)
			})
			for range 2000 {
				live.Store(true)
				q.Add(w)
				q.Wake(1)
				q.Remove(w)
				live.Store(false)
			}
		}()
	}
	adders.Wait()
	stop.Store(true)
	wg.Wait()
	if calls.Load() == 0 || !q.Empty() {
		t.Errorf("%d calls", calls.Load())
	}
}

func TestTickHook(t *testing.T) {
	m := newMachine(t, 1)
	n := 0
	m.spawn("a", func(t *Thread) {
		t.SetTick(func() { n++ })
		m.burn(5 * TickPeriod)
		t.SetTick(nil)
		m.burn(5 * TickPeriod)
	})
	m.wait()
	if n < 4 || n > 5 {
		t.Errorf("%d ticks", n)
	}
}

func TestNoAllocation(t *testing.T) {
	if slow {
		t.Skip("this build allocates by itself")
	}
	m := newMachine(t, 1)
	var a, b Queue
	var turn, stop atomic.Bool
	m.spawn("partner", func(t *Thread) {
		for !stop.Load() {
			a.Wait(t, Any, clock.Never, func() bool { return turn.Load() || stop.Load() })
			turn.Store(false)
			b.WakeOne(Any)
		}
	})
	m.spawn("measured", func(t *Thread) {
		w := NewWaiter(Any, func(Mask) {})
		a.Add(w)
		var g Gate
		for name, f := range map[string]func(){
			"user":    func() { t.EnterUser(); t.LeaveUser() },
			"yield":   t.Yield,
			"outside": func() { t.Outside(func() {}) },
			"wait":    func() { turn.Store(true); a.Wake(Any); b.Wait(t, Any, 1e18, func() bool { return !turn.Load() }) },
			"expired": func() { t.Sleep(0) },
			"gate":    func() { g.Lock(t); g.Unlock() },
			"tick":    func() { m.burn(TickPeriod) },
		} {
			if n := testing.AllocsPerRun(100, f); n != 0 {
				m.t.Errorf("%s: %v allocations", name, n)
			}
		}
		a.Remove(w)
		stop.Store(true)
		a.Wake(Any)
	})
	m.wait()
}

func BenchmarkUser(b *testing.B) {
	s := New(1, clock.NewVirtual(0))
	done := make(chan bool)
	t := s.NewThread("a")
	t.Start(func() {
		for b.Loop() {
			t.EnterUser()
			t.LeaveUser()
		}
		close(done)
	})
	<-done
}

// BenchmarkPingPong is one round of two threads that wake each other: two switches.
func BenchmarkPingPong(b *testing.B) {
	for _, cpus := range []int{1, 2} {
		b.Run(fmt.Sprint("cpus=", cpus), func(b *testing.B) {
			clk, err := clock.New()
			if err != nil {
				b.Fatal(err)
			}
			defer clk.Close()
			s := New(cpus, clk)
			var q [2]Queue
			var turn atomic.Int32
			var wg sync.WaitGroup
			for i := range int32(2) {
				wg.Add(1)
				t := s.NewThread(fmt.Sprint(i))
				t.Start(func() {
					defer wg.Done()
					for range b.N {
						q[i].Wait(t, Any, clock.Never, func() bool { return turn.Load() == i })
						turn.Store(1 - i)
						q[1-i].WakeOne(Any)
					}
				})
			}
			wg.Wait()
			s.Close()
		})
	}
}

// BenchmarkOutside is a host call that costs nothing.
func BenchmarkOutside(b *testing.B) {
	s := New(1, clock.NewVirtual(0))
	done := make(chan bool)
	t := s.NewThread("a")
	t.Start(func() {
		for b.Loop() {
			t.Outside(func() {})
		}
		close(done)
	})
	<-done
}
