package delivery

import (
	"slices"
	"time"

	"github.com/gocarrier/carrier/internal/wire"
)

// inbox is the receiving half of a Peer.
type inbox struct {
	marks   []*received // the newest sequences of the friend's, rising
	current *received   // the one that the receipt is for
	memory  memory
	singles []single // while rows are restored
	partial *partial

	heldCount, heldBytes     int
	unreadCount, unreadBytes int
}

// Receive takes a verified batch of the friend's, of the present bond. Courier
// is handed through to [Inbound].
//
// It reports whether the batch is done with: all in it is final here (once the
// rows of the next Take are committed), or it never will be. A batch that is
// not, because messages before it are missing or there is no room, should be
// asked for again later. The mail's memory belongs to the Peer from here on.
func (p *Peer) Receive(now time.Time, mail *wire.Mail, courier uint8) bool {
	last, ok := p.sane(mail)
	if !ok {
		p.stats.Faults++
		return true
	}
	if !p.remember(now) {
		return false
	}
	m := p.find(mail.Sequence)
	if m == nil {
		p.stats.OldSequence++
		return true
	}
	p.use(m)
	p.out.Answer = true
	if m.fork {
		return true
	}
	if mail.Base <= m.told {
		// Older than what raised the mark, or from another copy: nobody can
		// tell whether it sent what was passed over there.
		p.fork(m)
		return true
	}
	p.raise(m, mail.Base)
	items, prior := mail.Items, Mark(mail.Prior)
	if mail.Part != nil {
		items = p.join(now, m, mail)
	}
	for i := range items {
		h := held{item: items[i], prior: prior, courier: courier}
		if !p.step(m, mail.First+uint64(i), h) {
			break
		}
		prior = MarkOf(items[i].ID)
	}
	p.drain(m)
	return m.fork || m.number >= last
}

// sane returns the last number of a batch that makes sense.
func (p *Peer) sane(mail *wire.Mail) (last uint64, ok bool) {
	if mail.First < 1 || mail.Base < 1 || mail.First > maxNumber || mail.Base > maxNumber {
		return 0, false
	}
	last = mail.First
	if mail.Part == nil {
		if len(mail.Items) == 0 {
			return 0, false
		}
		last += uint64(len(mail.Items) - 1)
	}
	for i := range mail.Items {
		if len(mail.Items[i].Body) > wire.MaxMessage {
			return 0, false
		}
	}
	return last, last <= maxNumber && mail.Base <= last+1 && last < mail.Base+uint64(p.limits.Window)
}

// find returns what was received of a sequence, nil if it is too old to be
// known. A new one takes the place of the oldest.
func (p *Peer) find(seq wire.Sequence) *received {
	i, ok := slices.BinarySearchFunc(p.marks, seq, func(m *received, s wire.Sequence) int { return compare(m.sequence, s) })
	if ok {
		return p.marks[i]
	}
	if len(p.marks) >= p.limits.Sequences {
		if i == 0 {
			return nil
		}
		p.evict(p.marks[0])
		i--
	}
	m := &received{sequence: seq, dirty: true}
	p.marks = slices.Insert(p.marks, i, m)
	return m
}

// evict drops what is known of the oldest sequence.
func (p *Peer) evict(m *received) {
	p.dropHeld(m, maxNumber)
	if p.partial != nil && p.partial.mark == m {
		p.dropPartial()
	}
	p.memory.forget(m)
	p.marks = slices.Delete(p.marks, 0, 1)
	p.out.Rows = append(p.out.Rows, Row{TableState, receivedKey(m.sequence), nil})
}

// use makes the incarnation of m the one that receipts are for: of its newest
// sequence. For a store of the friend's that went on with an older one, that
// is how it learns so.
func (p *Peer) use(m *received) {
	var top *received
	for _, o := range p.marks {
		if top == nil || o.used > top.used {
			top = o
		}
	}
	if m.used == 0 || top.sequence.Incarnation != m.sequence.Incarnation {
		m.used = top.used + 1
		m.dirty = true
	}
	p.choose()
}

// choose finds the sequence that the receipt is for.
func (p *Peer) choose() {
	var top, current *received
	for _, m := range p.marks {
		if top == nil || m.used > top.used {
			top = m
		}
	}
	for _, m := range p.marks { // rising, so that the newest counter is last
		if m.sequence.Incarnation == top.sequence.Incarnation {
			current = m
		}
	}
	if current != p.current {
		p.current = current
		p.out.ReceiptChanged = true
	}
}

// changed notes that m has moved.
func (p *Peer) changed(m *received) {
	m.dirty = true
	if m == p.current {
		p.out.ReceiptChanged = true
	}
}

// raise moves the mark over what is final at the sender and not known here:
// given up there when a friendship ended, or received by a store that we lost.
func (p *Peer) raise(m *received, base uint64) {
	m.base = max(m.base, base)
	if base-1 <= m.number {
		return
	}
	p.stats.Raised++
	m.number, m.mark, m.skipped, m.told = base-1, Mark{}, nil, base-1
	p.dropHeld(m, m.number)
	p.changed(m)
}

// step deals with one message. It reports false if those after it cannot be
// dealt with either.
func (p *Peer) step(m *received, n uint64, h held) bool {
	switch {
	case n <= m.number:
		p.stats.Duplicates++
		if i := p.memory.byNumber(m, n); i >= 0 && p.memory.slots[i].id != h.item.ID {
			p.fork(m)
			return false
		}
		return true
	case n > m.number+1:
		return p.hold(m, n, h)
	case m.mark != (Mark{}) && h.prior != (Mark{}) && h.prior != m.mark:
		// What we have up to here is not what this sender sent up to here.
		p.fork(m)
		return false
	}
	return p.accept(m, n, h)
}

// accept makes the next message final. It reports false if that has to wait,
// for room or for the base to rise.
func (p *Peer) accept(m *received, n uint64, h held) bool {
	known := p.memory.byID(h.item.ID)
	skipped := h.item.Skip
	if known >= 0 {
		p.stats.Duplicates++
		skipped = p.memory.slots[known].skipped
	}
	deliver := known < 0 && !skipped
	if size := len(h.item.Body); deliver && (p.unreadCount >= p.limits.Inbox || p.unreadBytes+size > p.limits.InboxBytes) {
		p.stats.InboxFull++
		return false
	}
	if skipped && !m.skip(n) {
		return false
	}
	if deliver {
		p.unreadCount++
		p.unreadBytes += len(h.item.Body)
		p.out.Delivered = append(p.out.Delivered, Inbound{h.item.ID, h.item.Time, h.item.Body, h.courier})
	}
	m.number, m.mark = n, MarkOf(h.item.ID)
	p.changed(m)
	p.memory.put(known, seen{id: h.item.ID, number: n, mark: m, skipped: skipped}, p.limits.Seen)
	return true
}

// fork notes that the friend's store was copied or put back: this sequence is
// closed, and the receipt says so.
func (p *Peer) fork(m *received) {
	m.fork = true
	p.stats.ForksSeen++
	p.dropHeld(m, maxNumber)
	p.changed(m)
}

// Consumed tells that the program took n messages with bodies of that many
// bytes together from the inbox, for good.
func (p *Peer) Consumed(now time.Time, n, bytes int) {
	p.unreadCount = max(p.unreadCount-n, 0)
	p.unreadBytes = max(p.unreadBytes-bytes, 0)
	if p.heldCount == 0 || !p.remember(now) {
		return
	}
	for _, m := range p.marks {
		p.drain(m)
	}
}

// SetUnread tells, after the rows were restored, how many messages stand in
// the inbox, and the bytes of their bodies.
func (p *Peer) SetUnread(n, bytes int) { p.unreadCount, p.unreadBytes = n, bytes }

// CurrentReceipt returns what the friend should know of its mail, nil if
// nothing came yet. It is true outside only once the rows of the next Take are
// committed.
func (p *Peer) CurrentReceipt() *wire.Receipt {
	if p.current == nil {
		return nil
	}
	return p.current.receipt(p.own)
}
