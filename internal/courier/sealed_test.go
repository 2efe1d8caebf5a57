package courier

import (
	"bytes"
	"net/netip"
	"testing"
	"time"

	"github.com/gocarrier/carrier/crypto"
	"github.com/gocarrier/carrier/internal/wire"
)

const vectorBond = 1700000000005

func vectorNospam() crypto.Nospam { return crypto.Nospam{1, 2, 3, 4, 5, 6, 7, 8} }

// A sealedCase says how one of docs/vectors/envelopes is made.
type sealedCase struct {
	name, about string
	by, salt    string
	dropped     string // the count, empty if it is taken
	seal        func(*sealer) []byte
}

// sealer is the writer of a vector.
type sealer struct {
	t    *testing.T
	node *node
	peer *peer // the reader
	to   wire.Prekey
	in   map[string]string
}

func vectorIncarnation() crypto.Incarnation {
	return crypto.Incarnation{Created: 1700000000000, Random: 1}
}

func vectorState() *wire.State {
	return &wire.State{
		Incarnation: vectorIncarnation(), Version: 1700000000002, Time: midweek.UnixMilli(), Format: 1, Start: 4,
		Relation: wire.RelationFriend, Bond: vectorBond, Presence: wire.PresenceOnline,
		Prekey:    wire.Prekey{Number: 9, Public: crypto.PrekeyPublic(bytes.Repeat([]byte{8}, 32))},
		Endpoints: []netip.AddrPort{netip.MustParseAddrPort("192.0.2.2:6881")},
		Offer:     wire.AppendOffer(nil, &wire.Offer{Kind: wire.OfferNew, Generation: 1, ID: wire.OfferID{1}}),
	}
}

func vectorMail() *wire.Mail {
	return &wire.Mail{
		Sequence: wire.Sequence{Incarnation: vectorIncarnation(), Counter: 1}, Generation: 1700000000003, Bond: vectorBond,
		Base: 1, First: 1, Items: []wire.Item{{ID: wire.MessageID{1, 2, 3}, Time: 1700000000001, Body: []byte("hello")}},
	}
}

// signed gives the body of a record.
func (s *sealer) signed(kind wire.Kind) []byte {
	p := s.peer
	switch kind {
	case wire.KindState:
		x := vectorState()
		return p.sign(signState, x.Incarnation, x.Version, wire.AppendState(nil, x))
	case wire.KindProfile:
		x := &wire.Profile{Incarnation: vectorIncarnation(), Version: 1700000000004, Name: "Zoë", Description: "tea"}
		return p.sign(signProfile, x.Incarnation, x.Version, wire.AppendProfile(nil, x))
	case wire.KindReceipt:
		x := &wire.ReceiptNote{Version: 1700000000005, Bond: vectorBond, Receipt: wire.Receipt{
			Sequence: wire.Sequence{Incarnation: vectorIncarnation(), Counter: 1}, Incarnation: vectorIncarnation(), Number: 1, Mark: [8]byte{7}, Known: 1,
		}}
		return p.sign(signReceipt, x.Receipt.Incarnation, x.Version, wire.AppendReceiptNote(nil, x))
	case wire.KindHello:
		x := &wire.Hello{
			Incarnation: vectorIncarnation(), Version: 1700000000006, Time: midweek.UnixMilli(), Start: 4, Bond: vectorBond,
			Nonce: 5, Presence: wire.PresenceOnline, Answer: true, Observed: netip.MustParseAddrPort("192.0.2.1:6881"),
		}
		return p.sign(signHello, x.Incarnation, x.Version, wire.AppendHello(nil, x))
	case wire.KindMail:
		return s.mail(vectorMail(), s.to)
	case wire.KindRequest:
	}
	s.t.Fatalf("no body of kind %d", kind)
	return nil
}

func (s *sealer) mail(m *wire.Mail, to wire.Prekey) []byte {
	body, err := s.peer.sealMail(m, to)
	if err != nil {
		s.t.Fatal(err)
	}
	return body
}

func (s *sealer) envelope(kind wire.Kind) []byte { return s.peer.sealDatagram(kind, s.signed(kind)) }

// slot seals a body for the slot that the vector names.
func (s *sealer) slot(kind wire.Kind, body []byte) []byte {
	_, value := s.peer.sealSlot(crypto.Week(midweek), s.in["salt"], kind, body)
	return value
}

// plaintext seals any plaintext in an envelope.
func (s *sealer) plaintext(plain []byte) []byte {
	hour := crypto.Hour(midweek)
	head := wire.AppendEnvelope(nil, s.peer.pair.Tag(crypto.Out, hour), nil)
	return s.peer.pair.Key(crypto.Out, crypto.HourWeek(hour)).Seal(head, head, plain)
}

func (s *sealer) request(change func(*wire.Request)) []byte {
	r := &wire.Request{
		From: s.node.id, Incarnation: vectorIncarnation(), Nospam: vectorNospam(), Number: 1700000000001, Time: midweek.UnixMilli(),
		Expiry: midweek.Add(30 * 24 * time.Hour).UnixMilli(), Format: 1, Start: 4, Name: "Zoë", Hello: "it's me",
		Prekey: wire.Prekey{Number: 9, Public: crypto.PrekeyPublic(bytes.Repeat([]byte{8}, 32))},
	}
	change(r)
	value, err := s.node.c.sealRequest(s.peer.id, r)
	if err != nil {
		s.t.Fatal(err)
	}
	return value
}

// sealedCases are all of docs/vectors/envelopes.
func sealedCases() []sealedCase {
	envelope := func(kind wire.Kind) func(*sealer) []byte {
		return func(s *sealer) []byte { return s.envelope(kind) }
	}
	slot := func(kind wire.Kind) func(*sealer) []byte {
		return func(s *sealer) []byte { return s.slot(kind, s.signed(kind)) }
	}
	return append([]sealedCase{
		{"envelope_state", "A state with an offer, as a datagram.", "envelope", "", "", envelope(wire.KindState)},
		{"envelope_hello", "An answer to a hello.", "envelope", "", "", envelope(wire.KindHello)},
		{"envelope_profile", "A profile.", "envelope", "", "", envelope(wire.KindProfile)},
		{"envelope_receipt", "A receipt note.", "envelope", "", "", envelope(wire.KindReceipt)},
		{"envelope_mail", "Mail, sealed to the reader's prekey inside of the envelope.", "envelope", "", "", envelope(wire.KindMail)},
		{"slot_state", "The same state as the value of slot s.", "slot", "s", "", slot(wire.KindState)},
		{"slot_profile", "A profile in slot p.", "slot", "p", "", slot(wire.KindProfile)},
		{"slot_mail", "Mail in slot m0.", "slot", "m0", "", slot(wire.KindMail)},
		{"slot_part", "The first of two parts of an item, in slot m7.", "slot", "m7", "", func(s *sealer) []byte {
			m := vectorMail()
			item := wire.AppendItem(nil, &m.Items[0])
			m.Items, m.Part = nil, &wire.Part{Set: 1700000000003, Count: 2, Bytes: item[:20]}
			return s.slot(wire.KindMail, s.mail(m, s.to))
		}},
		{"request_usual", "A friend request.", "request", "", "", func(s *sealer) []byte { return s.request(func(*wire.Request) {}) }},
	}, refusedCases()...)
}

// refusedCases are what is dropped, and under which name it is counted.
func refusedCases() []sealedCase {
	return []sealedCase{
		{"bad_envelope_size", "A byte too many.", "envelope", "", "malformed", func(s *sealer) []byte {
			return append(s.envelope(wire.KindHello), 0)
		}},
		{"bad_envelope_format", "An envelope of a later format.", "envelope", "", "format", func(s *sealer) []byte {
			b := s.envelope(wire.KindHello)
			b[0] = 0xC9
			return b
		}},
		{"bad_envelope_tag", "The tag of three hours ago.", "envelope", "", "tag", func(s *sealer) []byte {
			b := s.envelope(wire.KindHello)
			tag := s.peer.pair.Tag(crypto.Out, crypto.Hour(midweek)-3)
			copy(b[1:], tag[:])
			return b
		}},
		{"bad_envelope_direction", "The reader's own envelope comes back.", "envelope", "", "tag", func(s *sealer) []byte {
			hour := crypto.Hour(midweek)
			head := wire.AppendEnvelope(nil, s.peer.pair.Tag(crypto.In, hour), nil)
			return s.peer.pair.Key(crypto.In, crypto.HourWeek(hour)).Seal(head, head, make([]byte, 207))
		}},
		{"bad_envelope_tag_swapped", "Sealed under another tag of the same hour's neighbour.", "envelope", "", "open", func(s *sealer) []byte {
			b := s.envelope(wire.KindHello)
			tag := s.peer.pair.Tag(crypto.Out, crypto.Hour(midweek)-1)
			copy(b[1:], tag[:])
			return b
		}},
		{"bad_envelope_open", "A bit of the ciphertext is another.", "envelope", "", "open", func(s *sealer) []byte {
			b := s.envelope(wire.KindHello)
			b[100] ^= 1
			return b
		}},
		{"bad_envelope_padding", "Padding that is not zero.", "envelope", "", "malformed", func(s *sealer) []byte {
			plain := wire.AppendPlain(nil, wire.KindHello, s.signed(wire.KindHello), 207)
			plain[206] = 1
			return s.plaintext(plain)
		}},
		{"bad_envelope_kind", "An unknown kind.", "envelope", "", "kind", func(s *sealer) []byte {
			return s.plaintext(wire.AppendPlain(nil, 7, s.signed(wire.KindHello), 207))
		}},
		{"bad_envelope_request", "A request, which does not go in an envelope.", "envelope", "", "kind", func(s *sealer) []byte {
			return s.plaintext(wire.AppendPlain(nil, wire.KindRequest, s.signed(wire.KindHello), 207))
		}},
		{"bad_envelope_record_format", "A record of a later format.", "envelope", "", "format", func(s *sealer) []byte {
			body := s.signed(wire.KindHello)
			body[64] = 2
			return s.plaintext(wire.AppendPlain(nil, wire.KindHello, body, 207))
		}},
		{"bad_envelope_signature", "A signature with one bit changed.", "envelope", "", "signature.state", func(s *sealer) []byte {
			body := s.signed(wire.KindState)
			body[5] ^= 1
			return s.peer.sealDatagram(wire.KindState, body)
		}},
		{"bad_envelope_type", "The signature of a profile over a state.", "envelope", "", "signature.state", func(s *sealer) []byte {
			x := vectorState()
			return s.peer.sealDatagram(wire.KindState, s.peer.sign(signProfile, x.Incarnation, x.Version, wire.AppendState(nil, x)))
		}},
		{"bad_mail_prekey", "Mail to a prekey that the reader does not hold.", "envelope", "", "prekey", func(s *sealer) []byte {
			return s.peer.sealDatagram(wire.KindMail, s.mail(vectorMail(), wire.Prekey{Number: 3, Public: s.to.Public}))
		}},
		{"bad_mail_info", "Mail sealed under another prekey number than it names.", "envelope", "", "hpke", func(s *sealer) []byte {
			body := s.mail(vectorMail(), wire.Prekey{Number: 3, Public: s.to.Public})
			copy(body, wire.AppendUint64(nil, s.to.Number))
			return s.peer.sealDatagram(wire.KindMail, body)
		}},
		{"bad_mail_part", "A part, which only goes in slots, in an envelope.", "envelope", "", "malformed", func(s *sealer) []byte {
			m := vectorMail()
			m.Items, m.Part = nil, &wire.Part{Set: 1700000000003, Count: 2, Bytes: []byte{1}}
			return s.peer.sealDatagram(wire.KindMail, s.mail(m, s.to))
		}},
		{"bad_slot_salt", "The value of slot m1 in slot m0.", "slot", "m0", "slot.open", func(s *sealer) []byte {
			_, value := s.peer.sealSlot(crypto.Week(midweek), "m1", wire.KindMail, s.signed(wire.KindMail))
			return value
		}},
		{"bad_slot_week", "The value of last week.", "slot", "s", "slot.open", func(s *sealer) []byte {
			_, value := s.peer.sealSlot(crypto.Week(midweek)-1, "s", wire.KindState, s.signed(wire.KindState))
			return value
		}},
		{"bad_slot_kind", "A profile in the slot of the state.", "slot", "s", "kind", func(s *sealer) []byte {
			return s.slot(wire.KindProfile, s.signed(wire.KindProfile))
		}},
		{"bad_request_nospam", "A request with another nospam.", "request", "", "request.nospam", func(s *sealer) []byte {
			return s.request(func(r *wire.Request) { r.Nospam[0]++ })
		}},
		{"bad_request_expired", "A request that has expired.", "request", "", "request.expired", func(s *sealer) []byte {
			return s.request(func(r *wire.Request) { r.Expiry = midweek.UnixMilli() })
		}},
		{"bad_request_from", "A request that names its reader as the requester.", "request", "", "request.from", func(s *sealer) []byte {
			return s.request(func(r *wire.Request) { r.From = s.peer.id })
		}},
		{"bad_request_signature", "A request that somebody else has signed.", "request", "", "signature.request", func(s *sealer) []byte {
			return s.request(func(r *wire.Request) { r.From = seedIdentity(9).ID() })
		}},
		{"bad_request_open", "A bit of the ciphertext is another.", "request", "", "request.open", func(s *sealer) []byte {
			b := s.request(func(*wire.Request) {})
			b[60] ^= 1
			return b
		}},
	}
}
