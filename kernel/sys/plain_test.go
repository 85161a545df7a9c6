//go:build !lockcheck

package sys

// checked says that this build checks locks, and allocates for that.
const checked = false
