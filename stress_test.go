package carrier_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gocarrier/carrier"
	"github.com/gocarrier/carrier/carriertest"
	"github.com/gocarrier/carrier/crypto"
)

const (
	stressSends   = 10_000
	stressSenders = 16
	// stressLimit is five times the figure that is promised, 5 s: a busy disk must
	// not fail the suite. The figure itself is printed.
	stressLimit = 25 * time.Second

	idleFriends  = 28
	idleHeap     = 12 << 10 // bytes of live heap that an idle friend may take; 9,800 when this was set, so it guards against growth
	idleRoutines = 3        // goroutines that all friends together may take at a quiet moment
)

// lonely starts a node on the real store that knows nobody in any DHT, with a
// pending friend.
func lonely(tb testing.TB, dir string) (*carrier.Node, *carrier.Friend) {
	tb.Helper()
	node, err := carrier.Start(context.Background(), carrier.Config{Dir: dir, NoBootstrap: true, Listen: "127.0.0.1:0"})
	if err != nil {
		tb.Fatal(err)
	}
	to := crypto.Address{ID: crypto.NewIdentity().ID(), Nospam: crypto.NewNospam()}
	friend, err := node.AddFriend(context.Background(), to, "")
	if err != nil {
		tb.Fatal(err)
	}
	return node, friend
}

// TestSendMany sends 10,000 messages from 16 goroutines to one pending friend.
// Every Send returns when its message is durable: the node is closed without a
// goodbye, and a new one must know them all.
func TestSendMany(t *testing.T) {
	leakFree(t)
	dir := t.TempDir()
	node, friend := lonely(t, dir)
	defer node.Close()
	ids := make([]carrier.MessageID, stressSends)
	errs := make([]error, stressSenders)
	var wg sync.WaitGroup
	begun := time.Now()
	for g := range stressSenders {
		wg.Go(func() {
			for i := g; i < stressSends; i += stressSenders {
				msg, err := friend.Send(context.Background(), fmt.Appendf(nil, "message %d", i), nil)
				if err != nil {
					errs[g] = err
					return
				}
				ids[i] = msg.ID()
			}
		})
	}
	wg.Wait()
	took := time.Since(begun)
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := node.Close(); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d sends from %d goroutines: %.2f s, %.0f/s", stressSends, stressSenders, took.Seconds(), stressSends/took.Seconds())
	limit := stressLimit
	if raced() {
		limit *= 3
	}
	if took > limit {
		t.Errorf("%d sends took %v, want at most %v", stressSends, took, limit)
	}

	again, err := carrier.Start(t.Context(), carrier.Config{Dir: dir, NoBootstrap: true, Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	place := map[carrier.MessageID]int{}
	for i, msg := range again.Outbox() {
		place[msg.ID()] = i + 1
	}
	if len(place) != stressSends {
		t.Fatalf("after a restart the outbox has %d messages, want %d", len(place), stressSends)
	}
	// One goroutine's messages stay in the order of its calls.
	for i, id := range ids {
		if place[id] == 0 {
			t.Fatalf("message %d is gone after a restart", i)
		}
		if i >= stressSenders && place[id] < place[ids[i-stressSenders]] {
			t.Fatalf("message %d stands before message %d of the same goroutine", i, i-stressSenders)
		}
	}
}

// BenchmarkSend measures what one Send costs alone, and among many, on the real
// store.
func BenchmarkSend(b *testing.B) {
	for _, senders := range []int{1, 16, 256} {
		b.Run(fmt.Sprintf("senders=%d", senders), func(b *testing.B) {
			body := []byte(strings.Repeat("x", 200))
			var node *carrier.Node
			var friends []*carrier.Friend
			sent := 0
			fresh := func() { // before an outbox is full
				if node != nil {
					node.Close()
				}
				var friend *carrier.Friend
				node, friend = lonely(b, b.TempDir())
				friends = []*carrier.Friend{friend}
				sent = 0
			}
			fresh()
			defer func() { node.Close() }()
			b.ReportAllocs()
			for done := 0; done < b.N; {
				if sent+senders > 16_000 {
					b.StopTimer()
					fresh()
					b.StartTimer()
				}
				n := min(b.N-done, 16_000-sent)
				var wg sync.WaitGroup
				for g := range senders {
					wg.Go(func() {
						for i := g; i < n; i += senders {
							if _, err := friends[0].Send(context.Background(), body, nil); err != nil {
								b.Error(err)
								return
							}
						}
					})
				}
				wg.Wait()
				done, sent = done+n, sent+n
			}
		})
	}
}

// idle is what a node takes at a quiet moment.
type idle struct {
	goroutines int    // of the process: the DHT around the node is always the same
	heap       uint64 // that is given back when the node goes
}

// measureIdle starts a node, makes it n friends who never come online, lets
// some time pass, and looks at a moment when no question of it is under way.
// The node is its test's alone, so that its memory goes when it does: the DHT
// around it holds items for each friend too, which are not the node's.
func measureIdle(t *testing.T, n int) (m idle) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		network := carriertest.NewNetwork(t, fewRouters())
		node, err := carrier.Start(t.Context(), carrier.Config{
			Ephemeral: true, Name: "idle", Net: network.Host(), Bootstrap: network.Bootstrap(),
		})
		if err != nil {
			t.Fatal(err)
		}
		asker := newStranger(t, network)
		defer asker.close(t)
		begun := time.Now()
		for range n {
			befriendAbsent(t, node, asker)
		}
		time.Sleep(time.Hour - time.Since(begun))
		for _, f := range node.Friends() {
			if f.State() != carrier.FriendAccepted || f.Online() {
				t.Errorf("%s is %s, online %v, want accepted and offline", f, f.State(), f.Online())
			}
		}
		if got := len(node.Friends()); got != n {
			t.Errorf("the node has %d friends, want %d", got, n)
		}
		var with uint64
		m.goroutines, with = quiet(4 * budgetSamples)
		if err := node.Close(); err != nil {
			t.Error(err)
		}
		node = nil
		synctest.Wait()
		if without := liveHeap(); with > without {
			m.heap = with - without
		}
	})
	return m
}

// befriendAbsent makes a friend of somebody who is never there: the request is
// put into the DHT as another node would put it, under a new identity.
func befriendAbsent(t *testing.T, node *carrier.Node, asker *stranger) {
	t.Helper()
	who := *asker
	who.identity = crypto.NewIdentity()
	ctx, cancel := context.WithTimeout(t.Context(), 45*time.Minute)
	defer cancel()
	events := node.Events(ctx)
	who.request(t, node.Address(), "")
	if _, err := requestOf(events, who.id()); err != nil {
		t.Fatal(err)
	}
	if _, err := node.Accept(who.id()); err != nil {
		t.Fatal(err)
	}
}

// TestIdleFriends holds what a friend costs who is not there: no goroutine, and
// some KiB.
func TestIdleFriends(t *testing.T) {
	n, limit := idleFriends, int64(idleHeap)
	if testing.Short() {
		n /= 2
	}
	if raced() { // the detector's own share
		limit *= 2
	}
	one, many := measureIdle(t, 1), measureIdle(t, n)
	t.Logf("1 friend: %+v; %d friends: %+v", one, n, many)
	if more := many.goroutines - one.goroutines; more > idleRoutines {
		t.Errorf("%d friends more take %d goroutines more, want at most %d", n-1, more, idleRoutines)
	}
	perFriend := (int64(many.heap) - int64(one.heap)) / int64(n-1)
	t.Logf("live heap per idle friend: %d bytes", perFriend)
	if perFriend > limit {
		t.Errorf("an idle friend takes %d bytes of live heap, want at most %d", perFriend, limit)
	}
}
