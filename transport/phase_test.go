package transport

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"testing"
)

// phaseEnd is one end of a link that sends packets with an acknowledgement in
// each: the highest number it has received, plus one.
type phaseEnd struct {
	*linkKeys
	id       connID
	pn       uint64
	received uint64
	ackedIn  map[uint64]bool // phases of ours that the peer acknowledged a packet of
	sentIn   map[uint64]uint64
}

func newPhaseEnd(k *linkKeys, rekey uint64) *phaseEnd {
	k.limits.rekey = rekey
	return &phaseEnd{linkKeys: k, id: k.outID(0), ackedIn: map[uint64]bool{}, sentIn: map[uint64]uint64{}}
}

// packet seals the next packet, and fails if it is of a phase that this end was
// not allowed to begin.
func (e *phaseEnd) packet(t *testing.T) []byte {
	t.Helper()
	before := e.send.phase
	p := e.seal(nil, e.id, e.pn, binary.BigEndian.AppendUint64(nil, e.received))
	if e.send.phase != before && !e.ackedIn[before] {
		t.Fatalf("phase %d was begun with no packet of phase %d acknowledged", e.send.phase, before)
	}
	e.sentIn[e.pn] = e.send.phase
	e.pn++
	return p
}

// take opens a packet of the peer and lets its acknowledgement count.
func (e *phaseEnd) take(p []byte) error {
	pn, b, err := e.open(append([]byte(nil), p...))
	if err != nil {
		return err
	}
	e.received = max(e.received, pn+1)
	if ack := binary.BigEndian.Uint64(b); ack > 0 {
		e.acked(ack - 1)
		e.ackedIn[e.sentIn[ack-1]] = true
	}
	return nil
}

// TestRekey goes through many phases, begun by one end or by both at once.
func TestRekey(t *testing.T) {
	for name, rekey := range map[string][2]uint64{
		"lower begins":  {50, 1 << 40},
		"higher begins": {1 << 40, 50},
		"both begin":    {50, 50},
		"at each step":  {1, 1},
	} {
		t.Run(name, func(t *testing.T) {
			eachSuite(t, func(t *testing.T, s suite) {
				low, high := packetPair(s)
				a, b := newPhaseEnd(low, rekey[0]), newPhaseEnd(high, rekey[1])
				for range 1000 {
					pa, pb := a.packet(t), b.packet(t) // they cross
					if err := a.take(pb); err != nil {
						t.Fatalf("lower takes packet %d: %v", b.pn-1, err)
					}
					if err := b.take(pa); err != nil {
						t.Fatalf("higher takes packet %d: %v", a.pn-1, err)
					}
				}
				if a.send.phase < 10 || a.send.phase > 1000 {
					t.Errorf("phase %d after 1000 packets each way", a.send.phase)
				}
				if d := int64(a.send.phase) - int64(b.send.phase); d < -1 || d > 1 {
					t.Errorf("the ends are in phases %d and %d", a.send.phase, b.send.phase)
				}
			})
		})
	}
}

// TestRekeyUnderLoss loses, delays, reorders and repeats packets, in many
// schedules: each packet that arrives opens, once.
func TestRekeyUnderLoss(t *testing.T) {
	const ticks, longest = 1500, 40
	const rekey = 2*longest + 10 // delays stay below a phase, as they do with 2^22
	type flight struct {
		to   *phaseEnd
		p    []byte
		late int
	}
	phases := uint64(0)
	for seed := range uint64(60) {
		r := rand.New(rand.NewPCG(seed, 2))
		loss := []float64{0, 0.05, 0.3, 0.6}[seed%4]
		low, high := packetPair(packetSuites()[seed/4%2])
		a, b := newPhaseEnd(low, rekey), newPhaseEnd(high, rekey)
		if seed%3 == 0 {
			b.limits.rekey = 1 << 40
		}
		var air []*flight
		duplicates, repeats := 0, 0
		for tick := range ticks {
			for _, from := range []*phaseEnd{a, b} {
				p, to := from.packet(t), a
				if from == a {
					to = b
				}
				if r.Float64() < loss {
					continue
				}
				air = append(air, &flight{to, p, tick + r.IntN(longest)})
				if r.IntN(10) == 0 {
					air = append(air, &flight{to, p, tick + r.IntN(longest)})
					repeats++
				}
			}
			waiting := air[:0]
			for _, f := range air {
				if f.late > tick {
					waiting = append(waiting, f)
					continue
				}
				switch err := f.to.take(f.p); {
				case errors.Is(err, errDuplicate):
					duplicates++
				case err != nil:
					t.Fatalf("seed %d, tick %d: %v (phases %d, %d)", seed, tick, err, a.send.phase, b.send.phase)
				}
			}
			air = waiting
			for _, e := range []*phaseEnd{a, b} {
				if e.send.phase != e.receive.phase && e.send.phase != e.receive.phase+1 {
					t.Fatalf("seed %d: sending in phase %d, receiving in %d", seed, e.send.phase, e.receive.phase)
				}
			}
		}
		if duplicates > repeats || duplicates < repeats-2*longest {
			t.Errorf("seed %d: %d packets came twice, %d were refused as duplicates", seed, repeats, duplicates)
		}
		if a.send.phase < ticks/rekey/2 {
			t.Errorf("seed %d: phase %d after %d packets", seed, a.send.phase, ticks)
		}
		phases += a.send.phase
	}
	t.Logf("%d phases", phases)
}

// TestRekeyWaitsForAck seals far beyond the point of re-keying: only an
// acknowledgement of a packet of the present phase lets it happen.
func TestRekeyWaitsForAck(t *testing.T) {
	low, high := packetPair(suiteAES128GCM)
	a, b := newPhaseEnd(low, 10), newPhaseEnd(high, 1<<40)
	for range 30 {
		a.packet(t)
	}
	if a.send.phase != 0 {
		t.Fatalf("phase %d with nothing acknowledged", a.send.phase)
	}
	a.acked(a.pn) // was never sent
	if a.packet(t); a.send.phase != 0 {
		t.Fatal("an acknowledgement of what was not sent began a phase")
	}
	a.acked(3)
	a.ackedIn[0] = true
	first := a.packet(t)
	if a.send.phase != 1 {
		t.Fatalf("phase %d after an acknowledgement", a.send.phase)
	}
	for range 30 {
		a.acked(3) // of the phase before
		if a.packet(t); a.send.phase != 1 {
			t.Fatal("an acknowledgement of the last phase began another")
		}
	}
	// One of this phase, but carried in the old one: the peer has not followed,
	// and its next key would be unknown to us.
	a.acked(a.pn - 1)
	if a.packet(t); a.send.phase != 1 {
		t.Fatal("a phase was begun that the peer has not come up to")
	}
	b.packet(t) // what a's acknowledgement was in
	if err := b.take(first); err != nil || b.send.phase != 1 || b.receive.phase != 1 {
		t.Fatalf("the peer follows: %v, phases %d and %d", err, b.send.phase, b.receive.phase)
	}
	a.ackedIn[1] = true
	if err := a.take(b.packet(t)); err != nil {
		t.Fatal(err)
	}
	if a.packet(t); a.send.phase != 2 {
		t.Errorf("phase %d when all is acknowledged, want 2", a.send.phase)
	}
}

// TestOldPhase opens late packets of the phase before until the replay window
// has left them behind, and then forgets their key.
func TestOldPhase(t *testing.T) {
	eachSuite(t, func(t *testing.T, s suite) {
		a, b := packetPair(s)
		b.seal(nil, b.outID(0), 0, nil)
		late := a.seal(nil, a.outID(0), 0, []byte("late"))
		later := a.seal(nil, a.outID(0), 1, []byte("later"))
		a.send.advance()
		open := func(p []byte) error {
			_, _, err := b.open(append([]byte(nil), p...))
			return err
		}
		for pn := uint64(2); pn < replayWindowSize; pn++ {
			if err := open(a.seal(nil, a.outID(0), pn, nil)); err != nil {
				t.Fatalf("packet %d: %v", pn, err)
			}
		}
		if err := open(late); err != nil {
			t.Errorf("at the edge of the window: %v", err)
		}
		if err := open(a.seal(nil, a.outID(0), replayWindowSize+1, nil)); err != nil {
			t.Fatal(err)
		}
		if err := open(later); !errors.Is(err, errOld) {
			t.Errorf("behind the window: %v", err)
		}
		if b.receive.old.aead == nil {
			t.Error("the key of the old phase was given up early")
		}
		if err := open(a.seal(nil, a.outID(0), replayWindowSize+2, nil)); err != nil {
			t.Fatal(err)
		}
		if b.receive.old.aead != nil {
			t.Error("the key of the old phase was kept")
		}
		if err := open(later); !errors.Is(err, errAuth) {
			t.Errorf("after its key is gone: %v", err)
		}
	})
}

// TestRatchetForgets has no secret of a phase left in what could open it.
func TestRatchetForgets(t *testing.T) {
	r := newRatchet(suiteAES128GCM, packetMaster(1), fromLower)
	first := r.secret
	r.next()
	if r.secret == first {
		t.Error("the ratchet did not move")
	}
	if want := expandSecret(first[:], updateLabel, secretSize); string(r.secret[:]) != string(want) {
		t.Errorf("got %x, want %x", r.secret, want)
	}
}

func TestPhaseFaults(t *testing.T) {
	// A phase that begins twice without a packet of ours in between.
	a, b := packetPair(suiteAES128GCM)
	b.seal(nil, b.outID(0), 0, nil)
	for pn, want := range []error{nil, nil, errPhase, errAuth} {
		if _, _, err := b.open(a.seal(nil, a.outID(0), uint64(pn), nil)); !errors.Is(err, want) {
			t.Errorf("packet %d: got %v, want %v", pn, err, want)
		}
		a.send.advance()
	}
	if !errors.Is(errPhase, errPacketFault) || !errors.Is(errReserved, errPacketFault) || errors.Is(errAuth, errPacketFault) {
		t.Error("the faults that close a link are not told from others")
	}
}

func TestLimits(t *testing.T) {
	t.Run("failed opens", func(t *testing.T) {
		a, b := packetPair(suiteAES128GCM)
		b.limits.failed = 5
		good := a.seal(nil, a.outID(0), 0, nil)
		for i := range 5 {
			if err := b.exhausted(); err != nil {
				t.Fatalf("after %d: %v", i, err)
			}
			bad := append([]byte(nil), good...)
			bad[20] ^= 1
			if _, _, err := b.open(bad); !errors.Is(err, errAuth) {
				t.Fatal(err)
			}
		}
		if err := b.exhausted(); !errors.Is(err, errFailedLimit) {
			t.Errorf("got %v, want %v", err, errFailedLimit)
		}
		if _, _, err := b.open(good); !errors.Is(err, errFailedLimit) {
			t.Errorf("a packet beyond the limit: %v", err)
		}
	})
	t.Run("one key", func(t *testing.T) {
		a, b := packetPair(suiteAES128GCM)
		a.limits.rekey, a.limits.seal, a.limits.spare = 10, 20, 4
		var p []byte
		for pn := range uint64(20) {
			if err, want := a.exhausted(), pn >= 16; (err != nil) != want || want && !errors.Is(err, errSealLimit) {
				t.Fatalf("after %d packets: %v", pn, err)
			}
			p = a.seal(nil, a.outID(0), pn, nil)
			if _, _, err := b.open(p); err != nil {
				t.Fatal(err)
			}
		}
		dst := []byte("as it is")
		if got := a.seal(dst, a.outID(0), 20, nil); string(got) != string(dst) {
			t.Errorf("beyond the limit: %x", got)
		}
		a.acked(19) // the last hope
		if got := a.seal(nil, a.outID(0), 20, nil); len(got) != dataOverhead || a.send.phase != 1 || a.exhausted() != nil {
			t.Errorf("in the next phase: %x, phase %d, %v", got, a.send.phase, a.exhausted())
		}
	})
	t.Run("numbers", func(t *testing.T) {
		a, _ := packetPair(suiteAES128GCM)
		a.limits.number, a.limits.spare = 100, 4
		for pn := range uint64(101) {
			if err, want := a.exhausted(), pn > 96; (err != nil) != want || want && !errors.Is(err, errNumberLimit) {
				t.Fatalf("after %d packets: %v", pn, err)
			}
			a.seal(nil, a.outID(0), pn, nil)
		}
		if got := a.seal(nil, a.outID(0), 101, nil); len(got) != 0 {
			t.Errorf("beyond the limit: %x", got)
		}
	})
	t.Run("of the suites", func(t *testing.T) {
		// RFC 9001, section 6.6: 2^23 packets of AES-GCM, 2^36 forgeries of
		// ChaCha20-Poly1305; RFC 9000, section 12.3: numbers up to 2^62-1.
		l := defaultKeyLimits()
		if l.seal > 1<<23 || l.rekey > l.seal/2 || l.failed > 1<<36 || l.number > 1<<62-1 || l.spare == 0 || l.spare > l.seal-l.rekey {
			t.Errorf("%+v", l)
		}
	})
}
