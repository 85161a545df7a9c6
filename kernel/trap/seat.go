package trap

import (
	"goum/arch/abi"
	"goum/kernel/task"
	"goum/mm"
	"goum/skas"
)

// seat is a stub's thread as package task knows it.
type seat struct{ *skas.Thread }

func (s seat) NewThread() (task.StubThread, abi.Errno) {
	t, e := s.Thread.NewThread()
	if e != 0 {
		return nil, e
	}
	return seat{t}, 0
}

// Flush has what fork took from the parent's mappings taken in its stub, too. Where the stub is dead nothing can write any more.
func (s seat) Flush() { s.Thread.Flush() }

// house is a stub as package task knows it.
type house struct{ *skas.Stub }

func (h house) First() task.StubThread { return seat{h.Stub.First()} }

// Stubs is a pool of stubs as package task knows it.
type Stubs struct{ *skas.Pool }

// New is task.StubPool.
func (p Stubs) New(space *mm.Space) (task.Stub, error) {
	s, err := p.Take(space)
	if err != nil {
		return nil, err
	}
	return house{s}, nil
}
