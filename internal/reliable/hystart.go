package reliable

import (
	"math"
	"time"
)

// Constants of HyStart++ (RFC 9406 §4.3). There is no L, which bounds what one ACK adds to the window: everything is
// paced here, for which the RFC sets L to infinity.
const (
	hystartMinThresh  = 4 * time.Millisecond
	hystartMaxThresh  = 16 * time.Millisecond
	hystartDivisor    = 8 // of the round trip, for the threshold
	hystartSamples    = 8 // in a round, before it counts
	hystartCSSDivisor = 4 // of the growth in conservative slow start
	hystartCSSRounds  = 5

	unknownRTT = time.Duration(math.MaxInt64)
)

// A hystart tells when slow start fills the queue of the bottleneck, before packets are lost for it: when the least
// round trip of a round is clearly above that of the round before (RFC 9406). It then grows slowly for five rounds
// (conservative slow start), to see whether that was jitter, and ends slow start if not. It is told only of ACKs by which
// the window grows: a queue that builds up while the program bounds what is sent is not ours. The zero value is ready.
type hystart struct {
	round         uint64 // of Sample
	started       bool   // round is valid
	samples       int    // of the round trip, in this round
	last, current time.Duration
	baseline      time.Duration // conservative slow start's: current when that began
	cssRounds     int           // rounds of it begun, the first partial one counted; 0 = not in it
}

// acked takes an ACK of slow start, and says what part of its bytes the window grows by, and whether slow start is over.
func (h *hystart) acked(s *Sample) (growth float64, done bool) {
	if (!h.started || s.Round != h.round) && h.begin(s.Round) {
		return 0, true
	}
	if s.RTT.Latest > 0 {
		h.samples++
		h.current = min(h.current, s.RTT.Latest)
	}
	if h.samples >= hystartSamples && h.current != unknownRTT {
		h.judge()
	}
	if h.cssRounds > 0 {
		return 1.0 / hystartCSSDivisor, false
	}
	return 1, false
}

// begin begins a round trip, and says whether conservative slow start has had all of its rounds.
func (h *hystart) begin(round uint64) (done bool) {
	h.last = h.current
	if !h.started || round != h.round+1 { // rounds that we were not told of lie between
		h.last = unknownRTT
	}
	h.started, h.round, h.samples, h.current = true, round, 0, unknownRTT
	if h.cssRounds == 0 {
		return false
	}
	h.cssRounds++
	return h.cssRounds > hystartCSSRounds
}

// judge looks at a round with enough samples.
func (h *hystart) judge() {
	if h.cssRounds > 0 {
		if h.current < h.baseline {
			h.cssRounds = 0 // it was jitter: slow start goes on
		}
		return
	}
	if h.last == unknownRTT {
		return
	}
	threshold := max(hystartMinThresh, min(h.last/hystartDivisor, hystartMaxThresh))
	if h.current-h.last >= threshold {
		h.baseline, h.cssRounds = h.current, 1
	}
}
