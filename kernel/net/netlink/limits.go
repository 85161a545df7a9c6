package netlink

// Bounds of this package.
const (
	chunk       = 3776 // NLMSG_GOODSIZE: bytes of one message of a dump, so that a reader with a page of room gets it whole
	maxGroups   = 64   // groups of a protocol: EINVAL
	maxAttrs    = 256  // attributes looked at in one request
	maxRequests = 4096 // requests in one message; what is behind them is ignored
)
