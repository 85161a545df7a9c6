package mm

import (
	"goum/arch/abi"
	"goum/physmem"
)

// Pager gives the pages of what is mapped: a file's page cache, shared anonymous memory, a device. mm knows no file.
//
// A pager must be comparable (a pointer): two mappings of one pager share their futexes and may be merged.
type Pager interface {
	// Page returns the frame of page index, with a reference for the caller. It is called with no lock held and may sleep
	// through w. write says that the page will be written through a shared mapping.
	// ENOMEM is out of memory; EINTR and ERESTARTSYS an interrupted sleep, and the access is tried again when the task comes
	// back; ENXIO (beyond the end), EIO and all else become SIGBUS.
	Page(w Sleeper, index uint64, write bool) (physmem.Frame, abi.Errno)

	// Mapped is told of each new mapping: length bytes from byte offset on. write: it is shared, and may be made writable.
	// Unmapped takes it back, perhaps in parts and perhaps as parts of a later Mapped that continues it: a pager counts
	// bytes for each Space, it does not keep ranges. Both are called under the Space's lock and may take locks from
	// PageCache on; they must not call the Space.
	Mapped(s *Space, start Addr, length, offset uint64, shared, write bool)
	Unmapped(s *Space, start Addr, length, offset uint64, shared, write bool)
}

// Cacher is a Pager that can say without sleeping what it has at hand: faults then map neighbours, too.
type Cacher interface {
	// Cached fills frames[i] with the frame of page index+i, with a reference for the caller, or 0 where there is none yet
	// (or nothing: beyond the end). Locks as for Mapped; it never sleeps.
	Cached(index uint64, frames []physmem.Frame)
}

// Remover is a Pager from which pages can be taken: madvise(MADV_REMOVE) becomes zeros, as fallocate(2) punching a hole. It is
// called with no lock held and calls Invalidate on each Space that maps the pages. Without it: EOPNOTSUPP.
type Remover interface {
	Remove(w Sleeper, index, n uint64) abi.Errno
}

// Syncer is a Pager that can write its dirty pages back, for msync(MS_SYNC); it is called with no lock held. Without it there
// is nothing to write.
type Syncer interface {
	Sync(w Sleeper, index, n uint64) abi.Errno
}
