package transport

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/gocarrier/carrier/crypto"
	"github.com/gocarrier/carrier/internal/wire"
)

// recorded is docs/vectors/link.json, which the root's TestRecording writes.
type recorded struct {
	People []struct {
		Name, Seed, ID, Address string
		Prekeys                 []struct{ Number, Private string }
	}
	KeyLog    []string
	Want      map[string]string
	Datagrams []struct{ Time, From, Bytes string }
}

// recordedEnd is one of the two nodes, and what it was seen to send.
type recordedEnd struct {
	*crypto.Identity
	pair     *crypto.Pair
	prekeys  map[uint64]*crypto.Prekey
	offers   []linkEnd // in its states, each once
	envelope map[wire.Kind]int
	keys     *linkKeys
	lanes    map[uint64]*recordedLane // but those that were reset
	flows    []wire.Datagram
	closed   *wire.Close
	asks     map[[16]byte]bool
	answers  map[[16]byte]bool
}

// recordedLane is one direction of a lane.
type recordedLane struct {
	b   []byte
	has []bool
	fin bool
}

func (l *recordedLane) add(d wire.Data) {
	if end := int(d.Offset) + len(d.Data); end > len(l.b) {
		l.b = append(l.b, make([]byte, end-len(l.b))...)
		l.has = append(l.has, make([]bool, end-len(l.has))...)
	}
	copy(l.b[d.Offset:], d.Data)
	for i := range d.Data {
		l.has[int(d.Offset)+i] = true
	}
	l.fin = l.fin || d.Fin
}

// TestRecordedLink opens every datagram of the recording with the keys that it
// tells, and finds in them what the two programs have said.
func TestRecordedLink(t *testing.T) {
	file, err := os.ReadFile("../docs/vectors/link.json")
	if err != nil {
		t.Fatal(err)
	}
	var r recorded
	if err := json.Unmarshal(file, &r); err != nil {
		t.Fatal(err)
	}
	ends := recordedEnds(t, &r)
	var attempt attemptID
	kinds := map[byte]int{}
	for i, d := range r.Datagrams {
		b := vectorBytes(t, d.Bytes)
		from, to := ends[d.From], recordedOther(ends, d.From)
		switch first := b[0]; {
		case first <= 3:
			kinds[0]++
		case first == 'd':
			kinds['d']++
		case first == wire.EnvelopeByte:
			from.takeEnvelope(t, to, b, time.UnixMicro(int64(vectorNumber(t, d.Time))))
		case first == handshakeKind:
			attempt = attemptID(b[1:handshakeOverhead])
			kinds[handshakeKind]++
		case isData(b):
			if to.keys == nil {
				makeRecordedKeys(t, &r, attempt, from, to)
			}
			_, plain, err := to.keys.open(b)
			if err != nil {
				t.Fatalf("datagram %d: %v", i, err)
			}
			from.takeFrames(t, plain)
		default:
			t.Errorf("datagram %d begins with 0x%02X", i, first)
		}
	}
	for _, kind := range []byte{0, 'd', handshakeKind} {
		if kinds[kind] == 0 {
			t.Errorf("no datagram that begins with 0x%02X", kind)
		}
	}
	alice, bob := ends["Alice"], ends["Bob"]
	for name, end := range ends {
		if end.envelope[wire.KindHello] == 0 || end.envelope[wire.KindState] == 0 {
			t.Errorf("envelopes of %s: %v, want hellos and states", name, end.envelope)
		}
		if len(end.asks) == 0 || !maps.Equal(end.asks, recordedOther(ends, name).answers) {
			t.Errorf("the questions of %s are %v, the answers are %v", name, end.asks, recordedOther(ends, name).answers)
		}
		for id, l := range end.lanes {
			if bytes.Contains(boolBytes(l.has), []byte{0}) || l.fin != (id != 0) {
				t.Errorf("lane %d from %s is not whole, or its FIN is %v", id, name, l.fin)
			}
		}
	}
	if alice.closed == nil || alice.closed.Code != CodeShutdown {
		t.Errorf("Alice has closed with %+v, want code 0", alice.closed)
	}
	checkSaid(t, r.Want, alice, bob)
}

func boolBytes(list []bool) (b []byte) {
	for _, v := range list {
		b = wire.AppendBool(b, v)
	}
	return b
}

func recordedEnds(t *testing.T, r *recorded) map[string]*recordedEnd {
	t.Helper()
	ends := map[string]*recordedEnd{}
	for _, p := range r.People {
		id, err := crypto.IdentityFromSeed(vectorBytes(t, p.Seed))
		if err != nil {
			t.Fatal(err)
		}
		if got := id.ID(); !bytes.Equal(got[:], vectorBytes(t, p.ID)) {
			t.Errorf("the seed of %s is of %x, not of %s", p.Name, got, p.ID)
		}
		end := &recordedEnd{
			Identity: id, prekeys: map[uint64]*crypto.Prekey{}, envelope: map[wire.Kind]int{}, lanes: map[uint64]*recordedLane{},
			asks: map[[16]byte]bool{}, answers: map[[16]byte]bool{},
		}
		for _, k := range p.Prekeys {
			if end.prekeys[vectorNumber(t, k.Number)], err = crypto.PrekeyFromBytes(vectorBytes(t, k.Private)); err != nil {
				t.Fatal(err)
			}
		}
		ends[p.Name] = end
	}
	for name, end := range ends {
		var err error
		if end.pair, err = end.Pair(recordedOther(ends, name).ID()); err != nil {
			t.Fatal(err)
		}
	}
	return ends
}

func recordedOther(ends map[string]*recordedEnd, name string) *recordedEnd {
	for other, end := range ends {
		if other != name {
			return end
		}
	}
	return nil
}

// takeEnvelope opens an envelope to the other end, sent at a time.
func (e *recordedEnd) takeEnvelope(t *testing.T, to *recordedEnd, b []byte, at time.Time) {
	t.Helper()
	tag, sealed, err := wire.ParseEnvelope(b)
	if err != nil {
		t.Fatal(err)
	}
	hour := crypto.Hour(at)
	if want := to.pair.Tag(crypto.In, hour); tag != want {
		t.Fatalf("tag %s, want %s", tag, want)
	}
	plain, err := to.pair.Key(crypto.In, crypto.HourWeek(hour)).Open(nil, b[:wire.EnvelopeOverhead], sealed)
	if err != nil {
		t.Fatal(err)
	}
	kind, body, err := wire.ParsePlain(plain)
	if err != nil {
		t.Fatal(err)
	}
	e.envelope[kind]++
	e.takeRecord(t, to, kind, body)
}

// takeRecord takes a record other than mail, of an envelope or over the link.
func (e *recordedEnd) takeRecord(t *testing.T, to *recordedEnd, kind wire.Kind, body []byte) {
	t.Helper()
	signature, record, err := wire.ParseSigned(body)
	if err != nil {
		t.Fatal(err)
	}
	signed := crypto.Transcript{From: e.ID(), To: to.ID(), Body: record}
	switch kind {
	case wire.KindState:
		x, err := wire.ParseState(record)
		if err != nil {
			t.Fatal(err)
		}
		signed.Type, signed.Incarnation, signed.Version = "state", x.Incarnation, x.Version
		if x.Offer != nil {
			e.offers = append(e.offers, linkEnd{e.ID(), x.Incarnation, x.Offer})
		}
	case wire.KindHello:
		x, err := wire.ParseHello(record)
		if err != nil {
			t.Fatal(err)
		}
		signed.Type, signed.Incarnation, signed.Version = "hello", x.Incarnation, x.Version
	case wire.KindProfile:
		x, err := wire.ParseProfile(record)
		if err != nil {
			t.Fatal(err)
		}
		signed.Type, signed.Incarnation, signed.Version = "profile", x.Incarnation, x.Version
	case wire.KindReceipt:
		x, err := wire.ParseReceiptNote(record)
		if err != nil {
			t.Fatal(err)
		}
		signed.Type, signed.Incarnation, signed.Version = "receipt", x.Receipt.Incarnation, x.Version
	case wire.KindMail, wire.KindRequest:
		t.Fatalf("a record of kind %d", kind)
	}
	if !signed.Verify(signature) {
		t.Errorf("the signature of a %s of %s does not verify", signed.Type, e.ID())
	}
}

// makeRecordedKeys makes the keys of the link that an attempt has made, from the
// offers that it rests on and from what the key log says of the handshake.
func makeRecordedKeys(t *testing.T, r *recorded, attempt attemptID, a, b *recordedEnd) {
	t.Helper()
	var exporter, master, clientRandom []byte
	for _, line := range r.KeyLog {
		switch f := strings.Fields(line); {
		case f[0] == "CARRIER_LINK" && f[1] == fmt.Sprintf("%x", attempt):
			exporter = vectorBytes(t, f[2])
		case f[0] == "CLIENT_RANDOM":
			clientRandom, master = vectorBytes(t, f[1]), vectorBytes(t, f[2])
		}
	}
	chosen, serverRandom := recordedServerHello(t, r)
	if got := exportTLS12(master, exporterLabel, append(bytes.Clone(clientRandom), serverRandom...)); !bytes.Equal(got, exporter) {
		t.Errorf("the master secret of DTLS exports %x, the key log says %x", got, exporter)
	}
	for _, x := range a.offers {
		for _, y := range b.offers {
			if id := attemptDigest(x, y); attemptID(id[:8]) != attempt {
				continue
			}
			secret := linkMaster(exporter, linkSalt(chosen, x, y))
			lower := a.ID().Compare(b.ID()) < 0
			a.keys, b.keys = newLinkKeys(chosen, secret, lower), newLinkKeys(chosen, secret, !lower)
			return
		}
	}
	t.Fatalf("no two of the offers make attempt %x", attempt)
}

// recordedServerHello returns cipher suite and random of the ServerHello, which
// is the first record of its datagram (RFC 6347, section 4.3.2).
func recordedServerHello(t *testing.T, r *recorded) (suite, []byte) {
	t.Helper()
	const (
		recordHeader, handshakeHeader = 13, 12
		serverHello                   = 2
	)
	for _, d := range r.Datagrams {
		b := vectorBytes(t, d.Bytes)
		if b[0] != handshakeKind || b[handshakeOverhead] != 22 || b[handshakeOverhead+recordHeader] != serverHello {
			continue
		}
		hello := b[handshakeOverhead+recordHeader+handshakeHeader:]
		rest := hello[2+32:]
		rest = rest[1+rest[0]:] // session ID
		return suite(binary.BigEndian.Uint16(rest)), hello[2 : 2+32]
	}
	t.Fatal("no ServerHello")
	return 0, nil
}

// exportTLS12 is the exporter of RFC 5705 without context, of 32 bytes: one
// round of P_SHA256 (RFC 5246, section 5).
func exportTLS12(master []byte, label string, randoms []byte) []byte {
	mac := func(parts ...[]byte) []byte {
		h := hmac.New(sha256.New, master)
		for _, p := range parts {
			_, _ = h.Write(p) // hashes never fail
		}
		return h.Sum(nil)
	}
	seed := append([]byte(label), randoms...)
	return mac(mac(seed), seed)
}

// takeFrames takes the plaintext of a data packet.
func (e *recordedEnd) takeFrames(t *testing.T, b []byte) {
	t.Helper()
	for len(b) > 0 {
		var err error
		switch kind := wire.FrameKind(b[0]); kind {
		case wire.FramePadding:
			err, b = wire.ParsePadding(b), nil
		case wire.FramePing:
			b, err = wire.ParsePing(b)
		case wire.FrameAck:
			_, b, err = wire.ParseAck(b, nil)
		case wire.FrameClose:
			var x wire.Close
			x, b, err = wire.ParseClose(b)
			e.closed = &x
		case wire.FrameLinkWindow:
			_, b, err = wire.ParseLinkWindow(b)
		case wire.FrameLaneWindow:
			_, b, err = wire.ParseLaneWindow(b)
		case wire.FrameLanes:
			_, b, err = wire.ParseLanes(b)
		case wire.FrameReset:
			var x wire.Reset
			x, b, err = wire.ParseReset(b)
			delete(e.lanes, x.Lane)
		case wire.FrameStop:
			_, b, err = wire.ParseStop(b)
		case wire.FramePathChallenge:
			_, b, err = wire.ParsePathChallenge(b)
		case wire.FramePathResponse:
			_, b, err = wire.ParsePathResponse(b)
		case wire.FrameDatagram:
			var x wire.Datagram
			x, b, err = wire.ParseDatagram(b)
			e.flows = append(e.flows, x)
		case wire.FrameAsk:
			var x [16]byte
			x, b, err = wire.ParseAsk(b)
			e.asks[x] = true
		case wire.FrameAnswer:
			var x [16]byte
			x, b, err = wire.ParseAnswer(b)
			e.answers[x] = true
		case wire.FrameData, wire.FrameDataFin:
			var x wire.Data
			x, b, err = wire.ParseData(b)
			if e.lanes[x.Lane] == nil {
				e.lanes[x.Lane] = &recordedLane{}
			}
			e.lanes[x.Lane].add(x)
		default:
			t.Fatalf("frame of kind 0x%02X", kind)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}
