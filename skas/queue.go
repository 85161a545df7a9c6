package skas

import "goum/stub"

// begin takes the next operations of the Space into t's private queue and its slot, and returns the flags of the answer that has
// them performed. t.nops is 0 when none wait; then whatever another thread had to perform is proven, too.
func (t *Thread) begin() (flags uint64) {
	s := t.stub
	if t.nops > 0 { // the rest of a batch that ended early
		copy(t.slot.Ops[:], t.ops[:t.nops])
		return stub.AnswerReport
	}
	s.acquire(t)
	t.nops, t.seq = s.space.NextOps(t.ops[:])
	t.head = 0
	if t.nops == 0 {
		s.release(t)
		return 0
	}
	copy(t.slot.Ops[:], t.ops[:t.nops])
	if t.nops == len(t.ops) || s.crowded() {
		// More may wait; or another thread, which is likely to have some of its own soon, would have to interrupt this one to
		// prove the last call.
		return stub.AnswerReport
	}
	return 0
}

// settle ends t's batch at the report n: all its calls have returned. Where one failed, the stub has left out those behind it: if
// the monitor refused it, the rest is asked for again; if the host did, the Space begins anew. False: the stub lies.
func (t *Thread) settle(n *notification) bool {
	s, failed := t.stub, false
	if t.nops > 0 {
		// Only a hint, since the stub writes it. One that hides a failure keeps a mapping: see Space.Rebuild for what bounds that.
		failed = t.slot.Failed != 0
	}
	lie := ""
	switch batch := n.Args[0] == stub.ReportBatch; {
	case batch && !t.asked && !failed:
		lie = "a report of a batch that was not asked for"
	case !batch && (t.asked || failed):
		lie = "another report than that of its batch"
	case !failed && t.head < t.nops:
		lie = "operations left out"
	case !failed && t.refused:
		lie = "an operation that was refused counts as done"
	case failed && t.head == 0:
		lie = "an operation failed that was not tried"
	}
	if lie != "" {
		s.condemn(lie)
		return false
	}
	switch {
	case t.nops == 0:
		return true
	case !failed:
		t.retries = 0
	case t.refused:
		t.slot.Failed, t.refused = 0, false
		t.nops = copy(t.ops[:], t.ops[t.head:t.nops])
		if t.head = 0; t.nops > 0 {
			return true
		}
	case t.ops[0].Kind == stub.OpClone:
		t.slot.Failed = 0
		t.failed = true
	default:
		t.slot.Failed = 0
		if t.retries++; t.retries > maxRetries {
			s.condemn("the host refuses its operations")
			return false
		}
		s.space.Rebuild() // before Proven: from here on, nothing is released before that is done
	}
	s.pool.ops.Add(uint64(t.head))
	t.nops, t.head = 0, 0
	if t.seq != 0 {
		s.space.Proven(t.seq)
		t.seq = 0
	}
	s.release(t)
	return true
}

// serve answers a call that is no report: CONTINUE if it is the head of the queue, to the last bit, and the page table still
// grants it; else EPERM. False: the call cannot be an honest stub's.
func (t *Thread) serve(n *notification) bool {
	if t.head < t.nops && !t.refused && t.matches(n, &t.ops[t.head]) {
		op := &t.ops[t.head]
		t.head++
		if op.Kind == stub.OpClone || t.stub.space.Allows(op) {
			return t.respond(n.ID, flagContinue, 0)
		}
		t.refused = true // another thread changed the page table; its own operations follow
		return t.respond(n.ID, 0, -ePerm)
	}
	if t.cloneAgain(n) {
		return t.respond(n.ID, flagContinue, 0)
	}
	t.stub.pool.denied.Add(1)
	t.respond(n.ID, 0, -ePerm)
	t.stub.condemn("a call that nobody asked for")
	return false
}

// cloneAgain says whether n is the clone that was granted last, once more: while an alarm is pending the host starts no thread but
// has the call made again (ERESTARTNOINTR). Nobody gains by lying: a second thread has no owner, and the stub dies of its report.
func (t *Thread) cloneAgain(n *notification) bool {
	if t.head == 0 || t.head != t.nops {
		return false
	}
	op := &t.ops[t.head-1]
	if op.Kind != stub.OpClone || !t.matches(n, op) {
		return false
	}
	s := t.stub
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cloning != nil && s.cloning.tid.Load() == 0
}

const ePerm = 1

func (t *Thread) respond(id uint64, flags uint32, errno int32) bool {
	t.answer = response{ID: id, Flags: flags, Error: errno}
	return t.deliver()
}

// matches compares a call with an operation: number, site, and every argument that the host looks at.
func (t *Thread) matches(n *notification, op *stub.Op) bool {
	sites := &t.stub.pool.sites
	switch op.Kind {
	case stub.OpMap:
		return n.IP == sites.Map && n.Nr == stub.MapNr && n.Args == [6]uint64{op.Addr, op.Len, uint64(op.Prot), stub.MapFlags, stub.PhysmemFd, op.Off}
	case stub.OpUnmap:
		return n.IP == sites.Unmap && n.Nr == stub.UnmapNr && n.Args[0] == op.Addr && n.Args[1] == op.Len
	case stub.OpClone:
		return n.IP == sites.Clone && n.Nr == stub.CloneNr && n.Args[0] == stub.CloneFlags && n.Args[1] == op.Addr
	}
	return false
}

// acquire makes t the only thread of the stub that performs operations. Another that has begun a batch and gone on to user mode
// is interrupted: its next report proves that its last call has returned. A stub with one thread needs none of this.
func (s *Stub) acquire(t *Thread) {
	if !s.shared.Load() {
		return
	}
	s.mu.Lock()
	for s.batch != nil && s.batch != t && !s.dead.Load() {
		other := s.batch
		s.mu.Unlock()
		other.Kick()
		s.mu.Lock()
		if s.batch == other && !s.dead.Load() {
			s.wake.Wait()
		}
	}
	s.batch = t
	s.mu.Unlock()
}

func (s *Stub) release(t *Thread) {
	if !s.shared.Load() {
		return
	}
	s.mu.Lock()
	if s.batch == t {
		s.batch = nil
		s.wake.Broadcast()
	}
	s.mu.Unlock()
}

// crowded says whether another thread of the stub is in user mode.
func (s *Stub) crowded() bool {
	if !s.shared.Load() {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.threads {
		if t != s.batch && t.user.Load() {
			return true
		}
	}
	return false
}
