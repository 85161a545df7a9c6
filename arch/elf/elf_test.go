package elf

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"goum/arch/abi"
)

const taskSize = 1<<47 - pageSize

// memFile is a file in memory.
type memFile []byte

func (f memFile) ReadAt(p []byte, off int64) (int, abi.Errno) {
	n, err := bytes.NewReader(f).ReadAt(p, off)
	if err != nil && err != io.EOF {
		return 0, abi.EINVAL
	}
	return n, 0
}

// exit42 is `mov $60, %eax; mov $42, %edi; syscall`.
var exit42 = []byte{0xb8, 60, 0, 0, 0, 0xbf, 42, 0, 0, 0, 0x0f, 0x05}

// image is an ELF file that a test spoils.
type image struct {
	head  elf.Header64
	progs []elf.Prog64
	size  int
	extra map[int]string
}

const base = 0x400000

// program is a file that exits with 42.
func program(typ elf.Type) *image {
	im := &image{size: 2 * pageSize, extra: map[int]string{}}
	h := &im.head
	copy(h.Ident[:], "\x7fELF\x02\x01\x01")
	h.Type, h.Machine, h.Version = uint16(typ), 62, 1
	h.Phoff, h.Ehsize, h.Phentsize = ehdrSize, ehdrSize, phdrSize
	vaddr := uint64(base)
	if typ == elf.ET_DYN {
		vaddr = 0
	}
	h.Entry = vaddr + 0x800
	im.extra[0x800] = string(exit42)
	im.progs = []elf.Prog64{{Type: ptLoad, Flags: pfR | pfX, Vaddr: vaddr, Filesz: pageSize, Memsz: pageSize, Align: pageSize}}
	return im
}

func (im *image) load(i int) *elf.Prog64 { return &im.progs[i] }

func (im *image) bytes() []byte {
	if im.head.Phnum == 0 {
		im.head.Phnum = uint16(len(im.progs))
	}
	var b bytes.Buffer
	binary.Write(&b, binary.LittleEndian, im.head)
	binary.Write(&b, binary.LittleEndian, im.progs)
	for b.Len() < im.size {
		b.WriteByte(0)
	}
	out := b.Bytes()[:im.size]
	for at, s := range im.extra {
		if at < len(out) {
			copy(out[at:], s)
		}
	}
	return out
}

// natively runs a file on the host: its error number, or its status (-1: killed).
func natively(t *testing.T, file []byte) (abi.Errno, int) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "prog")
	if err := os.WriteFile(path, file, 0o755); err != nil {
		t.Fatal(err)
	}
	err := syscall.ETXTBSY
	for range 100 { // a child of another test may still hold the descriptor we wrote through
		cmd := exec.Command(path)
		if e := cmd.Run(); !errors.As(e, &err) {
			return 0, cmd.ProcessState.ExitCode()
		} else if err != syscall.ETXTBSY {
			break
		}
	}
	return abi.Errno(err), 0
}

// TestParseAsHost spoils a program in one place at a time; Parse must say what execve does with it.
func TestParseAsHost(t *testing.T) {
	for name, spoil := range map[string]func(*image){
		"nothing":             func(im *image) {},
		"magic":               func(im *image) { im.head.Ident[1] = 'e' },
		"class is not looked": func(im *image) { im.head.Ident[4] = 1 },
		"ET_REL":              func(im *image) { im.head.Type = 1 },
		"ET_CORE":             func(im *image) { im.head.Type = 4 },
		"machine":             func(im *image) { im.head.Machine = 183 },
		"i386":                func(im *image) { im.head.Machine = 3 },
		"version":             func(im *image) { im.head.Version = 9 },
		"phentsize":           func(im *image) { im.head.Phentsize = 32 },
		"too many headers":    func(im *image) { im.head.Phnum = 1171 },
		"many headers": func(im *image) {
			for len(im.progs) < 1170 {
				im.progs = append(im.progs, elf.Prog64{})
			}
			im.size = 20 * pageSize
			im.head.Phoff = 2 * pageSize // not over the code
			im.extra[2*pageSize] = string(progBytes(im.progs))
		},
		"headers behind the end":  func(im *image) { im.head.Phoff = 1 << 40 },
		"headers at no place":     func(im *image) { im.head.Phoff = 1<<64 - 1 },
		"headers across the end":  func(im *image) { im.head.Phoff = uint64(im.size) - 10 },
		"PN_XNUM":                 func(im *image) { im.head.Phnum = 0xffff },
		"no PT_LOAD":              func(im *image) { im.progs[0].Type = 4 },
		"filesz over memsz":       func(im *image) { im.load(0).Memsz-- },
		"vaddr beyond the end":    func(im *image) { im.load(0).Vaddr = 1 << 47 },
		"vaddr wraps":             func(im *image) { im.load(0).Vaddr = 1<<64 - pageSize },
		"memsz beyond the end":    func(im *image) { im.load(0).Memsz = taskSize },
		"memsz wraps":             func(im *image) { im.load(0).Memsz = 1<<64 - 1 },
		"not congruent":           func(im *image) { im.load(0).Off = 8 },
		"offset below its page":   func(im *image) { im.load(0).Vaddr += 8 },
		"offset too large":        func(im *image) { im.load(0).Off = 1<<63 - pageSize },
		"odd alignment":           func(im *image) { im.load(0).Align = 3 },
		"entry":                   func(im *image) { im.head.Entry = 1 << 63 },
		"bss":                     func(im *image) { im.load(0).Flags |= pfW; im.load(0).Memsz += 1 << 20 },
		"bss in a read-only page": func(im *image) { im.load(0).Filesz -= 8; im.load(0).Memsz += 1 << 20 },
		"overlapping": func(im *image) {
			im.progs = append(im.progs, im.progs[0])
		},
		"segment without bytes of the file": func(im *image) {
			im.progs = append(im.progs, elf.Prog64{Type: ptLoad, Flags: pfR | pfW, Off: 3, Vaddr: im.load(0).Vaddr + 0x2000, Memsz: 5})
		},
		"segment of nothing": func(im *image) {
			im.progs = append(im.progs, elf.Prog64{Type: ptLoad, Flags: pfR, Vaddr: im.load(0).Vaddr + 0x2000})
		},
		"interpreter of one byte": func(im *image) { im.addInterp("\x00") },
		"interpreter too long":    func(im *image) { im.addInterp("/" + strings.Repeat("x", 4095) + "\x00") },
		"interpreter without NUL": func(im *image) { im.addInterp("/lib") },
		"interpreter not there": func(im *image) {
			im.addInterp("/x\x00")
			im.progs[1].Off = uint64(im.size)
		},
		"interpreter at no place": func(im *image) {
			im.addInterp("/x\x00")
			im.progs[1].Off = 1<<64 - 2
		},
	} {
		for _, typ := range []elf.Type{elf.ET_EXEC, elf.ET_DYN} {
			t.Run(fmt.Sprintf("%s/%v", name, typ), func(t *testing.T) {
				im := program(typ)
				spoil(im)
				file := im.bytes()
				hostErr, status := natively(t, file)
				p, e := Parse(memFile(file), taskSize)
				if e != hostErr {
					t.Fatalf("Parse: %v, natively %v", e.Name(), hostErr.Name())
				}
				if e != 0 {
					return
				}
				lo, hi := p.Span()
				fits := hi-lo < taskSize/2 // where the caller puts it, it finds out whether there is room
				if (p.Late == 0 && fits) != (status == 42) {
					t.Errorf("Parse: late %v, natively status %d", p.Late.Name(), status)
				}
			})
		}
	}
}

func progBytes(p []elf.Prog64) []byte {
	var b bytes.Buffer
	binary.Write(&b, binary.LittleEndian, p)
	return b.Bytes()
}

func (im *image) addInterp(path string) {
	im.extra[im.size] = path
	im.progs = append(im.progs, elf.Prog64{Type: ptInterp, Off: uint64(im.size), Filesz: uint64(len(path)), Memsz: uint64(len(path))})
	im.size += len(path)
}

// TestInterpAsHost gives a program interpreters that are spoilt.
func TestInterpAsHost(t *testing.T) {
	for name, spoil := range map[string]func(*image){
		"nothing":   func(im *image) {},
		"short":     func(im *image) { im.size = 50 },
		"magic":     func(im *image) { im.head.Ident[1] = 'e' },
		"machine":   func(im *image) { im.head.Machine = 183 },
		"ET_REL":    func(im *image) { im.head.Type = 1 },
		"phentsize": func(im *image) { im.head.Phentsize = 32 },
		"phnum":     func(im *image) { im.head.Phnum = 2000 },
		"phoff":     func(im *image) { im.head.Phoff = 1 << 50 },
		"no load":   func(im *image) { im.progs[0].Type = 4 },
		"filesz":    func(im *image) { im.load(0).Memsz-- },
	} {
		t.Run(name, func(t *testing.T) {
			interp := program(elf.ET_DYN)
			spoil(interp)
			path := filepath.Join(t.TempDir(), "interp")
			if err := os.WriteFile(path, interp.bytes(), 0o755); err != nil {
				t.Fatal(err)
			}
			im := program(elf.ET_EXEC)
			im.extra[0x800] = "\xf4" // hlt: only the interpreter may run
			im.addInterp(path + "\x00")
			hostErr, status := natively(t, im.bytes())

			p, e := Parse(memFile(im.bytes()), taskSize)
			if e != 0 || !p.HasInterp || p.Interp != path {
				t.Fatalf("Parse: %v, %+v", e.Name(), p)
			}
			ip, e := ParseInterp(memFile(interp.bytes()), taskSize)
			if e != hostErr {
				t.Fatalf("ParseInterp: %v, natively %v", e.Name(), hostErr.Name())
			}
			if e == 0 && (ip.Late == 0) != (status == 42) {
				t.Errorf("ParseInterp: late %v, natively status %d", ip.Late.Name(), status)
			}
		})
	}
}

// TestPlan checks plans of real files against debug/elf and against what the segments must be.
func TestPlan(t *testing.T) {
	dir := t.TempDir()
	src := filepath.Join(dir, "main.go")
	os.WriteFile(src, []byte("package main\nvar big [1 << 20]byte\nfunc main() { big[1] = 1; println(len(big)) }\n"), 0o644)
	static := filepath.Join(dir, "static")
	cmd := exec.Command("go", "build", "-o", static, src)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, path := range []string{"/bin/true", "/bin/sh", static} {
		file, err := os.ReadFile(path)
		if err != nil {
			t.Log(err)
			continue
		}
		f, err := elf.NewFile(bytes.NewReader(file))
		if err != nil {
			t.Fatal(err)
		}
		p, e := Parse(memFile(file), taskSize)
		if e != 0 || p.Late != 0 {
			t.Fatalf("%s: %v, %v", path, e.Name(), p.Late.Name())
		}
		if p.Type != int(f.Type) || p.Entry != f.Entry || p.Phnum != len(f.Progs) {
			t.Errorf("%s: %+v", path, p)
		}
		var loads int
		for _, prog := range f.Progs {
			switch prog.Type {
			case elf.PT_LOAD:
				s := p.Segments[loads]
				loads++
				if s.Vaddr != prog.Vaddr || s.Memsz != prog.Memsz || s.Filesz != prog.Filesz || s.Offset != prog.Off {
					t.Errorf("%s: %+v, want %+v", path, s, prog)
				}
				if prog.Vaddr+prog.Memsz > p.Brk {
					t.Errorf("%s: brk %#x", path, p.Brk)
				}
			case elf.PT_INTERP:
				if want, _ := io.ReadAll(prog.Open()); p.Interp+"\x00" != string(want) {
					t.Errorf("%s: interpreter %q", path, p.Interp)
				}
			case elf.PT_PHDR:
				if p.Phdr != prog.Vaddr {
					t.Errorf("%s: AT_PHDR %#x, want %#x", path, p.Phdr, prog.Vaddr)
				}
			case elf.PT_GNU_STACK:
				if p.StackExec != (prog.Flags&elf.PF_X != 0) {
					t.Errorf("%s: stack", path)
				}
			}
		}
		if loads != len(p.Segments) {
			t.Errorf("%s: %d segments, want %d", path, len(p.Segments), loads)
		}
		checkPlan(t, p)
	}
}

// checkPlan checks what holds for every plan.
func checkPlan(t *testing.T, p *Plan) {
	t.Helper()
	lo, hi := p.Span()
	if p.Late != 0 {
		if len(p.Segments) != 0 {
			t.Errorf("segments in spite of %v", p.Late.Name())
		}
		return
	}
	if lo%pageSize != 0 || hi%pageSize != 0 || lo >= hi || hi > taskSize || p.Brk > hi || p.Align < pageSize || p.Align&(p.Align-1) != 0 {
		t.Errorf("span %#x-%#x, brk %#x, align %#x", lo, hi, p.Brk, p.Align)
	}
	for _, s := range p.Segments {
		end := s.Vaddr &^ pageMask
		if addr, n, off := s.File(); n != 0 {
			if addr != end || n%pageSize != 0 || off%pageSize != 0 || int64(off+n) < 0 || addr+n < s.Vaddr+s.Filesz {
				t.Errorf("%+v: file %#x %#x %#x", s, addr, n, off)
			}
			end = addr + n
		}
		if addr, n := s.Tail(); n != 0 && (n >= pageSize || addr+n != end) {
			t.Errorf("%+v: tail %#x %#x", s, addr, n)
		}
		if addr, n, prot := s.Anon(); n != 0 {
			if addr != end || n%pageSize != 0 || prot&abi.PROT_WRITE == 0 {
				t.Errorf("%+v: anonymous %#x %#x %#x", s, addr, n, prot)
			}
			end = addr + n
		}
		if end < s.Vaddr+s.Memsz || end > hi {
			t.Errorf("%+v: mapped up to %#x", s, end)
		}
	}
}

func TestReadErrors(t *testing.T) {
	if _, e := Parse(failing{}, taskSize); e != abi.EIO {
		t.Errorf("Parse: %v", e.Name())
	}
	if _, e := ParseInterp(failing{}, taskSize); e != abi.EIO {
		t.Errorf("ParseInterp: %v", e.Name())
	}
}

type failing struct{}

func (failing) ReadAt([]byte, int64) (int, abi.Errno) { return 0, abi.EIO }

func FuzzParse(f *testing.F) {
	f.Add(program(elf.ET_EXEC).bytes())
	dyn := program(elf.ET_DYN)
	dyn.addInterp("/lib64/ld-linux-x86-64.so.2\x00")
	dyn.progs = append(dyn.progs, elf.Prog64{Type: ptGNUStack, Flags: pfX},
		elf.Prog64{Type: ptLoad, Flags: pfR | pfW, Vaddr: 0x3000, Memsz: 0x5000})
	f.Add(dyn.bytes())
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, parse := range []func(Reader, uint64) (*Plan, abi.Errno){Parse, ParseInterp} {
			if p, e := parse(memFile(b), taskSize); e == 0 {
				checkPlan(t, p)
			} else if p != nil {
				t.Error("a plan and an error")
			}
		}
	})
}
