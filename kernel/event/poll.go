package event

import (
	"sync"
	"sync/atomic"

	"goum/arch/abi"
	"goum/kernel/fs/vfs"
	"goum/sched"
	"goum/sched/clock"
)

// What select(2) asks for in its three sets, and what counts as an answer.
const (
	SelectIn  = abi.EPOLLRDNORM | abi.EPOLLRDBAND | abi.EPOLLIN | abi.EPOLLHUP | abi.EPOLLERR
	SelectOut = abi.EPOLLWRBAND | abi.EPOLLWRNORM | abi.EPOLLOUT | abi.EPOLLERR
	SelectEx  = abi.EPOLLPRI
)

const (
	pollIn  = sched.Mask(abi.EPOLLIN | abi.EPOLLRDNORM)
	pollOut = sched.Mask(abi.EPOLLOUT | abi.EPOLLWRNORM)
	pollErr = sched.Mask(abi.EPOLLERR)
	pollHup = sched.Mask(abi.EPOLLHUP)
)

// always is reported whether it was asked for or not.
const always = abi.EPOLLERR | abi.EPOLLHUP

// PollFD is one descriptor to wait for.
type PollFD struct {
	Open    *vfs.Open // with a reference of the caller's; nil: not open, which is POLLNVAL
	Skip    bool      // a negative descriptor: nothing is ever reported
	Events  uint32    // what is asked for, EPOLL bits
	Revents uint32    // the answer
}

// perCaller is a file whose events differ from caller to caller: signalfd.
type perCaller interface {
	QueueFor(c *vfs.Caller) *sched.Queue
}

// queueOf is who tells c of changes to o, or nil.
func queueOf(c *vfs.Caller, o *vfs.Open) *sched.Queue {
	if p, ok := o.File.(perCaller); ok {
		return p.QueueFor(c)
	}
	return o.Queue()
}

func scan(c *vfs.Caller, fds []PollFD) (n int) {
	for i := range fds {
		f := &fds[i]
		switch {
		case f.Skip:
			f.Revents = 0
		case f.Open == nil:
			f.Revents = abi.POLLNVAL
		default:
			m, _ := f.Open.Poll(c)
			f.Revents = uint32(m) & (f.Events | always)
		}
		if f.Revents != 0 {
			n++
		}
	}
	return n
}

// poller is what one waiting Poll needs.
type poller struct {
	queue   sched.Queue
	fired   atomic.Bool
	notify  func(sched.Mask)
	entries []pollEntry
}

type pollEntry struct {
	q *sched.Queue
	w *sched.Waiter
}

// keepEntries is how many callbacks a poller that is put away may keep.
const keepEntries = 256

var pollers = sync.Pool{New: func() any {
	p := new(poller)
	p.notify = func(sched.Mask) {
		p.fired.Store(true)
		p.queue.Wake(sched.Any)
	}
	return p
}}

// Poll waits until at least one of fds is ready, fills in what they are, and returns how many. deadline is on the monotonic clock; 0
// or less does not wait at all. ERESTARTNOHAND: a signal came first; poll(2) and select(2) say what becomes of that.
func Poll(c *vfs.Caller, fds []PollFD, deadline clock.Time) (int, abi.Errno) {
	n := scan(c, fds)
	if n > 0 || deadline <= 0 {
		return n, 0
	}
	p := pollers.Get().(*poller)
	used := 0
	for i := range fds {
		f := &fds[i]
		if f.Skip || f.Open == nil {
			continue
		}
		q := queueOf(c, f.Open)
		if q == nil {
			continue
		}
		if used == len(p.entries) {
			p.entries = append(p.entries, pollEntry{w: sched.NewWaiter(sched.Any, p.notify)})
		}
		e := &p.entries[used]
		used++
		e.q = q
		q.SetMask(e.w, sched.Mask(f.Events|always))
		q.Add(e.w)
	}
	p.fired.Store(true) // what happened before the callbacks were there
	out := p.queue.Wait(c.Thread, sched.Any, deadline, func() bool {
		if !p.fired.Swap(false) {
			return false
		}
		n = scan(c, fds)
		return n > 0
	})
	for i := range p.entries[:used] {
		e := &p.entries[i]
		e.q.Remove(e.w)
		e.q = nil
	}
	if len(p.entries) <= keepEntries {
		pollers.Put(p)
	}
	if n == 0 && (out == sched.Interrupted || out == sched.Killed) {
		return 0, abi.ERESTARTNOHAND
	}
	return n, 0
}
