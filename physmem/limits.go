package physmem

// Sizes and bounds.
const (
	PageShift = 12
	PageSize  = 1 << PageShift

	// MaxOrder is the largest block: 2^9 frames, 2 MiB.
	MaxOrder = 9

	// ZeroFrames is how many shared zero frames there are: with 16, a 64 KiB window of untouched memory is one host mapping.
	ZeroFrames = 16

	// MinBytes is the smallest RAM: below it not even a first process fits beside its file system. New fails.
	MinBytes = 1 << 20

	// MaxBytes is bounded by the 32 bits of a Frame. New fails.
	MaxBytes = 1 << 43

	// zeroRun is the first shared zero frame; the frames before it, but for frame 0, are ordinary ones.
	zeroRun = 16
)

// loadLeast is how many bytes make Load's host call worth more than two or three faults.
const loadLeast = 16 << 10
