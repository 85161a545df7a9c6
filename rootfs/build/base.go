package main

import "github.com/u-root/mkuimage/cpio"

// The bits of a directory's mode beyond its permissions: one that all may write to and nobody may clear.
const sticky = 0o1000

const (
	passwd = `root:x:0:0:root:/root:/bin/sh
daemon:x:1:1:daemon:/:/bin/false
nobody:x:65534:65534:nobody:/:/bin/false
`
	group = `root:x:0:
daemon:x:1:
tty:x:5:
disk:x:6:
users:x:100:
nogroup:x:65534:
`
	hosts = `127.0.0.1 localhost
127.0.1.1 goum
::1 localhost ip6-localhost
`
	nsswitch = `passwd: files
group: files
hosts: files dns
`
)

// base returns what lies in the archive besides the commands. Owners are root and times are zero throughout.
//
// init mounts devtmpfs, proc, sysfs and a tmpfs over the directories of these names; /dev/console and /dev/null are
// what Linux itself needs before that (the console is opened as descriptors 0, 1 and 2 of init).
func base() []cpio.Record {
	return []cpio.Record{
		cpio.Directory("bin", 0o755),
		cpio.Directory("dev", 0o755),
		cpio.Directory("etc", 0o755),
		cpio.Directory("home", 0o755),
		cpio.Directory("lib", 0o755),
		cpio.Directory("lib64", 0o755),
		cpio.Directory("mnt", 0o755),
		cpio.Directory("proc", 0o555),
		cpio.Directory("root", 0o700),
		cpio.Directory("run", 0o755),
		cpio.Directory("sbin", 0o755),
		cpio.Directory("sys", 0o555),
		cpio.Directory("tmp", 0o777|sticky),
		cpio.Directory("usr", 0o755),
		cpio.Directory("usr/bin", 0o755),
		cpio.Directory("usr/lib", 0o755),
		cpio.Directory("usr/sbin", 0o755),
		cpio.Directory("var", 0o755),
		cpio.Directory("var/lock", 0o777|sticky),
		cpio.Directory("var/log", 0o755),
		cpio.Directory("var/tmp", 0o777|sticky),

		cpio.CharDev("dev/console", 0o600, 5, 1),
		cpio.CharDev("dev/null", 0o666, 1, 3),
		cpio.CharDev("dev/tty", 0o666, 5, 0),
		cpio.CharDev("dev/zero", 0o666, 1, 5),

		cpio.StaticFile("etc/passwd", passwd, 0o644),
		cpio.StaticFile("etc/group", group, 0o644),
		cpio.StaticFile("etc/hosts", hosts, 0o644),
		cpio.StaticFile("etc/hostname", "goum\n", 0o644),
		cpio.StaticFile("etc/nsswitch.conf", nsswitch, 0o644),
		cpio.StaticFile("etc/shells", "/bin/sh\n/bbin/gosh\n", 0o644),
		cpio.Symlink("etc/mtab", "/proc/self/mounts"),

		// The only shell that init finds: it runs /bin/defaultsh and /bin/sh one after the other, so that with both (as
		// uimage.WithShell makes them) the first exit would lead to a second shell instead of ending the machine.
		cpio.Symlink("bin/sh", "../bbin/gosh"),

		// What scripts name in their first line.
		cpio.Symlink("usr/bin/env", "../../bbin/env"),
	}
}
