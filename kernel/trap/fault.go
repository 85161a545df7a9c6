package trap

import (
	"goum/arch/abi"
	"goum/kernel/signal"
	"goum/kernel/task"
	"goum/mm"
	"goum/skas"
)

// fault has mm make the page accessible; where it cannot, t gets the signal that Linux sends.
func (l *Loop) fault(t *task.Task, ev *skas.Event) {
	l.faults.Add(1)
	access := mm.Read
	switch {
	case ev.Exec:
		access = mm.Exec
	case ev.Write:
		access = mm.Write
	}
	t.Call = -1
	switch t.Space().Fault(ev.Addr, access, t.Thread) {
	case mm.Resolved, mm.Interrupted:
		t.CountFault(false)
	case mm.NoMapping:
		l.segv(t, ev, abi.SEGV_MAPERR)
	case mm.NoAccess:
		l.segv(t, ev, abi.SEGV_ACCERR)
	case mm.BeyondEnd:
		info := signal.Fault(abi.SIGBUS, abi.BUS_ADRERR, ev.Addr)
		t.Force(&info)
	case mm.OutOfMemory:
		l.starved(t)
	}
}

func (l *Loop) segv(t *task.Task, ev *skas.Event, code int32) {
	info := signal.Fault(abi.SIGSEGV, code, ev.Addr)
	t.Force(&info)
}
