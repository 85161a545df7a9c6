package task

import (
	"slices"

	"goum/kernel/cred"
	"goum/kernel/signal"
	"goum/sched"
	"goum/sched/clock"
)

// state is how far a process is on its way.
type state uint8

const (
	running state = iota
	zombie        // all threads have ended; the parent has not waited
	reaped        // gone from the tree
)

// Process is a thread group.
type Process struct {
	// Immutable once it runs.
	System *System
	PID    int32
	Limits *cred.Limits
	Start  clock.Time // on the monotonic clock

	// Timers is what package timer keeps for the process; whoever sets it sees to its own locks. ExitTimers is called with no
	// lock held when the process ends or runs another program (exec), for what must not outlive that. All may be nil.
	Timers     any
	ExitTimers func(exec bool)
	LimitCPU   func() // RLIMIT_CPU was set

	sig groupSignals // its own lock

	// Guarded by Tree.
	leader   *Task
	children childList
	prev     *Process // siblings, in the order of birth
	next     *Process
	group    *Group
	session  *Session
	tty      signal.Terminal // controlling terminal
	hangUp   signal.Group    // whom to tell when the session's leader ends after its terminal was hung up
	state    state
	status   int32 // as wait(2) shows it, once all have ended
	reaper   bool  // PR_SET_CHILD_SUBREAPER
	below    bool  // an ancestor was or is a subreaper
	ranExec  bool
	usage    usage // of threads that have ended
	childUse usage // of children that were waited for
	peakRSS  int64 // KiB, of address spaces that are gone

	waits sched.Queue // parents of children wait here: wait(2)
	exits sched.Queue // woken when it becomes a zombie: pidfd's poll
}

// childList is a list of siblings in the order of birth.
type childList struct{ first, last *Process }

func (l *childList) add(p *Process) {
	p.prev, p.next = l.last, nil
	if l.last != nil {
		l.last.next = p
	} else {
		l.first = p
	}
	l.last = p
}

func (l *childList) remove(p *Process) {
	if p.prev != nil {
		p.prev.next = p.next
	} else {
		l.first = p.next
	}
	if p.next != nil {
		p.next.prev = p.prev
	} else {
		l.last = p.prev
	}
	p.prev, p.next = nil, nil
}

// Leader is the thread that the process is known by; it may have ended before others.
func (p *Process) Leader() *Task {
	tr := p.System.Tree
	tr.mu.Lock()
	defer tr.mu.Unlock()
	return p.leader
}

// Threads are the threads that have not begun to end, by age; of a process that has none, its leader.
func (p *Process) Threads() []*Task {
	tr := p.System.Tree
	tr.mu.Lock()
	defer tr.mu.Unlock()
	if len(p.sig.threads) == 0 {
		return []*Task{p.leader}
	}
	return slices.Clone(p.sig.threads)
}

// Some is a thread of the process to ask for what threads share: the leader, or one that has not ended.
func (p *Process) Some() *Task {
	tr := p.System.Tree
	tr.mu.Lock()
	defer tr.mu.Unlock()
	return p.some()
}

func (p *Process) some() *Task {
	if p.leader.dead && len(p.sig.threads) > 0 {
		return p.sig.threads[0]
	}
	return p.leader
}

// Memory is the address space of the process, nil if it has ended.
func (p *Process) Memory() *Memory { return p.Some().Memory() }

// Parent is the process that made it or took it over; nil for the first.
func (p *Process) Parent() *Process {
	tr := p.System.Tree
	tr.mu.Lock()
	defer tr.mu.Unlock()
	return p.parentLocked()
}

func (p *Process) parentLocked() *Process {
	if p.leader.parent == nil {
		return nil
	}
	return p.leader.parent.Process
}

// PPID is getppid(2): 0 for the first process.
func (p *Process) PPID() int32 {
	if q := p.Parent(); q != nil {
		return q.PID
	}
	return 0
}

// Status is what /proc/PID/stat tells of the process besides its threads.
type Status struct {
	PPID, PGID, SID int32
	Terminal        signal.Terminal // nil: none
	Threads         int
	Zombie          bool
	Code            int32 // wait status, of a zombie
	ExitSignal      int32
}

// Status takes it all at one moment.
func (p *Process) Status() Status {
	tr := p.System.Tree
	tr.mu.Lock()
	defer tr.mu.Unlock()
	s := Status{Terminal: p.tty, Threads: max(len(p.sig.threads), 1), Zombie: p.state != running, Code: p.status, ExitSignal: p.leader.exitSignal}
	if q := p.parentLocked(); q != nil {
		s.PPID = q.PID
	}
	if p.group != nil {
		s.PGID, s.SID = p.group.id, p.session.id
	}
	return s
}

// Reaper and SetReaper are PR_GET_CHILD_SUBREAPER and PR_SET_CHILD_SUBREAPER.
func (p *Process) Reaper() bool {
	tr := p.System.Tree
	tr.mu.Lock()
	defer tr.mu.Unlock()
	return p.reaper
}

// SetReaper sets it; see Reaper. Only descendants that are born from now on, or whose ancestors ask too, come to it at once: as
// in Linux all existing ones are marked.
func (p *Process) SetReaper(on bool) {
	tr := p.System.Tree
	tr.mu.Lock()
	defer tr.mu.Unlock()
	p.reaper = on
	if on {
		p.markBelow()
	}
}

// markBelow marks all descendants, without recursion: a guest may nest processes as deep as it has numbers.
func (p *Process) markBelow() {
	todo := []*Process{p}
	for len(todo) > 0 {
		q := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		for c := q.children.first; c != nil; c = c.next {
			if !c.below {
				c.below = true
				todo = append(todo, c)
			}
		}
	}
}

// Children are the numbers of its children, by age.
func (p *Process) Children() (ids []int32) {
	tr := p.System.Tree
	tr.mu.Lock()
	defer tr.mu.Unlock()
	for c := p.children.first; c != nil; c = c.next {
		ids = append(ids, c.PID)
	}
	return ids
}

// Dead says whether all threads have ended; Exits wakes those who wait for that.
func (p *Process) Dead() bool {
	tr := p.System.Tree
	tr.mu.Lock()
	defer tr.mu.Unlock()
	return p.state != running
}

// Exits is the queue that is woken with POLLIN when the process ends: pidfd_open(2).
func (p *Process) Exits() *sched.Queue { return &p.exits }

// WaitStatus makes the status that wait(2) shows from an exit code, and from the signal that killed.
func WaitStatus(code int32) int32 { return code & 0xff << 8 }

// Killed is the wait status of a death by sig.
func Killed(sig int, core bool) int32 {
	if core {
		return int32(sig) | 0x80
	}
	return int32(sig)
}

var _ signal.EntryTarget = (*Process)(nil)
var _ signal.EntryTarget = (*Task)(nil)
var _ signal.Group = (*Group)(nil)
var _ signal.Session = (*Session)(nil)
var _ signal.Job = (*Task)(nil)
