package transport

import (
	"net/netip"
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
	// writeWhole sends one datagram that nobody may fragment. An error says that
	// it cannot leave so.
	writeWhole(b []byte, to netip.AddrPort) error
	local(to netip.AddrPort) netip.AddrPort
	relayed() bool
}

const (
	// maxProbe is the size of a challenge: a path that carries it carries all.
	maxProbe = 1200
	// probeFrame is the length of a PATH_CHALLENGE or PATH_RESPONSE.
	probeFrame = 1 + 8
	// challengeEvery and challengeTries are how a path is asked: nothing grows, as
	// the budget of an unvalidated address does that.
	challengeEvery = 250 * time.Millisecond
	challengeTries = 12
	// maxAnswers bounds the challenges on one path that wait for our answer.
	maxAnswers = 4
)

// path is one way to the peer.
type path struct {
	conduit conduit
	remote  netip.AddrPort

	ice       bool   // ICE has found it; others were only seen to be come by
	valid     bool   // the peer answered there, by a challenge or to ICE
	out       uint32 // index of the connection ID that we write on it,
	id        connID // and that itself
	got, sent int    // bytes; what counts until it is valid
	rtt       time.Duration

	challenge [8]byte
	tries     int
	askedAt   time.Duration // the last try
	provenAt  time.Duration // the last answer
	weighedAt time.Duration // when the end that leads last considered following there; noTime: never
	nextTry   time.Duration // noTime: none
	answers   []pathAnswer
}

// pathAnswer is a challenge of the peer that waits for our answer, which will
// be no longer than the datagram that brought it.
type pathAnswer struct {
	token [8]byte
	size  int
}

// asking reports whether a challenge is out.
func (p *path) asking() bool { return p.nextTry != noTime }

// room is how many bytes may go to p now: to an address that has not answered
// no more than came from there.
func (p *path) room() int {
	if p.valid {
		return maxProbe
	}
	return min(p.got-p.sent, maxProbe)
}

// probeAt is when the path has a probe to send, for which there is room.
func (p *path) probeAt() time.Duration {
	switch {
	case p.room() < dataOverhead+probeFrame:
		return noTime // more must come from there first
	case len(p.answers) > 0:
		return 0
	}
	return p.nextTry
}

// probe is a packet of path frames to send.
type probe struct {
	path                *path
	challenge, response [8]byte
	asks, answers       bool
	size                int // of the datagram
}

// probe takes the probe that is due.
func (p *path) probe(now time.Duration) probe {
	b := probe{path: p}
	left := p.room() - dataOverhead
	if len(p.answers) > 0 {
		a := p.answers[0]
		p.answers = p.answers[1:]
		b.answers, b.response = true, a.token
		b.size = min(a.size, p.room())
		left -= probeFrame
	}
	if now >= p.nextTry && left >= probeFrame {
		b.asks, b.challenge, b.size = true, p.challenge, p.room()
		p.askedAt, p.nextTry = now, now+challengeEvery
		p.tries++
	}
	p.sent += b.size
	return b
}
