// Package skas runs guest threads in stub processes and answers their notifications.
//
// It owns every stub: its process and pidfd, its listener, its slice of the control memory, and the private queue of the
// operations that were asked of it. What an operation is for it does not know: a Space makes and authorises them.
//
// Invariants:
//   - A thread of a stub runs guest code, or an operation, exactly while its notification has been answered; the host parks it
//     at the next one, and no guest can fake that.
//   - What a stub can write is read by take (a report), settle (did an operation fail) and xstateArea only, each field once a report
//     or a call; only the copy is used. What the monitor writes to a slot it never believes afterwards.
//   - CONTINUE answers the head of a thread's queue or nothing: number, every argument, order.
//   - Operations of one stub run one batch after the other: while a thread may still be in the last call of its batch, no
//     other thread of the stub starts one. So the host sees them in the order in which the page table changed. A batch ends at its
//     first failure; the rest is asked for again, or replaced (Space.Rebuild).
//   - A batch is proven by the next report of its thread, and that has to be the one that the answer asked for.
//   - Frames leave quarantine by Space.Proven or Space.Detached only: the call has returned, or the stub is reaped.
//   - Who waits for a thread of a stub is woken when goum decides on its death, not when the host gets round to it.
//   - Signals go to a pid, a tid or a pidfd under Stub.mu and before Stub.reaped only: after that they mean nothing any more.
//   - A slice of the control memory has one owner from before its process exists until after that is reaped, and is empty at first.
//
// Locks: Stub.mu, Pool.mu and spawner.mu (lock.Ops) are never held together. They lie inside mm's page table lock and outside
// physmem. Stub.mu is never held while a Space is called, nor while a report is awaited.
package skas
