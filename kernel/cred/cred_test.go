package cred

import (
	"math"
	"runtime"
	"testing"
	"time"

	"goum/arch/abi"
)

const keep = ^uint32(0)

// ids makes a Cred from four user numbers, with root's capabilities if any of the first three is 0.
func ids(t *testing.T, r, e, s, f uint32) *Cred {
	t.Helper()
	c := Root().copy()
	c.UID, c.EUID, c.SUID, c.FSUID = r, e, s, f
	c.User = c.NS.User(r)
	if e != 0 {
		c.Effective = 0
	}
	if r != 0 && e != 0 && s != 0 {
		c.Permitted = 0
	}
	return c
}

func uids(c *Cred) [4]uint32 { return [4]uint32{c.UID, c.EUID, c.SUID, c.FSUID} }

// The expectations are those of setuid(2), setreuid(2) and setresuid(2), and of kernel/sys.c where the pages are silent.
func TestSetUser(t *testing.T) {
	for name, c := range map[string]struct {
		from [4]uint32
		do   func(*Cred) (*Cred, abi.Errno)
		want [4]uint32
		e    abi.Errno
	}{
		"root setuid":                     {[4]uint32{0, 0, 0, 0}, func(c *Cred) (*Cred, abi.Errno) { return c.SetUID(5) }, [4]uint32{5, 5, 5, 5}, 0},
		"user setuid to another":          {[4]uint32{1, 1, 1, 1}, func(c *Cred) (*Cred, abi.Errno) { return c.SetUID(5) }, [4]uint32{1, 1, 1, 1}, abi.EPERM},
		"user setuid to saved":            {[4]uint32{1, 1, 3, 1}, func(c *Cred) (*Cred, abi.Errno) { return c.SetUID(3) }, [4]uint32{1, 3, 3, 3}, 0},
		"user setuid to effective":        {[4]uint32{1, 2, 3, 2}, func(c *Cred) (*Cred, abi.Errno) { return c.SetUID(2) }, [4]uint32{1, 2, 3, 2}, abi.EPERM},
		"setuid -1":                       {[4]uint32{0, 0, 0, 0}, func(c *Cred) (*Cred, abi.Errno) { return c.SetUID(keep) }, [4]uint32{0, 0, 0, 0}, abi.EINVAL},
		"setreuid swaps":                  {[4]uint32{1, 2, 2, 2}, func(c *Cred) (*Cred, abi.Errno) { return c.SetREUID(2, 1) }, [4]uint32{2, 1, 1, 1}, 0},
		"setreuid to saved":               {[4]uint32{1, 2, 3, 2}, func(c *Cred) (*Cred, abi.Errno) { return c.SetREUID(keep, 3) }, [4]uint32{1, 3, 3, 3}, 0},
		"setreuid effective = real":       {[4]uint32{1, 2, 3, 2}, func(c *Cred) (*Cred, abi.Errno) { return c.SetREUID(keep, 1) }, [4]uint32{1, 1, 3, 1}, 0},
		"setreuid real to saved":          {[4]uint32{1, 2, 3, 2}, func(c *Cred) (*Cred, abi.Errno) { return c.SetREUID(3, keep) }, [4]uint32{1, 2, 3, 2}, abi.EPERM},
		"setresuid rotates":               {[4]uint32{1, 2, 3, 2}, func(c *Cred) (*Cred, abi.Errno) { return c.SetRESUID(3, 1, 2) }, [4]uint32{3, 1, 2, 1}, 0},
		"setresuid to another":            {[4]uint32{1, 2, 3, 2}, func(c *Cred) (*Cred, abi.Errno) { return c.SetRESUID(keep, keep, 4) }, [4]uint32{1, 2, 3, 2}, abi.EPERM},
		"setresuid nothing":               {[4]uint32{1, 2, 3, 9}, func(c *Cred) (*Cred, abi.Errno) { return c.SetRESUID(keep, keep, keep) }, [4]uint32{1, 2, 3, 9}, 0},
		"setresuid same effective resets": {[4]uint32{1, 2, 3, 1}, func(c *Cred) (*Cred, abi.Errno) { return c.SetRESUID(keep, 2, keep) }, [4]uint32{1, 2, 3, 2}, 0},
	} {
		old := ids(t, c.from[0], c.from[1], c.from[2], c.from[3])
		got, e := c.do(old)
		if e != c.e || uids(got) != c.want {
			t.Errorf("%s: %v %s, want %v %s", name, uids(got), e.Name(), c.want, c.e.Name())
		}
		if uids(old) != c.from {
			t.Errorf("%s: changed the Cred that it was called on", name)
		}
		if got.User.UID != got.UID {
			t.Errorf("%s: counted for %d, is %d", name, got.User.UID, got.UID)
		}
	}
}

func TestSetUserCaps(t *testing.T) {
	net := Cap(abi.CAP_NET_RAW)
	with := func(bits uint32, ambient Caps) *Cred {
		c := Root().copy()
		c.Securebits, c.Inheritable, c.Ambient = bits, ambient, ambient
		return c
	}
	for name, c := range map[string]struct {
		from                          *Cred
		do                            func(*Cred) (*Cred, abi.Errno)
		effective, permitted, ambient Caps
	}{
		"leaving root":         {with(0, net), func(c *Cred) (*Cred, abi.Errno) { return c.SetUID(5) }, 0, 0, 0},
		"keepcaps":             {with(abi.SECBIT_KEEP_CAPS, net), func(c *Cred) (*Cred, abi.Errno) { return c.SetUID(5) }, 0, AllCaps, 0},
		"no fixup":             {with(abi.SECBIT_NO_SETUID_FIXUP, net), func(c *Cred) (*Cred, abi.Errno) { return c.SetUID(5) }, AllCaps, AllCaps, net},
		"effective only":       {with(0, net), func(c *Cred) (*Cred, abi.Errno) { return c.SetREUID(keep, 5) }, 0, AllCaps, net},
		"real only, saved too": {with(0, 0), func(c *Cred) (*Cred, abi.Errno) { return c.SetREUID(5, keep) }, AllCaps, AllCaps, 0},
		"away and back": {with(0, 0), func(c *Cred) (*Cred, abi.Errno) {
			c, _ = c.SetRESUID(keep, 5, keep)
			return c.SetRESUID(keep, 0, keep)
		}, AllCaps, AllCaps, 0},
		"fsuid drops what files need": {with(0, 0), func(c *Cred) (*Cred, abi.Errno) { n, _ := c.SetFSUID(5); return n, 0 }, AllCaps &^ fsCaps, AllCaps, 0},
		"fsuid and back": {with(0, 0), func(c *Cred) (*Cred, abi.Errno) {
			c, _ = c.SetFSUID(5)
			c, _ = c.SetFSUID(0)
			return c, 0
		}, AllCaps, AllCaps, 0},
	} {
		got, e := c.do(c.from)
		if e != 0 || got.Effective != c.effective || got.Permitted != c.permitted || got.Ambient != c.ambient {
			t.Errorf("%s: %s e=%x p=%x a=%x, want e=%x p=%x a=%x", name, e.Name(), got.Effective, got.Permitted, got.Ambient, c.effective, c.permitted, c.ambient)
		}
	}
}

func TestSetFSUIDAnswersTheOld(t *testing.T) {
	c := Root().Ordinary(7, 7)
	if n, old := c.SetFSUID(8); n != c || old != 7 {
		t.Errorf("to a stranger's: %v, %d", n.FSUID, old)
	}
	if _, old := c.SetFSUID(keep); old != 7 {
		t.Errorf("asking: %d", old)
	}
}

func TestSetGroup(t *testing.T) {
	c := Root().Ordinary(1, 10, 30, 20)
	if !c.InGroup(10) || !c.InGroup(20) || !c.InGroup(30) || c.InGroup(40) {
		t.Error("groups are not what they were set to")
	}
	if _, e := c.SetGID(20); e != abi.EPERM {
		t.Errorf("a supplementary group is not one to change to: %s", e.Name())
	}
	if _, e := c.SetGroups(nil); e != abi.EPERM {
		t.Errorf("setgroups by a user: %s", e.Name())
	}
	r := Root()
	if _, e := r.SetGroups(make([]uint32, MaxGroups+1)); e != abi.EINVAL {
		t.Errorf("too many groups: %s", e.Name())
	}
	n, e := r.SetRESGID(1, 2, 3)
	if e != 0 || n.GID != 1 || n.EGID != 2 || n.SGID != 3 || n.FSGID != 2 || n.Effective != AllCaps {
		t.Errorf("setresgid: %+v %s", n, e.Name())
	}
	n, e = n.Ordinary(5, 1).SetREGID(keep, 1)
	if e != 0 || n.SGID != 1 {
		t.Errorf("setregid to the real one: %+v %s", n, e.Name())
	}
}

func TestSetCaps(t *testing.T) {
	raw, adm := Cap(abi.CAP_NET_RAW), Cap(abi.CAP_NET_ADMIN)
	user := Root().Ordinary(5, 5).copy()
	user.Permitted, user.Effective, user.Inheritable, user.Ambient = raw|adm, raw, raw|adm, raw
	for name, c := range map[string]struct {
		e, p, i Caps
		want    abi.Errno
		ambient Caps
	}{
		"the same":                      {raw, raw | adm, raw | adm, 0, raw},
		"permitted shrinks":             {0, adm, raw | adm, 0, 0},
		"permitted grows":               {raw, AllCaps, raw, abi.EPERM, 0},
		"effective beyond permitted":    {raw, adm, 0, abi.EPERM, 0},
		"inheritable from permitted":    {0, raw | adm, adm, 0, 0},
		"inheritable grows":             {0, raw, raw | Cap(abi.CAP_CHOWN), abi.EPERM, 0},
		"bits without meaning":          {raw | 1<<60, raw | adm | 1<<61, raw, 0, raw},
		"ambient goes with inheritable": {raw, raw, 0, 0, 0},
	} {
		n, e := user.SetCaps(c.e, c.p, c.i)
		if e != c.want || e == 0 && n.Ambient != c.ambient {
			t.Errorf("%s: %s, ambient %x", name, e.Name(), n.Ambient)
		}
	}
	drop := Root().copy()
	drop.Bounding = AllCaps &^ raw
	if _, e := drop.SetCaps(AllCaps, AllCaps, raw); e != abi.EPERM {
		t.Errorf("inheritable beyond bounding: %s", e.Name())
	}
}

func TestPrctl(t *testing.T) {
	user := Root().Ordinary(5, 5)
	bits := func(b uint32) *Cred {
		c := Root().copy()
		c.Securebits = b
		return c
	}
	for name, c := range map[string]struct {
		from   *Cred
		op     int32
		a      [4]uint64
		result uint64
		e      abi.Errno
	}{
		"bset read":             {user, abi.PR_CAPBSET_READ, [4]uint64{abi.CAP_KILL}, 1, 0},
		"bset read beyond":      {user, abi.PR_CAPBSET_READ, [4]uint64{abi.CAP_LAST_CAP + 1}, 0, abi.EINVAL},
		"bset drop by user":     {user, abi.PR_CAPBSET_DROP, [4]uint64{999}, 0, abi.EPERM},
		"bset drop beyond":      {Root(), abi.PR_CAPBSET_DROP, [4]uint64{999}, 0, abi.EINVAL},
		"securebits by user":    {user, abi.PR_SET_SECUREBITS, [4]uint64{abi.SECBIT_NOROOT}, 0, abi.EPERM},
		"exec bits by user":     {user, abi.PR_SET_SECUREBITS, [4]uint64{abi.SECBIT_EXEC_RESTRICT_FILE}, 0, 0},
		"no change by user":     {user, abi.PR_SET_SECUREBITS, [4]uint64{0}, 0, abi.EPERM},
		"locked bit":            {bits(abi.SECBIT_NOROOT_LOCKED), abi.PR_SET_SECUREBITS, [4]uint64{abi.SECBIT_NOROOT_LOCKED | abi.SECBIT_NOROOT}, 0, abi.EPERM},
		"opening a lock":        {bits(abi.SECBIT_NOROOT_LOCKED), abi.PR_SET_SECUREBITS, [4]uint64{0}, 0, abi.EPERM},
		"unknown bit":           {Root(), abi.PR_SET_SECUREBITS, [4]uint64{1 << 12}, 0, abi.EPERM},
		"keepcaps 2":            {user, abi.PR_SET_KEEPCAPS, [4]uint64{2}, 0, abi.EINVAL},
		"keepcaps locked":       {bits(abi.SECBIT_KEEP_CAPS_LOCKED), abi.PR_SET_KEEPCAPS, [4]uint64{1}, 0, abi.EPERM},
		"keepcaps by user":      {user, abi.PR_SET_KEEPCAPS, [4]uint64{1}, 0, 0},
		"ambient not permitted": {user, abi.PR_CAP_AMBIENT, [4]uint64{abi.PR_CAP_AMBIENT_RAISE, abi.CAP_KILL}, 0, abi.EPERM},
		"ambient beyond":        {user, abi.PR_CAP_AMBIENT, [4]uint64{abi.PR_CAP_AMBIENT_RAISE, 99}, 0, abi.EINVAL},
		"ambient unknown":       {user, abi.PR_CAP_AMBIENT, [4]uint64{9, abi.CAP_KILL}, 0, abi.EINVAL},
		"ambient clear":         {user, abi.PR_CAP_AMBIENT, [4]uint64{abi.PR_CAP_AMBIENT_CLEAR_ALL, 1}, 0, abi.EINVAL},
		"nnp 0":                 {user, abi.PR_SET_NO_NEW_PRIVS, [4]uint64{0}, 0, abi.EINVAL},
		"nnp":                   {user, abi.PR_SET_NO_NEW_PRIVS, [4]uint64{1}, 0, 0},
	} {
		_, r, e, known := c.from.Prctl(c.op, c.a[0], c.a[1], c.a[2], c.a[3])
		if !known || r != c.result || e != c.e {
			t.Errorf("%s: %d %s %t, want %d %s", name, r, e.Name(), known, c.result, c.e.Name())
		}
	}
	if _, _, _, known := user.Prctl(abi.PR_SET_NAME, 0, 0, 0, 0); known {
		t.Error("PR_SET_NAME is not cred's")
	}
}

func TestExec(t *testing.T) {
	plain := Image{Mode: abi.S_IFREG | 0o755}
	suid := Image{Mode: abi.S_IFREG | 0o4755}
	user := Root().Ordinary(5, 5)
	nnp := user.SetNoNewPrivs()
	amb := user.copy()
	amb.Permitted, amb.Inheritable, amb.Ambient = 1<<abi.CAP_KILL, 1<<abi.CAP_KILL, 1<<abi.CAP_KILL
	noroot := Root().copy()
	noroot.Securebits = abi.SECBIT_NOROOT | abi.SECBIT_KEEP_CAPS
	with := func(f Image, set func(*Image)) Image { set(&f); return f }
	for name, c := range map[string]struct {
		from                 *Cred
		file                 Image
		euid                 uint32
		permitted, effective Caps
		ambient              Caps
		secure               bool
		egid                 uint32
		securebits           uint32
	}{
		"root stays root":             {Root(), plain, 0, AllCaps, AllCaps, 0, false, 0, 0},
		"a user gains nothing":        {user, plain, 5, 0, 0, 0, false, 5, 0},
		"set-user-ID root":            {user, suid, 0, AllCaps, AllCaps, 0, true, 5, 0},
		"on a nosuid mount":           {user, with(suid, func(f *Image) { f.NoSuid = true }), 5, 0, 0, 0, false, 5, 0},
		"with no_new_privs":           {nnp, suid, 5, 0, 0, 0, false, 5, 0},
		"with root and cwd shared":    {user, with(suid, func(f *Image) { f.Shared = true }), 5, 0, 0, 0, true, 5, 0},
		"set-group-ID":                {user, Image{Mode: abi.S_IFREG | 0o2755, GID: 9}, 5, 0, 0, 0, true, 9, 0},
		"set-group-ID without x":      {user, Image{Mode: abi.S_IFREG | 0o2745, GID: 9}, 5, 0, 0, 0, false, 5, 0},
		"ambient stays":               {amb, plain, 5, 1 << abi.CAP_KILL, 1 << abi.CAP_KILL, 1 << abi.CAP_KILL, false, 5, 0},
		"ambient goes with a set bit": {amb, suid, 0, AllCaps, AllCaps, 0, true, 5, 0},
		"root without privilege":      {noroot, plain, 0, 0, 0, 0, false, 0, abi.SECBIT_NOROOT},
	} {
		n, secure := c.from.Exec(c.file)
		if n.EUID != c.euid || n.SUID != c.euid || n.FSUID != c.euid || n.EGID != c.egid || n.Permitted != c.permitted ||
			n.Effective != c.effective || n.Ambient != c.ambient || secure != c.secure || n.Securebits != c.securebits {
			t.Errorf("%s: euid %d egid %d p=%x e=%x a=%x secure %t bits %x", name, n.EUID, n.EGID, n.Permitted, n.Effective, n.Ambient, secure, n.Securebits)
		}
	}
}

func TestMay(t *testing.T) {
	a, b := Root().Ordinary(5, 5), Root().Ordinary(6, 6)
	suid := a.copy()
	suid.EUID, suid.SUID = 0, 0
	if a.MayKill(b) || !a.MayKill(a) || !Root().MayKill(b) || !a.MayKill(suid) {
		t.Error("MayKill: a user may signal its own, with whatever effective number, and root all")
	}
	if a.MayLimit(suid) || !a.MayLimit(a) || !Root().MayLimit(b) {
		t.Error("MayLimit: all numbers of the target must be the caller's real one")
	}
}

func TestLimits(t *testing.T) {
	l := NewLimits(512 << 20)
	if got := l.Get(abi.RLIMIT_NOFILE); got != (abi.Rlimit64{Cur: 1024, Max: 524288}) {
		t.Errorf("NOFILE %+v", got)
	}
	if got := l.Get(abi.RLIMIT_STACK); got != (abi.Rlimit64{Cur: 8 << 20, Max: abi.RLIM_INFINITY}) {
		t.Errorf("STACK %+v", got)
	}
	if got := l.Cur(abi.RLIMIT_NPROC); got != 2048 {
		t.Errorf("NPROC %d: half of an eighth of memory in stacks of 16 KiB", got)
	}
	root, user := Root(), Root().Ordinary(5, 5)
	for name, c := range map[string]struct {
		who *Cred
		res int
		v   abi.Rlimit64
		e   abi.Errno
	}{
		"lower both":             {user, abi.RLIMIT_NPROC, abi.Rlimit64{Cur: 10, Max: 20}, 0},
		"soft above hard":        {root, abi.RLIMIT_NPROC, abi.Rlimit64{Cur: 21, Max: 20}, abi.EINVAL},
		"raise hard":             {user, abi.RLIMIT_NICE, abi.Rlimit64{Cur: 1, Max: 1}, abi.EPERM},
		"raise hard as root":     {root, abi.RLIMIT_NICE, abi.Rlimit64{Cur: 1, Max: 1}, 0},
		"beyond nr_open as root": {root, abi.RLIMIT_NOFILE, abi.Rlimit64{Cur: 1, Max: MaxOpen + 1}, abi.EPERM},
		"no such":                {root, abi.RLIM_NLIMITS, abi.Rlimit64{}, abi.EINVAL},
		"negative":               {root, -1, abi.Rlimit64{}, abi.EINVAL},
	} {
		l := l.Clone()
		before := l.Get(c.res)
		old, e := l.Set(c.who, c.res, c.v)
		if e != c.e || e == 0 && (old != before || l.Get(c.res) != c.v) || e != 0 && l.Get(c.res) != before {
			t.Errorf("%s: %s, %+v", name, e.Name(), l.Get(c.res))
		}
	}
}

func TestUsersDoNotPileUp(t *testing.T) {
	ns := NewNamespace()
	held := ns.User(1)
	if ns.User(1) != held {
		t.Fatal("two Users of one number")
	}
	for i := range uint32(10_000) {
		ns.User(i + 2)
	}
	left := math.MaxInt
	for range 1000 { // the runtime runs cleanups when it sees fit
		runtime.GC()
		time.Sleep(time.Millisecond)
		ns.mu.Lock()
		left = len(ns.users)
		ns.mu.Unlock()
		if left == 1 {
			break
		}
	}
	if left != 1 {
		t.Errorf("%d Users are remembered, one is held", left)
	}
	runtime.KeepAlive(held)
}
