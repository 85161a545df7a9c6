package tty

import "goum/sched/clock"

// Bounds of this package. Sizes are those of Linux.
const (
	ringSize = 4096 // bytes of input that wait to be read, and the longest line: typed ones beyond it replace the last
	ringMask = ringSize - 1

	echoCommit  = 256                         // echoes are written at the latest when so many wait
	echoBlock   = 256                         // and again after each such block
	echoDiscard = ringSize - (echoBlock + 32) // more waiting ones are dropped, oldest first

	backlogSize = 8192 // bytes on their way to a pty's other half whose Discipline is full
	writeChunk  = 2048 // bytes that a write hands to the Discipline at a time
	readChunk   = 64   // bytes that a read takes from it at a time
	wakeRoom    = 256  // a terminal with more output waiting than this is not reported as writable

	// MaxPtys is how many pairs there can be at a time in the whole machine: opening one more gives ENOSPC.
	MaxPtys = 4096

	tenth clock.Time = 100e6 // the unit of VTIME
)
