package sys

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"strconv"
	"strings"
	"testing"

	"goum/arch/abi"
)

// numbers are all SYS_ constants of package abi.
func numbers(t *testing.T) map[int]string {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), "../../arch/abi/sysnum.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	m := map[int]string{}
	ast.Inspect(f, func(n ast.Node) bool {
		v, ok := n.(*ast.ValueSpec)
		if !ok || len(v.Values) != 1 || !strings.HasPrefix(v.Names[0].Name, "SYS_") {
			return true
		}
		nr, err := strconv.Atoi(v.Values[0].(*ast.BasicLit).Value)
		if err != nil {
			t.Fatal(err)
		}
		m[nr] = strings.ToLower(strings.TrimPrefix(v.Names[0].Name, "SYS_"))
		return true
	})
	return m
}

func TestEveryNumberHasARow(t *testing.T) {
	tb := New()
	all := numbers(t)
	if len(all) < 380 {
		t.Fatalf("only %d numbers found", len(all))
	}
	for nr, name := range all {
		c := tb.Call(uint32(nr))
		if c == nil {
			t.Errorf("%d (%s) has no row", nr, name)
			continue
		}
		if c.Name != name {
			t.Errorf("%d is called %s, not %s", nr, c.Name, name)
		}
		if c.Do == nil && (c.errno == 0 || c.reason == "") {
			t.Errorf("%s is absent without errno or reason", name)
		}
	}
	for nr := range uint32(MaxCall) {
		if c := tb.Call(nr); c != nil && all[int(nr)] == "" {
			t.Errorf("row %d (%s) is of no known number", nr, c.Name)
		}
	}
}

func TestCompatibilityList(t *testing.T) {
	var b bytes.Buffer
	if err := New().WriteCompatibility(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"| 0 | read | implemented |", "| 425 | io_uring_setup | absent, ENOSYS: refused on purpose (CONFIG_IO_URING=n) |",
		"| 221 | fadvise64 | partial: advice is checked, then ignored |",
	} {
		if !strings.Contains(b.String(), want+"\n") {
			t.Errorf("no line %q", want)
		}
	}
	if n := strings.Count(b.String(), "\n| "); n != len(numbers(t))+1 {
		t.Errorf("%d lines, want %d", n, len(numbers(t))+1)
	}
}

func TestNewRejectsDuplicates(t *testing.T) {
	defer func() {
		if r := recover(); r == nil || !strings.Contains(r.(string), "is both") {
			t.Errorf("recover() = %v", r)
		}
	}()
	join(Calls{abi.SYS_READ: Absent("a", abi.ENOSYS, "x")}, Calls{abi.SYS_READ: Absent("b", abi.ENOSYS, "x")})
}
