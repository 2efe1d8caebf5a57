package carriertest_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gocarrier/carrier"
	"github.com/gocarrier/carrier/carriertest"
)

// both runs a test in real time and in virtual time: the package promises the
// same of both.
func both(t *testing.T, test func(t *testing.T)) {
	t.Run("real", func(t *testing.T) { t.Parallel(); test(t) })
	t.Run("virtual", func(t *testing.T) { synctest.Test(t, test) })
}

// within is a context for one wait of a test.
func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// What the example shows is true.
func TestExampleInVirtualTime(t *testing.T) { testMailWaits(t) }

func TestNodesFindEachOther(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T) {
		n := carriertest.NewNetwork(t, nil)
		alice, bob := n.Node("Alice"), n.Node("Bob")
		ab, ba := n.Befriend(alice, bob)
		if ab.ID() != bob.ID() || ba.ID() != alice.ID() {
			t.Fatalf("Befriend returned the handles of %s and %s, want those of %s and %s", ab.ID(), ba.ID(), bob.ID(), alice.ID())
		}
		for _, f := range []*carrier.Friend{ab, ba} {
			if f.State() != carrier.FriendAccepted || !f.Online() {
				t.Errorf("friend %s: state %s, online %t; want accepted and online", f, f.State(), f.Online())
			}
		}
		ctx := within(t, time.Minute)
		msg, err := ab.Send(ctx, []byte("hi"), nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := msg.WaitDelivered(ctx); err != nil {
			t.Fatal(err)
		}
		for m, err := range bob.Messages(ctx) {
			if err != nil {
				t.Fatal(err)
			}
			if string(m.Body()) != "hi" || m.From() != alice.ID() {
				t.Errorf("Bob got %q of %s, want %q of %s", m.Body(), m.From(), "hi", alice.ID())
			}
			break
		}
	})
}

// TestSpeed holds the promise that a network and two nodes are a matter of
// milliseconds: virtual seconds may pass, real ones not.
func TestSpeed(t *testing.T) {
	begin := time.Now()
	synctest.Test(t, func(t *testing.T) {
		n := carriertest.NewNetwork(t, nil)
		n.Befriend(n.Node("Alice"), n.Node("Bob"))
	})
	if took := time.Since(begin); took > 3*time.Second {
		t.Errorf("two nodes and their DHT took %s of real time, want milliseconds", took)
	}
}

func TestPartitionAndHeal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := carriertest.NewNetwork(t, &carriertest.Options{Delay: 20 * time.Millisecond})
		alice, bob, carol := n.Node("Alice"), n.Node("Bob"), n.Node("Carol")
		ab, ba := n.Befriend(alice, bob)
		ac, _ := n.Befriend(alice, carol)

		n.Partition(bob)
		time.Sleep(time.Minute)
		if ab.Online() || ba.Online() {
			t.Errorf("after a minute apart: Bob online to Alice %t, Alice online to Bob %t; want neither", ab.Online(), ba.Online())
		}
		if !ac.Online() {
			t.Error("Carol, who was not cut off, is offline to Alice")
		}
		msg, err := ab.Send(t.Context(), []byte("are you there?"), nil)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if s := msg.State().Status; s == carrier.MessageDelivered {
			t.Error("a message crossed the partition")
		}

		n.Heal()
		if err := msg.WaitDelivered(within(t, 5*time.Minute)); err != nil {
			t.Error(err)
		}
		if err := ab.WaitOnline(within(t, 5*time.Minute)); err != nil {
			t.Error(err)
		}
	})
}

// TestPartitionOfTwo shows that those who are cut off together still reach each
// other.
func TestPartitionOfTwo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := carriertest.NewNetwork(t, nil)
		alice, bob := n.Node("Alice"), n.Node("Bob")
		ab, _ := n.Befriend(alice, bob)
		n.Partition(alice, bob)
		time.Sleep(2 * time.Minute)
		if !ab.Online() {
			t.Error("two nodes of one side have lost each other")
		}
		msg, err := ab.Send(t.Context(), nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := msg.WaitDelivered(within(t, time.Minute)); err != nil {
			t.Error(err)
		}
	})
}

// TestRestartOnTheSameHost: a node that comes back with its directory and Host
// is the same person at the same address.
func TestRestartOnTheSameHost(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T) {
		n := carriertest.NewNetwork(t, nil)
		config := carrier.Config{Dir: t.TempDir(), Name: "Bob", Net: n.Host()}
		alice, bob := n.Node("Alice"), n.Start(config)
		if err := bob.WaitReady(within(t, time.Minute)); err != nil {
			t.Fatal(err)
		}
		ab, _ := n.Befriend(alice, bob)
		id, addrs := bob.ID(), bob.LocalAddrs()
		if err := bob.Close(); err != nil {
			t.Fatal(err)
		}
		msg, err := ab.Send(t.Context(), []byte("for later"), nil)
		if err != nil {
			t.Fatal(err)
		}

		bob = n.Start(config)
		if bob.ID() != id {
			t.Errorf("after the restart ID %s, want %s", bob.ID(), id)
		}
		if got := bob.LocalAddrs(); len(got) != 1 || len(addrs) != 1 || got[0] != addrs[0] {
			t.Errorf("after the restart at %v, want %v", got, addrs)
		}
		if err := msg.WaitDelivered(within(t, 2*time.Minute)); err != nil {
			t.Error(err)
		}
	})
}

// TestStartWithOneRouter: the smallest DHT still carries friends.
func TestStartWithOneRouter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := carriertest.NewNetwork(t, &carriertest.Options{Routers: 1})
		n.Befriend(n.Node("Alice"), n.Node("Bob"))
	})
}

// TestBadLines: friends are made over lines that lose, double and reorder, and
// the same seed loses the same datagrams.
func TestBadLines(t *testing.T) {
	for _, seed := range []uint64{1, 2} {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := carriertest.NewNetwork(t, &carriertest.Options{
					Seed: seed, Delay: 50 * time.Millisecond, Jitter: 30 * time.Millisecond,
					Loss: 0.05, Duplicate: 0.02, Reorder: 0.02,
				})
				ab, _ := n.Befriend(n.Node("Alice"), n.Node("Bob"))
				msg, err := ab.Send(t.Context(), []byte("through the rain"), nil)
				if err != nil {
					t.Fatal(err)
				}
				if err := msg.WaitDelivered(within(t, 2*time.Minute)); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// TestDelay: the configured delay is what a datagram takes.
func TestDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := carriertest.NewNetwork(t, &carriertest.Options{Delay: 250 * time.Millisecond})
		ab, _ := n.Befriend(n.Node("Alice"), n.Node("Bob"))
		begin := time.Now()
		msg, err := ab.Send(t.Context(), nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := msg.WaitDelivered(within(t, time.Minute)); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(begin); took < 500*time.Millisecond || took > 2*time.Second {
			t.Errorf("message and receipt took %s, want two delays of 250ms and little more", took)
		}
	})
}

func TestTap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := carriertest.NewNetwork(t, nil)
		alice := n.Node("Alice")
		var mu sync.Mutex
		seen := map[netip.Addr]int{}
		n.Tap(func(from, to netip.AddrPort, b []byte) {
			mu.Lock()
			defer mu.Unlock()
			seen[from.Addr()]++
			if len(b) == 0 || !to.IsValid() {
				t.Errorf("tapped %d bytes to %s", len(b), to)
			}
		})
		bob := n.Node("Bob")
		n.Befriend(alice, bob)
		at := map[*carrier.Node]netip.Addr{} // before mu is taken, which the tap takes with the network locked
		for _, node := range []*carrier.Node{alice, bob} {
			at[node] = node.LocalAddrs()[0].Addr()
		}
		mu.Lock()
		defer mu.Unlock()
		for node, addr := range at {
			if seen[addr] == 0 {
				t.Errorf("no datagram of %s was tapped", node.Profile().Name)
			}
		}
	})
}

// TestCloseLeavesNothing: after a test's end nothing of the network runs. In
// virtual time synctest itself fails a test that leaves a goroutine.
func TestCloseLeavesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := carriertest.NewNetwork(t, nil)
		alice, bob := n.Node("Alice"), n.Node("Bob")
		n.Befriend(alice, bob)
		go func() {
			for range alice.Events(t.Context()) { // ends with the test's context
			}
		}()
	})
	// In real time they are counted; parallel tests wait until this one ends.
	before := runtime.NumGoroutine()
	t.Run("real", func(t *testing.T) {
		n := carriertest.NewNetwork(t, nil)
		n.Befriend(n.Node("Alice"), n.Node("Bob"))
	})
	for deadline := time.Now().Add(2 * time.Second); runtime.NumGoroutine() > before && time.Now().Before(deadline); {
		time.Sleep(5 * time.Millisecond) // what has returned may not be gone yet
	}
	if after := runtime.NumGoroutine(); after > before {
		t.Errorf("%d goroutines after the network was closed, %d before", after, before)
	}
}

// failer is a testing.TB that notes the first fatal failure instead of ending
// the test it stands in.
type failer struct {
	testing.TB
	message  atomic.Pointer[string]
	cleanups []func()
}

func (f *failer) Helper()           {}
func (f *failer) Cleanup(fn func()) { f.cleanups = append(f.cleanups, fn) }
func (f *failer) Fatalf(format string, args ...any) {
	s := fmt.Sprintf(format, args...)
	f.message.CompareAndSwap(nil, &s)
	runtime.Goexit()
}

// outcome runs f as a test would and returns what it failed with.
func outcome(t *testing.T, f func(tb testing.TB)) string {
	tb := &failer{TB: t}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() {
			for i := len(tb.cleanups) - 1; i >= 0; i-- {
				tb.cleanups[i]()
			}
		}()
		f(tb)
	}()
	<-done
	if s := tb.message.Load(); s != nil {
		return *s
	}
	return ""
}

// TestFailures: what cannot work ends the test with words that say why, and
// closes what was made.
func TestFailures(t *testing.T) {
	for _, test := range []struct {
		name string
		run  func(tb testing.TB)
		want string
	}{
		{"no directory", func(tb testing.TB) {
			carriertest.NewNetwork(tb, nil).Start(carrier.Config{Name: "Alice"})
		}, `start node "Alice": carrier: start: no state directory given`},
		{"partition of a node elsewhere", func(tb testing.TB) {
			a, b := carriertest.NewNetwork(tb, nil), carriertest.NewNetwork(tb, nil)
			a.Partition(b.Node("Bob"))
		}, "has no host of this network"},
		{"crash of a node elsewhere", func(tb testing.TB) {
			a, b := carriertest.NewNetwork(tb, nil), carriertest.NewNetwork(tb, nil)
			a.Crash(b.Node("Bob"))
		}, "has no host of this network"},
		{"restart of an ephemeral node", func(tb testing.TB) {
			n := carriertest.NewNetwork(tb, nil)
			n.Restart(n.Node("Bob"))
		}, `node "Bob" is ephemeral`},
		{"link without meaning", func(tb testing.TB) {
			n := carriertest.NewNetwork(tb, nil)
			n.SetLinks(carriertest.Link{Loss: 1.5})
		}, "share of 1.5"},
		{"no message", func(tb testing.TB) {
			n := carriertest.NewNetwork(tb, nil)
			n.AwaitMessage(n.Node("Bob"))
		}, "await a message"},
		{"no event", func(tb testing.TB) {
			n := carriertest.NewNetwork(tb, nil)
			carriertest.AwaitEvent[carrier.FriendRequest](n, n.Node("Bob"), nil)
		}, "no such event in 2m0s: carrier.FriendRequest"},
		{"cut off", func(tb testing.TB) {
			n := carriertest.NewNetwork(tb, nil)
			alice, bob := n.Node("Alice"), n.Node("Bob")
			n.Partition(alice)
			n.Befriend(alice, bob)
		}, "has not arrived"},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				if got := outcome(t, test.run); !strings.Contains(got, test.want) {
					t.Errorf("failed with %q, want %q in it", got, test.want)
				}
			})
		})
	}
}

// TestHostsAreApart: every host has an address of its own, and the network does
// not reach the real one.
func TestHostsAreApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := carriertest.NewNetwork(t, &carriertest.Options{Routers: 2})
		seen := map[netip.Addr]bool{}
		for range 300 {
			addrs, err := n.Host().LocalAddrs()
			if err != nil || len(addrs) != 1 {
				t.Fatalf("LocalAddrs = %v, %v; want one address", addrs, err)
			}
			if a := addrs[0].Addr(); seen[a] || !netip.MustParsePrefix("198.18.0.0/15").Contains(a) {
				t.Fatalf("address %s: given twice, or outside 198.18.0.0/15", a)
			}
			seen[addrs[0].Addr()] = true
		}
		if len(n.Bootstrap()) != 2 {
			t.Errorf("Bootstrap gives %d nodes, want both routers", len(n.Bootstrap()))
		}
		var dns *net.DNSError
		if _, err := n.Host().LookupNetIP(t.Context(), "ip", "router.bittorrent.com"); !errors.As(err, &dns) {
			t.Errorf("a name of the real network gives %v, want a *net.DNSError", err)
		}
	})
}
