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

	// watchdogPeriod is how often the watchdog looks, and watchdogHurry how often while a thread has not answered an alarm.
	watchdogPeriod = 250 * time.Millisecond
	watchdogHurry  = 25 * time.Millisecond

	// watchdogLimit is the CPU time that a stub's threads may burn after alarms that they do not answer. An honest thread answers
	// within microseconds, and within milliseconds if it is mapping a window of memory; a busy host only makes it slower, not
	// costlier. What was burnt is forgiven at watchdogDecay, nanoseconds a look: one per cent of a core, which nobody misses.
	watchdogLimit = 200 * time.Millisecond
	watchdogDecay = int64(watchdogPeriod / 100)

	// blindLooks is how often the watchdog sees a thread that was promised and does not report, where the host does not tell whether
	// it exists, before it takes that for a lie: a minute.
	blindLooks = int(time.Minute / watchdogPeriod)

	// strayMemory is how much control memory may be in use that no thread's slot accounts for, in bytes, before the watchdog looks for
	// stubs that fill the slots that they have no threads for.
	strayMemory = 1 << 20

	// maxRetries is how often in a row operations that the host refused are replaced before the process dies of it.
	maxRetries = 3

	// minMapCount is what vm.max_map_count must be. An address space's mappings stay below half of it (mm counts them), so that the
	// host never refuses an munmap for want of a mapping: a stub that hid that would keep memory that is not its own.
	minMapCount = 65530

	// ordinaryStack is the stack limit that the zygote starts with, in bytes.
	ordinaryStack = 8 << 20
)
