package decoder

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"
)

// handshakes are the places of the handshake datagrams in a recording.
func handshakes(t *testing.T, rec *Recording) []int {
	t.Helper()
	var at []int
	for i, g := range rec.Datagrams {
		if g.Bytes[0] == 0xCC {
			at = append(at, i)
		}
	}
	if len(at) < 4 {
		t.Fatalf("%d handshake datagrams, want a whole handshake", len(at))
	}
	return at
}

func TestHandshakeRepeats(t *testing.T) {
	rec := recording(t)
	for _, i := range slices.Backward(handshakes(t, rec)) {
		rec.Datagrams = slices.Insert(rec.Datagrams, i, rec.Datagrams[i])
	}
	if _, err := Decode(rec); err != nil {
		t.Errorf("each handshake datagram twice: %v", err)
	}
}

func TestHandshakeFragments(t *testing.T) {
	rec := recording(t)
	at := handshakes(t, rec)[0]
	whole := rec.Datagrams[at].Bytes
	head, message := whole[9:9+recordHeader], whole[9+recordHeader:]
	body := message[messageHeader:]
	cut := len(body) / 2
	fragment := func(number byte, offset int, part []byte) []byte {
		r := slices.Clone(head)
		r[10] += number
		binary.BigEndian.PutUint16(r[11:], uint16(messageHeader+len(part)))
		m := slices.Clone(message[:messageHeader])
		m[8], m[11] = byte(offset), byte(len(part))
		return slices.Concat(r, m, part)
	}
	rec.Datagrams[at].Bytes = slices.Concat(whole[:9], fragment(0, 0, body[:cut]), fragment(1, cut, body[cut:]))
	if _, err := Decode(rec); err != nil {
		t.Errorf("a ClientHello in two records: %v", err)
	}
	rec.Datagrams[at].Bytes = slices.Concat(whole[:9], fragment(0, cut, body[cut:]))
	if _, err := Decode(rec); err == nil {
		t.Error("the second half of a ClientHello alone was taken")
	}
}

// TestHandshakeIsVerified changes each byte of what the Finished messages cover.
func TestHandshakeIsVerified(t *testing.T) {
	rec := recording(t)
	for _, i := range handshakes(t, rec) {
		b := rec.Datagrams[i].Bytes
		for at := 9; at+recordHeader < len(b); {
			size := int(binary.BigEndian.Uint16(b[at+11:]))
			for n := range 4 {
				bad := bytes.Clone(b)
				bad[at+recordHeader+n*(size-1)/3] ^= 4
				rec.Datagrams[i].Bytes = bad
				if _, err := Decode(rec); err == nil {
					t.Errorf("datagram %d is taken with a byte of the record at %d changed", i, at)
				}
			}
			at += recordHeader + size
		}
		rec.Datagrams[i].Bytes = b
	}
}
