//go:build lockcheck

package event

const lockcheck = true
