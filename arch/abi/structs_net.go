package abi

// SockaddrMax is sizeof(struct sockaddr_storage): the longest address that a call takes or gives.
const SockaddrMax = 128

// UnixPathMax is the room for a path in struct sockaddr_un, with or without a NUL.
const UnixPathMax = 108

// SockaddrUn is struct sockaddr_un: unix(7).
type SockaddrUn struct {
	Family uint16
	Path   [UnixPathMax]byte
}

// SockaddrIn is struct sockaddr_in: ip(7). Port and Addr are in network order, as bytes.
type SockaddrIn struct {
	Family uint16
	Port   [2]byte
	Addr   [4]byte
	_      [8]byte
}

// SockaddrIn6 is struct sockaddr_in6: ipv6(7). Port and Addr are in network order.
type SockaddrIn6 struct {
	Family   uint16
	Port     [2]byte
	Flowinfo [4]byte
	Addr     [16]byte
	ScopeID  uint32
}

// SockaddrNl is struct sockaddr_nl: netlink(7).
type SockaddrNl struct {
	Family uint16
	_      uint16
	Pid    uint32
	Groups uint32
}

// Msghdr is struct msghdr of x86-64: sendmsg(2).
type Msghdr struct {
	Name       uint64
	Namelen    int32
	_          uint32
	Iov        uint64
	Iovlen     uint64
	Control    uint64
	Controllen uint64
	Flags      uint32
	_          uint32
}

// Offsets in Msghdr of what recvmsg(2) writes back.
const (
	MsghdrNamelenAt    = 8
	MsghdrControllenAt = 40
	MsghdrFlagsAt      = 48
)

// Mmsghdr is struct mmsghdr: sendmmsg(2).
type Mmsghdr struct {
	Hdr Msghdr
	Len uint32
	_   uint32
}

// MmsghdrLenAt is the offset of Len.
const MmsghdrLenAt = 56

// Cmsghdr is struct cmsghdr of x86-64, before the data of an ancillary message: cmsg(3). Len counts the header.
type Cmsghdr struct {
	Len   uint64
	Level int32
	Type  int32
}

// CmsghdrSize is sizeof(struct cmsghdr); ancillary messages begin at multiples of 8.
const CmsghdrSize = 16

// CmsgAlign rounds n up to where the next ancillary message begins.
func CmsgAlign(n int) int { return (n + 7) &^ 7 }

// Ucred is struct ucred: SCM_CREDENTIALS, SO_PEERCRED.
type Ucred struct {
	PID int32
	UID uint32
	GID uint32
}

// Linger is struct linger: SO_LINGER. Linger is in seconds.
type Linger struct {
	Onoff  int32
	Linger int32
}

// Ifreq is struct ifreq: netdevice(7). What Data holds depends on the call.
type Ifreq struct {
	Name [16]byte
	Data [24]byte
}

// Ifconf is struct ifconf: SIOCGIFCONF. Len counts bytes.
type Ifconf struct {
	Len int32
	_   uint32
	Buf uint64
}

// Ifmap is struct ifmap.
type Ifmap struct {
	MemStart uint64
	MemEnd   uint64
	BaseAddr uint16
	Irq      uint8
	Dma      uint8
	Port     uint8
	_        [3]uint8
}

// Nlmsghdr is struct nlmsghdr: netlink(7). Len counts the header.
type Nlmsghdr struct {
	Len   uint32
	Type  uint16
	Flags uint16
	Seq   uint32
	Pid   uint32
}

// NlmsghdrSize is sizeof(struct nlmsghdr).
const NlmsghdrSize = 16

// Nlattr is struct nlattr and rtattr. Len counts the header.
type Nlattr struct {
	Len  uint16
	Type uint16
}

// Ifinfomsg is struct ifinfomsg: rtnetlink(7).
type Ifinfomsg struct {
	Family uint8
	_      uint8
	Type   uint16
	Index  int32
	Flags  uint32
	Change uint32
}

// Ifaddrmsg is struct ifaddrmsg: rtnetlink(7).
type Ifaddrmsg struct {
	Family    uint8
	Prefixlen uint8
	Flags     uint8
	Scope     uint8
	Index     uint32
}

// IfaCacheinfo is struct ifa_cacheinfo: IFA_CACHEINFO. Lifetimes are seconds, times hundredths of a second since boot.
type IfaCacheinfo struct {
	Prefered uint32
	Valid    uint32
	Cstamp   uint32
	Tstamp   uint32
}

// Rtmsg is struct rtmsg: rtnetlink(7).
type Rtmsg struct {
	Family   uint8
	DstLen   uint8
	SrcLen   uint8
	Tos      uint8
	Table    uint8
	Protocol uint8
	Scope    uint8
	Type     uint8
	Flags    uint32
}

// RtaCacheinfo is struct rta_cacheinfo: RTA_CACHEINFO.
type RtaCacheinfo struct {
	Clntref uint32
	Lastuse uint32
	Expires int32
	Error   uint32
	Used    uint32
	ID      uint32
	Ts      uint32
	Tsage   uint32
}

// RtnlLinkStats64 is struct rtnl_link_stats64: IFLA_STATS64.
type RtnlLinkStats64 struct {
	RxPackets, TxPackets, RxBytes, TxBytes               uint64
	RxErrors, TxErrors, RxDropped, TxDropped             uint64
	Multicast, Collisions                                uint64
	RxLengthErrors, RxOverErrors, RxCRCErrors            uint64
	RxFrameErrors, RxFifoErrors, RxMissedErrors          uint64
	TxAbortedErrors, TxCarrierErrors, TxFifoErrors       uint64
	TxHeartbeatErrors, TxWindowErrors                    uint64
	RxCompressed, TxCompressed, RxNohandler, RxOtherhost uint64
}

// TCPInfo is the part of struct tcp_info that is filled in: TCP_INFO. Times are microseconds where their name does not say otherwise.
type TCPInfo struct {
	State, CaState, Retransmits, Probes, Backoff, Options uint8
	Wscale, AppLimited                                    uint8
	Rto, Ato, SndMss, RcvMss                              uint32
	Unacked, Sacked, Lost, Retrans, Fackets               uint32
	LastDataSent, LastAckSent, LastDataRecv, LastAckRecv  uint32
	Pmtu, RcvSsthresh, Rtt, Rttvar, SndSsthresh, SndCwnd  uint32
	Advmss, Reordering, RcvRtt, RcvSpace, TotalRetrans    uint32
}

// The states of enum tcp_states, as TCP_INFO and /proc/net/tcp show them; unix sockets use the first, CLOSE and LISTEN.
const (
	TCP_ESTABLISHED = 1 + iota
	TCP_SYN_SENT
	TCP_SYN_RECV
	TCP_FIN_WAIT1
	TCP_FIN_WAIT2
	TCP_TIME_WAIT
	TCP_CLOSE
	TCP_CLOSE_WAIT
	TCP_LAST_ACK
	TCP_LISTEN
	TCP_CLOSING
)

// Of include/linux/socket.h and its like: what is not in the headers for user space.
const (
	MSG_CMSG_COMPAT = 0x80000000 // a 32-bit caller: EINVAL from user space
	SCM_MAX_FD      = 253        // descriptors in one SCM_RIGHTS: EINVAL
	NPROTO          = 46         // address families: EAFNOSUPPORT
	SOCK_MAX        = 11         // types of socket: EINVAL
	SOCK_TYPE_MASK  = 0xf
	IPPROTO_MAX     = 263
	NLA_TYPE_MASK   = 0x3fff
	NLMSG_ALIGN     = 4
	IF_OPER_UNKNOWN = 0
	IF_OPER_DOWN    = 2
	IF_OPER_UP      = 6
)
