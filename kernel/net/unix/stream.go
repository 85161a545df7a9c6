package unix

import (
	"goum/arch/abi"
	"goum/kernel/fs/vfs"
	"goum/kernel/net/socket"
	"goum/mm"
	"goum/sched"
	"goum/sched/clock"
)

// lockGate takes a ring's gate; only who copies holds it.
func lockGate(g *sched.Gate, c *vfs.Caller) {
	if !g.TryLock() {
		g.Lock(c.Thread)
	}
}

// sendStream is unix_stream_sendmsg: EOPNOTSUPP (out-of-band data, an address), EISCONN, ENOTCONN, EPIPE, EAGAIN, ENOBUFS, EFAULT, and what
// ancillary data says.
func (k *sock) sendStream(c *vfs.Caller, src *mm.Buf, flags uint32, m *socket.Msg) (int, abi.Errno) {
	var mk *mark
	if m != nil {
		if e := k.f.net.ParseSCM(c, m, true); e != 0 {
			return 0, e
		}
	}
	if flags&abi.MSG_OOB != 0 {
		return 0, abi.EOPNOTSUPP
	}
	if m != nil && len(m.Addr.Bytes()) != 0 {
		if k.state.Load() == abi.TCP_ESTABLISHED {
			return 0, abi.EISCONN
		}
		return 0, abi.EOPNOTSUPP
	}
	other := k.peer.Load()
	if other == nil {
		return 0, abi.ENOTCONN
	}
	if k.shut.Load()&shutSend != 0 {
		return 0, abi.EPIPE
	}
	if m != nil && (m.Explicit || len(m.Files) > 0) || k.s.PassCred() || other.s.PassCred() {
		mk = &mark{hasCred: true}
		if m != nil {
			mk.cred = m.Cred
		} else {
			mk.cred = socket.CallerCred(c)
		}
		if m != nil && len(m.Files) > 0 && src.Len() > 0 {
			if !other.s.PassRights() {
				return 0, abi.EPERM
			}
			p, e := k.f.launch(c, m)
			if e != 0 {
				return 0, e
			}
			mk.files, mk.fenced = p, true
		}
	}
	n, e := k.sendBytes(c, other, src, k.s.SendDeadline(flags&abi.MSG_DONTWAIT != 0), mk)
	if mk != nil && mk.files != nil { // never got there
		k.f.drop(k.f.land(mk.files))
	}
	return n, e
}

// sendBytes drains src into other's ring. It takes the files of mk.
func (k *sock) sendBytes(c *vfs.Caller, other *sock, src *mm.Buf, deadline clock.Time, mk *mark) (sent int, e abi.Errno) {
	r := &other.in
	for src.Len() > 0 {
		if k.s.Failed() {
			if e = k.s.TakeError(); e != 0 {
				return sent, e
			}
		}
		if k.shut.Load()&shutSend != 0 {
			return sent, abi.EPIPE
		}
		limit := int(k.s.SndBuf.Load())
		lockGate(&r.wgate, c)
		n, full, e := r.fill(src, limit, mk)
		if mk != nil && mk.files != nil && n > 0 {
			if !k.f.publish(r, n, mk) {
				n, e = 0, abi.EPIPE
			}
		}
		r.wgate.Unlock()
		sent += n
		if n > 0 {
			other.s.Wake(socket.ReadEvents)
			continue
		}
		if e != 0 {
			return sent, e
		}
		if full {
			e := k.s.Wait(c, socket.WriteEvents, deadline, func() bool {
				return r.charged() < int(k.s.SndBuf.Load()) || k.shut.Load()&shutSend != 0 || k.s.Failed()
			})
			if e != 0 {
				return sent, e
			}
		}
	}
	return sent, 0
}

// recvStream is unix_stream_read_generic: EINVAL (not connected), EOPNOTSUPP, ECONNRESET, EAGAIN, EFAULT.
func (k *sock) recvStream(c *vfs.Caller, dst *mm.Buf, flags uint32, m *socket.Msg) (int, abi.Errno) {
	if k.state.Load() != abi.TCP_ESTABLISHED {
		return 0, abi.EINVAL
	}
	if flags&abi.MSG_OOB != 0 {
		return 0, abi.EINVAL // nothing out of band ever comes
	}
	r := &k.in
	target := k.s.Lowat(flags&abi.MSG_WAITALL != 0, dst.Len())
	deadline := k.s.RecvDeadline(flags&abi.MSG_DONTWAIT != 0)
	peek := flags&abi.MSG_PEEK != 0
	var got gathered
	skip := uint64(k.peekStart(flags))
	var e abi.Errno
	lockGate(&r.rgate, c)
	for dst.Len() > 0 || got.n == 0 && dst.Len() == 0 {
		shut := k.shut.Load() // before the buffer is looked at
		before, chunk, stop := k.nextChunk(&got, skip, dst.Len())
		if chunk == nil && !stop {
			if got.n >= target {
				break
			}
			if e = k.s.TakeError(); e != 0 {
				break
			}
			if shut&shutRecv != 0 {
				break
			}
			if deadline == socket.NoWait {
				e = abi.EAGAIN
				break
			}
			r.rgate.Unlock()
			e = k.s.Wait(c, socket.ReadEvents, deadline, func() bool {
				return r.len() > int(skip) || k.shut.Load()&shutRecv != 0 || k.s.Failed()
			})
			if e != 0 {
				k.finish(&got, m, peek)
				return got.n, e
			}
			lockGate(&r.rgate, c)
			continue
		}
		if stop || dst.Len() == 0 {
			break
		}
		w, fault := dst.Write(chunk)
		got.n += w
		done := k.took(&got, before, w, peek, &skip)
		if fault != 0 || w < len(chunk) {
			if e = fault; e == 0 {
				e = abi.EFAULT
			}
			break
		}
		if done {
			break
		}
	}
	r.rgate.Unlock()
	if got.n > 0 && m != nil {
		if p := k.peer.Load(); p != nil {
			if a := p.addr.Load(); a != nil {
				m.Addr.Set(a.b)
			}
		}
	}
	k.finish(&got, m, peek)
	if got.n > 0 {
		return got.n, 0
	}
	return 0, e
}

// gathered is what one receiving call has put together.
type gathered struct {
	n     int
	known bool // cred is of the first part; others are not glued to it
	cred  abi.Ucred
	has   bool
	files *parcel
}

// nextChunk is the next bytes in one piece, skip behind head, at most max; nil for none. stop: what follows does not belong to the same
// message. rgate is held.
func (k *sock) nextChunk(got *gathered, skip uint64, most int) (at uint64, chunk []byte, stop bool) {
	r := &k.in
	r.mu.Lock()
	defer r.mu.Unlock()
	at = r.head + skip
	if at >= r.tail {
		return at, nil, false
	}
	mk, end := r.at(at)
	if k.s.PassCred() {
		var u abi.Ucred
		has := mk != nil && mk.hasCred
		if has {
			u = mk.cred
		}
		if got.known && (got.has != has || got.cred != u) {
			return at, nil, true
		}
		got.known, got.has, got.cred = true, has, u
	}
	return at, r.segment(r.buf, at, min(int(end-at), max(most, 1))), false
}

// took accounts for n bytes from position at, which were copied: they are gone unless peek, and what came with them is gathered. It says
// whether the message ends here.
func (k *sock) took(got *gathered, at uint64, n int, peek bool, skip *uint64) (done bool) {
	r := &k.in
	r.mu.Lock()
	mk, _ := r.at(at)
	var p *parcel
	if mk != nil && mk.fenced && n > 0 {
		p = mk.files
		done = peek || at+uint64(n) == mk.to
	}
	wake := false
	if peek {
		*skip += uint64(n)
	} else {
		limit := 0
		if o := k.peer.Load(); o != nil {
			limit = int(o.s.SndBuf.Load())
		}
		full := r.cost()*4 > limit
		if mk != nil {
			mk.files = nil
		}
		r.head += uint64(n)
		r.trim()
		wake = full && r.cost()*4 <= limit
	}
	r.mu.Unlock()
	if p != nil {
		got.files = p
	}
	if peek {
		k.peeked(n)
	} else {
		k.peeked(-n)
	}
	if wake {
		if o := k.peer.Load(); o != nil {
			o.s.Wake(socket.WriteEvents)
		}
	}
	return done
}

// finish hands over what was gathered: scm_recv_unix.
func (k *sock) finish(got *gathered, m *socket.Msg, peek bool) {
	if k.s.PassCred() && (got.n > 0 || got.known) {
		putCred(m, got.cred, got.has)
	}
	p := got.files
	if p == nil {
		return
	}
	got.files = nil
	if peek {
		if m != nil {
			m.Files = k.f.copyOf(p)
		}
		return
	}
	files := k.f.land(p)
	if m == nil {
		k.f.drop(files)
		return
	}
	m.Files = files
}

// overflow is the user that stands for none: overflowuid.
const overflow = 65534

func putCred(m *socket.Msg, u abi.Ucred, has bool) {
	if m == nil {
		return
	}
	if !has {
		u = abi.Ucred{UID: overflow, GID: overflow}
	}
	m.Put(abi.SOL_SOCKET, abi.SCM_CREDENTIALS, abi.Bytes(&u))
}
