package transport

import (
	"bytes"
	"crypto/tls"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/gocarrier/carrier/crypto"
	"github.com/gocarrier/carrier/internal/wire"
)

// pairingTest is a friend with whom a test exchanges offers by hand.
type pairingTest struct {
	*pairing
	t   *testing.T
	now time.Time
	inc crypto.Incarnation
}

// newPairings returns two friends, the one with the lower ID first.
func newPairings(t *testing.T) (lower, higher *pairingTest) {
	lower = &pairingTest{t: t, inc: crypto.Incarnation{Created: 1}}
	higher = &pairingTest{t: t, inc: crypto.Incarnation{Created: 2}}
	lower.boot(crypto.ID{1}, crypto.ID{2}, 10, 0, 0)
	higher.boot(crypto.ID{2}, crypto.ID{1}, 20, 0, 0)
	return lower, higher
}

func (p *pairingTest) boot(self, peer crypto.ID, start, own, seen uint64) {
	p.now = time.Unix(1700000000, 0)
	p.pairing = newPairing(pairingConfig{
		Self: self, Peer: peer, Incarnation: p.inc, Start: start, Own: own, Seen: seen, Random: rand.New(rand.NewPCG(1, 1)),
		Certificate: func() tls.Certificate { return tls.Certificate{Certificate: [][]byte{{byte(start)}}} },
	})
	p.setCandidates(p.now, []wire.Candidate{{Type: wire.CandidateHost, Addr: testAddr(int(start))}})
}

// restart begins a new run with the rows of the last.
func (p *pairingTest) restart() { p.boot(p.self, p.peer, p.start+1, p.own, p.seen) }

// hears gives the pairing an offer, and returns what it makes of it.
func (p *pairingTest) hears(from *pairingTest, o *localOffer) pairingOutput {
	p.t.Helper()
	if err := p.received(p.now, from.inc, o.Bytes); err != nil {
		p.t.Fatal(err)
	}
	return p.take()
}

// offers returns the offer that must have come of the last call.
func (p *pairingTest) offers(out pairingOutput) *localOffer {
	p.t.Helper()
	if out.Publish == nil || !out.Save || out.Withdraw {
		p.t.Fatalf("no offer, but %+v", out)
	}
	return out.Publish
}

// passes lets time go by, all that is due being done on the way.
func (p *pairingTest) passes(d time.Duration) (out pairingOutput) {
	for end := p.now.Add(d); ; {
		if next := p.next(); !next.IsZero() && !next.After(end) {
			p.now = next
			p.advance(p.now)
			continue
		}
		p.now = end
		return p.take()
	}
}

// started returns the one attempt that must have begun.
func started(t *testing.T, out pairingOutput) attemptSpec {
	t.Helper()
	if len(out.Start) != 1 {
		t.Fatalf("%d attempts begun, want one: %+v", len(out.Start), out)
	}
	return out.Start[0]
}

// connected makes a link and returns its ID.
func connected(t *testing.T, a, b *pairingTest) attemptID {
	t.Helper()
	a.want(a.now)
	first := a.offers(a.take())
	out := b.hears(a, first)
	answer, theirs := b.offers(out), started(t, out)
	ours := started(t, a.hears(b, answer))
	if ours.ID != theirs.ID {
		t.Fatalf("attempts %x and %x", ours.ID, theirs.ID)
	}
	for _, p := range []*pairingTest{a, b} {
		if !p.linkUp(p.now, ours.ID, []byte("secret")) {
			t.Fatal("link refused")
		}
		if out := p.take(); !out.Withdraw || len(out.Start)+len(out.End) > 0 {
			t.Fatalf("with the link up: %+v, want nothing but Withdraw", out)
		}
	}
	return ours.ID
}

func quiet(out pairingOutput) bool {
	return out.Publish == nil && !out.Withdraw && len(out.Start)+len(out.End) == 0 && !out.Suspect
}

// TestPairingCall: one calls, the other answers though it wants nothing.
func TestPairingCall(t *testing.T) {
	a, b := newPairings(t)
	a.want(a.now)
	out := a.take()
	first := a.offers(out)
	if len(out.Start) != 0 || first.Offer.Re != (wire.OfferID{}) || first.Offer.Generation != uint64(a.now.UnixMilli()) {
		t.Errorf("the first offer: %+v", out)
	}
	out = b.hears(a, first)
	answer, theirs := b.offers(out), started(t, out)
	if answer.Offer.Re != first.Offer.ID {
		t.Errorf("the answer names %x, want %x", answer.Offer.Re, first.Offer.ID)
	}
	ours := started(t, a.hears(b, answer))
	if ours.ID != theirs.ID || ours.Order != theirs.Order || !ours.Lower || theirs.Lower || ours.Kind != wire.OfferNew {
		t.Errorf("attempts\n%+v\n%+v", ours, theirs)
	}
	if ours.LocalICE != theirs.RemoteICE || ours.RemoteICE != theirs.LocalICE || !bytes.Equal(ours.Local.Bytes, theirs.Remote.Bytes) {
		t.Error("the attempts do not mirror each other")
	}
	if ours.Remote.Offer.Fingerprint != fingerprint(theirs.Certificate) {
		t.Error("the certificate is not the one that was offered")
	}
}

// TestPairingCross: both call at once; each answers, one attempt remains.
func TestPairingCross(t *testing.T) {
	a, b := newPairings(t)
	a.want(a.now)
	b.want(b.now)
	a1, b1 := a.offers(a.take()), b.offers(b.take())
	out := a.hears(b, b1)
	a2, best := a.offers(out), started(t, out)
	out = b.hears(a, a1)
	b2, other := b.offers(out), started(t, out)
	if best.ID == other.ID {
		t.Fatal("one attempt of four offers")
	}
	// A is not sure that B has a2, and tries what B tries too.
	if got := started(t, a.hears(b, b2)); got.ID != other.ID {
		t.Errorf("A tries %x beside, want %x", got.ID, other.ID)
	}
	// B knows that A tries the best.
	out = b.hears(a, a2)
	if got := started(t, out); got.ID != best.ID || !slices.Equal(out.End, []attemptID{other.ID}) || out.Publish != nil {
		t.Errorf("B: %+v, want the start of %x and the end of %x", out, best.ID, other.ID)
	}
	if !best.Order.above(other.Order) {
		t.Error("the best is not of the higher order")
	}
	// Whichever is confirmed first: the better replaces the other, and not the reverse.
	if b.take(); !b.linkUp(b.now, best.ID, nil) || b.linkUp(b.now, other.ID, nil) || b.link.id != best.ID {
		t.Error("the other link replaces the better")
	}
	if !a.linkUp(a.now, other.ID, nil) {
		t.Error("the other attempt's link is refused")
	}
	if out := a.take(); len(out.End) != 0 {
		t.Errorf("the best attempt was ended: %+v", out)
	}
	// The peer has confirmed the better one already and closes this: no reason to call.
	a.linkDown(a.now, other.ID, false)
	if out := a.passes(attemptLife / 2); !quiet(out) {
		t.Errorf("closed for a newer link: %+v", out)
	}
	if !a.linkUp(a.now, best.ID, nil) || a.linkUp(a.now, other.ID, nil) || a.linkUp(a.now, best.ID, nil) || a.link.id != best.ID {
		t.Error("the better link does not replace the other for good")
	}
	// What is left of the crossing does not keep A from calling again.
	a.take()
	a.linkDown(a.now, best.ID, true)
	if out := a.passes(maxBackoff); out.Publish == nil {
		t.Errorf("after the link: %+v", out)
	}
}

// TestPairingRestarted: a peer that comes back has forgotten its offers.
func TestPairingRestarted(t *testing.T) {
	t.Run("with a link", func(t *testing.T) {
		a, b := newPairings(t)
		id := connected(t, a, b)
		b.restart()
		b.want(b.now)
		out := a.hears(b, b.offers(b.take()))
		if !out.Suspect {
			t.Error("the link is not suspect at once")
		}
		spec := started(t, b.hears(a, a.offers(out)))
		if a.link == nil || a.link.id != id {
			t.Error("the old link was given up before there is a new one")
		}
		if !a.linkUp(a.now, spec.ID, nil) || a.linkUp(a.now, id, nil) {
			t.Error("the new link does not replace the old one")
		}
	})
	t.Run("while an attempt is under way", func(t *testing.T) {
		a, b := newPairings(t)
		a.want(a.now)
		old := started(t, a.hears(b, b.offers(b.hears(a, a.offers(a.take())))))
		b.restart()
		b.want(b.now)
		out := a.hears(b, b.offers(b.take()))
		if !slices.Equal(out.End, []attemptID{old.ID}) || started(t, out).ID == old.ID {
			t.Errorf("the new run brings about %+v, want the end of %x", out, old.ID)
		}
	})
	t.Run("just before the link is confirmed", func(t *testing.T) {
		a, b := newPairings(t)
		a.want(a.now)
		id := started(t, a.hears(b, b.offers(b.hears(a, a.offers(a.take()))))).ID
		b.restart()
		b.want(b.now)
		a.hears(b, b.offers(b.take()))
		if a.take(); a.linkUp(a.now, id, nil) || a.link != nil {
			t.Error("a link to the run that has gone is taken")
		}
	})
	t.Run("before its answer was heard", func(t *testing.T) {
		a, b := newPairings(t)
		a.want(a.now)
		first := a.offers(a.take())
		lost := b.offers(b.hears(a, first))
		b.restart()
		// The rows say that first was seen; it still stands, so it counts once more.
		out := b.hears(a, first)
		answer := b.offers(out)
		if err := b.received(b.now, a.inc, first.Bytes); !errors.Is(err, errOldOffer) {
			t.Errorf("the third time: %v, want errOldOffer", err)
		}
		if answer.Offer.Generation <= lost.Offer.Generation {
			t.Errorf("generation %d after %d", answer.Offer.Generation, lost.Offer.Generation)
		}
		spec := started(t, a.hears(b, answer))
		if spec.ID != started(t, out).ID {
			t.Error("two attempts")
		}
		if err := a.received(a.now, b.inc, lost.Bytes); !errors.Is(err, errOldOffer) {
			t.Errorf("the answer of the former run: %v, want errOldOffer", err)
		}
	})
	t.Run("and is called by an offer that names one it forgot", func(t *testing.T) {
		a, b := newPairings(t)
		a.want(a.now)
		a.hears(b, b.offers(b.hears(a, a.offers(a.take()))))
		b.restart()
		renewed := a.offers(a.passes(3 * firstRenewal)) // names b's answer
		if renewed.Offer.Re == (wire.OfferID{}) {
			t.Fatal("the renewed offer names none")
		}
		b.now = a.now
		if got := b.offers(b.hears(a, renewed)); got.Offer.Re != renewed.Offer.ID {
			t.Error("not answered as a new one")
		}
	})
}

// TestPairingIncarnations: what an older store of the friend says does not count.
func TestPairingIncarnations(t *testing.T) {
	a, b := newPairings(t)
	b.want(b.now)
	a.hears(b, b.offers(b.take()))
	old := &pairingTest{t: t}
	old.boot(b.self, b.peer, 30, 1<<60, 0)
	old.want(old.now)
	if err := a.received(a.now, crypto.Incarnation{Created: 1}, old.offers(old.take()).Bytes); !errors.Is(err, errOldOffer) {
		t.Errorf("got %v, want errOldOffer", err)
	}
	if out := a.take(); !quiet(out) {
		t.Errorf("brings about %+v", out)
	}
}

// TestPairingRestart: one record one way restarts a link, from either side, and
// both may do it at once.
func TestPairingRestart(t *testing.T) {
	for _, c := range []struct{ ours, theirs bool }{{true, false}, {false, true}, {true, true}} {
		a, b := newPairings(t)
		id := connected(t, a, b)
		sides := []*pairingTest{a, b}
		specs := map[attemptID][]attemptSpec{}
		var offers [2]*localOffer
		for i, wants := range []bool{c.ours, c.theirs} {
			if !wants {
				continue
			}
			sides[i].wantRestart(sides[i].now)
			out := sides[i].take()
			offers[i] = sides[i].offers(out)
			s := started(t, out) // at once
			specs[s.ID] = append(specs[s.ID], s)
			if s.Remote.Offer == nil || s.Remote.Offer.Candidates == nil {
				t.Error("no candidates to begin with")
			}
			if o := offers[i].Offer; o.Kind != wire.OfferRestart || attemptID(o.Link) != id || offered(o) != s.LocalICE {
				t.Errorf("offer %+v", o)
			}
		}
		for i, o := range offers {
			if o == nil {
				continue
			}
			out := sides[1-i].hears(sides[i], o)
			s := started(t, out)
			specs[s.ID] = append(specs[s.ID], s)
			if out.Publish != nil || out.Suspect {
				t.Errorf("the restart is answered: %+v", out)
			}
		}
		for id, list := range specs {
			if len(list) != 2 || list[0].LocalICE != list[1].RemoteICE || list[1].LocalICE != list[0].RemoteICE || list[0].Lower == list[1].Lower {
				t.Errorf("restart %x: %+v", id, list)
			}
		}
		for i, p := range sides {
			p.restarted(p.now)
			if out := p.take(); len(out.End) != len(specs) || out.Withdraw != (offers[i] != nil) {
				t.Errorf("after the restart: %+v", out)
			}
			if out := p.passes(24 * time.Hour); !quiet(out) {
				t.Errorf("a day after the restart: %+v", out)
			}
		}
	}
}

// TestPairingRestartOfNothing: a restart of a link that the peer no longer has
// is taken for an offer of a new one.
func TestPairingRestartOfNothing(t *testing.T) {
	a, b := newPairings(t)
	connected(t, a, b)
	b.restart()
	a.wantRestart(a.now)
	out := a.take()
	restart, restartID := a.offers(out), started(t, out).ID
	out = b.hears(a, restart)
	answer, theirs := b.offers(out), started(t, out)
	out = a.hears(b, answer)
	if ours := started(t, out); ours.ID != theirs.ID || ours.Kind != wire.OfferNew || ours.LocalICE != theirs.RemoteICE {
		t.Errorf("attempts\n%+v\n%+v", ours, theirs)
	}
	if !out.Suspect || !slices.Equal(out.End, []attemptID{restartID}) {
		t.Errorf("the answer brings about %+v, want a suspect link and the end of %x", out, restartID)
	}
}

// TestPairingLateOffers: an offer that was written before its writer had the
// link does nothing, one that was written after it had lost it does.
func TestPairingLateOffers(t *testing.T) {
	a, b := newPairings(t)
	a.want(a.now)
	first := a.offers(a.take())
	answer := b.offers(b.hears(a, first))
	id := started(t, a.hears(b, answer)).ID
	b.want(b.now)
	late := b.offers(b.passes(firstRenewal * 2)) // has not heard that a knows its answer
	a.linkUp(a.now, id, nil)
	a.take()
	if out := a.hears(b, late); !quiet(out) {
		t.Errorf("a late offer brings about %+v", out)
	}
	// But if the link comes to nothing, it was the peer that never had it.
	a.linkDown(a.now, id, true)
	if out := a.take(); started(t, out).Remote.Offer.ID != late.Offer.ID {
		t.Errorf("after the link: %+v", out)
	}

	// The peer has lost the link before we know that we have it.
	a, b = newPairings(t)
	a.want(a.now)
	id = started(t, a.hears(b, b.offers(b.hears(a, a.offers(a.take()))))).ID
	b.linkUp(b.now, id, nil)
	b.linkDown(b.now, id, true)
	next := started(t, a.hears(b, b.offers(b.passes(time.Minute))))
	up := a.linkUp(a.now, id, nil)
	if out := a.take(); !up || !out.Suspect || out.Withdraw || len(out.End) != 0 || a.attemptSpecs()[0].ID != next.ID {
		t.Errorf("link up: %t, %+v, want it suspect and attempt %x to go on", up, out, next.ID)
	}

	a, b = newPairings(t)
	id = connected(t, a, b)
	b.want(b.now)
	b.linkDown(b.now, id, true)
	again := b.offers(b.passes(time.Minute))
	if attemptID(again.Offer.Link) != id {
		t.Errorf("the offer after the link names %x, want %x", again.Offer.Link, id)
	}
	if out := a.hears(b, again); !out.Suspect || started(t, out).Kind != wire.OfferNew || out.Publish != nil {
		t.Errorf("the offer after the link brings about %+v", out)
	}
}

// TestPairingBackoff: attempts of one pair, each lasting its whole life, need
// no new offer but the renewals.
func TestPairingBackoff(t *testing.T) {
	a, b := newPairings(t)
	a.want(a.now)
	spec := started(t, a.hears(b, b.offers(b.hears(a, a.offers(a.take())))))
	var offers int
	for i := range 12 {
		a.attemptFailed(a.now, spec.ID)
		failed := a.now
		for a.take(); ; {
			a.now = a.next()
			a.advance(a.now)
			out := a.take()
			if out.Publish != nil {
				offers++
			}
			if len(out.Start) == 1 {
				spec = out.Start[0]
				break
			}
		}
		want := min(firstBackoff<<i, maxBackoff)
		if got := a.now.Sub(failed); offers == 0 && (got < want*8/10 || got > want*12/10) {
			t.Errorf("failure %d: again after %v, want %v ± 20 %%", i+1, got, want)
		}
		if wait := a.now.Sub(failed); wait >= attemptLife {
			t.Errorf("waits %v, longer than an attempt lives: two sides may never meet", wait)
		}
	}
	if d := a.now.Sub(time.Unix(1700000000, 0)); offers > 3 {
		t.Errorf("%d offers in %v", offers, d)
	}
	spec = started(t, pairingOutput{Start: a.attemptSpecs()})
	if out := a.passes(attemptLife); !slices.Contains(out.End, spec.ID) {
		t.Errorf("an attempt outlives %v", attemptLife)
	}
}

// attemptSpecs returns what is under way.
func (p *pairing) attemptSpecs() (list []attemptSpec) {
	for _, r := range p.pairs {
		if r.running() {
			list = append(list, p.spec(r))
		}
	}
	return list
}

// TestPairingRenewals: an offer that nobody answers costs 5 puts in the first
// hour and one an hour after.
func TestPairingRenewals(t *testing.T) {
	a, _ := newPairings(t)
	a.want(a.now)
	a.take()
	count := func(d time.Duration) (n int) {
		for end := a.now.Add(d); a.next().Before(end); {
			a.now = a.next()
			a.advance(a.now)
			if a.take().Publish != nil {
				n++
			}
		}
		return n
	}
	if n := count(time.Hour); n > 5 {
		t.Errorf("%d offers in the first hour", n)
	}
	if n := count(48 * time.Hour); n < 36 || n > 62 {
		t.Errorf("%d offers in two days", n)
	}
}

// TestPairingFlood: a friend that offers without end gets its answers, and the
// attempts and commits that come of them, at a bounded pace.
func TestPairingFlood(t *testing.T) {
	a, b := newPairings(t)
	o := &wire.Offer{Kind: wire.OfferNew, Generation: 1, ID: wire.OfferID{1}, Start: 20}
	var offers, starts, saves int
	const hours = 1
	for i := range hours * 36000 {
		a.now = a.now.Add(100 * time.Millisecond)
		o.Generation++
		o.ID[i%8]++
		if i%3 == 0 && a.standing != nil {
			o.Re = a.standing.Offer.ID
		} else {
			o.Re = wire.OfferID{}
		}
		if err := a.received(a.now, b.inc, wire.AppendOffer(nil, o)); err != nil {
			t.Fatal(err)
		}
		out := a.take()
		starts += len(out.Start)
		if out.Publish != nil {
			offers++
		}
		if out.Save {
			saves++
		}
	}
	if offers > hours*240+4 || starts > hours*1800+6 || saves > hours*3840+8 || offers < hours*200 {
		t.Errorf("in %d h %d offers, %d attempts, %d commits", hours, offers, starts, saves)
	}
	if len(a.pairs) > 2*heldOffers || len(a.local) > heldOffers || len(a.remote) > heldOffers {
		t.Errorf("keeps %d pairs, %d and %d offers", len(a.pairs), len(a.local), len(a.remote))
	}
}

// TestPairingMoves: an address that has gone is told at once, one that is new
// after a young attempt had its chance.
func TestPairingMoves(t *testing.T) {
	host := func(n ...int) (list []wire.Candidate) {
		for _, i := range n {
			list = append(list, wire.Candidate{Type: wire.CandidateHost, Addr: testAddr(i)})
		}
		return list
	}
	a, b := newPairings(t)
	a.setCandidates(a.now, host(1))
	a.want(a.now)
	started(t, a.hears(b, b.offers(b.hears(a, a.offers(a.take())))))
	a.setCandidates(a.now, host(1, 2))
	if out := a.take(); !quiet(out) {
		t.Errorf("an address more: at once %+v", out)
	}
	out := a.passes(settleTime)
	added := a.offers(out)
	if len(added.Offer.Candidates) != 2 || len(out.End) != 1 {
		t.Errorf("an address more: %+v", out)
	}
	a.setCandidates(a.now, host(2))
	moved := a.take()
	if len(a.offers(moved).Offer.Candidates) != 1 || started(t, moved).ID == started(t, out).ID {
		t.Errorf("an address less: %+v", moved)
	}
	// The peer takes either without an answer of its own.
	if out := b.hears(a, moved.Publish); out.Publish != nil || started(t, out).ID != started(t, moved).ID {
		t.Errorf("the peer: %+v", out)
	}
	a.take()
	// An answer that is not shown any more is no reason not to call.
	c, d := newPairings(t)
	d.want(d.now)
	c.offers(c.hears(d, d.offers(d.take())))
	c.dontWant(c.now)
	if out := c.take(); !out.Withdraw || len(out.End) != 1 {
		t.Errorf("the answer is withdrawn: %+v", out)
	}
	c.want(c.now)
	c.offers(c.take())
	// With nothing wanted, offers of old addresses are forgotten and nothing is shown.
	a.dontWant(a.now)
	if out := a.take(); !out.Withdraw || len(out.End) != 1 {
		t.Errorf("not wanted any more: %+v", out)
	}
	a.setCandidates(a.now, host(3))
	if out := a.take(); !quiet(out) || len(a.local) != 0 {
		t.Errorf("moved while nothing is wanted: %+v, %d offers held", out, len(a.local))
	}
}

// TestPairingClosed: a link that a side has closed is not called back, one that
// was lost is, even by a side that did not want it in the first place.
func TestPairingClosed(t *testing.T) {
	a, b := newPairings(t)
	id := connected(t, a, b)
	b.linkDown(b.now, id, false)
	if out := b.passes(24 * time.Hour); !quiet(out) {
		t.Errorf("closed: %+v", out)
	}
	a.linkDown(a.now, id, true)
	if out := a.passes(maxBackoff); out.Publish == nil {
		t.Errorf("lost: %+v", out)
	}
	a, b = newPairings(t)
	id = connected(t, a, b)
	b.linkDown(b.now, id, true)
	if out := b.passes(maxBackoff); out.Publish == nil {
		t.Errorf("lost: %+v", out)
	}
	if out := b.passes(2 * answerFor); !out.Withdraw || b.standing != nil || !b.next().IsZero() {
		t.Errorf("lost for long: %+v", out)
	}
}

// FuzzPairing gives any bytes to a pairing that has a link and one that has none.
func FuzzPairing(f *testing.F) {
	for _, o := range []*wire.Offer{
		{Kind: wire.OfferNew, Generation: 5, ID: wire.OfferID{1}},
		{Kind: wire.OfferNew, Generation: 1 << 63, ID: wire.OfferID{1}, Re: wire.OfferID{2}, Start: 20, Candidates: modelCandidates(rand.New(rand.NewPCG(1, 1)))},
		{Kind: wire.OfferRestart, Generation: 1<<64 - 1, ID: wire.OfferID{1}, Start: 20, Link: wire.LinkID{3}},
	} {
		b := wire.AppendOffer(nil, o)
		f.Add(b, wire.AppendOffer(nil, &wire.Offer{Kind: wire.OfferNew, Generation: o.Generation + 1, ID: wire.OfferID{9}, Start: 20}))
		f.Add(b[:50], b)
	}
	f.Fuzz(func(t *testing.T, x, y []byte) {
		linked, b := newPairings(t)
		connected(t, linked, b)
		single, _ := newPairings(t)
		single.want(single.now)
		for _, p := range []*pairingTest{linked, single} {
			for _, msg := range [][]byte{x, y, x} {
				_, malformed := wire.ParseOffer(msg)
				err := p.received(p.now, crypto.Incarnation{Created: 2}, msg)
				if malformed != nil && err == nil || err != nil && malformed == nil && !errors.Is(err, errOldOffer) {
					t.Fatalf("got %v, the offer's own fault is %v", err, malformed)
				}
				p.passes(time.Minute)
				if n := len(p.attemptSpecs()); n > maxAttempts {
					t.Fatalf("%d attempts", n)
				}
			}
		}
	})
}
