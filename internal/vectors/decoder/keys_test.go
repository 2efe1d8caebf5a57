package decoder

import (
	"crypto/ecdh"
	"crypto/ed25519"
	"errors"
	"strconv"
	"testing"
)

func TestKeys(t *testing.T) {
	eachVector(t, "keys", func(v *vector) {
		switch v.kind {
		case "identity":
			i := v.identity("seed")
			v.check(map[string]any{
				"public": i.ID[:], "id": i.ID.String(), "did": i.ID.DID(), "x25519": i.x25519.PublicKey().Bytes(),
			})
			form := newCurve().montgomery(i.ID)
			mustEqual(t, "X25519 form by the map", form[:], i.x25519.PublicKey().Bytes())
			checkTexts(v, i.ID)
		case "did":
			id := ID(v.hex("public"))
			v.check(map[string]any{"did": id.DID()})
			checkTexts(v, id)
		case "address":
			checkAddress(v)
		case "pair":
			checkPair(v)
		case "seal":
			checkSeal(v)
		case "transcript":
			i := v.identity("seed")
			signed := Transcript(v.in["type"], i.ID, ID(v.hex("to")),
				Incarnation{Created: v.number("created"), Random: v.number("random")}, v.number("version"), v.hex("body"))
			signature := ed25519.Sign(i.private, signed)
			v.check(map[string]any{"signed": signed, "signature": signature})
			if !verified(i.ID, signed, signature) {
				v.t.Error("the signature does not verify")
			}
		case "bad":
			checkBadText(v)
		default:
			v.t.Fatalf("kind %s", v.kind)
		}
	})
}

func checkTexts(v *vector, id ID) {
	v.t.Helper()
	if got, err := ParseID(id.String()); err != nil || got != id {
		v.t.Errorf("ParseID = %v, %v", got, err)
	}
	if got, err := ParseDID(id.DID()); err != nil || got != id {
		v.t.Errorf("ParseDID = %v, %v", got, err)
	}
}

func checkAddress(v *vector) {
	v.t.Helper()
	id, nospam := ID(v.hex("public")), v.hex("nospam")
	day, bucket := uint32(v.number("day")), uint32(v.number("bucket"))
	v.check(map[string]any{
		"address":      FormatAddress(id, nospam),
		"slot_public":  []byte(RequestSlot(id, nospam, day, bucket)),
		"bell":         RequestBell(id, nospam, day),
		"fixed_bucket": strconv.Itoa(int(FixedBucket(id))),
	})
	got, _, err := ParseAddress(v.want["address"])
	if err != nil || got != id {
		v.t.Errorf("ParseAddress = %v, %v", got, err)
	}
}

func checkPair(v *vector) {
	v.t.Helper()
	own, friend := v.identity("own"), v.identity("friend")
	p, err := NewPair(own, friend.ID)
	if err != nil {
		v.t.Fatal(err)
	}
	week, hour := uint32(v.number("week")), uint32(v.number("hour"))
	got := map[string]any{}
	for name, from := range map[string]ID{"out_": own.ID, "in_": friend.ID} {
		d := p.Direction(from)
		got[name+"slot_public"] = []byte(p.Slot(d, week))
		got[name+"key"], got[name+"tag"] = p.Key(d, week), p.Tag(d, hour)
	}
	v.check(got)
}

func checkSeal(v *vector) {
	v.t.Helper()
	var plain []byte
	var err error
	switch v.in["by"] {
	case "key":
		plain, err = openKey(v.hex("key"), v.hex("ad"), v.hex("sealed"))
	case "identity":
		plain, err = openHPKE(v.identity("key").x25519, v.hex("info"), v.hex("ad"), v.hex("sealed"))
	case "prekey":
		key, keyErr := ecdh.X25519().NewPrivateKey(v.hex("key"))
		if keyErr != nil {
			v.t.Fatal(keyErr)
		}
		plain, err = openHPKE(key, v.hex("info"), v.hex("ad"), v.hex("sealed"))
	default:
		v.t.Fatalf("sealed by %s", v.in["by"])
	}
	if err != nil {
		v.t.Fatal(err)
	}
	if len(plain) == 0 {
		plain = []byte{}
	}
	v.check(map[string]any{"plaintext": plain})
}

func checkBadText(v *vector) {
	v.t.Helper()
	var err error
	switch v.in["parse"] {
	case "id":
		_, err = ParseID(v.in["text"])
	case "address":
		_, _, err = ParseAddress(v.in["text"])
	case "did:key":
		_, err = ParseDID(v.in["text"])
	default:
		v.t.Fatalf("parse %s", v.in["parse"])
	}
	var reason Reason
	errors.As(err, &reason)
	v.checkError("reason", err, string(reason))
}
