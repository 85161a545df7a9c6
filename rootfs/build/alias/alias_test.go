package alias

import (
	"slices"
	"testing"
)

func TestResolve(t *testing.T) {
	for _, c := range []struct{ args, want []string }{
		{[]string{"ls", "-l"}, []string{"ls", "-l"}},
		{[]string{"sh", "-c", "x"}, []string{"gosh", "-c", "x"}},
		{[]string{"/bin/sh"}, []string{"gosh"}},
		{[]string{"-sh"}, []string{"gosh"}},
		{[]string{"sha256sum", "f"}, []string{"shasum", "-a", "256", "f"}},
		{[]string{""}, []string{""}},
	} {
		if got := Resolve(c.args); !slices.Equal(got, c.want) {
			t.Errorf("Resolve(%q) = %q, want %q", c.args, got, c.want)
		}
	}
	if n := len(Table["sha256sum"]); n != 3 {
		t.Errorf("Resolve changed the table: %d words", n)
	}
}
