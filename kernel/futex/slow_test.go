//go:build race || lockcheck

package futex

// slow says that this build checks more, and allocates by itself.
const slow = true
