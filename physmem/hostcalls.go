package physmem

import "golang.org/x/sys/unix"

// HostCalls are the host system calls that this package makes while a guest runs, with the reason.
var HostCalls = map[uintptr]string{
	unix.SYS_PWRITE64:  "Load fills fresh frames of the memfd",
	unix.SYS_FALLOCATE: "Reclaim punches free frames out of the memfd",
}
