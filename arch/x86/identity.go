package x86

import (
	"encoding/binary"
	"strings"
)

// Identity is what the processor calls itself.
type Identity struct {
	Vendor, Name            string
	Family, Model, Stepping int
}

// Identify asks CPUID, as Linux's early_identify_cpu does.
func Identify() Identity {
	_, b, c, d := cpuid(0, 0)
	var v [12]byte
	binary.LittleEndian.PutUint32(v[0:], b)
	binary.LittleEndian.PutUint32(v[4:], d)
	binary.LittleEndian.PutUint32(v[8:], c)
	id := Identity{Vendor: string(v[:])}
	a, _, _, _ := cpuid(1, 0)
	id.Stepping = int(a & 0xf)
	id.Model = int(a >> 4 & 0xf)
	if id.Family = int(a >> 8 & 0xf); id.Family == 0xf {
		id.Family += int(a >> 20 & 0xff)
	}
	if id.Family >= 6 {
		id.Model |= int(a>>16&0xf) << 4
	}
	const brand = 0x80000002
	if most, _, _, _ := cpuid(0x80000000, 0); most >= brand+2 {
		var name [48]byte
		for i := range uint32(3) {
			a, b, c, d := cpuid(brand+i, 0)
			for j, r := range [...]uint32{a, b, c, d} {
				binary.LittleEndian.PutUint32(name[16*i+4*uint32(j):], r)
			}
		}
		id.Name = strings.TrimSpace(strings.TrimRight(string(name[:]), "\x00"))
	}
	return id
}
