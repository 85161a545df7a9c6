package signal

import "goum/arch/abi"

// Target is whom a signal can be sent to: a task, a process, a process group. Timers, terminals, pipes and sockets know no more.
// Send checks no permission. It may be called with any lock held that ranks above lock.Tree, and never sleeps. info is copied.
type Target interface {
	Send(info *Info) abi.Errno
}

// EntryTarget is a Target that also takes an Entry of the caller's own: a POSIX timer's signal costs no memory when it
// fires and is queued once at most. Tasks and processes are such targets.
type EntryTarget interface {
	Target
	// SendEntry queues e unless it is queued already (false). e.Info must be filled. What is ignored is dropped, and e.OnTake
	// is called with nil then.
	SendEntry(e *Entry) bool
}

// Group is a process group as a terminal sees it. Two of them may be compared with ==.
type Group interface {
	Target
	ID() int32
	// Orphaned says whether no member's parent could continue it: it is not stopped by terminals, but gets EIO.
	Orphaned() bool
}

// Session is a session as a terminal sees it. Two of them may be compared with ==.
type Session interface {
	ID() int32
	// ClearTerminal takes its controlling terminal from all its processes.
	ClearTerminal()
}

// Terminal is a terminal as a session sees it. Its methods are called with no lock held.
type Terminal interface {
	// LeaderGone says that the leader of the terminal's session exits (exit) or gives it up with TIOCNOTTY: SIGHUP (and
	// SIGCONT unless exit) go to the foreground group; one that is no pty is hung up at exit; it belongs to no session then.
	LeaderGone(exit bool)
	// Number is the device number in the encoding of stat(2), Foreground the foreground group's id (0: none), for /proc.
	Number() uint64
	Foreground() int32
}

// Job is the calling task as a terminal sees it. A vfs.Caller's Owner implements it.
type Job interface {
	Group() Group
	Session() Session
	Leader() bool       // the caller's process leads its session
	Terminal() Terminal // its controlling terminal, or nil
	// SetTerminal makes tty the controlling terminal of the caller's process, or takes it away (nil).
	SetTerminal(tty Terminal)
	// HangUpLater notes whom the session's leader owes SIGHUP and SIGCONT at its exit, when its terminal was hung up before.
	HangUpLater(foreground Group)
	// FindGroup finds the process group id, and the session that it is in; ESRCH.
	FindGroup(id int32) (Group, Session, abi.Errno)
	// Blocks and Ignores are about the calling thread: what a background write asks of SIGTTOU, a read of SIGTTIN.
	Blocks(sig int) bool
	Ignores(sig int) bool
}
