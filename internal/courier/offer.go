package courier

import (
	"bytes"
	"slices"
	"time"

	"github.com/gocarrier/carrier/crypto"
	"github.com/gocarrier/carrier/internal/wire"
)

// An offer is part of our state record. There is no receipt for a state, so one
// that has an offer and went in a datagram is sent again after 0.25, 0.5, 1 and
// 2 s, and once with each exchange of hellos, until the offer is withdrawn or a
// link is there: the same record, so that a copy costs its reader nothing. With
// the last of the first five it is put too, and at once where there is a suspect
// link: the way of the datagram may be its own.

// offer is the transport's open offer to a peer.
type offer struct {
	bytes  []byte
	record []byte // the state that went out with it last, signed
	sent   int
	due    time.Time // when it is sent again; zero: no more by itself
}

// SetOffer makes this the transport's open offer to that person, in place of an
// earlier one; nil withdraws it. It goes out at once: over a live link, to an
// endpoint that has proven itself, or into the DHT, there at most once a second.
// An offer has at most [wire.MaxOffer] bytes.
func (c *Courier) SetOffer(id crypto.ID, offer []byte) {
	p := c.peers[id]
	if p == nil || c.closing || c.closed {
		return
	}
	if len(offer) > wire.MaxOffer {
		c.count("fault.offer")
		c.log.Error("offer too long", "bytes", len(offer))
		return
	}
	p.setOffer(slices.Clone(offer))
}

func (p *peer) setOffer(b []byte) {
	if p.offer == nil && len(b) == 0 || p.offer != nil && bytes.Equal(p.offer.bytes, b) {
		return
	}
	p.own.sent = false
	if len(b) > 0 {
		p.offer = &offer{bytes: b}
		p.spreadOffer()
		return
	}
	p.offer = nil
	p.tellSoon()
	if len(p.own.offered) > 0 { // else nobody can read of it
		p.own.dirty = true
		p.putSoon(stateDebounce)
	}
}

// spreadOffer sends an open offer by the fastest courier there is.
func (p *peer) spreadOffer() {
	switch {
	case p.offer == nil:
	case p.linked():
		p.soon(taskLink)
	case p.online:
		p.own.sent = false
		p.offer.sent, p.offer.due = 0, time.Time{}
		p.soon(taskDirect)
		if p.link != nil { // suspect: what has silenced it may have silenced this way too
			p.putOffer()
		}
	default:
		p.putOffer()
	}
}

// putOffer puts an open offer unless it was: at once, but not more often than
// once in the time that changes of state are gathered.
func (p *peer) putOffer() {
	if bytes.Equal(p.own.offered, p.offer.bytes) {
		return
	}
	p.own.dirty, p.own.haste = true, max(p.own.haste, asked)
	p.putSoon(max(p.own.last.Add(stateDebounce).Sub(p.c.loop.Now()), 0))
}

// offerSent notes that a state with the offer has gone out in a datagram.
func (p *peer) offerSent(record []byte, now time.Time) {
	o := p.offer
	if o == nil {
		return
	}
	o.record = record
	if o.sent == 0 {
		o.sent, o.due = 1, now.Add(resendAfter(0))
	}
	if !o.due.IsZero() {
		p.at(taskDirect, o.due)
	}
}

// sendOffer sends the state with the offer again, when that is due.
func (p *peer) sendOffer(now time.Time) {
	o := p.offer
	if o == nil || o.due.IsZero() || o.record == nil {
		return
	}
	if o.due.After(now) {
		p.at(taskDirect, o.due)
		return
	}
	if wait, ok := p.directState().paced.take(mailLimit(), now); !ok {
		p.after(taskDirect, wait)
		return
	}
	p.c.count("offer.resent")
	p.sendTo(p.best(), wire.KindState, o.record)
	o.sent++
	if o.sent <= resends {
		o.due = now.Add(resendAfter(o.sent - 1))
		p.at(taskDirect, o.due)
		return
	}
	o.due = time.Time{}
	p.putOffer()
}

// reviveOffer has it sent once more: the peer has just shown itself.
func (p *peer) reviveOffer(now time.Time) {
	if o := p.offer; o != nil && o.due.IsZero() && o.record != nil && !p.linked() {
		o.due = now
		p.soon(taskDirect)
	}
}
