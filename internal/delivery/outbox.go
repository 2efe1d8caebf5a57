package delivery

import (
	"fmt"
	"iter"
	"math"
	"time"

	"github.com/gocarrier/carrier/internal/wire"
)

// outbox is the sending half of a Peer.
type outbox struct {
	sequence wire.Sequence
	next     uint64 // number to be drawn next
	prior    Mark   // of the number below base
	began    int64  // unix ms of the last sequence begun for a fork; 0: none
	forkTo   uint32 // counter of a sequence that is to begin; 0: none

	open     bool
	capacity int

	flight []*entry // numbered and not final: next-len … next-1
	queue  queue    // not numbered yet
	ended  []*entry // in the order of their ends
	index  map[wire.MessageID]*entry
	bytes  int // of the bodies in flight and queue
	last   uint64
	due    deadlines

	dirty     []*entry
	headDirty bool
}

// Item is a numbered message that is not final.
type Item struct {
	Number uint64
	ID     wire.MessageID
	Time   int64 // unix ms
	Skip   bool  // a SKIP goes in its place
	Size   int   // of the body
}

// Pending is what has to reach the friend.
type Pending struct {
	Sequence wire.Sequence
	Base     uint64 // lowest number not final, or the next to be drawn
	Prior    Mark   // of number Base-1; zero if Base is 1
	Items    []Item // from Base on, without gaps
}

// PriorOf is the mark of the number before n, to be sent with a batch that
// begins with n, which must be one of the items' numbers.
func (p *Pending) PriorOf(n uint64) Mark {
	if n <= p.Base {
		return p.Prior
	}
	return MarkOf(p.Items[n-p.Base-1].ID)
}

// Open begins to hand out numbers: the person is a friend, by the request
// number bond. A raised bond changes nothing here.
func (p *Peer) Open(_ time.Time, _ uint64) {
	p.open = true
	p.draw()
}

// Close ends all that is pending with the state end: Refused, Expired or
// Cancelled. Numbers that were in flight stay taken. What has been received
// stays, and so do the marks; what came too early to be received is dropped.
func (p *Peer) Close(now time.Time, end State) {
	if end != Refused && end != Expired {
		end = Cancelled
	}
	p.open = false
	for _, e := range p.flight {
		p.end(now, e, end)
	}
	if n := len(p.flight); n > 0 {
		p.prior = MarkOf(p.flight[n-1].id)
		p.flight = nil
		p.headDirty = true
		p.out.PendingChanged = true
	}
	for e := p.queue.first; e != nil; e = p.queue.first {
		p.queue.remove(e)
		p.end(now, e, end)
	}
	p.dropPartial()
	for _, m := range p.marks {
		p.dropHeld(m, maxNumber)
	}
}

// SetCapacity tells the largest body that any courier at hand can carry, 0 for
// none at hand. A larger message holds back those behind it.
func (p *Peer) SetCapacity(n int) {
	p.capacity = n
	p.draw()
}

// Send puts a message into the outbox. It is there for good once the rows of
// the next Take are committed. The errors are ErrTooLong, ErrOutboxFull and
// ErrDuplicate, and the message is then nowhere.
func (p *Peer) Send(now time.Time, m Message) error {
	if len(m.Body) > wire.MaxMessage {
		return fmt.Errorf("%w: %d bytes, at most %d: send it in pieces", ErrTooLong, len(m.Body), wire.MaxMessage)
	}
	if n := len(p.flight) + p.queue.len; n >= p.limits.Outbox || p.bytes+len(m.Body) > p.limits.OutboxBytes {
		return fmt.Errorf("%w: %d messages of %d bytes wait: send again when some have ended", ErrOutboxFull, n, p.bytes)
	}
	if p.index[m.ID] != nil {
		return fmt.Errorf("%w: %s: draw another", ErrDuplicate, m.ID)
	}
	p.last++
	e := &entry{
		id: m.ID, position: p.last, time: max(m.Time, 0), expiry: max(m.Expiry, 0),
		at: millis(now), size: uint32(len(m.Body)), heapAt: -1,
	}
	p.enter(e)
	p.queue.push(e)
	body := m.Body
	if body == nil {
		body = []byte{}
	}
	p.out.Rows = append(p.out.Rows, Row{TableBody, BodyKey(m.ID), body})
	p.touch(e)
	if e.expiry != 0 && e.expiry <= millis(now) {
		p.queue.remove(e)
		p.end(now, e, Expired)
		return nil
	}
	p.draw()
	return nil
}

// enter makes a message known.
func (p *Peer) enter(e *entry) {
	if p.index == nil {
		p.index = make(map[wire.MessageID]*entry)
	}
	p.index[e.id] = e
	if e.state.Ended() {
		return
	}
	p.bytes += int(e.size)
	if e.expiry != 0 && e.state != Expiring {
		p.due.add(e)
	}
}

// draw gives numbers to what can leave.
func (p *Peer) draw() {
	for p.open && p.capacity > 0 && len(p.flight) < p.limits.Window {
		e := p.queue.first
		if e == nil || int(e.size) > p.capacity {
			return
		}
		p.queue.remove(e)
		e.numbered = true
		p.flight = append(p.flight, e)
		p.next++
		p.headDirty = true
		p.out.PendingChanged = true
		p.touch(e)
	}
}

// base is the lowest number not final.
func (p *Peer) base() uint64 { return p.next - uint64(len(p.flight)) }

// Stored tells that the messages of these numbers of a sequence of ours are in
// the mailbox, each at least copies times.
func (p *Peer) Stored(now time.Time, seq wire.Sequence, numbers []uint64, copies int) {
	if seq != p.sequence {
		return
	}
	base, c := p.base(), uint32(min(max(copies, 0), math.MaxInt32))
	for _, n := range numbers {
		if n < base || n >= p.next {
			continue
		}
		e := p.flight[n-base]
		if e.state == Queued || e.state == Stored && e.copies != c {
			e.copies = c
			p.change(now, e, Stored)
		}
	}
}

// Receipt learns from a receipt of the friend's what has become final. One
// that is old, or of another store of ours, does nothing; one that cannot be
// true of what we sent makes us begin a new sequence, at most one in
// [ForkInterval].
func (p *Peer) Receipt(now time.Time, r *wire.Receipt) {
	switch {
	case r.Sequence.Incarnation != p.sequence.Incarnation || r.Sequence.Counter < p.sequence.Counter:
		p.stats.StaleReceipts++
	case r.Sequence.Counter > p.sequence.Counter, r.Fork, r.Number >= p.next:
		p.forked(now, r.Sequence.Counter)
	case r.Number < p.base():
		p.stats.StaleReceipts++
	case Mark(r.Mark) != MarkOf(p.flight[r.Number-p.base()].id), r.Number-p.base() >= uint64(r.Known):
		// Number is another message there, or those that we have in flight
		// before it are not known there: they were final in a copy of ours.
		p.forked(now, r.Sequence.Counter)
	default:
		p.final(now, r)
	}
}

// final ends everything up to the number of a receipt that was found true.
func (p *Peer) final(now time.Time, r *wire.Receipt) {
	base := p.base()
	n := int(r.Number - base + 1)
	skipped := r.Skipped
	for i, e := range p.flight[:n] {
		number := base + uint64(i)
		for len(skipped) > 0 && skipped[0].To < number {
			skipped = skipped[1:]
		}
		if len(skipped) > 0 && skipped[0].From <= number {
			p.end(now, e, Expired)
		} else {
			p.end(now, e, Delivered)
		}
		p.flight[i] = nil
	}
	if p.flight = p.flight[n:]; len(p.flight) == 0 {
		p.flight = nil
	}
	p.prior = Mark(r.Mark)
	p.headDirty = true
	p.out.PendingChanged = true
	p.draw()
}

// forked notes that sequence counter of ours was continued by another copy of
// this store.
func (p *Peer) forked(now time.Time, counter uint32) {
	p.stats.ForkEvidence++
	if counter == math.MaxUint32 || counter-p.sequence.Counter > maxJump {
		p.stats.Faults++
		return
	}
	p.forkTo = max(p.forkTo, counter+1)
	p.refork(now)
}

// nextFork is when a sequence may begin that has to, 0 for none.
func (p *Peer) nextFork() int64 {
	if p.forkTo == 0 {
		return 0
	}
	return max(p.began+ForkInterval.Milliseconds(), 1)
}

// refork begins a new sequence if one has to begin and the last one is old
// enough: else a friend could have us write our outbox again and again.
func (p *Peer) refork(now time.Time) {
	ms := millis(now)
	if p.forkTo == 0 || p.began != 0 && ms >= p.began && ms < p.nextFork() {
		return
	}
	counter := p.forkTo
	p.forkTo, p.began = 0, max(ms, 1)
	p.stats.NewSequences++
	p.begin(now, wire.Sequence{Incarnation: p.own, Counter: counter})
}

// begin numbers anew, in a new sequence, all that is in flight.
func (p *Peer) begin(now time.Time, seq wire.Sequence) {
	p.sequence = seq
	p.next = uint64(len(p.flight)) + 1
	p.prior = Mark{}
	p.headDirty = true
	p.out.PendingChanged = true
	for _, e := range p.flight {
		if e.state == Stored {
			e.copies = 0
			p.change(now, e, Queued)
		}
	}
	p.draw()
}

// expire ends what is past its time and has no number, and asks the friend to
// pass over the rest.
func (p *Peer) expire(now time.Time) {
	ms := millis(now)
	for len(p.due) > 0 && p.due[0].expiry <= ms {
		e := p.due[0]
		p.due.drop(e)
		if !e.numbered {
			p.queue.remove(e)
			p.end(now, e, Expired)
			continue
		}
		e.copies = 0
		p.change(now, e, Expiring)
		p.out.PendingChanged = true
	}
	p.draw()
}

func (p *Peer) nextExpiry() int64 {
	if len(p.due) == 0 {
		return 0
	}
	return p.due[0].expiry
}

// change gives a message another state.
func (p *Peer) change(now time.Time, e *entry, s State) {
	e.state, e.at = s, millis(now)
	p.out.Changes = append(p.out.Changes, Change{e.id, s, int(e.copies), e.at})
	p.touch(e)
}

// end gives a message, which was taken out of flight or queue, its last state.
func (p *Peer) end(now time.Time, e *entry, s State) {
	p.due.drop(e)
	p.bytes -= int(e.size)
	e.copies = 0
	p.change(now, e, s)
	p.out.Rows = append(p.out.Rows, Row{TableBody, BodyKey(e.id), nil})
	p.ended = append(p.ended, e)
	if len(p.ended) > p.limits.Ended {
		p.forgetFirst()
	}
}

// forget drops what ended a day ago.
func (p *Peer) forget(now time.Time) {
	for at := p.nextForget(); at != 0 && at <= millis(now); at = p.nextForget() {
		p.forgetFirst()
	}
}

func (p *Peer) nextForget() int64 {
	if len(p.ended) == 0 {
		return 0
	}
	return p.ended[0].at + EndedFor.Milliseconds()
}

func (p *Peer) forgetFirst() {
	e := p.ended[0]
	p.ended[0] = nil
	if p.ended = p.ended[1:]; len(p.ended) == 0 {
		p.ended = nil
	}
	if delete(p.index, e.id); len(p.index) == 0 {
		p.index = nil
	}
	e.gone = true
	p.touch(e)
}

// Pending returns what has to reach the friend. It is true outside only once
// the rows of the next Take are committed.
func (p *Peer) Pending() Pending {
	base := p.base()
	out := Pending{Sequence: p.sequence, Base: base, Prior: p.prior}
	if len(p.flight) > 0 {
		out.Items = make([]Item, len(p.flight))
	}
	for i, e := range p.flight {
		out.Items[i] = Item{base + uint64(i), e.id, e.time, e.state == Expiring, int(e.size)}
	}
	return out
}

// Outbox gives the messages that ended in the last day, in the order of their
// ends, then the pending ones in their order. The Peer must not be stepped
// meanwhile.
func (p *Peer) Outbox() iter.Seq[Entry] {
	return func(yield func(Entry) bool) {
		for _, e := range p.ended {
			if !yield(p.entry(e, 0, ReasonNone)) {
				return
			}
		}
		behind := false // one that is too large
		for i, e := range p.flight {
			if !yield(p.entry(e, p.base()+uint64(i), p.reason(e, behind))) {
				return
			}
			behind = behind || p.tooLarge(e)
		}
		for e := p.queue.first; e != nil; e = e.next {
			if !yield(p.entry(e, 0, p.reason(e, behind))) {
				return
			}
			// One behind the first that is too large holds nothing back yet.
			behind = behind || e == p.queue.first && p.tooLarge(e)
		}
	}
}

// Entry returns one message of the outbox.
func (p *Peer) Entry(id wire.MessageID) (Entry, bool) {
	e := p.index[id]
	if e == nil {
		return Entry{}, false
	}
	if e.state.Ended() {
		return p.entry(e, 0, ReasonNone), true
	}
	behind := false
	for i, f := range p.flight {
		if f == e {
			return p.entry(e, p.base()+uint64(i), p.reason(e, behind)), true
		}
		behind = behind || p.tooLarge(f)
	}
	if first := p.queue.first; first != e {
		behind = behind || p.tooLarge(first)
	}
	return p.entry(e, 0, p.reason(e, behind)), true
}

func (p *Peer) entry(e *entry, number uint64, why Reason) Entry {
	return Entry{e.id, e.time, e.expiry, int(e.size), e.state, why, number, int(e.copies), e.at}
}

func (p *Peer) tooLarge(e *entry) bool {
	return p.capacity > 0 && int(e.size) > p.capacity && e.state != Expiring
}

// reason says what e waits for; behind, that one before it is too large.
func (p *Peer) reason(e *entry, behind bool) Reason {
	switch {
	case e.state != Queued:
		return ReasonNone
	case !p.open:
		return ReasonAcceptance
	case p.capacity <= 0:
		return ReasonCourier
	case p.tooLarge(e):
		return ReasonLink
	case behind:
		return ReasonOrder
	case !e.numbered:
		return ReasonWindow
	}
	return ReasonNone
}

// touch has the row of e written by the next Take.
func (p *Peer) touch(e *entry) {
	if !e.dirty {
		e.dirty = true
		p.dirty = append(p.dirty, e)
	}
}
