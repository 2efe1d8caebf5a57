package reliable

import "time"

// tuneRTTs: a window of which half is used within so many round trips is what limits the sender, and is doubled.
const tuneRTTs = 4

// A window is what a peer is allowed to send, of one lane or of all: bytes up to limit, which runs size ahead of what
// has been read.
type window struct {
	size, limit uint64
	raised      time.Duration // when limit was raised last
}

// raise moves the limit size ahead of from, but not above ceiling. It doubles the size, up to most, when that comes soon
// after the last time.
func (w *window) raise(now time.Duration, from, ceiling, most uint64, srtt time.Duration) {
	if now-w.raised < tuneRTTs*srtt {
		w.size = min(2*w.size, most)
	}
	w.raised = now
	w.limit = max(w.limit, min(from+w.size, ceiling))
}
