package conform

import (
	"fmt"
	"testing"

	"golang.org/x/sys/unix"
)

func TestMmap(t *testing.T) { family(t, "mmap", mmap) }

func mmap(r *rec) {
	const (
		rw   = unix.PROT_READ | unix.PROT_WRITE
		priv = unix.MAP_PRIVATE
		anon = unix.MAP_PRIVATE | unix.MAP_ANONYMOUS
		page = 4096
	)
	r.file("f", string(make([]byte, 10000)), 0o644)
	r.must(unix.SYS_MKDIRAT, cwd, "d", 0o755)
	f, ro, wo, d, op := r.open("f", unix.O_RDWR), r.open("f", 0), r.open("f", unix.O_WRONLY), r.open("d", 0), r.open("f", unix.O_PATH)
	p := make([]int32, 2)
	r.must(unix.SYS_PIPE2, at(r, &p[0]), 0)
	null, zero := r.must(unix.SYS_OPENAT, cwd, "/dev/null", unix.O_RDWR, 0), r.must(unix.SYS_OPENAT, cwd, "/dev/zero", unix.O_RDWR, 0)
	base := r.pages(64)
	// A result within the arena is an offset into it; others tell nothing.
	m := func(name string, nr int, args ...any) uintptr {
		v, e := r.raw(nr, args...)
		switch {
		case e != 0:
			r.put(name, "%s", show(v, e))
		case v >= base && v < base+64*page:
			r.put(name, "+%#x", v-base)
		case v > 1<<20:
			r.put(name, "mapped")
		default:
			r.put(name, "%d", v)
		}
		return v
	}
	for _, c := range []struct {
		name string
		args []any
	}{
		{"length 0", []any{0, 0, rw, anon, -1, 0}},
		{"length wraps", []any{0, -1, rw, anon, -1, 0}},
		{"length huge", []any{0, uintptr(1 << 47), rw, anon, -1, 0}},
		{"length near huge", []any{0, uintptr(1<<47 - 8192), rw, anon | unix.MAP_NORESERVE, -1, 0}},
		{"offset unaligned", []any{0, page, rw, priv, f, 100}},
		{"offset unaligned anon", []any{0, page, rw, anon, -1, 100}},
		{"offset overflow", []any{0, page * 2, rw, priv, f, uintptr(1<<64 - 4096)}},
		{"offset beyond file", []any{0, page, rw, priv, f, 1 << 30}},
		{"offset negative", []any{0, page, rw, priv, f, uintptr(1 << 63)}},
		{"offset beyond max", []any{0, page, rw, priv, f, uintptr(1<<63 - 4096)}},
		{"no type", []any{0, page, rw, 0, f, 0}},
		{"no type anon", []any{0, page, rw, unix.MAP_ANONYMOUS, -1, 0}},
		{"bad fd", []any{0, page, rw, priv, 999, 0}},
		{"bad fd length 0", []any{0, 0, rw, priv, 999, 0}},
		{"anon with a bad fd", []any{0, page, rw, anon, 999, 0}},
		{"opath", []any{0, page, 1, priv, op, 0}},
		{"dir", []any{0, page, 1, priv, d, 0}},
		{"pipe", []any{0, page, 1, priv, int(p[0]), 0}},
		{"wo private", []any{0, page, 1, priv, wo, 0}},
		{"wo shared write", []any{0, page, 2, unix.MAP_SHARED, wo, 0}},
		{"ro shared write", []any{0, page, rw, unix.MAP_SHARED, ro, 0}},
		{"ro shared read", []any{0, page, 1, unix.MAP_SHARED, ro, 0}},
		{"ro private write", []any{0, page, rw, priv, ro, 0}},
		{"shared validate", []any{0, page, rw, unix.MAP_SHARED_VALIDATE, f, 0}},
		{"shared validate unknown flag", []any{0, page, rw, unix.MAP_SHARED_VALIDATE | 1<<27, f, 0}},
		{"shared validate sync", []any{0, page, rw, unix.MAP_SHARED_VALIDATE | unix.MAP_SYNC, f, 0}},
		{"private unknown flag", []any{0, page, rw, anon | 1<<27, -1, 0}},
		{"shared validate anon", []any{0, page, rw, unix.MAP_SHARED_VALIDATE | unix.MAP_ANONYMOUS, -1, 0}},
		{"dev null", []any{0, page, rw, priv, null, 0}},
		{"dev zero private", []any{0, page, rw, priv, zero, 0}},
		{"dev zero shared", []any{0, page, rw, unix.MAP_SHARED, zero, 0}},
		{"fixed unaligned", []any{base + 1, page, rw, anon | unix.MAP_FIXED, -1, 0}},
		{"fixed", []any{base, page, rw, anon | unix.MAP_FIXED, -1, 0}},
		{"fixed top", []any{uintptr(0x7ffffffff000), page, rw, anon | unix.MAP_FIXED, -1, 0}},
		{"fixed kernel", []any{uintptr(0xffff800000000000), page, rw, anon | unix.MAP_FIXED, -1, 0}},
		{"noreplace occupied", []any{base, page, rw, anon | unix.MAP_FIXED_NOREPLACE, -1, 0}},
		{"noreplace unaligned", []any{base + 5, page, rw, anon | unix.MAP_FIXED_NOREPLACE, -1, 0}},
		{"hint unaligned", []any{base + 5, page, rw, anon, -1, 0}},
		{"grows down shared", []any{0, page, rw, unix.MAP_SHARED | unix.MAP_ANONYMOUS | unix.MAP_GROWSDOWN, -1, 0}},
		{"grows down", []any{0, page, rw, anon | unix.MAP_GROWSDOWN, -1, 0}},
		{"grows down file", []any{0, page, rw, priv | unix.MAP_GROWSDOWN, f, 0}},
		{"hugetlb", []any{0, page, rw, anon | unix.MAP_HUGETLB, -1, 0}},
		{"locked", []any{0, page, rw, anon | unix.MAP_LOCKED, -1, 0}},
		{"populate", []any{0, page * 3, rw, anon | unix.MAP_POPULATE, -1, 0}},
		{"32bit", []any{0, page, rw, anon | unix.MAP_32BIT, -1, 0}},
		{"prot none", []any{0, page, 0, anon, -1, 0}},
		{"prot unknown bits", []any{0, page, 0xf0, anon, -1, 0}},
		{"prot growsdown", []any{0, page, 0x01000003, anon, -1, 0}},
	} {
		m("mmap "+c.name, unix.SYS_MMAP, c.args...)
	}
	a, other := base, base+32*page
	r.must(unix.SYS_MUNMAP, a+10*page, page*2)
	for _, c := range []struct {
		name string
		nr   int
		args []any
	}{
		{"munmap unaligned", unix.SYS_MUNMAP, []any{a + 1, page}},
		{"munmap 0", unix.SYS_MUNMAP, []any{a, 0}},
		{"munmap wraps", unix.SYS_MUNMAP, []any{a, -1}},
		{"munmap above", unix.SYS_MUNMAP, []any{uintptr(0x7ffffffff000), page}},
		{"munmap nothing there", unix.SYS_MUNMAP, []any{a + 10*page, page}},
		{"munmap rounds up", unix.SYS_MUNMAP, []any{a + 10*page, 1}},
		{"mprotect unaligned", unix.SYS_MPROTECT, []any{a + 1, page, 1}},
		{"mprotect 0", unix.SYS_MPROTECT, []any{a, 0, 1}},
		{"mprotect 0 at a hole", unix.SYS_MPROTECT, []any{a + 10*page, 0, 1}},
		{"mprotect hole", unix.SYS_MPROTECT, []any{a + 10*page, page, 1}},
		{"mprotect up to a hole", unix.SYS_MPROTECT, []any{a + 9*page, page * 2, 1}},
		{"mprotect did the first page", unix.SYS_WRITE, []any{int(p[1]), a + 9*page, 1}},
		{"mprotect wraps", unix.SYS_MPROTECT, []any{a, -1, 1}},
		{"mprotect unknown", unix.SYS_MPROTECT, []any{a, page, 0x100}},
		{"mprotect both grows", unix.SYS_MPROTECT, []any{a, page, 0x03000003}},
		{"mprotect growsdown elsewhere", unix.SYS_MPROTECT, []any{a, page, 0x01000003}},
		{"mprotect growsup", unix.SYS_MPROTECT, []any{a, page, 0x02000003}},
		{"pkey_mprotect", unix.SYS_PKEY_MPROTECT, []any{a, page, 3, 3}},
		{"mremap unaligned", unix.SYS_MREMAP, []any{a + 1, page, page, 0, 0}},
		{"mremap new 0", unix.SYS_MREMAP, []any{a, page, 0, 0, 0}},
		{"mremap unknown flag", unix.SYS_MREMAP, []any{a, page, page, 8, 0}},
		{"mremap fixed without maymove", unix.SYS_MREMAP, []any{a, page, page, 2, other}},
		{"mremap dontunmap without maymove", unix.SYS_MREMAP, []any{a, page, page, 4, other}},
		{"mremap dontunmap resizing", unix.SYS_MREMAP, []any{a, page, page * 2, 5, 0}},
		{"mremap fixed unaligned", unix.SYS_MREMAP, []any{a, page, page, 3, other + 1}},
		{"mremap fixed overlap", unix.SYS_MREMAP, []any{a, page * 4, page * 4, 3, a + page}},
		{"mremap hole", unix.SYS_MREMAP, []any{a + 10*page, page, page * 2, 1, 0}},
		{"mremap across a hole", unix.SYS_MREMAP, []any{a + 9*page, page * 2, page * 3, 1, 0}},
		{"mremap shrink", unix.SYS_MREMAP, []any{a + 4*page, page * 3, page, 0, 0}},
		{"mremap grow in place blocked", unix.SYS_MREMAP, []any{a, page, page * 2, 0, 0}},
		{"mremap grow in place", unix.SYS_MREMAP, []any{a + 4*page, page, page * 2, 0, 0}},
		{"mremap same", unix.SYS_MREMAP, []any{a, page, page, 0, 0}},
		{"mremap huge", unix.SYS_MREMAP, []any{a, page, uintptr(1 << 47), 1, 0}},
		{"mremap fixed", unix.SYS_MREMAP, []any{a + 2*page, page, page, 3, other}},
		{"mremap fixed source gone", unix.SYS_MREMAP, []any{a + 2*page, page, page, 3, other}},
		{"mremap old 0 private", unix.SYS_MREMAP, []any{a, 0, page, 1, 0}},
		{"mremap target beyond", unix.SYS_MREMAP, []any{a, page, page, 3, uintptr(0x7ffffffff000)}},
		{"madvise unknown", unix.SYS_MADVISE, []any{a, page, 999}},
		{"madvise unaligned", unix.SYS_MADVISE, []any{a + 1, page, 4}},
		{"madvise 0", unix.SYS_MADVISE, []any{a, 0, 4}},
		{"madvise wraps", unix.SYS_MADVISE, []any{a, -page, 4}},
		{"madvise hole", unix.SYS_MADVISE, []any{a + 9*page, page * 3, 4}},
		{"madvise willneed hole", unix.SYS_MADVISE, []any{a + 9*page, page * 3, 3}},
		{"madvise willneed", unix.SYS_MADVISE, []any{a, page, 3}},
		{"madvise normal", unix.SYS_MADVISE, []any{a, page, 0}},
		{"madvise random", unix.SYS_MADVISE, []any{a, page, 1}},
		{"madvise free", unix.SYS_MADVISE, []any{a, page, 8}},
		{"madvise dontfork", unix.SYS_MADVISE, []any{a, page, 10}},
		{"madvise dofork", unix.SYS_MADVISE, []any{a, page, 11}},
		{"madvise hugepage", unix.SYS_MADVISE, []any{a, page, 14}},
		{"madvise nohugepage", unix.SYS_MADVISE, []any{a, page, 15}},
		{"madvise dontdump", unix.SYS_MADVISE, []any{a, page, 16}},
		{"madvise wipeonfork", unix.SYS_MADVISE, []any{a, page, 18}},
		{"madvise keeponfork", unix.SYS_MADVISE, []any{a, page, 19}},
		{"madvise cold", unix.SYS_MADVISE, []any{a, page, 20}},
		{"madvise pageout", unix.SYS_MADVISE, []any{a, page, 21}},
		{"madvise populate read", unix.SYS_MADVISE, []any{a, page, 22}},
		{"madvise populate write", unix.SYS_MADVISE, []any{a, page, 23}},
		{"madvise populate hole", unix.SYS_MADVISE, []any{a + 10*page, page, 22}},
		{"madvise remove private", unix.SYS_MADVISE, []any{a, page, 9}},
		{"mincore unaligned", unix.SYS_MINCORE, []any{a + 1, page, other}},
		{"mincore hole", unix.SYS_MINCORE, []any{a + 10*page, page, other}},
		{"mincore bad vector", unix.SYS_MINCORE, []any{a, page, bad}},
		{"mincore bad vector hole", unix.SYS_MINCORE, []any{a + 10*page, page, bad}},
		{"mincore 0", unix.SYS_MINCORE, []any{a, 0, bad}},
		{"mincore beyond", unix.SYS_MINCORE, []any{a, -1, other}},
		{"msync unaligned", unix.SYS_MSYNC, []any{a + 1, page, 4}},
		{"msync both", unix.SYS_MSYNC, []any{a, page, 5}},
		{"msync unknown", unix.SYS_MSYNC, []any{a, page, 8}},
		{"msync none", unix.SYS_MSYNC, []any{a, page, 0}},
		{"msync 0", unix.SYS_MSYNC, []any{a, 0, 4}},
		{"msync hole", unix.SYS_MSYNC, []any{a + 9*page, page * 3, 4}},
		{"msync wraps", unix.SYS_MSYNC, []any{a, -page, 4}},
		{"mlock hole", unix.SYS_MLOCK, []any{a + 10*page, page}},
		{"mlock", unix.SYS_MLOCK, []any{a, page}},
		{"msync invalidate locked", unix.SYS_MSYNC, []any{a, page, 2}},
		{"madvise dontneed locked", unix.SYS_MADVISE, []any{a, page, 4}},
		{"munlock", unix.SYS_MUNLOCK, []any{a, page}},
		{"munlock hole", unix.SYS_MUNLOCK, []any{a + 10*page, page}},
		{"mlock wraps", unix.SYS_MLOCK, []any{a, -page}},
		{"mlock2 unknown", unix.SYS_MLOCK2, []any{a, page, 8}},
		{"mlock2 onfault", unix.SYS_MLOCK2, []any{a, page, 1}},
		{"mlockall 0", unix.SYS_MLOCKALL, []any{0}},
		{"mlockall onfault only", unix.SYS_MLOCKALL, []any{4}},
		{"mlockall unknown", unix.SYS_MLOCKALL, []any{8}},
		{"munlockall", unix.SYS_MUNLOCKALL, nil},
		{"brk low", unix.SYS_BRK, []any{1}},
	} {
		if c.name == "mlock wraps" && !root() {
			continue // the limit comes first
		}
		m(c.name, c.nr, c.args...)
	}

	// Content.
	g := r.open("g", unix.O_RDWR|unix.O_CREAT)
	r.must(unix.SYS_WRITE, g, "hello", 5)
	s := uintptr(r.must(unix.SYS_MMAP, 0, page*3, rw, unix.MAP_SHARED, g, 0))
	pv := uintptr(r.must(unix.SYS_MMAP, 0, page, rw, priv, g, 0))
	sb, pb := bytesAt(s, 3*page), bytesAt(pv, page)
	r.put("shared sees the file", "%q", sb[:6])
	sb[0] = 'J'
	r.put("private sees what was not yet copied", "%q", pb[:5])
	pb[1] = 'U'
	buf := make([]byte, 8)
	r.call("read sees the shared write", unix.SYS_PREAD64, g, buf, 8, 0)
	r.put("file content", "%q", buf)
	r.must(unix.SYS_PWRITE64, g, "12345678", 8, 0)
	r.put("shared after write", "%q", sb[:9])
	r.put("private after write", "%q", pb[:9])
	sb[20] = 'x'
	r.must(unix.SYS_FTRUNCATE, g, 30)
	r.call("bytes behind the end", unix.SYS_PREAD64, g, make([]byte, 4), 1, 20)
	r.put("behind the end", "%q", sb[18:22])
	// System calls beyond the end of a mapped file.
	r.call("read into beyond the end", unix.SYS_PREAD64, g, s+page, 4, 0)
	r.call("read into the last page and beyond", unix.SYS_PREAD64, f, s+page-3, 10, 0)
	r.call("write from beyond the end", unix.SYS_PWRITE64, g, s+page, 4, 0)
	r.must(unix.SYS_FTRUNCATE, g, page*2)
	sb[page] = 'y'
	r.must(unix.SYS_FTRUNCATE, g, 10)
	r.must(unix.SYS_FTRUNCATE, g, page*2)
	r.put("after shrink and growth", "%q %q", sb[page], pb[:3])
	r.call("close leaves the mapping", unix.SYS_CLOSE, g)
	sb[1] = 'Z'
	r.call("unlink leaves the mapping", unix.SYS_UNLINKAT, cwd, "g", 0)
	r.put("still", "%q", sb[:3])
	r.call("punched under a mapping", unix.SYS_MADVISE, s, page, unix.MADV_REMOVE)
	r.put("zero after it", "%q", sb[:3])
	r.call("dontneed of a private copy", unix.SYS_MADVISE, pv, page, unix.MADV_DONTNEED)
	r.put("it shows the file again", "%q", pb[:3])
	q := r.pages(2)
	bytesAt(q, 1)[0] = 1
	r.call("dontneed anonymous", unix.SYS_MADVISE, q, page, unix.MADV_DONTNEED)
	r.put("zero", "%d", bytesAt(q, 1)[0])
	r.must(unix.SYS_MPROTECT, q, page, unix.PROT_READ)
	r.call("read into read-only", unix.SYS_PREAD64, f, q, 4, 0)
	r.call("write from read-only", unix.SYS_PWRITE64, f, q, 4, 0)
	r.must(unix.SYS_MPROTECT, q, page, unix.PROT_NONE)
	r.call("write from none", unix.SYS_PWRITE64, f, q, 4, 0)
	r.must(unix.SYS_MPROTECT, q, page, unix.PROT_WRITE)
	r.call("write from write-only", unix.SYS_PWRITE64, f, q, 4, 0)
	r.must(unix.SYS_MPROTECT, q, page, unix.PROT_EXEC)
	r.call("write from execute-only", unix.SYS_PWRITE64, f, q, 4, 0)

	// mprotect against the file's mode.
	rs := uintptr(r.must(unix.SYS_MMAP, 0, page, 1, unix.MAP_SHARED, ro, 0))
	r.call("mprotect shared ro to write", unix.SYS_MPROTECT, rs, page, rw)
	rp := uintptr(r.must(unix.SYS_MMAP, 0, page, 1, priv, ro, 0))
	r.call("mprotect private ro to write", unix.SYS_MPROTECT, rp, page, rw)

	// Children.
	sh := uintptr(r.must(unix.SYS_MMAP, 0, page, rw, unix.MAP_SHARED|unix.MAP_ANONYMOUS, -1, 0))
	pr, wf, df := r.pages(1), r.pages(1), r.pages(1)
	for _, x := range []uintptr{sh, pr, wf, df} {
		copy(bytesAt(x, 4), "old")
	}
	r.must(unix.SYS_MADVISE, wf, page, unix.MADV_WIPEONFORK)
	r.must(unix.SYS_MADVISE, df, page, unix.MADV_DONTFORK)
	out := r.open("out", unix.O_RDWR|unix.O_CREAT)
	r.fork("child",
		do("read into shared", unix.SYS_PREAD64, f, sh, 2, 0),
		do("read into private", unix.SYS_PREAD64, f, pr, 2, 0),
		do("shared", unix.SYS_WRITE, out, sh, 3), do("private", unix.SYS_WRITE, out, pr, 3),
		do("wiped", unix.SYS_WRITE, out, wf, 3), do("not forked", unix.SYS_WRITE, out, df, 3),
		do("mincore not forked", unix.SYS_MINCORE, df, page, pr),
	)
	ob := make([]byte, 9)
	r.must(unix.SYS_PREAD64, out, ob, 9, 0)
	r.put("what the child saw", "%q", ob)
	r.put("what the parent sees", "%q %q", bytesAt(sh, 3), bytesAt(pr, 3))

	// How touching ends.
	crash := func(name string, addr uintptr) {
		// A futex operation on memory reads and writes it in the kernel; the fault itself is for C programs to show.
		r.call("futex wake "+name, unix.SYS_FUTEX, addr, 1|128, 1, 0, 0, 0)
		r.call("futex wait "+name, unix.SYS_FUTEX, addr, 0|128, 1<<20, at(r, &unix.Timespec{}), 0, 0)
	}
	crash("none", q+4096*0)
	crash("hole", 4096)
	crash("unaligned", base+3)
	crash("kernel", 0xffffffffff600000)
	r.fork("limits",
		do("", unix.SYS_PRLIMIT64, 0, unix.RLIMIT_AS, at(r, &unix.Rlimit{Cur: 1 << 20, Max: 1 << 20}), 0),
		do("mmap over RLIMIT_AS", unix.SYS_MMAP, 0, 1<<21, rw, anon, -1, 0),
		do("mremap over RLIMIT_AS", unix.SYS_MREMAP, base+20*page, page, 1<<21, 1, 0),
		do("mmap none over RLIMIT_AS", unix.SYS_MMAP, 0, 1<<21, 0, anon, -1, 0),
		do("mmap fixed over itself", unix.SYS_MUNMAP, base+20*page, page),
	)
	if root() {
		r.fork("memlock",
			do("", unix.SYS_PRLIMIT64, 0, unix.RLIMIT_MEMLOCK, at(r, &unix.Rlimit{Cur: 2 * page, Max: 2 * page}), 0),
			do("setuid", unix.SYS_SETUID, 1000),
			do("mlock too much", unix.SYS_MLOCK, base+20*page, 3*page),
			do("mlock", unix.SYS_MLOCK, base+20*page, 2*page),
			do("mlock again", unix.SYS_MLOCK, base+20*page, 2*page),
			do("mlock more", unix.SYS_MLOCK, base+23*page, page),
			do("mmap locked", unix.SYS_MMAP, 0, page, rw, anon|unix.MAP_LOCKED, -1, 0),
			do("mlockall future", unix.SYS_MLOCKALL, 2),
			do("mmap after it", unix.SYS_MMAP, 0, page, rw, anon, -1, 0),
			do("mlockall current", unix.SYS_MLOCKALL, 1),
		)
		r.fork("memlock 0",
			do("", unix.SYS_PRLIMIT64, 0, unix.RLIMIT_MEMLOCK, at(r, &unix.Rlimit{}), 0),
			do("setuid", unix.SYS_SETUID, 1000),
			do("mlock", unix.SYS_MLOCK, base+20*page, page),
			do("mlockall", unix.SYS_MLOCKALL, 1),
		)
	}
	for i, n := range []uintptr{1, 7, 33} {
		v := uintptr(r.must(unix.SYS_MMAP, 0, n*page, rw, anon, -1, 0))
		vec := make([]byte, n)
		bytesAt(v, 1)[0] = 1
		r.call(fmt.Sprint("mincore of ", n), unix.SYS_MINCORE, v, n*page, vec)
		r.put(fmt.Sprint("mincore bits ", i), "%v", vec[0]&1)
	}
}
