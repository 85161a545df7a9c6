package skas

import (
	"fmt"
	"syscall"
	"unsafe"

	"goum/arch/x86"
	"goum/stub"

	"golang.org/x/sys/unix"
)

// notification is struct seccomp_notif: what a thread asks, and who asks. The host has copied it: no guest can change it.
type notification struct {
	ID    uint64
	Pid   uint32
	Flags uint32
	Nr    int32
	Arch  uint32
	IP    uint64
	Args  [6]uint64
}

// response is struct seccomp_notif_resp.
type response struct {
	ID    uint64
	Val   int64
	Error int32
	Flags uint32
}

// Sizes of stub's request to the zygote, and of its reply: both are 32-bit numbers.
const (
	requestSize = 8
	replySize   = 12
)

const flagContinue = 1 // SECCOMP_USER_NOTIF_FLAG_CONTINUE

const (
	ioctlRecv     = 0xc0502100 // SECCOMP_IOCTL_NOTIF_RECV
	ioctlSend     = 0xc0182101 // SECCOMP_IOCTL_NOTIF_SEND
	ioctlSetFlags = 0x40082104 // SECCOMP_IOCTL_NOTIF_SET_FLAGS
	syncWakeUp    = 1          // SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP
)

// receive waits for the next notification of the listener. It goes through Syscall, so that the runtime can take the P away
// while a guest computes. ENOENT: there was one, and it is gone; or every thread of the stub is dead.
func receive(fd int, n *notification) syscall.Errno {
	for {
		*n = notification{} // the host insists
		_, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), ioctlRecv, uintptr(unsafe.Pointer(n)))
		if e != unix.EINTR {
			return e
		}
	}
}

// send answers a notification. It never waits. ENOENT: the thread is not waiting for it any more.
func send(fd int, r *response) syscall.Errno {
	_, _, e := unix.RawSyscall(unix.SYS_IOCTL, uintptr(fd), ioctlSend, uintptr(unsafe.Pointer(r)))
	return e
}

// wakeHere asks the host to run whoever a notification or an answer wakes on the waker's own core: waking an idle one costs
// 15 us. A host without that (before Linux 6.6) is only slower.
func wakeHere(fd int) {
	unix.RawSyscall(unix.SYS_IOCTL, uintptr(fd), ioctlSetFlags, syncWakeUp)
}

// slot returns a stub's slot in the monitor's mapping of the control memory.
func (p *Pool) slot(slice, slot int) *stub.Slot {
	return (*stub.Slot)(unsafe.Pointer(&p.control[slice*stub.SliceSize+slot*stub.SlotSize]))
}

// slotBytes is a slot with the stack behind it.
func slotBytes(s *stub.Slot) *[stub.SlotSize]byte { return (*[stub.SlotSize]byte)(unsafe.Pointer(s)) }

// regsIn copies the general registers out of a ucontext in a slot; regsOut copies them back. at was checked by frameOffset.
func regsIn(s *stub.Slot, at int, r *x86.Regs) {
	*(*[x86.SigcontextSize]byte)(unsafe.Pointer(r)) = *(*[x86.SigcontextSize]byte)(slotBytes(s)[at+stub.UcRegs:])
}

func regsOut(s *stub.Slot, at int, r *x86.Regs) {
	*(*[x86.SigcontextSize]byte)(slotBytes(s)[at+stub.UcRegs:]) = *(*[x86.SigcontextSize]byte)(unsafe.Pointer(r))
}

// cpuTime is the CPU time that the threads of process pid have used together.
func cpuTime(pid int) (ns int64, ok bool) {
	const sched = 2 // CPUCLOCK_SCHED
	var ts unix.Timespec
	if err := unix.ClockGettime(int32(^pid<<3|sched), &ts); err != nil {
		return 0, false
	}
	return ts.Nano(), true
}

// sharedMemfd makes a memfd of size bytes and maps it.
func sharedMemfd(name string, size int) (fd int, mem []byte, err error) {
	if fd, err = unix.MemfdCreate(name, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING); err != nil {
		return -1, nil, fmt.Errorf("skas: memfd_create(%s): %w", name, err)
	}
	if err = unix.Ftruncate(fd, int64(size)); err == nil {
		mem, err = unix.Mmap(fd, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_NORESERVE)
	}
	if err != nil {
		unix.Close(fd)
		return -1, nil, fmt.Errorf("skas: %s of %d bytes: %w", name, size, err)
	}
	return fd, mem, nil
}
