package courier

import (
	"testing"
	"time"

	"github.com/gocarrier/carrier/crypto"
	"github.com/gocarrier/carrier/internal/wire"
)

// However long nobody answers: mail is put only when our own record has been read,
// for another copy of this store may have gone further.
func TestMailWaitsUntilOurOwnRecordWasRead(t *testing.T) {
	w, a, _ := waiting(t)
	a.stop()
	die := func(dead bool) {
		for _, h := range w.dht.holders {
			h.dead = dead
		}
	}
	die(true)
	a.start()
	from := len(w.dht.puts)
	a.ready()
	w.run(30 * time.Second)
	if states, mail := len(w.dht.putsOf(saltState, from)), len(w.dht.putsOf("m0", from)); states == 0 || mail != 0 {
		t.Errorf("while nobody answers: %d puts of the state, %d of mail, want some and none", states, mail)
	}
	die(false)
	w.wait("mail is put", 5*time.Minute, func() bool { return len(w.dht.putsOf("m0", from)) == 1 })
}

// What proves a twin is signed by it in our time, under a number above all of
// ours, and stands above what we have put since it was suspected: each of these by
// itself is also true of what some run that has ended left behind.
func TestProofOfATwin(t *testing.T) {
	w, a, b := apart(t)
	c := a.c
	p, other1, other2 := c.peers[b.id], &peer{c: c}, &peer{c: c}
	now := w.now.UnixMilli()
	for _, test := range []struct {
		name    string
		peer    *peer
		first   uint64
		version uint64
		signed  int64
		seq     int64
		want    bool
	}{
		{"proof", p, 100, 201, now + 1, 51, true},
		{"not above our number", p, 100, 200, now + 1, 51, false},
		{"not above the first of its own", p, 300, 300, now + 1, 51, false},
		{"signed before the suspicion", p, 100, 201, now, 51, false},
		{"below what we have put", p, 100, 201, now + 1, 50, false},
		{"where our put is on its way", other1, 100, 201, now + 1, 51, false},
		{"where we have put nothing", other2, 100, 201, now + 1, 51, false},
	} {
		o := &other{first: test.first, since: w.now, ours: map[*peer]*placed{p: {version: 200, seq: 50}, other1: nil}}
		s := &wire.State{Version: test.version, Time: test.signed}
		if got := c.twins.proof(test.peer, o, s, test.seq); got != test.want {
			t.Errorf("%s: %t, want %t", test.name, got, test.want)
		}
	}
}

// A run of this store that ended long ago, and that a backup knows nothing of, is
// not even suspected.
func TestAnOldRunIsNotSuspected(t *testing.T) {
	w, a, b := apart(t)
	p := a.c.peers[b.id]
	for i, ago := range []time.Duration{twinWindow + time.Second, twinWindow - time.Second} {
		s := &wire.State{
			Incarnation: crypto.Incarnation{Created: 1}, Start: uint64(4711 + i), Version: 1,
			Time: w.now.Add(-ago).UnixMilli(), Presence: wire.PresenceOnline,
		}
		a.do(func() { a.c.twins.see(p, s, 1) })
		if got := len(a.c.twins.others); got != i {
			t.Errorf("signed %v ago: %d runs are suspected, want %d", ago, got, i)
		}
	}
}

// A number of ours that is too far ahead is not adopted: it would never be left
// behind.
func TestOwnNumbersTooFarAhead(t *testing.T) {
	_, a, _ := apart(t)
	a.do(func() {
		r, limit := &a.c.rising, tooFar(a.c.loop.Now())
		before := r.last
		if r.raise(a.c, limit+1); r.last != before {
			t.Errorf("raised to %d, which is too far ahead", r.last)
		}
		if r.raise(a.c, limit); r.last != limit || r.bound <= limit {
			t.Errorf("raised to %d below %d, want %d", r.last, r.bound, limit)
		}
	})
	if got := a.stat("fault.ahead"); got != 1 {
		t.Errorf("fault.ahead = %d, want 1", got)
	}
}

// The record that an earlier run of this store has left is no twin's.
func TestEarlierRunsAreKnown(t *testing.T) {
	w, a, b := apart(t)
	for range 3 {
		a.stop()
		a.start()
		a.ready()
		a.do(func() { a.c.StateNow(b.id) })
		w.run(time.Minute)
		if len(a.c.twins.others) != 0 {
			t.Fatal("an earlier run of this store is suspected")
		}
	}
}

// A friend keeps the states of a run that is lost, whose clock was ahead, and
// writes them one by one above what the restored store puts, as if the lost run
// were alive. That silences the restored one for no longer than the clock was
// ahead and a twin may be silent.
func TestStatesKeptFromALostRun(t *testing.T) {
	const ahead = 50 * time.Minute
	w, a, b := apart(t)
	w.run(time.Minute)
	saved := a.backup()
	a.stop()
	a.offset = ahead
	a.start()
	a.ready()
	q := b.c.peers[a.id]
	_, slot := q.slotKey(crypto.In, crypto.Week(w.now))
	var kept []Item
	for len(kept) < 12 {
		a.presence = []wire.Presence{wire.PresenceOnline, wire.PresenceAway}[len(kept)%2]
		a.do(func() { a.c.StateChanged(b.id) })
		w.run(4 * time.Minute)
		kept = append(kept, w.dht.near()[0].items[slotName(slot, saltState)])
	}
	lost := a.c.start
	a.restore(saved)
	a.offset = 0
	begin, seq := w.now, w.now.Add(2*time.Hour).UnixMilli()
	release := func(item Item) {
		seq = max(seq, w.dht.near()[0].items[slotName(slot, saltState)].Seq) + 1
		item.Seq = seq
		for _, h := range w.dht.near() {
			h.items[slotName(slot, saltState)] = item
		}
	}
	release(kept[0])
	for a.start(); a.c.start > lost; a.start() { // of one store the run with the higher nonce goes on
		a.stop()
	}
	a.ready()
	var silent, last time.Duration
	for i := range 4 * 60 {
		w.run(time.Minute)
		if a.c.mute() {
			silent += time.Minute
			last = w.now.Sub(begin)
		}
		if i%4 == 3 {
			release(kept[i/4%len(kept)])
		}
	}
	t.Logf("silent for %v, last after %v", silent, last)
	if silent == 0 {
		t.Error("the attack was none")
	}
	if most := ahead + twinSilence + 10*time.Minute; last > most {
		t.Errorf("silent still after %v, want %v at most", last, most)
	}
}
