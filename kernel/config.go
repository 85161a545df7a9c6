package kernel

import (
	"io"

	"goum/arch/abi"
)

// Archive is an initramfs: any archive that package cpio reads.
type Archive struct {
	Name string // for messages
	Data []byte
}

// Stream is one of the command's standard streams that is no terminal.
type Stream struct {
	In  io.Reader // of standard input
	Out io.Writer // of the others
}

// Config is what a machine is built from.
type Config struct {
	Archives []Archive // unpacked in this order into the root file system, each over the ones before; then their Data is dropped
	Append   string    // the kernel command line
	Memory   int64     // bytes
	CPUs     int

	// Command runs as the only session instead of /init, with proc, sys, dev and pts mounted; empty: /init.
	Command []string
	Env     []string

	// The console: what the user types, where output goes, whether that is a terminal, and how large it is. Quit is called for
	// Ctrl-A x; nil: Ctrl-A is a key like any other.
	In       io.Reader
	Out      io.Writer
	Terminal bool
	Size     abi.Winsize
	Quit     func()

	// Streams take the console's place as standard input, output and error of Command, where one is not nil.
	Streams [3]*Stream

	// Log is called for each line of the guest's kernel log; level is syslog's. May be nil.
	Log func(level int, line string)
}
