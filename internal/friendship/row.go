package friendship

import (
	"fmt"

	"github.com/gocarrier/carrier/crypto"
	"github.com/gocarrier/carrier/internal/wire"
)

// Every row begins with its format. Rows are written in the newest, and read in
// all of them: what a format did not have yet is left at zero. So a store is
// brought up to date row by row, as people change.
//
//	1  the first
//	2  whether the request of ours that is out is stored
const (
	firstFormat = 1
	rowFormat   = 2
)

// encodeRow encodes what is known of a person:
//
//	 0  1  format
//	 1  1  state
//	 2  1  blocked: 0 or 1
//	 3  8  since
//	11  8  ours
//	19  8  theirs
//	27  8  ended
//	35  …  label: length (1), bytes
//	 …  …  name: length (1), bytes
//	 …  8  nospam of the address that was asked last
//	 …  1  answer: relation
//	 …  8  answer: number
//	 …  8  answer: published until; 0: not now
//	 …  1  request of ours out: 0 or 1
//	 …  …  number (8), time (8), expiry (8), hello (length 2), stored: 0 or 1
//	 …  …  pending request of theirs: length (2, 0: none), record
func encodeRow(p *person) []byte {
	dst := wire.AppendUint8(nil, rowFormat)
	dst = wire.AppendUint8(dst, uint8(p.state))
	dst = wire.AppendBool(dst, p.blocked)
	dst = wire.AppendTime(dst, p.since)
	dst = wire.AppendUint64(dst, p.ours)
	dst = wire.AppendUint64(dst, p.theirs)
	dst = wire.AppendUint64(dst, p.ended)
	dst = wire.AppendString8(dst, p.label)
	dst = wire.AppendString8(dst, p.name)
	dst = append(dst, p.address.Nospam[:]...)
	dst = wire.AppendUint8(dst, uint8(p.answer.relation))
	dst = wire.AppendUint64(dst, p.answer.number)
	dst = wire.AppendTime(dst, p.answer.until)
	dst = wire.AppendBool(dst, p.asked != nil)
	if a := p.asked; a != nil {
		dst = wire.AppendUint64(dst, a.number)
		dst = wire.AppendTime(dst, a.time)
		dst = wire.AppendTime(dst, a.expiry)
		dst = wire.AppendString16(dst, a.hello)
		dst = wire.AppendBool(dst, a.stored)
	}
	if p.theirRequest == nil {
		return wire.AppendBytes16(dst, nil)
	}
	return wire.AppendBytes16(dst, wire.AppendRequest(nil, p.theirRequest))
}

// parseRow decodes what encodeRow writes or wrote in an earlier version.
func parseRow(id crypto.ID, row []byte) (*person, error) {
	r := wire.NewReader(row)
	format := r.Uint8()
	switch {
	case r.Err() != nil:
		return nil, r.Err()
	case format > rowFormat:
		return nil, fmt.Errorf("format %d, known are %d to %d: the store is of a newer version", format, firstFormat, rowFormat)
	case format < firstFormat:
		return nil, fmt.Errorf("%w: format %d", wire.ErrValue, format)
	}
	p := &person{
		id:      id,
		state:   State(r.Uint8()),
		blocked: r.Bool(),
		since:   r.Time(),
		ours:    r.Uint64(),
		theirs:  r.Uint64(),
		ended:   r.Uint64(),
		label:   r.String8(MaxLabel),
		name:    r.String8(wire.MaxName),
	}
	var nospam crypto.Nospam
	r.Fill(nospam[:])
	if p.ours != 0 && nospam != (crypto.Nospam{}) {
		p.address = crypto.Address{ID: id, Nospam: nospam}
	}
	p.answer = answer{relation: wire.Relation(r.Uint8()), number: r.Uint64(), until: r.Time()}
	if r.Bool() {
		p.asked = &asked{
			number: r.Uint64(),
			to:     crypto.Address{ID: id, Nospam: nospam},
			time:   r.Time(),
			expiry: r.Time(),
			hello:  r.String16(wire.MaxHello),
		}
		if format >= 2 {
			p.asked.stored = r.Bool()
		}
	}
	request := r.Bytes16(wire.MaxRequestRecord)
	if err := r.Done(); err != nil {
		return nil, err
	}
	if request != nil {
		var err error
		if p.theirRequest, err = wire.ParseRequest(request); err != nil {
			return nil, fmt.Errorf("pending request: %w", err)
		}
	}
	return p, p.check()
}

// check holds what a row says against what the Machine ever writes.
func (p *person) check() error {
	fault := func(what string) error { return fmt.Errorf("%w: %s", wire.ErrValue, what) }
	switch {
	case p.state > Expired:
		return fault("state")
	case p.answer.relation > wire.RelationRemoved || p.answer.relation == wire.RelationFriend:
		return fault("answer")
	case (p.theirRequest != nil) != (p.state == Incoming):
		return fault("pending request and state do not agree")
	case p.theirRequest != nil && p.theirRequest.From != p.id:
		return fault("pending request is of somebody else")
	case p.state == Friend && (p.ours <= p.ended || p.theirs <= p.ended || p.ours < p.theirs):
		return fault("bond of a friend")
	case p.state == Requested && (p.asked == nil || p.ours <= p.ended):
		return fault("request that is out")
	case p.asked != nil && p.state != Requested && p.state != Friend:
		return fault("request that is out and state do not agree")
	case max(p.ours, p.theirs, p.ended) > maxNumber+1<<32:
		return fault("number")
	}
	return nil
}

// Restore gives back a row of an earlier run, before anything else is done.
// Afterwards Advance catches up, and Take names what is to be done again. The
// error says what is wrong with a damaged row, which is not taken.
func (m *Machine) Restore(id crypto.ID, row []byte) error {
	p, err := parseRow(id, row)
	if err != nil {
		return fmt.Errorf("friendship row of %v: %w", id, err)
	}
	if id == m.self {
		return fmt.Errorf("friendship row of %v: %w", id, ErrSelf)
	}
	if old := m.people[id]; old != nil {
		m.dropRequest(old)
	}
	m.people[id] = p
	m.stale = true
	if p.theirRequest != nil && p.stranger() {
		m.incoming++
	}
	if p.puts() {
		m.out.requests[id] = true
	}
	if p.state != None || p.answer.until != 0 {
		m.out.standings[id] = true
	}
	return nil
}
