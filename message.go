package carrier

import (
	"context"
	"encoding/hex"
	"fmt"
	"iter"
	"sync"
	"time"

	"github.com/gocarrier/carrier/internal/wire"
)

// MaxMessage is the largest body of a message, in bytes.
const MaxMessage = 64 << 10

// MessageID names a message on both nodes. It is drawn at random by Send and
// stays the same across restarts and repeats.
type MessageID [16]byte

// String gives the ID in hex.
func (id MessageID) String() string { return hex.EncodeToString(id[:]) }

// SendOptions are the choices of one Send; nil or zero means the defaults.
type SendOptions struct {
	// Expiry ends the message if it has not been delivered by then, at once if it
	// is past. To the millisecond. Zero: never.
	Expiry time.Time
}

// MessageStatus is how far a message has come.
type MessageStatus uint8

// The statuses. Delivered, Expired, Refused and Cancelled are final; a message
// from a friend is always Inbound, which reads "received".
const (
	MessageQueued    MessageStatus = iota // in the outbox
	MessageStored                         // left for the friend in the DHT
	MessageDelivered                      // durable at the friend
	MessageExpiring                       // its time is over; whether it arrived is being asked
	MessageExpired                        // not delivered in time
	MessageRefused                        // the friend refused or removed us
	MessageCancelled                      // we removed the friend
	MessageInbound                        // from a friend
)

// String names the status in one word.
func (s MessageStatus) String() string {
	switch s {
	case MessageQueued:
		return "queued"
	case MessageStored:
		return "stored"
	case MessageDelivered:
		return "delivered"
	case MessageExpiring:
		return "expiring"
	case MessageExpired:
		return "expired"
	case MessageRefused:
		return "refused"
	case MessageCancelled:
		return "cancelled"
	case MessageInbound:
		return "received"
	}
	return "unknown"
}

// Final reports whether the status is the last one of a sent message.
func (s MessageStatus) Final() bool {
	switch s {
	case MessageDelivered, MessageExpired, MessageRefused, MessageCancelled:
		return true
	case MessageQueued, MessageStored, MessageExpiring, MessageInbound:
	}
	return false
}

// MessageState is the state of a message at one moment.
type MessageState struct {
	Status MessageStatus
	Since  time.Time // when Status was reached
	Copies int       // of a Stored message: DHT nodes that hold it
	Reason string    // of a Queued message: what it waits for; empty if nothing in particular
}

// String gives the state as a short phrase.
func (s MessageState) String() string {
	switch {
	case s.Status == MessageStored:
		return fmt.Sprintf("stored (%d copies)", s.Copies)
	case s.Reason != "":
		return s.Status.String() + " (" + s.Reason + ")"
	}
	return s.Status.String()
}

// Courier is the way by which a message came.
type Courier uint8

// The couriers.
const (
	CourierNone   Courier = iota // a message of ours
	CourierDirect                // straight from the friend's node, by a UDP datagram
	CourierDHT                   // left in the DHT
	CourierLink                  // over the link
)

// String names the courier: "direct", "dht", "link", or "none" of a message of
// ours.
func (c Courier) String() string {
	switch c {
	case CourierNone:
		return "none"
	case CourierDirect:
		return "direct"
	case CourierDHT:
		return "dht"
	case CourierLink:
		return "link"
	}
	return "unknown"
}

// Message is one message, sent or received. There is one *Message per ID in a
// node at a time. Safe for concurrent use.
type Message struct {
	node     *Node
	id       MessageID
	from, to ID
	time     time.Time
	body     []byte // nil of a sent one found again: it stands in the store
	courier  Courier
	entry    *inboxEntry // of a received one

	mu      sync.Mutex
	state   MessageState
	changed chan struct{}
}

// ID returns the message's name.
func (m *Message) ID() MessageID { return m.id }

// From returns the sender; the node's own ID for a message it sent.
func (m *Message) From() ID { return m.from }

// To returns the receiver; the node's own ID for a message it received.
func (m *Message) To() ID { return m.to }

// Time returns when it was sent, by the sender's clock, to the millisecond.
func (m *Message) Time() time.Time { return m.time }

// Body returns the content. It must not be changed. Of a sent message that was
// found again (by Outbox or an event) it is read from the store, and is nil once
// the message is final, since it is not kept longer, or the node closed.
func (m *Message) Body() []byte {
	if m.body != nil || m.entry != nil {
		return m.body
	}
	return m.node.engine.storedBody(m.to, wire.MessageID(m.id))
}

// Courier returns the way by which a received message came; CourierNone of a
// sent one.
func (m *Message) Courier() Courier { return m.courier }

// State returns the message's state now; for a queued message it says what it
// waits for. That is asked of the node, since it changes without an event.
func (m *Message) State() MessageState {
	s, _ := m.snapshot()
	if s.Status != MessageQueued {
		return s
	}
	reason, ok := m.node.engine.waitsFor(m.to, m.id)
	if s, _ = m.snapshot(); ok && s.Status == MessageQueued {
		s.Reason = reason
	}
	return s
}

func (m *Message) snapshot() (MessageState, <-chan struct{}) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.state, m.changed
}

func (m *Message) set(s MessageState) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.state = s
	close(m.changed)
	m.changed = make(chan struct{})
}

// WaitStored waits until the message lies in the DHT for the friend, or has
// been delivered: nil, ErrExpired, ErrRefused, ErrCancelled or the end of ctx.
// A received message counts as delivered.
func (m *Message) WaitStored(ctx context.Context) error {
	return m.wait(ctx, "wait for storage of message", MessageStored)
}

// WaitDelivered waits until the message is durable at the friend: nil,
// ErrExpired, ErrRefused, ErrCancelled or the end of ctx. A received message
// counts as delivered.
func (m *Message) WaitDelivered(ctx context.Context) error {
	return m.wait(ctx, "wait for delivery of message", MessageDelivered)
}

func (m *Message) wait(ctx context.Context, op string, want MessageStatus) error {
	for {
		state, changed := m.snapshot()
		var err error
		switch state.Status {
		case MessageDelivered, MessageInbound:
			return nil
		case MessageStored:
			if want == MessageStored {
				return nil
			}
		case MessageExpired:
			err = ErrExpired
		case MessageRefused:
			err = ErrRefused
		case MessageCancelled:
			err = ErrCancelled
		case MessageQueued, MessageExpiring:
		}
		if err != nil {
			return &Error{Op: op, What: m.id.String(), Err: err}
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctxError(ctx, op, m.id.String(), state.String())
		case <-m.node.engine.done:
			return closedError(op, m.node.engine.cause())
		}
	}
}

// Done consumes a received message: it returns when the message is deleted from
// the store, so that it does not come again. Calling it inside the loop over
// Messages or later is the same, and so is calling it twice; of a sent message
// it does nothing. After an error, that of a closed or failed node, the message
// may come again at the next start.
func (m *Message) Done() error {
	if m.entry == nil {
		return nil
	}
	return m.node.engine.inbox.consumeNow(m.entry)
}

// Messages returns the received messages, oldest first, waiting for more. One
// loop may run at a time: a second one ends with ErrReaderBusy at once.
//
// A message is consumed when the loop's body completes, or when its Done
// returns; consumed messages are deleted from the store (history is the
// program's). On break, return or panic it is not, and comes again. Consumptions
// are committed together, at most 50 ms or 256 messages late: a crash repeats
// those, with the same IDs.
//
// The loop ends with exactly one error: that of ctx, net.ErrClosed, or the
// store's.
func (n *Node) Messages(ctx context.Context) iter.Seq2[*Message, error] {
	return n.engine.inbox.messages(ctx)
}
