// Package delivery is the life of the messages between this node and one
// friend, both ways: the outbox with its numbers, receipts, expiry and forks,
// and the marks that make each message of the friend's arrive in order and
// once.
//
// A [Peer] is stepped: it does no I/O, reads no clock and starts no goroutine.
// Its methods take the time; what they want done is gathered and drained by
// [Peer.Take], at the end of a turn. The rows of one Take are committed
// together, together with what the program stores of Output.Delivered, and
// before anything leaves the node that was made from [Peer.Pending] or
// [Peer.CurrentReceipt]: a number that was seen outside is taken for ever, and a
// receipt is a promise. A node whose commit failed ends, and a new Peer is
// restored from the rows.
//
// # Numbers, links and forks
//
// The mail to a friend is numbered within a sequence, 1, 2, 3 and so on. At
// most 1,024 numbers are in flight from base, the lowest that is not final. A
// receipt says up to where all numbers are final at the receiver, with the
// mark (the first 8 bytes of the ID) of the last message there, how many of
// these numbers it speaks for, and which of them were skipped.
//
// A store that is put back to an older state, or copied, draws numbers again
// that other messages have had already. So a message is only taken when the
// mark of the one before it at the sender is the mark at the receiver: then
// what was received is, number by number, what this sender sent. Where marks
// disagree, at either end, nothing is final and the sender begins a new
// sequence. What was not final goes again in it under the same IDs, and the
// receiver, which keeps the last 1,024 IDs with their fate, does not store
// them twice.
//
// # Rows
//
// All rows belong to one friend. Numbers in keys are big-endian.
//
//	delivery     h               our sequence: next number, mark below base
//	delivery     m sequence(20)  what was received of one sequence
//	delivery     s slot(2)       fate of one message received; not written any more
//	inbox.seen   page(2)         fates of 32 of the last 1,024 messages received
//	outbox       position(8)     a message of ours, without body
//	outbox.body  ID(16)          its body, as long as it is pending
package delivery

import (
	"time"

	"github.com/gocarrier/carrier/crypto"
	"github.com/gocarrier/carrier/internal/wire"
)

// Tables that the rows of a Peer stand in. Two are not restored: the rows of
// TableSeen are read by the Peer when it needs them, those of TableBody by
// whoever sends the mail, by [BodyKey].
const (
	TableState  = "delivery"
	TableSeen   = "inbox.seen"
	TableOutbox = "outbox"
	TableBody   = "outbox.body"
)

// EndedFor is how long a message that has come to its end stays in
// [Peer.Outbox].
const EndedFor = 24 * time.Hour

// ForkInterval is the least time between two new sequences with one friend.
const ForkInterval = time.Minute

// maxJump is how far the counter of a sequence may be raised by one receipt.
const maxJump = 1024

// maxNumber bounds numbers so that sums of them never overflow.
const maxNumber = 1 << 62

// Limits bound a Peer. Both ends must agree on Window, which is at most
// [wire.InFlight], and Seen must not be below it.
type Limits struct {
	Outbox      int // messages pending
	OutboxBytes int // of their bodies
	Ended       int // messages kept after their end
	Inbox       int // messages delivered and not consumed
	InboxBytes  int // of their bodies
	Window      int // numbers in flight
	Seen        int // messages received whose fate is remembered, at most 65,536
	Sequences   int // sequences of the friend whose marks are kept
	Held        int // messages held back until those before them come
	HeldBytes   int // of their bodies
}

// DefaultLimits are those of nodes in the field.
func DefaultLimits() Limits {
	return Limits{
		Outbox: 16384, OutboxBytes: 64 << 20, Ended: 16384,
		Inbox: 16384, InboxBytes: 64 << 20,
		Window: wire.InFlight, Seen: wire.InFlight, Sequences: 8,
		Held: 64, HeldBytes: 128 << 10,
	}
}

// Config is what a Peer needs to know.
type Config struct {
	Own    crypto.Incarnation // of this node's store
	Limits *Limits            // one for all friends, to spare memory; not changed any more; nil: DefaultLimits
	Rows   Rows               // nil: there are none, and none are kept
}

// Rows reads the friend's rows: what is committed, and what Take has given
// since.
type Rows interface {
	// Get returns a row, nil when there is none.
	Get(table string, key []byte) []byte
}

// Mark is the first 8 bytes of a message's ID. The zero Mark says nothing.
type Mark [8]byte

// MarkOf returns the mark of a message.
func MarkOf(id wire.MessageID) Mark { return Mark(id[:8]) }

// Stats counts what happened with one friend since the Peer was made.
type Stats struct {
	Faults        uint64 // mail or receipts that make no sense, dropped
	OldSequence   uint64 // mail of a sequence older than those kept, dropped
	Duplicates    uint64 // messages that came again
	Held          uint64 // messages held back
	Dropped       uint64 // messages dropped as they came too early to be held
	InboxFull     uint64 // messages turned away for want of room
	Raised        uint64 // times that a base raised the mark over a gap
	ForksSeen     uint64 // sequences of the friend's found forked
	ForkEvidence  uint64 // receipts that showed ours forked
	NewSequences  uint64 // sequences of ours begun for that
	StaleReceipts uint64 // receipts that told nothing new
}

// A Peer is the messages to and from one friend. It is not safe for
// concurrent use.
type Peer struct {
	own    crypto.Incarnation
	limits *Limits
	rows   Rows
	out    Output
	stats  Stats
	outbox
	inbox
}

// New returns the Peer of a friend with whom no message was exchanged yet.
// It is closed; rows, if there are any, are restored first.
func New(cfg Config) *Peer {
	p := &Peer{own: cfg.Own, limits: cfg.Limits, rows: cfg.Rows}
	if p.limits == nil {
		limits := DefaultLimits()
		p.limits = &limits
	}
	p.sequence = wire.Sequence{Incarnation: cfg.Own, Counter: 1}
	p.next = 1
	return p
}

// Row is a row to be written; a nil Value deletes it.
type Row struct {
	Table string
	Key   []byte
	Value []byte
}

// BodyKey is the key in [TableBody] of a message's body. The row's value is
// the body as it is.
func BodyKey(id wire.MessageID) []byte { return id[:] }

// Inbound is a message that has arrived.
type Inbound struct {
	ID      wire.MessageID
	Time    int64 // unix ms, by the sender's clock
	Body    []byte
	Courier uint8 // as it was given to Receive
}

// Output is what a turn wants done.
type Output struct {
	Rows      []Row     // to be committed, in this order
	Delivered []Inbound // in order; stored by the same commit
	Changes   []Change  // in order
	// PendingChanged: what Pending returns has changed.
	PendingChanged bool
	// ReceiptChanged: what CurrentReceipt returns has changed.
	ReceiptChanged bool
	// Answer: mail came, new or not, and its sender waits for the receipt.
	Answer bool
	// Err says that rows are damaged that were needed: the node must end. What
	// came was not taken.
	Err error
}

// Take drains what was gathered since the last Take. The rows come first: see
// the package comment.
func (p *Peer) Take() Output {
	p.outboxRows()
	p.inboxRows()
	out := p.out
	p.out = Output{}
	return out
}

// Advance does what is due: messages expire, ended ones are forgotten, a
// sequence is begun that had to wait, the memory of messages received goes
// that was not needed for long.
func (p *Peer) Advance(now time.Time) {
	p.expire(now)
	p.forget(now)
	p.refork(now)
	p.drop(now)
}

// Next is when Advance has something to do; the zero time if never.
func (p *Peer) Next() time.Time {
	var at int64
	earliest := func(ms int64) {
		if ms != 0 && (at == 0 || ms < at) {
			at = ms
		}
	}
	earliest(p.nextExpiry())
	earliest(p.nextForget())
	earliest(p.nextFork())
	earliest(p.nextDrop())
	if at == 0 {
		return time.Time{}
	}
	return time.UnixMilli(at)
}

// Stats returns the counters.
func (p *Peer) Stats() Stats { return p.stats }

// millis is t in unix milliseconds, never negative.
func millis(t time.Time) int64 { return max(t.UnixMilli(), 0) }
