package courier

import (
	"net/netip"
	"testing"
	"time"

	"github.com/gocarrier/carrier/crypto"
	"github.com/gocarrier/carrier/internal/wire"
)

func TestFriendsStayOnlineByOneExchangeIn10s(t *testing.T) {
	w, a, b := both(t)
	w.run(time.Minute)
	from := a.datagrams + b.datagrams
	w.run(10 * time.Minute)
	if !a.online[b.id] || !b.online[a.id] {
		t.Fatalf("online = %v, %v after 10 minutes, want both", a.online[b.id], b.online[a.id])
	}
	// 60 exchanges of two datagrams serve both; a few more for the node that
	// was asked last and asks next.
	if got := a.datagrams + b.datagrams - from; got < 100 || got > 130 {
		t.Errorf("%d datagrams in 10 minutes, want about 120", got)
	}
}

func TestPresenceSurvivesLoss(t *testing.T) {
	w, a, b := both(t)
	w.loss = 0.3
	for range 30 {
		w.run(10 * time.Second)
		if !a.online[b.id] {
			t.Fatal("offline at 30 % loss")
		}
	}
}

func TestPresenceEndsAfterThreeMissedExchanges(t *testing.T) {
	w, a, b := both(t)
	w.run(time.Minute)
	b.stop()
	took := w.wait("offline", time.Minute, func() bool { return !a.online[b.id] })
	if took < 18*time.Second || took > 30*time.Second {
		t.Errorf("offline after %v, want 20 to 30 s after the last proof", took)
	}
}

func TestGoodbyeEndsPresenceAtOnce(t *testing.T) {
	w, a, b := both(t)
	w.run(time.Minute)
	done := false
	b.do(func() { b.c.Shutdown(func() { done = true }) })
	took := w.wait("offline", time.Minute, func() bool { return !a.online[b.id] })
	if took > 100*time.Millisecond {
		t.Errorf("offline after %v, want at once", took)
	}
	w.wait("shutdown", 10*time.Second, func() bool { return done })
	w.wait("last state", time.Minute, func() bool {
		s := a.states[b.id]
		return s[len(s)-1].Presence == wire.PresenceOffline
	})
}

func TestRestartIsSeenSoon(t *testing.T) {
	w, a, b := both(t)
	w.run(time.Minute)
	b.stop()
	w.run(2 * time.Minute)
	b.start()
	b.ready()
	took := w.wait("online", time.Minute, func() bool { return a.online[b.id] && b.online[a.id] })
	if took > 100*time.Millisecond { // b knows where a was
		t.Errorf("online after %v", took)
	}
}

// The accepter knows the requester's endpoints from the request, and nothing
// else has passed between them.
func TestAcceptedFriendsSeeEachOtherSoon(t *testing.T) {
	w := newWorld(t)
	a, b := w.node("requester"), w.node("accepter")
	a.start()
	b.start()
	a.ready()
	b.ready()
	w.run(time.Minute)
	number := uint64(w.now.UnixMilli())
	a.add(b.id, wire.RelationNone, number)
	w.run(30 * time.Second)
	r := a.request(number)
	b.add(a.id, wire.RelationFriend, number)
	b.do(func() { b.c.Introduce(r) })
	took := w.wait("both online and friends", time.Minute, func() bool {
		return a.online[b.id] && b.online[a.id] && a.friends[b.id].relation == wire.RelationFriend
	})
	if took > 2*time.Second {
		t.Errorf("took %v, want 2 s at most", took)
	}
}

// Without any way to each other the answer comes by the DHT.
func TestAnswerIsPolledFor(t *testing.T) {
	w := newWorld(t)
	w.filter = func(netip.AddrPort, netip.AddrPort, []byte) bool { return false }
	a, b := w.node("requester"), w.node("accepter")
	a.start()
	b.start()
	a.ready()
	b.ready()
	w.run(time.Minute)
	number := uint64(w.now.UnixMilli())
	a.add(b.id, wire.RelationNone, number)
	w.run(30 * time.Second)
	r := a.request(number)
	b.add(a.id, wire.RelationFriend, number)
	b.do(func() { b.c.Introduce(r) })
	took := w.wait("friends", time.Minute, func() bool { return a.friends[b.id].relation == wire.RelationFriend })
	if took > 6*time.Second {
		t.Errorf("took %v, want a poll of 2 s after a put", took)
	}
}

// hello makes a signed hello of n's to another node as n's courier would.
func (n *node) hello(to *node, change func(*wire.Hello)) []byte {
	p := n.c.peers[to.id]
	var b []byte
	n.do(func() {
		h := &wire.Hello{
			Incarnation: n.inc, Version: n.c.Rise(), Time: n.w.now.UnixMilli(), Start: n.c.Start(),
			Bond: n.Bond(to.id), Nonce: 7, Presence: wire.PresenceOnline, Observed: to.addr,
		}
		change(h)
		b = p.sealDatagram(wire.KindHello, p.sign(signHello, h.Incarnation, h.Version, wire.AppendHello(nil, h)))
	})
	return b
}

func (n *node) receive(b []byte, from netip.AddrPort) {
	n.do(func() { n.c.Datagram(b, from) })
}

func TestEchoMustBeOfOursAndFresh(t *testing.T) {
	w, a, b := both(t)
	w.run(time.Minute)
	w.filter = func(netip.AddrPort, netip.AddrPort, []byte) bool { return false }
	nonce := a.c.peers[b.id].presence.current.nonces[0].nonce
	echo := func(h *wire.Hello) { h.Echo = nonce; h.Answer = true }
	proof := a.c.peers[b.id].proof
	a.receive(b.hello(a, func(h *wire.Hello) { h.Echo = nonce + 1; h.Answer = true }), b.addr)
	if got := a.c.peers[b.id].proof; got != proof {
		t.Error("an echo of no nonce of ours counted as proof")
	}
	elsewhere := netip.MustParseAddrPort("10.9.9.9:5000")
	a.receive(b.hello(a, echo), elsewhere)
	if got := a.c.peers[b.id].proof; got != proof {
		t.Error("an echo from another address counted as proof")
	}
	a.receive(b.hello(a, echo), b.addr)
	if got := a.c.peers[b.id].proof; !got.After(proof) {
		t.Error("an echo of our nonce did not count")
	}
	w.wait("offline", time.Minute, func() bool { return !a.online[b.id] })
	w.run(31 * time.Second)
	a.receive(b.hello(a, echo), b.addr)
	if a.online[b.id] {
		t.Error("an old nonce brought the friend online")
	}
	if got := a.stat("hello.stale"); got < 2 {
		t.Errorf("hello.stale = %d, want each counted", got)
	}
}

func TestReplayedEnvelopesAreDropped(t *testing.T) {
	w, a, b := both(t)
	w.keep = true
	w.run(time.Minute)
	for i := range 3 {
		b.send(a, string(rune('a'+i)))
		a.send(b, "x")
		w.run(time.Second)
	}
	b.do(func() { b.c.StateChanged(a.id) })
	w.run(10 * time.Second)
	record := w.wire
	w.wire, w.keep = nil, false
	b.stop()
	w.wait("offline", time.Minute, func() bool { return !a.online[b.id] })
	states, mail, receipts := len(a.states[b.id]), len(a.got(b)), a.friends[b.id].receipts
	sent := a.datagrams
	n := 0
	for _, d := range record {
		if d.to == a.addr {
			a.receive(d.b, d.from)
			n++
		}
	}
	if n < 10 {
		t.Fatalf("only %d envelopes were recorded", n)
	}
	w.run(0)
	if a.online[b.id] {
		t.Error("replays brought the friend online")
	}
	if got := len(a.states[b.id]); got != states {
		t.Errorf("%d states from replays", got-states)
	}
	if got := len(a.got(b)); got != mail {
		t.Errorf("%d messages from replays", got-mail)
	}
	if got := a.friends[b.id].receipts; got != receipts {
		t.Errorf("%d receipts from replays", got-receipts)
	}
	if a.datagrams-sent > 3 {
		t.Errorf("replays were answered %d times", a.datagrams-sent)
	}
	if a.stat("drop.replay.hello") == 0 || a.stat("drop.replay.state") == 0 {
		t.Errorf("replays are not counted: %v", a.c.Stats())
	}
}

func TestHelloOfAnEndedBondIsDropped(t *testing.T) {
	w, a, b := both(t)
	w.run(time.Minute)
	before := a.stat("drop.bond")
	a.friends[b.id].bond += 1000
	a.receive(b.hello(a, func(*wire.Hello) {}), b.addr)
	if got := a.stat("drop.bond"); got != before+1 {
		t.Errorf("drop.bond = %d, want %d", got, before+1)
	}
}

func TestForgedHelloIsDropped(t *testing.T) {
	w, a, b := both(t)
	w.run(time.Minute)
	// Somebody who has the pair's secret, but not the friend's key: who stole ours.
	thief := a.c.peers[b.id]
	h := &wire.Hello{Version: 1 << 62, Bond: a.Bond(b.id), Presence: wire.PresenceOffline}
	forged := thief.sign(signHello, h.Incarnation, h.Version, wire.AppendHello(nil, h))
	plaintext := wire.AppendPlain(nil, wire.KindHello, forged, 400)
	a.do(func() { thief.receive(plaintext, make([]byte, 64), b.addr) })
	if !a.online[b.id] {
		t.Error("a goodbye that the friend has not signed was believed")
	}
	if got := a.stat("drop.signature.hello"); got != 1 {
		t.Errorf("drop.signature.hello = %d, want 1", got)
	}
}

func TestEnvelopesThatAreNone(t *testing.T) {
	w, a, b := both(t)
	w.run(time.Minute)
	good := b.hello(a, func(*wire.Hello) {})
	bad := func(change func([]byte)) []byte {
		c := append([]byte(nil), good...)
		change(c)
		return c
	}
	for _, tt := range []struct {
		name, stat string
		b          []byte
	}{
		{"later format", "drop.format", bad(func(b []byte) { b[0]++ })},
		{"odd length", "drop.malformed", good[:200]},
		{"unknown tag", "drop.tag", bad(func(b []byte) { b[3]++ })},
		{"changed", "drop.open", bad(func(b []byte) { b[40]++ })},
	} {
		before := a.stat(tt.stat)
		a.receive(tt.b, b.addr)
		if got := a.stat(tt.stat); got != before+1 {
			t.Errorf("%s: %s = %d, want %d", tt.name, tt.stat, got, before+1)
		}
	}
}

func TestAFloodThatOpensToNothingIsCutShort(t *testing.T) {
	w, a, b := both(t)
	w.run(time.Minute)
	junk := b.hello(a, func(*wire.Hello) {})
	junk[60]++
	from := netip.MustParseAddrPort("203.0.113.5:9999")
	for range 1000 {
		a.receive(junk, from)
	}
	if got := a.stat("drop.open"); got > 101 {
		t.Errorf("%d junk datagrams were tried to open, want 100 at most", got)
	}
	if got := a.stat("drop.source"); got < 899 {
		t.Errorf("drop.source = %d", got)
	}
	w.run(time.Minute)
	if !a.online[b.id] {
		t.Error("the friend went offline by it")
	}
}

func TestTagsRotateHourlyAndThreeAreKept(t *testing.T) {
	for _, tt := range []struct {
		off    time.Duration
		online bool
	}{{50 * time.Minute, true}, {-50 * time.Minute, true}, {3 * time.Hour, false}} {
		w := newWorld(t)
		a, b := w.node("a"), w.node("b")
		b.offset = tt.off
		befriend(a, b)
		a.start()
		b.start()
		a.ready()
		b.ready()
		_, ok := w.until(func() bool { return a.online[b.id] && b.online[a.id] }, time.Minute)
		if ok != tt.online {
			t.Errorf("clocks %v apart: online = %v, want %v", tt.off, ok, tt.online)
		}
	}
	w, a, b := both(t)
	for range 2 {
		w.run(time.Hour)
		if !a.online[b.id] || !b.online[a.id] {
			t.Fatal("offline by the turn of an hour")
		}
	}
	if n := len(a.c.tags.of); n != 3 {
		t.Errorf("%d tags for one friend, want 3", n)
	}
	a.do(func() { a.c.Forget(b.id) })
	if n := len(a.c.tags.of); n != 0 {
		t.Errorf("%d tags for nobody", n)
	}
	if a.Get(table, b.id, []byte(keyPeer)) != nil {
		t.Error("Forget has left a row")
	}
}

func TestCandidatesOfOneTag(t *testing.T) {
	w, a, b := both(t)
	c := w.node("carol")
	befriend(a, c)
	// A collision: the tag of bob's envelopes names carol too, and first.
	tag := a.c.peers[b.id].pair.Tag(crypto.In, crypto.Hour(w.now))
	a.c.tags.of[tag] = append([]candidate{{a.c.peers[c.id], crypto.Week(w.now)}}, a.c.tags.of[tag]...)
	before := a.c.peers[b.id].helloVersion
	a.receive(b.hello(a, func(*wire.Hello) {}), b.addr)
	if a.c.peers[b.id].helloVersion == before {
		t.Error("the second candidate was not tried")
	}
}

func TestPresenceAndWhatCanBeAsked(t *testing.T) {
	w, a, b := both(t)
	w.run(time.Minute)
	if at, ok := a.c.Online(b.id); !ok || at != b.addr {
		t.Errorf("Online = %v, %v, want %v", at, ok, b.addr)
	}
	if ago := w.now.Sub(a.c.LastSeen(b.id)); ago > 15*time.Second {
		t.Errorf("last seen %v ago", ago)
	}
	stranger := seedIdentity(777).ID()
	if _, ok := a.c.Online(stranger); ok || !a.c.LastSeen(stranger).IsZero() || a.c.Capacity(stranger) != 0 {
		t.Error("something is known of a stranger")
	}
	a.presence = wire.PresenceBusy
	a.do(func() { a.c.PresenceChanged() })
	w.run(100 * time.Millisecond)
	if s := b.states[a.id]; s[len(s)-1].Presence != wire.PresenceBusy {
		t.Error("an online friend does not see a new presence at once")
	}
	b.stop()
	w.run(time.Minute)
	if _, ok := a.c.Online(b.id); ok {
		t.Error("still online")
	}
	seen := a.c.LastSeen(b.id)
	a.stop()
	a.start()
	if d := seen.Sub(a.c.LastSeen(b.id)); d < 0 || d > 6*time.Minute {
		t.Errorf("last seen is %v off after a restart", d)
	}
}

func TestForgottenIsOffline(t *testing.T) {
	w, a, b := both(t)
	w.wait("online", time.Minute, func() bool { return a.online[b.id] })
	a.do(func() { a.c.Forget(b.id) })
	if a.online[b.id] {
		t.Error("a peer that was forgotten is still told to be online")
	}
}
