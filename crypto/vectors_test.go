package crypto

import (
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"maps"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

var rewrite = flag.Bool("rewrite", false, "rewrite the outcomes in docs/vectors/keys, except those with an outside source")

// A vector is one file of docs/vectors/keys: what goes in and what must come out, all
// bytes in hexadecimal. An outcome with a source is a fact from outside: it
// may name fewer results than there are, and -rewrite does not touch it.
type vector struct {
	About  string            `json:"about"`
	Source string            `json:"source,omitempty"`
	In     map[string]string `json:"in"`
	Want   map[string]string `json:"want"`
}

// TestVectors runs each file by the kind that its name begins with.
func TestVectors(t *testing.T) {
	kinds := map[string]struct {
		run   func(*testing.T, map[string]string) map[string]string
		least int // files of it
	}{
		"identity":   {identityVector, 4},
		"did":        {didVector, 2},
		"address":    {addressVector, 3},
		"pair":       {pairVector, 3},
		"seal":       {sealVector, 4},
		"transcript": {transcriptVector, 2},
		"bad":        {badVector, 30},
	}
	files, err := filepath.Glob("../docs/vectors/keys/*.json")
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]int{}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".json")
		kind, _, _ := strings.Cut(name, "_")
		seen[kind]++
		t.Run(name, func(t *testing.T) {
			k, ok := kinds[kind]
			if !ok {
				t.Fatalf("no kind %q", kind)
			}
			var v vector
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			d := json.NewDecoder(bytes.NewReader(b))
			d.DisallowUnknownFields()
			if err := d.Decode(&v); err != nil {
				t.Fatal(err)
			}
			got := k.run(t, v.In)
			if *rewrite && v.Source == "" && kind != "bad" {
				v.Want = got
				rewriteVector(t, file, v)
			}
			if len(v.Want) == 0 || v.Source == "" && len(v.Want) != len(got) {
				t.Errorf("%d outcomes in the file, %d results", len(v.Want), len(got))
			}
			for field, want := range v.Want {
				if got[field] != want {
					t.Errorf("%s: got %s, want %s", field, got[field], want)
				}
			}
		})
	}
	for kind := range maps.Keys(kinds) {
		if seen[kind] < kinds[kind].least {
			t.Errorf("%d vectors of kind %s, want at least %d", seen[kind], kind, kinds[kind].least)
		}
	}
}

func rewriteVector(t *testing.T, file string, v vector) {
	t.Helper()
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "\t")
	if err := e.Encode(v); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}

func identityVector(t *testing.T, in map[string]string) map[string]string {
	i := seedIdentity(t, in["seed"])
	m, err := i.ID().montgomery()
	if err != nil {
		t.Fatal(err)
	}
	if own := i.reveal().agree.PublicKey().Bytes(); !bytes.Equal(own, m) {
		t.Errorf("the private X25519 form has public key %x, the public one is %x", own, m)
	}
	return map[string]string{
		"public": hex.EncodeToString(i.ID().Bytes()),
		"id":     i.ID().String(),
		"did":    i.ID().DIDKey(),
		"x25519": hex.EncodeToString(m),
	}
}

func didVector(t *testing.T, in map[string]string) map[string]string {
	id := ID(unhex(t, in["public"]))
	back, err := ParseDIDKey(id.DIDKey())
	if err != nil || back != id {
		t.Errorf("did:key read back: %v, %v", back, err)
	}
	return map[string]string{"did": id.DIDKey()}
}

func addressVector(t *testing.T, in map[string]string) map[string]string {
	a := Address{ID: ID(unhex(t, in["public"])), Nospam: Nospam(unhex(t, in["nospam"]))}
	back, err := ParseAddress(a.String())
	if err != nil || back != a {
		t.Errorf("address read back: %v, %v", back, err)
	}
	day, bucket := Epoch(number(t, in["day"])), uint32(number(t, in["bucket"]))
	bell := a.RequestBell(day)
	return map[string]string{
		"address":      a.String(),
		"slot_public":  publicHex(a.RequestSlot(day, bucket)),
		"bell":         hex.EncodeToString(bell[:]),
		"fixed_bucket": strconv.FormatUint(uint64(FixedBucket(a.ID)), 10),
	}
}

func pairVector(t *testing.T, in map[string]string) map[string]string {
	own, friend := seedIdentity(t, in["own"]), seedIdentity(t, in["friend"])
	p, err := own.Pair(friend.ID())
	if err != nil {
		t.Fatal(err)
	}
	week, hour := Epoch(number(t, in["week"])), Epoch(number(t, in["hour"]))
	return map[string]string{
		"out_slot_public": publicHex(p.Slot(Out, week)),
		"in_slot_public":  publicHex(p.Slot(In, week)),
		"out_key":         hex.EncodeToString(p.Key(Out, week).InsecureBytes()),
		"in_key":          hex.EncodeToString(p.Key(In, week).InsecureBytes()),
		"out_tag":         p.Tag(Out, hour).String(),
		"in_tag":          p.Tag(In, hour).String(),
	}
}

func sealVector(t *testing.T, in map[string]string) map[string]string {
	key, info, ad, sealed := unhex(t, in["key"]), unhex(t, in["info"]), unhex(t, in["ad"]), unhex(t, in["sealed"])
	var plaintext []byte
	var err error
	switch in["by"] {
	case "key":
		var k Key
		if k, err = KeyFromBytes(key); err == nil {
			plaintext, err = k.Open(nil, ad, sealed)
		}
	case "prekey":
		var p *Prekey
		if p, err = PrekeyFromBytes(key); err == nil {
			plaintext, err = p.Open(info, ad, sealed)
		}
	case "identity":
		plaintext, err = seedIdentity(t, in["key"]).Open(info, ad, sealed)
	default:
		t.Fatalf("sealed by %q", in["by"])
	}
	if err != nil {
		t.Fatal(err)
	}
	return map[string]string{"plaintext": hex.EncodeToString(plaintext)}
}

func transcriptVector(t *testing.T, in map[string]string) map[string]string {
	i := seedIdentity(t, in["seed"])
	tr := Transcript{
		Type:        in["type"],
		From:        i.ID(),
		To:          ID(unhex(t, in["to"])),
		Incarnation: Incarnation{Created: int64(number(t, in["created"])), Random: number(t, in["random"])},
		Version:     number(t, in["version"]),
		Body:        unhex(t, in["body"]),
	}
	s := i.Sign(tr)
	if !tr.Verify(s) {
		t.Error("the signature does not verify")
	}
	return map[string]string{"signed": hex.EncodeToString(tr.bytes()), "signature": hex.EncodeToString(s[:])}
}

func badVector(t *testing.T, in map[string]string) map[string]string {
	var err error
	switch in["parse"] {
	case "id":
		_, err = ParseID(in["text"])
	case "address":
		_, err = ParseAddress(in["text"])
	case "did:key":
		_, err = ParseDIDKey(in["text"])
	default:
		t.Fatalf("parse %q", in["parse"])
	}
	var pe *ParseError
	if !errors.As(err, &pe) || pe.What != in["parse"] {
		t.Fatalf("error %v, want a *ParseError of %s", err, in["parse"])
	}
	reasons := map[string]error{
		"base58": ErrBase58, "length": ErrLength, "version": ErrVersion, "checksum": ErrChecksum,
		"prefix": ErrPrefix, "codec": ErrCodec, "key": ErrKey,
	}
	var got []string
	for name, reason := range reasons {
		if errors.Is(err, reason) {
			got = append(got, name)
		}
	}
	return map[string]string{"reason": strings.Join(got, " ")}
}

func seedIdentity(t testing.TB, seed string) *Identity {
	t.Helper()
	i, err := IdentityFromSeed(unhex(t, seed))
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func number(t testing.TB, s string) uint64 {
	t.Helper()
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func publicHex(k ed25519.PrivateKey) string {
	return hex.EncodeToString(k[ed25519.PrivateKeySize-ed25519.PublicKeySize:])
}
