package skas

import "time"

const (
	// MaxStubs bounds the address spaces that live at once, and with them the control memory (sparse, 16 MiB each at most). Beyond it
	// fork answers EAGAIN.
	MaxStubs = 4096

	// poolSize is how many stubs stand ready: a pipeline of a shell forks and executes a handful at once.
	poolSize = 4

	// startTimeout bounds the start of a stub on a host that is very busy. It is an error, never a verdict on a guest.
	startTimeout = 30 * time.Second

	// watchdogPeriod is how often the watchdog looks, and watchdogLimit the CPU time that a stub's thread may burn after an alarm that
	// it did not answer. An honest thread answers within microseconds of CPU time; a busy host only makes it slower, not costlier.
	watchdogPeriod = 500 * time.Millisecond
	watchdogLimit  = 2 * time.Second

	// cloneLooks is how often the watchdog sees a thread being made before it takes that for a lie: ten seconds.
	cloneLooks = 20

	// maxRetries is how often operations that the host refused are asked for again before the process dies of it.
	maxRetries = 3
)
