package timer

import "goum/arch/abi"

// maxTimers is how many timers timer_create(2) makes for one process: EAGAIN. RLIMIT_SIGPENDING of the user, which each counts
// for, is usually the narrower bound.
const maxTimers = 4096

// tick is what Linux adds to a CPU itimer, so that it never fires early.
const tick = abi.NsPerSec / abi.HZ
