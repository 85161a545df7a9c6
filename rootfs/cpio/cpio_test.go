package cpio

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
)

type entry struct {
	Header
	Body string
}

func dir(name string) entry { return entry{Header{Name: name, Mode: TypeDir | 0o755, NLink: 2}, ""} }
func reg(name, b string) entry {
	return entry{Header{Name: name, Mode: TypeRegular | 0o644, NLink: 1}, b}
}
func sym(name, to string) entry {
	return entry{Header{Name: name, Mode: TypeSymlink | 0o777, NLink: 1}, to}
}

// hard is one of n names of a file.
func hard(name string, ino, n uint32, b string) entry {
	return entry{Header{Name: name, Mode: TypeRegular | 0o644, NLink: n, Ino: ino, DevMinor: 7}, b}
}

func (e entry) linkTo(name string) entry { e.LinkTo = name; return e }

// raw returns the bytes of the entries without a trailer.
func raw(newWriter func(io.Writer) *Writer, entries ...entry) []byte {
	var b bytes.Buffer
	w := newWriter(&b)
	for _, e := range entries {
		if err := w.Write(&e.Header, []byte(e.Body)); err != nil {
			panic(err)
		}
	}
	return b.Bytes()
}

// archive returns a whole archive in the newc format.
func archive(entries ...entry) []byte {
	return append(raw(NewWriter, entries...), raw(NewWriter, reg(trailer, ""))...)
}

func join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

func zeros(n int) []byte { return make([]byte, n) }

// pad adds zero bytes up to a multiple of n.
func pad(b []byte, n int) []byte {
	for len(b)%n != 0 {
		b = append(b[:len(b):len(b)], 0)
	}
	return b
}

func compress(b []byte, w io.WriteCloser, err error, out *bytes.Buffer) []byte {
	if err == nil {
		_, err = w.Write(b)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		panic(err)
	}
	return out.Bytes()
}

func gz(b []byte) []byte {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	return compress(b, w, nil, &out)
}

func zst(b []byte) []byte {
	var out bytes.Buffer
	w, err := zstd.NewWriter(&out)
	return compress(b, w, err, &out)
}

func xzip(b []byte) []byte {
	var out bytes.Buffer
	w, err := xz.NewWriter(&out)
	return compress(b, w, err, &out)
}

func readAll(data []byte, limits Limits) ([]entry, error) {
	var got []entry
	err := ReadBytes(data, limits, func(h *Header, body []byte) error {
		if int(h.Size) != len(body) {
			return fmt.Errorf("%s: Size is %d, the body has %d bytes", h.Name, h.Size, len(body))
		}
		e := entry{*h, string(body)}
		e.Size = 0 // told by Body
		got = append(got, e)
		return nil
	})
	return got, err
}

func TestRead(t *testing.T) {
	all := []entry{
		dir("."), dir("bin"), dir("dev"), reg("bin/sh", strings.Repeat("text\x00\xff", 3000)), sym("init", "/bin/sh"),
		{Header{Name: "dev/console", Mode: TypeChar | 0o600, NLink: 1, RDevMajor: 5, RDevMinor: 1}, ""},
		{Header{Name: "dev/sda", Mode: TypeBlock | 0o600, NLink: 1, RDevMajor: 8}, ""},
		{Header{Name: "fifo", Mode: TypeFIFO | 0o600, NLink: 1}, ""},
		{Header{Name: "sock", Mode: TypeSocket | 0o4711, NLink: 1}, ""},
		{Header{Name: "owned", Mode: TypeRegular | 0o4711, NLink: 1, UID: 65534, GID: 1 << 31, MTime: 4e9,
			Ino: 12, DevMajor: 3, DevMinor: 4}, "x"},
	}
	a, b := reg("a", "1"), reg("b", "22")
	for name, c := range map[string]struct {
		data []byte
		want []entry
	}{
		"every type":           {archive(all...), all},
		"crc":                  {join(raw(NewCrcWriter, all...), raw(NewCrcWriter, reg(trailer, ""))), all},
		"only a trailer":       {archive(), nil},
		"gzip":                 {gz(archive(all...)), all},
		"zstd":                 {zst(archive(all...)), all},
		"xz":                   {xzip(archive(all...)), all},
		"zeros before":         {join(zeros(512), archive(a)), []entry{a}},
		"zeros after":          {join(archive(a), zeros(511)), []entry{a}},
		"two":                  {join(archive(a), archive(b)), []entry{a, b}},
		"two, padded":          {join(pad(archive(a), 512), archive(b)), []entry{a, b}},
		"plain, gzip":          {join(pad(archive(a), 512), gz(archive(b))), []entry{a, b}},
		"gzip, plain":          {join(pad(gz(archive(a)), 4), archive(b)), []entry{a, b}},
		"gzip, gzip unaligned": {join(gz(archive(a)), gz(archive(b))), []entry{a, b}},
		"all kinds": {join(pad(xzip(archive(a)), 4), archive(b), zst(archive(b)), zeros(3), gz(archive(a)), xzip(archive(a, b))),
			[]entry{a, b, b, a, a, b}},
		"two archives in a part": {zst(join(pad(archive(a), 512), archive(b), zeros(9))), []entry{a, b}},
		"nothing in a part":      {join(archive(a), gz(nil), zst(nil), xzip(nil)), []entry{a}},
		"zeros between entries":  {join(raw(NewWriter, a), zeros(8), archive(b)), []entry{a, b}},
		"names are cleaned":      {archive(dir("/"), dir("./x/"), reg("//x/.//y", "1"), reg("/...", "2")), []entry{dir("."), dir("x"), reg("x/y", "1"), reg("...", "2")}},
		"a name ends at a NUL":   {archive(reg("a\x00b", "1")), []entry{a}},
		"a target ends at a NUL": {archive(sym("l", "to\x00\x00")), []entry{sym("l", "to")}},
		"a target may leave":     {archive(sym("l", "../../x")), []entry{sym("l", "../../x")}},
		"twice":                  {archive(a, a), []entry{a, a}},

		"hard links, content last": {archive(hard("x", 1, 3, ""), hard("y", 1, 3, ""), hard("z", 1, 3, "data"), hard("w", 2, 2, "")),
			[]entry{hard("x", 1, 3, ""), hard("y", 1, 3, "").linkTo("x"), hard("z", 1, 3, "data").linkTo("x"), hard("w", 2, 2, "")}},
		"hard links, content first": {archive(hard("x", 1, 2, "data"), hard("y", 1, 2, "")),
			[]entry{hard("x", 1, 2, "data"), hard("y", 1, 2, "").linkTo("x")}},
		"an inode is the archive's own": {join(archive(hard("x", 1, 2, "1")), archive(hard("y", 1, 2, "2"))),
			[]entry{hard("x", 1, 2, "1"), hard("y", 1, 2, "2")}},
		"one link is none": {archive(hard("x", 1, 1, "1"), hard("y", 1, 1, "2")), []entry{hard("x", 1, 1, "1"), hard("y", 1, 1, "2")}},
		"not of itself":    {archive(hard("x", 1, 2, ""), hard("x", 1, 2, "1")), []entry{hard("x", 1, 2, ""), hard("x", 1, 2, "1")}},
		"not of another type": {archive(hard("x", 1, 2, ""), entry{Header{Name: "d", Mode: TypeDir | 0o755, NLink: 2, Ino: 1, DevMinor: 7}, ""}),
			[]entry{hard("x", 1, 2, ""), {Header{Name: "d", Mode: TypeDir | 0o755, NLink: 2, Ino: 1, DevMinor: 7}, ""}}},
	} {
		got, err := readAll(c.data, DefaultLimits())
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if d := cmp.Diff(c.want, got); d != "" {
			t.Errorf("%s: (-want +got)\n%s", name, d)
		}
	}
}

// Each file was made by a program that people use, from the same tree; see testdata/README.
func TestReadForeign(t *testing.T) {
	want, err := os.ReadFile("testdata/tree.cpio")
	if err != nil {
		t.Fatal(err)
	}
	wantEntries, err := readAll(want, DefaultLimits())
	if err != nil || len(wantEntries) == 0 {
		t.Fatalf("%d entries, %v", len(wantEntries), err)
	}
	files, err := filepath.Glob("testdata/tree.cpio.*")
	if err != nil || len(files) < 8 {
		t.Fatalf("only %d files (%v)", len(files), err)
	}
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		// Behind each an archive, to see that the end of the compressed part is found.
		more := reg("more", "1")
		got, err := readAll(join(pad(data, 4), archive(more)), DefaultLimits())
		if err != nil {
			t.Errorf("%s: %v", f, err)
		}
		if d := cmp.Diff(append(wantEntries[:len(wantEntries):len(wantEntries)], more), got); d != "" {
			t.Errorf("%s: (-want +got)\n%s", f, d)
		}
	}
}

// patch returns b with s written at offset i.
func patch(b []byte, i int, s string) []byte {
	b = bytes.Clone(b)
	copy(b[i:], s)
	return b
}

func TestReadErrors(t *testing.T) {
	a := reg("bbin/bb", "0123456789")
	one := archive(a)
	// Where the numbers of the first header lie.
	const mode, size, nameSize, sum = 6 + 8, 6 + 6*8, 6 + 11*8, 6 + 12*8
	crc := join(raw(NewCrcWriter, a), raw(NewCrcWriter, reg(trailer, "")))
	long := strings.Repeat("n", 300)
	small := DefaultLimits()
	small.Total, small.Entries, small.Parts = 4096, 3, 2
	for name, c := range map[string]struct {
		data   []byte
		limits Limits
		want   string
	}{
		"empty":               {nil, DefaultLimits(), "the file is empty"},
		"only zeros":          {zeros(4096), DefaultLimits(), "there is no archive in it"},
		"text":                {[]byte("#!/bin/sh\n"), DefaultLimits(), `neither a cpio archive nor a compressed one: bad magic "#!/bin"`},
		"cut in a body":       {one[:len(raw(NewWriter, a))-5], DefaultLimits(), `truncated inside "bbin/bb" (3 bytes more expected)`},
		"cut in a header":     {one[:50], DefaultLimits(), "truncated in the header at the start (60 bytes more expected)"},
		"cut in the magic":    {one[:3], DefaultLimits(), "truncated in the header at the start (107 bytes more expected)"},
		"cut in a name":       {one[:112], DefaultLimits(), "truncated in the name at the start (6 bytes more expected)"},
		"cut in the trailer":  {one[:len(one)-20], DefaultLimits(), `truncated in the header after "bbin/bb" (6 bytes more expected)`},
		"no trailer":          {raw(NewWriter, a), DefaultLimits(), `truncated after "bbin/bb": there is no trailer`},
		"no trailer, zeros":   {join(raw(NewWriter, a), zeros(100)), DefaultLimits(), `truncated after "bbin/bb": there is no trailer`},
		"no trailer in gzip":  {gz(raw(NewWriter, a)), DefaultLimits(), `truncated after "bbin/bb": there is no trailer`},
		"no trailer but gzip": {join(raw(NewWriter, a), gz(one)), DefaultLimits(), `no cpio header after "bbin/bb" (byte 132): bad magic "\x1f\x8b\b\x00\x00\t"`},
		"absurd body":         {patch(one, size, "ffffffff"), DefaultLimits(), `truncated inside "bbin/bb" (4294967159 bytes more expected)`},
		"absurd name":         {patch(one, nameSize, "ffffffff"), DefaultLimits(), "the header at the start has a name of 4294967295 bytes (1 to 4096 are possible)"},
		"no name":             {patch(one, nameSize, "00000000"), DefaultLimits(), "the header at the start has a name of 0 bytes (1 to 4096 are possible)"},
		"name of PATH_MAX":    {archive(reg(strings.Repeat("n/", PathMax/2), "")), DefaultLimits(), "the header at the start has a name of 4097 bytes (1 to 4096 are possible)"},
		"name without end":    {patch(one, nameSize, "00000007"), DefaultLimits(), "the name at the start does not end in a NUL"},
		"no digits":           {patch(one, size, "0000000x"), DefaultLimits(), "the header at the start (byte 0) has a number that is not hexadecimal"},
		"bad magic":           {patch(one, 0, "070703"), DefaultLimits(), `no cpio header at the start (byte 0): bad magic "070703"`},
		"old format":          {patch(one, 0, "070707"), DefaultLimits(), "an old cpio archive at the start: make it with -H newc"},
		"junk between":        {join(raw(NewWriter, a), []byte("junkjunk")), DefaultLimits(), `no cpio header after "bbin/bb" (byte 132): bad magic "junkju"`},
		"junk behind":         {join(one, []byte("junk")), DefaultLimits(), `junk after "bbin/bb" (byte 256): bad magic "junk"`},
		"junk behind nothing": {join(archive(), []byte("junk")), DefaultLimits(), `junk at the start (byte 124): bad magic "junk"`},
		"junk in gzip":        {gz(join(one, []byte("junk"))), DefaultLimits(), `junk in the unpacked gzip data after "bbin/bb" (byte 256): bad magic "junk"`},
		"gzip in gzip":        {gz(gz(one)), DefaultLimits(), `junk in the unpacked gzip data at the start (byte 0): bad magic "\x1f\x8b\b\x00\x00\t"`},
		"broken padding":      {join(one, zeros(2), one), DefaultLimits(), `broken padding after "bbin/bb": byte 258 is no multiple of four`},
		"bad checksum":        {patch(crc, sum, "00000001"), DefaultLimits(), `"bbin/bb": bad checksum: 00000001 in the header, 0000020d in the data`},

		"leaves":         {archive(reg("../../x", "")), DefaultLimits(), `"../../x": the name leaves the archive with ".."`},
		"leaves inside":  {archive(reg("a/../x", "")), DefaultLimits(), `"a/../x": the name leaves the archive with ".."`},
		"leaves, rooted": {archive(dir("/..")), DefaultLimits(), `"/..": the name leaves the archive with ".."`},
		"empty name":     {archive(reg("", "")), DefaultLimits(), `"": the name is empty`},
		"long element":   {archive(reg("a/"+long, "")), DefaultLimits(), `"a/` + long[:maxShown-2] + `"...: a part of the name is 300 bytes long (at most 255)`},
		"control bytes":  {archive(reg("a\n\x1b[2J/..", "")), DefaultLimits(), `"a\n\x1b[2J/..": the name leaves the archive with ".."`},
		"a file as root": {archive(reg("/", "")), DefaultLimits(), `".": the root is not a directory (mode 0100644)`},
		"no type":        {patch(one, mode, "000001a4"), DefaultLimits(), `"bbin/bb": unknown type of file (mode 0644)`},
		"a full dir":     {patch(one, mode, "000041ed"), DefaultLimits(), `"bbin/bb": 10 bytes of data where the type (mode 040755) has none`},
		"no target":      {archive(sym("l", "")), DefaultLimits(), `"l": the symlink has no target`},
		"NUL target":     {archive(sym("l", "\x00x")), DefaultLimits(), `"l": the symlink has no target`},
		"long target":    {archive(sym("l", strings.Repeat("t", PathMax))), DefaultLimits(), `"l": the symlink's target is 4096 bytes long (less than 4096 are possible)`},

		"bzip2":        {[]byte("BZh91AY&SY"), DefaultLimits(), "compressed with bzip2, which is not supported (gzip, zstd and xz are)"},
		"lzma":         {[]byte("\x5d\x00\x00\x80\x00"), DefaultLimits(), "compressed with lzma, which is not supported (gzip, zstd and xz are)"},
		"lz4":          {[]byte("\x02\x21\x4c\x18"), DefaultLimits(), "compressed with lz4, which is not supported (gzip, zstd and xz are)"},
		"lz4, its own": {[]byte("\x04\x22\x4d\x18"), DefaultLimits(), "compressed with lz4, which is not supported (gzip, zstd and xz are)"},
		"lzo":          {[]byte("\x89LZO\x00"), DefaultLimits(), "compressed with lzo, which is not supported (gzip, zstd and xz are)"},
		"bzip2 behind": {join(one, []byte("BZh91AY&SY")), DefaultLimits(), "compressed with bzip2, which is not supported (gzip, zstd and xz are)"},
		"a short gzip": {[]byte("\x1f\x8b"), DefaultLimits(), "truncated: the gzip data that starts at byte 0 is cut off"},

		"input too large": {join(one, zeros(4096)), small, "larger than 4096 bytes"},
		"many entries":    {archive(a, a, a, a), small, `more than 3 entries, at "bbin/bb"`},
		"many parts":      {join(gz(nil), zst(nil), xzip(nil)), small, "more than 2 compressed parts"},
		"gzip bomb":       {gz(zeros(1 << 20)), small, "unpacks to more than 4096 bytes"},
		"zstd bomb":       {zst(zeros(1 << 20)), small, "unpacks to more than 4096 bytes"},
		"xz bomb":         {xzip(zeros(1 << 20)), small, "unpacks to more than 4096 bytes"},
		"bomb in parts":   {join(gz(zeros(3000)), zst(zeros(3000))), small, "unpacks to more than 4096 bytes"},
	} {
		_, err := readAll(c.data, c.limits)
		if err == nil || err.Error() != c.want {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
		if f := new(FormatError); !errors.As(err, &f) {
			t.Errorf("%s: a %T", name, err)
		}
	}
}

// A compressed part that is cut off or broken anywhere is an error, and never more than the true entries before it.
func TestReadBrokenParts(t *testing.T) {
	a := archive(dir("d"), reg("d/file", strings.Repeat("some text ", 100)))
	for name, whole := range map[string][]byte{"gzip": gz(a), "zstd": zst(a), "xz": xzip(a)} {
		for n := 2; n < len(whole); n++ {
			want := fmt.Sprintf("truncated: the %s data that starts at byte 0 is cut off", name)
			if _, err := readAll(whole[:n], DefaultLimits()); err == nil || err.Error() != want {
				t.Fatalf("%s, the first %d of %d bytes: %v", name, n, len(whole), err)
			}
		}
		for i := range whole {
			for bit := range 8 {
				b := bytes.Clone(whole)
				b[i] ^= 1 << bit
				got, err := readAll(b, DefaultLimits())
				// Some bits say nothing about the content (gzip's time); the rest is under a checksum.
				if err == nil && len(got) != 2 {
					t.Fatalf("%s, byte %d bit %d: %d entries and no error", name, i, bit, len(got))
				}
			}
		}
	}
}

func TestReadFromReader(t *testing.T) {
	data := archive(reg("a", "1"))
	n := 0
	count := func(*Header, []byte) error { n++; return nil }
	if err := Read(iotest.OneByteReader(bytes.NewReader(data)), DefaultLimits(), count); err != nil || n != 1 {
		t.Errorf("%v, %d entries", err, n)
	}
	broken := errors.New("broken disk")
	if err := Read(iotest.ErrReader(broken), DefaultLimits(), count); !errors.Is(err, broken) {
		t.Errorf("%v", err)
	}
	limits := DefaultLimits()
	limits.Total = math.MaxInt64
	if err := Read(bytes.NewReader(gz(data)), limits, count); err != nil || n != 2 {
		t.Errorf("%v, %d entries", err, n)
	}
	limits.Total = 100
	if err := Read(endless{}, limits, count); err == nil || err.Error() != "larger than 100 bytes" {
		t.Errorf("%v", err)
	}
}

type endless struct{}

func (endless) Read(b []byte) (int, error) { return len(b), nil }

func TestVisitorStops(t *testing.T) {
	stop, n := errors.New("stop"), 0
	err := ReadBytes(gz(archive(dir("a"), dir("b"))), DefaultLimits(), func(*Header, []byte) error { n++; return stop })
	if err != stop || n != 1 {
		t.Errorf("%v after %d entries", err, n)
	}
}

// A plain archive is read without copying it.
func TestNoCopy(t *testing.T) {
	data := archive(reg("file", strings.Repeat("x", 1<<20)), dir("d"))
	read := func() {
		if err := ReadBytes(data, DefaultLimits(), func(h *Header, body []byte) error {
			if h.Name == "file" && &body[0] != &data[bytes.IndexByte(data, 'x')] {
				t.Error("the body lies elsewhere")
			}
			if len(body) != cap(body) {
				t.Error("an append to the body would change the archive")
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	if n := testing.AllocsPerRun(10, read); n > 20 {
		t.Errorf("%v allocations", n)
	}
}

func TestWriterErrors(t *testing.T) {
	full := errors.New("full")
	w := NewWriter(writerFunc(func([]byte) (int, error) { return 0, full }))
	if err := w.Write(&Header{Name: "a"}, nil); err != full {
		t.Errorf("Write: %v", err)
	}
	if err := w.Close(); err != full {
		t.Errorf("Close: %v", err)
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

// FuzzRead looks for panics, for unbounded work, and for anything shown that breaks the package's promises.
func FuzzRead(f *testing.F) {
	files, err := filepath.Glob("testdata/tree.cpio*")
	if err != nil || len(files) == 0 {
		f.Fatal("no seeds", err)
	}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	small := archive(dir("."), hard("x", 1, 2, ""), hard("y", 1, 2, "data"), sym("l", "x"))
	for _, b := range [][]byte{small, gz(small), zst(small), xzip(small), join(pad(small, 512), gz(small))} {
		f.Add(b)
	}
	limits := Limits{Total: 1 << 20, Entries: 1000, Parts: 10}
	f.Fuzz(func(t *testing.T, data []byte) {
		var again bytes.Buffer
		w := NewWriter(&again)
		var first []entry
		err := ReadBytes(data, limits, func(h *Header, body []byte) error {
			if len(first) >= limits.Entries || len(h.Name) == 0 || len(h.Name) >= PathMax || strings.HasPrefix(h.Name, "/") {
				t.Fatalf("entry %d %q", len(first), h.Name)
			}
			for e := range strings.SplitSeq(h.Name, "/") {
				if e == "" || e == ".." || e == "." && h.Name != "." || strings.Contains(e, "\x00") {
					t.Fatalf("name %q", h.Name)
				}
			}
			if int(h.Size) != len(body) {
				t.Fatalf("%q: %d bytes of %d", h.Name, len(body), h.Size)
			}
			h.LinkTo = ""
			first = append(first, entry{*h, string(body)})
			return w.Write(h, body)
		})
		if f := new(FormatError); err != nil && (!errors.As(err, &f) || strings.ContainsAny(err.Error(), "\n\x1b")) {
			t.Fatalf("a %T: %v", err, err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		// What was shown can be written and shows the same again.
		limits := DefaultLimits()
		i := 0
		if err := ReadBytes(again.Bytes(), limits, func(h *Header, body []byte) error {
			h.LinkTo = ""
			if (entry{*h, string(body)}) != first[i] {
				t.Fatalf("entry %d: %+v, first %+v", i, h, first[i].Header)
			}
			i++
			return nil
		}); err != nil || i != len(first) {
			t.Fatalf("again: %v, %d of %d entries", err, i, len(first))
		}
	})
}

func BenchmarkReadBytes(b *testing.B) {
	data := archive(reg("bbin/bb", strings.Repeat("0123456789abcdef", 11<<16)))
	for name, data := range map[string][]byte{"plain": data, "gzip": gz(data), "zstd": zst(data), "xz": xzip(data)} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(11 << 20)
			for b.Loop() {
				if err := ReadBytes(data, DefaultLimits(), func(*Header, []byte) error { return nil }); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
