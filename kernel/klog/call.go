package klog

import (
	"goum/arch/abi"
	"goum/kernel/task"
	"goum/mm"
)

// Call is syslog(2) as the table of system calls has it: n is what the call's third argument says, buf the caller's buffer.
func (l *Log) Call(t *task.Task, typ int, buf uint64, n int) (uint64, abi.Errno) {
	var dst *mm.Buf
	if buf != 0 && n >= 0 {
		dst = mm.OneBuf(t.User(), buf, uint64(n))
	}
	got, e := l.Syslog(t.Caller(), typ, dst, n)
	return uint64(got), e
}
