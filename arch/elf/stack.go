package elf

import (
	"encoding/binary"

	"goum/arch/abi"
)

// AuxEntry is an entry of the auxiliary vector: getauxval(3).
type AuxEntry struct {
	Tag, Value uint64
}

// StackInput is what goes onto the stack of a program that starts.
type StackInput struct {
	Top      uint64 // the end of the stack, a multiple of 16
	Argv     []string
	Envp     []string
	Aux      []AuxEntry // without AT_NULL; the values of AT_RANDOM, AT_EXECFN and AT_PLATFORM are filled in
	Random   [16]byte
	Execfn   string
	Platform string
	Limit    uint64 // ArgLimit; of the strings of argv and envp with their NULs, and the pointers to them
	Shuffle  uint64 // random, below 8192: how many bytes to leave free below the strings (0 without ASLR)
}

// Stack is the image of a stack, and where what is in it lies. Arg and Env are ranges of strings, for /proc/PID.
type Stack struct {
	Image              []byte // as it lies from SP on, up to StackInput.Top
	SP                 uint64 // a multiple of 16
	ArgStart, ArgEnd   uint64
	EnvStart, EnvEnd   uint64
	AuxStart           uint64
	Aux                []byte // part of Image, AT_NULL included: /proc/PID/auxv
	Random, Execfn, Pf uint64 // addresses of what AT_RANDOM, AT_EXECFN and AT_PLATFORM point to
}

// ArgLimit is how many bytes of arguments a process may give to execve whose limit on the stack (RLIMIT_STACK) is stackLimit:
// a quarter of it, at least 128 KiB and at most 6 MiB.
func ArgLimit(stackLimit uint64) uint64 {
	return max(min(6<<20, stackLimit/4), 128<<10)
}

// BuildStack lays out the stack as Linux does. From the top: eight zero bytes, Execfn, the strings of envp and below
// them those of argv, the platform's name, the random bytes; then the vector, the pointers to envp and to argv, and argc.
//
// Without any argument the program gets an empty one. E2BIG: a string longer than MaxArgLen, or more than in.Limit in all.
func BuildStack(in *StackInput) (*Stack, abi.Errno) {
	argv := in.Argv
	if len(argv) == 0 {
		argv = []string{""}
	}
	if len(in.Aux) > maxAux || in.Shuffle >= 8192 || in.Top%16 != 0 {
		return nil, abi.EINVAL
	}
	if len(argv) > MaxArgStrings || len(in.Envp) > MaxArgStrings {
		return nil, abi.E2BIG
	}
	strings := uint64(len(in.Execfn)) + 1
	for _, list := range [...][]string{argv, in.Envp} {
		for _, s := range list {
			if len(s) >= MaxArgLen {
				return nil, abi.E2BIG
			}
			strings += uint64(len(s)) + 1
		}
	}
	pointers := 8 * uint64(len(argv)+len(in.Envp))
	if pointers >= in.Limit || strings > in.Limit-pointers {
		return nil, abi.E2BIG
	}

	st := &Stack{}
	p := in.Top - 8
	st.Execfn = p - uint64(len(in.Execfn)) - 1
	first := p - strings // the lowest string
	p = (first - in.Shuffle) &^ 15
	st.Pf = p - uint64(len(in.Platform)) - 1
	st.Random = st.Pf - uint64(len(in.Random))
	words := 1 + len(argv) + 1 + len(in.Envp) + 1 + 2*(len(in.Aux)+1)
	st.SP = (st.Random - 8*uint64(words)) &^ 15
	if st.SP >= in.Top {
		return nil, abi.E2BIG // wrapped below address 0
	}

	st.Image = make([]byte, in.Top-st.SP)
	b, at := st.Image, 0
	word := func(v uint64) {
		binary.LittleEndian.PutUint64(b[at:], v)
		at += 8
	}
	next := first
	list := func(list []string) (start, end uint64) {
		start = next
		for _, s := range list {
			word(next)
			copy(b[next-st.SP:], s)
			next += uint64(len(s)) + 1
		}
		word(0)
		return start, next
	}
	word(uint64(len(argv)))
	st.ArgStart, st.ArgEnd = list(argv)
	st.EnvStart, st.EnvEnd = list(in.Envp)
	auxAt := at
	for _, a := range in.Aux {
		switch a.Tag {
		case abi.AT_RANDOM:
			a.Value = st.Random
		case abi.AT_EXECFN:
			a.Value = st.Execfn
		case abi.AT_PLATFORM:
			a.Value = st.Pf
		}
		word(a.Tag)
		word(a.Value)
	}
	word(abi.AT_NULL)
	word(0)
	st.AuxStart, st.Aux = st.SP+uint64(auxAt), b[auxAt:at:at]
	copy(b[st.Random-st.SP:], in.Random[:])
	copy(b[st.Pf-st.SP:], in.Platform)
	copy(b[st.Execfn-st.SP:], in.Execfn)
	return st, 0
}
