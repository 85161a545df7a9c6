package vfs

import (
	"strings"

	"goum/arch/abi"
)

// Path is where l is, seen from root: d_path. What was removed ends in " (deleted)"; a file without a directory shows its text; from
// outside of root the path starts at the top of its mounts.
func (l Location) Path(root Location) string {
	p, _, deleted := l.path(root)
	if deleted {
		p += " (deleted)"
	}
	return p
}

// path is the bare path; reached says whether it goes up to root, deleted whether the name was removed.
func (l Location) path(root Location) (p string, reached, deleted bool) {
	if l.Dentry == nil {
		return "", false, false
	}
	if l.Dentry.text != "" {
		return l.Dentry.text, true, false
	}
	var parts []string
	deleted = l.Dentry.Unlinked()
	for range maxDepth {
		if l == root {
			reached = true
			break
		}
		if l.Mount != nil && l.Dentry == l.Mount.root {
			o, ok := l.over()
			if !ok {
				break
			}
			l = o
			continue
		}
		s := l.Dentry.super
		s.names.Lock()
		name, up := l.Dentry.name, l.Dentry.parent
		s.names.Unlock()
		if up == l.Dentry {
			break
		}
		parts = append(parts, name)
		l.Dentry = up
	}
	if len(parts) == 0 {
		return "/", reached, deleted
	}
	var b strings.Builder
	for i := len(parts) - 1; i >= 0; i-- {
		b.WriteByte('/')
		b.WriteString(parts[i])
	}
	return b.String(), reached, deleted
}

// Getcwd is getcwd(2): ENOENT (removed). What lies outside the root begins with "(unreachable)".
func (c *Caller) Getcwd() (string, abi.Errno) {
	p, reached, deleted := c.Cwd().path(c.Root())
	switch {
	case deleted:
		return "", abi.ENOENT
	case !reached:
		return "(unreachable)" + p, 0
	}
	return p, 0
}

// PathOf is l's path as the caller sees it: /proc/PID/fd, cwd, exe.
func (c *Caller) PathOf(l Location) string { return l.Path(c.Root()) }
