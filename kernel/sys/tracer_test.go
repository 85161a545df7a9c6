package sys

import (
	"testing"

	"goum/arch/abi"
)

func TestTracer(t *testing.T) {
	r := newRig(t)
	r.run(func(g *guest) {
		var tr Tracer
		trace := func(nr uint64, a Args) string {
			c := r.table.Call(uint32(nr))
			tr.Enter(g.Task, r.table.Name(uint32(nr)), c, a)
			n, e := uint64(0), abi.ENOSYS
			if c != nil && c.Do != nil {
				n, e = c.Do(g.Task, a)
			}
			return string(tr.Leave(n, e))
		}
		p := g.put(make([]byte, 8))
		cwd := uint64(0xffffffffffffff9c)
		for _, c := range []struct {
			nr   uint64
			a    Args
			want string
		}{
			{abi.SYS_GETPID, Args{}, "getpid() = 1"},
			{abi.SYS_OPENAT, Args{A: cwd, B: g.str("/no\tne"), C: abi.O_WRONLY | abi.O_CLOEXEC}, `openat(AT_FDCWD, "/no\tne", O_WRONLY|O_CLOEXEC, 0) = -1 ENOENT`},
			{abi.SYS_PIPE2, Args{A: p, B: abi.O_NONBLOCK}, "pipe2([[0 1]], O_RDONLY|O_NONBLOCK) = 0"},
			{abi.SYS_WRITE, Args{A: 1, B: g.str("a\"b\x01"), C: 4}, `write(1, "a\"b\001", 4) = 4`},
			{abi.SYS_READ, Args{A: 0, B: room, C: 100}, `read(0, "a\"b\001", 100) = 4`},
			{abi.SYS_READ, Args{A: 9, B: room, C: 100}, `read(9, 0x30000000, 100) = -1 EBADF`},
			{abi.SYS_MMAP, Args{B: 4096, C: 3, D: abi.MAP_PRIVATE | abi.MAP_ANONYMOUS | abi.MAP_FIXED, A: 0x40000000, E: ^uint64(0)},
				"mmap(0x40000000, 4096, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_FIXED|MAP_ANONYMOUS, -1, 0x0) = 0x40000000"},
			{abi.SYS_KILL, Args{A: 1, B: 0}, "kill(1, 0) = 0"},
			{abi.SYS_NANOSLEEP, Args{A: value(g, abi.Timespec{})}, "nanosleep({tv_sec=0, tv_nsec=0}, NULL) = 0"},
			{abi.SYS_IO_URING_SETUP, Args{A: 1}, "io_uring_setup() = -1 ENOSYS"},
			{9999, Args{}, "syscall_9999() = -1 ENOSYS"},
			{abi.SYS_CHDIR, Args{A: 8}, "chdir(0x8) = -1 EFAULT"},
		} {
			if got := trace(c.nr, c.a); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		}
		// No argument of any call may hurt the tracer, whatever the guest hands over.
		for nr := range uint32(MaxCall) {
			c := r.table.Call(nr)
			if c == nil {
				continue
			}
			for _, v := range []uint64{0, 1, 8, room, 1 << 63, ^uint64(0)} {
				tr.Enter(g.Task, c.Name, c, Args{v, v, v, v, v, v})
				tr.Leave(v, 0)
				tr.Enter(g.Task, c.Name, c, Args{v, v, v, v, v, v})
				tr.Leave(0, abi.EINVAL)
			}
		}
	})
}
