package skas

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"time"

	"goum/stub"

	"golang.org/x/sys/unix"
)

// look is what the watchdog saw of a thread in user mode.
type look struct {
	count   uint64 // its notifications by then
	alarmed bool   // and it was sent an alarm
	cpu     int64  // the CPU time that it had then, in ns
}

// watch kills stubs that burn CPU time without ever answering an alarm. No guest can block one; but code of the stub that a guest
// jumps into can be made to run in a circle (a ucontext that resumes at its own restore), and there an alarm is only noted.
// What counts is the thread's CPU time and not the clock's, and of that no more than can have passed since the last look,
// so that a stopped machine, an attached debugger or a starved host never costs an honest guest its life.
func (p *Pool) watch() {
	timer := time.NewTimer(watchdogPeriod)
	defer timer.Stop()
	seen, period := map[*Thread]look{}, watchdogPeriod
	for {
		select {
		case <-p.closed:
			return
		case <-timer.C:
		}
		p.mu.Lock()
		stubs := make([]*Stub, 0, len(p.live))
		for s := range p.live {
			stubs = append(stubs, s)
		}
		p.mu.Unlock()
		now, hurry := map[*Thread]look{}, false
		for _, s := range stubs {
			hurry = p.inspect(s, period, seen, now) || hurry
		}
		if !p.hugePages && p.stray(stubs) > strayMemory {
			p.findStray(stubs)
		}
		if seen, period = now, watchdogPeriod; hurry {
			period = watchdogHurry
		}
		timer.Reset(period)
	}
}

// inspect looks at s, period after the last look, and says whether a thread of it owes an answer.
func (p *Pool) inspect(s *Stub, period time.Duration, seen, now map[*Thread]look) (hurry bool) {
	s.mu.Lock()
	threads := append([]*Thread(nil), s.threads...)
	known, missing := 0, s.promised && s.cloning.tid.Load() == 0
	for _, t := range threads {
		if t.tid.Load() != 0 {
			known++
		}
	}
	if missing {
		s.looks++
	}
	looks := s.looks
	s.mu.Unlock()
	if missing {
		if n, ok := hostThreads(s.pid); ok && n <= known || looks > blindLooks {
			p.bite(s, "a thread that it says it made does not exist")
			return false
		}
	}
	if period == watchdogPeriod {
		s.late = max(0, s.late-watchdogDecay)
	}
	limit := watchdogLimit.Nanoseconds()
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
		cpu, own, ok := t.cpu()
		if !ok {
			continue
		}
		if last.alarmed {
			s.late += min(cpu-last.cpu, period.Nanoseconds())
		} else {
			t.alarm()
		}
		if !own {
			limit += watchdogLimit.Nanoseconds() // others of its process may have burnt this
		}
		now[t] = look{count: count, alarmed: true, cpu: cpu}
		hurry = true
	}
	if s.late > limit {
		p.bite(s, "it burns CPU time and answers no alarm")
	}
	return hurry
}

func (p *Pool) bite(s *Stub, why string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.dead.Load() {
		p.watchdog.Add(1)
		s.verdict = why
		s.killLocked()
	}
}

// cpu is the CPU time of the thread, in ns. Where the host hides that (/proc with hidepid) it is its process's: own is false.
func (t *Thread) cpu() (ns int64, own, ok bool) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/schedstat", t.stub.pid, t.tid.Load()))
	if err == nil {
		if f := bytes.Fields(b); len(f) > 0 {
			if ns, err = strconv.ParseInt(string(f[0]), 10, 64); err == nil {
				return ns, true, true
			}
		}
	}
	ns, ok = cpuTime(t.stub.pid)
	return ns, false, ok
}

// hostThreads is how many threads process pid has.
func hostThreads(pid int) (int, bool) {
	var st unix.Stat_t
	if unix.Stat(fmt.Sprintf("/proc/%d/task", pid), &st) != nil {
		return 0, false
	}
	return int(st.Nlink) - 2, true
}

// stray is how many bytes of the control memory are in use that no slot of a thread of stubs accounts for.
func (p *Pool) stray(stubs []*Stub) int64 {
	slots := int64(1) // the zygote's
	for _, s := range stubs {
		s.mu.Lock()
		slots += int64(s.slots)
		s.mu.Unlock()
	}
	var st unix.Stat_t
	if unix.Fstat(p.controlFd, &st) != nil {
		return 0
	}
	return st.Blocks*512 - slots*stub.SlotSize
}

// findStray kills the stubs that have written to slots that they have no threads for: a few thousand of them could fill the host's
// memory with that, beyond all that the guest was given.
func (p *Pool) findStray(stubs []*Stub) {
	const seekData = 3
	for _, s := range stubs {
		s.mu.Lock()
		slots := s.slots
		s.mu.Unlock()
		end := int64(s.slice+1) * stub.SliceSize
		at, err := unix.Seek(p.controlFd, int64(s.slice*stub.SliceSize+slots*stub.SlotSize), seekData)
		s.mu.Lock()
		grown := s.slots != slots
		s.mu.Unlock()
		if err == nil && at < end && !grown {
			p.bite(s, "it fills control memory that it has no threads for")
		}
	}
}
