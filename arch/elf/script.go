package elf

import (
	"bytes"

	"goum/arch/abi"
)

// Script is a #! line.
type Script struct {
	Interp string
	Arg    string // the rest of the line, one argument, if HasArg
	HasArg bool
}

// ParseScript reads the #! line of a file that begins with head; of head no more than ScriptHead bytes count. As in Linux's
// load_script, the line ends at a newline, a NUL or the end of head; an argument may be cut off there, a path may not.
//
// ENOEXEC: no #! line, no path, or one too long. EACCES: an empty path, before a NUL, which names the working directory.
//
// The caller then runs Interp with the arguments Interp, Arg, the script's name, and its own ones from 1 on; no more than
// MaxInterps times (ELOOP).
func ParseScript(head []byte) (Script, abi.Errno) {
	if len(head) < 2 || head[0] != '#' || head[1] != '!' {
		return Script{}, abi.ENOEXEC
	}
	// As Linux does, see the file as ScriptHead bytes with zeros behind its end.
	var buf [ScriptHead]byte
	copy(buf[:], head)

	end := bytes.IndexAny(buf[:], "\n\x00")
	if end >= 0 && buf[end] != '\n' {
		end = -1 // a newline behind a NUL does not count
	}
	if end < 0 {
		first := skipSpace(buf[:], 2)
		if first == len(buf) || terminator(buf[:], first) == len(buf) {
			return Script{}, abi.ENOEXEC // nothing but spaces; or a path that may have been cut off
		}
		end = len(buf) - 1
	}
	for isSpace(buf[end-1]) { // ends at the '!' if not before
		end--
	}
	line := buf[:end]
	name := skipSpace(line, 2)
	if name >= end {
		return Script{}, abi.ENOEXEC
	}
	sep := terminator(line, name)
	if name == sep {
		return Script{}, abi.EACCES
	}
	s := Script{Interp: string(line[name:sep])}
	if sep < end && line[sep] != 0 {
		// Spaces at the end are gone, so there is an argument; it may be empty if a NUL follows the spaces.
		s.Arg, s.HasArg = cString(line[skipSpace(line, sep):]), true
	}
	return s, 0
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' }

// skipSpace is the index of the first byte of b from i on that is no space; len(b) if there is none.
func skipSpace(b []byte, i int) int {
	for i < len(b) && isSpace(b[i]) {
		i++
	}
	return i
}

// terminator is the index of the first space or NUL of b from i on; len(b) if there is none.
func terminator(b []byte, i int) int {
	for i < len(b) && !isSpace(b[i]) && b[i] != 0 {
		i++
	}
	return i
}
