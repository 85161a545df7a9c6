package event

import (
	"encoding/binary"
	"fmt"
	"strings"

	"goum/arch/abi"
	"goum/arch/lock"
	"goum/kernel/fs/vfs"
	"goum/sched"
	"goum/sched/clock"
)

// EpollEvent is struct epoll_event: what is asked for or reported, and what the program wants to hear with it.
type EpollEvent struct {
	Events uint32
	Data   uint64
}

// EpollEventSize is the size of struct epoll_event, which is packed on x86-64.
const EpollEventSize = 12

// private are the bits that are no events.
const private = abi.EPOLLWAKEUP | abi.EPOLLONESHOT | abi.EPOLLET | abi.EPOLLEXCLUSIVE

// exclusiveOK are the bits that may come with EPOLLEXCLUSIVE.
const exclusiveOK = abi.EPOLLIN | abi.EPOLLOUT | always | abi.EPOLLWAKEUP | abi.EPOLLET | abi.EPOLLEXCLUSIVE

// Epoll is an epoll instance: epoll(7). EPOLLEXCLUSIVE is accepted with Linux's conditions, but wakes every epoll that watches the
// file: one waiter of each, which epoll_ctl(2) permits.
type Epoll struct {
	vfs.NoFile

	waiters sched.Queue // epoll_wait
	polls   sched.Queue // those who poll the epoll itself
	ctl     sched.Gate  // one change of the set at a time

	mu lock.Mutex[lock.Epoll]
	// Guarded by mu. items changes with ctl held, too.
	items      map[itemKey]*item
	head, tail *item // the ready list
	ready      int   // its length
	sweepAt    int   // the size of items at which closed files are looked for
	parents    map[*Epoll]int
}

type itemKey struct {
	fd   int32
	open *vfs.Open
}

// item is a descriptor in an Epoll.
type item struct {
	// Immutable.
	ep    *Epoll
	key   itemKey
	queue *sched.Queue
	w     *sched.Waiter

	// Guarded by ep.mu.
	want       EpollEvent
	prev, next *item
	linked     bool // in the ready list
	dead       bool // no longer in the set, or its file is closed
}

// NewEpoll makes an epoll instance. flags are O_ flags for the open file.
func NewEpoll(flags uint32) *vfs.Open {
	ep := &Epoll{items: make(map[itemKey]*item), parents: make(map[*Epoll]int), sweepAt: sweepAbove}
	return vfs.NewAnon("anon_inode:[eventpoll]", 0o600, ep, abi.O_RDWR|flags&^abi.O_ACCMODE)
}

// EpollOf is the Epoll that o is an open file of: EINVAL.
func EpollOf(o *vfs.Open) (*Epoll, abi.Errno) {
	if ep, ok := o.File.(*Epoll); ok {
		return ep, 0
	}
	return nil, abi.EINVAL
}

func (ep *Epoll) push(it *item) {
	if it.linked {
		return
	}
	it.linked = true
	it.prev, it.next = ep.tail, nil
	if ep.tail != nil {
		ep.tail.next = it
	} else {
		ep.head = it
	}
	ep.tail = it
	ep.ready++
}

func (ep *Epoll) unlink(it *item) {
	if !it.linked {
		return
	}
	if it.prev != nil {
		it.prev.next = it.next
	} else {
		ep.head = it.next
	}
	if it.next != nil {
		it.next.prev = it.prev
	} else {
		ep.tail = it.prev
	}
	it.prev, it.next, it.linked = nil, nil, false
	ep.ready--
}

// wake tells those who wait for the set, after mu was let go of.
func (ep *Epoll) wake() {
	ep.waiters.WakeOne(pollIn)
	ep.polls.Wake(pollIn)
}

// notify is the callback on the queue of the item's file.
func (it *item) notify(m sched.Mask) {
	ep := it.ep
	ep.mu.Lock()
	if it.dead || it.want.Events&^private == 0 || uint32(m)&it.want.Events == 0 {
		ep.mu.Unlock()
		return
	}
	ep.push(it)
	ep.mu.Unlock()
	ep.wake()
}

// lockCtl takes the gate for changes of the set.
func (ep *Epoll) lockCtl(c *vfs.Caller) {
	if !ep.ctl.TryLock() {
		ep.ctl.Lock(c.Thread)
	}
}

// Ctl is epoll_ctl(2) for descriptor fd, which is open as target, in epoll self: EPERM (it cannot be polled), EINVAL (the epoll
// itself, EPOLLEXCLUSIVE where it must not be, an unknown op), EEXIST, ENOENT, ELOOP, ENOSPC.
func (ep *Epoll) Ctl(c *vfs.Caller, op int32, fd int32, target *vfs.Open, want EpollEvent) abi.Errno {
	if _, ok := target.File.(vfs.Poller); !ok {
		return abi.EPERM
	}
	inner, _ := target.File.(*Epoll)
	if inner == ep {
		return abi.EINVAL
	}
	want.Events &^= abi.EPOLLWAKEUP // there is no suspend
	if op != abi.EPOLL_CTL_DEL && want.Events&abi.EPOLLEXCLUSIVE != 0 {
		if op == abi.EPOLL_CTL_MOD || op == abi.EPOLL_CTL_ADD && (inner != nil || want.Events&^uint32(exclusiveOK) != 0) {
			return abi.EINVAL
		}
	}
	want.Events |= always
	ep.lockCtl(c)
	defer ep.ctl.Unlock()
	key := itemKey{fd, target}
	ep.mu.Lock()
	it := ep.items[key]
	ep.mu.Unlock()
	switch op {
	case abi.EPOLL_CTL_ADD:
		if it != nil {
			return abi.EEXIST
		}
		return ep.insert(c, key, inner, want)
	case abi.EPOLL_CTL_DEL:
		if it == nil {
			return abi.ENOENT
		}
		ep.remove(it)
		return 0
	case abi.EPOLL_CTL_MOD:
		if it == nil {
			return abi.ENOENT
		}
		ep.mu.Lock()
		exclusive := it.want.Events&abi.EPOLLEXCLUSIVE != 0
		if !exclusive {
			it.want = want
		}
		ep.mu.Unlock()
		if exclusive {
			return abi.EINVAL
		}
		it.queue.SetMask(it.w, sched.Mask(want.Events&^private))
		ep.look(c, it)
		return 0
	}
	return abi.EINVAL
}

// look polls an item that is new or has changed.
func (ep *Epoll) look(c *vfs.Caller, it *item) {
	m, _ := it.key.open.Poll(c)
	ep.mu.Lock()
	hit := !it.dead && uint32(m)&it.want.Events&^private != 0
	if hit {
		ep.push(it)
	}
	ep.mu.Unlock()
	if hit {
		ep.wake()
	}
}

// insert adds key. ctl is held.
func (ep *Epoll) insert(c *vfs.Caller, key itemKey, inner *Epoll, want EpollEvent) abi.Errno {
	if len(ep.items) >= ep.sweepAt {
		ep.sweep()
	}
	if len(ep.items) >= maxItems {
		return abi.ENOSPC
	}
	it := &item{ep: ep, key: key, want: want, queue: queueOf(c, key.open)}
	if inner != nil {
		if e := nest(ep, inner); e != 0 {
			return e
		}
	}
	it.w = sched.NewWaiter(sched.Mask(want.Events&^private), it.notify)
	ep.mu.Lock()
	ep.items[key] = it
	ep.mu.Unlock()
	it.queue.Add(it.w)
	ep.look(c, it)
	return 0
}

// remove takes it out of the set. ctl is held, or nobody uses ep any more.
func (ep *Epoll) remove(it *item) {
	it.queue.Remove(it.w)
	ep.mu.Lock()
	it.dead = true
	ep.unlink(it)
	delete(ep.items, it.key)
	ep.mu.Unlock()
	if inner, ok := it.key.open.File.(*Epoll); ok {
		unnest(ep, inner)
	}
}

// sweep forgets files that were closed without EPOLL_CTL_DEL. It costs as much as the adding of those that are there did.
func (ep *Epoll) sweep() {
	var gone []*item
	ep.mu.Lock()
	for key, it := range ep.items {
		if key.open.Refs() <= 0 {
			gone = append(gone, it)
		}
	}
	ep.mu.Unlock()
	for _, it := range gone {
		ep.remove(it)
	}
	ep.sweepAt = max(2*len(ep.items), sweepAbove)
}

// pop takes the first item off the ready list, and a reference to its file; closed ones are passed over. budget says how many may
// be looked at. nil: none.
func (ep *Epoll) pop(budget *int) *item {
	for {
		ep.mu.Lock()
		it := ep.head
		if it == nil || *budget <= 0 {
			ep.mu.Unlock()
			return nil
		}
		*budget--
		ep.unlink(it)
		if it.key.open.TryRef() {
			ep.mu.Unlock()
			return it
		}
		it.dead = true // the sweep takes it out
		ep.mu.Unlock()
	}
}

// gather fills out with what is ready, and items with whose it is. budget bounds how many items are looked at in one call of
// epoll_wait, so that none is reported twice.
func (ep *Epoll) gather(c *vfs.Caller, out []EpollEvent, items []*item, budget *int) (n int) {
	for n < len(out) {
		it := ep.pop(budget)
		if it == nil {
			break
		}
		m, _ := it.key.open.Poll(c)
		ep.mu.Lock()
		rev := uint32(m) & it.want.Events &^ private
		if rev != 0 && !it.dead {
			out[n] = EpollEvent{rev, it.want.Data}
			items[n] = it
			n++
			switch {
			case it.want.Events&abi.EPOLLONESHOT != 0:
				it.want.Events &= private
			case it.want.Events&abi.EPOLLET == 0:
				ep.push(it) // until it is seen not to be ready
			}
		}
		ep.mu.Unlock()
		it.key.open.Unref()
	}
	return n
}

func (ep *Epoll) isReady() bool {
	ep.mu.Lock()
	defer ep.mu.Unlock()
	return ep.head != nil
}

func (ep *Epoll) length() int {
	ep.mu.Lock()
	defer ep.mu.Unlock()
	return ep.ready
}

// WaitEvents waits until something is ready and fills out. deadline is on the monotonic clock, 0 or less does not wait. EINTR.
func (ep *Epoll) WaitEvents(c *vfs.Caller, out []EpollEvent, deadline clock.Time) (n int, e abi.Errno) {
	items := make([]*item, len(out))
	budget := 0
	n, e = ep.wait(c, out, items, &budget, deadline)
	ep.passOn()
	return n, e
}

// passOn wakes the next waiter if there may be something for it, too: a wake-up reaches one, and what is level-triggered stays ready.
func (ep *Epoll) passOn() {
	if ep.isReady() {
		ep.waiters.WakeOne(pollIn)
	}
}

func (ep *Epoll) wait(c *vfs.Caller, out []EpollEvent, items []*item, budget *int, deadline clock.Time) (int, abi.Errno) {
	for {
		*budget = ep.length()
		if n := ep.gather(c, out, items, budget); n > 0 {
			return n, 0
		}
		if deadline <= 0 {
			return 0, 0
		}
		switch ep.waiters.Wait(c.Thread, pollIn, deadline, ep.isReady) {
		case sched.Woken:
		case sched.Expired:
			return 0, 0
		default:
			return 0, abi.EINTR
		}
	}
}

// Wait is epoll_wait(2) with the events at addr: EINVAL (count), EFAULT, EINTR. deadline as for WaitEvents.
func (ep *Epoll) Wait(c *vfs.Caller, addr uint64, count int32, deadline clock.Time) (int, abi.Errno) {
	if count <= 0 || count > maxEvents {
		return 0, abi.EINVAL
	}
	var (
		events [batch]EpollEvent
		items  [batch]*item
		bytes  [batch * EpollEventSize]byte
		budget int
		total  int
	)
	room := min(int(count), batch)
	n, e := ep.wait(c, events[:room], items[:room], &budget, deadline)
	for n > 0 {
		for i, ev := range events[:n] {
			binary.LittleEndian.PutUint32(bytes[i*EpollEventSize:], ev.Events)
			binary.LittleEndian.PutUint64(bytes[i*EpollEventSize+4:], ev.Data)
		}
		if e = c.User.CopyOut(addr+uint64(total)*EpollEventSize, bytes[:n*EpollEventSize]); e != 0 {
			ep.putBack(items[:n])
			break
		}
		total += n
		room = min(int(count)-total, batch)
		if n < batch || room == 0 {
			break
		}
		n = ep.gather(c, events[:room], items[:room], &budget)
	}
	ep.passOn()
	if total > 0 {
		e = 0
	}
	return total, e
}

// putBack makes events that could not be told ready again.
func (ep *Epoll) putBack(items []*item) {
	ep.mu.Lock()
	defer ep.mu.Unlock()
	for _, it := range items {
		if !it.dead {
			ep.push(it)
		}
	}
}

// Poll says whether epoll_wait would give anything. It looks at the files themselves: what is in the ready list may be so no more.
func (ep *Epoll) Poll(c *vfs.Caller) sched.Mask {
	budget := ep.length()
	for {
		it := ep.pop(&budget)
		if it == nil {
			return 0
		}
		m, _ := it.key.open.Poll(c)
		ep.mu.Lock()
		hit := !it.dead && uint32(m)&it.want.Events&^private != 0
		if hit && !it.linked {
			ep.push(it)
		}
		ep.mu.Unlock()
		it.key.open.Unref()
		if hit {
			ep.waiters.WakeOne(pollIn) // who looked meanwhile did not see it
			return pollIn
		}
	}
}

// Queue is where those wait who poll the epoll itself.
func (ep *Epoll) Queue() *sched.Queue { return &ep.polls }

// Ioctl knows none, not even FIONREAD: EINVAL.
func (ep *Epoll) Ioctl(*vfs.Caller, uint32, uint64) (uint64, abi.Errno) { return 0, abi.EINVAL }

// Release forgets the set.
func (ep *Epoll) Release() {
	ep.mu.Lock()
	all := make([]*item, 0, len(ep.items))
	for _, it := range ep.items {
		all = append(all, it)
	}
	ep.mu.Unlock()
	for _, it := range all {
		ep.remove(it)
	}
}

// Describe are the lines of /proc/PID/fdinfo/N.
func (ep *Epoll) Describe(*vfs.Caller) string {
	var b strings.Builder
	ep.mu.Lock()
	defer ep.mu.Unlock()
	for key, it := range ep.items {
		if it.dead {
			continue
		}
		fmt.Fprintf(&b, "tfd: %8d events: %8x data: %16x  pos:%d ino:0 sdev:0\n", key.fd, it.want.Events, it.want.Data, key.open.Pos())
	}
	return b.String()
}

// nesting keeps two nestings at a time from making a loop together that neither sees. It guards Epoll.parents of all.
var nesting lock.Mutex[lock.FDs]

// nest notes that inner is in ep: ELOOP if that makes a loop or goes too deep.
func nest(ep, inner *Epoll) abi.Errno {
	nesting.Lock()
	defer nesting.Unlock()
	down := depthBelow(inner, ep, 0)
	if down > maxNests || down+1+heightAbove(ep, 0) > maxNests {
		return abi.ELOOP
	}
	inner.parents[ep]++
	return 0
}

func unnest(ep, inner *Epoll) {
	nesting.Lock()
	defer nesting.Unlock()
	if inner.parents[ep]--; inner.parents[ep] <= 0 {
		delete(inner.parents, ep)
	}
}

// depthBelow is how deep epolls are nested in ep; beyond maxNests if avoid is among them.
func depthBelow(ep, avoid *Epoll, depth int) (deepest int) {
	if ep == avoid || depth > maxNests {
		return maxNests + 1
	}
	var inside []*Epoll
	ep.mu.Lock()
	for key, it := range ep.items {
		if in, ok := key.open.File.(*Epoll); ok && !it.dead {
			inside = append(inside, in)
		}
	}
	ep.mu.Unlock()
	for _, in := range inside {
		deepest = max(deepest, 1+depthBelow(in, avoid, depth+1))
	}
	return deepest
}

// heightAbove is in how many epolls ep is nested.
func heightAbove(ep *Epoll, height int) (highest int) {
	if height > maxNests {
		return maxNests + 1
	}
	for p := range ep.parents {
		highest = max(highest, 1+heightAbove(p, height+1))
	}
	return highest
}
