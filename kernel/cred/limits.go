package cred

import (
	"sync/atomic"

	"goum/arch/abi"
	"goum/arch/lock"
)

// Bounds of this package.
const (
	MaxGroups = 65536   // NGROUPS_MAX: supplementary groups; more is EINVAL
	MaxOpen   = 1 << 20 // fs.nr_open: no RLIMIT_NOFILE above it (EPERM)
)

// Limits are the resource limits of a process, shared by its threads: getrlimit(2). They may be read by anybody at any time.
// Cur and Max are read one by one, so that one who reads during a prlimit may see one old and one new number, as in Linux.
type Limits struct {
	mu    lock.Mutex[lock.Task] // writers only
	pairs [abi.RLIM_NLIMITS]struct{ cur, max atomic.Uint64 }
}

// NewLimits are the limits of a machine's first process. memory is the guest's RAM in bytes: it bounds how many tasks
// and queued signals there may be.
func NewLimits(memory uint64) *Limits {
	l := new(Limits)
	for r := range l.pairs {
		l.put(r, abi.Rlimit64{Cur: abi.RLIM_INFINITY, Max: abi.RLIM_INFINITY})
	}
	tasks := max(MaxTasks(memory)/2, 20)
	l.put(abi.RLIMIT_STACK, abi.Rlimit64{Cur: 8 << 20, Max: abi.RLIM_INFINITY})
	l.put(abi.RLIMIT_CORE, abi.Rlimit64{Cur: 0, Max: abi.RLIM_INFINITY})
	l.put(abi.RLIMIT_NPROC, abi.Rlimit64{Cur: tasks, Max: tasks})
	l.put(abi.RLIMIT_NOFILE, abi.Rlimit64{Cur: 1024, Max: 524288})
	l.put(abi.RLIMIT_MEMLOCK, abi.Rlimit64{Cur: 8 << 20, Max: 8 << 20})
	l.put(abi.RLIMIT_SIGPENDING, abi.Rlimit64{Cur: tasks, Max: tasks})
	l.put(abi.RLIMIT_MSGQUEUE, abi.Rlimit64{Cur: 819200, Max: 819200})
	l.put(abi.RLIMIT_NICE, abi.Rlimit64{})
	l.put(abi.RLIMIT_RTPRIO, abi.Rlimit64{})
	return l
}

// MaxTasks is how many tasks a machine with so many bytes of RAM may have: kernel.threads-max as Linux computes it (an
// eighth of memory for 16 KiB stacks), at most what pid numbers allow.
func MaxTasks(memory uint64) uint64 {
	return min(max(memory/(8*16384), 20), 32768)
}

// Get is the limit of res; of what is no resource it is no limit.
func (l *Limits) Get(res int) abi.Rlimit64 {
	if res < 0 || res >= len(l.pairs) {
		return abi.Rlimit64{Cur: abi.RLIM_INFINITY, Max: abi.RLIM_INFINITY}
	}
	return abi.Rlimit64{Cur: l.pairs[res].cur.Load(), Max: l.pairs[res].max.Load()}
}

// Cur is the soft limit of res, which is the one that counts.
func (l *Limits) Cur(res int) uint64 { return l.Get(res).Cur }

func (l *Limits) put(res int, v abi.Rlimit64) {
	l.pairs[res].cur.Store(v.Cur)
	l.pairs[res].max.Store(v.Max)
}

// Set is setrlimit(2) and the writing half of prlimit(2) by a caller with c; the former limit is the result. EINVAL (no
// resource, Cur above Max), EPERM (beyond MaxOpen, or a hard limit raised without CAP_SYS_RESOURCE).
func (l *Limits) Set(c *Cred, res int, v abi.Rlimit64) (abi.Rlimit64, abi.Errno) {
	switch {
	case res < 0 || res >= len(l.pairs), v.Cur > v.Max:
		return abi.Rlimit64{}, abi.EINVAL
	case res == abi.RLIMIT_NOFILE && v.Max > MaxOpen:
		return abi.Rlimit64{}, abi.EPERM
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	old := l.Get(res)
	if v.Max > old.Max && !c.Has(abi.CAP_SYS_RESOURCE) {
		return abi.Rlimit64{}, abi.EPERM
	}
	l.put(res, v)
	return old, 0
}

// Clone is what a new process gets.
func (l *Limits) Clone() *Limits {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := new(Limits)
	for r := range l.pairs {
		n.put(r, l.Get(r))
	}
	return n
}
