package physmem

// Ref takes another reference to f, for which the caller already has one.
func (m *Memory) Ref(f Frame) {
	if m.IsZero(f) {
		return
	}
	if m.refs[f].Add(1) <= 1 {
		bug("reference to a free frame", f)
	}
}

// RefRun is Ref for n contiguous frames.
func (m *Memory) RefRun(f Frame, n int) {
	for i := range Frame(n) {
		m.Ref(f + i)
	}
}

// Unref drops a reference to f; the last one frees it.
func (m *Memory) Unref(f Frame) { m.UnrefRun(f, 1) }

// UnrefRun is Unref for n contiguous frames; what becomes free goes back in one go.
func (m *Memory) UnrefRun(f Frame, n int) {
	locked := false
	var start, count Frame // the run of frames that this call has freed
	flush := func() {
		if count == 0 {
			return
		}
		if !locked {
			m.mu.Lock()
			locked = true
		}
		m.freeRange(uint32(start), uint32(count), used)
		count = 0
	}
	for i := f; i < f+Frame(n); i++ {
		if m.IsZero(i) {
			flush()
			continue
		}
		switch left := m.refs[i].Add(-1); {
		case left > 0:
			flush()
		case left < 0:
			if locked {
				m.mu.Unlock()
			}
			bug("unreferenced once too often", i)
		default:
			if count == 0 {
				start = i
			}
			count++
		}
	}
	flush()
	if locked {
		m.mu.Unlock()
	}
}

// RefCount is how many references f has. It may change at once, unless the caller has the only one and keeps it.
func (m *Memory) RefCount(f Frame) int { return int(m.refs[f].Load()) }
