package transport

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/gocarrier/carrier/internal/reliable"
	"github.com/gocarrier/carrier/internal/wire"
)

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
	est, err := runAttempt(ctx, spec, attemptEnv{mux: t.mux, log: t.log, relays: t.allocated, keyLog: t.config.InsecureKeyLog})
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
	l, relays := p.link, p.relays(spec)
	p.t.mu.Unlock()
	if l == nil {
		return errors.New("the link to be restarted has ended")
	}
	if spec.Remote.Offer != nil {
		l.setRelays(relays)
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

// relays are the relayed addresses that the peer's offers name: the attempt's, and
// those that are kept, as where offers cross an attempt may rest on one that was
// written before its writer had a relay. Under Transport.mu.
func (p *peer) relays(spec attemptSpec) (addrs []netip.AddrPort) {
	add := func(o *wire.Offer) {
		for _, c := range o.Candidates {
			if at := wire.Plain(c.Addr); c.Type == wire.CandidateRelayed && !slices.Contains(addrs, at) {
				addrs = append(addrs, at)
			}
		}
	}
	if spec.Remote.Offer != nil {
		add(spec.Remote.Offer)
	}
	for _, r := range p.pairing.remote {
		add(r.Offer)
	}
	return addrs
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
	relays := p.relays(spec)
	if est.relayed && !est.conduit.relayed() {
		relays = append(relays, est.remote)
	}
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
