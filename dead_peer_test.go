package carrier_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gocarrier/carrier"
	"github.com/gocarrier/carrier/carriertest"
	"github.com/gocarrier/carrier/internal/store"
)

const (
	// How long the dead may be shown online by a friend who has a link to them.
	deadIdle    = 15 * time.Second
	deadSending = 5 * time.Second
	// deadStored bounds when what was sent to them lies in the mailbox.
	deadStored = 15 * time.Second
)

// TestDeadPeerIsNoticed: a peer that has gone without a goodbye is shown offline
// in time, whatever the age of the link, and what is sent to it meanwhile goes
// on to the mailbox by itself.
func TestDeadPeerIsNoticed(t *testing.T) {
	for _, test := range []struct {
		age     time.Duration
		sending []bool // to each peer that dies
	}{
		{2 * time.Second, []bool{false}},
		{2 * time.Second, []bool{true}},
		{15 * time.Second, []bool{false}},
		{15 * time.Second, []bool{true}},
		{15 * time.Minute, []bool{false, true}},
	}[fewer(0, 3):] {
		t.Run(fmt.Sprintf("after %v, sending %v", test.age, test.sending), func(t *testing.T) {
			t.Parallel()
			opts := &carriertest.Options{Delay: 25 * time.Millisecond, Routers: 4}
			bubbleWith(t, opts, func(t *testing.T, n *carriertest.Network) {
				alice := newPerson(t, n, "Alice")
				var pairs []*pair
				for range test.sending {
					p := &pair{alice: alice, bob: newPerson(t, n, "Bob")}
					p.ab, p.ba = befriend(alice, p.bob)
					p.linked(t)
					pairs = append(pairs, p)
				}
				time.Sleep(test.age)
				events := record(t, alice.Node)
				for i, p := range pairs {
					p.dies(t, test.sending[i])
				}
				time.Sleep(time.Minute)
				if told := timesOffline(events); told != len(pairs) {
					t.Errorf("Alice was told %d times that a friend has gone offline, want once for each of %d", told, len(pairs))
				}
			})
		})
	}
}

// dies has Bob vanish, and checks when Alice sees it and what becomes of what
// she sends.
func (p *pair) dies(t *testing.T, sending bool) {
	t.Helper()
	if !p.ab.Online() || p.ab.Path().Kind == carrier.PathNone {
		t.Fatal("Bob is not shown online, with a link, before he dies, so that this tests nothing")
	}
	p.bob.hole(true)
	begun, limit := time.Now(), deadIdle
	var sent *carrier.Message
	if sending {
		sent, limit = p.alice.send(p.bob.ID(), "are you there?"), deadSending
	}
	eventually(t, "Alice sees Bob offline", func() bool { return !p.ab.Online() })
	took := time.Since(begun)
	if took > limit {
		t.Errorf("sending %t: the dead was shown online for %v, want at most %v", sending, took, limit)
	}
	if sent == nil {
		t.Logf("shown offline after %v", took)
		return
	}
	eventually(t, "it is stored", func() bool { return sent.State().Status == carrier.MessageStored })
	stored := time.Since(begun)
	if stored > deadStored {
		t.Errorf("what was sent to the dead was stored after %v, want at most %v", stored, deadStored)
	}
	t.Logf("shown offline after %v, and its message was stored after %v", took, stored)
}

// timesOffline is how often a friend was told to have gone offline.
func timesOffline(events *recorder) (n int) {
	for _, ev := range eventsOf[carrier.FriendPresence](events) {
		if !ev.Online {
			n++
		}
	}
	return n
}

// TestLossIsNoDeath: neither a line that loses three datagrams of ten nor a host
// that moves all the time makes a friend look dead.
func TestLossIsNoDeath(t *testing.T) {
	const every = 15 * time.Second
	moves := fewer(20, 5)
	for _, traffic := range []bool{true, false} {
		t.Run(fmt.Sprintf("traffic %t", traffic), func(t *testing.T) {
			t.Parallel()
			opts := &carriertest.Options{Seed: 7, Delay: 25 * time.Millisecond, Routers: 4}
			bubbleWith(t, opts, func(t *testing.T, n *carriertest.Network) {
				p := newPair(t, n)
				n.SetLinks(carriertest.Link{Delay: 25 * time.Millisecond, Loss: 0.3})
				events := []*recorder{record(t, p.alice.Node), record(t, p.bob.Node)}
				count := 0
				for range moves {
					for begun := time.Now(); time.Since(begun) < every; time.Sleep(time.Second) {
						if traffic {
							p.alice.send(p.bob.ID(), "on the move")
							count++
						}
					}
					n.Move(p.alice.Node)
				}
				if got := len(p.bob.read(count, patience)); got != count {
					t.Errorf("%d of %d messages have come", got, count)
				}
				time.Sleep(every)
				for i, name := range []string{"Bob", "Alice"} {
					if told := timesOffline(events[i]); told > 0 {
						t.Errorf("%s was told %d times to have gone offline, want never", name, told)
					}
				}
			})
		})
	}
}

// stuckStore is a store whose commits wait while it is stuck, as on a disk that
// hangs: the node's loop stands still, and its links live on.
type stuckStore struct {
	store.Store
	turn chan struct{} // holds one; whoever has taken it keeps commits waiting
	free sync.Once
}

// stick has commits wait until release, which may be called again.
func (s *stuckStore) stick()   { <-s.turn }
func (s *stuckStore) release() { s.free.Do(func() { s.turn <- struct{}{} }) }

func (s *stuckStore) Commit(b *store.Batch) error {
	<-s.turn
	defer func() { s.turn <- struct{}{} }()
	return s.Store.Commit(b)
}

// TestFrozenPeer: a peer whose link lives and which stores nothing gives no
// receipt; what is sent to it goes to the mailbox by itself, and arrives once.
func TestFrozenPeer(t *testing.T) {
	bubbleWithDelay(t, 25*time.Millisecond, func(t *testing.T, n *carriertest.Network) {
		disk := &stuckStore{Store: store.Memory(), turn: make(chan struct{}, 1)}
		disk.turn <- struct{}{}
		bob := &person{t: t, net: n, config: carrier.Config{Dir: t.TempDir(), Name: "Bob", Net: n.Host()}}
		bob.config.Hook(disk, store.MemoryPrekeys(), nil)
		bob.start()
		p := &pair{alice: newPerson(t, n, "Alice"), bob: bob}
		p.ab, p.ba = befriend(p.alice, bob)
		p.linked(t)
		time.Sleep(10 * time.Second)
		disk.stick()
		defer disk.release() // also where the test fails
		begun := time.Now()
		m := p.alice.send(bob.ID(), "are you frozen?")
		eventually(t, "it is stored", func() bool { return m.State().Status != carrier.MessageQueued })
		if took := time.Since(begun); took > 2*deadStored {
			t.Errorf("what was sent to the frozen was stored after %v, want at most %v", took, 2*deadStored)
		}
		if got := m.State().Status; got != carrier.MessageStored {
			t.Errorf("the message is %v, want stored", got)
		}
		if p.ab.Path().Kind == carrier.PathNone {
			t.Error("the link is gone, so that this tests what TestDeadPeerIsNoticed does")
		}
		disk.release()
		p.alice.delivered(m)
		if got := bob.next(); got.id != m.ID() {
			t.Errorf("Bob got %q, want what was sent", got.body)
		}
		bob.nothingElse(10 * time.Minute)
	})
}

// TestKilledPeerIsNoticed: the same with a process that is killed.
func TestKilledPeerIsNoticed(t *testing.T) {
	t.Parallel()
	routers := loopbackDHT(t, 8)
	dir := t.TempDir()
	node, err := carrier.Start(t.Context(), carrier.Config{Ephemeral: true, Listen: "127.0.0.1:0", Bootstrap: routers})
	if err != nil {
		t.Fatal(err)
	}
	defer node.Close()
	bob := newVictim("bob", dir, strings.Join(routers, ","))
	bob.mute = "yes"
	if err := bob.start(); err != nil {
		t.Fatal(err)
	}
	defer bob.kill()
	to, err := carrier.ParseAddress(bob.address)
	if err != nil {
		t.Fatal(err)
	}
	friend, err := node.AddFriend(t.Context(), to, "")
	if err != nil {
		t.Fatal(err)
	}
	ctx := within(t, 30*time.Second)
	if err := friend.WaitOnline(ctx); err != nil {
		t.Fatal(err)
	}
	for friend.Path().Kind == carrier.PathNone {
		if ctx.Err() != nil {
			t.Fatal("no link was made")
		}
		time.Sleep(10 * time.Millisecond)
	}
	msg, err := friend.Send(ctx, []byte("before"), nil)
	if err == nil {
		err = msg.WaitDelivered(ctx)
	}
	if err != nil {
		t.Fatal(err)
	}
	bob.kill()
	begun := time.Now()
	if msg, err = friend.Send(ctx, []byte("after"), nil); err != nil {
		t.Fatal(err)
	}
	if !friend.Online() {
		t.Error("the killed is offline at once, so that this tests nothing")
	}
	for friend.Online() {
		if time.Since(begun) > 4*deadSending { // with slack for a busy machine
			t.Fatalf("the killed is still shown online after %v", time.Since(begun))
		}
		time.Sleep(10 * time.Millisecond)
	}
	took := time.Since(begun)
	if took > 2*deadSending {
		t.Errorf("the killed was shown online for %v", took)
	}
	for msg.State().Status != carrier.MessageStored {
		if time.Since(begun) > 4*deadStored {
			t.Fatalf("what was sent to the killed is %v after %v, want stored", msg.State().Status, time.Since(begun))
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Logf("shown offline %v after kill -9, and its message stored after %v", took, time.Since(begun))
}
