package eventq

import (
	"maps"
	"slices"
	"sync"
)

// Hub publishes elements to any number of queues. It is safe for concurrent
// use, and all queues get elements published at once in the same order.
type Hub[T any] struct {
	limit int // does not change

	mu     sync.Mutex // guards what follows; taken before a queue's lock
	queues map[*Queue[T]]struct{}
	closed bool
	err    error
}

// NewHub returns a hub whose queues hold at most limit published elements each.
func NewHub[T any](limit int) *Hub[T] {
	return &Hub[T]{limit: limit, queues: make(map[*Queue[T]]struct{})}
}

// Subscribe returns a new queue that begins with a snapshot and gets everything
// published from now on, until it is closed. For refresh see New.
//
// The snapshot fits to what is published only if nothing is published between
// taking it and Subscribe, and likewise between a fresh one and Restart: take
// them on the goroutine that publishes.
//
// From a closed hub the queue holds the snapshot and is closed.
func (h *Hub[T]) Subscribe(snapshot []T, refresh func(*Queue[T])) *Queue[T] {
	q := New(h.limit, refresh)
	q.detach = func() { h.remove(q) }
	q.Restart(snapshot)
	h.mu.Lock()
	closed, err := h.closed, h.err
	if !closed {
		h.queues[q] = struct{}{}
	}
	h.mu.Unlock()
	if closed {
		q.Close(err)
	}
	return q
}

// Publish pushes an element to every queue; it never waits for a reader.
func (h *Hub[T]) Publish(v T, key string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for q := range h.queues {
		q.Push(v, key)
	}
}

// Len returns the number of queues that are not closed.
func (h *Hub[T]) Len() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.queues)
}

// Close closes every queue, and those of later subscriptions, with err. Only
// the first Close counts.
func (h *Hub[T]) Close(err error) {
	h.mu.Lock()
	if h.closed {
		h.mu.Unlock()
		return
	}
	h.closed, h.err = true, err
	queues := slices.Collect(maps.Keys(h.queues))
	h.mu.Unlock()
	for _, q := range queues {
		q.Close(err) // which takes the hub's lock to detach
	}
}

func (h *Hub[T]) remove(q *Queue[T]) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.queues, q)
}
