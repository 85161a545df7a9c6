package event_test

import (
	"encoding/binary"
	"os"
	"runtime"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"goum/kernel/kerneltest"
)

// TestSignalFD takes signals of its own thread from a descriptor.
func TestSignalFD(t *testing.T) {
	kerneltest.AlsoInGuest(t)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var set, old unix.Sigset_t
	set.Val[0] = 1<<(unix.SIGUSR1-1) | 1<<(unix.SIGUSR2-1)
	if err := unix.PthreadSigmask(unix.SIG_BLOCK, &set, &old); err != nil {
		t.Fatal(err)
	}
	defer unix.PthreadSigmask(unix.SIG_SETMASK, &old, nil)
	fd, err := unix.Signalfd(-1, &set, unix.SFD_NONBLOCK|unix.SFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	read := func(n int) (int, [4 * 128]byte, error) {
		var b [4 * 128]byte
		k, err := unix.Read(fd, b[:n])
		return k, b, err
	}
	if _, _, err := read(128); err != unix.EAGAIN {
		t.Error("nothing pending:", err)
	}
	if _, _, err := read(127); err != unix.EINVAL {
		t.Error("no room:", err)
	}
	poll := func() bool {
		p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		n, err := unix.Poll(p, 0)
		return err == nil && n == 1
	}
	if poll() {
		t.Error("ready too early")
	}
	ep, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(ep)
	if err := unix.EpollCtl(ep, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN}); err != nil {
		t.Fatal(err)
	}
	unix.Tgkill(unix.Getpid(), unix.Gettid(), unix.SIGUSR2)
	unix.Tgkill(unix.Getpid(), unix.Gettid(), unix.SIGUSR1)
	if !poll() {
		t.Error("not ready")
	}
	var ev [1]unix.EpollEvent
	if n, err := unix.EpollWait(ep, ev[:], 1000); n != 1 {
		t.Error("epoll:", n, err)
	}
	n, b, err := read(512)
	if n != 256 {
		t.Fatal(n, err)
	}
	for i, want := range []unix.Signal{unix.SIGUSR1, unix.SIGUSR2} {
		info := (*unix.SignalfdSiginfo)(unsafe.Pointer(&b[i*128]))
		if unix.Signal(info.Signo) != want || info.Code != -6 || info.Pid != uint32(unix.Getpid()) || info.Uid != uint32(unix.Getuid()) {
			t.Errorf("%+v, want signal %d", info, want)
		}
	}
	if poll() {
		t.Error("still ready")
	}
	set.Val[0] = 1 << (unix.SIGUSR1 - 1)
	if got, err := unix.Signalfd(fd, &set, 0); got != fd || err != nil {
		t.Error(got, err)
	}
	unix.Tgkill(unix.Getpid(), unix.Gettid(), unix.SIGUSR2)
	if _, _, err := read(128); err != unix.EAGAIN {
		t.Error("no longer in the set:", err)
	}
	set.Val[0] = 1 << (unix.SIGUSR2 - 1)
	unix.Signalfd(fd, &set, 0)
	if n, _, err := read(128); n != 128 {
		t.Error(err)
	}
	if _, err := unix.Write(fd, b[:128]); err != unix.EINVAL {
		t.Error("write:", err)
	}
}

// TestPidFD is a descriptor for a child: it becomes readable when that ends, and signals go through it.
func TestPidFD(t *testing.T) {
	kerneltest.AlsoInGuest(t)
	if os.Getenv("PIDFD_CHILD") != "" {
		time.Sleep(time.Hour) // not select {}: to the runtime that is a deadlock
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	pid, err := syscall.ForkExec(exe, []string{exe, "-test.run=^TestPidFD$"}, &syscall.ProcAttr{Env: append(os.Environ(), "PIDFD_CHILD=1")})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		pid, flags int
		want       unix.Errno
	}{{0, 0, unix.EINVAL}, {-1, 0, unix.EINVAL}, {1 << 22, 0, unix.ESRCH}, {pid, 1, unix.EINVAL}} {
		if _, err := unix.PidfdOpen(c.pid, c.flags); err != c.want {
			t.Errorf("pidfd_open(%d, %d): %v, want %v", c.pid, c.flags, err, c.want)
		}
	}
	fd, err := unix.PidfdOpen(pid, unix.PIDFD_NONBLOCK)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	poll := func(ms int) int16 {
		p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		for {
			if _, err := unix.Poll(p, ms); err != unix.EINTR {
				return p[0].Revents
			}
		}
	}
	if r := poll(0); r != 0 {
		t.Errorf("poll of a living process: %#x", r)
	}
	if _, err := unix.Read(fd, make([]byte, 1)); err != unix.EINVAL {
		t.Error("read:", err)
	}
	var info unix.Siginfo
	if err := unix.Waitid(unix.P_PIDFD, fd, &info, unix.WEXITED, nil); err != unix.EAGAIN {
		t.Error("waitid of a living process:", err)
	}
	if err := unix.PidfdSendSignal(fd, 0, nil, 0); err != nil {
		t.Error("signal 0:", err)
	}
	if err := unix.PidfdSendSignal(fd, unix.SIGTERM, nil, 99); err != unix.EINVAL {
		t.Error("flags:", err)
	}
	if err := unix.PidfdSendSignal(1, unix.SIGTERM, nil, 0); err != unix.EBADF {
		t.Error("no pidfd:", err)
	}
	if err := unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0); err != nil {
		t.Fatal(err)
	}
	if r := poll(10000); r != unix.POLLIN {
		t.Errorf("poll of a dead process: %#x", r)
	}
	if err := unix.Waitid(unix.P_PIDFD, fd, &info, unix.WEXITED, nil); err != nil || info.Signo != int32(unix.SIGCHLD) {
		t.Error("waitid:", err, info.Signo)
	}
	if err := unix.PidfdSendSignal(fd, 0, nil, 0); err != unix.ESRCH {
		t.Error("signal to nobody:", err)
	}
	if r := poll(0); r&unix.POLLIN == 0 {
		t.Errorf("poll of a process that was waited for: %#x", r)
	}
}

// TestEpollLinux is what epoll does with pipes, by the numbers.
func TestEpollLinux(t *testing.T) {
	kerneltest.AlsoInGuest(t)
	ep, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(ep)
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_NONBLOCK|unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	ctl := func(op, fd int, events uint32) error {
		return unix.EpollCtl(ep, op, fd, &unix.EpollEvent{Events: events, Fd: int32(fd)})
	}
	wait := func() (all []uint32) {
		var ev [8]unix.EpollEvent
		n, _ := unix.EpollWait(ep, ev[:], 0)
		for _, e := range ev[:n] {
			all = append(all, e.Events)
		}
		return all
	}
	expect := func(what string, want ...uint32) {
		t.Helper()
		got := wait()
		if len(got) != len(want) || len(got) > 0 && got[0] != want[0] {
			t.Errorf("%s: %#x, want %#x", what, got, want)
		}
	}
	if err := ctl(unix.EPOLL_CTL_ADD, p[0], unix.EPOLLIN|unix.EPOLLET); err != nil {
		t.Fatal(err)
	}
	expect("empty")
	unix.Write(p[1], []byte("a"))
	expect("one byte", unix.EPOLLIN)
	expect("edge")
	unix.Write(p[1], []byte("b"))
	expect("one more", unix.EPOLLIN)
	unix.Close(p[1])
	expect("hung up", unix.EPOLLIN|unix.EPOLLHUP)
	if err := ctl(unix.EPOLL_CTL_MOD, p[0], unix.EPOLLIN); err != nil {
		t.Error(err)
	}
	expect("level", unix.EPOLLIN|unix.EPOLLHUP)
	unix.Read(p[0], make([]byte, 8))
	expect("only hung up", unix.EPOLLHUP)
	unix.Close(p[0])
	expect("closed")
	f, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := ctl(unix.EPOLL_CTL_ADD, int(f.Fd()), unix.EPOLLIN); err != unix.EPERM {
		t.Error("a regular file:", err)
	}
	fd, err := unix.Eventfd(0, unix.EFD_NONBLOCK)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	var one [8]byte
	binary.LittleEndian.PutUint64(one[:], 1)
	ctl(unix.EPOLL_CTL_ADD, fd, unix.EPOLLIN|unix.EPOLLOUT|unix.EPOLLONESHOT)
	unix.Write(fd, one[:])
	expect("both", unix.EPOLLIN|unix.EPOLLOUT)
	expect("once")
	if err := ctl(unix.EPOLL_CTL_ADD, ep, unix.EPOLLIN); err != unix.EINVAL {
		t.Error("itself:", err)
	}
}
