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
	mu     lock.Mutex[lock.Ops] // a request and its reply belong together
	socket int                  // requests out, replies with listeners in; SOCK_SEQPACKET
	pid    int
	done   chan struct{} // closed: the thread that is the zygote's and the stubs' parent may end
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
	null, err := unix.Open("/dev/null", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		unix.Close(pair[0])
		return nil, fmt.Errorf("skas: /dev/null: %w", err)
	}
	defer unix.Close(null)

	s := &spawner{socket: pair[0], done: make(chan struct{})}
	started := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with this goroutine
		pid, err := forkStub(exe, []uintptr{uintptr(null), uintptr(null), uintptr(null), uintptr(physmem), uintptr(control), uintptr(pair[1])})
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
// above stub.Start or can be unmapped.
func forkStub(exe int, files []uintptr) (int, error) {
	const query, noRandomize = 0xffffffff, 0x0040000
	old, _, e := unix.RawSyscall(unix.SYS_PERSONALITY, query, 0, 0)
	if e != 0 {
		return 0, fmt.Errorf("skas: personality: %w", e)
	}
	if _, _, e := unix.RawSyscall(unix.SYS_PERSONALITY, old|noRandomize, 0, 0); e != 0 {
		return 0, fmt.Errorf("skas: personality(ADDR_NO_RANDOMIZE): %w", e)
	}
	defer unix.RawSyscall(unix.SYS_PERSONALITY, old, 0, 0)
	pid, err := syscall.ForkExec(fmt.Sprintf("/proc/self/fd/%d", exe), []string{"goum-stub"}, &syscall.ProcAttr{Files: files, Env: []string{}})
	if err != nil {
		return 0, fmt.Errorf("skas: start of the stub image: %w (is /proc mounted, and may memfds be executed?)", err)
	}
	return pid, nil
}

// stop ends the zygote and waits for it.
func (s *spawner) stop() error {
	unix.Close(s.socket)
	unix.Kill(s.pid, unix.SIGKILL) // our child, not yet reaped: the pid is its own
	_, err := wait4(s.pid)
	close(s.done)
	return err
}

// spawned is a new stub process.
type spawned struct {
	pid      int
	listener int
	pidfd    int
}

// spawn asks the zygote for a stub with the given slice of control memory.
func (s *spawner) spawn(slice int) (spawned, error) {
	var request [8]byte
	putUint32(request[0:], uint32(slice))
	putUint32(request[4:], uint32(os.Getpid()))
	if _, err := unix.Write(s.socket, request[:]); err != nil {
		return spawned{}, s.lost(err)
	}
	var reply [8]byte
	oob := make([]byte, unix.CmsgSpace(4))
	var n, oobn int
	var err error
	for {
		n, oobn, _, _, err = unix.Recvmsg(s.socket, reply[:], oob, unix.MSG_CMSG_CLOEXEC)
		if err != unix.EINTR {
			break
		}
	}
	switch {
	case err == unix.EAGAIN:
		return spawned{}, fmt.Errorf("skas: no stub after %v", startTimeout)
	case err != nil || n == 0:
		return spawned{}, s.lost(err)
	case n != len(reply):
		return spawned{}, fmt.Errorf("skas: a reply of %d bytes from the spawner", n)
	}
	pid := int(int32(uint32At(reply[0:])))
	if pid < 0 {
		return spawned{}, stub.StartError(-pid)
	}
	if got := int(uint32At(reply[4:])); got != slice {
		return spawned{}, fmt.Errorf("skas: asked for slice %d, got %d", slice, got)
	}
	listener, err := oneDescriptor(oob[:oobn])
	if err != nil {
		return spawned{}, err
	}
	pidfd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		unix.Close(listener)
		return spawned{}, fmt.Errorf("skas: pidfd_open: %w", err)
	}
	return spawned{pid: pid, listener: listener, pidfd: pidfd}, nil
}

// lost says why the zygote does not answer.
func (s *spawner) lost(err error) error {
	for deadline := time.Now().Add(time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		var status unix.WaitStatus
		if pid, _ := unix.Wait4(s.pid, &status, unix.WNOHANG, nil); pid == s.pid {
			if status.Exited() {
				return stub.StartError(status.ExitStatus() << stub.StepShift)
			}
			return fmt.Errorf("skas: the stub spawner was killed by %v", status.Signal())
		}
	}
	return fmt.Errorf("skas: the stub spawner does not answer: %w", err)
}

func oneDescriptor(oob []byte) (int, error) {
	msgs, err := unix.ParseSocketControlMessage(oob)
	if err != nil || len(msgs) != 1 {
		return -1, fmt.Errorf("skas: the stub sent no listener (%d control messages, %v)", len(msgs), err)
	}
	fds, err := unix.ParseUnixRights(&msgs[0])
	if err != nil || len(fds) != 1 {
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
		return -1, fmt.Errorf("skas: %s, read-only: %w (is /proc mounted?)", name, err)
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
