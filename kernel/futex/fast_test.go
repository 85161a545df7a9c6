//go:build !race && !lockcheck

package futex

const slow = false
