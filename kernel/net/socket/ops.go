package socket

import (
	"goum/arch/abi"
	"goum/kernel/fs/vfs"
	"goum/mm"
	"goum/sched"
)

// Ops is the protocol side of one socket: Linux's proto_ops. Embed NoOps for what a family does not have.
//
// Methods may sleep on the socket's queue with c.Thread. Addresses are as the guest gave them, at most SockaddrMax bytes.
type Ops interface {
	Bind(c *vfs.Caller, addr []byte) abi.Errno
	Connect(c *vfs.Caller, addr []byte, nonblock bool) abi.Errno
	Listen(c *vfs.Caller, backlog int) abi.Errno
	// Accept answers a socket of NewAccepted; the wait is by RcvTimeo.
	Accept(c *vfs.Caller, nonblock bool) (*Socket, abi.Errno)
	// Name is the socket's own address, or its peer's (ENOTCONN).
	Name(c *vfs.Caller, peer bool, addr *Addr) abi.Errno
	// Send drains src. m is nil for a message without address and ancillary data. What it takes of m.Files it sets to nil. EPIPE raises no
	// signal here. When a part was done, the count wins over the errno.
	Send(c *vfs.Caller, src *mm.Buf, flags uint32, m *Msg) (int, abi.Errno)
	// Recv fills dst. m is nil if nobody asks for address, ancillary data and flags.
	Recv(c *vfs.Caller, dst *mm.Buf, flags uint32, m *Msg) (int, abi.Errno)
	// Shutdown's how is SHUT_RD, SHUT_WR or SHUT_RDWR, unchecked.
	Shutdown(c *vfs.Caller, how int32) abi.Errno
	// SetOption is setsockopt(2) for other levels than SOL_SOCKET; val has at most maxOption bytes.
	SetOption(c *vfs.Caller, level, name int32, val []byte) abi.Errno
	// GetOption answers the option's bytes, at most room of which the guest gets.
	GetOption(c *vfs.Caller, level, name int32, room int) ([]byte, abi.Errno)
	// Ioctl is what the protocol itself knows; ENOIOCTLCMD for any other.
	Ioctl(c *vfs.Caller, cmd uint32, arg uint64) (uint64, abi.Errno)
	Poll() sched.Mask
	Release()
}

// ENOIOCTLCMD says that an ioctl is not the protocol's. No guest sees it.
const ENOIOCTLCMD = abi.Errno(515)

// Changer is told of an option of level SOL_SOCKET that was set, after it was.
type Changer interface{ Changed(name int32) }

// Failer has pending errors of its own, besides Socket.Fail.
type Failer interface{ TakeError() abi.Errno }

// Acceptor says whether it listens: SO_ACCEPTCONN.
type Acceptor interface{ Listening() bool }

// Credentialed knows who its peer is: SO_PEERCRED, SO_PEERGROUPS.
type Credentialed interface {
	PeerCred() (u abi.Ucred, groups []uint32, ok bool)
}

// PeekOffsetter knows SO_PEEK_OFF. -1: off.
type PeekOffsetter interface {
	SetPeekOff(v int32) abi.Errno
	PeekOff() int32
}

// NoOps refuses everything, as Linux's sock_no_* do: EOPNOTSUPP.
type NoOps struct{}

// Bind refuses.
func (NoOps) Bind(*vfs.Caller, []byte) abi.Errno { return abi.EOPNOTSUPP }

// Connect refuses.
func (NoOps) Connect(*vfs.Caller, []byte, bool) abi.Errno { return abi.EOPNOTSUPP }

// Listen refuses.
func (NoOps) Listen(*vfs.Caller, int) abi.Errno { return abi.EOPNOTSUPP }

// Accept refuses.
func (NoOps) Accept(*vfs.Caller, bool) (*Socket, abi.Errno) { return nil, abi.EOPNOTSUPP }

// Shutdown refuses.
func (NoOps) Shutdown(*vfs.Caller, int32) abi.Errno { return abi.EOPNOTSUPP }

// SetOption refuses.
func (NoOps) SetOption(*vfs.Caller, int32, int32, []byte) abi.Errno { return abi.EOPNOTSUPP }

// GetOption refuses.
func (NoOps) GetOption(*vfs.Caller, int32, int32, int) ([]byte, abi.Errno) {
	return nil, abi.EOPNOTSUPP
}

// Ioctl knows none.
func (NoOps) Ioctl(*vfs.Caller, uint32, uint64) (uint64, abi.Errno) { return 0, ENOIOCTLCMD }
