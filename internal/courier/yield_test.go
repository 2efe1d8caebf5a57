package courier

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/gocarrier/carrier/crypto"
	"github.com/gocarrier/carrier/internal/wire"
)

// copies are two nodes with one identity, of which the first has yielded, and a
// friend of theirs. The newer one's clock is off by so much.
func copies(t *testing.T, off time.Duration) (w *world, older, newer, b *node) {
	t.Helper()
	w = newWorld(t)
	b = w.node("friend")
	older, newer = w.copy("older", 1), w.copy("newer", 2)
	befriendAll(b, older, newer)
	newer.offset = off
	b.start()
	b.ready()
	older.start()
	older.ready()
	w.run(20 * time.Minute)
	newer.begin(w)
	w.wait("both told", 2*time.Minute+min(off.Abs(), time.Second)*20*60+off.Abs(), func() bool { return len(older.twins) > 0 && len(newer.twins) > 0 })
	if !older.twins[0].Yield || newer.twins[0].Yield {
		t.Fatalf("yield = %v, %v: want the older one to", older.twins[0].Yield, newer.twins[0].Yield)
	}
	return w, older, newer, b
}

// copy is one of several nodes with the same identity.
func (w *world) copy(name string, host byte) *node {
	return w.nodeAt(name, netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 9, 0, host}), 4000), seedIdentity(99))
}

func befriendAll(b *node, copies ...*node) {
	bond := uint64(b.w.now.UnixMilli())
	for _, n := range copies {
		n.add(b.id, wire.RelationFriend, bond)
	}
	b.add(copies[0].id, wire.RelationFriend, bond)
}

// begin starts a copy as after an import: of a new incarnation.
func (n *node) begin(w *world) {
	n.inc.Created = w.now.UnixMilli()
	n.start()
	n.ready()
}

// back reports whether a node that had yielded has come back.
func (n *node) back() bool {
	return len(n.twins) > 0 && n.twins[len(n.twins)-1].Gone && !n.c.mute()
}

// Who yields is silent: no put, no datagram, nobody online, nothing looked for,
// whatever engine and friends do.
func TestWhoYieldsIsSilent(t *testing.T) {
	w, older, newer, b := copies(t, 0)
	w.run(5 * time.Minute) // the answers
	if older.online[b.id] || !b.online[older.id] {
		t.Errorf("online: %v to the one that yields, %v to the friend", older.online[b.id], b.online[older.id])
	}
	puts, datagrams, packets := older.puts, older.datagrams, older.packets
	for i := range 30 {
		older.send(b, fmt.Sprint("waits ", i))
		older.do(func() {
			older.c.StateNow(b.id)
			older.c.PresenceChanged()
			older.c.NetworkChanged()
			older.c.SetOffer(b.id, []byte{1, byte(i)})
			older.c.ProfileChanged(&wire.Profile{Incarnation: older.inc, Version: uint64(w.now.UnixMilli())})
			older.c.ReceiptChanged(b.id, ViaDHT)
			older.c.InboxRoom(b.id)
			if err := older.c.SetPeer(b.id, Mode{Poll: []Poll{PollFriend, PollSuspect}[i%2], Publish: true}); err != nil {
				t.Error(err)
			}
			older.c.LinkUp(b.id, b.addr)
		})
		b.do(func() { b.c.StateNow(newer.id) })
		older.receive(b.state(newer, func(*wire.State) {}), b.addr)
		w.run(time.Minute)
	}
	older.do(func() { older.c.Shutdown(nil) })
	w.run(time.Minute)
	if n := older.puts - puts; n != 0 {
		t.Errorf("%d puts", n)
	}
	if n := older.datagrams - datagrams; n != 0 {
		t.Errorf("%d datagrams", n)
	}
	if n := older.packets - packets; n > 32*twinAsk {
		t.Errorf("%d packets in half an hour to look for the other one", n)
	}
	if older.online[b.id] || !b.online[older.id] {
		t.Errorf("later, online: %v to the one that yields, %v to the friend", older.online[b.id], b.online[older.id])
	}
	if got := b.got(newer); len(got) != 0 {
		t.Errorf("the friend got %q", got)
	}
	if n := len(older.twins) + len(newer.twins); n != 2 {
		t.Errorf("told %d times", n)
	}
}

// Who has yielded comes back when the other one is gone, and only then.
func TestWhoYieldedComesBack(t *testing.T) {
	for _, tt := range []struct {
		name   string
		gone   func(w *world, newer *node)
		within time.Duration
	}{
		{"goodbye", func(w *world, newer *node) {
			newer.do(func() { newer.c.Shutdown(func() {}) })
			w.run(time.Second)
			newer.stop()
		}, 2*twinEvery + 10*time.Second},
		{"killed", func(_ *world, newer *node) { newer.stop() }, twinSilence + 2*twinEvery},
		{"dead DHT meanwhile", func(w *world, newer *node) {
			for _, h := range w.dht.holders {
				h.dead = true
			}
			w.run(time.Hour)
			for _, h := range w.dht.holders {
				h.dead = false
			}
			w.run(5 * time.Minute)
			newer.stop()
		}, twinSilence + 2*twinEvery},
	} {
		w, older, newer, b := copies(t, 0)
		older.send(b, "waits")
		newer.send(b, "from the newer one")
		w.run(time.Minute)
		b.stop() // which makes the hours cheaper
		w.run(time.Hour)
		tt.gone(w, newer)
		if len(older.twins) != 1 || !older.c.mute() {
			t.Errorf("%s: told %+v while the other one was there", tt.name, older.twins)
		}
		took, ok := w.until(older.back, 2*time.Hour)
		if !ok || took > tt.within {
			t.Errorf("%s: back after %v (%v), want within %v", tt.name, took, ok, tt.within)
			continue
		}
		t.Logf("%s: back after %v", tt.name, took)
		b.start()
		b.ready()
		w.wait(tt.name+": all is sent", time.Minute, func() bool { return older.pending(b) == 0 })
		if got := fmt.Sprint(b.got(older)); got != "[from the newer one waits]" {
			t.Errorf("%s: the friend got %s", tt.name, got)
		}
		b.send(older, "welcome")
		w.wait(tt.name+": mail", time.Minute, func() bool { return len(older.got(b)) == 1 })
		b.stop()
		w.run(time.Hour) // with what is left in the DHT
		if len(older.twins) != 2 {
			t.Errorf("%s: told %+v", tt.name, older.twins)
		}
	}
}

// What the friend has recorded of the other one, and puts above everything,
// neither keeps us silent nor makes us yield again.
func TestAFriendCannotKeepUsSilent(t *testing.T) {
	w, older, newer, b := copies(t, 0)
	week := crypto.Week(w.now)
	_, key := older.c.peers[b.id].slotKey(crypto.Out, week)
	var past []Item
	for range 30 {
		newer.do(func() { newer.c.StateNow(b.id) })
		w.run(time.Minute)
		if i := w.dht.find(key, saltState)[0]; len(past) == 0 || i.Seq > past[len(past)-1].Seq {
			past = append(past, i)
		}
	}
	newer.stop()
	b.stop()
	if len(older.twins) != 1 || len(past) < 25 {
		t.Fatalf("told %+v, %d records", older.twins, len(past))
	}
	died, back := w.now, time.Duration(0)
	for n, i := range past { // one after the other, each newer than the last
		i.Seq = w.now.Add(time.Hour).UnixMilli() + int64(n)
		for _, h := range w.dht.near() {
			h.items[slotName(key, saltState)] = i
		}
		w.run(2 * time.Minute)
		if back == 0 && older.back() {
			back = w.now.Sub(died)
		}
	}
	if back == 0 || back > twinSilence+5*time.Minute {
		t.Errorf("back after %v, want within %v of the other one's death", back, twinSilence+5*time.Minute)
	}
	if len(older.twins) != 2 || older.c.mute() {
		t.Errorf("told %+v, silent %v", older.twins, older.c.mute())
	}
}

// A few holders that hide the other one's records do not bring us back.
func TestHoldersCannotBringUsBack(t *testing.T) {
	w, older, newer, b := copies(t, 0)
	_, key := older.c.peers[b.id].slotKey(crypto.Out, crypto.Week(w.now))
	old := w.dht.find(key, saltState)[0]
	b.stop()
	for _, h := range w.dht.near()[:5] { // those that are asked
		h.stale = true
		h.items[slotName(key, saltState)] = old
	}
	w.run(90 * time.Minute)
	if len(older.twins) != 1 || !older.c.mute() || newer.c.mute() {
		t.Errorf("told %+v", older.twins)
	}
}

// Clocks that differ must not make the two take turns for ever.
func TestCopiesWithOtherClocks(t *testing.T) {
	for _, off := range []time.Duration{-50 * time.Minute, 50 * time.Minute} {
		w, older, newer, b := copies(t, off)
		b.stop()
		w.run(90 * time.Minute)
		told := len(older.twins)
		w.run(90 * time.Minute)
		if told > 1 || len(older.twins) != told || len(newer.twins) > 1 || !older.c.mute() || newer.c.mute() {
			t.Errorf("off by %v: told %d, later %d and %d times, silent %v and %v", off, told, len(older.twins), len(newer.twins), older.c.mute(), newer.c.mute())
		}
		t.Logf("off by %v: told %d and %d times", off, told, len(newer.twins))
		newer.stop()
		if took, ok := w.until(older.back, 10*time.Hour); !ok {
			t.Errorf("off by %v: not back after %v", off, took)
		}
	}
}

// Of three copies one goes on, and when it leaves another.
func TestThreeCopies(t *testing.T) {
	w, oldest, older, b := copies(t, 0)
	newest := w.copy("newest", 3)
	newest.add(b.id, wire.RelationFriend, older.friends[b.id].bond)
	w.run(10 * time.Minute)
	newest.begin(w)
	all := []*node{oldest, older, newest}
	speaking := func() (list []string) {
		for _, n := range all {
			if n.c != nil && !n.c.mute() {
				list = append(list, n.name)
			}
		}
		return list
	}
	w.wait("the newest is told, and another one yields", 2*time.Minute, func() bool {
		return len(newest.twins) > 0 && slices.Equal(speaking(), []string{"newest"})
	})
	b.stop()
	w.run(time.Hour)
	if got := speaking(); !slices.Equal(got, []string{"newest"}) {
		t.Errorf("%q go on, want the newest", got)
	}
	if len(oldest.twins) != 1 || len(older.twins) != 2 || len(newest.twins) != 1 {
		t.Errorf("told %d, %d and %d times, want 1, 2, 1", len(oldest.twins), len(older.twins), len(newest.twins))
	}
	newest.do(func() { newest.c.Shutdown(func() {}) })
	w.run(time.Second)
	newest.stop()
	w.run(10 * time.Minute)
	if got := speaking(); !slices.Equal(got, []string{"newer"}) {
		t.Errorf("%q go on when the newest has left, want the one before it", got)
	}
	older.stop()
	w.run(30 * time.Minute)
	if got := speaking(); !slices.Equal(got, []string{"older"}) {
		t.Errorf("%q go on when both have left, want the oldest", got)
	}
}
