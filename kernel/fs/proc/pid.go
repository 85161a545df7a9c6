package proc

import (
	"fmt"
	"runtime"
	"strconv"
	"strings"
	"weak"

	"goum/arch/abi"
	"goum/kernel/fs/made"
	"goum/kernel/fs/vfs"
	"goum/kernel/task"
)

// dir is /proc/PID, or /proc/PID/task/TID.
type dir struct {
	vfs.BaseNode
	*FS
	task   *task.Task
	id     int32 // the number it was found by
	thread bool  // below task/: what it shows is the thread's own
	time   int64
}

// entry is a name in a dir.
type entry struct {
	name string
	mode uint32
	// One of these: content, target of a link, place that a magic link leads to, or a node of its own.
	make   func(d *dir, c *vfs.Caller) ([]byte, abi.Errno)
	link   func(d *dir, c *vfs.Caller) (string, abi.Errno)
	follow func(d *dir, c *vfs.Caller) (vfs.Location, abi.Errno)
	node   func(d *dir, m made.Meta) vfs.Node
	take   func(d *dir, c *vfs.Caller, b []byte) abi.Errno
	wrap   func(d *dir, o *made.Content) vfs.File // what an open file can do beside reading
	guard  bool                                   // only for those who may look into the task, when it is opened
	group  bool                                   // not below task/
}

// entries are the names in a dir, in the order in which they are listed. A function: entries refer to functions that refer to it.
func entries() []entry {
	return pidEntries
}

var pidEntries []entry

func init() {
	text := func(f func(d *dir, c *vfs.Caller) string) func(*dir, *vfs.Caller) ([]byte, abi.Errno) {
		return func(d *dir, c *vfs.Caller) ([]byte, abi.Errno) { return []byte(f(d, c)), 0 }
	}
	pidEntries = []entry{
		{name: "task", mode: abi.S_IFDIR | 0o555, node: newTaskList, group: true},
		{name: "fd", mode: abi.S_IFDIR | 0o500, node: newFDDir},
		{name: "fdinfo", mode: abi.S_IFDIR | 0o555, node: newFDInfoDir},
		{name: "ns", mode: abi.S_IFDIR | 0o511, node: newNSDir},
		{name: "net", mode: abi.S_IFDIR | 0o555, node: newNetDir},
		{name: "environ", mode: abi.S_IFREG | 0o400, make: environ, guard: true},
		{name: "auxv", mode: abi.S_IFREG | 0o400, make: auxv, guard: true},
		{name: "status", mode: abi.S_IFREG | 0o444, make: text((*dir).status)},
		{name: "personality", mode: abi.S_IFREG | 0o400, make: text(func(*dir, *vfs.Caller) string { return "00000000\n" }), guard: true},
		{name: "limits", mode: abi.S_IFREG | 0o444, make: text((*dir).limits)},
		{name: "sched", mode: abi.S_IFREG | 0o444, make: text((*dir).sched)},
		{name: "comm", mode: abi.S_IFREG | 0o644, make: text(func(d *dir, _ *vfs.Caller) string { return d.task.Name() + "\n" }), take: setComm},
		{name: "syscall", mode: abi.S_IFREG | 0o400, make: text((*dir).syscall), guard: true},
		{name: "cmdline", mode: abi.S_IFREG | 0o444, make: cmdline},
		{name: "stat", mode: abi.S_IFREG | 0o444, make: text((*dir).stat)},
		{name: "statm", mode: abi.S_IFREG | 0o444, make: text((*dir).statm)},
		{name: "maps", mode: abi.S_IFREG | 0o444, make: mapsFile, guard: true},
		{name: "smaps", mode: abi.S_IFREG | 0o444, make: smaps, guard: true},
		{name: "smaps_rollup", mode: abi.S_IFREG | 0o444, make: smapsRollup, guard: true, group: true},
		{name: "mem", mode: abi.S_IFREG | 0o600, node: newMem},
		{name: "cwd", mode: abi.S_IFLNK | 0o777, follow: followCwd},
		{name: "root", mode: abi.S_IFLNK | 0o777, follow: followRoot},
		{name: "exe", mode: abi.S_IFLNK | 0o777, follow: followExe},
		{name: "mounts", mode: abi.S_IFREG | 0o444, make: text((*dir).mounts), wrap: watchMounts},
		{name: "mountinfo", mode: abi.S_IFREG | 0o444, make: text((*dir).mountinfo), wrap: watchMounts},
		{name: "mountstats", mode: abi.S_IFREG | 0o400, make: text((*dir).mountstats), group: true},
		{name: "wchan", mode: abi.S_IFREG | 0o444, make: text(func(*dir, *vfs.Caller) string { return "0" })},
		{name: "cgroup", mode: abi.S_IFREG | 0o444, make: text(func(*dir, *vfs.Caller) string { return "0::/\n" })},
		{name: "oom_score", mode: abi.S_IFREG | 0o444, make: text((*dir).oomScore)},
		{name: "oom_adj", mode: abi.S_IFREG | 0o444, make: text(func(*dir, *vfs.Caller) string { return "0\n" })},
		{name: "oom_score_adj", mode: abi.S_IFREG | 0o644, make: text((*dir).oomScoreAdj), take: setOOMScoreAdj},
		{name: "loginuid", mode: abi.S_IFREG | 0o444, make: text(func(*dir, *vfs.Caller) string { return "4294967295" })},
		{name: "sessionid", mode: abi.S_IFREG | 0o444, make: text(func(*dir, *vfs.Caller) string { return "4294967295" })},
		{name: "io", mode: abi.S_IFREG | 0o400, make: text((*dir).io), guard: true},
		{name: "uid_map", mode: abi.S_IFREG | 0o444, make: text(idMap)},
		{name: "gid_map", mode: abi.S_IFREG | 0o444, make: text(idMap)},
		{name: "setgroups", mode: abi.S_IFREG | 0o444, make: text(func(*dir, *vfs.Caller) string { return "allow\n" }), group: true},
		{name: "timerslack_ns", mode: abi.S_IFREG | 0o444, make: text(func(d *dir, _ *vfs.Caller) string { return line(d.task.TimerSlack()) }), group: true},
		{name: "children", mode: abi.S_IFREG | 0o444, make: text((*dir).childList)},
		{name: "coredump_filter", mode: abi.S_IFREG | 0o444, make: text(func(*dir, *vfs.Caller) string { return "00000033\n" }), group: true},
	}
}

// idMap is the map of an initial user namespace.
func idMap(*dir, *vfs.Caller) string { return fmt.Sprintf("%10d %10d %10d\n", 0, 0, uint32(1<<32-1)) }

func (f *FS) taskDir(t *task.Task, id int32, thread bool) *dir {
	return &dir{FS: f, task: t, id: id, thread: thread, time: f.System.Clock.Realtime()}
}

// gone says that the task has been released: its number means nothing, or another.
func (d *dir) gone() bool { return d.System.Tree.FindTask(d.id) != d.task }

// meta is the attributes of entry i (0: the directory itself): they belong to the task's effective user if it can be dumped, else to root.
func (d *dir) meta(i int, mode uint32) made.Meta {
	n := inode(d.id, i)
	if d.thread {
		n |= 1 << 39
	}
	m := made.Meta{Ino: n, Mode: mode, Time: d.time}
	if mem := d.task.Memory(); mode == abi.S_IFDIR|0o555 || mem != nil && mem.Dumpable() == abi.SUID_DUMP_USER {
		c := d.task.Cred()
		m.UID, m.GID = c.EUID, c.EGID
	}
	return m
}

// Attr is the directory's: ESRCH once the task is gone.
func (d *dir) Attr(c *vfs.Caller) (vfs.Attr, abi.Errno) {
	if d.gone() {
		return vfs.Attr{}, abi.ESRCH
	}
	m := d.meta(0, abi.S_IFDIR|0o555)
	a, e := m.Attr(c)
	a.Nlink = 9
	return a, e
}

// SetAttr lets nothing of weight be changed.
func (d *dir) SetAttr(c *vfs.Caller, s *vfs.SetAttr) abi.Errno { return made.SetAttr(s) }

// Lookup finds an entry.
func (d *dir) Lookup(c *vfs.Caller, name string) (vfs.Node, abi.Errno) {
	if d.gone() {
		return nil, abi.ENOENT
	}
	for i, e := range entries() {
		if e.name == name && !(d.thread && e.group) && !(!d.thread && e.name == "children") {
			return d.nodeOf(i + 1), 0
		}
	}
	return nil, abi.ENOENT
}

// nodeOf makes the node of entry i-1.
func (d *dir) nodeOf(i int) vfs.Node {
	e := &entries()[i-1]
	switch {
	case e.node != nil:
		return e.node(d, d.meta(i, e.mode))
	case e.follow != nil:
		return &magic{dir: d, index: i, to: e.follow}
	case e.link != nil:
		return &made.Link{Meta: d.meta(i, e.mode), Target: func(c *vfs.Caller) (string, abi.Errno) { return e.link(d, c) }}
	}
	return &file{dir: d, index: i, entry: e}
}

// Open opens the directory for listing.
func (d *dir) Open(c *vfs.Caller, flags uint32, loc vfs.Location) (vfs.File, abi.Errno) {
	return &made.OpenDir{Loc: loc, List: func(c *vfs.Caller, pos int64, emit func(vfs.DirEntry) bool) abi.Errno {
		if d.gone() {
			return abi.ENOENT
		}
		list := entries()
		for i := int(min(pos-2, 1<<30)); i < len(list); i++ {
			e := &list[i]
			if d.thread && e.group || !d.thread && e.name == "children" {
				continue
			}
			m := d.meta(i+1, e.mode)
			if !emit(vfs.DirEntry{Name: e.name, Ino: m.Ino, Type: abi.DirentType(e.mode), Next: int64(i) + 3}) {
				break
			}
		}
		return 0
	}}, 0
}

// file is an entry with content.
type file struct {
	vfs.BaseNode
	dir   *dir
	index int
	entry *entry
}

// Attr is the file's, owned as the task is now.
func (f *file) Attr(c *vfs.Caller) (vfs.Attr, abi.Errno) {
	if f.dir.gone() {
		return vfs.Attr{}, abi.ESRCH
	}
	m := f.dir.meta(f.index, f.entry.mode)
	return m.Attr(c)
}

// SetAttr lets nothing of weight be changed.
func (f *file) SetAttr(c *vfs.Caller, s *vfs.SetAttr) abi.Errno { return made.SetAttr(s) }

// Open opens the file: ESRCH, EACCES.
func (f *file) Open(c *vfs.Caller, flags uint32, loc vfs.Location) (vfs.File, abi.Errno) {
	d := f.dir
	if d.gone() {
		return nil, abi.ESRCH
	}
	if f.entry.guard && !callerMay(c, d.task) {
		return nil, abi.EACCES
	}
	o := &made.Content{Make: func(c *vfs.Caller) ([]byte, abi.Errno) {
		if d.gone() {
			return nil, abi.ESRCH
		}
		return f.entry.make(d, c)
	}}
	if f.entry.take != nil {
		o.Take = func(c *vfs.Caller, b []byte) abi.Errno {
			if d.gone() {
				return abi.ESRCH
			}
			return f.entry.take(d, c, b)
		}
	}
	if f.entry.wrap != nil {
		return f.entry.wrap(d, o), 0
	}
	return o, 0
}

// magic is a link that leads to a place, not to a path: cwd, root, exe, fd/N.
type magic struct {
	vfs.BaseNode
	dir   *dir
	index int
	perm  uint32 // permission bits it shows; 0: 0777
	to    func(d *dir, c *vfs.Caller) (vfs.Location, abi.Errno)
}

// Attr is the link's.
func (m *magic) Attr(c *vfs.Caller) (vfs.Attr, abi.Errno) {
	if m.dir.gone() {
		return vfs.Attr{}, abi.ESRCH
	}
	perm := m.perm
	if perm == 0 {
		perm = 0o777
	}
	a := m.dir.meta(m.index, abi.S_IFLNK|perm)
	if m.perm != 0 {
		a.Size = 64
	}
	return a.Attr(c)
}

// SetAttr lets nothing of weight be changed.
func (m *magic) SetAttr(c *vfs.Caller, s *vfs.SetAttr) abi.Errno { return made.SetAttr(s) }

// Follow leads there: EACCES, ENOENT, ESRCH.
func (m *magic) Follow(c *vfs.Caller) (vfs.Location, abi.Errno) {
	if m.dir.gone() {
		return vfs.Location{}, abi.ENOENT
	}
	if !callerMay(c, m.dir.task) {
		return vfs.Location{}, abi.EACCES
	}
	return m.to(m.dir, c)
}

// Readlink is the path as the caller would write it.
func (m *magic) Readlink(c *vfs.Caller) (string, abi.Errno) {
	l, e := m.Follow(c)
	if e != 0 {
		return "", e
	}
	return c.PathOf(l), 0
}

func followCwd(d *dir, c *vfs.Caller) (vfs.Location, abi.Errno) {
	if p := d.task.Dirs(); p != nil {
		return p.Cwd(), 0
	}
	return vfs.Location{}, abi.ENOENT
}

func followRoot(d *dir, c *vfs.Caller) (vfs.Location, abi.Errno) {
	if p := d.task.Dirs(); p != nil {
		return p.Root(), 0
	}
	return vfs.Location{}, abi.ENOENT
}

func followExe(d *dir, c *vfs.Caller) (vfs.Location, abi.Errno) {
	m := d.task.Memory()
	if !m.Grab() {
		return vfs.Location{}, abi.ENOENT
	}
	defer m.Drop()
	o := m.Exe()
	if o == nil {
		return vfs.Location{}, abi.ENOENT
	}
	defer o.Unref()
	return o.Loc, 0
}

// setComm is a write to comm: any thread of the process may. EINVAL for others.
func setComm(d *dir, c *vfs.Caller, b []byte) abi.Errno {
	if t := task.Of(c); t == nil || t.Process != d.task.Process {
		return abi.EINVAL
	}
	s := string(b)
	if i := strings.IndexByte(s, 0); i >= 0 {
		s = s[:i]
	}
	d.task.SetName(strings.TrimRight(s[:min(len(s), task.MaxName)], "\n"))
	return 0
}

// setOOMScoreAdj takes what would be the default anyway; nobody is chosen by score here. EINVAL.
func setOOMScoreAdj(d *dir, c *vfs.Caller, b []byte) abi.Errno {
	n, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil || n < -1000 || n > 1000 {
		return abi.EINVAL
	}
	if n < 0 && !c.Cred.Has(abi.CAP_SYS_RESOURCE) {
		return abi.EACCES
	}
	key := weak.Make(d.task.Process) // a process that is gone leaves nothing behind
	all := &d.oomAdj
	if _, there := all.Swap(key, n); !there { // the cleanup must not hold d, which holds the process
		runtime.AddCleanup(d.task.Process, func(key weak.Pointer[task.Process]) { all.Delete(key) }, key)
	}
	return 0
}

func (d *dir) oomScoreAdj(*vfs.Caller) string {
	n, _ := d.oomAdj.Load(weak.Make(d.task.Process))
	v, _ := n.(int)
	return line(v)
}

// oomScore is how much of memory the process has, in thousandths of two thirds more: Linux's oom_badness for adj 0.
func (d *dir) oomScore(*vfs.Caller) string {
	m := d.task.Memory()
	if !m.Grab() {
		return "0\n"
	}
	defer m.Drop()
	total := d.System.Memory.Stats().Total
	u := m.Space.Usage()
	points := (u.RSS + u.Tables) * 1000 / max(total, 1)
	return line((1000 + points) * 2 / 3)
}

// taskList is /proc/PID/task.
type taskList struct {
	vfs.BaseNode
	made.Meta
	dir *dir
}

func newTaskList(d *dir, m made.Meta) vfs.Node { return &taskList{Meta: m, dir: d} }

// Attr is the directory's.
func (l *taskList) Attr(c *vfs.Caller) (vfs.Attr, abi.Errno) {
	if l.dir.gone() {
		return vfs.Attr{}, abi.ESRCH
	}
	a, e := l.Meta.Attr(c)
	a.Nlink += uint32(len(l.dir.task.Process.Threads()))
	return a, e
}

// SetAttr lets nothing of weight be changed.
func (l *taskList) SetAttr(c *vfs.Caller, s *vfs.SetAttr) abi.Errno { return made.SetAttr(s) }

// Lookup finds a thread of the process by its number.
func (l *taskList) Lookup(c *vfs.Caller, name string) (vfs.Node, abi.Errno) {
	id, ok := number(name)
	if !ok {
		return nil, abi.ENOENT
	}
	t := l.dir.System.Tree.FindTask(id)
	if t == nil || t.Process != l.dir.task.Process {
		return nil, abi.ENOENT
	}
	return l.dir.taskDir(t, id, true), 0
}

// Valid says whether a cached name still means the same.
func (l *taskList) Valid(c *vfs.Caller, name string, n vfs.Node) bool {
	id, ok := number(name)
	d, is := n.(*dir)
	return ok && is && l.dir.System.Tree.FindTask(id) == d.task
}

// Open opens the directory for listing.
func (l *taskList) Open(c *vfs.Caller, flags uint32, loc vfs.Location) (vfs.File, abi.Errno) {
	return &made.OpenDir{Loc: loc, List: func(c *vfs.Caller, pos int64, emit func(vfs.DirEntry) bool) abi.Errno {
		if l.dir.gone() {
			return abi.ENOENT
		}
		// A position is a number and two more: threads come and go, and come in the order of their numbers or nearly so.
		last := int32(min(pos-2, 1<<30))
		for {
			var next int32
			for _, t := range l.dir.task.Process.Threads() {
				if id := t.ID(); id > last && (next == 0 || id < next) {
					next = id
				}
			}
			if next == 0 {
				return 0
			}
			if !emit(vfs.DirEntry{Name: fmt.Sprint(next), Ino: inode(next, 0) | 1<<39, Type: abi.DT_DIR, Next: int64(next) + 2}) {
				return 0
			}
			last = next
		}
	}}, 0
}

// childList is the children of the process, for its leader.
func (d *dir) childList(*vfs.Caller) string {
	var b strings.Builder
	if d.task == d.task.Process.Leader() {
		for _, id := range d.task.Process.Children() {
			fmt.Fprintf(&b, "%d ", id)
		}
	}
	return b.String()
}
