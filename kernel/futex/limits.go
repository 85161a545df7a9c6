package futex

import "goum/arch/abi"

const (
	// buckets is how many lists the waiters are spread over; a wake-up looks at all waiters of one.
	buckets = 1024

	// maxWaitv is how many futexes one futex_waitv waits for: EINVAL.
	maxWaitv = abi.FUTEX_WAITV_MAX

	// robustLimit is how many locks of a robust list are released at a thread's end; what follows stays locked, as in Linux.
	robustLimit = abi.ROBUST_LIST_LIMIT

	// deathTries is how often a lock's word is looked at again that other threads keep changing while its owner ends. Only a
	// program that does so on purpose gets there.
	deathTries = 1000
)
