// Package netlink is AF_NETLINK: NETLINK_ROUTE as ip, ifconfig, getifaddrs and init use it, NETLINK_USERSOCK between processes, and
// NETLINK_KOBJECT_UEVENT, on which nothing ever happens. Other protocols are those of modules that are not there: EPROTONOSUPPORT.
// netlink(7), rtnetlink(7).
//
// It owns the sockets, their numbers (port ids) and memberships in groups. What it shows and changes is socket.Interfaces.
//
// Invariants:
//   - A request is answered before the call that sends it returns; a dump is made at once, in messages of at most chunk bytes, so that
//     it is of one moment.
//   - What a socket has not read is at most SO_RCVBUF and one answer; beyond it messages are lost and the next call says ENOBUFS.
//   - Numbers in guest messages are checked against the message's length before they are followed.
//
// Locks: Family.mu (lock.OpenFile) outside sock.mu (lock.Socket). Interfaces is called with neither held.
package netlink
