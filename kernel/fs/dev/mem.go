package dev

import (
	"encoding/binary"

	"goum/arch/abi"
	"goum/kernel/fs/vfs"
	"goum/mm"
	"goum/sched"
)

// slice is how much a device gives or takes before it looks for signals.
const slice = 1 << 20

// null is /dev/null: null(4).
type null struct{}

func (null) Read(*vfs.Caller, *mm.Buf, vfs.At) (int, abi.Errno) { return 0, 0 }

// Write takes all without looking at it: a bad address is no error, as in Linux.
func (null) Write(_ *vfs.Caller, src *mm.Buf, _ vfs.At) (int, abi.Errno) { return src.Len(), 0 }

func (null) Release() {}

// Seek always goes to 0.
func (null) Seek(*vfs.Caller, int64, int64, int) (int64, abi.Errno) { return 0, 0 }

// Sync fails: a character device has nothing to write back.
func (null) Sync(*vfs.Caller, bool) abi.Errno { return abi.EINVAL }

// zero is /dev/zero.
type zero struct{ null }

// Read gives zeros, until a signal comes.
func (zero) Read(c *vfs.Caller, dst *mm.Buf, _ vfs.At) (int, abi.Errno) {
	total := 0
	for dst.Len() > 0 {
		n, e := dst.Zero(min(dst.Len(), slice))
		total += n
		switch {
		case e != 0 && total > 0, dst.Len() == 0:
			return total, 0
		case e != 0:
			return 0, e
		}
		if pause(c) {
			return total, 0
		}
	}
	return total, 0
}

// Map is anonymous memory; a shared mapping's pages are its own, and live as long as it does.
func (zero) Map(_ *vfs.Caller, o *mm.MapOpts) abi.Errno {
	o.Pager, o.Offset = nil, 0
	return 0
}

// pause lets others run, and says whether a signal is pending.
func pause(c *vfs.Caller) bool {
	t := c.Thread
	if t == nil {
		return false
	}
	if t.NeedResched() {
		t.Yield()
	}
	return t.Interrupted()
}

// full is /dev/full.
type full struct{ null }

// Read gives zeros.
func (full) Read(c *vfs.Caller, dst *mm.Buf, at vfs.At) (int, abi.Errno) {
	return zero{}.Read(c, dst, at)
}

// Write refuses: ENOSPC.
func (full) Write(*vfs.Caller, *mm.Buf, vfs.At) (int, abi.Errno) { return 0, abi.ENOSPC }

// randomDevice is /dev/random and /dev/urandom, which never block: random(4).
type randomDevice struct {
	fill  Random
	queue sched.Queue // nobody is ever told anything
}

// ioctl(2) calls of random(4).
const (
	rndGetEntCnt   = 0x80045200
	rndAddToEntCnt = 0x40045201
	rndAddEntropy  = 0x40085203
	rndZapEntCnt   = 0x5204
	rndClearPool   = 0x5206
	rndReseed      = 0x5207
	entropyBits    = 256 // what a pool that is ready always has
)

// Read gives random bytes, until a signal comes.
func (r *randomDevice) Read(c *vfs.Caller, dst *mm.Buf, _ vfs.At) (int, abi.Errno) {
	var b [256]byte
	total := 0
	for dst.Len() > 0 {
		p := b[:min(len(b), dst.Len())]
		r.fill(p)
		n, e := dst.Write(p)
		total += n
		if e != 0 {
			if total > 0 {
				e = 0
			}
			return total, e
		}
		if total%4096 == 0 && pause(c) {
			break
		}
	}
	return total, 0
}

// Write takes all: what a guest knows adds nothing.
func (r *randomDevice) Write(c *vfs.Caller, src *mm.Buf, _ vfs.At) (int, abi.Errno) {
	var b [256]byte
	total := 0
	for src.Len() > 0 {
		n, e := src.Read(b[:min(len(b), src.Len())])
		total += n
		if e != 0 {
			if total > 0 {
				e = 0
			}
			return total, e
		}
		if total%4096 == 0 && pause(c) {
			break
		}
	}
	return total, 0
}

// Release does nothing.
func (r *randomDevice) Release() {}

// Seek stays where it is.
func (r *randomDevice) Seek(_ *vfs.Caller, pos, _ int64, _ int) (int64, abi.Errno) { return pos, 0 }

// Poll says that both ways are open.
func (r *randomDevice) Poll(*vfs.Caller) sched.Mask {
	return sched.Mask(abi.EPOLLIN | abi.EPOLLRDNORM | abi.EPOLLOUT | abi.EPOLLWRNORM)
}

// Queue is where nothing happens.
func (r *randomDevice) Queue() *sched.Queue { return &r.queue }

// Ioctl is random(4)'s: EPERM without CAP_SYS_ADMIN, EINVAL.
func (r *randomDevice) Ioctl(c *vfs.Caller, cmd uint32, arg uint64) (uint64, abi.Errno) {
	switch cmd {
	case rndGetEntCnt:
		return 0, c.User.CopyOut(arg, binary.LittleEndian.AppendUint32(nil, entropyBits))
	case rndAddToEntCnt, rndAddEntropy:
		if !c.Cred.Has(abi.CAP_SYS_ADMIN) {
			return 0, abi.EPERM
		}
		var b [4]byte
		e := c.User.CopyIn(b[:], arg)
		if e == 0 && int32(binary.LittleEndian.Uint32(b[:])) < 0 {
			e = abi.EINVAL
		}
		return 0, e
	case rndZapEntCnt, rndClearPool, rndReseed:
		if !c.Cred.Has(abi.CAP_SYS_ADMIN) {
			return 0, abi.EPERM
		}
		return 0, 0
	}
	return 0, abi.EINVAL
}
