package transport

import (
	"slices"
	"time"

	"github.com/gocarrier/carrier/internal/wire"
)

// pair is what an attempt rests on: an offer of each side for a new link, the
// offer of one side for a restart. It may be attempted any number of times.
type pair struct {
	id     attemptID
	kind   wire.OfferKind
	local  *localOffer  // nil in a restart that the peer has offered
	remote *remoteOffer // nil in a restart that we have offered
	order  linkOrder    // of a new link
	spent  bool         // a link came of it

	started time.Time // zero: no attempt is under way
	fails   int       // in a row
	due     time.Time // no attempt before
}

func (r *pair) running() bool { return !r.started.IsZero() }

// known reports whether the peer has this pair for certain: it made it.
func (r *pair) known() bool { return r.remote.Offer.Re == r.local.Offer.ID }

// apart reports whether two pairs have no offer in common. The ICE mux tells
// attempts apart by the credentials of our offers.
func (r *pair) apart(o *pair) bool {
	return (r.local == nil || r.local != o.local) && (r.remote == nil || r.remote != o.remote)
}

// matches reports whether two offers make a new link: one that is for a new
// link names the other. A restart names offers too, but asks for no new link;
// yet it can be taken for an offer of one by a peer that has lost the link.
func matches(l *localOffer, r *remoteOffer) bool {
	return l.Offer.Kind == wire.OfferNew && l.Offer.Re == r.Offer.ID || r.Offer.Kind == wire.OfferNew && r.Offer.Re == l.Offer.ID
}

// choose starts and ends attempts, so that those are under way that should be.
func (p *pairing) choose(now time.Time) {
	var list []*pair
	if p.active() || !p.needsLink() {
		list = slices.Concat(p.linkPairs(), p.restartPairs())
	}
	chosen := make([]*pair, 0, maxAttempts)
	for _, r := range list {
		if len(chosen) == maxAttempts {
			break
		}
		if len(chosen) > 0 && (!r.apart(chosen[0]) || r.kind == wire.OfferNew && chosen[0].known()) {
			continue
		}
		chosen = append(chosen, r)
	}
	for _, r := range p.pairs {
		if r.running() && !slices.Contains(chosen, r) {
			p.out.End = append(p.out.End, r.id)
			r.started = time.Time{}
		}
	}
	p.pairs = slices.DeleteFunc(p.pairs, func(r *pair) bool { return !p.held(r) })
	for _, r := range chosen {
		if !r.running() && p.active() && p.reached(now, r.due) && p.reached(now, p.startPace.at(now)) {
			p.startPace.spend(now)
			r.started = now
			p.out.Start = append(p.out.Start, p.spec(r))
		}
		if r.running() {
			p.reached(now, r.started.Add(attemptLife)) // the end of one that has just begun
		}
	}
}

// linkPairs returns the pairs that a new link may come of, best first.
func (p *pairing) linkPairs() (list []*pair) {
	for _, l := range p.local {
		for _, r := range p.remote {
			if !matches(l, r) {
				continue
			}
			if pr := p.linkPair(l, r); !pr.spent && p.mayReplace(pr) {
				list = append(list, pr)
			}
		}
	}
	slices.SortFunc(list, func(a, b *pair) int {
		if a.order.above(b.order) {
			return -1
		}
		return 1
	})
	return list
}

// mayReplace reports whether a pair is of use beside the link that there is.
// What is under way may be what the peer confirms, and goes on.
func (p *pairing) mayReplace(r *pair) bool {
	if p.link == nil {
		return true
	}
	return r.order.above(p.link.order) && (r.running() || r.remote.Offer.Generation > p.link.remote && !r.remote.stale)
}

// restartPairs returns what may restart the link: our newest offer and the peer's.
func (p *pairing) restartPairs() (list []*pair) {
	if p.needsLink() {
		return nil
	}
	if i := slices.IndexFunc(p.local, func(l *localOffer) bool { return p.restarts(l.Offer) }); i >= 0 && p.restartWanted {
		list = append(list, p.restartPair(p.local[i], nil))
	}
	if i := slices.IndexFunc(p.remote, func(r *remoteOffer) bool { return p.restarts(r.Offer) }); i >= 0 && !p.answerUntil.IsZero() {
		list = append(list, p.restartPair(nil, p.remote[i]))
	}
	return list
}

// linkPair returns the pair of two offers.
func (p *pairing) linkPair(l *localOffer, r *remoteOffer) *pair {
	return p.entry(&pair{local: l, remote: r, kind: wire.OfferNew}, func(n *pair) {
		d := attemptDigest(linkEnd{p.self, l.Incarnation, l.Bytes}, linkEnd{p.peer, r.Incarnation, r.Bytes})
		n.id = attemptID(d[:])
		n.order = linkOrder{lower: l.Offer.Generation, higher: r.Offer.Generation}
		if !p.lower() {
			n.order = linkOrder{lower: r.Offer.Generation, higher: l.Offer.Generation}
		}
	})
}

// restartPair returns the pair of one offer; the other is nil.
func (p *pairing) restartPair(l *localOffer, r *remoteOffer) *pair {
	return p.entry(&pair{local: l, remote: r, kind: wire.OfferRestart}, func(n *pair) {
		var d [32]byte
		if l != nil {
			d = restartDigest(p.link.id, p.self, p.peer, l.signedOffer)
		} else {
			d = restartDigest(p.link.id, p.peer, p.self, r.signedOffer)
		}
		n.id = attemptID(d[:])
	})
}

// entry returns the pair that is kept for n, or keeps n after fill.
func (p *pairing) entry(n *pair, fill func(*pair)) *pair {
	for _, r := range p.pairs {
		if r.kind == n.kind && r.local == n.local && r.remote == n.remote {
			return r
		}
	}
	fill(n)
	p.pairs = append(p.pairs, n)
	return n
}

// pair returns the pair of an attempt, nil if it is not known.
func (p *pairing) pair(id attemptID) *pair {
	if i := slices.IndexFunc(p.pairs, func(r *pair) bool { return r.id == id }); i >= 0 {
		return p.pairs[i]
	}
	return nil
}

// held reports whether the offers of a pair are.
func (p *pairing) held(r *pair) bool {
	return (r.local == nil || slices.Contains(p.local, r.local)) && (r.remote == nil || slices.Contains(p.remote, r.remote))
}

// failed puts the next attempt of a pair off.
func (p *pairing) failed(now time.Time, r *pair) {
	r.started = time.Time{}
	r.fails++
	r.due = now.Add(p.backoff(r.fails))
}

// spec describes the attempt of a pair.
func (p *pairing) spec(r *pair) attemptSpec {
	s := attemptSpec{ID: r.id, Kind: r.kind, Lower: p.lower(), Order: r.order}
	if r.local != nil {
		s.Local = r.local.signedOffer
	}
	if r.remote != nil {
		s.Remote = r.remote.signedOffer
	}
	if r.kind == wire.OfferNew {
		s.Certificate = r.local.Certificate
		s.LocalICE, s.RemoteICE = offered(s.Local.Offer), offered(s.Remote.Offer)
		return s
	}
	us, them := p.direction(), fromLower+fromHigher-p.direction()
	if r.local != nil {
		s.LocalICE = restartICE(p.link.secret, s.Local.Offer.Generation, us, us)
		s.RemoteICE = restartICE(p.link.secret, s.Local.Offer.Generation, us, them)
		if len(p.remote) > 0 {
			s.Remote = p.remote[0].signedOffer
		}
		return s
	}
	s.LocalICE = restartICE(p.link.secret, s.Remote.Offer.Generation, them, us)
	s.RemoteICE = restartICE(p.link.secret, s.Remote.Offer.Generation, them, them)
	return s
}
