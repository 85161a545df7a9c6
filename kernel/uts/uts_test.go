package uts

import (
	"strings"
	"testing"

	"goum/arch/abi"
)

func TestNames(t *testing.T) {
	n := New("a", "")
	if e := n.SetHost(strings.Repeat("x", 65)); e != abi.EINVAL || n.Host() != "a" {
		t.Errorf("a name of 65 bytes: %s, %q", e.Name(), n.Host())
	}
	if e := n.SetHost(strings.Repeat("x", 64)); e != 0 {
		t.Errorf("a name of 64 bytes: %s", e.Name())
	}
	u := n.Uname()
	if u.Nodename[63] != 'x' || u.Nodename[64] != 0 || string(u.Sysname[:6]) != "Linux\x00" || string(u.Machine[:7]) != "x86_64\x00" {
		t.Errorf("%+v", u)
	}
	if n.SetDomain("d"); n.Domain() != "d" {
		t.Errorf("%q", n.Domain())
	}
}
