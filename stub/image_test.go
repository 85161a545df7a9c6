package stub

import (
	"bytes"
	"debug/elf"
	"testing"

	"golang.org/x/arch/x86/x86asm"
)

// TestCodeDisassembles walks the code as the processor would, and demands that its syscall instructions are exactly the bytes
// that syscalls finds, and that no jump leaves it.
func TestCodeDisassembles(t *testing.T) {
	for name, code := range map[string][]byte{"code": text(codeAddr()), "boot": text(bootAddr())} {
		var calls []uint64
		starts := map[int]bool{}
		var targets []int
		for pc := 0; pc < len(code); {
			starts[pc] = true
			in, err := x86asm.Decode(code[pc:], 64)
			if err != nil {
				// The decoder does not know rdfsbase and its kin, which are four or five bytes long.
				if n := fsgsbase(code[pc:]); n > 0 {
					pc += n
					continue
				}
				t.Fatalf("%s+%#x: %v: % x", name, pc, err, code[pc:min(pc+12, len(code))])
			}
			for _, a := range in.Args {
				switch a := a.(type) {
				case x86asm.Rel:
					targets = append(targets, pc+in.Len+int(a))
				case x86asm.Mem:
					if a.Base == x86asm.RIP {
						t.Errorf("%s+%#x: %v refers to memory by its own address", name, pc, in)
					}
				}
			}
			switch in.Op {
			case x86asm.SYSCALL:
				calls = append(calls, Code+uint64(pc+in.Len))
			case x86asm.CALL, x86asm.RET, x86asm.PUSH, x86asm.POP:
				t.Errorf("%s+%#x: %v needs a stack", name, pc, in)
			}
			pc += in.Len
		}
		for _, to := range targets {
			if !starts[to] {
				t.Errorf("%s: a jump to %#x, which is no instruction of it", name, to)
			}
		}
		if want := syscalls(code); len(want) != len(calls) {
			t.Errorf("%s: %d system calls found by their bytes, %d by decoding", name, len(want), len(calls))
		}
	}
}

func fsgsbase(b []byte) int {
	if len(b) >= 5 && b[0] == 0xf3 && b[1]&0xf8 == 0x48 && b[2] == 0x0f && b[3] == 0xae {
		return 5
	}
	return 0
}

func TestHandlerStandsAtItsOffset(t *testing.T) {
	code := text(codeAddr())
	in, err := x86asm.Decode(code[handlerOffset:], 64)
	if err != nil || in.Op != x86asm.MOV || in.Args[1] != x86asm.RSP {
		t.Errorf("at %d: %v, %v; want the first instruction of the handler, mov r12, rsp", handlerOffset, in, err)
	}
}

func TestImageIsAnExecutable(t *testing.T) {
	image, sites, err := Image()
	if err != nil {
		t.Fatal(err)
	}
	f, err := elf.NewFile(bytes.NewReader(image))
	if err != nil {
		t.Fatal(err)
	}
	if f.Entry != Boot {
		t.Errorf("entry %#x, want %#x", f.Entry, uint64(Boot))
	}
	for _, p := range f.Progs {
		if p.Type == elf.PT_LOAD && (p.Vaddr < Start+PageSize || p.Vaddr+p.Memsz > Control || p.Flags&(elf.PF_W) != 0) {
			t.Errorf("segment %+v: outside the stub's part, or writable", p.ProgHeader)
		}
	}
	if sites.Report == 0 || sites.Report >= sites.Map || sites.Map >= sites.Unmap || sites.Unmap >= sites.Clone {
		t.Errorf("sites out of order: %#x", sites)
	}
}
