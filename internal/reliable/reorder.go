package reliable

import "time"

const (
	packetThreshold = 3 // numbers behind the newest acknowledged, at which a packet is lost (RFC 9002 §6.1.1)
	timeThreshold   = 9 // eighths of the round trip, after which it is (RFC 9002 §6.1.2)
	maxThreshold    = 1024
	maxTimeEighths  = 16
	calmRounds      = 16 // without a spurious loss, after which the thresholds fall by a step
)

// A reorder is how much later than others a packet may come before it counts as lost. It adapts to paths that reorder:
// each packet that was given up too early raises the threshold that gave it up, and calm lowers it again.
type reorder struct {
	packets uint64
	eighths int
	since   uint64 // round of the last spurious loss, or step down
}

func newReorder() reorder { return reorder{packets: packetThreshold, eighths: timeThreshold} }

// delay is how long after it was sent a packet is lost if a later one has been acknowledged.
func (o *reorder) delay(r *rttEstimate) time.Duration {
	return max(max(r.latest, r.smoothed)*time.Duration(o.eighths)/8, granularity)
}

// spurious says that a packet came which was given up for its time or, else, for its distance from the newest
// acknowledged, which has now become distance.
func (o *reorder) spurious(byTime bool, distance, round uint64) {
	if byTime {
		o.eighths = min(o.eighths+1, maxTimeEighths)
	} else {
		o.packets = max(o.packets, min(distance+1, maxThreshold))
	}
	o.since = round
}

// calm lowers the thresholds when it is time.
func (o *reorder) calm(round uint64) {
	if round-o.since < calmRounds {
		return
	}
	o.since = round
	o.packets = max(packetThreshold, o.packets-o.packets/4)
	o.eighths = max(timeThreshold, o.eighths-1)
}
