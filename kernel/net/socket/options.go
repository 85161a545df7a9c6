package socket

import (
	"encoding/binary"
	"math"
	"math/bits"

	"goum/arch/abi"
	"goum/kernel/fs/vfs"
)

// The boolean options; their bit in Socket.bits is their place here.
var boolOptions = [...]int32{
	abi.SO_DEBUG, abi.SO_REUSEADDR, abi.SO_REUSEPORT, abi.SO_KEEPALIVE, abi.SO_DONTROUTE, abi.SO_BROADCAST, abi.SO_OOBINLINE,
	abi.SO_NO_CHECK, abi.SO_PASSCRED, abi.SO_NOFCS, abi.SO_SELECT_ERR_QUEUE, abi.SO_LOCK_FILTER,
}

func boolBit(name int32) uint32 {
	for i, n := range boolOptions {
		if n == name {
			return 1 << i
		}
	}
	return 0
}

// Bool says whether a boolean option is set: SO_REUSEADDR, SO_REUSEPORT, SO_KEEPALIVE, SO_BROADCAST, SO_PASSCRED ...
func (s *Socket) Bool(name int32) bool { return s.bits.Load()&boolBit(name) != 0 }

// passCredBit is looked at for each message.
var passCredBit = boolBit(abi.SO_PASSCRED)

// PassCred is Bool(SO_PASSCRED).
func (s *Socket) PassCred() bool { return s.bits.Load()&passCredBit != 0 }

// PassRights is SO_PASSRIGHTS: descriptors may come.
func (s *Socket) PassRights() bool { return s.passRights.Load() }

// Linger is SO_LINGER, in seconds.
func (s *Socket) Linger() (on bool, seconds int64) {
	v := s.linger.Load()
	if v == 0 {
		return false, 0
	}
	return true, v - 1
}

// BoundDevice is the index of the device that SO_BINDTODEVICE names; 0: none.
func (s *Socket) BoundDevice() int32 { return s.bound.Load() }

// MaxOption is how many bytes of an option's value are read.
const MaxOption = 256

func setBit(s *Socket, bit uint32, on bool) {
	if on {
		s.bits.Or(bit)
	} else {
		s.bits.And(^bit)
	}
}

func (s *Socket) mayPassCreds() bool { return s.Family == abi.AF_UNIX || s.Family == abi.AF_NETLINK }

func (s *Socket) isInet() bool { return s.Family == abi.AF_INET || s.Family == abi.AF_INET6 }

// SetOption is setsockopt(2), in the order of sk_setsockopt. val is what was read of the value. EINVAL (too short), ENOPROTOOPT, EPERM,
// EDOM (a time), EOPNOTSUPP.
func (s *Socket) SetOption(c *vfs.Caller, level, name int32, val []byte) abi.Errno {
	if level != abi.SOL_SOCKET {
		return s.Ops.SetOption(c, level, name, val)
	}
	e := s.setOption(c, name, val)
	if ch, ok := s.Ops.(Changer); ok && e == 0 {
		ch.Changed(name)
	}
	return e
}

func (s *Socket) setOption(c *vfs.Caller, name int32, val []byte) abi.Errno {
	if name == abi.SO_BINDTODEVICE {
		return s.bindToDevice(c, val)
	}
	if len(val) < 4 {
		return abi.EINVAL
	}
	v := int32(binary.LittleEndian.Uint32(val))
	admin := c.Cred.Has(abi.CAP_NET_ADMIN)
	switch name {
	case abi.SO_DEBUG:
		if v != 0 && !admin {
			return abi.EACCES
		}
	case abi.SO_REUSEPORT:
		if v != 0 && !s.isInet() {
			return abi.EOPNOTSUPP
		}
	case abi.SO_PASSCRED:
		if !s.mayPassCreds() {
			return abi.EOPNOTSUPP
		}
	case abi.SO_LOCK_FILTER:
		if s.Bool(name) && v == 0 {
			return abi.EPERM
		}
	case abi.SO_PASSRIGHTS:
		if s.Family != abi.AF_UNIX {
			return abi.EOPNOTSUPP
		}
		s.passRights.Store(v != 0)
		return 0
	case abi.SO_SNDBUFFORCE, abi.SO_RCVBUFFORCE:
		if !admin {
			return abi.EPERM
		}
		if name == abi.SO_SNDBUFFORCE {
			s.SndBuf.Store(max(bufSize(max(v, 0), math.MaxInt32/2), minSndBuf))
		} else {
			s.RcvBuf.Store(max(bufSize(max(v, 0), math.MaxInt32/2), minRcvBuf))
		}
		return 0
	case abi.SO_SNDBUF:
		s.SndBuf.Store(max(bufSize(v, maxBuffer), minSndBuf))
		s.Wake(WriteEvents)
		return 0
	case abi.SO_RCVBUF:
		s.RcvBuf.Store(max(bufSize(v, maxBuffer), minRcvBuf))
		return 0
	case abi.SO_PRIORITY:
		if (v < 0 || v > 6) && !admin && !c.Cred.Has(abi.CAP_NET_RAW) {
			return abi.EPERM
		}
		s.priority.Store(v)
		return 0
	case abi.SO_MARK:
		if !admin && !c.Cred.Has(abi.CAP_NET_RAW) {
			return abi.EPERM
		}
		s.mark.Store(uint32(v))
		return 0
	case abi.SO_LINGER:
		if len(val) < 8 {
			return abi.EINVAL
		}
		if v == 0 {
			s.linger.Store(0)
		} else {
			s.linger.Store(int64(binary.LittleEndian.Uint32(val[4:])) + 1)
		}
		return 0
	case abi.SO_RCVLOWAT:
		if v < 0 {
			v = math.MaxInt32
		}
		s.rcvLowat.Store(max(v, 1))
		s.Wake(ReadEvents)
		return 0
	case abi.SO_RCVTIMEO_OLD, abi.SO_RCVTIMEO_NEW:
		return setTimeo(&s.rcvTimeo, val)
	case abi.SO_SNDTIMEO_OLD, abi.SO_SNDTIMEO_NEW:
		return setTimeo(&s.sndTimeo, val)
	case abi.SO_PEEK_OFF:
		if p, ok := s.Ops.(PeekOffsetter); ok {
			return p.SetPeekOff(v)
		}
		return abi.EOPNOTSUPP
	case abi.SO_BSDCOMPAT:
		return 0 // Linux ignores it, too
	}
	bit := boolBit(name)
	if bit == 0 {
		return abi.ENOPROTOOPT
	}
	setBit(s, bit, v != 0)
	return 0
}

// bufSize doubles what was asked for: the kernel's own share, as Linux counts it. A negative number is a large one.
func bufSize(v int32, most uint32) int32 { return int32(min(uint32(v), most) * 2) }

type atomicInt64 interface {
	Load() int64
	Store(int64)
}

// setTimeo is sock_set_timeout. A negative time is none at all: calls do not wait.
func setTimeo(p atomicInt64, val []byte) abi.Errno {
	if len(val) < 16 {
		return abi.EINVAL
	}
	sec, usec := int64(binary.LittleEndian.Uint64(val)), int64(binary.LittleEndian.Uint64(val[8:]))
	switch {
	case usec < 0 || usec >= 1e6:
		return abi.EDOM
	case sec < 0:
		p.Store(-1)
	case sec > maxTimeoSec:
		p.Store(0)
	default:
		p.Store(sec*1e9 + usec*1e3)
	}
	return 0
}

func (s *Socket) bindToDevice(c *vfs.Caller, val []byte) abi.Errno {
	if s.bound.Load() != 0 && !c.Cred.Has(abi.CAP_NET_RAW) {
		return abi.EPERM
	}
	name := cstring(val[:min(len(val), 15)])
	if name == "" {
		s.bound.Store(0)
		return 0
	}
	d, ok := s.Net.Ifaces.ByName(name)
	if !ok {
		return abi.ENODEV
	}
	s.bound.Store(d.Index)
	return 0
}

func cstring(b []byte) string {
	for i, ch := range b {
		if ch == 0 {
			return string(b[:i])
		}
	}
	return string(b)
}

// GetOption is getsockopt(2): the bytes of the value, of which the guest gets at most room, as the caller cuts them. EINVAL is the caller's too
// (a negative room). ENOPROTOOPT, ENOTCONN, ERANGE and what the family says. full: the length that ERANGE or a cut list wants told.
func (s *Socket) GetOption(c *vfs.Caller, level, name int32, room int) (val []byte, e abi.Errno) {
	if level != abi.SOL_SOCKET {
		return s.Ops.GetOption(c, level, name, room)
	}
	n := func(v int32) ([]byte, abi.Errno) { return binary.LittleEndian.AppendUint32(nil, uint32(v)), 0 }
	switch name {
	case abi.SO_TYPE:
		return n(s.Type)
	case abi.SO_PROTOCOL:
		return n(s.Protocol)
	case abi.SO_DOMAIN:
		return n(s.Family)
	case abi.SO_ERROR:
		return n(int32(s.TakeError()))
	case abi.SO_SNDBUF:
		return n(s.SndBuf.Load())
	case abi.SO_RCVBUF:
		return n(s.RcvBuf.Load())
	case abi.SO_PRIORITY:
		return n(s.priority.Load())
	case abi.SO_MARK:
		return n(int32(s.mark.Load()))
	case abi.SO_RCVLOWAT:
		return n(s.rcvLowat.Load())
	case abi.SO_SNDLOWAT:
		return n(1)
	case abi.SO_BSDCOMPAT:
		return n(0)
	case abi.SO_ACCEPTCONN:
		a, ok := s.Ops.(Acceptor)
		return n(btoi(ok && a.Listening()))
	case abi.SO_LINGER:
		l := abi.Linger{}
		if on, sec := s.Linger(); on {
			l.Onoff, l.Linger = 1, int32(sec)
		}
		return append([]byte(nil), abi.Bytes(&l)...), 0
	case abi.SO_RCVTIMEO_OLD, abi.SO_RCVTIMEO_NEW:
		return timeo(s.rcvTimeo.Load()), 0
	case abi.SO_SNDTIMEO_OLD, abi.SO_SNDTIMEO_NEW:
		return timeo(s.sndTimeo.Load()), 0
	case abi.SO_COOKIE:
		return binary.LittleEndian.AppendUint64(nil, s.cookie), 0
	case abi.SO_NETNS_COOKIE:
		return binary.LittleEndian.AppendUint64(nil, 1), 0
	case abi.SO_PASSCRED:
		if !s.mayPassCreds() {
			return nil, abi.EOPNOTSUPP
		}
	case abi.SO_PASSRIGHTS:
		if s.Family != abi.AF_UNIX {
			return nil, abi.EOPNOTSUPP
		}
		return n(btoi(s.passRights.Load()))
	case abi.SO_PEERCRED:
		u := abi.Ucred{PID: 0, UID: ^uint32(0), GID: ^uint32(0)}
		if p, ok := s.Ops.(Credentialed); ok {
			if v, _, ok := p.PeerCred(); ok {
				u = v
			}
		}
		return append([]byte(nil), abi.Bytes(&u)...), 0
	case abi.SO_PEERGROUPS:
		p, ok := s.Ops.(Credentialed)
		if !ok {
			return nil, abi.ENODATA
		}
		_, groups, ok := p.PeerCred()
		if !ok {
			return nil, abi.ENODATA
		}
		b := append([]byte(nil), abi.SliceBytes(groups)...)
		if len(b) > room {
			return b, abi.ERANGE // the length is told
		}
		return b, 0
	case abi.SO_PEERNAME:
		var a Addr
		if e := s.Ops.Name(c, true, &a); e != 0 {
			return nil, abi.ENOTCONN
		}
		if len(a.Bytes()) < room {
			return nil, abi.EINVAL
		}
		return append([]byte(nil), a.Bytes()...), 0
	case abi.SO_PEEK_OFF:
		p, ok := s.Ops.(PeekOffsetter)
		if !ok {
			return nil, abi.EOPNOTSUPP
		}
		return n(p.PeekOff())
	case abi.SO_BINDTODEVICE:
		i := s.bound.Load()
		if i == 0 {
			return nil, 0
		}
		if room < abi.IFNAMSIZ {
			return nil, abi.EINVAL
		}
		d, ok := s.Net.Ifaces.ByIndex(i)
		if !ok {
			return nil, abi.ENODEV
		}
		return append([]byte(d.Name), 0), 0
	case abi.SO_BINDTOIFINDEX:
		return n(s.bound.Load())
	}
	bit := boolBit(name)
	if bit == 0 {
		return nil, abi.ENOPROTOOPT
	}
	return n(int32(s.bits.Load() & bit >> bits.TrailingZeros32(bit)))
}

func timeo(ns int64) []byte {
	ns = max(ns, 0)
	return binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(nil, uint64(ns/1e9)), uint64(ns%1e9/1e3))
}

func btoi(b bool) int32 {
	if b {
		return 1
	}
	return 0
}
