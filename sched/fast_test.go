//go:build !race && !lockcheck

package sched

const slow = false
