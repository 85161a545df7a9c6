//go:build lockcheck

package unix

const lockcheck = true // locks allocate then
