// Package skas runs guest threads in stub processes and answers their notifications.
//
// It owns every stub: its process and pidfd, its listener, its slice of the control memory, and the private queue of the
// operations that were asked of it. What an operation is for it does not know: a Space makes and authorises them.
//
// Invariants:
//   - A thread of a stub runs guest code, or an operation, exactly while its notification has been answered; the host parks it
//     at the next one, and no guest can fake that.
//   - Slot memory is read by snapshot.take only, once a report; only the copy is used. What is written to a slot is never read back.
//   - CONTINUE answers the head of a thread's queue or nothing: number, every argument, order.
//   - Operations of one stub run one batch after the other: while a thread may still be in the last call of its batch, no
//     other thread of the stub starts one. So the host sees them in the order in which the page table changed.
//   - Frames leave quarantine by Space.Proven or Space.Detached only: the call has returned, or the stub is reaped.
//   - A stub is killed through its pidfd, and reaped by the reaper only: its pid and tids mean nothing else before that.
//
// Locks: Stub.mu (lock.Ops) lies inside mm's page table lock and outside physmem. It is never held while a Space is called, nor
// while a report is awaited.
package skas
