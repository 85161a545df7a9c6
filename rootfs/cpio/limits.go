package cpio

// PathMax is the longest name and the longest symlink target in bytes, with the NUL that ends it: Linux's PATH_MAX,
// beyond which it leaves the entry out. Beyond it: a FormatError.
const PathMax = 4096

// NameMax is the longest element of a name in bytes: Linux's NAME_MAX, which every file system of the guest has.
// Beyond it: a FormatError.
const NameMax = 255

// maxWindow is the largest dictionary or window in bytes that a compressed part may ask the decoder to keep. 128 MiB
// is what Linux's and the zstd program's decoders accept without being told; xz -9 uses 64 MiB. Beyond it: a
// FormatError.
const maxWindow = 128 << 20

// maxShown is how many bytes of a name an error message repeats: it stays one line on a terminal.
const maxShown = 120

// Limits bounds what an input may cost. Beyond any of them reading ends with a FormatError.
type Limits struct {
	// Total is the most bytes of the input itself, and the most bytes that its compressed parts may unpack to, all
	// together. A caller with a machine to fill gives the size of its memory: more could not be unpacked there.
	Total int64
	// Entries is the most entries in all archives together. Each becomes an inode in the kernel's heap, and an entry
	// without data costs 112 bytes of input, far less when it is compressed.
	Entries int
	// Parts is the most compressed parts. Each sets up a decoder, and an empty one costs only 20 bytes of input.
	Parts int
}

// DefaultLimits is for callers that know no better bound: 1 GiB unpacked (a distribution's full initramfs has a
// quarter of it), a million entries (a distribution's whole root file system), 1,024 parts (microcode and an
// initramfs are two).
func DefaultLimits() Limits {
	return Limits{Total: 1 << 30, Entries: 1 << 20, Parts: 1024}
}
