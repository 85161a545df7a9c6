package task

import (
	"goum/arch/abi"
	"goum/sched/clock"
)

// usage is what is counted for tasks that are gone.
type usage struct {
	user, system   clock.Time
	minFlt, majFlt int64
	vol, invol     int64
	maxRSS         int64 // KiB
}

func (u *usage) add(o *usage) {
	u.user += o.user
	u.system += o.system
	u.minFlt += o.minFlt
	u.majFlt += o.majFlt
	u.vol += o.vol
	u.invol += o.invol
	u.maxRSS = max(u.maxRSS, o.maxRSS)
}

func (u *usage) rusage() abi.Rusage {
	return abi.Rusage{
		Utime: abi.NsToTimeval(int64(u.user)), Stime: abi.NsToTimeval(int64(u.system)),
		MaxRSS: u.maxRSS, MinFlt: u.minFlt, MajFlt: u.majFlt, NVCSw: u.vol, NIvCSw: u.invol,
	}
}

// now is what t alone has used.
func (t *Task) now() (u usage) {
	u.user, u.system = t.Thread.Times()
	vol, invol := t.Thread.Switches()
	u.vol, u.invol = int64(vol), int64(invol)
	u.minFlt, u.majFlt = t.minFlt.Load(), t.majFlt.Load()
	return u
}

// all is what the process has used, its living threads included. Tree is held.
func (p *Process) all() usage {
	u := p.usage
	for _, t := range p.sig.threads {
		n := t.now()
		u.add(&n)
	}
	u.maxRSS = max(u.maxRSS, p.peakRSS)
	return u
}

// rss is the largest resident size of t's address space so far, in KiB.
func (t *Task) rss() int64 {
	m := t.Memory()
	if !m.Grab() {
		return 0
	}
	defer m.Drop()
	return int64(m.Space.Usage().HWM) * 4
}

// Rusage is getrusage(2): who is RUSAGE_SELF, RUSAGE_CHILDREN or RUSAGE_THREAD; EINVAL.
func (t *Task) Rusage(who int32) (abi.Rusage, abi.Errno) {
	p, tr := t.Process, t.System.Tree
	rss := int64(0)
	if who != abi.RUSAGE_CHILDREN {
		rss = t.rss()
	}
	tr.mu.Lock()
	defer tr.mu.Unlock()
	var u usage
	switch who {
	case abi.RUSAGE_SELF:
		u = p.all()
	case abi.RUSAGE_CHILDREN:
		u = p.childUse
	case abi.RUSAGE_THREAD:
		u = t.now()
		u.maxRSS = p.peakRSS
	default:
		return abi.Rusage{}, abi.EINVAL
	}
	u.maxRSS = max(u.maxRSS, rss)
	return u.rusage(), 0
}

// CPUTimes is what the process has used in user mode and in the kernel, and what the children that it waited for have: times(2), process
// clocks, /proc.
func (p *Process) CPUTimes() (user, system, childUser, childSystem clock.Time) {
	tr := p.System.Tree
	tr.mu.Lock()
	defer tr.mu.Unlock()
	u := p.all()
	return u.user, u.system, p.childUse.user, p.childUse.system
}

// Faults are the page faults of the process and of the children that it waited for.
func (p *Process) Faults() (minor, major, childMinor, childMajor int64) {
	tr := p.System.Tree
	tr.mu.Lock()
	defer tr.mu.Unlock()
	u := p.all()
	return u.minFlt, u.majFlt, p.childUse.minFlt, p.childUse.majFlt
}
