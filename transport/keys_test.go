package transport

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/gocarrier/carrier/crypto"
)

// A keyVector is one file of docs/vectors/packets that another implementation can run as
// well: what goes in and what must come out, bytes in hexadecimal. The outcomes
// were not made by this package.
type keyVector struct {
	About  string            `json:"about"`
	Source string            `json:"source,omitempty"`
	In     map[string]string `json:"in"`
	Want   map[string]string `json:"want"`
}

// TestKeyVectors runs each file by the kind that its name begins with.
func TestKeyVectors(t *testing.T) {
	kinds := map[string]struct {
		run   func(*testing.T, map[string]string) map[string]string
		least int // files of it
	}{
		"attempt":  {attemptVector, 1},
		"restart":  {restartVector, 2},
		"mask":     {maskVector, 3},
		"schedule": {scheduleVector, 2},
		"packet":   {packetVector, 6},
		"receive":  {receiveVector, 18},
	}
	seen := map[string]int{}
	for kind, k := range kinds {
		files, err := filepath.Glob("../docs/vectors/packets/" + kind + "_*.json")
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			seen[kind]++
			t.Run(strings.TrimSuffix(filepath.Base(file), ".json"), func(t *testing.T) {
				b, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				var v keyVector
				d := json.NewDecoder(bytes.NewReader(b))
				d.DisallowUnknownFields()
				if err := d.Decode(&v); err != nil {
					t.Fatal(err)
				}
				got := k.run(t, v.In)
				if !maps.Equal(got, v.Want) {
					t.Errorf("got  %v\nwant %v", got, v.Want)
				}
			})
		}
		if seen[kind] < k.least {
			t.Errorf("%d vectors of kind %s, want at least %d", seen[kind], kind, k.least)
		}
	}
}

func attemptVector(t *testing.T, in map[string]string) map[string]string {
	id := attemptDigest(vectorLinkEnd(t, in, "lower"), vectorLinkEnd(t, in, "higher"))
	return map[string]string{"attempt": hex.EncodeToString(id[:len(attemptID{})])}
}

func restartVector(t *testing.T, in map[string]string) map[string]string {
	from, to := crypto.ID(vectorBytes(t, in["from"])), crypto.ID(vectorBytes(t, in["to"]))
	id := restartDigest(attemptID(vectorBytes(t, in["link"])), from, to, signedOffer{
		Incarnation: vectorIncarnation(t, in, ""), Bytes: vectorBytes(t, in["offer"]),
	})
	secret := restartSecret(vectorBytes(t, in["master"]))
	out := map[string]string{"attempt": hex.EncodeToString(id[:len(attemptID{})]), "secret": hex.EncodeToString(secret)}
	for _, side := range []direction{fromLower, fromHigher} {
		c := restartICE(secret, vectorNumber(t, in["generation"]), direction(vectorNumber(t, in["offerer"])), side)
		out["ufrag_"+strconv.Itoa(int(side))], out["password_"+strconv.Itoa(int(side))] = c.Ufrag, c.Password
	}
	return out
}

func maskVector(t *testing.T, in map[string]string) map[string]string {
	key := vectorBytes(t, in["key"])
	var h headerKey = (*chachaHeaderKey)(nil)
	if vectorSuite(t, in) == suiteChaCha20Poly1305 {
		h = (*chachaHeaderKey)(key)
	} else {
		h = aesHeaderKey{aesBlock(t, key)}
	}
	var mask [sampleSize]byte
	h.mask(&mask, vectorBytes(t, in["sample"]))
	return map[string]string{"mask": hex.EncodeToString(mask[:maskSize])}
}

func scheduleVector(t *testing.T, in map[string]string) map[string]string {
	s, lower, higher := vectorSuite(t, in), vectorLinkEnd(t, in, "lower"), vectorLinkEnd(t, in, "higher")
	salt := linkSalt(s, lower, higher)
	if other := linkSalt(s, higher, lower); other != salt {
		t.Errorf("the salt depends on which end makes it: %x and %x", salt, other)
	}
	master := linkMaster(vectorBytes(t, in["exporter"]), salt)
	out := map[string]string{"salt": hex.EncodeToString(salt[:]), "master": hex.EncodeToString(master)}
	for _, d := range []direction{fromLower, fromHigher} {
		name := func(what string, rest string) string { return what + "_" + strconv.Itoa(int(d)) + rest }
		out[name("header_key", "")] = hex.EncodeToString(expandSecret(master, directional(headerLabel, d), s.keySize()))
		r := newRatchet(s, master, d)
		for phase := range 3 {
			rest := "_phase_" + strconv.Itoa(phase)
			secret := r.secret
			p := r.next()
			out[name("secret", rest)] = hex.EncodeToString(secret[:])
			out[name("key", rest)] = hex.EncodeToString(expandSecret(secret[:], keyLabel, s.keySize()))
			out[name("iv", rest)] = hex.EncodeToString(p.iv[:])
		}
		for _, path := range []uint32{0, 1, 1<<32 - 1} {
			id := newConnIDs(master, d).at(path)
			out[name("connection", "_path_"+strconv.FormatUint(uint64(path), 10))] = hex.EncodeToString(id[:])
		}
	}
	return out
}

func packetVector(t *testing.T, in map[string]string) map[string]string {
	sender, receiver := vectorEnds(t, in)
	for range vectorNumber(t, in["phase"]) {
		sender.send.advance()
		receiver.receive.advance(0)
	}
	pn, path := vectorNumber(t, in["number"]), uint32(vectorNumber(t, in["path"]))
	plaintext := vectorBytes(t, in["plaintext"])
	datagram := sender.seal(nil, sender.outID(path), pn, plaintext)
	out := map[string]string{"datagram": hex.EncodeToString(datagram)}
	if id, ok := dataConnID(datagram); !ok || id != receiver.inID(path) {
		t.Errorf("connection ID %x, %v; the receiver expects %x", id, ok, receiver.inID(path))
	}
	receiver.window.next = pn
	gotPN, got, err := receiver.open(datagram)
	if err != nil || gotPN != pn || !bytes.Equal(got, plaintext) {
		t.Errorf("opened: packet %d, %x, %v", gotPN, got, err)
	}
	return out
}

func receiveVector(t *testing.T, in map[string]string) map[string]string {
	_, receiver := vectorEnds(t, in)
	for pn := range vectorNumber(t, in["sealed"]) {
		receiver.seal(nil, receiver.outID(0), pn, nil)
	}
	var outcomes []string
	for _, text := range strings.Fields(in["datagrams"]) {
		pn, _, err := receiver.open(vectorBytes(t, text))
		outcomes = append(outcomes, packetOutcome(pn, err))
	}
	return map[string]string{"outcomes": strings.Join(outcomes, " ")}
}

// packetOutcome is how vectors name what open returned.
func packetOutcome(pn uint64, err error) string {
	switch {
	case err == nil:
		return strconv.FormatUint(pn, 10)
	case errors.Is(err, errNotData):
		return "type"
	case errors.Is(err, errAuth):
		return "auth"
	case errors.Is(err, errDuplicate):
		return "duplicate"
	case errors.Is(err, errOld):
		return "old"
	case errors.Is(err, errPacketFault):
		return "fault"
	}
	return err.Error()
}

// vectorLinkEnd returns the end of a link whose fields have that prefix.
func vectorLinkEnd(t *testing.T, in map[string]string, which string) linkEnd {
	return linkEnd{
		ID:          crypto.ID(vectorBytes(t, in[which+"_id"])),
		Incarnation: vectorIncarnation(t, in, which+"_"),
		Offer:       vectorBytes(t, in[which+"_offer"]),
	}
}

func vectorIncarnation(t *testing.T, in map[string]string, prefix string) crypto.Incarnation {
	return crypto.Incarnation{
		Created: int64(vectorNumber(t, in[prefix+"created"])),
		Random:  vectorNumber(t, in[prefix+"random"]),
	}
}

// vectorEnds returns the two ends of a link: who sends in the vector, and who
// receives.
func vectorEnds(t *testing.T, in map[string]string) (sender, receiver *linkKeys) {
	s, master := vectorSuite(t, in), vectorBytes(t, in["master"])
	lower := direction(vectorNumber(t, in["from"])) == fromLower
	return newLinkKeys(s, master, lower), newLinkKeys(s, master, !lower)
}

func vectorSuite(t *testing.T, in map[string]string) suite {
	return suite(binary.BigEndian.Uint16(vectorBytes(t, in["suite"])))
}

func vectorBytes(t *testing.T, text string) []byte {
	t.Helper()
	b, err := hex.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func vectorNumber(t *testing.T, text string) uint64 {
	t.Helper()
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestLinkSaltBinds changes each thing that the salt must cover: a friend of
// both ends who passes one's fingerprint on as his own changes an ID or an
// offer, and the ends then have different keys.
func TestLinkSaltBinds(t *testing.T) {
	a := linkEnd{ID: crypto.ID{1}, Incarnation: crypto.Incarnation{Created: 5, Random: 6}, Offer: []byte("alice's offer")}
	b := linkEnd{ID: crypto.ID{2}, Incarnation: crypto.Incarnation{Created: 7, Random: 8}, Offer: []byte("bob's offer")}
	base := linkSalt(suiteAES128GCM, a, b)
	salts := map[[32]byte]string{base: "base"}
	try := func(name string, s suite, a, b linkEnd) {
		salt := linkSalt(s, a, b)
		if other, ok := salts[salt]; ok {
			t.Errorf("%s: the salt is that of %q", name, other)
		}
		salts[salt] = name
	}
	try("suite", suiteChaCha20Poly1305, a, b)
	for name, change := range map[string]func(*linkEnd){
		"id":          func(e *linkEnd) { e.ID[31]++ },
		"created":     func(e *linkEnd) { e.Incarnation.Created++ },
		"random":      func(e *linkEnd) { e.Incarnation.Random++ },
		"offer":       func(e *linkEnd) { e.Offer = append([]byte(nil), e.Offer...); e.Offer[0]++ },
		"offer's end": func(e *linkEnd) { e.Offer = e.Offer[:len(e.Offer)-1] },
		"no offer":    func(e *linkEnd) { e.Offer = nil },
	} {
		changed := a
		change(&changed)
		try("a's "+name, suiteAES128GCM, changed, b)
		changed = b
		change(&changed)
		try("b's "+name, suiteAES128GCM, a, changed)
	}
	swapped, other := a, b
	swapped.Offer, other.Offer = b.Offer, a.Offer
	try("offers swapped", suiteAES128GCM, swapped, other)
	// The same bytes, cut elsewhere.
	joined := append(append([]byte(nil), a.Offer...), b.Offer...)
	moved, rest := a, b
	moved.Offer, rest.Offer = joined[:len(a.Offer)+1], joined[len(a.Offer)+1:]
	try("offers cut elsewhere", suiteAES128GCM, moved, rest)
}

// TestKeysDiffer has no key of a link serve twice.
func TestKeysDiffer(t *testing.T) {
	for _, s := range packetSuites() {
		seen := map[string]string{}
		note := func(name string, key []byte) {
			if other, ok := seen[string(key[:16])]; ok {
				t.Errorf("%#04x: %s is %s", s, name, other)
			}
			seen[string(key[:16])] = name
		}
		for _, master := range [][]byte{packetMaster(1), packetMaster(2)} {
			for d := fromLower; d <= fromHigher; d++ {
				name := hex.EncodeToString(master[:1]) + "/" + strconv.Itoa(int(d)) + "/"
				note(name+"header", expandSecret(master, directional(headerLabel, d), 16))
				note(name+"connection", newConnIDs(master, d).secret)
				r := newRatchet(s, master, d)
				for phase := range 4 {
					note(name+"secret "+strconv.Itoa(phase), r.secret[:])
					note(name+"key "+strconv.Itoa(phase), expandSecret(r.secret[:], keyLabel, 16))
					r.next()
				}
			}
		}
	}
}

// TestUnknownSuite holds that keys are never made for a suite that the attempt
// should have refused.
func TestUnknownSuite(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("keys were made for suite 0xC02C")
		}
	}()
	newLinkKeys(0xC02C, packetMaster(1), true)
}
