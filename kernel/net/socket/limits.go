package socket

// Bounds of this package, with the values of Linux 6.18.
const (
	MaxBacklog     = 4096    // net.core.somaxconn: a longer backlog is cut
	maxBuffer      = 4 << 20 // net.core.wmem_max and rmem_max: what SO_SNDBUF and SO_RCVBUF may ask for
	defaultBuffer  = 212992  // net.core.wmem_default and rmem_default
	minSndBuf      = 4608
	minRcvBuf      = 2304
	MaxControl     = 131072 // net.core.optmem_max: ancillary bytes of one message (ENOBUFS)
	maxIfreqs      = 1 << 12
	maxIfAddrs     = 1 << 12 // addresses of one device: ENOBUFS
	maxRoutes      = 1 << 12 // routes that were added by hand: ENOBUFS
	maxTimeoSec    = int64(1<<63-1)/1e9 - 1
	maxSocketsOpen = 1 << 18 // sockets that exist at once, accepted or not: ENFILE
)
