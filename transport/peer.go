package transport

import (
	"context"
	"errors"
	"fmt"
	"maps"
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

// maxRetired bounds the links to one peer that are closed and linger.
const maxRetired = 4

// peer is one friend: the pairing of offers, the attempts that come of it, and
// the link. All of it is under Transport.mu. What a step of the pairing wants
// done outside is gathered in effects and run without the mutex.
type peer struct {
	t        *Transport
	id       crypto.ID
	pairing  *pairing
	timer    *time.Timer
	attempts map[attemptID]*running
	link     *Link               // confirmed and the newest
	links    map[*Link]attemptID // that have not ended, link included
	shown    func()              // ends that checks of the shown offer are held
	gone     bool
}

// running is an attempt under way. The same pair of offers may be tried again
// under the same ID before the last try has quite ended.
type running struct{ cancel context.CancelFunc }

// effects run in order without a mutex.
type effects []func()

func (fs effects) run() {
	for _, f := range fs {
		f()
	}
}

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
	var links []*Link
	if p != nil {
		delete(t.peers, id)
		links = p.close()
	}
	t.mu.Unlock()
	if p == nil {
		return
	}
	for _, l := range links {
		l.Close(CodeUnwanted, reason)
	}
	t.config.Signal.Offer(id, nil)
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

// links are all that have not ended.
func (t *Transport) links() []*Link {
	t.mu.Lock()
	defer t.mu.Unlock()
	var all []*Link
	for _, p := range t.peers {
		for l := range p.links {
			all = append(all, l)
		}
	}
	return all
}

// act steps a peer's pairing; one that is not known is made if create is set.
func (t *Transport) act(id crypto.ID, create bool, f func(*peer)) {
	t.mu.Lock()
	p := t.peers[id]
	if t.closed || p == nil && !create {
		t.mu.Unlock()
		return
	}
	if p == nil {
		p = t.newPeer(id)
		t.peers[id] = p
	}
	f(p)
	fs := p.settle()
	t.mu.Unlock()
	fs.run()
}

func (t *Transport) newPeer(id crypto.ID) *peer {
	own, seen := t.config.Rows.Generations(id)
	p := &peer{
		t: t, id: id, attempts: map[attemptID]*running{}, links: map[*Link]attemptID{},
		pairing: newPairing(pairingConfig{
			Self: t.self, Peer: id, Incarnation: t.config.Incarnation, Start: t.config.Start, Own: own, Seen: seen,
		}),
	}
	p.pairing.setCandidates(time.Now(), t.candidates())
	return p
}

// candidates are what our offers name, best first: at most
// [wire.MaxCandidates].
func (t *Transport) candidates() []wire.Candidate {
	local, reflexive := t.config.Addresses()
	var list []wire.Candidate
	put := func(c wire.Candidate) {
		c.Addr = unmapped(c.Addr)
		known := slices.ContainsFunc(list, func(o wire.Candidate) bool { return o.Addr == c.Addr })
		if c.Addr.IsValid() && !known && len(list) < wire.MaxCandidates {
			list = append(list, c)
		}
	}
	// Others than hosts get their places first: there are few of them, and they
	// are what works between networks.
	var far []wire.Candidate
	for _, a := range reflexive {
		far = append(far, wire.Candidate{Type: wire.CandidateServerReflexive, Addr: a})
	}
	for _, r := range t.allocated() {
		far = append(far, wire.Candidate{Type: wire.CandidateRelayed, Addr: r.addr()})
	}
	room := max(wire.MaxCandidates-len(far), 1)
	for _, a := range local[:min(len(local), room)] {
		put(wire.Candidate{Type: wire.CandidateHost, Addr: a})
	}
	for _, c := range far {
		put(c)
	}
	return list
}

// settle does what the pairing wants, and arms its timer. Under Transport.mu.
func (p *peer) settle() (fs effects) {
	if p.gone {
		return nil
	}
	t := p.t
	out := p.pairing.take()
	publish := func() {}
	if o := out.Publish; o != nil {
		p.expect(o.Offer.ICEUfrag())
		publish = func() { p.publish(o) }
	}
	switch {
	case out.Save:
		fs = append(fs, func() { t.config.Rows.SetGenerations(p.id, out.Own, out.Seen, publish) })
	case out.Publish != nil:
		fs = append(fs, publish)
	}
	if out.Withdraw {
		p.expect("")
		fs = append(fs, func() { t.config.Signal.Offer(p.id, nil) })
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
	return fs
}

// publish shows an offer that is durable now, unless it is out of date.
func (p *peer) publish(o *localOffer) {
	p.t.mu.Lock()
	stands := !p.gone && p.pairing.standing == o
	p.t.mu.Unlock()
	if stands {
		p.t.config.Signal.Offer(p.id, o.Bytes)
	}
}

// expect has checks that come for the shown offer wait until an attempt runs on
// it; the earlier one's wait no more.
func (p *peer) expect(ufrag string) {
	if p.shown != nil {
		p.shown()
		p.shown = nil
	}
	if ufrag != "" {
		p.shown = p.t.mux.expect(ufrag)
	}
}

// arm sets the timer to when the pairing wants to be advanced.
func (p *peer) arm() {
	if p.timer != nil {
		p.timer.Stop()
		p.timer = nil
	}
	if next := p.pairing.next(); !next.IsZero() {
		p.timer = time.AfterFunc(max(time.Until(next), 0), func() {
			p.t.act(p.id, false, func(q *peer) {
				if q == p {
					q.pairing.advance(time.Now())
				}
			})
		})
	}
}

// close ends everything of the peer, and returns the links that are to be
// closed. Under Transport.mu.
func (p *peer) close() []*Link {
	p.gone = true
	p.expect("")
	if p.timer != nil {
		p.timer.Stop()
	}
	for _, r := range p.attempts {
		r.cancel()
	}
	clear(p.attempts)
	return slices.Collect(maps.Keys(p.links))
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
			if err != nil {
				p.t.log.Debug("attempt failed", "peer", p.id, "err", err)
				q.pairing.attemptFailed(time.Now(), spec.ID)
			}
		})
	}()
}

// attempt finds a path, and for a new link makes its keys and has them
// confirmed. When it returns nothing of ICE and DTLS is left.
func (p *peer) attempt(ctx context.Context, spec attemptSpec) error {
	t := p.t
	est, err := runAttempt(ctx, spec, attemptEnv{mux: t.mux, log: t.log, relays: t.allocated})
	if err != nil {
		return err
	}
	defer est.close()
	if est.conduit == nil {
		est.conduit = t.direct
	}
	if spec.Kind == wire.OfferRestart {
		return p.restart(ctx, est)
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
func (p *peer) restart(ctx context.Context, est *established) error {
	p.t.mu.Lock()
	l := p.link
	p.t.mu.Unlock()
	if l == nil {
		return errors.New("the link to be restarted has ended")
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

// newLink makes a link of what the attempt has established.
func (p *peer) newLink(spec attemptSpec, est *established) (*Link, error) {
	t := p.t
	salt := linkSalt(est.suite,
		linkEnd{ID: t.self, Incarnation: spec.Local.Incarnation, Offer: spec.Local.Bytes},
		linkEnd{ID: p.id, Incarnation: spec.Remote.Incarnation, Offer: spec.Remote.Bytes})
	master := linkMaster(est.exporter, salt)
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
		register: t.register, unregister: t.unregister, up: p.linkUp, changed: p.linkChanged, down: p.linkDown, stopped: p.linkStopped,
	}, linkConfig{
		peer: p.id, lower: spec.Lower, id: spec.ID, order: spec.Order, master: master,
		keys: newLinkKeys(est.suite, master, spec.Lower), conduit: est.conduit, remote: est.remote, rtt: est.rtt,
		machine: reliable.Config{LaneWindow: t.config.LaneWindow, LinkWindow: t.config.LinkWindow},
	})
	p.links[l] = spec.ID
	return l, nil
}

// linkUp is called by a link that is confirmed. It reports whether the link is
// to be used: the newest one is.
func (p *peer) linkUp(l *Link) {
	var old *Link
	ok := false
	p.t.act(p.id, false, func(q *peer) {
		if q != p || !q.pairing.linkUp(time.Now(), l.id, l.master) {
			return
		}
		ok, old, q.link = true, q.link, l
	})
	clear(l.master) // every key comes of it, past ones too
	if old != nil {
		old.end(ErrReplaced, codeReplaced, "a newer link")
	}
	if !ok {
		l.end(ErrReplaced, codeReplaced, "a newer link is there")
		return
	}
	l.known = true
	p.t.config.Handler.LinkUp(l)
}

// linkChanged is called by a link whose path or suspicion has changed.
func (p *peer) linkChanged(l *Link) {
	p.t.act(p.id, false, func(q *peer) {
		switch {
		case q.link != l:
		case l.Suspect():
			q.pairing.wantRestart(time.Now())
		default:
			q.pairing.restarted(time.Now())
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
	p.t.act(p.id, false, func(q *peer) {
		if q.link == l {
			q.link = nil
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
	return slices.DeleteFunc(slices.Clone(t.relays), func(r *relay) bool { return !r.addr().IsValid() })
}
