package friendship

import (
	"time"

	"github.com/gocarrier/carrier/crypto"
	"github.com/gocarrier/carrier/internal/wire"
)

// Request takes a request to us whose signature and nospam were verified. It
// may come any number of times and in any order. The Machine keeps r.
func (m *Machine) Request(now time.Time, r *wire.Request) {
	if r.From == m.self {
		m.count("own")
		return
	}
	if r.Number == 0 || r.Number > maxNumber {
		m.count("number")
		return
	}
	left := time.UnixMilli(r.Expiry).Sub(now)
	if left <= 0 || left > maxRequestLife {
		m.count("expired")
		return
	}
	m.lapse(now, m.people[r.From])
	p := m.get(r.From)
	switch {
	case p.blocked:
		m.count("blocked")
	case r.Number <= p.ended:
		m.count("dead")
		m.again(now, p)
	case p.state == Friend || p.state == Requested:
		m.wanted(now, p, r)
	default:
		m.asks(now, p, r)
	}
}

// wanted takes a request of a friend, or of somebody we have asked ourselves.
func (m *Machine) wanted(now time.Time, p *person, r *wire.Request) {
	if r.Number <= p.theirs && p.state == Friend {
		m.count("repeated")
		m.again(now, p)
		return
	}
	p.theirs = max(p.theirs, r.Number)
	p.name = r.Name
	m.befriend(now, p, r)
}

// asks takes a request of a stranger.
func (m *Machine) asks(now time.Time, p *person, r *wire.Request) {
	last := p.theirRequest
	switch {
	case last != nil && r.Number <= last.Number, r.Number < p.theirs:
		m.count("repeated")
		return
	case last == nil && !m.room(now, p, r):
		m.count("full")
		if p.blank() {
			delete(m.people, p.id)
		}
		return
	}
	p.theirs = r.Number
	p.name = r.Name
	m.keepRequest(p, r)
	p.setState(now, Incoming)
	if last == nil || last.Hello != r.Hello {
		m.eventBy(p, RequestReceived, r)
	}
	m.changed(p)
}

// State takes what a verified state record of a person, newer than all earlier
// ones, says of us: its relation and bond.
func (m *Machine) State(now time.Time, from crypto.ID, s *wire.State) {
	p := m.people[from]
	switch {
	case p == nil:
		m.count("stranger")
		return
	case p.blocked:
		m.count("blocked")
		return
	case s.Bond > maxNumber:
		m.count("number")
		return
	}
	m.lapse(now, p)
	if p = m.people[from]; p == nil {
		m.count("stranger") // known only for a request that has expired just now
		return
	}
	switch s.Relation {
	case wire.RelationFriend:
		m.named(now, p, s.Bond)
	case wire.RelationRefused:
		m.end(now, p, s.Bond, Refused, RefusedByPeer)
	case wire.RelationRemoved:
		m.end(now, p, s.Bond, Removed, RemovedByPeer)
	case wire.RelationNone:
	}
}

// named takes a state of a person who holds us for a friend.
func (m *Machine) named(now time.Time, p *person, bond uint64) {
	switch {
	case bond <= p.ended:
		m.count("dead")
		if p.state != Friend {
			m.again(now, p)
		}
	case p.state == Friend && bond <= p.theirs: // nothing new
	case p.ours > p.ended: // also where our request has expired meanwhile
		p.theirs = max(p.theirs, bond)
		m.befriend(now, p, p.theirRequest)
	default:
		// They do not know that it is over, but have asked again since: what
		// we ended is told once more, and leaves their request standing.
		m.count("unasked")
		m.again(now, p)
	}
}

// end takes a person's word that all up to a number is over.
func (m *Machine) end(now time.Time, p *person, number uint64, s State, k Kind) {
	if number <= p.ended {
		return
	}
	p.ended = number
	switch p.state {
	case Friend:
		if p.theirs > number {
			break
		}
		m.answered(now, p, s)
		m.event(p, k)
		if p.asked != nil {
			p.setState(now, Requested)
			m.event(p, Asked)
		}
	case Requested:
		if p.ours > number {
			break
		}
		m.answered(now, p, s)
		m.event(p, k)
	case Incoming:
		if p.theirs > number {
			break
		}
		m.dropRequest(p)
		m.event(p, RequestWithdrawn)
	case None, Refused, Removed, Expired:
	}
	m.changed(p)
}

// answered brings the person to the state that their refusal or removal left
// us in; a request of ours that it does not reach stays out.
func (m *Machine) answered(now time.Time, p *person, s State) {
	if p.asked != nil && p.asked.number <= p.ended {
		m.withdraw(p)
	}
	p.setState(now, s)
}
