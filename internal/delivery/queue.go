package delivery

import "container/heap"

// queue is a list of entries, linked through them, so that one can leave from
// the middle when it expires.
type queue struct {
	first, last *entry
	len         int
}

func (q *queue) push(e *entry) {
	e.prev, e.next = q.last, nil
	if q.last == nil {
		q.first = e
	} else {
		q.last.next = e
	}
	q.last = e
	q.len++
}

func (q *queue) remove(e *entry) {
	if e.prev == nil {
		q.first = e.next
	} else {
		e.prev.next = e.next
	}
	if e.next == nil {
		q.last = e.prev
	} else {
		e.next.prev = e.prev
	}
	e.prev, e.next = nil, nil
	q.len--
}

// deadlines has the entries that can expire, the first one on top. It is a
// heap.Interface; entries know their place.
type deadlines []*entry

// Len is part of heap.Interface.
func (d deadlines) Len() int { return len(d) }

// Less is part of heap.Interface.
func (d deadlines) Less(i, j int) bool {
	if d[i].expiry != d[j].expiry {
		return d[i].expiry < d[j].expiry
	}
	return d[i].position < d[j].position
}

// Swap is part of heap.Interface.
func (d deadlines) Swap(i, j int) {
	d[i], d[j] = d[j], d[i]
	d[i].heapAt, d[j].heapAt = int32(i), int32(j)
}

// Push is part of heap.Interface.
func (d *deadlines) Push(x any) {
	e := x.(*entry)
	e.heapAt = int32(len(*d))
	*d = append(*d, e)
}

// Pop is part of heap.Interface.
func (d *deadlines) Pop() any {
	old := *d
	e := old[len(old)-1]
	old[len(old)-1] = nil
	*d = old[:len(old)-1]
	e.heapAt = -1
	return e
}

func (d *deadlines) add(e *entry) { heap.Push(d, e) }

// drop takes e out if it is in.
func (d *deadlines) drop(e *entry) {
	if e.heapAt >= 0 {
		heap.Remove(d, int(e.heapAt))
	}
	if len(*d) == 0 {
		*d = nil
	}
}
