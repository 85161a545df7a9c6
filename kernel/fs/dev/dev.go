// Package dev is /dev: the simple character devices, and devtmpfs, in which every device has its name.
//
// A device is a Row: name, numbers, mode, and who opens it. Packages that own devices (tty, console) register their openers
// themselves; a Row without an opener only gives such a device its name. devtmpfs is a file system like tmpfs, one for the whole
// machine however often it is mounted, which guests may change as they like.
//
// Invariants: the devices keep no state that a guest can grow. Locks: none.
package dev

import (
	"goum/arch/abi"
	"goum/kernel/cred"
	"goum/kernel/fs/vfs"
	"goum/kernel/klog"
)

// Row is a character device, or with Target a symbolic link, or with Mode's type a directory.
type Row struct {
	Name         string // below /dev, in a directory that an earlier Row made
	Major, Minor uint32
	Mode         uint32     // permission bits; with S_IFDIR: a directory
	Open         vfs.Opener // nil: registered by somebody else
	Target       string     // of a symbolic link
}

// Numbers of terminals that have fixed names.
const (
	memMajor = 1
	auxMajor = 5
)

// Random fills p with random bytes.
type Random func(p []byte)

// Rows are the devices that every machine has. Consoles add their own.
func Rows(log *klog.Log, random Random) []Row {
	r := &randomDevice{fill: random}
	rows := []Row{
		{Name: "null", Major: memMajor, Minor: 3, Mode: 0o666, Open: openAs(null{})},
		{Name: "zero", Major: memMajor, Minor: 5, Mode: 0o666, Open: openAs(zero{})},
		{Name: "full", Major: memMajor, Minor: 7, Mode: 0o666, Open: openAs(full{})},
		{Name: "random", Major: memMajor, Minor: 8, Mode: 0o666, Open: openAs(r)},
		{Name: "urandom", Major: memMajor, Minor: 9, Mode: 0o666, Open: openAs(r)},
		{Name: "kmsg", Major: memMajor, Minor: 11, Mode: 0o644, Open: log.OpenKmsg},
		{Name: "tty", Major: auxMajor, Minor: 0, Mode: 0o666},
		{Name: "console", Major: auxMajor, Minor: 1, Mode: 0o600},
		{Name: "ptmx", Major: auxMajor, Minor: 2, Mode: 0o666},
		{Name: "pts", Mode: abi.S_IFDIR | 0o755},
		{Name: "shm", Mode: abi.S_IFDIR | abi.S_ISVTX | 0o777},
		{Name: "fd", Target: "/proc/self/fd"},
		{Name: "stdin", Target: "/proc/self/fd/0"},
		{Name: "stdout", Target: "/proc/self/fd/1"},
		{Name: "stderr", Target: "/proc/self/fd/2"},
	}
	return rows
}

// openAs is the Opener of a device without state.
func openAs(f vfs.File) vfs.Opener {
	return func(*vfs.Caller, uint32, vfs.Location) (vfs.File, abi.Errno) { return f, 0 }
}

// Register makes the devices of rows known by their numbers, and base, an empty file system such as tmpfs, the machine's
// devtmpfs, in which all rows have their names.
func Register(sys *vfs.System, base *vfs.Super, rows []Row) abi.Errno {
	base.Type = "devtmpfs"
	c := &vfs.Caller{Cred: cred.Root()}
	for _, r := range rows {
		if r.Open != nil {
			vfs.RegisterChar(sys, r.Major, r.Minor, r.Open)
		}
		if e := Add(c, base, r); e != 0 {
			return e
		}
	}
	sys.Register(vfs.Type{Name: "devtmpfs", Nodev: true,
		Mount: func(*vfs.Caller, string, uint32, string) (*vfs.Super, abi.Errno) { return base, 0 }})
	return 0
}

// Add gives a device its name in base, before base is mounted. ENOENT: its directory is not there.
func Add(c *vfs.Caller, base *vfs.Super, r Row) abi.Errno {
	dir, name := base.Root().Node(), r.Name
	for i := 0; i < len(name); i++ {
		if name[i] == '/' {
			d, ok := dir.(vfs.Dir)
			if !ok {
				return abi.ENOTDIR
			}
			sub, e := d.Lookup(c, name[:i])
			if e != 0 {
				return e
			}
			dir, name, i = sub, name[i+1:], -1
		}
	}
	m := vfs.Making{Mode: abi.S_IFCHR | r.Mode&0o7777, Rdev: abi.Makedev(r.Major, r.Minor)}
	switch {
	case r.Target != "":
		m = vfs.Making{Mode: abi.S_IFLNK | 0o777, Target: r.Target}
	case r.Mode&abi.S_IFMT == abi.S_IFDIR:
		m = vfs.Making{Mode: r.Mode}
	}
	mk, ok := dir.(vfs.Maker)
	if !ok {
		return abi.EPERM
	}
	_, e := mk.Make(c, name, m)
	return e
}
