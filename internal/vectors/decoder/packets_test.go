package decoder

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
)

func (v *vector) schedule() *Schedule {
	v.t.Helper()
	return &Schedule{Suite: v.suite(), Master: v.hex("master")}
}

// offer is the signed offer of one of the two ends, or of a restart.
func (v *vector) offer(end string) []byte {
	v.t.Helper()
	in := Incarnation{Created: v.number(end + "created"), Random: v.number(end + "random")}
	return signedOffer(in, v.hex(end+"offer"))
}

func TestPackets(t *testing.T) {
	eachVector(t, "packets", func(v *vector) {
		switch v.kind {
		case "attempt":
			v.check(map[string]any{"attempt": AttemptID(ID(v.hex("lower_id")), ID(v.hex("higher_id")),
				v.offer("lower_"), v.offer("higher_"))})
		case "restart":
			checkRestart(v)
		case "schedule":
			checkSchedule(v)
		case "mask":
			mask, err := HeaderMask(v.suite(), v.hex("key"), v.hex("sample"))
			if err != nil {
				v.t.Fatal(err)
			}
			v.check(map[string]any{"mask": mask})
		case "packet":
			packet, err := v.schedule().Seal(byte(v.number("from")), uint32(v.number("path")), v.number("phase"),
				v.number("number"), v.hex("plaintext"))
			if err != nil {
				v.t.Fatal(err)
			}
			v.check(map[string]any{"datagram": packet})
		case "receive":
			checkReceive(v)
		default:
			v.t.Fatalf("kind %s", v.kind)
		}
	})
}

func checkRestart(v *vector) {
	v.t.Helper()
	offerer := byte(v.number("offerer"))
	secret := RestartSecret(v.hex("master"))
	got := map[string]any{
		"attempt": RestartID(v.hex("link"), ID(v.hex("from")), ID(v.hex("to")), v.offer("")),
		"secret":  secret,
	}
	for side := range byte(2) {
		ufrag, password := RestartCredentials(secret, v.number("generation"), offerer, side)
		got[fmt.Sprintf("ufrag_%d", side)], got[fmt.Sprintf("password_%d", side)] = ufrag, password
	}
	v.check(got)
}

func checkSchedule(v *vector) {
	v.t.Helper()
	salt := LinkSalt(v.suite(), ID(v.hex("lower_id")), ID(v.hex("higher_id")), v.offer("lower_"), v.offer("higher_"))
	s := NewSchedule(v.suite(), salt, v.hex("exporter"))
	got := map[string]any{"salt": salt, "master": s.Master}
	for d := range byte(2) {
		got[fmt.Sprintf("header_key_%d", d)] = s.HeaderKey(d)
		for _, path := range []uint32{0, 1, 1<<32 - 1} {
			got[fmt.Sprintf("connection_%d_path_%d", d, path)] = s.ConnectionID(d, path)
		}
		for phase := range uint64(3) {
			secret := s.Secret(d, phase)
			got[fmt.Sprintf("secret_%d_phase_%d", d, phase)] = secret
			got[fmt.Sprintf("key_%d_phase_%d", d, phase)] = s.PacketKey(secret)
			got[fmt.Sprintf("iv_%d_phase_%d", d, phase)] = s.IV(secret)
		}
	}
	v.check(got)
}

func checkReceive(v *vector) {
	v.t.Helper()
	r := NewReceiver(v.schedule(), byte(v.number("from")), v.number("sealed"))
	var outcomes []string
	for text := range strings.FieldsSeq(v.in["datagrams"]) {
		b, err := hex.DecodeString(text)
		if err != nil {
			v.t.Fatal(err)
		}
		number, _, err := r.Open(b)
		outcome := strconv.FormatUint(number, 10)
		var refused Outcome
		if errors.As(err, &refused) {
			outcome = string(refused)
		} else if err != nil {
			v.t.Fatal(err)
		}
		outcomes = append(outcomes, outcome)
	}
	v.check(map[string]any{"outcomes": strings.Join(outcomes, " ")})
}
