package sys

import (
	"unicode/utf8"

	"goum/arch/abi"
	"goum/kernel/fs/proc"
	"goum/kernel/task"
)

// bool01 is prctl's way to say yes.
func bool01(b bool) uint64 {
	if b {
		return 1
	}
	return 0
}

// sysPrctl does a dozen things to the caller: prctl(2). What Linux compiles out on x86-64, or without the option, is EINVAL.
func sysPrctl(t *task.Task, op Int, a2, a3, a4, a5 Hex) (uint64, abi.Errno) {
	if c, res, e, known := t.Cred().Prctl(int32(op), uint64(a2), uint64(a3), uint64(a4), uint64(a5)); known {
		if e == 0 && c != t.Cred() {
			t.SetCred(c)
		}
		return res, e
	}
	rest := a3 | a4 | a5
	switch op {
	case abi.PR_SET_PDEATHSIG:
		if a2 >= abi.NSIG {
			return 0, abi.EINVAL
		}
		return 0, t.SetDeathSignal(int32(a2))
	case abi.PR_GET_PDEATHSIG:
		return 0, Out[int32](a2).Store(t, t.DeathSignal())
	case abi.PR_GET_DUMPABLE:
		return uint64(t.Memory().Dumpable()), 0
	case abi.PR_SET_DUMPABLE:
		if a2 != abi.SUID_DUMP_DISABLE && a2 != abi.SUID_DUMP_USER {
			return 0, abi.EINVAL
		}
		t.Memory().SetDumpable(int32(a2))
		return 0, 0
	case abi.PR_SET_NAME:
		var b [task.MaxName + 1]byte
		s, e := t.User().CopyString(uint64(a2), len(b))
		if e == abi.ENAMETOOLONG { // a longer one is cut
			e = copyIn(t, uint64(a2), b[:task.MaxName])
			s = string(b[:task.MaxName])
		}
		if e != 0 {
			return 0, e
		}
		t.SetName(s)
		return 0, 0
	case abi.PR_GET_NAME:
		var b [task.MaxName + 1]byte
		copy(b[:task.MaxName], t.Name())
		return 0, copyOut(t, uint64(a2), b[:])
	case abi.PR_GET_ENDIAN, abi.PR_SET_ENDIAN, abi.PR_GET_UNALIGN, abi.PR_SET_UNALIGN, abi.PR_GET_FPEMU, abi.PR_SET_FPEMU,
		abi.PR_GET_FPEXC, abi.PR_SET_FPEXC:
		return 0, abi.EINVAL // of other processors
	case abi.PR_GET_TIMING:
		return abi.PR_TIMING_STATISTICAL, 0
	case abi.PR_SET_TIMING:
		if a2 != abi.PR_TIMING_STATISTICAL {
			return 0, abi.EINVAL
		}
		return 0, 0
	case abi.PR_GET_TSC:
		return 0, Out[int32](a2).Store(t, abi.PR_TSC_ENABLE)
	case abi.PR_SET_TSC:
		if a2 != abi.PR_TSC_ENABLE {
			return 0, abi.EINVAL
		}
		return 0, 0
	case abi.PR_SET_TIMERSLACK:
		t.SetTimerSlack(int64(a2))
		return 0, 0
	case abi.PR_GET_SECCOMP:
		return 0, 0 // seccomp(2) is absent: nobody has a filter
	case abi.PR_GET_TIMERSLACK:
		return uint64(t.TimerSlack()), 0
	case abi.PR_MCE_KILL:
		if a4|a5 != 0 {
			return 0, abi.EINVAL
		}
		switch a2 {
		case abi.PR_MCE_KILL_CLEAR:
			if a3 != 0 {
				return 0, abi.EINVAL
			}
		case abi.PR_MCE_KILL_SET:
			if a3 > abi.PR_MCE_KILL_DEFAULT {
				return 0, abi.EINVAL
			}
		default:
			return 0, abi.EINVAL
		}
		return 0, 0 // memory never fails here
	case abi.PR_MCE_KILL_GET:
		if a2|rest != 0 {
			return 0, abi.EINVAL
		}
		return abi.PR_MCE_KILL_DEFAULT, 0
	case abi.PR_GET_TID_ADDRESS:
		return 0, Out[uint64](a2).Store(t, t.ClearTID())
	case abi.PR_SET_CHILD_SUBREAPER:
		t.Process.SetReaper(a2 != 0)
		return 0, 0
	case abi.PR_GET_CHILD_SUBREAPER:
		return 0, Out[int32](a2).Store(t, int32(bool01(t.Process.Reaper())))
	case abi.PR_SET_THP_DISABLE:
		if a4|a5 != 0 || a3&^abi.PR_THP_DISABLE_EXCEPT_ADVISED != 0 || a2 == 0 && a3 != 0 {
			return 0, abi.EINVAL
		}
		return 0, 0 // there are none in any case
	case abi.PR_GET_THP_DISABLE:
		if a2|rest != 0 {
			return 0, abi.EINVAL
		}
		return 0, 0
	case abi.PR_SET_VMA:
		return 0, setVMA(t, uint64(a2), uint64(a3), uint64(a4), uint64(a5))
	case abi.PR_GET_AUXV:
		if a4|a5 != 0 {
			return 0, abi.EINVAL
		}
		v := t.Memory().Auxv()
		return uint64(len(v)), copyOut(t, uint64(a2), v[:min(uint64(len(v)), uint64(a3))])
	case abi.PR_SET_MM:
		if !t.Cred().Has(abi.CAP_SYS_RESOURCE) {
			return 0, abi.EPERM
		}
		return 0, abi.EINVAL
	case abi.PR_SET_IO_FLUSHER, abi.PR_GET_IO_FLUSHER:
		if !t.Cred().Has(abi.CAP_SYS_RESOURCE) {
			return 0, abi.EPERM
		}
		if rest != 0 || op == abi.PR_SET_IO_FLUSHER && a2 > 1 || op == abi.PR_GET_IO_FLUSHER && a2 != 0 {
			return 0, abi.EINVAL
		}
		return 0, 0
	}
	return 0, abi.EINVAL
}

// maxVMAName is ANON_VMA_NAME_MAX_LEN, its NUL included.
const maxVMAName = 80

// setVMA is PR_SET_VMA: it names anonymous memory. EINVAL, EFAULT, and what NameAnon says.
func setVMA(t *task.Task, what, addr, length, name uint64) abi.Errno {
	if what != abi.PR_SET_VMA_ANON_NAME {
		return abi.EINVAL
	}
	var s string
	if name != 0 {
		var e abi.Errno
		if s, e = t.User().CopyString(name, maxVMAName); e != 0 {
			if e == abi.ENAMETOOLONG {
				e = abi.EINVAL
			}
			return e
		}
		for i := range len(s) {
			if c := s[i]; c < 0x20 || c > 0x7e || c == '\\' || c == '`' || c == '$' || c == '[' || c == ']' {
				return abi.EINVAL
			}
		}
		if s == "" || !utf8.ValidString(s) {
			return abi.EINVAL
		}
	}
	return t.Space().NameAnon(addr, length, s)
}

// What kcmp(2) compares.
const (
	kcmpFile = iota
	kcmpVM
	kcmpFiles
	kcmpFS
	kcmpSighand
	kcmpIO
	kcmpSysvsem
	kcmpEpollTFD
)

// sysKcmp says whether two tasks share something: 0 for the same, 3 for different without an order. kcmp(2). ESRCH, EPERM, EBADF,
// EINVAL.
func sysKcmp(t *task.Task, pid1, pid2 Pid, typ Int, i1, i2 Size) (uint64, abi.Errno) {
	a, b := t.System.Tree.FindTask(int32(pid1)), t.System.Tree.FindTask(int32(pid2))
	if a == nil || b == nil {
		return 0, abi.ESRCH
	}
	for _, o := range [...]*task.Task{a, b} {
		if !proc.MayAccess(t, o) {
			return 0, abi.EPERM
		}
	}
	same := false
	switch typ {
	case kcmpFile:
		fa, fb := a.FDs(), b.FDs()
		if fa == nil || fb == nil {
			return 0, abi.EBADF
		}
		x, e := fa.Get(int32(min(i1, 1<<30)))
		if e != 0 {
			return 0, e
		}
		defer x.Unref()
		y, e := fb.Get(int32(min(i2, 1<<30)))
		if e != 0 {
			return 0, e
		}
		defer y.Unref()
		same = x == y
	case kcmpVM:
		same = a.Memory() == b.Memory()
	case kcmpFiles:
		same = a.FDs() == b.FDs()
	case kcmpFS:
		same = a.Dirs() == b.Dirs()
	case kcmpSighand:
		same = a.Process.Actions() == b.Process.Actions()
	case kcmpIO, kcmpSysvsem:
		same = a == b
	case kcmpEpollTFD:
		return 0, abi.EOPNOTSUPP
	default:
		return 0, abi.EINVAL
	}
	if same {
		return 0, 0
	}
	return 3, 0
}
