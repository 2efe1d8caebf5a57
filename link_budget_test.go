package carrier_test

import (
	"io"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gocarrier/carrier"
	"github.com/gocarrier/carrier/carriertest"
)

const (
	linkHeap            = 32 << 10 // bytes that an idle link takes, both ends
	linkRoutines        = 2        // goroutines, both ends
	sessionRoutines     = 4        // at each end
	budgetPairs         = 6
	budgetSessions      = 10
	budgetStreams       = 50
	budgetRounds        = 3
	budgetSamples       = 8
	budgetSamplesApart  = 23 * time.Second
	budgetNoiseRoutines = 1 // of the process, that come and go
)

// quiet samples a process that has some time, and returns the least of what it
// takes: at a moment when no question of any node is under way.
func quiet(samples int) (goroutines int, heap uint64) {
	goroutines, heap = 1<<30, 1<<62
	for range samples {
		time.Sleep(budgetSamplesApart)
		synctest.Wait()
		goroutines, heap = min(goroutines, runtime.NumGoroutine()), min(heap, liveHeap())
	}
	return goroutines, heap
}

// newEphemeral starts a person's node that keeps all in memory.
func newEphemeral(t *testing.T, n *carriertest.Network, name string) *person {
	t.Helper()
	p := &person{t: t, net: n, config: carrier.Config{Ephemeral: true, Name: name, Net: n.Host()}}
	p.start()
	return p
}

// TestIdleLinks holds what a link costs that nothing goes over. The same nodes
// are measured with their links and then without, the friends still online. It
// runs alone: the heap is the process's. What else is on it comes and goes, the
// items of the DHT above all, so that the best of some rounds counts.
func TestIdleLinks(t *testing.T) {
	pairs, limit := budgetPairs, int64(linkHeap)
	if testing.Short() {
		pairs, limit = pairs/2, limit*2 // what comes and goes weighs more
	}
	if raced() { // the detector's own share
		limit *= 2
	}
	var goroutines int
	var heap int64
	for range budgetRounds {
		goroutines, heap = measureLinks(t, pairs)
		if goroutines <= pairs*linkRoutines+budgetNoiseRoutines && heap <= limit*int64(pairs) {
			break
		}
	}
	if goroutines > pairs*linkRoutines+budgetNoiseRoutines {
		t.Errorf("%d idle links take %d goroutines, want at most %d each", pairs, goroutines, linkRoutines)
	}
	if goroutines < pairs {
		t.Errorf("%d links take %d goroutines: not all of them were measured", pairs, goroutines)
	}
	if each := heap / int64(pairs); each > limit {
		t.Errorf("an idle link takes %d bytes of live heap, want at most %d", each, limit)
	}
}

// measureLinks returns what so many links take, both ends.
func measureLinks(t *testing.T, count int) (goroutines int, heap int64) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		n := carriertest.NewNetwork(t, fewRouters())
		var pairs []*pair
		for range count {
			p := &pair{alice: newEphemeral(t, n, "Alice"), bob: newEphemeral(t, n, "Bob")}
			p.ab, p.ba = befriend(p.alice, p.bob)
			p.linked(t)
			pairs = append(pairs, p)
		}
		time.Sleep(12 * time.Minute) // until tokens and offers of the beginning are gone
		for _, p := range pairs {
			if p.ab.Path().Kind == carrier.PathNone || p.ba.Path().Kind == carrier.PathNone {
				t.Fatal("a pair has no link")
			}
		}
		goroutinesWith, heapWith := quiet(budgetSamples)
		for _, p := range pairs {
			p.alice.Unlink()
			p.bob.Unlink()
		}
		time.Sleep(5 * time.Minute)
		for _, p := range pairs {
			if p.ab.Path().Kind != carrier.PathNone || !p.ab.Online() || !p.ba.Online() {
				t.Fatalf("path %+v, online %t and %t: want no link, and both online", p.ab.Path(), p.ab.Online(), p.ba.Online())
			}
		}
		goroutinesWithout, heapWithout := quiet(budgetSamples)
		goroutines, heap = goroutinesWith-goroutinesWithout, int64(heapWith)-int64(heapWithout)
		t.Logf("%d links: %d goroutines and %d KiB with, %d and %d without: %.1f and %d bytes a link, both ends",
			count, goroutinesWith, heapWith>>10, goroutinesWithout, heapWithout>>10,
			float64(goroutines)/float64(count), heap/int64(count))
		runtime.KeepAlive(pairs)
	})
	return goroutines, heap
}

// TestGoroutinesOfSessions: a session takes a few at each end, a stream none.
func TestGoroutinesOfSessions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := carriertest.NewNetwork(t, nil)
		p := newPair(t, n)
		least := func() int { // questions of the nodes are short: the least is the quiet moment
			count := 1 << 30
			for range 100 {
				time.Sleep(777 * time.Millisecond)
				synctest.Wait()
				count = min(count, runtime.NumGoroutine())
			}
			return count
		}
		time.Sleep(5 * time.Minute)
		before := least()
		type two struct{ a, b *carrier.Session }
		var sessions []two
		for range budgetSessions {
			a, b := p.session(t, "budget", nil)
			sessions = append(sessions, two{a, b})
		}
		with := least()
		each := float64(with-before) / budgetSessions / 2
		t.Logf("a session takes %.1f goroutines at each end", each)
		if each > sessionRoutines || each < 0.5 {
			t.Errorf("a session takes %.1f goroutines at each end, want some and at most %d", each, sessionRoutines)
		}
		for i := range budgetStreams {
			opts := []*carrier.StreamOptions{nil, {Mode: carrier.Datagram}, {Bulk: true}}[i%3]
			x, y := streamBetween(t, sessions[0].a, sessions[0].b, opts)
			write(t, x, "used")
			if _, err := io.ReadAtLeast(y, make([]byte, 10), 4); err != nil {
				t.Fatal(err)
			}
		}
		if more := least() - with; more > budgetNoiseRoutines {
			t.Errorf("%d streams take %d goroutines, want none", budgetStreams, more)
		}
	})
}
