package pagecache

// Bounds of this package.
const (
	chunkPages = 512 // pages of one part of a table
	maxBatch   = 16  // pages referenced at a time for a read
	maxRun     = 256 // pages taken at a time for a write
)
