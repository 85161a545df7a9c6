// Package event is what tasks wait with: poll and select, epoll, and the descriptors of events: eventfd, timerfd, signalfd, pidfd
// and inotify.
//
// All of it hangs callbacks on the wait queues of open files. Poll is the one implementation of poll(2), ppoll(2), select(2) and
// pselect(2). An Epoll keeps its callbacks there, and a list of files that may be ready; whether they are is asked when somebody
// wants to know.
//
// Invariants:
//   - An Epoll holds no reference to the files that it watches: once the last reference to an open file is gone, it is not
//     reported any more, and is forgotten at the latest when the set has doubled.
//   - A file is in the ready list if it has become ready since it was last looked at, or was ready then and is level-triggered.
//   - Files are polled with no lock of this package held: Poll of a file takes that file's locks, which rank outside.
//   - Waiting, reading and writing of an eventfd, and epoll_wait allocate nothing.
//
// Locks: Epoll.mu (lock.Epoll) is taken by the callbacks, inside the locks of whoever wakes a queue; two of them are never held at
// once. Epoll.ctl, a gate, serialises changes of a set. The descriptors' own mutexes have the rank lock.Pipe.
package event
