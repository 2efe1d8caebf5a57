package courier

import (
	"net/netip"
	"slices"
	"time"

	"github.com/gocarrier/carrier/internal/wire"
)

const (
	// proofLife is how long a nonce of ours, and the proof by its echo, counts.
	proofLife = 30 * time.Second
	// trustLife is how long an endpoint is taken for the peer's after its last
	// proof; after it, it is a claim like any other.
	trustLife = time.Minute
	// claimSends is how many datagrams a claim gets in a claimWindow.
	claimSends  = 3
	claimWindow = time.Minute
	// maxEndpoints bounds what is remembered: claims, and addresses that signed
	// envelopes came from.
	maxEndpoints = 2 * wire.MaxEndpoints
)

// endpoint is an address at which the peer may be. It is made when it first is
// used, so that an idle friend's claims cost nothing.
type endpoint struct {
	addr    netip.AddrPort
	nonces  [2]issued // ours, newest first
	proven  time.Time // when a nonce of ours last came back
	carried time.Time // when a link that led there was last good
	theirs  issued    // the newest nonce of theirs seen from there, and when
	echoed  time.Time // when we last sent that back
	sent    [claimSends]time.Time
}

type issued struct {
	nonce uint64
	at    time.Time
}

// nonce gives the nonce to be sent now; each serves for 10 s.
func (e *endpoint) nonce(now time.Time) uint64 {
	if e.nonces[0].nonce == 0 || now.Sub(e.nonces[0].at) >= exchangeEvery {
		e.nonces[1] = e.nonces[0]
		e.nonces[0] = issued{nonce(), now}
	}
	return e.nonces[0].nonce
}

// echo gives the nonce of theirs to be sent back: 0 when it no longer counts.
func (e *endpoint) echo(now time.Time) uint64 {
	if now.Sub(e.theirs.at) > proofLife {
		return 0
	}
	return e.theirs.nonce
}

// bound reports whether echo is a nonce of ours to this endpoint that still counts.
func (e *endpoint) bound(echo uint64, now time.Time) bool {
	for _, n := range e.nonces {
		if echo != 0 && n.nonce == echo && now.Sub(n.at) <= proofLife {
			return true
		}
	}
	return false
}

func (e *endpoint) trusted(now time.Time) bool {
	last := later(e.proven, e.carried)
	return !last.IsZero() && now.Sub(last) <= trustLife
}

// mayReach asks leave for one datagram to the endpoint. One that has proven
// itself always may be reached; a claim gets 3 datagrams a minute, within what
// the whole node may send to that host.
func (c *Courier) mayReach(e *endpoint, now time.Time) bool {
	if e.trusted(now) {
		return true
	}
	oldest := 0
	for i, t := range e.sent {
		if t.Before(e.sent[oldest]) {
			oldest = i
		}
	}
	if t := e.sent[oldest]; !t.IsZero() && now.Sub(t) < claimWindow {
		c.count("endpoint.held")
		return false
	}
	if host := e.addr.Addr(); !host.IsLoopback() && !c.targets.take(host, now) {
		c.count("endpoint.held.host")
		return false
	}
	e.sent[oldest] = now
	return true
}

// endpoints are the addresses of ours that friends are told: at most 8.
func (c *Courier) endpoints() []netip.AddrPort {
	var list []netip.AddrPort
	loopback := wire.OnLoopback(c.datagrams.Local())
	add := func(a netip.AddrPort) {
		a = wire.Plain(a)
		if len(list) < wire.MaxEndpoints && wire.Reachable(a, loopback) && !slices.Contains(list, a) {
			list = append(list, a)
		}
	}
	for _, a := range c.datagrams.External() {
		add(a)
	}
	for _, a := range c.datagrams.Local() {
		add(a)
	}
	return list
}

// usable reports whether a claim may be sent to at all.
func (c *Courier) usable(a netip.AddrPort) bool {
	return wire.Reachable(wire.Plain(a), wire.OnLoopback(c.datagrams.Local()))
}

func equalEndpoints(a, b []netip.AddrPort) bool {
	if len(a) != len(b) {
		return false
	}
	for _, x := range a {
		if !slices.Contains(b, x) {
			return false
		}
	}
	return true
}

// claimed are the endpoints that the peer's record names and that may be used.
func (p *peer) claimed() []netip.AddrPort {
	if p.theirs == nil {
		return nil
	}
	var list []netip.AddrPort
	for _, a := range p.theirs.Endpoints[:min(len(p.theirs.Endpoints), wire.MaxEndpoints)] {
		if a = wire.Plain(a); p.c.usable(a) && !slices.Contains(list, a) {
			list = append(list, a)
		}
	}
	return list
}

// endpoint finds or makes the record of an address; nil if the peer has used up
// what is remembered.
func (p *peer) endpoint(a netip.AddrPort) *endpoint {
	for _, e := range p.endpoints {
		if e.addr == a {
			return e
		}
	}
	now := p.c.loop.Now()
	if len(p.endpoints) >= maxEndpoints {
		p.endpoints = slices.DeleteFunc(p.endpoints, func(e *endpoint) bool { return e.idle(now) })
	}
	if len(p.endpoints) >= maxEndpoints {
		p.c.count("drop.endpoints")
		return nil
	}
	e := &endpoint{addr: a}
	p.endpoints = append(p.endpoints, e)
	return e
}

// idle reports whether nothing is lost by forgetting the endpoint: neither
// trust nor what it has been sent in the last minute.
func (e *endpoint) idle(now time.Time) bool {
	for _, t := range e.sent {
		if !t.IsZero() && now.Sub(t) < claimWindow {
			return false
		}
	}
	return !e.trusted(now) && now.Sub(e.echoed) > claimWindow
}
