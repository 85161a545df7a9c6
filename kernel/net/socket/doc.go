// Package socket is sockets as open files: what all address families share of Linux's net/socket.c and net/core/sock.c.
//
// It owns Socket (options of level SOL_SOCKET, the pending error, the wait queue), Net (the families of one machine and its network
// devices), messages with their ancillary data, and the ioctls of netdevice(7). A family supplies Ops for each of its sockets.
// System calls are decoded in package sys, which knows descriptors: ancillary descriptors come to and go from here as open files.
//
// Invariants:
//   - Socket.Ops is set before anybody can reach the socket, and never changes.
//   - Ops.Release is called once, when the last open file is gone, or when a socket that nobody accepted is thrown away.
//   - Whoever makes a socket readable, writable, or fail, changes that state first and calls Wake afterwards.
//   - A message that is sent without address and ancillary data (a nil *Msg) allocates nothing here.
//
// Locks: Interfaces.mu (lock.Socket) is held for short times and with no other lock of that rank. Sockets have no lock here, only
// atomics; families have theirs (lock.Socket, then lock.Pipe for buffers). No lock is held while guest memory is copied.
package socket
