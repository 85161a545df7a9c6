package sys

import (
	"testing"

	"goum/arch/abi"
)

// The way of these calls allocates nothing, from Dispatch to the subsystem and back.
func TestDispatchAllocatesNothing(t *testing.T) {
	if checked {
		t.Skip("checking locks allocates")
	}
	r := newRig(t)
	r.run(func(g *guest) {
		p := g.put(make([]byte, 8))
		g.must(abi.SYS_PIPE, p)
		fds := load[[2]int32](g, p)
		in, out := uint64(fds[0]), uint64(fds[1])
		file := g.must(abi.SYS_OPEN, g.str("/tmp/f"), abi.O_CREAT|abi.O_RDWR, 0o600)
		g.must(abi.SYS_WRITE, file, room, 4096)
		word := value(g, uint32(0))
		ts := g.put(make([]byte, 32))
		iov := value(g, abi.Iovec{Base: room, Len: 10})
		set := g.put(make([]byte, 16))
		poll := value(g, abi.PollFD{FD: int32(file), Events: abi.POLLIN})
		ev := g.must(abi.SYS_EVENTFD2, 1, abi.EFD_NONBLOCK)
		ep := g.must(abi.SYS_EPOLL_CREATE1, 0)
		for _, c := range []struct {
			nr uint64
			a  []uint64
		}{
			{abi.SYS_GETPID, nil}, {abi.SYS_GETPPID, nil}, {abi.SYS_GETUID, nil}, {abi.SYS_GETTID, nil},
			{abi.SYS_WRITE, []uint64{out, room, 1}}, {abi.SYS_READ, []uint64{in, room, 1}},
			{abi.SYS_PREAD64, []uint64{file, room, 4096, 0}}, {abi.SYS_PWRITE64, []uint64{file, room, 4096, 0}},
			{abi.SYS_PREADV, []uint64{file, iov, 1, 0}}, {abi.SYS_LSEEK, []uint64{file, 0, 0}}, {abi.SYS_READ, []uint64{file, room, 100}},
			{abi.SYS_FUTEX, []uint64{word, abi.FUTEX_WAKE | abi.FUTEX_PRIVATE_FLAG, 1}},
			{abi.SYS_FUTEX, []uint64{word, abi.FUTEX_WAIT | abi.FUTEX_PRIVATE_FLAG, 1}},
			{abi.SYS_CLOCK_GETTIME, []uint64{1, ts}}, {abi.SYS_RT_SIGPROCMASK, []uint64{0, set, set + 8, 8}},
			{abi.SYS_POLL, []uint64{poll, 1, 0}}, {abi.SYS_WRITE, []uint64{ev, set, 8}}, {abi.SYS_EPOLL_WAIT, []uint64{ep, room, 10, 0}},
			{abi.SYS_FSTAT, []uint64{file, room}}, {abi.SYS_SCHED_YIELD, nil}, {abi.SYS_IO_URING_SETUP, nil}, {9999, nil},
		} {
			var v [6]uint64
			copy(v[:], c.a)
			x := &g.Regs
			n := testing.AllocsPerRun(100, func() {
				x.RAX, x.RDI, x.RSI, x.RDX, x.R10, x.R8, x.R9 = c.nr, v[0], v[1], v[2], v[3], v[4], v[5]
				g.r.table.Dispatch(g.Task, x)
			})
			if n != 0 {
				t.Errorf("%s allocates %v times", g.r.table.Name(uint32(c.nr)), n)
			}
		}
	})
}

func BenchmarkDispatchGetpid(b *testing.B) {
	r := newRig(b)
	r.run(func(g *guest) {
		g.Regs.RAX = abi.SYS_GETPID
		for b.Loop() {
			r.table.Dispatch(g.Task, &g.Regs)
		}
	})
}
