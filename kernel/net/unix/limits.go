package unix

// Bounds of this package.
const (
	maxQueue   = 10      // net.unix.max_dgram_qlen: packets that wait for a receiver that is not connected to the sender
	firstRing  = 4096    // bytes of a new ring; it doubles
	markCost   = 256     // what a message with credentials or descriptors is charged beside its bytes, so that empty ones are bounded
	packetCost = 256     // the same for a packet
	maxPair    = 4 << 20 // bytes of a ring: twice SO_SNDBUF's largest
	autobinds  = 1 << 20 // names that binding without an address can give: ENOSPC
	gcShare    = 16      // a collection looks at no more than so many sockets in flight for each one released
)
