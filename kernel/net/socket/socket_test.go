package socket

import (
	"bytes"
	"os"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"goum/arch/abi"
	"goum/sched/clock"
)

// onHost reads a file of /proc/net in a fresh network namespace, after f did something there.
func onHost(t *testing.T, name string, f func(fd int)) string {
	out := make(chan string, 1)
	skip := make(chan string, 1)
	go func() {
		defer close(skip)
		runtime.LockOSThread() // never unlocked: the thread ends with its namespace
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			skip <- err.Error()
			return
		}
		fd, _ := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
		defer unix.Close(fd)
		f(fd)
		b, err := os.ReadFile("/proc/thread-self/net/" + name)
		if err != nil {
			skip <- err.Error()
			return
		}
		out <- string(b)
	}()
	if msg := <-skip; msg != "" {
		t.Skip(msg)
	}
	return <-out
}

// TestProc compares the files of /proc/net with Linux's, when lo is down and when it is up.
func TestProc(t *testing.T) {
	for _, up := range []bool{false, true} {
		n := New(clock.NewVirtual(0))
		if up {
			n.Up()
		}
		files := n.ProcFiles()
		for _, name := range []string{"dev", "route", "if_inet6"} {
			want := onHost(t, name, func(fd int) {
				if r, err := unix.NewIfreq("lo"); err == nil && up {
					r.SetUint16(unix.IFF_UP)
					unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, r)
				}
			})
			if name == "route" && !up {
				continue // Linux shows not even the head before there was a route
			}
			if got := files[name](nil); got != want {
				t.Errorf("up %v, /proc/net/%s:\n%s\nwant:\n%s", up, name, got, want)
			}
		}
	}
}

func FuzzCmsg(f *testing.F) {
	h := abi.Cmsghdr{Len: 20, Level: abi.SOL_SOCKET, Type: abi.SCM_RIGHTS}
	f.Add(append(append([]byte(nil), abi.Bytes(&h)...), 1, 2, 3, 4))
	f.Add(bytes.Repeat([]byte{16, 0, 0, 0, 0, 0, 0, 0}, 6))
	f.Fuzz(func(t *testing.T, b []byte) {
		sum := 0
		EachCmsg(b, func(c Cmsg) abi.Errno {
			sum += abi.CmsghdrSize + len(c.Data)
			return 0
		})
		if sum > len(b) {
			t.Errorf("%d bytes of messages in %d", sum, len(b))
		}
	})
}

// TestPut cuts ancillary messages as put_cmsg does.
func TestPut(t *testing.T) {
	for _, c := range []struct {
		room, want int
		flags      uint32
	}{{0, 0, abi.MSG_CTRUNC}, {15, 0, abi.MSG_CTRUNC}, {16, 16, abi.MSG_CTRUNC}, {18, 18, abi.MSG_CTRUNC}, {20, 20, 0}, {22, 22, 0}, {24, 24, 0}, {100, 24, 0}} {
		m := NewMsg()
		m.Room = c.room
		m.Put(1, 2, []byte{1, 2, 3, 4})
		if len(m.Control) != c.want || m.Flags != c.flags {
			t.Errorf("room %d: %d bytes, flags %#x", c.room, len(m.Control), m.Flags)
		}
		m.Done()
	}
}

// TestSIGIO tells of what can be read, and of no room to write.
func TestSIGIO(t *testing.T) {
	n := New(clock.NewVirtual(0))
	s := n.newSocket(abi.AF_UNIX, abi.SOCK_STREAM, 0)
	told := 0
	n.SIGIO = nil
	s.Wake(ReadEvents)
	n.SIGIO = func(_ *vfsOpen, events uint32) { told++ }
	s.Wake(ReadEvents)
	s.SetAsync(new(vfsOpen), true)
	s.Wake(ReadEvents)
	s.Wake(WriteEvents)
	s.SetAsync(nil, false)
	s.Wake(ReadEvents)
	if told != 1 {
		t.Errorf("told %d times, want once", told)
	}
}
