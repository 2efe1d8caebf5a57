package reliable

import "time"

const (
	granularity = time.Millisecond // what timers are good for (RFC 9002 §6.1.2)
	// maxTimeout bounds the back-off of the loss timer, so that a link that comes back after an outage is found within
	// this time.
	maxTimeout = 3 * time.Second
	leastRTT   = time.Microsecond // a sample of less is taken for this: 0 means none
)

// An rttEstimate is what is known of the round trip (RFC 9002 §5).
type rttEstimate struct {
	latest, min        time.Duration
	smoothed, variance time.Duration
	sampled            bool
}

// newRTT returns the estimate from a round trip that was measured elsewhere, or assumed.
func newRTT(initial time.Duration) rttEstimate {
	return rttEstimate{smoothed: initial, variance: initial / 2}
}

// update takes a sample, of which the peer says that it kept the ACK back for delay.
func (r *rttEstimate) update(sample, delay time.Duration) {
	sample = max(sample, leastRTT)
	r.latest = sample
	if !r.sampled {
		r.sampled, r.min, r.smoothed, r.variance = true, sample, sample, sample/2
		return
	}
	r.min = min(r.min, sample)
	if delay = min(delay, MaxAckDelay); sample-r.min >= delay {
		sample -= delay
	}
	r.variance = (3*r.variance + (r.smoothed - sample).Abs()) / 4
	r.smoothed = (7*r.smoothed + sample) / 8
}

// timeout is the probe timeout before any back-off (PTO, RFC 9002 §6.2.1).
func (r *rttEstimate) timeout() time.Duration {
	return r.smoothed + max(4*r.variance, granularity) + MaxAckDelay
}

// backedOff is the probe timeout after n that brought no answer.
func (r *rttEstimate) backedOff(n int) time.Duration {
	pto := r.timeout()
	return max(pto, min(pto<<min(n, 10), maxTimeout))
}
