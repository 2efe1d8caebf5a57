package wire

import (
	"bytes"
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/gocarrier/carrier/crypto"
)

// TestLargest encodes the largest of each record, seals it as it goes out,
// and holds the result against the room there is.
func TestLargest(t *testing.T) {
	key, prekey, identity := crypto.NewKey(), crypto.NewPrekey(), crypto.NewIdentity()
	sign := func(record []byte) []byte { return AppendSigned(nil, crypto.Signature{}, record) }
	toPrekey := func(record []byte) []byte {
		sealed, err := prekey.Public().Seal(nil, nil, sign(record))
		if err != nil {
			t.Fatal(err)
		}
		return AppendMailBody(nil, 1, sealed)
	}
	slot := func(kind Kind, body []byte) []byte {
		size, ok := PadSlot(len(body))
		if !ok {
			t.Fatalf("a body of %d bytes does not fit a slot", len(body))
		}
		return key.Seal(nil, nil, AppendPlain(nil, kind, body, size))
	}
	datagram := func(kind Kind, body []byte) []byte {
		size, ok := PadDatagram(len(body))
		if !ok {
			t.Fatalf("a body of %d bytes does not fit a datagram", len(body))
		}
		return AppendEnvelope(nil, crypto.Tag{}, key.Seal(nil, nil, AppendPlain(nil, kind, body, size)))
	}
	request := func(body []byte) []byte {
		size, ok := PadRequest(len(body))
		if !ok {
			t.Fatalf("a body of %d bytes does not fit a request", len(body))
		}
		sealed, err := identity.ID().Seal(nil, nil, AppendPlain(nil, KindRequest, body, size))
		if err != nil {
			t.Fatal(err)
		}
		return sealed
	}
	state := AppendState(nil, largestState())
	profile := AppendProfile(nil, largestProfile())
	hello := AppendHello(nil, largestHello())
	note := AppendReceiptNote(nil, &ReceiptNote{Receipt: *largestReceipt()})
	req := AppendRequest(nil, largestRequest())
	for _, c := range []struct {
		name         string
		record, want int // encoded; the number in the documentation
		limit        int // of the record
		whole, size  int // sealed and padded
	}{
		{"state in a slot", len(state), 789, MaxSlotRecord, len(slot(KindState, sign(state))), 900},
		{"state in a datagram", len(state), 789, MaxDatagramRecord, len(datagram(KindState, sign(state))), 1408},
		{"profile", len(profile), 346, MaxSlotRecord, len(slot(KindProfile, sign(profile))), 512},
		{"hello", len(hello), 86, MaxDatagramRecord, len(datagram(KindHello, sign(hello))), 256},
		{"least hello", 68, 68, MaxDatagramRecord, len(datagram(KindHello, sign(AppendHello(nil, &Hello{})))), 256},
		{"receipt", len(note), 137, MaxDatagramRecord, len(datagram(KindReceipt, sign(note))), 256},
		{"request", len(req), 606, MaxRequestRecord, len(request(sign(req))), 900},
		mailCase("mail in a slot", itemMail(MaxSlotBody), MaxSlotMail, MaxSlotMail, 900,
			func(b []byte) []byte { return slot(KindMail, toPrekey(b)) }),
		mailCase("part in a slot", partMail(MaxPartBytes), MaxSlotMail, MaxSlotMail, 900,
			func(b []byte) []byte { return slot(KindMail, toPrekey(b)) }),
		mailCase("direct mail", itemMail(MaxDirect), MailOverhead+ItemOverhead+MaxDirect, MaxDatagramMail, 1408,
			func(b []byte) []byte { return datagram(KindMail, toPrekey(b)) }),
		mailCase("fullest direct mail", itemMail(MaxDatagramItems-ItemOverhead), MaxDatagramMail, MaxDatagramMail, 1408,
			func(b []byte) []byte { return datagram(KindMail, toPrekey(b)) }),
	} {
		t.Logf("%s: record %d of %d bytes, whole %d", c.name, c.record, c.limit, c.whole)
		if c.record != c.want {
			t.Errorf("%s: %d bytes, want %d", c.name, c.record, c.want)
		}
		if c.record > c.limit {
			t.Errorf("%s: %d bytes, the limit is %d", c.name, c.record, c.limit)
		}
		if c.whole != c.size {
			t.Errorf("%s: sealed to %d bytes, want %d", c.name, c.whole, c.size)
		}
	}
	if _, ok := PadSlot(len(toPrekey(AppendMail(nil, itemMail(MaxSlotBody+1))))); ok {
		t.Error("a body above MaxSlotBody fits a slot")
	}
	if _, ok := PadSlot(len(toPrekey(AppendMail(nil, partMail(MaxPartBytes+1))))); ok {
		t.Error("a part above MaxPartBytes fits a slot")
	}
	if MaxMailboxBody < 5<<10 {
		t.Errorf("the whole mailbox takes a body of %d bytes, want 5 KiB", MaxMailboxBody)
	}
}

type largestCase = struct {
	name         string
	record, want int
	limit        int
	whole, size  int
}

func mailCase(name string, m *Mail, want, limit, size int, seal func([]byte) []byte) largestCase {
	b := AppendMail(nil, m)
	return largestCase{name, len(b), want, limit, len(seal(b)), size}
}

// TestPackingArithmetic: batches may be packed by the constants alone.
func TestPackingArithmetic(t *testing.T) {
	m := usualMail()
	want := MailOverhead
	for i := range m.Items {
		size := m.Items[i].Size()
		if got := len(AppendItem(nil, &m.Items[i])); got != size {
			t.Errorf("item %d: %d bytes, Size says %d", i, got, size)
		}
		want += size
	}
	if got := len(AppendMail(nil, m)); got != want {
		t.Errorf("mail: %d bytes, arithmetic says %d", got, want)
	}
	if got := len(AppendItem(nil, &Item{Body: make([]byte, 10)})); got != ItemOverhead+10 {
		t.Errorf("item: %d bytes, arithmetic says %d", got, ItemOverhead+10)
	}
	if got := len(AppendItem(nil, &Item{Skip: true})); got != SkipSize {
		t.Errorf("SKIP: %d bytes, arithmetic says %d", got, SkipSize)
	}
	if got := len(AppendMail(nil, partMail(10))); got != PartOverhead+10 {
		t.Errorf("part: %d bytes, arithmetic says %d", got, PartOverhead+10)
	}
	full := &Mail{Base: 1, First: 1, Items: make([]Item, MaxItems)}
	if got, err := ParseMail(AppendMail(nil, full)); err != nil || len(got.Items) != MaxItems {
		t.Errorf("a batch of %d items: %v", MaxItems, err)
	}
	big := &Item{Body: make([]byte, MaxMessage)}
	if got, err := ParseItem(AppendItem(nil, big)); err != nil || len(got.Body) != MaxMessage {
		t.Errorf("a body of %d bytes: %v", MaxMessage, err)
	}
}

// A refusal is a good value and what its encoding is changed to, at the offsets
// that the documentation gives, to be outside the limits.
type refusal struct {
	codec, what string
	x           any
	set         map[int]byte
}

// bytes returns the changed encoding.
func (r *refusal) bytes(c codec) []byte {
	b := c.append(nil, r.x)
	for at, v := range r.set {
		b[at] = v
	}
	return b
}

// refusals are of every field that has limits, but those of frames.
func refusals() []refusal {
	type fields = map[int]byte
	state, receipt, mail := usualState(), usualState().Receipt, usualMail()
	return []refusal{
		{"state", "incarnation before 1970", state, fields{1: 0x80}},
		{"state", "time before 1970", state, fields{25: 0x80}},
		{"state", "highest format 0", state, fields{33: 0}},
		{"state", "relation", state, fields{42: 4}},
		{"state", "presence", state, fields{51: 4}},
		{"state", "unknown flag", state, fields{60: 1 | 4 | 8 | 32}},
		{"state", "endpoints above 8", state, fields{61: 9}},
		{"state", "address family", state, fields{62: 5}},
		{"state", "prekey number 0", &State{Format: 1, Prekey: Prekey{Number: 1}}, fields{69: 0}},
		{"state", "cannotOpen 0", &State{Format: 1, CannotOpen: 1}, fields{69: 0}},
		{"state", "offer of length 0", &State{Format: 1, Offer: []byte{1}}, fields{63: 0}},
		{"state", "offer above 320", largestState(), fields{largestStateOffer: 1, largestStateOffer + 1: 0x41}},
		{"state", "4-in-6 address", &State{Format: 1, Endpoints: endpoints(1)}, mapped(63)},
		{"window", "no slots", state.Window, fields{20: 0}},
		{"receipt", "unknown flag", receipt, fields{52: 4}},
		{"receipt", "known not below 1,024", &Receipt{Number: 2000, Known: 1023}, fields{54: 4, 55: 0}},
		{"receipt", "known not below number", &Receipt{Number: 5, Known: 4}, fields{55: 5}},
		{"receipt", "skipped ranges above 16", receipt, fields{53: 17}},
		{"receipt", "skipped range ends before it begins", receipt, fields{54: 0, 55: 0}},
		{"receipt", "skipped range before the last 1,024", receipt, fields{54: 4, 55: 0}},
		{"receipt", "skipped range not known", &Receipt{Number: 9, Known: 5, Skipped: []Range{{5, 6}}}, fields{59: 4}},
		{"receipt", "skipped ranges touch", receipt, fields{58: 3, 59: 0xe7}},
		{"receipt", "skipped ranges fall", receipt, fields{62: 3, 63: 0xe8, 64: 3, 65: 0xe8}},
		{"receipt", "skipped number 0", &Receipt{Number: 5, Known: 5, Skipped: []Range{{1, 1}}}, fields{55: 5}},
		{"receipt", "skipped range below number 0", &Receipt{Number: 5, Known: 5, Skipped: []Range{{1, 1}}}, fields{55: 6}},
		{"note", "unknown flag", &ReceiptNote{}, fields{17 + 52: 4}},
		{"offer", "kind 0", usualOffer(), fields{0: 0}},
		{"offer", "kind 3", usualOffer(), fields{0: 3}},
		{"offer", "generation 0", &Offer{Kind: OfferNew, Generation: 1, ID: OfferID{1}}, fields{8: 0}},
		{"offer", "no ID", &Offer{Kind: OfferNew, Generation: 1, ID: OfferID{1}}, fields{9: 0}},
		{"offer", "a restart of no link", restartOffer(), fields{89: 0, 90: 0, 91: 0, 92: 0, 93: 0, 94: 0, 95: 0, 96: 0}},
		{"offer", "candidates above 8", usualOffer(), fields{97: 9}},
		{"offer", "candidate type 0", usualOffer(), fields{98: 0}},
		{"offer", "candidate type 4", usualOffer(), fields{98: 4}},
		{"offer", "address family", usualOffer(), fields{99: 1}},
		{"offer", "4-in-6 address", largestOffer(), mapped(100)},
		{"profile", "name not UTF-8", &Profile{Name: "name"}, fields{26: 0xff}},
		{"profile", "name with newline", &Profile{Name: "name"}, fields{26: '\n'}},
		{"profile", "name above 64", &Profile{Description: strings.Repeat("d", 255)}, fields{25: 65}},
		{"profile", "description not UTF-8", &Profile{Description: "d"}, fields{27: 0x80}},
		{"profile", "description with a control character", &Profile{Description: "d"}, fields{27: 0x1b}},
		{"mail", "base 0", mail, fields{44: 0}},
		{"mail", "first 0", mail, fields{52: 0}},
		{"mail", "first at the end", mail, fields{45: 255, 46: 255, 47: 255, 48: 255, 49: 255, 50: 255, 51: 255, 52: 255}},
		{"mail", "shape", mail, fields{61: 2}},
		{"mail", "no items", mail, fields{62: 0}},
		{"item", "neither message nor SKIP", &Item{}, fields{0: 2}},
		{"item", "time before 1970", &Item{}, fields{17: 0x80}},
		{"item", "body above 64 KiB", &Item{}, fields{26: 1, 28: 1}},
		{"item", "body above everything", &Item{}, fields{25: 255, 26: 255, 27: 255, 28: 255}},
		{"part", "count 0", &Part{Count: 1, Bytes: []byte{1}}, fields{9: 0}},
		{"part", "count above 8", &Part{Count: 1, Bytes: []byte{1}}, fields{9: 9}},
		{"part", "index not below count", &Part{Count: 1, Bytes: []byte{1}}, fields{8: 1}},
		{"part", "no bytes", &Part{Count: 1, Bytes: []byte{1}}, fields{11: 0}},
		{"hello", "presence", largestHello(), fields{65: 4}},
		{"hello", "answer neither 0 nor 1", largestHello(), fields{66: 2}},
		{"hello", "address family", largestHello(), fields{67: 1}},
		{"hello", "4-in-6 address", largestHello(), mapped(68)},
		{"request", "number 0", &Request{Number: 1, Format: 1, Prekey: Prekey{Number: 1}}, fields{64: 0}},
		{"request", "time before 1970", usualRequest(), fields{65: 0x80}},
		{"request", "expiry before 1970", usualRequest(), fields{73: 0x80}},
		{"request", "highest format 0", usualRequest(), fields{81: 0}},
		{"request", "name above 64", usualRequest(), fields{90: 65}},
		{"request", "name with a tab", usualRequest(), fields{91: '\t'}},
		{"request", "hello above 256", usualRequest(), fields{96: 1, 97: 1}},
		{"request", "hello with a carriage return", usualRequest(), fields{98: '\r'}},
		{"request", "prekey number 0", &Request{Number: 1, Format: 1, Prekey: Prekey{Number: 1}}, fields{100: 0}},
		{"request", "endpoints above 8", &Request{Number: 1, Format: 1, Prekey: Prekey{Number: 1}}, fields{133: 9}},
		{"range", "ends before it begins", &Range{1, 1}, fields{7: 2}},
		{"plain", "padding", &plain{KindState, nil, 40}, fields{39: 1}},
		{"envelope", "another first byte", &envelope{Sealed: make([]byte, 256-9)}, fields{0: 'd'}},
		{"envelope", "below its formats", &envelope{Sealed: make([]byte, 256-9)}, fields{0: 0xc7}},
		{"envelope", "above its formats", &envelope{Sealed: make([]byte, 256-9)}, fields{0: 0xcc}},
	}
}

// TestRefused holds what is outside the limits to be refused for that.
func TestRefused(t *testing.T) {
	byName := map[string]codec{}
	for _, c := range codecs() {
		byName[c.name] = c
	}
	for _, r := range refusals() {
		c := byName[r.codec]
		if _, err := c.parse(c.append(nil, r.x)); err != nil {
			t.Errorf("%s, %s: refused before the change: %v", r.codec, r.what, err)
		}
		if _, err := c.parse(r.bytes(c)); !errors.Is(err, ErrValue) {
			t.Errorf("%s, %s: got %v, want ErrValue", r.codec, r.what, err)
		}
	}
}

// TestEndpointWithoutAddress: family 0 is for addresses that may be missing.
func TestEndpointWithoutAddress(t *testing.T) {
	b := AppendState(nil, &State{Format: 1})
	b[61] = 1
	if _, err := ParseState(append(b, 0)); !errors.Is(err, ErrValue) {
		t.Errorf("got %v, want ErrValue", err)
	}
}

// TestCandidateWithoutAddress: family 0 is for addresses that may be missing.
func TestCandidateWithoutAddress(t *testing.T) {
	b := AppendOffer(nil, &Offer{Kind: OfferNew, Generation: 1, ID: OfferID{1}})
	b[97] = 1
	if _, err := ParseOffer(append(b, byte(CandidateHost), 0)); !errors.Is(err, ErrValue) {
		t.Errorf("got %v, want ErrValue", err)
	}
}

// largestStateOffer is where the offer's length stands in the largest state.
const largestStateOffer = 789 - MaxOffer - 2

// mapped makes the IPv6 address at an offset one that maps an IPv4 address.
func mapped(at int) map[int]byte {
	set := map[int]byte{}
	for n := range 10 {
		set[at+n] = 0
	}
	set[at+10], set[at+11] = 0xff, 0xff
	return set
}

func TestUnknownKinds(t *testing.T) {
	for _, k := range []Kind{0, KindRequest + 1, 255} {
		if _, _, err := ParsePlain(AppendPlain(nil, k, nil, 10)); !errors.Is(err, ErrKind) {
			t.Errorf("kind %d: got %v, want ErrKind", k, err)
		}
	}
	for k := KindState; k <= KindRequest; k++ {
		if got, _, err := ParsePlain(AppendPlain(nil, k, nil, 10)); err != nil || got != k {
			t.Errorf("kind %d: got %d, %v", k, got, err)
		}
	}
	for _, first := range []byte{0xc9, 0xca, 0xcb} {
		b := AppendEnvelope(nil, crypto.Tag{}, make([]byte, 247))
		b[0] = first
		if _, _, err := ParseEnvelope(b); !errors.Is(err, ErrFormat) {
			t.Errorf("first byte %x: got %v, want ErrFormat", first, err)
		}
	}
}

// TestEnvelopeSizes: only whole padded sizes are envelopes.
func TestEnvelopeSizes(t *testing.T) {
	good := map[int]bool{256: true, 512: true, 900: true, 1408: true}
	for n := range 1500 {
		b := make([]byte, n)
		if n > 0 {
			b[0] = EnvelopeByte
		}
		_, sealed, err := ParseEnvelope(b)
		if (err == nil) != good[n] {
			t.Errorf("%d bytes: %v", n, err)
		}
		if err == nil && len(sealed) != n-EnvelopeOverhead {
			t.Errorf("%d bytes: %d sealed", n, len(sealed))
		}
	}
}

// TestPadding: a body goes into the smallest size that holds it.
func TestPadding(t *testing.T) {
	for _, c := range []struct {
		name     string
		pad      func(int) (int, bool)
		overhead int
		sizes    []int
	}{
		{"slot", PadSlot, 40, []int{512, 900}},
		{"request", PadRequest, 48, []int{512, 900}},
		{"datagram", PadDatagram, 49, []int{256, 512, 900, 1408}},
	} {
		n := 0
		for _, whole := range c.sizes {
			for ; n <= whole-c.overhead-3; n++ {
				if size, ok := c.pad(n); !ok || size != whole-c.overhead {
					t.Fatalf("%s of %d bytes: %d, %t, want %d", c.name, n, size, ok, whole-c.overhead)
				}
			}
		}
		if size, ok := c.pad(n); ok {
			t.Errorf("%s of %d bytes: %d, want none", c.name, n, size)
		}
	}
}

func TestTexts(t *testing.T) {
	for _, c := range []struct {
		what  string
		check func(string) error
		limit int
		lines bool
	}{
		{"name", CheckName, 64, false}, {"description", CheckDescription, 255, true}, {"hello", CheckHello, 256, true},
	} {
		for text, ok := range map[string]bool{
			"":                                 true,
			"Zoë ☕ 名前":                         true,
			strings.Repeat("x", c.limit):       true,
			strings.Repeat("x", c.limit+1):     false,
			strings.Repeat("é", c.limit/2+1):   false,
			"two\nlines":                       c.lines,
			"a\ttab":                           c.lines,
			"a\rreturn":                        false,
			"a\x00zero":                        false,
			"an\x1bescape":                     false,
			"a\u0085next line":                 false,
			"not \xff UTF-8":                   false,
			"a surrogate \xed\xa0\x80 encoded": false,
		} {
			if err := c.check(text); (err == nil) != ok || err != nil && !errors.Is(err, ErrValue) {
				t.Errorf("%s %q: got %v, want fine: %t", c.what, text, err, ok)
			}
		}
	}
}

// TestAppendRefuses: what cannot be written is a fault of the program.
func TestAppendRefuses(t *testing.T) {
	for name, f := range map[string]func(){
		"9 endpoints":            func() { AppendState(nil, &State{Endpoints: endpoints(9)}) },
		"no endpoint":            func() { AppendState(nil, &State{Endpoints: []netip.AddrPort{{}}}) },
		"9 candidates":           func() { AppendOffer(nil, &Offer{Candidates: make([]Candidate, 9)}) },
		"no candidate address":   func() { AppendOffer(nil, &Offer{Candidates: make([]Candidate, 1)}) },
		"17 ranges":              func() { AppendReceipt(nil, &Receipt{Skipped: make([]Range, 17)}) },
		"range too old":          func() { AppendReceipt(nil, &Receipt{Number: 2000, Known: 1024, Skipped: []Range{{976, 976}}}) },
		"range above the number": func() { AppendReceipt(nil, &Receipt{Number: 5, Known: 5, Skipped: []Range{{5, 6}}}) },
		"ranges that touch":      func() { AppendReceipt(nil, &Receipt{Number: 5, Known: 5, Skipped: []Range{{1, 2}, {3, 3}}}) },
		"range of number 0":      func() { AppendReceipt(nil, &Receipt{Number: 5, Known: 5, Skipped: []Range{{0, 1}}}) },
		"range not known":        func() { AppendReceipt(nil, &Receipt{Number: 5, Known: 2, Skipped: []Range{{3, 3}}}) },
		"known above the number": func() { AppendReceipt(nil, &Receipt{Number: 5, Known: 6}) },
		"known above 1,024":      func() { AppendReceipt(nil, &Receipt{Number: 2000, Known: 1025}) },
		"no slots":               func() { AppendWindow(nil, &Window{}) },
		"slot 8":                 func() { AppendWindow(nil, &Window{Slots: []WindowSlot{{8, 1}}}) },
		"slot twice":             func() { AppendWindow(nil, &Window{Slots: []WindowSlot{{1, 1}, {1, 2}}}) },
		"slots that fall":        func() { AppendWindow(nil, &Window{Slots: []WindowSlot{{2, 1}, {1, 2}}}) },
		"256 items":              func() { AppendMail(nil, &Mail{Items: make([]Item, 256)}) },
		"neither items nor part": func() { AppendMail(nil, &Mail{}) },
		"items and part":         func() { AppendMail(nil, &Mail{Items: make([]Item, 1), Part: &Part{}}) },
		"256 bytes":              func() { AppendBytes8(nil, make([]byte, 256)) },
		"256 characters":         func() { AppendString8(nil, strings.Repeat("x", 256)) },
		"65,536 bytes":           func() { AppendBytes16(nil, make([]byte, 1<<16)) },
		"65,536 characters":      func() { AppendString16(nil, strings.Repeat("x", 1<<16)) },
		"varint of 63 bits":      func() { AppendVarint(nil, MaxVarint+1) },
		"ACK of nothing":         func() { AppendAck(nil, &Ack{}) },
		"65 acknowledged ranges": func() { AppendAck(nil, &Ack{Ranges: append(fullAck().Ranges, AckRange{})}) },
		"ACK that ends early":    func() { AppendAck(nil, &Ack{Ranges: []AckRange{{2, 1}}}) },
		"ACK of touching ranges": func() { AppendAck(nil, &Ack{Ranges: []AckRange{{5, 5}, {4, 4}}}) },
		"ACK of rising ranges":   func() { AppendAck(nil, &Ack{Ranges: []AckRange{{1, 1}, {5, 5}}}) },
		"data beyond the end":    func() { AppendDataHeader(nil, 0, MaxVarint, 1, false) },
		"data of negative size":  func() { AppendDataHeader(nil, 0, 10, -1, false) },
		"data far off":           func() { AppendDataHeader(nil, 0, max64, 1, false) },
		"2⁶⁰ + 1 lanes":          func() { AppendLanes(nil, MaxLanes+1) },
		"reason of 256 bytes":    func() { AppendClose(nil, Close{Reason: strings.Repeat("x", 256)}) },
		"body above its size":    func() { AppendPlain(nil, KindState, make([]byte, 8), 10) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: written", name)
				}
			}()
			f()
		}()
	}
	AppendBytes8(nil, bytes.Repeat([]byte{1}, 255))
	AppendBytes16(nil, make([]byte, 1<<16-1))
}

// TestRoom holds the numbers of docs/SPEC.md.
func TestRoom(t *testing.T) {
	for _, c := range []struct {
		name      string
		got, want int
	}{
		{"record in a slot", MaxSlotRecord, 793},
		{"mail in a slot", MaxSlotMail, 737},
		{"request", MaxRequestRecord, 785},
		{"record in an envelope", MaxDatagramRecord, 1292},
		{"mail in an envelope", MaxDatagramMail, 1236},
		{"items in a slot", MaxSlotItems, 674},
		{"body in a slot", MaxSlotBody, 645},
		{"bytes of a part", MaxPartBytes, 663},
		{"record over a link", MaxLinkRecord, 131_072},
		{"items over a link", MaxLinkItems, 130_888},
	} {
		if c.got != c.want {
			t.Errorf("%s: %d bytes, the specification says %d", c.name, c.got, c.want)
		}
	}
}
