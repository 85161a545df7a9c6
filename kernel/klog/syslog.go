package klog

import (
	"fmt"
	"strings"

	"goum/arch/abi"
	"goum/kernel/fs/vfs"
	"goum/mm"
	"goum/sched"
	"goum/sched/clock"
)

// Actions of syslog(2).
const (
	ActionClose = iota
	ActionOpen
	ActionRead
	ActionReadAll
	ActionReadClear
	ActionClear
	ActionConsoleOff
	ActionConsoleOn
	ActionConsoleLevel
	ActionSizeUnread
	ActionSizeBuffer
)

// lines is a record as syslog(2) gives it: each line with the priority and the time.
func (r *Record) lines() string {
	us := int64(r.Time) / abi.NsPerUsec
	prefix := fmt.Sprintf("<%d>[%5d.%06d] ", r.priority(), us/1000000, us%1000000)
	var b strings.Builder
	for line := range strings.SplitSeq(r.Text, "\n") {
		b.WriteString(prefix)
		b.WriteString(line)
		b.WriteByte('\n')
	}
	return b.String()
}

// Syslog is syslog(2): EPERM (all but ActionReadAll and ActionSizeBuffer need CAP_SYSLOG), EINVAL, EFAULT, ERESTARTSYS. dst is the
// caller's buffer, of which length says the size; nil if the address is.
func (l *Log) Syslog(c *vfs.Caller, action int, dst *mm.Buf, length int) (int, abi.Errno) {
	if action != ActionReadAll && action != ActionSizeBuffer && !c.Cred.Has(abi.CAP_SYSLOG) {
		return 0, abi.EPERM
	}
	switch action {
	case ActionRead, ActionReadAll, ActionReadClear:
		if dst == nil || length < 0 {
			return 0, abi.EINVAL
		}
		if length == 0 {
			return 0, 0
		}
		if action == ActionRead {
			return l.read(c, dst, length, false)
		}
		return l.readAll(dst, length, action == ActionReadClear)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	switch action {
	case ActionClose, ActionOpen:
	case ActionClear:
		l.cleared = l.next
	case ActionConsoleOff:
		if l.saved == -1 {
			l.saved = l.console
		}
		l.console = 1
	case ActionConsoleOn:
		if l.saved != -1 {
			l.console, l.saved = l.saved, -1
		}
	case ActionConsoleLevel:
		if length < 1 || length > 8 {
			return 0, abi.EINVAL
		}
		l.console, l.saved = length, -1
	case ActionSizeUnread:
		return l.unread(), 0
	case ActionSizeBuffer:
		return maxBytes, 0
	default:
		return 0, abi.EINVAL
	}
	return 0, 0
}

// ConsoleLevels are the four numbers of /proc/sys/kernel/printk.
func (l *Log) ConsoleLevels() [4]int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return [4]int{l.console, Warning, 1, 7}
}

// settleReader moves the reader over what was overwritten. mu is held.
func (l *Log) settleReader() {
	if old := l.oldest(); l.reader < old {
		l.reader, l.partial = old, 0
	}
}

// unread is how many bytes ActionRead would give. mu is held.
func (l *Log) unread() int {
	l.settleReader()
	n := -l.partial
	for s := l.reader; s < l.next; s++ {
		r, _ := l.get(s)
		n += len(r.lines())
	}
	return max(n, 0)
}

// read is ActionRead: it waits for something to read, and takes it away.
func (l *Log) read(c *vfs.Caller, dst *mm.Buf, length int, nonblock bool) (int, abi.Errno) {
	ready := func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.reader < l.next
	}
	if !ready() {
		if nonblock {
			return 0, abi.EAGAIN
		}
		if l.queue.Wait(c.Thread, pollIn, clock.Never, ready) != sched.Woken {
			return 0, abi.ERESTARTSYS
		}
	}
	var b strings.Builder
	length = min(length, maxBytes)
	l.mu.Lock()
	l.settleReader()
	for l.reader < l.next && b.Len() < length {
		r, _ := l.get(l.reader)
		s := r.lines()[l.partial:]
		if room := length - b.Len(); len(s) > room {
			if b.Len() > 0 {
				break // whole records while they fit; only a first one is cut
			}
			b.WriteString(s[:room])
			l.partial += room
			break
		}
		b.WriteString(s)
		l.reader++
		l.partial = 0
	}
	l.mu.Unlock()
	return dst.Write([]byte(b.String()))
}

// readAll is ActionReadAll: the newest records that fit, but none from before the last clear.
func (l *Log) readAll(dst *mm.Buf, length int, clear bool) (int, abi.Errno) {
	l.mu.Lock()
	start := max(l.cleared, l.oldest())
	var texts []string
	size := 0
	for s := l.next; s > start; s-- {
		r, _ := l.get(s - 1)
		t := r.lines()
		if size+len(t) > length {
			break
		}
		size += len(t)
		texts = append(texts, t)
	}
	if clear {
		l.cleared = l.next
	}
	l.mu.Unlock()
	b := make([]byte, 0, size)
	for i := len(texts) - 1; i >= 0; i-- {
		b = append(b, texts[i]...)
	}
	n, e := dst.Write(b)
	if e != 0 {
		return 0, e
	}
	return n, 0
}

// procKmsg is an open /proc/kmsg.
type procKmsg struct {
	vfs.NoFile
	log *Log
}

// OpenProc opens /proc/kmsg, which is syslog(2) as a file: EPERM.
func (l *Log) OpenProc(c *vfs.Caller, flags uint32, _ vfs.Location) (vfs.File, abi.Errno) {
	if !c.Cred.Has(abi.CAP_SYSLOG) {
		return nil, abi.EPERM
	}
	return &procKmsg{log: l}, 0
}

// Read is ActionRead.
func (p *procKmsg) Read(c *vfs.Caller, dst *mm.Buf, at vfs.At) (int, abi.Errno) {
	if dst.Len() == 0 {
		return 0, 0
	}
	return p.log.read(c, dst, dst.Len(), at.NonBlock())
}

// Poll says whether there is something to read.
func (p *procKmsg) Poll(*vfs.Caller) sched.Mask {
	p.log.mu.Lock()
	defer p.log.mu.Unlock()
	if p.log.reader < p.log.next {
		return pollIn
	}
	return 0
}

// Queue is where readers wait.
func (p *procKmsg) Queue() *sched.Queue { return &p.log.queue }
