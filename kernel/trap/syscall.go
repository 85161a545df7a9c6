package trap

import "goum/kernel/task"

// syscall runs the call that t trapped for. What it left behind (signals, a restart) is Leave's, at the top of the loop.
func (l *Loop) syscall(t *task.Task) {
	t.BeginCall(t.Regs.Call())
	t.FinishCall(l.Table.Dispatch(t, &t.Regs))
}
