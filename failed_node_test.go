package carrier_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gocarrier/carrier"
	"github.com/gocarrier/carrier/carriertest"
	"github.com/gocarrier/carrier/internal/store"
)

// mortal is a person whose store can be made to fail.
type mortal struct {
	person
	disk  *disk
	store *crashStore
}

// newMortal starts the node by hand: the network would mind how it ends.
func newMortal(t *testing.T, n *carriertest.Network, name string) *mortal {
	t.Helper()
	m := &mortal{disk: newDisk(), person: person{t: t, net: n, config: carrier.Config{Name: name, Net: n.Host(), Bootstrap: n.Bootstrap()}}}
	m.start()
	return m
}

// start begins a run on a store that is well.
func (m *mortal) start() {
	m.t.Helper()
	m.store = &crashStore{disk: m.disk, commits: func([]store.Op) {}, crashed: func() {}}
	m.config.Hook(m.store, m.disk.prekeys, nil)
	var err error
	m.Node, err = carrier.Start(m.t.Context(), m.config)
	m.must(err)
	m.must(m.WaitReady(within(m.t, patience)))
}

// TestFailedNode: a node whose store has failed lets go of its links, sockets and
// the DHT by itself, and says why. Its friends see it go, their mail waits in the
// DHT, and comes once when it has been started again.
func TestFailedNode(t *testing.T) {
	for _, c := range []struct {
		name  string
		link  bool
		mail  bool          // the commit that fails is that of a friend's message, else of an act
		gone  time.Duration // within which friends see it
		lying time.Duration // within which their mail is in the DHT
	}{
		{"linked, own act", true, false, time.Second, time.Minute},
		{"linked, friend's mail", true, true, time.Second, time.Minute},
		{"no link, friend's mail", false, true, 35 * time.Second, 2 * time.Minute},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			bubbleWith(t, &carriertest.Options{Routers: 4}, func(t *testing.T, n *carriertest.Network) {
				alice, bob := newMortal(t, n, "Alice"), newPerson(t, n, "Bob")
				_, ba := befriend(&alice.person, bob)
				if !c.link {
					bob.Unlink()
				}
				bob.delivered(bob.send(alice.ID(), "before"))
				if got := alice.next(); got.body != "before" {
					t.Fatalf("Alice got %q", got.body)
				}
				eventually(t, "Alice is linked, or online without", func() bool {
					return ba.Online() && c.link == (ba.Path().Kind != carrier.PathNone)
				})
				ended := make(chan error, 1)
				events := alice.Events(within(t, patience))
				go func() {
					for range events {
					}
					ended <- alice.Err()
				}()
				if err := alice.Err(); err != nil {
					t.Errorf("Err of a running node = %v", err)
				}
				id, ports := alice.ID(), alice.LocalAddrs()

				alice.store.crashAt(1, false)
				var sent []*carrier.Message
				begun := time.Now()
				if c.mail {
					sent = append(sent, bob.send(id, "to a full disk"))
				} else {
					_, err := alice.friend(bob.ID()).Send(t.Context(), []byte("refused"), nil)
					failedBy(t, "Send", err)
				}
				failedBy(t, "Err, when Events have ended", <-ended)
				for ba.Online() && time.Since(begun) < time.Hour {
					time.Sleep(100 * time.Millisecond)
				}
				noticed := time.Since(begun)
				if noticed > c.gone {
					t.Errorf("Bob sees her offline after %v, want %v", noticed, c.gone)
				}
				sent = append(sent, bob.send(id, "while she is away"))
				began := time.Now()
				for _, m := range sent {
					bob.must(m.WaitStored(within(t, c.lying)))
				}
				t.Logf("seen offline after %v, mail in the DHT %v later", noticed, time.Since(began))
				if ba.Online() {
					t.Error("she is seen online again")
				}

				// The first run was not closed, and holds nothing.
				failed := alice.Node
				alice.start()
				if alice.ID() != id || fmt.Sprint(alice.LocalAddrs()) != fmt.Sprint(ports) {
					t.Errorf("she is at %v now, and was at %v", alice.LocalAddrs(), ports)
				}
				for i, r := range alice.read(len(sent), patience) {
					if r.id != sent[i].ID() {
						t.Errorf("message %d is %q", i, r.body)
					}
				}
				for _, m := range sent {
					bob.delivered(m)
				}
				alice.nothingElse(2 * time.Minute)
				for range 2 {
					failedBy(t, "Close", failed.Close())
				}
				failedBy(t, "Shutdown", failed.Shutdown(t.Context()))
				failedBy(t, "Err after Close", failed.Err())
				alice.stop()
				if err := alice.Err(); !errors.Is(err, net.ErrClosed) || errors.Is(err, carrier.ErrFailed) {
					t.Errorf("Err of a closed node = %v", err)
				}
			})
		})
	}
}

// failedBy checks that an error is that of a node whose crashStore has failed.
func failedBy(t *testing.T, what string, err error) {
	t.Helper()
	if !errors.Is(err, carrier.ErrFailed) || !errors.Is(err, net.ErrClosed) {
		t.Errorf("%s = %v, want ErrFailed and net.ErrClosed", what, err)
	}
}

// TestFailureAtAnyTime: a node whose store fails while it is being closed, or
// shut down, or before or after, ends all the same, once, and leaves nothing
// behind: the bubble would show a goroutine.
func TestFailureAtAnyTime(t *testing.T) {
	t.Parallel()
	ends := []struct {
		name string
		end  func(*carrier.Node) error
	}{
		{"Close", func(n *carrier.Node) error { return n.Close() }},
		{"Shutdown", func(n *carrier.Node) error {
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			return n.Shutdown(ctx)
		}},
	}
	for _, end := range ends {
		for crash := 1; crash <= 4; crash++ {
			bubbleWith(t, &carriertest.Options{Routers: 4}, func(t *testing.T, n *carriertest.Network) {
				alice, bob := newMortal(t, n, "Alice"), newPerson(t, n, "Bob")
				ab, _ := befriend(&alice.person, bob)
				session, err := ab.NewSession(t.Context(), "none", nil)
				if err == nil {
					t.Fatalf("a session %v with a service that is not there", session)
				}
				alice.store.crashAt(crash, crash%2 == 0)
				errs := make(chan error, 3)
				for range 2 {
					go func() { errs <- end.end(alice.Node) }()
				}
				go func() { errs <- alice.SetProfile(carrier.Profile{Name: "Alicia"}) }()
				synctest.Wait()
				begun := time.Now()
				for range 3 {
					err := <-errs
					if err != nil && !errors.Is(err, net.ErrClosed) {
						t.Errorf("%s, commit %d: %v", end.name, crash, err)
					}
				}
				if took := time.Since(begun); took > 2*time.Minute {
					t.Errorf("%s, commit %d: it took %v", end.name, crash, took)
				}
				if err := alice.Err(); !errors.Is(err, net.ErrClosed) {
					t.Errorf("%s, commit %d: Err = %v", end.name, crash, err)
				}
			})
		}
	}
}
