package delivery

import (
	"time"

	"github.com/gocarrier/carrier/internal/wire"
)

// What comes too early is kept in memory, within bounds, and nothing of it is
// acknowledged: messages that others must come before, and parts of a message.

// hold keeps a message that came too early. It reports false if there is no
// room, or the sequence is forked.
func (p *Peer) hold(m *received, n uint64, h held) bool {
	old, ok := m.held[n]
	switch {
	case ok && old.item.ID != h.item.ID:
		p.fork(m)
		return false
	case ok && (old.item.Skip || !h.item.Skip):
		return true
	case ok: // a SKIP in place of its message
		p.heldBytes -= len(old.item.Body)
		m.held[n] = h
		return true
	case p.heldCount >= p.limits.Held || p.heldBytes+len(h.item.Body) > p.limits.HeldBytes:
		p.stats.Dropped++
		return false
	}
	if m.held == nil {
		m.held = make(map[uint64]held)
	}
	m.held[n] = h
	p.heldCount++
	p.heldBytes += len(h.item.Body)
	p.stats.Held++
	return true
}

// drain takes what was held back and has its turn now.
func (p *Peer) drain(m *received) {
	for len(m.held) > 0 {
		n := m.number + 1
		h, ok := m.held[n]
		if !ok || !p.step(m, n, h) {
			return
		}
		p.unhold(m, n, h)
	}
}

// dropHeld drops what is held back up to number n.
func (p *Peer) dropHeld(m *received, n uint64) {
	for number, h := range m.held {
		if number <= n {
			p.unhold(m, number, h)
		}
	}
}

func (p *Peer) unhold(m *received, n uint64, h held) {
	p.heldCount--
	p.heldBytes -= len(h.item.Body)
	if delete(m.held, n); len(m.held) == 0 {
		m.held = nil
	}
}

// partialFor is how long an incomplete message stands in the way of one that
// is not needed before it.
const partialFor = 10 * time.Minute

// maxItem bounds an encoded item.
const maxItem = wire.ItemOverhead + wire.MaxMessage

// partial is a message of which some parts are here. There is one a friend.
type partial struct {
	mark   *received
	number uint64
	set    uint64
	since  time.Time
	parts  [][]byte // nil: missing
	have   int
	size   int
}

// join keeps a part, and returns the message once all are here.
func (p *Peer) join(now time.Time, m *received, mail *wire.Mail) []wire.Item {
	part := mail.Part
	if mail.First <= m.number {
		p.stats.Duplicates++
		return nil
	}
	if part.Index >= part.Count || len(part.Bytes) == 0 {
		p.stats.Faults++
		return nil
	}
	if !p.partial.is(m, mail) {
		if p.partial.before(now, m, mail) {
			p.stats.Dropped++
			return nil
		}
		p.partial = &partial{mark: m, number: mail.First, set: part.Set, since: now, parts: make([][]byte, part.Count)}
	}
	q := p.partial
	switch {
	case int(part.Count) != len(q.parts) || q.size+len(part.Bytes) > maxItem:
		p.stats.Faults++
		return nil
	case q.parts[part.Index] != nil:
		p.stats.Duplicates++
		return nil
	}
	q.parts[part.Index] = part.Bytes
	q.have++
	q.size += len(part.Bytes)
	if q.have < len(q.parts) {
		return nil
	}
	whole := make([]byte, 0, q.size)
	for _, b := range q.parts {
		whole = append(whole, b...)
	}
	p.dropPartial()
	item, err := wire.ParseItem(whole)
	if err != nil {
		p.stats.Faults++
		return nil
	}
	return []wire.Item{*item}
}

func (p *Peer) dropPartial() { p.partial = nil }

// is reports whether the part belongs to q.
func (q *partial) is(m *received, mail *wire.Mail) bool {
	return q != nil && q.mark == m && q.number == mail.First && q.set == mail.Part.Set
}

// before reports whether q is needed before the message that the part belongs
// to, and so stays.
func (q *partial) before(now time.Time, m *received, mail *wire.Mail) bool {
	switch {
	case q == nil || q.mark.fork || q.number <= q.mark.number || !now.Before(q.since.Add(partialFor)) || now.Before(q.since):
		return false
	case q.mark != m:
		return compare(q.mark.sequence, m.sequence) > 0
	case q.number != mail.First:
		return q.number < mail.First
	}
	return q.set > mail.Part.Set
}
