package cpio

import (
	"fmt"
	"io"
	"math"
)

// A Writer writes one plain archive. What it writes depends on nothing but what it is given.
//
// To put a file into an existing initramfs, append an archive with it: Linux and ReadBytes read one after the other.
type Writer struct {
	w        io.Writer
	checksum bool
	err      error // the first one of w: nothing is written after it
}

// NewWriter returns a Writer of the newc format to w, which must be at a multiple of four bytes.
func NewWriter(w io.Writer) *Writer { return &Writer{w: w} }

// NewCrcWriter is NewWriter for the crc format, with a checksum of each regular file.
func NewCrcWriter(w io.Writer) *Writer { return &Writer{w: w, checksum: true} }

// Write adds an entry; body is a regular file's content or a symlink's target. h.Size and h.LinkTo are ignored.
// The name is not checked beyond what the format can store: tests write bad ones.
func (w *Writer) Write(h *Header, body []byte) error {
	if len(body) > math.MaxUint32 {
		return fmt.Errorf("%s: %d bytes do not fit the format", shown(h.Name), len(body))
	}
	var sum uint32
	if w.checksum && h.Type() == TypeRegular {
		sum = checksum(body)
	}
	w.entry(h, body, sum)
	return w.err
}

// Close adds the trailer. It does not close the underlying writer.
func (w *Writer) Close() error {
	w.entry(&Header{Name: trailer, NLink: 1}, nil, 0)
	return w.err
}

func (w *Writer) entry(h *Header, body []byte, sum uint32) {
	stored := *h
	stored.Size = uint32(len(body))
	magic := magicNewc
	if w.checksum {
		magic = magicCrc
	}
	nameSize := len(h.Name) + 1
	head := make([]byte, 0, headerSize+nameSpace(nameSize))
	head = append(head, magic...)
	for _, f := range stored.fields() {
		head = fmt.Appendf(head, "%08x", *f)
	}
	head = fmt.Appendf(head, "%08x%08x", nameSize, sum)
	head = append(head, h.Name...)
	w.put(head[:cap(head)])
	w.put(body)
	w.put(make([]byte, align4(len(body))-len(body)))
}

func (w *Writer) put(b []byte) {
	if w.err == nil {
		_, w.err = w.w.Write(b)
	}
}
