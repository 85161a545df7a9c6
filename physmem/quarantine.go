package physmem

// Quarantine holds references to frames that a stub may still have mapped, each until the operation that takes the
// mapping away is proven to have returned. The zero value is empty; it is guarded by its owner's lock.
//
// It is a queue in the order of sequence numbers, of runs of frames: unmapping 64 MiB in one operation is a few entries.
type Quarantine struct {
	q    []held
	head int
	n    int // frames
}

type held struct {
	seq   uint64
	first Frame
	n     uint32
}

// Add gives q the caller's references to n contiguous frames until seq is proven; seq is at least that of the last Add.
// Shared zero frames are never freed and need no waiting. It allocates only when q has never been as full before.
func (q *Quarantine) Add(m *Memory, seq uint64, first Frame, n int) {
	if m.IsZero(first) {
		return
	}
	if q.head < len(q.q) {
		l := &q.q[len(q.q)-1]
		if l.seq == seq && l.first+Frame(l.n) == first {
			l.n += uint32(n)
			q.n += n
			m.quarantined.Add(int64(n))
			return
		}
		if l.seq > seq {
			seq = l.seq
		}
	}
	if len(q.q) == cap(q.q) && q.head > len(q.q)/2 { // slide down rather than grow
		q.q = q.q[:copy(q.q, q.q[q.head:])]
		q.head = 0
	}
	q.q = append(q.q, held{seq, first, uint32(n)})
	q.n += n
	m.quarantined.Add(int64(n))
}

// Release drops the references of all frames that waited for seq or an earlier one.
func (q *Quarantine) Release(m *Memory, seq uint64) {
	for q.head < len(q.q) && q.q[q.head].seq <= seq {
		h := q.q[q.head]
		q.head++
		q.n -= int(h.n)
		m.quarantined.Add(-int64(h.n))
		m.UnrefRun(h.first, int(h.n))
	}
	if q.head == len(q.q) {
		q.head = 0
		if q.q = q.q[:0]; cap(q.q) > keepEntries {
			q.q = nil
		}
	}
}

// keepEntries is how large an empty queue may stay: 64 KiB.
const keepEntries = 4096

// Len is how many frames are held.
func (q *Quarantine) Len() int { return q.n }

// Each calls visit for each run that is held, oldest first.
func (q *Quarantine) Each(visit func(seq uint64, first Frame, n int)) {
	for _, h := range q.q[q.head:] {
		visit(h.seq, h.first, int(h.n))
	}
}
