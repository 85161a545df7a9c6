package elf

import (
	"encoding/binary"
	"strings"
	"testing"

	"goum/arch/abi"
)

const top = 0x7ffffffff000

func input() *StackInput {
	return &StackInput{
		Top: top, Argv: []string{"sh", "", "-c"}, Envp: []string{"A=1", "B="}, Execfn: "/bin/sh", Platform: "x86_64",
		Aux:    []AuxEntry{{abi.AT_PAGESZ, 4096}, {abi.AT_RANDOM, 0}, {abi.AT_EXECFN, 0}, {abi.AT_PLATFORM, 0}},
		Random: [16]byte{1, 2, 15: 16}, Limit: ArgLimit(8 << 20),
	}
}

// program reads the stack as a C library does.
type reader struct {
	t  *testing.T
	st *Stack
	at uint64
}

func (r *reader) word() uint64 {
	v := binary.LittleEndian.Uint64(r.st.Image[r.at-r.st.SP:])
	r.at += 8
	return v
}

func (r *reader) str(addr uint64) string {
	if addr < r.st.SP || addr >= r.st.SP+uint64(len(r.st.Image)) {
		r.t.Fatalf("%#x is not on the stack", addr)
	}
	return cString(r.st.Image[addr-r.st.SP:])
}

func (r *reader) list() (l []string) {
	for {
		p := r.word()
		if p == 0 {
			return l
		}
		l = append(l, r.str(p))
	}
}

func TestBuildStack(t *testing.T) {
	for shuffle := range uint64(40) {
		in := input()
		in.Shuffle = shuffle * 200
		in.Argv = in.Argv[:shuffle%3+1] // odd and even numbers of words
		st, e := BuildStack(in)
		if e != 0 {
			t.Fatal(e.Name())
		}
		if st.SP%16 != 0 || st.SP+uint64(len(st.Image)) != top {
			t.Fatalf("SP %#x, %d bytes", st.SP, len(st.Image))
		}
		r := &reader{t, st, st.SP}
		if n := r.word(); n != uint64(len(in.Argv)) {
			t.Errorf("argc %d", n)
		}
		if got := strings.Join(r.list(), "|"); got != strings.Join(in.Argv, "|") {
			t.Errorf("argv %q", got)
		}
		if got := strings.Join(r.list(), "|"); got != strings.Join(in.Envp, "|") {
			t.Errorf("envp %q", got)
		}
		if r.at != st.AuxStart {
			t.Errorf("vector at %#x, said to be at %#x", r.at, st.AuxStart)
		}
		aux := map[uint64]uint64{}
		for tag := r.word(); tag != abi.AT_NULL; tag = r.word() {
			aux[tag] = r.word()
		}
		r.word()
		if len(aux) != 4 || aux[abi.AT_PAGESZ] != 4096 || r.at != st.AuxStart+uint64(len(st.Aux)) {
			t.Errorf("vector %v, %d bytes", aux, len(st.Aux))
		}
		if got := r.str(aux[abi.AT_EXECFN]); got != in.Execfn {
			t.Errorf("AT_EXECFN %q", got)
		}
		if got := r.str(aux[abi.AT_PLATFORM]); got != in.Platform {
			t.Errorf("AT_PLATFORM %q", got)
		}
		if at := aux[abi.AT_RANDOM] - st.SP; [16]byte(st.Image[at:at+16]) != in.Random {
			t.Errorf("AT_RANDOM % x", st.Image[at:at+16])
		}
		text := func(from, to uint64) string { return string(st.Image[from-st.SP : to-st.SP]) }
		if got := text(st.ArgStart, st.ArgEnd); got != strings.Join(in.Argv, "\x00")+"\x00" {
			t.Errorf("arguments %q", got)
		}
		if got := text(st.EnvStart, st.EnvEnd); got != "A=1\x00B=\x00" || st.EnvStart != st.ArgEnd {
			t.Errorf("environment %q", got)
		}
		if got := text(st.EnvEnd, top); got != in.Execfn+strings.Repeat("\x00", 9) {
			t.Errorf("top of the stack %q", got)
		}
	}
}

func TestBuildStackLimits(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*StackInput)
		want   abi.Errno
	}{
		"empty argv":          {func(in *StackInput) { in.Argv = nil }, 0},
		"longest string":      {func(in *StackInput) { in.Argv[0] = strings.Repeat("x", MaxArgLen-1) }, 0},
		"string too long":     {func(in *StackInput) { in.Argv[0] = strings.Repeat("x", MaxArgLen) }, abi.E2BIG},
		"environment":         {func(in *StackInput) { in.Envp[0] = strings.Repeat("x", MaxArgLen) }, abi.E2BIG},
		"just the limit":      {func(in *StackInput) { in.Limit = 5*8 + 7 + 7 + 8 }, 0},
		"one more":            {func(in *StackInput) { in.Limit = 5*8 + 7 + 7 + 8 - 1 }, abi.E2BIG},
		"no room for pointer": {func(in *StackInput) { in.Limit = 5 * 8 }, abi.E2BIG},
		"low top":             {func(in *StackInput) { in.Top = 64 }, abi.E2BIG},
		"vector":              {func(in *StackInput) { in.Aux = make([]AuxEntry, 65) }, abi.EINVAL},
	} {
		in := input()
		c.change(in)
		if _, e := BuildStack(in); e != c.want {
			t.Errorf("%s: %v, want %v", name, e.Name(), c.want.Name())
		}
	}
	in := input()
	in.Argv = nil
	if st, _ := BuildStack(in); st.Image[0] != 1 || st.ArgEnd != st.ArgStart+1 {
		t.Error("without arguments, a program gets an empty one")
	}
	for stack, want := range map[uint64]uint64{0: 128 << 10, 8 << 20: 2 << 20, 1 << 40: 6 << 20, ^uint64(0): 6 << 20} {
		if got := ArgLimit(stack); got != want {
			t.Errorf("ArgLimit(%d) = %d, want %d", stack, got, want)
		}
	}
}
