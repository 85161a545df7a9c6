package skas

import "golang.org/x/sys/unix"

// pump receives notifications until one of want's has arrived, and returns it; t is the thread whose task calls. One task at a
// time sits in the listener, and hands the others what is theirs; when it has its own, one of those that wait takes over.
// False: the stub is dead. The result is valid until t's next call.
func (s *Stub) pump(t, want *Thread) (*notification, bool) {
	s.mu.Lock()
	for {
		switch {
		case want.arrived:
			want.arrived = false
			t.current = want.inbox
			if !s.receiving {
				s.handOver(t) // also when t was to take over itself, and now need not
			}
			s.mu.Unlock()
			return &t.current, true
		case s.dead:
			s.mu.Unlock()
			return nil, false
		case s.receiving:
			t.waiting = true
			s.mu.Unlock()
			<-t.pulse
			s.mu.Lock()
			t.waiting = false
			continue
		}
		s.receiving = true
		s.mu.Unlock()
		ok := s.next(&t.incoming)
		s.mu.Lock()
		s.receiving = false
		if !ok {
			s.gone()
			continue
		}
		s.dispatch(t, want)
	}
}

// dispatch puts the notification that t's task received into the inbox of the thread it came from.
func (s *Stub) dispatch(t, want *Thread) {
	owner := s.owner(int32(t.incoming.Pid), want)
	if owner == nil || owner.arrived {
		// A thread that nobody asked for, or two calls of a thread at once: neither can be.
		s.condemn()
		return
	}
	owner.inbox = t.incoming
	owner.arrived = true
	owner.count.Add(1)
	if owner != t {
		owner.nudge()
	}
}

// owner finds the thread with the host's tid. The first notification of a new one tells whose it is.
func (s *Stub) owner(tid int32, likely *Thread) *Thread {
	if likely.tid.Load() == tid {
		return likely
	}
	for _, t := range s.threads {
		if t.tid.Load() == tid {
			return t
		}
	}
	if nt := s.cloning; nt != nil && nt.tid.Load() == 0 {
		nt.tid.Store(tid)
		return nt
	}
	return nil
}

// handOver has another task receive, if one waits.
func (s *Stub) handOver(t *Thread) {
	if len(s.threads) == 1 {
		return
	}
	for _, o := range s.threads {
		if o != t && o.waiting {
			o.nudge()
			return
		}
	}
}

// next receives one notification. False: the stub is dead.
func (s *Stub) next(n *notification) bool {
	for {
		if s.pool.pollFirst && !s.pollListener() {
			return false
		}
		e := receive(s.listener, n)
		if e == 0 {
			return true
		}
		// ENOENT: an alarm came before we received, and the thread will ask again; or nobody is left to ask.
		if s.exited() {
			return false
		}
	}
}

// pollListener waits for a notification or for death, which is false.
func (s *Stub) pollListener() bool {
	fds := [2]unix.PollFd{{Fd: int32(s.listener), Events: unix.POLLIN}, {Fd: int32(s.pidfd), Events: unix.POLLIN}}
	for {
		// EINTR is the runtime's own signal, with nothing in revents: not a time-out.
		if n, err := unix.Poll(fds[:], -1); n <= 0 || err != nil {
			continue
		}
		if fds[0].Revents&unix.POLLIN != 0 {
			return true
		}
		return false
	}
}

// exited says whether the host process has ended.
func (s *Stub) exited() bool {
	fds := [1]unix.PollFd{{Fd: int32(s.pidfd), Events: unix.POLLIN}}
	n, _ := unix.Poll(fds[:], 0)
	return n > 0
}

// Kick brings the thread back from user mode soon; the Run that finds it remembered returns Preempt. It never blocks.
//
// Of several kicks only the first sends an alarm: alarms that come faster than the handler returns would fill its stack.
func (t *Thread) Kick() {
	if !t.kicked.Swap(true) && t.user.Load() {
		t.alarm()
	}
}

// alarm sends SIGALRM to the host thread. It lands in its handler as soon as the thread is in user mode, whatever the guest does.
func (t *Thread) alarm() {
	s := t.stub
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.reaped && !t.deaf.Load() { // until then the pid, and with it the tid, is nobody else's
		unix.Tgkill(s.pid, int(t.tid.Load()), unix.SIGALRM)
	}
}

// deliver sends t.answer. False: the stub is dead.
func (t *Thread) deliver() bool {
	if send(t.stub.listener, &t.answer) == 0 {
		return true
	}
	if !t.stub.exited() {
		return true // an alarm took the thread out of a call that was not received in the killable way: it asks again
	}
	t.stub.mu.Lock()
	t.stub.gone()
	t.stub.mu.Unlock()
	return false
}
