// Cut prints selected parts of each line. See cut(1).
//
// Synopsis:
//
//	cut -b LIST | -c LIST | -f LIST [-d DELIM] [-s] [FILE]...
//
// LIST is made of N, N-M, N- and -M, separated by commas, counted from one. -c counts bytes, as -b and as GNU cut.
package main

import (
	"bufio"
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"os"
	"strconv"
	"strings"
)

// A span is the positions first to last, both included.
type span struct{ first, last int }

type list []span

func (l list) has(n int) bool {
	for _, s := range l {
		if s.first <= n && n <= s.last {
			return true
		}
	}
	return false
}

func parseList(s string) (list, error) {
	var l list
	for part := range strings.SplitSeq(s, ",") {
		from, to, isRange := strings.Cut(part, "-")
		r := span{1, math.MaxInt}
		var err error
		if from != "" {
			if r.first, err = strconv.Atoi(from); err != nil || r.first < 1 {
				return nil, fmt.Errorf("bad list %q: %q is no position", s, from)
			}
		}
		switch {
		case !isRange:
			r.last = r.first
		case to != "":
			if r.last, err = strconv.Atoi(to); err != nil {
				return nil, fmt.Errorf("bad list %q: %q is no position", s, to)
			}
		}
		if part == "" || part == "-" || r.last < r.first {
			return nil, fmt.Errorf("bad list %q: %q is no range", s, part)
		}
		l = append(l, r)
	}
	return l, nil
}

type cutter struct {
	list    list
	fields  bool
	delim   byte
	onlyCut bool // -s: leave out lines without a delimiter
}

// line appends the selected part of one line to out and says whether the line is printed at all.
func (c cutter) line(out, line []byte) ([]byte, bool) {
	if !c.fields {
		for i, b := range line {
			if c.list.has(i + 1) {
				out = append(out, b)
			}
		}
		return out, true
	}
	if bytes.IndexByte(line, c.delim) < 0 {
		return append(out, line...), !c.onlyCut
	}
	wrote := false
	for n := 1; ; n++ {
		field, rest, more := bytes.Cut(line, []byte{c.delim})
		if c.list.has(n) {
			if wrote {
				out = append(out, c.delim)
			}
			out, wrote = append(out, field...), true
		}
		if !more {
			return out, true
		}
		line = rest
	}
}

func (c cutter) copy(w *bufio.Writer, r io.Reader) error {
	in := bufio.NewReader(r)
	var out []byte
	for {
		line, err := in.ReadBytes('\n')
		if len(line) > 0 {
			var show bool
			out, show = c.line(out[:0], bytes.TrimSuffix(line, []byte{'\n'}))
			if show {
				w.Write(out)
				if err := w.WriteByte('\n'); err != nil {
					return err
				}
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func run(stdin io.Reader, stdout io.Writer, args []string) error {
	f := flag.NewFlagSet("cut", flag.ContinueOnError)
	b := f.String("b", "", "select these bytes")
	ch := f.String("c", "", "select these characters (bytes)")
	fl := f.String("f", "", "select these fields")
	delim := f.String("d", "\t", "what stands between fields, one byte")
	only := f.Bool("s", false, "leave out lines without a delimiter")
	if err := f.Parse(split(args)); err != nil {
		return err
	}
	chosen := ""
	for _, s := range []string{*b, *ch, *fl} {
		if s != "" && chosen != "" {
			return errors.New("give only one of -b, -c and -f")
		}
		chosen += s
	}
	if chosen == "" {
		return errors.New("give a list with -b, -c or -f")
	}
	if len(*delim) != 1 {
		return fmt.Errorf("the delimiter %q is not one byte", *delim)
	}
	l, err := parseList(chosen)
	if err != nil {
		return err
	}
	c := cutter{list: l, fields: *fl != "", delim: (*delim)[0], onlyCut: *only}
	w := bufio.NewWriter(stdout)
	files := f.Args()
	if len(files) == 0 {
		files = []string{"-"}
	}
	for _, name := range files {
		if err := c.file(w, stdin, name); err != nil {
			w.Flush()
			return err
		}
	}
	return w.Flush()
}

func (c cutter) file(w *bufio.Writer, stdin io.Reader, name string) error {
	if name == "-" {
		return c.copy(w, stdin)
	}
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	return c.copy(w, f)
}

// split turns the usual -d: and -f1 into -d : and -f 1, which is what package flag reads.
func split(args []string) []string {
	var out []string
	for i, a := range args {
		if a == "--" || len(a) < 2 || a[0] != '-' {
			if a == "--" {
				return append(out, args[i:]...)
			}
			out = append(out, a)
			continue
		}
		if len(a) > 2 && strings.IndexByte("bcfd", a[1]) >= 0 {
			out = append(out, a[:2], a[2:])
			continue
		}
		out = append(out, a)
	}
	return out
}

func main() {
	if err := run(os.Stdin, os.Stdout, os.Args[1:]); err != nil {
		fmt.Fprintf(os.Stderr, "cut: %v\n", err)
		os.Exit(1)
	}
}
