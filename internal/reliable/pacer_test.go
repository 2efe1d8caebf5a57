package reliable

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

// run sends packets of size as fast as p lets them until end, waking up late after each wait, and returns the bytes.
func (p *pacer) run(now, end time.Duration, size int, rate float64, late time.Duration) (bytes int) {
	for now < end {
		if due := p.next(now, size, rate); due > now {
			now = due + late
			continue
		}
		p.sent(now, size, rate)
		bytes += size
	}
	return bytes
}

func TestPacerBurst(t *testing.T) {
	for _, test := range []struct {
		packet int
		rate   float64
		want   int // packets at once
	}{
		{0, 1e5, 10}, {1200, 1e6, 10}, {1200, 6e6, 10}, {1200, 60e6, 100}, {1200, 600e6, 1000},
	} {
		p := pacer{packet: test.packet}
		now, got := time.Hour, 0
		for p.next(now, 1200, test.rate) <= now {
			p.sent(now, 1200, test.rate)
			got++
		}
		if got != test.want {
			t.Errorf("rate %g: got %d packets at once, want %d", test.rate, got, test.want)
		}
		if wait := p.next(now, 1200, test.rate) - now; wait < pacerPause {
			t.Errorf("rate %g: got a pause of %v, want at least %v", test.rate, wait, pacerPause)
		}
	}
}

func TestPacerLongPacket(t *testing.T) {
	p := pacer{packet: 1200}
	const size, rate = 50000, 1e6 // above the burst of 12,000
	if got := p.next(0, size, rate); got != 0 {
		t.Errorf("got a pause until %v for a packet longer than the burst, want none with an empty bucket", got)
	}
	p.sent(0, size, rate)
	if got, want := p.next(0, size, rate), 24*time.Millisecond; got != want {
		t.Errorf("got a pause until %v for the next, want %v", got, want)
	}
}

// TestPacerKeepsRate sees that over some seconds the rate is kept, with timers late by half a burst as well.
func TestPacerKeepsRate(t *testing.T) {
	for _, late := range []time.Duration{0, 50 * time.Microsecond, time.Millisecond} {
		for _, rate := range []float64{12e3, 1e5, 1e6, 12.5e6, 125e6, 1.25e9} {
			p := pacer{packet: 1200}
			got := float64(p.run(0, 10*time.Second, 1200, rate, late))
			want := 10*rate + max(12000, rate*0.002)
			if got < 0.95*10*rate || late < time.Millisecond && got < 0.995*10*rate || got > want+1200 {
				t.Errorf("rate %g, timers %v late: got %g bytes in 10 s, want %g", rate, late, got, want)
			}
		}
	}
}

func TestPacerChangesNothingWhenAsked(t *testing.T) {
	p := pacer{packet: 1200}
	for range 20 {
		p.sent(time.Second, 1200, 1e6)
	}
	before := p
	first := p.next(time.Second, 1200, 1e6)
	if second := p.next(time.Second, 1200, 1e6); second != first || p != before {
		t.Errorf("got %v, then %v; state %+v, was %+v", first, second, p, before)
	}
	if got := p.next(first, 1200, 1e6); got != first {
		t.Errorf("asked at the instant named: got %v, want it at once, at %v", got, first)
	}
}

// TestPacerOwesLittle sees that a flow does not stand still for long for what it sent at a rate that fell since.
func TestPacerOwesLittle(t *testing.T) {
	p := pacer{packet: 1200}
	now := time.Second
	for range 100000 { // and without asking
		p.sent(now, 1200, 1e9)
	}
	const rate = 12e3
	if got := p.next(now, 1200, rate) - now; got > 1100*time.Millisecond {
		t.Errorf("got a pause of %v at %g bytes a second, want the time of a burst and a packet, 1.1 s", got, float64(rate))
	}
}

func TestPacerUnpaced(t *testing.T) {
	for _, rate := range []float64{0, -1, math.NaN(), math.Inf(-1), math.Inf(1)} {
		p := pacer{packet: 1200}
		for range 1000 {
			if got := p.next(time.Second, 1200, rate); got != time.Second {
				t.Fatalf("rate %g: got a pause until %v", rate, got)
			}
			p.sent(time.Second, 1200, rate)
		}
	}
}

func TestPacerInvariants(t *testing.T) {
	for seed := range uint64(2000) {
		r := rand.New(rand.NewPCG(seed, 2))
		p := pacer{packet: r.IntN(10000)}
		now := magnitude(r)
		for step := range 100 {
			if r.IntN(2) == 0 {
				now += magnitude(r)
			}
			rate, size := math.Pow(10, r.Float64()*40-20), r.IntN(1<<20)
			due := p.next(now, size, rate)
			if due < now || due > now+pacerMost {
				t.Fatalf("seed %d step %d: a packet of %d at %g bytes a second may leave at %v, now is %v", seed, step, size, rate, due, now)
			}
			if r.IntN(3) > 0 {
				p.sent(now, size, rate)
			}
			if math.IsNaN(p.level) || math.IsInf(p.level, 0) || p.level < 0 {
				t.Fatalf("seed %d step %d: level %g", seed, step, p.level)
			}
		}
	}
}
