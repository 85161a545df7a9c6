package skas

import "golang.org/x/sys/unix"

// pump receives notifications until one of want's has arrived, and returns it. One task at a time sits in the listener, and
// hands the others what is theirs; when it has its own, one of those that wait takes over. Each thread has one task that waits
// for it. False: the stub is dead. The result is valid until want's next call.
func (s *Stub) pump(want *Thread) (*notification, bool) {
	s.mu.Lock()
	for {
		switch {
		case s.dead.Load():
			s.mu.Unlock()
			return nil, false
		case want.arrived:
			want.arrived = false
			want.current = want.inbox
			if !s.receiving {
				s.handOver(want) // also when this task was to take over itself, and now need not
			}
			s.mu.Unlock()
			return &want.current, true
		case s.receiving:
			want.waiting = true
			s.mu.Unlock()
			<-want.pulse
			s.mu.Lock()
			want.waiting = false
			continue
		}
		s.receiving = true
		s.mu.Unlock()
		ok := s.next(&want.incoming)
		s.mu.Lock()
		s.receiving = false
		if !ok {
			s.gone()
			continue
		}
		s.dispatch(want)
	}
}

// dispatch puts the notification that want's task received into the inbox of the thread it came from. s.mu is held.
func (s *Stub) dispatch(want *Thread) {
	owner := s.owner(int32(want.incoming.Pid), want)
	switch {
	case owner == nil:
		s.condemnLocked("a thread that nobody asked for")
		return
	case owner.arrived:
		s.condemnLocked("two calls of a thread at once")
		return
	}
	owner.inbox = want.incoming
	owner.arrived = true
	owner.count.Add(1)
	if owner != want {
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

// handOver has another task receive, if one waits. s.mu is held.
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
		return fds[0].Revents&unix.POLLIN != 0
	}
}

// exited says whether no thread of the stub will run again: the process has ended, or (a hang-up of the listener) its threads
// have all left their filter on the way out, while it still takes its memory apart.
func (s *Stub) exited() bool {
	fds := [2]unix.PollFd{{Fd: int32(s.pidfd), Events: unix.POLLIN}, {Fd: int32(s.listener)}}
	n, _ := unix.Poll(fds[:], 0)
	return n > 0
}

// awaitExit waits until the process is a zombie: all its threads are gone, its pid is still its own.
func (s *Stub) awaitExit() {
	fds := [1]unix.PollFd{{Fd: int32(s.pidfd), Events: unix.POLLIN}}
	for {
		if n, _ := unix.Poll(fds[:], -1); n > 0 {
			return
		}
	}
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
	if tid := t.tid.Load(); tid != 0 && !s.reaped && !t.deaf.Load() { // until then the pid, and with it the tid, is nobody else's
		unix.Tgkill(s.pid, int(tid), unix.SIGALRM)
	}
}

// deliver sends t.answer. False: the stub is dead. Only death takes a thread out of a call that was received.
func (t *Thread) deliver() bool {
	s := t.stub
	if !s.dead.Load() && send(s.listener, &t.answer) == 0 {
		return true
	}
	s.kill()
	return false
}
