package mm

import (
	"testing"

	"goum/arch/abi"
)

func TestPrefault(t *testing.T) {
	m := newMem(t, 4096)
	s := NewSpace(m, NoLimits)
	h := newHost(t, s)
	f := newFile(m, 256)
	text := mustMap(t, s, 0, 100*PageSize, MapOpts{Prot: abi.PROT_READ | abi.PROT_EXEC, Flags: abi.MAP_PRIVATE, Pager: f})
	data := mustMap(t, s, 0, 8*PageSize, MapOpts{Prot: rw, Flags: abi.MAP_PRIVATE, Pager: f, Offset: 128 * PageSize})

	s.Prefault(nil, text, 100*PageSize, false)
	if f.misses != 0 || s.Usage().RSS != 0 {
		t.Errorf("a read waited for the pager %d times", f.misses)
	}
	for i := uint64(0); i < 112; i += 16 { // now the file is at hand
		frame, e := f.Page(nil, i, false)
		if e != 0 {
			t.Fatal(e)
		}
		m.Unref(frame)
	}
	s.Prefault(nil, text+1, 100*PageSize-1, false)
	s.Prefault(nil, data, 8*PageSize, true)
	s.Prefault(nil, data+4096*PageSize, PageSize, true) // nothing there
	if u := s.Usage(); u.RSS != 108 || u.Anon != 8 {
		t.Errorf("usage %+v", u)
	}
	faults := s.Stats().Minor
	for i := range Addr(100) {
		h.wantLoad(text+i*PageSize, page(i))
	}
	for i := range Addr(8) {
		h.wantStore(data+i*PageSize, i)
	}
	if n := s.Stats().Minor - faults; n != 0 {
		t.Errorf("%d faults all the same", n)
	}
	h.end()
	f.done(t)
	wantFree(t, m)
}
