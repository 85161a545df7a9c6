package abi

// Signal numbers, action flags, codes.
const (
	SIG_BLOCK   = 0x0
	SIG_UNBLOCK = 0x1
	SIG_SETMASK = 0x2
	SIGABRT     = 0x6
	SIGALRM     = 0xe
	SIGBUS      = 0x7
	SIGCHLD     = 0x11
	SIGCONT     = 0x12
	SIGFPE      = 0x8
	SIGHUP      = 0x1
	SIGILL      = 0x4
	SIGINT      = 0x2
	SIGIO       = 0x1d
	SIGKILL     = 0x9
	SIGPIPE     = 0xd
	SIGPROF     = 0x1b
	SIGPWR      = 0x1e
	SIGQUIT     = 0x3
	SIGSEGV     = 0xb
	SIGSTKFLT   = 0x10
	SIGSTOP     = 0x13
	SIGSYS      = 0x1f
	SIGTERM     = 0xf
	SIGTRAP     = 0x5
	SIGTSTP     = 0x14
	SIGTTIN     = 0x15
	SIGTTOU     = 0x16
	SIGURG      = 0x17
	SIGUSR1     = 0xa
	SIGUSR2     = 0xc
	SIGVTALRM   = 0x1a
	SIGWINCH    = 0x1c
	SIGXCPU     = 0x18
	SIGXFSZ     = 0x19
)

// NSIG is one more than the highest signal number; real-time signals are SIGRTMIN to NSIG-1.
const (
	SIGRTMIN = 32
	NSIG     = 65
)

// Flags of a signal action: sigaction(2).
const (
	SA_NOCLDSTOP      = 0x00000001
	SA_NOCLDWAIT      = 0x00000002
	SA_SIGINFO        = 0x00000004
	SA_EXPOSE_TAGBITS = 0x00000800
	SA_RESTORER       = 0x04000000
	SA_ONSTACK        = 0x08000000
	SA_RESTART        = 0x10000000
	SA_NODEFER        = 0x40000000
	SA_RESETHAND      = 0x80000000
)

// The two handlers that are no address.
const (
	SIG_DFL = 0
	SIG_IGN = 1
)

// States of the alternate signal stack: sigaltstack(2).
const (
	SS_ONSTACK    = 1
	SS_DISABLE    = 2
	SS_AUTODISARM = 1 << 31
	MINSIGSTKSZ   = 2048
)

// Causes of a signal, in si_code: sigaction(2). Zero and below come from users, above from the kernel.
const (
	SI_USER   = 0
	SI_KERNEL = 0x80
	SI_QUEUE  = -1
	SI_TIMER  = -2
	SI_SIGIO  = -5
	SI_TKILL  = -6

	FPE_INTDIV = 1

	SEGV_MAPERR = 1
	SEGV_ACCERR = 2
	SEGV_BNDERR = 3
	SEGV_PKUERR = 4

	BUS_ADRERR = 2

	CLD_EXITED    = 1
	CLD_KILLED    = 2
	CLD_DUMPED    = 3
	CLD_STOPPED   = 5
	CLD_CONTINUED = 6

	POLL_IN  = 1
	POLL_OUT = 2
	POLL_ERR = 4
	POLL_PRI = 5
	POLL_HUP = 6
)
