package event

import (
	"runtime"
	"sync"
	"weak"

	"goum/kernel/task"
)

// System is what this package keeps for a machine.
type System struct {
	Timers    *Timers
	Inotifies Inotifies
}

// systems finds a task's System; a machine that is gone leaves nothing behind.
var systems sync.Map // weak.Pointer[task.System] to *System

// Wire makes the tasks of s have pidfds and what else this package has. boot calls it once, before the first task.
func Wire(s *task.System) *System {
	ev := &System{Timers: NewTimers(s.Clock)}
	key := weak.Make(s)
	systems.Store(key, ev)
	runtime.AddCleanup(s, func(key weak.Pointer[task.System]) { systems.Delete(key) }, key)
	s.PidFD = reservePidFD
	s.WaitFD = waitFD
	return ev
}

// Of is the System of t's machine, nil if that was not wired.
func Of(t *task.Task) *System {
	ev, ok := systems.Load(weak.Make(t.System))
	if !ok {
		return nil
	}
	return ev.(*System)
}
