package eventq

import (
	"context"
	"slices"
	"sync"
)

// Queue is one reader's bounded queue. It is safe for concurrent use; with
// several goroutines in Next each element goes to one of them.
type Queue[T any] struct {
	// These do not change.
	limit   int
	refresh func(*Queue[T])
	detach  func()        // from the hub; nil: of none
	wake    chan struct{} // of one place: something can be read

	mu       sync.Mutex // guards what follows
	snapshot []T        // unread, comes before unread
	unread   backlog[T]
	lost     int  // thrown away since the reader was told
	stale    bool // the reader waits for a snapshot, and pushes are lost
	asked    bool // refresh was called for it
	closed   bool
	err      error // at the end, when closed
}

// New returns a queue for at most limit pushed elements (less than 1 is 1).
//
// When the queue has overflowed, the next Next calls refresh, once, on its own
// goroutine and without a lock. It must see to it that Restart is called with a
// fresh snapshot, there and then or soon by another goroutine; Next waits for
// that. With nil the reader gets the lag mark and then what is pushed after
// the overflow.
func New[T any](limit int, refresh func(*Queue[T])) *Queue[T] {
	return &Queue[T]{limit: max(limit, 1), refresh: refresh, wake: make(chan struct{}, 1), unread: newBacklog[T]()}
}

// Push adds an element; it never waits. One with a key that is not empty takes
// the place of an unread one with the same key, which is not counted as lost.
// After Close it does nothing.
func (q *Queue[T]) Push(v T, key string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return
	}
	if q.stale {
		q.lost++
		return
	}
	q.unread.drop(key)
	if q.unread.len >= q.limit {
		q.overflow()
		if q.refresh != nil {
			q.stale = true
			q.lost++
			q.signal()
			return
		}
	}
	q.unread.add(v, key)
	q.signal()
}

// Restart gives the reader a snapshot, of which a copy is kept, in the place of
// everything unread. What was pushed before and is unread counts as lost.
func (q *Queue[T]) Restart(snapshot []T) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return
	}
	q.overflow()
	q.snapshot = slices.Clone(snapshot)
	q.stale, q.asked = false, false
	q.signal()
}

// Next waits for the next element. A lagged above zero says that as many
// elements were lost at this place; v is then no element. At the end of a
// closed queue it returns the error of Close; once ctx has ended, ctx's, and what
// is unread stays.
func (q *Queue[T]) Next(ctx context.Context) (v T, lagged int, err error) {
	for {
		if err := ctx.Err(); err != nil {
			q.signal() // the last wake may have been another goroutine's
			return v, 0, err
		}
		v, lagged, ok, err := q.poll()
		if ok || err != nil {
			return v, lagged, err
		}
		select {
		case <-q.wake:
		case <-ctx.Done():
		}
	}
}

// Close ends the queue: nothing more gets in, what is unread can still be
// read, and then Next returns err (nil: ErrClosed). A reader that waits for a
// snapshot gets its lag mark and then err. Only the first Close or Discard
// counts.
func (q *Queue[T]) Close(err error) { q.end(err, false) }

// Discard is Close that throws away what is unread, also after Close.
func (q *Queue[T]) Discard(err error) { q.end(err, true) }

// Len returns the number of unread elements, those of the snapshot included.
func (q *Queue[T]) Len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.snapshot) + q.unread.len
}

func (q *Queue[T]) end(err error, discard bool) {
	q.mu.Lock()
	first := !q.closed
	if first {
		if q.closed, q.err = true, err; err == nil {
			q.err = ErrClosed
		}
	}
	if discard {
		q.snapshot, q.unread, q.lost = nil, newBacklog[T](), 0
	}
	q.signal()
	q.mu.Unlock()
	if first && q.detach != nil {
		q.detach()
	}
}

// poll takes what can be read now. It is not ok when that is nothing.
func (q *Queue[T]) poll() (v T, lagged int, ok bool, err error) {
	q.mu.Lock()
	if q.stale && !q.closed {
		ask := !q.asked
		q.asked = true
		q.mu.Unlock()
		if ask {
			q.refresh(q)
			return q.poll() // it may have called Restart
		}
		return v, 0, false, nil
	}
	defer q.mu.Unlock()
	defer func() {
		if q.closed || q.lost > 0 || len(q.snapshot)+q.unread.len > 0 {
			q.signal() // for another goroutine in Next
		}
	}()
	switch {
	case q.lost > 0:
		lagged, q.lost = q.lost, 0
	case len(q.snapshot) > 0:
		var zero T
		v, q.snapshot[0] = q.snapshot[0], zero // lets go of the value
		if q.snapshot = q.snapshot[1:]; len(q.snapshot) == 0 {
			q.snapshot = nil
		}
	case q.unread.len > 0:
		v = q.unread.take()
	case q.closed:
		return v, 0, false, q.err
	default:
		return v, 0, false, nil
	}
	return v, lagged, true, nil
}

// overflow throws away what is unread. The caller holds the lock.
func (q *Queue[T]) overflow() {
	q.lost += q.unread.len
	q.snapshot, q.unread = nil, newBacklog[T]()
}

// signal wakes a goroutine in Next, which looks for itself what there is.
func (q *Queue[T]) signal() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}
