package courier

import (
	"net/netip"
	"testing"
	"time"

	"github.com/gocarrier/carrier/crypto"
	"github.com/gocarrier/carrier/internal/wire"
)

func victimV6() netip.AddrPort { return netip.MustParseAddrPort("[2001:db8::77]:4000") }

// fullState is the largest state record there is.
func fullState(n *node, endpoints int) *wire.State {
	s := &wire.State{
		Version: 1, Format: 1, Start: 2, Relation: wire.RelationFriend, Bond: 3, Presence: wire.PresenceBusy, Profile: 4,
		Prekey: n.Current(), CannotOpen: 5, Offer: make([]byte, wire.MaxOffer),
		Window:  &wire.Window{},
		Receipt: &wire.Receipt{Number: 5000, Known: wire.InFlight},
	}
	for range endpoints {
		s.Endpoints = append(s.Endpoints, victimV6())
	}
	for i := range uint8(wire.MaxSlots) {
		s.Window.Slots = append(s.Window.Slots, wire.WindowSlot{Slot: i, Generation: 9})
	}
	for i := range uint64(wire.MaxSkipped) {
		s.Receipt.Skipped = append(s.Receipt.Skipped, wire.Range{From: 4500 + 10*i, To: 4505 + 10*i})
	}
	return s
}

// FuzzCourier feeds a courier with a friend what may come from outside. The
// first byte says what the rest is: a datagram or a record of a link as it is, a
// slot's value, or the plaintext or record of an envelope, slot or link, sealed
// and signed as the friend would.
func FuzzCourier(f *testing.F) {
	w := newWorld(f)
	a, b := w.node("a"), w.node("b")
	befriend(a, b)
	b.start()
	hello := wire.AppendHello(nil, &wire.Hello{Version: 1, Nonce: 2, Observed: a.addr})
	state := wire.AppendState(nil, fullState(b, 4))
	profile := wire.AppendProfile(nil, &wire.Profile{Version: 9, Name: "n", Description: "d"})
	receipt := wire.AppendReceiptNote(nil, &wire.ReceiptNote{Version: 1})
	mail := wire.AppendMail(nil, &wire.Mail{Generation: 9, Base: 1, First: 1, Items: []wire.Item{{Body: []byte("x")}, {Skip: true}}})
	part := wire.AppendMail(nil, &wire.Mail{Generation: 9, Base: 1, First: 1, Part: &wire.Part{Count: 2, Bytes: []byte("y")}})
	f.Add([]byte{0})
	f.Add(append([]byte{0}, b.hello(a, func(*wire.Hello) {})...))
	f.Add(append([]byte{1}, make([]byte, 512)...))
	f.Add([]byte{8, byte(wire.KindState), 0})
	f.Add([]byte{8, byte(wire.KindHello), 0})
	records := [][]byte{hello, state, profile, receipt, mail, part}
	for i, r := range records {
		for kind := byte(2); kind < 10; kind++ {
			f.Add(append([]byte{kind, byte(i)}, r...))
		}
	}
	kinds := []wire.Kind{wire.KindHello, wire.KindState, wire.KindProfile, wire.KindReceipt, wire.KindMail, wire.KindRequest}
	types := []string{signHello, signState, signProfile, signReceipt, signMail, signRequest}

	f.Fuzz(func(t *testing.T, in []byte) {
		if len(in) < 2 || len(in) > 3000 {
			return
		}
		w := newWorld(t)
		a, b := w.node("a"), w.node("b")
		befriend(a, b)
		a.start()
		b.start()
		a.ready()
		w.run(2 * time.Second)
		pair := b.c.peers[a.id]
		before := total(a)
		kind, which, rest := in[0]%10, int(in[1])%len(kinds), in[2:]
		week := crypto.Week(w.now)
		body := rest
		if kind >= 4 && kind != 8 { // a record, signed; versions as the fuzzer has them
			body = signedAs(pair, types[which], rest)
		}
		if kinds[which] == wire.KindMail && kind >= 4 && kind != 8 {
			sealed, err := a.Current().Public.Seal(mailInfo(b.id, a.id, a.newest), nil, body)
			if err != nil {
				t.Fatal(err)
			}
			body = wire.AppendMailBody(nil, a.newest, sealed)
		}
		took := false
		switch kind {
		case 0:
			took = true
			a.receive(in[1:], b.addr)
		case 1, 3, 5:
			value := in[1:]
			if kind != 1 {
				size, ok := wire.PadSlot(len(body))
				if !ok {
					return
				}
				_, public := pair.slotKey(crypto.Out, week)
				salt := []string{saltState, saltProfile, "m0"}[which%3]
				plain := wire.AppendPlain(nil, kinds[which], body, size)
				value = pair.pair.Key(crypto.Out, week).Seal(nil, slotData(public, salt), plain)
			}
			_, public := pair.slotKey(crypto.Out, week)
			p := a.c.peers[b.id]
			in := &inbox{window: &wire.Window{Slots: []wire.WindowSlot{{Slot: 0, Generation: 1}}}}
			p.inbox = in
			a.do(func() {
				item := Item{Key: public, Value: value, Seq: 1}
				p.foundState(week, item)
				p.foundMail(in, week, in.window.Slots[0], item)
				if body := p.openSlot(crypto.In, week, saltProfile, wire.KindProfile, item); body != nil {
					p.acceptProfile(body, ViaDHT)
				}
				p.sawOwn(week, item)
			})
		case 8, 9:
			took = true
			w.link(a, b)
			record := in[1:]
			if kind == 9 {
				record = append([]byte{byte(kinds[which])}, body...)
			}
			a.do(func() { a.c.Record(b.id, record) })
			w.run(time.Second)
			a.cables[b.id].cut()
		default:
			size, ok := wire.PadDatagram(len(body))
			if !ok {
				return
			}
			hour := crypto.Hour(w.now)
			plain := wire.AppendPlain(nil, kinds[which], body, size)
			head := wire.AppendEnvelope(nil, pair.pair.Tag(crypto.Out, hour), nil)
			sealed := pair.pair.Key(crypto.Out, crypto.HourWeek(hour)).Seal(nil, head, plain)
			a.receive(append(head, sealed...), b.addr)
		}
		w.run(time.Minute)
		if took && total(a) == before && len(a.states[b.id]) == 0 && a.profiles[b.id] == nil {
			t.Errorf("what was received is not counted: %v", a.c.Stats())
		}
		if n := len(a.c.peers[b.id].endpoints); n > maxEndpoints {
			t.Errorf("%d endpoints are remembered", n)
		}
		if n := len(a.c.stats); n > 100 {
			t.Errorf("%d counters", n)
		}
	})
}

// total is the sum of all counters of what was dropped, or done in answer.
func total(n *node) (sum uint64) {
	for _, v := range n.c.Stats() {
		sum += v
	}
	return sum
}

// signedAs signs a record that may be none with whatever version and
// incarnation the real one would name, so that the fuzzer gets past the check.
func signedAs(p *peer, kind string, record []byte) []byte {
	var inc crypto.Incarnation
	var version uint64
	switch kind {
	case signHello:
		if h, err := wire.ParseHello(record); err == nil {
			inc, version = h.Incarnation, h.Version
		}
	case signState:
		if s, err := wire.ParseState(record); err == nil {
			inc, version = s.Incarnation, s.Version
		}
	case signProfile:
		if s, err := wire.ParseProfile(record); err == nil {
			inc, version = s.Incarnation, s.Version
		}
	case signReceipt:
		if n, err := wire.ParseReceiptNote(record); err == nil {
			inc, version = n.Receipt.Incarnation, n.Version
		}
	case signMail:
		if m, err := wire.ParseMail(record); err == nil {
			inc, version = m.Sequence.Incarnation, m.Generation
		}
	}
	return p.sign(kind, inc, version, record)
}
