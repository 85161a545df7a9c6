package fd

import "goum/kernel/cred"

// Bounds of this package.
const (
	// MaxFD is the most descriptors that a table can have (fs.nr_open), whatever RLIMIT_NOFILE says: EMFILE.
	MaxFD = cred.MaxOpen

	// defaultLimit is RLIMIT_NOFILE until SetLimits says otherwise.
	defaultLimit = 1024
)
