package carrier_test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/gocarrier/carrier"
	"github.com/gocarrier/carrier/carriertest"
	"github.com/gocarrier/carrier/internal/store/storetest"
)

// TestFullDisk: a node whose disk is full says so, to every call, and nothing
// that it acknowledged, to its program or to a friend, is lost or doubled when
// it is started with room again.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	storetest.SmallDisk(t, 2<<20, func(t *testing.T, small string) {
		bubbleWith(t, nil, func(t *testing.T, n *carriertest.Network) { fullDisk(t, n, small) })
	})
}

func fullDisk(t *testing.T, n *carriertest.Network, small string) {
	ballast := filepath.Join(small, "ballast") // what can be thrown out later
	if err := os.WriteFile(ballast, make([]byte, 768<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	bob := newPerson(t, n, "Bob")
	alice := &person{t: t, net: n, config: carrier.Config{Dir: filepath.Join(small, "alice"), Name: "Alice", Net: n.Host()}}
	alice.config.Bootstrap = n.Bootstrap()
	var err error
	if alice.Node, err = carrier.Start(t.Context(), alice.config); err != nil { // by hand: the network would mind how it ends
		t.Fatal(err)
	}
	befriend(alice, bob)
	id := alice.ID()
	alice.delivered(alice.send(bob.ID(), "to Bob 0"))
	ended := make(chan error, 1)
	events := alice.Events(within(t, time.Hour))
	go func() {
		for range events {
		}
		ended <- alice.Err()
	}()
	n.Partition(bob.Node)

	// She fills her disk with messages for Bob.
	body := func(who string, i int) string { return fmt.Sprintf("to %s %d%*s", who, i, 6000, "") }
	ab, acked := alice.friend(bob.ID()), 0
	for err == nil {
		if _, err = ab.Send(t.Context(), []byte(body("Bob", acked+1)), nil); err == nil {
			acked++
		}
		if acked > 2000 {
			t.Fatal("the disk does not fill")
		}
	}
	if acked < 20 {
		t.Errorf("only %d messages were acknowledged", acked)
	}
	_, addErr := alice.AddFriend(t.Context(), somebody(), "")
	profileErr := alice.SetProfile(carrier.Profile{Name: "Alicia"})
	var readErr error
	for _, readErr = range alice.Messages(within(t, time.Minute)) {
		break
	}
	const why = "state directory has failed: commit: store has failed: write DIR/carrier.db: no space left on device; make room or mend the disk, then start the node again"
	is := []error{syscall.ENOSPC, carrier.ErrFailed, net.ErrClosed}
	for _, f := range []fault{
		{"send", err, is, "carrier: send to: " + why},
		{"add", addErr, is, "carrier: add friend: " + why},
		{"set profile", profileErr, is, "carrier: set profile: " + why},
		{"read", readErr, is, "carrier: read messages: " + why},
	} {
		f.check(t, alice.config.Dir, "DIR")
	}
	fault{"Err, when Events have ended", <-ended, is, "carrier: run: " + why}.check(t, alice.config.Dir, "DIR")

	// Bob writes to her meanwhile; she cannot take it, and does not seem to be there.
	n.Heal()
	sent := []*carrier.Message{bob.send(id, body("Alice", 0)[:20])}
	bob.must(sent[0].WaitStored(within(t, patience)))
	eventually(t, "Bob sees her offline", func() bool { return !bob.friend(id).Online() })
	if err := alice.Close(); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("Close = %v, want what the node failed of", err)
	}

	// Started on the full disk she may fail again, and must say why.
	filler := storetest.Fill(t, small)
	for range 2 {
		if node, err := carrier.Start(t.Context(), alice.config); err != nil {
			if !errors.Is(err, syscall.ENOSPC) || !errors.Is(err, carrier.ErrFailed) {
				t.Errorf("Start on the full disk = %v, want ENOSPC and ErrFailed", err)
			}
		} else if err := node.Close(); err != nil && !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("Close on the full disk = %v", err)
		}
	}
	fresh := alice.config
	fresh.Dir = filepath.Join(small, "fresh")
	if node, err := carrier.Start(t.Context(), fresh); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("the first start on a full disk = %v, %v, want ENOSPC", node, err)
	}

	for i := range 20 {
		sent = append(sent, bob.send(id, body("Alice", i+1)))
	}
	if err := errors.Join(os.Remove(filler), os.Remove(ballast)); err != nil {
		t.Fatal(err)
	}
	alice.start()
	if alice.ID() != id {
		t.Fatalf("she is %s now, and was %s", alice.ID(), id)
	}
	got := bob.read(acked+1, time.Hour)
	if len(got) != acked+1 || got[0].body != "to Bob 0" {
		t.Errorf("Bob got %d messages, want %d", len(got), acked+1)
	}
	for i, r := range got {
		if i > 0 && r.body != body("Bob", i) {
			t.Fatalf("message %d to Bob is %.20q", i, r.body)
		}
	}
	for i, r := range alice.read(len(sent), time.Hour) {
		want := body("Alice", i)
		if i == 0 {
			want = want[:20]
		}
		if r.body != want || r.id != sent[i].ID() {
			t.Fatalf("message %d to Alice is %.20q", i, r.body)
		}
	}
	for _, m := range sent {
		bob.delivered(m)
	}
	// The one that was refused may not come either.
	bob.nothingElse(10 * time.Minute)
	alice.nothingElse(10 * time.Minute)
	alice.stop()
}
