package cpio

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
)

// A Visitor is shown each entry in the order of the archives. body is the content of a regular file, the target
// of a symlink, and empty otherwise; it may be kept but must not be changed: it lies in the input (or in what a
// compressed part unpacked to). An error ends the reading and is returned as it is.
//
// A name may be shown twice. Linux then removes what was there where the types differ, writes a regular file anew,
// and keeps a directory with the later mode; a parent that does not exist is an error that Linux passes over in
// silence. Directories get their modification time after everything else.
type Visitor func(h *Header, body []byte) error

// Read reads the whole of r, at most limits.Total bytes, and shows what it holds as ReadBytes does.
//
// It is not a stream: a hard link's content may follow at the very end, a compressed part may prove broken at its
// last byte, and a caller wants to know both before it has built half a file system.
func Read(r io.Reader, limits Limits, visit Visitor) error {
	// LimitReader and a buffer that grows: a file's size is not asked for, since r may be a pipe.
	data, err := io.ReadAll(io.LimitReader(r, min(limits.Total, math.MaxInt64-1)+1))
	if err != nil {
		return fmt.Errorf("reading the archive: %w", err)
	}
	return ReadBytes(data, limits, visit)
}

// ReadBytes shows the visitor every entry of all the archives in data. Bodies out of plain archives lie in data and
// cost nothing. What is wrong with data, or too much in it, is a *FormatError; entries before it have been shown.
func ReadBytes(data []byte, limits Limits, visit Visitor) error {
	if len(data) == 0 {
		return wrong(0, "the file is empty")
	}
	if int64(len(data)) > limits.Total {
		return wrong(0, "larger than %d bytes", limits.Total)
	}
	limits.Total = min(limits.Total, math.MaxInt64-1) // so that "one more" can be asked for
	r := reader{limits: limits, visit: visit}
	for pos := 0; ; {
		n, err := r.archives(data, pos)
		if err != nil {
			return err
		}
		if pos = n; pos == len(data) {
			break
		}
		if pos, err = r.compressed(data, pos); err != nil {
			return err
		}
	}
	if r.entries == 0 && !r.trailer {
		return wrong(0, "there is no archive in it")
	}
	return nil
}

// A file is what hard links have in common.
type file struct{ major, minor, ino, typ uint32 }

type reader struct {
	limits   Limits
	visit    Visitor
	unpacked int64 // by all compressed parts so far
	parts    int   // compressed
	entries  int
	trailer  bool            // one was seen
	last     string          // the name of the last entry, for messages
	links    map[file]string // of the current archive: the first name of each file with several
	decoders decoders
}

// archives reads plain archives, and the zero bytes between and after them, from data[pos:]. It returns where it
// ended: at the end of data, or at a byte that starts no header.
func (r *reader) archives(data []byte, pos int) (int, error) {
	inside := false // an archive whose trailer has not come yet
	for {
		// Linux skips zero bytes before every header, not only between archives.
		for pos < len(data) && data[pos] == 0 {
			pos++
		}
		switch {
		case pos == len(data) && inside:
			return 0, wrong(pos, "truncated after %s: there is no trailer", shown(r.last))
		case pos == len(data) || data[pos] != '0' && !inside:
			return pos, nil
		case pos%4 != 0:
			return 0, wrong(pos, "broken padding %s: byte %d is no multiple of four", r.place(), pos)
		}
		next, isTrailer, err := r.entry(data, pos)
		if err != nil {
			return 0, err
		}
		pos, inside = next, !isTrailer
		if isTrailer {
			r.trailer, r.links = true, nil
		}
	}
}

// place says where the header is that comes next.
func (r *reader) place() string {
	if r.last == "" {
		return "at the start"
	}
	return "after " + shown(r.last)
}

// entry reads and shows the entry whose header is at data[pos:], and returns where the next header may begin. That is
// not beyond len(data).
func (r *reader) entry(data []byte, pos int) (next int, isTrailer bool, err error) {
	rest := data[pos:]
	if magic := rest[:min(len(rest), len(magicNewc))]; string(magic) != magicNewc && string(magic) != magicCrc {
		switch {
		case string(magic) == "070707":
			return 0, false, wrong(pos, "an old cpio archive %s: make it with -H newc", r.place())
		case !bytes.HasPrefix([]byte(magicNewc), magic) && !bytes.HasPrefix([]byte(magicCrc), magic):
			return 0, false, wrong(pos, "no cpio header %s (byte %d): bad magic %q", r.place(), pos, magic)
		}
	}
	if len(rest) < headerSize {
		return 0, false, wrong(pos, "truncated in the header %s (%d bytes more expected)", r.place(), headerSize-len(rest))
	}
	h := new(Header)
	nameSize, sum, ok := h.decode(rest)
	if !ok {
		return 0, false, wrong(pos, "the header %s (byte %d) has a number that is not hexadecimal", r.place(), pos)
	}
	if nameSize == 0 || nameSize > PathMax {
		return 0, false, wrong(pos, "the header %s has a name of %d bytes (1 to %d are possible)", r.place(), nameSize, PathMax)
	}
	nameEnd := headerSize + int(nameSize)
	if len(rest) < nameEnd {
		return 0, false, wrong(pos, "truncated in the name %s (%d bytes more expected)", r.place(), nameEnd-len(rest))
	}
	stored, _, ok := bytes.Cut(rest[headerSize:nameEnd], []byte{0})
	if !ok {
		return 0, false, wrong(pos, "the name %s does not end in a NUL", r.place())
	}
	// 32-bit sizes: no sum overflows an int.
	bodyStart := headerSize + nameSpace(int(nameSize))
	bodyEnd := bodyStart + int(h.Size)
	next = min(pos+align4(bodyEnd), len(data))
	if string(stored) == trailer {
		return next, true, nil
	}

	name, problem := cleanName(string(stored))
	if problem != "" {
		return 0, false, wrong(pos, "%s: %s", shown(string(stored)), problem)
	}
	if len(rest) < bodyEnd {
		return 0, false, wrong(pos, "truncated inside %s (%d bytes more expected)", shown(name), bodyEnd-len(rest))
	}
	h.Name, r.last = name, name
	if r.entries++; r.entries > r.limits.Entries {
		return 0, false, wrong(pos, "more than %d entries, at %s", r.limits.Entries, shown(name))
	}
	body := rest[bodyStart:bodyEnd:bodyEnd]
	if problem := r.check(h, &body, rest[:len(magicNewc)], sum); problem != "" {
		return 0, false, wrong(pos, "%s: %s", shown(name), problem)
	}
	return next, false, r.visit(h, body)
}

// check sees to what depends on the type of file. It may shorten body.
func (r *reader) check(h *Header, body *[]byte, magic []byte, sum uint32) (problem string) {
	switch h.Type() {
	case TypeRegular:
		if string(magic) == magicCrc && len(*body) > 0 && sum != checksum(*body) {
			return fmt.Sprintf("bad checksum: %08x in the header, %08x in the data", sum, checksum(*body))
		}
	case TypeSymlink:
		if len(*body) >= PathMax {
			return fmt.Sprintf("the symlink's target is %d bytes long (less than %d are possible)", len(*body), PathMax)
		}
		if end := bytes.IndexByte(*body, 0); end >= 0 {
			*body = (*body)[:end:end]
		}
		if len(*body) == 0 {
			return "the symlink has no target"
		}
		h.Size = uint32(len(*body))
	case TypeDir, TypeChar, TypeBlock, TypeFIFO, TypeSocket:
		if len(*body) > 0 {
			return fmt.Sprintf("%d bytes of data where the type (mode %#o) has none", len(*body), h.Mode)
		}
	default:
		return fmt.Sprintf("unknown type of file (mode %#o)", h.Mode)
	}
	if h.Name == "." && h.Type() != TypeDir {
		return fmt.Sprintf("the root is not a directory (mode %#o)", h.Mode)
	}
	// As Linux: neither a directory nor a symlink is ever linked.
	if h.NLink >= 2 && h.Type() != TypeDir && h.Type() != TypeSymlink {
		key := file{h.DevMajor, h.DevMinor, h.Ino, h.Type()}
		first, seen := r.links[key]
		switch {
		case !seen && r.links == nil:
			r.links = map[file]string{key: h.Name}
		case !seen:
			r.links[key] = h.Name
		case first != h.Name:
			h.LinkTo = first
		}
	}
	return ""
}

// checksum is the sum of the crc format, which is no CRC: all bytes added up.
func checksum(data []byte) uint32 {
	var sum uint32
	for _, c := range data {
		sum += uint32(c)
	}
	return sum
}

// compressed unpacks the compressed part at data[pos:] and reads the archives in it. It returns where the part ends.
func (r *reader) compressed(data []byte, pos int) (int, error) {
	rest := data[pos:]
	method := methodOf(rest)
	switch {
	case method == nil && r.last == "" && !r.trailer:
		return 0, wrong(pos, "neither a cpio archive nor a compressed one: bad magic %q", rest[:min(len(rest), 6)])
	case method == nil:
		return 0, wrong(pos, "junk %s (byte %d): bad magic %q", r.place(), pos, rest[:min(len(rest), 6)])
	case method.unpack == nil:
		return 0, wrong(pos, "compressed with %s, which is not supported (gzip, zstd and xz are)", method.name)
	}
	if r.parts++; r.parts > r.limits.Parts {
		return 0, wrong(pos, "more than %d compressed parts", r.limits.Parts)
	}
	room := r.limits.Total - r.unpacked
	out, used, err := method.unpack(&r.decoders, rest, room)
	switch {
	case errors.Is(err, errTooLarge):
		return 0, wrong(pos, "unpacks to more than %d bytes", r.limits.Total)
	case errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF):
		return 0, wrong(pos, "truncated: the %s data that starts at byte %d is cut off", method.name, pos)
	case err != nil:
		return 0, wrong(pos, "broken %s data (it starts at byte %d): %v", method.name, pos, err)
	}
	r.unpacked += int64(len(out))
	n, err := r.archives(out, 0)
	if err != nil {
		return 0, err
	}
	if n < len(out) {
		return 0, wrong(n, "junk in the unpacked %s data %s (byte %d): bad magic %q", method.name, r.place(), n, out[n:min(len(out), n+6)])
	}
	return pos + used, nil
}
