package transport

import (
	"bytes"
	crand "crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/gocarrier/carrier/crypto"
	"github.com/gocarrier/carrier/internal/wire"
)

const (
	// attemptLife is how long an attempt may last. It must be longer than
	// maxBackoff with its jitter: then two sides that both try again and again
	// meet, however far apart they began.
	attemptLife = 85 * time.Second
	// maxAttempts is the number of attempts with one friend at a time.
	maxAttempts = 2
	// heldOffers is how many offers of each side are kept, the newest ones. When
	// both sides offer at once, each answers what the other has just replaced; and
	// over a slow signal several answers are under way.
	heldOffers = 4

	firstBackoff = time.Second
	maxBackoff   = time.Minute

	// answerFor is how long the offer of a friend keeps us trying if we want
	// nothing ourselves. It leaves time for an answer that takes minutes.
	answerFor = 15 * time.Minute
	// restartFor is the same for a restart: two attempts. If the link does not
	// live without one, it will be dead by then.
	restartFor = 3 * time.Minute
	// An offer that leads to nothing is replaced after firstRenewal, the next
	// one after twice that, up to maxRenewal. The friend may have given up on it,
	// or its answer may have been lost; and where answers take longer than the
	// interval, the interval outgrows them.
	firstRenewal = 2 * time.Minute
	maxRenewal   = time.Hour

	// settleTime is what a young attempt is given before addresses that were
	// only added replace the offer it rests on.
	settleTime = 5 * time.Second
	// lastingLink is how long a link must have lasted for the next one to be
	// dialled without waiting.
	lastingLink = time.Minute
)

// errOldOffer: an offer that is not newer than what was seen of its writer.
var errOldOffer = errors.New("offer is not newer than those seen")

// pairing makes attempts of the offers that two friends show each other. It
// holds what one side knows of one friend, and is stepped: it does no I/O and
// reads no clock. After every call, take tells what to do, and next when
// advance wants to be called. It is not safe for concurrent use.
//
// Each side shows the other one offer at a time, by a signal that may lose,
// delay, reorder and repeat. The rules, the same on both sides:
//
//   - Generations rise. An offer is ignored unless its generation is above the
//     highest seen; the highest one itself counts once in each run of ours, as
//     whoever restarts has forgotten it and its writer goes on showing it.
//   - An offer names in Re the newest offer of the other that its writer knows.
//     Two offers pair if one of them, for a new link, names the other. One that
//     names nothing we still hold is answered by an offer that names it.
//   - Of pairs the one with the lower ID's newest offer is best, then that with
//     the higher ID's. No two attempts share an offer. The second best is
//     tried too until the peer is known to try the best.
//   - A pair stands until better ones replace it: what fails is tried again,
//     without a new offer. Only an offer that led to nothing for long is renewed.
//   - A link replaces those of lower order and never the other way, so that both
//     sides come to keep the same one, in whatever order they are confirmed.
//   - While there is a link, an offer of the run that has it counts only if it
//     names it as its writer's last one: others were written before, and are late.
//     One that counts and is for a new link says that the peer has lost it, as
//     does one of another run: the link becomes suspect, and stays until the new
//     one is confirmed.
//   - A restart rests on one offer. The credentials of both sides come from the
//     link's keys and the offer's generation; whoever hears of it begins.
//     When both sides offer one, both restarts are tried.
type pairing struct {
	self, peer  crypto.ID
	incarnation crypto.Incarnation
	start       uint64
	certificate func() tls.Certificate
	random      *rand.Rand

	own, seen uint64             // highest generations
	unsaved   bool               // seen has risen
	heard     bool               // an offer of the peer was taken in this run,
	heardOf   crypto.Incarnation // the newest of those

	wanted        bool // a link
	restartWanted bool
	answerUntil   time.Time // zero: nothing to answer
	owed          bool      // the newest remote offer wants an answer
	redial        bool      // a link was lost that the peer may want, whether we do or not

	candidates []wire.Candidate
	outdated   bool      // the standing offer has others
	settleAt   time.Time // when it is to be replaced

	local    []*localOffer  // newest first
	remote   []*remoteOffer // newest first, all of one run
	standing *localOffer    // what the peer is shown; nil: nothing
	pairs    []*pair        // of offers that are held
	dropAt   time.Time      // when they are forgotten, if nothing comes; zero: they are of use

	link      *pairedLink
	last      attemptID // of the last link; zeros: there was none
	lastOrder linkOrder
	dropped   int       // links in a row that did not last
	dialAt    time.Time // no offer of our own accord before
	renewal   time.Duration
	renewAt   time.Time

	offerPace, startPace, savePace pace

	wake time.Time // of next
	out  pairingOutput
}

// pairingConfig is what a pairing is made of.
type pairingConfig struct {
	Self, Peer  crypto.ID
	Incarnation crypto.Incarnation
	Start       uint64                 // nonce of this run
	Own, Seen   uint64                 // highest generations so far, from durable rows
	Certificate func() tls.Certificate // nil: newCertificate
	Random      *rand.Rand             // jitter, nothing secret; nil: the global one
}

// pairingOutput is what a pairing wants done, in the order of the fields.
type pairingOutput struct {
	Save      bool // Own and Seen are to be made durable, before Publish is shown to anybody
	Own, Seen uint64
	Publish   *localOffer // to be shown instead of the last one
	Withdraw  bool        // the last one is to be shown no more; never with Publish
	End       []attemptID // to be stopped; attemptFailed need not be called
	Start     []attemptSpec
	Suspect   bool // the peer does not seem to have the link any more
}

// remoteOffer is an offer of the peer.
type remoteOffer struct {
	signedOffer
	at    time.Time // when it came
	stale bool      // written before its writer had the link
}

// pairedLink is the link that there is.
type pairedLink struct {
	used   bool // by the peer
	id     attemptID
	order  linkOrder
	secret []byte // for restarts
	remote uint64 // generation of the peer's offer that it came of
	start  uint64 // the run of the peer that has it
	since  time.Time
	gone   bool // the peer has lost it, as its offers say
}

func newPairing(c pairingConfig) *pairing {
	p := &pairing{
		self: c.Self, peer: c.Peer, incarnation: c.Incarnation, start: c.Start, own: c.Own, seen: c.Seen,
		certificate: c.Certificate, random: c.Random, renewal: firstRenewal,
		// An offer costs a put into the DHT, an attempt a pair of agents, saving a
		// commit; a friend that sends offers as fast as it can gets no more of them.
		offerPace: pace{every: 15 * time.Second, burst: 4},
		startPace: pace{every: 2 * time.Second, burst: 6},
		savePace:  pace{every: time.Second, burst: 4},
	}
	if p.certificate == nil {
		p.certificate = newCertificate
	}
	return p
}

// want says that a link is wanted from now on, whenever there is none.
func (p *pairing) want(now time.Time) {
	if !p.wanted {
		p.wanted, p.renewal = true, firstRenewal
	}
	p.sync(now)
}

// dontWant takes want back, and gives up what the peer has offered. A later
// offer of the peer is answered all the same.
func (p *pairing) dontWant(now time.Time) {
	p.wanted, p.restartWanted = false, false
	p.answered()
	p.sync(now)
}

// wantRestart says that the link needs new paths, until restarted. It does
// nothing without a link.
func (p *pairing) wantRestart(now time.Time) {
	if p.link != nil && !p.restartWanted {
		p.restartWanted, p.renewal = true, firstRenewal
	}
	p.sync(now)
}

// restarted says that the link has a path that will do: restarts end.
func (p *pairing) restarted(now time.Time) {
	p.restartWanted = false
	if p.link != nil && !p.link.gone {
		p.answered()
	}
	p.sync(now)
}

// setCandidates says what our offers are to name, best first. Offers that name
// others are forgotten or replaced, at once if an address has gone.
func (p *pairing) setCandidates(now time.Time, list []wire.Candidate) {
	list = list[:min(len(list), wire.MaxCandidates)]
	if slices.Equal(list, p.candidates) {
		return
	}
	lost := slices.ContainsFunc(p.candidates, func(c wire.Candidate) bool { return !slices.Contains(list, c) })
	p.candidates, p.outdated, p.settleAt = slices.Clone(list), true, time.Time{}
	p.local = slices.DeleteFunc(p.local, func(l *localOffer) bool {
		return !slices.ContainsFunc(p.pairs, func(r *pair) bool { return r.running() && r.local == l })
	})
	for _, r := range p.pairs {
		if lost {
			r.fails, r.due = 0, time.Time{}
		} else if r.running() && p.settleAt.Before(r.started.Add(settleTime)) {
			p.settleAt = r.started.Add(settleTime)
		}
	}
	p.sync(now)
}

// received takes an offer of the peer, from a record that was verified to be
// the peer's and for us. The error matches errOldOffer or those of package
// wire; it is to be counted, and nothing else.
func (p *pairing) received(now time.Time, inc crypto.Incarnation, b []byte) error {
	o, err := wire.ParseOffer(b)
	if err != nil {
		return fmt.Errorf("offer of %v: %w", p.peer, err)
	}
	old := o.Generation < p.seen || o.Generation == p.seen && p.heard
	if old || p.heard && inc.Compare(p.heardOf) < 0 {
		return errOldOffer
	}
	p.unsaved = p.unsaved || o.Generation > p.seen
	p.seen, p.heard, p.heardOf = o.Generation, true, inc
	if len(p.remote) > 0 && p.remote[0].Offer.Start != o.Start {
		p.remote = nil // whoever wrote them has gone
	}
	r := &remoteOffer{signedOffer: signedOffer{inc, bytes.Clone(b), o}, at: now}
	p.remote = slices.Insert(p.remote, 0, r)
	p.remote = p.remote[:min(len(p.remote), heldOffers)]
	p.judge(now, r)
	p.sync(now)
	return nil
}

// judge decides what the newest remote offer asks of us.
func (p *pairing) judge(now time.Time, r *remoteOffer) {
	if l := p.link; l != nil {
		switch o := r.Offer; {
		case o.Start == l.start && attemptID(o.Link) != l.id:
			r.stale = true
			return
		case o.Start != l.start || o.Kind == wire.OfferNew:
			p.out.Suspect = p.out.Suspect || !l.gone
			l.gone = true
		}
	}
	if p.owed = false; !p.needsLink() {
		p.answerUntil = now.Add(restartFor)
		return
	}
	p.answerUntil = now.Add(answerFor)
	p.owed = !slices.ContainsFunc(p.local, func(l *localOffer) bool { return matches(l, r) })
	if renewAt := now.Add(p.jitter(p.renewal)); p.renewAt.Before(renewAt) {
		p.renewAt = renewAt // the pair is given its time
	}
}

// restarts reports whether an offer is for a restart of the link that there is.
func (p *pairing) restarts(o *wire.Offer) bool {
	return o.Kind == wire.OfferRestart && p.link != nil && attemptID(o.Link) == p.link.id
}

// answered ends what the peer's offers asked of us.
func (p *pairing) answered() { p.answerUntil, p.owed, p.redial = time.Time{}, false, false }

// attemptFailed says that an attempt has come to nothing. It is started again
// after a while, if it still is the one to make.
func (p *pairing) attemptFailed(now time.Time, id attemptID) {
	if r := p.pair(id); r != nil && r.running() {
		p.failed(now, r)
	}
	p.sync(now)
}

// linkUp says that the link of an attempt was confirmed; master is the link's,
// and not kept. It reports whether this is the link from now on. If not, there
// is a newer one, or the attempt is not known, and the link is to be closed.
func (p *pairing) linkUp(now time.Time, id attemptID, master []byte) bool {
	r := p.pair(id)
	if r == nil || r.kind != wire.OfferNew || r.spent || p.link != nil && !r.order.above(p.link.order) {
		return false
	}
	r.started, r.spent = time.Time{}, true
	p.link = &pairedLink{
		id: id, order: r.order, secret: restartSecret(master), since: now,
		remote: r.remote.Offer.Generation, start: r.remote.Offer.Start,
	}
	p.last, p.lastOrder = id, r.order
	p.restartWanted, p.renewal = false, firstRenewal
	p.answered()
	// What came before the link is judged anew, now that there is one.
	if n := p.remote[0]; n.Offer.Generation > p.link.remote {
		p.judge(n.at, n)
	}
	p.sync(now)
	return true
}

// linkUsed says that something has come over the link: the peer has it too.
func (p *pairing) linkUsed(id attemptID) {
	if p.link != nil && p.link.id == id {
		p.link.used = true
	}
}

// linkDown says that the link has ended. lost says that no side has closed it:
// then we try to get it back, even if it is the peer that wanted it, for it may
// not know yet.
func (p *pairing) linkDown(now time.Time, id attemptID, lost bool) {
	if p.link == nil || p.link.id != id {
		return
	}
	p.dialAt = now
	if now.Sub(p.link.since) < lastingLink {
		p.dropped++
		p.dialAt = now.Add(p.backoff(p.dropped))
	} else {
		p.dropped = 0
	}
	if p.link.used {
		p.useUp()
	}
	p.link, p.restartWanted = nil, false
	if lost {
		p.answerUntil, p.redial = now.Add(answerFor), true
	}
	p.sync(now)
}

// useUp forgets the offers that the link was made of: whoever saw them then
// would know the next link by them. Not so if the peer never used the link: it
// may not have had it.
func (p *pairing) useUp() {
	own := p.link.order.lower
	if !p.lower() {
		own = p.link.order.higher
	}
	p.remote = slices.DeleteFunc(p.remote, func(r *remoteOffer) bool { return r.Offer.Generation == p.link.remote })
	p.local = slices.DeleteFunc(p.local, func(l *localOffer) bool { return l.Offer.Generation == own })
	if p.standing != nil && !slices.Contains(p.local, p.standing) {
		p.standing, p.out.Publish, p.out.Withdraw = nil, nil, true
	}
}

// advance looks at the clock.
func (p *pairing) advance(now time.Time) { p.sync(now) }

// next returns when advance wants to be called; zero: not before another call.
func (p *pairing) next() time.Time { return p.wake }

// take returns what the last call wants done. It must be called after each.
func (p *pairing) take() pairingOutput {
	out := p.out
	out.Own, out.Seen = p.own, p.seen
	p.out = pairingOutput{}
	return out
}

// sync brings everything in line with what is known and the time.
func (p *pairing) sync(now time.Time) {
	p.wake = time.Time{}
	if !p.answerUntil.IsZero() && p.reached(now, p.answerUntil) {
		p.answered()
	}
	for _, r := range p.pairs {
		if r.running() && p.reached(now, r.started.Add(attemptLife)) {
			p.out.End = append(p.out.End, r.id)
			p.failed(now, r)
		}
	}
	for p.offerDue(now) && p.reached(now, p.offerPace.at(now)) { // again, for the time of the next one
		p.offerPace.spend(now)
		p.offer(now)
	}
	p.choose(now)
	if p.standing != nil && !p.active() {
		p.standing, p.out.Publish, p.out.Withdraw = nil, nil, true
	}
	p.dropStale(now)
	if p.unsaved && p.reached(now, p.savePace.at(now)) {
		p.savePace.spend(now)
		p.unsaved, p.out.Save = false, true
	}
}

// dropStale forgets the offers of a friend with whom nothing has been under way
// for as long as an answer may take. One that comes later is answered anew.
func (p *pairing) dropStale(now time.Time) {
	if p.active() || p.link != nil || len(p.local)+len(p.remote) == 0 {
		p.dropAt = time.Time{}
		return
	}
	if p.dropAt.IsZero() {
		p.dropAt = now.Add(answerFor)
	}
	if p.reached(now, p.dropAt) {
		p.local, p.remote, p.pairs, p.dropAt = nil, nil, nil, time.Time{}
	}
}

// reached reports whether it is t; if not, advance will be wanted then.
func (p *pairing) reached(now, t time.Time) bool {
	if !now.Before(t) {
		return true
	}
	if p.wake.IsZero() || t.Before(p.wake) {
		p.wake = t
	}
	return false
}

// needsLink reports whether there is no link that the peer has too.
func (p *pairing) needsLink() bool { return p.link == nil || p.link.gone }

// wants reports whether we want something of our own accord.
func (p *pairing) wants() bool {
	if p.needsLink() {
		return p.wanted || p.redial
	}
	return p.restartWanted
}

// active reports whether attempts are to be made, and an offer is to stand.
func (p *pairing) active() bool { return p.wants() || !p.answerUntil.IsZero() }

// kind is what an offer of our own accord is for.
func (p *pairing) kind() wire.OfferKind {
	if p.needsLink() {
		return wire.OfferNew
	}
	return wire.OfferRestart
}

// offerDue reports whether a new offer is called for.
func (p *pairing) offerDue(now time.Time) bool {
	switch {
	case p.owed:
		return true
	case p.standing != nil && p.outdated && (p.wants() || p.needsLink() && p.active()):
		return p.reached(now, p.settleAt)
	case !p.wants():
		return false
	case p.standing != nil && p.standing.Offer.Kind == p.kind(), p.needsLink() && p.paired():
		return p.reached(now, p.renewAt)
	case p.needsLink() && p.connecting():
		return false
	}
	return p.reached(now, p.dialAt)
}

// paired reports whether the peer's newest offer has come to a pair that no
// link came of yet: then we need none of our own.
func (p *pairing) paired() bool {
	return slices.ContainsFunc(p.linkPairs(), func(r *pair) bool { return r.remote == p.remote[0] && r.known() && r.order.above(p.lastOrder) })
}

// connecting reports whether an attempt is under way that is newer than the
// last link. That one may have been closed because the peer has confirmed this.
func (p *pairing) connecting() bool {
	return slices.ContainsFunc(p.pairs, func(r *pair) bool {
		return r.running() && r.kind == wire.OfferNew && r.order.above(p.lastOrder)
	})
}

// offer makes an offer and shows it.
func (p *pairing) offer(now time.Time) {
	p.own = max(p.own+1, uint64(max(0, now.UnixMilli())))
	o := &wire.Offer{Kind: p.kind(), Generation: p.own, Start: p.start, Link: wire.LinkID(p.last), Candidates: p.candidates}
	if p.owed {
		o.Kind = wire.OfferNew
	}
	if len(p.remote) > 0 {
		o.Re = p.remote[0].Offer.ID
	}
	crand.Read(o.ID[:]) // never fails: crypto/rand ends the program instead
	if o.Kind == wire.OfferRestart {
		o.Ufrag, o.Password = restartCredentials(p.link.secret, o.Generation, p.direction(), p.direction())
	} else {
		crand.Read(o.Ufrag[:])
		crand.Read(o.Password[:])
	}
	cert := p.certificate()
	o.Fingerprint = fingerprint(cert)
	l := &localOffer{signedOffer{p.incarnation, wire.AppendOffer(nil, o), o}, cert}

	p.local = slices.Insert(p.local, 0, l)
	p.local = p.local[:min(len(p.local), heldOffers)]
	p.standing, p.owed, p.outdated = l, false, false
	p.renewAt = now.Add(p.jitter(p.renewal))
	p.renewal = min(2*p.renewal, maxRenewal)
	p.out.Publish, p.out.Withdraw, p.out.Save, p.unsaved = l, false, true, false
}

// direction is that in which we send.
func (p *pairing) direction() direction {
	if p.lower() {
		return fromLower
	}
	return fromHigher
}

func (p *pairing) lower() bool { return p.self.Compare(p.peer) < 0 }

// backoff returns how long to wait after n failures in a row.
func (p *pairing) backoff(n int) time.Duration {
	d := firstBackoff
	for ; n > 1 && d < maxBackoff; n-- {
		d *= 2
	}
	return p.jitter(min(d, maxBackoff))
}

// jitter returns d ± 20 %, so that friends do not keep step.
func (p *pairing) jitter(d time.Duration) time.Duration {
	f := rand.Float64
	if p.random != nil {
		f = p.random.Float64
	}
	return time.Duration(float64(d) * (0.8 + 0.4*f()))
}
