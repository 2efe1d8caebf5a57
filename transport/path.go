package transport

import (
	"crypto/rand"
	"net/netip"
	"slices"
	"time"
)

// PathKind says how a link's packets travel.
type PathKind uint8

// The kinds of path.
const (
	PathNone   PathKind = iota // no link, or none that works now
	PathLAN                    // straight, within one network
	PathDirect                 // straight, over the internet
	PathRelay                  // by a TURN server, which sees ciphertext only
)

// String returns "none", "lan", "direct" or "relay".
func (k PathKind) String() string {
	switch k {
	case PathLAN:
		return "lan"
	case PathDirect:
		return "direct"
	case PathRelay:
		return "relay"
	case PathNone:
	}
	return "none"
}

// Path is the way that a link's packets take now.
type Path struct {
	Kind   PathKind
	Local  netip.AddrPort // our socket's address, or the relayed one
	Remote netip.AddrPort
	RTT    time.Duration // smoothed round trip; zero until measured
}

// conduit is what datagrams leave by: the node's sockets, or a relayed address.
// It is comparable.
type conduit interface {
	// write sends b cut into datagrams of size bytes; the last may be shorter.
	write(b []byte, size int, to netip.AddrPort) error
	local(to netip.AddrPort) netip.AddrPort
	relayed() bool
}

const (
	// maxPaths bounds the paths of a link that are tried or kept at once.
	maxPaths = 8
	// challengeEvery and challengeTries are how a new path is asked: nothing
	// grows, as the budget of an unvalidated address does that.
	challengeEvery = 250 * time.Millisecond
	challengeTries = 12
	// amplification is how many times the bytes that came from an unvalidated
	// address may be sent to it (RFC 9000 section 8).
	amplification = 3
)

// path is one way to the peer.
type path struct {
	conduit conduit
	remote  netip.AddrPort

	valid     bool   // the peer answered a challenge there, or ICE checked it
	out       uint32 // index of the connection ID that we write on it,
	id        connID // and that itself
	got, sent int    // bytes; what counts until it is valid
	rtt       time.Duration

	challenge [8]byte
	tries     int
	askedAt   time.Duration // the last try; noTime: no challenge is out
	nextTry   time.Duration // noTime: none
	respond   [][8]byte     // challenges of the peer that wait for our answer
}

// pathTable decides which path is used. ICE only proposes; a path is used
// after the peer has answered on it. It is stepped.
type pathTable struct {
	name    func(index uint32) connID // of our packets
	current *path
	all     []*path // current first, oldest last
	nextOut uint32  // index of the connection ID of the next path
	highest uint64  // the peer's highest packet number
	maxIn   uint32  // highest index of the peer's connection IDs
}

// newPathTable begins with the path that the attempt has checked.
func newPathTable(name func(index uint32) connID, c conduit, remote netip.AddrPort) *pathTable {
	p := &path{conduit: c, remote: remote, id: name(0), valid: true, nextTry: noTime}
	return &pathTable{name: name, current: p, all: []*path{p}, nextOut: 1}
}

func (t *pathTable) find(c conduit, remote netip.AddrPort) *path {
	for _, p := range t.all {
		if p.remote == remote && p.conduit == c {
			return p
		}
	}
	return nil
}

// add makes a new path that is not valid yet. The oldest one makes room, never
// the current one.
func (t *pathTable) add(c conduit, remote netip.AddrPort) *path {
	p := &path{conduit: c, remote: remote, out: t.nextOut, id: t.name(t.nextOut), nextTry: noTime}
	t.nextOut++
	if len(t.all) == maxPaths {
		last := len(t.all) - 1
		if t.all[last] == t.current {
			last--
		}
		t.all = slices.Delete(t.all, last, last+1)
	}
	t.all = slices.Insert(t.all, 1, p)
	return p
}

// received notes an authentic packet. A packet with the highest number so far
// that comes from elsewhere makes that place a path to be asked.
func (t *pathTable) received(now time.Duration, c conduit, from netip.AddrPort, index uint32, pn uint64, size int) *path {
	p := t.find(c, from)
	if p == nil {
		if pn <= t.highest {
			return nil // late, by a way that we do not know
		}
		p = t.add(c, from)
	}
	p.got += size
	t.maxIn = max(t.maxIn, index)
	if pn > t.highest {
		t.highest = pn
		if p != t.current {
			t.ask(now, p)
		}
	}
	if p == t.current && index > p.out { // the peer has moved: what an observer could link by stays behind
		p.out, p.id = index, t.name(index)
		t.nextOut = max(t.nextOut, index+1)
	}
	return p
}

// propose adds a path that ICE has found; it is asked at once.
func (t *pathTable) propose(now time.Duration, c conduit, remote netip.AddrPort) {
	p := t.find(c, remote)
	if p == nil {
		p = t.add(c, remote)
	}
	p.valid = true // its address has answered connectivity checks with our credentials
	if p != t.current {
		t.ask(now, p)
	}
}

// ask begins to challenge a path, unless that is under way.
func (t *pathTable) ask(now time.Duration, p *path) {
	if p.nextTry != noTime {
		return
	}
	rand.Read(p.challenge[:]) // never fails
	p.tries, p.nextTry = 0, now
}

// askAll challenges every path that is known, because the current one is in
// doubt.
func (t *pathTable) askAll(now time.Duration) {
	for _, p := range t.all {
		t.ask(now, p)
	}
}

// challenged notes a challenge of the peer that came by p.
func (t *pathTable) challenged(p *path, data [8]byte) {
	if p != nil && len(p.respond) < 4 {
		p.respond = append(p.respond, data)
	}
}

// responded takes the peer's answer, on whichever path it came, and reports
// whether the current path changes because of it. The one before stays known:
// packets are still under way on it.
func (t *pathTable) responded(now time.Duration, data [8]byte) (changed bool) {
	for _, p := range t.all {
		if p.tries == 0 || p.nextTry == noTime || p.challenge != data {
			continue
		}
		p.valid, p.rtt, p.nextTry = true, now-p.askedAt, noTime
		if p == t.current {
			return false
		}
		t.current = p
		i := slices.Index(t.all, p)
		t.all = slices.Insert(slices.Delete(t.all, i, i+1), 0, p)
		return true
	}
	return false
}

// probe is a packet of path frames to send.
type probe struct {
	path                *path
	challenge, response [8]byte
	asks, answers       bool
	size                int // of the datagram
}

const (
	// maxProbe is the size of a probe: a path that carries it carries all.
	maxProbe = 1200
	// minProbe has room for both frames.
	minProbe = dataOverhead + 2*(1+8)
)

// probe takes the next probe that is due; false if there is none.
func (t *pathTable) probe(now time.Duration) (probe, bool) {
	for _, p := range t.all {
		if now < p.probeAt() {
			continue
		}
		b := probe{path: p, size: min(p.room(), maxProbe)}
		if len(p.respond) > 0 {
			b.answers, b.response = true, p.respond[0]
			p.respond = p.respond[1:]
		}
		if now >= p.nextTry {
			b.asks, b.challenge = true, p.challenge
			p.askedAt, p.nextTry = now, now+challengeEvery
			if p.tries++; p.tries >= challengeTries {
				t.giveUp(p)
			}
		}
		p.sent += b.size
		return b, true
	}
	return probe{}, false
}

// giveUp ends the challenge of a path that has not answered.
func (t *pathTable) giveUp(p *path) {
	p.nextTry, p.valid = noTime, p == t.current
	if p != t.current {
		t.all = slices.DeleteFunc(t.all, func(q *path) bool { return q == p })
	}
}

// probeAt is when the path has a probe to send, for which there is room.
func (p *path) probeAt() time.Duration {
	switch {
	case p.room() < minProbe:
		return noTime // more must come from there first
	case len(p.respond) > 0:
		return 0
	}
	return p.nextTry
}

// room is how many bytes may go to p now.
func (p *path) room() int {
	if p.valid {
		return maxProbe
	}
	return amplification*p.got - p.sent
}

// next is when probe wants to be asked again.
func (t *pathTable) next() time.Duration {
	at := noTime
	for _, p := range t.all {
		at = min(at, p.probeAt())
	}
	return at
}
