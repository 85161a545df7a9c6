package skas

import (
	"sync"
	"sync/atomic"

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

	// atomic
	dead   atomic.Bool // written under mu: the host process is gone, or about to be. Nothing is received or answered any more
	shared atomic.Bool // it has, or had, more than one thread; set by the task of the only one

	// guarded by mu
	mu        lock.Mutex[lock.Ops]
	threads   []*Thread // by slot
	slots     int       // the most threads there ever were: no slot behind them was ever used
	idle      []*Thread // parked, for the next NewThread
	cloning   *Thread   // being made: one at a time, so that the first notification of an unknown tid tells whose it is
	promised  bool      // its maker says that the clone has succeeded
	looks     int       // how often the watchdog has seen that since
	receiving bool      // a thread's task sits in the listener and hands the others' notifications on
	batch     *Thread   // whose operations are being performed, or may be in their last call; only if shared
	wake      sync.Cond // batch or cloning changed, or the stub died
	verdict   string    // why it was killed
	retired   bool
	reaped    bool // the pid and the tids mean nothing any more, the descriptors are closed

	// only the watchdog
	late int64 // CPU time that its threads have burnt since an alarm, in ns; it decays
}

// First returns the thread that a stub starts with.
func (s *Stub) First() *Thread { return s.threads[0] }

// Retire ends the stub: its address space has no more threads, and none of its Threads may be used any more. It does not wait;
// Space.Detached follows when the host process is gone. A second call does nothing.
func (s *Stub) Retire() {
	s.mu.Lock()
	again := s.retired
	s.retired = true
	s.killLocked()
	s.mu.Unlock()
	if !again {
		s.pool.dying <- s
	}
}

// Verdict says why goum itself killed the stub, in a few words; empty if it did not.
func (s *Stub) Verdict() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.verdict
}

// condemn kills a stub that did what no honest one does.
func (s *Stub) condemn(why string) {
	s.mu.Lock()
	s.condemnLocked(why)
	s.mu.Unlock()
}

func (s *Stub) condemnLocked(why string) {
	if s.verdict == "" {
		s.verdict = why
		s.pool.killed.Add(1)
	}
	s.killLocked()
}

func (s *Stub) kill() {
	s.mu.Lock()
	s.killLocked()
	s.mu.Unlock()
}

// killLocked ends the host process, and wakes all who wait for one of its threads: they need not see it die. s.mu is held, so
// that the pidfd is the stub's own.
func (s *Stub) killLocked() {
	if !s.reaped {
		unix.PidfdSendSignal(s.pidfd, unix.SIGKILL, nil, 0)
	}
	s.gone()
}

// gone notes that the host process is dead, and wakes all who wait for one of its threads. s.mu is held.
func (s *Stub) gone() {
	s.dead.Store(true)
	for _, t := range s.threads {
		t.nudge()
	}
	s.wake.Broadcast()
}
