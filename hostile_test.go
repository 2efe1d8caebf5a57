package carrier_test

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gocarrier/carrier"
	"github.com/gocarrier/carrier/carriertest"
	"github.com/gocarrier/carrier/crypto"
	"github.com/gocarrier/carrier/internal/wire"
)

const (
	hostileHeap   = 8 << 20 // bytes that an attack may leave behind in a process of some 20 nodes
	victimPerMin  = 3       // datagrams that an endpoint gets that nobody has proven
	hostileFloods = 20_000  // datagrams of the flood
)

// volume is how much of an attack a test makes: a tenth with -short.
func volume(n int) int {
	if testing.Short() {
		return n / 10
	}
	return n
}

// honest is a pair of friends who go on talking while somebody attacks.
type honest struct {
	network      *carriertest.Network
	alice, bob   *carrier.Node
	toBob, toAli *carrier.Friend
	talks        int
	heap         uint64
}

func newHonest(t *testing.T) *honest {
	t.Helper()
	h := &honest{network: carriertest.NewNetwork(t, nil)}
	h.alice, h.bob = h.network.Node("Alice"), h.network.Node("Bob")
	h.toBob, h.toAli = h.network.Befriend(h.alice, h.bob)
	h.talk(t)
	h.heap = liveHeap()
	return h
}

// talk sends a message each way, and both must come with their receipts.
func (h *honest) talk(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	h.talks++
	for _, way := range []struct {
		to     *carrier.Friend
		reader *carrier.Node
	}{{h.toBob, h.bob}, {h.toAli, h.alice}} {
		sent, err := sendAll(ctx, way.to, fmt.Sprintf("talk %d", h.talks))
		if err == nil {
			_, err = takeSame(ctx, way.reader, sent)
		}
		if err == nil {
			err = delivered(ctx, sent)
		}
		if err != nil {
			t.Fatalf("talk %d between the honest: %v", h.talks, err)
		}
	}
}

// held fails the test if the attack has left more memory behind than it may.
func (h *honest) held(t *testing.T) {
	t.Helper()
	now := liveHeap()
	t.Logf("live heap before %d KiB, after %d KiB", h.heap>>10, now>>10)
	if now > h.heap+hostileHeap {
		t.Errorf("the attack has left %d KiB of live heap behind, want at most %d", (now-h.heap)>>10, hostileHeap>>10)
	}
}

// counted fails the test unless every counter has risen since before.
func counted(t *testing.T, node *carrier.Node, before map[string]uint64, names ...string) {
	t.Helper()
	now := node.Stats()
	for _, name := range names {
		if now[name] <= before[name] {
			t.Errorf("counter %s is %d, was %d: not counted", name, now[name], before[name])
		}
	}
}

// raises fails the test unless the act raises a counter by exactly one: what was
// dropped is counted under its own name.
func raises(t *testing.T, node *carrier.Node, name string, act func()) {
	t.Helper()
	before := node.Stats()
	act()
	time.Sleep(20 * time.Millisecond)
	now := node.Stats()
	if now[name] == before[name]+1 {
		return
	}
	rose := map[string]uint64{}
	for other, n := range now {
		if n != before[other] {
			rose[other] = n - before[other]
		}
	}
	t.Errorf("counter %s rose by %d, want 1; what rose: %v", name, now[name]-before[name], rose)
}

// TestHostileDatagrams throws at a node what real nodes have sent, changed in
// every way, and datagrams with every first byte.
func TestHostileDatagrams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const seed = 1
		random := rand.New(rand.NewPCG(seed, 0))
		var record recording
		h := newHonest(t)
		h.network.Tap(record.add)
		h.network.Befriend(h.network.Node("Carol"), h.alice) // envelopes, and a link from its beginning
		h.talk(t)
		time.Sleep(time.Minute)
		record.stop() // or it would hold the flood, and be taken for a leak
		real := record.all()
		if len(real) < 50 {
			t.Fatalf("recorded %d datagrams, want more", len(real))
		}
		attacker, err := h.network.Host().ListenPacket(t.Context(), "udp4", ":0")
		if err != nil {
			t.Fatal(err)
		}
		defer attacker.Close()
		to := net.UDPAddrFromAddrPort(h.alice.LocalAddrs()[0])
		before := h.alice.Stats()
		for i := range volume(hostileFloods) {
			if _, err := attacker.WriteTo(hostileDatagram(random, real, i), to); err != nil {
				t.Fatal(err)
			}
			if i%50 == 0 {
				time.Sleep(5 * time.Millisecond)
			}
			if i%1000 == 0 {
				h.talk(t)
			}
		}
		for _, b := range real { // a source that sends many that do not open is no longer heard
			if b[0] == wire.EnvelopeByte {
				for range 150 {
					b[len(b)-1]++
					if _, err := attacker.WriteTo(b, to); err != nil {
						t.Fatal(err)
					}
				}
				time.Sleep(time.Millisecond)
			}
		}
		time.Sleep(time.Second)
		counted(t, h.alice, before,
			"udp.dropped.unknown", "udp.dropped.empty", "udp.dropped.not_turn",
			"link.mux.dropped.stun_malformed", "link.mux.dropped.handshake_no_attempt", "link.data.unknown",
			"courier.drop.tag", "courier.drop.malformed", "courier.drop.format", "courier.drop.open", "courier.drop.source")
		h.talk(t)
		h.held(t)
	})
}

// hostileDatagram is the i-th datagram of the flood.
func hostileDatagram(random *rand.Rand, real [][]byte, i int) []byte {
	noise := func(b []byte) {
		for i := range b {
			b[i] = byte(random.Uint32())
		}
	}
	if i%500 == 0 {
		return nil
	}
	if i%3 == 0 { // every first byte, and noise of every length
		b := make([]byte, 1+random.IntN(1500))
		noise(b)
		b[0] = byte(i / 3)
		return b
	}
	b := bytes.Clone(real[random.IntN(len(real))])
	switch i % 7 {
	case 0: // as it was
	case 1:
		for range 1 + random.IntN(8) {
			b[random.IntN(len(b))] ^= 1 << random.IntN(8)
		}
	case 2:
		b = b[:random.IntN(len(b))]
	case 3:
		tail := make([]byte, random.IntN(200))
		noise(tail)
		b = append(b, tail...)
	case 4: // the head of one and the tail of another
		o := real[random.IntN(len(real))]
		cut := random.IntN(min(len(b), len(o)))
		b = append(b[:cut], o[cut:]...)
	case 5: // an envelope's sealed part changed, its tag kept
		b[len(b)-1-random.IntN(max(len(b)-9, 1))] ^= 0xFF
	case 6:
		b[0] = byte(random.Uint32())
	}
	return b
}

// TestHostileFriend has a friend with real keys send everything that the rules
// forbid. Each thing is counted under its name, nothing else changes.
func TestHostileFriend(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHonest(t)
		mallory := newStranger(t, h.network)
		defer mallory.close(t)
		state := mallory.befriend(t, h.alice)
		alice := h.alice.ID()
		send := func(b []byte) { mallory.send(t, h.alice, b) }
		envelope := func(kind wire.Kind, body []byte) []byte { return mallory.envelope(t, alice, kind, body) }

		raises(t, h.alice, "courier.drop.malformed", func() { send(envelope(wire.KindHello, []byte("short"))) })
		raises(t, h.alice, "courier.drop.malformed", func() { send(envelope(wire.KindState, make([]byte, 64))) })
		raises(t, h.alice, "courier.drop.malformed", func() {
			plain := wire.AppendPlain(nil, wire.KindState, []byte("x"), 207)
			plain[206] = 1 // padding that is not zero
			send(mallory.envelopeOf(t, alice, plain))
		})
		raises(t, h.alice, "courier.drop.kind", func() {
			send(mallory.envelopeOf(t, alice, wire.AppendPlain(nil, 99, []byte("x"), 207)))
		})
		raises(t, h.alice, "courier.drop.kind", func() { send(envelope(wire.KindRequest, []byte("x"))) })
		raises(t, h.alice, "courier.drop.format", func() {
			body := mallory.state(alice, nil)
			body[64] = 200 // the record's format
			send(envelope(wire.KindState, body))
		})
		raises(t, h.alice, "courier.drop.format", func() {
			b := envelope(wire.KindState, mallory.state(alice, nil))
			b[0] = 0xC9
			send(b)
		})
		raises(t, h.alice, "courier.drop.signature.state", func() {
			body := mallory.state(alice, nil)
			body[0] ^= 1
			send(envelope(wire.KindState, body))
		})
		raises(t, h.alice, "courier.drop.unproven", func() {
			send(envelope(wire.KindMail, wire.AppendMailBody(nil, state.Prekey.Number, make([]byte, 100))))
		})
		mallory.prove(t, h.alice, state.Bond)
		raises(t, h.alice, "courier.drop.prekey", func() {
			send(envelope(wire.KindMail, wire.AppendMailBody(nil, 12345, make([]byte, 100))))
		})
		raises(t, h.alice, "courier.drop.hpke", func() {
			send(envelope(wire.KindMail, wire.AppendMailBody(nil, state.Prekey.Number, make([]byte, 100))))
		})

		hello := func(change func(*wire.Hello)) []byte {
			x := &wire.Hello{
				Incarnation: mallory.incarnation, Version: mallory.rise(), Time: time.Now().UnixMilli(), Start: 7,
				Bond: state.Bond, Nonce: 42, Presence: wire.PresenceOnline, Observed: h.alice.LocalAddrs()[0],
			}
			change(x)
			return envelope(wire.KindHello, mallory.sign("hello", alice, x.Incarnation, x.Version, wire.AppendHello(nil, x)))
		}
		once := hello(func(*wire.Hello) {})
		send(once)
		time.Sleep(20 * time.Millisecond)
		raises(t, h.alice, "courier.drop.replay.hello", func() { send(once) })
		raises(t, h.alice, "courier.drop.bond", func() { send(hello(func(x *wire.Hello) { x.Bond = 1 })) })

		// Mail that is real, and then comes again; and a batch whose numbers lie.
		mail := func(change func(*wire.Mail)) []byte {
			x := &wire.Mail{
				Sequence: wire.Sequence{Incarnation: mallory.incarnation, Counter: 1}, Generation: mallory.rise(),
				Bond: state.Bond, Base: 1, First: 1,
				Items: []wire.Item{{ID: wire.MessageID{1}, Time: time.Now().UnixMilli(), Body: []byte("from Mallory")}},
			}
			change(x)
			signed := mallory.sign("mail", alice, x.Sequence.Incarnation, x.Generation, wire.AppendMail(nil, x))
			info := append([]byte("carrier/1 mail"), mallory.identity.ID().Bytes()...)
			info = wire.AppendUint64(append(info, alice.Bytes()...), state.Prekey.Number)
			sealed, err := state.Prekey.Public.Seal(info, nil, signed)
			if err != nil {
				t.Fatal(err)
			}
			return envelope(wire.KindMail, wire.AppendMailBody(nil, state.Prekey.Number, sealed))
		}
		first := mail(func(*wire.Mail) {})
		send(first)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		shown := 0
		for msg, err := range h.alice.Messages(ctx) {
			if err != nil {
				t.Fatal(err)
			}
			if msg.From() != mallory.id() || string(msg.Body()) != "from Mallory" {
				t.Fatalf("got %q of %s", msg.Body(), msg.From())
			}
			shown++
			if err := msg.Done(); err != nil {
				t.Fatal(err)
			}
			break
		}
		raises(t, h.alice, "courier.drop.replay.mail", func() { send(first) })
		raises(t, h.alice, "delivery.duplicates", func() { send(mail(func(*wire.Mail) {})) })
		raises(t, h.alice, "delivery.faults", func() { send(mail(func(x *wire.Mail) { x.Base = 500 })) })
		raises(t, h.alice, "engine.dropped.mail.bond", func() { // one that nobody has agreed on
			send(mail(func(x *wire.Mail) { x.Bond = state.Bond + 1 }))
		})
		for i := range volume(2000) { // numbers that never become contiguous
			send(mail(func(x *wire.Mail) {
				x.First, x.Items[0].ID = uint64(3+i), wire.MessageID{2, byte(i), byte(i >> 8)}
				x.Items[0].Body = bytes.Repeat([]byte("x"), 700)
			}))
			if i%20 == 0 {
				time.Sleep(50 * time.Millisecond)
			}
		}

		// Receipts for what was never sent, and windows that lie.
		before := h.alice.Stats()
		for i := range 50 {
			body := mallory.state(alice, func(x *wire.State) {
				x.Bond = state.Bond
				x.Receipt = &wire.Receipt{
					Sequence: wire.Sequence{Incarnation: mallory.incarnation, Counter: uint32(i)}, Number: math.MaxUint64 - uint64(i), Known: wire.InFlight,
				}
				x.Window = &wire.Window{Sequence: wire.Sequence{Counter: uint32(i)}}
				for slot := range uint8(wire.MaxSlots) {
					x.Window.Slots = append(x.Window.Slots, wire.WindowSlot{Slot: slot, Generation: math.MaxUint64 - uint64(i)})
				}
			})
			send(envelope(wire.KindState, body))
			time.Sleep(time.Second)
		}
		counted(t, h.alice, before, "courier.slot.miss")
		gets := h.alice.Stats()["engine.dht.get"] - before["engine.dht.get"]
		t.Logf("50 lying windows of 8 slots in 50 s made %d DHT lookups", gets)
		if gets > 400 {
			t.Errorf("50 lying windows made %d DHT lookups, want at most 400", gets)
		}

		// Endless questions.
		before = h.alice.Stats()
		sentBefore := before["courier.sent.datagrams"]
		for range volume(10_000) {
			send(hello(func(*wire.Hello) {}))
			time.Sleep(100 * time.Microsecond)
		}
		time.Sleep(time.Second)
		counted(t, h.alice, before, "courier.drop.flood")
		if n := h.alice.Stats()["courier.sent.datagrams"] - sentBefore; n > 100 {
			t.Errorf("a flood of questions was answered by %d datagrams, want at most 100", n)
		}
		if shown != 1 {
			t.Errorf("%d messages of Mallory were shown, want 1", shown)
		}
		h.talk(t)
		h.held(t)
	})
}

// TestHostileEndpoints has a friend name a victim's addresses as its own, again
// and again. The victim gets no more than 3 datagrams a minute at one address,
// and as a host what the budget for one destination allows.
func TestHostileEndpoints(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHonest(t)
		mallory := newStranger(t, h.network)
		defer mallory.close(t)
		victim := newStranger(t, h.network)
		defer victim.close(t)
		var mu sync.Mutex
		got := map[int][]time.Duration{} // by victim's port
		begun := time.Now()
		h.network.Tap(func(_, to netip.AddrPort, b []byte) {
			if to.Addr() == victim.host && len(b) > 0 && b[0] == wire.EnvelopeByte {
				mu.Lock()
				got[int(to.Port())] = append(got[int(to.Port())], time.Since(begun))
				mu.Unlock()
			}
		})
		state := mallory.befriend(t, h.alice, victim.addr())
		for i := range max(volume(300), 60) {
			body := mallory.state(h.alice.ID(), func(x *wire.State) {
				x.Bond, x.Start = state.Bond, uint64(100+i) // as if it had restarted, each time
				x.Endpoints = []netip.AddrPort{victim.addr()}
			})
			mallory.send(t, h.alice, mallory.envelope(t, h.alice.ID(), wire.KindState, body))
			time.Sleep(2 * time.Second)
		}
		mu.Lock() // not held below: the tap takes it too
		mine := maps.Clone(got)
		mu.Unlock()
		total := 0
		for port, times := range mine {
			total += len(times)
			for i := range times {
				n := 0
				for _, at := range times[i:] {
					if at-times[i] < time.Minute {
						n++
					}
				}
				if n > victimPerMin {
					t.Fatalf("port %d of the victim got %d datagrams within a minute from %v on, want at most %d", port, n, times[i], victimPerMin)
				}
			}
		}
		if total == 0 {
			t.Error("the victim got no datagram: the attack was none")
		}
		t.Logf("the victim got %d datagrams in %v", total, time.Since(begun).Round(time.Second))
		h.talk(t)
		h.held(t)
	})
}

// TestPoisonedRequests has somebody who knows an Address fill its buckets and
// its bell with all that may stand there and should not.
func TestPoisonedRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHonest(t)
		mallory := newStranger(t, h.network)
		defer mallory.close(t)
		address := h.alice.Address()
		day := crypto.Day(time.Now())
		ahead := time.Now().Add(23 * time.Hour).UnixMilli()
		junk := bytes.Repeat([]byte("junk"), 225)
		before := h.alice.Stats()
		for bucket := range uint32(crypto.FixedBuckets) { // under the highest seq that nodes take
			value := junk
			if 1 <= bucket && bucket <= 9 {
				value = poison(t, mallory, address, int(bucket))
			}
			mallory.put(t, address.RequestSlot(day, crypto.FirstFixedBucket+bucket), value, ahead)
		}
		bell := address.RequestBell(day)
		for port := uint16(1); port <= 60; port++ {
			if _, err := mallory.dht.Announce(t.Context(), bell, port); err != nil {
				t.Fatal(err)
			}
			if port%6 == 0 {
				mallory.put(t, address.RequestSlot(day, uint32(port)), junk, ahead)
			}
		}
		time.Sleep(45 * time.Minute) // the fixed buckets are read every 30, one by one
		counted(t, h.alice, before,
			"courier.drop.request.open", "courier.drop.request.nospam", "courier.drop.request.from",
			"courier.drop.request.expired", "friendship.dropped.number", "courier.drop.signature.request",
			"courier.drop.kind", "courier.drop.malformed", "courier.drop.format")
		if n := len(h.alice.Requests()); n != 0 {
			t.Errorf("%d requests are pending, want none: %+v", n, h.alice.Requests())
		}
		h.talk(t)

		// Somebody honest asks meanwhile.
		carol := h.network.Node("Carol")
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
		defer cancel()
		events := h.alice.Events(ctx)
		begun := time.Now()
		if _, err := carol.AddFriend(ctx, address, "I am no poison"); err != nil {
			t.Fatal(err)
		}
		if _, err := requestOf(events, carol.ID()); err != nil {
			t.Fatal(err)
		}
		t.Logf("an honest request among the poison was seen after %v (virtual)", time.Since(begun).Round(time.Millisecond))
		h.held(t)
	})
}

// poison is one request that must not be taken, each of another kind.
func poison(t *testing.T, by *stranger, to crypto.Address, kind int) []byte {
	t.Helper()
	now := time.Now()
	r := &wire.Request{
		From: by.id(), Incarnation: by.incarnation, Nospam: to.Nospam, Number: by.rise(), Time: now.UnixMilli(),
		Expiry: now.Add(time.Hour).UnixMilli(), Format: wire.Format, Name: "poison", Prekey: wire.Prekey{Number: 1},
	}
	sealKind := wire.KindRequest
	switch kind {
	case 1:
		r.Nospam[0] ^= 1
	case 2:
		r.From = to.ID
	case 3:
		r.Expiry = now.Add(-time.Hour).UnixMilli()
	case 4:
		r.Number = 1 << 63 // there would be no higher one
	case 5: // of another key
		r.From = crypto.NewIdentity().ID()
	case 6:
		sealKind = wire.KindState
	}
	record := wire.AppendRequest(nil, r)
	body := by.sign("request", to.ID, r.Incarnation, r.Number, record)
	switch kind {
	case 7:
		body = body[:len(body)-3]
	case 8:
		body[64] = 200 // the record's format
	case 9:
		body = body[:10]
	}
	size, ok := wire.PadRequest(len(body))
	if !ok {
		t.Fatal("the poison is too long")
	}
	info := append([]byte("carrier/1 request"), to.ID.Bytes()...)
	value, err := to.ID.Seal(info, nil, wire.AppendPlain(nil, sealKind, body, size))
	if err != nil {
		t.Fatal(err)
	}
	if kind == 10 {
		value[len(value)-1] ^= 1
	}
	return value
}

// TestHostileDHT has a third of the DHT lie: its nodes answer every question
// for an item with stale, forged, oversized or other people's items. Friends
// still meet and leave messages for each other.
func TestHostileDHT(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := carriertest.NewNetwork(t, nil)
		liars := newLiars(t, network, 8)
		defer liars.close()
		h := &honest{network: network, alice: network.Node("Alice"), bob: network.Node("Bob")}
		liars.meet(t, h.alice, h.bob)
		time.Sleep(time.Minute)
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Minute)
		defer cancel()
		events, begun := h.bob.Events(ctx), time.Now()
		var err error
		if h.toBob, err = h.alice.AddFriend(ctx, h.bob.Address(), ""); err != nil {
			t.Fatal(err)
		}
		if _, err := requestOf(events, h.alice.ID()); err != nil {
			t.Fatal(err)
		}
		t.Logf("a friend request among the liars was seen after %v (virtual)", time.Since(begun).Round(time.Millisecond))
		if h.toAli, err = h.bob.Accept(h.alice.ID()); err != nil {
			t.Fatal(err)
		}
		if err := h.toBob.WaitAccepted(ctx); err != nil {
			t.Fatal(err)
		}
		h.talk(t)
		h.heap = liveHeap()
		for i := range max(volume(5), 1) {
			network.Partition(h.alice) // Bob does not see her: what is sent waits for her
			time.Sleep(2 * time.Minute)
			sent, err := sendAll(t.Context(), h.toAli, fmt.Sprintf("left behind %d", i))
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(20 * time.Second)
			network.Heal()
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Minute)
			if _, err := takeSame(ctx, h.alice, sent); err != nil {
				t.Fatal(err)
			}
			if err := delivered(ctx, sent); err != nil {
				t.Fatal(err)
			}
			cancel()
		}
		if liars.answered() == 0 {
			t.Error("the liars were asked nothing: the attack was none")
		}
		counted(t, h.alice, nil, "dht.item_wrong_key")
		if h.alice.Stats()["dht.item_bad_signature"]+h.bob.Stats()["dht.item_bad_signature"] == 0 {
			t.Error("nobody counted a wrong signature")
		}
		items := map[string]uint64{}
		for name, n := range h.alice.Stats() {
			if strings.HasPrefix(name, "dht.item") || strings.HasPrefix(name, "dht.packet_bad") {
				items[name] = n
			}
		}
		t.Logf("liars answered %d questions for items; Alice counted %v", liars.answered(), items)
		h.talk(t)
		h.held(t)
	})
}
