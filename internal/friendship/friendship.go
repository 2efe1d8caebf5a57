// Package friendship decides what two people are to each other: requests and
// their answers, removal, blocks and labels.
//
// A [Machine] holds all people of one node. It is stepped by one goroutine: it
// does no I/O, reads no clock and starts nothing. What it wants done collects
// until [Machine.Take].
//
// # Numbers
//
// Requests between two people, whoever sends them, carry numbers of one line:
// each is drawn above every number of that person known to us and not below
// the present time in unix milliseconds. Three numbers say all, and only rise:
//
//	ours    the highest we have named, in a request or as the bond of a friend
//	theirs  the highest they have named so
//	ended   all up to it is over, by a refusal or a removal of either side
//
// Two people are friends while both ours and theirs are above ended, and the
// bond is the higher of the two. We then name the bond in our state record,
// and so do they, so that both sides come to the highest number that either
// has named, in whatever order requests and states are seen. A removal or
// refusal names a number too and ends what is not above it: repeated later it
// does nothing to what was begun anew. A request that is not above ended is
// dead; it is answered, as its sender may have lost its store and draw too
// low, but it changes nothing.
//
// A request of ours stays out until they have named a number that is not below
// its own, even when both are friends already: should they end what they know
// of, the request still stands.
//
// # Room
//
// Whoever has our Address can make any number of identities and requests. Those
// of strangers that wait for an answer are bounded; see [MaxIncoming] and
// crowd.go. Somebody whom we have asked ourselves, or who was a friend, is no
// stranger: their requests always find room.
//
// # Blocks
//
// A block suspends: everything stays as it was, but nothing is published, put
// or taken, and nobody is told. Only a pending request of theirs is dropped.
// Unblock lets all go on.
package friendship

import (
	"errors"
	"iter"
	"maps"
	"slices"
	"time"

	"github.com/gocarrier/carrier/crypto"
	"github.com/gocarrier/carrier/internal/wire"
)

// The reasons for which an act is refused.
var (
	// ErrSelf: the ID is our own.
	ErrSelf = errors.New("that is this node itself")
	// ErrTooLong: a hello or label exceeds its limit.
	ErrTooLong = errors.New("too long")
	// ErrText: a hello or label is not UTF-8 or has control characters.
	ErrText = errors.New("not a valid text")
	// ErrBlocked: the person is blocked.
	ErrBlocked = errors.New("person is blocked")
	// ErrNotFriend: the person is neither a friend nor was asked to be one.
	ErrNotFriend = errors.New("not a friend")
	// ErrNoRequest: no request of that person is pending.
	ErrNoRequest = errors.New("no request of that person is pending")
)

// Limits and times.
const (
	MaxLabel    = 255   // bytes of a label
	MaxIncoming = 256   // pending requests of strangers; for a further one another gives way
	MaxCrowded  = 4_096 // requests remembered that gave way
	MaxRefusals = 64    // refusals published at a time; the oldest gives way
	MaxSpent    = 1_024 // rows of people of whom only a refused request is known

	RequestLife = 30 * 24 * time.Hour // of a request without an answer
	RemovalLife = 30 * 24 * time.Hour // how long a removal is published
	RefusalLife = 7 * 24 * time.Hour  // how long a refusal is published

	// An answer is published again for the same person at most this often.
	againEvery = time.Minute
	// Requests that gave way and were found again displace others at most this often.
	turnEvery = time.Minute
	// Requests that claim to live longer than this are dropped: their senders'
	// clocks, or intentions, are off by more than a day.
	maxRequestLife = RequestLife + 48*time.Hour
	// Numbers above it are dropped, so that there is always a higher one.
	maxNumber = 1 << 62
)

// Machine holds what all people are to one node. It is not safe for concurrent
// use.
type Machine struct {
	self     crypto.ID
	people   map[crypto.ID]*person
	incoming int            // strangers with a pending request
	crowded  map[claim]bool // what gave way; not kept
	turned   time.Time      // when one of those last displaced another
	out      pending
	next     time.Time // of the earliest deadline; valid unless stale
	stale    bool
	stats    map[string]uint64
}

// pending is what collects for Take.
type pending struct {
	rows      map[crypto.ID]bool
	standings map[crypto.ID]bool
	requests  map[crypto.ID]bool
	withdrawn map[crypto.ID]bool
	events    []Event
}

func newPending() pending {
	return pending{
		rows:      make(map[crypto.ID]bool),
		standings: make(map[crypto.ID]bool),
		requests:  make(map[crypto.ID]bool),
		withdrawn: make(map[crypto.ID]bool),
	}
}

// New returns a Machine that knows nobody.
func New(self crypto.ID) *Machine {
	return &Machine{
		self:    self,
		people:  make(map[crypto.ID]*person),
		crowded: make(map[claim]bool),
		out:     newPending(),
		stats:   make(map[string]uint64),
	}
}

// Row is a durable row: the whole of what is known of one person.
type Row struct {
	Owner crypto.ID
	Value []byte // nil: the row goes
}

// Publish is a request of ours to be put where its target finds it, until it is
// withdrawn or another takes its place.
type Publish struct {
	To     crypto.Address
	Number uint64
	Time   time.Time // when it was asked
	Expiry time.Time
	Hello  string
}

// Output is what a Machine wants done: Rows first and durably, then the rest.
// People stand in the order of their IDs, Events in the order of happening.
type Output struct {
	Rows []Row
	// Standings are the people whose Standing or State has changed or whose
	// state record is to be published again.
	Standings []crypto.ID
	Requests  []Publish   // to be put, each in place of an earlier one to the same person
	Withdrawn []crypto.ID // people to whom no request is put any more
	Events    []Event
}

// Empty reports whether there is nothing to do.
func (o *Output) Empty() bool {
	return len(o.Rows)+len(o.Standings)+len(o.Requests)+len(o.Withdrawn)+len(o.Events) == 0
}

// Take returns what has collected since the last call. After the rows of an
// earlier run were restored it names everybody whose state is published or
// looked for, and every request that is still out.
func (m *Machine) Take() Output {
	p := m.out
	if len(p.rows)+len(p.standings)+len(p.requests)+len(p.withdrawn)+len(p.events) == 0 {
		return Output{}
	}
	m.out = newPending()
	o := Output{Standings: ordered(p.standings), Events: p.events}
	for _, id := range ordered(p.rows) {
		row := Row{Owner: id}
		if x := m.people[id]; x != nil {
			row.Value = encodeRow(x)
		}
		o.Rows = append(o.Rows, row)
	}
	for _, id := range ordered(p.requests) {
		if x := m.people[id]; x != nil && x.puts() {
			o.Requests = append(o.Requests, x.asked.publish(id))
		}
	}
	for _, id := range ordered(p.withdrawn) {
		if x := m.people[id]; x == nil || !x.puts() {
			o.Withdrawn = append(o.Withdrawn, id)
		}
	}
	return o
}

func ordered(set map[crypto.ID]bool) []crypto.ID {
	return slices.SortedFunc(maps.Keys(set), crypto.ID.Compare)
}

// Advance does what is due: requests and published answers that end.
func (m *Machine) Advance(now time.Time) {
	if next := m.Next(); next.IsZero() || now.Before(next) {
		return
	}
	for _, id := range slices.SortedFunc(maps.Keys(m.people), crypto.ID.Compare) {
		m.lapse(now, m.people[id])
	}
}

// lapse does what is due for one person.
func (m *Machine) lapse(now time.Time, p *person) {
	if p == nil {
		return
	}
	ms := now.UnixMilli()
	if p.answer.until != 0 && ms >= p.answer.until {
		p.answer.until = 0
		m.changed(p)
	}
	if p.asked != nil && ms >= p.asked.expiry {
		m.withdraw(p)
		if p.state == Requested {
			p.setState(now, Expired)
			m.event(p, RequestExpired)
		}
		m.changed(p)
	}
	if p.theirRequest != nil && ms >= p.theirRequest.Expiry {
		m.dropRequest(p)
		m.event(p, RequestWithdrawn)
		m.changed(p)
	}
}

// Next is when Advance has something to do; zero: never.
func (m *Machine) Next() time.Time {
	if m.stale {
		var next int64
		for _, p := range m.people {
			if d := p.deadline(); d != 0 && (next == 0 || d < next) {
				next = d
			}
		}
		m.next, m.stale = time.Time{}, false
		if next != 0 {
			m.next = time.UnixMilli(next)
		}
	}
	return m.next
}

// Person returns what is known of somebody; false: nothing.
func (m *Machine) Person(id crypto.ID) (Person, bool) {
	p := m.people[id]
	if p == nil {
		return Person{}, false
	}
	return p.show(), true
}

// People returns everybody of whom something is known, in the order of their
// IDs. Those who are left when their turn comes are shown as they are then.
func (m *Machine) People() iter.Seq[Person] {
	return func(yield func(Person) bool) {
		for _, id := range slices.SortedFunc(maps.Keys(m.people), crypto.ID.Compare) {
			if p := m.people[id]; p != nil && !yield(p.show()) {
				return
			}
		}
	}
}

// Standing is what our state record to that person says, and whether there is
// one to be put at all.
func (m *Machine) Standing(id crypto.ID) (relation wire.Relation, bond uint64, publish bool) {
	p := m.people[id]
	switch {
	case p == nil || p.blocked:
	case p.state == Friend:
		return wire.RelationFriend, p.ours, true
	case p.answer.until != 0:
		return p.answer.relation, p.answer.number, true
	}
	return wire.RelationNone, 0, false
}

// Rests reports whether what names that bond, mail or a receipt, counts: the
// person is a friend and nothing has ended that bond. A friend who has not yet
// seen that the bond was raised names a lower one.
func (m *Machine) Rests(id crypto.ID, bond uint64) bool {
	p := m.people[id]
	return p != nil && p.state == Friend && !p.blocked && bond > p.ended && bond <= p.ours
}

// Stats gives what was dropped, by name. The map is the caller's.
func (m *Machine) Stats() map[string]uint64 { return maps.Clone(m.stats) }

func (m *Machine) count(name string) { m.stats["friendship.dropped."+name]++ }

// get returns the person, known from now on.
func (m *Machine) get(id crypto.ID) *person {
	p := m.people[id]
	if p == nil {
		p = &person{id: id}
		m.people[id] = p
	}
	return p
}

// changed has the person's row written, or deleted when it says nothing, and
// its standing looked at.
func (m *Machine) changed(p *person) {
	m.stale = true
	m.out.rows[p.id] = true
	m.out.standings[p.id] = true
	if p.blank() {
		delete(m.people, p.id)
	}
}

func (m *Machine) event(p *person, k Kind) { m.eventBy(p, k, nil) }

func (m *Machine) eventBy(p *person, k Kind, r *wire.Request) {
	m.out.events = append(m.out.events, Event{Kind: k, ID: p.id, Bond: p.bond(), Request: r})
}

// withdraw takes back our request, if one is out.
func (m *Machine) withdraw(p *person) {
	if p.asked != nil {
		p.asked = nil
		m.out.withdrawn[p.id] = true
	}
}

// again has what we have answered published once more, seldom.
func (m *Machine) again(now time.Time, p *person) {
	if d := now.Sub(p.again); d >= 0 && d < againEvery {
		return
	}
	p.again = now
	switch {
	case p.state == Friend:
		m.out.standings[p.id] = true
		return
	case p.state == Requested, p.ended == 0:
		return // our request, above all that has ended, is the answer; or there is none
	case p.answer.relation == wire.RelationNone || p.answer.number < p.ended:
		p.answer = answer{relation: wire.RelationRemoved, number: p.ended}
	}
	m.publish(now, p)
}

// publish has the person's answer published from now on.
func (m *Machine) publish(now time.Time, p *person) {
	p.again = now
	life := RemovalLife
	if p.answer.relation == wire.RelationRefused {
		life = RefusalLife
	}
	p.answer.until = now.Add(life).UnixMilli()
	m.changed(p)
	if p.answer.relation == wire.RelationRefused {
		m.limitRefusals(p)
	}
}

// limitRefusals holds the refusals that are published, and the rows that are
// kept only for the number of a refused request, within their bounds. The
// newest stays.
func (m *Machine) limitRefusals(newest *person) {
	var published, spent int
	var first, oldest *person
	for _, p := range m.people {
		if p == newest || p.answer.relation != wire.RelationRefused {
			continue
		}
		switch {
		case p.answer.until != 0:
			published++
			if first == nil || p.before(first, p.answer.until, first.answer.until) {
				first = p
			}
		case p.spent():
			spent++
			if oldest == nil || p.before(oldest, int64(p.ended), int64(oldest.ended)) {
				oldest = p
			}
		}
	}
	if published >= MaxRefusals {
		first.answer.until = 0
		m.changed(first)
	}
	if spent >= MaxSpent {
		delete(m.people, oldest.id)
		m.changed(oldest)
	}
}
