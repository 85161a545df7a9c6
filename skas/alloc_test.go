//go:build !lockcheck

package skas

import (
	"testing"

	"goum/arch/abi"
	"goum/stub"
)

// TestRunAllocatesNothing counts allocations of a system call, with and without operations, with one thread and with two.
func TestRunAllocatesNothing(t *testing.T) {
	w := newWorld(t, getpidLoop)
	th, space, r := w.start(t)
	th.Run(r)
	space.ops = make([]stub.Op, 0, 1024)
	for _, threads := range []string{"one thread", "two threads"} {
		if n := testing.AllocsPerRun(200, func() { th.Run(r) }); n != 0 {
			t.Errorf("%s: %v allocations a system call", threads, n)
		}
		if n := testing.AllocsPerRun(200, func() {
			space.ops = append(space.ops[:0], stub.Op{Kind: stub.OpMap, Prot: abi.PROT_READ, Addr: 0x700000, Len: stub.PageSize})
			th.Run(r)
		}); n != 0 {
			t.Errorf("%s: %v allocations a system call with an operation", threads, n)
		}
		if _, e := th.NewThread(); e != 0 {
			t.Fatal(e.Name())
		}
	}
	th.Stub().Retire()
}
