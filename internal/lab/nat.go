package lab

import (
	"maps"
	"math/rand/v2"
	"net/netip"
	"time"
)

// Dependence is on how much of a remote endpoint a NAT's mapping or filtering depends (RFC 4787 §4.1 and §5).
type Dependence uint8

// The kinds of RFC 4787.
const (
	EndpointIndependent Dependence = iota
	AddressDependent
	AddressAndPortDependent
)

// of returns the part of remote that counts.
func (d Dependence) of(remote netip.AddrPort) netip.AddrPort {
	switch d {
	case EndpointIndependent:
		return netip.AddrPort{}
	case AddressDependent:
		return netip.AddrPortFrom(remote.Addr(), 0)
	default:
		return remote
	}
}

// DefaultNATTimeout is the [NATOptions.Timeout] that zero stands for, the least that RFC 4787 REQ-5 allows.
const DefaultNATTimeout = 2 * time.Minute

// NATOptions are the behaviour of a [NAT] in the terms of RFC 4787. The zero value is FullCone.
type NATOptions struct {
	// Mapping says for which remote endpoints one inside endpoint keeps its outside port.
	Mapping Dependence
	// Filtering says from which remote endpoints it lets in besides those it was sent to. It depends on no less than
	// Mapping does.
	Filtering Dependence
	// PreservePort gives a mapping the port of the inside endpoint where that is free, and a random one where not;
	// otherwise every port is random, from 1024 up. Free means no mapping for the remote endpoints has it, as far as
	// Mapping tells them apart: a symmetric NAT uses one port toward many.
	PreservePort bool
	// Hairpin lets inside hosts reach each other at the outside address.
	Hairpin bool
	// Timeout is how long a mapping, and what the filter lets in by it, lives without traffic from inside; zero means
	// DefaultNATTimeout.
	Timeout time.Duration
	// InboundRefresh makes traffic from outside prolong it too.
	InboundRefresh bool
}

// FullCone maps to one random port for all remote endpoints and lets all in.
func FullCone() NATOptions { return NATOptions{} }

// AddressRestricted maps as FullCone and lets in addresses that were sent to.
func AddressRestricted() NATOptions { return NATOptions{Filtering: AddressDependent} }

// PortRestricted maps as FullCone and lets in endpoints that were sent to.
func PortRestricted() NATOptions { return NATOptions{Filtering: AddressAndPortDependent} }

// Symmetric maps to another random port for each remote endpoint and lets in that one only.
func Symmetric() NATOptions {
	return NATOptions{Mapping: AddressAndPortDependent, Filtering: AddressAndPortDependent}
}

// Linux is the kernel's masquerading: it keeps the port for each remote endpoint to which no other inside host sends
// from the same port, so that it looks endpoint-independent from outside, and lets in that endpoint only.
func Linux() NATOptions {
	o := Symmetric()
	o.PreservePort, o.InboundRefresh = true, true
	return o
}

// NAT is a private network behind one outside address: the hosts of its [Segment] send through it. It translates the
// address family of its address only. Its private network may use the same addresses as others, and have a NAT again.
// Chance, of ports, is drawn from the network's seed. All methods are safe for concurrent use.
type NAT struct {
	*Segment // the private network, perfect unless SetLink
	outer    *Segment
	opts     NATOptions

	// Guarded by net.mu.
	addr    netip.Addr
	rand    *rand.Rand
	byInner map[flow]*mapping // flow: inside endpoint, and what counts of the remote one
	byOuter map[flow]*mapping // flow: outside endpoint, and the same
	swept   time.Duration     // when what was over was last taken out
}

// flow is a local endpoint and the part of a remote one that Mapping depends on.
type flow struct{ local, remote netip.AddrPort }

// mapping is an outside port in use.
type mapping struct {
	inner, outer flow
	last         time.Duration                    // when it was last prolonged
	peers        map[netip.AddrPort]time.Duration // the same for what the filter lets in; nil where Mapping says it all
}

// NAT makes a private network whose hosts reach this segment through the address addr. It panics where [Segment.Host]
// would, when somebody has the address, and on options that have no meaning.
func (s *Segment) NAT(addr netip.Addr, opts NATOptions) *NAT {
	addr = usable(addr)
	switch {
	case opts.Mapping > AddressAndPortDependent || opts.Filtering > AddressAndPortDependent:
		panic("lab: unknown Mapping or Filtering of a NAT")
	case opts.Filtering < opts.Mapping:
		panic("lab: the Filtering of a NAT depends on less than its Mapping")
	case opts.Timeout < 0:
		panic("lab: the Timeout of a NAT is negative")
	case opts.Timeout == 0:
		opts.Timeout = DefaultNATTimeout
	}
	s.net.mu.Lock()
	defer s.net.mu.Unlock()
	seed := pathSeed(s.seed, pair{addr, addr})
	n := &NAT{outer: s, opts: opts, rand: rand.New(rand.NewPCG(seed, ^seed))}
	n.Segment = newSegment(s.net, seed, Link{}, n)
	n.take(addr)
	return n
}

// Addr returns the outside address.
func (n *NAT) Addr() netip.Addr {
	n.net.mu.Lock()
	defer n.net.mu.Unlock()
	return n.addr
}

// SetAddr gives the NAT another outside address, as a provider does over night: no mapping stays. It panics where
// [Segment.NAT] would.
func (n *NAT) SetAddr(addr netip.Addr) {
	addr = usable(addr)
	n.net.mu.Lock()
	defer n.net.mu.Unlock()
	delete(n.outer.stations, n.addr)
	n.take(addr)
}

// Flush forgets all mappings, as a restart of the router does.
func (n *NAT) Flush() {
	n.net.mu.Lock()
	defer n.net.mu.Unlock()
	n.flush()
}

func (n *NAT) flush() {
	n.byInner, n.byOuter = make(map[flow]*mapping), make(map[flow]*mapping)
}

// take makes addr the outside address. Called with net.mu held.
func (n *NAT) take(addr netip.Addr) {
	if n.outer.stations[addr] != nil {
		panic("lab: another has the address " + addr.String())
	}
	n.outer.stations[addr] = n
	n.addr = addr
	n.flush()
}

// arrive translates a datagram and sends it on. Called with net.mu held.
func (n *NAT) arrive(from *Segment, d *datagram) {
	n.sweep(d.due)
	d.origin = nil // its new sender, whatever addresses the old one has
	toSelf := d.to.Addr() == n.addr
	switch {
	case from == n.outer:
		n.inbound(d)
	case toSelf && !n.opts.Hairpin:
		n.net.stats.Filtered++
	case !n.outbound(d):
		n.net.stats.NoMapping++
	case toSelf:
		n.inbound(d)
	default:
		n.outer.carry(d)
	}
}

// outbound translates the source of a datagram, by a new mapping if need be, or says that it cannot.
func (n *NAT) outbound(d *datagram) bool {
	inner := flow{d.from, n.opts.Mapping.of(d.to)}
	m := n.alive(n.byInner[inner], d.due)
	if m == nil {
		port, ok := n.port(inner, d.due)
		if !ok || d.from.Addr().Is4() != n.addr.Is4() {
			return false
		}
		m = &mapping{inner: inner, outer: flow{netip.AddrPortFrom(n.addr, port), inner.remote}}
		if n.opts.Filtering > n.opts.Mapping {
			m.peers = make(map[netip.AddrPort]time.Duration)
		}
		n.byInner[m.inner], n.byOuter[m.outer] = m, m
	}
	n.prolong(m, d.to, d.due)
	d.from = m.outer.local
	return true
}

// inbound translates the destination of a datagram and sends it into the private network if the filter lets it.
func (n *NAT) inbound(d *datagram) {
	m := n.alive(n.byOuter[flow{d.to, n.opts.Mapping.of(d.from)}], d.due)
	if m == nil || !n.admits(m, d.from, d.due) {
		n.net.stats.Filtered++
		return
	}
	if n.opts.InboundRefresh {
		n.prolong(m, d.from, d.due)
	}
	d.to, d.inward = m.inner.local, true
	n.carry(d)
}

// admits says whether the filter lets remote in.
func (n *NAT) admits(m *mapping, remote netip.AddrPort, now time.Duration) bool {
	if m.peers == nil {
		return true
	}
	last, ok := m.peers[n.opts.Filtering.of(remote)]
	return ok && !n.over(last, now)
}

// over says whether what was last prolonged then has timed out.
func (n *NAT) over(last, now time.Duration) bool { return now-last >= n.opts.Timeout }

// alive returns m, or nil where it has timed out and is forgotten.
func (n *NAT) alive(m *mapping, now time.Duration) *mapping {
	if m == nil || !n.over(m.last, now) {
		return m
	}
	delete(n.byInner, m.inner)
	delete(n.byOuter, m.outer)
	return nil
}

// sweep forgets, now and then, all that has timed out, so that a NAT that many datagrams pass does not grow for ever.
func (n *NAT) sweep(now time.Duration) {
	if !n.over(n.swept, now) {
		return
	}
	n.swept = now
	for _, m := range n.byInner {
		if n.alive(m, now) != nil {
			maps.DeleteFunc(m.peers, func(_ netip.AddrPort, last time.Duration) bool { return n.over(last, now) })
		}
	}
}

// prolong notes traffic with remote.
func (n *NAT) prolong(m *mapping, remote netip.AddrPort, now time.Duration) {
	m.last = now
	if m.peers != nil {
		m.peers[n.opts.Filtering.of(remote)] = now
	}
}

// port finds an outside port for a mapping.
func (n *NAT) port(inner flow, now time.Duration) (uint16, bool) {
	const lowest, ports = 1024, 65536 - 1024
	free := func(port uint16) bool {
		return n.alive(n.byOuter[flow{netip.AddrPortFrom(n.addr, port), inner.remote}], now) == nil
	}
	if port := inner.local.Port(); n.opts.PreservePort && free(port) {
		return port, true
	}
	first := n.rand.IntN(ports)
	for i := range ports {
		if port := uint16(lowest + (first+i)%ports); free(port) {
			return port, true
		}
	}
	return 0, false
}
