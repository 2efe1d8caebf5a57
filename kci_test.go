package carrier_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/binary"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gocarrier/carrier"
	"github.com/gocarrier/carrier/carriertest"
	"github.com/gocarrier/carrier/crypto"
	"github.com/gocarrier/carrier/dht"
	"github.com/gocarrier/carrier/internal/lab"
	"github.com/gocarrier/carrier/internal/store"
	"github.com/gocarrier/carrier/internal/wire"
)

// theft is Alice, whose whole identity a thief has, and her friend Bob, of whom
// the thief has nothing. Bob is played by hand, so that what he says and what is
// said in his name differ in the signature alone.
type theft struct {
	t       *testing.T
	network *carriertest.Network
	disk    *disk      // Alice's
	home    netip.Addr // Alice's address
	alice   *carrier.Node
	toBob   *carrier.Friend
	news    *recorder
	bob     *stranger
	bobs    carrier.Net // his host
	theirs  *wire.State // of Alice, as Bob and the thief read it

	thief  *stranger // with an identity, an address and a DHT node of its own
	seed   []byte    // Alice's
	nospam crypto.Nospam
	stolen *crypto.Identity
	seq    int64
}

// newTheft makes Alice and Bob friends, with Bob away and two messages for him
// waiting in the DHT, and then steals her identity. If the role matters, Bob is
// "client" or "server" in the handshake of a link.
func newTheft(t *testing.T, network *carriertest.Network, role string) *theft {
	t.Helper()
	x := &theft{t: t, network: network, disk: newDisk(), bobs: network.Host(), thief: newStranger(t, network)}
	x.bob = newStrangerOn(t, network, x.bobs)
	host := network.Host().(*lab.Host)
	x.home = addrs(t, host)[0]
	config := carrier.Config{Name: "Alice", Net: host}
	config.Hook(&crashStore{disk: x.disk, commits: func([]store.Op) {}, crashed: func() {}}, x.disk.prekeys, nil)
	x.alice = network.Start(config)
	if err := x.alice.WaitReady(within(t, patience)); err != nil {
		t.Fatal(err)
	}
	for role != "" && (role == "client") != (x.bob.id().Compare(x.alice.ID()) < 0) {
		x.bob.identity = crypto.NewIdentity()
	}
	x.theirs = x.bob.befriend(t, x.alice, x.bob.addr())
	var err error
	if x.toBob, err = x.alice.Friend(x.bob.id()); err != nil {
		t.Fatal(err)
	}
	for i := range 2 {
		if _, err := x.toBob.Send(t.Context(), fmt.Appendf(nil, "for Bob %d", i), nil); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "Alice's messages are stored", func() bool {
		return !slices.ContainsFunc(x.alice.Outbox(), func(m *carrier.Message) bool { return m.State().Status != carrier.MessageStored })
	})
	export, err := x.alice.ExportIdentity()
	if err != nil {
		t.Fatal(err)
	}
	export = export[len("carrier identity 1\n"):]
	x.seed = export[:32]
	copy(x.nospam[:], export[32:40])
	if x.stolen, err = crypto.IdentityFromSeed(x.seed); err != nil {
		t.Fatal(err)
	}
	if x.stolen.ID() != x.alice.ID() || x.nospam != x.alice.Address().Nospam {
		t.Fatal("the export is not Alice's identity")
	}
	x.news = record(t, x.alice)
	return x
}

func (x *theft) close() {
	x.bob.close(x.t)
	x.thief.close(x.t)
}

// words are what somebody could say to Alice: a record, and what a signature of it
// covers.
type words struct {
	from        *stranger
	kind        wire.Kind
	typ         string
	incarnation crypto.Incarnation
	version     uint64
	record      []byte
}

// signed gives signature ‖ record, signed by any key and for any two IDs. The
// transcript is written by docs/SPEC.md: package crypto signs for its owner only.
func (w words) signed(seed []byte, from, to carrier.ID) []byte {
	var b []byte
	for _, field := range [][]byte{
		[]byte("carrier/1 signed"), []byte(w.typ), from.Bytes(), to.Bytes(),
		binary.BigEndian.AppendUint64(nil, uint64(w.incarnation.Created)),
		binary.BigEndian.AppendUint64(nil, w.incarnation.Random),
		binary.BigEndian.AppendUint64(nil, w.version), w.record,
	} {
		b = append(binary.BigEndian.AppendUint32(b, uint32(len(field))), field...)
	}
	sig := ed25519.Sign(ed25519.NewKeyFromSeed(seed), b)
	return wire.AppendSigned(nil, crypto.Signature(sig), w.record)
}

// genuine gives the words as whose they are signs them.
func (x *theft) genuine(w words) []byte {
	return w.signed(w.from.identity.InsecureSeed(), w.from.id(), x.alice.ID())
}

// forged gives the same words with every signature that the thief can get.
func (x *theft) forged(w words) map[string][]byte {
	from, alice, thief := w.from.id(), x.alice.ID(), x.thief.id()
	theirs := w.from.identity.InsecureSeed()
	earlier := w // which were recorded
	earlier.record = slices.Clone(w.record)
	earlier.record[len(earlier.record)-1] ^= 1
	other := w
	other.typ = "other"
	return map[string][]byte{
		"nobody's":                      wire.AppendSigned(nil, crypto.Signature{}, w.record),
		"the thief's":                   w.signed(x.thief.identity.InsecureSeed(), from, alice),
		"Alice's":                       w.signed(x.seed, from, alice),
		"Alice's own, as they went out": w.signed(x.seed, alice, from),
		"Alice's to herself":            w.signed(x.seed, alice, alice),
		"theirs to the thief":           w.signed(theirs, from, thief),
		"theirs of another kind":        other.signed(theirs, from, alice),
		"theirs of other words":         append(earlier.signed(theirs, from, alice)[:64:64], w.record...),
	}
}

// pair is what Alice shares with a person.
func (x *theft) pair(with carrier.ID) *crypto.Pair {
	x.t.Helper()
	pair, err := x.stolen.Pair(with)
	if err != nil {
		x.t.Fatal(err)
	}
	return pair
}

// wrap gives the body of an envelope: what was signed, mail sealed to Alice's prekey.
func (x *theft) wrap(w words, signed []byte) []byte {
	x.t.Helper()
	if w.kind != wire.KindMail {
		return signed
	}
	number := x.theirs.Prekey.Number
	info := append([]byte("carrier/1 mail"), w.from.id().Bytes()...)
	info = wire.AppendUint64(append(info, x.alice.ID().Bytes()...), number)
	sealed, err := x.theirs.Prekey.Public.Seal(info, nil, signed)
	if err != nil {
		x.t.Fatal(err)
	}
	return wire.AppendMailBody(nil, number, sealed)
}

// datagram sends a body to Alice as of a person, in an envelope made with
// Alice's key, from the person's own address or the thief's.
func (x *theft) datagram(w words, body []byte, spoofed bool) {
	x.t.Helper()
	size, ok := wire.PadDatagram(len(body))
	if !ok {
		x.t.Fatalf("a %s of %d bytes is too long for a datagram", w.typ, len(body))
	}
	pair, hour := x.pair(w.from.id()), crypto.Hour(time.Now())
	head := wire.AppendEnvelope(nil, pair.Tag(crypto.In, hour), nil)
	b := pair.Key(crypto.In, crypto.HourWeek(hour)).Seal(head, head, wire.AppendPlain(nil, w.kind, body, size))
	if spoofed {
		w.from.send(x.t, x.alice, b)
	} else {
		x.thief.send(x.t, x.alice, b)
	}
}

// slot puts a body into a slot to Alice of a person's, by the key that Alice's
// gives, and returns the value.
func (x *theft) slot(w words, salt string, body []byte) []byte {
	x.t.Helper()
	size, ok := wire.PadSlot(len(body))
	if !ok {
		x.t.Fatalf("a %s of %d bytes is too long for a slot", w.typ, len(body))
	}
	pair, week := x.pair(w.from.id()), crypto.Week(time.Now())
	key := pair.Slot(crypto.In, week)
	ad := append([]byte(key[32:]), salt...)
	value := pair.Key(crypto.In, week).Seal(nil, ad, wire.AppendPlain(nil, w.kind, body, size))
	x.put(key, salt, value)
	return value
}

// bucket puts a request into the fixed bucket of whose it is said to be and into
// a random one, which is announced.
func (x *theft) bucket(w words, signed []byte) {
	x.t.Helper()
	size, ok := wire.PadRequest(len(signed))
	if !ok {
		x.t.Fatal("the request is too long")
	}
	value, err := x.alice.ID().Seal(append([]byte("carrier/1 request"), x.alice.ID().Bytes()...), nil,
		wire.AppendPlain(nil, wire.KindRequest, signed, size))
	if err != nil {
		x.t.Fatal(err)
	}
	x.fill(w.from, value)
}

// fill puts a value into buckets of Alice's.
func (x *theft) fill(from *stranger, value []byte) {
	x.t.Helper()
	day := crypto.Day(time.Now())
	to := carrier.Address{ID: x.alice.ID(), Nospam: x.nospam}
	bucket := uint16(x.rise())
	x.put(to.RequestSlot(day, crypto.FixedBucket(from.id())), "", value)
	x.put(to.RequestSlot(day, uint32(bucket)), "", value)
	if _, err := x.thief.dht.Announce(x.t.Context(), to.RequestBell(day), bucket); err != nil {
		x.t.Fatal(err)
	}
}

// rise gives a seq above all before.
func (x *theft) rise() int64 {
	x.seq = max(x.seq+1, time.Now().UnixMilli())
	return x.seq
}

func (x *theft) put(key ed25519.PrivateKey, salt string, value []byte) {
	x.t.Helper()
	if _, err := x.thief.dht.Put(x.t.Context(), dht.Put{Key: key, Salt: []byte(salt), Value: value, Seq: x.rise()}); err != nil {
		x.t.Fatalf("put of %d bytes: %v", len(value), err)
	}
}

// snapshot is all that Alice holds of others and has told her program: every row
// of her store but her own counters, and what can be asked.
func (x *theft) snapshot() map[string]string {
	x.t.Helper()
	synctest.Wait()
	s := map[string]string{}
	for table := range x.disk.tables {
		err := x.disk.rows.All(table, func(owner, key, value []byte) error {
			own := string(owner) == string(x.alice.ID().Bytes())
			if table == "link" {
				value = value[8:] // not the generation of her own offers
			}
			if table != "node" && !(table == "courier" && own) {
				s[fmt.Sprintf("row %s %x %x", table, owner[:4], key)] = fmt.Sprintf("%x", value)
			}
			return nil
		})
		if err != nil {
			x.t.Fatal(err)
		}
	}
	for _, f := range x.alice.Friends() {
		s["friend "+f.ID().String()] = fmt.Sprint(f.State(), f.Profile(), f.Label(), f.Online(), f.Presence(), f.LastSeen().UnixMilli(), f.Path())
	}
	for _, m := range x.alice.Outbox() {
		s["outbox "+m.ID().String()] = fmt.Sprint(m.State().Status, m.State().Reason)
	}
	s["requests"] = fmt.Sprint(x.alice.Requests())
	s["blocked"] = fmt.Sprint(x.alice.Blocked())
	for i, ev := range x.news.all() {
		s[fmt.Sprintf("event %03d", i)] = fmt.Sprintf("%T", ev)
	}
	return s
}

// same fails the test if a snapshot is not the one before.
func (x *theft) same(what string, before map[string]string) {
	x.t.Helper()
	after := x.snapshot()
	if maps.Equal(before, after) {
		return
	}
	var diff []string
	for _, name := range slices.Sorted(maps.Keys(after)) {
		if was, ok := before[name]; !ok || was != after[name] {
			diff = append(diff, fmt.Sprintf("%s\n\twas %.200s\n\tis  %.200s", name, was, after[name]))
		}
	}
	for name := range before {
		if _, ok := after[name]; !ok {
			diff = append(diff, name+" is gone")
		}
	}
	x.t.Errorf("%s has changed Alice:\n%s", what, strings.Join(diff, "\n"))
}

// drops fails the test unless the act raises the counter of signatures that did
// not verify within d: else the forgery did not get as far as that.
func (x *theft) drops(what, typ string, d time.Duration, act func()) {
	x.t.Helper()
	name := "courier.drop.signature." + typ
	before := x.alice.Stats()
	act()
	for end := time.Now().Add(d); ; time.Sleep(d / 50) {
		now := x.alice.Stats()
		if now[name] > before[name] {
			return
		}
		if time.Now().After(end) {
			rose := map[string]uint64{}
			for n := range now {
				if now[n] != before[n] && !strings.HasPrefix(n, "dht.") && !strings.HasPrefix(n, "udp.") {
					rose[n] = now[n] - before[n]
				}
			}
			x.t.Errorf("%s: %s is not counted; what rose: %v", what, name, rose)
			return
		}
	}
}

// route is a way to Alice.
type route struct {
	name string
	wait time.Duration // that Alice may take to look
	send func(w words, signed []byte)
}

func (x *theft) byDatagram(spoofed bool) route {
	name := "a datagram"
	if spoofed {
		name += " from their address"
	}
	return route{name, time.Second, func(w words, signed []byte) { x.datagram(w, x.wrap(w, signed), spoofed) }}
}

func (x *theft) bySlot(salt string) route {
	return route{"slot " + salt, 3 * time.Minute, func(w words, signed []byte) { x.slot(w, salt, x.wrap(w, signed)) }}
}

func (x *theft) byBucket() route {
	return route{"buckets", 3 * time.Minute, x.bucket}
}

// attack sends words to Alice with every signature that is not theirs, by
// datagrams each and by the slower ways some, and wants nothing changed; and then
// as they are signed by whose they are, by the last way, and wants them believed.
func (x *theft) attack(what string, w words, believed func() bool, ways ...route) {
	x.t.Helper()
	if believed() {
		x.t.Fatalf("%s: so already, nothing would be shown", what)
	}
	before := x.snapshot()
	forged := x.forged(w)
	for _, way := range ways {
		names := slices.Sorted(maps.Keys(forged))
		if way.wait > time.Second {
			names = []string{"Alice's", "theirs to the thief"}
		}
		for _, whose := range names {
			what := fmt.Sprintf("%s, the signature %s, by %s", what, whose, way.name)
			x.drops(what, w.typ, way.wait, func() { way.send(w, forged[whose]) })
			x.same(what, before)
		}
	}
	last := ways[len(ways)-1]
	last.send(w, x.genuine(w))
	for end := time.Now().Add(last.wait); !believed(); time.Sleep(last.wait / 100) {
		if time.Now().After(end) {
			x.t.Fatalf("%s by %s is not believed of whose it is either: the attack was none", what, last.name)
		}
	}
}

// state is a state record of a person who is a friend.
func (x *theft) state(from *stranger, change func(*wire.State)) words {
	s := &wire.State{
		Incarnation: from.incarnation, Version: from.rise(), Time: time.Now().UnixMilli(), Format: wire.Format, Start: 7,
		Relation: wire.RelationFriend, Bond: x.theirs.Bond, Presence: wire.PresenceOffline,
		Prekey: wire.Prekey{Number: 1, Public: from.prekey.Public()}, Endpoints: []netip.AddrPort{from.addr()},
	}
	change(s)
	return words{from, wire.KindState, "state", s.Incarnation, s.Version, wire.AppendState(nil, s)}
}

func (x *theft) hello(change func(*wire.Hello)) words {
	h := &wire.Hello{
		Incarnation: x.bob.incarnation, Version: x.bob.rise(), Time: time.Now().UnixMilli(), Start: 7, Bond: x.theirs.Bond,
		Nonce: 1, Presence: wire.PresenceOnline, Observed: x.alice.LocalAddrs()[0],
	}
	change(h)
	return words{x.bob, wire.KindHello, "hello", h.Incarnation, h.Version, wire.AppendHello(nil, h)}
}

func (x *theft) mail(number uint64, body string) words {
	m := &wire.Mail{
		Sequence: wire.Sequence{Incarnation: x.bob.incarnation, Counter: 1}, Generation: x.bob.rise(), Bond: x.theirs.Bond,
		Base: number, First: number,
		Items: []wire.Item{{ID: wire.MessageID{byte(number)}, Time: time.Now().UnixMilli(), Body: []byte(body)}},
	}
	return words{x.bob, wire.KindMail, "mail", m.Sequence.Incarnation, m.Generation, wire.AppendMail(nil, m)}
}

// receipt says that Bob has had Alice's message of a number.
func (x *theft) receipt(m *carrier.Message, number uint64, fork bool) *wire.Receipt {
	id := m.ID()
	return &wire.Receipt{
		Sequence: x.theirsSequence(), Incarnation: x.bob.incarnation, Number: number, Mark: [8]byte(id[:]), Known: uint16(number), Fork: fork,
	}
}

// theirsSequence is the one that Alice's messages are numbered in.
func (x *theft) theirsSequence() wire.Sequence {
	x.t.Helper()
	if s := x.bob.theirState(x.t, x.alice.ID()); s != nil && s.Window != nil {
		return s.Window.Sequence
	}
	x.t.Fatal("Alice's state names no mail")
	return wire.Sequence{}
}

func (x *theft) request(from *stranger, number uint64) words {
	now := time.Now()
	r := &wire.Request{
		From: from.id(), Incarnation: from.incarnation, Nospam: x.nospam, Number: number,
		Time: now.UnixMilli(), Expiry: now.Add(time.Hour).UnixMilli(), Format: wire.Format, Start: 7,
		Name: "asker", Hello: "it is me", Prekey: wire.Prekey{Number: 2, Public: x.thief.prekey.Public()},
	}
	return words{from, wire.KindRequest, "request", r.Incarnation, r.Number, wire.AppendRequest(nil, r)}
}

// question has Bob's state say that he has come, and returns the nonce of the
// hello that Alice sends to his address, which the thief can read as well as he.
func (x *theft) question() uint64 {
	x.t.Helper()
	w := x.state(x.bob, func(s *wire.State) { s.Presence, s.Start = wire.PresenceOnline, uint64(x.rise()) })
	x.datagram(w, x.genuine(w), true)
	pair := x.pair(x.bob.id())
	b := make([]byte, 2048)
	if err := x.bob.conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		x.t.Fatal(err)
	}
	for {
		n, _, err := x.bob.conn.ReadFrom(b)
		if err != nil {
			x.t.Fatalf("no hello of Alice's: %v", err)
		}
		if n < wire.EnvelopeOverhead || b[0] != wire.EnvelopeByte {
			continue
		}
		plain, err := pair.Key(crypto.Out, crypto.Week(time.Now())).Open(nil, b[:wire.EnvelopeOverhead], b[wire.EnvelopeOverhead:n])
		if err != nil {
			x.t.Fatalf("the thief cannot read what Alice sends: %v", err)
		}
		kind, body, err := wire.ParsePlain(plain)
		if err != nil || kind != wire.KindHello {
			continue
		}
		_, record, err := wire.ParseSigned(body)
		if err != nil {
			continue
		}
		if h, err := wire.ParseHello(record); err == nil && time.Since(time.UnixMilli(h.Time)) < time.Second {
			return h.Nonce
		}
	}
}

// online has Bob show himself at his address.
func (x *theft) online() {
	x.t.Helper()
	nonce := x.question()
	w := x.hello(func(h *wire.Hello) { h.Echo, h.Answer = nonce, true })
	x.datagram(w, x.genuine(w), true)
	eventually(x.t, "Bob is online", x.toBob.Online)
}

// TestStolenKey has a thief who has Alice's whole identity, and has recorded all
// that was ever sent, say everything that there is in Bob's name: from his
// address and from another, and in the slots of the DHT, which Alice's key opens
// and writes. Alice must believe none of it. The same bytes under Bob's signature
// she believes.
func TestStolenKey(t *testing.T) {
	t.Parallel()
	bubbleWith(t, &carriertest.Options{Routers: 8}, func(t *testing.T, network *carriertest.Network) {
		x := newTheft(t, network, "")
		defer x.close()
		here, there := x.byDatagram(true), x.byDatagram(false)

		quiet := x.snapshot()
		time.Sleep(2 * time.Minute)
		x.same("time", quiet)

		p := &wire.Profile{Incarnation: x.bob.incarnation, Version: x.bob.rise(), Name: "Robert"}
		profile := words{x.bob, wire.KindProfile, "profile", p.Incarnation, p.Version, wire.AppendProfile(nil, p)}
		x.attack("a profile", profile, func() bool { return x.toBob.Profile().Name == "Robert" }, here, there)

		seen := x.toBob.LastSeen()
		x.attack("a sign of life", x.state(x.bob, func(*wire.State) {}),
			func() bool { return x.toBob.LastSeen().After(seen) }, here, there, x.bySlot("s"))

		p.Version, p.Name = x.bob.rise(), "Rob"
		profile.version, profile.record = p.Version, wire.AppendProfile(nil, p)
		w := x.state(x.bob, func(s *wire.State) { s.Profile = p.Version })
		x.datagram(w, x.genuine(w), true)
		x.attack("a profile", profile, func() bool { return x.toBob.Profile().Name == "Rob" }, x.bySlot("p"))

		// What Alice has sent.
		sent := x.alice.Outbox()
		receipt := x.receipt(sent[0], 1, false)
		x.attack("a receipt", x.state(x.bob, func(s *wire.State) { s.Receipt = receipt }),
			func() bool { return sent[0].State().Status == carrier.MessageDelivered }, here, there, x.bySlot("s"))
		n := &wire.ReceiptNote{Version: x.bob.rise(), Bond: x.theirs.Bond, Receipt: *x.receipt(sent[1], 2, false)}
		x.attack("a receipt note",
			words{x.bob, wire.KindReceipt, "receipt", n.Receipt.Incarnation, n.Version, wire.AppendReceiptNote(nil, n)},
			func() bool { return sent[1].State().Status == carrier.MessageDelivered }, there, here)
		third, err := x.toBob.Send(t.Context(), []byte("for Bob 2"), nil)
		if err != nil {
			t.Fatal(err)
		}
		eventually(t, "it is stored", func() bool { return third.State().Status == carrier.MessageStored })
		forked, sequences := x.receipt(sent[1], 2, true), x.alice.Stats()["delivery.new_sequences"]
		x.attack("a fork", x.state(x.bob, func(s *wire.State) { s.Receipt = forked }),
			func() bool { return x.alice.Stats()["delivery.new_sequences"] > sequences }, here, x.bySlot("s"), there)
		time.Sleep(time.Minute) // the new sequence is written

		// What Bob might send.
		inbox := func(body string) func() bool {
			return func() bool {
				return strings.Contains(fmt.Sprint(slices.Collect(maps.Values(x.snapshot()))), fmt.Sprintf("%x", body))
			}
		}
		mail := x.mail(1, "left by Bob")
		w = x.state(x.bob, func(s *wire.State) {
			s.Window = &wire.Window{
				Sequence: wire.Sequence{Incarnation: mail.incarnation, Counter: 1},
				Slots:    []wire.WindowSlot{{Slot: 0, Generation: mail.version}},
			}
		})
		x.datagram(w, x.genuine(w), true)
		x.attack("a message that was left", mail, inbox("left by Bob"), x.bySlot("m0"))

		// Presence and links.
		nonce := x.question()
		x.attack("an answer to a hello", x.hello(func(h *wire.Hello) { h.Echo, h.Answer = nonce, true }), x.toBob.Online, there, here)
		x.attack("a message", x.mail(2, "from Bob"), inbox("from Bob"), here, there) // he is heard only where he has shown himself
		before := x.snapshot()
		raises(t, x.alice, "courier.drop.prekey", func() {
			x.datagram(mail, wire.AppendMailBody(nil, 12345, make([]byte, 100)), true)
		})
		x.same("mail for a prekey that there never was", before)
		x.attack("a goodbye", x.hello(func(h *wire.Hello) { h.Presence = wire.PresenceOffline }),
			func() bool { return !x.toBob.Online() }, there, here)
		x.online()
		x.attack("a goodbye in a state", x.state(x.bob, func(*wire.State) {}),
			func() bool { return !x.toBob.Online() }, here, there)
		offer := &wire.Offer{
			Kind: wire.OfferNew, Generation: uint64(x.rise()), ID: wire.OfferID{1}, Start: 7,
			Candidates: []wire.Candidate{{Type: wire.CandidateHost, Addr: x.thief.addr()}},
		}
		x.attack("an offer", x.state(x.bob, func(s *wire.State) {
			s.Presence, s.Offer = wire.PresenceOnline, wire.AppendOffer(nil, offer)
		}), func() bool {
			row, err := x.disk.rows.Get("link", x.bob.id().Bytes(), nil)
			if err != nil {
				t.Fatal(err)
			}
			return binary.BigEndian.Uint64(row[8:]) == offer.Generation
		}, here, there, x.bySlot("s"))

		// Friendship.
		number := uint64(x.rise())
		x.attack("a friend's request", x.request(x.bob, number),
			func() bool { return x.bob.theirState(t, x.alice.ID()).Bond == number }, x.byBucket())
		x.theirs = x.bob.theirState(t, x.alice.ID())
		carol, dave := newStranger(t, network), newStranger(t, network)
		defer carol.close(t)
		defer dave.close(t)
		var asked [2]*carrier.Friend
		for i, who := range []*stranger{carol, dave} {
			if asked[i], err = x.alice.AddFriend(t.Context(), carrier.Address{ID: who.id()}, "hi"); err != nil {
				t.Fatal(err)
			}
			eventually(t, "the request is stored", func() bool { return asked[i].State() == carrier.FriendStored })
		}
		x.attack("a request of one who was asked", x.request(carol, number+1),
			func() bool { return asked[0].State() == carrier.FriendAccepted }, x.byBucket())
		x.attack("an answer", x.state(dave, func(s *wire.State) { s.Bond = number + 1 }),
			func() bool { return asked[1].State() == carrier.FriendAccepted }, here, there, x.bySlot("s"))
		x.attack("a removal", x.state(x.bob, func(s *wire.State) { s.Relation, s.Prekey, s.Endpoints = wire.RelationRemoved, wire.Prekey{}, nil }),
			func() bool { return x.toBob.State() == carrier.FriendRemoved }, here, there, x.bySlot("s"))
		x.attack("a stranger's request", x.request(x.bob, number+2),
			func() bool { return len(x.alice.Requests()) == 1 }, x.byBucket())
	})
}

// TestStolenKeyRecordings has the thief put again, as they were, what Bob has
// signed for Alice: his request, while they are friends and after he has ended
// that, and beside his newest state one of the same version that he has not
// signed. Alice's node must neither believe it nor spread it.
func TestStolenKeyRecordings(t *testing.T) {
	t.Parallel()
	bubbleWith(t, &carriertest.Options{Routers: 8}, func(t *testing.T, network *carriertest.Network) {
		x := newTheft(t, network, "")
		defer x.close()
		var request []byte
		key := carrier.Address{ID: x.alice.ID(), Nospam: x.nospam}.RequestSlot(crypto.Day(time.Now()), crypto.FixedBucket(x.bob.id()))
		_, err := x.thief.dht.Get(t.Context(), dht.Query{Key: [32]byte(key[32:])}, func(i dht.Item) { request = i.Value })
		if err != nil || request == nil {
			t.Fatalf("Bob's request is not in the DHT: %v", err)
		}
		again := func() {
			t.Helper()
			found := x.alice.Stats()["courier.request.found"]
			x.fill(x.bob, request)
			eventually(t, "Alice has read the request", func() bool { return x.alice.Stats()["courier.request.found"] > found })
		}
		quiet := x.snapshot()
		again()
		x.same("a friend's old request", quiet)

		// What a walk finds while Bob is away is put again, if it is Bob's.
		port := x.alice.LocalAddrs()[0].Port()
		var put [][]byte
		network.Tap(func(from, _ netip.AddrPort, b []byte) {
			if from == netip.AddrPortFrom(x.home, port) && bytes.Contains(b, []byte("1:q3:put")) {
				put = append(put, bytes.Clone(b))
			}
		})
		genuine := x.state(x.bob, func(*wire.State) {})
		x.slot(genuine, "s", x.genuine(genuine))
		seen := x.toBob.LastSeen()
		eventually(t, "Bob's state is read", func() bool { return x.toBob.LastSeen().After(seen) })
		before := x.snapshot()
		forged := x.state(x.bob, func(s *wire.State) { s.Version, s.Relation = genuine.version, wire.RelationRemoved })
		var value []byte
		x.drops("a state of the same version", "state", 15*time.Minute, func() {
			value = x.slot(forged, "s", x.forged(forged)["Alice's"])
			time.Sleep(15 * time.Minute)
			synctest.Wait()
		})
		if len(put) == 0 {
			t.Error("Alice's puts are not seen")
		}
		if slices.ContainsFunc(put, func(b []byte) bool { return bytes.Contains(b, value) }) {
			t.Error("Alice has put the forged state into the DHT")
		}
		x.same("a state of the same version", before)

		over := x.state(x.bob, func(s *wire.State) {
			s.Relation, s.Prekey, s.Endpoints = wire.RelationRemoved, wire.Prekey{}, nil
		})
		x.slot(over, "s", x.genuine(over))
		eventually(t, "Bob has ended the friendship", func() bool { return x.toBob.State() == carrier.FriendRemoved })
		time.Sleep(time.Minute)
		events := len(x.news.all())
		again() // her answer, that it is over, is put anew, and no more
		synctest.Wait()
		if got := x.news.all()[events:]; len(got) > 0 || len(x.alice.Requests()) > 0 || x.toBob.State() != carrier.FriendRemoved {
			t.Errorf("an old request after the end: events %v, requests %v, Bob is %s", got, x.alice.Requests(), x.toBob.State())
		}
	})
}
