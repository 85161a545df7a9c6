package vfs

import (
	"slices"
	"strings"
	"sync/atomic"

	"goum/arch/abi"
	"goum/arch/lock"
	"goum/sched"
	"goum/sched/clock"
)

// System is what the file systems of one machine share: types, devices, mounts.
type System struct {
	Devices Devices
	Clock   *clock.Clock // nil in tests that do not care for times

	// Fifo opens a fifo's node: set by package pipe (pipe.Register).
	Fifo func(c *Caller, i *Inode, flags uint32) (File, abi.Errno)

	// SIGIO sends the owner of an open file with O_ASYNC its signal: set at boot by whoever knows tasks. events are poll(2)'s.
	SIGIO func(o *Open, events uint32)

	// PipePages is the capacity of all pipes together, in pages: package pipe bounds it.
	PipePages atomic.Int64

	// Hardlinks, Symlinks, Fifos and Regular are fs.protected_hardlinks and so on of proc_sys_fs(5). All are 0 in a kernel that nobody
	// configured.
	Hardlinks, Symlinks, Fifos, Regular atomic.Int32

	minors atomic.Uint32 // of unnamed devices

	mu      lock.Mutex[lock.Mount]
	types   []Type
	table   map[mountKey]*Mount
	count   int
	nextID  int
	nextUID uint64
	peers   int
	dirs    map[*Dirs]struct{}
	changes uint64
	changed sched.Queue
}

type mountKey struct {
	parent *Mount
	point  *Dentry
}

// New makes a System without any mount. clk gives the times of what vfs itself stamps.
func New(clk *clock.Clock) *System {
	s := &System{Clock: clk, table: make(map[mountKey]*Mount), dirs: make(map[*Dirs]struct{}), nextID: 20}
	s.minors.Store(20)
	return s
}

// Now is the time for stamps, in nanoseconds since the epoch.
func (s *System) Now() int64 {
	if s == nil || s.Clock == nil {
		return 0
	}
	return int64(s.Clock.Realtime())
}

// newDev is the device number of a file system without a device.
func (s *System) newDev() uint64 { return abi.Makedev(0, s.minors.Add(1)) }

func (s *System) addDirs(d *Dirs) {
	s.mu.Lock()
	s.dirs[d] = struct{}{}
	s.mu.Unlock()
}

func (s *System) dropDirs(d *Dirs) {
	s.mu.Lock()
	delete(s.dirs, d)
	s.mu.Unlock()
}

// Type is a kind of file system that mount(2) can make.
type Type struct {
	Name  string
	Nodev bool // needs no device: /proc/filesystems says "nodev"
	// Mount makes or finds the file system. source is uninterpreted, flags are the MS_ bits, data the options of its own.
	Mount func(c *Caller, source string, flags uint32, data string) (*Super, abi.Errno)
}

// Register makes a type known to mount(2).
func (s *System) Register(t Type) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.types = append(s.types, t)
	slices.SortFunc(s.types, func(a, b Type) int { return strings.Compare(a.Name, b.Name) })
}

// Types are those registered, by name.
func (s *System) Types() []Type {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.types)
}

func (s *System) typ(name string) (Type, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.types {
		if t.Name == name {
			return t, true
		}
	}
	return Type{}, false
}

// Opener makes the File of a device that is opened.
type Opener func(c *Caller, flags uint32, loc Location) (File, abi.Errno)

// Devices are a machine's devices by number. A number without one: ENXIO.
type Devices struct {
	mu     lock.Mutex[lock.FDs]
	chars  map[uint64]Opener
	majors map[uint32]func(minor uint32) Opener
	blocks map[uint64]Opener
}

// RegisterChar makes open(2) of a character device with these numbers call open.
func RegisterChar(s *System, major, minor uint32, open Opener) {
	d := &s.Devices
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.chars == nil {
		d.chars = make(map[uint64]Opener)
	}
	d.chars[abi.Makedev(major, minor)] = open
}

// RegisterCharMajor makes find choose for every minor of major that has no opener of its own; nil is ENXIO. For ptys.
func RegisterCharMajor(s *System, major uint32, find func(minor uint32) Opener) {
	d := &s.Devices
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.majors == nil {
		d.majors = make(map[uint32]func(uint32) Opener)
	}
	d.majors[major] = find
}

// RegisterBlock is RegisterChar for block devices.
func RegisterBlock(s *System, major, minor uint32, open Opener) {
	d := &s.Devices
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.blocks == nil {
		d.blocks = make(map[uint64]Opener)
	}
	d.blocks[abi.Makedev(major, minor)] = open
}

func (d *Devices) char(dev uint64) Opener {
	d.mu.Lock()
	open, find := d.chars[dev], d.majors[abi.Major(dev)]
	d.mu.Unlock()
	if open == nil && find != nil {
		open = find(abi.Minor(dev))
	}
	return open
}

func (d *Devices) block(dev uint64) Opener {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.blocks[dev]
}
