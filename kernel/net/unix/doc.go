// Package unix is AF_UNIX: stream, datagram and sequenced-packet sockets between the processes of one machine. unix(7).
//
// It owns Family (the names that sockets are bound to, and the descriptors that are in flight), the sockets' states, and their
// buffers: a ring of bytes for a stream, a queue of packets for the others. What is received is buffered at the receiver and charged
// to the sender's SO_SNDBUF, as Linux does.
//
// Invariants:
//   - A stream socket's peer never changes once it is set; a datagram socket's may.
//   - In a ring head <= tail; only who holds the reading gate moves head, only who holds the writing gate moves tail or replaces
//     the bytes. Marks lie between head and tail, in order, and do not overlap.
//   - shut is set after what was sent before it is in the buffer: who sees it first and then an empty buffer is at the end.
//   - A parcel (descriptors in flight) is counted in Family.flight from before it is queued until after it is taken out.
//   - No file is let go of under a lock: its release may close other sockets. Chains of such releases are worked off in a loop,
//     however long the guest made them.
//
// Locks, outermost first: Family.mu (lock.OpenFile), sock.mu (lock.Socket, two by lock.Two), then ring.mu or packets.mu
// (lock.Pipe). Gates of rings are taken with no lock held. Plain bytes on a stream take the ring's lock only, and allocate nothing.
package unix
