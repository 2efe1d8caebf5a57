package carrier_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gocarrier/carrier"
	"github.com/gocarrier/carrier/carriertest"
)

func TestMessageSizes(t *testing.T) {
	bubble(t, func(t *testing.T, n *carriertest.Network) {
		alice, bob := newPerson(t, n, "Alice"), newPerson(t, n, "Bob")
		ab, _ := befriend(alice, bob)
		for _, size := range []int{0, 1, 1000, 1100, 4096} {
			body := bytes.Repeat([]byte{0xa5}, size)
			msg, err := ab.Send(t.Context(), body, nil)
			alice.must(err)
			got := bob.next()
			if got.body != string(body) || got.id != msg.ID() || got.from != alice.ID() {
				t.Errorf("%d bytes: Bob got %d bytes as %s of %s, want the same as %s of Alice", size, len(got.body), got.id, got.from, msg.ID())
			}
			alice.delivered(msg)
		}
		if _, err := ab.Send(t.Context(), nil, nil); err != nil {
			t.Errorf("Send of nil = %v, want an empty message", err)
		}
		if got := bob.next(); got.body != "" {
			t.Errorf("nil arrived as %q", got.body)
		}
		if msg, err := ab.Send(t.Context(), make([]byte, carrier.MaxMessage+1), nil); !errors.Is(err, carrier.ErrTooLong) || msg != nil {
			t.Errorf("Send of one byte more than the largest = %v, %v; want ErrTooLong", msg, err)
		}
		// The largest is taken; it waits in order for a way that can carry it.
		if _, err := ab.Send(t.Context(), make([]byte, carrier.MaxMessage), nil); err != nil {
			t.Errorf("Send of the largest = %v", err)
		}
	})
}

// TestTooLargeForTheMailbox: what no courier at hand can carry waits, says why,
// holds later ones back, and is still there after a restart.
func TestTooLargeForTheMailbox(t *testing.T) {
	bubble(t, func(t *testing.T, n *carriertest.Network) {
		alice, bob := newPerson(t, n, "Alice"), newPerson(t, n, "Bob")
		ab, _ := befriend(alice, bob)
		bob.leave()
		large, err := ab.Send(t.Context(), make([]byte, carrier.MaxMessage), nil)
		alice.must(err)
		behind := alice.send(bob.ID(), "after the large one")
		time.Sleep(10 * time.Minute)
		for name, m := range map[string]*carrier.Message{"large": large, "behind": behind} {
			if s := m.State(); s.Status != carrier.MessageQueued || s.Reason == "" {
				t.Errorf("the %s message: State = %s, want queued with a reason", name, s)
			}
		}
		if got := large.State().Reason; !strings.Contains(got, "link") {
			t.Errorf("the large message waits for %q, want the link that is missing", got)
		}
		if large.State().Reason == behind.State().Reason {
			t.Errorf("both say %q, want the one behind to say that it waits its turn", behind.State().Reason)
		}
		ids := []carrier.MessageID{large.ID(), behind.ID()}
		alice.stop()
		alice.start()
		time.Sleep(time.Minute)
		out := alice.Outbox()
		if len(out) != 2 {
			t.Fatalf("after a restart %d messages in the Outbox, want 2", len(out))
		}
		for i, m := range out {
			if m.ID() != ids[i] || m.State().Status != carrier.MessageQueued || m.State().Reason == "" {
				t.Errorf("after a restart message %d is %s %s, want %s queued with a reason", i, m.ID(), m.State(), ids[i])
			}
		}
		if len(out[0].Body()) != carrier.MaxMessage || string(out[1].Body()) != "after the large one" {
			t.Errorf("after a restart the bodies have %d and %d bytes", len(out[0].Body()), len(out[1].Body()))
		}
	})
}

func TestSendToStrangerAndSelf(t *testing.T) {
	bubble(t, func(t *testing.T, n *carriertest.Network) {
		alice, eve := n.Node("Alice"), n.Node("Eve")
		for _, id := range []carrier.ID{eve.ID(), alice.ID(), {}} {
			f, err := alice.Friend(id)
			if !errors.Is(err, carrier.ErrNotFriend) || f != nil {
				t.Errorf("Friend(%s) = %v, %v; want ErrNotFriend: there is nothing to send to", id, f, err)
			}
		}
	})
}

// TestReceipts: receipts name the message, delivered directly, or stored for
// later and then delivered.
func TestReceipts(t *testing.T) {
	bubble(t, func(t *testing.T, n *carriertest.Network) {
		alice, bob := newPerson(t, n, "Alice"), newPerson(t, n, "Bob")
		befriend(alice, bob)
		events := record(t, alice.Node)
		history := func(m *carrier.Message) []carrier.MessageStatus {
			synctest.Wait()
			var out []carrier.MessageStatus
			for _, ev := range eventsOf[carrier.MessageChanged](events) {
				if ev.Message == m {
					out = append(out, ev.State.Status)
				}
			}
			return out
		}
		direct := alice.send(bob.ID(), "direct")
		begin := time.Now()
		alice.delivered(direct)
		if took := time.Since(begin); took > time.Second {
			t.Errorf("a message to an online friend took %s", took)
		}
		if got := fmt.Sprint(history(direct)); got != "[delivered]" {
			t.Errorf("the direct message went through %s, want [delivered]", got)
		}
		if got := bob.next(); got.id != direct.ID() || got.courier == carrier.CourierDHT {
			t.Errorf("Bob got %s by %s, want %s straight from Alice", got.id, got.courier, direct.ID())
		}

		bob.leave()
		later := alice.send(bob.ID(), "later")
		alice.must(later.WaitStored(within(t, patience)))
		if s := later.State(); s.Status != carrier.MessageStored || s.Copies < 3 || time.Since(s.Since) > patience {
			t.Errorf("State = %+v, want stored with at least 3 copies, now", s)
		}
		bob.start()
		// With Alice there too it is a race by which way it comes.
		if got := bob.next(); got.id != later.ID() || got.courier == carrier.CourierNone {
			t.Errorf("Bob got %s by %s, want %s", got.id, got.courier, later.ID())
		}
		alice.delivered(later)
		got := history(later)
		if len(got) < 2 || got[0] != carrier.MessageStored || got[len(got)-1] != carrier.MessageDelivered {
			t.Errorf("the stored message went through %v, want stored … delivered", got)
		}
		alice.must(later.WaitStored(within(t, time.Second)))
	})
}

// TestHalfOpenPeer: the peer is dead but still shown online; the message is
// kept and delivered later, never lost, never doubled.
func TestHalfOpenPeer(t *testing.T) {
	bubble(t, func(t *testing.T, n *carriertest.Network) {
		alice, bob := newPerson(t, n, "Alice"), newPerson(t, n, "Bob")
		ab, _ := befriend(alice, bob)
		n.Partition(bob.Node) // what a closing link says does not come through
		bob.stop()
		n.Heal()
		if !ab.Online() {
			t.Fatal("Bob is not shown online right after he died, so that this tests nothing")
		}
		var sent []*carrier.Message
		for i := range 5 {
			sent = append(sent, alice.send(bob.ID(), fmt.Sprint("are you there? ", i)))
		}
		time.Sleep(2 * time.Minute)
		for _, m := range sent {
			if m.State().Status == carrier.MessageDelivered {
				t.Errorf("%q was delivered to a dead peer", m.Body())
			}
		}
		bob.start()
		for i, r := range bob.read(5, patience) {
			if r.id != sent[i].ID() {
				t.Errorf("message %d is %q, want %q", i, r.body, sent[i].Body())
			}
		}
		for _, m := range sent {
			alice.delivered(m)
		}
		bob.nothingElse(10 * time.Minute)
	})
}

// TestOfflineMessages: 1, 10 and 1000 messages sent while the peer is offline
// arrive once, in order, after its restart, marked with the courier that
// brought them and with the sender's time.
func TestOfflineMessages(t *testing.T) {
	for _, test := range []struct {
		count      int
		senderGone bool // when the peer comes back
	}{{1, true}, {10, true}, {10, false}, {1000, false}} {
		t.Run(fmt.Sprintf("%d, sender gone %t", test.count, test.senderGone), func(t *testing.T) {
			bubble(t, func(t *testing.T, n *carriertest.Network) {
				alice, bob := newPerson(t, n, "Alice"), newPerson(t, n, "Bob")
				befriend(alice, bob)
				bob.stop()
				var sent []*carrier.Message
				var at []time.Time
				for i := range test.count {
					at = append(at, time.Now())
					sent = append(sent, alice.send(bob.ID(), fmt.Sprint("message ", i)))
					time.Sleep(time.Duration(i%7) * time.Millisecond)
				}
				alice.must(sent[0].WaitStored(within(t, patience)))
				if test.senderGone {
					alice.must(sent[test.count-1].WaitStored(within(t, patience)))
					alice.stop()
				}
				time.Sleep(10 * time.Minute)
				bob.start()
				got := bob.read(test.count, 10*time.Minute)
				if len(got) != test.count {
					t.Fatalf("%d of %d messages have come", len(got), test.count)
				}
				couriers := map[carrier.Courier]int{}
				for i, r := range got {
					couriers[r.courier]++
					if r.id != sent[i].ID() || r.body != string(sent[i].Body()) || r.from != alice.ID() {
						t.Fatalf("message %d is %q %s, want %q %s", i, r.body, r.id, sent[i].Body(), sent[i].ID())
					}
					if r.time.Sub(at[i]).Abs() > time.Millisecond || !r.time.Equal(sent[i].Time()) {
						t.Errorf("message %d has the time %s, want %s, when it was sent", i, r.time, at[i])
					}
				}
				if test.senderGone && couriers[carrier.CourierDHT] != test.count {
					t.Errorf("with the sender gone they came by %v, want dht", couriers)
				}
				if straight := couriers[carrier.CourierDirect] + couriers[carrier.CourierLink]; test.count == 1000 && straight == 0 {
					t.Errorf("1000 messages came by %v, want most of them straight from Alice", couriers)
				}
				bob.nothingElse(time.Minute)
				if test.senderGone {
					bob.leave()
					alice.start()
					eventually(t, "the receipts are there for who comes back", func() bool {
						for _, m := range alice.Outbox() {
							if m.State().Status != carrier.MessageDelivered {
								return false
							}
						}
						return true
					})
					return
				}
				for _, m := range sent {
					alice.delivered(m)
				}
			})
		})
	}
}

// TestNeverOnlineTogether: two who take turns hold a conversation.
func TestNeverOnlineTogether(t *testing.T) {
	bubble(t, func(t *testing.T, n *carriertest.Network) {
		alice, bob := newPerson(t, n, "Alice"), newPerson(t, n, "Bob")
		befriend(alice, bob)
		alice.leave()
		bob.leave()
		speaker, hearer := alice, bob
		for i := range 4 {
			speaker.start()
			if i > 0 {
				if got, want := speaker.next(), fmt.Sprint("turn ", i-1); got.body != want || got.courier != carrier.CourierDHT {
					t.Errorf("turn %d: got %q by %s, want %q by dht", i, got.body, got.courier, want)
				}
			}
			m := speaker.send(hearer.ID(), fmt.Sprint("turn ", i))
			speaker.must(m.WaitStored(within(t, patience)))
			speaker.leave()
			time.Sleep(10 * time.Minute)
			speaker, hearer = hearer, speaker
		}
	})
}

func TestSendToPending(t *testing.T) {
	bubble(t, func(t *testing.T, n *carriertest.Network) {
		alice, bob := newPerson(t, n, "Alice"), newPerson(t, n, "Bob")
		alice.add(bob.Address(), "hello")
		first, second := alice.send(bob.ID(), "first"), alice.send(bob.ID(), "second")
		if s := first.State(); s.Status != carrier.MessageQueued || !strings.Contains(s.Reason, "accept") {
			t.Errorf("State = %s, want queued until the friend accepts", s)
		}
		bob.request(alice.ID())
		bob.nothingElse(time.Minute)
		alice.stop() // the queue outlives a restart
		alice.start()
		bob.accept(alice.ID())
		for _, want := range []*carrier.Message{first, second} {
			if got := bob.next(); got.id != want.ID() {
				t.Errorf("Bob got %q, want %q", got.body, want.Body())
			}
		}
		ab := alice.friend(bob.ID())
		alice.must(ab.WaitAccepted(within(t, patience)))
		eventually(t, "both are delivered", func() bool {
			for _, m := range alice.Outbox() {
				if m.State().Status != carrier.MessageDelivered {
					return false
				}
			}
			return true
		})
	})
}

func TestOutboxFull(t *testing.T) {
	bubble(t, func(t *testing.T, n *carriertest.Network) {
		alice := n.Node("Alice")
		bob := n.Node("Bob")
		ab, err := alice.AddFriend(t.Context(), bob.Address(), "")
		if err != nil {
			t.Fatal(err)
		}
		body := make([]byte, carrier.MaxMessage)
		for i := range 64 << 20 / carrier.MaxMessage {
			if _, err := ab.Send(t.Context(), body, nil); err != nil {
				t.Fatalf("Send of message %d: %v", i, err)
			}
		}
		if m, err := ab.Send(t.Context(), []byte("x"), nil); !errors.Is(err, carrier.ErrOutboxFull) || m != nil {
			t.Errorf("Send into 64 MiB = %v, %v; want ErrOutboxFull", m, err)
		}
		if err := ab.Remove(); err != nil {
			t.Fatal(err)
		}
		// The room is there again for who is asked anew.
		if ab, err = alice.AddFriend(t.Context(), bob.Address(), ""); err != nil {
			t.Fatal(err)
		}
		if _, err := ab.Send(t.Context(), body, nil); err != nil {
			t.Errorf("Send after the outbox was emptied: %v", err)
		}
	})
}

// TestSenderRestartsBeforeDelivery: the queue is not lost.
func TestSenderRestartsBeforeDelivery(t *testing.T) {
	bubble(t, func(t *testing.T, n *carriertest.Network) {
		alice, bob := newPerson(t, n, "Alice"), newPerson(t, n, "Bob")
		befriend(alice, bob)
		bob.stop()
		sent := []*carrier.Message{alice.send(bob.ID(), "one"), alice.send(bob.ID(), "two")}
		alice.stop()
		bob.start() // while nobody knows of the messages but Alice's store
		bob.nothingElse(time.Minute)
		alice.start()
		sent = append(sent, alice.send(bob.ID(), "three"))
		for i, r := range bob.read(3, patience) {
			if r.id != sent[i].ID() {
				t.Errorf("message %d is %q %s, want %q %s", i, r.body, r.id, sent[i].Body(), sent[i].ID())
			}
		}
		alice.delivered(sent[2])
		bob.nothingElse(10 * time.Minute)
	})
}

func TestMessageIDsAreUnique(t *testing.T) {
	bubble(t, func(t *testing.T, n *carriertest.Network) {
		alice, bob := newPerson(t, n, "Alice"), newPerson(t, n, "Bob")
		befriend(alice, bob)
		seen := map[carrier.MessageID]string{}
		for run := range 3 {
			for i := range 50 {
				body := fmt.Sprint(run, "/", i)
				id := alice.send(bob.ID(), body).ID()
				if other, ok := seen[id]; ok {
					t.Fatalf("%s has the ID of %s", body, other)
				}
				seen[id] = body
			}
			alice.stop()
			alice.start()
		}
		for _, r := range bob.read(150, patience) {
			if seen[r.id] != r.body {
				t.Errorf("Bob got %q as %s, which was %q", r.body, r.id, seen[r.id])
			}
			delete(seen, r.id)
		}
		if len(seen) != 0 {
			t.Errorf("%d messages have not come: %v", len(seen), maps.Keys(seen))
		}
	})
}

// TestOrderAcrossCouriers: messages keep their order while the peer comes and
// goes, whichever way each takes.
func TestOrderAcrossCouriers(t *testing.T) {
	bubble(t, func(t *testing.T, n *carriertest.Network) {
		alice, bob := newPerson(t, n, "Alice"), newPerson(t, n, "Bob")
		befriend(alice, bob)
		var sent []*carrier.Message
		for round := range 4 {
			for i := range 5 {
				sent = append(sent, alice.send(bob.ID(), fmt.Sprint(round, "/", i)))
			}
			switch round % 2 {
			case 0:
				n.Partition(bob.Node)
			case 1:
				n.Heal()
			}
			for i := range 5 {
				sent = append(sent, alice.send(bob.ID(), fmt.Sprint(round, "/", 5+i)))
			}
			time.Sleep(40 * time.Second)
		}
		n.Heal()
		for i, r := range bob.read(len(sent), patience) {
			if r.id != sent[i].ID() {
				t.Fatalf("message %d is %q, want %q", i, r.body, sent[i].Body())
			}
		}
		for _, m := range sent {
			alice.delivered(m)
		}
		bob.nothingElse(10 * time.Minute)
	})
}

// TestMessagesOverBadLines: neither lost nor doubled where datagrams are.
func TestMessagesOverBadLines(t *testing.T) {
	t.Parallel()
	opts := &carriertest.Options{Seed: 7, Delay: 60 * time.Millisecond, Jitter: 40 * time.Millisecond, Loss: 0.1, Duplicate: 0.1, Reorder: 0.1}
	bubbleWith(t, opts, func(t *testing.T, n *carriertest.Network) {
		alice, bob := newPerson(t, n, "Alice"), newPerson(t, n, "Bob")
		befriend(alice, bob)
		var toBob, toAlice []*carrier.Message
		for i := range 50 {
			toBob = append(toBob, alice.send(bob.ID(), fmt.Sprint("to Bob ", i)))
			toAlice = append(toAlice, bob.send(alice.ID(), fmt.Sprint("to Alice ", i)))
			time.Sleep(50 * time.Millisecond)
		}
		for _, test := range []struct {
			at   *person
			sent []*carrier.Message
		}{{bob, toBob}, {alice, toAlice}} {
			got := test.at.read(50, patience)
			if len(got) != 50 {
				t.Errorf("%s got %d of 50 messages", test.at.config.Name, len(got))
			}
			for i, r := range got {
				if r.id != test.sent[i].ID() {
					t.Fatalf("message %d is %q, want %q", i, r.body, test.sent[i].Body())
				}
			}
			test.at.nothingElse(time.Minute)
		}
		for i := range toBob {
			alice.delivered(toBob[i])
			bob.delivered(toAlice[i])
		}
	})
}

func TestMessageExpiry(t *testing.T) {
	bubble(t, func(t *testing.T, n *carriertest.Network) {
		alice, bob := newPerson(t, n, "Alice"), newPerson(t, n, "Bob")
		ab, _ := befriend(alice, bob)
		soon := func(body string, d time.Duration) *carrier.Message {
			m, err := ab.Send(t.Context(), []byte(body), &carrier.SendOptions{Expiry: time.Now().Add(d)})
			alice.must(err)
			return m
		}
		timely := soon("in time", time.Hour)
		alice.delivered(timely)
		bob.stop()
		late := soon("dinner at seven?", time.Minute)
		lasting := alice.send(bob.ID(), "call me")
		time.Sleep(10 * time.Minute)
		if s := late.State().Status; s != carrier.MessageExpiring && s != carrier.MessageExpired {
			t.Errorf("after its time the message is %s, want expiring or expired", s)
		}
		bob.start()
		var got []string
		for _, r := range bob.read(3, 5*time.Minute) {
			got = append(got, r.body)
		}
		alice.delivered(lasting)
		err := late.WaitDelivered(within(t, patience))
		if want := []string{"in time", "call me"}; fmt.Sprint(got) == fmt.Sprint(want) {
			if !errors.Is(err, carrier.ErrExpired) {
				t.Errorf("the message that did not arrive ended with %v, want ErrExpired", err)
			}
		} else if len(got) != 3 || err != nil {
			t.Errorf("Bob got %q and Alice was told %v: what is told must be what was", got, err)
		}
		if s := timely.State().Status; s != carrier.MessageDelivered {
			t.Errorf("a delivered message is %s after its expiry", s)
		}
	})
}

// TestOutboxKeepsEndedMessages: for a day, so that a program that died learns
// how its messages ended.
func TestOutboxKeepsEndedMessages(t *testing.T) {
	t.Parallel()
	bubbleWith(t, &carriertest.Options{Routers: 1}, func(t *testing.T, n *carriertest.Network) {
		alice, bob := newPerson(t, n, "Alice"), newPerson(t, n, "Bob")
		befriend(alice, bob)
		m := alice.send(bob.ID(), "hello")
		alice.delivered(m)
		alice.stop()
		alice.start()
		out := alice.Outbox()
		if len(out) != 1 || out[0].ID() != m.ID() || out[0].State().Status != carrier.MessageDelivered {
			t.Fatalf("after a restart Outbox = %v, want the delivered message", out)
		}
		if !out[0].Time().Equal(m.Time()) || out[0].To() != bob.ID() || out[0].From() != alice.ID() {
			t.Errorf("the found message is of %s, %s to %s", out[0].Time(), out[0].From(), out[0].To())
		}
		alice.must(out[0].WaitDelivered(t.Context()))
		alice.stop()
		bob.stop()
		time.Sleep(25 * time.Hour)
		alice.start()
		time.Sleep(time.Second)
		if got := alice.Outbox(); len(got) != 0 {
			t.Errorf("a day later %d messages are in the Outbox, want none", len(got))
		}
	})
}

// TestOneHandleAMessage: events, Outbox and Send give the same handle.
func TestOneHandleAMessage(t *testing.T) {
	bubble(t, func(t *testing.T, n *carriertest.Network) {
		alice, bob := newPerson(t, n, "Alice"), newPerson(t, n, "Bob")
		befriend(alice, bob)
		events := record(t, alice.Node)
		m := alice.send(bob.ID(), "hello")
		alice.delivered(m)
		synctest.Wait()
		for _, ev := range eventsOf[carrier.MessageChanged](events) {
			if ev.Message != m {
				t.Errorf("the event's handle is %p, that of Send %p", ev.Message, m)
			}
		}
		if out := alice.Outbox(); len(out) != 1 || out[0] != m {
			t.Errorf("Outbox = %v, want the handle of Send, %p", out, m)
		}
		// The body is a copy.
		body := []byte("mine")
		m, err := alice.friend(bob.ID()).Send(t.Context(), body, nil)
		alice.must(err)
		copy(body, "XXXX")
		if string(m.Body()) != "mine" {
			t.Errorf("Body = %q after the program changed its slice", m.Body())
		}
	})
}

// TestSendWithEndedContext: Send is a durable local act that waits for no
// network, and does nothing when its context has ended before.
func TestSendWithEndedContext(t *testing.T) {
	bubble(t, func(t *testing.T, n *carriertest.Network) {
		alice, bob := newPerson(t, n, "Alice"), newPerson(t, n, "Bob")
		ab, _ := befriend(alice, bob)
		ctx, cancel := context.WithCancelCause(t.Context())
		why := errors.New("the user changed their mind")
		cancel(why)
		if _, err := ab.Send(ctx, []byte("x"), nil); !errors.Is(err, context.Canceled) || !errors.Is(err, why) {
			t.Errorf("Send = %v, want context.Canceled and its cause", err)
		}
		bob.nothingElse(time.Minute)
		begin := time.Now()
		n.Partition(alice.Node)
		alice.send(bob.ID(), "y")
		if took := time.Since(begin); took > time.Second {
			t.Errorf("Send waited %s for the network", took)
		}
	})
}

// TestOldBackup: a store that is put back to an older state draws numbers
// again; nothing is lost or doubled by that.
func TestOldBackup(t *testing.T) {
	bubble(t, func(t *testing.T, n *carriertest.Network) {
		alice, bob := newPerson(t, n, "Alice"), newPerson(t, n, "Bob")
		befriend(alice, bob)
		alice.delivered(alice.send(bob.ID(), "before the backup"))
		alice.stop()
		backup := copyDir(t, alice.config.Dir)
		alice.start()
		alice.delivered(alice.send(bob.ID(), "after the backup"))
		alice.stop()
		alice.config.Dir = backup
		alice.start()
		fresh := alice.send(bob.ID(), "from the backup")
		alice.delivered(fresh)
		var got []string
		for _, r := range bob.read(4, 2*time.Minute) {
			got = append(got, r.body)
		}
		if want := []string{"before the backup", "after the backup", "from the backup"}; fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("Bob got %q, want %q", got, want)
		}
	})
}
