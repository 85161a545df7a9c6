package task

// Bounds of this package.
const (
	// MaxName is TASK_COMM_LEN without its NUL: what is longer is cut off.
	MaxName = 15

	// PidMax is one more than the highest number (kernel.pid_max): EAGAIN when all are in use.
	PidMax = 32768

	// reservedPids are not given out again once numbers have wrapped round, as in Linux: they belong to daemons of boot.
	reservedPids = 300

	// DefaultTimerSlack is PR_GET_TIMERSLACK's default in nanoseconds.
	DefaultTimerSlack = 50_000

	// maxInterps is how deep #! lines may refer to each other: ELOOP beyond.
	maxInterps = 5

	// MaxSetTID bounds clone3's set_tid_size: MAX_PID_NS_LEVEL. EINVAL beyond.
	MaxSetTID = 32
)
