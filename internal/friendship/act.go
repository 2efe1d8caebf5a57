package friendship

import (
	"fmt"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/gocarrier/carrier/crypto"
	"github.com/gocarrier/carrier/internal/wire"
)

// Add asks the owner of an address for friendship, with a hello of at most 256
// bytes that may be empty. Somebody whose request is pending here is accepted
// instead; for everybody else, friends too, a request with a new number takes
// the place of the last one. The errors are ErrSelf, ErrTooLong, ErrText,
// ErrBlocked, and that of an ID that is no key.
func (m *Machine) Add(now time.Time, to crypto.Address, hello string) error {
	switch {
	case to.ID == m.self:
		return fmt.Errorf("add friend: %w", ErrSelf)
	case len(hello) > wire.MaxHello:
		return fmt.Errorf("hello of %d bytes, at most %d: %w", len(hello), wire.MaxHello, ErrTooLong)
	case wire.CheckHello(hello) != nil:
		return fmt.Errorf("hello: %w", ErrText)
	}
	if err := to.ID.Valid(); err != nil {
		return fmt.Errorf("add friend: %w", err)
	}
	m.lapse(now, m.people[to.ID])
	p := m.get(to.ID)
	if p.blocked {
		return fmt.Errorf("add friend: %w", ErrBlocked)
	}
	if p.theirRequest != nil {
		return m.Accept(now, to.ID)
	}
	p.ours = max(p.ours+1, p.theirs+1, p.ended+1, uint64(max(now.UnixMilli(), 1)))
	p.address = to
	p.asked = &asked{
		number: p.ours,
		to:     to,
		time:   now.UnixMilli(),
		expiry: now.Add(RequestLife).UnixMilli(),
		hello:  hello,
	}
	p.answer = answer{} // the new request takes it back
	if p.state != Friend {
		p.setState(now, Requested)
	}
	m.out.requests[p.id] = true
	m.event(p, Asked)
	m.changed(p)
	return nil
}

// Stored notes that our request to that person, as it was last published, lies
// in the DHT. It may be told any number of times.
func (m *Machine) Stored(id crypto.ID) {
	p := m.people[id]
	if p == nil || !p.puts() || p.asked.stored {
		return
	}
	p.asked.stored = true
	m.out.rows[id] = true
	m.event(p, RequestStored)
}

// Accept makes a friend of somebody whose request is pending, or returns
// ErrNoRequest or ErrBlocked.
func (m *Machine) Accept(now time.Time, id crypto.ID) error {
	p, err := m.requester(now, id, "accept")
	if err != nil {
		return err
	}
	m.befriend(now, p, p.theirRequest)
	return nil
}

// Refuse answers a pending request with no, or returns ErrNoRequest or
// ErrBlocked. A later request of that person is a new one.
func (m *Machine) Refuse(now time.Time, id crypto.ID) error {
	p, err := m.requester(now, id, "refuse")
	if err != nil {
		return err
	}
	p.ended = max(p.ended, p.ours, p.theirs)
	p.answer = answer{relation: wire.RelationRefused, number: p.ended}
	m.dropRequest(p)
	m.publish(now, p)
	return nil
}

// requester returns a person whose request is pending.
func (m *Machine) requester(now time.Time, id crypto.ID, act string) (*person, error) {
	m.lapse(now, m.people[id])
	p := m.people[id]
	switch {
	case p != nil && p.blocked:
		return nil, fmt.Errorf("%s: %w", act, ErrBlocked)
	case p == nil || p.theirRequest == nil:
		return nil, fmt.Errorf("%s: %w", act, ErrNoRequest)
	}
	return p, nil
}

// befriend makes a friend of a person who has named a number that has not
// ended and whom we want, or raises a friend's bond to that number. r is the
// request that did it or was pending; nil: it was a state record alone.
func (m *Machine) befriend(now time.Time, p *person, r *wire.Request) {
	m.dropRequest(p)
	bond := max(p.ours, p.theirs)
	raised := bond > p.ours
	p.ours = bond
	if p.asked != nil && p.theirs >= p.asked.number {
		m.withdraw(p)
	}
	p.answer = answer{}
	switch {
	case p.state != Friend:
		p.setState(now, Friend)
		m.eventBy(p, Added, r)
	case raised:
		m.eventBy(p, BondRaised, r)
	}
	m.changed(p)
}

// Remove ends a friendship, takes back a request of ours, or forgets that one
// was refused, removed or expired. Else it returns ErrNotFriend.
func (m *Machine) Remove(now time.Time, id crypto.ID) error {
	p := m.people[id]
	if p == nil || p.state == None || p.state == Incoming {
		return fmt.Errorf("remove: %w", ErrNotFriend)
	}
	told := p.state == Refused || p.state == Removed // they know
	p.ended = max(p.ended, p.ours, p.theirs)
	p.label = ""
	m.withdraw(p)
	p.setState(now, None)
	m.event(p, RemovedByUs)
	if told {
		m.changed(p)
		return nil
	}
	p.answer = answer{relation: wire.RelationRemoved, number: p.ended}
	m.publish(now, p)
	return nil
}

// Block suspends all dealings with anybody but ourselves (ErrSelf).
func (m *Machine) Block(now time.Time, id crypto.ID) error {
	if id == m.self {
		return fmt.Errorf("block: %w", ErrSelf)
	}
	m.lapse(now, m.people[id])
	p := m.get(id)
	if p.blocked {
		return nil
	}
	p.blocked = true
	m.dropRequest(p)
	if p.asked != nil {
		m.out.withdrawn[id] = true
	}
	m.event(p, BlockedByUs)
	m.changed(p)
	return nil
}

// Unblock ends a block, if there is one, and lets all go on that it suspended.
func (m *Machine) Unblock(now time.Time, id crypto.ID) error {
	p := m.people[id]
	if p == nil || !p.blocked {
		return nil
	}
	m.lapse(now, p)
	p.blocked = false
	if p.asked != nil {
		m.out.requests[id] = true
	}
	m.event(p, UnblockedByUs)
	if p.state != Friend && p.answer.relation == wire.RelationRemoved {
		m.publish(now, p) // nobody could learn of it during the block
	} else {
		m.changed(p)
	}
	return nil
}

// Label sets our own name for somebody, at most 255 bytes of UTF-8 without
// control characters; empty clears it. Strangers and we ourselves have none:
// ErrNotFriend. Else the error is ErrTooLong or ErrText.
func (m *Machine) Label(id crypto.ID, label string) error {
	if len(label) > MaxLabel {
		return fmt.Errorf("label of %d bytes, at most %d: %w", len(label), MaxLabel, ErrTooLong)
	}
	if !isText(label) {
		return fmt.Errorf("label: %w", ErrText)
	}
	p := m.people[id]
	if p == nil || p.state == None || p.state == Incoming {
		return fmt.Errorf("label: %w", ErrNotFriend)
	}
	if p.label != label {
		p.label = label
		m.out.rows[id] = true
	}
	return nil
}

// isText reports whether s is one line of UTF-8.
func isText(s string) bool {
	if !utf8.ValidString(s) {
		return false
	}
	for _, c := range s {
		if unicode.IsControl(c) {
			return false
		}
	}
	return true
}
