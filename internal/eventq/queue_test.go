package eventq

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// read returns what can be read now: elements, and "lag n" for marks.
func read(t *testing.T, q *Queue[string]) []string {
	t.Helper()
	got := []string{}
	for {
		v, lagged, ok, err := q.poll()
		switch {
		case err != nil:
			return append(got, err.Error())
		case !ok:
			return got
		case lagged > 0:
			if v != "" {
				t.Errorf("a lag mark carries %q", v)
			}
			got = append(got, fmt.Sprintf("lag %d", lagged))
		default:
			got = append(got, v)
		}
	}
}

func wantRead(t *testing.T, q *Queue[string], want ...string) {
	t.Helper()
	if got := read(t, q); !slices.Equal(got, want) {
		t.Errorf("read %q, want %q", got, want)
	}
}

func pushAll(q *Queue[string], vs ...string) {
	for _, v := range vs {
		q.Push(v, "")
	}
}

func TestOrder(t *testing.T) {
	q := New[string](3, nil)
	wantRead(t, q)
	pushAll(q, "a", "b", "c")
	if got := q.Len(); got != 3 {
		t.Errorf("Len = %d, want 3", got)
	}
	wantRead(t, q, "a", "b", "c")
	pushAll(q, "d")
	q.Restart([]string{"s1", "s2"})
	pushAll(q, "e", "f", "g")
	if got := q.Len(); got != 5 {
		t.Errorf("Len = %d, want 5", got)
	}
	wantRead(t, q, "lag 1", "s1", "s2", "e", "f", "g")
}

func TestCoalesce(t *testing.T) {
	q := New[string](3, nil)
	q.Push("a1", "a")
	q.Push("b1", "b")
	q.Push("x", "")
	q.Push("a2", "a") // full, but it replaces
	wantRead(t, q, "b1", "x", "a2")
	q.Push("a3", "a") // what was read is not replaced
	q.Push("a4", "a")
	wantRead(t, q, "a4")
	q.Restart([]string{"snapshot of a"})
	q.Push("a5", "a")
	q.Push("a6", "a")
	wantRead(t, q, "snapshot of a", "a6")
	for i := range 1000 {
		q.Push(fmt.Sprint("p", i), "p")
		q.Push(fmt.Sprint("q", i), "q")
	}
	wantRead(t, q, "p999", "q999")
}

func TestLagWithoutRefresh(t *testing.T) {
	q := New[string](2, nil)
	pushAll(q, "a", "b", "c")
	wantRead(t, q, "lag 2", "c")
	pushAll(q, "a", "b", "c", "d", "e", "f")
	wantRead(t, q, "lag 4", "e", "f")
	q = New[string](-1, nil)
	pushAll(q, "a", "b")
	wantRead(t, q, "lag 1", "b")
}

func TestLagWithRefresh(t *testing.T) {
	calls := 0
	q := New(2, func(q *Queue[string]) {
		calls++
		q.Restart([]string{"snapshot"})
	})
	q.Restart([]string{"first", "second"})
	pushAll(q, "a", "b")
	if got := q.Len(); got != 4 {
		t.Errorf("Len = %d, want 4", got)
	}
	pushAll(q, "c", "d", "e")
	if got := q.Len(); got != 0 || calls != 0 {
		t.Errorf("after overflow Len = %d, %d refreshes, want none of both", got, calls)
	}
	wantRead(t, q, "lag 5", "snapshot")
	pushAll(q, "f")
	wantRead(t, q, "f")
	if calls != 1 {
		t.Errorf("%d refreshes, want 1", calls)
	}
}

// Between the call of refresh and Restart the reader waits, and what is pushed
// is counted in the same mark.
func TestLagRefreshedLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		q := New(1, func(q *Queue[string]) {
			asked++
			time.AfterFunc(time.Minute, func() { q.Restart([]string{"snapshot"}) })
		})
		pushAll(q, "a", "b")
		time.AfterFunc(time.Second, func() { pushAll(q, "c") })
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		if _, _, err := q.Next(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Next before the snapshot = %v, want the end of ctx", err)
		}
		start := time.Now()
		if _, lagged, err := q.Next(t.Context()); lagged != 3 || err != nil {
			t.Errorf("Next = lag %d, %v, want 3", lagged, err)
		}
		if got := time.Since(start); got != 30*time.Second {
			t.Errorf("waited %v, want 30s", got)
		}
		wantRead(t, q, "snapshot")
		if asked != 1 {
			t.Errorf("refresh was called %d times, want once", asked)
		}
	})
}

func TestNextWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := New[string](4, nil)
		start := time.Now()
		time.AfterFunc(time.Hour, func() { q.Push("late", "") })
		if v, lagged, err := q.Next(t.Context()); v != "late" || lagged != 0 || err != nil {
			t.Errorf("Next = %q, %d, %v", v, lagged, err)
		}
		if got := time.Since(start); got != time.Hour {
			t.Errorf("waited %v, want an hour", got)
		}
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Hour, cancel)
		if _, _, err := q.Next(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("Next = %v, want the end of ctx", err)
		}
		q.Push("stays", "")
		if v, _, err := q.Next(ctx); v != "" || !errors.Is(err, context.Canceled) {
			t.Errorf("Next = %q, %v, want the end of ctx", v, err)
		}
		wantRead(t, q, "stays")
	})
}

func TestClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		end := errors.New("the end")
		q := New[string](4, nil)
		pushAll(q, "a", "b")
		q.Close(end)
		q.Close(errors.New("too late"))
		pushAll(q, "c")
		q.Restart([]string{"d"})
		wantRead(t, q, "a", "b", "the end")
		for range 2 {
			if _, _, err := q.Next(t.Context()); !errors.Is(err, end) {
				t.Errorf("Next = %v, want the error of Close", err)
			}
		}

		q = New[string](4, nil)
		q.Restart([]string{"s"})
		pushAll(q, "a")
		q.Close(nil)
		q.Discard(end)
		if got := q.Len(); got != 0 {
			t.Errorf("Len = %d after Discard", got)
		}
		wantRead(t, q, ErrClosed.Error())

		// One that lags ends without a snapshot; nobody is asked for it.
		q = New(1, func(*Queue[string]) { t.Error("refresh of a closed queue") })
		pushAll(q, "a", "b")
		q.Close(end)
		wantRead(t, q, "lag 2", "the end")

		// Close wakes all who wait, also for a snapshot.
		for _, q := range []*Queue[string]{New[string](1, nil), New(1, func(*Queue[string]) {})} {
			if q.refresh != nil {
				pushAll(q, "a", "b")
			}
			var wg sync.WaitGroup
			for range 3 {
				wg.Go(func() {
					for {
						if _, lagged, err := q.Next(t.Context()); lagged == 0 {
							if !errors.Is(err, end) {
								t.Errorf("Next = %v, want the error of Close", err)
							}
							return
						}
					}
				})
			}
			synctest.Wait()
			q.Close(end)
			wg.Wait()
		}
	})
}

// A wake that meets a reader whose context has just ended goes on to another.
func TestWakePassedOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for range 50 {
			q := New[string](4, nil)
			ctx, cancel := context.WithCancel(t.Context())
			for _, c := range []context.Context{ctx, t.Context()} {
				go q.Next(c)
				synctest.Wait() // the one whose context ends is woken first
			}
			q.Push("v", "")
			cancel()
			synctest.Wait()
			if q.Len() > 0 {
				t.Fatal("the element was left lying while a reader waits")
			}
			q.Close(nil)
			synctest.Wait()
		}
	})
}

// Against a plain slice: whatever is pushed, coalesced and read in whatever
// order, both give the same, and the queue never holds more than its limit.
func TestModel(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for range 300 {
		limit := 1 + rng.IntN(8)
		q := New[string](limit, nil)
		type element struct{ v, key string }
		var model []element
		lost := 0
		for step := range 200 {
			if rng.IntN(3) > 0 {
				e := element{fmt.Sprint(step), []string{"", "", "a", "b", "c"}[rng.IntN(5)]}
				q.Push(e.v, e.key)
				if e.key != "" {
					model = slices.DeleteFunc(model, func(o element) bool { return o.key == e.key })
				}
				if len(model) == limit {
					lost += len(model)
					model = nil
				}
				model = append(model, e)
			} else {
				var want string
				switch {
				case lost > 0:
					lost = 0
					want = "lag"
				case len(model) > 0:
					want = model[0].v
					model = model[1:]
				}
				v, lagged, _, _ := q.poll()
				if lagged > 0 {
					v = "lag"
				}
				if v != want {
					t.Fatalf("limit %d, step %d: read %q, want %q", limit, step, v, want)
				}
			}
			if got := q.Len(); got != len(model) || len(q.unread.slots) > limit || len(q.unread.keyed) > limit {
				t.Fatalf("limit %d: Len = %d with %d slots and %d keys, want %d", limit, got, len(q.unread.slots), len(q.unread.keyed), len(model))
			}
		}
	}
}

// Values that were read or thrown away are not kept alive.
func TestLetsGo(t *testing.T) {
	q := New[*int](8, nil)
	q.Restart([]*int{new(int), new(int)})
	snapshot := q.snapshot
	for i := range 4 {
		q.Push(new(int), fmt.Sprint(i%2))
	}
	for range 4 {
		if v, _, ok, _ := q.poll(); !ok || v == nil {
			t.Fatal("too few elements")
		}
	}
	for i, s := range q.unread.slots {
		if s.value != nil || s.key != "" {
			t.Errorf("slot %d keeps its value", i)
		}
	}
	if snapshot[0] != nil || snapshot[1] != nil || q.snapshot != nil {
		t.Error("the snapshot keeps its values")
	}
}

func TestPushAllocates(t *testing.T) {
	q := New[int](64, nil)
	keys := []string{"", "a", "b", "", "c"}
	cycle := func() {
		for i := range 50 {
			q.Push(i, keys[i%len(keys)])
		}
		for q.Len() > 0 {
			q.poll()
		}
	}
	cycle()
	if got := testing.AllocsPerRun(100, cycle); got != 0 {
		t.Errorf("50 pushes and reads allocate %v times, want 0", got)
	}
}

func BenchmarkPush(b *testing.B) {
	for _, key := range []string{"", "presence of a friend"} {
		b.Run("key="+key, func(b *testing.B) {
			q := New[int](1024, nil)
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				q.Push(i, key)
				if i%2 == 1 {
					q.poll()
					q.poll()
				}
			}
		})
	}
}
