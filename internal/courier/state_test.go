package courier

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/gocarrier/carrier/crypto"
	"github.com/gocarrier/carrier/internal/wire"
)

// alone starts a node whose friend never runs.
func alone(t testing.TB) (*world, *node, *node) {
	t.Helper()
	w := newWorld(t)
	a, b := w.node("alice"), w.node("bob")
	befriend(a, b)
	a.start()
	a.ready()
	w.run(10 * time.Second)
	return w, a, b
}

func TestStatePutsAreDebounced(t *testing.T) {
	w, a, b := alone(t)
	from := len(w.dht.puts)
	for range 10 {
		a.do(func() { a.c.StateChanged(b.id) })
		w.run(50 * time.Millisecond)
	}
	if n := len(w.dht.puts) - from; n != 0 {
		t.Errorf("%d puts within the second, want none", n)
	}
	w.run(10 * time.Second)
	if n := len(w.dht.puts) - from; n != 1 {
		t.Errorf("%d puts for 10 changes within half a second, want 1", n)
	}
}

func TestStateNowIsPutAtOnceAndAgainIfChangedMeanwhile(t *testing.T) {
	w, a, b := alone(t)
	from := len(w.dht.puts)
	a.do(func() { a.c.StateNow(b.id) })
	w.run(time.Millisecond)
	if n := len(w.dht.puts) - from; n != 1 {
		t.Fatalf("%d puts at once, want 1", n)
	}
	a.do(func() { a.c.StateNow(b.id) })
	a.do(func() { a.c.StateNow(b.id) })
	w.run(10 * time.Second)
	if n := len(w.dht.puts) - from; n != 2 {
		t.Errorf("%d puts, want 2: one at a time, then what has changed", n)
	}
}

// What waits in line is not put again when it was put ahead of the line.
func TestAPutAheadOfTheLineIsDoneOnce(t *testing.T) {
	w, a, b := alone(t)
	from := len(w.dht.puts)
	a.do(func() {
		a.c.budget.spend(2 * budgetBurst)
		a.c.PresenceChanged()
	})
	w.run(5 * time.Second)
	a.do(func() { a.c.StateNow(b.id) })
	w.run(5 * time.Second)
	if n := len(w.dht.puts) - from; n != 1 {
		t.Errorf("%d puts, want the one ahead of the line", n)
	}
	w.run(5 * time.Minute)
	if n := len(w.dht.puts) - from; n != 1 {
		t.Errorf("%d puts, want no other when its turn comes", n)
	}
}

func TestStateIsRepublished(t *testing.T) {
	w, a, _ := alone(t)
	from := len(w.dht.puts)
	w.run(10 * time.Hour)
	if n := len(w.dht.puts) - from; n < 33 || n > 50 {
		t.Errorf("%d puts in 10 hours, want each 15 min ± 20 %%", n)
	}
	for _, tt := range []struct {
		friends  int
		quiet    bool
		min, max time.Duration
	}{
		{1, false, 12 * time.Minute, 18 * time.Minute},
		{200, false, 24 * time.Minute, 36 * time.Minute},
		{1000, false, 48 * time.Minute, 72 * time.Minute},
		{1, true, 72 * time.Minute, 108 * time.Minute},
	} {
		a.c.quiet = tt.quiet
		for id := range a.c.peers {
			delete(a.c.peers, id)
		}
		for i := range tt.friends {
			a.c.peers[crypto.ID{1, byte(i), byte(i >> 8)}] = &peer{mode: Mode{Publish: true}}
		}
		for range 100 {
			if d := a.c.republish(); d < tt.min || d > tt.max {
				t.Errorf("%d friends, quiet %v: republished after %v, want %v to %v", tt.friends, tt.quiet, d, tt.min, tt.max)
				break
			}
		}
	}
}

func TestStartPutsStateAndAgainWithOurAddress(t *testing.T) {
	w := newWorld(t)
	a, b := w.node("alice"), w.node("bob")
	befriend(a, b)
	a.start()
	a.ready()
	w.run(time.Second)
	if n := len(w.dht.puts); n != 1 {
		t.Fatalf("%d puts at start, want 1", n)
	}
	w.run(20 * time.Second)
	if n := len(w.dht.puts); n != 1 {
		t.Errorf("%d puts without any news, want still 1", n)
	}
	a.external = netip.MustParseAddrPort("198.51.100.1:4000")
	a.do(func() { a.c.EndpointsChanged() })
	w.run(5 * time.Second)
	if n := len(w.dht.puts); n != 2 {
		t.Errorf("%d puts after our address became known, want 2", n)
	}
	a.do(func() { a.c.EndpointsChanged() })
	w.run(5 * time.Second)
	if n := len(w.dht.puts); n != 2 {
		t.Errorf("%d puts, though nothing has changed", n)
	}
	b.start()
	b.ready()
	w.wait("state", 10*time.Second, func() bool { return len(b.states[a.id]) > 0 })
	if got := b.states[a.id][0].Endpoints; !slices.Contains(got, a.external) {
		t.Errorf("endpoints %v are without %v", got, a.external)
	}
}

func TestVersionsRiseOverRestartsAndABackwardClock(t *testing.T) {
	w, a, _ := alone(t)
	last := a.c.rising.last
	a.stop()
	a.offset = -48 * time.Hour
	a.start()
	var n uint64
	a.do(func() { n = a.c.Rise() })
	if n <= last {
		t.Errorf("number %d after %d", n, last)
	}
	var rows int
	before := string(a.Get(table, a.id, []byte(keyRising)))
	a.do(func() {
		for range 1000 {
			next := a.c.Rise()
			if next <= n {
				t.Fatalf("number %d after %d", next, n)
			}
			n = next
			if now := string(a.Get(table, a.id, []byte(keyRising))); now != before {
				rows++
				before = now
			}
		}
	})
	if rows > 1 {
		t.Errorf("%d rows written for 1,000 numbers", rows)
	}
	w.run(0)
}

func TestHighestVersionIsKeptAndLowerIgnored(t *testing.T) {
	w, a, b := apart(t)
	w.run(5 * time.Second)
	_, key := b.c.peers[a.id].slotKey(crypto.Out, crypto.Week(w.now))
	old := w.dht.find(key, saltState)[0]
	b.do(func() { b.c.StateNow(a.id) })
	w.run(20 * time.Second)
	version := a.c.peers[b.id].theirs.Version
	b.stop()
	a.stop()
	for _, h := range w.dht.near() { // nodes that return what is stale
		h.items[slotName(key, saltState)] = old
	}
	a.start()
	if got := a.c.peers[b.id].theirs.Version; got != version {
		t.Errorf("version %d after a restart, want %d", got, version)
	}
	states := len(a.states[b.id])
	a.ready()
	w.run(20 * time.Second)
	if got := len(a.states[b.id]); got != states {
		t.Errorf("%d stale states were taken", got-states)
	}
	if a.stat("drop.replay.state") == 0 {
		t.Error("stale states are not counted")
	}
}

func TestOurOwnNewerStateIsGoneAbove(t *testing.T) {
	w, a, b := alone(t)
	p := a.c.peers[b.id]
	_, key := p.slotKey(crypto.Out, crypto.Week(w.now))
	for _, h := range w.dht.near() {
		i := h.items[slotName(key, saltState)]
		i.Seq = w.now.Add(20 * time.Hour).UnixMilli()
		i.Value = append([]byte(nil), i.Value...)
		i.Value[0]++ // of another copy of us, or put there by the friend
		h.items[slotName(key, saltState)] = i
	}
	a.do(func() { a.c.StateNow(b.id) })
	w.run(20 * time.Second)
	if got := a.stat("state.conflict"); got != 1 {
		t.Errorf("state.conflict = %d, want 1", got)
	}
	if i := w.dht.find(key, saltState)[0]; i.Seq <= w.now.Add(19*time.Hour).UnixMilli() {
		t.Errorf("seq %d stands, want one above", i.Seq)
	}
	if got := time.UnixMilli(int64(a.c.rising.last)); got.After(w.now.Add(time.Hour)) {
		t.Errorf("a friend's seq has moved our numbers to %v", got)
	}
}

func TestASeqTooFarAheadIsNeverAdopted(t *testing.T) {
	w, a, b := alone(t)
	w.dht.hostile = 1 << 62
	from := len(w.dht.puts)
	a.do(func() { a.c.StateNow(b.id) })
	w.run(30 * time.Minute)
	if a.stat("fault.ahead") == 0 {
		t.Error("not counted")
	}
	if n := len(w.dht.puts) - from; n > 4 {
		t.Errorf("%d puts against it in half an hour", n)
	}
	if a.c.peers[b.id].own.floor > w.now.Add(time.Hour).UnixMilli() {
		t.Error("adopted")
	}
}

func TestPeerNewerIsToldOnce(t *testing.T) {
	w, a, b := both(t)
	w.run(time.Minute)
	for range 3 {
		a.receive(b.state(a, func(s *wire.State) { s.Format = wire.Format + 1 }), b.addr)
	}
	if got := a.newer; len(got) != 1 || got[0] != wire.Format+1 {
		t.Errorf("told %v, want once %d", got, wire.Format+1)
	}
}

// state makes a state datagram of n's to another node.
func (n *node) state(to *node, change func(*wire.State)) (b []byte) {
	p := n.c.peers[to.id]
	n.do(func() {
		s := p.assemble()
		change(s)
		b = p.sealDatagram(wire.KindState, p.sign(signState, s.Incarnation, s.Version, wire.AppendState(nil, s)))
	})
	return b
}

func TestClockSkewNeedsTwoFriends(t *testing.T) {
	for _, off := range []time.Duration{-2 * time.Hour, 2 * time.Hour} {
		w := newWorld(t)
		a := w.node("alice")
		a.start()
		a.ready()
		var friends []*node
		for _, name := range []string{"bob", "carol"} {
			f := w.node(name)
			befriend(a, f)
			friends = append(friends, f)
			f.offset = -off
			f.start()
			f.ready()
			w.run(5 * time.Minute) // they put; a finds it in the DHT
			f.do(func() { f.c.StateChanged(a.id) })
			w.run(time.Minute)
			if n := len(a.skew); len(friends) == 1 && n != 0 {
				t.Errorf("%v: told by one friend", off)
			}
		}
		if len(a.skew) != 1 {
			t.Errorf("%v: told %v, want once", off, a.skew)
			continue
		}
		if d := a.skew[0]; (d + off).Abs() > 10*time.Minute {
			t.Errorf("clock %v ahead: told that it is %v behind", off, d)
		}
		for i, f := range friends { // one alone who still says so is not enough
			f.offset = 0
			f.do(func() { f.c.StateChanged(a.id) })
			w.run(20 * time.Minute)
			if len(a.skew) != 2 || a.skew[1] != 0 {
				t.Errorf("%v: when %d of 2 friends agree: told %v, want its end once", off, i+1, a.skew)
			}
		}
	}
}

func TestHelloTimesTellOfSkew(t *testing.T) {
	w := newWorld(t)
	a := w.node("alice")
	a.offset = 70 * time.Minute // tags differ by one hour at most
	a.start()
	a.ready()
	w.run(20 * time.Minute)
	for _, name := range []string{"bob", "carol"} {
		f := w.node(name)
		befriend(a, f)
		f.start()
		f.ready()
	}
	w.run(50 * time.Minute)
	if len(a.skew) != 1 {
		t.Errorf("told %v, want once", a.skew)
	}
}

func TestRemovalIsPutAgainWhenThePeerSpeaks(t *testing.T) {
	w, a, b := both(t)
	w.run(time.Minute)
	a.add(b.id, wire.RelationRemoved, a.friends[b.id].bond)
	w.run(5 * time.Minute)
	if a.online[b.id] {
		t.Error("still online after the removal")
	}
	from := len(w.dht.puts)
	b.do(func() { b.c.peers[a.id].probe() })
	w.run(10 * time.Second)
	if n := len(w.dht.puts) - from; n == 0 {
		t.Error("the removal is not put again")
	}
	from = len(w.dht.puts)
	for range 100 {
		a.receive(b.hello(a, func(*wire.Hello) {}), b.addr)
	}
	w.run(10 * time.Second)
	if n := len(w.dht.puts) - from; n > 1 {
		t.Errorf("%d puts for a flood of hellos", n)
	}
}

func TestABlockedPeerGetsNothing(t *testing.T) {
	w, a, b := both(t)
	w.run(time.Minute)
	a.do(func() {
		if err := a.c.SetPeer(b.id, Mode{}); err != nil {
			t.Fatal(err)
		}
	})
	w.run(time.Second)
	puts, sent := len(w.dht.puts), a.datagrams
	b.stop()
	b.start()
	b.ready()
	for range 10 {
		b.send(a, "let me in")
	}
	w.run(2 * time.Minute)
	for _, p := range w.dht.puts[puts:] {
		if _, key := a.c.peers[b.id].slotKey(crypto.Out, crypto.Week(w.now)); [32]byte(p.Key[32:]) == key {
			t.Error("something was put for a blocked peer")
		}
	}
	if a.datagrams != sent {
		t.Error("something was sent to a blocked peer")
	}
	if a.stat("drop.unwanted") == 0 {
		t.Error("drop.unwanted is not counted")
	}
}

func TestSetPeerRefusesImpossiblePairs(t *testing.T) {
	w := newWorld(t)
	a := w.node("alice")
	a.start()
	a.do(func() {
		if err := a.c.SetPeer(a.id, Mode{Poll: PollFriend}); err == nil {
			t.Error("a pair with oneself")
		}
		if err := a.c.SetPeer(crypto.ID{1}, Mode{Poll: PollFriend}); err == nil {
			t.Error("a pair with a point of small order")
		}
	})
	if len(a.c.peers) != 0 || len(a.c.tags.of) != 0 {
		t.Error("something of it is kept")
	}
}

func TestTwinsAreToldAndTheOlderYields(t *testing.T) {
	w := newWorld(t)
	b := w.node("friend")
	a1 := w.nodeAt("first", netip.MustParseAddrPort("10.9.0.1:4000"), seedIdentity(99))
	a2 := w.nodeAt("second", netip.MustParseAddrPort("10.9.0.2:4000"), seedIdentity(99))
	for _, n := range []*node{a1, a2} {
		n.add(b.id, wire.RelationFriend, 1)
	}
	b.add(a1.id, wire.RelationFriend, 1)
	a1.start()
	a1.ready()
	w.run(30 * time.Minute)
	a2.inc.Created = w.now.UnixMilli() // an import makes a new incarnation
	a2.start()
	a2.ready()
	took := w.wait("both told", 20*time.Minute, func() bool { return len(a1.twins) > 0 && len(a2.twins) > 0 })
	t.Logf("both told after %v", took)
	w.run(time.Hour)
	if len(a1.twins) != 1 || len(a2.twins) != 1 {
		t.Errorf("told %d and %d times, want once each", len(a1.twins), len(a2.twins))
	}
	if !a1.twins[0].Yield || a2.twins[0].Yield {
		t.Errorf("yield = %v, %v: want the older one to", a1.twins[0].Yield, a2.twins[0].Yield)
	}
	if a1.twins[0].Start != a2.c.Start() || a1.twins[0].Incarnation != a2.inc {
		t.Error("another twin was told of")
	}
	from := len(w.dht.puts)
	a1.do(func() { a1.c.StateNow(b.id) })
	a1.send(b, "from the one that yields")
	for range 10 {
		w.run(time.Minute)
	}
	for _, p := range w.dht.puts[from:] {
		if p.Salt == "m0" {
			t.Error("the one that yields still writes")
		}
	}
}

func TestARestoredBackupIsNoTwin(t *testing.T) {
	w, a, b := alone(t)
	backup := make(map[string][]byte)
	for k, v := range a.rows {
		backup[k] = slices.Clone(v)
	}
	a.stop()
	a.start() // a run that the backup knows nothing of
	a.ready()
	w.run(time.Minute)
	_, key := a.c.peers[b.id].slotKey(crypto.Out, crypto.Week(w.now))
	stale := w.dht.find(key, saltState)[0]
	a.do(func() { a.c.StateNow(b.id) })
	w.run(10 * time.Second)
	for _, h := range w.dht.near()[:4] { // some holders never learned of the second
		h.items[slotName(key, saltState)] = stale
	}
	version := a.c.rising.last
	a.stop()
	w.run(time.Minute)
	a.rows = backup
	a.offset = -30 * time.Minute // and its clock is behind
	a.start()
	a.ready()
	w.run(30 * time.Minute)
	if len(a.twins) != 0 {
		t.Error("a run that has ended was taken for a twin")
	}
	if a.c.rising.last <= version {
		t.Error("the backup does not go on above its past")
	}
}

func TestShutdownPutsAGoodbyeAndTheMailThatWaits(t *testing.T) {
	w, a, b := both(t)
	w.run(time.Minute)
	w.filter = func(_, to netip.AddrPort, b []byte) bool { return len(b) == 256 } // mail is lost
	a.send(b, "just before")
	w.run(100 * time.Millisecond)
	done := false
	a.do(func() { a.c.Shutdown(func() { done = true }) })
	w.wait("shutdown", 20*time.Second, func() bool { return done })
	packets := a.packets + a.datagrams
	w.run(time.Minute)
	if now := a.packets + a.datagrams; now != packets {
		t.Errorf("%d packets after the end", now-packets)
	}
	a.stop()
	w.wait("delivery", time.Minute, func() bool { return len(b.got(a)) == 1 })
	if s := b.states[a.id]; s[len(s)-1].Presence != wire.PresenceOffline {
		t.Error("the last state is no goodbye")
	}
}

func TestShutdownWithNothingToDo(t *testing.T) {
	w := newWorld(t)
	a := w.node("alice")
	a.start()
	done := 0
	a.do(func() { a.c.Shutdown(func() { done++ }) })
	a.do(func() { a.c.Shutdown(func() { done++ }) })
	w.run(time.Second)
	if done != 2 {
		t.Errorf("done was called %d times for two calls", done)
	}
	a.do(func() { a.c.Close() })
	a.do(func() { a.c.Close() })
}

func TestCloseEndsEverything(t *testing.T) {
	w, a, b := both(t)
	for range 5 {
		a.send(b, "x")
	}
	w.run(3 * time.Millisecond)
	life := a.life
	a.do(func() { a.c.Close() })
	sent, gets, puts := a.datagrams, len(w.dht.gets), len(w.dht.puts)
	b.stop()
	if a.life != life {
		t.Fatal("callbacks are not delivered any more")
	}
	w.run(time.Hour)
	if a.datagrams != sent || len(w.dht.gets) != gets || len(w.dht.puts) != puts {
		t.Error("something was sent after Close")
	}
	for _, e := range w.events {
		if e.run != nil {
			t.Fatal("timers are left after Close")
		}
	}
}

func TestProfiles(t *testing.T) {
	w, a, b := both(t)
	w.run(time.Minute)
	set := func(name string) {
		a.profile = uint64(w.now.UnixMilli())
		p := &wire.Profile{Incarnation: a.inc, Version: a.profile, Name: name}
		a.do(func() {
			a.c.ProfileChanged(p)
			a.c.StateChanged(b.id)
		})
	}
	set("Alice")
	took := w.wait("profile", time.Minute, func() bool { return b.profiles[a.id] != nil })
	if took > 100*time.Millisecond {
		t.Errorf("an online friend has the profile after %v", took)
	}
	b.stop()
	w.run(10 * time.Minute)
	set("Alice B.")
	w.run(time.Minute)
	a.stop()
	b.start()
	b.ready()
	w.wait("profile by the DHT", time.Minute, func() bool { return b.profiles[a.id].Name == "Alice B." })
	b.stop()
	b.profiles[a.id] = nil
	b.start()
	b.ready()
	w.run(time.Minute)
	if b.profiles[a.id] != nil {
		t.Error("the same profile was told again after a restart")
	}
}

func TestProfileIsNotForStrangers(t *testing.T) {
	w := newWorld(t)
	a, b := w.node("alice"), w.node("bob")
	a.add(b.id, wire.RelationRefused, 1)
	a.start()
	a.do(func() { a.c.ProfileChanged(&wire.Profile{Version: 5, Name: "Alice"}) })
	a.ready()
	w.run(time.Hour)
	if n := len(w.dht.putsOf(saltProfile, 0)); n != 0 {
		t.Errorf("%d profiles put for somebody refused", n)
	}
}
