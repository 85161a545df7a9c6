package skas

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"goum/arch/abi"
	"goum/arch/x86"
	"goum/stub"

	"golang.org/x/sys/unix"
)

// hosts are hosts that lack something, as filters on the monitor's own calls and its limits, and what New says there in one line;
// nothing: it works all the same.
var hosts = map[string]struct {
	nr     uint32 // a system call that fails
	arg    uint32 // only with these bits in this argument
	bits   uint32
	errno  syscall.Errno
	before func() error
	flags  uintptr
	want   string
}{
	"no user notification": {nr: unix.SYS_SECCOMP, arg: 1, bits: 8, errno: unix.EINVAL, want: "seccomp user notification"},
	"seccomp denied":       {nr: unix.SYS_SECCOMP, arg: 1, bits: 8, errno: unix.EPERM, want: "forbids"},
	"outer listener":       {nr: unix.SYS_SECCOMP, arg: 1, bits: 8, errno: unix.EBUSY, want: "listener of its own"},
	"no strict filter":     {nr: unix.SYS_SECCOMP, arg: 0, bits: 1, errno: unix.ENOMEM, want: "seccomp"},
	"no processes left":    {nr: unix.SYS_CLONE, arg: 0, bits: unix.CLONE_PARENT, errno: unix.EAGAIN, want: "too many processes"},
	"no first process":     {nr: unix.SYS_CLONE, arg: 0, bits: unix.CLONE_VFORK, errno: unix.EAGAIN, want: "too many processes"},
	"no executable memfds": {nr: unix.SYS_MEMFD_CREATE, arg: 1, bits: 0x10, errno: unix.EACCES, want: "vm.memfd_noexec"},
	"memfds not executed":  {nr: unix.SYS_EXECVE, errno: unix.EACCES, want: "cannot be executed"},
	"no close_range":       {nr: unix.SYS_CLOSE_RANGE, errno: unix.ENOSYS, want: "close_range"},
	"no pidfd":             {nr: unix.SYS_PIDFD_OPEN, errno: unix.ENOSYS, want: "pidfd_open"},
	"no personality":       {nr: unix.SYS_PERSONALITY, arg: 0, bits: 0x40000, errno: unix.EPERM},
	"older than MFD_EXEC":  {nr: unix.SYS_MEMFD_CREATE, arg: 1, bits: 0x10, errno: unix.EINVAL},
	"no /proc": {want: "is /proc mounted?", flags: syscall.CLONE_NEWNS, before: func() error {
		if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
			return err
		}
		return unix.Mount("none", "/proc", "tmpfs", 0, "")
	}},
	"no stack limit": {before: func() error {
		return unix.Setrlimit(unix.RLIMIT_STACK, &unix.Rlimit{Cur: unix.RLIM_INFINITY, Max: unix.RLIM_INFINITY})
	}},
}

func TestMain(m *testing.M) {
	if name := os.Getenv("GOUM_TEST_HOST"); name != "" {
		os.Exit(onHost(name))
	}
	if os.Getenv("GOUM_TEST_MONITOR") != "" {
		os.Exit(monitorToKill())
	}
	os.Exit(m.Run())
}

// onHost is the other process of TestHosts: 0 it works, 1 it does not, 2 that kind of host cannot be made here.
func onHost(name string) int {
	h := hosts[name]
	if h.before != nil {
		if err := h.before(); err != nil {
			fmt.Println(err)
			return 2
		}
	}
	if h.errno != 0 {
		if err := failCall(h.nr, h.arg, h.bits, h.errno); err != nil {
			fmt.Println(err)
			return 2
		}
	}
	fd, mem, err := sharedMemfd("test-physmem", 64*stub.PageSize)
	if err != nil {
		fmt.Println(err)
		return 2
	}
	copy(mem, getpidLoop)
	p, err := New(fd)
	if err != nil {
		fmt.Println(err)
		return 1
	}
	space := &fakeSpace{detached: make(chan struct{})}
	s, err := p.Take(space)
	if err != nil {
		fmt.Println(err)
		return 1
	}
	space.add(stub.Op{Kind: stub.OpMap, Prot: abi.PROT_READ | abi.PROT_EXEC, Addr: codeAddr, Len: stub.PageSize})
	// What exec mapped is gone wherever the guest reaches: a mapping there would be in the way, or readable.
	maps, _ := os.ReadFile(fmt.Sprintf("/proc/%d/maps", s.pid))
	for line := range strings.Lines(string(maps)) {
		if at, _, _ := strings.Cut(line, "-"); true {
			if n, err := strconv.ParseUint(at, 16, 64); err == nil && n < stub.Start {
				fmt.Println("left in the guest's part:", line)
				return 1
			}
		}
	}
	r := x86.InitRegs(codeAddr, dataAddr)
	if ev := s.First().Run(&r); ev.Kind != Syscall {
		fmt.Printf("%+v\n", ev)
		return 1
	}
	p.Close()
	return 0
}

// failCall installs a filter in this process by which a system call fails.
func failCall(nr, arg, bits uint32, errno syscall.Errno) error {
	runtime.LockOSThread()
	f := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 0},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: nr, Jf: 3},
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 16 + 8*arg},
		{Code: unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K, K: bits, Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: 0x00050000 | uint32(errno)},
		{Code: unix.BPF_RET | unix.BPF_K, K: 0x7fff0000},
	}
	if bits == 0 { // whatever the argument
		f[3] = unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JA, K: 0}
	}
	if nr == unix.SYS_SECCOMP && arg == 0 { // the strict filter: no flags
		f[2].K, f[3] = 16+8, unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: 0, Jf: 1}
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	prog := unix.SockFprog{Len: uint16(len(f)), Filter: &f[0]}
	if _, _, e := unix.Syscall(unix.SYS_SECCOMP, 1, 1 /* SECCOMP_FILTER_FLAG_TSYNC */, uintptr(unsafe.Pointer(&prog))); e != 0 {
		return e
	}
	return nil
}

// TestHosts runs New in a process of its own on each kind of host.
func TestHosts(t *testing.T) {
	for name, h := range hosts {
		t.Run(name, func(t *testing.T) {
			cmd := exec.Command(os.Args[0])
			cmd.Env = append(os.Environ(), "GOUM_TEST_HOST="+name)
			cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: h.flags}
			var out []byte
			var err error
			within(t, "New", func() { out, err = cmd.CombinedOutput() })
			said := strings.TrimSuffix(string(out), "\n")
			status, ok := 0, err == nil
			if exit, is := err.(*exec.ExitError); is {
				status, ok = exit.ExitCode(), true
			}
			switch {
			case !ok || status == 2:
				t.Skipf("cannot be made here: %v %s", err, said)
			case h.want == "" && status != 0:
				t.Errorf("it does not work: %s", said)
			case h.want != "" && (status != 1 || strings.Contains(said, "\n") || !strings.Contains(said, h.want)):
				t.Errorf("status %d, %q; want one line with %q", status, said, h.want)
			}
			t.Log(said)
		})
	}
}

// monitorToKill is the other process of TestMonitorDies: it prints the pids of its stubs, of which one runs and one is parked.
func monitorToKill() int {
	fd, mem, err := sharedMemfd("test-physmem", 64*stub.PageSize)
	if err != nil {
		return 2
	}
	copy(mem, []byte{0xeb, 0xfe})
	p, err := New(fd)
	if err != nil {
		return 2
	}
	fmt.Println(p.spawner.pid)
	for i := range 2 {
		space := &fakeSpace{detached: make(chan struct{})}
		s, err := p.Take(space)
		if err != nil {
			return 2
		}
		if i == 0 {
			space.add(stub.Op{Kind: stub.OpMap, Prot: abi.PROT_READ | abi.PROT_EXEC, Addr: codeAddr, Len: stub.PageSize})
			go func() {
				r := x86.InitRegs(codeAddr, dataAddr)
				for s.First().Run(&r).Kind == Preempt {
				}
			}()
		}
		fmt.Println(s.pid)
	}
	fmt.Println("end")
	for { // and start more of them until the end comes
		s, err := p.Take(&fakeSpace{detached: make(chan struct{})})
		if err != nil {
			return 2
		}
		s.Retire()
	}
}

// TestMonitorDies kills a monitor while it starts stubs: nothing of it stays.
func TestMonitorDies(t *testing.T) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "GOUM_TEST_MONITOR=1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var pids []string
	lines := bufio.NewScanner(out)
	for lines.Scan() && lines.Text() != "end" {
		pids = append(pids, lines.Text())
	}
	time.Sleep(20 * time.Millisecond)
	cmd.Process.Kill()
	cmd.Wait()
	if len(pids) != 3 {
		t.Fatalf("the monitor did not start: %v", pids)
	}
	alive := func(pid string) bool {
		b, err := os.ReadFile("/proc/" + pid + "/stat")
		_, after, _ := strings.Cut(string(b), ") ")
		return err == nil && !strings.HasPrefix(after, "Z") && strings.Contains(string(b), "goum-stub")
	}
	for _, pid := range pids {
		for deadline := time.Now().Add(5 * time.Second); alive(pid); time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Errorf("process %s outlives the monitor", pid)
				break
			}
		}
	}
}
