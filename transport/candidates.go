package transport

import (
	"net/netip"
	"slices"

	"github.com/gocarrier/carrier/internal/wire"
)

// candidates are what our offers name, best first: at most
// [wire.MaxCandidates].
func (t *Transport) candidates() []wire.Candidate {
	local, reflexive := t.config.Addresses()
	loopback := wire.OnLoopback(local)
	var list []wire.Candidate
	put := func(kind wire.CandidateType, most int, addrs ...netip.AddrPort) {
		for _, a := range addrs {
			a = wire.Plain(a)
			known := slices.ContainsFunc(list, func(c wire.Candidate) bool { return c.Addr == a })
			if wire.Reachable(a, loopback) && !known && len(list) < most {
				list = append(list, wire.Candidate{Type: kind, Addr: a})
			}
		}
	}
	// Others than hosts have their places kept: there are few of them, and they
	// are what works between networks.
	var relayed []netip.AddrPort
	for _, r := range t.allocated() {
		relayed = append(relayed, r.addr())
	}
	reflexive = append(slices.Clone(reflexive), t.reflected()...)
	reflexive = slices.DeleteFunc(reflexive, func(a netip.AddrPort) bool { return slices.Contains(local, a) })
	put(wire.CandidateHost, max(wire.MaxCandidates-len(reflexive)-len(relayed), 1), local...)
	put(wire.CandidateServerReflexive, max(wire.MaxCandidates-len(relayed), 2), reflexive...)
	put(wire.CandidateRelayed, wire.MaxCandidates, relayed...)
	return list
}

// claimed is a friend's offer with those of its candidates that may be sent to:
// they are claims, and a friend must not aim us at others.
func (t *Transport) claimed(o *wire.Offer) *wire.Offer {
	if o == nil {
		return nil
	}
	local, _ := t.config.Addresses()
	loopback := wire.OnLoopback(local)
	filtered := *o
	filtered.Candidates = nil
	for _, c := range o.Candidates[:min(len(o.Candidates), wire.MaxCandidates)] {
		if c.Addr = wire.Plain(c.Addr); wire.Reachable(c.Addr, loopback) {
			filtered.Candidates = append(filtered.Candidates, c)
		} else {
			t.count("offer.candidate.refused")
		}
	}
	return &filtered
}
