package wire

import (
	"bytes"
	"fmt"
	"net/netip"
	"strings"

	"github.com/gocarrier/carrier/crypto"
)

// A codec is one Append and Parse pair, made to take any value of its type.
type codec struct {
	name    string
	append  func(dst []byte, x any) []byte
	parse   func(b []byte) (any, error)
	record  bool // begins with the format
	samples []sample
}

type sample struct {
	name string
	x    any
}

func codecOf[T any](name string, record bool, add func([]byte, *T) []byte, parse func([]byte) (*T, error), samples ...sample) codec {
	return codec{
		name:    name,
		append:  func(dst []byte, x any) []byte { return add(dst, x.(*T)) },
		parse:   func(b []byte) (any, error) { return parse(b) },
		record:  record,
		samples: samples,
	}
}

// byValue makes a codec of functions that take and give values.
func byValue[T any](name string, add func([]byte, T) []byte, parse func([]byte) (T, error), samples ...sample) codec {
	return codecOf(name, false,
		func(dst []byte, x *T) []byte { return add(dst, *x) },
		func(b []byte) (*T, error) { x, err := parse(b); return &x, err },
		samples...)
}

// What the layers of an envelope hold.
type (
	plain struct {
		Kind Kind
		Body []byte
		Size int
	}
	envelope struct {
		Tag    crypto.Tag
		Sealed []byte
	}
	signed struct {
		Signature crypto.Signature
		Record    []byte
	}
	mailBody struct {
		Prekey uint64
		Sealed []byte
	}
	linkRecord struct {
		Kind Kind
		Body []byte
	}
)

// codecs returns every codec of the package, with the samples that stand in
// docs/vectors: of each record the least, a usual one, and the largest.
func codecs() []codec {
	list := append(records(), packetCodec(), sessionCodec())
	for _, f := range frames() {
		list = append(list, f.codec)
	}
	return list
}

// records returns the codecs of records, what they consist of, and the layers
// around them.
func records() []codec {
	return []codec{
		codecOf("state", true, AppendState, ParseState,
			sample{"least", &State{Format: 1}}, sample{"usual", usualState()}, sample{"largest", largestState()}),
		codecOf("window", false, AppendWindow, ParseWindow,
			sample{"least", &Window{Slots: []WindowSlot{{Slot: 7}}}}, sample{"largest", largestState().Window}),
		codecOf("receipt", false, AppendReceipt, ParseReceipt,
			sample{"least", &Receipt{}}, sample{"fork", &Receipt{Sequence: sequence(1), Number: 5, Mark: mark(1), Known: 2, Fork: true}},
			sample{"largest", largestReceipt()}),
		codecOf("note", true, AppendReceiptNote, ParseReceiptNote,
			sample{"least", &ReceiptNote{}}, sample{"largest", &ReceiptNote{Version: max64, Bond: max64, Receipt: *largestReceipt()}}),
		codecOf("offer", false, AppendOffer, ParseOffer,
			sample{"least", &Offer{Kind: OfferNew, Generation: 1, ID: OfferID{1}}}, sample{"usual", usualOffer()},
			sample{"restart", restartOffer()}, sample{"largest", largestOffer()}),
		codecOf("profile", true, AppendProfile, ParseProfile,
			sample{"least", &Profile{}},
			sample{"usual", &Profile{Incarnation: incarnation(1), Version: 1700000000001, Name: "Zoë", Description: "tea\n\tand ☕"}},
			sample{"largest", largestProfile()}),
		codecOf("mail", true, AppendMail, ParseMail,
			sample{"least", &Mail{Base: 1, First: 1, Items: []Item{{Skip: true}}}},
			sample{"usual", usualMail()}, sample{"part", partMail(MaxPartBytes)}, sample{"slot", itemMail(MaxSlotBody)},
			sample{"direct", itemMail(MaxDirect)}),
		codecOf("item", false, AppendItem, ParseItem,
			sample{"empty", &Item{}}, sample{"skip", &Item{Skip: true, ID: messageID(3)}},
			sample{"usual", &Item{ID: messageID(4), Time: 1700000000000, Body: []byte("hello")}}),
		codecOf("part", false, AppendPart, ParsePart,
			sample{"least", &Part{Count: 1, Bytes: []byte{0}}},
			sample{"last", &Part{Set: 1700000000000, Index: 7, Count: 8, Bytes: []byte("the end")}}),
		codecOf("hello", true, AppendHello, ParseHello,
			sample{"least", &Hello{}}, sample{"usual", &Hello{
				Incarnation: incarnation(1), Version: 2, Time: 1700000000000, Start: 3, Bond: 4, Nonce: 5, Echo: 6,
				Presence: PresenceAway, Answer: true, Observed: netip.MustParseAddrPort("192.0.2.1:6881"),
			}}, sample{"largest", largestHello()}),
		codecOf("request", true, AppendRequest, ParseRequest,
			sample{"least", &Request{Number: 1, Format: 1, Prekey: Prekey{Number: 1}}},
			sample{"usual", usualRequest()}, sample{"largest", largestRequest()}),
		byValue("sequence", AppendSequence, ParseSequence, sample{"usual", ptr(sequence(1))}),
		byValue("range", AppendRange, ParseRange, sample{"one", &Range{From: 7, To: 7}}, sample{"all", &Range{From: 0, To: max64}}),
		byValue("plain",
			func(dst []byte, x plain) []byte { return AppendPlain(dst, x.Kind, x.Body, x.Size) },
			func(b []byte) (plain, error) { k, body, err := ParsePlain(b); return plain{k, body, len(b)}, err },
			sample{"empty", &plain{KindState, []byte{}, 3}},
			sample{"padded", &plain{KindRequest, []byte("body"), 64}}),
		byValue("envelope",
			func(dst []byte, x envelope) []byte { return AppendEnvelope(dst, x.Tag, x.Sealed) },
			func(b []byte) (envelope, error) {
				tag, sealed, err := ParseEnvelope(b)
				return envelope{tag, sealed}, err
			},
			sample{"least", &envelope{crypto.Tag{1, 2, 3, 4, 5, 6, 7, 8}, bytes.Repeat([]byte{0xab}, 256-9)}}),
		byValue("signed",
			func(dst []byte, x signed) []byte { return AppendSigned(dst, x.Signature, x.Record) },
			func(b []byte) (signed, error) { s, record, err := ParseSigned(b); return signed{s, record}, err },
			sample{"usual", &signed{crypto.Signature{1, 63: 2}, []byte("record")}}),
		byValue("mailbody",
			func(dst []byte, x mailBody) []byte { return AppendMailBody(dst, x.Prekey, x.Sealed) },
			func(b []byte) (mailBody, error) { n, sealed, err := ParseMailBody(b); return mailBody{n, sealed}, err },
			sample{"usual", &mailBody{1700000000000, []byte("sealed")}}),
		byValue("linkrecord",
			func(dst []byte, x linkRecord) []byte { return AppendLinkRecord(dst, x.Kind, x.Body) },
			func(b []byte) (linkRecord, error) {
				k, body, err := ParseLinkRecord(b)
				return linkRecord{k, body}, err
			},
			sample{"empty", &linkRecord{KindState, []byte{}}},
			sample{"usual", &linkRecord{KindMail, []byte("body")}}),
	}
}

const (
	max64   = 1<<64 - 1
	maxTime = 1<<63 - 1
)

func ptr[T any](v T) *T { return &v }

func incarnation(n uint64) crypto.Incarnation {
	return crypto.Incarnation{Created: 1700000000000, Random: n}
}

func sequence(n uint32) Sequence {
	return Sequence{Incarnation: incarnation(0x0123456789abcdef), Counter: n}
}

func messageID(n byte) MessageID { return MessageID(bytes.Repeat([]byte{n}, 16)) }

func mark(n byte) [8]byte { return [8]byte(bytes.Repeat([]byte{n}, 8)) }

func endpoints(n int) (list []netip.AddrPort) {
	for i := range n {
		list = append(list, netip.MustParseAddrPort(fmt.Sprintf("[2001:db8::%x]:%d", i+1, 65535-i)))
	}
	return list
}

func usualState() *State {
	return &State{
		Incarnation: incarnation(1), Version: 1700000000002, Time: 1700000000003, Format: 1, Start: 4, Relation: RelationFriend,
		Bond: 1700000000005, Presence: PresenceOnline, Profile: 1700000000006,
		Prekey:    Prekey{Number: 1700000000007, Public: crypto.PrekeyPublic(bytes.Repeat([]byte{8}, 32))},
		Endpoints: []netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:6881"), netip.MustParseAddrPort("[2001:db8::1]:6881")},
		Window:    &Window{Sequence: sequence(1), Slots: []WindowSlot{{0, 1700000000008}, {2, 1700000000009}}},
		Receipt: &Receipt{
			Sequence: sequence(2), Incarnation: incarnation(1), Number: 2000, Mark: mark(9), Known: InFlight,
			Skipped: []Range{{1000, 1000}, {1002, 1010}, {2000, 2000}},
		},
	}
}

func largestState() *State {
	s := &State{
		Incarnation: crypto.Incarnation{Created: maxTime, Random: max64}, Version: max64, Time: maxTime, Format: 255,
		Start: max64, Relation: RelationRemoved, Bond: max64, Presence: PresenceBusy, Profile: max64,
		Prekey:     Prekey{Number: max64, Public: crypto.PrekeyPublic(bytes.Repeat([]byte{255}, 32))},
		CannotOpen: max64, Endpoints: endpoints(MaxEndpoints), Window: &Window{Sequence: sequence(1<<32 - 1)},
		Receipt: largestReceipt(), Offer: bytes.Repeat([]byte{255}, MaxOffer),
	}
	for n := range uint8(MaxSlots) {
		s.Window.Slots = append(s.Window.Slots, WindowSlot{Slot: n, Generation: max64 - uint64(n)})
	}
	return s
}

// largestReceipt skips the first and the last of the 1,023 numbers that it knows.
func largestReceipt() *Receipt {
	r := &Receipt{Sequence: sequence(1<<32 - 1), Incarnation: incarnation(max64), Number: max64, Mark: mark(255), Known: InFlight - 1, Fork: true}
	first := r.Number - uint64(r.Known) + 1
	for n := range uint64(MaxSkipped - 1) {
		r.Skipped = append(r.Skipped, Range{From: first + 3*n, To: first + 3*n + 1})
	}
	r.Skipped = append(r.Skipped, Range{From: r.Number, To: r.Number})
	return r
}

func largestProfile() *Profile {
	return &Profile{
		Incarnation: incarnation(max64), Version: max64,
		Name: strings.Repeat("é", MaxName/2), Description: strings.Repeat("€", MaxDescr/3),
	}
}

func usualMail() *Mail {
	return &Mail{
		Sequence: sequence(1), Generation: 1700000000000, Bond: 1700000000001, Base: 41, First: 42, Prior: mark(7),
		Items: []Item{
			{ID: messageID(1), Time: 1700000000002, Body: []byte("hello")},
			{Skip: true, ID: messageID(2)},
			{ID: messageID(3), Time: 1700000000003},
		},
	}
}

func itemMail(body int) *Mail {
	return &Mail{
		Sequence: sequence(1), Generation: 2, Bond: 3, Base: 4, First: 5,
		Items: []Item{{ID: messageID(1), Time: 1700000000000, Body: bytes.Repeat([]byte{'m'}, body)}},
	}
}

func partMail(n int) *Mail {
	return &Mail{
		Sequence: sequence(1), Generation: 2, Bond: 3, Base: 4, First: 5, Prior: mark(255),
		Part: &Part{Set: 6, Index: 1, Count: 8, Bytes: bytes.Repeat([]byte{'p'}, n)},
	}
}

func largestHello() *Hello {
	return &Hello{
		Incarnation: incarnation(max64), Version: max64, Time: maxTime, Start: max64, Bond: max64, Nonce: max64, Echo: max64,
		Presence: PresenceBusy, Answer: true, Observed: endpoints(1)[0],
	}
}

func usualRequest() *Request {
	return &Request{
		From: crypto.ID(bytes.Repeat([]byte{1}, 32)), Incarnation: incarnation(2), Nospam: crypto.Nospam{1, 2, 3, 4, 5, 6, 7, 8},
		Number: 1700000000000, Time: 1700000000001, Expiry: 1702592000001, Format: 1, Start: 3,
		Name: "Alice", Hello: "hi,\nit's Alice", Prekey: Prekey{Number: 4, Public: crypto.PrekeyPublic{31: 5}},
		Endpoints: []netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:6881")},
	}
}

func largestRequest() *Request {
	r := usualRequest()
	r.Number, r.Time, r.Expiry, r.Format, r.Start = max64, maxTime, maxTime, 255, max64
	r.Name, r.Hello = strings.Repeat("n", MaxName), strings.Repeat("h", MaxHello)
	r.Endpoints = endpoints(MaxEndpoints)
	return r
}
