package carrier_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gocarrier/carrier"
	"github.com/gocarrier/carrier/carriertest"
)

// fewRouters is a network that is cheap to let run for hours.
func fewRouters() *carriertest.Options { return &carriertest.Options{Routers: 3} }

// exported is the person's identity, for another store.
func (p *person) exported() []byte {
	p.t.Helper()
	identity, err := p.ExportIdentity()
	p.must(err)
	return identity
}

// imported starts a node with that identity on another machine, with an empty
// store.
func imported(t *testing.T, n *carriertest.Network, identity []byte) *person {
	t.Helper()
	p := &person{t: t, net: n, config: carrier.Config{Dir: t.TempDir(), Identity: identity, Net: n.Host()}}
	p.start()
	return p
}

// shelf keeps the messages that a person's program is shown.
type shelf struct {
	mu   sync.Mutex
	seen []string
}

// keep reads the node's messages until it closes or the test ends.
func (s *shelf) keep(t *testing.T, node *carrier.Node) {
	t.Helper()
	go func() {
		for m, err := range node.Messages(t.Context()) {
			if err != nil {
				return
			}
			s.mu.Lock()
			s.seen = append(s.seen, string(m.Body()))
			s.mu.Unlock()
		}
	}()
}

func (s *shelf) all() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.seen)
}

// doubled are those that were shown more than once.
func (s *shelf) doubled() (list []string) {
	seen := map[string]bool{}
	for _, body := range s.all() {
		if seen[body] {
			list = append(list, body)
		}
		seen[body] = true
	}
	return list
}

// left is how often a reader of events has seen a friend go offline.
func (r *recorder) left() (n int) {
	for _, ev := range eventsOf[carrier.FriendPresence](r) {
		if !ev.Online {
			n++
		}
	}
	return n
}

// inUse are the tellings of a twin.
func (r *recorder) inUse() string {
	var list []string
	for _, ev := range eventsOf[carrier.IdentityInUse](r) {
		switch {
		case ev.Gone:
			list = append(list, "ended")
		case ev.Yields:
			list = append(list, "yields")
		default:
			list = append(list, "goes on")
		}
	}
	return fmt.Sprint(list)
}

// untilTold waits until a node has been told so often of its twin.
func untilTold(t *testing.T, r *recorder, times int, most time.Duration) time.Duration {
	t.Helper()
	begin := time.Now()
	for len(eventsOf[carrier.IdentityInUse](r)) < times {
		if time.Since(begin) > most {
			t.Fatalf("told %s after %v, want %d", r.inUse(), most, times)
		}
		time.Sleep(time.Second)
	}
	return time.Since(begin)
}

// TestOneIdentityOnTwoMachines: for an hour (half of one where -short is) both
// send and are sent to. Each friend sees each message once and the person leave at
// most once; both copies are told; the older one is silent and says why its
// messages wait, and goes on when the newer one has left.
func TestOneIdentityOnTwoMachines(t *testing.T) {
	t.Parallel()
	bubbleWith(t, fewRouters(), func(t *testing.T, n *carriertest.Network) {
		older := newPerson(t, n, "Alice")
		bob := &person{t: t, net: n, config: carrier.Config{Dir: t.TempDir(), Name: "Bob", Net: n.Host(), Quiet: true}} // hours are cheaper then
		bob.start()
		befriend(older, bob)
		identity := older.exported()
		olderTold, bobSaw := record(t, older.Node), record(t, bob.Node)
		var toBob, toOlder, toNewer shelf
		toBob.keep(t, bob.Node)
		toOlder.keep(t, older.Node)
		newer := imported(t, n, identity)
		newerTold := record(t, newer.Node)
		toNewer.keep(t, newer.Node)

		begin := time.Now()
		var fromOlder, fromNewer, fromBob []*carrier.Message
		rounds := fewer(12, 6)
		for i := range rounds {
			fromOlder = append(fromOlder, older.send(bob.ID(), fmt.Sprint("older ", i)))
			fromNewer = append(fromNewer, newer.send(bob.ID(), fmt.Sprint("newer ", i)))
			fromBob = append(fromBob, bob.send(older.ID(), fmt.Sprint("bob ", i)))
			time.Sleep(5*time.Minute - time.Since(begin)%(5*time.Minute))
		}
		for _, told := range []*recorder{olderTold, newerTold} {
			// Two minutes as a rule; a state is put every 15, wherever nodes that have
			// just joined have put theirs.
			ev := eventsOf[carrier.IdentityInUse](told)
			if len(ev) == 0 || ev[0].Since.Sub(begin) > 20*time.Minute {
				t.Fatalf("told of the other one: %+v, want within 20 minutes of %s", ev, begin)
			}
			t.Logf("told after %v", ev[0].Since.Sub(begin))
		}
		if a, b := olderTold.inUse(), newerTold.inUse(); a != "[yields]" || b != "[goes on]" {
			t.Errorf("the older one was told %s, the newer one %s", a, b)
		}
		if got := bobSaw.left(); got > 1 {
			t.Errorf("Bob saw Alice leave %d times", got)
		}
		last := fromOlder[len(fromOlder)-1].State()
		if last.Status != carrier.MessageQueued || last.Reason != "another running node has this identity" {
			t.Errorf("a message of the one that yields is %v", last)
		}
		if older.friend(bob.ID()).Online() {
			t.Error("Bob is online to the one that yields")
		}
		for _, m := range append(fromNewer, fromBob...) {
			if s := m.State().Status; s != carrier.MessageDelivered {
				t.Errorf("%q is %s", m.Body(), s)
			}
		}

		newer.leave()
		took := untilTold(t, olderTold, 2, 3*time.Minute)
		t.Logf("the older one went on %v after the newer one had left", took)
		for _, m := range fromOlder {
			older.delivered(m)
		}
		older.delivered(older.send(bob.ID(), "alone again"))
		bob.delivered(bob.send(older.ID(), "welcome back"))
		synctest.Wait()
		if got := toBob.all(); len(got) != 2*rounds+1 || len(toBob.doubled()) > 0 {
			t.Errorf("Bob got %d messages of %d, doubled %q", len(got), 2*rounds+1, toBob.doubled())
		}
		for name, s := range map[string]*shelf{"older": &toOlder, "newer": &toNewer} {
			if d := s.doubled(); len(d) > 0 {
				t.Errorf("the %s one was shown %q twice", name, d)
			}
		}
		either := map[string]bool{}
		for _, body := range append(toOlder.all(), toNewer.all()...) {
			either[body] = true
		}
		if len(either) != rounds+1 {
			t.Errorf("Alice was shown %d messages of Bob's %d", len(either), rounds+1)
		}
		if got := olderTold.inUse(); got != "[yields ended]" {
			t.Errorf("in the end the older one was told %s", got)
		}
	})
}

// TestImportWithMailUnderWay: an identity is imported into a new store while
// mail of the old one waits and mail to it is under way. The new store gets what
// its friend sent, sealed anew; the friend takes the new store's mail, and later
// the old store's, each once.
func TestImportWithMailUnderWay(t *testing.T) {
	t.Parallel()
	bubbleWith(t, fewRouters(), func(t *testing.T, n *carriertest.Network) {
		old, bob := newPerson(t, n, "Alice"), newPerson(t, n, "Bob")
		befriend(old, bob)
		old.delivered(old.send(bob.ID(), "delivered before"))
		bob.stop()
		inSlot := old.send(bob.ID(), "in a slot")
		old.must(inSlot.WaitStored(within(t, patience)))
		identity := old.exported()
		old.stop()
		bob.start()
		toAlice := bob.send(old.ID(), "sealed to the old store")
		bob.must(toAlice.WaitStored(within(t, patience)))

		moved := imported(t, n, identity)
		events := record(t, moved.Node)
		moved.delivered(moved.send(bob.ID(), "from the new store"))
		bob.delivered(toAlice)
		if got := moved.next(); got.body != "sealed to the old store" {
			t.Errorf("the new store got %q", got.body)
		}
		moved.nothingElse(time.Minute)
		if got := events.inUse(); got != "[]" {
			t.Errorf("the new store was told %s of a node that had ended", got)
		}
		moved.leave()

		old.start()
		last := old.send(bob.ID(), "from the old store")
		old.delivered(last)
		var got []string
		for _, r := range bob.read(5, time.Minute) {
			got = append(got, r.body)
		}
		want := []string{"delivered before", "from the new store", "from the old store", "in a slot"}
		if slices.Sort(got); !slices.Equal(got, want) {
			t.Errorf("Bob got %q, want %q", got, want)
		}
		bob.delivered(bob.send(old.ID(), "to the old store"))
		if got := old.next(); got.body != "to the old store" {
			t.Errorf("the old store got %q", got.body)
		}
		for _, m := range old.Outbox() {
			if s := m.State().Status; s != carrier.MessageDelivered {
				t.Errorf("%q is %s", m.Body(), s)
			}
		}
	})
}

// TestBackupOfAReceiver: a store that is put back to what it was a day, or 31
// days, ago lacks the keys and the marks of what came since. What waits for it is
// reported as sealed to a key that is gone, sealed anew, and comes once; nothing
// is taken for seen already.
func TestBackupOfAReceiver(t *testing.T) {
	for _, age := range []time.Duration{day, 31 * day} {
		t.Run(age.String(), func(t *testing.T) {
			t.Parallel()
			bubbleWith(t, &carriertest.Options{Routers: 1}, func(t *testing.T, n *carriertest.Network) {
				alice, bob := newPerson(t, n, "Alice"), newPerson(t, n, "Bob")
				befriend(alice, bob)
				alice.delivered(alice.send(bob.ID(), "before"))
				bob.next()
				bob.stop()
				backup := copyDir(t, bob.config.Dir)
				alice.stop()
				time.Sleep(day)
				alice.start()
				bob.start() // with a new prekey, and Alice learns it
				alice.delivered(alice.send(bob.ID(), "after the backup"))
				bob.next()
				bob.delivered(bob.send(alice.ID(), "lost at Bob's"))
				bob.leave()
				waits := alice.send(bob.ID(), "sealed to a key that is not in the backup")
				alice.must(waits.WaitStored(within(t, patience)))
				alice.stop()
				time.Sleep(age)
				alice.start()
				time.Sleep(2 * time.Minute) // it stands in the DHT again
				alice.stop()
				bob.config.Dir = backup
				bob.start()
				eventually(t, "Bob has found it", func() bool { return bob.Stats()["courier.drop.prekey"] > 0 })
				alice.start()
				for _, m := range alice.Outbox() {
					if m.ID() == waits.ID() {
						alice.delivered(m)
					}
				}
				after := alice.send(bob.ID(), "after")
				alice.delivered(after)
				for _, want := range []string{"sealed to a key that is not in the backup", "after"} {
					if got := bob.next(); got.body != want {
						t.Errorf("Bob got %q, want %q", got.body, want)
					}
				}
				bob.nothingElse(time.Minute)
				bob.delivered(bob.send(alice.ID(), "from the backup"))
				var got []string
				for _, r := range alice.read(3, time.Minute) {
					got = append(got, r.body)
				}
				if want := "[lost at Bob's from the backup]"; fmt.Sprint(got) != want {
					t.Errorf("Alice got %q, want %s", got, want)
				}
			})
		})
	}
}

// TestExportedAgainAndAgain: an identity goes from store to store, and back to
// the first; every friend stays, and mail goes both ways at each.
func TestExportedAgainAndAgain(t *testing.T) {
	t.Parallel()
	bubbleWith(t, fewRouters(), func(t *testing.T, n *carriertest.Network) {
		first, bob := newPerson(t, n, "Alice"), newPerson(t, n, "Bob")
		befriend(first, bob)
		address := first.Address()
		talk := func(p *person, where string) {
			t.Helper()
			bob.delivered(bob.send(p.ID(), "to "+where))
			p.delivered(p.send(bob.ID(), "from "+where))
			if got := p.next(); got.body != "to "+where {
				t.Errorf("%s got %q", where, got.body)
			}
			if got := bob.next(); got.body != "from "+where {
				t.Errorf("Bob got %q from %s", got.body, where)
			}
		}
		talk(first, "the first")
		at := first
		for _, where := range []string{"the second", "the third", "the fourth"} {
			identity := at.exported()
			at.stop() // without a word
			at = imported(t, n, identity)
			if at.Address() != address {
				t.Errorf("%s has the address %s, want %s", where, at.Address(), address)
			}
			talk(at, where)
		}
		at.leave()
		first.start()
		talk(first, "the first again")
		bob.nothingElse(time.Minute)
		first.nothingElse(time.Minute)
	})
}

// TestThreeMachines: of three nodes with one identity the newest goes on and the
// others are silent; a friend sees the person leave at most once a copy.
func TestThreeMachines(t *testing.T) {
	t.Parallel()
	bubbleWith(t, fewRouters(), func(t *testing.T, n *carriertest.Network) {
		first, bob := newPerson(t, n, "Alice"), newPerson(t, n, "Bob")
		befriend(first, bob)
		identity := first.exported()
		saw := record(t, bob.Node)
		people, told := []*person{first}, []*recorder{record(t, first.Node)}
		var sent []*carrier.Message
		for i := range 2 {
			p := imported(t, n, identity)
			people, told = append(people, p), append(told, record(t, p.Node))
			sent = append(sent, people[i].send(bob.ID(), fmt.Sprint("from ", i)))
			untilTold(t, told[i+1], 1, 20*time.Minute)
			time.Sleep(time.Minute)
		}
		sent = append(sent, people[2].send(bob.ID(), "from 2"))
		people[2].delivered(sent[2])
		time.Sleep(20 * time.Minute)
		var all []string
		for _, r := range told {
			all = append(all, r.inUse())
		}
		if want := []string{"[yields]", "[goes on yields]", "[goes on]"}; !slices.Equal(all, want) {
			t.Errorf("they were told %q, want %q", all, want)
		}
		if got := saw.left(); got > 2 {
			t.Errorf("Bob saw Alice leave %d times", got)
		}
		people[2].leave()
		people[1].delivered(sent[1])
		people[1].leave()
		first.delivered(sent[0])
		var got []string
		for _, r := range bob.read(4, time.Minute) {
			got = append(got, r.body)
		}
		if slices.Sort(got); !slices.Equal(got, []string{"from 0", "from 1", "from 2"}) {
			t.Errorf("Bob got %q", got)
		}
	})
}

// TestBackupFromBeforeARequest: a store that is put back to before its own friend
// request knows nothing of the friend that it has meanwhile. Asking again makes
// both friends at once.
func TestBackupFromBeforeARequest(t *testing.T) {
	t.Parallel()
	bubbleWith(t, fewRouters(), func(t *testing.T, n *carriertest.Network) {
		alice, bob := newPerson(t, n, "Alice"), newPerson(t, n, "Bob")
		alice.stop()
		backup := copyDir(t, alice.config.Dir)
		alice.start()
		alice.add(bob.Address(), "hello")
		bob.request(alice.ID())
		alice.stop()
		bob.accept(alice.ID())
		alice.config.Dir = backup
		alice.start()
		time.Sleep(2 * time.Minute)
		if got := len(alice.Friends()); got != 0 {
			t.Errorf("the backup has %d friends", got) // then the list of limits is to be mended
		}
		waits := bob.send(alice.ID(), "are you there?")
		f := alice.add(bob.Address(), "hello again")
		alice.must(f.WaitAccepted(within(t, patience)))
		bob.delivered(waits)
		if got := alice.next(); got.body != "are you there?" {
			t.Errorf("Alice got %q", got.body)
		}
	})
}
