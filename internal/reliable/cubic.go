package reliable

import (
	"math"
	"time"
)

// Constants of CUBIC (RFC 9438) and of the windows around it.
const (
	cubicC    = 0.4                                   // packets a second³: how steep the curve is (§4.1)
	cubicBeta = 0.7                                   // what a congestion event leaves of the window (§4.6)
	cubicReno = 3 * (1 - cubicBeta) / (1 + cubicBeta) // α: Reno's growth with CUBIC's β (§4.3)

	initialPackets = 10      // initial window (RFC 9002 §7.2)
	initialBytes   = 14720   // bound of it
	minPackets     = 2       // least window (RFC 9002 §7.2)
	maxWindow      = 1 << 30 // bytes; largest window, far above any buffer of a link

	slowStartGain = 2    // pacing, times window a round trip: a window doubles in slow start
	avoidanceGain = 1.25 // and grows by at most half in congestion avoidance, mostly far less

	// validFor is how long a window counts as proven without being used to half (RFC 7661 §4.4).
	validFor = 5 * time.Minute
)

// cubic is the [Controller] of RFC 9438 over RFC 9002: the window grows by a cubic function of the time since the last
// congestion event, towards the window of that event, flat around it, then ever faster; never slower than Reno would.
// Slow start ends by HyStart++ (RFC 9406). Windows are bytes as float64, as an ACK may raise a window by less than one.
// Time in which the program or flow control bounded what was sent does not count (RFC 9438 §5.8): clock stands still in it.
type cubic struct {
	packet  float64       // bytes of a packet
	initial float64       // window
	srtt    time.Duration // > 0
	hystart hystart

	cubicState
	recovery  time.Duration // of the last congestion event: what was sent until then reduces the window no more
	recovered bool          // something sent after recovery has been acknowledged, or there was no event
	validated time.Duration // when the window was last used to half

	// For the end of a congestion event whose losses were none (RFC 9438 §4.9).
	undo      cubicState
	undoStart time.Duration // recovery before it: packets sent until then belong to earlier events
	lost      int           // packets lost in it and not seen since; 0 = nothing to undo
}

// cubicState is what a congestion event changes, and what is restored when it was none.
type cubicState struct {
	window   float64
	ssthresh float64       // slow start below it; +Inf until the first event
	prior    float64       // window before the last event, cwnd_prior
	wmax     float64       // window at which the curve is flat, W_max
	k        float64       // seconds from the event to wmax, K
	reno     float64       // window that Reno would have, W_est
	avoiding bool          // a stage of congestion avoidance has begun, that is prior, wmax, k, reno and clock are set
	clock    float64       // seconds of this stage in which the window could grow
	ticked   time.Duration // when clock was read last
	ticking  bool          // it has gone on since
}

var _ Controller = (*cubic)(nil)

// NewCubic returns the [Controller] of RFC 9438 (CUBIC) with HyStart++ (RFC 9406) and pacing, the default one.
func NewCubic(p Path) Controller {
	packet := float64(defaultPacket)
	if p.MaxPacket > 0 {
		packet = min(float64(p.MaxPacket), maxWindow/initialPackets)
	}
	c := &cubic{packet: packet, srtt: defaultRTT, recovered: true, recovery: math.MinInt64}
	if p.RTT > 0 {
		c.srtt = p.RTT
	}
	c.initial = min(initialPackets*packet, max(initialBytes, minPackets*packet))
	c.window, c.ssthresh = c.initial, math.Inf(1)
	return c
}

// Window implements [Controller].
func (c *cubic) Window() int { return int(c.window) }

// Rate implements [Controller].
func (c *cubic) Rate() float64 {
	gain := avoidanceGain
	if c.window < c.ssthresh {
		gain = slowStartGain
	}
	return gain * c.window / c.srtt.Seconds()
}

// Sent implements [Controller].
func (c *cubic) Sent(now time.Duration, size, inFlight int) {
	if inFlight <= size {
		c.ticked = now // nothing was in flight: the clock stood still since the last ACK
	}
	if now-c.validated >= validFor {
		c.decay(now)
	}
	if 2*float64(inFlight) >= c.window {
		c.validated = now
	}
}

// decay takes back a window that was not used for long: half of it for each five minutes, down to the initial one, as the
// path may have changed (RFC 7661 §4.4). Slow start brings back three quarters of it.
func (c *cubic) decay(now time.Duration) {
	periods := int((now - c.validated) / validFor)
	c.validated = now
	if c.window <= c.initial {
		return
	}
	for ; periods > 0 && c.window > c.initial; periods-- {
		c.ssthresh = max(c.ssthresh, 0.75*c.window)
		c.window = max(c.window/2, c.initial)
	}
	c.avoiding, c.lost = false, 0
}

// Acked implements [Controller].
func (c *cubic) Acked(now time.Duration, s Sample) {
	if s.RTT.Smoothed > 0 {
		c.srtt = s.RTT.Smoothed
	}
	if !c.recovered && s.SentAt <= c.recovery {
		return // RFC 9002 §7.3.2: no growth before the reduction was felt
	}
	c.recovered = true
	switch {
	case !s.Limited || s.Bytes <= 0:
		c.ticking = false
	case c.window < c.ssthresh:
		c.slowStart(&s)
	default:
		c.avoid(now, float64(s.Bytes))
	}
}

// slowStart grows the window by what was acknowledged, up to ssthresh. HyStart++ is for the first slow start, in which
// nothing is known of the path; later ones know ssthresh (RFC 9406).
func (c *cubic) slowStart(s *Sample) {
	growth := 1.0
	if math.IsInf(c.ssthresh, 1) {
		var done bool
		if growth, done = c.hystart.acked(s); done {
			c.ssthresh = c.window
			return
		}
	}
	c.window = min(c.window+growth*float64(s.Bytes), c.ssthresh, maxWindow)
}

// avoid grows the window for bytes acknowledged in congestion avoidance (RFC 9438 §4.2 to 4.5).
func (c *cubic) avoid(now time.Duration, bytes float64) {
	if !c.avoiding { // slow start ended without loss, or after a timeout: the curve begins flat (§4.8 and 4.10)
		c.avoiding, c.ticking, c.clock = true, false, 0
		c.prior, c.wmax, c.reno, c.k = c.window, c.window, c.window, 0
	}
	if c.ticking {
		c.clock += (now - c.ticked).Seconds()
	}
	c.ticking, c.ticked = true, now

	share := min(bytes/c.window, 1) // of a round trip's packets
	alpha := cubicReno
	if c.reno >= c.prior {
		alpha = 1 // Reno, with its β of a half, would have come this far in the same time
	}
	c.reno += alpha * share * c.packet

	if c.curve(c.clock) < c.reno {
		c.window = max(c.window, c.reno) // Reno-friendly region
	} else if target := c.curve(c.clock + c.srtt.Seconds()); target > c.window {
		c.window += (min(target, 1.5*c.window) - c.window) * share
	}
	c.window = min(c.window, maxWindow)
}

// curve is W_cubic at t seconds of the stage (RFC 9438 §4.2).
func (c *cubic) curve(t float64) float64 {
	d := t - c.k
	return c.wmax + cubicC*c.packet*d*d*d
}

// Lost implements [Controller].
func (c *cubic) Lost(now time.Duration, l Loss) {
	packets := max(l.Packets, 1)
	if l.SentAt > c.recovery {
		c.event(now, packets)
	} else if c.lost > 0 && l.SentAt > c.undoStart {
		c.lost += packets
	}
	if l.Persistent {
		// RFC 9002 §7.6.2, except that recovery stays: what was sent before it is known to be lost, and to cut ssthresh
		// for it again, now that the window is least, would make the way back up long.
		c.window, c.avoiding, c.recovered = c.floor(), false, true
	}
}

// event begins a congestion event: what was sent until now reduces the window this once.
func (c *cubic) event(now time.Duration, packets int) {
	if c.window <= c.floor() {
		// There is nothing left to reduce: the event before goes on. Its ssthresh stays (RFC 5681 §3.1, of repeated
		// timeouts), so that a flow comes back fast from an outage.
		c.avoiding, c.recovered, c.recovery = false, false, now
		if c.lost > 0 {
			c.lost += packets
		}
		return
	}
	c.undo, c.undoStart, c.lost = c.cubicState, c.recovery, packets
	c.recovered, c.recovery = false, now

	wmax := c.window
	if c.window < c.wmax { // fast convergence: others need room (§4.7)
		wmax = c.window * (1 + cubicBeta) / 2
	}
	c.prior = c.window
	c.window = max(c.window*cubicBeta, c.floor())
	c.wmax = max(wmax, c.window)
	c.k = math.Cbrt((c.wmax - c.window) / (cubicC * c.packet))
	c.ssthresh, c.reno = c.window, c.window
	c.avoiding, c.ticking, c.clock = true, false, 0
}

// Spurious implements [Controller]. When every loss of the last congestion event was none, neither was the event: all is
// as before it, as if the time since had not passed.
func (c *cubic) Spurious(_ time.Duration, l Loss) {
	if c.lost == 0 || l.SentAt <= c.undoStart {
		return // of an event before, or undone
	}
	c.lost -= min(max(l.Packets, 1), c.lost)
	if c.lost > 0 || c.window >= c.undo.window { // the window may have outgrown the old one: it stays (§4.9)
		return
	}
	c.cubicState = c.undo
	c.ticking, c.recovered, c.recovery = false, true, c.undoStart
}

// floor is the least window.
func (c *cubic) floor() float64 { return minPackets * c.packet }
