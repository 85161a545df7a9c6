package proc

import (
	"fmt"
	"strings"
	"sync/atomic"

	"goum/arch/abi"
	"goum/kernel/fs/made"
	"goum/kernel/fs/vfs"
	"goum/kernel/task"
	"goum/mm"
	"goum/sched"
	"goum/sched/clock"
)

// state is the letter of what a task does.
func (d *dir) state(s *task.Status) byte {
	switch {
	case s.Zombie:
		return 'Z'
	case d.task.Stopped():
		return 'T'
	}
	return d.task.Thread.State()
}

var stateNames = map[byte]string{'R': "R (running)", 'S': "S (sleeping)", 'D': "D (disk sleep)", 'T': "T (stopped)", 'Z': "Z (zombie)"}

// escape is how a name is shown between parentheses or after "Name:".
func escape(s string) string {
	return strings.NewReplacer("\n", `\n`, `\`, `\\`).Replace(s)
}

// usage is the size of the task's memory; ok is false when it has none any more.
func (d *dir) usage() (u mm.Usage, l mm.Layout, ok bool) {
	m := d.task.Memory()
	if !m.Grab() {
		return u, l, false
	}
	defer m.Drop()
	return m.Space.Usage(), m.Space.Layout(), true
}

// stat is /proc/PID/stat: do_task_stat.
func (d *dir) stat(c *vfs.Caller) string {
	t := d.task
	s := t.Process.Status()
	u, l, has := d.usage()
	permitted := callerMay(c, t)
	if !permitted || !has {
		l = mm.Layout{}
	}
	sets := t.SignalSets()
	policy, prio := t.Thread.Policy()
	nice := t.Thread.Nice()
	priority := 20 + nice
	if prio > 0 {
		priority = -1 - prio
	}
	var ttyNr uint64
	ttyGroup := int32(-1)
	if s.Terminal != nil {
		ttyNr, ttyGroup = s.Terminal.Number(), s.Terminal.Foreground()
	}
	var user, system, cuser, csystem clock.Time
	var minor, major, cminor, cmajor int64
	if d.thread {
		user, system = t.Thread.Times()
		r, _ := t.Rusage(abi.RUSAGE_THREAD)
		minor, major = r.MinFlt, r.MajFlt
		_, _, cuser, csystem = t.Process.CPUTimes()
		_, _, cminor, cmajor = t.Process.Faults()
	} else {
		user, system, cuser, csystem = t.Process.CPUTimes()
		minor, major, cminor, cmajor = t.Process.Faults()
	}
	exitSignal, exitCode := s.ExitSignal, int32(0)
	if d.thread && d.id != t.Process.PID {
		exitSignal = -1
	}
	if permitted && s.Zombie {
		exitCode = s.Code
	}
	const low = 0x7fffffff
	var b strings.Builder
	fmt.Fprintf(&b, "%d (%s) %c %d %d %d %d %d %d", d.id, escape(t.Name()), d.state(&s), s.PPID, s.PGID, s.SID, int32(ttyNr), ttyGroup, 0x400000)
	fmt.Fprintf(&b, " %d %d %d %d %d %d %d %d", minor, cminor, major, cmajor, ticks(user), ticks(system), ticks(cuser), ticks(csystem))
	fmt.Fprintf(&b, " %d %d %d 0 %d", priority, nice, s.Threads, ticks(t.Start))
	fmt.Fprintf(&b, " %d %d %d", u.Size*mm.PageSize, u.RSS, t.Limits().Cur(abi.RLIMIT_RSS))
	switch {
	case !has:
		b.WriteString(" 0 0 0")
	case !permitted:
		b.WriteString(" 1 1 0")
	default:
		fmt.Fprintf(&b, " %d %d %d", l.StartCode, l.EndCode, l.StartStack)
	}
	fmt.Fprintf(&b, " 0 0 %d %d %d %d", sets.Pending&low, sets.Blocked&low, sets.Ignored&low, sets.Caught&low)
	wchan := 0
	if st := d.state(&s); permitted && st != 'R' && st != 'Z' {
		wchan = 1
	}
	fmt.Fprintf(&b, " %d 0 0 %d %d %d %d 0 0 0", wchan, exitSignal, t.Thread.CPU(), prio, policy)
	fmt.Fprintf(&b, " %d %d %d %d %d %d %d %d\n", l.StartData, l.EndData, l.StartBrk, l.ArgStart, l.ArgEnd, l.EnvStart, l.EnvEnd, exitCode)
	return b.String()
}

// statm is /proc/PID/statm, in pages.
func (d *dir) statm(*vfs.Caller) string {
	u, _, _ := d.usage()
	return fmt.Sprintf("%d %d %d %d 0 %d 0\n", u.Size, u.RSS, u.File, u.Code, u.Data+u.Stack)
}

// status is /proc/PID/status.
func (d *dir) status(c *vfs.Caller) string {
	t := d.task
	s := t.Process.Status()
	cr := t.Cred()
	umask, fdSize := uint32(0), 0
	if dirs := t.Dirs(); dirs != nil {
		umask = dirs.Umask()
	}
	if fds := t.FDs(); fds != nil {
		fdSize = fds.Size()
	}
	var b strings.Builder
	fmt.Fprintf(&b, "Name:\t%s\n", escape(t.Name()))
	if t.Dirs() != nil {
		fmt.Fprintf(&b, "Umask:\t%04o\n", umask)
	}
	fmt.Fprintf(&b, "State:\t%s\nTgid:\t%d\nNgid:\t0\nPid:\t%d\nPPid:\t%d\nTracerPid:\t0\n", stateNames[d.state(&s)], t.PID(), d.id, s.PPID)
	fmt.Fprintf(&b, "Uid:\t%d\t%d\t%d\t%d\nGid:\t%d\t%d\t%d\t%d\nFDSize:\t%d\nGroups:\t", cr.UID, cr.EUID, cr.SUID, cr.FSUID, cr.GID, cr.EGID, cr.SGID, cr.FSGID, fdSize)
	for i, g := range cr.Groups {
		if i > 0 {
			b.WriteByte(' ')
		}
		fmt.Fprint(&b, g)
	}
	fmt.Fprintf(&b, " \nNStgid:\t%d\nNSpid:\t%d\nNSpgid:\t%d\nNSsid:\t%d\nKthread:\t0\n", t.PID(), d.id, s.PGID, s.SID)
	if u, _, ok := d.usage(); ok {
		for _, l := range [...]struct {
			name  string
			pages uint64
		}{{"VmPeak", u.Peak}, {"VmSize", u.Size}, {"VmLck", u.Locked}, {"VmPin", 0}, {"VmHWM", u.HWM}, {"VmRSS", u.RSS}, {"RssAnon", u.Anon},
			{"RssFile", u.File}, {"RssShmem", 0}, {"VmData", u.Data}, {"VmStk", u.Stack}, {"VmExe", u.Code}, {"VmLib", u.Lib}, {"VmPTE", u.Tables},
			{"VmSwap", 0}, {"HugetlbPages", 0}} {
			fmt.Fprintf(&b, "%s:\t%8d kB\n", l.name, l.pages*mm.PageSize/1024)
		}
		b.WriteString("CoreDumping:\t0\nuntag_mask:\t0xffffffffffffffff\n")
	}
	sets := t.SignalSets()
	fmt.Fprintf(&b, "Threads:\t%d\nSigQ:\t%d/%d\nSigPnd:\t%016x\nShdPnd:\t%016x\nSigBlk:\t%016x\nSigIgn:\t%016x\nSigCgt:\t%016x\n",
		s.Threads, sets.Queued, sets.Limit, uint64(sets.Pending), uint64(sets.Shared), uint64(sets.Blocked), uint64(sets.Ignored), uint64(sets.Caught))
	fmt.Fprintf(&b, "CapInh:\t%016x\nCapPrm:\t%016x\nCapEff:\t%016x\nCapBnd:\t%016x\nCapAmb:\t%016x\nNoNewPrivs:\t%d\nSeccomp:\t0\nSeccomp_filters:\t0\n",
		uint64(cr.Inheritable), uint64(cr.Permitted), uint64(cr.Effective), uint64(cr.Bounding), uint64(cr.Ambient), bit(cr.NoNewPrivs))
	b.WriteString("Speculation_Store_Bypass:\tunknown\nSpeculationIndirectBranch:\tunknown\n")
	mask := t.Thread.Affinity()
	fmt.Fprintf(&b, "Cpus_allowed:\t%s\nCpus_allowed_list:\t%s\nMems_allowed:\t1\nMems_allowed_list:\t0\n", d.cpuMask(mask), cpuList(mask))
	vol, invol := t.Thread.Switches()
	fmt.Fprintf(&b, "voluntary_ctxt_switches:\t%d\nnonvoluntary_ctxt_switches:\t%d\nx86_Thread_features:\t\nx86_Thread_features_locked:\t\n", vol, invol)
	return b.String()
}

func bit(b bool) int {
	if b {
		return 1
	}
	return 0
}

// cpuMask is a set of vCPUs in hexadecimal, in groups of 32 bits, as wide as the machine.
func (f *FS) cpuMask(m uint64) string {
	n := f.cpus()
	if n > 32 {
		return fmt.Sprintf("%0*x,%08x", (n-32+3)/4, m>>32, uint32(m))
	}
	return fmt.Sprintf("%0*x", (n+3)/4, m)
}

// cpuList is a set of vCPUs as ranges: "0-1,3".
func cpuList(m uint64) string {
	var parts []string
	for i := 0; i < 64; i++ {
		if m>>i&1 == 0 {
			continue
		}
		from := i
		for i < 63 && m>>(i+1)&1 != 0 {
			i++
		}
		if from == i {
			parts = append(parts, fmt.Sprint(from))
		} else {
			parts = append(parts, fmt.Sprintf("%d-%d", from, i))
		}
	}
	return strings.Join(parts, ",")
}

// limitRows are the lines of /proc/PID/limits: in Linux's order and words.
var limitRows = [abi.RLIM_NLIMITS]struct {
	res        int
	name, unit string
}{
	{abi.RLIMIT_CPU, "Max cpu time", "seconds"}, {abi.RLIMIT_FSIZE, "Max file size", "bytes"}, {abi.RLIMIT_DATA, "Max data size", "bytes"},
	{abi.RLIMIT_STACK, "Max stack size", "bytes"}, {abi.RLIMIT_CORE, "Max core file size", "bytes"}, {abi.RLIMIT_RSS, "Max resident set", "bytes"},
	{abi.RLIMIT_NPROC, "Max processes", "processes"}, {abi.RLIMIT_NOFILE, "Max open files", "files"},
	{abi.RLIMIT_MEMLOCK, "Max locked memory", "bytes"}, {abi.RLIMIT_AS, "Max address space", "bytes"}, {abi.RLIMIT_LOCKS, "Max file locks", "locks"},
	{abi.RLIMIT_SIGPENDING, "Max pending signals", "signals"}, {abi.RLIMIT_MSGQUEUE, "Max msgqueue size", "bytes"},
	{abi.RLIMIT_NICE, "Max nice priority", ""}, {abi.RLIMIT_RTPRIO, "Max realtime priority", ""}, {abi.RLIMIT_RTTIME, "Max realtime timeout", "us"},
}

// limits is /proc/PID/limits.
func (d *dir) limits(*vfs.Caller) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%-25s %-20s %-20s %-10s\n", "Limit", "Soft Limit", "Hard Limit", "Units")
	show := func(v uint64) string {
		if v == abi.RLIM_INFINITY {
			return "unlimited"
		}
		return fmt.Sprint(v)
	}
	for _, r := range limitRows {
		l := d.task.Limits().Get(r.res)
		fmt.Fprintf(&b, "%-25s %-20s %-20s ", r.name, show(l.Cur), show(l.Max))
		if r.unit != "" {
			fmt.Fprintf(&b, "%-10s", r.unit)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// sched is /proc/PID/sched, as much as is known.
func (d *dir) sched(*vfs.Caller) string {
	t := d.task
	s := t.Process.Status()
	vol, invol := t.Thread.Switches()
	policy, prio := t.Thread.Policy()
	p := 120 + t.Thread.Nice()
	if prio > 0 {
		p = 99 - prio
	}
	cpu := int64(t.Thread.CPUTime())
	return fmt.Sprintf("%s (%d, #threads: %d)\n-------------------------------------------------------------------\n"+
		"se.sum_exec_runtime                          :%21d.%06d\nnr_switches                                  :%21d\n"+
		"nr_voluntary_switches                        :%21d\nnr_involuntary_switches                      :%21d\n"+
		"policy                                       :%21d\nprio                                         :%21d\n",
		t.Name(), d.id, s.Threads, cpu/1e6, cpu%1e6, vol+invol, vol, invol, policy, p)
}

// syscall is /proc/PID/syscall: registers of another task are not to be had, so that it is "running" always.
func (d *dir) syscall(*vfs.Caller) string { return "running\n" }

// io is /proc/PID/io. Bytes are not counted.
func (d *dir) io(*vfs.Caller) string {
	return "rchar: 0\nwchar: 0\nsyscr: 0\nsyscw: 0\nread_bytes: 0\nwrite_bytes: 0\ncancelled_write_bytes: 0\n"
}

// lines calls f for each mount that the task sees.
func (d *dir) lines(f func(*vfs.MountLine) string) string {
	dirs := d.task.Dirs()
	if dirs == nil {
		return ""
	}
	var b strings.Builder
	list := vfs.MountLines(dirs.Root())
	for i := range list {
		b.WriteString(f(&list[i]))
	}
	return b.String()
}

func (d *dir) mounts(*vfs.Caller) string     { return d.lines((*vfs.MountLine).Mounts) }
func (d *dir) mountinfo(*vfs.Caller) string  { return d.lines((*vfs.MountLine).Info) }
func (d *dir) mountstats(*vfs.Caller) string { return d.lines((*vfs.MountLine).Mountstats) }

// openMounts is an open mounts or mountinfo, whose poll(2) tells of changes: POLLERR and POLLPRI, once for each look.
type openMounts struct {
	*made.Content
	sys  *vfs.System
	seen atomic.Uint64
}

func watchMounts(d *dir, o *made.Content) vfs.File {
	m := &openMounts{Content: o, sys: d.System.VFS}
	m.seen.Store(m.sys.Changes())
	return m
}

// Poll says whether the mounts have changed since it was last asked.
func (m *openMounts) Poll(*vfs.Caller) sched.Mask {
	r := sched.Mask(abi.POLLIN | abi.EPOLLRDNORM)
	if n := m.sys.Changes(); m.seen.Swap(n) != n {
		r |= abi.POLLERR | abi.POLLPRI
	}
	return r
}

// Queue is woken at each change.
func (m *openMounts) Queue() *sched.Queue { return m.sys.Changed() }
