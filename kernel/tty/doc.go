// Package tty is terminals: the line discipline N_TTY, terminals with their job control, pseudoterminal pairs, and devpts.
//
// Three layers, each usable without the one above. A Discipline turns bytes that arrive into bytes to be read, echoes and
// signals, and bytes that are written into output: a plain struct over a Line, which sleeps nowhere. A TTY puts it between a
// Driver (the console's, or the other half of a pty) and open files: it blocks readers and writers, and knows the session and
// the foreground group. Devpts makes ptys and shows them as a file system.
//
// The behaviour is that of Linux 6.18's drivers/tty: n_tty.c, tty_io.c, tty_ioctl.c, tty_jobctrl.c and pty.c.
//
// Invariants:
//   - The two halves of a pty share one mutex; what one writes is in the other's Discipline, or in its backlog, when the write returns.
//   - A Driver is called with the terminal's mutex held and never blocks; it takes as many bytes as its Room said.
//   - Nothing from outside is unbounded: typed input waits with whoever types, output with whoever writes.
//   - A session has one controlling terminal at most, and a terminal one session: TTY.session says whose, job control asks it.
//
// Locks: the TTY's mutex (lock.TTY) is outside those of tasks and signals, and outside wait queues. The gates read and write
// are taken before it, and held while the guest's memory is copied and while sleeping; it never is.
package tty
