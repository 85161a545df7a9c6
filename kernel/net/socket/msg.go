package socket

import (
	"encoding/binary"
	"sync"

	"goum/arch/abi"
	"goum/kernel/cred"
	"goum/kernel/fs/vfs"
)

// Addr is a socket's address as bytes, with its length, which may be 0.
type Addr struct {
	b [abi.SockaddrMax]byte
	n int
}

// Bytes is the address.
func (a *Addr) Bytes() []byte { return a.b[:a.n] }

// Set makes it b, of which at most SockaddrMax bytes count.
func (a *Addr) Set(b []byte) { a.n = copy(a.b[:], b) }

// Room is where an address of n bytes (at most SockaddrMax) can be written.
func (a *Addr) Room(n int) []byte {
	a.n = n
	return a.b[:n]
}

// FDs finds a caller's open files by number: EBADF. The file is referenced for whoever asks. *fd.Table is one.
type FDs interface {
	Get(fd int32) (*vfs.Open, abi.Errno)
}

// Msg is what a message has besides its bytes: struct msghdr. Take one with NewMsg, give it back with Done.
type Msg struct {
	// Addr is where it goes to (Bytes is empty: nowhere) or, received, where it came from.
	Addr Addr

	// Control is ancillary data: as the sender gave it, or as the receiver gets it. Received descriptors are not in it but in Files.
	Control []byte
	// Room is how many bytes of Control a receiver has; 0 and NoControl: msg_control was a null pointer.
	Room      int
	NoControl bool

	// Files are the open files that SCM_RIGHTS passes, each with a reference that belongs to the Msg. Who takes them over sets nil.
	Files []*vfs.Open
	// Cred is the sender's identity: set by ParseSCM.
	Cred abi.Ucred
	// Explicit says that the sender gave SCM_CREDENTIALS himself.
	Explicit bool

	// Flags are MSG_TRUNC and the like, for the receiver.
	Flags uint32

	FDs FDs // the sender's descriptors; nil where there are none
}

var msgs = sync.Pool{New: func() any { return new(Msg) }}

// NewMsg is an empty Msg.
func NewMsg() *Msg { return msgs.Get().(*Msg) }

// Done lets go of files that nobody took, and of m.
func (m *Msg) Done() {
	for i, f := range m.Files {
		f.Unref()
		m.Files[i] = nil
	}
	ctl := m.Control
	if cap(ctl) > 1024 {
		ctl = nil
	}
	*m = Msg{Control: ctl[:0]}
	msgs.Put(m)
}

// Cmsg is one ancillary message.
type Cmsg struct {
	Level, Type int32
	Data        []byte
}

// EachCmsg calls f for each ancillary message of b until f gives an errno: EINVAL if b is malformed, as CMSG_OK finds.
func EachCmsg(b []byte, f func(Cmsg) abi.Errno) abi.Errno {
	for len(b) >= abi.CmsghdrSize {
		n := binary.LittleEndian.Uint64(b)
		if n < abi.CmsghdrSize || n > uint64(len(b)) {
			return abi.EINVAL
		}
		cm := Cmsg{int32(binary.LittleEndian.Uint32(b[8:])), int32(binary.LittleEndian.Uint32(b[12:])), b[abi.CmsghdrSize:n]}
		if e := f(cm); e != 0 {
			return e
		}
		next := abi.CmsgAlign(int(n))
		if next >= len(b) {
			break
		}
		b = b[next:]
	}
	return 0
}

// ParseSCM is scm_send: who sends, and which descriptors go along. Only unix sockets pass some (rights). EINVAL, EBADF, EPERM, ESRCH. On an
// errno m.Files may hold some: Done lets go of them.
func (n *Net) ParseSCM(c *vfs.Caller, m *Msg, rights bool) abi.Errno {
	m.Cred = CallerCred(c)
	if len(m.Control) == 0 {
		return 0
	}
	return EachCmsg(m.Control, func(cm Cmsg) abi.Errno {
		if cm.Level != abi.SOL_SOCKET {
			return 0
		}
		switch cm.Type {
		case abi.SCM_RIGHTS:
			if !rights {
				return abi.EINVAL
			}
			return m.takeFiles(cm.Data)
		case abi.SCM_CREDENTIALS:
			if len(cm.Data) != 12 {
				return abi.EINVAL
			}
			u := abi.Ucred{PID: int32(binary.LittleEndian.Uint32(cm.Data)), UID: binary.LittleEndian.Uint32(cm.Data[4:]), GID: binary.LittleEndian.Uint32(cm.Data[8:])}
			if u.UID == ^uint32(0) || u.GID == ^uint32(0) {
				return abi.EINVAL
			}
			if e := n.mayPose(c, u); e != 0 {
				return e
			}
			m.Cred, m.Explicit = u, true
			return 0
		}
		return abi.EINVAL
	})
}

// mayPose is scm_check_creds.
func (n *Net) mayPose(c *vfs.Caller, u abi.Ucred) abi.Errno {
	k := c.Cred
	if (u.PID == c.Tgid || k.Has(abi.CAP_SYS_ADMIN)) &&
		(u.UID == k.UID || u.UID == k.EUID || u.UID == k.SUID || k.Has(abi.CAP_SETUID)) &&
		(u.GID == k.GID || u.GID == k.EGID || u.GID == k.SGID || k.Has(abi.CAP_SETGID)) {
		if u.PID != c.Tgid && n.PidAlive != nil && !n.PidAlive(u.PID) {
			return abi.ESRCH
		}
		return 0
	}
	return abi.EPERM
}

// takeFiles is scm_fp_copy.
func (m *Msg) takeFiles(data []byte) abi.Errno {
	num := len(data) / 4
	if num == 0 {
		return 0
	}
	if num > abi.SCM_MAX_FD || len(m.Files)+num > abi.SCM_MAX_FD {
		return abi.EINVAL
	}
	if m.FDs == nil {
		return abi.EBADF
	}
	if m.Files == nil {
		m.Files = make([]*vfs.Open, 0, num)
	}
	for i := range num {
		o, e := m.FDs.Get(int32(binary.LittleEndian.Uint32(data[4*i:])))
		if e != 0 {
			return abi.EBADF
		}
		m.Files = append(m.Files, o)
	}
	return 0
}

// CallerCred is what SCM_CREDENTIALS tells of c by default: the real numbers.
func CallerCred(c *vfs.Caller) abi.Ucred {
	return abi.Ucred{PID: c.Tgid, UID: c.Cred.UID, GID: c.Cred.GID}
}

// PeerUcred is what SO_PEERCRED tells of a process: the effective numbers.
func PeerUcred(pid int32, k *cred.Cred) abi.Ucred {
	return abi.Ucred{PID: pid, UID: k.EUID, GID: k.EGID}
}

// Put appends an ancillary message for the receiver: put_cmsg. What does not fit is cut, and MSG_CTRUNC set. m may be nil: nobody asks.
func (m *Msg) Put(level, typ int32, data []byte) {
	if m == nil {
		return
	}
	left := m.Room - len(m.Control)
	if m.NoControl || left < abi.CmsghdrSize {
		m.Flags |= abi.MSG_CTRUNC
		return
	}
	n := abi.CmsghdrSize + len(data)
	if n > left {
		m.Flags |= abi.MSG_CTRUNC
		n = left
	}
	h := abi.Cmsghdr{Len: uint64(n), Level: level, Type: typ}
	m.Control = append(m.Control, abi.Bytes(&h)...)
	m.Control = append(m.Control, data[:n-abi.CmsghdrSize]...)
	for pad := min(abi.CmsgAlign(n)-n, m.Room-len(m.Control)); pad > 0; pad-- {
		m.Control = append(m.Control, 0)
	}
}
