package proc

// Bounds of this package.
const (
	maxArgs    = 128 << 10 // bytes of cmdline or environ that are read at once: Linux reads on in pages, nobody needs more
	maxRegions = 1 << 16   // lines of maps: an address space has no more mappings
	memChunk   = 4096      // bytes of another's memory copied at once
)
