package socket

// Memory of sockets is the monitor's own heap, not the guest's frames: all of a machine's sockets together get so much of it.
const defaultMemory = 64 << 20

// SetMemory bounds what all sockets together buffer, in bytes. Before the machine runs.
func (n *Net) SetMemory(bytes int64) { n.limit.Store(bytes) }

// Charge takes n bytes for a buffer, or says that there are none: ENOBUFS, or wait. Uncharge gives them back.
func (n *Net) Charge(bytes int) bool {
	if n.used.Add(int64(bytes)) > n.limit.Load() {
		n.used.Add(-int64(bytes))
		return false
	}
	return true
}

// Uncharge gives bytes back that Charge took.
func (n *Net) Uncharge(bytes int) { n.used.Add(-int64(bytes)) }

// Buffered is how many bytes are charged now.
func (n *Net) Buffered() int64 { return n.used.Load() }
