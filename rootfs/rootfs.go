// Package rootfs finds the default initramfs: what a guest boots when its user names no other.
//
// rootfs/build, a module of its own, makes it from u-root; package cpio reads it. A goum that is built with the tag
// "initramfs", as make does, carries it; any other goum looks for it beside its own executable. So the packages build
// and pass vet on a clone where it has not been made yet.
//
// The package keeps no state.
package rootfs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// MaxFile is the largest file in bytes that Default reads. The initramfs has 11 MB; something far larger beside the
// executable is something else. Beyond it: an error.
const MaxFile = 256 << 20

// names are the files that Default looks for beside the executable.
var names = []string{"initramfs.cpio", "goum.cpio"}

// ErrMissing says that there is no default initramfs, and what to do.
var ErrMissing = errors.New("this goum has no initramfs built in: build it with make, put initramfs.cpio beside it, or pass --initrd")

// Default returns the default initramfs, which must not be changed: a built-in one lies in the program's own data,
// of which the host reads pages only when they are touched. It is ErrMissing or says why a file cannot be read.
func Default() ([]byte, error) {
	if len(embedded) > 0 {
		return embedded, nil
	}
	exe, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("looking for the initramfs beside goum: %w", err)
	}
	// A link to goum in some bin directory is common; the initramfs lies beside the file itself.
	if real, err := filepath.EvalSymlinks(exe); err == nil {
		exe = real
	}
	return beside(exe)
}

// beside looks for the initramfs in the directory of exe.
func beside(exe string) ([]byte, error) {
	for _, name := range names {
		data, err := read(filepath.Join(filepath.Dir(exe), name))
		if !errors.Is(err, fs.ErrNotExist) {
			return data, err
		}
	}
	return nil, ErrMissing
}

func read(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s: not a regular file", path)
	case info.Size() > MaxFile:
		return nil, fmt.Errorf("%s: larger than %d bytes", path, MaxFile)
	}
	data := make([]byte, info.Size())
	if _, err := io.ReadFull(f, data); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return data, nil
}
