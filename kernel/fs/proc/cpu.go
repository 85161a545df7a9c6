package proc

import (
	"fmt"
	"strings"

	"golang.org/x/sys/cpu"

	"goum/arch/x86"
)

// CPU is what /proc/cpuinfo says of the processor that the vCPUs run on.
type CPU struct {
	Vendor, Name            string
	Family, Model, Stepping int
	KHz                     uint64
	CacheKB                 int
	PhysBits, VirtBits      int
	Flags                   []string
}

// leaf1 are the names of the bits of EDX of CPUID leaf 1, which is AT_HWCAP.
var leaf1 = [32]string{"fpu", "vme", "de", "pse", "tsc", "msr", "pae", "mce", "cx8", "apic", "", "sep", "mtrr", "pge", "mca", "cmov",
	"pat", "pse36", "pn", "clflush", "", "dts", "acpi", "mmx", "fxsr", "sse", "sse2", "ss", "ht", "tm", "ia64", "pbe"}

// DefaultCPU is the host's processor, as far as a guest needs to know it.
func DefaultCPU() CPU {
	id := x86.Identify()
	c := CPU{Vendor: id.Vendor, Name: id.Name, Family: id.Family, Model: id.Model, Stepping: id.Stepping,
		KHz: 1000000, CacheKB: 1024, PhysBits: 46, VirtBits: 48}
	for i, n := range leaf1 {
		if n != "" && x86.HWCap()>>i&1 != 0 {
			c.Flags = append(c.Flags, n)
		}
	}
	c.Flags = append(c.Flags, "syscall", "nx", "lm", "constant_tsc", "nopl")
	for _, f := range [...]struct {
		has  bool
		name string
	}{{cpu.X86.HasSSE3, "pni"}, {cpu.X86.HasPCLMULQDQ, "pclmulqdq"}, {cpu.X86.HasSSSE3, "ssse3"}, {cpu.X86.HasFMA, "fma"},
		{cpu.X86.HasCX16, "cx16"}, {cpu.X86.HasSSE41, "sse4_1"}, {cpu.X86.HasSSE42, "sse4_2"}, {cpu.X86.HasPOPCNT, "popcnt"},
		{cpu.X86.HasAES, "aes"}, {cpu.X86.HasOSXSAVE, "xsave"}, {cpu.X86.HasAVX, "avx"}, {cpu.X86.HasRDRAND, "rdrand"},
		{cpu.X86.HasBMI1, "bmi1"}, {cpu.X86.HasAVX2, "avx2"}, {cpu.X86.HasBMI2, "bmi2"}, {cpu.X86.HasERMS, "erms"},
		{cpu.X86.HasAVX512F, "avx512f"}, {cpu.X86.HasAVX512DQ, "avx512dq"}, {cpu.X86.HasRDSEED, "rdseed"}, {cpu.X86.HasADX, "adx"},
		{cpu.X86.HasAVX512BW, "avx512bw"}, {cpu.X86.HasAVX512VL, "avx512vl"}} {
		if f.has {
			c.Flags = append(c.Flags, f.name)
		}
	}
	return c
}

// cpuinfo is what the host's processor says of itself, once for each vCPU.
func (f *FS) cpuinfo() string {
	var b strings.Builder
	c := &f.CPU
	bogo := c.KHz * 2
	for n := range f.cpus() {
		fmt.Fprintf(&b, "processor\t: %d\nvendor_id\t: %s\ncpu family\t: %d\nmodel\t\t: %d\nmodel name\t: %s\nstepping\t: %d\n",
			n, c.Vendor, c.Family, c.Model, c.Name, c.Stepping)
		fmt.Fprintf(&b, "cpu MHz\t\t: %d.%03d\ncache size\t: %d KB\n", c.KHz/1000, c.KHz%1000, c.CacheKB)
		fmt.Fprintf(&b, "physical id\t: 0\nsiblings\t: %d\ncore id\t\t: %d\ncpu cores\t: %d\napicid\t\t: %d\ninitial apicid\t: %d\n",
			f.cpus(), n, f.cpus(), n, n)
		fmt.Fprintf(&b, "fpu\t\t: yes\nfpu_exception\t: yes\ncpuid level\t: 13\nwp\t\t: yes\nflags\t\t: %s\nbugs\t\t:\n", strings.Join(c.Flags, " "))
		fmt.Fprintf(&b, "bogomips\t: %d.%02d\nclflush size\t: 64\ncache_alignment\t: 64\naddress sizes\t: %d bits physical, %d bits virtual\npower management:\n\n",
			bogo/1000, bogo%1000/10, c.PhysBits, c.VirtBits)
	}
	return b.String()
}
