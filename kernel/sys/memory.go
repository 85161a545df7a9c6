package sys

import (
	"goum/arch/abi"
	"goum/kernel/task"
	"goum/mm"
)

// memoryCalls change the caller's address space.
var memoryCalls = Calls{
	abi.SYS_MMAP:          Def6("mmap", sysMmap).Hex().Partial("MAP_HUGETLB: ENODEV; MAP_SYNC: EOPNOTSUPP"),
	abi.SYS_MPROTECT:      Def3("mprotect", sysMprotect),
	abi.SYS_MUNMAP:        Def2("munmap", sysMunmap),
	abi.SYS_MREMAP:        Def5("mremap", sysMremap).Hex(),
	abi.SYS_BRK:           Def1("brk", sysBrk).Hex(),
	abi.SYS_MADVISE:       Def3("madvise", sysMadvise),
	abi.SYS_MINCORE:       Def3("mincore", sysMincore),
	abi.SYS_MSYNC:         Def3("msync", sysMsync),
	abi.SYS_MLOCK:         Def2("mlock", sysMlock),
	abi.SYS_MLOCK2:        Def3("mlock2", sysMlock2),
	abi.SYS_MUNLOCK:       Def2("munlock", sysMunlock),
	abi.SYS_MLOCKALL:      Def1("mlockall", sysMlockall),
	abi.SYS_MUNLOCKALL:    Def0("munlockall", sysMunlockall),
	abi.SYS_PKEY_MPROTECT: Def4("pkey_mprotect", sysPkeyMprotect).Partial("no protection keys, as on a processor without them"),
	abi.SYS_PKEY_ALLOC:    Def2("pkey_alloc", sysPkeyAlloc).Partial("no protection keys: ENOSPC"),
	abi.SYS_PKEY_FREE:     Def1("pkey_free", sysPkeyFree).Partial("no protection keys: EINVAL"),
}

const pageMask = mm.PageSize - 1

// legacyMap are the flags that MAP_SHARED_VALIDATE knows.
const legacyMap = abi.MAP_SHARED | abi.MAP_PRIVATE | abi.MAP_FIXED | abi.MAP_ANONYMOUS | abi.MAP_DENYWRITE | abi.MAP_EXECUTABLE |
	abi.MAP_GROWSDOWN | abi.MAP_LOCKED | abi.MAP_NORESERVE | abi.MAP_POPULATE | abi.MAP_NONBLOCK | abi.MAP_STACK | abi.MAP_HUGETLB |
	abi.MAP_32BIT | abi.MAP_ABOVE4G | abi.MAP_FIXED_NOREPLACE | abi.MAP_HUGE_MASK<<abi.MAP_HUGE_SHIFT

// sysMmap maps a file or anonymous memory, in the order of ksys_mmap_pgoff and do_mmap: mmap(2).
func sysMmap(t *task.Task, addr Addr, length Size, prot ProtFlags, flags MapFlags, fd FD, off Hex) (uint64, abi.Errno) {
	if off&pageMask != 0 {
		return 0, abi.EINVAL
	}
	opts := mm.MapOpts{Prot: uint64(prot), Flags: uint64(flags), Offset: uint64(off), Sleep: t.Thread}
	if flags&abi.MAP_ANONYMOUS != 0 {
		return t.Space().Map(uint64(addr), uint64(length), opts)
	}
	o, e := get(t, fd)
	if e != 0 {
		return 0, e
	}
	defer o.Unref()
	// Before the file is asked, as do_mmap does: the length, the type, and how the file is open. The rest is Map's.
	switch rounded := (uint64(length) + pageMask) &^ pageMask; {
	case length == 0:
		return 0, abi.EINVAL
	case rounded == 0 || rounded > mm.TaskSize:
		return 0, abi.ENOMEM
	case uint64(off)+rounded < uint64(off), int64(uint64(off)+rounded) < 0: // the latter is file_mmap_ok
		return 0, abi.EOVERFLOW
	}
	switch flags & abi.MAP_TYPE {
	case abi.MAP_SHARED_VALIDATE:
		if flags&^(legacyMap|abi.MAP_SHARED_VALIDATE) != 0 {
			return 0, abi.EOPNOTSUPP
		}
		fallthrough
	case abi.MAP_SHARED:
		if prot&abi.PROT_WRITE != 0 && !o.Writable() {
			return 0, abi.EACCES
		}
	case abi.MAP_PRIVATE:
	default:
		return 0, abi.EINVAL
	}
	if !o.Readable() {
		return 0, abi.EACCES
	}
	if !o.Writable() {
		opts.Deny |= abi.PROT_WRITE
	}
	if o.Loc.Mount.Noexec() {
		if prot&abi.PROT_EXEC != 0 {
			return 0, abi.EPERM
		}
		opts.Deny |= abi.PROT_EXEC
	}
	if e := o.Map(t.Caller(), &opts); e != 0 {
		return 0, e
	}
	opts.File = o
	return t.Space().Map(uint64(addr), uint64(length), opts)
}

// sysMunmap takes mappings away: munmap(2).
func sysMunmap(t *task.Task, addr Addr, length Size) (uint64, abi.Errno) {
	return 0, t.Space().Unmap(uint64(addr), uint64(length))
}

// sysMprotect changes protections: mprotect(2).
func sysMprotect(t *task.Task, addr Addr, length Size, prot ProtFlags) (uint64, abi.Errno) {
	return 0, t.Space().Protect(uint64(addr), uint64(length), uint64(prot))
}

// sysMremap grows, shrinks or moves a mapping: mremap(2).
func sysMremap(t *task.Task, addr Addr, oldLen, newLen Size, flags Hex, to Addr) (uint64, abi.Errno) {
	return t.Space().Remap(uint64(addr), uint64(oldLen), uint64(newLen), uint64(flags), uint64(to))
}

// sysBrk moves the end of the data segment, and answers where it is; there is no error: brk(2).
func sysBrk(t *task.Task, addr Addr) (uint64, abi.Errno) { return t.Space().Brk(uint64(addr)), 0 }

// sysMadvise is madvise(2).
func sysMadvise(t *task.Task, addr Addr, length Size, advice Advice) (uint64, abi.Errno) {
	return 0, t.Space().Advise(t.Thread, uint64(addr), uint64(length), int32(advice))
}

// incoreChunk is how many pages of mincore's answer are made at once: a page of them, as in Linux.
const incoreChunk = 4096

// sysMincore says which pages are in memory: mincore(2). EINVAL (not on a page), ENOMEM (beyond user space, not mapped), EFAULT.
func sysMincore(t *task.Task, addr Addr, length Size, vec Addr) (uint64, abi.Errno) {
	if addr&pageMask != 0 {
		return 0, abi.EINVAL
	}
	if !accessOK(uint64(addr), uint64(length)) {
		return 0, abi.ENOMEM
	}
	pages := (uint64(length) + pageMask) / mm.PageSize
	if !accessOK(uint64(vec), pages) {
		return 0, abi.EFAULT
	}
	buf := make([]byte, min(pages, incoreChunk))
	for pages > 0 {
		b := buf[:min(pages, incoreChunk)]
		if e := t.Space().Incore(uint64(addr), b); e != 0 {
			return 0, e
		}
		if e := copyOut(t, uint64(vec), b); e != 0 {
			return 0, e
		}
		if t.Thread.Killed() {
			return 0, abi.EINTR
		}
		resched(t)
		n := uint64(len(b))
		pages, addr, vec = pages-n, addr+Addr(n*mm.PageSize), vec+Addr(n)
	}
	return 0, 0
}

// sysMsync writes mapped pages back: msync(2).
func sysMsync(t *task.Task, addr Addr, length Size, flags Int) (uint64, abi.Errno) {
	return 0, t.Space().Sync(t.Thread, uint64(addr), uint64(length), uint64(uint32(flags)))
}

func sysMlock(t *task.Task, addr Addr, length Size) (uint64, abi.Errno) {
	return 0, t.Space().Lock(t.Thread, uint64(addr), uint64(length), false)
}

func sysMlock2(t *task.Task, addr Addr, length Size, flags Int) (uint64, abi.Errno) {
	if flags&^abi.MLOCK_ONFAULT != 0 {
		return 0, abi.EINVAL
	}
	return 0, t.Space().Lock(t.Thread, uint64(addr), uint64(length), flags != 0)
}

func sysMunlock(t *task.Task, addr Addr, length Size) (uint64, abi.Errno) {
	return 0, t.Space().Unlock(uint64(addr), uint64(length))
}

// sysMlockall locks everything: mlockall(2). EINVAL (no flag, an unknown one, MCL_ONFAULT alone), and what LockAll says.
func sysMlockall(t *task.Task, flags Int) (uint64, abi.Errno) {
	if flags == 0 || flags&^(abi.MCL_CURRENT|abi.MCL_FUTURE|abi.MCL_ONFAULT) != 0 || flags == abi.MCL_ONFAULT {
		return 0, abi.EINVAL
	}
	return 0, t.Space().LockAll(t.Thread, uint64(uint32(flags)))
}

func sysMunlockall(t *task.Task) (uint64, abi.Errno) {
	t.Space().UnlockAll()
	return 0, 0
}

// sysPkeyMprotect is mprotect for key -1, which is all that a processor without protection keys takes: pkey_mprotect(2).
func sysPkeyMprotect(t *task.Task, addr Addr, length Size, prot ProtFlags, key Int) (uint64, abi.Errno) {
	if key != -1 {
		return 0, abi.EINVAL
	}
	return sysMprotect(t, addr, length, prot)
}

func sysPkeyAlloc(t *task.Task, flags, rights Hex) (uint64, abi.Errno) {
	if flags != 0 || rights&^3 != 0 {
		return 0, abi.EINVAL
	}
	return 0, abi.ENOSPC
}

func sysPkeyFree(t *task.Task, key Int) (uint64, abi.Errno) { return 0, abi.EINVAL }
