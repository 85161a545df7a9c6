package pipe

import (
	"goum/arch/abi"
	"goum/kernel/fs/vfs"
	"goum/mm"
	"goum/sched"
	"goum/sched/clock"
)

// Of is the pipe that an open file is an end of, or nil.
func Of(o *vfs.Open) *Pipe {
	if e, ok := o.File.(*end); ok {
		return e.p
	}
	return nil
}

// Off is a place in a file for Splice and Copy: nil means the file's own position.
type Off = *int64

func readAt(c *vfs.Caller, o *vfs.Open, b *mm.Buf, off Off) (int, abi.Errno) {
	if off == nil {
		return o.Read(c, b)
	}
	n, e := o.Pread(c, b, *off)
	*off += int64(n)
	return n, e
}

func writeAt(c *vfs.Caller, o *vfs.Open, b *mm.Buf, off Off) (int, abi.Errno) {
	if off == nil {
		return o.Write(c, b)
	}
	n, e := o.Pwrite(c, b, *off)
	*off += int64(n)
	return n, e
}

// Splice is splice(2), one side of which is a pipe: up to n bytes from in to out. EBADF, EINVAL (no pipe; both ends of one; a file
// for appending), ESPIPE (an offset for a pipe), EAGAIN, EPIPE, ERESTARTSYS. flags are SPLICE_F bits.
func Splice(c *vfs.Caller, in *vfs.Open, inOff Off, out *vfs.Open, outOff Off, n int, flags uint32) (int, abi.Errno) {
	if n == 0 {
		return 0, 0
	}
	if !in.Readable() || !out.Writable() {
		return 0, abi.EBADF
	}
	ip, op := Of(in), Of(out)
	switch {
	case ip != nil && op != nil:
		if inOff != nil || outOff != nil {
			return 0, abi.ESPIPE
		}
		if ip == op {
			return 0, abi.EINVAL
		}
	case ip != nil:
		if inOff != nil {
			return 0, abi.ESPIPE
		}
		if out.Flags()&abi.O_APPEND != 0 {
			return 0, abi.EINVAL
		}
	case op != nil:
		if outOff != nil {
			return 0, abi.ESPIPE
		}
	default:
		return 0, abi.EINVAL
	}
	nonblock := flags&abi.SPLICE_F_NONBLK != 0
	if ip != nil {
		return ip.spliceTo(c, out, outOff, n, nonblock || in.Flags()&abi.O_NONBLOCK != 0)
	}
	return op.spliceFrom(c, in, inOff, n, nonblock || out.Flags()&abi.O_NONBLOCK != 0)
}

// waitReadable waits with the gate not held: 0 bytes and no errno is the end.
func (p *Pipe) waitReadable(c *vfs.Caller, nonblock bool) abi.Errno {
	if p.readable() {
		return 0
	}
	if nonblock {
		return abi.EAGAIN
	}
	if p.q.Wait(c.Thread, inMask|abi.POLLHUP, clock.Never, p.readable) != sched.Woken {
		return abi.ERESTARTSYS
	}
	return 0
}

func (p *Pipe) waitWritable(c *vfs.Caller, nonblock bool) abi.Errno {
	if p.readers.Load() == 0 {
		return abi.EPIPE
	}
	if p.writable() {
		return 0
	}
	if nonblock {
		return abi.EAGAIN
	}
	if p.q.Wait(c.Thread, outMask|abi.POLLERR, clock.Never, p.writable) != sched.Woken {
		return abi.ERESTARTSYS
	}
	if p.readers.Load() == 0 {
		return abi.EPIPE
	}
	return 0
}

// spliceTo drains p into out: what out took is gone from p, and nothing else.
func (p *Pipe) spliceTo(c *vfs.Caller, out *vfs.Open, off Off, n int, nonblock bool) (done int, e abi.Errno) {
	buf := pagePool.Get().(*[pageSize]byte)
	defer pagePool.Put(buf)
	if e := p.waitReadable(c, nonblock); e != 0 {
		return 0, e
	}
	for done < n {
		// out may sleep, for instance on this very gate's other user: the bytes are copied out, and taken off once out has them.
		k := p.peek(c, buf[:min(n-done, pageSize)])
		if k == 0 {
			break
		}
		b := mm.BytesBuf(buf[:k])
		w, er := writeAt(c, out, b, off)
		p.consume(c, w)
		done += w
		if er != 0 || w < k {
			if done == 0 {
				e = er
			}
			break
		}
	}
	return done, e
}

// peek copies bytes from the front of p, without taking them.
func (p *Pipe) peek(c *vfs.Caller, b []byte) int {
	p.gate.Lock(c.Thread)
	defer p.gate.Unlock()
	n := 0
	for i := p.tail; i != p.head && n < len(b); i++ {
		s := &p.ring[i&uint32(len(p.ring)-1)]
		n += copy(b[n:], s.page[s.off:s.off+s.n])
	}
	return n
}

// consume takes n bytes from the front.
func (p *Pipe) consume(c *vfs.Caller, n int) {
	p.gate.Lock(c.Thread)
	was := p.full()
	for n > 0 && p.tail != p.head {
		s := &p.ring[p.tail&uint32(len(p.ring)-1)]
		k := min(n, s.n)
		s.off += k
		s.n -= k
		n -= k
		if s.n == 0 {
			p.pop()
		}
	}
	now := p.full()
	p.gate.Unlock()
	if was && !now {
		p.q.WakeOne(outMask)
		p.sigio(abi.POLLOUT)
	}
}

// spliceFrom fills p from in: as much as in gives at once and p has room for.
func (p *Pipe) spliceFrom(c *vfs.Caller, in *vfs.Open, off Off, n int, nonblock bool) (done int, e abi.Errno) {
	if e := p.waitWritable(c, nonblock); e != 0 {
		return 0, e
	}
	for done < n && !p.full() {
		page := pagePool.Get().(*[pageSize]byte)
		b := mm.BytesBuf(page[:min(n-done, pageSize)])
		want := b.Len()
		k, er := readAt(c, in, b, off)
		if k == 0 {
			pagePool.Put(page)
			if done == 0 {
				e = er
			}
			break
		}
		if er := p.insert(c, page, k, nonblock); er != 0 {
			if done == 0 {
				e = er
			}
			break
		}
		done += k
		if er != 0 || k < want {
			break
		}
	}
	return done, e
}

// insert adds a page with n bytes, and waits for room if another writer took it: the bytes are read from their file already.
func (p *Pipe) insert(c *vfs.Caller, page *[pageSize]byte, n int, nonblock bool) abi.Errno {
	for {
		p.gate.Lock(c.Thread)
		if p.readers.Load() == 0 {
			p.gate.Unlock()
			pagePool.Put(page)
			return abi.EPIPE
		}
		if int(p.head-p.tail) < len(p.ring) {
			was := p.head == p.tail
			p.ring[p.head&uint32(len(p.ring)-1)] = slot{page: page, n: n}
			p.push()
			p.gate.Unlock()
			if was || p.polled.Load() {
				p.wakeReaders()
			}
			return 0
		}
		p.gate.Unlock()
		if e := p.waitWritable(c, nonblock); e != 0 {
			pagePool.Put(page)
			return e
		}
	}
}

// Tee is tee(2): it copies up to n bytes from in to out, both pipes, and takes nothing from in. EBADF, EINVAL, EAGAIN, EPIPE,
// ERESTARTSYS.
func Tee(c *vfs.Caller, in, out *vfs.Open, n int, flags uint32) (int, abi.Errno) {
	if !in.Readable() || !out.Writable() {
		return 0, abi.EBADF
	}
	ip, op := Of(in), Of(out)
	if ip == nil || op == nil || ip == op {
		return 0, abi.EINVAL
	}
	if n == 0 {
		return 0, 0
	}
	nonblock := flags&abi.SPLICE_F_NONBLK != 0 || in.Flags()&abi.O_NONBLOCK != 0 || out.Flags()&abi.O_NONBLOCK != 0
	if e := ip.waitReadable(c, nonblock); e != 0 {
		return 0, e
	}
	if e := op.waitWritable(c, nonblock); e != 0 {
		return 0, e
	}
	buf := make([]byte, min(n, 16*pageSize))
	k := ip.peek(c, buf)
	done := 0
	for done < k && !op.full() {
		page := pagePool.Get().(*[pageSize]byte)
		w := copy(page[:], buf[done:k])
		if e := op.insert(c, page, w, true); e != 0 {
			if done == 0 {
				return 0, e
			}
			break
		}
		done += w
	}
	return done, 0
}

// Copy moves up to n bytes from in to out through the kernel: sendfile(2) and copy_file_range(2). It stops where in ends or gives less, or out
// takes less; EBADF, and what the two say.
func Copy(c *vfs.Caller, in *vfs.Open, inOff Off, out *vfs.Open, outOff Off, n int) (done int, e abi.Errno) {
	if !in.Readable() || !out.Writable() {
		return 0, abi.EBADF
	}
	buf := make([]byte, min(n, 16*pageSize))
	for done < n {
		b := mm.BytesBuf(buf[:min(n-done, len(buf))])
		want := b.Len()
		k, er := readAt(c, in, b, inOff)
		if k == 0 {
			if done == 0 {
				e = er
			}
			break
		}
		b = mm.BytesBuf(buf[:k])
		w, ew := writeAt(c, out, b, outOff)
		done += w
		if w < k {
			// What was read too much is given back, where there is a position to give it back to.
			if inOff != nil {
				*inOff -= int64(k - w)
			} else {
				in.Seek(c, int64(w-k), abi.SEEK_CUR)
			}
			if done == 0 {
				e = ew
			}
			break
		}
		if er != 0 || ew != 0 || k < want {
			break
		}
	}
	return done, e
}
