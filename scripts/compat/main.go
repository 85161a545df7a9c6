// Command compat prints docs/compatibility.md: what each system call of x86-64 Linux is in goum, from the table that dispatches them.
//
// "make fmt" writes the file; scripts/docs_test.go fails when it was not run.
package main

import (
	"bufio"
	"fmt"
	"io"
	"os"

	"goum/kernel/sys"
)

const intro = `# System calls

What each system call of x86-64 Linux is here. This page is made from the kernel's own table (kernel/sys, by ` + "`make fmt`" + `): change the
rows there. A call that is absent returns the error shown and is counted: ` + "`goum boot --stats`" + ` prints ` + "`enosys.NAME`" + ` for each that
a guest asked for.

`

func main() {
	if err := write(os.Stdout); err != nil {
		fmt.Fprintf(os.Stderr, "compat: %v\n", err)
		os.Exit(1)
	}
}

func write(w io.Writer) error {
	b := bufio.NewWriter(w)
	b.WriteString(intro)
	if err := sys.New().WriteCompatibility(b); err != nil {
		return err
	}
	return b.Flush()
}
