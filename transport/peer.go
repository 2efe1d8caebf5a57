package transport

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/gocarrier/carrier/crypto"
)

// The codes of CLOSE that a program's side of the link uses; others are its
// own, from 0x20 to 0xff.
const (
	CodeShutdown uint64 = 0 // the node stops
	CodeUnwanted uint64 = 1 // the friend is no longer one
)

// maxRetired bounds the links to one peer that are closed and linger.
const maxRetired = 4

// peer is one friend: the pairing of offers, the attempts that come of it, and
// the link. All of it is under Transport.mu. What a step of the pairing wants
// done outside waits in todo, and is done without the mutex and in order.
type peer struct {
	t        *Transport
	id       crypto.ID
	pairing  *pairing
	timer    stopper
	better   stopper // of seekBetter
	sought   int     // times that a better path was sought
	attempts map[attemptID]*running
	link     *Link          // confirmed and the newest
	old      *Link          // that link replaces once the peer has confirmed it too
	links    map[*Link]bool // that have not stopped, link and old included
	expected func()         // ends that checks of the standing offer are held
	gone     bool

	durable *localOffer // the newest that may be shown,
	shown   *localOffer // and what the signal was given last; nil: nothing
	todo    []func()    // to be done without the mutex, one after the other
	doing   bool        // somebody is at it
}

// running is an attempt under way. The same pair of offers may be tried again
// under the same ID before the last try has quite ended.
type running struct{ cancel context.CancelFunc }

// Connect has a link to the peer made, and made again, until Disconnect.
func (t *Transport) Connect(id crypto.ID) {
	t.act(id, true, func(p *peer) { p.pairing.want(time.Now()) })
}

// Disconnect gives up the link to the peer; reason is for the other end.
// An offer of the peer is answered nevertheless: Forget ends that too.
func (t *Transport) Disconnect(id crypto.ID, reason string) {
	t.act(id, false, func(p *peer) {
		p.pairing.dontWant(time.Now())
		for l := range p.links {
			l.Close(CodeUnwanted, reason)
		}
	})
}

// Forget ends all dealings with a peer. Control messages that were sent before
// still arrive, if they can within a second; Drain waits for that.
func (t *Transport) Forget(id crypto.ID, reason string) {
	t.mu.Lock()
	p := t.peers[id]
	if p == nil {
		t.mu.Unlock()
		return
	}
	delete(t.peers, id)
	p.close()
	for l := range p.links {
		l.finish(reason)
	}
	p.do(p.show)
	t.mu.Unlock()
}

// Drain waits until what was sent to peers that are forgotten has arrived, as far
// as Forget lets it, or ctx ends.
func (t *Transport) Drain(ctx context.Context) error {
	t.mu.Lock()
	links := slices.Collect(maps.Keys(t.live))
	t.mu.Unlock()
	for _, l := range links {
		said := l.finishing()
		if said == nil {
			continue
		}
		select {
		case <-said:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// Offer takes an offer of the peer, from a record that was verified to be the
// peer's and for us. The error is for counting only.
func (t *Transport) Offer(from crypto.ID, incarnation crypto.Incarnation, offer []byte) error {
	var err error
	t.act(from, true, func(p *peer) { err = p.pairing.received(time.Now(), incarnation, offer) })
	return err
}

// AddressesChanged says that Config.Addresses now gives others: links are tried
// on new paths at once, and offers name the new ones.
func (t *Transport) AddressesChanged() {
	t.reflector.refresh()
	t.readdress()
}

// readdress tells all peers of our addresses.
func (t *Transport) readdress() {
	t.readdressing.Lock()
	defer t.readdressing.Unlock()
	list := t.candidates()
	t.mu.Lock()
	ids := slices.Collect(maps.Keys(t.peers))
	t.mu.Unlock()
	for _, id := range ids {
		t.act(id, false, func(p *peer) {
			p.pairing.setCandidates(time.Now(), list)
			for l := range p.links {
				l.poke()
			}
		})
	}
}

// Link returns the link to the peer; nil if there is none now.
func (t *Transport) Link(id crypto.ID) *Link {
	t.mu.Lock()
	defer t.mu.Unlock()
	if p := t.peers[id]; p != nil {
		return p.link
	}
	return nil
}

// act steps a peer's pairing; one that is not known is made if create is set.
func (t *Transport) act(id crypto.ID, create bool, f func(*peer)) {
	t.mu.Lock()
	p := t.peers[id]
	if p == nil && create && !t.closed {
		t.mu.Unlock()
		t.create(id)
		t.mu.Lock()
		p = t.peers[id]
	}
	if t.closed || p == nil {
		t.mu.Unlock()
		return
	}
	f(p)
	p.do(p.settle()...)
	t.mu.Unlock()
}

// do has things done without the mutex, in the order of the calls. Whoever
// comes while another is at it leaves them to that one. Under Transport.mu,
// which is given up meanwhile.
func (p *peer) do(things ...func()) {
	p.todo = append(p.todo, things...)
	if p.doing {
		return
	}
	p.doing = true
	for len(p.todo) > 0 {
		next := p.todo[0]
		p.todo = p.todo[1:]
		p.t.mu.Unlock()
		next()
		p.t.mu.Lock()
	}
	p.todo, p.doing = nil, false
}

// create makes a peer, unless it has been made meanwhile.
func (t *Transport) create(id crypto.ID) {
	t.readdressing.Lock() // what is asked of the program now must not be out of date later
	defer t.readdressing.Unlock()
	own, seen := t.config.Rows.Generations(id)
	p := &peer{
		t: t, id: id, attempts: map[attemptID]*running{}, links: map[*Link]bool{},
		pairing: newPairing(pairingConfig{
			Self: t.self, Peer: id, Incarnation: t.config.Incarnation, Start: t.config.Start, Own: own, Seen: seen,
		}),
	}
	p.pairing.setCandidates(time.Now(), t.candidates())
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.peers[id] == nil && !t.closed {
		t.peers[id] = p
	}
}

// settle does what the pairing wants, and arms its timer. Under Transport.mu.
func (p *peer) settle() (things []func()) {
	if p.gone {
		return nil
	}
	t := p.t
	out := p.pairing.take()
	if o := out.Publish; o != nil {
		p.expect(o.Offer.ICEUfrag())
	}
	if out.Save {
		things = append(things, func() {
			t.config.Rows.SetGenerations(p.id, out.Own, out.Seen, func() { p.isDurable(out.Publish) })
		})
	} else if out.Publish != nil {
		p.durable = out.Publish
		things = append(things, p.show)
	}
	if out.Withdraw {
		p.expect("")
		p.durable = nil
		things = append(things, p.show)
	}
	for _, id := range out.End {
		if r := p.attempts[id]; r != nil {
			r.cancel()
			delete(p.attempts, id)
		}
	}
	for _, spec := range out.Start {
		p.start(spec)
	}
	if out.Suspect && p.link != nil {
		p.link.doubt()
	}
	p.arm()
	return things
}

// isDurable shows an offer whose generation is durable now, if it still stands;
// nil is none.
func (p *peer) isDurable(o *localOffer) {
	p.t.mu.Lock()
	defer p.t.mu.Unlock()
	if o == nil || o != p.pairing.standing {
		return
	}
	p.durable = o
	p.do(p.show)
}

// show gives the signal the offer that stands, or takes it back. One of do's.
func (p *peer) show() {
	t := p.t
	t.mu.Lock()
	o := p.pairing.standing
	if p.gone {
		o = nil
	}
	// What is not durable yet is shown later; what is shown till then is not worse than nothing.
	idle := t.closed || o == p.shown || o != nil && o != p.durable
	if !idle {
		p.shown = o
	}
	t.mu.Unlock()
	switch {
	case idle:
	case o == nil:
		t.config.Signal.Offer(p.id, nil)
	default:
		t.config.Signal.Offer(p.id, o.Bytes)
	}
}

// expect has checks that come for the shown offer wait until an attempt runs on
// it; the earlier one's wait no more.
func (p *peer) expect(ufrag string) {
	if p.expected != nil {
		p.expected()
		p.expected = nil
	}
	if ufrag != "" {
		p.expected = p.t.mux.expect(ufrag)
	}
}

// arm sets the timer to when the pairing wants to be advanced.
func (p *peer) arm() {
	p.timer.stop()
	if next := p.pairing.next(); !next.IsZero() {
		p.timer.timer = time.AfterFunc(max(time.Until(next), 0), func() {
			p.t.act(p.id, false, func(q *peer) {
				if q == p {
					q.pairing.advance(time.Now())
				}
			})
		})
	}
}

// close ends everything of the peer but its links. Under Transport.mu.
func (p *peer) close() {
	p.gone = true
	p.expect("")
	p.timer.stop()
	p.better.stop()
	for _, r := range p.attempts {
		r.cancel()
	}
	clear(p.attempts)
}

// allocated are the relays that have an address now.
func (t *Transport) allocated() []*relay {
	t.mu.Lock()
	relays := slices.Clone(t.relays)
	t.mu.Unlock()
	return slices.DeleteFunc(relays, func(r *relay) bool { return !r.addr().IsValid() })
}
