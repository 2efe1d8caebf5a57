package eventq

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestHub(t *testing.T) {
	h := NewHub[string](2)
	h.Publish("nobody reads", "")
	a := h.Subscribe([]string{"snapshot"}, nil)
	h.Publish("1", "")
	b := h.Subscribe(nil, nil)
	h.Publish("2", "k")
	h.Publish("3", "k")
	wantRead(t, a, "snapshot", "1", "3")
	wantRead(t, b, "3")
	if got := h.Len(); got != 2 {
		t.Errorf("Len = %d, want 2", got)
	}
	a.Close(nil)
	a.Discard(nil)
	if got := h.Len(); got != 1 {
		t.Errorf("Len = %d after one closed, want 1", got)
	}
	h.Publish("4", "")
	wantRead(t, a, ErrClosed.Error())
	end := errors.New("the end")
	h.Close(end)
	h.Close(errors.New("too late"))
	h.Publish("5", "")
	wantRead(t, b, "4", "the end")
	if got := h.Len(); got != 0 {
		t.Errorf("Len = %d after Close, want 0", got)
	}
	wantRead(t, h.Subscribe([]string{"snapshot"}, nil), "snapshot", "the end")
}

// Published at once, all queues see one order; subscribing, closing and
// publishing meet without a deadlock or race.
func TestHubConcurrent(t *testing.T) {
	const publishers, each = 4, 500
	h := NewHub[int](publishers * each)
	var queues []*Queue[int]
	for range 3 {
		queues = append(queues, h.Subscribe(nil, nil))
	}
	var wg sync.WaitGroup
	for p := range publishers {
		wg.Go(func() {
			for i := range each {
				h.Publish(p*each+i, "")
			}
		})
	}
	wg.Go(func() {
		for range 200 {
			q := h.Subscribe([]int{1, 2, 3}, nil)
			q.Discard(nil)
		}
	})
	var got [3][]int
	for i, q := range queues {
		wg.Go(func() {
			for range publishers * each {
				v, lagged, err := q.Next(t.Context())
				if lagged > 0 || err != nil {
					t.Errorf("Next = lag %d, %v", lagged, err)
					return
				}
				got[i] = append(got[i], v)
			}
		})
	}
	wg.Wait()
	for i := range got {
		if !slices.Equal(got[i], got[0]) {
			t.Errorf("queue %d saw another order than queue 0", i)
		}
	}
	if sorted := slices.Sorted(slices.Values(got[0])); len(sorted) != publishers*each || sorted[0] != 0 || sorted[len(sorted)-1] != publishers*each-1 {
		t.Errorf("queue 0 saw %d elements", len(sorted))
	}
	h.Close(nil)
}

// node is an owner with one goroutine that holds the state, as a hub's owner
// should be: it publishes changes and takes snapshots there.
type node struct {
	hub  *Hub[string]
	todo chan func()
}

func (n *node) snapshot(state map[string]int) []string {
	var s []string
	for k, v := range state {
		s = append(s, fmt.Sprintf("%s=%d", k, v))
	}
	slices.Sort(s)
	return append(s, "synced")
}

// events is the shape of a subscription: at the call, ranged once, over with
// ctx even if it is never ranged.
func (n *node) events(ctx context.Context, state map[string]int) iter.Seq[string] {
	sub := make(chan *Queue[string])
	n.todo <- func() {
		sub <- n.hub.Subscribe(n.snapshot(state), func(q *Queue[string]) {
			n.todo <- func() { q.Restart(n.snapshot(state)) }
		})
	}
	q := <-sub
	context.AfterFunc(ctx, func() { q.Discard(ctx.Err()) })
	return func(yield func(string) bool) {
		defer q.Discard(nil)
		for {
			v, lagged, err := q.Next(ctx)
			if err != nil {
				return
			}
			if lagged > 0 {
				v = fmt.Sprintf("lag %d", lagged)
			}
			if !yield(v) {
				return
			}
		}
	}
}

// A reader that applies the snapshot and what follows has the owner's state,
// however often it lags.
func TestEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &node{hub: NewHub[string](4), todo: make(chan func(), 16)}
		state := map[string]int{"a": 0, "b": 0, "c": 0}
		go func() {
			for f := range n.todo {
				f()
			}
		}()
		change := func(key string, v int) {
			n.todo <- func() {
				state[key] = v
				n.hub.Publish(fmt.Sprintf("%s=%d", key, v), "")
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		n.events(ctx, state) // never ranged
		events := n.events(ctx, state)
		lags, read := 0, 0
		seen := make(map[string]int)
		done := make(chan struct{})
		go func() {
			defer close(done)
			for ev := range events {
				read++
				var key string
				var v, lost int
				if got, _ := fmt.Sscanf(ev, "lag %d", &lost); got == 1 {
					lags++
					clear(seen)
				} else if got, _ := fmt.Sscanf(ev, "%1s=%d", &key, &v); got == 2 {
					if v < seen[key] {
						t.Errorf("%s after %d", ev, seen[key])
					}
					seen[key] = v
				}
				if read%5 == 0 {
					time.Sleep(time.Millisecond) // slow: all others go on until they wait
				}
			}
		}()
		for i := 1; i <= 300; i++ {
			change([]string{"a", "b", "c"}[i%3], i)
		}
		time.Sleep(time.Minute) // the reader has caught up
		synctest.Wait()
		if want := map[string]int{"a": 300, "b": 298, "c": 299}; fmt.Sprint(seen) != fmt.Sprint(want) {
			t.Errorf("reader has %v, want %v", seen, want)
		}
		if lags == 0 {
			t.Error("the reader never lagged")
		}
		if got := n.hub.Len(); got != 2 {
			t.Errorf("%d subscriptions, want 2", got)
		}
		cancel()
		<-done
		synctest.Wait()
		if got := n.hub.Len(); got != 0 {
			t.Errorf("%d subscriptions outlive their context", got)
		}
		close(n.todo)
	})
}
