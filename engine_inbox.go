package carrier

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"sync"
	"time"

	"github.com/gocarrier/carrier/crypto"
	"github.com/gocarrier/carrier/internal/delivery"
	"github.com/gocarrier/carrier/internal/store"
	"github.com/gocarrier/carrier/internal/wire"
)

const (
	consumeDelay = 50 * time.Millisecond // a consumption is committed at most this late
	consumeBatch = 256                   // or when so many wait
)

// maxTime is the last time that others are shown to have said, in unix ms: the
// end of the year 9999. A program could not write a later one as RFC 3339 or JSON.
const maxTime = 253402300799999

// inboxEntry is one received message that is not consumed yet. Its row holds
// the rest.
type inboxEntry struct {
	arrival  uint64
	from     crypto.ID
	size     int
	consumed bool // under inbox.mu
	leaving  bool // loop: it has been in waiting
}

// inbox is the node's one queue of received messages, between the loop, which
// appends and deletes, and the program's reader. Its mutex is a leaf.
type inbox struct {
	e *engine

	mu      sync.Mutex
	entries []*inboxEntry // by arrival; consumed ones leave from the front
	changed chan struct{} // closed and replaced when entries are added
	reading bool
	closed  bool

	// loop
	arrival uint64
	waiting []*inboxEntry // consumed, not yet committed
	flushAt *timer
}

func newInbox(e *engine) *inbox { return &inbox{e: e, changed: make(chan struct{})} }

// restore takes one saved row at start, in any order; the engine sorts them.
func (in *inbox) restore(from crypto.ID, key, value []byte) error {
	if len(key) != 8 {
		return fmt.Errorf("inbox row with a key of %d bytes", len(key))
	}
	arrival := binary.BigEndian.Uint64(key)
	m, err := parseInboxRow(value)
	if err != nil {
		return err
	}
	in.entries = append(in.entries, &inboxEntry{arrival: arrival, from: from, size: len(m.body)})
	in.arrival = max(in.arrival, arrival)
	return nil
}

// add writes the row of a delivered message in this turn; the reader sees it
// after the commit.
func (in *inbox) add(from crypto.ID, m delivery.Inbound) {
	in.arrival++
	entry := &inboxEntry{arrival: in.arrival, from: from, size: len(m.Body)}
	in.e.Put(tableInbox, from, entry.key(), appendInboxRow(nil, inboxRow{
		id: m.ID, time: min(m.Time, maxTime), courier: Courier(m.Courier), body: m.Body,
	}))
	id := MessageID(m.ID)
	in.e.Then(func() {
		in.mu.Lock()
		in.entries = append(in.entries, entry)
		close(in.changed)
		in.changed = make(chan struct{})
		in.mu.Unlock()
		in.e.publish(MessageReceived{From: from, ID: id}, "")
	})
}

func (en *inboxEntry) key() []byte { return binary.BigEndian.AppendUint64(nil, en.arrival) }

// messages is Node.Messages.
func (in *inbox) messages(ctx context.Context) iter.Seq2[*Message, error] {
	return func(yield func(*Message, error) bool) {
		in.mu.Lock()
		if in.reading {
			in.mu.Unlock()
			yield(nil, &Error{Op: "read messages", Err: ErrReaderBusy, Hint: "one loop over Messages may run at a time"})
			return
		}
		in.reading = true
		in.mu.Unlock()
		defer func() {
			in.mu.Lock()
			in.reading = false
			in.mu.Unlock()
		}()
		var last uint64
		for {
			entry, err := in.next(ctx, last)
			if err != nil {
				yield(nil, err)
				return
			}
			last = entry.arrival
			m, err := in.load(entry)
			if err != nil {
				yield(nil, err)
				return
			}
			if m == nil { // consumed by Done meanwhile
				continue
			}
			if !yield(m, nil) {
				return
			}
			in.consume(entry)
		}
	}
}

// next waits for the first entry after arrival.
func (in *inbox) next(ctx context.Context, after uint64) (*inboxEntry, error) {
	for {
		if err := ctx.Err(); err != nil {
			return nil, ctxError(ctx, "read messages", "", "waiting for the next")
		}
		in.mu.Lock()
		if in.closed {
			in.mu.Unlock()
			return nil, closedError("read messages", in.e.cause())
		}
		for len(in.entries) > 0 && in.entries[0].consumed {
			in.entries[0] = nil
			in.entries = in.entries[1:]
		}
		for _, entry := range in.entries {
			if entry.arrival > after && !entry.consumed {
				in.mu.Unlock()
				return entry, nil
			}
		}
		changed := in.changed
		in.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
		case <-in.e.done:
			return nil, closedError("read messages", in.e.cause())
		}
	}
}

// load reads the entry's message; nil when it has been consumed.
func (in *inbox) load(entry *inboxEntry) (*Message, error) {
	value, err := in.e.store.Get(tableInbox, entry.from[:], entry.key())
	switch {
	case errors.Is(err, store.ErrClosed): // between next and here
		return nil, closedError("read messages", in.e.cause())
	case err != nil:
		return nil, storeError("read messages", in.e.config.Dir, err)
	}
	if value == nil {
		return nil, nil
	}
	row, err := parseInboxRow(value)
	if err != nil {
		return nil, &Error{Op: "read messages", What: in.e.config.Dir, Err: because(ErrDamaged, err)}
	}
	n := in.e.node
	return n.received.get(entry.arrival, func() *Message {
		return &Message{
			node: n, id: MessageID(row.id), from: entry.from, to: n.ID(), time: time.UnixMilli(row.time),
			body: row.body, courier: row.courier, entry: entry,
			state: MessageState{Status: MessageInbound, Since: time.UnixMilli(row.time)}, changed: make(chan struct{}),
		}
	}), nil
}

// take marks an entry consumed: no reader sees it any more.
func (in *inbox) take(entry *inboxEntry) {
	in.mu.Lock()
	defer in.mu.Unlock()
	entry.consumed = true
}

// consume takes an entry whose loop body has completed; it is deleted soon.
func (in *inbox) consume(entry *inboxEntry) {
	in.take(entry)
	in.e.post(func() {
		in.leave(entry)
		if len(in.waiting) >= consumeBatch {
			in.flush()
		} else if len(in.waiting) > 0 && in.flushAt == nil {
			in.flushAt = in.e.after(consumeDelay, in.flush)
		}
	})
}

// consumeNow is Message.Done.
func (in *inbox) consumeNow(entry *inboxEntry) error {
	in.take(entry)
	return in.e.do(context.Background(), "consume message", func() error {
		in.leave(entry)
		in.flush() // also what an earlier loop body has consumed
		return nil
	})
}

// leave has the next flush delete an entry, once however often it is consumed.
// Loop only.
func (in *inbox) leave(entry *inboxEntry) {
	if !entry.leaving {
		entry.leaving = true
		in.waiting = append(in.waiting, entry)
	}
}

// flush deletes the consumed messages in this turn. Loop only.
func (in *inbox) flush() {
	if in.flushAt != nil {
		in.flushAt.Stop()
		in.flushAt = nil
	}
	for _, entry := range in.waiting {
		in.e.Delete(tableInbox, entry.from, entry.key())
		in.e.consumed(entry.from, entry.size)
	}
	in.waiting = nil
}

func (in *inbox) close() {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.closed = true
	close(in.changed)
	in.changed = make(chan struct{})
}

// inboxRow is the durable form of a received message.
type inboxRow struct {
	id      wire.MessageID
	time    int64
	courier Courier
	body    []byte
}

func appendInboxRow(b []byte, r inboxRow) []byte {
	b = append(b, byte(r.courier))
	b = append(b, r.id[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(r.time))
	return append(b, r.body...)
}

func parseInboxRow(b []byte) (inboxRow, error) {
	const head = 1 + 16 + 8
	if len(b) < head {
		return inboxRow{}, fmt.Errorf("inbox row of %d bytes is cut short", len(b))
	}
	return inboxRow{
		courier: Courier(b[0]),
		id:      wire.MessageID(b[1:17]),
		time:    int64(binary.BigEndian.Uint64(b[17:25])),
		body:    b[head:],
	}, nil
}
