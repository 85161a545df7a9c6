package unix

import (
	"encoding/binary"
	"fmt"
	"strings"

	"goum/arch/abi"
	"goum/arch/lock"
	"goum/kernel/cred"
	"goum/kernel/fs/vfs"
	"goum/kernel/net/socket"
)

// Family makes unix sockets.
type Family struct {
	net *socket.Net

	mu     lock.Mutex[lock.OpenFile]
	names  map[name]*sock       // guarded by mu: abstract addresses
	nodes  map[*vfs.Inode]*sock // guarded by mu: bound to a path
	socks  map[*sock]struct{}   // guarded by mu: all, for /proc/net/unix
	auto   uint32               // guarded by mu: where the search for a free name starts
	flight map[*sock]flying     // guarded by mu: unix sockets in flight
	users  map[*cred.User]int   // guarded by mu: descriptors that a user has in flight

	releases int // guarded by mu: since the last collection

	dropMu   lock.Mutex[lock.Pipe]
	drops    []*vfs.Open // guarded by dropMu: to be let go of
	dropping bool        // guarded by dropMu: somebody does it
	due      bool        // guarded by dropMu: and collects garbage at the end
}

// name is an abstract address. Sockets of different types do not see each other's.
type name struct {
	path string
	typ  int32
}

// Register makes AF_UNIX known to n.
func Register(n *socket.Net) *Family {
	f := &Family{net: n, names: map[name]*sock{}, nodes: map[*vfs.Inode]*sock{}, socks: map[*sock]struct{}{},
		flight: map[*sock]flying{}, users: map[*cred.User]int{}}
	n.Register(abi.AF_UNIX, f)
	n.AddProc("unix", f.Proc)
	return f
}

// Create is unix_create: EPROTONOSUPPORT, ESOCKTNOSUPPORT.
func (f *Family) Create(c *vfs.Caller, s *socket.Socket) abi.Errno {
	if s.Protocol != 0 && s.Protocol != abi.AF_UNIX {
		return abi.EPROTONOSUPPORT
	}
	switch s.Type {
	case abi.SOCK_RAW: // what BSD called it
		s.Type = abi.SOCK_DGRAM
	case abi.SOCK_STREAM, abi.SOCK_DGRAM, abi.SOCK_SEQPACKET:
	default:
		return abi.ESOCKTNOSUPPORT
	}
	s.Protocol = 0 // as Linux shows it
	f.newSock(s)
	return 0
}

func (f *Family) newSock(s *socket.Socket) *sock {
	k := &sock{f: f, s: s}
	k.state.Store(abi.TCP_CLOSE)
	k.peekOff.Store(-1)
	k.in.net = f.net
	s.Ops = k
	f.mu.Lock()
	f.socks[k] = struct{}{}
	f.mu.Unlock()
	return k
}

// Pair is unix_socketpair.
func (f *Family) Pair(c *vfs.Caller, a, b *socket.Socket) abi.Errno {
	x, y := a.Ops.(*sock), b.Ops.(*sock)
	who := credOf(c)
	lock.Two(&x.mu, &y.mu)
	x.cred, y.cred = who, who
	x.peer.Store(y)
	y.peer.Store(x)
	x.state.Store(abi.TCP_ESTABLISHED)
	y.state.Store(abi.TCP_ESTABLISHED)
	lock.UnlockTwo(&x.mu, &y.mu)
	return 0
}

// peerCred is what SO_PEERCRED and SO_PEERGROUPS tell.
type peerCred struct {
	u      abi.Ucred
	groups []uint32
}

func credOf(c *vfs.Caller) *peerCred {
	return &peerCred{socket.PeerUcred(c.Tgid, c.Cred), c.Cred.Groups}
}

// address is where a socket is bound.
type address struct {
	b   []byte       // struct sockaddr_un, as long as it is
	loc vfs.Location // of a path: counted
	ino *vfs.Inode   // of a path, else nil
}

// checkAddr is unix_validate_addr: the path part of an address. EINVAL.
func checkAddr(addr []byte) ([]byte, abi.Errno) {
	if len(addr) <= 2 || len(addr) > 2+abi.UnixPathMax || binary.LittleEndian.Uint16(addr) != abi.AF_UNIX {
		return nil, abi.EINVAL
	}
	return addr[2:], 0
}

// pathOf is the path of an address that is none of the abstract ones: up to its NUL.
func pathOf(p []byte) string {
	for i, ch := range p {
		if ch == 0 {
			return string(p[:i])
		}
	}
	return string(p)
}

// Bind is unix_bind: EINVAL (a bad address, bound already), EADDRINUSE, and what making a node says.
func (k *sock) Bind(c *vfs.Caller, addr []byte) abi.Errno {
	if len(addr) == 2 && binary.LittleEndian.Uint16(addr) == abi.AF_UNIX {
		return k.autobind()
	}
	p, e := checkAddr(addr)
	if e != 0 {
		return e
	}
	if p[0] == 0 {
		return k.bindName(string(p))
	}
	return k.bindPath(c, pathOf(p))
}

func sockaddr(path string) []byte {
	return append([]byte{abi.AF_UNIX, 0}, path...)
}

func (k *sock) bindName(path string) abi.Errno {
	f := k.f
	f.mu.Lock()
	defer f.mu.Unlock()
	if k.addr.Load() != nil {
		return abi.EINVAL
	}
	n := name{path, k.s.Type}
	if f.names[n] != nil {
		return abi.EADDRINUSE
	}
	f.names[n] = k
	k.addr.Store(&address{b: sockaddr(path)})
	return 0
}

// autobind gives a name of five hexadecimal digits, if k has none: ENOSPC.
func (k *sock) autobind() abi.Errno {
	f := k.f
	f.mu.Lock()
	defer f.mu.Unlock()
	if k.addr.Load() != nil {
		return 0
	}
	for range autobinds {
		f.auto = (f.auto + 1) % autobinds
		path := fmt.Sprintf("\x00%05x", f.auto)
		n := name{path, k.s.Type}
		if f.names[n] == nil {
			f.names[n] = k
			k.addr.Store(&address{b: sockaddr(path)})
			return 0
		}
	}
	return abi.ENOSPC
}

func (k *sock) bindPath(c *vfs.Caller, path string) abi.Errno {
	if k.addr.Load() != nil {
		return abi.EINVAL
	}
	l, e := c.MakeSocket(path, 0o777)
	if e != 0 {
		return e
	}
	node := l.Node()
	if node == nil || !l.Ref() {
		return abi.EADDRINUSE // removed again by somebody, just now
	}
	a := &address{b: append(sockaddr(path), 0), loc: l, ino: node.VFS()}
	f := k.f
	f.mu.Lock()
	if k.addr.Load() != nil {
		f.mu.Unlock()
		l.Unref()
		c.Unlink(vfs.Location{}, path)
		return abi.EINVAL
	}
	f.nodes[a.ino] = k
	k.addr.Store(a)
	f.mu.Unlock()
	return 0
}

// find is unix_find_other: ECONNREFUSED, EPROTOTYPE, EACCES, and what the walk says.
func (f *Family) find(c *vfs.Caller, p []byte, typ int32) (*sock, abi.Errno) {
	if p[0] == 0 {
		f.mu.Lock()
		defer f.mu.Unlock()
		if k := f.names[name{string(p), typ}]; k != nil {
			return k, 0
		}
		return nil, abi.ECONNREFUSED
	}
	l, e := c.Walk(vfs.Location{}, pathOf(p), vfs.Follow)
	if e != 0 {
		return nil, e
	}
	if e := c.Permit(l, vfs.MayWrite); e != 0 {
		return nil, e
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	var k *sock
	if n := l.Node(); n != nil {
		k = f.nodes[n.VFS()]
	}
	switch {
	case k == nil:
		return nil, abi.ECONNREFUSED
	case k.s.Type != typ:
		return nil, abi.EPROTOTYPE
	}
	return k, 0
}

// forget takes k out of the tables. It returns the place to let go of.
func (f *Family) forget(k *sock) (l vfs.Location) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.socks, k)
	a := k.addr.Load()
	switch {
	case a == nil || k.accepted: // an accepted socket only shows its listener's address
	case a.ino == nil:
		delete(f.names, name{string(a.b[2:]), k.s.Type})
	default:
		delete(f.nodes, a.ino)
		l = a.loc
	}
	return l
}

// Proc is /proc/net/unix.
func (f *Family) Proc() string {
	var b strings.Builder
	b.WriteString("Num       RefCount Protocol Flags    Type St Inode Path\n")
	f.mu.Lock()
	defer f.mu.Unlock()
	i := 0
	for k := range f.socks {
		st, flags := 1, 0 // SS_UNCONNECTED
		switch k.state.Load() {
		case abi.TCP_ESTABLISHED:
			st = 3
		case abi.TCP_LISTEN:
			flags = 1 << 16 // SO_ACCEPTCON
		}
		if k.s.Ino() == 0 {
			st = 2 // not accepted yet: SS_CONNECTING
		}
		i++
		fmt.Fprintf(&b, "%016x: %08X %08X %08X %04X %02X %5d", i, 2, 0, flags, k.s.Type, st, k.s.Ino())
		if a := k.addr.Load(); a != nil && len(a.b) > 2 {
			p := a.b[2:]
			if p[0] == 0 {
				p = append([]byte(nil), p...)
				for j := range p {
					if p[j] == 0 {
						p[j] = '@'
					}
				}
			} else {
				p = p[:len(p)-1]
			}
			b.WriteByte(' ')
			b.Write(p)
		}
		b.WriteByte('\n')
	}
	return b.String()
}
