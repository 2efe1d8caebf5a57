package transport

import (
	"fmt"
	"testing"
)

const benchPacket = 1400 // bytes of a whole datagram

func BenchmarkPacketSeal(b *testing.B) {
	for _, s := range packetSuites() {
		b.Run(fmt.Sprintf("%04x", uint16(s)), func(b *testing.B) {
			k, _ := packetPair(s)
			id, buf := k.outID(0), make([]byte, 0, benchPacket)
			plaintext := make([]byte, benchPacket-dataOverhead)
			b.SetBytes(benchPacket)
			b.ReportAllocs()
			for pn := uint64(0); b.Loop(); pn++ {
				k.acked(pn - 1) // so that phases go on
				k.receive.phase = k.send.phase
				buf = k.seal(buf[:0], id, pn, plaintext)
			}
		})
	}
}

func BenchmarkPacketOpen(b *testing.B) {
	for _, s := range packetSuites() {
		b.Run(fmt.Sprintf("%04x", uint16(s)), func(b *testing.B) {
			k, peer := packetPair(s)
			p := k.seal(nil, k.outID(0), 0, make([]byte, benchPacket-dataOverhead))
			work := make([]byte, len(p))
			b.SetBytes(benchPacket)
			b.ReportAllocs()
			for b.Loop() {
				copy(work, p)
				peer.window.next, peer.window.seen[0] = 0, 0 // take it again
				if _, _, err := peer.open(work); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkPacketForged is what an attacker who knows a connection ID has us
// spend.
func BenchmarkPacketForged(b *testing.B) {
	for _, s := range packetSuites() {
		b.Run(fmt.Sprintf("%04x", uint16(s)), func(b *testing.B) {
			k, peer := packetPair(s)
			p := k.seal(nil, k.outID(0), 0, make([]byte, benchPacket-dataOverhead))
			p[len(p)-1] ^= 1
			work := make([]byte, len(p))
			b.SetBytes(benchPacket)
			for b.Loop() {
				copy(work, p)
				if _, _, err := peer.open(work); err == nil {
					b.Fatal("opened")
				}
			}
		})
	}
}

func BenchmarkLinkKeys(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		newLinkKeys(suiteAES128GCM, packetMaster(1), true)
	}
}

func BenchmarkNextPhase(b *testing.B) {
	r := newRatchet(suiteAES128GCM, packetMaster(1), fromLower)
	b.ReportAllocs()
	for b.Loop() {
		r.next()
	}
}
