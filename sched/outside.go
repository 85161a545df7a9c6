package sched

import "goum/arch/lock"

// Outside runs f, a host call that may block, without t's vCPU. f must not use t for anything of sched.
//
// If nobody waits for a vCPU t keeps its own until somebody does, or until the next tick: a short call costs two atomic operations.
// When f has returned and the vCPU is gone, t waits for one. Thread is mm.Sleeper by this method.
func (t *Thread) Outside(f func()) {
	lock.AssertNoneHeld("Outside")
	t.word.Or(away)
	// First the mode, then the count: who queues a thread counts it first, then looks at the modes.
	if s := t.s; s.queued.Load() != 0 {
		now := s.clk.Monotonic()
		s.mu.Lock()
		v := t.vcpu
		var a after
		if a.now = now; v.cur.Load() == t && s.snatch(v, now, away) {
			s.fill(v, &a)
		}
		s.mu.Unlock()
		s.finish(&a, nil)
	}
	f()
	if t.word.And(^away)&lost != 0 {
		t.regain()
	}
}
