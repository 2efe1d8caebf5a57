package reliable

import (
	"testing"
	"time"
)

// flight is packets sent that wait to be acknowledged.
type flight struct {
	r       rateSampler
	marks   []rateMark
	sentAt  []time.Duration
	pending int // bytes
}

// send sends a packet of 1000 bytes.
func (f *flight) send(now time.Duration) {
	f.marks = append(f.marks, f.r.sent(now, f.pending))
	f.sentAt = append(f.sentAt, now)
	f.pending += 1000
}

// ack acknowledges the packets with these numbers in one ACK.
func (f *flight) ack(now time.Duration, numbers ...int) (rate float64, appLimited bool) {
	for _, n := range numbers {
		f.r.acked(now, f.marks[n], 1000, f.sentAt[n])
		f.pending -= 1000
	}
	rate, appLimited, _ = f.r.sample()
	return rate, appLimited
}

// TestRateSteady sends at 1000 bytes a millisecond over a round trip of 10 ms.
func TestRateSteady(t *testing.T) {
	ms := time.Millisecond
	var f flight
	now := 5 * time.Second // the flight does not begin with the sampler
	for i := range 100 {
		f.send(now)
		if i >= 10 {
			rate, limited := f.ack(now, i-10)
			if i > 20 && (!near(rate, 1e6, 1) || limited) {
				t.Errorf("packet %d: got rate %g, limited %v, want 1e6", i-10, rate, limited)
			}
		}
		now += ms
	}
	if _, _, delivered := f.r.sample(); delivered != 90000 {
		t.Errorf("got %d bytes delivered, want 90000", delivered)
	}
}

// TestRateOfBursts sees that neither a burst of packets nor one of ACKs shows a rate that the path does not have.
func TestRateOfBursts(t *testing.T) {
	ms := time.Millisecond
	t.Run("sent at once", func(t *testing.T) {
		var f flight
		for range 10 {
			f.send(0)
		}
		for i := range 10 { // the path delivers one a millisecond
			rate, _ := f.ack(20*ms+time.Duration(i)*ms, i)
			if most := 1e6; rate > most {
				t.Errorf("packet %d: got rate %g, want at most %g", i, rate, most)
			}
		}
	})
	t.Run("acknowledged at once", func(t *testing.T) {
		var f flight
		f.send(0)
		f.ack(10*ms, 0)
		for i := 1; i <= 10; i++ {
			f.send(10*ms + time.Duration(i)*ms)
		}
		f.ack(21*ms, 1)
		rate, _ := f.ack(21*ms, 2, 3, 4, 5, 6, 7, 8, 9, 10)
		if !near(rate, 1e6, 1e5) {
			t.Errorf("got rate %g of ten packets sent over 10 ms, want 1e6", rate)
		}
	})
	t.Run("in a shorter and shorter round trip", func(t *testing.T) {
		var f flight
		f.send(0)
		f.ack(10*ms, 0)
		f.send(11 * ms)
		if rate, _ := f.ack(12*ms, 1); !near(rate, 1e6, 1) { // a new least round trip: 1 ms
			t.Errorf("got rate %g, want 1e6", rate)
		}
		f.send(20 * ms)
		if rate, _ := f.ack(20*ms+500, 2); !near(rate, 2e9, 1) {
			t.Errorf("got rate %g of a packet in 500 ns, want 2e9", rate)
		}
		f.send(30 * ms)
		if rate, _ := f.ack(30*ms, 3); rate != 0 {
			t.Errorf("got rate %g of a packet in no time, want none", rate)
		}
	})
}

func TestRateIdle(t *testing.T) {
	ms := time.Millisecond
	var f flight
	f.send(0)
	f.ack(10*ms, 0)
	f.send(time.Hour)
	if rate, _ := f.ack(time.Hour+10*ms, 1); !near(rate, 1e5, 1e-3) {
		t.Errorf("got rate %g after an hour of silence, want 1e5", rate)
	}
}

func TestRateAppLimited(t *testing.T) {
	ms := time.Millisecond
	var f flight
	f.send(0)
	f.send(1 * ms)
	f.r.appLimited(f.pending) // nothing more to send
	f.send(5 * ms)
	if _, limited := f.ack(10*ms, 0); limited {
		t.Error("a packet sent before the gap counts as limited")
	}
	f.ack(11*ms, 1)
	if _, limited := f.ack(15*ms, 2); !limited {
		t.Error("a packet sent after the gap does not count as limited")
	}
	f.send(16 * ms)
	if _, limited := f.ack(26*ms, 3); limited {
		t.Error("a packet sent when the gap had been acknowledged counts as limited")
	}
}

// TestRateLatePacket sees that a packet held lost that arrives after all neither counts twice nor bends later samples.
func TestRateLatePacket(t *testing.T) {
	ms := time.Millisecond
	var f flight
	for i := range 30 {
		f.send(time.Duration(i) * ms)
		if i >= 11 { // packet 0 is late
			f.ack(time.Duration(i)*ms, i-10)
		}
	}
	if rate, _ := f.ack(30*ms, 0); rate > 1.1e6 {
		t.Errorf("got rate %g with a late packet, want at most 1.1e6", rate)
	}
	f.send(30 * ms)
	for i := 20; i <= 30; i++ {
		if rate, _ := f.ack(time.Duration(i+10)*ms, i); rate < 0.9e6 || rate > 1.2e6 {
			t.Errorf("packet %d: got rate %g after a late packet, want about 1e6", i, rate)
		}
	}
}

// TestRateOrder sees that the sample is of the newest packet of an ACK, in whatever order they are told of.
func TestRateOrder(t *testing.T) {
	ms := time.Millisecond
	for _, order := range [][]int{{1, 2, 3, 4}, {4, 3, 2, 1}, {3, 1, 4, 2}} {
		var f flight
		for i := range 3 {
			f.send(time.Duration(i) * ms)
		}
		f.ack(20*ms, 0)
		f.send(20 * ms)
		f.send(24 * ms)
		// Since packet 0 left, the four were sent over 24 ms; since it was acknowledged, they came within 10 ms.
		if rate, _ := f.ack(30*ms, order...); !near(rate, 4000/0.024, 1) {
			t.Errorf("order %v: got rate %g, want %g", order, rate, 4000/0.024)
		}
	}
}

func TestRateNothingAcknowledged(t *testing.T) {
	var r rateSampler
	if rate, limited, delivered := r.sample(); rate != 0 || limited || delivered != 0 {
		t.Errorf("got %g, %v, %d from a new sampler, want nothing", rate, limited, delivered)
	}
}
