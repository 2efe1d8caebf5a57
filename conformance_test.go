package carrier_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gocarrier/carrier"
	"github.com/gocarrier/carrier/carriertest"
	"github.com/gocarrier/carrier/crypto"
)

func TestConnectedIsReportedOncePerChange(t *testing.T) {
	bubble(t, func(t *testing.T, n *carriertest.Network) {
		host := n.Host()
		node := n.Start(carrier.Config{Ephemeral: true, Net: host})
		events := record(t, node)
		if err := node.WaitReady(within(t, patience)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Minute)
		var got []bool
		for _, ev := range eventsOf[carrier.Connected](events) {
			got = append(got, ev.Connected)
		}
		if !slices.Equal(got, []bool{false, true}) && !slices.Equal(got, []bool{true}) {
			t.Errorf("Connected was reported as %v, want the snapshot and at most one change to true", got)
		}
	})
}

func TestConnectedReportsLossAndReturn(t *testing.T) {
	bubble(t, func(t *testing.T, n *carriertest.Network) {
		node := n.Node("Alice")
		events := record(t, node)
		n.Partition(node)
		time.Sleep(30 * time.Minute)
		n.Heal()
		time.Sleep(10 * time.Minute)
		var got []bool
		for _, ev := range eventsOf[carrier.Connected](events) {
			got = append(got, ev.Connected)
		}
		if want := []bool{true, false, true}; !slices.Equal(got, want) {
			t.Errorf("Connected was reported as %v, want %v", got, want)
		}
	})
}

// TestCallsBeforeReady: nothing fails oddly before the DHT answers; what needs
// the network waits for its context.
func TestCallsBeforeReady(t *testing.T) {
	bubble(t, func(t *testing.T, n *carriertest.Network) {
		bob := n.Node("Bob")
		host := n.Host()
		alice := n.Start(carrier.Config{Ephemeral: true, Name: "Alice", Net: host})
		n.Partition(alice)
		err := alice.WaitReady(within(t, time.Minute))
		if !errors.Is(err, carrier.ErrNotReady) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("WaitReady = %v, want ErrNotReady and the context's error", err)
		}
		friend, err := alice.AddFriend(t.Context(), bob.Address(), "hello")
		if err != nil {
			t.Fatalf("AddFriend before the DHT answers: %v", err)
		}
		msg, err := friend.Send(t.Context(), []byte("hi"), nil)
		if err != nil {
			t.Fatalf("Send before the DHT answers: %v", err)
		}
		for op, wait := range map[string]func(context.Context) error{
			"WaitAccepted": friend.WaitAccepted, "WaitOnline": friend.WaitOnline,
			"WaitStored": msg.WaitStored, "WaitDelivered": msg.WaitDelivered,
		} {
			begin := time.Now()
			if err := wait(within(t, time.Second)); !errors.Is(err, context.DeadlineExceeded) || time.Since(begin) != time.Second {
				t.Errorf("%s = %v after %s, want the context's error after 1s", op, err, time.Since(begin))
			}
		}
		n.Heal()
		if err := alice.WaitReady(within(t, patience)); err != nil {
			t.Fatal(err)
		}
		if _, err := requestOf(bob.Events(within(t, patience)), alice.ID()); err != nil {
			t.Error(err)
		}
	})
}

func TestWaitReadyOfClosedNode(t *testing.T) {
	bubble(t, func(t *testing.T, n *carriertest.Network) {
		node := n.Start(carrier.Config{Ephemeral: true, NoBootstrap: true})
		done := make(chan error)
		go func() { done <- node.WaitReady(context.Background()) }()
		synctest.Wait()
		if err := node.Close(); err != nil {
			t.Fatal(err)
		}
		if err := <-done; !errors.Is(err, net.ErrClosed) {
			t.Errorf("WaitReady of a node that closes = %v, want net.ErrClosed", err)
		}
	})
}

func TestSecondOpenOfADirectory(t *testing.T) {
	bubble(t, func(t *testing.T, n *carriertest.Network) {
		alice, bob := newPerson(t, n, "Alice"), newPerson(t, n, "Bob")
		befriend(alice, bob)
		_, err := carrier.Start(t.Context(), carrier.Config{Dir: alice.config.Dir, Net: n.Host(), Bootstrap: n.Bootstrap()})
		if !errors.Is(err, carrier.ErrDirInUse) {
			t.Fatalf("second Start = %v, want ErrDirInUse", err)
		}
		// Nothing was damaged: neither for the one that runs, nor on disk.
		alice.delivered(alice.send(bob.ID(), "still here"))
		id := alice.ID()
		alice.stop()
		alice.start()
		if alice.ID() != id {
			t.Errorf("after the restart ID %s, want %s", alice.ID(), id)
		}
		alice.delivered(alice.send(bob.ID(), "and again"))
	})
}

// inBase58 writes bytes that begin with none of value zero.
func inBase58(b []byte) string {
	const alphabet = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
	var out []byte
	digit := new(big.Int)
	for n := new(big.Int).SetBytes(b); n.Sign() > 0; {
		n.DivMod(n, big.NewInt(58), digit)
		out = append(out, alphabet[digit.Int64()])
	}
	slices.Reverse(out)
	return string(out)
}

func TestAddressAndIDValidity(t *testing.T) {
	bubble(t, func(t *testing.T, n *carriertest.Network) {
		alice := n.Node("Alice")
		address, id := alice.Address().String(), alice.ID().String()
		if a, err := carrier.ParseAddress(address); err != nil || a != alice.Address() {
			t.Errorf("ParseAddress(%s) = %v, %v; want the node's", address, a, err)
		}
		if got, err := carrier.ParseID(id); err != nil || got != alice.ID() {
			t.Errorf("ParseID(%s) = %v, %v; want the node's", id, got, err)
		}
		did := alice.ID().DIDKey()
		if got, err := carrier.ParseID(did); err != nil || got != alice.ID() {
			t.Errorf("ParseID(%s) = %v, %v; want the node's", did, got, err)
		}
		// changed is the address with one byte changed, in base58 again; sum says
		// whether the checksum is made to fit.
		changed := func(at int, sum bool) string {
			const version = 1
			b := append([]byte{version}, alice.ID().Bytes()...)
			nospam := alice.Address().Nospam
			b = append(b, nospam[:]...)
			digest := sha256.Sum256(b)
			b = append(b, digest[:4]...)
			if inBase58(b) != address {
				t.Fatalf("the bytes of %s are not %x", address, b)
			}
			b[(at+len(b))%len(b)] ^= 0x40
			if rest := len(b) - 4; sum {
				digest := sha256.Sum256(b[:rest])
				copy(b[rest:], digest[:])
			}
			return inBase58(b)
		}
		for _, test := range []struct {
			name, text string
			reason     error
		}{
			{"illegal character", "0" + address[1:], crypto.ErrBase58},
			{"wrong version", changed(0, true), crypto.ErrVersion},
			{"mistyped ID", changed(1, false), crypto.ErrChecksum},
			{"mistyped nospam", changed(40, false), crypto.ErrChecksum},
			{"wrong checksum", changed(-1, false), crypto.ErrChecksum},
			{"too short", address[:len(address)-6], crypto.ErrLength},
			{"too long", address + "111111", crypto.ErrLength},
			{"empty", "", crypto.ErrLength},
			{"an ID", id, crypto.ErrLength},
		} {
			_, err := carrier.ParseAddress(test.text)
			if !errors.Is(err, carrier.ErrBadAddress) || !errors.Is(err, test.reason) {
				t.Errorf("%s: ParseAddress = %v, want ErrBadAddress and %v", test.name, err, test.reason)
			}
		}
		for _, test := range []struct {
			name, text string
			reason     error
		}{
			{"illegal character", "l" + id[1:], crypto.ErrBase58},
			{"too short", id[:len(id)-6], crypto.ErrLength},
			{"an address", address, crypto.ErrLength},
		} {
			_, err := carrier.ParseID(test.text)
			if !errors.Is(err, carrier.ErrBadAddress) || !errors.Is(err, test.reason) {
				t.Errorf("%s: ParseID = %v, want ErrBadAddress and %v", test.name, err, test.reason)
			}
		}
	})
}

func TestNewNospam(t *testing.T) {
	bubble(t, func(t *testing.T, n *carriertest.Network) {
		alice, bob, carol, dave := newPerson(t, n, "Alice"), newPerson(t, n, "Bob"), newPerson(t, n, "Carol"), newPerson(t, n, "Dave")
		befriend(alice, bob)
		old := bob.Address()
		fresh, err := bob.NewAddress()
		bob.must(err)
		if fresh == old || fresh.ID != old.ID || bob.Address() != fresh {
			t.Errorf("NewAddress = %s (Address() = %s), want another than %s of the same ID", fresh, bob.Address(), old)
		}
		events := record(t, bob.Node)
		carol.add(old, "by the old address")
		dave.add(fresh, "by the new address")
		bob.request(dave.ID())
		dave.stop()
		alice.stop()
		time.Sleep(35 * time.Minute) // over every bell, and the fixed buckets once
		for _, r := range eventsOf[carrier.FriendRequest](events) {
			if r.ID != dave.ID() {
				t.Errorf("request %q of %s has come by the old address", r.Hello, r.Name)
			}
		}
		alice.start()
		if ab := alice.friend(bob.ID()); ab.State() != carrier.FriendAccepted {
			t.Errorf("the old friend is %s, want accepted", ab.State())
		}
		alice.delivered(alice.send(bob.ID(), "friends stay"))
		bob.stop()
		bob.start()
		if bob.Address() != fresh {
			t.Errorf("after a restart the address is %s, want %s", bob.Address(), fresh)
		}
	})
}

func TestSelfInfo(t *testing.T) {
	bubble(t, func(t *testing.T, n *carriertest.Network) {
		alice, bob := newPerson(t, n, "Alice"), newPerson(t, n, "Bob")
		if got, want := alice.Profile(), (carrier.Profile{Name: "Alice"}); got != want {
			t.Errorf("Profile = %+v, want %+v of Config", got, want)
		}
		_, ba := befriend(alice, bob)
		eventually(t, "Bob knows Alice's name", func() bool { return ba.Profile().Name == "Alice" })
		events := record(t, bob.Node)

		want := carrier.Profile{Name: strings.Repeat("ü", 32), Description: strings.Repeat("d", 255)}
		alice.must(alice.SetProfile(want))
		if got := alice.Profile(); got != want {
			t.Errorf("Profile = %+v, want what was set", got)
		}
		eventually(t, "the profile is pushed to an online friend", func() bool { return ba.Profile() == want })
		time.Sleep(time.Minute)
		got := eventsOf[carrier.FriendProfile](events)
		if len(got) == 0 || got[len(got)-1].Profile != want || got[len(got)-1].Friend != ba {
			t.Errorf("FriendProfile events %v, want the last one with the new profile", got)
		}

		// A friend that was away learns it too, and both keep it.
		bob.leave()
		want = carrier.Profile{Name: "Alice B.", Description: "married"}
		alice.must(alice.SetProfile(want))
		alice.stop()
		alice.config.Name = "not used any more"
		alice.start()
		if got := alice.Profile(); got != want {
			t.Errorf("after a restart Profile = %+v, want %+v", got, want)
		}
		bob.start()
		ba = bob.friend(alice.ID())
		eventually(t, "a friend that was away learns the profile", func() bool { return ba.Profile() == want })
		if ba.Name() != "Alice B." {
			t.Errorf("Name = %q, want the new one", ba.Name())
		}
		alice.stop()
		bob.stop()
		bob.start()
		if got := bob.friend(alice.ID()).Profile(); got != want {
			t.Errorf("after Bob's restart Alice's profile is %+v, want %+v", got, want)
		}
	})
}

func TestPresence(t *testing.T) {
	bubble(t, func(t *testing.T, n *carriertest.Network) {
		alice, bob := newPerson(t, n, "Alice"), newPerson(t, n, "Bob")
		_, ba := befriend(alice, bob)
		if got := ba.Presence(); got != carrier.PresenceOnline {
			t.Errorf("Presence = %s at first, want online", got)
		}
		for _, p := range []carrier.Presence{carrier.PresenceAway, carrier.PresenceBusy, carrier.PresenceOnline} {
			alice.must(alice.SetPresence(p))
			begin := time.Now()
			eventually(t, "Bob sees Alice "+p.String(), func() bool { return ba.Presence() == p })
			if took := time.Since(begin); took > 15*time.Second {
				t.Errorf("%s took %s to be seen by an online friend", p, took)
			}
		}
		for _, p := range []carrier.Presence{carrier.PresenceOffline, 17} {
			if err := alice.SetPresence(p); err == nil {
				t.Errorf("SetPresence(%s) = nil, want an error", p)
			}
		}
		alice.must(alice.SetPresence(carrier.PresenceBusy))
		begin := time.Now()
		alice.leave()
		eventually(t, "Bob sees Alice offline", func() bool { return !ba.Online() })
		if took := time.Since(begin); took > 15*time.Second {
			t.Errorf("a goodbye took %s to be seen", took)
		}
		if got := ba.Presence(); got != carrier.PresenceOffline {
			t.Errorf("Presence = %s of a friend that left, want offline", got)
		}
		alice.start()
		eventually(t, "Bob sees Alice online after a restart", func() bool { return ba.Presence() == carrier.PresenceOnline })
	})
}

func TestLastSeenAndEndpoint(t *testing.T) {
	bubble(t, func(t *testing.T, n *carriertest.Network) {
		alice, bob := newPerson(t, n, "Alice"), newPerson(t, n, "Bob")
		events := record(t, alice.Node)
		ab, _ := befriend(alice, bob)
		if d := time.Since(ab.LastSeen()); d < 0 || d > time.Minute {
			t.Errorf("LastSeen of an online friend is %s ago", d)
		}
		synctest.Wait()
		var at netip.AddrPort
		for _, ev := range eventsOf[carrier.FriendPresence](events) {
			if ev.Online {
				at = ev.Endpoint
			}
		}
		if want := bob.LocalAddrs()[0]; at != want {
			t.Errorf("Endpoint = %s, want %s", at, want)
		}
		bob.stop()
		left := time.Now()
		eventually(t, "Alice sees Bob offline", func() bool { return !ab.Online() })
		time.Sleep(20 * time.Minute)
		seen := ab.LastSeen()
		if d := seen.Sub(left); d < -time.Minute || d > time.Minute {
			t.Errorf("later LastSeen is %s from when Bob left, want about that time", d)
		}
		alice.stop()
		alice.start()
		if got := alice.friend(bob.ID()).LastSeen(); got.Sub(seen).Abs() > time.Minute {
			t.Errorf("after a restart LastSeen = %s, want %s", got, seen)
		}
	})
}

func TestExportIdentity(t *testing.T) {
	bubble(t, func(t *testing.T, n *carriertest.Network) {
		alice, bob := newPerson(t, n, "Alice"), newPerson(t, n, "Bob")
		ab, _ := befriend(alice, bob)
		alice.must(ab.SetLabel("my Bob"))
		stranger := n.Node("Eve")
		alice.must(alice.Block(stranger.ID()))
		exported, err := alice.ExportIdentity()
		alice.must(err)
		address := alice.Address()
		alice.leave()

		moved := &person{t: t, net: n, config: carrier.Config{Dir: t.TempDir(), Identity: exported, Net: n.Host()}}
		moved.start()
		if moved.Address() != address {
			t.Errorf("the moved node has the address %s, want %s", moved.Address(), address)
		}
		if got := moved.Profile().Name; got != "Alice" {
			t.Errorf("the moved node's name is %q, want Alice", got)
		}
		f := moved.friend(bob.ID())
		if f.State() != carrier.FriendAccepted || f.Label() != "my Bob" {
			t.Errorf("Bob is %s, label %q, on the moved node; want accepted, %q", f.State(), f.Label(), "my Bob")
		}
		if got := moved.Blocked(); !slices.Equal(got, []carrier.ID{stranger.ID()}) {
			t.Errorf("Blocked = %v, want %s", got, stranger.ID())
		}
		moved.delivered(moved.send(bob.ID(), "from my new machine"))
		if got := bob.next(); got.body != "from my new machine" {
			t.Errorf("Bob got %q", got.body)
		}
		bob.delivered(bob.send(moved.ID(), "welcome"))
		moved.stop()
		moved.start() // with Identity still set: it fits
	})
}

// TestIdentityOpenedTwice: the same profile run twice is told to both, and
// does not flap; the newer one wins until it is gone.
func TestIdentityOpenedTwice(t *testing.T) {
	bubble(t, func(t *testing.T, n *carriertest.Network) {
		alice, bob := newPerson(t, n, "Alice"), newPerson(t, n, "Bob")
		befriend(alice, bob)
		older, saw := record(t, alice.Node), record(t, bob.Node)
		copied := imported(t, n, alice.exported())
		newer := record(t, copied.Node)
		begun := time.Now()
		for i := range 10 {
			alice.send(bob.ID(), fmt.Sprint("older ", i))
			copied.send(bob.ID(), fmt.Sprint("newer ", i))
			bob.send(alice.ID(), fmt.Sprint("to Alice ", i))
			time.Sleep(12 * time.Second)
		}
		for _, told := range []*recorder{older, newer} {
			untilTold(t, told, 1, 20*time.Minute-time.Since(begun)) // two as a rule
		}
		t.Logf("both were told within %v (virtual)", time.Since(begun))
		time.Sleep(10 * time.Minute)
		if a, b := older.inUse(), newer.inUse(); a != "[yields]" || b != "[goes on]" {
			t.Errorf("the older one was told %s, the newer one %s", a, b)
		}
		if got := saw.left(); got > 1 {
			t.Errorf("Bob saw Alice go offline %d times", got)
		}
		shown := map[string]int{}
		for _, r := range bob.read(20, time.Second) {
			shown[r.body]++
		}
		for body, times := range shown {
			if times > 1 {
				t.Errorf("Bob was shown %q %d times", body, times)
			}
		}
		for i := range 10 {
			if body := fmt.Sprint("newer ", i); shown[body] == 0 {
				t.Errorf("Bob was not shown %q", body)
			}
		}
	})
}

// TestClose: Close takes at most a second, may be repeated, and every call
// answers afterwards.
func TestClose(t *testing.T) {
	bubble(t, func(t *testing.T, n *carriertest.Network) {
		alice, bob := newPerson(t, n, "Alice"), newPerson(t, n, "Bob")
		ab, _ := befriend(alice, bob)
		msg := alice.send(bob.ID(), "before")
		alice.delivered(msg)
		begin := time.Now()
		alice.stop()
		if took := time.Since(begin); took > time.Second {
			t.Errorf("Close took %s", took)
		}
		alice.stop()
		address := bob.Address()
		ctx := t.Context()
		for op, call := range map[string]func() error{
			"AddFriend":      func() error { _, err := alice.AddFriend(ctx, address, ""); return err },
			"Accept":         func() error { _, err := alice.Accept(bob.ID()); return err },
			"Refuse":         func() error { return alice.Refuse(bob.ID()) },
			"Block":          func() error { return alice.Block(bob.ID()) },
			"Unblock":        func() error { return alice.Unblock(bob.ID()) },
			"NewAddress":     func() error { _, err := alice.NewAddress(); return err },
			"SetProfile":     func() error { return alice.SetProfile(carrier.Profile{Name: "x"}) },
			"SetPresence":    func() error { return alice.SetPresence(carrier.PresenceAway) },
			"ExportIdentity": func() error { _, err := alice.ExportIdentity(); return err },
			"Send":           func() error { _, err := ab.Send(ctx, nil, nil); return err },
			"SetLabel":       func() error { return ab.SetLabel("x") },
			"Remove":         ab.Remove,
			"Messages": func() error {
				var last error
				for _, err := range alice.Messages(ctx) {
					last = err
				}
				return last
			},
		} {
			err := call()
			var typed *carrier.Error
			if !errors.Is(err, net.ErrClosed) || !errors.As(err, &typed) {
				t.Errorf("%s of a closed node = %v, want an *Error that matches net.ErrClosed", op, err)
			}
		}
		for ev := range alice.Events(ctx) {
			t.Errorf("event %T of a closed node, want none", ev)
		}
		if alice.Address().ID != alice.ID() || len(alice.Friends()) != 1 || alice.Stats() == nil {
			t.Error("a closed node does not answer with its last state")
		}
		alice.NetworkChanged()
		_, _, _ = alice.Outbox(), alice.Requests(), alice.Blocked()
		if err := alice.Shutdown(ctx); err != nil {
			t.Errorf("Shutdown of a closed node = %v, want nil", err)
		}
	})
}

// TestShutdownIsBounded: when the network is gone, Shutdown ends with its
// context and the node is closed.
func TestShutdownIsBounded(t *testing.T) {
	bubble(t, func(t *testing.T, n *carriertest.Network) {
		alice, bob := newPerson(t, n, "Alice"), newPerson(t, n, "Bob")
		befriend(alice, bob)
		n.Partition(alice.Node)
		begin := time.Now()
		err := alice.Shutdown(within(t, 2*time.Second))
		if took := time.Since(begin); took > 3*time.Second {
			t.Errorf("Shutdown took %s, its context ended after 2s", took)
		}
		if err != nil && !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Shutdown = %v, want the context's error or nil", err)
		}
		if err := alice.SetPresence(carrier.PresenceAway); !errors.Is(err, net.ErrClosed) {
			t.Errorf("after Shutdown SetPresence = %v, want net.ErrClosed", err)
		}
	})
}

func TestShutdownConcurrently(t *testing.T) {
	bubble(t, func(t *testing.T, n *carriertest.Network) {
		alice := n.Node("Alice")
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				if err := alice.Shutdown(within(t, time.Minute)); err != nil {
					t.Errorf("Shutdown = %v", err)
				}
			})
			wg.Go(func() {
				if err := alice.Close(); err != nil {
					t.Errorf("Close = %v", err)
				}
			})
		}
		wg.Wait()
	})
}

// countingNet counts the sockets and connections that a node opens.
type countingNet struct {
	carrier.Net
	sockets, dials atomic.Int32
}

func (c *countingNet) ListenPacket(ctx context.Context, network, address string) (net.PacketConn, error) {
	c.sockets.Add(1)
	return c.Net.ListenPacket(ctx, network, address)
}

func (c *countingNet) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	c.dials.Add(1)
	return c.Net.DialContext(ctx, network, address)
}

// TestOneSocket: however many friends, a node holds one socket for each address
// family, so that a home router keeps one mapping.
func TestOneSocket(t *testing.T) {
	bubble(t, func(t *testing.T, n *carriertest.Network) {
		counting := &countingNet{Net: n.Host()}
		alice := n.Start(carrier.Config{Ephemeral: true, Net: counting})
		if err := alice.WaitReady(within(t, patience)); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"Bob", "Carol", "Dave"} {
			n.Befriend(n.Node(name), alice)
		}
		time.Sleep(2 * time.Minute)
		if s, d := counting.sockets.Load(), counting.dials.Load(); s != 1 || d != 0 {
			t.Errorf("the node opened %d sockets and %d connections, want 1 and 0", s, d)
		}
	})
}

// TestIdleTraffic: a node with an online and an absent friend sends little,
// and less with Quiet.
func TestIdleTraffic(t *testing.T) {
	bubble(t, func(t *testing.T, n *carriertest.Network) {
		var mu sync.Mutex
		sent := map[netip.Addr]int{}
		n.Tap(func(from, _ netip.AddrPort, b []byte) {
			mu.Lock()
			defer mu.Unlock()
			sent[from.Addr()] += len(b) + 28
		})
		measure := func(quiet bool) int {
			alice := n.Start(carrier.Config{Ephemeral: true, Quiet: quiet})
			if err := alice.WaitReady(within(t, patience)); err != nil {
				t.Fatal(err)
			}
			here, gone := n.Node("Bob"), n.Node("Carol")
			n.Befriend(here, alice)
			n.Befriend(gone, alice)
			if err := gone.Close(); err != nil {
				t.Fatal(err)
			}
			time.Sleep(10 * time.Minute)
			addr := alice.LocalAddrs()[0].Addr()
			mu.Lock()
			before := sent[addr]
			mu.Unlock()
			time.Sleep(10 * time.Minute)
			mu.Lock()
			hour := 6 * (sent[addr] - before)
			mu.Unlock()
			if err := alice.Close(); err != nil {
				t.Error(err)
			}
			return hour
		}
		usual, quiet := measure(false), measure(true)
		t.Logf("sent in an idle hour with two friends: %d KB, quiet %d KB", usual>>10, quiet>>10)
		if usual > 2<<20 {
			t.Errorf("an idle hour sends %d KB, want at most 2 MB", usual>>10)
		}
		if quiet > usual/2 {
			t.Errorf("a quiet hour sends %d KB of %d KB, want at most half", quiet>>10, usual>>10)
		}
	})
}
