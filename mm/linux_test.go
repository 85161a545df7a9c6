package mm

import (
	"bufio"
	"fmt"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"goum/arch/abi"
)

// TestAgainstLinux makes the same calls natively and here, in a range that nothing else uses, and compares every errno and what
// /proc/self/maps shows after it. The host is a Linux of the version that we follow.
func TestAgainstLinux(t *testing.T) {
	const (
		base  = Addr(0x100000000000)
		pages = 48
	)
	clean := func() {
		if _, _, e := unix.Syscall(unix.SYS_MUNMAP, uintptr(base), (pages+64)*PageSize, 0); e != 0 {
			t.Fatal(e)
		}
	}
	native := func() string {
		f, err := os.Open("/proc/self/maps")
		if err != nil {
			t.Skip(err)
		}
		defer f.Close()
		var b strings.Builder
		for sc := bufio.NewScanner(f); sc.Scan(); {
			var lo, hi uint64
			var prot string
			if n, _ := fmt.Sscanf(sc.Text(), "%x-%x %s", &lo, &hi, &prot); n == 3 && lo >= base && lo < base+(pages+64)*PageSize {
				fmt.Fprintf(&b, "%d-%d %s\n", (lo-base)/PageSize, (hi-base)/PageSize, prot)
			}
		}
		return b.String()
	}
	ours := func(s *Space) string {
		var b strings.Builder
		s.Regions(func(r *Region) bool {
			prot := []byte("---p")
			for i, c := range "rwx" {
				if r.Prot>>i&1 != 0 {
					prot[i] = byte(c)
				}
			}
			if r.Shared {
				prot[3] = 's'
			}
			fmt.Fprintf(&b, "%d-%d %s\n", (r.Start-base)/PageSize, (r.End-base)/PageSize, prot)
			return true
		})
		return b.String()
	}
	mem := newMem(t, 16384)
	t.Cleanup(clean)
	rapid.Check(t, func(rt *rapid.T) {
		clean()
		s := NewSpace(mem, NoLimits)
		defer s.Release()
		page := func(name string) Addr { return rapid.Uint64Range(0, pages-1).Draw(rt, name) }
		addr := func(name string) Addr {
			a := base + page(name)*PageSize
			if rapid.IntRange(0, 15).Draw(rt, name+" off") == 0 {
				a++
			}
			return a
		}
		size := func(name string) uint64 {
			return rapid.OneOf(rapid.SampledFrom([]uint64{0, 1, PageSize, 2 * PageSize, 5000, 1 << 62, ^uint64(0), ^uint64(0) - 8191, TaskSize}),
				rapid.Map(rapid.Uint64Range(1, 16), func(n uint64) uint64 { return n * PageSize })).Draw(rt, name)
		}
		compare := func(what string, e abi.Errno, he unix.Errno) {
			if abi.FromHost(he) != e {
				rt.Fatalf("%s: %v, Linux says %v\n%s", what, e, he, native())
			}
			if n, o := native(), ours(s); n != o {
				rt.Fatalf("after %s, Linux has\n%swe have\n%s", what, n, o)
			}
			audit(rt, s)
		}
		rt.Repeat(map[string]func(*rapid.T){
			"mmap": func(*rapid.T) {
				a, n := addr("addr"), size("length")
				if n > 1<<20 && n < 1<<63 { // would cover all else that this process has
					n = 3 * PageSize
				}
				prot := rapid.SampledFrom([]uint64{0, abi.PROT_READ, rw, rw, rw | abi.PROT_EXEC, abi.PROT_READ | abi.PROT_EXEC, abi.PROT_WRITE}).Draw(rt, "prot")
				flags := rapid.SampledFrom([]uint64{anon | abi.MAP_FIXED, anon | abi.MAP_FIXED, anon | abi.MAP_FIXED | abi.MAP_NORESERVE, anon | abi.MAP_FIXED_NOREPLACE,
					sanon | abi.MAP_FIXED, sanon | abi.MAP_FIXED_NOREPLACE, abi.MAP_ANONYMOUS | abi.MAP_FIXED, abi.MAP_ANONYMOUS | abi.MAP_FIXED | abi.MAP_SHARED_VALIDATE,
					anon | abi.MAP_FIXED | abi.MAP_STACK, sanon | abi.MAP_GROWSDOWN | abi.MAP_FIXED}).Draw(rt, "flags")
				_, e := s.Map(a, n, MapOpts{Prot: prot, Flags: flags})
				_, _, he := unix.Syscall6(unix.SYS_MMAP, uintptr(a), uintptr(n), uintptr(prot), uintptr(flags), ^uintptr(0), 0)
				compare(fmt.Sprintf("mmap(%#x, %#x, %d, %#x)", a, n, prot, flags), e, he)
			},
			"munmap": func(*rapid.T) {
				a, n := addr("addr"), size("length")
				if n > 1<<20 && n <= TaskSize {
					n = 7 * PageSize
				}
				e := s.Unmap(a, n)
				_, _, he := unix.Syscall(unix.SYS_MUNMAP, uintptr(a), uintptr(n), 0)
				compare(fmt.Sprintf("munmap(%#x, %#x)", a, n), e, he)
			},
			"mprotect": func(*rapid.T) {
				a, n := addr("addr"), size("length")
				prot := rapid.SampledFrom([]uint64{0, abi.PROT_READ, rw, rw, rw | abi.PROT_EXEC, abi.PROT_WRITE, 8, 16, abi.PROT_READ | abi.PROT_GROWSDOWN,
					abi.PROT_GROWSUP, abi.PROT_GROWSDOWN | abi.PROT_GROWSUP}).Draw(rt, "prot")
				if n > 1<<20 && a+n > a { // would reach what else this process has
					n = 9 * PageSize
				}
				e := s.Protect(a, n, prot)
				_, _, he := unix.Syscall(unix.SYS_MPROTECT, uintptr(a), uintptr(n), uintptr(prot))
				compare(fmt.Sprintf("mprotect(%#x, %#x, %#x)", a, n, prot), e, he)
			},
			"mremap": func(*rapid.T) {
				a, n, m, to := addr("addr"), size("old"), size("new"), addr("to")
				flags := rapid.SampledFrom([]uint64{0, 0, abi.MREMAP_MAYMOVE | abi.MREMAP_FIXED, abi.MREMAP_MAYMOVE | abi.MREMAP_FIXED, abi.MREMAP_FIXED,
					abi.MREMAP_MAYMOVE | abi.MREMAP_FIXED | abi.MREMAP_DONTUNMAP, 16}).Draw(rt, "flags")
				if rapid.IntRange(0, 2).Draw(rt, "same") == 0 {
					m = n
				}
				if n > 1<<20 || m > 1<<20 { // lengths that wrap are tried with munmap; here Linux would unmap the rest of the process
					n = min(n, 12*PageSize)
					m = min(m, 12*PageSize)
				}
				_, e := s.Remap(a, n, m, flags, to)
				_, _, he := unix.Syscall6(unix.SYS_MREMAP, uintptr(a), uintptr(n), uintptr(m), uintptr(flags), uintptr(to), 0)
				compare(fmt.Sprintf("mremap(%#x, %#x, %#x, %d, %#x)", a, n, m, flags, to), e, he)
			},
			"madvise": func(*rapid.T) {
				a, n := addr("addr"), size("length")
				if n > 1<<20 && a+n > a {
					n = 9 * PageSize
				}
				advice := rapid.SampledFrom([]int32{abi.MADV_NORMAL, abi.MADV_RANDOM, abi.MADV_SEQUENTIAL, abi.MADV_WILLNEED, abi.MADV_DONTNEED, abi.MADV_FREE, abi.MADV_REMOVE,
					abi.MADV_DONTFORK, abi.MADV_DOFORK, abi.MADV_DONTDUMP, abi.MADV_DODUMP, abi.MADV_WIPEONFORK, abi.MADV_KEEPONFORK, abi.MADV_COLD, 77, -1, abi.MADV_PAGEOUT,
					abi.MADV_DONTNEED_LOCKED, abi.MADV_POPULATE_READ, abi.MADV_POPULATE_WRITE}).Draw(rt, "advice")
				if advice == abi.MADV_POPULATE_WRITE || advice == abi.MADV_POPULATE_READ {
					// touched memory merges by rules of its own in Linux: only what touches nothing
					n &= pageMask
					if n != 0 {
						return
					}
				}
				e := s.Advise(direct{}, a, n, advice)
				_, _, he := unix.Syscall(unix.SYS_MADVISE, uintptr(a), uintptr(n), uintptr(advice))
				compare(fmt.Sprintf("madvise(%#x, %#x, %d)", a, n, advice), e, he)
			},
			"msync": func(*rapid.T) {
				a, n := addr("addr"), size("length")
				if n > 1<<20 && a+n > a {
					n = 9 * PageSize
				}
				flags := rapid.Uint64Range(0, 8).Draw(rt, "flags")
				e := s.Sync(direct{}, a, n, flags)
				_, _, he := unix.Syscall(unix.SYS_MSYNC, uintptr(a), uintptr(n), uintptr(flags))
				compare(fmt.Sprintf("msync(%#x, %#x, %d)", a, n, flags), e, he)
			},
			"mlock": func(*rapid.T) {
				a, n := addr("addr"), size("length")
				if n > 1<<20 && a+n > a {
					n = 9 * PageSize
				}
				on := rapid.Bool().Draw(rt, "lock")
				if on {
					// on fault: what is populated merges by other rules
					e := s.Lock(direct{}, a, n, true)
					_, _, he := unix.Syscall(unix.SYS_MLOCK2, uintptr(a), uintptr(n), abi.MLOCK_ONFAULT)
					compare(fmt.Sprintf("mlock2(%#x, %#x)", a, n), e, he)
					return
				}
				e := s.Unlock(a, n)
				_, _, he := unix.Syscall(unix.SYS_MUNLOCK, uintptr(a), uintptr(n), 0)
				compare(fmt.Sprintf("munlock(%#x, %#x)", a, n), e, he)
			},
			"mincore": func(*rapid.T) {
				a, n := addr("addr"), rapid.Uint64Range(1, 20).Draw(rt, "pages")
				e := s.Incore(a, make([]byte, n))
				he := nativeIncore(a, n)
				compare(fmt.Sprintf("mincore(%#x, %d pages)", a, n), e, he)
			},
		})
	})
}
