package physmem

import (
	"bytes"
	"testing"
)

func TestLoad(t *testing.T) {
	m := newMemory(t, 1024)
	f, n, e := m.AllocRun(64, false)
	if e != 0 || n != 64 {
		t.Fatal(n, e)
	}
	for _, size := range []int{0, 1, PageSize, loadLeast - 1, loadLeast, loadLeast + 1, 64 * PageSize} {
		clear(m.RunBytes(f, n))
		data := make([]byte, size)
		for i := range data {
			data[i] = byte(i*7 + 1)
		}
		m.Load(f, data)
		if b := m.RunBytes(f, n); !bytes.Equal(b[:size], data) || !bytes.Equal(b[size:], make([]byte, len(b)-size)) {
			t.Errorf("%d bytes are not what was loaded", size)
		}
	}
	m.UnrefRun(f, n)
}
