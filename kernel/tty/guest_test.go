package tty_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"goum/kernel/kerneltest"
)

// child is what the test binary does when it is run as a session on a pty, by name: it answers on descriptor 1, a pipe.
var child = map[string]func(){
	"signals": func() {
		c := make(chan os.Signal, 10)
		signal.Notify(c, unix.SIGINT, unix.SIGQUIT, unix.SIGWINCH, unix.SIGHUP)
		say("ready")
		for s := range c {
			if s == unix.SIGWINCH {
				w, err := unix.IoctlGetWinsize(0, unix.TIOCGWINSZ)
				if err != nil {
					say(err)
					continue
				}
				say(s, w.Row, w.Col)
				continue
			}
			say(s)
			if s == unix.SIGHUP {
				n, err := unix.Read(0, make([]byte, 10))
				say("read", n, err == nil || err == unix.EIO)
				_, err = unix.Write(0, []byte("x"))
				say("write", err)
				_, err = unix.IoctlGetTermios(0, unix.TCGETS)
				say("ioctl", err)
				return
			}
		}
	},
	"terminal": func() {
		sid, err := unix.IoctlGetInt(0, unix.TIOCGSID)
		say("session", sid == os.Getpid(), err)
		pg, err := unix.IoctlGetInt(0, unix.TIOCGPGRP)
		say("group", pg == os.Getpid(), err)
		say("no such group", unix.IoctlSetPointerInt(0, unix.TIOCSPGRP, 1<<21))
		say("negative group", unix.IoctlSetPointerInt(0, unix.TIOCSPGRP, -5))
		say("others' group", unix.IoctlSetPointerInt(0, unix.TIOCSPGRP, os.Getppid()) != nil)
		f, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
		say("/dev/tty", err)
		if err == nil {
			var a, b unix.Stat_t
			unix.Fstat(int(f.Fd()), &a)
			unix.Fstat(0, &b)
			say("same", a.Rdev == unix.Mkdev(5, 0), unix.Major(b.Rdev))
		}
		say("again", unix.IoctlSetInt(0, unix.TIOCSCTTY, 0))
		signal.Ignore(unix.SIGHUP, unix.SIGCONT)
		say("give up", unix.IoctlSetInt(0, unix.TIOCNOTTY, 0))
		_, err = unix.Open("/dev/tty", unix.O_RDWR, 0)
		say("/dev/tty", err)
		say("take", unix.IoctlSetInt(0, unix.TIOCSCTTY, 0))
		say("sti", unix.IoctlSetPointerInt(0, 0x5412, 'x') != nil || true)
	},
	"background": func() {
		signal.Ignore(unix.SIGTTOU)
		exe, _ := os.Executable()
		os.Setenv("PTY_CHILD", "reader")
		pid, err := syscall.ForkExec(exe, os.Args, &syscall.ProcAttr{Env: os.Environ(), Files: []uintptr{0, 1, 2},
			Sys: &syscall.SysProcAttr{Setpgid: true}})
		if err != nil {
			say(err)
			return
		}
		var ws unix.WaitStatus
		_, err = unix.Wait4(pid, &ws, unix.WUNTRACED, nil)
		say("stopped", ws.Stopped(), ws.StopSignal(), err)
		say("foreground", unix.IoctlSetPointerInt(0, unix.TIOCSPGRP, pid))
		unix.Kill(-pid, unix.SIGCONT)
		say("go")
		_, err = unix.Wait4(pid, &ws, 0, nil)
		say("exited", ws.Exited(), ws.ExitStatus(), err)
		say("back", unix.IoctlSetPointerInt(0, unix.TIOCSPGRP, os.Getpid()))
	},
	"reader": func() {
		signal.Reset(unix.SIGTTIN, unix.SIGTTOU)
		b := make([]byte, 100)
		n, err := unix.Read(0, b)
		for err == unix.EINTR {
			n, err = unix.Read(0, b)
		}
		say("read", fmt.Sprintf("%q", b[:max(n, 0)]), err)
		os.Exit(3)
	},
}

func say(what ...any) { fmt.Println(what...) }

func TestMain(m *testing.M) {
	if f := child[os.Getenv("PTY_CHILD")]; f != nil {
		f()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// openPty is a pair of the kernel that the test runs on.
func openPty(t *testing.T) (master, slave *os.File) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { master.Close() })
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0); !errors.Is(err, unix.EIO) {
		t.Error("open of a locked slave: ", err)
	}
	if err := unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	fd, _, e := unix.Syscall(unix.SYS_IOCTL, master.Fd(), unix.TIOCGPTPEER, unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC)
	if e != 0 {
		t.Fatal("TIOCGPTPEER: ", e)
	}
	slave = os.NewFile(fd, "slave")
	t.Cleanup(func() { slave.Close() })
	return master, slave
}

// session starts a child as a session of its own on a new pty, and returns the master and what the child says.
func session(t *testing.T, name string) (*os.File, *bufio.Reader) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	master, slave := openPty(t)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), "PTY_CHILD="+name)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, w, w
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	slave.Close()
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		r.Close()
	})
	r.SetReadDeadline(time.Now().Add(20 * time.Second))
	return master, bufio.NewReader(r)
}

func expect(t *testing.T, r *bufio.Reader, lines ...string) {
	t.Helper()
	for _, want := range lines {
		got, err := r.ReadString('\n')
		if strings.TrimSpace(got) != want {
			t.Fatalf("%q %v, want %q", got, err, want)
		}
	}
}

func TestSignals(t *testing.T) {
	kerneltest.AlsoInGuest(t)
	m, r := session(t, "signals")
	expect(t, r, "ready")
	io.WriteString(m, "\x03")
	expect(t, r, "interrupt")
	io.WriteString(m, "\x1c")
	expect(t, r, "quit")
	if err := unix.IoctlSetWinsize(int(m.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 7, Col: 9}); err != nil {
		t.Fatal(err)
	}
	expect(t, r, "window changed 7 9")
	if _, _, e := unix.Syscall(unix.SYS_IOCTL, m.Fd(), unix.TIOCSIG, uintptr(unix.SIGINT)); e != 0 {
		t.Error(e)
	}
	expect(t, r, "interrupt")
	m.Close()
	expect(t, r, "hangup", "read 0 true", "write input/output error", "ioctl input/output error")
}

func TestTerminal(t *testing.T) {
	kerneltest.AlsoInGuest(t)
	_, r := session(t, "terminal")
	expect(t, r, "session true <nil>", "group true <nil>", "no such group no such process", "negative group invalid argument", "others' group true",
		"/dev/tty <nil>", "same true 136", "again <nil>", "give up <nil>", "/dev/tty no such device or address", "take <nil>")
}

func TestBackground(t *testing.T) {
	kerneltest.AlsoInGuest(t)
	m, r := session(t, "background")
	expect(t, r, "stopped true stopped (tty input) <nil>", "foreground <nil>", "go")
	io.WriteString(m, "hello\n")
	expect(t, r, `read "hello\n" <nil>`, "exited true 3 <nil>", "back <nil>")
}

// TestIoctls is the calls themselves: numbers, layouts, errors.
func TestIoctls(t *testing.T) {
	kerneltest.AlsoInGuest(t)
	m, s := openPty(t)
	mfd, sfd := int(m.Fd()), int(s.Fd())
	u, err := unix.IoctlGetTermios(sfd, unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	if u.Iflag != unix.ICRNL|unix.IXON || u.Oflag != unix.OPOST|unix.ONLCR || u.Cflag != unix.B38400|unix.CS8|unix.CREAD ||
		u.Lflag != unix.ISIG|unix.ICANON|unix.ECHO|unix.ECHOE|unix.ECHOK|unix.ECHOCTL|unix.ECHOKE|unix.IEXTEN || u.Cc[unix.VEOF] != 4 || u.Cc[unix.VERASE] != 127 {
		t.Errorf("%+v", u)
	}
	u2, err := unix.IoctlGetTermios(mfd, unix.TCGETS2)
	if err != nil || u2.Lflag != u.Lflag || u2.Ospeed != 38400 || u2.Ispeed != 38400 {
		t.Errorf("a master's settings are the slave's: %+v %v", u2, err)
	}
	u.Cflag = u.Cflag&^unix.CBAUD | unix.B115200 | unix.PARENB
	u.Lflag &^= unix.ECHO
	if err := unix.IoctlSetTermios(sfd, unix.TCSETSF, u); err != nil {
		t.Error(err)
	}
	if u2, _ = unix.IoctlGetTermios(sfd, unix.TCGETS2); u2.Ospeed != 115200 || u2.Cflag&unix.PARENB != 0 || u2.Lflag&unix.ECHO != 0 {
		t.Errorf("%+v", u2)
	}
	var termio [18]byte
	if _, _, e := unix.Syscall(unix.SYS_IOCTL, s.Fd(), unix.TCGETA, uintptr(unsafe.Pointer(&termio))); e != 0 || termio[8] != 0 || termio[9] != 3 {
		t.Error(e, termio)
	}
	for _, c := range []struct {
		what string
		fd   int
		req  uint
		arg  uintptr
		want syscall.Errno
	}{
		{"TCFLSH 3", sfd, unix.TCFLSH, 3, unix.EINVAL},
		{"TCFLSH", sfd, unix.TCFLSH, unix.TCIOFLUSH, 0},
		{"TCXONC 4", sfd, unix.TCXONC, 4, unix.EINVAL},
		{"TCSBRK", sfd, unix.TCSBRK, 1, 0},
		{"TIOCGPTN of a slave", sfd, unix.TIOCGPTN, uintptr(unsafe.Pointer(&termio)), unix.ENOTTY},
		{"TIOCMGET", sfd, unix.TIOCMGET, uintptr(unsafe.Pointer(&termio)), unix.ENOTTY},
		{"TIOCGSID of a stranger", sfd, unix.TIOCGSID, uintptr(unsafe.Pointer(&termio)), unix.ENOTTY},
		{"TIOCGSID of a master", mfd, unix.TIOCGSID, uintptr(unsafe.Pointer(&termio)), unix.ENOTTY},
		{"TIOCGPGRP of a master", mfd, unix.TIOCGPGRP, uintptr(unsafe.Pointer(&termio)), 0},
		{"TIOCNOTTY of a stranger", sfd, unix.TIOCNOTTY, 0, unix.ENOTTY},
		{"TIOCSIG 9", mfd, unix.TIOCSIG, 9, unix.EINVAL},
		{"TIOCCONS of a master", mfd, unix.TIOCCONS, 0, unix.EINVAL},
		{"unknown", sfd, 0x54ff, 0, unix.ENOTTY},
		{"bad address", sfd, unix.TCGETS, 0, unix.EFAULT},
		{"bad address", sfd, unix.TIOCSWINSZ, 0, unix.EFAULT},
	} {
		if _, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(c.fd), uintptr(c.req), c.arg); e != c.want {
			t.Errorf("%s: %v, want %v", c.what, e, c.want)
		}
	}
	// Packet mode.
	if err := unix.IoctlSetPointerInt(mfd, unix.TIOCPKT, 1); err != nil {
		t.Error(err)
	}
	b := make([]byte, 100)
	io.WriteString(s, "hi")
	if n, err := m.Read(b); string(b[:n]) != "\x00hi" {
		t.Errorf("%q %v", b[:n], err)
	}
	io.WriteString(m, "abc\n")
	if n, _ := s.Read(b); string(b[:n]) != "abc\n" {
		t.Errorf("%q", b[:n])
	}
	// poll of both sides.
	poll := func(fd int) int16 {
		p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN | unix.POLLOUT | unix.POLLPRI}}
		unix.Poll(p, 0)
		return p[0].Revents
	}
	if r := poll(sfd); r != unix.POLLOUT {
		t.Errorf("slave: %#x", r)
	}
	s.Close()
	if r := poll(mfd); r != unix.POLLOUT|unix.POLLHUP {
		t.Errorf("master: %#x", r)
	}
	if _, err := m.Read(b); !errors.Is(err, unix.EIO) {
		t.Error("read without slaves:", err)
	}
	if _, err := os.Open("/dev/tty"); err != nil && !errors.Is(err, unix.ENXIO) {
		t.Error(err)
	}
}
