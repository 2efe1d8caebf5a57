package friendship

import (
	"time"

	"github.com/gocarrier/carrier/crypto"
	"github.com/gocarrier/carrier/internal/wire"
)

// State is what a person is to us.
type State uint8

// The states.
const (
	None      State = iota // nothing, or no longer anything
	Requested              // our request is out
	Incoming               // their request waits for our answer
	Friend                 // both want it
	Refused                // they refused our request
	Removed                // they removed us
	Expired                // our request found no answer in 30 days
)

// String names the state in one word.
func (s State) String() string {
	switch s {
	case None:
		return "none"
	case Requested:
		return "requested"
	case Incoming:
		return "incoming"
	case Friend:
		return "friend"
	case Refused:
		return "refused"
	case Removed:
		return "removed"
	case Expired:
		return "expired"
	}
	return "unknown"
}

// Person is what is known of somebody.
type Person struct {
	ID      crypto.ID
	State   State
	Blocked bool   // all is suspended
	Label   string // our own name for them; empty: none
	Name    string // as their newest request calls them; empty: unknown
	Hello   string // of the request that is pending, theirs or ours
	Bond    uint64 // of a friend; else 0
	Since   time.Time
	// Address is where our newest request went; zero: there was none.
	Address crypto.Address
	// Asked is our request that is out, also to a friend; nil: none.
	Asked *Publish
	// Stored reports whether that request was seen to lie in the DHT.
	Stored bool
	// Theirs is the request that waits for our answer; nil: none.
	Theirs *wire.Request
}

// Kind is what an Event tells.
type Kind uint8

// The kinds of events. Those of Requested, Added, RefusedByPeer, RemovedByPeer,
// RemovedByUs and RequestExpired are changes of State.
const (
	RequestReceived  Kind = iota + 1 // a stranger asks, or asks with another hello
	RequestWithdrawn                 // that request is gone unanswered: taken back or expired
	Asked                            // our request is out (to a friend too)
	Added                            // both are friends now
	BondRaised                       // of a friend
	RefusedByPeer
	RemovedByPeer
	RemovedByUs // or our request was taken back
	RequestExpired
	RequestStored // our request lies in the DHT
	BlockedByUs
	UnblockedByUs
)

// String names the kind in one word.
func (k Kind) String() string {
	switch k {
	case RequestReceived:
		return "request-received"
	case RequestWithdrawn:
		return "request-withdrawn"
	case Asked:
		return "asked"
	case Added:
		return "added"
	case BondRaised:
		return "bond-raised"
	case RefusedByPeer:
		return "refused-by-peer"
	case RemovedByPeer:
		return "removed-by-peer"
	case RemovedByUs:
		return "removed-by-us"
	case RequestExpired:
		return "request-expired"
	case RequestStored:
		return "request-stored"
	case BlockedByUs:
		return "blocked"
	case UnblockedByUs:
		return "unblocked"
	}
	return "unknown"
}

// Event is a change that somebody may want to know of.
type Event struct {
	Kind Kind
	ID   crypto.ID
	Bond uint64 // of a friend, after the event; else 0
	// Request is theirs that made the event: of RequestReceived always, of
	// Added and BondRaised where it was a request. It brings their prekey and
	// endpoints.
	Request *wire.Request
}

// person is a row in memory.
type person struct {
	id      crypto.ID
	state   State
	blocked bool
	label   string
	name    string
	since   int64 // unix ms of the last change of state

	ours, theirs, ended uint64 // see the package comment

	address      crypto.Address // of our newest request
	asked        *asked         // out; nil: none
	theirRequest *wire.Request  // pending; not nil exactly in state Incoming
	answer       answer

	again time.Time // when an answer was last published again; not kept
}

// asked is a request of ours that is out.
type asked struct {
	number uint64
	to     crypto.Address
	time   int64 // unix ms
	expiry int64 // unix ms
	hello  string
	stored bool // it was seen to lie in the DHT
}

func (a *asked) publish(id crypto.ID) Publish {
	return Publish{
		To:     crypto.Address{ID: id, Nospam: a.to.Nospam},
		Number: a.number,
		Time:   time.UnixMilli(a.time),
		Expiry: time.UnixMilli(a.expiry),
		Hello:  a.hello,
	}
}

// answer is the refusal or removal that our state record names while we are not
// friends.
type answer struct {
	relation wire.Relation // RelationNone: there is none
	number   uint64
	until    int64 // unix ms; 0: not published now, kept to be published again
}

// puts reports whether a request of ours is to be put.
func (p *person) puts() bool { return p.asked != nil && !p.blocked }

// bond is the bond of a friend, else 0.
func (p *person) bond() uint64 {
	if p.state != Friend {
		return 0
	}
	return p.ours
}

// deadline is when lapse has something to do, in unix ms; 0: never.
func (p *person) deadline() (ms int64) {
	sooner := func(t int64) {
		if t != 0 && (ms == 0 || t < ms) {
			ms = t
		}
	}
	sooner(p.answer.until)
	if p.asked != nil {
		sooner(p.asked.expiry)
	}
	if p.theirRequest != nil {
		sooner(p.theirRequest.Expiry)
	}
	return ms
}

// blank reports whether nothing is left to be remembered. The number of a
// request that expired unanswered is not: it cannot come again.
func (p *person) blank() bool {
	return p.state == None && !p.blocked && p.label == "" && p.ours == 0 && p.ended == 0
}

// spent reports whether only the number of a refused request is remembered.
func (p *person) spent() bool {
	return p.state == None && !p.blocked && p.label == "" && p.ours == 0
}

// before orders people by a number of theirs, then by ID.
func (p *person) before(q *person, mine, theirs int64) bool {
	return mine < theirs || mine == theirs && p.id.Compare(q.id) < 0
}

func (p *person) setState(now time.Time, s State) {
	if p.state != s {
		p.state, p.since = s, now.UnixMilli()
	}
}

func (p *person) show() Person {
	x := Person{
		ID:      p.id,
		State:   p.state,
		Blocked: p.blocked,
		Label:   p.label,
		Name:    p.name,
		Bond:    p.bond(),
		Address: p.address,
		Theirs:  p.theirRequest,
	}
	if p.since != 0 {
		x.Since = time.UnixMilli(p.since)
	}
	if p.asked != nil {
		request := p.asked.publish(p.id)
		x.Asked, x.Hello, x.Stored = &request, request.Hello, p.asked.stored
	}
	if p.theirRequest != nil {
		x.Hello = p.theirRequest.Hello
	}
	return x
}
