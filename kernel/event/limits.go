package event

// Bounds of this package.
const (
	maxNests   = 4       // epolls in epolls: ELOOP beyond
	maxItems   = 1 << 18 // descriptors in one epoll (Linux: by memory, for each user): ENOSPC
	maxEvents  = 1<<31/12 - 1
	batch      = 32 // events copied to the guest at once
	sweepAbove = 64 // an epoll smaller than this is not looked through for closed files

	maxQueued     = 16384   // events waiting in an inotify: then IN_Q_OVERFLOW (fs.inotify.max_queued_events)
	maxWatches    = 1 << 16 // watches of one inotify (fs.inotify.max_user_watches): ENOSPC
	maxInstances  = 1024    // inotifies of one machine (fs.inotify.max_user_instances, for each user): EMFILE
	eventHeader   = 16      // sizeof(struct inotify_event)
	maxSigRecords = 32      // signals that one read of a signalfd gives
)
