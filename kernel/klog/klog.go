// Package klog is the guest's kernel log: the ring of messages that dmesg shows, /dev/kmsg, /proc/kmsg and syslog(2).
//
// It is what the guest sees; the log of goum itself is another thing, to which a tap may copy every message.
//
// Invariants:
//   - Numbers of records have no gaps. The ring holds at most maxBytes of text; the oldest records make room for new ones.
//   - A record never changes once it is in the ring.
//
// Locks: Log.mu (lock.Trace) is innermost. Printk wakes readers after it has let go of it, so that it may be called with any lock
// held that ranks before lock.WaitQueue.
package klog

import (
	"fmt"
	"strings"

	"goum/arch/abi"
	"goum/arch/lock"
	"goum/sched"
	"goum/sched/clock"
)

// Levels of messages: the lower the worse.
const (
	Emerg = iota
	Alert
	Crit
	Err
	Warning
	Notice
	Info
	Debug
)

// Bounds of this package.
const (
	maxBytes  = 1 << 17         // of text, and recordCost for each record: Linux's log_buf_len
	maxText   = 1024            // of one record; a longer one is cut, or refused from /dev/kmsg: EINVAL
	cost      = 64              // what a record counts beside its text, so that many empty ones are bounded too
	burst     = 10              // records that an open /dev/kmsg may write in each
	interval  = clock.Time(5e9) // so many nanoseconds
	kernFac   = 0
	userFac   = 1
	levelMask = 7
)

// Record is one message.
type Record struct {
	Seq      uint64
	Time     clock.Time // since boot
	Level    int        // how bad it is, from Emerg to Debug
	Facility int        // who says it: 0 the kernel, 1 a user
	Text     string     // without the newline at the end
}

func (r *Record) priority() int { return r.Facility<<3 | r.Level }

// Log is a kernel log.
type Log struct {
	clk *clock.Clock // nil: all at time 0

	queue sched.Queue // readers

	// Guarded by mu.
	mu      lock.Mutex[lock.Trace]
	ring    []Record // the oldest first, from first on
	first   int
	bytes   int
	next    uint64 // the number of the next record
	cleared uint64 // what SYSLOG_ACTION_READ_ALL begins with
	reader  uint64 // what SYSLOG_ACTION_READ goes on with
	partial int    // of which so many bytes were read
	console int    // console log level; nothing here prints on a console
	saved   int
	tap     func(Record)
}

// New makes an empty log.
func New(clk *clock.Clock) *Log { return &Log{clk: clk, console: 7, saved: -1} }

// SetTap has fn called with every record from now on, with no lock of the log held, on the goroutine of whoever wrote it; nil ends that.
func (l *Log) SetTap(fn func(Record)) {
	l.mu.Lock()
	l.tap = fn
	l.mu.Unlock()
}

// Printk adds a message of the kernel. Not for hot paths: it formats and allocates.
func (l *Log) Printk(level int, format string, args ...any) {
	l.add(kernFac, level, fmt.Sprintf(format, args...))
}

func (l *Log) add(facility, level int, text string) {
	text = strings.TrimSuffix(text, "\n")
	if len(text) > maxText {
		text = text[:maxText]
	}
	r := Record{Level: level & levelMask, Facility: facility, Text: strings.Clone(text)}
	if l.clk != nil {
		r.Time = l.clk.Monotonic()
	}
	l.mu.Lock()
	r.Seq = l.next
	l.next++
	l.ring = append(l.ring, r)
	l.bytes += cost + len(r.Text)
	for l.bytes > maxBytes {
		l.bytes -= cost + len(l.ring[l.first].Text)
		l.ring[l.first] = Record{}
		l.first++
	}
	if l.first > len(l.ring)/2 {
		l.ring = append(l.ring[:0], l.ring[l.first:]...)
		l.first = 0
	}
	tap := l.tap
	l.mu.Unlock()
	if tap != nil {
		tap(r)
	}
	l.queue.Wake(sched.Mask(abi.EPOLLIN | abi.EPOLLRDNORM))
}

// oldest is the number of the first record that is still there. mu is held.
func (l *Log) oldest() uint64 { return l.next - uint64(len(l.ring)-l.first) }

// get is record seq; mu is held. False: not there yet, or no more.
func (l *Log) get(seq uint64) (Record, bool) {
	old := l.oldest()
	if seq < old || seq >= l.next {
		return Record{}, false
	}
	return l.ring[l.first+int(seq-old)], true
}

// Records are those that are still there, the oldest first.
func (l *Log) Records() []Record {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]Record(nil), l.ring[l.first:]...)
}
