package transport

import "time"

const (
	// pingBusy and pingIdle are the longest silence of the peer before it is
	// asked for a sign of life, with lanes open and without.
	pingBusy = time.Second
	pingIdle = 7 * time.Second
	// suspectSilence with suspectWait (or some round trips) of an unanswered
	// question make a link suspect.
	suspectSilence = 1500 * time.Millisecond
	suspectWait    = 500 * time.Millisecond
	suspectTrips   = 4
	// deadAfter is how long a suspect link may stay without any path.
	deadAfter = 12 * time.Second
)

// liveness judges from our own packets alone whether the peer still hears us.
// It is stepped: the link gives it the time.
type liveness struct {
	heardAt   time.Duration // the last packet that was the peer's beyond doubt
	askedAt   time.Duration // the first packet since then that wants an answer; noTime: none
	suspectAt time.Duration // since when the link is suspect; noTime: it is not
}

// noTime is a moment that never comes.
const noTime = time.Duration(1<<63 - 1)

func newLiveness() liveness {
	return liveness{askedAt: noTime, suspectAt: noTime}
}

// heard notes an authentic packet and reports whether it ends a suspicion.
func (v *liveness) heard(now time.Duration) (recovered bool) {
	recovered = v.suspectAt != noTime
	v.heardAt, v.askedAt, v.suspectAt = now, noTime, noTime
	return recovered
}

// asked notes a packet of ours that wants an answer.
func (v *liveness) asked(now time.Duration) { v.askedAt = min(v.askedAt, now) }

// doubt makes the link suspect for a reason from outside: the peer's new offer
// comes from another run, or our addresses have gone.
func (v *liveness) doubt(now time.Duration) (begun bool) {
	if v.suspectAt != noTime {
		return false
	}
	v.suspectAt = now
	return true
}

// suspect reports whether the link is suspect.
func (v *liveness) suspect() bool { return v.suspectAt != noTime }

// verdict is what the time has brought.
type verdict struct {
	ping    bool // the peer should be asked now
	suspect bool // the link has just become suspect
	dead    bool
}

// advance looks at the clock. busy says whether lanes are open.
func (v *liveness) advance(now, rtt time.Duration, busy bool) (d verdict) {
	if v.suspectAt != noTime && now >= v.suspectAt+deadAfter {
		d.dead = true
		return d
	}
	if v.suspectAt == noTime && now >= v.suspectTime(rtt) {
		v.suspectAt = now
		d.suspect = true
	}
	d.ping = v.askedAt == noTime && now >= v.heardAt+pingEvery(busy)
	return d
}

// next is when advance wants to be called again.
func (v *liveness) next(rtt time.Duration, busy bool) time.Duration {
	at := noTime
	if v.askedAt == noTime {
		at = v.heardAt + pingEvery(busy)
	}
	if v.suspectAt != noTime {
		return min(at, v.suspectAt+deadAfter)
	}
	return min(at, v.suspectTime(rtt))
}

// suspectTime is when silence becomes suspicious; noTime while nothing waits
// for an answer.
func (v *liveness) suspectTime(rtt time.Duration) time.Duration {
	if v.askedAt == noTime {
		return noTime
	}
	return max(v.heardAt+suspectSilence, v.askedAt+max(suspectWait, suspectTrips*rtt))
}

func pingEvery(busy bool) time.Duration {
	if busy {
		return pingBusy
	}
	return pingIdle
}
