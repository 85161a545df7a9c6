// Package stub is what the attacker holds: the code that runs in every stub process, its constants and its filter, and the
// layout of the memory that it shares with the monitor.
//
// The code is Go assembly, wrapped into an ELF image at run time and executed from a sealed memfd, so that building goum
// needs no C compiler. Nothing in here believes a stub: that is skas's business.
//
// Invariants:
//   - The code makes exactly the system calls that permitted lists, and refers to nothing outside itself (tested).
//   - Layouts are the Go structs of this package; the assembly has their offsets from go_asm.h.
//   - There is no rt_sigreturn and no other way to a signal mask, to another descriptor than the guest's memory, or to any
//     address from Start on.
package stub

import (
	"debug/elf"
	"encoding/binary"
	"fmt"

	"goum/arch/abi"
)

// Sites are the addresses behind the syscall instructions of the code, as the host reports them for a notification.
type Sites struct {
	Report, Map, Unmap, Clone uint64
}

// Image builds the ELF executable of the zygote and of all stubs.
func Image() ([]byte, Sites, error) {
	codeText, bootText := text(codeAddr()), text(bootAddr())
	sites, err := permitted(syscalls(codeText))
	if err != nil {
		return nil, Sites{}, err
	}
	data, err := buildData(sites)
	if err != nil {
		return nil, Sites{}, err
	}
	type segment struct {
		addr  uint64
		flags elf.ProgFlag
		bytes []byte
	}
	segments := []segment{{Code, elf.PF_R | elf.PF_X, codeText}, {Boot, elf.PF_R | elf.PF_X, bootText}, {Data, elf.PF_R, bytesOf(data)}}
	header := elf.Header64{
		Type: uint16(elf.ET_EXEC), Machine: uint16(elf.EM_X86_64), Version: uint32(elf.EV_CURRENT), Entry: Boot,
		Phoff: 64, Ehsize: 64, Phentsize: 56, Phnum: uint16(len(segments)) + 1,
	}
	copy(header.Ident[:], elf.ELFMAG)
	header.Ident[elf.EI_CLASS] = byte(elf.ELFCLASS64)
	header.Ident[elf.EI_DATA] = byte(elf.ELFDATA2LSB)
	header.Ident[elf.EI_VERSION] = byte(elf.EV_CURRENT)
	image, err := binary.Append(nil, binary.LittleEndian, header)
	if err != nil {
		return nil, Sites{}, fmt.Errorf("stub: %w", err)
	}
	progs := []elf.Prog64{{Type: uint32(elf.PT_GNU_STACK), Flags: uint32(elf.PF_R | elf.PF_W)}}
	off := uint64(PageSize)
	for _, s := range segments {
		progs = append(progs, elf.Prog64{
			Type: uint32(elf.PT_LOAD), Flags: uint32(s.flags), Off: off, Vaddr: s.addr, Paddr: s.addr,
			Filesz: uint64(len(s.bytes)), Memsz: uint64(len(s.bytes)), Align: PageSize,
		})
		off += pages(len(s.bytes))
	}
	if image, err = binary.Append(image, binary.LittleEndian, progs); err != nil {
		return nil, Sites{}, fmt.Errorf("stub: %w", err)
	}
	for i, s := range segments {
		image = append(image, make([]byte, int(progs[i+1].Off)-len(image))...)
		image = append(image, s.bytes...)
	}
	return image, Sites{Report: sites[1].addr, Map: sites[2].addr, Unmap: sites[3].addr, Clone: sites[4].addr}, nil
}

func pages(n int) uint64 { return (uint64(n) + PageSize - 1) &^ (PageSize - 1) }

// syscalls returns the addresses behind the syscall instructions in code. That these two bytes are nothing else there (part of
// an immediate) is shown by a test that disassembles the code.
func syscalls(code []byte) []uint64 {
	var after []uint64
	for i := 0; i+2 <= len(code); i++ {
		if code[i] == 0x0f && code[i+1] == 0x05 {
			after = append(after, Code+uint64(i)+2)
		}
	}
	return after
}

func buildData(sites []site) (*bootData, error) {
	d := &bootData{
		// The host demands a restorer, which nothing ever returns to.
		Action: sigaction{Handler: handlerEntry, Flags: signalAction, Restorer: Code},
	}
	copy(d.Signals[:], handled[:])
	var err error
	if d.Listener.Len, err = compile(listenerFilter(sites), d.Filters[0][:]); err != nil {
		return nil, err
	}
	if d.Strict.Len, err = compile(strictFilter(sites), d.Filters[1][:]); err != nil {
		return nil, err
	}
	at := dataOffsets(d)
	d.Listener.Filter, d.Strict.Filter = at.filters[0], at.filters[1]
	d.Iov = [2]uint64{Control, replySize} // the reply lies at the start of the slice
	d.Msg = msghdr{Iov: at.iov, IovLen: 1, Control: at.cmsg, ControlLen: controlMessage}
	d.Cmsg = cmsg{Len: controlMessage, Level: abi.SOL_SOCKET, Type: abi.SCM_RIGHTS, Fd: bootListenerFd}
	return d, nil
}
