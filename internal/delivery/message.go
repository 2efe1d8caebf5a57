package delivery

import (
	"errors"
	"fmt"

	"github.com/gocarrier/carrier/internal/wire"
)

// The errors of Send.
var (
	// ErrOutboxFull: too many messages, or bytes, wait for this friend.
	ErrOutboxFull = errors.New("outbox is full")
	// ErrTooLong: the body is above [wire.MaxMessage].
	ErrTooLong = errors.New("message is too long")
	// ErrDuplicate: a message with this ID is in the outbox already.
	ErrDuplicate = errors.New("message ID is taken")
)

// Message is one to be sent.
type Message struct {
	ID     wire.MessageID // random
	Time   int64          // unix ms, when it was written
	Expiry int64          // unix ms; 0: never
	Body   []byte         // not changed by anyone until its row is committed
}

// State is how far a message has come.
type State uint8

// The states. From Delivered on they are ends.
const (
	Queued    State = iota // waits; the Reason says for what
	Stored                 // in the mailbox, Copies times
	Expiring               // past its time, and the receiver asked to pass it over
	Delivered              // the friend's node has it for good
	Expired                // it was not, and will not be, delivered
	Refused                // the friend refused or removed us
	Cancelled              // we removed the friend
)

// Ended reports whether s is an end.
func (s State) Ended() bool { return s >= Delivered }

// String returns the state's name in lower case.
func (s State) String() string {
	switch s {
	case Queued:
		return "queued"
	case Stored:
		return "stored"
	case Expiring:
		return "expiring"
	case Delivered:
		return "delivered"
	case Expired:
		return "expired"
	case Refused:
		return "refused"
	case Cancelled:
		return "cancelled"
	}
	return fmt.Sprintf("state %d", uint8(s))
}

// Reason is what a Queued message waits for.
type Reason uint8

// The reasons.
const (
	ReasonNone       Reason = iota // nothing: it is on its way
	ReasonAcceptance               // the friend has not accepted yet
	ReasonCourier                  // no way to send anything is at hand
	ReasonLink                     // too large for what is at hand: a link
	ReasonOrder                    // one before it waits for a link
	ReasonWindow                   // receipts for earlier ones
)

// String says it in a few words.
func (r Reason) String() string {
	switch r {
	case ReasonNone:
		return "under way"
	case ReasonAcceptance:
		return "waits for acceptance"
	case ReasonCourier:
		return "waits for a courier"
	case ReasonLink:
		return "too large, waits for a link"
	case ReasonOrder:
		return "waits behind a message that is too large"
	case ReasonWindow:
		return "waits for receipts"
	}
	return fmt.Sprintf("reason %d", uint8(r))
}

// Change is a new state of a message.
type Change struct {
	ID     wire.MessageID
	State  State
	Copies int   // of a Stored one
	At     int64 // unix ms
}

// Entry is one message of the outbox.
type Entry struct {
	ID     wire.MessageID
	Time   int64 // unix ms, as given to Send
	Expiry int64 // unix ms; 0: never
	Size   int   // of the body
	State  State
	Reason Reason // of a Queued one
	Number uint64 // in our sequence; 0: none yet, or ended
	Copies int    // of a Stored one
	At     int64  // unix ms, of the last change of State
}

// entry is a message of the outbox in memory.
type entry struct {
	id       wire.MessageID
	position uint64 // key of its row, and order
	time     int64
	expiry   int64
	at       int64
	size     uint32
	copies   uint32
	state    State
	numbered bool // stands in flight, or did at its end
	dirty    bool // its row is to be written
	gone     bool // its row is to be deleted
	heapAt   int32

	prev, next *entry // in the queue of those without a number
}

const entryFormat = 1

func (e *entry) key() []byte { return wire.AppendUint64(make([]byte, 0, 8), e.position) }

func (e *entry) row() []byte {
	b := append(make([]byte, 0, 51), entryFormat)
	b = append(b, e.id[:]...)
	b = wire.AppendTime(b, e.time)
	b = wire.AppendTime(b, e.expiry)
	b = wire.AppendUint32(b, e.size)
	b = wire.AppendUint8(b, uint8(e.state))
	b = wire.AppendBool(b, e.numbered)
	b = wire.AppendTime(b, e.at)
	return wire.AppendUint32(b, e.copies)
}

func parseEntry(key, value []byte) (*entry, error) {
	e := &entry{heapAt: -1}
	k, v := wire.NewReader(key), wire.NewReader(value)
	e.position = k.Uint64()
	format := v.Uint8()
	v.Fill(e.id[:])
	e.time, e.expiry = v.Time(), v.Time()
	e.size = v.Uint32()
	e.state = State(v.Uint8())
	e.numbered = v.Bool()
	e.at = v.Time()
	e.copies = v.Uint32()
	if err := errors.Join(k.Done(), v.Done()); err != nil {
		return nil, err
	}
	if format != entryFormat || e.state > Cancelled || e.size > wire.MaxMessage ||
		!e.numbered && (e.state == Stored || e.state == Expiring) {
		return nil, errDamaged
	}
	return e, nil
}
