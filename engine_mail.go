package carrier

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/gocarrier/carrier/crypto"
	"github.com/gocarrier/carrier/internal/courier"
	"github.com/gocarrier/carrier/internal/delivery"
	"github.com/gocarrier/carrier/internal/friendship"
	"github.com/gocarrier/carrier/internal/wire"
)

// mailbox is what the loop holds for the messages with one person: the stepped
// machine and the timer that advances it.
type mailbox struct {
	id    crypto.ID
	peer  *delivery.Peer
	timer *timer
	via   courier.Via     // by which the mail came that waits for its receipt
	out   delivery.Output // taken, its rows written, the rest not yet carried out
}

// box returns the person's mailbox, made if there is none. Loop only.
func (e *engine) box(id crypto.ID) *mailbox {
	box := e.mail[id]
	if box == nil {
		box = &mailbox{id: id, peer: delivery.New(delivery.Config{Own: e.incarnation, Limits: e.limits, Rows: mailRows{e, id}})}
		e.mail[id] = box
	}
	return box
}

// mailRows are the rows of one person's messages.
type mailRows struct {
	e  *engine
	id crypto.ID
}

func (r mailRows) Get(table string, key []byte) []byte { return r.e.Get(table, r.id, key) }

// step notes that a mailbox was stepped in this turn.
func (e *engine) step(box *mailbox) { e.stepped[box.id] = box }

// restoreMail gives the delivery machines their rows. Before the loop runs.
func (e *engine) restoreMail() error {
	var errs []error
	for _, table := range []string{delivery.TableState, delivery.TableOutbox} {
		e.All(table, func(id crypto.ID, key, value []byte) bool {
			if err := e.box(id).peer.Restore(table, key, value); err != nil {
				errs = append(errs, err)
			}
			return true
		})
	}
	for _, box := range e.mail {
		if err := box.peer.Restored(); err != nil {
			errs = append(errs, fmt.Errorf("messages with %s: %w", shortID(box.id), err))
		}
	}
	unread := map[crypto.ID][2]int{}
	for _, entry := range e.inbox.entries {
		u := unread[entry.from]
		unread[entry.from] = [2]int{u[0] + 1, u[1] + entry.size}
	}
	for id, u := range unread {
		e.box(id).peer.SetUnread(u[0], u[1])
	}
	return errors.Join(errs...)
}

// settleMail carries out what the delivery machines have decided.
func (e *engine) settleMail() {
	for len(e.stepped) > 0 {
		stepped := e.stepped
		e.stepped = map[crypto.ID]*mailbox{}
		for _, box := range stepped {
			e.settleBox(box)
		}
	}
}

// take writes the rows of what the machine has decided, so that what it says
// outside is committed with this turn. The rest waits for settleBox.
func (e *engine) take(box *mailbox) {
	out := box.peer.Take()
	if out.Err != nil {
		e.fail(fmt.Errorf("messages with %s: %w", shortID(box.id), out.Err))
	}
	for _, row := range out.Rows {
		if row.Value == nil {
			e.Delete(row.Table, box.id, row.Key)
		} else {
			e.Put(row.Table, box.id, row.Key, row.Value)
		}
	}
	box.out.Delivered = append(box.out.Delivered, out.Delivered...)
	box.out.Changes = append(box.out.Changes, out.Changes...)
	box.out.PendingChanged = box.out.PendingChanged || out.PendingChanged
	box.out.ReceiptChanged = box.out.ReceiptChanged || out.ReceiptChanged
	box.out.Answer = box.out.Answer || out.Answer
}

func (e *engine) settleBox(box *mailbox) {
	e.take(box)
	out := box.out
	box.out = delivery.Output{}
	for _, m := range out.Delivered {
		e.inbox.add(box.id, m)
	}
	if len(out.Changes) > 0 {
		e.Then(func() { e.tellChanges(box, out.Changes) })
	}
	if out.PendingChanged {
		e.courier.MailChanged(box.id)
	}
	if out.ReceiptChanged || out.Answer {
		e.courier.ReceiptChanged(box.id, box.via)
	}
	if box.timer != nil {
		box.timer.Stop()
		box.timer = nil
	}
	if next := box.peer.Next(); !next.IsZero() {
		box.timer = e.after(next.Sub(e.Now()), func() {
			box.timer = nil
			box.peer.Advance(e.Now())
			e.step(box)
		})
	}
}

// tellChanges updates the handles that the program holds and publishes the
// new states.
func (e *engine) tellChanges(box *mailbox, changes []delivery.Change) {
	for _, c := range changes {
		m := e.node.messages.find(MessageID(c.ID))
		if m == nil && e.hub.Len() > 0 {
			m = e.outgoing(box, c.ID)
		}
		if m == nil {
			continue // nobody wants to know
		}
		state := e.messageState(delivery.Entry{State: c.State, Copies: c.Copies, At: c.At})
		m.set(state)
		e.publish(MessageChanged{Message: m, State: state}, "")
	}
}

// outgoing returns the handle of a message of the outbox, nil if it is not
// there.
func (e *engine) outgoing(box *mailbox, id wire.MessageID) *Message {
	entry, ok := box.peer.Entry(id)
	if !ok {
		return e.node.messages.find(MessageID(id))
	}
	return e.node.messages.get(MessageID(id), func() *Message {
		return e.sentMessage(box.id, entry, nil)
	})
}

// sentMessage makes the handle of a message of ours; a nil body is read from the
// store when it is asked for.
func (e *engine) sentMessage(to crypto.ID, entry delivery.Entry, body []byte) *Message {
	return &Message{
		node: e.node, id: MessageID(entry.ID), from: e.identity.ID(), to: to, time: time.UnixMilli(entry.Time),
		body: body, state: e.messageState(entry), changed: make(chan struct{}),
	}
}

func (e *engine) messageState(entry delivery.Entry) MessageState {
	s := MessageState{Since: time.UnixMilli(entry.At)}
	switch entry.State {
	case delivery.Queued:
		s.Status = MessageQueued
		switch {
		case entry.Reason == delivery.ReasonAcceptance:
			s.Reason = entry.Reason.String()
		case e.yields.Load():
			s.Reason = reasonInUse
		case entry.Reason != delivery.ReasonNone:
			s.Reason = entry.Reason.String()
		}
	case delivery.Stored:
		s.Status, s.Copies = MessageStored, entry.Copies
	case delivery.Expiring:
		s.Status = MessageExpiring
	case delivery.Delivered:
		s.Status = MessageDelivered
	case delivery.Expired:
		s.Status = MessageExpired
	case delivery.Refused:
		s.Status = MessageRefused
	case delivery.Cancelled:
		s.Status = MessageCancelled
	}
	return s
}

// body reads the body of a pending message, nil when it has ended. It sees the
// writes of this turn.
func (e *engine) body(to crypto.ID, id wire.MessageID) []byte {
	return e.Get(delivery.TableBody, to, delivery.BodyKey(id))
}

// storedBody reads a body for a handle, off the loop: nil when the message has
// come to its end.
func (e *engine) storedBody(to crypto.ID, id wire.MessageID) []byte {
	body, err := e.store.Get(delivery.TableBody, to[:], delivery.BodyKey(id))
	if err != nil {
		e.log.Debug("body not read", "err", err)
	}
	return body
}

// send is Friend.Send.
func (e *engine) send(ctx context.Context, to ID, body []byte, opts *SendOptions) (*Message, error) {
	const op = "send to"
	if len(body) > MaxMessage {
		return nil, &Error{Op: op, What: shortID(to), Err: fmt.Errorf("%w: %d bytes, the limit is %d", ErrTooLong, len(body), MaxMessage), Hint: "send it in parts"}
	}
	m := delivery.Message{Time: e.Now().UnixMilli(), Body: slices.Clone(body)}
	if m.Body == nil {
		m.Body = []byte{}
	}
	rand.Read(m.ID[:]) // never fails
	if opts != nil && !opts.Expiry.IsZero() {
		m.Expiry = max(opts.Expiry.UnixMilli(), 1) // 0 means never
	}
	var handle *Message
	err := e.do(ctx, op, func() error {
		p, _ := e.friendship.Person(to)
		switch p.State {
		case friendship.Friend, friendship.Requested:
		case friendship.None, friendship.Incoming, friendship.Refused, friendship.Removed, friendship.Expired:
			return &Error{Op: op, What: shortID(to), Err: ErrNotFriend, Hint: "add them first"}
		}
		box := e.box(to)
		if err := box.peer.Send(e.Now(), m); err != nil {
			if errors.Is(err, delivery.ErrOutboxFull) {
				return &Error{Op: op, What: shortID(to), Err: ErrOutboxFull, Hint: "wait until earlier messages are delivered"}
			}
			return &Error{Op: op, What: shortID(to), Err: err}
		}
		e.step(box)
		entry, _ := box.peer.Entry(m.ID)
		handle = e.node.messages.get(MessageID(m.ID), func() *Message { return e.sentMessage(to, entry, m.Body) })
		return nil
	})
	if err != nil {
		return nil, err
	}
	return handle, nil
}

// waitsFor says what a queued message of ours waits for; false on a closed node.
func (e *engine) waitsFor(to ID, id MessageID) (reason string, ok bool) {
	e.ask(func() {
		if box := e.mail[to]; box != nil {
			entry, _ := box.peer.Entry(wire.MessageID(id))
			reason, ok = e.messageState(entry).Reason, true
		}
	})
	return reason, ok
}

// receiveMail hands a verified batch to the machine.
func (e *engine) receiveMail(box *mailbox, m *wire.Mail, via courier.Via) bool {
	box.via = via
	done := box.peer.Receive(e.Now(), m, uint8(messageCourier(via)))
	e.step(box)
	return done
}

func messageCourier(via courier.Via) Courier {
	switch via {
	case courier.ViaDHT:
		return CourierDHT
	case courier.ViaLink:
		return CourierLink
	case courier.ViaDirect:
	}
	return CourierDirect
}

// consumed makes room in a friend's inbox.
func (e *engine) consumed(from crypto.ID, size int) {
	box := e.box(from)
	box.peer.Consumed(e.Now(), 1, size)
	e.step(box)
	e.courier.InboxRoom(from)
}

// updateCapacity tells the machine how large a message can be carried now.
func (e *engine) updateCapacity(id crypto.ID) {
	if box := e.mail[id]; box != nil {
		box.peer.SetCapacity(e.courier.Capacity(id))
		e.step(box)
	}
}

// outbox is Node.Outbox.
func (e *engine) outbox() []*Message {
	var list []*Message
	e.ask(func() {
		// Of everybody, also who is no friend any more: a message that ended by that is kept like any other.
		for _, id := range slices.SortedFunc(maps.Keys(e.mail), crypto.ID.Compare) {
			box := e.mail[id]
			for entry := range box.peer.Outbox() {
				if m := e.outgoing(box, entry.ID); m != nil {
					if !entry.State.Ended() {
						m.set(e.messageState(entry)) // the reason why it waits is not told by events
					}
					list = append(list, m)
				}
			}
		}
	})
	return list
}

// counters gives the machine's counters by name.
func (b *mailbox) counters() map[string]uint64 {
	s := b.peer.Stats()
	return map[string]uint64{
		"faults": s.Faults, "old_sequence": s.OldSequence, "duplicates": s.Duplicates, "held": s.Held, "dropped": s.Dropped,
		"inbox_full": s.InboxFull, "raised": s.Raised, "forks_seen": s.ForksSeen, "fork_evidence": s.ForkEvidence,
		"new_sequences": s.NewSequences, "stale_receipts": s.StaleReceipts,
	}
}

// pending gives the machine's numbered messages in the courier's words.
func (e *engine) pending(box *mailbox) (wire.Sequence, uint64, []courier.Outgoing) {
	e.take(box)
	p := box.peer.Pending()
	items := make([]courier.Outgoing, len(p.Items))
	prior := p.Prior
	for i, item := range p.Items {
		items[i] = courier.Outgoing{Number: item.Number, ID: item.ID, Time: item.Time, Skip: item.Skip, Size: item.Size, Prior: prior}
		prior = delivery.MarkOf(item.ID)
	}
	return p.Sequence, p.Base, items
}
