// Package alias lets the one binary of the initramfs answer to more names than it has commands.
//
// A busybox made by gobusybox finds the command by the last part of argv[0], so a link named sh to gosh works
// when it is called by its path (/bin/sh is followed), but not when a shell found it in PATH and passes "sh".
// The initialisation of this package runs before that look-up and puts the command and its first arguments in the
// place of the alias: no second exec, no script.
//
// The package is linked in because a command of ours imports it; nothing else refers to it.
package alias

import (
	"os"
	"path/filepath"
)

// Table gives, for each alias, the command that it stands for and the arguments that come first.
var Table = map[string][]string{
	"groups":    {"id", "-G", "-n"},
	"gunzip":    {"gzip", "-d"},
	"halt":      {"shutdown", "halt"},
	"nc":        {"netcat"},
	"reboot":    {"shutdown", "reboot"},
	"sh":        {"gosh"},
	"sha1sum":   {"shasum", "-a", "1"},
	"sha256sum": {"shasum", "-a", "256"},
	"sha512sum": {"shasum", "-a", "512"},
	"zcat":      {"gzip", "-d", "-c", "-f"}, // without -f this gzip does not read standard input
}

// A login shell has a dash before its name (login(1)), which is no part of the alias.
func init() {
	if len(os.Args) > 0 {
		os.Args = Resolve(os.Args)
	}
}

// Resolve returns args with an alias in args[0] replaced. args has at least one element.
func Resolve(args []string) []string {
	name := filepath.Base(args[0])
	if name == "-sh" || name == "-gosh" {
		name = "sh"
	}
	to, ok := Table[name]
	if !ok {
		return args
	}
	return append(append([]string(nil), to...), args[1:]...)
}
