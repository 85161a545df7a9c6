//go:build !lockcheck

package unix

const lockcheck = false
