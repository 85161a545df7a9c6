package skas

import (
	"sync"

	"goum/arch/lock"

	"golang.org/x/sys/unix"
)

// Stub is the host process of one address space.
type Stub struct {
	// immutable after start
	pool     *Pool
	slice    int
	pid      int
	pidfd    int
	listener int
	space    Space // set by Take, before anything runs

	// guarded by mu
	mu         lock.Mutex[lock.Ops]
	threads    []*Thread // by slot
	idle       []*Thread // parked, for the next NewThread
	cloning    *Thread   // made, but not yet known by its tid
	cloningFor int       // looks of the watchdog since then
	receiving  bool      // a thread's task sits in the listener and hands the others' notifications on
	batch      *Thread   // whose operations are being performed, or may be in their last call
	wake       sync.Cond // batch changed, or the stub died
	dead       bool      // the host process is gone, or as good as gone
	retired    bool
	reaped     bool // pid and tids mean nothing any more
}

// First returns the thread that a stub starts with.
func (s *Stub) First() *Thread { return s.threads[0] }

// Retire ends the stub: its address space has no more threads. It does not wait; Space.Detached follows when the host process is
// gone. A second call does nothing.
func (s *Stub) Retire() {
	s.mu.Lock()
	again := s.retired
	s.retired = true
	s.mu.Unlock()
	if again {
		return
	}
	s.kill()
	s.pool.dying <- s
}

// kill ends the host process. Whoever waits for one of its threads learns of it from the listener.
func (s *Stub) kill() {
	unix.PidfdSendSignal(s.pidfd, unix.SIGKILL, nil, 0)
}

// condemn kills a stub that did what no honest one does.
func (s *Stub) condemn() {
	s.pool.killed.Add(1)
	s.kill()
}

// gone notes that the host process is dead, and wakes all who wait for one of its threads.
func (s *Stub) gone() {
	s.dead = true
	for _, t := range s.threads {
		t.nudge()
	}
	s.wake.Broadcast()
}
