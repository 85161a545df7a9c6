package inet

// Bounds of this package.
const (
	firstPort   = 32768     // net.ipv4.ip_local_port_range
	lastPort    = 60999     //
	privileged  = 1024      // net.ipv4.ip_unprivileged_port_start: ports below need CAP_NET_BIND_SERVICE
	maxDatagram = 65535     // bytes of a datagram: EMSGSIZE
	scratchSize = 64 << 10  // bytes that one step of a receive moves
	minBuffer   = 16 << 10  // bytes of a socket's buffers where there are very many sockets
	maxBuffer   = 1 << 20   // and where there are few
	allBuffers  = 128 << 20 // what the buffers of all sockets are meant to stay below
	maxCount    = 1 << 14   // sockets and connections: ENOBUFS
	maxShown    = 1 << 14   // lines of a file in /proc/net
)
