package carrier_test

import (
	"bytes"
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gocarrier/carrier"
	"github.com/gocarrier/carrier/carriertest"
)

// TestStatsAtOnce: a node that has counted nothing yet answers too.
func TestStatsAtOnce(t *testing.T) {
	node, err := carrier.Start(context.Background(), carrier.Config{Ephemeral: true, NoBootstrap: true, Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	defer node.Close()
	if got := node.Stats(); got == nil {
		t.Error("Stats = nil, want the counters")
	}
}

// TestDamagedIdentityLeavesNothing: an export whose friends are damaged is
// refused before it stands in the directory.
func TestDamagedIdentityLeavesNothing(t *testing.T) {
	bubble(t, func(t *testing.T, n *carriertest.Network) {
		alice, bob := newPerson(t, n, "Alice"), newPerson(t, n, "Bob")
		befriend(alice, bob)
		exported, err := alice.ExportIdentity()
		alice.must(err)
		alice.stop()
		id := bob.ID()
		at := bytes.LastIndex(exported, id[:])
		if at < 0 {
			t.Fatal("the export does not hold the friend")
		}
		damaged := bytes.Clone(exported)
		damaged[at+len(id)+2] ^= 0xff // the first byte of the friend's row
		dir := t.TempDir()
		_, err = carrier.Start(t.Context(), carrier.Config{Dir: dir, Identity: damaged, Net: n.Host(), NoBootstrap: true})
		if !errors.Is(err, carrier.ErrWrongIdentity) {
			t.Errorf("Start with a damaged friend = %v, want ErrWrongIdentity", err)
		}
		node, err := carrier.Start(t.Context(), carrier.Config{Dir: dir, Identity: exported, Net: n.Host(), NoBootstrap: true})
		if err != nil {
			t.Fatalf("Start with the whole export in the same directory = %v", err)
		}
		if err := node.Close(); err != nil {
			t.Error(err)
		}
	})
}

// TestReasonFollowsAcceptance: what a held handle says that it waits for is
// what it waits for now.
func TestReasonFollowsAcceptance(t *testing.T) {
	bubble(t, func(t *testing.T, n *carriertest.Network) {
		alice, bob := newPerson(t, n, "Alice"), newPerson(t, n, "Bob")
		ab := alice.add(bob.Address(), "")
		large := alice.send(bob.ID(), strings.Repeat("x", 20_000))
		if got := large.State().Reason; !strings.Contains(got, "accept") {
			t.Errorf("before the acceptance it waits for %q", got)
		}
		bob.request(alice.ID())
		bob.accept(alice.ID())
		alice.must(ab.WaitAccepted(within(t, patience)))
		alice.must(ab.WaitOnline(within(t, patience)))
		eventually(t, "a link carries what no mailbox takes", func() bool {
			return large.State().Status == carrier.MessageDelivered
		})
		if got := large.State().Reason; got != "" {
			t.Errorf("a message that was delivered waits for %q", got)
		}
	})
}

// TestPresenceOnlyWhenItChanges: messages and their receipts change no presence.
func TestPresenceOnlyWhenItChanges(t *testing.T) {
	bubble(t, func(t *testing.T, n *carriertest.Network) {
		alice, bob := newPerson(t, n, "Alice"), newPerson(t, n, "Bob")
		befriend(alice, bob)
		time.Sleep(time.Minute)
		events := record(t, alice.Node)
		synctest.Wait()
		before := len(eventsOf[carrier.FriendPresence](events))
		for range fewer(5, 2) {
			alice.delivered(alice.send(bob.ID(), "hi"))
			bob.must(bob.SetProfile(carrier.Profile{Name: "Bob", Description: time.Now().String()}))
			time.Sleep(10 * time.Minute)
		}
		if got := eventsOf[carrier.FriendPresence](events); len(got) != before {
			t.Errorf("got %d events of an unchanged presence: %+v", len(got)-before, got[before:])
		}
	})
}

// TestExpiryBeforeTheEpoch: an expiry of the zero of Unix time is past, not
// never.
func TestExpiryBeforeTheEpoch(t *testing.T) {
	bubble(t, func(t *testing.T, n *carriertest.Network) {
		alice, bob := newPerson(t, n, "Alice"), newPerson(t, n, "Bob")
		ab := alice.add(bob.Address(), "")
		m, err := ab.Send(t.Context(), nil, &carrier.SendOptions{Expiry: time.Unix(0, 0)})
		alice.must(err)
		if err := m.WaitDelivered(within(t, time.Second)); !errors.Is(err, carrier.ErrExpired) {
			t.Errorf("WaitDelivered = %v, want ErrExpired", err)
		}
	})
}

// TestLastSeenIsNotTheNotice: a friend that vanished was last seen before it was
// missed.
func TestLastSeenIsNotTheNotice(t *testing.T) {
	bubble(t, func(t *testing.T, n *carriertest.Network) {
		alice, bob := newPerson(t, n, "Alice"), newPerson(t, n, "Bob")
		ab, _ := befriend(alice, bob)
		time.Sleep(time.Minute)
		bob.stop()
		gone := time.Now()
		eventually(t, "Alice misses Bob", func() bool { return !ab.Online() })
		if seen := ab.LastSeen(); seen.After(gone) {
			t.Errorf("LastSeen is %s after Bob was gone", seen.Sub(gone))
		}
	})
}

// TestWaitReadyOfAClosedNode: also one that was ready is closed.
func TestWaitReadyOfAClosedNode(t *testing.T) {
	bubble(t, func(t *testing.T, n *carriertest.Network) {
		alice := newPerson(t, n, "Alice")
		alice.must(alice.WaitReady(within(t, patience)))
		alice.stop()
		if err := alice.WaitReady(t.Context()); !errors.Is(err, net.ErrClosed) {
			t.Errorf("WaitReady = %v, want net.ErrClosed", err)
		}
	})
}
