package skas

import (
	"time"
)

// look is what the watchdog saw of a thread in user mode.
type look struct {
	count   uint64 // its notifications by then
	alarmed bool   // and it was sent an alarm
	cpu     int64  // the CPU time that its stub had then, in ns
}

// watch kills stubs that burn CPU time without ever answering an alarm. It is the net under the design (no guest can block the
// alarm), not a part of it: it counts the stub's CPU time and not the clock's, so that a stopped machine, an attached
// debugger or a starved host never costs an honest guest its life.
func (p *Pool) watch() {
	defer p.done.Done()
	tick := time.NewTicker(watchdogPeriod)
	defer tick.Stop()
	seen := map[*Thread]look{}
	for {
		select {
		case <-p.closed:
			return
		case <-tick.C:
		}
		p.mu.Lock()
		stubs := make([]*Stub, 0, len(p.live))
		for s := range p.live {
			stubs = append(stubs, s)
		}
		p.mu.Unlock()
		now := map[*Thread]look{}
		for _, s := range stubs {
			p.inspect(s, seen, now)
		}
		seen = now
	}
}

func (p *Pool) inspect(s *Stub, seen, now map[*Thread]look) {
	s.mu.Lock()
	threads := append([]*Thread(nil), s.threads...)
	stuck := false
	if s.cloning != nil {
		s.cloningFor++
		stuck = s.cloningFor > cloneLooks
	}
	s.mu.Unlock()
	if stuck {
		p.bite(s)
		return
	}
	// What one thread may burn all that are in user mode may, each.
	limit := int64(0)
	for _, t := range threads {
		if t.user.Load() {
			limit += watchdogLimit.Nanoseconds()
		}
	}
	for _, t := range threads {
		count := t.count.Load()
		if !t.user.Load() {
			continue
		}
		last, ok := seen[t]
		if !ok || last.count != count {
			now[t] = look{count: count}
			continue
		}
		cpu, ok := cpuTime(s.pid)
		switch {
		case !ok:
		case !last.alarmed:
			now[t] = look{count: count, alarmed: true, cpu: cpu}
			t.alarm()
		case cpu-last.cpu > limit:
			p.bite(s)
			return
		default:
			now[t] = last
		}
	}
}

func (p *Pool) bite(s *Stub) {
	p.watchdog.Add(1)
	s.kill()
}
