package transport

import "time"

// What an address gets of one agent's checks. pion would send one in 50 ms and give the pair up after 7; so it is told
// never to give up, and its checks are thinned here.
const (
	thinBurst    = 10 // go as they come
	thinInterval = 600 * time.Millisecond
	// thinLimit is all that an address gets until it has answered. From thinSlowly on they are spread over what is
	// left of an attempt's 85 s, so that a NAT's filter stays open for a peer that comes late.
	thinLimit        = 100
	thinSlowly       = 60
	thinSlowInterval = 1350 * time.Millisecond
)

// muxRemote is what an agent's conn knows of a remote address.
type muxRemote struct {
	checks   int       // sent
	last     time.Time // when
	heard    bool      // a check or an answer came from there, or seemed to
	answered bool      // it answered a transaction ID of ours: who is there agrees to be sent to
}

// refuses says why a check must not go to the address now, dropNone if it may.
func (r *muxRemote) refuses(now time.Time) muxDrop {
	wait := thinInterval
	if r.checks >= thinSlowly {
		wait = thinSlowInterval
	}
	switch {
	case r.answered:
		return dropNone
	case r.checks >= thinLimit:
		return dropCheckLimit
	case r.heard || r.checks < thinBurst || now.Sub(r.last) >= wait:
		return dropNone
	}
	return dropThinned
}

// sent counts a check.
func (r *muxRemote) sent(now time.Time) {
	r.checks++
	r.last = now
}
