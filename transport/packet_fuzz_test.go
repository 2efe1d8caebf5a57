package transport

import (
	"bytes"
	"errors"
	"testing"
)

// FuzzDataPacket sends arbitrary and changed packets into a live link, in its
// second phase: none is taken that the peer has not sealed, none hurts, and what
// the peer has sealed opens after them.
func FuzzDataPacket(f *testing.F) {
	type sent struct {
		datagram, plaintext []byte
	}
	live := func(s suite) (*linkKeys, []sent) {
		a, b := packetPair(s)
		b.seal(nil, b.outID(0), 0, nil)
		var all []sent
		for pn := range uint64(6) {
			if pn == 3 {
				a.send.advance()
			}
			plaintext := bytes.Repeat([]byte{byte(pn)}, int(pn)*20)
			all = append(all, sent{a.seal(nil, a.outID(uint32(pn)), pn*100, plaintext), plaintext})
		}
		// Some have come before, and the phase with them.
		for _, i := range []int{1, 4} {
			if _, _, err := b.open(bytes.Clone(all[i].datagram)); err != nil {
				f.Fatal(err)
			}
		}
		return b, all
	}
	for i, s := range packetSuites() {
		_, all := live(s)
		for n, p := range all {
			f.Add(i == 1, p.datagram, uint8(n), uint16(0), uint8(0))
			f.Add(i == 1, p.datagram[:len(p.datagram)-1], uint8(n), uint16(9*n), uint8(1<<n))
		}
	}
	f.Fuzz(func(t *testing.T, chacha bool, arbitrary []byte, which uint8, at uint16, flip uint8) {
		s := suiteAES128GCM
		if chacha {
			s = suiteChaCha20Poly1305
		}
		k, all := live(s)
		came := map[int]bool{1: true, 4: true}
		sealedAs := func(b []byte) int {
			for i, p := range all {
				if bytes.Equal(p.datagram, b) {
					return i
				}
			}
			return -1
		}
		feed := func(b []byte) {
			i := sealedAs(b)
			pn, plaintext, err := k.open(bytes.Clone(b))
			switch {
			case err == nil && (i < 0 || came[i]):
				t.Fatalf("taken as packet %d: %x", pn, b)
			case err == nil && (pn != uint64(i)*100 || !bytes.Equal(plaintext, all[i].plaintext)):
				t.Fatalf("packet %d opened as %d: %x", i*100, pn, plaintext)
			case err != nil && i >= 0 && !came[i]:
				t.Fatalf("packet %d of the peer: %v", i*100, err)
			case err != nil && i >= 0 && !errors.Is(err, errDuplicate):
				t.Fatalf("packet %d a second time: %v", i*100, err)
			case errors.Is(err, errPacketFault):
				t.Fatalf("an honest peer is blamed: %v", err)
			}
			if i >= 0 {
				came[i] = true
			}
		}
		feed(arbitrary)
		changed := bytes.Clone(all[int(which)%len(all)].datagram)
		changed[int(at)%len(changed)] ^= flip
		feed(changed)
		for _, p := range all {
			feed(p.datagram)
		}
	})
}
