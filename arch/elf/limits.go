package elf

const (
	// maxPhdrBytes bounds the program headers (Linux: 64 KiB, so 1,170 of them); ENOEXEC beyond.
	maxPhdrBytes = 65536

	// maxInterpPath is PATH_MAX, with the NUL; ENOEXEC beyond.
	maxInterpPath = 4096

	// maxFileOffset keeps page arithmetic on offsets from wrapping; EOVERFLOW beyond, as mmap says.
	maxFileOffset = 1<<63 - 1 - pageSize

	// ScriptHead is how many bytes of a file Linux looks at for #! (BINPRM_BUF_SIZE).
	ScriptHead = 256

	// MaxInterps is how many interpreters of interpreters execve follows; ELOOP beyond.
	MaxInterps = 5

	// MaxArgLen bounds one string of argv or envp, with its NUL (MAX_ARG_STRLEN); E2BIG beyond.
	MaxArgLen = 32 * pageSize

	// MaxArgStrings bounds their number; E2BIG beyond.
	MaxArgStrings = 0x7fffffff

	// maxAux bounds the auxiliary vector. It is our own code that makes it: beyond is EINVAL.
	maxAux = 64
)
