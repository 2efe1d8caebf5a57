package transport

import (
	"crypto/rand"
	"net/netip"
	"slices"
	"time"
)

const (
	// maxPaths bounds the paths of a link that are tried or kept at once.
	maxPaths = 8
	// leadGrace, with two round trips, is how long the end that leads waits for
	// its own path to answer before it follows the peer to another.
	leadGrace = 50 * time.Millisecond
	// leadAgain is how often it asks because of packets that come by another way.
	leadAgain = time.Second
	// provenFor is how long an answer counts: within it the peer may come back to
	// a path without being asked there again.
	provenFor = 10 * time.Second
)

// pathTable decides which path is used. ICE only proposes; a path is used after
// the peer has answered on it. It is stepped.
//
// Both ends would chase each other if each followed the other. So one leads,
// the lower ID: it goes where ICE says, and follows the peer to another place
// only if its own path no longer answers. The other end follows the packet with
// the highest number. Packets of nothing but probes move nobody (RFC 9000
// section 9.1), and an end that has followed asks the path it has left, so that
// it is led back if somebody else has passed packets on faster (section 9.3.3).
type pathTable struct {
	leads   bool
	ids     pathIDs
	current *path
	all     []*path // current first, oldest last
	newest  *path   // by which the highest-numbered packet came that was no probe
	goal    *path   // what ICE proposes; used as soon as it answers
	doubt   bool    // the peer is not heard: whatever answers first is used
	decide  time.Duration
	highest uint64 // the peer's highest packet number
}

// newPathTable begins with the path that the attempt has checked.
func newPathTable(leads bool, name func(index uint32) connID, c conduit, remote netip.AddrPort) *pathTable {
	t := &pathTable{leads: leads, ids: pathIDs{name: name}, decide: noTime}
	p := &path{conduit: c, remote: remote, ice: true, valid: true, weighedAt: noTime, nextTry: noTime}
	p.out, p.id = t.ids.take(0)
	t.current, t.newest, t.all = p, p, []*path{p}
	return t
}

func (t *pathTable) find(c conduit, remote netip.AddrPort) *path {
	for _, p := range t.all {
		if p.remote == remote && p.conduit == c {
			return p
		}
	}
	return nil
}

// add makes a new path that is not valid yet.
func (t *pathTable) add(c conduit, remote netip.AddrPort) *path {
	if len(t.all) == maxPaths {
		t.remove(t.least())
	}
	p := &path{conduit: c, remote: remote, weighedAt: noTime, nextTry: noTime}
	p.out, p.id = t.ids.take(t.current.out)
	t.all = slices.Insert(t.all, 1, p)
	return p
}

// least is the path that is missed least: one that has not answered rather than
// one that has, one that ICE does not know rather than one that it does, the
// oldest of its kind; neither the current one nor the goal.
func (t *pathTable) least() (least *path) {
	worth := func(p *path) int {
		switch {
		case !p.valid:
			return 0
		case !p.ice:
			return 1
		}
		return 2
	}
	for _, p := range slices.Backward(t.all) {
		if p != t.current && p != t.goal && (least == nil || worth(p) < worth(least)) {
			least = p
		}
	}
	return least
}

// remove forgets a path.
func (t *pathTable) remove(p *path) {
	t.all = slices.DeleteFunc(t.all, func(q *path) bool { return q == p })
	t.ids.give(p.out)
	if t.goal == p {
		t.goal = nil
	}
	if t.newest == p {
		t.newest = t.current
	}
}

// inbound is what is known of an authentic packet besides its frames.
type inbound struct {
	conduit conduit
	from    netip.AddrPort
	index   uint32 // of its connection ID
	number  uint64
	size    int  // of the datagram
	probe   bool // it holds frames of path validation only
}

// received notes an authentic packet, and returns the path by which it came;
// nil if that is not known and not new. rtt is the round trip of now. It
// reports whether the current path changes.
func (t *pathTable) received(now, rtt time.Duration, in inbound) (p *path, changed bool) {
	p = t.find(in.conduit, in.from)
	if p == nil {
		if in.number <= t.highest {
			return nil, false // late, by a way that we do not know
		}
		p = t.add(in.conduit, in.from)
	}
	p.got += in.size
	t.ids.saw(in.index)
	if p == t.current && in.index > p.out && t.ids.takeAt(in.index) { // the peer has moved: what an observer could link by stays behind
		t.ids.give(p.out)
		p.out, p.id = in.index, t.ids.name(in.index)
	}
	if in.number <= t.highest {
		return p, false
	}
	t.highest = in.number
	if p == t.current {
		t.doubt = false // not if it is heard elsewhere: its question comes before the answer to ours
	}
	switch {
	case in.probe:
		if p != t.current && !p.valid {
			t.ask(now, p) // the peer may be about to come
		}
	case p == t.current:
		t.newest, t.decide = p, noTime
	default:
		t.newest = p
		changed = t.follow(now, rtt, p)
	}
	return p, changed
}

// follow considers a place from which the peer's newest packet came. It reports
// whether the current path changes at once.
func (t *pathTable) follow(now, rtt time.Duration, p *path) bool {
	switch {
	case t.leads && p.weighedAt != noTime && now-p.weighedAt < leadAgain:
	case t.leads:
		p.weighedAt = now
		t.ask(now, p)
		t.ask(now, t.current)
		t.decide = now + 2*rtt + leadGrace
	case p.valid && now-p.provenAt < provenFor:
		t.use(now, p)
		return true
	default:
		t.ask(now, p)
	}
	return false
}

// propose adds a path that ICE has found; it is asked at once, and used when
// the peer answers.
func (t *pathTable) propose(now time.Duration, c conduit, remote netip.AddrPort) {
	p := t.find(c, remote)
	if p == nil {
		p = t.add(c, remote)
	}
	p.ice, p.valid, p.provenAt = true, true, now // its address has answered connectivity checks with our credentials
	t.goal = nil
	if p != t.current {
		t.goal = p
	}
	t.ask(now, p)
}

// ask begins to challenge a path, unless that is under way.
func (t *pathTable) ask(now time.Duration, p *path) {
	if p.asking() {
		return
	}
	rand.Read(p.challenge[:]) // never fails
	p.tries, p.nextTry = 0, now
}

// askAll challenges every path that is known, because the current one is in
// doubt.
func (t *pathTable) askAll(now time.Duration) {
	t.doubt = true
	for _, p := range t.all {
		t.ask(now, p)
	}
}

// moved has our packets bear a new name, since our address may be another now,
// and lets the peer see it.
func (t *pathTable) moved(now time.Duration) {
	p := t.current
	if index, id := t.ids.take(p.out); index != p.out {
		t.ids.give(p.out)
		p.out, p.id = index, id
	}
	t.ask(now, p)
}

// challenged notes a challenge of the peer that came by p in a datagram of size
// bytes. It reports whether the peer should see by another packet that this is
// the path we use.
func (t *pathTable) challenged(p *path, token [8]byte, size int) (current bool) {
	if p != nil && len(p.answers) < maxAnswers {
		p.answers = append(p.answers, pathAnswer{token, size})
	}
	return p == t.current
}

// responded takes the peer's answer, on whichever path it came, and reports
// whether the current path changes because of it. The one before stays known:
// packets are still under way on it.
func (t *pathTable) responded(now time.Duration, token [8]byte) (changed bool) {
	i := slices.IndexFunc(t.all, func(p *path) bool { return p.asking() && p.tries > 0 && p.challenge == token })
	if i < 0 {
		return false
	}
	p := t.all[i]
	p.valid, p.provenAt, p.rtt, p.nextTry = true, now, now-p.askedAt, noTime
	t.ids.answered(p.out)
	switch {
	case p == t.current:
		t.doubt, t.decide = false, noTime
		return false
	case t.doubt, p == t.goal:
	case p != t.newest: // the peer is elsewhere by now
		return false
	case !t.leads, p.ice && !t.current.ice, now >= t.decide:
	default:
		return false // the current path has a moment left to answer
	}
	t.use(now, p)
	return true
}

// advance looks at the clock, and reports whether the current path changes.
func (t *pathTable) advance(now time.Duration) (changed bool) {
	for i := len(t.all) - 1; i >= 0; i-- { // backwards, since giveUp takes one out
		if p := t.all[i]; p.asking() && p.tries >= challengeTries && now >= p.nextTry {
			t.giveUp(p)
		}
	}
	if !t.decides() || now < t.decide {
		return false
	}
	t.use(now, t.newest)
	return true
}

// decides reports whether the end that leads has a path to follow the peer to,
// unless its own still answers.
func (t *pathTable) decides() bool {
	p := t.newest
	return t.decide != noTime && p != t.current && p.valid && !p.asking()
}

// use makes p the current path.
func (t *pathTable) use(now time.Duration, p *path) {
	before := t.current
	i := slices.Index(t.all, p)
	t.current, t.newest, t.all = p, p, slices.Insert(slices.Delete(t.all, i, i+1), 0, p)
	if t.goal == p {
		t.goal = nil
	}
	t.doubt, t.decide = false, noTime
	if !p.ice {
		t.ask(now, before)
	}
}

// giveUp ends the challenge of a path that has not answered.
func (t *pathTable) giveUp(p *path) {
	p.nextTry = noTime
	if p != t.current {
		t.remove(p)
	}
}

// probe takes the next probe that is due; false if there is none.
func (t *pathTable) probe(now time.Duration) (probe, bool) {
	for _, p := range t.all {
		if now >= p.probeAt() && !t.over(p) {
			return p.probe(now), true
		}
	}
	return probe{}, false
}

// over reports whether a path has only to be given up.
func (t *pathTable) over(p *path) bool { return p.tries >= challengeTries && len(p.answers) == 0 }

// next is when advance and probe want to be called again.
func (t *pathTable) next() time.Duration {
	at := noTime
	if t.decides() {
		at = t.decide
	}
	for _, p := range t.all {
		if t.over(p) {
			at = min(at, p.nextTry)
		} else {
			at = min(at, p.probeAt())
		}
	}
	return at
}
