package courier

import (
	"math"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gocarrier/carrier/crypto"
	"github.com/gocarrier/carrier/internal/wire"
)

// lies is a window of mail slots that hold nothing, of that generation.
func lies(generation uint64) func(*wire.State) {
	return func(s *wire.State) {
		s.Window = &wire.Window{Sequence: wire.Sequence{Counter: 1}}
		for i := range uint8(wire.MaxSlots) {
			s.Window.Slots = append(s.Window.Slots, wire.WindowSlot{Slot: i, Generation: generation})
		}
	}
}

// Records whose endpoints change all the time must not fill the line of work
// that waits, nor take from others what is not sent.
func TestChangingClaimsQueueNoWork(t *testing.T) {
	w, a, b := both(t)
	w.filter = func(_, to netip.AddrPort, _ []byte) bool { return to != b.addr } // and b answers nothing
	w.wait("offline", time.Minute, func() bool { return !a.online[b.id] })
	a.do(func() { a.c.budget.spend(-budgetDebt) })
	port := 2000
	for range 3000 {
		var addrs []netip.AddrPort
		for range wire.MaxEndpoints {
			port++
			addrs = append(addrs, victim(port%200, 1024+port%60000))
		}
		b.claim(a, addrs...)
		w.run(20 * time.Millisecond)
	}
	if n := a.c.budget.wait(); n > 10 {
		t.Errorf("%d jobs wait for a minute of changing claims, want a few", n)
	}
	tokens := a.c.budget.tokens
	for range 600 { // what is held is not charged
		b.claim(a, victim(1, 5000))
		w.run(100 * time.Millisecond)
	}
	if got := a.c.budget.tokens - tokens; got < 20*budgetRate {
		t.Errorf("the bucket has filled by %.0f in a minute of claims that are not sent to", got)
	}
}

// Two friends whose records make us look for mail that is not there must not
// keep us from looking for the others.
func TestLyingFriendsLeaveTheOthersTheirShare(t *testing.T) {
	w, a, b := apart(t)
	var liars []*node
	for _, name := range []string{"mallory", "trudy", "eve"} {
		n := w.node(name)
		befriend(a, n)
		n.start()
		n.ready()
		liars = append(liars, n)
	}
	w.run(time.Minute)
	generation := uint64(1 << 60)
	lie := func(d time.Duration) {
		for range d / time.Second {
			generation++
			for _, n := range liars {
				a.receive(n.state(a, lies(generation)), n.addr)
			}
			w.run(time.Second)
		}
	}
	lie(10 * time.Minute)
	states := len(a.states[b.id])
	b.do(func() { b.c.StateNow(a.id) })
	lie(5 * time.Minute) // he is asked for each 10 s, when all is well
	if len(a.states[b.id]) == states {
		t.Errorf("a friend was not looked for in 5 minutes: the bucket holds %.0f, %d jobs wait", a.c.budget.tokens, a.c.budget.wait())
	}
	b.send(a, "by the mailbox")
	lie(5 * time.Minute)
	if len(a.got(b)) != 1 {
		t.Errorf("a friend's mail was not read in 5 minutes: %d readings held", a.stat("reading.held"))
	}
	if a.stat("reading.held") == 0 {
		t.Error("the attack was none")
	}
}

// Whoever has seen a tag can forge its sender's address. What does not open from
// there must not shut the friend out.
func TestAForgedSourceDoesNotSilenceAFriend(t *testing.T) {
	w, a, b := both(t)
	w.run(time.Minute)
	for range 120 * 10 {
		junk := b.hello(a, func(*wire.Hello) {})
		junk[len(junk)-1]++
		for range 10 {
			a.receive(junk, b.addr)
		}
		w.run(100 * time.Millisecond)
	}
	if !a.online[b.id] {
		t.Fatal("the friend is offline")
	}
	b.send(a, "still here")
	w.wait("mail", time.Second, func() bool { return len(a.got(b)) == 1 })
	if got := a.friends[b.id].got[0].via; got != ViaDirect {
		t.Errorf("mail came via %v", got)
	}
	if a.stat("drop.open") == 0 {
		t.Error("the attack was none")
	}
}

// Everybody who has an Address can write into its buckets, and so say by which
// seq we must go above. Our own numbers, which all friends see, do not follow:
// else one who asks a friend's clock a little behind ours would not be read.
func TestTheSeqOfABucketDoesNotMoveOurNumbers(t *testing.T) {
	w := newRequesters(t)
	a, b := w.begun("alice"), w.node("mallory")
	seq := w.now.Add(24*time.Hour - time.Minute).UnixMilli()
	for bucket := range uint32(crypto.FixedBuckets) {
		key := b.address(1).RequestSlot(crypto.Day(w.now), crypto.FirstFixedBucket+bucket)
		w.dht.put(Item{Key: [32]byte(key[32:]), Value: []byte("another's"), Seq: seq}, nil)
	}
	a.ask(b.address(1), "hi")
	w.run(10 * time.Minute)
	if got := a.c.rising.last; got > uint64(w.now.Add(time.Minute).UnixMilli()) {
		t.Errorf("our numbers are %v ahead of the clock", time.UnixMilli(int64(got)).Sub(w.now))
	}
	if i := w.dht.find([32]byte(b.address(1).RequestSlot(crypto.Day(w.now), crypto.FixedBucket(a.id))[32:]), ""); i[0].Seq <= seq {
		t.Error("the request did not go above what stood in the bucket")
	}
}

// What was recorded before a restart is known after it: hellos and receipts
// carry numbers of the same line as the state that was saved last.
func TestReplaysAfterARestart(t *testing.T) {
	w, a, b := both(t)
	w.keep = true
	w.run(time.Minute)
	b.send(a, "x")
	a.send(b, "y")
	w.run(time.Minute)
	record := w.wire
	w.wire, w.keep = nil, false
	b.do(func() { b.c.StateChanged(a.id) })
	w.run(2 * time.Second)
	b.stop()
	a.stop()
	w.run(40 * time.Minute)
	a.start()
	a.ready()
	w.run(time.Minute)
	seen, sent := a.c.LastSeen(b.id), a.datagrams
	elsewhere, n := victim(9, 9999), 0
	for _, d := range record {
		if d.to == a.addr && len(d.b) == 256 {
			a.receive(d.b, elsewhere)
			n++
		}
	}
	w.run(0)
	if n < 10 {
		t.Fatalf("only %d hellos and receipts were recorded", n)
	}
	if got := a.c.LastSeen(b.id); got != seen {
		t.Errorf("replays were taken for a sign of life %v ago", w.now.Sub(got))
	}
	if a.datagrams != sent {
		t.Errorf("replays were answered %d times, elsewhere", a.datagrams-sent)
	}
	if a.stat("drop.replay.hello") == 0 || a.stat("drop.replay.receipt") == 0 {
		t.Errorf("replays are not counted: %v", a.c.Stats())
	}
}

// Mail datagrams that were recorded come again for hours, one by one: they are
// no sign of life, and put nothing.
func TestReplayedMailIsNoSignOfLife(t *testing.T) {
	w, a, b := both(t)
	w.keep = true
	for i := range 200 {
		b.send(a, string(rune('a'+i%26)))
		w.run(100 * time.Millisecond)
	}
	w.wait("all", time.Minute, func() bool { return len(a.got(b)) == 200 })
	record := w.wire
	w.wire, w.keep = nil, false
	w.run(2 * time.Minute) // hellos go on
	b.stop()
	w.wait("offline", time.Minute, func() bool { return !a.online[b.id] })
	w.run(time.Minute)
	seen, puts := a.c.LastSeen(b.id), len(w.dht.puts)
	for _, d := range record {
		if d.to == a.addr {
			a.receive(d.b, d.from)
			w.run(10 * time.Second)
		}
	}
	if got := a.c.LastSeen(b.id); got != seen {
		t.Errorf("replays were taken for a sign of life %v ago", w.now.Sub(got))
	}
	if n := len(w.dht.puts) - puts; n > 10 { // what is put again each 15 minutes
		t.Errorf("replays made %d puts", n)
	}
	if got := len(a.got(b)); got != 200 {
		t.Errorf("%d messages", got)
	}
}

// A friend has all that we ever signed to it, and the key of our slot to it.
// With records of a run that this store knows nothing of (it is a backup) it
// must not make a twin: we might stop writing to everybody.
func TestAFriendCannotMakeATwinOfOurPast(t *testing.T) {
	w, a, b := alone(t)
	backup := make(map[string][]byte)
	for k, v := range a.rows {
		backup[k] = slices.Clone(v)
	}
	a.stop()
	a.start() // a run that the backup knows nothing of
	a.ready()
	var past []Item
	_, key := a.c.peers[b.id].slotKey(crypto.Out, crypto.Week(w.now))
	for range 6 {
		w.run(20 * time.Second)
		past = append(past, w.dht.find(key, saltState)[0])
		a.do(func() { a.c.StateNow(b.id) })
	}
	a.stop()
	w.run(time.Minute)
	a.rows = backup
	for n, i := range past {
		i.Seq = w.now.Add(time.Hour).UnixMilli() // above ours: whoever has the slot's key can
		for _, h := range w.dht.near() {
			h.items[slotName(key, saltState)] = i
		}
		if n == 0 {
			a.start()
			a.ready()
		}
		a.do(func() { a.c.StateNow(b.id) })
		w.run(90 * time.Second)
	}
	if len(a.c.twins.others) == 0 {
		t.Fatal("nothing was suspected: the attack was none")
	}
	if len(a.twins) != 0 {
		t.Errorf("our own past was taken for a twin: %+v", a.twins)
	}
	if a.c.mute() {
		t.Error("we stopped writing")
	}
}

// Two friends who change what they say of the time are heard seldom.
func TestAClockIsToldSeldom(t *testing.T) {
	w := newWorld(t)
	a := w.node("alice")
	a.start()
	a.ready()
	var friends []*node
	for _, name := range []string{"mallory", "trudy"} {
		f := w.node(name)
		befriend(a, f)
		f.start()
		f.ready()
		friends = append(friends, f)
	}
	w.run(time.Minute)
	for i := range 1000 {
		for _, f := range friends {
			a.receive(f.state(a, func(s *wire.State) {
				if i%2 == 0 {
					s.Time += (24 * time.Hour).Milliseconds()
				}
				if i%10 == 5 {
					s.Time = math.MaxInt64
				}
			}), f.addr)
		}
		w.run(5 * time.Second)
	}
	if n := len(a.skew); n < 1 || n > 4 { // in 83 minutes; each second one is the end
		t.Errorf("told of the clock %d times", n)
	}
	for i, d := range a.skew {
		if (d == 0) != (i%2 == 1) {
			t.Errorf("told of the clock %v, want what it is and its end in turn", a.skew)
			break
		}
	}
}

// Strangers whom we have refused may write to us, but are no friends.
func TestRefusedStrangersHaveNoSayOnTheClock(t *testing.T) {
	w := newWorld(t)
	a := w.node("alice")
	a.start()
	a.ready()
	var strangers []*node
	for _, name := range []string{"mallory", "trudy"} {
		n := w.node(name)
		n.start()
		a.add(n.id, wire.RelationRefused, 5)
		n.add(a.id, wire.RelationFriend, 5)
		strangers = append(strangers, n)
	}
	for _, n := range strangers {
		a.receive(n.state(a, func(s *wire.State) { s.Time += (3 * time.Hour).Milliseconds() }), n.addr)
	}
	w.run(time.Minute)
	if len(a.states[strangers[0].id]) == 0 {
		t.Fatal("their states were not taken: the attack was none")
	}
	if len(a.skew) != 0 {
		t.Errorf("two refused strangers have told us of a wrong clock: %v", a.skew)
	}
}

// Each answer draws one of our rising numbers, which must not run ahead of the
// clock: nobody reads what is more than a day ahead.
func TestQuestionsDrawFewNumbers(t *testing.T) {
	w, a, b := both(t)
	w.run(time.Minute)
	begun, sent := w.now, a.datagrams
	for range 5 * 50 {
		for range 16 {
			a.receive(b.hello(a, func(h *wire.Hello) { h.Nonce++ }), b.addr)
		}
		w.run(20 * time.Millisecond)
	}
	if n, most := a.datagrams-sent, int(w.now.Sub(begun)/time.Second)*25+40; n > most {
		t.Errorf("%d datagrams for 4,000 questions in 5 s, want %d at most", n, most)
	}
	if !a.online[b.id] {
		t.Error("the friend is offline")
	}
}

// Ten friends who all the time have us put our state must not keep us from
// looking for the others.
func TestProvokedPutsLeaveTheOthersTheirShare(t *testing.T) {
	w, a, b := apart(t)
	w.filter = func(from, to netip.AddrPort, _ []byte) bool { return from != b.addr && to != b.addr }
	var gang []*node
	for i := range 15 {
		n := w.node(string(rune('c' + i)))
		befriend(a, n)
		n.start()
		n.ready()
		gang = append(gang, n)
	}
	w.run(5 * time.Minute)
	prekey := uint64(1000)
	provoke := func(d time.Duration) {
		for range d / time.Second {
			prekey++
			// Mail to a prekey that never was: nobody opens it, and the next state names it.
			body := wire.AppendMailBody(nil, prekey, make([]byte, 250))
			for _, n := range gang {
				var d []byte
				n.do(func() { d = n.c.peers[a.id].sealDatagram(wire.KindMail, body) })
				a.receive(d, n.addr)
			}
			w.run(time.Second)
		}
	}
	rounds := 3
	if testing.Short() {
		rounds = 1
	}
	provoke(time.Duration(rounds) * 2 * time.Minute)
	for range rounds {
		states := len(a.states[b.id])
		b.do(func() { b.c.StateNow(a.id) })
		provoke(time.Minute) // he is asked for each 10 s, when all is well
		if len(a.states[b.id]) == states {
			t.Errorf("a friend was not looked for in a minute: the bucket holds %.0f, %d jobs wait", a.c.budget.tokens, a.c.budget.wait())
		}
	}
	if a.stat("hurry.held") == 0 {
		t.Error("the attack was none")
	}
}

// Whoever has recorded a friend's envelopes can send them again as fast as it
// likes: what the friend sends now gets through all the same.
func TestReplaysDoNotSilenceAFriend(t *testing.T) {
	w, a, b := both(t)
	w.keep = true
	w.run(time.Minute)
	for range 30 {
		b.do(func() {
			for range 50 {
				b.queue(a, strings.Repeat("x", 600))
			}
			b.c.MailChanged(a.id)
			b.c.StateChanged(a.id)
		})
		w.run(time.Second)
	}
	var record []datagram
	for _, d := range w.wire {
		if d.to == a.addr {
			record = append(record, d)
		}
	}
	w.wire, w.keep = nil, false
	if len(record) < 700 {
		t.Fatalf("only %d envelopes were recorded", len(record))
	}
	got := len(a.got(b))
	flood := func(d time.Duration) {
		for range d / (10 * time.Millisecond) {
			for range 20 { // 2,000 a second
				d := record[w.random.IntN(len(record))]
				a.receive(d.b, d.from)
			}
			w.run(10 * time.Millisecond)
		}
	}
	flood(5 * time.Second)
	puts := len(w.dht.puts)
	for i := range 20 {
		b.send(a, string(rune('a'+i)))
		flood(50 * time.Millisecond)
	}
	if n := len(a.got(b)) - got; n != 20 {
		t.Errorf("%d of 20 messages came through", n)
	}
	flood(30 * time.Second)
	for _, g := range a.friends[b.id].got[got:] {
		if g.via != ViaDirect {
			t.Fatalf("mail came via %v", g.via)
		}
	}
	if n := len(w.dht.putsOf("m0", puts)); n != 0 {
		t.Errorf("%d puts of mail", n)
	}
	if !a.online[b.id] || !b.online[a.id] {
		t.Error("offline by it")
	}
	if a.stat("drop.replay.mail") < 10_000 || a.stat("drop.flood") != 0 {
		t.Errorf("drop.replay.mail = %d, drop.flood = %d", a.stat("drop.replay.mail"), a.stat("drop.flood"))
	}
}

// A friend whose prekey changes all the time, while mail waits for it, does not
// have us put that mail all the time.
func TestChangingPrekeysCostLittle(t *testing.T) {
	w, a, b := apart(t)
	w.run(5 * time.Second)
	for range wire.MaxSlots {
		a.queue(b, strings.Repeat("x", wire.MaxSlotBody))
	}
	a.do(func() { a.c.MailChanged(b.id) })
	w.wait("stored", time.Minute, func() bool { return len(a.friends[b.id].stored) == wire.MaxSlots })
	b.full = true
	from, mails := len(w.dht.puts), 0
	for i := range 300 {
		a.receive(b.state(a, func(s *wire.State) { s.Prekey.Number += uint64(i) + 1 }), b.addr)
		w.run(time.Second)
	}
	for _, p := range w.dht.puts[from:] {
		if strings.HasPrefix(p.Salt, "m") {
			mails++
		}
	}
	if mails < wire.MaxSlots || mails > 12+30+10 {
		t.Errorf("%d puts of mail for 300 prekeys in 5 minutes, want 12 and one in 10 s", mails)
	}
}

func TestNoncesAreBounded(t *testing.T) {
	var n nonces
	nonce := func(i int) [8]byte { return [8]byte{byte(i), byte(i >> 8), byte(i >> 16)} }
	for i := range 3 * replayKept {
		if n.seen(nonce(i)) {
			t.Fatalf("nonce %d is new", i)
		}
		if !n.seen(nonce(max(i-replayKept+1, 0))) {
			t.Fatalf("the oldest that should be known is not, after %d", i)
		}
	}
	if n.seen(nonce(replayKept)) || len(n.known) != replayKept || len(n.order) != replayKept {
		t.Errorf("%d nonces are known", len(n.known))
	}
}
