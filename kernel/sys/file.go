package sys

import (
	"goum/arch/abi"
	"goum/kernel/fs/vfs"
	"goum/kernel/signal"
	"goum/kernel/task"
)

// fileCalls work on descriptors and open files.
var fileCalls = Calls{
	abi.SYS_CLOSE:           Def1("close", sysClose),
	abi.SYS_CLOSE_RANGE:     Def3("close_range", sysCloseRange).Partial("CLOSE_RANGE_UNSHARE of a table that others use: EINVAL"),
	abi.SYS_DUP:             Def1("dup", sysDup),
	abi.SYS_DUP2:            Def2("dup2", sysDup2),
	abi.SYS_DUP3:            Def3("dup3", sysDup3),
	abi.SYS_FCNTL:           Def3("fcntl", sysFcntl).Partial("no leases, F_NOTIFY or write hints: EINVAL"),
	abi.SYS_IOCTL:           Def3("ioctl", sysIoctl),
	abi.SYS_FLOCK:           Def2("flock", sysFlock),
	abi.SYS_FSYNC:           Def1("fsync", sysFsync),
	abi.SYS_FDATASYNC:       Def1("fdatasync", sysFdatasync),
	abi.SYS_SYNC:            Def0("sync", sysSync),
	abi.SYS_SYNCFS:          Def1("syncfs", sysSyncfs),
	abi.SYS_FALLOCATE:       Def4("fallocate", sysFallocate),
	abi.SYS_FADVISE64:       Def4("fadvise64", sysFadvise64).Partial("advice is checked, then ignored"),
	abi.SYS_READAHEAD:       Def3("readahead", sysReadahead).Partial("checked, then ignored"),
	abi.SYS_SYNC_FILE_RANGE: Def4("sync_file_range", sysSyncFileRange).Partial("the whole file is synced"),
}

// sysClose closes a descriptor, whatever it returns: close(2). What would restart the call is EINTR: the number is gone.
func sysClose(t *task.Task, fd FD) (uint64, abi.Errno) {
	e := t.FDs().Close(t.Caller(), int32(fd))
	if e >= abi.ERESTARTSYS {
		e = abi.EINTR
	}
	return 0, e
}

// sysCloseRange closes a range of descriptors, or marks them: close_range(2). EINVAL (flags, first beyond last), EMFILE.
func sysCloseRange(t *task.Task, first, last Uint, flags Hex) (uint64, abi.Errno) {
	if flags&^(abi.CLOSE_RANGE_UNSHARE|abi.CLOSE_RANGE_CLOEXEC) != 0 || first > last {
		return 0, abi.EINVAL
	}
	if flags&abi.CLOSE_RANGE_UNSHARE != 0 && t.FDs().Shared() {
		return 0, abi.EINVAL
	}
	return 0, t.FDs().CloseRange(t.Caller(), uint32(first), uint32(last), flags&abi.CLOSE_RANGE_CLOEXEC != 0)
}

func sysDup(t *task.Task, fd FD) (uint64, abi.Errno) {
	n, e := t.FDs().Dup(t.Caller(), int32(fd), 0, false)
	return uint64(n), e
}

// sysDup2 makes to mean what from does; the same number twice only looks whether it is open: dup2(2).
func sysDup2(t *task.Task, from, to FD) (uint64, abi.Errno) {
	if from == to {
		o, e := getRaw(t, from)
		if e != 0 {
			return 0, e
		}
		o.Unref()
		return uint64(to), 0
	}
	return 0 + uint64(to), t.FDs().DupTo(t.Caller(), int32(from), int32(to), false)
}

// sysDup3 is dup3(2): EINVAL (flags, the same number twice), EBADF, EBUSY.
func sysDup3(t *task.Task, from, to FD, flags OpenFlags) (uint64, abi.Errno) {
	if flags&^abi.O_CLOEXEC != 0 || from == to {
		return 0, abi.EINVAL
	}
	return uint64(to), t.FDs().DupTo(t.Caller(), int32(from), int32(to), flags.CloseOnExec())
}

// sysFcntl does many things to a descriptor or open file: fcntl(2).
func sysFcntl(t *task.Task, fd FD, cmd FcntlCmd, arg Hex) (uint64, abi.Errno) {
	o, e := getRaw(t, fd)
	if e != 0 {
		return 0, e
	}
	defer o.Unref()
	c, fds := t.Caller(), t.FDs()
	switch cmd { // what O_PATH permits
	case abi.F_DUPFD, abi.F_DUPFD_CLOEXEC:
		if uint64(arg) >= t.Limits().Cur(abi.RLIMIT_NOFILE) || arg > 1<<30 {
			return 0, abi.EINVAL
		}
		n, e := fds.Dup(c, int32(fd), int32(arg), cmd == abi.F_DUPFD_CLOEXEC)
		return uint64(n), e
	case abi.F_DUPFD_QUERY:
		p, e := getRaw(t, FD(arg))
		if e != 0 {
			return 0, 0
		}
		defer p.Unref()
		return bool01(o == p), 0
	case abi.F_GETFD:
		return bool01(fds.GetCloseOnExec(int32(fd))), 0
	case abi.F_SETFD:
		return 0, fds.SetCloseOnExec(int32(fd), arg&abi.FD_CLOEXEC != 0)
	case abi.F_GETFL:
		return uint64(o.GetFlags()), 0
	}
	if o.IsPath() {
		return 0, abi.EBADF
	}
	switch cmd {
	case abi.F_SETFL:
		return 0, o.SetFlags(c, uint32(arg))
	case abi.F_GETLK, abi.F_OFD_GETLK:
		l, e := In[abi.FlockT](arg).Load(t)
		if e != 0 {
			return 0, e
		}
		if e := o.GetLock(c, int(cmd), &l, fds); e != 0 {
			return 0, e
		}
		return 0, Out[abi.FlockT](arg).Store(t, l)
	case abi.F_SETLK, abi.F_SETLKW, abi.F_OFD_SETLK, abi.F_OFD_SETLKW:
		l, e := In[abi.FlockT](arg).Load(t)
		if e != 0 {
			return 0, e
		}
		if e := o.Lock(c, int(cmd), &l, fds); e != 0 {
			return 0, e
		}
		// Another thread may have closed the descriptor meanwhile: the lock would then never go.
		if p, e := getRaw(t, fd); e == 0 {
			same := p == o
			p.Unref()
			if same {
				return 0, 0
			}
		}
		if cmd == abi.F_SETLK || cmd == abi.F_SETLKW {
			l.Type = abi.F_UNLCK
			o.Lock(c, abi.F_SETLK, &l, fds)
			return 0, abi.EBADF
		}
		return 0, 0
	case abi.F_GETOWN:
		w := o.Owner()
		if w.Type == abi.F_OWNER_PGRP {
			return uint64(-int64(w.ID)), 0
		}
		return uint64(w.ID), 0
	case abi.F_SETOWN:
		id := int32(arg)
		switch {
		case id == -1<<31:
			return 0, abi.EINVAL
		case id < 0:
			return 0, setOwner(t, o, abi.F_OWNER_PGRP, -id)
		}
		return 0, setOwner(t, o, abi.F_OWNER_PID, id)
	case abi.F_GETOWN_EX:
		w := o.Owner()
		return 0, Out[abi.FOwnerEx](arg).Store(t, abi.FOwnerEx{Type: w.Type, PID: w.ID})
	case abi.F_SETOWN_EX:
		w, e := In[abi.FOwnerEx](arg).Load(t)
		if e != 0 {
			return 0, e
		}
		if w.Type < abi.F_OWNER_TID || w.Type > abi.F_OWNER_PGRP {
			return 0, abi.EINVAL
		}
		return 0, setOwner(t, o, w.Type, w.PID)
	case abi.F_GETLEASE:
		return abi.F_UNLCK, 0 // F_SETLEASE is refused: nobody has one
	case abi.F_GETSIG:
		return uint64(o.Sig()), 0
	case abi.F_SETSIG:
		if arg >= abi.NSIG {
			return 0, abi.EINVAL
		}
		o.SetSig(int32(arg))
		return 0, 0
	}
	if f, ok := o.File.(vfs.Controller); ok {
		if res, e, handled := f.Fcntl(c, o, int(cmd), uint64(arg)); handled {
			return res, e
		}
	}
	switch cmd {
	case abi.F_GETPIPE_SZ, abi.F_SETPIPE_SZ:
		return 0, abi.EBADF // no pipe
	}
	return 0, abi.EINVAL
}

// setOwner says who gets SIGIO for o: nobody for 0. ESRCH.
func setOwner(t *task.Task, o *vfs.Open, typ, id int32) abi.Errno {
	w := vfs.Owner{Type: typ, ID: id, Cred: t.Cred()}
	if id != 0 {
		var sink signal.Target
		switch typ {
		case abi.F_OWNER_TID:
			if x := t.System.Tree.FindTask(id); x != nil {
				sink = x
			}
		case abi.F_OWNER_PID:
			if x := t.System.Tree.FindTask(id); x != nil {
				sink = x.Process
			}
		case abi.F_OWNER_PGRP:
			if x := t.System.Tree.FindGroup(id); x != nil {
				sink = x
			}
		}
		if sink == nil {
			return abi.ESRCH
		}
		w.Sink = sink
	}
	o.SetOwner(w)
	return 0
}

// The requests of ioctl(2) that every file has.
const (
	fiBMAP     = 1
	fiGETBSZ   = 2
	fioNREAD   = 0x541b
	fioNBIO    = 0x5421
	fioNCLEX   = 0x5450
	fioCLEX    = 0x5451
	fioASYNC   = 0x5452
	fioQSIZE   = 0x5460
	fiFreeze   = 0xc0045877
	fiThaw     = 0xc0045878
	fiClone    = 0x40049409
	fiCloneRng = 0x4020940d
)

// sysIoctl asks an open file for something of its own: ioctl(2). EBADF, EFAULT, EINVAL, ENOTTY.
func sysIoctl(t *task.Task, fd FD, cmd IoctlCmd, arg Addr) (uint64, abi.Errno) {
	o, e := get(t, fd)
	if e != 0 {
		return 0, e
	}
	defer o.Unref()
	c := t.Caller()
	regular := func() (vfs.Attr, bool) {
		a, e := o.Attr(c)
		return a, e == 0 && a.Mode&abi.S_IFMT == abi.S_IFREG
	}
	switch cmd {
	case fioCLEX, fioNCLEX:
		return 0, t.FDs().SetCloseOnExec(int32(fd), cmd == fioCLEX)
	case fioNBIO:
		on, e := In[int32](arg).Load(t)
		if e != 0 {
			return 0, e
		}
		o.SetNonBlock(on != 0)
		return 0, 0
	case fioASYNC:
		on, e := In[int32](arg).Load(t)
		if e != 0 {
			return 0, e
		}
		if _, ok := o.File.(vfs.Asyncer); !ok {
			if on != 0 && o.Flags()&abi.O_ASYNC == 0 {
				return 0, abi.ENOTTY
			}
			return 0, 0
		}
		f := o.Flags() &^ abi.O_ASYNC
		if on != 0 {
			f |= abi.O_ASYNC
		}
		return 0, o.SetFlags(c, f)
	case fioNREAD:
		if a, ok := regular(); ok {
			return 0, Out[int32](arg).Store(t, int32(a.Size-o.Pos()))
		}
	case fioQSIZE:
		a, e := o.Attr(c)
		if typ := a.Mode & abi.S_IFMT; e != 0 || typ != abi.S_IFREG && typ != abi.S_IFDIR && typ != abi.S_IFLNK {
			return 0, abi.ENOTTY
		}
		return 0, Out[int64](arg).Store(t, a.Size)
	case fiGETBSZ:
		a, e := o.Attr(c)
		if e != 0 {
			return 0, e
		}
		st := o.Loc.Stat(&a)
		return 0, Out[int32](arg).Store(t, int32(st.Blksize))
	case fiBMAP:
		if _, ok := regular(); ok {
			if !t.Cred().Has(abi.CAP_SYS_RAWIO) {
				return 0, abi.EPERM
			}
			return 0, abi.EINVAL // no file has blocks
		}
	case fiFreeze, fiThaw:
		if !t.Cred().Has(abi.CAP_SYS_ADMIN) {
			return 0, abi.EPERM
		}
		return 0, abi.EOPNOTSUPP
	case fiClone, fiCloneRng:
		return 0, abi.EOPNOTSUPP
	}
	return o.Ioctl(c, uint32(cmd), uint64(arg))
}

// lockMand was LOCK_MAND, for Samba: gone from Linux, which answers as if it had done it.
const lockMand = 32

func sysFlock(t *task.Task, fd FD, op Int) (uint64, abi.Errno) {
	if op&lockMand != 0 {
		return 0, 0
	}
	switch op &^ abi.LOCK_NB {
	case abi.LOCK_SH, abi.LOCK_EX, abi.LOCK_UN:
	default:
		return 0, abi.EINVAL
	}
	o, e := get(t, fd)
	if e != 0 {
		return 0, e
	}
	defer o.Unref()
	return 0, o.Flock(t.Caller(), int(op))
}

func sysFsync(t *task.Task, fd FD) (uint64, abi.Errno)     { return syncFile(t, fd, false) }
func sysFdatasync(t *task.Task, fd FD) (uint64, abi.Errno) { return syncFile(t, fd, true) }

func syncFile(t *task.Task, fd FD, data bool) (uint64, abi.Errno) {
	o, e := get(t, fd)
	if e != 0 {
		return 0, e
	}
	defer o.Unref()
	return 0, o.Sync(t.Caller(), data)
}

// sysSync writes back all file systems that the caller can see: sync(2).
func sysSync(t *task.Task) (uint64, abi.Errno) {
	c := t.Caller()
	for _, m := range vfs.MountLines(c.Root()) {
		if l, e := c.Walk(vfs.Location{}, m.Point, vfs.Follow); e == 0 {
			syncSuper(c, l)
		}
	}
	return 0, 0
}

func syncSuper(c *vfs.Caller, l vfs.Location) abi.Errno {
	if s, ok := l.Dentry.Super().FS.(vfs.SuperSyncer); ok {
		return s.Sync(c)
	}
	return 0
}

func sysSyncfs(t *task.Task, fd FD) (uint64, abi.Errno) {
	o, e := get(t, fd)
	if e != 0 {
		return 0, e
	}
	defer o.Unref()
	return 0, syncSuper(t.Caller(), o.Loc)
}

func sysFallocate(t *task.Task, fd FD, mode Int, off, length Off) (uint64, abi.Errno) {
	o, e := get(t, fd)
	if e != 0 {
		return 0, e
	}
	defer o.Unref()
	return 0, o.Allocate(t.Caller(), uint32(mode), int64(off), int64(length))
}

// isPipe says whether o is a pipe or fifo.
func isPipe(t *task.Task, o *vfs.Open) bool {
	a, e := o.Attr(t.Caller())
	return e == 0 && a.Mode&abi.S_IFMT == abi.S_IFIFO
}

// sysFadvise64 checks an advice: posix_fadvise(2). EBADF, ESPIPE, EINVAL.
func sysFadvise64(t *task.Task, fd FD, off, length Off, advice Int) (uint64, abi.Errno) {
	o, e := get(t, fd)
	if e != 0 {
		return 0, e
	}
	defer o.Unref()
	switch {
	case isPipe(t, o):
		return 0, abi.ESPIPE
	case length < 0, advice < abi.POSIX_FADV_NORMAL, advice > abi.POSIX_FADV_NOREUSE:
		return 0, abi.EINVAL
	}
	return 0, 0
}

// sysReadahead checks its arguments; pages come when they are read: readahead(2). EBADF, EINVAL.
func sysReadahead(t *task.Task, fd FD, off Off, n Size) (uint64, abi.Errno) {
	o, e := get(t, fd)
	if e != 0 {
		return 0, e
	}
	defer o.Unref()
	if !o.Readable() {
		return 0, abi.EBADF
	}
	if a, e := o.Attr(t.Caller()); e != 0 || a.Mode&abi.S_IFMT != abi.S_IFREG {
		return 0, abi.EINVAL
	}
	return 0, 0
}

// sysSyncFileRange is sync_file_range(2): EBADF, EINVAL, ESPIPE.
func sysSyncFileRange(t *task.Task, fd FD, off, n Off, flags Hex) (uint64, abi.Errno) {
	o, e := get(t, fd)
	if e != 0 {
		return 0, e
	}
	defer o.Unref()
	if flags&^7 != 0 || off < 0 || n < 0 || off+n < off {
		return 0, abi.EINVAL
	}
	a, e := o.Attr(t.Caller())
	if e != 0 {
		return 0, e
	}
	switch a.Mode & abi.S_IFMT {
	case abi.S_IFREG, abi.S_IFBLK, abi.S_IFDIR, abi.S_IFLNK:
	default:
		return 0, abi.ESPIPE
	}
	if flags == 0 {
		return 0, 0
	}
	return 0, o.Sync(t.Caller(), true)
}
