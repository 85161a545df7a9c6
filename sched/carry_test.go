package sched

import (
	"sync/atomic"
	"testing"

	"goum/sched/clock"
)

// Two threads that hand one vCPU to and fro, while a third makes wake-ups come at any moment: before, while and after they come to rest.
func TestHammerHandOver(t *testing.T) {
	for cpus := 1; cpus <= 3; cpus++ {
		m := newMachine(t, cpus)
		const rounds = 2000
		var ball atomic.Int32
		var done [2]int
		var q [2]Queue
		for i := range int32(2) {
			m.spawn("player", func(t *Thread) {
				for range rounds {
					q[i].Wait(t, Any, clock.Never, func() bool { return ball.Load() == i })
					done[i]++
					ball.Store(1 - i)
					q[1-i].Wake(Any)
				}
			})
		}
		m.spawn("noise", func(t *Thread) {
			for range rounds {
				q[0].Wake(Any)
				t.Yield()
				q[1].Wake(Any)
			}
		})
		m.wait()
		if done != [2]int{rounds, rounds} {
			t.Errorf("%d vCPUs: %v turns", cpus, done)
		}
	}
}

// A thread that goes on and on must not keep those from running whom it let pass: each is carried exactly once at a time.
func TestCarriedOnce(t *testing.T) {
	m := newMachine(t, 2)
	var running [8]atomic.Int32
	for i := range running {
		m.spawn("thread", func(t *Thread) {
			for range 2000 {
				if n := running[i].Add(1); n != 1 {
					m.t.Errorf("thread %d runs %d times at once", i, n)
				}
				running[i].Add(-1)
				t.Outside(func() {})
				t.Yield()
			}
		})
	}
	m.wait()
}

func BenchmarkHandOver(b *testing.B) {
	s := New(1, clock.NewVirtual(0))
	defer s.Close()
	var ball atomic.Int32
	var q [2]Queue
	for i := range int32(2) {
		s.NewThread("player").Start(func() {})
		t := s.NewThread("player")
		t.Start(func() {
			for range b.N {
				q[i].Wait(t, Any, clock.Never, func() bool { return ball.Load() == i })
				ball.Store(1 - i)
				q[1-i].Wake(Any)
			}
		})
	}
	s.Drain()
}
