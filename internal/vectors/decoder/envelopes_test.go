package decoder

import (
	"crypto/ecdh"
	"errors"
	"strconv"
	"testing"
)

func TestEnvelopes(t *testing.T) {
	eachVector(t, "envelopes", func(v *vector) {
		own, friend := v.identity("to"), v.identity("from")
		p := &Party{Own: own, Friend: friend.ID, Prekeys: make(map[uint64]*ecdh.PrivateKey)}
		if own.ID != friend.ID {
			var err error
			if p.Pair, err = NewPair(own, friend.ID); err != nil {
				t.Fatal(err)
			}
		}
		prekey, err := ecdh.X25519().NewPrivateKey(v.hex("prekey"))
		if err != nil {
			t.Fatal(err)
		}
		p.Prekeys[v.number("prekey_number")] = prekey
		var rec *Record
		switch v.in["by"] {
		case "envelope":
			rec, err = p.OpenEnvelope(v.number("time")/1000, v.hex("bytes"))
		case "slot":
			rec, err = p.OpenSlot(uint32(v.number("week")), v.in["salt"], v.hex("bytes"))
		case "request":
			p.Nospam = v.hex("nospam")
			rec, err = p.OpenRequest(v.number("time"), v.hex("bytes"))
		default:
			t.Fatalf("by %s", v.in["by"])
		}
		if _, bad := v.want["dropped"]; bad {
			var drop Drop
			errors.As(err, &drop)
			v.checkError("dropped", err, string(drop))
			return
		}
		if err != nil {
			v.t.Fatal(err)
		}
		v.check(map[string]any{"kind": strconv.Itoa(int(rec.Kind)), "record": []byte(rec.Bytes)})
	})
}
