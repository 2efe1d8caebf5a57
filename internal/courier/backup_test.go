package courier

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gocarrier/carrier/crypto"
	"github.com/gocarrier/carrier/internal/wire"
)

// backup is a copy of a node's store: its rows, and what it knows of its friends.
type backup struct {
	rows    map[string][]byte
	friends map[crypto.ID]friendship
}

func (n *node) backup() backup {
	b := backup{make(map[string][]byte), make(map[crypto.ID]friendship)}
	for k, v := range n.rows {
		b.rows[k] = slices.Clone(v)
	}
	for id, f := range n.friends {
		b.friends[id] = *f
	}
	return b
}

// restore ends the run and puts a backup back.
func (n *node) restore(b backup) {
	n.stop()
	n.rows = b.rows
	for id, f := range b.friends {
		*n.friends[id] = f
	}
}

// A store that is put back has forgotten mail that came since. Who has recorded
// it must not have it shown once more: neither before the friend is there nor
// while it is.
func TestRecordedMailIsNotTakenByABackup(t *testing.T) {
	w, a, b := both(t)
	w.run(5 * time.Second)
	saved := b.backup()
	w.keep = true
	for range 5 {
		a.send(b, "recorded")
		w.run(time.Second)
	}
	var record []datagram
	for _, d := range w.wire {
		if d.to == b.addr {
			record = append(record, d)
		}
	}
	w.wire, w.keep = nil, false
	b.restore(saved)
	b.start()
	play := func(when string) {
		t.Helper()
		for _, d := range record {
			b.receive(d.b, d.from)
			b.receive(d.b, victim(9, 9999))
		}
		w.run(0)
		if n := len(b.got(a)); n != 0 {
			t.Fatalf("%s: %d messages were taken again", when, n)
		}
	}
	play("before the friend is there")
	if b.stat("drop.unproven") == 0 {
		t.Errorf("recorded mail is not counted: %v", b.c.Stats())
	}
	w.wait("online", 5*time.Second, func() bool { return b.online[a.id] })
	play("while the friend is online")
	if b.stat("drop.replay.mail") == 0 {
		t.Errorf("recorded mail is not counted: %v", b.c.Stats())
	}
	b.ready()
	w.run(time.Minute)
	play("later")
	a.send(b, "new")
	w.wait("new mail", time.Second, func() bool { return slices.Equal(b.got(a), []string{"new"}) })
}

// What a sender has under way while its friend starts again is sent again, and
// taken as soon as the sender has proven itself.
func TestMailUnderWayWaitsForTheProof(t *testing.T) {
	w, a, b := both(t)
	w.delay = 50 * time.Millisecond
	w.run(12 * time.Second)
	for range 20 {
		b.stop()
		b.start()
		b.ready()
		got := len(b.got(a))
		a.send(b, "at the start") // a knows nothing of it yet
		took := w.wait("mail", 2*time.Second, func() bool { return len(b.got(a)) > got })
		if g := b.friends[a.id].got[got]; g.via != ViaDirect || took > 600*time.Millisecond {
			t.Errorf("came via %v after %v, want directly, by the first or second repetition", g.via, took)
		}
		w.wait("receipt", 2*time.Second, func() bool { return a.pending(b) == 0 })
		w.run(20 * time.Second)
	}
}

// A stale holder that answers first must not have a backup take mail from slots
// that has been received: which slots hold what the newest state says, which the
// first walk finds.
func TestRecordedSlotsAreNotTakenByABackup(t *testing.T) {
	w, a, b := apart(t)
	w.run(time.Minute)
	saved := b.backup()
	a.send(b, "recorded")
	w.wait("mail", time.Minute, func() bool { return len(b.got(a)) == 1 })
	past := make(map[string]Item)
	for k, i := range w.dht.near()[0].items {
		past[k] = i
	}
	w.wait("receipt", time.Minute, func() bool { return a.pending(b) == 0 })
	w.run(time.Minute)
	b.restore(saved)
	for k, i := range past {
		w.dht.near()[0].items[k] = i
	}
	w.dht.spread = 300 * time.Millisecond // older items come first
	b.start()
	b.ready()
	w.run(5 * time.Minute)
	if got := b.got(a); len(got) != 0 {
		t.Errorf("%q was taken again", got)
	}
	if w.dht.spread = 0; len(b.states[a.id]) < 2 {
		t.Error("the past was not found: the attack was none")
	}
	a.send(b, "new")
	w.wait("new mail", time.Minute, func() bool { return slices.Equal(b.got(a), []string{"new"}) })
}

// The same where other mail stands in that slot by now: what was found of the past
// gives way, whether it is found before the newest state or after it.
func TestRecordedSlotsGiveWayToTheNewest(t *testing.T) {
	for _, first := range []time.Duration{5 * time.Millisecond, 400 * time.Millisecond} {
		w, a, b := apart(t)
		w.run(time.Minute)
		saved := b.backup()
		a.send(b, "recorded")
		w.wait("mail", time.Minute, func() bool { return len(b.got(a)) == 1 })
		past := make(map[string]Item)
		for k, i := range w.dht.near()[0].items {
			past[k] = i
		}
		w.wait("receipt", time.Minute, func() bool { return a.pending(b) == 0 })
		b.restore(saved)
		a.send(b, "new")
		w.wait("stored", time.Minute, func() bool { return a.friends[b.id].stored[2] > 0 })
		_, key := a.c.peers[b.id].slotKey(crypto.Out, crypto.Week(w.now))
		slot, lost := slotName(key, saltMail(0)), make(map[*holder]Item)
		for n, h := range w.dht.near() {
			if n == 0 {
				for k, i := range past {
					h.items[k] = i
				}
			} else {
				lost[h] = h.items[slot]
				delete(h.items, slot) // they are slow with it
			}
		}
		w.dht.first, w.dht.spread = first, 100*time.Millisecond
		b.start()
		b.ready()
		w.run(3 * time.Second)
		if got := b.got(a); len(got) != 0 {
			t.Errorf("found after %v: %q was taken again", first, got)
		}
		for h, i := range lost {
			h.items[slot] = i
		}
		w.wait("new mail", time.Minute, func() bool { return len(b.got(a)) > 0 })
		if got := b.got(a); !slices.Equal(got, []string{"new"}) {
			t.Errorf("found after %v: got %q, want the new message only", first, got)
		}
	}
}

// Mail that stands in slots when a node starts is there as soon as the walk for
// the state and that for the slots have ended: they do not wait for each other.
func TestSlotsAreReadDuringTheFirstWalk(t *testing.T) {
	w, a, b := apart(t)
	w.run(time.Minute)
	b.stop()
	a.send(b, "left")
	w.wait("stored", time.Minute, func() bool { return a.friends[b.id].stored[1] > 0 })
	a.stop()
	w.run(time.Minute)
	b.start()
	b.ready()
	if took := w.wait("mail", time.Minute, func() bool { return len(b.got(a)) == 1 }); took > w.dht.walk+100*time.Millisecond {
		t.Errorf("mail was shown after %v, a walk takes %v", took, w.dht.walk)
	}
}

// The end of a friendship that has begun anew since is no news to a backup of
// the time before; one that holds is told when the first walk has found nothing
// newer.
func TestARecordedRemovalWaitsForTheFirstWalk(t *testing.T) {
	for _, relation := range []wire.Relation{wire.RelationRefused, wire.RelationRemoved} {
		w, a, b := apart(t)
		w.run(time.Minute)
		b.stop()
		ended := a.state(b, func(s *wire.State) { s.Relation = relation })
		told := func() (n int) {
			for _, s := range b.states[a.id] {
				if s.Relation == relation {
					n++
				}
			}
			return n
		}
		begin := func() {
			b.start()
			b.receive(ended, a.addr)
			b.receive(ended, a.addr)
			b.ready()
		}
		saved := b.backup()
		begin()
		w.run(time.Minute)
		if told() != 1 {
			t.Errorf("relation %d, which holds, was told %d times", relation, told())
		}
		b.restore(saved)
		a.do(func() { a.c.StateNow(b.id) }) // a friend again
		w.run(time.Minute)
		begin()
		w.run(time.Minute)
		if told() != 1 {
			t.Errorf("relation %d, which is over, was told", relation)
		}
	}
}

// What was recorded is no sign of life to a store that does not know it, and
// says nothing of its clock.
func TestReplaysToABackupAreNoSignOfLife(t *testing.T) {
	w := newWorld(t)
	a := w.node("alice")
	a.start()
	a.ready()
	var friends []*node
	for _, name := range []string{"bob", "carol"} {
		f := w.node(name)
		befriend(a, f)
		f.start()
		f.ready()
		friends = append(friends, f)
	}
	w.run(time.Minute)
	saved := a.backup()
	w.keep = true
	for range 6 {
		for _, f := range friends {
			f.send(a, "x")
			a.send(f, "y")
			f.do(func() { f.c.StateChanged(a.id) })
		}
		w.run(10 * time.Second)
	}
	record, last := w.wire, w.now
	w.wire, w.keep = nil, false
	for _, f := range friends {
		f.stop()
	}
	w.run(3 * time.Hour / 2)
	a.restore(saved)
	for _, h := range w.dht.holders {
		clear(h.items)
	}
	a.start()
	a.ready()
	w.run(time.Minute)
	for i, f := range friends {
		a.c.tags.add(a.c.peers[f.id])
		for _, d := range record {
			if d.to == a.addr && d.from == f.addr {
				a.receive(d.b, d.from)
				a.receive(d.b, victim(i, 9999))
				w.run(time.Second)
			}
		}
		if got := a.c.LastSeen(f.id); got.After(last) {
			t.Errorf("%s was seen %v after it had gone", f.name, got.Sub(last))
		}
		if len(a.states[f.id]) < 2 {
			t.Errorf("states of %s were not taken: the attack was none", f.name)
		}
	}
	if len(a.skew) != 0 {
		t.Errorf("told of the clock: %v", a.skew)
	}
}

// A profile older than the one that the newest state names is none, to whom has
// forgotten it: a backup, or who removed the friend and has one again.
func TestARecordedProfileIsNotTaken(t *testing.T) {
	w, a, b := both(t)
	saved := b.backup()
	w.keep = true
	for _, name := range []string{"old", "new"} {
		w.run(time.Minute)
		a.profile = uint64(w.now.UnixMilli())
		p := &wire.Profile{Incarnation: a.inc, Version: a.profile, Name: name}
		a.do(func() {
			a.c.ProfileChanged(p)
			a.c.StateChanged(b.id)
		})
		w.wait(name, time.Minute, func() bool { return b.profiles[a.id] != nil && b.profiles[a.id].Name == name })
	}
	var record []datagram
	for _, d := range w.wire {
		if d.to == b.addr && len(d.b) > 256 {
			record = append(record, d)
		}
	}
	w.wire, w.keep = nil, false
	play := func() {
		t.Helper()
		for _, d := range record {
			b.receive(d.b, d.from)
			if p := b.profiles[a.id]; p != nil && p.Name != "new" {
				t.Fatalf("the profile %q was taken", p.Name)
			}
		}
	}
	b.restore(saved)
	delete(b.profiles, a.id)
	b.start()
	b.ready()
	w.wait("profile", time.Minute, func() bool { return b.profiles[a.id] != nil })
	play()
	mode := func(m Mode) {
		b.do(func() {
			if err := b.c.SetPeer(a.id, m); err != nil {
				t.Fatal(err)
			}
		})
	}
	mode(Mode{Publish: true}) // removed,
	delete(b.profiles, a.id)
	w.run(time.Minute)
	play()
	mode(Mode{Poll: PollFriend, Publish: true}) // and a friend again
	play()
	w.wait("profile of the new friend", time.Minute, func() bool { return b.profiles[a.id] != nil })
	play()
}

// While a friend is not online, no mail of it is taken that comes straight, and
// none that was signed before it came online.
func TestMailOfAnEarlierPresenceIsNotTaken(t *testing.T) {
	w, a, b := both(t)
	w.run(5 * time.Second)
	for _, h := range w.dht.holders {
		h.dead = true // else the mailbox brings it
	}
	cut := true
	var kept []datagram
	w.filter = func(from, to netip.AddrPort, d []byte) bool {
		if cut && to == b.addr && len(d) > 256 {
			kept = append(kept, datagram{w.now, from, to, slices.Clone(d)})
		}
		return !cut || to != b.addr
	}
	a.send(b, strings.Repeat("delayed", 50))
	w.wait("offline", time.Minute, func() bool { return !b.online[a.id] })
	play := func(when string) {
		t.Helper()
		if len(kept) == 0 {
			t.Fatal("no mail was kept back")
		}
		for _, d := range kept {
			b.receive(d.b, d.from)
		}
		w.run(0)
		for _, g := range b.friends[a.id].got {
			if g.via == ViaDirect {
				t.Errorf("%s: mail was taken that had been kept back", when)
			}
		}
	}
	seen := b.c.LastSeen(a.id)
	play("offline")
	if got := b.c.LastSeen(a.id); got != seen {
		t.Errorf("seen %v later, by what had been kept back", got.Sub(seen))
	}
	cut = false
	w.wait("online", time.Minute, func() bool { return b.online[a.id] })
	play("online")
	w.wait("mail", time.Minute, func() bool { return len(b.got(a)) == 1 })
}

// Of whom we dealt with no more for a while, as while a twin had our place, we
// know as little as at a start.
func TestSlotsWaitForAWalkAfterABreak(t *testing.T) {
	w, a, b := apart(t)
	w.run(time.Minute)
	p := b.c.peers[a.id]
	mode := func(m Mode) {
		b.do(func() {
			if err := b.c.SetPeer(a.id, m); err != nil {
				t.Fatal(err)
			}
		})
	}
	for _, m := range []Mode{{}, {Publish: true}} {
		if !p.looking.known {
			t.Fatalf("before %+v: the newest state is not known", m)
		}
		mode(m)
		w.run(time.Minute)
		mode(Mode{Poll: PollFriend, Publish: true})
		if p.looking.known {
			t.Errorf("after %+v the newest state was said to be known", m)
		}
		w.wait("walk", 5*time.Second, func() bool { return p.looking.known })
	}
}
