package skas

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"syscall"
	"time"

	"goum/arch/lock"
	"goum/stub"

	"golang.org/x/sys/unix"
)

// spawner is the zygote: a process of the stub's own code that forks a stub for each request. The stubs are the monitor's
// children all the same (CLONE_PARENT), but neither its memory nor its descriptors are ever copied.
type spawner struct {
	// immutable after startSpawner
	socket int           // requests out, replies with listeners in; SOCK_SEQPACKET
	done   chan struct{} // closed: the thread that is the zygote's and the stubs' parent may end

	// guarded by mu
	mu     lock.Mutex[lock.Ops] // a request and its reply belong together
	pid    int                  // 0 once it is reaped: then the pid is somebody else's
	broken error                // why it answers no more
	late   []int                // slices of requests whose answer came too late; those stubs are gone
}

// startSpawner executes the stub image. The thread that does so must live as long as the monitor: the host kills the zygote and
// the stubs when their parent thread ends.
func startSpawner(image []byte, physmem, control int) (*spawner, error) {
	exe, err := sealedMemfd("goum-stub", image)
	if err != nil {
		return nil, err
	}
	defer unix.Close(exe)
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("skas: socketpair: %w", err)
	}
	defer unix.Close(pair[1])
	s := &spawner{socket: pair[0], done: make(chan struct{})}
	started := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with this goroutine
		pid, err := forkStub(exe, []uintptr{uintptr(pair[1]), uintptr(pair[1]), uintptr(pair[1]), uintptr(physmem), uintptr(control), uintptr(pair[1])})
		s.pid = pid
		started <- err
		<-s.done
	}()
	if err := <-started; err != nil {
		close(s.done)
		unix.Close(pair[0])
		return nil, err
	}
	timeout := unix.NsecToTimeval(startTimeout.Nanoseconds())
	if err := unix.SetsockoptTimeval(pair[0], unix.SOL_SOCKET, unix.SO_RCVTIMEO, &timeout); err != nil {
		return nil, errors.Join(fmt.Errorf("skas: receive timeout: %w", err), s.stop())
	}
	return s, nil
}

// forkStub starts the image exe without address randomisation and with an ordinary stack limit, so that what exec maps lies
// above stub.Start or can be unmapped. Where the host (a container's filter) forbids the first, the second has to do.
func forkStub(exe int, files []uintptr) (int, error) {
	const query, noRandomize = 0xffffffff, 0x0040000
	if old, _, e := unix.RawSyscall(unix.SYS_PERSONALITY, query, 0, 0); e == 0 {
		if _, _, e = unix.RawSyscall(unix.SYS_PERSONALITY, old|noRandomize, 0, 0); e == 0 {
			defer unix.RawSyscall(unix.SYS_PERSONALITY, old, 0, 0)
		}
	}
	var stack unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_STACK, &stack) == nil && stack.Cur > ordinaryStack {
		// The host lays an address space out by it, with no limit from the bottom up. It means nothing to threads that exist.
		if unix.Setrlimit(unix.RLIMIT_STACK, &unix.Rlimit{Cur: ordinaryStack, Max: stack.Max}) == nil {
			defer unix.Setrlimit(unix.RLIMIT_STACK, &stack)
		}
	}
	pid, err := syscall.ForkExec(fmt.Sprintf("/proc/self/fd/%d", exe), []string{"goum-stub"}, &syscall.ProcAttr{Files: files, Env: []string{}})
	switch {
	case err == syscall.EAGAIN:
		return 0, fmt.Errorf("skas: the first stub cannot start: %w (too many processes: ulimit -u, or the pids limit of the control group)", err)
	case err == syscall.EACCES || err == syscall.EPERM:
		return 0, fmt.Errorf("skas: the stub image cannot be executed: %w (the host forbids to execute a memfd)", err)
	case err != nil:
		return 0, fmt.Errorf("skas: the stub image cannot be executed: %w (is /proc mounted?)", err)
	}
	return pid, nil
}

// stop ends the zygote and waits for it.
func (s *spawner) stop() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	unix.Close(s.socket)
	var err error
	if s.pid != 0 {
		unix.Kill(s.pid, unix.SIGKILL) // our child, not yet reaped: the pid is its own
		_, err = wait4(s.pid)
		s.pid = 0
	}
	close(s.done)
	return err
}

// spawned is a new stub process.
type spawned struct {
	pid      int
	listener int
	pidfd    int
}

// errLate says that a stub has not come in time, but may still: its slice must not be used for another.
var errLate = fmt.Errorf("skas: no stub after %v", startTimeout)

// spawn asks the zygote for a stub with the given slice of control memory. s.mu is held. What it cannot use it ends: no stub
// stays that nobody knows of.
func (s *spawner) spawn(slice int) (spawned, error) {
	if s.broken != nil {
		return spawned{}, s.broken
	}
	var request [requestSize]byte
	putUint32(request[0:], uint32(slice))
	putUint32(request[4:], uint32(os.Getpid()))
	if err := again(func() error { _, err := unix.Write(s.socket, request[:]); return err }); err != nil {
		return spawned{}, s.lost(err)
	}
	for {
		got, of, err := s.reply()
		if of == slice || err != nil && of < 0 {
			return got, err
		}
		// The answer to a request that was given up.
		s.late = append(s.late, of)
		if err == nil {
			unix.Close(got.listener)
			unix.Close(got.pidfd)
			discard(got.pid)
		}
	}
}

// reply reads one answer of the zygote, and says for which slice it is; negative: for none.
func (s *spawner) reply() (got spawned, slice int, err error) {
	var reply [replySize]byte
	var n, oobn, flags int
	oob := make([]byte, unix.CmsgSpace(4))
	err = again(func() (err error) {
		n, oobn, flags, _, err = unix.Recvmsg(s.socket, reply[:], oob, unix.MSG_CMSG_CLOEXEC)
		return err
	})
	switch {
	case err == unix.EAGAIN:
		return got, -1, errLate
	case err != nil || n == 0:
		return got, -1, s.lost(err)
	case n != len(reply):
		s.broken = fmt.Errorf("skas: a reply of %d bytes from the spawner", n)
		return got, -1, s.broken
	}
	pid, failed := int(int32(uint32At(reply[0:]))), int(int32(uint32At(reply[8:])))
	slice = int(uint32At(reply[4:]))
	if failed != 0 {
		discard(pid)
		return got, slice, stub.StartError(failed)
	}
	listener, err := oneDescriptor(oob[:oobn])
	if err != nil {
		discard(pid)
		if flags&unix.MSG_CTRUNC != 0 {
			err = fmt.Errorf("skas: no descriptor is free for a stub's listener: %w (ulimit -n)", unix.EMFILE)
		}
		return got, slice, err
	}
	pidfd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		unix.Close(listener)
		discard(pid)
		return got, slice, fmt.Errorf("skas: pidfd_open: %w", err)
	}
	return spawned{pid: pid, listener: listener, pidfd: pidfd}, slice, nil
}

// discard ends a child of ours that is not to be had, and waits for it.
func discard(pid int) {
	if pid > 0 {
		unix.Kill(pid, unix.SIGKILL) // not yet reaped: the pid is its own
		wait4(pid)
	}
}

func again(call func() error) error {
	for {
		if err := call(); err != unix.EINTR {
			return err
		}
	}
}

// lost finds out why the zygote does not answer, and remembers it.
func (s *spawner) lost(err error) error {
	s.broken = fmt.Errorf("skas: the stub spawner does not answer: %w", err)
	for deadline := time.Now().Add(time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		var status unix.WaitStatus
		if pid, _ := unix.Wait4(s.pid, &status, unix.WNOHANG, nil); pid == s.pid {
			s.pid = 0
			s.broken = fmt.Errorf("skas: the stub spawner was killed by %v", status.Signal())
			if status.Exited() {
				s.broken = stub.StartError(status.ExitStatus() << stub.StepShift)
			}
			break
		}
	}
	return s.broken
}

func oneDescriptor(oob []byte) (int, error) {
	msgs, err := unix.ParseSocketControlMessage(oob)
	if err != nil || len(msgs) != 1 {
		return -1, fmt.Errorf("skas: the stub sent no listener (%d control messages, %v)", len(msgs), err)
	}
	fds, err := unix.ParseUnixRights(&msgs[0])
	if err != nil || len(fds) != 1 {
		for _, fd := range fds {
			unix.Close(fd)
		}
		return -1, fmt.Errorf("skas: the stub sent %d descriptors, %v", len(fds), err)
	}
	return fds[0], nil
}

// sealedMemfd makes a memfd with these contents, which nobody can change any more.
func sealedMemfd(name string, contents []byte) (int, error) {
	const execMode = 0x10 // MFD_EXEC: Linux 6.3 wants to be told; older ones refuse the flag and need none
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING|execMode)
	if err == unix.EINVAL {
		fd, err = unix.MemfdCreate(name, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	}
	if err == unix.EACCES || err == unix.EPERM {
		return -1, fmt.Errorf("skas: memfd_create(%s): %w (the host forbids executable memfds: sysctl vm.memfd_noexec is 2)", name, err)
	}
	if err != nil {
		return -1, fmt.Errorf("skas: memfd_create(%s): %w", name, err)
	}
	if _, err = unix.Write(fd, contents); err == nil {
		_, err = unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, unix.F_SEAL_SEAL|unix.F_SEAL_SHRINK|unix.F_SEAL_GROW|unix.F_SEAL_WRITE)
	}
	if err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("skas: %s: %w", name, err)
	}
	// Executing it needs a descriptor that is not open for writing.
	ro, err := unix.Open(fmt.Sprintf("/proc/self/fd/%d", fd), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	unix.Close(fd)
	if err != nil {
		return -1, fmt.Errorf("skas: %s cannot be opened: %w (is /proc mounted?)", name, err)
	}
	return ro, nil
}

func wait4(pid int) (unix.WaitStatus, error) {
	var status unix.WaitStatus
	for {
		_, err := unix.Wait4(pid, &status, 0, nil)
		if err != unix.EINTR {
			return status, err
		}
	}
}
