// Command bench measures goum: ubench.c natively and as a guest, in turn, beside what peers reach (peers.tsv).
//
//	go run ./scripts/bench [-rounds N] [-rows REGEXP] [-full] [-o FILE]
//
// It is run at the top of the project, after make; "make bench" does both. A figure is the median over the rounds of each round's own
// median; native and guest take turns within a round, so that a machine that changes its mind meets both. The columns:
//
//	native, guest          free on all CPUs, the guest with as many vCPUs as the host has
//	native 1, guest 1      pinned to one CPU, the guest with --cpus 1
//	x                      guest over native, of the pair before it
//	UML, gVisor            peers.tsv: User Mode Linux under seccomp, gVisor's systrap; the better of free and pinned. Another machine's figures!
//	/UML, 1/UML            guest and guest 1 over UML, as they are
//	scaled, scaled 1       (guest/native here) over (UML/native there): what holds if the two machines differ
package main

import (
	"bytes"
	_ "embed"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"
)

//go:embed peers.tsv
var peersTSV string

func main() {
	if err := run(os.Args[1:], os.Stdout, os.Stderr); err != nil {
		if !errors.Is(err, flag.ErrHelp) {
			fmt.Fprintf(os.Stderr, "bench: %v\n", err)
		}
		os.Exit(1)
	}
}

func run(args []string, stdout, stderr io.Writer) error {
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.SetOutput(stderr)
	rounds := f.Int("rounds", 3, "how often each side is measured")
	pattern := f.String("rows", "", "only the rows that match this regular `expression`")
	full := f.Bool("full", false, "all iterations, not a tenth")
	out := f.String("o", "", "write the table in Markdown to this `file`, too")
	goum := f.String("goum", "bin/goum", "the `binary` to measure")
	if err := f.Parse(args); err != nil {
		return err
	}
	if f.NArg() > 0 || *rounds < 1 {
		return errors.New("see -help")
	}
	re, err := regexp.Compile(*pattern)
	if err != nil {
		return err
	}
	peers, err := parsePeers(peersTSV)
	if err != nil {
		return err
	}
	rows := slices.DeleteFunc(slices.Clone(peers.rows), func(r peer) bool { return !ours(r.name) || !re.MatchString(r.name) })
	if len(rows) == 0 {
		return fmt.Errorf("no row matches %q", *pattern)
	}
	b, err := newBench(*goum, *full, stderr)
	if err != nil {
		return err
	}
	defer b.close()
	results := b.measure(rows, *rounds)
	table := tabulate(rows, results)
	t := tabwriter.NewWriter(stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	for _, line := range table {
		fmt.Fprintln(t, strings.Join(line, "\t")+"\t")
	}
	t.Flush()
	notes := remarks(rows, results)
	fmt.Fprint(stdout, "\n", notes)
	if *out != "" {
		return os.WriteFile(*out, markdown(table, notes, *rounds), 0o644)
	}
	return nil
}

// ours says whether bench measures a row of the peers' table; the others need programs of their own.
func ours(name string) bool {
	return strings.HasPrefix(name, "sandbox_") || slices.Contains(microRows(), name)
}

//go:embed ubench.c
var ubenchSource string

var rowMacro = regexp.MustCompile(`(?m)^\tROW\((\w+), `)

// microRows are the rows of ubench, from its source.
func microRows() []string {
	var names []string
	for _, m := range rowMacro.FindAllStringSubmatch(ubenchSource, -1) {
		names = append(names, m[1])
	}
	return names
}

var header = []string{"row", "unit", "native", "guest", "x", "native 1", "guest 1", "x 1", "UML", "gVisor", "/UML", "1/UML", "scaled", "scaled 1"}

func tabulate(rows []peer, results map[string]*result) [][]string {
	table := [][]string{header}
	for _, p := range rows {
		r := results[p.name]
		native, guest := r.of(native), r.of(guest)
		native1, guest1 := r.of(nativePinned), r.of(guestPinned)
		uml := p.uml()
		table = append(table, []string{p.name, p.unit, native.String(), guest.String(), times(ratio(guest, native)),
			native1.String(), guest1.String(), times(ratio(guest1, native1)),
			number(uml), number(p.gvisor()), times(ratio(guest, known(uml))), times(ratio(guest1, known(uml))),
			times(scaled(guest, native, p)), times(scaled(guest1, native1, p))})
	}
	return table
}

// remarks lists what failed, and the rows that are slower than half as much again as UML, by the figures and scaled.
func remarks(rows []peer, results map[string]*result) string {
	var b strings.Builder
	var over, overScaled []string
	for _, p := range rows {
		r := results[p.name]
		for s := range sides {
			if v := r.of(s); v.failure != "" {
				fmt.Fprintf(&b, "%s, %s: %s\n", p.name, s, v.failure)
			}
		}
		uml := known(p.uml())
		if max(ratio(r.of(guest), uml), ratio(r.of(guestPinned), uml)) > 1.5 {
			over = append(over, p.name)
		}
		if max(scaled(r.of(guest), r.of(native), p), scaled(r.of(guestPinned), r.of(nativePinned), p)) > 1.5 {
			overScaled = append(overScaled, p.name)
		}
	}
	list := func(names []string) string {
		if len(names) == 0 {
			return "none"
		}
		return strings.Join(names, " ")
	}
	fmt.Fprintf(&b, "more than 1.5 times UML's figure, free or pinned: %s\n", list(over))
	fmt.Fprintf(&b, "more than 1.5 times UML's figure, scaled by the native ones: %s\n", list(overScaled))
	return b.String()
}

// markdown is the table with where it comes from.
func markdown(table [][]string, notes string, rounds int) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s; %d rounds; %s.\n\n", machine(), rounds, runtime.Version())
	for i, line := range table {
		fmt.Fprintf(&b, "| %s |\n", strings.Join(line, " | "))
		if i == 0 {
			b.WriteString("|---|---|" + strings.Repeat("---:|", len(line)-2) + "\n")
		}
	}
	b.WriteString("\n")
	for line := range strings.Lines(notes) {
		b.WriteString("- " + line)
	}
	return b.Bytes()
}
