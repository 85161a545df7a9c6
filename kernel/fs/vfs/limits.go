package vfs

// Bounds of this package.
const (
	maxDentries   = 32768   // cached names of one file system that nobody uses; older ones are forgotten
	maxEvict      = 8       // cached names looked at for each new one, so that no look-up takes long
	maxMounts     = 100000  // fs.mount-max: ENOSPC
	maxDepth      = 1 << 16 // steps from a name to its root when a path is written: beyond it the tree is broken
	maxFileLocks  = 1 << 16 // record locks of one file: ENOLCK
	maxDeadlock   = 256     // owners followed when a blocking record lock looks for a deadlock (Linux: 10)
	maxDirEntries = 1 << 14 // entries emitted by one getdents, whatever its buffer
	maxWatchers   = 1 << 16 // watchers of one node: ENOSPC
)
