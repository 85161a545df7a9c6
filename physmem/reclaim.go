package physmem

import "golang.org/x/sys/unix"

// Reclaim gives up to most free frames back to the host, largest blocks first, and returns how many went. It makes a host
// call per block; a block on its way is on no free list, so that an allocation meanwhile may miss it.
func (m *Memory) Reclaim(most int) int {
	done := 0
	for order := MaxOrder; order >= 0; order-- {
		for done+1<<order <= most {
			m.mu.Lock()
			f := m.lists[used][order]
			if f != 0 {
				m.unlink(f, order, used)
				m.free[used] -= 1 << order
			}
			m.mu.Unlock()
			if f == 0 {
				break
			}
			err := unix.Fallocate(m.fd, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, int64(f)<<PageShift, PageSize<<order)
			kind := clean
			if err != nil { // the host keeps the page: so do we, and stop asking
				kind = used
			}
			m.mu.Lock()
			m.freeRange(uint32(f), 1<<order, kind)
			m.mu.Unlock()
			if err != nil {
				return done
			}
			done += 1 << order
			m.punched.Add(1 << order)
		}
	}
	return done
}
