// Package inet is AF_INET and AF_INET6: TCP, UDP and ping sockets over the loopback device, by gVisor's netstack, which no other package
// imports. tcp(7), udp(7), ip(7), ipv6(7), icmp(7).
//
// It owns Family (the stack, made at the first socket) and the sockets' protocol sides. There is no link to the host: what
// has no address of this machine is unreachable. Which addresses there are is socket.Interfaces' to say.
//
// Invariants:
//   - Guest memory is never touched with a lock of netstack held, since that may sleep and netstack's locks are not of the
//     scheduler: received bytes go through a buffer of ours; for bytes to send, netstack lets go of its locks while it asks for them.
//   - Calls that wait, wait on the socket's queue, which netstack's notifications wake. Nothing polls.
//   - An endpoint may be replaced by a new one (a connect after one that failed); calls under way keep the one they began with.
//   - All of netstack's timers run on the machine's clock. An idle stack has none that are due.
//
// Locks: Family.mu (lock.OpenFile) is held while addresses are given to netstack, and no lock of ours while sockets call it.
// netstack notifies with its own locks held; from there only queues are woken.
package inet
