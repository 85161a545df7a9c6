package cpio

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// errTooLarge is what an unpack function returns where the data would not fit in its room.
var errTooLarge = errors.New("too large")

// decoders are kept from one part to the next; a part may be tiny and a decoder is not.
type decoders struct {
	gzip *gzip.Reader
}

// A method is a way to compress that Linux knows by its first two bytes.
type method struct {
	magic string
	name  string
	// unpack unpacks the one stream that data starts with into at most room bytes and says how many bytes of data
	// that stream has. Nil: not supported.
	unpack func(d *decoders, data []byte, room int64) (out []byte, used int, err error)
}

// As in Linux's lib/decompress.c, and the magic of the lz4 program, which Linux does not take.
var methods = []method{
	{"\x1f\x8b", "gzip", (*decoders).gunzip},
	{"\x1f\x9e", "gzip", (*decoders).gunzip},
	{"\x28\xb5", "zstd", (*decoders).unzstd},
	{"\xfd\x37", "xz", (*decoders).unxz},
	{"BZ", "bzip2", nil},
	{"\x5d\x00", "lzma", nil},
	{"\x89\x4c", "lzo", nil},
	{"\x02\x21", "lz4", nil},
	{"\x04\x22", "lz4", nil},
}

func methodOf(data []byte) *method {
	for i := range methods {
		if bytes.HasPrefix(data, []byte(methods[i].magic)) {
			return &methods[i]
		}
	}
	return nil
}

// gunzip unpacks one gzip member (RFC 1952): a second one is another part, as it is for Linux.
func (d *decoders) gunzip(data []byte, room int64) ([]byte, int, error) {
	in := bytes.NewReader(data) // an io.ByteReader, from which no byte beyond the member is taken
	var err error
	if d.gzip == nil {
		d.gzip, err = gzip.NewReader(in)
	} else {
		err = d.gzip.Reset(in)
	}
	if err != nil {
		return nil, 0, err
	}
	d.gzip.Multistream(false)
	out, err := io.ReadAll(io.LimitReader(d.gzip, room+1))
	switch {
	case err != nil:
		return nil, 0, err
	case int64(len(out)) > room:
		return nil, 0, errTooLarge
	}
	return out, len(data) - in.Len(), nil
}

const (
	zstdMaxBlock = 128 << 10 // the most that one block unpacks to (RFC 8878, section 3.1.1.2.4)
	zstdRLE      = 1         // the type of a block that is one byte, repeated
)

// unzstd unpacks one zstd frame (RFC 8878).
func (d *decoders) unzstd(data []byte, room int64) ([]byte, int, error) {
	var h zstd.Header
	if err := h.Decode(data); err != nil {
		return nil, 0, err
	}
	if h.Skippable {
		return nil, 0, errors.New("a skippable frame")
	}
	end, blocks, err := zstdFrame(data, &h)
	if err != nil {
		return nil, 0, err
	}
	// The decoder allocates what the header promises; believe it no more than the blocks can hold.
	if h.HasFCS && h.FrameContentSize > uint64(blocks)*zstdMaxBlock {
		return nil, 0, fmt.Errorf("%d bytes promised, which %d blocks cannot hold", h.FrameContentSize, blocks)
	}
	if h.HasFCS && h.FrameContentSize > uint64(room) {
		return nil, 0, errTooLarge
	}
	if !h.SingleSegment && h.WindowSize > maxWindow {
		return nil, 0, fmt.Errorf("its window has %d bytes (at most %d)", h.WindowSize, maxWindow)
	}
	// The decoder's bound covers the window too, even where less is unpacked, so a small room is checked again below.
	memory := max(uint64(room), h.WindowSize, zstd.MinWindowSize)
	dec, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(memory),
		zstd.WithDecoderMaxWindow(maxWindow))
	if err != nil {
		return nil, 0, err
	}
	defer dec.Close()
	out, err := dec.DecodeAll(data[:end], nil)
	if errors.Is(err, zstd.ErrDecoderSizeExceeded) || int64(len(out)) > room {
		return nil, 0, errTooLarge
	}
	return out, end, err
}

// zstdFrame finds where the frame with the header h at the start of data ends, from the sizes of its blocks alone,
// and how many blocks it has.
func zstdFrame(data []byte, h *zstd.Header) (end, blocks int, err error) {
	end = h.HeaderSize
	for last := false; !last; blocks++ {
		if len(data)-end < 3 {
			return 0, 0, io.ErrUnexpectedEOF
		}
		v := int(data[end]) | int(data[end+1])<<8 | int(data[end+2])<<16
		last = v&1 != 0
		size := v >> 3
		if v>>1&3 == zstdRLE {
			size = 1
		}
		if end += 3; len(data)-end < size {
			return 0, 0, io.ErrUnexpectedEOF
		}
		end += size
	}
	if h.HasCheckSum {
		if end += 4; len(data) < end {
			return 0, 0, io.ErrUnexpectedEOF
		}
	}
	return end, blocks, nil
}
