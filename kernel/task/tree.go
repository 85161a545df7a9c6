package task

import (
	"math/bits"

	"goum/arch/abi"
	"goum/arch/lock"
)

// Tree is all tasks of a machine, who is whose child, and in which group and session: one lock, held for short times only.
type Tree struct {
	mu lock.Mutex[lock.Tree]

	// Guarded by mu.
	ids   map[int32]*ident
	used  [PidMax / 64]uint64 // the numbers that are keys of ids
	last  int32               // given out last
	tasks int                 // living threads, and zombies
	max   int
	init  *Process
	forks uint64
}

// ident is what a number stands for: a thread, a group, a session, or several of them.
type ident struct {
	task    *Task
	group   *Group
	session *Session
}

// NewTree is the tree of a machine that may have maxTasks tasks.
func NewTree(maxTasks int) *Tree {
	return &Tree{ids: map[int32]*ident{}, max: maxTasks}
}

// allocate takes the next free number after the last; EAGAIN. mu is held.
func (tr *Tree) allocate() (int32, abi.Errno) {
	floor := int32(1)
	if tr.last >= reservedPids {
		floor = reservedPids
	}
	id := tr.free(tr.last+1, PidMax)
	if id == 0 {
		id = tr.free(floor, PidMax)
	}
	if id == 0 {
		return 0, abi.EAGAIN
	}
	tr.last = id
	return id, 0
}

// free is the first number from lo to below hi that nothing has; 0 for none.
func (tr *Tree) free(lo, hi int32) int32 {
	for id := lo; id < hi; {
		w := ^tr.used[id/64] >> (id % 64)
		if w == 0 {
			id = (id/64 + 1) * 64
			continue
		}
		id += int32(bits.TrailingZeros64(w))
		if id < hi {
			return id
		}
	}
	return 0
}

// claim takes a number that clone3 asked for: EINVAL, EEXIST. mu is held.
func (tr *Tree) claim(id int32) abi.Errno {
	switch {
	case id < 1 || id >= PidMax:
		return abi.EINVAL
	case tr.ids[id] != nil:
		return abi.EEXIST
	}
	return 0
}

// id is the entry of a number, made if there is none. mu is held.
func (tr *Tree) id(n int32) *ident {
	i := tr.ids[n]
	if i == nil {
		i = new(ident)
		tr.ids[n] = i
		tr.used[n/64] |= 1 << (n % 64)
	}
	return i
}

// settle frees a number that nothing has any more. mu is held.
func (tr *Tree) settle(n int32) {
	if i := tr.ids[n]; i != nil && *i == (ident{}) {
		delete(tr.ids, n)
		tr.used[n/64] &^= 1 << (n % 64)
	}
}

// task is the thread n, or nil; process is the process n; both may have ended. mu is held.
func (tr *Tree) task(n int32) *Task {
	if i := tr.ids[n]; i != nil {
		return i.task
	}
	return nil
}

func (tr *Tree) process(n int32) *Process {
	if t := tr.task(n); t != nil && t.Process.PID == n {
		return t.Process
	}
	return nil
}

func (tr *Tree) group(n int32) *Group {
	if i := tr.ids[n]; i != nil {
		return i.group
	}
	return nil
}

// FindTask is the thread n, or nil. It may be ending.
func (tr *Tree) FindTask(n int32) *Task {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	return tr.task(n)
}

// FindProcess is the process n, a zombie too, or nil.
func (tr *Tree) FindProcess(n int32) *Process {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	return tr.process(n)
}

// FindGroup is the process group n, or nil.
func (tr *Tree) FindGroup(n int32) *Group {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	return tr.group(n)
}

// Init is the first process.
func (tr *Tree) Init() *Process {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	return tr.init
}

// Next is the process with the lowest number from n on, or nil: how /proc lists them.
func (tr *Tree) Next(n int32) *Process {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	return tr.next(n)
}

func (tr *Tree) next(n int32) *Process {
	for id := max(n, 1); id < PidMax; {
		w := tr.used[id/64] >> (id % 64)
		if w == 0 {
			id = (id/64 + 1) * 64
			continue
		}
		id += int32(bits.TrailingZeros64(w))
		if p := tr.process(id); p != nil {
			return p
		}
		id++
	}
	return nil
}

// Counts are how many tasks there are, the number that was given out last, and how many were ever made.
func (tr *Tree) Counts() (tasks int, last int32, forks uint64) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	return tr.tasks, tr.last, tr.forks
}

// MaxTasks is how many tasks there may be: kernel.threads-max.
func (tr *Tree) MaxTasks() int {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	return tr.max
}
