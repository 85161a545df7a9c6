package trap

import (
	"sync/atomic"

	"goum/arch/abi"
	"goum/kernel/signal"
	"goum/kernel/task"
	"goum/physmem"
	"goum/sched"
	"goum/sched/clock"
)

// How relief waits.
const (
	reliefReserve = 16   // frames that must be free before somebody tries again
	reliefStep    = 1e6  // ns of the host between two looks: frames come back when host processes end
	reliefDrain   = 1000 // steps for frames in quarantine to come back, before anybody is killed for them
	reliefVictim  = 2000 // steps for a victim to be gone, before the next is killed
	reliefLimit   = 5000 // steps in all
)

// oom is who was chosen when memory ran out.
type oom struct {
	victim atomic.Pointer[task.Memory] // the last one
	kills  atomic.Uint64
}

// Relieve waits until there are free frames, because a process that holds many was killed where that is needed. It is physmem's relief:
// what asks is the thread w, with no lock held. False: w itself is to die, or nobody is left to kill.
//
// The culprit is not who asks for a page when none is left (that may be the shell) but, as on Linux, who holds most. The first
// process is spared as long as there is another.
func (l *Loop) Relieve(sys *task.System, w physmem.Sleeper) bool {
	t, _ := w.(*sched.Thread)
	living, drained := 0, 0 // steps since the last choice: the victim was there, its frames were on their way back
	for range reliefLimit {
		st := sys.Memory.Stats()
		switch v := l.oom.victim.Load(); {
		case t != nil && t.Killed():
			return false
		case st.Free >= reliefReserve:
			return true
		case v != nil && v.Grab():
			// It has not let go of its memory yet.
			v.Drop()
			if living++; living > reliefVictim && l.oom.victim.CompareAndSwap(v, nil) {
				living, drained = 0, 0
			}
		case st.Quarantined > 0 && drained < reliefDrain:
			drained++
		default:
			if !l.choose(sys, v) {
				return false
			}
			living, drained = 0, 0
			continue
		}
		w.Outside(func() { clock.HostPause(reliefStep) })
	}
	return false
}

// choose kills the process that holds most memory, in place of old; false: there is none. Whoever shares the memory goes with it.
func (l *Loop) choose(sys *task.System, old *task.Memory) bool {
	tree := sys.Tree
	first := tree.Init()
	var victim *task.Memory
	var name string
	var most uint64
	for p := tree.Next(1); p != nil; p = tree.Next(p.PID + 1) {
		m := p.Memory()
		if p == first || m == old || !m.Grab() {
			continue
		}
		if u := m.Space.Usage(); u.RSS > most && (first == nil || first.Memory() != m) {
			victim, name, most = m, p.Some().Name(), u.RSS
		}
		m.Drop()
	}
	if victim == nil {
		return false
	}
	if !l.oom.victim.CompareAndSwap(old, victim) {
		return true // somebody else chose meanwhile
	}
	l.oom.kills.Add(1)
	if sys.Log != nil {
		sys.Log("Out of memory: Killed process " + name)
	}
	for p := tree.Next(1); p != nil; p = tree.Next(p.PID + 1) {
		if p != first && p.Memory() == victim {
			info := signal.Kernel(abi.SIGKILL)
			p.Send(&info)
		}
	}
	return true
}

// starved ends t, which needs a page and can have none: the last resort, when Relieve has found nobody else.
func (l *Loop) starved(t *task.Task) {
	if t.Thread.Killed() {
		return
	}
	l.oom.kills.Add(1)
	if log := t.System.Log; log != nil {
		log("Out of memory: Killed process " + t.Name())
	}
	kill(t)
}
