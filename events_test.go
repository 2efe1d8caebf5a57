package carrier_test

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gocarrier/carrier"
	"github.com/gocarrier/carrier/carriertest"
	"github.com/gocarrier/carrier/crypto"
)

// somebody is an address that nobody answers at.
func somebody() carrier.Address {
	return carrier.Address{ID: crypto.NewIdentity().ID(), Nospam: crypto.NewNospam()}
}

// alone starts a node that has no network.
func alone(t *testing.T, n *carriertest.Network, queue int) *carrier.Node {
	t.Helper()
	return n.Start(carrier.Config{Ephemeral: true, NoBootstrap: true, EventQueue: queue})
}

// ask makes count strangers pending friends of a node: as many events.
func ask(t *testing.T, node *carrier.Node, count int) []*carrier.Friend {
	t.Helper()
	var friends []*carrier.Friend
	for range count {
		f, err := node.AddFriend(t.Context(), somebody(), "")
		if err != nil {
			t.Fatal(err)
		}
		friends = append(friends, f)
	}
	return friends
}

// take reads what there is to read now and for d more.
func take(t *testing.T, seq iter.Seq[carrier.Event], d time.Duration) []carrier.Event {
	t.Helper()
	var mu sync.Mutex
	var got []carrier.Event
	go func() {
		for ev := range seq {
			mu.Lock()
			got = append(got, ev)
			mu.Unlock()
		}
	}()
	time.Sleep(d)
	synctest.Wait()
	mu.Lock()
	defer mu.Unlock()
	return got
}

// synced returns the place of the first Synced.
func synced(t *testing.T, events []carrier.Event) int {
	t.Helper()
	at := slices.IndexFunc(events, func(ev carrier.Event) bool { _, ok := ev.(carrier.Synced); return ok })
	if at < 0 {
		t.Fatalf("no Synced in %v", kinds(events))
	}
	return at
}

// kinds names the types of events.
func kinds(events []carrier.Event) []string {
	var out []string
	for _, ev := range events {
		out = append(out, fmt.Sprintf("%T", ev))
	}
	return out
}

func TestEventsBeginWithASnapshot(t *testing.T) {
	bubble(t, func(t *testing.T, n *carriertest.Network) {
		alice, bob, carol := newPerson(t, n, "Alice"), newPerson(t, n, "Bob"), newPerson(t, n, "Carol")
		ab, _ := befriend(alice, bob)
		carol.add(alice.Address(), "hello")
		r := alice.request(carol.ID())
		pending := ask(t, alice.Node, 1)[0]
		eventually(t, "the request is stored", func() bool { return pending.State() == carrier.FriendStored }) // else that may be news
		eventually(t, "Alice knows Bob's name", func() bool { return ab.Profile().Name == "Bob" })

		got := take(t, alice.Events(t.Context()), 0)
		if at := synced(t, got); at != len(got)-1 {
			t.Errorf("%+v after Synced, with no news, of %v", got[at+1:], kinds(got))
		}
		if len(got) == 0 || got[0] != (carrier.Connected{Connected: true}) {
			t.Fatalf("the snapshot begins with %v, want Connected", got)
		}
		for _, want := range []carrier.Event{
			carrier.FriendChanged{Friend: ab, State: carrier.FriendAccepted},
			carrier.FriendChanged{Friend: pending, State: carrier.FriendStored},
			carrier.FriendProfile{Friend: ab, Profile: carrier.Profile{Name: "Bob"}},
			carrier.FriendPresence{Friend: ab, Online: true, Presence: carrier.PresenceOnline, Endpoint: bob.LocalAddrs()[0]},
			r,
		} {
			if count := len(slices.DeleteFunc(slices.Clone(got), func(ev carrier.Event) bool { return ev != want })); count != 1 {
				t.Errorf("the snapshot has %T %+v %d times, want once", want, want, count)
			}
		}
		// The friends stand in the order of their IDs.
		if got[1].(carrier.FriendChanged).Friend.ID().Compare(lastFriend(got).ID()) > 0 {
			t.Error("the friends of the snapshot are not in the order of their IDs")
		}
	})
}

func lastFriend(events []carrier.Event) (f *carrier.Friend) {
	for _, ev := range events {
		if ev, ok := ev.(carrier.FriendChanged); ok {
			f = ev.Friend
		}
	}
	return f
}

// TestEventsMissNothing: whenever a reader begins, the snapshot and the news
// together give the same picture as asking.
func TestEventsMissNothing(t *testing.T) {
	bubble(t, func(t *testing.T, n *carriertest.Network) {
		for _, queue := range []int{0, 3} { // with room, and always lagging
			node := alone(t, n, queue)
			ctx, cancel := context.WithCancel(t.Context())
			var wg sync.WaitGroup
			var mu sync.Mutex
			pictures := make([]map[carrier.ID]carrier.FriendState, 16)
			for i := range pictures {
				wg.Go(func() {
					time.Sleep(time.Duration(i) * time.Millisecond)
					for ev := range node.Events(ctx) {
						mu.Lock()
						switch ev := ev.(type) {
						case carrier.Lagged:
							pictures[i] = nil
						case carrier.FriendChanged:
							if pictures[i] == nil {
								pictures[i] = map[carrier.ID]carrier.FriendState{}
							}
							if pictures[i][ev.Friend.ID()] = ev.State; ev.State == carrier.FriendNone {
								delete(pictures[i], ev.Friend.ID())
							}
						}
						mu.Unlock()
						if queue > 0 {
							time.Sleep(100 * time.Microsecond)
						}
					}
				})
			}
			for range 40 {
				friends := ask(t, node, 4)
				for _, f := range friends[:2] {
					if err := f.Remove(); err != nil {
						t.Fatal(err)
					}
				}
				time.Sleep(500 * time.Microsecond)
			}
			time.Sleep(time.Minute)
			mu.Lock()
			want := node.Friends()
			for i, picture := range pictures {
				same := len(picture) == len(want)
				for _, f := range want {
					same = same && picture[f.ID()] == f.State()
				}
				if !same {
					t.Errorf("queue %d, reader %d sees %d friends, want the %d that Friends gives", queue, i, len(picture), len(want))
				}
			}
			mu.Unlock()
			cancel()
			wg.Wait()
		}
	})
}

func TestEventsLagged(t *testing.T) {
	bubble(t, func(t *testing.T, n *carriertest.Network) {
		node := alone(t, n, 4)
		events := node.Events(t.Context())
		ask(t, node, 4)
		fits := take(t, node.Events(t.Context()), 0)
		ask(t, node, 16)
		got := take(t, events, time.Second)
		if len(got) == 0 || got[0] != (carrier.Lagged{N: 20}) {
			t.Fatalf("a reader 20 events behind gets %v first, want Lagged{20}", got[:min(1, len(got))])
		}
		at := synced(t, got)
		if changes := at - 2; changes != 20 || at != len(got)-1 {
			t.Errorf("after Lagged come %v, want Connected, 20 friends, Synced", kinds(got[1:]))
		}
		for _, ev := range fits {
			if l, ok := ev.(carrier.Lagged); ok {
				t.Errorf("a reader that kept up got %+v", l)
			}
		}
		// After it the news go on, one by one.
		before := len(got)
		live := node.Events(t.Context())
		f := ask(t, node, 1)[0]
		got = take(t, live, 0)
		if got[len(got)-1] != (carrier.FriendChanged{Friend: f, State: carrier.FriendPending}) {
			t.Errorf("the news after a snapshot of %d is %v", before, got[len(got)-1])
		}
	})
}

// TestEventsExactlyFull: a reader exactly EventQueue behind loses nothing.
func TestEventsExactlyFull(t *testing.T) {
	bubble(t, func(t *testing.T, n *carriertest.Network) {
		for _, test := range []struct{ count, lagged int }{{8, 0}, {9, 9}} {
			node := alone(t, n, 8)
			events := node.Events(t.Context())
			ask(t, node, test.count)
			lagged := 0
			for _, ev := range take(t, events, 0) {
				if l, ok := ev.(carrier.Lagged); ok {
					lagged += l.N
				}
			}
			if lagged != test.lagged {
				t.Errorf("%d events in a queue of 8: %d thrown away, want %d", test.count, lagged, test.lagged)
			}
		}
	})
}

// TestEventsDefaultQueue: the bound that zero stands for is that of Config.
func TestEventsDefaultQueue(t *testing.T) {
	bubble(t, func(t *testing.T, n *carriertest.Network) {
		node := alone(t, n, 0)
		events := node.Events(t.Context())
		ask(t, node, 1024)
		got := take(t, events, 0)
		if _, ok := got[0].(carrier.Lagged); ok || len(got) != 2+1024 {
			t.Errorf("1,024 unread events: %d read, the first a %T; want all", len(got), got[0])
		}
	})
}

// TestPresenceCoalesces: of a friend that comes and goes unread, the newest
// stays; other events do not coalesce.
func TestPresenceCoalesces(t *testing.T) {
	bubble(t, func(t *testing.T, n *carriertest.Network) {
		alice, bob := newPerson(t, n, "Alice"), newPerson(t, n, "Bob")
		ab, ba := befriend(alice, bob)
		unread := alice.Events(t.Context())
		live := record(t, alice.Node)
		for range 3 {
			n.Partition(bob.Node)
			time.Sleep(time.Minute)
			n.Heal()
			alice.must(ab.WaitOnline(within(t, patience)))
			alice.must(ba.WaitOnline(within(t, patience)))
		}
		bob.must(bob.SetPresence(carrier.PresenceBusy))
		eventually(t, "Alice sees Bob busy", func() bool { return ab.Presence() == carrier.PresenceBusy })
		synctest.Wait()
		if seen := len(eventsOf[carrier.FriendPresence](live)); seen < 7 {
			t.Fatalf("the live reader saw %d presences, so that this tests nothing", seen)
		}
		got := take(t, unread, 0)
		var late []carrier.FriendPresence
		for _, ev := range got[synced(t, got):] {
			if ev, ok := ev.(carrier.FriendPresence); ok {
				late = append(late, ev)
			}
		}
		if len(late) != 1 || late[0].Presence != carrier.PresenceBusy || !late[0].Online {
			t.Errorf("the late reader saw %+v, want the newest only", late)
		}
	})
}

// TestEventsToSeveralReaders: all get the same news in the same order, however
// slow the others are.
func TestEventsToSeveralReaders(t *testing.T) {
	bubble(t, func(t *testing.T, n *carriertest.Network) {
		alice, bob := newPerson(t, n, "Alice"), newPerson(t, n, "Bob")
		befriend(alice, bob)
		stuck := bob.Events(t.Context()) // never read until the end
		first, second := record(t, bob.Node), record(t, bob.Node)
		var sent []carrier.MessageReceived
		for i := range 100 {
			m := alice.send(bob.ID(), fmt.Sprint(i))
			sent = append(sent, carrier.MessageReceived{From: alice.ID(), ID: m.ID()})
		}
		bob.read(100, patience)
		synctest.Wait()
		for name, got := range map[string][]carrier.MessageReceived{
			"first": eventsOf[carrier.MessageReceived](first), "second": eventsOf[carrier.MessageReceived](second),
		} {
			if !slices.Equal(got, sent) {
				t.Errorf("the %s reader saw %d messages, want all 100 in order", name, len(got))
			}
		}
		var late []carrier.MessageReceived
		for _, ev := range take(t, stuck, 0) {
			if ev, ok := ev.(carrier.MessageReceived); ok {
				late = append(late, ev)
			}
		}
		if !slices.Equal(late, sent) {
			t.Errorf("the late reader saw %d messages, want all 100 in order", len(late))
		}
	})
}

// TestEventsCanBeAsked: when a reader hears of a fact, asking gives it or a
// newer one.
func TestEventsCanBeAsked(t *testing.T) {
	bubble(t, func(t *testing.T, n *carriertest.Network) {
		alice, bob := newPerson(t, n, "Alice"), newPerson(t, n, "Bob")
		stop := make(chan struct{})
		go func() {
			defer close(stop)
			for ev := range alice.Events(t.Context()) {
				switch ev := ev.(type) {
				case carrier.FriendChanged:
					if ev.Friend.State() < ev.State {
						t.Errorf("told %s, asked %s", ev.State, ev.Friend.State())
					}
				case carrier.MessageChanged:
					if got := ev.Message.State(); got.Status < ev.State.Status {
						t.Errorf("told %s, asked %s", ev.State, got)
					}
				case carrier.MessageReceived:
					for m, err := range alice.Messages(t.Context()) {
						if err != nil || m.ID() != ev.ID {
							t.Errorf("told of %s, read %v, %v", ev.ID, m, err)
						}
						if err := m.Done(); err != nil {
							t.Error(err)
						}
						break
					}
				}
			}
		}()
		befriend(alice, bob)
		for i := range 20 {
			alice.delivered(alice.send(bob.ID(), fmt.Sprint(i)))
			bob.delivered(bob.send(alice.ID(), fmt.Sprint(i)))
		}
		synctest.Wait()
		alice.stop()
		<-stop
	})
}

func TestEventsEnd(t *testing.T) {
	bubble(t, func(t *testing.T, n *carriertest.Network) {
		node := alone(t, n, 8)
		ends := func(what string, seq iter.Seq[carrier.Event], act func()) {
			t.Helper()
			done := make(chan struct{})
			go func() {
				defer close(done)
				for range seq {
				}
			}()
			synctest.Wait()
			act()
			synctest.Wait()
			select {
			case <-done:
			default:
				t.Errorf("%s: the sequence goes on", what)
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		ends("the context ends", node.Events(ctx), cancel)
		ends("the context has ended", node.Events(ctx), func() {})

		once := node.Events(t.Context())
		for range once {
			break
		}
		for ev := range once {
			t.Errorf("a second range over the same sequence gave a %T", ev)
		}

		// Never ranged over: it holds its queue until ctx ends, and nothing after.
		ctx, cancel = context.WithCancel(t.Context())
		never := node.Events(ctx)
		ask(t, node, 100)
		cancel()
		synctest.Wait()
		for ev := range never {
			t.Errorf("a sequence whose context has ended gave a %T", ev)
		}
		ends("the node closes", node.Events(context.Background()), func() {
			if err := node.Close(); err != nil {
				t.Error(err)
			}
		})
	})
}

// countingContext counts the functions that wait for its end. Its Done is its
// own, so that package context asks it and not the one inside.
type countingContext struct {
	context.Context
	done    chan struct{}
	mu      sync.Mutex
	waiting int
}

func (c *countingContext) Done() <-chan struct{} { return c.done }

func (c *countingContext) AfterFunc(f func()) (stop func() bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.waiting++
	stopParent := context.AfterFunc(c.Context, f)
	return func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		stopped := stopParent()
		if stopped {
			c.waiting--
		}
		return stopped
	}
}

// TestEventsLeaveTheirContext: a program that subscribes again and again with
// one long-lived context does not grow.
func TestEventsLeaveTheirContext(t *testing.T) {
	bubble(t, func(t *testing.T, n *carriertest.Network) {
		node := alone(t, n, 0)
		ctx := &countingContext{Context: t.Context(), done: make(chan struct{})}
		for range 10 {
			for range node.Events(ctx) {
				break
			}
		}
		if ctx.waiting != 0 {
			t.Errorf("%d functions wait for the context after 10 readers have ended, want none", ctx.waiting)
		}
	})
}
