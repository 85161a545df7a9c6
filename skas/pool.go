package skas

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
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
	Watchdog uint64 // stubs killed because they burnt CPU time without answering an alarm, or filled memory that was not theirs
	Started  uint64 // stubs started
}

// Pool starts stubs, keeps some ready, and reaps them.
type Pool struct {
	// immutable after New
	sites     stub.Sites
	spawner   *spawner
	control   []byte // the monitor's mapping of all slices
	controlFd int
	hugePages bool // a touch of a slot takes more than a page
	pollFirst bool // before Linux 6.11 a receive does not end when the stub dies: poll for that first

	ready  chan *Stub
	want   chan struct{} // room for one: a stub was taken from ready, or could be started again
	dying  chan *Stub
	closed chan struct{}
	makers sync.WaitGroup // who may retire stubs: refill and watch
	reaper sync.WaitGroup

	// guarded by mu
	mu   lock.Mutex[lock.Ops]
	free []int // slices
	live map[*Stub]struct{}

	ops, denied, killed, watchdog, started atomic.Uint64
}

// New starts the spawner for stubs over the guest memory in the descriptor physmem, and proves that one stub starts: where the
// host lacks what stubs need, this is where it shows.
func New(physmem int) (*Pool, error) { return newPool(physmem, !receiveEndsAtDeath()) }

func newPool(physmem int, pollFirst bool) (*Pool, error) {
	if x86.XStateSize()+stub.UcSize+siginfoSize+freshSlack > stub.FreshDepth {
		return nil, fmt.Errorf("skas: the floating point state takes %d bytes, too many for a stub", x86.XStateSize())
	}
	if err := hostFit(); err != nil {
		return nil, err
	}
	image, sites, err := stub.Image()
	if err != nil {
		return nil, err
	}
	p := &Pool{
		sites:     sites,
		pollFirst: pollFirst,
		ready:     make(chan *Stub, poolSize),
		want:      make(chan struct{}, 1),
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
	p.hugePages = p.stray([]*Stub{first}) > strayMemory
	p.ready <- first
	p.more()
	p.makers.Go(p.refill)
	p.makers.Go(p.watch)
	p.reaper.Go(p.reap)
	return p, nil
}

// hostFit says in one line what the host lacks, as far as that shows before a stub starts.
func hostFit() error {
	const hwcap2, fsgsbase = 26, 1 << 1
	if vec, err := unix.Auxv(); err == nil {
		for _, v := range vec {
			if v[0] == hwcap2 && v[1]&fsgsbase == 0 {
				return errors.New("skas: the host lacks the instructions rdfsbase and wrfsbase (Linux 5.9 and a processor since 2012 have them)")
			}
		}
	}
	// Without /proc the start of the first stub says so.
	if b, err := os.ReadFile("/proc/sys/vm/max_map_count"); err == nil {
		if n, err := strconv.Atoi(strings.TrimSpace(string(b))); err == nil && n < minMapCount {
			return fmt.Errorf("skas: sysctl vm.max_map_count is %d on this host, goum needs %d", n, minMapCount)
		}
	}
	return nil
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
	for {
		select {
		case s := <-p.ready:
			p.more()
			if s.exited() { // killed by the host while it waited
				s.Retire()
				continue
			}
			s.space = space
			return s, nil
		default:
		}
		s, err := p.start()
		if err != nil {
			return nil, err
		}
		p.more() // that works (again): have some ready
		s.space = space
		return s, nil
	}
}

// more has refill look whether stubs are missing.
func (p *Pool) more() {
	select {
	case p.want <- struct{}{}:
	default:
	}
}

// refill keeps stubs ready. A start that fails is not tried again from here: Take does, and has somebody to tell.
func (p *Pool) refill() {
	for {
		select {
		case <-p.closed:
			return
		case <-p.want:
		}
		for len(p.ready) < cap(p.ready) && !p.isClosed() {
			s, err := p.start()
			if err != nil {
				break
			}
			p.ready <- s // nobody else fills it
		}
	}
}

func (p *Pool) isClosed() bool {
	select {
	case <-p.closed:
		return true
	default:
		return false
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
	first.reset()
	got, err := p.spawn(slice)
	if err != nil {
		if err != errLate {
			p.release(slice)
		}
		return nil, err
	}
	s.pid, s.listener, s.pidfd = got.pid, got.listener, got.pidfd
	wakeHere(s.listener)
	first.tid.Store(int32(got.pid))
	if !first.awaitFresh() {
		s.kill()
		if status := p.bury(s); status.Exited() {
			return nil, stub.StartError(status.ExitStatus() << stub.StepShift)
		}
		return nil, errors.New("skas: a stub died before its first report")
	}
	p.mu.Lock()
	p.live[s] = struct{}{}
	p.mu.Unlock()
	p.started.Add(1)
	return s, nil
}

// spawn serialises requests to the zygote: request and reply belong together.
func (p *Pool) spawn(slice int) (spawned, error) {
	p.spawner.mu.Lock()
	got, err := p.spawner.spawn(slice)
	late := p.spawner.late
	p.spawner.late = nil
	p.spawner.mu.Unlock()
	for _, l := range late {
		p.release(l)
	}
	return got, err
}

// reap buries stubs in the order in which they were retired.
func (p *Pool) reap() {
	for s := range p.dying {
		p.bury(s)
	}
}

// bury waits for a stub that was killed, and gives back what it held.
func (p *Pool) bury(s *Stub) unix.WaitStatus {
	s.awaitExit()
	s.mu.Lock()
	s.reaped = true // from here on nobody sends a signal to the pid, its tids or the pidfd
	s.mu.Unlock()
	status, _ := wait4(s.pid)
	unix.Close(s.listener)
	unix.Close(s.pidfd)
	if s.space != nil {
		s.space.Detached()
	}
	p.mu.Lock()
	delete(p.live, s)
	p.mu.Unlock()
	p.release(s.slice)
	return status
}

// release gives back a slice that no process maps. Its next owner must not see this one's registers, nor the host keep memory for
// slots that it does not use.
func (p *Pool) release(slice int) {
	const punch = unix.FALLOC_FL_PUNCH_HOLE | unix.FALLOC_FL_KEEP_SIZE
	off := slice * stub.SliceSize
	if err := again(func() error { return unix.Fallocate(p.controlFd, punch, int64(off), stub.SliceSize) }); err != nil {
		clear(p.control[off : off+stub.SliceSize])
	}
	p.mu.Lock()
	p.free = append(p.free, slice)
	p.mu.Unlock()
}

// Stats returns the counters.
func (p *Pool) Stats() Stats {
	return Stats{Ops: p.ops.Load(), Denied: p.denied.Load(), Killed: p.killed.Load(), Watchdog: p.watchdog.Load(), Started: p.started.Load()}
}

// Close kills what is left, waits for it, and frees the control memory. No stub may be used any more.
func (p *Pool) Close() error {
	close(p.closed)
	p.makers.Wait() // then only we retire stubs
	p.mu.Lock()
	left := make([]*Stub, 0, len(p.live))
	for s := range p.live {
		left = append(left, s)
	}
	p.mu.Unlock()
	for _, s := range left {
		s.Retire()
	}
	close(p.dying)
	p.reaper.Wait()
	err := p.spawner.stop()
	return errors.Join(err, p.unmap())
}

func (p *Pool) unmap() error {
	return errors.Join(os.NewSyscallError("munmap", unix.Munmap(p.control)), os.NewSyscallError("close", unix.Close(p.controlFd)))
}
