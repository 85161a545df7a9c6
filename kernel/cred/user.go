package cred

import (
	"runtime"
	"sync/atomic"
	"weak"

	"goum/arch/lock"
)

// Namespace is a user namespace: numbers of users are meant within it. There is one, the initial one.
type Namespace struct {
	mu    lock.Mutex[lock.Task]
	users map[uint32]weak.Pointer[User] // guarded by mu; those that somebody still holds
}

// User counts what all processes of one real user number use together. Each counter is compared with the limit of the
// process that adds to it.
type User struct {
	UID       uint32
	Processes atomic.Int64 // tasks: RLIMIT_NPROC
	Signals   atomic.Int64 // queued signals: RLIMIT_SIGPENDING
	Locked    atomic.Int64 // bytes of locked shared memory: RLIMIT_MEMLOCK
	Queues    atomic.Int64 // bytes of POSIX message queues: RLIMIT_MSGQUEUE
}

// NewNamespace makes an initial user namespace, one for each machine.
func NewNamespace() *Namespace {
	return &Namespace{users: map[uint32]weak.Pointer[User]{}}
}

// User is the one User of uid, for as long as anybody holds it: a guest that walks through all numbers leaves nothing behind.
func (ns *Namespace) User(uid uint32) *User {
	ns.mu.Lock()
	defer ns.mu.Unlock()
	if u := ns.users[uid].Value(); u != nil {
		return u
	}
	u := &User{UID: uid}
	ns.users[uid] = weak.Make(u)
	runtime.AddCleanup(u, ns.forget, uid)
	return u
}

func (ns *Namespace) forget(uid uint32) {
	ns.mu.Lock()
	defer ns.mu.Unlock()
	if p, ok := ns.users[uid]; ok && p.Value() == nil { // else a new one has taken the place
		delete(ns.users, uid)
	}
}

// Take adds one to counter unless that makes more than limit, and says whether it did.
func Take(counter *atomic.Int64, limit uint64) bool {
	if n := counter.Add(1); n > 0 && uint64(n) > limit {
		counter.Add(-1)
		return false
	}
	return true
}
