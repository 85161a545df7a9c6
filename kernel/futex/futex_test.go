package futex

import (
	"encoding/binary"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"goum/arch/abi"
	"goum/mm"
	"goum/physmem"
	"goum/sched"
	"goum/sched/clock"
)

// machine is threads that share one address space, on a virtual clock.
type machine struct {
	*Table
	t     *testing.T
	s     *sched.Scheduler
	clk   *clock.Clock
	space *mm.Space
	base  uint64 // a writable page
	wg    sync.WaitGroup
	tid   int32
}

func newMachine(t *testing.T, cpus int) *machine {
	mem, err := physmem.New(4 << 20)
	if err != nil {
		t.Fatal(err)
	}
	clk := clock.NewVirtual(1e18)
	m := &machine{Table: New(clk), t: t, s: sched.New(cpus, clk), clk: clk, space: mm.NewSpace(mem, mm.NoLimits), tid: 100}
	base, e := m.space.Map(0, 8<<12, mm.MapOpts{Prot: abi.PROT_READ | abi.PROT_WRITE, Flags: abi.MAP_PRIVATE | abi.MAP_ANONYMOUS})
	if e != 0 {
		t.Fatal(e)
	}
	m.base = base
	t.Cleanup(func() {
		m.s.Close()
		for i := range m.buckets {
			if b := &m.buckets[i]; b.head != nil || b.waiting.Load() != 0 {
				t.Errorf("bucket %d: %d waiting", i, b.waiting.Load())
			}
		}
		if m.piWaiters.Load() != 0 || m.realtime.Load() != 0 {
			t.Errorf("%d waiters for locks, %d for the wall clock", m.piWaiters.Load(), m.realtime.Load())
		}
		m.space.Release()
		mem.Close()
	})
	return m
}

func (m *machine) spawn(f func(c Caller)) Caller {
	m.wg.Add(1)
	m.tid++
	th := m.s.NewThread("t")
	c := Caller{Thread: th, User: mm.User{Space: m.space, Sleep: th}, TID: m.tid}
	th.Start(func() {
		defer m.wg.Done()
		f(c)
	})
	return c
}

func (m *machine) wait() {
	m.t.Helper()
	done := make(chan bool)
	go func() { m.wg.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		m.t.Fatal("the threads do not end")
	}
	for m.s.Threads() != 0 {
		time.Sleep(time.Millisecond)
	}
}

// run runs f as a thread, and waits for it and those that it spawned.
func (m *machine) run(f func(c Caller)) {
	m.t.Helper()
	m.spawn(f)
	m.wait()
}

// asleep lets others run until n of them wait for a futex.
func (m *machine) asleep(c Caller, n int) {
	for {
		sum := 0
		for i := range m.buckets {
			b := &m.buckets[i]
			b.mu.Lock()
			for w := b.head; w != nil; w = w.next {
				sum++
			}
			b.mu.Unlock()
		}
		if sum == n && m.s.Running() == 1 {
			return
		}
		c.Thread.Yield()
	}
}

func (m *machine) call(c Caller, addr uint64, op, val uint32, timeout, addr2 uint64, val3 uint32) (int, abi.Errno) {
	r, e, _ := m.Call(c, addr, op, val, timeout, addr2, val3)
	return int(int64(r)), e
}

func (m *machine) timespec(c Caller, at uint64, ns int64) uint64 {
	var b [16]byte
	ts := abi.NsToTimespec(ns)
	binary.LittleEndian.PutUint64(b[:], uint64(ts.Sec))
	binary.LittleEndian.PutUint64(b[8:], uint64(ts.Nsec))
	if e := c.User.CopyOut(at, b[:]); e != 0 {
		m.t.Errorf("CopyOut: %v", e)
	}
	return at
}

const private = abi.FUTEX_PRIVATE_FLAG

func TestErrors(t *testing.T) {
	m := newMachine(t, 1)
	m.run(func(c Caller) {
		a := m.base
		bad := uint64(mm.TaskSize)
		none := a + 1<<30 // no mapping
		ts := m.timespec(c, a+64, 0)
		badTS := a + 96
		c.User.Store64(badTS+8, 1e9)
		c.User.Store32(a, 7)
		for _, x := range []struct {
			what           string
			addr           uint64
			op, val        uint32
			timeout, addr2 uint64
			val3           uint32
			want           abi.Errno
		}{
			{"the word differs", a, abi.FUTEX_WAIT, 6, 0, 0, 0, abi.EAGAIN},
			{"alignment", a + 2, abi.FUTEX_WAIT, 7, 0, 0, 0, abi.EINVAL},
			{"no user address", bad, abi.FUTEX_WAIT, 7, 0, 0, 0, abi.EFAULT},
			{"nothing there", none, abi.FUTEX_WAIT | private, 7, 0, 0, 0, abi.EFAULT},
			{"nothing there, shared", none, abi.FUTEX_WAKE, 7, 0, 0, 0, abi.EFAULT},
			{"a private wake looks at nothing", none, abi.FUTEX_WAKE | private, 1, 0, 0, 0, 0},
			{"timeout unreadable, first of all", a + 2, abi.FUTEX_WAIT, 7, none, 0, 0, abi.EFAULT},
			{"timeout invalid", a + 2, abi.FUTEX_WAIT, 7, badTS, 0, 0, abi.EINVAL},
			{"timeout 0", a, abi.FUTEX_WAIT, 7, ts, 0, 0, abi.ETIMEDOUT},
			{"timeout long ago", a, abi.FUTEX_WAIT_BITSET | abi.FUTEX_CLOCK_REALTIME, 7, ts, 0, 1, abi.ETIMEDOUT},
			{"no bits", a, abi.FUTEX_WAIT_BITSET, 7, 0, 0, 0, abi.EINVAL},
			{"no bits to wake", a, abi.FUTEX_WAKE_BITSET, 1, 0, 0, 0, abi.EINVAL},
			{"realtime with WAIT", a, abi.FUTEX_WAIT | abi.FUTEX_CLOCK_REALTIME, 7, ts, 0, 0, abi.ENOSYS},
			{"realtime with WAKE", a, abi.FUTEX_WAKE | abi.FUTEX_CLOCK_REALTIME, 7, 0, 0, 0, abi.ENOSYS},
			{"FUTEX_FD", a, abi.FUTEX_FD, 0, 0, 0, 0, abi.ENOSYS},
			{"unknown", a, 99, 0, 0, 0, 0, abi.ENOSYS},
			{"negative requeue", a, abi.FUTEX_REQUEUE, 0, 0xffffffff, a + 4, 0, abi.EINVAL},
			{"negative wake", a, abi.FUTEX_CMP_REQUEUE, 0x80000000, 1, a + 4, 7, abi.EINVAL},
			{"requeue compares", a, abi.FUTEX_CMP_REQUEUE, 1, 1, a + 4, 8, abi.EAGAIN},
			{"requeue to nowhere", a, abi.FUTEX_CMP_REQUEUE, 1, 1, a + 5, 7, abi.EINVAL},
			{"wake_op to nowhere", a, abi.FUTEX_WAKE_OP | private, 1, 1, none, 0, abi.EFAULT},
			{"wake_op unknown", a, abi.FUTEX_WAKE_OP, 1, 1, a + 4, 7 << 28, abi.ENOSYS},
			{"wake_op unknown comparison", a, abi.FUTEX_WAKE_OP, 1, 1, a + 4, 6 << 24, abi.ENOSYS},
			{"not my lock", a, abi.FUTEX_UNLOCK_PI, 0, 0, 0, 0, abi.EPERM},
			{"requeue_pi", a, abi.FUTEX_CMP_REQUEUE_PI, 1, 1, a + 4, 7, abi.ENOSYS},
		} {
			if _, e := m.call(c, x.addr, x.op, x.val, x.timeout, x.addr2, x.val3); e != x.want {
				t.Errorf("%s: %v, want %v", x.what, e, x.want)
			}
		}
	})
}

func TestWakeCounts(t *testing.T) {
	m := newMachine(t, 1)
	var woken [6]atomic.Bool
	m.run(func(c Caller) {
		for i := range woken {
			m.spawn(func(c Caller) {
				if _, e := m.call(c, m.base, abi.FUTEX_WAIT_BITSET|private, 0, 0, 0, 1<<i); e != 0 {
					t.Errorf("waiter %d: %v", i, e)
				}
				woken[i].Store(true)
			})
		}
		m.asleep(c, 6)
		check := func(what string, op, n, bits uint32, want int) {
			if got, e := m.call(c, m.base, op|private, n, 0, 0, bits); got != want || e != 0 {
				t.Errorf("%s: %d, %v, want %d", what, got, e, want)
			}
		}
		check("bits that nobody has", abi.FUTEX_WAKE_BITSET, 100, 1<<20, 0)
		if got, _ := m.call(c, m.base, abi.FUTEX_WAKE, 1, 0, 0, 0); got != 1 { // a private mapping has one key either way, as in Linux
			t.Errorf("shared wake of a private page: %d", got)
		}
		check("bits of the fourth", abi.FUTEX_WAKE_BITSET, 100, 1<<3, 1)
		check("none is one", abi.FUTEX_WAKE, 0, 0, 1)
		check("two", abi.FUTEX_WAKE, 2, 0, 2)
		for woken[4].Load() == false {
			c.Thread.Yield()
		}
		for i, want := range []bool{true, true, true, true, true, false} {
			if woken[i].Load() != want {
				t.Errorf("waiter %d: %v", i, !want)
			}
		}
		check("the rest", abi.FUTEX_WAKE, 100, 0, 1)
		check("nobody", abi.FUTEX_WAKE, 100, 0, 0)
	})
}

func TestRequeue(t *testing.T) {
	m := newMachine(t, 1)
	m.run(func(c Caller) {
		a, b := m.base, m.base+256
		for range 5 {
			m.spawn(func(c Caller) {
				if _, e := m.call(c, a, abi.FUTEX_WAIT|private, 0, 0, 0, 0); e != 0 {
					t.Errorf("wait: %v", e)
				}
			})
		}
		m.asleep(c, 5)
		if n, e := m.call(c, a, abi.FUTEX_CMP_REQUEUE|private, 1, 2, b, 0); n != 3 || e != 0 {
			t.Errorf("requeue: %d, %v", n, e)
		}
		for _, x := range []struct {
			addr uint64
			want int
		}{{b, 2}, {b, 0}, {a, 2}, {a, 0}} {
			if n, e := m.call(c, x.addr, abi.FUTEX_WAKE|private, 100, 0, 0, 0); n != x.want || e != 0 {
				t.Errorf("wake: %d, %v, want %d", n, e, x.want)
			}
		}
	})
}

func TestWakeOp(t *testing.T) {
	m := newMachine(t, 1)
	m.run(func(c Caller) {
		a, b := m.base, m.base+4096
		enc := func(op, cmp, oparg, cmparg uint32) uint32 { return op<<28 | cmp<<24 | oparg&0xfff<<12 | cmparg&0xfff }
		for _, x := range []struct {
			what       string
			before, op uint32
			after      uint32
			want       int
		}{
			{"set, equal", 5, enc(abi.FUTEX_OP_SET, abi.FUTEX_OP_CMP_EQ, 9, 5), 9, 2},
			{"add, not equal", 5, enc(abi.FUTEX_OP_ADD, abi.FUTEX_OP_CMP_NE, 3, 5), 8, 1},
			{"a negative argument", 5, enc(abi.FUTEX_OP_ADD, abi.FUTEX_OP_CMP_GT, 0xfff, 0xfff), 4, 2},
			{"or a shifted bit", 1, enc(abi.FUTEX_OP_OR|abi.FUTEX_OP_OPARG_SHIFT, abi.FUTEX_OP_CMP_LT, 31, 0), 1<<31 | 1, 1},
			{"and not, signed less", 0xffffffff, enc(abi.FUTEX_OP_ANDN, abi.FUTEX_OP_CMP_LT, 0xf, 0), 0xfffffff0, 2},
			{"xor, at least", 6, enc(abi.FUTEX_OP_XOR, abi.FUTEX_OP_CMP_GE, 2, 6), 4, 2},
			{"at most", 6, enc(abi.FUTEX_OP_XOR, abi.FUTEX_OP_CMP_LE, 2, 5), 4, 1},
		} {
			c.User.Store32(b, x.before)
			for _, at := range []uint64{a, b} {
				v, _ := c.User.Load32(at)
				m.spawn(func(c Caller) { m.call(c, at, abi.FUTEX_WAIT, v, 0, 0, 0) })
			}
			m.asleep(c, 2)
			n, e := m.call(c, a, abi.FUTEX_WAKE_OP, 10, 10, b, x.op)
			if v, _ := c.User.Load32(b); n != x.want || e != 0 || v != x.after {
				t.Errorf("%s: %d, %v, word %#x; want %d, %#x", x.what, n, e, v, x.want, x.after)
			}
			m.call(c, b, abi.FUTEX_WAKE, 10, 0, 0, 0)
			m.asleep(c, 0)
		}
	})
}

// TestTimeout waits on all three kinds of clock, and has the wall clock set meanwhile.
func TestTimeout(t *testing.T) {
	m := newMachine(t, 1)
	var done atomic.Int32
	now, real := int64(m.clk.Monotonic()), m.clk.Realtime()
	m.run(func(c Caller) {
		for i, x := range []struct {
			op uint32
			at int64
		}{
			{abi.FUTEX_WAIT, 50e6},
			{abi.FUTEX_WAIT_BITSET, now + 100e6},
			{abi.FUTEX_WAIT_BITSET | abi.FUTEX_CLOCK_REALTIME, real + 150e6},
			{abi.FUTEX_LOCK_PI, real + 3600e9 + 200e6}, // an hour too late, but for what happens below
		} {
			at := m.timespec(c, m.base+64+uint64(i)*16, x.at)
			word := m.base + 1024 + uint64(i)*4
			if x.op == abi.FUTEX_LOCK_PI {
				c.User.Store32(word, 1)
			}
			m.spawn(func(c Caller) {
				if _, e := m.call(c, word, x.op|private, 0, at, 0, 1); e != abi.ETIMEDOUT {
					t.Errorf("%d: %v", i, e)
				}
				done.Add(1)
			})
		}
		m.asleep(c, 4)
		for i := range int32(3) {
			if done.Load() != i {
				t.Errorf("%d done after %d ms", done.Load(), i*50)
			}
			m.clk.Advance(50e6)
			m.asleep(c, 3-int(i))
		}
		m.clk.Advance(100e6)
		m.asleep(c, 1)
		if e := m.clk.SetRealtime(m.clk.Realtime() + 3600e9); e != 0 {
			t.Errorf("SetRealtime: %v", e)
		}
		m.ClockSet()
		m.asleep(c, 0)
	})
	if done.Load() != 4 {
		t.Errorf("%d done", done.Load())
	}
}

func TestInterrupt(t *testing.T) {
	m := newMachine(t, 1)
	m.run(func(c Caller) {
		ts := m.timespec(c, m.base+64, 1e9)
		v := m.spawn(func(c Caller) {
			r, e, again := m.Call(c, m.base, abi.FUTEX_WAIT, 0, 0, 0, 0)
			if e != abi.ERESTARTSYS || again != nil {
				t.Errorf("without a timeout: %d, %v", r, e)
			}
			c.Thread.ClearInterrupt()
			_, e, again = m.Call(c, m.base, abi.FUTEX_WAIT, 0, ts, 0, 0)
			if e != abi.ERESTART_RESTARTBLOCK || again == nil {
				t.Fatalf("with a timeout: %v", e)
			}
			c.Thread.ClearInterrupt()
			// The rest of the second that has begun, not another one.
			if _, e, _ = again(c); e != abi.ETIMEDOUT {
				t.Errorf("restarted: %v", e)
			}
			if now := m.clk.Monotonic(); now != 1e9 {
				t.Errorf("it is %d", now)
			}
			c.User.Store32(m.base, 1)
			if _, e := m.call(c, m.base, abi.FUTEX_LOCK_PI, 0, 0, 0, 0); e != abi.ERESTARTNOINTR {
				t.Errorf("lock: %v", e)
			}
			c.Thread.ClearInterrupt()
		})
		m.asleep(c, 1)
		v.Thread.Interrupt()
		for range 2 {
			c.Thread.Yield()
		}
		m.asleep(c, 1)
		m.clk.Advance(600e6)
		v.Thread.Interrupt()
		for range 2 {
			c.Thread.Yield()
		}
		m.asleep(c, 1)
		m.clk.Advance(400e6)
		for range 2 {
			c.Thread.Yield()
		}
		m.asleep(c, 1)
		v.Thread.Interrupt()
	})
}

func TestPI(t *testing.T) {
	m := newMachine(t, 1)
	m.Alive = func(tid int32) bool { return tid > 100 && tid < 200 }
	m.run(func(c Caller) {
		a := m.base
		lock := func(c Caller, op uint32) abi.Errno { _, e := m.call(c, a, op, 0, 0, 0, 0); return e }
		word := func(want uint32) {
			t.Helper()
			if v, _ := c.User.Load32(a); v != want {
				t.Errorf("word %#x, want %#x", v, want)
			}
		}
		expect := func(what string, e, want abi.Errno) {
			t.Helper()
			if e != want {
				t.Errorf("%s: %v, want %v", what, e, want)
			}
		}
		me := uint32(c.TID)
		expect("free", lock(c, abi.FUTEX_LOCK_PI), 0)
		word(me)
		expect("twice", lock(c, abi.FUTEX_LOCK_PI), abi.EDEADLK)
		expect("unlock", lock(c, abi.FUTEX_UNLOCK_PI), 0)
		word(0)
		c.User.Store32(a, abi.FUTEX_OWNER_DIED)
		expect("a dead owner's", lock(c, abi.FUTEX_TRYLOCK_PI), 0)
		word(me | abi.FUTEX_OWNER_DIED)
		c.User.Store32(a, 5)
		expect("the owner is nobody", lock(c, abi.FUTEX_LOCK_PI), abi.ESRCH)
		word(5)
		c.User.Store32(a, 150)
		expect("try", lock(c, abi.FUTEX_TRYLOCK_PI), abi.EAGAIN)
		c.User.Store32(a, me)
		var order []int32
		for range 2 {
			m.spawn(func(c Caller) {
				expect("wait", lock(c, abi.FUTEX_LOCK_PI2), 0)
				order = append(order, c.TID)
				expect("unlock", lock(c, abi.FUTEX_UNLOCK_PI), 0)
			})
		}
		m.asleep(c, 2)
		word(me | abi.FUTEX_WAITERS)
		if _, e := m.call(c, a, abi.FUTEX_WAKE, 1, 0, 0, 0); e != abi.EINVAL {
			t.Errorf("FUTEX_WAKE of them: %v", e)
		}
		if _, e := m.call(c, a, abi.FUTEX_REQUEUE, 0, 5, a+4, 0); e != abi.EINVAL {
			t.Errorf("FUTEX_REQUEUE of them: %v", e)
		}
		expect("hand over", lock(c, abi.FUTEX_UNLOCK_PI), 0)
		word(uint32(c.TID+1) | abi.FUTEX_WAITERS)
		m.asleep(c, 0)
		word(0)
		if len(order) != 2 || order[0] > order[1] {
			t.Errorf("order %v", order)
		}
		// The owner ends without unlocking.
		c.User.Store32(a, me)
		m.spawn(func(c Caller) { expect("inherited", lock(c, abi.FUTEX_LOCK_PI), 0) })
		m.asleep(c, 1)
		m.ExitRobust(c.User, m.base+1<<30, c.TID)
		m.asleep(c, 0)
		word(uint32(m.tid) | abi.FUTEX_WAITERS | abi.FUTEX_OWNER_DIED)
	})
}

func TestWaitv(t *testing.T) {
	m := newMachine(t, 1)
	const n = abi.FUTEX_WAITV_MAX
	put := func(c Caller, i int, w abi.FutexWaitv) {
		var b [24]byte
		binary.LittleEndian.PutUint64(b[0:], w.Val)
		binary.LittleEndian.PutUint64(b[8:], w.Addr)
		binary.LittleEndian.PutUint32(b[16:], w.Flags)
		binary.LittleEndian.PutUint32(b[20:], w.Reserved)
		c.User.CopyOut(m.base+4096+uint64(i)*24, b[:])
	}
	m.run(func(c Caller) {
		vec := m.base + 4096
		for i := range n {
			put(c, i, abi.FutexWaitv{Addr: m.base + uint64(i)*4, Flags: abi.FUTEX2_SIZE_U32 | abi.FUTEX2_PRIVATE})
		}
		ts := m.timespec(c, m.base+2048, 0)
		for _, x := range []struct {
			what     string
			addr     uint64
			n, flags uint32
			timeout  uint64
			clock    int32
			want     abi.Errno
		}{
			{"flags", vec, 1, 1, 0, 0, abi.EINVAL},
			{"none", vec, 0, 0, 0, 0, abi.EINVAL},
			{"too many", vec, n + 1, 0, 0, 0, abi.EINVAL},
			{"no array", 0, 1, 0, 0, 0, abi.EINVAL},
			{"no clock", vec, 1, 0, ts, 7, abi.EINVAL},
			{"unreadable", vec + 1<<30, 1, 0, 0, 0, abi.EFAULT},
			{"time is up", vec, n, 0, ts, 1, abi.ETIMEDOUT},
		} {
			if _, e := m.CallWaitv(c, x.addr, x.n, x.flags, x.timeout, x.clock); e != x.want {
				t.Errorf("%s: %v, want %v", x.what, e, x.want)
			}
		}
		for what, w := range map[string]abi.FutexWaitv{
			"size":     {Addr: m.base, Flags: 1},
			"numa":     {Addr: m.base, Flags: abi.FUTEX2_SIZE_U32 | abi.FUTEX2_NUMA},
			"reserved": {Addr: m.base, Flags: abi.FUTEX2_SIZE_U32, Reserved: 1},
			"value":    {Addr: m.base, Flags: abi.FUTEX2_SIZE_U32, Val: 1 << 32},
		} {
			put(c, 3, w)
			if _, e := m.CallWaitv(c, vec, 5, 0, 0, 0); e != abi.EINVAL {
				t.Errorf("%s: %v", what, e)
			}
		}
		put(c, 3, abi.FutexWaitv{Addr: m.base + 12, Val: 1, Flags: abi.FUTEX2_SIZE_U32})
		if _, e := m.CallWaitv(c, vec, 5, 0, 0, 0); e != abi.EAGAIN {
			t.Errorf("the fourth differs: %v", e)
		}
		put(c, 3, abi.FutexWaitv{Addr: m.base + 12, Flags: abi.FUTEX2_SIZE_U32})
		m.spawn(func(c Caller) {
			if i, e := m.CallWaitv(c, vec, n, 0, 0, 0); i != 77 || e != 0 {
				t.Errorf("futex_waitv: %d, %v", i, e)
			}
		})
		m.asleep(c, n)
		if k, e := m.CallWake(c, m.base+77*4, 1, 0, abi.FUTEX2_SIZE_U32); k != 0 || e != 0 {
			t.Errorf("futex_wake of none: %d, %v", k, e)
		}
		if k, e := m.CallWake(c, m.base+77*4, 1, 1, abi.FUTEX2_SIZE_U32|abi.FUTEX2_PRIVATE); k != 1 || e != 0 {
			t.Errorf("futex_wake: %d, %v", k, e)
		}
		m.asleep(c, 0)
		m.spawn(func(c Caller) {
			if e := m.CallWait(c, m.base, 0, 4, abi.FUTEX2_SIZE_U32, 0, 0); e != 0 {
				t.Errorf("futex_wait: %v", e)
			}
		})
		m.asleep(c, 1)
		put(c, 0, abi.FutexWaitv{Addr: m.base, Flags: abi.FUTEX2_SIZE_U32})
		if k, e := m.CallRequeue(c, vec, 0, 0, 5); k != 1 || e != 0 {
			t.Errorf("futex_requeue: %d, %v", k, e)
		}
		if k, e := m.CallWake(c, m.base+4, 4, 9, abi.FUTEX2_SIZE_U32); k != 1 || e != 0 {
			t.Errorf("futex_wake at its new place: %d, %v", k, e)
		}
	})
}

func TestRobustList(t *testing.T) {
	m := newMachine(t, 1)
	m.run(func(c Caller) {
		// Three locks of ours, one of another, one that is pending; each entry has its word 8 bytes behind.
		head, at := m.base, func(i int) uint64 { return m.base + 64 + uint64(i)*32 }
		me := uint32(c.TID)
		c.User.Store64(head+8, 8)
		c.User.Store64(head+16, at(4))
		words := []uint32{me, me | abi.FUTEX_WAITERS, 77, me, 0}
		c.User.Store64(head, at(0))
		for i, v := range words {
			next := at(i + 1)
			if i == 3 {
				next = head
			}
			c.User.Store64(at(i), next)
			c.User.Store32(at(i)+8, v)
		}
		var woken atomic.Int32
		for _, i := range []int{1, 4} {
			m.spawn(func(c Caller) {
				if _, e := m.call(c, at(i)+8, abi.FUTEX_WAIT, words[i], 0, 0, 0); e != 0 {
					t.Errorf("%d: %v", i, e)
				}
				woken.Add(1)
			})
		}
		m.asleep(c, 2)
		m.ExitRobust(c.User, head, c.TID)
		m.asleep(c, 0)
		for i, want := range []uint32{abi.FUTEX_OWNER_DIED, abi.FUTEX_OWNER_DIED | abi.FUTEX_WAITERS, 77, abi.FUTEX_OWNER_DIED, 0} {
			if v, _ := c.User.Load32(at(i) + 8); v != want {
				t.Errorf("word %d: %#x, want %#x", i, v, want)
			}
		}
		// What a guest may come up with: circles, pointers to nowhere, odd words.
		c.User.Store64(at(3), at(0))
		m.ExitRobust(c.User, head, c.TID)
		c.User.Store64(at(1), m.base+1<<40)
		m.ExitRobust(c.User, head, c.TID)
		c.User.Store64(head+8, 1)
		m.ExitRobust(c.User, head, c.TID)
		m.ExitRobust(c.User, ^uint64(0), c.TID)
	})
}

// TestHammer is a mutex made of futexes, as libc has it: no wake-up is lost, and two are never inside.
func TestHammer(t *testing.T) {
	for cpus := 1; cpus <= 4; cpus += 3 {
		m := newMachine(t, cpus)
		const threads, rounds = 6, 2000
		inside, total := 0, 0
		var victims []Caller
		m.run(func(c Caller) {
			c.User.Store32(m.base, 0)
			for range threads {
				victims = append(victims, m.spawn(func(c Caller) {
					for i := range rounds {
						if v, _ := c.User.Cas32(m.base, 0, 1); v != 0 {
							for {
								if v == 2 || swap(c, 1, 2, m.base) != 0 {
									if _, e := m.call(c, m.base, abi.FUTEX_WAIT|private, 2, 0, 0, 0); e == abi.ERESTARTSYS {
										c.Thread.ClearInterrupt()
									}
								}
								if v = swap(c, 0, 2, m.base); v == 0 {
									break
								}
							}
						}
						if inside++; inside != 1 {
							t.Error("two are inside")
						}
						if i%3 == 0 {
							c.Thread.Yield()
						}
						total++
						inside--
						for {
							v, _ := c.User.Load32(m.base)
							if w, _ := c.User.Cas32(m.base, v, 0); w == v {
								if v == 2 {
									m.call(c, m.base, abi.FUTEX_WAKE|private, 1, 0, 0, 0)
								}
								break
							}
						}
					}
				}))
			}
			for range 200 {
				for _, v := range victims {
					v.Thread.Interrupt()
				}
				c.Thread.Yield()
			}
		})
		if total != threads*rounds {
			t.Errorf("%d turns", total)
		}
	}
}

func swap(c Caller, old, new uint32, addr uint64) uint32 {
	v, _ := c.User.Cas32(addr, old, new)
	return v
}

// TestHammerRequeue moves waiters back and forth while they are woken, time out and are interrupted.
func TestHammerRequeue(t *testing.T) {
	m := newMachine(t, 3)
	var stop atomic.Bool
	var left atomic.Int32
	m.run(func(c Caller) {
		var victims []Caller
		for i := range 6 {
			left.Add(1)
			victims = append(victims, m.spawn(func(c Caller) {
				for !stop.Load() {
					ts := m.timespec(c, m.base+512+uint64(i)*16, 1e6)
					m.call(c, m.base+uint64(i%2)*256, abi.FUTEX_WAIT, 0, ts, 0, 0)
					c.Thread.ClearInterrupt()
				}
				left.Add(-1)
			}))
		}
		for i := range 6000 {
			a, b := m.base, m.base+256
			if i%2 == 0 {
				a, b = b, a
			}
			m.call(c, a, abi.FUTEX_CMP_REQUEUE, uint32(i%3), 3, b, 0)
			switch i % 16 {
			case 3:
				victims[i%6].Thread.Interrupt()
			case 9:
				m.clk.Advance(2e6)
			}
			c.Thread.Yield()
		}
		stop.Store(true)
		for left.Load() != 0 {
			m.clk.Advance(2e6)
			c.Thread.Yield()
		}
	})
}

func TestNoAllocation(t *testing.T) {
	if slow {
		t.Skip("this build allocates by itself")
	}
	m := newMachine(t, 1)
	m.run(func(c Caller) {
		var stop atomic.Bool
		ts := m.timespec(c, m.base+64, 0)
		m.spawn(func(c Caller) {
			for !stop.Load() {
				m.call(c, m.base, abi.FUTEX_WAIT, 0, 0, 0, 0)
			}
		})
		m.asleep(c, 1)
		for what, f := range map[string]func(){
			"wake and wait": func() {
				m.call(c, m.base, abi.FUTEX_WAKE, 1, 0, 0, 0)
				c.Thread.Yield()
			},
			"timeout":     func() { m.call(c, m.base+8, abi.FUTEX_WAIT|private, 0, ts, 0, 0) },
			"wake nobody": func() { m.call(c, m.base+8, abi.FUTEX_WAKE|private, 1, 0, 0, 0) },
			"lock, unlock": func() {
				m.call(c, m.base+12, abi.FUTEX_LOCK_PI, 0, 0, 0, 0)
				m.call(c, m.base+12, abi.FUTEX_UNLOCK_PI, 0, 0, 0, 0)
			},
		} {
			f()
			if n := testing.AllocsPerRun(100, f); n != 0 {
				t.Errorf("%s: %v allocations", what, n)
			}
		}
		stop.Store(true)
		m.call(c, m.base, abi.FUTEX_WAKE, 1, 0, 0, 0)
	})
}

func FuzzCall(f *testing.F) {
	f.Add(uint64(0), uint32(5), uint32(1), uint64(1), uint64(4), uint32(0x12345678))
	f.Fuzz(func(t *testing.T, off uint64, op, val uint32, timeout, off2 uint64, val3 uint32) {
		m := newMachine(t, 1)
		m.run(func(c Caller) {
			c.Thread.Interrupt() // so that nothing waits
			m.Call(c, m.base+off, op, val, timeout, m.base+off2, val3)
			m.CallWaitv(c, m.base+off, val, 0, 0, 0)
		})
	})
}
