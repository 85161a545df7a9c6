package unix

import (
	"encoding/binary"

	"goum/arch/abi"
	"goum/arch/lock"
	"goum/kernel/fs/vfs"
	"goum/kernel/net/socket"
	"goum/mm"
	"goum/sched"
	"goum/sched/clock"
)

// packet is one message of a datagram or sequenced-packet socket.
type packet struct {
	data    []byte
	from    *sock // charged for it; its address is read when the packet is received
	cred    abi.Ucred
	hasCred bool
	files   *parcel
	next    *packet
}

func (p *packet) cost() int { return len(p.data) + packetCost }

// packets is the queue of those that nobody has received.
type packets struct {
	gate sched.Gate // held by who receives, while the guest's memory is copied to

	mu          lock.Mutex[lock.Pipe]
	first, last *packet            // guarded by mu
	n           int                // guarded by mu
	sum         int                // guarded by mu: bytes
	closed      bool               // guarded by mu: the receiver is gone
	relays      map[*sock]struct{} // guarded by mu: who polls for room here
}

func (q *packets) empty() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.first == nil
}

func (q *packets) full() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.n > maxQueue
}

// bytes is SIOCINQ: of all packets, or of the first.
func (q *packets) bytes(all bool) int {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case all:
		return q.sum
	case q.first == nil:
		return 0
	}
	return len(q.first.data)
}

// add queues p. mu is held.
func (q *packets) add(p *packet) {
	if q.last == nil {
		q.first = p
	} else {
		q.last.next = p
	}
	q.last = p
	q.n++
	q.sum += len(p.data)
}

// take removes the packet that prev (nil: none) stands before. mu is held.
func (q *packets) take(prev *packet) *packet {
	p := q.first
	if prev != nil {
		p = prev.next
		prev.next = p.next
	} else {
		q.first = p.next
	}
	if q.last == p {
		q.last = prev
	}
	q.n--
	q.sum -= len(p.data)
	p.next = nil
	return p
}

// relayTo says whether the queue is full; then k is woken as writable when it is not any more.
func (q *packets) relayTo(k *sock) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.n <= maxQueue || q.closed {
		return false
	}
	if q.relays == nil {
		q.relays = map[*sock]struct{}{}
	}
	q.relays[k] = struct{}{}
	return true
}

func (q *packets) takeRelays() map[*sock]struct{} {
	r := q.relays
	q.relays = nil
	return r
}

// parcels are those in the queue.
func (q *packets) parcels() (ps []*parcel) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for p := q.first; p != nil; p = p.next {
		if p.files != nil {
			ps = append(ps, p.files)
		}
	}
	return ps
}

func (q *packets) takeParcels() (ps []*parcel) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for p := q.first; p != nil; p = p.next {
		if p.files != nil {
			ps = append(ps, p.files)
			p.files = nil
		}
	}
	return ps
}

// clear throws everything away: it says whether there was something, and gives the parcels. last: the receiver is gone.
func (q *packets) clear(last bool) (unread bool, ps []*parcel) {
	q.mu.Lock()
	q.closed = last
	p := q.first
	q.first, q.last, q.n, q.sum = nil, nil, 0, 0
	relays := q.takeRelays()
	q.mu.Unlock()
	for k := range relays {
		k.s.Wake(socket.WriteEvents)
	}
	unread = p != nil
	for ; p != nil; p = p.next {
		if p.files != nil {
			ps = append(ps, p.files)
		}
		p.from.sent(p)
	}
	return unread, ps
}

// sent gives back what p was charged, once it is received or thrown away.
func (k *sock) sent(p *packet) {
	k.f.net.Uncharge(p.cost())
	limit := int64(k.s.SndBuf.Load())
	now := k.wmem.Add(-int64(p.cost()))
	if now*4 <= limit {
		k.s.Wake(socket.WriteEvents)
	}
}

// connectDgram is unix_dgram_connect: it sets whom plain sends go to, and from whom alone something is received. AF_UNSPEC undoes it.
func (k *sock) connectDgram(c *vfs.Caller, addr []byte) abi.Errno {
	if len(addr) < 2 {
		return abi.EINVAL
	}
	if binary.LittleEndian.Uint16(addr) == abi.AF_UNSPEC {
		k.mu.Lock()
		old := k.peer.Swap(nil)
		k.state.Store(abi.TCP_CLOSE)
		k.mu.Unlock()
		if old != nil {
			k.disconnected(old)
		}
		return 0
	}
	p, e := checkAddr(addr)
	if e != 0 {
		return e
	}
	if k.s.PassCred() {
		if e := k.autobind(); e != 0 {
			return e
		}
	}
	for {
		other, e := k.f.find(c, p, k.s.Type)
		if e != 0 {
			return e
		}
		lock.Two(&k.mu, &other.mu)
		if other.dead {
			lock.UnlockTwo(&k.mu, &other.mu)
			continue
		}
		if !k.maySend(other) {
			lock.UnlockTwo(&k.mu, &other.mu)
			return abi.EPERM
		}
		old := k.peer.Swap(other)
		k.state.Store(abi.TCP_ESTABLISHED)
		other.state.Store(abi.TCP_ESTABLISHED)
		lock.UnlockTwo(&k.mu, &other.mu)
		if old != nil && old != other {
			k.disconnected(old)
		}
		return 0
	}
}

// maySend is unix_may_send.
func (k *sock) maySend(other *sock) bool {
	p := other.peer.Load()
	return p == nil || p == k
}

// disconnected is unix_dgram_disconnected: what came from the old peer goes, and if it is connected to k it learns of that.
func (k *sock) disconnected(old *sock) {
	had, ps := k.pkts.clear(false)
	k.f.drop(k.f.landAll(ps))
	if !had {
		return
	}
	k.waiting.Wake(sched.Any)
	old.mu.Lock()
	tell := !old.dead && old.peer.Load() == k
	old.mu.Unlock()
	if tell {
		old.s.Fail(abi.ECONNRESET)
	}
}

// forget ends relayTo.
func (q *packets) forget(k *sock) {
	q.mu.Lock()
	defer q.mu.Unlock()
	delete(q.relays, k)
}

// sendPacket is unix_dgram_sendmsg: EOPNOTSUPP, EINVAL, ENOTCONN, EMSGSIZE, EAGAIN, ENOBUFS, EFAULT, ETOOMANYREFS, EPERM, ECONNREFUSED,
// ECONNRESET, EPIPE.
func (k *sock) sendPacket(c *vfs.Caller, src *mm.Buf, flags uint32, m *socket.Msg) (int, abi.Errno) {
	p := &packet{from: k}
	if m != nil {
		if e := k.f.net.ParseSCM(c, m, true); e != 0 {
			return 0, e
		}
		p.cred, p.hasCred = m.Cred, m.Explicit
	} else {
		p.cred = socket.CallerCred(c)
	}
	if flags&abi.MSG_OOB != 0 {
		return 0, abi.EOPNOTSUPP
	}
	var to []byte
	other := k.peer.Load()
	if m != nil && len(m.Addr.Bytes()) > 0 {
		var e abi.Errno
		if to, e = checkAddr(m.Addr.Bytes()); e != 0 {
			return 0, e
		}
	} else if other == nil {
		return 0, abi.ENOTCONN
	}
	if k.s.PassCred() {
		if e := k.autobind(); e != 0 {
			return 0, e
		}
	}
	n := src.Len()
	if n > int(k.s.SndBuf.Load())-32 {
		return 0, abi.EMSGSIZE
	}
	deadline := k.s.SendDeadline(flags&abi.MSG_DONTWAIT != 0)
	if e := k.reserve(c, n+packetCost, deadline); e != 0 {
		return 0, e
	}
	p.data = make([]byte, n)
	e := abi.Errno(0)
	if m != nil && len(m.Files) > 0 {
		p.files, e = k.f.launch(c, m)
	}
	if e == 0 {
		if got, fault := src.Read(p.data); got < n {
			if e = fault; e == 0 {
				e = abi.EFAULT
			}
		}
	}
	for e == 0 {
		if to != nil {
			if other, e = k.f.find(c, to, k.s.Type); e != 0 {
				break
			}
		}
		var full bool
		full, e = k.deliver(other, p)
		switch {
		case e == 0 && !full:
			other.s.Wake(socket.ReadEvents)
			return n, 0
		case e == abi.ESTALE: // it has just been released
			if e = 0; to != nil {
				continue
			}
			e = k.peerDied(other)
		case e == 0 && deadline == socket.NoWait:
			if e = abi.EAGAIN; k.peer.Load() == other && !other.pkts.relayTo(k) {
				e = 0 // there is room just now
			}
		case e == 0:
			o := other.waiting.Wait(c.Thread, sched.Any, deadline, func() bool {
				return !other.pkts.full() || other.shut.Load()&shutRecv != 0
			})
			e = socket.Outcome(o, deadline)
		}
	}
	if p.files != nil {
		k.f.drop(k.f.land(p.files))
	}
	k.sent(p)
	return 0, e
}

// peerDied is what a send finds whose receiver is gone.
func (k *sock) peerDied(other *sock) abi.Errno {
	if k.connected() {
		return abi.EPIPE
	}
	k.mu.Lock()
	mine := k.peer.CompareAndSwap(other, nil)
	if mine {
		k.state.Store(abi.TCP_CLOSE)
	}
	k.mu.Unlock()
	if !mine {
		return abi.ECONNRESET
	}
	k.disconnected(other)
	return abi.ECONNREFUSED
}

// reserve charges n bytes to k, and waits until it may: sock_alloc_send_pskb.
func (k *sock) reserve(c *vfs.Caller, n int, deadline clock.Time) abi.Errno {
	for {
		if e := k.s.TakeError(); e != 0 {
			return e
		}
		if k.shut.Load()&shutSend != 0 {
			return abi.EPIPE
		}
		if k.wmem.Load() < int64(k.s.SndBuf.Load()) {
			if !k.f.net.Charge(n) {
				return abi.ENOBUFS
			}
			k.wmem.Add(int64(n))
			return 0
		}
		e := k.s.Wait(c, socket.WriteEvents, deadline, func() bool {
			return k.wmem.Load() < int64(k.s.SndBuf.Load()) || k.shut.Load()&shutSend != 0 || k.s.Failed()
		})
		if e != 0 {
			return e
		}
	}
}

// deliver queues p at other: full, EPERM, EPIPE, ESTALE (other was released).
func (k *sock) deliver(other *sock, p *packet) (full bool, e abi.Errno) {
	f := k.f
	if p.files != nil { // the collector sees parcels in a queue, or not in flight
		f.mu.Lock()
		defer f.mu.Unlock()
	}
	other.mu.Lock()
	defer other.mu.Unlock()
	switch {
	case !k.maySend(other):
		return false, abi.EPERM
	case other.dead:
		return false, abi.ESTALE
	case other.shut.Load()&shutRecv != 0:
		return false, abi.EPIPE
	case p.files != nil && !other.s.PassRights():
		return false, abi.EPERM
	}
	p.hasCred = p.hasCred || k.s.PassCred() || other.s.PassCred()
	q := &other.pkts
	q.mu.Lock()
	defer q.mu.Unlock()
	if other != k && other.peer.Load() != k && q.n > maxQueue {
		return true, 0
	}
	q.add(p)
	return false, 0
}

// recvPacket is unix_dgram_recvmsg: EOPNOTSUPP, ENOTCONN, EAGAIN, EFAULT (the packet is lost), and a pending error.
func (k *sock) recvPacket(c *vfs.Caller, dst *mm.Buf, flags uint32, m *socket.Msg) (int, abi.Errno) {
	if flags&abi.MSG_OOB != 0 {
		return 0, abi.EOPNOTSUPP
	}
	q := &k.pkts
	deadline := k.s.RecvDeadline(flags&abi.MSG_DONTWAIT != 0)
	peek := flags&abi.MSG_PEEK != 0
	var p *packet
	var skip int
	var relays map[*sock]struct{}
	for {
		if !q.gate.TryLock() {
			q.gate.Lock(c.Thread)
		}
		if e := k.s.TakeError(); e != 0 {
			q.gate.Unlock()
			return 0, e
		}
		shut := k.shut.Load()
		skip = k.peekStart(flags)
		q.mu.Lock()
		var prev *packet
		for p = q.first; p != nil && peek && skip > 0 && skip >= len(p.data); prev, p = p, p.next {
			skip -= len(p.data)
		}
		if p != nil && !peek {
			wasFull := q.n > maxQueue
			q.take(prev)
			if wasFull {
				relays = q.takeRelays()
			}
		}
		q.mu.Unlock()
		if p != nil {
			break
		}
		q.gate.Unlock()
		if shut&shutRecv != 0 && (deadline != socket.NoWait || k.connected()) {
			return 0, 0
		}
		e := k.s.Wait(c, socket.ReadEvents, deadline, func() bool {
			return !q.empty() || k.shut.Load()&shutRecv != 0 || k.s.Failed()
		})
		if e != 0 {
			return 0, e
		}
	}
	defer q.gate.Unlock()
	if !peek {
		for r := range relays {
			r.s.Wake(socket.WriteEvents)
		}
		k.waiting.WakeOne(sched.Any)
	}
	if m != nil {
		if a := p.from.addr.Load(); a != nil {
			m.Addr.Set(a.b)
		}
	}
	data := p.data[skip:]
	n := min(len(data), dst.Len())
	if n < len(data) && m != nil {
		m.Flags |= abi.MSG_TRUNC
	}
	w, e := dst.Write(data[:n])
	if w == n {
		e = 0
	}
	if k.s.PassCred() {
		putCred(m, p.cred, p.hasCred)
	}
	var files []*vfs.Open
	if peek {
		k.peeked(n)
		k.f.mu.Lock()
		parcel := p.files
		k.f.mu.Unlock()
		if parcel != nil {
			files = k.f.copyOf(parcel)
		}
	} else {
		k.peeked(-len(p.data))
		if p.files != nil {
			files = k.f.land(p.files)
		}
		p.from.sent(p)
	}
	if m != nil && e == 0 {
		m.Files = files
	} else {
		k.f.drop(files)
	}
	if e != 0 {
		return 0, e
	}
	if flags&abi.MSG_TRUNC != 0 {
		return len(data), 0
	}
	return n, 0
}
