package stub

// OpKind says which host call an Op is.
type OpKind uint32

// The host calls that a stub makes for its monitor.
const (
	OpMap   OpKind = 1 + iota // mmap(Addr, Len, Prot, MapFlags, PhysmemFd, Off)
	OpUnmap                   // munmap(Addr, Len)
	OpClone                   // clone(CloneFlags, Addr): a thread, whose stack pointer starts at Addr
)

// Op is one operation that the monitor asks of a stub. Addr, Len and Off are in bytes and whole pages; Prot is PROT_READ,
// PROT_WRITE and PROT_EXEC of mmap(2). The stub's assembly knows its layout from here.
type Op struct {
	Kind OpKind
	Prot uint32
	Addr uint64
	Len  uint64
	Off  uint64
}
