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

const pollIn = sched.Mask(abi.EPOLLIN | abi.EPOLLRDNORM)

// extended is a record as /dev/kmsg gives it.
func (r *Record) extended() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d,%d,%d,-;", r.priority(), r.Seq, int64(r.Time)/abi.NsPerUsec)
	for i := range len(r.Text) {
		if c := r.Text[i]; c < ' ' || c >= 127 || c == '\\' {
			fmt.Fprintf(&b, `\x%02x`, c)
		} else {
			b.WriteByte(c)
		}
	}
	b.WriteByte('\n')
	return b.String()
}

// kmsg is an open /dev/kmsg.
type kmsg struct {
	log *Log

	// Guarded by log.mu.
	seq    uint64     // the record to read next
	since  clock.Time // when the burst began
	wrote  int        // records since then
	missed int        // records that were too many
}

// OpenKmsg is the Opener of /dev/kmsg. EPERM where the log may not be read.
func (l *Log) OpenKmsg(c *vfs.Caller, flags uint32, _ vfs.Location) (vfs.File, abi.Errno) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return &kmsg{log: l, seq: l.oldest(), since: -interval}, 0
}

// Read is one record: EINVAL (it does not fit), EAGAIN, EPIPE (what should come next was overwritten; the next read goes on with the oldest).
func (k *kmsg) Read(c *vfs.Caller, dst *mm.Buf, at vfs.At) (int, abi.Errno) {
	l := k.log
	l.mu.Lock()
	for k.seq >= l.next {
		l.mu.Unlock()
		if at.NonBlock() {
			return 0, abi.EAGAIN
		}
		if l.queue.Wait(c.Thread, pollIn, clock.Never, k.ready) != sched.Woken {
			return 0, abi.ERESTARTSYS
		}
		l.mu.Lock()
	}
	r, ok := l.get(k.seq)
	if !ok {
		k.seq = l.oldest()
		l.mu.Unlock()
		return 0, abi.EPIPE
	}
	k.seq++
	l.mu.Unlock()
	s := r.extended()
	if len(s) > dst.Len() {
		return 0, abi.EINVAL
	}
	n, e := dst.Write([]byte(s))
	if e != 0 {
		return 0, e
	}
	return n, 0
}

func (k *kmsg) ready() bool {
	k.log.mu.Lock()
	defer k.log.mu.Unlock()
	return k.seq < k.log.next
}

// Write adds a message: "<priority>text", or text with facility user and level warning. EINVAL: more than maxText bytes. What comes
// too fast is counted and dropped.
func (k *kmsg) Write(c *vfs.Caller, src *mm.Buf, at vfs.At) (int, abi.Errno) {
	n := src.Len()
	if n > maxText {
		return 0, abi.EINVAL
	}
	l := k.log
	now := clock.Time(0)
	if l.clk != nil {
		now = l.clk.Monotonic()
	}
	l.mu.Lock()
	if now-k.since >= interval {
		k.since, k.wrote = now, 0
	}
	k.wrote++
	drop := k.wrote > burst
	if drop {
		k.missed++
	}
	l.mu.Unlock()
	if drop {
		return n, 0
	}
	b := make([]byte, n)
	if _, e := src.Read(b); e != 0 {
		return 0, e
	}
	text, _, _ := strings.Cut(string(b), "\x00")
	facility, level := userFac, Warning
	if strings.HasPrefix(text, "<") {
		i, u := 1, 0
		for i < len(text) && '0' <= text[i] && text[i] <= '9' {
			u = (u*10 + int(text[i]-'0')) & 0xffffff
			i++
		}
		if i < len(text) && text[i] == '>' {
			level = u & levelMask
			if u>>3 != 0 {
				facility = u >> 3
			}
			text = text[i+1:]
		}
	}
	l.add(facility, level, text)
	return n, 0
}

// Release says how many messages were dropped.
func (k *kmsg) Release() {
	k.log.mu.Lock()
	n := k.missed
	k.log.mu.Unlock()
	if n > 0 {
		k.log.Printk(Warning, "kmsg: %d output lines suppressed due to ratelimiting", n)
	}
}

// Seek goes to the oldest record (SEEK_SET), to the one after SYSLOG_ACTION_CLEAR (SEEK_DATA) or behind the newest (SEEK_END): ESPIPE
// for an offset, EINVAL.
func (k *kmsg) Seek(_ *vfs.Caller, _, off int64, whence int) (int64, abi.Errno) {
	l := k.log
	l.mu.Lock()
	defer l.mu.Unlock()
	if off != 0 {
		return 0, abi.ESPIPE
	}
	switch whence {
	case abi.SEEK_SET:
		k.seq = l.oldest()
	case abi.SEEK_DATA:
		k.seq = max(l.cleared, l.oldest())
	case abi.SEEK_END:
		k.seq = l.next
	default:
		return 0, abi.EINVAL
	}
	return 0, 0
}

// Poll says whether there is a record to read, and with EPOLLERR that some were lost.
func (k *kmsg) Poll(*vfs.Caller) sched.Mask {
	k.log.mu.Lock()
	defer k.log.mu.Unlock()
	switch {
	case k.seq >= k.log.next:
		return 0
	case k.seq < k.log.oldest():
		return pollIn | sched.Mask(abi.EPOLLERR|abi.EPOLLPRI)
	}
	return pollIn
}

// Queue is where readers wait.
func (k *kmsg) Queue() *sched.Queue { return &k.log.queue }
