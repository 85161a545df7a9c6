package sched

import (
	"math/bits"

	"goum/arch/abi"
)

// idleWeight is the weight of SCHED_IDLE, whatever the nice value.
const idleWeight = 3

// weights are Linux's sched_prio_to_weight: each step of nice is worth about 10 % of a vCPU against one other thread.
var weights = [40]int64{
	88761, 71755, 56483, 46273, 36291,
	29154, 23254, 18705, 14949, 11916,
	9548, 7620, 6100, 4904, 3906,
	3121, 2501, 1991, 1586, 1277,
	1024, 820, 655, 526, 423,
	335, 272, 215, 172, 137,
	110, 87, 70, 56, 45,
	36, 29, 23, 18, 15,
}

func niceWeight(nice int) int64 { return weights[nice-minNice] }

// runQueue is the runnable threads of one vCPU that do not have it: real-time ones in a list for each priority, fair ones in a
// heap by weighted run time, and by arrival among equals. Guarded by Scheduler.mu.
type runQueue struct {
	fair   []*Thread // room for every thread is made at Start, so that no wake-up allocates
	rt     [maxRTPrio + 1]rtList
	rtBits [2]uint64 // which lists are not empty
	rtN    int
}

type rtList struct{ head, tail *Thread }

func (t *Thread) realtime() bool {
	return t.policy == abi.SCHED_FIFO || t.policy == abi.SCHED_RR
}

func (q *runQueue) len() int { return len(q.fair) + q.rtN }

// push adds t; a real-time thread goes first of its priority if front is set.
func (q *runQueue) push(t *Thread, front bool) {
	if !t.realtime() {
		t.index = len(q.fair)
		q.fair = append(q.fair, t)
		q.up(t.index)
		return
	}
	l := &q.rt[t.rtprio]
	q.rtN++
	q.rtBits[t.rtprio>>6] |= 1 << (t.rtprio & 63)
	switch {
	case l.head == nil:
		l.head, l.tail = t, t
	case front:
		t.next, l.head.prev, l.head = l.head, t, t
	default:
		t.prev, l.tail.next, l.tail = l.tail, t, t
	}
}

// remove takes t out, which stands in q under the policy, priority and weight that it has now.
func (q *runQueue) remove(t *Thread) {
	if !t.realtime() {
		i, last := t.index, len(q.fair)-1
		q.swap(i, last)
		q.fair[last] = nil
		q.fair = q.fair[:last]
		if i < last {
			q.down(i)
			q.up(i)
		}
		t.index = -1
		return
	}
	l := &q.rt[t.rtprio]
	if t.prev != nil {
		t.prev.next = t.next
	} else {
		l.head = t.next
	}
	if t.next != nil {
		t.next.prev = t.prev
	} else {
		l.tail = t.prev
	}
	t.prev, t.next = nil, nil
	q.rtN--
	if l.head == nil {
		q.rtBits[t.rtprio>>6] &^= 1 << (t.rtprio & 63)
	}
}

// topRT is the highest priority with a thread waiting, 0 for none.
func (q *runQueue) topRT() int {
	if q.rtBits[1] != 0 {
		return 64 + bits.Len64(q.rtBits[1]) - 1
	}
	return max(bits.Len64(q.rtBits[0])-1, 0)
}

// firstRT is the first real-time thread that may run on a vCPU of the set, nil if there is none.
func (q *runQueue) firstRT(on uint64) *Thread {
	if q.rtN == 0 {
		return nil
	}
	for p := q.topRT(); p > 0; p-- {
		for t := q.rt[p].head; t != nil; t = t.next {
			if t.allowed.Load()&on != 0 {
				return t
			}
		}
	}
	return nil
}

// firstFair is the fair thread that deserves a vCPU of the set most, nil if there is none.
func (q *runQueue) firstFair(on uint64) *Thread {
	if len(q.fair) == 0 {
		return nil
	}
	if t := q.fair[0]; t.allowed.Load()&on != 0 {
		return t
	}
	var best *Thread
	for _, t := range q.fair {
		if t.allowed.Load()&on != 0 && (best == nil || t.before(best)) {
			best = t
		}
	}
	return best
}

// before orders the fair threads of one queue.
func (t *Thread) before(o *Thread) bool {
	if t.vrun != o.vrun {
		return t.vrun < o.vrun
	}
	return t.seq < o.seq
}

func (q *runQueue) swap(i, j int) {
	h := q.fair
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

func (q *runQueue) up(i int) {
	for i > 0 {
		p := (i - 1) / 2
		if !q.fair[i].before(q.fair[p]) {
			return
		}
		q.swap(i, p)
		i = p
	}
}

func (q *runQueue) down(i int) {
	for {
		c := 2*i + 1
		if c >= len(q.fair) {
			return
		}
		if c+1 < len(q.fair) && q.fair[c+1].before(q.fair[c]) {
			c++
		}
		if !q.fair[c].before(q.fair[i]) {
			return
		}
		q.swap(i, c)
		i = c
	}
}
