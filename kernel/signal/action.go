package signal

import (
	"goum/arch/abi"
	"goum/arch/lock"
)

// Action is what a process does about a signal.
type Action = abi.Sigaction

// Actions is the table of actions, shared by the threads of a process and with CLONE_SIGHAND: sigaction(2).
type Actions struct {
	mu   lock.Mutex[lock.Task]
	refs int              // guarded by mu
	act  [abi.NSIG]Action // guarded by mu; 0 is unused
}

// NewActions is a table of defaults with one reference.
func NewActions() *Actions { return &Actions{refs: 1} }

// Get is the action of sig.
func (a *Actions) Get(sig int) Action {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.act[index(sig)]
}

// Set sets the action of sig and answers the former. SIGKILL and SIGSTOP are the caller's to refuse.
func (a *Actions) Set(sig int, act Action) Action {
	act.Mask &^= Unmaskable
	a.mu.Lock()
	defer a.mu.Unlock()
	old := a.act[index(sig)]
	a.act[index(sig)] = act
	return old
}

// TakeHandler is Get for a delivery: SA_RESETHAND puts the default back in the same step.
func (a *Actions) TakeHandler(sig int) Action {
	a.mu.Lock()
	defer a.mu.Unlock()
	act := a.act[index(sig)]
	if act.Handler > abi.SIG_IGN && act.Flags&abi.SA_RESETHAND != 0 {
		a.act[index(sig)].Handler = abi.SIG_DFL
	}
	return act
}

// Ignored says whether sig has no effect: explicitly, or by default.
func (a *Actions) Ignored(sig int) bool {
	h := a.Get(sig).Handler
	return h == abi.SIG_IGN || h == abi.SIG_DFL && Default(sig) == Ignore
}

// Sets are the signals with a handler and those with SIG_IGN, as /proc shows them.
func (a *Actions) Sets() (caught, ignored Set) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for sig := 1; sig < abi.NSIG; sig++ {
		switch a.act[sig].Handler {
		case abi.SIG_DFL:
		case abi.SIG_IGN:
			ignored |= Bit(sig)
		default:
			caught |= Bit(sig)
		}
	}
	return caught, ignored
}

// Ref adds a user of the table, and Unref takes one off.
func (a *Actions) Ref() *Actions {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.refs++
	return a
}

func (a *Actions) Unref() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.refs--
}

// Clone copies the table for a new process. clear (CLONE_CLEAR_SIGHAND) turns handlers into the default.
func (a *Actions) Clone(clear bool) *Actions {
	n := NewActions()
	a.mu.Lock()
	n.act = a.act
	a.mu.Unlock()
	if clear {
		for sig := range n.act {
			if n.act[sig].Handler != abi.SIG_IGN {
				n.act[sig] = Action{}
			}
		}
	}
	return n
}

// Exec is the table for a new program: handlers become the default, what is ignored stays so; masks and flags go. A table that
// others use too is left alone.
func (a *Actions) Exec() *Actions {
	a.mu.Lock()
	if a.refs > 1 {
		a.refs--
		n := &Actions{refs: 1, act: a.act}
		a.mu.Unlock()
		return n.Exec()
	}
	defer a.mu.Unlock()
	for sig := range a.act {
		act := Action{}
		if a.act[sig].Handler == abi.SIG_IGN {
			act.Handler = abi.SIG_IGN
		}
		a.act[sig] = act
	}
	return a
}

// index keeps numbers from guests inside the table; 0 is a row that nobody uses.
func index(sig int) int {
	if !Valid(sig) {
		return 0
	}
	return sig
}
