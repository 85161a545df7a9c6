package task

import (
	"encoding/binary"

	"goum/arch/abi"
	"goum/arch/elf"
	"goum/arch/x86"
	"goum/kernel/fs/vfs"
	"goum/mm"
)

// Where Linux puts things, and by how much it moves them at random.
const (
	dynBase    = mm.TaskSize / 3 * 2 &^ (mm.PageSize - 1) // ELF_ET_DYN_BASE: programs that can lie anywhere
	mmapBits   = 28                                       // vm.mmap_rnd_bits: pages
	stackPages = 0x3fffff                                 // STACK_RND_MASK: pages
	brkRange   = 0x02000000                               // bytes
	stackRoom  = 128 << 10                                // of the stack, mapped below what is on it
	stackAhead = 8 << 10                                  // of stackRoom, made accessible at exec
	smallText  = 1 << 20                                  // bytes of any other segment that are mapped at exec: two faults' worth
	smallData  = 128 << 10                                // bytes of a data segment that are copied at exec
	rseqSize   = 28                                       // AT_RSEQ_FEATURE_SIZE: up to mm_cid
	rseqAlign  = 32
)

// random is a random number, 0 without ASLR.
func (t *Task) random() uint64 {
	if t.System.NoASLR || t.System.Random == nil {
		return 0
	}
	var b [8]byte
	t.System.Random.Fill(b[:])
	return binary.LittleEndian.Uint64(b[:])
}

// load fills t's new, empty address space and sets its registers. An errno says why the program cannot run after all.
func (t *Task) load(g *program, envp []string) abi.Errno {
	space := t.Space()
	stackLimit := t.Limits().Cur(abi.RLIMIT_STACK)
	if g.secure {
		stackLimit = min(stackLimit, 8<<20)
	}
	l := mm.Layout{MmapBase: mm.MmapBase(stackLimit, t.random()%(1<<mmapBits)*mm.PageSize)}
	space.SetLayout(l)

	if e := g.plan.Late; e != 0 {
		return e
	}
	bias, e := t.place(g)
	if e != 0 {
		return e
	}
	if e := t.mapSegments(g.plan, g.file, bias); e != 0 {
		return e
	}
	entry, base := g.plan.Entry+bias, uint64(0)
	if g.interp != nil {
		if g.dyn.Late != 0 {
			return g.dyn.Late
		}
		if base, e = t.reserve(g.dyn, 0); e != 0 {
			return e
		}
		if e := t.mapSegments(g.dyn, g.interp, base); e != 0 {
			return e
		}
		entry = g.dyn.Entry + base
	}
	if entry >= mm.TaskSize {
		return abi.EINVAL
	}
	vdso, e := t.mapVDSO()
	if e != 0 {
		return e
	}
	// What every program runs first, however large it is, and what every libc reads.
	space.Prefault(t.Thread, entry, 1, false)
	if vdso != 0 {
		space.Prefault(t.Thread, vdso, 1, false)
	}
	st, e := t.buildStack(g, envp, bias, base, vdso)
	if e != 0 {
		return e
	}
	brk := pageUp(g.plan.Brk + bias)
	if g.plan.Type == elf.TypeDyn && g.interp == nil && !t.System.NoASLR {
		brk = dynBase // a program without interpreter lies among the mappings: its heap would have no room there
	}
	if !t.System.NoASLR {
		brk += t.random() % (brkRange / mm.PageSize) * mm.PageSize
	}
	l.StartBrk, l.StartStack = brk, st.SP
	l.StartCode, l.EndCode = g.plan.StartCode+bias, g.plan.EndCode+bias
	l.StartData, l.EndData = g.plan.StartData+bias, g.plan.EndData+bias
	l.ArgStart, l.ArgEnd, l.EnvStart, l.EnvEnd = st.ArgStart, st.ArgEnd, st.EnvStart, st.EnvEnd
	space.SetLayout(l)
	t.memory.setAuxv(st.Aux)
	t.Regs = x86.InitRegs(entry, st.SP)
	return 0
}

// place chooses where the program lies: the bias of its addresses.
func (t *Task) place(g *program) (uint64, abi.Errno) {
	if g.plan.Type != elf.TypeDyn {
		return 0, 0
	}
	if g.interp == nil {
		return t.reserve(g.plan, 0)
	}
	return t.reserve(g.plan, (dynBase+t.random()%(1<<mmapBits)*mm.PageSize)&^(g.plan.Align-1))
}

// reserve finds room for a plan, near the address at if that is not 0, and answers the bias. The room is mapped without access; the
// segments then replace it.
func (t *Task) reserve(p *elf.Plan, at uint64) (uint64, abi.Errno) {
	lo, hi := p.Span()
	if p.Type != elf.TypeDyn {
		return 0, 0
	}
	length := hi - lo
	extra := uint64(0)
	if p.Align > mm.PageSize {
		extra = p.Align
	}
	got, e := t.Space().Map(at, length+extra, mm.MapOpts{Prot: abi.PROT_NONE, Flags: abi.MAP_PRIVATE | abi.MAP_ANONYMOUS | abi.MAP_NORESERVE})
	if e != 0 {
		return 0, e
	}
	start := got
	if extra > 0 {
		// The bias is to be a multiple of Align: give back what lies before and behind.
		bias := (got - lo + p.Align - 1) &^ (p.Align - 1)
		start = bias + lo
		if start > got {
			t.Space().Unmap(got, start-got)
		}
		if end := got + length + extra; end > start+length {
			t.Space().Unmap(start+length, end-start-length)
		}
	}
	// The gaps between segments stay free, as they do in Linux.
	t.Space().Unmap(start, length)
	return start - lo, 0
}

// mapSegments maps the segments of a file, and zeroes what lies behind them.
func (t *Task) mapSegments(p *elf.Plan, f *vfs.Open, bias uint64) abi.Errno {
	for i := range p.Segments {
		s := &p.Segments[i]
		if addr, length, off := s.File(); length != 0 {
			o := mm.MapOpts{Prot: s.Prot, Flags: abi.MAP_PRIVATE | abi.MAP_FIXED, Offset: off, File: f}
			if p.Type == elf.TypeExec {
				o.Flags |= abi.MAP_FIXED_NOREPLACE
			}
			if e := f.Map(&t.caller, &o); e != 0 {
				return e
			}
			if _, e := t.Space().Map(addr+bias, length, o); e != 0 {
				return e
			}
		}
		switch addr, length, _ := s.File(); {
		case s.Prot&abi.PROT_WRITE == 0 && length <= smallText:
			t.Space().Prefault(t.Thread, addr+bias, length, false)
		case s.Prot&abi.PROT_WRITE != 0 && length <= smallData:
			// Relocations and start-up write nearly all of it: as one run it is one operation, page by page up to a fault each.
			t.Space().Prefault(t.Thread, addr+bias, length, true)
		}
		if addr, length := s.Tail(); length != 0 && s.Prot&abi.PROT_WRITE != 0 {
			if e := t.User().Clear(addr+bias, int(length)); e != 0 {
				return e
			}
		}
		if addr, length, prot := s.Anon(); length != 0 {
			o := mm.MapOpts{Prot: prot, Flags: abi.MAP_PRIVATE | abi.MAP_FIXED | abi.MAP_ANONYMOUS}
			if _, e := t.Space().Map(addr+bias, length, o); e != 0 {
				return e
			}
		}
	}
	return 0
}

// mapVDSO maps the page of numbers and the vDSO behind it; 0 if there is none.
func (t *Task) mapVDSO() (uint64, abi.Errno) {
	if t.System.VDSO == nil {
		return 0, 0
	}
	o := mm.MapOpts{Prot: abi.PROT_READ, Flags: abi.MAP_PRIVATE, Pager: t.System.VDSO, Name: "[vvar]", Deny: abi.PROT_WRITE}
	addr, e := t.Space().Map(0, 2*mm.PageSize, o)
	if e != 0 {
		return 0, e
	}
	o = mm.MapOpts{
		Prot: abi.PROT_READ | abi.PROT_EXEC, Flags: abi.MAP_PRIVATE | abi.MAP_FIXED, Pager: t.System.VDSO, Offset: mm.PageSize, Name: "[vdso]",
	}
	_, e = t.Space().Map(addr+mm.PageSize, mm.PageSize, o)
	return addr + mm.PageSize, e
}

// buildStack maps the stack and puts arguments, environment and the auxiliary vector onto it.
func (t *Task) buildStack(g *program, envp []string, bias, base, vdso uint64) (*elf.Stack, abi.Errno) {
	c := g.cred
	phdr := uint64(0)
	if g.plan.Phdr != 0 {
		phdr = g.plan.Phdr + bias
	}
	secure := uint64(0)
	if g.secure {
		secure = 1
	}
	aux := make([]elf.AuxEntry, 0, 24)
	if vdso != 0 {
		aux = append(aux, elf.AuxEntry{Tag: abi.AT_SYSINFO_EHDR, Value: vdso})
	}
	aux = append(aux,
		elf.AuxEntry{Tag: abi.AT_MINSIGSTKSZ, Value: x86.MinSigStack()},
		elf.AuxEntry{Tag: abi.AT_HWCAP, Value: x86.HWCap()},
		elf.AuxEntry{Tag: abi.AT_PAGESZ, Value: mm.PageSize},
		elf.AuxEntry{Tag: abi.AT_CLKTCK, Value: abi.HZ},
		elf.AuxEntry{Tag: abi.AT_PHDR, Value: phdr},
		elf.AuxEntry{Tag: abi.AT_PHENT, Value: elf.PhdrSize},
		elf.AuxEntry{Tag: abi.AT_PHNUM, Value: uint64(g.plan.Phnum)},
		elf.AuxEntry{Tag: abi.AT_BASE, Value: base},
		elf.AuxEntry{Tag: abi.AT_FLAGS, Value: 0},
		elf.AuxEntry{Tag: abi.AT_ENTRY, Value: g.plan.Entry + bias},
		elf.AuxEntry{Tag: abi.AT_UID, Value: uint64(c.UID)},
		elf.AuxEntry{Tag: abi.AT_EUID, Value: uint64(c.EUID)},
		elf.AuxEntry{Tag: abi.AT_GID, Value: uint64(c.GID)},
		elf.AuxEntry{Tag: abi.AT_EGID, Value: uint64(c.EGID)},
		elf.AuxEntry{Tag: abi.AT_SECURE, Value: secure},
		elf.AuxEntry{Tag: abi.AT_RANDOM},
		elf.AuxEntry{Tag: abi.AT_HWCAP2, Value: x86.HWCap2()},
		elf.AuxEntry{Tag: abi.AT_EXECFN},
		elf.AuxEntry{Tag: abi.AT_PLATFORM},
	)
	if t.System.HasRseq {
		aux = append(aux,
			elf.AuxEntry{Tag: abi.AT_RSEQ_FEATURE_SIZE, Value: rseqSize},
			elf.AuxEntry{Tag: abi.AT_RSEQ_ALIGN, Value: rseqAlign})
	}
	in := elf.StackInput{
		Top:  mm.TaskSize - t.random()&stackPages*mm.PageSize,
		Argv: g.argv, Envp: envp, Aux: aux, Execfn: g.name, Platform: platform,
		Limit: t.ArgRoom(), Shuffle: t.random() % 8192,
	}
	if t.System.Random != nil {
		t.System.Random.Fill(in.Random[:])
	}
	st, e := elf.BuildStack(&in)
	if e != 0 {
		return nil, e
	}
	prot := uint64(abi.PROT_READ | abi.PROT_WRITE)
	if g.plan.StackExec {
		prot |= abi.PROT_EXEC
	}
	low := (st.SP - stackRoom) &^ (mm.PageSize - 1)
	o := mm.MapOpts{Prot: prot, Flags: abi.MAP_PRIVATE | abi.MAP_ANONYMOUS | abi.MAP_FIXED | abi.MAP_GROWSDOWN | abi.MAP_STACK}
	if _, e := t.Space().Map(low, in.Top-low, o); e != 0 {
		return nil, e
	}
	// In one run with the pages below that the program needs at once: one operation.
	t.Space().Prefault(t.Thread, max(st.SP-stackAhead, low), in.Top-max(st.SP-stackAhead, low), true)
	if e := t.User().CopyOut(st.SP, st.Image); e != 0 {
		return nil, e
	}
	return st, 0
}

func pageUp(n uint64) uint64 { return (n + mm.PageSize - 1) &^ (mm.PageSize - 1) }
