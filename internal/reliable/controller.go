package reliable

import "time"

// This file is the seam between the machine and congestion control: the machine says what left, arrived and was lost,
// the controller answers how much may be in flight and how fast it may leave.
//
// A loss-based controller (CUBIC here) moves its window by Sample.Bytes and Loss. A rate-based one, BBR's kind, uses the
// same calls otherwise:
//
//   - Sample.Rate is one measurement of what the path delivers. Its model of the bottleneck is the largest over the last
//     ten values of Sample.Round; samples with RateAppLimited count only where they are above that.
//   - RTT.Min, over some ten seconds by a filter of its own, is its model of the path without queues.
//   - Rate is then the gain of the current phase times the bottleneck's rate, Window a small multiple of rate times
//     least round trip, only there to bound what a silent peer leaves in flight. Phases change on Round and on the now
//     that every call carries: a controller has no timer.
//   - Loss over Delivered of a round tells random loss from a queue that overflows. This is where it must be fair to
//     flows that halve their window on any loss.
//   - Spurious takes packets back from that account; Sent with nothing else in flight is the restart from idle.

// defaultPacket is Path.MaxPacket where it is not given, and defaultRTT is Path.RTT.
const (
	defaultPacket = 1200
	defaultRTT    = 100 * time.Millisecond
)

// A Path is what a [Controller] knows of the way its packets take before the first of them leaves.
type Path struct {
	// MaxPacket is the bytes of the largest packet, the unit of congestion control; 0 is 1200.
	MaxPacket int
	// RTT is the round trip measured before (by the handshake), used for pacing until the first sample; 0 is 100 ms.
	RTT time.Duration
}

// A Controller decides how many bytes may be in flight on one path and how fast they leave. The machine makes one for
// each path and drops it when the path changes, calls it from one goroutine, and never with an instant before that of
// the call before. Instants count from the machine's epoch. Only ack-eliciting packets are told of, in bytes of
// plaintext. No call may allocate or block: all but Spurious come once a packet or once an ACK.
//
// One ACK may cause Spurious, Acked and Lost, all at the same instant; a controller does not rely on their order.
type Controller interface {
	// Window is how many bytes may be in flight, at least two packets. The machine sends while less is in flight; probes
	// of its loss timer go beyond it.
	Window() int
	// Rate is what the pacer lets out, in bytes a second; 0 is unpaced.
	Rate() float64
	// Sent says that a packet of size bytes left, and how much is in flight with it: size, if nothing else was.
	Sent(now time.Duration, size, inFlight int)
	// Acked is called once for each ACK that acknowledges something new.
	Acked(now time.Duration, s Sample)
	// Lost is called once for each pass of loss detection that found losses. It is for the controller to take several
	// passes within a round trip as one congestion event.
	Lost(now time.Duration, l Loss)
	// Spurious says that packets reported by Lost arrived after all: Bytes and Packets of l count them and SentAt is
	// that of the newest of them. Each lost packet is reported here at most once.
	Spurious(now time.Duration, l Loss)
}

// An RTT is what is known of the round trip of a path.
type RTT struct {
	Latest   time.Duration // of this ACK, without the peer's delay; 0 if it gave no sample
	Min      time.Duration // least so far, with whatever delay of the peer it had; 0 before the first sample
	Smoothed time.Duration // moving average (RFC 9002 §5.3)
}

// A Sample is what one ACK says of the path.
type Sample struct {
	Bytes    int           // newly acknowledged by this ACK
	SentAt   time.Duration // when the newest packet acknowledged by this ACK was sent
	InFlight int           // bytes in flight before this ACK
	RTT      RTT
	// Round counts round trips: it rises when a packet sent after its last rise is acknowledged.
	Round uint64
	// Rate is the delivery rate between the newest packet's departure and this ACK, in bytes a second
	// (draft-cheng-iccrg-delivery-rate-estimation); 0 if there was no sample. RateAppLimited: the program, not
	// the path, may have bounded it, so that it is a lower bound only.
	Rate           float64
	RateAppLimited bool
	// Delivered is the bytes acknowledged on this path in all, those of this ACK included.
	Delivered uint64
	// Limited says that the window or the pacer, not the program or flow control, bounded what was sent lately: only
	// then has the path shown that it carries the window, and only then a loss-based window may grow (RFC 9002 §7.8).
	Limited bool
}

// A Loss is what one pass of loss detection found, or a part of it that arrived after all.
type Loss struct {
	Bytes, Packets int
	SentAt         time.Duration // when the newest of these packets was sent
	InFlight       int           // bytes in flight after them: what is lost is not in flight
	// Persistent says that all packets of a span longer than the persistent congestion duration (RFC 9002 §7.6) are lost.
	Persistent bool
}
