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

	// Rebuild says that the host refused an operation (it has no memory for another mapping), and that those handed out behind it
	// were not made. The Space replaces all that wait by one that takes every mapping away, and releases nothing before that one
	// is proven. That one cannot fail: no mapping is split by it.
	//
	// A hijacked stub may hide such a refusal, and so keep a mapping whose frames are released. It cannot cause one: the number of
	// mappings stays far below the host's bound (New checks it), and what else a small allocation fails of is the host's distress.
	Rebuild()

	// Detached says that the stub and all its mappings are gone.
	Detached()
}
