package carrier

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/gocarrier/carrier/crypto"
	"github.com/gocarrier/carrier/internal/courier"
	"github.com/gocarrier/carrier/internal/friendship"
	"github.com/gocarrier/carrier/internal/wire"
)

// handler is the engine as the courier sees it: it asks what there is to say
// and hands on what friends have said. All on the loop.
type handler struct{ e *engine }

var _ courier.Handler = handler{}

// Assemble implements courier.Handler.
func (h handler) Assemble(to crypto.ID) wire.State {
	e := h.e
	relation, bond, _ := e.friendship.Standing(to)
	s := wire.State{Relation: relation, Bond: bond}
	switch relation {
	case wire.RelationNone: // they are asked by us, and may know that we are here
		s.Presence = wire.Presence(e.presence)
		return s
	case wire.RelationRefused, wire.RelationRemoved:
		return s
	case wire.RelationFriend:
	}
	s.Presence = wire.Presence(e.presence)
	s.Profile = e.self.Version
	if box := e.mail[to]; box != nil {
		e.take(box)
		s.Receipt = box.peer.CurrentReceipt()
	}
	return s
}

// Pending implements courier.Handler.
func (h handler) Pending(to crypto.ID) (wire.Sequence, uint64, []courier.Outgoing) {
	box := h.e.mail[to]
	if box == nil {
		return wire.Sequence{}, 0, nil
	}
	return h.e.pending(box)
}

// Body implements courier.Handler.
func (h handler) Body(to crypto.ID, id wire.MessageID) []byte {
	body := h.e.body(to, id)
	if body == nil { // nothing else must go out in its place
		h.e.fail(fmt.Errorf("the body of pending message %x is missing", id))
	}
	return body
}

// Bond implements courier.Handler: that of the friendship, or the one that
// there will be when our request is accepted.
func (h handler) Bond(to crypto.ID) uint64 {
	p, _ := h.e.friendship.Person(to)
	switch {
	case p.Blocked:
		return 0
	case p.State == friendship.Requested && p.Asked != nil:
		return p.Asked.Number
	}
	return p.Bond
}

// OnState implements courier.Handler.
func (h handler) OnState(from crypto.ID, s *wire.State) {
	e := h.e
	e.friendship.State(e.Now(), from, s)
	e.settleFriendship() // so that a receipt in the same record finds its bond
	if s.Relation == wire.RelationFriend && s.Receipt != nil {
		h.OnReceipt(from, s.Bond, s.Receipt)
	}
	e.updateCapacity(from)
	e.links.heard(from, s)
	// By the friend's clock, but not after now: it only ever rises.
	presence, seen := Presence(s.Presence), time.UnixMilli(min(s.Time, e.Now().UnixMilli()))
	e.Then(func() {
		f := e.node.friends.find(from)
		if f == nil {
			return
		}
		before := presenceOf(f)
		f.update(func(i *friendInfo) {
			if !i.online || presence != PresenceOffline { // else it is from before they came
				i.presence = presence
			}
			if seen.After(i.seen) {
				i.seen = seen
			}
		})
		if presenceOf(f) != before && f.State() == FriendAccepted { // most states tell other news
			e.publishPresence(f)
		}
	})
}

// OnProfile implements courier.Handler.
func (h handler) OnProfile(from crypto.ID, p *wire.Profile) {
	h.e.Put(tableProfile, from, nil, wire.AppendProfile(nil, p))
	h.e.tellProfile(from, Profile{Name: p.Name, Description: p.Description})
}

// OnMail implements courier.Handler.
func (h handler) OnMail(from crypto.ID, m *wire.Mail, via courier.Via) bool {
	if !h.e.friendship.Rests(from, m.Bond) {
		h.e.counters.add("engine.dropped.mail.bond")
		return m.Bond <= h.Bond(from) // a higher one may be taken once we know of it
	}
	return h.e.receiveMail(h.e.box(from), m, via)
}

// OnReceipt implements courier.Handler.
func (h handler) OnReceipt(from crypto.ID, bond uint64, r *wire.Receipt) {
	box := h.e.mail[from]
	if box == nil || !h.e.friendship.Rests(from, bond) {
		h.e.counters.add("engine.dropped.receipt.bond")
		return
	}
	box.peer.Receipt(h.e.Now(), r)
	h.e.step(box)
}

// OnRequest implements courier.Handler.
func (h handler) OnRequest(r *wire.Request) {
	h.e.friendship.Request(h.e.Now(), r)
}

// OnRequestStored implements courier.Handler.
func (h handler) OnRequestStored(to crypto.ID) { h.e.friendship.Stored(to) }

// OnStored implements courier.Handler.
func (h handler) OnStored(to crypto.ID, seq wire.Sequence, numbers []uint64, copies int) {
	if box := h.e.mail[to]; box != nil {
		box.peer.Stored(h.e.Now(), seq, numbers, copies)
		h.e.step(box)
	}
}

// OnPresence implements courier.Handler.
func (h handler) OnPresence(id crypto.ID, online bool, endpoint netip.AddrPort) {
	e := h.e
	seen := e.courier.LastSeen(id) // going offline is noticed later
	if online {
		e.links.connect(id)
	}
	e.Then(func() {
		f := e.node.friends.find(id)
		if f == nil {
			return
		}
		f.update(func(i *friendInfo) {
			i.online, i.endpoint = online, endpoint
			if seen.After(i.seen) {
				i.seen = seen
			}
			if online && i.presence == PresenceOffline {
				i.presence = PresenceOnline
			}
		})
		if f.State() == FriendAccepted { // else it is told with the acceptance
			e.publishPresence(f)
		}
	})
}

// OnTwin implements courier.Handler.
func (h handler) OnTwin(t courier.Twin) {
	since := h.e.Now()
	h.e.yields.Store(t.Yield)
	switch {
	case t.Yield:
		h.e.links.yield()
	case t.Gone:
		h.e.Then(h.e.links.resume) // the courier has to come back first
	}
	h.e.log.Warn("another running node has this identity", "yield", t.Yield, "gone", t.Gone)
	h.e.Then(func() { h.e.tell(IdentityInUse{Yields: t.Yield, Gone: t.Gone, Since: since}) })
}

// OnClockSkew implements courier.Handler.
func (h handler) OnClockSkew(behind time.Duration) {
	if behind == 0 {
		h.e.log.Info("clock agrees with that of friends again")
	} else {
		h.e.log.Warn("clock differs from that of friends", "behind", behind)
	}
	h.e.Then(func() { h.e.tell(ClockSkew{Skew: behind}) })
}

// OnPeerNewer implements courier.Handler.
func (h handler) OnPeerNewer(id crypto.ID, format uint8) {
	h.e.Then(func() {
		if f := h.e.node.friends.find(id); f != nil {
			f.update(func(i *friendInfo) { i.format = int(format) })
			h.e.publish(PeerNewer{Friend: f, Format: int(format)}, "")
		}
	})
}
