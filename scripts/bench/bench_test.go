package main

import (
	"math"
	"strings"
	"testing"
)

func TestEveryRowHasPeers(t *testing.T) {
	peers, err := parsePeers(peersTSV)
	if err != nil {
		t.Fatal(err)
	}
	have := map[string]bool{}
	for _, p := range peers.rows {
		have[p.name] = true
	}
	names := microRows()
	if len(names) != 32 {
		t.Errorf("ubench has %d rows, want 32", len(names))
	}
	for _, n := range names {
		if !have[n] {
			t.Errorf("%s is not in peers.tsv", n)
		}
	}
}

func TestScaled(t *testing.T) {
	p := peer{values: map[string]float64{"native": 100, "native_1cpu": 120, "uml_seccomp": 5000, "uml_seccomp_1cpu": 3000, "gvisor_systrap": math.NaN(), "gvisor_systrap_1cpu": 7}}
	if got := p.uml(); got != 3000 {
		t.Errorf("UML's better figure is %v, want 3000", got)
	}
	if got := p.gvisor(); got != 7 {
		t.Errorf("gVisor's only figure is %v, want 7", got)
	}
	// Twice as slow a machine: the guest has 60 times its native figure where UML has 30.
	if got := scaled(known(12000), known(200), p); got != 2 {
		t.Errorf("scaled is %v, want 2", got)
	}
}

func TestMedianAndFailures(t *testing.T) {
	var r result
	if v := r.of(guest); v.failure == "" || v.String() != "FAILED" {
		t.Errorf("nothing measured shows as %v", v)
	}
	r.values[guest] = []float64{9, 1, 4}
	if v := r.of(guest); v.v != 4 {
		t.Errorf("the median of 9, 1, 4 is %v", v.v)
	}
	p := peer{name: "row", values: map[string]float64{"native": 1, "uml_seccomp": 2}}
	table := tabulate([]peer{p}, map[string]*result{"row": &r})
	if got := strings.Join(table[1], " "); !strings.HasPrefix(got, "row  FAILED 4 -") {
		t.Errorf("a row without a native figure is %q", got)
	}
}
