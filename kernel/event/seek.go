package event

// Unmoved says that lseek(2) answers 0: Linux's noop_llseek, which a pidfd does not have.
func (*eventFD) Unmoved()  {}
func (*signalFD) Unmoved() {}
func (*timerFD) Unmoved()  {}
func (*inotify) Unmoved()  {}
func (*Epoll) Unmoved()    {}
