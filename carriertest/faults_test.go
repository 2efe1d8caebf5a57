package carriertest_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/gocarrier/carrier"
	"github.com/gocarrier/carrier/carriertest"
)

// roundTrip is how long a message and its receipt take.
func roundTrip(t *testing.T, to *carrier.Friend) time.Duration {
	t.Helper()
	begun := time.Now()
	msg, err := to.Send(t.Context(), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := msg.WaitDelivered(within(t, 5*time.Minute)); err != nil {
		t.Fatal(err)
	}
	return time.Since(begun)
}

// TestSetLink: what is set holds from then on, both ways, between those two, and
// gives way to what is set later.
func TestSetLink(t *testing.T) {
	carriertest.Virtual(t, nil, func(t *testing.T, n *carriertest.Network) {
		alice, bob, carol := n.Node("Alice"), n.Node("Bob"), n.Node("Carol")
		toBob, toAlice := n.Befriend(alice, bob)
		toCarol, _ := n.Befriend(alice, carol)
		n.SetLink(alice, bob, carriertest.Link{Delay: 200 * time.Millisecond})
		for _, to := range []*carrier.Friend{toBob, toAlice} {
			if took := roundTrip(t, to); took < 400*time.Millisecond || took > time.Second {
				t.Errorf("message and receipt took %s, want two delays of 200ms and little more", took)
			}
		}
		if took := roundTrip(t, toCarol); took > 100*time.Millisecond {
			t.Errorf("with a friend of whom nothing was set they took %s", took)
		}
		n.SetLinks(carriertest.Link{Delay: 100 * time.Millisecond})
		if took := roundTrip(t, toCarol); took < 200*time.Millisecond || took > 500*time.Millisecond {
			t.Errorf("after SetLinks they took %s, want two delays of 100ms and little more", took)
		}
		if took := roundTrip(t, toBob); took < 400*time.Millisecond {
			t.Errorf("SetLinks has changed what SetLink said: %s", took)
		}
		n.SetLink(alice, bob, carriertest.Link{})
		time.Sleep(time.Minute)
		if took := roundTrip(t, toBob); took > 100*time.Millisecond {
			t.Errorf("on a perfect link again they took %s", took)
		}
	})
}

// TestSetLinkRate: a line carries what it can.
func TestSetLinkRate(t *testing.T) {
	carriertest.Virtual(t, nil, func(t *testing.T, n *carriertest.Network) {
		alice, bob := n.Node("Alice"), n.Node("Bob")
		toBob, _ := n.Befriend(alice, bob)
		const rate, size = 10_000, 50_000 // bytes a second, and of the message
		n.SetLink(alice, bob, carriertest.Link{Rate: rate})
		begun := time.Now()
		if _, err := toBob.Send(t.Context(), make([]byte, size), nil); err != nil {
			t.Fatal(err)
		}
		if got := len(n.AwaitMessage(bob).Body()); got != size {
			t.Errorf("got %d bytes, want %d", got, size)
		}
		if took := time.Since(begun); took < size/rate*time.Second {
			t.Errorf("%d bytes took %s on a line of %d bytes a second", size, took, rate)
		}
	})
}

// TestSetLinkLoss: what is lost altogether does not arrive.
func TestSetLinkLoss(t *testing.T) {
	carriertest.Virtual(t, nil, func(t *testing.T, n *carriertest.Network) {
		alice, bob := n.Node("Alice"), n.Node("Bob")
		toBob, _ := n.Befriend(alice, bob)
		n.SetLink(alice, bob, carriertest.Link{Loss: 1})
		time.Sleep(2 * time.Minute)
		if toBob.Online() {
			t.Error("Bob is online over a line that loses everything")
		}
		n.SetLink(alice, bob, carriertest.Link{})
		if err := toBob.WaitOnline(within(t, 5*time.Minute)); err != nil {
			t.Error(err)
		}
	})
}

// TestOffline: a node without a network is away, and comes back.
func TestOffline(t *testing.T) {
	carriertest.Virtual(t, nil, func(t *testing.T, n *carriertest.Network) {
		alice, bob := n.Node("Alice"), n.Node("Bob")
		toBob, _ := n.Befriend(alice, bob)
		n.Offline(bob)
		time.Sleep(2 * time.Minute)
		if toBob.Online() {
			t.Error("after two minutes without a network Bob is online")
		}
		if _, err := toBob.Send(t.Context(), []byte("for later"), nil); err != nil {
			t.Fatal(err)
		}
		n.Online(bob)
		if got := n.AwaitMessage(bob); string(got.Body()) != "for later" {
			t.Errorf("got %q", got.Body())
		}
	})
}

// TestMove: a node that has another address is reached there.
func TestMove(t *testing.T) {
	carriertest.Virtual(t, nil, func(t *testing.T, n *carriertest.Network) {
		alice, bob := n.Node("Alice"), n.Node("Bob")
		toBob, _ := n.Befriend(alice, bob)
		before := bob.LocalAddrs()
		n.Move(bob)
		time.Sleep(10 * time.Second)
		after := bob.LocalAddrs()
		if len(before) != 1 || len(after) != 1 || before[0].Addr() == after[0].Addr() {
			t.Errorf("moved from %v to %v, want another address", before, after)
		}
		roundTrip(t, toBob)
		n.Partition(bob) // at the address where it is now
		time.Sleep(2 * time.Minute)
		if toBob.Online() {
			t.Error("a partition misses a node that has moved")
		}
	})
}

// TestPartitionHoldsForLaterHosts: who comes later is outside as well.
func TestPartitionHoldsForLaterHosts(t *testing.T) {
	carriertest.Virtual(t, nil, func(t *testing.T, n *carriertest.Network) {
		alice := n.Node("Alice")
		n.Partition(alice)
		bob := n.Node("Bob")
		toAlice, err := bob.AddFriend(t.Context(), alice.Address(), "")
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Minute)
		if len(alice.Requests()) > 0 || toAlice.State() == carrier.FriendAccepted {
			t.Errorf("across the partition: requests %v, state %s", alice.Requests(), toAlice.State())
		}
		n.Heal()
		if req := carriertest.AwaitEvent(n, alice, func(r carrier.FriendRequest) bool { return r.ID == bob.ID() }); req.Name != "Bob" {
			t.Errorf("a request of %q, want Bob's", req.Name)
		}
	})
}

// TestCrashAndRestart: a node that is ended on the spot says nothing, and comes
// back as the same person at the same address; one that was closed too, and one
// that still runs.
func TestCrashAndRestart(t *testing.T) {
	carriertest.Virtual(t, nil, func(t *testing.T, n *carriertest.Network) {
		alice, bob := n.Node("Alice"), n.Start(carrier.Config{Name: "Bob", Dir: t.TempDir()})
		toBob, _ := n.Befriend(alice, bob)
		for _, end := range []func(){
			func() { n.Crash(bob) },
			func() {
				if err := bob.Close(); err != nil {
					t.Error(err)
				}
			},
			func() {},
		} {
			was := bob
			end()
			bob = n.Restart(was)
			if bob == was || bob.ID() != was.ID() || bob.Profile().Name != "Bob" {
				t.Fatalf("restarted as %s %q, want %s", bob.ID(), bob.Profile().Name, was.ID())
			}
			roundTrip(t, toBob)
			n.AwaitMessage(bob)
		}
		n.Crash(bob)
		synctest.Wait()
		if !toBob.Online() {
			t.Error("Alice knows at once that Bob has crashed: something has told her")
		}
	})
}
