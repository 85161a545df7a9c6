// Package lock gives goum's mutexes a rank, and with it one order of locking for the whole kernel.
//
// The rank is in the type: `mu lock.Mutex[lock.Space]`. Normally that is a plain sync.Mutex. With `-tags lockcheck` a goroutine
// that takes a lock of a lower or equal rank than one it holds panics with both stacks, and so does whoever sleeps
// or copies from or to a guest with a lock held (AssertNoneHeld). Two locks of one rank are taken through Two only.
//
// The order, outermost first, is the order of the declarations below.
package lock

// Rank is one of the types below; the outermost lock has the lowest number.
type Rank interface {
	rank() int
	name() string
}

type (
	TTY       struct{} // a terminal's discipline, and its session
	Mount     struct{} // the mount tree
	Rename    struct{} // one rename at a time in a file system
	Inode     struct{} // a node's entries or attributes; parents before children, then by Two
	OpenFile  struct{} // an open file's position and flags
	Socket    struct{} // a socket's state
	Pipe      struct{} // a pipe's buffers
	Timer     struct{} // a process's timers
	Tree      struct{} // pids, parents, process groups, sessions
	Signals   struct{} // queues and actions of signals
	Task      struct{} // the rest of a task
	FDs       struct{} // a descriptor table
	Dentry    struct{} // the cache of names
	Futex     struct{} // a bucket of futex waiters; by Two
	Space     struct{} // an address space's VMAs
	PageCache struct{} // pages of one file
	PageTable struct{} // an address space's page table
	Ops       struct{} // a stub's queue of operations
	Frames    struct{} // the allocator of physical memory
	Epoll     struct{} // an epoll's ready list: innermost but for the wait queue it is called back under
	WaitQueue struct{} // a wait queue's list
	Clock     struct{} // the timer heap
	RunQueue  struct{} // a run queue
	Trace     struct{} // the log and the flight recorder
)

func (TTY) rank() int    { return 1 }
func (TTY) name() string { return "TTY" }

func (Mount) rank() int    { return 2 }
func (Mount) name() string { return "Mount" }

func (Rename) rank() int    { return 3 }
func (Rename) name() string { return "Rename" }

func (Inode) rank() int    { return 4 }
func (Inode) name() string { return "Inode" }

func (OpenFile) rank() int    { return 5 }
func (OpenFile) name() string { return "OpenFile" }

func (Socket) rank() int    { return 6 }
func (Socket) name() string { return "Socket" }

func (Pipe) rank() int    { return 7 }
func (Pipe) name() string { return "Pipe" }

func (Timer) rank() int    { return 8 }
func (Timer) name() string { return "Timer" }

func (Tree) rank() int    { return 9 }
func (Tree) name() string { return "Tree" }

func (Signals) rank() int    { return 10 }
func (Signals) name() string { return "Signals" }

func (Task) rank() int    { return 11 }
func (Task) name() string { return "Task" }

func (FDs) rank() int    { return 12 }
func (FDs) name() string { return "FDs" }

func (Dentry) rank() int    { return 13 }
func (Dentry) name() string { return "Dentry" }

func (Futex) rank() int    { return 14 }
func (Futex) name() string { return "Futex" }

func (Space) rank() int    { return 15 }
func (Space) name() string { return "Space" }

func (PageCache) rank() int    { return 16 }
func (PageCache) name() string { return "PageCache" }

func (PageTable) rank() int    { return 17 }
func (PageTable) name() string { return "PageTable" }

func (Ops) rank() int    { return 18 }
func (Ops) name() string { return "Ops" }

func (Frames) rank() int    { return 19 }
func (Frames) name() string { return "Frames" }

func (Epoll) rank() int    { return 20 }
func (Epoll) name() string { return "Epoll" }

func (WaitQueue) rank() int    { return 21 }
func (WaitQueue) name() string { return "WaitQueue" }

func (Clock) rank() int    { return 22 }
func (Clock) name() string { return "Clock" }

func (RunQueue) rank() int    { return 23 }
func (RunQueue) name() string { return "RunQueue" }

func (Trace) rank() int    { return 24 }
func (Trace) name() string { return "Trace" }
