package skas

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"

	"goum/arch/lock"
	"goum/arch/x86"
	"goum/stub"

	"golang.org/x/sys/unix"
)

// ErrTooMany means that MaxStubs address spaces live already.
var ErrTooMany = errors.New("skas: too many address spaces")

// Stats are counters since the start.
type Stats struct {
	Ops      uint64 // operations that stubs performed
	Denied   uint64 // calls of stubs that were refused: nobody had asked for them
	Killed   uint64 // stubs killed because of that, or of a report that made no sense
	Watchdog uint64 // stubs killed because they burnt CPU time without answering an alarm
	Started  uint64 // stubs started
}

// Pool starts stubs, keeps some ready, and reaps them.
type Pool struct {
	// immutable after New
	sites     stub.Sites
	spawner   *spawner
	control   []byte // the monitor's mapping of all slices
	controlFd int
	pollFirst bool // before Linux 6.11 a receive does not end when the stub dies: poll for that first

	ready  chan *Stub
	want   chan struct{} // one token for each stub that is missing in ready
	dying  chan *Stub
	closed chan struct{}
	done   sync.WaitGroup

	// guarded by mu
	mu     lock.Mutex[lock.Ops]
	free   []int // slices
	live   map[*Stub]struct{}
	failed error // why no stub can be started any more

	ops, denied, killed, watchdog, started atomic.Uint64
}

// New starts the spawner for stubs over the guest memory in the descriptor physmem, and proves that one stub starts: where the
// host lacks what stubs need, this is where it shows.
func New(physmem int) (*Pool, error) {
	if x86.XStateSize()+stub.UcSize+siginfoSize+freshSlack > stub.FreshDepth {
		return nil, fmt.Errorf("skas: the floating point state takes %d bytes, too many for a stub", x86.XStateSize())
	}
	image, sites, err := stub.Image()
	if err != nil {
		return nil, err
	}
	p := &Pool{
		sites:     sites,
		pollFirst: !receiveEndsAtDeath(),
		ready:     make(chan *Stub, poolSize),
		want:      make(chan struct{}, poolSize),
		dying:     make(chan *Stub, MaxStubs),
		closed:    make(chan struct{}),
		live:      map[*Stub]struct{}{},
	}
	if p.controlFd, p.control, err = sharedMemfd("goum-control", stub.SliceSize*(MaxStubs+1)); err != nil {
		return nil, err
	}
	for slice := MaxStubs; slice > 0; slice-- { // 0 is the zygote's
		p.free = append(p.free, slice)
	}
	if p.spawner, err = startSpawner(image, physmem, p.controlFd); err != nil {
		p.unmap()
		return nil, err
	}
	first, err := p.start()
	if err != nil {
		p.spawner.stop()
		p.unmap()
		return nil, err
	}
	p.ready <- first
	for range poolSize - 1 {
		p.want <- struct{}{}
	}
	p.done.Add(3)
	go p.refill()
	go p.reap()
	go p.watch()
	return p, nil
}

// receiveEndsAtDeath says whether the host's SECCOMP_IOCTL_NOTIF_RECV returns when the last thread under the filter is gone.
func receiveEndsAtDeath() bool {
	var u unix.Utsname
	var major, minor int
	if unix.Uname(&u) != nil {
		return false
	}
	if n, _ := fmt.Sscanf(unix.ByteSliceToString(u.Release[:]), "%d.%d", &major, &minor); n != 2 {
		return false
	}
	return major > 6 || major == 6 && minor >= 11
}

// Take gives a started stub to the address space space. ErrTooMany when there are too many; anything else is trouble of the host.
func (p *Pool) Take(space Space) (*Stub, error) {
	var s *Stub
	select {
	case s = <-p.ready:
		select {
		case p.want <- struct{}{}:
		default:
		}
	default:
		var err error
		if s, err = p.start(); err != nil {
			return nil, err
		}
	}
	s.space = space
	return s, nil
}

// refill keeps stubs ready. A start that fails is not tried again from here: Take does, and has somebody to tell.
func (p *Pool) refill() {
	defer p.done.Done()
	for {
		select {
		case <-p.closed:
			return
		case <-p.want:
		}
		s, err := p.start()
		if err != nil {
			continue
		}
		select {
		case p.ready <- s:
		default:
			s.Retire()
		}
	}
}

// start starts one stub and waits for its first report.
func (p *Pool) start() (*Stub, error) {
	p.mu.Lock()
	if len(p.free) == 0 {
		p.mu.Unlock()
		return nil, ErrTooMany
	}
	slice := p.free[len(p.free)-1]
	p.free = p.free[:len(p.free)-1]
	p.mu.Unlock()

	s := &Stub{pool: p, slice: slice}
	s.wake.L = &s.mu
	first := s.newThread()
	got, err := p.spawn(slice)
	if err != nil {
		p.mu.Lock()
		p.free = append(p.free, slice)
		p.mu.Unlock()
		return nil, err
	}
	s.pid, s.listener, s.pidfd = got.pid, got.listener, got.pidfd
	wakeHere(s.listener)
	first.tid.Store(int32(got.pid))
	p.mu.Lock()
	p.live[s] = struct{}{}
	p.mu.Unlock()
	p.started.Add(1)
	if n, ok := s.pump(first, first); !ok || !first.isReport(n) {
		s.Retire()
		return nil, fmt.Errorf("skas: a stub died before its first report")
	}
	return s, nil
}

// spawn serialises requests to the zygote: request and reply belong together.
func (p *Pool) spawn(slice int) (spawned, error) {
	p.spawner.mu.Lock()
	defer p.spawner.mu.Unlock()
	return p.spawner.spawn(slice)
}

// reap waits for stubs that were killed, in the order in which they were, and gives back what they held.
func (p *Pool) reap() {
	defer p.done.Done()
	for s := range p.dying {
		wait4(s.pid) // our child, killed: it is dead already or about to be
		s.mu.Lock()
		s.reaped = true
		s.mu.Unlock()
		unix.Close(s.listener)
		unix.Close(s.pidfd)
		// The next owner of the slice must not see this one's registers.
		for i := range s.threads {
			clear(slotBytes(p.slot(s.slice, i))[:])
		}
		if s.space != nil {
			s.space.Detached()
		}
		p.mu.Lock()
		delete(p.live, s)
		p.free = append(p.free, s.slice)
		p.mu.Unlock()
	}
}

// Stats returns the counters.
func (p *Pool) Stats() Stats {
	return Stats{Ops: p.ops.Load(), Denied: p.denied.Load(), Killed: p.killed.Load(), Watchdog: p.watchdog.Load(), Started: p.started.Load()}
}

// Close kills what is left, waits for it, and frees the control memory. No stub may be used any more.
func (p *Pool) Close() error {
	close(p.closed)
	p.mu.Lock()
	left := make([]*Stub, 0, len(p.live))
	for s := range p.live {
		left = append(left, s)
	}
	p.mu.Unlock()
	for _, s := range left {
		s.Retire()
	}
	p.closeDying()
	p.done.Wait()
	err := p.spawner.stop()
	return errors.Join(err, p.unmap())
}

// closeDying lets the reaper end, after refill has: it retires stubs too.
func (p *Pool) closeDying() {
	for {
		select {
		case s := <-p.ready:
			s.Retire()
			continue
		default:
		}
		break
	}
	close(p.dying)
}

func (p *Pool) unmap() error {
	return errors.Join(os.NewSyscallError("munmap", unix.Munmap(p.control)), os.NewSyscallError("close", unix.Close(p.controlFd)))
}
