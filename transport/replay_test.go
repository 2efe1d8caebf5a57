package transport

import (
	"errors"
	"math/rand/v2"
	"testing"
)

func TestReplayWindowEdges(t *testing.T) {
	for _, c := range []struct {
		name string
		add  []uint64
		pn   uint64
		want error
	}{
		{"empty", nil, 0, nil},
		{"empty, far", nil, 1 << 61, nil},
		{"zero again", []uint64{0}, 0, errDuplicate},
		{"next", []uint64{0}, 1, nil},
		{"gap", []uint64{0, 2}, 1, nil},
		{"in the window, last", []uint64{replayWindowSize}, 1, nil},
		{"behind the window", []uint64{replayWindowSize}, 0, errOld},
		{"edge, seen", []uint64{0, replayWindowSize - 1}, 0, errDuplicate},
		{"edge, seen and left", []uint64{0, replayWindowSize}, 0, errOld},
		{"jump by the ring", []uint64{1, 1 + replayWords*replayWord}, 2 + replayWords*replayWord, nil},
		{"jump over the ring, same bit", []uint64{70, 70 + 2*replayWords*replayWord}, 70 + 2*replayWords*replayWord - replayWord, nil},
		{"jump far", []uint64{63, 1 << 50}, 1<<50 - 1, nil},
		{"jump far, edge", []uint64{63, 1 << 50}, 1<<50 - replayWindowSize + 1, nil},
		{"jump far, behind", []uint64{63, 1 << 50}, 1<<50 - replayWindowSize, errOld},
	} {
		var w replayWindow
		for _, pn := range c.add {
			if err := w.check(pn); err != nil {
				t.Fatalf("%s: add %d: %v", c.name, pn, err)
			}
			w.add(pn)
		}
		if got := w.check(c.pn); !errors.Is(got, c.want) {
			t.Errorf("%s: got %v, want %v", c.name, got, c.want)
		}
	}
}

// TestReplayWindowModel compares the window with a set of all numbers, over
// small and large steps forth and back.
func TestReplayWindowModel(t *testing.T) {
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 1))
		var w replayWindow
		seen := map[uint64]bool{}
		highest, any := uint64(0), false
		for range 20000 {
			var pn uint64
			switch r.IntN(8) {
			case 0:
				pn = highest + r.Uint64N(3*replayWindowSize) // far ahead
			case 1:
				pn = highest - min(highest, replayWindowSize-2+r.Uint64N(4)) // at the edge
			case 2:
				pn = highest - min(highest, r.Uint64N(2*replayWindowSize))
			case 3:
				pn = highest - min(highest, r.Uint64N(8))
			default:
				pn = highest + r.Uint64N(3)
			}
			var want error
			switch {
			case seen[pn] && highest-pn < replayWindowSize:
				want = errDuplicate
			case any && pn+replayWindowSize <= highest:
				want = errOld
			}
			if got := w.check(pn); !errors.Is(got, want) {
				t.Fatalf("seed %d: packet %d of highest %d: got %v, want %v", seed, pn, highest, got, want)
			}
			if want == nil {
				w.add(pn)
				seen[pn] = true
				highest, any = max(highest, pn), true
			}
		}
	}
}

// TestReplay replays and reorders whole packets over the edge of the window.
func TestReplay(t *testing.T) {
	eachSuite(t, func(t *testing.T, s suite) {
		a, b := packetPair(s)
		const packets = replayWindowSize + 10
		sealed := make([][]byte, packets)
		for pn := range sealed {
			sealed[pn] = a.seal(nil, a.outID(0), uint64(pn), []byte{1})
		}
		open := func(pn int) error {
			got, _, err := b.open(append([]byte(nil), sealed[pn]...))
			if err == nil && got != uint64(pn) {
				t.Errorf("packet %d opened as %d", pn, got)
			}
			return err
		}
		// The last one first; then those within its window, backwards, twice.
		for pn := packets - 1; pn >= 0; pn-- {
			want := error(nil)
			if packets-1-pn >= replayWindowSize {
				want = errOld
			}
			if err := open(pn); !errors.Is(err, want) {
				t.Fatalf("packet %d: got %v, want %v", pn, err, want)
			}
			if want == nil {
				want = errDuplicate
			}
			if err := open(pn); !errors.Is(err, want) {
				t.Fatalf("packet %d again: got %v, want %v", pn, err, want)
			}
		}
		if b.failed != 0 {
			t.Errorf("%d authentic packets counted as failed", b.failed)
		}
	})
}

// TestForgedPacketMovesNothing has a forged number, far ahead, leave the window
// where it is.
func TestForgedPacketMovesNothing(t *testing.T) {
	a, b := packetPair(suiteAES128GCM)
	p0, p1 := a.seal(nil, a.outID(0), 0, nil), a.seal(nil, a.outID(0), 1, nil)
	far := a.seal(nil, a.outID(0), 1<<30, nil)
	far[len(far)-1] ^= 1
	if _, _, err := b.open(p1); err != nil {
		t.Fatal(err)
	}
	before := b.window
	if _, _, err := b.open(far); !errors.Is(err, errAuth) {
		t.Fatalf("forged: %v", err)
	}
	if b.window != before {
		t.Error("a forged packet moved the window")
	}
	if _, _, err := b.open(p0); err != nil {
		t.Errorf("a packet from before: %v", err)
	}
}
