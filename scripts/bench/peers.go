package main

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// peer is a row of peers.tsv: what native programs, UML and gVisor reached on one machine. NaN: not measured.
type peer struct {
	name, unit string
	values     map[string]float64
}

type peerTable struct{ rows []peer }

func parsePeers(tsv string) (*peerTable, error) {
	var t peerTable
	var columns []string
	for line := range strings.Lines(tsv) {
		line = strings.TrimRight(line, "\n")
		if line == "" || line[0] == '#' {
			continue
		}
		f := strings.Split(line, "\t")
		if columns == nil {
			columns = f
			continue
		}
		if len(f) != len(columns) {
			return nil, fmt.Errorf("peers.tsv: %q has %d fields, want %d", f[0], len(f), len(columns))
		}
		p := peer{name: f[0], unit: f[1], values: map[string]float64{}}
		for i, c := range columns[2:] {
			v, err := strconv.ParseFloat(f[i+2], 64)
			if err != nil {
				if f[i+2] != "-" {
					return nil, fmt.Errorf("peers.tsv: %s, %s: %w", p.name, c, err)
				}
				v = math.NaN()
			}
			p.values[c] = v
		}
		t.rows = append(t.rows, p)
	}
	return &t, nil
}

// better is the smaller of two, or the one that was measured.
func better(a, b float64) float64 {
	if math.IsNaN(a) || b < a {
		return b
	}
	return a
}

func (p peer) uml() float64 { return better(p.values["uml_seccomp"], p.values["uml_seccomp_1cpu"]) }
func (p peer) gvisor() float64 {
	return better(p.values["gvisor_systrap"], p.values["gvisor_systrap_1cpu"])
}

// umlSlowdown is UML's better figure over the better native one, on the peers' machine.
func (p peer) umlSlowdown() float64 {
	return p.uml() / better(p.values["native"], p.values["native_1cpu"])
}
