package reliable

import "github.com/gocarrier/carrier/internal/wire"

// A laneQueue links lanes that wait for something. A lane is in one at most.
type laneQueue struct{ first, last *Lane }

func (q *laneQueue) push(l *Lane) {
	l.queue, l.prev = q, q.last
	if q.last == nil {
		q.first = l
	} else {
		q.last.next = l
	}
	q.last = l
}

func (q *laneQueue) remove(l *Lane) {
	if l.prev == nil {
		q.first = l.next
	} else {
		l.prev.next = l.next
	}
	if l.next == nil {
		q.last = l.prev
	} else {
		l.next.prev = l.prev
	}
	l.queue, l.prev, l.next = nil, nil, nil
}

// join takes over all lanes of another queue.
func (q *laneQueue) join(from *laneQueue) {
	for l := from.first; l != nil; l = from.first {
		from.remove(l)
		q.push(l)
	}
}

// turn is how many bytes a lane of weight 1 sends in its turn.
func (m *Machine) quantum(l *Lane) int { return l.weight * m.size.most }

// activate queues a lane for sending, if it has something to send.
func (m *Machine) activate(l *Lane) {
	if l.id == 0 || l.queue == &m.active {
		return
	}
	again := l.out.again()
	if !again && (l.queue == &m.starved || !l.out.fresh()) {
		return
	}
	if l.queue != nil {
		l.queue.remove(l)
	}
	l.deficit = m.quantum(l)
	m.active.push(l)
}

// deactivate takes a lane out of the schedule.
func (m *Machine) deactivate(l *Lane) {
	if l.queue != nil {
		l.queue.remove(l)
	}
}

// waiting reports whether something that elicits an ACK waits to be sent.
func (m *Machine) waiting() bool {
	return m.active.first != nil || m.ctl != 0 || m.ctlFirst != nil || !m.outbox.empty() ||
		m.control.out.again() || m.control.out.fresh()
}

// room is what is left of the buffer that a packet is written into.
func room(b []byte) int { return cap(b) - len(b) }

// payload appends what lanes and datagrams have to send: lane 0 before all, then, taking turns packet by packet,
// datagrams or the lanes, and the others into what is left.
func (m *Machine) payload(b []byte, packet int32) []byte {
	for c := m.control; c.out.again() || c.out.fresh(); {
		var ok bool
		if b, _, ok = m.data(b, c, packet); !ok {
			return b
		}
	}
	if m.turn {
		before := len(b)
		b = m.datagrams(b)
		m.turn = len(b) == before && !m.outbox.empty() // not yet: ACK and control left too little room
		return m.lanesData(b, packet)
	}
	m.turn = true
	return m.datagrams(m.lanesData(b, packet))
}

// lanesData appends what lanes have to send, one after the other for as long as its turn lasts.
func (m *Machine) lanesData(b []byte, packet int32) []byte {
	for l := m.active.first; l != nil; l = m.active.first {
		switch again := l.out.again(); {
		case !again && !l.out.fresh():
			m.active.remove(l)
			continue
		case !again && m.sentNew == m.linkOut:
			m.active.remove(l)
			m.starved.push(l)
			continue
		}
		var n int
		var ok bool
		if b, n, ok = m.data(b, l, packet); !ok {
			break
		}
		l.deficit -= n
		switch {
		case !l.out.again() && !l.out.fresh():
			m.active.remove(l)
		case l.deficit < m.size.most/2: // the rest of a turn too short for a packet is kept for the next
			l.deficit += m.quantum(l)
			m.active.remove(l)
			m.active.push(l)
		}
	}
	return b
}

// manyBuffers is how many full send buffers the lanes of a machine have between them; beyond that each takes no more
// than crowdedBuffer. So few lanes have all the room that speed needs, and a thousand are bounded, and in the cache.
const (
	manyBuffers   = 16
	crowdedBuffer = 16 << 10
)

// sendRoom is how many unsent bytes a lane takes at present.
func (m *Machine) sendRoom() int {
	if m.unsent < manyBuffers*m.cfg.SendBuffer {
		return m.cfg.SendBuffer
	}
	return min(m.cfg.SendBuffer, crowdedBuffer)
}

// leastPiece is what is left of a packet that is not worth another frame.
const leastPiece = 32

// data appends a piece of a lane, of n bytes with the frame's header; ok is false if there was no room for it.
func (m *Machine) data(b []byte, l *Lane, packet int32) (_ []byte, n int, ok bool) {
	o := &l.out
	if len(b) > 0 && room(b) < leastPiece {
		return b, 0, false
	}
	credit := uint64(wire.MaxVarint)
	if l.id != 0 {
		credit = m.linkOut - m.sentNew
	}
	at, size, fin, ok := o.chunk(l.id, room(b), credit)
	if !ok {
		return b, 0, false
	}
	start := len(b)
	b = wire.AppendDataHeader(b, l.id, at, size, fin)
	if size > 0 {
		end := len(b)
		b = b[:end+size]
		o.ring.get(at, b[end:])
	}
	fresh := o.sent(at, size, fin)
	m.unsent -= int(fresh)
	if l.id != 0 {
		m.sentNew += fresh
	}
	if o.full && o.unsent() <= m.sendRoom()/2 {
		o.full = false
		m.raise(l, Writable)
	}
	m.sent.note(packet, sentFrame{kind: wire.FrameData, lane: l, offset: at, n: int32(size), fin: fin})
	return b, len(b) - start, true
}
