package courier

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"flag"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gocarrier/carrier/crypto"
	"github.com/gocarrier/carrier/internal/wire"
)

var rewrite = flag.Bool("rewrite", false, "seal docs/vectors/envelopes anew")

// An envelopeVector is one file of docs/vectors/envelopes: a datagram, slot
// value or request with all keys to it, and the record that is found inside, or
// the name under which it is dropped and counted.
type envelopeVector struct {
	About string            `json:"about"`
	In    map[string]string `json:"in"`
	Want  map[string]string `json:"want"`
}

// TestVectors opens each file as a node does.
func TestVectors(t *testing.T) {
	cases := sealedCases()
	if *rewrite {
		for _, c := range cases {
			writeEnvelope(t, c)
		}
	}
	files, err := filepath.Glob(envelopePath("*"))
	if err != nil {
		t.Fatal(err)
	}
	if len(files) != len(cases) {
		t.Errorf("%d files, want one for each of %d cases", len(files), len(cases))
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			b, err := os.ReadFile(envelopePath(c.name))
			if err != nil {
				t.Fatal(err)
			}
			var v envelopeVector
			d := json.NewDecoder(bytes.NewReader(b))
			d.DisallowUnknownFields()
			if err := d.Decode(&v); err != nil {
				t.Fatal(err)
			}
			if got := openVector(t, v.In); !maps.Equal(got, v.Want) {
				t.Errorf("got  %v\nwant %v", got, v.Want)
			}
			if c.dropped != v.Want["dropped"] {
				t.Errorf("the file says that it is dropped as %q, want %q", v.Want["dropped"], c.dropped)
			}
		})
	}
}

func envelopePath(name string) string {
	return filepath.Join("../../docs/vectors/envelopes", name+".json")
}

// vectorReader makes the node that reads what a vector holds, with its friend.
func vectorReader(t *testing.T, in map[string]string) (reader *node, from *peer) {
	t.Helper()
	w := newWorld(t)
	w.now = time.UnixMilli(int64(decimal(t, in["time"])))
	reader = w.nodeAt("reader", netip.MustParseAddrPort("192.0.2.1:6881"), identityOf(t, in["to"]))
	prekey, err := crypto.PrekeyFromBytes(raw(t, in["prekey"]))
	if err != nil {
		t.Fatal(err)
	}
	reader.newest = decimal(t, in["prekey_number"])
	reader.prekey = map[uint64]*crypto.Prekey{reader.newest: prekey}
	reader.start()
	writer := identityOf(t, in["from"]).ID()
	reader.add(writer, wire.RelationFriend, vectorBond)
	from = reader.c.peers[writer]
	from.online = true // has proven itself: mail would else be too early
	return reader, from
}

// openVector opens a vector's bytes as they say, and gives the outcome.
func openVector(t *testing.T, in map[string]string) map[string]string {
	t.Helper()
	reader, p := vectorReader(t, in)
	before := reader.c.Stats()
	var kind wire.Kind
	var record []byte
	b := raw(t, in["bytes"])
	switch in["by"] {
	case "envelope":
		reader.receive(b, netip.MustParseAddrPort("192.0.2.2:6881"))
		if _, sealed, err := wire.ParseEnvelope(b); err == nil {
			if plain, ok := p.openDatagram(crypto.Week(reader.w.now), b[:wire.EnvelopeOverhead], sealed); ok {
				kind, record = vectorRecord(t, in, plain)
			}
		}
	case "slot":
		week := crypto.Epoch(decimal(t, in["week"]))
		_, key := p.slotKey(crypto.In, week)
		kind = map[byte]wire.Kind{'s': wire.KindState, 'p': wire.KindProfile, 'm': wire.KindMail}[in["salt"][0]]
		reader.do(func() {
			body := p.openSlot(crypto.In, week, in["salt"], kind, Item{Key: key, Salt: in["salt"], Value: b})
			switch {
			case body == nil:
			case kind == wire.KindMail:
				p.openMail(body, func(*wire.Mail) bool { return true })
			case kind == wire.KindState:
				p.acceptState(body, ViaDHT)
			default:
				p.acceptProfile(body, ViaDHT)
			}
			if body != nil {
				record = vectorBody(t, in, kind, body)
			}
		})
	case "request":
		a := crypto.Address{ID: reader.id, Nospam: crypto.Nospam(raw(t, in["nospam"]))}
		if r := reader.c.openRequest(a, b); r != nil {
			kind, record = wire.KindRequest, wire.AppendRequest(nil, r)
		}
	default:
		t.Fatalf("opened by %q", in["by"])
	}
	for name, n := range reader.c.Stats() {
		if reason, ok := strings.CutPrefix(name, "drop."); ok && n > before[name] {
			return map[string]string{"dropped": reason}
		}
	}
	return map[string]string{"kind": strconv.Itoa(int(kind)), "record": hex.EncodeToString(record)}
}

// vectorRecord finds the record in a plaintext that opened.
func vectorRecord(t *testing.T, in map[string]string, plain []byte) (wire.Kind, []byte) {
	t.Helper()
	kind, body, err := wire.ParsePlain(plain)
	if err != nil {
		return 0, nil
	}
	return kind, vectorBody(t, in, kind, body)
}

func vectorBody(t *testing.T, in map[string]string, kind wire.Kind, body []byte) []byte {
	t.Helper()
	if kind == wire.KindMail {
		number, sealed, err := wire.ParseMailBody(body)
		if err != nil {
			return nil
		}
		prekey, err := crypto.PrekeyFromBytes(raw(t, in["prekey"]))
		if err != nil {
			t.Fatal(err)
		}
		info := mailInfo(identityOf(t, in["from"]).ID(), identityOf(t, in["to"]).ID(), number)
		if body, err = prekey.Open(info, nil, sealed); err != nil {
			return nil
		}
	}
	_, record, err := wire.ParseSigned(body)
	if err != nil {
		return nil
	}
	return record
}

// writeEnvelope seals a case anew: what is random differs each time.
func writeEnvelope(t *testing.T, c sealedCase) {
	t.Helper()
	prekey := crypto.NewPrekey()
	v := envelopeVector{About: c.about, In: map[string]string{
		"by": c.by, "from": seedOf(1), "to": seedOf(2), "time": strconv.FormatInt(midweek.UnixMilli(), 10),
		"prekey_number": "1700000000007", "prekey": hex.EncodeToString(prekey.InsecureBytes()),
	}}
	w := newWorld(t)
	writer := w.nodeAt("writer", netip.MustParseAddrPort("192.0.2.2:6881"), identityOf(t, v.In["from"]))
	writer.start()
	reader := identityOf(t, v.In["to"])
	writer.add(reader.ID(), wire.RelationFriend, vectorBond)
	switch c.by {
	case "slot":
		v.In["week"], v.In["salt"] = strconv.FormatUint(uint64(crypto.Week(midweek)), 10), c.salt
	case "request":
		nospam := vectorNospam()
		v.In["nospam"] = hex.EncodeToString(nospam[:])
	}
	s := &sealer{t: t, node: writer, peer: writer.c.peers[reader.ID()], to: wire.Prekey{Number: 1700000000007, Public: prekey.Public()}, in: v.In}
	writer.do(func() { v.In["bytes"] = hex.EncodeToString(c.seal(s)) })
	v.Want = openVector(t, v.In)
	b, err := json.MarshalIndent(v, "", "\t")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(envelopePath(c.name), append(b, '\n'), 0o644); err != nil {
		t.Fatal(err)
	}
}

func seedOf(n byte) string { return hex.EncodeToString(slices.Repeat([]byte{n}, 32)) }

func identityOf(t *testing.T, seed string) *crypto.Identity {
	t.Helper()
	i, err := crypto.IdentityFromSeed(raw(t, seed))
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func raw(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func decimal(t *testing.T, s string) uint64 {
	t.Helper()
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
