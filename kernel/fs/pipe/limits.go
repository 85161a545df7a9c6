package pipe

// Bounds of this package.
const (
	pageSize     = 4096
	defaultSlots = 16            // 64 KiB
	maxSize      = 1 << 20       // fs.pipe-max-size: EPERM beyond, without CAP_SYS_RESOURCE
	maxPrivSize  = 1 << 24       // with it: ENOMEM (Linux goes on to 2 GiB)
	softPages    = 16384         // capacity of all pipes after which new ones get two pages: fs.pipe-user-pages-soft
	hardPages    = 4 * softPages // and none: ENFILE
)
