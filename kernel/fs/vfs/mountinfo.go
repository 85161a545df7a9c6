package vfs

import (
	"fmt"
	"slices"
	"strings"

	"goum/arch/abi"
)

// MountLine is what /proc/PID/mountinfo says of one mount.
type MountLine struct {
	ID, Parent   int
	Dev          uint64
	Root, Point  string
	Options      string // of the mount: "rw,relatime"
	Peer, Master int
	Unbindable   bool
	Type, Source string
	SuperOptions string // of the file system: "rw,size=1024k"
}

// MountLines lists the mounts that can be seen from root, parents first.
func MountLines(root Location) []MountLine {
	if root.Mount == nil {
		return nil
	}
	s := root.Mount.sys
	s.mu.Lock()
	ns := root.Mount.ns
	var all []*Mount
	if ns != nil {
		all = ns.root.tree()
	}
	s.mu.Unlock()
	slices.SortStableFunc(all, func(a, b *Mount) int { return a.ID - b.ID })
	var lines []MountLine
	for _, m := range all {
		s.mu.Lock()
		l := MountLine{ID: m.ID, Parent: m.ID, Dev: m.super.Dev, Peer: m.peer, Master: m.master, Unbindable: m.unbindable}
		if m.parent != nil {
			l.Parent = m.parent.ID
		}
		s.mu.Unlock()
		p, reached, _ := m.Root().path(root)
		if !reached {
			continue // outside of a chroot
		}
		l.Point = p
		l.Root, _, _ = Location{nil, m.root}.path(Location{})
		l.Options = options(m.Flags())
		l.Type, l.Source = m.super.Type, m.Source
		l.SuperOptions = "rw"
		if m.super.ReadOnly() {
			l.SuperOptions = "ro"
		}
		if f := m.super.flags.Load(); f&abi.MS_SYNCHRONOUS != 0 {
			l.SuperOptions += ",sync"
		}
		if o, ok := m.super.FS.(Optioner); ok {
			l.SuperOptions += o.Options()
		}
		lines = append(lines, l)
	}
	return lines
}

// options are the words for a mount's flags, in Linux's order.
func options(f uint32) string {
	o := "rw"
	if f&abi.MS_RDONLY != 0 {
		o = "ro"
	}
	for _, w := range [...]struct {
		flag uint32
		word string
	}{{abi.MS_NOSUID, "nosuid"}, {abi.MS_NODEV, "nodev"}, {abi.MS_NOEXEC, "noexec"}, {abi.MS_NOATIME, "noatime"},
		{abi.MS_NODIRATIME, "nodiratime"}, {abi.MS_RELATIME, "relatime"}, {abi.MS_NOSYMFOLLOW, "nosymfollow"}} {
		if f&w.flag != 0 {
			o += "," + w.word
		}
	}
	return o
}

var mangler = strings.NewReplacer(" ", `\040`, "\t", `\011`, "\n", `\012`, `\`, `\134`, "#", `\043`)

// Info is the line of /proc/PID/mountinfo, with its newline.
func (l *MountLine) Info() string {
	var tags string
	if l.Peer != 0 {
		tags += fmt.Sprintf("shared:%d ", l.Peer)
	}
	if l.Master != 0 {
		tags += fmt.Sprintf("master:%d ", l.Master)
	}
	if l.Unbindable {
		tags += "unbindable "
	}
	return fmt.Sprintf("%d %d %d:%d %s %s %s %s- %s %s %s\n", l.ID, l.Parent, abi.Major(l.Dev), abi.Minor(l.Dev), mangler.Replace(l.Root),
		mangler.Replace(l.Point), l.Options, tags, l.Type, mangler.Replace(l.Source), l.SuperOptions)
}

// Mounts is the line of /proc/PID/mounts, with its newline.
func (l *MountLine) Mounts() string {
	both := l.Options
	ro := strings.HasPrefix(l.SuperOptions, "ro") || strings.HasPrefix(l.Options, "ro")
	if ro {
		both = "ro" + both[2:]
	} else {
		both = "rw" + both[2:]
	}
	if len(l.SuperOptions) > 2 {
		both = both[:2] + l.SuperOptions[2:] + both[2:]
	}
	return fmt.Sprintf("%s %s %s %s 0 0\n", mangler.Replace(l.Source), mangler.Replace(l.Point), l.Type, both)
}

// Mountstats is the line of /proc/PID/mountstats.
func (l *MountLine) Mountstats() string {
	return fmt.Sprintf("device %s mounted on %s with fstype %s\n", mangler.Replace(l.Source), mangler.Replace(l.Point), l.Type)
}
