package carrier_test

import (
	"bytes"
	"flag"
	"math"
	"net/netip"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gocarrier/carrier"
	"github.com/gocarrier/carrier/carriertest"
	"github.com/gocarrier/carrier/crypto"
	"github.com/gocarrier/carrier/internal/store"
)

var scale = flag.Bool("scale", false, "give TestThousandFriends its whole hour with 50 of them online")

const (
	crowdFriends  = 1000
	crowdReceived = 1024 // messages of each friend: all that is remembered
	crowdSent     = 32   // messages to each friend that ended in the last day

	crowdStart   = 2 * time.Second
	crowdAllocs  = 800      // a friend, at start
	crowdHeap    = 64 << 20 // bytes of live heap
	crowdPackets = 50       // a second
	crowdRouters = 64       // each is asked by a node no more than twice a second
)

// TestThousandFriends holds what a node takes that has 1,000 friends, each with
// a history of as many messages as a node remembers: how long it starts, its
// heap, and its packets while most friends are silent for more than a day.
func TestThousandFriends(t *testing.T) {
	friends := crowdFriends
	if testing.Short() {
		friends /= 10
	}
	dir := filepath.Join(t.TempDir(), "crowd")
	makeCrowd(t, dir, friends)
	t.Run("start", func(t *testing.T) { startCrowd(t, dir, friends) })
	t.Run("traffic", func(t *testing.T) {
		online, span := 4, 3*time.Minute
		if *scale {
			online, span = 50, time.Hour
		}
		runCrowd(t, dir, friends, online, span)
	})
}

// makeCrowd makes the state directory of a node with so many friends. One is
// real: with them it has exchanged the messages. The rows of the others are
// copies of theirs, under new identities.
func makeCrowd(t *testing.T, dir string, friends int) {
	t.Helper()
	var first carrier.ID
	synctest.Test(t, func(t *testing.T) {
		n := carriertest.NewNetwork(t, nil)
		node := n.Start(carrier.Config{Dir: dir, Name: "Alice"})
		friend := n.Node("Bob")
		first = friend.ID()
		toNode, toFriend := n.Befriend(friend, node)
		converse(t, toNode, node, crowdReceived)
		converse(t, toFriend, friend, crowdSent)
		if err := node.Close(); err != nil {
			t.Fatal(err)
		}
	})

	s, err := store.Open(dir, store.Secret{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	type row struct {
		table      string
		key, value []byte
	}
	var rows []row
	for _, table := range []string{"friend", "profile", "link", "courier", "delivery", "inbox.seen", "outbox", "inbox"} {
		err := s.Range(table, first[:], nil, func(key, value []byte) error {
			rows = append(rows, row{table, key, value})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if len(rows) < crowdReceived/32+crowdSent {
		t.Fatalf("a friend with a history has %d rows, want more", len(rows))
	}
	var batch store.Batch
	for i := range friends - 1 {
		id := crypto.NewIdentity().ID()
		for _, r := range rows {
			batch.Put(r.table, id[:], r.key, r.value)
		}
		if i%100 == 99 || i == friends-2 {
			if err := s.Commit(&batch); err != nil {
				t.Fatal(err)
			}
			batch.Reset()
		}
	}
}

// converse sends n messages to a friend, at whose node they are read, and waits
// for the receipts.
func converse(t *testing.T, to *carrier.Friend, at *carrier.Node, n int) {
	t.Helper()
	bodies := make([]string, n)
	sent, err := sendAll(t.Context(), to, bodies...)
	if err != nil {
		t.Fatal(err)
	}
	ctx := within(t, patience)
	if _, err := takeSame(ctx, at, sent); err != nil {
		t.Fatal(err)
	}
	if err := delivered(ctx, sent); err != nil {
		t.Fatal(err)
	}
}

// startCrowd starts the node an hour later and takes the real time of that.
func startCrowd(t *testing.T, dir string, friends int) {
	now, end := realClock()
	defer end()
	best, fewest := time.Hour, uint64(math.MaxUint64)
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Hour)
		n := carriertest.NewNetwork(t, nil)
		config := carrier.Config{Dir: dir, Net: n.Host(), Bootstrap: n.Bootstrap()}
		for range 3 { // a busy machine may be late once, and be further than the start when it is looked at
			var before, after runtime.MemStats
			empty := liveHeap()
			runtime.ReadMemStats(&before)
			begun := now()
			node, err := carrier.Start(t.Context(), config)
			if err != nil {
				t.Fatal(err)
			}
			took := now().Sub(begun)
			best = min(best, took)
			runtime.ReadMemStats(&after)
			heap := int64(liveHeap()) - int64(empty)
			if got, ended := len(node.Friends()), len(node.Outbox()); got != friends || ended != friends*crowdSent {
				t.Errorf("%d friends and %d messages that have ended, want %d and %d", got, ended, friends, friends*crowdSent)
			}
			allocations := (after.Mallocs - before.Mallocs) / uint64(friends)
			fewest = min(fewest, allocations)
			t.Logf("%d friends: started after %v, %d allocations a friend, heap %d KiB", friends, took, allocations, heap>>10)
			if heap > crowdHeap {
				t.Errorf("a heap of %d MiB, want at most %d", heap>>20, crowdHeap>>20)
			}
			if err := node.Close(); err != nil {
				t.Fatal(err)
			}
			if best <= crowdStart && fewest <= crowdAllocs {
				break
			}
		}
	})
	if best > crowdStart {
		t.Errorf("started after %v at best, want at most %v", best, crowdStart)
	}
	if fewest > crowdAllocs && !raced() {
		t.Errorf("%d allocations a friend at best, want at most %d: it reads what it need not", fewest, crowdAllocs)
	}
}

// realClock gives the real time to a bubble.
func realClock() (now func() time.Time, end func()) {
	ask, answer := make(chan struct{}), make(chan time.Time)
	go func() {
		for range ask {
			answer <- time.Now()
		}
	}()
	return func() time.Time { ask <- struct{}{}; return <-answer }, func() { close(ask) }
}

// runCrowd runs the node with so many friends online, by links, and counts what
// it sends besides its answers to the DHT.
func runCrowd(t *testing.T, dir string, friends, online int, span time.Duration) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(48 * time.Hour) // since they were all there
		n := carriertest.NewNetwork(t, &carriertest.Options{Routers: crowdRouters})
		// Not by the network, which would hold the node, and with it the heap, to the end.
		node, err := carrier.Start(t.Context(), carrier.Config{Dir: dir, Net: n.Host(), Bootstrap: n.Bootstrap()})
		if err != nil {
			t.Fatal(err)
		}
		if err := node.WaitReady(within(t, patience)); err != nil {
			t.Fatal(err)
		}
		var near []*carrier.Friend
		for range online {
			there, _ := n.Befriend(node, n.Node("Bob"))
			near = append(near, there)
		}
		time.Sleep(5 * time.Minute) // the first round of questions is not what is meant
		me := node.LocalAddrs()[0].Addr()
		var packets atomic.Int64
		n.Tap(func(from, _ netip.AddrPort, b []byte) {
			if from.Addr() == me && !dhtAnswer(b) {
				packets.Add(1)
			}
		})
		time.Sleep(span)
		rate := float64(packets.Load()) / span.Seconds()
		for _, f := range near {
			if !f.Online() || f.Path().Kind == carrier.PathNone {
				t.Errorf("%s: online %t, path %s; want a link", f, f.Online(), f.Path().Kind)
			}
		}
		with := liveHeap()
		if err := node.Close(); err != nil {
			t.Error(err)
		}
		node = nil
		clear(near)
		synctest.Wait()
		heap := int64(with) - int64(liveHeap())
		t.Logf("%d friends, %d online: %.1f packets/s in %v, heap %d KiB", friends+online, online, rate, span, heap>>10)
		if rate > crowdPackets {
			t.Errorf("%.1f packets/s, want at most %d", rate, crowdPackets)
		}
		if heap > crowdHeap {
			t.Errorf("a heap of %d MiB, want at most %d", heap>>20, crowdHeap>>20)
		}
	})
}

// dhtAnswer reports whether a datagram answers a question of another DHT node.
func dhtAnswer(b []byte) bool {
	return len(b) > 0 && b[0] == 'd' && (bytes.Contains(b, []byte("1:y1:r")) || bytes.Contains(b, []byte("1:y1:e")))
}
