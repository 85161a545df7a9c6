// Package sys is the system call interface: one file per family, each with its handlers and its rows.
//
// A handler's signature is its whole description: the types of its arguments (args.go) decode the registers, print themselves in
// a trace, and together with the row fill docs/compatibility.md, so that no second table can drift. A handler is thin: it decodes,
// checks in Linux's order, and makes one call into the subsystem that owns the matter. What is not there is a row too, with the
// errno that Linux gives where the call is configured out, and the reason.
//
// Invariants:
//   - Every number of x86-64 Linux has exactly one row; a number twice in one literal does not compile, and New rejects it
//     across files.
//   - No handler copies from or to guest memory, or sleeps, with a lock held.
//   - No handler names the joined table: Go would call that an initialisation cycle.
//   - Dispatch allocates nothing and finds a row by its number alone.
//
// Locks: none of its own. The counters of a Table are atomic.
package sys

import (
	"fmt"
	"io"
	"sync/atomic"

	"goum/arch/abi"
	"goum/arch/x86"
	"goum/kernel/task"
)

// MaxCall is one more than the largest number that has a row.
const MaxCall = abi.SYS_RSEQ_SLICE_YIELD + 1

// x32Bit marks a number of the x32 ABI, which this kernel is built without (CONFIG_X86_X32_ABI=n): ENOSYS.
const x32Bit = 0x40000000

// Args are the six argument registers of a call: rdi, rsi, rdx, r10, r8, r9. A struct, not an array: Go passes it in registers.
type Args struct{ A, B, C, D, E, F uint64 }

// Call is a row of the table.
type Call struct {
	Name string
	Do   func(t *task.Task, a Args) (uint64, abi.Errno) // nil: the call is absent

	args    []shower  // how each argument prints itself
	partial string    // what is missing, "" for nothing
	errno   abi.Errno // of an absent call
	reason  string    // why it is absent
	hex     bool      // the result is an address
}

// shower prints one argument; out says that it can be read after the call only.
type shower struct {
	show func(tr *Tracer, raw uint64)
	out  bool
}

// Calls is a family's rows, by number.
type Calls map[uint16]Call

// Partial says in a few words what the call lacks, for docs/compatibility.md.
func (c Call) Partial(text string) Call {
	c.partial = text
	return c
}

// Hex says that the result is an address, for traces.
func (c Call) Hex() Call {
	c.hex = true
	return c
}

// Absent is the row of a call that is not there: it answers errno and is counted.
func Absent(name string, errno abi.Errno, reason string) Call {
	return Call{Name: name, errno: errno, reason: reason}
}

func show[A Arg](tr *Tracer, raw uint64) { A(raw).Show(tr) }

func arg[A Arg]() shower {
	_, out := any(A(0)).(interface{ afterCall() })
	return shower{show[A], out}
}

// Def0 to Def6 make a row from a handler with as many arguments.
func Def0(name string, do func(*task.Task) (uint64, abi.Errno)) Call {
	return Call{Name: name, Do: func(t *task.Task, _ Args) (uint64, abi.Errno) { return do(t) }}
}

// Def1 is Def0 for one argument.
func Def1[A Arg](name string, do func(*task.Task, A) (uint64, abi.Errno)) Call {
	return Call{Name: name, args: []shower{arg[A]()},
		Do: func(t *task.Task, r Args) (uint64, abi.Errno) { return do(t, A(r.A)) }}
}

// Def2 is Def0 for two arguments.
func Def2[A, B Arg](name string, do func(*task.Task, A, B) (uint64, abi.Errno)) Call {
	return Call{Name: name, args: []shower{arg[A](), arg[B]()},
		Do: func(t *task.Task, r Args) (uint64, abi.Errno) { return do(t, A(r.A), B(r.B)) }}
}

// Def3 is Def0 for three arguments.
func Def3[A, B, C Arg](name string, do func(*task.Task, A, B, C) (uint64, abi.Errno)) Call {
	return Call{Name: name, args: []shower{arg[A](), arg[B](), arg[C]()},
		Do: func(t *task.Task, r Args) (uint64, abi.Errno) { return do(t, A(r.A), B(r.B), C(r.C)) }}
}

// Def4 is Def0 for four arguments.
func Def4[A, B, C, D Arg](name string, do func(*task.Task, A, B, C, D) (uint64, abi.Errno)) Call {
	return Call{Name: name, args: []shower{arg[A](), arg[B](), arg[C](), arg[D]()},
		Do: func(t *task.Task, r Args) (uint64, abi.Errno) { return do(t, A(r.A), B(r.B), C(r.C), D(r.D)) }}
}

// Def5 is Def0 for five arguments.
func Def5[A, B, C, D, E Arg](name string, do func(*task.Task, A, B, C, D, E) (uint64, abi.Errno)) Call {
	return Call{Name: name, args: []shower{arg[A](), arg[B](), arg[C](), arg[D](), arg[E]()},
		Do: func(t *task.Task, r Args) (uint64, abi.Errno) { return do(t, A(r.A), B(r.B), C(r.C), D(r.D), E(r.E)) }}
}

// Def6 is Def0 for six arguments.
func Def6[A, B, C, D, E, F Arg](name string, do func(*task.Task, A, B, C, D, E, F) (uint64, abi.Errno)) Call {
	return Call{Name: name, args: []shower{arg[A](), arg[B](), arg[C](), arg[D](), arg[E](), arg[F]()},
		Do: func(t *task.Task, r Args) (uint64, abi.Errno) {
			return do(t, A(r.A), B(r.B), C(r.C), D(r.D), E(r.E), F(r.F))
		}}
}

// families are the maps that New joins. A function, not a variable: handlers may then refer to what initialises late.
func families() []Calls {
	return []Calls{
		rwCalls, fileCalls, pathCalls, attrCalls, moveCalls, mountCalls, memoryCalls, processCalls, credCalls, schedCalls,
		signalCalls, futexCalls, timeCalls, timerCalls, pollCalls, ipcCalls, netCalls, miscCalls, absentCalls,
	}
}

// counterShards spreads the counters, so that two vCPUs rarely write to one cache line.
const counterShards = 4

// Table is the joined table with its counters; one per machine.
//
// Immutable after New: calls. Atomic: the counters, written by Dispatch.
type Table struct {
	calls   [MaxCall]Call
	counts  [counterShards][MaxCall + 1]atomic.Uint64 // the last: numbers without a row
	unknown [64]unknownCount
}

// unknownCount counts one number that has no row. Key is number+1; the 64 slots bound what a guest that tries every number costs
// us, and what does not fit is counted in the sum only.
type unknownCount struct{ key, n atomic.Uint64 }

// New joins the families. A duplicate or a number out of range is a mistake of ours, found by any test that boots: it panics.
func New() *Table { return join(families()...) }

func join(families ...Calls) *Table {
	tb := new(Table)
	for _, f := range families {
		for nr, c := range f {
			switch {
			case int(nr) >= MaxCall:
				panic(fmt.Sprintf("sys: %s: number %d is not below MaxCall", c.Name, nr))
			case tb.calls[nr].Name != "":
				panic(fmt.Sprintf("sys: number %d is both %s and %s", nr, tb.calls[nr].Name, c.Name))
			}
			tb.calls[nr] = c
		}
	}
	return tb
}

// Dispatch runs the call whose number is in r.OrigRax with the arguments in r, and returns its result. It does not touch r: the
// trap loop stores the result, or restarts the call.
func (tb *Table) Dispatch(t *task.Task, r *x86.Regs) (uint64, abi.Errno) {
	nr := uint32(r.Call())
	if nr >= MaxCall {
		return tb.noRow(t, nr)
	}
	c := &tb.calls[nr]
	if c.Do == nil && c.Name == "" {
		return tb.noRow(t, nr)
	}
	tb.counts[shardOf(t)][nr].Add(1)
	if c.Do == nil {
		return 0, c.errno
	}
	return c.Do(t, Args{r.RDI, r.RSI, r.RDX, r.R10, r.R8, r.R9})
}

func shardOf(t *task.Task) uint32 { return uint32(t.TID) % counterShards }

// noRow counts a number without a row. x32's numbers are among them.
func (tb *Table) noRow(t *task.Task, nr uint32) (uint64, abi.Errno) {
	tb.counts[shardOf(t)][MaxCall].Add(1)
	key := uint64(nr) + 1
	for i := range tb.unknown {
		u := &tb.unknown[i]
		k := u.key.Load()
		if k == 0 && u.key.CompareAndSwap(0, key) {
			k = key
		} else if k == 0 {
			k = u.key.Load()
		}
		if k == key {
			u.n.Add(1)
			break
		}
	}
	return 0, abi.ENOSYS
}

// Name returns the name of a number ("read", or "x32:0", "syscall_500").
func (tb *Table) Name(nr uint32) string {
	switch {
	case nr < MaxCall && tb.calls[nr].Name != "":
		return tb.calls[nr].Name
	case nr&x32Bit != 0:
		return fmt.Sprintf("x32:%d", nr&^x32Bit)
	}
	return fmt.Sprintf("syscall_%d", nr)
}

// Call returns the row of a number, or nil.
func (tb *Table) Call(nr uint32) *Call {
	if nr >= MaxCall || tb.calls[nr].Name == "" {
		return nil
	}
	return &tb.calls[nr]
}

// Stat is one counter.
type Stat struct {
	Name string
	N    uint64
}

// Stats returns the counters that --stats prints: "syscalls", then "enosys.NAME" for each call that was asked for and is missing,
// by number.
func (tb *Table) Stats() []Stat {
	var total uint64
	var missing []Stat
	for nr := range MaxCall + 1 {
		n := tb.Count(uint32(nr))
		total += n
		if n != 0 && nr < MaxCall && tb.calls[nr].Do == nil && tb.calls[nr].Name != "" {
			missing = append(missing, Stat{"enosys." + tb.calls[nr].Name, n})
		}
	}
	for i := range tb.unknown {
		if k := tb.unknown[i].key.Load(); k != 0 {
			missing = append(missing, Stat{"enosys." + tb.Name(uint32(k-1)), tb.unknown[i].n.Load()})
		}
	}
	return append([]Stat{{"syscalls", total}}, missing...)
}

// Count returns how often a number was called; MaxCall: how often a number without a row.
func (tb *Table) Count(nr uint32) uint64 {
	var n uint64
	if nr > MaxCall {
		return 0
	}
	for s := range tb.counts {
		n += tb.counts[s][nr].Load()
	}
	return n
}

// WriteCompatibility writes the list of calls of docs/compatibility.md, in Markdown.
func (tb *Table) WriteCompatibility(w io.Writer) error {
	var whole, partial, absent int
	for nr := range tb.calls {
		switch c := &tb.calls[nr]; {
		case c.Name == "":
		case c.Do == nil:
			absent++
		case c.partial != "":
			partial++
		default:
			whole++
		}
	}
	if _, err := fmt.Fprintf(w, "%d calls are implemented, %d in part, %d are absent.\n\n| number | call | state |\n|---:|---|---|\n", whole, partial, absent); err != nil {
		return err
	}
	for nr := range tb.calls {
		c := &tb.calls[nr]
		state := "implemented"
		switch {
		case c.Name == "":
			continue
		case c.Do == nil:
			state = fmt.Sprintf("absent, %s: %s", c.errno.Name(), c.reason)
		case c.partial != "":
			state = "partial: " + c.partial
		}
		if _, err := fmt.Fprintf(w, "| %d | %s | %s |\n", nr, c.Name, state); err != nil {
			return err
		}
	}
	return nil
}
