package reliable

import "time"

// A rateSampler measures how fast the path delivers (draft-cheng-iccrg-delivery-rate-estimation): for the newest packet
// of an ACK, what was delivered since that packet left, over the longer of the time in which that was sent and the time
// in which it was acknowledged. Taking the longer keeps both bursts of the sender and ACKs that bunch up from showing a
// rate that the path does not have. The zero value is ready to use. Bytes and instants are those of ack-eliciting
// packets; a packet may be acknowledged once, late ones that were held lost included.
type rateSampler struct {
	delivered   uint64        // bytes acknowledged in all
	deliveredAt time.Duration // when that last rose, or when the flight began
	firstSent   time.Duration // when the packet that the last sample was of left, or when the flight began
	limitEnd    uint64        // value of delivered up to which packets were sent for want of data; 0 = none

	// The sample of the ACK at hand: of its newest packet.
	valid  bool
	newest rateMark
	sentAt time.Duration
}

// A rateMark is what a packet in flight remembers of the sampler at the time it left.
type rateMark struct {
	delivered   uint64
	deliveredAt time.Duration
	firstSent   time.Duration
	appLimited  bool
}

// sent says that a packet leaves while inFlight bytes are in flight, itself not counted. What it returns is given to
// acked when the packet is acknowledged.
func (r *rateSampler) sent(now time.Duration, inFlight int) rateMark {
	if inFlight <= 0 { // a new flight: the idle time before it is not time of delivery
		r.deliveredAt, r.firstSent = now, now
	}
	return rateMark{delivered: r.delivered, deliveredAt: r.deliveredAt, firstSent: r.firstSent, appLimited: r.limitEnd != 0}
}

// acked says that a packet of size bytes, sent at sentAt with mark, is acknowledged. It is called for each packet of an
// ACK, in any order, and then sample once.
func (r *rateSampler) acked(now time.Duration, mark rateMark, size int, sentAt time.Duration) {
	r.delivered += uint64(max(size, 0))
	r.deliveredAt = now
	if !r.valid || sentAt >= r.sentAt {
		r.valid, r.newest, r.sentAt = true, mark, sentAt
	}
}

// sample ends an ACK: the delivery rate in bytes a second (0 = no sample), whether the program rather than the
// path may have bounded it, and the bytes delivered in all.
func (r *rateSampler) sample() (rate float64, appLimited bool, delivered uint64) {
	if r.limitEnd != 0 && r.delivered > r.limitEnd {
		r.limitEnd = 0 // the gap in what was sent has been acknowledged
	}
	if !r.valid {
		return 0, false, r.delivered
	}
	r.valid = false
	sending, acking := r.sentAt-r.newest.firstSent, r.deliveredAt-r.newest.deliveredAt
	r.firstSent = max(r.firstSent, r.sentAt) // a late packet must not stretch the samples to come
	interval := max(sending, acking)
	if interval <= 0 { // never below the packet's own round trip, as packet numbers leave no doubt which was acknowledged
		return 0, r.newest.appLimited, r.delivered
	}
	return float64(r.delivered-r.newest.delivered) / interval.Seconds(), r.newest.appLimited, r.delivered
}

// appLimited says that the program has nothing more to send although window and pacer allow it, with inFlight bytes in
// flight: samples are lower bounds until all of these are acknowledged.
func (r *rateSampler) appLimited(inFlight int) {
	r.limitEnd = max(r.delivered+uint64(max(inFlight, 0)), 1)
}
