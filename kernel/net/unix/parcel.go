package unix

import (
	"slices"

	"goum/arch/abi"
	"goum/kernel/cred"
	"goum/kernel/fs/vfs"
	"goum/kernel/net/socket"
)

// parcel is the descriptors of one message, in flight.
type parcel struct {
	files []*vfs.Open // the references are the parcel's
	user  *cred.User  // for whom they are counted
}

// flying is how often an open file is in flight.
type flying struct {
	n    int
	file *vfs.Open
}

// unixSock is the unix socket that o is, or nil.
func unixSock(o *vfs.Open) *sock {
	s, ok := o.File.(*socket.Socket)
	if !ok {
		return nil
	}
	k, _ := s.Ops.(*sock)
	return k
}

// launch makes a parcel of m's files: ETOOMANYREFS, as too_many_unix_fds.
func (f *Family) launch(c *vfs.Caller, m *socket.Msg) (*parcel, abi.Errno) {
	p := &parcel{m.Files, c.Cred.User}
	limit := uint64(abi.RLIM_INFINITY)
	if c.Limits != nil {
		limit = c.Limits.Cur(abi.RLIMIT_NOFILE)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if uint64(f.users[p.user]) > limit && !c.Cred.Has(abi.CAP_SYS_RESOURCE) && !c.Cred.Has(abi.CAP_SYS_ADMIN) {
		return nil, abi.ETOOMANYREFS
	}
	m.Files = nil
	f.users[p.user] += len(p.files)
	for _, o := range p.files {
		if k := unixSock(o); k != nil {
			fl := f.flight[k]
			f.flight[k] = flying{fl.n + 1, o}
		}
	}
	return p, 0
}

// land ends a flight: the files are the caller's.
func (f *Family) land(p *parcel) []*vfs.Open {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.users[p.user] -= len(p.files); f.users[p.user] <= 0 {
		delete(f.users, p.user)
	}
	for _, o := range p.files {
		if k := unixSock(o); k != nil {
			if n := f.flight[k].n; n > 1 {
				f.flight[k] = flying{n - 1, o}
			} else {
				delete(f.flight, k)
			}
		}
	}
	files := p.files
	p.files = nil
	return files
}

// copyOf is the files of a parcel that stays where it is, for MSG_PEEK; nil if it was taken out meanwhile.
func (f *Family) copyOf(p *parcel) []*vfs.Open {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, o := range p.files {
		o.Ref()
	}
	return slices.Clone(p.files)
}

// publish is ring.publish for a message with files, under the lock that keeps the collector away: false if the ring was closed. The
// files are the ring's then.
func (f *Family) publish(r *ring, n int, mk *mark) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return false
	}
	r.publish(n, mk)
	mk.files, mk.fenced = nil, false
	return true
}

// drop lets go of files. Where that releases sockets with more files in them, these join the list: no recursion, and no lock held.
func (f *Family) drop(files []*vfs.Open) {
	if len(files) == 0 {
		return
	}
	f.dropMu.Lock()
	f.drops = append(f.drops, files...)
	if f.dropping {
		f.dropMu.Unlock()
		return
	}
	f.dropping = true
	for len(f.drops) > 0 || f.due {
		if len(f.drops) == 0 {
			f.due = false
			f.dropMu.Unlock()
			dead := f.garbage()
			f.dropMu.Lock()
			f.drops = append(f.drops, dead...)
			continue
		}
		o := f.drops[len(f.drops)-1]
		f.drops[len(f.drops)-1] = nil
		f.drops = f.drops[:len(f.drops)-1]
		f.dropMu.Unlock()
		o.Unref()
		f.dropMu.Lock()
	}
	f.drops, f.dropping = nil, false
	f.dropMu.Unlock()
}

// landAll ends the flights of ps.
func (f *Family) landAll(ps []*parcel) (files []*vfs.Open) {
	for _, p := range ps {
		files = append(files, f.land(p)...)
	}
	return files
}

// collect is called when a socket was released: it lets go of the garbage. Where many sockets are in flight it does so once for several
// releases, and once at the end of a chain of them.
func (f *Family) collect() {
	f.mu.Lock()
	f.releases++
	n := len(f.flight)
	now := n > 0 && f.releases*gcShare >= n
	if now {
		f.releases = 0
	}
	f.mu.Unlock()
	if !now {
		return
	}
	f.dropMu.Lock()
	later := f.dropping
	if later {
		f.due = true
	}
	f.dropMu.Unlock()
	if !later {
		f.drop(f.garbage())
	}
}

// garbage finds sockets that are reachable only through descriptors in flight in their own buffers, and empties these: unix_gc. The files
// are the caller's to let go of.
//
// A candidate is a socket whose every reference is in flight. Of its flights those in buffers of candidates are subtracted; where some
// are left, somebody can still receive it, and with it all that its own buffers hold. The rest is garbage.
func (f *Family) garbage() []*vfs.Open {
	f.mu.Lock()
	left := map[*sock]int{} // flights that come from outside
	for k, fl := range f.flight {
		if fl.file.Refs() == fl.n {
			left[k] = fl.n
		}
	}
	for k := range left {
		k.eachParcel(func(p *parcel) {
			for _, o := range p.files {
				if t := unixSock(o); t != nil {
					if _, is := left[t]; is {
						left[t]--
					}
				}
			}
		})
	}
	var live []*sock
	for k, n := range left {
		if n > 0 {
			live = append(live, k)
		}
	}
	for len(live) > 0 {
		k := live[len(live)-1]
		live = live[:len(live)-1]
		if _, is := left[k]; !is {
			continue
		}
		delete(left, k)
		k.eachParcel(func(p *parcel) {
			for _, o := range p.files {
				if t := unixSock(o); t != nil {
					if _, is := left[t]; is {
						live = append(live, t)
					}
				}
			}
		})
	}
	var dead []*parcel
	for k := range left {
		dead = append(dead, k.empty()...)
	}
	f.mu.Unlock()
	return f.landAll(dead)
}

// eachParcel calls visit for what is in k's buffers, and in those of connections that nobody has accepted. Family.mu is held.
func (k *sock) eachParcel(visit func(*parcel)) {
	k.mu.Lock()
	queue := slices.Clone(k.queue)
	k.mu.Unlock()
	for _, t := range append(queue, k) {
		t.in.mu.Lock()
		ps := t.in.parcels()
		t.in.mu.Unlock()
		for _, p := range append(ps, t.pkts.parcels()...) {
			visit(p)
		}
	}
}

// empty takes the parcels out of k's buffers, whose bytes stay. Family.mu is held.
func (k *sock) empty() (ps []*parcel) {
	k.mu.Lock()
	queue := slices.Clone(k.queue)
	k.mu.Unlock()
	for _, t := range append(queue, k) {
		t.in.mu.Lock()
		ps = append(ps, t.in.parcels()...)
		for i := range t.in.marks {
			t.in.marks[i].files = nil
		}
		t.in.mu.Unlock()
		ps = append(ps, t.pkts.takeParcels()...)
	}
	return ps
}
