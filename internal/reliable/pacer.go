package reliable

import "time"

const (
	pacerPackets = 10                   // least burst, in packets: an initial window leaves at once (RFC 9002 §7.7)
	pacerBurst   = 2 * time.Millisecond // least burst, in time at the rate: timers fire late, and what they missed must go
	pacerPause   = time.Millisecond     // shortest pause: a wake-up for each packet would cost more than the packet
	pacerMost    = time.Minute          // longest pause before asking again
)

// A pacer spreads packets over the round trip instead of sending them in bursts (RFC 9002 §7.7). It is a leaky bucket:
// each packet fills it by its size, it drains at the rate asked with each call, and a packet that would fill it above the
// burst waits. The zero pacer has an empty bucket and packets of 1200 bytes.
type pacer struct {
	packet int           // bytes of the largest packet; 0 is 1200
	level  float64       // bytes in the bucket at last
	last   time.Duration // of the last packet sent
}

// next says when a packet of size bytes may leave at rate bytes a second: at now, or at the instant to ask again. It
// changes nothing, so that the packet need not follow.
func (p *pacer) next(now time.Duration, size int, rate float64) time.Duration {
	if !(rate > 0) {
		return now
	}
	burst := p.burst(rate)
	excess := p.drained(now, rate) + min(float64(size), burst) - burst
	if excess < 1 { // byte: what float64 rounds is not worth a wake-up
		return now
	}
	if excess >= rate*pacerMost.Seconds() {
		return now + pacerMost
	}
	return now + max(pacerPause, time.Duration(excess/rate*float64(time.Second)))
}

// sent counts a packet of size bytes that leaves now, whether or not next let it: probes of the loss timer do not wait.
// These are owed later.
func (p *pacer) sent(now time.Duration, size int, rate float64) {
	if !(rate > 0) {
		p.level, p.last = 0, now
		return
	}
	p.level = p.drained(now, rate) + float64(size)
	p.last = max(p.last, now)
}

// burst is the most that leaves at once, in bytes.
func (p *pacer) burst(rate float64) float64 {
	packet := p.packet
	if packet <= 0 {
		packet = defaultPacket
	}
	return max(float64(pacerPackets*packet), rate*pacerBurst.Seconds())
}

// drained is what is left in the bucket at now. What was sent at a rate that fell since, or by probes, is owed no more
// than one burst above the full bucket: a flow must not stand still for its past.
func (p *pacer) drained(now time.Duration, rate float64) float64 {
	level := min(p.level, 2*p.burst(rate))
	if now <= p.last {
		return level
	}
	return max(0, level-rate*(now-p.last).Seconds())
}
