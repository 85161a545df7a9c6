package vfs

import (
	"strings"

	"goum/arch/abi"
)

// How says what a walk does.
type How uint32

// The ways of a walk. Resolve flags of openat2(2) are How bits too: see Resolve.
const (
	Follow   How = 1 << iota // a symbolic link at the end is followed
	Empty                    // "" means where the walk starts: AT_EMPTY_PATH
	NeedDir                  // the end must be a directory: ENOTDIR
	noXdev                   // RESOLVE_NO_XDEV: EXDEV
	noMagic                  // RESOLVE_NO_MAGICLINKS: ELOOP
	noLinks                  // RESOLVE_NO_SYMLINKS: ELOOP
	beneath                  // RESOLVE_BENEATH: EXDEV
	inRoot                   // RESOLVE_IN_ROOT
	cached                   // RESOLVE_CACHED: EAGAIN
	toParent                 // stop before the last component
)

// Resolve turns openat2(2)'s resolve bits into How. They are checked already.
func Resolve(r uint64) How {
	var h How
	for bit, how := range map[uint64]How{abi.RESOLVE_NO_XDEV: noXdev, abi.RESOLVE_NO_MAGICLINKS: noMagic, abi.RESOLVE_NO_SYMLINKS: noLinks | noMagic,
		abi.RESOLVE_BENEATH: beneath, abi.RESOLVE_IN_ROOT: inRoot, abi.RESOLVE_CACHED: cached} {
		if r&bit != 0 {
			h |= how
		}
	}
	return h
}

// What kind the last component of a path is.
type lastKind uint8

const (
	lastNorm lastKind = iota
	lastRoot          // nothing but slashes
	lastDot
	lastDotDot
)

// last is the last component of a path, which was not walked.
type last struct {
	name    string
	kind    lastKind
	slashes bool // the path goes on with slashes after it
}

// walker is one walk.
type walker struct {
	c     *Caller
	how   How
	root  Location
	start Location // for beneath
	cur   Location
	links int
	last  last

	rooted bool // root counts for noXdev: Linux looks at it only once the walk needed it
}

// Walk finds path from at (zero: the working directory), as Linux's path_lookupat. Beside what the file systems say: ENOENT
// (also for an empty path), ENOTDIR, EACCES, ELOOP, ENAMETOOLONG; EXDEV and EAGAIN with Resolve.
func (c *Caller) Walk(at Location, path string, how How) (Location, abi.Errno) {
	w := walker{c: c, how: how &^ toParent}
	if e := w.run(at, path); e != 0 {
		return Location{}, e
	}
	return w.cur, 0
}

// walkParent finds the directory of the last component of path.
func (c *Caller) walkParent(at Location, path string, how How) (Location, last, abi.Errno) {
	w := walker{c: c, how: how | toParent}
	if e := w.run(at, path); e != 0 {
		return Location{}, last{}, e
	}
	return w.cur, w.last, 0
}

func (w *walker) run(at Location, path string) abi.Errno {
	if len(path) >= abi.PATH_MAX {
		return abi.ENAMETOOLONG
	}
	if path == "" && w.how&Empty == 0 {
		return abi.ENOENT
	}
	w.root = w.c.Root()
	if at == (Location{}) {
		at = w.c.Cwd()
	}
	if w.how&inRoot != 0 {
		w.root = at
	}
	w.start, w.cur = at, at
	w.rooted = w.how&(inRoot|beneath) != 0
	if strings.HasPrefix(path, "/") {
		if w.how&beneath != 0 {
			return abi.EXDEV
		}
		w.cur, w.rooted = w.root, true
	} else if path != "" {
		if !isDir(w.cur.Node()) {
			return abi.ENOTDIR
		}
	}
	if e := w.walk(path); e != 0 {
		return e
	}
	if w.how&(NeedDir|toParent) == NeedDir && !isDir(w.cur.Node()) {
		return abi.ENOTDIR
	}
	return 0
}

// jumpRoot goes to the root, for an absolute link.
func (w *walker) jumpRoot() abi.Errno {
	if w.how&noXdev != 0 && (!w.rooted || w.cur.Mount != w.root.Mount) {
		return abi.EXDEV
	}
	w.cur, w.rooted = w.root, true
	return 0
}

// walk goes along path from cur. The rests of paths that links interrupt lie on a small stack.
func (w *walker) walk(path string) abi.Errno {
	var rests [abi.MAXSYMLINKS]string
	depth := 0
	w.last.kind = lastRoot
	for {
		path = strings.TrimLeft(path, "/")
		if path == "" {
			if depth == 0 {
				return 0
			}
			depth--
			path = rests[depth] // begins with a slash
			if !isDir(w.cur.Node()) {
				return abi.ENOTDIR
			}
			continue
		}
		n, e := w.c.attrOf(w.cur)
		if e != 0 {
			return e
		}
		if !n.IsDir() {
			return abi.ENOTDIR
		}
		if e := w.c.permit(w.cur.Dentry.super, w.cur.Node(), &n, MayExec); e != 0 {
			return e
		}
		name, rest := path, ""
		if i := strings.IndexByte(path, '/'); i >= 0 {
			name, rest = path[:i], path[i:]
		}
		trailing := rest != ""
		more := strings.TrimLeft(rest, "/") != ""
		final := !more && depth == 0
		kind := lastNorm
		switch name {
		case ".":
			kind = lastDot
		case "..":
			kind = lastDotDot
		}
		if final && w.how&toParent != 0 {
			w.last = last{name, kind, trailing}
			return 0
		}
		switch kind {
		case lastDot:
			path = rest
			continue
		case lastDotDot:
			if e := w.up(); e != 0 {
				return e
			}
			path = rest
			continue
		}
		next, e := w.step(name)
		if e != 0 {
			return e
		}
		if next.Dentry.node == nil {
			return abi.ENOENT
		}
		link, islink := w.asLink(next)
		if islink && (!final || trailing || w.how&Follow != 0) {
			if final {
				if e := w.c.mayFollow(w.cur, next); e != 0 {
					return e
				}
			}
			target, jumped, e := w.follow(next, link)
			if e != 0 {
				return e
			}
			if jumped {
				path = rest
				if trailing && !isDir(w.cur.Node()) {
					return abi.ENOTDIR
				}
				continue
			}
			if rest != "" {
				if depth == len(rests) {
					return abi.ELOOP
				}
				rests[depth] = rest
				depth++
			}
			if strings.HasPrefix(target, "/") {
				if w.how&beneath != 0 {
					return abi.EXDEV
				}
				if e := w.jumpRoot(); e != 0 {
					return e
				}
			}
			path = target
			continue
		}
		if w.how&noXdev != 0 && next.Mount != w.cur.Mount {
			return abi.EXDEV
		}
		w.cur = next
		if trailing && !isDir(next.Node()) {
			return abi.ENOTDIR
		}
		path = rest
	}
}

// step looks name up in cur, and goes to what is mounted there.
func (w *walker) step(name string) (Location, abi.Errno) {
	d, e := w.c.lookup(w.cur.Dentry, name, w.how&cached != 0)
	if e != 0 {
		return Location{}, e
	}
	l := Location{w.cur.Mount, d}
	if d.mounted.Load() > 0 {
		l = l.down()
	}
	return l, 0
}

// lookup finds name in directory d: a Dentry, which may be negative. ENAMETOOLONG and what the file system says.
func (c *Caller) lookup(d *Dentry, name string, cacheOnly bool) (*Dentry, abi.Errno) {
	vol, _ := d.node.(Volatile)
	if f := d.lookup(name); f != nil && c.valid(vol, f, name) {
		return f, 0
	}
	if cacheOnly {
		return nil, abi.EAGAIN
	}
	dir, ok := d.node.(Dir)
	if !ok {
		return nil, abi.ENOTDIR
	}
	g := &d.node.VFS().gate
	g.Lock(c.Thread)
	defer g.Unlock()
	return c.lookupLocked(dir, d, name)
}

// lookupLocked is lookup with d's gate held.
func (c *Caller) lookupLocked(dir Dir, d *Dentry, name string) (*Dentry, abi.Errno) {
	vol, _ := d.node.(Volatile)
	if f := d.lookup(name); f != nil {
		if c.valid(vol, f, name) {
			return f, 0
		}
		f.drop()
	}
	if len(name) > abi.NAME_MAX {
		return nil, abi.ENAMETOOLONG
	}
	if d.node.VFS().Dead() {
		return nil, abi.ENOENT // nothing is ever found in a removed directory, or made
	}
	n, e := dir.Lookup(c, name)
	if e == abi.ENOENT {
		n, e = nil, 0
	}
	if e != 0 {
		return nil, e
	}
	return d.add(name, n), 0
}

func (c *Caller) valid(vol Volatile, f *Dentry, name string) bool {
	return vol == nil || f.mounted.Load() > 0 || vol.Valid(c, name, f.node)
}

// up goes to "..": not above the root, and out of mounts.
func (w *walker) up() abi.Errno {
	w.rooted = true
	l := w.cur
	for {
		if l == w.root {
			if w.how&beneath != 0 {
				return abi.EXDEV
			}
			break
		}
		if w.how&beneath != 0 && l == w.start {
			return abi.EXDEV
		}
		if l.Mount != nil && l.Dentry == l.Mount.root {
			o, ok := l.over()
			if !ok {
				break
			}
			if w.how&noXdev != 0 {
				return abi.EXDEV
			}
			l = o
			continue
		}
		l.Dentry = l.Dentry.Parent()
		break
	}
	w.cur = l.down()
	return 0
}

// asLink says whether l is a symbolic link of either kind.
func (w *walker) asLink(l Location) (Node, bool) {
	switch l.Dentry.node.(type) {
	case Follower, Symlinker:
		return l.Dentry.node, true
	}
	return nil, false
}

// follow reads a link. With jumped, cur is where a magic link led; else target is walked from cur.
func (w *walker) follow(l Location, n Node) (target string, jumped bool, e abi.Errno) {
	if w.links++; w.links > abi.MAXSYMLINKS {
		return "", false, abi.ELOOP
	}
	if l.Mount.has(abi.MS_NOSYMFOLLOW) || w.how&noLinks != 0 {
		return "", false, abi.ELOOP
	}
	touch(w.c, l)
	if f, ok := n.(Follower); ok {
		if w.how&noMagic != 0 {
			return "", false, abi.ELOOP
		}
		to, e := f.Follow(w.c)
		if e != 0 {
			return "", false, e
		}
		if w.how&noXdev != 0 && to.Mount != w.cur.Mount {
			return "", false, abi.EXDEV
		}
		if w.how&(beneath|inRoot) != 0 {
			return "", false, abi.EXDEV
		}
		w.cur = to
		return "", true, 0
	}
	target, e = n.(Symlinker).Readlink(w.c)
	if e == 0 && target == "" {
		e = abi.ENOENT
	}
	return target, false, e
}

func (c *Caller) attrOf(l Location) (Attr, abi.Errno) {
	n := l.Node()
	if n == nil {
		return Attr{}, abi.ENOENT
	}
	return n.Attr(c)
}
