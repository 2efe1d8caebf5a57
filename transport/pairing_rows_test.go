package transport

import (
	"slices"
	"testing"
	"time"

	"github.com/gocarrier/carrier/internal/wire"
)

// TestPairingSavesWhatItSaw: the generation of an offer that wants no answer is
// made durable, too, or a later run would take the offer for news.
func TestPairingSavesWhatItSaw(t *testing.T) {
	a, b := newPairings(t)
	connected(t, a, b)
	b.wantRestart(b.now)
	o := b.offers(b.take())
	out := a.hears(b, o)
	if out.Publish != nil || !out.Save || out.Seen != o.Offer.Generation {
		t.Errorf("a restart that is offered brings about Publish %v, Save %t up to %d, want Save alone up to %d", out.Publish, out.Save, out.Seen, o.Offer.Generation)
	}
}

// TestPairingForgetsUsedOffers: the offers of a link that both ends have used make
// no other one: who has seen them would know it.
func TestPairingForgetsUsedOffers(t *testing.T) {
	for _, used := range []bool{true, false} {
		a, b := newPairings(t)
		id := connected(t, a, b)
		own, theirs := a.local[0], a.remote[0]
		if used {
			a.linkUsed(id)
		}
		a.linkDown(a.now, id, true)
		a.take()
		if kept := slices.Contains(a.local, own) || slices.Contains(a.remote, theirs); kept == used {
			t.Errorf("used %t: offers are kept: %t", used, kept)
		}
	}
}

// TestPairingLateNewOffer: an offer for a new link that its writer made before the
// present link, and that comes after it, replaces nothing, whatever else goes on.
func TestPairingLateNewOffer(t *testing.T) {
	a, b := newPairings(t)
	a.want(a.now)
	out := b.hears(a, a.offers(a.take()))
	answer, spec := b.offers(out), started(t, out)
	a.hears(b, answer)
	b.setCandidates(b.now, []wire.Candidate{{Type: wire.CandidateHost, Addr: testAddr(99)}})
	late := b.offers(b.take())
	for _, p := range []*pairingTest{a, b} {
		if !p.linkUp(p.now, spec.ID, []byte("secret")) {
			t.Fatal("link refused")
		}
		p.take()
	}
	a.wantRestart(a.now)
	a.take()
	out = a.hears(b, late)
	if out.Suspect || slices.ContainsFunc(out.Start, func(s attemptSpec) bool { return s.Kind == wire.OfferNew }) {
		t.Errorf("a late offer brings about %+v", out)
	}
	if out := a.passes(10 * time.Second); slices.ContainsFunc(out.Start, func(s attemptSpec) bool { return s.Kind == wire.OfferNew }) {
		t.Errorf("a late offer brings about, later, %+v", out.Start)
	}
}
