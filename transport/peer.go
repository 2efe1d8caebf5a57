package transport

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/gocarrier/carrier/crypto"
	"github.com/gocarrier/carrier/internal/reliable"
	"github.com/gocarrier/carrier/internal/wire"
)

// The codes of CLOSE that a program's side of the link uses; others are its
// own, from 0x20 to 0xff.
const (
	CodeShutdown uint64 = 0 // the node stops
	CodeUnwanted uint64 = 1 // the friend is no longer one
)

const (
	// firstBetter, doubled up to lastBetter, is waited before a link that goes by a
	// relay looks for a better path, for betterFor.
	firstBetter = 15 * time.Second
	lastBetter  = 30 * time.Minute
	betterFor   = 20 * time.Second
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

// Forget ends all dealings with a peer.
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
		l.Close(CodeUnwanted, reason)
	}
	p.do(p.show)
	t.mu.Unlock()
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

// isDurable shows an offer whose generation is durable now; nil is none.
func (p *peer) isDurable(o *localOffer) {
	if o == nil {
		return
	}
	p.t.mu.Lock()
	defer p.t.mu.Unlock()
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

// start runs an attempt. Under Transport.mu.
func (p *peer) start(spec attemptSpec) {
	ctx, cancel := context.WithCancel(p.t.ctx)
	r := &running{cancel}
	p.attempts[spec.ID] = r
	p.t.tasks.Add(1)
	go func() {
		defer p.t.tasks.Done()
		defer cancel()
		err := p.attempt(ctx, spec)
		p.t.act(p.id, false, func(q *peer) {
			if q != p || q.attempts[spec.ID] != r {
				return // it was ended by the pairing
			}
			delete(q.attempts, spec.ID)
			switch {
			case err != nil:
				p.t.log.Debug("attempt failed", "peer", p.id, "err", err)
				q.pairing.attemptFailed(time.Now(), spec.ID)
			case spec.Kind == wire.OfferRestart:
				q.pairing.restarted(time.Now())
			}
		})
	}()
}

// attempt finds a path, and for a new link makes its keys and has them
// confirmed. When it returns nothing of ICE and DTLS is left.
func (p *peer) attempt(ctx context.Context, spec attemptSpec) error {
	t := p.t
	spec.Remote.Offer = t.claimed(spec.Remote.Offer)
	est, err := runAttempt(ctx, spec, attemptEnv{mux: t.mux, log: t.log, relays: t.allocated})
	if err != nil {
		return err
	}
	defer est.close()
	if est.conduit == nil {
		est.conduit = t.direct
	}
	if spec.Kind == wire.OfferRestart {
		return p.restart(ctx, spec, est)
	}
	l, err := p.newLink(spec, est)
	if err != nil {
		return err
	}
	for {
		select {
		case f, ok := <-est.paths:
			if !ok {
				est.paths = nil
				continue
			}
			l.propose(t.conduit(f.conduit), f.remote)
		case <-l.up:
			return nil
		case <-l.done:
			return l.Err()
		case <-ctx.Done():
			select {
			case <-l.up: // just now
				return nil
			default:
			}
			l.end(ErrClosed, CodeUnwanted, "the attempt has ended")
			return ctx.Err()
		}
	}
}

// conduit puts the node's sockets for nil.
func (t *Transport) conduit(c conduit) conduit {
	if c == nil {
		return t.direct
	}
	return c
}

// restart proposes what a restart has found, and keeps its agent until the link
// has changed over or the attempt ends: until then nothing else may keep the
// NATs open.
func (p *peer) restart(ctx context.Context, spec attemptSpec, est *established) error {
	p.t.mu.Lock()
	l := p.link
	p.t.mu.Unlock()
	if l == nil {
		return errors.New("the link to be restarted has ended")
	}
	if spec.Remote.Offer != nil {
		l.setRelays(relaysOf(spec.Remote.Offer))
	}
	l.propose(est.conduit, est.remote)
	for {
		moved := l.movedTo(est.conduit, est.remote)
		select {
		case f, ok := <-est.paths:
			if !ok {
				est.paths = nil
				continue
			}
			est.conduit, est.remote = p.t.conduit(f.conduit), f.remote
			l.propose(est.conduit, est.remote)
		case <-moved:
			return nil
		case <-l.done:
			return l.Err()
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// relaysOf are the relayed addresses that an offer names.
func relaysOf(o *wire.Offer) (addrs []netip.AddrPort) {
	for _, c := range o.Candidates {
		if c.Type == wire.CandidateRelayed {
			addrs = append(addrs, c.Addr)
		}
	}
	return addrs
}

// seekBetter has a link that goes by a relay look for a better path, now and
// then; one end does. Under Transport.mu.
func (p *peer) seekBetter(l *Link) {
	p.better.stop()
	if !l.Lower() || p.link != l || !l.relayed() {
		p.sought = 0
		return
	}
	later := func(d time.Duration, f func()) {
		p.better.timer = time.AfterFunc(d, func() {
			p.t.act(p.id, false, func(q *peer) {
				if q == p && q.link == l && !l.Suspect() && l.relayed() {
					f()
				}
			})
		})
	}
	wait := min(firstBetter<<min(p.sought, 10), lastBetter)
	p.sought++
	later(p.pairing.jitter(wait), func() {
		p.pairing.wantRestart(time.Now())
		later(betterFor, func() {
			p.pairing.restarted(time.Now())
			p.seekBetter(l)
		})
	})
}

// stopper is a timer that may not be there.
type stopper struct{ timer *time.Timer }

func (s *stopper) stop() {
	if s.timer != nil {
		s.timer.Stop()
		s.timer = nil
	}
}

// newLink makes a link of what the attempt has established.
func (p *peer) newLink(spec attemptSpec, est *established) (*Link, error) {
	t := p.t
	salt := linkSalt(est.suite,
		linkEnd{ID: t.self, Incarnation: spec.Local.Incarnation, Offer: spec.Local.Bytes},
		linkEnd{ID: p.id, Incarnation: spec.Remote.Incarnation, Offer: spec.Remote.Bytes})
	master := linkMaster(est.exporter, salt)
	relays := relaysOf(spec.Remote.Offer)
	if est.relayed && !est.conduit.relayed() {
		relays = append(relays, est.remote)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if p.gone || t.closed {
		return nil, ErrClosed
	}
	if len(p.links) > maxRetired {
		return nil, fmt.Errorf("%d links are open already", len(p.links))
	}
	l := newLink(linkEnv{
		handler: t.config.Handler, log: t.log, buffers: &t.buffers,
		register: t.register, unregister: t.unregister, up: p.linkUp, proven: p.linkProven, changed: p.linkChanged, down: p.linkDown, stopped: p.linkStopped,
	}, linkConfig{
		peer: p.id, lower: spec.Lower, id: spec.ID, order: spec.Order, master: master,
		keys: newLinkKeys(est.suite, master, spec.Lower), conduit: est.conduit, remote: est.remote, rtt: est.rtt, relays: relays,
		machine: reliable.Config{LaneWindow: t.config.LaneWindow, LinkWindow: t.config.LinkWindow},
	})
	p.links[l], t.live[l] = true, struct{}{}
	return l, nil
}

// linkUp is called by a link that is confirmed. The newest one is to be used.
// The one that it replaces stays until the peer is known to have confirmed too:
// its CLOSE could otherwise come before that, and the peer be left with none.
func (p *peer) linkUp(l *Link) {
	var older *Link
	ok := false
	p.t.act(p.id, false, func(q *peer) {
		if q != p || !q.pairing.linkUp(time.Now(), l.id, l.master) {
			return
		}
		ok, older, q.old, q.link = true, q.old, q.link, l
		q.seekBetter(l)
	})
	clear(l.master) // every key comes of it, past ones too
	older.replace()
	if !ok {
		l.end(ErrReplaced, codeReplaced, "a newer link is there")
		return
	}
	l.known = true
	l.ping() // for the acknowledgement
	p.t.config.Handler.LinkUp(l)
}

// linkProven is called by a link that the peer has confirmed too.
func (p *peer) linkProven(l *Link) {
	p.takeOld(l).replace()
	p.t.act(p.id, false, func(q *peer) {
		if q == p {
			q.pairing.linkUsed(l.id)
		}
	})
}

// takeOld takes the link that l has replaced; nil if there is none.
func (p *peer) takeOld(l *Link) (old *Link) {
	p.t.mu.Lock()
	defer p.t.mu.Unlock()
	if p.link == l {
		old, p.old = p.old, nil
	}
	return old
}

// replace ends a link for a newer one; it may be nil.
func (l *Link) replace() {
	if l != nil {
		l.end(ErrReplaced, codeReplaced, "a newer link")
	}
}

// linkChanged is called by a link whose path or suspicion has changed.
func (p *peer) linkChanged(l *Link) {
	p.t.act(p.id, false, func(q *peer) {
		switch {
		case q != p, q.link != l:
		case l.Suspect():
			q.pairing.wantRestart(time.Now())
			q.t.reflector.refresh() // a NAT may have forgotten us
		default:
			q.pairing.restarted(time.Now())
			q.seekBetter(l)
		}
	})
	if l.known {
		p.t.config.Handler.LinkChanged(l)
	}
}

// linkDown is called by a link that has ended.
func (p *peer) linkDown(l *Link, err error) {
	var closed *CloseError
	lost := !errors.Is(err, ErrClosed) && !errors.Is(err, ErrReplaced) && !errors.As(err, &closed)
	p.takeOld(l).replace() // nobody uses it any more
	p.t.act(p.id, false, func(q *peer) {
		if q != p {
			return
		}
		if q.link == l {
			q.link = nil
		}
		if q.old == l {
			q.old = nil
		}
		q.pairing.linkDown(time.Now(), l.id, lost)
	})
	if l.known {
		p.t.config.Handler.LinkDown(l, err)
	}
}

// linkStopped is called by a link whose goroutine ends.
func (p *peer) linkStopped(l *Link) {
	t := p.t
	t.mu.Lock()
	delete(p.links, l)
	delete(t.live, l)
	t.mu.Unlock()
	last := map[string]uint64{}
	l.addStats(last)
	t.idsMu.Lock()
	defer t.idsMu.Unlock()
	for name, n := range last {
		t.counts[name] += n
	}
}

// allocated are the relays that have an address now.
func (t *Transport) allocated() []*relay {
	t.mu.Lock()
	relays := slices.Clone(t.relays)
	t.mu.Unlock()
	return slices.DeleteFunc(relays, func(r *relay) bool { return !r.addr().IsValid() })
}
