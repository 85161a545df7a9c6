//go:build lockcheck

package fstest

// LockCheck says that this build checks the order of locks, which allocates and is slow.
const LockCheck = true
