package carrier_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gocarrier/carrier"
	"github.com/gocarrier/carrier/carriertest"
	"github.com/gocarrier/carrier/internal/store"
)

// linkedPeople are two friends with a link of 50 ms round trip in a network of
// so many DHT nodes.
func linkedPeople(t *testing.T, routers int, test func(t *testing.T, n *carriertest.Network, alice, bob *person, ab, ba *carrier.Friend)) {
	t.Helper()
	t.Parallel()
	bubbleWith(t, &carriertest.Options{Routers: routers, Delay: 25 * time.Millisecond}, func(t *testing.T, n *carriertest.Network) {
		alice, bob := newPerson(t, n, "Alice"), newPerson(t, n, "Bob")
		ab, ba := befriend(alice, bob)
		linkedBy := func() bool { return ab.Path().Kind != carrier.PathNone && ba.Path().Kind != carrier.PathNone }
		eventually(t, "Alice and Bob have a link", linkedBy)
		test(t, n, alice, bob, ab, ba)
	})
}

// removedWithin waits until f shows that its node was removed by the friend.
func removedWithin(t *testing.T, f *carrier.Friend, d time.Duration) {
	t.Helper()
	begun := time.Now()
	for f.State() != carrier.FriendRemoved {
		if time.Since(begun) > d {
			t.Fatalf("after %s the removed friend sees %s, want removed", d, f.State())
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// TestRemovalIsSeenAtOnce: over the link, whatever the DHT can do at the time.
func TestRemovalIsSeenAtOnce(t *testing.T) {
	linkedPeople(t, 1, func(t *testing.T, _ *carriertest.Network, alice, bob *person, ab, ba *carrier.Friend) {
		last := alice.send(bob.ID(), "good bye")
		alice.delivered(last)
		alice.must(ab.Remove())
		removedWithin(t, ba, 100*time.Millisecond)
		if ba.Online() || ab.Online() || ba.Path().Kind != carrier.PathNone {
			t.Errorf("online %t and %t, path %s; want the link gone", ab.Online(), ba.Online(), ba.Path().Kind)
		}
		if got := bob.next(); got.body != "good bye" {
			t.Errorf("Bob got %q", got.body)
		}
	})
}

// TestRemovalWhileTheLinkDies: a link that dies at that moment tells nobody,
// and the DHT does.
func TestRemovalWhileTheLinkDies(t *testing.T) {
	linkedPeople(t, 4, func(t *testing.T, n *carriertest.Network, alice, bob *person, ab, ba *carrier.Friend) {
		n.Partition(bob.Node)
		alice.must(ab.Remove())
		time.Sleep(40 * time.Second)
		if ba.State() != carrier.FriendAccepted || ba.Online() {
			t.Errorf("cut off, Bob sees Alice %s, online %t; want accepted and not online", ba.State(), ba.Online())
		}
		n.Heal()
		eventually(t, "Bob learns of the removal", func() bool { return ba.State() == carrier.FriendRemoved })
	})
}

// TestRemovalThenCrash: what was durable is told by the next run at the latest.
func TestRemovalThenCrash(t *testing.T) {
	linkedPeople(t, 4, func(t *testing.T, n *carriertest.Network, alice, bob *person, ab, ba *carrier.Friend) {
		n.Partition(alice.Node)
		alice.must(ab.Remove())
		alice.stop()
		n.Heal()
		time.Sleep(time.Minute)
		if ba.State() != carrier.FriendAccepted {
			t.Errorf("with Alice gone Bob sees %s, want accepted", ba.State())
		}
		alice.start()
		eventually(t, "Bob learns of the removal", func() bool { return ba.State() == carrier.FriendRemoved })
	})
}

// TestRemovalIsDurableFirst: a removal that is not durable is told to nobody.
func TestRemovalIsDurableFirst(t *testing.T) {
	t.Parallel()
	bubbleWith(t, &carriertest.Options{Routers: 4, Delay: 25 * time.Millisecond}, func(t *testing.T, n *carriertest.Network) {
		config := carrier.Config{Name: "Alice", Net: n.Host(), Bootstrap: n.Bootstrap(), Ephemeral: true}
		alices := newDisk()
		run := &crashStore{disk: alices, commits: func([]store.Op) {}, crashed: func() {}}
		config.Hook(run, alices.prekeys, nil)
		alice, err := carrier.Start(t.Context(), config)
		if err != nil {
			t.Fatal(err)
		}
		defer alice.Close() // with the error of its store
		bob := n.Node("Bob")
		ab, ba := n.Befriend(alice, bob)
		eventually(t, "Bob has a link", func() bool { return ba.Path().Kind != carrier.PathNone })
		run.crashAt(1, false)
		if err := ab.Remove(); err == nil {
			t.Error("Remove without a commit gave no error")
		}
		time.Sleep(500 * time.Millisecond)
		if ba.State() != carrier.FriendAccepted {
			t.Errorf("Bob sees %s, want accepted", ba.State())
		}
	})
}

// TestRemovalThenShutdown: a node that goes at once still tells, by the link, and
// does not wait for long.
func TestRemovalThenShutdown(t *testing.T) {
	linkedPeople(t, 4, func(t *testing.T, n *carriertest.Network, alice, bob *person, ab, ba *carrier.Friend) {
		n.Partition(alice.Node, bob.Node) // from the DHT, not from each other
		alice.must(ab.Remove())
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_ = alice.Shutdown(ctx) // it says that the DHT was not told
		removedWithin(t, ba, 0)
		synctest.Wait()
	})
}

// TestShutdownWaitsForARemovalToArrive: packets that are lost at first go again,
// though the DHT was told at once.
func TestShutdownWaitsForARemovalToArrive(t *testing.T) {
	linkedPeople(t, 4, func(t *testing.T, n *carriertest.Network, alice, bob *person, ab, ba *carrier.Friend) {
		time.Sleep(time.Minute) // the DHT is at rest
		n.Partition(bob.Node)
		alice.must(ab.Remove())
		time.AfterFunc(300*time.Millisecond, n.Heal) // probes double their distance: one falls in the rest of the second
		alice.leave()
		removedWithin(t, ba, 100*time.Millisecond)
	})
}

// TestBlockedFriendIsOfflineAtOnce: whoever is blocked sees the link end, and is
// told nothing more.
func TestBlockedFriendIsOfflineAtOnce(t *testing.T) {
	linkedPeople(t, 4, func(t *testing.T, _ *carriertest.Network, alice, bob *person, _, ba *carrier.Friend) {
		alice.must(alice.Block(bob.ID()))
		time.Sleep(100 * time.Millisecond)
		if ba.Online() || ba.State() != carrier.FriendAccepted {
			t.Errorf("the blocked friend sees Alice online %t, %s; want offline and a friend", ba.Online(), ba.State())
		}
	})
}

// TestOutboxOfARemovedFriend: what was cancelled by a removal is listed for a
// day, like all that has ended, also by a node that has started again since.
func TestOutboxOfARemovedFriend(t *testing.T) {
	t.Parallel()
	bubbleWith(t, &carriertest.Options{Routers: 1}, func(t *testing.T, n *carriertest.Network) {
		alice, bob := newPerson(t, n, "Alice"), newPerson(t, n, "Bob")
		ab := alice.add(bob.Address(), "hello")
		bob.stop()
		sent := alice.send(bob.ID(), "never mind")
		alice.must(ab.Remove())
		alice.stop()
		alice.start()
		list := alice.Outbox()
		if len(list) != 1 || list[0].ID() != sent.ID() || list[0].State().Status != carrier.MessageCancelled || list[0].To() != bob.ID() {
			t.Errorf("the outbox after the start: %v, want one cancelled message", list)
		}
		alice.stop()
		time.Sleep(25 * time.Hour)
		alice.start()
		if list := alice.Outbox(); len(list) != 0 {
			t.Errorf("the outbox after a day: %v, want nothing", list)
		}
	})
}
