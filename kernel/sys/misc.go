package sys

import (
	"goum/arch/abi"
	"goum/kernel/fs/tmpfs"
	"goum/kernel/klog"
	"goum/kernel/net/socket"
	"goum/kernel/task"
	"goum/kernel/timer"
	"goum/kernel/uts"
	"goum/mm"
	"goum/sched"
	"goum/sched/clock"
)

// miscCalls are about the machine as a whole.
var miscCalls = Calls{
	abi.SYS_UNAME:         Def1("uname", sysUname),
	abi.SYS_SETHOSTNAME:   Def2("sethostname", sysSethostname),
	abi.SYS_SETDOMAINNAME: Def2("setdomainname", sysSetdomainname),
	abi.SYS_SYSINFO:       Def1("sysinfo", sysSysinfo),
	abi.SYS_SYSLOG:        Def3("syslog", sysSyslog),
	abi.SYS_REBOOT:        Def4("reboot", sysReboot).Partial("no kexec, no suspend"),
	abi.SYS_GETRANDOM:     Def3("getrandom", sysGetrandom),
	abi.SYS_SYSFS:         Def3("sysfs", sysSysfs),
	abi.SYS_VHANGUP:       Def0("vhangup", sysVhangup),
}

// Machine is what calls need of the machine besides task.System.
type Machine struct {
	UTS *uts.Names

	// PowerOff ends the machine: restart, halt or power-off, all of which end goum. It returns; the caller then waits to be killed.
	PowerOff func(cmd uint32)
	// Log is the kernel's log, for syslog(2); nil: it is empty.
	Log *klog.Log
	// Net is the network; nil: socket(2) knows no family.
	Net *socket.Net
	// Timers is what the timers of all processes share; nil: Attach makes it.
	Timers *timer.Machine
	// Memfd is where memfd_create(2) makes its files; nil: ENOSYS.
	Memfd *tmpfs.FS
	// Shmem is how many bytes of memory files in tmpfs have, for sysinfo(2); nil: unknown.
	Shmem func() uint64
}

// Attach makes m the Machine of all tasks of s. boot calls it before the first of them.
func Attach(s *task.System, m *Machine) {
	if m.Timers == nil {
		m.Timers = timer.NewMachine(s.Clock)
	}
	if m.UTS == nil {
		m.UTS = uts.New("(none)", "")
	}
	s.Calls = m
}

func machine(t *task.Task) *Machine { return machineOf(t.System) }

// machineOf finds what Attach was given.
func machineOf(s *task.System) *Machine { return s.Calls.(*Machine) }

func sysUname(t *task.Task, out Out[abi.Utsname]) (uint64, abi.Errno) {
	u := machine(t).UTS.Uname()
	return 0, out.Store(t, u)
}

// setName is sethostname(2) and setdomainname(2): EPERM, EINVAL (too long), EFAULT.
func setName(t *task.Task, name InBuf, n Int, set func(string) abi.Errno) (uint64, abi.Errno) {
	if !t.Cred().Has(abi.CAP_SYS_ADMIN) {
		return 0, abi.EPERM
	}
	if n < 0 || n >= abi.UtsLen {
		return 0, abi.EINVAL
	}
	var b [abi.UtsLen]byte
	if e := copyIn(t, uint64(name), b[:n]); e != 0 {
		return 0, e
	}
	s := b[:n]
	for i, c := range s {
		if c == 0 {
			s = s[:i]
			break
		}
	}
	return 0, set(string(s))
}

func sysSethostname(t *task.Task, name InBuf, n Int) (uint64, abi.Errno) {
	return setName(t, name, n, machine(t).UTS.SetHost)
}

func sysSetdomainname(t *task.Task, name InBuf, n Int) (uint64, abi.Errno) {
	return setName(t, name, n, machine(t).UTS.SetDomain)
}

// sysSysinfo tells how busy and how large the machine is: sysinfo(2).
func sysSysinfo(t *task.Task, out Out[abi.Sysinfo]) (uint64, abi.Errno) {
	now := t.System.Clock.Monotonic()
	tasks, _, _ := t.System.Tree.Counts()
	s := abi.Sysinfo{Uptime: (int64(now) + abi.NsPerSec - 1) / abi.NsPerSec, Procs: uint16(min(tasks, 0xffff)), Unit: 1}
	for i, l := range t.System.Sched.Load() {
		s.Loads[i] = l << (16 - 11) // SI_LOAD_SHIFT - FSHIFT
	}
	m := t.System.Memory.Stats()
	s.Totalram, s.Freeram = m.Total*mm.PageSize, m.Free*mm.PageSize
	if f := machine(t).Shmem; f != nil {
		s.Sharedram = f()
	}
	return 0, out.Store(t, s)
}

// sysSyslog reads and controls the kernel's log: syslog(2).
func sysSyslog(t *task.Task, action Int, buf OutBuf, n Int) (uint64, abi.Errno) {
	l := machine(t).Log
	if l == nil {
		return 0, abi.ENOSYS
	}
	var dst *mm.Buf
	if buf != 0 {
		if n > 0 && !accessOK(uint64(buf), uint64(n)) {
			return 0, abi.EFAULT
		}
		dst = mm.OneBuf(t.User(), uint64(buf), uint64(max(n, 0)))
	}
	got, e := l.Syslog(t.Caller(), int(action), dst, int(n))
	return uint64(got), e
}

// Magic numbers of reboot(2) beside abi.LINUX_REBOOT_MAGIC2.
const (
	rebootMagic2A = 85072278
	rebootMagic2B = 369367448
	rebootMagic2C = 537993216
)

// sysReboot ends the machine, or says what Ctrl-Alt-Del does: reboot(2). EPERM, EINVAL.
func sysReboot(t *task.Task, magic, magic2 Hex, cmd Hex, arg Path) (uint64, abi.Errno) {
	if !t.Cred().Has(abi.CAP_SYS_BOOT) {
		return 0, abi.EPERM
	}
	switch uint32(magic2) {
	case abi.LINUX_REBOOT_MAGIC2, rebootMagic2A, rebootMagic2B, rebootMagic2C:
	default:
		return 0, abi.EINVAL
	}
	if uint32(magic) != abi.LINUX_REBOOT_MAGIC1 {
		return 0, abi.EINVAL
	}
	switch c := uint32(cmd); c {
	case abi.LINUX_REBOOT_CMD_CAD_ON, abi.LINUX_REBOOT_CMD_CAD_OFF:
		return 0, 0
	case abi.LINUX_REBOOT_CMD_RESTART2:
		if _, e := Str(arg).Get(t, 256, 0); e == abi.EFAULT {
			return 0, e
		}
		fallthrough
	case abi.LINUX_REBOOT_CMD_RESTART, abi.LINUX_REBOOT_CMD_HALT, abi.LINUX_REBOOT_CMD_POWER_OFF:
		f := machine(t).PowerOff
		if f == nil {
			return 0, abi.EINVAL
		}
		f(c)
		var never sched.Queue
		never.WaitKillable(t.Thread, sched.Any, clock.Never, func() bool { return false })
		return 0, 0
	}
	return 0, abi.EINVAL
}

// getrandomChunk is how much is made at once; a signal is looked at between two of them, as in Linux.
const getrandomChunk = 4096

// sysGetrandom fills a buffer with random bytes: getrandom(2). EINVAL (flags), EFAULT. The source is always seeded, so that it never waits.
func sysGetrandom(t *task.Task, buf OutBuf, n Size, flags Uint) (uint64, abi.Errno) {
	if flags&^(abi.GRND_NONBLOCK|abi.GRND_RANDOM|abi.GRND_INSECURE) != 0 || flags&(abi.GRND_RANDOM|abi.GRND_INSECURE) == abi.GRND_RANDOM|abi.GRND_INSECURE {
		return 0, abi.EINVAL
	}
	total := min(uint64(n), abi.MAX_RW_COUNT)
	if !accessOK(uint64(buf), uint64(n)) {
		return 0, abi.EFAULT
	}
	b := make([]byte, min(total, getrandomChunk))
	for done := uint64(0); done < total; {
		b := b[:min(total-done, getrandomChunk)]
		if t.System.Random != nil {
			t.System.Random.Fill(b)
		}
		m, e := t.User().CopyOutSome(uint64(buf)+done, b)
		done += uint64(m)
		if e != 0 || done < total && t.Thread.Interrupted() {
			return did(int(done), e)
		}
		resched(t)
	}
	return total, 0
}

// resched lets others run in the middle of a long call: cond_resched.
func resched(t *task.Task) {
	if t.Thread.NeedResched() {
		t.Thread.Yield()
	}
}

// sysSysfs names and numbers the types of file systems: sysfs(2). EINVAL, EFAULT.
func sysSysfs(t *task.Task, option Int, a1, a2 Addr) (uint64, abi.Errno) {
	types := t.System.VFS.Types()
	switch option {
	case 1: // the number of a name
		name, e := Path(a1).Get(t)
		if e != 0 {
			return 0, e
		}
		for i := range types {
			if types[i].Name == name {
				return uint64(i), 0
			}
		}
		return 0, abi.EINVAL
	case 2: // the name of a number
		if a1 >= Addr(len(types)) {
			return 0, abi.EINVAL
		}
		return 0, copyOut(t, uint64(a2), append([]byte(types[a1].Name), 0))
	case 3:
		return uint64(len(types)), 0
	}
	return 0, abi.EINVAL
}

// hangup is a terminal that can be hung up.
type hangup interface{ Hangup() }

// sysVhangup hangs up the caller's terminal, if it has one: vhangup(2). EPERM.
func sysVhangup(t *task.Task) (uint64, abi.Errno) {
	if !t.Cred().Has(abi.CAP_SYS_TTY_CONFIG) {
		return 0, abi.EPERM
	}
	if tty, ok := t.Terminal().(hangup); ok {
		tty.Hangup()
	}
	return 0, 0
}
