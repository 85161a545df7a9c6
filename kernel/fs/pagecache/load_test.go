package pagecache

import (
	"bytes"
	"testing"

	"goum/arch/abi"
	"goum/mm"
)

func TestLoad(t *testing.T) {
	p, m := pages(t)
	before := m.Stats().Free
	for _, size := range []int{0, 1, pageSize - 1, pageSize, 5*pageSize + 1, 3<<20 + 17} {
		data := make([]byte, size)
		for i := range data {
			data[i] = byte(i>>8) + byte(i*3) + 1
		}
		if e := p.Load(data); e != 0 {
			t.Fatalf("%d bytes: %s", size, e.Name())
		}
		got := make([]byte, size+pageSize)
		n, e := p.ReadAt(mm.BytesBuf(got), 0)
		if e != 0 || n != size || !bytes.Equal(got[:n], data) || p.Size() != int64(size) {
			t.Errorf("%d bytes: read %d, size %d, %s", size, n, p.Size(), e.Name())
		}
		audit(t, p)
		if size > 0 { // what a mapping shows of the last page behind the end
			f, e := p.Page(nil, uint64(size-1)>>pageShift, false)
			if e != 0 {
				t.Fatal(e.Name())
			}
			if in := size & (pageSize - 1); in != 0 && !bytes.Equal(m.Bytes(f)[in:], make([]byte, pageSize-in)) {
				t.Errorf("%d bytes: something lies behind the end", size)
			}
			m.Unref(f)
		}
		p.Truncate(0)
	}
	if e := p.Load(make([]byte, 65<<20)); e != abi.ENOMEM {
		t.Errorf("more than there is: %s", e.Name())
	}
	p.Close()
	if got := m.Stats().Free; got != before {
		t.Errorf("%d frames lost", before-got)
	}
}
