package cpio

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"hash/crc64"
	"io"

	"github.com/ulikunitz/xz/lzma"
)

// The container of xz is read here and only the LZMA2 data in it by the library, because that allocates whatever
// dictionary a block asks for (up to 4 GiB), once a block. Walking the chunks first gives the true size of a
// block, which bounds its dictionary, and the end of the stream.
// The format: https://tukaani.org/xz/xz-file-format.txt.

const (
	xzMagic      = "\xfd7zXZ\x00"
	xzHeaderSize = 12 // of a stream; its footer has the same size
	xzLZMA2      = 0x21
)

// unxz unpacks one xz stream.
func (d *decoders) unxz(data []byte, room int64) ([]byte, int, error) {
	if len(data) < xzHeaderSize {
		return nil, 0, io.ErrUnexpectedEOF
	}
	flags := data[6:8]
	if string(data[:6]) != xzMagic || flags[0] != 0 || flags[1]&0xf0 != 0 {
		return nil, 0, errors.New("bad stream header")
	}
	if crc32.ChecksumIEEE(flags) != binary.LittleEndian.Uint32(data[8:]) {
		return nil, 0, errors.New("bad checksum of the stream header")
	}
	check, checkSize, err := xzCheck(flags[1])
	if err != nil {
		return nil, 0, err
	}
	var out []byte
	var records []xzRecord
	pos := xzHeaderSize
	for {
		if pos >= len(data) {
			return nil, 0, io.ErrUnexpectedEOF
		}
		if data[pos] == 0 { // no block, the index
			break
		}
		b, err := parseXZBlock(data[pos:], checkSize)
		if err != nil {
			return nil, 0, err
		}
		if b.unpacked > room-int64(len(out)) {
			return nil, 0, errTooLarge
		}
		before := len(out)
		if out, err = b.unpack(out); err != nil {
			return nil, 0, err
		}
		if check != nil {
			check.Reset()
			check.Write(out[before:])
			if !bytes.Equal(checkSum(check), b.check) {
				return nil, 0, errors.New("bad checksum of a block")
			}
		}
		records = append(records, xzRecord{uint64(b.unpadded), uint64(b.unpacked)})
		pos += b.size
	}
	indexSize, err := checkXZIndex(data[pos:], records)
	if err != nil {
		return nil, 0, err
	}
	pos += indexSize
	if len(data)-pos < xzHeaderSize {
		return nil, 0, io.ErrUnexpectedEOF
	}
	footer := data[pos : pos+xzHeaderSize]
	switch {
	case string(footer[10:]) != "YZ" || !bytes.Equal(footer[8:10], flags),
		crc32.ChecksumIEEE(footer[4:10]) != binary.LittleEndian.Uint32(footer),
		(int64(binary.LittleEndian.Uint32(footer[4:]))+1)*4 != int64(indexSize):
		return nil, 0, errors.New("bad stream footer")
	}
	return out, pos + xzHeaderSize, nil
}

// xzCheck returns the check that a stream carries after each block, nil for none, and its size in bytes.
func xzCheck(id byte) (hash.Hash, int, error) {
	switch id {
	case 0:
		return nil, 0, nil
	case 1:
		return crc32.NewIEEE(), 4, nil
	case 4:
		return crc64.New(crc64.MakeTable(crc64.ECMA)), 8, nil
	case 10:
		return sha256.New(), 32, nil
	}
	return nil, 0, fmt.Errorf("integrity check %d is not supported (crc32, crc64 and sha256 are)", id)
}

// checkSum returns a check's value in the order of bytes that xz stores: CRCs little-endian.
func checkSum(h hash.Hash) []byte {
	sum := h.Sum(nil)
	if h.Size() <= 8 {
		for i, j := 0, len(sum)-1; i < j; i, j = i+1, j-1 {
			sum[i], sum[j] = sum[j], sum[i]
		}
	}
	return sum
}

type xzRecord struct{ unpadded, unpacked uint64 }

type xzBlock struct {
	dict     int64  // the size of the dictionary in bytes that the block asks for
	chunks   []byte // the LZMA2 data
	unpacked int64  // what it unpacks to, from the headers of its chunks
	check    []byte
	unpadded int // header, data and check in bytes, as the index counts it
	size     int // with the padding: where the next block begins
}

// parseXZBlock finds the parts of the block at the start of data. Nothing is unpacked.
func parseXZBlock(data []byte, checkSize int) (*xzBlock, error) {
	headerSize := (int(data[0]) + 1) * 4
	if len(data) < headerSize {
		return nil, io.ErrUnexpectedEOF
	}
	header := data[:headerSize-4]
	if crc32.ChecksumIEEE(header) != binary.LittleEndian.Uint32(data[headerSize-4:]) {
		return nil, errors.New("bad checksum of a block header")
	}
	flags := header[1]
	fields := vli{b: header[2:]}
	packed, unpacked := int64(-1), int64(-1) // not given
	if flags&0x40 != 0 {
		packed = fields.next()
	}
	if flags&0x80 != 0 {
		unpacked = fields.next()
	}
	if flags&0x3c != 0 {
		return nil, errors.New("unknown block flags")
	}
	filter, propsSize := fields.next(), fields.next()
	switch {
	case fields.bad:
		return nil, errors.New("bad block header")
	case flags&3 != 0 || filter != xzLZMA2:
		return nil, fmt.Errorf("filter %#x is not supported (only LZMA2 alone is: xz without --x86 or --delta)", filter)
	case propsSize != 1 || len(fields.b) < 1 || fields.b[0] > 40:
		return nil, errors.New("bad dictionary size")
	}
	b := new(xzBlock)
	if p := fields.b[0]; p == 40 {
		b.dict = 1<<32 - 1
	} else {
		b.dict = int64(2|p&1) << (p/2 + 11)
	}
	if b.dict > maxWindow {
		return nil, fmt.Errorf("its dictionary has %d bytes (at most %d)", b.dict, maxWindow)
	}
	n, err := b.walk(data[headerSize:])
	if err != nil {
		return nil, err
	}
	if packed >= 0 && packed != int64(n) || unpacked >= 0 && unpacked != b.unpacked {
		return nil, errors.New("a block's size differs from what its header says")
	}
	b.chunks = data[headerSize : headerSize+n]
	padded := headerSize + align4(n)
	if len(data)-padded < checkSize {
		return nil, io.ErrUnexpectedEOF
	}
	b.check = data[padded : padded+checkSize]
	b.unpadded = headerSize + n + checkSize
	b.size = padded + checkSize
	return b, nil
}

// walk goes over the chunks of LZMA2 data, adds up what they unpack to, and returns how many bytes they take with
// the byte that ends them.
func (b *xzBlock) walk(data []byte) (int, error) {
	for pos := 0; pos < len(data); {
		control := data[pos]
		var head, size, out int
		switch {
		case control == 0:
			return pos + 1, nil
		case control == 1 || control == 2: // as it is; 1 also empties the dictionary
			head = 3
		case control < 0x80:
			return 0, errors.New("bad LZMA2 data")
		case control < 0xc0:
			head = 5
		default: // with new properties
			head = 6
		}
		if len(data)-pos < head {
			return 0, io.ErrUnexpectedEOF
		}
		out = int(binary.BigEndian.Uint16(data[pos+1:])) + 1
		size = out
		if control >= 0x80 {
			out += int(control&0x1f) << 16
			size = int(binary.BigEndian.Uint16(data[pos+3:])) + 1
		}
		b.unpacked += int64(out)
		pos += head + size
	}
	return 0, io.ErrUnexpectedEOF
}

// unpack appends the block's content to out.
func (b *xzBlock) unpack(out []byte) ([]byte, error) {
	if b.unpacked == 0 {
		return out, nil
	}
	c := lzma.Reader2Config{DictCap: int(max(min(b.dict, b.unpacked), lzma.MinDictCap))}
	r, err := c.NewReader2(bytes.NewReader(b.chunks))
	if err != nil {
		return nil, err
	}
	buf := bytes.NewBuffer(out)
	n, err := io.Copy(buf, io.LimitReader(r, b.unpacked))
	switch {
	case err != nil:
		return nil, fmt.Errorf("bad LZMA2 data: %w", notEOF(err))
	case n != b.unpacked:
		return nil, errors.New("bad LZMA2 data")
	}
	return buf.Bytes(), nil
}

// notEOF hides an end of input inside a block: the chunks are all there, as walk has seen, so their data is broken.
func notEOF(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("a chunk ends too early")
	}
	return err
}

// checkXZIndex compares the index at the start of data with the blocks that were read, and returns its size.
func checkXZIndex(data []byte, records []xzRecord) (int, error) {
	fields := vli{b: data[1:]}
	bad := fields.next() != int64(len(records))
	for _, r := range records {
		if bad || fields.bad {
			break
		}
		unpadded, unpacked := fields.next(), fields.next()
		bad = uint64(unpadded) != r.unpadded || uint64(unpacked) != r.unpacked
	}
	switch {
	case fields.bad && len(fields.b) == 0:
		return 0, io.ErrUnexpectedEOF
	case fields.bad || bad:
		return 0, errors.New("the index does not fit the blocks")
	}
	size := align4(len(data) - len(fields.b))
	if len(data)-size < 4 {
		return 0, io.ErrUnexpectedEOF
	}
	if crc32.ChecksumIEEE(data[:size]) != binary.LittleEndian.Uint32(data[size:]) {
		return 0, errors.New("bad checksum of the index")
	}
	return size + 4, nil
}

// A vli reads xz's integers of variable length, 63 bits at most.
type vli struct {
	b   []byte
	bad bool // one did not end, or was too long; all later ones are zero
}

func (v *vli) next() int64 {
	var n int64
	for i := 0; i < 9 && i < len(v.b); i++ {
		n |= int64(v.b[i]&0x7f) << (7 * i)
		if v.b[i]&0x80 == 0 {
			v.b = v.b[i+1:]
			return n
		}
	}
	if v.bad = true; len(v.b) < 9 {
		v.b = nil
	}
	return 0
}
