// Command build makes goum's default initramfs: u-root's init, its shell and some eighty commands in one binary,
// and the few files that they expect.
//
//	go run . -o ../initramfs.cpio
//
// It is a module of its own so that u-root's dependencies stay out of goum's. What goes in is named in tools.go and
// base.go, at the versions of go.mod and go.sum; the output depends on these and on the Go toolchain only, byte for
// byte, and needs no network once the modules are there (GOPROXY=off).
//
// The archive is a plain one: it is meant to lie in goum's own read-only data, from where unpacking costs one copy
// of each byte, where decompression would cost tens of milliseconds at every boot.
package main

import (
	_ "embed"
	"flag"
	"fmt"
	"go/parser"
	"go/token"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path"
	"slices"
	"strconv"
	"syscall"

	"github.com/u-root/gobusybox/src/pkg/golang"
	"github.com/u-root/mkuimage/cpio"
	"github.com/u-root/mkuimage/uimage"
	"github.com/u-root/uio/llog"

	"goum.invalid/rootfs/build/alias"
)

//go:embed tools.go
var tools string

// commands returns the import paths in tools.go, sorted.
func commands() ([]string, error) {
	f, err := parser.ParseFile(token.NewFileSet(), "tools.go", tools, parser.ImportsOnly)
	if err != nil {
		return nil, err
	}
	var paths []string
	for _, i := range f.Imports {
		p, err := strconv.Unquote(i.Path.Value)
		if err != nil {
			return nil, err
		}
		paths = append(paths, p)
	}
	slices.Sort(paths)
	return paths, nil
}

// build writes the initramfs to the file out; temp is an empty directory.
func build(out, temp string) error {
	paths, err := commands()
	if err != nil {
		return err
	}
	records := base()
	for name, to := range alias.Table {
		if !slices.ContainsFunc(paths, func(p string) bool { return path.Base(p) == to[0] }) {
			return fmt.Errorf("alias %s stands for %s, which tools.go does not name", name, to[0])
		}
		records = append(records, cpio.Symlink("bbin/"+name, "bb"))
	}
	archive, err := cpio.ArchiveFromRecords(records)
	if err != nil {
		return err
	}
	log := llog.New(slog.LevelWarn, func(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) })
	return uimage.Create(log,
		uimage.WithTempDir(temp),
		uimage.WithReplaceEnv(golang.Default(
			golang.DisableCGO(),
			golang.WithGOOS("linux"),
			golang.WithGOARCH("amd64"),
			golang.WithBuildTag("grpcnotrace"), // keeps the linker's dead code elimination on
		)),
		uimage.WithBusyboxCommands(paths...),
		// Without inlining it is 1.1 MB smaller, and the shell takes 1.7 times as long for a loop.
		uimage.WithBusyboxBuildOpts(&golang.BuildOpts{EnableInlining: true}),
		uimage.WithBaseArchive(archive),
		uimage.WithInit("init"),
		uimage.WithSkipLDD(),
		uimage.WithCPIOOutput(out),
	)
}

// run reads the command line and builds; the output file appears only when it is whole.
func run(args []string, stderr io.Writer) error {
	f := flag.NewFlagSet("build", flag.ContinueOnError)
	f.SetOutput(stderr)
	out := f.String("o", "../initramfs.cpio", "the file to write")
	list := f.Bool("list", false, "print the names of all commands instead")
	if err := f.Parse(args); err != nil {
		return err
	}
	if f.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q", f.Arg(0))
	}
	if *list {
		return printNames(os.Stdout)
	}
	temp, err := os.MkdirTemp("", "goum-initramfs-") // some 100 MB: the sources of all commands, and the binary
	if err != nil {
		return err
	}
	defer os.RemoveAll(temp)
	// On a signal too; the compiler is in the foreground with us and ends by itself.
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	go func() {
		<-signals
		os.RemoveAll(temp)
		os.Exit(1)
	}()

	partial := *out + ".partial"
	defer os.Remove(partial) // of what was not renamed
	if err := build(partial, temp); err != nil {
		return err
	}
	if err := os.Chmod(partial, 0o644); err != nil {
		return err
	}
	return os.Rename(partial, *out)
}

func printNames(w io.Writer) error {
	paths, err := commands()
	if err != nil {
		return err
	}
	var names []string
	for _, p := range paths {
		names = append(names, path.Base(p))
	}
	for name := range alias.Table {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, n := range names {
		if _, err := fmt.Fprintln(w, n); err != nil {
			return err
		}
	}
	return nil
}

func main() {
	if err := run(os.Args[1:], os.Stderr); err != nil {
		fmt.Fprintf(os.Stderr, "initramfs: %v\n", err)
		os.Exit(1)
	}
}
