package reliable

import (
	"testing"

	"github.com/gocarrier/carrier/internal/wire"
)

func TestNeverSent(t *testing.T) {
	var s sentLog
	for _, pn := range []uint64{5, 6, 7, 10, 11, 20} {
		s.use(pn)
	}
	for _, x := range []struct {
		low, high uint64
		bad       bool
	}{
		{5, 7, false},
		{10, 11, false},
		{20, 20, false},
		{4, 5, true},
		{0, 0, true},
		{7, 8, true},
		{8, 9, true},
		{9, 10, true},
		{11, 12, true},
		{5, 20, true},
		{20, 21, true},
		{100, 100, true},
	} {
		if _, bad := s.neverSent(wire.AckRange{Low: x.low, High: x.high}); bad != x.bad {
			t.Errorf("ACK of %d to %d: never sent %v, want %v", x.low, x.high, bad, x.bad)
		}
	}
	for i := range uint64(knownGaps) { // 20 is the last one: a gap before each of these
		s.use(22 + 2*i)
	}
	if _, bad := s.neverSent(wire.AckRange{Low: 8, High: 9}); bad {
		t.Error("a gap is remembered for ever")
	}
	if pn, bad := s.neverSent(wire.AckRange{Low: 20, High: 22}); !bad || pn != 21 {
		t.Errorf("the oldest gap that is remembered: %d, %v", pn, bad)
	}
}

func TestNumberTwice(t *testing.T) {
	m := New(0, Config{})
	buf := make([]byte, 1200)
	if m.NextPacket(0, 5, buf) == 0 {
		t.Fatal("a new machine has nothing to say")
	}
	if _, err := m.Control().Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if recover() == nil {
			t.Error("a packet number was taken twice")
		}
	}()
	m.NextPacket(0, 5, buf)
}

// TestSlab: records that were freed are taken again, and freeing all leaves no memory.
func TestSlab(t *testing.T) {
	var s sentLog
	fill := func() {
		for pn := range uint64(100) {
			i := s.packets.take()
			if i == 0 {
				t.Fatal("record 0, which means none")
			}
			s.packets.at(i).pn = pn
			s.note(i, sentFrame{kind: wire.FramePing})
			s.note(i, sentFrame{kind: wire.FramePing})
			s.push(&s.flying, i)
		}
	}
	drain := func() {
		for i := s.flying.head; i != 0; i = s.flying.head {
			s.unlink(&s.flying, 0, i)
			s.free(i)
		}
	}
	fill()
	if s.packets.used() != 100 || s.frames.used() != 200 || s.flying.n != 100 {
		t.Fatalf("%d packets, %d frames, %d listed", s.packets.used(), s.frames.used(), s.flying.n)
	}
	// Out of the middle, then from the front.
	second := s.packets.at(s.flying.head).next
	s.unlink(&s.flying, s.flying.head, second)
	s.free(second)
	drain()
	if s.packets.used() != 0 || s.frames.used() != 0 || s.flying != (packetList{}) {
		t.Fatalf("%d packets, %d frames left, list %+v", s.packets.used(), s.frames.used(), s.flying)
	}
	if allocs := testing.AllocsPerRun(10, func() { fill(); drain() }); allocs != 0 {
		t.Errorf("%v allocations with freed records at hand", allocs)
	}
	s.trim()
	if s.packets.items != nil || s.frames.items != nil {
		t.Error("an empty log keeps memory")
	}
}
