package stub

import (
	"fmt"

	"goum/arch/abi"

	"golang.org/x/net/bpf"
)

// Offsets in struct seccomp_data.
const (
	dataNr   = 0
	dataArch = 4
	dataIP   = 8
	dataArgs = 16

	auditArchX86_64 = 0xc000003e

	retTrap   = 0x00030000
	retNotify = 0x7fc00000
	retAllow  = 0x7fff0000
)

// site is one permitted call of the stub: the address behind its syscall instruction, and what must hold of it.
type site struct {
	addr   uint64
	nr     uint32
	checks []bpf.Instruction
	notify bool
}

// listenerFilter notifies the monitor of every call that the given sites make, and has no opinion of others.
//
// It is a filter of its own because its listener has to leave the stub before the strict filter stands: where the host
// forbids pidfd_getfd (Yama, container profiles) there is no other way out. The host runs both and takes the stricter answer.
func listenerFilter(sites []site) []bpf.Instruction {
	f := []bpf.Instruction{load(dataIP + 4), bpf.JumpIf{Cond: bpf.JumpEqual, Val: Code >> 32, SkipTrue: 1}, ret(retAllow), load(dataIP)}
	for _, s := range sites {
		if s.notify {
			f = append(f, bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: uint32(s.addr), SkipTrue: 1}, ret(retNotify))
		}
	}
	return append(f, ret(retAllow))
}

// strictFilter lets the sites pass, each with its number and its constant arguments; everything else traps, and so becomes the
// guest's own system call. The architecture is looked at first: int 0x80 from a site's address would have other numbers.
func strictFilter(sites []site) []bpf.Instruction {
	f := []bpf.Instruction{load(dataArch)}
	f = append(f, equal(auditArchX86_64)...)
	f = append(f, load(dataIP+4))
	f = append(f, equal(Code>>32)...)
	f = append(f, load(dataIP))
	for _, s := range sites {
		block := []bpf.Instruction{load(dataNr)}
		block = append(block, equal(s.nr)...)
		block = append(block, s.checks...)
		block = append(block, ret(retAllow))
		f = append(f, bpf.JumpIf{Cond: bpf.JumpEqual, Val: uint32(s.addr), SkipFalse: uint8(len(block))})
		f = append(f, block...)
	}
	return append(f, ret(retTrap))
}

func load(off uint32) bpf.Instruction     { return bpf.LoadAbsolute{Off: off, Size: 4} }
func ret(action uint32) bpf.Instruction   { return bpf.RetConstant{Val: action} }
func argLow(n uint32) bpf.Instruction     { return load(dataArgs + 8*n) }
func argHigh(n uint32) bpf.Instruction    { return load(dataArgs + 8*n + 4) }
func equal(val uint32) []bpf.Instruction  { return check(bpf.JumpEqual, val) }
func noMore(val uint32) []bpf.Instruction { return check(bpf.JumpLessOrEqual, val) }

// check traps unless the accumulator stands to val as cond says.
func check(cond bpf.JumpTest, val uint32) []bpf.Instruction {
	return []bpf.Instruction{bpf.JumpIf{Cond: cond, Val: val, SkipTrue: 1}, ret(retTrap)}
}

// argIs demands that argument n is val, in all of its 64 bits.
func argIs(n uint32, val uint64) []bpf.Instruction {
	f := append([]bpf.Instruction{argLow(n)}, equal(uint32(val))...)
	return append(append(f, argHigh(n)), equal(uint32(val>>32))...)
}

// argBits demands that argument n has no other bits than those of mask.
func argBits(n uint32, mask uint32) []bpf.Instruction {
	f := []bpf.Instruction{argLow(n), bpf.JumpIf{Cond: bpf.JumpBitsNotSet, Val: ^mask, SkipTrue: 1}, ret(retTrap), argHigh(n)}
	return append(f, equal(0)...)
}

// argIn demands that argument n lies in the 4 GiB that hold the control memory, at or above Control.
func argInControl(n uint32) []bpf.Instruction {
	f := append([]bpf.Instruction{argHigh(n)}, equal(Control>>32)...)
	f = append(f, argLow(n))
	return append(f, check(bpf.JumpGreaterOrEqual, Control&0xffffffff)...)
}

// rangeBelowStart demands that arguments 0 and 1, an address and a length, end at Start or below. Neither may have more than 47
// bits, so that their sum cannot wrap.
func rangeBelowStart() []bpf.Instruction {
	f := append([]bpf.Instruction{argHigh(0)}, noMore(Start>>32)...)
	f = append(append(f, argHigh(1)), noMore(Start>>32)...)
	f = append(f,
		argLow(0), bpf.TAX{}, argLow(1),
		bpf.ALUOpX{Op: bpf.ALUOpAdd}, bpf.StoreScratch{Src: bpf.RegA, N: 0}, // the low word of the sum
		bpf.JumpIfX{Cond: bpf.JumpGreaterOrEqual, SkipTrue: 2}, // it carries when it is less than an addend
		bpf.LoadConstant{Dst: bpf.RegX, Val: 1}, bpf.Jump{Skip: 1},
		bpf.LoadConstant{Dst: bpf.RegX, Val: 0},
		argHigh(0), bpf.ALUOpX{Op: bpf.ALUOpAdd}, bpf.TAX{}, argHigh(1), bpf.ALUOpX{Op: bpf.ALUOpAdd})
	// The high word of the sum: less than Start's, or equal to it and the low word no more than Start's.
	f = append(f, noMore(Start>>32)...)
	return append(f, bpf.JumpIf{Cond: bpf.JumpLessThan, Val: Start >> 32, SkipTrue: 3},
		bpf.LoadScratch{Dst: bpf.RegA, N: 0}, bpf.JumpIf{Cond: bpf.JumpLessOrEqual, Val: Start & 0xffffffff, SkipTrue: 1}, ret(retTrap))
}

func join(parts ...[]bpf.Instruction) []bpf.Instruction {
	var all []bpf.Instruction
	for _, p := range parts {
		all = append(all, p...)
	}
	return all
}

// permitted lists the stub's calls, in the order of their syscall instructions in the code.
func permitted(after []uint64) ([]site, error) {
	sites := []site{
		{nr: altstackNr, checks: join(argInControl(0), argIs(1, 0))},
		{nr: reportNr, notify: true},
		{nr: MapNr, notify: true, checks: join(
			rangeBelowStart(),
			argBits(2, abi.PROT_READ|abi.PROT_WRITE|abi.PROT_EXEC),
			argIs(3, MapFlags),
			argIs(4, PhysmemFd))},
		{nr: UnmapNr, notify: true, checks: rangeBelowStart()},
		{nr: CloneNr, notify: true, checks: join(argIs(0, CloneFlags), argInControl(1))},
	}
	if len(after) != len(sites) {
		return nil, fmt.Errorf("stub: the code has %d system calls, %d are known", len(after), len(sites))
	}
	for i := range sites {
		sites[i].addr = after[i]
	}
	return sites, nil
}

// compile puts f into dst as the host wants it, and returns its length.
func compile(f []bpf.Instruction, dst []sockFilter) (uint16, error) {
	raw, err := bpf.Assemble(f)
	if err != nil {
		return 0, fmt.Errorf("stub: filter: %w", err)
	}
	if len(raw) > len(dst) {
		return 0, fmt.Errorf("stub: a filter of %d instructions, room for %d", len(raw), len(dst))
	}
	for i, r := range raw {
		dst[i] = sockFilter{Code: r.Op, Jt: r.Jt, Jf: r.Jf, K: r.K}
	}
	return uint16(len(raw)), nil
}
