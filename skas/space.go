package skas

import "goum/stub"

// Space is an address space as skas sees it: who makes operations, and says whether they still hold.
type Space interface {
	// NextOps moves the oldest operations that wait into ops, and returns how many, and the sequence number of the last.
	NextOps(ops []stub.Op) (n int, seq uint64)

	// Allows says whether the page table still grants all of op: each page, its frame, its protection.
	Allows(op *stub.Op) bool

	// Proven says that all operations up to seq have returned in the stub.
	Proven(seq uint64)

	// Detached says that the stub and all its mappings are gone.
	Detached()
}
