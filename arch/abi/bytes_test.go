package abi

import (
	"reflect"
	"testing"
)

func TestPlain(t *testing.T) {
	for _, c := range []struct {
		v    any
		want bool
	}{
		{Timespec{}, true}, {[2]int32{}, true}, {Siginfo{}, true}, {Rusage{}, true}, {Sysinfo{}, true}, {Timex{}, true}, {Stat{}, true},
		{Statx{}, true}, {Statfs{}, true}, {StackT{}, true}, {CloneArgs{}, true}, {Utsname{}, true}, {FlockT{}, true},
		{struct{ p *int }{}, false},
		{struct {
			a int32
			b int64
		}{}, false},
		{struct {
			a int64
			b int32
		}{}, false},
		{struct{ b bool }{}, false},
	} {
		if got := Plain(reflect.TypeOf(c.v)); got != c.want {
			t.Errorf("Plain(%T) = %v, want %v", c.v, got, c.want)
		}
	}
}

func TestBytes(t *testing.T) {
	v := Timespec{1, 2}
	if b := Bytes(&v); len(b) != 16 || b[0] != 1 || b[8] != 2 {
		t.Errorf("Bytes = %v", b)
	}
	if b := SliceBytes([]uint32{1, 2}); len(b) != 8 || b[4] != 2 {
		t.Errorf("SliceBytes = %v", b)
	}
}
