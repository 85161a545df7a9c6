package task

import (
	"sync/atomic"

	"goum/arch/lock"
	"goum/kernel/fs/vfs"
	"goum/mm"
	"goum/sched"
)

// Memory is an address space with what goes with it: the stub that shows it, the file that runs in it, and what /proc tells of it.
// Threads share one, and so do the two sides of a vfork until exec.
type Memory struct {
	// Immutable.
	Space *mm.Space
	stub  Stub

	users atomic.Int32 // tasks, and those who Grabbed it
	tasks atomic.Int32 // tasks only

	dumpable atomic.Int32 // abi.SUID_DUMP_*: PR_SET_DUMPABLE

	mu   lock.Mutex[lock.Task]
	exe  *vfs.Open // guarded by mu; counted: the file that runs, or nil
	auxv []byte    // guarded by mu; never written to
}

func newMemory(space *mm.Space, stub Stub) *Memory {
	m := &Memory{Space: space, stub: stub}
	m.users.Store(1)
	m.tasks.Store(1)
	m.dumpable.Store(1)
	return m
}

// share adds a task.
func (m *Memory) share() *Memory {
	m.users.Add(1)
	m.tasks.Add(1)
	return m
}

// leave takes a task off.
func (m *Memory) leave() {
	m.tasks.Add(-1)
	m.Drop()
}

// Grab keeps the address space for a reader who is no task of it, until Drop. False: it is gone already.
func (m *Memory) Grab() bool {
	for m != nil {
		n := m.users.Load()
		if n == 0 {
			return false
		}
		if m.users.CompareAndSwap(n, n+1) {
			return true
		}
	}
	return false
}

// Drop ends Grab. The last one lets go of everything; it holds no lock.
func (m *Memory) Drop() {
	if m.users.Add(-1) != 0 {
		return
	}
	m.Space.Release()
	m.stub.Retire()
	m.mu.Lock()
	exe := m.exe
	m.exe = nil
	m.mu.Unlock()
	if exe != nil {
		closeExe(exe)
	}
}

// Shared says whether more than one task uses it.
func (m *Memory) Shared() bool { return m.tasks.Load() > 1 }

// User is how somebody else than its tasks reads and writes it, between Grab and Drop: /proc/PID/mem, cmdline.
func (m *Memory) User(t *sched.Thread) mm.User { return mm.User{Space: m.Space, Sleep: t} }

// Exe is the program that runs, with a reference for the caller; nil: none. /proc/PID/exe.
func (m *Memory) Exe() *vfs.Open {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.exe != nil {
		m.exe.Ref()
	}
	return m.exe
}

// Auxv is the auxiliary vector: /proc/PID/auxv. It must not be written to.
func (m *Memory) Auxv() []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.auxv
}

// Dumpable and SetDumpable are PR_GET_DUMPABLE and PR_SET_DUMPABLE; the caller checks that v is 0 or 1.
func (m *Memory) Dumpable() int32 { return m.dumpable.Load() }

// SetDumpable sets it; see Dumpable.
func (m *Memory) SetDumpable(v int32) { m.dumpable.Store(v) }

func (m *Memory) setAuxv(b []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.auxv = b
}

// copyTo makes n, a fork's, tell the same as m.
func (m *Memory) copyTo(n *Memory) {
	m.mu.Lock()
	exe, auxv := m.exe, m.auxv
	if exe != nil {
		exe.Ref()
		exe.Loc.Node().VFS().DenyWrite() // it is denied already, so that this cannot fail
	}
	m.mu.Unlock()
	n.mu.Lock()
	n.exe, n.auxv = exe, auxv
	n.mu.Unlock()
	n.dumpable.Store(m.dumpable.Load())
}
