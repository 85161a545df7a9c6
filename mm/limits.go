package mm

import "goum/stub"

// Bounds of an address space, and sizes that were chosen.
const (
	PageShift = 12
	PageSize  = 1 << PageShift
	pageMask  = PageSize - 1

	// TaskSize is the end of what a guest may map: the stub itself lies above. ENOMEM or EINVAL beyond, as each call says.
	TaskSize = stub.Start

	// MinAddr is vm.mmap_min_addr: the host lets no ordinary user map below. EPERM.
	MinAddr = 65536

	// MaxVMAs is vm.max_map_count. ENOMEM.
	MaxVMAs = 65530

	// stackGap is stack_guard_gap: what stays free below a stack, 256 pages.
	stackGap = 256 * PageSize

	// opsMax bounds the waiting operations of a Space. Beyond, all host mappings are dropped in one operation: mapping anew
	// what is still needed is cheaper than that many single calls.
	opsMax = 256

	// hostVMAMax bounds the host mappings of a stub (vm.max_map_count of the host is 65,530 by default), with room for
	// what an estimate and the operations on their way get wrong. Beyond hostVMAKeep after a recount all are dropped.
	hostVMAMax  = 32000
	hostVMAKeep = 24000

	// Windows of a fault, in pages: see fault.go.
	startWindow = 4   // demand zero, first touch of a VMA
	maxWindow   = 64  // demand zero, exclusive write, remapping what the host lost
	fileWindow  = 64  // fault-around of page cache: what is there already costs 0.3 us a page, a fault as much as 60 of them
	maxFile     = 256 // the same, with sequential access
	maxCopy     = 16  // copy-on-write

	// forkCopy is how many private pages of a VMA fork copies at once; a VMA with more is shared copy-on-write.
	forkCopy = 32
	// forkPrefill is how many operations a child starts with.
	forkPrefill = 24
	// forkPrefillLeast is how many pages of a file (or the vDSO) are worth one of them: such a run costs half a fault, and few children touch the
	// ELF header or ask for the time before they end or run another program.
	forkPrefillLeast = 4
	// forkPrefillMost is how many pages one of them maps at most: a page costs 0.4 us in the child and when it ends, and the child
	// of a large program mostly touches little before it runs another.
	forkPrefillMost = 256

	// protectOps is how many host mappings mprotect and mremap change one by one before dropping the range.
	protectOps = 8

	// faultTries bounds how often a fault or a copy begins anew because the mapping changed underneath; then the guest
	// runs into the fault again (or a copy ends with EFAULT).
	faultTries = 64
)
